// The Runtime port: everything the agent asks of a container runtime, in our types. Implementations: runtime/cri
// (gRPC) and the fake in test/support. Both pass the suite in test/compliance.
//
// Contract of every call: it takes a signal and rejects with `signal.reason` when that aborts; any other failure is
// a RuntimeError. Stopping or removing what is gone succeeds. Asking for the status of what is gone gives undefined.

import type { ObservedContainer, ObservedSandbox } from '../pod/observation.ts';
import type { ContainerConfig, ImageAuth, ImageSpec, LinuxResources, PodSandboxConfig } from '../pod/runtime-config.ts';
import type { Instant } from '../std/clock.ts';

export interface CallOptions {
  readonly signal: AbortSignal;
}

export interface RuntimeVersion {
  /** The scheme of container ids in a Pod's status (L-186). */
  readonly runtimeName: string;
  readonly runtimeVersion: string;
  readonly runtimeApiVersion: string;
}

export interface RuntimeCondition {
  readonly type: string;
  readonly status: boolean;
  readonly reason: string;
  readonly message: string;
}

export interface RuntimeStatus {
  readonly conditions: readonly RuntimeCondition[];
  readonly handlers: readonly { readonly name: string; readonly recursiveReadOnlyMounts: boolean; readonly userNamespaces: boolean }[];
  readonly features: { readonly supplementalGroupsPolicy: boolean };
  /** Runtime-specific texts; only with `verbose`. */
  readonly info: Readonly<Record<string, string>>;
}

export interface RuntimeFilter {
  /** Only what belongs to this Pod UID. Everything when absent. */
  readonly podUid?: string;
}

export interface ExecResult {
  readonly exitCode: number;
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
}

export interface StreamOptions {
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
}

export interface RuntimeImage {
  readonly id: string;
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
  readonly sizeBytes: number;
  /** The image's numeric user, or its user name (L-219); both undefined when the image says nothing. */
  readonly uid: number | undefined;
  readonly username: string | undefined;
  readonly pinned: boolean;
}

export interface FilesystemUsage {
  readonly timestamp: Instant;
  readonly mountpoint: string;
  readonly usedBytes: number;
  readonly inodesUsed: number;
}

export interface CpuStats {
  readonly timestamp: Instant;
  readonly usageCoreNanoSeconds: number | undefined;
  readonly usageNanoCores: number | undefined;
}

export interface MemoryStats {
  readonly timestamp: Instant;
  readonly workingSetBytes: number | undefined;
  readonly availableBytes: number | undefined;
  readonly usageBytes: number | undefined;
  readonly rssBytes: number | undefined;
  readonly pageFaults: number | undefined;
  readonly majorPageFaults: number | undefined;
}

export interface ContainerStats {
  readonly id: string;
  readonly name: string;
  readonly podUid: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly cpu: CpuStats | undefined;
  readonly memory: MemoryStats | undefined;
  readonly writableLayer: FilesystemUsage | undefined;
}

export interface PodSandboxStats {
  readonly id: string;
  readonly podUid: string;
  readonly cpu: CpuStats | undefined;
  readonly memory: MemoryStats | undefined;
  readonly network:
    | {
        readonly timestamp: Instant;
        readonly interfaces: readonly {
          readonly name: string;
          readonly rxBytes: number;
          readonly rxErrors: number;
          readonly txBytes: number;
          readonly txErrors: number;
        }[];
      }
    | undefined;
  readonly processCount: number | undefined;
  readonly containers: readonly ContainerStats[];
}

/** Only wakes somebody up: whoever is woken reads the full truth. `podUid` is undefined when the event did not say. */
export interface RuntimeEvent {
  readonly podUid: string | undefined;
  readonly containerId: string;
  /** Undefined when the runtime did not say. */
  readonly createdAt?: Instant | undefined;
}

export type CgroupDriver = 'systemd' | 'cgroupfs';

export interface Runtime {
  version(options: CallOptions): Promise<RuntimeVersion>;
  status(request: { readonly verbose: boolean }, options: CallOptions): Promise<RuntimeStatus>;
  /** The runtime's own cgroup driver; undefined when it cannot say (L-290). */
  cgroupDriver(options: CallOptions): Promise<CgroupDriver | undefined>;
  updatePodCidr(podCidr: string, options: CallOptions): Promise<void>;

  /** Resolves to the sandbox id. */
  runPodSandbox(request: { readonly config: PodSandboxConfig; readonly runtimeHandler: string }, options: CallOptions): Promise<string>;
  stopPodSandbox(sandboxId: string, options: CallOptions): Promise<void>;
  removePodSandbox(sandboxId: string, options: CallOptions): Promise<void>;
  /** Without addresses and namespace modes (`ips` empty, `hostNetwork` undefined): those only the status has. */
  listPodSandboxes(filter: RuntimeFilter, options: CallOptions): Promise<readonly ObservedSandbox[]>;
  podSandboxStatus(sandboxId: string, options: CallOptions): Promise<ObservedSandbox | undefined>;

  /** Resolves to the container id. */
  createContainer(
    request: { readonly sandboxId: string; readonly config: ContainerConfig; readonly sandboxConfig: PodSandboxConfig },
    options: CallOptions,
  ): Promise<string>;
  startContainer(containerId: string, options: CallOptions): Promise<void>;
  /** Resolves when the container has exited (L-190). `timeoutSeconds` 0 means SIGKILL at once. */
  stopContainer(request: { readonly containerId: string; readonly timeoutSeconds: number }, options: CallOptions): Promise<void>;
  removeContainer(containerId: string, options: CallOptions): Promise<void>;
  /** Without start, finish, exit code, mounts, log path: those only the status has. */
  listContainers(filter: RuntimeFilter, options: CallOptions): Promise<readonly ObservedContainer[]>;
  containerStatus(containerId: string, options: CallOptions): Promise<ObservedContainer | undefined>;
  updateContainerResources(
    request: { readonly containerId: string; readonly resources: LinuxResources },
    options: CallOptions,
  ): Promise<void>;
  updatePodSandboxResources(
    request: { readonly sandboxId: string; readonly resources: LinuxResources; readonly overhead: LinuxResources },
    options: CallOptions,
  ): Promise<void>;
  reopenContainerLog(containerId: string, options: CallOptions): Promise<void>;
  /**
   * Writes the state of a running container to the file `location`. `timeoutSeconds` 0 leaves it to the runtime. A
   * RuntimeError `unimplemented` where the runtime has no checkpoints.
   */
  checkpointContainer(
    request: { readonly containerId: string; readonly location: string; readonly timeoutSeconds: number },
    options: CallOptions,
  ): Promise<void>;

  /** `timeoutSeconds` 0 means no limit. A command that runs out of time is a RuntimeError `deadline-exceeded`. */
  execSync(
    request: { readonly containerId: string; readonly command: readonly string[]; readonly timeoutSeconds: number },
    options: CallOptions,
  ): Promise<ExecResult>;
  /** The three below resolve to the URL of the runtime's own streaming server. */
  exec(
    request: StreamOptions & { readonly containerId: string; readonly command: readonly string[] },
    options: CallOptions,
  ): Promise<string>;
  attach(request: StreamOptions & { readonly containerId: string }, options: CallOptions): Promise<string>;
  portForward(request: { readonly sandboxId: string; readonly ports: readonly number[] }, options: CallOptions): Promise<string>;

  /**
   * Container and sandbox events from now on, until the signal aborts or the stream breaks (RuntimeError). A runtime
   * without events throws a RuntimeError `unimplemented` with `retry: 'never'`.
   */
  events(options: CallOptions): AsyncIterable<RuntimeEvent>;

  containerStats(containerId: string, options: CallOptions): Promise<ContainerStats | undefined>;
  listContainerStats(filter: RuntimeFilter, options: CallOptions): Promise<readonly ContainerStats[]>;
  /** A RuntimeError `unimplemented` where the runtime has none. */
  listPodSandboxStats(filter: RuntimeFilter, options: CallOptions): Promise<readonly PodSandboxStats[]>;

  listImages(options: CallOptions): Promise<readonly RuntimeImage[]>;
  /** Undefined when the image is not there. */
  imageStatus(image: ImageSpec, options: CallOptions): Promise<RuntimeImage | undefined>;
  /** Resolves to the image reference to create containers with. Has no deadline of its own. */
  pullImage(
    request: { readonly image: ImageSpec; readonly auth: ImageAuth | undefined; readonly sandboxConfig: PodSandboxConfig },
    options: CallOptions,
  ): Promise<string>;
  removeImage(image: ImageSpec, options: CallOptions): Promise<void>;
  imageFsInfo(options: CallOptions): Promise<readonly FilesystemUsage[]>;
}
