// Keeps one certificate valid by asking the cluster to sign a new one in time (H-307): the client's, by which we are
// known to the API server, or the serving one of the kubelet's port.
import type { NodeAddress, ObjectMeta } from '../api/gen/kubernetes.ts';
import type { TaskGroup } from '../std/async.ts';
import type { Clock, Instant } from '../std/clock.ts';
import { AgentError, messageOf } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import type { Counter, Histogram, Metrics } from '../std/metrics.ts';
import type { Random } from '../std/random.ts';
import { Backoff } from './backoff.ts';
import type { CertificateStore, StoredCertificate } from './certificate-store.ts';
import type { FaultBook } from './faults.ts';
import { type KubeApi, paths } from './kube-api.ts';

export interface CertificateRotationOptions {
  readonly kind: 'client' | 'serving';
  readonly nodeName: string;
}

export interface CertificateRotationDeps {
  readonly api: KubeApi;
  readonly store: CertificateStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly faults: FaultBook;
  /** What a serving certificate is for; without any, none is asked for yet. */
  readonly addresses?: (() => readonly NodeAddress[]) | undefined;
  /** Another pair is in use: found in the store at the start, put there by somebody, or issued. */
  readonly onChange?: ((certificate: StoredCertificate) => void) | undefined;
}

interface SigningRequest {
  readonly metadata?: ObjectMeta;
  readonly status?: {
    readonly certificate?: string;
    readonly conditions?: readonly { readonly type: string; readonly message?: string; readonly reason?: string }[];
  };
}

/** How long one request is waited for before another is made. */
const approvalMs = 15 * 60_000;
const checkMs = 60_000;
/** Until the Node has an address: a look that asks nobody. */
const nameCheckMs = 1000;

export class CertificateRotation {
  readonly #options: CertificateRotationOptions;
  readonly #deps: CertificateRotationDeps;
  readonly #ttl;
  readonly #lives: Histogram | undefined;
  readonly #renewErrors: Counter | undefined;
  #current: StoredCertificate | undefined;
  /** The share of its life after which the current one is replaced: 0.7 … 0.9, drawn once for each. */
  #share: number;
  #names = '';

  constructor(options: CertificateRotationOptions, deps: CertificateRotationDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#share = 0.7 + 0.2 * deps.random.next();
    this.#ttl = deps.metrics.gauge({
      name: `kubelet_certificate_manager_${options.kind === 'client' ? 'client' : 'server'}_ttl_seconds`,
      help: '[ALPHA] Seconds until the certificate expires; negative when it has, infinite when there is none',
    });
    if (options.kind === 'client') return;
    this.#lives = deps.metrics.histogram({
      name: 'kubelet_certificate_manager_server_rotation_seconds',
      help: '[ALPHA] For how long a serving certificate had been valid when it was replaced',
      buckets: [60, 3600, 4 * 3600, 12 * 3600, ...[1, 7, 30, 90, 180, 365, 4 * 365].map((days) => days * 86_400)],
    });
    this.#renewErrors = deps.metrics.counter({
      name: 'kubelet_server_expiration_renew_errors',
      help: '[ALPHA] Renewals of the serving certificate that failed',
    });
  }

  /** The pair in use, or undefined while there is none. */
  get current(): StoredCertificate | undefined {
    return this.#current;
  }

  start(group: TaskGroup): void {
    group.spawn(`${this.#options.kind}-certificate`, async ({ signal }) => {
      for (;;) {
        await this.ensure(signal);
        await this.#deps.clock.sleep(this.#hasNoName ? nameCheckMs : checkMs, signal);
      }
    });
  }

  /** Resolves once the certificate needs no renewal at present; tries until then, for ever. */
  async ensure(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff({ baseMs: 2000, maxMs: 5 * 60_000 }, this.#deps);
    const area = this.#options.kind === 'client' ? 'client-certificate' : 'serving-certificate';
    for (;;) {
      // Somebody else (kubeadm) may have put one there.
      this.#use(await this.#deps.store.load());
      this.#ttl.set(this.#current === undefined ? Number.POSITIVE_INFINITY : (this.#current.notAfter - this.#deps.clock.now()) / 1000);
      if (!this.#isDue(this.#deps.clock.now())) return;
      try {
        const replaced = this.#current;
        const renewed = await this.#renew(signal);
        if (replaced !== undefined) this.#lives?.observe((this.#deps.clock.now() - replaced.notBefore) / 1000);
        this.#share = 0.7 + 0.2 * this.#deps.random.next();
        this.#deps.faults.clear(area);
        this.#deps.logger.info('certificate issued', { kind: this.#options.kind });
        this.#use(renewed);
        return;
      } catch (error) {
        signal.throwIfAborted();
        this.#renewErrors?.inc();
        this.#deps.faults.report(area, '', error);
        await this.#deps.clock.sleep(backoff.next(), signal);
      }
    }
  }

  #use(certificate: StoredCertificate | undefined): void {
    if (certificate === undefined || certificate.certPem === this.#current?.certPem) return;
    this.#current = certificate;
    this.#deps.onChange?.(certificate);
  }

  /** A serving certificate is for the Node's addresses; there are none before the Node is known. */
  get #hasNoName(): boolean {
    return this.#options.kind === 'serving' && this.#subjectNames().length === 0;
  }

  #isDue(now: Instant): boolean {
    const names = this.#subjectNames();
    if (this.#hasNoName) return false;
    const current = this.#current;
    if (current === undefined) return true;
    // A serving certificate names the addresses; of one that was loaded, they are taken as right until they change.
    const isForOthers = this.#names !== '' && this.#names !== JSON.stringify(names);
    return isForOthers || now >= current.notBefore + (current.notAfter - current.notBefore) * this.#share;
  }

  #subjectNames(): readonly { readonly type: 'dns' | 'ip'; readonly value: string }[] {
    if (this.#options.kind === 'client') return [];
    const names = (this.#deps.addresses?.() ?? []).map(({ type, address }) => ({
      type: type.endsWith('IP') ? ('ip' as const) : ('dns' as const),
      value: address,
    }));
    if (this.#names === '' && this.#current !== undefined) this.#names = JSON.stringify(names);
    return names;
  }

  async #renew(signal: AbortSignal): Promise<StoredCertificate> {
    const names = this.#subjectNames();
    const { csr, keyPem } = await createRequest(this.#options.nodeName, names);
    const isServing = this.#options.kind === 'serving';
    const { name } = await this.#submit(
      {
        apiVersion: 'certificates.k8s.io/v1',
        kind: 'CertificateSigningRequest',
        metadata: { generateName: 'csr-' },
        spec: {
          request: csr,
          signerName: isServing ? 'kubernetes.io/kubelet-serving' : 'kubernetes.io/kube-apiserver-client-kubelet',
          usages: ['digital signature', isServing ? 'server auth' : 'client auth'],
        },
      },
      signal,
    );
    const certPem = await this.#awaitCertificate(name, signal);
    const stored = await this.#deps.store.save(certPem, keyPem);
    this.#names = JSON.stringify(names);
    return stored;
  }

  async #submit(body: unknown, signal: AbortSignal): Promise<{ readonly name: string }> {
    const created = (await this.#deps.api.request({ method: 'POST', path: paths.csrs, body }, { signal })) as SigningRequest;
    const name = created.metadata?.name;
    if (name === undefined) throw new AgentError('bad-answer', 'the certificate request came back without a name');
    return { name };
  }

  async #awaitCertificate(name: string, signal: AbortSignal): Promise<string> {
    const backoff = new Backoff({ baseMs: 1000, maxMs: 30_000 }, this.#deps);
    const until = this.#deps.clock.now() + approvalMs;
    const area = this.#options.kind === 'client' ? 'client-certificate' : 'serving-certificate';
    for (;;) {
      const { status } = (await this.#deps.api.request({ method: 'GET', path: `${paths.csrs}/${name}` }, { signal })) as SigningRequest;
      const refusal = status?.conditions?.find((c) => c.type === 'Denied' || c.type === 'Failed');
      if (refusal !== undefined)
        throw new AgentError('denied', `certificate request ${name}: ${refusal.message ?? refusal.reason ?? refusal.type}`);
      if (status?.certificate !== undefined && status.certificate !== '') return Buffer.from(status.certificate, 'base64').toString('utf8');
      if (this.#deps.clock.now() >= until) throw new AgentError('not-approved', `certificate request ${name} was not approved in time`);
      // Serving certificates are approved by people: say early what is waited for.
      if (backoff.failures >= 3)
        this.#deps.faults.report(area, '', new AgentError('not-approved', `certificate request ${name} waits for approval`));
      await this.#deps.clock.sleep(backoff.next(), signal);
    }
  }
}

/** An ECDSA P-256 key and a request for the node's subject (H-307); the request as base64 of its PEM. */
async function createRequest(
  nodeName: string,
  names: readonly { readonly type: 'dns' | 'ip'; readonly value: string }[],
): Promise<{ readonly csr: string; readonly keyPem: string }> {
  await import('reflect-metadata');
  const x509 = await import('@peculiar/x509');
  const { webcrypto } = await import('node:crypto');
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  try {
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const request = await x509.Pkcs10CertificateRequestGenerator.create(
      {
        name: [{ O: ['system:nodes'] }, { CN: [`system:node:${nodeName}`] }],
        keys,
        signingAlgorithm: algorithm,
        extensions: names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension([...names])],
      },
      webcrypto,
    );
    const key = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
    const keyPem = `-----BEGIN PRIVATE KEY-----\n${key.replaceAll(/.{64}(?=.)/g, '$&\n')}\n-----END PRIVATE KEY-----\n`;
    return { csr: Buffer.from(`${request.toString('pem')}\n`).toString('base64'), keyPem };
  } catch (error) {
    throw new AgentError('certificate', `cannot make a certificate request: ${messageOf(error)}`, { cause: error });
  }
}
