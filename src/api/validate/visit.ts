// Walks over the containers of a Pod with their field paths, in the order in which Kubernetes visits them.
import type { Container, PodSpec } from '../gen/kubernetes.ts';

/** Init containers, regular ones, ephemeral ones. */
export function containersWithPath(spec: PodSpec): readonly (readonly [string, Container])[] {
  return [
    ...(spec.initContainers ?? []).map((container, i) => [`spec.initContainers[${i}]`, container] as const),
    ...spec.containers.map((container, i) => [`spec.containers[${i}]`, container] as const),
    ...(spec.ephemeralContainers ?? []).map((container, i) => [`spec.ephemeralContainers[${i}]`, container] as const),
  ];
}
