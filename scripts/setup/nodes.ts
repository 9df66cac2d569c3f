// For the tests: the Nodes the bundle must run on besides the checkout's own, as programs below .cache/node, not installed.
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { run, SetupError } from './system.ts';

/** The oldest that is promised, and the long-term releases beside the checkout's own. */
export const otherNodes = ['20.20.2', '22.23.3', '26.10.0'] as const;

export const nodeProgram = (checkout: string, version: string): string => path.join(checkout, '.cache', 'node', version, 'node');

export function missingNodes(checkout: string): readonly string[] {
  return otherNodes.filter((version) => !existsSync(nodeProgram(checkout, version)));
}

/** Node's own builds, from the npm packages that the package `node` takes its programs from. */
export function fetchNodes(checkout: string): void {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'pinpod-node-'));
  try {
    for (const version of missingNodes(checkout)) {
      const work = path.join(dir, version);
      mkdirSync(work);
      run('npm', ['pack', '--silent', `node-linux-${process.arch}@${version}`], { cwd: work });
      const archive = readdirSync(work).find((name) => name.endsWith('.tgz'));
      if (archive === undefined) throw new SetupError(`npm packed no Node ${version}`);
      run('tar', ['-xzf', archive, 'package/bin/node'], { cwd: work });
      const target = nodeProgram(checkout, version);
      mkdirSync(path.dirname(target), { recursive: true });
      const unpacked = path.join(path.dirname(target), '.node');
      run('cp', [path.join(work, 'package', 'bin', 'node'), unpacked]);
      chmodSync(unpacked, 0o755);
      renameSync(unpacked, target);
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
