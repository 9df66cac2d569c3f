// A real etcd and kube-apiserver with folders, ports and certificates of their own, from the folder that
// KUBEBUILDER_ASSETS names (etcd may also be the distribution's). Nodes are authorised as in a real cluster: Node
// authorizer and NodeRestriction are on.
import { type ChildProcess, spawn } from 'node:child_process';
import { createPrivateKey, generateKeyPairSync, webcrypto } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Pod } from '../../src/api/gen/kubernetes.ts';
import { HttpKubeApi } from '../../src/mirror/http-kube-api.ts';
import { type ApiAccess, isApiError, type KubeApi, paths } from '../../src/mirror/kube-api.ts';
import { issueCertificate } from '../../src/server/issue-certificate.ts';
import { systemClock } from '../../src/std/clock.ts';
import { noMetrics } from '../../src/std/metrics.ts';

export interface Envtest {
  /** As an administrator. */
  readonly admin: KubeApi;
  /** A kubeconfig file with the credential of this node. */
  nodeKubeconfig(nodeName: string): Promise<string>;
  /** A kubeconfig file of anybody, by a certificate made for it or by a token. */
  kubeconfig(user: { readonly commonName: string; readonly organization: string } | { readonly token: string }): Promise<string>;
  /** The authority of client certificates, ours and those of the API server at a kubelet. */
  readonly caFile: string;
  /** What kube-controller-manager does: approves and signs a waiting CertificateSigningRequest. Validity: from now. */
  sign(name: string, validity: { readonly fromMs: number; readonly toMs: number }): Promise<void>;
  /** A folder that is removed with the rest. */
  readonly directory: string;
  /** Ends only the API server; its data stay. */
  stopServer(): Promise<void>;
  startServer(): Promise<void>;
  close(): Promise<void>;
}

/** Why there can be no such test here, or undefined. */
export function envtestMissing(): string | undefined {
  const assets = process.env['KUBEBUILDER_ASSETS'];
  if (assets === undefined || assets === '') return 'KUBEBUILDER_ASSETS is not set: the mirror is NOT tested against a real kube-apiserver';
  if (!existsSync(path.join(assets, 'kube-apiserver'))) return `no kube-apiserver in KUBEBUILDER_ASSETS (${assets})`;
  if (etcdPath(assets) === undefined) return `no etcd in KUBEBUILDER_ASSETS (${assets}) nor in /usr/bin`;
  return undefined;
}

function etcdPath(assets: string): string | undefined {
  return [path.join(assets, 'etcd'), '/usr/bin/etcd', '/usr/local/bin/etcd'].find((file) => existsSync(file));
}

/** `admissionOff`: plugins that would change or refuse what a test sends. */
export async function startEnvtest({ admissionOff = [] }: { readonly admissionOff?: readonly string[] } = {}): Promise<Envtest> {
  const missing = envtestMissing();
  if (missing !== undefined) throw new Error(missing);
  const assets = process.env['KUBEBUILDER_ASSETS'] ?? '';
  const directory = await mkdtemp(path.join(tmpdir(), 'pinpod-envtest-'));
  const at = (name: string): string => path.join(directory, name);
  const [etcdPort, peerPort, apiPort] = [await freePort(), await freePort(), await freePort()];
  const children = new Set<ChildProcess>();
  const close = async (): Promise<void> => {
    // The API server first: it waits for etcd otherwise.
    for (const child of [...children].reverse()) await end(child);
    await rm(directory, { recursive: true, force: true });
  };
  try {
    const now = systemClock.now();
    const validity = { notBefore: now - 3_600_000, notAfter: now + 86_400_000, algorithm: 'ecdsa' } as const;
    const ca = await issueCertificate({
      kind: 'ca',
      commonName: 'envtest-ca',
      organization: undefined,
      names: [],
      issuer: undefined,
      ...validity,
    });
    const client = (commonName: string, organization: string) =>
      issueCertificate({ kind: 'client', commonName, organization, names: [], issuer: ca, ...validity });
    const server = await issueCertificate({
      kind: 'server',
      commonName: 'kube-apiserver',
      organization: undefined,
      names: ['127.0.0.1', 'localhost'],
      issuer: ca,
      ...validity,
    });
    const kubeletClient = await client('kube-apiserver-kubelet-client', 'system:masters');
    const accounts = generateKeyPairSync('rsa', { modulusLength: 2048 });
    await Promise.all([
      writeFile(at('ca.crt'), ca.certificate),
      writeFile(at('ca.key'), ca.key, { mode: 0o600 }),
      writeFile(at('server.crt'), server.certificate),
      writeFile(at('server.key'), server.key, { mode: 0o600 }),
      writeFile(at('kubelet-client.crt'), kubeletClient.certificate),
      writeFile(at('kubelet-client.key'), kubeletClient.key, { mode: 0o600 }),
      writeFile(at('accounts.key'), accounts.privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 }),
      writeFile(at('accounts.pub'), accounts.publicKey.export({ type: 'spki', format: 'pem' })),
    ]);
    const run = (binary: string, args: readonly string[], log: string): ChildProcess => {
      const child = spawn(binary, args, { stdio: ['ignore', 'pipe', 'pipe'] });
      const chunks: Buffer[] = [];
      for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => chunks.push(chunk));
      child.on('exit', () => {
        children.delete(child);
        writeFile(at(log), Buffer.concat(chunks)).catch(() => undefined);
      });
      children.add(child);
      return child;
    };
    const etcdUrl = `http://127.0.0.1:${etcdPort}`;
    run(
      etcdPath(assets) ?? 'etcd',
      [
        `--data-dir=${at('etcd')}`,
        `--listen-client-urls=${etcdUrl}`,
        `--advertise-client-urls=${etcdUrl}`,
        `--listen-peer-urls=http://127.0.0.1:${peerPort}`,
        `--initial-advertise-peer-urls=http://127.0.0.1:${peerPort}`,
        `--initial-cluster=default=http://127.0.0.1:${peerPort}`,
        '--unsafe-no-fsync=true',
      ],
      'etcd.log',
    );
    const url = `https://127.0.0.1:${apiPort}`;
    const admin = await client('admin', 'system:masters');
    const access: ApiAccess = { server: url, headers: {}, tls: { ca: ca.certificate, cert: admin.certificate, key: admin.key } };
    const api = new HttpKubeApi(
      { userAgent: 'pinpod/envtest' },
      { access: { current: async () => access, invalidate: () => undefined }, clock: systemClock, metrics: noMetrics },
    );
    let apiServer: ChildProcess | undefined;
    const startServer = async (): Promise<void> => {
      apiServer = run(
        path.join(assets, 'kube-apiserver'),
        [
          `--etcd-servers=${etcdUrl}`,
          '--bind-address=127.0.0.1',
          '--advertise-address=127.0.0.1',
          `--secure-port=${apiPort}`,
          `--tls-cert-file=${at('server.crt')}`,
          `--tls-private-key-file=${at('server.key')}`,
          `--client-ca-file=${at('ca.crt')}`,
          `--cert-dir=${at('apiserver')}`,
          '--authorization-mode=Node,RBAC',
          '--enable-admission-plugins=NodeRestriction',
          ...(admissionOff.length === 0 ? [] : [`--disable-admission-plugins=${admissionOff.join(',')}`]),
          '--service-account-issuer=https://kubernetes.default.svc',
          `--service-account-key-file=${at('accounts.pub')}`,
          `--service-account-signing-key-file=${at('accounts.key')}`,
          '--service-cluster-ip-range=10.96.0.0/24',
          `--kubelet-client-certificate=${at('kubelet-client.crt')}`,
          `--kubelet-client-key=${at('kubelet-client.key')}`,
          '--kubelet-preferred-address-types=InternalIP',
        ],
        'apiserver.log',
      );
      await ready(api, apiServer, at('apiserver.log'));
    };
    await startServer();
    let files = 0;
    const data = (text: string): string => Buffer.from(text).toString('base64');
    const kubeconfig: Envtest['kubeconfig'] = async (who) => {
      const pair = 'token' in who ? undefined : await client(who.commonName, who.organization);
      const user = pair === undefined ? who : { 'client-certificate-data': data(pair.certificate), 'client-key-data': data(pair.key) };
      const config = {
        apiVersion: 'v1',
        kind: 'Config',
        clusters: [{ name: 'c', cluster: { server: url, 'certificate-authority-data': data(ca.certificate) } }],
        users: [{ name: 'u', user }],
        contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
        'current-context': 'x',
      };
      files += 1;
      const file = at(`kubeconfig-${files}`);
      await writeFile(file, JSON.stringify(config), { mode: 0o600 });
      return file;
    };
    return {
      admin: api,
      directory,
      startServer,
      stopServer: async () => {
        if (apiServer !== undefined) await end(apiServer);
      },
      nodeKubeconfig: (nodeName) => kubeconfig({ commonName: `system:node:${nodeName}`, organization: 'system:nodes' }),
      kubeconfig,
      caFile: at('ca.crt'),
      sign: (name, validity) => signRequest(api, ca, name, validity),
      close: async () => {
        api.close();
        await close();
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}
async function signRequest(
  api: KubeApi,
  ca: { readonly certificate: string; readonly key: string },
  name: string,
  validity: { readonly fromMs: number; readonly toMs: number },
): Promise<void> {
  const { signal } = new AbortController();
  const path = `${paths.csrs}/${name}`;
  interface Request {
    readonly spec: { readonly request: string };
    readonly status?: object;
  }
  const request = (await api.request({ method: 'GET', path }, { signal })) as Request;
  const condition = { type: 'Approved', status: 'True', reason: 'Test', message: 'approved by the test' };
  const approved = (await api.request(
    { method: 'PUT', path: `${path}/approval`, body: { ...request, status: { conditions: [condition] } } },
    { signal },
  )) as Request;
  await import('reflect-metadata');
  const x509 = await import('@peculiar/x509');
  const csr = new x509.Pkcs10CertificateRequest(Buffer.from(request.spec.request, 'base64').toString());
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const issuer = new x509.X509Certificate(ca.certificate);
  const key = createPrivateKey(ca.key).export({ type: 'pkcs8', format: 'der' });
  const now = systemClock.now();
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: now.toString(16),
    subject: csr.subject,
    issuer: issuer.subject,
    notBefore: new Date(now + validity.fromMs),
    notAfter: new Date(now + validity.toMs),
    publicKey: csr.publicKey,
    signingKey: await webcrypto.subtle.importKey('pkcs8', key, algorithm, false, ['sign']),
    signingAlgorithm: algorithm,
    extensions: [
      ...csr.extensions,
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth, x509.ExtendedKeyUsage.serverAuth]),
    ],
  });
  const signed = { ...approved, status: { ...approved.status, certificate: Buffer.from(certificate.toString('pem')).toString('base64') } };
  await api.request({ method: 'PUT', path: `${path}/status`, body: signed }, { signal });
}

async function ready(api: KubeApi, child: ChildProcess, log: string): Promise<void> {
  const { signal } = new AbortController();
  for (let tries = 0; tries < 240; tries++) {
    if (child.exitCode !== null) throw new Error(`kube-apiserver ended: ${(await readFile(log, 'utf8').catch(() => '')).slice(-2000)}`);
    try {
      await api.request({ method: 'GET', path: `${paths.namespacedPods('default')}`, timeoutMs: 2000 }, { signal });
      await api.request({ method: 'GET', path: '/api/v1/namespaces/default', timeoutMs: 2000 }, { signal });
      return;
    } catch {
      await delay(250);
    }
  }
  throw new Error('kube-apiserver was not ready within a minute');
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGTERM');
  const isGone = await Promise.race([exited.then(() => true), delay(10_000).then(() => false)]);
  if (!isGone) {
    child.kill('SIGKILL');
    await exited;
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

const never = new AbortController().signal;

/** As an administrator; undefined when there is no such object, or no server. */
export async function read(env: Envtest, url: string): Promise<Pod | undefined> {
  try {
    return (await env.admin.request({ method: 'GET', path: url }, { signal: never })) as Pod;
  } catch (error) {
    if (isApiError(error, 'not-found', 'unreachable')) return undefined;
    throw error;
  }
}

/** A real server needs real time: waits for a state, and asserts none of it. */
export async function untilObject(env: Envtest, url: string, condition: (object: Pod | undefined) => boolean): Promise<Pod | undefined> {
  for (let i = 0; i < 1200; i++) {
    const object = await read(env, url);
    if (condition(object)) return object;
    await delay(50);
  }
  throw new Error(`${url} did not get there: ${JSON.stringify(await read(env, url))}`);
}
