import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildContainer, buildPod } from '../../test/support/pods.ts';
import type { PodSpec } from '../api/gen/kubernetes.ts';
import type { Pod } from '../api/pod.ts';
import type { Resource } from './thresholds.ts';
import { evictionMessage, hasStorageLimit, noUsage, rank, storageExcess, type Usage } from './victims.ts';

const mi = 2 ** 20;
const pod = (name: string, requests: Record<string, string> = {}, spec: Partial<PodSpec> = {}): Pod =>
  buildPod({ containers: [buildContainer({ resources: { requests } })], ...spec }, { name, uid: name });

const orders: readonly (readonly [
  title: string,
  resource: Resource,
  pods: readonly (readonly [Pod, Partial<Usage>])[],
  expected: string,
])[] = [
  [
    'who uses more than it asked for goes before who has a lower priority',
    'memory',
    [
      [pod('modest', { memory: '100Mi' }, { priority: -5 }), { memoryBytes: 90 * mi }],
      [pod('greedy', { memory: '10Mi' }, { priority: 5 }), { memoryBytes: 20 * mi }],
    ],
    'greedy modest',
  ],
  [
    'then the lower priority',
    'memory',
    [
      [pod('a', {}, { priority: 5 }), { memoryBytes: 90 * mi }],
      [pod('b', {}, { priority: 1 }), { memoryBytes: mi }],
      [pod('c'), { memoryBytes: mi }],
    ],
    'c b a',
  ],
  [
    'then who is furthest above its request',
    'memory',
    [
      [pod('a', { memory: '80Mi' }), { memoryBytes: 100 * mi }],
      [pod('b', { memory: '10Mi' }), { memoryBytes: 50 * mi }],
      [pod('c', { memory: '60Mi' }), { memoryBytes: 50 * mi }],
      [pod('d', { memory: '90Mi' }), { memoryBytes: 50 * mi }],
    ],
    'b a c d',
  ],
  [
    'disk: the same by storage',
    'ephemeral-storage',
    [
      [pod('a'), { storageBytes: mi }],
      [pod('b'), { storageBytes: 2 * mi }],
    ],
    'b a',
  ],
  [
    'processes: priority, then their number',
    'pids',
    [
      [pod('a', {}, { priority: 1 }), { processes: 900 }],
      [pod('b'), { processes: 5 }],
      [pod('c'), { processes: 50 }],
    ],
    'c b a',
  ],
  [
    'inodes: their number',
    'inodes',
    [
      [pod('a'), { inodes: 5 }],
      [pod('b'), { inodes: 50 }],
    ],
    'b a',
  ],
  [
    'nobody was measured',
    'memory',
    [
      [pod('a'), {}],
      [pod('b', {}, { priority: -1 }), {}],
    ],
    'b a',
  ],
];

for (const [title, resource, pods, expected] of orders) {
  test(`L-505: ${title}`, () => {
    const usages = new Map(pods.map(([{ metadata }, usage]) => [metadata.uid, { ...noUsage, ...usage }]));
    const ranked = rank(
      pods.map(([one]) => one),
      resource,
      usages,
    );
    assert.equal(ranked.map(({ metadata }) => metadata.name).join(' '), expected);
  });
}

test('S-430: what is said of a Pod that has to go', () => {
  const shortage = { signal: 'memory.available', resource: 'memory', isHard: true, threshold: 100 * mi, available: 50 * mi } as const;
  const containers = [
    buildContainer({ name: 'a', resources: { requests: { memory: '10Mi' } } }),
    buildContainer({ name: 'b', resources: { requests: { memory: '10Mi' } } }),
    buildContainer({ name: 'c' }),
  ];
  const used = (memoryBytes: number) => ({ memoryBytes, storageBytes: 0 });
  const usage = {
    ...noUsage,
    containers: new Map([
      ['a', used(20 * mi)],
      ['b', used(10 * mi)],
      ['c', used(mi)],
    ]),
  };
  assert.equal(
    evictionMessage(buildPod({ containers }), shortage, new Map([['uid-1', usage]])),
    'The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. ' +
      'Container a was using 20Mi, request is 10Mi, has larger consumption of memory. ' +
      'Container c was using 1Mi, request is 0, has larger consumption of memory. ',
  );
  assert.equal(
    evictionMessage(buildPod(), { ...shortage, resource: 'pids', threshold: 100, available: 7 }, new Map()),
    'The node was low on resource: pids. Threshold quantity: 100, available: 7. ',
  );
});

const limited = (limits: Record<string, string>, volumes: PodSpec['volumes'] = []): Pod =>
  buildPod({
    containers: [buildContainer({ name: 'a', resources: { limits } }), buildContainer({ name: 'b', resources: { limits } })],
    volumes,
  });
const cache = (sizeLimit: string, medium = '') => [{ name: 'cache', emptyDir: { sizeLimit, medium } }];
const stored = (storageBytes: number, own = storageBytes): Usage => ({
  ...noUsage,
  storageBytes,
  containers: new Map([['a', { memoryBytes: 0, storageBytes: own }]]),
  emptyDirs: new Map([['cache', storageBytes]]),
});

for (const [title, one, usage, expected] of [
  ['no limit', limited({}, [{ name: 'cache', emptyDir: {} }]), stored(999 * mi), undefined],
  ['a volume at its limit', limited({}, cache('10Mi')), stored(10 * mi), undefined],
  ['a volume above its limit', limited({}, cache('10Mi')), stored(11 * mi), 'Usage of EmptyDir volume "cache" exceeds the limit "10Mi". '],
  ['a volume in memory: the kernel limits it', limited({}, cache('10Mi', 'Memory')), stored(11 * mi), undefined],
  [
    'all containers together',
    limited({ 'ephemeral-storage': '10Mi' }),
    stored(21 * mi, mi),
    'Pod ephemeral local storage usage exceeds the total limit of containers 20Mi. ',
  ],
  [
    'one container',
    limited({ 'ephemeral-storage': '10Mi' }),
    stored(11 * mi),
    'Container a exceeded its local ephemeral storage limit "10Mi". ',
  ],
] as const) {
  test(`local storage: ${title}`, () => {
    assert.equal(storageExcess(one, usage), expected);
    if (expected !== undefined) assert.equal(hasStorageLimit(one), true);
  });
}

test('local storage: what has no limit need not be measured', () => {
  assert.equal(hasStorageLimit(limited({ memory: '1Mi' }, [{ name: 'cache', emptyDir: {} }])), false);
  assert.equal(hasStorageLimit(limited({}, cache('1Mi', 'Memory'))), false);
});
