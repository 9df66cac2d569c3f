import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { disk, FakeHost } from '../../test/support/fake-host.ts';
import { buildPod } from '../../test/support/pods.ts';
import type { PodStatus } from '../api/gen/kubernetes.ts';
import type { Pod } from '../api/pod.ts';
import type { CgroupLayout } from '../cgroup/layout.ts';
import type { CallOptions, ContainerStats, PodSandboxStats } from '../runtime/runtime.ts';
import { StatusStore } from '../status/status-store.ts';
import { toRfc3339 } from '../std/clock.ts';
import { RuntimeError } from '../std/errors.ts';
import { silentLogger } from '../std/log.ts';
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

function world(layout: CgroupLayout = v2) {
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
  '/proc/loadavg': '0 0 0 1/91 7\n',
  '/proc/sys/kernel/pid_max': '32768\n',
  '/proc/sys/kernel/threads-max': '5000\n',
  '/proc/self/stat': '7 (node) R 1 1 1 0 -1 0 11 0 2 0 30 20 0 0 20 0 8 0 500 0 0',
  '/proc/self/status': 'VmRSS:\t  100 kB\nRssAnon:\t   60 kB\n',
};

test('H-285: usage of the node', async () => {
  const { stats, host, warmedUp } = world();
  for (const [path, text] of Object.entries(procFiles)) host.files.set(path, text);
  const node = await warmedUp(stats.node({ signal }), () => host.files.set('/proc/stat', 'cpu  150 0 0 900 0 0 0 0 0 0\nbtime 1000\n'));
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
  assert.deepEqual(node.network, { time, interfaces: [{ name: 'eth0', rxBytes: 100, rxErrors: 3, txBytes: 200, txErrors: 5 }] });
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
