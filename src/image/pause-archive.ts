// The pause image made offline: Debian's catatonit as the only file, as podman does it. Its `-P` waits for signals and
// reaps children, which is all a sandbox's first process has to do.
import { readFile } from 'node:fs/promises';
import os from 'node:os';
import { systemCode } from '../std/errors.ts';
import { ociArchitecture, writeImageArchive } from './oci-archive.ts';

/** Where Debian, and podman's packages elsewhere, put it. */
export const catatonitPaths: readonly string[] = [
  '/usr/bin/catatonit',
  '/usr/libexec/podman/catatonit',
  '/usr/libexec/catatonit/catatonit',
];

/** The archive's bytes, under the full reference given; undefined when the machine has no catatonit. */
export async function makePauseArchive(reference: string, paths: readonly string[] = catatonitPaths): Promise<Buffer | undefined> {
  for (const path of paths) {
    let data: Buffer;
    try {
      data = await readFile(path);
    } catch (error) {
      if (systemCode(error) === 'ENOENT') continue;
      throw error;
    }
    return writeImageArchive({
      reference,
      architecture: ociArchitecture(os.arch()),
      entries: [{ type: 'file', name: 'pause', mode: 0o755, data }],
      config: { Entrypoint: ['/pause', '-P'] },
    });
  }
  return undefined;
}
