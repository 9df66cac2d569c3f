import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildPod } from '../../test/support/pods.ts';
import { groupOf, type ShutdownSettings, shutdownGroups } from './groups.ts';

const off: ShutdownSettings = { shutdownGracePeriodMs: 0, shutdownGracePeriodCriticalPodsMs: 0, shutdownGracePeriodByPodPriority: [] };
const critical = 2_000_000_000;

for (const [title, settings, expected] of [
  ['nothing configured', off, []],
  [
    'two periods',
    { ...off, shutdownGracePeriodMs: 30_000, shutdownGracePeriodCriticalPodsMs: 10_000 },
    [
      [0, 20],
      [critical, 10],
    ],
  ],
  ['nothing for critical Pods', { ...off, shutdownGracePeriodMs: 30_000 }, [[0, 30]]],
  ['everything for critical Pods', { ...off, shutdownGracePeriodMs: 10_000, shutdownGracePeriodCriticalPodsMs: 10_000 }, [[critical, 10]]],
  [
    'by priority, in any order',
    {
      ...off,
      shutdownGracePeriodByPodPriority: [
        { priority: 1000, shutdownGracePeriodSeconds: 5 },
        { priority: -5, shutdownGracePeriodSeconds: 0 },
        { priority: 10, shutdownGracePeriodSeconds: 7 },
      ],
    },
    [
      [-5, 0],
      [10, 7],
      [1000, 5],
    ],
  ],
] as const) {
  test(`L-493, H-480: ${title}`, () =>
    assert.deepEqual(
      shutdownGroups(settings).map(({ priority, seconds }) => [priority, seconds]),
      expected,
    ));
}

const groups = [-5, 10, 1000, critical].map((priority) => ({ priority, seconds: 1 }));
for (const [title, spec, expected] of [
  ['without a priority', {}, -5],
  ['below all', { priority: -10 }, -5],
  ['exactly', { priority: 10 }, 10],
  ['between two', { priority: 999 }, 10],
  ['above all', { priority: critical + 1 }, critical],
  ['H-485: of a built-in class', { priorityClassName: 'system-node-critical' }, critical],
] as const) {
  test(`L-496: the group of a Pod ${title}`, () => assert.equal(groupOf(buildPod(spec), groups)?.priority, expected));
}

test('L-496: without groups there is none', () => assert.equal(groupOf(buildPod(), []), undefined));
