// Hands an upgraded connection on to the runtime's streaming server, byte for byte (H-247, H-253): the handshake is
// repeated there, its answer is copied back, then both directions flow with back-pressure and half-close.
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { messageOf } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import { writeResponse } from './listener.ts';

export interface PassThroughRequest {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  /** What of the stream came together with the request. */
  readonly head: Buffer;
  /** The runtime's single-use URL. */
  readonly target: URL;
}

/** Headers of the client that are nobody's business behind this server. */
const dropped = new Set(['authorization', 'host', 'cookie', 'content-length']);
const dialTimeoutMs = 30_000;

/**
 * Resolves when both sides are closed. Every failure ends up as an answer or as a closed connection, never as an
 * exception; the signal's abort closes both.
 */
export async function passThrough(
  { request, socket, head, target }: PassThroughRequest,
  deps: { readonly log: Logger; readonly signal: AbortSignal },
): Promise<void> {
  const upstream = await handshake(request, target, socket);
  if (upstream === undefined) return;
  await pipeBoth({ socket, head }, upstream, deps.signal);
}

interface Upstream {
  readonly socket: Socket;
  readonly head: Buffer;
}

/** Repeats the client's upgrade at the runtime. Undefined when it was refused: the client has its answer then. */
function handshake(request: IncomingMessage, target: URL, socket: Duplex): Promise<Upstream | undefined> {
  const headers: [string, string][] = [];
  for (let i = 0; i + 1 < request.rawHeaders.length; i += 2) {
    const [name = '', value = ''] = [request.rawHeaders[i], request.rawHeaders[i + 1]];
    if (!dropped.has(name.toLowerCase())) headers.push([name, value]);
  }
  return new Promise((resolve) => {
    const call = httpRequest(target, {
      method: request.method ?? 'POST',
      // Repeated headers (X-Stream-Protocol-Version) stay repeated in this form.
      headers: [...headers, ['Host', target.host], ['Content-Length', '0']].flat(),
      // Half-open: what the runtime still has to say after the client's end must arrive, and the other way round.
      createConnection: () => connect({ host: target.hostname, port: Number(target.port), allowHalfOpen: true }),
      timeout: dialTimeoutMs,
    });
    const fail = (message: string): void => {
      const status = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason: 'InternalError', code: 500 };
      writeResponse(socket, 500, 'Internal Server Error', { 'Content-Type': 'application/json' }, `${JSON.stringify(status)}\n`);
      resolve(undefined);
    };
    call.on('upgrade', (response, upstreamSocket: Socket, upstreamHead) => {
      upstreamSocket.setTimeout(0);
      socket.write(responseHead(response));
      resolve({ socket: upstreamSocket, head: upstreamHead });
    });
    call.on('response', (response) => {
      relayRefusal(response, socket).then(
        () => resolve(undefined),
        (error: unknown) => fail(messageOf(error)),
      );
    });
    call.on('timeout', () => call.destroy(new DOMException('the runtime does not answer', 'TimeoutError')));
    call.on('error', (error) => fail(`error dialing the container runtime: ${messageOf(error)}`));
    socket.once('close', () => call.destroy());
    call.end();
  });
}

function responseHead(response: IncomingMessage): string {
  const lines = [`HTTP/1.1 ${response.statusCode ?? 101} ${response.statusMessage ?? 'Switching Protocols'}`];
  for (let i = 0; i + 1 < response.rawHeaders.length; i += 2) lines.push(`${response.rawHeaders[i]}: ${response.rawHeaders[i + 1]}`);
  return `${lines.join('\r\n')}\r\n\r\n`;
}

const maxRefusalBytes = 64 * 1024;

async function relayRefusal(response: IncomingMessage, socket: Duplex): Promise<void> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of response) {
    const bytes = part as Buffer;
    size += bytes.length;
    if (size > maxRefusalBytes) break;
    parts.push(bytes);
  }
  const code = response.statusCode ?? 500;
  // Anything that is neither a switch nor an error would be taken for success by the client.
  if (code < 400) {
    writeResponse(socket, 500, 'Internal Server Error', { 'Content-Type': 'text/plain' }, `invalid upgrade response: status code ${code}`);
    return;
  }
  const headers: Record<string, string> = {};
  for (const name of ['content-type', 'retry-after', 'x-accepted-stream-protocol-versions']) {
    const value = response.headers[name];
    if (value !== undefined) headers[name] = String(value);
  }
  writeResponse(socket, code, response.statusMessage ?? '', headers, Buffer.concat(parts));
}

/** Both directions until both ended. A half-close is passed on; an error of one side destroys the other. */
function pipeBoth(client: { readonly socket: Duplex; readonly head: Buffer }, upstream: Upstream, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const sockets = [client.socket, upstream.socket];
    let open = sockets.length;
    const destroyAll = (): void => {
      for (const socket of sockets) socket.destroy();
    };
    signal.addEventListener('abort', destroyAll, { once: true });
    if (signal.aborted) destroyAll();
    const closed = (): void => {
      open -= 1;
      if (open > 0) return;
      signal.removeEventListener('abort', destroyAll);
      resolve();
    };
    for (const socket of sockets) {
      socket.on('error', destroyAll);
      if (socket.destroyed) closed();
      else socket.once('close', closed);
    }
    // A side that closed without having ended takes the other one with it.
    client.socket.once('close', () => upstream.socket.destroySoon());
    upstream.socket.once('close', () => {
      if (client.socket.writable) client.socket.end();
    });
    if (upstream.head.length > 0) client.socket.write(upstream.head);
    if (client.head.length > 0) upstream.socket.write(client.head);
    client.socket.pipe(upstream.socket);
    upstream.socket.pipe(client.socket);
  });
}
