// Probes against real servers on the loopback.
import assert from 'node:assert/strict';
import 'reflect-metadata';
import { once } from 'node:events';
import { createServer as createHttp, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { type AddressInfo, createServer as createTcp, type Server as TcpServer } from 'node:net';
import { afterEach, test } from 'node:test';
import * as grpc from '@grpc/grpc-js';
import * as x509 from '@peculiar/x509';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { askedService, type HealthCheck, healthAnswer, serveHealth } from '../../test/support/grpc-health.ts';
import { buildContainer } from '../../test/support/pods.ts';
import type { Container, Probe } from '../api/gen/kubernetes.ts';
import type { ExecResult } from '../runtime/runtime.ts';
import { RuntimeError } from '../std/errors.ts';
import { attempt } from './attempt.ts';
import { expandCommand } from './exec-probe.ts';
import type { ProbeOutcome } from './outcome.ts';

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

type Exec = (command: readonly string[]) => Promise<ExecResult>;
const noExec: Exec = async () => Promise.reject(new RuntimeError('unknown', 'no exec here'));

const signal = new AbortController().signal;

async function run(
  probe: Probe,
  change: { readonly container?: Container; readonly exec?: Exec; readonly clock?: FakeClock } = {},
): Promise<ProbeOutcome> {
  const { container = buildContainer(), exec = noExec, clock = new FakeClock() } = change;
  const deps = { clock, runtime: { execSync: (request: { readonly command: readonly string[] }) => exec(request.command) } };
  const outcome = await attempt({ probe, container, containerId: 'c1', podAddress: '127.0.0.1' }, deps, { signal });
  await settle();
  assert.equal(clock.sleeping, 0, 'a timer was left behind');
  return outcome;
}

function text(outcome: ProbeOutcome): string {
  return `${outcome.kind} ${outcome.kind === 'error' ? outcome.message : outcome.output}`;
}

async function listen(server: TcpServer): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function serveHttp(listener: RequestListener): Promise<number> {
  const server = createHttp(listener);
  closers.push(() => server.close().closeAllConnections());
  return listen(server);
}

async function closedPort(): Promise<number> {
  const server = createTcp();
  const port = await listen(server);
  server.close();
  await once(server, 'close');
  return port;
}

const answer =
  (status: number, headers: Readonly<Record<string, string>> = {}, body = '') =>
  (_: IncomingMessage, response: ServerResponse): void => {
    response.writeHead(status, headers).end(body);
  };

test('HTTP: what each answer means (C-325, L-415, L-416)', async () => {
  const rows: readonly (readonly [string, RequestListener, RegExp])[] = [
    ['200', answer(200, {}, 'fine'), /^success fine$/],
    ['204', answer(204), /^success $/],
    ['399', answer(399, {}, 'odd'), /^warning Probe terminated redirects, Response body: odd$/],
    ['301 without a place', answer(301), /^warning Probe terminated redirects/],
    [
      '301 to the same host',
      (request, response) =>
        request.url === '/end' ? answer(200, {}, 'end')(request, response) : answer(301, { location: '/end' })(request, response),
      /^success end$/,
    ],
    [
      '302 to another host',
      answer(302, { location: 'http://192.0.2.1/' }, 'there'),
      /^warning Probe terminated redirects, Response body: there$/,
    ],
    ['endless redirects', answer(302, { location: '/' }), /^failure Get "\/": stopped after 10 redirects$/],
    ['404', answer(404, {}, 'secret'), /^failure HTTP probe failed with statuscode: 404$/],
    ['500', answer(500), /^failure HTTP probe failed with statuscode: 500$/],
    ['hangs up', (request) => request.socket.destroy(), /^failure Get "http:\/\/127\.0\.0\.1:\d+\/": EOF$/],
  ];
  for (const [name, listener, expected] of rows) {
    const port = await serveHttp(listener);
    assert.match(text(await run({ httpGet: { port, path: '/' } })), expected, name);
  }
  const port = await closedPort();
  assert.equal(
    text(await run({ httpGet: { port } })),
    `failure Get "http://127.0.0.1:${port}/": dial tcp 127.0.0.1:${port}: connect: connection refused`,
  );
});

test('HTTP: answers of careless servers count as with Go (L-415)', async () => {
  const failed = (text: string): string => `failure Get "http://127.0.0.1:PORT/": ${text}`;
  const rows: readonly (readonly [string, string])[] = [
    ['HTTP/1.0 200 OK\n\nok', 'success ok'],
    ['HTTP/1.0 200 OK\r\n\nok', 'success ok'],
    ['HTTP/1.0 200 OK\nContent-Type: text/plain\n\nok', 'success ok'],
    ['HTTP/1.1 200\r\n\r\n', 'success '],
    ['HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more', 'success ok'],
    ['HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n', 'success '],
    ['HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n', 'failure HTTP probe failed with statuscode: 101'],
    ['HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok', 'error unexpected EOF'],
    ['', failed('EOF')],
  ];
  for (const [answer, expected] of rows) {
    const server = createTcp((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => socket.end(answer));
    });
    closers.push(() => server.close());
    const port = await listen(server);
    assert.equal(text(await run({ httpGet: { port, path: '/' } })).replace(String(port), 'PORT'), expected, JSON.stringify(answer));
  }
});

test('HTTP: ten redirects are not too many (L-416)', async () => {
  const port = await serveHttp((request, response) => {
    const count = Number(request.url?.slice(1));
    if (count === 9) answer(200)(request, response);
    else answer(302, { location: `/${count + 1}` })(request, response);
  });
  assert.equal(text(await run({ httpGet: { port, path: '/0' } })), 'success ');
});

test('HTTP: a slow server fails when the time is over; one that stops in the midst of its answer says nothing (C-325, L-409, L-415)', async () => {
  const rows: readonly (readonly [(response: ServerResponse) => void, string])[] = [
    [() => undefined, 'failure Get "http://127.0.0.1:PORT/x": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'],
    [
      (response) => response.writeHead(200).write('begun'),
      'error context deadline exceeded (Client.Timeout or context cancellation while reading body)',
    ],
  ];
  for (const [begin, expected] of rows) {
    const clock = new FakeClock();
    const port = await serveHttp((_, response) => {
      begin(response);
      setImmediate(() => void clock.advance(2000));
    });
    const outcome = await run({ httpGet: { port, path: '/x' }, timeoutSeconds: 2 }, { clock });
    assert.equal(text(outcome).replace(String(port), 'PORT'), expected);
  }
});

test('HTTP: what is sent (C-326, L-414)', async () => {
  const seen: IncomingMessage[] = [];
  const port = await serveHttp((request, response) => {
    seen.push(request);
    answer(200)(request, response);
  });
  const sent = async (path: string, httpHeaders: readonly { name: string; value: string }[] = []): Promise<IncomingMessage> => {
    await run({ httpGet: { port, path, httpHeaders } });
    const last = seen.at(-1);
    assert.ok(last);
    return last;
  };
  const plain = await sent('/healthz?full=1');
  assert.equal(plain.method, 'GET');
  assert.equal(plain.url, '/healthz?full=1');
  const { headers } = plain;
  assert.deepEqual(
    {
      agent: headers['user-agent'],
      accept: headers.accept,
      host: headers.host,
      connection: headers.connection,
      encoding: headers['accept-encoding'],
    },
    { agent: 'kube-probe/1.36', accept: '*/*', host: `127.0.0.1:${port}`, connection: 'close', encoding: undefined },
  );

  const own = await sent('/', [
    { name: 'user-agent', value: 'mine' },
    { name: 'Host', value: 'virtual.test' },
    { name: 'Accept', value: '' },
    { name: 'X-Two', value: '1' },
    { name: 'X-Two', value: '2' },
  ]);
  assert.deepEqual(
    { agent: own.headers['user-agent'], accept: own.headers.accept, host: own.headers.host, two: own.headers['x-two'] },
    { agent: 'mine', accept: undefined, host: 'virtual.test', two: '1, 2' },
  );

  const paths: readonly (readonly [string, string])[] = [
    ['', '/'],
    ['healthz', '/healthz'],
    ['/a b?q=1 2', '/a%20b?q=1%202'],
    ['/%zz', '/%25zz'],
    ['/ä', '/%C3%A4'],
    ['http://elsewhere.test/x', '/x'],
    ['/x#part', '/x'],
  ];
  for (const [given, expected] of paths) assert.equal((await sent(given)).url, expected, given);
});

async function selfSigned(): Promise<{ readonly key: string; readonly cert: string }> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=nobody.test',
    keys,
    signingAlgorithm: algorithm,
    serialNumber: '01',
  });
  const key = await crypto.subtle.exportKey('pkcs8', keys.privateKey);
  return { key: x509.PemConverter.encode(key, 'PRIVATE KEY'), cert: certificate.toString('pem') };
}

test('HTTPS with a self-signed certificate is accepted (C-327, L-414)', async () => {
  const server = createHttps(await selfSigned(), answer(200, {}, 'sealed'));
  closers.push(() => server.close().closeAllConnections());
  const port = await listen(server);
  assert.equal(text(await run({ httpGet: { port, scheme: 'HTTPS' } })), 'success sealed');

  const plain = await serveHttp(answer(200));
  assert.equal(
    text(await run({ httpGet: { port: plain, scheme: 'HTTPS' } })),
    `failure Get "https://127.0.0.1:${plain}/": http: server gave HTTP response to HTTPS client`,
  );
});

test('a long body or output is cut and changes nothing (C-333)', async () => {
  const port = await serveHttp(answer(200, {}, 'x'.repeat(100_000)));
  const http = await run({ httpGet: { port } });
  assert.equal(http.kind, 'success');
  assert.equal(text(http).length, 'success '.length + 10 * 1024);

  const exec = async (): Promise<ExecResult> => ({ exitCode: 1, stdout: Buffer.alloc(8000, 'o'), stderr: Buffer.alloc(8000, 'e') });
  const command = await run({ exec: { command: ['x'] } }, { exec });
  assert.equal(text(command), `failure ${'o'.repeat(8000)}${'e'.repeat(10 * 1024 - 8000)}`);
});

test('ports: number, name, digits, nonsense (C-328, L-412)', async () => {
  const port = await serveHttp(answer(200));
  const container = buildContainer({ ports: [{ name: 'web', containerPort: port }] });
  const rows: readonly (readonly [number | string, string])[] = [
    [port, 'success '],
    ['web', 'success '],
    [String(port), 'success '],
    ['admin', 'error strconv.Atoi: parsing "admin": invalid syntax'],
    [0, 'error invalid port number: 0'],
    [65_536, 'error invalid port number: 65536'],
    ['65536', 'error invalid port number: 65536'],
  ];
  for (const [given, expected] of rows) {
    assert.equal(text(await run({ httpGet: { port: given } }, { container })), expected, String(given));
    assert.equal(text(await run({ tcpSocket: { port: given } }, { container })), expected, String(given));
  }
});

test('TCP: open and closed (C-330, L-417)', async () => {
  const server = createTcp((socket) => socket.on('error', () => undefined));
  closers.push(() => server.close());
  assert.equal(text(await run({ tcpSocket: { port: await listen(server) } })), 'success ');
  const port = await closedPort();
  assert.equal(text(await run({ tcpSocket: { port } })), `failure dial tcp 127.0.0.1:${port}: connect: connection refused`);
});

test('TCP: no answer within the time (L-417)', async () => {
  // Its time is over before any connection could be made.
  const hurried = { now: () => 0, elapsed: () => 0, sleep: async () => undefined };
  const probe = { tcpSocket: { port: await closedPort() } };
  const deps = { clock: hurried, runtime: { execSync: () => noExec([]) } };
  const outcome = await attempt({ probe, container: buildContainer(), containerId: 'c1', podAddress: '127.0.0.1' }, deps, { signal });
  assert.equal(text(outcome), `failure dial tcp 127.0.0.1:${probe.tcpSocket.port}: i/o timeout`);
});

test('exec: exit codes, time-out, errors (C-324, L-409, L-419)', async () => {
  const ends =
    (exitCode: number): Exec =>
    async () => ({ exitCode, stdout: Buffer.from('out'), stderr: Buffer.from('err') });
  const late = new RuntimeError('deadline-exceeded', 'context deadline exceeded');
  const rows: readonly (readonly [string, Exec, string, number])[] = [
    ['exit 0', ends(0), 'success outerr', 1],
    ['exit 1', ends(1), 'failure outerr', 1],
    ['time-out', async () => Promise.reject(late), 'failure command timed out: "check it" timed out after 1s', 1],
    [
      'runtime error',
      async () => Promise.reject(new RuntimeError('unknown', 'no such container')),
      'error rpc error: code = Unknown desc = no such container',
      3,
    ],
  ];
  for (const [name, exec, expected, calls] of rows) {
    let made = 0;
    const counted: Exec = (command) => {
      made += 1;
      return exec(command);
    };
    assert.equal(text(await run({ exec: { command: ['check', 'it'] } }, { exec: counted })), expected, name);
    assert.equal(made, calls, name);
  }
});

test('exec: variables in the command (L-419)', () => {
  const container = buildContainer({
    env: [
      { name: 'PLAIN', value: 'p' },
      { name: 'FROM', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
    ],
  });
  const rows: readonly (readonly [string, string])[] = [
    ['$(PLAIN)-$(PLAIN)', 'p-p'],
    ['[$(FROM)]', '[]'],
    ['$(OTHER)', '$(OTHER)'],
    ['$$(PLAIN)', '$(PLAIN)'],
    ['$PLAIN $(', '$PLAIN $('],
  ];
  for (const [word, expected] of rows) assert.deepEqual(expandCommand([word], container), [expected]);
});

async function serveGrpc(
  status: number | 'hangs' | 'refuses' | 'unimplemented',
): Promise<{ readonly port: number; readonly services: string[]; readonly agents: string[] }> {
  const services: string[] = [];
  const agents: string[] = [];
  const answer: HealthCheck = (call, done) => {
    services.push(askedService(call));
    agents.push(String(call.metadata.get('user-agent')[0]));
    if (status === 'refuses') done({ code: grpc.status.NOT_FOUND, details: 'unknown service' });
    else if (status !== 'hangs') done(null, status === 0 ? Buffer.alloc(0) : healthAnswer(Number(status)));
  };
  const { server, port } = await serveHealth(status === 'unimplemented' ? undefined : answer, '127.0.0.1');
  closers.push(() => server.forceShutdown());
  return { port, services, agents };
}

test('gRPC: serving, not serving, no health service (C-329, L-418)', async () => {
  const rows: readonly (readonly [number | 'unimplemented', RegExp])[] = [
    [1, /^success service healthy$/],
    [2, /^failure service unhealthy \(responded with "NOT_SERVING"\)$/],
    [0, /^failure service unhealthy \(responded with "UNKNOWN"\)$/],
    ['unimplemented', /^failure error: this server does not implement the grpc health protocol \(grpc\.health\.v1\.Health\): ./],
  ];
  for (const [status, expected] of rows) {
    const { port, services, agents } = await serveGrpc(status);
    assert.match(text(await run({ grpc: { port, service: 'liveness' } })), expected);
    if (status === 'unimplemented') continue;
    assert.deepEqual(services, ['liveness']);
    assert.match(agents[0] ?? '', /^kube-probe\/1\.36\b/);
  }
});

test('gRPC: refused, silent, foreign and hanging servers (C-329, L-418)', async () => {
  const mute = createTcp((socket) => socket.on('error', () => undefined));
  const sockets: { destroy(): void }[] = [];
  mute.on('connection', (socket) => sockets.push(socket));
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    mute.close();
  });
  const web = await serveHttp(answer(200));
  for (const port of [await closedPort(), await listen(mute), web]) {
    const clock = new FakeClock();
    const outcome = run({ grpc: { port } }, { clock });
    while (clock.sleeping === 0) await settle();
    await clock.advance(1000);
    assert.equal(
      text(await outcome),
      `failure timeout: failed to connect service "127.0.0.1:${port}" within 1s: context deadline exceeded`,
    );
  }

  const hanging = await serveGrpc('hangs');
  const slow = new FakeClock();
  const outcome = run({ grpc: { port: hanging.port }, timeoutSeconds: 3 }, { clock: slow });
  while (hanging.services.length === 0) await settle();
  await slow.advance(3000);
  assert.equal(text(await outcome), 'failure timeout: health rpc did not complete within 3s');

  const strange = await serveGrpc('refuses');
  assert.equal(
    text(await run({ grpc: { port: strange.port } })),
    'failure error: health rpc probe failed: rpc error: code = NotFound desc = unknown service',
  );
});
