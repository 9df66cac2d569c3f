// The plan of a Pod that should run: sandbox, init containers and sidecars, regular containers (spec 02, section 3).
import type { Container, Probe } from '../api/gen/kubernetes.ts';
import { allContainers, formatPod, isSidecar, type Pod } from '../api/pod.ts';
import { formatDuration } from '../std/duration.ts';
import { type Action, actionKey } from './action.ts';
import { isReadOnlyVolume, usedVolumes } from './container-mounts.ts';
import type { Draft } from './draft.ts';
import { containerHash } from './hash.ts';
import { criKeys, newestContainer, type ObservedContainer, type ObservedSandbox } from './observation.ts';
import { computePhase } from './phase.ts';
import type { ContainerProbeResults } from './probe-results.ts';
import { type ContainerResize, givenResources, needsRestart, pendingChange, pendingWhole, resizeText } from './resize.ts';
import { crashBackoff, isFailedInit, matchingRule, mayRetryInit, restartsAfterProbeFailure, shouldStart } from './restart-policy.ts';
import { decideSandbox, type SandboxDecision } from './sandbox-decision.ts';
import { gracePeriodSeconds, isStuck, removeContainer, stopAll, stopStep, wantSandboxesStopped } from './stop.ts';
import type { TerminationCause } from './work.ts';

/** Plans one pass. Returns why the Pod is to end, if it is; then nothing it planned counts. */
export function planSync(draft: Draft, pod: Pod): TerminationCause | undefined {
  if (isPastDeadline(draft, pod)) {
    draft.note({ type: 'Normal', reason: 'DeadlineExceeded', message: deadlineMessage });
    return { kind: 'deadline' };
  }
  const phase = computePhase(draft, pod);
  if (phase === 'Succeeded' || phase === 'Failed') return { kind: 'completed' };

  const { options, observed } = draft.input;
  if (options.networkError !== undefined && pod.spec.hostNetwork !== true) {
    const decision = decideSandbox(pod.spec, observed);
    if (decision.kind === 'create') {
      draft.note({ type: 'Warning', reason: 'NetworkNotReady', message: `network is not ready: ${options.networkError}` });
      return undefined;
    }
  }
  const { resizePending } = draft.input.memory;
  if (resizePending !== undefined) {
    const { reason, message } = resizePending;
    draft.note({ type: 'Warning', reason: `Resize${reason}`, message: `Pod resize ${reason}: ${message}` });
  }
  if (planRestartOfAll(draft, pod)) return undefined;
  const decision = decideOn(draft, pod);
  const outcome = decision.kind === 'create' ? planNewSandbox(draft, pod, decision) : planContainers(draft, pod, decision.sandbox);
  if (outcome === 'end') return { kind: 'completed' };
  planCleanUp(draft, pod);
  return undefined;
}

export const deadlineMessage = 'Pod was active on the node longer than the specified deadline';

/** L-491: counted from the Pod's start time. Sets the wake-up for the deadline still to come. */
function isPastDeadline(draft: Draft, pod: Pod): boolean {
  const seconds = pod.spec.activeDeadlineSeconds;
  const { startTime } = draft.input.memory;
  if (seconds === undefined || startTime === undefined) return false;
  const end = startTime + seconds * 1000;
  if (draft.input.now >= end) return true;
  draft.wake(end);
  return false;
}

/** L-052: containers outside their cgroup end, and their sandbox with them. */
function decideOn(draft: Draft, pod: Pod): SandboxDecision {
  const { memory, observed } = draft.input;
  const newest = observed.sandboxes[0];
  if (memory.cgroupWasLost && newest !== undefined) return { kind: 'create', attempt: newest.attempt + 1, isReplacement: true };
  return decideSandbox(pod.spec, observed);
}

type Outcome = 'continue' | 'end';

function planNewSandbox(draft: Draft, pod: Pod, decision: { readonly attempt: number; readonly isReplacement: boolean }): Outcome {
  const { observed, memory, now } = draft.input;
  const { spec } = pod;
  // L-126, L-127: a one-shot Pod whose sandbox died is not run a second time.
  if (spec.restartPolicy === 'Never' && decision.attempt !== 0 && observed.containers.length > 0) return 'end';
  const toStart = spec.containers.filter((container) => {
    const record = newestContainer(observed, container.name);
    const policy = container.restartPolicy ?? spec.restartPolicy;
    return !(record?.state === 'exited' && record.exitCode === 0 && policy === 'OnFailure'); // L-128
  });
  const hasRegularRecord = spec.containers.some((container) => newestContainer(observed, container.name) !== undefined);
  if (toStart.length === 0 && hasRegularRecord) return 'end'; // L-129

  if (decision.isReplacement) {
    draft.note({ type: 'Normal', reason: 'SandboxChanged', message: 'Pod sandbox changed, it will be killed and re-created.' });
  }
  // L-124: everything of the Pod ends before a new sandbox begins; a dead one keeps its network until it is stopped.
  const running = observed.containers.filter((record) => record.state === 'running');
  if (running.length > 0) {
    const since = running.reduce((first, record) => Math.min(first, memory.kills.get(record.id)?.since ?? now), now);
    stopAll(draft, running, since, gracePeriodSeconds(pod));
    if (running.every((record) => isStuck(record, memory))) wantSandboxesStopped(draft);
    return 'continue';
  }
  const first = spec.initContainers?.[0];
  for (const container of first === undefined ? toStart : [first]) wantImage(draft, container, decision.attempt);
  if (draft.isUnderWay('RunPodSandbox')) return 'continue'; // what is seen of it is not finished
  const isStopping = wantSandboxesStopped(draft);
  // L-130: initialisation starts from scratch.
  const initNames = new Set((spec.initContainers ?? []).map((container) => container.name));
  const stale = observed.containers.filter((record) => initNames.has(record.name) || record.state === 'created');
  for (const record of stale) draft.want(removeContainer(record, true));
  if (isStopping || stale.length > 0) return 'continue';
  if (wantPrerequisites(draft)) draft.want({ type: 'RunPodSandbox', attempt: decision.attempt });
  return 'continue';
}

/** Cgroup and volumes come before any sandbox or container (L-050, L-056). Returns whether both are there. */
function wantPrerequisites(draft: Draft): boolean {
  const { memory } = draft.input;
  if (!memory.cgroupReady) draft.want({ type: 'CreatePodCgroup', hasRunning: hasRunning(draft) });
  if (!memory.volumesReady) draft.want({ type: 'SetUpVolumes' });
  return memory.cgroupReady && memory.volumesReady;
}

function hasRunning({ input: { pod, observed } }: Draft): boolean {
  return pod.spec.containers.some(({ name }) => newestContainer(observed, name)?.state === 'running');
}

/** L-313: files that show changing data, once a minute; a change of the manifest sets volumes up anew at once. */
function wantFreshFiles(draft: Draft): void {
  const { memory, now, pod } = draft.input;
  if (!memory.volumesReady || memory.volumesRefreshedAt === undefined || !usedVolumes(pod).some(isReadOnlyVolume)) return;
  const due = memory.volumesRefreshedAt + refreshMs;
  if (now >= due) draft.want({ type: 'RefreshVolumes' });
  else draft.wake(due);
}

const refreshMs = 60_000;

/** Wants the container's image unless it was found already. Returns whether it is there, under way, or failing. */
function wantImage(draft: Draft, container: Container, sandboxAttempt: number): 'ready' | 'pending' | 'failing' {
  if (draft.input.memory.images.has(container.name)) return 'ready';
  return draft.want({ type: 'PullImage', container: container.name, sandboxAttempt }) ? 'pending' : 'failing';
}

/** The sandbox is good: bring init containers, sidecars and regular containers to where they should be. */
function planContainers(draft: Draft, pod: Pod, sandbox: ObservedSandbox): Outcome {
  const pass = new ContainerPass(draft, pod, sandbox);
  pass.planResize();
  pass.noteStopSignals();
  const init = pass.planInit();
  if (init === 'failed') return 'end';
  if (init === 'waiting') return 'continue';
  return pass.planRegular();
}

/** Why a running container is to be ended although the Pod goes on. */
interface KillRequest {
  readonly message: string;
  readonly gracePeriodSeconds: number;
}

/** One pass over the containers of a Pod with a good sandbox. */
class ContainerPass {
  readonly #draft: Draft;
  readonly #pod: Pod;
  readonly #sandbox: ObservedSandbox;
  readonly #hasPrerequisites: boolean;
  /** An earlier container is on its way: the next one waits for it (L-159, L-431). */
  #isBusy = false;

  constructor(draft: Draft, pod: Pod, sandbox: ObservedSandbox) {
    this.#draft = draft;
    this.#pod = pod;
    this.#sandbox = sandbox;
    // Asked for while nothing is to be started, too: an edited manifest changes files of volumes (L-313).
    this.#hasPrerequisites = wantPrerequisites(draft);
    wantFreshFiles(draft);
  }

  /** L-137 … L-151. `failed`: an init container failed for good; `waiting`: regular containers may not start yet. */
  planInit(): 'done' | 'waiting' | 'failed' {
    const { spec } = this.#pod;
    const inits = spec.initContainers ?? [];
    if (inits.length === 0) return 'done';
    const wasInitialised = spec.containers.some((container) => {
      const state = this.#newest(container)?.state;
      return state === 'created' || state === 'running';
    });
    const toStart = new Set<Container>();
    let isDone = wasInitialised;
    let isDecided = wasInitialised; // how far initialisation got is known
    for (const [i, container] of [...inits.entries()].reverse()) {
      const record = this.#newest(container);
      if (record === undefined) {
        if (isSidecar(container) && isDecided) toStart.add(container); // L-139
        continue;
      }
      if (isDecided && !isSidecar(container)) continue; // L-138
      const progress = isSidecar(container) ? this.#planSidecar(container, record) : this.#planInitRecord(container, record);
      if (progress === 'failed') return 'failed';
      if (progress === 'start') toStart.add(container);
      if (isDecided) continue;
      isDecided = true;
      const next = inits[i + 1];
      if (progress === 'passed' && next === undefined) isDone = true;
      else if (progress === 'passed' && next !== undefined) toStart.add(next);
    }
    const first = inits[0];
    if (!isDecided && first !== undefined) toStart.add(first); // L-149
    for (const container of inits) {
      if (!toStart.has(container)) continue;
      this.#start(container);
      if (!isSidecar(container)) break; // L-151
    }
    return isDone ? 'done' : 'waiting';
  }

  /** The ordinary init container that tells how far initialisation got (L-140 … L-143, L-148). */
  #planInitRecord(container: Container, record: ObservedContainer): 'passed' | 'start' | 'wait' | 'failed' {
    if (record.state === 'running') return 'wait';
    if (record.state === 'created') return 'start';
    if (!isFailedInit(record)) return 'passed';
    if (!mayRetryInit(this.#pod.spec, container, record)) return 'failed';
    if (record.state === 'exited') return 'start';
    this.#kill(container, record, this.#request('Init container is in "unknown" state, try killing it before restart'));
    return 'wait';
  }

  /** Whether what comes after the sidecar may start (L-144 … L-148). */
  #planSidecar(container: Container, record: ObservedContainer): 'passed' | 'start' | 'wait' {
    if (record.state === 'unknown') {
      this.#kill(container, record, this.#request('Init container is in "unknown" state, try killing it before restart'));
      return 'wait';
    }
    if (record.state !== 'running') return 'start'; // L-140, L-147
    const kill = this.#killRequest(container, record, `Init container ${container.name}`);
    if (kill !== undefined) {
      this.#kill(container, record, kill);
      return 'wait';
    }
    if (this.#runPostStart(container, record)) return 'wait';
    return container.startupProbe === undefined || this.#hasStarted(container, record) ? 'passed' : 'wait';
  }

  /** The startup probe succeeded, now or, as the last status says, before this agent started (L-407). */
  #hasStarted(container: Container, record: ObservedContainer): boolean {
    const result = this.#results(record)?.startup;
    if (result !== undefined) return result === 'success';
    const statuses = this.#draft.input.memory.status?.initContainerStatuses ?? [];
    const previous = statuses.find((status) => status.name === container.name);
    return previous?.started === true && previous.containerID?.endsWith(record.id) === true;
  }

  /** L-153 … L-159. */
  planRegular(): Outcome {
    const { spec } = this.#pod;
    let alive = 0;
    for (const container of spec.containers) {
      const record = this.#newest(container);
      if (record?.state === 'running') {
        alive++; // also while it is being stopped: the Pod is not over before the container has exited
        const kill = this.#killRequest(container, record, `Container ${container.name}`);
        if (kill !== undefined) this.#kill(container, record, kill);
        else if (this.#runPostStart(container, record)) this.#isBusy = true;
      } else if (shouldStart(spec, container, record)) {
        alive++;
        if (record?.state !== 'unknown') this.#start(container);
        else this.#kill(container, record, this.#request('Container is in "unknown" state, try killing it before restart'));
      }
    }
    return alive === 0 ? 'end' : 'continue'; // L-156
  }

  /** L-518: what runs on, gets the resources it is to have now. */
  planResize(): void {
    const { memory, underWay } = this.#draft.input;
    if (!memory.cgroupReady) return; // there may be nothing yet to make room in
    const changes: ContainerResize[] = [];
    const whole = pendingWhole(this.#pod, memory);
    for (const container of allContainers(this.#pod.spec)) {
      const record = this.#newest(container);
      if (record?.state !== 'running' || memory.kills.has(record.id)) continue;
      const changed = pendingChange(container, record, memory);
      // What the Pod has as a whole stands in for limits that its containers have not (L-249).
      if ((changed.length === 0 && whole === undefined) || needsRestart(container, changed)) continue;
      const from = givenResources(record, memory) ?? {};
      changes.push({ container: container.name, containerId: record.id, from, to: container.resources ?? {} });
    }
    if (changes.length === 0 && whole === undefined) return;
    const resize: Action = { type: 'ResizeContainers', changes, ...(whole === undefined ? {} : { whole }) };
    // Two at once would undo each other's work on the Pod's cgroup.
    const isBusy = this.#draft.isUnderWay('ResizeContainers') && !underWay.has(actionKey(resize));
    if (!isBusy) this.#draft.want(resize);
    this.#draft.note({ type: 'Normal', reason: 'ResizeStarted', message: `Pod resize started: ${resizeText(this.#pod, resize)}` });
  }

  /** L-430: who asked for a signal the runtime does not know of learns it before the container is to stop. */
  noteStopSignals(): void {
    for (const container of allContainers(this.#pod.spec)) {
      const wanted = container.lifecycle?.stopSignal;
      const record = this.#newest(container);
      if (wanted === undefined || record?.state !== 'running' || record.stopSignal !== undefined) continue;
      this.#draft.note({
        type: 'Warning',
        reason: 'StopSignalIgnored',
        message: `lifecycle.stopSignal ${wanted} has no effect: the runtime does not support it and stops the container with the signal of its image`,
        container: container.name,
      });
    }
  }

  /** Wants the next step towards a running container. */
  #start(container: Container): void {
    const { observed, memory, options, now } = this.#draft.input;
    const record = this.#newest(container);
    if (record?.state === 'created') {
      const start: Action = { type: 'StartContainer', container: container.name, containerId: record.id };
      const failure = memory.failures.get(actionKey(start));
      if (failure !== undefined && failure.retryAt > now) {
        this.#draft.wake(failure.retryAt);
        return;
      }
      const hasFailed = failure !== undefined && failure.isUnanswered !== true;
      const isUsable = record.sandboxId === this.#sandbox.id && !hasFailed && !this.#hasChanged(container, record);
      this.#isBusy = this.#draft.want(isUsable ? start : removeContainer(record, true)) || this.#isBusy;
      return;
    }
    const hash = containerHash(container);
    const records = observed.containers.filter((candidate) => candidate.name === container.name);
    // One that is ended for its hook has failed to start, as if it had exited by itself.
    const isKilled = (id: string): boolean => memory.kills.has(id) && memory.postStart.get(id) !== 'failed';
    const backoff = crashBackoff(records, { hash, resources: container.resources }, isKilled, options.backoff, now);
    if (backoff.until !== undefined) {
      const delay = formatDuration(backoff.delayMs);
      this.#draft.waiting.set(container.name, {
        reason: 'CrashLoopBackOff',
        message: `back-off ${delay} restarting failed container=${container.name} pod=${formatPod(this.#pod)}`,
      });
      this.#draft.note({
        type: 'Warning',
        reason: 'BackOff',
        message: `Back-off restarting failed container ${container.name} in pod ${formatPod(this.#pod)}`,
        container: container.name,
      });
      this.#draft.wake(backoff.until);
      return;
    }
    const image = wantImage(this.#draft, container, this.#sandbox.attempt);
    if (this.#isBusy || image === 'failing') return;
    this.#isBusy = true;
    if (!this.#hasPrerequisites || image === 'pending') return;
    const isResized =
      (record !== undefined && pendingChange(container, record, memory).length > 0) || pendingWhole(this.#pod, memory) !== undefined;
    const isWanted = this.#draft.want({
      type: 'CreateContainer',
      container: container.name,
      sandboxId: this.#sandbox.id,
      sandboxAttempt: this.#sandbox.attempt,
      podIps: this.#sandbox.ips,
      attempt: nextAttempt(record),
      imageRef: memory.images.get(container.name) ?? '',
      backoffMs: backoff.nextMs,
      ...(isResized ? { resizesPod: true } : {}),
    });
    // L-159: a container that cannot be created now does not hold up the next one.
    this.#isBusy = isWanted;
  }

  /** Why a running container must be stopped: a kill that was begun goes on (L-146, L-154, L-432). */
  #killRequest(container: Container, record: ObservedContainer, subject: string): KillRequest | undefined {
    const { memory } = this.#draft.input;
    const begun = memory.kills.get(record.id);
    if (begun !== undefined) return begun;
    if (memory.postStart.get(record.id) === 'failed') return this.#request('FailedPostStartHook');
    const results = this.#results(record);
    const isRegular = this.#pod.spec.containers.includes(container);
    const ending = (comesBack: boolean): string => (comesBack && isRegular ? ', will be restarted' : '');
    if (this.#hasChanged(container, record)) return this.#request(`${subject} definition changed${ending(true)}`);
    if (needsRestart(container, pendingChange(container, record, memory))) {
      return this.#request(`Container ${container.name} resize requires restart`); // L-519
    }
    const restarts = ending(restartsAfterProbeFailure(this.#pod.spec, container));
    if (results?.liveness === 'failure') return this.#request(`${subject} failed liveness probe${restarts}`, container.livenessProbe);
    if (results?.startup === 'failure') return this.#request(`${subject} failed startup probe${restarts}`, container.startupProbe);
    return undefined;
  }

  /** A probe's own grace period replaces the Pod's for that kill (L-424). */
  #request(message: string, probe?: Probe): KillRequest {
    return { message, gracePeriodSeconds: probe?.terminationGracePeriodSeconds ?? gracePeriodSeconds(this.#pod) };
  }

  #kill(container: Container, record: ObservedContainer, request: KillRequest): void {
    const { memory, now } = this.#draft.input;
    const preStop = container.lifecycle?.preStop;
    this.#draft.want(stopStep({ record, since: undefined, preStop, ...request }, memory.kills, now));
  }

  /** Returns whether the container's postStart hook has still to end (L-431, L-433). */
  #runPostStart(container: Container, record: ObservedContainer): boolean {
    const handler = container.lifecycle?.postStart;
    if (handler === undefined) return false;
    // It is seen running before its start is known to be over, and only then its hook begins.
    const start: Action = { type: 'StartContainer', container: container.name, containerId: record.id };
    if (this.#draft.input.underWay.has(actionKey(start))) return true;
    if (this.#draft.input.memory.postStart.get(record.id) !== 'pending') return false;
    this.#draft.want({ type: 'RunPostStart', container: container.name, containerId: record.id, handler });
    return true;
  }

  /** L-084; a record without our annotation is left alone. */
  #hasChanged(container: Container, record: ObservedContainer): boolean {
    const recorded = record.annotations[criKeys.hash];
    return recorded !== undefined && recorded !== containerHash(container);
  }

  #newest(container: Container): ObservedContainer | undefined {
    return newestContainer(this.#draft.input.observed, container.name);
  }

  #results(record: ObservedContainer): ContainerProbeResults | undefined {
    return this.#draft.input.probes.byContainerId.get(record.id);
  }
}

/** L-174. Without a record the executor looks at the log files that are left (L-175). */
function nextAttempt(record: ObservedContainer | undefined): number {
  if (record === undefined) return 0;
  const count = Number(record.annotations[criKeys.restartCount] ?? record.attempt);
  return (Number.isInteger(count) ? count : record.attempt) + 1;
}

/**
 * L-177 … L-180: an exit code asked for all containers to start over. Every record is removed, what set it off last, so
 * that an agent dying half-way goes on. Returns whether that is under way.
 */
function planRestartOfAll(draft: Draft, pod: Pod): boolean {
  const { observed, memory, now } = draft.input;
  const containers = allContainers(pod.spec);
  const isSource = (record: ObservedContainer): boolean => {
    const container = containers.find((candidate) => candidate.name === record.name);
    const isNewest = newestContainer(observed, record.name)?.id === record.id;
    return (
      isNewest &&
      record.state === 'exited' &&
      container !== undefined &&
      matchingRule(container, record.exitCode) === 'RestartAllContainers'
    );
  };
  if (!observed.containers.some(isSource)) return false;
  const isInit = (record: ObservedContainer): boolean =>
    (pod.spec.initContainers ?? []).some((container) => container.name === record.name);
  const rank = (record: ObservedContainer): number => (isSource(record) ? 2 : 0) + (isInit(record) ? 1 : 0);
  const lowest = Math.min(...observed.containers.map(rank));
  for (const record of observed.containers.filter((candidate) => rank(candidate) === lowest)) {
    const isAlive = record.state === 'running' || record.state === 'unknown';
    const stop = { record, gracePeriodSeconds: 0, since: undefined, preStop: undefined, message: `Stopping container ${record.name}` };
    draft.want(isAlive ? stopStep(stop, memory.kills, now) : removeContainer(record, true));
  }
  return true;
}

/** Records nobody needs: all but the newest dead one of a name (L-384), and what an edited manifest left behind. */
function planCleanUp(draft: Draft, pod: Pod): void {
  const { observed, memory, now } = draft.input;
  const names = new Set(allContainers(pod.spec).map((container) => container.name));
  const kept = new Map<string, number>();
  for (const record of observed.containers) {
    if (!names.has(record.name)) {
      // Differs from L-081: a container that left the manifest of a Pod with a fixed UID is stopped.
      const message = `Container ${record.name} is no longer in the manifest`;
      const stop = { record, gracePeriodSeconds: gracePeriodSeconds(pod), since: undefined, preStop: undefined, message };
      draft.want(record.state === 'running' ? stopStep(stop, memory.kills, now) : removeContainer(record, false));
    } else if (record.state === 'exited') {
      // The back-off after a kill counts from the end of the run before (L-173).
      const isKilled = memory.kills.has(newestContainer(observed, record.name)?.id ?? '');
      const place = kept.get(record.name) ?? 0;
      if (place >= (isKilled ? 2 : 1)) draft.want(removeContainer(record, false));
      kept.set(record.name, place + 1);
    }
  }
  for (const sandbox of observed.sandboxes.slice(1)) {
    if (sandbox.state === 'ready' || observed.containers.some((record) => record.sandboxId === sandbox.id)) continue; // L-386
    const isStopped = memory.stoppedSandboxes.has(sandbox.id);
    draft.want({ type: isStopped ? 'RemovePodSandbox' : 'StopPodSandbox', sandboxId: sandbox.id });
  }
}
