// Counts what is done about Pods, under the kubelet's names (H-375 … H-377, H-406 … H-408): a decorator of the executor.
import { allContainers, type Pod } from '../api/pod.ts';
import type { Action } from '../pod/action.ts';
import type { ActionOutcome } from '../pod/memory.ts';
import type { CallOptions } from '../runtime/runtime.ts';
import type { Clock } from '../std/clock.ts';
import type { Counter, Metrics } from '../std/metrics.ts';

export interface Executor {
  execute(action: Action, options: CallOptions): Promise<ActionOutcome>;
}

/** Declares the families once; the function decorates the executor of each Pod. */
export function actionMetrics(metrics: Metrics, clock: Clock): (executor: Executor, pod: () => Pod) => Executor {
  const counter = (name: string, help: string, labels: readonly string[] = []): Counter => metrics.counter({ name, help, labels });
  const pods = attempts(
    counter('kubelet_started_pods_total', '[ALPHA] Sandboxes that were to be made'),
    counter('kubelet_started_pods_errors_total', '[ALPHA] Sandboxes that could not be made'),
  );
  const userNamespaced = attempts(
    counter('kubelet_started_user_namespaced_pods_total', '[ALPHA] Sandboxes with a user namespace that were to be made'),
    counter('kubelet_started_user_namespaced_pods_errors_total', '[ALPHA] Sandboxes with a user namespace that could not be made'),
  );
  const containers = counter('kubelet_started_containers_total', '[ALPHA] Containers that were to be started', ['container_type']);
  const containerErrors = counter('kubelet_started_containers_errors_total', '[ALPHA] Containers that could not be started, by reason', [
    'container_type',
    'code',
  ]);
  const imageVolumes = counter('kubelet_image_volume_requested_total', '[BETA] Image volumes that were asked for');
  const mounted = counter('kubelet_image_volume_mounted_succeed_total', '[BETA] Image volumes that were mounted');
  const notMounted = counter('kubelet_image_volume_mounted_errors_total', '[BETA] Image volumes that could not be mounted');
  const cgroups = metrics.histogram({
    name: 'kubelet_cgroup_manager_duration_seconds',
    help: '[ALPHA] How long the cgroup of a Pod took to be made, changed or removed',
    labels: ['operation_type'],
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  });

  function countContainer(action: Extract<Action, { container: string }>, pod: Pod, outcome: ActionOutcome): void {
    const labels = { container_type: typeOf(pod, action.container) };
    const isFailed = outcome.kind === 'failed';
    const volumes = imageVolumesOf(pod, action.container);
    // A start is tried when its container is made, or when not even its image can be had.
    if (action.type === 'CreateContainer' || (action.type === 'PullImage' && isFailed)) {
      containers.inc(labels);
      imageVolumes.inc({}, volumes);
    }
    if (isFailed) {
      containerErrors.inc({
        ...labels,
        code: outcome.waiting?.reason ?? (action.type === 'StartContainer' ? 'RunContainerError' : 'CreateContainerError'),
      });
    }
    if (action.type === 'CreateContainer') (isFailed ? notMounted : mounted).inc({}, volumes);
    else if (action.type === 'PullImage' && isFailed) notMounted.inc({}, volumes);
  }

  function count(action: Action, pod: Pod, outcome: ActionOutcome, seconds: number): void {
    switch (action.type) {
      case 'RunPodSandbox':
        pods(outcome);
        if (pod.spec.hostUsers === false) userNamespaced(outcome);
        return;
      case 'PullImage':
      case 'CreateContainer':
      case 'StartContainer':
        countContainer(action, pod, outcome);
        return;
      case 'CreatePodCgroup':
        cgroups.observe(seconds, { operation_type: 'create' });
        return;
      case 'ResizeContainers':
        cgroups.observe(seconds, { operation_type: 'update' });
        return;
      case 'RemovePodCgroup':
        cgroups.observe(seconds, { operation_type: 'destroy' });
        return;
      default:
        return;
    }
  }

  return (executor, pod) => ({
    async execute(action, options) {
      const startedAt = clock.now();
      const outcome = await executor.execute(action, options);
      count(action, pod(), outcome, (clock.now() - startedAt) / 1000);
      return outcome;
    },
  });
}

function attempts(total: Counter, errors: Counter): (outcome: ActionOutcome) => void {
  return (outcome) => {
    total.inc();
    if (outcome.kind === 'failed') errors.inc();
  };
}

export function typeOf({ spec }: Pod, container: string): 'container' | 'init_container' {
  return spec.initContainers?.some(({ name }) => name === container) === true ? 'init_container' : 'container';
}

function imageVolumesOf({ spec }: Pod, name: string): number {
  const container = allContainers(spec).find((one) => one.name === name);
  const mounts = new Set((container?.volumeMounts ?? []).map((mount) => mount.name));
  return (spec.volumes ?? []).filter((volume) => volume.image !== undefined && mounts.has(volume.name)).length;
}
