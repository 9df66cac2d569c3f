// What a client sends over a WebSocket (RFC 6455), bytes → pieces of messages and control frames. Contents come as they
// arrive, never collected, so a message may be of any size.
import { AgentError } from '../../std/errors.ts';

export const closeCodes = { normal: 1000, goingAway: 1001, protocolError: 1002, unsupportedData: 1003, tooLarge: 1009 } as const;

export const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

const maxControlLength = 125;

export class WebSocketError extends AgentError {
  readonly closeCode: number;

  constructor(closeCode: number, message: string) {
    super('web-socket', message);
    this.closeCode = closeCode;
  }
}

export type FrameEvent =
  /** Never empty; `isStart`: the first bytes of a message. */
  | { readonly kind: 'data'; readonly bytes: Buffer; readonly isStart: boolean }
  | { readonly kind: 'control'; readonly opcode: number; readonly payload: Buffer };

interface Frame {
  readonly opcode: number;
  readonly mask: number;
  left: number;
  /** How far into the mask the next byte is, in bytes. */
  turn: number;
}

/** Throws a WebSocketError for what no client may send. Contents are unmasked in place: the bytes pushed are the parser's. */
export class FrameParser {
  #rest: Buffer = Buffer.alloc(0);
  #frame: Frame | undefined;
  /** Between the first frame of a message and its last. */
  #isInMessage = false;
  #isStart = true;

  *push(bytes: Buffer): Generator<FrameEvent> {
    let input = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    for (;;) {
      const frame = this.#frame;
      if (frame === undefined) {
        const header = headerOf(input);
        if (header === undefined) break;
        this.#begin(header);
        input = input.subarray(header.length);
        continue;
      }
      if (frame.opcode >= opcodes.close) {
        if (input.length < frame.left) break;
        const payload = Buffer.from(input.subarray(0, frame.left));
        input = input.subarray(frame.left);
        this.#frame = undefined;
        unmask(payload, frame.mask);
        yield { kind: 'control', opcode: frame.opcode, payload };
        continue;
      }
      const part = input.subarray(0, frame.left);
      if (part.length === 0 && frame.left > 0) break;
      input = input.subarray(part.length);
      if (part.length > 0) {
        unmask(part, rotated(frame.mask, frame.turn));
        const isStart = this.#isStart;
        this.#isStart = false;
        frame.turn = (frame.turn + part.length) & 3;
        frame.left -= part.length;
        if (frame.left === 0) this.#frame = undefined;
        yield { kind: 'data', bytes: part, isStart };
      } else {
        this.#frame = undefined;
      }
    }
    // A copy: the rest must not hold the whole chunk.
    this.#rest = Buffer.from(input);
  }

  #begin({ isFinal, opcode, payloadLength, mask }: Header): void {
    if (opcode >= opcodes.close) {
      if (opcode > opcodes.pong) throw new WebSocketError(closeCodes.protocolError, `a frame of the unknown kind ${opcode}`);
      if (!isFinal || payloadLength > maxControlLength)
        throw new WebSocketError(closeCodes.protocolError, 'a control frame that is too long or in parts');
    } else {
      if (opcode === opcodes.text) throw new WebSocketError(closeCodes.unsupportedData, 'a message of text');
      if (opcode !== opcodes.binary && opcode !== opcodes.continuation)
        throw new WebSocketError(closeCodes.protocolError, `a frame of the unknown kind ${opcode}`);
      if ((opcode === opcodes.continuation) !== this.#isInMessage)
        throw new WebSocketError(closeCodes.protocolError, 'messages that are mixed up');
      if (opcode === opcodes.binary) this.#isStart = true;
      this.#isInMessage = !isFinal;
    }
    this.#frame = { opcode, mask, left: payloadLength, turn: 0 };
  }
}

interface Header {
  readonly length: number;
  readonly isFinal: boolean;
  readonly opcode: number;
  readonly payloadLength: number;
  readonly mask: number;
}

/** Undefined while it is not all there. */
function headerOf(input: Buffer): Header | undefined {
  if (input.length < 2) return undefined;
  const [first = 0, second = 0] = input;
  if ((first & 0x70) !== 0) throw new WebSocketError(closeCodes.protocolError, 'a frame with reserved bits');
  if ((second & 0x80) === 0) throw new WebSocketError(closeCodes.protocolError, 'a frame without a mask');
  const short = second & 0x7f;
  const length = 2 + (short === 126 ? 2 : short === 127 ? 8 : 0) + 4;
  if (input.length < length) return undefined;
  const payloadLength = short === 126 ? input.readUInt16BE(2) : short === 127 ? Number(input.readBigUInt64BE(2)) : short;
  if (!Number.isSafeInteger(payloadLength)) throw new WebSocketError(closeCodes.tooLarge, 'a frame that cannot be that large');
  return { length, isFinal: (first & 0x80) !== 0, opcode: first & 0x0f, payloadLength, mask: input.readInt32LE(length - 4) };
}

/** The mask for what begins `turn` bytes into it. */
const rotated = (mask: number, turn: number): number => (turn === 0 ? mask : (mask >>> (8 * turn)) | (mask << (32 - 8 * turn)));

/**
 * In words of 32 bits: byte by byte the upload of a file would mostly be this loop, which no optimizing compiler works on
 * in the agent (decision 0006).
 */
function unmask(bytes: Buffer, mask: number): void {
  // Words begin where memory says.
  const before = Math.min((4 - (bytes.byteOffset & 3)) & 3, bytes.length);
  for (let i = 0; i < before; i++) bytes[i] = (bytes[i] ?? 0) ^ (mask >>> (8 * i));
  if (before === bytes.length) return;
  const words = new Int32Array(bytes.buffer, bytes.byteOffset + before, (bytes.length - before) >> 2);
  const key = littleEndian(rotated(mask, before));
  const count = words.length;
  for (let i = 0; i < count; i++) words[i] = (words[i] ?? 0) ^ key;
  for (let i = before + count * 4; i < bytes.length; i++) bytes[i] = (bytes[i] ?? 0) ^ (mask >>> (8 * (i & 3)));
}

const isLittleEndian = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

const littleEndian = (word: number): number =>
  isLittleEndian ? word : (word >>> 24) | ((word >>> 8) & 0xff00) | ((word & 0xff00) << 8) | (word << 24);

/** The header of an unmasked, final frame, followed by `prefix`, which its length includes. */
export function frameHead(opcode: number, length: number, prefix: Buffer): Buffer {
  const long = length > 0xffff ? 8 : length > maxControlLength ? 2 : 0;
  const head = Buffer.allocUnsafe(2 + long + prefix.length);
  head[0] = 0x80 | opcode;
  head[1] = long === 8 ? 127 : long === 2 ? 126 : length;
  if (long === 2) head.writeUInt16BE(length, 2);
  else if (long === 8) head.writeBigUInt64BE(BigInt(length), 2);
  prefix.copy(head, 2 + long);
  return head;
}
