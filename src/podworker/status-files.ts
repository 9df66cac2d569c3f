// Keeps the status last published of each Pod beside the Pod's other files, so that `started`, `ready`, transition times
// and last states do not start over with the agent (D2). The file goes with the Pod's folder and never brings one back.
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { formatPod, type Pod } from '../api/pod.ts';
import { messageOf, systemCode } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import type { LastStatus, LastStatusPort } from './ports.ts';

export interface StatusFilesOptions {
  readonly rootDir: string;
}

/** `<root>/pods/<uid>/status.json`. Not synced: after a power cut no container of it runs any more. */
export class StatusFiles implements LastStatusPort {
  readonly #rootDir: string;
  readonly #log: Logger;

  constructor(options: StatusFilesOptions, deps: { readonly log: Logger }) {
    this.#rootDir = options.rootDir;
    this.#log = deps.log;
  }

  async load(pod: Pod): Promise<LastStatus | undefined> {
    const path = this.#path(pod);
    try {
      const last = JSON.parse(await readFile(path, 'utf8')) as LastStatus;
      const { spec, status } = last;
      const isOver = status.phase === 'Failed' || status.phase === 'Succeeded';
      // A finished Pod whose manifest asks for something else now is not finished any more (D4).
      return isOver && JSON.stringify(spec) !== JSON.stringify(pod.spec) ? undefined : last;
    } catch (error) {
      if (systemCode(error) !== 'ENOENT')
        this.#log.warn('last status of the pod not read', { pod: formatPod(pod), error: messageOf(error) });
      return undefined;
    }
  }

  async save(pod: Pod, last: LastStatus): Promise<void> {
    const path = this.#path(pod);
    try {
      await writeFile(`${path}.new`, JSON.stringify(last), { mode: 0o600 });
      await rename(`${path}.new`, path);
    } catch (error) {
      // Without its folder the Pod has not begun, or is over.
      if (systemCode(error) !== 'ENOENT') this.#log.warn('status of the pod not kept', { pod: formatPod(pod), error: messageOf(error) });
    }
  }

  async forget(pod: Pod): Promise<void> {
    await rm(this.#path(pod), { force: true }).catch((error: unknown) =>
      this.#log.warn('status of the pod not removed', { pod: formatPod(pod), error: messageOf(error) }),
    );
  }

  /** The UID is a valid name of a folder: volumes are set up under it before there is anything to keep. */
  #path(pod: Pod): string {
    return `${this.#rootDir}/pods/${pod.metadata.uid}/status.json`;
  }
}
