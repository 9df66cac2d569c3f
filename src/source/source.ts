// What a source of manifests hands on: always its complete set, so that whoever reads it needs no history (S-219).
import type { Pod } from '../api/pod.ts';
import type { Problem } from '../api/problem.ts';
import type { Instant } from '../std/clock.ts';

export type { Problem } from '../api/problem.ts';

/** What became of one manifest (D5). */
export type Verdict =
  | { readonly kind: 'accepted' }
  /** The content cannot be used. `keptPods`: the last good version of this file still runs. */
  | { readonly kind: 'rejected'; readonly problems: readonly Problem[]; readonly keptPods: boolean }
  /** Another manifest has the same Pod; `by` names its file. */
  | { readonly kind: 'shadowed'; readonly by: string }
  /** Not a manifest (editor backup, directory, …). */
  | { readonly kind: 'ignored'; readonly why: string };

/** One manifest: a file, or one item of a URL's answer. */
export interface ManifestReport {
  /** What a person recognises it by: the file's path, or the URL. */
  readonly path: string;
  /** For a file with several documents or a list: which one, from 0; undefined for a whole file. */
  readonly index?: number | undefined;
  /** `<namespace>/<name>` of the Pod (with the node suffix), where it could be read. */
  readonly pod?: string | undefined;
  readonly verdict: Verdict;
}

export interface SourceSnapshot {
  /** `file` or `http`: the value of the annotation `kubernetes.io/config.source`. */
  readonly source: string;
  readonly pods: readonly Pod[];
  /** Those of shadowed manifests: they do not run, but would if the other one went. */
  readonly shadowed?: readonly Pod[] | undefined;
  readonly manifests: readonly ManifestReport[];
  /** Why the source as a whole could not be read (folder missing, URL failing); its last good Pods are kept (D1). */
  readonly fault?: string | undefined;
  /** Why changes are only found by the rescan. */
  readonly unwatched?: string | undefined;
  /** Nothing at all is known of this source yet: it does not count as seen (S-233). */
  readonly unread?: true | undefined;
  readonly readAt: Instant;
}

export interface PodSource {
  readonly name: string;
  /** Complete snapshots: one at once, then one per change. Ends when the signal aborts. */
  snapshots(options: { readonly signal: AbortSignal }): AsyncIterable<SourceSnapshot>;
}
