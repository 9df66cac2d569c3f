// Counts and times the requests at one of the kubelet's ports (H-387), whatever becomes of them.
import type { Clock } from '../../std/clock.ts';
import type { Counter, Gauge, Histogram, Labels, Metrics } from '../../std/metrics.ts';

const labelNames = ['method', 'path', 'server_type', 'long_running'] as const;

export class RequestMeter {
  readonly #serverType: 'readwrite' | 'readonly';
  readonly #clock: Clock;
  readonly #requests: Counter;
  readonly #inflight: Gauge;
  readonly #durations: Histogram;
  readonly #inflightCounts = new Map<string, number>();

  constructor(serverType: 'readwrite' | 'readonly', { metrics, clock }: { readonly metrics: Metrics; readonly clock: Clock }) {
    this.#serverType = serverType;
    this.#clock = clock;
    const family = (name: string, help: string) => ({ name: `kubelet_http_${name}`, help: `[ALPHA] ${help}`, labels: labelNames });
    this.#requests = metrics.counter(family('requests_total', 'HTTP requests received'));
    this.#inflight = metrics.gauge(family('inflight_requests', 'HTTP requests being answered'));
    this.#durations = metrics.histogram(family('requests_duration_seconds', 'How long HTTP requests took'));
  }

  async measure<T>(method: string, path: string, answer: () => T | Promise<T>): Promise<T> {
    const labels = requestLabels(method, path, this.#serverType);
    const startedAt = this.#clock.elapsed();
    this.#requests.inc(labels);
    this.#countInflight(labels, 1);
    try {
      return await answer();
    } finally {
      this.#countInflight(labels, -1);
      this.#durations.observe((this.#clock.elapsed() - startedAt) / 1000, labels);
    }
  }

  /** One that was answered before it was looked at. */
  refused(method: string, path: string): void {
    const labels = requestLabels(method, path, this.#serverType);
    this.#requests.inc(labels);
    this.#durations.observe(0, labels);
  }

  #countInflight(labels: Labels, by: number): void {
    const key = JSON.stringify(labels);
    const count = (this.#inflightCounts.get(key) ?? 0) + by;
    this.#inflightCounts.set(key, count);
    this.#inflight.set(count, labels);
  }
}

/** First segments of paths; all others count as one, so that no client can make as many series as it likes. */
const knownPaths: ReadonlySet<string> = new Set([
  ...['pods', 'runningpods', 'healthz', 'metrics', 'stats', 'configz', 'checkpoint', 'statusz', 'flagz', 'debug', 'logs'],
  ...['run', 'exec', 'attach', 'portForward', 'containerLogs'],
  ...['cadvisor', 'probes', 'resource', 'slis'].map((page) => `metrics/${page}`),
]);
const knownMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

export function requestLabels(method: string, path: string, serverType: 'readwrite' | 'readonly'): Labels {
  const [, first = '', second = ''] = path.split('/');
  const shown = first === 'metrics' && second !== '' ? `metrics/${second}` : first;
  return {
    method: knownMethods.has(method) ? method : 'other',
    path: knownPaths.has(shown) ? shown : 'other',
    server_type: serverType,
    long_running: ['exec', 'attach', 'portForward', 'debug'].includes(first) ? 'true' : 'false',
  };
}
