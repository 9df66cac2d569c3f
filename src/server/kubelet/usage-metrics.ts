// Usage of the node, its Pods and containers: for metrics-server (/metrics/resource, H-420) and for dashboards made for
// cAdvisor (/metrics/cadvisor, H-423). Usage in, families out.
import type { Instant } from '../../std/clock.ts';
import type {
  CgroupNumbers,
  CgroupUsage,
  ContainerUsage,
  CpuUsage,
  DeviceTraffic,
  FilesystemStats,
  InterfaceTraffic,
  LogUsage,
  MemoryUsage,
  NodeUsage,
  PodUsage,
  PressureStall,
  PressureUsage,
} from '../views.ts';
import { type Family, formatFamilies, type Sample } from './prometheus-text.ts';

type Labels = Readonly<Record<string, string>>;

const cpuSample = (cpu: CpuUsage | undefined, labels: Labels): Sample[] =>
  cpu === undefined ? [] : [{ labels, value: cpu.usageCoreNanoSeconds / 1e9, time: cpu.time }];

const memorySample = (memory: MemoryUsage | undefined, labels: Labels, read: (memory: MemoryUsage) => number | undefined): Sample[] => {
  const value = memory === undefined ? undefined : read(memory);
  return memory === undefined || value === undefined ? [] : [{ labels, value, time: memory.time }];
};

/** Finds the control group of a Pod's container, or with an empty name that of the Pod. */
export function groupFinder(cgroups: readonly CgroupUsage[]): (pod: PodUsage, container: string) => CgroupUsage | undefined {
  const groups = new Map(cgroups.map((one) => [`${one.podUid}/${one.container}`, one]));
  return ({ uid }, container) => groups.get(`${uid}/${container}`);
}

/** Sums of the containers, where the runtime does not tell the Pod's own. */
export function podCpu(pod: PodUsage): CpuUsage | undefined {
  if (pod.cpu !== undefined) return pod.cpu;
  const parts = pod.containers.flatMap((c) => (c.cpu === undefined ? [] : [c.cpu]));
  if (parts.length === 0) return undefined;
  const rates = parts.flatMap((c) => (c.usageNanoCores === undefined ? [] : [c.usageNanoCores]));
  return {
    time: Math.max(...parts.map((c) => c.time)),
    usageCoreNanoSeconds: parts.reduce((sum, c) => sum + c.usageCoreNanoSeconds, 0),
    usageNanoCores: rates.length === parts.length ? rates.reduce((sum, rate) => sum + rate, 0) : undefined,
  };
}

export function podMemory(pod: PodUsage): MemoryUsage | undefined {
  if (pod.memory !== undefined) return pod.memory;
  const parts = pod.containers.flatMap((c) => (c.memory === undefined ? [] : [c.memory]));
  if (parts.length === 0) return undefined;
  const sum = (read: (memory: MemoryUsage) => number | undefined): number => parts.reduce((total, m) => total + (read(m) ?? 0), 0);
  return {
    time: Math.max(...parts.map((m) => m.time)),
    usageBytes: sum((m) => m.usageBytes),
    workingSetBytes: sum((m) => m.workingSetBytes),
    rssBytes: sum((m) => m.rssBytes),
    pageFaults: sum((m) => m.pageFaults),
    majorPageFaults: sum((m) => m.majorPageFaults),
  };
}

interface Located {
  readonly labels: Labels;
  readonly container: ContainerUsage;
}

const containersOf = (pods: readonly PodUsage[]): readonly Located[] =>
  pods.flatMap((pod) =>
    pod.containers.map((container) => ({ labels: { container: container.name, namespace: pod.namespace, pod: pod.name }, container })),
  );

/** H-396: beside the agent's own families, which is where a kubelet has it. */
export function logMetrics(logs: readonly LogUsage[]): string {
  const samples = logs.map(({ usedBytes, ...labels }) => ({ labels, value: usedBytes }));
  const help = "[ALPHA] Bytes of the container's logs";
  return formatFamilies([{ name: 'kubelet_container_log_filesystem_used_bytes', help, type: 'gauge', samples }]);
}

/** `node` is undefined when the node's usage could not be read, which is what `resource_scrape_error` tells. */
export function resourceMetrics(
  node: NodeUsage | undefined,
  pods: readonly PodUsage[] | undefined,
  cgroups: readonly CgroupUsage[],
): string {
  const containers = containersOf(pods ?? []);
  const podLabels = (pod: PodUsage): Labels => ({ namespace: pod.namespace, pod: pod.name });
  const swap = node?.swap;
  const swapSamples = (isOfPods: boolean, read: (numbers: CgroupNumbers) => number | undefined): readonly Sample[] =>
    cgroups
      .filter(({ container }) => (container === '') === isOfPods)
      .flatMap(({ namespace, pod, container, numbers, time }) => {
        const value = read(numbers);
        return value === undefined ? [] : [{ labels: isOfPods ? { namespace, pod } : { container, namespace, pod }, value, time }];
      });
  const families: readonly Family[] = [
    {
      name: 'node_cpu_usage_seconds_total',
      help: '[STABLE] Cumulative cpu time of the node in core-seconds',
      type: 'counter',
      samples: cpuSample(node?.cpu, {}),
    },
    {
      name: 'node_memory_working_set_bytes',
      help: '[STABLE] Working set of the node in bytes',
      type: 'gauge',
      samples: memorySample(node?.memory, {}, (m) => m.workingSetBytes),
    },
    {
      name: 'node_swap_usage_bytes',
      help: '[ALPHA] Swap in use on the node in bytes',
      type: 'gauge',
      samples: swap === undefined ? [] : [{ value: swap.usageBytes, time: swap.time }],
    },
    {
      name: 'container_cpu_usage_seconds_total',
      help: '[STABLE] Cumulative cpu time of the container in core-seconds',
      type: 'counter',
      samples: containers.flatMap(({ labels, container }) => cpuSample(container.cpu, labels)),
    },
    {
      name: 'container_memory_working_set_bytes',
      help: '[STABLE] Working set of the container in bytes',
      type: 'gauge',
      samples: containers.flatMap(({ labels, container }) => memorySample(container.memory, labels, (m) => m.workingSetBytes)),
    },
    {
      name: 'container_start_time_seconds',
      help: '[STABLE] Start of the container as Unix time in seconds',
      type: 'gauge',
      samples: containers.map(({ labels, container }) => ({ labels, value: container.startedAt / 1000 })),
    },
    {
      name: 'pod_cpu_usage_seconds_total',
      help: '[STABLE] Cumulative cpu time of the pod in core-seconds',
      type: 'counter',
      samples: (pods ?? []).flatMap((pod) => cpuSample(podCpu(pod), podLabels(pod))),
    },
    {
      name: 'pod_memory_working_set_bytes',
      help: '[STABLE] Working set of the pod in bytes',
      type: 'gauge',
      samples: (pods ?? []).flatMap((pod) => memorySample(podMemory(pod), podLabels(pod), (m) => m.workingSetBytes)),
    },
    {
      name: 'container_swap_usage_bytes',
      help: '[ALPHA] Swap in use by the container in bytes',
      type: 'gauge',
      samples: swapSamples(false, (n) => n.swapBytes),
    },
    {
      name: 'container_swap_limit_bytes',
      help: '[ALPHA] Swap the container may use in bytes',
      type: 'gauge',
      samples: swapSamples(false, (n) => n.swapLimitBytes),
    },
    {
      name: 'pod_swap_usage_bytes',
      help: '[ALPHA] Swap in use by the pod in bytes',
      type: 'gauge',
      samples: swapSamples(true, (n) => n.swapBytes),
    },
    {
      name: 'resource_scrape_error',
      help: '[STABLE] 1 if there was an error while getting the usage, 0 otherwise',
      type: 'gauge',
      samples: [{ value: node === undefined || pods === undefined ? 1 : 0 }],
    },
  ];
  return formatFamilies(families);
}

/** H-423: the families of cAdvisor that common dashboards read, of what is known here. */
export function cadvisorMetrics(
  node: NodeUsage | undefined,
  pods: readonly PodUsage[] | undefined,
  cgroups: readonly CgroupUsage[],
): string {
  const counter = (name: string, help: string, samples: readonly Sample[]): Family => ({ name, help, type: 'counter', samples });
  const gauge = (name: string, help: string, samples: readonly Sample[]): Family => ({ name, help, type: 'gauge', samples });
  const rows = cadvisorRows(node, pods ?? [], cgroups);
  const memory = (read: (memory: MemoryUsage) => number | undefined): readonly Sample[] =>
    rows.flatMap(({ labels, memory: one }) => memorySample(one, labels, read));
  return formatFamilies([
    counter(
      'container_cpu_usage_seconds_total',
      'Cumulative cpu time in core-seconds',
      rows.flatMap(({ labels, cpu }) => cpuSample(cpu, { ...labels, cpu: 'total' })),
    ),
    gauge(
      'container_memory_working_set_bytes',
      'Working set in bytes',
      memory((one) => one.workingSetBytes),
    ),
    gauge(
      'container_memory_usage_bytes',
      'Memory in use in bytes, caches included',
      memory((one) => one.usageBytes),
    ),
    gauge(
      'container_memory_rss',
      'Anonymous memory in bytes',
      memory((one) => one.rssBytes),
    ),
    gauge(
      'container_fs_usage_bytes',
      'Bytes of the writable layer',
      rows.flatMap(({ labels, rootfs }) => (rootfs === undefined ? [] : [{ labels, value: rootfs.usedBytes, time: rootfs.time }])),
    ),
    gauge(
      'container_start_time_seconds',
      'Start as Unix time in seconds',
      rows.map(({ labels, startedAt }) => ({ labels, value: startedAt / 1000 })),
    ),
    ...numberFamilies.map(([name, type, help, read]) => ({ name, type, help, samples: cgroups.flatMap((one) => numberSample(one, read)) })),
    ...trafficFamilies.map(([name, help, key]) =>
      counter(
        name,
        help,
        cgroups.flatMap((one) =>
          one.traffic.map((device) => ({ labels: { ...labelsOf(one), device: device.device }, value: device[key], time: one.time })),
        ),
      ),
    ),
    ...networkFamilies.map(([name, help, key]) => counter(name, help, networkSamples(node, pods ?? [], cgroups, key))),
    ...pressureFamilies.map(([name, help, of, kind]) =>
      counter(
        name,
        help,
        cgroups.flatMap((one) => {
          const stall = one.pressure[of];
          return stall === undefined ? [] : [{ labels: labelsOf(one), value: stall[kind].total / 1e6, time: one.time }];
        }),
      ),
    ),
    gauge('machine_cpu_cores', 'Processors of the machine', machineSample(node, 'cores')),
    gauge('machine_memory_bytes', 'Memory of the machine in bytes', machineSample(node, 'memoryBytes')),
    gauge('machine_swap_bytes', 'Swap of the machine in bytes', machineSample(node, 'swapBytes')),
    gauge('container_scrape_error', '1 if there was an error while getting the usage, 0 otherwise', [
      { value: node === undefined || pods === undefined ? 1 : 0 },
    ]),
  ]);
}

const labelsOf = ({ container, id, image, containerId, namespace, pod }: CgroupUsage): Labels => ({
  ...{ container, id, image, name: containerId, namespace, pod },
});

interface CadvisorRow {
  readonly labels: Labels;
  readonly startedAt: Instant;
  readonly cpu?: CpuUsage | undefined;
  readonly memory?: MemoryUsage | undefined;
  readonly rootfs?: FilesystemStats | undefined;
}

/** The machine, each Pod, and each container. */
function cadvisorRows(node: NodeUsage | undefined, pods: readonly PodUsage[], cgroups: readonly CgroupUsage[]): readonly CadvisorRow[] {
  const groupOf = groupFinder(cgroups);
  const labels = (pod: PodUsage, container: string): Labels => {
    const { id = '', image = '', containerId = '' } = groupOf(pod, container) ?? {};
    return { container, id, image, name: containerId, namespace: pod.namespace, pod: pod.name };
  };
  const machine = node === undefined ? [] : [{ ...node, labels: machineLabels }];
  return [
    ...machine,
    ...pods.flatMap((pod) => [
      { labels: labels(pod, ''), startedAt: pod.startedAt, cpu: podCpu(pod), memory: podMemory(pod) },
      ...pod.containers.map((container) => ({ ...container, labels: labels(pod, container.name) })),
    ]),
  ];
}

const machineLabels: Labels = { container: '', id: '/', image: '', name: '', namespace: '', pod: '' };

function machineSample(node: NodeUsage | undefined, key: keyof NonNullable<NodeUsage['machine']>): readonly Sample[] {
  return node?.machine === undefined ? [] : [{ value: node.machine[key] }];
}

function numberSample(group: CgroupUsage, read: (numbers: CgroupNumbers) => number | undefined): readonly Sample[] {
  const value = read(group.numbers);
  return value === undefined ? [] : [{ labels: labelsOf(group), value, time: group.time }];
}

const numberFamilies: readonly (readonly [
  name: string,
  type: Family['type'],
  help: string,
  read: (numbers: CgroupNumbers) => number | undefined,
])[] = [
  ['container_cpu_user_seconds_total', 'counter', 'Cpu time in user mode in seconds', (n) => n.cpuUserSeconds],
  ['container_cpu_system_seconds_total', 'counter', 'Cpu time in system mode in seconds', (n) => n.cpuSystemSeconds],
  // Without a limit there are no periods that would count.
  ['container_cpu_cfs_periods_total', 'counter', 'Periods that were enforced', (n) => n.cpuQuota && n.cpuPeriods],
  ['container_cpu_cfs_throttled_periods_total', 'counter', 'Periods that were throttled', (n) => n.cpuQuota && n.cpuThrottledPeriods],
  [
    'container_cpu_cfs_throttled_seconds_total',
    'counter',
    'Time of being throttled in seconds',
    (n) => n.cpuQuota && n.cpuThrottledSeconds,
  ],
  ['container_spec_cpu_period', 'gauge', 'Period of the cpu limit in microseconds', (n) => n.cpuPeriod],
  ['container_spec_cpu_quota', 'gauge', 'Cpu limit in microseconds for each period', (n) => n.cpuQuota],
  ['container_spec_cpu_shares', 'gauge', 'Share of the cpu', (n) => n.cpuShares],
  ['container_memory_cache', 'gauge', 'Page cache in bytes', (n) => n.memoryCacheBytes],
  ['container_memory_mapped_file', 'gauge', 'Mapped files in bytes', (n) => n.memoryMappedBytes],
  ['container_memory_kernel_usage', 'gauge', 'Memory of the kernel in bytes', (n) => n.memoryKernelBytes],
  ['container_memory_max_usage_bytes', 'gauge', 'The most memory there was in use in bytes', (n) => n.memoryMaxBytes],
  ['container_memory_swap', 'gauge', 'Swap in use in bytes', (n) => n.swapBytes],
  ['container_spec_memory_limit_bytes', 'gauge', 'Memory limit in bytes; 0 without one', (n) => n.memoryLimitBytes],
  ['container_spec_memory_swap_limit_bytes', 'gauge', 'Swap limit in bytes', (n) => n.swapLimitBytes],
  ['container_oom_events_total', 'counter', 'Processes that were killed for want of memory', (n) => n.oomKills],
  ['container_processes', 'gauge', 'Processes', (n) => n.processes],
  ['container_threads', 'gauge', 'Threads', (n) => n.threads],
  ['container_threads_max', 'gauge', 'The most threads there may be', (n) => n.threadsMax],
];

const trafficFamilies: readonly (readonly [name: string, help: string, key: Exclude<keyof DeviceTraffic, 'device'>])[] = [
  ['container_fs_reads_bytes_total', 'Bytes read from the device', 'readBytes'],
  ['container_fs_writes_bytes_total', 'Bytes written to the device', 'writeBytes'],
  ['container_fs_reads_total', 'Reads of the device', 'reads'],
  ['container_fs_writes_total', 'Writes of the device', 'writes'],
];

const networkFamilies: readonly (readonly [name: string, help: string, key: Exclude<keyof InterfaceTraffic, 'name'>])[] = [
  ['container_network_receive_bytes_total', 'Bytes received', 'rxBytes'],
  ['container_network_receive_packets_total', 'Packets received', 'rxPackets'],
  ['container_network_receive_packets_dropped_total', 'Packets dropped while receiving', 'rxDropped'],
  ['container_network_receive_errors_total', 'Errors while receiving', 'rxErrors'],
  ['container_network_transmit_bytes_total', 'Bytes sent', 'txBytes'],
  ['container_network_transmit_packets_total', 'Packets sent', 'txPackets'],
  ['container_network_transmit_packets_dropped_total', 'Packets dropped while sending', 'txDropped'],
  ['container_network_transmit_errors_total', 'Errors while sending', 'txErrors'],
];

/** Of the kernel where it tells, as it tells more; else of the runtime. */
function networkSamples(
  node: NodeUsage | undefined,
  pods: readonly PodUsage[],
  cgroups: readonly CgroupUsage[],
  key: Exclude<keyof InterfaceTraffic, 'name'>,
): readonly Sample[] {
  const told = new Map(cgroups.filter((one) => one.interfaces.length > 0).map((one) => [one.podUid, one]));
  const of = (labels: Labels, interfaces: readonly Partial<InterfaceTraffic>[], time: Instant | undefined): readonly Sample[] =>
    interfaces.flatMap(({ name = '', [key]: value }) =>
      value === undefined ? [] : [{ labels: { ...labels, interface: name }, value, time }],
    );
  return [
    ...of(machineLabels, node?.network?.interfaces ?? [], node?.network?.time),
    ...pods.flatMap((pod) => {
      const labels = { ...machineLabels, container: 'POD', id: '', namespace: pod.namespace, pod: pod.name };
      const group = told.get(pod.uid);
      return group === undefined
        ? of(labels, pod.network?.interfaces ?? [], pod.network?.time)
        : of({ ...labels, id: group.id }, group.interfaces, group.time);
    }),
  ];
}

const pressureFamilies: readonly (readonly [name: string, help: string, of: keyof PressureUsage, kind: keyof PressureStall])[] = [
  ['container_pressure_cpu_stalled_seconds_total', 'Time in which all tasks waited for the cpu in seconds', 'cpu', 'full'],
  ['container_pressure_cpu_waiting_seconds_total', 'Time in which some tasks waited for the cpu in seconds', 'cpu', 'some'],
  ['container_pressure_io_stalled_seconds_total', 'Time in which all tasks waited for devices in seconds', 'io', 'full'],
  ['container_pressure_io_waiting_seconds_total', 'Time in which some tasks waited for devices in seconds', 'io', 'some'],
  ['container_pressure_memory_stalled_seconds_total', 'Time in which all tasks waited for memory in seconds', 'memory', 'full'],
  ['container_pressure_memory_waiting_seconds_total', 'Time in which some tasks waited for memory in seconds', 'memory', 'some'],
];
