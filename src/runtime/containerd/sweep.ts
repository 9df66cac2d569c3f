// Takes down what a private containerd leaves on the machine: containers, shims, mounts, bridge, iptables rules,
// cgroups. It works from /proc and the kernel's own lists alone, so also after containerd and the agent died.
import { readdir, readFile, rm, rmdir } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '../../std/clock.ts';
import { systemCode } from '../../std/errors.ts';
import type { Logger } from '../../std/log.ts';
import { runProgram, signalProcess } from '../../std/process.ts';
import type { CallOptions } from '../runtime.ts';
import { mountsBelow } from './mounts.ts';
import { forwardRules, staleRules } from './network.ts';
import { descendantsOf, listProcesses, type ProcessEntry, readProcess, shimsOf } from './process-table.ts';

export interface SweepTarget {
  readonly socket: string;
  /** Everything mounted below these is unmounted; the folders themselves stay. */
  readonly folders: readonly string[];
  readonly networkName: string;
  readonly bridge: string;
  /** Pod cgroups made by the agent (`/kubepods`): removed with all below, in every hierarchy. */
  readonly cgroupParents: readonly string[];
}

export interface SweepDeps {
  readonly clock: Clock;
  readonly log: Logger;
  /** With PATH to find `ip` and iptables. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Resolves when nothing is left, as far as it can be removed; what cannot is logged. containerd itself must be stopped before. */
export async function sweep(target: SweepTarget, deps: SweepDeps, options: CallOptions): Promise<void> {
  const attempt = async (what: string, step: () => Promise<void>): Promise<void> => {
    try {
      await step();
    } catch (error) {
      options.signal.throwIfAborted();
      deps.log.warn('clean-up step failed', { step: what, err: error });
    }
  };
  const processes = await listProcesses();
  const shims = shimsOf(processes, target.socket).map((shim) => shim.pid);
  const family = descendantsOf(processes, shims);
  const cgroups = await cgroupsOf(family.filter((entry) => !shims.includes(entry.pid)));
  // Containers first: a shim without its container would be told so and write state.
  await attempt('processes', () => killAll([...family].reverse(), deps, options));
  await attempt('mounts', () => unmountBelow(target.folders, deps, options));
  await attempt('iptables', () => removeRules(target, deps, options));
  await attempt('bridge', () => removeBridge(target.bridge, deps, options));
  await attempt('cni results', () => removeCniResults(target.networkName));
  await attempt('cgroups', async () => {
    for (const folder of cgroups) await removeCgroup(folder);
    // containerd's own parent for Pods without one; other daemons may use it too, then it is not empty.
    for (const folder of cgroups) if (path.basename(path.dirname(folder)) === 'k8s.io') await removeCgroup(path.dirname(folder));
    for (const hierarchy of await cgroupHierarchies()) {
      for (const parent of target.cgroupParents) await removeCgroupTree(path.join(hierarchy, parent));
    }
  });
}

/** SIGKILL, then waits until they are gone (10 s). */
async function killAll(victims: readonly ProcessEntry[], { clock }: SweepDeps, { signal }: CallOptions): Promise<void> {
  for (const { pid } of victims) signalProcess(pid, 'SIGKILL');
  for (const victim of victims) {
    for (let waited = 0; waited < 10_000; waited += 10) {
      const now = await readProcess(victim.pid);
      if (now === undefined || now.isZombie || now.startTicks !== victim.startTicks) break;
      await clock.sleep(10, signal);
    }
  }
}

async function unmountBelow(folders: readonly string[], { env }: SweepDeps, { signal }: CallOptions): Promise<void> {
  const mountinfo = await readFile('/proc/self/mountinfo', 'utf8');
  const points = folders.flatMap((folder) => mountsBelow(mountinfo, folder));
  // One may have gone with another.
  for (const point of points) await runProgram('umount', ['--lazy', point], { signal, env }).catch(() => signal.throwIfAborted());
}

async function removeRules({ networkName: network, bridge }: SweepTarget, { env }: SweepDeps, { signal }: CallOptions): Promise<void> {
  for (const program of ['iptables', 'ip6tables']) {
    let saved: string;
    try {
      saved = (await runProgram(`${program}-save`, ['-t', 'nat'], { signal, env })).stdout;
    } catch {
      signal.throwIfAborted();
      continue; // The machine has no such program or no such table: then no such rules either.
    }
    for (const args of staleRules(saved, 'nat', network)) {
      await runProgram(program, ['--wait', ...args], { signal, env }).catch(() => signal.throwIfAborted());
    }
    for (const rule of forwardRules(bridge)) {
      // There only where the machine's policy made it needed.
      await runProgram(program, ['--wait', '-D', 'FORWARD', ...rule], { signal, env }).catch(() => signal.throwIfAborted());
    }
  }
}

async function removeBridge(bridge: string, { env }: SweepDeps, { signal }: CallOptions): Promise<void> {
  const links = await readdir('/sys/class/net');
  if (links.includes(bridge)) await runProgram('ip', ['link', 'delete', bridge], { signal, env });
}

/** libcni keeps the result of each ADD here, whatever folder the network's own state is in. */
async function removeCniResults(network: string): Promise<void> {
  const dir = '/var/lib/cni/results';
  const names = await readdir(dir).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  });
  for (const name of names) if (name.startsWith(`${network}-`)) await rm(path.join(dir, name), { force: true });
}

async function cgroupHierarchies(): Promise<readonly string[]> {
  const root = '/sys/fs/cgroup';
  const mounts = mountsBelow(await readFile('/proc/self/mountinfo', 'utf8'), root);
  return mounts.length > 0 ? mounts : [root];
}

/** The cgroup folders, in all hierarchies, that the processes are in, other than the roots. */
async function cgroupsOf(processes: readonly ProcessEntry[]): Promise<ReadonlySet<string>> {
  const hierarchies = await cgroupHierarchies();
  const folders = new Set<string>();
  for (const { pid } of processes) {
    const text = await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => '');
    for (const line of text.split('\n')) {
      const group = line.split(':').slice(2).join(':');
      if (group.length > 1) for (const hierarchy of hierarchies) folders.add(path.join(hierarchy, group));
    }
  }
  return folders;
}

/** Gone is as good as removed; one with processes in it belongs to somebody else. */
async function removeCgroup(folder: string): Promise<void> {
  await rmdir(folder).catch((error: unknown) => {
    if (!['ENOENT', 'EBUSY', 'ENOTEMPTY'].includes(systemCode(error) ?? '')) throw error;
  });
}

async function removeCgroupTree(folder: string): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  });
  for (const entry of entries) if (entry.isDirectory()) await removeCgroupTree(path.join(folder, entry.name));
  await removeCgroup(folder);
}
