// What another version of a manifest would do to this machine: the planner is asked, and nothing is acted on (`pinpod
// diff`). In: the Pod as it is desired now and would be, and what the runtime has of it. Out: words a person reads.
import { type FieldChange, fieldChanges } from '../api/field-changes.ts';
import { allContainers, annotationKeys, type Pod } from '../api/pod.ts';
import type { Instant } from '../std/clock.ts';
import type { Plan, PlanOptions } from './draft.ts';
import { newestContainer, type ObservedPod } from './observation.ts';
import { planPod } from './plan.ts';
import { noProbeResults } from './probe-results.ts';
import { qosClass } from './resources.ts';
import { decideSandbox } from './sandbox-decision.ts';
import { gracePeriodSeconds } from './stop.ts';
import { emptyMemory } from './work.ts';

/**
 * `new`: it would start. `updated`: the running Pod is brought in line. `replaced`: it is ended as a whole, then its
 * successor starts. `removed`: it is ended.
 */
export type PodChange = 'unchanged' | 'new' | 'updated' | 'replaced' | 'removed';

/** `kept`: it runs on. `unaffected`: it does not run, and nothing begins for it. */
export type ContainerChange = 'kept' | 'restarted' | 'started' | 'stopped' | 'unaffected';

export interface ContainerForecast {
  readonly name: string;
  readonly change: ContainerChange;
  readonly reason?: string;
}

export interface PodForecast {
  readonly change: PodChange;
  /** Why a Pod is replaced, or what else is to be known. */
  readonly reasons: readonly string[];
  readonly fields: readonly FieldChange[];
  readonly containers: readonly ContainerForecast[];
}

export interface ForecastInput {
  readonly current: Pod | undefined;
  readonly wanted: Pod | undefined;
  /** Of `current`. */
  readonly observed: ObservedPod;
  /** The Pod has come to its own end and its worker rests (D4). */
  readonly isFinished: boolean;
  readonly now: Instant;
  readonly options: PlanOptions;
}

export function forecastPod(input: ForecastInput): PodForecast {
  const { current, wanted } = input;
  if (current === undefined || wanted === undefined) return comeOrGo(input);
  const fields = podFieldChanges(current, wanted);
  const isSameUid = current.metadata.uid === wanted.metadata.uid;
  if (isSameUid && fields.length === 0) return { change: 'unchanged', reasons: [], fields, containers: [] };
  if (!isSameUid) return replaced(input, fields, [whyAnotherPod(current, fields)]);
  const isAnotherSpec = fields.some(({ path }) => path.startsWith('spec.'));
  if (input.isFinished) {
    if (!isAnotherSpec) return { change: 'updated', reasons: ['the Pod has ended and stays so'], fields, containers: [] };
    return replaced(input, fields, ['the Pod has ended; with another spec it runs again from scratch']);
  }
  return updated(input, current, wanted, fields);
}

/** What a person wrote; what the agent adds is left out. */
function podFieldChanges(from: Pod, to: Pod): readonly FieldChange[] {
  const own: ReadonlySet<string> = new Set(Object.values(annotationKeys));
  const shown = ({ metadata, spec }: Pod): unknown => {
    const { uid: _uid, annotations, ...rest } = metadata;
    return { metadata: { ...rest, annotations: Object.fromEntries(Object.entries(annotations).filter(([key]) => !own.has(key))) }, spec };
  };
  return fieldChanges(shown(from), shown(to));
}

function comeOrGo({ current, wanted, observed }: ForecastInput): PodForecast {
  if (wanted !== undefined) {
    const containers = allContainers(wanted.spec).map(({ name }) => ({ name, change: 'started' as const }));
    return { change: 'new', reasons: [], fields: [], containers };
  }
  if (current === undefined) return { change: 'unchanged', reasons: [], fields: [], containers: [] };
  return { change: 'removed', reasons: [graceReason(current)], fields: [], containers: stopAll(current, observed) };
}

/** Every Pod whose manifest does not fix its UID is another Pod after every change (S-250, decision 0011). */
function whyAnotherPod(current: Pod, fields: readonly FieldChange[]): string {
  const grace = graceReason(current);
  if (fields.length > 0) return `the manifest does not fix metadata.uid, so a changed one is another Pod: ${grace}`;
  return `no field differs, but the UID does (another file, a default spelled out, or another metadata.uid): ${grace}`;
}

function graceReason(pod: Pod): string {
  return `the running one is stopped within ${gracePeriodSeconds(pod)} s of grace`;
}

function isRunning(observed: ObservedPod, name: string): boolean {
  return newestContainer(observed, name)?.state === 'running';
}

function stopAll(pod: Pod, observed: ObservedPod): readonly ContainerForecast[] {
  return allContainers(pod.spec).map(({ name }) => ({ name, change: isRunning(observed, name) ? 'stopped' : 'unaffected' }));
}

function replaced(input: ForecastInput, fields: readonly FieldChange[], reasons: readonly string[]): PodForecast {
  const { current, wanted, observed } = input;
  const before = current === undefined ? [] : stopAll(current, observed);
  const after = wanted === undefined ? [] : allContainers(wanted.spec);
  const gone = before.filter(({ name }) => !after.some((container) => container.name === name));
  const stays = after.map(({ name }): ContainerForecast => ({ name, change: isRunning(observed, name) ? 'restarted' : 'started' }));
  return { change: 'replaced', reasons, fields, containers: [...stays, ...gone] };
}

/** The Pod keeps its UID: what the planner would do next for the new version and would not for the old one. */
function updated(input: ForecastInput, current: Pod, wanted: Pod, fields: readonly FieldChange[]): PodForecast {
  const { observed } = input;
  const plan = planOf(input, wanted);
  if (plan.work.state !== 'sync') {
    const reasons = ['activeDeadlineSeconds has passed already, so that the Pod ends'];
    return { change: 'updated', reasons, fields, containers: stopAll(current, observed) };
  }
  const isNewSandbox = decideSandbox(wanted.spec, observed).kind === 'create' && decideSandbox(current.spec, observed).kind === 'keep';
  if (isNewSandbox) return replaced(input, fields, ['spec.hostNetwork changes, so the sandbox is made anew: every container restarts']);
  const [from, to] = [qosClass(current.spec), qosClass(wanted.spec)];
  if (from !== to && observed.sandboxes.length > 0)
    return replaced(input, fields, [`the QoS class becomes ${to} instead of ${from}, which is another cgroup: every container restarts`]);
  const before = planOf(input, current);
  const names = new Set([...allContainers(wanted.spec), ...allContainers(current.spec)].map(({ name }) => name));
  const containers = [...names].map((name): ContainerForecast => {
    const stop = actionFor(plan, name, ['StopContainer', 'RunPreStop']);
    const isWanted = allContainers(wanted.spec).some((container) => container.name === name);
    if (stop !== undefined && 'message' in stop && actionFor(before, name, ['StopContainer', 'RunPreStop']) === undefined)
      return { name, change: isWanted ? 'restarted' : 'stopped', reason: stop.message };
    const isResized = plan.actions.some(
      (action) => action.type === 'ResizeContainers' && action.changes.some(({ container }) => container === name),
    );
    if (isResized) return { name, change: 'kept', reason: 'its resources change while it runs' };
    if (isRunning(observed, name)) {
      const waits = fields.some(
        ({ path }) => path.startsWith(`spec.containers[${name}]`) || path.startsWith(`spec.initContainers[${name}]`),
      );
      return { name, change: 'kept', ...(waits ? { reason: 'its new definition counts from its next start' } : {}) };
    }
    const starts = actionFor(plan, name, ['PullImage', 'CreateContainer', 'StartContainer']) !== undefined;
    return { name, change: starts ? 'started' : 'unaffected' };
  });
  const ofSandbox = fields.map(({ path }) => path).filter((path) => sandboxFields.test(path));
  const reasons =
    ofSandbox.length === 0 ? [] : [`counts only when the sandbox is made anew, which this does not cause: ${ofSandbox.join(', ')}`];
  return { change: 'updated', reasons, fields, containers };
}

/** Fields that go into the sandbox's request and nowhere else. */
const sandboxFields =
  /^spec\.(hostname|hostnameOverride|subdomain|setHostnameAsFQDN|dns|hostPID|hostIPC|hostUsers|shareProcessNamespace|runtimeClassName|overhead|securityContext\.sysctls|(containers|initContainers)\[[^\]]*\]\.ports)/;

/** Whether what the runtime has of the Pod shows that it is over: it ended by itself, or its time was up. */
export function isOver(pod: Pod, input: Pick<ForecastInput, 'observed' | 'now' | 'options'>): boolean {
  return planOf(input, pod).work.state !== 'sync';
}

function planOf(
  { current, observed, now, options }: Pick<ForecastInput, 'observed' | 'now' | 'options'> & { readonly current?: Pod | undefined },
  pod: Pod,
): Plan {
  const startTime = observed.sandboxes.length === 0 ? now : Math.min(...observed.sandboxes.map(({ createdAt }) => createdAt));
  return planPod({
    pod,
    work: { state: 'sync' },
    observed,
    probes: noProbeResults,
    memory: { ...emptyMemory, startTime, cgroupReady: true, volumesReady: true, podGiven: current?.spec.resources ?? {} },
    underWay: new Set(),
    now,
    options,
  });
}

function actionFor(plan: Plan, container: string, types: readonly Plan['actions'][number]['type'][]): Plan['actions'][number] | undefined {
  return plan.actions.find((action) => types.includes(action.type) && 'container' in action && action.container === container);
}
