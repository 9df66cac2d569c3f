import assert from 'node:assert/strict';
import { test } from 'node:test';
import { firstBytes, lastBytes, parseCriLogLine } from './cri-log.ts';
import { cutToShare, joinMessages } from './termination-message.ts';

test('runtime and container speak in this order (L-475)', () => {
  assert.equal(joinMessages('runtime', 'own'), 'runtime: own');
  assert.equal(joinMessages('', 'own'), 'own');
  assert.equal(joinMessages('runtime', ''), 'runtime');
  assert.equal(joinMessages('', ''), '');
});

test('the containers of a Pod share 12288 bytes (L-476)', () => {
  assert.equal(cutToShare('x'.repeat(13_000), 1).length, 12_288);
  assert.equal(cutToShare('x'.repeat(13_000), 3).length, 4096);
  assert.equal(cutToShare('short', 100), 'short');
});

test('cuts keep whole characters', () => {
  assert.equal(firstBytes('aé😀z', 3), 'aé');
  assert.equal(firstBytes('aé😀z', 6), 'aé');
  assert.equal(firstBytes('aé😀z', 7), 'aé😀');
  assert.equal(lastBytes('aé😀z', 5), '😀z');
  assert.equal(lastBytes('aé😀z', 4), 'z');
  assert.equal(lastBytes('aé😀z', 100), 'aé😀z');
});

test('lines of a CRI log (L-394)', () => {
  const time = '2026-01-02T15:04:05.123456789Z';
  const rows: readonly (readonly [string, ReturnType<typeof parseCriLogLine>])[] = [
    [`${time} stdout F hello world`, { time, stream: 'stdout', isPartial: false, content: 'hello world' }],
    [`${time} stderr P part`, { time, stream: 'stderr', isPartial: true, content: 'part' }],
    [`${time} stdout F:x  two`, { time, stream: 'stdout', isPartial: false, content: ' two' }],
    [`${time} stdout F `, { time, stream: 'stdout', isPartial: false, content: '' }],
    [`${time} stdout F`, { time, stream: 'stdout', isPartial: false, content: '' }],
    [`${time} stdin F x`, undefined],
    [`${time} stdout X x`, undefined],
    ['{"log":"x"}', undefined],
    ['', undefined],
  ];
  for (const [line, expected] of rows) assert.deepEqual(parseCriLogLine(line), expected, line);
});
