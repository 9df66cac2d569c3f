import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { Deadline, raceSignal, Superseded } from './async.ts';
import type { Clock } from './clock.ts';
import { withDeadline } from './deadline.ts';

const forever = (signal: AbortSignal): Promise<never> => raceSignal(new Promise<never>(() => undefined), signal);

test('a task is ended with its time, with its caller, or ends itself; no timer is left behind', async () => {
  const clock = new FakeClock();
  const { signal } = new AbortController();

  assert.equal(await withDeadline({ ms: 1000, signal, clock }, () => Promise.resolve('done')), 'done');
  assert.equal(clock.sleeping, 0);

  await assert.rejects(
    withDeadline({ ms: 1000, signal, clock }, () => Promise.reject(new RangeError('own'))),
    RangeError,
  );
  assert.equal(clock.sleeping, 0);

  const late = assert.rejects(withDeadline({ ms: 1000, signal, clock }, forever), Deadline);
  await settle();
  await clock.advance(1000);
  await late;

  const caller = new AbortController();
  const reason = new Superseded();
  const ended = withDeadline({ ms: 1000, signal: caller.signal, clock }, forever);
  caller.abort(reason);
  await assert.rejects(ended, reason);
  await settle();
  assert.equal(clock.sleeping, 0);

  await assert.rejects(
    withDeadline({ ms: 1000, signal: caller.signal, clock }, () => Promise.resolve()),
    reason,
  );
});

test('what came in while the process did not get to run is heard before the time is up', async () => {
  const { signal } = new AbortController();
  const timers: { readonly ms: number; readonly fire: () => void }[] = [];
  const clock: Clock = {
    now: () => 0,
    elapsed: () => 0,
    sleep: (ms, limited) => raceSignal(new Promise<void>((fire) => timers.push({ ms, fire })), limited),
  };
  const fireNext = async (): Promise<void> => {
    timers.shift()?.fire();
    await settle();
  };
  let answer = (): void => undefined;
  const answered = new Promise<void>((resolve) => {
    answer = resolve;
  });
  const done = withDeadline({ ms: 1000, signal, clock }, (limited) => raceSignal(answered, limited));
  await settle();
  // The timer that was due long ago is the first thing the process sees; the answer, the second.
  await fireNext();
  answer();
  await done;

  timers.length = 0;
  const late = assert.rejects(withDeadline({ ms: 1000, signal, clock }, forever), Deadline);
  await settle();
  let waitedMs = 0;
  for (let timer = timers[0]; timer !== undefined; timer = timers[0]) {
    waitedMs += timer.ms;
    await fireNext();
  }
  await late;
  assert.equal(waitedMs, 1000);
});
