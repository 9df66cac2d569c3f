import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { apiWorld, buildNodeFacts, evenRandom, nodeName, noStartup, quiesce, until } from '../../test/support/mirror-fixtures.ts';
import type { Node } from '../api/gen/kubernetes.ts';
import { TaskGroup } from '../std/async.ts';
import type { Instant } from '../std/clock.ts';
import { type Metrics, noMetrics } from '../std/metrics.ts';
import { NodeLease } from './node-lease.ts';
import type { NodeFacts } from './node-object.ts';
import { NodeRegistration, type NodeRegistrationOptions } from './node-registration.ts';
import { NodeStartup } from './node-startup.ts';

const baseFacts = buildNodeFacts({
  addresses: [
    { type: 'InternalIP', address: '192.0.2.1' },
    { type: 'InternalIP', address: '2001:db8::1' },
  ],
});

function setUp(t: TestContext, options: Partial<NodeRegistrationOptions> = {}, startup: (now: Instant) => NodeStartup = () => noStartup) {
  const world = apiWorld();
  let facts = baseFacts;
  let node: Node | undefined;
  const listeners = new Set<() => void>();
  const setFacts = (next: NodeFacts): void => {
    facts = next;
    for (const listener of listeners) listener();
  };
  const api = world.double.api();
  const registration = new NodeRegistration(
    {
      nodeName,
      labels: { 'example.com/role': 'edge' },
      taints: [{ key: 'dedicated', value: 'edge', effect: 'NoSchedule' }],
      architecture: 'amd64',
      maxImages: 50,
      register: true,
      statusUpdateFrequencyMs: 10_000,
      statusReportFrequencyMs: 300_000,
      ...options,
    },
    {
      ...world.deps,
      startup: startup(world.clock.now()),
      api,
      events: world.sink,
      random: evenRandom,
      node: () => node,
      learn: (n) => {
        node = n;
      },
      facts: {
        read: async () => facts,
        subscribe: (listener) => {
          listeners.add(listener);
          return () => listeners.delete(listener);
        },
      },
    },
  );
  const lease = new NodeLease({ nodeName, durationSeconds: 40 }, { ...world.deps, api, node: () => node });
  const group = new TaskGroup();
  t.after(() => group.close());
  const shown = (): Node | undefined => world.double.get('nodes', '', nodeName) as Node | undefined;
  const watched = (seen: Node): void => {
    node = seen;
  };
  return { ...world, registration, lease, group, setFacts, shown, watched };
}

test('S-355, S-371 … S-376: registered with labels, taints, capacity, addresses, nodeInfo, conditions', async (t) => {
  const w = setUp(t);
  w.registration.start(w.group);
  await until(w.clock, () => w.shown() !== undefined, 1000);
  const node = w.shown();
  assert.equal(node?.metadata?.labels?.['example.com/role'], 'edge');
  assert.deepEqual(node?.spec?.taints, [{ key: 'dedicated', value: 'edge', effect: 'NoSchedule' }]);
  assert.deepEqual(node?.status?.capacity, baseFacts.capacity);
  assert.deepEqual(node?.status?.nodeInfo, baseFacts.nodeInfo);
  assert.deepEqual(node?.status?.addresses, baseFacts.addresses, 'both addresses of one type survive the patch');
  assert.equal(node?.status?.conditions?.find((c) => c.type === 'Ready')?.status, 'True');
});

for (const isKnown of [false, true]) {
  test(`H-403: how long the start of ${isKnown ? 'a known node is not told' : 'a new node took is told once it is Ready'}`, async (t) => {
    const told = new Map<string, number>();
    const metrics: Metrics = { ...noMetrics, gauge: ({ name }) => ({ set: (value) => told.set(name, value), remove: () => undefined }) };
    const w = setUp(t, {}, (now) => new NodeStartup({ bootedAt: now - 30_000, startedAt: now - 2000 }, metrics));
    const begin = w.clock.now();
    w.setFacts({ ...baseFacts, readyProblems: ['the network is not there yet'] });
    if (isKnown) w.double.put('nodes', { metadata: { name: nodeName } });
    w.registration.start(w.group);
    await until(w.clock, () => w.shown()?.status?.conditions !== undefined, 1000);
    assert.equal(told.size, 0, 'it is not Ready');
    await w.clock.advance(5000);
    w.setFacts(baseFacts);
    await w.clock.advance(1000);
    await quiesce();
    const seconds = (stage: string): number => told.get(`kubelet_node_startup_${stage}duration_seconds`) ?? Number.NaN;
    assert.equal(told.size, isKnown ? 0 : 5);
    if (isKnown) return;
    assert.deepEqual([seconds('pre_kubelet_'), seconds('registration_')], [28, 0]);
    assert.ok(seconds('post_registration_') >= 5 && seconds('') <= 30 + (w.clock.now() - begin) / 1000, JSON.stringify([...told]));
    const parts = ['pre_kubelet_', 'pre_registration_', 'registration_', 'post_registration_'].map(seconds);
    assert.ok(Math.abs(seconds('') - parts.reduce((sum, part) => sum + part, 0)) < 1e-6);
  });
}

test('S-380: an unchanged status is sent every 5 minutes, a changed one within a second', async (t) => {
  const w = setUp(t);
  w.registration.start(w.group);
  await until(w.clock, () => w.shown() !== undefined, 1000);
  await w.clock.advance(3_600_000);
  await quiesce();
  const reports = w.double.count('PATCH', '/status');
  assert.ok(reports >= 11 && reports <= 14, `${reports} reports in an hour`);
  w.setFacts({ ...baseFacts, readyProblems: ['container runtime is down'] });
  await w.clock.advance(1000);
  await quiesce();
  const ready = w.shown()?.status?.conditions?.find((c) => c.type === 'Ready');
  assert.deepEqual([ready?.status, ready?.message], ['False', 'container runtime is down']);
});

test('S-439: a reboot is told once', async (t) => {
  const w = setUp(t);
  w.registration.start(w.group);
  await until(w.clock, () => w.shown()?.status?.nodeInfo !== undefined, 1000);
  const told = () => w.events.filter((event) => event.reason === 'Rebooted').map((event) => event.message);
  assert.deepEqual(told(), []);
  for (const bootID of ['c', 'd']) {
    w.setFacts({ ...baseFacts, nodeInfo: { ...baseFacts.nodeInfo, bootID } });
    await w.clock.advance(2000);
    await quiesce();
  }
  assert.deepEqual(told(), ['Node node-1 has been rebooted, boot id: c']);
});

test('S-437: a cordon and its end are told', async (t) => {
  const w = setUp(t);
  w.registration.start(w.group);
  await until(w.clock, () => w.shown()?.status?.nodeInfo !== undefined, 1000);
  const told = () => w.events.filter((event) => event.reason.endsWith('Schedulable')).map((event) => event.message);
  for (const unschedulable of [false, true, true, undefined]) {
    w.watched({ ...w.shown(), spec: unschedulable === undefined ? {} : { unschedulable } });
    await w.clock.advance(11_000);
    await quiesce();
  }
  assert.deepEqual(told(), ['Node node-1 status is now: NodeNotSchedulable', 'Node node-1 status is now: NodeSchedulable']);
});

test('facts that flap are sent at most once a second', async (t) => {
  const w = setUp(t);
  w.registration.start(w.group);
  await until(w.clock, () => w.shown() !== undefined, 1000);
  const before = w.double.count('PATCH', '/status');
  for (let i = 0; i < 100; i++) {
    w.setFacts({ ...baseFacts, images: [{ names: [`i${i}`], sizeBytes: i }] });
    await w.clock.advance(100);
  }
  await w.clock.advance(2000);
  await quiesce();
  assert.ok(w.double.count('PATCH', '/status') - before <= 13);
  assert.deepEqual(w.shown()?.status?.images, [{ names: ['i99'], sizeBytes: 99 }]);
});

for (const refusal of [undefined, 403] as const) {
  test(`S-357: an existing Node is adopted, not fought over${refusal === undefined ? '' : ' (creating is forbidden)'}`, async (t) => {
    const w = setUp(t);
    w.double.put('nodes', {
      metadata: { name: nodeName, labels: { mine: 'yes' } },
      spec: { taints: [{ key: 'theirs', effect: 'NoExecute' }] },
      status: { conditions: [{ type: 'Foreign', status: 'True' }] },
    });
    if (refusal !== undefined)
      w.double.rules = [(r) => (r.method === 'POST' ? { kind: 'status', status: { code: refusal, reason: 'Forbidden' } } : undefined)];
    w.registration.start(w.group);
    await until(w.clock, () => w.shown()?.status?.capacity !== undefined, 2000);
    assert.equal(w.shown()?.metadata?.labels?.['mine'], 'yes');
    assert.equal(w.shown()?.metadata?.labels?.['kubernetes.io/hostname'], nodeName);
    assert.equal(w.shown()?.metadata?.labels?.['example.com/role'], undefined, '--node-labels are not applied');
    assert.deepEqual(w.shown()?.spec?.taints, [{ key: 'theirs', effect: 'NoExecute' }]);
    assert.ok(
      w.shown()?.status?.conditions?.some((c) => c.type === 'Foreign'),
      'S-378',
    );
  });
}

test('S-365: without registration the status of an existing Node is kept up to date; a missing one is said', async (t) => {
  const w = setUp(t, { register: false });
  w.registration.start(w.group);
  await w.clock.advance(60_000);
  await quiesce();
  assert.equal(w.double.count('POST', '/nodes'), 0);
  assert.deepEqual(
    w.faults.list().map((f) => [f.area, f.cause]),
    [['node', 'not-found']],
  );
  w.double.put('nodes', { metadata: { name: nodeName } });
  await until(w.clock, () => w.shown()?.status?.capacity !== undefined, 15_000);
  assert.deepEqual(w.faults.list(), []);
});

test('S-387: a Node deleted while the agent runs is not registered again', async (t) => {
  const w = setUp(t);
  w.registration.start(w.group);
  await until(w.clock, () => w.shown() !== undefined, 1000);
  w.double.deleteAs('nodes', '', nodeName);
  w.setFacts({ ...baseFacts, readyProblems: ['x'] });
  await w.clock.advance(60_000);
  await quiesce();
  assert.equal(w.double.count('POST', '/nodes'), 1);
  assert.equal(w.faults.list()[0]?.cause, 'not-found');
});

test('S-379: the platform labels are restored', async (t) => {
  const w = setUp(t);
  w.registration.start(w.group);
  await until(w.clock, () => w.shown() !== undefined, 1000);
  await w.clock.advance(2000);
  const node = w.double.get('nodes', '', nodeName);
  assert.ok(node);
  w.double.put('nodes', { ...node, metadata: { ...node.metadata, labels: {} } });
  // The watch is not part of this test: the answer of the next report brings the news.
  await until(w.clock, () => w.shown()?.metadata?.labels?.['kubernetes.io/os'] === 'linux', 1_200_000, 10_000);
});

test('registration is tried again every 7 s at most while the server is down, and then succeeds (S-355)', async (t) => {
  const w = setUp(t);
  w.double.rules = [() => ({ kind: 'hang' })];
  w.registration.start(w.group);
  await w.clock.advance(600_000);
  await quiesce();
  assert.ok(w.double.requests.length <= 60, `${w.double.requests.length} requests in ten minutes`);
  w.double.rules = [];
  await until(w.clock, () => w.shown() !== undefined, 30_000);
});

test('S-385, S-386: the lease has the Node as owner and is renewed every 10 s with one request', async (t) => {
  const w = setUp(t);
  w.lease.start(w.group);
  await w.clock.advance(5000);
  assert.equal(w.double.objects('leases').length, 0, 'it waits for the Node');
  w.registration.start(w.group);
  await until(w.clock, () => w.double.objects('leases').length === 1, 3000);
  const lease = w.double.get('leases', 'kube-node-lease', nodeName);
  assert.equal(lease?.['spec'].holderIdentity, nodeName);
  assert.equal(lease?.['spec'].leaseDurationSeconds, 40);
  assert.match(lease?.['spec'].renewTime, /^2026-01-01T00:00:\d\d\.\d{6}Z$/);
  assert.deepEqual(lease?.metadata.ownerReferences, [{ apiVersion: 'v1', kind: 'Node', name: nodeName, uid: w.shown()?.metadata?.uid }]);
  const before = w.double.requests.filter((r) => r.path.includes('/leases')).length;
  await w.clock.advance(600_000);
  await quiesce();
  const renewals = w.double.requests.filter((r) => r.path.includes('/leases')).length - before;
  assert.ok(renewals >= 56 && renewals <= 60, `${renewals} requests in ten minutes`);
});

for (const [name, spoil] of [
  [
    'somebody else wrote it',
    (w: ReturnType<typeof setUp>) => w.double.put('leases', w.double.get('leases', 'kube-node-lease', nodeName) ?? { metadata: {} }),
  ],
  ['it was deleted', (w: ReturnType<typeof setUp>) => w.double.deleteAs('leases', 'kube-node-lease', nodeName)],
] as const) {
  test(`S-386: the lease recovers when ${name}`, async (t) => {
    const w = setUp(t);
    w.registration.start(w.group);
    w.lease.start(w.group);
    await until(w.clock, () => w.double.objects('leases').length === 1, 3000);
    const before = w.double.get('leases', 'kube-node-lease', nodeName)?.['spec'].renewTime;
    spoil(w);
    await w.clock.advance(11_000);
    await quiesce();
    const after = w.double.get('leases', 'kube-node-lease', nodeName)?.['spec'].renewTime;
    assert.ok(after !== undefined && after !== before);
    assert.deepEqual(w.faults.list(), []);
  });
}
