// Requests and limits of Pods and containers, QoS class, and what they mean for the kernel: spec 02, sections 4.9 and 5.1.
import type { Container, PodSpec, Quantity, ResourceRequirements } from '../api/gen/kubernetes.ts';
import { allContainers, isSidecar } from '../api/pod.ts';
import { formatQuantity, parseQuantity } from '../api/quantity.ts';
import { amountOf, wholeUnits } from './amounts.ts';
import type { NodeFacts } from './node-facts.ts';
import type { LinuxResources } from './runtime-config.ts';

export type QosClass = 'Guaranteed' | 'Burstable' | 'BestEffort';

/** By resource name: milli-CPU for `cpu`, bytes or whole units otherwise. */
export type Amounts = ReadonlyMap<string, number>;

type Side = 'requests' | 'limits';

const hugepagesPrefix = 'hugepages-';
const minShares = 2;
const maxShares = 262_144;
const minQuotaUs = 1_000;

export function amountsOf(list: Readonly<Record<string, Quantity>> | undefined): Amounts {
  return new Map(Object.entries(list ?? {}).map(([resource, quantity]) => [resource, amountOf(resource, quantity)]));
}

/** Resources that may be set for a Pod as a whole. */
function isPodLevel(resource: string): boolean {
  return resource === 'cpu' || resource === 'memory' || resource.startsWith(hugepagesPrefix);
}

export function hasPodLevelResources(spec: PodSpec): boolean {
  return [...Object.keys(spec.resources?.requests ?? {}), ...Object.keys(spec.resources?.limits ?? {})].some(isPodLevel);
}

/** L-283, L-284. */
export function qosClass(spec: PodSpec): QosClass {
  const parts = hasPodLevelResources(spec) ? [spec.resources ?? {}] : allContainers(spec).map((container) => container.resources ?? {});
  const requests = new Map<string, number>();
  const limits = new Map<string, number>();
  let everyPartIsLimited = true;
  for (const part of parts) {
    for (const [side, sums] of [
      ['requests', requests],
      ['limits', limits],
    ] as const) {
      for (const [resource, amount] of countedForQos(part[side])) sums.set(resource, (sums.get(resource) ?? 0) + amount);
    }
    if (countedForQos(part.limits).size < 2) everyPartIsLimited = false;
  }
  if (requests.size === 0 && limits.size === 0) return 'BestEffort';
  const isEqual = requests.size === limits.size && [...requests].every(([resource, amount]) => limits.get(resource) === amount);
  return everyPartIsLimited && isEqual ? 'Guaranteed' : 'Burstable';
}

function countedForQos(list: Readonly<Record<string, Quantity>> | undefined): Amounts {
  return new Map([...amountsOf(list)].filter(([resource, amount]) => (resource === 'cpu' || resource === 'memory') && amount > 0));
}

/** L-285. Without `overhead` when asked, as the sandbox wants it. */
export function podRequests(spec: PodSpec, options: { readonly overhead: boolean } = { overhead: true }): Amounts {
  return podTotals(spec, 'requests', options.overhead);
}

/** L-285: overhead is added to resources that have a limit only. */
export function podLimits(spec: PodSpec, options: { readonly overhead: boolean } = { overhead: true }): Amounts {
  return podTotals(spec, 'limits', options.overhead);
}

/** What a Pod's containers ask for together, for its status (L-490); `requests` and `limits` only where something is asked. */
export function podResources(spec: PodSpec): ResourceRequirements {
  const requests = quantitiesOf(spec, 'requests');
  const limits = quantitiesOf(spec, 'limits');
  return { ...(limits === undefined ? {} : { limits }), ...(requests === undefined ? {} : { requests }) };
}

function quantitiesOf(spec: PodSpec, side: Side): Readonly<Record<string, Quantity>> | undefined {
  const totals = [...podTotals(spec, side, true)].filter(([, amount]) => amount > 0);
  if (totals.length === 0) return undefined;
  const written = [spec.resources, ...allContainers(spec).map((container) => container.resources)];
  return Object.fromEntries(
    totals.map(([resource, amount]) => {
      const nano = BigInt(amount) * (resource === 'cpu' ? 1_000_000n : 1_000_000_000n);
      // A sum prints as its parts are written.
      const format = written
        .map((part) => parseQuantity(String(part?.[side]?.[resource] ?? ''))?.format)
        .find((found) => found !== undefined);
      return [resource, formatQuantity({ nano, format: format ?? 'DecimalSI' })];
    }),
  );
}

function podTotals(spec: PodSpec, side: Side, withOverhead: boolean): Amounts {
  const running = new Map<string, number>();
  for (const container of spec.containers) addTo(running, amountsOf(container.resources?.[side]));
  const sidecars = new Map<string, number>();
  const initPeak = new Map<string, number>();
  for (const container of spec.initContainers ?? []) {
    const own = amountsOf(container.resources?.[side]);
    if (isSidecar(container)) addTo(sidecars, own);
    const atOnce = new Map(sidecars);
    if (!isSidecar(container)) addTo(atOnce, own);
    raiseTo(initPeak, atOnce);
  }
  addTo(running, sidecars);
  raiseTo(running, initPeak);
  for (const [resource, amount] of amountsOf(spec.resources?.[side])) if (isPodLevel(resource)) running.set(resource, amount);
  if (withOverhead) {
    for (const [resource, amount] of amountsOf(spec.overhead)) {
      if (side === 'requests' || (running.get(resource) ?? 0) > 0) running.set(resource, (running.get(resource) ?? 0) + amount);
    }
  }
  return running;
}

/**
 * What the Pod's own cgroup is limited to, undefined when it is not (L-294): always for Guaranteed, for Burstable when
 * every container has that limit or the Pod has it. In milli-CPU or bytes, overhead included.
 */
export function podLimit(spec: PodSpec, resource: 'cpu' | 'memory'): number | undefined {
  const qos = qosClass(spec);
  const hasOwn = (list: Readonly<Record<string, Quantity>> | undefined): boolean => (amountsOf(list).get(resource) ?? 0) > 0;
  const applies =
    qos === 'Guaranteed' ||
    (qos === 'Burstable' &&
      (allContainers(spec).every((container) => hasOwn(container.resources?.limits)) || hasOwn(spec.resources?.limits)));
  const limit = applies ? (podLimits(spec).get(resource) ?? 0) : 0;
  return limit > 0 ? limit : undefined;
}

function addTo(sums: Map<string, number>, amounts: Amounts): void {
  for (const [resource, amount] of amounts) sums.set(resource, (sums.get(resource) ?? 0) + amount);
}

function raiseTo(peaks: Map<string, number>, amounts: Amounts): void {
  for (const [resource, amount] of amounts) peaks.set(resource, Math.max(peaks.get(resource) ?? 0, amount));
}

/** L-247. */
export function cpuShares(milliCpu: number): number {
  return Math.min(Math.max(Math.floor((milliCpu * 1024) / 1000), minShares), maxShares);
}

/** L-248: 0 means not limited. */
export function cpuQuotaUs(milliCpu: number, periodUs: number): number {
  return milliCpu === 0 ? 0 : Math.max(Math.floor((milliCpu * periodUs) / 1000), minQuotaUs);
}

/** The common part of a container's and a sandbox's resources (L-247 … L-249, L-251). */
function linuxResources(requests: Amounts, limits: Amounts, node: NodeFacts): LinuxResources {
  const cpuLimit = limits.get('cpu') ?? 0;
  const memoryLimit = limits.get('memory') ?? 0;
  return {
    cpuShares: cpuShares(requests.get('cpu') ?? cpuLimit),
    ...(node.cpuCfsQuota && {
      cpuQuota: cpuQuotaUs(cpuLimit, node.cpuCfsQuotaPeriodUs),
      cpuPeriod: node.cpuCfsQuotaPeriodUs,
    }),
    ...(memoryLimit > 0 && { memoryLimitBytes: memoryLimit }),
    ...(node.cgroup.version === 2 && !node.singleProcessOomKill && { unified: { 'memory.oom.group': '1' } }),
  };
}

/** What CreateContainer carries. Pod-level limits stand in for a missing one (L-249, L-250). */
export function containerResources(spec: PodSpec, container: Container, node: NodeFacts): LinuxResources {
  const limits = new Map([...amountsOf(spec.resources?.limits)].filter(([resource]) => isPodLevel(resource)));
  for (const [resource, amount] of amountsOf(container.resources?.limits)) limits.set(resource, amount);
  const base = linuxResources(amountsOf(container.resources?.requests), limits, node);
  return {
    ...base,
    ...noSwap(base, node),
    oomScoreAdj: oomScoreAdj(spec, container, node.capacity.memoryBytes),
    hugepageLimits: node.hugepageSizesBytes.map((sizeBytes) => ({
      pageSize: hugepageName(sizeBytes),
      limitBytes: hugepagesOf(limits, sizeBytes),
    })),
  };
}

/** Static Pods are critical and never get swap, whatever the node's setting (L-252). */
function noSwap(base: LinuxResources, node: NodeFacts): Partial<LinuxResources> {
  if (!node.cgroup.swapController) return {};
  if (node.cgroup.version === 2) return { unified: { ...base.unified, 'memory.swap.max': '0' } };
  return base.memoryLimitBytes === undefined ? {} : { memorySwapLimitBytes: base.memoryLimitBytes };
}

/** `linux.resources` of the sandbox: Pod totals without overhead. */
export function sandboxResources(spec: PodSpec, node: NodeFacts): LinuxResources {
  return linuxResources(podRequests(spec, { overhead: false }), podLimits(spec, { overhead: false }), node);
}

/** `linux.overhead` of the sandbox: request = limit; empty without overhead. */
export function sandboxOverhead(spec: PodSpec, node: NodeFacts): LinuxResources {
  const overhead = amountsOf(spec.overhead);
  return overhead.size === 0 ? {} : linuxResources(overhead, overhead, node);
}

/** The kernel's name of a page size: `64KB`, `2MB`, `1GB`. */
export function hugepageName(sizeBytes: number): string {
  const units = ['B', 'KB', 'MB', 'GB', 'TB', 'PB'];
  let size = sizeBytes;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit++;
  }
  return `${size}${units[unit]}`;
}

/** Bytes of one page size among `hugepages-<size>` resources. */
export function hugepagesOf(amounts: Amounts, sizeBytes: number): number {
  let total = 0;
  for (const [resource, amount] of amounts) if (hugepageSizeOf(resource) === sizeBytes) total += amount;
  return total;
}

/** The page size in bytes that a resource name stands for; undefined when it is not of that kind. */
export function hugepageSizeOf(resource: string): number | undefined {
  return resource.startsWith(hugepagesPrefix) ? wholeUnits(resource.slice(hugepagesPrefix.length)) : undefined;
}

/** L-253. Static Pods are critical, so those of `system-node-critical` are node-critical (L-002). */
export function oomScoreAdj(spec: PodSpec, container: Container, memoryCapacityBytes: number): number {
  if (spec.priorityClassName === 'system-node-critical') return -997;
  const qos = qosClass(spec);
  if (qos === 'Guaranteed') return -997;
  if (qos === 'BestEffort') return 1000;
  const memoryOf = (one: Container): number => amountsOf(one.resources?.requests).get('memory') ?? 0;
  const scoreOf = (bytes: number): number => 1000 - Math.floor((1000 * bytes) / memoryCapacityBytes);
  let request = memoryOf(container);
  if (hasPodLevelResources(spec)) {
    const everyone = allContainers(spec);
    const claimed = podTotals({ ...spec, resources: undefined }, 'requests', false).get('memory') ?? 0;
    const unclaimed = (podRequests(spec, { overhead: false }).get('memory') ?? 0) - claimed;
    request += Math.max(0, Math.floor(unclaimed / everyone.length));
  }
  let score = scoreOf(request);
  const isInit = (spec.initContainers ?? []).some((one) => one.name === container.name);
  if (isInit && isSidecar(container)) score = Math.min(score, scoreOf(Math.min(...spec.containers.map(memoryOf))));
  return Math.max(3, Math.min(score, 999));
}
