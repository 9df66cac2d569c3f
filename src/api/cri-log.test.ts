import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseCriLogLine } from './cri-log.ts';

test('lines of a CRI log (L-394, H-261b)', () => {
  const time = '2026-01-02T15:04:05.123456789Z';
  const rows: readonly (readonly [line: string, expected: readonly unknown[] | undefined])[] = [
    [`${time} stdout F hello world`, [time, 'stdout', true, 'hello world']],
    [`${time} stderr P part`, [time, 'stderr', false, 'part']],
    [`${time} stdout F:x  two`, [time, 'stdout', true, ' two']],
    [`${time} stdout F `, [time, 'stdout', true, '']],
    [`${time} stdout F`, [time, 'stdout', true, '']],
    ['2026-01-02T15:04:05+02:00 stdout F x', ['2026-01-02T15:04:05+02:00', 'stdout', true, 'x']],
    [`${time} stdin F x`, undefined],
    [`${time} stdout X x`, undefined],
    ['2026-01-02 stdout F x', undefined],
    [`${time} stdout`, undefined],
    ['{"log":"x"}', undefined],
    ['', undefined],
  ];
  for (const [line, expected] of rows) {
    const parsed = parseCriLogLine(Buffer.from(line));
    assert.deepEqual(parsed && [parsed.time, parsed.stream, parsed.isComplete, Buffer.from(parsed.content).toString()], expected, line);
  }
});
