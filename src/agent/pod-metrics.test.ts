import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { podOf } from '../../test/support/fake-views.ts';
import type { PodStatus } from '../api/gen/kubernetes.ts';
import { StatusStore } from '../status/status-store.ts';
import { PrometheusMetrics } from './metrics.ts';
import { observePods } from './pod-metrics.ts';

const statusOf = (state: NonNullable<PodStatus['containerStatuses']>[number]['state'], lastState?: typeof state): PodStatus => ({
  phase: 'Running',
  containerStatuses: [
    { name: 'c', image: 'i', imageID: '', ready: true, restartCount: 0, state, ...(lastState === undefined ? {} : { lastState }) },
  ],
});

test('H-366 … H-368, H-370, H-374, H-378, C-500: the life of a Pod in numbers', async () => {
  const clock = new FakeClock(Date.parse('2026-01-01T00:00:02Z'));
  const status = new StatusStore({ clock });
  const metrics = new PrometheusMetrics();
  const end = observePods(metrics, status, clock);
  const sample = async (name: string): Promise<string | undefined> =>
    (await metrics.expose('agent'))
      .split('\n')
      .find((line) => line.startsWith(`${name} `))
      ?.slice(name.length + 1);
  const working = (lifecycle: string, config: string) =>
    sample(`kubelet_working_pods{config="${config}",lifecycle="${lifecycle}",static="true"}`);
  const pod = podOf();

  assert.equal(await working('sync', 'desired'), '0', 'every combination is there');
  status.publish(pod, statusOf({ running: {} }));
  assert.equal(await working('sync', 'desired'), '1');
  assert.equal(await sample('kubelet_containers_per_pod_count_sum'), '1');
  assert.equal(await sample('kubelet_pod_worker_start_duration_seconds_sum'), '2');

  const died = { exitCode: 3, reason: 'Error', containerID: 'containerd://1' };
  status.publish(pod, statusOf({ terminated: died }));
  status.publish(pod, statusOf({ waiting: { reason: 'CrashLoopBackOff' } }, { terminated: died }));
  status.publish(pod, statusOf({ running: {} }, { terminated: died }));
  assert.equal(await sample('kubelet_terminated_containers_total{container_type="container",exit_code="3",reason="Error"}'), '1');

  status.publish(pod, statusOf({ running: {} }, { terminated: died }), { stage: 'terminating', leaving: true });
  assert.deepEqual([await working('sync', 'desired'), await working('terminating', 'orphan')], ['0', '1']);
  status.remove(pod.metadata.uid);
  status.publish(pod, statusOf({ running: {} }));
  assert.equal(await sample('kubelet_restarted_pods_total{static="true"}'), '1');

  status.publish(podOf({ name: 'left' }), statusOf({ running: {} }), { stage: 'terminating', leaving: true });
  assert.equal(await sample('kubelet_orphaned_runtime_pods_total'), '1');
  assert.equal(await sample('kubelet_containers_per_pod_count_count'), '2', 'nobody wants the orphan');
  end();
  status.remove(pod.metadata.uid);
  assert.equal(await working('sync', 'desired'), '1', 'nothing after the end');
});
