// `npm start`: sets up, then runs the demonstration (scripts/demo.ts) until Ctrl-C.
import { spawn } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { node, setupOrExplain } from './setup.mjs';

const checkout = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');

process.exitCode = setupOrExplain([]);
if (process.exitCode === 0) {
  const demo = spawn(node, [path.join(checkout, 'scripts', 'demo.ts')], { cwd: checkout, stdio: 'inherit' });
  // Ctrl-C reaches the whole group; this process waits until the demonstration has cleaned up. A signal to this one
  // alone is passed on.
  process.on('SIGINT', () => undefined);
  process.on('SIGTERM', () => demo.kill('SIGTERM'));
  process.on('SIGHUP', () => demo.kill('SIGTERM'));
  demo.on('exit', (code) => {
    process.exitCode = code ?? 1;
    process.exit();
  });
}
