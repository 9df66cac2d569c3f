// Keeps the status last published of each Pod beside the Pod's other files, so that `started`, `ready`, transition times
// and last states do not start over with the agent (D2). The file goes with the Pod's folder and never brings one back.
import { readFile, rename, writeFile } from 'node:fs/promises';
import type { PodSpec } from '../api/gen/kubernetes.ts';
import { formatPod, type Pod } from '../api/pod.ts';
import { messageOf, systemCode } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import type { LastStatus, LastStatusPort } from './ports.ts';

export interface StatusFilesOptions {
  readonly rootDir: string;
}

/** What is in the file; a Pod that is leaving has no status to go on with. */
type Kept = Omit<LastStatus, 'status'> & Partial<Pick<LastStatus, 'status'>>;

/** `<root>/pods/<uid>/status.json`. Not synced: after a power cut no container of it runs any more. */
export class StatusFiles implements LastStatusPort {
  readonly #rootDir: string;
  readonly #log: Logger;

  constructor(options: StatusFilesOptions, deps: { readonly log: Logger }) {
    this.#rootDir = options.rootDir;
    this.#log = deps.log;
  }

  async load({ metadata, spec }: Pod): Promise<LastStatus | undefined> {
    const last = await this.#read(metadata.uid);
    if (last?.status === undefined) return undefined;
    const isOver = last.status.phase === 'Failed' || last.status.phase === 'Succeeded';
    // A finished Pod whose manifest asks for something else now is not finished any more (D4).
    return isOver && JSON.stringify(last.spec) !== JSON.stringify(spec) ? undefined : { ...last, status: last.status };
  }

  async specOf(podUid: string): Promise<PodSpec | undefined> {
    return (await this.#read(podUid))?.spec;
  }

  async #read(podUid: string): Promise<Kept | undefined> {
    try {
      return JSON.parse(await readFile(this.#path(podUid), 'utf8')) as Kept;
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') this.#log.warn('last status of the pod not read', { podUID: podUid, error: messageOf(error) });
      return undefined;
    }
  }

  save(pod: Pod, last: LastStatus): Promise<void> {
    return this.#write(pod, last);
  }

  forget(pod: Pod): Promise<void> {
    return this.#write(pod, { spec: pod.spec, resized: {} });
  }

  async #write(pod: Pod, kept: Kept): Promise<void> {
    const path = this.#path(pod.metadata.uid);
    try {
      await writeFile(`${path}.new`, JSON.stringify(kept), { mode: 0o600 });
      await rename(`${path}.new`, path);
    } catch (error) {
      // Without its folder the Pod has not begun, or is over.
      if (systemCode(error) !== 'ENOENT') this.#log.warn('status of the pod not kept', { pod: formatPod(pod), error: messageOf(error) });
    }
  }

  /** The UID is a valid name of a folder: volumes are set up under it before there is anything to keep. */
  #path(podUid: string): string {
    return `${this.#rootDir}/pods/${podUid}/status.json`;
  }
}
