import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventOf, nodeOf, podOf } from '../../../test/support/fake-views.ts';
import type { ContainerState, ContainerStatus, Pod } from '../../api/gen/kubernetes.ts';
import { formatAge } from './duration.ts';
import { eventPrinter, namespacePrinter, nodePrinter, podPrinter } from './tables.ts';

const now = Date.UTC(2026, 0, 2);
const ago = (seconds: number): string => new Date(now - seconds * 1000).toISOString();

interface ContainerInput {
  readonly state?: ContainerState;
  readonly ready?: boolean;
  readonly started?: boolean;
  readonly restarts?: number;
  /** Seconds since the last run ended. */
  readonly last?: number;
}

const waiting = (reason: string): ContainerState => ({ waiting: { reason } });
const ended = (exitCode: number, reason?: string, signal?: number): ContainerState => ({
  terminated: { exitCode, ...(reason === undefined ? {} : { reason }), ...(signal === undefined ? {} : { signal }) },
});
const running: ContainerState = { running: { startedAt: ago(3600) } };

const statusesOf = (prefix: string, inputs: readonly ContainerInput[]): ContainerStatus[] =>
  inputs.map((input, i) => ({
    name: `${prefix}${i}`,
    image: 'x',
    imageID: '',
    ready: input.ready ?? false,
    restartCount: input.restarts ?? 0,
    ...(input.started === undefined ? {} : { started: input.started }),
    ...(input.state === undefined ? {} : { state: input.state }),
    ...(input.last === undefined ? {} : { lastState: { terminated: { exitCode: 1, finishedAt: ago(input.last) } } }),
  }));

interface Case {
  readonly phase: string;
  readonly containers?: readonly ContainerInput[];
  readonly init?: readonly ContainerInput[];
  readonly sidecars?: number;
  readonly conditions?: Readonly<Record<string, string>>;
  readonly scheduled?: string;
  readonly reason?: string;
  readonly deleted?: boolean;
  readonly count?: number;
  readonly expected: readonly [ready: string, status: string, restarts: string];
}

const ready = { state: running, ready: true };

// H-110: observed with a real API server.
const cases: Readonly<Record<string, Case>> = {
  a01: { phase: 'Pending', expected: ['0/1', 'Pending', '0'] },
  a02: { phase: 'Pending', containers: [{ state: waiting('ContainerCreating') }], expected: ['0/1', 'ContainerCreating', '0'] },
  a03: { phase: 'Running', containers: [ready], expected: ['1/1', 'Running', '0'] },
  a04: {
    phase: 'Running',
    containers: [{ state: waiting('CrashLoopBackOff'), restarts: 3, last: 138 }],
    expected: ['0/1', 'CrashLoopBackOff', '3 (2m18s ago)'],
  },
  a05: { phase: 'Running', containers: [{ state: ended(1, 'Error'), restarts: 2, last: 308 }], expected: ['0/1', 'Error', '2 (5m8s ago)'] },
  a06: { phase: 'Succeeded', containers: [{ state: ended(0, 'Completed') }], expected: ['0/1', 'Completed', '0'] },
  a07: { phase: 'Running', containers: [{ state: ended(0, 'Completed') }], expected: ['0/1', 'Completed', '0'] },
  a08: { phase: 'Running', containers: [{ state: ended(137, 'OOMKilled') }], expected: ['0/1', 'OOMKilled', '0'] },
  a09: { phase: 'Running', containers: [{ state: ended(5) }], expected: ['0/1', 'ExitCode:5', '0'] },
  a10: { phase: 'Running', containers: [{ state: ended(137, undefined, 9) }], expected: ['0/1', 'Signal:9', '0'] },
  a11: { phase: 'Running', containers: [{ state: ended(0, 'Completed') }, ready], expected: ['1/2', 'NotReady', '0'] },
  a12: {
    phase: 'Running',
    containers: [{ state: ended(0, 'Completed') }, ready],
    conditions: { Ready: 'True' },
    expected: ['1/2', 'Running', '0'],
  },
  a13: { phase: 'Running', containers: [{ state: ended(0, 'Completed') }, { state: ended(2, 'Error') }], expected: ['0/2', 'Error', '0'] },
  a14: { phase: 'Running', containers: [{ state: running }], expected: ['0/1', 'Running', '0'] },
  a15: { phase: 'Pending', containers: [{ state: waiting('ImagePullBackOff') }], expected: ['0/1', 'ImagePullBackOff', '0'] },
  a16: {
    phase: 'Pending',
    containers: [{ state: waiting('ErrImagePull') }, { state: waiting('CrashLoopBackOff'), restarts: 4, last: 68 }],
    expected: ['0/2', 'ErrImagePull', '4 (68s ago)'],
  },
  a17: { phase: 'Failed', reason: 'Evicted', expected: ['0/1', 'Evicted', '0'] },
  a18: { phase: 'Failed', expected: ['0/1', 'Failed', '0'] },
  a19: { phase: 'Failed', reason: 'NodeAffinity', containers: [{ state: ended(1, 'Error') }], expected: ['0/1', 'Error', '0'] },
  b01: {
    phase: 'Pending',
    init: [{ state: running }, { state: waiting('PodInitializing') }],
    containers: [{ state: waiting('PodInitializing') }],
    expected: ['0/1', 'Init:0/2', '0'],
  },
  b02: {
    phase: 'Pending',
    init: [{ state: ended(0) }, { state: running }],
    containers: [{ state: waiting('PodInitializing') }],
    expected: ['0/1', 'Init:1/2', '0'],
  },
  b03: {
    phase: 'Pending',
    init: [{ state: waiting('CrashLoopBackOff'), restarts: 5, last: 78 }],
    expected: ['0/1', 'Init:CrashLoopBackOff', '5 (78s ago)'],
  },
  b04: { phase: 'Pending', init: [{ state: ended(1, 'Error'), restarts: 1, last: 78 }], expected: ['0/1', 'Init:Error', '1 (78s ago)'] },
  b05: { phase: 'Pending', init: [{ state: ended(9) }], expected: ['0/1', 'Init:ExitCode:9', '0'] },
  b06: { phase: 'Pending', init: [{ state: ended(9, undefined, 11) }], expected: ['0/1', 'Init:Signal:11', '0'] },
  b07: {
    phase: 'Pending',
    init: [{ state: ended(0, 'Completed'), restarts: 2 }],
    containers: [{ state: waiting('PodInitializing') }],
    expected: ['0/1', 'PodInitializing', '0'],
  },
  b08: {
    phase: 'Running',
    init: [{ state: ended(0), restarts: 2 }],
    containers: [{ ...ready, restarts: 1, last: 66 * 60 }],
    conditions: { Initialized: 'True', Ready: 'True' },
    expected: ['1/1', 'Running', '1 (66m ago)'],
  },
  b09: {
    phase: 'Running',
    sidecars: 1,
    init: [{ ...ready, started: true, restarts: 3, last: 98 }],
    containers: [{ ...ready, restarts: 1, last: 66 * 60 }],
    conditions: { Initialized: 'True', Ready: 'True' },
    expected: ['2/2', 'Running', '4 (98s ago)'],
  },
  b10: {
    phase: 'Pending',
    sidecars: 1,
    init: [{ state: running, started: false }],
    containers: [{ state: waiting('PodInitializing') }],
    expected: ['0/2', 'Init:0/1', '0'],
  },
  b11: {
    phase: 'Pending',
    sidecars: 1,
    init: [{ ...ready, started: true }, { state: running }],
    containers: [{ state: waiting('PodInitializing') }],
    expected: ['1/2', 'Init:1/2', '0'],
  },
  b12: {
    phase: 'Running',
    sidecars: 1,
    init: [{ state: waiting('CrashLoopBackOff'), started: false, restarts: 6, last: 28 }],
    containers: [ready],
    conditions: { Initialized: 'True' },
    expected: ['1/2', 'Init:CrashLoopBackOff', '6 (28s ago)'],
  },
  b13: { phase: 'Pending', init: [{ state: waiting('ErrImagePull') }], expected: ['0/1', 'Init:ErrImagePull', '0'] },
  c02: { phase: 'Running', containers: [{ ...ready, restarts: 7 }], expected: ['1/1', 'Running', '7'] },
  c03: { phase: 'Pending', conditions: { PodScheduled: 'False' }, scheduled: 'SchedulingGated', expected: ['0/1', 'SchedulingGated', '0'] },
  c04: { phase: 'Running', containers: [ready], deleted: true, expected: ['1/1', 'Terminating', '0'] },
  c05: { phase: 'Failed', containers: [{ state: ended(1, 'Error') }], deleted: true, expected: ['0/1', 'Error', '0'] },
  c06: { phase: 'Running', containers: [ready], deleted: true, reason: 'NodeLost', expected: ['1/1', 'Unknown', '0'] },
};

function podFor(c: Case): Pod {
  const containers = statusesOf('c', c.containers ?? []);
  const init = statusesOf('i', c.init ?? []);
  return {
    metadata: { name: 'p', namespace: 'default', creationTimestamp: ago(60), ...(c.deleted === true ? { deletionTimestamp: ago(1) } : {}) },
    spec: {
      containers: (containers.length === 0 ? [{ name: 'c0' }] : containers).map(({ name }) => ({ name, image: 'x' })),
      initContainers: init.map(({ name }, i) => ({ name, image: 'x', ...(i < (c.sidecars ?? 0) ? { restartPolicy: 'Always' } : {}) })),
    },
    status: {
      phase: c.phase,
      ...(c.reason === undefined ? {} : { reason: c.reason }),
      conditions: Object.entries(c.conditions ?? {}).map(([type, status]) => ({
        type,
        status,
        ...(c.scheduled === undefined ? {} : { reason: c.scheduled }),
      })),
      containerStatuses: containers,
      initContainerStatuses: init,
    },
  };
}

for (const [id, c] of Object.entries(cases)) {
  test(`C-321 H-110 ${id}: ${c.expected.join(' ')}`, () => {
    const { cells } = podPrinter.row(podFor(c), now);
    assert.deepEqual(cells.slice(1, 4), c.expected);
    assert.equal(cells[4], '60s');
  });
}

test('H-108 c01: readiness gates, addresses and node of the wide table', () => {
  const pod = podOf({ spec: { readinessGates: [{ conditionType: 'x.io/a' }, { conditionType: 'x.io/b' }] } });
  const status = { ...pod.status, conditions: [{ type: 'x.io/a', status: 'True' }] };
  assert.deepEqual(podPrinter.row({ ...pod, status }, now).cells.slice(5), ['10.1.0.2', 'node1', '<none>', '1/2']);
});

test('H-097: a finished Pod has the condition Completed on its row', () => {
  const row = podPrinter.row({ ...podOf(), status: { phase: 'Failed' } }, now);
  assert.deepEqual(row.conditions, [{ type: 'Completed', status: 'True', reason: 'Failed', message: 'The pod failed.' }]);
});

const ages: readonly (readonly [seconds: number, text: string])[] = [
  [-5, '<invalid>'],
  [-1, '0s'],
  [0, '0s'],
  [119, '119s'],
  [120, '2m'],
  [138, '2m18s'],
  [599, '9m59s'],
  [600, '10m'],
  [179 * 60, '179m'],
  [180 * 60, '3h'],
  [190 * 60, '3h10m'],
  [8 * 3600, '8h'],
  [47 * 3600, '47h'],
  [48 * 3600, '2d'],
  [50 * 3600, '2d2h'],
  [8 * 86400, '8d'],
  [729 * 86400, '729d'],
  [730 * 86400, '2y'],
  [740 * 86400, '2y10d'],
  [8 * 365 * 86400 + 86400, '8y'],
];
for (const [seconds, text] of ages) {
  test(`H-109: ${seconds} s is ${text}`, () => assert.equal(formatAge(seconds * 1000), text));
}

test('H-111: a node, wide', () => {
  const node = nodeOf();
  const labels = { 'node-role.kubernetes.io/worker': '', 'kubernetes.io/role': 'edge', 'node-role.kubernetes.io/': '' };
  const { cells } = nodePrinter.row({ ...node, metadata: { ...node.metadata, labels }, spec: { unschedulable: true } }, now);
  assert.deepEqual(cells, [
    'node1',
    'Ready,SchedulingDisabled',
    'edge,worker',
    '24h',
    'v1.36.2',
    '10.0.0.1',
    '<none>',
    'Debian GNU/Linux 12',
    '6.1.0 (amd64)',
    'containerd://1.6.20',
  ]);
});

test('H-111: a node that says nothing is Unknown, one that is not ready NotReady', () => {
  assert.equal(nodePrinter.row({ metadata: { name: 'n' } }, now).cells[1], 'Unknown');
  assert.equal(nodePrinter.row({ status: { conditions: [{ type: 'Ready', status: 'Unknown' }] } }, now).cells[1], 'NotReady');
});

test('H-113: an event, wide', () => {
  const event = eventOf(podOf(), 'BackOff', { type: 'Warning', count: 6, message: ' Back-off restarting \n' });
  assert.deepEqual(eventPrinter.row(event, now).cells, [
    '23h',
    'Warning',
    'BackOff',
    'pod/web-node1',
    'spec.containers{c}',
    'kubelet, node1',
    'Back-off restarting',
    '24h',
    6,
    'web-node1.backoff',
  ]);
});

test('H-112: a namespace', () => {
  assert.deepEqual(namespacePrinter.row({ metadata: { name: 'x' }, status: { phase: 'Active' } }, now).cells, ['x', 'Active', '<unknown>']);
});
