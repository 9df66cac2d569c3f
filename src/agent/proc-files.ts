// Texts of /proc, /etc and cgroup files → numbers and names. Pure. What a text does not say is undefined.

export interface MemoryInfo {
  readonly totalBytes: number;
  /** All that is in use, page cache included. */
  readonly usageBytes: number;
  /** Without file pages that the kernel would give up first. */
  readonly workingSetBytes: number;
  readonly rssBytes: number;
  readonly swapTotalBytes: number;
  readonly swapFreeBytes: number;
}

/** /proc/meminfo. Undefined when it has no `MemTotal` and `MemFree`. */
export function parseMemoryInfo(text: string): MemoryInfo | undefined {
  const values = new Map<string, number>();
  for (const [, name, kib] of text.matchAll(/^([^:\s]+):\s+(\d+) kB$/gm)) values.set(name ?? '', Number(kib) * 1024);
  const total = values.get('MemTotal');
  const free = values.get('MemFree');
  if (total === undefined || free === undefined) return undefined;
  const usage = total - free;
  return {
    totalBytes: total,
    usageBytes: usage,
    workingSetBytes: Math.max(0, usage - (values.get('Inactive(file)') ?? 0)),
    rssBytes: values.get('AnonPages') ?? 0,
    swapTotalBytes: values.get('SwapTotal') ?? 0,
    swapFreeBytes: values.get('SwapFree') ?? 0,
  };
}

/** Ticks of /proc are hundredths of a second on every architecture. */
const tickNanoseconds = 10_000_000;

/** /proc/stat: processor time spent working, by all, the time of the boot, and how many processors there are. */
export function parseKernelStat(
  text: string,
): { readonly busyNanoseconds: number; readonly bootedAtSeconds: number; readonly cores: number } | undefined {
  const fields = /^cpu +(.*)$/m.exec(text)?.[1]?.split(' ').map(Number);
  const booted = /^btime (\d+)$/m.exec(text)?.[1];
  if (fields === undefined || booted === undefined) return undefined;
  // Guest time is in user time already; what waits or is stolen does not work.
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = fields;
  return {
    busyNanoseconds: (user + nice + system + irq + softirq) * tickNanoseconds,
    bootedAtSeconds: Number(booted),
    cores: text.match(/^cpu\d+ /gm)?.length ?? 0,
  };
}

/** Lines `<name> <number>`, as in `memory.stat`, `cpu.stat` and /proc/vmstat. */
export function parseCounters(text: string): ReadonlyMap<string, number> {
  return new Map([...text.matchAll(/^(\S+) (\d+)$/gm)].map(([, name = '', value]) => [name, Number(value)]));
}

export interface InterfaceCounters {
  readonly name: string;
  readonly rxBytes: number;
  readonly rxPackets: number;
  readonly rxErrors: number;
  readonly rxDropped: number;
  readonly txBytes: number;
  readonly txPackets: number;
  readonly txErrors: number;
  readonly txDropped: number;
}

/** /proc/net/dev without the loopback and without the Pods' ends of their links. */
export function parseNetworkDevices(text: string): readonly InterfaceCounters[] {
  return [...text.matchAll(/^\s*([^:\s]+):\s*(.*)$/gm)].flatMap(([, name = '', rest = '']) => {
    if (name === 'lo' || name.startsWith('veth')) return [];
    const numbers = rest.trim().split(/\s+/).map(Number);
    const [rxBytes = 0, rxPackets = 0, rxErrors = 0, rxDropped = 0] = numbers;
    const [txBytes = 0, txPackets = 0, txErrors = 0, txDropped = 0] = numbers.slice(8);
    return [{ name, rxBytes, rxPackets, rxErrors, rxDropped, txBytes, txPackets, txErrors, txDropped }];
  });
}

/** Tasks on the machine, from /proc/loadavg. */
export function parseTaskCount(loadavg: string): number | undefined {
  const match = /^\S+ \S+ \S+ \d+\/(\d+) /.exec(loadavg);
  return match === null ? undefined : Number(match[1]);
}

export interface ProcessUsage {
  readonly cpuNanoseconds: number;
  readonly startedAfterBootMs: number;
  readonly minorFaults: number;
  readonly majorFaults: number;
}

/** /proc/<pid>/stat. The name in it may hold anything, so fields count from behind it. */
export function parseProcessStat(text: string): ProcessUsage | undefined {
  const end = text.lastIndexOf(')');
  if (end < 0) return undefined;
  const fields = text
    .slice(end + 1)
    .trim()
    .split(' ')
    .map(Number);
  // Field 3 of proc(5) is the first here.
  const field = (number: number): number => fields[number - 3] ?? 0;
  return {
    cpuNanoseconds: (field(14) + field(15)) * tickNanoseconds,
    startedAfterBootMs: field(22) * 10,
    minorFaults: field(10),
    majorFaults: field(12),
  };
}

/** `PRETTY_NAME` of os-release(5), without its quotes. */
export function parsePrettyName(text: string): string | undefined {
  const value = /^PRETTY_NAME=(.*)$/m.exec(text)?.[1]?.trim();
  return value === undefined || value === '' ? undefined : value.replace(/^(["'])(.*)\1$/, '$2').replace(/\\(["$`\\])/g, '$1');
}

/** A file that holds one number; undefined for others, as `max`. */
export function parseNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d+\s*$/.test(text) ? Number(text) : undefined;
}
