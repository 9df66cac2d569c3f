// Deletes a directory without ever leaving its mount, whatever somebody does to its content meanwhile.
//
// Every directory is reached through the descriptor of its parent and never through a link, and the kernel tells the
// mount of each: a bind mount of the same file system has the same device. Names are bytes, as containers may choose any.
import { constants } from 'node:fs';
import { type FileHandle, lstat, open, readdir, readFile, rename, rmdir, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { systemCode } from '../std/errors.ts';
import { VolumeError } from './volume-error.ts';

/** A directory is open for each level: what is deeper is moved up first. */
const maxDepth = 64;

interface Removal {
  readonly signal: AbortSignal;
  readonly top: FileHandle;
  readonly mountId: string;
  /** How many directories were moved up. */
  moved: number;
}

/** Links are removed, not followed. What is gone already is fine. What is mounted is an error, and stays. */
export async function removeTree(path: string, { signal }: { readonly signal: AbortSignal }): Promise<void> {
  const info = await ifThere(lstat(path));
  if (info === undefined) return;
  if (!info.isDirectory()) return void (await ifThere(unlink(path)));
  const top = await ifThere(openDirectory(path));
  if (top === undefined) return;
  try {
    const removal = { signal, top, mountId: await mountIdOf(dirname(path)), moved: 0 };
    for (let moved = -1; moved !== removal.moved; ) {
      moved = removal.moved;
      await empty(top, path, 0, removal);
    }
  } finally {
    await top.close();
  }
  await ifThere(rmdir(path));
}

async function mountIdOf(directory: string): Promise<string> {
  const handle = await openDirectory(directory);
  try {
    return await mountId(handle);
  } finally {
    await handle.close();
  }
}

async function empty(directory: FileHandle, shown: string, depth: number, removal: Removal): Promise<void> {
  removal.signal.throwIfAborted();
  if ((await mountId(directory)) !== removal.mountId) throw new VolumeError('foreign-mount', `${shown} is a mount and is not removed`);
  for (const entry of await readdir(pathOf(directory), { withFileTypes: true, encoding: 'buffer' })) {
    const child = Buffer.concat([Buffer.from(`${pathOf(directory)}/`), entry.name]);
    if (!entry.isDirectory()) {
      await ifThere(unlink(child));
    } else if (depth === maxDepth) {
      await moveUp(child, removal);
    } else {
      const inner = await ifThere(openDirectory(child));
      if (inner === undefined) continue;
      try {
        await empty(inner, `${shown}/${entry.name}`, depth + 1, removal);
      } finally {
        await inner.close();
      }
      await ifThere(rmdir(child));
    }
  }
}

/** To a name in the top directory that nobody has, an interrupted removal included. */
async function moveUp(path: Buffer, removal: Removal): Promise<void> {
  for (;;) {
    const target = `${pathOf(removal.top)}/.deep-${removal.moved++}`;
    if ((await ifThere(lstat(target))) === undefined) return void (await ifThere(rename(path, target)));
  }
}

async function openDirectory(path: string | Buffer): Promise<FileHandle> {
  return await open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
}

function pathOf({ fd }: FileHandle): string {
  return `/proc/self/fd/${fd}`;
}

async function mountId({ fd }: FileHandle): Promise<string> {
  return /^mnt_id:\s*(\d+)$/m.exec(await readFile(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '';
}

async function ifThere<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
