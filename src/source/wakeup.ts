// Waiting that can be cut short: events only wake, whoever wakes looks for itself.
import { linkSignals, Superseded } from '../std/async.ts';
import type { Clock } from '../std/clock.ts';

export class Wakeup {
  readonly #clock: Clock;
  #isDue = false;
  #interrupt: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Ends the present wait, or the next one at once. */
  wake(): void {
    this.#isDue = true;
    this.#interrupt?.();
  }

  /** Waits at most `ms`; one waiter at a time. Rejects with `signal.reason` when the signal aborts. */
  async wait(ms: number, signal: AbortSignal): Promise<void> {
    if (!this.#isDue) {
      const link = linkSignals(signal);
      this.#interrupt = () => link.abort(new Superseded());
      try {
        await this.#clock.sleep(ms, link.signal);
      } catch (error) {
        if (signal.aborted || !(error instanceof Superseded)) throw error;
      } finally {
        this.#interrupt = undefined;
        link[Symbol.dispose]();
      }
    }
    signal.throwIfAborted();
    this.#isDue = false;
  }
}
