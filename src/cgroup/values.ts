// What is written into the cgroups of Pods, QoS classes and all Pods together: L-292 … L-302. Pure.
import type { PodSpec } from '../api/gen/kubernetes.ts';
import type { NodeAmounts, NodeFacts } from '../pod/node-facts.ts';
import {
  cpuQuotaUs,
  cpuShares,
  hugepageName,
  hugepagesOf,
  podLimit,
  podLimits,
  podRequests,
  type QosClass,
  qosClass,
} from '../pod/resources.ts';

/** Absent: not written. */
export interface CgroupValues {
  readonly cpuShares?: number;
  /** -1: not limited. */
  readonly cpuQuotaUs?: number;
  readonly cpuPeriodUs?: number;
  /** -1: not limited. */
  readonly memoryLimitBytes?: number;
  readonly pidsLimit?: number;
  /** Bytes by the kernel's name of the page size, `2MB`. */
  readonly hugepages?: ReadonlyMap<string, number>;
}

export interface CgroupFile {
  /** The controller the file belongs to; files of controllers that a machine lacks are left out. */
  readonly controller: string;
  readonly file: string;
  readonly value: string;
  /** Whether the file may be missing, as `rsvd` limits on older kernels. */
  readonly optional: boolean;
}

/** Never a limit, as the reference writes it for QoS classes (L-301). */
const unlimitedHugepages = 2 ** 62;

/** L-293 … L-296. */
export function podCgroupValues(spec: PodSpec, node: NodeFacts): CgroupValues {
  const qos = qosClass(spec);
  const requests = podRequests(spec);
  const cpuLimit = podLimit(spec, 'cpu');
  const memoryLimit = podLimit(spec, 'memory');
  return {
    cpuShares: qos === 'BestEffort' ? cpuShares(0) : cpuShares(requests.get('cpu') ?? podLimits(spec).get('cpu') ?? 0),
    ...(cpuLimit !== undefined && {
      cpuQuotaUs: node.cpuCfsQuota ? cpuQuotaUs(cpuLimit, node.cpuCfsQuotaPeriodUs) : -1,
      cpuPeriodUs: node.cpuCfsQuotaPeriodUs,
    }),
    ...(memoryLimit !== undefined && { memoryLimitBytes: memoryLimit }),
    ...(node.podPidsLimit > 0 && { pidsLimit: node.podPidsLimit }),
    hugepages: new Map(node.hugepageSizesBytes.map((size) => [hugepageName(size), hugepagesOf(requests, size)])),
  };
}

/** With every limit named: one that the Pod does not have (any more) is lifted. */
export function explicitPodCgroupValues(spec: PodSpec, node: NodeFacts): CgroupValues {
  const values = podCgroupValues(spec, node);
  const { cpuQuotaUs: quota = -1, memoryLimitBytes = -1 } = values;
  return { ...values, cpuQuotaUs: quota, cpuPeriodUs: node.cpuCfsQuotaPeriodUs, memoryLimitBytes };
}

/** L-301: of the class as a whole, from the Pods that are active in it. */
export function qosCgroupValues(qos: Exclude<QosClass, 'Guaranteed'>, active: readonly PodSpec[], node: NodeFacts): CgroupValues {
  const members = active.filter((spec) => qosClass(spec) === qos);
  const milliCpu = members.reduce((sum, spec) => sum + (podRequests(spec).get('cpu') ?? 0), 0);
  return {
    cpuShares: qos === 'BestEffort' ? cpuShares(0) : cpuShares(milliCpu),
    hugepages: new Map(node.hugepageSizesBytes.map((size) => [hugepageName(size), unlimitedHugepages])),
  };
}

/** L-302: `limit` is the capacity, less what is reserved when Pods are held to the allocatable. */
export function kubepodsCgroupValues(limit: NodeAmounts, pidsLimit: number, node: NodeFacts): CgroupValues {
  return {
    cpuShares: cpuShares(limit.cpuMillis),
    memoryLimitBytes: limit.memoryBytes,
    ...(pidsLimit > 0 && { pidsLimit }),
    hugepages: new Map(node.hugepageSizesBytes.map((size) => [hugepageName(size), limit.hugepagesBytes.get(size) ?? 0])),
  };
}

/** L-298. */
export function cpuWeight(shares: number): number {
  return shares >= 262_144 ? 10_000 : 1 + Math.floor(((Math.max(shares, 2) - 2) * 9999) / 262_142);
}

/** L-297. In the order of writing: a period before its quota. */
export function cgroupFiles(values: CgroupValues, version: 1 | 2): readonly CgroupFile[] {
  const files: CgroupFile[] = [];
  const add = (controller: string, file: string, value: string | number, optional = false): void => {
    files.push({ controller, file, value: String(value), optional });
  };
  const { cpuQuotaUs: quota, cpuPeriodUs: period } = values;
  if (version === 2) {
    if (values.cpuShares !== undefined) add('cpu', 'cpu.weight', cpuWeight(values.cpuShares));
    if (quota !== undefined && period !== undefined) add('cpu', 'cpu.max', `${quota < 0 ? 'max' : quota} ${period}`);
    if (values.memoryLimitBytes !== undefined) add('memory', 'memory.max', values.memoryLimitBytes < 0 ? 'max' : values.memoryLimitBytes);
    if (values.pidsLimit !== undefined) add('pids', 'pids.max', values.pidsLimit);
    for (const [page, bytes] of values.hugepages ?? []) {
      add('hugetlb', `hugetlb.${page}.max`, bytesText(bytes));
      add('hugetlb', `hugetlb.${page}.rsvd.max`, bytesText(bytes), true);
    }
    return files;
  }
  if (values.cpuShares !== undefined) add('cpu', 'cpu.shares', values.cpuShares);
  if (period !== undefined) add('cpu', 'cpu.cfs_period_us', period);
  if (quota !== undefined) add('cpu', 'cpu.cfs_quota_us', quota);
  if (values.memoryLimitBytes !== undefined) add('memory', 'memory.limit_in_bytes', values.memoryLimitBytes);
  if (values.pidsLimit !== undefined) add('pids', 'pids.max', values.pidsLimit);
  for (const [page, bytes] of values.hugepages ?? []) {
    add('hugetlb', `hugetlb.${page}.limit_in_bytes`, bytesText(bytes));
    add('hugetlb', `hugetlb.${page}.rsvd.limit_in_bytes`, bytesText(bytes), true);
  }
  return files;
}

/** In full digits whatever the size. */
function bytesText(bytes: number): string {
  return BigInt(bytes).toString();
}
