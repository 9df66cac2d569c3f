// One watch request: what the client gets of a resource's changes, in order, until its time is over (H-122 … H-125).
import { linkSignals } from '../../std/async.ts';
import type { Clock } from '../../std/clock.ts';
import type { Random } from '../../std/random.ts';
import type { Change, KubeObject } from '../watch-cache.ts';
import { expired } from './api-error.ts';
import type { ListOptions } from './query.ts';
import type { EventEncoder } from './render.ts';
import type { Resource } from './resources.ts';

/** A client that lags by more changes than this is disconnected; it will list and watch again. */
const maxQueued = 1024;
const bookmarkIntervalMs = 60_000;
const defaultTimeoutSeconds = 1800;

export interface WatchRequest {
  readonly resource: Resource;
  readonly options: ListOptions;
  /** Scope (namespace, name) and selectors. */
  readonly matches: (object: KubeObject) => boolean;
  readonly encoder: EventEncoder;
}

export interface WatchDeps {
  readonly clock: Clock;
  readonly random: Random;
}

/** What a change is to a watcher that sees only what `matches`; undefined when it is nothing to it. */
export function seenThrough(change: Change<KubeObject>, matches: (object: KubeObject) => boolean): Change<KubeObject> | undefined {
  const before = change.previous !== undefined && matches(change.previous);
  if (change.type === 'DELETED') return before ? change : undefined;
  const after = matches(change.object);
  if (after && (before || change.type === 'ADDED')) return change;
  if (after) return { ...change, type: 'ADDED', previous: undefined };
  if (!before || change.previous === undefined) return undefined;
  const last = change.previous;
  return { ...change, type: 'DELETED', object: { ...last, metadata: { ...last.metadata, resourceVersion: String(change.version) } } };
}

export async function* watchEvents(
  { resource, options, matches, encoder }: WatchRequest,
  deps: WatchDeps,
  signal: AbortSignal,
): AsyncIterable<Uint8Array> {
  const { clock, random } = deps;
  const { cache } = resource;
  const queue: Change<KubeObject>[] = [];
  let isLost = false;
  let wake: (() => void) | undefined;
  // One timer for many changes: they come far more often than it rings.
  using life = linkSignals(signal);
  let isAlarmSet = false;
  const ring = (): void => {
    isAlarmSet = false;
    wake?.();
  };
  const unsubscribe = cache.subscribe((change) => {
    if (queue.length >= maxQueued) isLost = true;
    else queue.push(change);
    wake?.();
  });
  try {
    const from = options.resourceVersion ?? 0;
    if (options.sendInitialEvents ?? from === 0) {
      const objects = cache.list();
      const version = cache.currentVersion;
      // Everything queued by now is in that list.
      queue.length = 0;
      for (const object of objects) if (matches(object)) yield encoder.event('ADDED', object, clock.now());
      if (options.sendInitialEvents === true && options.allowWatchBookmarks) yield encoder.bookmark(version, true, clock.now());
    } else if (from > 0) {
      const missed = cache.since(from);
      if (missed === undefined) {
        yield encoder.error(expired(`too old resource version: ${from} (${cache.currentVersion})`).status);
        return;
      }
      queue.length = 0;
      queue.push(...missed);
    }
    const timeoutSeconds = options.timeoutSeconds ?? 0;
    const lifetimeMs = (timeoutSeconds > 0 ? timeoutSeconds : defaultTimeoutSeconds * (1 + random.next())) * 1000;
    const endsAt = clock.now() + lifetimeMs;
    let bookmarkAt = options.allowWatchBookmarks ? clock.now() + bookmarkIntervalMs : Number.POSITIVE_INFINITY;
    for (;;) {
      for (let change = queue.shift(); change !== undefined; change = queue.shift()) {
        const seen = seenThrough(change, matches);
        if (seen !== undefined) yield encoder.change(seen, clock.now());
      }
      if (isLost || signal.aborted || clock.now() >= endsAt) return;
      if (clock.now() >= bookmarkAt) {
        yield encoder.bookmark(cache.currentVersion, false, clock.now());
        bookmarkAt = clock.now() + bookmarkIntervalMs;
        continue;
      }
      if (!isAlarmSet) {
        isAlarmSet = true;
        clock.sleep(Math.min(endsAt, bookmarkAt) - clock.now(), life.signal).then(ring, ring);
      }
      // What came while the last change was sent would wake nobody.
      if (queue.length > 0) continue;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
      wake = undefined;
    }
  } finally {
    unsubscribe();
    life.abort(undefined);
  }
}
