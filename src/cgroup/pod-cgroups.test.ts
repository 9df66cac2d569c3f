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

const gib = 2 ** 30;
const mib = 2 ** 20;
/** Everything a Pod can be limited in: at its containers, and at the Pod itself (L-285). */
const full = { cpu: '500m', memory: '64Mi', 'hugepages-2Mi': '4Mi' };
const podLevel = { requests: { cpu: '200m', memory: '32Mi' }, limits: { cpu: '300m', memory: '96Mi' } };
const fullPods = {
  guaranteed: buildPod({ containers: [buildContainer({ resources: { requests: full, limits: full } })] }, { uid: 'g-1' }),
  burstable: buildPod({ resources: podLevel, containers: [buildContainer(), buildContainer({ name: 'b' })] }, { uid: 'b-1' }),
  bestEffort: buildPod({}, { uid: 'e-1' }),
};
const names = {
  cgroupfs: {
    all: '/kubepods',
    burstable: '/kubepods/burstable',
    bestEffort: '/kubepods/besteffort',
    guaranteedPod: '/kubepods/podg-1',
    burstablePod: '/kubepods/burstable/podb-1',
    bestEffortPod: '/kubepods/besteffort/pode-1',
  },
  systemd: {
    all: '/kubepods.slice',
    burstable: '/kubepods.slice/kubepods-burstable.slice',
    bestEffort: '/kubepods.slice/kubepods-besteffort.slice',
    guaranteedPod: '/kubepods.slice/kubepods-podg_1.slice',
    burstablePod: '/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podb_1.slice',
    bestEffortPod: '/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pode_1.slice',
  },
} as const;
type Place = keyof typeof names.systemd;
/** The file values of each cgroup, and the properties systemd is given of it. */
const expectedValues: Readonly<Record<1 | 2, Readonly<Record<Place, readonly [readonly string[], string]>>>> = {
  1: {
    all: [
      ['cpu.shares=4096', `memory.limit_in_bytes=${8 * gib}`, 'pids.max=500', `2MB=${16 * mib}`, '1GB=0'],
      `CPUShares=4096 MemoryLimit=${8 * gib} TasksMax=500`,
    ],
    burstable: [['cpu.shares=204', '2MB=4611686018427387904', '1GB=4611686018427387904'], 'CPUShares=204'],
    bestEffort: [['cpu.shares=2', '2MB=4611686018427387904', '1GB=4611686018427387904'], 'CPUShares=2'],
    guaranteedPod: [
      [
        'cpu.shares=512',
        'cpu.cfs_period_us=100000',
        'cpu.cfs_quota_us=50000',
        `memory.limit_in_bytes=${64 * mib}`,
        'pids.max=100',
        `2MB=${4 * mib}`,
        '1GB=0',
      ],
      `CPUShares=512 CPUQuotaPeriodSec=100000us CPUQuota=50% MemoryLimit=${64 * mib} TasksMax=100`,
    ],
    burstablePod: [
      [
        'cpu.shares=204',
        'cpu.cfs_period_us=100000',
        'cpu.cfs_quota_us=30000',
        `memory.limit_in_bytes=${96 * mib}`,
        'pids.max=100',
        '2MB=0',
        '1GB=0',
      ],
      `CPUShares=204 CPUQuotaPeriodSec=100000us CPUQuota=30% MemoryLimit=${96 * mib} TasksMax=100`,
    ],
    bestEffortPod: [['cpu.shares=2', 'pids.max=100', '2MB=0', '1GB=0'], 'CPUShares=2 TasksMax=100'],
  },
  2: {
    all: [
      ['cpu.weight=157', `memory.max=${8 * gib}`, 'pids.max=500', `2MB=${16 * mib}`, '1GB=0'],
      `CPUWeight=157 MemoryMax=${8 * gib} TasksMax=500`,
    ],
    burstable: [['cpu.weight=8', '2MB=4611686018427387904', '1GB=4611686018427387904'], 'CPUWeight=8'],
    bestEffort: [['cpu.weight=1', '2MB=4611686018427387904', '1GB=4611686018427387904'], 'CPUWeight=1'],
    guaranteedPod: [
      ['cpu.weight=20', 'cpu.max=50000 100000', `memory.max=${64 * mib}`, 'pids.max=100', `2MB=${4 * mib}`, '1GB=0'],
      `CPUWeight=20 CPUQuotaPeriodSec=100000us CPUQuota=50% MemoryMax=${64 * mib} TasksMax=100`,
    ],
    burstablePod: [
      ['cpu.weight=8', 'cpu.max=30000 100000', `memory.max=${96 * mib}`, 'pids.max=100', '2MB=0', '1GB=0'],
      `CPUWeight=8 CPUQuotaPeriodSec=100000us CPUQuota=30% MemoryMax=${96 * mib} TasksMax=100`,
    ],
    bestEffortPod: [['cpu.weight=1', 'pids.max=100', '2MB=0', '1GB=0'], 'CPUWeight=1 TasksMax=100'],
  },
};

for (const version of [1, 2] as const) {
  for (const driver of ['cgroupfs', 'systemd'] as const) {
    test(`L-286, L-293 … L-302, C-371, C-372, C-375, C-376: every limit of the node, of the classes and of Pods, v${version} with ${driver}`, async () => {
      const hugeFiles = (suffix: string): Record<string, string> =>
        Object.fromEntries(
          ['2MB', '1GB'].flatMap((page) => [`${page}.${suffix}`, `${page}.rsvd.${suffix}`].map((file) => [`hugetlb.${file}`, ''])),
        );
      const layout: CgroupLayout =
        version === 2
          ? v2Layout
          : {
              ...v1Layout,
              hierarchies: [...v1Layout.hierarchies, { mountPoint: '/sys/hugetlb', controllers: ['hugetlb'], unified: false }],
            };
      const born = (path: string): Record<string, string> =>
        version === 2
          ? { ...v2Files(), ...hugeFiles('max'), 'cgroup.controllers': 'cpuset cpu io memory hugetlb pids' }
          : path.startsWith('/sys/hugetlb')
            ? hugeFiles('limit_in_bytes')
            : v1Files(path);
      const files = new MemoryCgroups(
        layout.hierarchies.map((one) => one.mountPoint),
        born,
      );
      const started = new Map<string, string>();
      const slices = {
        start: async (slice: string, properties: readonly string[]) => void started.set(slice, properties.join(' ')),
        stop: async () => undefined,
      };
      const cgroups = new PodCgroups(
        { layout, cgroup: { root: '/', driver } },
        { files, kill: () => undefined, clock: new FakeClock(), log: silentLogger, ...(driver === 'systemd' && { slices }) },
      );
      const capacity = { cpuMillis: 4000, memoryBytes: 8 * gib, ephemeralStorageBytes: 0, hugepagesBytes: new Map([[2 * mib, 16 * mib]]) };
      const node = buildNode({ capacity, podPidsLimit: 100 });
      await cgroups.start(node, capacity, 500);
      for (const pod of Object.values(fullPods)) await cgroups.ensure(pod, node);
      await cgroups.updateQos(
        Object.values(fullPods).map(({ spec }) => spec),
        node,
      );
      for (const [place, name] of Object.entries(names[driver]) as [Place, string][]) {
        const [values, properties] = expectedValues[version][place];
        // The last text of each file that was written; of huge pages, twice the same.
        const written = files.writes
          .map((write) => /^\/sys(?:\/(?:cpu|memory|pids|hugetlb))?(.*)\/([^/]+)=(.*)$/s.exec(write))
          .filter((match) => match?.[1] === name && !/^c(?:puset|group)\./.test(match[2] ?? ''));
        const last = new Map(written.map((match) => [match?.[2] ?? '', match?.[3]]));
        const short = [...last].flatMap(([file, text]) => {
          const page = /^hugetlb\.(\w+)\.(rsvd\.)?/.exec(file);
          if (page?.[2] !== undefined) return [];
          if (page !== null) assert.equal(last.get(file.replace(/\.(\w+)$/, '.rsvd.$1')), text, file);
          return [`${page === null ? file : page[1]}=${text}`];
        });
        assert.deepEqual(short, values, `${place}: ${name}`);
        const slice = name.slice(name.lastIndexOf('/') + 1);
        assert.equal(started.get(slice), driver === 'systemd' ? properties : undefined, slice);
      }
      assert.deepEqual([...(await cgroups.list())].sort(), ['b-1', 'e-1', 'g-1']);
    });
  }
}

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
