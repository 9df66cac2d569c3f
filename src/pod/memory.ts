// How a Pod's memory changes with what was begun and what came of it. Pure, like the planner that reads it.
import type { Pod } from '../api/pod.ts';
import { allContainers } from '../api/pod.ts';
import type { Instant } from '../std/clock.ts';
import { assertNever } from '../std/errors.ts';
import { type Action, type ActionType, actionKey } from './action.ts';
import type { ObservedPod } from './observation.ts';
import type { PodMemory, WaitingReason } from './work.ts';

/** What came of an action: a value, also when it failed (STYLE section 6). */
export type ActionOutcome =
  | {
      readonly kind: 'done';
      /** Of PullImage. */
      readonly imageRef?: string;
      /** Of CreatePodCgroup: it was not there. */
      readonly wasMissing?: boolean;
    }
  | {
      readonly kind: 'failed';
      readonly message: string;
      /** Why the action's container is waiting, for its status (L-467). */
      readonly waiting?: WaitingReason;
      /** Not before this time; by default after a delay that grows with each failure in a row. */
      readonly retryAt?: Instant | undefined;
      /** The runtime went away in the midst of it: whether it was done is not known. */
      readonly isUnanswered?: boolean;
    };

/** The delay after the first failure of an action, doubling up to the longest, in milliseconds. */
const retry = { firstMs: 1_000, longestMs: 15_000 };
/** A container that could not be started is made anew; each is its own first failure. */
const startRetryMs = 10_000;

/** To be called when an action is begun: a kill counts its grace from here. */
export function rememberStart(memory: PodMemory, action: Action, now: Instant): PodMemory {
  if (action.type !== 'RunPreStop' && action.type !== 'StopContainer') return memory;
  const begun = memory.kills.get(action.containerId);
  const kill = {
    since: begun?.since ?? now,
    gracePeriodSeconds: action.gracePeriodSeconds,
    message: action.message,
    preStopDone: begun?.preStopDone ?? false,
  };
  return { ...memory, kills: new Map(memory.kills).set(action.containerId, kill) };
}

export function rememberOutcome(memory: PodMemory, pod: Pod, action: Action, outcome: ActionOutcome, now: Instant): PodMemory {
  const key = actionKey(action);
  const failures = new Map(memory.failures);
  if (outcome.kind === 'failed') {
    const { message, isUnanswered = false } = outcome;
    const count = (failures.get(key)?.count ?? 0) + 1;
    const isStart = action.type === 'StartContainer' && !isUnanswered;
    const delayMs = isStart ? startRetryMs : Math.min(retry.firstMs * 2 ** (count - 1), retry.longestMs);
    failures.set(key, { count, message, retryAt: outcome.retryAt ?? now + delayMs, ...(isUnanswered ? { isUnanswered } : {}) });
    return { ...failed({ ...memory, failures }, action), waiting: withReason(memory, action, outcome.waiting) };
  }
  failures.delete(key);
  return succeeded({ ...memory, failures }, pod, action, outcome, now);
}

function withReason(memory: PodMemory, action: Action, waiting: WaitingReason | undefined): PodMemory['waiting'] {
  return waiting === undefined || !('container' in action) ? memory.waiting : new Map(memory.waiting).set(action.container, waiting);
}

function failed(memory: PodMemory, action: Action): PodMemory {
  switch (action.type) {
    // The image may be gone by the next try; a hook that failed is not run again.
    case 'CreateContainer':
      return { ...memory, images: without(memory.images, action.container) };
    case 'RunPostStart':
      return { ...memory, postStart: new Map(memory.postStart).set(action.containerId, 'failed') };
    default:
      return memory;
  }
}

function succeeded(
  memory: PodMemory,
  pod: Pod,
  action: Action,
  { imageRef, wasMissing }: Extract<ActionOutcome, { kind: 'done' }>,
  now: Instant,
): PodMemory {
  switch (action.type) {
    case 'CreatePodCgroup':
      return {
        ...memory,
        cgroupReady: true,
        cgroupWasLost: memory.cgroupWasLost || (action.hasRunning && wasMissing === true),
        // The limits of a cgroup in use are left as they are.
        podGiven: (action.hasRunning && wasMissing !== true ? memory.podGiven : undefined) ?? pod.spec.resources ?? {},
      };
    case 'SetUpVolumes':
      return { ...memory, volumesReady: true, volumesRefreshedAt: now };
    case 'RefreshVolumes':
      return { ...memory, volumesRefreshedAt: now };
    case 'TearDownVolumes':
      return { ...memory, volumesReady: false, volumesRemoved: true };
    case 'RemovePodFolder':
      return { ...memory, folderRemoved: true };
    case 'RemovePodCgroup':
      return { ...memory, cgroupReady: false, cgroupRemoved: true };
    case 'StopPodSandbox':
      return { ...memory, cgroupWasLost: false, stoppedSandboxes: new Set(memory.stoppedSandboxes).add(action.sandboxId) };
    case 'PullImage':
      return imageRef === undefined ? memory : { ...memory, images: new Map(memory.images).set(action.container, imageRef) };
    case 'CreateContainer':
      // Every start asks for its image anew.
      return { ...memory, images: without(memory.images, action.container) };
    case 'StartContainer': {
      const container = allContainers(pod.spec).find((candidate) => candidate.name === action.container);
      const waiting = without(memory.waiting, action.container);
      if (container?.lifecycle?.postStart === undefined) return { ...memory, waiting };
      return { ...memory, waiting, postStart: new Map(memory.postStart).set(action.containerId, 'pending') };
    }
    case 'ResizeContainers': {
      const resized = new Map(memory.resized);
      for (const { containerId, to } of action.changes) resized.set(containerId, to);
      return { ...memory, resized, podGiven: action.whole ?? memory.podGiven };
    }
    case 'RunPostStart':
      return { ...memory, postStart: new Map(memory.postStart).set(action.containerId, 'done') };
    case 'RunPreStop': {
      const kill = memory.kills.get(action.containerId);
      return kill === undefined
        ? memory
        : { ...memory, kills: new Map(memory.kills).set(action.containerId, { ...kill, preStopDone: true }) };
    }
    case 'RemoveContainer':
      return {
        ...memory,
        kills: without(memory.kills, action.containerId),
        postStart: without(memory.postStart, action.containerId),
        terminationMessages: without(memory.terminationMessages, action.containerId),
      };
    case 'RunPodSandbox':
      return { ...memory, cgroupWasLost: false };
    case 'RemovePodSandbox':
    case 'StopContainer':
      return memory;
    default:
      return assertNever(action);
  }
}

/** Forgets what is known of records that the runtime does not have any more: memory must not grow with restarts (D7). */
export function forgetGone(memory: PodMemory, observed: ObservedPod): PodMemory {
  const ids = new Set([...observed.sandboxes, ...observed.containers].map(({ id }) => id));
  const isThere = (key: string): boolean => {
    const [type, id] = key.split('/');
    return !keyedById.has(type ?? '') || (id ?? '').split('+').every((one) => one === '' || ids.has(one));
  };
  return {
    ...memory,
    stoppedSandboxes: new Set([...memory.stoppedSandboxes].filter((id) => ids.has(id))),
    postStart: only(memory.postStart, (id) => ids.has(id)),
    kills: only(memory.kills, (id) => ids.has(id)),
    resized: only(memory.resized, (id) => ids.has(id)),
    terminationMessages: only(memory.terminationMessages, (id) => ids.has(id)),
    failures: only(memory.failures, isThere),
  };
}

const keyedById: ReadonlySet<string> = new Set<ActionType>([
  'StopPodSandbox',
  'RemovePodSandbox',
  'StartContainer',
  'RunPostStart',
  'RunPreStop',
  'StopContainer',
  'RemoveContainer',
  'ResizeContainers',
]);

function only<V>(map: ReadonlyMap<string, V>, isKept: (key: string) => boolean): ReadonlyMap<string, V> {
  return new Map([...map].filter(([key]) => isKept(key)));
}

function without<V>(map: ReadonlyMap<string, V>, key: string): ReadonlyMap<string, V> {
  const copy = new Map(map);
  copy.delete(key);
  return copy;
}
