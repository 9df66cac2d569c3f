// Checks and makes what a hostPath volume names (L-320, L-321).
import { chmod, mkdir, open, stat } from 'node:fs/promises';
import type { HostPathVolumeSource } from '../api/gen/kubernetes.ts';
import { systemCode } from '../std/errors.ts';
import { VolumeError } from './volume-error.ts';

type Stats = Awaited<ReturnType<typeof stat>>;

const kinds: Readonly<Record<string, { readonly matches: (info: Stats) => boolean; readonly fault: string }>> = {
  Directory: { matches: (info) => info.isDirectory(), fault: 'is not a directory' },
  File: { matches: (info) => info.isFile(), fault: 'is not a file' },
  Socket: { matches: (info) => info.isSocket(), fault: 'is not a socket file' },
  CharDevice: { matches: (info) => info.isCharacterDevice(), fault: 'is not a character device' },
  BlockDevice: { matches: (info) => info.isBlockDevice(), fault: 'is not a block device' },
};

/** Links are followed. Without a type nothing is looked at: a missing path is the runtime's to make or refuse. */
export async function setUpHostPath({ path, type }: HostPathVolumeSource): Promise<void> {
  if (path.split('/').includes('..')) throw new VolumeError('host-path', `invalid HostPath \`${path}\`: must not contain '..'`);
  if (type === undefined || type === '') return;
  if (type === 'DirectoryOrCreate') return await check(path, 'Directory', async () => await makeDirectories(path));
  if (type === 'FileOrCreate') return await check(path, 'File', async () => await makeFile(path));
  if (!Object.hasOwn(kinds, type)) throw new VolumeError('host-path', `${type} is an invalid volume type`);
  await check(path, type, undefined);
}

async function check(path: string, kind: string, create: (() => Promise<void>) | undefined): Promise<void> {
  let info = await statIfThere(path);
  if (info === undefined && create !== undefined) {
    await create();
    info = await statIfThere(path);
  }
  const expected = kinds[kind];
  if (info === undefined || expected?.matches(info) !== true) {
    throw new VolumeError('host-path', `hostPath type check failed: ${path} ${expected?.fault ?? ''}`);
  }
}

async function statIfThere(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}

/** 0755 each, whatever the umask is; what was there keeps its mode. */
async function makeDirectories(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode: 0o755 });
  if (first === undefined) return;
  for (let made = path.replace(/\/+$/, ''); made.length >= first.length; made = made.slice(0, made.lastIndexOf('/')))
    await chmod(made, 0o755);
}

async function makeFile(path: string): Promise<void> {
  const handle = await open(path, 'a', 0o644);
  try {
    await handle.chmod(0o644);
  } finally {
    await handle.close();
  }
}
