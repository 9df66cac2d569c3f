// Identity of a static Pod: name, namespace, UID, annotations, toleration (S-078 … S-098); then validation and the
// prohibitions of static Pods. From here on a Pod is valid by its type.
import { createHash } from 'node:crypto';
import { canonicalJson } from '../api/canonical-json.ts';
import type { DecodedDocument, DecodedPod } from '../api/decode.ts';
import { defaultPod } from '../api/defaults.ts';
import type { Toleration } from '../api/gen/kubernetes.ts';
import { annotationKeys, type Pod } from '../api/pod.ts';
import type { Problem } from '../api/problem.ts';
import { findApiReferences } from '../api/validate/references.ts';
import { validatePod } from '../api/validate.ts';

/** Where a manifest comes from. */
export type Origin =
  | { readonly source: 'file'; readonly nodeName: string; readonly path: string }
  | { readonly source: 'http'; readonly nodeName: string; readonly url: string };

export type StaticPod =
  | { readonly pod: Pod }
  /** `name`: `<namespace>/<name>` with the node suffix, where it could be read. */
  | { readonly problems: readonly Problem[]; readonly name: string | undefined };

/**
 * The Pod that a decoded document stands for, or everything that is wrong with it. `kubernetes.io/config.seen` is
 * left to whoever sees the UID first (S-094). `nodeName` is the trimmed, lower-case node name (S-078).
 */
export function toStaticPod(document: DecodedDocument, origin: Origin): StaticPod {
  const decoded = document.pod;
  if (decoded === undefined) return { problems: document.problems, name: undefined };
  const pod = identify(decoded, origin);
  const first = [...document.problems, ...missingName(decoded), ...mirrorAnnotation(decoded)];
  const found = [...validatePod(pod), ...findApiReferences(pod.spec)].filter(
    (problem) => !first.some(({ field }) => isAtOrBelow(problem.field, field)),
  );
  const located = [...first.slice(document.problems.length), ...found].map((problem) => ({
    ...problem,
    ...document.locate(problem.field),
  }));
  const problems = [...document.problems, ...located];
  if (problems.length === 0) return { pod };
  const isNamed = decoded.metadata.name !== undefined && decoded.metadata.name !== '';
  return { problems, name: isNamed ? `${pod.metadata.namespace}/${pod.metadata.name}` : undefined };
}

/** What could not be decoded, or is missing, is not called invalid as well. */
function isAtOrBelow(field: string, ancestor: string): boolean {
  if (ancestor === '' || !field.startsWith(ancestor)) return false;
  const next = field[ancestor.length];
  return next === undefined || next === '.' || next === '[';
}

/** Neither `generateName` nor anything else replaces a name (S-038). */
function missingName(pod: DecodedPod): readonly Problem[] {
  const isMissing = pod.metadata.name === undefined || pod.metadata.name === '';
  return isMissing ? [{ field: 'metadata.name', message: 'Required value: name is needed for the pod' }] : [];
}

/** A kubelet silently never runs such a Pod (S-042); here the manifest says why it does not run (D5). */
function mirrorAnnotation(pod: DecodedPod): readonly Problem[] {
  if (pod.metadata.annotations?.[annotationKeys.configMirror] === undefined) return [];
  const field = `metadata.annotations[${annotationKeys.configMirror}]`;
  return [{ field, message: 'Forbidden: a manifest with this annotation would be a mirror Pod, which is never run; remove it' }];
}

/** Every identity default in the order of S-079. */
function identify(decoded: DecodedPod, origin: Origin): Pod {
  const pod = defaultPod(decoded);
  const { nodeName } = origin;
  const pinned = decoded.metadata.uid;
  const uid = pinned === undefined || pinned === '' ? staticPodUid(decoded, origin) : pinned;
  return {
    ...pod,
    metadata: {
      ...pod.metadata,
      name: `${pod.metadata.name ?? ''}-${nodeName}`,
      namespace: pod.metadata.namespace || 'default',
      uid,
      annotations: { ...pod.metadata.annotations, [annotationKeys.configHash]: uid, [annotationKeys.configSource]: origin.source },
    },
    spec: {
      ...pod.spec,
      nodeName,
      ...(origin.source === 'file' ? { tolerations: withNoExecute(pod.spec.tolerations ?? []) } : {}),
    },
    status: { ...pod.status, phase: 'Pending' },
  };
}

/**
 * 32 lower-case hex digits, made from nothing but the decoded manifest and where it comes from (D2): comments, key
 * order, JSON or YAML and the version of this program do not matter. For a URL the node does not count (S-076).
 */
export function staticPodUid(decoded: DecodedPod, origin: Origin): string {
  const place = origin.source === 'file' ? { host: origin.nodeName, file: origin.path } : { url: origin.url };
  return createHash('sha256')
    .update(canonicalJson({ manifest: decoded, place }))
    .digest('hex')
    .slice(0, 32);
}

const noExecute: Toleration = { operator: 'Exists', effect: 'NoExecute' };

/** Appended, or in the place of one that differs in nothing but seconds (S-091). */
function withNoExecute(tolerations: readonly Toleration[]): readonly Toleration[] {
  const isSame = (t: Toleration): boolean =>
    (t.key ?? '') === '' && t.operator === 'Exists' && (t.value ?? '') === '' && t.effect === 'NoExecute';
  return tolerations.some(isSame) ? tolerations.map((t) => (isSame(t) ? noExecute : t)) : [...tolerations, noExecute];
}
