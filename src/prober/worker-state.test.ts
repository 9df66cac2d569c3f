import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ProbeKind, ProbeResult } from '../pod/probe-results.ts';
import { conclude, initialState, observe, type WorkerSpec, type WorkerState, type WorkerView } from './worker-state.ts';

const agentStartedAt = 1_000_000;
const startedAt = agentStartedAt + 5000;

function spec(kind: ProbeKind, probe: WorkerSpec['probe'] = {}): WorkerSpec {
  return { kind, probe, agentStartedAt };
}

function running(change: Partial<WorkerView> & { readonly id?: string; readonly startedAt?: number } = {}): WorkerView {
  const { id = 'c1', startedAt: at = startedAt, ...view } = change;
  return {
    container: { id, state: 'running', startedAt: at, mayRunAgain: true },
    podIsOver: false,
    started: true,
    wasStarted: false,
    wasReady: false,
    ...view,
  };
}

const nothing: WorkerView = { container: undefined, podIsOver: false, started: false, wasStarted: false, wasReady: false };

test('what a worker does by what it sees (L-399, L-400, L-402)', () => {
  const gone = (state: 'created' | 'exited' | 'unknown', mayRunAgain: boolean): WorkerView => ({
    ...nothing,
    container: { id: 'c1', state, startedAt, mayRunAgain },
  });
  const rows: readonly {
    readonly name: string;
    readonly kind: ProbeKind;
    readonly view: WorkerView;
    readonly step: string;
    readonly result: ProbeResult | undefined;
  }[] = [
    { name: 'no container yet', kind: 'liveness', view: nothing, step: 'wait', result: undefined },
    { name: 'created, not started', kind: 'liveness', view: gone('created', true), step: 'wait', result: undefined },
    { name: 'running', kind: 'liveness', view: running(), step: 'probe', result: 'success' },
    { name: 'running', kind: 'readiness', view: running(), step: 'probe', result: 'failure' },
    { name: 'running, not started', kind: 'liveness', view: running({ started: false }), step: 'wait', result: 'success' },
    { name: 'running, not started', kind: 'readiness', view: running({ started: false }), step: 'wait', result: 'failure' },
    { name: 'running, not started', kind: 'startup', view: running({ started: false }), step: 'probe', result: 'unknown' },
    { name: 'running, started', kind: 'startup', view: running(), step: 'wait', result: 'unknown' },
    { name: 'exited, may run again', kind: 'readiness', view: gone('exited', true), step: 'wait', result: 'failure' },
    { name: 'exited, may run again', kind: 'liveness', view: gone('exited', true), step: 'wait', result: 'failure' },
    { name: 'exited for good', kind: 'readiness', view: gone('exited', false), step: 'end', result: 'failure' },
    { name: 'lost, may run again', kind: 'liveness', view: gone('unknown', true), step: 'wait', result: 'failure' },
    { name: 'Pod is over', kind: 'liveness', view: { ...running(), podIsOver: true }, step: 'end', result: undefined },
  ];
  for (const row of rows) {
    const { state, step } = observe(initialState, row.view, spec(row.kind));
    assert.deepEqual({ step: step.kind, result: state.result }, { step: row.step, result: row.result }, `${row.kind}: ${row.name}`);
  }
});

test('the initial delay counts from the start of the container (C-320, L-399)', () => {
  const { step } = observe(initialState, running(), spec('readiness', { initialDelaySeconds: 30 }));
  assert.deepEqual(step, { kind: 'probe', from: startedAt + 30_000 });
});

test('initial results after a restart of the agent (L-401, L-407)', () => {
  const longBefore = agentStartedAt - 10_001;
  const rows: readonly (readonly [ProbeKind, number, boolean, ProbeResult | undefined])[] = [
    ['readiness', longBefore, false, undefined],
    ['liveness', longBefore, false, undefined],
    ['startup', longBefore, false, undefined],
    ['startup', longBefore, true, 'success'],
    ['readiness', longBefore, true, undefined],
    ['readiness', agentStartedAt - 10_000, false, 'failure'],
    ['liveness', agentStartedAt - 10_000, false, 'success'],
    ['startup', agentStartedAt - 10_000, false, 'unknown'],
  ];
  for (const [kind, at, wasStarted, result] of rows) {
    const { state } = observe(initialState, running({ startedAt: at, wasStarted }), spec(kind));
    assert.equal(state.result, result, `${kind} started ${at - agentStartedAt} ms from the agent, was started: ${wasStarted}`);
  }
});

test('what the last status said of a container stands over a restart of the agent (D2)', () => {
  for (const at of [agentStartedAt - 10_001, agentStartedAt - 1]) {
    const view = running({ startedAt: at, wasStarted: true, wasReady: true });
    assert.equal(observe(initialState, view, spec('readiness')).state.result, 'success');
    assert.equal(observe(initialState, view, spec('startup')).state.result, 'success');
  }
});

test('a new container id clears the hold and sets the initial result, and leaves the counter (L-401)', () => {
  const failed: WorkerState = { containerId: 'c1', result: 'failure', onHold: true, last: 'failure', run: 2 };
  const { state, step } = observe(failed, running({ id: 'c2' }), spec('liveness'));
  assert.deepEqual(state, { containerId: 'c2', result: 'success', onHold: false, last: 'failure', run: 2 });
  assert.equal(step.kind, 'probe');
});

test('on hold nothing is probed, and an exit changes nothing (L-404)', () => {
  const held: WorkerState = { containerId: 'c1', result: 'success', onHold: true, last: 'success', run: 0 };
  assert.deepEqual(observe(held, running({ started: false }), spec('startup')), { state: held, step: { kind: 'wait' } });
  const exited: WorkerView = { ...nothing, container: { id: 'c1', state: 'exited', startedAt, mayRunAgain: true } };
  assert.deepEqual(observe(held, exited, spec('startup')).state, held);
});

test('results take effect at their threshold (C-321, L-403)', () => {
  const probe = { failureThreshold: 3, successThreshold: 2 };
  // f = failure, s = success; the result in force after each.
  const rows: readonly (readonly [ProbeKind, string, string])[] = [
    ['readiness', 'ffsff', 'FFFFF'],
    ['readiness', 'ssfffss', 'FSSSFFS'],
    ['readiness', 'sfsfs', 'FFFFF'],
    ['liveness', 'ffsff', 'SSSSS'],
    ['liveness', 'fff', 'SSF'],
  ];
  for (const [kind, outcomes, expected] of rows) {
    let { state } = observe(initialState, running(), spec(kind, probe));
    let seen = '';
    for (const outcome of outcomes) {
      state = conclude(state, outcome === 'f' ? 'failure' : 'success', spec(kind, probe));
      seen += state.result === 'success' ? 'S' : 'F';
    }
    assert.equal(seen, expected, `${kind} ${outcomes}`);
  }
});

test('a decided startup probe and a failed liveness probe hold, with the counter at nought (C-323, L-404)', () => {
  const rows: readonly (readonly [ProbeKind, 'success' | 'failure', boolean])[] = [
    ['startup', 'success', true],
    ['startup', 'failure', true],
    ['liveness', 'failure', true],
    ['liveness', 'success', false],
    ['readiness', 'failure', false],
    ['readiness', 'success', false],
  ];
  for (const [kind, outcome, onHold] of rows) {
    const probe = { failureThreshold: 1 };
    const { state } = observe(initialState, running({ started: kind !== 'startup' }), spec(kind, probe));
    const next = conclude(state, outcome, spec(kind, probe));
    assert.deepEqual({ onHold: next.onHold, run: next.run }, { onHold, run: onHold ? 0 : 1 }, `${kind} ${outcome}`);
  }
});
