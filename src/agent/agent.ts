// Composition root: builds every stage by hand, starts them in order, stops them in reverse. It decides nothing.
import path from 'node:path';
import type { EventSink } from '../api/events.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import type { LoadedConfig } from '../config/load.ts';
import { checkResolvConfLimits } from '../pod/dns.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { EventStore } from '../status/event-store.ts';
import { StatusStore } from '../status/status-store.ts';
import { type Mailbox, raceSignal } from '../std/async.ts';
import type { Clock } from '../std/clock.ts';
import type { Logger } from '../std/log.ts';
import type { Random } from '../std/random.ts';
import { jsonStateFile } from '../std/state-file.ts';
import { programMounter } from '../volume/mounter.ts';
import { shareFolder } from '../volume/shared-folder.ts';
import { type AgentBase, nodeObject } from './base.ts';
import { startCluster } from './cluster.ts';
import { connectGiven, connectRuntime } from './connect-runtime.ts';
import { startHousekeeping } from './housekeeping.ts';
import { createImagePuller } from './images.ts';
import { applyKernelSettings } from './kernel-settings.ts';
import { Lifetime } from './lifetime.ts';
import { checkMachine } from './machine-check.ts';
import { declareGates, declareNode, PrometheusMetrics } from './metrics.ts';
import { startNodeCare } from './node-care.ts';
import { detectCgroup, NodeFactsReader } from './node-facts.ts';
import { NodeFeed } from './node-view.ts';
import { makeOwnFolder } from './own-folder.ts';
import { createPodEngine } from './pod-engine.ts';
import { observeReactions, reactionMetrics } from './reaction-metrics.ts';
import { ConfigReload } from './reload.ts';
import { startServers } from './servers.ts';
import { Sources } from './sources.ts';
import { AgentStats } from './stats-view.ts';
import { kubeVersion } from './version.ts';

export interface AgentOptions {
  readonly loaded: LoadedConfig;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface Reloading {
  /** Throws a ConfigError. */
  readonly read: () => LoadedConfig;
  /** Where requests arrive (SIGHUP). */
  readonly requests: Mailbox<void>;
  readonly setVerbosity: (verbosity: number) => void;
}

export interface AgentDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** How the configuration is read again; without it, it never is. */
  readonly reloading?: Reloading;
  /** Instead of the one that the configuration names or the machine has: for development and tests. */
  readonly runtime?: Runtime;
}

/** A running agent: `run` starts everything and lasts until its signal aborts. Containers keep running after it (D2). */
export class Agent {
  readonly #options: AgentOptions;
  readonly #deps: AgentDeps;

  constructor(options: AgentOptions, deps: AgentDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /**
   * Rejects with a ConfigError when the machine or the configuration makes a start impossible, with an InvariantError
   * for a fault of ours; resolves after an orderly stop. `onReady` is called once the first manifests are being acted on.
   */
  async run({ signal, onReady }: { readonly signal: AbortSignal; readonly onReady: () => void }): Promise<void> {
    const { config, warnings } = this.#options.loaded;
    for (const warning of warnings) this.#deps.logger.warn(warning);
    await checkMachine(config);
    for (const folder of [config.rootDir, config.podLogsDir]) await makeOwnFolder(folder, 0o750);
    // The first process of a Pod with a user namespace, who is nobody here, must get to its root through it.
    await makeOwnFolder(config.runDir, 0o711);
    const life = new Lifetime({ signal }, this.#deps);
    try {
      await this.#start(life);
      onReady();
      await life.ended();
    } finally {
      await life.stop();
    }
  }

  /** Runtime → servers → first relist → workers → sources → housekeeping. */
  async #start(life: Lifetime): Promise<void> {
    const { loaded, env } = this.#options;
    const { config } = loaded;
    const { clock } = this.#deps;
    const base = await this.#base(life);
    const kernel = { protect: config.protectKernelDefaults, set: config.kernelSettings === 'set', root: '/proc/sys' };
    await applyKernelSettings(kernel, { log: base.logger });

    const given = this.#deps.runtime;
    if (given === undefined) await shareFolder(config.rootDir, { mounter: programMounter, log: base.logger }, life);
    const connection = given === undefined ? await connectRuntime({ loaded, env }, base, life) : await connectGiven(given, base, life);
    const { runtime, version, containerd } = connection;
    const driver = await runtime.cgroupDriver(life);
    const { layout, facts: cgroup } = await detectCgroup(config, driver ?? connection.cgroupDriver);
    declareNode(base.metrics, cgroup.version, driver !== undefined);
    declareGates(base.metrics, config.featureGates);
    tellStart(config, cgroup.version, base.events);
    const node = new NodeFactsReader({ config, cgroup, layout }, { runtime, clock, log: base.logger });
    await node.refreshRuntime(life);
    const facts = await node.read();
    const resolver = checkResolvConfLimits(facts);
    if (resolver !== undefined) base.events.record(nodeObject(config), 'Warning', resolver.reason, resolver.message);

    const status = new StatusStore({ clock });
    observeReactions(reactionMetrics(base.metrics), status, clock);
    const sources = new Sources({ config, env }, base);
    const { podConfig } = sources;
    // The Node shows what those below find out; it is made after them.
    let nodeFeed: NodeFeed | undefined;
    const onImages = (): void => nodeFeed?.imagesChanged();
    const onRuntimeState = (): void => nodeFeed?.wake();
    const images = await createImagePuller({ config, env }, { ...base, ...connection, onImages });
    const engineDeps = { ...base, runtime, node, images, podConfig, status, onRuntimeState };
    const engine = await createPodEngine({ config, version, layout, cgroup, facts }, engineDeps, life);
    life.onStop(() => engine.prober.close());
    await engine.state.refresh(life);

    let kubeletPort = config.port;
    const setVerbosity = (verbosity: number): void => this.#deps.reloading?.setVerbosity(verbosity);
    const onKubeletPort = (port: number): void => {
      kubeletPort = port;
      nodes.wake();
    };
    // Servers before Pods, so that a person sees what goes on while the rest comes up.
    const nodes = new NodeFeed(
      { config, kubeletVersion: kubeVersion.gitVersion },
      {
        facts: node,
        runtime,
        readyProblems: () =>
          [
            engine.state.runtimeError,
            engine.state.networkError,
            engine.pleg.unhealthyReason(),
            engine.admission.isShuttingDown ? 'node is shutting down' : undefined,
          ].filter((problem) => problem !== undefined),
        pressure: () => engine.admission.pressure,
        agentPort: () => kubeletPort,
        events: base.events,
        clock,
        log: base.logger,
      },
    );
    nodeFeed = nodes;
    life.spawn('node', (o) => nodes.run(o));
    const stats = new AgentStats({ config, layout, cgroup }, { runtime, status, clock, log: base.logger, metrics: base.metrics });
    const cluster = await startCluster(config, { ...base, status, podConfig, nodes, engine }, life);
    await startServers(config, { ...base, runtime, status, stats, sources, engine, nodes, cluster, onKubeletPort, setVerbosity }, life);

    const { workers, pleg, state } = engine;
    if (containerd !== undefined) life.spawn('containerd', (o) => containerd.supervise({ ...o, onRestarted: () => workers.wakeAll() }));
    life.spawn('runtime status', (o) => state.run(o));
    life.spawn('pleg', (o) => pleg.run(o));
    await pleg.ready(life);
    nodes.wake();
    life.onStop(() => workers.close());
    life.spawn('pod workers', (o) => raceSignal(workers.failed, o.signal));
    await workers.start(life);
    const reconcile = (): void => {
      workers.reconcile();
      cluster?.sourcesChanged();
    };
    life.spawn('sources', (o) => sources.run(reconcile, o));
    const imageGc = startHousekeeping({ ...base, ...connection, podConfig, engine, onImages }, life);
    startNodeCare({ config, layout, cgroup }, { ...base, runtime, engine, imageGc, status, stats, nodes }, life);

    const { reload } = base;
    const { reloading } = this.#deps;
    reload.follow((next) => sources.configure(next));
    reload.follow((next) => nodes.configure(next));
    reload.follow(() => workers.wakeAll());
    if (reloading !== undefined) {
      reload.follow((next) => reloading.setVerbosity(next.logVerbosity));
      life.spawn('reload', (o) => reload.run(reloading.requests, o));
    }
  }

  async #base(life: Lifetime): Promise<AgentBase> {
    const { clock, logger } = this.#deps;
    const { loaded } = this.#options;
    const { config } = loaded;
    const file = jsonStateFile({ path: path.join(config.rootDir, 'events.json'), maxBytes: 8 << 20 }, { log: logger });
    const events = new EventStore({ nodeName: config.nodeName }, { clock, log: logger, file });
    await events.load();
    life.spawn('events', (o) => events.run(o));
    const reload = new ConfigReload(
      { loaded, node: nodeObject(config) },
      { read: this.#deps.reloading?.read ?? (() => loaded), events, logger },
    );
    const metrics = new PrometheusMetrics();
    metrics.declareProcess({ nodeName: config.nodeName, ...kubeVersion });
    return { ...this.#deps, metrics, events, reload };
  }
}

/** S-436, S-442. */
function tellStart(config: AgentConfig, cgroupVersion: 1 | 2, events: EventSink): void {
  events.record(nodeObject(config), 'Normal', 'Starting', 'Starting kubelet.');
  const advice = 'this machine uses cgroup v1, which Kubernetes and container runtimes are giving up; boot it with cgroup v2';
  if (cgroupVersion === 1) events.record(nodeObject(config), 'Warning', 'CgroupV1', advice);
}
