// The formats that fields share, each as a function from a value to what is wrong with it (S-133 … S-144). The patterns
// are tested piece by piece, so that no value, however long, takes more than linear time.
import { isIPv4, isIPv6 } from 'node:net';

const labelPattern = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';
const namePattern = '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]';

/** `<sentence> (e.g. 'a',  or 'b', regex used for validation is '…')`, two spaces before `or` included (S-137). */
function patternMessage(sentence: string, pattern: string, ...examples: readonly string[]): string {
  const list = examples.map((example) => `'${example}', `).join(' or ');
  return `${sentence} (e.g. ${list}regex used for validation is '${pattern}')`;
}

export function byteLength(text: string): number {
  return Buffer.byteLength(text);
}

function isLabel(value: string): boolean {
  return /^[a-z0-9-]+$/.test(value) && !value.startsWith('-') && !value.endsWith('-');
}

function isSubdomain(value: string): boolean {
  return value.split('.').every(isLabel);
}

/** S-133 */
export function dnsLabel(value: string): readonly string[] {
  const messages: string[] = [];
  if (byteLength(value) > 63) messages.push('must be no more than 63 characters');
  if (!isLabel(value)) {
    const sentence =
      "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
    messages.push(isSubdomain(value) ? 'must not contain dots' : patternMessage(sentence, labelPattern, 'my-name', '123-abc'));
  }
  return messages;
}

const subdomainSentence =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";

/** S-134 */
export function dnsSubdomain(value: string): readonly string[] {
  const messages: string[] = [];
  if (byteLength(value) > 253) messages.push('must be no more than 253 characters');
  if (!isSubdomain(value)) messages.push(patternMessage(subdomainSentence, `${labelPattern}(\\.${labelPattern})*`, 'example.com'));
  return messages;
}

/** A subdomain that something is appended to: it may end in a dash (S-146). */
export function dnsSubdomainPrefix(value: string): readonly string[] {
  return dnsSubdomain(value.endsWith('-') && value.length > 1 ? `${value.slice(0, -1)}a` : value);
}

/** Search paths of resolvers may have underscores (S-196). */
export function dnsSubdomainWithUnderscore(value: string): readonly string[] {
  const messages: string[] = [];
  if (byteLength(value) > 253) messages.push('must be no more than 253 characters');
  const isValid = value.split('.').every((part) => /^_?[a-z0-9_-]+$/.test(part) && /^_?[a-z0-9]/.test(part) && /[a-z0-9]$/.test(part));
  if (!isValid) {
    const sentence =
      "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character";
    const part = '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?';
    messages.push(patternMessage(sentence, `${part}(\\.${part})*`, 'example.com'));
  }
  return messages;
}

function isName(value: string): boolean {
  return /^[A-Za-z0-9_.-]+$/.test(value) && /^[A-Za-z0-9]/.test(value) && /[A-Za-z0-9]$/.test(value);
}

const nameSentence = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

/** S-135 */
export function qualifiedName(value: string): readonly string[] {
  const parts = value.split('/');
  const messages: string[] = [];
  if (parts.length > 2) {
    const sentence =
      "a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
    const examples = ["(e.g. 'MyName',  or 'my.name',  or '123-abc'", `regex used for validation is '${namePattern}')`].join(', ');
    return [`${sentence} ${examples} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`];
  }
  const [first = '', second] = parts;
  const name = second ?? first;
  if (second !== undefined) {
    if (first === '') messages.push('prefix part must be non-empty');
    else for (const message of dnsSubdomain(first)) messages.push(`prefix part ${message}`);
  }
  if (name === '') messages.push('name part must be non-empty');
  else if (byteLength(name) > 63) messages.push('name part must be no more than 63 bytes');
  if (!isName(name)) messages.push(`name part ${patternMessage(nameSentence, namePattern, 'MyName', 'my.name', '123-abc')}`);
  return messages;
}

/** S-136 */
export function labelValue(value: string): readonly string[] {
  const messages: string[] = [];
  if (byteLength(value) > 63) messages.push('must be no more than 63 bytes');
  if (value !== '' && !isName(value)) {
    const sentence =
      "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
    messages.push(patternMessage(sentence, '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?', 'MyValue', 'my_value', '12345'));
  }
  return messages;
}

export function inclusiveRange(low: number, high: number): string {
  return `must be between ${low} and ${high}, inclusive`;
}

/** S-138 */
export function portNumber(value: number): readonly string[] {
  return value >= 1 && value <= 65535 ? [] : [inclusiveRange(1, 65535)];
}

/** S-138 */
export function portName(value: string): readonly string[] {
  const messages: string[] = [];
  if (byteLength(value) > 15) messages.push('must be no more than 15 characters');
  if (!/^[-a-z0-9]+$/.test(value)) messages.push('must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)');
  if (!/[a-z]/.test(value)) messages.push('must contain at least one letter (a-z)');
  if (value.includes('--')) messages.push('must not contain consecutive hyphens');
  if (value.startsWith('-') || value.endsWith('-')) messages.push('must not begin or end with a hyphen');
  return messages;
}

/** S-139 */
export function userOrGroupId(value: number): readonly string[] {
  return value >= 0 && value <= 2 ** 31 - 1 ? [] : [inclusiveRange(0, 2 ** 31 - 1)];
}

/** S-140 */
export function environmentName(value: string): readonly string[] {
  return /^[ -<>-~]+$/.test(value)
    ? []
    : ["a valid environment variable name must consist only of printable ASCII characters other than '='"];
}

/** S-141 */
export function configKey(value: string): readonly string[] {
  const messages: string[] = [];
  if (byteLength(value) > 253) messages.push('must be no more than 253 characters');
  if (!/^[-._a-zA-Z0-9]+$/.test(value)) {
    const sentence = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
    messages.push(patternMessage(sentence, '[-._a-zA-Z0-9]+', 'key.name', 'KEY_NAME', 'key-name'));
  }
  if (value === '.') messages.push("must not be '.'");
  if (value === '..') messages.push("must not be '..'");
  else if (value.startsWith('..')) messages.push("must not start with '..'");
  return messages;
}

export const nonNegativeMessage = 'must be greater than or equal to 0';
export const positiveMessage = 'must be greater than zero';

/** S-142 */
export function fileMode(value: number): readonly string[] {
  return value >= 0 && value <= 0o777 ? [] : ['must be a number between 0 and 0777 (octal), both inclusive'];
}

/** S-143 */
export function pathWithoutBacksteps(value: string): readonly string[] {
  return value.split('/').includes('..') ? ["must not contain '..'"] : [];
}

/** S-143 */
export function relativePath(value: string): readonly string[] {
  return [...(value.startsWith('/') ? ['must be a relative path'] : []), ...pathWithoutBacksteps(value)];
}

/** S-143 */
export function nonReservedRelativePath(value: string): readonly string[] {
  const isReserved = value.startsWith('..') && !value.startsWith('../');
  return [...relativePath(value), ...(isReserved ? ["must not start with '..'"] : [])];
}

/** S-144 */
export function strictIp(value: string): readonly string[] {
  if (isIPv4(value)) return [];
  if (isIPv6(value) && !value.includes('%')) {
    return /^(?:0{0,4}:)*:?(?:0{0,4}:)*ffff:\d+\.\d+\.\d+\.\d+$/i.test(value) ? ['must not be an IPv4-mapped IPv6 address'] : [];
  }
  const withoutZeros = value.replaceAll(/(^|\.)0+(?=\d)/g, '$1');
  if (withoutZeros !== value && isIPv4(withoutZeros)) return ['must not have leading 0s'];
  return ['must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'];
}

/** Names of HTTP headers (S-189). */
export function httpHeaderName(value: string): readonly string[] {
  const sentence = "a valid HTTP header must consist of alphanumeric characters or '-'";
  return /^[-A-Za-z0-9]+$/.test(value) ? [] : [patternMessage(sentence, '[-A-Za-z0-9]+', 'X-Header-Name')];
}
