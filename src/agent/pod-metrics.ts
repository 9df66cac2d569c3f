// What is counted of the Pods' lives under the kubelet's names, read off what is published of them (H-366 … H-370, H-374,
// H-378).
import type { ContainerStatus } from '../api/gen/kubernetes.ts';
import { annotationKeys } from '../api/pod.ts';
import type { PodWorkerDeps } from '../podworker/pod-worker.ts';
import type { PodView, StatusView } from '../status/status-store.ts';
import { type Clock, fromRfc3339 } from '../std/clock.ts';
import type { Metrics } from '../std/metrics.ts';

const defaultBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const lifecycles = ['sync', 'terminating', 'terminated'] as const;
const configs = ['desired', 'orphan', 'runtime_only'] as const;
const statics = ['', 'true', 'unknown'] as const;
/** Of so many Pods that are gone is remembered that they were here. */
const maxRemembered = 1_000;

/** H-369: how long a Pod's worker had something to do. */
export function workerMetrics(metrics: Metrics): Pick<PodWorkerDeps, 'onSettled'> {
  const durations = metrics.histogram({
    name: 'kubelet_pod_worker_duration_seconds',
    help: '[ALPHA] From finding something to do for a Pod until nothing was left to do, by what it was about',
    labels: ['operation_type'],
    buckets: defaultBuckets,
  });
  return { onSettled: (kind, durationMs) => durations.observe(durationMs / 1000, { operation_type: kind }) };
}

/** Declares and observes until the function it returns is called. */
export function observePods(metrics: Metrics, status: StatusView, clock: Clock): () => void {
  const perPod = metrics.histogram({
    name: 'kubelet_containers_per_pod_count',
    help: '[ALPHA] Regular containers of a Pod, once for each Pod',
    buckets: [1, 2, 4, 8, 16],
  });
  const workerStart = metrics.histogram({
    name: 'kubelet_pod_worker_start_duration_seconds',
    help: '[ALPHA] From seeing a Pod until its worker begins',
    buckets: defaultBuckets,
  });
  const restarted = metrics.counter({
    name: 'kubelet_restarted_pods_total',
    help: '[ALPHA] Pods that came back with the UID they had before they were removed',
    labels: ['static'],
  });
  for (const isStatic of ['', 'true']) restarted.inc({ static: isStatic }, 0);
  const orphaned = metrics.counter({
    name: 'kubelet_orphaned_runtime_pods_total',
    help: '[ALPHA] Pods found in the runtime that nobody wanted',
  });
  const ended = metrics.counter({
    name: 'kubelet_terminated_containers_total',
    help: '[ALPHA] Containers that ended, by exit code and reason',
    labels: ['container_type', 'exit_code', 'reason'],
  });
  const working = metrics.gauge({
    name: 'kubelet_working_pods',
    help: '[ALPHA] Pods that are worked on',
    labels: ['lifecycle', 'config', 'static'],
  });
  /** UIDs of Pods that were removed, oldest first. */
  const gone = new Set<string>();

  const countWorking = (): void => {
    const counts = new Map<string, number>();
    for (const { stage, leaving } of status.list()) {
      const key = `${stage}/${leaving ? 'orphan' : 'desired'}/true`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    for (const lifecycle of lifecycles) {
      for (const config of configs) {
        for (const isStatic of statics) {
          working.set(counts.get(`${lifecycle}/${config}/${isStatic}`) ?? 0, { lifecycle, config, static: isStatic });
        }
      }
    }
  };

  const begin = ({ pod, leaving }: PodView): void => {
    const { uid, annotations } = pod.metadata;
    if (leaving) {
      orphaned.inc();
      return;
    }
    perPod.observe(pod.spec.containers.length);
    const seenAt = fromRfc3339(annotations[annotationKeys.configSeen] ?? '');
    if (seenAt !== undefined) workerStart.observe(Math.max(0, clock.now() - seenAt) / 1000);
    if (gone.delete(uid)) restarted.inc({ static: 'true' });
  };

  const countEnds = (view: PodView, previous: PodView | undefined): void => {
    const count = (type: string, now: readonly ContainerStatus[] = [], before: readonly ContainerStatus[] = []): void => {
      for (const container of now) {
        const old = before.find(({ name }) => name === container.name);
        const end = container.state?.terminated ?? container.lastState?.terminated;
        if (end?.containerID === undefined || end.containerID === endedId(old)) continue;
        // What had ended before we came was counted by whoever was here then.
        if (old === undefined) continue;
        ended.inc({ container_type: type, exit_code: String(end.exitCode), reason: end.reason ?? '' });
      }
    };
    count('container', view.status.containerStatuses, previous?.status.containerStatuses);
    count('init_container', view.status.initContainerStatuses, previous?.status.initContainerStatuses);
  };

  countWorking();
  return status.subscribe((change) => {
    if (change.kind === 'removed') {
      gone.add(change.view.pod.metadata.uid);
      const oldest = gone.size > maxRemembered ? gone.values().next().value : undefined;
      if (oldest !== undefined) gone.delete(oldest);
    } else {
      if (change.previous === undefined) begin(change.view);
      countEnds(change.view, change.previous);
    }
    countWorking();
  });
}

const endedId = (container: ContainerStatus | undefined): string | undefined =>
  (container?.state?.terminated ?? container?.lastState?.terminated)?.containerID;
