// What the gatherers of node facts ask of the machine, as a port, and its implementation on the real one.
import { lookup } from 'node:dns/promises';
import { readFile, stat, statfs } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { systemCode } from '../std/errors.ts';

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

/** ENODEV: a cgroup that vanished while its file was open. */
function isAbsent(error: unknown): boolean {
  const code = systemCode(error);
  return code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENODEV';
}
