import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, test } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { buildContainer, buildPod, RecordedEvents } from '../../test/support/pods.ts';
import type { LifecycleHandler } from '../api/gen/kubernetes.ts';
import type { ExecResult } from '../runtime/runtime.ts';
import { raceSignal, Superseded } from '../std/async.ts';
import { RuntimeError } from '../std/errors.ts';
import { silentLogger } from '../std/log.ts';
import { type Metrics, noMetrics } from '../std/metrics.ts';
import { type HookRequest, HookRunner } from './hooks.ts';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close().closeAllConnections();
});

async function serve(status: number): Promise<{ readonly port: number; readonly requests: IncomingMessage[] }> {
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    requests.push(request);
    response.writeHead(status).end('body');
  });
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port: (server.address() as AddressInfo).port, requests };
}

function setUp(exec: (command: readonly string[], signal: AbortSignal) => Promise<ExecResult> = async () => result(0)) {
  const clock = new FakeClock();
  const events = new RecordedEvents();
  const calls: unknown[] = [];
  const counts: string[] = [];
  const metrics: Metrics = { ...noMetrics, counter: ({ name }) => ({ inc: () => counts.push(name), remove: () => undefined }) };
  const runner = new HookRunner({
    runtime: {
      execSync: (request, { signal }) => {
        calls.push(request);
        return exec(request.command, signal);
      },
    },
    clock,
    events,
    logger: silentLogger,
    metrics,
  });
  return { clock, events, calls, counts, runner };
}

function result(exitCode: number, stdout = '', stderr = ''): ExecResult {
  return { exitCode, stdout: Buffer.from(stdout), stderr: Buffer.from(stderr) };
}

function request(handler: LifecycleHandler, podAddress: string | undefined = '127.0.0.1'): HookRequest {
  const container = buildContainer({ ports: [{ name: 'http', containerPort: 8080 }] });
  return { pod: buildPod({ containers: [container] }), container, containerId: 'c1', handler, podAddress };
}

const signal = new AbortController().signal;
const place = 'for Container "app" in Pod "web-node1_default(uid-1)"';

test('exec runs the command as it is, without a limit (L-425)', async () => {
  const { runner, calls, events } = setUp();
  assert.deepEqual(await runner.postStart(request({ exec: { command: ['sh', '-c', 'echo $(HOME)'] } }), { signal }), { kind: 'done' });
  assert.deepEqual(calls, [{ containerId: 'c1', command: ['sh', '-c', 'echo $(HOME)'], timeoutSeconds: 0 }]);
  assert.deepEqual(events.take(), []);
});

test('a failed postStart says why in the status and keeps it out of the event (C-294, L-432)', async () => {
  const failing = setUp(async () => result(3, 'out', 'err'));
  assert.deepEqual(await failing.runner.postStart(request({ exec: { command: ['sh', '-c', 'no'] } }), { signal }), {
    kind: 'failed',
    message: `Exec lifecycle hook ([sh -c no]) ${place} failed - error: command 'sh -c no' exited with 3: err, message: "outerr"`,
  });
  assert.deepEqual(failing.events.take(), ['Warning FailedPostStartHook: PostStartHook failed']);

  const broken = setUp(async () => Promise.reject(new RuntimeError('unknown', 'no such process')));
  assert.deepEqual(await broken.runner.postStart(request({ exec: { command: ['x'] } }), { signal }), {
    kind: 'failed',
    message: `Exec lifecycle hook ([x]) ${place} failed - error: no such process, message: ""`,
  });
});

test('httpGet succeeds with any status (C-295, L-426)', async () => {
  const { port, requests } = await serve(500);
  const { runner, events } = setUp();
  const handler = { httpGet: { port, path: '/hook?a=b', httpHeaders: [{ name: 'X-One', value: '1' }] } };
  assert.deepEqual(await runner.postStart(request(handler), { signal }), { kind: 'done' });
  assert.equal(requests[0]?.url, '/hook?a=b');
  assert.equal(requests[0]?.headers['user-agent'], 'kube-lifecycle/1.36');
  assert.equal(requests[0]?.headers['x-one'], '1');
  assert.deepEqual(events.take(), []);
});

test('httpGet succeeds with an answer that is cut short (L-426)', async () => {
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-length': '100' }).write('begun', () => response.destroy());
  });
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { runner } = setUp();
  const { port } = server.address() as AddressInfo;
  assert.deepEqual(await runner.postStart(request({ httpGet: { port } }), { signal }), { kind: 'done' });
});

test('httpGet fails without an answer, an address or a port (L-412, L-426)', async () => {
  const { port } = await serve(200);
  servers.splice(0)[0]?.close().closeAllConnections();
  const rows: readonly (readonly [LifecycleHandler, string | undefined, string])[] = [
    [
      { httpGet: { port, path: '/x' } },
      '127.0.0.1',
      `HTTP lifecycle hook (/x) ${place} failed - error: Get "http://127.0.0.1:${port}/x": dial tcp 127.0.0.1:${port}: connect: connection refused`,
    ],
    [
      { httpGet: { port, path: '/x' } },
      undefined,
      `HTTP lifecycle hook (/x) ${place} failed - error: failed to find networking container: web-node1_default(uid-1) has no address`,
    ],
    [
      { httpGet: { port: 'admin', path: '/x' } },
      '127.0.0.1',
      `HTTP lifecycle hook (/x) ${place} failed - error: strconv.Atoi: parsing "admin": invalid syntax`,
    ],
    [{ tcpSocket: { port: 80 } }, '127.0.0.1', 'Cannot run handler: invalid handler: {"tcpSocket":{"port":80}}'],
  ];
  for (const [handler, address, message] of rows) {
    const { runner } = setUp();
    assert.deepEqual(await runner.postStart({ ...request(handler), podAddress: address }, { signal }), { kind: 'failed', message });
  }
});

test('https answered in plain HTTP is tried again without credentials, and counted (C-296, L-427, H-398)', async () => {
  const { port, requests } = await serve(200);
  const { runner, events, counts } = setUp();
  const httpHeaders = [
    { name: 'Authorization', value: 'Bearer secret' },
    { name: 'X-Kept', value: 'yes' },
  ];
  const done = await runner.preStop(
    { ...request({ httpGet: { scheme: 'HTTPS', port, path: '/', httpHeaders } }), timeoutSeconds: 5 },
    { signal },
  );
  assert.deepEqual(done, { kind: 'done' });
  assert.equal(requests.length, 1);
  assert.equal(requests[0]?.headers['authorization'], undefined);
  assert.equal(requests[0]?.headers['x-kept'], 'yes');
  assert.deepEqual(events.take(), [
    `Warning LifecycleHTTPFallback: request to HTTPS lifecycle hook 127.0.0.1:${port} got HTTP response, retry with HTTP succeeded`,
  ]);
  assert.deepEqual(counts, ['kubelet_lifecycle_handler_http_fallbacks_total']);
});

test('sleep takes its seconds, and no longer than the grace, which is counted (C-280, L-428, L-437, H-398)', async () => {
  const { clock, runner, events, counts } = setUp();
  const done = runner.preStop({ ...request({ sleep: { seconds: 3 } }), timeoutSeconds: 10 }, { signal });
  await settle();
  await clock.advance(3000);
  assert.deepEqual(await done, { kind: 'done' });
  assert.deepEqual(counts, []);

  const late = runner.preStop({ ...request({ sleep: { seconds: 30 } }), timeoutSeconds: 10 }, { signal });
  await settle();
  await clock.advance(10_000);
  assert.deepEqual(await late, { kind: 'timedOut' });
  assert.deepEqual(counts, ['kubelet_sleep_action_terminated_early_total']);
  assert.equal(clock.sleeping, 0);
  assert.deepEqual(events.take(), []);
});

test('tcpSocket cannot be run (L-429)', async () => {
  const { runner, events } = setUp();
  assert.deepEqual(await runner.postStart(request({ tcpSocket: { port: 80 } }), { signal }), {
    kind: 'failed',
    message: 'Cannot run handler: invalid handler: {"tcpSocket":{"port":80}}',
  });
  assert.deepEqual(events.take(), ['Warning FailedPostStartHook: PostStartHook failed']);
});

test('a preStop command that outlasts the grace is told (L-437, L-438)', async () => {
  const { clock, runner, events } = setUp((_command, aborted) => raceSignal(new Promise(() => undefined), aborted));
  const late = runner.preStop({ ...request({ exec: { command: ['x'] } }), timeoutSeconds: 10 }, { signal });
  await settle();
  await clock.advance(10_000);
  assert.deepEqual(await late, { kind: 'timedOut' });
  assert.deepEqual(events.take(), ['Warning FailedPreStopHook: PreStopHook failed']);
});

test('a failed preStop is told (L-438); an abort by the caller rejects with its reason', async () => {
  const failing = setUp(async () => result(1));
  const failed = await failing.runner.preStop({ ...request({ exec: { command: ['x'] } }), timeoutSeconds: 10 }, { signal });
  assert.equal(failed.kind, 'failed');
  assert.deepEqual(failing.events.take(), ['Warning FailedPreStopHook: PreStopHook failed']);
  assert.equal(failing.clock.sleeping, 0);

  const reason = new Superseded();
  const caller = new AbortController();
  const hanging = setUp((_, inner) => raceSignal(new Promise<never>(() => undefined), inner));
  const ended = hanging.runner.preStop({ ...request({ exec: { command: ['x'] } }), timeoutSeconds: 10 }, { signal: caller.signal });
  caller.abort(reason);
  await assert.rejects(ended, reason);
  await settle();
  assert.equal(hanging.clock.sleeping, 0);
});
