import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { observedContainer } from '../../test/support/pods.ts';
import { criKeys, type ObservedContainer } from '../pod/observation.ts';
import { readTerminationMessage } from './termination-message.ts';

const folder = await mkdtemp(path.join(tmpdir(), 'pinpod-message-'));
after(() => rm(folder, { recursive: true, force: true }));

const line = (text: string, tag = 'F'): string => `2026-01-02T15:04:05.123456789Z stdout ${tag} ${text}\n`;

async function read(change: {
  readonly file?: string;
  readonly log?: string;
  readonly policy?: string;
  readonly record?: Partial<ObservedContainer>;
}): Promise<string> {
  const file = path.join(folder, 'message');
  const log = path.join(folder, '0.log');
  await rm(file, { force: true });
  await rm(log, { force: true });
  if (change.file !== undefined) await writeFile(file, change.file);
  if (change.log !== undefined) await writeFile(log, change.log);
  return readTerminationMessage(
    observedContainer({
      state: 'exited',
      exitCode: 1,
      reason: 'Error',
      logPath: log,
      mounts: [{ containerPath: '/dev/termination-log', hostPath: file, readonly: false, recursiveReadOnly: false }],
      annotations: {
        [criKeys.terminationMessagePath]: '/dev/termination-log',
        [criKeys.terminationMessagePolicy]: change.policy ?? 'File',
      },
      ...change.record,
    }),
  );
}

test('the end of the file behind the mount, or nothing (L-473)', async () => {
  assert.equal(await read({ file: 'bye' }), 'bye');
  assert.equal(await read({ file: `${'x'.repeat(5000)}end` }), `${'x'.repeat(4093)}end`);
  assert.equal(await read({}), '');
  assert.equal(await read({ file: 'bye', record: { mounts: [] } }), '');
  assert.equal(await read({ file: 'bye', record: { annotations: {} } }), '');
  const directory = path.join(folder, 'directory');
  await mkdir(directory);
  const mounts = [{ containerPath: '/dev/termination-log', hostPath: directory, readonly: false, recursiveReadOnly: false }];
  assert.equal(await read({ record: { mounts } }), `Error on reading termination log ${directory}: ${directory} is not a regular file`);
});

test('the end of the log stands in after an error, where the file says nothing (L-474)', async () => {
  const policy = 'FallbackToLogsOnError';
  const log = line('one') + line('tw', 'P') + line('o');
  const rows: readonly (readonly [string, Parameters<typeof read>[0], string])[] = [
    ['no file', { policy, log }, 'one\ntwo\n'],
    ['empty file', { policy, log, file: '' }, 'one\ntwo\n'],
    ['file', { policy, log, file: 'bye' }, 'bye'],
    ['policy File', { log }, ''],
    ['exit 0', { policy, log, record: { exitCode: 0 } }, ''],
    ['could not run', { policy, log, record: { reason: 'ContainerCannotRun' } }, ''],
    [
      '80 lines',
      { policy, log: Array.from({ length: 100 }, (_, i) => line(String(i))).join('') },
      Array.from({ length: 80 }, (_, i) => `${i + 20}\n`).join(''),
    ],
    ['2048 bytes', { policy, log: line('x'.repeat(3000)) }, `${'x'.repeat(2047)}\n`],
    ['whole characters', { policy, log: line('é'.repeat(1500)) }, `${'é'.repeat(1023)}\n`],
    ['a long log', { policy, log: line('y'.repeat(90_000)) + line('last') }, 'last\n'],
  ];
  for (const [name, change, expected] of rows) assert.equal(await read(change), expected, name);
  assert.match(await read({ policy }), /^Error on reading termination message from logs: ENOENT/);
});
