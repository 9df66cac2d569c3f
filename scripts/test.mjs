// `npm test`: sets up, then runs every test: first what needs no container runtime, then what does (the files that
// import test/support/containerd.ts), and of that last what says that it runs alone. Options: `--unit` runs the first part alone and sets up npm packages only. File
// names run those files alone; other options go to Node's test runner.
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { node, setupOrExplain } from './setup.mjs';

const checkout = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');
const args = process.argv.slice(2);
const isUnit = args.includes('--unit');
const files = args.filter((arg) => !arg.startsWith('-')).map((file) => path.resolve(file));
const options = args.filter((arg) => arg.startsWith('-') && arg !== '--unit');

function testFiles() {
  const found = ['src', 'test', 'scripts'].flatMap((folder) =>
    readdirSync(path.join(checkout, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.test.ts'))
      .map((name) => path.join(checkout, folder, name)),
  );
  return found.sort();
}

const needsContainers = (file) => /support\/containerd\.ts'/.test(readFileSync(file, 'utf8'));

/** The header of the file says why. */
const runsAlone = (file) => /^\/\/ Runs alone: /m.test(readFileSync(file, 'utf8'));

function runTests(title, list, concurrency, timeoutMs) {
  if (list.length === 0) return 0;
  console.log(`\n${title}: ${list.length} files`);
  const reporter = path.join(checkout, 'scripts', 'skipped-reporter.mjs');
  const fixed = [
    '--test',
    `--test-concurrency=${concurrency}`,
    `--test-timeout=${timeoutMs}`,
    `--test-reporter=${reporter}`,
    '--test-reporter-destination=stdout',
    '--test-reporter=spec',
    '--test-reporter-destination=stdout',
  ];
  const result = spawnSync(node, [...fixed, ...options, ...list], { cwd: checkout, stdio: 'inherit' });
  return result.status ?? 1;
}

let code = setupOrExplain(isUnit ? ['--packages'] : ['--test']);
if (code === 0) {
  const all = files.length > 0 ? files : testFiles();
  const withContainers = all.filter(needsContainers);
  const without = all.filter((file) => !withContainers.includes(file));
  const codes = [runTests('tests without a container runtime', without, 2, 120_000)];
  if (!isUnit) {
    // They wait most of the time.
    const together = withContainers.filter((file) => !runsAlone(file));
    codes.push(runTests('tests on a real containerd', together, 2, 300_000));
    codes.push(runTests('tests on a real containerd, one at a time', withContainers.filter(runsAlone), 1, 300_000));
  }
  code = Math.max(...codes);
}
process.exitCode = code;
