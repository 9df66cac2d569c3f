// The Pod's phase from its containers' statuses: spec 02, section 10.1.
import type { ContainerStatus } from '../api/gen/kubernetes.ts';
import { isSidecar, type Pod } from '../api/pod.ts';
import { awaitsRestartOfAll, type ContainerStatuses, computeContainerStatuses } from './container-status.ts';
import type { Draft } from './draft.ts';
import { newestContainer } from './observation.ts';
import { mayRestart, mayRetryInit } from './restart-policy.ts';

export type Phase = 'Pending' | 'Running' | 'Succeeded' | 'Failed';

/** The phase as the records stand now; one that is final stays (L-455). */
export function computePhase(draft: Draft, pod: Pod): Phase {
  return phaseOf(draft, pod, computeContainerStatuses(draft, pod, false));
}

/** How a container last ended: now, or, while it waits for its next start, before (table of section 10.1). */
function lastExitCode(status: ContainerStatus): number | undefined {
  return status.state?.terminated?.exitCode ?? (status.state?.running === undefined ? status.lastState?.terminated?.exitCode : undefined);
}

export function phaseOf(draft: Draft, pod: Pod, statuses: ContainerStatuses): Phase {
  const known = draft.input.memory.status?.phase;
  if (known === 'Failed' || known === 'Succeeded') return known;
  const { spec } = pod;
  const count = { pendingInit: 0, failedInit: 0, pendingSidecar: 0, running: 0, waiting: 0, stopped: 0, restartable: 0, succeeded: 0 };
  for (const container of spec.initContainers ?? []) {
    const status = statuses.init.find((candidate) => candidate.name === container.name);
    const exitCode = status === undefined ? undefined : lastExitCode(status);
    const isRunning = status?.state?.running !== undefined;
    if (isSidecar(container)) {
      if (isRunning) count.running++;
      if (isRunning && status.started !== true) count.pendingSidecar++;
      if (!isRunning && exitCode === undefined) {
        count.pendingSidecar++;
        count.waiting++;
      }
    } else if (exitCode === undefined || (status !== undefined && awaitsRestartOfAll(status))) count.pendingInit++;
    else if (exitCode !== 0 || status?.state?.terminated?.reason === 'OOMKilled') {
      const record = draft.input.observed.containers.find((candidate) => candidate.name === container.name);
      const isFinal =
        record === undefined ? spec.restartPolicy === 'Never' : record.state === 'exited' && !mayRetryInit(spec, container, record);
      if (isFinal) count.failedInit++;
      else count.pendingInit++;
    }
  }
  for (const container of spec.containers) {
    const status = statuses.regular.find((candidate) => candidate.name === container.name);
    const exitCode = status === undefined ? undefined : lastExitCode(status);
    if (status?.state?.running !== undefined) count.running++;
    else if (exitCode === undefined) count.waiting++;
    else {
      count.stopped++;
      // What waits for its start is not over, whatever its last run came to.
      const isOnItsWay = status !== undefined && (awaitsRestartOfAll(status) || isCreated(draft, container.name));
      if (isOnItsWay || mayRestart(spec, container, exitCode)) count.restartable++;
      if (exitCode === 0) count.succeeded++;
    }
  }
  // L-451, first match.
  if (count.failedInit > 0) return 'Failed';
  const hasActiveRegular = draft.input.observed.containers.some((record) => isActiveRegular(draft, pod, record.name, record.sandboxId));
  if (count.pendingInit > 0 || (count.pendingSidecar > 0 && !hasActiveRegular) || count.waiting > 0) return 'Pending';
  if (count.running > 0 && hasRunningRegular(pod, statuses)) return 'Running';
  if (count.stopped === 0) return count.running > 0 ? 'Running' : 'Pending';
  if (count.restartable > 0) return 'Running'; // L-452, L-454
  // Sidecars that are still to be stopped do not keep a finished Pod from being finished (L-156, L-448).
  return count.succeeded === count.stopped ? 'Succeeded' : 'Failed';
}

function isCreated(draft: Draft, name: string): boolean {
  return newestContainer(draft.input.observed, name)?.state === 'created';
}

function hasRunningRegular(pod: Pod, statuses: ContainerStatuses): boolean {
  return pod.spec.containers.some((container) => statuses.regular.some((s) => s.name === container.name && s.state?.running !== undefined));
}

function isActiveRegular(draft: Draft, pod: Pod, name: string, sandboxId: string): boolean {
  const newest = draft.input.observed.sandboxes[0];
  return newest?.state === 'ready' && newest.id === sandboxId && pod.spec.containers.some((container) => container.name === name);
}
