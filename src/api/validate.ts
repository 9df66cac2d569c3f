// Validation of a defaulted, identified Pod: every rule of the Kubernetes API as the node agent applies it
// (S-125 … S-211), with Kubernetes' own messages. Each section of the specification has its file in validate/.
import type { Pod } from './pod.ts';
import type { Problem } from './problem.ts';
import { validateAnnotationsMatchFields, validateMetadata, validateSpecialAnnotations } from './validate/metadata.ts';
import { Report } from './validate/report.ts';
import { validateSpec } from './validate/spec.ts';
import { validateTokensHaveAccount } from './validate/volumes.ts';

/** Everything wrong with the Pod at once (S-125), without positions. Empty for a valid one. */
export function validatePod(pod: Pod): readonly Problem[] {
  const report = new Report();
  validateMetadata(pod.metadata, report);
  validateSpecialAnnotations(pod.metadata, pod.spec, report);
  validateSpec(pod, report);
  validateTokensHaveAccount(pod.spec, report);
  if ((pod.spec.ephemeralContainers ?? []).length > 0) report.forbidden('spec.ephemeralContainers', 'cannot be set on create');
  if ((pod.spec.schedulingGates ?? []).length > 0 && (pod.spec.nodeName ?? '') !== '') {
    report.forbidden('spec.nodeName', 'cannot be set until all schedulingGates have been cleared');
  }
  validateAnnotationsMatchFields(pod.metadata, pod.spec, report);
  return report.problems;
}
