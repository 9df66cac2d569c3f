// The agent's folders, on a real file system.
import assert from 'node:assert/strict';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { ConfigError } from '../std/errors.ts';
import { makeOwnFolder } from './own-folder.ts';

test('a folder is made with its mode, and one that is there is taken as it is (D5)', async (t) => {
  const dir = await mkdtemp(path.join(tmpdir(), 'pinpod-folder-'));
  t.after(() => rm(dir, { recursive: true }));
  const folder = path.join(dir, 'a', 'b');
  await makeOwnFolder(folder, 0o711);
  await makeOwnFolder(folder, 0o750);
  assert.equal((await stat(folder)).mode & 0o777, 0o711);
});

test('where there can be no folder, the error says what is in the way (D5)', async (t) => {
  const dir = await mkdtemp(path.join(tmpdir(), 'pinpod-folder-'));
  t.after(() => rm(dir, { recursive: true }));
  const file = path.join(dir, 'file');
  await writeFile(file, '');
  const cases = [
    [file, `cannot use the folder ${file}: a file is in its place`],
    [path.join(file, 'below'), `cannot use the folder ${file}/below: one of the folders above it is a file`],
  ] as const;
  for (const [folder, message] of cases)
    await assert.rejects(makeOwnFolder(folder, 0o750), (error) => error instanceof ConfigError && error.message === message);
});
