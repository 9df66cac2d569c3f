// What Pods that never got a sandbox left on the node: the agent died, or the manifest went while it was down. Nothing
// in the runtime tells of them, so their folders do (L-337, L-069).
import type { CallOptions } from '../runtime/runtime.ts';
import type { Clock } from '../std/clock.ts';
import { messageOf } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';

export interface LeftoversDeps {
  /** Removes what Pods not in `known` have on disk; answers their UIDs, and what could not be removed. */
  readonly volumes: {
    orphans(
      known: ReadonlySet<string>,
      options: CallOptions,
    ): Promise<{ readonly removed: readonly string[]; readonly blocked: readonly { readonly message: string }[] }>;
  };
  readonly cgroups: { remove(podUid: string, options: CallOptions): Promise<void> };
  /** Every Pod that anything is known of; undefined while that cannot be told. */
  readonly knownPods: () => ReadonlySet<string> | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

const periodMs = 60_000;

export class Leftovers {
  readonly #deps: LeftoversDeps;
  /** What was complained of last; the same is not said every minute. */
  #told = '';

  constructor(deps: LeftoversDeps) {
    this.#deps = deps;
  }

  /** Looks every minute until the signal aborts; failures are logged, not thrown. */
  async run({ signal }: CallOptions): Promise<void> {
    for (;;) {
      await this.#deps.clock.sleep(periodMs, signal);
      try {
        await this.collect({ signal });
      } catch (error) {
        signal.throwIfAborted();
        this.#deps.logger.warn('leftovers of pods cannot be removed', { error: messageOf(error) });
      }
    }
  }

  /** One pass. A cgroup goes only with the folder that shows it to be ours: other agents may share the tree. */
  async collect({ signal }: CallOptions): Promise<void> {
    const known = this.#deps.knownPods();
    if (known === undefined) return;
    const { removed, blocked } = await this.#deps.volumes.orphans(known, { signal });
    for (const uid of removed) {
      this.#deps.logger.info('removed what a pod had left', { podUID: uid });
      await this.#deps.cgroups.remove(uid, { signal });
    }
    const complaint = blocked.map(({ message }) => message).join('\n');
    if (complaint !== this.#told && complaint !== '') this.#deps.logger.warn('folders of pods that are gone stay', { error: complaint });
    this.#told = complaint;
  }
}
