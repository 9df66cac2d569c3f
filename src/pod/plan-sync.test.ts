// What is done for a Pod that should run: exact actions, one row per rule (spec 02, sections 3.1 … 3.9, 8.3, 9.2).
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { actions, app, exited, now, type PlanCase, plan, recordOf } from '../../test/support/plans.ts';
import { buildContainer, observedSandbox } from '../../test/support/pods.ts';
import type { PodSpec } from '../api/gen/kubernetes.ts';
import { criKeys } from './observation.ts';
import type { ContainerProbeResults, ProbeResults } from './probe-results.ts';

interface Row extends PlanCase {
  readonly name: string;
  readonly actions: readonly string[];
  /** Reasons of the notes. */
  readonly notes?: readonly string[];
  readonly wakeAt?: number;
  /** The work state after, and the cause when the Pod is to end. */
  readonly becomes?: string;
}

function table(title: string, rows: readonly Row[]): void {
  describe(title, () => {
    for (const row of rows) {
      test(row.name, () => {
        assert.deepEqual(actions(row), row.actions);
        const made = plan(row);
        assert.deepEqual(
          made.notes.map(({ reason }) => reason),
          row.notes ?? [],
        );
        assert.equal(made.wakeAt, row.wakeAt);
        const { work } = made;
        assert.equal('cause' in work ? `${work.state} ${work.cause.kind}` : work.state, row.becomes ?? 'sync');
      });
    }
  });
}

const ready = observedSandbox();
const dead = observedSandbox({ state: 'notReady', ips: [] });
const create = (name: string, attempt = 0, backoff = 'no'): string =>
  `CreateContainer ${name}/${attempt} in s1/0 [10.0.0.1] sha256:1 after ${backoff} ms`;
const changedSandbox = ['SandboxChanged'];
const two = { containers: [buildContainer(), buildContainer({ name: 'side' })] };
const side = buildContainer({ name: 'side' });

table('3.1 whether a sandbox is needed', [
  { name: 'none: create attempt 0 (L-118, C-239)', sandboxes: [], actions: ['RunPodSandbox 0'] },
  {
    name: 'two are ready: end everything first (L-119, L-124, C-245)',
    sandboxes: [observedSandbox({ id: 's2', attempt: 1 }), ready],
    containers: [app()],
    notes: changedSandbox,
    actions: ['StopContainer app0 30 of 30 s: Stopping container app'],
  },
  {
    name: 'two are ready and nothing runs: both are stopped (L-119)',
    sandboxes: [observedSandbox({ id: 's2', attempt: 1 }), ready],
    notes: changedSandbox,
    actions: ['StopPodSandbox s2', 'StopPodSandbox s1'],
  },
  {
    name: 'then the attempt after the newest is made (L-119, C-245)',
    sandboxes: [observedSandbox({ id: 's2', attempt: 1 }), ready],
    memory: { stoppedSandboxes: new Set(['s1', 's2']) },
    notes: changedSandbox,
    actions: ['RunPodSandbox 2'],
  },
  {
    name: 'the newest is not ready: its containers are stopped (L-120, L-124)',
    sandboxes: [dead],
    containers: [app()],
    notes: changedSandbox,
    actions: ['StopContainer app0 30 of 30 s: Stopping container app'],
  },
  {
    name: 'one that cannot be stopped ends with it (L-124, L-274)',
    sandboxes: [dead],
    containers: [app()],
    memory: { failures: new Map([['StopContainer/app0/30', { count: 3, retryAt: now + 500, message: 'no' }]]) },
    notes: changedSandbox,
    wakeAt: now + 500,
    actions: ['StopPodSandbox s1'],
  },
  {
    name: 'then the sandbox itself',
    sandboxes: [dead],
    containers: [app(exited(137))],
    notes: changedSandbox,
    actions: ['StopPodSandbox s1'],
  },
  {
    name: 'then attempt + 1 is made (L-120, L-125, C-240)',
    sandboxes: [dead],
    containers: [app(exited(137))],
    memory: { stoppedSandboxes: new Set(['s1']) },
    notes: changedSandbox,
    actions: ['RunPodSandbox 1'],
  },
  {
    name: 'one that could not be made is tried again under the same number (L-201, C-248)',
    sandboxes: [],
    memory: { failures: new Map([['RunPodSandbox/0', { count: 3, retryAt: now, message: 'no' }]]) },
    actions: ['RunPodSandbox 0'],
  },
  {
    name: 'the network mode differs: no event (L-121, L-125, C-247)',
    spec: { hostNetwork: true },
    memory: { stoppedSandboxes: new Set(['s1']) },
    actions: ['RunPodSandbox 1'],
  },
  {
    name: 'the sandbox lost its address (L-122, L-125, C-246)',
    sandboxes: [observedSandbox({ ips: [], lostNetwork: true })],
    memory: { stoppedSandboxes: new Set(['s1']) },
    notes: changedSandbox,
    actions: ['RunPodSandbox 1'],
  },
  {
    name: 'a host-network sandbox has no address of its own (L-122)',
    spec: { hostNetwork: true },
    sandboxes: [observedSandbox({ hostNetwork: true, ips: [], lostNetwork: true })],
    containers: [app()],
    actions: [],
  },
  {
    name: 'the runtime did not say what the network is: it stays (L-123)',
    spec: { hostNetwork: true },
    sandboxes: [observedSandbox({ hostNetwork: undefined })],
    containers: [app()],
    actions: [],
  },
  {
    name: 'labels and annotations do not matter (L-123)',
    sandboxes: [observedSandbox({ labels: { a: 'old' }, annotations: { a: 'old' } })],
    containers: [app()],
    actions: [],
  },
  {
    name: 'while it is being made nothing else is begun, whatever is seen of it',
    sandboxes: [dead],
    underWay: ['RunPodSandbox/0'],
    notes: changedSandbox,
    actions: [],
  },
]);

table('3.2 when a sandbox is not made again', [
  {
    name: 'Never, a later attempt, records: the Pod ends (L-126, C-243)',
    spec: { restartPolicy: 'Never', ...two },
    sandboxes: [dead],
    containers: [app(exited(0)), recordOf(side)],
    actions: ['StopContainer side0 30 of 30 s: Stopping container side'],
    becomes: 'terminating completed',
  },
  {
    name: 'Never, no sandbox at all: that is the first attempt',
    spec: { restartPolicy: 'Never', ...two },
    sandboxes: [],
    containers: [app(exited(0)), recordOf(side)],
    actions: ['StopContainer side0 30 of 30 s: Stopping container side'],
  },
  {
    name: 'Never, no container was ever made: it is tried again (L-127, C-244)',
    spec: { restartPolicy: 'Never' },
    sandboxes: [dead],
    memory: { stoppedSandboxes: new Set(['s1']) },
    notes: changedSandbox,
    actions: ['RunPodSandbox 1'],
  },
  {
    name: 'OnFailure, one done and one failed: only the image of the failed one is fetched (L-128, C-241)',
    spec: { restartPolicy: 'OnFailure', ...two },
    sandboxes: [dead],
    containers: [app(exited(0)), recordOf(side, exited(1))],
    memory: { stoppedSandboxes: new Set(['s1']), images: new Map() },
    notes: changedSandbox,
    actions: ['PullImage side for sandbox 1', 'RunPodSandbox 1'],
  },
  {
    name: 'OnFailure, all done: the Pod is complete (L-129, C-242)',
    spec: { restartPolicy: 'OnFailure' },
    sandboxes: [dead],
    containers: [app(exited(0))],
    actions: ['StopPodSandbox s1'],
    becomes: 'terminating completed',
  },
  {
    name: 'initialisation starts from scratch: old init records go, their log numbers stay (L-130)',
    spec: { initContainers: [buildContainer({ name: 'prepare' })] },
    sandboxes: [dead],
    containers: [app(exited(137)), recordOf(buildContainer({ name: 'prepare' }), exited(0))],
    memory: { stoppedSandboxes: new Set(['s1']) },
    notes: changedSandbox,
    actions: ['RemoveContainer prepare0'],
  },
]);

table('before anything is made', [
  {
    name: 'cgroup and volumes come first, images are fetched meanwhile (L-050, L-056)',
    sandboxes: [],
    memory: { cgroupReady: false, volumesReady: false, images: new Map() },
    actions: ['PullImage app for sandbox 0', 'CreatePodCgroup', 'SetUpVolumes'],
  },
  {
    name: 'volumes that failed hold up the sandbox until their next try (L-056)',
    sandboxes: [],
    memory: { volumesReady: false, failures: new Map([['SetUpVolumes', { count: 1, retryAt: now + 1_000, message: 'no' }]]) },
    wakeAt: now + 1_000,
    actions: [],
  },
  {
    name: 'the network is not ready (L-051, C-314)',
    sandboxes: [],
    options: { networkError: 'no cni' },
    notes: ['NetworkNotReady'],
    actions: [],
  },
  {
    name: 'the network is not ready: host-network Pods go on (L-051)',
    spec: { hostNetwork: true },
    sandboxes: [],
    options: { networkError: 'no cni' },
    actions: ['RunPodSandbox 0'],
  },
  {
    name: 'the network is not ready: what runs is not touched, and restarts in its sandbox (D1)',
    containers: [app(exited(1))],
    options: { networkError: 'no cni' },
    actions: [create('app', 1, '10000')],
  },
  {
    name: 'a running Pod whose manifest was edited gets its volumes anew (L-313)',
    containers: [app()],
    memory: { volumesReady: false },
    actions: ['SetUpVolumes'],
  },
]);

const rule = (action: string, operator: string, values: number[]) => [{ action, exitCodes: { operator, values } }];
const own = (change: object): Partial<PodSpec> => ({ restartPolicy: 'Never', containers: [buildContainer(change), side] });
const restarted = [create('app', 1, '10000')];

const files = { name: 'files', downwardAPI: { items: [{ path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } }] } };
const withFiles = { containers: [buildContainer({ volumeMounts: [{ name: 'files', mountPath: '/f' }] })], volumes: [files] };

table('while it runs', [
  {
    name: 'files of changing data: again after a minute (L-313)',
    spec: withFiles,
    containers: [app()],
    memory: { volumesRefreshedAt: now - 59_000 },
    wakeAt: now + 1_000,
    actions: [],
  },
  {
    name: 'the minute is over',
    spec: withFiles,
    containers: [app()],
    memory: { volumesRefreshedAt: now - 60_000 },
    actions: ['RefreshVolumes'],
  },
  { name: 'no such files', containers: [app()], memory: { volumesRefreshedAt: 0 }, actions: [] },
  {
    name: 'its cgroup is looked for after a restart of the agent (L-052)',
    containers: [app()],
    memory: { cgroupReady: false },
    actions: ['CreatePodCgroup of what runs'],
  },
  {
    name: 'it was not there: what runs outside it is ended, in order (L-052, C-374)',
    containers: [app()],
    memory: { cgroupWasLost: true },
    notes: ['SandboxChanged'],
    actions: ['StopContainer app0 30 of 30 s: Stopping container app'],
  },
  {
    name: 'then its sandbox (C-374)',
    containers: [app(exited(137))],
    memory: { cgroupWasLost: true },
    notes: ['SandboxChanged'],
    actions: ['StopPodSandbox s1'],
  },
]);

test('a Pod of policy Never does not run a second time for it (L-052)', () => {
  const input = { spec: { restartPolicy: 'Never' }, containers: [app()], memory: { cgroupWasLost: true } };
  assert.equal(plan(input).work.state, 'terminating');
});

table('3.3 restart policy', [
  { name: 'Always, exit 0 (L-132, C-251)', containers: [app(exited(0))], actions: restarted },
  { name: 'Always, exit 1 (L-132, C-251)', containers: [app(exited(1))], actions: restarted },
  {
    name: 'no policy counts as Always (L-132)',
    pod: {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'web-node1', namespace: 'default', uid: 'uid-1', annotations: {} },
      spec: { containers: [buildContainer()] },
    },
    containers: [app(exited(0))],
    actions: restarted,
  },
  {
    name: 'OnFailure, exit 0, another runs (C-251)',
    spec: { restartPolicy: 'OnFailure', ...two },
    containers: [app(exited(0)), recordOf(side)],
    actions: [],
  },
  {
    name: 'OnFailure, exit 1',
    spec: { restartPolicy: 'OnFailure', ...two },
    containers: [app(exited(1)), recordOf(side)],
    actions: restarted,
  },
  {
    name: 'Never, exit 1, another runs (C-251)',
    spec: { restartPolicy: 'Never', ...two },
    containers: [app(exited(1)), recordOf(side)],
    actions: [],
  },
  {
    name: 'Never, exit 1, the last one: the Pod ends',
    spec: { restartPolicy: 'Never' },
    containers: [app(exited(1))],
    actions: ['StopPodSandbox s1'],
    becomes: 'terminating completed',
  },
  {
    name: 'the container has a policy of its own (L-132)',
    spec: own({ restartPolicy: 'OnFailure' }),
    containers: [app(exited(1)), recordOf(side)],
    actions: restarted,
  },
  {
    name: 'a rule matches: restart (L-134, C-257)',
    spec: own({ restartPolicy: 'Never', restartPolicyRules: rule('Restart', 'In', [42]) }),
    containers: [app(exited(42)), recordOf(side)],
    actions: restarted,
  },
  {
    name: 'no rule matches: the policy decides (C-257)',
    spec: own({ restartPolicy: 'Never', restartPolicyRules: rule('Restart', 'In', [42]) }),
    containers: [app(exited(1)), recordOf(side)],
    actions: [],
  },
  {
    name: 'NotIn, code listed (C-258)',
    spec: own({ restartPolicy: 'Never', restartPolicyRules: rule('Restart', 'NotIn', [0]) }),
    containers: [app(exited(0)), recordOf(side)],
    actions: [],
  },
  {
    name: 'NotIn, code not listed (C-258)',
    spec: own({ restartPolicy: 'Never', restartPolicyRules: rule('Restart', 'NotIn', [0]) }),
    containers: [app(exited(7)), recordOf(side)],
    actions: restarted,
  },
  {
    name: 'rules without a policy are not asked (L-133)',
    spec: own({ restartPolicyRules: rule('Restart', 'In', [42]) }),
    containers: [app(exited(42)), recordOf(side)],
    actions: [],
  },
  {
    name: 'a rule without exit codes never matches (L-134)',
    spec: own({ restartPolicy: 'Never', restartPolicyRules: [{ action: 'Restart' }] }),
    containers: [app(exited(1)), recordOf(side)],
    actions: [],
  },
]);

const prepare = buildContainer({ name: 'prepare' });
const second = buildContainer({ name: 'second' });
const log = buildContainer({ name: 'log', restartPolicy: 'Always' });
const withInit = { initContainers: [prepare] };
const probed = buildContainer({ ...log, startupProbe: { exec: { command: ['/up'] } } });
const withLog = { initContainers: [log, prepare] };
const results = (id: string, result: ContainerProbeResults): ProbeResults => ({
  byContainerId: new Map([[id, result]]),
  workers: new Map(),
});

table('3.4 init containers and sidecars', [
  { name: 'nothing recorded: the first (L-149)', spec: { initContainers: [prepare, second] }, actions: [create('prepare')] },
  { name: 'running: wait (L-141)', spec: withInit, containers: [recordOf(prepare)], actions: [] },
  {
    name: 'done: the next (L-141, C-262)',
    spec: { initContainers: [prepare, second] },
    containers: [recordOf(prepare, exited(0))],
    actions: [create('second')],
  },
  {
    name: 'the last is done: regular containers (L-141, L-150)',
    spec: withInit,
    containers: [recordOf(prepare, exited(0))],
    actions: [create('app')],
  },
  {
    name: 'created: started (L-140)',
    spec: withInit,
    containers: [recordOf(prepare, { state: 'created' })],
    actions: ['StartContainer prepare0'],
  },
  {
    name: 'the last recorded one decides; records before it may be gone (L-138, C-228)',
    spec: { initContainers: [prepare, second] },
    containers: [recordOf(second, exited(0))],
    actions: [create('app')],
  },
  {
    name: 'a regular container runs: initialised, whatever the records say (L-137, L-075, C-226)',
    spec: withInit,
    containers: [app()],
    actions: [],
  },
  {
    name: 'all regular ones exited: that does not count (L-137)',
    spec: withInit,
    containers: [app(exited(1))],
    actions: [create('prepare')],
  },
  {
    name: 'a regular container restarts: what was initialised stays so (L-137, C-266)',
    spec: withInit,
    containers: [recordOf(prepare, exited(0)), app(exited(1))],
    actions: restarted,
  },
  {
    name: 'the image of a regular container changed meanwhile: nothing is disturbed (L-150, C-276)',
    spec: { ...withInit, containers: [buildContainer({ image: 'other' })] },
    containers: [recordOf(prepare)],
    actions: [],
  },
  {
    name: 'of dead records of one init container the newest stays (L-152)',
    spec: withInit,
    containers: [
      app(),
      recordOf(prepare, exited(0, { attempt: 2 })),
      recordOf(prepare, exited(1, { attempt: 1 })),
      recordOf(prepare, exited(1)),
    ],
    actions: ['RemoveContainer prepare1 and logs', 'RemoveContainer prepare0 and logs'],
  },
  {
    name: 'failed under Always: again (L-142, L-143, C-265)',
    spec: withInit,
    containers: [recordOf(prepare, exited(1))],
    actions: [create('prepare', 1, '10000')],
  },
  {
    name: 'failed under Never: the Pod ends (L-143, C-263)',
    spec: { restartPolicy: 'Never', ...withInit },
    containers: [recordOf(prepare, exited(1))],
    actions: ['StopPodSandbox s1'],
    becomes: 'terminating completed',
  },
  {
    name: 'exit 0 but out of memory is a failure (L-142, L-513)',
    spec: { restartPolicy: 'Never', ...withInit },
    containers: [recordOf(prepare, exited(0, { reason: 'OOMKilled' }))],
    actions: ['StopPodSandbox s1'],
    becomes: 'terminating completed',
  },
  {
    name: 'exit 0 but out of memory is tried again under Always (L-142)',
    spec: withInit,
    containers: [recordOf(prepare, exited(0, { reason: 'OOMKilled' }))],
    actions: [create('prepare', 1, '10000')],
  },
  {
    name: 'failed under Never, with a policy of its own (L-143)',
    spec: { restartPolicy: 'Never', initContainers: [buildContainer({ ...prepare, restartPolicy: 'OnFailure' })] },
    containers: [recordOf(prepare, exited(1))],
    actions: [create('prepare', 1, '10000')],
  },
  {
    name: 'failed under Always, with the policy Never of its own: the Pod ends (L-143)',
    spec: { initContainers: [buildContainer({ ...prepare, restartPolicy: 'Never' })] },
    containers: [recordOf(prepare, exited(1))],
    actions: ['StopPodSandbox s1'],
    becomes: 'terminating completed',
  },
  {
    name: 'failed under the policy Never of its own, but a rule matches (L-135, L-143)',
    spec: { initContainers: [buildContainer({ ...prepare, restartPolicy: 'Never', restartPolicyRules: rule('Restart', 'In', [42]) })] },
    containers: [recordOf(prepare, exited(42))],
    actions: [create('prepare', 1, '10000')],
  },
  {
    name: 'unknown under the policy Never of its own: rules are not asked, the Pod ends (L-143)',
    spec: { initContainers: [buildContainer({ ...prepare, restartPolicy: 'Never', restartPolicyRules: rule('Restart', 'In', [0]) })] },
    containers: [recordOf(prepare, { state: 'unknown' })],
    actions: ['StopPodSandbox s1'],
    becomes: 'terminating completed',
  },
  {
    name: 'failed under Never before a sidecar: the sidecar never starts (C-273)',
    spec: { restartPolicy: 'Never', initContainers: [prepare, log] },
    containers: [recordOf(prepare, exited(1))],
    actions: ['StopPodSandbox s1'],
    becomes: 'terminating completed',
  },
  {
    name: 'failed under Never behind a sidecar: the sidecar is stopped (C-273)',
    spec: { restartPolicy: 'Never', ...withLog },
    containers: [recordOf(log), recordOf(prepare, exited(1))],
    actions: ['StopContainer log0 30 of 30 s: Stopping container log'],
    becomes: 'terminating completed',
  },
  {
    name: 'unknown: killed first (L-148)',
    spec: withInit,
    containers: [recordOf(prepare, { state: 'unknown' })],
    actions: ['StopContainer prepare0 30 of 30 s: Init container is in "unknown" state, try killing it before restart'],
  },
  {
    name: 'a changed image of a finished one is left alone (L-084, C-215)',
    spec: { initContainers: [buildContainer({ ...prepare, image: 'other' })] },
    containers: [recordOf(prepare, exited(0)), app()],
    actions: [],
  },
  {
    name: 'a sidecar that runs lets the next begin (L-135, L-144, C-267)',
    spec: withLog,
    containers: [recordOf(log)],
    actions: [create('prepare')],
  },
  {
    name: 'a sidecar and all behind it are done: regular containers (L-150)',
    spec: withLog,
    containers: [recordOf(log), recordOf(prepare, exited(0))],
    actions: [create('app')],
  },
  {
    name: 'a startup probe without result: wait (L-144, C-268)',
    spec: { initContainers: [probed, prepare] },
    containers: [recordOf(probed)],
    actions: [],
  },
  {
    name: 'a startup probe that succeeded (L-144, C-268)',
    spec: { initContainers: [probed, prepare] },
    containers: [recordOf(probed)],
    probes: results('log0', { startup: 'success' }),
    actions: [create('prepare')],
  },
  {
    name: 'a startup probe that failed: kill, nothing behind it (L-145, C-269)',
    spec: { initContainers: [probed, prepare] },
    containers: [recordOf(probed)],
    probes: results('log0', { startup: 'failure' }),
    actions: ['StopContainer log0 30 of 30 s: Init container log failed startup probe'],
  },
  {
    name: 'its preStop hook first (L-145, L-441, C-269)',
    spec: { initContainers: [{ ...probed, lifecycle: { preStop: { exec: { command: ['/bye'] } } } }, prepare] },
    containers: [recordOf(probed)],
    probes: results('log0', { startup: 'failure' }),
    actions: ['RunPreStop log0 30 of 30 s {"exec":{"command":["/bye"]}}: Init container log failed startup probe'],
  },
  {
    name: 'a sidecar of another image: kill (L-146, C-275)',
    spec: { initContainers: [buildContainer({ ...log, image: 'other' })] },
    containers: [recordOf(log), app()],
    actions: ['StopContainer log0 30 of 30 s: Init container log definition changed'],
  },
  {
    name: 'a sidecar that failed its liveness probe: kill it alone, no order (L-146, L-446, C-270)',
    spec: { initContainers: [log] },
    containers: [recordOf(log), app()],
    probes: results('log0', { liveness: 'failure' }),
    actions: ['StopContainer log0 30 of 30 s: Init container log failed liveness probe'],
  },
  {
    name: 'a sidecar that exited comes back under Never, too (L-147, C-271)',
    spec: { restartPolicy: 'Never', initContainers: [log] },
    containers: [recordOf(log, exited(0)), app()],
    actions: [create('log', 1, '10000')],
  },
  {
    name: 'a sidecar without record that was passed starts again (L-139, C-227)',
    spec: { initContainers: [log] },
    containers: [app()],
    actions: [create('log')],
  },
  {
    name: 'an unknown sidecar: killed first (L-148)',
    spec: { initContainers: [log] },
    containers: [recordOf(log, { state: 'unknown' }), app()],
    actions: ['StopContainer log0 30 of 30 s: Init container is in "unknown" state, try killing it before restart'],
  },
  {
    name: 'a failing init container behind a running sidecar (C-274)',
    spec: withLog,
    containers: [recordOf(log), recordOf(prepare, exited(1))],
    actions: [create('prepare', 1, '10000')],
  },
  {
    name: 'an image that cannot be had: no later container (L-151, C-272)',
    spec: { initContainers: [log] },
    memory: { images: new Map(), failures: new Map([['PullImage/log', { count: 1, retryAt: now + 5_000, message: 'no' }]]) },
    wakeAt: now + 5_000,
    actions: [],
  },
  {
    name: 'an image that cannot be had does not fail a Pod of Never (C-264)',
    spec: { restartPolicy: 'Never', ...withInit },
    memory: { images: new Map(), failures: new Map([['PullImage/prepare', { count: 1, retryAt: now + 5_000, message: 'no' }]]) },
    wakeAt: now + 5_000,
    actions: [],
  },
]);

const willRestart = ', will be restarted';
const liveness = { livenessProbe: { exec: { command: ['/ok'] }, terminationGracePeriodSeconds: 7 } };

table('3.5 regular containers', [
  { name: 'running as wanted: nothing (C-250)', containers: [app()], actions: [] },
  {
    name: 'no record: created with the address of the sandbox; the next waits for it (L-131, L-153, L-159, L-163)',
    spec: two,
    actions: [create('app')],
  },
  { name: 'the image is looked for first', memory: { images: new Map() }, actions: ['PullImage app for sandbox 0'] },
  {
    name: 'images of later containers are fetched meanwhile',
    spec: two,
    memory: { images: new Map([['app', 'sha256:1']]) },
    actions: [create('app'), 'PullImage side for sandbox 0'],
  },
  {
    name: 'one whose image cannot be had does not hold up the next (L-159)',
    spec: two,
    memory: {
      images: new Map([['side', 'sha256:1']]),
      failures: new Map([['PullImage/app', { count: 1, retryAt: now + 5_000, message: 'no' }]]),
    },
    wakeAt: now + 5_000,
    actions: [create('side')],
  },
  {
    name: 'one that cannot be created does not hold up the next (L-159)',
    spec: two,
    memory: { failures: new Map([['CreateContainer/app/0', { count: 1, retryAt: now + 5_000, message: 'no' }]]) },
    wakeAt: now + 5_000,
    actions: [create('side')],
  },
  { name: 'created: started (L-131, C-255)', containers: [app({ state: 'created' })], actions: ['StartContainer app0'] },
  {
    name: 'created from an old manifest: made anew',
    spec: { containers: [buildContainer({ image: 'other' })] },
    containers: [app({ state: 'created' })],
    actions: ['RemoveContainer app0'],
  },
  {
    name: 'created in a sandbox that is gone: made anew',
    containers: [app({ state: 'created', sandboxId: 's0' })],
    actions: ['RemoveContainer app0'],
  },
  {
    name: 'created, but the start failed: nothing for a while, and the next is not held up (L-159)',
    spec: two,
    containers: [app({ state: 'created' })],
    memory: { failures: new Map([['StartContainer/app0', { count: 1, retryAt: now + 4_000, message: 'no' }]]) },
    wakeAt: now + 4_000,
    actions: [create('side')],
  },
  {
    name: 'then it is made anew (L-131)',
    containers: [app({ state: 'created' })],
    memory: { failures: new Map([['StartContainer/app0', { count: 1, retryAt: now - 1, message: 'no' }]]) },
    actions: ['RemoveContainer app0'],
  },
  {
    name: 'unknown: killed first (L-131, L-153, C-256)',
    containers: [app({ state: 'unknown' })],
    actions: ['StopContainer app0 30 of 30 s: Container is in "unknown" state, try killing it before restart'],
  },
  {
    name: 'a kill that failed is tried again later, and nothing else is begun (L-158)',
    containers: [app({ state: 'unknown' })],
    memory: {
      kills: new Map([['app0', { since: now, gracePeriodSeconds: 30, message: 'as begun', preStopDone: false }]]),
      failures: new Map([['StopContainer/app0/30', { count: 1, retryAt: now + 1_000, message: 'no' }]]),
    },
    wakeAt: now + 1_000,
    actions: [],
  },
  {
    name: 'another image: killed, under Never too (L-084, L-154, C-252)',
    spec: { restartPolicy: 'Never', containers: [buildContainer({ image: 'other' })] },
    containers: [app()],
    actions: [`StopContainer app0 30 of 30 s: Container app definition changed${willRestart}`],
  },
  {
    name: 'a record without our annotation is left alone',
    containers: [app({ annotations: { [criKeys.hash]: undefined } as never })],
    actions: [],
  },
  {
    name: 'liveness failed: the probe has a grace of its own (L-154, L-424, C-283)',
    spec: { containers: [buildContainer(liveness)], terminationGracePeriodSeconds: 500 },
    containers: [app()],
    probes: results('app0', { liveness: 'failure' }),
    actions: [`StopContainer app0 7 of 7 s: Container app failed liveness probe${willRestart}`],
  },
  {
    name: 'liveness failed under Never: not restarted (L-136, C-253)',
    spec: { restartPolicy: 'Never' },
    containers: [app()],
    probes: results('app0', { liveness: 'failure' }),
    actions: ['StopContainer app0 30 of 30 s: Container app failed liveness probe'],
  },
  {
    name: 'liveness failed under OnFailure (L-136)',
    spec: { restartPolicy: 'OnFailure' },
    containers: [app()],
    probes: results('app0', { liveness: 'failure' }),
    actions: [`StopContainer app0 30 of 30 s: Container app failed liveness probe${willRestart}`],
  },
  {
    name: 'liveness failed: the preStop hook first, within the grace of the probe (L-441, C-282)',
    spec: { containers: [buildContainer({ ...liveness, lifecycle: { preStop: { exec: { command: ['/bye'] } } } })] },
    containers: [app()],
    probes: results('app0', { liveness: 'failure' }),
    actions: [`RunPreStop app0 7 of 7 s {"exec":{"command":["/bye"]}}: Container app failed liveness probe${willRestart}`],
  },
  {
    name: 'liveness failed, policy of its own in a Never Pod (L-136, C-254)',
    spec: { restartPolicy: 'Never', containers: [buildContainer({ restartPolicy: 'Always' })] },
    containers: [app()],
    probes: results('app0', { liveness: 'failure' }),
    actions: [`StopContainer app0 30 of 30 s: Container app failed liveness probe${willRestart}`],
  },
  {
    name: 'startup failed (L-154)',
    containers: [app()],
    probes: results('app0', { startup: 'failure' }),
    actions: [`StopContainer app0 30 of 30 s: Container app failed startup probe${willRestart}`],
  },
  {
    name: 'the definition is looked at before probes, liveness before startup (L-154)',
    spec: { containers: [buildContainer({ image: 'other' })] },
    containers: [app()],
    probes: results('app0', { liveness: 'failure', startup: 'failure' }),
    actions: [`StopContainer app0 30 of 30 s: Container app definition changed${willRestart}`],
  },
  { name: 'readiness never kills (L-423)', containers: [app()], probes: results('app0', { readiness: 'failure' }), actions: [] },
  {
    name: 'a kill that was begun goes on though the probe is well again (L-035)',
    containers: [app()],
    memory: { kills: new Map([['app0', { since: now - 10_000, gracePeriodSeconds: 30, message: 'as begun', preStopDone: false }]]) },
    actions: ['StopContainer app0 20 of 30 s: as begun'],
  },
  {
    name: 'all regular ones are done: sidecars end, and are not restarted (L-156, C-261)',
    spec: { restartPolicy: 'Never', initContainers: [log] },
    containers: [recordOf(log), app(exited(0))],
    actions: ['StopContainer log0 30 of 30 s: Stopping container log'],
    becomes: 'terminating completed',
  },
  {
    name: 'one that left the manifest is stopped (differs from L-081)',
    containers: [app(), recordOf(side)],
    actions: ['StopContainer side0 30 of 30 s: Container side is no longer in the manifest'],
  },
  {
    name: 'of dead ones the newest stays (L-384)',
    containers: [app({ attempt: 3 }), app(exited(1, { attempt: 2 })), app(exited(1, { attempt: 1 })), app(exited(1))],
    actions: ['RemoveContainer app1 and logs', 'RemoveContainer app0 and logs'],
  },
  {
    name: 'an old sandbox without containers goes (L-386)',
    sandboxes: [observedSandbox({ id: 's2', attempt: 1 }), dead],
    containers: [app({ sandboxId: 's2' })],
    memory: { stoppedSandboxes: new Set(['s1']) },
    actions: ['RemovePodSandbox s1'],
  },
]);

const backedOff = (backoffMs: number, change: object = {}) =>
  app(
    exited(1, {
      attempt: 4,
      createdAt: now - 60_000,
      finishedAt: now - 5_000,
      annotations: { [criKeys.backoffMs]: String(backoffMs) },
      ...change,
    }),
  );

table('3.7 crash-loop back-off, 3.8 restart count', [
  {
    name: 'the first restart is at once and begins the sequence (L-168, L-169)',
    containers: [app(exited(1, { finishedAt: now }))],
    actions: [create('app', 1, '10000')],
  },
  {
    name: 'in back-off: wait until its end (L-167, L-170)',
    containers: [backedOff(10_000)],
    notes: ['BackOff'],
    wakeAt: now + 5_000,
    actions: [],
  },
  {
    name: 'after it: start, the delay doubles (L-168)',
    containers: [backedOff(10_000, { finishedAt: now - 10_000 })],
    actions: [create('app', 5, '20000')],
  },
  {
    name: 'the delay has an upper limit (L-169)',
    containers: [backedOff(300_000, { finishedAt: now - 300_000, createdAt: now - 310_000 })],
    actions: [create('app', 5, '300000')],
  },
  {
    name: 'a lower limit cuts delays already recorded (L-171, C-300)',
    containers: [backedOff(300_000, { finishedAt: now - 30_000 })],
    options: { backoff: { initialMs: 10_000, maxMs: 30_000, resetMs: 600_000 } },
    actions: [create('app', 5, '30000')],
  },
  {
    name: 'a limit below the first delay lowers that, too (L-171, C-302)',
    containers: [app(exited(1))],
    options: { backoff: { initialMs: 10_000, maxMs: 1_000, resetMs: 600_000 } },
    actions: [create('app', 1, '1000')],
  },
  {
    name: 'a long run starts the sequence anew (L-167, C-303)',
    containers: [backedOff(300_000, { createdAt: now - 665_000, finishedAt: now - 1 })],
    actions: [create('app', 5, '10000')],
  },
  {
    name: 'a run of nine minutes does not (C-304)',
    containers: [backedOff(300_000, { createdAt: now - 540_000, finishedAt: now })],
    notes: ['BackOff'],
    wakeAt: now + 300_000,
    actions: [],
  },
  {
    name: 'another image: at once (L-165, C-305)',
    spec: { containers: [buildContainer({ image: 'other' })] },
    containers: [backedOff(160_000)],
    actions: [create('app', 5, '10000')],
  },
  {
    name: 'another image after the kill for a probe: at once (L-165, C-277)',
    spec: { containers: [buildContainer({ image: 'other' })] },
    containers: [backedOff(160_000), app(exited(1, { attempt: 3, finishedAt: now - 30_000 }))],
    memory: { kills: new Map([['app4', { since: now - 9_000, gracePeriodSeconds: 30, message: '', preStopDone: false }]]) },
    actions: [create('app', 5, '10000')],
  },
  {
    name: 'killed when the delay after the run before was over: at once (L-173)',
    containers: [backedOff(40_000, { finishedAt: now }), app(exited(1, { attempt: 3, finishedAt: now - 40_000 }))],
    memory: { kills: new Map([['app4', { since: now, gracePeriodSeconds: 30, message: '', preStopDone: false }]]) },
    actions: [create('app', 5, '80000')],
  },
  {
    name: 'killed before that: its own end counts (L-173)',
    containers: [backedOff(40_000, { finishedAt: now - 1_000 }), app(exited(1, { attempt: 3, finishedAt: now - 39_000 }))],
    memory: { kills: new Map([['app4', { since: now, gracePeriodSeconds: 30, message: '', preStopDone: false }]]) },
    notes: ['BackOff'],
    wakeAt: now + 39_000,
    actions: [],
  },
  {
    name: 'after a kill without a run before there is no delay, and none is begun (L-173)',
    containers: [app(exited(1, { finishedAt: now }))],
    memory: { kills: new Map([['app0', { since: now, gracePeriodSeconds: 30, message: '', preStopDone: false }]]) },
    actions: [create('app', 1)],
  },
  {
    name: 'ended for its hook it has failed to start: the back-off begins (L-432)',
    containers: [app(exited(137, { finishedAt: now }))],
    memory: {
      kills: new Map([['app0', { since: now, gracePeriodSeconds: 30, message: '', preStopDone: false }]]),
      postStart: new Map([['app0', 'failed']]),
    },
    actions: [create('app', 1, '10000')],
  },
  {
    name: 'init containers and sidecars back off, too (L-166)',
    spec: { initContainers: [log] },
    containers: [app(), recordOf(log, exited(1, { finishedAt: now - 5_000, annotations: { [criKeys.backoffMs]: '10000' } }))],
    notes: ['BackOff'],
    wakeAt: now + 5_000,
    actions: [],
  },
  {
    name: 'the count is in the annotation, not in the attempt (L-174)',
    containers: [app(exited(1, { attempt: 2, annotations: { [criKeys.restartCount]: '7' } }))],
    actions: [create('app', 8, '10000')],
  },
  {
    name: 'a malformed annotation is as good as none (L-079)',
    containers: [app(exited(1, { attempt: 2, annotations: { [criKeys.restartCount]: 'x' } }))],
    actions: [create('app', 3, '10000')],
  },
]);

const all = own({ restartPolicy: 'Never', restartPolicyRules: rule('RestartAllContainers', 'In', [42]) });
const allWithInit = { ...all, initContainers: [prepare] };

table('3.9 restart of all containers', [
  {
    name: 'what runs is killed without grace and hooks (L-179)',
    spec: allWithInit,
    containers: [app(exited(42)), recordOf(side), recordOf(prepare, exited(0))],
    actions: ['StopContainer side0 2 of 0 s: Stopping container side'],
  },
  {
    name: 'regular ones first, logs are kept (L-179)',
    spec: allWithInit,
    containers: [app(exited(42)), recordOf(side, exited(137)), recordOf(prepare, exited(0))],
    actions: ['RemoveContainer side0'],
  },
  {
    name: 'then init containers',
    spec: allWithInit,
    containers: [app(exited(42)), recordOf(prepare, exited(0))],
    actions: ['RemoveContainer prepare0'],
  },
  {
    name: 'what set it off goes last, so that a new agent goes on (C-260)',
    spec: allWithInit,
    containers: [app(exited(42))],
    actions: ['RemoveContainer app0'],
  },
  {
    name: 'then all begins anew in the same sandbox, at once (L-058, L-180, L-181)',
    spec: allWithInit,
    containers: [],
    actions: [create('prepare')],
  },
  { name: 'another code is no reason', spec: all, containers: [app(exited(1)), recordOf(side)], actions: [] },
  {
    name: 'nor is an older run that ended with it',
    spec: all,
    containers: [app({ attempt: 1 }), app(exited(42)), recordOf(side)],
    actions: [],
  },
]);

const hook = { postStart: { exec: { command: ['/hi'] } } };
const withHook = { containers: [buildContainer({ lifecycle: hook }), side] };

table('9.2 postStart', [
  {
    name: 'it runs after the start; the next container waits (L-431, C-292)',
    spec: withHook,
    containers: [app()],
    memory: { postStart: new Map([['app0', 'pending']]) },
    actions: ['RunPostStart app0 {"exec":{"command":["/hi"]}}'],
  },
  {
    name: 'seen running while its start has not returned: the hook is still to come, and the next container waits (L-431)',
    spec: withHook,
    containers: [app()],
    underWay: ['StartContainer/app0'],
    actions: [],
  },
  {
    name: 'it is over: the next container',
    spec: withHook,
    containers: [app()],
    memory: { postStart: new Map([['app0', 'done']]) },
    actions: [create('side')],
  },
  {
    name: 'it failed: the container is killed (L-432, C-294)',
    spec: withHook,
    containers: [app(), recordOf(side)],
    memory: { postStart: new Map([['app0', 'failed']]) },
    actions: ['StopContainer app0 30 of 30 s: FailedPostStartHook'],
  },
  { name: 'it is not run for what ran before the agent started (L-433)', spec: withHook, containers: [app(), recordOf(side)], actions: [] },
]);

const withSignal: Partial<PodSpec> = { containers: [buildContainer({ lifecycle: { stopSignal: 'SIGUSR1' } })] };
const signalled = withSignal.containers?.[0] ?? buildContainer();

table('9.1 lifecycle.stopSignal', [
  { name: 'the runtime knows of it (L-430)', spec: withSignal, containers: [recordOf(signalled, { stopSignal: 'SIGUSR1' })], actions: [] },
  {
    name: 'it does not: that is said (L-430)',
    spec: withSignal,
    containers: [recordOf(signalled)],
    notes: ['StopSignalIgnored'],
    actions: [],
  },
  { name: 'before it runs nothing is known', spec: withSignal, actions: [create('app')] },
]);

table('11.1 active deadline', [
  {
    name: 'still to come: wake then (L-491)',
    spec: { activeDeadlineSeconds: 300 },
    containers: [app()],
    wakeAt: now + 100_000,
    actions: [],
  },
  {
    name: 'exceeded: the Pod ends with its grace (L-492, C-213)',
    spec: { activeDeadlineSeconds: 200, terminationGracePeriodSeconds: 9 },
    containers: [app()],
    notes: ['DeadlineExceeded'],
    actions: ['StopContainer app0 9 of 9 s: Stopping container app'],
    becomes: 'terminating deadline',
  },
]);
