// The kubelet's listeners over real sockets with fake views: what is answered where, and to whom.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { type AddressInfo, createServer } from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type ConnectionOptions, type TLSSocket, connect as tlsConnect } from 'node:tls';
import { kubeletServerOptions } from '../../src/agent/kubelet-endpoints.ts';
import { PrometheusMetrics } from '../../src/agent/metrics.ts';
import type { AgentConfig } from '../../src/config/agent-config.ts';
import { issueCertificate } from '../../src/server/issue-certificate.ts';
import { KubeletServer, type KubeletServerOptions } from '../../src/server/kubelet-server.ts';
import type { ReviewView, ServingCertificate, ServingCertificateView } from '../../src/server/views.ts';
import { systemClock } from '../../src/std/clock.ts';
import { RuntimeError } from '../../src/std/errors.ts';
import { silentLogger } from '../../src/std/log.ts';
import { buildConfig } from '../support/agent-config.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { type FakeViews, fakeViews, podOf } from '../support/fake-views.ts';

type Auth = NonNullable<KubeletServerOptions['main']>['auth'];

const openAuth: Auth = {
  anonymous: false,
  webhook: false,
  tokenTtlMs: 60_000,
  mode: 'AlwaysAllow',
  authorizedTtlMs: 60_000,
  unauthorizedTtlMs: 60_000,
};

interface Answer {
  readonly code: number;
  readonly text: string;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
}

interface World {
  readonly dir: string;
  readonly views: FakeViews;
  readonly server: KubeletServer;
  readonly client: { readonly cert: string; readonly key: string };
  readonly reviews: { readonly asked: string[] };
  readonly verbosities: readonly number[];
  main(target: string, options?: CallOptions): Promise<Answer>;
  readOnly(target: string): Promise<Answer>;
  healthz(target: string): Promise<Answer>;
}

interface CallOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** False: without the client certificate. */
  readonly certificate?: boolean;
  readonly body?: string;
}

async function world(
  change: {
    readonly auth?: Partial<Auth>;
    readonly debugging?: boolean;
    readonly reviews?: ReviewView;
    readonly serving?: ServingCertificateView;
    readonly toStaticUid?: (uid: string) => string;
  } = {},
): Promise<World> {
  const dir = await mkdtemp('/tmp/klet-');
  const common = { names: [], notBefore: Date.now() - 3_600_000, notAfter: Date.now() + 3_600_000, algorithm: 'ecdsa' } as const;
  const ca = await issueCertificate({ ...common, kind: 'ca', commonName: 'ca', organization: undefined, issuer: undefined });
  const client = await issueCertificate({ ...common, kind: 'client', commonName: 'bob', organization: 'team', issuer: ca });
  await writeFile(path.join(dir, 'ca.crt'), ca.certificate);
  await mkdir(path.join(dir, 'log'));
  await writeFile(path.join(dir, 'log', 'syslog'), 'a line\n');
  await symlink('/etc/passwd', path.join(dir, 'log', 'escape'));
  const cLog = path.join(dir, 'c.log');
  await writeFile(cLog, '2026-01-01T00:00:00Z stdout F hello\n2026-01-01T00:00:01Z stdout F world\n');
  const views = fakeViews([podOf()]);
  views.runtime.containers.set('c-id', { id: 'c-id', running: true, logPath: cLog });
  const asked: string[] = [];
  const verbosities: number[] = [];
  const metrics = new PrometheusMetrics();
  metrics.declareProcess({
    nodeName: 'node1',
    major: '1',
    minor: '36',
    gitVersion: 'v1.36.2',
    gitCommit: 'x',
    buildDate: 'x',
    platform: 'x',
    engine: 'x',
  });
  metrics.histogram({ name: 'prober_probe_duration_seconds', help: 'x', labels: ['pod'] }).observe(1, { pod: 'p' });
  const server = new KubeletServer(
    {
      nodeName: 'node1',
      main: {
        address: '127.0.0.1',
        port: 0,
        certificate: { kind: 'selfSigned', folder: path.join(dir, 'pki'), host: 'node1' },
        clientCaFile: path.join(dir, 'ca.crt'),
        minVersion: 'TLSv1.2',
        cipherSuites: [],
        auth: { ...openAuth, ...change.auth },
      },
      readOnly: { address: '127.0.0.1', port: 0 },
      healthz: { address: '127.0.0.1', port: 0 },
      enableDebuggingHandlers: change.debugging ?? true,
      enableSystemLogHandler: true,
      enableDebugFlagsHandler: true,
      systemLogDir: path.join(dir, 'log'),
      checkpointsDir: path.join(dir, 'checkpoints'),
    },
    {
      ...views,
      metricsView: metrics,
      metrics,
      build: { version: 'v1.36.2', engine: 'node', startedAt: Date.now() },
      setVerbosity: (verbosity) => verbosities.push(verbosity),
      health: ['ping', 'log', 'syncloop'].map((name) => ({ name, check: () => undefined })),
      reviews: change.reviews,
      serving: change.serving,
      toStaticUid: change.toStaticUid,
      clock: systemClock,
      log: silentLogger,
    },
  );
  await server.start();
  while (server.ports.healthz === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  const send = (isTls: boolean, port: number, target: string, options: CallOptions): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const { method = 'GET', headers = {}, certificate = true } = options;
      const tls = isTls ? { rejectUnauthorized: false, ...(certificate ? { cert: client.certificate, key: client.key } : {}) } : {};
      const request = (isTls ? httpsRequest : httpRequest)(
        { host: '127.0.0.1', port, path: target, method, headers, agent: false, ...tls },
        (response) => {
          let text = '';
          response.on('data', (data: Buffer) => {
            text += data.toString();
          });
          response.on('end', () => resolve({ code: response.statusCode ?? 0, text, headers: response.headers }));
        },
      );
      request.on('error', reject);
      request.end(options.body);
    });
  return {
    dir,
    views,
    server,
    client: { cert: client.certificate, key: client.key },
    reviews: { asked },
    verbosities,
    main: (target, options = {}) => send(true, server.ports.main, target, options),
    readOnly: (target) => send(false, server.ports.readOnly, target, {}),
    healthz: (target) => send(false, server.ports.healthz, target, {}),
  };
}

async function end(w: World | undefined): Promise<void> {
  await w?.server.stop();
  if (w !== undefined) await rm(w.dir, { recursive: true });
}

describe('the kubelet server', () => {
  let w: World;
  before(async () => {
    w = await world();
  });
  after(() => end(w));

  test('C-460: the health listener', async () => {
    assert.deepEqual([(await w.healthz('/healthz')).text, (await w.healthz('/healthz/ping')).text], ['ok', 'ok']);
    assert.deepEqual([(await w.healthz('/metrics')).code, (await w.healthz('/healthz/syncloop')).code], [404, 404]);
  });

  test("C-461, H-265, H-279f: nobody gets 401, the cluster's certificate ok; other paths are not found", async () => {
    const nobody = await w.main('/healthz', { certificate: false });
    assert.deepEqual([nobody.code, nobody.text], [401, 'Unauthorized']);
    assert.equal((await w.main('/healthz')).text, 'ok');
    assert.equal((await w.main('/healthz?verbose')).text, '[+]ping ok\n[+]log ok\n[+]syncloop ok\nhealthz check passed\n');
    for (const target of ['/livez', '/readyz', '/nothing'])
      assert.deepEqual([(await w.main(target)).code, (await w.main(target)).text], [404, '404 page not found\n']);
  });

  test('C-463: pods, running pods, configuration, summary, resource metrics', async () => {
    const pods = JSON.parse((await w.main('/pods')).text);
    assert.deepEqual([pods.kind, pods.items[0].metadata.uid, pods.items[0].kind], ['PodList', 'uid-web-node1', undefined]);
    assert.deepEqual(Object.keys(pods.items[0].metadata.annotations).sort(), [
      'kubernetes.io/config.hash',
      'kubernetes.io/config.seen',
      'kubernetes.io/config.source',
    ]);
    assert.equal((await w.main('/runningpods')).code, 307);
    assert.deepEqual(JSON.parse((await w.main('/runningpods/')).text).items[0].spec.containers, [
      { name: 'c', image: 'sha256:1', resources: {} },
    ]);
    assert.equal(JSON.parse((await w.main('/configz')).text).kubeletconfig.syncFrequency, '1m0s');
    const time = Date.UTC(2026, 0, 1);
    const cpu = { time, usageNanoCores: 1000, usageCoreNanoSeconds: 2_500_000_000 };
    const memory = { time, workingSetBytes: 4096, usageBytes: 8192 };
    const container = { name: 'c', startedAt: time, cpu, memory };
    const usage = { namespace: 'default', name: 'web-node1', uid: 'uid-web-node1', startedAt: time };
    w.views.stats.podUsages = [
      { ...usage, containers: [container] },
      { ...usage, name: 'idle-node1', containers: [] },
    ];
    w.views.stats.nodeUsage = { startedAt: time, cpu, memory, systemContainers: [] };
    const summary = JSON.parse((await w.main('/stats/summary?only_cpu_and_memory=true')).text);
    assert.deepEqual(summary.node.cpu, { time: '2026-01-01T00:00:00Z', usageNanoCores: 1000, usageCoreNanoSeconds: 2_500_000_000 });
    assert.deepEqual(
      summary.pods.map((p: { podRef: unknown }) => p.podRef),
      [{ name: 'web-node1', namespace: 'default', uid: 'uid-web-node1' }],
    );
    const resource = (await w.main('/metrics/resource')).text.split('\n');
    assert.ok(resource.includes(`container_cpu_usage_seconds_total{container="c",namespace="default",pod="web-node1"} 2.5 ${time}`));
    assert.ok(resource.includes(`pod_memory_working_set_bytes{namespace="default",pod="web-node1"} 4096 ${time}`));
    assert.ok(resource.includes(`container_start_time_seconds{container="c",namespace="default",pod="web-node1"} ${time / 1000}`));
    assert.ok(resource.includes('resource_scrape_error 0'));
  });

  test('C-464: the read-only listener', async () => {
    for (const target of ['/pods', '/metrics', '/stats/summary', '/healthz']) assert.equal((await w.readOnly(target)).code, 200, target);
    for (const target of ['/containerLogs/default/web-node1/c', '/exec/default/web-node1/c', '/runningpods/', '/run/a/b/c', '/logs/']) {
      const answer = await w.readOnly(target);
      assert.deepEqual([answer.code, answer.text], [405, 'Debug endpoints are disabled.\n'], target);
    }
    assert.deepEqual(
      [(await w.readOnly('/configz')).code, (await w.readOnly('/checkpoint/a/b/c')).code, (await w.readOnly('/x')).code],
      [404, 404, 404],
    );
  });

  test('H-276 H-255: container logs, the older tail, and bad numbers', async () => {
    const log = (query: string) => w.main(`/containerLogs/default/web-node1/c?${query}`);
    assert.equal((await log('')).text, 'hello\nworld\n');
    assert.deepEqual(
      [(await log('tail=1')).text, (await log('tail=all')).text, (await log('tailLines=0')).text],
      ['world\n', 'hello\nworld\n', ''],
    );
    const bad = await log('tailLines=-1');
    assert.deepEqual([bad.code, bad.text], [422, '{"message": "Invalid request."}']);
    const unreadable = await log('tailLines=x');
    assert.deepEqual([unreadable.code, unreadable.text], [400, '{"message": "Unable to decode query."}']);
    const previous = await log('previous=true');
    assert.deepEqual([previous.code, previous.text], [400, 'previous terminated container "c" in pod "web-node1" not found']);
    assert.equal((await w.main('/containerLogs/default/nope/c')).code, 404);
  });

  test('H-278 H-279a: run, checkpoint', async () => {
    const run = await w.main('/run/default/web-node1/c?cmd=echo%20hi', { method: 'POST' });
    assert.deepEqual([run.code, run.text], [200, 'echo hi']);
    assert.equal((await w.main('/run/default/web-node1/uid-web-node1/c?cmd=id', { method: 'POST' })).code, 200);
    assert.equal((await w.main('/run/default/web-node1/other/c?cmd=id', { method: 'POST' })).text, 'pod not found');
    assert.equal((await w.main('/run/default/web-node1/c?cmd=id')).code, 405);
    assert.deepEqual((await w.main('/checkpoint/default/nope/c', { method: 'POST' })).text, 'pod does not exist');
  });

  test('H-279a: the runtime makes a checkpoint, or it is said why not', async () => {
    const checkpoint = (query = '') => w.main(`/checkpoint/default/web-node1/c${query}`, { method: 'POST' });
    const made = await checkpoint('?timeout=7');
    const { items } = JSON.parse(made.text);
    assert.match(items[0], new RegExp(`^${w.dir}/checkpoints/checkpoint-web-node1_default-c-\\d{4}-\\d\\d-\\d\\dT[\\d:.]+Z\\.tar$`));
    assert.deepEqual(w.views.runtime.calls.at(-1), {
      call: 'checkpoint',
      request: { containerId: 'c-id', location: items[0], timeoutSeconds: 7 },
    });
    assert.equal((await stat(path.join(w.dir, 'checkpoints'))).mode & 0o777, 0o700);
    for (const [failure, why] of [
      [new RuntimeError('unimplemented', 'unknown method'), 'the container runtime cannot make checkpoints'],
      [new RuntimeError('unknown', 'criu is missing'), 'criu is missing'],
    ] as const) {
      w.views.runtime.checkpointFailure = failure;
      const refused = await checkpoint();
      assert.deepEqual([refused.code, refused.text], [500, `checkpointing of default/web-node1/c failed (${why})`]);
    }
    assert.match((await checkpoint('?timeout=soon')).text, /failed \(the timeout "soon" is not a number of seconds\)$/);
  });

  test('H-279b: files under the log folder, and nothing else', async () => {
    assert.match((await w.main('/logs/')).text, /<a href="syslog">syslog<\/a>/);
    assert.equal((await w.main('/logs/syslog')).text, 'a line\n');
    for (const target of [
      '/logs/../ca.crt',
      '/logs/..%2fca.crt',
      '/logs/%2e%2e/ca.crt',
      '/logs/escape',
      '/logs/%00',
      '/logs/%ff',
      '/logs/none',
    ]) {
      assert.equal((await w.main(target)).code, 404, target);
    }
  });

  const upgrade = { Connection: 'Upgrade', Upgrade: 'SPDY/3.1', 'X-Stream-Protocol-Version': 'v4.channel.k8s.io' };
  const streams: readonly (readonly [target: string, code: number, text: string])[] = [
    ['/exec/default/nope/c?command=id&output=1', 404, 'pod does not exist'],
    ['/exec/default/web-node1/other/c?command=id&output=1', 404, 'pod not found'],
    ['/exec/default/web-node1/c?command=id', 400, 'you must specify at least 1 of stdin, stdout, stderr'],
    ['/exec/default/web-node1/c?command=id&output=true', 400, 'you must specify at least 1 of stdin, stdout, stderr'],
    ['/exec/default/web-node1/x?command=id&output=1', 500, 'container not found ("x")'],
    ['/attach/default/web-node1/x?output=1', 500, 'container x not found in pod web-node1_default'],
    ['/portForward/default/nope', 404, 'pod does not exist'],
    ['/portForward/default/web-node1/other', 404, 'pod not found'],
    ['/pods', 404, '404 page not found\n'],
  ];
  for (const [target, code, text] of streams) {
    test(`H-249: an upgrade of ${target} is refused with ${code}`, async () => {
      const answer = await w.main(target, { method: 'POST', headers: upgrade });
      assert.deepEqual([answer.code, answer.text], [code, text]);
    });
  }

  test('H-249: without an upgrade there is no stream', async () => {
    assert.equal((await w.main('/exec/default/web-node1/c?output=1', { method: 'POST' })).code, 400);
  });

  test('H-246 H-201: what the runtime is asked for; one it cannot reach is a 500 (C-468)', async () => {
    const answer = await w.main('/exec/default/web-node1/c?command=sh&command=-c&command=id&input=1&output=1&error=1&tty=1', {
      method: 'POST',
      headers: upgrade,
    });
    assert.equal(answer.code, 500);
    assert.deepEqual(w.views.runtime.calls.at(-1), {
      call: 'exec',
      request: { tty: true, stdin: true, stdout: true, stderr: false, containerId: 'c-id', command: ['sh', '-c', 'id'] },
    });
  });

  test('H-350 H-351 H-360 H-387 H-414 H-422: metrics', async () => {
    const text = (await w.main('/metrics')).text;
    assert.match(text, /^kubelet_node_name\{node="node1"\} 1$/m);
    assert.match(text, /^kubelet_http_requests_total\{long_running="false",method="GET",path="pods",server_type="readwrite"\} \d+$/m);
    assert.match(text, /^process_resident_memory_bytes [1-9]\d+$/m);
    assert.match(text, /^process_cpu_seconds_total \d/m);
    const counted = (labels: string) => Number(new RegExp(`^kubelet_http_requests_total\\{${labels}\\} (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
    assert.ok(counted('long_running="true",method="POST",path="exec",server_type="readwrite"') >= 5, 'streams');
    assert.ok(counted('long_running="false",method="GET",path="other",server_type="readwrite"') >= 3, 'paths that do not exist');
    assert.ok(counted('long_running="false",method="GET",path="healthz",server_type="readwrite"') >= 3, 'those of nobody');
    const families = [...text.matchAll(/^# TYPE (\S+)/gm)].map((m) => m[1] ?? '');
    assert.deepEqual(families, [...families].sort());
    assert.match(text, /^kubelet_desired_pods\{static="true"\} 1$/m);
    assert.match(text, /^pinpod_manifests\{verdict="rejected"\} 0$/m);
    assert.doesNotMatch(text, /prober_/);
    assert.match((await w.main('/metrics/probes')).text, /^prober_probe_duration_seconds_count\{pod="p"\} 1$/m);
    assert.match((await w.main('/metrics/slis')).text, /^kubernetes_healthcheck\{name="ping",type="healthz"\} 1$/m);
    assert.match(String((await w.main('/metrics')).headers['content-type']), /^text\/plain; version=0\.0\.4/);
  });

  test('H-290 H-279c H-279e: status, flags and the verbosity of the log', async () => {
    const status = await w.main('/statusz');
    assert.match(
      status.text,
      /^kubelet statusz\nWarning: This endpoint is not meant[\s\S]*\nStarted=\d{4}-.*\nUp=\S+\nGo version=node\nBinary version=v1\.36\.2\nEmulation version=1\.36\nPaths=\/\w/,
    );
    assert.match((await w.main('/flagz')).text, /^kubelet flagz\n[\s\S]*\nsyncFrequency=1m0s\n/);
    const set = await w.main('/debug/flags/v', { method: 'PUT', body: '4\n' });
    assert.deepEqual([set.code, set.text], [200, 'successfully set klog.logging.verbosity to 4\n']);
    assert.equal((await w.main('/debug/flags/v')).code, 406);
    assert.equal((await w.main('/debug/flags/v', { method: 'PUT', body: 'loud' })).code, 400);
    assert.deepEqual(w.verbosities, [4]);
    for (const target of ['/statusz', '/flagz', '/debug/flags/v']) {
      assert.equal((await w.readOnly(target)).code, 404, target);
      assert.equal((await w.healthz(target)).code, 404, target);
    }
    assert.equal((await w.main('/debug/pprof/')).code, 404);
  });

  const answers: readonly (readonly [
    method: string,
    target: string,
    code: number,
    text: string | undefined,
    header?: readonly [string, string],
  ])[] = [
    ['GET', '/runningpods', 307, '<a href="/runningpods/">Temporary Redirect</a>.\n\n', ['location', '/runningpods/']],
    ['GET', '/stats', 307, '<a href="/stats/">Temporary Redirect</a>.\n\n', ['location', '/stats/']],
    ['GET', '/logs', 307, '<a href="/logs/">Temporary Redirect</a>.\n\n', ['location', '/logs/']],
    ['POST', '/pods', 405, '405: Method Not Allowed', ['allow', 'GET']],
    ['HEAD', '/pods', 405, ''],
    ['POST', '/runningpods/', 405, '405: Method Not Allowed', ['allow', 'GET']],
    ['POST', '/containerLogs/default/web-node1/c', 405, '405: Method Not Allowed', ['allow', 'GET']],
    ['GET', '/checkpoint/default/web-node1/c', 405, '405: Method Not Allowed', ['allow', 'POST']],
    ['GET', '/run/default/web-node1/c', 405, '405: Method Not Allowed', ['allow', 'POST']],
    ['PUT', '/exec/default/web-node1/c', 405, '405: Method Not Allowed', ['allow', 'GET, POST']],
    ['DELETE', '/stats/summary', 405, '405: Method Not Allowed', ['allow', 'GET, POST']],
    ['POST', '/checkpoint/default/web-node1/x', 404, 'container x does not exist'],
    ['GET', '/pods/x', 404, '404: Page Not Found'],
    ['GET', '/stats/container', 404, '404: Page Not Found'],
    ['GET', '/attach/x', 404, '404: Page Not Found'],
    ['GET', '/containerLogs/x', 404, '404: Page Not Found'],
    ['POST', '/healthz', 200, 'ok'],
    ['POST', '/metrics', 200, undefined],
    ['POST', '/configz', 200, undefined],
    ['POST', '/statusz', 200, undefined],
  ];
  for (const [method, target, code, text, header] of answers) {
    test(`H-271 … H-278: ${method} ${target} is answered with ${code}, as a kubelet 1.36.2 does`, async () => {
      const answer = await w.main(target, { method });
      assert.deepEqual([answer.code, text === undefined ? undefined : answer.text], [code, text]);
      if (header !== undefined) assert.equal(answer.headers[header[0]], header[1]);
    });
  }

  test('H-350: metrics are compressed for who can read that', async () => {
    const packed = await fetch(`http://127.0.0.1:${w.server.ports.readOnly}/metrics`, {
      headers: { 'accept-encoding': 'gzip', connection: 'close' },
    });
    assert.equal(packed.headers.get('content-encoding'), 'gzip');
    assert.match(await packed.text(), /^kubelet_node_name\{node="node1"\} 1$/m);
    for (const encoding of ['identity', 'gzip;q=0', 'br']) {
      assert.equal(
        (await w.main('/metrics', { headers: { 'accept-encoding': encoding } })).headers['content-encoding'],
        undefined,
        encoding,
      );
    }
  });

  test('C-466 H-306: the certificate is our own, kept, and no older TLS is spoken', async () => {
    const { X509Certificate } = await import('node:crypto');
    const text = await readFile(path.join(w.dir, 'pki', 'kubelet.crt'), 'utf8');
    assert.equal(text.match(/BEGIN CERTIFICATE/g)?.length, 2);
    const certificate = new X509Certificate(text);
    assert.match(certificate.subject, /^CN=node1@\d+$/);
    assert.match(certificate.issuer, /^CN=node1-ca@\d+$/);
    assert.deepEqual(
      [certificate.subjectAltName, certificate.keyUsage, certificate.publicKey.asymmetricKeyDetails?.modulusLength],
      ['DNS:node1', ['1.3.6.1.5.5.7.3.1'], 2048],
    );
    const { selfSignedCertificate } = await import('../../src/server/kubelet/serving-certificate.ts');
    const again = await selfSignedCertificate({ folder: path.join(w.dir, 'pki'), host: 'node1' }, { clock: systemClock });
    assert.equal(again.certificate, text);
    const { connect } = await import('node:tls');
    const old = await new Promise<string>((resolve) => {
      const socket = connect(
        { host: '127.0.0.1', port: w.server.ports.main, rejectUnauthorized: false, minVersion: 'TLSv1', maxVersion: 'TLSv1.1' },
        () => resolve('connected'),
      );
      socket.on('error', () => resolve('refused'));
    });
    assert.equal(old, 'refused');
  });
});

test('H-279g: without debugging handlers there are no streams and no logs', async () => {
  const w = await world({ debugging: false });
  for (const target of ['/exec/default/web-node1/c', '/containerLogs/default/web-node1/c', '/run/a/b/c', '/runningpods/', '/logs/']) {
    assert.equal((await w.main(target)).code, 405, target);
  }
  const upgrade = { Connection: 'Upgrade', Upgrade: 'SPDY/3.1' };
  assert.equal((await w.main('/exec/default/web-node1/c?output=1', { method: 'POST', headers: upgrade })).code, 405);
  await end(w);
});

test('H-300a … H-301d, C-462, C-467: tokens and authorization by the cluster', async () => {
  const asked: string[] = [];
  const state = { broken: false };
  const reviews: ReviewView = {
    async tokenReview(token) {
      if (state.broken) throw new Error('down');
      asked.push(`token ${token}`);
      return token === 'good' ? { name: 'scraper', groups: ['metrics'] } : undefined;
    },
    async subjectAccessReview({ user, verb, subresource }) {
      if (state.broken) throw new Error('down');
      asked.push(`${user.name} ${verb} ${subresource}`);
      return user.name === 'scraper' && subresource === 'metrics';
    },
  };
  const w = await world({ auth: { anonymous: true, webhook: true, mode: 'Webhook' }, reviews });
  const as = (token: string): CallOptions => ({ certificate: false, headers: { authorization: `Bearer ${token}` } });
  assert.equal((await w.main('/metrics/resource', as('good'))).code, 200);
  assert.equal((await w.main('/metrics/resource', as('good'))).code, 200);
  assert.deepEqual(asked, ['token good', 'scraper get metrics'], 'answers are kept for a while');
  assert.deepEqual([(await w.main('/metrics', as('bad'))).code, (await w.main('/metrics', { certificate: false })).code], [401, 403]);
  const bob = await w.main('/pods');
  assert.deepEqual([bob.code, bob.text], [403, 'Forbidden (user=bob, verb=get, resource=nodes, subresource(s)=[pods proxy])']);
  assert.equal((await w.main('/nothing')).code, 404, 'a path that does not exist is a 404 to everybody known');
  const upgrade = { Connection: 'Upgrade', Upgrade: 'SPDY/3.1' };
  assert.equal((await w.main('/exec/default/web-node1/c?output=1', { method: 'POST', headers: upgrade })).code, 403);
  state.broken = true;
  const failing = await w.main('/configz');
  assert.deepEqual(
    [failing.code, failing.text],
    [500, 'Authorization error (user=bob, verb=get, resource=nodes, subresource(s)=[configz proxy])'],
  );
  assert.deepEqual(w.views.runtime.calls, []);
  await end(w);
});

test('H-307: a certificate that the cluster signs replaces our own for new connections, at once', async () => {
  const listeners = new Set<(certificate: ServingCertificate) => void>();
  const issue = async (commonName: string): Promise<ServingCertificate> =>
    issueCertificate({
      kind: 'server',
      commonName,
      organization: undefined,
      names: ['127.0.0.1'],
      issuer: undefined,
      notBefore: Date.now() - 3_600_000,
      notAfter: Date.now() + 3_600_000,
      algorithm: 'ecdsa',
    });
  const serving: ServingCertificateView = {
    current: () => undefined,
    subscribe: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  const w = await world({ serving });
  const subject = (): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = tlsConnect({ host: '127.0.0.1', port: w.server.ports.main, rejectUnauthorized: false }, () => {
        const { CN } = socket.getPeerCertificate().subject;
        socket.destroy();
        resolve(String(CN));
      });
      socket.on('error', reject);
    });
  assert.match(await subject(), /^node1@/);
  for (const name of ['first', 'second']) {
    const certificate = await issue(name);
    for (const listener of listeners) listener(certificate);
    for (let tries = 0; (await subject()) !== name; tries++) assert.ok(tries < 100, name);
  }
  await end(w);
  assert.equal(listeners.size, 0);
});

test("S-328: a UID in a path may be the mirror's", async () => {
  const w = await world({ toStaticUid: (uid) => (uid === 'mirror-uid' ? podOf().metadata.uid : uid) });
  const run = async (uid: string): Promise<number> => (await w.main(`/run/default/web-node1/${uid}/c?cmd=id`, { method: 'POST' })).code;
  assert.deepEqual([await run('mirror-uid'), await run(podOf().metadata.uid), await run('other')], [200, 200, 404]);
  await end(w);
});

/** A server without agent, whose openings and faults are written down. */
function serverOn(
  dir: string,
  main: Partial<NonNullable<KubeletServerOptions['main']>> & { readonly port: number },
  { told, clock }: { readonly told: string[]; readonly clock: FakeClock },
): KubeletServer {
  const at = { address: '127.0.0.1', port: 0 };
  return new KubeletServer(
    {
      nodeName: 'node1',
      main: {
        ...{ address: '127.0.0.1', minVersion: 'TLSv1.2', cipherSuites: [], auth: openAuth },
        certificate: { kind: 'selfSigned', folder: path.join(dir, 'pki'), host: 'node1' },
        ...main,
      },
      readOnly: at,
      healthz: at,
      ...{
        enableDebuggingHandlers: true,
        enableSystemLogHandler: true,
        enableDebugFlagsHandler: true,
        systemLogDir: dir,
        checkpointsDir: dir,
      },
    },
    {
      ...fakeViews([podOf()]),
      ...{ metricsView: new PrometheusMetrics(), metrics: new PrometheusMetrics(), health: [], clock, log: silentLogger },
      build: { version: 'v1', engine: 'node', startedAt: 0 },
      setVerbosity: () => undefined,
      onOpen: (listener) => told.push(`${listener} is open`),
      onFault: (listener, message) => told.push(`${listener}: ${message}`),
    },
  );
}

const speaks = (port: number, client: ConnectionOptions): Promise<string> =>
  new Promise((resolve) => {
    const socket = tlsConnect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...client }, () => {
      resolve(`${socket.getProtocol()} ${socket.getCipher().name}`);
      socket.destroy();
    });
    socket.on('error', () => resolve('refused'));
  });

const tls12 = (ciphers: string): ConnectionOptions => ({ maxVersion: 'TLSv1.2', ciphers });
const handshakes: readonly (readonly [config: Partial<AgentConfig>, client: ConnectionOptions, spoken: RegExp])[] = [
  [{}, tls12('ECDHE-RSA-AES256-GCM-SHA384'), /^TLSv1\.2 ECDHE-RSA-AES256-GCM-SHA384$/],
  [
    { tlsCipherSuites: ['TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256'] },
    tls12('ECDHE-RSA-AES128-GCM-SHA256'),
    /^TLSv1\.2 ECDHE-RSA-AES128-GCM-SHA256$/,
  ],
  [{ tlsCipherSuites: ['TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256'] }, tls12('ECDHE-RSA-AES256-GCM-SHA384'), /^refused$/],
  [{ tlsCipherSuites: ['TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256'] }, { minVersion: 'TLSv1.3' }, /^TLSv1\.3 /],
  [
    { tlsCipherSuites: ['TLS_AES_128_GCM_SHA256'] },
    { minVersion: 'TLSv1.3', ciphers: 'TLS_CHACHA20_POLY1305_SHA256' },
    /^TLSv1\.3 TLS_CHACHA20/,
  ],
  [{ tlsCipherSuites: ['TLS_AES_128_GCM_SHA256'] }, { maxVersion: 'TLSv1.2' }, /^refused$/],
  [{ tlsMinVersion: 'VersionTLS13' }, { maxVersion: 'TLSv1.2' }, /^refused$/],
  [{ tlsMinVersion: 'VersionTLS13' }, { minVersion: 'TLSv1.3' }, /^TLSv1\.3 /],
  [{ tlsMinVersion: 'VersionTLS10' }, { minVersion: 'TLSv1', maxVersion: 'TLSv1.1' }, /^refused$/],
  [{ tlsMinVersion: 'VersionTLS10' }, { maxVersion: 'TLSv1.2' }, /^TLSv1\.2 /],
];

test('H-308: the lowest version and the cipher suites are those of the configuration', async () => {
  const dir = await mkdtemp('/tmp/klet-');
  for (const [config, client, spoken] of handshakes) {
    const { main } = kubeletServerOptions(buildConfig({ ...config, certDir: path.join(dir, 'pki') }));
    assert.ok(main !== undefined);
    const server = serverOn(
      dir,
      { ...main, clientCaFile: undefined, address: '127.0.0.1', port: 0 },
      { told: [], clock: new FakeClock(Date.now()) },
    );
    await server.start();
    assert.match(await speaks(server.ports.main, client), spoken, JSON.stringify([config, client]));
    await server.stop();
  }
  await rm(dir, { recursive: true });
});

test('H-300a, H-305: the given certificate is served; another client CA counts within a minute, a bad one changes nothing', async () => {
  const dir = await mkdtemp('/tmp/klet-');
  const issue = (kind: 'ca' | 'server' | 'client', commonName: string, issuer?: ServingCertificate): Promise<ServingCertificate> =>
    issueCertificate({
      ...{ kind, commonName, organization: undefined, names: [], issuer, algorithm: 'ecdsa' },
      ...{ notBefore: Date.now() - 3_600_000, notAfter: Date.now() + 3_600_000 },
    });
  const [certFile, keyFile, clientCaFile] = ['tls.crt', 'tls.key', 'ca.crt'].map((name) => path.join(dir, name)) as [
    string,
    string,
    string,
  ];
  const given = await issue('server', 'given');
  await writeFile(certFile, given.certificate);
  await writeFile(keyFile, given.key);
  const authorities = [await issue('ca', 'first'), await issue('ca', 'second')];
  const clients = await Promise.all(authorities.map((authority) => issue('client', 'bob', authority)));
  const clock = new FakeClock(Date.now());
  const write = async (text: string): Promise<void> => {
    await writeFile(clientCaFile, text);
    await utimes(clientCaFile, clock.now() / 1000, clock.now() / 1000);
  };
  await write(authorities[0]?.certificate ?? '');
  const server = serverOn(dir, { port: 0, clientCaFile, certificate: { kind: 'files', certFile, keyFile } }, { told: [], clock });
  await server.start();
  const ask = (client: ServingCertificate | undefined): Promise<readonly [number | undefined, string]> =>
    new Promise((resolve, reject) => {
      const { certificate: cert, key } = client ?? {};
      const options = { host: '127.0.0.1', port: server.ports.main, path: '/healthz', rejectUnauthorized: false, agent: false, cert, key };
      httpsRequest(options, (response) => {
        const { CN } = (response.socket as TLSSocket).getPeerCertificate().subject;
        response.resume().on('end', () => resolve([response.statusCode, String(CN)]));
      })
        .on('error', reject)
        .end();
    });
  const both = async (): Promise<readonly unknown[]> => [(await ask(clients[0]))[0], (await ask(clients[1]))[0]];
  assert.deepEqual(await ask(clients[0]), [200, 'given']);
  assert.deepEqual(await both(), [200, 401]);
  await write('garbage');
  await clock.advance(60_000);
  assert.deepEqual(await both(), [200, 401], 'the old one stays');
  await write(authorities[1]?.certificate ?? '');
  await clock.advance(60_000);
  for (let tries = 0; String(await both()) !== '401,200'; tries++) assert.ok(tries < 100);
  await write(authorities.map(({ certificate }) => certificate).join(''));
  await clock.advance(60_000);
  for (let tries = 0; String(await both()) !== '200,200'; tries++) assert.ok(tries < 100);
  await server.stop();
  await rm(dir, { recursive: true });
});

test('H-264: one place that is taken closes none of the others, and is taken when it is free', async () => {
  const dir = await mkdtemp('/tmp/klet-');
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const { port } = taken.address() as AddressInfo;
  const clock = new FakeClock();
  const told: string[] = [];
  const server = serverOn(dir, { port }, { told, clock });
  await server.start();
  const fault = `main: cannot listen on 127.0.0.1:${port}: EADDRINUSE, another program has the port (\`ss -ltnp\` shows which)`;
  assert.deepEqual(told.sort(), ['healthz is open', fault, 'readOnly is open']);
  assert.equal((await fetch(`http://127.0.0.1:${server.ports.healthz}/healthz`)).status, 200);
  assert.equal(server.ports.main, 0);
  taken.close();
  await once(taken, 'close');
  await clock.advance(5000);
  while (server.ports.main === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(told.at(-1), 'main is open');
  await server.stop();
  await rm(dir, { recursive: true });
});

test('H-264: a client CA without a certificate opens no port that would let nobody in; when there is one, it opens', async () => {
  const dir = await mkdtemp('/tmp/klet-');
  const clientCaFile = path.join(dir, 'ca.crt');
  await writeFile(clientCaFile, 'garbage');
  const clock = new FakeClock();
  const told: string[] = [];
  const server = serverOn(dir, { port: 0, clientCaFile }, { told, clock });
  await server.start();
  assert.deepEqual(told.sort(), [
    'healthz is open',
    `main: the client CA ${clientCaFile} has no certificate: it must be a PEM file`,
    'readOnly is open',
  ]);
  const validity = { notBefore: Date.now() - 3_600_000, notAfter: Date.now() + 3_600_000, algorithm: 'ecdsa' } as const;
  const ca = await issueCertificate({ ...validity, kind: 'ca', commonName: 'ca', organization: undefined, names: [], issuer: undefined });
  await writeFile(clientCaFile, ca.certificate);
  await clock.advance(5000);
  while (server.ports.main === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  await server.stop();
  await rm(dir, { recursive: true });
});

test('enableServer, port 0: what is off opens no port; the health port stays (H-264)', () => {
  const options = (more: Partial<AgentConfig>) => kubeletServerOptions(buildConfig(more));
  const open = ({ main, readOnly, healthz }: KubeletServerOptions) => [main?.port, readOnly?.port, healthz?.port];
  assert.deepEqual(open(options({ port: 10_250, readOnlyPort: 0, healthzPort: 10_248 })), [10_250, undefined, 10_248]);
  assert.deepEqual(open(options({ port: 0, readOnlyPort: 10_255, healthzPort: 0 })), [undefined, 10_255, undefined]);
  assert.deepEqual(open(options({ enableServer: false, port: 10_250, readOnlyPort: 10_255, healthzPort: 10_248 })), [
    undefined,
    undefined,
    10_248,
  ]);
});
