// /stats/summary (H-285): usage → the kubelet's document. Pure; unknown numbers are left out.
import { type Instant, toRfc3339 } from '../../std/clock.ts';
import type { ContainerUsage, CpuUsage, FilesystemStats, InterfaceStats, MemoryUsage, NodeUsage, PodUsage } from '../views.ts';
import { podCpu, podMemory } from './usage-metrics.ts';

type Json = Readonly<Record<string, unknown>>;

const time = (instant: Instant): string => toRfc3339(instant);

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
  const main = network.interfaces.find((i) => i.name === 'eth0') ?? network.interfaces.find((i) => i.name !== 'lo');
  return { time: time(network.time), ...main, interfaces: network.interfaces };
}

const optional = <T>(name: string, value: T | undefined, render: (value: T) => Json): Json =>
  value === undefined ? {} : { [name]: render(value) };

const containerOf = (container: ContainerUsage, onlyCpuAndMemory: boolean): Json => ({
  name: container.name,
  startTime: time(container.startedAt),
  ...optional('cpu', container.cpu, cpuOf),
  ...optional('memory', container.memory, memoryOf),
  ...(onlyCpuAndMemory ? {} : { ...optional('rootfs', container.rootfs, filesystemOf), ...optional('logs', container.logs, filesystemOf) }),
});

function ephemeralStorageOf(pod: PodUsage): FilesystemStats | undefined {
  const parts = pod.containers.flatMap((c) => [c.rootfs, c.logs]).filter((fs) => fs !== undefined);
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

export function summaryOf(nodeName: string, node: NodeUsage, pods: readonly PodUsage[], onlyCpuAndMemory: boolean): Json {
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
      systemContainers: node.systemContainers.map((c) => containerOf(c, true)),
      startTime: time(node.startedAt),
      ...optional('cpu', node.cpu, cpuOf),
      ...optional('memory', node.memory, memoryOf),
      ...more,
      ...optional('swap', node.swap, (s) => ({ time: time(s.time), swapAvailableBytes: s.availableBytes, swapUsageBytes: s.usageBytes })),
    },
    pods: pods
      .filter((pod) => pod.containers.length > 0)
      .map((pod) => ({
        podRef: { name: pod.name, namespace: pod.namespace, uid: pod.uid },
        startTime: time(pod.startedAt),
        containers: pod.containers.map((c) => containerOf(c, onlyCpuAndMemory)),
        ...optional('cpu', podCpu(pod), cpuOf),
        ...optional('memory', podMemory(pod), memoryOf),
        ...(onlyCpuAndMemory
          ? {}
          : {
              ...optional('network', pod.network, networkOf),
              ...optional('ephemeral-storage', ephemeralStorageOf(pod), filesystemOf),
              ...(pod.processCount === undefined ? {} : { process_stats: { process_count: pod.processCount } }),
            }),
      })),
  };
}
