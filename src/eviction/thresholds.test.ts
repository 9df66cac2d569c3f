import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judge, noPressureMemory, type Pressure, type PressureMemory, type Signals, type ThresholdSettings } from './thresholds.ts';

const settings: ThresholdSettings = {
  evictionHard: {
    'memory.available': { kind: 'bytes', value: 100 },
    'nodefs.inodesFree': { kind: 'percent', value: 5 },
    'pid.available': { kind: 'percent', value: 10 },
  },
  evictionSoft: { 'imagefs.available': { kind: 'bytes', value: 50 } },
  evictionSoftGracePeriodMs: { 'imagefs.available': 60_000 },
  evictionMinimumReclaim: { 'imagefs.available': { kind: 'bytes', value: 30 }, 'memory.available': { kind: 'percent', value: 10 } },
  evictionPressureTransitionPeriodMs: 300_000,
};

const left = (available: number, capacity = 1000) => ({ available, capacity });
const kinds = (pressure: Pressure): readonly string[] => Object.entries(pressure).flatMap(([kind, isOn]) => (isOn ? [kind] : []));

const rows: readonly (readonly [title: string, signals: Signals, pressure: readonly string[], shortages: readonly string[]])[] = [
  ['nothing known', {}, [], []],
  ['enough of everything', { 'memory.available': left(100), 'nodefs.inodesFree': left(50), 'pid.available': left(100) }, [], []],
  ['memory below its bytes', { 'memory.available': left(99) }, ['memory'], ['memory.available: memory 99 < 100']],
  [
    'L-503: what Pods may have together',
    { 'memory.available': left(500), 'allocatableMemory.available': left(99) },
    ['memory'],
    ['allocatableMemory.available: memory 99 < 100'],
  ],
  ['inodes below their share', { 'nodefs.inodesFree': left(49) }, ['disk'], ['nodefs.inodesFree: inodes 49 < 50']],
  ['pids below their share', { 'pid.available': left(99) }, ['pid'], ['pid.available: pids 99 < 100']],
  ['a signal without a threshold', { 'nodefs.available': left(0) }, [], []],
  ['a soft threshold at first: the condition only', { 'imagefs.available': left(0) }, ['disk'], []],
  [
    'several: memory first',
    { 'pid.available': left(1), 'memory.available': left(1) },
    ['memory', 'pid'],
    ['memory.available: memory 1 < 100', 'pid.available: pids 1 < 100'],
  ],
];

for (const [title, signals, pressure, shortages] of rows) {
  test(`L-502, L-504: ${title}`, () => {
    const judged = judge(signals, settings, noPressureMemory, 0);
    assert.deepEqual(kinds(judged.pressure), pressure);
    assert.deepEqual(
      judged.shortages.map(({ signal, resource, available, threshold }) => `${signal}: ${resource} ${available} < ${threshold}`),
      shortages,
    );
  });
}

/** Rounds [time, available] → the pressure and the number of shortages after each. */
function rounds(signal: string, steps: readonly (readonly [number, number])[], change: Partial<ThresholdSettings> = {}): readonly string[] {
  let memory: PressureMemory = noPressureMemory;
  return steps.map(([now, available]) => {
    const judged = judge({ [signal]: left(available) }, { ...settings, ...change }, memory, now);
    memory = judged.memory;
    return `${kinds(judged.pressure).join()} ${judged.shortages.length}`;
  });
}

const withoutReclaim = { evictionMinimumReclaim: {} };

test('L-504: pressure lasts for the transition period', () => {
  const steps = [
    [0, 99],
    [10_000, 500],
    [299_999, 500],
    [300_000, 500],
  ] as const;
  assert.deepEqual(rounds('memory.available', steps), ['memory 1', 'memory 0', 'memory 0', ' 0']);
  assert.deepEqual(rounds('memory.available', steps, { evictionPressureTransitionPeriodMs: 0 }), ['memory 1', ' 0', ' 0', ' 0']);
});

test('L-504: something is done about a soft threshold after its grace period, which starts anew after a recovery', () => {
  const steps = [
    [0, 10],
    [50_000, 60],
    [59_000, 10],
    [60_000, 10],
    [118_999, 10],
    [119_000, 10],
  ] as const;
  assert.deepEqual(rounds('imagefs.available', steps, withoutReclaim), ['disk 0', 'disk 0', 'disk 0', 'disk 0', 'disk 0', 'disk 1']);
});

test('evictionMinimumReclaim: crossed until so much more is left', () => {
  const steps = [
    [0, 101],
    [1, 99],
    [2, 199],
    [3, 200],
    [4, 101],
  ] as const;
  assert.deepEqual(rounds('memory.available', steps), [' 0', 'memory 1', 'memory 1', 'memory 0', 'memory 0']);
});
