// What the kernel counts for one control group, of version 1 or 2 (H-286, H-423): files in, numbers out. What a file does
// not say, or a machine does not have, is left out.
import type { ContainerStatus } from '../api/gen/kubernetes.ts';
import type { Pod } from '../api/pod.ts';
import type { CgroupLayout } from '../cgroup/layout.ts';
import { podCgroupPath } from '../pod/cgroup-names.ts';
import type { CgroupFacts } from '../pod/node-facts.ts';
import type { CgroupNumbers, CgroupUsage, DeviceTraffic, PressureStall, PressureUsage } from '../server/views.ts';
import type { Clock } from '../std/clock.ts';
import type { Host } from './host.ts';
import { parseCounters, parseNetworkDevices, parseNumber } from './proc-files.ts';

export interface PodCgroups {
  readonly pod: Pod;
  readonly running: readonly ContainerStatus[];
  readonly cgroup: CgroupFacts;
  readonly layout: CgroupLayout;
}

/** The Pod's own group first, then those of its running containers; nothing of a Pod without any. */
export async function podCgroupUsages(
  { pod, running, cgroup, layout }: PodCgroups,
  { host, clock }: { readonly host: Pick<Host, 'readText' | 'list'>; readonly clock: Clock },
): Promise<readonly CgroupUsage[]> {
  const path = podCgroupPath(pod, cgroup);
  // Each runtime has its own way of making a directory's name of a container's id.
  const folders = await host.list(`${mountPointOf(layout, 'memory') ?? ''}${path}`);
  const time = clock.now();
  const usage = async (id: string, container: string, image: string, containerId: string) => {
    const [{ pid, ...reading }, pressure] = await Promise.all([readCgroup(host, layout, id), readPressure(host, layout, id)]);
    const { namespace, name, uid } = pod.metadata;
    const where = { namespace, pod: name, podUid: uid, container, id, image, containerId, time };
    return { pid, usage: { ...where, ...reading, pressure, interfaces: [] } };
  };
  const containers = await Promise.all(
    running.flatMap((container) => {
      const containerId = idOf(container);
      const folder = folders.find((one) => containerId !== '' && one.includes(containerId));
      return folder === undefined ? [] : [usage(`${path}/${folder}`, container.name, container.image, containerId)];
    }),
  );
  if (containers.length === 0) return [];
  const pid = containers.find((one) => one.pid !== undefined)?.pid;
  const hasNetwork = pod.spec.hostNetwork !== true && pid !== undefined;
  const interfaces = hasNetwork ? parseNetworkDevices((await host.readText(`/proc/${pid}/net/dev`)) ?? '') : [];
  return [{ ...(await usage(path, '', '', '')).usage, interfaces }, ...containers.map((one) => one.usage)];
}

/** The runtime's id, without the scheme. */
export function idOf({ containerID = '' }: ContainerStatus): string {
  return containerID.slice(containerID.indexOf('://') + 3);
}

interface CgroupReading {
  readonly numbers: CgroupNumbers;
  readonly traffic: readonly DeviceTraffic[];
  /** A process of the group; undefined when it has none of its own. */
  readonly pid: number | undefined;
}

type Controller = 'cpu' | 'cpuacct' | 'memory' | 'pids' | 'blkio';

/** Reads a file of `name` (a path below the hierarchy's mount point) where the controller lives. */
type ReadFile = (controller: Controller, file: string) => Promise<string | undefined>;

/** Where the controller's hierarchy is mounted. */
function mountPointOf(layout: CgroupLayout, controller: Controller): string | undefined {
  return layout.hierarchies.find((one) => (layout.version === 2 ? one.unified : one.controllers.includes(controller)))?.mountPoint;
}

/** All of it; empty when there is no such group. */
async function readCgroup(host: Pick<Host, 'readText'>, layout: CgroupLayout, name: string): Promise<CgroupReading> {
  const read: ReadFile = async (controller, file) => {
    const mountPoint = mountPointOf(layout, controller);
    return mountPoint === undefined ? undefined : await host.readText(`${mountPoint}${name}/${file}`);
  };
  const numbers = layout.version === 2 ? await readVersion2(read) : await readVersion1(read);
  const processes = (await read('memory', 'cgroup.procs'))?.match(/^\d+$/gm);
  const [threads, threadsMax] = await Promise.all(['pids.current', 'pids.max'].map(async (file) => parseNumber(await read('pids', file))));
  return {
    numbers: defined({ ...numbers, processes: processes === undefined ? undefined : (processes?.length ?? 0), threads, threadsMax }),
    traffic: layout.version === 2 ? parseIoStat((await read('blkio', 'io.stat')) ?? '') : await readThrottled(read),
    pid: processes?.[0] === undefined ? undefined : Number(processes[0]),
  };
}

/** How long tasks of the group waited; nothing on version 1. */
async function readPressure(host: Pick<Host, 'readText'>, layout: CgroupLayout, name: string): Promise<PressureUsage> {
  if (layout.version !== 2) return {};
  const folder = `${mountPointOf(layout, 'cpu') ?? ''}${name}`;
  const [cpu, memory, io] = await Promise.all(
    ['cpu', 'memory', 'io'].map(async (of) => parsePressure(await host.readText(`${folder}/${of}.pressure`))),
  );
  return { cpu, memory, io };
}

/** A file as /proc/pressure/cpu; undefined when there is none. */
export function parsePressure(text: string | undefined): PressureStall | undefined {
  const line = (kind: 'full' | 'some') => {
    const match = new RegExp(`^${kind} avg10=([\\d.]+) avg60=([\\d.]+) avg300=([\\d.]+) total=(\\d+)$`, 'm').exec(text ?? '');
    const [avg10, avg60, avg300, total] = (match ?? []).slice(1).map(Number);
    return { total: total ?? 0, avg10: avg10 ?? 0, avg60: avg60 ?? 0, avg300: avg300 ?? 0 };
  };
  return text === undefined || !/^some /m.test(text) ? undefined : { full: line('full'), some: line('some') };
}

async function readVersion2(read: ReadFile): Promise<CgroupNumbers> {
  const [cpuStat, memoryStat, events] = await Promise.all([
    counters(read, 'cpu', 'cpu.stat'),
    counters(read, 'memory', 'memory.stat'),
    counters(read, 'memory', 'memory.events'),
  ]);
  const number = async (file: string): Promise<number | undefined> => parseNumber(await read('memory', file));
  const [quota, period] = ((await read('cpu', 'cpu.max')) ?? '').trim().split(' ');
  const weight = parseNumber(await read('cpu', 'cpu.weight'));
  const [usage, peak, limit, swap, swapLimit] = await Promise.all(
    ['memory.current', 'memory.peak', 'memory.max', 'memory.swap.current', 'memory.swap.max'].map(number),
  );
  return {
    cpuUserSeconds: scaled(cpuStat.get('user_usec'), 1e-6),
    cpuSystemSeconds: scaled(cpuStat.get('system_usec'), 1e-6),
    cpuPeriods: cpuStat.get('nr_periods'),
    cpuThrottledPeriods: cpuStat.get('nr_throttled'),
    cpuThrottledSeconds: scaled(cpuStat.get('throttled_usec'), 1e-6),
    cpuQuota: parseNumber(quota),
    cpuPeriod: parseNumber(period),
    // The inverse of what runtimes make of shares.
    cpuShares: weight === undefined ? undefined : Math.round(2 + ((weight - 1) * 262_142) / 9_999),
    memoryCacheBytes: memoryStat.get('file'),
    memoryMappedBytes: memoryStat.get('file_mapped'),
    memoryKernelBytes: memoryStat.get('kernel'),
    memoryMaxBytes: peak,
    memoryLimitBytes: usage === undefined ? undefined : (limit ?? 0),
    swapBytes: swap,
    swapLimitBytes: swapLimit,
    oomKills: events.get('oom_kill'),
  };
}

/** What version 1 says instead of "no limit". */
const unlimited = 2 ** 60;

async function readVersion1(read: ReadFile): Promise<CgroupNumbers> {
  const [cpuStat, times, memoryStat, oom] = await Promise.all([
    counters(read, 'cpu', 'cpu.stat'),
    counters(read, 'cpuacct', 'cpuacct.stat'),
    counters(read, 'memory', 'memory.stat'),
    counters(read, 'memory', 'memory.oom_control'),
  ]);
  const [quota, period, shares] = await Promise.all(
    ['cpu.cfs_quota_us', 'cpu.cfs_period_us', 'cpu.shares'].map(async (file) => parseNumber(await read('cpu', file))),
  );
  const [peak, limit, both] = await Promise.all(
    ['memory.max_usage_in_bytes', 'memory.limit_in_bytes', 'memory.memsw.limit_in_bytes'].map(async (file) =>
      parseNumber(await read('memory', file)),
    ),
  );
  const swap = memoryStat.get('total_swap');
  return {
    // In hundredths of a second.
    cpuUserSeconds: scaled(times.get('user'), 0.01),
    cpuSystemSeconds: scaled(times.get('system'), 0.01),
    cpuPeriods: cpuStat.get('nr_periods'),
    cpuThrottledPeriods: cpuStat.get('nr_throttled'),
    cpuThrottledSeconds: scaled(cpuStat.get('throttled_time'), 1e-9),
    cpuQuota: quota,
    cpuPeriod: period,
    cpuShares: shares,
    memoryCacheBytes: memoryStat.get('total_cache'),
    memoryMappedBytes: memoryStat.get('total_mapped_file'),
    memoryMaxBytes: peak,
    memoryLimitBytes: limit === undefined || limit < unlimited ? limit : 0,
    swapBytes: swap,
    swapLimitBytes: both === undefined || limit === undefined || both >= unlimited ? undefined : both - limit,
    oomKills: oom.get('oom_kill'),
  };
}

async function counters(read: ReadFile, controller: Controller, file: string): Promise<ReadonlyMap<string, number>> {
  return parseCounters((await read(controller, file)) ?? '');
}

/** `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …` */
function parseIoStat(text: string): readonly DeviceTraffic[] {
  return [...text.matchAll(/^(\d+:\d+) (.*)$/gm)].map(([, device = '', rest = '']) => {
    const values = new Map(rest.split(' ').map((pair) => pair.split('=') as [string, string]));
    const of = (key: string): number => Number(values.get(key) ?? 0);
    return { device, readBytes: of('rbytes'), writeBytes: of('wbytes'), reads: of('rios'), writes: of('wios') };
  });
}

/** `8:0 Read 1`, in two files. */
async function readThrottled(read: ReadFile): Promise<readonly DeviceTraffic[]> {
  const [bytes, operations] = await Promise.all(
    ['blkio.throttle.io_service_bytes_recursive', 'blkio.throttle.io_serviced_recursive'].map(async (file) => {
      const lines = [...((await read('blkio', file)) ?? '').matchAll(/^(\d+:\d+) (\w+) (\d+)$/gm)];
      return new Map(lines.map(([, device, kind, value]) => [`${device} ${kind}`, Number(value)]));
    }),
  );
  const devices = new Set([...(bytes?.keys() ?? [])].map((key) => key.split(' ')[0] ?? ''));
  return [...devices].map((device) => ({
    device,
    readBytes: bytes?.get(`${device} Read`) ?? 0,
    writeBytes: bytes?.get(`${device} Write`) ?? 0,
    reads: operations?.get(`${device} Read`) ?? 0,
    writes: operations?.get(`${device} Write`) ?? 0,
  }));
}

const scaled = (value: number | undefined, by: number): number | undefined => (value === undefined ? undefined : value * by);

function defined(numbers: CgroupNumbers): CgroupNumbers {
  return Object.fromEntries(Object.entries(numbers).filter(([, value]) => value !== undefined));
}
