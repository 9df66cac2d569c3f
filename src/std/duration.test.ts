import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatDuration } from './duration.ts';

test('durations read as in Kubernetes', () => {
  const rows: readonly (readonly [number, string])[] = [
    [0, '0s'],
    [0.4, '0s'],
    [350, '350ms'],
    [1000, '1s'],
    [1500, '1.5s'],
    [12_345.9, '12.345s'],
    [80_000, '1m20s'],
    [160_000, '2m40s'],
    [300_000, '5m0s'],
    [7_200_000, '2h0m0s'],
    [-1500, '-1.5s'],
  ];
  for (const [ms, text] of rows) assert.equal(formatDuration(ms), text);
});
