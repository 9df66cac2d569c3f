// The client's side of SPDY/3.1, as much of it as a runtime's streaming server takes part in (H-235): streams that we
// open, data both ways, half-close, resets. There is no flow control of its own in it (Kubernetes' implementation
// ignores it): a reader that is slow holds up the whole connection, and TCP holds up the sender.
import { Duplex } from 'node:stream';
import { AgentError } from '../../std/errors.ts';

const frameTypes = { synStream: 1, rstStream: 3, ping: 6 } as const;
const fin = 0x01;
const headerLength = 8;
/** A data frame of ours; small ones let streams of one connection take turns. */
const maxDataLength = 32 * 1024;
/** Control frames carry a few headers; more than this is no streaming server. */
const maxControlLength = 64 * 1024;

export class SpdyError extends AgentError {
  constructor(message: string, options?: { readonly cause?: unknown }) {
    super('spdy', message, options);
  }
}

/**
 * Owns the socket. A stream's reader sees its end when the runtime finished it, reset it (that is how runtimes end all
 * streams of a command that is over) or closed the connection; what is written after that is dropped. Whether all went
 * well is said by what came before the end, not by the way it ended.
 */
export class SpdyConnection {
  readonly #socket: Duplex;
  readonly #streams = new Map<number, SpdyStream>();
  readonly #blocked = new Set<number>();
  readonly #parser = new FrameParser();
  #nextId = 1;

  /** `head` is what was read behind the handshake. */
  constructor(socket: Duplex, head: Buffer) {
    this.#socket = socket;
    socket.on('data', (bytes: Buffer) => this.#receive(bytes));
    for (const event of ['error', 'end', 'close']) socket.on(event, () => this.#end());
    if (head.length > 0) this.#receive(head);
  }

  /** Asks the peer for one more stream. */
  open(headers: Readonly<Record<string, string>>): Duplex {
    const id = this.#nextId;
    this.#nextId += 2;
    const stream = new SpdyStream({
      // A write that failed is followed by the connection's end, which says it to everybody.
      send: (data, done) => this.#sendData(id, data, () => done()),
      finish: (done) => void this.#socket.write(dataHeader(id, fin, 0), () => done()),
      ready: () => this.#ready(id),
      closed: () => {
        this.#streams.delete(id);
        this.#ready(id);
      },
    });
    this.#streams.set(id, stream);
    const fixed = Buffer.alloc(10);
    fixed.writeUInt32BE(id, 0);
    const prefix = id === 1 ? compressedStart : Buffer.alloc(0);
    this.#socket.write(controlFrame(frameTypes.synStream, Buffer.concat([fixed, prefix, storedBlock(headerBlock(headers))])));
    if (this.#socket.destroyed) stream.endByPeer();
    return stream;
  }

  destroy(): void {
    this.#end();
  }

  #sendData(id: number, data: Buffer, done: () => void): void {
    this.#socket.cork();
    for (let at = 0; at < data.length; at += maxDataLength) {
      const part = data.subarray(at, at + maxDataLength);
      this.#socket.write(dataHeader(id, 0, part.length));
      this.#socket.write(part, at + maxDataLength < data.length ? undefined : done);
    }
    if (data.length === 0) done();
    this.#socket.uncork();
  }

  #receive(bytes: Buffer): void {
    try {
      for (const event of this.#parser.push(bytes)) {
        if (event.kind === 'control') this.#control(event.type, event.payload);
        else this.#data(event.id, event.data, event.isLast);
      }
    } catch (error) {
      if (!(error instanceof SpdyError)) throw error;
      this.#end();
    }
  }

  #data(id: number, data: Buffer, isLast: boolean): void {
    const stream = this.#streams.get(id);
    // Of a stream that nobody reads any more.
    if (stream === undefined) return;
    if (data.length > 0 && !stream.pushData(data)) {
      this.#blocked.add(id);
      this.#socket.pause();
    }
    if (isLast) stream.endOfData();
  }

  #control(type: number, payload: Buffer): void {
    if (type === frameTypes.ping) {
      this.#socket.write(controlFrame(frameTypes.ping, payload));
      return;
    }
    if (type === frameTypes.rstStream) this.#streams.get(payload.readUInt32BE(0))?.endByPeer();
  }

  #ready(id: number): void {
    if (!this.#blocked.delete(id) || this.#blocked.size > 0) return;
    this.#socket.resume();
  }

  #end(): void {
    this.#socket.destroy();
    for (const stream of [...this.#streams.values()]) stream.endByPeer();
  }
}

interface StreamPort {
  readonly send: (data: Buffer, done: () => void) => void;
  readonly finish: (done: () => void) => void;
  readonly ready: () => void;
  readonly closed: () => void;
}

class SpdyStream extends Duplex {
  readonly #port: StreamPort;
  #hasEnded = false;
  #isGone = false;

  constructor(port: StreamPort) {
    super({ allowHalfOpen: true, emitClose: true });
    this.#port = port;
  }

  /** False: no more until the reader has caught up. */
  pushData(data: Buffer): boolean {
    return this.#hasEnded || this.push(data);
  }

  endOfData(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.push(null);
  }

  /** The peer neither sends nor takes anything more. */
  endByPeer(): void {
    this.#isGone = true;
    this.endOfData();
  }

  override _read(): void {
    this.#port.ready();
  }

  override _write(data: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#isGone) done();
    else this.#port.send(data, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    if (this.#isGone) done();
    else this.#port.finish(done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#port.closed();
    done(error);
  }
}

type FrameEvent =
  | { readonly kind: 'control'; readonly type: number; readonly payload: Buffer }
  | { readonly kind: 'data'; readonly id: number; readonly data: Buffer; readonly isLast: boolean };

/** Bytes → frames. Contents of data frames come as they arrive, never collected. */
class FrameParser {
  #rest: Buffer = Buffer.alloc(0);
  #data: { readonly id: number; readonly hasFin: boolean; left: number } | undefined;

  *push(bytes: Buffer): Generator<FrameEvent> {
    let input = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    while (input.length > 0) {
      const data = this.#data;
      if (data !== undefined) {
        const part = input.subarray(0, data.left);
        input = input.subarray(part.length);
        data.left -= part.length;
        if (data.left === 0) this.#data = undefined;
        yield { kind: 'data', id: data.id, data: part, isLast: data.left === 0 && data.hasFin };
        continue;
      }
      if (input.length < headerLength) break;
      const word = input.readUInt32BE(0);
      const length = input.readUIntBE(5, 3);
      const flags = input.readUInt8(4);
      if (word < 0x80000000) {
        input = input.subarray(headerLength);
        if (length > 0) this.#data = { id: word, hasFin: (flags & fin) !== 0, left: length };
        else yield { kind: 'data', id: word, data: input.subarray(0, 0), isLast: (flags & fin) !== 0 };
        continue;
      }
      if (length > maxControlLength) throw new SpdyError(`a control frame of ${length} bytes`);
      if (input.length < headerLength + length) break;
      yield { kind: 'control', type: word & 0xffff, payload: input.subarray(headerLength, headerLength + length) };
      input = input.subarray(headerLength + length);
    }
    // A copy: the rest must not hold the whole chunk.
    this.#rest = Buffer.from(input);
  }
}

function dataHeader(id: number, flags: number, length: number): Buffer {
  const header = Buffer.alloc(headerLength);
  header.writeUInt32BE(id, 0);
  header.writeUInt8(flags, 4);
  header.writeUIntBE(length, 5, 3);
  return header;
}

function controlFrame(type: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(headerLength);
  header.writeUInt32BE((0x80030000 | type) >>> 0, 0);
  header.writeUIntBE(payload.length, 5, 3);
  return Buffer.concat([header, payload]);
}

function counted(text: string): Buffer {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length, 0);
  return Buffer.concat([length, bytes]);
}

function headerBlock(headers: Readonly<Record<string, string>>): Buffer {
  const entries = Object.entries(headers);
  const count = Buffer.alloc(4);
  count.writeUInt32BE(entries.length, 0);
  return Buffer.concat([count, ...entries.flatMap(([name, value]) => [counted(name.toLowerCase()), counted(value)])]);
}

/**
 * Header blocks are one zlib stream over the whole connection, with the preset dictionary of SPDY/3, which this names by
 * its checksum. A few names and values are not worth compressing: they go as stored blocks, which need neither the
 * dictionary nor a compressor.
 */
const compressedStart: Buffer = Buffer.from('78bbe3c6a7c2', 'hex');

/** An empty block: makes the peer's decompressor give out what it has. */
const flush: Buffer = Buffer.from('000000ffff', 'hex');

function storedBlock(bytes: Buffer): Buffer {
  const header = Buffer.alloc(5);
  header.writeUInt16LE(bytes.length, 1);
  header.writeUInt16LE(~bytes.length & 0xffff, 3);
  return Buffer.concat([header, bytes, flush]);
}
