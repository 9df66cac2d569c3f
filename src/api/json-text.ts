// JSON → manifest tree. Own reader, because JSON.parse keeps neither positions nor duplicate keys.
import { type DuplicateKey, type ManifestNode, type ManifestText, type MapEntry, maxDepth } from './manifest-tree.ts';

class JsonSyntaxError extends SyntaxError {
  readonly offset: number;

  constructor(message: string, offset: number) {
    super(message);
    this.offset = offset;
  }
}

const number = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const string = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const space = /[ \t\r\n]*/y;

class JsonReader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  read(): ManifestNode {
    const root = this.#value(0);
    this.#skipSpace();
    if (this.#at < this.#text.length) throw new JsonSyntaxError('unexpected text after the end of the JSON value', this.#at);
    return root;
  }

  #skipSpace(): void {
    space.lastIndex = this.#at;
    space.test(this.#text);
    this.#at = space.lastIndex;
  }

  #fail(expected: string): never {
    const found = this.#at >= this.#text.length ? 'the end of the file' : JSON.stringify(this.#text[this.#at]);
    throw new JsonSyntaxError(`invalid JSON: expected ${expected}, found ${found}`, this.#at);
  }

  #expect(character: string): void {
    if (this.#text[this.#at] !== character) this.#fail(`'${character}'`);
    this.#at += 1;
  }

  #value(depth: number): ManifestNode {
    if (depth > maxDepth) throw new JsonSyntaxError(`nested deeper than ${maxDepth} levels`, this.#at);
    this.#skipSpace();
    const offset = this.#at;
    const first = this.#text[offset];
    if (first === '{') return this.#map(depth, offset);
    if (first === '[') return this.#list(depth, offset);
    if (first === '"') {
      const value = this.#string();
      return { kind: 'scalar', offset, value, source: value };
    }
    for (const [word, value] of [['true', true] as const, ['false', false] as const, ['null', null] as const]) {
      if (this.#text.startsWith(word, offset)) {
        this.#at += word.length;
        return { kind: 'scalar', offset, value, source: word };
      }
    }
    number.lastIndex = offset;
    const match = number.exec(this.#text);
    if (match === null) this.#fail('a value');
    this.#at += match[0].length;
    return { kind: 'scalar', offset, value: Number(match[0]), source: match[0], isFraction: !/^-?\d+$/.test(match[0]) };
  }

  #string(): string {
    string.lastIndex = this.#at;
    const match = string.exec(this.#text);
    if (match === null) throw new JsonSyntaxError('invalid JSON: string not closed, or with an invalid character or escape', this.#at);
    this.#at += match[0].length;
    return JSON.parse(match[0]) as string;
  }

  #map(depth: number, offset: number): ManifestNode {
    const entries = new Map<string, MapEntry>();
    const duplicates: DuplicateKey[] = [];
    this.#expect('{');
    this.#skipSpace();
    while (this.#text[this.#at] !== '}') {
      if (entries.size > 0) {
        this.#expect(',');
        this.#skipSpace();
      }
      const keyOffset = this.#at;
      if (this.#text[keyOffset] !== '"') this.#fail('a key in double quotes');
      const key = this.#string();
      this.#skipSpace();
      this.#expect(':');
      const value = this.#value(depth + 1);
      if (entries.has(key)) duplicates.push({ key, keyOffset });
      else entries.set(key, { keyOffset, value });
      this.#skipSpace();
    }
    this.#at += 1;
    return { kind: 'map', offset, entries, duplicates: duplicates.length === 0 ? undefined : duplicates };
  }

  #list(depth: number, offset: number): ManifestNode {
    const items: ManifestNode[] = [];
    this.#expect('[');
    this.#skipSpace();
    while (this.#text[this.#at] !== ']') {
      if (items.length > 0) this.#expect(',');
      items.push(this.#value(depth + 1));
      this.#skipSpace();
    }
    this.#at += 1;
    return { kind: 'list', offset, items };
  }
}

/** Never throws: what is wrong with the text is in the problems. */
export function readJson(text: string): ManifestText {
  const reader = new JsonReader(text);
  try {
    return { root: reader.read(), problems: [] };
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error;
    return { root: undefined, problems: [{ offset: error.offset, message: error.message }] };
  }
}
