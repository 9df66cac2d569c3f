// /stats/summary (H-285): usage → the kubelet's document. Pure; unknown numbers are left out.
import { type Instant, toRfc3339 } from '../../std/clock.ts';
import type {
  CgroupUsage,
  ContainerUsage,
  CpuUsage,
  FilesystemStats,
  InterfaceStats,
  MemoryUsage,
  NodeUsage,
  PodUsage,
  PressureStall,
  VolumeUsage,
} from '../views.ts';
import { groupFinder, podCpu, podMemory } from './usage-metrics.ts';

type Json = Readonly<Record<string, unknown>>;

const time = (instant: Instant): string => toRfc3339(instant);

const withPressure = (pressure: PressureStall | undefined): Json => (pressure === undefined ? {} : { psi: pressure });

const cpuOf = (cpu: CpuUsage): Json => ({
  time: time(cpu.time),
  ...(cpu.usageNanoCores === undefined ? {} : { usageNanoCores: Math.round(cpu.usageNanoCores) }),
  usageCoreNanoSeconds: Math.round(cpu.usageCoreNanoSeconds),
});

const memoryOf = (memory: MemoryUsage): Json => ({
  time: time(memory.time),
  ...(memory.availableBytes === undefined ? {} : { availableBytes: memory.availableBytes }),
  ...(memory.usageBytes === undefined ? {} : { usageBytes: memory.usageBytes }),
  workingSetBytes: memory.workingSetBytes,
  ...(memory.rssBytes === undefined ? {} : { rssBytes: memory.rssBytes }),
  ...(memory.pageFaults === undefined ? {} : { pageFaults: memory.pageFaults }),
  ...(memory.majorPageFaults === undefined ? {} : { majorPageFaults: memory.majorPageFaults }),
});

const filesystemOf = (fs: FilesystemStats): Json => ({
  time: time(fs.time),
  ...(fs.availableBytes === undefined ? {} : { availableBytes: fs.availableBytes }),
  ...(fs.capacityBytes === undefined ? {} : { capacityBytes: fs.capacityBytes }),
  usedBytes: fs.usedBytes,
  ...(fs.inodesFree === undefined ? {} : { inodesFree: fs.inodesFree }),
  ...(fs.inodes === undefined ? {} : { inodes: fs.inodes }),
  ...(fs.inodesUsed === undefined ? {} : { inodesUsed: fs.inodesUsed }),
});

function networkOf(network: { readonly time: Instant; readonly interfaces: readonly InterfaceStats[] }): Json {
  // The default interface is repeated at the top.
  const interfaces = network.interfaces.map(({ name, rxBytes, rxErrors, txBytes, txErrors }) => ({
    name,
    rxBytes,
    rxErrors,
    txBytes,
    txErrors,
  }));
  const main = interfaces.find((i) => i.name === 'eth0') ?? interfaces.find((i) => i.name !== 'lo');
  return { time: time(network.time), ...main, interfaces };
}

const optional = <T>(name: string, value: T | undefined, render: (value: T) => Json | readonly Json[]): Json =>
  value === undefined ? {} : { [name]: render(value) };

/** CPU, memory, waiting for devices and swap, of which the last two are only known by the control group. */
function resourcesOf(cpu: CpuUsage | undefined, memory: MemoryUsage | undefined, group: CgroupUsage | undefined): Json {
  const { pressure = {}, numbers = {} } = group ?? {};
  const { swapBytes, swapLimitBytes } = numbers;
  const swapAvailableBytes = swapLimitBytes === undefined || swapBytes === undefined ? undefined : Math.max(0, swapLimitBytes - swapBytes);
  return {
    ...optional('cpu', cpu, (one) => ({ ...cpuOf(one), ...withPressure(pressure.cpu) })),
    ...optional('memory', memory, (one) => ({ ...memoryOf(one), ...withPressure(pressure.memory) })),
    ...optional('io', group, (one) => ({ time: time(one.time), ...withPressure(pressure.io) })),
    ...(group === undefined || swapBytes === undefined
      ? {}
      : {
          swap: { time: time(group.time), ...(swapAvailableBytes === undefined ? {} : { swapAvailableBytes }), swapUsageBytes: swapBytes },
        }),
  };
}

const containerOf = (container: ContainerUsage, group: CgroupUsage | undefined, onlyCpuAndMemory: boolean): Json => ({
  name: container.name,
  startTime: time(container.startedAt),
  ...resourcesOf(container.cpu, container.memory, group),
  ...(onlyCpuAndMemory ? {} : { ...optional('rootfs', container.rootfs, filesystemOf), ...optional('logs', container.logs, filesystemOf) }),
});

function ephemeralStorageOf(pod: PodUsage, volumes: readonly VolumeUsage[]): FilesystemStats | undefined {
  const onDisk = volumes.filter((volume) => !volume.inMemory);
  const parts = [...pod.containers.flatMap((c) => [c.rootfs, c.logs]), ...onDisk].filter((fs) => fs !== undefined);
  if (parts.length === 0) return undefined;
  const { availableBytes, capacityBytes, inodes, inodesFree } = parts[0] ?? {};
  return {
    time: Math.max(...parts.map((fs) => fs.time)),
    availableBytes,
    capacityBytes,
    inodes,
    inodesFree,
    usedBytes: parts.reduce((sum, fs) => sum + fs.usedBytes, 0),
    inodesUsed: parts.reduce((sum, fs) => sum + (fs.inodesUsed ?? 0), 0),
  };
}

export interface SummaryInput {
  readonly nodeName: string;
  readonly node: NodeUsage;
  readonly pods: readonly PodUsage[];
  readonly cgroups: readonly CgroupUsage[];
  /** By Pod UID. */
  readonly volumes: ReadonlyMap<string, readonly VolumeUsage[]>;
  readonly onlyCpuAndMemory: boolean;
}

export function summaryOf({ nodeName, node, pods, cgroups, volumes, onlyCpuAndMemory }: SummaryInput): Json {
  const groupOf = groupFinder(cgroups);
  const { pressure = {} } = node;
  const more: Json = onlyCpuAndMemory
    ? {}
    : {
        ...optional('network', node.network, networkOf),
        ...optional('fs', node.fs, filesystemOf),
        runtime: { ...optional('imageFs', node.imageFs, filesystemOf), ...optional('containerFs', node.containerFs, filesystemOf) },
        ...optional('rlimit', node.rlimit, (r) => ({ time: time(r.time), maxpid: r.maxPid, curproc: r.processes })),
      };
  return {
    node: {
      nodeName,
      systemContainers: node.systemContainers.map((c) => containerOf(c, undefined, true)),
      startTime: time(node.startedAt),
      ...optional('cpu', node.cpu, (cpu) => ({ ...cpuOf(cpu), ...withPressure(pressure.cpu) })),
      ...optional('memory', node.memory, (memory) => ({ ...memoryOf(memory), ...withPressure(pressure.memory) })),
      ...optional('io', pressure.io && node.cpu, (cpu) => ({ time: time(cpu.time), ...withPressure(pressure.io) })),
      ...more,
      ...optional('swap', node.swap, (s) => ({ time: time(s.time), swapAvailableBytes: s.availableBytes, swapUsageBytes: s.usageBytes })),
    },
    pods: pods
      .filter((pod) => pod.containers.length > 0)
      .map((pod) => ({
        podRef: { name: pod.name, namespace: pod.namespace, uid: pod.uid },
        startTime: time(pod.startedAt),
        containers: pod.containers.map((c) => containerOf(c, groupOf(pod, c.name), onlyCpuAndMemory)),
        ...resourcesOf(podCpu(pod), podMemory(pod), groupOf(pod, '')),
        ...(onlyCpuAndMemory
          ? {}
          : {
              ...optional('network', pod.network, networkOf),
              ...optional('volume', volumes.get(pod.uid), (all) => all.map((volume) => ({ ...filesystemOf(volume), name: volume.name }))),
              ...optional('ephemeral-storage', ephemeralStorageOf(pod, volumes.get(pod.uid) ?? []), filesystemOf),
              ...(pod.processCount === undefined ? {} : { process_stats: { process_count: pod.processCount } }),
            }),
      })),
  };
}
