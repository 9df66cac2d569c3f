// Makes and removes the cgroups of Pods and of their QoS classes, in every hierarchy of the machine (L-292 … L-301).
// The runtime makes the containers' cgroups below; it never removes their parent, so that is ours too.
//
// With the systemd driver a directory is a slice, which systemd starts and limits as well (decision 0014).

import type { PodSpec } from '../api/gen/kubernetes.ts';
import type { Pod } from '../api/pod.ts';
import { type CgroupName, cgroupPath, elementOf, kubepodsCgroup, podCgroup, podElementPrefix, qosCgroup } from '../pod/cgroup-names.ts';
import type { CgroupFacts, NodeAmounts, NodeFacts } from '../pod/node-facts.ts';
import type { QosClass } from '../pod/resources.ts';
import type { Clock } from '../std/clock.ts';
import { AgentError, messageOf, systemCode } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import type { CgroupFileSystem } from './cgroup-files.ts';
import type { CgroupLayout, Hierarchy } from './layout.ts';
import { type Slices, sliceProperties } from './systemd.ts';
import {
  type CgroupValues,
  cgroupFiles,
  explicitPodCgroupValues,
  kubepodsCgroupValues,
  podCgroupValues,
  qosCgroupValues,
} from './values.ts';

export class CgroupError extends AgentError {}

export interface PodCgroupsOptions {
  readonly layout: CgroupLayout;
  readonly cgroup: Pick<CgroupFacts, 'root' | 'driver'>;
}

export interface PodCgroupsDeps {
  readonly files: CgroupFileSystem;
  /** Only with the systemd driver, and only where systemd runs. */
  readonly slices?: Slices | undefined;
  /** Sends SIGKILL; a process that is gone already is fine. */
  readonly kill: (pid: number) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Controllers in which a Pod gets a directory of its own (L-299). The rest follow with the first container. */
const managedControllers = ['cpu', 'cpuacct', 'cpuset', 'memory', 'pids', 'hugetlb'];
/** Controllers handed down to children on version 2 (L-299). */
const delegatedControllers = ['cpu', 'cpuset', 'memory', 'hugetlb', 'pids'];
const qosClasses: readonly QosClass[] = ['Guaranteed', 'Burstable', 'BestEffort'];
const removeAttempts = 5;
const removePauseMs = 20;

/** All methods are idempotent and may be called again after any failure. */
export class PodCgroups {
  readonly #layout: CgroupLayout;
  readonly #cgroup: Pick<CgroupFacts, 'root' | 'driver'>;
  readonly #deps: PodCgroupsDeps;

  constructor(options: PodCgroupsOptions, deps: PodCgroupsDeps) {
    this.#layout = options.layout;
    this.#cgroup = options.cgroup;
    this.#deps = deps;
  }

  /**
   * Makes the tree for all Pods and limits it (L-301, L-302). `limit` is what Pods may use together; `pidsLimit` ≤ 0
   * means none. Values that cannot be written are a CgroupError after the tree was made, so Pods can start anyway. The
   * shares of burstable Pods stay: some may run.
   */
  async start(node: NodeFacts, limit: NodeAmounts, pidsLimit: number): Promise<void> {
    const root = kubepodsCgroup(this.#cgroup.root);
    const values = kubepodsCgroupValues(limit, pidsLimit, node);
    await this.#startSlice(root, values);
    for (const qos of qosClasses) await this.#make(qosCgroup(this.#cgroup.root, qos));
    await this.#setClass('BestEffort', [], node);
    await this.#write(root, values);
  }

  /** Shares of the QoS classes by the Pods that are active now (L-301). */
  async updateQos(active: readonly PodSpec[], node: NodeFacts): Promise<void> {
    await this.#setClass('Burstable', active, node);
    await this.#setClass('BestEffort', active, node);
  }

  async #setClass(qos: 'Burstable' | 'BestEffort', active: readonly PodSpec[], node: NodeFacts): Promise<void> {
    await this.#set(qosCgroup(this.#cgroup.root, qos), qosCgroupValues(qos, active, node));
  }

  /**
   * Makes the Pod's cgroup with its limits before its sandbox (L-292). Limits are written again to one that exists, since
   * the agent may have died between the two, but not while the Pod's containers run in it: that is a resize. Answers
   * whether it was there in any hierarchy: one that was mounted since is no reason to think that it was lost.
   */
  async ensure(pod: Pod, node: NodeFacts, { isInUse }: { readonly isInUse: boolean } = { isInUse: false }): Promise<boolean> {
    const places = await this.#places(pod);
    if (places.every((isThere) => isThere) && isInUse) return true;
    const name = podCgroup(pod, this.#cgroup.root);
    const values = podCgroupValues(pod.spec, node);
    await this.#startSlice(name, values);
    await this.#make(name);
    await this.#write(name, values);
    return places.some((isThere) => isThere);
  }

  /**
   * Lifts the Pod's limits while its containers get others (L-518): no child may have more than its parent, and nobody
   * need know what they had. `endResize` sets them as they are to be.
   */
  async beginResize(pod: Pod, node: NodeFacts): Promise<void> {
    const values = { ...explicitPodCgroupValues(pod.spec, node), cpuQuotaUs: -1, memoryLimitBytes: -1 };
    await this.#set(podCgroup(pod, this.#cgroup.root), values);
  }

  async endResize(pod: Pod, node: NodeFacts): Promise<void> {
    await this.#set(podCgroup(pod, this.#cgroup.root), explicitPodCgroupValues(pod.spec, node));
  }

  async #set(name: CgroupName, values: CgroupValues): Promise<void> {
    await this.#startSlice(name, values);
    await this.#write(name, values);
  }

  /** Whether the Pod's cgroup is there in every hierarchy it must be in (L-299, C-374). */
  async exists(pod: Pod): Promise<boolean> {
    return (await this.#places(pod)).every((isThere) => isThere);
  }

  /** Whether it is there, for each hierarchy it must be in. */
  async #places(pod: Pod): Promise<readonly boolean[]> {
    const path = cgroupPath(podCgroup(pod, this.#cgroup.root), this.#cgroup.driver);
    const read = async ({ mountPoint }: Hierarchy): Promise<boolean> =>
      (await this.#deps.files.directories(`${mountPoint}${path}`)) !== undefined;
    return await Promise.all(this.#managed().map(read));
  }

  /** UIDs of all Pods that have a cgroup in any hierarchy. */
  async list(): Promise<ReadonlySet<string>> {
    const uids = new Set<string>();
    for (const { uid } of await this.#podDirectories()) uids.add(uid);
    return uids;
  }

  /** Kills what still runs in the Pod's cgroups, then removes them in every hierarchy (L-300). */
  async remove(uid: string, options: { readonly signal: AbortSignal }): Promise<void> {
    const failures: unknown[] = [];
    const directories = (await this.#podDirectories()).filter((found) => found.uid === uid);
    for (const slice of new Set(directories.map((found) => lastElement(found.path)))) await this.#deps.slices?.stop(slice);
    for (const found of directories) {
      try {
        await this.#removeTree(found.path, options.signal);
      } catch (error) {
        if (options.signal.aborted) throw error;
        failures.push(error);
      }
    }
    if (failures.length > 0) {
      throw new CgroupError('cgroup-not-removed', `cgroup of pod ${uid} cannot be removed: ${messageOf(failures[0])}`, {
        cause: failures[0],
      });
    }
  }

  async #startSlice(name: CgroupName, values: CgroupValues): Promise<void> {
    const slice = lastElement(cgroupPath(name, this.#cgroup.driver));
    await this.#deps.slices?.start(slice, sliceProperties(values, this.#layout.version));
  }

  async #make(name: CgroupName): Promise<void> {
    for (const hierarchy of this.#managed()) {
      for (let depth = 1; depth <= name.length; depth++) {
        const path = `${hierarchy.mountPoint}${cgroupPath(name.slice(0, depth), this.#cgroup.driver)}`;
        if (hierarchy.unified) await this.#delegate(parentPath(path), hierarchy);
        const made = await this.#deps.files.makeDirectory(path);
        if (made && hierarchy.controllers.includes('cpuset')) await this.#inheritCpuset(path);
      }
      if (hierarchy.unified) await this.#delegate(`${hierarchy.mountPoint}${cgroupPath(name, this.#cgroup.driver)}`, hierarchy);
    }
  }

  /** On version 1 a new cpuset is empty, and no process can enter it. */
  async #inheritCpuset(path: string): Promise<void> {
    for (const file of ['cpuset.cpus', 'cpuset.mems']) {
      const own = await this.#deps.files.read(`${path}/${file}`);
      if (own !== undefined && own.trim() !== '') continue;
      const inherited = (await this.#deps.files.read(`${parentPath(path)}/${file}`))?.trim() ?? '';
      if (inherited !== '') await this.#deps.files.write(`${path}/${file}`, inherited);
    }
  }

  /** Lets children of a version 2 cgroup use the controllers it has. */
  async #delegate(path: string, { mountPoint }: Hierarchy): Promise<void> {
    const offered = words(await this.#deps.files.read(`${path}/cgroup.controllers`));
    const enabled = words(await this.#deps.files.read(`${path}/cgroup.subtree_control`));
    const atRoot = words(await this.#deps.files.read(`${mountPoint}/cgroup.controllers`));
    const missing = delegatedControllers.filter((one) => atRoot.includes(one) && offered.includes(one) && !enabled.includes(one));
    if (missing.length > 0) {
      await this.#deps.files.write(`${path}/cgroup.subtree_control`, missing.map((controller) => `+${controller}`).join(' '));
    }
  }

  async #write(name: CgroupName, values: CgroupValues): Promise<void> {
    const failures: unknown[] = [];
    const path = cgroupPath(name, this.#cgroup.driver);
    for (const { controller, file, value, optional } of cgroupFiles(values, this.#layout.version)) {
      const hierarchy = this.#layout.hierarchies.find((one) =>
        this.#layout.version === 2 ? one.unified : one.controllers.includes(controller),
      );
      if (hierarchy === undefined) continue;
      const full = `${hierarchy.mountPoint}${path}/${file}`;
      // A controller the machine has not, or does not hand down: nothing can be limited by it.
      const isAbsent = (await this.#deps.files.read(full)) === undefined;
      if (isAbsent && (optional || controller === 'hugetlb' || controller === 'pids')) continue;
      try {
        await this.#deps.files.write(full, value);
      } catch (error) {
        this.#deps.log.warn('cgroup value not written', { path: full, value, error: messageOf(error) });
        failures.push(error);
      }
    }
    if (failures.length > 0) {
      throw new CgroupError('cgroup-not-written', `limits of cgroup ${path} cannot be set: ${messageOf(failures[0])}`, {
        cause: failures[0],
        details: { failures: failures.length },
      });
    }
  }

  #managed(): readonly Hierarchy[] {
    if (this.#layout.version === 2) return this.#layout.hierarchies.filter((one) => one.unified);
    return this.#layout.hierarchies.filter(
      (one) =>
        !one.unified && (one.controllers.length === 0 || one.controllers.some((controller) => managedControllers.includes(controller))),
    );
  }

  async #podDirectories(): Promise<readonly { readonly uid: string; readonly path: string }[]> {
    const found: { uid: string; path: string }[] = [];
    const { root, driver } = this.#cgroup;
    for (const hierarchy of this.#layout.hierarchies) {
      for (const qos of qosClasses) {
        const parent = `${hierarchy.mountPoint}${cgroupPath(qosCgroup(root, qos), driver)}`;
        for (const directory of (await this.#deps.files.directories(parent)) ?? []) {
          const element = elementOf(directory, driver);
          if (element?.startsWith(podElementPrefix))
            found.push({ uid: element.slice(podElementPrefix.length), path: `${parent}/${directory}` });
        }
      }
    }
    return found;
  }

  async #removeTree(path: string, signal: AbortSignal): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      signal.throwIfAborted();
      const tree = await this.#tree(path);
      await this.#killAll(path, tree);
      try {
        for (const directory of [...tree].reverse()) await this.#deps.files.removeDirectory(directory);
        return;
      } catch (error) {
        if (attempt === removeAttempts) throw error;
      }
      // A killed process leaves its cgroup only when the kernel is done with it.
      await this.#deps.clock.sleep(removePauseMs * attempt, signal);
    }
  }

  /** The directory and all below, parents first. */
  async #tree(path: string): Promise<readonly string[]> {
    const children = (await this.#deps.files.directories(path)) ?? [];
    const below: string[] = [];
    for (const child of children) below.push(...(await this.#tree(`${path}/${child}`)));
    return [path, ...below];
  }

  async #killAll(path: string, tree: readonly string[]): Promise<void> {
    const isAtOnce = (await this.#deps.files.read(`${path}/cgroup.events`)) !== undefined;
    if (isAtOnce && (await this.#killAtOnce(path))) return;
    for (const directory of tree) {
      for (const word of words(await this.#deps.files.read(`${directory}/cgroup.procs`))) {
        const pid = Number(word);
        if (Number.isSafeInteger(pid) && pid > 1) this.#deps.kill(pid);
      }
    }
  }

  /** Version 2 since Linux 5.14 kills a whole subtree without a race. */
  async #killAtOnce(path: string): Promise<boolean> {
    try {
      await this.#deps.files.write(`${path}/cgroup.kill`, '1');
      return true;
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return false;
      throw error;
    }
  }
}

function lastElement(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

function parentPath(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}

function words(text: string | undefined): readonly string[] {
  return (text ?? '').split(/\s+/).filter((word) => word !== '');
}
