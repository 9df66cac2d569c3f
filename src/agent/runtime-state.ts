// Whether the runtime and its network are ready, asked every few seconds (L-109 … L-115).
import type { Runtime } from '../runtime/runtime.ts';
import type { Clock } from '../std/clock.ts';
import { messageOf, RuntimeError } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';

/** The answer in good times changes rarely: idle cost counts (D7). */
const readyPeriodMs = 15_000;
const unreadyPeriodMs = 1_000;
const downAfterMs = 30_000;

export interface RuntimeStateDeps {
  readonly runtime: Pick<Runtime, 'status'>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Readiness of runtime or network changed. */
  readonly onChange: () => void;
}

export class RuntimeState {
  readonly #deps: RuntimeStateDeps;
  #networkError: string | undefined = 'network state unknown';
  #runtimeError: string | undefined = 'container runtime status check may not have completed yet';
  #lastGoodAt: number | undefined;

  constructor(deps: RuntimeStateDeps) {
    this.#deps = deps;
  }

  /** Why Pods without the node's network cannot start (L-110); undefined when they can. */
  get networkError(): string | undefined {
    return this.#networkError;
  }

  /** Why the runtime cannot be used (L-111, L-113); undefined when it can. */
  get runtimeError(): string | undefined {
    if (this.#lastGoodAt !== undefined && this.#deps.clock.elapsed() - this.#lastGoodAt > downAfterMs) return 'container runtime is down';
    return this.#runtimeError;
  }

  /** Asks once. A runtime that does not answer changes nothing until it has been silent for 30 s (L-114). */
  async refresh({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { runtime, clock, logger, onChange } = this.#deps;
    const before = `${this.#runtimeError}/${this.#networkError}`;
    try {
      const { conditions } = await runtime.status({ verbose: false }, { signal });
      const problem = (type: string): string | undefined => {
        const condition = conditions.find((candidate) => candidate.type === type);
        if (condition?.status === true) return undefined;
        return `${type}=false reason:${condition?.reason ?? ''} message:${condition?.message ?? ''}`; // L-112
      };
      const network = problem('NetworkReady');
      const own = problem('RuntimeReady');
      this.#networkError = network === undefined ? undefined : `container runtime network not ready: ${network}`;
      this.#runtimeError = own === undefined ? undefined : `container runtime not ready: ${own}`;
      if (own === undefined) this.#lastGoodAt = clock.elapsed();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof RuntimeError)) throw error;
      logger.debug('runtime status cannot be read', { error: messageOf(error) });
    }
    if (`${this.#runtimeError}/${this.#networkError}` !== before) onChange();
  }

  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    for (;;) {
      const isReady = this.runtimeError === undefined && this.#networkError === undefined;
      await this.#deps.clock.sleep(isReady ? readyPeriodMs : unreadyPeriodMs, signal);
      await this.refresh({ signal });
    }
  }
}
