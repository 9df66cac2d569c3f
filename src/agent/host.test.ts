import assert from 'node:assert/strict';
import { link, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { realHost } from './host.ts';

const { signal } = new AbortController();

test('a tree is measured with all below it, a file of two names once, and nothing behind links', async (t) => {
  const dir = await mkdtemp(path.join(tmpdir(), 'pinpod-host-'));
  t.after(() => rm(dir, { recursive: true }));
  const empty = await realHost.treeUsage(dir, { signal });
  assert.equal(empty.files, 1);
  await mkdir(path.join(dir, 'a', 'b'), { recursive: true });
  await writeFile(path.join(dir, 'a', 'b', 'file'), Buffer.alloc(100_000, 1));
  await link(path.join(dir, 'a', 'b', 'file'), path.join(dir, 'again'));
  await symlink('/usr', path.join(dir, 'elsewhere'));
  const { usedBytes, files } = await realHost.treeUsage(dir, { signal });
  assert.equal(files, 5);
  const grown = usedBytes - empty.usedBytes;
  assert.ok(grown >= 100_000 && grown < 200_000, String(grown));
  assert.deepEqual(await realHost.treeUsage(path.join(dir, 'none'), { signal }), { usedBytes: 0, files: 0 });
  assert.deepEqual([...(await realHost.list(dir))].sort(), ['a', 'again', 'elsewhere']);
  const gone = AbortSignal.abort(new RangeError('gone'));
  await assert.rejects(realHost.treeUsage(dir, { signal: gone }), RangeError);
});
