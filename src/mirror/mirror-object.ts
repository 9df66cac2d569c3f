// The mirror of a static Pod as an object of the API server, and the difference of two statuses as a patch. Pure.
import type { Pod as ApiPod, Node, PodCondition, PodStatus } from '../api/gen/kubernetes.ts';
import { annotationKeys, type Pod } from '../api/pod.ts';
import { equalJson } from '../std/json.ts';

/** What the API server's Pod must be for `isMirrorOf`. Nothing else is ever compared (S-310). */
export function mirrorHash(pod: ApiPod): string | undefined {
  return pod.metadata?.annotations?.[annotationKeys.configMirror];
}

/** S-310. */
export function isMirrorOf(mirror: ApiPod, pod: Pod): boolean {
  return mirrorHash(mirror) === hashOf(pod);
}

function hashOf(pod: Pod): string {
  return pod.metadata.annotations[annotationKeys.configHash] ?? pod.metadata.uid;
}

/**
 * The object to create (S-290 … S-292). What the server sets by itself is left out: the UID (S-294), and a resourceVersion
 * in the manifest, which would make every attempt fail (S-295).
 */
export function toMirrorPod(pod: Pod, node: { readonly name: string; readonly uid: string }): ApiPod {
  const { name, namespace, labels, annotations, finalizers } = pod.metadata;
  const hash = hashOf(pod);
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace,
      ...(labels === undefined ? {} : { labels }),
      ...(finalizers === undefined ? {} : { finalizers }),
      annotations: { ...annotations, [annotationKeys.configHash]: hash, [annotationKeys.configMirror]: hash },
      ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: node.name, uid: node.uid, controller: true }],
    },
    spec: pod.spec,
  };
}

/** The Node as an owner, or undefined while there is none to own anything (S-300). */
export function ownerOf(node: Node | undefined): { readonly name: string; readonly uid: string } | undefined {
  const { name, uid, deletionTimestamp } = node?.metadata ?? {};
  if (name === undefined || uid === undefined || uid === '' || deletionTimestamp !== undefined) return undefined;
  return { name, uid };
}

/** S-337. `DisruptionTarget` is shared: added, never removed. */
const ownConditions: ReadonlySet<string> = new Set([
  'PodScheduled',
  'Initialized',
  'ContainersReady',
  'Ready',
  'PodReadyToStartContainers',
  'PodResizePending',
  'PodResizeInProgress',
  'AllContainersRestarting',
]);
const disruptionTarget = 'DisruptionTarget';

/** S-336; conditions are treated by themselves, and qosClass is the server's from the start (S-294). */
const ownFields = [
  'phase',
  'reason',
  'message',
  'hostIP',
  'hostIPs',
  'podIP',
  'podIPs',
  'startTime',
  'initContainerStatuses',
  'containerStatuses',
  'ephemeralContainerStatuses',
  'resources',
  'allocatedResources',
] as const satisfies readonly (keyof PodStatus)[];

/** Lists that a strategic merge patch merges unless told to replace. */
const mergedLists: ReadonlySet<string> = new Set(['hostIPs', 'podIPs']);

/** The part of a status that is ours, in a form that compares: as the server would print it, conditions by type. */
export function ownStatus(status: PodStatus | undefined): unknown {
  const own: Record<string, unknown> = {};
  for (const field of ownFields) own[field] = status?.[field];
  own['conditions'] = Object.fromEntries((status?.conditions ?? []).filter(isOwn).map((c) => [c.type, comparable(c)]));
  return pruned(own);
}

/** A strategic merge patch that makes `mirror` show `status`, or undefined if it does (S-333, S-336). */
export function toStatusPatch(
  status: PodStatus,
  mirror: ApiPod,
): { readonly metadata: { readonly uid: string }; readonly status: Readonly<Record<string, unknown>> } | undefined {
  const shown = mirror.status;
  const patch: Record<string, unknown> = {};
  for (const field of ownFields) {
    const wanted = pruned(status[field]);
    if (equalJson(wanted, pruned(shown?.[field]))) continue;
    if (wanted === undefined) patch[field] = null;
    else patch[field] = mergedLists.has(field) ? [...(status[field] as readonly unknown[]), { $patch: 'replace' }] : status[field];
  }
  const conditions = conditionPatch(status, shown?.conditions ?? []);
  if (conditions.length > 0) patch['conditions'] = conditions;
  if (Object.keys(patch).length === 0) return undefined;
  return { metadata: { uid: mirror.metadata?.uid ?? '' }, status: patch };
}

function conditionPatch(status: PodStatus, shown: readonly PodCondition[]): readonly unknown[] {
  const isTerminal = status.phase === 'Failed' || status.phase === 'Succeeded';
  const wanted = (status.conditions ?? []).filter((c) => isOwn(c) || (c.type === disruptionTarget && isTerminal));
  const changed = wanted.filter((c) => {
    const old = shown.find((s) => s.type === c.type);
    return old === undefined || !equalJson(comparable(old), comparable(c));
  });
  const gone = shown.filter((s) => isOwn(s) && !wanted.some((c) => c.type === s.type));
  return [
    // A member the server has and we do not want must be named to go.
    ...changed.map((c) => ({ ...c, reason: c.reason ?? null, message: c.message ?? null })),
    ...gone.map(({ type }) => ({ $patch: 'delete', type })),
  ];
}

function isOwn(condition: PodCondition): boolean {
  return ownConditions.has(condition.type);
}

function comparable({ type, status, reason, message, lastTransitionTime }: PodCondition): unknown {
  return pruned({ type, status, reason, message, lastTransitionTime });
}

/**
 * Without what Go's `omitempty` leaves out on the way through the server: empty texts, lists and objects, null, false and
 * zero; `started: false` and `exitCode: 0` are said there, and `ready` and `restartCount` always, so their loss on both
 * sides changes no comparison but that of `started`, which is kept.
 */
function pruned(value: unknown): unknown {
  if (value === null || value === '' || value === false || value === 0) return undefined;
  if (Array.isArray(value)) return value.length === 0 ? undefined : value.map((item) => pruned(item) ?? {});
  if (typeof value !== 'object') return value;
  const entries = Object.entries(value)
    .map(([key, member]) => [key, key === 'started' ? (member ?? undefined) : pruned(member)] as const)
    .filter(([, member]) => member !== undefined);
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}
