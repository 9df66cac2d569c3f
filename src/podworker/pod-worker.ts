// Stage "podworker": the loop of one Pod UID. Woken for any reason, it observes, plans, publishes, and starts what the
// plan wants and nobody is doing yet; every deed that ends wakes it again. No step is entered for two reasons.
//
//     wake ─► observe ─► planPod ─► publish ─► start / cancel actions ─┐
//      ▲                                                               │ one ends, time comes, something changes
//      └───────────────────────────────────────────────────────────────┘
import type { EventSink } from '../api/events.ts';
import type { PodStatus } from '../api/gen/kubernetes.ts';
import { formatPod, type Pod } from '../api/pod.ts';
import { type Action, actionKey, isCancellable } from '../pod/action.ts';
import type { Plan, PlanNote, PlanOptions } from '../pod/draft.ts';
import { containerObject, podObject } from '../pod/event-object.ts';
import { type ActionOutcome, forgetGone, rememberOutcome, rememberStart } from '../pod/memory.ts';
import type { ObservedContainer, ObservedPod } from '../pod/observation.ts';
import { planPod, requestTermination } from '../pod/plan.ts';
import { probedPart } from '../pod/post-start.ts';
import { allocate, withResourcesOf } from '../pod/resize.ts';
import { qosClass } from '../pod/resources.ts';
import { emptyMemory, type PodMemory, type PodWorkState, type ResizePending, type TerminationCause } from '../pod/work.ts';
import type { CallOptions } from '../runtime/runtime.ts';
import { linkSignals, raceSignal, Superseded } from '../std/async.ts';
import { type Clock, fromRfc3339, type Instant } from '../std/clock.ts';
import { formatDuration } from '../std/duration.ts';
import { messageOf, RuntimeError } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import type { LastStatus, LastStatusPort, ProbePort } from './ports.ts';

export interface PodWorkerDeps {
  readonly observe: (podUid: string, options: CallOptions) => Promise<ObservedPod>;
  readonly executor: { execute(action: Action, options: CallOptions): Promise<ActionOutcome> };
  readonly prober: ProbePort;
  readonly planOptions: () => PlanOptions;
  /** How long a Pod is left alone at most (L-042); a minute when absent. */
  readonly resyncMs?: () => number;
  readonly lastStatus: LastStatusPort;
  /** Why the Pod may not have the resources it asks for now; undefined when it may (L-517). */
  readonly resizeRefusal: (pod: Pod) => ResizePending | undefined;
  readonly readTerminationMessage: (container: ObservedContainer) => Promise<string>;
  /** The Pod's newest status. Synchronous; must not throw. */
  readonly publish: (pod: Pod, status: PodStatus, work: PodWorkState) => void;
  /** Called for each action that ended; for metrics. */
  readonly onOutcome?: (action: Action, outcome: ActionOutcome, durationMs: number) => void;
  /** Called when nothing is left to do for now, with how long it took since there was something; for metrics. */
  readonly onSettled?: (kind: WorkKind, durationMs: number) => void;
  readonly events: EventSink;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What a stretch of work is about: the first one of a Pod, one for a changed manifest, any other; or the Pod's end. */
export type WorkKind = 'create' | 'update' | 'sync' | 'terminating' | 'terminated';

interface Running {
  readonly cancel: () => void;
  readonly ended: Promise<void>;
}

/** How soon a Pod is looked at again when the runtime could not be asked. The change detector usually comes first. */
const observeRetryMs = 5_000;
/** Downward API files are brought up to date and everything is looked at anew at least this often (L-042). */
const resyncMs = 60_000;
/** A deed that succeeds this often within `loopWindowMs` and is still wanted is a fault of the planner. */
const loopLimit = { times: 20, windowMs: 10_000 };
/** After a fault of ours. */
const faultRetry = { initialMs: 1_000, maxMs: 300_000 };

export class PodWorker {
  readonly uid: string;
  readonly #deps: PodWorkerDeps;
  /** As its manifest asks for. */
  #desired: Pod;
  /** The same, with the resources it was given. */
  #pod: Pod;
  #work: PodWorkState;
  #memory: PodMemory = emptyMemory;
  /** Under way, by action key. */
  readonly #running = new Map<string, Running>();
  /** Counts ends of actions: an observation begun before one of them tells nothing of its effect. */
  #ends = 0;
  /** Since when there is something to do, and what about. */
  #busy: { readonly kind: WorkKind; readonly since: number } | undefined;
  #next: 'create' | 'update' | 'sync' = 'create';
  #isAwake = true;
  #wakeUp: () => void = () => undefined;
  #notes: readonly PlanNote[] = [];
  #plannedAt: Instant = Number.NEGATIVE_INFINITY;
  /** The status as last kept, empty when none is and unknown before the first; what is still to be done about it, and who does it. */
  #kept: string | undefined;
  #unkept: LastStatus | 'forget' | undefined;
  #keeping: Promise<void> | undefined;
  /** Rounds in a row that a fault of ours ended. */
  #faults = 0;
  readonly #successes = new Map<string, readonly Instant[]>();

  /** `work`: where the agent before this one left it, if that is no new beginning. */
  constructor(pod: Pod, deps: PodWorkerDeps, work: PodWorkState = { state: 'sync' }) {
    this.uid = pod.metadata.uid;
    this.#work = work;
    this.#desired = pod;
    this.#pod = pod;
    this.#deps = deps;
  }

  get pod(): Pod {
    return this.#pod;
  }

  get work(): PodWorkState {
    return this.#work;
  }

  /** Whether the Pod's manifest is gone, so that nothing will be left of it. */
  get isLeaving(): boolean {
    const work = this.#work;
    return work.state === 'finished' || ((work.state === 'terminating' || work.state === 'terminated') && work.cause.kind === 'removed');
  }

  /** Replaces the desired Pod (a manifest with a fixed UID was edited, L-031). */
  update(pod: Pod): void {
    if (pod === this.#desired && this.#memory.resizePending === undefined) return;
    this.#desired = pod;
    this.#allocate();
  }

  /** Whether it waits for resources that its manifest asks for. */
  get isResizePending(): boolean {
    return this.#memory.resizePending !== undefined;
  }

  /** What the manifest asks for becomes the Pod, but for resources there is no room for (L-517). */
  #allocate(): void {
    const { pod, pending } = allocate(this.#pod, this.#desired, this.#deps.resizeRefusal);
    const isOld = JSON.stringify([pod, pending]) === JSON.stringify([this.#pod, this.#memory.resizePending]);
    // Another class is another cgroup: what runs outside it is ended and made anew inside (L-052).
    const isMoved = qosClass(pod.spec) !== qosClass(this.#pod.spec);
    const { cgroupReady, cgroupWasLost } = this.#memory;
    const cgroup = { cgroupReady: cgroupReady && !isMoved, cgroupWasLost: cgroupWasLost || isMoved };
    this.#pod = pod;
    if (isOld) return;
    if (this.#next === 'sync') this.#next = 'update';
    // Files of volumes follow the manifest; a set-up under way is for the old one.
    this.#memory = { ...this.#memory, ...cgroup, volumesReady: false, resizePending: pending };
    this.#running.get(actionKey({ type: 'SetUpVolumes' }))?.cancel();
    this.wake();
  }

  /** Asks for the Pod's end; the grace only ever gets shorter (L-039). Idempotent. */
  terminate(cause: TerminationCause, graceOverrideSeconds?: number): void {
    const input = { pod: this.#pod, now: this.#deps.clock.now() };
    const work = requestTermination(this.#work, cause, input, graceOverrideSeconds);
    if (JSON.stringify(work) === JSON.stringify(this.#work)) return;
    this.#work = work;
    this.wake();
  }

  /** Its manifest is there again while it is being ended (L-045). */
  comeBack(): void {
    const work = this.#work;
    const isEnding = work.state === 'terminating' || work.state === 'terminated';
    if (isEnding && work.cause.kind === 'removed' && work.cause.isBack === undefined) this.terminate({ kind: 'removed', isBack: true });
  }

  /** Something may have changed. */
  wake(): void {
    this.#isAwake = true;
    this.#wakeUp();
  }

  /** Runs until nothing is left of the Pod. Rejects with the signal's reason when it aborts; containers keep running. */
  async run({ signal }: CallOptions): Promise<void> {
    try {
      await this.#recall();
      while (this.#work.state !== 'finished') {
        this.#isAwake = false;
        await this.#sleepUntil(await this.#roundOrFault(signal), signal);
      }
      await Promise.all([...this.#running.values()].map((running) => running.ended));
    } finally {
      this.#deps.prober.remove(this.uid);
      for (const running of this.#running.values()) running.cancel();
      await Promise.all([...this.#running.values()].map((running) => running.ended));
      await this.#keeping;
    }
  }

  /** What the agent before this one knew: the status it published, and the resources it had given (L-518). */
  async #recall(): Promise<void> {
    const last = await this.#deps.lastStatus.load(this.#desired);
    if (last === undefined) return;
    const startTime = fromRfc3339(last.status.startTime ?? '');
    this.#memory = {
      ...this.#memory,
      startTime,
      status: last.status,
      resized: new Map(Object.entries(last.resized)),
      podGiven: last.podGiven ?? last.spec.resources ?? {},
      podIps: (last.status.podIPs ?? []).map(({ ip }) => ip),
    };
    this.#pod = withResourcesOf(this.#desired, last.spec);
    this.#allocate();
  }

  /** A fault of ours met with one Pod ends neither the others' care nor the agent (P15): it is told, and tried again ever more seldom. */
  async #roundOrFault(signal: AbortSignal): Promise<Instant> {
    const { clock, events, logger } = this.#deps;
    try {
      const next = await this.#round(signal);
      this.#faults = 0;
      return next;
    } catch (error) {
      signal.throwIfAborted();
      const retryMs = Math.min(faultRetry.maxMs, faultRetry.initialMs * 2 ** this.#faults++);
      logger.error('a fault of pinpod itself: the pod is not looked after for now', { pod: formatPod(this.#pod), retryMs, error });
      const message = `pinpod has a fault and cannot look after this Pod: ${messageOf(error)}; its containers run on, and it is tried again in ${formatDuration(retryMs)}`;
      events.record(podObject(this.#pod), 'Warning', 'InternalError', message);
      // Not cut short by wake-ups: they would make a hot loop of it.
      await clock.sleep(retryMs, signal);
      return clock.now();
    }
  }

  /** One observation and what follows from it. Answers when to look again. */
  async #round(signal: AbortSignal): Promise<Instant> {
    const { clock, logger } = this.#deps;
    this.#busy ??= {
      kind: this.#work.state === 'sync' ? this.#next : this.#work.state === 'terminating' ? 'terminating' : 'terminated',
      since: clock.elapsed(),
    };
    const ends = this.#ends;
    let observed: ObservedPod;
    try {
      observed = await this.#deps.observe(this.uid, { signal });
      await this.#readMessages(observed);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof RuntimeError)) throw error;
      logger.debug('pod cannot be observed', { pod: formatPod(this.#pod), error: messageOf(error) });
      return clock.now() + observeRetryMs;
    }
    // Stale: an action ended meanwhile, and its end has woken us already.
    if (ends !== this.#ends) return clock.now();
    const plan = this.#plan(observed);
    const next = this.#follow(plan, signal);
    this.#keep(plan);
    if (this.#running.size === 0) this.#settle(this.#busy);
    return next;
  }

  #settle({ kind, since }: { readonly kind: WorkKind; readonly since: number }): void {
    this.#busy = undefined;
    if (kind === this.#next) this.#next = 'sync';
    this.#deps.onSettled?.(kind, this.#deps.clock.elapsed() - since);
  }

  /** For the next life of the agent. No deed waits for it. */
  #keep({ status, work }: Plan): void {
    if (work.state === 'finished') return;
    const isDisrupted = work.state !== 'sync' && work.cause.kind === 'disrupted';
    if (isDisrupted && work.state === 'terminating') return;
    // What is put back while it is being ended starts anew, also under the next agent (L-045); so does what was evicted or
    // shut down, when the next agent admits it (D4).
    const isToForget = isDisrupted || (work.state !== 'sync' && work.cause.kind === 'removed');
    // Until the sandbox outside its cgroup is gone, the spec kept before tells the next agent of the move (L-052).
    if (this.#memory.cgroupWasLost && !isToForget) return;
    const text = isToForget ? '' : JSON.stringify(status);
    if (text === this.#kept) return;
    this.#kept = text;
    this.#unkept = isToForget
      ? 'forget'
      : { status, spec: this.#pod.spec, resized: Object.fromEntries(this.#memory.resized), podGiven: this.#memory.podGiven };
    this.#keeping ??= this.#keepNewest();
  }

  async #keepNewest(): Promise<void> {
    const { lastStatus, logger } = this.#deps;
    try {
      for (let next = this.#unkept; next !== undefined; next = this.#unkept) {
        this.#unkept = undefined;
        if (next === 'forget') await lastStatus.forget(this.#pod);
        else await lastStatus.save(this.#pod, next);
      }
    } catch (error) {
      logger.error('status of the pod not kept', { pod: formatPod(this.#pod), error });
    } finally {
      this.#keeping = undefined;
    }
  }

  #plan(observed: ObservedPod): Plan {
    const { clock, prober, planOptions } = this.#deps;
    const underWay = new Set(this.#running.keys());
    if (this.#work.state === 'sync') prober.sync(this.#pod, probedPart(this.#pod, observed, this.#memory, underWay), this.#memory.status);
    else prober.beginTermination(this.uid);
    const now = clock.now();
    // The clock was set back: times that failures are to be waited for until may be days away.
    if (now < this.#plannedAt) this.#memory = { ...this.#memory, failures: new Map() };
    this.#plannedAt = now;
    const options = planOptions();
    const startTime = this.#memory.startTime ?? firstSeen(observed) ?? now;
    this.#memory = { ...forgetGone(this.#memory, observed), startTime };
    const plan = planPod({
      pod: this.#pod,
      work: this.#work,
      observed,
      probes: prober.results(this.uid),
      memory: this.#memory,
      underWay,
      now,
      options,
    });
    const newest = observed.sandboxes[0];
    const ips = newest?.state === 'ready' ? newest.ips : this.#memory.podIps;
    this.#memory = { ...this.#memory, status: plan.status, podIps: ips };
    return plan;
  }

  /** Publishes, then acts (STYLE section 3): whoever looks sees the state that led to the deed. */
  #follow(plan: Plan, signal: AbortSignal): Instant {
    const { clock, publish } = this.#deps;
    this.#work = plan.work;
    publish(this.#pod, plan.status, plan.work);
    this.#tell(plan.notes);
    const wanted = new Map(plan.actions.map((action) => [actionKey(action), action]));
    for (const [key, running] of this.#running) if (!wanted.has(key)) running.cancel();
    for (const [key, action] of wanted) if (!this.#running.has(key)) this.#start(key, action, signal);
    return Math.min(plan.wakeAt ?? Number.POSITIVE_INFINITY, clock.now() + (this.#deps.resyncMs?.() ?? resyncMs));
  }

  #start(key: string, action: Action, signal: AbortSignal): void {
    const { clock, executor, logger } = this.#deps;
    const link = linkSignals(signal);
    const begunAt = clock.now();
    this.#memory = rememberStart(this.#memory, action, begunAt);
    logger.debug('action begins', { pod: formatPod(this.#pod), action: key });
    const perform = async (): Promise<void> => {
      try {
        // The file is in the folder that goes.
        if (action.type === 'RemovePodFolder') await this.#keeping;
        const outcome = this.#guard(key, await executor.execute(action, { signal: link.signal }));
        if (link.signal.aborted) return; // it was for a state that is over
        const now = clock.now();
        this.#memory = rememberOutcome(this.#memory, this.#pod, action, outcome, now);
        this.#deps.onOutcome?.(action, outcome, now - begunAt);
        if (outcome.kind === 'failed') logger.debug('action failed', { pod: formatPod(this.#pod), action: key, error: outcome.message });
      } catch (error) {
        if (error !== link.signal.reason) throw error;
      } finally {
        link[Symbol.dispose]();
        this.#running.delete(key);
        this.#ends++;
        this.wake();
      }
    };
    const ended = perform();
    // A failure that is no outcome is a bug; it must not pass as an unhandled rejection of a promise nobody reads.
    ended.catch((error: unknown) => logger.error('worker failed', { pod: formatPod(this.#pod), error }));
    const cancel = (): void => {
      if (isCancellable(action.type)) link.abort(new Superseded());
    };
    this.#running.set(key, { cancel, ended });
  }

  /** A deed that keeps succeeding without effect is treated as a failure, so that a fault of ours is no hot loop. */
  #guard(key: string, outcome: ActionOutcome): ActionOutcome {
    if (outcome.kind === 'failed') return outcome;
    const now = this.#deps.clock.now();
    const recent = [...(this.#successes.get(key) ?? []), now].filter((at) => now - at < loopLimit.windowMs);
    for (const [other, times] of this.#successes) if ((times.at(-1) ?? 0) <= now - loopLimit.windowMs) this.#successes.delete(other);
    this.#successes.set(key, recent);
    if (recent.length < loopLimit.times) return outcome;
    this.#deps.logger.error('an action is wanted again and again', { pod: formatPod(this.#pod), action: key });
    return { kind: 'failed', message: `${key} has no effect`, retryAt: now + loopLimit.windowMs };
  }

  /** A note becomes an event when the plan before did not have it. */
  #tell(notes: readonly PlanNote[]): void {
    const id = (note: PlanNote): string => `${note.reason}/${note.container ?? ''}/${note.message}`;
    const told = new Set(this.#notes.map(id));
    for (const note of notes) {
      if (told.has(id(note))) continue;
      const object = note.container === undefined ? podObject(this.#pod) : containerObject(this.#pod, note.container);
      this.#deps.events.record(object, note.type, note.reason, note.message);
    }
    this.#notes = notes;
  }

  /** The last words of containers first seen exited; read once (L-473). */
  async #readMessages(observed: ObservedPod): Promise<void> {
    const unread = observed.containers.filter((record) => record.state === 'exited' && !this.#memory.terminationMessages.has(record.id));
    if (unread.length === 0) return;
    const read = await Promise.all(unread.map(async (record) => [record.id, await this.#deps.readTerminationMessage(record)] as const));
    this.#memory = { ...this.#memory, terminationMessages: new Map([...this.#memory.terminationMessages, ...read]) };
  }

  async #sleepUntil(at: Instant, signal: AbortSignal): Promise<void> {
    if (this.#isAwake || this.#work.state === 'finished') return;
    const link = linkSignals(signal);
    const woken = new Promise<void>((resolve) => {
      this.#wakeUp = resolve;
    });
    try {
      const slept = this.#deps.clock.sleep(Math.max(0, at - this.#deps.clock.now()), link.signal).catch((error: unknown) => {
        if (error !== link.signal.reason) throw error;
      });
      await raceSignal(Promise.race([woken, slept]), signal);
    } finally {
      link.abort(new Superseded());
      link[Symbol.dispose]();
      this.#wakeUp = () => undefined;
    }
  }
}

/** A Pod that was running before this agent started has been since its first sandbox (L-487). */
function firstSeen(observed: ObservedPod): Instant | undefined {
  if (observed.sandboxes.length === 0) return undefined;
  return Math.min(...observed.sandboxes.map((sandbox) => sandbox.createdAt));
}
