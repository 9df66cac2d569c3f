// Snapshots of all sources → the desired Pods. Each snapshot is complete, so nothing here depends on history but the
// time a UID was first seen, and the object that a worker already has of it.
import { isDeepStrictEqual } from 'node:util';

import { annotationKeys, type Pod } from '../api/pod.ts';
import type { ManifestReport, SourceSnapshot, Verdict } from '../source/source.ts';
import { type Clock, type Instant, toRfc3339Nano } from '../std/clock.ts';

export interface PodConfigOptions {
  /** Names of the configured sources; of two with the same Pod the earlier one has it. */
  readonly sources: readonly string[];
}

export interface SourceState {
  readonly source: string;
  /** Something is known of it (S-233). */
  readonly isSeen: boolean;
  readonly fault: string | undefined;
  /** Why changes are only found by the rescan. */
  readonly unwatched: string | undefined;
  /** When it last said something new; undefined: never. */
  readonly readAt: Instant | undefined;
}

export interface SourcedReport extends ManifestReport {
  /** The name of its source. */
  readonly source: string;
}

/** All sources as one. */
export interface Combined {
  readonly desired: ReadonlyMap<string, Pod>;
  readonly manifests: readonly SourcedReport[];
}

export class PodConfig {
  #options: PodConfigOptions;
  readonly #clock: Clock;
  readonly #snapshots = new Map<string, SourceSnapshot>();
  readonly #seen = new Set<string>();
  #desired: ReadonlyMap<string, Pod> = new Map();
  #manifests: readonly SourcedReport[] = [];

  constructor(options: PodConfigOptions, deps: { readonly clock: Clock }) {
    this.#options = options;
    this.#clock = deps.clock;
  }

  /**
   * Takes the newest snapshot of a source. Answers the UIDs whose Pod is to be looked at: gone ones first, then new
   * ones, then those with a meaningful change (S-221, S-223). A snapshot of a source that is not configured is ignored.
   */
  apply(snapshot: SourceSnapshot): readonly string[] {
    if (!this.#options.sources.includes(snapshot.source)) return [];
    const last = this.#snapshots.get(snapshot.source);
    // A reload led the source elsewhere, and nothing is known of that place yet: what ran runs on (D1).
    const isKept = snapshot.unread === true && last !== undefined && this.#seen.has(snapshot.source);
    this.#snapshots.set(snapshot.source, isKept ? { ...last, fault: snapshot.fault, readAt: snapshot.readAt } : snapshot);
    if (snapshot.unread !== true) this.#seen.add(snapshot.source);
    return this.#merge();
  }

  /** After a reload. The Pods of sources that are not configured any more are gone; answers as `apply`. */
  configure(options: PodConfigOptions): readonly string[] {
    this.#options = options;
    for (const source of this.#snapshots.keys()) {
      if (options.sources.includes(source)) continue;
      this.#snapshots.delete(source);
      this.#seen.delete(source);
    }
    return this.#merge();
  }

  /** What `desired` and `manifests` would be with this snapshot of one source. Changes nothing. */
  preview(snapshot: SourceSnapshot): Combined {
    return this.#combine(new Map(this.#snapshots).set(snapshot.source, snapshot));
  }

  /** By UID. The map is replaced, never changed; a Pod without a meaningful change stays the same object. */
  desired(): ReadonlyMap<string, Pod> {
    return this.#desired;
  }

  /** Every Pod that a manifest names, shadowed ones included. */
  *named(): Iterable<Pod> {
    for (const { pods, shadowed = [] } of this.#snapshots.values()) yield* [...pods, ...shadowed];
  }

  /**
   * Whether every configured source has been read. Before that a running Pod that is not desired may only be unknown
   * yet, and must not be stopped (S-235); one that `apply` answered as gone may.
   */
  get allSourcesSeen(): boolean {
    return this.#options.sources.every((source) => this.#seen.has(source));
  }

  /** The same for the Pods of one source, as their annotation `kubernetes.io/config.source` names it. */
  hasSeen(source: string): boolean {
    return this.#seen.has(source) || !this.#options.sources.includes(source);
  }

  /** The verdict of every manifest, of all sources. */
  manifests(): readonly SourcedReport[] {
    return this.#manifests;
  }

  sources(): readonly SourceState[] {
    return this.#options.sources.map((source) => {
      const snapshot = this.#snapshots.get(source);
      const { fault, unwatched, readAt } = snapshot ?? {};
      return { source, isSeen: this.#seen.has(source), fault, unwatched, readAt };
    });
  }

  #merge(): readonly string[] {
    const before = this.#desired;
    const { desired, manifests } = this.#combine(this.#snapshots);
    this.#desired = desired;
    this.#manifests = manifests;
    const gone = [...before.keys()].filter((uid) => !desired.has(uid));
    const added = [...desired.keys()].filter((uid) => !before.has(uid));
    const changed = [...desired].filter(([uid, pod]) => before.has(uid) && before.get(uid) !== pod).map(([uid]) => uid);
    return [...gone, ...added, ...changed];
  }

  #combine(snapshots: ReadonlyMap<string, SourceSnapshot>): Combined {
    const before = this.#desired;
    const desired = new Map<string, Pod>();
    const manifests: SourcedReport[] = [];
    /** `<namespace>/<name>` and UID → the manifest that has it. */
    const owners = new Map<string, string>();
    for (const source of this.#options.sources) {
      const snapshot = snapshots.get(source);
      if (snapshot === undefined) continue;
      const paths = pathsByPod(snapshot.manifests);
      const shadows = new Map<string, string>();
      for (const pod of snapshot.pods) {
        const { namespace, name, uid } = pod.metadata;
        const key = `${namespace}/${name}`;
        const by = owners.get(key) ?? owners.get(uid);
        if (by !== undefined) {
          shadows.set(key, by);
          continue;
        }
        const path = paths.get(key) ?? source;
        owners.set(key, path).set(uid, path);
        desired.set(uid, this.#adopt(before.get(uid), pod, source));
      }
      manifests.push(...snapshot.manifests.map((report) => ({ ...withShadow(report, shadows), source })));
    }
    return { desired, manifests };
  }

  #adopt(stored: Pod | undefined, pod: Pod, source: string): Pod {
    if (stored !== undefined && !differs(stored, pod)) return stored;
    const seen = stored?.metadata.annotations[annotationKeys.configSeen] ?? toRfc3339Nano(this.#clock.now());
    const annotations = { ...pod.metadata.annotations, [annotationKeys.configSource]: source, [annotationKeys.configSeen]: seen };
    if (stored === undefined) return { ...pod, metadata: { ...pod.metadata, annotations } };
    // Name and namespace, by which the running containers are known, stay (S-224).
    const { name, namespace } = stored.metadata;
    return { ...pod, metadata: { ...pod.metadata, name, namespace, annotations } };
  }
}

const ignoredAnnotations: ReadonlySet<string> = new Set([
  annotationKeys.configSource,
  annotationKeys.configMirror,
  annotationKeys.configSeen,
]);

/** A meaningful difference between two versions of one UID (S-223). */
export function differs(a: Pod, b: Pod): boolean {
  return !isDeepStrictEqual(meaning(a), meaning(b));
}

function meaning({ spec, metadata }: Pod): unknown {
  return {
    spec,
    labels: metadata.labels ?? {},
    deletionTimestamp: metadata.deletionTimestamp,
    deletionGracePeriodSeconds: metadata.deletionGracePeriodSeconds,
    annotations: Object.fromEntries(Object.entries(metadata.annotations).filter(([key]) => !ignoredAnnotations.has(key))),
  };
}

function pathsByPod(reports: readonly ManifestReport[]): ReadonlyMap<string, string> {
  const paths = new Map<string, string>();
  for (const { path, index, pod, verdict } of reports)
    if (pod !== undefined && verdict.kind !== 'shadowed' && !paths.has(pod))
      paths.set(pod, index === undefined ? path : `${path}[${index}]`);
  return paths;
}

function withShadow(report: ManifestReport, shadows: ReadonlyMap<string, string>): ManifestReport {
  const by = report.pod === undefined ? undefined : shadows.get(report.pod);
  if (by === undefined) return report;
  const verdict: Verdict | undefined =
    report.verdict.kind === 'accepted'
      ? { kind: 'shadowed', by }
      : report.verdict.kind === 'rejected'
        ? { ...report.verdict, keptPods: false }
        : undefined;
  return verdict === undefined ? report : { ...report, verdict };
}
