// Turns a Feed (a set that can be read whole) into what Kubernetes clients expect: objects with resource versions,
// lists as snapshots, watches as the changes since a version (H-120 … H-124). Nothing runs while nobody asks: the feed
// is read at each request, and at each change only as long as there are watchers.
import type { ObjectMeta } from '../api/gen/kubernetes.ts';
import type { Clock } from '../std/clock.ts';
import type { Feed, Unsubscribe } from './views.ts';

/** What every served object has. */
export interface KubeObject {
  readonly apiVersion?: string | undefined;
  readonly kind?: string | undefined;
  readonly metadata?: ObjectMeta | undefined;
}

/**
 * The server's one counter (H-121). It starts from the wall clock in milliseconds, so that it never goes back over a
 * restart unless changes came faster than one a millisecond all along.
 */
export class ResourceVersions {
  #current: number;

  constructor(deps: { readonly clock: Clock }) {
    this.#current = Math.floor(deps.clock.now());
  }

  get current(): number {
    return this.#current;
  }

  next(): number {
    this.#current += 1;
    return this.#current;
  }
}

export type ChangeType = 'ADDED' | 'MODIFIED' | 'DELETED';

export interface Change<T extends KubeObject> {
  readonly version: number;
  readonly type: ChangeType;
  /** For DELETED the last state, with the version of the deletion. */
  readonly object: T;
  /** The state before; undefined for ADDED. */
  readonly previous: T | undefined;
}

interface Entry<T> {
  /** The feed's object this was made from. */
  readonly source: T;
  readonly object: T;
  /** For comparing contents when the reference changed. */
  readonly json: string;
}

const keyOf = (object: KubeObject): string => `${object.metadata?.namespace ?? ''}/${object.metadata?.name ?? ''}`;
const byKey = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

export class WatchCache<T extends KubeObject> {
  readonly #feed: Feed<T>;
  readonly #versions: ResourceVersions;
  readonly #historySize: number;
  readonly #entries = new Map<string, Entry<T>>();
  /** Changes, oldest first; older ones were dropped. */
  readonly #history: Change<T>[] = [];
  /** A watch from before this version would miss something. */
  #oldestKnown: number;
  readonly #listeners = new Set<(change: Change<T>) => void>();
  #unsubscribe: Unsubscribe | undefined;
  #lastList: readonly T[] | undefined;
  #sorted: readonly T[] | undefined;

  constructor(options: { readonly historySize?: number }, deps: { readonly feed: Feed<T>; readonly versions: ResourceVersions }) {
    this.#historySize = options.historySize ?? 256;
    this.#feed = deps.feed;
    this.#versions = deps.versions;
    this.#oldestKnown = deps.versions.current;
    this.sync();
    // What was there at the start is no change: a watch from the first version on sees only what follows.
    this.#history.length = 0;
    this.#oldestKnown = deps.versions.current;
  }

  get currentVersion(): number {
    return this.#versions.current;
  }

  get watchers(): number {
    return this.#listeners.size;
  }

  /** By namespace, then name (H-098), as of now. */
  list(): readonly T[] {
    this.sync();
    this.#sorted ??= [...this.#entries.entries()].sort(([a], [b]) => byKey(a, b)).map(([, entry]) => entry.object);
    return this.#sorted;
  }

  get(namespace: string, name: string): T | undefined {
    this.sync();
    return this.#entries.get(`${namespace}/${name}`)?.object;
  }

  /** The changes after `version`, oldest first; undefined when some of them are no longer known (H-124). */
  since(version: number): readonly Change<T>[] | undefined {
    this.sync();
    if (version < this.#oldestKnown) return undefined;
    return this.#history.filter((change) => change.version > version);
  }

  /** Every change from now on. */
  subscribe(listener: (change: Change<T>) => void): Unsubscribe {
    this.sync();
    this.#listeners.add(listener);
    this.#unsubscribe ??= this.#feed.subscribe(() => this.sync());
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0) return;
      this.#unsubscribe?.();
      this.#unsubscribe = undefined;
    };
  }

  /** Reads the feed and turns what differs into changes. */
  sync(): void {
    const list = this.#feed.list();
    if (list === this.#lastList) return;
    this.#lastList = list;
    const seen = new Set<string>();
    const changes: Change<T>[] = [];
    for (const source of list) {
      const key = keyOf(source);
      seen.add(key);
      const known = this.#entries.get(key);
      if (known?.source === source) continue;
      const json = JSON.stringify(source);
      if (known?.json === json) {
        this.#entries.set(key, { ...known, source });
        continue;
      }
      // Another UID under the same name is another object (H-154).
      const replaced = known !== undefined && known.object.metadata?.uid !== source.metadata?.uid;
      if (replaced) changes.push(this.#deletion(known.object));
      const version = this.#versions.next();
      const object = withVersion(source, version);
      const previous = replaced ? undefined : known?.object;
      changes.push({ version, type: previous === undefined ? 'ADDED' : 'MODIFIED', object, previous });
      this.#entries.set(key, { source, object, json });
    }
    for (const [key, entry] of this.#entries) {
      if (seen.has(key)) continue;
      this.#entries.delete(key);
      changes.push(this.#deletion(entry.object));
    }
    if (changes.length === 0) return;
    this.#sorted = undefined;
    this.#history.push(...changes);
    const dropped = this.#history.splice(0, Math.max(0, this.#history.length - this.#historySize)).at(-1);
    if (dropped !== undefined) this.#oldestKnown = dropped.version;
    for (const change of changes) for (const listener of [...this.#listeners]) listener(change);
  }

  #deletion(object: T): Change<T> {
    const version = this.#versions.next();
    return { version, type: 'DELETED', object: withVersion(object, version), previous: object };
  }
}

function withVersion<T extends KubeObject>(object: T, version: number): T {
  return { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } };
}
