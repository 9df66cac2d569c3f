import assert from 'node:assert/strict';
import { appendFile, chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { observedContainer } from '../../test/support/pods.ts';
import { toLocalStamp } from '../std/clock.ts';
import { RuntimeError } from '../std/errors.ts';
import { silentLogger } from '../std/log.ts';
import { LogRotation, type LogRotationOptions } from './log-rotation.ts';

const base = await mkdtemp(path.join(tmpdir(), 'pinpod-rotation-'));
after(() => rm(base, { recursive: true, force: true }));
let made = 0;
const signal = new AbortController().signal;

async function setUp(options: Partial<LogRotationOptions> = {}, ids: readonly string[] = ['c1']) {
  made += 1;
  const folder = path.join(base, String(made));
  await mkdir(folder);
  const clock = new FakeClock();
  const logOf = (id: string): string => path.join(folder, `${id}.log`);
  const reopened: string[] = [];
  const failures = new Set<string>();
  const gone = new Set<string>();
  const warnings: string[] = [];
  const statusCalls: string[] = [];
  const containers = ids.map((id) => observedContainer({ id, state: id.startsWith('exited') ? 'exited' : 'running' }));
  const rotation = new LogRotation(
    { maxSizeBytes: 1000, maxFiles: 3, intervalMs: 10_000, workers: 1, ...options },
    {
      runtime: {
        listContainers: async () => containers,
        containerStatus: async (id) => {
          statusCalls.push(id);
          return gone.has(id) ? undefined : observedContainer({ id, logPath: logOf(id) });
        },
        reopenContainerLog: async (id) => {
          if (failures.delete(id)) throw new RuntimeError('unknown', 'cannot reopen');
          reopened.push(id);
          await appendFile(logOf(id), '');
          await chmod(logOf(id), 0o640);
        },
      },
      clock,
      logger: { ...silentLogger, warn: (message) => warnings.push(message) },
    },
  );
  const files = async (): Promise<readonly string[]> => (await readdir(folder)).sort();
  const write = (text: string, id = 'c1'): Promise<void> => appendFile(logOf(id), text);
  return { clock, failures, files, folder, gone, logOf, reopened, rotation, statusCalls, warnings, write };
}

test('a log that reached its size is renamed and reopened (L-391)', async () => {
  const { clock, files, reopened, rotation, write, statusCalls } = await setUp();
  await write('x'.repeat(999));
  await rotation.rotateAll({ signal });
  assert.deepEqual(await files(), ['c1.log']);
  await write('x');
  await rotation.rotateAll({ signal });
  assert.deepEqual(await files(), ['c1.log', `c1.log.${toLocalStamp(clock.now())}`]);
  assert.deepEqual(reopened, ['c1']);
  assert.deepEqual(statusCalls, ['c1']);
});

test('a container that writes much more keeps few files, all lines in order, the older ones compressed (C-386, L-392)', async () => {
  const { clock, files, folder, rotation, write, logOf } = await setUp({ maxFiles: 4 });
  let line = 0;
  for (let round = 0; round < 12; round++) {
    for (; line < (round + 1) * 20; line++) await write(`${String(line).padStart(60, '0')}\n`);
    await clock.advance(10_000);
    await rotation.rotateAll({ signal });
    const names = await files();
    assert.ok(names.length <= 4, names.join());
    assert.equal(names.filter((name) => /^c1\.log\.\d{8}-\d{6}$/.test(name)).length, 1, 'the newest rotated file is plain');
  }
  const texts: string[] = [];
  for (const name of (await files()).filter((entry) => entry !== 'c1.log')) {
    const bytes = await readFile(path.join(folder, name));
    texts.push((name.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString());
  }
  texts.push(await readFile(logOf('c1'), 'utf8'));
  const lines = texts
    .join('')
    .split('\n')
    .filter((text) => text !== '')
    .map(Number);
  assert.equal(lines.length, 60);
  assert.deepEqual(
    lines,
    Array.from({ length: 60 }, (_, i) => 180 + i),
  );
  const archive = (await files()).find((name) => name.endsWith('.gz')) ?? '';
  assert.equal((await stat(path.join(folder, archive))).mode & 0o777, 0o640);
});

test('a container that ended since it was listed is no trouble (L-393)', async () => {
  const { failures, gone, rotation, warnings } = await setUp({}, ['c1']);
  await rotation.rotateAll({ signal });
  failures.add('c1');
  gone.add('c1');
  await rm(path.join(base, String(made)), { recursive: true });
  await rotation.rotateAll({ signal });
  assert.deepEqual(warnings, []);
});

test('a reopen that fails gives the log its name back; the next pass succeeds (C-387, L-391, L-393)', async () => {
  const { failures, files, rotation, warnings, write, logOf } = await setUp({}, ['bad', 'good']);
  for (const id of ['bad', 'good']) await write('y'.repeat(1000), id);
  failures.add('bad');
  await rotation.rotateAll({ signal });
  const names = await files();
  assert.deepEqual(warnings, ['a container log cannot be rotated']);
  assert.equal(names.filter((name) => name.startsWith('bad.')).length, 1);
  assert.equal(names.filter((name) => name.startsWith('good.')).length, 2);
  assert.equal((await stat(logOf('bad'))).size, 1000);
  await rotation.rotateAll({ signal });
  assert.equal((await files()).filter((name) => name.startsWith('bad.')).length, 2);
});

test('a missing log is reopened; exited containers are left alone (L-389, L-390)', async () => {
  const { files, reopened, rotation, write } = await setUp({}, ['c1', 'exited1']);
  await write('z'.repeat(5000), 'exited1');
  await rotation.rotateAll({ signal });
  assert.deepEqual(reopened, ['c1']);
  assert.deepEqual(await files(), ['c1.log', 'exited1.log']);
});

test('what an interrupted rotation left is removed; strange files are not touched (L-391)', async () => {
  const { clock, files, folder, rotation, write } = await setUp({ maxFiles: 5 });
  const left = ['c1.log.20250101-000000', 'c1.log.20250101-000000.gz', 'c1.log.20250102-000000.tmp', 'c1.log.20250102-000000'];
  for (const name of [...left, 'c1.log.backup', 'c10.log.20250101-000000']) await writeFile(path.join(folder, name), name);
  await write('x'.repeat(1000));
  await rotation.rotateAll({ signal });
  assert.deepEqual(
    await files(),
    [
      'c1.log',
      'c1.log.20250101-000000.gz',
      'c1.log.20250102-000000.gz',
      `c1.log.${toLocalStamp(clock.now())}`,
      'c1.log.backup',
      'c10.log.20250101-000000',
    ].sort(),
  );
});

test('two rotations in one second do not overwrite each other', async () => {
  const { files, rotation, write } = await setUp({ maxFiles: 5 });
  await write('a'.repeat(1000));
  await rotation.rotateAll({ signal });
  await write('b'.repeat(1000));
  await rotation.rotateAll({ signal });
  assert.equal((await files()).length, 3);
});

test('a negative size switches rotation off (L-391), until a reload gives another', async () => {
  const { rotation, files, write } = await setUp({ maxSizeBytes: -1 });
  await write('x'.repeat(1000));
  await rotation.rotateAll({ signal });
  assert.deepEqual(await files(), ['c1.log']);
  rotation.configure({ maxSizeBytes: 1000, maxFiles: 3, intervalMs: 10_000, workers: 1 });
  await rotation.rotateAll({ signal });
  assert.equal((await files()).length, 2);
});
