// `npm run drill -- [rounds] [seed]`: sets up, then runs the fault drills (test/e2e/drills.test.ts) in their long version:
// 30 rounds unless told otherwise, about half an hour.
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { node, setupOrExplain } from './setup.mjs';

const checkout = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');
const [rounds = '30', seed = '1'] = process.argv.slice(2);

process.exitCode = setupOrExplain([]);
if (process.exitCode === 0) {
  const result = spawnSync(node, ['--test', '--test-reporter=spec', path.join(checkout, 'test', 'e2e', 'drills.test.ts')], {
    cwd: checkout,
    stdio: 'inherit',
    env: { ...process.env, PINPOD_DRILL_ROUNDS: rounds, PINPOD_DRILL_SEED: seed },
  });
  process.exitCode = result.status ?? 1;
}
