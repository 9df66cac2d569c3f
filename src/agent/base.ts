// What every stage of the agent leans on.
import type { EventObject } from '../api/events.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import type { EventStore } from '../status/event-store.ts';
import type { Clock } from '../std/clock.ts';
import type { Logger } from '../std/log.ts';
import type { Random } from '../std/random.ts';
import type { PrometheusMetrics } from './metrics.ts';
import type { ConfigReload } from './reload.ts';

export interface AgentBase {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: PrometheusMetrics;
  readonly events: EventStore;
  readonly reload: ConfigReload;
}

/** What Events about the node itself are told of. */
export function nodeObject(config: Pick<AgentConfig, 'nodeName'>): EventObject {
  return { kind: 'Node', namespace: '', name: config.nodeName, uid: config.nodeName };
}
