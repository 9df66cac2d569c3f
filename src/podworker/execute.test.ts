// What each action asks of the runtime and the node, and what is said when it fails.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakeRuntime } from '../../test/support/fake-runtime.ts';
import { buildNode } from '../../test/support/node-facts.ts';
import { buildContainer, buildPod, RecordedEvents } from '../../test/support/pods.ts';
import type { PodSpec } from '../api/gen/kubernetes.ts';
import type { Action } from '../pod/action.ts';
import type { ActionOutcome } from '../pod/memory.ts';
import { AgentError, RuntimeError } from '../std/errors.ts';
import { silentLogger } from '../std/log.ts';
import { noMetrics } from '../std/metrics.ts';
import { ContainerLogLinks } from './container-log-links.ts';
import { type ExecutorDeps, PodExecutor } from './execute.ts';
import { HookRunner } from './hooks.ts';
import { LogDirectories } from './log-directories.ts';

const { signal } = new AbortController();

/** An executor whose steps beside the runtime are written down, in the order of everything. */
function setUp(spec: Partial<PodSpec> = {}, annotations: Record<string, string> = {}, deps: Partial<ExecutorDeps> = {}) {
  const clock = new FakeClock();
  const runtime = new FakeRuntime({}, { clock });
  runtime.addImage('nginx');
  const events = new RecordedEvents();
  const steps: string[] = [];
  const asked: Parameters<ExecutorDeps['images']['ensure']>[0][] = [];
  class Logs extends LogDirectories {
    override async prepare(_pod: object, container: string): Promise<void> {
      steps.push(`logs of ${container}`);
    }
  }
  class Links extends ContainerLogLinks {
    override async add(): Promise<void> {
      steps.push('link');
    }
  }
  const pod = buildPod({ restartPolicy: 'Always', dnsPolicy: 'Default', ...spec }, { annotations });
  const executor = new PodExecutor(() => pod, {
    runtime,
    events,
    logger: silentLogger,
    node: async () => buildNode(),
    images: {
      ensure: async (request) => {
        asked.push(request);
        steps.push(`image ${request.reference}`);
        return { kind: 'present', imageRef: `sha256:${request.reference}`, image: undefined };
      },
    },
    volumes: {
      setUp: async () => undefined,
      refresh: async () => undefined,
      envFiles: async () => new Map(),
      mounts: async () => {
        steps.push('mounts');
        return [];
      },
      tearDown: async () => undefined,
      remove: async () => undefined,
    },
    users: { reserve: async () => undefined },
    cgroups: {
      ensure: async () => true,
      beginResize: async () => undefined,
      endResize: async () => undefined,
      remove: async () => undefined,
    },
    hooks: new HookRunner({ runtime, clock, events, logger: silentLogger, metrics: noMetrics }),
    logs: new Logs({ root: '/nowhere', owner: 'test' }),
    links: new Links({ folder: '/nowhere', podLogsDir: '/nowhere' }, { logger: silentLogger }),
    records: { removeContainer: async () => undefined },
    ...deps,
  });
  const run = (action: Action): Promise<ActionOutcome> => executor.execute(action, { signal });
  return { runtime, events, steps, asked, run };
}

const runSandbox: Action = { type: 'RunPodSandbox', attempt: 0 };

async function create(world: ReturnType<typeof setUp>, container = 'app'): Promise<ActionOutcome> {
  await world.run(runSandbox);
  return world.run({
    type: 'CreateContainer',
    container,
    sandboxId: world.runtime.sandboxId('web-node1'),
    sandboxAttempt: 0,
    podIps: ['10.0.0.1'],
    attempt: 1,
    imageRef: 'nginx',
    backoffMs: undefined,
  });
}

test('the cgroup cannot be made (L-053, S-425)', async () => {
  const nothing = async (): Promise<void> => undefined;
  const ensure = (): Promise<never> => Promise.reject(new RuntimeError('unknown', 'no space'));
  const cgroups = { ensure, beginResize: nothing, endResize: nothing, remove: nothing };
  const { events, run } = setUp({}, {}, { cgroups });
  assert.equal((await run({ type: 'CreatePodCgroup', hasRunning: false })).kind, 'failed');
  assert.deepEqual(events.take(), ['Warning FailedCreatePodContainer: unable to ensure pod container exists: no space']);
});

test('volumes that cannot be set up: an event for each, and one for the Pod (L-055, L-311)', async () => {
  const failures = ['MountVolume.SetUp failed for volume "a" : no', 'MountVolume.SetUp failed for volume "b" : no'];
  const setUpVolumes = () => Promise.reject(Object.assign(new AgentError('failed-mount', 'unmounted volumes=[a b]'), { failures }));
  const volumes = {
    refresh: setUpVolumes,
    envFiles: setUpVolumes,
    mounts: setUpVolumes,
    tearDown: setUpVolumes,
    remove: setUpVolumes,
    setUp: setUpVolumes,
  };
  const { events, run } = setUp({}, {}, { volumes });
  assert.equal((await run({ type: 'SetUpVolumes' })).kind, 'failed');
  assert.deepEqual(
    events.take(),
    [...failures, 'Unable to attach or mount volumes: unmounted volumes=[a b]'].map((text) => `Warning FailedMount: ${text}`),
  );
});

test('volumes that cannot be unmounted are told: their Pod stays until they are (D5)', async () => {
  const refuse = () => Promise.reject(new AgentError('mount-failed', 'umount: /v: target is busy.'));
  const volumes = { refresh: refuse, envFiles: refuse, mounts: refuse, setUp: refuse, tearDown: refuse, remove: refuse };
  const { events, run } = setUp({}, {}, { volumes });
  assert.equal((await run({ type: 'TearDownVolumes' })).kind, 'failed');
  assert.deepEqual(events.take(), ['Warning FailedUnMount: Unable to unmount volumes: umount: /v: target is busy.']);
});

test('a kill that fails (L-061, S-281, S-426)', async () => {
  const world = setUp();
  await create(world);
  world.events.take();
  for (const method of ['stopContainer', 'stopPodSandbox'] as const)
    world.runtime.failNext(method, new RuntimeError('unknown', 'it will not'));
  const containerId = world.runtime.containerId('app');
  const stop: Action = {
    type: 'StopContainer',
    container: 'app',
    containerId,
    gracePeriodSeconds: 30,
    timeoutSeconds: 30,
    message: 'Stopping',
  };
  assert.equal((await world.run(stop)).kind, 'failed');
  assert.equal((await world.run({ type: 'StopPodSandbox', sandboxId: world.runtime.sandboxId('web-node1') })).kind, 'failed');
  const warning = 'Warning FailedKillPod: error killing pod: it will not';
  assert.deepEqual(world.events.take(), ['Normal Killing: Stopping', warning, warning]);
});

test('log folders of all containers are there before the sandbox (L-193, L-216)', async () => {
  const { runtime, steps, run } = setUp({ initContainers: [buildContainer({ name: 'prepare' })] });
  runtime.failNext('runPodSandbox');
  await run(runSandbox);
  assert.deepEqual(steps, ['logs of prepare', 'logs of app']);
  assert.deepEqual(runtime.deeds, ['runPodSandbox web-node1/0']);
});

test('a container is created in the sandbox of the Pod as it is now, then started (L-212, L-213, L-355, S-415)', async () => {
  const world = setUp();
  assert.deepEqual(await create(world), { kind: 'done' });
  const containerId = world.runtime.containerId('app');
  await world.run({ type: 'StartContainer', container: 'app', containerId });
  assert.deepEqual(world.runtime.deeds, ['runPodSandbox web-node1/0', 'createContainer app/1', 'startContainer app/1']);
  assert.deepEqual(world.steps, ['logs of app', 'mounts', 'logs of app', 'link']);
  assert.deepEqual(world.events.take(), ['Normal Created: Container created', 'Normal Started: Container started']);
  const { image, metadata, logPath } = world.runtime.containerConfig(containerId);
  assert.deepEqual([image.image, metadata.attempt, logPath], ['nginx', 1, 'app/1.log']);
});

test('events of containers name them by their field (L-215, S-398)', async () => {
  const world = setUp({ initContainers: [buildContainer({ name: 'prepare' })] });
  for (const name of ['prepare', 'app']) await create(world, name);
  assert.deepEqual(
    world.events.objects.flatMap(({ fieldPath }) => fieldPath ?? []),
    ['spec.initContainers{prepare}', 'spec.containers{app}'],
  );
});

test('in events the id of a container is its name, so that equal failures are counted (L-215, S-399)', async () => {
  const world = setUp();
  await create(world);
  const containerId = world.runtime.containerId('app');
  world.events.take();
  world.runtime.failNext('startContainer', new RuntimeError('unknown', `failed to start container "${containerId}": no such file`));
  const outcome = await world.run({ type: 'StartContainer', container: 'app', containerId });
  assert.deepEqual(world.events.take(), ['Warning Failed: Error: failed to start container "app": no such file']);
  assert.equal(outcome.kind, 'failed');
});

test('a container whose request cannot be built is not created, and why is its reason (L-214)', async () => {
  const world = setUp({ containers: [buildContainer({ securityContext: { runAsNonRoot: true, runAsUser: 0 } })] });
  const outcome = await create(world);
  assert.ok(outcome.kind === 'failed');
  assert.equal(outcome.waiting?.reason, 'CreateContainerConfigError');
  assert.deepEqual(world.runtime.deeds, ['runPodSandbox web-node1/0']);
  assert.ok(world.events.take()[0]?.startsWith("Warning Failed: Error: container's runAsUser breaks non-root policy"));
});

test('a pull is asked for with the sandbox of the Pod and its annotations (L-356)', async () => {
  const { asked, run } = setUp({ containers: [buildContainer({ imagePullPolicy: 'Never' })] }, { mine: 'x' });
  assert.deepEqual(await run({ type: 'PullImage', container: 'app', sandboxAttempt: 3 }), { kind: 'done', imageRef: 'sha256:nginx' });
  assert.deepEqual([asked[0]?.pullPolicy, asked[0]?.sandboxConfig.metadata.attempt], ['Never', 3]);
  assert.deepEqual(asked[0]?.sandboxConfig.annotations, { mine: 'x' });
});

test('image volumes come before the image of the container that mounts them, each by its own policy (L-330)', async () => {
  const world = setUp({
    containers: [
      buildContainer({ volumeMounts: [{ name: 'model', mountPath: '/model' }] }),
      buildContainer({ name: 'side', image: 'side' }),
    ],
    volumes: [
      { name: 'model', image: { reference: 'model:1', pullPolicy: 'Never' } },
      { name: 'unused', image: { reference: 'broken' } },
    ],
  });
  await world.run({ type: 'PullImage', container: 'app', sandboxAttempt: 0 });
  assert.deepEqual(world.steps, ['image model:1', 'image nginx']);
  assert.equal(world.asked[0]?.pullPolicy, 'Never');
  await world.run({ type: 'PullImage', container: 'side', sandboxAttempt: 0 });
  assert.deepEqual(world.steps.slice(2), ['image side']);
});

test('an image volume that cannot be had is the trouble of the container that mounts it (L-330, C-388)', async () => {
  const images: ExecutorDeps['images'] = {
    ensure: async () => ({ kind: 'failed', reason: 'ErrImagePull', message: 'no such image', retryAt: 5 }),
  };
  const world = setUp(
    {
      containers: [buildContainer({ volumeMounts: [{ name: 'model', mountPath: '/model' }] })],
      volumes: [{ name: 'model', image: { reference: 'model:1' } }],
    },
    {},
    { images },
  );
  assert.deepEqual(await world.run({ type: 'PullImage', container: 'app', sandboxAttempt: 0 }), {
    kind: 'failed',
    message: 'no such image',
    waiting: { reason: 'ErrImagePull', message: 'no such image' },
    retryAt: 5,
  });
});
