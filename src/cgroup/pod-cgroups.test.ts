// The writes, on a file system in memory for both versions and drivers; on the machine's own in pod-cgroups-real.test.ts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { buildNode } from '../../test/support/node-facts.ts';
import { buildContainer, buildPod } from '../../test/support/pods.ts';
import { silentLogger } from '../std/log.ts';
import type { CgroupFileSystem } from './cgroup-files.ts';
import type { CgroupLayout } from './layout.ts';
import { CgroupError, PodCgroups } from './pod-cgroups.ts';
import { sliceProperties } from './systemd.ts';

/** Directories come with the files the kernel would put into them. */
class MemoryCgroups implements CgroupFileSystem {
  readonly files = new Map<string, string>();
  readonly folders: Set<string>;
  readonly writes: string[] = [];
  /** Processes by directory, which keep it from being removed. */
  readonly processes = new Map<string, number[]>();
  refuse = (_path: string): boolean => false;
  readonly #born: (path: string) => Record<string, string>;

  constructor(roots: readonly string[], born: (path: string) => Record<string, string>) {
    this.#born = born;
    this.folders = new Set();
    for (const root of roots) this.#add(root);
  }

  #add(path: string): void {
    this.folders.add(path);
    for (const [file, text] of Object.entries(this.#born(path))) this.files.set(`${path}/${file}`, text);
  }

  async makeDirectory(path: string): Promise<boolean> {
    if (this.folders.has(path)) return false;
    this.#add(path);
    return true;
  }
  async read(path: string): Promise<string | undefined> {
    if (path.endsWith('/cgroup.procs')) return (this.processes.get(path.slice(0, path.lastIndexOf('/'))) ?? []).join('\n');
    return this.files.get(path);
  }
  async write(path: string, text: string): Promise<void> {
    if (this.refuse(path)) throw new CgroupError('test', 'refused');
    if (!this.files.has(path)) throw Object.assign(new CgroupError('x', 'no such file'), { code: 'ENOENT' });
    this.writes.push(`${path}=${text}`);
    this.files.set(path, text);
  }
  async directories(path: string): Promise<readonly string[] | undefined> {
    if (!this.folders.has(path)) return undefined;
    return [...this.folders]
      .filter((one) => one.startsWith(`${path}/`) && !one.slice(path.length + 1).includes('/'))
      .map((one) => one.slice(path.length + 1));
  }
  async removeDirectory(path: string): Promise<void> {
    const isBusy = [...this.folders].some((one) => one.startsWith(`${path}/`)) || (this.processes.get(path) ?? []).length > 0;
    if (isBusy) throw Object.assign(new CgroupError('x', 'busy'), { code: 'EBUSY' });
    this.folders.delete(path);
  }
}

const v1Layout: CgroupLayout = {
  version: 1,
  hierarchies: ['cpu', 'cpuset', 'memory', 'devices', 'pids'].map((name) => ({
    mountPoint: `/sys/${name}`,
    controllers: [name],
    unified: false,
  })),
  own: new Map(),
};
const v2Layout: CgroupLayout = { version: 2, hierarchies: [{ mountPoint: '/sys', controllers: [], unified: true }], own: new Map() };

function v1Files(path: string): Record<string, string> {
  if (path.startsWith('/sys/cpuset'))
    return path === '/sys/cpuset' ? { 'cpuset.cpus': '0-3', 'cpuset.mems': '0' } : { 'cpuset.cpus': '\n', 'cpuset.mems': '\n' };
  if (path.startsWith('/sys/cpu')) return { 'cpu.shares': '1024', 'cpu.cfs_period_us': '100000', 'cpu.cfs_quota_us': '-1' };
  if (path.startsWith('/sys/memory')) return { 'memory.limit_in_bytes': '9' };
  return path.startsWith('/sys/pids') ? { 'pids.max': 'max' } : {};
}

function v2Files(): Record<string, string> {
  const values = {
    'cpu.weight': '100',
    'cpu.max': 'max 100000',
    'memory.max': 'max',
    'pids.max': 'max',
    'cgroup.kill': '',
    'cgroup.events': 'populated 0',
  };
  return { ...values, 'cgroup.controllers': 'cpuset cpu io memory pids', 'cgroup.subtree_control': '' };
}

function setup(layout: CgroupLayout, driver: 'cgroupfs' | 'systemd' = 'cgroupfs') {
  const files = new MemoryCgroups(
    layout.hierarchies.map((one) => one.mountPoint),
    layout.version === 1 ? v1Files : v2Files,
  );
  const killed: number[] = [];
  const kill = (pid: number): void => {
    killed.push(pid);
    for (const [path, pids] of files.processes)
      files.processes.set(
        path,
        pids.filter((one) => one !== pid),
      );
  };
  const clock = new FakeClock();
  const cgroups = new PodCgroups({ layout, cgroup: { root: '/', driver } }, { files, kill, clock, log: silentLogger });
  const node = buildNode({ hugepageSizesBytes: [] });
  return { files, killed, clock, cgroups, node };
}

const limited = { requests: { cpu: '500m', memory: '64Mi' }, limits: { cpu: '500m', memory: '64Mi' } };
const guaranteed = buildPod({ containers: [buildContainer({ resources: limited })] });
const options = { signal: new AbortController().signal };
const bytes = String(64 * 2 ** 20);

for (const [layout, driver, expected] of [
  [
    v1Layout,
    'cgroupfs',
    [
      '/sys/cpuset/kubepods/cpuset.cpus=0-3',
      '/sys/cpuset/kubepods/cpuset.mems=0',
      '/sys/cpuset/kubepods/poduid-1/cpuset.cpus=0-3',
      '/sys/cpuset/kubepods/poduid-1/cpuset.mems=0',
      '/sys/cpu/kubepods/poduid-1/cpu.shares=512',
      '/sys/cpu/kubepods/poduid-1/cpu.cfs_period_us=100000',
      '/sys/cpu/kubepods/poduid-1/cpu.cfs_quota_us=50000',
      `/sys/memory/kubepods/poduid-1/memory.limit_in_bytes=${bytes}`,
    ],
  ],
  [
    v1Layout,
    'systemd',
    [
      '/sys/cpuset/kubepods.slice/cpuset.cpus=0-3',
      '/sys/cpuset/kubepods.slice/cpuset.mems=0',
      '/sys/cpuset/kubepods.slice/kubepods-poduid_1.slice/cpuset.cpus=0-3',
      '/sys/cpuset/kubepods.slice/kubepods-poduid_1.slice/cpuset.mems=0',
      '/sys/cpu/kubepods.slice/kubepods-poduid_1.slice/cpu.shares=512',
      '/sys/cpu/kubepods.slice/kubepods-poduid_1.slice/cpu.cfs_period_us=100000',
      '/sys/cpu/kubepods.slice/kubepods-poduid_1.slice/cpu.cfs_quota_us=50000',
      `/sys/memory/kubepods.slice/kubepods-poduid_1.slice/memory.limit_in_bytes=${bytes}`,
    ],
  ],
  [
    v2Layout,
    'cgroupfs',
    [
      '/sys/cgroup.subtree_control=+cpu +cpuset +memory +pids',
      '/sys/kubepods/cgroup.subtree_control=+cpu +cpuset +memory +pids',
      '/sys/kubepods/poduid-1/cgroup.subtree_control=+cpu +cpuset +memory +pids',
      '/sys/kubepods/poduid-1/cpu.weight=20',
      '/sys/kubepods/poduid-1/cpu.max=50000 100000',
      `/sys/kubepods/poduid-1/memory.max=${bytes}`,
    ],
  ],
  [
    v2Layout,
    'systemd',
    [
      '/sys/cgroup.subtree_control=+cpu +cpuset +memory +pids',
      '/sys/kubepods.slice/cgroup.subtree_control=+cpu +cpuset +memory +pids',
      '/sys/kubepods.slice/kubepods-poduid_1.slice/cgroup.subtree_control=+cpu +cpuset +memory +pids',
      '/sys/kubepods.slice/kubepods-poduid_1.slice/cpu.weight=20',
      '/sys/kubepods.slice/kubepods-poduid_1.slice/cpu.max=50000 100000',
      `/sys/kubepods.slice/kubepods-poduid_1.slice/memory.max=${bytes}`,
    ],
  ],
] as const) {
  test(`L-292 … L-299, C-372 ensure writes exactly this on v${layout.version} with ${driver}`, async () => {
    const { cgroups, files, node } = setup(layout, driver);
    await cgroups.ensure(guaranteed, node);
    assert.deepEqual(files.writes, expected);
    assert.ok(await cgroups.exists(guaranteed));
    assert.deepEqual([...(await cgroups.list())], ['uid-1']);
  });
}

test('L-292 an agent that died before the limits were written writes them the next time', async () => {
  const { cgroups, files, node } = setup(v2Layout);
  await files.makeDirectory('/sys/kubepods');
  await files.makeDirectory('/sys/kubepods/poduid-1');
  await cgroups.ensure(guaranteed, node);
  assert.equal(files.files.get('/sys/kubepods/poduid-1/memory.max'), bytes);
});

test('L-292 the limits of a cgroup in use stay as they are', async () => {
  const { cgroups, files, node } = setup(v2Layout);
  assert.equal(await cgroups.ensure(guaranteed, node), false);
  files.writes.length = 0;
  assert.equal(await cgroups.ensure(guaranteed, node, { isInUse: true }), true);
  assert.deepEqual(files.writes, []);
});

for (const [layout, driver, lifted, set] of [
  [v1Layout, 'cgroupfs', ['cpu.cfs_quota_us=-1', 'memory.limit_in_bytes=-1'], ['cpu.cfs_quota_us=50000', `memory.limit_in_bytes=${bytes}`]],
  [v2Layout, 'cgroupfs', ['cpu.max=max 100000', 'memory.max=max'], ['cpu.max=50000 100000', `memory.max=${bytes}`]],
] as const) {
  test(`L-518 while containers are resized the Pod has no limit, on v${layout.version}`, async () => {
    const { cgroups, files, node } = setup(layout, driver);
    await cgroups.ensure(guaranteed, node);
    const written = (): readonly string[] =>
      files.writes.flatMap((write) => (/quota|cpu\.max|memory\./.test(write) ? [write.slice(write.lastIndexOf('/') + 1)] : []));
    files.writes.length = 0;
    await cgroups.beginResize(guaranteed, node);
    assert.deepEqual(written(), lifted);
    files.writes.length = 0;
    await cgroups.endResize(guaranteed, node);
    assert.deepEqual(written(), set);
  });
}

test('L-299, C-374 a Pod cgroup missing in one hierarchy does not exist', async () => {
  const { cgroups, files, node } = setup(v1Layout);
  await cgroups.ensure(guaranteed, node);
  files.folders.delete('/sys/memory/kubepods/poduid-1');
  assert.equal(await cgroups.exists(guaranteed), false);
  // Mounted since, perhaps: it is made there, and what runs is not taken for lost (L-052).
  assert.equal(await cgroups.ensure(guaranteed, node, { isInUse: true }), true);
  assert.equal(files.writes.at(-1), `/sys/memory/kubepods/poduid-1/memory.limit_in_bytes=${bytes}`);
});

test('L-301, L-302, C-371, C-376 start makes the tree and limits it', async () => {
  const { cgroups, files, node } = setup(v2Layout);
  await cgroups.start(node, { ...node.capacity, cpuMillis: 3000 }, 500);
  assert.deepEqual([...files.folders].sort(), ['/sys', '/sys/kubepods', '/sys/kubepods/besteffort', '/sys/kubepods/burstable']);
  assert.equal(files.files.get('/sys/kubepods/cpu.weight'), '118');
  assert.equal(files.files.get('/sys/kubepods/memory.max'), String(8 * 2 ** 30));
  assert.equal(files.files.get('/sys/kubepods/pids.max'), '500');
  assert.equal(files.files.get('/sys/kubepods/besteffort/cpu.weight'), '1');
});

test('a limit that cannot be written is said, the others are written', async () => {
  const { cgroups, files, node } = setup(v2Layout);
  files.refuse = (path) => path.endsWith('cpu.max');
  await assert.rejects(cgroups.ensure(guaranteed, node), /limits of cgroup \/kubepods\/poduid-1 cannot be set: refused/);
  assert.equal(files.files.get('/sys/kubepods/poduid-1/memory.max'), bytes);
});

test('L-300, C-372 removal kills leftovers, children first, in every hierarchy, those made by the runtime too', async () => {
  const { cgroups, files, killed, node } = setup(v1Layout);
  await cgroups.ensure(guaranteed, node);
  for (const path of [
    '/sys/memory/kubepods/poduid-1/c1',
    '/sys/devices/kubepods',
    '/sys/devices/kubepods/poduid-1',
    '/sys/devices/kubepods/poduid-1/c1',
  ]) {
    await files.makeDirectory(path);
  }
  files.processes.set('/sys/memory/kubepods/poduid-1/c1', [41, 42]);
  await cgroups.remove('uid-1', options);
  assert.deepEqual(killed, [41, 42]);
  assert.deepEqual(
    [...files.folders].filter((path) => path.includes('poduid-1')),
    [],
  );
  assert.ok(files.folders.has('/sys/memory/kubepods'), 'the tree stays');
  await cgroups.remove('uid-1', options);
});

test('L-300 version 2 kills a subtree at once', async () => {
  const { cgroups, files, killed, node } = setup(v2Layout);
  await cgroups.ensure(guaranteed, node);
  await cgroups.remove('uid-1', options);
  assert.equal(files.writes.at(-1), '/sys/kubepods/poduid-1/cgroup.kill=1');
  assert.deepEqual(killed, []);
});

test('L-300 a cgroup that stays busy is given up after five attempts', async () => {
  const { cgroups, files, clock, node } = setup(v2Layout);
  await cgroups.ensure(guaranteed, node);
  files.processes.set('/sys/kubepods/poduid-1', [1]);
  const outcome = assert.rejects(cgroups.remove('uid-1', options), /cgroup of pod uid-1 cannot be removed: busy/);
  for (let pause = 0; pause < 4; pause++) {
    while (clock.sleeping === 0) await new Promise((resolve) => setImmediate(resolve));
    await clock.advance(clock.nextWake === undefined ? 0 : clock.nextWake - clock.now());
  }
  await outcome;
});

test('removeAll leaves the machine as it was, but not a busy part', async () => {
  const { cgroups, files, node } = setup(v1Layout);
  await cgroups.start(node, node.capacity, -1);
  await cgroups.ensure(guaranteed, node);
  await cgroups.removeAll();
  assert.ok(files.folders.has('/sys/cpu/kubepods/poduid-1'));
  await cgroups.remove('uid-1', options);
  await cgroups.removeAll();
  assert.deepEqual([...files.folders].sort(), v1Layout.hierarchies.map((one) => one.mountPoint).sort());
});

test('decision 0014: with systemd the slice gets its limits as properties before the files, and is stopped at removal', async () => {
  const { files, clock, node } = setup(v2Layout, 'systemd');
  const calls: string[] = [];
  const slices = {
    start: async (slice: string, properties: readonly string[]) => {
      calls.push(`start ${slice} ${properties.join(' ')}`);
    },
    stop: async (slice: string) => {
      calls.push(`stop ${slice}`);
    },
  };
  const deps = { files, kill: () => undefined, clock, log: silentLogger, slices };
  const cgroups = new PodCgroups({ layout: v2Layout, cgroup: { root: '/', driver: 'systemd' } }, deps);
  await cgroups.ensure(guaranteed, node);
  await cgroups.remove('uid-1', options);
  assert.deepEqual(calls, [
    `start kubepods-poduid_1.slice CPUWeight=20 CPUQuotaPeriodSec=100000us CPUQuota=50% MemoryMax=${bytes}`,
    'stop kubepods-poduid_1.slice',
  ]);
});

test('decision 0014: properties for version 1, without a quota, with a pids limit', () => {
  assert.deepEqual(sliceProperties({ cpuShares: 512, cpuQuotaUs: -1, cpuPeriodUs: 100_000, memoryLimitBytes: 4096, pidsLimit: 10 }, 1), [
    'CPUShares=512',
    'CPUQuotaPeriodSec=100000us',
    'CPUQuota=',
    'MemoryLimit=4096',
    'TasksMax=10',
  ]);
  assert.deepEqual(sliceProperties({ cpuQuotaUs: 33_333, cpuPeriodUs: 100_000 }, 2), ['CPUQuotaPeriodSec=100000us', 'CPUQuota=33.34%']);
});
