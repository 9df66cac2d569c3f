import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type ServerOptions } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { acceptWebSocket, type MessageStream } from './web-socket.ts';

const protocol = 'v5.channel.k8s.io';

/** Both ends of a connection; `clock` is the server's. */
async function connection(t: TestContext, options: ServerOptions = {}) {
  const clock = new FakeClock();
  const server = createServer(options);
  const accepted = new Promise<MessageStream | undefined>((resolve) => {
    server.once('upgrade', (request, socket, head) => resolve(acceptWebSocket({ request, socket, head }, protocol, clock)));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}/`, protocol);
  t.after(() => {
    client.terminate();
    server.close();
  });
  await once(client, 'open');
  const stream = await accepted;
  assert.ok(stream !== undefined);
  return { client, stream, clock };
}

describe('the server side of a WebSocket', () => {
  test('C-382: it stays open in silence, whatever limits requests have, and its pings are answered', async (t) => {
    const limits = { requestTimeout: 100, headersTimeout: 100, keepAliveTimeout: 100, connectionsCheckingInterval: 20 };
    const { client, clock } = await connection(t, limits);
    await clock.advance(360_000);
    await sleep(400);
    assert.equal(client.readyState, WebSocket.OPEN);
    client.ping('still there?');
    const [data] = await once(client, 'pong');
    assert.equal(String(data), 'still there?');
  });

  test('H-226: it shows life while a slow reader keeps it from reading', async (t) => {
    const { client, stream, clock } = await connection(t);
    const received: string[] = [];
    const reader = new AbortController();
    const slow = once(reader.signal, 'abort');
    stream.onMessage((bytes) => {
      received.push(bytes.toString());
      return received.length === 1 ? slow : undefined;
    });
    client.send(Buffer.from('first'));
    while (received.length === 0) await sleep(5);
    client.send(Buffer.from('second'));
    const pong = once(client, 'pong');
    await clock.advance(10_000);
    await pong;
    assert.deepEqual(received, ['first']);
    reader.abort();
    while (received.length < 2) await sleep(5);
  });

  test('H-226: no message is larger than 32 KiB, its prefix included', async (t) => {
    const { client, stream } = await connection(t);
    const sizes: number[] = [];
    client.on('message', (data: Buffer) => sizes.push(data.length));
    await stream.send(Buffer.alloc(70_000), Buffer.of(1));
    while (sizes.length < 3) await sleep(5);
    assert.deepEqual(sizes, [32_768, 32_768, 4_467]);
  });

  test('a message of text ends it, with the code for that', async (t) => {
    const { client, stream } = await connection(t);
    stream.onMessage(() => undefined);
    client.send('text');
    const [code] = await once(client, 'close');
    assert.equal(code, 1003);
    await stream.closed;
  });
});
