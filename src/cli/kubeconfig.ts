// `pinpod kubeconfig`: the file kubectl needs, printed, or merged into the user's own.
import { randomUUID } from 'node:crypto';
import type { Stats } from 'node:fs';
import { mkdir, open, readFile, realpath, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { isMap, isSeq, parseDocument } from 'yaml';
import { systemCode } from '../std/errors.ts';
import { CommandError, type CommandIo } from './client.ts';

export interface KubeconfigOptions {
  /** What the agent wrote at its start. */
  readonly path: string;
  /** The user's own file to add it to; print only when absent. */
  readonly mergeInto?: string | undefined;
  /** With `mergeInto`: also make it the current context. */
  readonly use: boolean;
}

const sections = ['clusters', 'users', 'contexts'] as const;

/** The exit code. Throws a CommandError when a file cannot be read or is not a kubeconfig. */
export async function kubeconfig(options: KubeconfigOptions, deps: { readonly io: CommandIo }): Promise<number> {
  const text = await readText(options.path);
  if (text === undefined) throw new CommandError(`${options.path} does not exist: the agent writes it when it starts`);
  if (options.mergeInto === undefined) {
    await deps.io.out(text);
    return 0;
  }
  const target = options.mergeInto;
  const merged = mergeKubeconfig({ path: target, text: (await readText(target)) ?? '' }, text, options.use);
  await writeAtomically(target, merged);
  await deps.io.err(
    `Context "pinpod" is in ${target}${options.use ? ' and in use' : '; use it with: kubectl --context pinpod get pods'}\n`,
  );
  return 0;
}

/** `own` with the entries of `added` in it, replacing those of the same name; comments and other entries stay. */
export function mergeKubeconfig(own: { readonly path: string; readonly text: string }, added: string, use: boolean): string {
  const { path: file, text } = own;
  const refuse = (why: string): CommandError => new CommandError(`${file} is left as it is: ${why}`);
  const result = parseDocument(text.trim() === '' ? 'apiVersion: v1\nkind: Config\n' : text, { version: '1.1' });
  const [problem] = result.errors;
  if (problem !== undefined) throw refuse(`it is no valid YAML: ${problem.message.split('\n')[0] ?? ''}`);
  const kind = isMap(result.contents) ? result.get('kind') : undefined;
  if (!isMap(result.contents) || (kind !== undefined && kind !== 'Config')) throw refuse('it is no kubeconfig');
  for (const section of sections) {
    const value = result.get(section);
    if (value !== undefined && value !== null && !isSeq(value)) throw refuse(`${section} is no list`);
  }
  const source = parseDocument(added, { version: '1.1' });
  for (const section of sections) {
    const items = source.get(section);
    if (!isSeq(items)) continue;
    const existing = result.get(section);
    const kept = isSeq(existing) ? existing.items.filter((item) => !items.items.some((i) => nameOf(i) === nameOf(item))) : [];
    const sequence = result.createNode([]);
    sequence.items = [...kept, ...items.items] as typeof sequence.items;
    result.set(section, sequence);
  }
  // kubectl writes an empty one into new files.
  if (use || [undefined, null, ''].includes(result.get('current-context') as string))
    result.set('current-context', source.get('current-context'));
  return result.toString();
}

const nameOf = (item: unknown): unknown => (isMap(item) ? item.get('name') : undefined);

async function readText(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw new CommandError(`cannot read ${file}: ${systemCode(error) ?? 'unknown error'}`, { cause: error });
  }
}

/** A user's file keeps its mode, its owner and the place that a link leads to; a new one is the caller's alone. */
async function writeAtomically(link: string, text: string): Promise<void> {
  try {
    await mkdir(path.dirname(link), { recursive: true, mode: 0o700 });
    const old = await statOf(link);
    const file = old === undefined ? link : await realpath(link);
    const temporary = `${file}.${randomUUID()}`;
    const handle = await open(temporary, 'wx', 0o600);
    try {
      await handle.writeFile(text);
      if (old !== undefined) {
        await handle.chown(old.uid, old.gid);
        await handle.chmod(old.mode & 0o777);
      }
      await handle.sync();
      await rename(temporary, file);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw new CommandError(`cannot write ${link}: ${systemCode(error) ?? 'unknown error'}`, { cause: error });
  }
}

async function statOf(file: string): Promise<Stats | undefined> {
  try {
    return await stat(file);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
