// For the tests: programs out of Debian packages that are run inside containers, unpacked below .cache/programs, not
// installed.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { downloadPackages, run, SetupError } from './system.ts';

const programs = [{ package: 'etcd-server', program: 'usr/bin/etcd' }] as const;

const folderOf = (checkout: string, name: string): string => path.join(checkout, '.cache', 'programs', name);

export function missingPrograms(checkout: string): readonly string[] {
  return programs.filter((one) => !existsSync(path.join(folderOf(checkout, one.package), one.program))).map((one) => one.package);
}

export function unpackPrograms(checkout: string): void {
  for (const name of missingPrograms(checkout)) {
    const dir = mkdtempSync(path.join(os.tmpdir(), 'pinpod-programs-'));
    try {
      // apt drops its privileges to download.
      run('chmod', ['755', dir]);
      downloadPackages([name], dir);
      const deb = readdirSync(dir).find((file) => file.endsWith('.deb'));
      if (deb === undefined) throw new SetupError(`apt-get downloaded no ${name}`);
      const target = folderOf(checkout, name);
      mkdirSync(path.dirname(target), { recursive: true });
      run('dpkg', ['-x', path.join(dir, deb), `${target}.new`]);
      rmSync(target, { recursive: true, force: true });
      renameSync(`${target}.new`, target);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  }
}
