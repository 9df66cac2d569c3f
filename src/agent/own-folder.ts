// The folders that the agent writes to.
import { access, constants, mkdir } from 'node:fs/promises';
import { ConfigError, messageOf, systemCode } from '../std/errors.ts';

const advice: Readonly<Record<string, string>> = {
  EACCES: 'permission denied; pinpod runs as root',
  EPERM: 'not permitted; pinpod runs as root',
  EROFS: 'the file system is read-only',
  ENOSPC: 'the disk is full',
  EEXIST: 'a file is in its place',
  ENOTDIR: 'one of the folders above it is a file',
};

/**
 * Makes the folder where it is missing. A ConfigError when there can be none, or somebody else's is there; one that has
 * become read-only does for looking after what runs.
 */
export async function makeOwnFolder(path: string, mode: number): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode });
  } catch (error) {
    throw unusable(path, error);
  }
  try {
    await access(path, constants.W_OK);
  } catch (error) {
    if (systemCode(error) !== 'EROFS') throw unusable(path, error);
  }
}

function unusable(path: string, error: unknown): ConfigError {
  return new ConfigError('folder', `cannot use the folder ${path}: ${advice[systemCode(error) ?? ''] ?? messageOf(error)}`, {
    cause: error,
  });
}
