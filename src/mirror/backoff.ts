// How long to wait before the next try: doubling, bounded, jittered, and never shorter than what the server asked for.
import { jitter, type Random } from '../std/random.ts';

export interface BackoffOptions {
  readonly baseMs: number;
  readonly maxMs: number;
}

/** A server may ask for more patience than `maxMs`, but not for an unbounded one. */
const maxRetryAfterMs = 5 * 60_000;

export class Backoff {
  readonly #options: BackoffOptions;
  readonly #random: Random;
  #failures = 0;

  constructor(options: BackoffOptions, deps: { readonly random: Random }) {
    this.#options = options;
    this.#random = deps.random;
  }

  get failures(): number {
    return this.#failures;
  }

  /** Counts a failure and says how long to wait, jittered ×[1, 1.5). */
  next(retryAfterMs = 0): number {
    const { baseMs, maxMs } = this.#options;
    const ms = Math.min(maxMs, baseMs * 2 ** Math.min(this.#failures, 30));
    this.#failures++;
    return Math.max(jitter(this.#random, ms, 0.5), jitter(this.#random, Math.min(retryAfterMs, maxRetryAfterMs), 0.1));
  }

  reset(): void {
    this.#failures = 0;
  }
}
