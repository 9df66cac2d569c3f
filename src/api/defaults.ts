// Defaulting of a Pod: every rule Kubernetes applies while it decodes one (S-099 … S-124). Pure; the input is not touched.
import type { DecodedPod } from './decode.ts';
import { type FieldType, fieldTypes, zeroOf } from './field-types.ts';
import type { Container, LifecycleHandler, PodSpec, Probe, ResourceRequirements, Volume } from './gen/kubernetes.ts';
import { defaultPullPolicy } from './image-reference.ts';
import { type Amount, addQuantities, compareQuantities, formatQuantity, parseQuantity, roundUpToMilli, zeroQuantity } from './quantity.ts';

/** A defaulted Pod without identity: name, UID and annotations come from its source (S-079). */
export type DefaultedPod = DecodedPod;

type Mutable<T> = T extends (infer I)[] | readonly (infer I)[]
  ? Mutable<I>[]
  : T extends object
    ? { -readonly [K in keyof T]: Mutable<T[K]> }
    : T;

type Quantities = Record<string, string>;

/**
 * The Pod with every default spelled out, as `kubectl get pod -o yaml` shows it. Required fields that the manifest
 * lacks get their zero value, so that validation can name them.
 */
export function defaultPod(pod: DecodedPod): DefaultedPod {
  const copy = complete(pod, { kind: 'object', name: 'Pod' }) as Mutable<DecodedPod>;
  defaultSpec(copy.spec);
  for (const key of Object.keys(copy.metadata.annotations ?? {})) {
    if (legacyAnnotations.has(key)) delete copy.metadata.annotations?.[key];
  }
  const status = copy.status;
  if (status !== undefined) {
    // The two spellings of a Pod's addresses agree (S-124).
    const first = status.podIPs?.[0]?.ip;
    if (first !== undefined) status.podIP = first;
    else if (status.podIP !== undefined && status.podIP !== '') status.podIPs = [{ ip: status.podIP }];
  }
  return copy as DefaultedPod;
}

/** Init containers were once written in annotations; those are dropped (S-124). */
const legacyAnnotations = new Set([
  'pod.alpha.kubernetes.io/init-containers',
  'pod.beta.kubernetes.io/init-containers',
  'pod.alpha.kubernetes.io/init-container-statuses',
  'pod.beta.kubernetes.io/init-container-statuses',
]);

/** A deep copy with the zero value for each absent required field, and quantities in canonical form (S-115). */
function complete(value: unknown, type: FieldType): unknown {
  switch (type.kind) {
    case 'list':
      return (value as readonly unknown[]).map((item) => complete(item, type.item));
    case 'map':
      return Object.fromEntries(Object.entries(value as object).map(([key, item]) => [key, complete(item, type.item)]));
    case 'object': {
      const result: Record<string, unknown> = {};
      const members = fieldTypes.get(type.name) ?? new Map();
      for (const [key, member] of Object.entries(value as object)) {
        const field = members.get(key);
        if (member !== undefined && field !== undefined) result[key] = complete(member, field.type);
      }
      for (const [key, field] of members) {
        if (field.isRequired && result[key] === undefined) result[key] = complete(zeroOf(field.type), field.type);
      }
      return result;
    }
    case 'scalar':
      return type.name === 'quantity' ? canonicalQuantity(value as string) : value;
  }
}

function canonicalQuantity(text: string): string {
  const amount = parseQuantity(text);
  return amount === undefined ? text : formatQuantity(roundUpToMilli(amount));
}

function defaultSpec(spec: Mutable<PodSpec>): void {
  const containers: Mutable<Container>[] = [...(spec.initContainers ?? []), ...spec.containers];
  for (const container of [...containers, ...(spec.ephemeralContainers ?? [])]) defaultContainer(container as Mutable<Container>);
  for (const volume of spec.volumes ?? []) defaultVolume(volume);
  spec.enableServiceLinks ??= true;
  if (spec.hostNetwork === true) {
    for (const port of containers.flatMap((container) => container.ports ?? [])) port.hostPort = port.hostPort || port.containerPort;
  }
  spec.dnsPolicy ||= 'ClusterFirst';
  spec.restartPolicy ||= 'Always';
  spec.securityContext ??= {};
  spec.terminationGracePeriodSeconds ??= 30;
  if (spec.terminationGracePeriodSeconds < 0) spec.terminationGracePeriodSeconds = 1;
  spec.schedulerName ||= 'default-scheduler';
  if (spec.serviceAccount !== undefined && spec.serviceAccount !== '') spec.serviceAccountName ||= spec.serviceAccount;
  defaultPodResources(spec);
}

function defaultContainer(container: Mutable<Container>): void {
  container.imagePullPolicy ||= defaultPullPolicy(container.image ?? '');
  container.terminationMessagePath ||= '/dev/termination-log';
  container.terminationMessagePolicy ||= 'File';
  for (const port of container.ports ?? []) port.protocol ||= 'TCP';
  for (const probe of [container.livenessProbe, container.readinessProbe, container.startupProbe])
    if (probe !== undefined) defaultProbe(probe);
  for (const hook of [container.lifecycle?.postStart, container.lifecycle?.preStop]) if (hook !== undefined) defaultHandler(hook);
  for (const variable of container.env ?? []) {
    const source = variable.valueFrom;
    if (source?.fieldRef !== undefined) source.fieldRef.apiVersion ||= 'v1';
    if (source?.fileKeyRef !== undefined) source.fileKeyRef.optional ??= false;
  }
  // A limit is also a request where none is given (S-099).
  const resources = container.resources;
  if (resources?.limits !== undefined && Object.keys(resources.limits).length > 0) {
    resources.requests = { ...resources.limits, ...resources.requests };
  }
}

function defaultProbe(probe: Mutable<Probe>): void {
  probe.timeoutSeconds ||= 1;
  probe.periodSeconds ||= 10;
  probe.successThreshold ||= 1;
  probe.failureThreshold ||= 3;
  if (probe.grpc !== undefined) probe.grpc.service ??= '';
  defaultHandler(probe);
}

function defaultHandler(handler: Mutable<LifecycleHandler | Probe>): void {
  if (handler.httpGet === undefined) return;
  handler.httpGet.path ||= '/';
  handler.httpGet.scheme ||= 'HTTP';
}

const fileMode = 0o644;

function defaultVolume(volume: Mutable<Volume>): void {
  if (Object.entries(volume).every(([key, value]) => key === 'name' || value === undefined)) volume.emptyDir = {};
  if (volume.image !== undefined) volume.image.pullPolicy ||= defaultPullPolicy(volume.image.reference ?? '');
  if (volume.hostPath !== undefined) volume.hostPath.type ??= '';
  for (const source of [volume.secret, volume.configMap, volume.downwardAPI, volume.projected]) {
    if (source !== undefined) source.defaultMode ??= fileMode;
  }
  for (const item of volume.downwardAPI?.items ?? []) if (item.fieldRef !== undefined) item.fieldRef.apiVersion ||= 'v1';
  for (const source of volume.projected?.sources ?? []) {
    for (const item of source.downwardAPI?.items ?? []) if (item.fieldRef !== undefined) item.fieldRef.apiVersion ||= 'v1';
    if (source.serviceAccountToken !== undefined) source.serviceAccountToken.expirationSeconds ??= 3600;
  }
  if (volume.iscsi !== undefined) volume.iscsi.iscsiInterface ||= 'default';
  if (volume.rbd !== undefined) {
    volume.rbd.pool ||= 'rbd';
    volume.rbd.user ||= 'admin';
    volume.rbd.keyring ||= '/etc/ceph/keyring';
  }
  if (volume.azureDisk !== undefined) {
    volume.azureDisk.cachingMode ??= 'ReadWrite';
    volume.azureDisk.fsType ??= 'ext4';
    volume.azureDisk.readOnly ??= false;
    volume.azureDisk.kind ??= 'Shared';
  }
  if (volume.scaleIO !== undefined) {
    volume.scaleIO.storageMode ||= 'ThinProvisioned';
    volume.scaleIO.fsType ||= 'xfs';
  }
  const claim = volume.ephemeral?.volumeClaimTemplate;
  if (claim !== undefined) claim.spec.volumeMode ??= 'Filesystem';
}

/** Resources a Pod as a whole can have (S-182). */
export function isPodLevelResource(name: string): boolean {
  return name === 'cpu' || name === 'memory' || name.startsWith('hugepages-');
}

/** Pod-level requests and limits from those of the containers (S-100, S-101). */
function defaultPodResources(spec: Mutable<PodSpec>): void {
  const resources = spec.resources;
  if (resources === undefined) return;
  const hasAny = Object.keys(resources.limits ?? {}).length > 0 || Object.keys(resources.requests ?? {}).length > 0;
  if (!hasAny) return;
  const limits: Quantities = { ...resources.limits };
  const requests: Quantities = { ...resources.requests };
  for (const [name, amount] of aggregateResources(spec, 'limits')) {
    if (name.startsWith('hugepages-') && requests[name] === undefined && limits[name] === undefined) limits[name] = formatQuantity(amount);
  }
  if (Object.keys(limits).length > 0) {
    for (const [name, amount] of aggregateResources(spec, 'requests')) {
      if ((name === 'cpu' || name === 'memory') && requests[name] === undefined) requests[name] = formatQuantity(amount);
    }
    for (const [name, limit] of Object.entries(limits)) if (isPodLevelResource(name)) requests[name] ??= limit;
  }
  if (Object.keys(limits).length > 0) resources.limits = limits;
  if (Object.keys(requests).length > 0) resources.requests = requests;
}

type ContainerResources = Pick<Container, 'restartPolicy'> & {
  readonly resources?: Pick<ResourceRequirements, 'limits' | 'requests'> | undefined;
};

/**
 * What the containers of a Pod need together: the regular ones and the sidecars at once, or the largest init
 * container along with the sidecars started before it, whichever is more.
 */
export function aggregateResources(
  spec: { readonly containers: readonly ContainerResources[]; readonly initContainers?: readonly ContainerResources[] | undefined },
  which: 'limits' | 'requests',
): ReadonlyMap<string, Amount> {
  const total = new Map<string, Amount>();
  for (const container of spec.containers) addTo(total, container.resources?.[which]);
  const sidecars = new Map<string, Amount>();
  const peaks: ReadonlyMap<string, Amount>[] = [];
  for (const container of spec.initContainers ?? []) {
    if (container.restartPolicy === 'Always') {
      addTo(sidecars, container.resources?.[which]);
      addTo(total, container.resources?.[which]);
      peaks.push(new Map(sidecars));
    } else {
      const peak = new Map(sidecars);
      addTo(peak, container.resources?.[which]);
      peaks.push(peak);
    }
  }
  for (const peak of peaks) {
    for (const [name, amount] of peak)
      if (compareQuantities(amount, total.get(name) ?? zeroQuantity) > 0 || !total.has(name)) total.set(name, amount);
  }
  return total;
}

function addTo(sum: Map<string, Amount>, quantities: Readonly<Record<string, string>> | undefined): void {
  for (const [name, text] of Object.entries(quantities ?? {})) {
    const amount = parseQuantity(text);
    if (amount !== undefined) sum.set(name, addQuantities(sum.get(name) ?? zeroQuantity, amount));
  }
}
