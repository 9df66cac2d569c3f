// What the agent has started, in order, so that it can be stopped in reverse.

import { Shutdown, TaskGroup } from '../std/async.ts';
import type { Clock } from '../std/clock.ts';
import { messageOf } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';

/** How long a stop may take before whatever still runs is left to the process's end. */
const stopDeadlineMs = 10_000;

export interface LifetimeDeps {
  readonly clock: Clock;
  readonly logger: Logger;
}

export class Lifetime {
  readonly #deps: LifetimeDeps;
  readonly #tasks: TaskGroup;
  readonly #closers: (() => Promise<void>)[] = [];

  constructor({ signal }: { readonly signal: AbortSignal }, deps: LifetimeDeps) {
    this.#deps = deps;
    this.#tasks = new TaskGroup({ signal });
  }

  /** Aborts with the agent's stop, or with the first failed task. */
  get signal(): AbortSignal {
    return this.#tasks.signal;
  }

  /** Starts `task` at once; its failure ends the agent. */
  spawn(name: string, task: (options: { readonly signal: AbortSignal }) => Promise<void>): void {
    this.#tasks.spawn(name, task);
  }

  /** `close` is called when the agent stops, the last registered first. */
  onStop(close: () => Promise<void>): void {
    this.#closers.push(close);
  }

  /** Rejects with the first failure of a task, resolves when the agent is told to stop. */
  ended(): Promise<void> {
    const { signal } = this.#tasks;
    const stopped = new Promise<void>((resolve, reject) => {
      const settle = (): void => (signal.reason instanceof Shutdown ? resolve() : reject(signal.reason as unknown));
      if (signal.aborted) settle();
      else signal.addEventListener('abort', settle, { once: true });
    });
    return Promise.race([this.#tasks.failed, stopped]);
  }

  /** Closes everything within the deadline; throws the first failure of a task. */
  async stop(): Promise<void> {
    const { clock, logger } = this.#deps;
    const deadline = new AbortController();
    await Promise.race([
      this.#stopAll(),
      clock.sleep(stopDeadlineMs, deadline.signal).then(() => logger.warn('stopping takes too long; leaving the rest')),
    ]);
    deadline.abort();
  }

  async #stopAll(): Promise<void> {
    for (const close of this.#closers.reverse()) {
      await close().catch((error: unknown) => this.#deps.logger.warn('a part did not stop in order', { error: messageOf(error) }));
    }
    await this.#tasks.close(new Shutdown());
  }
}
