// Ownership of asynchronous work: who waits for it, and what ends it (STYLE section 7).
import { AgentError } from './errors.ts';

/** The agent is stopping; containers keep running. */
export class Shutdown extends AgentError {
  constructor() {
    super('shutdown', 'the agent is shutting down');
  }
}

/** A newer desired state replaced the one this work was for. */
export class Superseded extends AgentError {
  constructor(message = 'superseded by a newer state') {
    super('superseded', message);
  }
}

/** The time given to this work is over. */
export class Deadline extends AgentError {
  constructor(message = 'deadline exceeded') {
    super('deadline', message);
  }
}

export interface LinkedSignal extends Disposable {
  readonly signal: AbortSignal;
  abort(reason: unknown): void;
}

/**
 * A signal that aborts with the first of `parents`. Unlike `AbortSignal.any` it holds nothing of a long-lived
 * parent once disposed (on Node 20 `any` retains memory per call).
 */
export function linkSignals(...parents: readonly AbortSignal[]): LinkedSignal {
  const controller = new AbortController();
  const listeners = parents.map((parent) => {
    const listener = (): void => controller.abort(parent.reason);
    if (parent.aborted) listener();
    else parent.addEventListener('abort', listener, { once: true });
    return { parent, listener };
  });
  return {
    signal: controller.signal,
    abort: (reason) => controller.abort(reason),
    [Symbol.dispose]() {
      for (const { parent, listener } of listeners) parent.removeEventListener('abort', listener);
    },
  };
}

/** Rejects with `signal.reason` when it aborts, else settles as `promise` does. The promise itself is not ended. */
export async function raceSignal<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    if (onAbort !== undefined) signal.removeEventListener('abort', onAbort);
  }
}

/**
 * Owns background work. The first failure (other than the group's own abort) aborts the rest; `close` waits for
 * all and throws that first failure.
 */
export class TaskGroup {
  readonly #controller = new AbortController();
  readonly #running = new Set<Promise<void>>();
  readonly #unlink: () => void;
  readonly #failed: Promise<never>;
  #fail: (error: unknown) => void = () => undefined;
  #failure: { readonly error: unknown } | undefined;

  constructor(options: { readonly signal?: AbortSignal } = {}) {
    this.#failed = new Promise((_, reject) => {
      this.#fail = reject;
    });
    // Nobody has to watch `failed`: close() reports the failure as well.
    this.#failed.catch(() => undefined);
    const { signal } = options;
    const onAbort = (): void => this.#controller.abort(signal?.reason);
    if (signal?.aborted === true) onAbort();
    else signal?.addEventListener('abort', onAbort, { once: true });
    this.#unlink = () => signal?.removeEventListener('abort', onAbort);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Rejects with the first failure; never resolves. */
  get failed(): Promise<never> {
    return this.#failed;
  }

  /** Starts `task` at once. `name` is what a failure is reported under. */
  spawn(name: string, task: (options: { readonly signal: AbortSignal }) => Promise<void>): void {
    const run = (async () => {
      try {
        await task({ signal: this.signal });
      } catch (error) {
        const isOwnAbort = this.signal.aborted && error === this.signal.reason;
        if (!isOwnAbort && this.#failure === undefined) {
          this.#failure = {
            error: error instanceof AgentError ? error : new AgentError('task-failed', `${name} failed`, { cause: error }),
          };
          this.#fail(this.#failure.error);
          this.#controller.abort(this.#failure.error);
        }
      }
    })();
    this.#running.add(run);
    run.finally(() => this.#running.delete(run)).catch(() => undefined);
  }

  /** Aborts every task with `reason` and waits until all have ended. Throws the first failure. Idempotent. */
  async close(reason: unknown = new Shutdown()): Promise<void> {
    this.#controller.abort(reason);
    while (this.#running.size > 0) await Promise.all(this.#running);
    this.#unlink();
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

/** A slot that keeps only the newest value: one producer side, one consumer. */
export class Mailbox<T> {
  #value: { readonly item: T } | undefined;
  #waiting: (() => void) | undefined;

  put(item: T): void {
    this.#value = { item };
    this.#waiting?.();
  }

  /** Takes the newest value, waiting for one if there is none. */
  async take(signal: AbortSignal): Promise<T> {
    for (;;) {
      signal.throwIfAborted();
      const value = this.#value;
      if (value !== undefined) {
        this.#value = undefined;
        return value.item;
      }
      const arrived = new Promise<void>((resolve) => {
        this.#waiting = resolve;
      });
      await raceSignal(arrived, signal);
    }
  }
}
