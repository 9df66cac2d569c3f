// Clients that are slow, silent or gone, over real sockets: how long they hold what they hold.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createConnection, type Socket } from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { silentLogger } from '../std/log.ts';
import { Listener } from './listener.ts';
import { socketUser } from './user.ts';

describe('a listener', () => {
  let dir = '';
  let listener: Listener;
  const upgraded: string[] = [];

  before(async () => {
    dir = await mkdtemp('/tmp/listen-');
    listener = new Listener(
      {
        at: { socketPath: path.join(dir, 's.sock') },
        limits: { headersTimeout: 50, requestTimeout: 100, keepAliveTimeout: 50, connectionsCheckingInterval: 10 },
      },
      {
        handlers: {
          authenticate: () => socketUser,
          refuse: () => ({ contentType: 'text/plain', body: '' }),
          fetch: async (request) => new Response(await request.text()),
          upgrade: async (request, socket) => {
            upgraded.push(request.url ?? '');
            socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\n');
            await once(socket.resume(), 'close');
          },
        },
        log: silentLogger,
      },
    );
    await listener.start();
  });

  after(async () => {
    await listener.close();
    await rm(dir, { recursive: true });
  });

  const connect = (): Socket => createConnection(path.join(dir, 's.sock'));
  const said = async (socket: Socket): Promise<string> => {
    let text = '';
    for await (const data of socket) text += String(data);
    return text;
  };

  test('a request whose headers never end is a 408 with a Status, and its connection is closed', async () => {
    const socket = connect();
    socket.write('GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ');
    assert.match(await said(socket), /^HTTP\/1\.1 408 [\s\S]*"kind":"Status"/);
  });

  test('a body that never ends does not hold its connection', async () => {
    const socket = connect();
    socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc');
    assert.match(await said(socket), /^HTTP\/1\.1 408 |^$/);
  });

  test('a connection that asks for nothing more is closed', async () => {
    const socket = connect();
    socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi');
    assert.match(await said(socket), /\r\n\r\nhi$/);
  });

  test('200 of them at once keep nobody else from being answered', async () => {
    const slow = Array.from({ length: 200 }, () => connect());
    for (const socket of slow) socket.write('GET / HT');
    const quick = connect();
    quick.write('POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok');
    assert.match(await said(quick), /\r\n\r\nok$/);
    await Promise.all(slow.map((socket) => said(socket)));
  });

  test("a stream is nobody's request any more: no limit of those ends it, the close of the server does", async () => {
    const socket = connect();
    socket.write('GET /stream HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
    await once(socket, 'data');
    // Longer than every limit above: others came and went meanwhile.
    for (let i = 0; i < 3; i++) {
      const other = connect();
      other.write('GET / HTTP/1.1\r\nX: ');
      await said(other);
    }
    assert.equal(socket.readyState, 'open');
    assert.deepEqual(upgraded, ['/stream']);
    await listener.close();
    await said(socket);
  });
});
