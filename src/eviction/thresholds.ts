// Whether the node runs short of something, and what has to be done about it first: what is left of each signal against
// the eviction thresholds (L-502 … L-504). Pure: state in, state out.

/** What is left, and of how much. Signals that cannot be read are absent: they cross nothing. */
export type Signals = Readonly<Record<string, { readonly available: number; readonly capacity: number }>>;

/** An amount, or a share of the capacity. */
export type Threshold = { readonly kind: 'bytes'; readonly value: number } | { readonly kind: 'percent'; readonly value: number };
export type Thresholds = Readonly<Record<string, Threshold>>;

export interface ThresholdSettings {
  readonly evictionHard: Thresholds;
  readonly evictionSoft: Thresholds;
  readonly evictionSoftGracePeriodMs: Readonly<Record<string, number>>;
  readonly evictionMinimumReclaim: Thresholds;
  readonly evictionPressureTransitionPeriodMs: number;
}

export interface Pressure {
  readonly memory: boolean;
  readonly disk: boolean;
  readonly pid: boolean;
}

export const noPressure: Pressure = { memory: false, disk: false, pid: false };

/** What can be taken back from Pods, as messages name it. */
export type Resource = 'memory' | 'ephemeral-storage' | 'inodes' | 'pids';

/** A threshold that asks for something to be done now. */
export interface Shortage {
  readonly signal: string;
  readonly resource: Resource;
  readonly isHard: boolean;
  readonly threshold: number;
  readonly available: number;
}

export interface PressureMemory {
  /** Since when, by `Clock.elapsed`, each threshold has been crossed, by `hard/<signal>` and `soft/<signal>`. */
  readonly since: ReadonlyMap<string, number>;
  /** When each kind of pressure was last seen. */
  readonly seenAt: ReadonlyMap<keyof Pressure, number>;
}

export const noPressureMemory: PressureMemory = { since: new Map(), seenAt: new Map() };

export interface Judgement {
  readonly pressure: Pressure;
  /** The most urgent first: memory before everything else, hard before soft. */
  readonly shortages: readonly Shortage[];
  readonly memory: PressureMemory;
}

/**
 * A threshold that was crossed stays so until `evictionMinimumReclaim` more than it is left. The conditions follow at
 * once, also those of soft thresholds, and last until nothing was seen for the transition period; something is done
 * about hard thresholds at once and about soft ones after their grace period.
 */
export function judge(signals: Signals, settings: ThresholdSettings, before: PressureMemory, now: number): Judgement {
  const since = new Map<string, number>();
  const seenAt = new Map(before.seenAt);
  const shortages: Shortage[] = [];
  for (const { key, signal, threshold, isHard } of allThresholds(settings)) {
    const resource = resourceOf(signal);
    const state = signals[signal];
    if (resource === undefined || state === undefined) continue;
    const amount = amountOf(threshold, state.capacity);
    const wasCrossed = before.since.has(key);
    const wanted = amount + (wasCrossed ? amountOf(settings.evictionMinimumReclaim[signal], state.capacity) : 0);
    if (state.available >= wanted) continue;
    const begin = before.since.get(key) ?? now;
    since.set(key, begin);
    seenAt.set(kindOf(resource), now);
    const graceMs = isHard ? 0 : (settings.evictionSoftGracePeriodMs[signal] ?? 0);
    if (now - begin >= graceMs) shortages.push({ signal, resource, isHard, threshold: amount, available: state.available });
  }
  const lasts = (kind: keyof Pressure): boolean => {
    const at = seenAt.get(kind);
    if (at === undefined) return false;
    return at === now || now - at < settings.evictionPressureTransitionPeriodMs;
  };
  return {
    pressure: { memory: lasts('memory'), disk: lasts('disk'), pid: lasts('pid') },
    shortages: shortages.sort((a, b) => urgency(b) - urgency(a)),
    memory: { since, seenAt },
  };
}

function urgency({ resource, isHard }: Shortage): number {
  return (resource === 'memory' ? 2 : 0) + (isHard ? 1 : 0);
}

function allThresholds({ evictionHard, evictionSoft }: ThresholdSettings) {
  const memory = evictionHard['memory.available'];
  // What Pods may have together is kept free like the node's memory, unless it has a threshold of its own.
  const hard = memory === undefined ? evictionHard : { 'allocatableMemory.available': memory, ...evictionHard };
  const rows = (thresholds: Thresholds, isHard: boolean) =>
    Object.entries(thresholds).map(([signal, threshold]) => ({ key: `${isHard ? 'hard' : 'soft'}/${signal}`, signal, threshold, isHard }));
  return [...rows(hard, true), ...rows(evictionSoft, false)];
}

function amountOf(threshold: Threshold | undefined, capacity: number): number {
  if (threshold === undefined) return 0;
  return threshold.kind === 'bytes' ? threshold.value : Math.floor((capacity * threshold.value) / 100);
}

function kindOf(resource: Resource): keyof Pressure {
  switch (resource) {
    case 'memory':
      return 'memory';
    case 'pids':
      return 'pid';
    case 'ephemeral-storage':
    case 'inodes':
      return 'disk';
  }
}

function resourceOf(signal: string): Resource | undefined {
  if (signal === 'memory.available' || signal === 'allocatableMemory.available') return 'memory';
  if (signal === 'pid.available') return 'pids';
  if (/^(nodefs|imagefs|containerfs)\.available$/.test(signal)) return 'ephemeral-storage';
  return /^(nodefs|imagefs|containerfs)\.inodesFree$/.test(signal) ? 'inodes' : undefined;
}
