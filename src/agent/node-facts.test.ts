import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildConfig } from '../../test/support/agent-config.ts';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { eth0, FakeHost, loopback, routeToEth0 } from '../../test/support/fake-host.ts';
import type { MachineFacts } from '../cgroup/machine.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import type { NodeAmounts } from '../pod/node-facts.ts';
import type { RuntimeStatus } from '../runtime/runtime.ts';
import { RuntimeError } from '../std/errors.ts';
import { silentLogger } from '../std/log.ts';
import { allocatable, defaultInterface, detectCgroup, NodeFactsReader, podTasks } from './node-facts.ts';

const gib = 2 ** 30;
const signal = new AbortController().signal;
const capacity: NodeAmounts = {
  cpuMillis: 4000,
  memoryBytes: 8 * gib,
  ephemeralStorageBytes: 100 * gib,
  hugepagesBytes: new Map([[2 ** 21, gib]]),
};
const machine: MachineFacts = { capacity, hugepageSizesBytes: [2 ** 21], swapController: false, thermalThrottlePaths: [], seLinux: true };
const cgroup = { version: 2, driver: 'systemd', root: '/', perQos: true, swapController: false } as const;
const layout = { version: 2, hierarchies: [], own: new Map() } as const;
const ready: RuntimeStatus = {
  conditions: [],
  handlers: [{ name: 'runc', recursiveReadOnlyMounts: true, userNamespaces: false }],
  features: { supplementalGroupsPolicy: true },
  info: {},
};

function world(change: Partial<AgentConfig> = {}) {
  const host = new FakeHost({ '/etc/resolv.conf': 'nameserver 192.0.2.53\n', '/etc/hosts': '127.0.0.1 localhost\n' });
  host.network = [loopback, eth0];
  const clock = new FakeClock();
  const warnings: string[] = [];
  let machineReads = 0;
  let status: () => Promise<RuntimeStatus> = async () => ready;
  const reader = new NodeFactsReader(
    { config: buildConfig(change), cgroup, layout },
    {
      runtime: {
        status: () => status(),
        version: async () => ({ runtimeName: 'containerd', runtimeVersion: '1.6.20~ds1', runtimeApiVersion: 'v1' }),
      },
      clock,
      log: { ...silentLogger, warn: (message) => warnings.push(message) },
      host,
      machine: async () => {
        machineReads++;
        return machine;
      },
    },
  );
  return {
    host,
    clock,
    reader,
    warnings,
    machineReads: () => machineReads,
    runtimeFails: () => {
      status = () => Promise.reject(new RuntimeError('unavailable', 'gone'));
    },
  };
}

const nothing = { systemReserved: {}, kubeReserved: {}, evictionHard: {} };
const allocatableRows: readonly (readonly [string, Parameters<typeof allocatable>[1], Partial<NodeAmounts>])[] = [
  ['nothing reserved', nothing, {}],
  ['processors', { ...nothing, systemReserved: { cpu: '100m' }, kubeReserved: { cpu: '1' } }, { cpuMillis: 2900 }],
  ['memory', { ...nothing, systemReserved: { memory: '1Gi' }, kubeReserved: { memory: '512Mi' } }, { memoryBytes: 5.5 * gib }],
  [
    'memory kept by evictions',
    { ...nothing, evictionHard: { 'memory.available': { kind: 'bytes', value: gib } } },
    { memoryBytes: 6 * gib },
  ],
  [
    'a share of the disk kept by evictions',
    { ...nothing, kubeReserved: { 'ephemeral-storage': '5Gi' }, evictionHard: { 'nodefs.available': { kind: 'percent', value: 10 } } },
    { ephemeralStorageBytes: 85 * gib },
  ],
  ['more than there is', { ...nothing, systemReserved: { cpu: '9', memory: '9Gi' } }, { cpuMillis: 0, memoryBytes: 0 }],
];

for (const [name, config, expected] of allocatableRows) {
  test(`L-304, S-372: allocatable with ${name}`, () => {
    // One of the eight gibibytes is set aside for huge pages.
    assert.deepEqual(allocatable(capacity, config), { ...capacity, memoryBytes: 7 * gib, ...expected });
  });
}

for (const [name, config, limit, expected] of [
  ['none reserved', nothing, 1000, -1],
  ['reserved ones', { ...nothing, systemReserved: { pid: '100' }, kubeReserved: { pid: '0.2k' } }, 1000, 700],
  ['more reserved than there are', { ...nothing, kubeReserved: { pid: '2k' } }, 1000, 1],
  ['a kernel that does not say', { ...nothing, systemReserved: { pid: '100' } }, undefined, -1],
] as const) {
  test(`L-302: tasks of all Pods with ${name}`, () => assert.equal(podTasks(config, limit), expected));
}

test('the facts of configuration and machine', async () => {
  const { reader } = world({ rootDir: '/r', runtimeHandlers: { fast: 'runc' }, cpuCfsQuotaPeriodMs: 50, evictionHard: {} });
  const facts = await reader.read();
  assert.deepEqual(facts.ips, ['192.0.2.7']);
  assert.deepEqual(
    [facts.name, facts.seccompProfileRoot, facts.runtimeClasses, facts.cpuCfsQuotaPeriodUs, facts.seLinux],
    ['node1', '/r/seccomp', { fast: 'runc' }, 50_000, true],
  );
  assert.equal(facts.allocatable.memoryBytes, 7 * gib);
  assert.equal(facts.singleProcessOomKill, false);
  assert.equal(facts.hostsFile, '127.0.0.1 localhost\n');
});

test('L-202: files are read again only after a change, the machine never', async () => {
  const { reader, host, machineReads } = world();
  await reader.read();
  host.reads.length = 0;
  await reader.read();
  assert.deepEqual(host.reads, []);
  host.files.set('/etc/resolv.conf', 'nameserver 192.0.2.54\n');
  assert.equal((await reader.read()).resolvConf, 'nameserver 192.0.2.54\n');
  assert.deepEqual(host.reads, ['/etc/resolv.conf']);
  assert.equal(machineReads(), 1);
});

test('L-202: without a configured resolver file there is none; a missing one is empty and told once', async () => {
  assert.equal((await world({ resolvConf: '' }).reader.read()).resolvConf, undefined);
  const { reader, host, warnings } = world();
  host.files.delete('/etc/resolv.conf');
  assert.equal((await reader.read()).resolvConf, '');
  await reader.read();
  assert.deepEqual(warnings, ['file of the node is missing']);
  host.files.set('/etc/resolv.conf', 'search lan\n');
  assert.equal((await reader.read()).resolvConf, 'search lan\n');
});

test('L-202: the stub of systemd-resolved is of no use to Pods; what it asks is', async () => {
  const { reader, host } = world();
  const upstreams = 'nameserver 192.0.2.99\nsearch lan\n';
  host.files.set('/run/systemd/resolve/resolv.conf', upstreams);
  assert.equal((await reader.read()).resolvConf, 'nameserver 192.0.2.53\n');
  const stub = '# stub\nnameserver 127.0.0.53\noptions edns0 trust-ad\n';
  host.files.set('/etc/resolv.conf', stub);
  assert.equal((await reader.read()).resolvConf, upstreams);
  host.files.delete('/run/systemd/resolve/resolv.conf');
  assert.equal((await reader.read()).resolvConf, stub);
});

test('handlers are known after the runtime was asked, and stay when it fails', async () => {
  const { reader, runtimeFails } = world();
  assert.deepEqual((await reader.read()).runtimeHandlers, []);
  await reader.refreshRuntime({ signal });
  runtimeFails();
  await assert.rejects(reader.refreshRuntime({ signal }), RuntimeError);
  assert.deepEqual((await reader.read()).runtimeHandlers, ready.handlers);
  assert.equal(reader.supplementalGroupsPolicy, true);
});

const second = { name: 'eth1', address: '198.51.100.4', internal: false };
const v6 = { name: 'eth0', address: '2001:db8::7', internal: false };
const linkLocal = { name: 'eth0', address: 'fe80::1', internal: false };
const routes: Readonly<Record<string, string>> = { '/proc/net/route': routeToEth0 };
const addressRows = [
  { name: 'the interface of the default route', network: [loopback, second, eth0], files: routes, ips: ['192.0.2.7'] },
  {
    name: 'what the name resolves to before the route',
    network: [second, eth0],
    files: routes,
    names: [second.address],
    ips: [second.address],
  },
  { name: 'a name that is somebody else', network: [eth0], files: routes, names: ['203.0.113.1'], ips: ['192.0.2.7'] },
  { name: 'no default route: the first address others can reach', network: [loopback, linkLocal, second, eth0], ips: [second.address] },
  { name: 'no default route, IPv6 preferred', config: { nodeIps: ['::'] }, network: [eth0, v6], ips: [v6.address] },
  { name: 'only a loopback', network: [loopback], ips: [] },
  { name: 'two configured', config: { nodeIps: ['192.0.2.7', '2001:db8::7'] }, network: [eth0, v6], ips: ['192.0.2.7', '2001:db8::7'] },
  {
    name: 'a configured one that the machine has not',
    config: { nodeIps: ['192.0.2.9'] },
    network: [eth0],
    ips: ['192.0.2.9'],
    problem: `node IP: "192.0.2.9" not found in the host's network interfaces`,
  },
];

for (const row of addressRows) {
  test(`S-368, S-369: addresses with ${row.name}`, async () => {
    const { reader, host } = world(row.config ?? {});
    host.network = row.network;
    host.names.set('node1', row.names ?? []);
    for (const [path, text] of Object.entries(row.files ?? {})) host.files.set(path, text);
    const { addresses, problem } = await reader.refreshAddresses();
    assert.deepEqual(
      addresses.map(({ type, address }) => `${type} ${address}`),
      [...row.ips.map((ip) => `InternalIP ${ip}`), 'Hostname node1'],
    );
    assert.equal(problem, row.problem);
    assert.deepEqual((await reader.read()).ips, row.ips);
  });
}

test('addresses are looked for again after a change of interfaces or some minutes, not before', async () => {
  const { reader, host, clock } = world();
  await reader.refreshAddresses();
  await reader.refreshAddresses();
  assert.equal(host.lookups, 1);
  host.network = [second];
  assert.deepEqual((await reader.refreshAddresses()).addresses[0], { type: 'InternalIP', address: second.address });
  assert.equal(host.lookups, 2);
  await clock.advance(300_000);
  await reader.refreshAddresses();
  assert.equal(host.lookups, 3);
});

test('a resolver that does not answer delays nobody for long', async () => {
  const { reader, host, clock } = world();
  host.isDeaf = true;
  const read = reader.read();
  while (clock.sleeping === 0) await settle();
  await clock.advance(2000);
  assert.deepEqual((await read).ips, ['192.0.2.7']);
});

const six = '0'.repeat(32);
const routeRows = [
  ['the smallest metric', routeToEth0, '', 'eth0'],
  ['a route without a gateway', routeToEth0.replaceAll('\t0003\t', '\t0001\t'), '', undefined],
  ['none', '', '', undefined],
  [
    'IPv6 alone',
    '',
    `${six} 00 ${six} 00 ${six} ffffffff 00000001 00000000 00200200       lo\n` +
      `${six} 00 ${six} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth2\n`,
    'eth2',
  ],
] as const;

for (const [name, route, route6, expected] of routeRows) {
  test(`S-368: default route: ${name}`, () => assert.equal(defaultInterface(route, route6), expected));
}

const mounts = 'cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n';
const driverRows = [
  ['the runtime wins', 'systemd', 'systemd'],
  ['the configuration where the runtime says nothing', undefined, 'cgroupfs'],
] as const;

for (const [name, runtimeDriver, driver] of driverRows) {
  test(`L-290: cgroup driver: ${name}`, async () => {
    const host = new FakeHost({ '/proc/self/mounts': mounts, '/proc/self/cgroup': '0::/x\n' });
    const { facts, layout: found } = await detectCgroup(buildConfig({ cgroupDriver: 'cgroupfs', cgroupRoot: '' }), runtimeDriver, host);
    assert.deepEqual([facts.driver, facts.version, facts.root, facts.perQos], [driver, 2, '/', true]);
    assert.equal(found.hierarchies[0]?.mountPoint, '/sys/fs/cgroup');
  });
}
