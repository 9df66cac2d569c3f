// What the folder source needs of a file system: a port, and the real one, which never blocks on what it finds.
import { type BigIntStats, constants, type Dirent, readdirSync, readFileSync, readlinkSync, watch as watchFolder } from 'node:fs';
import { lstat, open, readdir, realpath, stat } from 'node:fs/promises';

import { setImmediate } from 'node:timers/promises';

import { ManifestError } from '../std/errors.ts';

export type FileKind = 'file' | 'directory' | 'symbolic link' | 'FIFO' | 'socket' | 'device' | 'unknown kind of file';

export interface FileStat {
  readonly kind: FileKind;
  /** Which file it is: device and inode. */
  readonly identity: string;
  /** Identity, size and times: as long as this is the same, the contents are taken to be. */
  readonly signature: string;
  readonly sizeBytes: number;
  /** Wall clock of the file system. */
  readonly modifiedMs: number;
}

export interface FileContents {
  readonly bytes: Uint8Array;
  /** Of the very file that was read, after reading. */
  readonly stat: FileStat;
  /** It changed while it was read. */
  readonly torn: boolean;
  /** The path leads through a symbolic link as its last part. */
  readonly isLink: boolean;
}

export interface FolderWatch {
  close(): void;
}

/** All functions reject with Node's system errors (`code` ENOENT, EACCES, ELOOP, …). */
export interface FileSystem {
  /** Follows symbolic links. */
  stat(path: string): Promise<FileStat>;
  lstat(path: string): Promise<FileStat>;
  /** The path without symbolic links. */
  resolve(path: string): Promise<string>;
  /** Names in a folder, in the order of their bytes. */
  list(path: string): Promise<readonly string[]>;
  /** At most `limitBytes`; more is a ManifestError, as is anything but a regular file. Never waits for a writer. */
  read(path: string, limitBytes: number): Promise<FileContents>;
  /** Resolves when the watches' events of everything that happened before have been delivered. */
  eventsDelivered(): Promise<void>;
  /** Whether a process of this machine has it open for writing, as far as that can be seen. */
  isOpenForWriting(path: string): Promise<boolean>;
  /**
   * Calls `onEvent` for whatever happens to a name in the folder, and `onEnd` once when the watch has ended by
   * itself. `changed`: contents or attributes, with the file in its place; `renamed`: came or went. Throws when it cannot watch.
   */
  watch(
    path: string,
    onEvent: (event: 'changed' | 'renamed', name: string | undefined) => void,
    onEnd: (error: unknown) => void,
  ): FolderWatch;
}

function kindOf(stats: BigIntStats | Dirent): FileKind {
  if (stats.isFile()) return 'file';
  if (stats.isDirectory()) return 'directory';
  if (stats.isSymbolicLink()) return 'symbolic link';
  if (stats.isFIFO()) return 'FIFO';
  if (stats.isSocket()) return 'socket';
  if (stats.isCharacterDevice() || stats.isBlockDevice()) return 'device';
  return 'unknown kind of file';
}

function toFileStat(stats: BigIntStats): FileStat {
  const identity = `${stats.dev}:${stats.ino}`;
  return {
    kind: kindOf(stats),
    identity,
    signature: `${identity}:${stats.size}:${stats.mtimeNs}:${stats.ctimeNs}`,
    sizeBytes: Number(stats.size),
    modifiedMs: Number(stats.mtimeMs),
  };
}

/** Bytes, not letters: the order of the kubelet (S-018), whatever the locale. */
export function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

async function readBounded(path: string, limitBytes: number): Promise<FileContents> {
  // The link is resolved first, so that what is opened is what was looked at: a link put there in between is refused.
  const target = await realpath(path);
  const isLink = (await lstat(path)).isSymbolicLink();
  const handle = await open(target, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY | constants.O_NOFOLLOW);
  try {
    const before = toFileStat(await handle.stat({ bigint: true }));
    if (before.kind !== 'file') throw new ManifestError('not-a-file', `is a ${before.kind}, not a file`);
    if (before.sizeBytes >= limitBytes) throw tooLarge(limitBytes);
    // One byte more than it should have: a file that grows meanwhile is noticed, not followed.
    const buffer = Buffer.allocUnsafe(Math.min(before.sizeBytes + 1, limitBytes));
    let length = 0;
    while (length < buffer.length) {
      const { bytesRead } = await handle.read(buffer, length, buffer.length - length, length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    if (length >= limitBytes) throw tooLarge(limitBytes);
    const after = toFileStat(await handle.stat({ bigint: true }));
    return {
      bytes: buffer.subarray(0, length),
      stat: after,
      torn: after.signature !== before.signature || length !== after.sizeBytes,
      isLink,
    };
  } finally {
    await handle.close();
  }
}

function tooLarge(limitBytes: number): ManifestError {
  return new ManifestError('too-large', `the read limit is reached: a manifest must be smaller than ${limitBytes} bytes`);
}

const accessModeMask = 0o3;

/** Looks through the open files of all processes: only done for a file that was just written in its place. */
async function isOpenForWriting(path: string): Promise<boolean> {
  const target = await realpath(path);
  const processes = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  for (const [i, pid] of processes.entries()) {
    // Synchronous, since these never wait for a disk and the thread pool would take ten times as long; but not all at once.
    if (i % 20 === 19) await setImmediate();
    if (holdsForWriting(`/proc/${pid}`, target)) return true;
  }
  return false;
}

function holdsForWriting(process: string, target: string): boolean {
  try {
    for (const fd of readdirSync(`${process}/fd`)) {
      if (linkOf(`${process}/fd/${fd}`) !== target) continue;
      const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`${process}/fdinfo/${fd}`, 'utf8'))?.[1];
      if (flags !== undefined && (Number.parseInt(flags, 8) & accessModeMask) !== constants.O_RDONLY) return true;
    }
  } catch {
    // It ended meanwhile, or may not be looked at.
  }
  return false;
}

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined; // closed meanwhile
  }
}

export const realFileSystem: FileSystem = {
  stat: async (path) => toFileStat(await stat(path, { bigint: true })),
  lstat: async (path) => toFileStat(await lstat(path, { bigint: true })),
  resolve: (path) => realpath(path),
  list: async (path) => (await readdir(path)).sort(byBytes),
  read: readBounded,
  // One turn of the event loop polls the inotify descriptor.
  eventsDelivered: () => setImmediate(),
  isOpenForWriting,
  watch(path, onEvent, onEnd) {
    const watcher = watchFolder(path, { persistent: false });
    watcher.on('change', (event, name) => onEvent(event === 'change' ? 'changed' : 'renamed', typeof name === 'string' ? name : undefined));
    watcher.on('error', (error) => {
      watcher.close();
      onEnd(error);
    });
    return { close: () => watcher.close() };
  },
};
