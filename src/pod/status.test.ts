// The status of a Pod: phase, container statuses, conditions, addresses (spec 02, sections 8.3, 10 and 11.1).
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { app, exited, now, type PlanCase, plan, recordOf } from '../../test/support/plans.ts';
import { buildContainer, buildPod, observedSandbox } from '../../test/support/pods.ts';
import type { ContainerStatus, PodSpec, PodStatus } from '../api/gen/kubernetes.ts';
import { toRfc3339 } from '../std/clock.ts';
import { criKeys, type ObservedContainer } from './observation.ts';
import type { PodMemory } from './work.ts';

const statusOf = (input: PlanCase = {}): PodStatus => plan(input).status;
const side = buildContainer({ name: 'side' });
const prepare = buildContainer({ name: 'prepare' });
const log = buildContainer({ name: 'log', restartPolicy: 'Always' });
const two = { containers: [buildContainer(), side] };
const withInit = { initContainers: [prepare] };
const at = (instant: number): string => toRfc3339(instant);
const before = (status: Partial<PodStatus>): Partial<PodMemory> => ({ status });
const known = (name: string, change: Partial<ContainerStatus>): ContainerStatus => ({
  name,
  image: 'nginx',
  imageID: '',
  ready: false,
  restartCount: 0,
  ...change,
});

describe('10.1 phase', () => {
  const waitingFor = (change: object) => recordOf(side, { state: 'created', ...change });
  const rows: readonly [string, Partial<PodSpec>, readonly ObservedContainer[], string, ContainerStatus[]?][] = [
    ['Always: one runs, one failed (C-336)', two, [app(), recordOf(side, exited(1))], 'Running'],
    ['Always: all failed (L-452, C-336)', two, [app(exited(1)), recordOf(side, exited(1))], 'Running'],
    ['Always: all exited 0 (C-336)', two, [app(exited(0)), recordOf(side, exited(0))], 'Running'],
    ['Always: one waits, never started (L-454, C-336)', two, [app()], 'Pending'],
    ['created counts as waiting (L-460)', two, [app(), waitingFor({})], 'Pending'],
    ['Never: all succeeded (C-337)', { restartPolicy: 'Never', ...two }, [app(exited(0)), recordOf(side, exited(0))], 'Succeeded'],
    ['Never: one failed, one runs (C-337)', { restartPolicy: 'Never', ...two }, [app(exited(1)), recordOf(side)], 'Running'],
    ['Never: one failed, one succeeded (C-337)', { restartPolicy: 'Never', ...two }, [app(exited(1)), recordOf(side, exited(0))], 'Failed'],
    ['OnFailure: all succeeded (C-338)', { restartPolicy: 'OnFailure', ...two }, [app(exited(0)), recordOf(side, exited(0))], 'Succeeded'],
    [
      'OnFailure: one failed, others done (C-338)',
      { restartPolicy: 'OnFailure', ...two },
      [app(exited(1)), recordOf(side, exited(0))],
      'Running',
    ],
    [
      'OnFailure: one failed and waits, its record gone (C-338)',
      { restartPolicy: 'OnFailure', ...two },
      [recordOf(side, exited(0))],
      'Running',
      [known('app', { lastState: { terminated: { exitCode: 1 } } })],
    ],
    ['Never: one was killed after its grace (L-449, C-291)', { restartPolicy: 'Never' }, [app(exited(137))], 'Failed'],
    ['sidecar runs, regular never started (C-339)', { initContainers: [log] }, [recordOf(log)], 'Pending'],
    [
      'sidecar killed after its grace, regular succeeded, Never (L-448, L-449, C-290, C-339)',
      { restartPolicy: 'Never', initContainers: [log] },
      [recordOf(log, exited(137)), app(exited(0))],
      'Succeeded',
    ],
    [
      'sidecar still runs, regular succeeded, Never (L-156)',
      { restartPolicy: 'Never', initContainers: [log] },
      [recordOf(log), app(exited(0))],
      'Succeeded',
    ],
    ['sidecar without status, nothing else (C-339)', { initContainers: [log] }, [], 'Pending'],
    ['init failed, Never (L-451, C-340)', { restartPolicy: 'Never', ...withInit }, [recordOf(prepare, exited(1))], 'Failed'],
    ['init failed, Always (C-340)', withInit, [recordOf(prepare, exited(1))], 'Pending'],
    ['init runs (C-340)', withInit, [recordOf(prepare)], 'Pending'],
    ['init has no status (C-340)', withInit, [], 'Pending'],
    ['init record gone, regular runs (L-465)', withInit, [app()], 'Running'],
    ['nothing at all', {}, [], 'Pending'],
  ];
  for (const [name, spec, containers, phase, containerStatuses] of rows) {
    const memory = containerStatuses === undefined ? {} : before({ phase: 'Running', containerStatuses });
    test(name, () => assert.equal(statusOf({ spec, containers, memory }).phase, phase));
  }

  test('after a reboot a Pod initialises anew: Pending (C-230)', () => {
    const containers = [app(exited(255, { sandboxId: 's0' }))];
    assert.equal(statusOf({ spec: withInit, containers, sandboxes: [observedSandbox({ id: 's1', attempt: 1 })] }).phase, 'Pending');
  });

  test('a final phase stays (L-455)', () => {
    assert.equal(statusOf({ containers: [app()], memory: before({ phase: 'Failed' }) }).phase, 'Failed');
  });

  test('a removed Pod keeps its phase (L-453, C-347)', () => {
    const work = { state: 'terminating', since: now, gracePeriodSeconds: 30, cause: { kind: 'removed' } } as const;
    assert.equal(statusOf({ work, containers: [app()] }).phase, 'Running');
  });

  test('a one-shot Pod that was cut short failed (L-126, C-233)', () => {
    const work = { state: 'terminated', cause: { kind: 'completed' } } as const;
    assert.equal(
      statusOf({ spec: { restartPolicy: 'Never', ...withInit }, work, containers: [recordOf(prepare, exited(0))] }).phase,
      'Failed',
    );
  });

  test('the deadline: phase, reason and message (L-457, L-492)', () => {
    const { phase, reason, message } = statusOf({ spec: { activeDeadlineSeconds: 1 }, containers: [app()] });
    assert.deepEqual(
      { phase, reason, message },
      { phase: 'Failed', reason: 'DeadlineExceeded', message: 'Pod was active on the node longer than the specified deadline' },
    );
  });

  test('a disruption: reason, message and condition (L-482)', () => {
    const cause = { kind: 'disrupted', reason: 'Terminated', message: 'Pod was terminated.', conditionMessage: 'shutting down' } as const;
    const status = statusOf({ work: { state: 'terminating', since: now, gracePeriodSeconds: 5, cause }, containers: [app()] });
    assert.deepEqual([status.phase, status.reason, status.message], ['Failed', 'Terminated', 'Pod was terminated.']);
    assert.deepEqual(status.conditions?.[0], {
      type: 'DisruptionTarget',
      status: 'True',
      reason: 'TerminationByKubelet',
      message: 'shutting down',
      lastTransitionTime: at(now),
    });
  });

  test('the generation of the manifest, where it has one (L-483, L-488)', () => {
    const generations = ({ observedGeneration, conditions = [] }: PodStatus) =>
      new Set([observedGeneration, ...conditions.map((condition) => condition.observedGeneration)]);
    assert.deepEqual(generations(statusOf({ containers: [app()] })), new Set([undefined]));
    const pod = buildPod({ restartPolicy: 'Always' }, { generation: 7 });
    assert.deepEqual(generations(statusOf({ pod, containers: [app()] })), new Set([7]));
  });

  test('reason and message stay as long as the phase (L-456)', () => {
    const memory = before({ phase: 'Running', reason: 'r', message: 'm' });
    assert.equal(statusOf({ containers: [app()], memory }).reason, 'r');
    assert.equal(statusOf({ spec: two, containers: [app()], memory }).reason, undefined);
  });
});

describe('a restart of all containers (L-177 … L-180, L-466)', () => {
  const restartPolicyRules = [{ action: 'RestartAllContainers', exitCodes: { operator: 'In', values: [42] } }];
  const source = buildContainer({ restartPolicy: 'Never', restartPolicyRules });
  const conditions = [{ type: 'AllContainersRestarting', status: 'True' }];
  const ran = (name: string, exitCode: number): ContainerStatus =>
    known(name, { containerID: `fake://${name}0`, state: { terminated: { exitCode, reason: 'Error' } } });
  const message = 'The container is removed because RestartAllContainers in place';
  const reason = 'RestartingAllContainers';

  test('what was removed waits, and says why', () => {
    const spec = { restartPolicy: 'Never', containers: [source, side] };
    const memory = before({ phase: 'Running', conditions, containerStatuses: [ran('app', 42), ran('side', 0)] });
    const status = statusOf({ spec, containers: [recordOf(source, exited(42))], memory });
    const removed = status.containerStatuses?.find(({ name }) => name === 'side');
    assert.deepEqual(
      [removed?.state, removed?.lastState, removed?.restartCount, removed?.started, removed?.ready],
      [{ waiting: { reason, message } }, { terminated: { exitCode: 137, reason, message } }, 1, false, false],
    );
    const later = statusOf({ spec, memory: { status } });
    assert.deepEqual(
      later.containerStatuses?.map((one) => [one.state?.waiting?.reason, one.restartCount]),
      [
        [reason, 1],
        [reason, 1],
      ],
    );
    assert.deepEqual([status.phase, later.phase], ['Running', 'Running']);
    const [first] = later.containerStatuses ?? [];
    assert.deepEqual(first?.lastState?.terminated?.exitCode, 137);
  });

  test('the first to be made again does not end a Pod of policy Never', () => {
    const spec = { restartPolicy: 'Never', containers: [source, side] };
    const gone = (name: string) =>
      known(name, {
        containerID: 'fake://x',
        restartCount: 1,
        state: { waiting: { reason, message } },
        lastState: { terminated: { exitCode: 137 } },
      });
    const memory = before({ phase: 'Running', containerStatuses: [gone('app'), gone('side')] });
    assert.equal(statusOf({ spec, containers: [recordOf(source, { attempt: 1, state: 'created' })], memory }).phase, 'Running');
    assert.equal(statusOf({ spec, containers: [recordOf(source, { attempt: 1, ...exited(0) })], memory }).phase, 'Running');
  });

  test('an init container that set it off did not fail', () => {
    const init = buildContainer({ name: 'prepare', restartPolicy: 'Never', restartPolicyRules });
    const memory = before({ phase: 'Pending', conditions, initContainerStatuses: [ran('prepare', 42)] });
    assert.equal(statusOf({ spec: { restartPolicy: 'Never', initContainers: [init] }, memory }).phase, 'Pending');
  });
});

describe('the last word on a Pod that is over (L-489)', () => {
  const work = { state: 'terminated', cause: { kind: 'deadline' } } as const;
  const reasons = (input: PlanCase): unknown => {
    const { initContainerStatuses = [], containerStatuses = [] } = statusOf({ work, ...input });
    return [...initContainerStatuses, ...containerStatuses].map(({ state }) => state?.terminated?.reason ?? 'waiting');
  };
  const rows: readonly [string, PlanCase, readonly string[]][] = [
    ['what ended keeps its end', { containers: [app(exited(3))] }, ['Error']],
    ['a record that was lost', { spec: two, containers: [app(exited(0))] }, ['Completed', 'ContainerStatusUnknown']],
    [
      'not initialised: regular containers never began',
      { spec: withInit, containers: [recordOf(prepare, exited(1))] },
      ['Error', 'waiting'],
    ],
    [
      'an init container that never began',
      { spec: { initContainers: [prepare, log] }, containers: [recordOf(prepare, exited(0))] },
      ['Completed', 'waiting', 'waiting'],
    ],
    [
      'a sidecar of unknown end',
      { spec: { initContainers: [log] }, containers: [recordOf(log, { state: 'unknown' }), app(exited(0))] },
      ['ContainerStatusUnknown', 'Completed'],
    ],
  ];
  for (const [name, input, expected] of rows) test(name, () => assert.deepEqual(reasons(input), expected));
});

describe('10.2 container statuses', () => {
  const first = (input: PlanCase = {}): ContainerStatus | undefined => statusOf(input).containerStatuses?.[0];

  test('never seen: ContainerCreating, with init containers PodInitializing (L-459)', () => {
    assert.deepEqual(first(), {
      name: 'app',
      image: 'nginx',
      imageID: '',
      ready: false,
      started: false,
      restartCount: 0,
      state: { waiting: { reason: 'ContainerCreating' } },
      lastState: {},
    });
    assert.deepEqual(first({ spec: withInit })?.state, { waiting: { reason: 'PodInitializing' } });
  });

  test('what it asks for is told of a container that was made, be it nothing (L-470)', () => {
    const resources = { requests: { cpu: '1' } };
    const asking = { spec: { containers: [buildContainer({ resources })] } };
    const told = (input: PlanCase) => [first(input)?.resources, first(input)?.allocatedResources];
    assert.deepEqual(told(asking), [undefined, undefined]);
    assert.deepEqual(told({ ...asking, containers: [app()] }), [resources, resources.requests]);
    assert.deepEqual(told({ containers: [app(exited(0))] }), [{}, undefined]);
  });

  test('running: every field (L-186, L-460, L-470, C-348)', () => {
    const user = { uid: 5, gid: 6, supplementalGroups: [7] };
    const container = buildContainer({
      resources: { requests: { cpu: '1' } },
      volumeMounts: [{ name: 'v', mountPath: '/v', readOnly: true }],
    });
    assert.deepEqual(first({ spec: { containers: [container] }, containers: [app({ attempt: 2, user, imageRef: 'repo@sha256:1' })] }), {
      name: 'app',
      image: 'nginx',
      imageID: 'repo@sha256:1',
      containerID: 'fake://app2',
      restartCount: 2,
      started: true,
      ready: true,
      state: { running: { startedAt: at(now - 100_000) } },
      lastState: {},
      resources: { requests: { cpu: '1' } },
      allocatedResources: { cpu: '1' },
      volumeMounts: [{ name: 'v', mountPath: '/v', readOnly: true, recursiveReadOnly: 'Disabled' }],
      user: { linux: user },
    });
  });

  test('exited: the words of the runtime and the termination message (L-460, L-475, L-513)', () => {
    const record = app(exited(3, { message: 'oops', reason: 'Error' }));
    assert.deepEqual(first({ containers: [record], memory: { terminationMessages: new Map([['app0', 'last words']]) } })?.state, {
      terminated: {
        exitCode: 3,
        reason: 'Error',
        message: 'oops: last words',
        startedAt: at(now - 100_000),
        finishedAt: at(now - 50_000),
        containerID: 'fake://app0',
      },
    });
  });

  test('five messages of 4096 bytes: each is cut to its share (L-476, C-345)', () => {
    const containers = ['a', 'b', 'c', 'd', 'e'].map((name) => buildContainer({ name }));
    const memory = { terminationMessages: new Map(containers.map(({ name }) => [`${name}0`, 'x'.repeat(4096)])) };
    const status = statusOf({ spec: { containers }, containers: containers.map((one) => recordOf(one, exited(1))), memory });
    for (const one of status.containerStatuses ?? []) assert.equal(one.state?.terminated?.message?.length, 2457);
  });

  test('regular containers by name, init containers in spec order (L-458)', () => {
    const status = statusOf({
      spec: { initContainers: [side, prepare], containers: [buildContainer({ name: 'z' }), buildContainer({ name: 'a' })] },
    });
    assert.deepEqual(
      status.containerStatuses?.map(({ name }) => name),
      ['a', 'z'],
    );
    assert.deepEqual(
      status.initContainerStatuses?.map(({ name }) => name),
      ['side', 'prepare'],
    );
  });

  test('the run before: its record, else what was published of it (L-461, L-462)', () => {
    const older = first({ containers: [app({ attempt: 1 }), app(exited(7))] });
    assert.equal(older?.lastState?.terminated?.exitCode, 7);
    const terminated = { exitCode: 9, reason: 'Error' };
    const state = { terminated };
    const containerStatuses = [known('app', { containerID: 'fake://app0', state })];
    assert.deepEqual(first({ containers: [app({ attempt: 1 })], memory: before({ containerStatuses }) })?.lastState, state);
    const lastState = { terminated: { exitCode: 8 } };
    const kept = [known('app', { containerID: 'fake://app1', lastState })];
    assert.deepEqual(first({ containers: [app({ attempt: 1 })], memory: before({ containerStatuses: kept }) })?.lastState, lastState);
  });

  test('a running container whose record vanished (L-463, C-341)', () => {
    const containerStatuses = [known('app', { restartCount: 2, state: { running: {} } })];
    const status = statusOf({ memory: before({ phase: 'Running', containerStatuses }) });
    assert.deepEqual(status.containerStatuses?.[0]?.lastState?.terminated, {
      exitCode: 137,
      reason: 'ContainerStatusUnknown',
      message: 'The container could not be located when the pod was deleted.  The container used to be Running',
    });
    assert.equal(status.containerStatuses?.[0]?.restartCount, 3);
    assert.notEqual(status.phase, 'Pending');
  });

  test('a terminated container whose record vanished stays as it is (L-464, C-342)', () => {
    const previous = known('app', { state: { terminated: { exitCode: 0 } } });
    assert.deepEqual(
      first({ spec: { restartPolicy: 'Never' }, memory: before({ phase: 'Succeeded', containerStatuses: [previous] }) }),
      previous,
    );
  });

  test('an init container without record, once regular ones were made (L-465, C-226)', () => {
    const status = statusOf({ spec: withInit, containers: [app()] }).initContainerStatuses?.[0];
    assert.deepEqual(status?.state?.terminated, {
      exitCode: 0,
      reason: 'Completed',
      message: 'Unable to get init container status from container runtime and pod has been initialized, treat it as exited normally',
    });
    assert.equal(status?.ready, true);
  });

  test('unknown: terminated if it ran before, else waiting (L-460)', () => {
    const record = app({ state: 'unknown' });
    assert.deepEqual(first({ containers: [record] })?.state, { waiting: { reason: 'ContainerCreating' } });
    const containerStatuses = [known('app', { containerID: 'fake://app0', restartCount: 1, state: { running: {} } })];
    const status = first({ containers: [record], memory: before({ containerStatuses }) });
    assert.equal(status?.state?.terminated?.reason, 'ContainerStatusUnknown');
    assert.equal(status?.restartCount, 2);
  });

  test('one that ended and may not run again stays ended, whatever the runtime says of it later (L-472)', () => {
    const state = { terminated: { exitCode: 1, reason: 'Error' } };
    const containerStatuses = [known('app', { containerID: 'fake://app0', restartCount: 1, state })];
    const memory = before({ phase: 'Running', containerStatuses });
    const spec = { restartPolicy: 'Never' as const, ...two };
    const status = first({ spec, containers: [app({ state: 'unknown' }), recordOf(side)], memory });
    assert.deepEqual(status?.state, state);
    assert.equal(status?.restartCount, 1);
  });

  test('why it waits: the end moves to lastState (L-467, L-468)', () => {
    const waiting = new Map([['app', { reason: 'CreateContainerConfigError', message: 'no such key' }]]);
    const status = first({ containers: [app(exited(1))], memory: { waiting } });
    assert.deepEqual(status?.state, { waiting: { reason: 'CreateContainerConfigError', message: 'no such key' } });
    assert.equal(status?.lastState?.terminated?.exitCode, 1);
  });

  test('a container that is not to run again does not wait (L-467)', () => {
    const waiting = new Map([['app', { reason: 'ErrImagePull', message: '' }]]);
    const status = first({
      spec: { restartPolicy: 'OnFailure', ...two },
      containers: [app(exited(0)), recordOf(side)],
      memory: { waiting },
    });
    assert.equal(status?.state?.terminated?.exitCode, 0);
    const init = statusOf({
      spec: withInit,
      containers: [recordOf(prepare, exited(0)), app()],
      memory: { waiting: new Map([['prepare', { reason: 'ErrImagePull', message: '' }]]) },
    }).initContainerStatuses?.[0];
    assert.equal(init?.state?.terminated?.exitCode, 0);
  });

  test('back-off: CrashLoopBackOff (L-170, C-306)', () => {
    const record = app(exited(1, { finishedAt: now, annotations: { [criKeys.backoffMs]: '80000' } }));
    const status = statusOf({ containers: [record] });
    assert.deepEqual(status.containerStatuses?.[0]?.state?.waiting, {
      reason: 'CrashLoopBackOff',
      message: 'back-off 1m20s restarting failed container=app pod=web-node1_default(uid-1)',
    });
    assert.equal(status.phase, 'Running');
  });

  test('the restart count never falls (L-176, L-462)', () => {
    const containerStatuses = [known('app', { containerID: 'fake://other', restartCount: 5 })];
    assert.equal(first({ containers: [app({ attempt: 1 })], memory: before({ containerStatuses }) })?.restartCount, 5);
  });
});

describe('8.3 started and ready', () => {
  const exec = { exec: { command: ['/ok'] } };
  const states = (change: object, results: object | undefined, memory: Partial<PodMemory> = {}): readonly unknown[] => {
    const probes = { byContainerId: new Map(results === undefined ? [] : [['app0', results]]), workers: new Map() };
    const status = statusOf({ spec: { containers: [buildContainer(change)] }, containers: [app()], probes, memory }).containerStatuses?.[0];
    return [status?.started, status?.ready];
  };
  const rows: readonly [string, object, object | undefined, readonly boolean[]][] = [
    ['no probes', {}, undefined, [true, true]],
    ['startup pending (L-420, C-322)', { startupProbe: exec }, undefined, [false, false]],
    ['startup undecided', { startupProbe: exec }, { startup: 'unknown' }, [false, false]],
    ['startup succeeded (L-420)', { startupProbe: exec }, { startup: 'success' }, [true, true]],
    ['readiness pending (L-421, C-319)', { readinessProbe: exec }, undefined, [true, false]],
    ['readiness succeeded', { readinessProbe: exec }, { readiness: 'success' }, [true, true]],
    ['readiness failed', { readinessProbe: exec }, { readiness: 'failure' }, [true, false]],
    ['ready, but not started', { startupProbe: exec, readinessProbe: exec }, { readiness: 'success' }, [false, false]],
  ];
  for (const [name, change, results, expected] of rows) test(name, () => assert.deepEqual(states(change, results), expected));

  test('started before stays started (L-420)', () => {
    const containerStatuses = [known('app', { containerID: 'fake://app0', started: true })];
    assert.deepEqual(states({ startupProbe: exec }, undefined, before({ containerStatuses })), [true, true]);
  });

  test('an ordinary init container is ready when it ended with 0 (L-422)', () => {
    const ready = (record: ObservedContainer) => statusOf({ spec: withInit, containers: [record] }).initContainerStatuses?.[0]?.ready;
    assert.deepEqual(
      [ready(recordOf(prepare)), ready(recordOf(prepare, exited(1))), ready(recordOf(prepare, exited(0)))],
      [false, false, true],
    );
  });
});

describe('10.4 conditions', () => {
  const shown = (input: PlanCase): readonly string[] =>
    (statusOf(input).conditions ?? []).map(({ type, status, reason, message }) =>
      [type, status, reason, message].filter((word) => word !== undefined).join(' '),
    );
  const unready = 'False ContainersNotReady containers with unready status:';

  test('all is well: in the order of L-477', () => {
    assert.deepEqual(shown({ containers: [app()] }), [
      'PodReadyToStartContainers True',
      'Initialized True',
      'Ready True',
      'ContainersReady True',
      'PodScheduled True',
    ]);
  });

  test('no sandbox, with and without init containers (L-478, L-479, C-335)', () => {
    assert.deepEqual(shown({ sandboxes: [] }), [
      'PodReadyToStartContainers False',
      'Initialized True',
      `Ready ${unready} [app]`,
      `ContainersReady ${unready} [app]`,
      'PodScheduled True',
    ]);
    assert.equal(
      shown({ sandboxes: [], spec: { initContainers: [prepare, log] } })[1],
      'Initialized False ContainersNotInitialized containers with incomplete status: [prepare log]',
    );
  });

  test('the sandbox is there, the image is not (L-478, C-316)', () => {
    assert.equal(shown({ memory: { images: new Map() } })[0], 'PodReadyToStartContainers True');
  });

  test('Initialized: done inits, started sidecars; once true it stays (L-479)', () => {
    const spec = { initContainers: [prepare, log] };
    assert.equal(
      shown({ spec, containers: [recordOf(prepare, exited(0))] })[1],
      'Initialized False ContainersNotInitialized containers with incomplete status: [log]',
    );
    assert.equal(shown({ spec, containers: [recordOf(prepare, exited(0)), recordOf(log)] })[1], 'Initialized True');
    const conditions = [{ type: 'Initialized', status: 'True', lastTransitionTime: at(0) }];
    assert.equal(shown({ spec, memory: before({ conditions }) })[1], 'Initialized True');
  });

  test('succeeded and failed Pods (L-479, L-480)', () => {
    const once = { restartPolicy: 'Never' as const };
    assert.deepEqual(shown({ spec: { ...once, ...withInit }, containers: [recordOf(prepare, exited(0)), app(exited(0))] }).slice(1, 4), [
      'Initialized True PodCompleted',
      'Ready False PodCompleted',
      'ContainersReady False PodCompleted',
    ]);
    assert.deepEqual(shown({ spec: once, containers: [app(exited(1))] }).slice(2, 4), [
      'Ready False PodFailed',
      'ContainersReady False PodFailed',
    ]);
    assert.equal(shown({ spec: once, containers: [app(exited(0))] })[1], 'Initialized True PodCompleted');
  });

  test('sidecars count, ordinary init containers do not (L-480)', () => {
    const spec = { initContainers: [log, prepare] };
    assert.equal(
      shown({ spec, containers: [app(), recordOf(prepare, exited(0)), recordOf(log, exited(1))] })[3],
      `ContainersReady ${unready} [log]`,
    );
  });

  test('readiness gates (L-481, S-339, C-101, C-349)', () => {
    const spec = { readinessGates: [{ conditionType: 'a/b' }] };
    assert.equal(
      shown({ spec, containers: [app()] })[2],
      'Ready False ReadinessGatesNotReady corresponding condition of pod readiness gate "a/b" does not exist.',
    );
  });

  test('AllContainersRestarting only with such a rule (L-178)', () => {
    const restartPolicyRules = [{ action: 'RestartAllContainers', exitCodes: { operator: 'In', values: [42] } }];
    const spec = { restartPolicy: 'Never' as const, containers: [buildContainer({ restartPolicy: 'Never', restartPolicyRules }), side] };
    assert.equal(shown({ spec, containers: [app(), recordOf(side)] }).at(-1), 'AllContainersRestarting False');
    assert.equal(
      shown({ spec, containers: [app(exited(42)), recordOf(side)] }).at(-1),
      'AllContainersRestarting True RestartAllContainersStarted container exited with restart policy rule',
    );
  });

  test('the time changes with the status only (L-483)', () => {
    const conditions = [
      { type: 'Ready', status: 'True', lastTransitionTime: 'earlier' },
      { type: 'ContainersReady', status: 'False', lastTransitionTime: 'earlier' },
    ];
    const made = statusOf({ containers: [app()], memory: before({ conditions }) }).conditions ?? [];
    assert.equal(made.find(({ type }) => type === 'Ready')?.lastTransitionTime, 'earlier');
    assert.equal(made.find(({ type }) => type === 'ContainersReady')?.lastTransitionTime, at(now));
  });
});

describe('10.5 addresses, start time, class', () => {
  const ips = (input: PlanCase): unknown => statusOf(input).podIPs?.map(({ ip }) => ip);

  test('the family of the node first (L-485, C-346)', () => {
    const sandboxes = [observedSandbox({ ips: ['fd00::1', '10.0.0.1', '10.0.0.2'] })];
    assert.deepEqual(ips({ sandboxes }), ['10.0.0.1', 'fd00::1']);
    assert.deepEqual(ips({ sandboxes, options: { hostIps: ['fd00::7'] } }), ['fd00::1', '10.0.0.1']);
  });

  test('those of a stopped sandbox are remembered (L-063, L-095, C-310)', () => {
    assert.deepEqual(ips({ sandboxes: [observedSandbox({ state: 'notReady', ips: [] })], memory: { podIps: ['10.0.0.9'] } }), ['10.0.0.9']);
  });

  test("a host-network Pod has the node's (differs from L-486)", () => {
    const status = statusOf({ spec: { hostNetwork: true }, sandboxes: [observedSandbox({ hostNetwork: true, ips: [] })] });
    assert.deepEqual([status.podIP, status.hostIP, status.hostIPs], ['192.0.2.7', '192.0.2.7', [{ ip: '192.0.2.7' }]]);
  });

  test('times are whole seconds (L-484)', () => {
    const status = statusOf({ memory: { startTime: now + 1.9 }, now: now + 999.9, containers: [app({ startedAt: now - 0.5 })] });
    const times = [
      status.startTime,
      status.containerStatuses?.[0]?.state?.running?.startedAt,
      ...(status.conditions ?? []).map((condition) => condition.lastTransitionTime),
    ];
    for (const time of times) assert.match(time ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    assert.deepEqual([...new Set(times)].sort(), [at(now - 1), at(now)]);
  });

  test('start time and class (L-487, L-488)', () => {
    const status = statusOf();
    assert.equal(status.startTime, at(now - 200_000));
    assert.equal(status.qosClass, 'BestEffort');
  });
});

test('what the Pod asks for as a whole is in its status (L-490)', () => {
  const resources = { requests: { cpu: '1', memory: '64Mi' }, limits: { memory: '128Mi' } };
  const asking = statusOf({ spec: { containers: [buildContainer({ resources }), buildContainer({ name: 'b', resources })] } });
  assert.deepEqual(asking.resources, { requests: { cpu: '2', memory: '128Mi' }, limits: { memory: '256Mi' } });
  assert.deepEqual(asking.allocatedResources, { cpu: '2', memory: '128Mi' });
  const modest = statusOf();
  assert.deepEqual([modest.resources, modest.allocatedResources], [{}, undefined]);
});
