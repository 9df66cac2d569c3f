// One sweep over folders of Pods that nobody knows, with removals that succeed or do not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { silentLogger } from '../std/log.ts';
import { noMetrics } from '../std/metrics.ts';
import { Leftovers } from './leftovers.ts';

const { signal } = new AbortController();

test('L-069, H-404: a sweep says how many Pods it cleaned up after, and how many it could not', async () => {
  const gauges: Record<string, number> = {};
  const removed: string[] = [];
  let stuck: readonly string[] = ['b'];
  const leftovers = new Leftovers({
    volumes: {
      podUids: async () => ['a', 'b', 'known'],
      removeOrphan: async (uid) => (stuck.includes(uid) ? 'a mount is busy' : undefined),
      finishRemovals: async () => undefined,
    },
    cgroups: { remove: async (uid) => void removed.push(uid) },
    whileUnknown: async (uid, work) => {
      if (uid === 'known') return false;
      await work();
      return true;
    },
    clock: new FakeClock(),
    logger: silentLogger,
    metrics: {
      ...noMetrics,
      gauge: ({ name }) => ({
        set: (value) => {
          gauges[name.replace('kubelet_orphan_pod_', '')] = value;
        },
        remove: () => undefined,
      }),
    },
  });
  await leftovers.collect({ signal });
  assert.deepEqual([removed, gauges], [['a'], { cleaned_volumes: 1, cleaned_volumes_errors: 1 }]);
  stuck = [];
  await leftovers.collect({ signal });
  assert.deepEqual(gauges, { cleaned_volumes: 2, cleaned_volumes_errors: 0 }, 'of the last sweep only');
});

test('L-337: what a runtime made anew while its Pod was being cleaned up goes with the next sweep', async () => {
  const removed: string[] = [];
  let onDisk: readonly string[] = ['a'];
  const leftovers = new Leftovers({
    volumes: { podUids: async () => onDisk, removeOrphan: async () => undefined, finishRemovals: async () => undefined },
    cgroups: { remove: async (uid) => void removed.push(uid) },
    whileUnknown: async (_uid, work) => {
      await work();
      return true;
    },
    clock: new FakeClock(),
    logger: silentLogger,
    metrics: noMetrics,
  });
  await leftovers.collect({ signal });
  onDisk = [];
  for (let sweep = 0; sweep < 3; sweep++) await leftovers.collect({ signal });
  assert.deepEqual(removed, ['a', 'a']);
});
