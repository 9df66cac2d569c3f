// For the tests: Prometheus' own linter of rules and expositions, unpacked below .cache/promtool.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fromSuites } from './debian-suites.ts';

const suite = 'trixie';
const folderOf = (checkout: string): string => path.join(checkout, '.cache', 'promtool');

export const hasPromtool = (checkout: string): boolean => existsSync(path.join(folderOf(checkout), 'usr', 'bin', 'promtool'));

export function unpackPromtool(checkout: string): void {
  fromSuites([suite], (debian) => debian.unpack(suite, ['promtool'], folderOf(checkout)));
}
