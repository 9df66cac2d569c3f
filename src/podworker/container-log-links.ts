// The links under /var/log/containers that log shippers read: `<pod>_<namespace>_<container>-<id>.log` (L-217, L-388).
import { mkdir, readdir, readlink, rm, stat, symlink } from 'node:fs/promises';
import path from 'node:path';
import { systemCode } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';

export interface ContainerLogLinksOptions {
  /** Where the links are; a folder of its own for every agent on the machine is safest. */
  readonly folder: string;
  /** Only links into this folder are ours to remove. */
  readonly podLogsDir: string;
}

export interface LinkedContainer {
  readonly podName: string;
  readonly namespace: string;
  readonly name: string;
  readonly id: string;
}

const maxNameLength = 255;

export class ContainerLogLinks {
  readonly #options: ContainerLogLinksOptions;
  readonly #logger: Logger;

  constructor(options: ContainerLogLinksOptions, deps: { readonly logger: Logger }) {
    this.#options = options;
    this.#logger = deps.logger;
  }

  /** Links a container's log if it exists. A failure is only logged. */
  async add(container: LinkedContainer, logPath: string): Promise<void> {
    try {
      await stat(logPath);
      await mkdir(this.#options.folder, { recursive: true, mode: 0o755 });
      await symlink(logPath, path.join(this.#options.folder, linkName(container)));
    } catch (error) {
      const code = systemCode(error);
      if (code !== 'ENOENT' && code !== 'EEXIST')
        this.#logger.warn('a container log cannot be linked', { container: container.name, error });
    }
  }

  /** Removes a container's link; fine when there is none. */
  async remove(container: LinkedContainer): Promise<void> {
    await rm(path.join(this.#options.folder, linkName(container)), { force: true });
  }

  /** Removes links whose log is gone, but for containers that have not exited: their log may be rotating just now. */
  async collect(hasExited: (containerId: string) => Promise<boolean>): Promise<void> {
    const { folder, podLogsDir } = this.#options;
    const root = `${path.resolve(podLogsDir)}${path.sep}`;
    for (const entry of await readFolder(folder)) {
      const [, id] = /-([^-]+)\.log$/.exec(entry.name) ?? [];
      if (id === undefined || !entry.isSymbolicLink()) continue;
      const link = path.join(folder, entry.name);
      const target = path.resolve(folder, await readlink(link));
      if (!target.startsWith(root) || (await exists(target))) continue;
      if (await hasExited(id)) await rm(link, { force: true });
    }
  }
}

/** At most 255 characters: what stands before `.log` is cut. */
export function linkName({ podName, namespace, name, id }: LinkedContainer): string {
  const suffix = '.log';
  return `${podName}_${namespace}_${name}-${id}`.slice(0, maxNameLength - suffix.length) + suffix;
}

async function exists(file: string): Promise<boolean> {
  try {
    await stat(file);
    return true;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false;
    throw error;
  }
}

async function readFolder(folder: string) {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
}
