import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { disk, FakeHost } from '../../test/support/fake-host.ts';
import { buildPod } from '../../test/support/pods.ts';
import type { PodStatus } from '../api/gen/kubernetes.ts';
import type { Pod } from '../api/pod.ts';
import type { CgroupLayout } from '../cgroup/layout.ts';
import type { CallOptions, ContainerStats, PodSandboxStats } from '../runtime/runtime.ts';
import type { CgroupNumbers } from '../server/views.ts';
import { StatusStore } from '../status/status-store.ts';
import { toRfc3339 } from '../std/clock.ts';
import { RuntimeError } from '../std/errors.ts';
import { silentLogger } from '../std/log.ts';
import { noMetrics } from '../std/metrics.ts';
import { AgentStats } from './stats-view.ts';

const start = Date.UTC(2026, 0, 1);
const signal = new AbortController().signal;
const v1: CgroupLayout = {
  version: 1,
  hierarchies: [
    { mountPoint: '/cg/memory', controllers: ['memory'], unified: false },
    { mountPoint: '/cg/cpuacct', controllers: ['cpuacct'], unified: false },
  ],
  own: new Map(),
};
const v2: CgroupLayout = { version: 2, hierarchies: [{ mountPoint: '/cg', controllers: [], unified: true }], own: new Map() };

const memory = {
  timestamp: start,
  workingSetBytes: 70,
  availableBytes: 30,
  usageBytes: 80,
  rssBytes: 60,
  pageFaults: 5,
  majorPageFaults: 1,
};

function world(layout: CgroupLayout = v2, onObserved: (name: string) => void = () => undefined) {
  const clock = new FakeClock(start);
  const host = new FakeHost();
  host.disks.set('/r', disk());
  host.disks.set('/images', disk({ availableBytes: 500 }));
  const status = new StatusStore({ clock });
  const calls: string[] = [];
  /** Nanoseconds by container id, and of each Pod's sandbox. */
  const used = new Map<string, number>();
  let sandboxFailure: RuntimeError | undefined;
  let onCall = async (_options: CallOptions): Promise<void> => undefined;
  const cpu = (key: string) => ({ timestamp: clock.now(), usageCoreNanoSeconds: used.get(key) ?? 0, usageNanoCores: 0 });
  const container = (id: string): ContainerStats => ({
    id,
    name: id,
    podUid: 'uid-1',
    labels: {},
    cpu: cpu(id),
    memory,
    writableLayer: { timestamp: id === 'c2' ? 0 : start, mountpoint: '/images', usedBytes: 7, inodesUsed: 2 },
  });
  const containers = ['c1', 'c2'];
  const network = { timestamp: 0, interfaces: [{ name: 'eth0', rxBytes: 1, rxErrors: 0, txBytes: 2, txErrors: 0 }] };
  const stats = new AgentStats(
    {
      config: { rootDir: '/r', podLogsDir: '/logs' },
      cgroup: { version: layout.version, driver: 'cgroupfs', root: '/', perQos: true, swapController: false },
      layout,
    },
    {
      runtime: {
        async listPodSandboxStats(_, options): Promise<readonly PodSandboxStats[]> {
          calls.push('sandboxes');
          await onCall(options);
          if (sandboxFailure !== undefined) throw sandboxFailure;
          const own = { id: 's', podUid: 'uid-1', cpu: cpu('s'), memory, network, processCount: 4, containers: containers.map(container) };
          const old = { ...own, id: 'old', cpu: { ...cpu('s'), timestamp: start - 1 }, processCount: 99, containers: [] };
          return [own, old];
        },
        async listContainerStats() {
          calls.push('containers');
          return containers.map(container);
        },
        async imageFsInfo() {
          calls.push('imageFs');
          return [{ timestamp: start, mountpoint: '/images', usedBytes: 11, inodesUsed: 3 }];
        },
      },
      status,
      clock,
      log: silentLogger,
      metrics: { ...noMetrics, histogram: ({ name }) => ({ observe: () => onObserved(name), remove: () => undefined }) },
      host,
    },
  );
  /** Lets `promise` have the second sample; `between` happens before it. */
  const warmedUp = async <T>(promise: Promise<T>, between: () => void = () => undefined): Promise<T> => {
    while (clock.sleeping === 0) await settle();
    between();
    await clock.advance(1000);
    return await promise;
  };
  return {
    clock,
    host,
    status,
    stats,
    calls,
    used,
    containers,
    warmedUp,
    failSandboxes: (error: RuntimeError | undefined) => {
      sandboxFailure = error;
    },
    during: (hook: (options: CallOptions) => Promise<void>) => {
      onCall = hook;
    },
  };
}

const running = (name: string, id: string) => ({
  name,
  image: 'nginx',
  imageID: '',
  ready: true,
  restartCount: 0,
  containerID: `containerd://${id}`,
  state: { running: { startedAt: toRfc3339(start - 5000) } },
});
const status: PodStatus = {
  startTime: toRfc3339(start - 9000),
  initContainerStatuses: [
    running('sidecar', 'c2'),
    { ...running('done', 'c3'), state: { terminated: { exitCode: 0, finishedAt: toRfc3339(start) } } },
  ],
  containerStatuses: [running('app', 'c1')],
};
const publish = (store: StatusStore, pod: Pod = buildPod()): void => void store.publish(pod, status);

test('H-285: usage of a Pod and its running containers, the rate from two samples', async () => {
  const { stats, status: store, warmedUp, used, host } = world();
  publish(store);
  host.disks.set('/logs/default_web-node1_uid-1/app', disk());
  host.folders.set('/logs/default_web-node1_uid-1/app', { usedBytes: 123, files: 2 });
  const [pod, ...others] = await warmedUp(stats.pods({ signal }), () => {
    used.set('c1', 250_000_000);
    used.set('s', 500_000_000);
  });
  assert.deepEqual(others, []);
  assert.deepEqual([pod?.namespace, pod?.name, pod?.uid, pod?.startedAt], ['default', 'web-node1', 'uid-1', start - 9000]);
  assert.deepEqual(pod?.cpu, { time: start + 1000, usageCoreNanoSeconds: 500_000_000, usageNanoCores: 500_000_000 });
  assert.equal(pod?.processCount, 4);
  assert.deepEqual([pod?.network?.time, pod?.network?.interfaces[0]?.txBytes], [start + 1000, 2]);
  assert.deepEqual(
    pod?.containers.map(({ name }) => name),
    ['sidecar', 'app'],
  );
  const app = pod?.containers[1];
  assert.equal(app?.startedAt, start - 5000);
  assert.deepEqual(app?.cpu, { time: start + 1000, usageCoreNanoSeconds: 250_000_000, usageNanoCores: 250_000_000 });
  const { timestamp, ...numbers } = memory;
  assert.deepEqual(app?.memory, { time: timestamp, ...numbers });
  const space = { capacityBytes: 1000, inodes: 100, inodesFree: 80 };
  assert.deepEqual(app?.rootfs, { time: start, usedBytes: 7, inodesUsed: 2, availableBytes: 500, ...space });
  assert.deepEqual(app?.logs, { time: start + 1000, usedBytes: 123, inodesUsed: 2, availableBytes: 600, ...space });
  assert.equal(pod?.containers[0]?.cpu?.usageNanoCores, 0);
  // Not measured yet.
  assert.equal(pod?.containers[0]?.rootfs, undefined);
});

test('H-396: what logs take is known without asking the runtime', async () => {
  const { stats, status: store, calls, host } = world();
  publish(store);
  host.folders.set('/logs/default_web-node1_uid-1/app', { usedBytes: 123, files: 2 });
  const where = { namespace: 'default', pod: 'web-node1', uid: 'uid-1' };
  assert.deepEqual(await stats.logs(), [
    { ...where, container: 'sidecar', usedBytes: 0 },
    { ...where, container: 'app', usedBytes: 123 },
  ]);
  assert.deepEqual(calls, []);
});

test('H-285: no network of Pods on the host, no Pods without running containers', async () => {
  const { stats, status: store, warmedUp } = world();
  publish(store, buildPod({ hostNetwork: true }));
  store.publish(buildPod({}, { uid: 'uid-2', name: 'idle-node1' }), { phase: 'Pending' });
  const pods = await warmedUp(stats.pods({ signal }));
  assert.deepEqual(
    pods.map(({ uid, network }) => [uid, network]),
    [['uid-1', undefined]],
  );
});

test('answers are kept for five seconds, and the next rate is over the time since the last sample', async () => {
  const { stats, status: store, warmedUp, used, calls, clock } = world();
  publish(store);
  const first = await warmedUp(stats.pods({ signal }));
  await clock.advance(4999);
  assert.equal(await stats.pods({ signal }), first);
  assert.deepEqual(calls, ['sandboxes', 'sandboxes']);
  await clock.advance(5001);
  used.set('c1', 1_000_000_000);
  const [pod] = await stats.pods({ signal });
  assert.equal(pod?.containers[1]?.cpu?.usageNanoCores, 100_000_000);
});

test('a rate never spans minutes, nor a counter that began anew', async () => {
  for (const [pauseMs, total] of [
    [120_001, 9_000_000_000],
    [10_000, 1],
  ] as const) {
    const { stats, status: store, warmedUp, used, clock } = world();
    publish(store);
    used.set('c1', 1000);
    await warmedUp(stats.pods({ signal }));
    await clock.advance(pauseMs);
    used.set('c1', total);
    const [pod] = await warmedUp(stats.pods({ signal }), () => used.set('c1', total + 5_000_000));
    assert.equal(pod?.containers[1]?.cpu?.usageNanoCores, 5_000_000);
  }
});

test('a runtime without usage by Pod is asked by container, from then on', async () => {
  const { stats, status: store, warmedUp, calls, clock, failSandboxes } = world();
  publish(store);
  failSandboxes(new RuntimeError('unimplemented', 'no', { retry: 'never' }));
  const [pod] = await warmedUp(stats.pods({ signal }));
  assert.deepEqual([pod?.cpu, pod?.memory, pod?.network, pod?.containers.length], [undefined, undefined, undefined, 2]);
  failSandboxes(undefined);
  await clock.advance(5000);
  await stats.pods({ signal });
  assert.deepEqual(calls, ['sandboxes', 'containers', 'containers', 'containers']);
});

test('a passing failure of usage by Pod costs only that answer', async () => {
  const { stats, status: store, warmedUp, calls, clock, failSandboxes } = world();
  publish(store);
  failSandboxes(new RuntimeError('unknown', 'busy'));
  await warmedUp(stats.pods({ signal }));
  failSandboxes(undefined);
  await clock.advance(5000);
  const [pod] = await warmedUp(stats.pods({ signal }));
  assert.deepEqual([pod?.processCount, pod?.cpu?.usageNanoCores], [4, 0]);
  assert.deepEqual(calls, ['sandboxes', 'containers', 'sandboxes', 'containers', 'sandboxes', 'sandboxes']);
});

test('a runtime that does not answer is not asked twice', async () => {
  const { stats, calls, failSandboxes } = world();
  for (const code of ['deadline-exceeded', 'unavailable'] as const) {
    failSandboxes(new RuntimeError(code, 'hangs'));
    await assert.rejects(stats.pods({ signal }), { code });
  }
  assert.deepEqual(calls, ['sandboxes', 'sandboxes']);
});

test('many who ask at once cost one question, and one who goes away ends no other', async () => {
  const { stats, status: store, warmedUp, calls, clock, during } = world();
  publish(store);
  const impatient = new AbortController();
  during(({ signal: call }) => clock.sleep(100, call));
  const first = stats.pods({ signal: impatient.signal });
  const second = stats.pods({ signal });
  const third = stats.pods({ signal });
  while (clock.sleeping === 0) await settle();
  assert.deepEqual(calls, ['sandboxes']);
  impatient.abort(new RangeError('gone'));
  await assert.rejects(first, RangeError);
  during(async () => undefined);
  const [pods, same] = await warmedUp(Promise.all([second, third]));
  assert.equal(pods, same);
  assert.equal(pods.length, 1);
  assert.deepEqual(calls, ['sandboxes', 'sandboxes', 'sandboxes']);
});

const procFiles = {
  '/proc/stat': 'cpu  100 0 0 900 0 0 0 0 0 0\nbtime 1000\n',
  '/proc/meminfo': 'MemTotal: 1000 kB\nMemFree: 300 kB\nInactive(file): 200 kB\nAnonPages: 50 kB\nSwapTotal: 40 kB\nSwapFree: 10 kB\n',
  '/proc/vmstat': 'pgfault 12\npgmajfault 3\n',
  '/proc/net/dev': 'a\nb\neth0: 100 2 3 0 0 0 0 0 200 4 5 0 0 0 0 0\n',
  '/proc/pressure/cpu': 'some avg10=1.50 avg60=0.20 avg300=0.00 total=78\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n',
  '/proc/loadavg': '0 0 0 1/91 7\n',
  '/proc/sys/kernel/pid_max': '32768\n',
  '/proc/sys/kernel/threads-max': '5000\n',
  '/proc/self/stat': '7 (node) R 1 1 1 0 -1 0 11 0 2 0 30 20 0 0 20 0 8 0 500 0 0',
  '/proc/self/status': 'VmRSS:\t  100 kB\nRssAnon:\t   60 kB\n',
};

test('H-285: usage of the node', async () => {
  const { stats, host, warmedUp } = world();
  for (const [path, text] of Object.entries(procFiles)) host.files.set(path, text);
  const node = await warmedUp(stats.node({ signal }), () =>
    host.files.set('/proc/stat', 'cpu  150 0 0 900 0 0 0 0 0 0\ncpu0 1\ncpu1 1\nbtime 1000\n'),
  );
  const time = start + 1000;
  assert.equal(node.startedAt, 1_000_000);
  assert.deepEqual(node.cpu, { time, usageCoreNanoSeconds: 1_500_000_000, usageNanoCores: 500_000_000 });
  const kib = 1024;
  assert.deepEqual(node.memory, {
    time,
    availableBytes: 500 * kib,
    usageBytes: 700 * kib,
    workingSetBytes: 500 * kib,
    rssBytes: 50 * kib,
    pageFaults: 12,
    majorPageFaults: 3,
  });
  const counters = { rxBytes: 100, rxPackets: 2, rxErrors: 3, rxDropped: 0, txBytes: 200, txPackets: 4, txErrors: 5, txDropped: 0 };
  assert.deepEqual(node.network, { time, interfaces: [{ name: 'eth0', ...counters }] });
  assert.deepEqual(node.machine, { cores: 2, memoryBytes: 1000 * kib, swapBytes: 40 * kib });
  const none = { total: 0, avg10: 0, avg60: 0, avg300: 0 };
  assert.deepEqual(node.pressure?.cpu, { some: { total: 78, avg10: 1.5, avg60: 0.2, avg300: 0 }, full: none });
  assert.equal(node.pressure?.io, undefined, 'a kernel that does not tell');
  const space = { capacityBytes: 1000, inodes: 100, inodesFree: 80 };
  assert.deepEqual(node.fs, { time, usedBytes: 350, inodesUsed: 20, availableBytes: 600, ...space });
  assert.deepEqual(node.imageFs, { time: start, usedBytes: 11, inodesUsed: 3, availableBytes: 500, ...space });
  assert.deepEqual(node.swap, { time, availableBytes: 10 * kib, usageBytes: 30 * kib });
  assert.deepEqual(node.rlimit, { time, maxPid: 5000, processes: 91 });
  assert.deepEqual(node.systemContainers, [
    {
      name: 'kubelet',
      startedAt: 1_005_000,
      cpu: { time, usageCoreNanoSeconds: 500_000_000, usageNanoCores: 0 },
      memory: {
        time,
        usageBytes: 100 * kib,
        workingSetBytes: 100 * kib,
        rssBytes: 60 * kib,
        pageFaults: 11,
        majorPageFaults: 2,
      },
    },
  ]);
});

const cgroupRows = [
  {
    layout: v2,
    files: {
      '/cg/kubepods/memory.current': '900\n',
      '/cg/kubepods/memory.max': '1000\n',
      '/cg/kubepods/memory.stat': 'anon 300\ninactive_file 200\npgfault 8\npgmajfault 1\n',
      '/cg/kubepods/cpu.stat': 'usage_usec 5000\n',
    },
    availableBytes: 300,
  },
  {
    layout: v1,
    files: {
      '/cg/memory/kubepods/memory.usage_in_bytes': '900\n',
      '/cg/memory/kubepods/memory.limit_in_bytes': '9223372036854771712\n',
      '/cg/memory/kubepods/memory.stat': 'inactive_file 1\ntotal_rss 300\ntotal_inactive_file 200\ntotal_pgfault 8\ntotal_pgmajfault 1\n',
      '/cg/cpuacct/kubepods/cpuacct.usage': '5000000\n',
    },
    availableBytes: undefined,
  },
] as const;

for (const { layout, files, availableBytes } of cgroupRows) {
  test(`H-286: all Pods together, by their cgroup of version ${layout.version}`, async () => {
    const { stats, host, warmedUp } = world(layout);
    for (const [path, text] of Object.entries({ ...procFiles, ...files })) host.files.set(path, text);
    const { systemContainers } = await warmedUp(stats.node({ signal }));
    const pods = systemContainers.find(({ name }) => name === 'pods');
    assert.equal(pods?.cpu?.usageCoreNanoSeconds, 5_000_000);
    assert.deepEqual(pods?.memory, {
      time: start + 1000,
      availableBytes,
      usageBytes: 900,
      workingSetBytes: 700,
      rssBytes: 300,
      pageFaults: 8,
      majorPageFaults: 1,
    });
  });
}

const groupRows = [
  {
    layout: v2,
    files: {
      '/cg/kubepods/besteffort/poduid-1/cpu.stat': 'usage_usec 9\n',
      '/cg/kubepods/besteffort/poduid-1/c1/cpu.stat':
        'usage_usec 5000\nuser_usec 3000000\nsystem_usec 2000000\nnr_periods 10\nnr_throttled 4\nthrottled_usec 500000\n',
      '/cg/kubepods/besteffort/poduid-1/c1/cpu.max': '50000 100000\n',
      '/cg/kubepods/besteffort/poduid-1/c1/cpu.weight': '39\n',
      '/cg/kubepods/besteffort/poduid-1/c1/memory.current': '900\n',
      '/cg/kubepods/besteffort/poduid-1/c1/memory.max': 'max\n',
      '/cg/kubepods/besteffort/poduid-1/c1/memory.peak': '950\n',
      '/cg/kubepods/besteffort/poduid-1/c1/memory.stat': 'anon 300\nfile 200\nfile_mapped 20\nkernel 7\n',
      '/cg/kubepods/besteffort/poduid-1/c1/memory.events': 'oom 3\noom_kill 2\n',
      '/cg/kubepods/besteffort/poduid-1/c1/memory.swap.current': '64\n',
      '/cg/kubepods/besteffort/poduid-1/c1/memory.swap.max': '100\n',
      '/cg/kubepods/besteffort/poduid-1/c1/cgroup.procs': '41\n42\n',
      '/cg/kubepods/besteffort/poduid-1/c1/pids.current': '5\n',
      '/cg/kubepods/besteffort/poduid-1/c1/pids.max': 'max\n',
      '/cg/kubepods/besteffort/poduid-1/c1/io.stat': '8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n',
      '/cg/kubepods/besteffort/poduid-1/c1/memory.pressure': 'some avg10=1.00 avg60=2.00 avg300=3.00 total=4\n',
    },
    more: { memoryKernelBytes: 7 },
    memoryPressure: { some: { total: 4, avg10: 1, avg60: 2, avg300: 3 }, full: { total: 0, avg10: 0, avg60: 0, avg300: 0 } },
  },
  {
    layout: {
      version: 1,
      hierarchies: ['memory', 'cpuacct', 'cpu', 'pids', 'blkio'].map((name) => ({
        mountPoint: `/cg/${name}`,
        controllers: [name],
        unified: false,
      })),
      own: new Map(),
    } satisfies CgroupLayout,
    files: {
      '/cg/cpu/kubepods/besteffort/poduid-1/c1/cpu.stat': 'nr_periods 10\nnr_throttled 4\nthrottled_time 500000000\n',
      '/cg/cpu/kubepods/besteffort/poduid-1/c1/cpu.cfs_quota_us': '50000\n',
      '/cg/cpu/kubepods/besteffort/poduid-1/c1/cpu.cfs_period_us': '100000\n',
      '/cg/cpu/kubepods/besteffort/poduid-1/c1/cpu.shares': '998\n',
      '/cg/cpuacct/kubepods/besteffort/poduid-1/c1/cpuacct.stat': 'user 300\nsystem 200\n',
      '/cg/memory/kubepods/besteffort/poduid-1/c1/memory.limit_in_bytes': '9223372036854771712\n',
      '/cg/memory/kubepods/besteffort/poduid-1/c1/memory.memsw.limit_in_bytes': '9223372036854771712\n',
      '/cg/memory/kubepods/besteffort/poduid-1/c1/memory.max_usage_in_bytes': '950\n',
      '/cg/memory/kubepods/besteffort/poduid-1/c1/memory.stat': 'cache 1\ntotal_cache 200\ntotal_mapped_file 20\ntotal_swap 64\n',
      '/cg/memory/kubepods/besteffort/poduid-1/c1/memory.oom_control': 'oom_kill_disable 0\nunder_oom 0\noom_kill 2\n',
      '/cg/memory/kubepods/besteffort/poduid-1/c1/cgroup.procs': '41\n42\n',
      '/cg/pids/kubepods/besteffort/poduid-1/c1/pids.current': '5\n',
      '/cg/pids/kubepods/besteffort/poduid-1/c1/pids.max': 'max\n',
      '/cg/blkio/kubepods/besteffort/poduid-1/c1/blkio.throttle.io_service_bytes_recursive': '8:0 Read 1\n8:0 Write 2\nTotal 3\n',
      '/cg/blkio/kubepods/besteffort/poduid-1/c1/blkio.throttle.io_serviced_recursive': '8:0 Read 3\n8:0 Write 4\nTotal 7\n',
    },
    more: { swapLimitBytes: undefined },
    memoryPressure: undefined,
  },
] as const;

for (const { layout, files, more, memoryPressure } of groupRows) {
  test(`H-286, H-423: what the kernel counts for a Pod and its containers, by cgroups of version ${layout.version}`, async () => {
    const { stats, host, status: store } = world(layout);
    publish(store);
    for (const [path, text] of Object.entries(files)) host.files.set(path, text);
    host.files.set('/proc/41/net/dev', procFiles['/proc/net/dev']);
    const [pod, app, ...others] = await stats.cgroups({ signal });
    assert.deepEqual(others, [], 'a container whose group is not there is left out');
    assert.deepEqual([pod?.container, pod?.id, pod?.interfaces[0]?.rxPackets], ['', '/kubepods/besteffort/poduid-1', 2]);
    assert.deepEqual(
      [app?.namespace, app?.pod, app?.podUid, app?.container, app?.id, app?.image, app?.containerId],
      ['default', 'web-node1', 'uid-1', 'app', '/kubepods/besteffort/poduid-1/c1', 'nginx', 'c1'],
    );
    const expected: CgroupNumbers = {
      cpuUserSeconds: 3,
      cpuSystemSeconds: 2,
      cpuPeriods: 10,
      cpuThrottledPeriods: 4,
      cpuThrottledSeconds: 0.5,
      cpuQuota: 50_000,
      cpuPeriod: 100_000,
      cpuShares: 998,
      memoryCacheBytes: 200,
      memoryMappedBytes: 20,
      memoryMaxBytes: 950,
      memoryLimitBytes: 0,
      swapBytes: 64,
      swapLimitBytes: 100,
      oomKills: 2,
      processes: 2,
      threads: 5,
      ...more,
    };
    assert.deepEqual(app?.numbers, JSON.parse(JSON.stringify(expected)));
    assert.deepEqual(app?.traffic, [{ device: '8:0', readBytes: 1, writeBytes: 2, reads: 3, writes: 4 }]);
    assert.deepEqual(app?.pressure.memory, memoryPressure);
  });
}

test('H-285, H-397: volumes of the agent’s own making are measured, once a minute', async () => {
  const seconds: string[] = [];
  const { stats, host, status: store, clock } = world(v2, (name) => seconds.push(name));
  publish(
    store,
    buildPod({
      volumes: [
        { name: 'data', emptyDir: {} },
        { name: 'tmp', emptyDir: { medium: 'Memory' } },
        { name: 'host', hostPath: { path: '/srv' } },
      ],
    }),
  );
  for (const name of ['data', 'tmp']) host.disks.set(`/r/pods/uid-1/volumes/kubernetes.io~empty-dir/${name}`, disk());
  host.folders.set('/r/pods/uid-1/volumes/kubernetes.io~empty-dir/data', { usedBytes: 4096, files: 3 });
  const space = { time: start, availableBytes: 600, capacityBytes: 1000, inodes: 100, inodesFree: 80 };
  const measured = await stats.volumes({ signal });
  assert.deepEqual(measured.get('uid-1'), [
    { ...space, name: 'data', inMemory: false, usedBytes: 4096, inodesUsed: 3 },
    { ...space, name: 'tmp', inMemory: true, usedBytes: 0, inodesUsed: 0 },
  ]);
  assert.deepEqual(seconds, ['kubelet_volume_metric_collection_duration_seconds', 'kubelet_volume_metric_collection_duration_seconds']);
  await clock.advance(59_000);
  assert.equal(await stats.volumes({ signal }), measured);
  await clock.advance(1000);
  assert.notEqual(await stats.volumes({ signal }), measured);
});
