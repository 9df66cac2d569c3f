// Keeps the cgroups of all Pods together as they should be: the limit of `kubepods`, and the shares of the QoS classes
// after the Pods that are active (L-301, L-302).
import type { EventObject, EventSink } from '../api/events.ts';
import type { PodSpec } from '../api/gen/kubernetes.ts';
import type { NodeAmounts, NodeFacts } from '../pod/node-facts.ts';
import type { Clock } from '../std/clock.ts';
import { AgentError, messageOf, systemCode } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import type { PodCgroups } from './pod-cgroups.ts';

export interface NodeCgroupsOptions {
  /** What Pods may use together. */
  readonly limit: NodeAmounts;
  /** Whether that is less than the machine has, so that people are told when it holds. */
  readonly isEnforced: boolean;
  /** At most 0: none. */
  readonly pidsLimit: number;
  /** What the Events are about. */
  readonly node: EventObject;
}

export interface NodeCgroupsDeps {
  readonly cgroups: Pick<PodCgroups, 'start' | 'updateQos'>;
  readonly facts: () => Promise<NodeFacts>;
  /** Specs of the Pods that are not over. */
  readonly active: () => readonly PodSpec[];
  readonly events: EventSink;
  readonly clock: Clock;
  readonly logger: Logger;
}

const periodMs = 60_000;

export class NodeCgroups {
  readonly #options: NodeCgroupsOptions;
  readonly #deps: NodeCgroupsDeps;
  #isStarted = false;
  /** The failure told last. */
  #told = '';

  constructor(options: NodeCgroupsOptions, deps: NodeCgroupsDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /** Makes the tree, or tells why it is not what it should be; `run` tries again. Pods can start either way. */
  async start(): Promise<void> {
    await this.#attempt();
  }

  /** Every minute until the signal aborts. */
  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    for (;;) {
      await this.#deps.clock.sleep(periodMs, signal);
      await this.#attempt();
    }
  }

  async #attempt(): Promise<void> {
    const { cgroups, events } = this.#deps;
    const { limit, isEnforced, pidsLimit, node } = this.#options;
    try {
      const facts = await this.#deps.facts();
      if (!this.#isStarted) {
        await cgroups.start(facts, limit, pidsLimit);
        this.#isStarted = true;
        if (isEnforced) events.record(node, 'Normal', 'NodeAllocatableEnforced', 'Updated Node Allocatable limit across pods');
      }
      await cgroups.updateQos(this.#deps.active(), facts);
      this.#told = '';
    } catch (error) {
      if (!(error instanceof AgentError) && systemCode(error) === undefined) throw error;
      this.#tell(messageOf(error));
    }
  }

  #tell(message: string): void {
    if (message === this.#told) return;
    this.#told = message;
    const { events, logger } = this.#deps;
    const { isEnforced, node } = this.#options;
    logger.warn('limits of the cgroups of all pods cannot be set', { error: message });
    if (!isEnforced || this.#isStarted) return;
    events.record(node, 'Warning', 'FailedNodeAllocatableEnforcement', `Failed to update limits on the cgroup of all pods: ${message}`);
  }
}
