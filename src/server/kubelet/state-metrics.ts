// Numbers that are read off the state at each scrape rather than counted: manifests by verdict, ages and faults of the
// sources, Pods wanted and active (H-363, H-364).
import type { Instant } from '../../std/clock.ts';
import type { ManifestsView, PodsView } from '../views.ts';
import { type Family, formatFamilies } from './prometheus-text.ts';

const verdicts = ['accepted', 'rejected', 'shadowed', 'ignored'] as const;

export function stateMetrics(manifests: ManifestsView, pods: PodsView, now: Instant): string {
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
    { name: 'kubelet_desired_pods', help: '[ALPHA] Pods the sources want', type: 'gauge', samples: byStatic(wanted.length) },
    { name: 'kubelet_active_pods', help: '[ALPHA] Pods that are not finished', type: 'gauge', samples: byStatic(active.length) },
  ];
  return formatFamilies(families);
}
