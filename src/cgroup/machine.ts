// What the machine has, for NodeFacts: read once at start.
import { readdir, readFile, stat, statfs } from 'node:fs/promises';
import { cpus } from 'node:os';
import type { NodeAmounts } from '../pod/node-facts.ts';
import { systemCode } from '../std/errors.ts';
import type { CgroupLayout } from './layout.ts';

export interface MachineFacts {
  readonly capacity: NodeAmounts;
  /** Every huge page size of the kernel, in bytes, smallest first. */
  readonly hugepageSizesBytes: readonly number[];
  /** L-252. */
  readonly swapController: boolean;
  /** L-262. */
  readonly thermalThrottlePaths: readonly string[];
  readonly seLinux: boolean;
}

/** `diskPath` is where Pods keep their files: its file system is the local storage. It must exist. */
export async function readMachine(layout: CgroupLayout, diskPath: string): Promise<MachineFacts> {
  const disk = await statfs(diskPath);
  const hugepages = await readHugepages();
  return {
    capacity: {
      cpuMillis: cpus().length * 1000,
      memoryBytes: memoryTotalBytes(await readFile('/proc/meminfo', 'utf8')),
      ephemeralStorageBytes: disk.blocks * disk.bsize,
      hugepagesBytes: hugepages,
    },
    hugepageSizesBytes: [...hugepages.keys()].sort((a, b) => a - b),
    swapController: await hasSwapController(layout),
    thermalThrottlePaths: await thermalThrottlePaths(),
    seLinux: await isThere('/sys/fs/selinux/enforce'),
  };
}

/** `MemTotal` of /proc/meminfo in bytes, 0 when it is missing. */
export function memoryTotalBytes(meminfo: string): number {
  return Number(/^MemTotal:\s+(\d+) kB$/m.exec(meminfo)?.[1] ?? 0) * 1024;
}

/** Bytes set aside, by page size in bytes. */
async function readHugepages(): Promise<ReadonlyMap<number, number>> {
  const root = '/sys/kernel/mm/hugepages';
  const found = new Map<number, number>();
  for (const folder of await namesIn(root)) {
    const sizeKiB = Number(/^hugepages-(\d+)kB$/.exec(folder)?.[1] ?? 0);
    if (sizeKiB === 0) continue;
    const count = Number((await readFile(`${root}/${folder}/nr_hugepages`, 'utf8')).trim());
    found.set(sizeKiB * 1024, count * sizeKiB * 1024);
  }
  return found;
}

/** Whether the agent's own cgroup, or on version 1 the hierarchy, can limit swap (L-252). */
export async function hasSwapController({ version, hierarchies, own }: CgroupLayout): Promise<boolean> {
  const hierarchy = hierarchies.find((one) => (version === 2 ? one.unified : one.controllers.includes('memory')));
  const path = own.get(version === 2 ? '' : 'memory') ?? '/';
  const file = version === 2 ? 'memory.swap.max' : 'memory.memsw.limit_in_bytes';
  return hierarchy !== undefined && (await isThere(`${hierarchy.mountPoint}${path}/${file}`.replaceAll('//', '/')));
}

async function thermalThrottlePaths(): Promise<readonly string[]> {
  const root = '/sys/devices/system/cpu';
  const paths = (await namesIn(root)).filter((name) => /^cpu\d+$/.test(name)).map((name) => `${root}/${name}/thermal_throttle`);
  const present = await Promise.all(paths.map(isThere));
  return paths.filter((_, index) => present[index]);
}

async function namesIn(path: string): Promise<readonly string[]> {
  try {
    return await readdir(path);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
}

async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false;
    throw error;
  }
}
