// What Pods that never got a sandbox left on the node: the agent died, or the manifest went while it was down. Nothing
// in the runtime tells of them, so their folders do (L-337, L-069).
import type { CallOptions } from '../runtime/runtime.ts';
import type { Clock } from '../std/clock.ts';
import { messageOf } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import type { Gauge, Metrics } from '../std/metrics.ts';

export interface LeftoversDeps {
  readonly volumes: {
    /** The Pods that have anything on disk. */
    podUids(): Promise<readonly string[]>;
    /** Removes what such a Pod has; answers why it stays, if it does. */
    removeOrphan(podUid: string, options: CallOptions): Promise<string | undefined>;
    /** Goes on with removals that were interrupted. */
    finishRemovals(options: CallOptions): Promise<void>;
  };
  readonly cgroups: { remove(podUid: string, options: CallOptions): Promise<void> };
  /** Runs it only while nothing is known of the Pod, which stays so meanwhile. Answers whether it ran. */
  readonly whileUnknown: (podUid: string, work: () => Promise<void>) => Promise<boolean>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** An agent that died left them, so the first look is soon: one that keeps dying must not heap them up. */
const firstLookMs = 2_000;
const periodMs = 60_000;

export class Leftovers {
  readonly #deps: LeftoversDeps;
  /** What was complained of last; the same is not said every minute. */
  #told = '';
  /** Of the pass before: a runtime that was just making their sandbox made the cgroup anew, and no folder tells of it. */
  #doubtful: ReadonlySet<string> = new Set();
  readonly #cleaned: Gauge;
  readonly #stuck: Gauge;

  constructor(deps: LeftoversDeps) {
    this.#deps = deps;
    // H-404.
    this.#cleaned = deps.metrics.gauge({
      name: 'kubelet_orphan_pod_cleaned_volumes',
      help: '[ALPHA] Pods whose leftovers were removed in the last sweep',
    });
    this.#stuck = deps.metrics.gauge({
      name: 'kubelet_orphan_pod_cleaned_volumes_errors',
      help: '[ALPHA] Pods whose leftovers could not be removed in the last sweep',
    });
  }

  /** Looks soon and then every minute until the signal aborts; failures are logged, not thrown. */
  async run({ signal }: CallOptions): Promise<void> {
    for (let waitMs = firstLookMs; ; waitMs = periodMs) {
      await this.#deps.clock.sleep(waitMs, signal);
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
    const { cgroups, logger, volumes, whileUnknown } = this.#deps;
    await volumes.finishRemovals({ signal });
    for (const uid of this.#doubtful) await whileUnknown(uid, () => cgroups.remove(uid, { signal }));
    const complaints: string[] = [];
    const cleaned = new Set<string>();
    for (const uid of await volumes.podUids()) {
      await whileUnknown(uid, async () => {
        const complaint = await volumes.removeOrphan(uid, { signal });
        if (complaint === undefined) {
          await cgroups.remove(uid, { signal });
          cleaned.add(uid);
          logger.info('removed what a pod had left', { podUID: uid });
        } else complaints.push(complaint);
      });
    }
    this.#doubtful = cleaned;
    this.#cleaned.set(cleaned.size);
    this.#stuck.set(complaints.length);
    const complaint = complaints.join('\n');
    if (complaint !== this.#told && complaint !== '') logger.warn('folders of pods that are gone stay', { error: complaint });
    this.#told = complaint;
  }
}
