// What a Pod's worker carries from one plan to the next: the state of its work, and what only this process knows.
import type { PodStatus, ResourceRequirements } from '../api/gen/kubernetes.ts';
import type { Instant } from '../std/clock.ts';

/**
 * The life of one Pod UID (L-036); arrows never go back.
 *
 *     sync ──► terminating ──► terminated ──► finished
 *      │  containers run;  │ being stopped; │ records, volumes, cgroup removed; nothing is left
 *
 * A Pod that completed or failed by itself stays in `terminated` while its manifest is there.
 */
export type PodWorkState =
  | { readonly state: 'sync' }
  | { readonly state: 'terminating'; readonly since: Instant; readonly gracePeriodSeconds: number; readonly cause: TerminationCause }
  | { readonly state: 'terminated'; readonly cause: TerminationCause }
  | { readonly state: 'finished' };

/**
 * Why a Pod is being ended. Only `removed` (its manifest is gone or changed) takes its records with it. `isBack`: its
 * manifest is there again; true: the next life goes on with the restart counts, false: it begins from scratch.
 */
export type TerminationCause =
  | { readonly kind: 'removed'; readonly isBack?: boolean }
  | { readonly kind: 'completed' }
  | { readonly kind: 'deadline' }
  /** Eviction, preemption, node shutdown: `reason` and `message` become the Pod's (L-498, L-505, L-508). */
  | { readonly kind: 'disrupted'; readonly reason: string; readonly message: string; readonly conditionMessage: string };

/** A failed action: not tried again before `retryAt`. */
export interface Failure {
  readonly count: number;
  readonly retryAt: Instant;
  readonly message: string;
  /** The runtime went away in the midst of it: it says nothing against what was acted on. */
  readonly isUnanswered?: boolean;
}

/** Why a resize waits (L-517): `Deferred` until there is room, `Infeasible` on this node. */
export interface ResizePending {
  readonly reason: 'Deferred' | 'Infeasible';
  readonly message: string;
}

/** Why a container is waiting: Kubernetes' reason, verbatim (L-469). */
export interface WaitingReason {
  readonly reason: string;
  readonly message: string;
}

/**
 * What only this process knows of a Pod. All of it may be lost at any moment (D2): then something idempotent is done
 * once more, and nothing else.
 */
export interface PodMemory {
  /** When the Pod was first seen running (L-487). */
  readonly startTime: Instant | undefined;
  readonly cgroupReady: boolean;
  /** The Pod's cgroup was missing while its containers ran: they are outside it and are ended (L-052). */
  readonly cgroupWasLost: boolean;
  readonly volumesReady: boolean;
  /** When the files of volumes were last brought up to date. */
  readonly volumesRefreshedAt: Instant | undefined;
  readonly volumesRemoved: boolean;
  /** And with them what the node has on disk of the Pod's containers. */
  readonly folderRemoved: boolean;
  readonly cgroupRemoved: boolean;
  /** Sandboxes that StopPodSandbox succeeded for; a sandbox that died by itself keeps its network until then. */
  readonly stoppedSandboxes: ReadonlySet<string>;
  /** Image references found present for the next creation of a container, by container name. */
  readonly images: ReadonlyMap<string, string>;
  /** Containers this process started whose postStart hook has not ended, by id. */
  readonly postStart: ReadonlyMap<string, 'pending' | 'done' | 'failed'>;
  /** Kills under way or over, by container id. */
  readonly kills: ReadonlyMap<string, Kill>;
  /** What containers were given while they ran, by id (L-518). */
  readonly resized: ReadonlyMap<string, ResourceRequirements>;
  /** What the Pod as a whole was given (L-518); undefined when nobody knows. */
  readonly podGiven: ResourceRequirements | undefined;
  /** Why the resources the manifest asks for are not given (L-517). */
  readonly resizePending: ResizePending | undefined;
  /** By action key. */
  readonly failures: ReadonlyMap<string, Failure>;
  /** By container name. */
  readonly waiting: ReadonlyMap<string, WaitingReason>;
  /** Termination messages by container id, read once when a container is first seen exited (L-473). */
  readonly terminationMessages: ReadonlyMap<string, string>;
  /** The status last published; what the runtime has forgotten is taken from it (L-462 … L-464). */
  readonly status: PodStatus | undefined;
  /** Addresses of the last ready sandbox: runtimes stop reporting them with its end (L-063, L-095). */
  readonly podIps: readonly string[];
}

export interface Kill {
  readonly since: Instant;
  readonly gracePeriodSeconds: number;
  /** The text of the `Killing` event. */
  readonly message: string;
  readonly preStopDone: boolean;
}

export const emptyMemory: PodMemory = {
  startTime: undefined,
  cgroupReady: false,
  cgroupWasLost: false,
  volumesReady: false,
  volumesRefreshedAt: undefined,
  volumesRemoved: false,
  folderRemoved: false,
  cgroupRemoved: false,
  stoppedSandboxes: new Set(),
  images: new Map(),
  postStart: new Map(),
  kills: new Map(),
  resized: new Map(),
  podGiven: undefined,
  resizePending: undefined,
  failures: new Map(),
  waiting: new Map(),
  terminationMessages: new Map(),
  status: undefined,
  podIps: [],
};
