// GET …/pods/NAME/log (section 2.9).
import { access } from 'node:fs/promises';
import type { Pod } from '../../api/pod.ts';
import { type Clock, fromRfc3339 } from '../../std/clock.ts';
import { AgentError, systemCode } from '../../std/errors.ts';
import { readLog } from '../logs/log-reader.ts';
import {
  checkLogQuery,
  chooseContainer,
  chooseRun,
  type LogQuery,
  type LogSelection,
  LogUnavailable,
  toSelection,
} from '../logs/log-request.ts';
import type { RuntimeView } from '../views.ts';
import { type ApiError, badRequest, type FieldProblem, invalid } from './api-error.ts';
import { booleanParameter, integerParameter } from './query.ts';

export function parseLogQuery(query: URLSearchParams, clock: Clock, podName: string): LogSelection {
  const sinceTime = query.get('sinceTime') ?? '';
  if (sinceTime !== '' && fromRfc3339(sinceTime) === undefined) {
    throw badRequest(`parsing time ${JSON.stringify(sinceTime)} as "2006-01-02T15:04:05Z07:00": it is no time in RFC 3339`);
  }
  const parsed: LogQuery = {
    follow: booleanParameter(query, 'follow'),
    previous: booleanParameter(query, 'previous'),
    timestamps: booleanParameter(query, 'timestamps'),
    tailLines: integerParameter(query, 'tailLines'),
    limitBytes: integerParameter(query, 'limitBytes'),
    sinceSeconds: integerParameter(query, 'sinceSeconds'),
    sinceTime: sinceTime === '' ? undefined : sinceTime,
  };
  const problems: FieldProblem[] = [...checkLogQuery(parsed)];
  const stream = query.get('stream');
  if (stream !== null && stream !== 'All' && stream !== 'Stdout' && stream !== 'Stderr') {
    problems.push({
      field: 'stream',
      reason: 'FieldValueNotSupported',
      message: `Unsupported value: ${JSON.stringify(stream)}: supported values: "All", "Stderr", "Stdout"`,
    });
  }
  if (problems.length > 0) throw invalid('PodLogOptions', '', podName, problems);
  return { ...toSelection(parsed, clock), stream: stream === 'Stdout' ? 'stdout' : stream === 'Stderr' ? 'stderr' : undefined };
}

export interface PodLogDeps {
  readonly runtime: RuntimeView;
  readonly clock: Clock;
}

export interface PodLogRequest {
  readonly pod: Pod;
  /** Empty: the only one. */
  readonly container: string;
  readonly selection: LogSelection;
}

/** Finds the file first, so that what is wrong becomes an answer and not a broken stream; then gives its bytes. */
export async function openPodLog(
  request: PodLogRequest,
  deps: PodLogDeps,
  signal: AbortSignal,
): Promise<(signal: AbortSignal) => AsyncIterable<Uint8Array>> {
  const { pod, selection } = request;
  const container = chooseContainer(pod, request.container);
  const id = chooseRun(pod, container, selection.previous);
  const instance = await deps.runtime.container(id, { signal });
  if (instance === undefined)
    throw new LogUnavailable(`unable to retrieve container logs for ${id}: the runtime no longer has this container`);
  try {
    await access(instance.logPath);
  } catch (error) {
    throw new AgentError(
      'log-not-found',
      `unable to retrieve container logs for ${id}: ${systemCode(error) ?? 'cannot open the log file'}`,
      { cause: error },
    );
  }
  const options = { ...selection, path: instance.logPath, follow: selection.follow && instance.running };
  const isRunning = async (callSignal: AbortSignal): Promise<boolean> => {
    try {
      return (await deps.runtime.container(id, { signal: callSignal }))?.running ?? false;
    } catch (error) {
      // A runtime that cannot be asked says nothing about the container (H-261e).
      if (error instanceof AgentError) return true;
      throw error;
    }
  };
  return (streamSignal) => readLog(options, { clock: deps.clock, isRunning }, streamSignal);
}

/** What a failed log request is answered with; undefined when the failure is none of the log's. */
export function toLogError(error: unknown): ApiError | undefined {
  if (error instanceof LogUnavailable || (error instanceof AgentError && error.code === 'log-not-found'))
    return badRequest(error.message, error);
  return undefined;
}
