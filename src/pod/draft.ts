// The plan while it is being made: collects actions, the earliest time to look again, and what to say.

import type { EventType } from '../api/events.ts';
import type { PodStatus } from '../api/gen/kubernetes.ts';
import type { Pod } from '../api/pod.ts';
import type { Instant } from '../std/clock.ts';
import { type Action, type ActionType, actionKey } from './action.ts';
import type { ObservedPod } from './observation.ts';
import type { ProbeResults } from './probe-results.ts';
import type { BackoffOptions } from './restart-policy.ts';
import type { PodMemory, PodWorkState, WaitingReason } from './work.ts';

export interface PlanOptions {
  readonly backoff: BackoffOptions;
  /** Why Pods without the node's network cannot start yet (L-051); undefined when the network is ready. */
  readonly networkError: string | undefined;
  /** The scheme of container ids in the status (L-186). */
  readonly runtimeName: string;
  /** The node's addresses, the preferred family first. */
  readonly hostIps: readonly string[];
  /** When this process started (L-407, L-421). */
  readonly agentStartedAt: Instant;
}

export interface PlanInput {
  /** The Pod as desired, or as last desired while it is being ended; for an orphan, what its records tell. */
  readonly pod: Pod;
  readonly work: PodWorkState;
  readonly observed: ObservedPod;
  readonly probes: ProbeResults;
  readonly memory: PodMemory;
  /** Keys of the actions that were begun and have not ended: what they make may not be visible yet. */
  readonly underWay: ReadonlySet<string>;
  readonly now: Instant;
  readonly options: PlanOptions;
}

/** Something to tell about the Pod, once per occurrence: it becomes an Event when the plan before did not have it. */
export interface PlanNote {
  readonly type: EventType;
  readonly reason: string;
  readonly message: string;
  /** The container it is about. */
  readonly container?: string;
}

export interface Plan {
  /** The deeds that should be under way now. What is missing is started; what is not wanted any more is cancelled. */
  readonly actions: readonly Action[];
  readonly status: PodStatus;
  readonly work: PodWorkState;
  /** When to plan again though nothing was heard; undefined when only news can change anything. */
  readonly wakeAt: Instant | undefined;
  readonly notes: readonly PlanNote[];
}

export class Draft {
  readonly input: PlanInput;
  readonly actions: Action[] = [];
  readonly notes: PlanNote[] = [];
  /** Why a container is not started although it should be, by name; goes into the status (L-467). */
  readonly waiting = new Map<string, WaitingReason>();
  #wakeAt: Instant | undefined;

  constructor(input: PlanInput) {
    this.input = input;
  }

  get wakeAt(): Instant | undefined {
    return this.#wakeAt;
  }

  wake(at: Instant): void {
    if (this.#wakeAt === undefined || at < this.#wakeAt) this.#wakeAt = at;
  }

  /** Adds an action, unless it failed lately: then the plan wakes for its next try. Returns whether it was added. */
  want(action: Action): boolean {
    const failure = this.input.memory.failures.get(actionKey(action));
    if (failure !== undefined && failure.retryAt > this.input.now) {
      this.wake(failure.retryAt);
      return false;
    }
    this.actions.push(action);
    return true;
  }

  /** Whether something of these types is being done now. */
  isUnderWay(...types: readonly ActionType[]): boolean {
    return [...this.input.underWay].some((key) => types.some((type) => key === type || key.startsWith(`${type}/`)));
  }

  note(note: PlanNote): void {
    this.notes.push(note);
  }
}
