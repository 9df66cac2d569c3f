// Composition root: builds every stage by hand, starts them in order, stops them in reverse. It decides nothing.
import { access, mkdir } from 'node:fs/promises';
import { release } from 'node:os';
import path from 'node:path';
import { realCgroupFiles } from '../cgroup/cgroup-files.ts';
import { PodCgroups } from '../cgroup/pod-cgroups.ts';
import { systemctlSlices } from '../cgroup/systemd.ts';
import { toDocuments } from '../config/describe.ts';
import type { LoadedConfig } from '../config/load.ts';
import { CredentialPlugins, readCredentialProviders } from '../image/credential-plugins.ts';
import { type CredentialSource, combineCredentials } from '../image/credentials.ts';
import { DockerConfigCredentials } from '../image/docker-config.ts';
import { diskUsage, ImageGc } from '../image/image-gc.ts';
import { ImagePuller } from '../image/image-puller.ts';
import { readImageArchive } from '../image/oci-archive.ts';
import { makePauseArchive } from '../image/pause-archive.ts';
import { canonicalName } from '../image/reference.ts';
import { Pleg } from '../pleg/pleg.ts';
import { admitPodUnder } from '../pod/admission.ts';
import type { PlanOptions } from '../pod/draft.ts';
import { defaultBackoff } from '../pod/restart-policy.ts';
import { PodConfig } from '../podconfig/pod-config.ts';
import { ContainerLogLinks } from '../podworker/container-log-links.ts';
import { PodExecutor } from '../podworker/execute.ts';
import { GarbageCollector } from '../podworker/garbage-collector.ts';
import { HookRunner } from '../podworker/hooks.ts';
import { Leftovers } from '../podworker/leftovers.ts';
import { LogDirectories } from '../podworker/log-directories.ts';
import { LogRotation } from '../podworker/log-rotation.ts';
import { PodWorkers } from '../podworker/pod-workers.ts';
import { readTerminationMessage } from '../podworker/termination-message.ts';
import { Prober } from '../prober/prober.ts';
import { chooseRuntime } from '../runtime/containerd/choose.ts';
import { defaultSubnets } from '../runtime/containerd/network.ts';
import { PrivateContainerd } from '../runtime/containerd/private-containerd.ts';
import { CriRuntime } from '../runtime/cri/cri-runtime.ts';
import { withMetrics } from '../runtime/decorators.ts';
import type { Runtime, RuntimeVersion } from '../runtime/runtime.ts';
import { KubeServer } from '../server/kube-server.ts';
import { FileSource } from '../source/file.ts';
import { realFileSystem } from '../source/file-system.ts';
import { HttpSource } from '../source/http.ts';
import { createHttpGet } from '../source/http-get.ts';
import { LastGoodFolder } from '../source/last-good.ts';
import { parseFileManifest, parseUrlManifest } from '../source/parse-manifest.ts';
import type { PodSource } from '../source/source.ts';
import { EventStore } from '../status/event-store.ts';
import { StatusStore } from '../status/status-store.ts';
import { Shutdown, TaskGroup } from '../std/async.ts';
import type { Clock } from '../std/clock.ts';
import { messageOf, RuntimeError } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import { signalProcess } from '../std/process.ts';
import type { Random } from '../std/random.ts';
import { jsonStateFile } from '../std/state-file.ts';
import { programMounter } from '../volume/mounter.ts';
import { Volumes } from '../volume/volumes.ts';
import { serveKubeletEndpoints } from './kubelet-endpoints.ts';
import { PrometheusMetrics } from './metrics.ts';
import { detectCgroup, NodeFactsReader } from './node-facts.ts';
import { NodeFeed } from './node-view.ts';
import { podsView } from './pods-view.ts';
import { observeReactions, reactionMetrics } from './reaction-metrics.ts';
import { RuntimeState } from './runtime-state.ts';
import { runtimeView } from './runtime-view.ts';
import { AgentStats } from './stats-view.ts';
import { kubeVersion } from './version.ts';

export interface AgentOptions {
  readonly loaded: LoadedConfig;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface AgentDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** How long a stop may take before whatever still runs is left to the process's end. */
const stopDeadlineMs = 10_000;
const connectRetryMs = 1_000;

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
    const { config } = this.#options.loaded;
    const { logger, clock } = this.#deps;
    for (const warning of this.#options.loaded.warnings) logger.warn(warning);
    for (const folder of [config.rootDir, config.runDir, config.podLogsDir]) await mkdir(folder, { recursive: true, mode: 0o750 });
    const agentStartedAt = clock.now();
    const tasks = new TaskGroup({ signal });
    const closers: (() => Promise<void>)[] = [];
    try {
      const metrics = new PrometheusMetrics();
      const { runtime, version, containerd, offlineImages } = await this.#connect(metrics, tasks.signal, closers);
      const { layout, facts: cgroup } = await detectCgroup(config, await runtime.cgroupDriver({ signal }));
      const node = new NodeFactsReader({ config, cgroup, layout }, { runtime, clock, log: logger });
      await node.refreshRuntime({ signal });
      const facts = await node.read();

      // What is known and shown.
      const status = new StatusStore({ clock });
      observeReactions(reactionMetrics(metrics), status, clock);
      const eventsFile = jsonStateFile({ path: path.join(config.rootDir, 'events.json'), maxBytes: 8 << 20 }, { log: logger });
      const events = new EventStore({ nodeName: config.nodeName }, { clock, log: logger, file: eventsFile });
      await events.load();
      tasks.spawn('events', (o) => events.run(o));
      const sources = this.#sources();
      const podConfig = new PodConfig({ sources: sources.map((source) => source.name) }, { clock });

      // What acts on the machine.
      const cgroups = new PodCgroups(
        { layout, cgroup },
        {
          files: realCgroupFiles,
          kill: (pid) => void signalProcess(pid, 'SIGKILL'),
          clock,
          log: logger,
          ...((await usesSystemd(cgroup.driver)) ? { slices: systemctlSlices } : {}),
        },
      );
      if (cgroup.perQos) {
        const limit = config.enforceNodeAllocatable.includes('pods') ? facts.allocatable : facts.capacity;
        await cgroups
          .start(facts, limit, -1)
          .catch((error: unknown) => logger.warn('node limits cannot be set', { error: messageOf(error) }));
      }
      const volumes = new Volumes({ rootDir: config.rootDir }, { mounter: programMounter, clock, random: this.#deps.random, log: logger });
      const isOffline = (_image: unknown, name: string): boolean => offlineImages.has(name);
      const images = new ImagePuller(
        {
          maxParallelPulls: config.serializeImagePulls ? 1 : (config.maxParallelImagePulls ?? Number.POSITIVE_INFINITY),
          pullsPerSecond: config.registryPullQps,
          pullBurst: config.registryBurst,
        },
        { runtime, clock, events, logger, metrics, credentials: await this.#credentials(), isOffline },
      );
      const hooks = new HookRunner({ runtime, clock, events, logger });
      const logs = new LogDirectories({ root: config.podLogsDir, owner: config.rootDir });
      const links = new ContainerLogLinks(
        { folder: path.join(path.dirname(config.podLogsDir), 'containers'), podLogsDir: config.podLogsDir },
        { logger },
      );
      const nodeObject = { kind: 'Node' as const, namespace: '', name: config.nodeName, uid: config.nodeName };
      // The three below need each other by way of the workers, which exist only after them.
      let workers: PodWorkers | undefined;
      const wake = (uid: string): void => workers?.wake(uid);
      const records = new GarbageCollector(
        { minimumAgeMs: 0, maxPerContainer: 1, maxContainers: -1, node: nodeObject },
        {
          runtime,
          clock,
          events,
          logger,
          hooks,
          logs,
          links,
          pods: { sourcesReady: () => podConfig.allSourcesSeen, isDisposable: (uid) => workers?.isDisposable(uid) ?? false },
        },
      );
      const pleg = new Pleg({}, { runtime, clock, logger, metrics, onChange: wake, onRecovered: () => workers?.wakeAll() });
      const prober = new Prober(
        { agentStartedAt },
        { runtime, clock, random: this.#deps.random, events, logger, metrics, nodeAddress: () => facts.ips[0], onResult: wake },
      );
      closers.push(() => prober.close());
      const state = new RuntimeState({ runtime, clock, logger, onChange: () => workers?.wakeAll() });
      await state.refresh({ signal });
      const planOptions = (): PlanOptions => ({
        backoff: { ...defaultBackoff, maxMs: config.crashLoopMaxBackOffMs },
        networkError: state.networkError,
        runtimeName: version.runtimeName,
        hostIps: facts.ips,
        agentStartedAt,
      });
      const executorDeps = {
        runtime,
        node: () => node.read(),
        images,
        volumes,
        cgroups: cgroup.perQos ? cgroups : noCgroups,
        hooks,
        logs,
        links,
        records,
        events,
        logger,
      };
      const podWorkers = new PodWorkers(
        { nodeName: config.nodeName },
        {
          desired: () => podConfig.desired(),
          hasSeen: (source) => podConfig.hasSeen(source),
          podUids: () => pleg.podUids(),
          observe: (uid, options) => pleg.observe(uid, options),
          executorOf: (pod) => new PodExecutor(pod, executorDeps),
          admit: admitPodUnder({ allowedUnsafe: config.allowedUnsafeSysctls, kernelRelease: release() }),
          prober,
          planOptions,
          readTerminationMessage,
          status,
          events,
          clock,
          logger,
        },
      );
      workers = podWorkers;

      // Servers first, so that a person sees what goes on while the rest comes up.
      const nodeFeed = new NodeFeed(
        { config, kubeletVersion: kubeVersion.gitVersion },
        {
          facts: node,
          runtime,
          readyProblems: () => [state.runtimeError, state.networkError, pleg.unhealthyReason()].filter((problem) => problem !== undefined),
          agentPort: () => config.port,
          clock,
          log: logger,
        },
      );
      tasks.spawn('node', (o) => nodeFeed.run(o));
      const views = {
        pods: podsView(status, clock),
        runtime: runtimeView(runtime),
        stats: new AgentStats({ config, cgroup, layout }, { runtime, status, clock, log: logger }),
        manifests: {
          manifests: () => podConfig.manifests().map((report) => ({ ...report, source: report.path.includes('://') ? 'http' : 'file' })),
          sources: () =>
            podConfig.sources().map(({ source, fault, readAt }) => ({
              source,
              location: (source === 'http' ? config.staticPodUrl : config.staticPodPath) ?? '',
              readAt,
              fault,
            })),
        },
        config: {
          kubelet: () => toDocuments(this.#options.loaded)[0] ?? {},
          agent: () => toDocuments(this.#options.loaded)[1] ?? {},
        },
        health: [
          { name: 'ping', check: () => undefined },
          { name: 'log', check: () => undefined },
          { name: 'syncloop', check: () => pleg.unhealthyReason() },
        ],
        clock,
        log: logger,
      };
      const mirrorState = jsonStateFile({ path: path.join(config.rootDir, 'views.json'), maxBytes: 8 << 20 }, { log: logger });
      const server = new KubeServer(
        {
          version: kubeVersion,
          manifestLocation: config.staticPodPath ?? config.staticPodUrl ?? '',
          socketPath: config.agentSocketPath,
          https: config.kubeApi
            ? {
                address: config.kubeApiAddress,
                port: config.kubeApiPort,
                names: [config.nodeName],
                pkiDir: path.join(config.rootDir, 'pki'),
                kubeconfigPath: config.localKubeconfigPath,
              }
            : undefined,
        },
        { ...views, nodes: nodeFeed, events, mirrorState, random: this.#deps.random },
      );
      closers.push(() => server.stop());
      await server.start();
      if (server.url !== undefined) logger.info('kubectl works here', { url: server.url, kubeconfig: config.localKubeconfigPath });

      if (config.enableServer)
        tasks.spawn('kubelet endpoints', (o) => serveKubeletEndpoints(config, { ...views, events, metrics, metricsView: metrics }, o));

      if (containerd !== undefined) tasks.spawn('containerd', (o) => containerd.supervise({ ...o, onRestarted: () => workers?.wakeAll() }));
      tasks.spawn('runtime status', (o) => state.run(o));
      tasks.spawn('pleg', (o) => pleg.run(o));
      await pleg.ready({ signal: tasks.signal });
      closers.push(() => podWorkers.close());
      await podWorkers.start({ signal: tasks.signal });
      for (const source of sources) tasks.spawn(`source ${source.name}`, (o) => follow(source, podConfig, podWorkers, o.signal));
      tasks.spawn('garbage collection', (o) => records.run(o));
      const leftovers = new Leftovers({
        volumes,
        cgroups: executorDeps.cgroups,
        knownPods: () => (podConfig.allSourcesSeen ? podWorkers.knownPods() : undefined),
        clock,
        logger,
      });
      tasks.spawn('leftovers', (o) => leftovers.run(o));
      const rotation = new LogRotation(
        {
          maxSizeBytes: config.containerLogMaxSizeBytes,
          maxFiles: config.containerLogMaxFiles,
          intervalMs: config.containerLogMonitorIntervalMs,
          workers: config.containerLogMaxWorkers,
        },
        { runtime, clock, logger },
      );
      tasks.spawn('log rotation', (o) => rotation.run(o));
      const imageGc = new ImageGc(
        {
          highThresholdPercent: config.imageGcHighThresholdPercent,
          lowThresholdPercent: config.imageGcLowThresholdPercent,
          minimumAgeMs: config.imageMinimumGcAgeMs,
          maximumAgeMs: config.imageMaximumGcAgeMs,
          node: nodeObject,
        },
        { runtime, clock, events, logger, isOffline, diskUsage, neededImages: () => neededImages(podConfig, config.pauseImage) },
      );
      tasks.spawn('image garbage collection', (o) => imageGc.run(o));
      onReady();
      await Promise.race([tasks.failed, podWorkers.failed, aborted(tasks.signal)]);
    } finally {
      await this.#stop(tasks, closers);
    }
  }

  /** In reverse order of the start; containers keep running. */
  async #stop(tasks: TaskGroup, closers: readonly (() => Promise<void>)[]): Promise<void> {
    const { clock, logger } = this.#deps;
    const all = async (): Promise<void> => {
      for (const close of [...closers].reverse())
        await close().catch((error: unknown) => logger.warn('a part did not stop in order', { error }));
      await tasks.close(new Shutdown());
    };
    const deadline = new AbortController();
    await Promise.race([
      all(),
      clock.sleep(stopDeadlineMs, deadline.signal).then(() => logger.warn('stopping takes too long; leaving the rest')),
    ]);
    deadline.abort();
  }

  /** Chooses the runtime, waits until it answers, and says which images came from archives. */
  async #connect(metrics: PrometheusMetrics, signal: AbortSignal, closers: (() => Promise<void>)[]) {
    const { config } = this.#options.loaded;
    const { clock, logger } = this.#deps;
    const isDefaultSubnet = this.#options.loaded.origins.privateContainerdSubnet.kind === 'default';
    const connectTo = (endpoint: string): CriRuntime =>
      new CriRuntime(
        {
          runtimeEndpoint: endpoint,
          requestTimeoutMs: config.runtimeRequestTimeoutMs,
          ...(config.imageServiceEndpoint === undefined ? {} : { imageEndpoint: config.imageServiceEndpoint }),
        },
        { clock, logger },
      );
    const probe = async (endpoint: string, options: { readonly signal: AbortSignal }): Promise<unknown> => {
      const candidate = connectTo(endpoint);
      try {
        return await candidate.version(options);
      } finally {
        candidate.close();
      }
    };
    const containerd = new PrivateContainerd(
      {
        rootDir: config.rootDir,
        runDir: config.runDir,
        pauseImage: config.pauseImage,
        imagesDir: config.imagesDir,
        cgroupDriver: config.cgroupDriver,
        subnets: isDefaultSubnet ? [config.privateContainerdSubnet, ...defaultSubnets] : [config.privateContainerdSubnet],
        bridge: config.privateContainerdBridge,
        binDirs: config.privateContainerdBinDirs,
        cniBinDirs: config.cniBinDirs,
        env: this.#options.env,
      },
      { clock, log: logger, probe, readArchive: readImageArchive, makePauseArchive },
    );
    const chosen = await chooseRuntime(
      { configuredEndpoint: config.containerRuntimeEndpoint, privateContainerd: config.privateContainerd },
      { clock, log: logger, probe, private: containerd },
      { signal },
    );
    const client = connectTo(chosen.endpoint);
    closers.push(async () => client.close());
    const version = await this.#untilConnected(client, chosen.endpoint, signal);
    logger.info('container runtime', { endpoint: chosen.endpoint, name: version.runtimeName, version: version.runtimeVersion });
    const imports = chosen.kind === 'private' ? chosen.info.imports : [];
    const usable = imports.filter((report) => report.outcome !== 'failed').flatMap((report) => report.references);
    const runtime: Runtime = withMetrics(client, { metrics, clock });
    return {
      runtime,
      version,
      containerd: chosen.kind === 'private' ? containerd : undefined,
      offlineImages: new Set(usable.map((reference) => canonicalName(reference))),
    };
  }

  /** A runtime that is not up yet is waited for: after a boot it may come later than the agent. */
  async #untilConnected(client: CriRuntime, endpoint: string, signal: AbortSignal): Promise<RuntimeVersion> {
    const { clock, logger } = this.#deps;
    for (let tries = 0; ; tries++) {
      try {
        return await client.connect({ signal });
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof RuntimeError) || error.retry === 'never') throw error;
        if (tries % 30 === 0) logger.warn('container runtime does not answer yet; trying again', { endpoint, error: messageOf(error) });
        await clock.sleep(connectRetryMs, signal);
      }
    }
  }

  #sources(): readonly PodSource[] {
    const { config } = this.#options.loaded;
    const { clock, random, logger: log } = this.#deps;
    const lastGood = (name: string): LastGoodFolder =>
      new LastGoodFolder({ folder: path.join(config.rootDir, 'last-good', name) }, { log });
    const { nodeName, sourceFaultPolicy } = config;
    const sources: PodSource[] = [];
    if (config.staticPodPath !== undefined) {
      sources.push(
        new FileSource(
          { path: config.staticPodPath, fileCheckFrequencyMs: config.fileCheckFrequencyMs, sourceFaultPolicy },
          { parse: parseFileManifest({ nodeName }), fileSystem: realFileSystem, lastGood: lastGood('file'), clock, log },
        ),
      );
    }
    if (config.staticPodUrl !== undefined) {
      const get = createHttpGet({
        caFile: config.staticPodUrlCaFile,
        certFile: config.staticPodUrlCertFile,
        keyFile: config.staticPodUrlKeyFile,
        proxyEnvironment: this.#options.env,
      });
      sources.push(
        new HttpSource(
          {
            url: config.staticPodUrl,
            headers: config.staticPodUrlHeaders,
            httpCheckFrequencyMs: config.httpCheckFrequencyMs,
            sourceFaultPolicy,
          },
          { get, parse: parseUrlManifest({ nodeName }), lastGood: lastGood('http'), clock, random, log },
        ),
      );
    }
    return sources;
  }

  async #credentials(): Promise<CredentialSource> {
    const { config } = this.#options.loaded;
    const { clock, logger } = this.#deps;
    const home = this.#options.env['HOME'] ?? '/root';
    const docker = new DockerConfigCredentials(
      { configDirs: [config.rootDir, path.join(home, '.docker'), '/.docker'], legacyDirs: [config.rootDir, home, '/'] },
      { clock, logger },
    );
    if (config.imageCredentialProviderConfig === undefined || config.imageCredentialProviderBinDir === undefined) return docker;
    const providers = await readCredentialProviders(config.imageCredentialProviderConfig);
    const options = { providers, binDir: config.imageCredentialProviderBinDir, environment: this.#options.env };
    return combineCredentials([new CredentialPlugins(options, { clock, logger }), docker]);
  }
}

/** Steps 1–5 of a manifest's travel: each snapshot into the desired set, then the workers in line with it. */
async function follow(source: PodSource, podConfig: PodConfig, workers: PodWorkers, signal: AbortSignal): Promise<void> {
  for await (const snapshot of source.snapshots({ signal })) {
    podConfig.apply(snapshot);
    workers.reconcile();
  }
}

function* neededImages(podConfig: PodConfig, pauseImage: string): Iterable<string> {
  yield pauseImage;
  for (const { spec } of podConfig.desired().values()) {
    for (const container of [...(spec.initContainers ?? []), ...spec.containers]) if (container.image !== undefined) yield container.image;
    for (const volume of spec.volumes ?? []) if (volume.image?.reference !== undefined) yield volume.image.reference;
  }
}

const noCgroups = { ensure: async (): Promise<void> => undefined, remove: async (): Promise<void> => undefined };

async function usesSystemd(driver: 'systemd' | 'cgroupfs'): Promise<boolean> {
  if (driver !== 'systemd') return false;
  return access('/run/systemd/system').then(
    () => true,
    () => false,
  );
}

/** Rejects when the signal aborts by a failure, resolves when it aborts by a shutdown. */
function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (): void => (signal.reason instanceof Shutdown ? resolve() : reject(signal.reason as unknown));
    if (signal.aborted) settle();
    else signal.addEventListener('abort', settle, { once: true });
  });
}
