import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { buildPod } from '../../test/support/pods.ts';
import type { PodUsage } from '../server/views.ts';
import { podUsages } from './pod-usages.ts';

const options = { signal: new AbortController().signal };
const time = 0;
const fs = (usedBytes: number, inodesUsed: number) => ({ time, usedBytes, inodesUsed });

test('a file that vanishes while volumes are measured does not make them empty (C-400)', async () => {
  const pod = buildPod({ volumes: [{ name: 'busy', emptyDir: {} }] });
  // du always misses one here: that of its own reading.
  const deps = { stats: { pods: async () => [] }, emptyDirPath: () => '/proc/self/fd' };
  const usages = await podUsages([pod], deps, { ...options, withInodes: true });
  assert.ok((usages.get('uid-1')?.inodes ?? 0) > 1);
});

test('what a Pod uses: memory of all, storage of layers, logs and emptyDirs on disk (L-505)', async (t) => {
  const root = mkdtempSync(path.join(tmpdir(), 'pinpod-usages-'));
  t.after(() => rmSync(root, { recursive: true }));
  for (const name of ['cache', 'ram']) {
    mkdirSync(path.join(root, name, 'deep'), { recursive: true });
    writeFileSync(path.join(root, name, 'deep', 'file'), Buffer.alloc(1 << 20, 1));
  }
  const pod = buildPod({
    volumes: [
      { name: 'cache', emptyDir: {} },
      { name: 'ram', emptyDir: { medium: 'Memory' } },
      { name: 'lost', emptyDir: {} },
      { name: 'host', hostPath: { path: '/' } },
    ],
  });
  const other = buildPod({}, { uid: 'uid-2' });
  const stats: PodUsage = {
    ...{ namespace: 'default', name: 'web-node1', uid: 'uid-1', startedAt: time, processCount: 7 },
    containers: [
      { name: 'app', startedAt: time, memory: { time, workingSetBytes: 100 }, rootfs: fs(10, 1), logs: fs(20, 2) },
      { name: 'side', startedAt: time, memory: { time, workingSetBytes: 50 } },
    ],
  };
  const deps = { stats: { pods: async () => [stats] }, emptyDirPath: (_uid: string, volume: string) => path.join(root, volume) };
  const usages = await podUsages([pod, other], deps, options);
  const usage = usages.get('uid-1');
  const cache = usage?.emptyDirs.get('cache') ?? 0;
  assert.ok(cache >= 1 << 20 && cache < (1 << 20) + 65_536, `${cache}`);
  assert.deepEqual([...(usage?.emptyDirs.keys() ?? [])], ['cache', 'lost'], 'memory is limited by the kernel');
  assert.equal(usage?.emptyDirs.get('lost'), 0);
  assert.equal(usage?.memoryBytes, 150);
  assert.equal(usage?.storageBytes, 30 + cache);
  assert.equal(usage?.inodes, 3);
  assert.equal(
    (await podUsages([pod], deps, { ...options, withInodes: true })).get('uid-1')?.inodes,
    6,
    'two folders and a file in its emptyDir',
  );
  assert.equal(usage?.processes, 7);
  assert.equal(usage?.containers.get('app')?.storageBytes, 30);
  assert.equal(usages.get('uid-2')?.storageBytes, 0, 'not measured yet');
});
