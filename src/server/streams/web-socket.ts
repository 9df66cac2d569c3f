// The server's side of one WebSocket, with back-pressure both ways: what a client sends is taken no faster than its
// handler, and sending waits for the client.
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Duplex, Writable } from 'node:stream';
import type { Clock } from '../../std/clock.ts';
import { AgentError } from '../../std/errors.ts';
import { writeResponse } from '../listener.ts';
import { closeCodes, type FrameEvent, FrameParser, frameHead, opcodes, WebSocketError } from './web-socket-frames.ts';

export interface Opening {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
}

/** kubectl's buffer (H-226). */
const maxSentBytes = 32 * 1024;
/** Clients give up on a server they have not heard of for a minute (H-226). */
const lifeSignMs = 10_000;
/** How long a client may take to say farewell in its turn. */
const farewellMs = 30_000;

/** The subprotocols a client offers, in its order. */
export function offeredProtocols(request: IncomingMessage): readonly string[] {
  return (request.headers['sec-websocket-protocol'] ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
}

export const isWebSocket = (request: IncomingMessage): boolean => (request.headers.upgrade ?? '').toLowerCase() === 'websocket';

/** Answers the handshake with `protocol`, which the client offered. Undefined: the handshake was wrong and is refused. */
export function acceptWebSocket({ request, socket, head }: Opening, protocol: string, clock: Clock): MessageStream | undefined {
  const key = request.headers['sec-websocket-key'] ?? '';
  if (socket.destroyed) return undefined;
  if (request.method !== 'GET' || request.headers['sec-websocket-version'] !== '13' || !/^[+/0-9A-Za-z]{22}==$/.test(key)) {
    writeResponse(
      socket,
      400,
      'Bad Request',
      { 'Sec-WebSocket-Version': '13', 'Content-Type': 'text/plain' },
      'not a WebSocket handshake\n',
    );
    return undefined;
  }
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  socket.write(
    [
      'HTTP/1.1 101 Switching Protocols',
      'Upgrade: websocket',
      'Connection: Upgrade',
      `Sec-WebSocket-Accept: ${accept}`,
      `Sec-WebSocket-Protocol: ${protocol}`,
      '\r\n',
    ].join('\r\n'),
  );
  return new MessageStream(socket, head, clock);
}

/** Writes; a promise for when more may be written, when that is not now. What a closed stream gets is dropped. */
export function writeTo(stream: Writable, data: Buffer): Promise<void> | undefined {
  if (!stream.writable || data.length === 0 || stream.write(data)) return undefined;
  return drained(stream);
}

/** Resolves when more may be written, or nothing any more. */
function drained(stream: Writable): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stream.off('drain', done);
      stream.off('close', done);
      resolve();
    };
    stream.on('drain', done);
    stream.on('close', done);
  });
}

/** Reads nothing before `onData`. */
export class MessageStream {
  /** Resolves when the connection is gone, whoever ended it. */
  readonly closed: Promise<void>;
  readonly #socket: Duplex;
  readonly #clock: Clock;
  readonly #parser = new FrameParser();
  readonly #life = new AbortController();
  #head: Buffer;
  #pending = 0;
  #hasSaidFarewell = false;
  #isOver = false;

  constructor(socket: Duplex, head: Buffer, clock: Clock) {
    this.#socket = socket;
    this.#head = head;
    this.#clock = clock;
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#life.abort();
        resolve();
      });
    });
    socket.on('error', () => socket.destroy());
    // Without a farewell there is nobody to be polite to.
    socket.on('end', () => socket.destroy());
    this.#showLife(this.#life.signal).catch(() => undefined);
  }

  /**
   * `handler` gets what the client sends in pieces as they come; `isStart` marks the first one of each message. While a
   * promise of it is pending nothing further is read. What is no binary message ends the connection.
   */
  onData(handler: (bytes: Buffer, isStart: boolean) => Promise<unknown> | undefined): void {
    const receive = (bytes: Buffer): void => {
      try {
        for (const event of this.#parser.push(bytes)) {
          if (this.#isOver) return;
          if (event.kind === 'control') this.#control(event);
          // Who was told farewell has nothing more to say.
          else if (!this.#hasSaidFarewell) this.#hold(handler(event.bytes, event.isStart));
        }
      } catch (error) {
        if (!(error instanceof WebSocketError)) throw error;
        this.#isOver = true;
        this.close(error.closeCode);
      }
    };
    const head = this.#head;
    this.#head = Buffer.alloc(0);
    this.#socket.on('data', receive);
    if (head.length > 0) receive(head);
  }

  /** Sends `bytes` in messages that begin with `prefix`, as fast as the client takes them. Rejects when it is gone. */
  async send(bytes: Buffer, prefix: Buffer = Buffer.alloc(0)): Promise<void> {
    const size = maxSentBytes - prefix.length;
    for (let at = 0; at === 0 || at < bytes.length; at += size) {
      const part = bytes.subarray(at, at + size);
      if (!this.#write(frameHead(opcodes.binary, prefix.length + part.length, prefix), part)) await drained(this.#socket);
    }
  }

  /** Says farewell, and goes when the client has done so too, or does not. */
  close(code: number): void {
    if (this.#hasSaidFarewell || !this.#socket.writable) return;
    this.#sayFarewell(code);
    // Whatever the handler still has to do: the client's farewell must be seen.
    this.#socket.resume();
    this.#clock.sleep(farewellMs, this.#life.signal).then(
      () => this.terminate(),
      () => undefined,
    );
  }

  /** Without a farewell. */
  terminate(): void {
    this.#socket.destroy();
  }

  #sayFarewell(code: number): void {
    this.#hasSaidFarewell = true;
    const reason = Buffer.alloc(2);
    reason.writeUInt16BE(code);
    this.#write(frameHead(opcodes.close, reason.length, reason));
  }

  #control({ opcode, payload }: Extract<FrameEvent, { kind: 'control' }>): void {
    if (opcode === opcodes.ping && this.#socket.writable && !this.#hasSaidFarewell) {
      this.#write(frameHead(opcodes.pong, payload.length, payload));
    }
    if (opcode !== opcodes.close) return;
    this.#isOver = true;
    if (!this.#hasSaidFarewell) this.#sayFarewell(closeCodes.normal);
    this.#socket.end(() => this.#socket.destroy());
  }

  /** False: the client takes no more for now. */
  #write(head: Buffer, body: Buffer = Buffer.alloc(0)): boolean {
    if (!this.#socket.writable) throw new AgentError('client-gone', 'the client is gone');
    this.#socket.cork();
    let isFree = this.#socket.write(head);
    if (body.length > 0) isFree = this.#socket.write(body);
    this.#socket.uncork();
    return isFree;
  }

  #hold(pending: Promise<unknown> | undefined): void {
    if (pending === undefined) return;
    this.#pending += 1;
    this.#socket.pause();
    const release = (): void => {
      this.#pending -= 1;
      if (this.#pending === 0) this.#socket.resume();
    };
    pending.then(release, release);
  }

  /** While we do not read, pings of the client are not answered either: it must not take us for dead. */
  async #showLife(signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.#clock.sleep(lifeSignMs, signal);
      if (this.#pending > 0) this.#write(frameHead(opcodes.pong, 0, Buffer.alloc(0)));
    }
  }
}
