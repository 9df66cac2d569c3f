import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildConfig } from '../../test/support/agent-config.ts';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { FakeHost } from '../../test/support/fake-host.ts';
import { buildNode } from '../../test/support/node-facts.ts';
import { buildContainer, buildPod } from '../../test/support/pods.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import { Shutdown } from '../std/async.ts';
import { silentLogger } from '../std/log.ts';
import { PrometheusMetrics } from './metrics.ts';
import { admissionMetrics, NodeAdmission } from './node-admission.ts';

const enabled = '/sys/module/apparmor/parameters/enabled';
const profiles = '/sys/kernel/security/apparmor/profiles';
const shortOfDisk = { memory: false, disk: true, pid: false };

function world(change: Partial<AgentConfig> = {}) {
  const clock = new FakeClock();
  const host = new FakeHost();
  const asked: number[] = [];
  const admission = new NodeAdmission(buildConfig(change), buildNode(), {
    runtime: { supplementalGroupsPolicy: false },
    clock,
    logger: silentLogger,
    onChange: () => asked.push(clock.now()),
    host,
  });
  const answer = (spec: Parameters<typeof buildPod>[0]): string => {
    const admitted = admission.admit(buildPod(spec), []);
    return admitted.kind === 'refused' ? admitted.reason : admitted.kind;
  };
  return { clock, host, asked, admission, answer };
}

const localhost = (localhostProfile: string) => ({ securityContext: { appArmorProfile: { type: 'Localhost', localhostProfile } } });

test('L-511, S-447: labels, capacity and settings of the node are those of the configuration', () => {
  const { answer } = world({ nodeLabels: { zone: 'a' }, maxPods: 0 });
  assert.equal(answer({ nodeSelector: { zone: 'b' } }), 'NodeAffinity');
  assert.equal(answer({ nodeSelector: { zone: 'a', 'kubernetes.io/hostname': 'node1', 'kubernetes.io/os': 'linux' } }), 'OutOfpods');
  assert.equal(world().answer({ containers: [buildContainer({ resources: { requests: { cpu: '3501m' } } })] }), 'OutOfcpu');
});

test('S-461, L-512: taints of the node keep no static Pod away', () => {
  const { answer } = world({ registerWithTaints: [{ key: 'dedicated', value: 'x', effect: 'NoExecute' }] });
  assert.equal(answer({}), 'admitted');
});

test('H-391, H-392: refusals and preemptions are counted', async () => {
  const metrics = new PrometheusMetrics();
  const { onRefused, onPreempted } = admissionMetrics(metrics);
  onRefused('OutOfcpu');
  onRefused('OutOfcpu');
  onPreempted('cpu');
  const text = await metrics.expose('agent');
  assert.match(text, /^kubelet_admission_rejections_total\{reason="OutOfcpu"\} 2$/m);
  assert.match(text, /^kubelet_preemptions\{preemption_signal="cpu"\} 1$/m);
});

test('L-266: profiles that are loaded or unloaded count within a minute', async () => {
  const { clock, host, asked, admission, answer } = world();
  assert.equal(answer(localhost('mine')), 'AppArmor');
  host.files.set(enabled, 'Y\n');
  host.files.set(profiles, 'docker-default (enforce)\nmy own (complain)\n');
  await admission.refresh();
  assert.equal(asked.length, 1);
  assert.deepEqual([answer(localhost('my own')), answer(localhost('mine'))], ['admitted', 'AppArmor']);
  await admission.refresh();
  assert.equal(asked.length, 1, 'nobody is asked again when nothing changed');
  const controller = new AbortController();
  const running = admission.run({ signal: controller.signal });
  host.files.set(profiles, 'mine (enforce)\n');
  await clock.advance(60_000);
  await settle();
  assert.equal(answer(localhost('mine')), 'admitted');
  const stopped = new Shutdown();
  controller.abort(stopped);
  await assert.rejects(running, stopped);
});

test('D4: pressure and shutdown ask those who were refused again, each once', () => {
  const { asked, admission, answer } = world({ criticalPods: 'byPriority' });
  assert.equal(admission.update({ pressure: shortOfDisk }), true);
  assert.equal(admission.update({ pressure: { ...shortOfDisk } }), false);
  assert.deepEqual([answer({}), admission.mayReturn('Evicted'), admission.mayReturn('Preempting')], ['Evicted', false, true]);
  assert.equal(admission.update({ isShuttingDown: true }), true);
  assert.deepEqual([answer({ priority: 2_000_000_000 }), admission.mayReturn('Preempting')], ['NodeShutdown', false]);
  assert.equal(asked.length, 2);
  assert.equal(admission.isShuttingDown, true);
  assert.deepEqual(admission.pressure, shortOfDisk);
});

test('S-447: labels of the Node at an API server count on top of those of the configuration', () => {
  const { asked, admission, answer } = world({ nodeLabels: { zone: 'a' } });
  admission.update({ clusterLabels: { zone: 'b', disk: 'ssd' } });
  assert.equal(answer({ nodeSelector: { zone: 'b', disk: 'ssd', 'kubernetes.io/os': 'linux' } }), 'admitted');
  admission.update({ clusterLabels: { zone: 'b', disk: 'ssd' } });
  assert.equal(asked.length, 1);
});

test('D4: a reload asks those who were refused again', () => {
  const { asked, admission, answer } = world({ nodeLabels: {} });
  assert.equal(answer({ nodeSelector: { zone: 'a' } }), 'NodeAffinity');
  admission.configure(buildConfig({ nodeLabels: { zone: 'a' } }));
  assert.equal(answer({ nodeSelector: { zone: 'a' } }), 'admitted');
  assert.equal(asked.length, 1);
});
