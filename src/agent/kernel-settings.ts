// Kernel settings a kubelet wants (L-305): compared, and set only where the configuration says so. They are the
// machine's, not the Pods', and a machine that panics on an oops is not for everyone.
import { readFile, writeFile } from 'node:fs/promises';
import { ConfigError, messageOf, systemCode } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';

/** By path below /proc/sys. */
const wanted: Readonly<Record<string, string>> = {
  'vm/overcommit_memory': '1',
  'vm/panic_on_oom': '0',
  'kernel/panic': '10',
  'kernel/panic_on_oops': '1',
  'kernel/keys/root_maxkeys': '1000000',
  'kernel/keys/root_maxbytes': '25000000',
};

export interface KernelSettingsOptions {
  /** `protectKernelDefaults`: what differs keeps the agent from starting. */
  readonly protect: boolean;
  /** `kernelSettings: set`. */
  readonly set: boolean;
  /** `/proc/sys`. */
  readonly root: string;
}

/** Throws a ConfigError that names every setting that differs, when they are protected. */
export async function applyKernelSettings(options: KernelSettingsOptions, { log }: { readonly log: Logger }): Promise<void> {
  if (!options.protect && !options.set) return;
  const different: string[] = [];
  for (const [name, value] of Object.entries(wanted)) {
    const path = `${options.root}/${name}`;
    const present = await read(path);
    if (present === undefined || present === value) continue;
    const setting = name.replaceAll('/', '.');
    if (options.protect) different.push(`${setting} is ${present}, not ${value}`);
    else await set(path, value, () => log.info('kernel setting changed', { setting, from: present, to: value }), log);
  }
  if (different.length > 0) {
    throw new ConfigError('kernel-settings', `protectKernelDefaults: ${different.join('; ')}`, { details: { different } });
  }
}

/** Undefined where the kernel does not have it. */
async function read(path: string): Promise<string | undefined> {
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** In a container /proc/sys may be read-only: nothing that should keep Pods from starting. */
async function set(path: string, value: string, done: () => void, log: Logger): Promise<void> {
  try {
    await writeFile(path, value);
    done();
  } catch (error) {
    log.warn('kernel setting cannot be changed', { path, value, error: messageOf(error) });
  }
}
