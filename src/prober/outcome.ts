// What one probe attempt came to, and what an attempt needs to know.
import type { Container, Probe } from '../api/gen/kubernetes.ts';

export type ProbeOutcome =
  | { readonly kind: 'success'; readonly output: string }
  /** Counts as success, but is worth telling. */
  | { readonly kind: 'warning'; readonly output: string }
  | { readonly kind: 'failure'; readonly output: string }
  /** The probe could not be made: says nothing about the container (L-409). `state`: what Events call that; default `unknown`. */
  | { readonly kind: 'error'; readonly message: string; readonly state?: 'failure' };

export interface ProbeTarget {
  readonly probe: Probe;
  readonly container: Container;
  readonly containerId: string;
  /** Where the Pod's own ports are reached. */
  readonly podAddress: string;
}

/** Kept of a response body or a command's output (section 0.1). */
export const maxOutputBytes = 10 * 1024;

export const probeUserAgent = 'kube-probe/1.36';
