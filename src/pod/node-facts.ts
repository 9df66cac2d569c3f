// What is known of the node and its runtime when requests are built: plain data, read by others, handed in.

import type { ImageVolumeSupport } from './image-volumes.ts';

export interface NodeAmounts {
  readonly cpuMillis: number;
  readonly memoryBytes: number;
  readonly ephemeralStorageBytes: number;
  /** Bytes by page size in bytes. */
  readonly hugepagesBytes: ReadonlyMap<number, number>;
}

export interface CgroupFacts {
  readonly version: 1 | 2;
  readonly driver: 'cgroupfs' | 'systemd';
  /** `cgroupRoot`, the logical parent of `kubepods`; `/` by default (L-286). */
  readonly root: string;
  /** `cgroupsPerQOS`: whether Pods get cgroups of their own (L-289). */
  readonly perQos: boolean;
  /** Whether swap can be limited: `memory.swap.max` or `memory.memsw.limit_in_bytes` exists (L-252). */
  readonly swapController: boolean;
}

export interface RuntimeHandlerFacts {
  /** Empty for the default handler. */
  readonly name: string;
  readonly recursiveReadOnlyMounts: boolean;
  readonly userNamespaces: boolean;
}

export interface NodeFacts {
  readonly name: string;
  /** The node's addresses, the primary one first, at most one of each family. */
  readonly ips: readonly string[];
  /** Text of the node's resolver file, read anew for every Pod (L-202); undefined when `resolvConf` is configured empty. */
  readonly resolvConf: string | undefined;
  readonly clusterDns: readonly string[];
  /** Empty when there is none. */
  readonly clusterDomain: string;
  /** Text of the node's `/etc/hosts`. */
  readonly hostsFile: string;
  readonly capacity: NodeAmounts;
  readonly allocatable: NodeAmounts;
  /** Every huge page size of the kernel, in bytes. */
  readonly hugepageSizesBytes: readonly number[];
  readonly cgroup: CgroupFacts;
  readonly cpuCfsQuota: boolean;
  readonly cpuCfsQuotaPeriodUs: number;
  /** Pids a Pod may have; -1 for no limit of the Pod's own (L-296). */
  readonly podPidsLimit: number;
  readonly singleProcessOomKill: boolean;
  readonly podLogsDir: string;
  /** Where `Localhost` seccomp profiles are (L-263). */
  readonly seccompProfileRoot: string;
  /** `seccompDefault`: containers that say nothing get `RuntimeDefault`. */
  readonly seccompDefault: boolean;
  /** Whether SELinux is on, so that volumes may need relabelling (L-232). */
  readonly seLinux: boolean;
  /** Existing `/sys/devices/system/cpu/cpu<N>/thermal_throttle` paths (L-262). */
  readonly thermalThrottlePaths: readonly string[];
  readonly runtimeHandlers: readonly RuntimeHandlerFacts[];
  /** What the runtime can mount of images. */
  readonly imageVolumes: ImageVolumeSupport;
  /** RuntimeClass name → handler, from AgentConfiguration. */
  readonly runtimeClasses: Readonly<Record<string, string>>;
}
