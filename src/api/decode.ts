// Bytes → documents: strict decoding of Pod manifests by the generated field table. Everything wrong with a document
// is reported at once, with line and column, and as much of the Pod as possible is decoded all the same.
import { isUtf8 } from 'node:buffer';
import { describeUnknownField } from './did-you-mean.ts';
import { type FieldType, fieldTypes, zeroOf } from './field-types.ts';
import type { ObjectMeta, PodSpec, PodStatus } from './gen/kubernetes.ts';
import { readJson } from './json-text.ts';
import type { ManifestNode, ManifestText, MapNode, ScalarNode } from './manifest-tree.ts';
import type { Locate, Position, Problem } from './problem.ts';
import { parseQuantity } from './quantity.ts';
import { readYaml } from './yaml-text.ts';

/**
 * A Pod as its manifest gives it: nothing defaulted, quantities as written, absent and `null` fields absent. Fields
 * that the types call required may be missing too, until `defaultPod` has filled them in.
 */
export interface DecodedPod {
  readonly apiVersion: 'v1';
  readonly kind: 'Pod';
  readonly metadata: ObjectMeta;
  readonly spec: PodSpec;
  readonly status?: PodStatus | undefined;
}

export interface DecodedDocument {
  /** Which Pod of the manifest, from 0. */
  readonly index: number;
  /** Undefined when the document is not recognisably a Pod. Incomplete when there are problems. */
  readonly pod: DecodedPod | undefined;
  readonly problems: readonly Problem[];
  readonly locate: Locate;
}

/** A manifest of this size or more is refused (S-029). */
export const maxManifestBytes = 10 * 2 ** 20;
/** More values than any sensible manifest has: aliases expanding each other are stopped here. */
const maxValues = 500_000;
const maxProblems = 100;

/**
 * The Pods of a manifest: JSON or YAML, several YAML documents, `PodList` or `List`. Never throws. An empty result
 * means a valid list without items; a manifest that cannot be read at all gives one document with its problems.
 */
export function decodeManifest(bytes: Uint8Array): readonly DecodedDocument[] {
  const text = decodeText(bytes);
  if (typeof text !== 'string') return [broken([text])];
  const lines = new Lines(text);
  const documents = /^\s*\{/.test(text) ? [readJson(text)] : readYaml(text);
  if (documents.length === 0) {
    const why = text.trim() === '' ? 'is empty' : 'contains only comments';
    return [broken([{ field: '', message: `the manifest ${why}: expected a Pod`, line: 1, column: 1 }])];
  }
  const decoded: DecodedDocument[] = [];
  for (const document of documents) decodeDocument(document, lines, decoded);
  return decoded;
}

function broken(problems: readonly Problem[], index = 0): DecodedDocument {
  return { index, pod: undefined, problems, locate: () => undefined };
}

/** The text, or why there is none. */
function decodeText(bytes: Uint8Array): string | Problem {
  const refuse = (message: string, line?: number): Problem => ({ field: '', message, line, column: line === undefined ? undefined : 1 });
  if (bytes.length >= maxManifestBytes)
    return refuse(`the read limit is reached: a manifest must be smaller than ${maxManifestBytes / 2 ** 20} MiB`);
  const isUtf16 = (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff);
  if (isUtf16) return refuse('the manifest is encoded in UTF-16: save it as UTF-8');
  if (bytes.includes(0)) return refuse('the manifest contains NUL bytes: it is a binary file, or was not written completely');
  if (!isUtf8(bytes)) return refuse('the manifest is not valid UTF-8', firstInvalidLine(bytes));
  // The decoder drops a byte order mark.
  const text = new TextDecoder().decode(bytes);
  const control = /[\u0001-\u0008\u000b\u000c\u000e-\u001f]/.exec(text);
  if (control === null) return text;
  const position = new Lines(text).position(control.index);
  const code = control[0].charCodeAt(0).toString(16).padStart(2, '0');
  return { field: '', message: `control characters are not allowed (0x${code})`, ...position };
}

function firstInvalidLine(bytes: Uint8Array): number {
  let line = 1;
  for (let start = 0; start < bytes.length; line += 1) {
    const end = bytes.indexOf(10, start);
    const next = end === -1 ? bytes.length : end + 1;
    if (!isUtf8(bytes.subarray(start, next))) return line;
    start = next;
  }
  return line;
}

/** Offset → line and column, computed only when somebody asks. */
class Lines {
  readonly #text: string;
  #starts: readonly number[] | undefined;

  constructor(text: string) {
    this.#text = text;
  }

  position(offset: number): Position {
    this.#starts ??= [0, ...[...this.#text.matchAll(/\n/g)].map((match) => match.index + 1)];
    const starts = this.#starts;
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((starts[middle] ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: offset - (starts[low] ?? 0) + 1 };
  }
}

const listKinds = new Set(['List', 'PodList']);

function decodeDocument(document: ManifestText, lines: Lines, into: DecodedDocument[]): void {
  const { root } = document;
  if (root === undefined) {
    const problems = document.problems.map(({ offset, message }): Problem => ({ field: '', message, ...lines.position(offset) }));
    into.push(broken(problems, into.length));
    return;
  }
  const kind = root.kind === 'map' ? scalarOf(root, 'kind') : undefined;
  if (root.kind !== 'map' || typeof kind !== 'string' || !listKinds.has(kind)) {
    into.push(decodeDocumentPod(root, lines, { index: into.length, problems: [], isItem: false }));
    return;
  }
  const list = new Decoder(lines, []);
  checkApiVersion(root, list);
  const known = new Set(['apiVersion', 'kind', 'metadata', 'items']);
  for (const [key, entry] of root.entries)
    if (!known.has(key)) list.report({ parent: undefined, segment: key }, entry.keyOffset, 'Unknown field');
  const items = root.entries.get('items')?.value;
  if (items?.kind === 'list') {
    // What is wrong with the list itself is said once, with its first Pod.
    for (const [i, item] of items.items.entries()) {
      const isItem = kind === 'PodList';
      into.push(decodeDocumentPod(item, lines, { index: into.length, problems: i === 0 ? list.problems : [], isItem }));
    }
    if (items.items.length > 0 || list.problems.length === 0) return;
  } else if (items !== undefined && !(items.kind === 'scalar' && items.value === null)) {
    list.report({ parent: undefined, segment: 'items' }, items.offset, `Invalid value: ${JSON.stringify(nameOf(items))}: must be a list`);
  }
  if (list.problems.length > 0) into.push({ index: into.length, pod: undefined, problems: list.problems, locate: locator(root, lines) });
}

function scalarOf(node: MapNode, key: string): ScalarNode['value'] | undefined {
  const value = node.entries.get(key)?.value;
  return value?.kind === 'scalar' ? value.value : undefined;
}

function checkApiVersion(root: MapNode, decoder: Decoder): void {
  const entry = root.entries.get('apiVersion');
  const link = { parent: undefined, segment: 'apiVersion' };
  if (entry === undefined) decoder.report(link, root.offset, 'Required value: must be "v1"');
  else if (entry.value.kind !== 'scalar' || entry.value.value !== 'v1') {
    decoder.report(link, entry.value.offset, `Unsupported value: ${JSON.stringify(shown(entry.value))}: supported values: "v1"`);
  }
}

interface DocumentOptions {
  readonly index: number;
  readonly problems: readonly Problem[];
  /** Items of a PodList need neither `kind` nor `apiVersion` (S-074). */
  readonly isItem: boolean;
}

function decodeDocumentPod(root: ManifestNode, lines: Lines, options: DocumentOptions): DecodedDocument {
  const decoder = new Decoder(lines, options.problems);
  const { index, isItem } = options;
  if (root.kind !== 'map') {
    if (options.problems.length === 0) {
      decoder.report(undefined, root.offset, 'not a manifest: expected a Pod with apiVersion, kind, metadata and spec');
    }
    return { index, pod: undefined, problems: decoder.problems, locate: () => lines.position(root.offset) };
  }
  const locate = locator(root, lines);
  const kind = root.entries.get('kind');
  const kindLink = { parent: undefined, segment: 'kind' };
  if (!(isItem && !root.entries.has('apiVersion'))) checkApiVersion(root, decoder);
  if (kind === undefined) {
    if (!isItem) decoder.report(kindLink, root.offset, 'Required value: must be "Pod"');
    // Some other file altogether: its fields are not worth a word each.
    if (!isItem && !root.entries.has('spec')) return { index, pod: undefined, problems: decoder.problems, locate };
  } else if (kind.value.kind !== 'scalar' || kind.value.value !== 'Pod') {
    const advice =
      kind.value.kind === 'scalar' && kind.value.source.toLowerCase() === 'pod' ? '' : '; nothing but Pods can run without a control plane';
    decoder.report(
      kindLink,
      kind.value.offset,
      `Unsupported value: ${JSON.stringify(shown(kind.value))}: supported values: "Pod"${advice}`,
    );
    return { index, pod: undefined, problems: decoder.problems, locate };
  }
  const object = decoder.object(root, 'Pod', undefined);
  const pod = { ...object, apiVersion: 'v1', kind: 'Pod', metadata: object['metadata'] ?? {}, spec: object['spec'] ?? {} } as DecodedPod;
  return { index, pod, problems: decoder.finish(), locate };
}

/** Path of a value, from the inside out; turned into text only for a problem. */
interface Link {
  readonly parent: Link | undefined;
  readonly segment: string | number;
  /** A key of a map of values (`[key]`), not a field of an object (`.key`). */
  readonly isKey?: boolean | undefined;
  /** Type of the object that has the field, for "did you mean". */
  readonly owner?: string | undefined;
}

function pathOf(link: Link | undefined): string {
  if (link === undefined) return '';
  const parent = pathOf(link.parent);
  if (typeof link.segment === 'number') return `${parent}[${link.segment}]`;
  if (link.isKey === true) return `${parent}[${link.segment}]`;
  return parent === '' ? link.segment : `${parent}.${link.segment}`;
}

class Decoder {
  readonly problems: Problem[];
  readonly #lines: Lines;
  #suppressed = 0;
  #values = 0;

  constructor(lines: Lines, problems: readonly Problem[]) {
    this.#lines = lines;
    this.problems = [...problems];
  }

  report(link: Link | undefined, offset: number, message: string): undefined {
    if (this.problems.length >= maxProblems) this.#suppressed += 1;
    else this.problems.push({ field: pathOf(link), message, ...this.#lines.position(offset) });
    return undefined;
  }

  finish(): readonly Problem[] {
    if (this.#suppressed > 0) this.problems.push({ field: '', message: `and ${this.#suppressed} more problems` });
    return this.problems;
  }

  object(node: MapNode, typeName: string, parent: Link | undefined): Record<string, unknown> {
    const members = fieldTypes.get(typeName);
    const result: Record<string, unknown> = {};
    for (const [key, entry] of node.entries) {
      const link: Link = { parent, segment: key, owner: typeName };
      const type = members?.get(key)?.type;
      if (type === undefined) {
        const owners: string[] = [];
        for (let at = parent; at !== undefined; at = at.parent) if (at.owner !== undefined) owners.push(at.owner);
        this.report(link, entry.keyOffset, describeUnknownField(key, typeName, owners));
        continue;
      }
      const value = this.#value(entry.value, type, link);
      if (value !== undefined) result[key] = value;
    }
    this.#reportDuplicates(node, parent, false);
    return result;
  }

  #reportDuplicates(node: MapNode, parent: Link | undefined, isKey: boolean): void {
    for (const { key, keyOffset } of node.duplicates ?? []) {
      const first = this.#lines.position(node.entries.get(key)?.keyOffset ?? node.offset);
      this.report({ parent, segment: key, isKey }, keyOffset, `Duplicate field: already given on line ${first.line}`);
    }
  }

  /** Undefined for null and for what could not be decoded (which is then reported). */
  #value(node: ManifestNode, type: FieldType, link: Link): unknown {
    if (this.#isTooMuch(node, link)) return undefined;
    if (node.kind === 'scalar' && node.value === null) return undefined;
    switch (type.kind) {
      case 'object':
        return node.kind === 'map' ? this.object(node, type.name, link) : this.#wrongType(node, link, 'an object');
      case 'list':
        return this.#list(node, type.item, link);
      case 'map':
        return this.#map(node, type.item, link);
      case 'scalar':
        if (type.name === 'any') return this.#any(node, link);
        return node.kind === 'scalar' ? this.#scalar(node, type.name, link) : this.#wrongType(node, link, scalarNoun(type.name));
    }
  }

  #list(node: ManifestNode, item: FieldType, link: Link): unknown {
    if (node.kind !== 'list') return this.#wrongType(node, link, 'a list');
    return node.items.map((child, i) => this.#value(child, item, { parent: link, segment: i }) ?? zeroOf(item));
  }

  #map(node: ManifestNode, item: FieldType, link: Link): unknown {
    if (node.kind !== 'map') return this.#wrongType(node, link, 'a map');
    const result: Record<string, unknown> = {};
    for (const [key, entry] of node.entries) {
      // Defined, not assigned: `__proto__` is a key like any other.
      const value = this.#value(entry.value, item, { parent: link, segment: key, isKey: true }) ?? zeroOf(item);
      Object.defineProperty(result, key, { value, enumerable: true, writable: true, configurable: true });
    }
    this.#reportDuplicates(node, link, true);
    return result;
  }

  #any(node: ManifestNode, link: Link): unknown {
    if (this.#isTooMuch(node, link)) return null;
    if (node.kind === 'scalar') return node.value;
    if (node.kind === 'list') return node.items.map((item) => this.#any(item, link));
    return Object.fromEntries([...node.entries].map(([key, entry]) => [key, this.#any(entry.value, link)]));
  }

  #isTooMuch(node: ManifestNode, link: Link): boolean {
    this.#values += 1;
    if (this.#values === maxValues + 1) this.report(link, node.offset, `too many values: more than ${maxValues} after expanding aliases`);
    return this.#values > maxValues;
  }

  #scalar(node: ScalarNode, name: string, link: Link): unknown {
    const { value, source } = node;
    const invalid = (detail: string): undefined => this.report(link, node.offset, `Invalid value: ${shownValue(node)}: ${detail}`);
    switch (name) {
      case 'string':
        if (typeof value === 'string') return value;
        return invalid(`must be a string; put it in quotes: ${JSON.stringify(source)}`);
      case 'boolean':
        if (typeof value === 'boolean') return value;
        return invalid(value === 'true' || value === 'false' ? 'must be a boolean; remove the quotes' : 'must be a boolean: true or false');
      case 'int32':
        return this.#integer(node, invalid, 2 ** 31 - 1);
      case 'int64':
        return this.#integer(node, invalid, Number.MAX_SAFE_INTEGER);
      case 'number':
      case 'double':
        return typeof value === 'number' ? value : invalid('must be a number');
      case 'intOrString':
        if (typeof value === 'string') return value;
        return typeof value === 'number' ? this.#integer(node, invalid, 2 ** 31 - 1) : invalid('must be an integer or a string');
      case 'quantity': {
        // Digits as written keep whole numbers exact that a JavaScript number cannot hold.
        const text = typeof value === 'number' && !/^-?[1-9]\d*$/.test(source) ? String(value) : source;
        if (typeof value !== 'boolean' && parseQuantity(text) !== undefined) return text;
        return invalid("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
      }
      case 'time':
      case 'microtime':
        if (typeof value === 'string' && isRfc3339(value)) return value;
        return invalid('must be a time in RFC 3339 form, for example 2006-01-02T15:04:05Z');
      case 'bytes':
        return typeof value === 'string' && /^[A-Za-z0-9+/\s]*={0,2}\s*$/.test(value) ? value : invalid('must be base64');
      default:
        return value;
    }
  }

  #integer(node: ScalarNode, invalid: (detail: string) => undefined, max: number): number | undefined {
    const { value } = node;
    if (typeof value !== 'number') {
      return invalid(typeof value === 'string' && /^-?\d+$/.test(value) ? 'must be an integer; remove the quotes' : 'must be an integer');
    }
    if (node.isFraction === true || !Number.isInteger(value)) return invalid('must be an integer');
    const min = max === Number.MAX_SAFE_INTEGER ? -max : -max - 1;
    return value < min || value > max ? invalid(`must be between ${min} and ${max}, inclusive`) : value;
  }

  #wrongType(node: ManifestNode, link: Link, expected: string): undefined {
    return this.report(link, node.offset, `Invalid value: ${shownValue(node)}: must be ${expected}`);
  }
}

function scalarNoun(name: string): string {
  const nouns: Readonly<Record<string, string>> = {
    boolean: 'a boolean',
    int32: 'an integer',
    int64: 'an integer',
    number: 'a number',
    double: 'a number',
    intOrString: 'an integer or a string',
    quantity: 'a quantity',
    time: 'a time',
    microtime: 'a time',
  };
  return nouns[name] ?? 'a string';
}

/** The kind of a value, in OpenAPI's words. */
function nameOf(node: ManifestNode): string {
  return node.kind === 'map' ? 'object' : node.kind === 'list' ? 'array' : typeof node.value;
}

function shown(node: ManifestNode): string {
  return node.kind === 'scalar' ? node.source : nameOf(node);
}

/** The bad value as Kubernetes prints it (S-127), cut to a readable length. */
function shownValue(node: ManifestNode): string {
  if (node.kind !== 'scalar') return JSON.stringify(nameOf(node));
  const text =
    typeof node.value === 'string' ? JSON.stringify(node.value) : typeof node.value === 'number' ? node.source : String(node.value);
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

function isRfc3339(text: string): boolean {
  const match = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:[.,]\d+)?(?:Z|[+-](\d{2}):(\d{2}))$/.exec(text);
  if (match === null) return false;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1, 7).map(Number);
  const isLeap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  const days = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1] ?? 0;
  return day >= 1 && day <= days && hour < 24 && minute < 60 && second < 60;
}

/** Splits `a.b[0].c[x.y/z]` into its names, indices and keys. */
function segmentsOf(field: string): string[] {
  return [...field.matchAll(/\[([^\]]*)\]|[^.[\]]+/g)].map((match) => match[1] ?? match[0]);
}

function locator(root: ManifestNode, lines: Lines): Locate {
  return (field) => {
    let offset = root.offset;
    let node = root;
    for (const segment of segmentsOf(field)) {
      if (node.kind === 'map') {
        const entry = node.entries.get(segment);
        if (entry === undefined) break;
        node = entry.value;
        // A scalar is found at its value, what contains others at its key: that is where one looks.
        offset = node.kind === 'scalar' && node.value !== null ? node.offset : entry.keyOffset;
      } else if (node.kind === 'list') {
        const item = /^\d+$/.test(segment) ? node.items[Number(segment)] : undefined;
        if (item === undefined) break;
        node = item;
        offset = item.offset;
      } else {
        break;
      }
    }
    return lines.position(offset);
  };
}
