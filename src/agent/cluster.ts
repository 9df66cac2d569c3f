// The agent's place on a real cluster: ClusterMode with what it needs of the other stages. None of them waits for it (D3).
import type { AgentConfig } from '../config/agent-config.ts';
import { ClusterMode } from '../mirror/cluster-mode.ts';
import { statusSyncs } from '../mirror/mirror-pods.ts';
import { NodeStartup } from '../mirror/node-startup.ts';
import type { PodConfig } from '../podconfig/pod-config.ts';
import type { StatusStore } from '../status/status-store.ts';
import { agentVersion } from '../std/version.ts';
import type { AgentBase } from './base.ts';
import type { Lifetime } from './lifetime.ts';
import { startTimes } from './metrics.ts';
import { type NodeFeed, nodeOptions } from './node-view.ts';
import type { PodEngine } from './pod-engine.ts';
import { kubeVersion } from './version.ts';

export interface ClusterDeps extends AgentBase {
  readonly status: StatusStore;
  readonly podConfig: PodConfig;
  readonly nodes: Pick<NodeFeed, 'facts'>;
  readonly engine: Pick<PodEngine, 'admission'>;
}

/** Begins the work and answers at once; undefined without `--kubeconfig`. */
export async function startCluster(config: AgentConfig, deps: ClusterDeps, life: Lifetime): Promise<ClusterMode | undefined> {
  const startup = new NodeStartup(await startTimes(), deps.metrics);
  if (config.kubeconfig === undefined) {
    showLocalMirrors(deps);
    statusSyncs(deps.metrics);
    return undefined;
  }
  const { podConfig, events } = deps;
  const cluster = new ClusterMode(
    {
      node: {
        ...nodeOptions(config),
        register: config.registerNode,
        statusUpdateFrequencyMs: config.nodeStatusUpdateFrequencyMs,
        statusReportFrequencyMs: config.nodeStatusReportFrequencyMs,
      },
      kubeconfigPath: config.kubeconfig,
      bootstrapKubeconfigPath: config.bootstrapKubeconfig,
      certificateDirectory: config.certDir,
      rotateCertificates: config.rotateCertificates,
      serverTlsBootstrap: config.serverTlsBootstrap,
      leaseDurationSeconds: config.nodeLeaseDurationSeconds,
      apiQps: config.kubeApiQps,
      apiBurst: config.kubeApiBurst,
      eventQps: config.eventRecordQps,
      eventBurst: config.eventBurst,
      userAgent: `pinpod/${agentVersion} (${kubeVersion.platform})`,
    },
    {
      ...deps,
      startup,
      facts: deps.nodes.facts,
      onNode: ({ metadata }) => void deps.engine.admission.update({ clusterLabels: metadata?.labels ?? {} }),
      isOrphan: ({ namespace, name }) => podConfig.allSourcesSeen && !wants(podConfig, namespace, name),
    },
  );
  events.forwardTo(cluster.events);
  life.spawn('cluster', (o) => cluster.run(o));
  return cluster;
}

/** Without a cluster it is the local API that shows mirrors, one of each Pod (H-365). */
function showLocalMirrors({ metrics, status }: ClusterDeps): void {
  const gauge = metrics.gauge({ name: 'kubelet_mirror_pods', help: '[ALPHA] Mirror Pods of this node' });
  status.subscribe(() => gauge.set(status.list().length));
}

function wants(podConfig: PodConfig, namespace: string, name: string): boolean {
  for (const { metadata } of podConfig.desired().values()) if (metadata.namespace === namespace && metadata.name === name) return true;
  return false;
}
