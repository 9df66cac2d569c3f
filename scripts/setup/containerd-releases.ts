// For the tests: newer containerd releases than the machine's own, unpacked below .cache/containerd, not installed.
// apt runs with package lists of our own, so that the machine's apt is neither read nor changed beyond its mirror's
// address.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { output, run, SetupError } from './system.ts';

/** Debian's suites, and which containerd each brings: 1.7 and 2.x. */
export const releases = ['trixie', 'sid'] as const;

const keyrings = ['/usr/share/keyrings/debian-archive-keyring.gpg', '/usr/share/keyrings/debian-archive-keyring.pgp'];

export function missingReleases(checkout: string): readonly string[] {
  return releases.filter((suite) => !existsSync(path.join(checkout, '.cache', 'containerd', suite, 'usr', 'bin', 'containerd')));
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
    const sources = missing.map((suite) => `deb [signed-by=${keyring}] ${mirror} ${suite} main\n`).join('');
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
    for (const suite of missing) unpackOne(checkout, suite, dir, apt);
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
