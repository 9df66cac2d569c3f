// Puts image archives into a containerd's image store, so that a machine without a registry works. What is there
// already with the same digest is left alone.
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { systemCode } from '../../std/errors.ts';
import type { Logger } from '../../std/log.ts';
import { runProgram } from '../../std/process.ts';
import type { CallOptions } from '../runtime.ts';

export interface ImageStore {
  /** The `ctr` program. */
  readonly ctr: string;
  /** Absolute path of containerd's socket. */
  readonly socket: string;
}

export interface ImageImportDeps {
  /** Which images an archive names (`image/oci-archive.ts`). */
  readArchive(path: string): Promise<readonly { readonly reference: string; readonly digest: string | undefined }[]>;
  readonly log: Logger;
}

export interface ImportReport {
  readonly file: string;
  readonly references: readonly string[];
  readonly outcome: 'imported' | 'present' | 'failed';
  readonly error?: unknown;
}

/** CRI sees this namespace only. */
const inNamespace = (store: ImageStore): string[] => ['--address', store.socket, '--namespace', 'k8s.io'];

/** Reference → digest of the image it names. */
export async function listImages(store: ImageStore, { signal }: CallOptions): Promise<ReadonlyMap<string, string>> {
  const { stdout } = await runProgram(store.ctr, [...inNamespace(store), 'images', 'list'], { signal });
  const rows = stdout.split('\n').slice(1);
  return new Map(
    rows.flatMap((row) => {
      const [reference, , digest] = row.split(/\s+/);
      return reference && digest ? [[reference, digest] as const] : [];
    }),
  );
}

/**
 * Imports every archive of `dir` (`.tar`, `.tar.gz`, `.tgz`; dot-files ignored). A file that cannot be imported is
 * reported and logged, and the others go on; a missing folder is an empty one.
 */
export async function importImagesDir(
  store: ImageStore,
  dir: string,
  deps: ImageImportDeps,
  options: CallOptions,
): Promise<readonly ImportReport[]> {
  const files = await archivesIn(dir);
  if (files.length === 0) return [];
  const present = await listImages(store, options);
  const reports: ImportReport[] = [];
  for (const file of files) reports.push(await importOne(store, file, present, deps, options));
  return reports;
}

/** Imports one archive whatever is there. */
export async function importArchive(store: ImageStore, file: string, { signal }: CallOptions): Promise<void> {
  await runProgram(store.ctr, [...inNamespace(store), 'images', 'import', file], { signal });
}

async function importOne(
  store: ImageStore,
  file: string,
  present: ReadonlyMap<string, string>,
  deps: ImageImportDeps,
  options: CallOptions,
): Promise<ImportReport> {
  let references: readonly string[] = [];
  try {
    const images = await deps.readArchive(file);
    references = images.map((image) => image.reference);
    const isPresent =
      images.length > 0 && images.every((image) => image.digest !== undefined && present.get(image.reference) === image.digest);
    if (isPresent) return { file, references, outcome: 'present' };
    await importArchive(store, file, options);
    deps.log.info('images imported', { file, images: references });
    return { file, references, outcome: 'imported' };
  } catch (error) {
    options.signal.throwIfAborted();
    deps.log.warn('image archive cannot be imported', { file, err: error });
    return { file, references, outcome: 'failed', error };
  }
}

async function archivesIn(dir: string): Promise<readonly string[]> {
  try {
    const names = await readdir(dir);
    return names
      .filter((name) => /^[^.].*\.(tar|tar\.gz|tgz)$/.test(name))
      .sort()
      .map((name) => path.join(dir, name));
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
}
