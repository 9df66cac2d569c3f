import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  apiWorld,
  buildNodeFacts,
  evenRandom,
  nodeName,
  noStartup,
  quiesce,
  runningStatus,
  staticPod,
  until,
} from '../../test/support/mirror-fixtures.ts';
import { silentLogger } from '../std/log.ts';
import { noMetrics } from '../std/metrics.ts';
import { ClusterMode } from './cluster-mode.ts';

const facts = buildNodeFacts();

async function setUp(t: TestContext) {
  const world = apiWorld();
  const dir = await mkdtemp(join(tmpdir(), 'pinpod-cluster-'));
  const seenLabels: (string | undefined)[] = [];
  const cluster = new ClusterMode(
    {
      node: {
        nodeName,
        labels: {},
        taints: [],
        architecture: 'amd64',
        maxImages: 50,
        register: true,
        statusUpdateFrequencyMs: 10_000,
        statusReportFrequencyMs: 300_000,
      },
      kubeconfigPath: join(dir, 'kubeconfig'),
      certificateDirectory: join(dir, 'pki'),
      rotateCertificates: false,
      serverTlsBootstrap: false,
      leaseDurationSeconds: 40,
      apiQps: 50,
      apiBurst: 100,
      eventQps: 50,
      eventBurst: 100,
      userAgent: 'pinpod/test',
    },
    {
      status: world.status,
      isOrphan: () => true,
      facts: { read: async () => facts, subscribe: () => () => undefined },
      events: world.sink,
      clock: world.clock,
      random: evenRandom,
      logger: silentLogger,
      metrics: noMetrics,
      startup: noStartup,
      api: world.double.api(),
      onNode: ({ metadata }) => seenLabels.push(metadata?.labels?.['zone']),
    },
  );
  const stop = new AbortController();
  const running = cluster.run({ signal: stop.signal }).catch((error: unknown) => error);
  t.after(async () => {
    stop.abort(new Error('stop'));
    await running;
    assert.equal(world.clock.sleeping, 0, 'nothing is left behind');
    await rm(dir, { recursive: true });
  });
  return { ...world, cluster, seenLabels };
}

test('S-447, S-458: labels that somebody gives the Node at the server are told', async (t) => {
  const w = await setUp(t);
  await until(w.clock, () => w.double.get('nodes', '', nodeName) !== undefined, 10_000);
  const node = w.double.get('nodes', '', nodeName);
  assert.ok(node !== undefined);
  w.double.put('nodes', { ...node, metadata: { ...node.metadata, labels: { ...node.metadata.labels, zone: 'b' } } });
  await until(w.clock, () => w.seenLabels.at(-1) === 'b', 10_000);
});

test('S-304: from nothing to the Node, its lease and 110 mirrors with their status; idle it asks less than eight times a minute', async (t) => {
  const w = await setUp(t);
  for (let i = 0; i < 110; i++) w.status.publish(staticPod(`u${i}`, { name: `p${i}` }), runningStatus);
  await until(w.clock, () => w.double.objects('pods').filter((p) => p['status'].phase === 'Running').length === 110, 20_000);
  assert.equal(w.double.objects('leases').length, 1);
  assert.equal(w.cluster.uids.toStatic(w.double.get('pods', 'default', `p7-${nodeName}`)?.metadata.uid ?? ''), 'u7');
  await w.clock.advance(60_000);
  await quiesce();
  const before = w.double.requests.length;
  await w.clock.advance(3_600_000);
  await quiesce();
  const perMinute = (w.double.requests.length - before) / 60;
  assert.ok(perMinute < 8, `${perMinute} requests a minute`);
  assert.deepEqual(w.cluster.faults.list(), []);
});

for (const [name, kind] of [
  ['hangs', 'hang'],
  ['is down', 'drop'],
] as const) {
  test(`issue 6.5: a server that ${name} from the start for hours: bounded requests in all, everything comes without a restart`, async (t) => {
    const w = await setUp(t);
    w.double.rules = [() => ({ kind })];
    for (let i = 0; i < 110; i++) w.status.publish(staticPod(`u${i}`, { name: `p${i}` }), runningStatus);
    w.cluster.events.record({ kind: 'Pod', namespace: 'default', name: 'p1', uid: 'u1' }, 'Normal', 'Started', 'Container started');
    await w.clock.advance(2 * 3_600_000);
    await quiesce();
    const perMinute = w.double.requests.length / 120;
    assert.ok(perMinute <= 15, `${perMinute} requests a minute`);
    assert.equal(w.cluster.faults.list().filter((f) => f.area === 'server').length, 1);
    w.double.rules = [];
    await until(w.clock, () => w.double.objects('pods').filter((p) => p['status'].phase === 'Running').length === 110, 60_000, 1000);
    await until(w.clock, () => w.double.objects('events').length > 0, 120_000, 1000);
    await w.clock.advance(60_000);
    assert.deepEqual(w.cluster.faults.list(), []);
  });
}

test('issue 6.5: a webhook that fails with 500 for one Pod is said for that Pod, while heartbeats and others go on', async (t) => {
  const w = await setUp(t);
  w.double.rules = [
    (r) =>
      r.method === 'POST' && r.path.endsWith('/pods') && JSON.stringify(r.body).includes('p1-')
        ? { kind: 'status', status: { code: 500, reason: 'InternalError', message: 'failed calling webhook "x"' } }
        : undefined,
  ];
  w.status.publish(staticPod('u1', { name: 'p1' }), runningStatus);
  w.status.publish(staticPod('u2', { name: 'p2' }), runningStatus);
  await until(w.clock, () => w.cluster.faults.list().some((f) => f.area === 'mirror'), 300_000, 1000);
  assert.ok(w.double.get('pods', 'default', `p2-${nodeName}`));
  assert.deepEqual(
    [w.cluster.faults.list().find((f) => f.area === 'mirror')?.key, w.events.filter((e) => e.reason === 'MirrorPodFault').length],
    [`default/p1-${nodeName}`, 1],
  );
  await w.clock.advance(600_000);
  await quiesce();
  assert.ok(w.events.length < 8, `${w.events.length} Events`);
  assert.ok(w.double.count('POST', '/pods') < 25);
});

test('S-297, S-387: a Node that is deleted takes its mirrors and gets none until it is back', async (t) => {
  const w = await setUp(t);
  w.status.publish(staticPod('u1'), runningStatus);
  await until(w.clock, () => w.double.objects('pods').length === 1, 10_000);
  w.double.deleteAs('nodes', '', nodeName);
  w.double.deleteAs('pods', 'default', `web-${nodeName}`);
  await w.clock.advance(120_000);
  await quiesce();
  assert.equal(w.double.objects('pods').length, 0);
  w.double.put('nodes', { metadata: { name: nodeName } });
  await until(w.clock, () => w.double.objects('pods').length === 1, 10_000);
});
