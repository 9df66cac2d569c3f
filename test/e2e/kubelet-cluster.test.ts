// The kubelet's port of the whole agent, behind a real kube-apiserver (KUBEBUILDER_ASSETS): streams by every protocol a
// kubectl may choose, and who may read what by rights of the cluster.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { type RequestOptions, request } from 'node:https';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parse } from 'yaml';
import type { Node } from '../../src/api/gen/kubernetes.ts';
import { paths } from '../../src/mirror/kube-api.ts';
import { type Cluster, joinCluster, serviceAccount, sleeper, whyNoCluster } from '../support/cluster.ts';
import { whyNoContainerd } from '../support/containerd.ts';
import { Kubectl, type KubectlVersion, kubectlVersions, whyNoKubectl } from '../support/kubectl.ts';
import { eventually, freePort, nodeName, options } from '../support/test-agent.ts';

const missing = whyNoContainerd() ?? whyNoCluster();
if (missing !== undefined) console.error(`SKIPPED: ${missing}`);

const pod = `web-${nodeName}`;
/** What a kubectl does by itself, and what older ones do. */
const protocols = {
  WebSocket: {},
  SPDY: { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'false', KUBECTL_PORT_FORWARD_WEBSOCKETS: 'false' },
} as const;

describe("the kubelet's port behind a real API server", { skip: missing, timeout: 900_000 }, () => {
  let w: Cluster;
  before(async () => {
    w = await joinCluster({ kubelet: { authorization: { mode: 'Webhook' } } });
    await w.agent.start();
    const serve = 'mkdir -p /www; echo served > /www/index.html; httpd -p 8080 -h /www; echo hello; exec cat';
    w.agent.putPod('web', sleeper(serve, { stdin: true }));
    await w.running('web');
  });
  after(async () => {
    await w?.agent.destroy();
    await w?.env.close();
  });

  async function streams(version: KubectlVersion, protocol: string, env: Readonly<Record<string, string>>): Promise<void> {
    const kubectl = new Kubectl(w.kubectl.env['KUBECONFIG'] ?? '', version);
    const run = (args: readonly string[], input = '') => kubectl.run(args, { env, input, timeoutMs: 120_000 });
    const ok = async (...args: readonly string[]): Promise<string> => {
      const { code, out, err } = await run(args);
      assert.equal(code, 0, `kubectl ${args.join(' ')}: ${err}`);
      return out;
    };
    assert.equal((await ok('logs', pod)).split('\n')[0], 'hello');
    const both = await run(['exec', pod, '--', 'sh', '-c', 'echo out; echo error >&2; exit 7']);
    assert.deepEqual([both.code, both.out], [7, 'out\n']);
    assert.match(both.err, /^error\n/);
    // Its end arrives as well: cat would wait for more.
    const text = 'x'.repeat(300_000);
    assert.equal((await run(['exec', '-i', pod, '--', 'cat'], text)).out, text);
    const local = path.join(w.agent.dir, `copied-${version}-${protocol.replaceAll(/\W/g, '')}`);
    writeFileSync(local, text);
    await ok('cp', local, `${pod}:/tmp/copied`);
    await ok('cp', `${pod}:/tmp/copied`, `${local}.back`);
    assert.equal(readFileSync(`${local}.back`, 'utf8'), text);

    const attached = kubectl.start(['attach', '-i', pod], env);
    let said = '';
    attached.stdout?.on('data', (data: Buffer) => {
      said += data.toString();
    });
    attached.stdin?.write(`attached by ${protocol}\n`);
    await eventually(w.agent, 'attach echoes', () => said.includes(`attached by ${protocol}`) || undefined);
    attached.kill('SIGKILL');
    await once(attached, 'exit');

    const port = await freePort();
    const forward = kubectl.start(['port-forward', `pod/${pod}`, `${port}:8080`], env);
    try {
      const answer = await eventually(w.agent, 'port-forward serves', async () => {
        const response = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } }).catch(() => undefined);
        return await response?.text();
      });
      assert.equal(answer, 'served\n');
    } finally {
      forward.kill('SIGKILL');
    }
  }

  for (const version of kubectlVersions) {
    for (const [protocol, env] of Object.entries(protocols)) {
      it(`C-465: kubectl ${version} by ${protocol}: logs, exec, cp, attach, port-forward`, { skip: whyNoKubectl(version) }, () =>
        streams(version, protocol, env),
      );
    }
  }

  it('H-313, H-365, H-373, H-387, H-403, H-412: what the port serves can be read through the API server', async () => {
    const expected: readonly (readonly [endpoint: string, text: RegExp])[] = [
      ['pods', new RegExp(`"name":"${pod}"`)],
      ['runningpods/', new RegExp(`"name":"${pod}"`)],
      ['healthz', /^ok$/],
      ['configz', /"kubeletconfig":\{"kind":"KubeletConfiguration"/],
      ['metrics', /^kubelet_running_pods \d+$/m],
      ['metrics', /^kubelet_mirror_pods 1$/m],
      ['metrics', /^kubelet_pod_status_sync_duration_seconds_count [1-9]/m],
      ['metrics', /^kubelet_node_startup_registration_duration_seconds (?!0$)[\d.]+$/m],
      ['metrics', /^kubelet_node_startup_duration_seconds [1-9][\d.]*$/m],
      ['metrics', /^kubelet_http_requests_total\{long_running="true",method="POST",path="exec",server_type="readwrite"\} [1-9]/m],
      ['metrics', /^rest_client_requests_total\{code="201",.*method="POST"\} [1-9]/m],
      ['metrics/cadvisor', new RegExp(`^container_oom_events_total\\{container="c",.*pod="${pod}"\\} 0 \\d+$`, 'm')],
      ['metrics/probes', /^process_start_time_seconds /m],
      ['metrics/resource', new RegExp(`^pod_memory_working_set_bytes\\{.*pod="${pod}"`, 'm')],
      ['stats/summary', /"nodeName": "edge1"/],
      [`containerLogs/default/${pod}/c`, /^hello\n/],
    ];
    for (const [endpoint, text] of expected) {
      const { code, out, err } = await w.kubectl.run(['get', '--raw', `/api/v1/nodes/${nodeName}/proxy/${endpoint}`]);
      assert.equal(code, 0, `${endpoint}: ${err}`);
      assert.match(out, text, endpoint);
    }
  });

  const readers: Readonly<Record<string, readonly (readonly [method: string, endpoint: string])[]>> = {
    pods: [
      ['GET', '/pods'],
      ['GET', '/runningpods/'],
    ],
    healthz: [['GET', '/healthz']],
    configz: [
      ['GET', '/configz'],
      ['GET', '/flagz'],
    ],
    stats: [['GET', '/stats/summary']],
    metrics: [
      ['GET', '/metrics'],
      ['GET', '/metrics/resource'],
      ['GET', '/metrics/cadvisor'],
      ['GET', '/metrics/probes'],
    ],
    log: [['GET', '/logs/']],
    statusz: [['GET', '/statusz']],
    checkpoint: [['POST', `/checkpoint/default/${pod}/c`]],
    proxy: [
      ['GET', '/pods'],
      ['GET', '/runningpods/'],
      ['GET', '/healthz'],
      ['GET', '/configz'],
      ['GET', `/containerLogs/default/${pod}/c`],
      ['POST', `/run/default/${pod}/c?cmd=id`],
      ['POST', `/exec/default/${pod}/c?command=id&output=1`],
    ],
  };

  async function askPort(
    method: string,
    endpoint: string,
    more: RequestOptions,
  ): Promise<{ readonly code: number; readonly text: string }> {
    const node = await w.get<Node>(paths.node(nodeName));
    const host = node?.status?.addresses?.find((a) => a.type === 'InternalIP')?.address ?? '';
    const port = node?.status?.daemonEndpoints?.kubeletEndpoint?.Port ?? 0;
    return await new Promise((resolve, reject) => {
      request({ host, port, method, path: endpoint, rejectUnauthorized: false, agent: false, ...more }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (data: string) => {
          text += data;
        });
        response.on('end', () => resolve({ code: response.statusCode ?? 0, text }));
      })
        .on('error', reject)
        .end();
    });
  }

  it('H-300a, H-301d, H-303: the cluster judges the name and the groups of a certificate', async () => {
    for (const [commonName, organization, code] of [
      ['bob', 'system:masters', 200],
      ['bob', 'team', 403],
    ] as const) {
      const { users } = parse(readFileSync(await w.env.kubeconfig({ commonName, organization }), 'utf8'));
      const pem = (name: string): Buffer => Buffer.from(users[0].user[`${name}-data`], 'base64');
      const answer = await askPort('GET', '/pods', { cert: pem('client-certificate'), key: pem('client-key') });
      assert.equal(answer.code, code, answer.text.slice(0, 200));
      if (code === 403) assert.equal(answer.text, 'Forbidden (user=bob, verb=get, resource=nodes, subresource(s)=[pods proxy])');
    }
    assert.deepEqual(await askPort('GET', '/pods', {}), { code: 401, text: 'Unauthorized' });
  });

  it('H-300b, H-301a … H-301d, C-467: a right to one part of the node opens that part and nothing else', async () => {
    const post = (to: string, body: object): Promise<unknown> => w.env.admin.request({ method: 'POST', path: to, body }, options);
    const rbac = '/apis/rbac.authorization.k8s.io/v1';
    const ask = (method: string, endpoint: string, token: string) =>
      askPort(method, endpoint, { headers: { authorization: `Bearer ${token}` } });
    const all = Object.values(readers).flat();
    for (const [subresource, own] of Object.entries(readers)) {
      const name = `reads-${subresource}`;
      await post('/api/v1/namespaces/default/serviceaccounts', serviceAccount(name));
      const rules = [{ apiGroups: [''], resources: [`nodes/${subresource}`], verbs: ['get', 'create'] }];
      await post(`${rbac}/clusterroles`, { metadata: { name }, rules });
      await post(`${rbac}/clusterrolebindings`, {
        metadata: { name },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name },
        subjects: [{ kind: 'ServiceAccount', name, namespace: 'default' }],
      });
      const { status } = (await post(`/api/v1/namespaces/default/serviceaccounts/${name}/token`, { spec: {} })) as {
        readonly status: { readonly token: string };
      };
      // The rights have reached the authorizer once one of them counts.
      const [method, endpoint] = own[0] ?? ['', ''];
      await eventually(w.agent, `${name} may`, async () => {
        const review = (await post('/apis/authorization.k8s.io/v1/subjectaccessreviews', {
          spec: {
            user: `system:serviceaccount:default:${name}`,
            groups: ['system:serviceaccounts', 'system:authenticated'],
            resourceAttributes: { verb: method === 'POST' ? 'create' : 'get', resource: 'nodes', subresource, name: nodeName },
          },
        })) as { readonly status: { readonly allowed: boolean } };
        return review.status.allowed || undefined;
      });
      assert.notEqual((await ask(method, endpoint, status.token)).code, 403, `${name}: ${endpoint}`);
      const may = new Set(own.map(String));
      for (const [verb, target] of all) {
        const { code, text } = await ask(verb, target, status.token);
        assert.equal(code === 403, !may.has(String([verb, target])), `${name}: ${verb} ${target}: ${code} ${text.slice(0, 100)}`);
        if (code === 403)
          assert.match(text, new RegExp(`^Forbidden \\(user=system:serviceaccount:default:${name}, verb=(get|create), resource=nodes, `));
      }
    }
    assert.deepEqual(await ask('GET', '/pods', 'nonsense'), { code: 401, text: 'Unauthorized' });
    assert.deepEqual(await ask('GET', '/nothing', 'nonsense'), { code: 401, text: 'Unauthorized' });
  });

  it('H-242: where the Node declares it, WebSockets come through the API server unchanged, and work as well', async () => {
    const counted = async (): Promise<readonly number[]> => {
      const { out } = await w.kubectl.run(['get', '--raw', `/api/v1/nodes/${nodeName}/proxy/metrics`]);
      return ['exec', 'attach', 'portforward'].map((subresource) =>
        Number(
          new RegExp(`^kubelet_websocket_streaming_requests_total\\{subresource="${subresource}"\\} (\\d+)$`, 'm').exec(out)?.[1] ?? 0,
        ),
      );
    };
    assert.deepEqual(await counted(), [0, 0, 0], 'pinpod does not declare it: the API server translated');
    const body = { status: { declaredFeatures: ['ExtendWebSocketsToKubelet'] } };
    const contentType = 'application/strategic-merge-patch+json';
    await w.env.admin.request({ method: 'PATCH', path: `${paths.node(nodeName)}/status`, body, contentType }, options);
    await eventually(w.agent, 'the API server knows', async () => {
      assert.equal((await w.kubectl.run(['exec', pod, '--', 'true'])).code, 0);
      return ((await counted())[0] ?? 0) > 0 || undefined;
    });
    await streams('1.36', 'WebSocket, unchanged', protocols.WebSocket);
    const [execs = 0, attaches = 0, forwards = 0] = await counted();
    assert.ok(execs >= 4 && attaches >= 1 && forwards >= 1, String([execs, attaches, forwards]));
  });
});
