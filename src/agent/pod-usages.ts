// What Pods use, for eviction/: the numbers of the runtime, and the size of their volumes on disk.
import type { Pod } from '../api/pod.ts';
import { noUsage, type Usage, type Usages } from '../eviction/victims.ts';
import type { CallOptions } from '../runtime/runtime.ts';
import type { PodUsage, StatsView } from '../server/views.ts';
import { AgentError } from '../std/errors.ts';
import { runProgram } from '../std/process.ts';

export interface PodUsagesDeps {
  readonly stats: Pick<StatsView, 'pods'>;
  /** Where a Pod's emptyDir is. */
  readonly emptyDirPath: (podUid: string, volume: string) => string;
}

/** What cannot be measured counts as nothing. Throws a RuntimeError when the runtime cannot be asked. */
export async function podUsages(pods: readonly Pod[], deps: PodUsagesDeps, options: CallOptions): Promise<Usages> {
  const stats = new Map((await deps.stats.pods(options)).map((usage) => [usage.uid, usage]));
  const rows: [string, Usage][] = [];
  for (const pod of pods) {
    const { uid } = pod.metadata;
    rows.push([uid, usageOf(stats.get(uid), await emptyDirSizes(pod, deps, options))]);
  }
  return new Map(rows);
}

function usageOf(stats: PodUsage | undefined, emptyDirs: ReadonlyMap<string, number>): Usage {
  const inDirs = [...emptyDirs.values()].reduce((sum, size) => sum + size, 0);
  if (stats === undefined) return { ...noUsage, storageBytes: inDirs, emptyDirs };
  const containers = stats.containers.map((one) => ({
    name: one.name,
    memoryBytes: one.memory?.workingSetBytes ?? 0,
    storageBytes: (one.rootfs?.usedBytes ?? 0) + (one.logs?.usedBytes ?? 0),
    inodes: (one.rootfs?.inodesUsed ?? 0) + (one.logs?.inodesUsed ?? 0),
  }));
  const sum = (of: (one: (typeof containers)[number]) => number): number => containers.reduce((total, one) => total + of(one), 0);
  return {
    memoryBytes: stats.memory?.workingSetBytes ?? sum((one) => one.memoryBytes),
    storageBytes: sum((one) => one.storageBytes) + inDirs,
    inodes: sum((one) => one.inodes),
    processes: stats.processCount ?? 0,
    containers: new Map(containers.map((one) => [one.name, one])),
    emptyDirs,
  };
}

/** Those in memory count as memory of the Pod, and the kernel limits them. */
async function emptyDirSizes(pod: Pod, deps: PodUsagesDeps, { signal }: CallOptions): Promise<ReadonlyMap<string, number>> {
  const sizes = new Map<string, number>();
  for (const { name, emptyDir } of pod.spec.volumes ?? []) {
    if (emptyDir === undefined || (emptyDir.medium ?? '') !== '') continue;
    sizes.set(name, await folderSize(deps.emptyDirPath(pod.metadata.uid, name), signal));
  }
  return sizes;
}

/** `du` ends with a failure when a file vanishes under it, after it has told what it counted. */
async function folderSize(path: string, signal: AbortSignal): Promise<number> {
  try {
    const { stdout } = await runProgram('du', ['-skx', path], { signal });
    return Number.parseInt(stdout, 10) * 1024;
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof AgentError)) throw error;
    return 0;
  }
}
