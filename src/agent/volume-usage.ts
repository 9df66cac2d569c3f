// How much room the volumes take that the agent made for Pods (H-285): folders in, bytes and files out.
import type { Pod } from '../api/pod.ts';
import type { CallOptions } from '../runtime/runtime.ts';
import type { FilesystemStats, VolumeUsage } from '../server/views.ts';
import type { Clock } from '../std/clock.ts';
import type { Metrics } from '../std/metrics.ts';
import { ownVolumePath } from '../volume/volumes.ts';
import type { DiskSpace, Host } from './host.ts';

/** Declares what is counted (H-397); the function measures one volume after the other, as nobody waits for it as for a Pod. */
export function volumeUsages(
  { rootDir }: { readonly rootDir: string },
  { host, clock, metrics }: { readonly host: Pick<Host, 'disk' | 'treeUsage'>; readonly clock: Clock; readonly metrics: Metrics },
): (pods: readonly Pod[], options: CallOptions) => Promise<ReadonlyMap<string, readonly VolumeUsage[]>> {
  const durations = metrics.histogram({
    name: 'kubelet_volume_metric_collection_duration_seconds',
    help: '[ALPHA] How long it took to measure a volume',
    labels: ['metric_source'],
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  });
  return async (pods, options) => {
    const measured = new Map<string, readonly VolumeUsage[]>();
    for (const { metadata, spec } of pods) {
      const volumes: VolumeUsage[] = [];
      for (const volume of spec.volumes ?? []) {
        const path = ownVolumePath(rootDir, metadata.uid, volume);
        const disk = path === undefined ? undefined : await host.disk(path);
        if (path === undefined || disk === undefined) continue;
        const begunAt = clock.elapsed();
        const { usedBytes, files } = await host.treeUsage(path, options);
        durations.observe((clock.elapsed() - begunAt) / 1000, { metric_source: 'du' });
        const inMemory = (volume.emptyDir?.medium ?? '') !== '';
        volumes.push({ ...spaceOf(disk), name: volume.name, inMemory, time: clock.now(), usedBytes, inodesUsed: files });
      }
      if (volumes.length > 0) measured.set(metadata.uid, volumes);
    }
    return measured;
  };
}

export function spaceOf({ availableBytes, capacityBytes, inodes, inodesFree }: DiskSpace): Omit<FilesystemStats, 'time' | 'usedBytes'> {
  return { availableBytes, capacityBytes, inodes, inodesFree };
}
