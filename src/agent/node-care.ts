// What is done for the node as a whole: Pods end in order when the machine shuts down.
import type { AgentConfig } from '../config/agent-config.ts';
import { shutdownGroups } from '../shutdown/groups.ts';
import { SystemdLogind } from '../shutdown/logind.ts';
import { NodeShutdown } from '../shutdown/node-shutdown.ts';
import type { StatusStore } from '../status/status-store.ts';
import type { AgentBase } from './base.ts';
import type { Lifetime } from './lifetime.ts';
import type { NodeFeed } from './node-view.ts';
import { nodeObject, type PodEngine } from './pod-engine.ts';

export interface NodeCareDeps extends AgentBase {
  readonly engine: Pick<PodEngine, 'workers' | 'admission'>;
  readonly status: StatusStore;
  readonly nodes: NodeFeed;
}

export function startNodeCare(config: AgentConfig, deps: NodeCareDeps, life: Lifetime): void {
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
        admission.update({ isShuttingDown });
        deps.nodes.wake();
      },
    },
  );
  life.spawn('node shutdown', (o) => shutdown.run(o));
}
