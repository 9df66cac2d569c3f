// Pod lifecycle event generator: notices what happens in the runtime and wakes the Pod concerned. Events where the
// runtime has them, with a slow relist as the safety net; a relist every second where it has none. It decides nothing.
//
//     event stream ──► known id ─────────────► onChange(podUid), and later again when it came early
//          │  └──────► unknown id ─► relist ─┘
//          └─ broken / unimplemented ─► relist every second until it is open again
import type { ObservedPod } from '../pod/observation.ts';
import type { CallOptions, Runtime, RuntimeEvent } from '../runtime/runtime.ts';
import { linkSignals, raceSignal, Superseded, TaskGroup } from '../std/async.ts';
import type { Clock, Instant } from '../std/clock.ts';
import { formatDuration } from '../std/duration.ts';
import { messageOf, RuntimeError } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import type { Counter, Gauge, Histogram, Metrics } from '../std/metrics.ts';
import { type ObservingRuntime, observePod, type PodLists } from './observe.ts';

export interface PlegOptions {
  /** Between the end of a relist and the next one while there is no event stream (L-086). Default 1 s. */
  readonly relistPeriodMs?: number;
  /** The same while events arrive. Default 60 s. */
  readonly safetyRelistMs?: number;
  /** Unhealthy when the last good relist began longer ago (L-097). Default 3 min. */
  readonly unhealthyAfterMs?: number;
}

export interface PlegDeps {
  readonly runtime: ObservingRuntime & Pick<Runtime, 'events'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Something about this Pod changed in the runtime. Called often, also for Pods nobody wants; must not throw. */
  readonly onChange: (podUid: string) => void;
  /** The runtime answers again after a time in which it did not: whoever waits for it may try again. */
  readonly onRecovered?: () => void;
}

/** A sandbox or container id → its state, as last seen. */
type PodRecord = ReadonlyMap<string, string>;

/** Unknown ids come in bursts while a sandbox is being made; one relist serves them all. */
const unknownIdDelayMs = 200;
/**
 * containerd's own events (those without a Pod UID) come before its CRI service has taken note of them: whoever looks at
 * once may still see the old state. So what it has of that Pod is listed again, soon and then later.
 */
const echoDelaysMs: readonly number[] = [10, 25, 40, 60, 90, 150, 400, 1_000];
/** For more of them the whole list is cheaper than one list for each. */
const severalPods = 4;
const longestEchoMs = Math.max(...echoDelaysMs);
const nudged = new Superseded('there is something to do');
const reconnect = { firstMs: 100, maxMs: 3_000 };
/** A runtime without events may be replaced by one that has them. */
const unimplementedRetryMs = 60_000;

export class Pleg {
  readonly #relistPeriodMs: number;
  readonly #safetyRelistMs: number;
  readonly #unhealthyAfterMs: number;
  readonly #deps: PlegDeps;
  readonly #duration: Histogram;
  readonly #interval: Histogram;
  readonly #lastSeen: Gauge;
  readonly #podDuration: Histogram;
  readonly #runningPods: Gauge;
  readonly #runningContainers: Gauge;
  readonly #streams: { readonly opened: Counter; readonly broken: Counter; readonly latency: Histogram };
  /** How many containers are in each state, and how many Pods have a sandbox that is ready (H-361, H-362). */
  readonly #states = new Map<string, number>();
  #readyPods = 0;
  readonly #records = new Map<string, PodRecord>();
  readonly #podOf = new Map<string, string>();
  readonly #firstRelist: Promise<void>;
  #relisted: () => void = () => undefined;
  /** When the last good relist began. */
  #lastRelistAt: Instant | undefined;
  #isFailing = false;
  /** When the event stream was opened; undefined while there is none. */
  #streamingSince: Instant | undefined;
  #relistDueAt: Instant = 0;
  /** Times of looks still owed to early events, by Pod. */
  readonly #echoes = new Map<string, readonly Instant[]>();
  #nudgeEchoes: () => void = () => undefined;
  #nudge: () => void = () => undefined;

  constructor(options: PlegOptions, deps: PlegDeps) {
    this.#relistPeriodMs = options.relistPeriodMs ?? 1_000;
    this.#safetyRelistMs = options.safetyRelistMs ?? 60_000;
    this.#unhealthyAfterMs = options.unhealthyAfterMs ?? 180_000;
    this.#deps = deps;
    const { metrics } = deps;
    this.#duration = metrics.histogram({ name: 'kubelet_pleg_relist_duration_seconds', help: '[ALPHA] Duration of a relist' });
    this.#interval = metrics.histogram({
      name: 'kubelet_pleg_relist_interval_seconds',
      help: '[ALPHA] Time between the starts of two relists',
    });
    this.#lastSeen = metrics.gauge({ name: 'kubelet_pleg_last_seen_seconds', help: '[ALPHA] Unix time of the last good relist' });
    this.#podDuration = metrics.histogram({
      name: 'kubelet_pleg_pod_relist_duration_seconds',
      help: '[ALPHA] Duration of a look at one Pod',
    });
    this.#runningPods = metrics.gauge({ name: 'kubelet_running_pods', help: '[ALPHA] Pods with a running sandbox' });
    this.#runningContainers = metrics.gauge({
      name: 'kubelet_running_containers',
      help: '[ALPHA] Containers by state',
      labels: ['container_state'],
    });
    this.#streams = {
      opened: metrics.counter({
        name: 'kubelet_evented_pleg_connection_success_count',
        help: '[ALPHA] Event streams of the runtime that were opened',
      }),
      broken: metrics.counter({
        name: 'kubelet_evented_pleg_connection_error_count',
        help: '[ALPHA] Event streams of the runtime that broke',
      }),
      latency: metrics.histogram({
        name: 'kubelet_evented_pleg_connection_latency_seconds',
        help: '[ALPHA] From the making of an event by the runtime until it was read',
      }),
    };
    // H-384. Events only wake a worker, and wake-ups of one Pod become one: there is no queue that could be full.
    metrics.counter({ name: 'kubelet_pleg_discard_events', help: '[ALPHA] Events that were dropped; pinpod drops none' });
    this.#firstRelist = new Promise((resolve) => {
      this.#relisted = resolve;
    });
  }

  /** Watches the runtime until the signal aborts; then rejects with its reason. Failures of the runtime do not end it. */
  async run({ signal }: CallOptions): Promise<void> {
    const tasks = new TaskGroup({ signal });
    tasks.spawn('pleg relist', (o) => this.#relistForever(o.signal));
    tasks.spawn('pleg events', (o) => this.#listenForever(o.signal));
    tasks.spawn('pleg echoes', (o) => this.#echoForever(o.signal));
    try {
      await raceSignal(tasks.failed, signal);
    } finally {
      await tasks.close(signal.reason);
    }
  }

  /** Resolves after the first good relist: from then on `podUids` is complete. */
  ready({ signal }: CallOptions): Promise<void> {
    return raceSignal(this.#firstRelist, signal);
  }

  /** Everything the runtime has of this Pod, read now. Rejects with a RuntimeError or the signal's reason. */
  async observe(podUid: string, { signal }: CallOptions): Promise<ObservedPod> {
    const { clock, runtime } = this.#deps;
    const startedAt = clock.now();
    const observed = await observePod(runtime, podUid, { signal, onLists: (lists) => this.#record(podUid, lists) });
    this.#podDuration.observe((clock.now() - startedAt) / 1000);
    return observed;
  }

  /** The Pods the runtime had anything of when last asked (L-085): wanted ones, orphans and other people's. */
  podUids(): ReadonlySet<string> {
    return new Set(this.#records.keys());
  }

  /** Why this is not healthy, in the kubelet's words (L-097); undefined when it is. */
  unhealthyReason(): string | undefined {
    if (this.#lastRelistAt === undefined) return 'pleg has yet to be successful';
    const elapsedMs = this.#deps.clock.now() - this.#lastRelistAt;
    if (elapsedMs <= this.#unhealthyAfterMs) return undefined;
    return `pleg was last seen active ${wholeSeconds(elapsedMs)} ago; threshold is ${wholeSeconds(this.#unhealthyAfterMs)}`;
  }

  // ---- Relist -----------------------------------------------------------------------------------------------------

  async #relistForever(signal: AbortSignal): Promise<void> {
    const { clock, logger, onRecovered } = this.#deps;
    for (;;) {
      this.#relistDueAt = Number.POSITIVE_INFINITY;
      try {
        await this.#relist(signal);
        if (this.#isFailing) {
          logger.info('runtime answers again');
          onRecovered?.();
        }
        this.#isFailing = false;
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof RuntimeError)) throw error;
        // Once per outage: a runtime that is down fails every second.
        if (!this.#isFailing) logger.warn('runtime cannot be listed', { code: error.code, error: messageOf(error) });
        this.#isFailing = true;
      }
      this.#requestRelist(this.#period());
      for (;;) {
        const leftMs = this.#relistDueAt - clock.now();
        // More than was ever asked for: the clock was set back meanwhile.
        if (leftMs <= 0 || leftMs > this.#safetyRelistMs) break;
        await this.#pause(leftMs, signal, (nudge) => {
          this.#nudge = nudge;
        });
      }
    }
  }

  async #relist(signal: AbortSignal): Promise<void> {
    const { clock, runtime } = this.#deps;
    const startedAt = clock.now();
    const [sandboxes, containers] = await Promise.all([runtime.listPodSandboxes({}, { signal }), runtime.listContainers({}, { signal })]);
    if (this.#lastRelistAt !== undefined) this.#interval.observe((startedAt - this.#lastRelistAt) / 1000);
    this.#duration.observe((clock.now() - startedAt) / 1000);
    this.#lastSeen.set(startedAt / 1000);
    this.#lastRelistAt = startedAt;
    const current = group({ sandboxes, containers });
    for (const podUid of new Set([...this.#records.keys(), ...current.keys()])) {
      const before = this.#records.get(podUid);
      const after = current.get(podUid);
      this.#setRecord(podUid, after);
      if (!sameRecord(before, after)) this.#deps.onChange(podUid);
    }
    this.#relisted();
  }

  /** A relist will begin within `ms`. */
  #requestRelist(ms: number): void {
    this.#relistDueAt = Math.min(this.#relistDueAt, this.#deps.clock.now() + ms);
    this.#nudge();
  }

  #period(): number {
    if (this.#isFailing || this.#streamingSince === undefined) return this.#relistPeriodMs;
    // Nothing says that a stream is open: until it has lived for a while, what happened meanwhile is looked for as well.
    const isYoung = this.#deps.clock.now() - this.#streamingSince < this.#relistPeriodMs;
    return isYoung ? this.#relistPeriodMs : this.#safetyRelistMs;
  }

  /** Sleeps, at most until nudged. */
  async #pause(ms: number, signal: AbortSignal, whenNudgeable: (nudge: () => void) => void): Promise<void> {
    const link = linkSignals(signal);
    whenNudgeable(() => link.abort(nudged));
    try {
      await this.#deps.clock.sleep(ms, link.signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!link.signal.aborted) throw error;
    } finally {
      whenNudgeable(() => undefined);
      link[Symbol.dispose]();
    }
  }

  // ---- Events -----------------------------------------------------------------------------------------------------

  async #listenForever(signal: AbortSignal): Promise<void> {
    const { clock, logger, runtime } = this.#deps;
    let delayMs = reconnect.firstMs;
    for (;;) {
      try {
        this.#streamingSince = clock.now();
        this.#requestRelist(0);
        // Only what arrives shows that a stream is open.
        let isOpen = false;
        for await (const event of runtime.events({ signal })) {
          if (!isOpen) this.#streams.opened.inc();
          isOpen = true;
          delayMs = reconnect.firstMs;
          this.#handle(event);
        }
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof RuntimeError)) throw error;
        if (error.code === 'unimplemented') {
          logger.info('runtime has no event stream: listing it instead', { periodMs: this.#relistPeriodMs });
          delayMs = unimplementedRetryMs;
        } else {
          this.#streams.broken.inc();
          if (delayMs === reconnect.firstMs)
            logger.warn('event stream of the runtime broke', { code: error.code, error: messageOf(error) });
        }
      }
      this.#streamingSince = undefined;
      this.#requestRelist(0);
      await clock.sleep(delayMs, signal);
      delayMs = delayMs === unimplementedRetryMs ? reconnect.firstMs : Math.min(2 * delayMs, reconnect.maxMs);
    }
  }

  #handle({ podUid, containerId, createdAt }: RuntimeEvent): void {
    if (createdAt !== undefined) this.#streams.latency.observe(Math.max(0, this.#deps.clock.now() - createdAt) / 1000);
    const uid = podUid ?? this.#podOf.get(containerId);
    if (uid === undefined) {
      this.#requestRelist(unknownIdDelayMs);
      return;
    }
    this.#deps.onChange(uid);
    if (podUid !== undefined) return;
    const now = this.#deps.clock.now();
    this.#echoes.set(
      uid,
      echoDelaysMs.map((delayMs) => now + delayMs),
    );
    this.#nudgeEchoes();
  }

  /** Looks again at the Pods of early events, and at no others: with many Pods a whole list is much for one event. */
  async #echoForever(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    for (;;) {
      const now = clock.now();
      const due: string[] = [];
      let nextMs = Number.POSITIVE_INFINITY;
      for (const [uid, times] of this.#echoes) {
        // A time further away than any was set is one of before the clock was set back.
        const left = times.filter((at) => at > now && at <= now + longestEchoMs);
        if (left.length < times.length) due.push(uid);
        if (left.length === 0) this.#echoes.delete(uid);
        else this.#echoes.set(uid, left);
        nextMs = Math.min(nextMs, (left[0] ?? Number.POSITIVE_INFINITY) - now);
      }
      if (due.length > severalPods) this.#requestRelist(0);
      else if (due.length > 0) await Promise.all(due.map((uid) => this.#relistPod(uid, signal)));
      else
        await this.#pause(nextMs, signal, (nudge) => {
          this.#nudgeEchoes = nudge;
        });
    }
  }

  async #relistPod(podUid: string, signal: AbortSignal): Promise<void> {
    const { runtime, onChange } = this.#deps;
    try {
      const [sandboxes, containers] = await Promise.all([
        runtime.listPodSandboxes({ podUid }, { signal }),
        runtime.listContainers({ podUid }, { signal }),
      ]);
      const before = this.#records.get(podUid);
      const after = group({ sandboxes, containers }).get(podUid);
      this.#setRecord(podUid, after);
      if (!sameRecord(before, after)) onChange(podUid);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof RuntimeError)) throw error;
      // The relist of everything finds out what is wrong, and says so.
      this.#requestRelist(0);
    }
  }

  // ---- Records ----------------------------------------------------------------------------------------------------

  /** What a worker has just read needs no wake-up of that worker at the next relist. */
  #record(podUid: string, lists: PodLists): void {
    this.#setRecord(podUid, group(lists).get(podUid));
  }

  #setRecord(podUid: string, record: PodRecord | undefined): void {
    const before = this.#records.get(podUid);
    if (sameRecord(before, record)) return;
    for (const id of before?.keys() ?? []) this.#podOf.delete(id);
    this.#count(before, -1);
    this.#count(record, 1);
    if (record === undefined) {
      this.#records.delete(podUid);
      return;
    }
    this.#records.set(podUid, record);
    for (const id of record.keys()) this.#podOf.set(id, podUid);
  }

  #count(record: PodRecord | undefined, by: 1 | -1): void {
    const states = [...(record?.values() ?? [])];
    if (states.includes('ready')) this.#readyPods += by;
    this.#runningPods.set(this.#readyPods);
    for (const state of states) {
      if (state === 'ready' || state === 'notReady') continue;
      const count = (this.#states.get(state) ?? 0) + by;
      this.#states.set(state, count);
      this.#runningContainers.set(count, { container_state: state });
    }
  }
}

/** By Pod UID; what carries none belongs to nobody we could wake (L-079). */
function group({ sandboxes, containers }: PodLists): ReadonlyMap<string, PodRecord> {
  const pods = new Map<string, Map<string, string>>();
  for (const { podUid, id, state } of [...sandboxes, ...containers]) {
    if (podUid === '') continue;
    const pod = pods.get(podUid) ?? new Map<string, string>();
    pods.set(podUid, pod.set(id, state));
  }
  return pods;
}

function sameRecord(a: PodRecord | undefined, b: PodRecord | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.size === b.size && [...a].every(([id, state]) => b.get(id) === state);
}

/** Whole seconds, as the kubelet's message has them. */
function wholeSeconds(ms: number): string {
  return formatDuration(Math.floor(ms / 1000) * 1000);
}
