// For the tests: newer containerd releases than the machine's own, and a runc that knows idmapped mounts, unpacked below
// .cache/containerd, not installed.
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { type DebianSuites, fromSuites } from './debian-suites.ts';
import { downloadPackages, run, SetupError } from './system.ts';

/** Debian's suites, and which containerd each brings: 1.7 and 2.x. */
export const releases = ['trixie', 'sid'] as const;

/** The suite whose runc the tests use for what the machine's own cannot do, and the folder it is in. */
const runcSuite = 'sid';
const runcFolder = 'sid-runc';

export function missingReleases(checkout: string): readonly string[] {
  const isThere = (...names: readonly string[]): boolean => existsSync(path.join(checkout, '.cache', 'containerd', ...names));
  const missing: string[] = releases.filter((suite) => !isThere(suite, 'usr', 'bin', 'containerd'));
  return isThere(runcFolder, 'runc') ? missing : [...missing, runcFolder];
}

export function unpackReleases(checkout: string): void {
  const missing = missingReleases(checkout);
  if (missing.length === 0) return;
  const suites = missing.map((name) => (name === runcFolder ? runcSuite : name));
  fromSuites(suites, (debian) => {
    for (const name of missing) {
      if (name === runcFolder) unpackRunc(checkout, debian);
      else unpackOne(checkout, name, debian);
    }
  });
}

function unpackOne(checkout: string, suite: string, debian: DebianSuites): void {
  debian.unpack(suite, ['containerd'], path.join(checkout, '.cache', 'containerd', suite));
}

/** Its C library is newer than the machine's, so it comes along, and the program is told to use that one. */
function unpackRunc(checkout: string, debian: DebianSuites): void {
  const files = path.join(debian.dir, runcFolder);
  const own = path.join(debian.dir, 'patchelf');
  mkdirSync(own);
  debian.unpack(runcSuite, ['runc', 'libc6', 'libseccomp2'], files);
  downloadPackages(['patchelf'], own);
  for (const deb of readdirSync(own).filter((name) => name.endsWith('.deb'))) {
    run('dpkg', ['-x', path.join(own, deb), path.join(own, 'files')]);
  }
  const libraries = readdirSync(path.join(files, 'usr', 'lib'))
    .map((name) => path.join(files, 'usr', 'lib', name))
    .find((folder) => existsSync(path.join(folder, 'libc.so.6')));
  if (libraries === undefined) throw new SetupError(`libc6 of ${runcSuite} has no libc.so.6`);
  const loader = readdirSync(libraries).find((name) => name.startsWith('ld-linux'));
  if (loader === undefined) throw new SetupError(`libc6 of ${runcSuite} has no ld-linux`);
  const target = path.join(checkout, '.cache', 'containerd', runcFolder);
  const unpacked = `${target}.new`;
  for (const folder of [unpacked, target]) rmSync(folder, { recursive: true, force: true });
  mkdirSync(path.join(unpacked, 'lib'), { recursive: true });
  for (const name of readdirSync(libraries)) {
    if (/^(ld-linux|libc\.|libseccomp|libpthread|libdl|librt|libresolv)/.test(name)) {
      copyFileSync(path.join(libraries, name), path.join(unpacked, 'lib', name));
      chmodSync(path.join(unpacked, 'lib', name), 0o755);
    }
  }
  const runc = path.join(unpacked, 'runc');
  copyFileSync(path.join(files, 'usr', 'sbin', 'runc'), runc);
  chmodSync(runc, 0o755);
  const lib = path.join(target, 'lib');
  run(path.join(own, 'files', 'usr', 'bin', 'patchelf'), ['--set-interpreter', path.join(lib, loader), '--set-rpath', lib, runc]);
  renameSync(unpacked, target);
}
