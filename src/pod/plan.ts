// The decision: what should be under way for one Pod now, its status, and when to look again. Pure and synchronous;
// everything it needs comes in as data (STYLE section 1). docs/pod-lifecycle.md lists the invariants (P1, …).
import { allContainers, type Pod } from '../api/pod.ts';
import { assertNever } from '../std/errors.ts';
import { Draft, type Plan, type PlanInput } from './draft.ts';
import { planSync } from './plan-sync.ts';
import { computeStatus } from './status.ts';
import { gracePeriodSeconds, isStuck, removeContainer, stopAll, wantSandboxesStopped } from './stop.ts';
import type { PodWorkState, TerminationCause } from './work.ts';

export function planPod(input: PlanInput): Plan {
  const draft = new Draft(input);
  const work = nextWork(draft);
  return {
    actions: draft.actions,
    status: computeStatus(input.pod, work, draft),
    work,
    wakeAt: draft.wakeAt,
    notes: draft.notes,
  };
}

function nextWork(draft: Draft): PodWorkState {
  const { work, pod, now } = draft.input;
  switch (work.state) {
    case 'sync': {
      const cause = planSync(draft, pod);
      if (cause === undefined) return work;
      // What sync planned is for a Pod that is to run; a Pod that is to end gets the terminating plan instead.
      draft.actions.length = 0;
      return planTerminating(draft, {
        state: 'terminating',
        since: now,
        gracePeriodSeconds: gracePeriodSeconds(pod),
        cause,
      });
    }
    case 'terminating':
      return planTerminating(draft, work);
    case 'terminated':
      return planTerminated(draft, work);
    case 'finished':
      return work;
    default:
      return assertNever(work);
  }
}

/**
 * The work state after somebody asked for the Pod's end. The grace period only ever gets shorter (L-039); a removal
 * outranks every other cause, since it takes the records with it.
 */
export function requestTermination(
  work: PodWorkState,
  cause: TerminationCause,
  input: Pick<PlanInput, 'pod' | 'now'>,
  graceOverrideSeconds?: number,
): PodWorkState {
  const wanted = Math.max(1, graceOverrideSeconds ?? gracePeriodSeconds(input.pod));
  switch (work.state) {
    case 'sync':
      return { state: 'terminating', since: input.now, gracePeriodSeconds: wanted, cause };
    case 'terminating':
      return {
        ...work,
        gracePeriodSeconds: Math.min(work.gracePeriodSeconds, wanted),
        cause: cause.kind === 'removed' ? cause : work.cause,
      };
    case 'terminated':
      return cause.kind === 'removed' ? { state: 'terminated', cause } : work;
    case 'finished':
      return work;
    default:
      return assertNever(work);
  }
}

/** Every running container is stopped, sidecars in reverse order behind the others (L-442), then every sandbox. */
function planTerminating(draft: Draft, work: Extract<PodWorkState, { state: 'terminating' }>): PodWorkState {
  const { observed, memory, now } = draft.input;
  const running = observed.containers.filter((record) => record.state === 'running');
  if (running.length > 0) {
    stopAll(draft, running, work.since, work.gracePeriodSeconds);
    const isOver = now >= work.since + work.gracePeriodSeconds * 1000;
    if (isOver && running.every((record) => isStuck(record, memory))) wantSandboxesStopped(draft);
    return work;
  }
  // What is still being made is waited for: it would outlive the Pod, or lose its grace with the sandbox.
  if (draft.isUnderWay('RunPodSandbox', 'CreateContainer', 'StartContainer', 'CreatePodCgroup', 'SetUpVolumes')) return work;
  if (wantSandboxesStopped(draft)) return work;
  const terminated: PodWorkState = { state: 'terminated', cause: work.cause };
  draft.wake(now);
  return terminated;
}

/** Everything stopped: take down what the agent made on the node and, if the manifest is gone, the records too. */
function planTerminated(draft: Draft, work: Extract<PodWorkState, { state: 'terminated' }>): PodWorkState {
  const { observed, memory } = draft.input;
  if (!memory.volumesRemoved) draft.want({ type: 'TearDownVolumes' });
  if (!memory.cgroupRemoved) draft.want({ type: 'RemovePodCgroup' });
  if (work.cause.kind !== 'removed') return work;
  if (memory.volumesRemoved && !memory.folderRemoved) draft.want({ type: 'RemovePodFolder' });
  const isBare = memory.folderRemoved && memory.cgroupRemoved;
  if (work.cause.isBack === true && goesOn(draft.input.pod)) {
    const isStopped = !wantSandboxesStopped(draft);
    return isStopped && isBare ? { state: 'finished' } : work;
  }
  for (const record of observed.containers) draft.want(removeContainer(record, false));
  for (const sandbox of observed.sandboxes) {
    const isUsed = observed.containers.some((record) => record.sandboxId === sandbox.id);
    if (isUsed) continue;
    // A Pod that was never stopped by this process (completed before the agent started) may still hold its network.
    if (memory.stoppedSandboxes.has(sandbox.id)) draft.want({ type: 'RemovePodSandbox', sandboxId: sandbox.id });
    else draft.want({ type: 'StopPodSandbox', sandboxId: sandbox.id });
  }
  const isEmpty = observed.containers.length === 0 && observed.sandboxes.length === 0;
  return isEmpty && isBare ? { state: 'finished' } : work;
}

/**
 * Whether the records of the life before mean nothing but a restart to the next one (S-286). What runs once would be
 * done already, and a deadline over.
 */
function goesOn({ spec }: Pod): boolean {
  const isAlways = (policy: string | undefined): boolean => (policy ?? 'Always') === 'Always';
  return (
    isAlways(spec.restartPolicy) && allContainers(spec).every((c) => isAlways(c.restartPolicy)) && spec.activeDeadlineSeconds === undefined
  );
}
