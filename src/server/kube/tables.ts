// Rows and columns as Kubernetes' own printers make them (section 1.6): object → cells. Pure; kubectl and our own CLI
// print what comes out here.
import type { Container, ContainerStatus, Event, Lease, Namespace, Node, Pod, PodCondition } from '../../api/gen/kubernetes.ts';
import { fromRfc3339, type Instant } from '../../std/clock.ts';
import type { KubeObject } from '../watch-cache.ts';
import { formatAge } from './duration.ts';

export interface Column {
  readonly name: string;
  readonly type: 'string' | 'integer';
  readonly format: string;
  readonly description: string;
  /** 0 is always shown, 1 only in wide output. */
  readonly priority: number;
}

export interface Row {
  readonly cells: readonly (string | number)[];
  readonly conditions?: readonly { readonly type: string; readonly status: string; readonly reason: string; readonly message: string }[];
  readonly object?: unknown;
}

export interface Table {
  readonly kind: 'Table';
  readonly apiVersion: 'meta.k8s.io/v1';
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly columnDefinitions: readonly Column[] | null;
  readonly rows: readonly Row[];
}

/** How one resource is printed. */
export interface Printer<T extends KubeObject> {
  readonly columns: readonly Column[];
  row(object: T, now: Instant): Row;
}

const column = (name: string, description: string, priority = 0, format = '', type: Column['type'] = 'string'): Column => ({
  name,
  type,
  format,
  description,
  priority,
});

const nameColumn = column('Name', 'Name must be unique within a namespace.', 0, 'name');
const ageColumn = column('Age', 'How long ago the object was created.');

export function ageOf(timestamp: string | undefined, now: Instant): string {
  const instant = timestamp === undefined ? undefined : fromRfc3339(timestamp);
  return instant === undefined ? '<unknown>' : formatAge(now - instant);
}

const orNone = (text: string | undefined): string => (text === undefined || text === '' ? '<none>' : text);

interface PodSummary {
  readonly ready: number;
  readonly total: number;
  readonly status: string;
  readonly restarts: number;
  readonly lastRestartAt: Instant | undefined;
}

const conditionIs = (conditions: readonly PodCondition[] | undefined, type: string): boolean =>
  conditions?.some((c) => c.type === type && c.status === 'True') ?? false;

const lastEnd = (status: ContainerStatus): Instant | undefined => {
  const at = status.lastState?.terminated?.finishedAt;
  return at === undefined ? undefined : fromRfc3339(at);
};

const later = (a: Instant | undefined, b: Instant | undefined): Instant | undefined =>
  a === undefined ? b : b === undefined || a > b ? a : b;

const terminationText = (terminated: {
  readonly reason?: string | undefined;
  readonly signal?: number | undefined;
  readonly exitCode: number;
}): string => {
  if (terminated.reason !== undefined && terminated.reason !== '') return terminated.reason;
  return terminated.signal !== undefined && terminated.signal !== 0 ? `Signal:${terminated.signal}` : `ExitCode:${terminated.exitCode}`;
};

interface InitPass {
  /** `Init:…` when the Pod is still (or again) initializing. */
  readonly status: string | undefined;
  readonly ready: number;
  readonly restarts: number;
  readonly lastRestartAt: Instant | undefined;
  readonly sidecarRestarts: number;
  readonly lastSidecarRestartAt: Instant | undefined;
}

/** H-103. */
function initPass(pod: Pod): InitPass {
  const init = pod.spec?.initContainers ?? [];
  const sidecars = new Set(init.filter((c: Container) => c.restartPolicy === 'Always').map((c) => c.name));
  let [ready, restarts, sidecarRestarts] = [0, 0, 0];
  let lastRestartAt: Instant | undefined;
  let lastSidecarRestartAt: Instant | undefined;
  let stopped: string | undefined;
  for (const [index, container] of (pod.status?.initContainerStatuses ?? []).entries()) {
    restarts += container.restartCount;
    lastRestartAt = later(lastRestartAt, lastEnd(container));
    const isSidecar = sidecars.has(container.name);
    if (isSidecar) {
      sidecarRestarts += container.restartCount;
      lastSidecarRestartAt = later(lastSidecarRestartAt, lastEnd(container));
    }
    const { terminated, waiting } = container.state ?? {};
    if (terminated !== undefined && terminated.exitCode === 0) continue;
    if (isSidecar && container.started === true) {
      if (container.ready) ready += 1;
      continue;
    }
    if (terminated !== undefined) stopped = `Init:${terminationText(terminated)}`;
    else if (waiting?.reason !== undefined && waiting.reason !== '' && waiting.reason !== 'PodInitializing')
      stopped = `Init:${waiting.reason}`;
    else stopped = `Init:${index}/${init.length}`;
    break;
  }
  return { status: stopped, ready, restarts, lastRestartAt, sidecarRestarts, lastSidecarRestartAt };
}

/** H-101 … H-105. */
export function summarizePod(pod: Pod): PodSummary {
  const { spec, status, metadata } = pod;
  const conditions = status?.conditions;
  let text = status?.reason !== undefined && status.reason !== '' ? status.reason : (status?.phase ?? '');
  if (conditions?.some((c) => c.type === 'PodScheduled' && c.reason === 'SchedulingGated') === true) text = 'SchedulingGated';
  const total = (spec?.containers.length ?? 0) + (spec?.initContainers ?? []).filter((c) => c.restartPolicy === 'Always').length;
  const init = initPass(pod);
  if (init.status !== undefined) text = init.status;
  let { ready, restarts, lastRestartAt } = init;
  if (init.status === undefined || conditionIs(conditions, 'Initialized')) {
    restarts = init.sidecarRestarts;
    lastRestartAt = init.lastSidecarRestartAt;
    let hasRunning = false;
    let errorReason = '';
    // Backwards, so that the first container's state is the one that stays.
    for (const container of [...(status?.containerStatuses ?? [])].reverse()) {
      restarts += container.restartCount;
      lastRestartAt = later(lastRestartAt, lastEnd(container));
      const { waiting, terminated, running } = container.state ?? {};
      if (waiting?.reason !== undefined && waiting.reason !== '') {
        text = waiting.reason;
      } else if (terminated !== undefined) {
        text = terminationText(terminated);
        if (terminated.exitCode !== 0) errorReason = text;
      } else if (container.ready && running !== undefined) {
        hasRunning = true;
        ready += 1;
      }
    }
    if (text === 'Completed') {
      if (hasRunning && conditionIs(conditions, 'Ready')) text = 'Running';
      else if (errorReason !== '') text = errorReason;
      else if (hasRunning) text = 'NotReady';
    }
  }
  if (metadata?.deletionTimestamp !== undefined) {
    if (status?.reason === 'NodeLost') text = 'Unknown';
    else if (status?.phase !== 'Succeeded' && status?.phase !== 'Failed') text = 'Terminating';
  }
  return { ready, total, status: text, restarts, lastRestartAt };
}

function readinessGates(pod: Pod): string {
  const gates = pod.spec?.readinessGates ?? [];
  if (gates.length === 0) return '<none>';
  const passed = gates.filter((gate) => conditionIs(pod.status?.conditions, gate.conditionType)).length;
  return `${passed}/${gates.length}`;
}

export const podPrinter: Printer<Pod> = {
  columns: [
    nameColumn,
    column('Ready', 'How many containers are ready.'),
    column('Status', 'The state of the containers in this Pod.'),
    column('Restarts', 'How often containers were restarted, and when the last one was.'),
    ageColumn,
    column('IP', 'The address of the Pod.', 1),
    column('Node', 'The node the Pod runs on.', 1),
    column('Nominated Node', 'The node a preempting Pod waits for.', 1),
    column('Readiness Gates', 'How many readiness gates are passed.', 1),
  ],
  row(pod, now) {
    const summary = summarizePod(pod);
    const restarts =
      summary.restarts !== 0 && summary.lastRestartAt !== undefined
        ? `${summary.restarts} (${formatAge(now - summary.lastRestartAt)} ago)`
        : String(summary.restarts);
    const phase = pod.status?.phase;
    const conditions =
      phase === 'Succeeded'
        ? [{ type: 'Completed', status: 'True', reason: 'Succeeded', message: 'The pod has completed successfully.' }]
        : phase === 'Failed'
          ? [{ type: 'Completed', status: 'True', reason: 'Failed', message: 'The pod failed.' }]
          : undefined;
    return {
      cells: [
        pod.metadata?.name ?? '',
        `${summary.ready}/${summary.total}`,
        summary.status,
        restarts,
        ageOf(pod.metadata?.creationTimestamp, now),
        orNone(pod.status?.podIPs?.[0]?.ip),
        orNone(pod.spec?.nodeName),
        orNone(pod.status?.nominatedNodeName),
        readinessGates(pod),
      ],
      ...(conditions === undefined ? {} : { conditions }),
    };
  },
};

const rolePrefix = 'node-role.kubernetes.io/';

function nodeRoles(node: Node): string {
  const roles = new Set<string>();
  for (const [key, value] of Object.entries(node.metadata?.labels ?? {})) {
    if (key.startsWith(rolePrefix) && key.length > rolePrefix.length) roles.add(key.slice(rolePrefix.length));
    else if (key === 'kubernetes.io/role' && value !== '') roles.add(value);
  }
  return roles.size === 0 ? '<none>' : [...roles].sort().join(',');
}

/** H-111. */
export const nodePrinter: Printer<Node> = {
  columns: [
    nameColumn,
    column('Status', 'Whether the node is ready.'),
    column('Roles', 'The roles of the node.'),
    ageColumn,
    column('Version', 'The version of Kubernetes the agent keeps to.'),
    column('Internal-IP', 'The first internal address.', 1),
    column('External-IP', 'The first external address.', 1),
    column('OS-Image', 'The operating system.', 1),
    column('Kernel-Version', 'The kernel.', 1),
    column('Container-Runtime', 'The container runtime and its version.', 1),
  ],
  row(node, now) {
    const ready = node.status?.conditions?.find((c) => c.type === 'Ready');
    const state = ready === undefined ? 'Unknown' : ready.status === 'True' ? 'Ready' : 'NotReady';
    const address = (type: string): string => orNone(node.status?.addresses?.find((a) => a.type === type)?.address);
    const info = node.status?.nodeInfo;
    const kernel = info?.kernelVersion ?? '';
    const orUnknown = (text: string | undefined): string => (text === undefined || text === '' ? '<unknown>' : text);
    return {
      cells: [
        node.metadata?.name ?? '',
        node.spec?.unschedulable === true ? `${state},SchedulingDisabled` : state,
        nodeRoles(node),
        ageOf(node.metadata?.creationTimestamp, now),
        info?.kubeletVersion ?? '',
        address('InternalIP'),
        address('ExternalIP'),
        orUnknown(info?.osImage),
        kernel === ''
          ? '<unknown>'
          : info?.architecture === undefined || info.architecture === ''
            ? kernel
            : `${kernel} (${info.architecture})`,
        orUnknown(info?.containerRuntimeVersion),
      ],
    };
  },
};

export const namespacePrinter: Printer<Namespace> = {
  columns: [nameColumn, column('Status', 'The status of the namespace.'), ageColumn],
  row: (namespace, now) => ({
    cells: [namespace.metadata?.name ?? '', namespace.status?.phase ?? '', ageOf(namespace.metadata?.creationTimestamp, now)],
  }),
};

/** H-113. */
export const eventPrinter: Printer<Event> = {
  columns: [
    column('Last Seen', 'When the event was last seen.'),
    column('Type', 'Normal or Warning.'),
    column('Reason', 'Why the event was recorded, in one word.'),
    column('Object', 'What the event is about.'),
    column('Subobject', 'The part of the object.', 1),
    column('Source', 'Who recorded the event.', 1),
    column('Message', 'What happened.'),
    column('First Seen', 'When the event was first seen.', 1),
    column('Count', 'How often the event was seen.', 1, '', 'integer'),
    column('Name', 'The name of the event.', 1, 'name'),
  ],
  row(event, now) {
    const firstAt = event.firstTimestamp ?? event.eventTime ?? undefined;
    const first = ageOf(firstAt, now);
    const lastAt = event.series?.lastObservedTime ?? event.lastTimestamp;
    const kind = (event.involvedObject.kind ?? '').toLowerCase();
    const name = event.involvedObject.name ?? '';
    const component = event.source?.component ?? event.reportingComponent ?? '';
    const host = event.source?.component === undefined ? event.reportingInstance : event.source.host;
    return {
      cells: [
        lastAt === undefined ? first : ageOf(lastAt, now),
        event.type ?? '',
        event.reason ?? '',
        name === '' ? kind : `${kind}/${name}`,
        event.involvedObject.fieldPath ?? '',
        host === undefined || host === '' ? component : `${component}, ${host}`,
        (event.message ?? '').trim(),
        first,
        event.series?.count ?? event.count ?? 1,
        event.metadata.name ?? '',
      ],
    };
  },
};

export const leasePrinter: Printer<Lease> = {
  columns: [nameColumn, column('Holder', 'Who holds the lease.'), ageColumn],
  row: (lease, now) => ({
    cells: [lease.metadata?.name ?? '', lease.spec?.holderIdentity ?? '', ageOf(lease.metadata?.creationTimestamp, now)],
  }),
};

/** For resources without columns of their own. */
export const plainPrinter: Printer<KubeObject> = {
  columns: [nameColumn, column('Created At', 'When the object was created.')],
  row: (object) => ({ cells: [object.metadata?.name ?? '', object.metadata?.creationTimestamp ?? ''] }),
};
