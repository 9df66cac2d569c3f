// Who has to go so that a more important Pod gets the room it lacks (S-467, S-468, L-508).
import type { PodSpec } from '../api/gen/kubernetes.ts';
import type { Pod } from '../api/pod.ts';
import { type CriticalPods, isCritical, priorityOf } from './priority.ts';
import { type Amounts, podRequests, type QosClass, qosClass } from './resources.ts';

/** What is lacking, by resource name; all above 0. */
export type Shortage = ReadonlyMap<string, number>;

/** Whether `victim` may have to go for `pod` (S-467). `preemptionPolicy: Never` is kept, unlike a kubelet does. */
export function mayPreempt(pod: Pod, victim: Pod, critical: CriticalPods): boolean {
  if (pod.spec.preemptionPolicy === 'Never') return false;
  if (isCritical(pod, critical) && !isCritical(victim, critical)) return true;
  const [own, other] = [priorityOf(pod), priorityOf(victim)];
  return own !== undefined && other !== undefined && own > other;
}

/** Sums once made: every Pod that waits for room is measured against every active one, again and again. */
const requestsOfSpecs = new WeakMap<PodSpec, Amounts>();

/** What the Pod holds of a resource; itself, where Pods are counted. */
export function requestOf({ spec }: Pick<Pod, 'spec'>, resource: string): number {
  if (resource === 'pods') return 1;
  const requests = requestsOfSpecs.get(spec) ?? podRequests(spec);
  requestsOfSpecs.set(spec, requests);
  return requests.get(resource) ?? 0;
}

/**
 * The fewest and least important of `candidates` whose end covers the shortage: Guaranteed Pods are spared first, then
 * Burstable ones (S-468). Undefined when all of them together do not cover it: then nobody goes (S-469).
 */
export function chooseVictims(shortage: Shortage, candidates: readonly Pod[]): readonly Pod[] | undefined {
  const ofClass = (qos: QosClass): readonly Pod[] => candidates.filter((pod) => qosClass(pod.spec) === qos);
  const [bestEffort, burstable, guaranteed] = [ofClass('BestEffort'), ofClass('Burstable'), ofClass('Guaranteed')];
  if (without(shortage, candidates).size > 0) return undefined;
  // Each class gives what is still lacking once the others gave all they are asked for.
  const fromGuaranteed = nearest(without(shortage, [...bestEffort, ...burstable]), guaranteed);
  const fromBurstable = nearest(without(shortage, [...bestEffort, ...fromGuaranteed]), burstable);
  const fromBestEffort = nearest(without(shortage, [...fromBurstable, ...fromGuaranteed]), bestEffort);
  return [...fromBestEffort, ...fromBurstable, ...fromGuaranteed];
}

function without(shortage: Shortage, gone: readonly Pod[]): Shortage {
  const rest = [...shortage].map(([resource, lacking]): [string, number] => [
    resource,
    gone.reduce((left, pod) => left - requestOf(pod, resource), lacking),
  ]);
  return new Map(rest.filter(([, lacking]) => lacking > 0));
}

/** Takes, again and again, the Pod that comes closest to what is lacking. */
function nearest(shortage: Shortage, candidates: readonly Pod[]): readonly Pod[] {
  const chosen: Pod[] = [];
  let lacking = shortage;
  let left = [...candidates];
  while (lacking.size > 0 && left.length > 0) {
    const ranked = left.map((pod) => ({ pod, distance: distance(lacking, pod) }));
    ranked.sort(
      (a, b) =>
        a.distance - b.distance ||
        requestOf(a.pod, 'memory') - requestOf(b.pod, 'memory') ||
        requestOf(a.pod, 'cpu') - requestOf(b.pod, 'cpu'),
    );
    const best = ranked[0]?.pod;
    if (best === undefined) break;
    chosen.push(best);
    lacking = without(lacking, [best]);
    left = left.filter((pod) => pod !== best);
  }
  return chosen;
}

function distance(shortage: Shortage, pod: Pod): number {
  let sum = 0;
  for (const [resource, lacking] of shortage) sum += (Math.max(0, lacking - requestOf(pod, resource)) / lacking) ** 2;
  return sum;
}
