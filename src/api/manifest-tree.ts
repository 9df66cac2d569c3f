// The neutral tree between a manifest's text (JSON or YAML) and strict decoding. Positions are offsets into the text.

export interface ScalarNode {
  readonly kind: 'scalar';
  readonly offset: number;
  readonly value: string | number | boolean | null;
  /** As written: for messages, and for quantities. */
  readonly source: string;
  /** Set on JSON numbers with a fraction or an exponent: those are never integers there, not even `1.0`. */
  readonly isFraction?: boolean | undefined;
}

export interface MapEntry {
  readonly keyOffset: number;
  readonly value: ManifestNode;
}

export interface DuplicateKey {
  readonly key: string;
  readonly keyOffset: number;
}

export interface MapNode {
  readonly kind: 'map';
  readonly offset: number;
  /** The first of several equal keys. */
  readonly entries: ReadonlyMap<string, MapEntry>;
  readonly duplicates: readonly DuplicateKey[] | undefined;
}

export interface ListNode {
  readonly kind: 'list';
  readonly offset: number;
  readonly items: readonly ManifestNode[];
}

/** YAML aliases make this a graph without cycles: the same node may be reached on several ways. */
export type ManifestNode = ScalarNode | MapNode | ListNode;

/** A problem of the text itself, before any field is known. */
export interface TextProblem {
  readonly offset: number;
  readonly message: string;
}

/** One YAML document, or the whole of a JSON file. Where the text has problems there is no `root`: fields would only mislead. */
export interface ManifestText {
  readonly root: ManifestNode | undefined;
  readonly problems: readonly TextProblem[];
}

/** Deeper manifests are refused, so that no recursion can run out of stack. */
export const maxDepth = 200;
