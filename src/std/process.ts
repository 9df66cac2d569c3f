// Other processes: run a program to its end, signal one by its id. The only place outside main.ts and config/ that
// touches `process` (docs/decisions/0005-process-port.md).
import { execFile } from 'node:child_process';
import { AgentError, systemCode } from './errors.ts';

export interface ProgramResult {
  readonly stdout: string;
  readonly stderr: string;
}

export interface ProgramOptions {
  readonly signal: AbortSignal;
  /** Instead of this process's own environment. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Besides this process's own environment. */
  readonly extraEnv?: Readonly<Record<string, string>>;
  readonly input?: string;
}

/**
 * Runs `program` with `args` to its end, without a shell. An AgentError `program-missing` when there is no such program,
 * `program-failed` (details: exitCode, stdout, stderr) when it fails; rejects with `signal.reason` and kills it on abort.
 */
export async function runProgram(program: string, args: readonly string[], options: ProgramOptions): Promise<ProgramResult> {
  const { signal, extraEnv, input } = options;
  const env = options.env ?? (extraEnv === undefined ? undefined : { ...process.env, ...extraEnv });
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const child = execFile(
      program,
      [...args],
      { signal, encoding: 'utf8', maxBuffer: 64 << 20, killSignal: 'SIGKILL', ...(env === undefined ? {} : { env: { ...env } }) },
      (error, stdout, stderr) => {
        if (error === null) resolve({ stdout, stderr });
        else if (signal.aborted) reject(signal.reason);
        else if (systemCode(error) === 'ENOENT') reject(new AgentError('program-missing', `${program} is not installed`, { cause: error }));
        else {
          const said = stderr.trim().split('\n').at(-1) ?? '';
          reject(
            new AgentError('program-failed', `${[program, ...args].join(' ')}: ${said === '' ? error.message : said}`, {
              cause: error,
              details: { exitCode: error.code, stdout, stderr },
            }),
          );
        }
      },
    );
    // A program that ends without reading its input is no failure of ours.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input ?? '');
  });
}

/** Sends `name` to the process; false when it is gone already. */
export function signalProcess(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, name);
  } catch (error) {
    if (systemCode(error) === 'ESRCH') return false;
    throw error;
  }
}
