// What is wrong with this machine's Pods, or with what they need, in words: for `pinpod doctor`, Events and a metric (D5).

/** What can be in trouble, in the order in which it is told: what stands earlier is often the cause of what follows. */
export const troubleAreas = [
  'agent',
  'configuration',
  'runtime',
  'network',
  'node',
  'sources',
  'manifests',
  'pods',
  'kubectl port',
  'kubelet port',
  'certificates',
  'cluster',
] as const;

export type TroubleArea = (typeof troubleAreas)[number];

export interface Trouble {
  /** `error`: something does not work. `warning`: it may stop working, or is not as somebody wrote it. */
  readonly severity: 'error' | 'warning';
  readonly area: TroubleArea;
  /** Machine-readable: a reason of Kubernetes where there is one, else `kebab-case`. */
  readonly cause: string;
  /** The file, Pod or container concerned; empty for the area as a whole. */
  readonly object: string;
  readonly message: string;
  /** What a person can do about it; empty where the message says it. */
  readonly advice: string;
  /** RFC 3339. */
  readonly since?: string | undefined;
}

/** GET /pinpod/v1/doctor. */
export interface DoctorReport {
  /** Areas that were looked at. `cluster` only on a machine that has joined one. */
  readonly areas: readonly TroubleArea[];
  readonly troubles: readonly Trouble[];
}
