import assert from 'node:assert/strict';
import { test } from 'node:test';
import { firstBytes, lastBytes, tailOfLog } from './log-tail.ts';
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

test('the last lines of a log, pieces of lines joined byte by byte (L-474)', () => {
  const time = '2026-01-02T15:04:05.123456789Z';
  const [first, second] = [Buffer.from('é').subarray(0, 1), Buffer.from('é').subarray(1)];
  const log = Buffer.concat([
    Buffer.from(`${time} stdout F one\n\nnonsense\n${time} stdout P caf`),
    first,
    Buffer.from(`\n${time} stdout F `),
    second,
    Buffer.from(`!\n${time} stderr F unfinished`),
  ]);
  assert.equal(tailOfLog(log, { maxLines: 80, maxBytes: 100 }), 'one\ncafé!\nunfinished\n');
  assert.equal(tailOfLog(log, { maxLines: 1, maxBytes: 100 }), 'unfinished\n');
  assert.equal(tailOfLog(log, { maxLines: 80, maxBytes: 5 }), 'shed\n');
});
