// Deletes a directory without ever leaving its file system.
import { lstat, readdir, rmdir, unlink } from 'node:fs/promises';
import { systemCode } from '../std/errors.ts';
import { VolumeError } from './volume-error.ts';

/** Links are removed, not followed. What is gone already is fine. Something of another file system is an error, and stays. */
export async function removeTree(path: string, options: { readonly signal: AbortSignal }): Promise<void> {
  const info = await ifThere(lstat(path));
  if (info === undefined) return;
  if (info.isDirectory()) await removeDirectory(path, info.dev, options.signal);
  else await ifThere(unlink(path));
}

async function removeDirectory(path: string, device: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  for (const entry of (await ifThere(readdir(path, { withFileTypes: true }))) ?? []) {
    const child = `${path}/${entry.name}`;
    if (!entry.isDirectory()) {
      await ifThere(unlink(child));
      continue;
    }
    const info = await ifThere(lstat(child));
    if (info === undefined) continue;
    if (info.dev !== device) throw new VolumeError('foreign-mount', `${child} is on another file system and is not removed`);
    await removeDirectory(child, device, signal);
  }
  await ifThere(rmdir(path));
}

async function ifThere<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
