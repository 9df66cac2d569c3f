// Hands an upgraded connection on to the runtime's streaming server, byte for byte (H-247, H-253): the handshake is
// repeated there, its answer is copied back, then both directions flow with back-pressure and half-close.
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { requestUpgrade, type UpgradeAnswer, writeRefusal } from './runtime-upgrade.ts';
import type { StreamRequest } from './stream-request.ts';

/** Headers of the client that are nobody's business behind this server. */
const dropped = new Set(['authorization', 'host', 'cookie', 'content-length']);

/**
 * Resolves when both sides are closed. Every failure ends up as an answer or as a closed connection, never as an
 * exception; the signal's abort closes both.
 */
export async function passThrough({ request, socket, head, target }: StreamRequest, signal: AbortSignal): Promise<void> {
  const headers: [string, string][] = [];
  for (let i = 0; i + 1 < request.rawHeaders.length; i += 2) {
    const [name = '', value = ''] = [request.rawHeaders[i], request.rawHeaders[i + 1]];
    if (!dropped.has(name.toLowerCase())) headers.push([name, value]);
  }
  const answer = await requestUpgrade({ target, method: request.method ?? 'POST', headers }, socket);
  if (answer.kind === 'refused') {
    writeRefusal(socket, answer.refusal);
    return;
  }
  socket.write(responseHead(answer.response));
  await pipeBoth({ socket, head }, answer, signal);
}

function responseHead(response: IncomingMessage): string {
  const lines = [`HTTP/1.1 ${response.statusCode ?? 101} ${response.statusMessage ?? 'Switching Protocols'}`];
  for (let i = 0; i + 1 < response.rawHeaders.length; i += 2) lines.push(`${response.rawHeaders[i]}: ${response.rawHeaders[i + 1]}`);
  return `${lines.join('\r\n')}\r\n\r\n`;
}

type Upstream = Extract<UpgradeAnswer, { kind: 'switched' }>;

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
