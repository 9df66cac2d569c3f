// `pinpod kubeconfig`: the file kubectl needs, printed, or merged into the user's own.
import { mkdir, open, readFile, rename, stat } from 'node:fs/promises';
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
  const merged = mergeKubeconfig((await readText(target)) ?? '', text, options.use);
  await writeAtomically(target, merged);
  await deps.io.err(
    `Context "pinpod" is in ${target}${options.use ? ' and in use' : '; use it with: kubectl --context pinpod get pods'}\n`,
  );
  return 0;
}

/** `own` with the entries of `added` in it, replacing those of the same name; comments and other entries stay. */
export function mergeKubeconfig(own: string, added: string, use: boolean): string {
  const result = parseDocument(own.trim() === '' ? 'apiVersion: v1\nkind: Config\n' : own, { version: '1.1' });
  if (result.errors.length > 0 || !isMap(result.contents)) throw new CommandError('the kubeconfig to merge into is not a kubeconfig');
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
  if (use || result.get('current-context') === undefined) result.set('current-context', source.get('current-context'));
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

/** A user's file keeps its mode; a new one is the user's alone. */
async function writeAtomically(file: string, text: string): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  let mode = 0o600;
  try {
    mode = (await stat(file)).mode & 0o777;
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
  const handle = await open(`${file}.tmp`, 'w', mode);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(`${file}.tmp`, file);
}
