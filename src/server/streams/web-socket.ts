// The server's side of one WebSocket, with back-pressure both ways: messages are taken no faster than their handler, and
// sending waits for the client.
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { Duplex, Writable } from 'node:stream';
import { type RawData, type WebSocket, WebSocketServer } from 'ws';
import type { Clock } from '../../std/clock.ts';
import { AgentError } from '../../std/errors.ts';

export interface Opening {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
}

/** The largest message a client may send; kubectl's are 32 KiB. */
const maxMessageBytes = 16 << 20;
/** kubectl's buffer (H-226). */
const maxSentBytes = 32 * 1024;
/** Clients give up on a server they have not heard of for a minute (H-226). */
const lifeSignMs = 10_000;

export const closeCodes = { normal: 1000, goingAway: 1001, unsupportedData: 1003 } as const;

/** The subprotocols a client offers, in its order. */
export function offeredProtocols(request: IncomingMessage): readonly string[] {
  return (request.headers['sec-websocket-protocol'] ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
}

export const isWebSocket = (request: IncomingMessage): boolean => (request.headers.upgrade ?? '').toLowerCase() === 'websocket';

/** Answers the handshake with `protocol`, which the client offered. Undefined: the handshake was wrong and is refused. */
export function acceptWebSocket(opening: Opening, protocol: string, clock: Clock): Promise<MessageStream | undefined> {
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: maxMessageBytes,
  });
  // The library takes only names that are HTTP tokens, and `SPDY/3.1+portforward.k8s.io` is none: it is chosen here.
  delete opening.request.headers['sec-websocket-protocol'];
  server.once('headers', (headers) => headers.push(`Sec-WebSocket-Protocol: ${protocol}`));
  return new Promise((resolve) => {
    opening.socket.once('close', () => resolve(undefined));
    server.once('wsClientError', (_error, socket) => {
      socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
      resolve(undefined);
    });
    server.handleUpgrade(opening.request, opening.socket, opening.head, (socket) => resolve(new MessageStream(socket, clock)));
  });
}

/** Writes; a promise for when more may be written, when that is not now. What a closed stream gets is dropped. */
export function writeTo(stream: Writable, data: Buffer): Promise<unknown> | undefined {
  if (!stream.writable || data.length === 0 || stream.write(data)) return undefined;
  return Promise.race([once(stream, 'drain'), once(stream, 'close')]);
}

export class MessageStream {
  /** Resolves when the connection is gone, whoever ended it. */
  readonly closed: Promise<void>;
  readonly #socket: WebSocket;
  #pending = 0;

  constructor(socket: WebSocket, clock: Clock) {
    this.#socket = socket;
    const life = new AbortController();
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        life.abort();
        resolve();
      });
    });
    socket.on('error', () => socket.terminate());
    this.#showLife(clock, life.signal).catch(() => undefined);
  }

  /** While a promise of `handler` is pending no further message is read. One that is no binary message ends the connection. */
  onMessage(handler: (bytes: Buffer) => Promise<unknown> | undefined): void {
    this.#socket.on('message', (data: RawData, isBinary) => {
      if (!isBinary || !Buffer.isBuffer(data)) {
        this.close(closeCodes.unsupportedData);
        return;
      }
      const pending = handler(data);
      if (pending !== undefined) this.#hold(pending);
    });
  }

  /** Sends `bytes` in messages that begin with `prefix`, as fast as the client takes them. Rejects when it is gone. */
  async send(bytes: Buffer, prefix: Buffer = Buffer.alloc(0)): Promise<void> {
    const size = maxSentBytes - prefix.length;
    for (let at = 0; at === 0 || at < bytes.length; at += size) {
      await this.#sendOne(Buffer.concat([prefix, bytes.subarray(at, at + size)]));
    }
  }

  close(code: number): void {
    this.#socket.close(code);
  }

  /** Without a farewell. */
  terminate(): void {
    this.#socket.terminate();
  }

  #sendOne(message: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.send(message, { binary: true }, (error) => {
        if (error === undefined || error === null) resolve();
        else reject(new AgentError('client-gone', 'the client is gone', { cause: error }));
      });
    });
  }

  #hold(pending: Promise<unknown>): void {
    this.#pending += 1;
    this.#socket.pause();
    const release = (): void => {
      this.#pending -= 1;
      if (this.#pending === 0) this.#socket.resume();
    };
    pending.then(release, release);
  }

  /** While we do not read, pings of the client are not answered either: it must not take us for dead. */
  async #showLife(clock: Clock, signal: AbortSignal): Promise<void> {
    for (;;) {
      await clock.sleep(lifeSignMs, signal);
      if (this.#socket.isPaused) this.#socket.pong();
    }
  }
}
