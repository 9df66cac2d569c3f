import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type Duplex, duplexPair } from 'node:stream';
import { describe, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { SpdyConnection } from './spdy.ts';

const control = (type: number, payload: string): string => `8003${type.toString(16).padStart(4, '0')}00${size(payload)}${payload}`;
const dataFrame = (id: number, text: string, flags = 0): string =>
  `${id.toString(16).padStart(8, '0')}${flags.toString(16).padStart(2, '0')}${size(hex(text))}${hex(text)}`;
const size = (payload: string): string => (payload.length / 2).toString(16).padStart(6, '0');
const hex = (text: string): string => Buffer.from(text).toString('hex');
const id = (n: number): string => n.toString(16).padStart(8, '0');

/** The peer's end, and what arrived there, as hex. */
function connection(head = ''): { readonly spdy: SpdyConnection; readonly peer: Duplex; readonly sent: () => Promise<string> } {
  const [own, peer] = duplexPair();
  const parts: Buffer[] = [];
  peer.on('data', (part: Buffer) => parts.push(part));
  const sent = async (): Promise<string> => {
    for (let i = 0; i < 5; i++) await turn();
    return Buffer.concat(parts.splice(0)).toString('hex');
  };
  return { spdy: new SpdyConnection(own, Buffer.from(head, 'hex')), peer, sent };
}

describe('the client of SPDY/3.1', () => {
  test('H-235: a stream is asked for with its headers; the checksum of the dictionary comes once', async () => {
    const { spdy, sent } = connection();
    spdy.open({ streamtype: 'error' });
    const block = (value: string): string => `00000001${id(10)}${hex('streamtype')}${id(value.length)}${hex(value)}`;
    const stored = (value: string): string => `00${value === 'error' ? '1b00e4ff' : '1c00e3ff'}${block(value)}000000ffff`;
    assert.equal(await sent(), control(1, `${id(1)}${id(0)}000078bbe3c6a7c2${stored('error')}`));
    spdy.open({ StreamType: 'stdout' });
    assert.equal(await sent(), control(1, `${id(3)}${id(0)}0000${stored('stdout')}`));
  });

  test('data goes out in frames, the end as a flag, and stops at what the peer reset', async () => {
    const { spdy, peer, sent } = connection();
    const stream = spdy.open({ streamtype: 'stdin' });
    await sent();
    stream.write('abc');
    stream.end();
    assert.equal(await sent(), dataFrame(1, 'abc') + dataFrame(1, '', 1));
    const other = spdy.open({ streamtype: 'stdin' });
    await sent();
    peer.write(Buffer.from(control(3, `${id(3)}00000005`), 'hex'));
    await sent();
    other.write('dropped');
    assert.equal(await sent(), '');
  });

  test('large writes are cut', async () => {
    const { spdy, sent } = connection();
    const stream = spdy.open({});
    await sent();
    stream.write(Buffer.alloc(70_000));
    const frames = Buffer.from(await sent(), 'hex');
    assert.equal(frames.length, 70_000 + 3 * 8);
  });

  for (const [name, ends] of [
    ['with the flag of its last data', dataFrame(1, '', 1)],
    ['with a reset', control(3, `${id(1)}00000005`)],
    ['with a frame that says so and has data', dataFrame(1, '!', 1)],
  ] as const) {
    test(`a stream ends ${name}, however the bytes are cut`, async () => {
      const bytes = Buffer.from(
        control(2, `${id(1)}0000`) + dataFrame(1, 'one') + dataFrame(3, 'of nobody') + control(4, '00000000') + dataFrame(1, 'two') + ends,
        'hex',
      );
      const expected = ends === dataFrame(1, '!', 1) ? 'onetwo!' : 'onetwo';
      for (const step of [1, 2, 3, 7, 11, bytes.length]) {
        const { spdy, peer } = connection();
        const stream = spdy.open({ streamtype: 'stdout' });
        for (let at = 0; at < bytes.length; at += step) peer.write(bytes.subarray(at, at + step));
        let text = '';
        for await (const part of stream) text += String(part);
        assert.equal(text, expected, `in steps of ${step}`);
      }
    });
  }

  test('what came with the handshake counts', async () => {
    const { spdy, sent } = connection(control(6, id(2)));
    assert.equal(await sent(), control(6, id(2)), 'a ping is echoed (H-236)');
    spdy.destroy();
  });

  test('a reader that does not read holds up the peer, and one that reads again lets it go on', async () => {
    const { spdy, peer } = connection();
    const slow = spdy.open({ streamtype: 'stdout' });
    let taken = 0;
    const frame = Buffer.from(dataFrame(1, 'x'.repeat(16_384)), 'hex');
    while (peer.write(frame) && taken < 1000) {
      taken += 1;
      await turn();
    }
    assert.ok(taken < 20, `${taken} frames were taken from a peer nobody listens to`);
    peer.write(Buffer.from(dataFrame(1, '', 1), 'hex'));
    let length = 0;
    for await (const part of slow) length += (part as Buffer).length;
    assert.equal(length, (taken + 1) * 16_384);
  });

  for (const [name, act] of [
    ['ends', (peer: Duplex) => peer.end()],
    ['breaks', (peer: Duplex) => peer.destroy()],
    ['sends a frame no streaming server sends', (peer: Duplex) => peer.write(Buffer.from('8003000200ffffff', 'hex'))],
  ] as const) {
    test(`when the connection ${name} every stream ends and writes are dropped`, async () => {
      const { spdy, peer } = connection();
      const [first, second] = [spdy.open({}), spdy.open({})];
      act(peer);
      await Promise.all([once(first.resume(), 'end'), once(second.resume(), 'end')]);
      await new Promise((resolve) => second.write('x', resolve));
    });
  }
});
