// The whole agent on the fake runtime: its metrics, as a scraper reads them, and the Events of its start.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { systemClock } from '../../src/std/clock.ts';
import { FakeAgent } from '../support/fake-agent.ts';
import { KubeApiDouble } from '../support/kube-api-double.ts';
import { freePort } from '../support/test-agent.ts';

const { signal } = new AbortController();
const manifest = `apiVersion: v1
kind: Pod
metadata: {name: web, namespace: apps}
spec:
  containers:
  - name: app
    image: nginx
    livenessProbe: {exec: {command: ["/ok"]}, periodSeconds: 1, failureThreshold: 1}
`;

describe('metrics of the agent', { timeout: 60_000 }, () => {
  let dir = '';
  let port = 0;
  let agent: FakeAgent;
  const double = new KubeApiDouble({ clock: systemClock });
  let first = '';

  const scrape = async (target: string): Promise<string> =>
    (await fetch(`http://127.0.0.1:${port}${target}`, { headers: { connection: 'close' } })).text();
  async function until(target: string, what: RegExp): Promise<string> {
    for (;;) {
      const text = await scrape(target).catch(() => '');
      if (what.test(text)) return text;
      await systemClock.sleep(50, signal);
    }
  }

  before(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'pinpod-metrics-'));
    port = await freePort();
    const kubelet = {
      enableServer: true,
      address: '127.0.0.1',
      readOnlyPort: port,
      authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
      authorization: { mode: 'AlwaysAllow' },
      resolvConf: path.join(dir, 'resolv.conf'),
    };
    await writeFile(kubelet.resolvConf, 'nameserver 192.0.2.1\n'.repeat(4));
    const exec = () => ({ exitCode: 1, stdout: Buffer.from('no'), stderr: Buffer.alloc(0) });
    const kubeconfig = path.join(dir, 'cluster.conf');
    const cluster = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'c', cluster: { server: await double.listen() } }],
      users: [{ name: 'u', user: { token: 't' } }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
    };
    await writeFile(kubeconfig, JSON.stringify(cluster));
    agent = new FakeAgent({ dir, kubelet, agent: { cluster: { kubeconfig } }, runtime: { exec } }, { clock: systemClock });
    await agent.start();
    first = await until('/metrics', /kubelet_pleg_last_seen_seconds/);
    agent.put('web.yaml', manifest);
  });
  after(async () => {
    await agent.stop();
    await double.close();
    await rm(dir, { recursive: true, force: true });
  });

  for (const [rule, line] of [
    ['H-363', /^kubelet_desired_pods\{static="true"\} 0$/m],
    ['H-364', /^kubelet_active_pods\{static="true"\} 0$/m],
    ['H-371', /^kubelet_pod_start_duration_seconds_count 0$/m],
    ['H-381 H-415', /^kubelet_runtime_operations_total\{operation_type="list_podsandbox"\} [1-9]/m],
    ['H-382', /^kubelet_runtime_operations_duration_seconds_count\{operation_type="version"\} [1-9]/m],
    ['H-383', /^kubelet_pleg_relist_duration_seconds_count [1-9]/m],
    ['H-385', /^kubelet_pleg_last_seen_seconds \d{10}/m],
    ['H-387', /^kubelet_http_inflight_requests\{method="GET",path="metrics",server_type="readonly",long_running="false"\} 1$/m],
  ] as const) {
    test(`${rule}: at the first scrape`, () => assert.match(first, line));
  }

  test('H-352: the buckets are those of the kubelet', () => {
    const buckets = (family: string): readonly string[] =>
      [...first.matchAll(new RegExp(`^${family}_bucket\\{(?:[^}]*,)?le="([^"]+)"`, 'gm'))].map((match) => match[1] ?? '');
    const start = [0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600];
    assert.deepEqual(buckets('kubelet_pod_start_duration_seconds'), [...start.map(String), '+Inf']);
    assert.deepEqual(buckets('kubelet_pleg_relist_duration_seconds'), [
      '0.005',
      '0.01',
      '0.025',
      '0.05',
      '0.1',
      '0.25',
      '0.5',
      '1',
      '2.5',
      '5',
      '10',
      '+Inf',
    ]);
    const operations = buckets('kubelet_runtime_operations_duration_seconds').slice(0, 15);
    const rounded = (value: number): string => value.toPrecision(9);
    assert.deepEqual(
      operations.map((bound) => rounded(Number(bound))),
      [...Array.from({ length: 14 }, (_, n) => rounded(0.005 * 2.5 ** n)), 'NaN'],
    );
  });

  test('H-363 H-364 H-371: a Pod is counted', async () => {
    const text = await until('/metrics', /^kubelet_pod_start_duration_seconds_count 1$/m);
    assert.match(text, /^kubelet_desired_pods\{static="true"\} 1$/m);
    assert.match(text, /^kubelet_active_pods\{static="true"\} 1$/m);
  });

  test('S-436 L-211: Events of the node tell that it starts, and what is wrong with its resolver file', async () => {
    const told = (): readonly (readonly [unknown, unknown])[] =>
      double.objects('events').map((event) => [event['reason'], event['message']] as const);
    while (told().length < 2) await systemClock.sleep(50, signal);
    const expected = [
      ['Starting', 'Starting kubelet.'],
      ['CheckLimitsForResolvConf', 'Resolv.conf file has nameserver list longer than 3: 4'],
    ];
    for (const one of expected)
      assert.deepEqual(
        told().find(([reason]) => reason === one[0]),
        one,
      );
  });

  test('H-365 H-412 H-413: mirrors and requests to the API server are counted', async () => {
    const text = await until('/metrics', /^kubelet_mirror_pods 1$/m);
    assert.match(text, /^rest_client_requests_total\{code="201",method="POST",host="127\.0\.0\.1:\d+"\} [1-9]/m);
    assert.match(text, /^rest_client_request_duration_seconds_count\{verb="POST",host="127\.0\.0\.1:\d+"\} [1-9]/m);
  });

  test('H-421 C-502: probes have their results and their Pods', async () => {
    const labels = 'container="app",namespace="apps",pod="web-node1",pod_uid="[0-9a-f]{32}",probe_type="Liveness",result="failed"';
    const text = await until('/metrics/probes', /^prober_probe_total\{[^}]*result="failed"/m);
    const [, found = ''] = /^prober_probe_total\{([^}]*result="failed"[^}]*)\} [1-9]/m.exec(text) ?? [];
    assert.match(found.split(',').sort().join(), new RegExp(`^${labels}$`));
    assert.match(text, /^prober_probe_duration_seconds_count\{/m);
  });

  test('H-420: usage has its own times', async () => {
    const text = await scrape('/metrics/resource');
    assert.match(text, /^node_cpu_usage_seconds_total \d+(\.\d+)? \d{13}$/m);
    assert.match(text, /^node_memory_working_set_bytes \d+ \d{13}$/m);
    assert.match(text, /^resource_scrape_error \d$/m);
  });
});
