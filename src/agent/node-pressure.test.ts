import assert from 'node:assert/strict';
import { test } from 'node:test';
import { noPressureMemory, type PressureMemory, pressureOf } from './node-pressure.ts';

const settings = {
  evictionHard: {
    'memory.available': { kind: 'bytes', value: 100 },
    'nodefs.inodesFree': { kind: 'percent', value: 5 },
    'pid.available': { kind: 'percent', value: 10 },
  },
  evictionSoft: { 'imagefs.available': { kind: 'bytes', value: 50 } },
  evictionSoftGracePeriodMs: { 'imagefs.available': 60_000 },
  evictionPressureTransitionPeriodMs: 300_000,
} as const;

const left = (available: number, capacity = 1000) => ({ available, capacity });

const rows = [
  ['nothing known', {}, []],
  ['enough of everything', { 'memory.available': left(100), 'nodefs.inodesFree': left(50), 'pid.available': left(100) }, []],
  ['memory below its bytes', { 'memory.available': left(99) }, ['memory']],
  ['inodes below their share', { 'nodefs.inodesFree': left(49) }, ['disk']],
  ['pids below their share', { 'pid.available': left(99) }, ['pid']],
  ['a signal without a threshold', { 'nodefs.available': left(0) }, []],
  ['a soft threshold at first', { 'imagefs.available': left(0) }, []],
] as const;

for (const [name, signals, expected] of rows) {
  test(`S-376: pressure with ${name}`, () => {
    const { pressure } = pressureOf(signals, settings, noPressureMemory, 0);
    assert.deepEqual(
      Object.entries(pressure).flatMap(([kind, on]) => (on ? [kind] : [])),
      expected,
    );
  });
}

/** Rounds [time, available] → whether there is pressure after each. */
function rounds(signal: string, kind: 'memory' | 'disk', steps: readonly (readonly [number, number])[], transitionMs = 300_000) {
  let memory: PressureMemory = noPressureMemory;
  return steps.map(([now, available]) => {
    const changed = { ...settings, evictionPressureTransitionPeriodMs: transitionMs };
    const judged = pressureOf({ [signal]: left(available) }, changed, memory, now);
    memory = judged.memory;
    return judged.pressure[kind];
  });
}

test('pressure lasts for the transition period', () => {
  const steps = [
    [0, 99],
    [10_000, 500],
    [299_999, 500],
    [300_000, 500],
  ] as const;
  assert.deepEqual(rounds('memory.available', 'memory', steps), [true, true, true, false]);
  assert.deepEqual(rounds('memory.available', 'memory', steps, 0), [true, false, false, false]);
});

test('a soft threshold counts after its grace period, which starts anew after a recovery', () => {
  const steps = [
    [0, 10],
    [50_000, 60],
    [59_000, 10],
    [60_000, 10],
    [119_000, 10],
  ] as const;
  assert.deepEqual(rounds('imagefs.available', 'disk', steps), [false, false, false, false, true]);
});
