// In-place resize on the whole loop (spec 02, section 12): a manifest with a fixed UID asks for other resources.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { onMachine, type PodMachine, staticPod } from '../../test/support/pod-machine.ts';
import { buildContainer } from '../../test/support/pods.ts';
import type { Container, ResourceRequirements } from '../api/gen/kubernetes.ts';
import type { Pod } from '../api/pod.ts';
import { RuntimeError } from '../std/errors.ts';

const resources = (cpu: string, memory = '64Mi'): ResourceRequirements => ({
  requests: { cpu, memory: '32Mi' },
  limits: { cpu: '4', memory },
});
const pod = (wanted: ResourceRequirements, change: Partial<Container> = {}): Pod =>
  staticPod('uid-1', { containers: [buildContainer({ resources: wanted, ...change })] });
const conditions = (m: PodMachine): readonly string[] =>
  (m.status()?.conditions ?? []).flatMap(({ type, reason }) => (type.startsWith('PodResize') ? [`${type} ${reason ?? ''}`.trim()] : []));
const shares = async (m: PodMachine): Promise<number | undefined> =>
  (await m.runtime.containerStatus(m.runtime.containerId('app'), { signal: new AbortController().signal }))?.resources?.cpuShares;

test('given while the container runs, and known over a restart of the agent (L-516, L-518, L-520)', () =>
  onMachine({}, async (m) => {
    await m.apply(pod(resources('250m')));
    m.takeDeeds();
    m.events.take();
    await m.apply(pod(resources('500m')));
    assert.deepEqual(m.takeDeeds(), ['updateContainerResources app/0', 'updatePodSandboxResources web-node1/0']);
    assert.equal(await shares(m), 512);
    assert.deepEqual(m.status()?.containerStatuses?.[0]?.resources?.requests, { cpu: '500m', memory: '32Mi' });
    assert.deepEqual(m.status()?.containerStatuses?.[0]?.allocatedResources, { cpu: '500m', memory: '32Mi' });
    assert.deepEqual(conditions(m), []);
    assert.deepEqual(
      m.events.take().map((event) => event.split(':')[0]),
      ['Normal ResizeStarted', 'Normal ResizeCompleted'],
    );
    await m.restart();
    assert.deepEqual(await m.containers(), ['app/0 running']);
    assert.equal(await shares(m), 512);
    assert.deepEqual(m.errors, []);
  }));

test('a runtime that wants to hear nothing of sandboxes does not matter (L-520)', () =>
  onMachine({}, async (m) => {
    await m.apply(pod(resources('250m')));
    m.runtime.failNext('updatePodSandboxResources', new RuntimeError('unimplemented', 'unknown method'));
    await m.apply(pod(resources('500m')));
    assert.equal(await shares(m), 512);
    assert.deepEqual(conditions(m), []);
    assert.deepEqual(m.errors, []);
  }));

test('a resource that wants a restart (L-519)', () =>
  onMachine({}, async (m) => {
    const resizePolicy = [{ resourceName: 'memory', restartPolicy: 'RestartContainer' }];
    await m.apply(pod(resources('250m'), { resizePolicy }));
    m.events.take();
    await m.apply(pod(resources('250m', '128Mi'), { resizePolicy }));
    assert.ok(m.events.take().includes('Normal Killing: Container app resize requires restart'));
    await m.advance(1_000);
    assert.deepEqual(
      (await m.containers()).filter((text) => text.endsWith('running')),
      ['app/1 running'],
    );
  }));

test('no room beside the others: deferred until they have gone (L-517, D4)', () =>
  onMachine({}, async (m) => {
    const other = staticPod('uid-2', { containers: [buildContainer({ name: 'side', resources: resources('2') })] }, 'other');
    await m.apply(pod(resources('250m')), other);
    const capacity = m.admission.allocatable.cpuMillis;
    const wanted = resources(`${capacity - 1000}m`);
    await m.apply(pod(wanted), other);
    assert.deepEqual(conditions(m), ['PodResizePending Deferred']);
    assert.ok(m.events.take().some((event) => event.startsWith('Warning ResizeDeferred: ')));
    assert.equal(await shares(m), 256);
    await m.restart();
    assert.deepEqual([conditions(m), await shares(m)], [['PodResizePending Deferred'], 256]);
    await m.apply(pod(wanted));
    await m.advance(60_000);
    assert.deepEqual([conditions(m), await shares(m)], [[], Math.floor(((capacity - 1000) * 1024) / 1000)]);
    assert.deepEqual(m.errors, []);
  }));

test('another QoS class is another cgroup: the Pod is made anew in it, and counts on (L-052)', () =>
  onMachine({}, async (m) => {
    await m.apply(pod(resources('250m')));
    for (const [round, wanted] of [{}, resources('250m')].entries()) {
      m.takeDeeds();
      await m.apply(pod(wanted));
      await m.advance(60_000);
      const deeds = m.takeDeeds().filter((deed) => !deed.startsWith('remove'));
      const sandbox = await m.runtime.listPodSandboxes({}, { signal: new AbortController().signal });
      assert.equal(sandbox.find(({ state }) => state === 'ready')?.attempt, round + 1, deeds.join());
      assert.match(deeds[0] ?? '', new RegExp(`^stopContainer app/${round} `));
      assert.equal(m.status()?.containerStatuses?.[0]?.restartCount, round + 1);
    }
    assert.deepEqual([conditions(m), m.errors], [[], []]);
  }));

test('another QoS class, and the agent dies before the Pod is made anew: the next one does it (L-052, D2)', () =>
  onMachine({ process: () => ({ onTerm: 'ignore' }) }, async (m) => {
    await m.apply(pod(resources('250m')));
    await m.apply(pod({}));
    await m.advance(1_000);
    assert.deepEqual(await m.containers(), ['app/0 running'], 'it is being stopped');
    await m.restart();
    await m.advance(60_000);
    const sandboxes = await m.runtime.listPodSandboxes({}, { signal: new AbortController().signal });
    assert.deepEqual(
      sandboxes.flatMap(({ state, attempt }) => (state === 'ready' ? [attempt] : [])),
      [1],
    );
    assert.deepEqual([m.status()?.qosClass, m.errors], ['BestEffort', []]);
  }));

test('more than the node has: infeasible, and what runs is left alone (L-517)', () =>
  onMachine({}, async (m) => {
    await m.apply(pod(resources('250m')));
    m.takeDeeds();
    await m.apply(pod({ requests: { cpu: '10000' } }));
    assert.deepEqual(conditions(m), ['PodResizePending Infeasible']);
    assert.deepEqual([m.takeDeeds(), await m.containers()], [[], ['app/0 running']]);
    await m.apply(pod(resources('250m')));
    assert.deepEqual(conditions(m), []);
  }));
