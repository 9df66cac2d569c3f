// One worker with an observation and an executor that answer when the test says so.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { buildPod, observedPod, observedSandbox, RecordedEvents } from '../../test/support/pods.ts';
import type { Action } from '../pod/action.ts';
import type { ActionOutcome } from '../pod/memory.ts';
import type { ObservedPod } from '../pod/observation.ts';
import { noProbeResults } from '../pod/probe-results.ts';
import { defaultBackoff } from '../pod/restart-policy.ts';
import { raceSignal, Shutdown } from '../std/async.ts';
import { RuntimeError } from '../std/errors.ts';
import { silentLogger } from '../std/log.ts';
import { PodWorker } from './pod-worker.ts';

/** An answer that is given later. */
interface Question<Asked, Answer> {
  readonly asked: Asked;
  readonly answer: (value: Answer) => Promise<void>;
  readonly fail: (error: Error) => Promise<void>;
}

function ask<Asked, Answer>(questions: Question<Asked, Answer>[], asked: Asked): Promise<Answer> {
  return new Promise((resolve, reject) => {
    questions.push({
      asked,
      answer: (value) => {
        resolve(value);
        return settle();
      },
      fail: (error) => {
        reject(error);
        return settle();
      },
    });
  });
}

async function working(body: (world: ReturnType<typeof setUp>) => Promise<void>): Promise<void> {
  const world = setUp();
  const ends = new AbortController();
  const run = world.worker.run({ signal: ends.signal });
  run.catch(() => undefined);
  await settle();
  try {
    await body(world);
  } finally {
    const reason = new Shutdown();
    ends.abort(reason);
    await assert.rejects(run, (error) => error === reason);
  }
}

function setUp() {
  const clock = new FakeClock();
  const observations: Question<string, ObservedPod>[] = [];
  const actions: Question<Action, ActionOutcome>[] = [];
  /** `syncFrequency`, which a reload may change. */
  const resync = { ms: 60_000 };
  const settled: (readonly [kind: string, ms: number])[] = [];
  const worker = new PodWorker(buildPod({ restartPolicy: 'Always' }), {
    observe: (uid, { signal }) => raceSignal(ask(observations, uid), signal),
    executor: { execute: (action, { signal }) => raceSignal(ask(actions, action), signal) },
    prober: { sync: () => undefined, beginTermination: () => undefined, remove: () => undefined, results: () => noProbeResults },
    planOptions: () => ({ backoff: defaultBackoff, networkError: undefined, runtimeName: 'fake', hostIps: [], agentStartedAt: 0 }),
    resyncMs: () => resync.ms,
    resizeRefusal: () => undefined,
    lastStatus: { load: async () => undefined, save: async () => undefined, forget: async () => undefined, specOf: async () => undefined },
    readTerminationMessage: async () => '',
    publish: () => undefined,
    onSettled: (kind, ms) => settled.push([kind, ms]),
    events: new RecordedEvents(),
    clock,
    logger: silentLogger,
  });
  const next = <A, B>(list: Question<A, B>[]): Question<A, B> => {
    const first = list.shift();
    assert.ok(first, 'nothing was asked');
    return first;
  };
  return { clock, worker, resync, settled, observations, actions, observation: () => next(observations), action: () => next(actions) };
}

const nothing = observedPod({ sandboxes: [] });
const done: ActionOutcome = { kind: 'done' };
const failed = (retryAt: number): ActionOutcome => ({ kind: 'failed', message: 'no', retryAt });

test('an observation that was begun before a deed ended is not acted on (L-040, L-107)', () =>
  working(async ({ worker, observations, actions, observation, action }) => {
    await observation().answer(nothing);
    assert.deepEqual(
      actions.map(({ asked }) => asked.type),
      ['PullImage', 'CreatePodCgroup', 'SetUpVolumes'],
    );
    await action().answer({ kind: 'done', imageRef: 'sha256:1' });
    for (let i = 0; i < 2; i++) await action().answer(done);
    // The first end began this observation, before the two others.
    await observation().answer(nothing);
    assert.equal(actions.length, 0);
    await observation().answer(nothing);
    const sandbox = action();
    assert.equal(sandbox.asked.type, 'RunPodSandbox');
    worker.wake();
    await settle();
    const stale = observation();
    await sandbox.answer(done);
    await stale.answer(nothing);
    assert.equal(actions.length, 0, 'no second sandbox');
    await observation().answer(observedPod({ sandboxes: [observedSandbox()] }));
    assert.deepEqual(
      actions.map(({ asked }) => asked.type),
      ['CreateContainer'],
    );
    assert.deepEqual(observations, []);
  }));

test('how long there is something to do is told, and what about (H-369)', () =>
  working(async ({ clock, worker, settled, observation, actions, action }) => {
    await observation().answer(nothing);
    await action().answer({ kind: 'done', imageRef: 'sha256:1' });
    for (let i = 0; i < 2; i++) await action().answer(done);
    for (let i = 0; i < 2; i++) await observation().answer(nothing);
    await clock.advance(700);
    assert.deepEqual([actions.length, settled], [1, []], 'the sandbox is being made');
    await action().answer(failed(clock.now() + 30_000));
    await observation().answer(nothing);
    assert.deepEqual(settled, [['create', 700]], 'it waits until it may try again');
    worker.wake();
    await settle();
    await clock.advance(300);
    await observation().answer(nothing);
    assert.deepEqual(settled.slice(1), [['sync', 300]]);
    worker.update(buildPod({ restartPolicy: 'Always', priority: 7 }));
    await settle();
    await observation().answer(nothing);
    const volumes = action();
    assert.deepEqual([volumes.asked.type, settled.length], ['SetUpVolumes', 2]);
    await volumes.answer(done);
    await observation().answer(nothing);
    assert.equal(settled.at(-1)?.[0], 'update');
  }));

test('a Pod that cannot be observed is looked at again after 5 s, or when it is woken (L-042, L-043, L-108, C-308)', () =>
  working(async ({ clock, worker, observations, actions, observation }) => {
    await observation().fail(new RuntimeError('unavailable', 'down'));
    assert.deepEqual([observations, actions], [[], []]);
    await clock.advance(5_000);
    await observation().fail(new RuntimeError('unavailable', 'down'));
    worker.wake();
    await settle();
    await observation().answer(nothing);
    assert.equal(actions.length, 3);
  }));

test('a Pod of which nothing is heard is looked at every minute; wake-ups during a look are one (L-042, L-091, C-222)', () =>
  working(async ({ clock, worker, observations, observation, action }) => {
    worker.terminate({ kind: 'completed' });
    await settle();
    await observation().answer(nothing);
    await observation().answer(nothing);
    for (let i = 0; i < 2; i++) await action().answer(done);
    while (observations.length > 0) await observation().answer(nothing);
    await clock.advance(59_999);
    assert.deepEqual(observations, []);
    await clock.advance(1);
    const look = observation();
    for (let i = 0; i < 5; i++) worker.wake();
    await look.answer(nothing);
    assert.equal(observations.length, 1);
    await observation().answer(nothing);
    assert.deepEqual(observations, []);
  }));

test('syncFrequency says how often that is (L-042)', () =>
  working(async ({ clock, resync, observations, observation, action, worker }) => {
    resync.ms = 5_000;
    worker.terminate({ kind: 'completed' });
    await settle();
    await observation().answer(nothing);
    await observation().answer(nothing);
    for (let i = 0; i < 2; i++) await action().answer(done);
    while (observations.length > 0) await observation().answer(nothing);
    await clock.advance(4_999);
    assert.deepEqual(observations, []);
    await clock.advance(1);
    await observation().answer(nothing);
    assert.deepEqual(observations, []);
  }));
