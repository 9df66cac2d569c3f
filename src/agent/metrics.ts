// The metrics port on prom-client: one registry for the agent's own families, one for probes (`prober_*`), both in
// Prometheus' text format. Families are declared beside the code that counts; here is only what belongs to nobody else.
import { readdir, readFile } from 'node:fs/promises';
import { getHeapStatistics, type HeapInfo } from 'node:v8';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { gatesWithEffect } from '../config/settings.ts';
import type { Instant } from '../std/clock.ts';
import { InvariantError } from '../std/errors.ts';
import type {
  Labels,
  MetricOptions,
  Metrics,
  Counter as PortCounter,
  Gauge as PortGauge,
  Histogram as PortHistogram,
} from '../std/metrics.ts';
import { parseKernelStat } from './proc-files.ts';

export interface BuildInfo {
  readonly nodeName: string;
  readonly major: string;
  readonly minor: string;
  readonly gitVersion: string;
  readonly gitCommit: string;
  readonly buildDate: string;
  readonly platform: string;
  /** What runs us. */
  readonly engine: string;
}

/** Declared twice with the same shape, a family is one and the same. */
interface Declared {
  readonly kind: 'counter' | 'gauge' | 'histogram';
  readonly labels: string;
  /** The port's object of that kind. */
  readonly metric: unknown;
}

/** `b="1",a="2"` → `a="2",b="1"` (H-350). Values may hold anything, quotes among it. */
function sortLabels(labels: string): string {
  return (labels.match(/[a-zA-Z_]+="(?:[^"\\]|\\.)*"/g) ?? []).sort().join(',');
}

const common = (options: MetricOptions) => ({ name: options.name, help: options.help, labelNames: [...(options.labels ?? [])] });

/** Implements the views of server/ and the port of std/ at once. */
export class PrometheusMetrics implements Metrics {
  readonly #agent = new Registry();
  readonly #probes = new Registry();
  readonly #declared = new Map<string, Declared>();

  counter(options: MetricOptions): PortCounter {
    return this.#once<PortCounter>(options, 'counter', () => {
      const metric = new Counter({ ...common(options), registers: [this.#registryOf(options.name)] });
      return {
        inc: (labels: Labels = {}, value = 1) => metric.inc({ ...labels }, value),
        remove: (labels: Labels) => metric.remove({ ...labels }),
      };
    });
  }

  gauge(options: MetricOptions): PortGauge {
    return this.#once<PortGauge>(options, 'gauge', () => {
      const metric = new Gauge({ ...common(options), registers: [this.#registryOf(options.name)] });
      return {
        set: (value: number, labels: Labels = {}) => metric.set({ ...labels }, value),
        remove: (labels: Labels) => metric.remove({ ...labels }),
      };
    });
  }

  histogram(options: MetricOptions & { readonly buckets?: readonly number[] }): PortHistogram {
    return this.#once<PortHistogram>(options, 'histogram', () => {
      const buckets = options.buckets === undefined ? {} : { buckets: [...options.buckets] };
      const metric = new Histogram({ ...common(options), ...buckets, registers: [this.#registryOf(options.name)] });
      return {
        observe: (value: number, labels: Labels = {}) => metric.observe({ ...labels }, value),
        remove: (labels: Labels) => metric.remove({ ...labels }),
      };
    });
  }

  /** Families sorted by name. */
  async expose(group: 'agent' | 'probes'): Promise<string> {
    const registry = group === 'agent' ? this.#agent : this.#probes;
    const names = registry
      .getMetricsAsArray()
      .map((metric) => metric.name)
      .sort();
    const texts = await Promise.all(names.map((name) => registry.getSingleMetricAsString(name)));
    // A labelled family without a series yet would be a header without content.
    return texts
      .filter((text) => /^[^#\n]/m.test(text))
      .map((text) => `${text.replace(/^(\w+)\{(.*)\} /gm, (_, name: string, labels: string) => `${name}{${sortLabels(labels)}} `)}\n`)
      .join('');
  }

  #registryOf(name: string): Registry {
    return name.startsWith('prober_') ? this.#probes : this.#agent;
  }

  #once<M>(options: MetricOptions, kind: Declared['kind'], make: () => M): M {
    const labels = [...(options.labels ?? [])].sort().join(',');
    const known = this.#declared.get(options.name);
    if (known !== undefined) {
      if (known.kind !== kind || known.labels !== labels) throw new InvariantError(`metric ${options.name} is declared twice, differently`);
      // The same kind was made by the same function.
      return known.metric as M;
    }
    const metric = make();
    this.#declared.set(options.name, { kind, labels, metric });
    return metric;
  }

  /** Who we are (H-360, H-410) and what our process uses (H-414). */
  declareProcess(build: BuildInfo): void {
    this.gauge({ name: 'kubelet_node_name', help: "[ALPHA] The node's name; always 1", labels: ['node'] }).set(1, { node: build.nodeName });
    const labels = {
      major: build.major,
      minor: build.minor,
      git_version: build.gitVersion,
      git_commit: build.gitCommit,
      git_tree_state: 'clean',
      build_date: build.buildDate,
      go_version: build.engine,
      compiler: 'none',
      platform: build.platform,
    };
    this.gauge({ name: 'kubernetes_build_info', help: '[BETA] What was built; always 1', labels: Object.keys(labels) }).set(1, labels);
    for (const [registry, only] of [
      [this.#agent, undefined],
      [this.#probes, 'process_start_time_seconds'],
    ] as const) {
      for (const family of processFamilies) if (only === undefined || family.name === only) declareProcessFamily(registry, family);
    }
  }
}

/** H-411: the feature gates that something looks at. */
export function declareGates(metrics: Metrics, gates: Readonly<Record<string, boolean>>): void {
  const enabled = metrics.gauge({
    name: 'kubernetes_feature_enabled',
    help: '[BETA] 1 where the feature gate is on, 0 where it is off',
    labels: ['name', 'stage'],
  });
  for (const name of gatesWithEffect) enabled.set(gates[name] === true ? 1 : 0, { name, stage: 'ALPHA' });
}

/**
 * What the node is (H-400), where its numbers come from (H-402), and whether a kubelet of the next release could still
 * work with its runtime, which has to say its cgroup driver by then (H-401).
 */
export function declareNode(metrics: Metrics, cgroupVersion: 1 | 2, saysDriver: boolean): void {
  const losing = {
    name: 'kubelet_cri_losing_support',
    help: '[ALPHA] 1 when the runtime is too old for this release',
    labels: ['version'],
  };
  if (!saysDriver) metrics.gauge(losing).set(1, { version: '1.37.0' });
  metrics.gauge({ name: 'kubelet_cgroup_version', help: '[ALPHA] The version of cgroups on the node' }).set(cgroupVersion);
  const provider = { name: 'kubelet_metrics_provider', help: '[ALPHA] Where usage of containers is read; always 1', labels: ['provider'] };
  metrics.gauge(provider).set(1, { provider: 'cri' });
}

interface ProcessFamily {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge';
  read(): Promise<number>;
}

const heap = (read: (statistics: HeapInfo) => number) => async () => read(getHeapStatistics());

const pageSize = 4096;
const ticksPerSecond = 100;

/** Fields of /proc/self/stat from the third on: the second may hold blanks. */
async function statFields(): Promise<readonly number[]> {
  const text = await readFile('/proc/self/stat', 'utf8');
  return text
    .slice(text.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
}

async function limitOf(name: string): Promise<number> {
  const line = (await readFile('/proc/self/limits', 'utf8')).split('\n').find((text) => text.startsWith(name));
  const value = line?.slice(name.length).trim().split(/\s+/)[0];
  return value === undefined || value === 'unlimited' ? Number.POSITIVE_INFINITY : Number(value);
}

async function networkBytes(column: number): Promise<number> {
  const lines = (await readFile('/proc/self/net/dev', 'utf8')).split('\n').slice(2);
  return lines.reduce(
    (sum, line) =>
      sum +
      (Number(
        line
          .slice(line.indexOf(':') + 1)
          .trim()
          .split(/\s+/)[column],
      ) || 0),
    0,
  );
}

/** When the machine and this process began. */
export async function startTimes(): Promise<{ readonly bootedAt: Instant; readonly startedAt: Instant }> {
  const bootedAt = (parseKernelStat(await readFile('/proc/stat', 'utf8'))?.bootedAtSeconds ?? 0) * 1000;
  return { bootedAt, startedAt: bootedAt + (((await statFields())[19] ?? 0) / ticksPerSecond) * 1000 };
}

const processFamilies: readonly ProcessFamily[] = [
  {
    name: 'process_cpu_seconds_total',
    help: 'CPU time in user and system mode in seconds',
    type: 'counter',
    read: async () => {
      const fields = await statFields();
      return ((fields[11] ?? 0) + (fields[12] ?? 0)) / ticksPerSecond;
    },
  },
  // H-416: what corresponds to Go's own.
  {
    name: 'nodejs_heap_size_total_bytes',
    help: 'Heap of the engine in bytes',
    type: 'gauge',
    read: heap((one) => one.total_heap_size),
  },
  {
    name: 'nodejs_heap_size_used_bytes',
    help: 'Heap of the engine in use in bytes',
    type: 'gauge',
    read: heap((one) => one.used_heap_size),
  },
  {
    name: 'nodejs_external_memory_bytes',
    help: 'Memory of the engine outside its heap in bytes',
    type: 'gauge',
    read: heap((one) => one.external_memory),
  },
  { name: 'process_open_fds', help: 'Open file descriptors', type: 'gauge', read: async () => (await readdir('/proc/self/fd')).length },
  { name: 'process_max_fds', help: 'The most file descriptors there can be', type: 'gauge', read: () => limitOf('Max open files') },
  {
    name: 'process_resident_memory_bytes',
    help: 'Resident memory in bytes',
    type: 'gauge',
    read: async () => ((await statFields())[21] ?? 0) * pageSize,
  },
  { name: 'process_virtual_memory_bytes', help: 'Virtual memory in bytes', type: 'gauge', read: async () => (await statFields())[20] ?? 0 },
  {
    name: 'process_virtual_memory_max_bytes',
    help: 'The most virtual memory there can be, in bytes',
    type: 'gauge',
    read: () => limitOf('Max address space'),
  },
  {
    name: 'process_start_time_seconds',
    help: 'Start of the process as Unix time in seconds',
    type: 'gauge',
    read: async () => (await startTimes()).startedAt / 1000,
  },
  { name: 'process_network_receive_bytes_total', help: 'Bytes received over the network', type: 'counter', read: () => networkBytes(0) },
  { name: 'process_network_transmit_bytes_total', help: 'Bytes sent over the network', type: 'counter', read: () => networkBytes(8) },
];

function declareProcessFamily(registry: Registry, family: ProcessFamily): void {
  const options = { name: family.name, help: family.help, registers: [registry] };
  if (family.type === 'gauge') {
    new Gauge({
      ...options,
      async collect() {
        this.set(await family.read());
      },
    });
    return;
  }
  new Counter({
    ...options,
    async collect() {
      const value = await family.read();
      this.reset();
      this.inc(value);
    },
  });
}
