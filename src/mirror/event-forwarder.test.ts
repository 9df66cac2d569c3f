import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { apiWorld, nodeName, quiesce, until } from '../../test/support/mirror-fixtures.ts';
import type { EventObject } from '../api/events.ts';
import { TaskGroup } from '../std/async.ts';
import { EventForwarder } from './event-forwarder.ts';

const pod: EventObject = { kind: 'Pod', namespace: 'apps', name: 'web-node-1', uid: 'static-uid', fieldPath: 'spec.containers{c}' };
const node: EventObject = { kind: 'Node', namespace: '', name: nodeName, uid: '' };

function setUp(t: TestContext) {
  const world = apiWorld();
  const forwarder = new EventForwarder({ nodeName, qps: 50, burst: 100 }, world.deps);
  const group = new TaskGroup();
  t.after(() => group.close());
  return { ...world, forwarder, start: () => forwarder.start(group), sent: () => world.double.objects('events') };
}

test('S-397, S-398, S-330: the shape of an Event', async (t) => {
  const w = setUp(t);
  w.start();
  w.forwarder.record(pod, 'Normal', 'Pulling', 'Pulling image "a"');
  w.forwarder.record(node, 'Normal', 'Starting', 'Starting kubelet.');
  await quiesce();
  const [first, second] = w.sent();
  assert.match(first?.metadata.name ?? '', /^web-node-1\.[0-9a-f]+$/);
  const { metadata, ...rest } = first ?? { metadata: {} };
  assert.equal(metadata.namespace, 'apps');
  assert.deepEqual(rest, {
    apiVersion: 'v1',
    kind: 'Event',
    involvedObject: {
      apiVersion: 'v1',
      kind: 'Pod',
      namespace: 'apps',
      name: 'web-node-1',
      uid: 'static-uid',
      fieldPath: 'spec.containers{c}',
    },
    reason: 'Pulling',
    message: 'Pulling image "a"',
    source: { component: 'kubelet', host: nodeName },
    reportingComponent: 'kubelet',
    reportingInstance: nodeName,
    firstTimestamp: '2026-01-01T00:00:00Z',
    lastTimestamp: '2026-01-01T00:00:00Z',
    count: 1,
    type: 'Normal',
  });
  assert.equal(second?.metadata.namespace, 'default');
  assert.deepEqual(second?.['involvedObject'], { apiVersion: 'v1', kind: 'Node', name: nodeName });
});

test('S-401: a repeat counts up by PATCH', async (t) => {
  const w = setUp(t);
  w.start();
  for (let i = 0; i < 3; i++) {
    w.forwarder.record(pod, 'Warning', 'BackOff', 'again');
    await w.clock.advance(10_000);
    await quiesce();
  }
  assert.equal(w.sent().length, 1);
  assert.deepEqual([w.sent()[0]?.['count'], w.sent()[0]?.['lastTimestamp']], [3, '2026-01-01T00:00:20Z']);
  assert.equal(w.double.count('PATCH', '/events'), 2);
});

test('S-402: from the 10th different message on they are folded; after ten quiet minutes no longer', async (t) => {
  const w = setUp(t);
  w.start();
  for (let i = 1; i <= 12; i++) w.forwarder.record(pod, 'Warning', 'Failed', `message ${i}`);
  await quiesce();
  assert.equal(w.sent().length, 10);
  const folded = w.sent().find((e) => String(e['message']).startsWith('(combined'));
  assert.deepEqual([folded?.['message'], folded?.['count']], ['(combined from similar events): message 12', 3]);
  await w.clock.advance(601_000);
  w.forwarder.record(pod, 'Warning', 'Failed', 'message 99');
  await quiesce();
  assert.ok(w.sent().some((e) => e['message'] === 'message 99'));
});

test('S-403: 25 at once per object and type, then one in 300 s; other objects are unaffected', async (t) => {
  const w = setUp(t);
  w.start();
  for (let i = 0; i < 40; i++) w.forwarder.record(pod, 'Warning', `Reason${i}`, 'm');
  w.forwarder.record(pod, 'Normal', 'Other', 'm');
  w.forwarder.record(node, 'Warning', 'Other', 'm');
  await quiesce();
  await quiesce();
  assert.equal(w.sent().length, 27);
  await w.clock.advance(300_000);
  w.forwarder.record(pod, 'Warning', 'Late', 'm');
  w.forwarder.record(pod, 'Warning', 'TooLate', 'm');
  await quiesce();
  assert.equal(w.sent().length, 28);
});

test('kept while the server is away, counted meanwhile, sent later', async (t) => {
  const w = setUp(t);
  w.double.isDown = true;
  w.start();
  for (let i = 0; i < 5; i++) {
    w.forwarder.record(pod, 'Warning', 'BackOff', 'again');
    await w.clock.advance(600_000);
  }
  w.forwarder.record(pod, 'Normal', 'Started', 'Container started');
  w.double.isDown = false;
  await until(w.clock, () => w.sent().length === 2, 120_000);
  assert.deepEqual(
    w.sent().map((e) => [e['reason'], e['count'], e['firstTimestamp']]),
    [
      ['BackOff', 5, '2026-01-01T00:00:00Z'],
      ['Started', 1, '2026-01-01T00:50:00Z'],
    ],
  );
});

test('what waits is bounded; the newest is kept', async (t) => {
  const w = setUp(t);
  w.double.isDown = true;
  w.start();
  for (let i = 0; i < 1500; i++) w.forwarder.record({ ...pod, name: `p${i}`, uid: `${i}` }, 'Normal', 'Started', 'm');
  assert.equal(w.forwarder.pending, 1000);
  w.double.isDown = false;
  await until(w.clock, () => w.sent().length === 1000, 120_000, 1000);
  assert.match(w.sent().at(-1)?.metadata.name ?? '', /^p1499\./);
});

test('S-405: what the server refuses is dropped and said; the next one goes through', async (t) => {
  const w = setUp(t);
  w.double.rules = [
    (r) => (JSON.stringify(r.body).includes('secret') ? { kind: 'status', status: { code: 403, reason: 'Forbidden' } } : undefined),
  ];
  w.start();
  w.forwarder.record(pod, 'Normal', 'A', 'secret');
  await quiesce();
  assert.equal(w.faults.list()[0]?.area, 'events');
  w.forwarder.record(pod, 'Normal', 'B', 'm');
  await quiesce();
  assert.deepEqual(
    w.sent().map((e) => e['reason']),
    ['B'],
  );
  assert.equal(w.forwarder.pending, 0);
  assert.deepEqual(w.faults.list(), []);
});

test('an Event the server has forgotten is created anew and counts on', async (t) => {
  const w = setUp(t);
  w.start();
  w.forwarder.record(pod, 'Warning', 'BackOff', 'again');
  await quiesce();
  const name = w.sent()[0]?.metadata.name ?? '';
  w.double.deleteAs('events', 'apps', name);
  w.forwarder.record(pod, 'Warning', 'BackOff', 'again');
  await quiesce();
  assert.equal(w.sent()[0]?.['count'], 2);
  assert.notEqual(w.sent()[0]?.metadata.name, name);
  w.forwarder.record(pod, 'Warning', 'BackOff', 'again');
  await quiesce();
  assert.deepEqual([w.sent().length, w.sent()[0]?.['count']], [1, 3]);
});

test('a create whose answer was lost is not sent twice', async (t) => {
  const w = setUp(t);
  let lose = true;
  w.double.rules = [
    () => {
      if (!lose) return undefined;
      lose = false;
      return { kind: 'lose-answer' };
    },
  ];
  w.start();
  w.forwarder.record(pod, 'Normal', 'A', 'm');
  await until(w.clock, () => w.forwarder.pending === 0, 30_000);
  assert.equal(w.sent().length, 1);
});
