// Several manifests → the Pods of one source and the verdict of each: duplicates are found here (D5).
import type { Pod } from '../api/pod.ts';
import type { ManifestReport, Problem } from './source.ts';

/** What decoding makes of the bytes of one file or answer. With problems, the Pods are not used. */
export interface ParsedManifest {
  readonly pods: readonly Pod[];
  readonly problems: readonly Problem[];
  /** `<namespace>/<name>` of the first Pod that cannot be used, where it could be read. */
  readonly name?: string | undefined;
}

/** Decodes, defaults, identifies and validates; pure, and the same for the same bytes and path. */
export type ParseManifest = (bytes: Uint8Array, path: string) => ParsedManifest;

export type Outcome =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'rejected'; readonly problems: readonly Problem[]; readonly name?: string | undefined }
  | { readonly kind: 'ignored'; readonly why: string };

/** One file with its last good Pods, which run whatever the outcome says of its newest contents (D1). */
export interface ManifestState {
  readonly path: string;
  readonly outcome: Outcome;
  readonly goodPods: readonly Pod[];
}

export interface ManifestSet {
  readonly pods: readonly Pod[];
  readonly shadowed: readonly Pod[];
  readonly reports: readonly ManifestReport[];
}

export function podKey(pod: Pick<Pod, 'metadata'>): string {
  return `${pod.metadata.namespace}/${pod.metadata.name}`;
}

/** The first in order wins a name and a UID; the others are shadowed. */
export function combine(manifests: readonly ManifestState[]): ManifestSet {
  const pods: Pod[] = [];
  const shadowed: Pod[] = [];
  const reports: ManifestReport[] = [];
  const owners = new Map<string, string>();
  for (const { path, outcome, goodPods } of manifests) {
    const shadows = goodPods.map((pod, i) => {
      const claims = [`name ${podKey(pod)}`, `uid ${pod.metadata.uid}`];
      const by = claims.map((claim) => owners.get(claim)).find((owner) => owner !== undefined);
      if (by === undefined) {
        for (const claim of claims) owners.set(claim, goodPods.length > 1 ? `${path}[${i}]` : path);
        pods.push(pod);
      } else shadowed.push(pod);
      return by;
    });
    if (outcome.kind === 'rejected') {
      const keptPods = shadows.some((by) => by === undefined);
      const first = goodPods[0];
      const name = outcome.name ?? (first === undefined ? undefined : podKey(first));
      const verdict = { kind: 'rejected', problems: outcome.problems, keptPods } as const;
      reports.push({ path, ...(name === undefined ? {} : { pod: name }), verdict });
    } else if (outcome.kind === 'ignored') reports.push({ path, verdict: outcome });
    else if (goodPods.length === 0) reports.push({ path, verdict: { kind: 'accepted' } });
    else
      for (const [index, pod] of goodPods.entries()) {
        const by = shadows[index];
        const verdict = by === undefined ? ({ kind: 'accepted' } as const) : ({ kind: 'shadowed', by } as const);
        reports.push({ path, ...(goodPods.length > 1 ? { index } : {}), pod: podKey(pod), verdict });
      }
  }
  return { pods, shadowed, reports };
}
