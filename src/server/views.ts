// What the HTTP servers see of the agent: narrow read views, declared here and implemented in agent/. The servers
// change nothing through them except what a user asked for (exec, attach, port-forward, removing a view of a Pod).
import type { Event, Lease, Node } from '../api/gen/kubernetes.ts';
import type { Pod } from '../api/pod.ts';
import type { DoctorReport } from '../api/trouble.ts';
import type { Instant } from '../std/clock.ts';
import type { User } from './user.ts';

/** Ends a subscription. Idempotent. */
export type Unsubscribe = () => void;

/** A set that can be read whole at any time; subscribers are told *that* it changed and read it again. */
export interface Feed<T> {
  /**
   * The current set. An object that did not change is the same reference as last time: readers compare references
   * before contents.
   */
  list(): readonly T[];
  /** `listener` is called, synchronously or soon, after every change. It does not throw. */
  subscribe(listener: () => void): Unsubscribe;
}

/**
 * The static Pods that are wanted or not yet gone: `metadata.uid` is the static UID, annotations `config.hash`,
 * `config.seen`, `config.source` are there and `config.mirror` is not (H-280), `status` is the latest one. A Pod whose
 * manifest was removed stays in the list, with `metadata.deletionTimestamp` and `deletionGracePeriodSeconds`, until its
 * containers are gone. One namespace/name appears once.
 */
export type PodsView = Feed<Pod>;

/** The Node object, complete with status (conditions, capacity, addresses, nodeInfo, images). Exactly one. */
export type NodeView = Feed<Node>;

/** Events of core/v1, newest state of each (counts merged). */
export type EventsView = Feed<Event>;

/** Leases to show (the node's own in `kube-node-lease`, when there is one). */
export type LeasesView = Feed<Lease>;

export interface ViewCallOptions {
  readonly signal: AbortSignal;
}

export interface StreamSelection {
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
}

export interface ContainerInstance {
  readonly id: string;
  readonly running: boolean;
  /** Absolute path of the CRI log file. */
  readonly logPath: string;
}

/** What of the runtime a user may reach. Container ids are without the `containerd://` scheme. */
export interface RuntimeView {
  /** Undefined when the runtime has no such container. Throws a RuntimeError when it cannot be asked. */
  container(containerId: string, options: ViewCallOptions): Promise<ContainerInstance | undefined>;
  /** The three below resolve to a single-use URL of the runtime's streaming server, valid for a minute (H-245). */
  exec(
    request: StreamSelection & { readonly containerId: string; readonly command: readonly string[] },
    options: ViewCallOptions,
  ): Promise<string>;
  attach(request: StreamSelection & { readonly containerId: string }, options: ViewCallOptions): Promise<string>;
  /** To the newest ready sandbox of the Pod. Undefined when it has none. `ports`: for clients that do not name them in the stream. */
  portForward(
    request: { readonly podUid: string; readonly ports: readonly number[] },
    options: ViewCallOptions,
  ): Promise<string | undefined>;
  /** Writes the container's state to the file. Throws a RuntimeError, `unimplemented` where the runtime cannot do that. */
  checkpoint(
    request: { readonly containerId: string; readonly location: string; readonly timeoutSeconds: number },
    options: ViewCallOptions,
  ): Promise<void>;
  /** Output and error output, as they came, and the exit code. */
  run(
    request: { readonly containerId: string; readonly command: readonly string[] },
    options: ViewCallOptions,
  ): Promise<{ readonly output: Uint8Array; readonly exitCode: number }>;
  /** Everything that runs, wanted or not: for `/runningpods/` (H-281). */
  runningPods(options: ViewCallOptions): Promise<readonly RunningPod[]>;
}

export interface RunningPod {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly containers: readonly { readonly name: string; readonly image: string }[];
}

export interface CpuUsage {
  readonly time: Instant;
  /** Rate over the last window, in 10⁻⁹ cores; undefined until two samples were seen. */
  readonly usageNanoCores: number | undefined;
  readonly usageCoreNanoSeconds: number;
}

export interface MemoryUsage {
  readonly time: Instant;
  readonly availableBytes?: number | undefined;
  readonly usageBytes?: number | undefined;
  readonly workingSetBytes: number;
  readonly rssBytes?: number | undefined;
  readonly pageFaults?: number | undefined;
  readonly majorPageFaults?: number | undefined;
}

export interface FilesystemStats {
  readonly time: Instant;
  readonly availableBytes?: number | undefined;
  readonly capacityBytes?: number | undefined;
  readonly usedBytes: number;
  readonly inodesFree?: number | undefined;
  readonly inodes?: number | undefined;
  readonly inodesUsed?: number | undefined;
}

export interface InterfaceStats {
  readonly name: string;
  readonly rxBytes: number;
  readonly rxErrors: number;
  readonly txBytes: number;
  readonly txErrors: number;
}

/** How long some tasks, or all of them, had to wait for something: microseconds so far, and per cent of the time of late. */
export interface PressureStall {
  readonly full: PressureData;
  readonly some: PressureData;
}

export interface PressureData {
  readonly total: number;
  readonly avg10: number;
  readonly avg60: number;
  readonly avg300: number;
}

/** Undefined where the kernel does not tell. */
export interface PressureUsage {
  readonly cpu?: PressureStall | undefined;
  readonly memory?: PressureStall | undefined;
  readonly io?: PressureStall | undefined;
}

/** What the kernel counts for a control group; what it does not tell is undefined. */
export interface CgroupNumbers {
  readonly cpuUserSeconds?: number | undefined;
  readonly cpuSystemSeconds?: number | undefined;
  readonly cpuPeriods?: number | undefined;
  readonly cpuThrottledPeriods?: number | undefined;
  readonly cpuThrottledSeconds?: number | undefined;
  /** Microseconds; undefined without a limit. */
  readonly cpuQuota?: number | undefined;
  readonly cpuPeriod?: number | undefined;
  readonly cpuShares?: number | undefined;
  readonly memoryCacheBytes?: number | undefined;
  readonly memoryMappedBytes?: number | undefined;
  readonly memoryKernelBytes?: number | undefined;
  readonly memoryMaxBytes?: number | undefined;
  /** 0 without a limit. */
  readonly memoryLimitBytes?: number | undefined;
  readonly swapBytes?: number | undefined;
  /** Undefined without a limit. */
  readonly swapLimitBytes?: number | undefined;
  readonly oomKills?: number | undefined;
  readonly processes?: number | undefined;
  readonly threads?: number | undefined;
  /** Undefined without a limit. */
  readonly threadsMax?: number | undefined;
}

export interface DeviceTraffic {
  /** `major:minor`. */
  readonly device: string;
  readonly readBytes: number;
  readonly writeBytes: number;
  readonly reads: number;
  readonly writes: number;
}

export interface InterfaceTraffic extends InterfaceStats {
  readonly rxPackets: number;
  readonly rxDropped: number;
  readonly txPackets: number;
  readonly txDropped: number;
}

/** The control group of a Pod, or of one of its running containers. */
export interface CgroupUsage {
  readonly namespace: string;
  readonly pod: string;
  readonly podUid: string;
  /** Empty for the Pod's own group. */
  readonly container: string;
  /** The path of the group. */
  readonly id: string;
  readonly image: string;
  readonly containerId: string;
  readonly time: Instant;
  readonly numbers: CgroupNumbers;
  readonly pressure: PressureUsage;
  readonly traffic: readonly DeviceTraffic[];
  /** Of a Pod with a network of its own. */
  readonly interfaces: readonly InterfaceTraffic[];
}

export interface VolumeUsage extends FilesystemStats {
  readonly name: string;
  /** In memory, so that it takes no room on the disk. */
  readonly inMemory: boolean;
}

export interface ContainerUsage {
  readonly name: string;
  readonly startedAt: Instant;
  readonly cpu?: CpuUsage | undefined;
  readonly memory?: MemoryUsage | undefined;
  readonly rootfs?: FilesystemStats | undefined;
  readonly logs?: FilesystemStats | undefined;
}

export interface PodUsage {
  readonly namespace: string;
  /** With the node suffix. */
  readonly name: string;
  /** The static UID. */
  readonly uid: string;
  readonly startedAt: Instant;
  /** Of the Pod's cgroup; where the runtime does not tell, readers add up the containers. */
  readonly cpu?: CpuUsage | undefined;
  readonly memory?: MemoryUsage | undefined;
  /** Absent for Pods on the host's network. */
  readonly network?: { readonly time: Instant; readonly interfaces: readonly InterfaceStats[] } | undefined;
  readonly processCount?: number | undefined;
  /** Running containers only. */
  readonly containers: readonly ContainerUsage[];
}

export interface LogUsage {
  readonly namespace: string;
  /** With the node suffix. */
  readonly pod: string;
  /** The static UID. */
  readonly uid: string;
  readonly container: string;
  readonly usedBytes: number;
}

export interface NodeUsage {
  readonly startedAt: Instant;
  readonly cpu?: CpuUsage | undefined;
  readonly memory?: MemoryUsage | undefined;
  readonly network?: { readonly time: Instant; readonly interfaces: readonly InterfaceStats[] } | undefined;
  readonly fs?: FilesystemStats | undefined;
  readonly imageFs?: FilesystemStats | undefined;
  readonly containerFs?: FilesystemStats | undefined;
  readonly swap?: { readonly time: Instant; readonly availableBytes: number; readonly usageBytes: number } | undefined;
  readonly pressure?: PressureUsage | undefined;
  readonly machine?: { readonly cores: number; readonly memoryBytes: number; readonly swapBytes: number } | undefined;
  readonly rlimit?: { readonly time: Instant; readonly maxPid: number; readonly processes: number } | undefined;
  /** `kubelet` (the agent itself), `runtime`, `pods`. */
  readonly systemContainers: readonly ContainerUsage[];
}

/** Usage now. Implementations keep the last sample to make rates, and may answer a sample up to some seconds old. */
export interface StatsView {
  node(options: ViewCallOptions): Promise<NodeUsage>;
  pods(options: ViewCallOptions): Promise<readonly PodUsage[]>;
  /** What the logs of the running containers take, read off the disk without asking the runtime. */
  logs(): Promise<readonly LogUsage[]>;
  /** Read off the kernel without asking the runtime; none where Pods have no control groups of their own. */
  cgroups(options: ViewCallOptions): Promise<readonly CgroupUsage[]>;
  /** The volumes that take room on this node, by Pod UID; up to a minute old. */
  volumes(options: ViewCallOptions): Promise<ReadonlyMap<string, readonly VolumeUsage[]>>;
}

/** One manifest and what became of it (D5); the shape of `source/source.ts`. */
export interface ManifestStatus {
  readonly source: string;
  readonly path: string;
  readonly index?: number | undefined;
  readonly pod?: string | undefined;
  readonly verdict:
    | {
        readonly kind: 'accepted';
        /** Why its Pod has not begun. */
        readonly waiting?: string | undefined;
      }
    | {
        readonly kind: 'rejected';
        readonly problems: readonly {
          readonly line?: number | undefined;
          readonly column?: number | undefined;
          readonly field: string;
          readonly message: string;
        }[];
        readonly keptPods: boolean;
      }
    | { readonly kind: 'shadowed'; readonly by: string }
    | { readonly kind: 'ignored'; readonly why: string };
}

export interface SourceStatus {
  readonly source: string;
  /** The folder, file or URL. */
  readonly location: string;
  /** When it was last read; undefined before the first time. */
  readonly readAt: Instant | undefined;
  readonly fault?: string | undefined;
  /** Why changes are only found by the rescan. */
  readonly unwatched?: string | undefined;
}

/** What is wrong now. */
export interface TroublesView {
  report(): DoctorReport;
}

export interface ManifestsView {
  manifests(): readonly ManifestStatus[];
  sources(): readonly SourceStatus[];
}

/** A named part of `/healthz`: resolves to undefined when well, else to the reason (it goes to the log only). */
export interface HealthCheck {
  readonly name: string;
  check(): string | undefined;
}

/** The effective configuration as JSON: the kubelet's document and the agent's own (H-288). */
export interface ConfigView {
  kubelet(): Readonly<Record<string, unknown>>;
  agent(): Readonly<Record<string, unknown>>;
}

/** Text of a metrics registry in Prometheus' format (H-350): the agent's own metrics, or those of probes. */
export interface MetricsView {
  expose(group: 'agent' | 'probes'): Promise<string>;
}

/** Questions to a cluster's API server about callers of the kubelet's port (H-300b, H-301a). */
export interface ReviewView {
  /** Whose token it is; undefined when it is nobody's. Throws when the API server cannot be asked. */
  tokenReview(token: string, options: ViewCallOptions): Promise<User | undefined>;
  /** Whether the user may do `verb` on `nodes/<subresource>` of this node. Throws when the API server cannot be asked. */
  subjectAccessReview(
    request: {
      readonly user: User;
      readonly verb: string;
      readonly subresource: string;
      readonly path: string;
    },
    options: ViewCallOptions,
  ): Promise<boolean>;
}

/** A serving certificate that may come, and change, while the server runs. */
export interface ServingCertificateView {
  current(): ServingCertificate | undefined;
  /** `listener` hears of each new one. It does not throw. */
  subscribe(listener: (certificate: ServingCertificate) => void): Unsubscribe;
}

export interface ServingCertificate {
  /** PEM: the certificate, then those above it. */
  readonly certificate: string;
  readonly key: string;
}

/** The kept state of a server, as JSON; `load` gives undefined when there is none or it was damaged. */
export interface StateView {
  load(): Promise<unknown>;
  save(value: unknown): Promise<void>;
}
