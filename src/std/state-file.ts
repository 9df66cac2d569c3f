// The little state that must be a file: one JSON value, written atomically, with a checksum over its bytes. A damaged
// file is set aside and the state is rebuilt from the runtime (DESIGN, "On-disk state").
import { createHash } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { systemCode } from './errors.ts';
import type { Logger } from './log.ts';

export interface StateFile {
  /** Undefined when there is no state, or when it was damaged and set aside. */
  load(): Promise<unknown>;
  /** Durable when it resolves; the old state survives a crash on the way. Calls must not overlap. */
  save(value: unknown): Promise<void>;
}

const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex');

/** A state file of mode 0600 at `options.path`; its folder is made when missing. */
export function jsonStateFile(options: { readonly path: string; readonly maxBytes: number }, deps: { readonly log: Logger }): StateFile {
  const setAside = async (why: string): Promise<void> => {
    deps.log.warn('state file is damaged; set aside and rebuilt', { path: options.path, why });
    await rename(options.path, `${options.path}.damaged`);
  };
  return {
    async load() {
      let text: string;
      try {
        text = await readFile(options.path, 'utf8');
      } catch (error) {
        if (systemCode(error) === 'ENOENT') return undefined;
        throw error;
      }
      const end = text.indexOf('\n');
      const body = text.slice(end + 1);
      if (end < 0 || text.slice(0, end) !== `sha256:${digestOf(body)}`) {
        await setAside('checksum mismatch');
        return undefined;
      }
      try {
        return JSON.parse(body) as unknown;
      } catch {
        await setAside('not JSON');
        return undefined;
      }
    },
    async save(value) {
      const body = JSON.stringify(value);
      const bytes = Buffer.from(`sha256:${digestOf(body)}\n${body}`);
      if (bytes.length > options.maxBytes) {
        deps.log.warn('state is too large to be kept', { path: options.path, bytes: bytes.length, maxBytes: options.maxBytes });
        return;
      }
      const folder = path.dirname(options.path);
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const temporary = `${options.path}.tmp`;
      const file = await open(temporary, 'w', 0o600);
      try {
        await file.writeFile(bytes);
        await file.sync();
      } catch (error) {
        await rm(temporary, { force: true });
        throw error;
      } finally {
        await file.close();
      }
      await rename(temporary, options.path);
      const parent = await open(folder, 'r');
      try {
        await parent.sync();
      } finally {
        await parent.close();
      }
    },
  };
}
