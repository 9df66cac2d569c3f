// For the tests: the oldest and the newest kubectl that pinpod promises to work with, unpacked below .cache/kubectl.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fromSuites } from './debian-suites.ts';

/** Debian's suites, and which kubectl each brings: 1.32 and 1.36. */
const suites = ['trixie', 'sid'] as const;

const folderOf = (checkout: string, suite: string): string => path.join(checkout, '.cache', 'kubectl', suite);

export function missingKubectls(checkout: string): readonly string[] {
  return suites.filter((suite) => !existsSync(path.join(folderOf(checkout, suite), 'usr', 'bin', 'kubectl')));
}

export function unpackKubectls(checkout: string): void {
  const missing = missingKubectls(checkout);
  fromSuites(missing, (debian) => {
    for (const suite of missing) debian.unpack(suite, ['kubectl'], folderOf(checkout, suite));
  });
}
