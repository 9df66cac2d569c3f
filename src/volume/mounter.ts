// Mounting, by the programs mount and umount: Node has no system call for it.
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { VolumeError } from './volume-error.ts';

export interface MountEntry {
  readonly mountPoint: string;
  readonly type: string;
  readonly source: string;
  readonly superOptions: readonly string[];
  /** Mounts in it spread to its peers: to containers, and from them. */
  readonly isShared: boolean;
}

export interface MountOptions {
  readonly signal: AbortSignal;
}

export interface Mounter {
  /** Every mount of the agent's mount namespace, in order of mounting as far as the kernel tells. */
  list(): Promise<readonly MountEntry[]>;
  mount(
    request: { readonly type: string; readonly target: string; readonly options: readonly string[] },
    options: MountOptions,
  ): Promise<void>;
  /** Bind-mounts what an open descriptor refers to, so that no path can be exchanged on the way. */
  bind(descriptor: number, target: string, options: MountOptions): Promise<void>;
  /** Lets mounts in `target`, and in all that is mounted below it, spread; it must be a mount itself. */
  share(target: string, options: MountOptions): Promise<void>;
  unmount(target: string, options: MountOptions): Promise<void>;
}

export const programMounter: Mounter = {
  async list() {
    return parseMountInfo(await readFile('/proc/self/mountinfo', 'utf8'));
  },
  async mount({ type, target, options }, { signal }) {
    const flags = options.length === 0 ? [] : ['-o', options.join(',')];
    await run('mount', ['-n', '--no-canonicalize', '-t', type, ...flags, type, target], undefined, signal);
  },
  async bind(descriptor, target, { signal }) {
    // The descriptor is number 3 in the child.
    await run('mount', ['-n', '--no-canonicalize', '--bind', '/proc/self/fd/3', target], descriptor, signal);
  },
  async share(target, { signal }) {
    await run('mount', ['-n', '--no-canonicalize', '--make-rshared', target], undefined, signal);
  },
  async unmount(target, { signal }) {
    await run('umount', ['-n', '--no-canonicalize', target], undefined, signal);
  },
};

/** The fields of /proc/self/mountinfo that matter here. */
export function parseMountInfo(text: string): readonly MountEntry[] {
  return text.split('\n').flatMap((line) => {
    const [before, after] = line.split(' - ');
    const fields = before?.split(' ') ?? [];
    const mountPoint = fields[4];
    const [type, source, superOptions] = after?.split(' ') ?? [];
    if (mountPoint === undefined || type === undefined) return [];
    return [
      {
        mountPoint: unescapePath(mountPoint),
        type,
        source: unescapePath(source ?? ''),
        superOptions: superOptions?.split(',') ?? [],
        isShared: fields.slice(6).some((field) => field.startsWith('shared:')),
      },
    ];
  });
}

/** Bytes above ASCII are written as they are, blanks and backslashes as octal. */
function unescapePath(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** A mount that was started is waited for even when the signal aborts: half a mount is not known to anyone. */
async function run(program: string, args: readonly string[], descriptor: number | undefined, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe', ...(descriptor === undefined ? [] : [descriptor])] });
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', (cause) => reject(new VolumeError('mount-program', `${program} cannot be run: ${cause.message}`, { cause })));
    child.once('close', resolve);
  });
  if (code !== 0) throw new VolumeError('mount-failed', said.trim() === '' ? `${program} ended with code ${code}` : said.trim());
}
