// Runs the real kubectl against a server of the test, away from the user's own configuration.
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import path from 'node:path';

export interface KubectlResult {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export interface RunOptions {
  readonly input?: string | Buffer;
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
}

/** Why kubectl tests cannot run here; undefined when they can. For `describe(name, { skip: … })`. */
export function whyNoKubectl(): string | undefined {
  try {
    execFileSync('kubectl', ['version', '--client'], { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'kubectl is missing: install it to test against the real client';
  }
}

export class Kubectl {
  readonly #env: Readonly<Record<string, string | undefined>>;

  constructor(kubeconfig: string) {
    // Its caches go where the kubeconfig is, and with it when the test is over.
    const home = mkdtempSync(path.join(path.dirname(kubeconfig), 'home-'));
    this.#env = { PATH: process.env['PATH'], HOME: home, KUBECONFIG: kubeconfig };
  }

  /** Never rejects for kubectl's own failure: the exit code says it. */
  run(args: readonly string[], options: RunOptions = {}): Promise<KubectlResult> {
    return new Promise((resolve) => {
      const child = execFile(
        'kubectl',
        [...args],
        { env: { ...this.#env, ...options.env }, timeout: options.timeoutMs ?? 30_000, maxBuffer: 64 * 1024 * 1024 },
        (error, out, err) => {
          const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
          resolve({ code, out, err });
        },
      );
      child.stdin?.on('error', () => undefined);
      child.stdin?.end(options.input ?? '');
    });
  }

  /** For commands that go on: the caller ends them. */
  start(args: readonly string[], env: Readonly<Record<string, string>> = {}): ChildProcess {
    return spawn('kubectl', [...args], { env: { ...this.#env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
  }
}

/** Rows of cells of kubectl's output. */
export const cellsOf = (text: string): readonly (readonly string[])[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => line.trim().split(/ {2,}/));
