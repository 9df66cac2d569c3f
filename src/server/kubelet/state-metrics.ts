// Numbers that are read off the state at each scrape rather than counted: manifests by verdict, ages and faults of the
// sources, troubles, Pods wanted and active (H-363, H-364, H-405).
import type { Pod } from '../../api/pod.ts';
import type { Clock } from '../../std/clock.ts';
import type { ManifestsView, PodsView, TroublesView } from '../views.ts';
import { type Family, formatFamilies, type Sample } from './prometheus-text.ts';

const verdicts = ['accepted', 'rejected', 'shadowed', 'ignored'] as const;

export interface StateMetricsDeps {
  readonly manifests: ManifestsView;
  readonly troubles: TroublesView;
  readonly pods: PodsView;
  readonly clock: Clock;
}

export function stateMetrics({ manifests, troubles, pods, clock }: StateMetricsDeps): string {
  const now = clock.now();
  const all = manifests.manifests();
  const sources = manifests.sources();
  const wanted = pods.list().filter((pod) => pod.metadata.deletionTimestamp === undefined);
  const active = wanted.filter((pod) => pod.status?.phase !== 'Succeeded' && pod.status?.phase !== 'Failed');
  // Only static Pods live here; the series of the others says so.
  const byStatic = (count: number) => [
    { labels: { static: '' }, value: 0 },
    { labels: { static: 'true' }, value: count },
  ];
  const families: readonly Family[] = [
    {
      name: 'pinpod_manifests',
      help: 'Manifests by what became of them',
      type: 'gauge',
      samples: verdicts.map((verdict) => ({ labels: { verdict }, value: all.filter((m) => m.verdict.kind === verdict).length })),
    },
    {
      name: 'pinpod_source_age_seconds',
      help: 'Time since the source was last read',
      type: 'gauge',
      samples: sources.flatMap(({ source, location, readAt }) =>
        readAt === undefined ? [] : [{ labels: { source, location }, value: Math.max(0, now - readAt) / 1000 }],
      ),
    },
    {
      name: 'pinpod_source_fault',
      help: '1 while the source cannot be read and its last good Pods are kept',
      type: 'gauge',
      samples: sources.map(({ source, location, fault }) => ({ labels: { source, location }, value: fault === undefined ? 0 : 1 })),
    },
    {
      name: 'pinpod_troubles',
      help: 'What pinpod doctor finds wrong now, by area and cause',
      type: 'gauge',
      samples: counted(troubles.report().troubles.map(({ severity, area, cause }) => ({ severity, area, cause }))),
    },
    { name: 'kubelet_desired_pods', help: '[ALPHA] Pods the sources want', type: 'gauge', samples: byStatic(wanted.length) },
    {
      name: 'kubelet_managed_ephemeral_containers',
      help: '[ALPHA] Ephemeral containers in the Pods of this node',
      type: 'gauge',
      samples: [{ value: wanted.reduce((sum, { spec }) => sum + (spec.ephemeralContainers ?? []).length, 0) }],
    },
    {
      name: 'kubelet_pod_in_progress_resizes',
      help: '[ALPHA] Pods whose resources are being changed now',
      type: 'gauge',
      samples: [{ value: active.filter((pod) => hasCondition(pod, 'PodResizeInProgress')).length }],
    },
    { name: 'kubelet_active_pods', help: '[ALPHA] Pods that are not finished', type: 'gauge', samples: byStatic(active.length) },
  ];
  return formatFamilies(families);
}

const hasCondition = ({ status }: Pod, type: string): boolean =>
  status?.conditions?.some((one) => one.type === type && one.status === 'True') === true;

/** How often each set of labels occurs. */
function counted(all: readonly Readonly<Record<string, string>>[]): readonly Sample[] {
  const counts = new Map<string, { readonly labels: Readonly<Record<string, string>>; value: number }>();
  for (const labels of all) {
    const key = JSON.stringify(labels);
    const sample = counts.get(key) ?? { labels, value: 0 };
    sample.value += 1;
    counts.set(key, sample);
  }
  return [...counts.values()];
}
