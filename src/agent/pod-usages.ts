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

export interface PodUsagesOptions extends CallOptions {
  /** Files in volumes are counted only when they are asked for: that takes as long as their sizes do. */
  readonly withInodes?: boolean;
}

/** What cannot be measured counts as nothing. Throws a RuntimeError when the runtime cannot be asked. */
export async function podUsages(pods: readonly Pod[], deps: PodUsagesDeps, options: PodUsagesOptions): Promise<Usages> {
  const stats = new Map((await deps.stats.pods(options)).map((usage) => [usage.uid, usage]));
  const rows: [string, Usage][] = [];
  for (const pod of pods) {
    const { uid } = pod.metadata;
    const folders = emptyDirsOf(pod, deps);
    const sizes = await measured(folders, sizeOf, options);
    const inodes = options.withInodes === true ? await measured(folders, inodesOf, options) : new Map<string, number>();
    rows.push([uid, usageOf(stats.get(uid), sizes, sum(inodes.values()))]);
  }
  return new Map(rows);
}

function usageOf(stats: PodUsage | undefined, emptyDirs: ReadonlyMap<string, number>, inodesInDirs: number): Usage {
  const inDirs = sum(emptyDirs.values());
  if (stats === undefined) return { ...noUsage, storageBytes: inDirs, inodes: inodesInDirs, emptyDirs };
  const containers = stats.containers.map((one) => ({
    name: one.name,
    memoryBytes: one.memory?.workingSetBytes ?? 0,
    storageBytes: (one.rootfs?.usedBytes ?? 0) + (one.logs?.usedBytes ?? 0),
    inodes: (one.rootfs?.inodesUsed ?? 0) + (one.logs?.inodesUsed ?? 0),
  }));
  return {
    memoryBytes: stats.memory?.workingSetBytes ?? sum(containers.map((one) => one.memoryBytes)),
    storageBytes: sum(containers.map((one) => one.storageBytes)) + inDirs,
    inodes: sum(containers.map((one) => one.inodes)) + inodesInDirs,
    processes: stats.processCount ?? 0,
    containers: new Map(containers.map((one) => [one.name, one])),
    emptyDirs,
  };
}

const sum = (values: Iterable<number>): number => [...values].reduce((total, value) => total + value, 0);

/** Name → folder. Those in memory count as memory of the Pod, and the kernel limits them. */
function emptyDirsOf(pod: Pod, deps: PodUsagesDeps): ReadonlyMap<string, string> {
  const onDisk = (pod.spec.volumes ?? []).filter(({ emptyDir }) => emptyDir !== undefined && (emptyDir.medium ?? '') === '');
  return new Map(onDisk.map(({ name }) => [name, deps.emptyDirPath(pod.metadata.uid, name)]));
}

async function measured(
  folders: ReadonlyMap<string, string>,
  measure: (path: string, signal: AbortSignal) => Promise<number>,
  { signal }: CallOptions,
): Promise<ReadonlyMap<string, number>> {
  const amounts = new Map<string, number>();
  for (const [name, path] of folders) amounts.set(name, await measure(path, signal));
  return amounts;
}

const sizeOf = async (path: string, signal: AbortSignal): Promise<number> => (await du(['-skx', path], signal)) * 1024;
const inodesOf = (path: string, signal: AbortSignal): Promise<number> => du(['-sx', '--inodes', path], signal);

function amountIn(text: string): number {
  const amount = Number.parseInt(text, 10);
  return Number.isNaN(amount) ? 0 : amount;
}

/** `du` ends with a failure when a file vanishes under it, after it has told what it counted. */
async function du(args: readonly string[], signal: AbortSignal): Promise<number> {
  try {
    return amountIn((await runProgram('du', args, { signal })).stdout);
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof AgentError)) throw error;
    return amountIn(String(error.details['stdout'] ?? ''));
  }
}
