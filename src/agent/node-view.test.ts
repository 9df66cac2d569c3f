import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildConfig } from '../../test/support/agent-config.ts';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { disk, eth0, FakeHost, routeToEth0 } from '../../test/support/fake-host.ts';
import { RecordedEvents } from '../../test/support/pods.ts';
import type { Node } from '../api/gen/kubernetes.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { RuntimeError } from '../std/errors.ts';
import { silentLogger } from '../std/log.ts';
import { NodeFactsReader } from './node-facts.ts';
import { architecture, NodeFeed, semanticVersion } from './node-view.ts';

const gib = 2 ** 30;
const signal = new AbortController().signal;
const cgroup = { version: 2, driver: 'systemd', root: '/', perQos: true, swapController: false } as const;
const start = Date.UTC(2026, 0, 1);

const files = {
  '/etc/resolv.conf': '',
  '/etc/hosts': '',
  '/etc/machine-id': 'abc\n',
  '/etc/os-release': 'PRETTY_NAME="Some Linux 1"\n',
  '/proc/sys/kernel/random/boot_id': 'boot\n',
  '/proc/sys/kernel/osrelease': '6.1.0\n',
  '/proc/meminfo': 'MemTotal: 4194304 kB\nMemFree: 4000000 kB\nSwapTotal: 1024 kB\nSwapFree: 1024 kB\n',
  '/proc/loadavg': '0 0 0 1/100 7\n',
  '/proc/sys/kernel/pid_max': '32768\n',
  '/proc/sys/kernel/threads-max': '10000\n',
  '/proc/net/route': routeToEth0,
};

function world(change: Partial<AgentConfig> = {}) {
  const clock = new FakeClock(start);
  const host = new FakeHost(files);
  host.network = [eth0];
  host.madeAt = Date.UTC(2025, 5, 1);
  const config = buildConfig({ rootDir: '/r', evictionHard: {}, registerWithTaints: [], ...change });
  host.disks.set('/r', disk());
  const calls: string[] = [];
  let failure: RuntimeError | undefined;
  const answer = async <T>(name: string, value: T): Promise<T> => {
    calls.push(name);
    if (failure !== undefined) throw failure;
    return value;
  };
  const runtime: Pick<Runtime, 'status' | 'version' | 'listImages'> = {
    status: () =>
      answer('status', {
        conditions: [],
        handlers: [{ name: 'runc', recursiveReadOnlyMounts: true, userNamespaces: true }],
        features: { supplementalGroupsPolicy: true },
        info: {},
      }),
    version: () => answer('version', { runtimeName: 'containerd', runtimeVersion: '2.1.0', runtimeApiVersion: 'v1' }),
    listImages: () =>
      answer('listImages', [
        { id: 'a', repoTags: ['a:1'], repoDigests: ['a@sha256:1'], sizeBytes: 5, uid: undefined, username: undefined, pinned: false },
        { id: 'b', repoTags: ['b:1'], repoDigests: [], sizeBytes: 9, uid: undefined, username: undefined, pinned: false },
      ]),
  };
  const capacity = { cpuMillis: 2000, memoryBytes: 4 * gib, ephemeralStorageBytes: 10 * gib, hugepagesBytes: new Map([[2 ** 21, 0]]) };
  const facts = new NodeFactsReader(
    { config, cgroup, layout: { version: 2, hierarchies: [], own: new Map() } },
    {
      runtime,
      clock,
      log: silentLogger,
      host,
      machine: async () => ({ capacity, hugepageSizesBytes: [2 ** 21], swapController: false, thermalThrottlePaths: [], seLinux: false }),
    },
  );
  const problems: string[] = [];
  const pressure = { memory: false, disk: false, pid: false };
  const warnings: string[] = [];
  const events = new RecordedEvents();
  const feed = new NodeFeed(
    { config, kubeletVersion: 'v1.36.2' },
    {
      facts,
      runtime,
      readyProblems: () => problems,
      pressure: () => pressure,
      agentPort: () => 10250,
      events,
      clock,
      log: { ...silentLogger, warn: (message) => warnings.push(message) },
      host,
    },
  );
  return {
    clock,
    host,
    facts,
    feed,
    problems,
    pressure,
    events,
    warnings,
    calls,
    fail: (error: RuntimeError | undefined) => {
      failure = error;
    },
  };
}

function nodeOf(feed: NodeFeed): Node {
  const [node] = feed.list();
  assert.ok(node !== undefined);
  return node;
}

const conditions = (node: Node): Readonly<Record<string, string>> =>
  Object.fromEntries((node.status?.conditions ?? []).map(({ type, status }) => [type, status]));

test('S-367, S-371, S-373 … S-376: the Node of facts', async () => {
  const { feed, facts } = world({ podsPerCore: 10, nodeLabels: { zone: 'a' }, providerId: 'x://1' });
  await facts.refreshRuntime({ signal });
  assert.deepEqual(feed.list(), []);
  await feed.refresh({ signal });
  const { metadata, spec, status } = nodeOf(feed);
  assert.equal(metadata?.name, 'node1');
  assert.equal(metadata?.creationTimestamp, '2025-06-01T00:00:00Z');
  assert.match(metadata?.uid ?? '', /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  assert.equal(metadata?.labels?.['zone'], 'a');
  assert.deepEqual(spec, { providerID: 'x://1' });
  assert.deepEqual(status?.capacity, { cpu: '2', memory: '4Gi', 'ephemeral-storage': '10Gi', 'hugepages-2Mi': '0', pods: '20' });
  assert.deepEqual(status?.addresses, [
    { type: 'InternalIP', address: '192.0.2.7' },
    { type: 'Hostname', address: 'node1' },
  ]);
  assert.deepEqual(status?.nodeInfo, {
    machineID: 'abc',
    systemUUID: 'abc',
    bootID: 'boot',
    kernelVersion: '6.1.0',
    osImage: 'Some Linux 1',
    operatingSystem: 'linux',
    architecture: architecture(),
    kubeletVersion: 'v1.36.2',
    kubeProxyVersion: '',
    containerRuntimeVersion: 'containerd://2.1.0',
    swap: { capacity: 2 ** 20 },
  });
  assert.deepEqual(status?.images, [
    { names: ['b:1'], sizeBytes: 9 },
    { names: ['a@sha256:1', 'a:1'], sizeBytes: 5 },
  ]);
  assert.deepEqual(status?.daemonEndpoints, { kubeletEndpoint: { Port: 10250 } });
  assert.deepEqual(status?.runtimeHandlers, [{ name: 'runc', features: { recursiveReadOnlyMounts: true, userNamespaces: true } }]);
  assert.deepEqual(status?.features, { supplementalGroupsPolicy: true });
  assert.deepEqual(conditions(nodeOf(feed)), { MemoryPressure: 'False', DiskPressure: 'False', PIDPressure: 'False', Ready: 'True' });
});

test('the Node of the same machine is the same one after a restart, of another machine another one', async () => {
  const uids: (string | undefined)[] = [];
  for (const id of ['abc', 'abc', 'def']) {
    const { feed, host } = world();
    host.files.set('/etc/machine-id', id);
    await feed.refresh({ signal });
    uids.push(nodeOf(feed).metadata?.uid);
  }
  assert.equal(uids[0], uids[1]);
  assert.notEqual(uids[0], uids[2]);
});

test('S-378: a Node that only breathes stays the same object, until the report is due', async () => {
  const { feed, clock } = world({ nodeStatusReportFrequencyMs: 300_000 });
  let told = 0;
  feed.subscribe(() => told++);
  await feed.refresh({ signal });
  const first = nodeOf(feed);
  await clock.advance(299_999);
  await feed.refresh({ signal });
  assert.equal(nodeOf(feed), first);
  assert.equal(told, 1);
  await clock.advance(1);
  await feed.refresh({ signal });
  assert.notEqual(nodeOf(feed), first);
  assert.equal(told, 2);
});

test('S-377, S-378: a problem makes the Node not ready, with the time of the change', async () => {
  const { feed, clock, problems } = world();
  let told = 0;
  const unsubscribe = feed.subscribe(() => told++);
  await feed.refresh({ signal });
  await clock.advance(10_000);
  problems.push('container runtime is down');
  await feed.refresh({ signal });
  const ready = nodeOf(feed).status?.conditions?.find(({ type }) => type === 'Ready');
  assert.deepEqual(
    [ready?.status, ready?.message, ready?.lastTransitionTime],
    ['False', 'container runtime is down', '2026-01-01T00:00:10Z'],
  );
  assert.equal(told, 2);
  unsubscribe();
  problems.length = 0;
  await feed.refresh({ signal });
  assert.equal(told, 2);
  assert.equal(conditions(nodeOf(feed))['Ready'], 'True');
});

test('S-437: pressure is told when first known and when it changes, readiness when it changes', async () => {
  const { feed, problems, pressure, events } = world();
  const told = async (): Promise<readonly string[]> => {
    await feed.refresh({ signal });
    return events.take();
  };
  const is = (reason: string): string => `Normal ${reason}: Node node1 status is now: ${reason}`;
  assert.deepEqual(await told(), ['NodeHasSufficientMemory', 'NodeHasNoDiskPressure', 'NodeHasSufficientPID'].map(is));
  assert.deepEqual(await told(), []);
  pressure.disk = true;
  problems.push('container runtime is down');
  assert.deepEqual(await told(), ['NodeHasDiskPressure', 'NodeNotReady'].map(is));
  problems.length = 0;
  assert.deepEqual(await told(), ['NodeReady'].map(is));
});

test('S-376: what the node runs short of is in its conditions', async () => {
  const { feed, pressure } = world();
  for (const [kind, condition] of [
    ['memory', 'MemoryPressure'],
    ['disk', 'DiskPressure'],
    ['pid', 'PIDPressure'],
  ] as const) {
    pressure[kind] = true;
    await feed.refresh({ signal });
    pressure[kind] = false;
    const isTrue = Object.entries(conditions(nodeOf(feed))).flatMap(([type, status]) => (status === 'True' ? [type] : []));
    assert.deepEqual(isTrue, [condition, 'Ready']);
  }
});

test('D7: the runtime is asked for images every five minutes, or when they changed', async () => {
  const { feed, clock, calls } = world();
  const images = () => calls.filter((call) => call === 'listImages').length;
  await feed.refresh({ signal });
  await clock.advance(299_999);
  await feed.refresh({ signal });
  assert.equal(images(), 1);
  await clock.advance(1);
  await feed.refresh({ signal });
  assert.equal(images(), 2);
  feed.imagesChanged();
  await feed.refresh({ signal });
  assert.equal(images(), 3);
});

test('S-373: a runtime that does not answer leaves a Node, and is asked again', async () => {
  const { feed, fail } = world();
  fail(new RuntimeError('unavailable', 'gone'));
  await feed.refresh({ signal });
  assert.equal(nodeOf(feed).status?.nodeInfo?.containerRuntimeVersion, 'containerd://Unknown');
  fail(undefined);
  await feed.refresh({ signal });
  assert.equal(nodeOf(feed).status?.nodeInfo?.containerRuntimeVersion, 'containerd://2.1.0');
});

test('S-367: what cannot be read leaves the Node as it was', async () => {
  const { feed, host, warnings } = world();
  await feed.refresh({ signal });
  const before = nodeOf(feed);
  host.readText = () => Promise.reject(Object.assign(new Error('EIO'), { code: 'EIO' }));
  await feed.refresh({ signal });
  assert.equal(nodeOf(feed), before);
  assert.deepEqual(warnings, ['node facts cannot be read']);
});

test('the registration with a cluster reads the same facts', async () => {
  const { feed, problems } = world();
  problems.push('no network');
  const facts = await feed.facts.read({ signal });
  assert.deepEqual(facts.readyProblems, ['no network']);
  assert.equal(facts.capacity['cpu'], '2');
  assert.equal(conditions(nodeOf(feed))['Ready'], 'False');
  let told = 0;
  const end = feed.facts.subscribe(() => told++);
  problems.length = 0;
  await feed.refresh({ signal });
  end();
  assert.equal(told, 1);
});

test('S-383: rounds come with the configured frequency, sooner when woken or not ready, and end with the signal', async () => {
  const { feed, clock, problems } = world({ nodeStatusUpdateFrequencyMs: 10_000 });
  const stop = new AbortController();
  const running = feed.run({ signal: stop.signal });
  const isReady = () => conditions(nodeOf(feed))['Ready'];
  while (clock.sleeping === 0) await settle();
  problems.push('a');
  await clock.advance(9999);
  assert.equal(isReady(), 'True');
  await clock.advance(1);
  assert.equal(isReady(), 'False');
  // S-383: not ready for no longer than needed.
  problems.length = 0;
  await clock.advance(999);
  assert.equal(isReady(), 'False');
  await clock.advance(1);
  assert.equal(isReady(), 'True');
  problems.push('b');
  feed.wake();
  await clock.advance(999);
  assert.equal(isReady(), 'True');
  await clock.advance(1);
  assert.equal(isReady(), 'False');
  stop.abort(new RangeError('stop'));
  await assert.rejects(running, RangeError);
  assert.equal(clock.sleeping, 0);
});

test('Kubernetes has its own names of architectures', () => {
  assert.deepEqual(['x64', 'arm64', 'ppc64', 'riscv64'].map(architecture), ['amd64', 'arm64', 'ppc64le', 'riscv64']);
});

test('S-373: the version of the runtime is shown without what a distribution appends', () => {
  const rows = {
    '2.1.0': '2.1.0',
    'v1.7.24': '1.7.24',
    '1.7.24~ds1': '1.7.24',
    '1.6.20~ds1-1+deb12u1': '1.6.20',
    '2.2.0-rc.1+x': '2.2.0-rc.1+x',
    '1.35': '1.35',
    odd: 'odd',
  };
  for (const [version, expected] of Object.entries(rows)) assert.equal(semanticVersion(version), expected);
});
