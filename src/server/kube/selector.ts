// Label and field selectors (H-130 … H-132): text → predicate, or a 400 in Kubernetes' words.
import { labelValue, qualifiedName } from '../../api/validate/formats.ts';
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

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (at < text.length) {
    const char = text.charAt(at);
    if (/[ \t\r\n]/.test(char)) {
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
    while (at < text.length && !/[ \t\r\n=!,()<>]/.test(text.charAt(at))) at += 1;
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
    for (;;) {
      const first = this.#peek();
      if (first.kind === 'end' && requirements.length === 0) return requirements;
      if (first.kind !== 'word' && first.text !== '!') {
        const expected = requirements.length === 0 ? "!, identifier, or 'end of string'" : "identifier after ','";
        throw badRequest(`found '${first.text}', expected: ${expected}`);
      }
      requirements.push(this.#requirement());
      const next = this.#take();
      if (next.kind === 'end') return requirements;
      if (next.text !== ',') throw badRequest(`found '${next.text}', expected: ',' or 'end of string'`);
    }
  }

  #requirement(): Requirement {
    const first = this.#take();
    if (first.text === '!' && first.kind === 'symbol') return checked({ key: this.#key(this.#take()), operator: '!', values: [] });
    const key = this.#key(first);
    const next = this.#peek();
    if (next.kind === 'end' || next.text === ',') return checked({ key, operator: 'exists', values: [] });
    this.#take();
    switch (next.text) {
      case '=':
      case '==':
        return checked({ key, operator: '=', values: [this.#exactValue()] });
      case '!=':
      case '>':
      case '<':
        return checked({ key, operator: next.text, values: [this.#exactValue()] });
      case 'in':
      case 'notin':
        return checked({ key, operator: next.text, values: this.#values() });
      default:
        throw this.#unexpected(next, ', expected: in, notin, =, ==, !=, gt, lt');
    }
  }

  #key(token: Token): string {
    if (token.kind !== 'word') throw this.#unexpected(token, ', expected: identifier');
    const wrong = qualifiedName(token.text);
    if (wrong.length > 0) throw unparsable(`<nil>: Invalid value: ${JSON.stringify(token.text)}: ${wrong.join('; ')}`);
    return token.text;
  }

  #exactValue(): string {
    const next = this.#peek();
    if (next.kind === 'end' || next.text === ',') return '';
    this.#take();
    if (next.kind !== 'word') throw this.#unexpected(next, ', expected: identifier');
    return next.text;
  }

  #values(): readonly string[] {
    const open = this.#take();
    if (open.text !== '(') throw this.#unexpected(open, " expected: '('");
    const values = new Set<string>();
    let wantsValue = true;
    for (let isFirst = true; ; isFirst = false) {
      const token = this.#take();
      if (token.kind === 'word' && wantsValue) {
        values.add(token.text);
        wantsValue = false;
      } else if (token.kind === 'symbol' && (token.text === ',' || token.text === ')')) {
        // Nothing between two of them is the empty value.
        if (wantsValue) values.add('');
        if (token.text === ')') return [...values].sort();
        wantsValue = true;
      } else {
        throw this.#unexpected(
          token,
          isFirst ? ", expected: ',', ')' or identifier" : wantsValue ? ", expected: ',', or identifier" : ", expected: ',' or ')'",
        );
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
    return unparsable(`found '${token.text}'${expected}`);
  }
}

const unparsable = (why: string): Error => badRequest(`unable to parse requirement: ${why}`);

/** What can be wrong with the values of a requirement that is one by its form, all of it together. */
function checked(requirement: Requirement): Requirement {
  const { key, operator, values } = requirement;
  const wrong: string[] = [];
  if (operator === '>' || operator === '<') {
    for (const [index, value] of values.entries()) {
      if (integerOf(value) !== undefined) continue;
      wrong.push(`values[${index}]: Invalid value: ${JSON.stringify(value)}: for 'Gt', 'Lt' operators, the value must be an integer`);
    }
  }
  for (const [index, value] of values.entries()) {
    const messages = labelValue(value);
    if (messages.length > 0) wrong.push(`values[${index}][${key}]: Invalid value: ${JSON.stringify(value)}: ${messages.join('; ')}`);
  }
  if (wrong.length > 0) throw unparsable(wrong.length === 1 ? (wrong[0] ?? '') : `[${wrong.join(', ')}]`);
  return requirement;
}

/** Of 64 bits; undefined for anything else. */
function integerOf(text: string): bigint | undefined {
  if (!/^[-+]?\d+$/.test(text)) return undefined;
  const value = BigInt(text.replace(/^\+/, ''));
  return BigInt.asIntN(64, value) === value ? value : undefined;
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
      const number = value === undefined ? undefined : integerOf(value);
      const limit = integerOf(requirement.values[0] ?? '');
      if (number === undefined || limit === undefined) return false;
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
      throw badRequest(`invalid field selector: unescaped character in value: ${char.charCodeAt(0)}`);
    } else {
      value += char;
    }
  }
  return value;
}

/** What a resource's objects can be selected by. */
export interface SelectableFields {
  readonly fields: readonly string[];
  /** Other spellings of them. */
  readonly fieldAliases: Readonly<Record<string, string>>;
  /** False: those that every resource has. An API server has other words for what is not among them. */
  readonly hasOwnFields: boolean;
}

/**
 * The predicate gets a function that reads one of the fields of the object. Throws a 400 for a bad selector or an unknown
 * field.
 */
export function parseFieldSelector(
  text: string,
  { fields, fieldAliases: aliases, hasOwnFields }: SelectableFields,
): (read: (field: string) => string) => boolean {
  if (text.length > maxSelectorLength) throw badRequest('the field selector is too long');
  const terms = splitTerms(text)
    .map(parseTerm)
    .map((term) => ({ ...term, field: Object.hasOwn(aliases, term.field) ? (aliases[term.field] ?? term.field) : term.field }));
  for (const { field } of terms) {
    if (fields.includes(field)) continue;
    throw badRequest(
      hasOwnFields
        ? `field label not supported: ${field}`
        : `${JSON.stringify(field)} is not a known field selector: only "metadata.name", "metadata.namespace"`,
    );
  }
  return (read) => terms.every((term) => (read(term.field) === term.value) === term.equal);
}
