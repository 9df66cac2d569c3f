// What /proc says about processes: who belongs to our containerd, and is the recorded one still the same process.
import { readdir, readFile } from 'node:fs/promises';
import { AgentError, systemCode } from '../../std/errors.ts';

export interface ProcessEntry {
  readonly pid: number;
  readonly parent: number;
  /** Clock ticks since boot; with the pid it names a process for good. */
  readonly startTicks: number;
  readonly isZombie: boolean;
  readonly command: readonly string[];
}

/** Everything that runs now. Processes that end meanwhile are left out. */
export async function listProcesses(): Promise<readonly ProcessEntry[]> {
  const names = await readdir('/proc');
  const entries = await Promise.all(names.filter((name) => /^\d+$/.test(name)).map((name) => readProcess(Number(name))));
  return entries.filter((entry) => entry !== undefined);
}

/** Undefined when there is no such process. */
export async function readProcess(pid: number): Promise<ProcessEntry | undefined> {
  try {
    const [stat, command] = await Promise.all([readFile(`/proc/${pid}/stat`, 'utf8'), readFile(`/proc/${pid}/cmdline`, 'utf8')]);
    return parseProcess(pid, stat, command);
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes(systemCode(error) ?? '')) return undefined;
    throw error;
  }
}

export function parseProcess(pid: number, stat: string, command: string): ProcessEntry {
  // The program's name, in parentheses, may hold anything, parentheses and spaces included.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const parent = Number(fields[1]);
  const startTicks = Number(fields[19]);
  if (Number.isNaN(parent) || Number.isNaN(startTicks)) throw new AgentError('bad-proc', `/proc/${pid}/stat cannot be read`);
  return { pid, parent, startTicks, isZombie: fields[0] === 'Z', command: command.split('\0').slice(0, -1) };
}

/** The shims of the containerd at `socket`: they outlive it and carry its address. */
export function shimsOf(processes: readonly ProcessEntry[], socket: string): readonly ProcessEntry[] {
  return processes.filter(({ command }) => {
    const at = command.indexOf('-address');
    return (command[0] ?? '').includes('containerd-shim') && at >= 0 && command[at + 1] === socket;
  });
}

/** `pids` and all their descendants, parents first. */
export function descendantsOf(processes: readonly ProcessEntry[], pids: readonly number[]): readonly ProcessEntry[] {
  const wanted = new Set(pids);
  for (let before = -1; before !== wanted.size; ) {
    before = wanted.size;
    for (const entry of processes) if (wanted.has(entry.parent)) wanted.add(entry.pid);
  }
  return processes.filter((entry) => wanted.has(entry.pid));
}
