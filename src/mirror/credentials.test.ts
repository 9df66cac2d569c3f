// Kubeconfigs, certificates, bootstrap, reviews.
import 'reflect-metadata';
import assert from 'node:assert/strict';
import { webcrypto, X509Certificate } from 'node:crypto';
import { chmod, mkdtemp, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import * as x509 from '@peculiar/x509';
import { apiWorld, nodeName, quiesce, until } from '../../test/support/mirror-fixtures.ts';
import { silentLogger } from '../std/log.ts';
import { type Metrics, noMetrics } from '../std/metrics.ts';
import { ApiReviews } from './api-reviews.ts';
import { CertificateRotation } from './certificate-rotation.ts';
import { CertificateStore } from './certificate-store.ts';
import { writeKubeconfig } from './client-bootstrap.ts';
import { KubeconfigAccess } from './kubeconfig.ts';
import { parseKubeconfig } from './kubeconfig-file.ts';

const never = new AbortController().signal;

async function directory(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'pinpod-mirror-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

/** Signs what was asked for, valid for a day from `now`. */
async function sign(request: string, now: number): Promise<{ readonly pem: string; readonly request: x509.Pkcs10CertificateRequest }> {
  const csr = new x509.Pkcs10CertificateRequest(Buffer.from(request, 'base64').toString());
  assert.ok(await csr.verify(), 'the request is signed by its own key');
  const ca = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: '01',
    subject: csr.subject,
    issuer: 'CN=ca',
    notBefore: new Date(now),
    notAfter: new Date(now + 86_400_000),
    publicKey: csr.publicKey,
    signingKey: ca.privateKey,
    signingAlgorithm: algorithm,
    extensions: csr.extensions,
  });
  return { pem: certificate.toString('pem'), request: csr };
}

/** Real keys and files need real turns of the loop. */
async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; !(await condition()); i++) {
    if (i > 20_000) throw new Error('never became true');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const kubeconfig = (user: string): string => `
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://192.0.2.1:6443", certificate-authority: ca.crt, tls-server-name: kubernetes}}]
users: [{name: u, user: ${user}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`;

test('a kubeconfig with relative files; a renewed token file is read again, and nothing else is new meanwhile', async (t) => {
  const dir = await directory(t);
  const { clock } = apiWorld();
  await writeFile(join(dir, 'ca.crt'), 'authority');
  await writeFile(join(dir, 'token'), 'one\n');
  await writeFile(join(dir, 'config'), kubeconfig('{tokenFile: token}'));
  const access = new KubeconfigAccess({ path: join(dir, 'config') }, { clock });
  const first = await access.current({ signal: never });
  assert.equal(first.server, 'https://192.0.2.1:6443');
  assert.equal(first.headers['Authorization'], 'Bearer one');
  assert.deepEqual([String(first.tls.ca), first.tls.servername], ['authority', 'kubernetes']);
  await writeFile(join(dir, 'token'), 'second\n');
  assert.equal(await access.current({ signal: never }), first, 'not looked at within ten seconds');
  await clock.advance(11_000);
  assert.equal((await access.current({ signal: never })).headers['Authorization'], 'Bearer second');
  await writeFile(join(dir, 'token'), 'the third\n');
  access.invalidate();
  const third = await access.current({ signal: never });
  assert.equal(third.headers['Authorization'], 'Bearer the third', 'after a 401 at once');
  await clock.advance(60_000);
  assert.equal(await access.current({ signal: never }), third, 'the same value while nothing changes');
});

test('a kubeconfig that is missing or names missing files is a fault of its own, and recovers', async (t) => {
  const dir = await directory(t);
  const { clock } = apiWorld();
  const access = new KubeconfigAccess({ path: join(dir, 'config') }, { clock });
  await assert.rejects(access.current({ signal: never }), { code: 'credentials' });
  await writeFile(join(dir, 'config'), kubeconfig('{client-certificate: pair.pem, client-key: pair.pem}'));
  await assert.rejects(access.current({ signal: never }), { code: 'credentials' });
  await writeFile(join(dir, 'ca.crt'), 'authority');
  await writeFile(join(dir, 'pair.pem'), 'pair');
  const { tls } = await access.current({ signal: never });
  assert.deepEqual([String(tls.cert), String(tls.key)], ['pair', 'pair']);
});

test('an exec plugin is asked when its credential expires or is refused, and knows the cluster when it wants to', async (t) => {
  const dir = await directory(t);
  const { clock } = apiWorld();
  await writeFile(join(dir, 'ca.crt'), 'authority');
  const expires = new Date(clock.now() + 60_000).toISOString();
  await writeFile(
    join(dir, 'plugin'),
    `#!/bin/sh
echo run >>"$LOG"
echo "$KUBERNETES_EXEC_INFO" >"$LOG.info"
echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"expirationTimestamp":"${expires}","token":"'"$1$(wc -l <"$LOG" | tr -d ' ')"'"}}'
`,
  );
  await chmod(join(dir, 'plugin'), 0o755);
  const log = join(dir, 'log');
  const exec = `{apiVersion: client.authentication.k8s.io/v1, command: ./plugin, args: [t], env: [{name: LOG, value: ${log}}], provideClusterInfo: true}`;
  await writeFile(join(dir, 'config'), kubeconfig(`{exec: ${exec}}`));
  const access = new KubeconfigAccess({ path: join(dir, 'config') }, { clock });
  const token = async (): Promise<string | undefined> => (await access.current({ signal: never })).headers['Authorization'];
  assert.equal(await token(), 'Bearer t1');
  assert.deepEqual(JSON.parse(await readFile(`${log}.info`, 'utf8')).spec, {
    interactive: false,
    cluster: {
      server: 'https://192.0.2.1:6443',
      'certificate-authority-data': Buffer.from('authority').toString('base64'),
      'tls-server-name': 'kubernetes',
    },
  });
  await clock.advance(30_000);
  assert.equal(await token(), 'Bearer t1', 'it is still good');
  await clock.advance(31_000);
  assert.equal(await token(), 'Bearer t2', 'it has expired');
  access.invalidate();
  assert.equal(await token(), 'Bearer t3', 'the server refused it');
});

for (const [what, script, said] of [
  ['is missing', undefined, /exec plugin .*plugin.*not installed; get it from the shop/],
  ['fails', 'echo no card >&2; exit 3', /exec plugin .*no card/],
  ['answers no JSON', 'echo secret', /its answer is not JSON$/],
  [
    'answers another version',
    `echo '{"kind":"ExecCredential","apiVersion":"x/v9"}'`,
    /no ExecCredential of client.authentication.k8s.io\/v1/,
  ],
  [
    'answers nothing of use',
    `echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1"}'`,
    /neither a token nor a certificate/,
  ],
] as const) {
  test(`an exec plugin that ${what}`, async (t) => {
    const dir = await directory(t);
    await writeFile(join(dir, 'ca.crt'), 'authority');
    if (script !== undefined) await writeFile(join(dir, 'plugin'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    const exec = '{apiVersion: client.authentication.k8s.io/v1, command: ./plugin, installHint: get it from the shop}';
    await writeFile(join(dir, 'config'), kubeconfig(`{exec: ${exec}}`));
    const access = new KubeconfigAccess({ path: join(dir, 'config') }, { clock: apiWorld().clock });
    await assert.rejects(access.current({ signal: never }), { code: 'credentials', message: said });
  });
}

for (const [text, said] of [
  ['a: [', /^kubeconfig \/k: /],
  ['just text', 'kubeconfig /k: it is not a map'],
  ['{}', 'kubeconfig /k: current-context is not set'],
  ['{current-context: x}', 'kubeconfig /k: contexts has no "x"'],
  ['{current-context: x, contexts: [{name: x, context: {cluster: c, user: u}}]}', 'kubeconfig /k: clusters has no "c"'],
  [kubeconfig('{token: 5}'), 'kubeconfig /k: token is not a string'],
  [kubeconfig('{auth-provider: {name: oidc}}'), 'kubeconfig /k: auth-provider is not supported'],
  [kubeconfig('{as: admin}'), 'kubeconfig /k: as is not supported'],
  [kubeconfig('{exec: {command: x, apiVersion: client.authentication.k8s.io/v1alpha1}}'), /apiVersion .*v1alpha1" is not supported/],
  [kubeconfig('{exec: {command: x, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Always}}'), /needs a person/],
] as const) {
  test(`a kubeconfig that cannot be used: ${String(said)}`, () => {
    assert.throws(() => parseKubeconfig(text, '/k'), { code: 'credentials', message: said });
  });
}

test('a kubeconfig with everything in it', () => {
  const data = Buffer.from('pem').toString('base64');
  const text = kubeconfig(
    `{client-certificate-data: ${data}, client-key: keys/a.pem, client-key-data: "", username: u, password: p, tokenFile: /t}`,
  ).replace('ca.crt', '/ca.crt, insecure-skip-tls-verify: true');
  assert.deepEqual(parseKubeconfig(text, '/etc/k/config'), {
    server: 'https://192.0.2.1:6443',
    ca: { file: '/ca.crt' },
    serverName: 'kubernetes',
    skipVerify: true,
    certificate: { data: Buffer.from('pem') },
    key: { file: '/etc/k/keys/a.pem' },
    token: undefined,
    tokenFile: '/t',
    basic: { username: 'u', password: 'p' },
    exec: undefined,
  });
});

test('the kubeconfig written after the bootstrap is read back, mode 0600', async (t) => {
  const dir = await directory(t);
  const { clock } = apiWorld();
  const path = join(dir, 'kubeconfig');
  const pem = join(dir, 'pair.pem');
  await writeFile(pem, 'pair');
  await writeKubeconfig(
    path,
    { server: 'https://192.0.2.1:6443', headers: {}, tls: { ca: Buffer.from('authority'), servername: 'kubernetes' } },
    pem,
  );
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  const access = await new KubeconfigAccess({ path }, { clock }).current({ signal: never });
  assert.deepEqual(
    [access.server, String(access.tls.ca), String(access.tls.cert), access.tls.servername],
    ['https://192.0.2.1:6443', 'authority', 'pair', 'kubernetes'],
  );
});

function rotationOf(
  world: ReturnType<typeof apiWorld>,
  dir: string,
  kind: 'client' | 'serving',
  addresses: () => readonly { type: string; address: string }[] = () => [],
  metrics: Metrics = noMetrics,
) {
  const store = new CertificateStore({ directory: dir, name: kind === 'client' ? 'kubelet-client' : 'kubelet-server' }, world);
  const rotation = new CertificateRotation(
    { kind, nodeName },
    {
      api: world.double.api(),
      store,
      clock: world.clock,
      random: { next: () => 0.5 },
      logger: silentLogger,
      metrics,
      faults: world.faults,
      addresses,
    },
  );
  return { store, rotation };
}

async function approve(world: ReturnType<typeof apiWorld>, name: string): Promise<x509.Pkcs10CertificateRequest> {
  const csr = world.double.get('certificatesigningrequests', '', name);
  assert.ok(csr);
  const { pem, request } = await sign(csr['spec'].request, world.clock.now());
  world.double.put('certificatesigningrequests', { ...csr, status: { certificate: Buffer.from(pem).toString('base64') } });
  return request;
}

const csrs = (world: ReturnType<typeof apiWorld>) => world.double.objects('certificatesigningrequests');

test('H-307: the client certificate is asked for, said while it waits, stored as the kubelet stores it, and rotated in time', async (t) => {
  const dir = await directory(t);
  const world = apiWorld();
  const { store, rotation } = rotationOf(world, dir, 'client');
  let isDone = false;
  const done = rotation.ensure(never).then(() => {
    isDone = true;
  });
  await eventually(() => world.clock.sleeping === 1);
  const [asked] = csrs(world);
  assert.equal(asked?.['spec'].signerName, 'kubernetes.io/kube-apiserver-client-kubelet');
  assert.deepEqual(asked?.['spec'].usages, ['digital signature', 'client auth']);
  await until(world.clock, () => world.faults.list().length > 0, 60_000, 1000);
  assert.deepEqual([world.faults.list()[0]?.area, world.faults.list()[0]?.cause], ['client-certificate', 'not-approved']);
  const request = await approve(world, asked?.metadata.name ?? '');
  assert.equal(request.subject, `O=system:nodes, CN=system:node:${nodeName}`);
  for (let i = 0; !isDone && i < 200; i++) {
    await world.clock.advance(1000);
    await quiesce();
  }
  await done;
  assert.deepEqual(world.faults.list(), []);
  assert.match(await readlink(store.currentPath), /^kubelet-client-2026-01-01-\d\d-\d\d-\d\d\.pem$/);
  assert.equal((await stat(store.currentPath)).mode & 0o777, 0o600);
  const text = await readFile(store.currentPath, 'utf8');
  assert.ok(new X509Certificate(text).subject.includes(`system:node:${nodeName}`) && text.includes('PRIVATE KEY'));

  await rotation.ensure(never);
  assert.equal(csrs(world).length, 1, 'a fresh certificate is not renewed');
  await world.clock.advance(0.79 * 86_400_000);
  await rotation.ensure(never);
  assert.equal(csrs(world).length, 1);
  await world.clock.advance(0.03 * 86_400_000);
  const stop = new AbortController();
  const renewal = rotation.ensure(stop.signal);
  await eventually(() => csrs(world).length === 2);
  stop.abort(new Error('stop'));
  await assert.rejects(renewal, { message: 'stop' });
});

test('a denied request is said and another is made later', async (t) => {
  const dir = await directory(t);
  const world = apiWorld();
  const { rotation } = rotationOf(world, dir, 'client');
  const stop = new AbortController();
  const done = rotation.ensure(stop.signal);
  await eventually(() => csrs(world).length === 1 && world.clock.sleeping === 1);
  const [first] = csrs(world);
  assert.ok(first);
  world.double.put('certificatesigningrequests', { ...first, status: { conditions: [{ type: 'Denied', message: 'not you' }] } });
  await until(world.clock, () => world.faults.list()[0]?.cause === 'denied', 30_000, 1000);
  await world.clock.advance(5000);
  await eventually(() => csrs(world).length === 2);
  stop.abort(new Error('stop'));
  await assert.rejects(done, { message: 'stop' });
});

test('H-409: how long certificates last is told, and of serving ones how old they became and what failed', async (t) => {
  const dir = await directory(t);
  const world = apiWorld();
  const told = new Map<string, number>();
  const metrics: Metrics = {
    counter: ({ name }) => ({ inc: () => void told.set(name, (told.get(name) ?? 0) + 1), remove: () => undefined }),
    gauge: ({ name }) => ({ set: (value) => void told.set(name, value), remove: () => undefined }),
    histogram: ({ name }) => ({ observe: (value) => void told.set(name, value), remove: () => undefined }),
  };
  let address = '192.0.2.1';
  const { rotation } = rotationOf(world, dir, 'serving', () => [{ type: 'InternalIP', address }], metrics);
  const renew = async (): Promise<void> => {
    const before = csrs(world).length;
    let isDone = false;
    const done = rotation.ensure(never).then(() => {
      isDone = true;
    });
    await eventually(() => csrs(world).length > before && world.clock.sleeping === 1);
    await approve(world, csrs(world).at(-1)?.metadata.name ?? '');
    for (let i = 0; !isDone && i < 200; i++) {
      await world.clock.advance(1000);
      await quiesce();
    }
    await done;
  };
  world.double.isDown = true;
  const stop = new AbortController();
  const failing = rotation.ensure(stop.signal);
  await until(world.clock, () => (told.get('kubelet_server_expiration_renew_errors') ?? 0) > 0, 60_000, 1000);
  stop.abort(new Error('stop'));
  await assert.rejects(failing, { message: 'stop' });
  assert.equal(told.get('kubelet_certificate_manager_server_ttl_seconds'), Number.POSITIVE_INFINITY, 'there is none');
  world.double.isDown = false;
  await renew();
  assert.equal(told.get('kubelet_certificate_manager_server_rotation_seconds'), undefined, 'none was replaced');
  await rotation.ensure(never);
  const ttl = told.get('kubelet_certificate_manager_server_ttl_seconds') ?? 0;
  assert.ok(ttl > 0 && ttl < 10 * 365 * 86_400, String(ttl));
  await world.clock.advance(3_600_000);
  address = '192.0.2.2';
  await renew();
  assert.ok((told.get('kubelet_certificate_manager_server_rotation_seconds') ?? 0) >= 3600);
});

test('H-307: the serving certificate names the addresses of the Node, and is asked for again when they change', async (t) => {
  const dir = await directory(t);
  const world = apiWorld();
  let addresses: { type: string; address: string }[] = [];
  const { rotation } = rotationOf(world, dir, 'serving', () => addresses);
  await rotation.ensure(never);
  assert.equal(csrs(world).length, 0, 'without an address there is nothing to ask for');
  addresses = [
    { type: 'InternalIP', address: '192.0.2.1' },
    { type: 'Hostname', address: 'host' },
  ];
  const done = rotation.ensure(never);
  await eventually(() => csrs(world).length === 1 && world.clock.sleeping === 1);
  const [asked] = csrs(world);
  assert.equal(asked?.['spec'].signerName, 'kubernetes.io/kubelet-serving');
  assert.deepEqual(asked?.['spec'].usages, ['digital signature', 'server auth']);
  const request = await approve(world, asked?.metadata.name ?? '');
  const san = request.getExtension('2.5.29.17') ?? assert.fail('no subject alternative names');
  const names = new x509.SubjectAlternativeNameExtension(san.rawData).names.items.map((n) => [n.type, n.value]);
  assert.deepEqual(names, [
    ['ip', '192.0.2.1'],
    ['dns', 'host'],
  ]);
  await world.clock.advance(5000);
  await done;
  assert.ok(rotation.current);
  await rotation.ensure(never);
  assert.equal(csrs(world).length, 1);
  addresses = [{ type: 'InternalIP', address: '192.0.2.9' }];
  const stop = new AbortController();
  const again = rotation.ensure(stop.signal);
  await eventually(() => csrs(world).length === 2);
  stop.abort(new Error('stop'));
  await assert.rejects(again, { message: 'stop' });
});

test('a certificate that does not fit the key is not stored', async (t) => {
  const dir = await directory(t);
  const world = apiWorld();
  const { store } = rotationOf(world, dir, 'client');
  await assert.rejects(store.save('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n', 'no key'));
  assert.equal(await store.load(), undefined);
});

test('H-300b, H-301b: a token and a user are asked about as Kubernetes has it; silence is not waited for longer than ten seconds', async () => {
  const world = apiWorld();
  const asked: unknown[] = [];
  const answering = {
    ...world.double.api(),
    request: async (request: { path: string; body?: unknown }) => {
      asked.push((request.body as { spec: unknown }).spec);
      if (request.path.includes('tokenreviews'))
        return { status: { authenticated: true, user: { username: 'bob', uid: '7', groups: ['g'], extra: { scope: ['a'] } } } };
      const { subresource } = (request.body as { spec: { resourceAttributes: { subresource: string } } }).spec.resourceAttributes;
      return { status: { allowed: subresource !== 'log', denied: subresource === 'proxy' } };
    },
  };
  const reviews = new ApiReviews({ nodeName }, { ...world.deps, api: answering });
  const user = { name: 'bob', uid: '7', groups: ['g'], extra: { scope: ['a'] } };
  assert.deepEqual(await reviews.tokenReview('secret', { signal: never }), user);
  const may = (subresource: string) => reviews.subjectAccessReview({ user, verb: 'get', subresource }, { signal: never });
  assert.deepEqual([await may('pods'), await may('log'), await may('proxy')], [true, false, false]);
  assert.deepEqual(asked.slice(0, 2), [
    { token: 'secret' },
    {
      user: 'bob',
      uid: '7',
      groups: ['g'],
      extra: { scope: ['a'] },
      resourceAttributes: { group: '', version: 'v1', resource: 'nodes', subresource: 'pods', name: nodeName, verb: 'get' },
    },
  ]);
  world.double.rules = [() => ({ kind: 'hang' })];
  // Through the gate, which would wait longer than a caller may be kept.
  const waiting = new ApiReviews({ nodeName }, world.deps).tokenReview('other', { signal: never });
  const refused = assert.rejects(waiting, { code: 'timeout' });
  await world.clock.advance(10_000);
  await refused;
  assert.equal(
    world.faults.list().some((fault) => fault.area === 'review'),
    true,
  );
  assert.equal(world.clock.sleeping, 0);
});
