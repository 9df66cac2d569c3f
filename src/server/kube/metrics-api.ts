// metrics.k8s.io for `kubectl top` (section 1.13): usage of containers and of the node.

import type { Node } from '../../api/gen/kubernetes.ts';
import type { Pod } from '../../api/pod.ts';
import { type Instant, toRfc3339 } from '../../std/clock.ts';
import type { CpuUsage, MemoryUsage, NodeUsage, PodUsage } from '../views.ts';

export interface UsageItem {
  readonly kind: string;
  readonly apiVersion: 'metrics.k8s.io/v1beta1';
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly creationTimestamp: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly timestamp: string;
  readonly window: string;
}

const windowText = '15s';

const usageOf = (cpu: CpuUsage, memory: MemoryUsage): Readonly<Record<string, string>> => ({
  cpu: `${Math.round(cpu.usageNanoCores ?? 0)}n`,
  memory: `${Math.ceil(memory.workingSetBytes / 1024)}Ki`,
});

/** Undefined until the node's CPU rate is known: two samples (H-182). */
export function nodeMetrics(node: Node, usage: NodeUsage, now: Instant): UsageItem | undefined {
  const { cpu, memory } = usage;
  if (cpu?.usageNanoCores === undefined || memory === undefined) return undefined;
  const item = {
    kind: 'NodeMetrics',
    apiVersion: 'metrics.k8s.io/v1beta1' as const,
    metadata: { name: node.metadata?.name ?? '', creationTimestamp: toRfc3339(now), labels: node.metadata?.labels ?? {} },
    timestamp: toRfc3339(cpu.time),
    window: windowText,
    usage: usageOf(cpu, memory),
  };
  return item;
}

/** Of Pods that have at least one container with a known CPU rate. */
export function podMetrics(pods: readonly Pod[], usages: readonly PodUsage[], now: Instant): readonly UsageItem[] {
  return usages.flatMap((usage) => {
    const pod = pods.find((p) => p.metadata.namespace === usage.namespace && p.metadata.name === usage.name);
    const containers = usage.containers.flatMap(({ name, cpu, memory }) =>
      cpu?.usageNanoCores === undefined || memory === undefined ? [] : [{ name, time: cpu.time, usage: usageOf(cpu, memory) }],
    );
    if (pod === undefined || containers.length === 0) return [];
    const item = {
      kind: 'PodMetrics',
      apiVersion: 'metrics.k8s.io/v1beta1' as const,
      metadata: { name: usage.name, namespace: usage.namespace, creationTimestamp: toRfc3339(now), labels: pod.metadata.labels ?? {} },
      timestamp: toRfc3339(Math.min(...containers.map((c) => c.time))),
      window: windowText,
      containers: containers.map(({ name, usage: used }) => ({ name, usage: used })),
    };
    return [item];
  });
}
