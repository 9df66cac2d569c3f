// The whole agent on the fake runtime: its metrics, as a scraper reads them, and the Events of its start.
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parse } from 'yaml';
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
    ['H-365', /^kubelet_mirror_pods 0$/m],
    ['H-367', /^kubelet_restarted_pods_total\{static=""\} 0$/m],
    ['H-368', /^kubelet_orphaned_runtime_pods_total 0$/m],
    ['H-370', /^kubelet_pod_worker_start_duration_seconds_count 0$/m],
    ['H-371', /^kubelet_pod_start_duration_seconds_count 0$/m],
    ['H-373', /^kubelet_pod_status_sync_duration_seconds_count 0$/m],
    ['H-373 H-352', /^kubelet_pod_status_sync_duration_seconds_bucket\{le="45"\} 0$/m],
    ['H-374', /^kubelet_containers_per_pod_count_count 0$/m],
    ['H-375', /^kubelet_started_pods_errors_total 0$/m],
    ['H-384', /^kubelet_pleg_discard_events 0$/m],
    ['H-386', /^kubelet_evented_pleg_connection_latency_seconds_count \d+$/m],
    ['H-398', /^kubelet_lifecycle_handler_http_fallbacks_total 0$/m],
    ['H-398', /^kubelet_sleep_action_terminated_early_total 0$/m],
    ['H-399', /^kubelet_graceful_shutdown_start_time_seconds 0$/m],
    ['H-400', /^kubelet_cgroup_version [12]$/m],
    ['H-403', /^kubelet_node_startup_duration_seconds /m],
    ['H-403', /^kubelet_node_startup_post_registration_duration_seconds /m],
    ['H-404', /^kubelet_orphan_pod_cleaned_volumes_errors 0$/m],
    ['H-405', /^kubelet_managed_ephemeral_containers 0$/m],
    ['H-407', /^kubelet_image_volume_mounted_errors_total 0$/m],
    ['H-408', /^kubelet_started_user_namespaced_pods_total 0$/m],
    ['H-411', /^kubernetes_feature_enabled\{name="CustomCPUCFSQuotaPeriod",stage="ALPHA"\} 0$/m],
    ['H-416', /^nodejs_heap_size_used_bytes [1-9]\d+$/m],
    ['H-381 H-415', /^kubelet_runtime_operations_total\{operation_type="list_podsandbox"\} [1-9]/m],
    ['H-382', /^kubelet_runtime_operations_duration_seconds_count\{operation_type="version"\} [1-9]/m],
    ['H-383', /^kubelet_pleg_relist_duration_seconds_count [1-9]/m],
    ['H-385', /^kubelet_pleg_last_seen_seconds \d{10}/m],
    ['H-387', /^kubelet_http_inflight_requests\{long_running="false",method="GET",path="metrics",server_type="readonly"\} 1$/m],
  ] as const) {
    test(`C-501 H-351 ${rule}: ${line.source} at the first scrape`, () => assert.match(first, line));
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
    assert.match(text, /^rest_client_requests_total\{code="201",host="127\.0\.0\.1:\d+",method="POST"\} [1-9]/m);
    assert.match(text, /^rest_client_request_duration_seconds_count\{host="127\.0\.0\.1:\d+",verb="POST"\} [1-9]/m);
  });

  test('H-421 C-502: probes have their results and their Pods', async () => {
    const labels = 'container="app",namespace="apps",pod="web-node1",pod_uid="[0-9a-f]{32}",probe_type="Liveness",result="failed"';
    const text = await until('/metrics/probes', /^prober_probe_total\{[^}]*result="failed"/m);
    const [, found = ''] = /^prober_probe_total\{([^}]*result="failed"[^}]*)\} [1-9]/m.exec(text) ?? [];
    assert.match(found.split(',').sort().join(), new RegExp(`^${labels}$`));
    assert.match(text, /^prober_probe_duration_seconds_count\{/m);
  });

  test('the dashboard and the alert rules ask for families that are served, by labels that they have', async () => {
    await until('/metrics', /^kubelet_mirror_pods 1$/m);
    const pages = await Promise.all(['', '/probes', '/slis', '/resource'].map((page) => scrape(`/metrics${page}`)));
    const labelsOf = new Map<string, Set<string>>();
    for (const [, name = '', labels = ''] of pages.join('').matchAll(/^([a-z_]+)(?:\{(.*)\})? \S+(?: \d+)?$/gm)) {
      const known = labelsOf.get(name) ?? new Set();
      labelsOf.set(name, known);
      for (const [, label = ''] of labels.matchAll(/(?:^|,)([a-z_]+)="/g)) known.add(label);
    }
    // They need a fault, or a registry, to be there.
    const later: Readonly<Record<string, readonly string[]>> = {
      kubelet_runtime_operations_errors_total: ['operation_type'],
      kubelet_image_pull_duration_seconds_bucket: ['image_size_in_bytes', 'le'],
      kubelet_certificate_manager_client_ttl_seconds: [],
      kubelet_certificate_manager_server_ttl_seconds: [],
      kubelet_terminated_containers_total: ['container_type', 'exit_code', 'reason'],
      pinpod_api_faults: ['area', 'cause'],
      pinpod_troubles: ['severity', 'area', 'cause'],
    };
    for (const [name, labels] of Object.entries(later)) labelsOf.set(name, new Set([...labels, ...(labelsOf.get(name) ?? [])]));
    const deploy = path.join(import.meta.dirname, '..', '..', 'deploy');
    const dashboard = JSON.parse(await readFile(path.join(deploy, 'grafana-dashboard.json'), 'utf8'));
    const rules = parse(await readFile(path.join(deploy, 'prometheus-rules.yaml'), 'utf8'));
    const expressions: readonly string[] = [
      ...dashboard.panels.flatMap((panel: { targets: { expr: string }[] }) => panel.targets.map((target) => target.expr)),
      ...rules.groups.flatMap((group: { rules: { expr: string }[] }) => group.rules.map((rule) => rule.expr)),
    ];
    assert.ok(expressions.length > 20);
    for (const expression of expressions) {
      const names = [...expression.matchAll(/\b((?:kubelet|pinpod|prober|process|kubernetes)_[a-z_]+)(?:\{([^}]*)\})?/g)];
      assert.ok(names.length > 0 || expression.startsWith('up'), expression);
      const all = new Set(['instance']);
      for (const [, name = '', selectors = ''] of names) {
        const labels = labelsOf.get(name);
        assert.ok(labels !== undefined, `${name} is not served: ${expression}`);
        for (const label of labels) all.add(label);
        for (const [, label = ''] of selectors.matchAll(/([a-z_]+)(?:=|!=|=~|!~)"/g))
          assert.ok(label === 'instance' || labels.has(label), `${name} has no label ${label}: ${expression}`);
      }
      for (const [, list = ''] of expression.matchAll(/by \(([^)]*)\)/g))
        for (const label of list.split(/, */)) assert.ok(all.has(label), `nothing has the label ${label}: ${expression}`);
    }
  });

  test('H-420: usage has its own times', async () => {
    const text = await scrape('/metrics/resource');
    assert.match(text, /^node_cpu_usage_seconds_total \d+(\.\d+)? \d{13}$/m);
    assert.match(text, /^node_memory_working_set_bytes \d+ \d{13}$/m);
    assert.match(text, /^resource_scrape_error \d$/m);
  });
});
