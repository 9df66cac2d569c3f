import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildContainer, buildPod } from '../../test/support/pods.ts';
import type { Affinity, NodeSelectorRequirement, PodSpec } from '../api/gen/kubernetes.ts';
import type { Pod } from '../api/pod.ts';
import { type ActivePod, type AdmissionNode, admitPod, mayReturn } from './admission.ts';

const mi = 2 ** 20;
const node: AdmissionNode = {
  name: 'node1',
  labels: { 'kubernetes.io/os': 'linux', 'kubernetes.io/hostname': 'node1', zone: 'a', cores: '4' },
  allocatable: {
    cpuMillis: 2000,
    memoryBytes: 1000 * mi,
    ephemeralStorageBytes: 1000 * mi,
    hugepagesBytes: new Map([[2 * mi, 64 * mi]]),
  },
  maxPods: 4,
  sysctls: { allowedUnsafe: ['net.core.*'], kernelRelease: '6.1.0' },
  appArmor: { isEnabled: true, loadedProfiles: new Set(['mine']) },
  strictSupplementalGroups: false,
  pressure: [],
  isShuttingDown: false,
  criticalPods: 'all',
};

const pod = (name: string, spec: Partial<PodSpec> = {}, labels: Record<string, string> = {}): Pod =>
  buildPod(spec, { name, uid: name, labels });
const asking = (name: string, requests: Record<string, string>, spec: Partial<PodSpec> = {}): Pod =>
  pod(name, { containers: [buildContainer({ resources: { requests } })], ...spec });
const guaranteed = (name: string, amounts: Record<string, string>, spec: Partial<PodSpec> = {}): Pod =>
  pod(name, { containers: [buildContainer({ resources: { requests: amounts, limits: amounts } })], ...spec });
const onPort = (name: string, hostPort: number, more: { hostIP?: string; protocol?: string } = {}): Pod =>
  pod(name, { containers: [buildContainer({ ports: [{ containerPort: 80, hostPort, ...more }] })] });
const withSysctl = (name: string): Pod => pod('a', { securityContext: { sysctls: [{ name, value: '1' }] } });
const withProfile = (type: string, localhostProfile?: string): Pod =>
  pod('a', { securityContext: { appArmorProfile: { type, ...(localhostProfile === undefined ? {} : { localhostProfile }) } } });
const wanting = (...terms: readonly (readonly NodeSelectorRequirement[])[]): Pod => {
  const affinity: Affinity = {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: terms.map((matchExpressions) => ({ matchExpressions })) },
    },
  };
  return pod('a', { affinity });
};

interface Row {
  readonly title: string;
  readonly asked: Pod;
  readonly active?: readonly (Pod | ActivePod)[];
  readonly on?: Partial<AdmissionNode>;
  /** `admitted`, `Reason: message`, or `preempting` and the names of the victims. */
  readonly expected: string;
}

const rows: readonly Row[] = [
  { title: 'an empty node', asked: pod('a'), expected: 'admitted' },

  // Sysctls.
  { title: 'L-269: a safe setting', asked: withSysctl('net.ipv4.tcp_syncookies'), expected: 'admitted' },
  {
    title: 'L-270, S-451: an unsafe setting',
    asked: withSysctl('kernel.msgmax'),
    expected: 'SysctlForbidden: forbidden sysctl: "kernel.msgmax" not allowlisted',
  },
  { title: 'L-269: an unsafe setting that is allowed', asked: withSysctl('net.core.somaxconn'), expected: 'admitted' },

  // What the node is.
  {
    title: 'S-453: the label of another OS',
    asked: pod('a', {}, { 'kubernetes.io/os': 'windows' }),
    expected: "PodOSSelectorNodeLabelDoesNotMatch: Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
  },
  {
    title: 'S-453: another OS',
    asked: pod('a', { os: { name: 'windows' } }),
    expected: "PodOSNotSupported: Failed to admit pod as the OS field doesn't match node OS",
  },
  { title: 'S-453: this OS', asked: pod('a', { os: { name: 'linux' } }, { 'kubernetes.io/os': 'linux' }), expected: 'admitted' },
  {
    title: 'S-454: strict groups where the runtime has none',
    asked: pod('a', { securityContext: { supplementalGroupsPolicy: 'Strict' } }),
    expected: 'SupplementalGroupsPolicyNotSupported: SupplementalGroupsPolicy=Strict is not supported in this node',
  },
  {
    title: 'S-454: strict groups',
    asked: pod('a', { securityContext: { supplementalGroupsPolicy: 'Strict' } }),
    on: { strictSupplementalGroups: true },
    expected: 'admitted',
  },

  // AppArmor.
  {
    title: 'L-266, S-462: a profile on a host without AppArmor',
    asked: withProfile('RuntimeDefault'),
    on: { appArmor: { isEnabled: false, loadedProfiles: undefined } },
    expected: 'AppArmor: Cannot enforce AppArmor: AppArmor is not enabled on the host',
  },
  {
    title: 'L-266: unconfined on a host without AppArmor',
    asked: withProfile('Unconfined'),
    on: { appArmor: { isEnabled: false, loadedProfiles: undefined } },
    expected: 'admitted',
  },
  { title: 'L-266: a profile that is loaded', asked: withProfile('Localhost', 'mine'), expected: 'admitted' },
  {
    title: 'L-266: a profile that is not loaded',
    asked: withProfile('Localhost', 'theirs'),
    expected: 'AppArmor: Cannot enforce AppArmor: profile "theirs" is not loaded',
  },
  {
    title: 'L-266: the runtime judges where the list cannot be read',
    asked: withProfile('Localhost', 'theirs'),
    on: { appArmor: { isEnabled: true, loadedProfiles: undefined } },
    expected: 'admitted',
  },

  // Ports.
  { title: 'S-460: a host port in use', asked: onPort('a', 80), active: [onPort('b', 80)], expected: portsTaken() },
  {
    title: 'S-460: a host port of a Pod that is ending',
    asked: onPort('a', 80),
    active: [{ pod: onPort('b', 80), isEnding: true }],
    expected: portsTaken(),
  },
  { title: 'S-460: another port', asked: onPort('a', 81), active: [onPort('b', 80)], expected: 'admitted' },
  {
    title: 'S-460: another address',
    asked: onPort('a', 80, { hostIP: '127.0.0.1' }),
    active: [onPort('b', 80, { hostIP: '127.0.0.2' })],
    expected: 'admitted',
  },
  {
    title: 'S-460: one of all addresses',
    asked: onPort('a', 80, { hostIP: '127.0.0.1' }),
    active: [onPort('b', 80, { hostIP: '0.0.0.0' })],
    expected: portsTaken(),
  },
  {
    title: 'S-460: another protocol',
    asked: onPort('a', 80, { protocol: 'UDP' }),
    active: [onPort('b', 80, { protocol: 'TCP' })],
    expected: 'admitted',
  },

  // Labels of the node.
  { title: 'S-458: nodeSelector', asked: pod('a', { nodeSelector: { zone: 'a', cores: '4' } }), expected: 'admitted' },
  { title: 'S-458: nodeSelector of another node', asked: pod('a', { nodeSelector: { zone: 'b' } }), expected: elsewhere() },
  { title: 'S-458: In', asked: wanting([{ key: 'zone', operator: 'In', values: ['b', 'a'] }]), expected: 'admitted' },
  { title: 'S-458: In, another value', asked: wanting([{ key: 'zone', operator: 'In', values: ['b'] }]), expected: elsewhere() },
  { title: 'S-458: In, no such label', asked: wanting([{ key: 'disk', operator: 'In', values: ['b'] }]), expected: elsewhere() },
  { title: 'S-458: NotIn', asked: wanting([{ key: 'zone', operator: 'NotIn', values: ['b'] }]), expected: 'admitted' },
  { title: 'S-458: NotIn, this value', asked: wanting([{ key: 'zone', operator: 'NotIn', values: ['a'] }]), expected: elsewhere() },
  { title: 'S-458: NotIn, no such label', asked: wanting([{ key: 'disk', operator: 'NotIn', values: ['a'] }]), expected: 'admitted' },
  { title: 'S-458: Exists', asked: wanting([{ key: 'zone', operator: 'Exists' }]), expected: 'admitted' },
  { title: 'S-458: Exists, no such label', asked: wanting([{ key: 'toString', operator: 'Exists' }]), expected: elsewhere() },
  { title: 'S-458: DoesNotExist', asked: wanting([{ key: 'disk', operator: 'DoesNotExist' }]), expected: 'admitted' },
  { title: 'S-458: DoesNotExist, it does', asked: wanting([{ key: 'zone', operator: 'DoesNotExist' }]), expected: elsewhere() },
  { title: 'S-458: Gt', asked: wanting([{ key: 'cores', operator: 'Gt', values: ['3'] }]), expected: 'admitted' },
  { title: 'S-458: Gt, equal', asked: wanting([{ key: 'cores', operator: 'Gt', values: ['4'] }]), expected: elsewhere() },
  { title: 'S-458: Lt', asked: wanting([{ key: 'cores', operator: 'Lt', values: ['10'] }]), expected: 'admitted' },
  { title: 'S-458: Lt, no number', asked: wanting([{ key: 'zone', operator: 'Lt', values: ['10'] }]), expected: elsewhere() },
  {
    title: 'S-458: one of several terms',
    asked: wanting([{ key: 'zone', operator: 'In', values: ['b'] }], [{ key: 'zone', operator: 'Exists' }]),
    expected: 'admitted',
  },
  {
    title: 'S-458: all of one term',
    asked: wanting([
      { key: 'zone', operator: 'Exists' },
      { key: 'disk', operator: 'Exists' },
    ]),
    expected: elsewhere(),
  },
  { title: 'S-458: a term that asks for nothing', asked: wanting([]), expected: elsewhere() },
  { title: 'S-458: no term', asked: wanting(), expected: elsewhere() },
  { title: 'S-458: by name', asked: byName('node1'), expected: 'admitted' },
  { title: 'S-458: by another name', asked: byName('node2'), expected: elsewhere() },

  // Resources.
  { title: 'S-456: all the cpu there is', asked: asking('a', { cpu: '2' }), expected: 'admitted' },
  {
    title: 'S-456: more cpu than there is',
    asked: asking('a', { cpu: '2001m' }),
    expected: "OutOfcpu: Node didn't have enough resource: cpu, requested: 2001, used: 0, capacity: 2000",
  },
  {
    title: 'S-456: more memory than is left',
    asked: asking('a', { memory: '600Mi' }),
    active: [asking('b', { memory: '500Mi' })],
    expected: `OutOfmemory: Node didn't have enough resource: memory, requested: ${600 * mi}, used: ${500 * mi}, capacity: ${1000 * mi}`,
  },
  {
    title: 'S-456: more local storage than is left',
    asked: asking('a', { 'ephemeral-storage': '2Gi' }),
    expected: `OutOfephemeral-storage: Node didn't have enough resource: ephemeral-storage, requested: ${2048 * mi}, used: 0, capacity: ${1000 * mi}`,
  },
  {
    title: 'S-456: huge pages',
    asked: asking('a', { 'hugepages-2Mi': '100Mi' }),
    expected: `OutOfhugepages-2Mi: Node didn't have enough resource: hugepages-2Mi, requested: ${100 * mi}, used: 0, capacity: ${64 * mi}`,
  },
  {
    title: 'S-456: huge pages of a size that is not there',
    asked: asking('a', { 'hugepages-1Gi': '1Gi' }),
    expected: `OutOfhugepages-1Gi: Node didn't have enough resource: hugepages-1Gi, requested: ${1024 * mi}, used: 0, capacity: 0`,
  },
  {
    title: 'S-456: more Pods than maxPods',
    asked: pod('a'),
    active: [pod('b'), pod('c'), pod('d'), pod('e')],
    expected: "OutOfpods: Node didn't have enough resource: pods, requested: 1, used: 4, capacity: 4",
  },
  {
    title: 'S-456: of several the first is told',
    asked: asking('a', { memory: '2Gi', cpu: '3' }),
    expected: "OutOfcpu: Node didn't have enough resource: cpu, requested: 3000, used: 0, capacity: 2000",
  },
  {
    title: 'S-456: who asks for nothing is admitted on a full node',
    asked: pod('a'),
    active: [asking('b', { cpu: '3' })],
    expected: 'admitted',
  },
  {
    title: 'S-456: init containers and overhead count',
    asked: asking(
      'a',
      { cpu: '1' },
      {
        initContainers: [buildContainer({ name: 'i', resources: { requests: { cpu: '1900m' } } })],
        overhead: { cpu: '200m' },
      },
    ),
    expected: "OutOfcpu: Node didn't have enough resource: cpu, requested: 2100, used: 0, capacity: 2000",
  },
  { title: 'S-457: resources that nobody advertises', asked: asking('a', { 'example.com/gpu': '1' }), expected: 'admitted' },
  {
    title: 'L-510: what ends already is waited for',
    asked: asking('a', { cpu: '2' }),
    active: [{ pod: asking('b', { cpu: '1' }), isEnding: true }],
    expected: 'preempting nobody, waiting for cpu of pods that are ending: default/b',
  },

  // Preemption.
  {
    title: 'S-467: a Pod of lower priority goes',
    asked: asking('a', { cpu: '2' }, { priority: 10 }),
    active: [asking('b', { cpu: '1' }, { priority: 5 })],
    expected: 'preempting b, waiting for cpu of pods that are ending: default/b',
  },
  {
    title: 'S-467: not one of the same priority',
    asked: asking('a', { cpu: '2' }, { priority: 10 }),
    active: [asking('b', { cpu: '1' }, { priority: 10 })],
    expected: "OutOfcpu: Node didn't have enough resource: cpu, requested: 2000, used: 1000, capacity: 2000",
  },
  {
    title: 'S-467: not one without a priority',
    asked: asking('a', { cpu: '2' }, { priority: 10 }),
    active: [asking('b', { cpu: '1' })],
    expected: "OutOfcpu: Node didn't have enough resource: cpu, requested: 2000, used: 1000, capacity: 2000",
  },
  {
    title: 'the built-in classes are priorities (differs from S-473, S-474)',
    asked: asking('a', { cpu: '2' }, { priorityClassName: 'system-node-critical' }),
    active: [asking('b', { cpu: '1' }, { priority: 2_000_000_000 })],
    expected: 'preempting b, waiting for cpu of pods that are ending: default/b',
  },
  {
    title: 'preemptionPolicy: Never',
    asked: asking('a', { cpu: '2' }, { priority: 10, preemptionPolicy: 'Never' }),
    active: [asking('b', { cpu: '1' }, { priority: 5 })],
    expected: "OutOfcpu: Node didn't have enough resource: cpu, requested: 2000, used: 1000, capacity: 2000",
  },
  {
    title: 'S-468: nobody goes in vain',
    asked: asking('a', { cpu: '2' }, { priority: 10 }),
    active: [asking('b', { cpu: '1' }, { priority: 5 }), asking('c', { cpu: '500m' }, { priority: 20 })],
    expected: "OutOfcpu: Node didn't have enough resource: cpu, requested: 2000, used: 1500, capacity: 2000",
  },
  {
    title: 'S-466, L-509: nobody goes for a Pod that is refused for something else',
    asked: asking('a', { cpu: '2' }, { priority: 10, nodeSelector: { zone: 'b' } }),
    active: [asking('b', { cpu: '1' }, { priority: 5 })],
    expected: elsewhere(),
  },
  {
    title: 'S-468: the Pod that comes closest goes',
    asked: asking('a', { cpu: '500m' }, { priority: 10 }),
    active: [
      asking('b', { cpu: '400m' }, { priority: 5 }),
      asking('c', { cpu: '500m' }, { priority: 5 }),
      asking('d', { cpu: '1100m' }, { priority: 5 }),
    ],
    expected: 'preempting c, waiting for cpu of pods that are ending: default/c',
  },
  {
    title: 'S-468: of equal ones that with less memory goes',
    asked: asking('a', { cpu: '1' }, { priority: 10 }),
    active: [asking('b', { cpu: '1', memory: '20Mi' }, { priority: 5 }), asking('c', { cpu: '1', memory: '10Mi' }, { priority: 5 })],
    expected: 'preempting c, waiting for cpu of pods that are ending: default/c',
  },
  {
    title: 'S-468: Guaranteed Pods are spared',
    asked: asking('a', { cpu: '1' }, { priority: 10 }),
    active: [guaranteed('b', { cpu: '1', memory: '1Mi' }, { priority: 5 }), asking('c', { cpu: '1' }, { priority: 5 })],
    expected: 'preempting c, waiting for cpu of pods that are ending: default/c',
  },
  {
    title: 'S-468: as many as it takes, Guaranteed last',
    asked: asking('a', { cpu: '2' }, { priority: 10 }),
    active: [guaranteed('b', { cpu: '1', memory: '1Mi' }, { priority: 5 }), asking('c', { cpu: '1' }, { priority: 5 })],
    expected: 'preempting c b, waiting for cpu of pods that are ending: default/c, default/b',
  },
  {
    title: 'S-468: a BestEffort Pod goes for its place',
    asked: asking('a', { cpu: '1' }, { priority: 10 }),
    active: [pod('b', { priority: 1 }), pod('c', { priority: 20 }), asking('d', { cpu: '1m' }, { priority: 5 }), pod('e')],
    expected: 'preempting b, waiting for pods of pods that are ending: default/b',
  },
  {
    title: 'S-468: and not when a Pod that has to go gives its place as well',
    asked: asking('a', { cpu: '1' }, { priority: 10 }),
    active: [
      pod('b', { priority: 1 }),
      pod('c', { priority: 1 }),
      asking('d', { cpu: '500m' }, { priority: 5 }),
      asking('e', { cpu: '1' }),
    ],
    expected: 'preempting d, waiting for pods and cpu of pods that are ending: default/d',
  },
  {
    title: 'L-510: who goes already is not joined by others',
    asked: asking('a', { cpu: '2' }, { priority: 10 }),
    active: [
      { pod: asking('b', { cpu: '1' }, { priority: 5 }), isEnding: true },
      { pod: asking('c', { cpu: '500m' }, { priority: 5 }), isEnding: true },
    ],
    expected: 'preempting nobody, waiting for cpu of pods that are ending: default/b, default/c',
  },
  {
    title: 'S-467: critical Pods make those that are not go',
    asked: asking('a', { cpu: '2' }, { priority: 2_000_000_000 }),
    active: [asking('b', { cpu: '1' })],
    on: { criticalPods: 'byPriority' },
    expected: 'preempting b, waiting for cpu of pods that are ending: default/b',
  },

  // Pressure and shutdown.
  {
    title: 'S-096, S-450, L-507, L-512: static Pods pass under pressure',
    asked: pod('a'),
    on: { pressure: ['DiskPressure'] },
    expected: 'admitted',
  },
  {
    title: 'L-507: others do not',
    asked: asking('a', { cpu: '1' }),
    on: { pressure: ['MemoryPressure', 'DiskPressure'], criticalPods: 'byPriority' },
    expected: 'Evicted: The node had condition: [MemoryPressure DiskPressure]. ',
  },
  {
    title: 'L-507: under pressure by memory alone BestEffort ones do not',
    asked: pod('a'),
    on: { pressure: ['MemoryPressure'], criticalPods: 'byPriority' },
    expected: 'Evicted: The node had condition: [MemoryPressure]. ',
  },
  {
    title: 'L-507: under pressure by memory alone who asks for some passes',
    asked: asking('a', { memory: '1Mi' }),
    on: { pressure: ['MemoryPressure'], criticalPods: 'byPriority' },
    expected: 'admitted',
  },
  {
    title: 'L-507, S-096: critical ones pass',
    asked: pod('a', { priorityClassName: 'system-cluster-critical' }),
    on: { pressure: ['PIDPressure'], criticalPods: 'byPriority' },
    expected: 'admitted',
  },
  {
    title: 'L-495: nobody is admitted while the node shuts down',
    asked: pod('a', { priorityClassName: 'system-node-critical' }),
    on: { isShuttingDown: true },
    expected: 'NodeShutdown: Pod was rejected as the node is shutting down.',
  },
];

for (const { title, asked, active = [], on = {}, expected } of rows) {
  test(`admission: ${title}`, () => {
    const others = active.map((one): ActivePod => ('pod' in one ? one : { pod: one, isEnding: false }));
    const answer = admitPod(asked, others, { ...node, ...on });
    const names = answer.kind === 'preempting' ? answer.victims.map((victim) => victim.metadata.name).join(' ') || 'nobody' : '';
    const said = {
      admitted: () => 'admitted',
      refused: () => (answer.kind === 'refused' ? `${answer.reason}: ${answer.message}` : ''),
      preempting: () => (answer.kind === 'preempting' ? `preempting ${names}, ${answer.message}` : ''),
    };
    assert.equal(said[answer.kind](), expected);
  });
}

test('admission: of everything that stands in the way the first is told (S-446, S-463)', () => {
  const spec: PodSpec = {
    containers: [
      buildContainer({
        ports: [{ containerPort: 80, hostPort: 80 }],
        resources: { requests: { cpu: '100' } },
        securityContext: { appArmorProfile: { type: 'RuntimeDefault' } },
      }),
    ],
    nodeSelector: { zone: 'b' },
    os: { name: 'windows' },
    securityContext: { sysctls: [{ name: 'kernel.msgmax', value: '1' }] },
  };
  const bad: AdmissionNode = {
    ...node,
    pressure: ['DiskPressure'],
    criticalPods: 'byPriority',
    appArmor: { isEnabled: false, loadedProfiles: undefined },
    isShuttingDown: true,
  };
  const mended: readonly [string, Partial<PodSpec>, Partial<AdmissionNode>][] = [
    ['Evicted', {}, { pressure: [] }],
    ['SysctlForbidden', { securityContext: {} }, {}],
    ['PodOSNotSupported', { os: { name: 'linux' } }, {}],
    ['NodeAffinity', { nodeSelector: {} }, {}],
    ['NodePorts', {}, {}],
    ['AppArmor', {}, { appArmor: node.appArmor }],
    ['NodeShutdown', {}, { isShuttingDown: false }],
    ['OutOfcpu', {}, {}],
  ];
  let asked = spec;
  let on = bad;
  let active: readonly ActivePod[] = [{ pod: onPort('other', 80), isEnding: false }];
  for (const [reason, change, nodeChange] of mended) {
    const answer = admitPod(pod('a', asked), active, on);
    assert.equal(answer.kind === 'refused' ? answer.reason : answer.kind, reason);
    asked = { ...asked, ...change };
    on = { ...on, ...nodeChange };
    if (reason === 'NodePorts') active = [];
  }
});

for (const [reason, now, expected] of [
  ['Evicted', {}, true],
  ['Evicted', { pressure: ['DiskPressure'] }, false],
  ['Preempting', { pressure: ['DiskPressure'] }, true],
  ['Terminated', { isShuttingDown: true }, false],
  ['Terminated', {}, true],
] as const) {
  test(`D4: a Pod that ended as ${reason} ${expected ? 'may' : 'may not'} return: ${JSON.stringify(now)}`, () =>
    assert.equal(mayReturn(reason, { ...node, ...now }), expected));
}

function portsTaken(): string {
  return "NodePorts: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
}

function elsewhere(): string {
  return "NodeAffinity: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
}

function byName(name: string): Pod {
  const term = { matchFields: [{ key: 'metadata.name', operator: 'In', values: [name] }] };
  return pod('a', { affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [term] } } } });
}
