// Manifests named on the command line: files, folders and standard input, read as the agent's folder source would.
import { createReadStream } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { maxManifestBytes } from '../api/decode.ts';
import type { Problem } from '../api/problem.ts';
import { isHidden, whyIgnored } from '../source/file-names.ts';
import { messageOf, systemCode } from '../std/errors.ts';
import type { CommandIo } from './client.ts';

export interface InputIo extends CommandIo {
  /** Everything on standard input, for `-`. */
  stdin(): Promise<Uint8Array>;
}

export interface ManifestFile {
  /** As given; `<stdin>` for standard input. */
  readonly path: string;
  readonly content: { readonly bytes: Uint8Array } | { readonly problem: Problem } | { readonly why: string };
}

/** Files, the files of folders (not of their subfolders) and `-`; what cannot be read is a problem of its own. */
export async function readManifests(paths: readonly string[], io: InputIo): Promise<readonly ManifestFile[]> {
  const files: ManifestFile[] = [];
  for (const given of paths) files.push(...(await collect(given, io)));
  return files;
}

async function collect(given: string, io: InputIo): Promise<readonly ManifestFile[]> {
  if (given === '-') return [{ path: '<stdin>', content: { bytes: await io.stdin() } }];
  try {
    if (!(await stat(given)).isDirectory()) return [await readManifest(given)];
    const names = (await readdir(given)).filter((name) => !isHidden(name)).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    return await Promise.all(names.map((name) => readFolderEntry(path.join(given, name))));
  } catch (error) {
    return [unreadable(given, error)];
  }
}

async function readFolderEntry(file: string): Promise<ManifestFile> {
  const why = whyIgnored(path.basename(file));
  return why === undefined ? readManifest(file) : { path: file, content: { why } };
}

/** Reads no more than the limit, whatever the size of the file. */
async function readManifest(file: string): Promise<ManifestFile> {
  try {
    const found = await stat(file);
    if (found.isDirectory()) return { path: file, content: { why: 'a folder; folders inside a manifest folder are not read' } };
    if (found.isFile() && found.size < maxManifestBytes) return { path: file, content: { bytes: await readFile(file) } };
    const parts: Uint8Array[] = [];
    for await (const part of createReadStream(file, { end: maxManifestBytes - 1 })) parts.push(part as Uint8Array);
    return { path: file, content: { bytes: Buffer.concat(parts) } };
  } catch (error) {
    return unreadable(file, error);
  }
}

function unreadable(file: string, error: unknown): ManifestFile {
  const message = systemCode(error) === 'ENOENT' ? 'no such file or folder' : messageOf(error);
  return { path: file, content: { problem: { field: '', message } } };
}
