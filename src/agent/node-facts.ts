// Gathers what Pods are built from (pod/node-facts.ts): the configuration, the machine, the runtime's handlers. What
// cannot change is read once; what may change is read again only when the machine says that it changed.
import type { NodeAddress } from '../api/gen/kubernetes.ts';
import { type Amount, parseQuantity, quantityMilliValue, quantityValue, zeroQuantity } from '../api/quantity.ts';
import { type CgroupLayout, detectCgroupLayout } from '../cgroup/layout.ts';
import { hasSwapController, type MachineFacts, readMachine } from '../cgroup/machine.ts';
import type { AgentConfig, EvictionThreshold } from '../config/agent-config.ts';
import { nodeAddresses } from '../mirror/node-address.ts';
import { isResolvedStub, resolvedUpstreams } from '../pod/dns.ts';
import { type ImageVolumeSupport, imageVolumeSupport } from '../pod/image-volumes.ts';
import type { CgroupFacts, NodeAmounts, NodeFacts, RuntimeHandlerFacts } from '../pod/node-facts.ts';
import type { CallOptions, CgroupDriver, Runtime } from '../runtime/runtime.ts';
import type { Clock, Instant } from '../std/clock.ts';
import { ConfigError, messageOf } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import { type Host, type HostInterface, realHost } from './host.ts';

export interface NodeFactsReaderOptions {
  readonly config: AgentConfig;
  readonly cgroup: CgroupFacts;
  readonly layout: CgroupLayout;
}

export interface NodeFactsReaderDeps {
  readonly runtime: Pick<Runtime, 'status' | 'version'>;
  readonly clock: Clock;
  readonly log: Logger;
  /** The real machine when absent. */
  readonly host?: Host;
  /** `readMachine` when absent. */
  readonly machine?: (layout: CgroupLayout, diskPath: string) => Promise<MachineFacts>;
}

/** L-202. */
const resolvConfLimit = 10 * 2 ** 20;
/** A resolver may answer otherwise without anything on the machine having changed. */
const addressesLifeMs = 300_000;
/** Pods do not wait longer than this for a resolver that does not answer. */
const lookupLimitMs = 2000;

/** The node's addresses, and why they are not what the configuration wants (S-369); the rest is usable all the same. */
export interface FoundAddresses {
  readonly addresses: readonly NodeAddress[];
  readonly problem: string | undefined;
}

export class NodeFactsReader {
  readonly #config: AgentConfig;
  readonly #cgroup: CgroupFacts;
  readonly #layout: CgroupLayout;
  readonly #deps: NodeFactsReaderDeps;
  readonly #host: Host;
  readonly #resolvConf: CachedText;
  readonly #resolvedUpstreams: CachedText;
  readonly #hostsFile: CachedText;
  #machine: Promise<MachineFacts> | undefined;
  #fixed: Promise<FixedFacts> | undefined;
  #handlers: readonly RuntimeHandlerFacts[] = [];
  #imageVolumes: ImageVolumeSupport = 'parts';
  #supplementalGroupsPolicy = false;
  #addresses: (FoundAddresses & { readonly key: string; readonly at: Instant }) | undefined;
  #finding: Promise<FoundAddresses> | undefined;

  constructor(options: NodeFactsReaderOptions, deps: NodeFactsReaderDeps) {
    this.#config = options.config;
    this.#cgroup = options.cgroup;
    this.#layout = options.layout;
    this.#deps = deps;
    this.#host = deps.host ?? realHost;
    this.#resolvConf = new CachedText(this.#host, options.config.resolvConf, deps.log);
    this.#resolvedUpstreams = new CachedText(this.#host, resolvedUpstreams, deps.log);
    this.#hostsFile = new CachedText(this.#host, '/etc/hosts', deps.log);
  }

  /**
   * The facts now; two or three `stat` calls once everything was read. Throws what the file system throws when `rootDir` or a
   * file that is there cannot be read.
   */
  async read(): Promise<NodeFacts> {
    const [fixed, resolvConf, hostsFile] = await Promise.all([
      this.#fixedFacts(),
      this.#config.resolvConf === '' ? undefined : this.#resolver(),
      this.#hostsFile.read(),
    ]);
    const { addresses } = this.#addresses ?? (await this.refreshAddresses());
    return {
      ...fixed,
      ips: addresses.filter(({ type }) => type === 'InternalIP').map(({ address }) => address),
      resolvConf: resolvConf?.slice(0, resolvConfLimit),
      hostsFile,
      runtimeHandlers: this.#handlers,
      imageVolumes: this.#imageVolumes,
    };
  }

  /** The configured file, or what is behind it where it is the stub of systemd-resolved. */
  async #resolver(): Promise<string> {
    const text = await this.#resolvConf.read();
    if (!isResolvedStub(text)) return text;
    const upstreams = await this.#resolvedUpstreams.read();
    return upstreams === '' ? text : upstreams;
  }

  /** Asks the runtime for its version and its handlers. Throws its RuntimeError; the handlers known so far stay. */
  async refreshRuntime(options: CallOptions): Promise<void> {
    const { runtimeName: name, runtimeVersion: version } = await this.#deps.runtime.version(options);
    this.#imageVolumes = imageVolumeSupport({ name, version });
    const { handlers, features } = await this.#deps.runtime.status({ verbose: false }, options);
    this.#handlers = handlers.map(({ name, recursiveReadOnlyMounts, userNamespaces }) => ({
      name,
      recursiveReadOnlyMounts,
      userNamespaces,
    }));
    this.#supplementalGroupsPolicy = features.supplementalGroupsPolicy;
  }

  /** `features.supplementalGroupsPolicy` of the runtime, as of the last `refreshRuntime`. */
  get supplementalGroupsPolicy(): boolean {
    return this.#supplementalGroupsPolicy;
  }

  /** What the machine has; read once. */
  machine(): Promise<MachineFacts> {
    const read = this.#deps.machine ?? readMachine;
    this.#machine ??= read(this.#layout, this.#config.rootDir).catch((error: unknown) => {
      this.#machine = undefined;
      throw error;
    });
    return this.#machine;
  }

  /** Looks for the addresses again where an interface changed or some minutes went by; else gives those it found. */
  async refreshAddresses(): Promise<FoundAddresses> {
    const interfaces = this.#host.interfaces();
    const key = JSON.stringify(interfaces);
    const known = this.#addresses;
    if (known?.key === key && this.#deps.clock.now() - known.at < addressesLifeMs) return known;
    this.#finding ??= this.#find(interfaces, key).finally(() => {
      this.#finding = undefined;
    });
    return await this.#finding;
  }

  async #find(interfaces: readonly HostInterface[], key: string): Promise<FoundAddresses> {
    const found = await findAddresses(this.#config, interfaces, this.#host, (name) => this.#lookup(name));
    if (found.problem !== undefined && found.problem !== this.#addresses?.problem) {
      this.#deps.log.warn('node address cannot be used', { error: found.problem });
    }
    this.#addresses = { ...found, key, at: this.#deps.clock.now() };
    return this.#addresses;
  }

  async #lookup(name: string): Promise<readonly string[]> {
    const limit = new AbortController();
    const none = this.#deps.clock.sleep(lookupLimitMs, limit.signal).then(
      () => [],
      () => [],
    );
    try {
      return await Promise.race([this.#host.lookup(name), none]);
    } finally {
      limit.abort();
    }
  }

  #fixedFacts(): Promise<FixedFacts> {
    this.#fixed ??= this.machine()
      .then((machine) => fixedFacts(this.#config, this.#cgroup, machine))
      .catch((error: unknown) => {
        this.#fixed = undefined;
        throw error;
      });
    return this.#fixed;
  }
}

type FixedFacts = Omit<NodeFacts, 'ips' | 'resolvConf' | 'hostsFile' | 'runtimeHandlers' | 'imageVolumes'>;

function fixedFacts(config: AgentConfig, cgroup: CgroupFacts, machine: MachineFacts): FixedFacts {
  return {
    name: config.nodeName,
    clusterDns: config.clusterDns,
    clusterDomain: config.clusterDomain,
    capacity: machine.capacity,
    allocatable: allocatable(machine.capacity, config),
    hugepageSizesBytes: machine.hugepageSizesBytes,
    cgroup,
    cpuCfsQuota: config.cpuCfsQuota,
    cpuCfsQuotaPeriodUs: config.cpuCfsQuotaPeriodMs * 1000,
    podPidsLimit: config.podPidsLimit,
    singleProcessOomKill: config.singleProcessOomKill ?? cgroup.version === 1,
    podLogsDir: config.podLogsDir,
    seccompProfileRoot: `${config.rootDir}/seccomp`,
    seccompDefault: config.seccompDefault,
    seLinux: machine.seLinux,
    thermalThrottlePaths: machine.thermalThrottlePaths,
    runtimeClasses: config.runtimeHandlers,
  };
}

/** Capacity without what is reserved and without what evictions keep free, never below 0 (L-304, S-372). */
export function allocatable(
  capacity: NodeAmounts,
  config: Pick<AgentConfig, 'systemReserved' | 'kubeReserved' | 'evictionHard'>,
): NodeAmounts {
  const reservedValue = (resource: string): number => reserved(config, resource, quantityValue);
  const reservedMillis = reserved(config, 'cpu', quantityMilliValue);
  const kept = (signal: string, of: number): number => thresholdBytes(config.evictionHard[signal], of);
  // Memory in huge pages can serve nothing else.
  const hugepages = [...capacity.hugepagesBytes.values()].reduce((sum, bytes) => sum + bytes, 0);
  const { memoryBytes, ephemeralStorageBytes } = capacity;
  return {
    cpuMillis: Math.max(0, capacity.cpuMillis - reservedMillis),
    memoryBytes: Math.max(0, memoryBytes - reservedValue('memory') - kept('memory.available', memoryBytes) - hugepages),
    ephemeralStorageBytes: Math.max(
      0,
      ephemeralStorageBytes - reservedValue('ephemeral-storage') - kept('nodefs.available', ephemeralStorageBytes),
    ),
    hugepagesBytes: capacity.hugepagesBytes,
  };
}

/** How many tasks all Pods together may have (L-302); -1, the kernel's own limit, where none are reserved. */
export function podTasks(config: Reservations, maxPids: number | undefined): number {
  const kept = reserved(config, 'pid', quantityValue);
  return kept === 0 || maxPids === undefined ? -1 : Math.max(1, maxPids - kept);
}

type Reservations = Pick<AgentConfig, 'systemReserved' | 'kubeReserved'>;

function reserved({ systemReserved, kubeReserved }: Reservations, resource: string, toNumber: (amount: Amount) => bigint): number {
  const texts = [systemReserved, kubeReserved].flatMap((amounts) => amounts[resource] ?? []);
  return texts.reduce((sum, text) => sum + Number(toNumber(parseQuantity(text) ?? zeroQuantity)), 0);
}

/** What a threshold means in bytes of `capacityBytes`. */
export function thresholdBytes(threshold: EvictionThreshold | undefined, capacityBytes: number): number {
  if (threshold === undefined) return 0;
  return threshold.kind === 'bytes' ? threshold.value : Math.floor((capacityBytes * threshold.value) / 100);
}

/**
 * S-368, S-369. Unlike a kubelet, a machine without a default route gets its first address that others can reach, or
 * only its name; configured addresses that it does not have stay, with the problem told.
 */
async function findAddresses(
  config: Pick<AgentConfig, 'nodeName' | 'nodeIps'>,
  interfaces: readonly HostInterface[],
  host: Host,
  lookup: (name: string) => Promise<readonly string[]>,
): Promise<FoundAddresses> {
  const { nodeName, nodeIps } = config;
  const name: NodeAddress = { type: 'Hostname', address: nodeName };
  try {
    const addresses = await nodeAddresses(
      { nodeName, hostname: nodeName, nodeIps },
      {
        interfaces: () => interfaces,
        lookup,
        defaultInterface: async () =>
          defaultInterface((await host.readText('/proc/net/route')) ?? '', (await host.readText('/proc/net/ipv6_route')) ?? ''),
      },
    );
    return { addresses, problem: undefined };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const configured = nodeIps.filter((ip) => ip !== '0.0.0.0' && ip !== '::');
    const ips = configured.length > 0 ? configured : firstGlobal(interfaces, nodeIps[0] === '::');
    return {
      addresses: [...ips.map((address) => ({ type: 'InternalIP', address })), name],
      problem: configured.length > 0 ? messageOf(error) : undefined,
    };
  }
}

function firstGlobal(interfaces: readonly HostInterface[], prefersV6: boolean): readonly string[] {
  const global = interfaces.filter(({ internal, address }) => !internal && !address.startsWith('169.254.') && !/^fe[89ab]/i.test(address));
  const first = global.find(({ address }) => address.includes(':') === prefersV6) ?? global[0];
  return first === undefined ? [] : [first.address];
}

/** Name of the interface that the default route leaves by, from /proc/net/route and /proc/net/ipv6_route. */
export function defaultInterface(route: string, route6: string): string | undefined {
  const v4 = route
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter(([, destination, , flags, , , , mask]) => destination === '00000000' && mask === '00000000' && isGateway(flags))
    .sort((a, b) => Number(a[6]) - Number(b[6]))[0]?.[0];
  if (v4 !== undefined) return v4;
  return route6
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([destination, length, , , , , , , flags]) => destination === '0'.repeat(32) && length === '00' && isGateway(flags))
    .sort((a, b) => Number.parseInt(a[5] ?? '', 16) - Number.parseInt(b[5] ?? '', 16))[0]?.[9];
}

/** RTF_UP and RTF_GATEWAY. */
function isGateway(flags: string | undefined): boolean {
  return (Number.parseInt(flags ?? '0', 16) & 3) === 3;
}

/** A file's text, read again only after the file changed. A file that is not there is empty. */
class CachedText {
  readonly #host: Host;
  readonly #path: string;
  readonly #log: Logger;
  #known: { readonly revision: string | undefined; readonly text: string } | undefined;

  constructor(host: Host, path: string, log: Logger) {
    this.#host = host;
    this.#path = path;
    this.#log = log;
  }

  async read(): Promise<string> {
    // Before the text: a change in between is then seen the next time.
    const revision = await this.#host.revision(this.#path);
    if (this.#known !== undefined && this.#known.revision === revision) return this.#known.text;
    const text = revision === undefined ? undefined : await this.#host.readText(this.#path);
    if (text === undefined) this.#log.warn('file of the node is missing', { path: this.#path });
    this.#known = { revision: text === undefined ? undefined : revision, text: text ?? '' };
    return this.#known.text;
  }
}

/**
 * Which cgroups this machine has and how they are used. `runtimeDriver` is what the runtime says of itself; it wins
 * over the configuration (L-290). Throws ConfigError when no hierarchy is mounted.
 */
export async function detectCgroup(
  config: AgentConfig,
  runtimeDriver: CgroupDriver | undefined,
  host: Host = realHost,
): Promise<{ readonly layout: CgroupLayout; readonly facts: CgroupFacts }> {
  const [mounts, selfCgroup] = await Promise.all([host.readText('/proc/self/mounts'), host.readText('/proc/self/cgroup')]);
  const layout = detectCgroupLayout({ mounts: mounts ?? '', selfCgroup: selfCgroup ?? '' });
  return {
    layout,
    facts: {
      version: layout.version,
      driver: runtimeDriver ?? config.cgroupDriver,
      root: config.cgroupRoot === '' ? '/' : config.cgroupRoot,
      perQos: config.cgroupsPerQos,
      swapController: await hasSwapController(layout),
    },
  };
}
