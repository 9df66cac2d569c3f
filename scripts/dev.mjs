// `npm run dev -- [verbosity]`: brings the npm packages and the bundle for the CLI, then runs scripts/dev.ts until Ctrl-C.
import { spawn } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { node, setupOrExplain } from './setup.mjs';

const checkout = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');

process.exitCode = setupOrExplain(['--bundle']);
if (process.exitCode === 0) {
  const dev = spawn(node, [path.join(checkout, 'scripts', 'dev.ts'), ...process.argv.slice(2)], { cwd: checkout, stdio: 'inherit' });
  // Ctrl-C reaches the whole group; a signal to this process alone is passed on.
  process.on('SIGINT', () => undefined);
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => dev.kill('SIGTERM'));
  dev.on('exit', (code) => process.exit(code ?? 1));
}
