// Who may start, who has to go, and who comes back: admission as a person sees it on the machine.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildAdmissionNode } from '../../test/support/node-facts.ts';
import { onMachine, type PodMachine, staticPod } from '../../test/support/pod-machine.ts';
import { buildContainer } from '../../test/support/pods.ts';
import type { PodSpec } from '../api/gen/kubernetes.ts';
import type { Pod } from '../api/pod.ts';

/** The node of these tests has 3500 thousandths of a CPU. */
const asking = (uid: string, cpu: string, spec: Partial<PodSpec> = {}): Pod =>
  staticPod(uid, { containers: [buildContainer({ resources: { requests: { cpu } } })], ...spec }, uid);

const disrupted = { kind: 'disrupted', reason: 'Evicted', message: 'The node was low', conditionMessage: 'low' } as const;

const said = (m: PodMachine, uid: string): string => {
  const { phase, reason, message } = m.status(uid) ?? {};
  return [phase, reason, message].filter((part) => part !== undefined).join(' | ');
};

test('more cpu than is left: refused with the reason, and started as soon as there is room (D4, S-456)', () =>
  onMachine({}, async (m) => {
    const [a, b] = [asking('a', '3'), asking('b', '1')];
    await m.apply(a, b);
    const message = "Node didn't have enough resource: cpu, requested: 1000, used: 3000, capacity: 3500";
    assert.equal(said(m, 'b'), `Failed | OutOfcpu | Pod was rejected: ${message}`);
    assert.deepEqual(
      m.events.take().filter((event) => event.includes('OutOf')),
      [`Warning OutOfcpu: ${message}`],
    );
    await m.advance(60_000);
    assert.equal(said(m, 'b'), `Failed | OutOfcpu | Pod was rejected: ${message}`);
    assert.deepEqual(
      m.events.take().filter((event) => event.includes('OutOf')),
      [],
      'said once',
    );
    await m.apply(b);
    assert.equal(said(m, 'b'), 'Running', 'without waiting for the next round');
    assert.deepEqual(m.errors, []);
  }));

test('a Pod that completed gives its room away at once (D4)', () =>
  onMachine({}, async (m) => {
    await m.apply(asking('a', '3', { restartPolicy: 'Never' }), asking('b', '1'));
    assert.match(said(m, 'b'), /OutOfcpu/);
    await m.exit('app', 0);
    assert.equal(said(m, 'a'), 'Succeeded');
    assert.equal(said(m, 'b'), 'Running');
  }));

test('of Pods that appear together the more important one starts (differs from S-241)', () =>
  onMachine({}, async (m) => {
    await m.apply(asking('a', '3'), asking('b', '3', { priority: 1 }));
    assert.equal(said(m, 'b'), 'Running');
    assert.match(said(m, 'a'), /OutOfcpu/);
  }));

test('labels and other facts of the node that change: asked again (D4, S-458)', () =>
  onMachine({}, async (m) => {
    await m.apply(staticPod('a', { nodeSelector: { zone: 'b' } }, 'a'));
    assert.match(said(m, 'a'), /^Failed \| NodeAffinity/);
    m.admission = buildAdmissionNode({ labels: { zone: 'b' } });
    await m.advance(10_000);
    assert.equal(said(m, 'a'), 'Running');
  }));

test('a Pod of lower priority goes with its grace, and comes back when there is room (S-466, S-467, S-470, S-471, C-401, D4)', () =>
  onMachine({ process: () => ({ onTerm: 'ignore' }) }, async (m) => {
    const low = asking('low', '3', { priority: 1, terminationGracePeriodSeconds: 20 });
    const high = asking('high', '3', { priority: 2 });
    await m.apply(low);
    m.takeDeeds();
    m.events.take();
    await m.apply(low, high);
    assert.deepEqual(m.takeDeeds(), ['stopContainer app/0 20']);
    assert.equal(said(m, 'high'), 'Pending | Unschedulable | waiting for cpu of pods that are ending: default/low-node1');
    assert.ok(m.events.take().includes('Warning Preempting: Preempted in order to admit critical pod'));
    await m.advance(19_000);
    assert.deepEqual(m.takeDeeds(), [], 'it has its whole grace');
    await m.advance(2_000);
    assert.equal(said(m, 'high'), 'Running');
    assert.equal(said(m, 'low'), 'Failed | Preempting | Preempted in order to admit critical pod');
    const condition = m.status('low')?.conditions?.find(({ type }) => type === 'DisruptionTarget');
    assert.deepEqual(
      [condition?.status, condition?.reason, condition?.message],
      ['True', 'TerminationByKubelet', 'Pod was preempted by Kubelet to accommodate a critical pod.'],
    );
    await m.advance(120_000);
    assert.match(said(m, 'low'), /Preempting/);
    await m.apply(low);
    await m.advance(31_000);
    assert.equal(said(m, 'low'), 'Running');
    assert.deepEqual(m.errors, []);
  }));

test('a restart of the agent asks no running Pod whether it may (D2; differs from S-443)', () =>
  onMachine({}, async (m) => {
    await m.apply(asking('a', '2'), staticPod('b', { nodeSelector: { 'kubernetes.io/os': 'linux' } }, 'b'));
    m.takeDeeds();
    await m.crash();
    m.admission = buildAdmissionNode({ labels: {}, isShuttingDown: true });
    m.desired.set('c', asking('c', '2', { priority: 5 }));
    await m.start();
    assert.deepEqual(m.takeDeeds(), []);
    assert.deepEqual([said(m, 'a'), said(m, 'b')], ['Running', 'Running']);
    assert.match(said(m, 'c'), /NodeShutdown/);
  }));

test('a Pod that was evicted comes back when that is over, and less and less soon when it happens again (D4)', () =>
  onMachine({}, async (m) => {
    await m.apply(staticPod('a', { restartPolicy: 'Never' }, 'a'));
    m.admission = buildAdmissionNode({ pressure: ['DiskPressure'] });
    m.agent.workers.terminate('a', disrupted, 1);
    await m.advance(60_000);
    assert.equal(said(m, 'a'), 'Failed | Evicted | The node was low');
    m.admission = buildAdmissionNode();
    m.agent.workers.reconcile();
    await m.advance(1_000);
    assert.equal(said(m, 'a'), 'Running');
    const backIn = async (): Promise<number> => {
      const before = m.clock.now();
      m.agent.workers.terminate('a', disrupted, 1);
      await m.settle();
      for (let i = 0; i < 100 && m.status('a')?.phase !== 'Running'; i++) await m.advance(5_000);
      return (m.clock.now() - before) / 1000;
    };
    const waits = [await backIn(), await backIn(), await backIn()];
    assert.ok(
      waits.every((wait, i) => wait >= 10 * 2 ** i && wait <= 10 * 2 ** i + 20),
      `${waits}`,
    );
    assert.deepEqual(m.errors, []);
  }));

test('a one-shot Pod that was evicted comes back although the agent died in between (D2, D4)', () =>
  onMachine({}, async (m) => {
    const job = { restartPolicy: 'Never', containers: [buildContainer({ name: 'job' })] };
    await m.apply(staticPod('a', { restartPolicy: 'Never' }, 'a'), staticPod('done', job, 'done'));
    await m.exit('job', 0);
    m.admission = buildAdmissionNode({ pressure: ['DiskPressure'] });
    m.agent.workers.terminate('a', disrupted, 1);
    m.agent.workers.terminate('done', disrupted, 1);
    await m.advance(5_000);
    assert.equal(said(m, 'a'), 'Failed | Evicted | The node was low', 'although it exited with 0 (differs from S-471)');
    await m.restart();
    await m.advance(60_000);
    assert.equal(said(m, 'a'), 'Failed | Evicted | The node was low');
    m.admission = buildAdmissionNode();
    m.takeDeeds();
    await m.advance(11_000);
    assert.equal(said(m, 'a'), 'Running');
    assert.equal(said(m, 'done'), 'Succeeded', 'it had completed before');
    assert.deepEqual(m.disrupted, []);
    assert.deepEqual(m.errors, []);
  }));

test('the agent dies before an evicted Pod has ended: it is adopted, and judged anew (D2)', () =>
  onMachine({ process: () => ({ onTerm: 'ignore' }) }, async (m) => {
    await m.apply(staticPod('a', { restartPolicy: 'Never' }, 'a'));
    m.agent.workers.terminate('a', disrupted, 20);
    await m.advance(1_000);
    await m.restart();
    await m.advance(60_000);
    assert.deepEqual(await m.containers('a'), ['app/0 running']);
    assert.equal(said(m, 'a'), 'Running');
    assert.deepEqual(m.disrupted, []);
  }));

test('evicted, removed and put back while it ends: it begins anew although the agent dies in between (L-045, D2, D4)', () =>
  onMachine({ process: () => ({ onTerm: 'ignore' }) }, async (m) => {
    const pod = staticPod('a', {}, 'a');
    await m.apply(pod);
    m.agent.workers.terminate('a', disrupted, 20);
    await m.advance(1_000);
    await m.apply();
    await m.apply(pod);
    await m.advance(1_000);
    await m.restart();
    await m.advance(60_000);
    assert.equal(said(m, 'a'), 'Running');
    assert.deepEqual((await m.containers('a')).filter((container) => container.endsWith('running')).length, 1);
    assert.deepEqual(m.errors, []);
  }));
