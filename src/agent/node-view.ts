// The Node object as the agent knows it: gathers the facts every few seconds, for the servers (views.ts NodeView) and
// for the registration with a cluster (mirror/ NodeFactsView). A Node that only breathes stays the same object.
import { createHash } from 'node:crypto';
import { arch } from 'node:os';
import type { EventSink } from '../api/events.ts';
import type {
  ContainerImage,
  Node,
  NodeFeatures,
  NodeRuntimeHandler,
  NodeStatus,
  NodeSystemInfo,
  Quantity,
} from '../api/gen/kubernetes.ts';
import { formatQuantity, type QuantityFormat } from '../api/quantity.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import type { Pressure } from '../eviction/thresholds.ts';
import { conditionEvent, type NodeFacts, type NodeOptions, newNode, nodeStatus, withoutHeartbeats } from '../mirror/node-object.ts';
import type { NodeFactsView } from '../mirror/node-registration.ts';
import type { NodeAmounts } from '../pod/node-facts.ts';
import type { CallOptions, Runtime } from '../runtime/runtime.ts';
import type { NodeView, Unsubscribe } from '../server/views.ts';
import { linkSignals, raceSignal } from '../std/async.ts';
import { type Clock, type Instant, toRfc3339 } from '../std/clock.ts';
import { AgentError, messageOf, RuntimeError, systemCode } from '../std/errors.ts';
import { equalJson } from '../std/json.ts';
import type { Logger } from '../std/log.ts';
import { nodeObject } from './base.ts';
import { type Host, realHost } from './host.ts';
import type { NodeFactsReader } from './node-facts.ts';
import { parseMemoryInfo, parsePrettyName } from './proc-files.ts';

export interface NodeFeedOptions {
  readonly config: AgentConfig;
  /** `v1.36.2`. */
  readonly kubeletVersion: string;
}

export interface NodeFeedDeps {
  readonly facts: NodeFactsReader;
  readonly runtime: Pick<Runtime, 'version' | 'listImages'>;
  /** Why the node is not ready, in words (S-377); empty when it is. Call `wake` when it changes. */
  readonly readyProblems: () => readonly string[];
  /** What the node runs short of. Call `wake` when it changes. */
  readonly pressure: () => Pressure;
  /** The port of the kubelet's own API. */
  readonly agentPort: () => number;
  readonly events: EventSink;
  readonly clock: Clock;
  readonly log: Logger;
  /** The real machine when absent. */
  readonly host?: Host;
}

/** Images and the runtime's version: asked for seldom, idle cost counts (D7). */
const runtimePeriodMs = 300_000;
/** Between two rounds, however often somebody wakes us. */
const minGapMs = 1000;

export class NodeFeed implements NodeView {
  /** For the registration with a cluster. */
  readonly facts: NodeFactsView;
  #config: AgentConfig;
  readonly #options: NodeOptions;
  readonly #kubeletVersion: string;
  readonly #deps: NodeFeedDeps;
  readonly #host: Host;
  readonly #listeners = new Set<() => void>();
  readonly #metadata: { uid: string; creationTimestamp: string | undefined };
  #facts: NodeFacts | undefined;
  #node: Node | undefined;
  #publishedAt: Instant = 0;
  #machineInfo: Omit<NodeSystemInfo, 'containerRuntimeVersion' | 'swap'> | undefined;
  #runtime: RuntimeFacts = { version: undefined, images: [] };
  #runtimeAskedAt: Instant | undefined;
  #wake: () => void = () => undefined;

  constructor(options: NodeFeedOptions, deps: NodeFeedDeps) {
    this.#config = options.config;
    this.#options = nodeOptions(options.config);
    this.#kubeletVersion = options.kubeletVersion;
    this.#deps = deps;
    this.#host = deps.host ?? realHost;
    this.#metadata = { uid: '', creationTimestamp: undefined };
    this.facts = {
      read: async ({ signal }) => {
        if (this.#facts === undefined) await this.refresh({ signal });
        if (this.#facts === undefined) throw new AgentError('node-facts', 'the facts about this node cannot be read');
        return this.#facts;
      },
      subscribe: (listener) => this.subscribe(listener),
    };
  }

  /** The Node; empty before the first `refresh`. */
  list(): readonly Node[] {
    return this.#node === undefined ? [] : [this.#node];
  }

  subscribe(listener: () => void): Unsubscribe {
    // A listener may subscribe twice, and each subscription ends on its own.
    const own = (): void => listener();
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  /** After a reload. */
  configure(config: AgentConfig): void {
    this.#config = config;
    this.wake();
  }

  /** Something that shows in the Node has changed: the next round comes within a second. */
  wake(): void {
    this.#wake();
  }

  /** Images came or went: the next round, soon, asks the runtime for them. */
  imagesChanged(): void {
    this.#runtimeAskedAt = undefined;
    this.#wake();
  }

  /** One round. What cannot be read stays as it was and is logged (S-367). */
  async refresh({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { clock, log } = this.#deps;
    try {
      await this.#refreshRuntime({ signal });
      this.#facts = await this.#gather();
    } catch (error) {
      signal.throwIfAborted();
      log.warn('node facts cannot be read', { error: messageOf(error) });
      return;
    }
    this.#publish(this.#facts, clock.now());
  }

  /** Rounds until the signal aborts: each `nodeStatusUpdateFrequency`, when woken, and each second until ready (S-383). */
  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { clock } = this.#deps;
    const frequency = this.#config.nodeStatusUpdateFrequencyMs;
    for (;;) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      await this.refresh({ signal });
      const gap = Math.min(minGapMs, frequency);
      await clock.sleep(gap, signal);
      if (this.#facts === undefined || this.#facts.readyProblems.length > 0) continue;
      using round = linkSignals(signal);
      const elapsed = clock.sleep(frequency - gap, round.signal).catch(() => undefined);
      try {
        await raceSignal(Promise.race([woken, elapsed]), signal);
      } finally {
        round.abort(undefined);
      }
    }
  }

  #publish(facts: NodeFacts, now: Instant): void {
    const before = this.#node?.status;
    const status = nodeStatus(facts, this.#options, before?.conditions ?? [], now);
    const isChanged = before === undefined || !equalJson(withoutHeartbeats(status), withoutHeartbeats(before));
    if (!isChanged && now - this.#publishedAt < this.#config.nodeStatusReportFrequencyMs) return;
    const node = newNode(this.#options, status);
    this.#node = { ...node, metadata: { ...node.metadata, ...this.#metadata } };
    this.#publishedAt = now;
    this.#tellTransitions(before, status);
    for (const listener of [...this.#listeners]) listener();
  }

  /** S-437: pressure is told when first known as well, readiness only when it changes. */
  #tellTransitions(before: NodeStatus | undefined, status: NodeStatus): void {
    for (const condition of status.conditions ?? []) {
      const old = before?.conditions?.find(({ type }) => type === condition.type);
      const reason = conditionEvent(condition);
      if (reason === undefined || old?.status === condition.status || (old === undefined && condition.type === 'Ready')) continue;
      const { nodeName } = this.#config;
      this.#deps.events.record(nodeObject(this.#config), 'Normal', reason, `Node ${nodeName} status is now: ${reason}`);
    }
  }

  async #gather(): Promise<NodeFacts> {
    const { facts: reader } = this.#deps;
    const [pod, found, info, memory] = await Promise.all([
      reader.read(),
      reader.refreshAddresses(),
      this.#readMachineInfo(),
      this.#host.readText('/proc/meminfo').then((text) => parseMemoryInfo(text ?? '')),
    ]);
    const { version, images } = this.#runtime;
    const pods = podCapacity(this.#config, pod.capacity.cpuMillis);
    const swap = memory?.swapTotalBytes ?? 0;
    return {
      addresses: found.addresses,
      capacity: resourceList(pod.capacity, pods),
      allocatable: resourceList(pod.allocatable, pods),
      nodeInfo: {
        ...info,
        containerRuntimeVersion: version ?? 'containerd://Unknown',
        ...(swap === 0 ? {} : { swap: { capacity: swap } }),
      },
      agentPort: this.#deps.agentPort(),
      images,
      ...handlersOf(pod.runtimeHandlers, reader.supplementalGroupsPolicy),
      pressure: this.#deps.pressure(),
      readyProblems: [...this.#deps.readyProblems(), ...(found.problem === undefined ? [] : [found.problem])],
    };
  }

  /** Asks at most every five minutes, and every round while the runtime does not answer. */
  async #refreshRuntime(options: CallOptions): Promise<void> {
    const { runtime, clock, log } = this.#deps;
    const now = clock.now();
    if (this.#runtimeAskedAt !== undefined && now - this.#runtimeAskedAt < runtimePeriodMs) return;
    try {
      const [version, images] = await Promise.all([runtime.version(options), runtime.listImages(options)]);
      this.#runtime = {
        version: `${version.runtimeName}://${semanticVersion(version.runtimeVersion)}`,
        images: images.map(({ repoTags, repoDigests, sizeBytes }): ContainerImage => ({ names: [...repoDigests, ...repoTags], sizeBytes })),
      };
      this.#runtimeAskedAt = now;
    } catch (error) {
      options.signal.throwIfAborted();
      if (!(error instanceof RuntimeError)) throw error;
      log.debug('runtime cannot be asked about the node', { error: messageOf(error) });
    }
  }

  /** Read once: none of it changes before the next boot. */
  async #readMachineInfo(): Promise<Omit<NodeSystemInfo, 'containerRuntimeVersion' | 'swap'>> {
    if (this.#machineInfo !== undefined) return this.#machineInfo;
    const first = async (...paths: readonly string[]): Promise<string> => {
      for (const path of paths) {
        const text = (await this.#readable(path))?.replaceAll('\0', '').trim();
        if (text !== undefined && text !== '') return text;
      }
      return '';
    };
    const machineID = await first('/etc/machine-id', '/var/lib/dbus/machine-id');
    const made = await this.#host.createdAt(this.#config.rootDir);
    this.#metadata.uid = stableUid(`${machineID}/${this.#config.nodeName}`);
    this.#metadata.creationTimestamp = toRfc3339(made ?? this.#deps.clock.now());
    this.#machineInfo = {
      machineID,
      systemUUID: await first(
        '/sys/class/dmi/id/product_uuid',
        '/proc/device-tree/system-id',
        '/proc/device-tree/vm,uuid',
        '/etc/machine-id',
      ),
      bootID: await first('/proc/sys/kernel/random/boot_id'),
      kernelVersion: await first('/proc/sys/kernel/osrelease'),
      osImage: parsePrettyName(await first('/etc/os-release', '/usr/lib/os-release')) ?? 'Linux',
      operatingSystem: 'linux',
      architecture: architecture(),
      kubeletVersion: this.#kubeletVersion,
      kubeProxyVersion: '',
    };
    return this.#machineInfo;
  }

  /** The UUID of the hardware is only for root: without it the Node is complete enough. */
  async #readable(path: string): Promise<string | undefined> {
    try {
      return await this.#host.readText(path);
    } catch (error) {
      if (systemCode(error) === undefined) throw error;
      return undefined;
    }
  }
}

interface RuntimeFacts {
  /** `containerd://2.1.0`; undefined before it answered. */
  readonly version: string | undefined;
  readonly images: readonly ContainerImage[];
}

/** What is said of the Node by the configuration; for the registration with a cluster as well. */
export function nodeOptions(config: AgentConfig): NodeOptions {
  return {
    nodeName: config.nodeName,
    labels: config.nodeLabels,
    taints: config.registerWithTaints,
    providerId: config.providerId === '' ? undefined : config.providerId,
    architecture: architecture(),
    maxImages: config.nodeStatusMaxImages,
  };
}

/** S-371, S-372. */
/** As a kubelet shows it: what a distribution appends (`1.7.24~ds1`) is no part of a version. */
export function semanticVersion(version: string): string {
  const numbers = /^v?(\d+(?:\.\d+)+)/.exec(version)?.[1] ?? version;
  return /^v?\d+\.\d+\.\d+(?:-[\w.-]+)?(?:\+[\w.-]+)?$/.test(version) ? version.replace(/^v/, '') : numbers;
}

function resourceList(amounts: NodeAmounts, pods: number): Readonly<Record<string, Quantity>> {
  const { cpuMillis, memoryBytes, ephemeralStorageBytes, hugepagesBytes } = amounts;
  const bytes = (value: number): Quantity => quantity(BigInt(Math.floor(value)) * 1_000_000_000n, 'BinarySI');
  return {
    cpu: quantity(BigInt(Math.floor(cpuMillis)) * 1_000_000n, 'DecimalSI'),
    'ephemeral-storage': bytes(ephemeralStorageBytes),
    ...Object.fromEntries([...hugepagesBytes].map(([size, total]) => [`hugepages-${bytes(size)}`, bytes(total)])),
    memory: bytes(memoryBytes),
    pods: `${pods}`,
  };
}

function quantity(nano: bigint, format: QuantityFormat): Quantity {
  return formatQuantity({ nano, format });
}

/** `maxPods`, or less by `podsPerCore` (S-371). */
export function podCapacity({ maxPods, podsPerCore }: Pick<AgentConfig, 'maxPods' | 'podsPerCore'>, cpuMillis: number): number {
  return podsPerCore > 0 ? Math.min(maxPods, Math.floor(cpuMillis / 1000) * podsPerCore) : maxPods;
}

/** S-375. Nothing is said before the runtime said something. */
function handlersOf(
  handlers: readonly { readonly name: string; readonly recursiveReadOnlyMounts: boolean; readonly userNamespaces: boolean }[],
  supplementalGroupsPolicy: boolean,
): { readonly runtimeHandlers?: readonly NodeRuntimeHandler[]; readonly features?: NodeFeatures } {
  if (handlers.length === 0) return {};
  return {
    runtimeHandlers: handlers.map(({ name, recursiveReadOnlyMounts, userNamespaces }) => ({
      name,
      features: { recursiveReadOnlyMounts, userNamespaces },
    })),
    features: { supplementalGroupsPolicy },
  };
}

/** Kubernetes' name of the architecture. */
export function architecture(name: string = arch()): string {
  const names: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386', ppc64: 'ppc64le', loong64: 'loong64' };
  return names[name] ?? name;
}

/** The same text gives the same UUID (version 8): the Node is the same one after a restart. */
function stableUid(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
