// Makes the agent's folder a shared mount, so that what a container mounts in it with Bidirectional propagation is seen
// on the node and by containers with HostToContainer (L-008). Needed where `/` is private; systemd makes it shared.
import { open, realpath } from 'node:fs/promises';
import { messageOf } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import type { MountEntry, Mounter, MountOptions } from './mounter.ts';

/**
 * Idempotent, also after a death between the two steps. The mount outlives the agent, as its Pods do. Where it cannot be
 * made, the log says so: only volumes with propagation miss it.
 */
export async function shareFolder(
  path: string,
  { mounter, log }: { readonly mounter: Mounter; readonly log: Logger },
  options: MountOptions,
): Promise<void> {
  const folder = await realpath(path);
  const warn = (reason: string): void => log.warn('volumes with mountPropagation will not start', { path: folder, reason });
  const mounts = await mounter.list();
  const holder = mountOf(folder, mounts);
  if (holder?.isShared === true) return;
  try {
    if (holder?.mountPoint !== folder) {
      // A bind mount would hide them from the Pods' next start, and nobody could unmount what is hidden.
      const inUse = mounts.find(({ mountPoint }) => mountPoint.startsWith(`${folder}/`));
      if (inUse !== undefined) return warn(`${inUse.mountPoint} is mounted: the folder is made a shared mount when nothing in it is`);
      await bindOnItself(folder, mounter, options);
    }
    await mounter.share(folder, options);
  } catch (error) {
    options.signal.throwIfAborted();
    warn(messageOf(error));
  }
}

async function bindOnItself(folder: string, mounter: Mounter, options: MountOptions): Promise<void> {
  const handle = await open(folder);
  try {
    await mounter.bind(handle.fd, folder, options);
  } finally {
    await handle.close();
  }
}

/** The mount that `folder` is in: the deepest above it, of stacked ones the uppermost. */
function mountOf(folder: string, mounts: readonly MountEntry[]): MountEntry | undefined {
  let found: MountEntry | undefined;
  for (const mount of mounts) {
    const isAbove = mount.mountPoint === '/' || mount.mountPoint === folder || folder.startsWith(`${mount.mountPoint}/`);
    if (isAbove && mount.mountPoint.length >= (found?.mountPoint.length ?? 0)) found = mount;
  }
  return found;
}
