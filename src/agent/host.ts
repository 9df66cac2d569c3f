// What the gatherers of node facts ask of the machine, as a port, and its implementation on the real one.
import { lookup } from 'node:dns/promises';
import type { BigIntStats } from 'node:fs';
import { lstat, readdir, readFile, stat, statfs } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { systemCode } from '../std/errors.ts';
import { parseNumber } from './proc-files.ts';

export interface HostInterface {
  readonly name: string;
  readonly address: string;
  readonly internal: boolean;
}

export interface DiskSpace {
  readonly capacityBytes: number;
  readonly availableBytes: number;
  /** Without what only root may use being counted as used. */
  readonly freeBytes: number;
  readonly inodes: number;
  readonly inodesFree: number;
}

export interface Host {
  /** Undefined when the file is not there. */
  readText(path: string): Promise<string | undefined>;
  /** Another text whenever the file at `path` may have another content; undefined when it is not there. */
  revision(path: string): Promise<string | undefined>;
  /** When the file or folder was made, in ms since the epoch; undefined where nobody knows. */
  createdAt(path: string): Promise<number | undefined>;
  /** All files in the folder itself, those in folders below it left out; zero when it is not there. */
  folderUsage(path: string): Promise<{ readonly usedBytes: number; readonly files: number }>;
  /** Names in the folder; [] when it is not there. */
  list(path: string): Promise<readonly string[]>;
  /** The folder and all below it on the same file system, links counted once; zero when it is not there. */
  treeUsage(path: string, options: { readonly signal: AbortSignal }): Promise<{ readonly usedBytes: number; readonly files: number }>;
  /** Of the file system `path` is on; undefined when `path` is not there. */
  disk(path: string): Promise<DiskSpace | undefined>;
  interfaces(): readonly HostInterface[];
  /** Every address of a name; [] when it has none or nobody can be asked. May take as long as the resolver does. */
  lookup(name: string): Promise<readonly string[]>;
}

export const realHost: Host = {
  async readText(path) {
    try {
      return await readFile(path, 'utf8');
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  },
  async revision(path) {
    try {
      const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
      return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  },
  async createdAt(path) {
    try {
      const { birthtimeMs } = await stat(path);
      return birthtimeMs > 0 ? birthtimeMs : undefined;
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  },
  async folderUsage(path) {
    let usedBytes = 0;
    let files = 0;
    try {
      for (const name of await readdir(path)) {
        const blocks = await blocksOf(`${path}/${name}`);
        if (blocks === undefined) continue;
        usedBytes += blocks * 512;
        files++;
      }
    } catch (error) {
      if (!isAbsent(error)) throw error;
    }
    return { usedBytes, files };
  },
  async list(path) {
    try {
      return await readdir(path);
    } catch (error) {
      if (isAbsent(error)) return [];
      throw error;
    }
  },
  async treeUsage(path, { signal }) {
    const seen = new Set<string>();
    let usedBytes = 0;
    const todo = [{ path, device: undefined as bigint | undefined }];
    for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
      signal.throwIfAborted();
      const info = await statOf(next.path);
      if (info === undefined || (next.device !== undefined && info.dev !== next.device) || seen.has(`${info.ino}`)) continue;
      seen.add(`${info.ino}`);
      usedBytes += Number(info.blocks) * 512;
      if (!info.isDirectory()) continue;
      for (const name of await realHost.list(next.path)) todo.push({ path: `${next.path}/${name}`, device: info.dev });
    }
    return { usedBytes, files: seen.size };
  },
  async disk(path) {
    try {
      const { bsize, blocks, bavail, bfree, files, ffree } = await statfs(path);
      return {
        capacityBytes: blocks * bsize,
        availableBytes: bavail * bsize,
        freeBytes: bfree * bsize,
        inodes: files,
        inodesFree: ffree,
      };
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  },
  interfaces: () =>
    Object.entries(networkInterfaces()).flatMap(([name, addresses]) =>
      (addresses ?? []).map(({ address, internal }) => ({ name, address, internal })),
    ),
  async lookup(name) {
    try {
      return (await lookup(name, { all: true })).map(({ address }) => address);
    } catch {
      // Whatever the resolver says, the name gives no address: the next way of finding one is taken.
      return [];
    }
  },
};

/** The most tasks the kernel allows at once; undefined where it does not say. */
export async function maxPids(host: Host): Promise<number | undefined> {
  const limits = await Promise.all(['/proc/sys/kernel/pid_max', '/proc/sys/kernel/threads-max'].map((path) => host.readText(path)));
  const numbers = limits.map(parseNumber).filter((limit) => limit !== undefined);
  return numbers.length === 0 ? undefined : Math.min(...numbers);
}

async function statOf(path: string): Promise<BigIntStats | undefined> {
  try {
    return await lstat(path, { bigint: true });
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

/** Undefined when a rotation took the file away in the meantime. */
async function blocksOf(path: string): Promise<number | undefined> {
  try {
    return (await lstat(path)).blocks;
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

/** ENODEV: a cgroup that vanished while its file was open. */
function isAbsent(error: unknown): boolean {
  const code = systemCode(error);
  return code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENODEV';
}
