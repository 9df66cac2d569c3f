// Sends Events to the API server: as the kubelet counts, folds and limits them, kept in a bounded queue while the server
// is away (S-397 … S-406). Recording never waits and never fails.

import type { EventObject, EventSink, EventType } from '../api/events.ts';
import type { Event } from '../api/gen/kubernetes.ts';
import { raceSignal, type TaskGroup } from '../std/async.ts';
import type { Clock } from '../std/clock.ts';
import { messageOf } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import type { Metrics } from '../std/metrics.ts';
import type { Random } from '../std/random.ts';
import { Backoff } from './backoff.ts';
import { EventCorrelator } from './event-correlator.ts';
import type { FaultBook } from './faults.ts';
import { ApiError, isApiError, type KubeApi, paths } from './kube-api.ts';
import { TokenBucket } from './token-bucket.ts';

export interface EventForwarderOptions {
  readonly nodeName: string;
  /** `eventRecordQPS`, `eventBurst`. */
  readonly qps: number;
  readonly burst: number;
}

export interface EventForwarderDeps {
  readonly api: KubeApi;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly faults: FaultBook;
}

/** Different Events that wait; repeats of one take one place. Beyond it the oldest is dropped. */
const maxPending = 1000;
const maxCreated = 4096;

export class EventForwarder implements EventSink {
  readonly #deps: EventForwarderDeps;
  readonly #correlator: EventCorrelator;
  readonly #bucket: TokenBucket;
  /** Newest state of what is to be sent, oldest first. */
  readonly #pending = new Map<string, Event>();
  /** Key → name of the Event the server has. */
  readonly #created = new Map<string, string>();
  readonly #counter;
  readonly #gauge;
  #wake: () => void = () => undefined;

  constructor(options: EventForwarderOptions, deps: EventForwarderDeps) {
    this.#deps = deps;
    this.#correlator = new EventCorrelator(options);
    this.#bucket = new TokenBucket({ perSecond: options.qps, burst: options.burst }, deps);
    this.#counter = deps.metrics.counter({
      name: 'pinpod_events_forwarded_total',
      help: 'Events by what became of them: sent, or dropped by a limit, a full queue or the API server.',
      labels: ['outcome'],
    });
    this.#gauge = deps.metrics.gauge({ name: 'pinpod_events_pending', help: 'Events that wait for the API server.' });
  }

  get pending(): number {
    return this.#pending.size;
  }

  record(object: EventObject, type: EventType, reason: string, message: string): void {
    // Of the Node only its name is known for certain (S-398).
    const of = object.kind === 'Node' ? { ...object, uid: '' } : object;
    const correlated = this.#correlator.correlate({ object: of, type, reason, message, at: this.#deps.clock.now() });
    if (correlated === undefined) {
      this.#counter.inc({ outcome: 'limited' });
      return;
    }
    // An Event that waits already keeps its place.
    this.#pending.set(correlated.key, correlated.event);
    const oldest = this.#pending.keys().next();
    if (this.#pending.size > maxPending && oldest.done !== true) {
      this.#pending.delete(oldest.value);
      this.#counter.inc({ outcome: 'overflow' });
    }
    this.#gauge.set(this.#pending.size);
    this.#wake();
  }

  start(group: TaskGroup): void {
    group.spawn('event-forwarder', (o) => this.#run(o));
  }

  async #run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const backoff = new Backoff({ baseMs: 1000, maxMs: 60_000 }, this.#deps);
    for (;;) {
      signal.throwIfAborted();
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      const next = this.#pending.entries().next();
      if (next.done === true) {
        await raceSignal(woken, signal);
        continue;
      }
      const [key, event] = next.value;
      await this.#bucket.take(signal);
      try {
        await this.#send(key, event, signal);
        backoff.reset();
        this.#counter.inc({ outcome: 'sent' });
        this.#deps.faults.clear('events');
        this.#done(key, event);
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof ApiError && error.isServerWide) {
          // It stays; the gate sets the pace, this only keeps a gate that opens and closes from being hammered.
          await this.#deps.clock.sleep(backoff.next(error.retryAfterMs), signal);
          continue;
        }
        // The server's answer is final for this Event (S-405).
        this.#deps.logger.debug('event dropped', { reason: event.reason, error: messageOf(error) });
        this.#counter.inc({ outcome: 'refused' });
        // A missing namespace is said where it matters: at the mirror of the Pod.
        if (!isApiError(error, 'namespace-missing', 'namespace-terminating')) this.#deps.faults.report('events', '', error);
        this.#done(key, event);
      }
    }
  }

  async #send(key: string, event: Event, signal: AbortSignal): Promise<void> {
    const namespace = event.metadata.namespace ?? 'default';
    const name = this.#created.get(key);
    let fresh = event;
    if (name !== undefined) {
      const { count, lastTimestamp, message } = event;
      const path = `${paths.events(namespace)}/${encodeURIComponent(name)}`;
      try {
        await this.#deps.api.request(
          { method: 'PATCH', path, body: { count, lastTimestamp, message }, contentType: 'application/strategic-merge-patch+json' },
          { signal },
        );
        return;
      } catch (error) {
        // Events live an hour there: start a new one that counts on.
        if (!isApiError(error, 'not-found')) throw error;
        this.#created.delete(key);
        fresh = this.#correlator.renew(key, this.#deps.clock.now()) ?? event;
      }
    }
    try {
      await this.#deps.api.request({ method: 'POST', path: paths.events(namespace), body: fresh }, { signal });
    } catch (error) {
      // Our own create, whose answer was lost.
      if (!isApiError(error, 'already-exists')) throw error;
    }
    this.#created.set(key, fresh.metadata.name ?? '');
    const oldest = this.#created.keys().next();
    if (this.#created.size > maxCreated && oldest.done !== true) this.#created.delete(oldest.value);
  }

  /** Repeats that came while it was being sent stay pending. */
  #done(key: string, event: Event): void {
    if (this.#pending.get(key) === event) this.#pending.delete(key);
    this.#gauge.set(this.#pending.size);
  }
}
