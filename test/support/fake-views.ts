// Views of the HTTP servers with the contents a test gives them.

import type { Event, Lease, Node } from '../../src/api/gen/kubernetes.ts';
import type { Pod } from '../../src/api/pod.ts';
import type { Trouble } from '../../src/api/trouble.ts';
import type { DiffView } from '../../src/server/diff-api.ts';
import type {
  CgroupUsage,
  ConfigView,
  ContainerInstance,
  Feed,
  ManifestStatus,
  ManifestsView,
  NodeUsage,
  PodUsage,
  RuntimeView,
  SourceStatus,
  StatsView,
  TroublesView,
  VolumeUsage,
} from '../../src/server/views.ts';
import { systemClock, toRfc3339 } from '../../src/std/clock.ts';
import type { RuntimeError } from '../../src/std/errors.ts';

export class FakeFeed<T> implements Feed<T> {
  #items: readonly T[];
  readonly #listeners = new Set<() => void>();

  constructor(items: readonly T[] = []) {
    this.#items = items;
  }

  get subscribers(): number {
    return this.#listeners.size;
  }

  list(): readonly T[] {
    return this.#items;
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  set(items: readonly T[]): void {
    this.#items = items;
    for (const listener of [...this.#listeners]) listener();
  }
}

export interface PodInput {
  readonly name?: string;
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly spec?: Partial<Pod['spec']>;
  readonly status?: Pod['status'];
  readonly uid?: string;
}

export const nodeName = 'node1';

/** A static Pod named `<name>-node1`, running with one ready container `c` unless told otherwise. */
export function podOf(input: PodInput = {}): Pod {
  const name = `${input.name ?? 'web'}-${nodeName}`;
  const uid = input.uid ?? `uid-${name}`;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace: input.namespace ?? 'default',
      uid,
      ...(input.labels === undefined ? {} : { labels: input.labels }),
      annotations: {
        'kubernetes.io/config.hash': uid,
        'kubernetes.io/config.seen': '2026-01-01T00:00:00.000000000Z',
        'kubernetes.io/config.source': 'file',
      },
    },
    spec: {
      containers: [{ name: 'c', image: 'busybox' }],
      nodeName,
      restartPolicy: 'Always',
      terminationGracePeriodSeconds: 30,
      // As defaulted: kubectl debug 1.36 relies on it.
      securityContext: {},
      ...input.spec,
    },
    status: input.status ?? runningStatus('c'),
  };
}

export function runningStatus(container: string, id = `containerd://${container}-id`): NonNullable<Pod['status']> {
  const condition = (type: string) => ({ type, status: 'True', lastTransitionTime: '2026-01-01T00:00:01Z' });
  return {
    phase: 'Running',
    conditions: ['PodReadyToStartContainers', 'Initialized', 'Ready', 'ContainersReady', 'PodScheduled'].map(condition),
    hostIP: '10.0.0.1',
    hostIPs: [{ ip: '10.0.0.1' }],
    podIP: '10.1.0.2',
    podIPs: [{ ip: '10.1.0.2' }],
    // The view of the Pod is as old as this: the Pod has just begun.
    startTime: toRfc3339(systemClock.now()),
    qosClass: 'BestEffort',
    containerStatuses: [
      {
        name: container,
        image: 'busybox',
        imageID: 'sha256:1',
        containerID: id,
        ready: true,
        started: true,
        restartCount: 0,
        state: { running: { startedAt: '2026-01-01T00:00:01Z' } },
      },
    ],
  };
}

export function nodeOf(): Node {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name: nodeName,
      uid: 'node-uid',
      creationTimestamp: '2026-01-01T00:00:00Z',
      labels: { 'kubernetes.io/hostname': nodeName },
    },
    spec: {},
    status: {
      addresses: [
        { type: 'InternalIP', address: '10.0.0.1' },
        { type: 'Hostname', address: nodeName },
      ],
      allocatable: { cpu: '2', memory: '4Gi', pods: '110' },
      capacity: { cpu: '2', memory: '4Gi', pods: '110' },
      conditions: ['MemoryPressure', 'DiskPressure', 'PIDPressure', 'Ready'].map((type) => ({
        type,
        status: type === 'Ready' ? 'True' : 'False',
        reason: 'Kubelet',
        message: 'fine',
        lastHeartbeatTime: '2026-01-01T00:00:00Z',
        lastTransitionTime: '2026-01-01T00:00:00Z',
      })),
      daemonEndpoints: { kubeletEndpoint: { Port: 10250 } },
      nodeInfo: {
        architecture: 'amd64',
        bootID: 'b',
        containerRuntimeVersion: 'containerd://1.6.20',
        kernelVersion: '6.1.0',
        kubeProxyVersion: '',
        kubeletVersion: 'v1.36.2',
        machineID: 'm',
        operatingSystem: 'linux',
        osImage: 'Debian GNU/Linux 12',
        systemUUID: 's',
      },
    },
  };
}

export function eventOf(pod: Pod, reason: string, overrides: Partial<Event> = {}): Event {
  return {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: {
      name: `${pod.metadata.name}.${reason.toLowerCase()}`,
      namespace: pod.metadata.namespace,
      uid: `event-${reason}`,
      creationTimestamp: '2026-01-01T00:00:00Z',
    },
    involvedObject: {
      apiVersion: 'v1',
      kind: 'Pod',
      namespace: pod.metadata.namespace,
      name: pod.metadata.name,
      uid: pod.metadata.uid,
      fieldPath: 'spec.containers{c}',
    },
    type: 'Normal',
    reason,
    message: `${reason} it`,
    source: { component: 'kubelet', host: nodeName },
    firstTimestamp: '2026-01-01T00:00:00Z',
    lastTimestamp: '2026-01-01T00:00:30Z',
    count: 1,
    reportingComponent: 'kubelet',
    reportingInstance: nodeName,
    ...overrides,
  };
}

/** A runtime that knows the containers in `containers` and streams through `streamUrl`. */
export class FakeRuntimeView implements RuntimeView {
  readonly containers = new Map<string, ContainerInstance>();
  readonly calls: { readonly call: string; readonly request: unknown }[] = [];
  checkpointFailure: RuntimeError | undefined;
  streamUrl = 'http://127.0.0.1:1/none';

  async container(id: string): Promise<ContainerInstance | undefined> {
    return this.containers.get(id);
  }

  async exec(request: Parameters<RuntimeView['exec']>[0]): Promise<string> {
    this.calls.push({ call: 'exec', request });
    return this.streamUrl;
  }

  async attach(request: Parameters<RuntimeView['attach']>[0]): Promise<string> {
    this.calls.push({ call: 'attach', request });
    return this.streamUrl;
  }

  async portForward(request: Parameters<RuntimeView['portForward']>[0]): Promise<string | undefined> {
    this.calls.push({ call: 'portForward', request });
    return this.streamUrl;
  }

  async checkpoint(request: Parameters<RuntimeView['checkpoint']>[0]): Promise<void> {
    this.calls.push({ call: 'checkpoint', request });
    if (this.checkpointFailure !== undefined) throw this.checkpointFailure;
  }

  async run(request: Parameters<RuntimeView['run']>[0]): ReturnType<RuntimeView['run']> {
    this.calls.push({ call: 'run', request });
    return { output: Buffer.from(request.command.join(' ')), exitCode: 0 };
  }

  async runningPods(): ReturnType<RuntimeView['runningPods']> {
    return [{ name: 'web-node1', namespace: 'default', uid: 'uid-web-node1', containers: [{ name: 'c', image: 'sha256:1' }] }];
  }
}

export class FakeStatsView implements StatsView {
  nodeUsage: NodeUsage = { startedAt: 0, systemContainers: [] };
  podUsages: readonly PodUsage[] = [];
  cgroupUsages: readonly CgroupUsage[] = [];
  volumeUsages: ReadonlyMap<string, readonly VolumeUsage[]> = new Map();

  async node(): Promise<NodeUsage> {
    return this.nodeUsage;
  }

  async pods(): Promise<readonly PodUsage[]> {
    return this.podUsages;
  }

  async logs(): ReturnType<StatsView['logs']> {
    return [];
  }

  async cgroups(): Promise<readonly CgroupUsage[]> {
    return this.cgroupUsages;
  }

  async volumes(): Promise<ReadonlyMap<string, readonly VolumeUsage[]>> {
    return this.volumeUsages;
  }
}

export interface FakeViews {
  readonly pods: FakeFeed<Pod>;
  readonly nodes: FakeFeed<Node>;
  readonly events: FakeFeed<Event>;
  readonly leases: FakeFeed<Lease>;
  readonly runtime: FakeRuntimeView;
  readonly stats: FakeStatsView;
  readonly manifests: ManifestsView & { list: ManifestStatus[]; places: SourceStatus[] };
  readonly diff: DiffView;
  readonly troubles: TroublesView & { list: Trouble[] };
  readonly config: ConfigView;
}

export function fakeViews(pods: readonly Pod[] = []): FakeViews {
  const list: ManifestStatus[] = [];
  const places: SourceStatus[] = [];
  const troubles: Trouble[] = [];
  return {
    pods: new FakeFeed(pods),
    nodes: new FakeFeed([nodeOf()]),
    events: new FakeFeed<Event>(),
    leases: new FakeFeed<Lease>(),
    runtime: new FakeRuntimeView(),
    stats: new FakeStatsView(),
    manifests: { list, places, manifests: () => list, sources: () => places },
    diff: { diff: async () => undefined },
    troubles: { list: troubles, report: () => ({ areas: ['runtime', 'manifests'], troubles }) },
    config: {
      kubelet: () => ({ kind: 'KubeletConfiguration', apiVersion: 'kubelet.config.k8s.io/v1beta1', syncFrequency: '1m0s' }),
      agent: () => ({ kind: 'AgentConfiguration' }),
    },
  };
}
