// Inputs of the planner and its actions as text, one line each with every field, for tables of exact actions.
import type { Container, PodSpec } from '../../src/api/gen/kubernetes.ts';
import type { Pod } from '../../src/api/pod.ts';
import { allContainers } from '../../src/api/pod.ts';
import type { Action } from '../../src/pod/action.ts';
import type { Plan, PlanInput } from '../../src/pod/draft.ts';
import { containerHash } from '../../src/pod/hash.ts';
import { criKeys, type ObservedContainer } from '../../src/pod/observation.ts';
import { planPod } from '../../src/pod/plan.ts';
import { noProbeResults } from '../../src/pod/probe-results.ts';
import { defaultBackoff } from '../../src/pod/restart-policy.ts';
import { emptyMemory, type PodMemory, type PodWorkState } from '../../src/pod/work.ts';
import { assertNever } from '../../src/std/errors.ts';
import { buildContainer, buildPod, observedContainer, observedPod } from './pods.ts';

/** The present of all tables, in milliseconds; records are from before. */
export const now = 1_000_000;

/** The record of `container` as this agent writes it: id `app0` for attempt 0 of `app`. */
export function recordOf(container: Container, change: Partial<ObservedContainer> = {}): ObservedContainer {
  const attempt = change.attempt ?? 0;
  const { annotations, ...rest } = change;
  return observedContainer({
    id: `${container.name}${attempt}`,
    name: container.name,
    attempt,
    createdAt: now - 100_000 + attempt,
    startedAt: now - 100_000,
    ...(change.state === 'exited' ? { finishedAt: now - 50_000, reason: change.exitCode === 0 ? 'Completed' : 'Error' } : {}),
    ...rest,
    annotations: { [criKeys.hash]: containerHash(container), [criKeys.restartCount]: String(attempt), ...annotations },
  });
}

/** A record of `app`, image `nginx`. */
export const app = (change: Partial<ObservedContainer> = {}): ObservedContainer => recordOf(buildContainer(), change);

export const exited = (exitCode: number, change: Partial<ObservedContainer> = {}): Partial<ObservedContainer> => ({
  state: 'exited',
  exitCode,
  ...change,
});

export interface PlanCase {
  readonly spec?: Partial<PodSpec>;
  readonly pod?: Pod;
  readonly containers?: readonly ObservedContainer[];
  readonly sandboxes?: PlanInput['observed']['sandboxes'];
  readonly memory?: Partial<PodMemory>;
  readonly work?: PodWorkState;
  readonly probes?: PlanInput['probes'];
  readonly underWay?: readonly string[];
  readonly now?: number;
  readonly options?: Partial<PlanInput['options']>;
}

/** Plans with cgroup and volumes ready and every image found, unless told otherwise. */
export function plan(input: PlanCase = {}): Plan {
  const pod = input.pod ?? buildPod({ restartPolicy: 'Always', ...input.spec });
  const { containers = [], sandboxes } = input;
  return planPod({
    pod,
    work: input.work ?? { state: 'sync' },
    observed: observedPod({ containers, ...(sandboxes === undefined ? {} : { sandboxes }) }),
    probes: input.probes ?? noProbeResults,
    memory: {
      ...emptyMemory,
      startTime: now - 200_000,
      cgroupReady: true,
      volumesReady: true,
      images: new Map(allContainers(pod.spec).map(({ name }) => [name, 'sha256:1'])),
      ...input.memory,
    },
    underWay: new Set(input.underWay ?? []),
    now: input.now ?? now,
    options: {
      backoff: defaultBackoff,
      networkError: undefined,
      runtimeName: 'fake',
      hostIps: ['192.0.2.7'],
      agentStartedAt: 0,
      ...input.options,
    },
  });
}

/** The planned actions, each as one line that shows every field. */
export function actions(input: PlanCase = {}): readonly string[] {
  return plan(input).actions.map(show);
}

function show(action: Action): string {
  switch (action.type) {
    case 'CreatePodCgroup':
      return `CreatePodCgroup${action.hasRunning ? ' of what runs' : ''}`;
    case 'SetUpVolumes':
    case 'RefreshVolumes':
    case 'TearDownVolumes':
    case 'RemovePodFolder':
    case 'RemovePodCgroup':
      return action.type;
    case 'RunPodSandbox':
      return `RunPodSandbox ${action.attempt}`;
    case 'StopPodSandbox':
    case 'RemovePodSandbox':
      return `${action.type} ${action.sandboxId}`;
    case 'PullImage':
      return `PullImage ${action.container} for sandbox ${action.sandboxAttempt}`;
    case 'CreateContainer': {
      const { container, attempt, sandboxId, sandboxAttempt, podIps, imageRef, backoffMs, resizesPod = false } = action;
      const made = `CreateContainer ${container}/${attempt} in ${sandboxId}/${sandboxAttempt} [${podIps.join(' ')}] ${imageRef} after ${backoffMs ?? 'no'} ms`;
      return resizesPod ? `${made}, resizing the Pod` : made;
    }
    case 'ResizeContainers':
      return `ResizeContainers ${action.whole === undefined ? '' : `of ${JSON.stringify(action.whole)}: `}${action.changes.map(({ containerId, from, to }) => `${containerId} ${JSON.stringify(from)} → ${JSON.stringify(to)}`).join(', ')}`;
    case 'StartContainer':
      return `StartContainer ${action.containerId}`;
    case 'RunPostStart':
      return `RunPostStart ${action.containerId} ${JSON.stringify(action.handler)}`;
    case 'RunPreStop':
      return `RunPreStop ${action.containerId} ${action.timeoutSeconds} of ${action.gracePeriodSeconds} s ${JSON.stringify(action.handler)}: ${action.message}`;
    case 'StopContainer':
      return `StopContainer ${action.containerId} ${action.timeoutSeconds} of ${action.gracePeriodSeconds} s: ${action.message}`;
    case 'RemoveContainer':
      return `RemoveContainer ${action.containerId}${action.keepLogs ? '' : ' and logs'}`;
    default:
      return assertNever(action);
  }
}
