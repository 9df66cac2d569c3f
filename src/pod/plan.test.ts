// How a Pod ends: exact actions, one row per rule (spec 02, sections 1.4, 9.3, 9.4), and the table of requests.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { actions, app, exited, now, type PlanCase, plan, recordOf } from '../../test/support/plans.ts';
import { buildContainer, buildPod, observedSandbox } from '../../test/support/pods.ts';
import { requestTermination } from './plan.ts';
import type { PodWorkState, TerminationCause } from './work.ts';

type Terminating = Extract<PodWorkState, { state: 'terminating' }>;

const removed: TerminationCause = { kind: 'removed' };
const ending = (seconds = 30, agoMs = 0, cause: TerminationCause = removed): Terminating => ({
  state: 'terminating',
  since: now - agoMs,
  gracePeriodSeconds: seconds,
  cause,
});
const over = (cause: TerminationCause = removed): PodWorkState => ({ state: 'terminated', cause });

interface Row extends PlanCase {
  readonly name: string;
  readonly actions: readonly string[];
  readonly becomes?: PodWorkState['state'];
  readonly wakeAt?: number;
}

function table(title: string, rows: readonly Row[]): void {
  describe(title, () => {
    for (const row of rows) {
      test(row.name, () => {
        assert.deepEqual(actions(row), row.actions);
        const made = plan(row);
        assert.equal(made.work.state, row.becomes ?? row.work?.state);
        assert.equal(made.wakeAt, row.wakeAt);
      });
    }
  });
}

const bye = { exec: { command: ['/bye'] } };
const polite = buildContainer({ lifecycle: { preStop: bye } });
const killed = (id: string, change: object = {}) => ({
  kills: new Map([[id, { since: now, gracePeriodSeconds: 30, message: 'Stopping container app', preStopDone: false, ...change }]]),
});
const sidecar = (name: string, change: object = {}) => buildContainer({ name, restartPolicy: 'Always', ...change });
const three = [sidecar('s1'), sidecar('s2'), sidecar('s3')];
const [s1, s2, s3] = [recordOf(sidecar('s1')), recordOf(sidecar('s2')), recordOf(sidecar('s3'))];
const stopping = (name: string, seconds = 30, of = 30): string =>
  `StopContainer ${name}0 ${seconds} of ${of} s: Stopping container ${name}`;

table('9.3 grace and preStop', [
  {
    name: 'a container is stopped with the grace of the Pod (L-435, L-440)',
    work: ending(),
    containers: [app()],
    actions: [stopping('app')],
  },
  {
    name: 'what is over of the grace is not given again (L-439)',
    work: ending(30, 12_900),
    containers: [app()],
    actions: [stopping('app', 18)],
  },
  { name: 'but never less than two seconds (L-440, C-280)', work: ending(30, 60_000), containers: [app()], actions: [stopping('app', 2)] },
  { name: 'a grace of one second becomes two (L-440)', work: ending(1), containers: [app()], actions: [stopping('app', 2, 1)] },
  {
    name: 'preStop comes first and may use the whole grace (L-437)',
    spec: { containers: [polite] },
    work: ending(),
    containers: [app()],
    actions: ['RunPreStop app0 30 of 30 s {"exec":{"command":["/bye"]}}: Stopping container app'],
  },
  {
    name: 'after it the stop gets what is left (L-437, C-281)',
    spec: { containers: [polite] },
    work: ending(10, 3_000),
    containers: [app()],
    memory: killed('app0', { preStopDone: true, gracePeriodSeconds: 10 }),
    actions: [stopping('app', 7, 10)],
  },
  {
    name: 'a preStop that used up the grace is not begun again (L-437, C-288)',
    spec: { containers: [polite] },
    work: ending(5, 5_000),
    containers: [app()],
    memory: killed('app0'),
    actions: [stopping('app', 2, 5)],
  },
  {
    name: 'a container that exited by itself has no preStop (L-441)',
    spec: { containers: [polite] },
    work: ending(),
    containers: [app(exited(0))],
    actions: ['StopPodSandbox s1'],
  },
  {
    name: 'an edited manifest changes nothing any more (C-278)',
    spec: { containers: [buildContainer({ image: 'other' })] },
    work: ending(),
    containers: [app()],
    actions: [stopping('app')],
  },
  {
    name: 'a stop that failed is tried again later (L-061)',
    work: ending(),
    containers: [app()],
    memory: { failures: new Map([['StopContainer/app0/30', { count: 1, retryAt: now + 500, message: 'no' }]]) },
    wakeAt: now + 500,
    actions: [],
  },
  {
    name: 'one that cannot be stopped keeps the sandbox until its grace is over (L-274)',
    work: ending(30, 20_000),
    containers: [app()],
    memory: { failures: new Map([['StopContainer/app0/30', { count: 3, retryAt: now + 500, message: 'no' }]]) },
    wakeAt: now + 500,
    actions: [],
  },
  {
    name: 'one or two failures do not end it (L-274)',
    work: ending(30, 30_000),
    containers: [app()],
    memory: { failures: new Map([['StopContainer/app0/30', { count: 2, retryAt: now, message: 'no' }]]) },
    actions: [stopping('app', 2)],
  },
  {
    name: 'then the end of the sandbox ends it (L-274)',
    work: ending(30, 30_000),
    containers: [app()],
    memory: { failures: new Map([['StopContainer/app0/30', { count: 3, retryAt: now, message: 'no' }]]) },
    actions: [stopping('app', 2), 'StopPodSandbox s1'],
  },
  {
    name: 'what still runs then keeps the Pod from being terminated (L-062)',
    work: ending(30, 30_000),
    containers: [app()],
    memory: {
      stoppedSandboxes: new Set(['s1']),
      failures: new Map([['StopContainer/app0/30', { count: 4, retryAt: now + 500, message: 'no' }]]),
    },
    wakeAt: now + 500,
    actions: [],
  },
  {
    name: 'one that can be stopped is not left to its sandbox (L-274)',
    spec: { containers: [buildContainer(), buildContainer({ name: 'side' })] },
    work: ending(30, 30_000),
    containers: [app(), recordOf(buildContainer({ name: 'side' }))],
    memory: { failures: new Map([['StopContainer/app0/30', { count: 3, retryAt: now + 500, message: 'no' }]]) },
    wakeAt: now + 500,
    actions: [stopping('side', 2)],
  },
]);

table('9.4 sidecars end last', [
  {
    name: 'they wait for the regular containers (L-442, C-286)',
    spec: { initContainers: three },
    work: ending(),
    containers: [app(), s1, s2, s3],
    wakeAt: now + 30_000,
    actions: [stopping('app')],
  },
  {
    name: 'then the last one',
    spec: { initContainers: three },
    work: ending(),
    containers: [app(exited(0)), s1, s2, s3],
    wakeAt: now + 30_000,
    actions: [stopping('s3')],
  },
  {
    name: 'then the one before',
    spec: { initContainers: three },
    work: ending(),
    containers: [s1, s2],
    wakeAt: now + 30_000,
    actions: [stopping('s2')],
  },
  {
    name: 'nobody waits for one that did not run (C-289, C-298)',
    spec: { initContainers: three },
    work: ending(),
    containers: [s1, recordOf(sidecar('s3'), exited(1))],
    actions: [stopping('s1')],
  },
  {
    name: 'they wait for one whose stop failed, too (L-445)',
    spec: { initContainers: three },
    work: ending(),
    containers: [s2, s3],
    memory: { failures: new Map([['StopContainer/s30/30', { count: 1, retryAt: now + 500, message: 'no' }]]) },
    wakeAt: now + 500,
    actions: [],
  },
  {
    name: 'but not beyond the grace (L-445)',
    spec: { initContainers: three },
    work: ending(30, 30_000),
    containers: [s2, s3],
    memory: { failures: new Map([['StopContainer/s30/30', { count: 1, retryAt: now + 500, message: 'no' }]]) },
    wakeAt: now + 500,
    actions: [stopping('s2', 2)],
  },
  {
    name: 'their preStop hooks run at once, side by side (L-443, C-287)',
    spec: { initContainers: [sidecar('s1', { lifecycle: { preStop: bye } }), sidecar('s2', { lifecycle: { preStop: bye } })] },
    work: ending(),
    containers: [app(), s1, s2],
    actions: [
      stopping('app'),
      'RunPreStop s10 30 of 30 s {"exec":{"command":["/bye"]}}: Stopping container s1',
      'RunPreStop s20 30 of 30 s {"exec":{"command":["/bye"]}}: Stopping container s2',
    ],
  },
  {
    name: 'when the grace is over all get their signal (L-444, C-288)',
    spec: { initContainers: three },
    work: ending(5, 5_000),
    containers: [app(), s1, s2, s3],
    actions: [stopping('app', 2, 5), stopping('s1', 2, 5), stopping('s2', 2, 5), stopping('s3', 2, 5)],
  },
  {
    name: 'ordinary init containers do not wait (L-442)',
    spec: { initContainers: [buildContainer({ name: 'prepare' }), sidecar('s1')] },
    work: ending(),
    containers: [recordOf(buildContainer({ name: 'prepare' })), s1],
    wakeAt: now + 30_000,
    actions: [stopping('prepare')],
  },
]);

table('1.4 after the containers', [
  {
    name: 'every sandbox is stopped, ready or not (L-274)',
    work: ending(),
    sandboxes: [observedSandbox({ id: 's2', attempt: 1 }), observedSandbox({ state: 'notReady' })],
    actions: ['StopPodSandbox s2', 'StopPodSandbox s1'],
  },
  {
    name: 'what never ran is left to the end of its sandbox (L-274)',
    spec: { containers: [buildContainer(), buildContainer({ name: 'side' })] },
    work: ending(),
    containers: [app({ state: 'created' }), recordOf(buildContainer({ name: 'side' }), { state: 'unknown' })],
    actions: ['StopPodSandbox s1'],
  },
  {
    name: 'then the Pod is terminated, its records kept (L-275)',
    work: ending(),
    memory: { stoppedSandboxes: new Set(['s1']) },
    becomes: 'terminated',
    wakeAt: now,
    actions: [],
  },
  {
    name: 'a Pod that never had anything is terminated at once (L-048)',
    work: ending(),
    sandboxes: [],
    becomes: 'terminated',
    wakeAt: now,
    actions: [],
  },
  ...['RunPodSandbox/0', 'CreateContainer/app/0', 'StartContainer/app0', 'CreatePodCgroup', 'SetUpVolumes'].map((key) => ({
    name: `not before ${key} has ended (P4)`,
    work: ending(),
    sandboxes: [],
    underWay: [key],
    actions: [],
  })),
  {
    name: 'a pull does not hold it up: it is cancelled',
    work: ending(),
    sandboxes: [],
    underWay: ['PullImage/app'],
    becomes: 'terminated',
    wakeAt: now,
    actions: [],
  },
  {
    name: 'volumes and cgroup go (L-065)',
    work: over({ kind: 'completed' }),
    containers: [app(exited(0))],
    actions: ['TearDownVolumes', 'RemovePodCgroup'],
  },
  {
    name: 'the records of a Pod that completed stay (L-065)',
    work: over({ kind: 'completed' }),
    containers: [app(exited(0))],
    memory: { volumesRemoved: true, cgroupRemoved: true },
    actions: [],
  },
  {
    name: 'those of a removed Pod go: containers first',
    work: over(),
    containers: [app(exited(0))],
    memory: { volumesRemoved: true, folderRemoved: true, cgroupRemoved: true, stoppedSandboxes: new Set(['s1']) },
    actions: ['RemoveContainer app0 and logs'],
  },
  {
    name: 'then its sandboxes',
    work: over(),
    memory: { volumesRemoved: true, folderRemoved: true, cgroupRemoved: true, stoppedSandboxes: new Set(['s1']) },
    actions: ['RemovePodSandbox s1'],
  },
  {
    name: 'a sandbox this process has not stopped may hold its network (L-191)',
    work: over(),
    memory: { volumesRemoved: true, folderRemoved: true, cgroupRemoved: true },
    actions: ['StopPodSandbox s1'],
  },
  {
    name: 'nothing is left: finished',
    work: over(),
    sandboxes: [],
    memory: { volumesRemoved: true, folderRemoved: true, cgroupRemoved: true },
    becomes: 'finished',
    actions: [],
  },
  {
    name: 'not while volumes or cgroup are there',
    work: over(),
    sandboxes: [],
    memory: { volumesRemoved: true },
    actions: ['RemovePodCgroup', 'RemovePodFolder'],
  },
  { name: 'finished: nothing', work: { state: 'finished' }, actions: [] },
]);

describe('requests to end a Pod (L-036, L-037, L-039, C-221)', () => {
  const pod = buildPod({ terminationGracePeriodSeconds: 30 });
  const disrupted: TerminationCause = { kind: 'disrupted', reason: 'Evicted', message: 'm', conditionMessage: 'c' };
  const at = { pod, now };
  const cases: readonly [string, PodWorkState, TerminationCause, number | undefined, PodWorkState][] = [
    ['sync: the grace of the spec', { state: 'sync' }, removed, undefined, ending(30)],
    ['sync: an override replaces it', { state: 'sync' }, disrupted, 10, ending(10, 0, disrupted)],
    ['sync: 0 becomes 1', { state: 'sync' }, removed, 0, ending(1)],
    ['terminating: a lower grace wins', ending(30, 5_000), removed, 10, ending(10, 5_000)],
    ['terminating: a higher one does not', ending(10, 5_000), removed, 60, ending(10, 5_000)],
    ['terminating: removal outranks every cause', ending(30, 5_000, { kind: 'completed' }), removed, undefined, ending(30, 5_000)],
    ['terminating: another cause does not replace one', ending(30, 5_000), disrupted, 10, ending(10, 5_000)],
    ['terminated: removal takes the records', over({ kind: 'completed' }), removed, undefined, over()],
    ['terminated: another cause changes nothing', over(), disrupted, 1, over()],
    ['finished: stays', { state: 'finished' }, removed, undefined, { state: 'finished' }],
  ];
  for (const [name, work, cause, override, expected] of cases) {
    test(name, () => assert.deepEqual(requestTermination(work, cause, at, override), expected));
  }

  test('deletionGracePeriodSeconds comes before the spec (L-434)', () => {
    const deleted = buildPod({ terminationGracePeriodSeconds: 30 }, { deletionGracePeriodSeconds: 4 });
    assert.deepEqual(requestTermination({ state: 'sync' }, removed, { pod: deleted, now }), ending(4));
  });
});
