// What the tests of the mirror share: static Pods, a clock-driven world around the API double, and waiting without time.
import type { EventSink } from '../../src/api/events.ts';
import type { PodStatus } from '../../src/api/gen/kubernetes.ts';
import type { Pod } from '../../src/api/pod.ts';
import { ApiGate } from '../../src/mirror/api-gate.ts';
import { FaultBook } from '../../src/mirror/faults.ts';
import type { NodeFacts } from '../../src/mirror/node-object.ts';
import { NodeStartup } from '../../src/mirror/node-startup.ts';
import { StatusStore } from '../../src/status/status-store.ts';
import { silentLogger } from '../../src/std/log.ts';
import { noMetrics } from '../../src/std/metrics.ts';
import { FakeClock } from './fake-clock.ts';
import { KubeApiDouble } from './kube-api-double.ts';

export const noStartup = new NodeStartup({ bootedAt: 0, startedAt: 0 }, noMetrics);

export const nodeName = 'node-1';

/** A node with room and nothing amiss. */
export function buildNodeFacts(overrides: Partial<NodeFacts> = {}): NodeFacts {
  return {
    addresses: [{ type: 'InternalIP', address: '192.0.2.1' }],
    capacity: { cpu: '4', memory: '8000Ki', pods: '110', 'ephemeral-storage': '1Gi' },
    allocatable: { cpu: '4', memory: '7000Ki', pods: '110' },
    nodeInfo: {
      architecture: 'amd64',
      bootID: 'b',
      containerRuntimeVersion: 'containerd://2.0.0',
      kernelVersion: '6',
      kubeProxyVersion: '',
      kubeletVersion: 'v1.36.2',
      machineID: 'm',
      operatingSystem: 'linux',
      osImage: 'Debian',
      systemUUID: 's',
    },
    agentPort: 10250,
    images: [],
    pressure: { memory: false, disk: false, pid: false },
    readyProblems: [],
    ...overrides,
  };
}

export function staticPod(
  uid: string,
  options: { readonly name?: string; readonly namespace?: string; readonly image?: string } = {},
): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `${options.name ?? 'web'}-${nodeName}`,
      namespace: options.namespace ?? 'default',
      uid,
      labels: { app: 'web' },
      annotations: {
        note: 'from the manifest',
        'kubernetes.io/config.hash': uid,
        'kubernetes.io/config.source': 'file',
        'kubernetes.io/config.seen': '2026-01-31T12:34:56.123456789Z',
      },
    },
    spec: {
      nodeName,
      containers: [{ name: 'c', image: options.image ?? 'registry/web:1' }],
      tolerations: [{ operator: 'Exists', effect: 'NoExecute' }],
    },
  };
}

export const runningStatus: PodStatus = {
  phase: 'Running',
  podIP: '10.0.0.2',
  podIPs: [{ ip: '10.0.0.2' }],
  conditions: [
    { type: 'Ready', status: 'True' },
    { type: 'PodScheduled', status: 'True' },
  ],
  containerStatuses: [
    {
      name: 'c',
      image: 'registry/web:1',
      imageID: 'sha256:1',
      ready: true,
      started: true,
      restartCount: 0,
      state: { running: { startedAt: '2026-01-01T00:00:00Z' } },
    },
  ],
};

export interface RecordedEvent {
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly type: string;
  readonly reason: string;
  readonly message: string;
}

/** Always the middle: no luck in tests. */
export const evenRandom = { next: () => 0.5 };

export function apiWorld() {
  const clock = new FakeClock();
  const double = new KubeApiDouble({ clock });
  const events: RecordedEvent[] = [];
  const sink: EventSink = {
    record: ({ kind, name, uid }, type, reason, message) => events.push({ kind, name, uid, type, reason, message }),
  };
  const faults = new FaultBook({
    clock,
    logger: silentLogger,
    metrics: noMetrics,
    events: sink,
    node: { kind: 'Node', namespace: '', name: nodeName, uid: '' },
  });
  const gate = new ApiGate({ qps: 50, burst: 100 }, { api: double.api(), clock, random: evenRandom, faults });
  const status = new StatusStore({ clock });
  const deps = { api: gate, clock, random: evenRandom, faults, logger: silentLogger, metrics: noMetrics, startup: noStartup };
  return { clock, double, events, sink, faults, gate, status, deps };
}

/** Lets everything that needs no time happen. */
export async function quiesce(): Promise<void> {
  for (let i = 0; i < 60; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Moves the clock by `stepMs` until `condition` holds; fails after `limitMs` of fake time. */
export async function until(clock: FakeClock, condition: () => boolean, limitMs: number, stepMs = 250): Promise<void> {
  await quiesce();
  for (let t = 0; !condition(); t += stepMs) {
    if (t >= limitMs) throw new Error(`not reached within ${limitMs} ms of fake time`);
    await clock.advance(stepMs);
    await quiesce();
  }
}
