// One container's entry in the Pod's status, from its records, what was published before, and why it waits
// (spec 02, sections 8.3 and 10.2).
import type { Container, ContainerState, ContainerStateTerminated, ContainerStatus, PodStatus } from '../api/gen/kubernetes.ts';
import { allContainers, isSidecar, type Pod } from '../api/pod.ts';
import { toRfc3339 } from '../std/clock.ts';
import type { Draft } from './draft.ts';
import { criKeys, type ObservedContainer } from './observation.ts';
import { awaitsPostStart } from './post-start.ts';
import { actualResources, givenResources } from './resize.ts';
import { mayRetryInit, shouldStart } from './restart-policy.ts';
import { cutToShare, joinMessages } from './termination-message.ts';
import type { WaitingReason } from './work.ts';

export interface ContainerStatuses {
  readonly init: readonly ContainerStatus[];
  readonly regular: readonly ContainerStatus[];
}

/** `isEnding`: the Pod is being stopped, so nothing waits to be started any more. */
export function computeContainerStatuses(draft: Draft, pod: Pod, isEnding: boolean): ContainerStatuses {
  const of = (container: Container, isInit: boolean): ContainerStatus => containerStatus(draft, pod, container, isInit, isEnding);
  const regular = pod.spec.containers.map((container) => of(container, false));
  return {
    init: (pod.spec.initContainers ?? []).map((container) => of(container, true)),
    regular: regular.sort((a, b) => (a.name < b.name ? -1 : 1)), // L-458
  };
}

function previousStatus(status: PodStatus | undefined, name: string, isInit: boolean): ContainerStatus | undefined {
  const list = isInit ? status?.initContainerStatuses : status?.containerStatuses;
  return list?.find((candidate) => candidate.name === name);
}

function containerStatus(draft: Draft, pod: Pod, container: Container, isInit: boolean, isEnding: boolean): ContainerStatus {
  const { observed, memory } = draft.input;
  const records = observed.containers.filter((record) => record.name === container.name);
  const previous = previousStatus(memory.status, container.name, isInit);
  const status =
    records.length === 0 ? lostStatus(draft, pod, container, isInit, previous) : recordedStatus(draft, pod, container, records, previous);
  const waiting = isEnding ? undefined : waitingReason(draft, pod, container, records[0], isInit);
  if (waiting === undefined || status.state?.running !== undefined) return status;
  const terminated = status.state?.terminated;
  return {
    ...status,
    state: { waiting: { reason: waiting.reason, message: waiting.message } },
    ...(terminated === undefined ? {} : { lastState: { terminated } }),
  };
}

/** L-467: why a container that should be started is not. */
function waitingReason(
  draft: Draft,
  pod: Pod,
  container: Container,
  record: ObservedContainer | undefined,
  isInit: boolean,
): WaitingReason | undefined {
  const isWanted =
    isInit && !isSidecar(container)
      ? record?.state !== 'exited' || (record.exitCode !== 0 && mayRetryInit(pod.spec, container, record))
      : shouldStart(pod.spec, container, record);
  if (!isWanted) return undefined;
  return draft.waiting.get(container.name) ?? draft.input.memory.waiting.get(container.name);
}

function waitingDefault(pod: Pod): ContainerState {
  const hasInit = (pod.spec.initContainers ?? []).length > 0;
  return { waiting: { reason: hasInit ? 'PodInitializing' : 'ContainerCreating' } }; // L-459
}

function baseStatus(container: Container): Pick<ContainerStatus, 'name' | 'image' | 'imageID' | 'volumeMounts'> {
  const mounts = (container.volumeMounts ?? []).map((mount) => ({
    name: mount.name,
    mountPath: mount.mountPath,
    ...(mount.readOnly === true ? { readOnly: true, recursiveReadOnly: mount.recursiveReadOnly ?? 'Disabled' } : {}),
  }));
  return {
    name: container.name,
    image: container.image ?? '',
    imageID: '',
    ...(mounts.length === 0 ? {} : { volumeMounts: mounts }),
  };
}

/** The text for a container that was running and is not to be found any more (L-460, L-463). */
const lost = (message: string): ContainerStateTerminated => ({ exitCode: 137, reason: 'ContainerStatusUnknown', message });

/** No record: what was known before, else the state of a container never seen (L-459, L-463 … L-465). */
function lostStatus(draft: Draft, pod: Pod, container: Container, isInit: boolean, previous: ContainerStatus | undefined): ContainerStatus {
  const base = baseStatus(container);
  if (previous !== undefined && isRestartingAll(draft, previous)) return restartingStatus(previous);
  if (previous?.state?.terminated !== undefined) return previous;
  // Records of a sandbox that is gone tell nothing of this one's initialisation (L-137, C-230).
  const newest = draft.input.observed.sandboxes[0];
  const isInitialised = pod.spec.containers.some((regular) =>
    draft.input.observed.containers.some((record) => record.name === regular.name && record.sandboxId === newest?.id),
  );
  if (isInit && !isSidecar(container) && isInitialised) {
    const message = 'Unable to get init container status from container runtime and pod has been initialized, treat it as exited normally';
    return { ...base, ready: true, started: false, restartCount: 0, state: { terminated: { exitCode: 0, reason: 'Completed', message } } };
  }
  const state = waitingDefault(pod);
  if (previous?.state?.running !== undefined) {
    const message = 'The container could not be located when the pod was deleted.  The container used to be Running';
    return {
      ...base,
      ready: false,
      started: false,
      restartCount: previous.restartCount + 1,
      state,
      lastState: { terminated: lost(message) },
    };
  }
  return {
    ...base,
    ready: false,
    started: false,
    restartCount: previous?.restartCount ?? 0,
    state,
    lastState: previous?.lastState ?? {},
  };
}

/** Removed for a restart of all containers and not made again yet (L-466). */
export function awaitsRestartOfAll(status: ContainerStatus): boolean {
  return status.state?.waiting?.reason === restartingAll.reason;
}

const restartingAll = {
  reason: 'RestartingAllContainers',
  message: 'The container is removed because RestartAllContainers in place',
} as const;

/** Whether the records of a container that was seen before went with such a restart. */
function isRestartingAll(draft: Draft, previous: ContainerStatus): boolean {
  if (awaitsRestartOfAll(previous)) return true;
  const condition = draft.input.memory.status?.conditions?.find(({ type }) => type === 'AllContainersRestarting');
  return condition?.status === 'True' && previous.containerID !== undefined;
}

function restartingStatus(previous: ContainerStatus): ContainerStatus {
  if (awaitsRestartOfAll(previous)) return previous;
  return {
    ...previous,
    ready: false,
    started: false,
    restartCount: previous.restartCount + 1,
    state: { waiting: restartingAll },
    lastState: { terminated: { exitCode: 137, ...restartingAll } },
  };
}

/**
 * The last word on a Pod that is over: whatever is not known to have ended counts as lost, unless it never began (L-489).
 * `isInitialised`: its regular containers were to be started.
 */
export function finalStatuses({ init, regular }: ContainerStatuses, isInitialised: boolean): ContainerStatuses {
  const end = (status: ContainerStatus): ContainerStatus => {
    if (status.state?.terminated !== undefined) return status;
    const terminated = lost('The container could not be located when the pod was terminated');
    return { ...status, ready: false, started: false, state: { terminated } };
  };
  const hasBegun = (status: ContainerStatus): boolean => status.containerID !== undefined || status.lastState?.terminated !== undefined;
  return {
    init: init.map((status) => (hasBegun(status) ? end(status) : status)),
    regular: isInitialised ? regular.map(end) : regular,
  };
}

function recordedStatus(
  draft: Draft,
  pod: Pod,
  container: Container,
  records: readonly ObservedContainer[],
  previous: ContainerStatus | undefined,
): ContainerStatus {
  const { options } = draft.input;
  const [record, ...older] = records;
  if (record === undefined) return lostStatus(draft, pod, container, false, previous);
  const containerID = containerId(options.runtimeName, record);
  const state = recordedState(draft, pod, record, previous, containerID);
  const started = record.state === 'running' && hasStarted(draft, container, record, previous);
  const count = Number(record.annotations[criKeys.restartCount] ?? record.attempt);
  const restartCount = Math.max(Number.isInteger(count) ? count : record.attempt, previous?.restartCount ?? 0);
  const { user } = record;
  const { resources = {} } = container;
  const isRunning = record.state === 'running';
  const actual = isRunning ? actualResources(record, givenResources(record, draft.input.memory) ?? resources) : resources; // L-471
  return {
    ...baseStatus(container),
    resources: actual,
    ...(resources.requests === undefined ? {} : { allocatedResources: resources.requests }),
    image: record.image === '' ? (container.image ?? '') : record.image,
    imageID: record.imageRef,
    containerID,
    restartCount: state.terminated?.reason === 'ContainerStatusUnknown' && state !== previous?.state ? restartCount + 1 : restartCount,
    started,
    ready: isReady(draft, pod, container, record, started, previous),
    state,
    lastState: lastState(draft, older, previous, containerID),
    ...(user === undefined ? {} : { user: { linux: { uid: user.uid, gid: user.gid, supplementalGroups: user.supplementalGroups } } }),
    ...(record.stopSignal === undefined ? {} : { stopSignal: record.stopSignal }),
  };
}

/** L-460. */
function recordedState(
  draft: Draft,
  pod: Pod,
  record: ObservedContainer,
  previous: ContainerStatus | undefined,
  containerID: string,
): ContainerState {
  switch (record.state) {
    case 'running':
      return { running: { startedAt: toRfc3339(record.startedAt ?? record.createdAt) } };
    case 'exited':
      return { terminated: terminatedState(draft, record) };
    case 'created':
      return waitingDefault(pod);
    case 'unknown': {
      // L-472: what has ended does not begin again by being lost.
      if (previous?.state?.terminated !== undefined && previous.containerID === containerID) return previous.state;
      const wasRunning = previous?.state?.running !== undefined && previous.containerID === containerID;
      return wasRunning ? { terminated: lost('The container could not be located when the pod was terminated') } : waitingDefault(pod);
    }
  }
}

function terminatedState(draft: Draft, record: ObservedContainer): ContainerStateTerminated {
  const { memory, options, pod } = draft.input;
  const own = joinMessages(record.message, memory.terminationMessages.get(record.id) ?? '');
  const message = cutToShare(own, allContainers(pod.spec).length);
  return {
    exitCode: record.exitCode,
    reason: record.reason,
    ...(message === '' ? {} : { message }),
    ...(record.startedAt === undefined ? {} : { startedAt: toRfc3339(record.startedAt) }),
    ...(record.finishedAt === undefined ? {} : { finishedAt: toRfc3339(record.finishedAt) }),
    containerID: containerId(options.runtimeName, record),
  };
}

/** The run before: its record, else what was published of it (L-461, L-462). */
function lastState(
  draft: Draft,
  older: readonly ObservedContainer[],
  previous: ContainerStatus | undefined,
  containerID: string,
): ContainerState {
  const record = older.find((candidate) => candidate.state === 'exited');
  if (record !== undefined) return { terminated: terminatedState(draft, record) };
  const ended = previous?.state?.terminated;
  if (ended !== undefined && previous?.containerID !== containerID) return { terminated: ended };
  return previous?.lastState ?? {};
}

/** L-420. */
function hasStarted(draft: Draft, container: Container, record: ObservedContainer, previous: ContainerStatus | undefined): boolean {
  const { memory, underWay } = draft.input;
  if (container.lifecycle?.postStart !== undefined && awaitsPostStart(record, memory, underWay)) return false;
  const result = draft.input.probes.byContainerId.get(record.id)?.startup;
  if (result !== undefined) return result === 'success';
  if (previous?.started === true && previous.containerID === containerId(draft.input.options.runtimeName, record)) return true;
  return container.startupProbe === undefined;
}

/** L-421, L-422. Without a result yet, what was said of this very container stands (D2). */
function isReady(
  draft: Draft,
  pod: Pod,
  container: Container,
  record: ObservedContainer,
  started: boolean,
  previous: ContainerStatus | undefined,
): boolean {
  const isOrdinaryInit = (pod.spec.initContainers ?? []).includes(container) && !isSidecar(container);
  if (isOrdinaryInit) return record.state === 'exited' && record.exitCode === 0;
  if (!started) return false;
  if (container.readinessProbe === undefined) return true;
  const result = draft.input.probes.byContainerId.get(record.id)?.readiness;
  if (result !== undefined) return result === 'success';
  return previous?.ready === true && previous.containerID === containerId(draft.input.options.runtimeName, record);
}

function containerId(runtimeName: string, record: ObservedContainer): string {
  return `${runtimeName}://${record.id}`;
}
