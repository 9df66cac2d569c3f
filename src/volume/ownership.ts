// Gives a volume to the Pod's fsGroup (L-333).
import { chmod, lchown, lstat, readdir } from 'node:fs/promises';
import { messageOf } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';

const writableBits = 0o660;
const readOnlyBits = 0o440;
const directoryBits = 0o2110;

/** Children before parents, links not followed. Single failures are logged only. */
export async function giveToGroup(path: string, group: number, readOnly: boolean, log: Logger): Promise<void> {
  const info = await lstat(path);
  if (info.isDirectory()) {
    for (const name of await readdir(path)) await giveToGroup(`${path}/${name}`, group, readOnly, log);
  }
  const bits = (readOnly ? readOnlyBits : writableBits) | (info.isDirectory() ? directoryBits : 0);
  const change = async (): Promise<void> => {
    await lchown(path, info.uid, group);
    // After the owner, whose change clears setgid.
    if (!info.isSymbolicLink()) await chmod(path, (info.mode & 0o7777) | bits);
  };
  const [outcome] = await Promise.allSettled([change()]);
  if (outcome?.status === 'rejected') log.warn('volume ownership not set', { path, error: messageOf(outcome.reason) });
}
