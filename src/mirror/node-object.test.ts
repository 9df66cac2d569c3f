import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildNodeFacts } from '../../test/support/mirror-fixtures.ts';
import { nodeAddresses } from './node-address.ts';
import { adoptionPatch, type NodeOptions, newNode, nodeConditions, nodeStatus, nodeStatusPatch } from './node-object.ts';

const options: NodeOptions = {
  nodeName: 'node-1',
  labels: { 'example.com/role': 'edge', 'kubernetes.io/arch': 'special' },
  taints: [{ key: 'dedicated', value: 'edge', effect: 'NoSchedule' }],
  architecture: 'amd64',
  maxImages: 2,
};

const facts = buildNodeFacts({
  images: [
    { names: ['small:1'], sizeBytes: 1 },
    { names: ['big:1', 'big@sha256:1'], sizeBytes: 100 },
    { names: ['mid:1'], sizeBytes: 10 },
  ],
  runtimeHandlers: [{ name: 'runc' }, { name: '' }],
});

test('S-359, S-362, S-363, S-366: what is registered', () => {
  const node = newNode(options, {});
  assert.deepEqual(node.metadata, {
    name: 'node-1',
    labels: {
      'kubernetes.io/hostname': 'node-1',
      'kubernetes.io/os': 'linux',
      'kubernetes.io/arch': 'special',
      'beta.kubernetes.io/os': 'linux',
      'beta.kubernetes.io/arch': 'amd64',
      'example.com/role': 'edge',
    },
    annotations: { 'volumes.kubernetes.io/controller-managed-attach-detach': 'true' },
  });
  assert.deepEqual(node.spec, { taints: options.taints });
});

test('S-357, S-358: of a Node that exists only the known labels and the annotation are put right', () => {
  assert.deepEqual(adoptionPatch(options, { metadata: { labels: { 'kubernetes.io/hostname': 'other', mine: 'yes' } } }), {
    metadata: {
      labels: {
        'kubernetes.io/hostname': 'node-1',
        'kubernetes.io/os': 'linux',
        'kubernetes.io/arch': 'special',
        'beta.kubernetes.io/os': 'linux',
        'beta.kubernetes.io/arch': 'amd64',
      },
      annotations: { 'volumes.kubernetes.io/controller-managed-attach-detach': 'true' },
    },
  });
  assert.equal(adoptionPatch(options, newNode(options, {})), undefined);
});

test('S-371 … S-375: images largest first, digests before tags; handlers by name; the port', () => {
  const status = nodeStatus(facts, options, [], 0);
  assert.deepEqual(status.images, [
    { names: ['big@sha256:1', 'big:1'], sizeBytes: 100 },
    { names: ['mid:1'], sizeBytes: 10 },
  ]);
  assert.deepEqual(status.runtimeHandlers, [{ name: '' }, { name: 'runc' }]);
  assert.deepEqual(status.daemonEndpoints, { kubeletEndpoint: { Port: 10250 } });
  assert.equal(nodeStatus(facts, { ...options, maxImages: -1 }, [], 0).images?.length, 3);
});

test('S-376 … S-378: conditions, Ready last, transition times only with the status', () => {
  const first = nodeConditions(facts, [], 0);
  assert.deepEqual(
    first.map((c) => [c.type, c.status, c.reason]),
    [
      ['MemoryPressure', 'False', 'KubeletHasSufficientMemory'],
      ['DiskPressure', 'False', 'KubeletHasNoDiskPressure'],
      ['PIDPressure', 'False', 'KubeletHasSufficientPID'],
      ['Ready', 'True', 'KubeletReady'],
    ],
  );
  const broken = {
    ...facts,
    readyProblems: ['container runtime is down', 'PLEG is not healthy: x'],
    pressure: { memory: true, disk: false, pid: false },
  };
  const second = nodeConditions(broken, first, 60_000);
  assert.deepEqual(
    second.map((c) => [c.type, c.status, c.lastTransitionTime, c.lastHeartbeatTime]),
    [
      ['MemoryPressure', 'True', '1970-01-01T00:01:00Z', '1970-01-01T00:01:00Z'],
      ['DiskPressure', 'False', '1970-01-01T00:00:00Z', '1970-01-01T00:01:00Z'],
      ['PIDPressure', 'False', '1970-01-01T00:00:00Z', '1970-01-01T00:01:00Z'],
      ['Ready', 'False', '1970-01-01T00:01:00Z', '1970-01-01T00:01:00Z'],
    ],
  );
  assert.equal(second[3]?.message, '[container runtime is down, PLEG is not healthy: x]');
  assert.equal(
    nodeConditions({ ...facts, capacity: { cpu: '1', pods: '1', 'ephemeral-storage': '1' } }, [], 0)[3]?.message,
    'missing node capacity for resources: memory',
  );
});

test('S-382: a resource we no longer have is taken away, addresses are replaced', () => {
  assert.deepEqual(nodeStatusPatch({ capacity: { cpu: '1' }, addresses: [] }, { capacity: { cpu: '1', 'hugepages-2Mi': '0' } }), {
    status: { capacity: { cpu: '1', 'hugepages-2Mi': null }, allocatable: {}, addresses: [{ $patch: 'replace' }] },
  });
});

const interfaces = [
  { name: 'lo', address: '127.0.0.1', internal: true },
  { name: 'eth0', address: '192.0.2.1', internal: false },
  { name: 'eth0', address: '2001:db8::1', internal: false },
  { name: 'eth1', address: '198.51.100.1', internal: false },
];

for (const [what, nodeIps, resolved, route, expected] of [
  ['configured', ['198.51.100.1'], [], 'eth0', ['198.51.100.1']],
  ['dual stack', ['192.0.2.1', '2001:db8::1'], [], 'eth0', ['192.0.2.1', '2001:db8::1']],
  ['the name resolves to a local address', [], ['127.0.1.1', '198.51.100.1'], 'eth0', ['198.51.100.1']],
  ['the name resolves elsewhere: the default route', [], ['203.0.113.9'], 'eth0', ['192.0.2.1']],
  [':: prefers IPv6', ['::'], [], 'eth0', ['2001:db8::1']],
] as const) {
  test(`S-368: node address: ${what}`, async () => {
    const addresses = await nodeAddresses(
      { nodeName: 'node-1', hostname: 'host', nodeIps },
      { interfaces: () => interfaces, lookup: async () => resolved, defaultInterface: async () => route },
    );
    assert.deepEqual(addresses, [...expected.map((address) => ({ type: 'InternalIP', address })), { type: 'Hostname', address: 'host' }]);
  });
}

for (const [ip, message] of [
  ['127.0.0.1', "nodeIP can't be loopback address"],
  ['203.0.113.9', 'node IP: "203.0.113.9" not found in the host\'s network interfaces'],
  ['fe80::1', "nodeIP can't be a link-local unicast address"],
] as const) {
  test(`S-369: --node-ip ${ip} is refused`, async () => {
    const deps = { interfaces: () => interfaces, lookup: async () => [], defaultInterface: async () => 'eth0' };
    await assert.rejects(nodeAddresses({ nodeName: 'n', hostname: 'h', nodeIps: [ip] }, deps), { message });
  });
}
