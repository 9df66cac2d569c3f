// The certificate of the kubelet's port: the given one, or one of our own that nobody else vouches for (section 3.5).
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type Clock, fromRfc3339 } from '../../std/clock.ts';
import { ConfigError, messageOf, systemCode } from '../../std/errors.ts';
import type { ServingCertificate } from '../views.ts';

/** Reads the files of the configuration; a ConfigError when that is impossible. */
export async function givenCertificate(certFile: string, keyFile: string): Promise<ServingCertificate> {
  try {
    const certificate = await readFile(certFile, 'utf8');
    const key = await readFile(keyFile, 'utf8');
    return { certificate, key };
  } catch (error) {
    throw new ConfigError('serving-certificate', `cannot read the serving certificate: ${systemCode(error) ?? messageOf(error)}`, {
      cause: error,
      details: { certFile, keyFile },
    });
  }
}

const yearMs = 365 * 86_400_000;
const hourMs = 3_600_000;

/** `kubelet.crt` and `kubelet.key` in `folder`: used again when both can be, made otherwise (H-306). */
export async function selfSignedCertificate(
  options: { readonly folder: string; readonly host: string },
  deps: { readonly clock: Clock },
): Promise<ServingCertificate> {
  const certFile = path.join(options.folder, 'kubelet.crt');
  const keyFile = path.join(options.folder, 'kubelet.key');
  const kept = await keptCertificate(certFile, keyFile, deps.clock);
  if (kept !== undefined) return kept;
  const { issueCertificate } = await import('../issue-certificate.ts');
  const now = deps.clock.now();
  const seconds = Math.floor(now / 1000);
  const common = { organization: undefined, notBefore: now - hourMs, notAfter: now + yearMs, algorithm: 'rsa' } as const;
  const ca = await issueCertificate({ ...common, kind: 'ca', commonName: `${options.host}-ca@${seconds}`, names: [], issuer: undefined });
  const leaf = await issueCertificate({
    ...common,
    kind: 'server',
    commonName: `${options.host}@${seconds}`,
    names: [options.host],
    issuer: ca,
  });
  await mkdir(options.folder, { recursive: true, mode: 0o700 });
  await writeFile(keyFile, leaf.key, { mode: 0o600 });
  await chmod(keyFile, 0o600);
  await writeFile(certFile, leaf.certificate + ca.certificate, { mode: 0o644 });
  return { certificate: leaf.certificate + ca.certificate, key: leaf.key };
}

/** The kept pair, when it fits together and has not expired. */
async function keptCertificate(certFile: string, keyFile: string, clock: Clock): Promise<ServingCertificate | undefined> {
  try {
    const certificate = await readFile(certFile, 'utf8');
    const key = await readFile(keyFile, 'utf8');
    const parsed = new X509Certificate(certificate);
    const isGood = parsed.checkPrivateKey(createPrivateKey(key)) && (fromRfc3339(parsed.validTo) ?? 0) > clock.now();
    return isGood ? { certificate, key } : undefined;
  } catch (error) {
    // Missing or not readable as what it should be: it is made anew.
    if (error instanceof Error) return undefined;
    throw error;
  }
}
