// The effective configuration: one frozen value, made once by `loadConfig`, that the composition root hands on in parts.
// Names follow KubeletConfiguration where it has the setting; units are in the names. How each one is written in a
// file or as a flag, and its default, is a row of settings.ts.

import type { CipherSuite } from './cipher-suites.ts';

/** What an unusable source means for the Pods it had given (D1): they stay, or they go as with a kubelet (S-023). */
export type SourceFaultPolicy = 'keep' | 'follow';

/** Which Pods outlive pressure and may take the room of others: every static Pod (L-002), or those of high priority. */
export type CriticalPods = 'all' | 'byPriority';

export type AuthorizationMode = 'AlwaysAllow' | 'Webhook';
export type CgroupDriver = 'cgroupfs' | 'systemd';
export type LogFormat = 'text' | 'json';
export type SwapBehavior = 'NoSwap' | 'LimitedSwap';
export type MemoryReservationPolicy = 'None' | 'TieredReservation';
export type TlsVersion = 'VersionTLS10' | 'VersionTLS11' | 'VersionTLS12' | 'VersionTLS13';
export type CredentialVerificationPolicy = 'NeverVerify' | 'NeverVerifyPreloadedImages' | 'NeverVerifyAllowlistedImages' | 'AlwaysVerify';
/** `auto`: only when no CRI endpoint is configured and none answers at the usual sockets. */
export type PrivateContainerdMode = 'auto' | 'always' | 'never';

export interface Taint {
  readonly key: string;
  readonly value: string;
  readonly effect: 'NoSchedule' | 'PreferNoSchedule' | 'NoExecute';
}

/** A threshold of an eviction signal: of an amount, or of a share of the capacity. */
export type EvictionThreshold = { readonly kind: 'bytes'; readonly value: number } | { readonly kind: 'percent'; readonly value: number };

export interface ShutdownPriority {
  readonly priority: number;
  readonly shutdownGracePeriodSeconds: number;
}

export interface AgentConfig {
  // Places. Everything the agent writes is below one of these.
  /** State that outlives a reboot. */
  readonly rootDir: string;
  /** Sockets, locks and whatever a reboot may take. */
  readonly runDir: string;
  readonly podLogsDir: string;
  /** Own certificates and keys. */
  readonly certDir: string;
  /** The kubeconfig the agent writes for kubectl. */
  readonly localKubeconfigPath: string;
  /** The agent's own socket, which the CLI talks to. */
  readonly agentSocketPath: string;
  /** OCI and docker archives in here are imported at start. */
  readonly imagesDir: string;

  // The node.
  /** Trimmed and lower-cased (S-078); never empty. */
  readonly nodeName: string;
  /** One address, or one of each family. Empty: found out. */
  readonly nodeIps: readonly string[];
  readonly nodeLabels: Readonly<Record<string, string>>;
  readonly registerNode: boolean;
  readonly registerWithTaints: readonly Taint[];
  readonly providerId: string;
  readonly maxPods: number;
  /** 0: no limit per core. */
  readonly podsPerCore: number;
  readonly nodeStatusUpdateFrequencyMs: number;
  readonly nodeStatusReportFrequencyMs: number;
  readonly nodeLeaseDurationSeconds: number;
  /** -1: all. */
  readonly nodeStatusMaxImages: number;

  // Sources.
  /** Folder or file; undefined: no file source (S-001). Absolute, without a trailing slash. */
  readonly staticPodPath: string | undefined;
  readonly fileCheckFrequencyMs: number;
  /** undefined: no HTTP source (S-059). */
  readonly staticPodUrl: string | undefined;
  /** Never logged, never printed. */
  readonly staticPodUrlHeaders: Readonly<Record<string, readonly string[]>>;
  readonly staticPodUrlCaFile: string | undefined;
  readonly staticPodUrlCertFile: string | undefined;
  readonly staticPodUrlKeyFile: string | undefined;
  readonly httpCheckFrequencyMs: number;
  readonly sourceFaultPolicy: SourceFaultPolicy;
  readonly syncFrequencyMs: number;

  // The container runtime.
  /** undefined: the usual sockets are tried, then a private containerd is started. */
  readonly containerRuntimeEndpoint: string | undefined;
  /** undefined: the runtime's. */
  readonly imageServiceEndpoint: string | undefined;
  readonly runtimeRequestTimeoutMs: number;
  /** RuntimeClass name → handler of the runtime. */
  readonly runtimeHandlers: Readonly<Record<string, string>>;
  readonly privateContainerd: PrivateContainerdMode;
  /** Pod network of the private containerd, IPv4 CIDR. */
  readonly privateContainerdSubnet: string;
  readonly privateContainerdBridge: string;
  /** Where `containerd`, its shims and `runc` are looked for besides PATH. */
  readonly privateContainerdBinDirs: readonly string[];
  readonly cniBinDirs: readonly string[];
  readonly pauseImage: string;

  // Images.
  readonly serializeImagePulls: boolean;
  /** undefined: no limit of its own. */
  readonly maxParallelImagePulls: number | undefined;
  /** 0: no limit. */
  readonly registryPullQps: number;
  readonly registryBurst: number;
  readonly registryFaultPolicy: 'useLocal' | 'fail';
  readonly imageMinimumGcAgeMs: number;
  /** 0: age alone removes no image. */
  readonly imageMaximumGcAgeMs: number;
  readonly imageGcHighThresholdPercent: number;
  readonly imageGcLowThresholdPercent: number;
  readonly imagePullCredentialsVerificationPolicy: CredentialVerificationPolicy;
  readonly preloadedImagesVerificationAllowlist: readonly string[];
  readonly imageCredentialProviderConfig: string | undefined;
  readonly imageCredentialProviderBinDir: string | undefined;

  // Pods.
  readonly clusterDns: readonly string[];
  readonly clusterDomain: string;
  /** Empty: Pods get no resolver settings of the host. */
  readonly resolvConf: string;
  readonly crashLoopMaxBackOffMs: number;
  readonly seccompDefault: boolean;
  readonly allowedUnsafeSysctls: readonly string[];
  /** -1: as the node. */
  readonly podPidsLimit: number;
  readonly userNamespacesIdsPerPod: number;
  readonly containerLogMaxSizeBytes: number;
  readonly containerLogMaxFiles: number;
  readonly containerLogMaxWorkers: number;
  readonly containerLogMonitorIntervalMs: number;
  readonly criticalPods: CriticalPods;
  readonly shutdownGracePeriodMs: number;
  readonly shutdownGracePeriodCriticalPodsMs: number;
  readonly shutdownGracePeriodByPodPriority: readonly ShutdownPriority[];

  // Resources.
  readonly cgroupDriver: CgroupDriver;
  /** Parent of `kubepods`; empty: the root of the hierarchy. */
  readonly cgroupRoot: string;
  readonly cgroupsPerQos: boolean;
  readonly enforceNodeAllocatable: readonly string[];
  /** Quantities by resource name, as written. */
  readonly systemReserved: Readonly<Record<string, string>>;
  readonly kubeReserved: Readonly<Record<string, string>>;
  readonly cpuCfsQuota: boolean;
  readonly cpuCfsQuotaPeriodMs: number;
  /** undefined: false on cgroup v2, true on v1. */
  readonly singleProcessOomKill: boolean | undefined;
  readonly memoryThrottlingFactor: number;
  readonly memoryReservationPolicy: MemoryReservationPolicy;
  readonly failCgroupV1: boolean;
  readonly failSwapOn: boolean;
  readonly swapBehavior: SwapBehavior;
  readonly kernelSettings: 'keep' | 'set';
  readonly protectKernelDefaults: boolean;
  readonly localStorageCapacityIsolation: boolean;
  /** Signal (`memory.available`) → threshold, defaults merged in by H-327. */
  readonly evictionHard: Readonly<Record<string, EvictionThreshold>>;
  readonly evictionSoft: Readonly<Record<string, EvictionThreshold>>;
  readonly evictionSoftGracePeriodMs: Readonly<Record<string, number>>;
  readonly evictionMinimumReclaim: Readonly<Record<string, EvictionThreshold>>;
  readonly mergeDefaultEvictionSettings: boolean;
  readonly evictionPressureTransitionPeriodMs: number;
  readonly evictionMaxPodGracePeriodSeconds: number;

  // The kubelet's endpoints.
  readonly enableServer: boolean;
  readonly address: string;
  /** 0: any free port, for an agent with its own run directory. */
  readonly port: number;
  /** 0: off. */
  readonly readOnlyPort: number;
  /** 0: off. */
  readonly healthzPort: number;
  readonly healthzBindAddress: string;
  readonly tlsCertFile: string | undefined;
  readonly tlsPrivateKeyFile: string | undefined;
  readonly tlsCipherSuites: readonly CipherSuite[];
  readonly tlsMinVersion: TlsVersion;
  readonly rotateCertificates: boolean;
  readonly serverTlsBootstrap: boolean;
  readonly anonymousAuth: boolean;
  readonly clientCaFile: string | undefined;
  readonly authenticationWebhook: boolean;
  readonly authenticationWebhookCacheTtlMs: number;
  readonly authorizationMode: AuthorizationMode;
  readonly authorizationCacheAuthorizedTtlMs: number;
  readonly authorizationCacheUnauthorizedTtlMs: number;
  readonly enableDebuggingHandlers: boolean;
  readonly enableDebugFlagsHandler: boolean;
  readonly enableSystemLogHandler: boolean;
  readonly enableSystemLogQuery: boolean;
  readonly streamingConnectionIdleTimeoutMs: number;

  // The Kubernetes API over the agent's own state.
  readonly kubeApi: boolean;
  readonly kubeApiAddress: string;
  /** 0: any free port; the written kubeconfig names it. */
  readonly kubeApiPort: number;

  // A real API server, for mirror Pods.
  /** undefined: standalone. */
  readonly kubeconfig: string | undefined;
  readonly bootstrapKubeconfig: string | undefined;
  readonly kubeApiQps: number;
  readonly kubeApiBurst: number;
  readonly eventRecordQps: number;
  readonly eventBurst: number;

  // The process.
  readonly logFormat: LogFormat;
  readonly logVerbosity: number;
  readonly oomScoreAdj: number;
  readonly maxOpenFiles: number;
  readonly lockFile: string | undefined;
  readonly exitOnLockContention: boolean;
  readonly featureGates: Readonly<Record<string, boolean>>;
  /** Clean up everything, containers included, when the agent stops. */
  readonly demo: boolean;
}
