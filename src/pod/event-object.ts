// What the events of a Pod and of its containers are about (L-215).
import type { EventObject } from '../api/events.ts';
import type { Pod } from '../api/pod.ts';

export function podObject({ metadata }: Pick<Pod, 'metadata'>): EventObject {
  const { name, namespace, uid } = metadata;
  return { kind: 'Pod', namespace, name, uid };
}

/** A container the Pod does not have is taken for a regular one. */
export function containerObject(pod: Pod, containerName: string): EventObject {
  const isInit = (pod.spec.initContainers ?? []).some(({ name }) => name === containerName);
  return { ...podObject(pod), fieldPath: `spec.${isInit ? 'initContainers' : 'containers'}{${containerName}}` };
}
