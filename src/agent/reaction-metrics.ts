// How fast the agent reacts, from what happened to what was done about it: declared here, observed by whoever wires the
// stages together.
import { annotationKeys } from '../api/pod.ts';
import type { StatusChange, StatusView } from '../status/status-store.ts';
import { type Clock, fromRfc3339, type Instant } from '../std/clock.ts';
import type { Histogram, Metrics } from '../std/metrics.ts';

export interface ReactionMetrics {
  /** From the moment a new or changed manifest was read until its containers run, in seconds. */
  readonly manifest: Histogram;
  /** From noticing a container's death until its successor runs, in seconds, back-off included. */
  readonly death: Histogram;
  /** H-371: from `config.seen` until the Pod is Running for the first time. */
  readonly podStart: Histogram;
}

const fine = [0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10, 30, 60, 300];
const start = [0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600];

export function reactionMetrics(metrics: Metrics): ReactionMetrics {
  return {
    manifest: metrics.histogram({
      name: 'pinpod_manifest_reaction_seconds',
      help: 'From reading a new or changed manifest until its containers run',
      buckets: fine,
    }),
    death: metrics.histogram({
      name: 'pinpod_death_reaction_seconds',
      help: 'From noticing the death of a container until its successor runs, back-off included',
      buckets: fine,
    }),
    podStart: metrics.histogram({
      name: 'kubelet_pod_start_duration_seconds',
      help: '[ALPHA] From seeing a pod until it runs for the first time',
      buckets: start,
    }),
  };
}

/** Observes them from what is published; returns the end of it. */
export function observeReactions(metrics: ReactionMetrics, status: StatusView, clock: Clock): () => void {
  /** `<uid>/<container>` → since when it is known not to run after it ran. */
  const dead = new Map<string, Instant>();
  return status.subscribe((change: StatusChange) => {
    const { pod, status: now } = change.view;
    const names = (now.containerStatuses ?? []).map((container) => `${pod.metadata.uid}/${container.name}`);
    if (change.kind === 'removed' || change.view.leaving) {
      for (const name of names) dead.delete(name);
      return;
    }
    const before = change.previous?.status;
    const at = clock.now();
    if (now.phase === 'Running' && before?.phase === 'Pending') {
      const seenAt = fromRfc3339(pod.metadata.annotations[annotationKeys.configSeen] ?? '');
      if (seenAt !== undefined) {
        metrics.podStart.observe((at - seenAt) / 1000);
        metrics.manifest.observe((at - seenAt) / 1000);
      }
    }
    for (const container of now.containerStatuses ?? []) {
      const name = `${pod.metadata.uid}/${container.name}`;
      const ran = before?.containerStatuses?.find((candidate) => candidate.name === container.name)?.state?.running !== undefined;
      const diedAt = dead.get(name);
      if (container.state?.running === undefined) {
        if (ran && diedAt === undefined) dead.set(name, at);
      } else if (diedAt !== undefined) {
        metrics.death.observe((at - diedAt) / 1000);
        dead.delete(name);
      }
    }
  });
}
