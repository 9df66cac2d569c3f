// One Pod with one container on a small machine: what scrapers and readers of the summary get of it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CgroupUsage, NodeUsage, PodUsage } from '../views.ts';
import { summaryOf } from './summary.ts';
import { cadvisorMetrics, resourceMetrics } from './usage-metrics.ts';

const time = Date.UTC(2026, 0, 1);
const cpu = { time, usageNanoCores: 10, usageCoreNanoSeconds: 2_500_000_000 };
const memory = { time, workingSetBytes: 4096, usageBytes: 8192, rssBytes: 1024 };
const fs = { time, availableBytes: 600, capacityBytes: 1000, inodes: 100, inodesFree: 80 };
const eth0 = { name: 'eth0', rxBytes: 1, rxErrors: 0, txBytes: 2, txErrors: 0 };
const stall = { full: { total: 250_000, avg10: 1.5, avg60: 0, avg300: 0 }, some: { total: 500_000, avg10: 3, avg60: 0, avg300: 0 } };
const node: NodeUsage = {
  startedAt: time,
  cpu,
  memory,
  network: { time, interfaces: [eth0] },
  pressure: { io: stall },
  machine: { cores: 2, memoryBytes: 1 << 30, swapBytes: 0 },
  systemContainers: [],
};
const pod: PodUsage = {
  namespace: 'default',
  name: 'web-node1',
  uid: 'u',
  startedAt: time,
  cpu,
  memory,
  network: { time, interfaces: [eth0] },
  containers: [{ name: 'c', startedAt: time, cpu, memory, rootfs: { ...fs, usedBytes: 7, inodesUsed: 2 } }],
};
const group: Omit<CgroupUsage, 'container' | 'id' | 'image' | 'containerId'> = {
  ...{ namespace: 'default', pod: 'web-node1', podUid: 'u', time },
  numbers: { cpuQuota: 50_000, cpuThrottledSeconds: 0.5, swapBytes: 64, swapLimitBytes: 100, oomKills: 2 },
  pressure: { cpu: stall },
  traffic: [{ device: '8:0', readBytes: 10, writeBytes: 20, reads: 1, writes: 2 }],
  interfaces: [],
};
const counters = { rxPackets: 5, rxDropped: 1, txPackets: 6, txDropped: 0 };
const groups: readonly CgroupUsage[] = [
  {
    ...group,
    container: '',
    id: '/kubepods/podu',
    image: '',
    containerId: '',
    numbers: { swapBytes: 70 },
    interfaces: [{ ...eth0, ...counters }],
  },
  { ...group, container: 'c', id: '/kubepods/podu/abc', image: 'nginx:1', containerId: 'abc' },
];

const own = 'container="c",id="/kubepods/podu/abc",image="nginx:1",name="abc",namespace="default",pod="web-node1"';
const ofPod = 'container="",id="/kubepods/podu",image="",name="",namespace="default",pod="web-node1"';
const machine = 'container="",id="/",image="",name="",namespace="",pod=""';
const network = 'container="POD",id="/kubepods/podu",image="",interface="eth0",name="",namespace="default",pod="web-node1"';
const sorted = (labels: string, more: string): string => [...labels.split(','), more].sort().join(',');

for (const line of [
  `container_cpu_usage_seconds_total{${sorted(own, 'cpu="total"')}} 2.5 ${time}`,
  `container_cpu_usage_seconds_total{${sorted(ofPod, 'cpu="total"')}} 2.5 ${time}`,
  `container_cpu_usage_seconds_total{${sorted(machine, 'cpu="total"')}} 2.5 ${time}`,
  `container_memory_working_set_bytes{${own}} 4096 ${time}`,
  `container_cpu_cfs_throttled_seconds_total{${own}} 0.5 ${time}`,
  `container_spec_cpu_quota{${own}} 50000 ${time}`,
  `container_oom_events_total{${own}} 2 ${time}`,
  `container_fs_writes_bytes_total{${sorted(own, 'device="8:0"')}} 20 ${time}`,
  `container_pressure_cpu_waiting_seconds_total{${own}} 0.5 ${time}`,
  `container_network_receive_packets_total{${network}} 5 ${time}`,
  `container_network_transmit_bytes_total{${sorted(machine, 'interface="eth0"')}} 2 ${time}`,
  'machine_cpu_cores 2',
  'container_scrape_error 0',
]) {
  test(`H-423: ${line}`, () => {
    const lines = cadvisorMetrics(node, [pod], groups).split('\n');
    assert.ok(lines.includes(line), lines.filter((one) => one.startsWith(line.split('{')[0] ?? '')).join('\n'));
  });
}

test('H-423: without control groups, or without an answer of the runtime, there is what is known', () => {
  const alone = cadvisorMetrics(node, [pod], []);
  assert.match(alone, /^container_network_receive_bytes_total\{container="POD",.*pod="web-node1"\} 1 \d+$/m);
  assert.match(alone, /^container_memory_rss\{container="c",id="",.*\} 1024 \d+$/m);
  assert.doesNotMatch(alone, /container_oom_events_total/);
  const mute = cadvisorMetrics(node, undefined, groups);
  assert.match(mute, /^container_scrape_error 1$/m);
  assert.match(mute, /^container_oom_events_total/m);
});

test('H-420: swap of containers and Pods', () => {
  const lines = resourceMetrics(node, [pod], groups).split('\n');
  const container = 'container="c",namespace="default",pod="web-node1"';
  assert.deepEqual(
    lines.filter((line) => /^(container|pod)_swap/.test(line)),
    [
      `container_swap_limit_bytes{${container}} 100 ${time}`,
      `container_swap_usage_bytes{${container}} 64 ${time}`,
      `pod_swap_usage_bytes{namespace="default",pod="web-node1"} 70 ${time}`,
    ],
  );
});

test('H-285: pressure, devices, swap and volumes in the summary', () => {
  const volumes = new Map([
    [
      'u',
      [
        { ...fs, name: 'data', inMemory: false, usedBytes: 4096, inodesUsed: 3 },
        { ...fs, name: 'tmp', inMemory: true, usedBytes: 50, inodesUsed: 1 },
      ],
    ],
  ]);
  const input = { nodeName: 'node1', node, pods: [pod], cgroups: groups, volumes };
  const shown = JSON.parse(JSON.stringify(summaryOf({ ...input, onlyCpuAndMemory: false })));
  const at = '2026-01-01T00:00:00Z';
  assert.deepEqual(shown.node.io, { time: at, psi: stall });
  const [{ containers, ...one }] = shown.pods;
  assert.deepEqual([one.cpu.psi, one.io, one.swap], [stall, { time: at }, { time: at, swapUsageBytes: 70 }]);
  assert.deepEqual(containers[0].swap, { time: at, swapAvailableBytes: 36, swapUsageBytes: 64 });
  assert.deepEqual(
    one.volume.map((volume: { name: string; usedBytes: number }) => [volume.name, volume.usedBytes]),
    [
      ['data', 4096],
      ['tmp', 50],
    ],
  );
  assert.deepEqual([one['ephemeral-storage'].usedBytes, one['ephemeral-storage'].inodesUsed], [7 + 4096, 2 + 3]);
  const few = JSON.parse(JSON.stringify(summaryOf({ ...input, onlyCpuAndMemory: true })));
  assert.deepEqual([few.pods[0].volume, few.pods[0]['ephemeral-storage'], few.pods[0].network, few.node.fs], Array(4).fill(undefined));
});
