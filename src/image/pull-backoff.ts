// Back-off of failed pulls (L-353): per Pod and image, so that another Pod with the same image tries at once.
import type { Instant } from '../std/clock.ts';

export interface PullFailure {
  /** Kubernetes' reason: `ErrImagePull`, `RegistryUnavailable`, … */
  readonly reason: string;
  readonly message: string;
  /** The registry could not be reached at all, as opposed to having refused. */
  readonly unreachable: boolean;
}

interface Entry {
  readonly delayMs: number;
  readonly failedAt: Instant;
  readonly failure: PullFailure;
}

export class PullBackoff {
  readonly #initialMs: number;
  readonly #maxMs: number;
  readonly #entries = new Map<string, Entry>();

  constructor(options: { readonly initialMs: number; readonly maxMs: number }) {
    this.#initialMs = options.initialMs;
    this.#maxMs = options.maxMs;
  }

  /** The failure being waited for at `now`, and when the wait ends; undefined when a pull may be tried. */
  waiting(key: string, now: Instant): { readonly failure: PullFailure; readonly until: Instant } | undefined {
    const entry = this.#current(key, now);
    if (entry === undefined) return undefined;
    const until = entry.failedAt + entry.delayMs;
    // A wall clock that was set back must not turn seconds of waiting into hours.
    return now < until && now >= entry.failedAt ? { failure: entry.failure, until } : undefined;
  }

  failed(key: string, failure: PullFailure, now: Instant): void {
    const entry = this.#current(key, now);
    const delayMs = entry === undefined ? this.#initialMs : Math.min(entry.delayMs * 2, this.#maxMs);
    this.#entries.set(key, { delayMs, failedAt: now, failure });
  }

  /** Drops what is stale, so that Pods long gone leave nothing behind. */
  forgetStale(now: Instant): void {
    for (const [key, entry] of this.#entries) if (this.#isStale(entry, now)) this.#entries.delete(key);
  }

  #current(key: string, now: Instant): Entry | undefined {
    const entry = this.#entries.get(key);
    return entry === undefined || this.#isStale(entry, now) ? undefined : entry;
  }

  #isStale(entry: Entry, now: Instant): boolean {
    return now - entry.failedAt > 2 * this.#maxMs;
  }
}
