import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { test } from 'node:test';
import { detectCgroupLayout } from './layout.ts';
import { memoryTotalBytes, readMachine } from './machine.ts';

test('memory is MemTotal in bytes', () => {
  assert.equal(memoryTotalBytes('MemFree: 1 kB\nMemTotal:       2048 kB\n'), 2 * 2 ** 20);
  assert.equal(memoryTotalBytes(''), 0);
});

test('L-307 this machine has memory, processors and a disk', async () => {
  const texts = { mounts: await readFile('/proc/self/mounts', 'utf8'), selfCgroup: await readFile('/proc/self/cgroup', 'utf8') };
  const { capacity, hugepageSizesBytes } = await readMachine(detectCgroupLayout(texts), '/');
  assert.equal(capacity.memoryBytes, totalmem());
  assert.ok(capacity.cpuMillis >= 1000 && capacity.ephemeralStorageBytes > 0);
  assert.deepEqual(
    [...capacity.hugepagesBytes.keys()].sort((a, b) => a - b),
    hugepageSizesBytes,
  );
});
