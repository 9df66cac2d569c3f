// The whole agent joining a real kube-apiserver (KUBEBUILDER_ASSETS) with nothing but a bootstrap credential: client
// certificate, its renewal, serving certificate. The parts follow each other on one agent.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import type { Node } from '../../src/api/gen/kubernetes.ts';
import { paths } from '../../src/mirror/kube-api.ts';
import { type Cluster, configureAgent, joinCluster, sleeper, whyNoCluster } from '../support/cluster.ts';
import { whyNoContainerd } from '../support/containerd.ts';
import { checkout, eventually, nodeName } from '../support/test-agent.ts';

const missing = whyNoContainerd() ?? whyNoCluster();
if (missing !== undefined) console.error(`SKIPPED: ${missing}`);

describe('the agent joining with a bootstrap credential', { skip: missing, timeout: 600_000 }, () => {
  let w: Cluster;
  const hour = 3_600_000;
  interface SigningRequest {
    readonly metadata: { readonly name: string };
    readonly spec: {
      readonly username: string;
      readonly signerName: string;
      readonly usages: readonly string[];
      readonly groups: readonly string[];
    };
    readonly status?: { readonly certificate?: string };
  }
  const waitingRequest = (signer: string): Promise<SigningRequest> =>
    eventually(w.agent, `a request for ${signer}`, async () => {
      const { items } = (await w.get<{ readonly items: readonly SigningRequest[] }>(paths.csrs)) ?? { items: [] };
      return items.find((r) => r.spec.signerName === `kubernetes.io/${signer}` && r.status?.certificate === undefined);
    });
  const currentCertificate = (): string => readFileSync(path.join(w.agent.rootDir, 'pki', 'kubelet-client-current.pem'), 'utf8');

  before(async () => {
    const kubeconfig = '/nowhere';
    w = await joinCluster({ kubelet: { serverTLSBootstrap: true, rotateCertificates: true }, agent: { cluster: { kubeconfig } } });
    const bootstrap = await w.env.kubeconfig({ commonName: 'system:bootstrap:abcdef', organization: 'system:bootstrappers' });
    configureAgent(w.agent, {
      cluster: { kubeconfig: path.join(w.agent.dir, 'kubelet.conf'), bootstrapKubeconfig: bootstrap },
    });
    const applied = await w.kubectl.run(['apply', '-f', path.join(checkout, 'deploy', 'rbac.yaml')]);
    assert.equal(applied.code, 0, applied.err);
  });
  after(async () => {
    await w?.agent.destroy();
    await w?.env.close();
  });

  it('C-093: starts Pods while the API server is absent, and asks for a certificate when it comes', async () => {
    await w.env.stopServer();
    w.agent.putPod('early', sleeper());
    await w.agent.start();
    await w.agent.ready('early');
    await w.env.startServer();
    const request = await waitingRequest('kube-apiserver-client-kubelet');
    assert.equal(request.spec.username, 'system:bootstrap:abcdef');
    assert.deepEqual(request.spec.usages, ['digital signature', 'client auth']);
    await eventually(w.agent, 'doctor says what is waited for', async () => {
      const { out } = await w.agent.cli('doctor');
      return out.includes(`certificate request ${request.metadata.name} waits for approval`) ? true : undefined;
    });
    // Nearly over: the next one is asked for at once.
    await w.env.sign(request.metadata.name, { fromMs: -hour, toMs: hour / 20 });
    await w.running('early');
    const kubeconfig = JSON.parse(readFileSync(path.join(w.agent.dir, 'kubelet.conf'), 'utf8')) as { readonly users: readonly object[] };
    assert.match(JSON.stringify(kubeconfig.users), /kubelet-client-current\.pem/);
  });

  it('H-307: the certificate is renewed with the node’s own identity, without a gap', async () => {
    const old = currentCertificate();
    const request = await waitingRequest('kube-apiserver-client-kubelet');
    assert.equal(request.spec.username, `system:node:${nodeName}`);
    assert.ok(request.spec.groups.includes('system:nodes'));
    await w.env.sign(request.metadata.name, { fromMs: -1000, toMs: 24 * hour });
    await eventually(w.agent, 'the new certificate is in place', () => (currentCertificate() === old ? undefined : true));
    w.agent.putPod('late', sleeper());
    await w.running('late');
  });

  it('H-307: the serving certificate is asked for with the Node’s addresses and used once it is signed', async () => {
    const node = await w.get<Node>(paths.node(nodeName));
    const port = node?.status?.daemonEndpoints?.kubeletEndpoint?.Port ?? 0;
    const issuer = (): Promise<string> =>
      new Promise((resolve, reject) => {
        const socket = tlsConnect({ host: '127.0.0.1', port, rejectUnauthorized: false }, () => {
          const { issuer: found } = socket.getPeerCertificate();
          socket.destroy();
          resolve(String(found.CN));
        });
        socket.on('error', reject);
      });
    assert.notEqual(await issuer(), 'envtest-ca');
    const request = await waitingRequest('kubelet-serving');
    assert.equal(request.spec.username, `system:node:${nodeName}`);
    assert.deepEqual(request.spec.usages, ['digital signature', 'server auth']);
    await w.env.sign(request.metadata.name, { fromMs: -1000, toMs: 24 * hour });
    await eventually(w.agent, 'the signed certificate is served', async () => ((await issuer()) === 'envtest-ca' ? true : undefined));
    const { code, out, err } = await w.kubectl.run(['exec', `late-${nodeName}`, '--', 'echo', 'signed']);
    assert.equal(code, 0, err);
    assert.equal(out, 'signed\n');
  });
});
