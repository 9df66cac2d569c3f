// The Pod as the pipe sees it once its manifest was accepted: defaulted, validated and identified.
import type { Container, ObjectMeta, PodSpec, PodStatus } from './gen/kubernetes.ts';

/** The name, namespace, UID and annotations of an accepted Pod are always there (S-078 … S-094). */
export interface PodMeta extends ObjectMeta {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface Pod {
  readonly apiVersion: 'v1';
  readonly kind: 'Pod';
  readonly metadata: PodMeta;
  readonly spec: PodSpec;
  readonly status?: PodStatus | undefined;
}

/** `<name>_<namespace>`: two static Pods with the same full name never run at the same time (L-044). */
export function fullName(pod: { readonly metadata: { readonly name: string; readonly namespace: string } }): string {
  return `${pod.metadata.name}_${pod.metadata.namespace}`;
}

/** `<name>_<namespace>(<uid>)`, the form of Kubernetes' log lines and messages. */
export function formatPod(pod: Pick<Pod, 'metadata'>): string {
  return `${fullName(pod)}(${pod.metadata.uid})`;
}

/** A restartable init container (L-135). */
export function isSidecar(container: Container): boolean {
  return container.restartPolicy === 'Always';
}

/** Init containers, then regular ones, in spec order. */
export function allContainers(spec: PodSpec): readonly Container[] {
  return [...(spec.initContainers ?? []), ...spec.containers];
}

/** Annotation keys of Kubernetes, verbatim. */
export const annotationKeys = {
  configSource: 'kubernetes.io/config.source',
  configSeen: 'kubernetes.io/config.seen',
  configHash: 'kubernetes.io/config.hash',
  configMirror: 'kubernetes.io/config.mirror',
} as const;
