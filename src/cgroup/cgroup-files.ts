// The small part of the file system that cgroups need, as a port, and its implementation on the real one.
import { constants } from 'node:fs';
import { mkdir, open, readdir, readFile, rmdir } from 'node:fs/promises';
import { systemCode } from '../std/errors.ts';

export interface CgroupFileSystem {
  /** Makes missing parents too; true when the directory was not there before. */
  makeDirectory(path: string): Promise<boolean>;
  /** Undefined when the file is not there. */
  read(path: string): Promise<string | undefined>;
  write(path: string, text: string): Promise<void>;
  /** Names of the directories in a directory; undefined when it is not there. */
  directories(path: string): Promise<readonly string[] | undefined>;
  /** Removes an empty cgroup; one that is gone already is fine. */
  removeDirectory(path: string): Promise<void>;
}

export const realCgroupFiles: CgroupFileSystem = {
  async makeDirectory(path) {
    return (await mkdir(path, { recursive: true, mode: 0o755 })) !== undefined;
  },
  async read(path) {
    try {
      return await readFile(path, 'utf8');
    } catch (error) {
      if (isGone(error)) return undefined;
      throw error;
    }
  },
  async write(path, text) {
    // Without O_CREAT and O_TRUNC, and write-only: some files refuse any other way of opening.
    const handle = await open(path, constants.O_WRONLY);
    try {
      await handle.writeFile(text);
    } finally {
      await handle.close();
    }
  },
  async directories(path) {
    try {
      const entries = await readdir(path, { withFileTypes: true });
      return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
    } catch (error) {
      if (isGone(error)) return undefined;
      throw error;
    }
  },
  async removeDirectory(path) {
    try {
      await rmdir(path);
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  },
};

/** ENODEV: the cgroup vanished while one of its files was open. */
function isGone(error: unknown): boolean {
  const code = systemCode(error);
  return code === 'ENOENT' || code === 'ENODEV';
}
