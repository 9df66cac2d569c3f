import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { containerConfig, sandboxConfig } from '../../test/compliance/builders.ts';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { FakeRuntime, type FakeRuntimeOptions } from '../../test/support/fake-runtime.ts';
import { Shutdown } from '../std/async.ts';
import { RuntimeError } from '../std/errors.ts';
import { silentLogger } from '../std/log.ts';
import { noMetrics } from '../std/metrics.ts';
import { Pleg, type PlegOptions } from './pleg.ts';

const image = 'docker.io/library/busybox:latest';

function world(options: FakeRuntimeOptions & PlegOptions = {}) {
  const clock = new FakeClock();
  const runtime = new FakeRuntime(options, { clock });
  runtime.addImage(image);
  const ends = new AbortController();
  const o = { signal: ends.signal };
  const changes: string[] = [];
  const counted: string[] = [];
  const gauges: Record<string, number> = {};
  const latencies: number[] = [];
  let recoveries = 0;
  const pleg = new Pleg(options, {
    runtime,
    clock,
    logger: silentLogger,
    metrics: {
      ...noMetrics,
      counter: ({ name }) => ({
        inc: () => void counted.push(name.replace('kubelet_evented_pleg_connection_', '')),
        remove: () => undefined,
      }),
      histogram: ({ name }) => ({
        observe: (value) => void (name === 'kubelet_evented_pleg_connection_latency_seconds' && latencies.push(value)),
        remove: () => undefined,
      }),
      gauge: ({ name }) => ({
        set: (value, { container_state: state } = {}) => {
          gauges[state ?? name.replace('kubelet_', '')] = value;
        },
        remove: () => undefined,
      }),
    },
    onChange: (podUid) => changes.push(podUid),
    onRecovered: () => {
      recoveries += 1;
    },
  });
  return {
    clock,
    runtime,
    pleg,
    o,
    /** What was woken since the last look, without repetitions. */
    woken(): readonly string[] {
      return [...new Set(changes.splice(0))];
    },
    counted,
    latencies,
    gauges,
    recoveries: () => recoveries,
    relists: () => runtime.calls.filter(({ method, args }) => method === 'listPodSandboxes' && args.length === 0).length,
    async pod(uid: string, attempt = 0): Promise<{ readonly sandboxId: string; readonly containerId: string }> {
      const config = sandboxConfig({ uid, attempt });
      const sandboxId = await runtime.runPodSandbox({ config, runtimeHandler: '' }, o);
      const containerId = await runtime.createContainer(
        { sandboxId, config: containerConfig(config, { image }), sandboxConfig: config },
        o,
      );
      await runtime.startContainer(containerId, o);
      return { sandboxId, containerId };
    },
    /** Starts the pleg; ends it after `body` and checks that it ends with the reason it was given. */
    async running(body: () => Promise<void>): Promise<void> {
      const run = pleg.run(o);
      run.catch(() => undefined);
      await settle();
      try {
        await body();
      } finally {
        const reason = new Shutdown();
        ends.abort(reason);
        await assert.rejects(run, (error) => error === reason);
        assert.equal(clock.sleeping, 0);
        assert.equal(runtime.eventSubscribers, 0);
      }
    },
  };
}

describe('Pleg with events', () => {
  it('wakes the Pod of an event at once, without listing again (D6, L-014, L-102, L-103)', async () => {
    const w = world();
    const { containerId } = await w.pod('a');
    await w.pod('b');
    await w.running(async () => {
      assert.deepEqual(w.woken(), ['a', 'b']);
      await w.clock.advance(1_000);
      const before = w.relists();
      w.runtime.exit(containerId, 1);
      await settle();
      assert.deepEqual(w.woken(), ['a']);
      assert.equal(w.relists(), before);
    });
  });

  it('counts what runs as it changes, not only at a relist (H-361, H-362)', async () => {
    const w = world();
    await w.running(async () => {
      await w.clock.advance(1_000);
      const { containerId, sandboxId } = await w.pod('a');
      await w.pod('b');
      for (const uid of ['a', 'b']) await w.pleg.observe(uid, w.o);
      assert.deepEqual([w.gauges['running_pods'], w.gauges['running']], [2, 2]);
      w.runtime.exit(containerId, 1);
      await w.pleg.observe('a', w.o);
      assert.deepEqual([w.gauges['running_pods'], w.gauges['running'], w.gauges['exited']], [2, 1, 1]);
      await w.runtime.stopPodSandbox(sandboxId, w.o);
      await w.runtime.removePodSandbox(sandboxId, w.o);
      await w.pleg.observe('a', w.o);
      assert.deepEqual([w.gauges['running_pods'], w.gauges['running'], w.gauges['exited']], [1, 1, 0]);
    });
  });

  it('tells how late an event came, of those that say when they were made (H-386)', async () => {
    const w = world();
    await w.running(async () => {
      const { containerId } = await w.pod('a');
      const now = w.clock.now();
      for (const createdAt of [now - 250, undefined, now + 5]) w.runtime.emitEvent({ podUid: 'a', containerId, createdAt });
      await settle();
      assert.deepEqual(w.latencies.slice(-2), [0.25, 0]);
    });
  });

  it('idles: one relist a minute once the stream has proven itself (D7)', async () => {
    const w = world();
    await w.running(async () => {
      await w.clock.advance(1_000);
      const before = w.relists();
      await w.clock.advance(600_000);
      assert.equal(w.relists() - before, 10);
    });
  });

  it('looks once more a second after opening the stream, for what happened while it was being opened', async () => {
    const w = world();
    await w.running(async () => {
      const before = w.relists();
      await w.clock.advance(1_000);
      assert.equal(w.relists() - before, 1);
    });
  });

  it('finds the Pod of an event that does not name it, by what was observed or listed', async () => {
    const w = world();
    await w.running(async () => {
      await w.clock.advance(1_000);
      const { containerId, sandboxId } = await w.pod('a');
      await w.pleg.observe('a', w.o);
      await settle();
      w.woken();
      const before = w.relists();
      for (const id of [containerId, sandboxId]) {
        w.runtime.emitEvent({ podUid: undefined, containerId: id });
        await settle();
        assert.deepEqual(w.woken(), ['a']);
      }
      assert.equal(w.relists(), before);
    });
  });

  it('looks again at the Pod of an event that may have come early, and at no other', async () => {
    const w = world({ events: 'silent' });
    const { containerId } = await w.pod('a');
    await w.pod('b');
    await w.running(async () => {
      await w.clock.advance(2_000);
      w.woken();
      w.runtime.clearCalls();
      w.runtime.emitEvent({ podUid: undefined, containerId });
      await settle();
      assert.deepEqual(w.woken(), ['a'], 'at once, though nothing is to be seen yet');
      await w.clock.advance(10);
      assert.deepEqual(w.woken(), []);
      w.runtime.exit(containerId, 1);
      await w.clock.advance(15);
      assert.deepEqual(w.woken(), ['a'], 'when it is to be seen');
      await w.clock.advance(10_000);
      assert.deepEqual(w.woken(), []);
      const lists = w.runtime.calls.filter(({ method }) => method === 'listContainers').map(({ args }) => args);
      assert.deepEqual(
        lists,
        Array.from({ length: 8 }, () => ['a']),
      );
    });
  });

  it('answers events about unknown ids with one relist for all of them', async () => {
    const w = world();
    await w.running(async () => {
      await w.clock.advance(1_000);
      const before = w.relists();
      for (const containerId of ['x', 'y', 'z']) w.runtime.emitEvent({ podUid: undefined, containerId });
      await settle();
      assert.equal(w.relists(), before);
      await w.clock.advance(200);
      assert.equal(w.relists() - before, 1);
      assert.deepEqual(w.woken(), []);
    });
  });

  it('relists after every break and reconnect, and wakes who changed meanwhile (L-105, C-318, H-386)', async () => {
    const w = world();
    const { containerId } = await w.pod('a');
    await w.pod('b');
    await w.running(async () => {
      await w.clock.advance(1_000);
      w.woken();
      w.runtime.breakEvents();
      w.runtime.exit(containerId, 1);
      await settle();
      assert.deepEqual(w.woken(), ['a']);
      const before = w.relists();
      await w.clock.advance(100);
      assert.equal(w.runtime.eventSubscribers, 1);
      assert.equal(w.relists() - before, 1);
      await w.pod('c');
      await settle();
      assert.deepEqual(w.counted, ['success_count', 'error_count', 'success_count'], 'only what arrives shows that a stream is open');
    });
  });

  it('backs off from 100 ms to 3 s while the stream cannot be opened, relisting meanwhile', async () => {
    const w = world();
    const opened = (): number => w.runtime.calls.filter(({ method }) => method === 'events').length;
    for (let i = 0; i < 8; i++) w.runtime.failNext('events', new RuntimeError('unavailable', 'down'));
    await w.running(async () => {
      for (const ms of [100, 200, 400, 800, 1_600, 3_000, 3_000, 3_000]) {
        const before = opened();
        await w.clock.advance(ms - 1);
        assert.equal(opened(), before, `${ms} ms`);
        await w.clock.advance(1);
        assert.equal(opened(), before + 1, `${ms} ms`);
      }
      assert.equal(w.runtime.eventSubscribers, 1);
    });
  });

  it('misses nothing that no event told of, a minute later at most', async () => {
    const w = world({ events: 'silent' });
    const { containerId } = await w.pod('a');
    await w.running(async () => {
      await w.clock.advance(1_000);
      w.woken();
      w.runtime.exit(containerId, 1);
      await w.clock.advance(59_999);
      assert.deepEqual(w.woken(), []);
      await w.clock.advance(1);
      assert.deepEqual(w.woken(), ['a']);
    });
  });
});

describe('Pleg without events', () => {
  it('relists a second after the last relist finished (L-086) and wakes who changed (L-087, L-088, L-106, C-307)', async () => {
    const w = world({ events: false });
    const { containerId } = await w.pod('a');
    await w.pod('b');
    await w.running(async () => {
      assert.deepEqual(w.woken(), ['a', 'b']);
      await w.clock.advance(1_000);
      assert.deepEqual(w.woken(), []);
      w.runtime.exit(containerId, 0);
      await w.clock.advance(999);
      assert.deepEqual(w.woken(), []);
      await w.clock.advance(1);
      assert.deepEqual(w.woken(), ['a']);
      await w.runtime.removeContainer(containerId, w.o);
      await w.clock.advance(1_000);
      assert.deepEqual(w.woken(), ['a']);
      const before = w.relists();
      await w.clock.advance(10_000);
      assert.equal(w.relists() - before, 10);
    });
  });

  it('wakes a Pod that vanished entirely and forgets it (L-093)', async () => {
    const w = world({ events: false });
    const { sandboxId } = await w.pod('a');
    await w.running(async () => {
      w.woken();
      await w.runtime.removePodSandbox(sandboxId, w.o);
      await w.clock.advance(1_000);
      assert.deepEqual(w.woken(), ['a']);
      assert.deepEqual([...w.pleg.podUids()], []);
      await w.clock.advance(1_000);
      assert.deepEqual(w.woken(), []);
    });
  });

  it('wakes a Pod whose container ended and was followed by another between two relists (C-309)', async () => {
    const w = world({ events: false });
    const { sandboxId, containerId } = await w.pod('a');
    await w.running(async () => {
      w.woken();
      const config = sandboxConfig({ uid: 'a' });
      const next = { sandboxId, config: containerConfig(config, { image, attempt: 1 }), sandboxConfig: config };
      w.runtime.exit(containerId, 1);
      await w.runtime.startContainer(await w.runtime.createContainer(next, w.o), w.o);
      await w.clock.advance(1_000);
      assert.deepEqual(w.woken(), ['a']);
    });
  });

  it('does not wake a worker with what it has just read itself', async () => {
    const w = world({ events: false });
    await w.running(async () => {
      await w.pod('a');
      await w.pleg.observe('a', w.o);
      await w.clock.advance(1_000);
      assert.deepEqual(w.woken(), []);
    });
  });

  it('asks again for events after a minute: the runtime may have been replaced', async () => {
    const w = world();
    w.runtime.failNext('events', new RuntimeError('unimplemented', 'none', { retry: 'never' }));
    await w.running(async () => {
      await w.clock.advance(59_999);
      assert.equal(w.runtime.eventSubscribers, 0);
      await w.clock.advance(1);
      assert.equal(w.runtime.eventSubscribers, 1);
    });
  });
});

describe('Pleg while the runtime is down', () => {
  it('keeps its records, tries every second, and says when it is over (L-094, L-116, L-117)', async () => {
    const w = world({ events: false });
    await w.pod('a');
    await w.running(async () => {
      w.woken();
      for (let i = 0; i < 3; i++) w.runtime.failNext('listContainers', new RuntimeError('unavailable', 'down'));
      await w.clock.advance(3_000);
      assert.deepEqual([...w.pleg.podUids()], ['a']);
      assert.deepEqual(w.woken(), []);
      assert.equal(w.recoveries(), 0);
      await w.clock.advance(1_000);
      assert.equal(w.recoveries(), 1);
    });
  });

  it('is unhealthy before the first good relist and when the last one began more than 3 minutes ago (L-097)', async () => {
    const w = world({ events: false });
    assert.equal(w.pleg.unhealthyReason(), 'pleg has yet to be successful');
    await w.running(async () => {
      await w.pleg.ready(w.o);
      assert.equal(w.pleg.unhealthyReason(), undefined);
      const release = w.runtime.block('listContainers');
      await w.clock.advance(180_000);
      assert.equal(w.pleg.unhealthyReason(), undefined);
      await w.clock.advance(5_000);
      assert.equal(w.pleg.unhealthyReason(), 'pleg was last seen active 3m5s ago; threshold is 3m0s');
      release();
      await w.clock.advance(1_000);
      assert.equal(w.pleg.unhealthyReason(), undefined);
    });
  });
});

describe('Pleg.observe', () => {
  it('gives sandboxes newest first, by attempt (L-098), and details of the newest only', async () => {
    const w = world();
    const first = await w.pod('a', 1);
    const second = await w.pod('a', 0);
    const { sandboxes } = await w.pleg.observe('a', w.o);
    assert.deepEqual(
      sandboxes.map(({ id, hostNetwork }) => [id, hostNetwork]),
      [
        [first.sandboxId, true],
        [second.sandboxId, undefined],
      ],
    );
  });

  it('gives containers newest-created first (L-098), with their details', async () => {
    const w = world();
    const { sandboxId, containerId } = await w.pod('a');
    w.runtime.exit(containerId, 3);
    await w.clock.advance(5);
    const config = sandboxConfig({ uid: 'a' });
    const next = await w.runtime.createContainer(
      { sandboxId, config: containerConfig(config, { image, attempt: 1 }), sandboxConfig: config },
      w.o,
    );
    const { containers } = await w.pleg.observe('a', w.o);
    assert.deepEqual(
      containers.map(({ id, state, exitCode, sandboxId: of }) => [id, state, exitCode, of]),
      [
        [next, 'created', 0, sandboxId],
        [containerId, 'exited', 3, sandboxId],
      ],
    );
  });

  it('takes addresses only from a ready sandbox (L-098)', async () => {
    const w = world();
    const config = sandboxConfig({ uid: 'a', hostNetwork: false });
    const id = await w.runtime.runPodSandbox({ config, runtimeHandler: '' }, w.o);
    assert.equal((await w.pleg.observe('a', w.o)).sandboxes[0]?.ips.length, 1);
    w.runtime.killSandbox(id);
    const [dead] = (await w.pleg.observe('a', w.o)).sandboxes;
    assert.deepEqual([dead?.state, dead?.ips, dead?.lostNetwork], ['notReady', [], false]);
  });

  it('leaves out what goes away while it reads (L-098)', async () => {
    const w = world();
    const { sandboxId } = await w.pod('a');
    const release = w.runtime.block('containerStatus');
    const releaseSandbox = w.runtime.block('podSandboxStatus');
    const observed = w.pleg.observe('a', w.o);
    await settle();
    await w.runtime.removePodSandbox(sandboxId, w.o);
    release();
    releaseSandbox();
    assert.deepEqual(await observed, { uid: 'a', sandboxes: [], containers: [] });
  });

  it('fails as a whole when one part fails (L-090, L-098)', async () => {
    const w = world();
    await w.pod('a');
    const failure = new RuntimeError('unavailable', 'down');
    w.runtime.failNext('containerStatus', failure);
    await assert.rejects(w.pleg.observe('a', w.o), (error) => error === failure);
  });

  it('has nothing of a Pod the runtime does not know', async () => {
    const w = world();
    assert.deepEqual(await w.pleg.observe('nobody', w.o), { uid: 'nobody', sandboxes: [], containers: [] });
  });
});
