// On a real disk; what needs a mount is skipped where mounting is not allowed.
import assert from 'node:assert/strict';
import { constants } from 'node:fs';
import { lstat, mkdir, mkdtemp, open, readdir, realpath, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { after, before, test } from 'node:test';
import { programMounter } from './mounter.ts';
import { removeTree } from './remove-tree.ts';

const options = { signal: new AbortController().signal };
let root = '';
let number = 0;

before(async () => {
  root = await realpath(await mkdtemp(`${tmpdir()}/pinpod-remove-`));
});
after(async () => {
  for (const { mountPoint } of [...(await programMounter.list())].reverse()) {
    if (mountPoint.startsWith(`${root}/`)) await programMounter.unmount(mountPoint, options);
  }
  await rm(root, { recursive: true, force: true });
});

/** A folder to remove, with another beside it that must stay as it is. */
async function setup(): Promise<{ readonly tree: string; readonly precious: string }> {
  const dir = `${root}/${number++}`;
  await mkdir(`${dir}/tree`, { recursive: true });
  await mkdir(`${dir}/precious`);
  await writeFile(`${dir}/precious/data`, 'x');
  return { tree: `${dir}/tree`, precious: `${dir}/precious` };
}

const isGone = async (path: string): Promise<boolean> => (await Promise.allSettled([lstat(path)]))[0].status === 'rejected';

async function canMount(directory: string): Promise<boolean> {
  const [probe] = await Promise.allSettled([programMounter.mount({ type: 'tmpfs', target: directory, options: [] }, options)]);
  if (probe.status === 'fulfilled') await programMounter.unmount(directory, options);
  return probe.status === 'fulfilled';
}

async function bind(source: string, target: string): Promise<void> {
  const handle = await open(source);
  await programMounter.bind(handle.fd, target, options);
  await handle.close();
}

test('L-338 files, folders, links that lead out, names that are no UTF-8; what is gone is fine', async () => {
  const { tree, precious } = await setup();
  await mkdir(`${tree}/a/b`, { recursive: true });
  await writeFile(`${tree}/a/b/file`, '');
  await symlink(precious, `${tree}/a/link`);
  await writeFile(Buffer.concat([Buffer.from(`${tree}/`), Buffer.from([0x66, 0xff, 0xe4])]), '');
  await mkdir(Buffer.concat([Buffer.from(`${tree}/a/`), Buffer.from([0xfc])]));
  await removeTree(tree, options);
  assert.ok(await isGone(tree));
  await removeTree(tree, options);
  assert.deepEqual(await readdir(precious), ['data']);
});

test('L-338 a tree deeper than any path is long, over an interrupted removal', async () => {
  const { tree } = await setup();
  await mkdir(`${tree}/.deep-0`);
  let handle = await open(tree, constants.O_RDONLY | constants.O_DIRECTORY);
  for (let depth = 0; depth < 1500; depth++) {
    const child = `/proc/self/fd/${handle.fd}/ddd`;
    await mkdir(child);
    const next = await open(child, constants.O_RDONLY | constants.O_DIRECTORY);
    await handle.close();
    handle = next;
  }
  await handle.close();
  await removeTree(tree, options);
  assert.ok(await isGone(tree));
});

test('L-338 a bind mount of the same file system, inside or in its place, is an error and stays', async (t) => {
  const { tree, precious } = await setup();
  if (!(await canMount(tree))) return t.skip('mounting is not allowed here');
  await mkdir(`${tree}/a/b`, { recursive: true });
  for (const place of [`${tree}/a/b`, tree]) {
    await bind(precious, place);
    await assert.rejects(removeTree(tree, options), /is a mount and is not removed/);
    assert.deepEqual(await readdir(precious), ['data']);
    await programMounter.unmount(place, options);
  }
  await removeTree(tree, options);
  assert.ok(await isGone(tree));
});

test('L-338 a folder exchanged for a link meanwhile leads nowhere', async () => {
  const { tree, precious } = await setup();
  for (let i = 0; i < 200; i++) await mkdir(`${tree}/dir/${i}`, { recursive: true });
  await symlink(precious, `${tree}/link`);
  let isOver = false;
  const attacker = (async () => {
    while (!isOver) {
      for (const [from, to] of [
        ['dir', 'kept'],
        ['link', 'dir'],
        ['dir', 'link'],
        ['kept', 'dir'],
      ]) {
        await Promise.allSettled([rename(`${tree}/${from}`, `${tree}/${to}`)]);
      }
    }
  })();
  // It may fail while names are exchanged under it; it never goes elsewhere.
  for (let round = 0; round < 20; round++) await Promise.allSettled([removeTree(tree, options)]);
  isOver = true;
  await attacker;
  await removeTree(tree, options);
  assert.ok(await isGone(tree));
  assert.deepEqual(await readdir(precious), ['data']);
});
