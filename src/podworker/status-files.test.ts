import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { buildPod } from '../../test/support/pods.ts';
import { silentLogger } from '../std/log.ts';
import { StatusFiles } from './status-files.ts';

const folders: string[] = [];
after(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

async function setup() {
  const rootDir = await mkdtemp(`${tmpdir()}/pinpod-status-`);
  folders.push(rootDir);
  const folder = `${rootDir}/pods/uid-1`;
  await mkdir(folder, { recursive: true });
  return { folder, files: () => new StatusFiles({ rootDir }, { log: silentLogger }) };
}

test('a status is there again in the next life of the agent (D2)', async () => {
  const { folder, files } = await setup();
  const pod = buildPod({}, { uid: 'uid-1' });
  assert.equal(await files().load(pod), undefined);
  const last = { spec: pod.spec, status: { phase: 'Running', podIP: '192.0.2.1' }, resized: { c1: { limits: { cpu: '1' } } } };
  await files().save(pod, last);
  assert.deepEqual(await files().load(pod), last);
  assert.deepEqual(await readdir(folder), ['status.json']);
});

test('a finished Pod whose spec is another now has none (D4)', async () => {
  const { files } = await setup();
  const pod = buildPod({}, { uid: 'uid-1' });
  await files().save(pod, { spec: pod.spec, status: { phase: 'Failed' }, resized: {} });
  assert.deepEqual((await files().load(pod))?.status, { phase: 'Failed' });
  assert.equal(await files().load(buildPod({ hostname: 'other' }, { uid: 'uid-1' })), undefined);
});

test('a damaged file counts for nothing, and a folder that is gone does not come back (P8)', async () => {
  const { folder, files } = await setup();
  const pod = buildPod({}, { uid: 'uid-1' });
  for (const text of ['', '{"status":', '{}', 'null']) {
    await writeFile(`${folder}/status.json`, text);
    assert.equal(await files().load(pod), undefined, text);
    assert.equal(await files().specOf('uid-1'), undefined, text);
  }
  await rm(folder, { recursive: true });
  await files().save(pod, { spec: pod.spec, status: { phase: 'Running' }, resized: {} });
  await assert.rejects(readdir(folder), { code: 'ENOENT' });
});

test('a status that is forgotten is not there any more, and need not have been (L-045)', async () => {
  const { files } = await setup();
  const pod = buildPod({}, { uid: 'uid-1' });
  await files().forget(pod);
  await files().save(pod, { spec: pod.spec, status: { phase: 'Failed' }, resized: {} });
  await files().forget(pod);
  assert.equal(await files().load(pod), undefined);
  assert.deepEqual(await files().specOf('uid-1'), pod.spec, 'how it is ended stays known (L-442)');
});
