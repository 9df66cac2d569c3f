// The ways a setting's value can be written: in a file (JSON types), as a flag (text), in the printed configuration.
import type { EvictionThreshold, ShutdownPriority, Taint } from './agent-config.ts';

/** Why a value cannot be used; the text follows the field's name. */
export class Invalid {
  readonly message: string;

  constructor(message: string) {
    this.message = message;
  }
}

export interface Kind<T> {
  /** For help texts: `duration`, `list`, … */
  readonly name: string;
  readonly jsonSchema: Readonly<Record<string, unknown>>;
  /** From a value of a file. */
  fromFile(value: unknown): T | Invalid;
  /** From a flag's texts, one per occurrence, never none. */
  fromFlag(texts: readonly string[]): T | Invalid;
  /** As it would be written in a file. */
  print(value: T): unknown;
}

/** How a value is shown in a message. */
function shown(value: unknown): string {
  if (value !== null && typeof value === 'object') return Array.isArray(value) ? 'a list' : 'a map';
  return JSON.stringify(value);
}

function wrongType(value: unknown, wanted: string): Invalid {
  return new Invalid(`Invalid value: ${shown(value)}: must be ${wanted}`);
}

const last = (texts: readonly string[]): string => texts.at(-1) ?? '';

function scalar<T>(
  name: string,
  jsonSchema: Readonly<Record<string, unknown>>,
  fromFile: (value: unknown) => T | Invalid,
  fromText: (text: string) => T | Invalid,
  print: (value: T) => unknown = (value) => value,
): Kind<T> {
  return { name, jsonSchema, fromFile, fromFlag: (texts) => fromText(last(texts)), print };
}

const toText = (value: unknown): string | Invalid => (typeof value === 'string' ? value : wrongType(value, 'a string'));

export const text: Kind<string> = scalar('string', { type: 'string' }, toText, (s) => s);

/** A file or folder; made absolute by the loader, against the place it was written in. */
export const path: Kind<string> = scalar('path', { type: 'string' }, toText, (s) => s);

const truths: ReadonlyMap<string, boolean> = new Map([
  ...['1', 't', 'T', 'true', 'TRUE', 'True', ''].map((s) => [s, true] as const),
  ...['0', 'f', 'F', 'false', 'FALSE', 'False'].map((s) => [s, false] as const),
]);

/** As a flag: without a value it is true. */
export const bool: Kind<boolean> = scalar(
  'bool',
  { type: 'boolean' },
  (value) => (typeof value === 'boolean' ? value : wrongType(value, 'true or false')),
  (s) => truths.get(s) ?? wrongType(s, 'true or false'),
);

function within(value: number, min: number, max: number): number | Invalid {
  if (value < min || value > max) {
    if (min === 0 && max >= int32Max && value < 0) return new Invalid(`Invalid value: ${value}: must not be a negative number`);
    return new Invalid(`Invalid value: ${value}: must be between ${min} and ${max}, inclusive`);
  }
  return value;
}

export const int32Max = 2 ** 31 - 1;

export function integer(min: number, max: number = int32Max): Kind<number> {
  const check = (value: unknown): number | Invalid =>
    typeof value === 'number' && Number.isInteger(value) ? within(value, min, max) : wrongType(value, 'a whole number');
  return scalar('int', { type: 'integer', minimum: min, maximum: max }, check, (s) =>
    check(/^[+-]?\d+$/.test(s) ? Number.parseInt(s, 10) : s),
  );
}

export function decimal(above: number, max: number): Kind<number> {
  const check = (value: unknown): number | Invalid => {
    if (typeof value !== 'number') return wrongType(value, 'a number');
    return value > above && value <= max
      ? value
      : new Invalid(`Invalid value: ${value}: must be greater than ${above} and not greater than ${max}`);
  };
  return scalar('number', { type: 'number', exclusiveMinimum: above, maximum: max }, check, (s) =>
    check(/^[+-]?(\d+\.?\d*|\.\d+)$/.test(s) ? Number.parseFloat(s) : s),
  );
}

export function oneOf<const T extends string>(...values: readonly T[]): Kind<T> {
  const check = (value: unknown): T | Invalid =>
    values.find((v) => v === value) ??
    new Invalid(`Unsupported value: ${shown(value)}: supported values: ${values.map((v) => `"${v}"`).join(', ')}`);
  return scalar('string', { enum: values }, check, check);
}

// The micro sign and the Greek letter, escaped: the bundle is ASCII (scripts/setup/bundle.ts).
const unitMs: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  '\u00b5s': 1e-3,
  '\u03bcs': 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** A Go duration (`1m30s`, `500ms`, `0`) in milliseconds. */
export function parseDuration(s: string): number | Invalid {
  const match = /^([+-]?)((?:\d+\.?\d*|\.\d+)(?:ns|us|\u00b5s|\u03bcs|ms|s|m|h))+$/.exec(s);
  if (s === '0' || s === '+0' || s === '-0') return 0;
  if (match === null) {
    const why = /^[+-]?(\d+\.?\d*|\.\d+)$/.test(s) ? 'must have a unit, such as 30s or 1m30s' : 'must be a duration, such as 30s or 1m30s';
    return new Invalid(`Invalid value: ${JSON.stringify(s)}: ${why}`);
  }
  let ms = 0;
  for (const [, amount = '', unit = ''] of s.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)/g))
    ms += Number.parseFloat(amount) * (unitMs[unit] ?? 0);
  return match[1] === '-' ? -ms : ms;
}

/** As Go prints it: `1m30s`, `500ms`, `0s`. */
export function printDuration(ms: number): string {
  if (ms === 0) return '0s';
  const sign = ms < 0 ? '-' : '';
  const left = Math.abs(ms);
  if (left < 1000) return `${sign}${left}ms`;
  const hours = Math.floor(left / 3_600_000);
  const minutes = Math.floor((left % 3_600_000) / 60_000);
  const seconds = (left % 60_000) / 1000;
  return `${sign}${hours > 0 ? `${hours}h` : ''}${hours > 0 || minutes > 0 ? `${minutes}m` : ''}${seconds}s`;
}

/** Limits in milliseconds. Zero is given only where the row says zero has a meaning (else it counts as unset). */
export function duration(limits: { readonly minMs?: number; readonly maxMs?: number; readonly orZero?: boolean } = {}): Kind<number> {
  const { minMs = 0, maxMs = Number.POSITIVE_INFINITY, orZero = false } = limits;
  const check = (s: string): number | Invalid => {
    const ms = parseDuration(s);
    if (ms instanceof Invalid || (orZero && ms === 0)) return ms;
    if (ms < 0 && minMs === 0) return new Invalid(`Invalid value: ${JSON.stringify(s)}: must not be negative`);
    if (ms >= minMs && ms <= maxMs) return ms;
    const least = `${orZero ? 'either 0 or ' : ''}at least ${printDuration(minMs)}`;
    return new Invalid(
      `Invalid value: ${JSON.stringify(s)}: must be ${least}${Number.isFinite(maxMs) ? ` and at most ${printDuration(maxMs)}` : ''}`,
    );
  };
  return scalar(
    'duration',
    { type: 'string', examples: ['20s', '1m30s'] },
    // `0` without quotes is what kubeadm writes for logging.flushFrequency (H-323).
    (value) => (typeof value === 'string' ? check(value) : value === 0 ? 0 : wrongType(value, 'a duration, such as 30s or 1m30s')),
    check,
    printDuration,
  );
}

const suffixes: Readonly<Record<string, number>> = {
  '': 1,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** A Kubernetes quantity as a number, or undefined. */
export function parseQuantity(s: string): number | undefined {
  const match = /^([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d+)|(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?)$/.exec(s);
  if (match === null) return undefined;
  const value = Number.parseFloat(match[1] ?? '');
  return match[2] === undefined ? value * (suffixes[match[3] ?? ''] ?? 1) : value * 10 ** Number.parseInt(match[2], 10);
}

export const bytes: Kind<number> = (() => {
  const check = (value: unknown): number | Invalid => {
    const amount = typeof value === 'string' ? parseQuantity(value) : undefined;
    return amount !== undefined && amount > 0 ? amount : wrongType(value, 'a quantity greater than 0, such as 10Mi');
  };
  return scalar('quantity', { type: 'string', examples: ['10Mi'] }, check, check, (value) => {
    const unit = (['Ei', 'Pi', 'Ti', 'Gi', 'Mi', 'Ki'] as const).find((u) => value % (suffixes[u] ?? 1) === 0);
    return unit === undefined ? String(value) : `${value / (suffixes[unit] ?? 1)}${unit}`;
  });
})();

/** As a flag: comma separated, repeatable (the texts are joined). */
export function list<T>(item: Kind<T>, options: { readonly uniqueItems?: boolean } = {}): Kind<readonly T[]> {
  const check = (values: readonly unknown[], one: (value: unknown) => T | Invalid): readonly T[] | Invalid => {
    const done: T[] = [];
    for (const [i, value] of values.entries()) {
      const decoded = one(value);
      if (decoded instanceof Invalid) return new Invalid(`item ${i}: ${decoded.message}`);
      if (options.uniqueItems === true && done.includes(decoded)) return new Invalid(`item ${i}: Duplicate value: ${shown(value)}`);
      done.push(decoded);
    }
    return Object.freeze(done);
  };
  return {
    name: 'list',
    jsonSchema: { type: 'array', items: item.jsonSchema, ...(options.uniqueItems === true ? { uniqueItems: true } : {}) },
    fromFile: (value) => (Array.isArray(value) ? check(value, item.fromFile) : wrongType(value, 'a list')),
    fromFlag: (texts) =>
      check(
        texts.flatMap((s) => (s === '' ? [] : s.split(','))),
        (value) => item.fromFlag([String(value)]),
      ),
    print: (values) => values.map((value) => item.print(value)),
  };
}

/**
 * As a flag: `k=v,k2=v2`, repeatable, later ones win.
 * `separators`: what may stand between key and value in a flag.
 */
export function mapOf<T>(
  item: Kind<T>,
  options: { readonly separators?: RegExp; readonly checkKey?: (key: string) => Invalid | undefined } = {},
): Kind<Readonly<Record<string, T>>> {
  const { separators = /=/, checkKey = () => undefined } = options;
  const check = (entries: readonly (readonly [string, unknown])[], one: (value: unknown) => T | Invalid): Record<string, T> | Invalid => {
    const done: Record<string, T> = {};
    for (const [key, value] of entries) {
      const decoded = checkKey(key) ?? one(value);
      if (decoded instanceof Invalid) return new Invalid(`[${key}]: ${decoded.message}`);
      done[key] = decoded;
    }
    return Object.freeze(done);
  };
  return {
    name: 'map',
    jsonSchema: { type: 'object', additionalProperties: item.jsonSchema },
    fromFile: (value) =>
      value !== null && typeof value === 'object' && !Array.isArray(value)
        ? check(Object.entries(value), item.fromFile)
        : wrongType(value, 'a map'),
    fromFlag(texts) {
      const entries: (readonly [string, string])[] = [];
      for (const pair of texts.flatMap((s) => s.split(',')).map((s) => s.trim())) {
        if (pair === '') continue;
        const at = pair.search(separators);
        if (at < 1) return new Invalid(`Invalid value: ${shown(pair)}: must be a key and a value`);
        entries.push([pair.slice(0, at).trim(), pair.slice(at + 1).trim()]);
      }
      return check(entries, (value) => item.fromFlag([String(value)]));
    },
    print: (values) => Object.fromEntries(Object.entries(values).map(([key, value]) => [key, item.print(value)])),
  };
}

/** Request headers. In a file: name → list of values; as a flag `a:hello,b:again`, repeatable, values appended (H-343). */
export const headers: Kind<Readonly<Record<string, readonly string[]>>> = (() => {
  const inFile = mapOf(list(text), {
    checkKey: (key) => (/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(key) ? undefined : new Invalid('Invalid value: not the name of a header')),
  });
  return {
    ...inFile,
    fromFlag(texts) {
      const done: Record<string, string[]> = {};
      for (const pair of texts.flatMap((s) => s.split(','))) {
        const at = pair.indexOf(':');
        // The text may be half a secret: it is not repeated.
        if (at < 1) return new Invalid('Invalid value: must be name:value');
        const name = pair.slice(0, at).trim();
        done[name] = [...(done[name] ?? []), pair.slice(at + 1).trim()];
      }
      return inFile.fromFile(done);
    },
    print: (values) => Object.fromEntries(Object.entries(values).map(([key, all]) => [key, all.map(() => '<masked>')])),
  };
})();

const percentText = /^(\d+\.?\d*|\.\d+)%$/;

export const threshold: Kind<EvictionThreshold> = (() => {
  const check = (value: unknown): EvictionThreshold | Invalid => {
    if (typeof value !== 'string') return wrongType(value, 'a quantity or a percentage in quotes');
    const percent = percentText.exec(value);
    if (percent !== null) {
      const share = Number.parseFloat(percent[1] ?? '');
      return share <= 100 ? { kind: 'percent', value: share } : new Invalid(`Invalid value: ${shown(value)}: must be at most 100%`);
    }
    const amount = parseQuantity(value);
    return amount !== undefined && amount >= 0 ? { kind: 'bytes', value: amount } : wrongType(value, 'a quantity or a percentage');
  };
  return scalar('threshold', { type: 'string', examples: ['100Mi', '10%'] }, check, check, (value) =>
    value.kind === 'percent' ? `${value.value}%` : bytes.print(value.value),
  );
})();

const evictionSignals: readonly string[] = [
  'memory.available',
  'nodefs.available',
  'nodefs.inodesFree',
  'imagefs.available',
  'imagefs.inodesFree',
  'containerfs.available',
  'containerfs.inodesFree',
  'pid.available',
  'allocatableMemory.available',
];

const checkSignal = (key: string): Invalid | undefined =>
  evictionSignals.includes(key)
    ? undefined
    : new Invalid(`Unsupported value: unknown eviction signal; supported: ${evictionSignals.join(', ')}`);

/** As a flag `memory.available<100Mi,nodefs.available<10%`. */
export const thresholds = mapOf(threshold, { separators: /</, checkKey: checkSignal });
export const reclaims = mapOf(threshold, { checkKey: checkSignal });
export const signalDurations = mapOf(duration(), { checkKey: checkSignal });

export const quantity: Kind<string> = (() => {
  const check = (value: unknown): string | Invalid => {
    const written = typeof value === 'number' ? String(value) : value;
    if (typeof written !== 'string') return wrongType(value, 'a quantity');
    const amount = percentText.test(written) ? undefined : parseQuantity(written);
    return amount !== undefined && amount >= 0 ? written : wrongType(value, 'a quantity that is not negative');
  };
  return scalar('quantity', { type: 'string' }, check, check);
})();

const effects = ['NoSchedule', 'PreferNoSchedule', 'NoExecute'] as const;

/** In a file `{key, value, effect}`, as a flag `key=value:Effect` or `key:Effect`. */
export const taint: Kind<Taint> = {
  name: 'taint',
  jsonSchema: {
    type: 'object',
    required: ['key', 'effect'],
    properties: { key: { type: 'string' }, value: { type: 'string' }, effect: { enum: effects } },
    additionalProperties: false,
  },
  fromFile(value) {
    if (value === null || typeof value !== 'object' || Array.isArray(value)) return wrongType(value, 'a taint');
    const { key, value: of = '', effect, ...rest } = value as Readonly<Record<string, unknown>>;
    const unknownField = Object.keys(rest)[0];
    if (unknownField !== undefined)
      return new Invalid(`${unknownField}: ${unknownField === 'timeAdded' ? 'Forbidden: must not be set' : 'unknown field'}`);
    const known = effects.find((e) => e === effect);
    if (typeof key !== 'string' || key === '') return new Invalid('key: Required value');
    if (typeof of !== 'string') return wrongType(of, 'a string');
    if (known === undefined) return new Invalid(`effect: Unsupported value: ${shown(effect)}: supported values: ${effects.join(', ')}`);
    return { key, value: of, effect: known };
  },
  fromFlag(texts) {
    const match = /^([^=:]+)(?:=([^:]*))?:(.*)$/.exec(last(texts));
    if (match === null) return wrongType(last(texts), 'key=value:Effect');
    return taint.fromFile({ key: match[1], value: match[2] ?? '', effect: match[3] });
  },
  print: (value) => value,
};

export const shutdownPriorities: Kind<readonly ShutdownPriority[]> = list({
  name: 'priority',
  jsonSchema: {
    type: 'object',
    required: ['priority', 'shutdownGracePeriodSeconds'],
    properties: { priority: { type: 'integer' }, shutdownGracePeriodSeconds: { type: 'integer', minimum: 0 } },
    additionalProperties: false,
  },
  fromFile(value) {
    if (value === null || typeof value !== 'object' || Array.isArray(value)) return wrongType(value, 'a map');
    const { priority, shutdownGracePeriodSeconds: seconds, ...rest } = value as Readonly<Record<string, unknown>>;
    const unknownField = Object.keys(rest)[0];
    if (unknownField !== undefined) return new Invalid(`${unknownField}: unknown field`);
    if (typeof priority !== 'number' || !Number.isInteger(priority)) return new Invalid('priority: Required value');
    if (typeof seconds !== 'number' || !Number.isInteger(seconds) || seconds < 0)
      return new Invalid('shutdownGracePeriodSeconds: must be a whole number that is not negative');
    return { priority, shutdownGracePeriodSeconds: seconds };
  },
  fromFlag: (texts) => wrongType(last(texts), 'written in a configuration file'),
  print: (value) => value,
});
