// `npm run bench`: sets up, then measures the agent beside the floor of the same machine (bench/main.ts).
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { node, setupOrExplain } from './setup.mjs';

const checkout = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');

process.exitCode = setupOrExplain([]);
if (process.exitCode === 0) {
  const result = spawnSync(node, [path.join(checkout, 'bench', 'main.ts'), ...process.argv.slice(2)], { cwd: checkout, stdio: 'inherit' });
  process.exitCode = result.status ?? 1;
}
