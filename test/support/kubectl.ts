// Runs the real kubectl against a server of the test, away from the user's own configuration.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync } from 'node:fs';
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

/** The oldest and the newest one that pinpod promises to work with, and the Debian suite each comes from. */
const suiteOf = { '1.32': 'trixie', '1.36': 'sid' } as const;
export type KubectlVersion = keyof typeof suiteOf;
export const kubectlVersions: readonly KubectlVersion[] = ['1.32', '1.36'];

const fromSetup = (version: KubectlVersion): string =>
  path.join(import.meta.dirname, '..', '..', '.cache', 'kubectl', suiteOf[version], 'usr', 'bin', 'kubectl');

/** Why no such kubectl can be run here; undefined when one can. For `describe(name, { skip: … })`. */
export function whyNoKubectl(version: KubectlVersion = '1.36'): string | undefined {
  return existsSync(fromSetup(version)) ? undefined : `kubectl ${version} is missing: run npm run setup -- --test`;
}

export class Kubectl {
  readonly program: string;
  /** A folder of its own, gone with the kubeconfig's. */
  readonly home: string;
  readonly env: Readonly<Record<string, string | undefined>>;

  constructor(kubeconfig: string, version: KubectlVersion = '1.36') {
    this.program = fromSetup(version);
    // Its caches go where the kubeconfig is, and with it when the test is over.
    this.home = mkdtempSync(path.join(path.dirname(kubeconfig), 'home-'));
    this.env = { PATH: process.env['PATH'], HOME: this.home, KUBECONFIG: kubeconfig };
  }

  /** Never rejects for kubectl's own failure: the exit code says it. */
  run(args: readonly string[], options: RunOptions = {}): Promise<KubectlResult> {
    return new Promise((resolve) => {
      const child = execFile(
        this.program,
        [...args],
        { env: { ...this.env, ...options.env }, timeout: options.timeoutMs ?? 30_000, maxBuffer: 64 * 1024 * 1024 },
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
    return spawn(this.program, [...args], { env: { ...this.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
  }
}

/** Rows of cells of kubectl's output. */
export const cellsOf = (text: string): readonly (readonly string[])[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => line.trim().split(/ {2,}/));
