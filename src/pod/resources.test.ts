import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildNode } from '../../test/support/node-facts.ts';
import { buildContainer, buildPod } from '../../test/support/pods.ts';
import type { Container, PodSpec, ResourceRequirements } from '../api/gen/kubernetes.ts';
import {
  containerResources,
  cpuQuotaUs,
  cpuShares,
  hugepageName,
  oomScoreAdj,
  podLimit,
  podLimits,
  podRequests,
  podResources,
  qosClass,
  sandboxOverhead,
  sandboxResources,
} from './resources.ts';

const gib = 2 ** 30;

function withResources(name: string, resources: ResourceRequirements, change: Partial<Container> = {}): Container {
  return buildContainer({ name, resources, ...change });
}

function both(cpu: string, memory: string): ResourceRequirements {
  return { requests: { cpu, memory }, limits: { cpu, memory } };
}

function spec(containers: readonly Container[], change: Partial<PodSpec> = {}): PodSpec {
  return buildPod({ containers, ...change }).spec;
}

for (const [title, given, expected] of [
  ['nothing at all', spec([buildContainer()]), 'BestEffort'],
  ['zero amounts', spec([withResources('a', both('0', '0'))]), 'BestEffort'],
  ['equal requests and limits', spec([withResources('a', both('1', '1Gi'))]), 'Guaranteed'],
  [
    'the same amount written differently',
    spec([withResources('a', { requests: { cpu: '1', memory: '1024Mi' }, limits: { cpu: '1000m', memory: '1Gi' } })]),
    'Guaranteed',
  ],
  ['one of two containers without limits', spec([withResources('a', both('1', '1Gi')), buildContainer({ name: 'b' })]), 'Burstable'],
  [
    'an init container without limits',
    spec([withResources('a', both('1', '1Gi'))], { initContainers: [buildContainer({ name: 'i' })] }),
    'Burstable',
  ],
  ['cpu only', spec([withResources('a', { requests: { cpu: '1' }, limits: { cpu: '1' } })]), 'Burstable'],
  ['storage only', spec([withResources('a', { requests: { 'ephemeral-storage': '1Gi' } })]), 'BestEffort'],
  ['Pod-level limits over containers without', spec([buildContainer()], { resources: both('1', '1Gi') }), 'Guaranteed'],
  ['Pod-level requests only', spec([withResources('a', both('1', '1Gi'))], { resources: { requests: { cpu: '2' } } }), 'Burstable'],
] as const) {
  test(`L-283, L-284 QoS class with ${title} is ${expected}`, () => {
    assert.equal(qosClass(given), expected);
  });
}

test('L-285 requests count regular containers, sidecars and the peak of init containers', () => {
  const sidecar = (name: string, cpu: string): Container => withResources(name, { requests: { cpu } }, { restartPolicy: 'Always' });
  const given = spec([withResources('a', { requests: { cpu: '100m' } }), withResources('b', { requests: { cpu: '200m' } })], {
    initContainers: [sidecar('s1', '50m'), withResources('i1', { requests: { cpu: '1' } }), sidecar('s2', '60m')],
  });
  // i1 with s1 before it: 1050; regular with both sidecars: 410.
  assert.equal(podRequests(given).get('cpu'), 1050);
  const small = { ...given, initContainers: [sidecar('s1', '50m'), sidecar('s2', '60m')] };
  assert.equal(podRequests(small).get('cpu'), 410);
});

test('L-285 overhead is added to every request, but only to existing limits', () => {
  const given = spec([withResources('a', { requests: { cpu: '1' }, limits: { cpu: '2' } })], { overhead: { cpu: '250m', memory: '64Mi' } });
  assert.deepEqual(
    [...podRequests(given)],
    [
      ['cpu', 1250],
      ['memory', 64 * 2 ** 20],
    ],
  );
  assert.deepEqual([...podLimits(given)], [['cpu', 2250]]);
  assert.deepEqual([...podRequests(given, { overhead: false })], [['cpu', 1000]]);
});

for (const [milliCpu, expected] of [
  [0, 2],
  [1, 2],
  [100, 102],
  [1000, 1024],
  [256_000, 262_144],
  [300_000, 262_144],
] as const) {
  test(`L-247, C-357 ${milliCpu} milli-CPU are ${expected} shares`, () => {
    assert.equal(cpuShares(milliCpu), expected);
  });
}

for (const [milliCpu, periodUs, expected] of [
  [0, 100_000, 0],
  [1, 100_000, 1000],
  [500, 100_000, 50_000],
  [500, 10_000, 5000],
] as const) {
  test(`L-248, C-357 ${milliCpu} milli-CPU in ${periodUs} µs have quota ${expected}`, () => {
    assert.equal(cpuQuotaUs(milliCpu, periodUs), expected);
  });
}

const tenPercent = { requests: { memory: String((8 * gib) / 10) } };
for (const [title, given, expected] of [
  ['node-critical', spec([withResources('app', tenPercent)], { priorityClassName: 'system-node-critical' }), -997],
  ['Guaranteed', spec([withResources('app', both('1', '1Gi'))]), -997],
  ['BestEffort', spec([buildContainer({ name: 'app' })]), 1000],
  ['Burstable with 10 % of memory', spec([withResources('app', tenPercent)]), 900],
  ['Burstable with all memory', spec([withResources('app', { requests: { memory: '8Gi' } })]), 3],
  ['Burstable by cpu only', spec([withResources('app', { requests: { cpu: '1' } })]), 999],
  [
    'half of the memory by the Pod, two containers',
    spec([buildContainer({ name: 'app' }), buildContainer({ name: 'b' })], { resources: { requests: { memory: '4Gi' } } }),
    750,
  ],
] as const) {
  test(`L-253, C-358 oom_score_adj of ${title} is ${expected}`, () => {
    assert.equal(oomScoreAdj(given, given.containers[0] ?? buildContainer(), 8 * gib), expected);
  });
}

test('L-253 a sidecar is never killed before the containers it serves', () => {
  const sidecar = buildContainer({ name: 'side', restartPolicy: 'Always' });
  const given = spec([withResources('app', { requests: { memory: '4Gi' } })], { initContainers: [sidecar] });
  assert.equal(oomScoreAdj(given, sidecar, 8 * gib), 500);
});

test('L-247 … L-250 resources of a container', () => {
  const container = withResources('a', { requests: { cpu: '100m' }, limits: { cpu: '500m', memory: '64Mi', 'hugepages-2Mi': '4Mi' } });
  assert.deepEqual(containerResources(spec([container]), container, buildNode()), {
    cpuShares: 102,
    cpuQuota: 50_000,
    cpuPeriod: 100_000,
    memoryLimitBytes: 64 * 2 ** 20,
    oomScoreAdj: 999,
    hugepageLimits: [
      { pageSize: '2MB', limitBytes: 4 * 2 ** 20 },
      { pageSize: '1GB', limitBytes: 0 },
    ],
  });
});

test('L-247 shares follow the limit when there is no request; L-248 no quota without cpuCfsQuota', () => {
  const container = withResources('a', { limits: { cpu: '1' } });
  const found = containerResources(spec([container]), container, buildNode({ cpuCfsQuota: false }));
  assert.deepEqual([found.cpuShares, found.cpuQuota, found.cpuPeriod], [1024, undefined, undefined]);
});

test('L-249, L-250 limits of the Pod stand in for missing ones of a container', () => {
  const container = withResources('a', { limits: { cpu: '1' } });
  const given = spec([container], { resources: { limits: { cpu: '2', memory: '1Gi', 'hugepages-1Gi': '1Gi' } } });
  const found = containerResources(given, container, buildNode());
  assert.equal(found.cpuQuota, 100_000);
  assert.equal(found.memoryLimitBytes, gib);
  assert.deepEqual(found.hugepageLimits?.[1], { pageSize: '1GB', limitBytes: gib });
});

for (const [title, change, expected] of [
  ['v2', { version: 2, swapController: false }, { 'memory.oom.group': '1' }],
  ['v2 with a swap controller', { version: 2, swapController: true }, { 'memory.oom.group': '1', 'memory.swap.max': '0' }],
  ['v1', { version: 1, swapController: true }, undefined],
] as const) {
  test(`L-251, L-252, C-360 unified values on ${title}`, () => {
    const container = withResources('a', { limits: { memory: '64Mi' } });
    const node = buildNode({ singleProcessOomKill: false, cgroup: { ...buildNode().cgroup, ...change } });
    const found = containerResources(spec([container]), container, node);
    assert.deepEqual(found.unified, expected);
    assert.equal(found.memorySwapLimitBytes, change.version === 1 ? 64 * 2 ** 20 : undefined);
  });
}

test('C-370 the sandbox has totals without overhead, and the overhead beside them', () => {
  const given = spec([withResources('a', both('1', '1Gi')), withResources('b', both('1', '1Gi'))], {
    overhead: { cpu: '250m', memory: '64Mi' },
  });
  assert.deepEqual(sandboxResources(given, buildNode()), {
    cpuShares: 2048,
    cpuQuota: 200_000,
    cpuPeriod: 100_000,
    memoryLimitBytes: 2 * gib,
  });
  assert.deepEqual(sandboxOverhead(given, buildNode()), {
    cpuShares: 256,
    cpuQuota: 25_000,
    cpuPeriod: 100_000,
    memoryLimitBytes: 64 * 2 ** 20,
  });
  assert.deepEqual(sandboxOverhead(spec([buildContainer()]), buildNode()), {});
});

test('L-251 the sandbox and its overhead are killed as a whole, too', () => {
  const given = spec([withResources('a', both('1', '1Gi'))], { overhead: { cpu: '250m' } });
  const node = buildNode({ singleProcessOomKill: false, cgroup: { ...buildNode().cgroup, version: 2 } });
  assert.deepEqual(sandboxResources(given, node).unified, { 'memory.oom.group': '1' });
  assert.deepEqual(sandboxOverhead(given, node).unified, { 'memory.oom.group': '1' });
  assert.deepEqual(sandboxOverhead(spec([buildContainer()]), node), {});
});

for (const [title, given, expected] of [
  ['Guaranteed', spec([withResources('a', both('1', '1Gi'))]), gib],
  ['Burstable, every container limited', spec([withResources('a', { limits: { memory: '1Gi' } })]), gib],
  [
    'Burstable, one container not limited',
    spec([withResources('a', { limits: { memory: '1Gi' } }), buildContainer({ name: 'b' })]),
    undefined,
  ],
  ['a limit of the Pod', spec([buildContainer()], { resources: { limits: { memory: '2Gi' } } }), 2 * gib],
  ['BestEffort', spec([buildContainer()]), undefined],
] as const) {
  test(`L-294, C-375 memory limit of the Pod: ${title}`, () => {
    assert.equal(podLimit(given, 'memory'), expected);
  });
}

test('L-250 page sizes have the kernel’s names', () => {
  assert.deepEqual([2 ** 16, 2 ** 21, 2 ** 25, 2 ** 30].map(hugepageName), ['64KB', '2MB', '32MB', '1GB']);
});

test('L-490 the resources of a Pod print as its containers write them', () => {
  const rows: [PodSpec, ResourceRequirements][] = [
    [spec([buildContainer()]), {}],
    [spec([withResources('a', { requests: { cpu: '0' } })]), {}],
    [spec([withResources('a', { requests: { cpu: '1500m', memory: '1e3' } })]), { requests: { cpu: '1500m', memory: '1e3' } }],
    [
      spec([withResources('a', both('1', '512Mi')), withResources('b', { limits: { memory: '512Mi' } })]),
      { requests: { cpu: '1', memory: '512Mi' }, limits: { cpu: '1', memory: '1Gi' } },
    ],
    [
      spec([withResources('a', { requests: { cpu: '1', 'ephemeral-storage': '1G' } })], { resources: both('3', '1Gi') }),
      { requests: { cpu: '3', 'ephemeral-storage': '1G', memory: '1Gi' }, limits: { cpu: '3', memory: '1Gi' } },
    ],
  ];
  for (const [given, expected] of rows) assert.deepEqual(podResources(given), expected);
});
