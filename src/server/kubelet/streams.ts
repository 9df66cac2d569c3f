// exec, attach and port-forward on the kubelet's port, in the form an API server asks for them (H-201, H-249): an
// upgrade request → the runtime's streaming server.
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Clock } from '../../std/clock.ts';
import { messageOf, RuntimeError } from '../../std/errors.ts';
import type { Logger } from '../../std/log.ts';
import type { Metrics } from '../../std/metrics.ts';
import { writeResponse } from '../listener.ts';
import { connectStream } from '../streams/connect-stream.ts';
import type { StreamTarget } from '../streams/stream-request.ts';
import { isWebSocket } from '../streams/web-socket.ts';
import type { User } from '../user.ts';
import type { PodsView, RuntimeView } from '../views.ts';
import { debugDisabled, findPod, findRunning, sameUid, type ToStaticUid } from './app.ts';
import type { KubeletAuth } from './auth.ts';

export interface KubeletStreamsDeps {
  readonly pods: PodsView;
  readonly runtime: RuntimeView;
  /** Undefined on a listener where nothing of this is allowed. */
  readonly auth: KubeletAuth | undefined;
  readonly enableDebuggingHandlers: boolean;
  readonly toStaticUid?: ToStaticUid | undefined;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

interface Refusal {
  readonly code: number;
  readonly message: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Owns the socket. Never throws for what a client did. */
export async function kubeletStream(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  user: User,
  deps: KubeletStreamsDeps,
): Promise<void> {
  const target = await resolve(request, user, deps);
  if ('url' in target) {
    if (isWebSocket(request)) countWebSocket(deps.metrics, target.purpose.kind);
    await connectStream({ request, socket, head, target: new URL(target.url) }, target.purpose, deps);
    return;
  }
  writeResponse(socket, target.code, 'Refused', { 'Content-Type': 'text/plain; charset=utf-8', ...target.headers }, target.message);
}

const refuse = (code: number, message: string): Refusal => ({ code, message });

async function resolve(request: IncomingMessage, user: User, deps: KubeletStreamsDeps): Promise<StreamTarget | Refusal> {
  let url: URL;
  let segments: readonly string[];
  try {
    url = new URL(request.url ?? '/', 'http://localhost');
    segments = url.pathname.split('/').slice(1).map(decodeURIComponent);
  } catch {
    return refuse(400, 'the path is not valid');
  }
  const [kind = '', namespace = '', pod = '', third, fourth, ...rest] = segments;
  const isContainerStream = (kind === 'exec' || kind === 'attach') && third !== undefined;
  if (rest.length > 0 || (!isContainerStream && kind !== 'portForward')) return refuse(404, '404 page not found\n');
  const authorization = await deps.auth?.authorize(user, request.method ?? '', url.pathname, deps.signal);
  if (authorization?.allowed === false) return refuse(authorization.code, authorization.message);
  if (deps.auth === undefined || !deps.enableDebuggingHandlers) return refuse(405, `${debugDisabled}\n`);
  try {
    if (kind === 'portForward') {
      // The legacy WebSocket protocol has no other place for them (H-232).
      const ports = isWebSocket(request) ? url.searchParams.getAll('port').map(Number) : [];
      if (!ports.every((port) => Number.isInteger(port) && port > 0 && port < 65536)) return refuse(400, 'invalid port');
      return await portForward({ namespace, pod, uid: third, ports }, deps);
    }
    const target = fourth === undefined ? { uid: undefined, container: third ?? '' } : { uid: third, container: fourth };
    return await containerStream(kind === 'exec' ? 'exec' : 'attach', { namespace, pod, ...target }, url.searchParams, deps);
  } catch (error) {
    if (error instanceof RuntimeError && error.code === 'not-found') return refuse(404, error.message);
    if (error instanceof RuntimeError && error.code === 'resource-exhausted')
      return { code: 429, message: error.message, headers: { 'Retry-After': '60' } };
    deps.log.warn('a stream could not be opened', { path: url.pathname, error: messageOf(error) });
    return refuse(500, messageOf(error));
  }
}

async function portForward(
  {
    namespace,
    pod,
    uid,
    ports,
  }: { readonly namespace: string; readonly pod: string; readonly uid: string | undefined; readonly ports: readonly number[] },
  deps: KubeletStreamsDeps,
): Promise<StreamTarget | Refusal> {
  const { toStaticUid = sameUid } = deps;
  const found = findPod(deps.pods, namespace, pod);
  if (found === undefined) return refuse(404, 'pod does not exist');
  if (uid !== undefined && uid !== '' && toStaticUid(uid) !== found.metadata.uid) return refuse(404, 'pod not found');
  const url = await deps.runtime.portForward({ podUid: found.metadata.uid, ports }, { signal: deps.signal });
  return url === undefined
    ? refuse(500, `pod not found (${JSON.stringify(`${pod}_${namespace}`)})`)
    : { url, purpose: { kind: 'portforward' } };
}

async function containerStream(
  kind: 'exec' | 'attach',
  target: { readonly namespace: string; readonly pod: string; readonly uid: string | undefined; readonly container: string },
  query: URLSearchParams,
  deps: KubeletStreamsDeps,
): Promise<StreamTarget | Refusal> {
  const flag = (name: string): boolean => query.get(name) === '1';
  const tty = flag('tty');
  const streams = { tty, stdin: flag('input'), stdout: flag('output'), stderr: flag('error') && !tty };
  if (!streams.stdin && !streams.stdout && !streams.stderr) return refuse(400, 'you must specify at least 1 of stdin, stdout, stderr');
  const found = findRunning(deps.pods, target, deps.toStaticUid ?? sameUid);
  if (!found.ok) {
    const isGone = kind === 'attach' && found.code === 500;
    return refuse(found.code, isGone ? `container ${target.container} not found in pod ${target.pod}_${target.namespace}` : found.message);
  }
  const { containerId, pod } = found;
  if (kind === 'exec') {
    const command = query.getAll('command');
    return { url: await deps.runtime.exec({ ...streams, containerId, command }, { signal: deps.signal }), purpose: { kind, streams } };
  }
  const spec = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])].find((c) => c.name === target.container);
  const hasTty = spec?.tty ?? false;
  const attached = { ...streams, tty: hasTty, stderr: flag('error') && !hasTty };
  const url = await deps.runtime.attach({ ...attached, containerId }, { signal: deps.signal });
  return { url, purpose: { kind, streams: attached } };
}

/** H-388. */
function countWebSocket(metrics: Metrics, subresource: string): void {
  metrics
    .counter({
      name: 'kubelet_websocket_streaming_requests_total',
      help: '[ALPHA] Streams over WebSocket that were asked for',
      labels: ['subresource'],
    })
    .inc({ subresource });
}
