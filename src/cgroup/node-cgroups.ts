// Keeps the cgroups of all Pods together as they should be: the limit of `kubepods`, and the shares of the QoS classes
// after the Pods that are active (L-301, L-302).
import type { EventObject, EventSink } from '../api/events.ts';
import type { PodSpec } from '../api/gen/kubernetes.ts';
import type { NodeAmounts, NodeFacts } from '../pod/node-facts.ts';
import { Mailbox } from '../std/async.ts';
import type { Clock } from '../std/clock.ts';
import { AgentError, messageOf, systemCode } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import type { PodCgroups } from './pod-cgroups.ts';
import { qosCgroupValues } from './values.ts';

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
  readonly #news = new Mailbox<true>();
  #isStarted = false;
  /** What the Pods had together when it was written last; undefined when it is to be written again. */
  #shares: number | undefined;
  /** The failure told last. */
  #told = '';

  constructor(options: NodeCgroupsOptions, deps: NodeCgroupsDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /**
   * Makes the tree, or tells why it is not what it should be; `run` tries again. Pods can start either way. Those that run
   * already keep the shares of their class until they are known (D2).
   */
  async start(): Promise<void> {
    await this.#attempt(async (facts) => await this.#startOnce(facts));
  }

  /** A Pod has come, gone or been resized: the shares of its class may be others now. */
  podsChanged(): void {
    this.#news.put(true);
  }

  /** With every change of the Pods, and every minute whatever there is, until the signal aborts. */
  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const everyMinute = async (): Promise<void> => {
      for (;;) {
        await this.#deps.clock.sleep(periodMs, signal);
        this.#shares = undefined;
        this.#news.put(true);
      }
    };
    const attend = async (): Promise<void> => {
      for (;;) {
        await this.#news.take(signal);
        await this.#attempt(async (facts) => {
          await this.#startOnce(facts);
          await this.#updateClasses(facts);
        });
      }
    };
    await Promise.all([everyMinute(), attend()]);
  }

  async #attempt(work: (facts: NodeFacts) => Promise<void>): Promise<void> {
    try {
      await work(await this.#deps.facts());
      this.#told = '';
    } catch (error) {
      if (!(error instanceof AgentError) && systemCode(error) === undefined) throw error;
      this.#tell(messageOf(error));
    }
  }

  async #startOnce(facts: NodeFacts): Promise<void> {
    if (this.#isStarted) return;
    const { limit, isEnforced, pidsLimit, node } = this.#options;
    await this.#deps.cgroups.start(facts, limit, pidsLimit);
    this.#isStarted = true;
    if (isEnforced) this.#deps.events.record(node, 'Normal', 'NodeAllocatableEnforced', 'Updated Node Allocatable limit across pods');
  }

  async #updateClasses(facts: NodeFacts): Promise<void> {
    const active = this.#deps.active();
    const { cpuShares } = qosCgroupValues('Burstable', active, facts);
    if (cpuShares === this.#shares) return;
    this.#shares = undefined;
    await this.#deps.cgroups.updateQos(active, facts);
    this.#shares = cpuShares;
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
