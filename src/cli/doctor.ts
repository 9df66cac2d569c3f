// `pinpod doctor`: everything that is wrong, in words, each with what to do. It asks the running agent; without one it looks
// itself at what keeps an agent from starting.
import { access } from 'node:fs/promises';
import { connect } from 'node:net';
import type { DoctorReport, Trouble, TroubleArea } from '../api/trouble.ts';
import { ConfigError, messageOf, systemCode } from '../std/errors.ts';
import { AgentClient, CommandError, type CommandIo, StatusError } from './client.ts';

export interface DoctorOptions {
  readonly output?: 'json' | undefined;
}

/** What the command must know of the configuration; a ConfigError where it cannot be used. */
export interface DoctorTarget {
  readonly socketPath: string;
  readonly runtimeEndpoint: string | undefined;
  readonly manifestPath: string | undefined;
  readonly warnings: readonly string[];
}

export interface DoctorDeps {
  readonly io: CommandIo;
  readonly target: () => DoctorTarget;
  /** The problems of the manifests in a folder or file, as `file:line:column: field: message`. */
  readonly validate: (path: string) => Promise<readonly string[]>;
}

/** 0: all is well, warnings at most. 1: something is wrong. */
export async function doctor(options: DoctorOptions, deps: DoctorDeps): Promise<number> {
  const { io } = deps;
  const report = await examine(deps);
  await io.out(options.output === 'json' ? `${JSON.stringify(report, undefined, 2)}\n` : formatReport(report));
  return report.troubles.some((trouble) => trouble.severity === 'error') ? 1 : 0;
}

async function examine(deps: DoctorDeps): Promise<DoctorReport> {
  let target: DoctorTarget;
  try {
    target = deps.target();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const troubles = messageOf(error)
      .split('\n')
      .map((message) => fault('configuration', 'invalid', '', message, 'the agent does not start with it: correct the configuration'));
    return { areas: ['configuration'], troubles };
  }
  try {
    return (await new AgentClient(target).json('/pinpod/v1/doctor', { signal: deps.io.signal })) as DoctorReport;
  } catch (error) {
    if (!(error instanceof CommandError) || error instanceof StatusError) throw error;
    return await examineAlone(target, error, deps);
  }
}

/** No agent answers: what can be seen from outside. */
async function examineAlone(target: DoctorTarget, error: CommandError, deps: DoctorDeps): Promise<DoctorReport> {
  const isRefused = systemCode(error.cause) === 'EACCES';
  const advice = isRefused
    ? ''
    : 'containers that run go on, but nothing looks after them: systemctl status pinpod, journalctl -u pinpod, or pinpod run; one with other folders is asked with --run-dir or --config';
  const troubles: Trouble[] = [fault('agent', isRefused ? 'not-allowed' : 'not-running', target.socketPath, messageOf(error), advice)];
  const areas: TroubleArea[] = ['agent', 'configuration'];
  for (const message of target.warnings)
    troubles.push({ severity: 'warning', area: 'configuration', cause: 'warning', object: '', message, advice: '' });
  if (target.runtimeEndpoint?.startsWith('unix://') === true) {
    areas.push('runtime');
    const code = await knock(target.runtimeEndpoint.slice('unix://'.length));
    if (code !== undefined) {
      const message = `nothing answers at the container runtime's socket: ${code}`;
      troubles.push(fault('runtime', 'unreachable', target.runtimeEndpoint, message, 'the agent waits for it: start the runtime'));
    }
  }
  const isMissing = target.manifestPath !== undefined && !(await exists(target.manifestPath));
  if (target.manifestPath !== undefined && isMissing) {
    areas.push('sources');
    const hint = 'create it, or name another with staticPodPath (--pod-manifest-path)';
    const message = 'there is no such folder or file: no Pod is wanted';
    troubles.push({ ...fault('sources', 'missing', target.manifestPath, message, hint), severity: 'warning' });
  } else if (target.manifestPath !== undefined) {
    areas.push('manifests');
    const hint = 'correct the manifest; the agent keeps the last good version';
    for (const problem of await deps.validate(target.manifestPath)) troubles.push(fault('manifests', 'rejected', '', problem, hint));
  }
  return { areas, troubles };
}

async function exists(file: string): Promise<boolean> {
  try {
    await access(file);
    return true;
  } catch (error) {
    return systemCode(error) !== 'ENOENT';
  }
}

function fault(area: TroubleArea, cause: string, object: string, message: string, advice: string): Trouble {
  return { severity: 'error', area, cause, object, message, advice };
}

/** Undefined when somebody accepts there, else why not. */
function knock(socketPath: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    socket.once('connect', () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.once('error', (error) => resolve(systemCode(error) ?? messageOf(error)));
  });
}

/** An area a line, its troubles below it. */
export function formatReport({ areas, troubles }: DoctorReport): string {
  const lines = areas.flatMap((area) => {
    const own = troubles.filter((trouble) => trouble.area === area);
    const state = own.some((t) => t.severity === 'error') ? 'error' : own.length > 0 ? 'warning' : 'ok';
    return [`${state.padEnd(9)}${area}`, ...own.flatMap(formatTrouble)];
  });
  const count = (severity: Trouble['severity']): number => troubles.filter((trouble) => trouble.severity === severity).length;
  const some = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? '' : 's'}`;
  const total = troubles.length === 0 ? 'All is well.' : `${some(count('error'), 'error')}, ${some(count('warning'), 'warning')}.`;
  return `${[...lines, '', total].join('\n')}\n`;
}

function formatTrouble({ severity, cause, object, message, advice, since }: Trouble): readonly string[] {
  const head = [severity === 'warning' ? 'warning:' : '', object, cause, since === undefined ? '' : `since ${since}`];
  return [
    `           ${head.filter((part) => part !== '').join('  ')}`,
    ...message.split('\n').map((line) => `             ${line}`),
    ...(advice === '' ? [] : [`             → ${advice}`]),
  ];
}
