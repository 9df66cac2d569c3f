// What a Pod's priority is, and which Pods are critical: they outlive pressure and may take the room of others (L-002).
import type { Pod } from '../api/pod.ts';
import { builtInPriorities, criticalPriority } from '../api/priority.ts';

/** `all`: every static Pod, as with a kubelet (L-002). `byPriority`: those of `criticalPriority` or more. */
export type CriticalPods = 'all' | 'byPriority';

/** Undefined when the manifest says nothing of it. Differs from S-473: the built-in classes count without a number. */
export function priorityOf({ spec }: Pick<Pod, 'spec'>): number | undefined {
  return spec.priority ?? builtInPriorities.get(spec.priorityClassName ?? '');
}

export function isCritical(pod: Pick<Pod, 'spec'>, critical: CriticalPods): boolean {
  return critical === 'all' || (priorityOf(pod) ?? 0) >= criticalPriority;
}
