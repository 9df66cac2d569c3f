import assert from 'node:assert/strict';
import { appendFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { systemClock } from '../../std/clock.ts';
import { detectFormat, parseLogLine, withNanoseconds } from './log-line.ts';
import { type LogOptions, readLog } from './log-reader.ts';

const at = (second: number): string => `2026-01-01T00:00:${String(second).padStart(2, '0')}.5Z`;
const line = (second: number, text: string, stream = 'stdout', tag = 'F'): string => `${at(second)} ${stream} ${tag} ${text}\n`;

describe('reading log files', () => {
  let dir = '';
  let count = 0;
  before(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'logs-'));
  });
  after(() => rm(dir, { recursive: true }));

  const file = async (content: string, older: Readonly<Record<string, string | Buffer>> = {}): Promise<string> => {
    count += 1;
    const place = path.join(dir, `${count}.log`);
    await writeFile(place, content);
    for (const [suffix, text] of Object.entries(older)) await writeFile(`${place}.${suffix}`, text);
    return place;
  };

  const read = async (options: Partial<LogOptions> & { readonly path: string }, running = false): Promise<string> => {
    const parts: Uint8Array[] = [];
    const deps = { clock: systemClock, isRunning: async () => running };
    for await (const part of readLog({ timestamps: false, follow: false, ...options }, deps, new AbortController().signal))
      parts.push(part);
    return Buffer.concat(parts).toString();
  };

  const five = [1, 2, 3, 4, 5].map((n) => line(n, `line ${n}`)).join('');

  test('H-259: content without the prefix, both streams in the order of the file', async () => {
    assert.equal(await read({ path: await file(line(1, 'out') + line(2, 'err', 'stderr') + line(3, '')) }), 'out\nerr\n\n');
  });

  test('H-259: timestamps have nine decimals', async () => {
    assert.equal(await read({ path: await file(line(1, 'a')), timestamps: true }), '2026-01-01T00:00:01.500000000Z a\n');
  });

  test('H-261b: pieces are put together, each with one time; the streams do not mix', async () => {
    const content = line(1, 'ab', 'stdout', 'P') + line(1, 'E', 'stderr') + line(2, 'cd', 'stdout', 'P:x') + line(3, 'ef');
    assert.equal(await read({ path: await file(content), stream: 'stdout' }), 'abcdef\n');
    assert.equal(await read({ path: await file(content), stream: 'stdout', timestamps: true }), '2026-01-01T00:00:01.500000000Z abcdef\n');
  });

  test('C-360: an unfinished last line and a long line come out byte for byte', async () => {
    const long = 'x'.repeat(200_000);
    assert.equal(await read({ path: await file(line(1, long) + line(2, 'no newline', 'stdout', 'P')) }), `${long}\nno newline`);
  });

  const tails: readonly (readonly [lines: number, text: string])[] = [
    [0, ''],
    [1, 'line 5\n'],
    [2, 'line 4\nline 5\n'],
    [5, 'line 1\nline 2\nline 3\nline 4\nline 5\n'],
    [99, 'line 1\nline 2\nline 3\nline 4\nline 5\n'],
  ];
  for (const [tailLines, text] of tails) {
    test(`C-352 H-261d: the last ${tailLines} lines`, async () => assert.equal(await read({ path: await file(five), tailLines }), text));
  }

  test('H-260: since, limit, and both', async () => {
    const place = await file(five);
    assert.equal(await read({ path: place, since: Date.parse(at(4)) }), 'line 4\nline 5\n');
    assert.equal(await read({ path: place, limitBytes: 9 }), 'line 1\nli');
    assert.equal(await read({ path: place, since: Date.parse(at(5)), limitBytes: 3 }), 'lin');
  });

  test('rotated files come first, packed ones too, and a tail reaches into them', async () => {
    const place = await file(line(5, 'e'), {
      '20260101-000001.gz': gzipSync(line(1, 'a') + line(2, 'b')),
      '20260101-000002': line(3, 'c') + line(4, 'd'),
      '20260101-000003.tmp': line(4, 'not this'),
    });
    assert.equal(await read({ path: place }), 'a\nb\nc\nd\ne\n');
    assert.equal(await read({ path: place, tailLines: 4 }), 'b\nc\nd\ne\n');
    assert.equal(await read({ path: place, tailLines: 1 }), 'e\n');
  });

  test('a damaged archive is left out', async () => {
    assert.equal(await read({ path: await file(line(1, 'x'), { '20260101-000001.gz': Buffer.from('no gzip') }) }), 'x\n');
  });

  test("H-261c: Docker's JSON is read too; other lines are skipped", async () => {
    const docker = `${JSON.stringify({ log: 'hi\n', stream: 'stdout', time: at(1) })}\ngarbage\n${JSON.stringify({ log: 'part', stream: 'stderr', time: at(2) })}\n`;
    assert.equal(await read({ path: await file(docker) }), 'hi\npart');
    assert.equal(await read({ path: await file(`garbage\n${line(1, 'a')}${at(1)} stdlog F b\n\n${line(2, 'c')}`) }), 'a\nc\n');
  });

  test('no file is an error with a code', async () => {
    await assert.rejects(read({ path: path.join(dir, 'none.log') }), { code: 'log-not-found' });
  });

  test('H-260 H-261e C-353: following goes over a rotation, loses nothing, and ends with the container', async () => {
    const place = await file(line(1, 'one'));
    let running = true;
    const seen: string[] = [];
    const deps = { clock: systemClock, isRunning: async () => running };
    for await (const part of readLog({ path: place, timestamps: false, follow: true }, deps, new AbortController().signal)) {
      seen.push(Buffer.from(part).toString());
      if (seen.length === 1) {
        await appendFile(place, line(2, 'two').slice(0, 10));
        await appendFile(place, line(2, 'two').slice(10));
      }
      if (seen.join('').endsWith('two\n')) {
        await appendFile(place, line(3, 'three'));
        await rename(place, `${place}.20260101-000009`);
        await writeFile(place, line(4, 'four'));
      }
      if (seen.join('').endsWith('four\n')) {
        await appendFile(place, line(5, 'last'));
        running = false;
      }
    }
    assert.equal(seen.join(''), 'one\ntwo\nthree\nfour\nlast\n');
  });

  test('following ends at once when the client is gone', async () => {
    const place = await file(line(1, 'one'));
    const abort = new AbortController();
    const deps = { clock: systemClock, isRunning: async () => true };
    let parts = 0;
    for await (const _ of readLog({ path: place, timestamps: false, follow: true }, deps, abort.signal)) {
      parts += 1;
      abort.abort();
    }
    assert.equal(parts, 1);
  });

  test('whatever is in a file, reading it ends and never fails', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), fc.nat(5), async (bytes, tailLines) => {
        const place = path.join(dir, 'any.log');
        await writeFile(place, bytes);
        await read({ path: place, tailLines });
        await read({ path: place });
      }),
      { numRuns: 50 },
    );
  });

  test('the last N lines are what a plain reading ends with', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.string({ unit: fc.constantFrom('a', 'b', ' ', 'é') })), fc.nat(20), async (texts, tailLines) => {
        const place = path.join(dir, 'tail.log');
        await writeFile(place, texts.map((text, i) => line(i % 60, text)).join(''));
        const expected = tailLines === 0 ? [] : texts.slice(-tailLines);
        assert.equal(await read({ path: place, tailLines }), expected.map((text) => `${text}\n`).join(''));
      }),
      { numRuns: 50 },
    );
  });
});

test('H-261b: what is and what is no CRI line', () => {
  const parse = (text: string) => parseLogLine(Buffer.from(text), 'cri');
  assert.equal(parse('2026-01-01T00:00:00Z stdout F')?.content.length, 0);
  assert.equal(parse('2026-01-01T00:00:00.123456789+02:00 stderr P x')?.isComplete, false);
  for (const bad of [
    '',
    'x',
    '2026-01-01T00:00:00Z stdout',
    'now stdout F x',
    '2026-01-01T00:00:00Z out F x',
    '2026-01-01T00:00:00Z stdout Q x',
  ]) {
    assert.equal(parse(bad), undefined, bad);
    assert.equal(detectFormat(Buffer.from(bad)), undefined, bad);
  }
  assert.equal(withNanoseconds('2026-01-01T00:00:00Z'), '2026-01-01T00:00:00.000000000Z');
});
