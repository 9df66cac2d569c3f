// What every stage of the agent leans on.
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
