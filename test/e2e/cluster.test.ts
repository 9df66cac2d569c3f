// The whole agent on real containerd and on a real kube-apiserver (KUBEBUILDER_ASSETS): what a cluster sees of it, and what
// kubectl can do through the API server. The parts of a group follow each other on one agent.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Event, Lease, Node, Pod } from '../../src/api/gen/kubernetes.ts';
import { paths } from '../../src/mirror/kube-api.ts';
import { systemClock } from '../../src/std/clock.ts';
import { assertValid, type Cluster, isReady, joinCluster, serviceAccount, sleeper, whyNoCluster } from '../support/cluster.ts';
import { whyNoContainerd } from '../support/containerd.ts';
import { checkout, eventually, freePort, nodeName, options, uidOf } from '../support/test-agent.ts';

const missing = whyNoContainerd() ?? whyNoCluster();
if (missing !== undefined) console.error(`SKIPPED: ${missing}`);

describe('the agent on a real API server', { skip: missing, timeout: 900_000 }, () => {
  let w: Cluster;
  before(async () => {
    w = await joinCluster({ kubelet: { authorization: { mode: 'Webhook', webhook: { cacheUnauthorizedTTL: '1s' } } } });
    await w.agent.start();
  });
  after(async () => {
    await w?.agent.destroy();
    await w?.env.close();
  });

  it('S-355, S-359, S-362, S-363, S-368, S-371, S-373, S-375, H-310, H-452: registers the Node with labels, taints, addresses, capacity, and is ready', async () => {
    const node = await eventually(w.agent, 'the Node is ready', async () => {
      const found = await w.get<Node>(paths.node(nodeName));
      return found?.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') === true ? found : undefined;
    });
    assert.equal(node.metadata?.labels?.['example.com/role'], 'edge');
    assert.equal(node.metadata?.labels?.['kubernetes.io/hostname'], nodeName);
    assert.equal(node.metadata?.annotations?.['volumes.kubernetes.io/controller-managed-attach-detach'], 'true');
    assert.ok(node.spec?.taints?.some((t) => t.key === 'pinpod.io/static-only' && t.effect === 'NoSchedule'));
    assert.deepEqual(
      node.status?.addresses?.map((a) => a.type),
      ['InternalIP', 'Hostname'],
    );
    for (const resource of ['cpu', 'memory', 'pods', 'ephemeral-storage']) assert.ok(node.status?.capacity?.[resource], resource);
    assert.match(node.status?.nodeInfo?.containerRuntimeVersion ?? '', /^containerd:\/\//);
    assert.match(node.status?.nodeInfo?.kubeletVersion ?? '', /^v1\.36\./);
    assert.ok((node.status?.daemonEndpoints?.kubeletEndpoint?.Port ?? 0) > 0);
    assert.deepEqual(
      node.status?.conditions?.map((c) => c.type),
      ['MemoryPressure', 'DiskPressure', 'PIDPressure', 'Ready'],
    );
  });

  it('S-398, S-436, S-437: Events of the Node are in default and name no uid', async () => {
    const wanted = ['Starting', 'NodeHasSufficientMemory', 'NodeHasNoDiskPressure', 'NodeHasSufficientPID'];
    const events = await eventually(w.agent, 'the Events are there', async () => {
      const { items } = (await w.get<{ readonly items: readonly Event[] }>(paths.events('default'))) ?? { items: [] };
      const own = items.filter((e) => e.involvedObject.kind === 'Node' && e.involvedObject.name === nodeName);
      return wanted.every((reason) => own.some((e) => e.reason === reason)) ? own : undefined;
    });
    assert.deepEqual([...new Set(events.map((e) => e.involvedObject.uid))], [undefined]);
  });

  it('a Pod that the cluster gives to the node stays Pending, is told why, and can be deleted', async () => {
    const url = paths.pod('default', 'assigned');
    const body = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'assigned' }, spec: { ...sleeper(), nodeName } };
    await w.env.admin.request(
      { method: 'POST', path: '/api/v1/namespaces/default/serviceaccounts', body: serviceAccount('default') },
      options,
    );
    await w.env.admin.request({ method: 'POST', path: paths.namespacedPods('default'), body }, options);
    await eventually(w.agent, 'doctor warns of it', async () => {
      const { out } = await w.agent.cli('doctor');
      return /warning: {2}pod of default\/assigned {2}not-run/.test(out) ? true : undefined;
    });
    const { out } = await w.kubectl.run(['describe', 'pod', 'assigned']);
    assert.match(out, /Status: +Pending/);
    assert.match(out, /StaticPodsOnly/);
    await w.env.admin.request(
      { method: 'DELETE', path: url, body: { kind: 'DeleteOptions', apiVersion: 'v1', gracePeriodSeconds: 1 } },
      options,
    );
    const end = systemClock.now() + 60_000;
    while ((await w.get(url)) !== undefined) {
      assert.ok(systemClock.now() < end);
      await systemClock.sleep(500, options.signal);
    }
  });

  it('S-385, S-386: renews the lease, owned by the Node', async () => {
    const path_ = `${paths.leases}/${nodeName}`;
    const lease = await eventually(w.agent, 'the lease is there', () => w.get<Lease>(path_));
    const node = await w.get<Node>(paths.node(nodeName));
    assert.deepEqual(lease.metadata?.ownerReferences, [{ apiVersion: 'v1', kind: 'Node', name: nodeName, uid: node?.metadata?.uid }]);
    assert.equal(lease.spec?.holderIdentity, nodeName);
    assert.equal(lease.spec?.leaseDurationSeconds, 40);
    await eventually(w.agent, 'the lease is renewed', async () => {
      const next = await w.get<Lease>(path_);
      return next?.spec?.renewTime !== lease.spec?.renewTime ? true : undefined;
    });
  });

  it('C-037, C-053, C-102: a manifest becomes a valid mirror; another image another one', async () => {
    w.agent.putPod('web', sleeper());
    const first = await w.running('web');
    assertValid(first, await w.get<Node>(paths.node(nodeName)));
    const local = await w.agent.ready('web');
    assert.equal(first.metadata?.annotations?.['kubernetes.io/config.hash'], uidOf(local));
    assert.deepEqual(first.status?.podIPs, local.status?.podIPs);
    assert.equal(first.status?.startTime, local.status?.startTime);
    assert.deepEqual(first.status?.containerStatuses?.[0]?.state, local.status?.containerStatuses?.[0]?.state);
    w.agent.putPod('web', sleeper('echo other; sleep 1000'));
    const second = await w.until('web', 'another', (m) => isReady(m) && m.spec?.containers[0]?.command?.[2] === 'echo other; sleep 1000');
    assert.notEqual(second.metadata?.uid, first.metadata?.uid);
    assertValid(second, await w.get<Node>(paths.node(nodeName)));
  });

  for (const grace of [30, 0]) {
    it(`C-054, C-055: deleted with grace period ${grace}, the mirror comes back and the container has not noticed`, async () => {
      const before_ = await w.running('web');
      await w.delete('web', grace);
      const mirror = await w.until('web', 'another', (m) => m.metadata?.uid !== before_.metadata?.uid && isReady(m));
      assertValid(mirror, await w.get<Node>(paths.node(nodeName)));
      assert.deepEqual(mirror.status?.containerStatuses, before_.status?.containerStatuses);
      assert.equal(mirror.status?.startTime, before_.status?.startTime);
    });
  }

  it('S-314, C-097: an edited label stays and changes nothing; S-334: an edited status is put right', async () => {
    const url = paths.pod('default', `web-${nodeName}`);
    const contentType = 'application/strategic-merge-patch+json';
    await w.env.admin.request({ method: 'PATCH', path: url, body: { metadata: { labels: { mine: 'yes' } } }, contentType }, options);
    const body = { status: { phase: 'Failed', podIPs: [{ ip: '203.0.113.9' }] } };
    await w.env.admin.request({ method: 'PATCH', path: `${url}/status`, body, contentType }, options);
    const mirror = await w.until('web', 'put right', (m) => isReady(m) && m.status?.podIPs?.length === 1);
    assert.equal(mirror.metadata?.labels?.['mine'], 'yes');
  });

  it('C-465: kubectl logs, exec, attach, cp, port-forward and describe work through the API server', async () => {
    const pod = `web-${nodeName}`;
    const ok = async (...args: readonly string[]): Promise<string> => {
      const { code, out, err } = await w.kubectl.run(args);
      assert.equal(code, 0, `kubectl ${args.join(' ')}: ${err}`);
      return out;
    };
    assert.equal(await ok('logs', pod), 'other\n');
    assert.match(await ok('logs', pod, '--timestamps', '--tail=1'), /^\d{4}-.*Z other\n$/);
    assert.equal(await ok('exec', pod, '--', 'echo', 'from inside'), 'from inside\n');
    const failed = await w.kubectl.run(['exec', pod, '--', 'sh', '-c', 'exit 7']);
    assert.equal(failed.code, 7);
    const piped = await w.kubectl.run(['exec', '-i', pod, '--', 'cat'], { input: 'through the cluster' });
    assert.equal(piped.out, 'through the cluster', piped.err);
    const local = path.join(w.agent.dir, 'copied');
    writeFileSync(local, 'contents');
    await ok('cp', local, `${pod}:/tmp/copied`);
    assert.equal(await ok('exec', pod, '--', 'cat', '/tmp/copied'), 'contents');
    await ok('cp', `${pod}:/tmp/copied`, `${local}.back`);
    assert.equal(readFileSync(`${local}.back`, 'utf8'), 'contents');
    const description = await ok('describe', 'pod', pod);
    assert.match(description, /Controlled By: +Node\/edge1/);
    assert.match(description, /Started .*kubelet +spec\.containers\{c\}: Container started/);
    assert.match(await ok('get', 'pods', '-o', 'wide'), new RegExp(`${pod} +1/1 +Running +0 .* ${nodeName} `));
    assert.match(await ok('get', 'nodes'), new RegExp(`${nodeName} +Ready `));
    assert.match(await ok('describe', 'node', nodeName), new RegExp(`default +${pod} `));
    // What a metrics server asks for kubectl top.
    assert.match(
      await ok('get', '--raw', `/api/v1/nodes/${nodeName}/proxy/metrics/resource`),
      /pod_memory_working_set_bytes\{.*pod="web-edge1"/,
    );
    assert.match(await ok('get', '--raw', `/api/v1/nodes/${nodeName}/proxy/stats/summary`), /"nodeName": "edge1"/);
    assert.equal(await ok('get', '--raw', `/api/v1/nodes/${nodeName}/proxy/healthz`), 'ok');
  });

  it('kubectl attach and port-forward', async () => {
    w.agent.putPod('cat', sleeper('cat', { stdin: true }));
    w.agent.putPod('serve', sleeper('mkdir /www; echo served > /www/index.html; httpd -f -p 8080 -h /www'));
    await w.running('cat');
    await w.running('serve');
    const attached = w.kubectl.start(['attach', '-i', `cat-${nodeName}`]);
    let said = '';
    attached.stdout?.on('data', (data: Buffer) => {
      said += data.toString();
    });
    attached.stdin?.write('attached\n');
    await eventually(w.agent, 'attach echoes', () => (said.includes('attached') ? true : undefined));
    attached.kill('SIGKILL');
    const port = await freePort();
    const forward = w.kubectl.start(['port-forward', `pod/serve-${nodeName}`, `${port}:8080`]);
    const body = await eventually(w.agent, 'port-forward serves', async () => {
      const response = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } });
      return await response.text();
    });
    forward.kill('SIGKILL');
    assert.equal(body, 'served\n');
    w.agent.remove('cat.json');
    w.agent.remove('serve.json');
    await w.gone('cat');
    await w.gone('serve');
  });

  it('H-300b, H-301a … H-301d, H-311, C-467: the kubelet port asks the cluster about tokens and rights', async () => {
    const node = await w.get<Node>(paths.node(nodeName));
    const address = node?.status?.addresses?.find((a) => a.type === 'InternalIP')?.address ?? '';
    const url = `https://${address}:${node?.status?.daemonEndpoints?.kubeletEndpoint?.Port}/metrics/resource`;
    const post = (to: string, body: object): Promise<unknown> => w.env.admin.request({ method: 'POST', path: to, body }, options);
    await post('/api/v1/namespaces/default/serviceaccounts', serviceAccount('scraper'));
    const { status } = (await post('/api/v1/namespaces/default/serviceaccounts/scraper/token', {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: {},
    })) as { readonly status: { readonly token: string } };
    const ask = async (token: string): Promise<string> =>
      (await runCurl(['-sk', '-o', '/dev/null', '-w', '%{http_code}', '-H', `Authorization: Bearer ${token}`, url])).trim();
    assert.equal(await ask('nonsense'), '401');
    assert.equal(await ask(status.token), '403');
    await post('/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name: 'scraper' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'system:kubelet-api-admin' },
      subjects: [{ kind: 'ServiceAccount', name: 'scraper', namespace: 'default' }],
    });
    const end = systemClock.now() + 60_000;
    for (;;) {
      const code = await ask(status.token);
      if (code === '200') break;
      assert.equal(code, '403');
      assert.ok(systemClock.now() < end);
      await systemClock.sleep(1000, options.signal);
    }
  });

  it('S-401, S-402: repeats of an Event are counted', async () => {
    w.agent.putPod('crash', { ...sleeper('exit 3'), restartPolicy: 'Always' });
    const event = await eventually(w.agent, 'a counted Event', async () => {
      const { items } = (await w.get<{ readonly items: readonly Event[] }>(paths.events('default'))) ?? { items: [] };
      return items.find((e) => e.involvedObject.name === `crash-${nodeName}` && e.reason === 'Started' && (e.count ?? 0) > 1);
    });
    const mirror = await w.mirror('crash');
    assert.equal(event.involvedObject.uid, mirror?.metadata?.annotations?.['kubernetes.io/config.mirror'], 'S-330');
    assert.deepEqual(event.source, { component: 'kubelet', host: nodeName });
    const { code, out } = await w.agent.cli('doctor');
    assert.equal(code, 1);
    assert.match(out, new RegExp(`error {4}pods\\n +default/crash-${nodeName}\\[c\\] {2}CrashLoopBackOff`));
    assert.match(out, /ok {7}cluster/);
    w.agent.remove('crash.json');
    await w.gone('crash');
  });

  it('C-096: without its namespace a Pod runs unseen, doctor says so, and the mirror appears with the namespace', async () => {
    w.agent.putPod('apart', sleeper(), { namespace: 'apart' });
    await eventually(w.agent, 'it runs', async () => {
      const { items } = (await w.agent.client.json('/api/v1/pods', options)) as { readonly items: readonly Pod[] };
      return items.some((pod) => pod.metadata?.namespace === 'apart' && isReady(pod)) ? true : undefined;
    });
    await eventually(w.agent, 'doctor says it', async () => {
      const { out } = await w.agent.cli('doctor');
      return /mirror of apart\/apart-edge1 {2}namespace-missing/.test(out) && out.includes('create the namespace') ? true : undefined;
    });
    const body = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'apart' } };
    await w.env.admin.request({ method: 'POST', path: '/api/v1/namespaces', body }, options);
    const end = systemClock.now() + 90_000;
    while ((await w.mirror('apart', 'apart')) === undefined) {
      assert.ok(systemClock.now() < end);
      await systemClock.sleep(250, options.signal);
    }
    w.agent.remove('apart.json');
  });

  it('C-063: a killed agent finds its mirror again; C-041: an orphan of the time in between goes', async () => {
    w.agent.putPod('leaves', sleeper());
    await w.running('leaves');
    const before_ = await w.running('web');
    await w.agent.end('SIGKILL');
    w.agent.remove('leaves.json');
    await w.agent.start();
    await w.gone('leaves');
    const mirror = await w.running('web');
    assert.equal(mirror.metadata?.uid, before_.metadata?.uid);
    assert.deepEqual(mirror.status, before_.status);
  });

  it('C-094: while the API server is away manifests come, change and go; when it returns the mirrors converge', async () => {
    w.agent.putPod('goes', sleeper());
    await w.running('goes');
    await w.env.stopServer();
    w.agent.remove('goes.json');
    w.agent.putPod('comes', sleeper());
    w.agent.putPod('web', sleeper('echo third; sleep 1000'));
    await w.agent.ready('comes');
    await w.agent.ready('web', (pod) => pod.spec?.containers[0]?.command?.[2] === 'echo third; sleep 1000');
    await w.agent.gone('goes');
    await eventually(w.agent, 'doctor says it', async () => {
      const { code, out } = await w.agent.cli('doctor');
      return code === 1 && /error {4}cluster\n +server {2}unreachable/.test(out) ? true : undefined;
    });
    await w.env.startServer();
    const end = systemClock.now() + 60_000;
    while ((await w.mirror('goes')) !== undefined || (await w.mirror('comes')) === undefined) {
      assert.ok(systemClock.now() < end);
      await systemClock.sleep(250, options.signal);
    }
    await w.until('web', 'the third', (m) => isReady(m) && m.spec?.containers[0]?.command?.[2] === 'echo third; sleep 1000');
    await eventually(w.agent, 'doctor is content with the cluster', async () => {
      const { out } = await w.agent.cli('doctor');
      return /ok {7}cluster/.test(out) ? true : undefined;
    });
  });

  it('C-064, C-066: 300 rewrites 100 ms apart while the first one ends: the last one wins, its mirror is the only one', async () => {
    const stubborn = sleeper('trap "" TERM; while true; do sleep 1; done');
    w.agent.putPod('burst', { ...stubborn, terminationGracePeriodSeconds: 20 });
    const first = await w.running('burst');
    const seen = new Set<string>();
    const began = systemClock.now();
    for (let i = 0; i < 300; i++) {
      w.agent.putPod('burst', { ...sleeper(), containers: [{ name: 'c', image: `image-${i}` }] });
      const mirror = await w.mirror('burst');
      seen.add(mirror?.metadata?.uid ?? '');
      if (systemClock.now() - began < 19_000) assert.equal(mirror?.metadata?.uid, first.metadata?.uid, 'C-065');
      await systemClock.sleep(100, options.signal);
    }
    w.agent.putPod('burst', sleeper('echo last; sleep 1000'));
    const last = await w.until('burst', 'the last', (m) => isReady(m) && m.spec?.containers[0]?.command?.[2] === 'echo last; sleep 1000');
    assertValid(last, await w.get<Node>(paths.node(nodeName)));
    const { items } = (await w.get<{ readonly items: readonly Pod[] }>(paths.pods)) ?? { items: [] };
    assert.equal(items.filter((pod) => pod.metadata?.name === `burst-${nodeName}`).length, 1);
    w.agent.remove('burst.json');
  });

  // A file that is away for less than the agent needs to look was never away: a kubelet would restart the Pod (D1).
  it('C-057: removed, and put back with the same content while it ends, the Pod runs again and has one mirror', async () => {
    const spec = { ...sleeper('trap "" TERM; while true; do sleep 1; done'), terminationGracePeriodSeconds: 3 };
    w.agent.putPod('back', spec);
    const first = await w.running('back');
    const startedAt = (pod: Pod): string | undefined => pod.status?.containerStatuses?.[0]?.state?.running?.startedAt;
    w.agent.remove('back.json');
    await w.agent.until('back', 'ending', (pod) => pod.metadata?.deletionTimestamp !== undefined);
    w.agent.putPod('back', spec);
    const restarts = (pod: Pod): number | undefined => pod.status?.containerStatuses?.[0]?.restartCount;
    const mirror = await w.until('back', 'restarted', (m) => isReady(m) && startedAt(m) !== startedAt(first));
    assert.equal(restarts(mirror), 1);
    assertValid(mirror, await w.get<Node>(paths.node(nodeName)));
    assert.equal(mirror.metadata?.annotations?.['kubernetes.io/config.hash'], first.metadata?.annotations?.['kubernetes.io/config.hash']);
    // In one breath: nobody sees the folder without it.
    w.agent.remove('back.json');
    w.agent.putPod('back', spec);
    await w.until('back', 'restarted again', (m) => isReady(m) && restarts(m) === 2);
    w.agent.remove('back.json');
    await w.gone('back');
  });

  it('C-065: replaced during its grace the mirror stays as it is until the old Pod has ended', async () => {
    const stubborn = sleeper('trap "" TERM; while true; do sleep 1; done');
    w.agent.putPod('slow', { ...stubborn, terminationGracePeriodSeconds: 6 });
    const first = await w.running('slow');
    const began = systemClock.now();
    w.agent.putPod('slow', sleeper());
    while (systemClock.now() < began + 5_000) {
      const mirror = await w.mirror('slow');
      assert.equal(mirror?.metadata?.uid, first.metadata?.uid);
      assert.equal(mirror?.status?.phase, 'Running');
      await systemClock.sleep(200, options.signal);
    }
    const second = await w.until('slow', 'another', (m) => isReady(m) && m.metadata?.uid !== first.metadata?.uid);
    assert.equal(second.spec?.containers[0]?.command?.[2], 'echo hello; sleep 1000');
    w.agent.remove('slow.json');
    await w.gone('slow');
  });

  it('C-056: a removed manifest takes its mirror with it', async () => {
    w.agent.remove('web.json');
    await w.gone('web');
  });
});

function runCurl(args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile('curl', [...args], { cwd: checkout, timeout: 20_000 }, (error, out) => (error === null ? resolve(out) : reject(error)));
  });
}
