// /logs/: the files under /var/log, with listings (H-279b). Nothing outside that folder can be reached.
import { createReadStream } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { systemCode } from '../../std/errors.ts';

export type SystemLog =
  | { readonly kind: 'missing' }
  | { readonly kind: 'listing'; readonly html: string }
  | { readonly kind: 'file'; readonly size: number; readonly read: () => AsyncIterable<Uint8Array> };

const escapeHtml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&#34;');

/** `relative` is decoded and comes from a client. */
export async function openSystemLog(root: string, relative: string): Promise<SystemLog> {
  if (relative.includes('\0')) return { kind: 'missing' };
  try {
    const base = await realpath(root);
    const file = await realpath(path.join(base, path.join('/', relative)));
    if (file !== base && !file.startsWith(`${base}${path.sep}`)) return { kind: 'missing' };
    const info = await stat(file);
    if (info.isDirectory()) {
      const entries = await readdir(file, { withFileTypes: true });
      const names = entries.map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name)).sort();
      const lines = names.map((name) => `<a href="${escapeHtml(encodeURI(name))}">${escapeHtml(name)}</a>\n`);
      return {
        kind: 'listing',
        html: `<!doctype html>\n<meta name="viewport" content="width=device-width">\n<pre>\n${lines.join('')}</pre>\n`,
      };
    }
    // A FIFO or a device would hang whoever reads it.
    if (!info.isFile()) return { kind: 'missing' };
    const { size } = info;
    return { kind: 'file', size, read: () => createReadStream(file, size === 0 ? {} : { end: size - 1 }) as AsyncIterable<Uint8Array> };
  } catch (error) {
    if (systemCode(error) !== undefined) return { kind: 'missing' };
    throw error;
  }
}
