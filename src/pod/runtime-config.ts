// What we ask the runtime for: CRI's configuration messages in our own types. The port (runtime/) takes them;
// runtime/cri turns them into protobuf. Field meanings are CRI's (spec 02, section 4.13).

export type NamespaceMode = 'pod' | 'container' | 'node' | 'target';
export type Protocol = 'TCP' | 'UDP' | 'SCTP';

export interface IdMapping {
  readonly hostId: number;
  readonly containerId: number;
  readonly length: number;
}

export interface NamespaceOptions {
  readonly network: NamespaceMode;
  readonly pid: NamespaceMode;
  readonly ipc: NamespaceMode;
  readonly targetId?: string;
  /** `node` shares the node's user namespace; `pod` maps ids. */
  readonly user?: { readonly mode: NamespaceMode; readonly uids: readonly IdMapping[]; readonly gids: readonly IdMapping[] };
}

export interface SecurityProfile {
  readonly type: 'RuntimeDefault' | 'Unconfined' | 'Localhost';
  /** Absolute path (seccomp) or profile name (AppArmor); only for `Localhost`. */
  readonly localhostRef?: string;
}

export interface SeLinuxOptions {
  readonly user: string;
  readonly role: string;
  readonly type: string;
  readonly level: string;
}

/** Zero or absent means "not limited" or "not set", as in CRI. */
export interface LinuxResources {
  readonly cpuPeriod?: number;
  readonly cpuQuota?: number;
  readonly cpuShares?: number;
  readonly memoryLimitBytes?: number;
  readonly memorySwapLimitBytes?: number;
  readonly oomScoreAdj?: number;
  readonly cpusetCpus?: string;
  readonly cpusetMems?: string;
  readonly hugepageLimits?: readonly { readonly pageSize: string; readonly limitBytes: number }[];
  readonly unified?: Readonly<Record<string, string>>;
}

export interface DnsConfig {
  readonly servers: readonly string[];
  readonly searches: readonly string[];
  readonly options: readonly string[];
}

export interface PortMapping {
  readonly protocol: Protocol;
  readonly containerPort: number;
  readonly hostPort: number;
  readonly hostIp: string;
}

export interface PodSandboxConfig {
  readonly metadata: { readonly name: string; readonly uid: string; readonly namespace: string; readonly attempt: number };
  readonly hostname: string;
  readonly logDirectory: string;
  readonly dnsConfig: DnsConfig;
  readonly portMappings: readonly PortMapping[];
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly linux: {
    readonly cgroupParent: string;
    readonly sysctls: Readonly<Record<string, string>>;
    readonly resources?: LinuxResources;
    readonly overhead?: LinuxResources;
    readonly securityContext: {
      readonly namespaceOptions: NamespaceOptions;
      readonly privileged: boolean;
      readonly seccomp: SecurityProfile;
      readonly runAsUser?: number;
      readonly runAsGroup?: number;
      readonly seLinuxOptions?: SeLinuxOptions;
      readonly supplementalGroups: readonly number[];
      readonly supplementalGroupsPolicy: 'Merge' | 'Strict';
    };
  };
}

export interface Mount {
  readonly containerPath: string;
  /** Empty for image volumes. */
  readonly hostPath: string;
  readonly readonly: boolean;
  readonly seLinuxRelabel: boolean;
  readonly propagation: 'private' | 'hostToContainer' | 'bidirectional';
  readonly recursiveReadOnly: boolean;
  readonly uidMappings?: readonly IdMapping[];
  readonly gidMappings?: readonly IdMapping[];
  readonly image?: ImageSpec;
  readonly imageSubPath?: string;
}

export interface ImageSpec {
  /** What the runtime looks up: an image id or a reference. */
  readonly image: string;
  /** The text in the manifest. */
  readonly userSpecifiedImage?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly runtimeHandler?: string;
}

export interface ContainerConfig {
  readonly metadata: { readonly name: string; readonly attempt: number };
  readonly image: ImageSpec;
  readonly command: readonly string[];
  readonly args: readonly string[];
  readonly workingDir: string;
  readonly envs: readonly { readonly key: string; readonly value: string }[];
  readonly mounts: readonly Mount[];
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Relative to the sandbox's log directory. */
  readonly logPath: string;
  readonly stdin: boolean;
  readonly stdinOnce: boolean;
  readonly tty: boolean;
  /** Kubernetes' name, `SIGUSR1`; the image's own when absent. */
  readonly stopSignal?: string;
  readonly linux: {
    readonly resources: LinuxResources;
    readonly securityContext: {
      readonly capabilities?: { readonly add: readonly string[]; readonly drop: readonly string[] };
      readonly privileged: boolean;
      readonly namespaceOptions: NamespaceOptions;
      readonly seLinuxOptions?: SeLinuxOptions;
      readonly runAsUser?: number;
      readonly runAsUsername?: string;
      readonly runAsGroup?: number;
      readonly readonlyRootfs: boolean;
      readonly supplementalGroups: readonly number[];
      readonly supplementalGroupsPolicy: 'Merge' | 'Strict';
      readonly noNewPrivs: boolean;
      readonly maskedPaths: readonly string[];
      readonly readonlyPaths: readonly string[];
      readonly seccomp: SecurityProfile;
      readonly apparmor?: SecurityProfile;
    };
  };
}

export interface ImageAuth {
  readonly username?: string;
  readonly password?: string;
  readonly serverAddress?: string;
  readonly identityToken?: string;
  readonly registryToken?: string;
}
