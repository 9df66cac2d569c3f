// Keys to work on: each at most once at a time and once in the queue, some not before a certain time.
import { raceSignal } from '../std/async.ts';
import type { Clock } from '../std/clock.ts';

export class WorkQueue {
  readonly #clock: Clock;
  /** Key → the earliest time it is due, by `Clock.elapsed` like all times here. */
  readonly #due = new Map<string, number>();
  readonly #busy = new Set<string>();
  #wake: () => void = () => undefined;

  constructor(deps: { readonly clock: Clock }) {
    this.#clock = deps.clock;
  }

  /** Due at once, whatever was asked before. */
  add(key: string): void {
    this.addAt(key, this.#clock.elapsed());
  }

  /** Due then; an earlier time asked for before stays. */
  addAt(key: string, at: number): void {
    const old = this.#due.get(key);
    if (old !== undefined && old <= at) return;
    this.#due.set(key, at);
    this.#wake();
  }

  /**
   * Works until the signal aborts: `work` runs for at most `concurrency` keys at a time; a key that is added while it
   * is worked on comes again afterwards. `work` must not throw for anything but the abort.
   */
  async run(concurrency: number, work: (key: string) => Promise<void>, signal: AbortSignal): Promise<void> {
    const running = new Set<Promise<void>>();
    let failed: { readonly error: unknown } | undefined;
    try {
      for (;;) {
        signal.throwIfAborted();
        if (failed !== undefined) throw failed.error;
        const woken = new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        const now = this.#clock.elapsed();
        const free = [...this.#due].filter(([key]) => !this.#busy.has(key)).sort((a, b) => a[1] - b[1]);
        const next = free[0];
        if (next !== undefined && next[1] <= now && running.size < concurrency) {
          const [key] = next;
          this.#due.delete(key);
          this.#busy.add(key);
          const task = work(key)
            .catch((error: unknown) => {
              failed = { error };
            })
            .finally(() => {
              this.#busy.delete(key);
              running.delete(task);
              this.#wake();
            });
          running.add(task);
          continue;
        }
        const wait = next !== undefined && next[1] > now ? next[1] - now : undefined;
        await this.#waitFor(woken, wait, signal);
      }
    } finally {
      await Promise.all(running);
    }
  }

  async #waitFor(woken: Promise<void>, ms: number | undefined, signal: AbortSignal): Promise<void> {
    if (ms === undefined) {
      await raceSignal(woken, signal);
      return;
    }
    const round = new AbortController();
    const sleep = this.#clock.sleep(ms, round.signal).catch(() => undefined);
    try {
      await raceSignal(Promise.race([woken, sleep]), signal);
    } finally {
      round.abort();
    }
  }
}
