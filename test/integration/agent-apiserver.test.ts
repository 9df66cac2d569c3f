// The whole agent on the fake runtime at a real kube-apiserver and etcd: how it joins, and what outages and users do to it.
// Needs KUBEBUILDER_ASSETS.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Pod as ApiPod, Node } from '../../src/api/gen/kubernetes.ts';
import type { DoctorReport } from '../../src/api/trouble.ts';
import { isApiError, paths } from '../../src/mirror/kube-api.ts';
import { systemClock } from '../../src/std/clock.ts';
import { type Envtest, envtestMissing, read, startEnvtest, untilObject } from '../support/envtest.ts';
import { FakeAgent } from '../support/fake-agent.ts';
import { Kubectl, whyNoKubectl } from '../support/kubectl.ts';

const missing = envtestMissing() ?? whyNoKubectl();
if (missing !== undefined) console.error(`SKIPPED: ${missing}`);
const options = missing === undefined ? { timeout: 110_000 } : { skip: missing };

const { signal } = new AbortController();

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
    const first = await untilObject(env, pod, (p) => p?.status?.phase === 'Running');
    await env.admin.request({ method: 'DELETE', path: pod }, { signal });
    await untilObject(env, pod, (p) => p !== undefined && p.metadata?.uid !== first?.metadata?.uid && p.status?.phase === 'Running');
    await untilObject(env, `${paths.leases}/by-account`, (lease) => lease !== undefined);
    await untilObject(env, paths.events('default'), (list) => JSON.stringify(list).includes('web-by-account'));
    await rm(path.join(agent.folder, 'web.json'));
    await untilObject(env, pod, (p) => p === undefined);
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
    const mirror = await untilObject(env, paths.pod('default', `web-${name}`), (p) => p?.status?.phase === 'Running');
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
    const again = await untilObject(env, paths.node(name), (n) => {
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
    await untilObject(env, paths.pod('default', `web-${name}`), (p) => p?.status?.phase === 'Running');
    await untilObject(env, `${paths.leases}/${name}`, (lease) => lease !== undefined);
  });

  it('S-297, S-387: a Node that is deleted is not made anew; its mirrors are not either; the Pods run on', async (t) => {
    const name = 'deleted';
    const { agent } = await startAgent(t, name, await env.nodeKubeconfig(name), {});
    agent.put('web.json', manifest('web'));
    const url = paths.pod('default', `web-${name}`);
    await untilObject(env, url, (p) => p?.status?.phase === 'Running');
    await env.admin.request({ method: 'DELETE', path: paths.node(name) }, { signal });
    // As the garbage collector of kube-controller-manager does it.
    await env.admin.request({ method: 'DELETE', path: url, body: { gracePeriodSeconds: 0 } }, { signal });
    await delay(12_000);
    assert.equal(await node(name), undefined);
    assert.equal(await read(env, url), undefined);
    const { items } = (await agent.client.json('/api/v1/pods', { signal })) as { readonly items: readonly ApiPod[] };
    assert.equal(items[0]?.status?.phase, 'Running');
  });

  it('whatever manifests, users and outages do, what is shown in the end is what is wanted', async (t) => {
    const name = 'restless';
    const { agent, faults } = await startAgent(t, name, await env.nodeKubeconfig(name), {});
    const wanted = new Map<string, string>();
    let state = 1;
    const below = (n: number): number => {
      state = (state * 48_271) % 2_147_483_647;
      return state % n;
    };
    const step = async (i: number): Promise<void> => {
      const pod = `p${below(12)}`;
      const what = below(10);
      if (what < 6) {
        wanted.set(pod, `registry/c:${i}`);
        const spec = { terminationGracePeriodSeconds: 1, containers: [{ name: 'c', image: `registry/c:${i}` }] };
        agent.put(`${pod}.json`, JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name: pod }, spec }));
      } else if (what < 8) {
        wanted.delete(pod);
        await rm(path.join(agent.folder, `${pod}.json`), { force: true });
      } else {
        const url = paths.pod('default', `${pod}-${name}`);
        const body = { gracePeriodSeconds: below(2) * 30 };
        await env.admin.request({ method: 'DELETE', path: url, body }, { signal }).catch((error: unknown) => {
          if (!isApiError(error)) throw error;
        });
      }
      await delay(40);
    };
    for (let i = 0; i < 160; i++) {
      if (i === 60) await env.stopServer();
      if (i === 110) await env.startServer();
      await step(i);
    }
    const shown = async (): Promise<string> => {
      const { items } = (await env.admin.request({ method: 'GET', path: paths.pods }, { signal })) as { readonly items: readonly ApiPod[] };
      const own = items.filter((pod) => pod.spec?.nodeName === name && pod.status?.phase === 'Running');
      return String(own.map((pod) => `${pod.metadata?.name}=${pod.spec?.containers[0]?.image}`).sort());
    };
    const expected = String([...wanted].map(([pod, image]) => `${pod}-${name}=${image}`).sort());
    for (let i = 0; (await shown()) !== expected; i++) {
      if (i > 600) assert.equal(await shown(), expected);
      await delay(100);
    }
    for (let i = 0; (await faults()).length > 0; i++) {
      if (i > 600) assert.deepEqual(await faults(), []);
      await delay(100);
    }
  });
});
