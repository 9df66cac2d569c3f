import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { FrameParser, frameHead, opcodes, WebSocketError } from './web-socket-frames.ts';

const none: Buffer = Buffer.alloc(0);

/** A frame as a client sends it. */
function frame(opcode: number, payload: Buffer, options: { readonly isFinal?: boolean; readonly mask?: Buffer } = {}): Buffer {
  const { isFinal = true, mask = Buffer.of(1, 2, 3, 4) } = options;
  const head = frameHead(opcode, payload.length, none);
  head[0] = (isFinal ? 0x80 : 0) | opcode;
  head[1] = (head[1] ?? 0) | 0x80;
  return Buffer.concat([head, mask, payload.map((byte, i) => byte ^ (mask[i % 4] ?? 0))]);
}

/** What the parser makes of the bytes, cut where `cuts` say. */
function parsed(bytes: Buffer, cuts: readonly number[] = []): readonly string[] {
  const parser = new FrameParser();
  const messages: string[] = [];
  let at = 0;
  for (const cut of [...cuts, bytes.length]) {
    // Each piece lies somewhere else in memory.
    const piece = Buffer.concat([Buffer.alloc(at % 5), bytes.subarray(at, Math.max(at, cut))]).subarray(at % 5);
    at = Math.max(at, cut);
    for (const event of parser.push(piece)) {
      if (event.kind === 'control') messages.push(`${event.opcode}:${event.payload.toString('hex')}`);
      else if (event.isStart) messages.push(event.bytes.toString('hex'));
      else messages.push(`${messages.pop() ?? ''}${event.bytes.toString('hex')}`);
    }
  }
  return messages;
}

describe('frames of a WebSocket', () => {
  const binary = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
  const mask = fc.uint8Array({ minLength: 4, maxLength: 4 }).map((bytes) => Buffer.from(bytes));

  test('messages arrive whole, whatever their frames, masks and the pieces they come in', () => {
    const part = fc.record({ payload: binary, mask });
    fc.assert(
      fc.property(fc.array(fc.array(part, { minLength: 1, maxLength: 4 }), { maxLength: 5 }), fc.array(fc.nat(2000)), (messages, cuts) => {
        const bytes = Buffer.concat(
          messages.flatMap((parts) =>
            parts.map(({ payload, mask: own }, i) =>
              frame(i === 0 ? opcodes.binary : opcodes.continuation, payload, { isFinal: i === parts.length - 1, mask: own }),
            ),
          ),
        );
        const whole = messages.map((parts) => Buffer.concat(parts.map(({ payload }) => payload)).toString('hex'));
        const sorted = cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b);
        assert.deepEqual(
          parsed(bytes, sorted),
          whole.filter((text) => text !== ''),
        );
      }),
    );
  });

  test('lengths of 16 and 64 bits', () => {
    for (const length of [125, 126, 0xffff, 0x10000, 70_001]) {
      const payload = Buffer.alloc(length, 'x');
      assert.deepEqual(parsed(frame(opcodes.binary, payload), [3, 9, 100]), [payload.toString('hex')], String(length));
    }
  });

  test('control frames come between the frames of a message', () => {
    const bytes = Buffer.concat([
      frame(opcodes.binary, Buffer.from('a'), { isFinal: false }),
      frame(opcodes.ping, Buffer.from('?')),
      frame(opcodes.close, Buffer.of(3, 232)),
    ]);
    assert.deepEqual(parsed(bytes, [1, 8, 13]), ['61', '9:3f', '8:03e8']);
  });

  const wrong: readonly (readonly [what: string, bytes: Buffer, closeCode: number])[] = [
    ['text', frame(opcodes.text, Buffer.from('a')), 1003],
    ['no mask', frameHead(opcodes.binary, 1, none), 1002],
    ['reserved bits', Buffer.of(0xc2, 0x80), 1002],
    ['an unknown kind', frame(3, none), 1002],
    ['an unknown control frame', frame(11, none), 1002],
    ['a control frame in parts', frame(opcodes.ping, none, { isFinal: false }), 1002],
    ['a long control frame', frame(opcodes.ping, Buffer.alloc(126)), 1002],
    ['a continuation of nothing', frame(opcodes.continuation, none), 1002],
    ['a message within a message', Buffer.concat([frame(opcodes.binary, none, { isFinal: false }), frame(opcodes.binary, none)]), 1002],
    ['2⁶³ bytes', Buffer.from('82ff800000000000000000000000', 'hex'), 1009],
  ];
  for (const [what, bytes, closeCode] of wrong) {
    test(`${what} ends it with ${closeCode}`, () => {
      assert.throws(
        () => parsed(bytes),
        (error: unknown) => error instanceof WebSocketError && error.closeCode === closeCode,
      );
    });
  }

  test('any bytes are frames or an error of their own', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        try {
          parsed(Buffer.from(bytes));
        } catch (error) {
          assert.ok(error instanceof WebSocketError, String(error));
        }
      }),
    );
  });
});
