import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildNode } from '../../test/support/node-facts.ts';
import { buildContainer, buildPod } from '../../test/support/pods.ts';
import type { PodSpec, ResourceRequirements } from '../api/gen/kubernetes.ts';
import type { NodeFacts } from '../pod/node-facts.ts';
import { cgroupFiles, cpuWeight, kubepodsCgroupValues, podCgroupValues, qosCgroupValues } from './values.ts';

const mib = 2 ** 20;
const oneSize = { hugepageSizesBytes: [2 * mib] };

function spec(resources: ResourceRequirements, change: Partial<PodSpec> = {}): PodSpec {
  return buildPod({ containers: [buildContainer({ resources })], ...change }).spec;
}

function files(given: PodSpec, version: 1 | 2, node: Partial<NodeFacts> = {}): Record<string, string> {
  const values = podCgroupValues(given, buildNode({ hugepageSizesBytes: [], ...node }));
  return Object.fromEntries(cgroupFiles(values, version).map(({ file, value }) => [file, value]));
}

const both = { cpu: '500m', memory: '64Mi' };
const guaranteed = spec({ requests: both, limits: both });
const burstable = spec({ requests: { cpu: '250m' }, limits: { memory: '64Mi' } });
for (const [title, given, version, node, expected] of [
  [
    'Guaranteed',
    guaranteed,
    1,
    {},
    { 'cpu.shares': '512', 'cpu.cfs_period_us': '100000', 'cpu.cfs_quota_us': '50000', 'memory.limit_in_bytes': String(64 * mib) },
  ],
  ['Guaranteed', guaranteed, 2, {}, { 'cpu.weight': '20', 'cpu.max': '50000 100000', 'memory.max': String(64 * mib) }],
  [
    'Guaranteed without cpuCFSQuota',
    guaranteed,
    1,
    { cpuCfsQuota: false },
    { 'cpu.shares': '512', 'cpu.cfs_period_us': '100000', 'cpu.cfs_quota_us': '-1', 'memory.limit_in_bytes': String(64 * mib) },
  ],
  [
    'Guaranteed without cpuCFSQuota',
    guaranteed,
    2,
    { cpuCfsQuota: false },
    { 'cpu.weight': '20', 'cpu.max': 'max 100000', 'memory.max': String(64 * mib) },
  ],
  ['Burstable', burstable, 1, {}, { 'cpu.shares': '256', 'memory.limit_in_bytes': String(64 * mib) }],
  ['Burstable', burstable, 2, {}, { 'cpu.weight': '10', 'memory.max': String(64 * mib) }],
  ['BestEffort', spec({}), 1, {}, { 'cpu.shares': '2' }],
  ['BestEffort', spec({}), 2, {}, { 'cpu.weight': '1' }],
  ['podPidsLimit (L-296, C-361)', spec({}), 1, { podPidsLimit: 1024 }, { 'cpu.shares': '2', 'pids.max': '1024' }],
  ['podPidsLimit (L-296, C-361)', spec({}), 2, { podPidsLimit: 1024 }, { 'cpu.weight': '1', 'pids.max': '1024' }],
  [
    'overhead (L-294, C-370)',
    { ...guaranteed, overhead: { memory: '16Mi' } },
    2,
    {},
    { 'cpu.weight': '20', 'cpu.max': '50000 100000', 'memory.max': String(80 * mib) },
  ],
  [
    'hugepages (L-295)',
    spec({ requests: { 'hugepages-2Mi': '4Mi' } }),
    1,
    oneSize,
    { 'cpu.shares': '2', 'hugetlb.2MB.limit_in_bytes': String(4 * mib), 'hugetlb.2MB.rsvd.limit_in_bytes': String(4 * mib) },
  ],
  ['no hugepages (L-295)', spec({}), 2, oneSize, { 'cpu.weight': '1', 'hugetlb.2MB.max': '0', 'hugetlb.2MB.rsvd.max': '0' }],
] as const) {
  test(`L-293 … L-297 ${title} on v${version}`, () => {
    assert.deepEqual(files(given, version, node), expected);
  });
}

test('L-294, C-375 one container without a memory limit: the Pod has none', () => {
  const given = buildPod({
    containers: [buildContainer({ resources: { limits: { memory: '1Gi' } } }), buildContainer({ name: 'b' })],
  }).spec;
  assert.deepEqual(files(given, 1), { 'cpu.shares': '2' });
});

for (const [shares, expected] of [
  [2, 1],
  [102, 4],
  [1024, 39],
  [262_143, 9999],
  [262_144, 10_000],
] as const) {
  test(`L-298 ${shares} shares are weight ${expected}`, () => {
    assert.equal(cpuWeight(shares), expected);
  });
}

test('L-301 classes: shares of the active Pods, huge pages without limit', () => {
  const node = buildNode(oneSize);
  const active = [burstable, burstable, guaranteed, spec({})];
  const file = (qos: 'Burstable' | 'BestEffort'): readonly (readonly [string, string])[] =>
    cgroupFiles(qosCgroupValues(qos, active, node), 1).map((one) => [one.file, one.value]);
  const unlimited = [
    ['hugetlb.2MB.limit_in_bytes', '4611686018427387904'],
    ['hugetlb.2MB.rsvd.limit_in_bytes', '4611686018427387904'],
  ];
  assert.deepEqual(file('Burstable'), [['cpu.shares', '512'], ...unlimited]);
  assert.deepEqual(file('BestEffort'), [['cpu.shares', '2'], ...unlimited]);
});

test('L-302, C-376 all Pods together: what is given, with a pids limit', () => {
  const node = buildNode(oneSize);
  const limit = { cpuMillis: 3000, memoryBytes: 1024 * mib, ephemeralStorageBytes: 0, hugepagesBytes: new Map([[2 * mib, 8 * mib]]) };
  assert.deepEqual(
    cgroupFiles(kubepodsCgroupValues(limit, 500, node), 2).map((one) => [one.file, one.value]),
    [
      ['cpu.weight', '118'],
      ['memory.max', String(1024 * mib)],
      ['pids.max', '500'],
      ['hugetlb.2MB.max', String(8 * mib)],
      ['hugetlb.2MB.rsvd.max', String(8 * mib)],
    ],
  );
});
