import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createHttp } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { buildContainer, buildPod, observedContainer, observedPod, observedSandbox, RecordedEvents } from '../../test/support/pods.ts';
import type { Container, PodSpec, PodStatus, Probe } from '../api/gen/kubernetes.ts';
import type { ObservedContainer } from '../pod/observation.ts';
import { RuntimeError } from '../std/errors.ts';
import { silentLogger } from '../std/log.ts';
import type { Metrics } from '../std/metrics.ts';
import { Prober } from './prober.ts';

/** What a command answers: an exit code, no answer until the test ends it, or a runtime error. */
type Answer = number | 'error' | 'hang';

interface SetUpOptions {
  readonly container?: Partial<Container>;
  readonly spec?: Partial<PodSpec>;
  /** How long the agent has been up. */
  readonly upMs?: number;
  readonly nodeAddress?: string;
}

function execProbe(change: Partial<Probe> = {}): Probe {
  return { exec: { command: ['check'] }, periodSeconds: 10, failureThreshold: 3, successThreshold: 1, ...change };
}

function setUp(
  t: { after(fn: () => Promise<void>): void },
  { container = {}, spec = {}, upMs = 3_600_000, nodeAddress }: SetUpOptions = {},
) {
  const clock = new FakeClock();
  const agentStartedAt = clock.now() - upMs;
  const events = new RecordedEvents();
  const pod = buildPod({ containers: [buildContainer(container)], ...spec });
  const attempts: string[] = [];
  const changes: string[] = [];
  const series = new Set<string>();
  const answers: { next: Answer } = { next: 0 };
  const hanging: ((exitCode: number) => void)[] = [];
  const metrics: Metrics = {
    counter: ({ name }) => ({
      inc: (labels) => series.add(`${name} ${JSON.stringify(Object.entries(labels ?? {}).sort())}`),
      remove: (labels) => series.delete(`${name} ${JSON.stringify(Object.entries(labels).sort())}`),
    }),
    gauge: () => ({ set: () => undefined, remove: () => undefined }),
    histogram: ({ name }) => ({
      observe: (_, labels) => series.add(`${name} ${JSON.stringify(Object.entries(labels ?? {}).sort())}`),
      remove: (labels) => series.delete(`${name} ${JSON.stringify(Object.entries(labels).sort())}`),
    }),
  };
  const prober = new Prober(
    { agentStartedAt },
    {
      runtime: {
        execSync: async ({ containerId, command }) => {
          attempts.push(`${command[0]} ${containerId}`);
          const answer = answers.next;
          const exitCode = answer === 'hang' ? await new Promise<number>((resolve) => hanging.push(resolve)) : answer;
          if (exitCode === 'error') throw new RuntimeError('unknown', 'no such container');
          return { exitCode, stdout: Buffer.from('out'), stderr: Buffer.alloc(0) };
        },
      },
      clock,
      random: { next: () => 0.5 },
      events,
      logger: silentLogger,
      metrics,
      nodeAddress: () => nodeAddress,
      onResult: (podUid) => changes.push(podUid),
    },
  );
  t.after(() => prober.close());
  const sync = async (container: Partial<ObservedContainer> | undefined, status?: PodStatus): Promise<void> => {
    const record = container === undefined ? [] : [observedContainer({ startedAt: clock.now(), ...container })];
    prober.sync(pod, observedPod({ containers: record }), status);
    await settle();
  };
  /** Attempts since the last call. */
  const made = (): readonly string[] => attempts.splice(0);
  const result = (id = 'c1') => prober.results('uid-1').byContainerId.get(id) ?? {};
  return { clock, events, prober, sync, made, result, answers, hanging, changes, series, pod };
}

test('a readiness probe: not ready before its first success, probed at once, then every period; changes are told (C-319, L-017, L-401, L-408)', async (t) => {
  const { clock, sync, made, result, answers, changes } = setUp(t, { container: { readinessProbe: execProbe() } });
  await sync(undefined);
  assert.deepEqual(made(), []);
  await sync({ state: 'created', startedAt: undefined });
  assert.deepEqual(made(), []);
  answers.next = 1;
  await sync({});
  assert.deepEqual(made(), ['check c1']);
  assert.deepEqual(result(), { readiness: 'failure' });
  answers.next = 0;
  await clock.advance(9999);
  assert.deepEqual(made(), []);
  await clock.advance(1);
  assert.deepEqual(made(), ['check c1']);
  assert.deepEqual(result(), { readiness: 'success' });
  assert.deepEqual(changes, ['uid-1', 'uid-1']);
  await clock.advance(30_000);
  assert.equal(made().length, 3);
  assert.equal(changes.length, 2);
});

test('no attempt before the initial delay is over, however often the Pod is synced (C-320, L-399)', async (t) => {
  const { clock, sync, made } = setUp(t, { container: { readinessProbe: execProbe({ initialDelaySeconds: 30 }) } });
  const startedAt = clock.now();
  await sync({ startedAt });
  await clock.advance(29_900);
  await sync({ startedAt });
  assert.deepEqual(made(), []);
  await clock.advance(100);
  assert.deepEqual(made(), ['check c1']);
});

test('a liveness failure takes effect at its threshold, then holds until a new container; every failure is told (C-321, L-403, L-404, L-410, S-421)', async (t) => {
  const { clock, events, sync, made, result, answers } = setUp(t, { container: { livenessProbe: execProbe() } });
  await sync({});
  assert.deepEqual(result(), { liveness: 'success' });
  answers.next = 1;
  await clock.advance(20_000);
  answers.next = 0;
  await clock.advance(10_000);
  assert.deepEqual(result(), { liveness: 'success' });
  answers.next = 1;
  await clock.advance(20_000);
  assert.deepEqual(result(), { liveness: 'success' });
  await clock.advance(10_000);
  assert.deepEqual(result(), { liveness: 'failure' });
  assert.deepEqual([...new Set(events.take())], ['Warning Unhealthy: Liveness probe failed: out']);
  made();
  await clock.advance(60_000);
  assert.deepEqual(made(), []);

  answers.next = 0;
  await sync({ id: 'c2' });
  assert.deepEqual(made(), ['check c2']);
  assert.deepEqual(result(), {});
  assert.deepEqual(result('c2'), { liveness: 'success' });
});

test('while the startup probe has not passed, nothing else is probed; afterwards it rests (C-322, C-323)', async (t) => {
  const probes = {
    startupProbe: execProbe({ exec: { command: ['startup'] }, periodSeconds: 1 }),
    livenessProbe: execProbe({ exec: { command: ['liveness'] } }),
    readinessProbe: execProbe({ exec: { command: ['readiness'] } }),
  };
  const { clock, prober, sync, made, result, answers, changes } = setUp(t, { container: probes });
  answers.next = 1;
  const startedAt = clock.now();
  await sync({ startedAt });
  await clock.advance(1000);
  assert.deepEqual(made(), ['startup c1', 'startup c1']);
  assert.deepEqual(result(), { startup: 'unknown', liveness: 'success', readiness: 'failure' });
  assert.deepEqual([...(prober.results('uid-1').workers.get('app') ?? [])], ['startup', 'liveness', 'readiness']);
  answers.next = 0;
  const before = changes.length;
  await clock.advance(1000);
  assert.deepEqual(made(), ['startup c1']);
  assert.equal(changes.length, before + 1);
  // The call makes the Pod's worker plan again, which syncs.
  await sync({ startedAt });
  assert.deepEqual(made(), ['liveness c1', 'readiness c1']);
  assert.deepEqual(result(), { startup: 'success', liveness: 'success', readiness: 'success' });
  await clock.advance(9000);
  assert.deepEqual(made(), []);
  await clock.advance(1000);
  assert.deepEqual(made(), ['liveness c1', 'readiness c1']);
});

test('a container that is not ready is probed again with each sync; one that is ready is not (L-406)', async (t) => {
  const { clock, sync, made, answers } = setUp(t, { container: { readinessProbe: execProbe() } });
  const startedAt = clock.now();
  answers.next = 1;
  await sync({ startedAt });
  await clock.advance(3000);
  await sync({ startedAt });
  assert.deepEqual(made(), ['check c1', 'check c1']);
  // The ticker starts anew.
  await clock.advance(9999);
  assert.deepEqual(made(), []);
  answers.next = 0;
  await clock.advance(1);
  assert.deepEqual(made(), ['check c1']);
  await sync({ startedAt });
  await sync({ startedAt });
  assert.deepEqual(made(), []);
});

test('errors are discarded after three tries and told (C-324, L-409)', async (t) => {
  const { sync, made, result, answers, events } = setUp(t, { container: { livenessProbe: execProbe({ failureThreshold: 1 }) } });
  answers.next = 'error';
  await sync({});
  assert.equal(made().length, 3);
  assert.deepEqual(result(), { liveness: 'success' });
  assert.deepEqual(events.take(), [
    'Warning Unhealthy: Liveness probe errored and resulted in unknown state: rpc error: code = Unknown desc = no such container',
  ]);
});

test('a redirect to another host is a warning, told as one, and counts as success (L-410, L-416, S-421)', async (t) => {
  const server = createHttp((_, response) => response.writeHead(302, { location: 'http://192.0.2.1/' }).end('there')).listen(
    0,
    '127.0.0.1',
  );
  t.after(async () => {
    server.close().closeAllConnections();
  });
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const { sync, result, events } = setUp(t, {
    container: { readinessProbe: execProbe({ exec: undefined, httpGet: { port, host: '127.0.0.1' } }) },
  });
  await sync({});
  while (events.lines.length === 0) await settle();
  assert.deepEqual(events.take(), ['Warning ProbeWarning: Readiness probe warning: Probe terminated redirects, Response body: there']);
  assert.deepEqual(result(), { readiness: 'success' });
});

test('after a restart of the agent: attempts are spread over a period, and nothing is set (L-398, L-407)', async (t) => {
  const { clock, sync, made, result } = setUp(t, {
    container: { readinessProbe: execProbe(), livenessProbe: execProbe({ exec: { command: ['live'] } }) },
    upMs: 1000,
  });
  const startedAt = clock.now() - 3_600_000;
  await sync({ startedAt });
  assert.deepEqual(result(), {});
  await clock.advance(4999);
  assert.deepEqual(made(), []);
  await clock.advance(1);
  assert.deepEqual(made().slice().sort(), ['check c1', 'live c1']);
  assert.deepEqual(result(), { liveness: 'success', readiness: 'success' });
});

test('a status that knew the container as started spares the startup probe (L-407)', async (t) => {
  const probes = { startupProbe: execProbe({ exec: { command: ['startup'] } }), readinessProbe: execProbe({ periodSeconds: 1 }) };
  const { clock, sync, made, result } = setUp(t, { container: probes, upMs: 1000 });
  const known = { name: 'app', image: '', imageID: '', ready: true, restartCount: 0, started: true, containerID: 'containerd://c1' };
  await sync({ startedAt: clock.now() - 3_600_000 }, { containerStatuses: [known] });
  await clock.advance(1000);
  assert.deepEqual(result(), { startup: 'success', readiness: 'success' });
  assert.deepEqual(made(), ['check c1', 'check c1']);
});

test('workers end with a container that does not come back, and with the Pod (L-400)', async (t) => {
  const { clock, prober, sync, made, series } = setUp(t, {
    container: { readinessProbe: execProbe(), livenessProbe: execProbe() },
    spec: { restartPolicy: 'Never' },
  });
  await sync({});
  assert.equal(series.size, 4);
  await sync({ state: 'exited', exitCode: 1 });
  assert.equal(prober.results('uid-1').workers.size, 0);
  assert.equal(clock.sleeping, 0);
  // Series of a Pod vanish with its workers (H-421).
  assert.deepEqual([...series], []);
  made();
  await sync({ state: 'exited', exitCode: 1 }, { phase: 'Failed' });
  await clock.advance(60_000);
  assert.deepEqual(made(), []);
  assert.equal(prober.results('uid-1').workers.size, 0);
});

test('probes of an ordinary init container are not run, those of a sidecar are (L-395)', async (t) => {
  const probe = { startupProbe: execProbe() };
  const { prober, sync } = setUp(t, {
    spec: {
      initContainers: [buildContainer({ name: 'init', ...probe }), buildContainer({ name: 'side', restartPolicy: 'Always', ...probe })],
    },
  });
  await sync(undefined);
  assert.deepEqual([...prober.results('uid-1').workers.keys()], ['side']);
});

test('while the Pod ends, readiness and sidecars go on (C-284, C-285, L-060, L-405)', async (t) => {
  const { prober, sync } = setUp(t, {
    container: { livenessProbe: execProbe(), readinessProbe: execProbe() },
    spec: { initContainers: [buildContainer({ name: 'side', restartPolicy: 'Always', livenessProbe: execProbe() })] },
  });
  await sync({});
  prober.beginTermination('uid-1');
  await settle();
  await sync({});
  const { workers } = prober.results('uid-1');
  assert.deepEqual([...(workers.get('app') ?? [])], ['readiness']);
  assert.deepEqual([...(workers.get('side') ?? [])], ['liveness']);
  prober.remove('uid-1');
  await settle();
  assert.equal(prober.results('uid-1').workers.size, 0);
});

test('a removed Pod is heard of no more, even with an attempt under way', async (t) => {
  const { clock, prober, sync, answers, hanging, changes } = setUp(t, { container: { livenessProbe: execProbe({ failureThreshold: 1 }) } });
  answers.next = 'hang';
  await sync({});
  const before = changes.length;
  prober.remove('uid-1');
  hanging[0]?.(1);
  await settle();
  assert.equal(changes.length, before);
  assert.equal(clock.sleeping, 0);
});

test('editing the probes of a Pod with a fixed UID has no effect while it runs (C-332, L-396)', async (t) => {
  const { clock, prober, sync, made, pod } = setUp(t, { container: { livenessProbe: execProbe() } });
  const startedAt = clock.now();
  await sync({ startedAt });
  const edited = {
    ...pod,
    spec: { containers: [buildContainer({ livenessProbe: execProbe({ periodSeconds: 1, exec: { command: ['new'] } }) })] },
  };
  prober.sync(edited, observedPod({ containers: [observedContainer({ startedAt })] }), undefined);
  await clock.advance(10_000);
  assert.deepEqual(made(), ['check c1', 'check c1']);
});

test('attempts that outlast their period follow each other without a pause', async (t) => {
  const { clock, sync, made, answers, hanging } = setUp(t, { container: { livenessProbe: execProbe({ periodSeconds: 1 }) } });
  answers.next = 'hang';
  await sync({});
  await clock.advance(3500);
  assert.equal(made().length, 1);
  hanging.shift()?.(0);
  await settle();
  assert.equal(made().length, 1);
  answers.next = 0;
  hanging.shift()?.(0);
  await settle();
  assert.equal(made().length, 0);
  await clock.advance(1000);
  assert.equal(made().length, 1);
});

test('a Pod is probed at its own address, a host-network Pod at the node’s (L-411, L-486)', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  const rows: readonly (readonly [SetUpOptions, PodStatus | undefined, string])[] = [
    [{ spec: { hostNetwork: true } }, undefined, '127.0.0.1'],
    [{ spec: { hostNetwork: true }, nodeAddress: '127.0.0.2' }, { podIP: '127.0.0.9' }, '127.0.0.2'],
    [{ nodeAddress: '127.0.0.2' }, { podIP: '127.0.0.3' }, '127.0.0.3'],
    [{ nodeAddress: '127.0.0.2' }, undefined, '127.0.0.4'],
  ];
  for (const [options, status, address] of rows) {
    const container = { readinessProbe: execProbe({ exec: undefined, tcpSocket: { port } }) };
    const { clock, events, pod, prober } = setUp(t, { ...options, container });
    const sandboxes = [observedSandbox({ ips: ['127.0.0.4'] })];
    prober.sync(pod, observedPod({ sandboxes, containers: [observedContainer({ startedAt: clock.now() })] }), status);
    while (events.lines.length === 0) await settle();
    assert.deepEqual(events.take(), [
      `Warning Unhealthy: Readiness probe failed: dial tcp ${address}:${port}: connect: connection refused`,
    ]);
  }
});
