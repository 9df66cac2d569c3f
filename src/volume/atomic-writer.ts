// Files of downwardAPI and projected volumes, replaced all at once: readers see the old set or the new one (L-326 … L-328).
//
//   <volume>/..2026_01_02_03_04_05.123456/labels    the files
//   <volume>/..data -> ..2026_01_02_03_04_05.123456   exchanged by rename
//   <volume>/labels -> ..data/labels                  what containers open
import { chmod, lstat, mkdir, readdir, readFile, readlink, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { type Clock, toRfc3339 } from '../std/clock.ts';
import { systemCode } from '../std/errors.ts';
import type { Random } from '../std/random.ts';
import { VolumeError } from './volume-error.ts';

export interface PayloadFile {
  readonly text: string;
  /** Permission bits, applied whatever the umask is. */
  readonly mode: number;
}

/** By relative path. */
export type Payload = ReadonlyMap<string, PayloadFile>;

const dataLink = '..data';
const nextDataLink = '..data_tmp';
const maxPathBytes = 4096;
const maxNameBytes = 255;

export interface AtomicWriterDeps {
  readonly clock: Clock;
  readonly random: Random;
}

/**
 * Makes the volume hold exactly the payload; does nothing when it does already. `prepare` sets the ownership of the
 * new directory before anybody can see it. Safe to repeat after a crash at any point.
 */
export async function writePayload(
  volume: string,
  payload: Payload,
  prepare: (directory: string) => Promise<void>,
  { clock, random }: AtomicWriterDeps,
): Promise<void> {
  for (const path of payload.keys()) checkPath(path);
  const current = await currentDirectory(volume);
  if (current === undefined || !(await holds(`${volume}/${current}`, payload))) {
    const stamp = toRfc3339(clock.now()).slice(0, 19).replace(/[-:T]/g, '_');
    const next = `..${stamp}.${String(Math.floor(random.next() * 1e10))}`;
    await writeFiles(`${volume}/${next}`, payload);
    await prepare(`${volume}/${next}`);
    await rm(`${volume}/${nextDataLink}`, { force: true });
    await symlink(next, `${volume}/${nextDataLink}`);
    await rename(`${volume}/${nextDataLink}`, `${volume}/${dataLink}`);
  }
  await linkNames(volume, payload);
  await removeStale(volume);
}

/** L-328. */
function checkPath(path: string): void {
  const fault =
    path === '' || path.startsWith('/')
      ? 'must be relative and not empty'
      : Buffer.byteLength(path) > maxPathBytes
        ? `must be at most ${maxPathBytes} bytes`
        : path.startsWith('..') || path.split('/').some((element) => element === '..')
          ? "must not contain '..' nor start with it"
          : path.split('/').some((element) => Buffer.byteLength(element) > maxNameBytes)
            ? `must not have an element of more than ${maxNameBytes} bytes`
            : undefined;
  if (fault !== undefined) throw new VolumeError('payload-path', `invalid path ${JSON.stringify(path)}: ${fault}`);
}

async function currentDirectory(volume: string): Promise<string | undefined> {
  try {
    return await readlink(`${volume}/${dataLink}`);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function holds(directory: string, payload: Payload): Promise<boolean> {
  const present = await filesBelow(directory, '');
  if (present === undefined || present.length !== payload.size) return false;
  for (const path of present) {
    const wanted = payload.get(path);
    if (wanted === undefined) return false;
    if ((await readFile(`${directory}/${path}`, 'utf8')) !== wanted.text) return false;
  }
  return true;
}

async function filesBelow(directory: string, prefix: string): Promise<readonly string[] | undefined> {
  try {
    const found: string[] = [];
    for (const entry of await readdir(`${directory}/${prefix}`, { withFileTypes: true })) {
      if (entry.isDirectory()) found.push(...((await filesBelow(directory, `${prefix}${entry.name}/`)) ?? []));
      else found.push(`${prefix}${entry.name}`);
    }
    return found;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function writeFiles(directory: string, payload: Payload): Promise<void> {
  await makeDirectory(directory);
  for (const [path, { text, mode }] of payload) {
    const parents = path.split('/').slice(0, -1);
    for (let depth = 1; depth <= parents.length; depth++) await makeDirectory(`${directory}/${parents.slice(0, depth).join('/')}`);
    await writeFile(`${directory}/${path}`, text, { mode: 0o600 });
    await chmod(`${directory}/${path}`, mode);
  }
}

async function makeDirectory(path: string): Promise<void> {
  await mkdir(path, { recursive: true });
  await chmod(path, 0o755);
}

/** Links for the first elements of all paths; links that lead nowhere any more are removed. */
async function linkNames(volume: string, payload: Payload): Promise<void> {
  const wanted = new Set([...payload.keys()].map((path) => path.split('/')[0] ?? path));
  for (const name of await readdir(volume)) {
    if (name.startsWith('..')) continue;
    if (wanted.has(name) && (await lstat(`${volume}/${name}`)).isSymbolicLink()) wanted.delete(name);
    else await rm(`${volume}/${name}`, { recursive: true, force: true });
  }
  for (const name of wanted) await symlink(`${dataLink}/${name}`, `${volume}/${name}`);
}

/** Every timestamped directory but the current one, those of interrupted updates included. */
async function removeStale(volume: string): Promise<void> {
  const current = await currentDirectory(volume);
  for (const name of await readdir(volume)) {
    if (/^\.\.\d{4}_/.test(name) && name !== current) await rm(`${volume}/${name}`, { recursive: true, force: true });
  }
}
