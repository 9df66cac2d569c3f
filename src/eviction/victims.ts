// Which Pod has to go for the node's sake, and what is said of it (L-505); and which Pods use more local storage than
// they may (spec 02, section 11.3). Pure.
import type { Container } from '../api/gen/kubernetes.ts';
import { allContainers, type Pod } from '../api/pod.ts';
import { formatQuantity, type QuantityFormat } from '../api/quantity.ts';
import { amountOf } from '../pod/amounts.ts';
import { priorityOf } from '../pod/priority.ts';
import { podLimits, podRequests } from '../pod/resources.ts';
import type { Resource, Shortage } from './thresholds.ts';

/** What one Pod uses; what nobody measured is 0. */
export interface Usage {
  readonly memoryBytes: number;
  /** Writable layers, logs, and volumes of its own on disk. */
  readonly storageBytes: number;
  readonly inodes: number;
  readonly processes: number;
  /** By container name. */
  readonly containers: ReadonlyMap<string, { readonly memoryBytes: number; readonly storageBytes: number }>;
  /** Bytes in each emptyDir on disk, by volume name. */
  readonly emptyDirs: ReadonlyMap<string, number>;
}

export const noUsage: Usage = { memoryBytes: 0, storageBytes: 0, inodes: 0, processes: 0, containers: new Map(), emptyDirs: new Map() };

export type Usages = ReadonlyMap<string, Usage>;

/**
 * Who goes first: Pods that use more than they asked for, then lower priority, then whoever is furthest above its
 * request. Process ids and inodes cannot be asked for: there everybody is above.
 */
export function rank(pods: readonly Pod[], resource: Resource, usages: Usages): readonly Pod[] {
  const rows = pods.map((pod) => {
    const above = usageOf(usages.get(pod.metadata.uid) ?? noUsage, resource) - requestOf(pod, resource);
    return { pod, above, priority: priorityOf(pod) ?? 0 };
  });
  rows.sort((a, b) => Number(b.above > 0) - Number(a.above > 0) || a.priority - b.priority || b.above - a.above);
  return rows.map(({ pod }) => pod);
}

/** S-430, L-505. */
export function evictionMessage(pod: Pod, shortage: Shortage, usages: Usages): string {
  const { resource, threshold, available } = shortage;
  const parts = [
    `The node was low on resource: ${resource}. Threshold quantity: ${amount(threshold, resource)}, available: ${amount(available, resource)}. `,
  ];
  if (resource === 'memory' || resource === 'ephemeral-storage') {
    for (const container of pod.spec.containers) {
      const used = usages.get(pod.metadata.uid)?.containers.get(container.name);
      const size = (resource === 'memory' ? used?.memoryBytes : used?.storageBytes) ?? 0;
      const request = containerAmount(container, 'requests', resource);
      if (size <= request) continue;
      parts.push(
        `Container ${container.name} was using ${amount(size, resource)}, request is ${amount(request, resource)}, has larger consumption of ${resource}. `,
      );
    }
  }
  return parts.join('');
}

/** Why the Pod has to go for what it keeps on disk; undefined when it does not. */
export function storageExcess(pod: Pod, usage: Usage): string | undefined {
  for (const volume of pod.spec.volumes ?? []) {
    const limit = volume.emptyDir?.sizeLimit;
    if (limit === undefined || volume.emptyDir?.medium === 'Memory' || amountOf('memory', limit) === 0) continue;
    if ((usage.emptyDirs.get(volume.name) ?? 0) > amountOf('memory', limit))
      return `Usage of EmptyDir volume ${JSON.stringify(volume.name)} exceeds the limit ${JSON.stringify(String(limit))}. `;
  }
  const limit = podLimits(pod.spec).get('ephemeral-storage');
  if (limit !== undefined && limit > 0 && usage.storageBytes > limit)
    return `Pod ephemeral local storage usage exceeds the total limit of containers ${bytes(limit)}. `;
  for (const container of allContainers(pod.spec)) {
    const own = containerAmount(container, 'limits', 'ephemeral-storage');
    if (own > 0 && (usage.containers.get(container.name)?.storageBytes ?? 0) > own)
      return `Container ${container.name} exceeded its local ephemeral storage limit ${JSON.stringify(bytes(own))}. `;
  }
  return undefined;
}

/** Whether anything of the Pod's storage has a limit: only then it is worth measuring. */
export function hasStorageLimit({ spec }: Pod): boolean {
  return (
    (spec.volumes ?? []).some((volume) => volume.emptyDir?.sizeLimit !== undefined && volume.emptyDir.medium !== 'Memory') ||
    (podLimits(spec).get('ephemeral-storage') ?? 0) > 0
  );
}

function usageOf(usage: Usage, resource: Resource): number {
  switch (resource) {
    case 'memory':
      return usage.memoryBytes;
    case 'ephemeral-storage':
      return usage.storageBytes;
    case 'inodes':
      return usage.inodes;
    case 'pids':
      return usage.processes;
  }
}

function requestOf({ spec }: Pod, resource: Resource): number {
  return resource === 'memory' || resource === 'ephemeral-storage' ? (podRequests(spec).get(resource) ?? 0) : 0;
}

function containerAmount({ resources }: Container, side: 'requests' | 'limits', resource: string): number {
  const quantity = resources?.[side]?.[resource];
  return quantity === undefined ? 0 : amountOf(resource, quantity);
}

function amount(value: number, resource: Resource): string {
  return quantity(value, resource === 'memory' || resource === 'ephemeral-storage' ? 'BinarySI' : 'DecimalSI');
}

function bytes(value: number): string {
  return quantity(value, 'BinarySI');
}

function quantity(value: number, format: QuantityFormat): string {
  return formatQuantity({ nano: BigInt(Math.floor(value)) * 1_000_000_000n, format });
}
