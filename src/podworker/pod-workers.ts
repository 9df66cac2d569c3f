// The dispatcher: one worker per Pod UID, one Pod per full name at a time (L-044), admission before the start, and the
// end of what nobody wants any more. Level-triggered: `reconcile` compares the whole desired set with the workers.
import { annotationKeys, formatPod, fullName, type Pod } from '../api/pod.ts';
import type { ActivePod, Admission, AdmissionRefusal } from '../pod/admission.ts';
import { podObject } from '../pod/event-object.ts';
import { isOver } from '../pod/forecast.ts';
import type { ObservedPod } from '../pod/observation.ts';
import { isOurs, isRunning, podOfRecords } from '../pod/orphan.ts';
import { priorityOf } from '../pod/priority.ts';
import { qosClass } from '../pod/resources.ts';
import { gracePeriodSeconds } from '../pod/stop.ts';
import type { PodWorkState, ResizePending, TerminationCause } from '../pod/work.ts';
import type { CallOptions } from '../runtime/runtime.ts';
import type { StatusStore } from '../status/status-store.ts';
import { TaskGroup } from '../std/async.ts';
import { toRfc3339 } from '../std/clock.ts';
import { assertNever, messageOf, RuntimeError } from '../std/errors.ts';
import type { Disruption, Disruptions } from './disruptions.ts';
import { PodWorker, type PodWorkerDeps } from './pod-worker.ts';

export interface PodWorkersOptions {
  readonly nodeName: string;
}

export interface PodWorkersDeps extends Omit<PodWorkerDeps, 'executor' | 'publish' | 'resizeRefusal'> {
  readonly desired: () => ReadonlyMap<string, Pod>;
  /** Whether the source that a Pod came from has spoken: only then is an unknown Pod of it really gone (S-235). */
  readonly hasSeen: (source: string) => boolean;
  /** Pods the runtime has anything of. */
  readonly podUids: () => ReadonlySet<string>;
  readonly executorOf: (pod: () => Pod) => PodWorkerDeps['executor'];
  /** Whether the Pod may start beside those active now (S-446). */
  readonly admit: (pod: Pod, active: readonly ActivePod[]) => Admission;
  /** Whether what ended Pods for this reason is over, so that they may be admitted again (D4). */
  readonly mayReturn: (reason: string) => boolean;
  /** Called for each refusal that is news; for metrics. */
  readonly onRefused?: (reason: string) => void;
  /** Called for each Pod that has to go for another; for metrics. */
  readonly onPreempted?: (resource: string) => void;
  readonly disruptions: Disruptions;
  readonly status: StatusStore;
}

interface Entry {
  readonly worker: PodWorker;
  /** Nobody desired it when it was found: it has no status. */
  readonly isOrphan: boolean;
}

/** A Pod that was there before this agent. */
interface FoundPod {
  readonly pod: Pod;
  readonly observed: ObservedPod;
}

/** A Pod that was ended before its time comes back; if that happens again and again, less and less soon. */
interface Return {
  readonly count: number;
  /** By `Clock.elapsed`. */
  readonly at: number;
}

/** A refused Pod is admitted as soon as its reason has gone (D4); this is the safety net for what nobody reports. */
const readmitMs = 10_000;
const returnBackoff = { initialMs: 10_000, maxMs: 300_000, resetMs: 600_000 };
const discovery = { retryMs: 2_000, triesAtStart: 5 };

export class PodWorkers {
  readonly #options: PodWorkersOptions;
  readonly #deps: PodWorkersDeps;
  readonly #tasks = new TaskGroup();
  readonly #entries = new Map<string, Entry>();
  readonly #refused = new Map<string, AdmissionRefusal>();
  /** What was said of faults of ours that Pods brought out when they were last compared (P15). */
  #faults = new Map<string, string>();
  /** Desired Pods whose name another Pod still has (L-044). */
  readonly #waiting = new Map<string, { readonly since: number; isTold: boolean }>();
  readonly #returns = new Map<string, Return>();
  /** Pods of the runtime that nobody desires as far as is known: their source has not spoken yet (S-235). */
  readonly #unclaimed = new Map<string, FoundPod>();
  /** Pods of the runtime that were looked at and are not ours. */
  readonly #foreign = new Set<string>();
  readonly #discovering = new Set<string>();
  /** Pods that nothing is known of, while what they left is removed. */
  readonly #cleaning = new Set<string>();
  #isStarted = false;

  constructor(options: PodWorkersOptions, deps: PodWorkersDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /** Rejects with the first failure of a worker that is a bug. */
  get failed(): Promise<never> {
    return this.#tasks.failed;
  }

  /**
   * Adopts what the runtime has, then brings the workers in line. Call after the first complete list of the runtime:
   * no Pod may start before the predecessors of its name are known.
   */
  async start({ signal }: CallOptions): Promise<void> {
    await this.#deps.disruptions.load();
    this.#tasks.spawn('disruptions', (options) => this.#deps.disruptions.run(options));
    let unread: readonly string[] = [...this.#deps.podUids()];
    for (let tries = 1; ; tries++) {
      const isRead = await Promise.all(unread.map((uid) => this.#discover(uid, signal)));
      unread = unread.filter((_uid, index) => isRead[index] !== true);
      // A Pod that the runtime cannot describe must not keep the others from starting for ever.
      if (unread.length === 0 || tries === discovery.triesAtStart) break;
      await this.#deps.clock.sleep(discovery.retryMs, signal);
    }
    this.#isStarted = true;
    this.reconcile();
    for (const uid of unread) this.#spawnDiscovery(uid);
    this.#tasks.spawn('admission', async (options) => {
      for (;;) {
        await this.#deps.clock.sleep(readmitMs, options.signal);
        const isAnyPending = [...this.#entries.values()].some(({ worker }) => worker.isResizePending);
        if (this.#refused.size > 0 || this.#faults.size > 0 || isAnyPending || this.#hasDisrupted()) this.reconcile();
        this.#tellOfLongWaits();
        for (const uid of this.#foreign) if (!this.#deps.podUids().has(uid)) this.#foreign.delete(uid);
      }
    });
  }

  /** Ends the work; containers keep running (D2). */
  async close(): Promise<void> {
    await this.#tasks.close();
  }

  /** Something happened to this Pod: in the runtime, to a probe, to its manifest. */
  wake(uid: string): void {
    const entry = this.#entries.get(uid);
    if (entry !== undefined) {
      entry.worker.wake();
      return;
    }
    if (this.#deps.desired().has(uid) || this.#foreign.has(uid) || this.#discovering.has(uid)) return;
    this.#spawnDiscovery(uid);
  }

  /** Every worker looks again: the runtime is back, the network came up, the configuration changed. */
  wakeAll(): void {
    for (const { worker } of this.#entries.values()) worker.wake();
    this.reconcile();
  }

  /** Ends a Pod although it is desired: eviction, node shutdown. */
  terminate(uid: string, cause: TerminationCause, graceSeconds?: number): void {
    const worker = this.#entries.get(uid)?.worker;
    worker?.terminate(cause, graceSeconds);
    const work = worker?.work;
    const isEnding = work?.state === 'terminating' || work?.state === 'terminated';
    // One that completed before, or whose manifest is gone, is not ended by this.
    if (worker !== undefined && isEnding && work.cause.kind === 'disrupted') this.#deps.disruptions.add(worker.pod, work.cause);
  }

  /** The Pods with a worker. */
  pods(): readonly Pod[] {
    return [...this.#entries.values()].map(({ worker }) => worker.pod);
  }

  /** Whether the agent has anything to do with the Pod any more (L-381). */
  isDisposable(uid: string): boolean {
    return !this.isLeftAlone(uid) && !this.#deps.desired().has(uid);
  }

  /** Its worker looks after its records, or they are not ours, or nobody can tell yet (P11). */
  isLeftAlone(uid: string): boolean {
    return [this.#entries, this.#unclaimed, this.#foreign, this.#discovering].some((pods) => pods.has(uid));
  }

  /**
   * Runs `work` only while nothing is known of the Pod, and keeps a worker of it from starting meanwhile: its manifest may
   * come back at any moment. Answers whether it ran.
   */
  async whileUnknown(uid: string, work: () => Promise<void>): Promise<boolean> {
    const known = this.knownPods();
    if (known === undefined || known.has(uid) || this.#cleaning.has(uid)) return false;
    this.#cleaning.add(uid);
    try {
      await work();
    } finally {
      this.#cleaning.delete(uid);
      this.reconcile();
    }
    return true;
  }

  /** Every Pod that is desired, has a worker, or has anything in the runtime; undefined before the start. */
  knownPods(): ReadonlySet<string> | undefined {
    if (!this.#isStarted) return undefined;
    const { desired, podUids } = this.#deps;
    return new Set([...desired().keys(), ...this.#entries.keys(), ...this.#unclaimed.keys(), ...this.#foreign, ...podUids()]);
  }

  /** Why a desired Pod has not begun (D5); undefined when it has, or is about to. */
  whyNotBegun(uid: string): string | undefined {
    const refusal = this.#refused.get(uid);
    if (refusal !== undefined) return `${refusal.reason}: ${refusal.message}`;
    if (this.#entries.get(uid)?.worker.isLeaving === true) return 'it is being ended, and begins anew after that';
    const pod = this.#deps.desired().get(uid);
    return pod !== undefined && this.#waiting.has(uid) ? this.#whyNameIsTaken(pod) : undefined;
  }

  /** Why the Pod would not be admitted now, once its predecessor has gone. Changes nothing. */
  refusalOf(pod: Pod): AdmissionRefusal | undefined {
    const name = fullName(pod);
    const admission = this.#deps.admit(
      pod,
      this.active().filter((other) => fullName(other.pod) !== name),
    );
    return admission.kind === 'refused' ? admission : undefined;
  }

  /** L-517: whether there is room beside the other Pods, or would be if they were not there. Nobody has to go for a resize. */
  #resizeRefusal(pod: Pod): ResizePending | undefined {
    const shortage = (others: readonly ActivePod[]): string | undefined => {
      const admission = this.#deps.admit(pod, others);
      if (admission.kind === 'preempting') return admission.message;
      return admission.kind === 'refused' && admission.reason.startsWith('OutOf') ? admission.message : undefined;
    };
    const message = shortage(this.active().filter((other) => other.pod.metadata.uid !== pod.metadata.uid));
    if (message === undefined) return undefined;
    const evenAlone = shortage([]);
    return evenAlone === undefined ? { reason: 'Deferred', message } : { reason: 'Infeasible', message: evenAlone };
  }

  /** Brings the workers in line with the desired Pods. Idempotent; call on every change of either. */
  reconcile(): void {
    if (!this.#isStarted) return; // predecessors may still be unknown
    const desired = this.#deps.desired();
    const told = this.#faults;
    this.#faults = new Map();
    for (const [uid, { worker, isOrphan }] of this.#entries) {
      const pod = desired.get(uid);
      if (pod !== undefined && (isOrphan || worker.isLeaving)) {
        if (!isOrphan) worker.comeBack(); // its next life starts when it has ended (L-045)
        continue;
      }
      if (pod !== undefined) this.#contain(pod, told, () => this.#update(worker, pod));
      else if (this.#isGone(worker.pod)) worker.terminate({ kind: 'removed' });
    }
    for (const [uid, found] of this.#unclaimed) {
      const pod = desired.get(uid);
      if (pod === undefined && this.#isGone(found.pod)) this.#beginOrphan(found.pod);
      if (pod === undefined) continue;
      this.#unclaimed.delete(uid);
      this.#contain(pod, told, () => this.#adopt(pod, found.observed));
    }
    for (const uid of this.#waiting.keys()) if (!desired.has(uid)) this.#waiting.delete(uid);
    for (const uid of this.#refused.keys()) if (!desired.has(uid)) this.#forget(uid);
    for (const uid of this.#returns.keys()) if (!desired.has(uid)) this.#returns.delete(uid);
    this.#deps.disruptions.prune((uid, source) => !desired.has(uid) && this.#deps.hasSeen(source));
    // The more important ones first (differs from S-241, where chance decides).
    const byPriority = [...desired].sort(([, a], [, b]) => (priorityOf(b) ?? 0) - (priorityOf(a) ?? 0));
    for (const [uid, pod] of byPriority) {
      this.#contain(pod, told, () => {
        this.#startIfPossible(uid, pod);
        this.#returnIfPossible(uid, pod);
      });
    }
  }

  /** A restart of the agent is no reason to ask whether the Pod may be there (D2; differs from S-443). */
  #adopt(pod: Pod, observed: ObservedPod): void {
    const { uid } = pod.metadata;
    const { clock, disruptions, planOptions } = this.#deps;
    if (this.#isNameTaken(pod)) return;
    if (isRunning(observed)) {
      // It has its room and its ports. Where the node was ending it, the agent died before it had ended.
      disruptions.delete(uid);
      this.#begin(pod, false);
    } else if (disruptions.get(uid) === undefined && isOver(pod, { observed, now: clock.now(), options: planOptions() })) {
      // To stay finished it needs neither.
      this.#begin(pod, false);
    }
  }

  /** A fault of ours met with one Pod must not keep the others from their care (P15): it is told, and tried again. */
  #contain(pod: Pod, told: ReadonlyMap<string, string>, work: () => void): void {
    const { uid } = pod.metadata;
    const { events, logger, status } = this.#deps;
    try {
      work();
    } catch (error) {
      const reason = 'UnexpectedAdmissionError';
      const message = `pinpod has a fault and cannot judge this Pod: ${messageOf(error)}; what runs of it runs on, and it is tried again`;
      this.#faults.set(uid, message);
      if (told.get(uid) === message) return;
      logger.error('a fault of pinpod itself: the pod cannot be judged', { pod: formatPod(pod), error });
      events.record(podObject(pod), 'Warning', reason, message);
      if (this.#entries.has(uid)) return;
      this.#refused.set(uid, { reason, message });
      status.publish(pod, { phase: 'Failed', reason, message: `Pod was rejected: ${message}` }, { stage: 'terminated' });
    }
  }

  /** A finished Pod whose manifest asks for something else now begins from scratch (D4). */
  #update(worker: PodWorker, pod: Pod): void {
    const isFinished = worker.work.state === 'terminated';
    if (isFinished && JSON.stringify(pod.spec) !== JSON.stringify(worker.pod.spec)) worker.terminate({ kind: 'removed', isBack: false });
    else worker.update(pod);
  }

  #isGone(pod: Pod): boolean {
    return this.#deps.hasSeen(pod.metadata.annotations[annotationKeys.configSource] ?? '');
  }

  #startIfPossible(uid: string, pod: Pod): void {
    // Desired again while it is being ended: it starts anew when that is over (L-045).
    if (this.#entries.has(uid) || this.#cleaning.has(uid)) return;
    if (this.#isNameTaken(pod)) {
      if (!this.#waiting.has(uid)) this.#waiting.set(uid, { since: this.#deps.clock.elapsed(), isTold: false });
      return;
    }
    this.#waiting.delete(uid);
    const disruption = this.#deps.disruptions.get(uid);
    if (disruption !== undefined) {
      this.#begin(pod, false, disruption);
      return;
    }
    const admission = this.#deps.admit(pod, this.active());
    switch (admission.kind) {
      case 'admitted':
        this.#begin(pod, false);
        return;
      case 'refused':
        this.#hold(pod, 'Failed', admission);
        return;
      case 'preempting':
        for (const victim of admission.victims) this.#preempt(victim, admission.resource);
        this.#hold(pod, 'Pending', { reason: 'Unschedulable', message: admission.message });
        return;
      default:
        assertNever(admission);
    }
  }

  #isNameTaken(pod: Pod): boolean {
    return this.#whyNameIsTaken(pod) !== undefined;
  }

  /** Of one name there is one Pod at a time (L-044); undefined when none has it. */
  #whyNameIsTaken(pod: Pod): string | undefined {
    const name = fullName(pod);
    for (const { worker } of this.#entries.values()) {
      if (fullName(worker.pod) !== name) continue;
      if (!worker.isLeaving) return `another Pod of this name runs (${worker.uid})`;
      return `waits until the Pod before it has ended, which may take its grace of ${gracePeriodSeconds(worker.pod)} s`;
    }
    const isFound = [...this.#unclaimed.values()].some((found) => fullName(found.pod) === name);
    return isFound ? 'a Pod of this name runs since before the agent started, and its source has not been read yet' : undefined;
  }

  /** An ordinary replacement is worth no word. */
  #tellOfLongWaits(): void {
    const { clock, desired, events } = this.#deps;
    for (const [uid, wait] of this.#waiting) {
      const pod = desired().get(uid);
      if (pod === undefined || wait.isTold || clock.elapsed() - wait.since < readmitMs) continue;
      wait.isTold = true;
      events.record(podObject(pod), 'Normal', 'WaitingForPredecessor', this.#whyNameIsTaken(pod) ?? '');
    }
  }

  /** A Pod that was ended before its time begins anew once what ended it is over and there is room for it (D4). */
  #returnIfPossible(uid: string, pod: Pod): void {
    const worker = this.#entries.get(uid)?.worker;
    if (worker?.work.state !== 'terminated' || worker.work.cause.kind !== 'disrupted') return;
    const now = this.#deps.clock.elapsed();
    const before = this.#returns.get(uid) ?? { count: 0, at: Number.NEGATIVE_INFINITY };
    const count = now - before.at > returnBackoff.resetMs ? 0 : before.count;
    const waitMs = count === 0 ? 0 : Math.min(returnBackoff.initialMs * 2 ** (count - 1), returnBackoff.maxMs);
    if (now - before.at < waitMs || !this.#deps.mayReturn(worker.work.cause.reason)) return;
    if (this.#deps.admit(pod, this.active()).kind !== 'admitted') return;
    this.#deps.logger.info('pod begins anew', { pod: formatPod(pod), after: worker.work.cause.reason });
    this.#returns.set(uid, { count: count + 1, at: now });
    worker.terminate({ kind: 'removed', isBack: false });
  }

  #hasDisrupted(): boolean {
    return [...this.#entries.values()].some(({ worker: { work } }) => work.state === 'terminated' && work.cause.kind === 'disrupted');
  }

  /** S-471, L-508. */
  #preempt(victim: Pod, resource: string): void {
    const message = 'Preempted in order to admit critical pod';
    const conditionMessage = 'Pod was preempted by Kubelet to accommodate a critical pod.';
    this.#deps.events.record(podObject(victim), 'Warning', 'Preempting', message);
    this.#deps.onPreempted?.(resource);
    this.terminate(victim.metadata.uid, { kind: 'disrupted', reason: 'Preempting', message, conditionMessage });
  }

  /** The Pods that take room and ports: those that run or are being ended. */
  active(): readonly ActivePod[] {
    const workers = [...this.#entries.values()].map(({ worker }) => worker);
    return workers
      .filter(({ work }) => work.state === 'sync' || work.state === 'terminating')
      .map(({ pod, work }) => ({ pod, isEnding: work.state === 'terminating' }));
  }

  /** Nobody desires it and its source has spoken: it is ended with the grace and the hooks its records tell of. */
  #beginOrphan(pod: Pod): void {
    this.#unclaimed.delete(pod.metadata.uid);
    this.#deps.logger.info('ending a pod that is not desired any more', { pod: formatPod(pod) });
    this.#begin(pod, true).terminate({ kind: 'removed' });
  }

  /** `disruption`: the node ended it in an earlier life of the agent. */
  #begin(pod: Pod, isOrphan: boolean, disruption?: Disruption): PodWorker {
    const { uid } = pod.metadata;
    const work: PodWorkState = disruption === undefined ? { state: 'sync' } : { state: 'terminated', cause: disruption };
    this.#refused.delete(uid);
    const { executorOf, status } = this.#deps;
    const deps: PodWorkerDeps = {
      ...this.#deps,
      executor: executorOf(() => worker.pod),
      resizeRefusal: (resized) => this.#resizeRefusal(resized),
      publish: (published, podStatus, work) => {
        if (this.#entries.get(uid)?.isOrphan === true) return; // L-066
        const before = status.get(uid)?.stage;
        status.publish(published, podStatus, { stage: work.state, leaving: worker.isLeaving });
        if (work.state === 'terminated' && before !== 'terminated') this.reconcile(); // whoever waited for its room
      },
    };
    const worker: PodWorker = new PodWorker(pod, deps, work);
    this.#entries.set(uid, { worker, isOrphan });
    this.#tasks.spawn(`worker of ${formatPod(pod)}`, async (options) => {
      await worker.run(options);
      this.#entries.delete(uid);
      this.#deps.disruptions.delete(uid);
      status.remove(uid);
      this.reconcile(); // whoever waited for the name, the ports or the room
    });
    return worker;
  }

  /** The Pod may not start now; why is told once, and shows in its status until it may (S-448). */
  #hold(pod: Pod, phase: 'Pending' | 'Failed', refusal: AdmissionRefusal): void {
    const { uid } = pod.metadata;
    const { events, status, clock, onRefused } = this.#deps;
    const known = this.#refused.get(uid);
    if (known?.reason === refusal.reason && known.message === refusal.message) return;
    this.#refused.set(uid, refusal);
    events.record(podObject(pod), 'Warning', refusal.reason, refusal.message); // L-024
    const isFinal = phase === 'Failed';
    if (isFinal && known?.reason !== refusal.reason) onRefused?.(refusal.reason);
    status.publish(
      pod,
      {
        phase,
        reason: refusal.reason,
        message: isFinal ? `Pod was rejected: ${refusal.message}` : refusal.message,
        qosClass: qosClass(pod.spec),
        startTime: toRfc3339(clock.now()),
      },
      { stage: isFinal ? 'terminated' : 'sync' },
    );
  }

  #forget(uid: string): void {
    this.#refused.delete(uid);
    this.#deps.status.remove(uid);
  }

  #spawnDiscovery(uid: string): void {
    this.#discovering.add(uid);
    this.#tasks.spawn('discovery', async ({ signal }) => {
      while (!(await this.#discover(uid, signal))) await this.#deps.clock.sleep(discovery.retryMs, signal);
      this.#discovering.delete(uid);
    });
  }

  /**
   * A Pod of the runtime that has no worker: another's, one to adopt, or an orphan to end (L-068). Answers whether it
   * could be read.
   */
  async #discover(uid: string, signal: AbortSignal): Promise<boolean> {
    try {
      const observed: ObservedPod = await this.#deps.observe(uid, { signal });
      const found = podOfRecords(observed);
      // The records tell how to end each container, but not in which order (L-442; differs from L-447).
      const spec = await this.#deps.lastStatus.specOf(uid);
      if (found === undefined || this.#entries.has(uid)) return true;
      const pod = spec === undefined ? found : { ...found, spec };
      if (!isOurs(pod, this.#options.nodeName)) {
        this.#foreign.add(uid);
        return true;
      }
      this.#unclaimed.set(uid, { pod, observed });
      this.reconcile();
      return true;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof RuntimeError)) throw error;
      this.#deps.logger.warn('a pod of the runtime cannot be read', { podUID: uid, error: messageOf(error) });
      return false;
    }
  }
}
