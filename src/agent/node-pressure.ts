// Whether the node runs short of something: what is left of each signal against the eviction thresholds of the
// configuration. Only tells (as conditions of the Node); data in, data out.
import type { AgentConfig, EvictionThreshold } from '../config/agent-config.ts';
import type { Instant } from '../std/clock.ts';

/** What is left, and of how much. Signals that cannot be read are absent. */
export type Signals = Readonly<Record<string, { readonly available: number; readonly capacity: number }>>;

export interface Pressure {
  readonly memory: boolean;
  readonly disk: boolean;
  readonly pid: boolean;
}

type Settings = Pick<AgentConfig, 'evictionHard' | 'evictionSoft' | 'evictionSoftGracePeriodMs' | 'evictionPressureTransitionPeriodMs'>;

/** Since when each soft threshold has been passed, and when each kind of pressure was last seen. */
export interface PressureMemory {
  readonly softSince: ReadonlyMap<string, Instant>;
  readonly seenAt: ReadonlyMap<keyof Pressure, Instant>;
}

export const noPressureMemory: PressureMemory = { softSince: new Map(), seenAt: new Map() };

/**
 * Hard thresholds count at once, soft ones after their grace period. Pressure lasts until it has not been seen for
 * `evictionPressureTransitionPeriod`, so that the conditions do not swing.
 */
export function pressureOf(
  signals: Signals,
  settings: Settings,
  before: PressureMemory,
  now: Instant,
): { readonly pressure: Pressure; readonly memory: PressureMemory } {
  const softSince = new Map<string, Instant>();
  const seenAt = new Map(before.seenAt);
  for (const [signal, threshold] of Object.entries(settings.evictionHard)) {
    const kind = kindOf(signal);
    if (kind !== undefined && isPassed(signals, signal, threshold)) seenAt.set(kind, now);
  }
  for (const [signal, threshold] of Object.entries(settings.evictionSoft)) {
    if (!isPassed(signals, signal, threshold)) continue;
    const since = before.softSince.get(signal) ?? now;
    softSince.set(signal, since);
    const kind = kindOf(signal);
    if (kind !== undefined && now - since >= (settings.evictionSoftGracePeriodMs[signal] ?? 0)) seenAt.set(kind, now);
  }
  const lasts = (kind: keyof Pressure): boolean => {
    const at = seenAt.get(kind);
    return at !== undefined && (at === now || now - at < settings.evictionPressureTransitionPeriodMs);
  };
  return { pressure: { memory: lasts('memory'), disk: lasts('disk'), pid: lasts('pid') }, memory: { softSince, seenAt } };
}

/** A share is one of the capacity; 0 never counts. */
function isPassed(signals: Signals, signal: string, threshold: EvictionThreshold): boolean {
  const state = signals[signal];
  if (state === undefined) return false;
  return state.available < (threshold.kind === 'bytes' ? threshold.value : (state.capacity * threshold.value) / 100);
}

function kindOf(signal: string): keyof Pressure | undefined {
  switch (signal) {
    case 'memory.available':
    case 'allocatableMemory.available':
      return 'memory';
    case 'pid.available':
      return 'pid';
    default:
      return /^(nodefs|imagefs|containerfs)\./.test(signal) ? 'disk' : undefined;
  }
}
