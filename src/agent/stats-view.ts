// What the node, its Pods and containers use (views.ts StatsView): numbers of the runtime joined with the Pods that the
// status store knows, and files of the kernel for the node. Nothing is read while nobody asks.
import type { ContainerStatus, PodStatus } from '../api/gen/kubernetes.ts';
import type { Pod } from '../api/pod.ts';
import type { CgroupLayout } from '../cgroup/layout.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import { cgroupPath, kubepodsCgroup } from '../pod/cgroup-names.ts';
import type { CgroupFacts } from '../pod/node-facts.ts';
import { podLogDirectory } from '../pod/sandbox-config.ts';
import type { CallOptions, ContainerStats, CpuStats, FilesystemUsage, MemoryStats, PodSandboxStats, Runtime } from '../runtime/runtime.ts';
import type {
  CgroupUsage,
  ContainerUsage,
  CpuUsage,
  FilesystemStats,
  LogUsage,
  MemoryUsage,
  NodeUsage,
  PodUsage,
  StatsView,
  ViewCallOptions,
  VolumeUsage,
} from '../server/views.ts';
import type { StatusView } from '../status/status-store.ts';
import { raceSignal } from '../std/async.ts';
import { type Clock, fromRfc3339, type Instant } from '../std/clock.ts';
import { messageOf, RuntimeError } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import type { Metrics } from '../std/metrics.ts';
import { idOf, parsePressure, podCgroupUsages } from './cgroup-usage.ts';
import { type DiskSpace, type Host, maxPids, realHost } from './host.ts';
import {
  parseCounters,
  parseKernelStat,
  parseMemoryInfo,
  parseNetworkDevices,
  parseNumber,
  parseProcessStat,
  parseTaskCount,
} from './proc-files.ts';
import { spaceOf, volumeUsages } from './volume-usage.ts';

export interface AgentStatsOptions {
  readonly config: Pick<AgentConfig, 'rootDir' | 'podLogsDir'>;
  readonly cgroup: CgroupFacts;
  readonly layout: CgroupLayout;
}

export interface AgentStatsDeps {
  readonly runtime: Pick<Runtime, 'listContainerStats' | 'listPodSandboxStats' | 'imageFsInfo'>;
  readonly status: Pick<StatusView, 'list'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** The real machine when absent. */
  readonly host?: Host;
}

/** How old an answer may be. */
const freshMs = 5000;
/** `volumeStatsAggPeriod` of a kubelet. */
const volumesFreshMs = 60_000;
/** How long the first question waits for its second sample. */
const windowMs = 1000;
/** The shortest time a rate is made over; the runtime's clock ticks on its own. */
const minWindowMs = 500;
/** A sample older than this says nothing of the present: the rate is measured anew. */
const staleMs = 120_000;

export class AgentStats implements StatsView {
  readonly #options: AgentStatsOptions;
  readonly #deps: AgentStatsDeps;
  readonly #host: Host;
  readonly #rates = new Rates();
  readonly #node: Shared<NodeUsage>;
  readonly #pods: Shared<readonly PodUsage[]>;
  readonly #cgroups: Shared<readonly CgroupUsage[]>;
  readonly #volumes: Shared<ReadonlyMap<string, readonly VolumeUsage[]>>;
  #hasSandboxStats = true;

  constructor(options: AgentStatsOptions, deps: AgentStatsDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#host = deps.host ?? realHost;
    this.#node = new Shared(deps.clock, (call) => this.#sampleNode(call));
    this.#pods = new Shared(deps.clock, (call) => this.#samplePods(call));
    this.#cgroups = new Shared(deps.clock, () => this.#readCgroups());
    const measured = volumeUsages({ rootDir: options.config.rootDir }, { ...deps, host: this.#host });
    this.#volumes = new Shared(
      deps.clock,
      (call) =>
        measured(
          deps.status.list().map(({ pod }) => pod),
          call,
        ),
      volumesFreshMs,
    );
  }

  /** Up to five seconds old. A first question takes a second, for the rates need two samples. */
  node(options: ViewCallOptions): Promise<NodeUsage> {
    return this.#node.get(options);
  }

  /** As `node`. Throws a RuntimeError when the runtime cannot be asked. */
  pods(options: ViewCallOptions): Promise<readonly PodUsage[]> {
    return this.#pods.get(options);
  }

  async logs(): Promise<readonly LogUsage[]> {
    const usages = this.#deps.status.list().flatMap(({ pod, status }) => {
      const { namespace, name, uid } = pod.metadata;
      const folder = podLogDirectory(pod, this.#options.config.podLogsDir);
      return runningOf(status).map(async ({ name: container }) => {
        const { usedBytes } = await this.#host.folderUsage(`${folder}/${container}`);
        return { namespace, pod: name, uid, container, usedBytes };
      });
    });
    return await Promise.all(usages);
  }

  /** Up to five seconds old. */
  cgroups(options: ViewCallOptions): Promise<readonly CgroupUsage[]> {
    return this.#cgroups.get(options);
  }

  /** Up to a minute old; so many files may have to be looked at. */
  volumes(options: ViewCallOptions): Promise<ReadonlyMap<string, readonly VolumeUsage[]>> {
    return this.#volumes.get(options);
  }

  async #readCgroups(): Promise<readonly CgroupUsage[]> {
    const { cgroup, layout } = this.#options;
    if (!cgroup.perQos) return [];
    const deps = { host: this.#host, clock: this.#deps.clock };
    const all = this.#deps.status
      .list()
      .map(({ pod, status }) => podCgroupUsages({ pod, running: runningOf(status), cgroup, layout }, deps));
    return (await Promise.all(all)).flat();
  }

  async #sampleNode(options: CallOptions): Promise<NodeUsage> {
    const first = await this.#nodeUsage(options);
    if (first.cpu === undefined || first.cpu.usageNanoCores !== undefined) return first;
    await this.#deps.clock.sleep(windowMs, options.signal);
    return await this.#nodeUsage(options);
  }

  async #samplePods(options: CallOptions): Promise<readonly PodUsage[]> {
    const first = await this.#podUsages(options);
    const isComplete = first.every((pod) =>
      [pod, ...pod.containers].every(({ cpu }) => cpu === undefined || cpu.usageNanoCores !== undefined),
    );
    if (isComplete) return first;
    await this.#deps.clock.sleep(windowMs, options.signal);
    return await this.#podUsages(options);
  }

  async #nodeUsage(options: CallOptions): Promise<NodeUsage> {
    const text = async (path: string): Promise<string> => (await this.#host.readText(path)) ?? '';
    const { rootDir } = this.#options.config;
    const [stat, meminfo, vmstat, devices, loadavg, pidMax, disk, imageFs, ...pressures] = await Promise.all([
      text('/proc/stat'),
      text('/proc/meminfo'),
      text('/proc/vmstat'),
      text('/proc/net/dev'),
      text('/proc/loadavg'),
      maxPids(this.#host),
      this.#host.disk(rootDir),
      this.#imageFs(options),
      ...['cpu', 'memory', 'io'].map((of) => this.#host.readText(`/proc/pressure/${of}`)),
    ]);
    const [cpuPressure, memoryPressure, ioPressure] = pressures.map(parsePressure);
    const time = this.#deps.clock.now();
    const kernel = parseKernelStat(stat);
    const memory = parseMemoryInfo(meminfo);
    const interfaces = parseNetworkDevices(devices);
    const tasks = parseTaskCount(loadavg);
    const faults = parseCounters(vmstat);
    const startedAt = (kernel?.bootedAtSeconds ?? 0) * 1000;
    return {
      startedAt,
      cpu: kernel === undefined ? undefined : this.#cpu('node', time, kernel.busyNanoseconds),
      memory:
        memory === undefined
          ? undefined
          : {
              time,
              availableBytes: memory.totalBytes - memory.workingSetBytes,
              usageBytes: memory.usageBytes,
              workingSetBytes: memory.workingSetBytes,
              rssBytes: memory.rssBytes,
              pageFaults: faults.get('pgfault'),
              majorPageFaults: faults.get('pgmajfault'),
            },
      network: interfaces.length === 0 ? undefined : { time, interfaces },
      fs: disk === undefined ? undefined : filesystem(time, disk),
      imageFs,
      // Writable layers are kept where the images are.
      containerFs: imageFs,
      swap:
        memory === undefined
          ? undefined
          : { time, availableBytes: memory.swapFreeBytes, usageBytes: memory.swapTotalBytes - memory.swapFreeBytes },
      pressure: { cpu: cpuPressure, memory: memoryPressure, io: ioPressure },
      machine:
        kernel === undefined || memory === undefined
          ? undefined
          : { cores: kernel.cores, memoryBytes: memory.totalBytes, swapBytes: memory.swapTotalBytes },
      rlimit: tasks === undefined || pidMax === undefined ? undefined : { time, maxPid: pidMax, processes: tasks },
      systemContainers: [...(await this.#agentUsage(time, startedAt)), ...(await this.#kubepodsUsage(time, startedAt))],
    };
  }

  async #imageFs(options: CallOptions): Promise<FilesystemStats | undefined> {
    try {
      const usage = (await this.#deps.runtime.imageFsInfo(options))[0];
      return usage === undefined ? undefined : await this.#withDisk(usage);
    } catch (error) {
      options.signal.throwIfAborted();
      if (!(error instanceof RuntimeError)) throw error;
      this.#deps.log.debug('usage by images cannot be read', { error: messageOf(error) });
      return undefined;
    }
  }

  async #withDisk(usage: FilesystemUsage): Promise<FilesystemStats> {
    const { timestamp, mountpoint, usedBytes, inodesUsed } = usage;
    const disk = mountpoint === '' ? undefined : await this.#host.disk(mountpoint);
    return { ...(disk === undefined ? {} : spaceOf(disk)), time: timestamp, usedBytes, inodesUsed };
  }

  /** The agent itself. */
  async #agentUsage(time: Instant, bootedAt: Instant): Promise<readonly ContainerUsage[]> {
    const [stat, status] = await Promise.all([this.#host.readText('/proc/self/stat'), this.#host.readText('/proc/self/status')]);
    const self = parseProcessStat(stat ?? '');
    const kib = (name: string): number | undefined => parseNumber(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status ?? '')?.[1]);
    const rss = kib('VmRSS');
    if (self === undefined || rss === undefined) return [];
    const rssBytes = rss * 1024;
    return [
      {
        name: 'kubelet',
        startedAt: bootedAt + self.startedAfterBootMs,
        cpu: this.#cpu('agent', time, self.cpuNanoseconds),
        memory: {
          time,
          usageBytes: rssBytes,
          workingSetBytes: rssBytes,
          rssBytes: (kib('RssAnon') ?? rss) * 1024,
          pageFaults: self.minorFaults,
          majorPageFaults: self.majorFaults,
        },
      },
    ];
  }

  /** All Pods together, by their common cgroup (H-286). */
  async #kubepodsUsage(time: Instant, bootedAt: Instant): Promise<readonly ContainerUsage[]> {
    const { cgroup, layout } = this.#options;
    if (!cgroup.perQos) return [];
    const name = cgroupPath(kubepodsCgroup(cgroup.root), cgroup.driver);
    const read = async (controller: string, file: string): Promise<string | undefined> => {
      const hierarchy = layout.hierarchies.find((one) => (layout.version === 2 ? one.unified : one.controllers.includes(controller)));
      return hierarchy === undefined ? undefined : await this.#host.readText(`${hierarchy.mountPoint}${name}/${file}`);
    };
    const isV2 = layout.version === 2;
    const [usage, limit, stat, cpu] = await Promise.all([
      read('memory', isV2 ? 'memory.current' : 'memory.usage_in_bytes').then(parseNumber),
      read('memory', isV2 ? 'memory.max' : 'memory.limit_in_bytes').then(parseNumber),
      read('memory', 'memory.stat').then((text) => parseCounters(text ?? '')),
      read('cpuacct', isV2 ? 'cpu.stat' : 'cpuacct.usage'),
    ]);
    const cpuNanoseconds = isV2 ? microseconds(parseCounters(cpu ?? '').get('usage_usec')) : parseNumber(cpu);
    if (usage === undefined || cpuNanoseconds === undefined) return [];
    const workingSetBytes = Math.max(0, usage - (stat.get(isV2 ? 'inactive_file' : 'total_inactive_file') ?? 0));
    return [
      {
        name: 'pods',
        startedAt: bootedAt,
        cpu: this.#cpu('kubepods', time, cpuNanoseconds),
        memory: {
          time,
          // Without a limit version 1 says the largest number there is.
          availableBytes: limit === undefined || limit > Number.MAX_SAFE_INTEGER ? undefined : Math.max(0, limit - workingSetBytes),
          usageBytes: usage,
          workingSetBytes,
          rssBytes: stat.get(isV2 ? 'anon' : 'total_rss'),
          pageFaults: stat.get(isV2 ? 'pgfault' : 'total_pgfault'),
          majorPageFaults: stat.get(isV2 ? 'pgmajfault' : 'total_pgmajfault'),
        },
      },
    ];
  }

  async #podUsages(options: CallOptions): Promise<readonly PodUsage[]> {
    const { sandboxes, containers: stats } = await this.#runtimeStats(options);
    const views = this.#deps.status.list();
    const byPod = new Map<string, PodSandboxStats>();
    for (const sandbox of sandboxes) {
      const other = byPod.get(sandbox.podUid);
      // Of a Pod's sandboxes the living one was measured last.
      if (other === undefined || (sandbox.cpu?.timestamp ?? 0) >= (other.cpu?.timestamp ?? 0)) byPod.set(sandbox.podUid, sandbox);
    }
    const byContainer = new Map(stats.map((one) => [one.id, one]));
    this.#rates.keepOnly(new Set([...byPod.keys()].map(podKey).concat([...byContainer.keys()].map(containerKey), machineKeys)));
    const usages = await Promise.all(views.map(({ pod, status }) => this.#podUsage(pod, status, byPod.get(pod.metadata.uid), byContainer)));
    return usages.filter(({ containers }) => containers.length > 0);
  }

  async #podUsage(
    pod: Pod,
    status: PodStatus,
    sandbox: PodSandboxStats | undefined,
    containers: ReadonlyMap<string, ContainerStats>,
  ): Promise<PodUsage> {
    const { namespace, name, uid } = pod.metadata;
    const running = runningOf(status).flatMap((container) => {
      const startedAt = fromRfc3339(container.state?.running?.startedAt ?? '');
      const stats = containers.get(idOf(container));
      return startedAt === undefined || stats === undefined ? [] : [{ name: container.name, startedAt, stats }];
    });
    const logDirectory = podLogDirectory(pod, this.#options.config.podLogsDir);
    return {
      namespace,
      name,
      uid,
      startedAt: fromRfc3339(status.startTime ?? '') ?? Math.min(...running.map(({ startedAt }) => startedAt)),
      cpu: this.#runtimeCpu(podKey(uid), sandbox?.cpu),
      memory: memoryUsage(sandbox?.memory),
      network:
        pod.spec.hostNetwork === true || sandbox?.network === undefined
          ? undefined
          : // containerd does not say when it counted.
            { time: sandbox.network.timestamp || this.#deps.clock.now(), interfaces: sandbox.network.interfaces },
      processCount: sandbox?.processCount,
      containers: await Promise.all(
        running.map(async ({ name: containerName, startedAt, stats }) => ({
          name: containerName,
          startedAt,
          cpu: this.#runtimeCpu(containerKey(stats.id), stats.cpu),
          memory: memoryUsage(stats.memory),
          rootfs: await this.#rootfs(stats),
          logs: await this.#logs(`${logDirectory}/${containerName}`),
        })),
      ),
    };
  }

  /** A layer without a time has not been measured yet. */
  async #rootfs({ writableLayer }: ContainerStats): Promise<FilesystemStats | undefined> {
    return writableLayer === undefined || writableLayer.timestamp === 0 ? undefined : await this.#withDisk(writableLayer);
  }

  async #logs(folder: string): Promise<FilesystemStats | undefined> {
    const disk = await this.#host.disk(folder);
    if (disk === undefined) return undefined;
    const { usedBytes, files } = await this.#host.folderUsage(folder);
    return { ...spaceOf(disk), time: this.#deps.clock.now(), usedBytes, inodesUsed: files };
  }

  /** Sandboxes with their containers in one call, or the containers alone where the runtime cannot do that. */
  async #runtimeStats(
    options: CallOptions,
  ): Promise<{ readonly sandboxes: readonly PodSandboxStats[]; readonly containers: readonly ContainerStats[] }> {
    const { runtime, log } = this.#deps;
    if (this.#hasSandboxStats) {
      try {
        const sandboxes = await runtime.listPodSandboxStats({}, options);
        return { sandboxes, containers: sandboxes.flatMap(({ containers }) => containers) };
      } catch (error) {
        options.signal.throwIfAborted();
        if (!(error instanceof RuntimeError)) throw error;
        // One that does not answer this question does not answer the other either.
        if (error.code === 'deadline-exceeded' || error.code === 'unavailable') throw error;
        log.debug('runtime has no usage by pod', { error: messageOf(error) });
        if (error.code === 'unimplemented') this.#hasSandboxStats = false;
      }
    }
    return { sandboxes: [], containers: await runtime.listContainerStats({}, options) };
  }

  #runtimeCpu(key: string, cpu: CpuStats | undefined): CpuUsage | undefined {
    return cpu?.usageCoreNanoSeconds === undefined
      ? undefined
      : this.#cpu(key, cpu.timestamp, cpu.usageCoreNanoSeconds, cpu.usageNanoCores);
  }

  #cpu(key: string, time: Instant, usageCoreNanoSeconds: number, known?: number): CpuUsage {
    // A runtime that has seen one sample only says 0.
    const runtimeRate = known === 0 ? undefined : known;
    return { time, usageCoreNanoSeconds, usageNanoCores: this.#rates.sample(key, time, usageCoreNanoSeconds) ?? runtimeRate };
  }
}

const machineKeys = ['node', 'agent', 'kubepods'];
const podKey = (uid: string): string => `pod/${uid}`;
const containerKey = (id: string): string => `container/${id}`;

const runningOf = (status: PodStatus): readonly ContainerStatus[] =>
  [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])].filter(({ state }) => state?.running !== undefined);

function memoryUsage(memory: MemoryStats | undefined): MemoryUsage | undefined {
  if (memory?.workingSetBytes === undefined) return undefined;
  const { timestamp, workingSetBytes, availableBytes, usageBytes, rssBytes, pageFaults, majorPageFaults } = memory;
  return { time: timestamp, workingSetBytes, availableBytes, usageBytes, rssBytes, pageFaults, majorPageFaults };
}

function filesystem(time: Instant, disk: DiskSpace): FilesystemStats {
  const { capacityBytes, freeBytes, inodes, inodesFree } = disk;
  return { ...spaceOf(disk), time, usedBytes: capacityBytes - freeBytes, inodesUsed: inodes - inodesFree };
}

function microseconds(value: number | undefined): number | undefined {
  return value === undefined ? undefined : value * 1000;
}

/** Growing counters → rates per second, each from its last two samples. */
class Rates {
  #samples = new Map<string, { readonly time: Instant; readonly total: number; readonly rate: number | undefined }>();

  /** 10⁻⁹ cores for a total in nanoseconds; undefined before a second sample that is neither too near nor too far. */
  sample(key: string, time: Instant, total: number): number | undefined {
    const last = this.#samples.get(key);
    const elapsedMs = last === undefined ? Number.POSITIVE_INFINITY : time - last.time;
    // Too near: the numbers are too coarse, what was known still holds.
    if (last !== undefined && elapsedMs < minWindowMs && total >= last.total) return last.rate;
    const isUsable = last !== undefined && elapsedMs >= minWindowMs && elapsedMs <= staleMs && total >= last.total;
    const rate = isUsable ? ((total - last.total) / elapsedMs) * 1000 : undefined;
    this.#samples.set(key, { time, total, rate });
    return rate;
  }

  keepOnly(keys: ReadonlySet<string>): void {
    this.#samples = new Map([...this.#samples].filter(([key]) => keys.has(key)));
  }
}

/** A value that several may ask for at once: it is read once for all of them, and kept for some seconds. */
class Shared<T> {
  readonly #clock: Clock;
  readonly #keptMs: number;
  readonly #read: (options: CallOptions) => Promise<T>;
  #known: { readonly value: T; readonly at: Instant } | undefined;
  #running: { readonly value: Promise<T>; readonly signal: AbortSignal } | undefined;

  constructor(clock: Clock, read: (options: CallOptions) => Promise<T>, keptMs = freshMs) {
    this.#clock = clock;
    this.#keptMs = keptMs;
    this.#read = read;
  }

  async get({ signal }: ViewCallOptions): Promise<T> {
    for (;;) {
      signal.throwIfAborted();
      if (this.#known !== undefined && this.#clock.now() - this.#known.at < this.#keptMs) return this.#known.value;
      const running = this.#running ?? this.#start(signal);
      try {
        return await raceSignal(running.value, signal);
      } catch (error) {
        // Whoever started it went away: somebody who still wants it starts again.
        if (signal.aborted || !running.signal.aborted) throw error;
      }
    }
  }

  #start(signal: AbortSignal): { readonly value: Promise<T>; readonly signal: AbortSignal } {
    const value = (async () => {
      try {
        const read = await this.#read({ signal });
        this.#known = { value: read, at: this.#clock.now() };
        return read;
      } finally {
        this.#running = undefined;
      }
    })();
    this.#running = { value, signal };
    // Those who wait hear of a failure; when all went away nobody has to.
    value.catch(() => undefined);
    return this.#running;
  }
}
