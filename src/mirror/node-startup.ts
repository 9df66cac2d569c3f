// How long the node took from its boot until it was Ready in a cluster that had not known it (H-403).
import type { Instant } from '../std/clock.ts';
import type { Gauge, Metrics } from '../std/metrics.ts';

const stages = {
  pre_kubelet: 'From the boot until the agent began',
  pre_registration: 'From the beginning of the agent until it asked to be registered',
  registration: 'From asking to be registered until the Node was there',
  post_registration: 'From the registration of the Node until it was Ready',
  '': 'From the boot until the Node was Ready',
} as const;

/** All of them are 0 until the Node is Ready, and stay so for one that was registered before. */
export class NodeStartup {
  readonly #gauges: Readonly<Record<keyof typeof stages, Gauge>>;
  readonly #times: { readonly bootedAt: Instant; readonly startedAt: Instant };
  #askedAt: Instant | undefined;
  #registeredAt: Instant | undefined;

  constructor(times: { readonly bootedAt: Instant; readonly startedAt: Instant }, metrics: Metrics) {
    this.#times = times;
    const gauge = (stage: keyof typeof stages): Gauge =>
      metrics.gauge({ name: `kubelet_node_startup_${stage === '' ? '' : `${stage}_`}duration_seconds`, help: `[ALPHA] ${stages[stage]}` });
    this.#gauges = {
      pre_kubelet: gauge('pre_kubelet'),
      pre_registration: gauge('pre_registration'),
      registration: gauge('registration'),
      post_registration: gauge('post_registration'),
      '': gauge(''),
    };
  }

  asked(now: Instant): void {
    this.#askedAt ??= now;
  }

  registered(now: Instant): void {
    this.#registeredAt ??= now;
  }

  /** Tells the times, once. */
  ready(now: Instant): void {
    const { bootedAt, startedAt } = this.#times;
    const askedAt = this.#askedAt;
    const registeredAt = this.#registeredAt;
    if (askedAt === undefined || registeredAt === undefined) return;
    this.#registeredAt = undefined;
    this.#askedAt = undefined;
    const set = (stage: keyof typeof stages, from: Instant, until: Instant): void => this.#gauges[stage].set((until - from) / 1000);
    set('pre_kubelet', bootedAt, startedAt);
    set('pre_registration', startedAt, askedAt);
    set('registration', askedAt, registeredAt);
    set('post_registration', registeredAt, now);
    set('', bootedAt, now);
  }
}
