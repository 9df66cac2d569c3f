// Scenarios of the specification on a fake runtime, by number: what a person would see happen on the machine.
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { onMachine, staticPod } from '../../test/support/pod-machine.ts';
import { buildContainer } from '../../test/support/pods.ts';
import { RuntimeError } from '../std/errors.ts';

const exec = { exec: { command: ['/ok'] } };
const sidecar = (change: object = {}) => buildContainer({ name: 'log', restartPolicy: 'Always', ...change });
const onPort = (name: string) => ({ containers: [buildContainer({ name, ports: [{ containerPort: 80, hostPort: 8080 }] })] });

test('a container is renamed: its successor is not refused for the port of the one that ends (L-029, S-277, C-203, C-072)', () =>
  onMachine({ process: () => ({ onTerm: 'ignore' }) }, async (m) => {
    await m.apply(staticPod('uid-1', { ...onPort('app'), terminationGracePeriodSeconds: 20 }));
    await m.apply(staticPod('uid-2', onPort('renamed')));
    await m.advance(10_000);
    assert.equal(m.status('uid-2'), undefined, 'it waits for the name');
    await m.advance(11_000);
    assert.deepEqual(await m.containers('uid-2'), ['renamed/0 running']);
    assert.ok(!m.events.take().some((line) => line.includes('NodePorts')));
  }));

test('the runtime goes away during the end of a Pod: it goes on when the runtime is back (C-208)', () =>
  onMachine({ process: () => ({ onTerm: 'ignore' }) }, async (m) => {
    await m.apply(staticPod('uid-1', { terminationGracePeriodSeconds: 20 }));
    const gone = new RuntimeError('unavailable', 'connection refused');
    for (let i = 0; i < 6; i++) m.runtime.failNext('stopContainer', gone);
    await m.apply();
    await m.advance(15_000);
    assert.deepEqual(await m.containers(), ['app/0 running']);
    assert.ok(m.agent.workers.pods().length === 1, 'still being ended');
    await m.advance(60_000);
    assert.deepEqual(await m.remains(), []);
    assert.deepEqual(m.errors, []);
  }));

test('volumes cannot be set up: said so, no sandbox; its removal does not hang (L-055, L-056, C-210, C-335)', () =>
  onMachine({}, async (m) => {
    m.volumeFault = new Error('no such device');
    await m.apply(staticPod('uid-1'));
    await m.advance(30_000);
    assert.deepEqual(m.takeDeeds(), []);
    assert.ok(m.events.take().includes('Warning FailedMount: Unable to attach or mount volumes: no such device'));
    assert.equal(m.status()?.phase, 'Pending');
    m.volumeFault = undefined;
    m.volumeGate = new Promise(() => undefined);
    await m.apply();
    m.volumeGate = Promise.resolve();
    await m.advance(1_000);
    assert.deepEqual(await m.remains(), []);
  }));

test('a one-shot Pod that fails at once: its status can be read (C-218)', () =>
  onMachine({ process: () => ({ exitsWith: 3 }) }, async (m) => {
    await m.apply(staticPod('uid-1', { restartPolicy: 'Never' }));
    await m.advance(60_000);
    assert.equal(m.status()?.phase, 'Failed');
    assert.equal(m.status()?.containerStatuses?.[0]?.state?.terminated?.exitCode, 3);
    assert.deepEqual(m.errors, []);
  }));

test('five edits while a sandbox is made: one container, by the newest (L-035, S-258, C-220)', () =>
  onMachine({}, async (m) => {
    const open = m.runtime.block('runPodSandbox');
    for (const n of [1, 2, 3, 4, 5, 6]) await m.apply(staticPod('uid-1', { containers: [buildContainer({ command: [`/v${n}`] })] }));
    m.takeDeeds();
    open();
    await m.settle();
    assert.deepEqual(m.takeDeeds(), ['createContainer app/0', 'startContainer app/0']);
    assert.deepEqual(m.runtime.containerConfig(m.runtime.containerId('app')).command, ['/v6']);
  }));

test('the agent is restarted beside a sidecar with a startup probe: what exits is started again (L-075, C-225)', () =>
  onMachine({}, async (m) => {
    await m.apply(staticPod('uid-1', { initContainers: [sidecar({ startupProbe: exec })] }));
    await m.probe('log', { startup: 'success' });
    await m.restart();
    m.takeDeeds();
    await m.exit('app', 1);
    assert.deepEqual(m.takeDeeds(), ['createContainer app/1', 'startContainer app/1']);
  }));

test('reboot: sidecars and init containers in their order, then regular ones, by the manifest as it is now (L-078, C-231)', () =>
  onMachine({}, async (m) => {
    const spec = (image: string) => ({
      initContainers: [sidecar(), buildContainer({ name: 'prepare' })],
      containers: [buildContainer({ image })],
    });
    m.runtime.addImage('nginx:2');
    await m.apply(staticPod('uid-1', spec('nginx')));
    await m.exit('prepare', 0);
    await m.crash();
    m.runtime.powerLoss();
    m.desired.set('uid-1', staticPod('uid-1', spec('nginx:2')));
    m.takeDeeds();
    await m.start();
    await m.exit('prepare', 0);
    assert.deepEqual(
      m.takeDeeds().filter((deed) => deed.startsWith('start') || deed.startsWith('run')),
      ['runPodSandbox web-node1/1', 'startContainer log/0', 'startContainer prepare/0', 'startContainer app/1'],
    );
    assert.equal(m.runtime.containerConfig(m.runtime.containerId('app')).image.userSpecifiedImage, 'nginx:2');
  }));

test('no record is left, but log 3: the next is 4 (L-175, C-235)', () =>
  onMachine({}, async (m) => {
    const folder = path.join(m.podLogsDir, 'default_web-node1_uid-1', 'app');
    await mkdir(folder, { recursive: true });
    for (const name of ['2.log', '3.log.20261125-090000.gz', '7.txt', 'x.log']) await writeFile(path.join(folder, name), '');
    await m.apply(staticPod('uid-1'));
    assert.deepEqual(await m.containers(), ['app/4 running']);
    assert.equal(m.status()?.containerStatuses?.[0]?.restartCount, 4);
    assert.equal(m.runtime.containerConfig(m.runtime.containerId('app')).logPath, 'app/4.log');
  }));

test('many short Pods and many restarts of the agent leave no sandbox behind (C-237)', () =>
  onMachine({ process: () => ({ exitsWith: 0 }) }, async (m) => {
    for (let round = 0; round < 5; round++) {
      const pods = [1, 2, 3, 4, 5].map((n) => staticPod(`uid-${round}-${n}`, { restartPolicy: 'OnFailure' }, `short${n}`));
      await m.apply(...pods);
      await m.restart();
      m.runtime.powerLoss();
      await m.restart();
    }
    await m.apply();
    await m.advance(120_000);
    assert.deepEqual(m.runtime.snapshot(), { sandboxes: [], containers: [] });
  }));

test('a finished Pod takes no room, after a restart of the agent neither (S-445, C-238)', () =>
  onMachine({}, async (m) => {
    const done = staticPod('uid-1', { ...onPort('app'), restartPolicy: 'Never' }, 'done');
    await m.apply(done);
    await m.exit('app', 0);
    await m.restart();
    await m.apply(done, staticPod('uid-2', onPort('app'), 'next'));
    await m.advance(1_000);
    assert.equal(m.status('uid-1')?.phase, 'Succeeded');
    assert.equal(m.status('uid-2')?.phase, 'Running');
  }));

test('a finished Pod needs no room: it stays finished over a restart of the agent, whatever runs now (C-238, S-288)', () =>
  onMachine({}, async (m) => {
    const done = staticPod('uid-1', { ...onPort('app'), restartPolicy: 'Never' }, 'done');
    const next = staticPod('uid-2', onPort('app'), 'next');
    await m.apply(done);
    await m.exit('app', 0);
    await m.apply(done, next);
    await m.advance(1_000);
    assert.equal(m.status('uid-2')?.phase, 'Running');
    for (let life = 0; life < 2; life++) {
      await m.restart();
      await m.apply(done, next);
      await m.advance(11_000);
      assert.deepEqual(
        [m.status('uid-1')?.phase, m.status('uid-1')?.reason, m.status('uid-2')?.phase],
        ['Succeeded', undefined, 'Running'],
      );
    }
  }));

test('a sandbox cannot be made: said so, and tried again (L-161, L-188, S-420, C-248)', () =>
  onMachine({}, async (m) => {
    m.runtime.failNext('runPodSandbox', new RuntimeError('unknown', 'no space left'));
    await m.apply(staticPod('uid-1', { dnsPolicy: 'Default' }));
    assert.deepEqual(m.events.take(), [
      'Warning FailedCreatePodSandBox: Failed to create pod sandbox: rpc error: code = Unknown desc = no space left',
    ]);
    assert.equal(m.status()?.phase, 'Pending');
    await m.advance(15_000);
    assert.deepEqual(m.takeDeeds().slice(0, 2), ['runPodSandbox web-node1/0', 'runPodSandbox web-node1/0']);
    assert.equal(m.status()?.phase, 'Running');
  }));

test("a sandbox is removed behind the agent's back: made anew, initialisation included (C-249)", () =>
  onMachine({}, async (m) => {
    await m.apply(staticPod('uid-1', { initContainers: [buildContainer({ name: 'prepare' })] }));
    await m.exit('prepare', 0);
    const sandbox = m.runtime.sandboxId('web-node1');
    const { signal } = new AbortController();
    m.takeDeeds();
    await m.runtime.stopPodSandbox(sandbox, { signal });
    await m.runtime.removePodSandbox(sandbox, { signal });
    await m.settle();
    await m.exit('prepare', 0);
    assert.deepEqual(
      m
        .takeDeeds()
        .filter((deed) => deed.startsWith('run') || deed.startsWith('start'))
        .map((deed) => deed.split('/')[0]),
      ['runPodSandbox web-node1', 'startContainer prepare', 'startContainer app'],
    );
    assert.equal(m.status()?.phase, 'Running');
  }));

test('three of one name start in the order they came; one that goes while it waits never starts (L-005, L-044, S-230, S-264, S-267, S-268, C-044, C-045, C-212)', () =>
  onMachine({}, async (m) => {
    const [a, b, c, d] = [staticPod('uid-1'), staticPod('uid-2'), staticPod('uid-3'), staticPod('uid-4')];
    await m.apply(a, b, c, d);
    await m.apply(a, b, d);
    await m.apply(b, d);
    await m.advance(1_000);
    assert.deepEqual(await m.containers('uid-2'), ['app/0 running']);
    assert.deepEqual([m.status('uid-3'), m.status('uid-4')], [undefined, undefined], 'who waits has no status');
    await m.apply(d);
    await m.advance(1_000);
    assert.deepEqual(await m.containers('uid-4'), ['app/0 running']);
    assert.deepEqual(await m.remains('uid-3'), []);
  }));

test('why a container does not start, until it does (L-059, L-214, L-467, L-469, S-415, S-416)', () =>
  onMachine({}, async (m) => {
    const waiting = () => m.status()?.containerStatuses?.[0]?.state?.waiting;
    m.runtime.failNext('createContainer', new RuntimeError('unknown', 'name is reserved'));
    await m.apply(staticPod('uid-1'));
    assert.deepEqual(waiting(), { reason: 'CreateContainerError', message: 'name is reserved' });
    assert.ok(m.events.take().includes('Warning Failed: Error: name is reserved'));
    for (let i = 0; i < 2; i++) m.runtime.failNext('startContainer', new RuntimeError('unknown', 'no such file'));
    await m.advance(1_500);
    assert.equal(waiting()?.reason, 'CrashLoopBackOff', 'the runtime keeps a record of what could not be started');
    const { reason, message } = m.status()?.containerStatuses?.[0]?.lastState?.terminated ?? {};
    assert.deepEqual([reason, message], ['StartError', 'no such file']);
    assert.ok(m.events.take().includes('Warning Failed: Error: no such file'));
    await m.advance(10_000);
    assert.equal(waiting(), undefined);
    assert.deepEqual(m.events.take(), ['Normal Created: Container created', 'Normal Started: Container started']);
  }));

test('a failed probe: the event comes before the hook, then the container is ended and started again (L-155, L-436, L-450, S-418, C-282)', () =>
  onMachine({}, async (m) => {
    const lifecycle = { preStop: { exec: { command: ['/bye'] } } };
    await m.apply(staticPod('uid-1', { containers: [buildContainer({ livenessProbe: exec, lifecycle })] }));
    m.events.take();
    m.takeDeeds();
    const open = m.runtime.block('execSync');
    await m.probe('app', { liveness: 'failure' });
    assert.deepEqual(m.events.take(), ['Normal Killing: Container app failed liveness probe, will be restarted']);
    assert.deepEqual(m.takeDeeds(), ['execSync app/0 /bye']);
    m.probes.clear();
    open();
    await m.settle();
    assert.deepEqual(m.takeDeeds(), ['stopContainer app/0 30', 'createContainer app/1', 'startContainer app/1']);
    assert.ok(!m.events.take().some((line) => line.startsWith('Normal Killing')), 'hook and stop are one kill');
  }));

test('a Pod starts whether or not the other sources have spoken (S-234)', () =>
  onMachine({}, async (m) => {
    m.seen.clear();
    await m.apply(staticPod('uid-1', {}, 'web', 'file'), staticPod('uid-2', {}, 'db', 'http'));
    assert.deepEqual([m.status('uid-1')?.phase, m.status('uid-2')?.phase], ['Running', 'Running']);
  }));

test('conditions become true one after the other (C-334)', () =>
  onMachine({}, async (m) => {
    m.runtime.addImage('nginx', { present: false });
    const spec = { initContainers: [buildContainer({ name: 'prepare' })], containers: [buildContainer({ readinessProbe: exec })] };
    const open = m.runtime.block('pullImage');
    await m.apply(staticPod('uid-1', spec));
    await m.advance(10_000);
    open();
    await m.advance(10_000);
    await m.exit('prepare', 0);
    await m.advance(10_000);
    await m.probe('app', { readiness: 'success' });
    const at = (type: string) => m.status()?.conditions?.find((condition) => condition.type === type);
    const types = ['PodScheduled', 'PodReadyToStartContainers', 'Initialized', 'ContainersReady', 'Ready'];
    assert.ok(types.every((type) => at(type)?.status === 'True'));
    const times = types.map((type) => at(type)?.lastTransitionTime ?? '');
    assert.deepEqual(times, times.slice().sort());
    assert.equal(new Set(times).size, 3, times.join());
  }));

test('a crash loop is told, once for each wait (L-170, S-419)', () =>
  onMachine({ process: () => ({ exitsWith: 1 }) }, async (m) => {
    await m.apply(staticPod('uid-1'));
    const backOff = () => m.events.take().filter((line) => line.includes('BackOff'));
    const told = 'Warning BackOff: Back-off restarting failed container app in pod web-node1_default(uid-1)';
    assert.deepEqual(backOff(), [told]);
    await m.advance(9_000);
    assert.deepEqual(backOff(), []);
    await m.advance(2_000);
    assert.deepEqual(backOff(), [told]);
  }));

test('a Pod that is known from its records only is ended without an order among its containers (L-447)', () =>
  onMachine({ process: () => ({ onTerm: 'ignore' }) }, async (m) => {
    await m.apply(staticPod('uid-1', { initContainers: [sidecar()], terminationGracePeriodSeconds: 20 }));
    await m.crash();
    m.desired.clear();
    m.lastSpecs.clear();
    m.takeDeeds();
    await m.start();
    assert.deepEqual([...m.takeDeeds()].sort(), ['stopContainer app/0 20', 'stopContainer log/0 20']);
  }));

test('the runtime goes away in the midst of a preStop hook: the hook is run again before the container is stopped (L-437, P6)', () =>
  onMachine({ process: () => ({ onTerm: 143 }) }, async (m) => {
    const lifecycle = { preStop: { exec: { command: ['/bye'] } } };
    await m.apply(staticPod('uid-1', { terminationGracePeriodSeconds: 20, containers: [buildContainer({ lifecycle })] }));
    m.takeDeeds();
    m.runtime.failNext('execSync', new RuntimeError('unavailable', 'connection dropped'));
    await m.apply();
    assert.deepEqual(m.takeDeeds(), ['execSync app/0 /bye']);
    await m.advance(1_000);
    assert.deepEqual(m.takeDeeds().slice(0, 2), ['execSync app/0 /bye', 'stopContainer app/0 19']);
    assert.deepEqual(
      m.events.take().filter((event) => event.includes('PreStop')),
      [],
    );
  }));

test('its last spec tells the order, however often the agent dies meanwhile (L-442, D2; differs from L-447)', () =>
  onMachine({ process: () => ({ onTerm: 'ignore' }) }, async (m) => {
    await m.apply(staticPod('uid-1', { initContainers: [sidecar()], terminationGracePeriodSeconds: 20 }));
    await m.crash();
    m.desired.clear();
    for (let lives = 0; lives < 2; lives++) {
      m.takeDeeds();
      await m.start();
      assert.deepEqual(m.takeDeeds(), ['stopContainer app/0 20']);
      await m.crash();
    }
    await m.start();
    m.takeDeeds();
    await m.exit('app', 143);
    assert.match(m.takeDeeds().join(), /^stopContainer log\/0 \d+$/);
    await m.advance(30_000);
    assert.deepEqual(await m.remains(), []);
  }));

test('the last status of a removed Pod has the exit codes (L-064, S-274)', () =>
  onMachine({ process: () => ({ onTerm: 143 }) }, async (m) => {
    await m.apply(staticPod('uid-1'));
    const seen: (string | undefined)[] = [];
    m.agent.status.subscribe(({ kind, view }) => {
      const code = view.status.containerStatuses?.[0]?.state?.terminated?.exitCode;
      seen.push(`${kind} ${view.status.phase} ${code}`);
    });
    await m.apply();
    await m.advance(1_000);
    assert.equal(seen.at(-1), 'removed Running 143');
  }));

test('an edit of a Pod with a fixed UID is not admitted again (L-031, S-443)', () =>
  onMachine({}, async (m) => {
    const [a, b] = [staticPod('uid-1', onPort('app'), 'a'), staticPod('uid-2', {}, 'b')];
    await m.apply(a, b);
    await m.apply(a, staticPod('uid-2', onPort('app'), 'b'));
    await m.advance(60_000);
    assert.equal(m.status('uid-2')?.phase, 'Running');
  }));

test('a shorter grace interrupts the stop under way; a longer one changes nothing (L-038, L-039, S-260, S-278, C-046, C-221)', () =>
  onMachine({ process: () => ({ onTerm: 'ignore' }) }, async (m) => {
    await m.apply(staticPod('uid-1', { terminationGracePeriodSeconds: 600 }));
    m.takeDeeds();
    await m.apply();
    await m.advance(5_000);
    const cause = { kind: 'disrupted', reason: 'Evicted', message: '', conditionMessage: '' } as const;
    m.agent.workers.terminate('uid-1', cause, 60);
    m.agent.workers.terminate('uid-1', cause, 900);
    await m.settle();
    assert.deepEqual(m.takeDeeds(), ['stopContainer app/0 600', 'stopContainer app/0 55']);
    await m.advance(56_000);
    assert.deepEqual(await m.remains(), []);
  }));

test('a refused Pod: event, status, no worker; it stays desired (L-022, L-024, S-428, S-448)', () =>
  onMachine({}, async (m) => {
    await m.apply(staticPod('uid-1', onPort('app'), 'a'), staticPod('uid-2', onPort('app'), 'b'));
    const message = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
    assert.ok(m.events.take().includes(`Warning NodePorts: ${message}`));
    const { phase, reason, message: said, qosClass, containerStatuses, conditions } = m.status('uid-2') ?? {};
    assert.deepEqual([phase, reason, said, qosClass], ['Failed', 'NodePorts', `Pod was rejected: ${message}`, 'BestEffort']);
    assert.deepEqual([containerStatuses, conditions], [undefined, undefined]);
    assert.deepEqual(
      m.agent.workers.pods().map((pod) => pod.metadata.uid),
      ['uid-1'],
    );
    assert.equal(m.agent.workers.isDisposable('uid-2'), false);
  }));

test('postStart runs once initialisation is over, and holds up the next container (L-431, C-292, C-293)', () =>
  onMachine({}, async (m) => {
    const lifecycle = { postStart: { exec: { command: ['/hello'] } } };
    await m.apply(
      staticPod('uid-1', {
        initContainers: [buildContainer({ name: 'prepare' })],
        containers: [buildContainer({ lifecycle }), buildContainer({ name: 'side' })],
      }),
    );
    m.takeDeeds();
    const open = m.runtime.block('execSync');
    await m.exit('prepare', 0);
    await m.advance(20_000);
    assert.deepEqual(m.takeDeeds(), ['createContainer app/0', 'startContainer app/0', 'execSync app/0 /hello']);
    open();
    await m.settle();
    assert.deepEqual(m.takeDeeds(), ['createContainer side/0', 'startContainer side/0']);
  }));

test('SIGTERM is ignored: killed after the grace, exit code 137 (L-449, S-427, C-279)', () =>
  onMachine({ process: () => ({ onTerm: 'ignore' }) }, async (m) => {
    const spec = { restartPolicy: 'Never' as const, terminationGracePeriodSeconds: 5, activeDeadlineSeconds: 10 };
    await m.apply(staticPod('uid-1', spec));
    await m.advance(14_900);
    assert.deepEqual(await m.containers(), ['app/0 running']);
    await m.advance(200);
    const { exitCode, reason } = m.status()?.containerStatuses?.[0]?.state?.terminated ?? {};
    assert.deepEqual([exitCode, reason], [137, 'Error']);
    assert.deepEqual([m.status()?.phase, m.status()?.reason], ['Failed', 'DeadlineExceeded']);
  }));
