// What is left on the node of everything that may run out, for eviction/: files of the kernel and its filesystems.
import type { CgroupLayout } from '../cgroup/layout.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import type { Signals } from '../eviction/thresholds.ts';
import { cgroupPath, kubepodsCgroup } from '../pod/cgroup-names.ts';
import type { CgroupFacts } from '../pod/node-facts.ts';
import type { CallOptions, Runtime } from '../runtime/runtime.ts';
import type { Clock, Instant } from '../std/clock.ts';
import { RuntimeError } from '../std/errors.ts';
import { type DiskSpace, type Host, maxPids, realHost } from './host.ts';
import { parseCounters, parseMemoryInfo, parseNumber, parseTaskCount } from './proc-files.ts';

export interface NodeSignalsOptions {
  readonly config: Pick<AgentConfig, 'rootDir'>;
  readonly cgroup: CgroupFacts;
  readonly layout: CgroupLayout;
}

export interface NodeSignalsDeps {
  readonly runtime: Pick<Runtime, 'imageFsInfo'>;
  readonly clock: Clock;
  /** The real machine when absent. */
  readonly host?: Host;
}

/** Where the runtime keeps images hardly ever changes: idle cost counts (D7). */
const imagePathLifeMs = 300_000;

export class NodeSignals {
  readonly #options: NodeSignalsOptions;
  readonly #deps: NodeSignalsDeps;
  readonly #host: Host;
  #imagePath: { readonly path: string; readonly at: Instant } | undefined;

  constructor(options: NodeSignalsOptions, deps: NodeSignalsDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#host = deps.host ?? realHost;
  }

  async read(options: CallOptions): Promise<Signals> {
    const host = this.#host;
    const [meminfo, loadavg, pidMax, pods, nodeFs, imageFs] = await Promise.all([
      host.readText('/proc/meminfo'),
      host.readText('/proc/loadavg'),
      maxPids(host),
      this.#podsMemory(),
      host.disk(this.#options.config.rootDir),
      this.#imageFolder(options).then((path) => host.disk(path)),
    ]);
    const memory = parseMemoryInfo(meminfo ?? '');
    const tasks = parseTaskCount(loadavg ?? '');
    return {
      ...(memory === undefined
        ? {}
        : { 'memory.available': { available: memory.totalBytes - memory.workingSetBytes, capacity: memory.totalBytes } }),
      ...(pods === undefined ? {} : { 'allocatableMemory.available': pods }),
      ...(tasks === undefined || pidMax === undefined ? {} : { 'pid.available': { available: pidMax - tasks, capacity: pidMax } }),
      ...diskSignals('nodefs', nodeFs),
      ...diskSignals('imagefs', imageFs),
      // Writable layers are kept where the images are.
      ...diskSignals('containerfs', imageFs),
    };
  }

  /** Whether removing images gives room to the filesystem that the signal is about. */
  async isHelpedByImages(signal: string, options: CallOptions): Promise<boolean> {
    if (!signal.startsWith('nodefs.')) return true;
    const paths = [this.#options.config.rootDir, await this.#imageFolder(options)];
    // A revision begins with the device.
    const [node, images] = await Promise.all(paths.map(async (path) => (await this.#host.revision(path))?.split(' ')[0]));
    return node === images;
  }

  async #imageFolder(options: CallOptions): Promise<string> {
    const { runtime, clock } = this.#deps;
    const known = this.#imagePath;
    if (known !== undefined && clock.now() - known.at < imagePathLifeMs) return known.path;
    try {
      const path = (await runtime.imageFsInfo(options))[0]?.mountpoint;
      if (path !== undefined && path !== '') {
        this.#imagePath = { path, at: clock.now() };
        return path;
      }
    } catch (error) {
      options.signal.throwIfAborted();
      if (!(error instanceof RuntimeError)) throw error;
    }
    return known?.path ?? this.#options.config.rootDir;
  }

  /** Of what all Pods may have together; undefined where they are not limited. */
  async #podsMemory(): Promise<Signals[string] | undefined> {
    const { cgroup, layout } = this.#options;
    const isV2 = layout.version === 2;
    const hierarchy = layout.hierarchies.find((one) => (isV2 ? one.unified : one.controllers.includes('memory')));
    if (!cgroup.perQos || hierarchy === undefined) return undefined;
    const folder = `${hierarchy.mountPoint}${cgroupPath(kubepodsCgroup(cgroup.root), cgroup.driver)}`;
    const files = isV2 ? ['memory.max', 'memory.current'] : ['memory.limit_in_bytes', 'memory.usage_in_bytes'];
    const [limit, usage, stat] = await Promise.all([...files, 'memory.stat'].map((file) => this.#host.readText(`${folder}/${file}`)));
    const [capacity, used] = [parseNumber(limit), parseNumber(usage)];
    // Without a limit version 1 says the largest number there is, and version 2 `max`.
    if (capacity === undefined || used === undefined || capacity > Number.MAX_SAFE_INTEGER) return undefined;
    const reclaimable = parseCounters(stat ?? '').get(isV2 ? 'inactive_file' : 'total_inactive_file') ?? 0;
    return { available: Math.max(0, capacity - Math.max(0, used - reclaimable)), capacity };
  }
}

function diskSignals(name: string, disk: DiskSpace | undefined): Signals {
  if (disk === undefined) return {};
  return {
    [`${name}.available`]: { available: disk.availableBytes, capacity: disk.capacityBytes },
    // File systems that make inodes as they go count none.
    ...(disk.inodes === 0 ? {} : { [`${name}.inodesFree`]: { available: disk.inodesFree, capacity: disk.inodes } }),
  };
}
