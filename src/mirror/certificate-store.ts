// Certificate and key of one purpose on disk, in the kubelet's layout: `<name>-current.pem` is a link to a dated file
// with both in one PEM (H-307), so that kubeadm and people find what they know.
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, fromRfc3339, type Instant, toRfc3339 } from '../std/clock.ts';
import { AgentError } from '../std/errors.ts';

export interface StoredCertificate {
  readonly certPem: string;
  readonly keyPem: string;
  readonly notBefore: Instant;
  readonly notAfter: Instant;
}

export class CertificateStore {
  readonly #directory: string;
  readonly #name: string;
  readonly #clock: Clock;

  constructor(
    options: { readonly directory: string; readonly name: 'kubelet-client' | 'kubelet-server' },
    deps: { readonly clock: Clock },
  ) {
    this.#directory = options.directory;
    this.#name = options.name;
    this.#clock = deps.clock;
  }

  get currentPath(): string {
    return join(this.#directory, `${this.#name}-current.pem`);
  }

  /** Undefined when there is none or it cannot be used. */
  async load(): Promise<StoredCertificate | undefined> {
    try {
      const text = await readFile(this.currentPath, 'utf8');
      return parsePem(text);
    } catch {
      return undefined;
    }
  }

  /** Throws AgentError when `certPem` and `keyPem` do not belong together. A crash leaves the old or the new pair. */
  async save(certPem: string, keyPem: string): Promise<StoredCertificate> {
    const stored = parsePem(`${certPem.trimEnd()}\n${keyPem}`);
    if (stored === undefined) throw new AgentError('certificate', 'the certificate issued does not fit the key');
    await mkdir(this.#directory, { recursive: true, mode: 0o755 });
    const stamp = toRfc3339(this.#clock.now()).slice(0, 19).replaceAll(/[T:]/g, '-');
    const file = `${this.#name}-${stamp}.pem`;
    await writeFile(join(this.#directory, file), `${certPem.trimEnd()}\n${keyPem}`, { mode: 0o600, flush: true });
    const link = `${this.currentPath}.new`;
    await rm(link, { force: true });
    await symlink(file, link);
    await rename(link, this.currentPath);
    return stored;
  }
}

function parsePem(text: string): StoredCertificate | undefined {
  const certs = text.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----\n?/g) ?? [];
  const key = /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]+?-----END [A-Z ]*PRIVATE KEY-----\n?/.exec(text)?.[0];
  const [leaf] = certs;
  if (leaf === undefined || key === undefined) return undefined;
  const certificate = new X509Certificate(leaf);
  const notBefore = fromRfc3339(certificate.validFrom);
  const notAfter = fromRfc3339(certificate.validTo);
  if (notBefore === undefined || notAfter === undefined || !certificate.checkPrivateKey(createPrivateKey(key))) return undefined;
  return { certPem: certs.join(''), keyPem: key, notBefore, notAfter };
}
