// The status the world sees of one Pod: phase, conditions, containers, addresses (spec 02, section 10).
import type { ContainerStatus, PodCondition, PodStatus } from '../api/gen/kubernetes.ts';
import { allContainers, isSidecar, type Pod } from '../api/pod.ts';
import { toRfc3339 } from '../std/clock.ts';
import { type ContainerStatuses, computeContainerStatuses, finalStatuses } from './container-status.ts';
import type { Draft } from './draft.ts';
import { newestContainer } from './observation.ts';
import { type Phase, phaseOf } from './phase.ts';
import { deadlineMessage } from './plan-sync.ts';
import { pendingChange, pendingWhole } from './resize.ts';
import { podResources, qosClass } from './resources.ts';
import { matchingRule } from './restart-policy.ts';
import { decideSandbox } from './sandbox-decision.ts';
import type { PodWorkState } from './work.ts';

export function computeStatus(pod: Pod, work: PodWorkState, draft: Draft): PodStatus {
  const { memory, options, now } = draft.input;
  const isEnding = work.state !== 'sync';
  const computed = computeContainerStatuses(draft, pod, isEnding);
  const statuses = work.state === 'terminated' ? finalStatuses(computed, isInitialised(pod, computed)) : computed;
  const ended = endedBy(work);
  const natural = phaseOf(draft, pod, statuses);
  // A one-shot Pod that was ended in the middle has no natural end (L-126).
  const isCutShort = work.state === 'terminated' && work.cause.kind === 'completed';
  const isFailed = isDisrupted(work) || (natural !== 'Succeeded' && (ended !== undefined || isCutShort));
  const phase: Phase = isFailed ? 'Failed' : natural;
  const ips = podIps(pod, draft);
  const keepsReason = ended === undefined && memory.status?.phase === phase; // L-456
  const reason = ended?.reason ?? (keepsReason ? memory.status?.reason : undefined);
  const message = ended?.message ?? (keepsReason ? memory.status?.message : undefined);
  const init = statuses.init.length === 0 ? {} : { initContainerStatuses: statuses.init };
  const resources = podResources(pod.spec);
  const given = memory.podGiven === undefined ? resources : podResources({ ...pod.spec, resources: memory.podGiven });
  return {
    ...observedGeneration(pod),
    phase,
    conditions: conditions(pod, work, phase, statuses, draft),
    ...(reason === undefined ? {} : { reason }),
    ...(message === undefined ? {} : { message }),
    ...(options.hostIps[0] === undefined ? {} : { hostIP: options.hostIps[0], hostIPs: options.hostIps.map((ip) => ({ ip })) }),
    ...(ips[0] === undefined ? {} : { podIP: ips[0], podIPs: ips.map((ip) => ({ ip })) }),
    startTime: toRfc3339(memory.startTime ?? now),
    ...init,
    containerStatuses: statuses.regular,
    qosClass: qosClass(pod.spec),
    resources: given,
    ...(resources.requests === undefined ? {} : { allocatedResources: resources.requests }),
  };
}

/** Manifests seldom have one (L-483, L-488). */
function observedGeneration({ metadata: { generation = 0 } }: Pod): Pick<PodStatus, 'observedGeneration'> {
  return generation === 0 ? {} : { observedGeneration: generation };
}

/** It had not ended when it was asked to, however well its containers then exited (differs from S-471). */
function isDisrupted(work: PodWorkState): boolean {
  return (work.state === 'terminating' || work.state === 'terminated') && work.cause.kind === 'disrupted';
}

/** What a Pod that did not end by itself says of its end (L-492, L-498, L-505, L-508). */
function endedBy(work: PodWorkState): { readonly reason: string; readonly message: string } | undefined {
  if (work.state !== 'terminating' && work.state !== 'terminated') return undefined;
  switch (work.cause.kind) {
    case 'deadline':
      return { reason: 'DeadlineExceeded', message: deadlineMessage };
    case 'disrupted':
      return work.cause;
    case 'removed':
    case 'completed':
      return undefined;
  }
}

/** At most one address of each family, that of the first node address first (L-485); a host-network Pod has the node's (L-486). */
export function podIps(pod: Pod, draft: Draft): readonly string[] {
  const { observed, memory, options } = draft.input;
  const newest = observed.sandboxes[0];
  const sandboxIps = newest?.state === 'ready' ? newest.ips : memory.podIps;
  const all = pod.spec.hostNetwork === true ? options.hostIps : sandboxIps;
  const isV6 = (ip: string): boolean => ip.includes(':');
  const v4 = all.find((ip) => !isV6(ip));
  const v6 = all.find(isV6);
  const first = options.hostIps[0];
  const ordered = first !== undefined && isV6(first) ? [v6, v4] : [v4, v6];
  return ordered.filter((ip) => ip !== undefined);
}

type ConditionState = Pick<PodCondition, 'status'> & { readonly reason?: string; readonly message?: string };

const yes: ConditionState = { status: 'True' };
const no = (reason?: string, message?: string): ConditionState => ({
  status: 'False',
  ...(reason === undefined ? {} : { reason }),
  ...(message === undefined ? {} : { message }),
});

/** In the order of L-477. */
function conditions(pod: Pod, work: PodWorkState, phase: Phase, statuses: ContainerStatuses, draft: Draft): readonly PodCondition[] {
  const { memory, observed, now } = draft.input;
  const previous = memory.status?.conditions ?? [];
  const containersReady = containersReadyCondition(pod, phase, statuses);
  const states: [string, ConditionState][] = [];
  states.push(...resizeConditions(pod, work, draft));
  const disruption = disruptionCondition(work, previous);
  if (disruption !== undefined) states.push(['DisruptionTarget', disruption]);
  states.push(
    ['PodReadyToStartContainers', decideSandbox(pod.spec, observed).kind === 'keep' && work.state === 'sync' ? yes : no()],
    ['Initialized', initializedCondition(pod, phase, statuses, previous)],
    ['Ready', readyCondition(pod, containersReady, previous)],
    ['ContainersReady', containersReady],
    ['PodScheduled', yes],
  );
  const restarting = restartingCondition(pod, phase, draft);
  if (restarting !== undefined) states.push(['AllContainersRestarting', restarting]);
  return states.map(([type, state]) => {
    const before = previous.find((condition) => condition.type === type);
    const changedAt = before?.status === state.status ? before.lastTransitionTime : undefined; // L-483
    return { type, ...observedGeneration(pod), ...state, lastTransitionTime: changedAt ?? toRfc3339(now) };
  });
}

/** L-517, L-518: only while there is something to say. */
function resizeConditions(pod: Pod, work: PodWorkState, draft: Draft): [string, ConditionState][] {
  const { memory, observed } = draft.input;
  if (work.state !== 'sync') return [];
  const { resizePending } = memory;
  const states: [string, ConditionState][] = [];
  if (resizePending !== undefined) states.push(['PodResizePending', { status: 'True', ...resizePending }]);
  const isOfWhole = pendingWhole(pod, memory) !== undefined;
  const isInProgress =
    isOfWhole ||
    allContainers(pod.spec).some((container) => {
      const record = newestContainer(observed, container.name);
      return record?.state === 'running' && pendingChange(container, record, memory).length > 0;
    });
  if (!isInProgress) return states;
  const failure = [...memory.failures].find(([key]) => key.startsWith('ResizeContainers/'))?.[1];
  states.push(['PodResizeInProgress', { status: 'True', ...(failure === undefined ? {} : { reason: 'Error', message: failure.message }) }]);
  return states;
}

/** L-482: kept once set. */
function disruptionCondition(work: PodWorkState, previous: readonly PodCondition[]): ConditionState | undefined {
  if ((work.state === 'terminating' || work.state === 'terminated') && work.cause.kind === 'disrupted') {
    return { status: 'True', reason: 'TerminationByKubelet', message: work.cause.conditionMessage };
  }
  const before = previous.find((condition) => condition.type === 'DisruptionTarget');
  return before === undefined ? undefined : { status: before.status, reason: before.reason ?? '', message: before.message ?? '' };
}

function isInitialised(pod: Pod, { init, regular }: ContainerStatuses): boolean {
  const hasBegun = (s: ContainerStatus): boolean => s.containerID !== undefined || s.lastState?.terminated !== undefined;
  if (regular.some(hasBegun)) return true;
  return (pod.spec.initContainers ?? []).every((container) => {
    const status = init.find((candidate) => candidate.name === container.name);
    return isSidecar(container) ? status?.containerID !== undefined : status?.state?.terminated?.exitCode === 0;
  });
}

/** L-479. */
function initializedCondition(pod: Pod, phase: Phase, statuses: ContainerStatuses, previous: readonly PodCondition[]): ConditionState {
  const inits = pod.spec.initContainers ?? [];
  if (phase === 'Succeeded') return { status: 'True', reason: 'PodCompleted' };
  const hasStarted = (s: ContainerStatus): boolean =>
    s.state?.running !== undefined || s.state?.terminated !== undefined || s.lastState?.terminated !== undefined;
  if (inits.length === 0 || statuses.regular.some(hasStarted)) return yes;
  if (previous.some((condition) => condition.type === 'Initialized' && condition.status === 'True')) return yes;
  const incomplete = inits.filter((container) => {
    const status = statuses.init.find((candidate) => candidate.name === container.name);
    return isSidecar(container) ? status?.started !== true : status?.ready !== true;
  });
  if (incomplete.length === 0) return yes;
  return no('ContainersNotInitialized', `containers with incomplete status: [${incomplete.map((container) => container.name).join(' ')}]`);
}

/** L-480. */
function containersReadyCondition(pod: Pod, phase: Phase, statuses: ContainerStatuses): ConditionState {
  if (phase === 'Succeeded') return no('PodCompleted');
  if (phase === 'Failed') return no('PodFailed');
  const all = [...statuses.init, ...statuses.regular];
  const watched = [...(pod.spec.initContainers ?? []).filter(isSidecar), ...pod.spec.containers];
  const unready = watched.filter((container) => all.find((status) => status.name === container.name)?.ready !== true);
  if (unready.length === 0) return yes;
  return no('ContainersNotReady', `containers with unready status: [${unready.map((container) => container.name).join(' ')}]`);
}

/** L-481: readiness gates can be met only by somebody who writes conditions. */
function readyCondition(pod: Pod, containersReady: ConditionState, previous: readonly PodCondition[]): ConditionState {
  if (containersReady.status !== 'True') return containersReady;
  const unmet = (pod.spec.readinessGates ?? []).flatMap((gate) => {
    const condition = previous.find((candidate) => candidate.type === gate.conditionType);
    if (condition === undefined) return [`corresponding condition of pod readiness gate "${gate.conditionType}" does not exist.`];
    if (condition.status === 'True') return [];
    return [`the status of pod readiness gate "${gate.conditionType}" is not "True", but ${condition.status}`];
  });
  return unmet.length === 0 ? yes : no('ReadinessGatesNotReady', unmet.join(', '));
}

/** L-178: only for Pods that have such a rule. */
function restartingCondition(pod: Pod, phase: Phase, draft: Draft): ConditionState | undefined {
  const containers = allContainers(pod.spec);
  const hasRule = containers.some((container) =>
    (container.restartPolicyRules ?? []).some((rule) => rule.action === 'RestartAllContainers'),
  );
  if (!hasRule) return undefined;
  if (phase === 'Succeeded') return no('PodCompleted');
  if (phase === 'Failed') return no('PodFailed');
  const isUnderWay = containers.some((container) => {
    const record = draft.input.observed.containers.find((candidate) => candidate.name === container.name);
    return record?.state === 'exited' && matchingRule(container, record.exitCode) === 'RestartAllContainers';
  });
  return isUnderWay
    ? { status: 'True', reason: 'RestartAllContainersStarted', message: 'container exited with restart policy rule' }
    : no();
}
