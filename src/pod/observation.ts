// What the runtime says is there, in our words (L-085 … L-101). Facts only: no opinion, no desired state.
import type { Instant } from '../std/clock.ts';

export interface ObservedSandbox {
  readonly id: string;
  readonly name: string;
  readonly namespace: string;
  readonly podUid: string;
  readonly attempt: number;
  readonly state: 'ready' | 'notReady';
  readonly createdAt: Instant;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Whether the sandbox shares the node's network namespace; undefined when the runtime did not say. */
  readonly hostNetwork: boolean | undefined;
  /** Valid addresses the runtime reported (L-099); only read for the newest sandbox. */
  readonly ips: readonly string[];
  /** True when the runtime reported a network block whose address is empty (L-122). */
  readonly lostNetwork: boolean;
  readonly runtimeHandler: string;
}

export interface ObservedMount {
  readonly containerPath: string;
  readonly hostPath: string;
  readonly readonly: boolean;
  readonly recursiveReadOnly: boolean;
}

export type ObservedContainerState = 'created' | 'running' | 'exited' | 'unknown';

export interface ObservedContainer {
  readonly id: string;
  readonly sandboxId: string;
  readonly podUid: string;
  readonly name: string;
  readonly attempt: number;
  readonly state: ObservedContainerState;
  readonly createdAt: Instant;
  readonly startedAt: Instant | undefined;
  readonly finishedAt: Instant | undefined;
  readonly exitCode: number;
  /** The runtime's words: `Completed`, `Error`, `OOMKilled`, `StartError`, … */
  readonly reason: string;
  readonly message: string;
  /** What `status.image` shows: the name the user wrote where the runtime keeps it. */
  readonly image: string;
  /** What `status.imageID` shows (L-280). */
  readonly imageRef: string;
  /** The image's own id, by which image GC knows what is in use. */
  readonly imageId: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Absolute; empty when the runtime did not say. */
  readonly logPath: string;
  readonly mounts: readonly ObservedMount[];
  readonly resources: ObservedResources | undefined;
  readonly user: { readonly uid: number; readonly gid: number; readonly supplementalGroups: readonly number[] } | undefined;
  /** The signal it was told to stop the container with; undefined where the runtime does not know of that (L-430). */
  readonly stopSignal: string | undefined;
}

export interface ObservedResources {
  readonly cpuShares: number;
  readonly cpuQuota: number;
  readonly cpuPeriod: number;
  readonly memoryLimitBytes: number;
}

/** Everything the runtime has of one Pod UID. */
export interface ObservedPod {
  readonly uid: string;
  /** Newest first: by attempt, then creation time, then id (L-098). */
  readonly sandboxes: readonly ObservedSandbox[];
  /** Newest first: by attempt, then creation time, then id; of one name the attempt only grows (P7). */
  readonly containers: readonly ObservedContainer[];
}

/** The newest record of a container name, which is "the" status of that name (L-098). */
export function newestContainer(pod: ObservedPod, name: string): ObservedContainer | undefined {
  return pod.containers.find((container) => container.name === name);
}

/** Label and annotation keys written through CRI (spec 02, section 1.8), verbatim. */
export const criKeys = {
  podName: 'io.kubernetes.pod.name',
  podNamespace: 'io.kubernetes.pod.namespace',
  podUid: 'io.kubernetes.pod.uid',
  containerName: 'io.kubernetes.container.name',
  hash: 'io.kubernetes.container.hash',
  restartCount: 'io.kubernetes.container.restartCount',
  terminationMessagePath: 'io.kubernetes.container.terminationMessagePath',
  terminationMessagePolicy: 'io.kubernetes.container.terminationMessagePolicy',
  deletionGracePeriod: 'io.kubernetes.pod.deletionGracePeriod',
  terminationGracePeriod: 'io.kubernetes.pod.terminationGracePeriod',
  preStopHandler: 'io.kubernetes.container.preStopHandler',
  ports: 'io.kubernetes.container.ports',
  /** Ours: the back-off in milliseconds that this start ended; absent before the first restart (D2). */
  backoffMs: 'pinpod.io/container.backoffMs',
  /** Ours: the resources the container was started with, as its manifest had them (L-165, L-518). */
  resources: 'pinpod.io/container.resources',
} as const;
