// The metrics port: declared beside the code that counts, implemented once on prom-client.

export type Labels = Readonly<Record<string, string>>;

export interface Counter {
  inc(labels?: Labels, value?: number): void;
  /** Ends the series with exactly these labels: whoever it was about is gone. */
  remove(labels: Labels): void;
}

export interface Gauge {
  set(value: number, labels?: Labels): void;
  remove(labels: Labels): void;
}

export interface Histogram {
  /** `value` in the unit the name ends with (seconds, bytes). */
  observe(value: number, labels?: Labels): void;
  remove(labels: Labels): void;
}

export interface MetricOptions {
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly string[];
}

export interface Metrics {
  counter(options: MetricOptions): Counter;
  gauge(options: MetricOptions): Gauge;
  histogram(options: MetricOptions & { readonly buckets?: readonly number[] }): Histogram;
}

const nothing = (): void => undefined;

export const noMetrics: Metrics = {
  counter: () => ({ inc: nothing, remove: nothing }),
  gauge: () => ({ set: nothing, remove: nothing }),
  histogram: () => ({ observe: nothing, remove: nothing }),
};
