// How many pulls may run at once (L-357) and how many may begin in a while (L-358).
import { linkSignals, raceSignal } from '../std/async.ts';
import type { Clock, Instant } from '../std/clock.ts';

/** A pull that lasts longer gives its place to the next one: a registry that stalls must not hold up those of others. */
const patienceMs = 5 * 60_000;

/** First come, first served. A waiter whose signal aborts leaves the queue. */
export class PullQueue {
  readonly #limit: number;
  readonly #clock: Clock;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  /** `limit` ≥ 1; Infinity lets everyone in. */
  constructor(limit: number, deps: { readonly clock: Clock }) {
    this.#limit = limit;
    this.#clock = deps.clock;
  }

  /** Runs `task` once there is room. Rejects with `signal.reason` when that aborts while waiting. */
  async run<T>(task: () => Promise<T>, signal: AbortSignal): Promise<T> {
    await this.#enter(signal);
    let hasLeft = false;
    const leave = (): void => {
      if (!hasLeft) this.#leave();
      hasLeft = true;
    };
    using wait = linkSignals(signal);
    const patience = this.#clock.sleep(patienceMs, wait.signal).then(leave, () => undefined);
    try {
      return await task();
    } finally {
      wait.abort(undefined);
      await patience;
      leave();
    }
  }

  async #enter(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#running < this.#limit) {
      this.#running += 1;
      return;
    }
    let isIn = false;
    let enter = (): void => undefined;
    const turn = new Promise<void>((resolve) => {
      enter = () => {
        isIn = true;
        resolve();
      };
    });
    this.#waiting.push(enter);
    try {
      await raceSignal(turn, signal);
    } catch (error) {
      const at = this.#waiting.indexOf(enter);
      if (at >= 0) this.#waiting.splice(at, 1);
      // The turn came and the signal aborted in the same moment: the place goes to the next one.
      else if (isIn) this.#leave();
      throw error;
    }
  }

  #leave(): void {
    const next = this.#waiting.shift();
    // The place is handed over, so nobody can slip in between.
    if (next === undefined) this.#running -= 1;
    else next();
  }
}

/** A token bucket: `burst` at once, then `perSecond`. */
export class TokenBucket {
  readonly #perSecond: number;
  readonly #burst: number;
  readonly #clock: Clock;
  #tokens: number;
  #filledAt: Instant;

  /** `perSecond` 0 means no limit. */
  constructor(options: { readonly perSecond: number; readonly burst: number }, deps: { readonly clock: Clock }) {
    this.#perSecond = options.perSecond;
    this.#burst = options.burst;
    this.#clock = deps.clock;
    this.#tokens = options.burst;
    this.#filledAt = deps.clock.now();
  }

  /** Takes a token if there is one. */
  tryTake(): boolean {
    if (this.#perSecond <= 0) return true;
    const now = this.#clock.now();
    // A wall clock that was set back gives nothing, and takes nothing.
    const elapsedSeconds = Math.max(0, now - this.#filledAt) / 1000;
    this.#tokens = Math.min(this.#burst, this.#tokens + elapsedSeconds * this.#perSecond);
    this.#filledAt = now;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}
