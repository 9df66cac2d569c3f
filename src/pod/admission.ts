// Whether a Pod may start beside those active now (S-446 … S-471). A refusal is never final: it is asked again (D4).
import type { PodSpec } from '../api/gen/kubernetes.ts';
import { allContainers, type Pod } from '../api/pod.ts';
import { wantsNode } from './node-affinity.ts';
import type { NodeAmounts } from './node-facts.ts';
import { chooseVictims, mayPreempt, requestOf, type Shortage } from './preemption.ts';
import { type CriticalPods, isCritical } from './priority.ts';
import { hugepageSizeOf, podRequests, qosClass } from './resources.ts';
import { appArmor } from './security-context.ts';
import { refusedSysctl, type SysctlRules } from './sysctls.ts';

export interface AdmissionRefusal {
  /** Kubernetes' reason, verbatim. */
  readonly reason: string;
  readonly message: string;
}

export type Admission =
  | { readonly kind: 'admitted' }
  | ({ readonly kind: 'refused' } & AdmissionRefusal)
  /** There will be room once `victims`, and whoever is ending already, have ended. */
  | { readonly kind: 'preempting'; readonly victims: readonly Pod[]; readonly resource: string; readonly message: string };

/** A Pod that holds its ports and its share of the node. */
export interface ActivePod {
  readonly pod: Pod;
  /** It is being stopped: what it holds will be free. */
  readonly isEnding: boolean;
}

/** What is known of AppArmor on this machine. */
export interface AppArmorFacts {
  readonly isEnabled: boolean;
  /** Undefined where the list cannot be read: then the runtime is to judge. */
  readonly loadedProfiles: ReadonlySet<string> | undefined;
}

/** What a Pod is measured against. */
export interface AdmissionNode {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly allocatable: NodeAmounts;
  readonly maxPods: number;
  readonly sysctls: SysctlRules;
  readonly appArmor: AppArmorFacts;
  /** Whether the runtime knows `supplementalGroupsPolicy: Strict`. */
  readonly strictSupplementalGroups: boolean;
  /** `MemoryPressure`, `DiskPressure`, `PIDPressure`, as far as they are true. */
  readonly pressure: readonly string[];
  readonly isShuttingDown: boolean;
  readonly criticalPods: CriticalPods;
}

/** The first thing that stands in the way, in the order of S-446. */
export function admitPod(pod: Pod, active: readonly ActivePod[], node: AdmissionNode): Admission {
  const early = underPressure(pod, node) ?? refusedSysctl(pod.spec, node.sysctls) ?? unsupported(pod, node) ?? misplaced(pod, active, node);
  const late = early ?? refusedAppArmor(pod, node) ?? shuttingDown(node);
  if (late !== undefined) return { kind: 'refused', ...late };
  return fit(pod, active, node);
}

/** What ended a Pod before its time may be over: only then is it asked again (D4). */
export function mayReturn(reason: string, node: Pick<AdmissionNode, 'pressure' | 'isShuttingDown'>): boolean {
  return !node.isShuttingDown && (reason !== 'Evicted' || node.pressure.length === 0);
}

/** L-507, S-450. */
function underPressure(pod: Pod, { pressure, criticalPods }: AdmissionNode): AdmissionRefusal | undefined {
  if (pressure.length === 0 || isCritical(pod, criticalPods)) return undefined;
  const isMemoryOnly = pressure.every((condition) => condition === 'MemoryPressure');
  if (isMemoryOnly && qosClass(pod.spec) !== 'BestEffort') return undefined;
  return { reason: 'Evicted', message: `The node had condition: [${pressure.join(' ')}]. ` };
}

/** S-453, S-454. */
function unsupported(pod: Pod, node: AdmissionNode): AdmissionRefusal | undefined {
  const label = pod.metadata.labels?.['kubernetes.io/os'];
  if (label !== undefined && label !== node.labels['kubernetes.io/os']) {
    return {
      reason: 'PodOSSelectorNodeLabelDoesNotMatch',
      message: "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
    };
  }
  const { os, securityContext } = pod.spec;
  if (os !== undefined && os.name !== 'linux') {
    return { reason: 'PodOSNotSupported', message: "Failed to admit pod as the OS field doesn't match node OS" };
  }
  if (securityContext?.supplementalGroupsPolicy === 'Strict' && !node.strictSupplementalGroups) {
    return {
      reason: 'SupplementalGroupsPolicyNotSupported',
      message: 'SupplementalGroupsPolicy=Strict is not supported in this node',
    };
  }
  return undefined;
}

/** What no room can mend (S-458, S-460); it comes before resources, for whoever is to go would go in vain (S-466). */
function misplaced(pod: Pod, active: readonly ActivePod[], node: AdmissionNode): AdmissionRefusal | undefined {
  if (!wantsNode(pod.spec, node)) {
    const message = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
    return { reason: 'NodeAffinity', message };
  }
  const others = active.map((one) => one.pod);
  if (hasPortConflict(pod, others)) {
    const message = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
    return { reason: 'NodePorts', message };
  }
  return undefined;
}

/** L-266. */
function refusedAppArmor(pod: Pod, { appArmor: { isEnabled, loadedProfiles } }: AdmissionNode): AdmissionRefusal | undefined {
  const refuse = (why: string): AdmissionRefusal => ({ reason: 'AppArmor', message: `Cannot enforce AppArmor: ${why}` });
  for (const container of allContainers(pod.spec)) {
    const profile = appArmor(pod, container, []);
    if (profile === undefined || profile.type === 'Unconfined') continue;
    if (!isEnabled) return refuse('AppArmor is not enabled on the host');
    const name = profile.type === 'Localhost' ? profile.localhostRef : undefined;
    if (name !== undefined && loadedProfiles?.has(name) === false) return refuse(`profile ${JSON.stringify(name)} is not loaded`);
  }
  return undefined;
}

/** L-495. */
function shuttingDown({ isShuttingDown }: AdmissionNode): AdmissionRefusal | undefined {
  return isShuttingDown ? { reason: 'NodeShutdown', message: 'Pod was rejected as the node is shutting down.' } : undefined;
}

/** Room for the Pod, or who has to make it (S-456, S-466 … S-469). */
function fit(pod: Pod, active: readonly ActivePod[], node: AdmissionNode): Admission {
  const all = active.map((one) => one.pod);
  const lacking = shortage(pod, all, node);
  const first = [...lacking.keys()][0];
  if (first === undefined) return { kind: 'admitted' };
  const staying = active.filter((one) => !one.isEnding).map((one) => one.pod);
  const stillLacking = shortage(pod, staying, node);
  const victims = chooseVictims(
    stillLacking,
    staying.filter((other) => mayPreempt(pod, other, node.criticalPods)),
  );
  if (victims === undefined) {
    // Differs from S-469, whose reason says nothing of what is lacking.
    return {
      kind: 'refused',
      reason: `OutOf${first}`,
      message: `Node didn't have enough resource: ${first}, requested: ${requestOf(pod, first)}, used: ${used(all, first)}, capacity: ${capacityOf(node, first)}`,
    };
  }
  const leaving = [...active.filter((one) => one.isEnding).map((one) => one.pod), ...victims];
  const names = leaving.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`).join(', ');
  return {
    kind: 'preempting',
    victims,
    resource: first,
    message: `waiting for ${[...lacking.keys()].join(' and ')} of pods that are ending: ${names}`,
  };
}

/** What is missing of each resource for `pod` beside `others`, in the order in which it is reported. */
function shortage(pod: Pod, others: readonly Pod[], node: AdmissionNode): Shortage {
  const requests = podRequests(pod.spec);
  const resources = ['pods', 'cpu', 'memory', 'ephemeral-storage', ...[...requests.keys()].filter((name) => name.startsWith('hugepages-'))];
  const missing = resources.map((resource): [string, number] => {
    const wanted = requestOf(pod, resource);
    // Who asks for nothing gets it, however full the node is.
    return [resource, wanted === 0 ? 0 : wanted + used(others, resource) - capacityOf(node, resource)];
  });
  return new Map(missing.filter(([, amount]) => amount > 0));
}

function used(pods: readonly Pod[], resource: string): number {
  return pods.reduce((sum, pod) => sum + requestOf(pod, resource), 0);
}

function capacityOf({ allocatable, maxPods }: AdmissionNode, resource: string): number {
  switch (resource) {
    case 'pods':
      return maxPods;
    case 'cpu':
      return allocatable.cpuMillis;
    case 'memory':
      return allocatable.memoryBytes;
    case 'ephemeral-storage':
      return allocatable.ephemeralStorageBytes;
    default:
      return allocatable.hugepagesBytes.get(hugepageSizeOf(resource) ?? 0) ?? 0;
  }
}

interface HostPort {
  readonly protocol: string;
  readonly hostIp: string;
  readonly port: number;
}

/** Found once for each spec: see `requestOf`. */
const portsOfSpecs = new WeakMap<PodSpec, readonly HostPort[]>();

function hostPorts({ spec }: Pod): readonly HostPort[] {
  const known = portsOfSpecs.get(spec);
  if (known !== undefined) return known;
  const ports = allContainers(spec).flatMap((container) =>
    (container.ports ?? []).flatMap((port) =>
      port.hostPort === undefined || port.hostPort === 0
        ? []
        : [{ protocol: port.protocol ?? 'TCP', hostIp: port.hostIP ?? '', port: port.hostPort }],
    ),
  );
  portsOfSpecs.set(spec, ports);
  return ports;
}

function hasPortConflict(pod: Pod, active: readonly Pod[]): boolean {
  const isAny = (ip: string): boolean => ip === '' || ip === '0.0.0.0';
  const wanted = hostPorts(pod);
  const taken = wanted.length === 0 ? [] : active.flatMap(hostPorts);
  return wanted.some((port) =>
    taken.some(
      (other) =>
        other.port === port.port &&
        other.protocol === port.protocol &&
        (other.hostIp === port.hostIp || isAny(other.hostIp) || isAny(port.hostIp)),
    ),
  );
}
