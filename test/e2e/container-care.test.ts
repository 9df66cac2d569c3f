// What is done about images and running containers besides starting them, on a real containerd: pulls and their failures,
// probes, hooks, log rotation, termination messages, garbage collection.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { noCredentials } from '../../src/image/credentials.ts';
import { ImagePuller, type ImageResult } from '../../src/image/image-puller.ts';
import { containerObject } from '../../src/pod/event-object.ts';
import { criKeys, type ObservedContainer } from '../../src/pod/observation.ts';
import type { PodSandboxConfig } from '../../src/pod/runtime-config.ts';
import { ContainerLogLinks } from '../../src/podworker/container-log-links.ts';
import { GarbageCollector } from '../../src/podworker/garbage-collector.ts';
import { HookRunner } from '../../src/podworker/hooks.ts';
import { LogDirectories } from '../../src/podworker/log-directories.ts';
import { LogRotation } from '../../src/podworker/log-rotation.ts';
import { readTerminationMessage } from '../../src/podworker/termination-message.ts';
import { attempt } from '../../src/prober/attempt.ts';
import { CriRuntime } from '../../src/runtime/cri/cri-runtime.ts';
import { systemClock } from '../../src/std/clock.ts';
import { silentLogger } from '../../src/std/log.ts';
import { noMetrics } from '../../src/std/metrics.ts';
import { containerConfig, sandboxConfig } from '../compliance/builders.ts';
import { offlineImages, startContainerd, type TestContainerd, whyNoContainerd } from '../support/containerd.ts';
import { buildContainer, buildPod, RecordedEvents } from '../support/pods.ts';
import { busyboxArchive, TestRegistry } from '../support/registry.ts';

const { signal } = new AbortController();
const o = { signal };

for (const version of ['debian', 'trixie', 'sid'] as const) {
  describe(`care of containers on containerd of ${version}`, { skip: whyNoContainerd(version) ?? false }, () => {
    let containerd: TestContainerd;
    let runtime: CriRuntime;
    let root: string;

    before(async () => {
      containerd = await startContainerd({ name: 'care', version });
      runtime = new CriRuntime(
        { runtimeEndpoint: containerd.endpoint, requestTimeoutMs: 30_000 },
        { clock: systemClock, logger: silentLogger },
      );
      root = path.join(containerd.dir, 'pods');
      mkdirSync(root);
    });
    after(async () => {
      runtime?.close();
      await containerd?.stop();
    });

    async function run(
      uid: string,
      command: readonly string[],
      change: { readonly attempt?: number; readonly sandbox?: { readonly id: string; readonly config: PodSandboxConfig } } = {},
    ) {
      const config = change.sandbox?.config ?? sandboxConfig({ uid, logDirectory: path.join(root, `default_pod-${uid}_${uid}`) });
      const sandboxId = change.sandbox?.id ?? (await runtime.runPodSandbox({ config, runtimeHandler: '' }, o));
      const image = await runtime.imageStatus({ image: offlineImages.busybox }, o);
      assert.ok(image);
      const messageFile = path.join(containerd.dir, `message-${uid}-${change.attempt ?? 0}`);
      writeFileSync(messageFile, '');
      const made = containerConfig(config, { image: image.id, command, attempt: change.attempt ?? 0 });
      const mount = { readonly: false, seLinuxRelabel: false, propagation: 'private' as const, recursiveReadOnly: false };
      const annotations = {
        ...made.annotations,
        [criKeys.terminationMessagePath]: '/message',
        [criKeys.terminationMessagePolicy]: 'FallbackToLogsOnError',
      };
      const mounts = [{ ...mount, containerPath: '/message', hostPath: messageFile }];
      const containerId = await runtime.createContainer({ sandboxId, config: { ...made, annotations, mounts }, sandboxConfig: config }, o);
      await runtime.startContainer(containerId, o);
      return { sandbox: { id: sandboxId, config }, containerId };
    }

    async function until(containerId: string, isReached: (container: ObservedContainer) => boolean): Promise<ObservedContainer> {
      for (;;) {
        const status = await runtime.containerStatus(containerId, o);
        if (status !== undefined && isReached(status)) return status;
        await systemClock.sleep(10, signal);
      }
    }

    it('pulls, and tells an unreachable registry from one that refuses (decision 0010)', async () => {
      const registry = new TestRegistry();
      await registry.start();
      const reference = await registry.push('app', '1', await busyboxArchive('care'));
      const events = new RecordedEvents();
      const puller = new ImagePuller(
        { maxParallelPulls: 1, pullsPerSecond: 0, pullBurst: 1 },
        {
          runtime,
          clock: systemClock,
          events,
          logger: silentLogger,
          metrics: noMetrics,
          credentials: noCredentials,
          isOffline: () => false,
        },
      );
      let pods = 0;
      const ensure = (reference: string, pullPolicy = 'Always'): Promise<ImageResult> => {
        pods += 1;
        const pod = buildPod({ containers: [buildContainer({ image: reference })] }, { uid: `pull-${pods}` });
        const sandbox = sandboxConfig({ uid: pod.metadata.uid });
        return puller.ensure({ pod, object: containerObject(pod, 'app'), reference, pullPolicy, sandboxConfig: sandbox }, o);
      };
      try {
        const absent = await ensure(`${registry.host}/absent:1`);
        assert.equal(absent.kind === 'failed' ? absent.reason : absent.kind, 'ErrImagePull');

        const pulled = await ensure(reference);
        assert.equal(pulled.kind, 'present', JSON.stringify(pulled));
        assert.match(
          events.take().at(-1) ?? '',
          /^Normal Pulled: Successfully pulled image "127\.0\.0\.1:\d+\/app:1" in .* Image size: \d+ bytes\.$/,
        );
        assert.equal((await ensure(reference, 'IfNotPresent')).kind, 'present');

        for (const status of [401, 403, 404, 503]) {
          registry.misbehave('app', { kind: 'status', status });
          const refused = await ensure(reference);
          assert.equal(refused.kind === 'failed' ? refused.reason : refused.kind, 'ErrImagePull', String(status));
        }
        events.take();
      } finally {
        await registry.stop();
      }
      const local = await ensure(reference);
      assert.equal(local.kind, 'present', JSON.stringify(local));
      assert.match(events.take().at(-1) ?? '', /^Warning ImagePullSkipped: .*connection refused/);
      const missing = await ensure(`${registry.host}/other:1`);
      assert.equal(missing.kind === 'failed' ? missing.reason : missing.kind, 'ErrImagePull');
    });

    it('probes and hooks by command', async () => {
      const { containerId } = await run('exec', ['sleep', '1000']);
      const target = { container: buildContainer({ name: 'web' }), containerId, podAddress: '127.0.0.1' };
      const deps = { runtime, clock: systemClock };
      const rows: readonly (readonly [readonly string[], string])[] = [
        [['true'], 'success '],
        [['sh', '-c', 'echo $GREETING; echo no >&2; exit 3'], 'failure grüß dich\nno\n'],
        [['sleep', '30'], 'failure command timed out: "sleep 30" timed out after 1s'],
        [['no-such-program'], 'error '],
      ];
      for (const [command, expected] of rows) {
        const outcome = await attempt({ ...target, probe: { exec: { command }, timeoutSeconds: 1 } }, deps, o);
        const text = `${outcome.kind} ${outcome.kind === 'error' ? '' : outcome.output}`;
        assert.equal(text, expected, JSON.stringify(outcome));
      }
      const hooks = new HookRunner({ runtime, clock: systemClock, events: new RecordedEvents(), logger: silentLogger, metrics: noMetrics });
      const request = { pod: buildPod(), container: buildContainer(), containerId, podAddress: undefined };
      assert.deepEqual(await hooks.postStart({ ...request, handler: { exec: { command: ['touch', '/started'] } } }, o), { kind: 'done' });
      assert.deepEqual(await hooks.postStart({ ...request, handler: { exec: { command: ['test', '-e', '/started'] } } }, o), {
        kind: 'done',
      });
      assert.equal((await hooks.postStart({ ...request, handler: { exec: { command: ['false'] } } }, o)).kind, 'failed');
      const slow = { ...request, handler: { exec: { command: ['sleep', '30'] } }, timeoutSeconds: 1 };
      assert.deepEqual(await hooks.preStop(slow, o), { kind: 'timedOut' });
    });

    it('rotates a log that grows too large, and the container goes on writing', async () => {
      const { containerId } = await run('rotate', ['sh', '-c', 'i=0; while true; do i=$((i+1)); echo $i; usleep 2000; done']);
      const rotation = new LogRotation(
        { maxSizeBytes: 4096, maxFiles: 3, intervalMs: 10_000, workers: 1 },
        { runtime, clock: systemClock, logger: silentLogger },
      );
      const { logPath } = await until(containerId, ({ state }) => state === 'running');
      const folder = path.dirname(logPath);
      while (readdirSync(folder).length < 3) {
        await rotation.rotateAll(o);
        await systemClock.sleep(50, signal);
      }
      const [live = '', ...rotated] = readdirSync(folder).sort();
      assert.equal(live, '0.log');
      assert.deepEqual(
        rotated.map((name) => name.endsWith('.gz')),
        [true, false],
      );
      const read = (name: string): readonly number[] =>
        readFileSync(path.join(folder, name), 'utf8')
          .split('\n')
          .filter((line) => line !== '')
          .map((line) => Number(line.split(' ')[3]));
      while (read(live).length === 0) await systemClock.sleep(10, signal);
      const numbers = [...read(rotated[1] ?? ''), ...read(live)];
      assert.deepEqual(
        numbers,
        numbers.map((_, i) => (numbers[0] ?? 0) + i),
        'no line is lost between two files',
      );
    });

    it('reads the last words, and removes old records with their logs', async () => {
      const first = await run('dead', ['sh', '-c', 'echo some words; exit 3']);
      const silent = await until(first.containerId, ({ state }) => state === 'exited');
      assert.equal(await readTerminationMessage(silent), 'some words\n');
      const second = await run('dead', ['sh', '-c', 'echo ignored; echo own words >/message; exit 3'], {
        attempt: 1,
        sandbox: first.sandbox,
      });
      const spoken = await until(second.containerId, ({ state }) => state === 'exited');
      assert.equal(await readTerminationMessage(spoken), 'own words\n');

      const logs = new LogDirectories({ root, owner: containerd.dir });
      const links = new ContainerLogLinks({ folder: path.join(containerd.dir, 'links'), podLogsDir: root }, { logger: silentLogger });
      await logs.prepare(buildPod({}, { name: 'pod-dead', uid: 'dead' }), 'web');
      const disposable = new Set<string>();
      const gc = new GarbageCollector(
        { minimumAgeMs: 0, maxPerContainer: 1, maxContainers: -1, node: { kind: 'Node', namespace: '', name: 'n', uid: 'n' } },
        {
          runtime,
          clock: systemClock,
          events: new RecordedEvents(),
          logger: silentLogger,
          pods: { sourcesReady: () => true, isDisposable: (uid) => disposable.has(uid), isLeftAlone: () => false },
          hooks: new HookRunner({ runtime, clock: systemClock, events: new RecordedEvents(), logger: silentLogger, metrics: noMetrics }),
          logs,
          links,
        },
      );
      await gc.collect(o);
      assert.deepEqual(
        (await runtime.listContainers({ podUid: 'dead' }, o)).map(({ attempt: n }) => n),
        [1],
      );
      assert.deepEqual(readdirSync(path.dirname(spoken.logPath)), ['1.log']);

      await runtime.stopPodSandbox(first.sandbox.id, o);
      disposable.add('dead');
      await gc.collect(o);
      assert.deepEqual(await runtime.listContainers({ podUid: 'dead' }, o), []);
      assert.deepEqual(await runtime.listPodSandboxes({ podUid: 'dead' }, o), []);
      assert.ok(!readdirSync(root).includes('default_pod-dead_dead'));
    });
  });
}
