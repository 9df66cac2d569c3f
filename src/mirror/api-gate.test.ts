import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { apiWorld, evenRandom, quiesce } from '../../test/support/mirror-fixtures.ts';
import { Superseded } from '../std/async.ts';
import { Backoff } from './backoff.ts';
import { type ApiError, paths } from './kube-api.ts';
import { TokenBucket } from './token-bucket.ts';
import { WorkQueue } from './work-queue.ts';

const never = new AbortController().signal;

test('after a fault of the server one request tries it, whoever waits; its success lets all through', async () => {
  const w = apiWorld();
  w.double.isDown = true;
  await assert.rejects(w.gate.request({ method: 'GET', path: paths.pods }, { signal: never }), { code: 'unreachable' });
  w.double.isDown = false;
  w.double.rules = [() => ({ kind: 'hang' })];
  const results = Promise.allSettled(
    [1, 2, 3, 4, 5].map(() => w.gate.request({ method: 'GET', path: paths.pods, timeoutMs: 5000 }, { signal: never })),
  );
  await quiesce();
  assert.equal(w.double.requests.length, 0, 'closed');
  await w.clock.advance(1500);
  await quiesce();
  assert.equal(w.double.requests.length, 1, 'one tries');
  w.double.rules = [];
  await w.clock.advance(60_000);
  await quiesce();
  const outcomes = (await results).map((r) => r.status);
  assert.deepEqual(outcomes.sort(), ['fulfilled', 'fulfilled', 'fulfilled', 'fulfilled', 'rejected']);
});

test('a refusal of one object closes nothing', async () => {
  const w = apiWorld();
  await assert.rejects(w.gate.request({ method: 'GET', path: paths.node('none') }, { signal: never }), { code: 'not-found' });
  await w.gate.request({ method: 'GET', path: paths.pods }, { signal: never });
  assert.deepEqual(w.faults.list(), []);
});

test('who waits at the gate can be aborted, also the one that tries', async () => {
  const w = apiWorld();
  w.double.isDown = true;
  await assert.rejects(w.gate.request({ method: 'GET', path: paths.pods }, { signal: never }));
  const stop = new AbortController();
  const waiting = w.gate.request({ method: 'GET', path: paths.pods }, { signal: stop.signal });
  stop.abort(new Error('stop'));
  await assert.rejects(waiting, { message: 'stop' });
  w.double.isDown = false;
  w.double.rules = [() => ({ kind: 'hang' })];
  const stopProbe = new AbortController();
  const probe = w.gate.request({ method: 'GET', path: paths.pods }, { signal: stopProbe.signal });
  await w.clock.advance(1500);
  await quiesce();
  stopProbe.abort(new Error('stop'));
  await assert.rejects(probe, { message: 'stop' });
  w.double.rules = [];
  await w.gate.request({ method: 'GET', path: paths.pods }, { signal: never });
});

test('a fault that flaps is told once in five minutes, and again when its cause changes', async () => {
  const w = apiWorld();
  const fault = (code: string): ApiError => Object.assign(new Error('m'), { code }) as unknown as ApiError;
  for (let i = 0; i < 10; i++) {
    w.faults.report('mirror', 'a/b', fault('x'), { cause: 'x' });
    await w.clock.advance(10_000);
    w.faults.clear('mirror', 'a/b');
  }
  assert.equal(w.events.length, 1);
  w.faults.report('mirror', 'a/b', fault('y'), { cause: 'y' });
  assert.equal(w.events.length, 2);
  w.faults.clear('mirror', 'a/b');
  await w.clock.advance(301_000);
  w.faults.report('mirror', 'a/b', fault('y'), { cause: 'y' });
  assert.equal(w.events.length, 3);
});

test('Backoff doubles to its bound, and no Retry-After is longer than five minutes and a bit', () => {
  const backoff = new Backoff({ baseMs: 1000, maxMs: 30_000 }, { random: evenRandom });
  assert.deepEqual(
    [1, 2, 3, 4, 5, 6, 7].map(() => backoff.next()),
    [1250, 2500, 5000, 10_000, 20_000, 37_500, 37_500],
  );
  assert.equal(backoff.next(86_400_000), 315_000);
  backoff.reset();
  assert.equal(backoff.next(), 1250);
});

test('TokenBucket: a burst, then the rate; a clock set back takes nothing', async () => {
  const { clock } = apiWorld();
  const bucket = new TokenBucket({ perSecond: 2, burst: 3 }, { clock });
  assert.deepEqual(
    [1, 2, 3, 4].map(() => bucket.tryTake()),
    [true, true, true, false],
  );
  await clock.advance(1000);
  assert.deepEqual(
    [1, 2, 3].map(() => bucket.tryTake()),
    [true, true, false],
  );
  let taken = 0;
  for (let i = 0; i < 4; i++) {
    bucket.take(never).then(
      () => taken++,
      () => undefined,
    );
  }
  await clock.advance(1000);
  assert.equal(taken, 2);
});

test('WorkQueue: a clock set back delays nothing', async () => {
  const clock = new FakeClock();
  const queue = new WorkQueue({ clock });
  const done: string[] = [];
  const stop = new AbortController();
  const run = queue.run(1, async (key) => void done.push(key), stop.signal);
  queue.addAt('later', clock.elapsed() + 1000);
  clock.jump(-86_400_000);
  queue.add('now');
  await settle();
  assert.deepEqual(done, ['now']);
  await clock.advance(1000);
  assert.deepEqual(done, ['now', 'later']);
  stop.abort(new Superseded());
  await assert.rejects(run, Superseded);
});
