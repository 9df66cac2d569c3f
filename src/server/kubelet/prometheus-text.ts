// Families of numbers that are read at each scrape, in Prometheus' text format (H-350): sorted, with times of their own.
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { Instant } from '../../std/clock.ts';

export interface Sample {
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
  /** Appended in milliseconds when given. */
  readonly time?: Instant | undefined;
}

export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge';
  readonly samples: readonly Sample[];
}

const escapeLabel = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"');

function formatNumber(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  return value === Number.NEGATIVE_INFINITY ? '-Inf' : String(value);
}

function formatSample(name: string, sample: Sample): string {
  const labels = Object.entries(sample.labels ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  const text = labels.length === 0 ? '' : `{${labels.map(([key, value]) => `${key}="${escapeLabel(value)}"`).join(',')}}`;
  const time = sample.time === undefined ? '' : ` ${Math.round(sample.time)}`;
  return `${name}${text} ${formatNumber(sample.value)}${time}\n`;
}

/** Families without samples are left out. */
export function formatFamilies(families: readonly Family[]): string {
  return [...families]
    .filter((family) => family.samples.length > 0)
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, help, type, samples }) => {
      const lines = samples.map((sample) => formatSample(name, sample)).sort();
      return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`;
    })
    .join('');
}

/** Several expositions as one, families sorted by name. No family may be in two of them. */
export function mergeExpositions(...texts: readonly string[]): string {
  const families = texts.flatMap((text) => text.split(/^(?=# HELP )/m)).filter((family) => family !== '');
  return families.sort().join('');
}

const compress = promisify(gzip);

/** The answer to a scraper; compressed for one that can read that. */
export async function exposition(text: string, acceptEncoding: string | undefined): Promise<Response> {
  const headers = { 'Content-Type': 'text/plain; version=0.0.4; charset=utf-8', Vary: 'Accept-Encoding' };
  if (!/\bgzip\b(?!; *q=0(,|$))/.test(acceptEncoding ?? '')) return new Response(text, { headers });
  return new Response(new Uint8Array(await compress(text)), { headers: { ...headers, 'Content-Encoding': 'gzip' } });
}
