import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { apiWorld, nodeName, quiesce, runningStatus, staticPod, until } from '../../test/support/mirror-fixtures.ts';
import type { Pod as ApiPod, Node } from '../api/gen/kubernetes.ts';
import type { Pod } from '../api/pod.ts';
import type { PodStage, PodView } from '../status/status-store.ts';
import { TaskGroup } from '../std/async.ts';
import { toRfc3339 } from '../std/clock.ts';
import { type Metrics, noMetrics } from '../std/metrics.ts';
import { toMirrorPod } from './mirror-object.ts';
import { MirrorPods, planMirror } from './mirror-pods.ts';

const node: Node = { metadata: { name: nodeName, uid: 'node-uid' } };
const owner = { name: nodeName, uid: 'node-uid' };
const pod = staticPod('aaaa');
const next = staticPod('bbbb', { image: 'registry/web:2' });

function view(of: Pod, stage: PodStage = 'sync', leaving = false): PodView {
  return { pod: of, status: runningStatus, stage, leaving, revision: 1 };
}

function mirrorOf(of: Pod, metadata: ApiPod['metadata'] = {}): ApiPod {
  const object = toMirrorPod(of, owner);
  return { ...object, metadata: { ...object.metadata, uid: 'mirror-uid', ...metadata } };
}

const now = Date.UTC(2026, 0, 1);
const deletedAt = (at: number): ApiPod => ({ metadata: { name: 'x', deletionTimestamp: toRfc3339(at) } });

const plans: readonly [string, Parameters<typeof planMirror>[0], ReturnType<typeof planMirror>][] = [
  [
    'C-042, S-298: no mirror is known: create',
    { views: [view(pod)], mirror: undefined, node, isOrphan: false, now },
    { type: 'create', pod, owner },
  ],
  [
    'C-037, S-307: no Node: wait',
    { views: [view(pod)], mirror: undefined, node: undefined, isOrphan: true, now },
    { type: 'wait', pod, cause: 'node-missing', message: 'the Node object is not known (not registered yet?)' },
  ],
  [
    'S-310: a matching mirror gets the status',
    { views: [view(pod)], mirror: mirrorOf(pod), node, isOrphan: true, now },
    { type: 'status', view: view(pod), mirror: mirrorOf(pod) },
  ],
  [
    'C-040: a mirror with another hash goes',
    { views: [view(next)], mirror: mirrorOf(pod), node, isOrphan: true, now },
    { type: 'delete', mirror: mirrorOf(pod), why: 'stale' },
  ],
  [
    'S-316: a mirror being deleted goes at once',
    { views: [view(pod)], mirror: mirrorOf(pod, { deletionTimestamp: 't' }), node, isOrphan: true, now },
    { type: 'delete', mirror: mirrorOf(pod, { deletionTimestamp: 't' }), why: 'deleted' },
  ],
  [
    'S-303: a Pod of the name that is no mirror is left alone',
    { views: [view(pod)], mirror: { metadata: { name: 'x', uid: 'u' } }, node, isOrphan: true, now },
    { type: 'wait', pod, cause: 'name-taken', message: 'a Pod named default/web-node-1 that is not a mirror exists' },
  ],
  [
    'S-324: an orphan is kept until all sources have spoken',
    { views: [], mirror: mirrorOf(pod), node, isOrphan: false, now },
    { type: 'nothing' },
  ],
  [
    'S-322: an orphan goes',
    { views: [], mirror: mirrorOf(pod), node, isOrphan: true, now },
    { type: 'delete', mirror: mirrorOf(pod), why: 'orphan' },
  ],
  [
    'a Pod without a mirror annotation is never an orphan',
    { views: [], mirror: { metadata: { name: 'x' } }, node, isOrphan: true, now },
    { type: 'refuse', pod: { metadata: { name: 'x' } } },
  ],
  [
    'a Pod of the cluster that is over is nobody’s business',
    { views: [], mirror: { metadata: { name: 'x' }, status: { phase: 'Failed' } }, node, isOrphan: true, now },
    { type: 'nothing' },
  ],
  [
    'a Pod of the cluster that is being deleted has its grace, and then some',
    { views: [], mirror: deletedAt(now - 29_000), node, isOrphan: true, now },
    { type: 'nothing' },
  ],
  [
    'a Pod of the cluster that is being deleted and that nobody ends is ended',
    { views: [], mirror: deletedAt(now - 31_000), node, isOrphan: true, now },
    { type: 'delete', mirror: deletedAt(now - 31_000), why: 'never-run' },
  ],
  [
    'C-041: the mirror of a Pod that is terminating stays and is kept up to date',
    { views: [view(pod, 'terminating', true)], mirror: mirrorOf(pod), node, isOrphan: true, now },
    { type: 'status', view: view(pod, 'terminating', true), mirror: mirrorOf(pod) },
  ],
  [
    'S-299, S-322: no new mirror for a Pod on its way out',
    { views: [view(pod, 'terminating', true)], mirror: undefined, node, isOrphan: true, now },
    { type: 'nothing' },
  ],
  [
    'S-323: the mirror goes when the containers have stopped',
    { views: [view(pod, 'terminated', true)], mirror: mirrorOf(pod), node, isOrphan: false, now },
    { type: 'delete', mirror: mirrorOf(pod), why: 'orphan' },
  ],
  [
    'S-272: while the old one terminates, its mirror is untouched by a successor',
    { views: [view(pod, 'terminating', true), view(next)], mirror: mirrorOf(pod), node, isOrphan: true, now },
    { type: 'status', view: view(pod, 'terminating', true), mirror: mirrorOf(pod) },
  ],
  [
    'S-311: then the successor replaces it',
    { views: [view(pod, 'terminated', true), view(next)], mirror: mirrorOf(pod), node, isOrphan: true, now },
    { type: 'delete', mirror: mirrorOf(pod), why: 'stale' },
  ],
  [
    'a Pod that completed, or was refused, has a mirror as well (differs from S-299, S-318, S-348)',
    { views: [view(pod, 'terminated')], mirror: undefined, node, isOrphan: true, now },
    { type: 'create', pod, owner },
  ],
  [
    'a Pod that completed keeps its mirror',
    { views: [view(pod, 'terminated')], mirror: mirrorOf(pod), node, isOrphan: true, now },
    { type: 'status', view: view(pod, 'terminated'), mirror: mirrorOf(pod) },
  ],
];

for (const [name, input, expected] of plans) test(`planMirror: ${name}`, () => assert.deepEqual(planMirror(input), expected));

function setUp(
  t: TestContext,
  options: { readonly isOrphan?: boolean; readonly node?: Node | undefined; readonly metrics?: Metrics } = { node },
) {
  const world = apiWorld();
  const state = { node: 'node' in options ? options.node : node, isOrphan: options.isOrphan ?? true };
  const mirrors = new MirrorPods(
    { nodeName },
    { ...world.deps, metrics: options.metrics ?? noMetrics, status: world.status, node: () => state.node, isOrphan: () => state.isOrphan },
  );
  const group = new TaskGroup();
  t.after(() => group.close());
  const mirror = (name = 'web-node-1', namespace = 'default'): ApiPod | undefined =>
    world.double.get('pods', namespace, name) as ApiPod | undefined;
  return { ...world, mirrors, state, mirror, start: () => mirrors.start(group) };
}

test('S-331, S-332: created, then its status in full, and then no request more', async (t) => {
  const w = setUp(t);
  w.start();
  w.status.publish(pod, runningStatus);
  await quiesce();
  assert.deepEqual(w.mirror()?.metadata?.ownerReferences, [
    { apiVersion: 'v1', kind: 'Node', name: nodeName, uid: 'node-uid', controller: true },
  ]);
  assert.equal(w.mirror()?.status?.phase, 'Running');
  assert.deepEqual(w.mirror()?.status?.containerStatuses, runningStatus.containerStatuses);
  assert.deepEqual(
    w
      .mirror()
      ?.status?.conditions?.map((c) => c.type)
      .sort(),
    ['PodScheduled', 'Ready'],
  );
  assert.deepEqual(
    w.double.requests.map((r) => r.method),
    ['GET', 'GET', 'POST', 'PATCH'],
    'list, watch, create, status',
  );
  const before = w.double.requests.length;
  await w.clock.advance(60_000);
  assert.equal(w.double.requests.length, before, 'S-331: the pass over all Pods costs no request');
});

test('a status that changes is patched, one that does not is not', async (t) => {
  const w = setUp(t);
  w.start();
  w.status.publish(pod, runningStatus);
  await quiesce();
  w.status.publish(pod, { ...runningStatus, message: 'm', podIPs: [{ ip: '10.0.0.9' }], podIP: '10.0.0.9' });
  await quiesce();
  w.status.publish(pod, { ...runningStatus, message: 'm', podIPs: [{ ip: '10.0.0.9' }], podIP: '10.0.0.9' });
  await quiesce();
  assert.equal(w.double.count('PATCH', '/status'), 2);
  assert.deepEqual(w.mirror()?.status?.podIPs, [{ ip: '10.0.0.9' }]);
  assert.equal(w.mirror()?.status?.message, 'm');
  assert.equal(w.double.requests.at(-1)?.contentType, 'application/strategic-merge-patch+json');
});

test('H-373: how long the API server was behind is told for each status it takes, an outage included', async (t) => {
  const seconds: number[] = [];
  const w = setUp(t, {
    node,
    metrics: { ...noMetrics, histogram: () => ({ observe: (value) => seconds.push(value), remove: () => undefined }) },
  });
  w.start();
  w.status.publish(pod, runningStatus);
  await quiesce();
  assert.deepEqual(seconds, [0]);
  w.double.isDown = true;
  w.status.publish(pod, { ...runningStatus, phase: 'Succeeded' });
  await quiesce();
  await w.clock.advance(7000);
  w.double.isDown = false;
  await w.clock.advance(30_000);
  await quiesce();
  assert.equal(w.mirror()?.status?.phase, 'Succeeded');
  assert.equal(seconds.length, 2);
  assert.ok((seconds[1] ?? 0) >= 7, String(seconds));
});

test('S-334: an edited status is put right within 10 s, and a fight over it is not a storm', async (t) => {
  const w = setUp(t);
  w.start();
  w.status.publish(pod, runningStatus);
  await quiesce();
  let edits = 0;
  const edit = (): void => {
    const object = w.double.get('pods', 'default', 'web-node-1');
    if (object === undefined || object['status'].phase === 'Failed') return;
    edits++;
    w.double.put('pods', { ...object, status: { ...object['status'], phase: 'Failed' } });
  };
  for (let s = 0; s < 120; s++) {
    edit();
    await w.clock.advance(1000);
    await quiesce();
  }
  assert.ok(edits >= 10, `put right ${edits} times`);
  assert.ok(w.double.count('PATCH', '/status') <= 14, `${w.double.count('PATCH', '/status')} patches in two minutes`);
});

test('a foreign condition and what the server writes in its own spelling cause no patch', async (t) => {
  const w = setUp(t);
  w.start();
  w.status.publish(pod, { ...runningStatus, allocatedResources: { cpu: '0.5' } });
  await quiesce();
  const object = w.double.get('pods', 'default', 'web-node-1');
  assert.ok(object);
  w.double.put('pods', {
    ...object,
    status: { ...object['status'], conditions: [...object['status'].conditions, { type: 'Foreign', status: 'True' }] },
  });
  await w.clock.advance(30_000);
  await quiesce();
  assert.equal(w.double.count('PATCH', '/status'), 1);
});

for (const [name, grace] of [
  ['C-054: deleted gracefully', 30],
  ['C-055: deleted by force', 0],
] as const) {
  test(`${name}: a mirror with another UID comes at once, with the status`, async (t) => {
    const w = setUp(t);
    w.start();
    w.status.publish(pod, runningStatus);
    await quiesce();
    const before = w.mirror()?.metadata?.uid;
    w.double.deleteAs('pods', 'default', 'web-node-1', grace);
    await quiesce();
    assert.ok(w.mirror() !== undefined && w.mirror()?.metadata?.uid !== before);
    assert.equal(w.mirror()?.metadata?.deletionTimestamp, undefined);
    assert.equal(w.mirror()?.status?.phase, 'Running');
  });
}

test('a machine that deletes the mirror again and again is not answered in kind', async (t) => {
  const w = setUp(t);
  w.start();
  w.status.publish(pod, runningStatus);
  await quiesce();
  for (let s = 0; s < 600; s++) {
    w.double.deleteAs('pods', 'default', 'web-node-1');
    await w.clock.advance(100);
    await quiesce();
  }
  assert.ok(w.double.count('POST', '/pods') <= 8, `${w.double.count('POST', '/pods')} creations in a minute`);
});

test('C-040, C-053, C-059 … C-061, C-065, S-296: a changed manifest replaces the mirror, of generation 1, when the old Pod has stopped', async (t) => {
  const w = setUp(t);
  w.start();
  w.status.publish(pod, runningStatus);
  await quiesce();
  const before = w.mirror()?.metadata?.uid;
  w.status.publish(pod, runningStatus, { stage: 'terminating', leaving: true });
  w.status.publish(next, { phase: 'Pending' });
  await quiesce();
  assert.equal(w.mirror()?.metadata?.uid, before, 'C-065: as long as it terminates');
  assert.equal(w.mirror()?.status?.phase, 'Running');
  w.status.publish(pod, runningStatus, { stage: 'terminated', leaving: true });
  await quiesce();
  assert.notEqual(w.mirror()?.metadata?.uid, before);
  assert.equal(w.mirror()?.spec?.containers[0]?.image, 'registry/web:2');
  assert.equal(w.mirror()?.metadata?.generation, 1);
  assert.equal(w.mirror()?.status?.observedGeneration, undefined);
  assert.equal(w.double.count('DELETE', '/pods'), 1);
  assert.equal(w.double.count('POST', '/pods'), 2);
});

test('C-056, C-064: a removed manifest takes its mirror when the containers have stopped, not before', async (t) => {
  const w = setUp(t);
  w.start();
  w.status.publish(pod, runningStatus);
  await quiesce();
  w.status.publish(pod, runningStatus, { stage: 'terminating', leaving: true });
  await w.clock.advance(19_000);
  assert.equal(w.mirror()?.status?.phase, 'Running');
  w.status.publish(pod, runningStatus, { stage: 'terminated', leaving: true });
  await quiesce();
  assert.equal(w.mirror(), undefined);
  w.status.remove('aaaa');
  await w.clock.advance(30_000);
  await quiesce();
  assert.equal(w.double.count('DELETE', '/pods'), 1);
});

test('C-057: removed and added again with the same content: one mirror, kept', async (t) => {
  const w = setUp(t);
  w.start();
  w.status.publish(pod, runningStatus);
  await quiesce();
  const before = w.mirror()?.metadata?.uid;
  w.status.publish(pod, runningStatus, { stage: 'terminating', leaving: true });
  w.status.publish(pod, runningStatus, { stage: 'sync', leaving: false });
  await w.clock.advance(30_000);
  await quiesce();
  assert.equal(w.mirror()?.metadata?.uid, before);
  assert.equal(w.double.count('DELETE', '/pods'), 0);
});

test('C-066: 300 rewrites while the first terminates: the last one wins and its mirror is the only one', async (t) => {
  const w = setUp(t);
  w.start();
  w.status.publish(pod, runningStatus);
  await quiesce();
  w.status.publish(pod, runningStatus, { stage: 'terminating', leaving: true });
  for (let i = 0; i < 300; i++) {
    const version = staticPod(`v${i}`, { image: `image-${i}` });
    w.status.publish(version, { phase: 'Pending' });
    await w.clock.advance(100);
    if (i < 299) {
      w.status.publish(version, { phase: 'Pending' }, { stage: 'finished', leaving: true });
      w.status.remove(`v${i}`);
    }
    if (i === 199) w.status.publish(pod, runningStatus, { stage: 'terminated', leaving: true });
  }
  await until(w.clock, () => w.mirror()?.spec?.containers[0]?.image === 'image-299', 10_000);
  await w.clock.advance(60_000);
  await quiesce();
  assert.equal(w.double.objects('pods').length, 1);
  assert.equal(w.mirror()?.metadata?.annotations?.['kubernetes.io/config.mirror'], 'v299');
});

test('S-322 … S-326: orphans go at start once all sources have spoken; others are left alone', async (t) => {
  const w = setUp(t, { node, isOrphan: false });
  w.double.put('pods', {
    ...mirrorOf(staticPod('old', { name: 'gone' }), { uid: 'x' }),
    metadata: { ...mirrorOf(staticPod('old', { name: 'gone' })).metadata, uid: 'x' },
  });
  w.double.put('pods', { metadata: { name: 'ordinary', namespace: 'default' }, spec: { nodeName, containers: [] } });
  w.start();
  w.status.publish(pod, runningStatus);
  await w.clock.advance(30_000);
  await quiesce();
  assert.ok(w.mirror('gone-node-1'));
  w.state.isOrphan = true;
  w.mirrors.resync();
  await quiesce();
  assert.equal(w.mirror('gone-node-1'), undefined);
  assert.ok(w.mirror('ordinary'));
  assert.ok(w.mirror());
});

test('D2: a restarted agent adopts the mirrors that are there: no create, no delete, no patch', async (t) => {
  const w = setUp(t);
  w.start();
  w.status.publish(pod, runningStatus);
  await quiesce();
  const again = new MirrorPods({ nodeName }, { ...w.deps, status: w.status, node: () => node, isOrphan: () => true });
  const writes = w.double.requests.filter((r) => r.method !== 'GET').length;
  const group = new TaskGroup();
  t.after(() => group.close());
  again.start(group);
  await quiesce();
  assert.equal(w.double.requests.filter((r) => r.method !== 'GET').length, writes);
});

test('C-039, S-328: mirror UIDs translate to static ones, others stay', async (t) => {
  const w = setUp(t);
  w.start();
  w.status.publish(pod, runningStatus);
  await quiesce();
  const uid = w.mirror()?.metadata?.uid ?? '';
  assert.equal(w.mirrors.toStatic(uid), 'aaaa');
  assert.equal(w.mirrors.toStatic('unknown'), 'unknown');
  assert.equal(w.mirrors.mirrorOf('aaaa'), uid);
  assert.equal(w.mirrors.mirrorOf('unknown'), undefined);
});

test('S-304: Pods wait for the Node without asking, and come as soon as it is there', async (t) => {
  const w = setUp(t, { node: undefined });
  w.start();
  w.status.publish(pod, runningStatus);
  await w.clock.advance(60_000);
  await quiesce();
  assert.equal(w.double.count('POST', '/pods'), 0);
  w.state.node = node;
  w.mirrors.resync();
  await quiesce();
  assert.ok(w.mirror());
});

test('C-096, S-306: a missing namespace is said, asked for again, and the mirror appears within 90 s of its creation', async (t) => {
  const w = setUp(t);
  w.double.namespaces = new Set();
  w.start();
  w.status.publish(pod, runningStatus);
  await w.clock.advance(600_000);
  await quiesce();
  const tries = w.double.count('POST', '/pods');
  assert.ok(tries <= 16, `${tries} tries in ten minutes`);
  const [fault] = w.faults.list();
  assert.deepEqual([fault?.area, fault?.key, fault?.cause], ['mirror', 'default/web-node-1', 'namespace-missing']);
  assert.deepEqual(
    w.events.map((e) => [e.kind, e.uid, e.reason]),
    [['Pod', 'aaaa', 'MirrorPodFault']],
    'one Event, about the static Pod',
  );
  w.double.namespaces.add('default');
  await until(w.clock, () => w.mirror()?.status?.phase === 'Running', 90_000, 1000);
  assert.deepEqual(w.faults.list(), []);
});

for (const [name, code, status, cause] of [
  ['RBAC or NodeRestriction', 403, { reason: 'Forbidden', message: 'pods is forbidden' }, 'forbidden'],
  ['an admission webhook', 400, { reason: 'BadRequest', message: 'admission webhook "x" denied the request: no' }, 'rejected'],
  ['validation', 422, { reason: 'Invalid', message: 'Pod "web" is invalid' }, 'invalid'],
  [
    'a terminating namespace',
    403,
    { reason: 'Forbidden', details: { causes: [{ reason: 'NamespaceTerminating' }] } },
    'namespace-terminating',
  ],
] as const) {
  test(`S-308: ${name} refuses: said for that Pod only, others are unaffected, recovery by itself`, async (t) => {
    const w = setUp(t);
    let denied = true;
    w.double.rules = [
      (r) =>
        denied && r.method === 'POST' && JSON.stringify(r.body).includes('web-node-1')
          ? { kind: 'status', status: { code, ...status } }
          : undefined,
    ];
    w.start();
    w.status.publish(pod, runningStatus);
    w.status.publish(staticPod('cccc', { name: 'db' }), runningStatus);
    await quiesce();
    assert.ok(w.mirror('db-node-1'));
    await w.clock.advance(120_000);
    await quiesce();
    assert.deepEqual(
      w.faults.list().map((f) => [f.area, f.key, f.cause]),
      [['mirror', 'default/web-node-1', cause]],
    );
    denied = false;
    await until(w.clock, () => w.mirror() !== undefined, 90_000, 1000);
    assert.deepEqual(w.faults.list(), []);
  });
}

for (const [name, misbehave, cause] of [
  ['hangs', { kind: 'hang' }, 'timeout'],
  ['cuts connections', { kind: 'drop' }, 'unreachable'],
  ['answers 500', { kind: 'status', status: { code: 500, message: 'etcdserver: no leader' } }, 'server-error'],
  ['answers 401', { kind: 'status', status: { code: 401, reason: 'Unauthorized' } }, 'unauthorized'],
  ['answers 429', { kind: 'status', status: { code: 429 }, retryAfterSeconds: 20 }, 'too-many-requests'],
] as const) {
  test(`D3: a server that ${name} for an hour meets few requests from 110 Pods, and all mirrors come without a restart`, async (t) => {
    const w = setUp(t);
    let broken = true;
    w.double.rules = [() => (broken ? misbehave : undefined)];
    w.start();
    for (let i = 0; i < 110; i++) w.status.publish(staticPod(`u${i}`, { name: `p${i}` }), runningStatus);
    for (let minute = 0; minute < 60; minute++) {
      for (let i = 0; i < 110; i += 10)
        w.status.publish(staticPod(`u${i}`, { name: `p${i}` }), { ...runningStatus, message: String(minute) });
      await w.clock.advance(60_000);
    }
    await quiesce();
    assert.ok(w.double.requests.length <= 200, `${w.double.requests.length} requests in an hour`);
    assert.deepEqual(
      w.faults
        .list()
        .filter((f) => f.area === 'server')
        .map((f) => f.cause),
      [cause],
    );
    broken = false;
    await until(w.clock, () => w.double.objects('pods').filter((p) => p['status'].phase === 'Running').length === 110, 120_000, 1000);
    assert.deepEqual(w.faults.list(), []);
  });
}

test('S-405 of its kind: Retry-After is respected', async (t) => {
  const w = setUp(t);
  let limited = false;
  w.double.rules = [() => (limited ? { kind: 'status', status: { code: 429 }, retryAfterSeconds: 45 } : undefined)];
  w.start();
  await quiesce();
  limited = true;
  w.status.publish(pod, runningStatus);
  await quiesce();
  const first = w.double.count('POST', '/pods');
  await w.clock.advance(44_000);
  await quiesce();
  assert.equal(w.double.count('POST', '/pods'), first);
  limited = false;
  await until(w.clock, () => w.mirror() !== undefined, 20_000);
});

test('C-093, C-094: down at start and later; removal and replacement meanwhile converge on its return', async (t) => {
  const w = setUp(t);
  w.double.isDown = true;
  w.start();
  w.status.publish(pod, runningStatus);
  await w.clock.advance(300_000);
  w.double.isDown = false;
  await until(w.clock, () => w.mirror()?.status?.phase === 'Running', 60_000);
  w.double.isDown = true;
  w.double.endWatches();
  w.status.publish(staticPod('cccc', { name: 'db' }), runningStatus);
  w.status.publish(pod, runningStatus, { stage: 'terminated', leaving: true });
  w.status.remove('aaaa');
  w.status.publish(next, runningStatus);
  await w.clock.advance(300_000);
  w.double.isDown = false;
  await until(
    w.clock,
    () => w.mirror()?.spec?.containers[0]?.image === 'registry/web:2' && w.mirror('db-node-1')?.status?.phase === 'Running',
    90_000,
  );
  assert.deepEqual(w.faults.list(), []);
});

test('S-302: a create whose answer was lost is found again, not made twice', async (t) => {
  const w = setUp(t);
  let lose = true;
  w.double.rules = [
    (r) => {
      if (r.method !== 'POST' || !lose) return undefined;
      lose = false;
      return { kind: 'lose-answer' };
    },
  ];
  w.start();
  w.status.publish(pod, runningStatus);
  await until(w.clock, () => w.mirror()?.status?.phase === 'Running', 30_000);
  assert.equal(w.double.objects('pods').length, 1);
  assert.equal(w.double.count('DELETE', '/pods'), 0);
});

test('S-333, S-335, C-049: 409 on a status patch: the new object of that name is read and gets the status', async (t) => {
  const w = setUp(t);
  let conflict = true;
  w.double.rules = [
    (r) => {
      if (r.method !== 'PATCH' || !conflict) return undefined;
      conflict = false;
      return { kind: 'status', status: { code: 409, reason: 'Conflict' } };
    },
  ];
  w.start();
  w.status.publish(pod, runningStatus);
  await until(w.clock, () => w.mirror()?.status?.phase === 'Running', 10_000);
});

test('an expired watch lists again; what happened in between is not missed', async (t) => {
  const w = setUp(t);
  w.start();
  w.status.publish(pod, runningStatus);
  await quiesce();
  w.double.oldestVersion = 10_000;
  w.double.endWatches({ code: 410, reason: 'Expired' });
  w.double.deleteAs('pods', 'default', 'web-node-1');
  w.double.oldestVersion = 0;
  await until(w.clock, () => w.mirror() !== undefined, 30_000);
});

test('a finalizer that holds the old mirror delays the new one, without a storm (S-315)', async (t) => {
  const w = setUp(t);
  w.start();
  const held: Pod = { ...pod, metadata: { ...pod.metadata, finalizers: ['example.com/hold'] } };
  w.status.publish(held, runningStatus);
  await quiesce();
  w.double.deleteAs('pods', 'default', 'web-node-1', 30);
  await w.clock.advance(600_000);
  await quiesce();
  assert.ok(w.double.requests.length < 80, `${w.double.requests.length} requests in ten minutes`);
  const stuck = w.double.get('pods', 'default', 'web-node-1');
  assert.ok(stuck?.metadata.deletionTimestamp);
  w.double.put('pods', { ...stuck, metadata: { ...stuck.metadata, finalizers: [] } });
  await until(
    w.clock,
    () => w.mirror()?.metadata?.deletionTimestamp === undefined && w.mirror()?.status?.phase === 'Running',
    120_000,
    1000,
  );
});

test('C-097, S-314: an edited label stays and costs nothing; the next manifest change takes it away', async (t) => {
  const w = setUp(t);
  w.start();
  w.status.publish(pod, runningStatus);
  await quiesce();
  const object = w.double.get('pods', 'default', 'web-node-1');
  assert.ok(object);
  w.double.put('pods', { ...object, metadata: { ...object.metadata, labels: { edited: 'yes' } } });
  await w.clock.advance(30_000);
  await quiesce();
  assert.deepEqual(w.mirror()?.metadata?.labels, { edited: 'yes' });
  w.status.publish(pod, runningStatus, { stage: 'terminated', leaving: true });
  w.status.publish(next, runningStatus);
  await quiesce();
  assert.deepEqual(w.mirror()?.metadata?.labels, { app: 'web' });
});

test('S-340: the start time that a mirror of before remembers is kept, here and there', async (t) => {
  const w = setUp(t);
  const began = '2025-12-31T00:00:00Z';
  w.double.put('pods', { ...mirrorOf(pod), status: { phase: 'Running', startTime: began } } as never);
  w.start();
  w.status.publish(pod, { ...runningStatus, startTime: '2026-01-01T00:00:00Z' });
  await until(w.clock, () => w.double.get('pods', 'default', `web-${nodeName}`)?.['status'].podIP === '10.0.0.2', 20_000);
  assert.equal(w.double.get('pods', 'default', `web-${nodeName}`)?.['status'].startTime, began);
  assert.equal(w.status.get('aaaa')?.status.startTime, began);
  w.status.publish(pod, { ...runningStatus, phase: 'Failed', startTime: '2026-01-01T00:00:00Z' });
  assert.equal(w.status.get('aaaa')?.status.startTime, began);
  // Somebody who writes another one there is not believed.
  w.double.put('pods', { ...w.double.get('pods', 'default', `web-${nodeName}`), status: { startTime: '2020-01-01T00:00:00Z' } } as never);
  await until(w.clock, () => w.double.get('pods', 'default', `web-${nodeName}`)?.['status'].startTime === began, 60_000);
});

test('a Pod that the cluster gives to the node is told not to run, once; deleted, it is ended when its grace is over', async (t) => {
  const w = setUp(t);
  const other = { metadata: { name: 'ds-x', namespace: 'default' }, spec: { nodeName }, status: { phase: 'Pending' } };
  w.double.put('pods', other as never);
  w.start();
  await until(w.clock, () => w.events.length > 0, 20_000);
  await w.clock.advance(300_000);
  await quiesce();
  assert.deepEqual(
    w.events.map(({ name, reason }) => `${name} ${reason}`),
    ['ds-x StaticPodsOnly'],
  );
  assert.deepEqual(
    w.faults.list().map(({ area, key, cause }) => [area, key, cause]),
    [['pod', 'default/ds-x', 'not-run']],
  );
  w.double.deleteAs('pods', 'default', 'ds-x', 30);
  await w.clock.advance(25_000);
  await quiesce();
  assert.ok(w.double.get('pods', 'default', 'ds-x'));
  await until(w.clock, () => w.double.get('pods', 'default', 'ds-x') === undefined, 60_000);
  await w.clock.advance(20_000);
  await quiesce();
  assert.deepEqual(w.faults.list(), []);
});

test('S-342: a status that the object may not take over from the one before is shown by another object; a fault of its own is not', async (t) => {
  const w = setUp(t);
  w.start();
  w.status.publish(pod, runningStatus);
  await quiesce();
  const first = w.mirror();
  const refused = { kind: 'status', status: { code: 422, reason: 'Invalid', message: 'may not be transitioned' } } as const;
  w.double.rules = [(r) => (r.path.endsWith('/status') && (r.body as ApiPod).metadata?.uid === first?.metadata?.uid ? refused : undefined)];
  w.status.publish(pod, { ...runningStatus, message: 'again' });
  await until(w.clock, () => w.mirror()?.status?.message === 'again', 10_000);
  assert.notEqual(w.mirror()?.metadata?.uid, first?.metadata?.uid);
  assert.deepEqual(w.faults.list(), []);

  w.double.rules = [(r) => (r.path.endsWith('/status') ? refused : undefined)];
  w.status.publish(pod, { ...runningStatus, message: 'wrong' });
  await w.clock.advance(600_000);
  await quiesce();
  assert.deepEqual(
    w.faults.list().map(({ cause }) => cause),
    ['invalid'],
  );
  assert.ok(w.double.count('POST', '/pods') <= 3, 'a mirror that never showed anything is not made again and again');
});
