// Gathers what every stage knows to be wrong into one list with advice (D5), tells each new trouble once as an Event where
// no other stage does, and keeps since when it lasts.
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { EventSink } from '../api/events.ts';
import type { ContainerStatus } from '../api/gen/kubernetes.ts';
import type { Pod } from '../api/pod.ts';
import { type DoctorReport, type Trouble, type TroubleArea, troubleAreas } from '../api/trouble.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import type { Pressure } from '../eviction/thresholds.ts';
import type { FaultView } from '../mirror/faults.ts';
import type { ManifestsView, PodsView } from '../server/views.ts';
import { type Clock, fromRfc3339, type Instant, toRfc3339 } from '../std/clock.ts';
import { nodeObject } from './base.ts';

export interface TroublesOptions {
  readonly config: AgentConfig;
  readonly warnings: readonly string[];
}

export interface TroublesDeps {
  readonly runtimeError: () => string | undefined;
  readonly networkError: () => string | undefined;
  readonly pressure: () => Pressure;
  readonly manifests: ManifestsView;
  readonly pods: PodsView;
  /** Why the kubelet's ports are not served. */
  readonly portFault: () => string | undefined;
  /** Why kubectl is not served. */
  readonly apiFault: () => string | undefined;
  /** Undefined on a machine that has joined no cluster. */
  readonly faults: FaultView | undefined;
  readonly events: EventSink;
  readonly clock: Clock;
}

/** How often somebody looks although nobody asked: Events must not wait for a person. */
const lookMs = 10_000;
const certificateLookMs = 3_600_000;
/** A trouble that comes back within this time is the same one: it is not told again. */
const flapMs = 5 * 60_000;
const dayMs = 86_400_000;

/** The Events of areas whose own stages tell none. */
const eventReasons: Partial<Readonly<Record<TroubleArea, string>>> = {
  configuration: 'ConfigurationWarning',
  runtime: 'ContainerRuntimeNotReady',
  network: 'NetworkNotReady',
  sources: 'ManifestSourceFault',
  manifests: 'ManifestRejected',
  certificates: 'CertificateFault',
  'kubectl port': 'KubernetesAPIFailed',
};

export class Troubles {
  readonly #options: TroublesOptions;
  readonly #deps: TroublesDeps;
  readonly #known = new Map<string, { readonly since: Instant; readonly seenAt: Instant; readonly isTold: boolean }>();
  #certificates: readonly Trouble[] = [];

  constructor(options: TroublesOptions, deps: TroublesDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /** What is wrong now. */
  report(): DoctorReport {
    const areas = troubleAreas.filter((area) => area !== 'agent' && (area !== 'cluster' || this.#deps.faults !== undefined));
    return { areas, troubles: this.#look(false) };
  }

  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { clock } = this.#deps;
    let certificatesAt = Number.NEGATIVE_INFINITY;
    for (;;) {
      if (clock.now() - certificatesAt >= certificateLookMs) {
        certificatesAt = clock.now();
        this.#certificates = await servingCertificateTroubles(this.#options.config, clock.now());
      }
      // What is not so yet while the agent comes up is no trouble.
      await clock.sleep(lookMs, signal);
      this.#look(true);
    }
  }

  #look(isToBeTold: boolean): readonly Trouble[] {
    const { clock, events } = this.#deps;
    const now = clock.now();
    const troubles = this.#gather().map((trouble) => {
      const key = JSON.stringify([trouble.area, trouble.cause, trouble.object]);
      const known = this.#known.get(key);
      const lasting = known !== undefined && now - known.seenAt < flapMs ? known : undefined;
      const since = lasting?.since ?? now;
      const isTold = lasting?.isTold === true;
      this.#known.set(key, { since, seenAt: now, isTold: isTold || isToBeTold });
      const reason = eventReasons[trouble.area];
      if (reason !== undefined && isToBeTold && !isTold) {
        const place = trouble.object === '' ? '' : `${trouble.object}: `;
        events.record(nodeObject(this.#options.config), 'Warning', reason, `${place}${trouble.message}`);
      }
      return { ...trouble, since: trouble.since ?? toRfc3339(since) };
    });
    for (const [key, { seenAt }] of this.#known) if (now - seenAt >= flapMs) this.#known.delete(key);
    return troubles;
  }

  #gather(): readonly Trouble[] {
    const { config, warnings } = this.#options;
    const { manifests, pods, faults } = this.#deps;
    const found = [
      ...warnings.map(
        (message): Trouble => ({ severity: 'warning', area: 'configuration', cause: 'warning', object: '', message, advice: '' }),
      ),
      ...this.#runtimeTroubles(),
      ...pressureTroubles(this.#deps.pressure()),
      ...manifestTroubles(manifests),
      ...pods.list().flatMap((pod) => podTroubles(pod, config)),
      ...this.#portTroubles(),
      ...this.#certificates,
      ...(faults?.list() ?? []).map(
        ({ area, key, cause, message, advice, since }): Trouble => ({
          // What others ask of the node and do not get is no failure of the node.
          severity: area === 'pod' || cause === 'certificate-expiring' ? 'warning' : 'error',
          area: 'cluster',
          cause,
          object: key === '' ? area : `${area} of ${key}`,
          message,
          advice,
          since: toRfc3339(since),
        }),
      ),
    ];
    return found.sort((a, b) => troubleAreas.indexOf(a.area) - troubleAreas.indexOf(b.area));
  }

  #runtimeTroubles(): readonly Trouble[] {
    const runtime = this.#deps.runtimeError();
    // Of a runtime that does not answer nothing else is known.
    if (runtime !== undefined) {
      const endpoint = this.#options.config.containerRuntimeEndpoint ?? 'its socket';
      const advice = `containers that run go on, but nothing is started or stopped: check the runtime's service and ${endpoint}`;
      return [{ severity: 'error', area: 'runtime', cause: 'not-ready', object: '', message: runtime, advice }];
    }
    const message = this.#deps.networkError();
    if (message === undefined) return [];
    const advice =
      'only Pods with hostNetwork start: install CNI plugins (Debian: containernetworking-plugins) and a network configuration in /etc/cni/net.d';
    return [{ severity: 'error', area: 'network', cause: 'not-ready', object: '', message, advice }];
  }

  #portTroubles(): readonly Trouble[] {
    const one = (area: TroubleArea, message: string | undefined, advice: string): readonly Trouble[] =>
      message === undefined ? [] : [{ severity: 'error', area, cause: 'cannot-listen', object: '', message, advice }];
    return [
      ...one(
        'kubectl port',
        this.#deps.apiFault(),
        'free the port, or give another one with --kube-api-port; Pods are not affected, and pinpod get and logs work all the same',
      ),
      ...one(
        'kubelet port',
        this.#deps.portFault(),
        'free the port, or give another one with --port; Pods are not affected, kubectl logs and metrics through it are',
      ),
    ];
  }
}

function pressureTroubles({ memory, disk, pid }: Pressure): readonly Trouble[] {
  const one = (is: boolean, cause: string, message: string, advice: string): readonly Trouble[] =>
    is ? [{ severity: 'error', area: 'node', cause, object: '', message, advice }] : [];
  return [
    ...one(memory, 'MemoryPressure', 'the machine is short of memory', 'stop what is not needed, or give Pods smaller limits'),
    ...one(
      disk,
      'DiskPressure',
      'a disk that Pods need is nearly full',
      'make room below the root folder, the image store and /var/log/pods',
    ),
    ...one(pid, 'PIDPressure', 'the machine is short of process ids', 'look for a Pod that starts processes without end'),
  ];
}

function manifestTroubles(view: ManifestsView): readonly Trouble[] {
  const sources = view.sources().flatMap(({ location, fault, unwatched }): readonly Trouble[] => {
    const of = { area: 'sources', object: location } as const;
    if (fault !== undefined) {
      const advice = 'its Pods go on as they were last read; make it readable again';
      return [{ ...of, severity: 'error', cause: 'unreadable', message: fault, advice }];
    }
    if (unwatched === undefined) return [];
    const advice =
      'changes are only seen by the rescan (fileCheckFrequency); EMFILE and ENOSPC: raise fs.inotify.max_user_instances and max_user_watches';
    return [{ ...of, severity: 'warning', cause: 'unwatched', message: `it cannot be watched: ${unwatched}`, advice }];
  });
  const manifests = view.manifests().flatMap(({ path, index, verdict }): readonly Trouble[] => {
    const object = index === undefined ? path : `${path}[${index}]`;
    if (verdict.kind === 'shadowed') {
      const message = `the same Pod comes from ${verdict.by}, which runs`;
      return [{ severity: 'warning', area: 'manifests', cause: 'shadowed', object, message, advice: 'give one of them another name' }];
    }
    if (verdict.kind !== 'rejected') return [];
    const kept = verdict.keptPods ? 'the last good version keeps running; ' : '';
    return verdict.problems.map(({ line, column, field, message }) => ({
      severity: 'error',
      area: 'manifests',
      cause: 'rejected',
      object: line === undefined ? object : `${object}:${line}${column === undefined ? '' : `:${column}`}`,
      message: field === '' ? message : `${field}: ${message}`,
      advice: `${kept}correct the manifest`,
    }));
  });
  return [...sources, ...manifests];
}

const ordinaryWaits: ReadonlySet<string> = new Set(['ContainerCreating', 'PodInitializing']);

function podTroubles({ metadata, status }: Pod, config: AgentConfig): readonly Trouble[] {
  const { namespace, name } = metadata;
  if (status === undefined || metadata.deletionTimestamp !== undefined) return [];
  const of = (container: string, cause: string, message: string, advice: string): Trouble => ({
    severity: 'error',
    area: 'pods',
    cause,
    object: `${namespace}/${name}${container === '' ? '' : `[${container}]`}`,
    message,
    advice,
  });
  if (status.phase === 'Failed') {
    const advice = 'it is tried again when what stands in its way has gone, or when its manifest changes';
    return [of('', status.reason ?? 'Failed', status.message ?? 'the Pod has failed', advice)];
  }
  const containers: readonly ContainerStatus[] = [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])];
  const waiting = containers.flatMap((container) => {
    const { reason = '', message = '' } = container.state?.waiting ?? {};
    if (reason === '' || ordinaryWaits.has(reason)) return [];
    const last = container.lastState?.terminated;
    const ended = last === undefined ? '' : ` (it ended with code ${last.exitCode}${last.reason === undefined ? '' : `, ${last.reason}`})`;
    return [
      of(
        container.name,
        reason,
        `${message === '' ? reason : message}${ended}`,
        waitAdvice(reason, namespace, name, container.name, config),
      ),
    ];
  });
  if (waiting.length > 0) return waiting;
  const unready = status.conditions?.find((condition) => condition.type === 'Ready' && condition.status === 'False');
  const isRunning = containers.length > 0 && (status.containerStatuses ?? []).every((container) => container.state?.running !== undefined);
  if (unready === undefined || !isRunning) return [];
  const advice = `its readiness probe does not succeed yet: pinpod get events -n ${namespace}`;
  return [
    {
      ...of('', unready.reason ?? 'NotReady', unready.message ?? 'the Pod is not ready', advice),
      severity: 'warning',
      since: unready.lastTransitionTime,
    },
  ];
}

function waitAdvice(reason: string, namespace: string, pod: string, container: string, config: AgentConfig): string {
  switch (reason) {
    case 'CrashLoopBackOff':
      return `see what it said last: pinpod logs ${pod} -n ${namespace} -c ${container} --previous`;
    case 'ErrImagePull':
    case 'ImagePullBackOff':
    case 'RegistryUnavailable':
      return `check the image's name, the registry and its credentials, or put an archive of the image into ${config.imagesDir}`;
    case 'ErrImageNeverPull':
      return `imagePullPolicy is Never: put an archive of the image into ${config.imagesDir}, or let it be pulled`;
    default:
      return `pinpod get events -n ${namespace} tells more`;
  }
}

/** The certificate that the kubelet's port was started with: nobody but a person, or a restart, renews it. */
async function servingCertificateTroubles(config: AgentConfig, now: Instant): Promise<readonly Trouble[]> {
  const { tlsCertFile: file, enableServer, serverTlsBootstrap } = config;
  if (file === undefined || !enableServer || serverTlsBootstrap) return [];
  const trouble = (severity: 'error' | 'warning', cause: string, message: string): Trouble => ({
    ...{ severity, cause, message, area: 'certificates', object: file },
    advice: 'put a new certificate there and restart the agent; Pods are not affected',
  });
  let end: Instant;
  try {
    end = fromRfc3339(new X509Certificate(await readFile(file)).validTo) ?? 0;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return [trouble('error', 'unreadable', `the serving certificate cannot be read: ${error.message}`)];
  }
  if (end <= now) return [trouble('error', 'expired', `the serving certificate has expired on ${toRfc3339(end)}`)];
  if (end - now < 14 * dayMs) return [trouble('warning', 'expiring', `the serving certificate expires on ${toRfc3339(end)}`)];
  return [];
}
