// The cluster mode against a real kube-apiserver and etcd: alone, and in the whole agent on the fake runtime. Needs
// KUBEBUILDER_ASSETS.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, it, type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Pod as ApiPod, Node } from '../../src/api/gen/kubernetes.ts';
import type { Pod } from '../../src/api/pod.ts';
import type { DoctorReport } from '../../src/api/trouble.ts';
import { ClusterMode } from '../../src/mirror/cluster-mode.ts';
import { isApiError, paths } from '../../src/mirror/kube-api.ts';
import type { NodeFacts } from '../../src/mirror/node-object.ts';
import { StatusStore } from '../../src/status/status-store.ts';
import { systemClock } from '../../src/std/clock.ts';
import { silentLogger } from '../../src/std/log.ts';
import { noMetrics } from '../../src/std/metrics.ts';
import { systemRandom } from '../../src/std/random.ts';
import { type Envtest, envtestMissing, startEnvtest } from '../support/envtest.ts';
import { FakeAgent } from '../support/fake-agent.ts';
import { Kubectl, whyNoKubectl } from '../support/kubectl.ts';
import { nodeName, runningStatus, staticPod } from '../support/mirror-fixtures.ts';

const missing = envtestMissing() ?? whyNoKubectl();
if (missing !== undefined) console.error(`SKIPPED: ${missing}`);
const options = missing === undefined ? { timeout: 180_000 } : { skip: missing };

const { signal } = new AbortController();

const facts: NodeFacts = {
  addresses: [
    { type: 'InternalIP', address: '192.0.2.1' },
    { type: 'InternalIP', address: '2001:db8::1' },
    { type: 'Hostname', address: nodeName },
  ],
  capacity: { cpu: '4', memory: '8000Ki', pods: '110', 'ephemeral-storage': '1Gi' },
  allocatable: { cpu: '4', memory: '7000Ki', pods: '110', 'ephemeral-storage': '1Gi' },
  nodeInfo: {
    architecture: 'amd64',
    bootID: 'b',
    containerRuntimeVersion: 'containerd://2.0.0',
    kernelVersion: '6',
    kubeProxyVersion: '',
    kubeletVersion: 'v1.36.2',
    machineID: 'm',
    operatingSystem: 'linux',
    osImage: 'Debian',
    systemUUID: 's',
  },
  agentPort: 10250,
  images: [{ names: ['a@sha256:1', 'a:1'], sizeBytes: 1 }],
  pressure: { memory: false, disk: false, pid: false },
  readyProblems: [],
};

async function join(t: TestContext, env: Envtest) {
  const status = new StatusStore({ clock: systemClock });
  const cluster = new ClusterMode(
    {
      node: {
        nodeName,
        labels: { 'example.com/role': 'edge' },
        taints: [],
        architecture: 'amd64',
        maxImages: 50,
        register: true,
        statusUpdateFrequencyMs: 10_000,
        statusReportFrequencyMs: 300_000,
      },
      kubeconfigPath: await env.nodeKubeconfig(nodeName),
      certificateDirectory: env.directory,
      rotateCertificates: false,
      serverTlsBootstrap: false,
      leaseDurationSeconds: 40,
      apiQps: 50,
      apiBurst: 100,
      eventQps: 50,
      eventBurst: 100,
      userAgent: 'pinpod/test',
    },
    {
      status,
      isOrphan: () => true,
      facts: { read: async () => facts, subscribe: () => () => undefined },
      events: { record: () => undefined },
      clock: systemClock,
      random: systemRandom,
      logger: silentLogger,
      metrics: noMetrics,
    },
  );
  const stop = new AbortController();
  const running = cluster.run({ signal: stop.signal }).catch((error: unknown) => error);
  t.after(async () => {
    stop.abort(new Error('stop'));
    await running;
  });
  return { status, cluster };
}

async function read(env: Envtest, url: string): Promise<ApiPod | undefined> {
  try {
    return (await env.admin.request({ method: 'GET', path: url }, { signal })) as ApiPod;
  } catch (error) {
    if (isApiError(error, 'not-found', 'unreachable')) return undefined;
    throw error;
  }
}

/** A real server needs real time: waits for a state, and asserts none of it. */
async function eventually(env: Envtest, url: string, condition: (object: ApiPod | undefined) => boolean): Promise<ApiPod | undefined> {
  for (let i = 0; i < 1200; i++) {
    const object = await read(env, url);
    if (condition(object)) return object;
    await delay(50);
  }
  throw new Error(`${url} did not get there: ${JSON.stringify(await read(env, url))}`);
}

test('C-053 … C-056, C-102: node, lease, mirror, status, deletion, replacement, removal, an outage', options, async (t) => {
  const env = await startEnvtest();
  t.after(() => env.close());
  const w = await join(t, env);
  const url = paths.pod('default', `web-${nodeName}`);
  const pod = staticPod('aaaa');
  w.status.publish(pod, runningStatus);

  const first = await eventually(env, url, (p) => p?.status?.phase === 'Running');
  const node = await read(env, paths.node(nodeName));
  assert.equal(node?.metadata?.labels?.['example.com/role'], 'edge');
  assert.deepEqual(first?.metadata?.ownerReferences, [
    { apiVersion: 'v1', kind: 'Node', name: nodeName, uid: node?.metadata?.uid, controller: true },
  ]);
  assert.equal(first?.metadata?.annotations?.['kubernetes.io/config.mirror'], 'aaaa');
  assert.deepEqual(first?.status?.podIPs, [{ ip: '10.0.0.2' }]);
  assert.equal(first?.status?.containerStatuses?.[0]?.ready, true);
  await eventually(env, `${paths.leases}/${nodeName}`, (lease) => lease !== undefined);
  w.cluster.events.record(
    { kind: 'Pod', namespace: 'default', name: `web-${nodeName}`, uid: 'aaaa' },
    'Normal',
    'Started',
    'Container started',
  );
  await eventually(env, paths.events('default'), (list) => JSON.stringify(list).includes('Container started'));

  w.status.publish(pod, {
    ...runningStatus,
    podIP: '10.0.0.3',
    podIPs: [{ ip: '10.0.0.3' }],
    conditions: [{ type: 'Ready', status: 'False', reason: 'ContainersNotReady' }],
  });
  const second = await eventually(env, url, (p) => p?.status?.podIP === '10.0.0.3');
  assert.deepEqual(second?.status?.podIPs, [{ ip: '10.0.0.3' }], 'replaced, not merged');
  assert.ok(!second?.status?.conditions?.some((c) => c.type === 'PodScheduled'), 'a condition that is gone is deleted');

  for (const gracePeriodSeconds of [30, 0]) {
    const before = await read(env, url);
    await env.admin.request(
      { method: 'DELETE', path: url, body: { kind: 'DeleteOptions', apiVersion: 'v1', gracePeriodSeconds } },
      { signal },
    );
    await eventually(env, url, (p) => p !== undefined && p.metadata?.uid !== before?.metadata?.uid && p.status?.podIP === '10.0.0.3');
  }

  const next = staticPod('bbbb', { image: 'registry/web:2' });
  w.status.publish(pod, runningStatus, { stage: 'terminated', leaving: true });
  w.status.publish(next, runningStatus);
  const replaced = await eventually(env, url, (p) => p?.spec?.containers[0]?.image === 'registry/web:2' && p.status?.phase === 'Running');
  assert.equal(replaced?.metadata?.generation, 1);

  // S-342: the real server refuses that an ended container of a Pod that is not restarted runs again.
  const once = staticPod('once', { name: 'once' });
  const never: Pod = { ...once, spec: { ...once.spec, restartPolicy: 'Never' } };
  const [c] = runningStatus.containerStatuses ?? [];
  const ended = {
    ...c,
    name: 'c',
    image: 'i',
    imageID: 'i',
    ready: false,
    started: false,
    restartCount: 0,
    state: { terminated: { exitCode: 0 } },
  };
  w.status.publish(never, { ...runningStatus, phase: 'Succeeded', containerStatuses: [ended] });
  const onceUrl = paths.pod('default', `once-${nodeName}`);
  const finished = await eventually(env, onceUrl, (p) => p?.status?.phase === 'Succeeded');
  w.status.publish(never, runningStatus);
  const again = await eventually(env, onceUrl, (p) => p?.status?.containerStatuses?.[0]?.state?.running !== undefined);
  assert.notEqual(again?.metadata?.uid, finished?.metadata?.uid);
  w.status.remove('once');
  await eventually(env, onceUrl, (p) => p === undefined);

  await env.stopServer();
  w.status.publish(next, runningStatus, { stage: 'terminated', leaving: true });
  w.status.publish(staticPod('cccc', { name: 'db' }), runningStatus);
  await env.startServer();
  await eventually(env, url, (p) => p === undefined);
  await eventually(env, paths.pod('default', `db-${nodeName}`), (p) => p?.status?.phase === 'Running');
  assert.deepEqual(
    w.cluster.faults.list().filter((f) => f.area === 'mirror'),
    [],
  );
});

const contentType = 'application/strategic-merge-patch+json';
const manifest = (name: string): string =>
  JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec: { containers: [{ name: 'c', image: 'registry/c:1' }] } });

describe('the whole agent on the fake runtime', options, () => {
  let env: Envtest;
  before(async () => {
    env = await startEnvtest();
  });
  after(() => env?.close());

  async function startAgent(
    t: TestContext,
    name: string,
    kubeconfig: string,
    change: { readonly kubelet?: object; readonly agent?: object },
  ) {
    const dir = await mkdtemp(path.join(env.directory, `${name}-`));
    const agent = new FakeAgent(
      { dir, nodeName: name, kubelet: { ...change.kubelet }, agent: { cluster: { kubeconfig }, ...change.agent } },
      { clock: systemClock },
    );
    await agent.start();
    t.after(() => agent.stop());
    const faults = async (): Promise<readonly string[]> => {
      const { troubles } = (await agent.client.json('/pinpod/v1/doctor', { signal })) as DoctorReport;
      return troubles.filter(({ area }) => area === 'cluster').map(({ object, cause }) => `${object} ${cause}`);
    };
    return { agent, faults };
  }
  const node = async (name: string): Promise<Node | undefined> => (await read(env, paths.node(name))) as Node | undefined;

  it('deploy/rbac.yaml is all that a service account needs', async (t) => {
    const admin = new Kubectl(await env.kubeconfig({ commonName: 'admin', organization: 'system:masters' }));
    const file = path.join(import.meta.dirname, '..', '..', 'deploy', 'rbac.yaml');
    const applied = await admin.run(['apply', '-f', file]);
    assert.equal(applied.code, 0, applied.err);
    const token = await admin.run(['create', 'token', 'pinpod', '-n', 'pinpod-system']);
    assert.equal(token.code, 0, token.err);
    const kubeconfig = await env.kubeconfig({ token: token.out.trim() });
    const { agent, faults } = await startAgent(t, 'by-account', kubeconfig, {});
    agent.put('web.json', manifest('web'));
    const pod = paths.pod('default', 'web-by-account');
    const first = await eventually(env, pod, (p) => p?.status?.phase === 'Running');
    await env.admin.request({ method: 'DELETE', path: pod }, { signal });
    await eventually(env, pod, (p) => p !== undefined && p.metadata?.uid !== first?.metadata?.uid && p.status?.phase === 'Running');
    await eventually(env, `${paths.leases}/by-account`, (lease) => lease !== undefined);
    await eventually(env, paths.events('default'), (list) => JSON.stringify(list).includes('web-by-account'));
    await rm(path.join(agent.folder, 'web.json'));
    await eventually(env, pod, (p) => p === undefined);
    assert.deepEqual(await faults(), []);
  });

  it('S-357, S-358: a Node that is there is adopted: its taints and labels are left alone, those of the platform put right', async (t) => {
    const name = 'adopted';
    const taints = [{ key: 'theirs', effect: 'NoSchedule' }];
    const labels = { theirs: 'yes', 'kubernetes.io/arch': 'abacus' };
    await env.admin.request(
      { method: 'POST', path: paths.nodes, body: { apiVersion: 'v1', kind: 'Node', metadata: { name, labels }, spec: { taints } } },
      { signal },
    );
    const { agent, faults } = await startAgent(t, name, await env.nodeKubeconfig(name), {
      kubelet: { registerWithTaints: [{ key: 'ours', effect: 'NoSchedule' }] },
      agent: { nodeLabels: { 'example.com/ours': 'yes' } },
    });
    agent.put('web.json', manifest('web'));
    const mirror = await eventually(env, paths.pod('default', `web-${name}`), (p) => p?.status?.phase === 'Running');
    const found = await node(name);
    assert.equal(mirror?.metadata?.ownerReferences?.[0]?.uid, found?.metadata?.uid);
    assert.equal(found?.metadata?.labels?.['theirs'], 'yes');
    assert.equal(found?.metadata?.labels?.['example.com/ours'], undefined);
    assert.equal(found?.metadata?.labels?.['kubernetes.io/hostname'], name);
    assert.notEqual(found?.metadata?.labels?.['kubernetes.io/arch'], 'abacus');
    assert.ok(found?.spec?.taints?.some((taint) => taint.key === 'theirs'));
    assert.ok(!found?.spec?.taints?.some((taint) => taint.key === 'ours'));
    // Somebody else's condition and label stay over the next report.
    const condition = { type: 'Theirs', status: 'True', reason: 'r', message: 'm' };
    const body = { metadata: { labels: { later: 'yes' } } };
    await env.admin.request({ method: 'PATCH', path: paths.node(name), body, contentType }, { signal });
    const status = { status: { conditions: [condition] } };
    await env.admin.request({ method: 'PATCH', path: `${paths.node(name)}/status`, body: status, contentType }, { signal });
    const again = await eventually(env, paths.node(name), (n) => {
      const conditions = (n as Node | undefined)?.status?.conditions ?? [];
      return conditions.some((c) => c.type === 'Ready' && c.status === 'True');
    });
    assert.equal(again?.metadata?.labels?.['later'], 'yes');
    assert.ok((again as Node).status?.conditions?.some((c) => c.type === 'Theirs'));
    assert.deepEqual(await faults(), []);
  });

  it('S-307, S-365: with registerNode: false nothing is shown before somebody makes the Node', async (t) => {
    const name = 'made-by-others';
    const { agent, faults } = await startAgent(t, name, await env.nodeKubeconfig(name), { kubelet: { registerNode: false } });
    agent.put('web.json', manifest('web'));
    for (let i = 0; !(await faults()).includes('node not-found'); i++) {
      assert.ok(i < 600, 'doctor does not say that the Node is missing');
      await delay(50);
    }
    assert.equal(await read(env, paths.pod('default', `web-${name}`)), undefined);
    await env.admin.request(
      { method: 'POST', path: paths.nodes, body: { apiVersion: 'v1', kind: 'Node', metadata: { name } } },
      { signal },
    );
    await eventually(env, paths.pod('default', `web-${name}`), (p) => p?.status?.phase === 'Running');
    await eventually(env, `${paths.leases}/${name}`, (lease) => lease !== undefined);
  });

  it('S-297, S-387: a Node that is deleted is not made anew; its mirrors are not either; the Pods run on', async (t) => {
    const name = 'deleted';
    const { agent } = await startAgent(t, name, await env.nodeKubeconfig(name), {});
    agent.put('web.json', manifest('web'));
    const url = paths.pod('default', `web-${name}`);
    await eventually(env, url, (p) => p?.status?.phase === 'Running');
    await env.admin.request({ method: 'DELETE', path: paths.node(name) }, { signal });
    // As the garbage collector of kube-controller-manager does it.
    await env.admin.request({ method: 'DELETE', path: url, body: { gracePeriodSeconds: 0 } }, { signal });
    await delay(12_000);
    assert.equal(await node(name), undefined);
    assert.equal(await read(env, url), undefined);
    const { items } = (await agent.client.json('/api/v1/pods', { signal })) as { readonly items: readonly ApiPod[] };
    assert.equal(items[0]?.status?.phase, 'Running');
  });
});
