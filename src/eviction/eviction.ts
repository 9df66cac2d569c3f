// Stage "eviction": watches what is left on the node, tells its pressure, takes back what nobody needs, and as the last
// resort ends one Pod after the other (spec 02, section 11.3). Whoever is ended comes back when the pressure is over (D4).
import type { EventObject, EventSink } from '../api/events.ts';
import { formatPod, type Pod } from '../api/pod.ts';
import { podObject } from '../pod/event-object.ts';
import { type CriticalPods, isCritical } from '../pod/priority.ts';
import { gracePeriodSeconds } from '../pod/stop.ts';
import type { TerminationCause } from '../pod/work.ts';
import type { Clock } from '../std/clock.ts';
import { messageOf } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import type { Counter, Histogram, Metrics } from '../std/metrics.ts';
import {
  type Judgement,
  judge,
  noPressureMemory,
  type Pressure,
  type PressureMemory,
  type Shortage,
  type Signals,
  type ThresholdSettings,
} from './thresholds.ts';
import { evictionMessage, hasStorageLimit, noUsage, rank, storageExcess, type Usages } from './victims.ts';

export interface EvictionSettings extends ThresholdSettings {
  readonly evictionMaxPodGracePeriodSeconds: number;
  readonly localStorageCapacityIsolation: boolean;
  readonly criticalPods: CriticalPods;
}

export interface EvictionOptions {
  /** As they are now: a reload may change them. */
  readonly settings: () => EvictionSettings;
  readonly node: EventObject;
}

interface CallOptions {
  readonly signal: AbortSignal;
}

export interface EvictionDeps {
  /** Read anew at each call. */
  readonly signals: (options: CallOptions) => Promise<Signals>;
  /** What these Pods use; asked for only when one of them may have to go. `withInodes`: files in their volumes, too. */
  readonly usages: (pods: readonly Pod[], options: CallOptions & { readonly withInodes?: boolean }) => Promise<Usages>;
  /** Removes what nobody needs from the filesystem that the signal is about; answers whether there was anything to try. */
  readonly reclaim: (signal: string, options: CallOptions) => Promise<boolean>;
  readonly pods: {
    active(): readonly { readonly pod: Pod; readonly isEnding: boolean }[];
    terminate(uid: string, cause: TerminationCause, graceSeconds: number): void;
  };
  /** Called after each look. */
  readonly onPressure: (pressure: Pressure) => void;
  readonly events: EventSink;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly logger: Logger;
}

const periodMs = 10_000;
/** What a Pod gets when there is no time left (L-505). */
const immediateGraceSeconds = 1;

export class Eviction {
  readonly #options: EvictionOptions;
  readonly #deps: EvictionDeps;
  readonly #evictions: Counter;
  readonly #ages: Histogram;
  #memory: PressureMemory = noPressureMemory;
  /** What was short at the last look, so that each shortage is told once. */
  #told: ReadonlySet<string> = new Set();
  readonly #ending = new Set<string>();

  constructor(options: EvictionOptions, deps: EvictionDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#evictions = deps.metrics.counter({
      name: 'kubelet_evictions',
      help: '[STABLE] Cumulative number of pod evictions by eviction signal',
      labels: ['eviction_signal'],
    });
    this.#ages = deps.metrics.histogram({
      name: 'kubelet_eviction_stats_age_seconds',
      help: '[ALPHA] How old what was read of a signal was when something was to be done about it',
      labels: ['eviction_signal'],
    });
  }

  async run({ signal }: CallOptions): Promise<void> {
    const { clock, logger } = this.#deps;
    for (;;) {
      try {
        await this.look({ signal });
      } catch (error) {
        signal.throwIfAborted();
        logger.warn('the node cannot be watched for pressure', { error: messageOf(error) });
      }
      await clock.sleep(periodMs, signal);
    }
  }

  /** One round: at most one Pod is ended, and none while the last one is still ending. */
  async look(options: CallOptions): Promise<void> {
    const { pods } = this.#deps;
    const { shortages } = await this.#judge(options);
    this.#tell(shortages);
    const ending = new Set(
      pods
        .active()
        .filter((one) => one.isEnding)
        .map(({ pod }) => pod.metadata.uid),
    );
    for (const uid of this.#ending) if (!ending.has(uid)) this.#ending.delete(uid);
    if (this.#ending.size > 0) return;
    if (await this.#enforceStorageLimits(options)) return;
    const [shortage] = shortages;
    if (shortage !== undefined) await this.#relieve(shortage, options);
  }

  async #judge(options: CallOptions): Promise<Judgement> {
    const { signals, clock, onPressure } = this.#deps;
    const readAt = clock.elapsed();
    const read = await signals(options);
    const now = clock.elapsed();
    const judgement = judge(read, this.#options.settings(), this.#memory, now);
    for (const { signal } of judgement.shortages) this.#ages.observe((now - readAt) / 1000, { eviction_signal: signal });
    this.#memory = judgement.memory;
    onPressure(judgement.pressure);
    return judgement;
  }

  #tell(shortages: readonly Shortage[]): void {
    const { events, logger } = this.#deps;
    for (const { signal, resource, threshold, available } of shortages) {
      if (this.#told.has(signal)) continue;
      logger.warn('the node runs short', { signal, threshold, available });
      events.record(this.#options.node, 'Warning', 'EvictionThresholdMet', `Attempting to reclaim ${resource}`);
    }
    this.#told = new Set(shortages.map(({ signal }) => signal));
  }

  /** First what nobody needs; a Pod only when that was not enough. */
  async #relieve(first: Shortage, options: CallOptions): Promise<void> {
    const { reclaim, logger } = this.#deps;
    let shortage: Shortage | undefined = first;
    if (first.resource === 'ephemeral-storage' || first.resource === 'inodes') {
      const hasTried = await reclaim(first.signal, options).catch((error: unknown) => {
        options.signal.throwIfAborted();
        logger.warn('disk space cannot be taken back', { error: messageOf(error) });
        return true;
      });
      if (hasTried) shortage = (await this.#judge(options)).shortages[0];
    }
    if (shortage === undefined) return;
    const candidates = this.#candidates();
    if (candidates.length === 0) return; // L-506: critical Pods stay; the condition and the event have told it
    const usages = await this.#deps.usages(candidates, { ...options, withInodes: shortage.resource === 'inodes' });
    const victim = rank(candidates, shortage.resource, usages)[0];
    if (victim === undefined) return;
    const { evictionMaxPodGracePeriodSeconds: longest } = this.#options.settings();
    const grace = shortage.isHard ? immediateGraceSeconds : Math.min(longest, gracePeriodSeconds(victim));
    this.#evict(victim, shortage.signal, evictionMessage(victim, shortage, usages), grace);
  }

  /** Answers whether a Pod has to go for what it keeps on disk. */
  async #enforceStorageLimits(options: CallOptions): Promise<boolean> {
    if (!this.#options.settings().localStorageCapacityIsolation) return false;
    const limited = this.#candidates().filter(hasStorageLimit);
    if (limited.length === 0) return false;
    const usages = await this.#deps.usages(limited, options);
    let hasEvicted = false;
    for (const pod of limited) {
      const message = storageExcess(pod, usages.get(pod.metadata.uid) ?? noUsage);
      if (message === undefined) continue;
      this.#evict(pod, 'ephemeralpodfs.limit', message, immediateGraceSeconds);
      hasEvicted = true;
    }
    return hasEvicted;
  }

  #candidates(): readonly Pod[] {
    const { criticalPods } = this.#options.settings();
    const staying = this.#deps.pods.active().filter(({ isEnding }) => !isEnding);
    return staying.map(({ pod }) => pod).filter((pod) => !isCritical(pod, criticalPods));
  }

  #evict(pod: Pod, signal: string, message: string, graceSeconds: number): void {
    const { pods, events, logger } = this.#deps;
    logger.warn('pod is evicted', { pod: formatPod(pod), signal });
    this.#evictions.inc({ eviction_signal: signal });
    events.record(podObject(pod), 'Warning', 'Evicted', message);
    this.#ending.add(pod.metadata.uid);
    pods.terminate(pod.metadata.uid, { kind: 'disrupted', reason: 'Evicted', message, conditionMessage: message }, graceSeconds);
  }
}
