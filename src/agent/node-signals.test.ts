import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { disk, FakeHost } from '../../test/support/fake-host.ts';
import type { CgroupLayout } from '../cgroup/layout.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { RuntimeError } from '../std/errors.ts';
import { NodeSignals } from './node-signals.ts';

const options = { signal: new AbortController().signal };
const v1: CgroupLayout = {
  version: 1,
  hierarchies: [{ mountPoint: '/sys/fs/cgroup/memory', controllers: ['memory'], unified: false }],
  own: new Map(),
};
const v2: CgroupLayout = {
  version: 2,
  hierarchies: [{ mountPoint: '/sys/fs/cgroup', controllers: [], unified: true }],
  own: new Map(),
};
const pods = { v1: '/sys/fs/cgroup/memory/kubepods', v2: '/sys/fs/cgroup/kubepods' };

function world(layout: CgroupLayout = v2) {
  const clock = new FakeClock();
  const host = new FakeHost({
    '/proc/meminfo': 'MemTotal: 1000 kB\nMemFree: 400 kB\nInactive(file): 100 kB\n',
    '/proc/loadavg': '0 0 0 1/100 7\n',
    '/proc/sys/kernel/pid_max': '32768\n',
    '/proc/sys/kernel/threads-max': '10000\n',
  });
  host.disks.set('/r', disk({ availableBytes: 11, inodesFree: 12 }));
  host.disks.set('/images', disk({ availableBytes: 21, inodes: 0 }));
  const calls: string[] = [];
  let failure: RuntimeError | undefined;
  const runtime: Pick<Runtime, 'imageFsInfo'> = {
    imageFsInfo: async () => {
      calls.push('imageFsInfo');
      if (failure !== undefined) throw failure;
      return [{ timestamp: 0, mountpoint: '/images', usedBytes: 1, inodesUsed: 1 }];
    },
  };
  const cgroup = { version: layout.version, driver: 'cgroupfs', root: '/', perQos: true, swapController: false } as const;
  const signals = new NodeSignals({ config: { rootDir: '/r' }, cgroup, layout }, { runtime, clock, host });
  const fail = (): void => {
    failure = new RuntimeError('unavailable', 'away');
  };
  return { clock, host, signals, calls, fail };
}

test('L-503: what is left of everything', async () => {
  const { signals } = world();
  const { capacityBytes, inodes } = disk();
  assert.deepEqual(await signals.read(options), {
    'memory.available': { available: 500 * 1024, capacity: 1000 * 1024 },
    'pid.available': { available: 9_900, capacity: 10_000 },
    'nodefs.available': { available: 11, capacity: capacityBytes },
    'nodefs.inodesFree': { available: 12, capacity: inodes },
    'imagefs.available': { available: 21, capacity: capacityBytes },
    'containerfs.available': { available: 21, capacity: capacityBytes },
  });
});

for (const [title, layout, files, expected] of [
  [
    'version 1',
    v1,
    {
      [`${pods.v1}/memory.limit_in_bytes`]: '1000',
      [`${pods.v1}/memory.usage_in_bytes`]: '700',
      [`${pods.v1}/memory.stat`]: 'total_inactive_file 100\n',
    },
    { available: 400, capacity: 1000 },
  ],
  [
    'version 1 without a limit',
    v1,
    { [`${pods.v1}/memory.limit_in_bytes`]: '9223372036854771712', [`${pods.v1}/memory.usage_in_bytes`]: '700' },
    undefined,
  ],
  [
    'version 2',
    v2,
    { [`${pods.v2}/memory.max`]: '1000', [`${pods.v2}/memory.current`]: '700', [`${pods.v2}/memory.stat`]: 'inactive_file 100\n' },
    { available: 400, capacity: 1000 },
  ],
  ['version 2 without a limit', v2, { [`${pods.v2}/memory.max`]: 'max', [`${pods.v2}/memory.current`]: '700' }, undefined],
] as const) {
  test(`L-503: what Pods may have together, cgroup ${title}`, async () => {
    const { host, signals } = world(layout);
    for (const [path, text] of Object.entries(files)) if (text !== undefined) host.files.set(path, text);
    assert.deepEqual((await signals.read(options))['allocatableMemory.available'], expected);
  });
}

test('a runtime that is away: the images are where they were, or where the agent keeps its state', async () => {
  const { clock, signals, calls, fail } = world();
  await signals.read(options);
  await clock.advance(299_999);
  await signals.read(options);
  assert.equal(calls.length, 1, 'asked every five minutes (D7)');
  fail();
  await clock.advance(1);
  assert.equal((await signals.read(options))['imagefs.available']?.available, 21);
  const other = world();
  other.fail();
  assert.equal((await other.signals.read(options))['imagefs.available']?.available, 11);
});

for (const [signal, device, expected] of [
  ['imagefs.available', 'b', true],
  ['nodefs.available', 'b', false],
  ['nodefs.inodesFree', 'a', true],
] as const) {
  test(`removing images ${expected ? 'helps' : 'does not help'} ${signal} with images on device ${device}`, async () => {
    const { host, signals } = world();
    host.files.set('/r', 'a 1 2');
    host.files.set('/images', `${device} 3 4`);
    assert.equal(await signals.isHelpedByImages(signal, options), expected);
  });
}
