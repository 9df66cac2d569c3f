// A clock that only moves when a test says so; sleepers wake in the order of their times.
import type { Clock, Instant } from '../../src/std/clock.ts';

interface Sleeper {
  at: Instant;
  readonly wake: () => void;
}

export class FakeClock implements Clock {
  #now: Instant;
  #jumped = 0;
  #sleepers: Sleeper[] = [];

  constructor(start: Instant = Date.UTC(2026, 0, 1)) {
    this.#now = start;
  }

  now(): Instant {
    return this.#now;
  }

  elapsed(): number {
    return this.#now - this.#jumped;
  }

  /** How many are waiting. */
  get sleeping(): number {
    return this.#sleepers.length;
  }

  /** The time the next sleeper waits for. */
  get nextWake(): Instant | undefined {
    return this.#sleepers.reduce<Instant | undefined>((first, s) => (first === undefined || s.at < first ? s.at : first), undefined);
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason);
        return;
      }
      const onAbort = (): void => {
        this.#sleepers = this.#sleepers.filter((s) => s !== sleeper);
        reject(signal.reason);
      };
      const sleeper: Sleeper = {
        at: this.#now + Math.max(0, ms),
        wake: () => {
          signal.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#sleepers.push(sleeper);
    });
  }

  /** The wall clock is set, forward or back. Sleepers do not notice, as timers do not. */
  jump(ms: number): void {
    this.#now += ms;
    this.#jumped += ms;
    for (const sleeper of this.#sleepers) sleeper.at += ms;
  }

  /** Moves time forward, waking every sleeper that is due, each at its own time, and lets their continuations run. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      const due = this.#sleepers.filter((s) => s.at <= end).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.#now = Math.max(this.#now, due.at);
      this.#sleepers = this.#sleepers.filter((s) => s !== due);
      due.wake();
      await settle();
    }
    this.#now = end;
    await settle();
  }
}

/** Lets every continuation that is ready run. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
}
