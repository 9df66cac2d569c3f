// Exec probes (L-419).
import type { Container, ExecAction } from '../api/gen/kubernetes.ts';
import { rpcErrorText } from '../runtime/errors.ts';
import type { ExecResult, Runtime } from '../runtime/runtime.ts';
import { messageOf, RuntimeError } from '../std/errors.ts';
import { maxOutputBytes, type ProbeOutcome, type ProbeTarget } from './outcome.ts';

export async function probeExec(
  action: ExecAction,
  target: ProbeTarget,
  options: { readonly timeoutSeconds: number; readonly signal: AbortSignal; readonly runtime: Pick<Runtime, 'execSync'> },
): Promise<ProbeOutcome> {
  const command = expandCommand(action.command ?? [], target.container);
  const { timeoutSeconds, signal } = options;
  let result: ExecResult;
  try {
    result = await options.runtime.execSync({ containerId: target.containerId, command, timeoutSeconds }, { signal });
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof RuntimeError && error.code === 'deadline-exceeded') {
      return { kind: 'failure', output: `command timed out: ${JSON.stringify(command.join(' '))} timed out after ${timeoutSeconds}s` };
    }
    return { kind: 'error', message: error instanceof RuntimeError ? rpcErrorText(error) : messageOf(error) };
  }
  const output = Buffer.concat([result.stdout, result.stderr]).subarray(0, maxOutputBytes).toString('utf8');
  return result.exitCode === 0 ? { kind: 'success', output } : { kind: 'failure', output };
}

/**
 * `$(NAME)` becomes the plain value of that `env` entry: empty where the entry takes its value from elsewhere, left as
 * it is where there is no entry. `$$` is `$`.
 */
export function expandCommand(command: readonly string[], container: Container): readonly string[] {
  const values = new Map((container.env ?? []).map(({ name, value }) => [name, value ?? '']));
  return command.map((word) =>
    word.replace(/\$\$|\$\(([^)]*)\)/g, (whole, name: string | undefined) => (name === undefined ? '$' : (values.get(name) ?? whole))),
  );
}
