// Whether a Pod needs a (new) sandbox: spec 02, section 3.1.
import type { PodSpec } from '../api/gen/kubernetes.ts';
import type { ObservedPod, ObservedSandbox } from './observation.ts';

export type SandboxDecision =
  | { readonly kind: 'keep'; readonly sandbox: ObservedSandbox }
  /** `isReplacement`: an older sandbox is being replaced for a reason a person should be told (L-125, L-121). */
  | { readonly kind: 'create'; readonly attempt: number; readonly isReplacement: boolean };

export function decideSandbox(spec: PodSpec, observed: ObservedPod): SandboxDecision {
  const newest = observed.sandboxes[0];
  if (newest === undefined) return { kind: 'create', attempt: 0, isReplacement: false }; // L-118
  const replace = (isReplacement = true): SandboxDecision => ({ kind: 'create', attempt: newest.attempt + 1, isReplacement });
  if (observed.sandboxes.filter((sandbox) => sandbox.state === 'ready').length > 1) return replace(); // L-119
  if (newest.state !== 'ready') return replace(); // L-120
  const wantsHostNetwork = spec.hostNetwork === true;
  if (newest.hostNetwork !== undefined && newest.hostNetwork !== wantsHostNetwork) return replace(false); // L-121
  if (!wantsHostNetwork && newest.lostNetwork) return replace(); // L-122
  return { kind: 'keep', sandbox: newest }; // L-123
}
