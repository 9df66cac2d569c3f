// Which Pods end when at a shutdown of the machine, and how long they may take (L-493, L-496, H-480). Pure.
import type { Pod } from '../api/pod.ts';
import { criticalPriority } from '../api/priority.ts';
import { priorityOf } from '../pod/priority.ts';

export interface ShutdownSettings {
  readonly shutdownGracePeriodMs: number;
  readonly shutdownGracePeriodCriticalPodsMs: number;
  readonly shutdownGracePeriodByPodPriority: readonly { readonly priority: number; readonly shutdownGracePeriodSeconds: number }[];
}

export interface ShutdownGroup {
  /** The lowest priority in it. */
  readonly priority: number;
  readonly seconds: number;
}

/** By rising priority; empty when nothing is configured. */
export function shutdownGroups(settings: ShutdownSettings): readonly ShutdownGroup[] {
  const critical = Math.floor(settings.shutdownGracePeriodCriticalPodsMs / 1000);
  const others = Math.floor(settings.shutdownGracePeriodMs / 1000) - critical;
  const plain = [
    { priority: 0, seconds: others },
    { priority: criticalPriority, seconds: critical },
  ].filter(({ seconds }) => seconds > 0);
  const byPriority = settings.shutdownGracePeriodByPodPriority.map(({ priority, shutdownGracePeriodSeconds }) => ({
    priority,
    seconds: shutdownGracePeriodSeconds,
  }));
  return [...(byPriority.length > 0 ? byPriority : plain)].sort((a, b) => a.priority - b.priority);
}

/** A Pod is in the highest group that is not above it; one below all of them is in the lowest. */
export function groupOf(pod: Pod, groups: readonly ShutdownGroup[]): ShutdownGroup | undefined {
  const priority = priorityOf(pod) ?? 0;
  return groups.filter((group) => group.priority <= priority).at(-1) ?? groups[0];
}
