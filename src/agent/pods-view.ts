// The servers' view of the Pods: what the status store has, as one Kubernetes object each.
import { toEncodedPod } from '../api/encoded-pod.ts';
import type { Pod } from '../api/pod.ts';
import { gracePeriodSeconds } from '../pod/stop.ts';
import type { PodsView } from '../server/views.ts';
import type { PodView, StatusView } from '../status/status-store.ts';
import { type Clock, toRfc3339 } from '../std/clock.ts';

/** A Pod that does not change stays the same object; of two with one name the successor is shown. */
export function podsView(status: StatusView, clock: Clock): PodsView {
  const shown = new Map<string, { readonly revision: number; readonly pod: Pod; readonly deletedAt: string | undefined }>();
  const show = (view: PodView): Pod => {
    const { uid } = view.pod.metadata;
    const known = shown.get(uid);
    if (known?.revision === view.revision) return known.pod;
    const deletedAt = view.leaving ? (known?.deletedAt ?? toRfc3339(clock.now())) : undefined;
    const deletion =
      deletedAt === undefined ? {} : { deletionTimestamp: deletedAt, deletionGracePeriodSeconds: gracePeriodSeconds(view.pod) };
    const pod = toEncodedPod({ ...view.pod, metadata: { ...view.pod.metadata, ...deletion }, status: view.status });
    shown.set(uid, { revision: view.revision, pod, deletedAt });
    return pod;
  };
  return {
    list() {
      const views = status.list();
      const uids = new Set(views.map((view) => view.pod.metadata.uid));
      for (const uid of shown.keys()) if (!uids.has(uid)) shown.delete(uid);
      const byName = new Map<string, Pod>();
      for (const view of views) {
        const pod = show(view);
        const key = `${pod.metadata.namespace}/${pod.metadata.name}`;
        if (!view.leaving || !byName.has(key)) byName.set(key, pod);
      }
      return [...byName.values()];
    },
    subscribe: (listener) => status.subscribe(() => listener()),
  };
}
