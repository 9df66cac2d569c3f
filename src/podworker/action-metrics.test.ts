import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { buildContainer, buildPod } from '../../test/support/pods.ts';
import { PrometheusMetrics } from '../agent/metrics.ts';
import type { Action } from '../pod/action.ts';
import type { ActionOutcome } from '../pod/memory.ts';
import { actionMetrics } from './action-metrics.ts';

const done: ActionOutcome = { kind: 'done' };
const failed = (reason?: string): ActionOutcome => ({
  kind: 'failed',
  message: 'no',
  ...(reason === undefined ? {} : { waiting: { reason, message: 'no' } }),
});
const create = (container: string): Action => ({
  type: 'CreateContainer',
  ...{ container, sandboxId: 's', sandboxAttempt: 0, podIps: [], attempt: 0, imageRef: 'i', backoffMs: undefined },
});
const start = (container: string): Action => ({ type: 'StartContainer', container, containerId: 'c' });
const pull = (container: string): Action => ({ type: 'PullImage', container, sandboxAttempt: 0 });
const sandbox: Action = { type: 'RunPodSandbox', attempt: 0 };

const rows: readonly (readonly [rule: string, deeds: readonly (readonly [Action, ActionOutcome])[], samples: readonly string[]])[] = [
  [
    'H-375: sandboxes',
    [
      [sandbox, done],
      [sandbox, failed()],
    ],
    [
      'kubelet_started_pods_total 2',
      'kubelet_started_pods_errors_total 1',
      'kubelet_started_user_namespaced_pods_total 2',
      'kubelet_started_user_namespaced_pods_errors_total 1',
    ],
  ],
  [
    'H-376: one start each, whatever it takes',
    [
      [pull('init'), done],
      [create('init'), done],
      [start('init'), done],
      [create('main'), done],
    ],
    [
      'kubelet_started_containers_total{container_type="init_container"} 1',
      'kubelet_started_containers_total{container_type="container"} 1',
    ],
  ],
  [
    'H-377: by the reason a person reads',
    [
      [pull('main'), failed('ErrImagePull')],
      [create('main'), failed('CreateContainerConfigError')],
      [start('main'), failed()],
    ],
    [
      'kubelet_started_containers_total{container_type="container"} 2',
      'kubelet_started_containers_errors_total{code="ErrImagePull",container_type="container"} 1',
      'kubelet_started_containers_errors_total{code="CreateContainerConfigError",container_type="container"} 1',
      'kubelet_started_containers_errors_total{code="RunContainerError",container_type="container"} 1',
    ],
  ],
  [
    'H-407: image volumes',
    [
      [create('main'), done],
      [create('main'), failed()],
      [create('init'), done],
    ],
    [
      'kubelet_image_volume_requested_total 2',
      'kubelet_image_volume_mounted_succeed_total 1',
      'kubelet_image_volume_mounted_errors_total 1',
    ],
  ],
  [
    'H-406: cgroups',
    [[{ type: 'CreatePodCgroup', hasRunning: false }, done]],
    ['kubelet_cgroup_manager_duration_seconds_count{operation_type="create"} 1'],
  ],
];

for (const [rule, deeds, samples] of rows) {
  test(rule, async () => {
    const metrics = new PrometheusMetrics();
    const pod = buildPod({
      hostUsers: false,
      initContainers: [buildContainer({ name: 'init' })],
      containers: [buildContainer({ name: 'main', volumeMounts: [{ name: 'models', mountPath: '/m' }] })],
      volumes: [{ name: 'models', image: { reference: 'x' } }],
    });
    const decorate = actionMetrics(metrics, new FakeClock());
    for (const [action, outcome] of deeds) {
      const executor = decorate({ execute: async () => outcome }, () => pod);
      assert.equal(await executor.execute(action, { signal: new AbortController().signal }), outcome);
    }
    const lines = (await metrics.expose('agent')).split('\n');
    for (const sample of samples)
      assert.ok(lines.includes(sample), `${sample} in ${lines.filter((line) => !line.startsWith('#')).join('\n')}`);
  });
}

test('H-351: families without labels are there from the first scrape', async () => {
  const metrics = new PrometheusMetrics();
  actionMetrics(metrics, new FakeClock());
  assert.match(await metrics.expose('agent'), /^kubelet_started_pods_total 0$/m);
});
