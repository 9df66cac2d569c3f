import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { actions, app, exited, now, plan, recordOf } from '../../test/support/plans.ts';
import { buildContainer, buildPod } from '../../test/support/pods.ts';
import type { Container, ResourceRequirements } from '../api/gen/kubernetes.ts';
import { criKeys, type ObservedContainer, type ObservedResources } from './observation.ts';
import { actualResources, allocate, changedResources, needsRestart } from './resize.ts';

const small: ResourceRequirements = { requests: { cpu: '100m', memory: '32Mi' }, limits: { cpu: '200m', memory: '64Mi' } };
const large: ResourceRequirements = { requests: { cpu: '200m', memory: '32Mi' }, limits: { cpu: '400m', memory: '64Mi' } };
const of = (resources: ResourceRequirements, change: Partial<Container> = {}): Container => buildContainer({ resources, ...change });
const given = (resources: ResourceRequirements, change: Partial<ObservedContainer> = {}): ObservedContainer =>
  app({ ...change, annotations: { [criKeys.resources]: JSON.stringify(resources) } });

test('what changed counts by amount, not by how it is written', () => {
  assert.deepEqual(changedResources(small, large), ['cpu']);
  assert.deepEqual(changedResources({ limits: { cpu: '1', memory: '1Gi' } }, { limits: { cpu: '1000m', memory: '1024Mi' } }), []);
  assert.deepEqual(changedResources(undefined, small), ['cpu', 'memory']);
  assert.deepEqual(changedResources({ limits: { 'example.com/gpu': '1' } }, {}), []);
});

test('resizePolicy (L-519)', () => {
  const container = of(small, { resizePolicy: [{ resourceName: 'memory', restartPolicy: 'RestartContainer' }] });
  assert.deepEqual([needsRestart(container, ['cpu']), needsRestart(container, ['cpu', 'memory'])], [false, true]);
});

describe('the plan', () => {
  const from = JSON.stringify(small);
  const to = JSON.stringify(large);
  const spec = { containers: [of(large)] };

  test('a running container is changed in place (L-518)', () => {
    const made = plan({ spec, containers: [given(small)] });
    assert.deepEqual(actions({ spec, containers: [given(small)] }), [`ResizeContainers app0 ${from} → ${to}`]);
    assert.deepEqual(
      made.notes.map(({ reason, message }) => `${reason}: ${message}`),
      [`ResizeStarted: Pod resize started: {"containers":[{"name":"app","resources":${to}}],"generation":0}`],
    );
    assert.deepEqual(made.status.conditions?.[0], {
      type: 'PodResizeInProgress',
      status: 'True',
      lastTransitionTime: '1970-01-01T00:16:40Z',
    });
  });

  test('it has been (L-518)', () => {
    const memory = { resized: new Map([['app0', large]]) };
    assert.deepEqual(actions({ spec, containers: [given(small)], memory }), []);
    assert.equal(plan({ spec, containers: [given(small)], memory }).status.conditions?.[0]?.type, 'PodReadyToStartContainers');
  });

  test('one without our annotation is left alone (differs from L-521)', () => {
    assert.deepEqual(actions({ spec, containers: [app()] }), []);
  });

  test('one resize at a time', () => {
    assert.deepEqual(actions({ spec, containers: [given(small)], underWay: ['ResizeContainers/app0/other'] }), []);
  });

  test('a change that wants a restart: killed, and made anew with what it is to have (L-519)', () => {
    const container = of(large, { resizePolicy: [{ resourceName: 'cpu', restartPolicy: 'RestartContainer' }] });
    assert.deepEqual(actions({ spec: { containers: [container] }, containers: [given(small)] }), [
      'StopContainer app0 30 of 30 s: Container app resize requires restart',
    ]);
  });

  test('the Pod as a whole is to have other resources: so it is, and what runs in it (L-518, L-249)', () => {
    const pod = { containers: [of(small)], resources: large };
    const memory = { podGiven: small };
    assert.deepEqual(actions({ spec: pod, containers: [given(small)], memory }), [`ResizeContainers of ${to}: app0 ${from} → ${from}`]);
    const made = plan({ spec: pod, containers: [given(small)], memory });
    assert.deepEqual([made.status.conditions?.[0]?.type, made.status.resources], ['PodResizeInProgress', small]);
    assert.deepEqual(actions({ spec: pod, containers: [given(small)], memory: { podGiven: large } }), []);
    assert.deepEqual(actions({ spec: pod, containers: [given(small)] }), [], 'nobody knows what it has');
  });

  test('made anew with other resources: the Pod makes room first (L-519)', () => {
    const before = given(small, exited(0));
    assert.match(actions({ spec, containers: [before] })[0] ?? '', /^CreateContainer app\/1 .*, resizing the Pod$/);
    assert.match(actions({ spec: { containers: [of(small)] }, containers: [before] })[0] ?? '', /^CreateContainer app\/1 .* ms$/);
    const whole = { spec: { containers: [of(small)], resources: large }, memory: { podGiven: small }, containers: [before] };
    assert.match(actions(whole).join('\n'), /^CreateContainer app\/1 .*, resizing the Pod$/m);
  });

  test('a failure is told (L-522)', () => {
    const key = `ResizeContainers/app0/${JSON.stringify([large])}`;
    const memory = { failures: new Map([[key, { count: 1, retryAt: now + 1000, message: 'too much in use' }]]) };
    const made = plan({ spec, containers: [given(small)], memory });
    assert.deepEqual(made.actions, []);
    assert.equal(made.wakeAt, now + 1000);
    const [condition] = made.status.conditions ?? [];
    assert.deepEqual([condition?.type, condition?.reason, condition?.message], ['PodResizeInProgress', 'Error', 'too much in use']);
  });

  test('what waits for room, says so (L-517)', () => {
    const memory = { resizePending: { reason: 'Deferred', message: 'no room' } } as const;
    const made = plan({ containers: [app()], memory });
    const [condition] = made.status.conditions ?? [];
    assert.deepEqual([condition?.type, condition?.reason, condition?.message], ['PodResizePending', 'Deferred', 'no room']);
    assert.deepEqual(
      made.notes.map(({ reason, message }) => `${reason}: ${message}`),
      ['ResizeDeferred: Pod resize Deferred: no room'],
    );
  });

  test('other resources begin the crash back-off anew (L-165)', () => {
    const crashed = (resources: ResourceRequirements): ObservedContainer =>
      recordOf(of(resources), {
        ...exited(1, { attempt: 3, finishedAt: now - 1000 }),
        annotations: { [criKeys.backoffMs]: '40000', [criKeys.resources]: JSON.stringify(resources) },
      });
    assert.deepEqual(actions({ spec, containers: [crashed(large)] }), []);
    assert.match(actions({ spec, containers: [crashed(small)] })[0] ?? '', /^CreateContainer app\/4 .* after 10000 ms, resizing the Pod$/);
  });
});

describe('what of an edited manifest is given (L-517)', () => {
  const pod = (resources: ResourceRequirements, image = 'nginx') => buildPod({ containers: [of(resources, { image })] });
  const no = { reason: 'Deferred', message: 'no room' } as const;

  test('all of it', () => {
    const desired = pod(large, 'other');
    assert.deepEqual(
      allocate(pod(small), desired, () => undefined),
      { pod: desired, pending: undefined },
    );
    assert.deepEqual(
      allocate(pod(small), pod(small, 'other'), () => no),
      { pod: pod(small, 'other'), pending: undefined },
    );
  });

  test('everything but the resources', () => {
    assert.deepEqual(
      allocate(pod(small), pod(large, 'other'), () => no),
      { pod: pod(small, 'other'), pending: no },
    );
  });

  test('those of the Pod as a whole', () => {
    const whole = (cpu: string) => buildPod({ containers: [buildContainer()], resources: { requests: { cpu } } });
    assert.deepEqual(
      allocate(whole('1'), whole('2'), () => undefined),
      { pod: whole('2'), pending: undefined },
    );
    assert.deepEqual(
      allocate(whole('1'), whole('2'), () => no),
      { pod: whole('1'), pending: no },
    );
  });
});

describe('what a running container has (L-471)', () => {
  const report = (change: Partial<ObservedResources>): ObservedContainer =>
    app({ resources: { cpuShares: 102, cpuQuota: 20_000, cpuPeriod: 100_000, memoryLimitBytes: 64 * 2 ** 20, ...change } });
  const rows: readonly [string, ObservedContainer, ResourceRequirements, ResourceRequirements][] = [
    ['as given', report({}), small, small],
    ['no report', app(), small, small],
    [
      'other values',
      report({ cpuShares: 512, cpuQuota: 50_000, memoryLimitBytes: 1024 }),
      small,
      { requests: { cpu: '500m', memory: '32Mi' }, limits: { cpu: '500m', memory: '1024' } },
    ],
    [
      'the least the kernel knows',
      report({ cpuShares: 2, cpuQuota: 1000 }),
      { requests: { cpu: '1m' }, limits: { cpu: '5m' } },
      { requests: { cpu: '1m' }, limits: { cpu: '5m' } },
    ],
    ['nothing is added', report({}), { limits: { memory: '64Mi' } }, { limits: { memory: '64Mi' } }],
  ];
  for (const [name, record, resources, expected] of rows) {
    test(name, () => assert.deepEqual(actualResources(record, resources), expected));
  }
});
