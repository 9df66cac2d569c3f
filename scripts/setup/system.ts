// What set-up does to the machine: run programs, see which Debian packages are missing, install those.
import { spawnSync } from 'node:child_process';
import { accessSync, chmodSync, constants, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** Said to the person without a stack trace: what is wrong and what to do by hand. */
export class SetupError extends Error {}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
}

const env: NodeJS.ProcessEnv = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' };

/** The program's standard output. Its standard error is shown only when it fails. */
export function output(program: string, args: readonly string[], options: RunOptions = {}): string {
  const result = spawnSync(program, [...args], {
    encoding: 'utf8',
    maxBuffer: 64 << 20,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...options,
  });
  if (result.error !== undefined) throw new SetupError(`${program} cannot be run: ${result.error.message}`, { cause: result.error });
  if (result.status !== 0) {
    const said = `${result.stdout}\n${result.stderr}`.trim().split('\n').slice(-12).join('\n');
    throw new SetupError(`${program} ${args.join(' ')} failed:\n${said}`);
  }
  return result.stdout;
}

export function run(program: string, args: readonly string[], options: RunOptions = {}): void {
  output(program, args, options);
}

export function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/** The first of `names` that PATH, or a system folder PATH may lack, has. */
export function findProgram(names: readonly string[]): string | undefined {
  const dirs = [...(process.env['PATH'] ?? '').split(':'), '/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/bin', '/bin'];
  for (const name of names) {
    for (const file of path.isAbsolute(name) ? [name] : dirs.map((dir) => path.join(dir, name))) {
      try {
        accessSync(file, constants.X_OK);
        return file;
      } catch {
        // Not there: look on.
      }
    }
  }
  return undefined;
}

let listsUpdated = false;

/** Installs packages, starting no service of theirs. Nothing already installed is changed. */
export function installPackages(names: readonly string[]): void {
  if (names.length === 0) return;
  const byHand = `Install by hand: apt-get install ${names.join(' ')}`;
  if (findProgram(['apt-get']) === undefined) {
    throw new SetupError(`This machine has no apt-get. Install what these Debian packages hold: ${names.join(', ')}`);
  }
  if (!isRoot()) throw new SetupError(`Debian packages are missing and only root may install them. ${byHand}`);
  const install = ['-q', '-y', '-o', 'DPkg::Lock::Timeout=300', 'install', '--no-install-recommends', '--no-upgrade', ...names];
  withoutServices(() => {
    try {
      updateLists();
      run('apt-get', install);
    } catch (error) {
      throw new SetupError(`${error instanceof Error ? error.message : String(error)}\n\nNo network? ${byHand}`, { cause: error });
    }
  });
}

/** Downloads packages into `dir`, which apt's unprivileged user can read, without installing them. */
export function downloadPackages(names: readonly string[], dir: string): void {
  if (findProgram(['apt-get']) === undefined) {
    throw new SetupError(
      `This machine has no apt-get: the Debian packages ${names.join(', ')} cannot be fetched. On a machine with a registry no offline image is needed.`,
    );
  }
  const download = (): void => run('apt-get', ['-q', 'download', ...names], { cwd: dir });
  try {
    download();
  } catch {
    // The machine's package lists are missing or old.
    if (!isRoot())
      throw new SetupError(`${names.join(', ')} cannot be downloaded with the package lists there are. As root: apt-get update`);
    updateLists();
    download();
  }
}

export function updateLists(): void {
  if (listsUpdated) return;
  run('apt-get', ['-q', 'update']);
  listsUpdated = true;
}

const policyFile = '/usr/sbin/policy-rc.d';
const policyText = '#!/bin/sh\n# Made by pinpod while it installs packages; starts no service.\nexit 101\n';

/** Debian asks /usr/sbin/policy-rc.d before it starts a service of a new package; one that is there already stays. */
function withoutServices(action: () => void): void {
  const hasSystemd = existsSync('/run/systemd/system');
  // One of ours is left of a set-up that was killed.
  const isForeign = existsSync(policyFile) && readFileSync(policyFile, 'utf8') !== policyText;
  const hadContainerd = existsSync('/lib/systemd/system/containerd.service');
  if (!isForeign) {
    writeFileSync(policyFile, policyText);
    chmodSync(policyFile, 0o755);
  }
  const onSignal = (): never => {
    if (!isForeign) rmSync(policyFile, { force: true });
    process.exit(130);
  };
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
  try {
    action();
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
    if (!isForeign) rmSync(policyFile, { force: true });
    // The package enables its unit for the next boot; pinpod runs a containerd of its own.
    const hasContainerd = existsSync('/lib/systemd/system/containerd.service');
    if (hasSystemd && !hadContainerd && hasContainerd) run('systemctl', ['disable', 'containerd.service']);
  }
}
