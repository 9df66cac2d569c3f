// Runs the probes of all Pods: one worker per Pod, container and kind (L-395). In comes what the Pod's worker observed,
// out goes which results are in force, with a call whenever one changed.

import type { EventSink, EventType } from '../api/events.ts';
import type { Container, PodStatus, Probe } from '../api/gen/kubernetes.ts';
import { isSidecar, type Pod } from '../api/pod.ts';
import { containerObject } from '../pod/event-object.ts';
import { newestContainer, type ObservedPod } from '../pod/observation.ts';
import { type ContainerProbeResults, noProbeResults, type ProbeKind, type ProbeResults, probeKinds } from '../pod/probe-results.ts';
import { matchingRule, mayRestart } from '../pod/restart-policy.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { type LinkedSignal, linkSignals, Superseded, TaskGroup } from '../std/async.ts';
import type { Clock, Instant } from '../std/clock.ts';
import { messageOf } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import type { Counter, Histogram, Labels, Metrics } from '../std/metrics.ts';
import type { Random } from '../std/random.ts';
import { attempt } from './attempt.ts';
import type { ProbeOutcome } from './outcome.ts';
import { conclude, initialState, observe, type WorkerSpec, type WorkerState, type WorkerView } from './worker-state.ts';

export interface ProberOptions {
  /** When this agent started: containers that ran long before keep what they had (L-407). */
  readonly agentStartedAt: Instant;
}

export interface ProberDeps {
  readonly runtime: Pick<Runtime, 'execSync'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly events: EventSink;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** The node's address, where host-network Pods are probed; 127.0.0.1 when there is none. */
  readonly nodeAddress: () => string | undefined;
  /** A result of that Pod changed: it should be planned again. Must not throw. */
  readonly onResult: (podUid: string) => void;
}

interface PodEntry {
  /** As of the first `sync`: its probes stay in force as long as the Pod exists (L-396). */
  readonly pod: Pod;
  readonly workers: Map<string, ProbeWorker>;
  readonly results: Map<string, ContainerProbeResults>;
  observed: ObservedPod;
  status: PodStatus | undefined;
  isTerminating: boolean;
}

const probeNames: Readonly<Record<ProbeKind, string>> = { startup: 'Startup', liveness: 'Liveness', readiness: 'Readiness' };
const resultNames: Readonly<Record<ProbeOutcome['kind'], string>> = {
  success: 'successful',
  warning: 'successful',
  failure: 'failed',
  error: 'unknown',
};

export class Prober {
  readonly #options: ProberOptions;
  readonly #deps: ProberDeps;
  readonly #tasks = new TaskGroup();
  readonly #pods = new Map<string, PodEntry>();
  readonly #total: Counter;
  readonly #durations: Histogram;

  constructor(options: ProberOptions, deps: ProberDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#total = deps.metrics.counter({
      name: 'prober_probe_total',
      help: '[BETA] Probes of containers by their result',
      labels: ['probe_type', 'result', 'container', 'pod', 'namespace', 'pod_uid'],
    });
    this.#durations = deps.metrics.histogram({
      name: 'prober_probe_duration_seconds',
      help: '[ALPHA] How long probes took',
      labels: ['probe_type', 'container', 'pod', 'namespace'],
    });
  }

  /**
   * Tells what the Pod looks like now. The first call makes its workers, so it belongs before the first start of a
   * container; `status` is the last one published, of this process or the one before it (L-407). Idempotent. A
   * running container that is not ready yet is probed for readiness at once (L-406).
   */
  sync(pod: Pod, observed: ObservedPod, status: PodStatus | undefined): void {
    const { uid } = pod.metadata;
    const known = this.#pods.get(uid);
    const entry = known ?? { pod, workers: new Map(), results: new Map(), observed, status, isTerminating: false };
    entry.observed = observed;
    entry.status = status;
    if (known === undefined) this.#pods.set(uid, entry);
    for (const container of probedContainers(entry.pod)) {
      for (const kind of probeKinds) {
        const probe = probeOf(container, kind);
        if (probe !== undefined) this.#syncWorker(entry, container, kind, probe);
      }
    }
  }

  /**
   * The Pod is being ended: liveness and startup of regular containers are no longer probed; readiness, and everything
   * of sidecars, goes on until `remove` (L-405). Idempotent.
   */
  beginTermination(podUid: string): void {
    const entry = this.#pods.get(podUid);
    if (entry === undefined) return;
    entry.isTerminating = true;
    for (const worker of entry.workers.values()) if (endsWithTermination(worker.container, worker.kind)) worker.stop();
  }

  /** Ends the Pod's workers and forgets their results. Idempotent. */
  remove(podUid: string): void {
    const entry = this.#pods.get(podUid);
    if (entry === undefined) return;
    this.#pods.delete(podUid);
    for (const worker of entry.workers.values()) worker.stop();
  }

  /** What is in force now; empty for a Pod that was never synced. */
  results(podUid: string): ProbeResults {
    const entry = this.#pods.get(podUid);
    if (entry === undefined) return noProbeResults;
    const workers = new Map<string, Set<ProbeKind>>();
    for (const { container, kind } of entry.workers.values()) {
      const kinds = workers.get(container.name) ?? new Set();
      workers.set(container.name, kinds.add(kind));
    }
    return { byContainerId: new Map(entry.results), workers };
  }

  /** Ends all workers; containers are left as they are. */
  async close(reason?: unknown): Promise<void> {
    await this.#tasks.close(reason);
  }

  #syncWorker(entry: PodEntry, container: Container, kind: ProbeKind, probe: Probe): void {
    const key = `${container.name}/${kind}`;
    const running = entry.workers.get(key);
    if (running !== undefined) {
      running.viewChanged();
      return;
    }
    if (entry.isTerminating && endsWithTermination(container, kind)) return;
    const spec: WorkerSpec = { kind, probe, agentStartedAt: this.#options.agentStartedAt };
    // A worker that ended is not made again for a container that stays ended.
    if (observe(initialState, viewOf(entry, container), spec).step.kind === 'end') return;
    const worker = new ProbeWorker(container, spec, {
      ...this.#deps,
      view: () => viewOf(entry, container),
      publish: (previous, next) => this.#publish(entry, kind, previous, next),
      attempt: (containerId, signal) => this.#attempt(entry, container, containerId, spec, signal),
    });
    entry.workers.set(key, worker);
    this.#tasks.spawn(`${kind} probe of ${container.name}`, async ({ signal }) => {
      try {
        await worker.run(signal);
      } finally {
        entry.workers.delete(key);
        this.#forget(entry, container, kind, worker.containerId);
      }
    });
  }

  #publish(entry: PodEntry, kind: ProbeKind, previous: WorkerState, next: WorkerState): void {
    const { containerId, result } = next;
    if (previous.containerId !== containerId) this.#drop(entry, kind, previous.containerId);
    if (containerId === undefined || result === undefined) return;
    const results = entry.results.get(containerId) ?? {};
    if (results[kind] === result) return;
    entry.results.set(containerId, { ...results, [kind]: result });
    this.#tell(entry);
  }

  /** A removed Pod's workers may still be ending; nobody wants to hear of them. */
  #tell(entry: PodEntry): void {
    const { uid } = entry.pod.metadata;
    if (this.#pods.get(uid) === entry) this.#deps.onResult(uid);
  }

  #drop(entry: PodEntry, kind: ProbeKind, containerId: string | undefined): void {
    if (containerId === undefined) return;
    const { [kind]: _, ...rest } = entry.results.get(containerId) ?? {};
    if (Object.keys(rest).length === 0) entry.results.delete(containerId);
    else entry.results.set(containerId, rest);
  }

  #forget(entry: PodEntry, container: Container, kind: ProbeKind, containerId: string | undefined): void {
    this.#drop(entry, kind, containerId);
    const labels = this.#labels(entry.pod, container, kind);
    for (const result of new Set(Object.values(resultNames))) this.#total.remove({ ...labels, pod_uid: entry.pod.metadata.uid, result });
    this.#durations.remove(labels);
  }

  #labels({ metadata }: Pod, container: Container, kind: ProbeKind): Labels {
    return { probe_type: probeNames[kind], container: container.name, pod: metadata.name, namespace: metadata.namespace };
  }

  async #attempt(
    entry: PodEntry,
    container: Container,
    containerId: string,
    { kind, probe }: WorkerSpec,
    signal: AbortSignal,
  ): Promise<'success' | 'failure' | undefined> {
    const { clock } = this.#deps;
    const beganAt = clock.now();
    const outcome = await this.#outcome({ probe, container, containerId, podAddress: this.#podAddress(entry) }, signal);
    const labels = this.#labels(entry.pod, container, kind);
    this.#total.inc({ ...labels, pod_uid: entry.pod.metadata.uid, result: resultNames[outcome.kind] });
    this.#durations.observe((clock.now() - beganAt) / 1000, labels);
    const name = probeNames[kind];
    switch (outcome.kind) {
      case 'success':
        return 'success';
      case 'warning':
        this.#record(entry, container, 'Warning', 'ProbeWarning', `${name} probe warning: ${outcome.output}`);
        return 'success';
      case 'failure':
        this.#record(entry, container, 'Warning', 'Unhealthy', `${name} probe failed: ${outcome.output}`);
        return 'failure';
      case 'error':
        this.#record(
          entry,
          container,
          'Warning',
          'Unhealthy',
          `${name} probe errored and resulted in ${outcome.state ?? 'unknown'} state: ${outcome.message}`,
        );
        return undefined;
    }
  }

  async #outcome(target: Parameters<typeof attempt>[0], signal: AbortSignal): Promise<ProbeOutcome> {
    try {
      return await attempt(target, this.#deps, { signal });
    } catch (error) {
      signal.throwIfAborted();
      // A fault of ours in one probe must not end every other one.
      this.#deps.logger.error('a probe failed to run', { container: target.container.name, error });
      return { kind: 'error', message: messageOf(error) };
    }
  }

  /** The Pod's own address; a host-network Pod listens on the node's (L-411, L-486). */
  #podAddress({ pod, observed, status }: PodEntry): string {
    if (pod.spec.hostNetwork === true) return this.#deps.nodeAddress() ?? '127.0.0.1';
    return status?.podIP ?? observed.sandboxes[0]?.ips[0] ?? '127.0.0.1';
  }

  #record({ pod }: PodEntry, container: Container, type: EventType, reason: string, message: string): void {
    this.#deps.events.record(containerObject(pod, container.name), type, reason, message);
  }
}

/** Regular containers and sidecars (L-395). */
function probedContainers({ spec }: Pod): readonly Container[] {
  return [...(spec.initContainers ?? []).filter(isSidecar), ...spec.containers];
}

function probeOf(container: Container, kind: ProbeKind): Probe | undefined {
  switch (kind) {
    case 'startup':
      return container.startupProbe;
    case 'liveness':
      return container.livenessProbe;
    case 'readiness':
      return container.readinessProbe;
  }
}

function endsWithTermination(container: Container, kind: ProbeKind): boolean {
  return kind !== 'readiness' && !isSidecar(container);
}

function viewOf({ pod, observed, status, results, isTerminating }: PodEntry, container: Container): WorkerView {
  const record = newestContainer(observed, container.name);
  const podIsOver = status?.phase === 'Succeeded' || status?.phase === 'Failed';
  if (record === undefined) return { container: undefined, podIsOver, started: false, wasStarted: false, wasReady: false };
  const published = [...(status?.containerStatuses ?? []), ...(status?.initContainerStatuses ?? [])].find(
    ({ name, containerID }) => name === container.name && containerID?.endsWith(record.id) === true,
  );
  const wasStarted = published?.started === true;
  const startup = results.get(record.id)?.startup;
  // L-420, from our own results: the next status would say the same.
  const hasPassed = container.startupProbe === undefined || (startup === undefined ? wasStarted : startup === 'success');
  return {
    container: {
      id: record.id,
      state: record.state,
      startedAt: record.startedAt,
      mayRunAgain:
        !isTerminating &&
        (mayRestart(pod.spec, container, record.exitCode) || matchingRule(container, record.exitCode) === 'RestartAllContainers'),
    },
    podIsOver,
    started: record.state === 'running' && hasPassed,
    wasStarted,
    wasReady: published?.ready === true,
  };
}

interface WorkerDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly view: () => WorkerView;
  readonly publish: (previous: WorkerState, next: WorkerState) => void;
  /** Undefined when the attempt says nothing. */
  readonly attempt: (containerId: string, signal: AbortSignal) => Promise<'success' | 'failure' | undefined>;
}

/** Waits, looks, probes, in this order, until the container is over or the worker is stopped. */
class ProbeWorker {
  readonly container: Container;
  readonly #spec: WorkerSpec;
  readonly #deps: WorkerDeps;
  readonly #periodMs: number;
  readonly #initialDelayMs: number;
  /** Times further away come of a wall clock that was set back, which must not silence the probe. */
  readonly #longestWaitMs: number;
  #state: WorkerState = initialState;
  /** When the next attempt is due; undefined while there is nothing to probe. */
  #due: Instant | undefined;
  /** End of the initial delay. */
  #notBefore: Instant = 0;
  #pause: LinkedSignal | undefined;
  #isWoken = false;
  #isAttempting = false;
  #isStopped = false;

  constructor(container: Container, spec: WorkerSpec, deps: WorkerDeps) {
    this.container = container;
    this.#spec = spec;
    this.#deps = deps;
    this.#periodMs = (spec.probe.periodSeconds ?? 10) * 1000;
    this.#initialDelayMs = (spec.probe.initialDelaySeconds ?? 0) * 1000;
    this.#longestWaitMs = Math.max(this.#periodMs, this.#initialDelayMs);
  }

  get kind(): ProbeKind {
    return this.#spec.kind;
  }

  get containerId(): string | undefined {
    return this.#state.containerId;
  }

  /** Looks again at once; a container that is not ready yet gets an attempt of its own (L-406). */
  viewChanged(): void {
    const isUnready = this.#spec.kind === 'readiness' && this.#state.result !== 'success';
    if (isUnready && this.#due !== undefined && !this.#isAttempting) this.#due = Math.min(this.#due, this.#deps.clock.now());
    this.#wake();
  }

  stop(): void {
    this.#isStopped = true;
    this.#wake();
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    while (!this.#isStopped) {
      const { state, step } = observe(this.#state, this.#deps.view(), this.#spec);
      const isNew = state.containerId !== this.#state.containerId;
      this.#become(state);
      if (step.kind === 'end') return;
      if (step.kind === 'wait') {
        this.#due = undefined;
        await this.#sleep(Number.POSITIVE_INFINITY, signal);
        continue;
      }
      const now = clock.now();
      if (this.#due === undefined || isNew) {
        this.#notBefore = Math.min(step.from, now + this.#initialDelayMs);
        this.#due = this.#firstAttempt(this.#notBefore, now);
      }
      const due = Math.max(this.#due, this.#notBefore);
      if (due - now > this.#longestWaitMs) this.#due = undefined;
      else if (now < due) await this.#sleep(due - now, signal);
      else await this.#probe(state.containerId ?? '', due, signal);
    }
  }

  /** At once; spread over a period for containers that were there before a restarted agent (L-398). */
  #firstAttempt(from: Instant, now: Instant): Instant {
    const { agentStartedAt } = this.#spec;
    const isAdopted = from < agentStartedAt && now - agentStartedAt < this.#periodMs;
    return Math.max(from, now) + (isAdopted ? this.#deps.random.next() * this.#periodMs : 0);
  }

  async #probe(containerId: string, due: Instant, signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    using link = linkSignals(signal);
    this.#pause = link;
    this.#isAttempting = true;
    try {
      const outcome = await this.#deps.attempt(containerId, link.signal);
      if (outcome !== undefined) this.#become(conclude(this.#state, outcome, this.#spec));
    } catch (error) {
      // Stopped in the middle of an attempt: it counts for nothing.
      if (!this.#isStopped || signal.aborted) throw error;
    } finally {
      this.#pause = undefined;
      this.#isAttempting = false;
    }
    // A ticker: attempts that took longer than a period leave out the ticks they missed.
    const now = clock.now();
    const next = due + this.#periodMs;
    this.#due = next > now && next <= now + this.#periodMs ? next : now + (next > now ? this.#periodMs : 0);
  }

  #become(next: WorkerState): void {
    const previous = this.#state;
    this.#state = next;
    this.#deps.publish(previous, next);
  }

  #wake(): void {
    this.#isWoken = true;
    // An attempt under way is ended only by `stop`; a changed view is looked at after it.
    if (!this.#isAttempting || this.#isStopped) this.#pause?.abort(new Superseded());
  }

  /** Until `ms` are over or somebody woke the worker. */
  async #sleep(ms: number, signal: AbortSignal): Promise<void> {
    if (!this.#isWoken) {
      using link = linkSignals(signal);
      this.#pause = link;
      try {
        await this.#deps.clock.sleep(Math.min(ms, 2 ** 31 - 1), link.signal);
      } catch (error) {
        if (signal.aborted || !link.signal.aborted) throw error;
      } finally {
        this.#pause = undefined;
      }
    }
    this.#isWoken = false;
  }
}
