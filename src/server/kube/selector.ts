// Label and field selectors (H-130 … H-132): text → predicate, or a 400 in Kubernetes' words.
import { badRequest } from './api-error.ts';

export type Labels = Readonly<Record<string, string>>;

type Operator = '=' | '!=' | 'in' | 'notin' | 'exists' | '!' | '>' | '<';

interface Requirement {
  readonly key: string;
  readonly operator: Operator;
  readonly values: readonly string[];
}

interface Token {
  readonly kind: 'word' | 'symbol' | 'end';
  readonly text: string;
}

const symbols = ['==', '!=', '=', '!', ',', '(', ')', '>', '<'] as const;
const maxSelectorLength = 64 * 1024;
const labelKey = /^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const labelValue = /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/;

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (at < text.length) {
    const char = text.charAt(at);
    if (/\s/.test(char)) {
      at += 1;
      continue;
    }
    const symbol = symbols.find((s) => text.startsWith(s, at));
    if (symbol !== undefined) {
      tokens.push({ kind: 'symbol', text: symbol });
      at += symbol.length;
      continue;
    }
    const start = at;
    while (at < text.length && !/[\s=!,()<>]/.test(text.charAt(at))) at += 1;
    tokens.push({ kind: 'word', text: text.slice(start, at) });
  }
  tokens.push({ kind: 'end', text: '' });
  return tokens;
}

class LabelParser {
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(text: string) {
    this.#tokens = tokenize(text);
  }

  parse(): readonly Requirement[] {
    const requirements: Requirement[] = [];
    if (this.#peek().kind === 'end') return requirements;
    for (;;) {
      requirements.push(this.#requirement());
      const next = this.#take();
      if (next.kind === 'end') return requirements;
      if (next.text !== ',') throw this.#unexpected(next, "',' or 'end of string'");
      if (this.#peek().kind === 'end') throw this.#unexpected(this.#peek(), 'identifier after ,');
    }
  }

  #requirement(): Requirement {
    const first = this.#take();
    if (first.text === '!' && first.kind === 'symbol') {
      const key = this.#key(this.#take());
      return { key, operator: '!', values: [] };
    }
    const key = this.#key(first);
    const next = this.#peek();
    if (next.kind === 'end' || next.text === ',') return { key, operator: 'exists', values: [] };
    this.#take();
    switch (next.text) {
      case '=':
      case '==':
        return { key, operator: '=', values: [this.#exactValue()] };
      case '!=':
        return { key, operator: '!=', values: [this.#exactValue()] };
      case '>':
      case '<': {
        const value = this.#exactValue();
        if (!/^[-+]?\d+$/.test(value)) {
          throw badRequest(
            `values[0][${key}]: Invalid value: ${JSON.stringify(value)}: for 'Gt', 'Lt' operators, the value must be an integer`,
          );
        }
        return { key, operator: next.text, values: [value] };
      }
      case 'in':
      case 'notin':
        return { key, operator: next.text, values: this.#values() };
      default:
        throw this.#unexpected(next, "in, notin, =, ==, !=, gt, lt, ',' or 'end of string'");
    }
  }

  #key(token: Token): string {
    if (token.kind !== 'word') throw this.#unexpected(token, 'identifier');
    if (!labelKey.test(token.text)) {
      throw badRequest(
        `unable to parse requirement: <nil>: Invalid value: ${JSON.stringify(token.text)}: name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`,
      );
    }
    return token.text;
  }

  #value(token: Token): string {
    if (!labelValue.test(token.text)) {
      throw badRequest(
        `unable to parse requirement: values[0]: Invalid value: ${JSON.stringify(token.text)}: a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')`,
      );
    }
    return token.text;
  }

  #exactValue(): string {
    const next = this.#peek();
    if (next.kind === 'end' || next.text === ',') return '';
    this.#take();
    if (next.kind !== 'word') throw this.#unexpected(next, 'identifier');
    return this.#value(next);
  }

  #values(): readonly string[] {
    const open = this.#take();
    if (open.text !== '(') throw this.#unexpected(open, "'('");
    const values: string[] = [];
    let wantsValue = true;
    for (;;) {
      const token = this.#take();
      if (token.text === ')' && token.kind === 'symbol') {
        if (wantsValue) values.push('');
        return [...new Set(values)];
      }
      if (token.text === ',' && token.kind === 'symbol') {
        if (wantsValue) values.push('');
        wantsValue = true;
      } else if (token.kind === 'word' && wantsValue) {
        values.push(this.#value(token));
        wantsValue = false;
      } else {
        throw this.#unexpected(token, wantsValue ? "',', ')' or identifier" : "',' or ')'");
      }
    }
  }

  #peek(): Token {
    return this.#tokens[this.#at] ?? { kind: 'end', text: '' };
  }

  #take(): Token {
    const token = this.#peek();
    this.#at += 1;
    return token;
  }

  #unexpected(token: Token, expected: string): Error {
    return badRequest(`unable to parse requirement: found '${token.text}', expected: ${expected}`);
  }
}

function matches(requirement: Requirement, labels: Labels): boolean {
  const value = Object.hasOwn(labels, requirement.key) ? labels[requirement.key] : undefined;
  switch (requirement.operator) {
    case 'exists':
      return value !== undefined;
    case '!':
      return value === undefined;
    case '=':
    case 'in':
      return value !== undefined && requirement.values.includes(value);
    case '!=':
    case 'notin':
      return value === undefined || !requirement.values.includes(value);
    case '>':
    case '<': {
      if (value === undefined || !/^[-+]?\d+$/.test(value)) return false;
      const limit = BigInt((requirement.values[0] ?? '0').replace(/^\+/, ''));
      const number = BigInt(value.replace(/^\+/, ''));
      return requirement.operator === '>' ? number > limit : number < limit;
    }
  }
}

/** Throws a 400 for a selector that cannot be understood. An empty one matches everything. */
export function parseLabelSelector(text: string): (labels: Labels) => boolean {
  if (text.length > maxSelectorLength) throw badRequest('the label selector is too long');
  const requirements = new LabelParser(text).parse();
  return (labels) => requirements.every((requirement) => matches(requirement, labels));
}

interface FieldTerm {
  readonly field: string;
  readonly value: string;
  readonly equal: boolean;
}

function splitTerms(text: string): string[] {
  const terms: string[] = [];
  let term = '';
  for (let i = 0; i < text.length; i++) {
    const char = text.charAt(i);
    if (char === '\\') {
      term += char + text.charAt(i + 1);
      i += 1;
    } else if (char === ',') {
      terms.push(term);
      term = '';
    } else {
      term += char;
    }
  }
  terms.push(term);
  return terms.filter((t) => t !== '');
}

function parseTerm(term: string): FieldTerm {
  for (let i = 0; i < term.length; i++) {
    const rest = term.slice(i);
    const operator = ['!=', '==', '='].find((o) => rest.startsWith(o));
    if (operator === undefined) continue;
    return { field: term.slice(0, i), equal: operator !== '!=', value: unescapeValue(rest.slice(operator.length)) };
  }
  throw badRequest(`invalid selector: '${term}'; can't understand '${term}'`);
}

function unescapeValue(text: string): string {
  let value = '';
  for (let i = 0; i < text.length; i++) {
    const char = text.charAt(i);
    if (char === '\\') {
      const next = text.charAt(i + 1);
      if (next !== '\\' && next !== ',' && next !== '=')
        throw badRequest(`invalid field selector: invalid escape sequence: ${char}${next}`);
      value += next;
      i += 1;
    } else if (char === '=' || char === ',') {
      throw badRequest(`invalid field selector: unescaped character in value: ${char}`);
    } else {
      value += char;
    }
  }
  return value;
}

/**
 * `supported` are the fields of the resource, `aliases` other spellings of them. The predicate gets a function that
 * reads a supported field of the object. Throws a 400 for a bad selector or an unknown field.
 */
export function parseFieldSelector(
  text: string,
  supported: readonly string[],
  aliases: Readonly<Record<string, string>> = {},
): (read: (field: string) => string) => boolean {
  if (text.length > maxSelectorLength) throw badRequest('the field selector is too long');
  const terms = splitTerms(text)
    .map(parseTerm)
    .map((term) => ({ ...term, field: Object.hasOwn(aliases, term.field) ? (aliases[term.field] ?? term.field) : term.field }));
  for (const { field } of terms) if (!supported.includes(field)) throw badRequest(`field label not supported: ${field}`);
  return (read) => terms.every((term) => (read(term.field) === term.value) === term.equal);
}
