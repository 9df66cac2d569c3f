// Ending containers: grace periods, hooks and the order sidecars ask for (spec 02, sections 9.3 and 9.4).
import type { LifecycleHandler } from '../api/gen/kubernetes.ts';
import { allContainers, isSidecar, type Pod } from '../api/pod.ts';
import type { Instant } from '../std/clock.ts';
import type { Action } from './action.ts';
import type { Draft } from './draft.ts';
import type { ObservedContainer } from './observation.ts';
import type { PodMemory } from './work.ts';

/** What is needed to end a container. */
export interface StopRequest {
  readonly record: ObservedContainer;
  readonly gracePeriodSeconds: number;
  /** When the container began to be stopped; undefined when this is the beginning. */
  readonly since: Instant | undefined;
  readonly preStop: LifecycleHandler | undefined;
  /** The text of the `Killing` event. */
  readonly message: string;
}

/** The least a container gets between the stop signal and SIGKILL, in seconds (L-440). */
const minimumStopSeconds = 2;

/**
 * The next step of ending one running container: its preStop hook while there is grace for it (L-437), then the stop
 * with what is left of the grace, but never less than two seconds (L-440).
 */
export function stopStep(request: StopRequest, kills: PodMemory['kills'], now: Instant): Action {
  const { record, gracePeriodSeconds, preStop, message } = request;
  const kill = kills.get(record.id);
  const since = request.since ?? kill?.since ?? now;
  const remaining = gracePeriodSeconds - Math.floor(Math.max(0, now - since) / 1000);
  const common = { container: record.name, containerId: record.id, gracePeriodSeconds, message };
  if (preStop !== undefined && kill?.preStopDone !== true && remaining > 0) {
    return { type: 'RunPreStop', ...common, handler: preStop, timeoutSeconds: remaining };
  }
  return { type: 'StopContainer', ...common, timeoutSeconds: Math.max(remaining, minimumStopSeconds) };
}

/** The Pod's own grace period in seconds, at least 1 (L-039). */
export function gracePeriodSeconds(pod: Pod): number {
  return Math.max(1, pod.metadata.deletionGracePeriodSeconds ?? pod.spec.terminationGracePeriodSeconds ?? 30);
}

/** Wants the next step of stopping each of `running`, in the order the Pod's sidecars ask for (L-442 … L-447). */
export function stopAll(draft: Draft, running: readonly ObservedContainer[], since: Instant, grace: number): void {
  const { pod, memory, now } = draft.input;
  const sidecars = (pod.spec.initContainers ?? []).filter(isSidecar).map((container) => container.name);
  const isOver = now >= since + grace * 1000;
  for (const record of running) {
    const step = stopStep(
      { record, gracePeriodSeconds: grace, since, preStop: preStopOf(pod, record), message: `Stopping container ${record.name}` },
      memory.kills,
      now,
    );
    const place = sidecars.indexOf(record.name);
    const waitsFor = (other: ObservedContainer): boolean => {
      const otherPlace = sidecars.indexOf(other.name);
      return other.id !== record.id && (otherPlace < 0 || otherPlace > place);
    };
    const mustWait = place >= 0 && !isOver && running.some(waitsFor);
    if (step.type === 'StopContainer' && mustWait) draft.wake(since + grace * 1000);
    else draft.want(step);
  }
}

/** Wants every sandbox stopped that was not yet, ready or not. Returns whether there was any. */
export function wantSandboxesStopped(draft: Draft): boolean {
  const { observed, memory } = draft.input;
  const unstopped = observed.sandboxes.filter((sandbox) => !memory.stoppedSandboxes.has(sandbox.id));
  for (const sandbox of unstopped) draft.want({ type: 'StopPodSandbox', sandboxId: sandbox.id });
  return unstopped.length > 0;
}

/** So many failures in a row make a container one that cannot be stopped by itself; the end of its sandbox ends it (L-274). */
const stuckAfterFailures = 3;

export function isStuck(record: ObservedContainer, { failures }: PodMemory): boolean {
  return [...failures].some(([key, { count }]) => key.startsWith(`StopContainer/${record.id}/`) && count >= stuckAfterFailures);
}

function preStopOf(pod: Pod, record: ObservedContainer): LifecycleHandler | undefined {
  return allContainers(pod.spec).find((container) => container.name === record.name)?.lifecycle?.preStop;
}

export function removeContainer(record: ObservedContainer, keepLogs: boolean): Action {
  return { type: 'RemoveContainer', container: record.name, containerId: record.id, keepLogs };
}
