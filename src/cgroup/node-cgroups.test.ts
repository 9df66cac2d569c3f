import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { buildNode } from '../../test/support/node-facts.ts';
import { RecordedEvents } from '../../test/support/pods.ts';
import type { PodSpec } from '../api/gen/kubernetes.ts';
import { silentLogger } from '../std/log.ts';
import { NodeCgroups } from './node-cgroups.ts';
import { CgroupError } from './pod-cgroups.ts';

function setUp({ isEnforced = true } = {}) {
  const clock = new FakeClock();
  const events = new RecordedEvents();
  const calls: string[] = [];
  const faults: Error[] = [];
  const facts = buildNode();
  let active: readonly PodSpec[] = [];
  const act = (call: string): void => {
    calls.push(call);
    const fault = faults.shift();
    if (fault !== undefined) throw fault;
  };
  const node = new NodeCgroups(
    { limit: facts.capacity, isEnforced, pidsLimit: -1, node: { kind: 'Node', namespace: '', name: 'n', uid: 'n' } },
    {
      cgroups: { start: async () => act('start'), updateQos: async (specs) => act(`qos of ${specs.length}`) },
      facts: async () => facts,
      active: () => active,
      events,
      clock,
      logger: silentLogger,
    },
  );
  const setActive = (count: number): void => {
    const container = { name: 'app', resources: { requests: { cpu: '100m' } } };
    active = Array.from({ length: count }, () => ({ containers: [container] }));
  };
  return { clock, events, calls, faults, node, setActive };
}

test('the tree once, the QoS classes every minute (L-301, S-438)', async () => {
  const { clock, calls, events, node, setActive } = setUp();
  const stop = new AbortController();
  await node.start();
  const running = node.run({ signal: stop.signal });
  setActive(2);
  assert.deepEqual(calls, ['start'], 'Pods that run keep their shares (D2)');
  await clock.advance(60_000);
  await clock.advance(59_999);
  assert.deepEqual(calls, ['start', 'qos of 2']);
  assert.deepEqual(events.take(), ['Normal NodeAllocatableEnforced: Updated Node Allocatable limit across pods']);
  stop.abort();
  await assert.rejects(running);
});

test('a Pod that comes or goes counts at once, and nothing is written when nothing changed (L-301)', async () => {
  const { clock, calls, node, setActive } = setUp();
  const stop = new AbortController();
  await node.start();
  const running = node.run({ signal: stop.signal });
  for (const count of [1, 1, 2, 0]) {
    setActive(count);
    node.podsChanged();
    await clock.advance(10);
  }
  assert.deepEqual(calls, ['start', 'qos of 1', 'qos of 2', 'qos of 0']);
  await clock.advance(60_000);
  assert.deepEqual(calls.slice(4), ['qos of 0'], 'once a minute all the same');
  stop.abort();
  await assert.rejects(running);
});

test('what failed is tried every minute and told once (L-302)', async () => {
  const { clock, calls, events, faults, node } = setUp();
  const stop = new AbortController();
  faults.push(new CgroupError('cgroup-not-written', 'no'), new CgroupError('cgroup-not-written', 'no'));
  await node.start();
  const running = node.run({ signal: stop.signal });
  await clock.advance(120_000);
  assert.deepEqual(calls, ['start', 'start', 'start', 'qos of 0']);
  assert.deepEqual(events.take(), [
    'Warning FailedNodeAllocatableEnforcement: Failed to update limits on the cgroup of all pods: no',
    'Normal NodeAllocatableEnforced: Updated Node Allocatable limit across pods',
  ]);
  stop.abort();
  await assert.rejects(running);
});

test('nothing is told where nothing is enforced; a fault of ours is not swallowed', async () => {
  const { events, faults, node } = setUp({ isEnforced: false });
  faults.push(Object.assign(new CgroupError('x', 'no')));
  await node.start();
  await node.start();
  assert.deepEqual(events.take(), []);
  faults.push(new TypeError('ours'));
  const running = node.run({ signal: new AbortController().signal });
  node.podsChanged();
  await assert.rejects(running, TypeError);
});
