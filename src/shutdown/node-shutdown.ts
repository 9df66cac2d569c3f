// Stage "shutdown": the machine goes down, and the Pods end in order before it does (spec 02, section 11.2). Level-
// triggered: a signal of logind only wakes; whether a shutdown is being prepared is read.
//
//     listening ──► lock held ──► a shutdown begins: nobody is admitted, groups end one after the other ──► lock released
//         ▲             ▲                               │ called off: Pods are admitted again
//         └─ bus or logind went away                    ▼
import type { EventObject, EventSink } from '../api/events.ts';
import type { Pod } from '../api/pod.ts';
import { gracePeriodSeconds } from '../pod/stop.ts';
import type { TerminationCause } from '../pod/work.ts';
import { linkSignals, Mailbox, raceSignal, Superseded } from '../std/async.ts';
import type { Clock } from '../std/clock.ts';
import { AgentError, messageOf } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import type { Gauge, Metrics } from '../std/metrics.ts';
import { groupOf, type ShutdownGroup } from './groups.ts';
import type { Logind, ShutdownLock } from './logind.ts';

export interface NodeShutdownOptions {
  /** By rising priority; not empty. */
  readonly groups: readonly ShutdownGroup[];
  readonly node: EventObject;
}

export interface NodeShutdownDeps {
  readonly logind: Logind;
  readonly pods: {
    /** Those that run or are being ended. */
    active(): readonly Pod[];
    terminate(uid: string, cause: TerminationCause, graceSeconds: number): void;
    /** `listener` is called whenever a Pod may have ended. Returns the end of the subscription. */
    subscribe(listener: () => void): () => void;
  };
  /** Called when a shutdown begins and when it is called off: admission and the Node's readiness depend on it. */
  readonly onChange: (isShuttingDown: boolean) => void;
  readonly events: EventSink;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The Pods being ended for a shutdown; `done` never rejects but for a fault of ours. */
interface Ending {
  stop(): void;
  readonly done: Promise<void>;
}

const retry = { firstMs: 1_000, maxMs: 60_000 };
/** How long logind gets to take a new setting: doubling steps (H-481). */
const reload = { firstMs: 100, steps: 5 };

/** What ended Pods show (L-498). */
const terminated: TerminationCause = {
  kind: 'disrupted',
  reason: 'Terminated',
  message: 'Pod was terminated in response to imminent node shutdown.',
  conditionMessage: 'Pod was terminated in response to imminent node shutdown.',
};

/** H-399: there from the beginning, also where no shutdown is waited for. */
export function shutdownMetrics(metrics: Metrics): { readonly start: Gauge; readonly end: Gauge } {
  const gauge = (what: string): Gauge => {
    const name = `kubelet_graceful_shutdown_${what}_time_seconds`;
    const made = metrics.gauge({ name, help: `[ALPHA] Last graceful shutdown ${what} time since unix epoch in seconds` });
    made.set(0);
    return made;
  };
  return { start: gauge('start'), end: gauge('end') };
}

export class NodeShutdown {
  readonly #options: NodeShutdownOptions;
  readonly #deps: NodeShutdownDeps;
  #isShuttingDown = false;
  #ending: Ending | undefined;
  #hasTold = false;
  readonly #startedAt: Gauge;
  readonly #endedAt: Gauge;

  constructor(options: NodeShutdownOptions, deps: NodeShutdownDeps) {
    this.#options = options;
    this.#deps = deps;
    const { start, end } = shutdownMetrics(deps.metrics);
    this.#startedAt = start;
    this.#endedAt = end;
  }

  /** Lasts until the signal aborts; then the machine waits for nobody here any more. Without logind it says so once. */
  async run(options: { readonly signal: AbortSignal }): Promise<void> {
    try {
      await this.#watch(options);
    } finally {
      await this.#ending?.done;
    }
  }

  async #watch({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { clock, logger } = this.#deps;
    for (let waitMs = retry.firstMs; ; waitMs = Math.min(waitMs * 2, retry.maxMs)) {
      try {
        await this.#extendDelay(signal);
        this.#hasTold = false;
        waitMs = retry.firstMs;
        await this.#attend(signal);
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof AgentError)) throw error;
        if (!this.#hasTold) logger.info('no logind: pods will not end in order when the machine shuts down', { error: messageOf(error) });
        this.#hasTold = true;
        if (error.code === 'program-missing') return;
      }
      await clock.sleep(waitMs, signal);
    }
  }

  get #seconds(): number {
    return this.#options.groups.reduce((sum, group) => sum + group.seconds, 0);
  }

  /** logind must be willing to wait as long as the Pods may take (L-494). */
  async #extendDelay(signal: AbortSignal): Promise<void> {
    const { logind, clock, logger } = this.#deps;
    const seconds = this.#seconds;
    if ((await logind.maxDelayMs({ signal })) >= seconds * 1000) return;
    try {
      await logind.extendDelay(seconds, { signal });
      for (let step = 0; step < reload.steps; step++) {
        await clock.sleep(reload.firstMs * 2 ** step, signal);
        if ((await logind.maxDelayMs({ signal })) >= seconds * 1000) return;
      }
      logger.warn('logind does not wait as long as the pods may take: set InhibitDelayMaxSec in logind.conf', { seconds });
    } catch (error) {
      signal.throwIfAborted();
      logger.warn('logind cannot be told to wait as long as the pods may take', { seconds, error: messageOf(error) });
    }
  }

  /** From the first look until logind or the bus goes away, or a shutdown was called off. */
  async #attend(parent: AbortSignal): Promise<void> {
    const { logind } = this.#deps;
    const link = linkSignals(parent);
    const { signal } = link;
    const news = new Mailbox<true>();
    const over = logind.listen({ signal, onNews: () => news.put(true) });
    let lock: ShutdownLock | undefined;
    try {
      for (;;) {
        const what = await Promise.race([news.take(signal).then(() => 'news' as const), over, ...(lock === undefined ? [] : [lock.lost])]);
        if (what !== 'news') return;
        const isPreparing = await logind.isPreparing({ signal });
        if (isPreparing === this.#isShuttingDown) {
          // Taken before anything happens: while a shutdown is being prepared logind gives none.
          if (isPreparing || lock !== undefined) continue;
          lock = await logind.inhibit({ signal });
          this.#deps.logger.info('the machine waits for pods to end when it shuts down', { seconds: this.#seconds });
          continue;
        }
        this.#change(isPreparing);
        this.#ending?.stop();
        if (!isPreparing) return; // whoever is being ended ends and comes back (D4); the lock is taken anew
        this.#ending = this.#begin(lock, parent);
        lock = undefined; // it is released when the Pods have ended, even if the bus goes away before
      }
    } finally {
      link.abort(new Superseded());
      link[Symbol.dispose]();
      await Promise.allSettled([over, lock?.release()]);
    }
  }

  #begin(lock: ShutdownLock | undefined, parent: AbortSignal): Ending {
    const link = linkSignals(parent);
    const work = async (): Promise<void> => {
      const told = new Set<string>();
      try {
        await this.#endPods(told, link.signal);
        await lock?.release();
        // Who is found only now ends too: an agent that starts during a shutdown hears of it before it knows its Pods.
        for (;;) {
          await this.#untilAny(() => this.#deps.pods.active().some(({ metadata }) => !told.has(metadata.uid)), link.signal);
          await this.#endPods(told, link.signal);
        }
      } catch (error) {
        if (error !== link.signal.reason) throw error;
      } finally {
        link[Symbol.dispose]();
        await lock?.release();
      }
    };
    return { stop: () => link.abort(new Superseded()), done: work() };
  }

  #change(isShuttingDown: boolean): void {
    const { events, logger, onChange } = this.#deps;
    const message = `Shutdown manager detected shutdown ${isShuttingDown ? 'event' : 'cancellation'}`;
    this.#isShuttingDown = isShuttingDown;
    logger.info(isShuttingDown ? 'the machine shuts down' : 'the shutdown of the machine was called off');
    events.record(this.#options.node, 'Normal', 'Shutdown', message);
    onChange(isShuttingDown);
  }

  /** L-495, L-497: the next group's turn comes when the one before has ended or used up its time. */
  async #endPods(told: Set<string>, signal: AbortSignal): Promise<void> {
    const { pods, clock, logger } = this.#deps;
    const { groups } = this.#options;
    const startedAt = clock.now();
    this.#startedAt.set(startedAt / 1000);
    for (const group of groups) {
      const isIn = (pod: Pod): boolean => groupOf(pod, groups) === group;
      for (const pod of pods.active().filter(isIn)) {
        if (told.has(pod.metadata.uid)) continue;
        told.add(pod.metadata.uid);
        pods.terminate(pod.metadata.uid, terminated, Math.min(group.seconds, gracePeriodSeconds(pod)));
      }
      const left = await this.#untilEnded(() => pods.active().filter(isIn), group.seconds * 1000, signal);
      if (left > 0) logger.warn('pods did not end within the time of their group', { priority: group.priority, count: left });
    }
    this.#endedAt.set(clock.now() / 1000);
    logger.info('all pods were ended for the shutdown', { seconds: Math.round((clock.now() - startedAt) / 1000) });
  }

  async #untilAny(isThere: () => boolean, signal: AbortSignal): Promise<void> {
    const news = new Mailbox<true>();
    const unsubscribe = this.#deps.pods.subscribe(() => news.put(true));
    try {
      while (!isThere()) await news.take(signal);
    } finally {
      unsubscribe();
    }
  }

  /** Answers how many are left when the time is over. */
  async #untilEnded(left: () => readonly Pod[], limitMs: number, signal: AbortSignal): Promise<number> {
    const { pods, clock } = this.#deps;
    const link = linkSignals(signal);
    const news = new Mailbox<true>();
    const unsubscribe = pods.subscribe(() => news.put(true));
    let isOver = false;
    const limit = clock.sleep(limitMs, link.signal).then(
      () => {
        isOver = true;
      },
      () => undefined,
    );
    try {
      while (left().length > 0 && !isOver) await raceSignal(Promise.race([news.take(link.signal), limit]), signal);
      return left().length;
    } finally {
      unsubscribe();
      link.abort(new Superseded());
      link[Symbol.dispose]();
      await limit;
    }
  }
}
