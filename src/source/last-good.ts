// The last good contents of each manifest, on disk: what a start finds damaged or unreachable runs on from here (D1, D2).
// One file per manifest: a JSON line with path and checksum, then the bytes as they were.
import { createHash } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';

import { messageOf, systemCode } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';

export interface LastGood {
  /** What could be read of everything kept, by path. Damaged files are set aside, never thrown about. */
  load(): Promise<ReadonlyMap<string, Uint8Array>>;
  /** Atomic: a power loss leaves the old or the new. Failures are logged, they stop nothing. */
  keep(path: string, bytes: Uint8Array): Promise<void>;
  forget(path: string): Promise<void>;
}

/** Keeps nothing; for `pinpod validate`, and tests. */
export const noLastGood: LastGood = {
  load: async () => new Map(),
  keep: async () => undefined,
  forget: async () => undefined,
};

const suffix = '.manifest';

function sha256(data: Uint8Array | string): string {
  return createHash('sha256').update(data).digest('hex');
}

export class LastGoodFolder implements LastGood {
  readonly #folder: string;
  readonly #log: Logger;
  #isReady = false;

  constructor(options: { readonly folder: string }, deps: { readonly log: Logger }) {
    this.#folder = options.folder;
    this.#log = deps.log;
  }

  async load(): Promise<ReadonlyMap<string, Uint8Array>> {
    const kept = new Map<string, Uint8Array>();
    let names: readonly string[] = [];
    try {
      names = await readdir(this.#folder);
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') this.#log.warn('Cannot read the kept manifests', { path: this.#folder, err: messageOf(error) });
    }
    for (const name of names) {
      if (!name.endsWith(suffix)) continue;
      const file = join(this.#folder, name);
      try {
        const entry = decodeKept(await readFile(file));
        if (entry !== undefined) kept.set(entry.path, entry.bytes);
        else {
          this.#log.warn('A kept manifest is damaged and was set aside', { path: file });
          await rename(file, `${file}.damaged`);
        }
      } catch (error) {
        this.#log.warn('Cannot read a kept manifest', { path: file, err: messageOf(error) });
      }
    }
    return kept;
  }

  async keep(path: string, bytes: Uint8Array): Promise<void> {
    const file = this.#fileOf(path);
    try {
      if (!this.#isReady) {
        await mkdir(this.#folder, { recursive: true, mode: 0o700 });
        this.#isReady = true;
      }
      const handle = await open(`${file}.new`, 'w', 0o600);
      try {
        await handle.writeFile(Buffer.concat([Buffer.from(`${JSON.stringify({ version: 1, path, sha256: sha256(bytes) })}\n`), bytes]));
        await handle.datasync();
      } finally {
        await handle.close();
      }
      await rename(`${file}.new`, file);
    } catch (error) {
      this.#isReady = false;
      this.#log.warn('Cannot keep the last good manifest', { path: file, err: messageOf(error) });
    }
  }

  async forget(path: string): Promise<void> {
    try {
      await rm(this.#fileOf(path), { force: true });
    } catch (error) {
      this.#log.warn('Cannot forget a manifest', { path: this.#fileOf(path), err: messageOf(error) });
    }
  }

  #fileOf(path: string): string {
    return join(this.#folder, `${sha256(path).slice(0, 32)}${suffix}`);
  }
}

function decodeKept(content: Buffer): { readonly path: string; readonly bytes: Uint8Array } | undefined {
  const end = content.indexOf(0x0a);
  if (end < 0) return undefined;
  let header: unknown;
  try {
    header = JSON.parse(content.subarray(0, end).toString('utf8'));
  } catch {
    return undefined; // damaged: the caller says so
  }
  if (header === null || typeof header !== 'object' || !('path' in header) || !('sha256' in header) || typeof header.path !== 'string')
    return undefined;
  const bytes = content.subarray(end + 1);
  return header.sha256 === sha256(bytes) ? { path: header.path, bytes } : undefined;
}
