// The Node object and its status from facts about the machine (spec 01, sections 8.1 and 8.2). Pure.
import type {
  ContainerImage,
  Node,
  NodeAddress,
  NodeCondition,
  NodeFeatures,
  NodeRuntimeHandler,
  NodeStatus,
  NodeSystemInfo,
  Quantity,
  Taint,
} from '../api/gen/kubernetes.ts';
import { type Instant, toRfc3339 } from '../std/clock.ts';

/** What is so at this moment. Whoever implements it reads /proc, the runtime and the configuration. */
export interface NodeFacts {
  /** S-368; empty where none could be found, with the reason among `readyProblems`. */
  readonly addresses: readonly NodeAddress[];
  /** S-371. */
  readonly capacity: Readonly<Record<string, Quantity>>;
  /** S-372. */
  readonly allocatable: Readonly<Record<string, Quantity>>;
  readonly nodeInfo: NodeSystemInfo;
  /** The port of the kubelet's own API. */
  readonly agentPort: number;
  /** In any order and number. */
  readonly images: readonly ContainerImage[];
  readonly runtimeHandlers?: readonly NodeRuntimeHandler[] | undefined;
  readonly features?: NodeFeatures | undefined;
  readonly pressure: { readonly memory: boolean; readonly disk: boolean; readonly pid: boolean };
  /** Why the node is not ready, in words (S-377); empty when it is. */
  readonly readyProblems: readonly string[];
}

export interface NodeOptions {
  readonly nodeName: string;
  /** `--node-labels`, as the configuration has checked them. */
  readonly labels: Readonly<Record<string, string>>;
  /** `registerWithTaints`. */
  readonly taints: readonly Taint[];
  readonly providerId?: string | undefined;
  /** Kubernetes' name of the architecture (`amd64`, `arm64`, …). */
  readonly architecture: string;
  /** −1 = all. */
  readonly maxImages: number;
}

/** S-358: put right on a Node that exists already. */
const reconciledLabels: ReadonlySet<string> = new Set([
  'beta.kubernetes.io/arch',
  'beta.kubernetes.io/instance-type',
  'beta.kubernetes.io/os',
  'failure-domain.beta.kubernetes.io/region',
  'failure-domain.beta.kubernetes.io/zone',
  'kubernetes.io/arch',
  'kubernetes.io/hostname',
  'kubernetes.io/os',
  'node.kubernetes.io/instance-type',
  'topology.kubernetes.io/region',
  'topology.kubernetes.io/zone',
  'node.kubernetes.io/windows-build',
]);

const attachDetachAnnotation = { 'volumes.kubernetes.io/controller-managed-attach-detach': 'true' } as const;

/** S-359. */
export function nodeLabels(options: NodeOptions): Readonly<Record<string, string>> {
  return {
    'kubernetes.io/hostname': options.nodeName,
    'kubernetes.io/os': 'linux',
    'kubernetes.io/arch': options.architecture,
    'beta.kubernetes.io/os': 'linux',
    'beta.kubernetes.io/arch': options.architecture,
    ...options.labels,
  };
}

/** The Node to register (S-359, S-362, S-363); never unschedulable (S-366). */
export function newNode(options: NodeOptions, status: NodeStatus): Node {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: options.nodeName, labels: nodeLabels(options), annotations: attachDetachAnnotation },
    spec: {
      ...(options.taints.length === 0 ? {} : { taints: options.taints }),
      ...(options.providerId === undefined ? {} : { providerID: options.providerId }),
    },
    status,
  };
}

/** What is put right on a Node that was there already (S-357, S-358), or undefined: it is adopted, not fought over. */
export function adoptionPatch(options: NodeOptions, node: Node): { readonly metadata: unknown } | undefined {
  const wanted = Object.entries(nodeLabels(options)).filter(([key]) => reconciledLabels.has(key));
  const labels = wanted.filter(([key, value]) => node.metadata?.labels?.[key] !== value);
  const annotations = Object.entries(attachDetachAnnotation).filter(([key, value]) => node.metadata?.annotations?.[key] !== value);
  if (labels.length + annotations.length === 0) return undefined;
  return {
    metadata: {
      ...(labels.length === 0 ? {} : { labels: Object.fromEntries(labels) }),
      ...(annotations.length === 0 ? {} : { annotations: Object.fromEntries(annotations) }),
    },
  };
}

/** S-379: the two labels kept right for ever. */
export function platformPatch(options: NodeOptions, node: Node): { readonly metadata: unknown } | undefined {
  const wanted = { 'kubernetes.io/os': 'linux', 'kubernetes.io/arch': options.architecture };
  const labels = Object.entries(wanted).filter(([key, value]) => node.metadata?.labels?.[key] !== value);
  return labels.length === 0 ? undefined : { metadata: { labels: Object.fromEntries(labels) } };
}

/** The whole status (S-367 … S-378), with the transition times of `before` where a condition has not changed. */
export function nodeStatus(facts: NodeFacts, options: NodeOptions, before: readonly NodeCondition[], now: Instant): NodeStatus {
  return {
    capacity: facts.capacity,
    allocatable: facts.allocatable,
    conditions: nodeConditions(facts, before, now),
    addresses: facts.addresses,
    daemonEndpoints: { kubeletEndpoint: { Port: facts.agentPort } },
    nodeInfo: facts.nodeInfo,
    images: nodeImages(facts.images, options.maxImages),
    ...(facts.runtimeHandlers === undefined
      ? {}
      : { runtimeHandlers: [...facts.runtimeHandlers].sort((a, b) => ((a.name ?? '') < (b.name ?? '') ? -1 : 1)) }),
    ...(facts.features === undefined ? {} : { features: facts.features }),
  };
}

/** S-374: largest first, at most `max`, each with up to five names, digests before tags. */
function nodeImages(images: readonly ContainerImage[], max: number): readonly ContainerImage[] {
  const sorted = [...images].sort(
    (a, b) => (b.sizeBytes ?? 0) - (a.sizeBytes ?? 0) || ((a.names?.[0] ?? '') < (b.names?.[0] ?? '') ? -1 : 1),
  );
  const rank = (name: string): number => (name.includes('@') ? 0 : 1);
  return (max < 0 ? sorted : sorted.slice(0, max)).map(({ names, sizeBytes }) => ({
    names: [...(names ?? [])].sort((a, b) => rank(a) - rank(b)).slice(0, 5),
    sizeBytes,
  }));
}

/** S-376: Ready last. */
export function nodeConditions(facts: NodeFacts, before: readonly NodeCondition[], now: Instant): readonly NodeCondition[] {
  const { memory, disk, pid } = facts.pressure;
  const missing = ['cpu', 'memory', 'pods', 'ephemeral-storage'].filter((resource) => facts.capacity[resource] === undefined);
  const problems = [
    ...facts.readyProblems,
    ...(missing.length === 0 ? [] : [`missing node capacity for resources: ${missing.join(', ')}`]),
  ];
  const ready =
    problems.length === 0
      ? { status: 'True', reason: 'KubeletReady', message: 'kubelet is posting ready status' }
      : { status: 'False', reason: 'KubeletNotReady', message: problems.length === 1 ? (problems[0] ?? '') : `[${problems.join(', ')}]` };
  const conditions: readonly NodeCondition[] = [
    memory
      ? {
          type: 'MemoryPressure',
          status: 'True',
          reason: 'KubeletHasInsufficientMemory',
          message: 'kubelet has insufficient memory available',
        }
      : {
          type: 'MemoryPressure',
          status: 'False',
          reason: 'KubeletHasSufficientMemory',
          message: 'kubelet has sufficient memory available',
        },
    disk
      ? { type: 'DiskPressure', status: 'True', reason: 'KubeletHasDiskPressure', message: 'kubelet has disk pressure' }
      : { type: 'DiskPressure', status: 'False', reason: 'KubeletHasNoDiskPressure', message: 'kubelet has no disk pressure' },
    pid
      ? { type: 'PIDPressure', status: 'True', reason: 'KubeletHasInsufficientPID', message: 'kubelet has insufficient PID available' }
      : { type: 'PIDPressure', status: 'False', reason: 'KubeletHasSufficientPID', message: 'kubelet has sufficient PID available' },
    { type: 'Ready', ...ready },
  ];
  const heartbeat = toRfc3339(now);
  return conditions.map((condition) => {
    const old = before.find((b) => b.type === condition.type);
    const since = old !== undefined && old.status === condition.status ? old.lastTransitionTime : undefined;
    return { ...condition, lastHeartbeatTime: heartbeat, lastTransitionTime: since ?? heartbeat };
  });
}

/** Reasons of the events that go with a condition's change (S-437). */
export function conditionEvent(condition: NodeCondition): string | undefined {
  const isTrue = condition.status === 'True';
  switch (condition.type) {
    case 'Ready':
      return isTrue ? 'NodeReady' : 'NodeNotReady';
    case 'MemoryPressure':
      return isTrue ? 'NodeHasInsufficientMemory' : 'NodeHasSufficientMemory';
    case 'DiskPressure':
      return isTrue ? 'NodeHasDiskPressure' : 'NodeHasNoDiskPressure';
    case 'PIDPressure':
      return isTrue ? 'NodeHasInsufficientPID' : 'NodeHasSufficientPID';
    default:
      return undefined;
  }
}

/** For comparison: heartbeats are no change (S-378). */
export function withoutHeartbeats(status: NodeStatus): NodeStatus {
  return { ...status, conditions: (status.conditions ?? []).map((condition) => ({ ...condition, lastHeartbeatTime: undefined })) };
}

/**
 * A strategic merge patch of `nodes/<n>/status` (S-382). `before`: what we sent last; resources that we no longer
 * have are taken away, those of others stay. Addresses are replaced, since the merge by type loses a second IP.
 */
export function nodeStatusPatch(status: NodeStatus, before: NodeStatus | undefined): { readonly status: unknown } {
  const resources = (now: Readonly<Record<string, Quantity>>, then: Readonly<Record<string, Quantity>>): unknown => ({
    ...Object.fromEntries(
      Object.keys(then)
        .filter((key) => !(key in now))
        .map((key) => [key, null]),
    ),
    ...now,
  });
  return {
    status: {
      ...status,
      capacity: resources(status.capacity ?? {}, before?.capacity ?? {}),
      allocatable: resources(status.allocatable ?? {}, before?.allocatable ?? {}),
      addresses: [...(status.addresses ?? []), { $patch: 'replace' }],
    },
  };
}
