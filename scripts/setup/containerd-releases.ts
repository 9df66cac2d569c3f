// For the tests: newer containerd releases than the machine's own, and a runc that knows idmapped mounts, unpacked below
// .cache/containerd, not installed.
// apt runs with package lists of our own, so that the machine's apt is neither read nor changed beyond its mirror's
// address.
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { downloadPackages, output, run, SetupError } from './system.ts';

/** Debian's suites, and which containerd each brings: 1.7 and 2.x. */
export const releases = ['trixie', 'sid'] as const;

/** The suite whose runc the tests use for what the machine's own cannot do, and the folder it is in. */
const runcSuite = 'sid';
const runcFolder = 'sid-runc';

const keyrings = ['/usr/share/keyrings/debian-archive-keyring.gpg', '/usr/share/keyrings/debian-archive-keyring.pgp'];

export function missingReleases(checkout: string): readonly string[] {
  const isThere = (...names: readonly string[]): boolean => existsSync(path.join(checkout, '.cache', 'containerd', ...names));
  const missing: string[] = releases.filter((suite) => !isThere(suite, 'usr', 'bin', 'containerd'));
  return isThere(runcFolder, 'runc') ? missing : [...missing, runcFolder];
}

export function unpackReleases(checkout: string): void {
  const missing = missingReleases(checkout);
  if (missing.length === 0) return;
  const mirror = debianMirror();
  const keyring = keyrings.find((file) => existsSync(file));
  if (keyring === undefined) throw new SetupError(`no Debian keyring: ${keyrings.join(', ')}`);
  const dir = mkdtempSync(path.join(os.tmpdir(), 'pinpod-apt-'));
  try {
    // apt drops its privileges to download.
    run('chmod', ['755', dir]);
    for (const name of ['lists/partial', 'cache/archives/partial', 'empty']) mkdirSync(path.join(dir, name), { recursive: true });
    const suites = new Set(missing.map((name) => (name === runcFolder ? runcSuite : name)));
    const sources = [...suites].map((suite) => `deb [signed-by=${keyring}] ${mirror} ${suite} main\n`).join('');
    writeFileSync(path.join(dir, 'sources.list'), sources);
    writeFileSync(path.join(dir, 'status'), '');
    const apt = Object.entries({
      'Dir::Etc::sourcelist': path.join(dir, 'sources.list'),
      'Dir::Etc::sourceparts': path.join(dir, 'empty'),
      'Dir::Etc::preferences': '/dev/null',
      'Dir::Etc::preferencesparts': path.join(dir, 'empty'),
      'Dir::State::lists': path.join(dir, 'lists'),
      'Dir::State::status': path.join(dir, 'status'),
      'Dir::Cache': path.join(dir, 'cache'),
      'Acquire::Languages': 'none',
      'Acquire::Check-Valid-Until': 'false',
      'APT::Update::Post-Invoke-Success::': '',
    }).flatMap(([key, value]) => ['-o', `${key}=${value}`]);
    run('apt-get', ['-q', ...apt, 'update']);
    for (const name of missing) {
      if (name === runcFolder) unpackRunc(checkout, dir, apt);
      else unpackOne(checkout, name, dir, apt);
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function unpackOne(checkout: string, suite: string, dir: string, apt: readonly string[]): void {
  const work = path.join(dir, suite);
  mkdirSync(work);
  run('apt-get', ['-q', ...apt, 'download', `containerd/${suite}`], { cwd: work });
  const deb = readdirSync(work).find((name) => name.endsWith('.deb'));
  if (deb === undefined) throw new SetupError(`apt-get downloaded no containerd of ${suite}`);
  const target = path.join(checkout, '.cache', 'containerd', suite);
  const unpacked = path.join(checkout, '.cache', 'containerd', `.${suite}`);
  rmSync(unpacked, { recursive: true, force: true });
  mkdirSync(unpacked, { recursive: true });
  run('dpkg', ['-x', path.join(work, deb), unpacked]);
  rmSync(target, { recursive: true, force: true });
  renameSync(unpacked, target);
}

/** Its C library is newer than the machine's, so it comes along, and the program is told to use that one. */
function unpackRunc(checkout: string, dir: string, apt: readonly string[]): void {
  const work = path.join(dir, runcFolder);
  const own = path.join(dir, 'patchelf');
  for (const folder of [work, own]) mkdirSync(folder);
  const packages = ['runc', 'libc6', 'libseccomp2'].map((name) => `${name}/${runcSuite}`);
  run('apt-get', ['-q', ...apt, 'download', ...packages], { cwd: work });
  downloadPackages(['patchelf'], own);
  for (const folder of [work, own]) {
    for (const deb of readdirSync(folder).filter((name) => name.endsWith('.deb'))) {
      run('dpkg', ['-x', path.join(folder, deb), path.join(folder, 'files')]);
    }
  }
  const libraries = readdirSync(path.join(work, 'files', 'usr', 'lib'))
    .map((name) => path.join(work, 'files', 'usr', 'lib', name))
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
  copyFileSync(path.join(work, 'files', 'usr', 'sbin', 'runc'), runc);
  chmodSync(runc, 0o755);
  const lib = path.join(target, 'lib');
  run(path.join(own, 'files', 'usr', 'bin', 'patchelf'), ['--set-interpreter', path.join(lib, loader), '--set-rpath', lib, runc]);
  renameSync(unpacked, target);
}

/** The address the machine gets Debian itself from. */
function debianMirror(): string {
  const format = ['$(CREATED_BY)', '$(LABEL)', '$(COMPONENT)', '$(CODENAME)', '$(REPO_URI)'].join('|');
  const rows = output('apt-get', ['indextargets', '--format', format]).split('\n');
  for (const row of rows) {
    const [kind, label, component, codename, uri] = row.split('|');
    if (kind === 'Packages' && label === 'Debian' && component === 'main' && codename !== undefined && !codename.includes('-') && uri)
      return uri;
  }
  throw new SetupError('apt knows no Debian mirror on this machine');
}
