// Which resources the node's own API serves, and all that is special about each: names, verbs, columns, fields that
// selectors may use, and where the objects come from.
import type { Pod as ApiPod, Event, EventsEvent, Lease, Namespace, Node } from '../../api/gen/kubernetes.ts';
import type { Pod } from '../../api/pod.ts';
import { type Clock, toRfc3339 } from '../../std/clock.ts';
import type { EventsView, Feed, LeasesView, NodeView, Unsubscribe } from '../views.ts';
import { type KubeObject, type ResourceVersions, WatchCache } from '../watch-cache.ts';
import type { ResourceName } from './api-error.ts';
import { eventPrinter, leasePrinter, namespacePrinter, nodePrinter, type Printer, plainPrinter, podPrinter, type Row } from './tables.ts';
import { uuidOf } from './uuid.ts';

export interface Subresource {
  readonly name: string;
  readonly kind: string;
  readonly verbs: readonly string[];
}

/** A served resource with its objects' type hidden: handlers treat all alike. */
export interface Resource extends ResourceName {
  readonly version: string;
  readonly singular: string;
  readonly namespaced: boolean;
  readonly verbs: readonly string[];
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly subresources: readonly Subresource[];
  readonly cache: WatchCache<KubeObject>;
  readonly printer: Printer<KubeObject>;
  readonly fields: readonly string[];
  readonly fieldAliases: Readonly<Record<string, string>>;
  /** These are the fields of any resource; the words for others are different then. */
  readonly hasOwnFields: boolean;
  /** Reads one of `fields`. */
  readField(object: KubeObject, field: string): string;
}

interface Definition<T extends KubeObject> extends ResourceName {
  readonly version?: string;
  readonly singular: string;
  readonly namespaced: boolean;
  readonly verbs?: readonly string[];
  readonly shortNames?: readonly string[];
  readonly categories?: readonly string[];
  readonly subresources?: readonly Subresource[];
  readonly feed: Feed<T>;
  readonly printer: Printer<T>;
  readonly fields?: Readonly<Record<string, (object: T) => string | undefined>>;
  readonly fieldAliases?: Readonly<Record<string, string>>;
}

const read = ['get', 'list', 'watch'] as const;

function resource<T extends KubeObject>(definition: Definition<T>, versions: ResourceVersions): Resource {
  const { feed, printer, ...rest } = definition;
  const fields: Readonly<Record<string, (object: T) => string | undefined>> = {
    'metadata.name': (object) => object.metadata?.name,
    ...(definition.namespaced ? { 'metadata.namespace': (object: T) => object.metadata?.namespace } : {}),
    ...definition.fields,
  };
  // Every object in this cache is a T: the definition is the only one who puts any in.
  const cache = new WatchCache<T>({}, { feed, versions }) as unknown as WatchCache<KubeObject>;
  return {
    version: 'v1',
    verbs: read,
    shortNames: [],
    categories: [],
    subresources: [],
    fieldAliases: {},
    ...rest,
    cache,
    printer: { columns: printer.columns, row: (object, now): Row => printer.row(object as T, now) },
    fields: Object.keys(fields),
    hasOwnFields: definition.fields !== undefined,
    readField: (object, field) => fields[field]?.(object as T) ?? '',
  };
}

/** A feed made from others; `make` is called again when `signature` of the inputs changed. */
function derived<In, Out>(feed: Feed<In>, make: (list: readonly In[]) => readonly Out[]): Feed<Out> {
  let last: { readonly input: readonly In[]; readonly output: readonly Out[] } | undefined;
  return {
    list() {
      const input = feed.list();
      if (last === undefined || last.input !== input) last = { input, output: make(input) };
      return last.output;
    },
    subscribe: (listener): Unsubscribe => feed.subscribe(listener),
  };
}

const empty: Feed<never> = { list: () => [], subscribe: () => () => undefined };

/** The namespaces in use, with `default` always (H-112). They are as old as the server's knowledge of them. */
function namespacesOf(pods: Feed<Pod>, leases: Feed<Lease>, clock: Clock): Feed<Namespace> {
  const known = new Map<string, Namespace>();
  const listed = derived(pods, (list) => {
    const names = new Set(['default', ...list.map((pod) => pod.metadata.namespace)]);
    for (const lease of leases.list()) if (lease.metadata?.namespace !== undefined) names.add(lease.metadata.namespace);
    for (const name of known.keys()) if (!names.has(name)) known.delete(name);
    return [...names].map((name) => {
      const namespace = known.get(name) ?? {
        apiVersion: 'v1',
        kind: 'Namespace',
        metadata: {
          name,
          uid: uuidOf(`namespace\0${name}`),
          creationTimestamp: toRfc3339(clock.now()),
          labels: { 'kubernetes.io/metadata.name': name },
        },
        spec: { finalizers: ['kubernetes'] },
        status: { phase: 'Active' },
      };
      known.set(name, namespace);
      return namespace;
    });
  });
  return listed;
}

/** core/v1 → events.k8s.io/v1, as the API server converts them. */
function toEventsV1(event: Event): EventsEvent {
  return {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    metadata: event.metadata,
    // Only events that were made in the newer form have one.
    eventTime: event.eventTime ?? null,
    regarding: event.involvedObject,
    type: event.type,
    reason: event.reason,
    note: event.message,
    reportingController: event.reportingComponent,
    reportingInstance: event.reportingInstance,
    deprecatedSource: event.source,
    deprecatedFirstTimestamp: event.firstTimestamp,
    deprecatedLastTimestamp: event.lastTimestamp,
    deprecatedCount: event.count,
  };
}

export interface ResourcesDeps {
  /** Views of Pods (MirrorPods). */
  readonly pods: Feed<Pod>;
  readonly nodes: NodeView;
  readonly events: EventsView;
  readonly leases?: LeasesView | undefined;
  readonly clock: Clock;
  readonly versions: ResourceVersions;
}

const status = (kind: string): Subresource => ({ name: 'status', kind, verbs: ['get'] });
const stream = (name: string, kind: string): Subresource => ({ name, kind, verbs: ['create', 'get'] });

export function servedResources(deps: ResourcesDeps): readonly Resource[] {
  const { versions, clock } = deps;
  const leases = deps.leases ?? empty;
  const converted = new WeakMap<Event, EventsEvent>();
  const make = <T extends KubeObject>(definition: Definition<T>): Resource => resource(definition, versions);
  return [
    make<Event>({
      group: '',
      resource: 'events',
      singular: 'event',
      kind: 'Event',
      namespaced: true,
      shortNames: ['ev'],
      feed: deps.events,
      printer: eventPrinter,
      fields: {
        'involvedObject.kind': (e) => e.involvedObject.kind,
        'involvedObject.namespace': (e) => e.involvedObject.namespace,
        'involvedObject.name': (e) => e.involvedObject.name,
        'involvedObject.uid': (e) => e.involvedObject.uid,
        'involvedObject.apiVersion': (e) => e.involvedObject.apiVersion,
        'involvedObject.resourceVersion': (e) => e.involvedObject.resourceVersion,
        'involvedObject.fieldPath': (e) => e.involvedObject.fieldPath,
        reason: (e) => e.reason,
        reportingComponent: (e) => e.reportingComponent,
        source: (e) => e.source?.component,
        type: (e) => e.type,
      },
    }),
    make<Namespace>({
      group: '',
      resource: 'namespaces',
      singular: 'namespace',
      kind: 'Namespace',
      namespaced: false,
      shortNames: ['ns'],
      subresources: [status('Namespace')],
      feed: namespacesOf(deps.pods, leases, clock),
      printer: namespacePrinter,
      fields: { 'status.phase': (n) => n.status?.phase },
    }),
    make<Node>({
      group: '',
      resource: 'nodes',
      singular: 'node',
      kind: 'Node',
      namespaced: false,
      shortNames: ['no'],
      subresources: [{ name: 'proxy', kind: 'NodeProxyOptions', verbs: ['get'] }, status('Node')],
      feed: deps.nodes,
      printer: nodePrinter,
      fields: { 'spec.unschedulable': (n) => String(n.spec?.unschedulable ?? false) },
    }),
    make<ApiPod & KubeObject>({
      group: '',
      resource: 'pods',
      singular: 'pod',
      kind: 'Pod',
      namespaced: true,
      verbs: ['delete', ...read],
      shortNames: ['po'],
      categories: ['all'],
      subresources: [
        stream('attach', 'PodAttachOptions'),
        { name: 'ephemeralcontainers', kind: 'Pod', verbs: ['get'] },
        stream('exec', 'PodExecOptions'),
        { name: 'log', kind: 'Pod', verbs: ['get'] },
        stream('portforward', 'PodPortForwardOptions'),
        { name: 'resize', kind: 'Pod', verbs: ['get'] },
        status('Pod'),
      ],
      feed: deps.pods,
      printer: podPrinter,
      fields: {
        'spec.nodeName': (p) => p.spec?.nodeName,
        'spec.restartPolicy': (p) => p.spec?.restartPolicy,
        'spec.schedulerName': (p) => p.spec?.schedulerName,
        'spec.serviceAccountName': (p) => p.spec?.serviceAccountName,
        'spec.hostNetwork': (p) => String(p.spec?.hostNetwork ?? false),
        'status.phase': (p) => p.status?.phase,
        'status.podIP': (p) => p.status?.podIP ?? p.status?.podIPs?.[0]?.ip,
        // Of an API server no Pod has a value for it.
        'status.podIPs': () => undefined,
        'status.nominatedNodeName': (p) => p.status?.nominatedNodeName,
      },
      fieldAliases: { 'spec.host': 'spec.nodeName' },
    }),
    // Always empty: `kubectl cluster-info` and `kubectl get svc` ask for it (H-028).
    make<KubeObject>({
      group: '',
      resource: 'services',
      singular: 'service',
      kind: 'Service',
      namespaced: true,
      verbs: read,
      shortNames: ['svc'],
      categories: ['all'],
      feed: empty,
      printer: plainPrinter,
      fields: { 'spec.clusterIP': () => undefined, 'spec.type': () => undefined },
    }),
    make<Lease>({
      group: 'coordination.k8s.io',
      resource: 'leases',
      singular: 'lease',
      kind: 'Lease',
      namespaced: true,
      feed: leases,
      printer: leasePrinter,
    }),
    make<EventsEvent>({
      group: 'events.k8s.io',
      resource: 'events',
      singular: 'event',
      kind: 'Event',
      namespaced: true,
      shortNames: ['ev'],
      feed: derived(deps.events, (list) =>
        list.map((event) => {
          const known = converted.get(event) ?? toEventsV1(event);
          converted.set(event, known);
          return known;
        }),
      ),
      printer: {
        columns: eventPrinter.columns,
        row: (event, now) =>
          eventPrinter.row(
            {
              metadata: event.metadata ?? {},
              involvedObject: event.regarding ?? {},
              type: event.type,
              reason: event.reason,
              message: event.note,
              source: event.deprecatedSource,
              reportingComponent: event.reportingController,
              reportingInstance: event.reportingInstance,
              firstTimestamp: event.deprecatedFirstTimestamp,
              lastTimestamp: event.deprecatedLastTimestamp,
              count: event.deprecatedCount,
            },
            now,
          ),
      },
      fields: {
        'regarding.kind': (e) => e.regarding?.kind,
        'regarding.namespace': (e) => e.regarding?.namespace,
        'regarding.name': (e) => e.regarding?.name,
        'regarding.uid': (e) => e.regarding?.uid,
        'regarding.apiVersion': (e) => e.regarding?.apiVersion,
        'regarding.resourceVersion': (e) => e.regarding?.resourceVersion,
        'regarding.fieldPath': (e) => e.regarding?.fieldPath,
        reason: (e) => e.reason,
        reportingController: (e) => e.reportingController,
        type: (e) => e.type,
      },
    }),
  ];
}
