// The files of Pods on the node's disk: volumes, subpaths, /etc/hosts and termination messages. Spec 02, section 6.
//
//   <rootDir>/pods/<uid>/volumes/kubernetes.io~<plugin>/<volume>     content
//   <rootDir>/pods/<uid>/plugins/kubernetes.io~<plugin>/<volume>/ready   set up completely
//   <rootDir>/pods/<uid>/volume-subpaths/<volume>/<container>/<index>    bind mounts
//   <rootDir>/pods/.removing-<uid>                                    torn down, being deleted: all of it, or its volumes
import { chmod, lstat, mkdir, open, readdir, readFile, realpath, rename, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import type { Container, EmptyDirVolumeSource, Volume } from '../api/gen/kubernetes.ts';
import { formatPod, type Pod } from '../api/pod.ts';
import { wholeUnits } from '../pod/amounts.ts';
import type { Problems } from '../pod/build-result.ts';
import { isReadOnlyVolume, type MountPlan, planMounts, usedVolumes, userMappings } from '../pod/container-mounts.ts';
import { type EnvFiles, envFileKey, environmentOf, neededEnvFiles } from '../pod/environment.ts';
import { hostsFileText } from '../pod/hosts-file.ts';
import type { NodeFacts } from '../pod/node-facts.ts';
import { hugepageSizeOf, podLimit, podRequests } from '../pod/resources.ts';
import type { Mount } from '../pod/runtime-config.ts';
import type { UserNamespace } from '../pod/security-context.ts';
import type { Clock } from '../std/clock.ts';
import { messageOf, systemCode } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import type { Random } from '../std/random.ts';
import { writePayload } from './atomic-writer.ts';
import { setUpHostPath } from './host-path.ts';
import type { MountEntry, Mounter } from './mounter.ts';
import { giveToGroup } from './ownership.ts';
import { payloadOf } from './payload.ts';
import { removeTree } from './remove-tree.ts';
import { makeInside, openInside } from './safe-path.ts';
import { setUpError, VolumeError } from './volume-error.ts';

export interface VolumesOptions {
  readonly rootDir: string;
}

export interface VolumesDeps {
  readonly mounter: Mounter;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export interface WaitOptions {
  readonly signal: AbortSignal;
}

export interface ContainerMountContext {
  readonly node: NodeFacts;
  /** CRI's attempt: the termination log is named after it. */
  readonly attempt: number;
  /** What the sandbox reported. */
  readonly podIps: readonly string[];
  /** From `envFiles`. */
  readonly envFiles: EnvFiles;
  /** References of the Pod's image volumes by volume name, as pulled. */
  readonly imageVolumes: ReadonlyMap<string, string>;
  readonly users?: UserNamespace | undefined;
}

const removingPrefix = '.removing-';
const hostsFileName = 'etc-hosts';
/** Made by UserNamespaces. */
const usersFileName = 'userns';
/** Plugins whose data belongs to the Pod and goes with it. */
const ownPlugins: ReadonlySet<string> = new Set(['kubernetes.io~empty-dir', 'kubernetes.io~downward-api', 'kubernetes.io~projected']);
const maxEnvFileBytes = 1024 * 1024;
/** Termination logs kept of a container: those of its newest attempts, so that a crash loop does not fill the disk. */
const keptTerminationLogs = 5;
/** Mounts may be stacked: how often the list is read again before giving up. */
const maxUnmountRounds = 5;

/**
 * Every method may be repeated after a failure or a crash of the agent at any point. Calls for different containers of a
 * Pod may overlap; set-up and tear-down of a Pod may not.
 */
export class Volumes {
  readonly #rootDir: string;
  readonly #deps: VolumesDeps;
  /** Whether the kernel knows tmpfs' `noswap`; found out by the first mount. */
  #hasNoSwap = true;

  constructor(options: VolumesOptions, deps: VolumesDeps) {
    this.#rootDir = options.rootDir;
    this.#deps = deps;
  }

  /**
   * Sets up every volume that a container of the Pod mounts, and refreshes those that show changing data (L-308 …
   * L-313). Throws a VolumeError that lists each volume that failed; the others are set up.
   */
  async setUp(pod: Pod, node: NodeFacts, { signal }: WaitOptions): Promise<void> {
    const podDir = await this.#makePodDir(pod.metadata.uid);
    const volumes = usedVolumes(pod);
    await this.#all(volumes, async (volume) => await this.#setUpVolume(pod, podDir, volume, node, signal), signal);
  }

  /** Brings the files of downwardAPI and projected volumes up to date, in place (L-313, L-327). */
  async refresh(pod: Pod, node: NodeFacts, { signal }: WaitOptions): Promise<void> {
    const podDir = await this.#podDir(pod.metadata.uid);
    const volumes = usedVolumes(pod).filter(isReadOnlyVolume);
    await this.#all(volumes, async (volume) => await this.#setUpFiles(pod, podDir, volume, node, signal), signal);
  }

  /** The text of the files that the container's `fileKeyRef` entries name (L-230); unreadable ones are undefined. */
  async envFiles(pod: Pod, container: Container): Promise<EnvFiles> {
    const podDir = await this.#podDir(pod.metadata.uid);
    const files = new Map<string, string | undefined>();
    for (const ref of neededEnvFiles(container)) {
      const volume = (pod.spec.volumes ?? []).find((one) => one.name === ref.volumeName);
      const directory = volume === undefined ? undefined : hostPathOf(podDir, volume);
      if (directory !== undefined) files.set(envFileKey(ref), await this.#readInside(directory, ref.path));
    }
    return files;
  }

  /**
   * Everything the container mounts: its volumes in order, the hosts file, the termination log (L-232 … L-245).
   * Throws a VolumeError with reason `CreateContainerConfigError`.
   */
  async mounts(pod: Pod, container: Container, context: ContainerMountContext, { signal }: WaitOptions): Promise<readonly Mount[]> {
    const podDir = await this.#makePodDir(pod.metadata.uid);
    const problems: Problems = [];
    // What is wrong with the variables themselves is reported when the container's request is built.
    const environment = environmentOf(pod, container, context, []);
    const plans = planMounts(pod, container, { ...context, environment, users: context.users }, problems);
    const [problem] = problems;
    if (problem !== undefined) throw new VolumeError('mounts', problem, { reason: 'CreateContainerConfigError' });
    const mounts: Mount[] = [];
    for (const [index, plan] of plans.entries()) {
      mounts.push({ ...plan.mount, hostPath: await this.#hostPath(pod, podDir, container, plan, index, signal) });
    }
    const hosts = await this.#hostsMount(pod, podDir, container, context);
    const termination = await this.#terminationMount(podDir, container, context);
    return [...mounts, ...hosts, ...termination];
  }

  /**
   * Unmounts and deletes the Pod's volumes and frees its ids (L-065, L-314); what tells of its containers stays, for a Pod
   * that has ended is still shown. Only when none of its containers is left.
   */
  async tearDown(podUid: string, { signal }: WaitOptions): Promise<void> {
    const podDir = await this.#podDir(podUid);
    await this.#unmountBelow(podDir, signal);
    const removing = `${await this.#podsDir()}/${removingPrefix}${podUid}`;
    await this.#deletePodDir(removing, signal);
    // The markers first, and then all volumes at once: half of one is never taken for a volume.
    await removeTree(`${podDir}/plugins`, { signal });
    if (await this.#renameIfThere(`${podDir}/volumes`, removing)) await this.#deletePodDir(removing, signal);
    for (const name of ['volume-subpaths', hostsFileName, usersFileName]) await removeTree(`${podDir}/${name}`, { signal });
  }

  /** Unmounts and deletes everything the Pod has on disk. Only when none of its containers is left. */
  async remove(podUid: string, { signal }: WaitOptions): Promise<void> {
    const podDir = await this.#podDir(podUid);
    await this.#unmountBelow(podDir, signal);
    const removing = `${await this.#podsDir()}/${removingPrefix}${podUid}`;
    await this.#deletePodDir(removing, signal);
    // From here the Pod has nothing any more, even if the deletion is interrupted.
    if (await this.#renameIfThere(podDir, removing)) await this.#deletePodDir(removing, signal);
  }

  /** The Pods that have a folder. */
  async podUids(): Promise<readonly string[]> {
    return (await readdir(await this.#podsDir())).filter((name) => !name.startsWith(removingPrefix));
  }

  /**
   * Removes the folder of a Pod that nobody knows (L-312, L-337, L-338); answers why it stays, if it does: what no volume
   * of ours explains is left alone. The caller vouches that no container of the Pod is left.
   */
  async removeOrphan(podUid: string, { signal }: WaitOptions): Promise<string | undefined> {
    const foreign = await foreignContent(`${await this.#podsDir()}/${podUid}`);
    const message = foreign ?? (await this.#attempt(this.remove(podUid, { signal }), signal));
    return message === undefined ? undefined : `orphaned pod ${JSON.stringify(podUid)} found, but ${message}`;
  }

  /** Goes on with removals that were interrupted. */
  async finishRemovals({ signal }: WaitOptions): Promise<void> {
    const podsDir = await this.#podsDir();
    for (const name of await readdir(podsDir)) {
      if (!name.startsWith(removingPrefix)) continue;
      const message = await this.#attempt(this.#deletePodDir(`${podsDir}/${name}`, signal), signal);
      if (message !== undefined) this.#deps.log.warn('what a pod left cannot be removed', { path: `${podsDir}/${name}`, error: message });
    }
  }

  /** Where a Pod's other files are, for example `userns`. */
  async podDirectory(podUid: string): Promise<string> {
    return await this.#makePodDir(podUid);
  }

  async #all(volumes: readonly Volume[], work: (volume: Volume) => Promise<void>, signal: AbortSignal): Promise<void> {
    const outcomes = await Promise.allSettled(volumes.map(work));
    signal.throwIfAborted();
    const failed = outcomes.flatMap((outcome, index) => {
      const volume = volumes[index];
      return outcome.status === 'rejected' && volume !== undefined ? [{ volume: volume.name, cause: outcome.reason as unknown }] : [];
    });
    if (failed.length > 0) throw setUpError(failed);
  }

  async #setUpVolume(pod: Pod, podDir: string, volume: Volume, node: NodeFacts, signal: AbortSignal): Promise<void> {
    if (volume.emptyDir !== undefined) return await this.#setUpEmptyDir(pod, podDir, volume, volume.emptyDir, node, signal);
    if (volume.hostPath !== undefined) return await setUpHostPath(volume.hostPath);
    if (isReadOnlyVolume(volume)) return await this.#setUpFiles(pod, podDir, volume, node, signal);
    // The runtime mounts images itself.
    if (volume.image !== undefined) return;
    const kind = Object.keys(volume).find((key) => key !== 'name') ?? 'no source';
    throw new VolumeError('unsupported', `no volume plugin matched: ${kind} is not supported`);
  }

  /** L-315 … L-319. With the marker the content is trusted; only a mount that a reboot took is made again. */
  async #setUpEmptyDir(
    pod: Pod,
    podDir: string,
    volume: Volume,
    source: EmptyDirVolumeSource,
    node: NodeFacts,
    signal: AbortSignal,
  ): Promise<void> {
    const directory = volumeDir(podDir, 'empty-dir', volume.name);
    const ready = `${podDir}/plugins/kubernetes.io~empty-dir/${volume.name}/ready`;
    const isReady = await isThere(ready);
    const isNewMount = await this.#mountMedium(pod, directory, source, node, signal);
    if (isReady && !isNewMount) return;
    await mkdir(directory, { recursive: true, mode: 0o750 });
    await chmod(directory, 0o777);
    await this.#give(pod, directory, false);
    await mkdir(`${podDir}/plugins/kubernetes.io~empty-dir/${volume.name}`, { recursive: true, mode: 0o750 });
    await writeFile(ready, '');
  }

  /** True when something was mounted just now. */
  async #mountMedium(pod: Pod, directory: string, source: EmptyDirVolumeSource, node: NodeFacts, signal: AbortSignal): Promise<boolean> {
    const medium = source.medium ?? '';
    if (medium === '') return false;
    const isHugePages = medium === 'HugePages' || medium.startsWith('HugePages-');
    if (medium !== 'Memory' && !isHugePages) throw new VolumeError('medium', `unknown storage medium ${JSON.stringify(medium)}`);
    await mkdir(directory, { recursive: true, mode: 0o750 });
    const mounted = (await this.#deps.mounter.list()).filter((entry) => entry.mountPoint === directory).at(-1);
    if (!isHugePages) {
      if (mounted?.type === 'tmpfs') return false;
      await this.#mountTmpfs(directory, memoryLimit(pod, source, node), signal);
      return true;
    }
    const pageBytes = pageSizeOf(pod, medium);
    if (mounted?.type === 'hugetlbfs') {
      const found = mountedPageSize(mounted);
      if (found === pageBytes) return false;
      throw new VolumeError(
        'page-size',
        `pod ${pod.metadata.uid}: mounted dir ${directory} pagesize '${found ?? ''}' and requested medium size '${pageBytes}' differ`,
      );
    }
    await this.#deps.mounter.mount({ type: 'hugetlbfs', target: directory, options: [`pagesize=${pageBytes}`] }, { signal });
    return true;
  }

  async #mountTmpfs(target: string, sizeBytes: number, signal: AbortSignal): Promise<void> {
    const options = sizeBytes > 0 ? [`size=${sizeBytes}`] : [];
    if (this.#hasNoSwap) {
      const refused = await this.#attempt(
        this.#deps.mounter.mount({ type: 'tmpfs', target, options: [...options, 'noswap'] }, { signal }),
        signal,
      );
      if (refused === undefined) return;
      await this.#deps.mounter.mount({ type: 'tmpfs', target, options }, { signal });
      // Only now it is known that the option was the trouble.
      this.#hasNoSwap = false;
      return;
    }
    await this.#deps.mounter.mount({ type: 'tmpfs', target, options }, { signal });
  }

  /** downwardAPI and projected: a tmpfs, so that nothing of it stays on disk (L-322 … L-327). */
  async #setUpFiles(pod: Pod, podDir: string, volume: Volume, node: NodeFacts, signal: AbortSignal): Promise<void> {
    const directory = hostPathOf(podDir, volume) ?? '';
    const problems: Problems = [];
    const payload = payloadOf(pod, volume, node, problems);
    const [problem] = problems;
    if (problem !== undefined) throw new VolumeError('payload', problem);
    if (await this.#mountMedium(pod, directory, { medium: 'Memory' }, node, signal)) await chmod(directory, 0o777);
    await writePayload(directory, payload, async (made) => await this.#give(pod, made, true), this.#deps);
    const group = pod.spec.securityContext?.fsGroup;
    if (group !== undefined && (await lstat(directory)).gid !== group) await this.#give(pod, directory, true);
  }

  async #give(pod: Pod, path: string, readOnly: boolean): Promise<void> {
    const group = pod.spec.securityContext?.fsGroup;
    if (group !== undefined) await giveToGroup(path, group, readOnly, this.#deps.log);
  }

  async #readInside(directory: string, path: string): Promise<string | undefined> {
    try {
      const found = await openInside(directory, path);
      try {
        const info = await found.stat();
        // A FIFO would never end.
        if (!info.isFile() || info.size > maxEnvFileBytes) return undefined;
        return await readFile(`/proc/self/fd/${found.fd}`, 'utf8');
      } finally {
        await found.close();
      }
    } catch (error) {
      this.#deps.log.warn('env file not read', { path, error: messageOf(error) });
      return undefined;
    }
  }

  async #hostPath(pod: Pod, podDir: string, container: Container, plan: MountPlan, index: number, signal: AbortSignal): Promise<string> {
    if (plan.volume.image !== undefined) return '';
    const base = hostPathOf(podDir, plan.volume);
    if (base === undefined) {
      throw new VolumeError(
        'mounts',
        `cannot find volume ${JSON.stringify(plan.volume.name)} to mount into container ${JSON.stringify(container.name)}`,
        {
          reason: 'CreateContainerConfigError',
        },
      );
    }
    if (plan.subPath === '') return base;
    const target = `${podDir}/volume-subpaths/${plan.volume.name}/${container.name}/${index}`;
    const where = `for volumeMount ${JSON.stringify(plan.volume.name)} of container ${JSON.stringify(container.name)}`;
    // The texts say no more, so that a container learns nothing of the node (L-237).
    await this.#orHidden(pod, makeInside(base, plan.subPath), `failed to create subPath directory ${where}`, signal);
    await this.#orHidden(pod, this.#bindInside(base, plan.subPath, target, signal), `failed to prepare subPath ${where}`, signal);
    return target;
  }

  async #orHidden(pod: Pod, work: Promise<void>, message: string, signal: AbortSignal): Promise<void> {
    try {
      await work;
    } catch (cause) {
      signal.throwIfAborted();
      this.#deps.log.warn('subpath not usable', { pod: formatPod(pod), error: messageOf(cause) });
      throw new VolumeError('subpath', message, { cause, reason: 'CreateContainerConfigError' });
    }
  }

  /** A bind mount of the right thing is kept, a stale one is replaced (L-238). */
  async #bindInside(base: string, subPath: string, target: string, signal: AbortSignal): Promise<void> {
    const source = await openInside(base, subPath);
    try {
      const wanted = await source.stat();
      const stacked = (await this.#deps.mounter.list()).filter((entry) => entry.mountPoint === target).length;
      if (stacked > 0) {
        const [present] = await Promise.allSettled([stat(target)]);
        if (stacked === 1 && present.status === 'fulfilled' && present.value.dev === wanted.dev && present.value.ino === wanted.ino) return;
        for (let left = stacked; left > 0; left--) await this.#deps.mounter.unmount(target, { signal });
      }
      await makePlaceholder(target, wanted.isDirectory());
      await this.#deps.mounter.bind(source.fd, target, { signal });
    } finally {
      await source.close();
    }
  }

  /** L-240. Written only when the text differs, in place: running containers of the Pod have the file mounted. */
  async #hostsMount(pod: Pod, podDir: string, container: Container, context: ContainerMountContext): Promise<readonly Mount[]> {
    const isTaken = (container.volumeMounts ?? []).some((mount) => mount.mountPath === '/etc/hosts');
    const text = hostsFileText(pod, context.podIps, context.node);
    if (isTaken || text === undefined) return [];
    const path = `${podDir}/${hostsFileName}`;
    const present = await readIfThere(path);
    if (present !== text) {
      await writeFile(path, text, { mode: 0o644 });
      await chmod(path, 0o644);
    }
    return [plainMount('/etc/hosts', path, context)];
  }

  /** L-244. When the file cannot be made, the container runs without. */
  async #terminationMount(podDir: string, container: Container, context: ContainerMountContext): Promise<readonly Mount[]> {
    const containerPath = container.terminationMessagePath ?? '';
    if (containerPath === '') return [];
    const directory = `${podDir}/containers/${container.name}`;
    const path = `${directory}/${terminationLogName(context.attempt)}`;
    try {
      await mkdir(directory, { recursive: true, mode: 0o750 });
      await rm(path, { force: true });
      await writeFile(path, '', { mode: 0o666 });
      await chmod(path, 0o666);
      const oldest = context.attempt - keptTerminationLogs;
      for (const name of await readdir(directory)) {
        const attempt = Number.parseInt(name, 16);
        if (/^[0-9a-f]{8}$/.test(name) && (attempt < oldest || attempt > context.attempt))
          await rm(`${directory}/${name}`, { force: true });
      }
    } catch (error) {
      this.#deps.log.warn('termination log not made', { container: container.name, error: messageOf(error) });
      return [];
    }
    return [plainMount(containerPath, path, context)];
  }

  /** Newest mounts first, since they may sit on older ones. */
  async #unmountBelow(directory: string, signal: AbortSignal): Promise<void> {
    for (let round = 0; ; round++) {
      const mounted = (await this.#deps.mounter.list()).filter((entry) => entry.mountPoint.startsWith(`${directory}/`));
      if (mounted.length === 0) return;
      if (round === maxUnmountRounds) throw new VolumeError('still-mounted', `${mounted[0]?.mountPoint} is still mounted`);
      for (const { mountPoint } of [...mounted].reverse()) await this.#deps.mounter.unmount(mountPoint, { signal });
    }
  }

  /** Nothing is deleted while anything is mounted below. */
  async #deletePodDir(directory: string, signal: AbortSignal): Promise<void> {
    if (!(await isThere(directory))) return;
    await this.#unmountBelow(directory, signal);
    await removeTree(directory, { signal });
  }

  async #renameIfThere(from: string, to: string): Promise<boolean> {
    try {
      await rename(from, to);
      return true;
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return false;
      throw error;
    }
  }

  /** Undefined when it worked, else what went wrong; an abort is passed on. */
  async #attempt(work: Promise<void>, signal: AbortSignal): Promise<string | undefined> {
    const [outcome] = await Promise.allSettled([work]);
    signal.throwIfAborted();
    return outcome.status === 'rejected' ? messageOf(outcome.reason) : undefined;
  }

  /** Canonical, as the kernel lists mounts by their real paths. */
  async #podsDir(): Promise<string> {
    const path = `${this.#rootDir}/pods`;
    await mkdir(path, { recursive: true, mode: 0o750 });
    return await realpath(path);
  }

  async #podDir(podUid: string): Promise<string> {
    if (podUid === '' || podUid.startsWith('.') || podUid.includes('/')) {
      throw new VolumeError('pod-uid', `pod UID ${JSON.stringify(podUid)} cannot name a folder`);
    }
    return `${await this.#podsDir()}/${podUid}`;
  }

  async #makePodDir(podUid: string): Promise<string> {
    const path = await this.#podDir(podUid);
    if ((await mkdir(path, { recursive: true, mode: 0o750 })) !== undefined) await chmod(path, 0o750);
    return path;
  }
}

/** 8 lower-case hex digits (L-244), the same for the same attempt. */
export function terminationLogName(attempt: number): string {
  return attempt.toString(16).padStart(8, '0').slice(-8);
}

function volumeDir(podDir: string, plugin: string, name: string): string {
  return `${podDir}/volumes/kubernetes.io~${plugin}/${name}`;
}

/** Where a Pod's emptyDir on disk is. */
export function emptyDirPath(rootDir: string, podUid: string, volume: string): string {
  return volumeDir(`${rootDir}/pods/${podUid}`, 'empty-dir', volume);
}

/** Where the content of a volume of the agent's own making is; undefined for others. */
export function ownVolumePath(rootDir: string, podUid: string, volume: Volume): string | undefined {
  return volume.hostPath === undefined ? hostPathOf(`${rootDir}/pods/${podUid}`, volume) : undefined;
}

/** Where a volume's content is on the node; undefined for kinds without one. */
function hostPathOf(podDir: string, volume: Volume): string | undefined {
  if (volume.hostPath !== undefined) return volume.hostPath.path;
  if (volume.emptyDir !== undefined) return volumeDir(podDir, 'empty-dir', volume.name);
  if (volume.downwardAPI !== undefined) return volumeDir(podDir, 'downward-api', volume.name);
  if (volume.projected !== undefined) return volumeDir(podDir, 'projected', volume.name);
  return undefined;
}

function plainMount(containerPath: string, hostPath: string, context: ContainerMountContext): Mount {
  return {
    containerPath,
    hostPath,
    readonly: false,
    seLinuxRelabel: context.node.seLinux,
    propagation: 'private',
    recursiveReadOnly: false,
    ...userMappings(context.users),
  };
}

/** L-316: a memory volume always has a size. */
function memoryLimit(pod: Pod, source: EmptyDirVolumeSource, node: NodeFacts): number {
  const sizeLimit = source.sizeLimit === undefined ? 0 : wholeUnits(source.sizeLimit);
  const limits = [node.allocatable.memoryBytes, podLimit(pod.spec, 'memory') ?? 0, sizeLimit].filter((bytes) => bytes > 0);
  return limits.length === 0 ? 0 : Math.min(...limits);
}

/** L-317, in bytes. */
function pageSizeOf(pod: Pod, medium: string): number {
  if (medium !== 'HugePages') return wholeUnits(medium.slice('HugePages-'.length));
  const sizes = [...podRequests(pod.spec).keys()].flatMap((resource) => hugepageSizeOf(resource) ?? []);
  const [size] = sizes;
  if (sizes.length === 1 && size !== undefined) return size;
  throw new VolumeError(
    'page-size',
    `medium HugePages needs exactly one huge page size among the requests of the pod, found ${sizes.length}`,
  );
}

function mountedPageSize({ superOptions }: MountEntry): number | undefined {
  const text = superOptions.find((option) => option.startsWith('pagesize='))?.slice('pagesize='.length);
  return text === undefined ? undefined : wholeUnits(/[KMGT]$/.test(text) ? `${text}i` : text);
}

/** A file or directory to mount on, of the same kind as what is mounted. */
async function makePlaceholder(target: string, isDirectory: boolean): Promise<void> {
  const parent = target.slice(0, target.lastIndexOf('/'));
  await mkdir(parent, { recursive: true, mode: 0o750 });
  if ((await isThere(target)) && (await lstat(target)).isDirectory() !== isDirectory) {
    if (isDirectory) await rm(target);
    else await rmdir(target);
  }
  if (isDirectory) await mkdir(target, { recursive: true, mode: 0o750 });
  else await (await open(target, 'a', 0o640)).close();
}

/** What in a Pod's folder is none of ours: it would be somebody's data (L-338). */
async function foreignContent(podDir: string): Promise<string | undefined> {
  if (!(await lstat(podDir)).isDirectory()) return 'it is not a folder';
  const volumes = `${podDir}/volumes`;
  if (!(await isThere(volumes))) return undefined;
  for (const entry of await readdir(volumes, { withFileTypes: true })) {
    if (!entry.isDirectory()) return `${entry.name} under its volumes is not a folder`;
    if (!ownPlugins.has(entry.name) && (await readdir(`${volumes}/${entry.name}`)).length > 0) {
      return `volumes of ${entry.name} are still there`;
    }
  }
  return undefined;
}

async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false;
    throw error;
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
