// How Pods start, restart and end: one agent on Debian's containerd runs all these Pods at once. Containers write what
// happens to them into a file of the node, line by line. Scenarios of spec 02, section 13, by number.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Pod } from '../../src/api/gen/kubernetes.ts';
import { listProcesses } from '../../src/runtime/containerd/process-table.ts';
import { offlineImages, whyNoContainerd } from '../support/containerd.ts';
import { exec, forever, goes, isOver, run, statusOf, stays, TellingPods } from '../support/telling-pods.ts';
import { cgroupOf, eventually, OwnMounts, options, TestAgent, uidOf } from '../support/test-agent.ts';

const rule = (action: string, ...values: readonly number[]) => [{ action, exitCodes: { operator: 'In', values } }];

describe('the life of Pods on containerd', { skip: whyNoContainerd() ?? false }, () => {
  const mounts = new OwnMounts();
  const agent = new TestAgent({ launcher: mounts.launcher });
  const pods = new TellingPods(agent);
  const put = pods.put.bind(pods);
  const lines = pods.lines.bind(pods);
  const count = pods.count.bind(pods);
  const hasEvent = pods.hasEvent.bind(pods);

  before(async () => {
    await mounts.start('shared');
    await agent.configure();
    await agent.start();
    put('order', {
      initContainers: [
        goes('first'),
        stays('one', { restartPolicy: 'Always', startupProbe: { ...exec('echo one probed >>/o/log'), periodSeconds: 1 } }),
        goes('second'),
        stays('two', { restartPolicy: 'Always' }),
        goes('third'),
      ],
      containers: [stays('app')],
    });
    put('hooks', {
      containers: [
        stays('exec', {
          lifecycle: { postStart: exec('sleep 1; echo exec started >>/o/log'), preStop: exec('echo exec stopping >>/o/log') },
        }),
        run(
          'http',
          `mkdir -p /w/cgi-bin; printf '#!/bin/sh\\necho http asked >>/o/log; echo; echo ok' >/w/cgi-bin/x; chmod +x /w/cgi-bin/x
          httpd -p 8080 -h /w; echo http begins >>/o/log; ${forever}`,
          {
            ports: [{ name: 'web', containerPort: 8080 }],
            lifecycle: { preStop: { httpGet: { port: 'web', path: '/cgi-bin/x' } } },
          },
        ),
        stays('sleep', { lifecycle: { preStop: { sleep: { seconds: 1 } } } }),
      ],
    });
    put('bad-hook', {
      restartPolicy: 'Never',
      containers: [run('app', `trap 'exit 5' TERM; ${forever}`, { lifecycle: { postStart: exec('echo no; exit 1') } })],
    });
    put('liveness', {
      containers: [
        run('app', `touch /tmp/fine; httpd -p 8080 -h /tmp; trap 'echo ends >>/o/log; exit 0' TERM; echo begins >>/o/log; ${forever}`, {
          ports: [{ name: 'probe-port', containerPort: 8080 }],
          livenessProbe: { httpGet: { port: 'probe-port', path: '/fine' }, periodSeconds: 1, failureThreshold: 2 },
          readinessProbe: { httpGet: { port: 'probe-port', path: '/ready' }, periodSeconds: 1 },
          lifecycle: { preStop: exec('echo stopping >>/o/log') },
        }),
      ],
    });
    put('restart-all', {
      restartPolicy: 'Never',
      initContainers: [goes('prepare'), stays('side', { restartPolicy: 'Always' })],
      containers: [
        run('source', `echo source begins >>/o/log; test -e /o/done && { ${forever}; }; sleep 1; touch /o/done; exit 42`, {
          restartPolicy: 'Never',
          restartPolicyRules: rule('RestartAllContainers', 42),
        }),
        stays('other'),
      ],
    });
    put('rules', {
      restartPolicy: 'Never',
      containers: [
        run('app', 'test -e /o/again && exit 1; touch /o/again; exit 7', {
          restartPolicy: 'Never',
          restartPolicyRules: rule('Restart', 7),
        }),
      ],
    });
    put('init-never', { restartPolicy: 'Never', initContainers: [goes('good'), goes('bad', 3), goes('never')], containers: [goes('app')] });
    put('init-again', {
      restartPolicy: 'OnFailure',
      initContainers: [run('flaky', 'test -e /o/again && exit 0; touch /o/again; exit 1')],
      containers: [goes('app')],
    });
    put('job', { restartPolicy: 'Never', initContainers: [stays('side', { restartPolicy: 'Always' })], containers: [goes('app')] });
    put('job-failed', { restartPolicy: 'Never', containers: [goes('good'), goes('bad', 4)] });
    put('no-image', {
      containers: [
        stays('never', { image: 'docker.io/library/absent:1', imagePullPolicy: 'Never' }),
        stays('refused', { image: '127.0.0.1:1/absent:1' }),
      ],
    });
    put('image', {
      containers: [stays('app', { volumeMounts: [{ name: 'i', mountPath: '/i' }] })],
      volumes: [{ name: 'i', image: { reference: offlineImages.nginx, pullPolicy: 'IfNotPresent' } }],
    });
    put('users', { hostUsers: false, containers: [stays('app')] });
    put('sandbox', { initContainers: [goes('prepare')], containers: [stays('app')] });
    put('adopted', {
      initContainers: [goes('prepare'), stays('side', { restartPolicy: 'Always', startupProbe: { ...exec('true'), periodSeconds: 1 } })],
      containers: [stays('app', { readinessProbe: { ...exec('true'), periodSeconds: 1 } })],
    });
    put('post-start', {
      initContainers: [
        run(
          'web',
          `mkdir -p /w/cgi-bin; printf '#!/bin/sh\\necho asked >>/o/log; echo; echo ok' >/w/cgi-bin/x; chmod +x /w/cgi-bin/x
          httpd -p 8080 -h /w; trap 'exit 0' TERM; ${forever}`,
          { restartPolicy: 'Always', startupProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 } },
        ),
      ],
      containers: [
        stays('asks', { lifecycle: { postStart: { httpGet: { port: 8080, path: '/cgi-bin/x' } } } }),
        stays('sleeps', { lifecycle: { postStart: { sleep: { seconds: 2 } } } }),
        stays('last'),
      ],
    });
    put('side-exits', {
      restartPolicy: 'Never',
      initContainers: [
        run('side', `echo side begins >>/o/log; test -e /o/again || { touch /o/again; exit 1; }; ${forever}`, { restartPolicy: 'Always' }),
      ],
      containers: [stays('app')],
    });
    put('probe-grace', {
      terminationGracePeriodSeconds: 600,
      containers: [
        run('app', `trap 'echo asked >>/o/log' TERM; ${forever}`, {
          livenessProbe: { ...exec('test ! -e /tmp/sick'), periodSeconds: 1, failureThreshold: 1, terminationGracePeriodSeconds: 1 },
        }),
      ],
    });
    put('no-program', { containers: [run('missing', '', { command: ['/no/such'] }), run('folder', '', { command: ['/etc'] })] });
    put('signal', { os: { name: 'linux' }, containers: [stays('app', { lifecycle: { stopSignal: 'SIGUSR1' } })] });
    put('crash', { containers: [run('app', 'date +%s >>/o/log; exit 1')] });
  });
  after(async () => {
    await agent.destroy();
    mounts.stop();
  });

  it('C-262 C-267 C-268 init containers and sidecars begin in their order', async () => {
    await agent.ready('order');
    const begun = lines('order').filter((line) => line !== 'one probed');
    assert.deepEqual(begun, [
      'first begins',
      'first ends',
      'one begins',
      'second begins',
      'second ends',
      'two begins',
      'third begins',
      'third ends',
      'app begins',
    ]);
    assert.ok(lines('order').indexOf('one probed') < lines('order').indexOf('second begins'));
  });

  it('C-286 and end in the opposite order', async () => {
    agent.remove('order.json');
    await agent.gone('order');
    assert.deepEqual(lines('order').slice(-3), ['app ends', 'two ends', 'one ends']);
  });

  it('C-292 C-287 hooks: the next container waits for postStart; preStop by command, by request, by waiting', async () => {
    await agent.ready('hooks');
    assert.deepEqual(lines('hooks').slice(0, 3), ['exec begins', 'exec started', 'http begins']);
    agent.remove('hooks.json');
    await agent.gone('hooks');
    const order = lines('hooks');
    assert.ok(order.includes('http asked'), order.join());
    assert.ok(order.indexOf('exec stopping') < order.indexOf('exec ends'), order.join());
    assert.ok(order.indexOf('exec ends') < order.indexOf('sleep ends'), order.join());
  });

  it('C-294 a failing postStart hook ends its container', async () => {
    const pod = await agent.until('bad-hook', 'is over', isOver);
    assert.equal(pod.status?.phase, 'Failed', JSON.stringify(pod.status?.containerStatuses));
    await hasEvent('bad-hook', /^FailedPostStartHook: /);
    await hasEvent('bad-hook', /^Killing: FailedPostStartHook$/);
  });

  it('L-426 L-428 L-431 postStart by request and by waiting', async () => {
    const pod = await agent.ready('post-start');
    assert.deepEqual(lines('post-start'), ['asks begins', 'asked', 'sleeps begins', 'last begins']);
    const startedAt = (name: string): number => Date.parse(statusOf(pod, name)?.state?.running?.startedAt ?? '');
    assert.ok(startedAt('last') - startedAt('sleeps') >= 2000);
  });

  it('L-147 L-448 a sidecar that exits is started again, also in a Pod of policy Never', async () => {
    const pod = await agent.ready('side-exits', (one) => statusOf(one, 'side')?.restartCount === 1);
    assert.deepEqual([pod.status?.phase, statusOf(pod, 'side')?.lastState?.terminated?.exitCode], ['Running', 1]);
    assert.equal(count('side-exits', 'app begins'), 1);
  });

  it('L-424 L-434 the grace of a probe counts for its kill', async () => {
    await agent.ready('probe-grace');
    await agent.exec('probe-grace', 'app', 'touch /tmp/sick');
    const pod = await agent.until('probe-grace', 'runs again', (one) => statusOf(one, 'app')?.restartCount === 1);
    assert.equal(statusOf(pod, 'app')?.lastState?.terminated?.exitCode, 137);
    assert.deepEqual(lines('probe-grace'), ['asked']);
  });

  it('L-460 L-467 L-469 programs that cannot be started: RunContainerError, StartError, CrashLoopBackOff', async () => {
    const waits = (pod: Pod, reason: string): boolean =>
      ['missing', 'folder'].some((name) => statusOf(pod, name)?.state?.waiting?.reason === reason);
    await hasEvent('no-program', /^Failed: Error: .*"\/no\/such": stat \/no\/such: no such file or directory/);
    const pod = await agent.until('no-program', 'is in its back-off', (one) => waits(one, 'CrashLoopBackOff'));
    for (const [name, text] of [
      ['missing', 'no such file or directory'],
      ['folder', 'permission denied|is a directory'],
    ] as const) {
      const { reason, exitCode, message = '' } = statusOf(pod, name)?.lastState?.terminated ?? {};
      assert.deepEqual([reason, exitCode], ['StartError', 128], name);
      assert.match(message, new RegExp(text));
    }
  });

  it('L-430 a stop signal that this runtime does not know of: an Event says so', async () => {
    await hasEvent('signal', /^StopSignalIgnored: lifecycle.stopSignal SIGUSR1 has no effect/);
  });

  it('L-485 L-486 L-488 addresses, class and generation', async () => {
    const { status } = await agent.ready('adopted');
    assert.deepEqual(status?.podIPs, [{ ip: status?.podIP }]);
    assert.deepEqual(status?.hostIPs, [{ ip: status?.hostIP }]);
    assert.notEqual(status?.podIP, status?.hostIP);
    assert.equal(status?.qosClass, 'BestEffort');
    assert.equal(status?.observedGeneration, undefined);
  });

  it('C-279 C-213 a process that ignores SIGTERM, at a deadline', async () => {
    put('stubborn', {
      activeDeadlineSeconds: 4,
      terminationGracePeriodSeconds: 2,
      containers: [run('app', "trap 'echo asked >>/o/log' TERM; while :; do sleep 0.1; done")],
    });
    const pod = await agent.until(
      'stubborn',
      'is over and ended',
      (one) => isOver(one) && statusOf(one, 'app')?.state?.terminated !== undefined,
    );
    assert.equal(pod.status?.reason, 'DeadlineExceeded');
    assert.deepEqual([statusOf(pod, 'app')?.state?.terminated?.exitCode, statusOf(pod, 'app')?.state?.terminated?.reason], [137, 'Error']);
    assert.ok(lines('stubborn').includes('asked'));
  });

  it('C-319 C-282 probes by named port: not ready, ready, killed when not alive, with its hook', async () => {
    const unready = await agent.until('liveness', 'runs', (pod) => statusOf(pod, 'app')?.started === true);
    assert.equal(statusOf(unready, 'app')?.ready, false);
    await agent.exec('liveness', 'app', 'touch /tmp/ready');
    await agent.ready('liveness');
    await agent.exec('liveness', 'app', 'rm /tmp/fine');
    await hasEvent('liveness', /^Unhealthy: Liveness probe failed: HTTP probe failed with statuscode: 404/);
    await hasEvent('liveness', /^Killing: Container app failed liveness probe, will be restarted$/);
    await agent.until(
      'liveness',
      'runs again',
      (pod) => statusOf(pod, 'app')?.restartCount === 1 && statusOf(pod, 'app')?.state?.running !== undefined,
    );
    assert.deepEqual(lines('liveness').slice(0, 4), ['begins', 'stopping', 'ends', 'begins']);
  });

  it('C-259 an exit code restarts all containers in their sandbox', async () => {
    const pod = await agent.until('restart-all', 'is up again', (one) => {
      const all = [...(one.status?.initContainerStatuses ?? []), ...(one.status?.containerStatuses ?? [])];
      return (
        all.every(({ restartCount }) => restartCount === 1) &&
        (one.status?.containerStatuses ?? []).every(({ state }) => state?.running !== undefined)
      );
    });
    assert.equal(pod.status?.phase, 'Running');
    assert.equal((await agent.sandboxes(uidOf(pod))).length, 1);
    const begun = ['prepare begins', 'side begins', 'source begins', 'other begins'].map((line) => count('restart-all', line));
    assert.deepEqual(begun, [2, 2, 2, 2]);
    assert.equal(pod.status?.conditions?.find(({ type }) => type === 'AllContainersRestarting')?.status, 'False');
  });

  it('C-257 a rule restarts a container of policy Never, once', async () => {
    const pod = await agent.until('rules', 'is over', isOver);
    const status = statusOf(pod, 'app');
    assert.deepEqual([pod.status?.phase, status?.restartCount, status?.state?.terminated?.exitCode], ['Failed', 1, 1]);
    assert.equal(status?.lastState?.terminated?.exitCode, 7);
  });

  it('C-263 C-265 failing init containers', async () => {
    const never = await agent.until('init-never', 'is over', isOver);
    assert.equal(never.status?.phase, 'Failed');
    assert.deepEqual(lines('init-never'), ['good begins', 'good ends', 'bad begins', 'bad ends']);
    assert.deepEqual(statusOf(never, 'app')?.state, { waiting: { reason: 'PodInitializing' } });
    const again = await agent.until('init-again', 'is over', isOver);
    assert.deepEqual([again.status?.phase, statusOf(again, 'flaky')?.restartCount], ['Succeeded', 1]);
  });

  it('C-261 C-337 a Pod that is done: its sidecar is ended, the exit codes decide', async () => {
    const done = await agent.until('job', 'is over', (pod) => isOver(pod) && statusOf(pod, 'side')?.state?.terminated !== undefined);
    assert.deepEqual([done.status?.phase, statusOf(done, 'side')?.restartCount], ['Succeeded', 0]);
    assert.deepEqual(lines('job').slice(-2), ['app ends', 'side ends']);
    const failed = await agent.until('job-failed', 'is over', isOver);
    assert.equal(failed.status?.phase, 'Failed');
  });

  it('C-264 C-272 images that cannot be had', async () => {
    const pod = await agent.until('no-image', 'waits', (one) => statusOf(one, 'refused')?.state?.waiting?.reason === 'ImagePullBackOff');
    assert.equal(statusOf(pod, 'never')?.state?.waiting?.reason, 'ErrImageNeverPull');
    assert.equal(pod.status?.phase, 'Pending');
    assert.match(
      statusOf(pod, 'refused')?.state?.waiting?.message ?? '',
      /^Back-off pulling image "127\.0\.0\.1:1\/absent:1": ErrImagePull: /,
    );
  });

  it('L-271 a user namespace that this runtime cannot make is refused, and says so', async () => {
    await hasEvent('users', /^FailedCreatePodSandBox: .*can't set `spec.hostUsers: false`, runtime does not support user namespaces$/);
  });

  it('L-239 an image volume, which this runtime cannot mount, is refused', async () => {
    const pod = await agent.until('image', 'waits', (one) => statusOf(one, 'app')?.state?.waiting?.reason === 'CreateContainerConfigError');
    assert.equal(statusOf(pod, 'app')?.state?.waiting?.message, 'volume "i": this runtime cannot mount images');
  });

  it('C-249 a dead sandbox is made anew, and initialisation with it', async () => {
    const before = await agent.ready('sandbox');
    const [old] = await agent.sandboxes(uidOf(before));
    assert.ok(old !== undefined);
    const pause = (await listProcesses()).find(({ pid }) => cgroupOf(pid).includes(old.id));
    assert.ok(pause !== undefined);
    process.kill(pause.pid, 'SIGKILL');
    const pod = await eventually(agent, 'another sandbox', async () => {
      const [newest] = [...(await agent.sandboxes(uidOf(before)))].sort((a, b) => b.attempt - a.attempt);
      return newest?.attempt === 1 && newest.state === 'ready'
        ? agent.ready('sandbox', (one) => statusOf(one, 'app')?.restartCount === 1)
        : undefined;
    });
    assert.ok(pod.status?.podIP !== undefined);
    assert.equal(count('sandbox', 'prepare begins'), 2);
    await hasEvent('sandbox', /^SandboxChanged: /);
  });

  it('L-169 C-234 the crash back-off goes on over kill -9 of the agent (D2; differs from C-236)', async () => {
    const times = (): readonly number[] => lines('crash').map(Number);
    await eventually(agent, 'the third run', () => times().length >= 3 || undefined, 30);
    await agent.end('SIGKILL');
    const runs = times().length;
    await agent.start();
    await agent.until('crash', 'waits', (pod) => statusOf(pod, 'app')?.state?.waiting?.reason === 'CrashLoopBackOff');
    await eventually(agent, 'the next run', () => times().length === runs + 1 || undefined, 60);
    const gaps = times()
      .slice(1)
      .map((at, i) => at - (times()[i] ?? 0));
    // Whole seconds, rounded down: a gap of 10 s may look like 9 or 11; starting takes its time on top.
    for (const [i, gap] of gaps.entries()) assert.ok(gap >= (i === 0 ? 0 : 10 * 2 ** (i - 1)) - 1, `gaps ${gaps.join()}`);
    const pod = await agent.until('crash', 'counts on', (one) => (statusOf(one, 'app')?.restartCount ?? 0) >= runs);
    const names = (await agent.containers(uidOf(pod))).map(({ attempt }) => attempt);
    assert.ok(names.includes(runs), names.join());
  });

  it('C-224 C-225 C-226 a restart of the agent is not noticed, although a record is gone; then what exits comes back', async () => {
    const before = await agent.ready('adopted');
    const uid = uidOf(before);
    await agent.end('SIGKILL');
    const prepare = (await agent.containers(uid)).find(({ name }) => name === 'prepare');
    await agent.runtime.removeContainer(prepare?.id ?? '', options);
    await agent.start();
    const after = await agent.until('adopted', 'is there', ({ status }) => status?.containerStatuses?.[0]?.containerID !== undefined);
    assert.deepEqual(after.status?.conditions, before.status?.conditions);
    assert.deepEqual(after.status?.containerStatuses, before.status?.containerStatuses);
    assert.equal(after.status?.startTime, before.status?.startTime);
    assert.equal(statusOf(after, 'prepare')?.state?.terminated?.reason, 'Completed');
    const app = (await agent.containers(uid)).find(({ name, state }) => name === 'app' && state === 'running');
    await agent.killContainer(app?.id ?? '');
    await agent.ready('adopted', (pod) => statusOf(pod, 'app')?.restartCount === 1);
    const begun = ['prepare begins', 'side begins', 'app begins'].map((line) => count('adopted', line));
    assert.deepEqual(begun, [1, 1, 2]);
  });

  it('C-374 L-052 another cgroup root: what runs outside it is ended in order and made anew inside', async () => {
    const uid = uidOf(await agent.ready('adopted'));
    await agent.end('SIGKILL');
    const config = path.join(agent.dir, 'config.yaml');
    writeFileSync(config, readFileSync(config, 'utf8').replaceAll(`"${agent.cgroupRoot}"`, `"${agent.cgroupRoot}/other"`));
    await agent.start();
    await eventually(agent, 'another sandbox', async () =>
      (await agent.sandboxes(uid)).some(({ attempt }) => attempt === 1) ? true : undefined,
    );
    await agent.ready('adopted', (pod) => statusOf(pod, 'app')?.restartCount === 2);
    assert.ok(lines('adopted').includes('app ends'));
    const running = (await agent.containers(uid)).find(({ name, state }) => name === 'app' && state === 'running');
    const inside = (await listProcesses()).filter(({ pid }) => cgroupOf(pid).includes(running?.id ?? ''));
    assert.ok(inside.length > 0);
    for (const { pid } of inside) assert.ok(cgroupOf(pid).includes(`${agent.cgroupRoot}/other/kubepods/`), cgroupOf(pid));
  });
});
