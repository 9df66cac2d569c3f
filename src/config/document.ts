// Text of a configuration file → documents whose every value knows where it was written. Drop-ins are merged on this
// form, so that a value's place survives the merge.
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseAllDocuments, type Tags } from 'yaml';

export interface Place {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly column: number;
}

export type Located =
  | { readonly kind: 'scalar'; readonly value: string | number | boolean | null; readonly place: Place }
  | { readonly kind: 'list'; readonly items: readonly Located[]; readonly place: Place }
  | { readonly kind: 'map'; readonly entries: ReadonlyMap<string, Entry>; readonly place: Place };

export interface Entry {
  readonly keyPlace: Place;
  readonly value: Located;
}

export type LocatedMap = Extract<Located, { kind: 'map' }>;

export interface DocumentProblem {
  readonly place: Place;
  readonly message: string;
}

export interface ParsedDocuments {
  /** Empty documents are left out. */
  readonly documents: readonly Located[];
  readonly problems: readonly DocumentProblem[];
}

// Values of these tags have no JSON form; the kubelet's reader leaves them strings (S-033).
const withoutJsonForm: readonly string[] = ['timestamp', 'binary', 'omap', 'pairs', 'set', 'intTime', 'floatTime'];
const tagNames: Readonly<Record<string, string>> = { 'tag:yaml.org,2002:timestamp': 'timestamp', 'tag:yaml.org,2002:binary': 'binary' };

function jsonTags(tags: Tags): Tags {
  return tags.filter((tag) => {
    if (typeof tag === 'string') return !withoutJsonForm.includes(tag);
    // Base 60 (`12:30:00`) has the ordinary number tags, told by its format.
    return (
      tagNames[tag.tag] === undefined && tag.format !== 'TIME' && !['omap', 'pairs', 'set'].some((name) => tag.tag.endsWith(`:${name}`))
    );
  });
}

/** Parses YAML 1.1 or JSON. Duplicate keys and whatever has no JSON form are problems; the rest is still given. */
export function parseDocuments(text: string, file: string): ParsedDocuments {
  const lines = new LineCounter();
  const problems: DocumentProblem[] = [];
  const placeAt = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(1, line), column: Math.max(1, col) };
  };
  const parsed = parseAllDocuments(text, {
    version: '1.1',
    customTags: jsonTags,
    uniqueKeys: false,
    lineCounter: lines,
    prettyErrors: false,
    logLevel: 'silent',
  });
  if (!Array.isArray(parsed)) return { documents: [], problems };
  const documents: Located[] = [];
  for (const document of parsed) {
    for (const error of document.errors) problems.push({ place: placeAt(error.pos[0]), message: error.message });
    if (document.errors.length > 0 || document.contents === null) continue;
    let aliasesLeft = 1000;
    const convert = (node: unknown, place: Place): Located => {
      const at = placeOf(node) ?? place;
      if (isAlias(node)) {
        const target = aliasesLeft-- > 0 ? node.resolve(document) : undefined;
        if (target !== undefined) return convert(target, at);
        problems.push({ place: at, message: 'too many or unknown aliases' });
        return { kind: 'scalar', value: null, place: at };
      }
      if (isMap(node)) return convertMap(node.items, at);
      if (isSeq(node)) return { kind: 'list', items: node.items.map((item) => convert(item, at)), place: at };
      const value = isScalar(node) ? node.value : node;
      if (value === null || value === undefined) return { kind: 'scalar', value: null, place: at };
      if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return { kind: 'scalar', value, place: at };
      problems.push({ place: at, message: 'a value that JSON cannot express' });
      return { kind: 'scalar', value: null, place: at };
    };
    const placeOf = (node: unknown): Place | undefined => {
      const range = (node as Node | null | undefined)?.range;
      return range === undefined || range === null ? undefined : placeAt(range[0]);
    };
    const convertMap = (pairs: readonly { readonly key: unknown; readonly value: unknown }[], place: Place): Located => {
      const entries = new Map<string, Entry>();
      for (const pair of pairs) {
        const keyPlace = placeOf(pair.key) ?? place;
        const written = isScalar(pair.key) ? pair.key.value : pair.key;
        if (isScalar(pair.key) && pair.key.source === '<<') {
          const merged = convert(pair.value, keyPlace);
          for (const source of merged.kind === 'list' ? merged.items : [merged])
            if (source.kind === 'map') for (const [key, entry] of source.entries) if (!entries.has(key)) entries.set(key, entry);
          continue;
        }
        const key = isScalar(pair.key) && typeof written !== 'string' ? (pair.key.source ?? String(written)) : written;
        if (typeof key !== 'string') {
          problems.push({ place: keyPlace, message: 'a key must be a string' });
          continue;
        }
        const before = entries.get(key);
        if (before !== undefined)
          problems.push({ place: keyPlace, message: `duplicate field "${key}", first in line ${before.keyPlace.line}` });
        entries.set(key, { keyPlace, value: convert(pair.value, keyPlace) });
      }
      return { kind: 'map', entries, place };
    };
    const root = convert(document.contents, { file, line: 1, column: 1 });
    if (root.kind !== 'scalar' || root.value !== null) documents.push(root);
  }
  return { documents, problems };
}

/** RFC 7386: maps merge by key, anything else replaces, null removes (H-331). */
export function mergePatch(base: LocatedMap, patch: LocatedMap): LocatedMap {
  const entries = new Map(base.entries);
  for (const [key, entry] of patch.entries) {
    if (entry.value.kind === 'scalar' && entry.value.value === null) {
      entries.delete(key);
      continue;
    }
    const before = entries.get(key)?.value;
    const merged =
      entry.value.kind === 'map'
        ? mergePatch(before?.kind === 'map' ? before : { ...entry.value, entries: new Map() }, entry.value)
        : entry.value;
    entries.set(key, { keyPlace: entry.keyPlace, value: merged });
  }
  return { kind: 'map', entries, place: base.place };
}

/** Without the places. */
export function plain(located: Located): unknown {
  switch (located.kind) {
    case 'scalar':
      return located.value;
    case 'list':
      return located.items.map(plain);
    case 'map':
      return Object.fromEntries([...located.entries].map(([key, entry]) => [key, plain(entry.value)]));
  }
}
