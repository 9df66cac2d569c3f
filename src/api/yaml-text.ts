// YAML → manifest tree, with the scalar rules of the kubelet's parser (YAML 1.1 as Go's yaml package reads it, S-033):
// `yes`/`on` are booleans, `0755` is octal, time stamps and sexagesimal numbers stay strings. Scalars are therefore
// read untyped (the library's failsafe schema) and resolved here.
import { type Document, isAlias, isMap, isScalar, isSeq, type ParsedNode, parseAllDocuments, type Scalar, type YAMLMap } from 'yaml';
import {
  type DuplicateKey,
  type ManifestNode,
  type ManifestText,
  type MapEntry,
  type MapNode,
  maxDepth,
  type TextProblem,
} from './manifest-tree.ts';

const words = new Map<string, boolean | null>([
  ...['y', 'Y', 'yes', 'Yes', 'YES', 'true', 'True', 'TRUE', 'on', 'On', 'ON'].map((word) => [word, true] as const),
  ...['n', 'N', 'no', 'No', 'NO', 'false', 'False', 'FALSE', 'off', 'Off', 'OFF'].map((word) => [word, false] as const),
  ...['', '~', 'null', 'Null', 'NULL'].map((word) => [word, null] as const),
]);

const decimalNumber = /^[-+]?(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d+)?$/;
const prefixedInteger = /^([-+]?)0(?:[xX]([0-9a-fA-F]+)|[bB]([01]+)|[oO]?([0-7]+))$/;

/** The value of an unquoted scalar. Infinities and NaN have no JSON form and count as text. */
export function resolvePlainScalar(text: string): string | number | boolean | null {
  const word = words.get(text);
  if (word !== undefined) return word;
  const first = text.charCodeAt(0);
  // Only a digit, a sign or a dot can begin a number.
  if (!((first >= 48 && first <= 57) || first === 43 || first === 45 || first === 46)) return text;
  const plain = first === 46 ? text : text.replaceAll('_', '');
  const prefixed = prefixedInteger.exec(plain);
  if (prefixed !== null) {
    const [, sign, hexadecimal, binary, octal] = prefixed;
    const value =
      hexadecimal !== undefined
        ? Number.parseInt(hexadecimal, 16)
        : binary !== undefined
          ? Number.parseInt(binary, 2)
          : Number.parseInt(octal ?? '', 8);
    return sign === '-' && value !== 0 ? -value : value;
  }
  if (!decimalNumber.test(plain)) return text;
  const value = Number(plain);
  return Number.isFinite(value) ? value + 0 : text;
}

const tooDeep = `nested deeper than ${maxDepth} levels`;

const coreTag = 'tag:yaml.org,2002:';

class TreeBuilder {
  readonly problems: TextProblem[] = [];
  readonly #anchors = new Map<string, ManifestNode>();
  readonly #open = new Set<string>();

  build(node: ParsedNode | null, fallbackOffset: number, depth: number): ManifestNode {
    if (node === null) return { kind: 'scalar', offset: fallbackOffset, value: null, source: '' };
    const offset = node.range[0];
    if (depth > maxDepth) {
      if (!this.problems.some((p) => p.message === tooDeep)) this.problems.push({ offset, message: tooDeep });
      return { kind: 'scalar', offset, value: null, source: '' };
    }
    if (isAlias(node)) {
      const target = this.#anchors.get(node.source);
      if (target !== undefined) return target;
      const why = this.#open.has(node.source) ? 'refers to a value that contains it' : 'refers to no anchor before it';
      this.problems.push({ offset, message: `invalid YAML: the alias *${node.source} ${why}` });
      return { kind: 'scalar', offset, value: null, source: '' };
    }
    const anchor = node.anchor;
    if (anchor !== undefined) this.#open.add(anchor);
    const built = isScalar(node)
      ? this.#scalar(node, offset)
      : isMap(node)
        ? this.#map(node as YAMLMap.Parsed, offset, depth)
        : this.#list(node, offset, depth);
    if (anchor !== undefined) {
      this.#open.delete(anchor);
      this.#anchors.set(anchor, built);
    }
    return built;
  }

  #list(node: ParsedNode, offset: number, depth: number): ManifestNode {
    const items: ManifestNode[] = [];
    if (isSeq(node)) for (const item of node.items) items.push(this.build(item as ParsedNode | null, offset, depth + 1));
    return { kind: 'list', offset, items };
  }

  #scalar(node: Scalar, offset: number): ManifestNode {
    const text = typeof node.value === 'string' ? node.value : '';
    const tag = node.tag;
    let value: string | number | boolean | null = text;
    if (
      tag === undefined ? node.type === 'PLAIN' : [`${coreTag}int`, `${coreTag}float`, `${coreTag}bool`, `${coreTag}null`].includes(tag)
    ) {
      value = resolvePlainScalar(text);
    } else if (tag === `${coreTag}binary`) {
      value = new TextDecoder().decode(Uint8Array.from(atobBytes(text)));
    }
    return { kind: 'scalar', offset, value, source: text };
  }

  #map(node: YAMLMap.Parsed, offset: number, depth: number): MapNode {
    const entries = new Map<string, MapEntry>();
    const duplicates: DuplicateKey[] = [];
    const merged: MapNode[] = [];
    for (const { key, value } of node.items) {
      const keyOffset = (key as ParsedNode | null)?.range[0] ?? offset;
      const keyNode = this.build(key, offset, depth + 1);
      const valueNode = this.build(value, keyOffset, depth + 1);
      if (keyNode.kind !== 'scalar' || keyNode.value === null) {
        this.problems.push({ offset: keyOffset, message: 'invalid YAML: a key must be a string' });
        continue;
      }
      if (keyNode.value === '<<' && isScalar(key) && key.type === 'PLAIN') {
        this.#collectMerged(valueNode, merged);
        continue;
      }
      const name = String(keyNode.value);
      if (entries.has(name)) duplicates.push({ key: name, keyOffset });
      else entries.set(name, { keyOffset, value: valueNode });
    }
    // Keys of the map itself win over merged ones, and earlier merged maps over later ones.
    for (const source of merged) for (const [name, entry] of source.entries) if (!entries.has(name)) entries.set(name, entry);
    return { kind: 'map', offset, entries, duplicates: duplicates.length === 0 ? undefined : duplicates };
  }

  #collectMerged(value: ManifestNode, into: MapNode[]): void {
    const sources = value.kind === 'list' ? value.items : [value];
    for (const source of sources) {
      if (source.kind === 'map') into.push(source);
      else this.problems.push({ offset: source.offset, message: 'invalid YAML: << can only merge maps' });
    }
  }
}

/** Bytes of base64 text; characters outside its alphabet are skipped. */
function* atobBytes(text: string): Iterable<number> {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
  let bits = 0;
  let count = 0;
  for (const character of text) {
    const value = alphabet.indexOf(character);
    if (value === -1) continue;
    bits = ((bits << 6) | value) & 0xffff;
    count += 6;
    if (count >= 8) {
      count -= 8;
      yield (bits >> count) & 0xff;
    }
  }
}

/** After the first few the parser only reports what follows from them. */
const maxSyntaxErrors = 3;

function readDocument(document: Document.Parsed): ManifestText {
  if (document.errors.length > 0) {
    const problems = document.errors.map((error) => ({
      offset: error.pos[0],
      message: error.code === 'RESOURCE_EXHAUSTION' ? tooDeep : `invalid YAML: ${error.message}`,
    }));
    const isNew = ({ offset, message }: TextProblem, i: number): boolean =>
      offset !== problems[i - 1]?.offset || message !== problems[i - 1]?.message;
    return { root: undefined, problems: problems.filter(isNew).slice(0, maxSyntaxErrors) };
  }
  const builder = new TreeBuilder();
  const root = builder.build(document.contents, document.range[0], 0);
  return builder.problems.length > 0 ? { root: undefined, problems: builder.problems } : { root, problems: [] };
}

/**
 * The documents of a YAML stream that are not empty; none when there is nothing but comments. Never throws: what is
 * wrong with the text is in the problems.
 */
export function readYaml(text: string): readonly ManifestText[] {
  let documents: ReturnType<typeof parseAllDocuments>;
  try {
    // `uniqueKeys` compares every key with every other one; the tree builder finds duplicates faster.
    documents = parseAllDocuments(text, { schema: 'failsafe', version: '1.1', prettyErrors: false, uniqueKeys: false, logLevel: 'silent' });
  } catch (error) {
    // The library recurses over the text: absurdly deep nesting ends in a stack overflow.
    if (error instanceof RangeError) return [{ root: undefined, problems: [{ offset: 0, message: tooDeep }] }];
    throw error;
  }
  if ('empty' in documents) return [];
  return (documents as Document.Parsed[])
    .map(readDocument)
    .filter(({ root, problems }) => problems.length > 0 || !(root?.kind === 'scalar' && root.value === null));
}
