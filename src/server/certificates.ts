// The node's own small PKI: a CA, a server certificate, and the administrator's client certificate, made at first
// start, reused after that, renewed before they expire (H-003, H-005, H-006).
import { constants, createPrivateKey, X509Certificate as NodeCertificate } from 'node:crypto';
import { chmod, mkdir, open, readFile, rename } from 'node:fs/promises';
import type { ServerOptions } from 'node:https';
import { isIP } from 'node:net';
import path from 'node:path';
import { type Clock, fromRfc3339, type Instant } from '../std/clock.ts';
import { messageOf, systemCode } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import { administrators } from './user.ts';

export interface CertificatesOptions {
  readonly folder: string;
  /** Names and addresses for the server certificate, besides the local ones. */
  readonly names: readonly string[];
  /** How long server and client certificates are good for. */
  readonly lifetimeMs?: number;
}

export interface CurrentCertificates {
  readonly serverTls: ServerOptions;
}

interface KeyPair {
  readonly certificate: string;
  readonly key: string;
}

interface Pki {
  readonly ca: KeyPair;
  readonly server: KeyPair;
  readonly client: KeyPair;
}

const dayMs = 86_400_000;
const caLifetimeMs = 3650 * dayMs;
const checkIntervalMs = dayMs / 2;
/** Clocks of fresh machines run behind: certificates are good from an hour ago on. */
const backdateMs = 3_600_000;

export class Certificates {
  readonly #folder: string;
  readonly #names: readonly string[];
  readonly #lifetimeMs: number;
  readonly #clock: Clock;
  readonly #log: Logger;
  #pki: Pki | undefined;

  constructor(options: CertificatesOptions, deps: { readonly clock: Clock; readonly log: Logger }) {
    this.#folder = options.folder;
    this.#names = [...new Set(['localhost', '127.0.0.1', '::1', ...options.names])];
    this.#lifetimeMs = options.lifetimeMs ?? 365 * dayMs;
    this.#clock = deps.clock;
    this.#log = deps.log;
  }

  /** Loads what is there and is still good for a while, and makes the rest. */
  async ensure(): Promise<CurrentCertificates> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const ca = (await this.#load('ca', undefined)) ?? (await this.#issue('ca', undefined));
    const server = (await this.#load('server', ca)) ?? (await this.#issue('server', ca));
    const client = (await this.#load('client', ca)) ?? (await this.#issue('client', ca));
    this.#pki = { ca, server, client };
    return {
      serverTls: {
        cert: server.certificate,
        key: server.key,
        ca: ca.certificate,
        requestCert: true,
        // Unverified clients get a 401 from the handlers instead of a failed handshake.
        rejectUnauthorized: false,
        minVersion: 'TLSv1.2',
        ALPNProtocols: ['http/1.1'],
        // A resumed session would skip the check whether a client certificate has expired.
        secureOptions: constants.SSL_OP_NO_TICKET,
      },
    };
  }

  /** Renews in time, until the signal aborts. Calls `onRenewed` with every new set. */
  async rotate(onRenewed: (current: CurrentCertificates) => Promise<void>, signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.#clock.sleep(checkIntervalMs, signal);
      try {
        const before = this.#pki;
        const current = await this.ensure();
        if (before?.server.certificate !== this.#pki?.server.certificate || before?.client.certificate !== this.#pki?.client.certificate) {
          this.#log.info('certificates of the local API were renewed');
          await onRenewed(current);
        }
      } catch (error) {
        this.#log.error('cannot renew the certificates of the local API', { error: messageOf(error) });
      }
    }
  }

  /** The file kubectl needs, mode 0600 (H-006). */
  async writeKubeconfig(file: string, server: string): Promise<void> {
    const pki = this.#pki;
    if (pki === undefined) return;
    await mkdir(path.dirname(file), { recursive: true, mode: 0o755 });
    await writeAtomically(file, kubeconfig(server, pki));
  }

  async #load(name: keyof Pki, ca: KeyPair | undefined): Promise<KeyPair | undefined> {
    try {
      const pair = {
        certificate: await readFile(this.#file(name, 'crt'), 'utf8'),
        key: await readFile(this.#file(name, 'key'), 'utf8'),
      };
      const why = this.#unusable(name, pair, ca);
      if (why === undefined) return pair;
      this.#log.info('a certificate of the local API is made anew', { certificate: name, why });
    } catch (error) {
      if (systemCode(error) !== 'ENOENT')
        this.#log.warn('a certificate of the local API cannot be used', { certificate: name, error: messageOf(error) });
    }
    return undefined;
  }

  /** Why a pair cannot be used any longer; undefined when it can. */
  #unusable(name: keyof Pki, pair: KeyPair, ca: KeyPair | undefined): string | undefined {
    const certificate = new NodeCertificate(pair.certificate);
    if (!certificate.checkPrivateKey(createPrivateKey(pair.key))) return 'the key is another one';
    if (ca !== undefined && !certificate.verify(new NodeCertificate(ca.certificate).publicKey)) return 'it is from another CA';
    const [from, until] = [certificate.validFrom, certificate.validTo].map((text) => fromRfc3339(text));
    if (from === undefined || until === undefined) return 'its dates cannot be read';
    const now = this.#clock.now();
    if (now < from) return 'it is not valid yet';
    if (until - now < (until - from) * 0.2) return 'it expires soon';
    if (name !== 'server') return undefined;
    const missing = this.#names.find((host) => (isIP(host) === 0 ? certificate.checkHost(host) : certificate.checkIP(host)) === undefined);
    return missing === undefined ? undefined : `it lacks the name ${missing}`;
  }

  async #issue(name: keyof Pki, ca: KeyPair | undefined): Promise<KeyPair> {
    // Loaded only when something is to be made: the library is large.
    const { issueCertificate } = await import('./issue-certificate.ts');
    const now = this.#clock.now();
    const lifetime = name === 'ca' ? caLifetimeMs : this.#lifetimeMs;
    const notAfter = now + lifetime;
    const pair = await issueCertificate({
      kind: name,
      commonName: name === 'ca' ? 'pinpod-ca' : name === 'server' ? 'pinpod' : 'pinpod-admin',
      organization: name === 'client' ? administrators : undefined,
      names: name === 'server' ? this.#names : [],
      notBefore: now - backdateMs,
      notAfter: ca === undefined ? notAfter : Math.min(notAfter, expiryOf(ca)),
      algorithm: 'ecdsa',
      issuer: ca,
    });
    await writeAtomically(this.#file(name, 'key'), pair.key);
    await writeAtomically(this.#file(name, 'crt'), pair.certificate);
    return pair;
  }

  #file(name: keyof Pki, ending: 'crt' | 'key'): string {
    return path.join(this.#folder, `${name}.${ending}`);
  }
}

const expiryOf = (pair: KeyPair): Instant => fromRfc3339(new NodeCertificate(pair.certificate).validTo) ?? Number.POSITIVE_INFINITY;

async function writeAtomically(file: string, text: string): Promise<void> {
  const temporary = `${file}.tmp`;
  const handle = await open(temporary, 'w', 0o600);
  try {
    // The mode counts only for a new file; an old one may have been readable.
    await chmod(temporary, 0o600);
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, file);
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** YAML by hand: every value is quoted, so that no name is taken for a boolean (H-007b). */
function kubeconfig(server: string, pki: Pki): string {
  return `# Written by pinpod at each start. Whoever can read this file has root on this machine.
apiVersion: v1
kind: Config
clusters:
- name: "pinpod"
  cluster:
    server: "${server}"
    certificate-authority-data: "${base64(pki.ca.certificate)}"
users:
- name: "pinpod"
  user:
    client-certificate-data: "${base64(pki.client.certificate)}"
    client-key-data: "${base64(pki.client.key)}"
contexts:
- name: "pinpod"
  context:
    cluster: "pinpod"
    user: "pinpod"
    namespace: "default"
current-context: "pinpod"
`;
}
