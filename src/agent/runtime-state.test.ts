import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakeRuntime } from '../../test/support/fake-runtime.ts';
import { RuntimeError } from '../std/errors.ts';
import { silentLogger } from '../std/log.ts';
import { RuntimeState } from './runtime-state.ts';

function setUp() {
  const clock = new FakeClock();
  const runtime = new FakeRuntime({}, { clock });
  const changes: number[] = [];
  const state = new RuntimeState({ runtime, clock, logger: silentLogger, onChange: () => changes.push(clock.now()) });
  const { signal } = new AbortController();
  const refresh = () => state.refresh({ signal });
  return { clock, runtime, state, refresh, changes };
}

test('before the first answer neither runtime nor network count as ready (L-110, L-113)', async () => {
  const { state, refresh, changes } = setUp();
  assert.equal(state.runtimeError, 'container runtime status check may not have completed yet');
  assert.equal(state.networkError, 'network state unknown');
  await refresh();
  assert.deepEqual([state.runtimeError, state.networkError], [undefined, undefined]);
  assert.equal(changes.length, 1);
  await refresh();
  assert.equal(changes.length, 1, 'only changes are told');
});

test('what the runtime says of itself and of the network, by the type of the condition (L-110 … L-112, L-282)', async () => {
  const { runtime, state, refresh } = setUp();
  runtime.setNetworkReady(false);
  await refresh();
  assert.equal(state.runtimeError, undefined);
  assert.match(state.networkError ?? '', /^container runtime network not ready: NetworkReady=false reason:\S+ message:.+/);
  runtime.setNetworkReady(true);
  runtime.setRuntimeReady(false);
  await refresh();
  assert.equal(state.networkError, undefined);
  assert.match(state.runtimeError ?? '', /^container runtime not ready: RuntimeReady=false reason:/);
});

test('a condition that is missing is one that is not met (L-110, L-111)', async () => {
  const clock = new FakeClock();
  const runtime = { status: async () => ({ conditions: [], handlers: [], features: { supplementalGroupsPolicy: false }, info: {} }) };
  const state = new RuntimeState({ runtime, clock, logger: silentLogger, onChange: () => undefined });
  await state.refresh({ signal: new AbortController().signal });
  assert.match(state.runtimeError ?? '', /RuntimeReady=false/);
  assert.match(state.networkError ?? '', /NetworkReady=false/);
});

test('a runtime that does not answer is down after 30 s, and well again with its next answer (L-113, L-114, L-117)', async () => {
  const { clock, runtime, state, refresh } = setUp();
  await refresh();
  for (let i = 0; i < 2; i++) runtime.failNext('status', new RuntimeError('unavailable', 'connection refused'));
  await clock.advance(30_000);
  await refresh();
  assert.equal(state.runtimeError, undefined);
  await clock.advance(1);
  await refresh();
  assert.equal(state.runtimeError, 'container runtime is down');
  await refresh();
  assert.equal(state.runtimeError, undefined);
});
