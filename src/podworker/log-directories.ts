// The log folders of Pods: made, marked as ours, found again, deleted (L-216, L-276, L-387). A folder that does not carry
// this agent's mark is never deleted, so the log root may be shared with a kubelet or another agent.
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Pod } from '../api/pod.ts';
import { podLogDirectory } from '../pod/sandbox-config.ts';
import { systemCode } from '../std/errors.ts';

const markName = '.pinpod';

export interface LogDirectoriesOptions {
  /** `podLogsDir`, absolute. */
  readonly root: string;
  /** Tells this agent from others on the machine: its state folder. */
  readonly owner: string;
}

export interface LogDirectory {
  readonly path: string;
  readonly podUid: string;
}

export class LogDirectories {
  readonly #options: LogDirectoriesOptions;

  constructor(options: LogDirectoriesOptions) {
    this.#options = options;
  }

  /** Makes the folder of a container's logs, and marks the Pod's. Idempotent. */
  async prepare(pod: Pick<Pod, 'metadata'>, containerName: string): Promise<void> {
    const folder = podLogDirectory(pod, this.#options.root);
    await mkdir(path.join(folder, containerName), { recursive: true, mode: 0o755 });
    await writeFile(path.join(folder, markName), `${this.#options.owner}\n`, { mode: 0o644 });
  }

  /** The Pods' folders that this agent made. */
  async list(): Promise<readonly LogDirectory[]> {
    const { owner, root } = this.#options;
    const found: LogDirectory[] = [];
    for (const entry of await listFolder(root)) {
      const parts = entry.name.split('_');
      const podUid = parts[2] ?? '';
      if (!entry.isDirectory() || parts.length !== 3 || podUid === '') continue;
      const folder = path.join(root, entry.name);
      if ((await readMark(folder)) === owner) found.push({ path: folder, podUid });
    }
    return found;
  }

  /** Deletes a Pod's folder that `list` gave. */
  async remove(directory: LogDirectory): Promise<void> {
    await rm(directory.path, { recursive: true, force: true });
  }

  /** Deletes a container's log and its rotated siblings; what is gone already is fine (L-276). */
  async removeContainerLogs(logPath: string): Promise<void> {
    const folder = path.dirname(logPath);
    const name = path.basename(logPath);
    // A path from a runtime's record is only followed below our own root.
    if (!path.resolve(folder).startsWith(`${path.resolve(this.#options.root)}${path.sep}`)) return;
    for (const entry of await listFolder(folder)) {
      if (entry.name === name || entry.name.startsWith(`${name}.`)) await rm(path.join(folder, entry.name), { force: true });
    }
  }
}

async function listFolder(folder: string) {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
}

async function readMark(folder: string): Promise<string | undefined> {
  try {
    return (await readFile(path.join(folder, markName), 'utf8')).trim();
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
