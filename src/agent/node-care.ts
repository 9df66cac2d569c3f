// What is done for the node as a whole: it is watched for pressure, and Pods end in order when the machine shuts down.
import type { CgroupLayout } from '../cgroup/layout.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import { Eviction } from '../eviction/eviction.ts';
import type { ImageGc } from '../image/image-gc.ts';
import type { CgroupFacts } from '../pod/node-facts.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { StatsView } from '../server/views.ts';
import { shutdownGroups } from '../shutdown/groups.ts';
import { SystemdLogind } from '../shutdown/logind.ts';
import { NodeShutdown, shutdownMetrics } from '../shutdown/node-shutdown.ts';
import type { StatusStore } from '../status/status-store.ts';
import { emptyDirPath } from '../volume/volumes.ts';
import { type AgentBase, nodeObject } from './base.ts';
import type { Lifetime } from './lifetime.ts';
import { NodeSignals } from './node-signals.ts';
import type { NodeFeed } from './node-view.ts';
import type { PodEngine } from './pod-engine.ts';
import { podUsages } from './pod-usages.ts';

export interface NodeCareOptions {
  readonly config: AgentConfig;
  readonly layout: CgroupLayout;
  readonly cgroup: CgroupFacts;
}

export interface NodeCareDeps extends AgentBase {
  readonly runtime: Runtime;
  readonly engine: Pick<PodEngine, 'workers' | 'admission' | 'records'>;
  readonly imageGc: ImageGc;
  readonly status: StatusStore;
  readonly stats: StatsView;
  readonly nodes: NodeFeed;
}

export function startNodeCare(options: NodeCareOptions, deps: NodeCareDeps, life: Lifetime): void {
  startEviction(options, deps, life);
  startShutdown(options.config, deps, life);
}

function startEviction(options: NodeCareOptions, deps: NodeCareDeps, life: Lifetime): void {
  const { config } = options;
  const { engine, imageGc, nodes, reload, stats } = deps;
  const signals = new NodeSignals(options, deps);
  const eviction = new Eviction(
    { settings: () => reload.config, node: nodeObject(config) },
    {
      ...deps,
      signals: (o) => signals.read(o),
      usages: (pods, o) => podUsages(pods, { stats, emptyDirPath: (uid, volume) => emptyDirPath(config.rootDir, uid, volume) }, o),
      reclaim: async (signal, o) => {
        if (!(await signals.isHelpedByImages(signal, o))) return false;
        await engine.records.collect(o);
        await imageGc.removeUnused(o);
        return true;
      },
      pods: engine.workers,
      onPressure: (pressure) => {
        if (engine.admission.update({ pressure })) nodes.wake();
      },
    },
  );
  life.spawn('eviction', (o) => eviction.run(o));
}

function startShutdown(config: AgentConfig, deps: NodeCareDeps, life: Lifetime): void {
  shutdownMetrics(deps.metrics);
  const groups = shutdownGroups(config);
  if (groups.length === 0) return;
  const { workers, admission } = deps.engine;
  const shutdown = new NodeShutdown(
    { groups, node: nodeObject(config) },
    {
      ...deps,
      logind: new SystemdLogind(),
      pods: {
        active: () => workers.active().map(({ pod }) => pod),
        terminate: (uid, cause, graceSeconds) => workers.terminate(uid, cause, graceSeconds),
        subscribe: (listener) => deps.status.subscribe(listener),
      },
      onChange: (isShuttingDown) => {
        if (admission.update({ isShuttingDown })) deps.nodes.wake();
      },
    },
  );
  life.spawn('node shutdown', (o) => shutdown.run(o));
}
