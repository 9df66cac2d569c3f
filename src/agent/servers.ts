// The agent's servers and what they see: the local Kubernetes API, its socket, and the kubelet's own ports.
import path from 'node:path';
import type { AgentConfig } from '../config/agent-config.ts';
import { configz, toDocuments } from '../config/describe.ts';
import type { ClusterMode } from '../mirror/cluster-mode.ts';
import type { PodWorkers } from '../podworker/pod-workers.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { KubeServer } from '../server/kube-server.ts';
import { KubeletApi } from '../server/kubelet/app.ts';
import { socketUser } from '../server/user.ts';
import type { ManifestsView, StatsView } from '../server/views.ts';
import type { StatusStore } from '../status/status-store.ts';
import { jsonStateFile } from '../std/state-file.ts';
import type { AgentBase } from './base.ts';
import { diffView } from './diff-view.ts';
import { kubeletApiOptions, serveKubeletEndpoints } from './kubelet-endpoints.ts';
import { LeaseFeed } from './lease-view.ts';
import type { Lifetime } from './lifetime.ts';
import type { NodeFeed } from './node-view.ts';
import type { PodEngine } from './pod-engine.ts';
import { podsView } from './pods-view.ts';
import { runtimeView } from './runtime-view.ts';
import type { Sources } from './sources.ts';
import { Troubles } from './troubles.ts';
import { kubeVersion } from './version.ts';

export interface ServersDeps extends AgentBase {
  readonly runtime: Runtime;
  readonly status: StatusStore;
  readonly stats: StatsView;
  readonly sources: Sources;
  readonly engine: Pick<PodEngine, 'admission' | 'pleg' | 'state' | 'workers' | 'planOptions'>;
  readonly nodes: NodeFeed;
  /** Undefined on a machine that has joined no cluster. */
  readonly cluster: ClusterMode | undefined;
  readonly setVerbosity: (verbosity: number) => void;
  /** The kubelet's main port is served, at this number. */
  readonly onKubeletPort: (port: number) => void;
}

/** Resolves once kubectl and the command line are served; the kubelet's ports follow in their own time. */
export async function startServers(config: AgentConfig, deps: ServersDeps, life: Lifetime): Promise<void> {
  const { clock, logger: log, runtime, status, sources, events, metrics, engine, reload } = deps;
  const { podConfig } = sources;
  const pods = podsView(status, clock);
  const manifests = manifestsView(sources, engine.workers);
  let portFault: string | undefined;
  let apiFault: string | undefined;
  const troubles = new Troubles(reload, {
    ...{ pods, manifests, events, clock },
    runtimeError: () => engine.state.runtimeError ?? engine.pleg.unhealthyReason(),
    networkError: () => engine.state.networkError,
    pressure: () => engine.admission.pressure,
    portFault: () => portFault,
    apiFault: () => apiFault,
    faults: deps.cluster?.faults,
  });
  life.spawn('troubles', (o) => troubles.run(o));
  const views = {
    ...{ pods, manifests, troubles },
    runtime: runtimeView(runtime),
    stats: deps.stats,
    diff: diffView({
      ...{ folder: () => sources.folder, podConfig, status, clock, planOptions: engine.planOptions },
      observe: (uid, options) => engine.pleg.observe(uid, options),
      refusalOf: (pod) => engine.workers.refusalOf(pod),
    }),
    config: {
      kubelet: () => configz(reload.loaded),
      agent: () => toDocuments(reload.loaded)[1] ?? {},
    },
    health: [
      { name: 'ping', check: () => undefined },
      // A log that cannot be written holds up the whole process, and this answer with it.
      { name: 'log', check: () => undefined },
      { name: 'syncloop', check: () => engine.pleg.unhealthyReason() },
    ],
    clock,
    log,
  };
  const leases = new LeaseFeed(
    { nodeName: config.nodeName, durationSeconds: config.nodeLeaseDurationSeconds },
    { nodes: deps.nodes, clock },
  );
  life.spawn('lease', (o) => leases.run(o));
  const mirrorState = jsonStateFile({ path: path.join(config.rootDir, 'views.json'), maxBytes: 8 << 20 }, { log });
  const { cluster } = deps;
  const ofCluster =
    cluster === undefined
      ? {}
      : { reviews: cluster.reviews, serving: cluster.serving, toStaticUid: (uid: string) => cluster.uids.toStatic(uid) };
  const kubeletDeps = {
    ...{ ...views, ...ofCluster, events, metrics, metricsView: metrics },
    build: { version: kubeVersion.gitVersion, engine: kubeVersion.engine, startedAt: clock.now() },
    setVerbosity: deps.setVerbosity,
    onServing: deps.onKubeletPort,
    onFault: (message: string | undefined): void => {
      portFault = message;
    },
  };
  const kubelet = new KubeletApi({ ...kubeletApiOptions(config), listener: 'main' }, { ...kubeletDeps, signal: life.signal });
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
    {
      ...{ ...views, nodes: deps.nodes, leases, events, mirrorState, random: deps.random },
      kubelet: (request) => kubelet.app.fetch(request, { user: socketUser }),
      onFault: (fault) => {
        const message = fault === undefined ? undefined : `kubectl cannot be served yet: ${fault}`;
        if (message !== undefined && message !== apiFault) log.warn(message);
        apiFault = message;
      },
    },
  );
  life.onStop(() => server.stop());
  await server.start();
  life.spawn('kubelet endpoints', (o) => serveKubeletEndpoints(config, kubeletDeps, o));
}

function manifestsView(sources: Sources, workers: Pick<PodWorkers, 'whyNotBegun'>): ManifestsView {
  const { podConfig } = sources;
  return {
    manifests() {
      const uids = new Map([...podConfig.desired()].map(([uid, { metadata }]) => [`${metadata.namespace}/${metadata.name}`, uid]));
      return podConfig.manifests().map((report) => {
        const uid = uids.get(report.pod ?? '');
        const waiting = report.verdict.kind !== 'accepted' || uid === undefined ? undefined : workers.whyNotBegun(uid);
        return waiting === undefined ? report : { ...report, verdict: { kind: 'accepted' as const, waiting } };
      });
    },
    sources: () =>
      podConfig
        .sources()
        .map(({ source, fault, unwatched, readAt }) => ({ source, location: sources.locationOf(source), readAt, fault, unwatched })),
  };
}
