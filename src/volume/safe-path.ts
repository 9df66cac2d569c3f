// Paths inside a volume whose content belongs to containers: a link must never lead outside (L-236, L-237).
//
// Every component is opened without following links, below the descriptor of its parent; what was checked and what is
// used are the same object, however the container rearranges its files meanwhile.
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, realpath, stat } from 'node:fs/promises';
import { systemCode } from '../std/errors.ts';
import { VolumeError } from './volume-error.ts';

/** Not in node:fs; the same number on every architecture that Node runs on. */
const pathOnly = 0o10000000;

/** A descriptor (to be closed) of what `relative` names inside `base`; links are followed only within `base`. */
export async function openInside(base: string, relative: string): Promise<FileHandle> {
  const root = await realpath(base);
  const target = await realpath(`${root}/${relative}`);
  return await descend(root, componentsBelow(root, target));
}

/** Makes `relative` inside `base` as directories with the mode of `base`, when it is not there. */
export async function makeInside(base: string, relative: string): Promise<void> {
  const root = await realpath(base);
  const wanted = relative.split('/').filter((part) => part !== '' && part !== '.');
  const found = await deepestExisting(root, wanted);
  const missing = wanted.slice(found.depth);
  if (missing.length === 0) return;
  const mode = (await stat(root)).mode & 0o7777;
  let parent = await descend(root, componentsBelow(root, found.path));
  try {
    for (const name of missing) {
      const path = `/proc/self/fd/${parent.fd}/${name}`;
      await makeOnce(path);
      const child = await open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
      await parent.close();
      parent = child;
      // Explicitly, because the umask took bits away.
      await child.chmod(mode);
    }
  } finally {
    await parent.close();
  }
}

async function makeOnce(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
  }
}

/** How many of the components exist, and the real path of the last one that does. */
async function deepestExisting(root: string, components: readonly string[]): Promise<{ readonly depth: number; readonly path: string }> {
  for (let depth = components.length; depth > 0; depth--) {
    try {
      return { depth, path: await realpath([root, ...components.slice(0, depth)].join('/')) };
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error;
    }
  }
  return { depth: 0, path: root };
}

function componentsBelow(root: string, target: string): readonly string[] {
  if (target === root) return [];
  const prefix = root === '/' ? '/' : `${root}/`;
  if (!target.startsWith(prefix)) throw new VolumeError('path-escapes', `path leads outside the volume`);
  return target.slice(prefix.length).split('/');
}

async function descend(root: string, components: readonly string[]): Promise<FileHandle> {
  let current = await open(root, pathOnly);
  for (const [index, name] of components.entries()) {
    const isLast = index === components.length - 1;
    const flags = pathOnly | constants.O_NOFOLLOW | (isLast ? 0 : constants.O_DIRECTORY);
    let next: FileHandle;
    try {
      next = await open(`/proc/self/fd/${current.fd}/${name}`, flags);
    } finally {
      await current.close();
    }
    // Without O_DIRECTORY a link is opened as itself.
    if (isLast && (await next.stat()).isSymbolicLink()) {
      await next.close();
      throw new VolumeError('path-escapes', 'path changed into a link while it was opened');
    }
    current = next;
  }
  return current;
}
