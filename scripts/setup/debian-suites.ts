// Packages of newer Debian suites than the machine's own, for the tests: unpacked into folders, never installed. apt runs
// with package lists of our own, so that the machine's apt is neither read nor changed beyond its mirror's address.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { output, run, SetupError } from './system.ts';

const keyrings = ['/usr/share/keyrings/debian-archive-keyring.gpg', '/usr/share/keyrings/debian-archive-keyring.pgp'];

export interface DebianSuites {
  /** For whatever is needed on the way; removed afterwards. */
  readonly dir: string;
  /** The packages' files, whole or not at all, in place of what was in `target`. */
  unpack(suite: string, packages: readonly string[], target: string): void;
}

/** `use` may unpack packages of these suites. */
export function fromSuites(suites: readonly string[], use: (debian: DebianSuites) => void): void {
  const mirror = debianMirror();
  const keyring = keyrings.find((file) => existsSync(file));
  if (keyring === undefined) throw new SetupError(`no Debian keyring: ${keyrings.join(', ')}`);
  const dir = mkdtempSync(path.join(os.tmpdir(), 'pinpod-apt-'));
  try {
    // apt drops its privileges to download.
    run('chmod', ['755', dir]);
    for (const name of ['lists/partial', 'cache/archives/partial', 'empty']) mkdirSync(path.join(dir, name), { recursive: true });
    const sources = [...new Set(suites)].map((suite) => `deb [signed-by=${keyring}] ${mirror} ${suite} main\n`).join('');
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
    use({ dir, unpack: (suite, packages, target) => unpack(suite, packages, target, dir, apt) });
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function unpack(suite: string, packages: readonly string[], target: string, dir: string, apt: readonly string[]): void {
  const work = mkdtempSync(path.join(dir, `${suite}-`));
  run('chmod', ['755', work]);
  run('apt-get', ['-q', ...apt, 'download', ...packages.map((name) => `${name}/${suite}`)], { cwd: work });
  const archives = readdirSync(work).filter((name) => name.endsWith('.deb'));
  if (archives.length < packages.length) throw new SetupError(`apt-get downloaded no ${packages.join(', ')} of ${suite}`);
  const unpacked = `${target}.new`;
  rmSync(unpacked, { recursive: true, force: true });
  mkdirSync(unpacked, { recursive: true });
  for (const archive of archives) run('dpkg', ['-x', path.join(work, archive), unpacked]);
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
