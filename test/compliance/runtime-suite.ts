// What every Runtime has to do, as one suite: run on the fake (always) and on real runtimes. The fixture brings a
// runtime with the image present; each test makes Pods of its own and the suite removes them.
import assert from 'node:assert/strict';
import { readFile, rename } from 'node:fs/promises';
import { isIP } from 'node:net';
import { after, before, describe, it } from 'node:test';
import type { ObservedContainer } from '../../src/pod/observation.ts';
import type { PodSandboxConfig } from '../../src/pod/runtime-config.ts';
import type { Runtime, RuntimeEvent } from '../../src/runtime/runtime.ts';
import { Superseded } from '../../src/std/async.ts';
import { RuntimeError } from '../../src/std/errors.ts';
import { type ContainerOptions, containerConfig, type SandboxOptions, sandboxConfig } from './builders.ts';

export interface RuntimeFixture {
  readonly runtime: Runtime;
  /** Present, with a shell: busybox. Full reference. */
  readonly image: string;
  /** A reference the registry says it does not have. */
  readonly missingImage: string;
  /** Absolute; empty where there are no log files (the fake). */
  readonly logRoot: string;
  readonly cgroupParent: string;
  /** Lets this much time pass where the clock is a fake one; real time passes by itself. */
  pass(ms: number): Promise<void>;
  close(): Promise<void>;
}

/** The commands the suite starts containers with. The fake has to behave as busybox does with them. */
export const commands = {
  ignoresTerm: ['sleep', '3600'],
  exitsOnTerm: ['sh', '-c', 'trap "exit 0" TERM; sleep 3600 & wait'],
  exits0: ['sh', '-c', 'exit 0'],
  exits3: ['sh', '-c', 'exit 3'],
  missing: ['/no/such/program'],
} as const satisfies Readonly<Record<string, readonly string[]>>;

/** The commands the suite runs in containers. */
export const execs = {
  talks: ['sh', '-c', 'echo out; echo err >&2; exit 3'],
  hangs: ['sleep', '60'],
} as const satisfies Readonly<Record<string, readonly string[]>>;

export function runtimeSuite(name: string, open: () => Promise<RuntimeFixture>, options: { readonly skip?: string | false } = {}): void {
  describe(`runtime compliance: ${name}`, { skip: options.skip ?? false }, () => {
    const signal = new AbortController().signal;
    const o = { signal };
    const uids: string[] = [];
    let fixture: RuntimeFixture;
    let runtime: Runtime;

    before(async () => {
      fixture = await open();
      runtime = fixture.runtime;
    });

    after(async () => {
      try {
        for (const podUid of uids) {
          for (const { id } of await runtime.listPodSandboxes({ podUid }, o)) {
            await runtime.stopPodSandbox(id, o);
            await runtime.removePodSandbox(id, o);
          }
        }
      } finally {
        await fixture.close();
      }
    });

    function newUid(): string {
      const uid = `compliance-${process.pid}-${uids.length}`;
      uids.push(uid);
      return uid;
    }

    function configOf(more: Partial<SandboxOptions> = {}): PodSandboxConfig {
      const uid = more.uid ?? newUid();
      const logDirectory = fixture.logRoot === '' ? '/var/log/pods/fake' : `${fixture.logRoot}/${uid}`;
      return sandboxConfig({ uid, logDirectory, cgroupParent: fixture.cgroupParent, ...more });
    }

    async function sandbox(
      more: Partial<SandboxOptions> = {},
    ): Promise<{ readonly id: string; readonly uid: string; readonly config: PodSandboxConfig }> {
      const config = configOf(more);
      return { id: await runtime.runPodSandbox({ config, runtimeHandler: '' }, o), uid: config.metadata.uid, config };
    }

    function create(of: { readonly id: string; readonly config: PodSandboxConfig }, more: Partial<ContainerOptions> = {}): Promise<string> {
      const config = containerConfig(of.config, { image: fixture.image, command: commands.ignoresTerm, ...more });
      return runtime.createContainer({ sandboxId: of.id, config, sandboxConfig: of.config }, o);
    }

    async function started(
      of: { readonly id: string; readonly config: PodSandboxConfig },
      more: Partial<ContainerOptions> = {},
    ): Promise<string> {
      const id = await create(of, more);
      await runtime.startContainer(id, o);
      return id;
    }

    async function statusOf(containerId: string): Promise<ObservedContainer> {
      const status = await runtime.containerStatus(containerId, o);
      assert.ok(status, `container ${containerId} is gone`);
      return status;
    }

    /** Waits for an exit through the status only: the suite must not depend on events. */
    async function exited(containerId: string): Promise<ObservedContainer> {
      for (;;) {
        const status = await statusOf(containerId);
        if (status.state === 'exited') return status;
      }
    }

    it('says what it is and whether it is ready (L-109, L-185)', async () => {
      const version = await runtime.version(o);
      assert.notEqual(version.runtimeName, '');
      assert.notEqual(version.runtimeVersion, '');
      const status = await runtime.status({ verbose: true }, o);
      const ready = new Map(status.conditions.map((condition) => [condition.type, condition.status]));
      assert.equal(ready.get('RuntimeReady'), true);
      assert.equal(ready.get('NetworkReady'), true);
      assert.ok(Object.keys(status.info).length > 0);
      assert.ok(['systemd', 'cgroupfs', undefined].includes(await runtime.cgroupDriver(o)));
      await runtime.updatePodCidr('10.125.0.0/24', o);
    });

    it('runs a host-network sandbox; the list has the facts, the status the details (L-085, L-099)', async () => {
      const { id, uid, config } = await sandbox();
      const [listed, ...others] = await runtime.listPodSandboxes({ podUid: uid }, o);
      assert.deepEqual(others, []);
      assert.ok(listed);
      assert.equal(listed.id, id);
      assert.equal(listed.name, config.metadata.name);
      assert.equal(listed.namespace, 'default');
      assert.equal(listed.podUid, uid);
      assert.equal(listed.attempt, 0);
      assert.equal(listed.state, 'ready');
      assert.ok(listed.createdAt > 0);
      assert.deepEqual(listed.labels, config.labels);
      assert.deepEqual(listed.annotations, config.annotations);
      assert.deepEqual([listed.hostNetwork, listed.ips, listed.lostNetwork], [undefined, [], false]);
      const status = await runtime.podSandboxStatus(id, o);
      assert.deepEqual(status, { ...listed, hostNetwork: true, lostNetwork: status?.lostNetwork });
      const all = await runtime.listPodSandboxes({}, o);
      assert.ok(all.some((one) => one.id === id));
      assert.deepEqual(await runtime.listPodSandboxes({ podUid: 'nobody' }, o), []);
    });

    it('gives a Pod-network sandbox an address until it is stopped; stop and remove are idempotent (L-099, L-122)', async () => {
      const { id } = await sandbox({ hostNetwork: false });
      const ready = await runtime.podSandboxStatus(id, o);
      assert.ok(ready);
      assert.equal(ready.hostNetwork, false);
      assert.equal(ready.lostNetwork, false);
      assert.ok(ready.ips.length > 0 && ready.ips.every((ip) => isIP(ip) !== 0));
      await runtime.stopPodSandbox(id, o);
      await runtime.stopPodSandbox(id, o);
      const stopped = await runtime.podSandboxStatus(id, o);
      assert.ok(stopped);
      assert.deepEqual([stopped.state, stopped.ips, stopped.lostNetwork], ['notReady', [], true]);
      await runtime.removePodSandbox(id, o);
      await runtime.removePodSandbox(id, o);
      await runtime.stopPodSandbox(id, o);
      assert.equal(await runtime.podSandboxStatus(id, o), undefined);
    });

    it('reserves a sandbox name and attempt while the sandbox exists', async () => {
      const first = await sandbox();
      const again = configOf({ uid: first.uid });
      await assert.rejects(runtime.runPodSandbox({ config: again, runtimeHandler: '' }, o), RuntimeError);
      await runtime.stopPodSandbox(first.id, o);
      await assert.rejects(runtime.runPodSandbox({ config: again, runtimeHandler: '' }, o), RuntimeError);
      const second = await sandbox({ uid: first.uid, attempt: 1 });
      const listed = await runtime.listPodSandboxes({ podUid: first.uid }, o);
      assert.deepEqual(
        new Map(listed.map((one) => [one.id, one.attempt])),
        new Map([
          [first.id, 0],
          [second.id, 1],
        ]),
      );
      await runtime.removePodSandbox(first.id, o);
      await sandbox({ uid: first.uid });
    });

    it('takes a container from created to running to exited and keeps what it was told (L-101, L-279)', async () => {
      const pod = await sandbox();
      const id = await create(pod);
      const [listed, ...others] = await runtime.listContainers({ podUid: pod.uid }, o);
      assert.deepEqual(others, []);
      assert.ok(listed);
      assert.deepEqual(
        [listed.id, listed.sandboxId, listed.podUid, listed.name, listed.attempt, listed.state],
        [id, pod.id, pod.uid, 'web', 0, 'created'],
      );
      const created = await statusOf(id);
      assert.equal(created.state, 'created');
      assert.equal(created.startedAt, undefined);
      assert.equal(created.finishedAt, undefined);

      await runtime.startContainer(id, o);
      const running = await statusOf(id);
      const config = containerConfig(pod.config, { image: fixture.image });
      assert.deepEqual(
        [running.sandboxId, running.podUid, running.name, running.attempt, running.state],
        [pod.id, pod.uid, 'web', 0, 'running'],
      );
      assert.deepEqual(running.labels, config.labels);
      assert.deepEqual(running.annotations, config.annotations);
      assert.equal(running.image, fixture.image);
      assert.notEqual(running.imageRef, '');
      assert.equal(running.logPath, `${pod.config.logDirectory}/web/0.log`);
      assert.ok(running.startedAt !== undefined && running.startedAt >= running.createdAt);
      await assert.rejects(runtime.startContainer(id, o), RuntimeError);
      assert.equal((await statusOf(id)).state, 'running');

      await runtime.stopContainer({ containerId: id, timeoutSeconds: 0 }, o);
      const done = await statusOf(id);
      assert.deepEqual([done.state, done.exitCode, done.reason], ['exited', 137, 'Error']);
      assert.ok(done.finishedAt !== undefined && done.startedAt !== undefined && done.finishedAt >= done.startedAt);
      assert.equal((await runtime.listContainers({ podUid: pod.uid }, o))[0]?.state, 'exited');
    });

    for (const [command, code, reason] of [
      ['exits0', 0, 'Completed'],
      ['exits3', 3, 'Error'],
    ] as const) {
      it(`reports exit code ${code} as ${reason}`, async () => {
        const done = await exited(await started(await sandbox(), { command: commands[command] }));
        assert.deepEqual([done.exitCode, done.reason], [code, reason]);
      });
    }

    it('leaves an exited record 128 StartError of a container that could not start', async () => {
      const id = await create(await sandbox(), { command: commands.missing });
      await assert.rejects(runtime.startContainer(id, o), RuntimeError);
      const done = await statusOf(id);
      assert.deepEqual([done.state, done.exitCode, done.reason], ['exited', 128, 'StartError']);
      assert.notEqual(done.message, '');
    });

    it('reserves a container name and attempt in its sandbox while the container exists', async () => {
      const pod = await sandbox();
      const id = await create(pod);
      await assert.rejects(create(pod), RuntimeError);
      await create(pod, { attempt: 1 });
      await create(pod, { name: 'other' });
      await runtime.removeContainer(id, o);
      await create(pod);
      const listed = await runtime.listContainers({ podUid: pod.uid }, o);
      assert.deepEqual(listed.map((one) => `${one.name}/${one.attempt}`).sort(), ['other/0', 'web/0', 'web/1']);
    });

    it('stops with SIGTERM, after the grace period with SIGKILL, and only then answers (L-190)', async () => {
      const pod = await sandbox();
      const obeys = await started(pod, { name: 'obeys', command: commands.exitsOnTerm });
      // The shell needs a moment to set its trap: a signal before that would kill it.
      await runtime.execSync({ containerId: obeys, command: ['true'], timeoutSeconds: 10 }, o);
      await runtime.stopContainer({ containerId: obeys, timeoutSeconds: 60 }, o);
      const ended = await statusOf(obeys);
      assert.deepEqual([ended.state, ended.exitCode, ended.reason], ['exited', 0, 'Completed']);

      const ignores = await started(pod, { name: 'ignores', command: commands.ignoresTerm });
      const stopped = runtime.stopContainer({ containerId: ignores, timeoutSeconds: 1 }, o);
      await fixture.pass(1000);
      await stopped;
      const killed = await statusOf(ignores);
      assert.deepEqual([killed.state, killed.exitCode, killed.reason], ['exited', 137, 'Error']);
      assert.ok((killed.finishedAt ?? 0) - (killed.startedAt ?? 0) >= 1000);

      await runtime.stopContainer({ containerId: ignores, timeoutSeconds: 1 }, o);
      await runtime.stopContainer({ containerId: 'nobody', timeoutSeconds: 1 }, o);
    });

    it('removes containers, also gone ones, and has no status of them', async () => {
      const pod = await sandbox();
      const id = await started(pod);
      await runtime.stopContainer({ containerId: id, timeoutSeconds: 0 }, o);
      await runtime.removeContainer(id, o);
      await runtime.removeContainer(id, o);
      assert.equal(await runtime.containerStatus(id, o), undefined);
      assert.deepEqual(await runtime.listContainers({ podUid: pod.uid }, o), []);
      assert.equal(await runtime.containerStatus('nobody', o), undefined);
      assert.equal(await runtime.podSandboxStatus('nobody', o), undefined);
      await runtime.removePodSandbox('nobody', o);
    });

    it('ends containers with their sandbox, and removes them with it', async () => {
      const pod = await sandbox();
      const running = await started(pod);
      const waiting = await create(pod, { name: 'waiting' });
      await runtime.stopPodSandbox(pod.id, o);
      const done = await statusOf(running);
      assert.deepEqual([done.state, done.exitCode], ['exited', 137]);
      assert.equal((await statusOf(waiting)).state, 'created');
      // containerd 2.1 creates it all the same; none runs it.
      await assert.rejects(started(pod, { attempt: 1 }), RuntimeError);
      await runtime.removePodSandbox(pod.id, o);
      assert.deepEqual(await runtime.listContainers({ podUid: pod.uid }, o), []);
    });

    it('refuses a container without sandbox, without image, or more privileged than its sandbox', async () => {
      const pod = await sandbox();
      await assert.rejects(create({ ...pod, id: 'nobody' }), { name: 'RuntimeError', code: 'not-found' });
      await assert.rejects(create(pod, { image: fixture.missingImage }), { name: 'RuntimeError', code: 'not-found' });
      await assert.rejects(create(pod, { privileged: true }), RuntimeError);
      assert.deepEqual(await runtime.listContainers({ podUid: pod.uid }, o), []);
    });

    it('runs commands: exit code, both streams, timeout, no such container', async () => {
      const containerId = await started(await sandbox());
      const result = await runtime.execSync({ containerId, command: execs.talks, timeoutSeconds: 10 }, o);
      const text = new TextDecoder();
      assert.deepEqual([result.exitCode, text.decode(result.stdout), text.decode(result.stderr)], [3, 'out\n', 'err\n']);
      const late = assert.rejects(runtime.execSync({ containerId, command: execs.hangs, timeoutSeconds: 1 }, o), {
        name: 'RuntimeError',
        code: 'deadline-exceeded',
        retry: 'never',
      });
      await fixture.pass(1000);
      await late;
      await assert.rejects(runtime.execSync({ containerId: 'nobody', command: execs.talks, timeoutSeconds: 1 }, o), {
        name: 'RuntimeError',
        code: 'not-found',
      });
      await runtime.stopContainer({ containerId, timeoutSeconds: 0 }, o);
      await assert.rejects(runtime.execSync({ containerId, command: execs.talks, timeoutSeconds: 1 }, o), RuntimeError);
    });

    it('gives URLs of its streaming server', async () => {
      const pod = await sandbox({ hostNetwork: false });
      const containerId = await started(pod);
      const streams = { tty: false, stdin: false, stdout: true, stderr: true };
      const urls = [
        await runtime.exec({ containerId, command: execs.talks, ...streams }, o),
        await runtime.attach({ containerId, ...streams }, o),
        await runtime.portForward({ sandboxId: pod.id, ports: [80] }, o),
      ];
      assert.deepEqual(
        urls.map((url) => new URL(url).pathname.split('/')[1]),
        ['exec', 'attach', 'portforward'],
      );
    });

    it('tells of starts and exits by events', async () => {
      const ends = new AbortController();
      const pod = await sandbox();
      const id = await create(pod);
      const events = listen(runtime, ends.signal);
      await events.ready(() => touch(pod));
      await runtime.startContainer(id, o);
      await events.about(id);
      await runtime.stopContainer({ containerId: id, timeoutSeconds: 0 }, o);
      const { podUid } = await events.about(id);
      assert.ok(podUid === undefined || podUid === pod.uid);
      const reason = new Superseded();
      ends.abort(reason);
      await assert.rejects(events.ended, (error) => error === reason);
    });

    /** Makes an event of its own, to see whether a stream is open yet. */
    async function touch(pod: { readonly id: string; readonly config: PodSandboxConfig }): Promise<string> {
      touches += 1;
      const id = await started(pod, { name: 'touch', attempt: touches, command: commands.exits0 });
      await exited(id);
      return id;
    }
    let touches = 0;

    it('knows its images; a missing one is undefined, pulling it fails', async () => {
      const image = await runtime.imageStatus({ image: fixture.image }, o);
      assert.ok(image);
      assert.notEqual(image.id, '');
      assert.ok(image.sizeBytes > 0);
      assert.ok(image.repoTags.includes(fixture.image));
      assert.deepEqual(await runtime.imageStatus({ image: image.id }, o), image);
      const listed = await runtime.listImages(o);
      assert.deepEqual(
        listed.find(({ id }) => id === image.id),
        image,
      );
      assert.equal(await runtime.imageStatus({ image: fixture.missingImage }, o), undefined);
      await runtime.removeImage({ image: fixture.missingImage }, o);
      await assert.rejects(runtime.pullImage({ image: { image: fixture.missingImage }, auth: undefined, sandboxConfig: configOf() }, o), {
        name: 'RuntimeError',
        code: 'not-found',
      });
      const [filesystem] = await runtime.imageFsInfo(o);
      assert.ok(filesystem && filesystem.mountpoint !== '');
    });

    it('measures containers and sandboxes', async () => {
      const pod = await sandbox();
      const id = await started(pod);
      const stats = await runtime.containerStats(id, o);
      assert.ok(stats);
      assert.deepEqual([stats.id, stats.name, stats.podUid], [id, 'web', pod.uid]);
      assert.ok((stats.cpu?.usageCoreNanoSeconds ?? 0) > 0);
      assert.ok((stats.memory?.workingSetBytes ?? 0) > 0);
      assert.deepEqual(
        (await runtime.listContainerStats({ podUid: pod.uid }, o)).map((one) => one.id),
        [id],
      );
      assert.equal(await runtime.containerStats('nobody', o), undefined);
      const [podStats] = await runtime.listPodSandboxStats({ podUid: pod.uid }, o);
      assert.ok(podStats);
      assert.deepEqual([podStats.id, podStats.podUid, podStats.containers.map((one) => one.id)], [pod.id, pod.uid, [id]]);
    });

    it('changes resources and reopens logs of a running container', async () => {
      const pod = await sandbox();
      const containerId = await started(pod, { command: ['sh', '-c', 'while :; do echo line; sleep 0.1; done'] });
      await runtime.updateContainerResources({ containerId, resources: { memoryLimitBytes: 96 * 1024 * 1024 } }, o);
      const { logPath, resources } = await statusOf(containerId);
      if (resources !== undefined) assert.equal(resources.memoryLimitBytes, 96 * 1024 * 1024);
      if (fixture.logRoot === '') {
        await runtime.reopenContainerLog(containerId, o);
      } else {
        await rename(logPath, `${logPath}.1`);
        await runtime.reopenContainerLog(containerId, o);
        assert.equal(typeof (await readFile(logPath, 'utf8')), 'string');
      }
      await assert.rejects(runtime.reopenContainerLog('nobody', o), RuntimeError);
    });

    it('gives up with the reason of the signal, before and in the middle of a call', async () => {
      const reason = new Superseded();
      await assert.rejects(runtime.listContainers({}, { signal: AbortSignal.abort(reason) }), (error) => error === reason);
      const containerId = await started(await sandbox());
      const ends = new AbortController();
      const stopped = runtime.stopContainer({ containerId, timeoutSeconds: 600 }, { signal: ends.signal });
      await runtime.containerStatus(containerId, o);
      ends.abort(reason);
      await assert.rejects(stopped, (error) => error === reason);
      assert.equal((await statusOf(containerId)).state, 'running');
    });
  });
}

interface Listener {
  /** Resolves once the stream delivers; `touch` makes events about the container whose id it gives. */
  ready(touch: () => Promise<string>): Promise<void>;
  /** The next event about that container. */
  about(containerId: string): Promise<RuntimeEvent>;
  /** Rejects when the stream has ended. */
  readonly ended: Promise<void>;
}

function listen(runtime: Runtime, signal: AbortSignal): Listener {
  const seen: RuntimeEvent[] = [];
  let next = 0;
  let wake = (): void => undefined;
  const ended = (async () => {
    for await (const event of runtime.events({ signal })) {
      seen.push(event);
      wake();
    }
  })();
  ended.catch(() => wake());
  return {
    ended,
    async about(containerId) {
      for (;;) {
        for (; next < seen.length; next += 1) {
          const event = seen[next];
          if (event?.containerId !== containerId) continue;
          next += 1;
          return event;
        }
        const arrived = new Promise<void>((resolve) => {
          wake = resolve;
        });
        await Promise.race([arrived, ended]);
      }
    },
    async ready(touch) {
      // Nothing says that a stream is open but an event, so events are made until one comes through.
      const touched = new Set<string>();
      while (!seen.some(({ containerId }) => touched.has(containerId))) touched.add(await touch());
      next = seen.length;
    },
  };
}
