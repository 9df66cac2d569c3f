// systemd's own programs against a real D-Bus of the test's own: locks, signals, and what happens when either side dies.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { type ShutdownLock, SystemdLogind } from '../../src/shutdown/logind.ts';
import { Shutdown } from '../../src/std/async.ts';
import { PrivateBus, whyNoBus } from '../support/private-bus.ts';

const reason = whyNoBus();

describe('logind over D-Bus', { ...(reason === undefined ? {} : { skip: reason }), timeout: 60_000 }, () => {
  let bus: PrivateBus;
  let controller: AbortController;
  let locks: ShutdownLock[];

  beforeEach(async () => {
    bus = new PrivateBus();
    controller = new AbortController();
    locks = [];
    await bus.start();
  });
  afterEach(async () => {
    controller.abort(new Shutdown());
    for (const lock of locks) await lock.release();
    await bus.close();
  });

  const connect = () => new SystemdLogind({ configFolder: bus.configFolder, env: bus.env });
  const options = () => ({ signal: controller.signal });
  const take = async (logind: SystemdLogind): Promise<ShutdownLock> => {
    const lock = await logind.inhibit(options());
    locks.push(lock);
    return lock;
  };

  it('H-481: reads and raises the longest delay', async () => {
    const logind = connect();
    assert.equal(await logind.maxDelayMs(options()), 5_000);
    await logind.extendDelay(45, options());
    await bus.hears('delay 45');
    assert.equal(await logind.maxDelayMs(options()), 45_000);
  });

  it('H-482: a lock is held until it is released', async () => {
    const lock = await take(connect());
    await bus.hears('locks 1');
    await lock.release();
    await bus.hears('locks 0');
    await lock.lost;
    await lock.release();
  });

  it('no lock is given while a shutdown is being prepared', async () => {
    bus.prepare(true);
    await assert.rejects(take(connect()), { code: 'program-failed' });
  });

  it('H-483, H-484: news of a shutdown, and of its end', async () => {
    const logind = connect();
    let wake: () => void = () => undefined;
    const next = (): Promise<void> =>
      new Promise((resolve) => {
        wake = resolve;
      });
    let news = next();
    const listening = logind.listen({ ...options(), onNews: () => wake() });
    await news; // it listens
    assert.equal(await logind.isPreparing(options()), false);
    for (const isPreparing of [true, false]) {
      news = next();
      bus.prepare(isPreparing);
      await news;
      assert.equal(await logind.isPreparing(options()), isPreparing);
    }
    const stopped = new Shutdown();
    controller.abort(stopped);
    await assert.rejects(listening, stopped);
  });

  it('C-404: whoever listens hears that logind was started anew', async () => {
    const listens = new Promise<void>((resolve, reject) => {
      over = connect().listen({ ...options(), onNews: resolve });
      over.catch(reject);
    });
    await listens;
    await bus.stopLogind();
    await over;
  });
  let over: Promise<void> = Promise.resolve();

  it('C-404: and that the bus went away', async () => {
    await new Promise<void>((resolve, reject) => {
      over = connect().listen({ ...options(), onNews: resolve });
      over.catch(reject);
    });
    await bus.stopBus();
    await over.catch((error: unknown) => assert.equal((error as { code?: string }).code, 'program-failed'));
    await assert.rejects(connect().isPreparing(options()), { code: 'program-failed' });
  });

  it('a machine without systemd: the program is missing', async () => {
    const logind = new SystemdLogind({ env: { ...bus.env, PATH: '/nowhere' } });
    await assert.rejects(logind.maxDelayMs(options()), { code: 'program-missing' });
  });
});
