// A decorator around KubeApi that keeps one broken server from being asked by everybody: after a fault of the server as
// a whole the gate closes for a growing, jittered time; then one request goes through, and its outcome decides. It also
// holds the client-wide rate (kubeAPIQPS, kubeAPIBurst).
import { raceSignal } from '../std/async.ts';
import type { Clock } from '../std/clock.ts';
import type { Random } from '../std/random.ts';
import { Backoff } from './backoff.ts';
import type { FaultBook } from './faults.ts';
import { ApiError, type ApiRequest, isApiError, type KubeApi, type WatchEvent, type WatchRequest } from './kube-api.ts';
import { TokenBucket } from './token-bucket.ts';

export interface ApiGateOptions {
  readonly qps: number;
  readonly burst: number;
}

export interface ApiGateDeps {
  readonly api: KubeApi;
  readonly clock: Clock;
  readonly random: Random;
  readonly faults: FaultBook;
}

export class ApiGate implements KubeApi {
  readonly #deps: ApiGateDeps;
  readonly #backoff: Backoff;
  readonly #bucket: TokenBucket;
  /** By `Clock.elapsed`. */
  #closedUntil: number | undefined;
  #probing = false;
  #changed: PromiseWithResolver = resolver();

  constructor(options: ApiGateOptions, deps: ApiGateDeps) {
    this.#deps = deps;
    this.#backoff = new Backoff({ baseMs: 1000, maxMs: 30_000 }, deps);
    this.#bucket = new TokenBucket({ perSecond: options.qps, burst: options.burst }, deps);
  }

  async request(request: ApiRequest, options: { readonly signal: AbortSignal }): Promise<unknown> {
    const isProbe = await this.#pass(options.signal);
    try {
      const answer = await this.#deps.api.request(request, options);
      this.succeeded();
      return answer;
    } catch (error) {
      this.failed(error);
      throw error;
    } finally {
      if (isProbe) this.#probeEnded();
    }
  }

  async watch(request: WatchRequest, options: { readonly signal: AbortSignal }): Promise<AsyncIterable<WatchEvent>> {
    const isProbe = await this.#pass(options.signal);
    try {
      const events = await this.#deps.api.watch(request, options);
      this.succeeded();
      return this.#observe(events);
    } catch (error) {
      this.failed(error);
      throw error;
    } finally {
      if (isProbe) this.#probeEnded();
    }
  }

  async *#observe(events: AsyncIterable<WatchEvent>): AsyncIterable<WatchEvent> {
    try {
      yield* events;
    } catch (error) {
      // A silent or broken watch says little about the server; the next request will.
      if (!isApiError(error, 'timeout', 'unreachable')) this.failed(error);
      throw error;
    }
  }

  /** Whoever talks to the server around the gate (heartbeats, S-384) tells it what happened. */
  succeeded(): void {
    this.#backoff.reset();
    this.#deps.faults.clear('server');
    if (this.#closedUntil === undefined) return;
    this.#closedUntil = undefined;
    this.#notify();
  }

  failed(error: unknown): void {
    if (!(error instanceof ApiError)) return;
    if (!error.isServerWide) {
      // It answered: it is there.
      this.succeeded();
      return;
    }
    this.#deps.faults.report('server', '', error);
    // Requests that were already under way when it closed do not make the wait grow.
    if (this.#closedUntil !== undefined && this.#closedUntil > this.#deps.clock.elapsed()) return;
    this.#closedUntil = this.#deps.clock.elapsed() + this.#backoff.next(error.retryAfterMs);
  }

  /** Waits until a request may be sent; true if it is the one that tries a server that failed. */
  async #pass(signal: AbortSignal): Promise<boolean> {
    for (;;) {
      signal.throwIfAborted();
      const until = this.#closedUntil;
      if (until === undefined) {
        await this.#bucket.take(signal);
        if (this.#closedUntil === undefined) return false;
        continue;
      }
      const left = until - this.#deps.clock.elapsed();
      if (left <= 0 && !this.#probing) {
        this.#probing = true;
        return true;
      }
      await this.#waitForChange(left > 0 ? left : undefined, signal);
    }
  }

  async #waitForChange(ms: number | undefined, signal: AbortSignal): Promise<void> {
    const changed = this.#changed.promise;
    if (ms === undefined) {
      await raceSignal(changed, signal);
      return;
    }
    const round = new AbortController();
    const onAbort = (): void => round.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      const sleep = this.#deps.clock.sleep(ms, round.signal).catch((error: unknown) => {
        if (signal.aborted) throw error;
      });
      await Promise.race([sleep, changed]);
    } finally {
      signal.removeEventListener('abort', onAbort);
      round.abort();
    }
  }

  #probeEnded(): void {
    this.#probing = false;
    this.#notify();
  }

  #notify(): void {
    const { resolve } = this.#changed;
    this.#changed = resolver();
    resolve();
  }
}

interface PromiseWithResolver {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
}

function resolver(): PromiseWithResolver {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>((r) => {
    resolve = r;
  });
  return { promise, resolve };
}
