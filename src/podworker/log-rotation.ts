// Keeps the logs of running containers within their limits: rename, reopen, compress (L-389 … L-393).
//
//     0.log                      being written
//     0.log.20260102-150405      newest rotated one, plain: whoever follows it is still reading
//     0.log.20260102-140000.gz   older ones
import { createReadStream, createWriteStream } from 'node:fs';
import { access, readdir, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import type { CallOptions, Runtime } from '../runtime/runtime.ts';
import { type Clock, toLocalStamp } from '../std/clock.ts';
import { systemCode } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';

export interface LogRotationOptions {
  /** `containerLogMaxSize` in bytes; negative: never rotate. */
  readonly maxSizeBytes: number;
  /** `containerLogMaxFiles`, the live one included; at least 2. */
  readonly maxFiles: number;
  /** `containerLogMonitorInterval` in milliseconds; at least 3 s. */
  readonly intervalMs: number;
  /** `containerLogMaxWorkers`: how many logs are looked at at once. */
  readonly workers: number;
}

export interface LogRotationDeps {
  readonly runtime: Pick<Runtime, 'listContainers' | 'containerStatus' | 'reopenContainerLog'>;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class LogRotation {
  #options: LogRotationOptions;
  readonly #deps: LogRotationDeps;
  /** By container id; a log never moves. */
  #paths = new Map<string, string>();

  constructor(options: LogRotationOptions, deps: LogRotationDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /** Holds from the next look on. */
  configure(options: LogRotationOptions): void {
    this.#options = options;
  }

  /** Looks at all logs in every interval until the signal aborts. Failures are logged and tried again the next time (L-393). */
  async run({ signal }: CallOptions): Promise<void> {
    for (;;) {
      await this.#deps.clock.sleep(this.#options.intervalMs, signal);
      try {
        await this.rotateAll({ signal });
      } catch (error) {
        signal.throwIfAborted();
        this.#deps.logger.warn('container logs cannot be examined', { error });
      }
    }
  }

  /** One pass over the running containers. */
  async rotateAll({ signal }: CallOptions): Promise<void> {
    if (this.#options.maxSizeBytes < 0) return;
    const containers = await this.#deps.runtime.listContainers({}, { signal });
    const running = containers.filter(({ state }) => state === 'running').map(({ id }) => id);
    this.#paths = new Map([...this.#paths].filter(([id]) => running.includes(id)));
    const queue = running.values();
    const work = async (): Promise<void> => {
      for (const id of queue) {
        try {
          await this.#look(id, signal);
        } catch (error) {
          signal.throwIfAborted();
          // It may have ended since it was listed.
          if (await this.#isRunning(id, signal)) this.#deps.logger.warn('a container log cannot be rotated', { containerID: id, error });
        }
      }
    };
    await Promise.all(Array.from({ length: Math.max(1, this.#options.workers) }, work));
  }

  async #look(id: string, signal: AbortSignal): Promise<void> {
    const { runtime } = this.#deps;
    const log = this.#paths.get(id) ?? (await runtime.containerStatus(id, { signal }))?.logPath ?? '';
    if (log === '') return;
    this.#paths.set(id, log);
    let size = await sizeOf(log);
    if (size === undefined) {
      // Somebody removed it, or a rotation was cut off between its two steps (L-390).
      await runtime.reopenContainerLog(id, { signal });
      size = await sizeOf(log);
    }
    if (size !== undefined && size >= this.#options.maxSizeBytes) await this.#rotate(id, log, signal);
  }

  async #isRunning(id: string, signal: AbortSignal): Promise<boolean> {
    try {
      return (await this.#deps.runtime.containerStatus(id, { signal }))?.state === 'running';
    } catch {
      signal.throwIfAborted();
      return true;
    }
  }

  async #rotate(id: string, log: string, signal: AbortSignal): Promise<void> {
    const rotated = await cleanUp(log);
    // The live log becomes one more, and a new live one comes.
    const surplus = Math.max(0, rotated.length - (this.#options.maxFiles - 2));
    for (const file of rotated.slice(0, surplus)) await rm(file, { force: true });
    for (const file of rotated.slice(surplus)) if (!file.endsWith('.gz')) await compress(file, signal);

    const target = await this.#freeName(log);
    await rename(log, target);
    try {
      await this.#deps.runtime.reopenContainerLog(id, { signal });
    } catch (error) {
      // The runtime goes on writing to the renamed file: it must keep its name, or that output is lost to readers.
      await rename(target, log);
      throw error;
    }
  }

  /** Never the name of a file that is there, even when the clock was set back. */
  async #freeName(log: string): Promise<string> {
    for (let instant = this.#deps.clock.now(); ; instant += 1000) {
      const name = `${log}.${toLocalStamp(instant)}`;
      if (!(await exists(name)) && !(await exists(`${name}.gz`))) return name;
    }
  }
}

/** Removes what an interrupted rotation left; gives the rotated files, oldest first. */
async function cleanUp(log: string): Promise<readonly string[]> {
  const folder = path.dirname(log);
  const prefix = `${path.basename(log)}.`;
  const names = (await readdir(folder)).filter(
    (name) => name.startsWith(prefix) && /^\d{8}-\d{6}(?:\.gz|\.tmp)?$/.test(name.slice(prefix.length)),
  );
  const kept: string[] = [];
  for (const name of names.sort()) {
    if (name.endsWith('.tmp') || names.includes(`${name}.gz`)) await rm(path.join(folder, name), { force: true });
    else kept.push(path.join(folder, name));
  }
  return kept;
}

async function compress(file: string, signal: AbortSignal): Promise<void> {
  const temporary = `${file}.tmp`;
  const { mode } = await stat(file);
  try {
    await pipeline(createReadStream(file), createGzip(), createWriteStream(temporary, { mode: mode & 0o777 }), { signal });
    await rename(temporary, `${file}.gz`);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await rm(file, { force: true });
}

async function sizeOf(file: string): Promise<number | undefined> {
  try {
    return (await stat(file)).size;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function exists(file: string): Promise<boolean> {
  try {
    await access(file);
    return true;
  } catch {
    return false;
  }
}
