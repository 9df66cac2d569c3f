// In-place resize: what a running container was given against what its manifest asks for now (spec 02, section 12). Only
// a Pod with a fixed UID can be resized; any other edit makes another Pod (L-516).
import type { Container, PodSpec, Quantity, ResourceRequirements } from '../api/gen/kubernetes.ts';
import { allContainers, type Pod } from '../api/pod.ts';
import { criKeys, type ObservedContainer } from './observation.ts';
import { amountsOf } from './resources.ts';
import type { PodMemory, ResizePending } from './work.ts';

/** One container whose resources are to be changed while it runs. */
export interface ContainerResize {
  readonly container: string;
  readonly containerId: string;
  /** What it has now. */
  readonly from: ResourceRequirements;
  readonly to: ResourceRequirements;
}

const resizable = ['cpu', 'memory'] as const;
type Resizable = (typeof resizable)[number];

/** For events, in the kubelet's form; what the Pod as a whole gets is ours. */
export function resizeText(
  { metadata }: Pod,
  { changes, whole }: { readonly changes: readonly ContainerResize[]; readonly whole?: ResourceRequirements },
  error?: string,
): string {
  const containers = changes.map(({ container, to }) => ({ name: container, resources: to }));
  // What is undefined is left out.
  return JSON.stringify({ containers, resources: whole, generation: metadata.generation ?? 0, error });
}

/** What the container was last given: by a resize of this agent, else at its start; undefined when nobody wrote it down. */
export function givenResources(record: ObservedContainer, memory: Pick<PodMemory, 'resized'>): ResourceRequirements | undefined {
  const resized = memory.resized.get(record.id);
  if (resized !== undefined) return resized;
  const text = record.annotations[criKeys.resources];
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as ResourceRequirements;
  } catch {
    return undefined;
  }
}

/** Which resources differ in amount, whatever way they are written. */
export function changedResources(from: ResourceRequirements | undefined, to: ResourceRequirements | undefined): readonly Resizable[] {
  const of = (part: ResourceRequirements | undefined, resource: Resizable): string =>
    [amountsOf(part?.requests).get(resource) ?? 0, amountsOf(part?.limits).get(resource) ?? 0].join();
  return resizable.filter((resource) => of(from, resource) !== of(to, resource));
}

/** L-519. */
export function needsRestart(container: Container, changed: readonly Resizable[]): boolean {
  return (container.resizePolicy ?? []).some(
    ({ resourceName, restartPolicy }) => restartPolicy === 'RestartContainer' && changed.some((resource) => resource === resourceName),
  );
}

/** The resources a running container is to be changed by; none when nobody knows what it has. */
export function pendingChange(container: Container, record: ObservedContainer, memory: Pick<PodMemory, 'resized'>): readonly Resizable[] {
  const given = givenResources(record, memory);
  return given === undefined ? [] : changedResources(given, container.resources);
}

/** What the Pod as a whole is to be changed to; undefined when it has that, or nobody knows what it has. */
export function pendingWhole({ spec }: Pod, { podGiven }: Pick<PodMemory, 'podGiven'>): ResourceRequirements | undefined {
  if (podGiven === undefined || changedResources(podGiven, spec.resources).length === 0) return undefined;
  return spec.resources ?? {};
}

/** The Pod with other resources for the containers named. */
export function withResources(pod: Pod, resources: ReadonlyMap<string, ResourceRequirements | undefined>): Pod {
  const change = (container: Container): Container => {
    if (!resources.has(container.name)) return container;
    const { resources: _, ...rest } = container;
    const wanted = resources.get(container.name);
    return wanted === undefined ? rest : { ...rest, resources: wanted };
  };
  const { containers, initContainers } = pod.spec;
  const inits = initContainers === undefined ? {} : { initContainers: initContainers.map(change) };
  return { ...pod, spec: { ...pod.spec, containers: containers.map(change), ...inits } };
}

/** The Pod with the resources of `spec`: its own, and those of containers of the same names. */
export function withResourcesOf(pod: Pod, spec: PodSpec): Pod {
  const { resources: _, ...rest } = withResources(pod, new Map(allContainers(spec).map((one) => [one.name, one.resources]))).spec;
  return { ...pod, spec: spec.resources === undefined ? rest : { ...rest, resources: spec.resources } };
}

/**
 * What the Pod may have of what its manifest asks for: all of it, or, when `refusalOf` says no, everything but the new
 * resources.
 */
export function allocate(
  current: Pod,
  desired: Pod,
  refusalOf: (pod: Pod) => ResizePending | undefined,
): { readonly pod: Pod; readonly pending: ResizePending | undefined } {
  const before = new Map(allContainers(current.spec).map((container) => [container.name, container]));
  const isResize = allContainers(desired.spec).some((container) => {
    const known = before.get(container.name);
    return known !== undefined && changedResources(known.resources, container.resources).length > 0;
  });
  const isPodLevel = changedResources(current.spec.resources, desired.spec.resources).length > 0;
  if (!isResize && !isPodLevel) return { pod: desired, pending: undefined };
  const pending = refusalOf(desired);
  return pending === undefined ? { pod: desired, pending } : { pod: withResourcesOf(desired, current.spec), pending };
}

/**
 * What a running container has by the runtime's own report, in the manifest's words where the amounts agree (L-471).
 * Values the kernel rounds up to its least, and those the runtime says nothing of, are the given ones.
 */
export function actualResources(record: ObservedContainer, given: ResourceRequirements): ResourceRequirements {
  const report = record.resources;
  if (report === undefined) return given;
  const { requests, limits } = given;
  const quota = report.cpuPeriod > 0 && report.cpuQuota > 0 ? Math.ceil((report.cpuQuota * 1000) / report.cpuPeriod) : 0;
  const shares = report.cpuShares > leastShares ? Math.ceil((report.cpuShares * 1000) / 1024) : 0;
  return {
    ...given,
    ...(requests === undefined ? {} : { requests: shown(requests, { cpu: shares }) }),
    ...(limits === undefined
      ? {}
      : { limits: shown(limits, { cpu: quota > leastLimitMillis ? quota : 0, memory: report.memoryLimitBytes }) }),
  };
}

const leastShares = 2;
const leastLimitMillis = 10;

/** `list` with the amounts found; 0 means that nothing is known. */
function shown(
  list: Readonly<Record<string, Quantity>>,
  found: Readonly<Partial<Record<Resizable, number>>>,
): Readonly<Record<string, Quantity>> {
  const amounts = amountsOf(list);
  const entries = Object.entries(list).map(([resource, text]): [string, Quantity] => {
    const amount = resource === 'cpu' || resource === 'memory' ? (found[resource] ?? 0) : 0;
    if (amount === 0 || amount === amounts.get(resource)) return [resource, text];
    return [resource, resource === 'cpu' ? `${amount}m` : String(amount)];
  });
  return Object.fromEntries(entries);
}
