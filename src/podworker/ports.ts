// What the executor asks of the stages beside the pipe; image/, volume/ and cgroup/ implement it.
import type { EventObject } from '../api/events.ts';
import type { Container, PodSpec, PodStatus, ResourceRequirements } from '../api/gen/kubernetes.ts';
import type { Pod } from '../api/pod.ts';
import type { EnvFiles } from '../pod/environment.ts';
import type { NodeFacts } from '../pod/node-facts.ts';
import type { ObservedPod } from '../pod/observation.ts';
import type { ProbeResults } from '../pod/probe-results.ts';
import type { Mount, PodSandboxConfig } from '../pod/runtime-config.ts';
import type { UserNamespace } from '../pod/security-context.ts';
import type { CallOptions, RuntimeImage } from '../runtime/runtime.ts';
import type { Instant } from '../std/clock.ts';

export interface ImagePort {
  /** Makes sure an image is there, by its policy. Records its own events. */
  ensure(
    request: {
      readonly pod: Pod;
      readonly object: EventObject;
      readonly reference: string;
      readonly pullPolicy: string | undefined;
      readonly sandboxConfig: PodSandboxConfig;
    },
    options: CallOptions,
  ): Promise<
    | { readonly kind: 'present'; readonly imageRef: string; readonly image: RuntimeImage | undefined }
    | { readonly kind: 'failed'; readonly reason: string; readonly message: string; readonly retryAt: Instant | undefined }
  >;
}

export interface VolumePort {
  /** Rejects with an AgentError whose `failures` tell of each volume that failed, one text each. */
  setUp(pod: Pod, node: NodeFacts, options: CallOptions): Promise<void>;
  /** Brings the files of volumes that show changing data up to date. */
  refresh(pod: Pod, node: NodeFacts, options: CallOptions): Promise<void>;
  envFiles(pod: Pod, container: Container): Promise<EnvFiles>;
  mounts(
    pod: Pod,
    container: Container,
    context: {
      readonly node: NodeFacts;
      readonly attempt: number;
      readonly podIps: readonly string[];
      readonly envFiles: EnvFiles;
      readonly imageVolumes: ReadonlyMap<string, string>;
      readonly users: UserNamespace | undefined;
    },
    options: CallOptions,
  ): Promise<readonly Mount[]>;
  /** Volumes only; what is known of the Pod's containers stays. */
  tearDown(podUid: string, options: CallOptions): Promise<void>;
  /** Everything the Pod has on the node's disk. */
  remove(podUid: string, options: CallOptions): Promise<void>;
}

/** Ids for Pods with `hostUsers: false` (L-271). */
export interface UserNamespacePort {
  /** The Pod's own ids, the same at every call; undefined when none are left. */
  reserve(podUid: string): Promise<UserNamespace | undefined>;
}

export interface CgroupPort {
  /** Answers whether it was there. Limits of one that is in use stay as they are. */
  ensure(pod: Pod, node: NodeFacts, state: { readonly isInUse: boolean }): Promise<boolean>;
  /** Lifts the Pod's limits while its containers get others; `endResize` sets them as they are to be. */
  beginResize(pod: Pod, node: NodeFacts): Promise<void>;
  endResize(pod: Pod, node: NodeFacts): Promise<void>;
  remove(podUid: string, options: CallOptions): Promise<void>;
}

/** What the worker reads of the probes (prober/ implements it). */
export interface ProbePort {
  sync(pod: Pod, observed: ObservedPod, status: PodStatus | undefined): void;
  beginTermination(podUid: string): void;
  remove(podUid: string): void;
  results(podUid: string): ProbeResults;
}

export interface LastStatus {
  readonly status: PodStatus;
  /** With the resources the Pod was given. */
  readonly spec: PodSpec;
  /** What containers were given while they ran, by id (L-518). */
  readonly resized: Readonly<Record<string, ResourceRequirements>>;
  /** What the Pod as a whole was given. */
  readonly podGiven?: ResourceRequirements | undefined;
}

/**
 * The status last published of each Pod, over restarts of the agent (D2). It may be lost at any moment; then `started`
 * and `ready` wait for the next probes (L-407).
 */
export interface LastStatusPort {
  load(pod: Pod): Promise<LastStatus | undefined>;
  /** Never rejects: a status that cannot be kept is only a comfort lost. */
  save(pod: Pod, last: LastStatus): Promise<void>;
  /** Never rejects. The Pod's next life must not take it for its own (L-045); how it is ended stays known. */
  forget(pod: Pod): Promise<void>;
  /** As the Pod last ran, for one whose manifest is gone; undefined when nothing was kept. Never rejects. */
  specOf(podUid: string): Promise<PodSpec | undefined>;
}
