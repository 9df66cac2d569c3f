// Asks the runtime's streaming server for a connection of our own: an upgrade request to a single-use URL → a raw socket,
// or the refusal as the client has to see it (H-245, H-247).
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { messageOf } from '../../std/errors.ts';
import { writeResponse } from '../listener.ts';

export interface UpgradeRequest {
  readonly target: URL;
  readonly method: string;
  /** Repeated names stay repeated. `Host` and `Content-Length` are added. */
  readonly headers: readonly (readonly [string, string])[];
}

export type UpgradeAnswer =
  | { readonly kind: 'switched'; readonly response: IncomingMessage; readonly socket: Socket; readonly head: Buffer }
  | { readonly kind: 'refused'; readonly refusal: Refusal };

export interface Refusal {
  readonly code: number;
  readonly text: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Buffer;
}

const dialTimeoutMs = 30_000;

/** Never rejects: what goes wrong is a refusal. `client` closing ends the call. */
export function requestUpgrade({ target, method, headers }: UpgradeRequest, client: Duplex): Promise<UpgradeAnswer> {
  return new Promise((resolve) => {
    const call = httpRequest(target, {
      method,
      headers: [...headers, ['Host', target.host], ['Content-Length', '0']].flat(),
      // Half-open: what the runtime still has to say after the client's end must arrive, and the other way round.
      createConnection: () => connect({ host: target.hostname, port: Number(target.port), allowHalfOpen: true, noDelay: true }),
      timeout: dialTimeoutMs,
    });
    const onClose = (): void => void call.destroy();
    const settle = (answer: UpgradeAnswer): void => {
      client.off('close', onClose);
      resolve(answer);
    };
    call.on('upgrade', (response, socket: Socket, head) => {
      socket.setTimeout(0);
      // Nothing may be thrown between now and the moment somebody takes the socket.
      socket.on('error', () => undefined);
      settle({ kind: 'switched', response, socket, head });
    });
    call.on('response', (response) => {
      readRefusal(response).then(
        (refusal) => settle({ kind: 'refused', refusal }),
        (error: unknown) => settle({ kind: 'refused', refusal: failure(messageOf(error)) }),
      );
    });
    call.on('timeout', () => call.destroy(new DOMException('the runtime does not answer', 'TimeoutError')));
    call.on('error', (error) => settle({ kind: 'refused', refusal: failure(`error dialing the container runtime: ${messageOf(error)}`) }));
    client.once('close', onClose);
    call.end();
  });
}

/** Answers an upgrade request with what the runtime said instead of switching. */
export function writeRefusal(socket: Duplex, { code, text, headers, body }: Refusal): void {
  writeResponse(socket, code, text, headers, body);
}

function failure(message: string): Refusal {
  const status = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason: 'InternalError', code: 500 };
  return {
    code: 500,
    text: 'Internal Server Error',
    headers: { 'Content-Type': 'application/json' },
    body: `${JSON.stringify(status)}\n`,
  };
}

const maxRefusalBytes = 64 * 1024;

async function readRefusal(response: IncomingMessage): Promise<Refusal> {
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
    const body = `invalid upgrade response: status code ${code}`;
    return { code: 500, text: 'Internal Server Error', headers: { 'Content-Type': 'text/plain' }, body };
  }
  const headers: Record<string, string> = {};
  for (const name of ['content-type', 'retry-after', 'x-accepted-stream-protocol-versions']) {
    const value = response.headers[name];
    if (value !== undefined) headers[name] = String(value);
  }
  return { code, text: response.statusMessage ?? '', headers, body: Buffer.concat(parts) };
}
