// What is wrong between us and the API server at this moment, for `pinpod doctor`, Events and a metric (D5). A fault is
// told when it begins, when its cause changes, and when it ends; not each time it is met.
import type { EventObject, EventSink } from '../api/events.ts';
import type { Clock, Instant } from '../std/clock.ts';
import { AgentError, messageOf } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import type { Metrics } from '../std/metrics.ts';

/** Which work is held up. `server`: all of it. */
export type FaultArea =
  | 'server'
  | 'clock'
  | 'mirror'
  /** A Pod that is not ours to run. */
  | 'pod'
  | 'watch'
  | 'node'
  | 'lease'
  | 'events'
  /** The certificate by which the API server knows us. */
  | 'credential'
  | 'client-certificate'
  | 'serving-certificate'
  | 'review';

export interface Fault {
  readonly area: FaultArea;
  /** The object concerned (`<namespace>/<name>` of a Pod); empty for the area as a whole. */
  readonly key: string;
  /** Machine-readable: the codes of ApiError, and `clock-skew`, `name-taken`, … */
  readonly cause: string;
  readonly message: string;
  /** What a person can do about it. */
  readonly advice: string;
  readonly since: Instant;
  readonly lastSeen: Instant;
  readonly count: number;
}

export interface FaultView {
  list(): readonly Fault[];
}

export interface FaultBookDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly events: EventSink;
  /** The Node: what faults without a Pod are told about (S-398: its uid is empty). */
  readonly node: EventObject;
}

/** More Pods than this cannot be on one machine; beyond it the oldest fault is forgotten. */
const maxFaults = 1000;
/** Asked for only when there is something to ask: after this long without a failure nobody knows of a fault any more. */
const lapseMs: Partial<Readonly<Record<FaultArea, number>>> = { events: 2 * 60_000, review: 2 * 60_000 };
/** A fault that comes back within this time after it seemed over is the same one: it is not told again. */
const flapMs = 5 * 60_000;

export class FaultBook implements FaultView {
  readonly #deps: FaultBookDeps;
  readonly #faults = new Map<string, Fault>();
  readonly #over = new Map<string, { readonly cause: string; readonly since: Instant; readonly at: Instant }>();
  readonly #gauge;
  readonly #counter;

  constructor(deps: FaultBookDeps) {
    this.#deps = deps;
    this.#gauge = deps.metrics.gauge({
      name: 'pinpod_api_faults',
      help: 'Faults between the agent and the Kubernetes API server that hold at this moment.',
      labels: ['area', 'cause'],
    });
    this.#counter = deps.metrics.counter({
      name: 'pinpod_api_fault_occurrences_total',
      help: 'How often the agent has met each kind of fault with the Kubernetes API server.',
      labels: ['area', 'cause'],
    });
  }

  /** `object`: what the Event is about; default the Node. */
  report(
    area: FaultArea,
    key: string,
    error: unknown,
    options: { readonly object?: EventObject | undefined; readonly cause?: string | undefined } = {},
  ): void {
    const cause = options.cause ?? (error instanceof AgentError ? error.code : 'unknown');
    const message = messageOf(error);
    const now = this.#deps.clock.now();
    const id = `${area}/${key}`;
    const old = this.#faults.get(id);
    const isNew = old === undefined || old.cause !== cause;
    const over = this.#over.get(id);
    const isBack = isNew && over !== undefined && over.cause === cause && now - over.at < flapMs;
    const fault: Fault = {
      area,
      key,
      cause,
      message,
      advice: adviceFor(cause),
      since: isBack ? over.since : isNew ? now : old.since,
      lastSeen: now,
      count: isNew ? 1 : old.count + 1,
    };
    if (old === undefined && this.#faults.size >= maxFaults) this.#drop(this.#faults.keys().next().value ?? '');
    this.#faults.set(id, fault);
    this.#counter.inc({ area, cause });
    if (!isNew) return;
    if (old !== undefined) this.#gauge.set(this.#count(area, old.cause), { area, cause: old.cause });
    this.#gauge.set(this.#count(area, cause), { area, cause });
    if (isBack) return;
    this.#deps.logger.warn('kubernetes api fault', { area, key, cause, error: message });
    this.#deps.events.record(options.object ?? this.#deps.node, 'Warning', reasonFor(area), `${what(area, key)}: ${cause}: ${message}`);
  }

  /** The work of this area (and object) succeeded. */
  clear(area: FaultArea, key = ''): void {
    const id = `${area}/${key}`;
    const fault = this.#faults.get(id);
    if (fault === undefined) return;
    this.#drop(id);
    this.#over.delete(id);
    this.#over.set(id, { cause: fault.cause, since: fault.since, at: this.#deps.clock.now() });
    const oldest = this.#over.keys().next();
    if (this.#over.size > maxFaults && oldest.done !== true) this.#over.delete(oldest.value);
    this.#deps.logger.info('kubernetes api fault is over', { area, key, cause: fault.cause });
  }

  list(): readonly Fault[] {
    const now = this.#deps.clock.now();
    for (const { area, key, lastSeen } of this.#faults.values())
      if (now - lastSeen > (lapseMs[area] ?? Number.POSITIVE_INFINITY)) this.clear(area, key);
    return [...this.#faults.values()];
  }

  #drop(id: string): void {
    const fault = this.#faults.get(id);
    if (fault === undefined) return;
    this.#faults.delete(id);
    this.#gauge.set(this.#count(fault.area, fault.cause), { area: fault.area, cause: fault.cause });
  }

  #count(area: FaultArea, cause: string): number {
    return [...this.#faults.values()].filter((fault) => fault.area === area && fault.cause === cause).length;
  }
}

function what(area: FaultArea, key: string): string {
  return key === '' ? area : `${area} of ${key}`;
}

function reasonFor(area: FaultArea): string {
  switch (area) {
    case 'mirror':
      return 'MirrorPodFault';
    case 'pod':
      return 'StaticPodsOnly';
    case 'credential':
    case 'client-certificate':
    case 'serving-certificate':
      return 'CertificateFault';
    default:
      return 'APIServerFault';
  }
}

const advice: Readonly<Record<string, string>> = {
  unreachable: 'check that the API server runs and that this machine reaches its address; Pods are not affected',
  tls: "check certificate-authority and the server's name in the kubeconfig, and both clocks",
  timeout: 'the API server accepts connections and does not answer: check its load, its etcd and its admission webhooks',
  credentials: 'the kubeconfig, or a file it names, cannot be read',
  unauthorized: 'the certificate or token is not accepted: expired, or signed by another authority',
  forbidden: 'RBAC, NodeRestriction or an admission webhook refused: compare deploy/rbac.yaml and the message',
  'not-found': 'the object or the API is not there; for the Node: register it, or drop --register-node=false',
  'namespace-missing': 'create the namespace; the Pod runs without being shown until then',
  'namespace-terminating': 'the namespace is being deleted; the Pod runs without being shown until it is back',
  'already-exists': 'an object of this name is there already and is not ours',
  conflict: 'somebody else changes the same object; it is tried again',
  invalid: "the API server's validation or an admission policy does not accept the object as the manifest has it",
  rejected: 'an admission webhook or the API server refused the request',
  'too-many-requests': 'the API server limits us; it is tried again when it asked for',
  'server-error': 'the API server has an internal fault (often its etcd or a webhook)',
  'bad-answer': 'something that is not an API server answers at this address (a proxy?)',
  'clock-skew': 'set both clocks (NTP): certificates, leases and Events depend on them',
  'name-taken': 'a Pod of this name that is not a mirror exists: rename or delete it',
  'certificate-expired':
    'renew it: rotateCertificates with --bootstrap-kubeconfig, or put a new one into the kubeconfig; no restart is needed',
  'certificate-expiring': 'renew it in time: with rotateCertificates, or by a new one in the kubeconfig; no restart is needed',
  'certificate-not-yet-valid': "set this machine's clock (NTP)",
  'not-run': 'keep the scheduler and DaemonSets away from the Node with a taint or a label (docs/cluster.md)',
  'node-missing': 'there is no Node object of this name: mirrors need one as their owner',
  'not-approved': 'approve the request: kubectl certificate approve <name>',
  denied: 'the certificate request was denied by an administrator',
};

function adviceFor(cause: string): string {
  return advice[cause] ?? '';
}
