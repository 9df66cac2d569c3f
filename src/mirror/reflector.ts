// Keeps a local copy of some of the server's objects: list once, then watch; a watch that ends goes on from where it
// was, one that is too old lists again. It retries for ever; the gate below it sets the pace.
import type { ListMeta, ObjectMeta } from '../api/gen/kubernetes.ts';
import type { Clock } from '../std/clock.ts';
import type { Random } from '../std/random.ts';
import { Backoff } from './backoff.ts';
import type { FaultBook } from './faults.ts';
import { isApiError, type KubeApi } from './kube-api.ts';

export interface ApiObject {
  readonly metadata?: ObjectMeta | undefined;
}

export interface ReflectorOptions {
  readonly path: string;
  readonly fieldSelector: string;
  /** What faults of it are filed under. */
  readonly name: string;
}

export interface ReflectorDeps {
  readonly api: KubeApi;
  readonly clock: Clock;
  readonly random: Random;
  readonly faults: FaultBook;
}

export type Replaced<T> = { readonly key: string; readonly object: T | undefined };

export class Reflector<T extends ApiObject> {
  readonly #options: ReflectorOptions;
  readonly #deps: ReflectorDeps;
  readonly #objects = new Map<string, T>();
  readonly #onChange: (change: Replaced<T>) => void;
  #synced = false;

  readonly #onSynced: () => void;

  /** `onChange` runs synchronously after the copy has changed, `onSynced` after the first list. */
  constructor(
    options: ReflectorOptions,
    deps: ReflectorDeps & { readonly onChange: (change: Replaced<T>) => void; readonly onSynced?: (() => void) | undefined },
  ) {
    this.#options = options;
    this.#deps = deps;
    this.#onChange = deps.onChange;
    this.#onSynced = deps.onSynced ?? (() => undefined);
  }

  /** One list has been read: absence means something from now on. */
  get isSynced(): boolean {
    return this.#synced;
  }

  /** `key`: `<namespace>/<name>`, or the name of a cluster-wide object. */
  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  list(): readonly T[] {
    return [...this.#objects.values()];
  }

  /** What a write answered is newer than what the watch has delivered so far. Not told to `onChange`. */
  learn(object: T): void {
    const key = keyOf(object);
    if (!isOlder(object, this.#objects.get(key))) this.#objects.set(key, object);
  }

  /** A read or delete found it gone. Not told to `onChange`. */
  forget(key: string, uid: string | undefined): void {
    if (uid === undefined || this.#objects.get(key)?.metadata?.uid === uid) this.#objects.delete(key);
  }

  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const backoff = new Backoff({ baseMs: 1000, maxMs: 30_000 }, this.#deps);
    let version: string | undefined;
    for (;;) {
      const startedAt = this.#deps.clock.elapsed();
      try {
        version ??= await this.#relist(signal);
        version = await this.#follow(version, signal);
      } catch (error) {
        signal.throwIfAborted();
        if (isApiError(error, 'expired')) {
          version = undefined;
        } else {
          // What the server refuses for the whole list may concern the version as well: start afresh.
          if (!isApiError(error) || !error.isServerWide) version = undefined;
          this.#deps.faults.report('watch', this.#options.name, error);
        }
      }
      // A watch that lived for a while was a good one; one that ends at once must not become a storm.
      if (this.#deps.clock.elapsed() - startedAt > 60_000) backoff.reset();
      await this.#deps.clock.sleep(backoff.next(), signal);
    }
  }

  async #relist(signal: AbortSignal): Promise<string> {
    const { path, fieldSelector } = this.#options;
    const seen = new Set<string>();
    const items: T[] = [];
    let version = '';
    let token = '';
    do {
      const query: Record<string, string> = { fieldSelector, limit: '500', ...(token === '' ? {} : { continue: token }) };
      const answer = (await this.#deps.api.request({ method: 'GET', path, query, timeoutMs: 30_000 }, { signal })) as {
        readonly metadata?: ListMeta;
        readonly items?: readonly T[] | null;
      };
      items.push(...(answer.items ?? []));
      version = answer.metadata?.resourceVersion ?? '';
      token = answer.metadata?.continue ?? '';
    } while (token !== '');
    const isFirst = !this.#synced;
    this.#synced = true;
    for (const item of items) {
      const key = keyOf(item);
      seen.add(key);
      if (this.#objects.get(key)?.metadata?.resourceVersion !== item.metadata?.resourceVersion) this.#set(key, item);
    }
    for (const key of [...this.#objects.keys()]) if (!seen.has(key)) this.#set(key, undefined);
    if (isFirst) this.#onSynced();
    return version;
  }

  async #follow(from: string, signal: AbortSignal): Promise<string> {
    const { path, fieldSelector } = this.#options;
    let version = from;
    let isOpen = false;
    const timeoutSeconds = String(Math.round(300 + this.#deps.random.next() * 300));
    const query = { fieldSelector, resourceVersion: version, allowWatchBookmarks: 'true', timeoutSeconds };
    try {
      const events = await this.#deps.api.watch({ path, query, timeoutMs: 30_000, idleTimeoutMs: 180_000 }, { signal });
      isOpen = true;
      this.#deps.faults.clear('watch', this.#options.name);
      for await (const event of events) {
        const object = event.object as T;
        version = object.metadata?.resourceVersion ?? version;
        if (event.type === 'BOOKMARK') continue;
        const key = keyOf(object);
        if (event.type === 'DELETED') {
          // A newer object of that name may have been learned from a write already.
          if (this.#objects.get(key)?.metadata?.uid === object.metadata?.uid) this.#set(key, undefined);
        } else if (!isOlder(object, this.#objects.get(key))) {
          this.#set(key, object);
        }
      }
    } catch (error) {
      // Silence and broken connections are ordinary ends of a watch: go on from the last version seen.
      if (signal.aborted || !isOpen || !isApiError(error, 'timeout', 'unreachable')) throw error;
    }
    return version;
  }

  #set(key: string, object: T | undefined): void {
    if (object === undefined) this.#objects.delete(key);
    else this.#objects.set(key, object);
    this.#onChange({ key, object });
  }
}

export function keyOf(object: ApiObject): string {
  const { namespace, name } = object.metadata ?? {};
  return namespace === undefined || namespace === '' ? (name ?? '') : `${namespace}/${name ?? ''}`;
}

/** Resource versions of one object are comparable numbers since Kubernetes 1.35; those that are not count as newer. */
function isOlder(object: ApiObject, than: ApiObject | undefined): boolean {
  const a = object.metadata?.resourceVersion ?? '';
  const b = than?.metadata?.resourceVersion ?? '';
  return /^\d+$/.test(a) && /^\d+$/.test(b) && object.metadata?.uid === than?.metadata?.uid && BigInt(a) < BigInt(b);
}
