// The whole loop of Pods on a fake runtime: what a person would see happen on the machine.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { onMachine, staticPod } from '../../test/support/pod-machine.ts';
import { buildContainer } from '../../test/support/pods.ts';
import { RuntimeError } from '../std/errors.ts';

test('a Pod is started: sandbox, container, status, each as soon as the one before (L-057, C-201, C-311)', () =>
  onMachine({}, async (m) => {
    await m.apply(staticPod('uid-1'));
    assert.deepEqual(m.takeDeeds(), ['runPodSandbox web-node1/0', 'createContainer app/0', 'startContainer app/0']);
    assert.equal(m.status()?.phase, 'Running');
    assert.equal(m.status()?.conditions?.find((c) => c.type === 'Ready')?.status, 'True');
    assert.deepEqual(m.errors, []);
  }));

test('a crash loop backs off 0, 10, 20, 40 … seconds after each end (L-169, C-299, C-306)', () =>
  onMachine({ process: () => ({ exitsWith: 1 }) }, async (m) => {
    const begin = m.clock.now();
    await m.apply(staticPod('uid-1'));
    assert.deepEqual(await m.containers(), ['app/1 exited'], 'older records are removed (L-384)');
    const status = m.status();
    const container = status?.containerStatuses?.[0];
    assert.equal(status?.phase, 'Running');
    assert.equal(container?.state?.waiting?.reason, 'CrashLoopBackOff');
    assert.equal(container?.state?.waiting?.message, 'back-off 10s restarting failed container=app pod=web-node1_default(uid-1)');
    assert.equal(container?.lastState?.terminated?.exitCode, 1);
    await m.advance(315_000);
    const at = [0, 1, 2, 3, 4, 5, 6, 7].map((n) => m.startedAt(`startContainer app/${n}`).map((t) => (t - begin) / 1000));
    assert.deepEqual(at, [[0], [0], [10], [30], [70], [150], [310], []]);
    assert.equal(m.status()?.containerStatuses?.[0]?.restartCount, 6);
    assert.deepEqual(m.errors, []);
  }));

for (const [title, maxMs, seconds, expected] of [
  ['30 s (L-171, C-300)', 30_000, 125, [0, 0, 10, 30, 60, 90, 120]],
  ['1 s (L-171, C-302)', 1_000, 6, [0, 0, 1, 2, 3, 4, 5, 6]],
] as const) {
  test(`a crash loop under a maximum of ${title}`, () =>
    onMachine({ process: () => ({ exitsWith: 1 }) }, async (m) => {
      m.backoff = { ...m.backoff, maxMs };
      const begin = m.clock.now();
      await m.apply(staticPod('uid-1'));
      await m.advance(seconds * 1000);
      const at = expected.map((_, n) => m.startedAt(`startContainer app/${n}`).map((t) => (t - begin) / 1000));
      assert.deepEqual(
        at,
        expected.map((second) => [second]),
      );
      assert.deepEqual(m.startedAt(`startContainer app/${expected.length}`), []);
    }));
}

test('the back-off goes on over a restart of the agent (D2; differs from C-236)', () =>
  onMachine({ process: () => ({ exitsWith: 1 }) }, async (m) => {
    const begin = m.clock.now();
    await m.apply(staticPod('uid-1'));
    await m.advance(75_000); // started at 0, 0, 10, 30, 70
    await m.restart();
    await m.advance(80_000);
    assert.deepEqual(
      m.startedAt('startContainer app/5').map((t) => (t - begin) / 1000),
      [150],
    );
  }));

test('a Pod started when it was first seen, also for the agent after this one (L-487, D2)', () =>
  onMachine({}, async (m) => {
    let open = (): void => undefined;
    m.volumeGate = new Promise((resolve) => {
      open = resolve;
    });
    await m.apply(staticPod('uid-1'));
    const startTime = m.status()?.startTime;
    await m.advance(90_000);
    open();
    await m.settle();
    assert.deepEqual(await m.containers(), ['app/0 running']);
    await m.restart();
    assert.equal(m.status()?.startTime, startTime, 'not when its sandbox was made');
  }));

test('started and ready stand over a restart of the agent until a probe says otherwise (L-076, C-224, D2)', () =>
  onMachine({}, async (m) => {
    const probe = { exec: { command: ['true'] } };
    await m.apply(staticPod('uid-1', { containers: [buildContainer({ startupProbe: probe, readinessProbe: probe })] }));
    m.probes.set('app', { startup: 'success', readiness: 'success' });
    m.agent.workers.wakeAll();
    await m.settle();
    const before = m.status();
    assert.equal(before?.containerStatuses?.[0]?.ready, true);
    m.probes.clear();
    await m.restart();
    assert.deepEqual(m.status(), before, 'transition times included');
    m.probes.set('app', { startup: 'success', readiness: 'failure' });
    m.agent.workers.wakeAll();
    await m.settle();
    const after = m.status()?.containerStatuses?.[0];
    assert.deepEqual([after?.started, after?.ready], [true, false]);
    assert.deepEqual(m.errors, []);
  }));

test('a changed manifest: the old UID ends fully, then the new one starts (S-271, S-275, S-279, C-202, C-205)', () =>
  onMachine({ process: () => ({ onTerm: 'ignore' }) }, async (m) => {
    const pod = (uid: string) => staticPod(uid, { terminationGracePeriodSeconds: 20 });
    await m.apply(pod('uid-1'));
    m.takeDeeds();
    await m.apply(pod('uid-2'));
    assert.deepEqual(m.takeDeeds(), ['stopContainer app/0 20']);
    await m.advance(19_000);
    assert.deepEqual(m.takeDeeds(), []);
    await m.advance(1_500);
    assert.deepEqual(m.takeDeeds(), [
      'stopPodSandbox web-node1/0',
      'removeContainer app/0',
      'removePodSandbox web-node1/0',
      'runPodSandbox web-node1/0',
      'createContainer app/0',
      'startContainer app/0',
    ]);
    assert.deepEqual(await m.remains('uid-1'), []);
    assert.equal(m.status('uid-2')?.containerStatuses?.[0]?.restartCount, 0);
  }));

test('a removed Pod leaves nothing (L-049, C-204)', () =>
  onMachine({}, async (m) => {
    await m.apply(staticPod('uid-1', { initContainers: [buildContainer({ name: 'log', restartPolicy: 'Always' })] }));
    await m.apply();
    await m.advance(1_000);
    assert.deepEqual(await m.remains(), []);
    assert.deepEqual(m.agent.workers.pods(), []);
  }));

test('removed and put back while it ends: it ends fully, starts by itself, and restart counts go on (L-045, S-259, S-285, S-286, C-047, C-057, C-207)', () =>
  onMachine({ process: () => ({ onTerm: 'ignore' }) }, async (m) => {
    const pod = staticPod('uid-1', { terminationGracePeriodSeconds: 20 });
    await m.apply(pod);
    await m.apply();
    await m.advance(5_000);
    await m.apply(pod);
    await m.advance(10_000);
    assert.deepEqual(await m.containers(), ['app/0 running'], 'the old incarnation has its whole grace');
    m.takeDeeds();
    await m.advance(6_000);
    assert.deepEqual(m.takeDeeds().slice(-3), ['runPodSandbox web-node1/1', 'createContainer app/1', 'startContainer app/1']);
    assert.equal(m.status()?.phase, 'Running');
    assert.equal(m.status()?.containerStatuses?.[0]?.restartCount, 1);
    await m.apply();
    await m.advance(25_000);
    assert.deepEqual(await m.remains(), [], 'removed for good, it leaves nothing');
  }));

test('put back and removed again while it ends: it leaves nothing (L-045, C-204)', () =>
  onMachine({ process: () => ({ onTerm: 'ignore' }) }, async (m) => {
    const pod = staticPod('uid-1', { terminationGracePeriodSeconds: 20 });
    await m.apply(pod);
    for (const desired of [[], [pod], []]) await m.apply(...desired);
    await m.advance(25_000);
    assert.deepEqual(await m.remains(), []);
  }));

test('what runs once, or has a deadline, begins from scratch when it is put back while it ends (S-286, D4)', async () => {
  for (const spec of [{ restartPolicy: 'Never' }, { activeDeadlineSeconds: 60 }] as const)
    await onMachine({}, async (m) => {
      const pod = staticPod('uid-1', spec);
      await m.apply(pod);
      await m.apply();
      await m.apply(pod);
      await m.advance(1_000);
      assert.deepEqual(await m.containers(), ['app/0 running']);
      assert.equal(m.status()?.phase, 'Running');
    });
});

test('the agent dies and comes back: no container is touched (L-071, S-246, C-223)', () =>
  onMachine({}, async (m) => {
    await m.apply(staticPod('uid-1', { initContainers: [buildContainer({ name: 'prepare' })] }), staticPod('uid-2', {}, 'db'));
    await m.exit('prepare', 0);
    m.takeDeeds();
    const before = await m.observe();
    await m.restart();
    await m.advance(130_000);
    assert.deepEqual(m.takeDeeds(), []);
    assert.deepEqual(await m.observe(), before);
    assert.equal(m.status()?.phase, 'Running');
    assert.equal(m.status()?.conditions?.find((c) => c.type === 'Ready')?.status, 'True');
  }));

test('restart counts go on after a restart of the agent (L-074, L-174, C-234)', () =>
  onMachine({}, async (m) => {
    await m.apply(staticPod('uid-1'));
    await m.exit('app', 1);
    await m.restart();
    await m.advance(700_000);
    await m.exit('app', 1);
    assert.deepEqual(await m.containers(), ['app/1 exited', 'app/2 running']);
    assert.equal(m.status()?.containerStatuses?.[0]?.restartCount, 2);
  }));

test('a Pod whose manifest went while the agent was down ends with its grace and its preStop hook (C-229)', () =>
  onMachine({ process: () => ({ onTerm: 'ignore' }) }, async (m) => {
    const lifecycle = { preStop: { exec: { command: ['/bin/bye'] } } };
    await m.apply(staticPod('uid-1', { terminationGracePeriodSeconds: 20, containers: [buildContainer({ lifecycle })] }));
    await m.crash();
    m.desired.clear();
    m.takeDeeds();
    await m.start();
    assert.deepEqual(m.takeDeeds(), ['execSync app/0 /bin/bye', 'stopContainer app/0 20']);
    await m.advance(19_000);
    assert.deepEqual(await m.containers(), ['app/0 running']);
    assert.equal(m.status(), undefined, 'nobody asked for it (L-066)');
    await m.advance(2_000);
    assert.deepEqual(await m.remains(), []);
  }));

test('a source that has not spoken: its Pods run on, and end when it has (L-018, L-032, S-235, S-238, C-043, C-219)', () =>
  onMachine({}, async (m) => {
    await m.apply(staticPod('uid-1'));
    await m.crash();
    m.desired.clear();
    m.seen.clear();
    m.takeDeeds();
    await m.start();
    await m.advance(300_000);
    assert.deepEqual(m.takeDeeds(), []);
    m.seen.add('file');
    await m.apply();
    await m.advance(1_000);
    assert.deepEqual(await m.remains(), []);
  }));

test("other people's containers are left alone", () =>
  onMachine({}, async (m) => {
    await m.apply(staticPod('uid-1', {}, 'web', 'api'));
    await m.crash();
    m.desired.clear();
    m.takeDeeds();
    await m.start();
    await m.advance(120_000);
    assert.deepEqual(m.takeDeeds(), []);
  }));

test('a host port that is taken: refused, and admitted as soon as there is room (D4, S-460, S-465)', () =>
  onMachine({}, async (m) => {
    const containers = [buildContainer({ ports: [{ containerPort: 80, hostPort: 8080 }] })];
    const [a, b] = [staticPod('uid-1', { containers }, 'a'), staticPod('uid-2', { containers }, 'b')];
    await m.apply(a, b);
    assert.equal(m.status('uid-1')?.phase, 'Running');
    assert.equal(m.status('uid-2')?.phase, 'Failed');
    assert.equal(m.status('uid-2')?.reason, 'NodePorts');
    assert.ok(
      m.events.take().includes("Warning NodePorts: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"),
    );
    await m.apply(b);
    await m.advance(1_000);
    assert.equal(m.status('uid-2')?.phase, 'Running');
  }));

test('a Pod that ends by its deadline keeps its host ports until it has ended (S-460)', () =>
  onMachine({ process: () => ({ onTerm: 'ignore' }) }, async (m) => {
    const spec = { containers: [buildContainer({ ports: [{ containerPort: 80, hostPort: 8080 }] })], terminationGracePeriodSeconds: 20 };
    const a = staticPod('uid-1', { ...spec, activeDeadlineSeconds: 5 }, 'a');
    await m.apply(a);
    await m.advance(6_000);
    assert.equal(m.status()?.reason, 'DeadlineExceeded');
    await m.apply(a, staticPod('uid-2', spec, 'b'));
    assert.equal(m.status('uid-2')?.reason, 'NodePorts');
    await m.advance(40_000);
    assert.equal(m.status('uid-2')?.phase, 'Running');
  }));

test('two manifests of one name: the second waits for the first (C-211, C-212)', () =>
  onMachine({}, async (m) => {
    const [a, b, c] = [staticPod('uid-1'), staticPod('uid-2'), staticPod('uid-3')];
    await m.apply(a, b, c);
    assert.deepEqual(await m.containers('uid-2'), []);
    await m.apply(a, c);
    await m.apply(c);
    await m.advance(1_000);
    assert.deepEqual(await m.containers('uid-3'), ['app/0 running']);
    assert.ok(!m.runtime.deeds.some((deed) => deed.includes('uid-2')));
  }));

test('a Pod that waits for its predecessor says so, and in an Event when that takes long (D5, S-268)', () =>
  onMachine({ process: () => ({ onTerm: 'ignore' }) }, async (m) => {
    const { workers } = m.agent;
    const told = (): readonly string[] => m.events.lines.filter((line) => line.includes('WaitingForPredecessor'));
    await m.apply(staticPod('uid-1', { terminationGracePeriodSeconds: 25 }));
    await m.apply(staticPod('uid-2'));
    const why = 'waits until the Pod before it has ended, which may take its grace of 25 s';
    assert.equal(workers.whyNotBegun('uid-2'), why);
    assert.deepEqual(told(), []);
    await m.advance(21_000);
    assert.deepEqual(told(), [`Normal WaitingForPredecessor: ${why}`]);
    await m.advance(10_000);
    assert.equal(m.status('uid-2')?.phase, 'Running');
    assert.equal(workers.whyNotBegun('uid-2'), undefined);
    await m.apply();
    await m.apply(staticPod('uid-2'));
    assert.equal(workers.whyNotBegun('uid-2'), 'it is being ended, and begins anew after that');
    await m.advance(60_000);
    assert.equal(workers.whyNotBegun('uid-2'), undefined);
    assert.equal(told().length, 1);
  }));

test('after a power loss every Pod gets a new sandbox (L-078, C-230)', () =>
  onMachine({}, async (m) => {
    await m.apply(staticPod('uid-1', { initContainers: [buildContainer({ name: 'prepare' })] }));
    await m.exit('prepare', 0);
    assert.equal(m.status()?.phase, 'Running');
    await m.crash();
    m.runtime.powerLoss();
    m.takeDeeds();
    await m.start();
    assert.equal(m.status()?.phase, 'Pending', 'while it initialises again');
    await m.exit('prepare', 0);
    assert.deepEqual(
      m.takeDeeds(),
      [
        'stopPodSandbox web-node1/0',
        'removeContainer prepare/0',
        'runPodSandbox web-node1/1',
        'createContainer prepare/0',
        'startContainer prepare/0',
        'createContainer app/1',
        'startContainer app/1',
      ].map((deed) => deed),
    );
    assert.equal(m.status()?.phase, 'Running');
  }));

test('a sandbox that dies takes its containers along gracefully, then all start anew (L-120, L-124, C-240)', () =>
  onMachine({}, async (m) => {
    await m.apply(staticPod('uid-1'));
    m.takeDeeds();
    m.events.take();
    m.runtime.killSandbox(m.runtime.sandboxId('web-node1'));
    await m.settle();
    assert.deepEqual(m.takeDeeds(), [
      'stopContainer app/0 30',
      'stopPodSandbox web-node1/0',
      'runPodSandbox web-node1/1',
      'createContainer app/1',
      'startContainer app/1',
    ]);
    assert.ok(m.events.take().includes('Normal SandboxChanged: Pod sandbox changed, it will be killed and re-created.'));
  }));

test('a one-shot Pod that ended stays ended, over restarts too (L-126, C-232)', () =>
  onMachine({}, async (m) => {
    await m.apply(staticPod('uid-1', { restartPolicy: 'Never' }));
    await m.exit('app', 0);
    assert.equal(m.status()?.phase, 'Succeeded');
    await m.advance(1_000);
    const ips = m.status()?.podIPs;
    assert.equal(ips?.length, 1);
    await m.restart();
    assert.deepEqual([m.status()?.phase, m.status()?.podIPs], ['Succeeded', ips]);
    m.runtime.powerLoss();
    await m.restart();
    await m.advance(120_000);
    assert.equal(m.status()?.phase, 'Succeeded');
    assert.deepEqual(await m.containers(), ['app/0 exited']);
    await m.apply();
    await m.advance(1_000);
    assert.deepEqual(await m.remains(), []);
  }));

test('a one-shot Pod whose sandbox dies in mid-run fails (L-126, C-233)', () =>
  onMachine({}, async (m) => {
    await m.apply(staticPod('uid-1', { restartPolicy: 'Never', initContainers: [buildContainer({ name: 'prepare' })] }));
    m.runtime.powerLoss();
    await m.restart();
    assert.equal(m.status()?.phase, 'Failed');
    assert.deepEqual(await m.containers(), ['prepare/0 exited']);
  }));

test('the runtime fails for a while: nothing is lost, all goes on by itself (D4, L-010, S-240, C-313)', () =>
  onMachine({}, async (m) => {
    for (const method of ['runPodSandbox', 'createContainer', 'startContainer'] as const) {
      m.runtime.failNext(method);
      m.runtime.failNext(method);
    }
    await m.apply(staticPod('uid-1'));
    await m.advance(60_000);
    assert.equal(m.status()?.phase, 'Running');
    for (let i = 0; i < 8; i++) m.runtime.failNext('listContainers');
    m.agent.workers.wake('uid-1');
    await m.advance(60_000);
    await m.apply();
    for (const method of ['stopContainer', 'stopPodSandbox', 'removeContainer', 'removePodSandbox'] as const) m.runtime.failNext(method);
    await m.advance(60_000);
    assert.deepEqual(await m.remains(), []);
    assert.deepEqual(m.errors, []);
  }));

test('the runtime dies while it starts a container: the same container is started when it is back, at once (P7, D4)', () =>
  onMachine({}, async (m) => {
    m.runtime.failNext('startContainer', new RuntimeError('unavailable', 'Connection dropped'));
    await m.apply(staticPod('uid-1'));
    m.runtime.clearCalls();
    await m.advance(1_000);
    assert.deepEqual(m.runtime.deeds, ['startContainer app/0']);
    assert.deepEqual([m.status()?.phase, m.status()?.containerStatuses?.[0]?.restartCount], ['Running', 0]);
  }));

test('the runtime cannot be read when the agent starts: what it has is found later', () =>
  onMachine({}, async (m) => {
    await m.apply(staticPod('uid-1'));
    await m.crash();
    m.desired.clear();
    m.desired.set('uid-2', staticPod('uid-2'));
    m.runtime.failNext('containerStatus');
    await m.start();
    assert.deepEqual(await m.containers('uid-2'), [], 'its predecessor is not known yet');
    await m.advance(30_000);
    assert.deepEqual(await m.remains('uid-1'), []);
    assert.deepEqual(await m.containers('uid-2'), ['app/0 running']);
  }));

test('a Pod that the runtime cannot describe for long does not keep others from starting, and is ended when it can', () =>
  onMachine({}, async (m) => {
    await m.apply(staticPod('uid-1', {}, 'old'));
    await m.crash();
    m.desired.clear();
    m.desired.set('uid-2', staticPod('uid-2'));
    for (let i = 0; i < 6; i++) m.runtime.failNext('containerStatus');
    await m.start();
    await m.advance(8_000);
    assert.deepEqual(await m.containers('uid-2'), ['app/0 running']);
    await m.advance(10_000);
    assert.deepEqual(await m.remains('uid-1'), []);
  }));

test('removed while its sandbox is being made: the sandbox is not left behind', () =>
  onMachine({}, async (m) => {
    const open = m.runtime.block('runPodSandbox');
    await m.apply(staticPod('uid-1'));
    await m.apply(staticPod('uid-2'));
    await m.advance(1_000);
    open();
    await m.advance(5_000);
    assert.deepEqual(await m.remains('uid-1'), []);
    assert.deepEqual(await m.containers('uid-2'), ['app/0 running']);
  }));

test('removed while a container is being started: it still gets its grace', () =>
  onMachine({}, async (m) => {
    const open = m.runtime.block('startContainer');
    await m.apply(staticPod('uid-1'));
    await m.apply();
    assert.equal(m.takeDeeds().at(-1), 'startContainer app/0');
    open();
    await m.settle();
    assert.deepEqual(m.takeDeeds().slice(0, 2), ['stopContainer app/0 30', 'stopPodSandbox web-node1/0']);
  }));

test('300 rewrites: only the last version runs, and never two at once (L-034, S-276, C-206)', () =>
  onMachine({ process: () => ({ onTerm: 'ignore' }) }, async (m) => {
    let mostAtOnce = 0;
    m.onDeed = () => {
      const ready = m.runtime.snapshot().sandboxes.filter((sandbox) => sandbox.state === 'ready');
      mostAtOnce = Math.max(mostAtOnce, ready.length);
    };
    const grace = { terminationGracePeriodSeconds: 5 };
    await m.apply(staticPod('v0', grace));
    for (let i = 1; i <= 300; i++) {
      await m.apply(staticPod(`v${i}`, grace));
      await m.advance(100);
    }
    await m.advance(10_000);
    assert.deepEqual(await m.containers('v300'), ['app/0 running']);
    assert.equal(mostAtOnce, 1);
    assert.equal(m.agent.workers.pods().length, 1);
    const sandboxes = m.runtime.deeds.filter((deed) => deed.startsWith('runPodSandbox')).length;
    assert.ok(sandboxes <= 8, `at most one start per grace period, not ${sandboxes}`);
  }));

test('the image of a Pod with a fixed UID changes: one container restarts in its sandbox (S-253, C-214)', () =>
  onMachine({}, async (m) => {
    await m.apply(staticPod('uid-1'));
    m.takeDeeds();
    m.runtime.addImage('nginx:2');
    await m.apply(staticPod('uid-1', { containers: [buildContainer({ image: 'nginx:2' })] }));
    assert.deepEqual(m.takeDeeds(), ['stopContainer app/0 30', 'createContainer app/1', 'startContainer app/1']);
    assert.equal(m.status()?.containerStatuses?.[0]?.restartCount, 1);
  }));

test('command and environment change with a fixed UID: not before the next restart (L-082, S-252, C-216)', () =>
  onMachine({}, async (m) => {
    await m.apply(staticPod('uid-1'));
    m.takeDeeds();
    await m.apply(staticPod('uid-1', { containers: [buildContainer({ command: ['/new'] })] }));
    assert.deepEqual(m.takeDeeds(), []);
    assert.equal(m.volumeSetUps.get('uid-1'), 2, 'the files of volumes follow the manifest (L-313, C-394)');
    await m.exit('app', 0);
    assert.deepEqual(m.runtime.containerConfig(m.runtime.containerId('app')).command, ['/new']);
  }));

test('a manifest edited while its volumes are set up: they are set up again (P10)', () =>
  onMachine({}, async (m) => {
    let open = (): void => undefined;
    m.volumeGate = new Promise((resolve) => {
      open = resolve;
    });
    await m.apply(staticPod('uid-1'));
    await m.apply(staticPod('uid-1', { containers: [buildContainer({ command: ['/new'] })] }));
    open();
    await m.settle();
    assert.equal(m.volumeSetUps.get('uid-1'), 2);
    assert.deepEqual(await m.containers(), ['app/0 running']);
  }));

test('a finished Pod with a fixed UID whose spec changes runs again (D4)', () =>
  onMachine({}, async (m) => {
    await m.apply(staticPod('uid-1', { restartPolicy: 'Never' }));
    await m.exit('app', 1);
    assert.equal(m.status()?.phase, 'Failed');
    await m.apply(staticPod('uid-1', { restartPolicy: 'Never', containers: [buildContainer({ command: ['/fixed'] })] }));
    await m.advance(1_000);
    assert.equal(m.status()?.phase, 'Running');
  }));

test('a failing liveness probe restarts the container, with back-off (L-154, L-173)', () =>
  onMachine({}, async (m) => {
    const livenessProbe = { exec: { command: ['/ok'] } };
    await m.apply(staticPod('uid-1', { containers: [buildContainer({ livenessProbe })] }));
    const begin = m.clock.now();
    await m.probe('app', { liveness: 'failure' });
    await m.advance(120_000);
    // Each run is ended at once: no delay after the first two, then that of the run before has not passed yet.
    const at = [1, 2, 3, 4, 5].map((n) => m.startedAt(`startContainer app/${n}`).map((t) => (t - begin) / 1000));
    assert.deepEqual(at, [[0], [0], [10], [30], [70]]);
  }));

test('the images of a Pod cannot be pulled: Pending with the reason, then it runs (C-315)', () =>
  onMachine({}, async (m) => {
    m.badImages.set('nginx', { reason: 'ImagePullBackOff', message: 'Back-off pulling image "nginx"', retryMs: 10_000 });
    await m.apply(staticPod('uid-1'));
    assert.equal(m.status()?.phase, 'Pending');
    assert.equal(m.status()?.containerStatuses?.[0]?.state?.waiting?.reason, 'ImagePullBackOff');
    m.badImages.clear();
    await m.advance(11_000);
    assert.equal(m.status()?.phase, 'Running');
  }));

test('volumes that cannot be taken down hold the name until they can (S-266, S-284, C-209)', () =>
  onMachine({}, async (m) => {
    await m.apply(staticPod('uid-1'));
    m.volumeFault = new Error('device is busy');
    await m.apply();
    await m.apply(staticPod('uid-2'));
    await m.advance(30_000);
    assert.deepEqual(await m.containers('uid-2'), []);
    m.volumeFault = undefined;
    await m.advance(20_000);
    assert.deepEqual(await m.containers('uid-2'), ['app/0 running']);
  }));

test('the network is not ready: only host-network Pods start (L-051, C-314)', () =>
  onMachine({}, async (m) => {
    m.networkError = 'cni plugin not initialized';
    await m.apply(staticPod('uid-1'), staticPod('uid-2', { hostNetwork: true }, 'host'));
    assert.deepEqual(await m.containers('uid-1'), []);
    assert.deepEqual(await m.containers('uid-2'), ['app/0 running']);
    assert.ok(m.events.take().includes('Warning NetworkNotReady: network is not ready: cni plugin not initialized'));
    m.networkError = undefined;
    m.agent.workers.wakeAll();
    await m.settle();
    assert.deepEqual(await m.containers('uid-1'), ['app/0 running']);
  }));

test('an exit code restarts all containers, once, also when the agent dies half-way (L-177, C-259, C-260)', async () => {
  const restartPolicyRules = [{ action: 'RestartAllContainers', exitCodes: { operator: 'In', values: [42] } }];
  for (let death = 1; death <= 8; death++) {
    await onMachine({}, async (m) => {
      const pod = staticPod('uid-1', {
        restartPolicy: 'Never',
        initContainers: [buildContainer({ name: 'prepare' })],
        containers: [buildContainer({ restartPolicy: 'Never', restartPolicyRules }), buildContainer({ name: 'other' })],
      });
      await m.apply(pod);
      await m.exit('prepare', 0);
      m.takeDeeds();
      m.dieAfter(death);
      await m.exit('app', 42);
      await m.restart();
      await m.advance(1_000);
      if ((await m.containers()).includes('prepare/1 running') || (await m.containers()).includes('prepare/0 running'))
        await m.exit('prepare', 0);
      await m.advance(1_000);
      const starts = m.takeDeeds().filter((deed) => deed.startsWith('startContainer'));
      assert.deepEqual(
        starts.map((deed) => deed.split('/')[0]),
        ['startContainer prepare', 'startContainer app', 'startContainer other'],
        `death after ${death}`,
      );
      assert.equal(m.status()?.phase, 'Running');
    });
  }
});

test('what a Pod without a sandbox left goes, too, when its manifest went while the agent was down (L-069, L-337)', () =>
  onMachine({}, async (m) => {
    m.runtime.failNext('runPodSandbox');
    await m.apply(staticPod('uid-1'));
    assert.deepEqual(await m.remains(), ['volumes', 'cgroup', 'status']);
    await m.crash();
    m.desired.clear();
    m.seen.clear();
    await m.start();
    await m.advance(130_000);
    assert.deepEqual(await m.remains(), ['volumes', 'cgroup'], 'its source has not spoken');
    m.seen.add('file');
    await m.advance(60_000);
    assert.deepEqual(await m.remains(), []);
  }));

test('an agent that dies again and again leaves no heap of leftovers: they go soon after the start (L-069, L-337)', () =>
  onMachine({}, async (m) => {
    for (const uid of ['uid-1', 'uid-2', 'uid-3']) {
      m.runtime.failNext('runPodSandbox');
      await m.apply(staticPod(uid));
      await m.crash();
      m.desired.clear();
      await m.start();
      await m.advance(3_000);
      assert.deepEqual([[...m.volumes], [...m.cgroups]], [[], []]);
    }
  }));

test('a manifest that comes back while its leftovers are removed waits for that (P8, L-312)', () =>
  onMachine({}, async (m) => {
    m.volumes.add('uid-1');
    let open = (): void => undefined;
    m.volumeGate = new Promise((resolve) => {
      open = resolve;
    });
    await m.advance(60_000);
    await m.apply(staticPod('uid-1'));
    await m.advance(5_000);
    assert.deepEqual([m.takeDeeds(), m.cgroups.has('uid-1')], [[], false]);
    m.volumeGate = Promise.resolve();
    open();
    await m.settle();
    assert.deepEqual(await m.containers(), ['app/0 running']);
    assert.deepEqual([m.volumes.has('uid-1'), m.cgroups.has('uid-1')], [true, true]);
    assert.deepEqual(m.errors, []);
  }));

test('memory of a worker does not grow with restarts (D7)', () =>
  onMachine({ process: () => ({ exitsWith: 0 }) }, async (m) => {
    await m.apply(staticPod('uid-1'));
    await m.advance(3_600_000);
    assert.ok((await m.containers()).length <= 2);
    assert.deepEqual(m.errors, []);
  }));

test('a fault of pinpod met with one Pod: it is told, the others are looked after, and it ends with the fault (P15)', () =>
  onMachine({}, async (m) => {
    const broken = staticPod('uid-1');
    let isBroken = true;
    Object.defineProperty(broken.spec, 'restartPolicy', {
      enumerable: true,
      get() {
        if (isBroken) throw new RangeError('no such policy');
        return 'Always';
      },
    });
    await m.apply(broken, staticPod('uid-2', {}, 'other'));
    await m.advance(2_900);
    assert.equal(m.status('uid-2')?.phase, 'Running');
    const told = m.events.take().filter((event) => event.includes('InternalError'));
    assert.match(told[0] ?? '', /^Warning InternalError: pinpod has a fault .* no such policy; .* in 1s$/);
    assert.match(told[1] ?? '', / in 2s$/);
    assert.equal(told.length, 2);
    assert.equal(m.errors.splice(0).length, 2);
    isBroken = false;
    await m.advance(2_000);
    assert.equal(m.status('uid-1')?.phase, 'Running');
    assert.deepEqual(m.errors, []);
  }));

test('a fault of pinpod met when a Pod is judged: the others start, and it does when the fault has gone (P15)', () =>
  onMachine({}, async (m) => {
    const broken = staticPod('uid-1');
    let isBroken = true;
    Object.defineProperty(broken.spec.containers[0], 'resources', {
      enumerable: true,
      get() {
        if (isBroken) throw new RangeError('no such amount');
        return {};
      },
    });
    await m.apply(broken, staticPod('uid-2', {}, 'other'));
    await m.advance(25_000);
    assert.equal(m.status('uid-2')?.phase, 'Running');
    const { phase, reason } = m.status('uid-1') ?? {};
    assert.deepEqual([phase, reason], ['Failed', 'UnexpectedAdmissionError']);
    const told = m.events.take().filter((event) => event.includes('UnexpectedAdmissionError'));
    assert.equal(told.length, 1);
    assert.match(told[0] ?? '', /^Warning UnexpectedAdmissionError: pinpod has a fault .* no such amount; /);
    assert.equal(m.errors.splice(0).length, 1);
    isBroken = false;
    await m.advance(10_000);
    assert.equal(m.status('uid-1')?.phase, 'Running');
    assert.deepEqual(m.errors, []);
  }));
