// The cluster mode alone against a real kube-apiserver and etcd, with the credential of a node: needs KUBEBUILDER_ASSETS.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Pod } from '../../src/api/pod.ts';
import { ClusterMode } from '../../src/mirror/cluster-mode.ts';
import { paths } from '../../src/mirror/kube-api.ts';
import { StatusStore } from '../../src/status/status-store.ts';
import { systemClock } from '../../src/std/clock.ts';
import { silentLogger } from '../../src/std/log.ts';
import { noMetrics } from '../../src/std/metrics.ts';
import { systemRandom } from '../../src/std/random.ts';
import { type Envtest, envtestMissing, read, startEnvtest, untilObject } from '../support/envtest.ts';
import { buildNodeFacts, nodeName, noStartup, runningStatus, staticPod } from '../support/mirror-fixtures.ts';

const missing = envtestMissing();
if (missing !== undefined) console.error(`SKIPPED: ${missing}`);
const options = missing === undefined ? { timeout: 110_000 } : { skip: missing };

const { signal } = new AbortController();

const facts = buildNodeFacts({
  addresses: [
    { type: 'InternalIP', address: '192.0.2.1' },
    { type: 'InternalIP', address: '2001:db8::1' },
    { type: 'Hostname', address: nodeName },
  ],
  allocatable: { cpu: '4', memory: '7000Ki', pods: '110', 'ephemeral-storage': '1Gi' },
  images: [{ names: ['a@sha256:1', 'a:1'], sizeBytes: 1 }],
});

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
      startup: noStartup,
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

test('C-053 … C-056, C-102: node, lease, mirror, status, deletion, replacement, removal, an outage', options, async (t) => {
  const env = await startEnvtest();
  t.after(() => env.close());
  const w = await join(t, env);
  const url = paths.pod('default', `web-${nodeName}`);
  const pod = staticPod('aaaa');
  w.status.publish(pod, runningStatus);

  const first = await untilObject(env, url, (p) => p?.status?.phase === 'Running');
  const node = await read(env, paths.node(nodeName));
  assert.equal(node?.metadata?.labels?.['example.com/role'], 'edge');
  assert.deepEqual(first?.metadata?.ownerReferences, [
    { apiVersion: 'v1', kind: 'Node', name: nodeName, uid: node?.metadata?.uid, controller: true },
  ]);
  assert.equal(first?.metadata?.annotations?.['kubernetes.io/config.mirror'], 'aaaa');
  assert.deepEqual(first?.status?.podIPs, [{ ip: '10.0.0.2' }]);
  assert.equal(first?.status?.containerStatuses?.[0]?.ready, true);
  await untilObject(env, `${paths.leases}/${nodeName}`, (lease) => lease !== undefined);
  w.cluster.events.record(
    { kind: 'Pod', namespace: 'default', name: `web-${nodeName}`, uid: 'aaaa' },
    'Normal',
    'Started',
    'Container started',
  );
  await untilObject(env, paths.events('default'), (list) => JSON.stringify(list).includes('Container started'));

  w.status.publish(pod, {
    ...runningStatus,
    podIP: '10.0.0.3',
    podIPs: [{ ip: '10.0.0.3' }],
    conditions: [{ type: 'Ready', status: 'False', reason: 'ContainersNotReady' }],
  });
  const second = await untilObject(env, url, (p) => p?.status?.podIP === '10.0.0.3');
  assert.deepEqual(second?.status?.podIPs, [{ ip: '10.0.0.3' }], 'replaced, not merged');
  assert.ok(!second?.status?.conditions?.some((c) => c.type === 'PodScheduled'), 'a condition that is gone is deleted');

  for (const gracePeriodSeconds of [30, 0]) {
    const before = await read(env, url);
    await env.admin.request(
      { method: 'DELETE', path: url, body: { kind: 'DeleteOptions', apiVersion: 'v1', gracePeriodSeconds } },
      { signal },
    );
    await untilObject(env, url, (p) => p !== undefined && p.metadata?.uid !== before?.metadata?.uid && p.status?.podIP === '10.0.0.3');
  }

  const next = staticPod('bbbb', { image: 'registry/web:2' });
  w.status.publish(pod, runningStatus, { stage: 'terminated', leaving: true });
  w.status.publish(next, runningStatus);
  const replaced = await untilObject(env, url, (p) => p?.spec?.containers[0]?.image === 'registry/web:2' && p.status?.phase === 'Running');
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
  const finished = await untilObject(env, onceUrl, (p) => p?.status?.phase === 'Succeeded');
  w.status.publish(never, runningStatus);
  const again = await untilObject(env, onceUrl, (p) => p?.status?.containerStatuses?.[0]?.state?.running !== undefined);
  assert.notEqual(again?.metadata?.uid, finished?.metadata?.uid);
  w.status.remove('once');
  await untilObject(env, onceUrl, (p) => p === undefined);

  await env.stopServer();
  w.status.publish(next, runningStatus, { stage: 'terminated', leaving: true });
  w.status.publish(staticPod('cccc', { name: 'db' }), runningStatus);
  await env.startServer();
  await untilObject(env, url, (p) => p === undefined);
  await untilObject(env, paths.pod('default', `db-${nodeName}`), (p) => p?.status?.phase === 'Running');
  assert.deepEqual(
    w.cluster.faults.list().filter((f) => f.area === 'mirror'),
    [],
  );
});
