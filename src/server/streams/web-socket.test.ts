import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request, type ServerOptions } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Writable } from 'node:stream';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { acceptWebSocket, type MessageStream, writeTo } from './web-socket.ts';

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
    const { client, stream, clock } = await connection(t, limits);
    stream.onData(() => undefined);
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
    stream.onData((bytes) => {
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

  test('who waits for the client leaves nothing behind', async (t) => {
    const { client, stream } = await connection(t);
    let size = 0;
    client.on('message', (data: Buffer) => {
      size += data.length - 1;
    });
    for (let i = 0; i < 50; i++) await stream.send(Buffer.alloc(1 << 20), Buffer.of(1));
    while (size < 50 << 20) await sleep(5);
    const blocked = new Writable({ highWaterMark: 1, write: (_data, _encoding, done) => setImmediate(done) });
    for (let i = 0; i < 50; i++) await writeTo(blocked, Buffer.from('more'));
    assert.deepEqual(
      ['drain', 'close', 'error'].map((event) => blocked.listenerCount(event)),
      [0, 0, 0],
    );
  });

  test('farewell: of the client, of the server, and of a server whose client says nothing', async (t) => {
    const first = await connection(t);
    first.stream.onData(() => undefined);
    first.client.close();
    assert.equal((await once(first.client, 'close'))[0], 1000);
    await first.stream.closed;

    const second = await connection(t);
    // What was not yet taken does not hold up the end.
    second.stream.onData(() => new Promise(() => undefined));
    second.client.send(Buffer.alloc(1 << 20));
    second.client.on('message', () => second.client.send(Buffer.alloc(10)));
    await second.stream.send(Buffer.from('x'));
    second.stream.close(1001);
    assert.equal((await once(second.client, 'close'))[0], 1001);
    await second.stream.closed;
    await assert.rejects(second.stream.send(Buffer.from('x')), /the client is gone/);

    const third = await connection(t);
    third.stream.onData(() => undefined);
    third.client.pause();
    third.stream.close(1000);
    await third.clock.advance(30_000);
    await third.stream.closed;
  });

  test('what is no handshake is a 400', async (t) => {
    const server = createServer();
    server.on('upgrade', (request, socket, head) => void acceptWebSocket({ request, socket, head }, protocol, new FakeClock()));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => server.close());
    const good = {
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAAAA==',
    };
    const answerTo = async (headers: Readonly<Record<string, string>>, method = 'GET'): Promise<number | undefined> => {
      const call = request({
        port: (server.address() as AddressInfo).port,
        host: '127.0.0.1',
        method,
        headers: { ...good, ...headers },
      }).end();
      return await new Promise((resolve) => {
        call.on('response', (response) => resolve(response.resume().statusCode));
        call.on('upgrade', (response, socket) => {
          socket.destroy();
          resolve(response.statusCode);
        });
      });
    };
    assert.equal(await answerTo({}), 101);
    assert.equal(await answerTo({ 'Sec-WebSocket-Version': '8' }), 400);
    assert.equal(await answerTo({ 'Sec-WebSocket-Key': 'short' }), 400);
    assert.equal(await answerTo({}, 'POST'), 400);
  });

  test('a message of text ends it, with the code for that', async (t) => {
    const { client, stream } = await connection(t);
    stream.onData(() => undefined);
    client.send('text');
    const [code] = await once(client, 'close');
    assert.equal(code, 1003);
    await stream.closed;
  });
});
