// `npm run setup`, first stage. It must run on the machine's own Node (20 or later) with nothing installed: it brings
// the npm packages, Node 24 among them, and hands over to scripts/setup/main.ts, which runs on that.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const checkout = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');
const modules = path.join(checkout, 'node_modules');
export const node = path.join(modules, '.bin', 'node');

class SetupError extends Error {}

/** PATH without node_modules/.bin: npm must not run on the Node it is about to replace. */
function outerPath() {
  const own = path.join(modules, '.bin');
  return (process.env.PATH ?? '')
    .split(path.delimiter)
    .filter((dir) => path.resolve(dir) !== own)
    .join(path.delimiter);
}

function npm(...args) {
  // What an outer `npm run` set would override where and how this one works.
  const env = Object.fromEntries(
    Object.entries(process.env).filter(
      ([key]) => !/^npm_(config_local_prefix|lifecycle|package|command|execpath|node_execpath)/i.test(key),
    ),
  );
  const result = spawnSync('npm', args, { cwd: checkout, encoding: 'utf8', env: { ...env, PATH: outerPath() } });
  if (result.error) throw new SetupError(`npm cannot be run: ${result.error.message}`);
  if (result.status === 0) return;
  const said = `${result.stdout}\n${result.stderr}`.trim().split('\n').slice(-15).join('\n');
  throw new SetupError(
    `npm ${args.join(' ')} failed:\n${said}\n\nNo network? npm packages come from the npm registry, or from npm's cache.`,
  );
}

/** Whether every package of the lock file that belongs on this machine is there in its version. */
function packagesAreThere() {
  const installedFile = path.join(modules, '.package-lock.json');
  if (!existsSync(installedFile)) return false;
  const wanted = JSON.parse(readFileSync(path.join(checkout, 'package-lock.json'), 'utf8')).packages;
  const installed = JSON.parse(readFileSync(installedFile, 'utf8')).packages;
  return Object.entries(wanted).every(([name, entry]) => {
    if (name === '') return true;
    const found = installed[name];
    if (found === undefined) return entry.optional === true || entry.peer === true;
    return found.version === entry.version && existsSync(path.join(checkout, name));
  });
}

const nodeVersion = () => spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout?.trim();

/** Where npm did not run the install script of the package `node` (it may be set up not to), it is run by hand. */
function ensureNode() {
  const wanted = `v${JSON.parse(readFileSync(path.join(modules, 'node', 'package.json'), 'utf8')).version}`;
  if (nodeVersion() === wanted) return;
  npm('rebuild', 'node');
  if (nodeVersion() === wanted) return;
  const result = spawnSync(process.execPath, ['installArchSpecificPackage.js'], {
    cwd: path.join(modules, 'node'),
    encoding: 'utf8',
    env: { ...process.env, PATH: outerPath() },
  });
  if (nodeVersion() !== wanted) {
    throw new SetupError(`Node ${wanted} of the npm package "node" cannot be installed:\n${result.stdout ?? ''}${result.stderr ?? ''}`);
  }
}

/** One set-up at a time in a checkout. A lock whose owner is gone counts for nothing. */
function withLock(action) {
  const lock = path.join(checkout, '.cache', 'setup.lock');
  mkdirSync(path.dirname(lock), { recursive: true });
  for (let told = false; ; ) {
    try {
      writeFileSync(lock, String(process.pid), { flag: 'wx' });
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
      const owner = existsSync(lock) ? readFileSync(lock, 'utf8') : '';
      if (owner !== '' && !existsSync(`/proc/${owner}`)) rmSync(lock, { force: true });
      else if (!told) {
        console.error('setup: waiting for another set-up of this checkout');
        told = true;
      }
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    }
  }
  try {
    return action();
  } finally {
    rmSync(lock, { force: true });
  }
}

/** Throws after it has said what is wrong. Options: `--test` (what only tests need), `--packages` (npm packages only). */
export function setup(args) {
  return withLock(() => {
    if (!packagesAreThere()) {
      console.error('setup: npm packages');
      npm('ci');
    }
    ensureNode();
    if (args.includes('--packages')) return 0;
    const result = spawnSync(node, [path.join(checkout, 'scripts', 'setup', 'main.ts'), ...args], { cwd: checkout, stdio: 'inherit' });
    return result.status ?? 1;
  });
}

/** `setup`, with its failures said to a person. Resolves to an exit code. */
export function setupOrExplain(args) {
  try {
    return setup(args);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(`setup: ${error.message}`);
    return 1;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = setupOrExplain(process.argv.slice(2));
