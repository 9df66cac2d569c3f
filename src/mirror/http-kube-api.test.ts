import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { KubeApiDouble, type Misbehaviour } from '../../test/support/kube-api-double.ts';
import { noMetrics } from '../std/metrics.ts';
import { HttpKubeApi } from './http-kube-api.ts';
import { type AccessSource, type ApiAccess, type ApiError, paths, type WatchEvent } from './kube-api.ts';

const never = new AbortController().signal;

async function setUp(t: TestContext) {
  const clock = new FakeClock();
  const double = new KubeApiDouble({ clock });
  const server = await double.listen();
  t.after(() => double.close());
  let access: ApiAccess = { server, headers: { Authorization: 'Bearer one' }, tls: {} };
  let invalidated = 0;
  const source: AccessSource = { current: async () => access, invalidate: () => invalidated++ };
  const skews: number[] = [];
  const api = new HttpKubeApi(
    { userAgent: 'pinpod/test' },
    { access: source, clock, metrics: noMetrics, onServerTime: (ms) => skews.push(ms) },
  );
  t.after(() => api.close());
  return {
    clock,
    double,
    server,
    api,
    skews,
    setAccess: (next: Partial<ApiAccess>) => {
      access = { ...access, ...next };
    },
    invalidated: () => invalidated,
  };
}

/** Real sockets need real turns of the loop; the fake clock moves only here. */
async function waitUntil(condition: () => boolean): Promise<void> {
  for (let i = 0; !condition(); i++) {
    if (i > 100_000) throw new Error('never became true');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function failureOf(promise: Promise<unknown>): Promise<ApiError> {
  try {
    await promise;
  } catch (error) {
    return error as ApiError;
  }
  throw new Error('it did not fail');
}

test('requests carry credentials, agent and body; objects come back', async (t) => {
  const w = await setUp(t);
  const created = await w.api.request({ method: 'POST', path: paths.nodes, body: { metadata: { name: 'n' } } }, { signal: never });
  assert.equal((created as { metadata: { name: string } }).metadata.name, 'n');
  const [seen] = w.double.requests;
  assert.equal(seen?.headers['authorization'], 'Bearer one');
  assert.equal(seen?.headers['user-agent'], 'pinpod/test');
  assert.deepEqual(seen?.body, { metadata: { name: 'n' } });
  w.setAccess({ headers: { Authorization: 'Bearer two' } });
  await w.api.request({ method: 'GET', path: paths.node('n') }, { signal: never });
  assert.equal(w.double.requests[1]?.headers['authorization'], 'Bearer two', 'new credentials are used at once');
});

const answers: readonly [string, Misbehaviour, string, number | undefined][] = [
  ['401', { kind: 'status', status: { code: 401, reason: 'Unauthorized' } }, 'unauthorized', undefined],
  ['403', { kind: 'status', status: { code: 403, reason: 'Forbidden' } }, 'forbidden', undefined],
  ['404 of a namespace', { kind: 'status', status: { code: 404, details: { kind: 'namespaces' } } }, 'namespace-missing', undefined],
  ['409 AlreadyExists', { kind: 'status', status: { code: 409, reason: 'AlreadyExists' } }, 'already-exists', undefined],
  ['409 Conflict', { kind: 'status', status: { code: 409, reason: 'Conflict' } }, 'conflict', undefined],
  ['422', { kind: 'status', status: { code: 422, reason: 'Invalid' } }, 'invalid', undefined],
  ['429 with Retry-After', { kind: 'status', status: { code: 429 }, retryAfterSeconds: 7 }, 'too-many-requests', 7000],
  ['429 with details', { kind: 'status', status: { code: 429, details: { retryAfterSeconds: 3 } } }, 'too-many-requests', 3000],
  ['500', { kind: 'status', status: { code: 500 } }, 'server-error', undefined],
  [
    'a webhook that denies',
    { kind: 'status', status: { code: 400, message: 'admission webhook "x" denied the request' } },
    'rejected',
    undefined,
  ],
  ['a proxy’s 502 page', { kind: 'text', code: 502, text: '<html>bad gateway</html>' }, 'server-error', undefined],
  ['a login page', { kind: 'text', code: 200, text: '<html>log in</html>' }, 'bad-answer', undefined],
  ['a cut connection', { kind: 'drop' }, 'unreachable', undefined],
];

for (const [name, misbehaviour, code, retryAfterMs] of answers) {
  test(`${name} becomes ${code}`, async (t) => {
    const w = await setUp(t);
    w.double.rules = [() => misbehaviour];
    const error = await failureOf(w.api.request({ method: 'GET', path: paths.node('n') }, { signal: never }));
    assert.deepEqual([error.code, error.retryAfterMs], [code, retryAfterMs]);
    assert.equal(w.invalidated(), code === 'unauthorized' ? 1 : 0);
  });
}

test('nobody listens: unreachable', async (t) => {
  const w = await setUp(t);
  await w.double.close();
  assert.equal((await failureOf(w.api.request({ method: 'GET', path: paths.node('n') }, { signal: never }))).code, 'unreachable');
});

test('something that does not speak HTTP: bad answer', async (t) => {
  const w = await setUp(t);
  const server = createServer((socket) => socket.end('SSH-2.0-OpenSSH\r\n'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const { port } = server.address() as { port: number };
  w.setAccess({ server: `http://127.0.0.1:${port}` });
  assert.equal((await failureOf(w.api.request({ method: 'GET', path: paths.node('n') }, { signal: never }))).code, 'bad-answer');
});

test('TLS against a server without it: tls, and the files are looked at again', async (t) => {
  const w = await setUp(t);
  w.setAccess({ server: w.server.replace('http:', 'https:') });
  const error = await failureOf(w.api.request({ method: 'GET', path: paths.node('n') }, { signal: never }));
  assert.equal(error.code, 'tls');
  assert.equal(w.invalidated(), 1);
});

test('a server that accepts and never answers ends with the time-out, not before and not after', async (t) => {
  const w = await setUp(t);
  w.double.rules = [() => ({ kind: 'hang' })];
  const seen: ApiError[] = [];
  const done = failureOf(w.api.request({ method: 'GET', path: paths.node('n'), timeoutMs: 5000 }, { signal: never })).then((e) => {
    seen.push(e);
  });
  await waitUntil(() => w.double.requests.length === 1);
  await w.clock.advance(4999);
  assert.equal(seen.length, 0);
  await w.clock.advance(1);
  await done;
  assert.equal(seen[0]?.code, 'timeout');
  assert.equal(w.clock.sleeping, 0);
});

test('an abort ends a request with its reason', async (t) => {
  const w = await setUp(t);
  w.double.rules = [() => ({ kind: 'hang' })];
  const controller = new AbortController();
  const done = failureOf(w.api.request({ method: 'GET', path: paths.node('n') }, { signal: controller.signal }));
  await waitUntil(() => w.double.requests.length === 1);
  const reason = new Error('stop');
  controller.abort(reason);
  assert.equal(await done, reason);
});

test('a watch delivers, and ends by silence, by 410 and by the server', async (t) => {
  const w = await setUp(t);
  const open = async (): Promise<{ events: WatchEvent[]; done: Promise<ApiError | undefined> }> => {
    const events: WatchEvent[] = [];
    const stream = await w.api.watch({ path: paths.nodes, timeoutMs: 1000, idleTimeoutMs: 60_000 }, { signal: never });
    const done = (async () => {
      try {
        for await (const event of stream) events.push(event);
        return undefined;
      } catch (error) {
        return error as ApiError;
      }
    })();
    return { events, done };
  };
  const first = await open();
  w.double.put('nodes', { metadata: { name: 'ä' } });
  await waitUntil(() => first.events.length === 1);
  assert.deepEqual(
    first.events.map((e) => [e.type, (e.object as { metadata: { name: string } }).metadata.name]),
    [['ADDED', 'ä']],
  );
  await w.clock.advance(60_000);
  assert.equal((await first.done)?.code, 'timeout');
  const second = await open();
  w.double.endWatches({ code: 410, reason: 'Expired' });
  assert.equal((await second.done)?.code, 'expired');
  const third = await open();
  w.double.endWatches();
  assert.equal(await third.done, undefined);
  assert.equal(w.clock.sleeping, 0);
});

test('the difference of the clocks is seen beyond the second the header is cut to', async (t) => {
  const w = await setUp(t);
  for (const skew of [0, 3_600_000, -3_600_000]) {
    w.double.serverTimeSkewMs = skew;
    await w.api.request({ method: 'GET', path: paths.pods }, { signal: never });
  }
  const [none, ahead, behind] = w.skews;
  assert.equal(none, 0);
  assert.ok(Math.abs((ahead ?? 0) - 3_600_000) <= 1000);
  assert.ok(Math.abs((behind ?? 0) + 3_600_000) <= 1000);
});
