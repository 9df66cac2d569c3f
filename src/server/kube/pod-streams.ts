// exec, attach and port-forward on the node's own API: an upgrade request for a Pod → the runtime's streaming server
// (sections 2.2 and 2.8).
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Pod } from '../../api/pod.ts';
import type { Clock } from '../../std/clock.ts';
import { AgentError, messageOf, RuntimeError } from '../../std/errors.ts';
import type { Logger } from '../../std/log.ts';
import { writeResponse } from '../listener.ts';
import { chooseContainer, LogUnavailable, plainId, statusOf } from '../logs/log-request.ts';
import { connectStream } from '../streams/connect-stream.ts';
import type { StreamTarget } from '../streams/stream-request.ts';
import { isWebSocket } from '../streams/web-socket.ts';
import { isAdministrator, type User } from '../user.ts';
import type { RuntimeView } from '../views.ts';
import { effectiveUser, notAllowed } from './access.ts';
import { ApiError, badRequest, internalError, notFound, unknownResource } from './api-error.ts';
import { booleanParameter } from './query.ts';

export interface PodStreamsDeps {
  readonly runtime: RuntimeView;
  /** The view of a Pod, for its existence and status. */
  pod(namespace: string, name: string): Pod | undefined;
  /** The static UID of the Pod, which the runtime knows it by. */
  staticUid(namespace: string, name: string): string | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** Nothing to connect to: answered as plain text, which kubectl prints whole (H-214). */
class NoStream extends AgentError {
  constructor(message: string) {
    super('no-stream', message);
  }
}

const podsName = { group: '', resource: 'pods', kind: 'Pod' } as const;
const pattern = /^\/api\/v1\/namespaces\/([^/]+)\/pods\/([^/]+)\/(exec|attach|portforward)\/?$/;

/** Answers the request on `socket`, which it owns. Never throws for what a client did. */
export async function podStream(request: IncomingMessage, socket: Duplex, head: Buffer, user: User, deps: PodStreamsDeps): Promise<void> {
  try {
    const target = await resolveTarget(request, user, deps);
    await connectStream({ request, socket, head, target: new URL(target.url) }, target.purpose, deps);
  } catch (error) {
    if (error instanceof NoStream) {
      writeResponse(socket, 500, 'Internal Server Error', { 'Content-Type': 'text/plain; charset=utf-8' }, error.message);
      return;
    }
    const { status } = toApiError(error);
    deps.log.debug('stream refused', { path: request.url, code: status.code, error: messageOf(error) });
    writeResponse(socket, status.code, status.reason ?? 'Error', { 'Content-Type': 'application/json' }, `${JSON.stringify(status)}\n`);
  }
}

function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof LogUnavailable) return badRequest(error.message, error);
  if (error instanceof RuntimeError && error.code === 'not-found') return new ApiError(404, 'NotFound', error.message, {}, error);
  if (error instanceof RuntimeError && error.code === 'resource-exhausted')
    return new ApiError(429, 'TooManyRequests', error.message, {}, error);
  return internalError(messageOf(error), error);
}

async function resolveTarget(request: IncomingMessage, caller: User, deps: PodStreamsDeps): Promise<StreamTarget> {
  const url = parseUrl(request.url ?? '/');
  const user = effectiveUser(caller);
  if (!isAdministrator(user)) throw notAllowed(user, 'POST', url.pathname, url.searchParams);
  const match = pattern.exec(url.pathname);
  if (match === null) throw unknownResource();
  const [namespace = '', name = '', kind = ''] = match.slice(1).map(decode);
  if (request.method !== 'GET' && request.method !== 'POST') throw badRequest('Upgrade request required');
  const pod = deps.pod(namespace, name);
  if (pod === undefined) throw notFound(podsName, name);
  const { signal } = deps;
  if (kind === 'portforward') {
    const uid = deps.staticUid(namespace, name);
    const ports = isWebSocket(request) ? portsOf(url.searchParams) : [];
    const found = uid === undefined ? undefined : await deps.runtime.portForward({ podUid: uid, ports }, { signal });
    if (found === undefined) throw new NoStream(`pod not found (${JSON.stringify(`${name}_${namespace}`)})`);
    return { url: found, purpose: { kind } };
  }
  const container = chooseContainer(pod, url.searchParams.get('container') ?? '');
  const flag = (key: string): boolean => booleanParameter(url.searchParams, key);
  const tty = flag('tty');
  const streams = { tty, stdin: flag('stdin'), stdout: flag('stdout'), stderr: flag('stderr') && !tty };
  if (!streams.stdin && !streams.stdout && !streams.stderr) throw badRequest('you must specify at least 1 of stdin, stdout, stderr');
  const status = statusOf(pod, container);
  const containerId = status?.state?.running === undefined ? undefined : plainId(status.containerID);
  if (containerId === undefined) throw new NoStream(`container not found (${JSON.stringify(container)})`);
  if (kind === 'exec') {
    const command = url.searchParams.getAll('command');
    if (command.length === 0) throw badRequest('you must specify a command');
    return { url: await deps.runtime.exec({ ...streams, containerId, command }, { signal }), purpose: { kind, streams } };
  }
  // Whether an attached container has a terminal is the container's matter, not the request's (H-246).
  const spec = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])].find((c) => c.name === container);
  const hasTty = spec?.tty ?? false;
  const attached = { ...streams, tty: hasTty, stderr: flag('stderr') && !hasTty };
  return { url: await deps.runtime.attach({ ...attached, containerId }, { signal }), purpose: { kind: 'attach', streams: attached } };
}

/** `ports=80,90` or repeated: for WebSocket clients whose protocol has no place for them (H-232). */
function portsOf(query: URLSearchParams): readonly number[] {
  const texts = query.getAll('ports').flatMap((text) => text.split(','));
  return texts.map((text) => {
    const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
    if (port < 1 || port > 65535) throw badRequest(`invalid port ${JSON.stringify(text)}: it must be between 1 and 65535`);
    return port;
  });
}

function parseUrl(text: string): URL {
  try {
    return new URL(text, 'http://localhost');
  } catch (error) {
    throw badRequest('the path is not valid', error);
  }
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch (error) {
    throw badRequest('the path is not valid', error);
  }
}
