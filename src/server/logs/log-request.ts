// Which container, which of its runs, and how much of its log a request is about (H-202, H-255, H-256).
import type { ContainerStatus } from '../../api/gen/kubernetes.ts';
import type { Pod } from '../../api/pod.ts';
import { type Clock, fromRfc3339, type Instant } from '../../std/clock.ts';
import { AgentError } from '../../std/errors.ts';

/** The request cannot be answered with a log: the message is for the user, in Kubernetes' words. */
export class LogUnavailable extends AgentError {
  constructor(message: string) {
    super('log-unavailable', message);
  }
}

export interface LogSelection {
  readonly follow: boolean;
  readonly previous: boolean;
  readonly timestamps: boolean;
  readonly tailLines: number | undefined;
  readonly limitBytes: number | undefined;
  readonly since: Instant | undefined;
  readonly stream: 'stdout' | 'stderr' | undefined;
}

export interface LogQuery {
  readonly follow: boolean;
  readonly previous: boolean;
  readonly timestamps: boolean;
  readonly tailLines: number | undefined;
  readonly limitBytes: number | undefined;
  readonly sinceSeconds: number | undefined;
  readonly sinceTime: string | undefined;
}

export interface LogProblem {
  readonly field: string;
  readonly reason: 'FieldValueInvalid' | 'FieldValueForbidden';
  readonly message: string;
}

/** H-255: everything that is wrong with the numbers. */
export function checkLogQuery(query: LogQuery): readonly LogProblem[] {
  const problems: LogProblem[] = [];
  const bad = (field: string, value: number | string, message: string): void => {
    problems.push({
      field,
      reason: 'FieldValueInvalid',
      message: `Invalid value: ${typeof value === 'number' ? value : JSON.stringify(value)}: ${message}`,
    });
  };
  if (query.tailLines !== undefined && query.tailLines < 0) bad('tailLines', query.tailLines, 'must be greater than or equal to 0');
  if (query.limitBytes !== undefined && query.limitBytes < 1) bad('limitBytes', query.limitBytes, 'must be greater than 0');
  if (query.sinceSeconds !== undefined && query.sinceTime !== undefined) {
    problems.push({
      field: '',
      reason: 'FieldValueForbidden',
      message: 'Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified',
    });
  } else if (query.sinceSeconds !== undefined && query.sinceSeconds < 1) {
    bad('sinceSeconds', query.sinceSeconds, 'must be greater than 0');
  } else if (query.sinceTime !== undefined && fromRfc3339(query.sinceTime) === undefined) {
    bad('sinceTime', query.sinceTime, 'must be a time in RFC 3339');
  }
  return problems;
}

export function toSelection(query: LogQuery, clock: Clock): LogSelection {
  const { sinceSeconds, sinceTime, ...rest } = query;
  const since =
    sinceSeconds !== undefined ? clock.now() - sinceSeconds * 1000 : sinceTime !== undefined ? fromRfc3339(sinceTime) : undefined;
  return { ...rest, since, stream: undefined };
}

/** Names of all containers, init first. */
const containerNames = (pod: Pod): readonly string[] =>
  [...(pod.spec.initContainers ?? []), ...pod.spec.containers, ...(pod.spec.ephemeralContainers ?? [])].map((c) => c.name);

/** The container a request means; throws LogUnavailable (a 400) when it means none or several (H-202). */
export function chooseContainer(pod: Pod, name: string): string {
  const names = containerNames(pod);
  if (name === '') {
    const only = pod.spec.containers.length === 1 && names.length === 1 ? names[0] : undefined;
    if (only !== undefined) return only;
    throw new LogUnavailable(`a container name must be specified for pod ${pod.metadata.name}, choose one of: [${names.join(' ')}]`);
  }
  if (!names.includes(name)) throw new LogUnavailable(`container ${name} is not valid for pod ${pod.metadata.name}`);
  return name;
}

export function statusOf(pod: Pod, container: string): ContainerStatus | undefined {
  const { status } = pod;
  return [
    ...(status?.initContainerStatuses ?? []),
    ...(status?.containerStatuses ?? []),
    ...(status?.ephemeralContainerStatuses ?? []),
  ].find((s) => s.name === container);
}

/** `containerd://abc` → `abc`; undefined for an empty id. */
export function plainId(containerId: string | undefined): string | undefined {
  if (containerId === undefined || containerId === '') return undefined;
  const at = containerId.indexOf('://');
  return at < 0 ? containerId : containerId.slice(at + 3);
}

/** The id of the run to read (H-256). Throws LogUnavailable in Kubernetes' words when there is none. */
export function chooseRun(pod: Pod, container: string, previous: boolean): string {
  const status = statusOf(pod, container);
  const what = `container ${JSON.stringify(container)} in pod ${JSON.stringify(pod.metadata.name)}`;
  const lastRun = plainId(status?.lastState?.terminated?.containerID);
  if (previous) {
    if (lastRun === undefined) throw new LogUnavailable(`previous terminated ${what} not found`);
    return lastRun;
  }
  if (status === undefined) throw new LogUnavailable(`${what} is not available`);
  const { running, terminated, waiting } = status.state ?? {};
  if (running !== undefined) {
    const id = plainId(status.containerID);
    if (id !== undefined) return id;
  }
  if (terminated !== undefined) {
    const id = plainId(terminated.containerID) ?? lastRun;
    if (id === undefined) throw new LogUnavailable(`${what} is terminated`);
    return id;
  }
  if (lastRun !== undefined) return lastRun;
  if (waiting !== undefined) {
    const why =
      waiting.reason === 'ErrImagePull'
        ? "image can't be pulled"
        : waiting.reason === 'ImagePullBackOff'
          ? 'trying and failing to pull image'
          : (waiting.reason ?? '');
    throw new LogUnavailable(`${what} is waiting to start: ${why}`);
  }
  throw new LogUnavailable(`${what} is waiting to start - no logs yet`);
}
