// `npm run check`: types, format and lint, promise rules, architecture, unused code. Everything runs, then the verdict.
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { node, setupOrExplain } from './setup.mjs';

const checkout = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');
const bin = (name) => path.join(checkout, 'node_modules', '.bin', name);

const checks = [
  ['types', bin('tsc'), ['-p', '.']],
  ['format and lint', bin('biome'), ['ci', '--reporter=summary', 'src', 'test', 'scripts', 'bench']],
  ['promise rules', bin('oxlint'), ['--type-aware', '--quiet', 'src', 'test', 'scripts', 'bench']],
  ['architecture', node, ['--test', '--test-reporter=dot', 'test/architecture.test.ts']],
  ['conformance', node, ['scripts/generate-conformance.ts', '--check']],
  ['unused code', bin('knip'), []],
];

let code = setupOrExplain(['--packages']);
if (code === 0) {
  for (const [name, program, args] of checks) {
    const result = spawnSync(program, args, { cwd: checkout, encoding: 'utf8' });
    const isGood = result.status === 0;
    console.log(`${isGood ? 'ok  ' : 'FAIL'}  ${name}`);
    if (isGood) continue;
    code = 1;
    console.log(`${result.stdout ?? ''}${result.stderr ?? ''}${result.error?.message ?? ''}`);
  }
}
process.exitCode = code;
