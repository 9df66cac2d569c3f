// The kubelet's own ports through the whole agent on real containerd: what is served where, to whom, and what it says.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { createServer } from 'node:net';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import WebSocket from 'ws';
import { issueCertificate } from '../../src/server/issue-certificate.ts';
import { offlineImages, whyNoContainerd } from '../support/containerd.ts';
import { promtool, whyNoPromtool } from '../support/promtool.ts';
import { eventually, freePort, nodeName, TestAgent, uidOf } from '../support/test-agent.ts';

interface Answer {
  readonly code: number;
  readonly text: string;
}

interface Pair {
  readonly certificate: string;
  readonly key: string;
}

const shell = (script: string) => ({ image: offlineImages.busybox, imagePullPolicy: 'Never', command: ['sh', '-c', script] });
const hour = 3_600_000;
const days = { notBefore: Date.now() - hour, notAfter: Date.now() + hour };

const issue = (
  kind: 'ca' | 'client' | 'server',
  commonName: string,
  issuer: Pair | undefined,
  valid: { readonly notBefore: number; readonly notAfter: number } = days,
): Promise<Pair> => issueCertificate({ ...valid, names: [], algorithm: 'ecdsa', kind, commonName, organization: undefined, issuer });

describe("the kubelet's ports of the whole agent", { skip: whyNoContainerd() }, () => {
  let agent: TestAgent;
  let main = 0;
  let readOnly = 0;
  let healthz = 0;
  const pairs = new Map<string, Pair | undefined>();

  function call(port: number, method: string, target: string, who?: Pair, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const options: RequestOptions = { host: '127.0.0.1', port, method, path: target, agent: false, rejectUnauthorized: false, headers };
      const tls = who === undefined ? {} : { cert: who.certificate, key: who.key };
      const request = (port === main ? httpsRequest : httpRequest)({ ...options, ...tls }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (data: string) => {
          text += data;
        });
        response.on('end', () => resolve({ code: response.statusCode ?? 0, text }));
      });
      request.on('upgrade', () => reject(new Error('upgraded')));
      request.on('error', reject);
      request.end();
    });
  }

  const get = (target: string): Promise<Answer> => call(main, 'GET', target, pairs.get('a client of the CA'));

  before(async () => {
    [main, readOnly, healthz] = [await freePort(), await freePort(), await freePort()];
    const ca = await issue('ca', 'ca', undefined);
    const other = await issue('ca', 'ca', undefined);
    pairs.set('a client of the CA', await issue('client', 'bob', ca));
    pairs.set('nobody', undefined);
    pairs.set('a client of another CA of the same name', await issue('client', 'bob', other));
    pairs.set('an expired client', await issue('client', 'bob', ca, { notBefore: Date.now() - 2 * hour, notAfter: Date.now() - hour }));
    pairs.set('a server', await issue('server', 'bob', ca));
    agent = new TestAgent({
      kubelet: {
        address: '127.0.0.1',
        port: main,
        readOnlyPort: readOnly,
        healthzPort: healthz,
        authentication: { webhook: { enabled: false }, x509: { clientCAFile: 'ca.crt' }, anonymous: { enabled: false } },
        authorization: { mode: 'AlwaysAllow' },
        serverTLSBootstrap: true,
        runtimeRequestTimeout: '10s',
      },
    });
    await agent.configure();
    writeFileSync(path.join(agent.dir, 'ca.crt'), ca.certificate);
    agent.putPod('web', {
      initContainers: [{ name: 'init', ...shell('echo ready') }],
      containers: [{ name: 'c', ...shell("echo hello; trap 'exit 0' TERM; sleep 100000 & wait") }],
    });
    agent.putPod('crash', { containers: [{ name: 'c', ...shell('exit 3') }] });
    await agent.start();
    await agent.ready('web');
    await eventually(agent, 'the ports are open', async () => ((await get('/healthz')).code === 200 ? true : undefined));
  });

  after(async () => {
    await agent?.destroy();
  });

  it('H-307: serverTLSBootstrap without a cluster is a warning', () => {
    assert.match(agent.output, /warn serverTLSBootstrap: no client provided/);
  });

  it('C-460 C-461: health, where and for whom', async () => {
    assert.deepEqual(await call(healthz, 'GET', '/healthz'), { code: 200, text: 'ok' });
    assert.equal((await call(healthz, 'GET', '/metrics')).code, 404);
    assert.deepEqual(await call(main, 'GET', '/healthz'), { code: 401, text: 'Unauthorized' });
    assert.equal((await get('/healthz?verbose')).text, '[+]ping ok\n[+]log ok\n[+]syncloop ok\nhealthz check passed\n');
  });

  const endpoints: readonly (readonly [method: string, target: string])[] = [
    ...[
      'pods',
      'runningpods/',
      'healthz',
      'metrics',
      'metrics/cadvisor',
      'metrics/resource',
      'metrics/probes',
      'metrics/slis',
      'stats/summary',
    ].map((name) => ['GET', `/${name}`] as const),
    ...['configz', 'statusz', 'flagz', 'logs/', 'containerLogs/default/web-edge1/c', 'nothing', 'debug/pprof/'].map(
      (name) => ['GET', `/${name}`] as const,
    ),
    ['PUT', '/debug/flags/v'],
    ['POST', '/run/default/web-edge1/c?cmd=id'],
    ['POST', '/checkpoint/default/web-edge1/c'],
    ['POST', '/exec/default/web-edge1/c?command=id&output=1'],
    ['POST', '/attach/default/web-edge1/c?output=1'],
    ['POST', '/portForward/default/web-edge1'],
  ];
  for (const who of ['nobody', 'a client of another CA of the same name', 'an expired client', 'a server']) {
    it(`H-300a: ${who} gets 401 from every endpoint, upgrades included`, async () => {
      const pair = pairs.get(who);
      const upgrade = { Connection: 'Upgrade', Upgrade: 'SPDY/3.1', 'X-Stream-Protocol-Version': 'v4.channel.k8s.io' };
      for (const [method, target] of endpoints) {
        assert.equal((await call(main, method, target, pair)).code, 401, `${method} ${target}`);
        assert.equal((await call(main, method, target, pair, upgrade)).code, 401, `${method} ${target}, upgrade`);
      }
      assert.equal((await call(main, 'GET', '/pods', pair, { Authorization: 'Bearer x' })).code, 401);
    });
  }

  it('C-463: Pods, what runs, configuration, usage', async () => {
    const pods = JSON.parse((await get('/pods')).text) as {
      readonly items: readonly {
        readonly metadata: { readonly name: string; readonly uid: string; readonly annotations: Readonly<Record<string, string>> };
      }[];
    };
    const web = pods.items.find(({ metadata }) => metadata.name === 'web-edge1');
    assert.equal(web?.metadata.uid, uidOf(await agent.ready('web')));
    assert.deepEqual(
      [web?.metadata.annotations['kubernetes.io/config.source'], web?.metadata.annotations['kubernetes.io/config.mirror']],
      ['file', undefined],
    );
    assert.match((await get('/runningpods/')).text, /"name":"web-edge1"/);
    const configz = JSON.parse((await get('/configz')).text) as { readonly kubeletconfig: Readonly<Record<string, unknown>> };
    assert.deepEqual([configz.kubeletconfig['port'], configz.kubeletconfig['kind']], [main, 'KubeletConfiguration']);
    const summary = await eventually(agent, 'usage of the container', async () => {
      const body = JSON.parse((await get('/stats/summary')).text) as {
        readonly node: { readonly nodeName: string; readonly memory: object };
        readonly pods: readonly { readonly podRef: { readonly name: string }; readonly containers: readonly { readonly name: string }[] }[];
      };
      return body.pods.some(({ podRef, containers }) => podRef.name === 'web-edge1' && containers.some(({ name }) => name === 'c'))
        ? body
        : undefined;
    });
    assert.equal(summary.node.nodeName, nodeName);
    const resource = await get('/metrics/resource');
    assert.match(resource.text, /^node_cpu_usage_seconds_total [\d.]+ \d{13}$/m);
    assert.match(resource.text, /^container_memory_working_set_bytes\{container="c",namespace="default",pod="web-edge1"\} \d+ \d{13}$/m);
    assert.match((await get('/metrics/cadvisor')).text, /container_memory_working_set_bytes/);
  });

  it('C-464: the read-only port', async () => {
    for (const target of ['/pods', '/metrics', '/stats/summary', '/healthz'])
      assert.equal((await call(readOnly, 'GET', target)).code, 200, target);
    for (const target of ['/containerLogs/default/web-edge1/c', '/exec/default/web-edge1/c', '/runningpods/']) {
      assert.deepEqual(await call(readOnly, 'GET', target), { code: 405, text: 'Debug endpoints are disabled.\n' }, target);
    }
    for (const target of ['/configz', '/statusz', '/flagz', '/checkpoint/default/web-edge1/c'])
      assert.equal((await call(readOnly, 'GET', target)).code, 404, target);
  });

  it('H-276 H-278 H-279a H-279c H-279e H-290: logs, run, checkpoint, verbosity, status', async () => {
    assert.equal((await get('/containerLogs/default/web-edge1/c')).text, 'hello\n');
    const client = pairs.get('a client of the CA');
    assert.equal((await call(main, 'POST', '/run/default/web-edge1/c?cmd=echo%20hi', client)).text, 'hi\n');
    const checkpoint = await call(main, 'POST', '/checkpoint/default/web-edge1/c', client);
    // Where the runtime can, and criu is there, it is made.
    if (checkpoint.code === 200)
      assert.match(checkpoint.text, /^\{"items":\["\/.*\/checkpoints\/checkpoint-web-edge1_default-c-.*\.tar"\]\}$/);
    else
      assert.match(
        checkpoint.text,
        /^checkpointing of default\/web-edge1\/c failed \((the container runtime cannot make checkpoints|.*criu.*)\)$/s,
      );
    assert.match((await get('/statusz')).text, /^kubelet statusz\n[\s\S]*Binary version=v1\./);
    assert.match((await get('/flagz')).text, new RegExp(`\\nport=${main}\\n`));
    assert.equal((await get('/debug/flags/v')).code, 406);
  });

  it('H-201 H-241 H-388: exec as an API server asks for it, over WebSocket; the end of stdin arrives', async () => {
    const { certificate = '', key = '' } = pairs.get('a client of the CA') ?? {};
    const target = `wss://127.0.0.1:${main}/exec/default/web-edge1/c?command=sha256sum&input=1&output=1`;
    const socket = new WebSocket(target, ['v5.channel.k8s.io'], { cert: certificate, key, rejectUnauthorized: false });
    const data = randomBytes(1 << 20);
    let out = '';
    socket.on('message', (message: Buffer) => {
      if (message[0] === 1) out += message.subarray(1).toString();
    });
    await once(socket, 'open');
    socket.send(Buffer.concat([Buffer.of(0), data]));
    socket.send(Buffer.of(255, 0));
    assert.deepEqual((await once(socket, 'close'))[0], 1000);
    assert.equal(out.split(' ')[0], createHash('sha256').update(data).digest('hex'));
    assert.match((await get('/metrics')).text, /^kubelet_websocket_streaming_requests_total\{subresource="exec"\} 1$/m);
  });

  it('C-501 H-350 H-351 H-360 … H-364 H-366 H-368 H-370 … H-372 H-374 … H-376 H-378 H-379 H-381 … H-383 H-385 H-387 H-394 H-396 H-400 H-402 H-406 … H-408 H-410 H-414 H-422: the families of the kubelet, with their labels', async () => {
    const samples = await eventually(agent, 'the crash is counted', async () => {
      const { text } = await get('/metrics');
      return /^kubelet_terminated_containers_total\{.*exit_code="3"/m.test(text) ? text.split('\n') : undefined;
    });
    const expected: readonly RegExp[] = [
      /^kubelet_node_name\{node="edge1"\} 1$/,
      /^kubelet_running_pods [12]$/,
      /^kubelet_running_containers\{container_state="running"\} \d+$/,
      /^kubelet_desired_pods\{static="true"\} 2$/,
      /^kubelet_desired_pods\{static=""\} 0$/,
      /^kubelet_active_pods\{static="true"\} 2$/,
      /^kubelet_working_pods\{config="desired",lifecycle="sync",static="true"\} 2$/,
      /^kubelet_working_pods\{config="runtime_only",lifecycle="terminated",static="unknown"\} 0$/,
      /^kubelet_orphaned_runtime_pods_total 0$/,
      /^kubelet_pod_worker_start_duration_seconds_count 2$/,
      /^kubelet_pod_start_duration_seconds_bucket\{le="0\.5"\} \d+$/,
      /^kubelet_containers_per_pod_count_bucket\{le="1"\} 2$/,
      /^kubelet_started_pods_total 2$/,
      /^kubelet_started_pods_errors_total 0$/,
      /^kubelet_started_user_namespaced_pods_total 0$/,
      /^kubelet_started_containers_total\{container_type="init_container"\} 1$/,
      /^kubelet_started_containers_total\{container_type="container"\} [2-9]\d*$/,
      /^kubelet_terminated_containers_total\{container_type="container",exit_code="3",reason="Error"\} [1-9]\d*$/,
      /^kubelet_run_podsandbox_duration_seconds_count\{runtime_handler=""\} 2$/,
      /^kubelet_runtime_operations_total\{operation_type="create_container"\} \d+$/,
      /^kubelet_runtime_operations_duration_seconds_bucket\{le="0\.005",operation_type="version"\} \d+$/,
      /^kubelet_pleg_relist_duration_seconds_count [1-9]\d*$/,
      /^kubelet_pleg_pod_relist_duration_seconds_count [1-9]\d*$/,
      /^kubelet_pleg_last_seen_seconds 1\d{9}/,
      /^kubelet_http_requests_total\{long_running="false",method="GET",path="pods",server_type="readwrite"\} [1-9]\d*$/,
      /^kubelet_image_manager_ensure_image_requests_total\{present_locally="true",pull_policy="never",pull_required="false"\} [1-9]\d*$/,
      /^kubelet_container_log_filesystem_used_bytes\{container="c",namespace="default",pod="web-edge1",uid="[0-9a-f]{32}"\} [1-9]\d*$/,
      /^kubelet_image_volume_requested_total 0$/,
      /^kubelet_cgroup_version [12]$/,
      /^kubelet_cgroup_manager_duration_seconds_count\{operation_type="create"\} 2$/,
      /^kubelet_metrics_provider\{provider="cri"\} 1$/,
      /^kubernetes_build_info\{.*git_version="v1\..*\} 1$/,
      /^process_cpu_seconds_total [\d.]+$/,
      /^process_resident_memory_bytes \d+$/,
      /^pinpod_manifests\{verdict="accepted"\} 2$/,
    ];
    const missing = expected.filter((pattern) => !samples.some((sample) => pattern.test(sample)));
    assert.deepEqual(missing, [], samples.filter((line) => !line.startsWith('#') && !line.includes('_bucket')).join('\n'));
    // H-372: only Pods that come from an API server have them.
    assert.ok(!samples.some((sample) => sample.startsWith('kubelet_pod_start_sli_duration_seconds')));
    const names = samples.filter((line) => line.startsWith('# TYPE')).map((line) => line.split(' ')[2] ?? '');
    assert.deepEqual(names, [...new Set(names)].sort(), 'each family once, sorted');
    assert.match((await get('/metrics/slis')).text, /^kubernetes_healthcheck\{name="ping",type="healthz"\} 1$/m);
  });

  it('H-350: Prometheus can read all of it', { skip: whyNoPromtool() }, async () => {
    for (const target of ['metrics', 'metrics/probes', 'metrics/slis', 'metrics/resource', 'metrics/cadvisor']) {
      const { code, said } = promtool(['check', 'metrics'], (await get(`/${target}`)).text);
      // 3: it does not like a name; those are the kubelet's.
      assert.ok(code === 0 || code === 3, `${target}: ${said}`);
    }
  });

  it('C-468: while the runtime hangs, what needs it fails in time, and what does not is answered', async () => {
    const pid = await agent.daemon.pid();
    assert.ok(pid !== undefined);
    const client = pairs.get('a client of the CA');
    const upgrade = { Connection: 'Upgrade', Upgrade: 'SPDY/3.1', 'X-Stream-Protocol-Version': 'v4.channel.k8s.io' };
    const exec = (): Promise<Answer> => call(main, 'POST', '/exec/default/web-edge1/c?command=id&output=1', client, upgrade);
    process.kill(pid, 'SIGSTOP');
    try {
      // A signal takes its time to stop all threads.
      const failed = await eventually(agent, 'exec fails', async () => await exec().catch(() => undefined));
      assert.deepEqual(failed, { code: 500, text: 'Exec gave no answer within 10s' });
      assert.equal((await get('/pods')).code, 200);
      assert.match((await get('/metrics')).text, /^kubelet_runtime_operations_errors_total\{operation_type="exec"\} [1-9]/m);
      const { code, text } = await get('/metrics/resource');
      assert.equal(code, 200);
      assert.match(text, /^resource_scrape_error 1$/m);
      assert.match(text, /^node_memory_working_set_bytes \d+ \d{13}$/m);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await eventually(agent, 'exec works again', async () =>
      (await call(main, 'POST', '/run/default/web-edge1/c?cmd=echo%20hi', client)).text === 'hi\n' ? true : undefined,
    );
  });

  it('C-500: a manifest that comes back is counted', async () => {
    const uid = uidOf(await agent.ready('web'));
    const spec = { terminationGracePeriodSeconds: 1, containers: [{ name: 'c', ...shell('exec sleep 1000') }] };
    agent.putPod('again', spec);
    await agent.ready('again');
    agent.remove('again.json');
    await agent.gone('again');
    agent.putPod('again', spec);
    await agent.ready('again');
    const { text } = await get('/metrics');
    assert.match(text, /^kubelet_restarted_pods_total\{static="true"\} 1$/m);
    assert.match(text, /^kubelet_desired_pods\{static="true"\} 3$/m);
    assert.equal(uidOf(await agent.ready('web')), uid);
  });

  it('H-264: a port that is taken is said, and the others are served; nothing waits for it', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const address = taken.address();
    assert.ok(address !== null && typeof address === 'object');
    const second = new TestAgent({
      endpoint: agent.daemon.endpoint,
      kubelet: {
        ...{ address: '127.0.0.1', port: address.port, readOnlyPort: 0, healthzPort: await freePort() },
        authentication: { webhook: { enabled: false } },
        authorization: { mode: 'AlwaysAllow' },
      },
    });
    try {
      await second.configure();
      await second.start();
      await eventually(
        second,
        'it is said',
        () =>
          second.output.includes(`the kubelet's main port cannot be served yet: cannot listen on 127.0.0.1:${address.port}: EADDRINUSE`) ||
          undefined,
      );
      await eventually(second, 'the health port', () => /kubelet endpoint listener=healthz/.test(second.output) || undefined);
      assert.ok(!second.output.includes('listener=readOnly'));
      assert.match((await second.cli('doctor')).out, /kubelet port/);
      taken.close();
      await eventually(second, 'it is open', () => /kubelet endpoint listener=main/.test(second.output) || undefined);
    } finally {
      await second.destroy();
    }
  });
});
