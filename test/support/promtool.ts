// Prometheus' own linter, as the set-up for tests unpacks it.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';

const program = path.join(import.meta.dirname, '..', '..', '.cache', 'promtool', 'usr', 'bin', 'promtool');

/** Why it cannot be run here; undefined when it can. For `{ skip: … }`. */
export const whyNoPromtool = (): string | undefined =>
  existsSync(program) ? undefined : 'promtool is missing: run npm run setup -- --test';

export function promtool(args: readonly string[], input = ''): { readonly code: number | null; readonly said: string } {
  const { status, stdout, stderr } = spawnSync(program, [...args], { input, encoding: 'utf8' });
  return { code: status, said: stdout + stderr };
}
