// The end of the machine as its Pods see it: real workers on a fake runtime, and a logind that does what the test says.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { buildAdmissionNode } from '../../test/support/node-facts.ts';
import { onMachine, type PodMachine, staticPod } from '../../test/support/pod-machine.ts';
import { buildPod, RecordedEvents } from '../../test/support/pods.ts';
import type { Pod } from '../api/pod.ts';
import type { TerminationCause } from '../pod/work.ts';
import { raceSignal, Shutdown } from '../std/async.ts';
import { AgentError } from '../std/errors.ts';
import { type Logger, silentLogger } from '../std/log.ts';
import { noMetrics } from '../std/metrics.ts';
import type { ShutdownGroup } from './groups.ts';
import type { Logind, ShutdownLock } from './logind.ts';
import { NodeShutdown } from './node-shutdown.ts';

class FakeLogind implements Logind {
  /** What happened to locks and settings, in order. */
  readonly log: string[] = [];
  maxDelay = 60_000;
  /** What the next setting makes of it. */
  grants: number | undefined;
  isDown = false;
  #isPreparing = false;
  #news: () => void = () => undefined;
  #drop: () => void = () => undefined;

  async maxDelayMs(): Promise<number> {
    this.#check();
    return this.maxDelay;
  }

  async extendDelay(seconds: number): Promise<void> {
    this.log.push(`extend ${seconds}`);
    this.maxDelay = this.grants ?? seconds * 1000;
  }

  async isPreparing(): Promise<boolean> {
    this.#check();
    return this.#isPreparing;
  }

  async inhibit(): Promise<ShutdownLock> {
    this.#check();
    if (this.#isPreparing) throw new AgentError('program-failed', 'a shutdown is being prepared');
    this.log.push('lock');
    let resolve: () => void = () => undefined;
    const promise = new Promise<void>((lost) => {
      resolve = lost;
    });
    let isHeld = true;
    const release = async (): Promise<void> => {
      if (isHeld) this.log.push('release');
      isHeld = false;
      resolve();
    };
    return { lost: promise, release };
  }

  async listen({ signal, onNews }: { readonly signal: AbortSignal; readonly onNews: () => void }): Promise<void> {
    this.#check();
    const over = new Promise<void>((resolve) => {
      this.#drop = resolve;
    });
    this.#news = onNews;
    onNews();
    await raceSignal(over, signal);
  }

  async prepare(isPreparing: boolean): Promise<void> {
    this.#isPreparing = isPreparing;
    this.#news();
    await settle();
  }

  /** logind is started anew, or the bus is. */
  async restart(): Promise<void> {
    this.#drop();
    await settle();
  }

  #check(): void {
    if (this.isDown) throw new AgentError('program-failed', 'no bus');
  }
}

const groups: readonly ShutdownGroup[] = [
  { priority: 0, seconds: 20 },
  { priority: 2_000_000_000, seconds: 10 },
];

interface Scene {
  readonly m: PodMachine;
  readonly logind: FakeLogind;
  readonly nodeEvents: RecordedEvents;
  readonly said: string[];
  /** Metrics as last set. */
  readonly gauges: Map<string, number>;
  /** Seconds since the beginning, each `change` of what is being shut down. */
  readonly changes: boolean[];
}

/** Stubborn Pods `plain` and `critical` run, and the shutdown of the machine is watched. */
async function scene(run: (s: Scene) => Promise<void>, change: (logind: FakeLogind) => void = () => undefined): Promise<void> {
  await onMachine({ process: () => ({ onTerm: 'ignore' }) }, async (m) => {
    await m.apply(
      staticPod('plain', { terminationGracePeriodSeconds: 60 }, 'plain'),
      staticPod('critical', { terminationGracePeriodSeconds: 5, priority: 2_000_001_000 }, 'critical'),
    );
    m.takeDeeds();
    const logind = new FakeLogind();
    change(logind);
    const nodeEvents = new RecordedEvents();
    const said: string[] = [];
    const changes: boolean[] = [];
    const gauges = new Map<string, number>();
    const say = (message: string): void => void said.push(message);
    const logger: Logger = { ...silentLogger, info: say, warn: say };
    const controller = new AbortController();
    const shutdown = new NodeShutdown(
      { groups, node: { kind: 'Node', namespace: '', name: 'node1', uid: 'node1' } },
      {
        logind,
        pods: {
          active: () => m.agent.workers.active().map(({ pod }) => pod),
          terminate: (uid, cause, grace) => m.agent.workers.terminate(uid, cause, grace),
          subscribe: (listener) => m.agent.status.subscribe(listener),
        },
        onChange: (isShuttingDown) => {
          changes.push(isShuttingDown);
          m.admission = buildAdmissionNode({ isShuttingDown });
          m.agent.workers.reconcile();
        },
        events: nodeEvents,
        metrics: { ...noMetrics, gauge: ({ name }) => ({ set: (value) => void gauges.set(name, value), remove: () => undefined }) },
        clock: m.clock,
        logger,
      },
    );
    const running = shutdown.run({ signal: controller.signal });
    try {
      await settle();
      await run({ m, logind, nodeEvents, said, changes, gauges });
    } finally {
      const stopped = new Shutdown();
      controller.abort(stopped);
      await assert.rejects(running, stopped);
    }
  });
}

test('a shutdown: groups end one after the other within their times, then the machine may go (L-495 … L-498, C-402, H-399)', () =>
  scene(async ({ m, logind, nodeEvents, changes, gauges }) => {
    assert.deepEqual([...gauges.values()], [0, 0]);
    assert.deepEqual(logind.log, ['lock']);
    await logind.prepare(true);
    await m.settle();
    assert.deepEqual(m.takeDeeds(), ['stopContainer app/0 20'], 'the lowest group first, with its time instead of its own');
    assert.deepEqual(changes, [true]);
    assert.deepEqual(nodeEvents.lines, ['Normal Shutdown: Shutdown manager detected shutdown event']);
    await m.apply(...m.desired.values(), staticPod('late', {}, 'late'));
    assert.equal(m.status('late')?.reason, 'NodeShutdown');
    assert.equal(m.status('late')?.message, 'Pod was rejected: Pod was rejected as the node is shutting down.');
    await m.advance(19_000);
    assert.deepEqual(m.takeDeeds(), []);
    await m.advance(2_000);
    assert.deepEqual([...m.takeDeeds()].sort(), ['stopContainer app/0 5', 'stopPodSandbox plain-node1/0'], 'its own grace is shorter');
    assert.deepEqual(logind.log, ['lock']);
    const { phase, reason, message, conditions } = m.status('plain') ?? {};
    assert.deepEqual([phase, reason, message], ['Failed', 'Terminated', 'Pod was terminated in response to imminent node shutdown.']);
    assert.equal(conditions?.find(({ type }) => type === 'DisruptionTarget')?.reason, 'TerminationByKubelet');
    await m.advance(6_000);
    assert.deepEqual(logind.log, ['lock', 'release'], 'as soon as the last one has ended');
    const [start = 0, end = 0] = ['start', 'end'].map((what) => gauges.get(`kubelet_graceful_shutdown_${what}_time_seconds`));
    assert.ok(end - start >= 25 && end - start <= 26, `${end - start}`);
    await m.advance(120_000);
    assert.deepEqual(await m.containers('plain'), ['app/0 exited'], 'nobody comes back');
  }));

test('a group that does not end in time holds up nobody (L-497)', () =>
  scene(async ({ m, logind, said }) => {
    m.beforeDeed = (method) => {
      if (method.startsWith('stop')) throw new AgentError('test', 'the runtime is stuck');
    };
    await logind.prepare(true);
    await m.advance(31_000);
    assert.deepEqual(logind.log, ['lock', 'release']);
    assert.equal(said.filter((line) => line === 'pods did not end within the time of their group').length, 2);
    m.beforeDeed = () => undefined;
    await m.advance(60_000);
  }));

test('called off: nobody else is ended, the lock is taken anew, and who was ended comes back (L-499, C-403, D4)', () =>
  scene(async ({ m, logind, nodeEvents, changes }) => {
    await logind.prepare(true);
    await m.advance(1_000);
    await logind.prepare(false);
    await m.advance(25_000);
    assert.deepEqual(changes, [true, false]);
    assert.deepEqual(nodeEvents.lines.slice(1), ['Normal Shutdown: Shutdown manager detected shutdown cancellation']);
    assert.deepEqual(logind.log, ['lock', 'release', 'lock']);
    assert.deepEqual(await m.containers('critical'), ['app/0 running']);
    await m.advance(10_000);
    assert.equal(m.status('plain')?.phase, 'Running');
    await logind.prepare(true);
    await m.advance(30_000);
    assert.deepEqual(logind.log, ['lock', 'release', 'lock', 'release'], 'the next one is seen as well');
  }));

test('logind or the bus starts anew: the lock is taken again and a shutdown is still seen (C-404)', () =>
  scene(async ({ m, logind }) => {
    await logind.restart();
    await m.advance(2_000);
    assert.deepEqual(logind.log, ['lock', 'release', 'lock']);
    await logind.prepare(true);
    await m.settle();
    assert.deepEqual(m.takeDeeds(), ['stopContainer app/0 20']);
  }));

test('the bus goes away in the middle: the Pods end in order all the same', () =>
  scene(async ({ m, logind, changes }) => {
    await logind.prepare(true);
    logind.isDown = true;
    await logind.restart();
    await m.advance(30_000);
    assert.deepEqual(logind.log, ['lock', 'release']);
    assert.deepEqual(await m.containers('critical'), ['app/0 exited']);
    assert.deepEqual(changes, [true]);
  }));

test('an agent that starts during a shutdown ends the Pods without a lock', () =>
  scene(
    async ({ m, logind }) => {
      await m.advance(30_000);
      assert.deepEqual(logind.log, []);
      assert.deepEqual(await m.containers('critical'), ['app/0 exited']);
    },
    (logind) => void logind.prepare(true),
  ));

test('an agent that hears of the shutdown before it knows its Pods ends them when it finds them, each once', async () => {
  const clock = new FakeClock();
  const logind = new FakeLogind();
  await logind.prepare(true);
  let active: readonly Pod[] = [];
  let listener: () => void = () => undefined;
  const terminated: string[] = [];
  const pods = {
    active: () => active,
    terminate: (uid: string, _cause: TerminationCause, seconds: number) => void terminated.push(`${uid} within ${seconds}`),
    subscribe: (on: () => void) => {
      listener = on;
      return () => undefined;
    },
  };
  const shutdown = new NodeShutdown(
    { groups, node: { kind: 'Node', namespace: '', name: 'node1', uid: 'node1' } },
    { logind, pods, onChange: () => undefined, events: new RecordedEvents(), metrics: noMetrics, clock, logger: silentLogger },
  );
  const controller = new AbortController();
  const running = shutdown.run({ signal: controller.signal });
  await clock.advance(60_000);
  const found = (uid: string): void => {
    active = [...active, buildPod({}, { uid })];
    listener();
  };
  found('one');
  await clock.advance(30_000);
  found('two');
  await clock.advance(30_000);
  assert.deepEqual(terminated, ['one within 20', 'two within 20']);
  const stopped = new Shutdown();
  controller.abort(stopped);
  await assert.rejects(running, stopped);
});

test('a machine without a bus: one line, and nothing else until there is one', () =>
  scene(
    async ({ m, logind, said }) => {
      await m.advance(600_000);
      assert.deepEqual(said, ['no logind: pods will not end in order when the machine shuts down']);
      logind.isDown = false;
      await m.advance(60_000);
      assert.deepEqual(logind.log, ['lock']);
    },
    (logind) => {
      logind.isDown = true;
    },
  ));

for (const [title, change, expected, warning] of [
  ['waits long enough already', {}, ['lock'], undefined],
  ['is told to wait longer', { maxDelay: 5_000 }, ['extend 30', 'lock'], undefined],
  [
    'does not listen',
    { maxDelay: 5_000, grants: 5_000 },
    ['extend 30', 'lock'],
    'logind does not wait as long as the pods may take: set InhibitDelayMaxSec in logind.conf',
  ],
] as const) {
  test(`L-494, H-481: logind ${title}`, () =>
    scene(
      async ({ m, logind, said }) => {
        await m.advance(5_000);
        assert.deepEqual(logind.log, expected);
        assert.equal(
          said.find((line) => line.startsWith('logind')),
          warning,
        );
      },
      (logind) => void Object.assign(logind, change),
    ));
}
