// Usage of the node, its Pods and containers: for metrics-server (/metrics/resource, H-420) and for dashboards made for
// cAdvisor (/metrics/cadvisor, H-423). Usage in, families out.
import type { Instant } from '../../std/clock.ts';
import type { ContainerUsage, CpuUsage, LogUsage, MemoryUsage, NodeUsage, PodUsage } from '../views.ts';
import { type Family, formatFamilies, type Sample } from './prometheus-text.ts';

type Labels = Readonly<Record<string, string>>;

const cpuSample = (cpu: CpuUsage | undefined, labels: Labels): Sample[] =>
  cpu === undefined ? [] : [{ labels, value: cpu.usageCoreNanoSeconds / 1e9, time: cpu.time }];

const memorySample = (memory: MemoryUsage | undefined, labels: Labels, read: (memory: MemoryUsage) => number | undefined): Sample[] => {
  const value = memory === undefined ? undefined : read(memory);
  return memory === undefined || value === undefined ? [] : [{ labels, value, time: memory.time }];
};

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
export function resourceMetrics(node: NodeUsage | undefined, pods: readonly PodUsage[] | undefined): string {
  const containers = containersOf(pods ?? []);
  const podLabels = (pod: PodUsage): Labels => ({ namespace: pod.namespace, pod: pod.name });
  const swap = node?.swap;
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
      name: 'resource_scrape_error',
      help: '[STABLE] 1 if there was an error while getting the usage, 0 otherwise',
      type: 'gauge',
      samples: [{ value: node === undefined || pods === undefined ? 1 : 0 }],
    },
  ];
  return formatFamilies(families);
}

/** The families of cAdvisor that common dashboards read. */
export function cadvisorMetrics(pods: readonly PodUsage[], now: Instant): string {
  const containers = containersOf(pods);
  const memory = (read: (memory: MemoryUsage) => number | undefined): readonly Sample[] =>
    containers.flatMap(({ labels, container }) => memorySample(container.memory, labels, read));
  const network = (read: 'rxBytes' | 'txBytes' | 'rxErrors' | 'txErrors'): readonly Sample[] =>
    pods.flatMap((pod) =>
      (pod.network?.interfaces ?? []).map((item) => ({
        labels: { container: 'POD', interface: item.name, namespace: pod.namespace, pod: pod.name },
        value: item[read],
        time: pod.network?.time,
      })),
    );
  const counter = (name: string, help: string, samples: readonly Sample[]): Family => ({ name, help, type: 'counter', samples });
  const gauge = (name: string, help: string, samples: readonly Sample[]): Family => ({ name, help, type: 'gauge', samples });
  return formatFamilies([
    counter(
      'container_cpu_usage_seconds_total',
      'Cumulative cpu time in core-seconds',
      containers.flatMap(({ labels, container }) => cpuSample(container.cpu, labels)),
    ),
    gauge(
      'container_memory_working_set_bytes',
      'Working set in bytes',
      memory((m) => m.workingSetBytes),
    ),
    gauge(
      'container_memory_usage_bytes',
      'Memory in use in bytes, caches included',
      memory((m) => m.usageBytes),
    ),
    gauge(
      'container_memory_rss',
      'Anonymous memory in bytes',
      memory((m) => m.rssBytes),
    ),
    gauge(
      'container_fs_usage_bytes',
      'Bytes of the writable layer',
      containers.flatMap(({ labels, container }) =>
        container.rootfs === undefined ? [] : [{ labels, value: container.rootfs.usedBytes, time: container.rootfs.time }],
      ),
    ),
    gauge(
      'container_start_time_seconds',
      'Start as Unix time in seconds',
      containers.map(({ labels, container }) => ({ labels, value: container.startedAt / 1000, time: now })),
    ),
    gauge(
      'container_processes',
      'Processes in the pod',
      pods.flatMap((pod) =>
        pod.processCount === undefined
          ? []
          : [{ labels: { container: '', namespace: pod.namespace, pod: pod.name }, value: pod.processCount, time: now }],
      ),
    ),
    counter('container_network_receive_bytes_total', 'Bytes received', network('rxBytes')),
    counter('container_network_transmit_bytes_total', 'Bytes sent', network('txBytes')),
    counter('container_network_receive_errors_total', 'Errors while receiving', network('rxErrors')),
    counter('container_network_transmit_errors_total', 'Errors while sending', network('txErrors')),
  ]);
}
