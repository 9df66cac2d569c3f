// Makes keys and certificates (ECDSA P-256 for our own API, RSA 2048 where the kubelet uses it). Loaded only when there is something to make.
import 'reflect-metadata';
import { randomBytes, webcrypto } from 'node:crypto';
import { isIP } from 'node:net';
import * as x509 from '@peculiar/x509';
import { type Instant, toDate } from '../std/clock.ts';

export interface CertificateRequest {
  readonly kind: 'ca' | 'server' | 'client';
  readonly commonName: string;
  readonly organization: string | undefined;
  /** DNS names and IP addresses. */
  readonly names: readonly string[];
  readonly notBefore: Instant;
  readonly notAfter: Instant;
  /** Of the new key and, when there is one, of the issuer's. */
  readonly algorithm: keyof typeof algorithms;
  /** Signed by itself when absent. PEM. */
  readonly issuer: { readonly certificate: string; readonly key: string } | undefined;
}

const algorithms = {
  ecdsa: { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' },
  rsa: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', publicExponent: new Uint8Array([1, 0, 1]), modulusLength: 2048 },
} as const;

/** Certificate and PKCS#8 key in PEM. */
export async function issueCertificate(request: CertificateRequest): Promise<{ readonly certificate: string; readonly key: string }> {
  const algorithm = algorithms[request.algorithm];
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const issuer = request.issuer === undefined ? undefined : new x509.X509Certificate(request.issuer.certificate);
  const signingKey = request.issuer === undefined ? keys.privateKey : await importKey(request.issuer.key, algorithm);
  const subject = new x509.Name([
    ...(request.organization === undefined ? [] : [{ O: [request.organization] }]),
    { CN: [request.commonName] },
  ]).toString();
  const certificate = await x509.X509CertificateGenerator.create({
    // Positive and not zero, 16 bytes.
    serialNumber: `4${randomBytes(16).toString('hex').slice(1)}`,
    subject,
    issuer: issuer?.subject ?? subject,
    notBefore: toDate(request.notBefore),
    notAfter: toDate(request.notAfter),
    publicKey: keys.publicKey,
    signingKey,
    signingAlgorithm: algorithm,
    extensions: await extensionsOf(request, keys.publicKey, issuer),
  });
  const key = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return { certificate: `${certificate.toString('pem')}\n`, key: `${x509.PemConverter.encode(key, 'PRIVATE KEY')}\n` };
}

async function extensionsOf(
  request: CertificateRequest,
  publicKey: webcrypto.CryptoKey,
  issuer: x509.X509Certificate | undefined,
): Promise<x509.Extension[]> {
  const isCa = request.kind === 'ca';
  const usages = isCa ? x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign : x509.KeyUsageFlags.digitalSignature;
  const extensions: x509.Extension[] = [
    new x509.BasicConstraintsExtension(isCa, undefined, true),
    new x509.KeyUsagesExtension(usages, true),
    await x509.SubjectKeyIdentifierExtension.create(publicKey, false),
  ];
  if (issuer !== undefined) extensions.push(await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey, false));
  if (!isCa) {
    const usage = request.kind === 'server' ? x509.ExtendedKeyUsage.serverAuth : x509.ExtendedKeyUsage.clientAuth;
    extensions.push(new x509.ExtendedKeyUsageExtension([usage]));
  }
  if (request.names.length > 0) {
    const names = request.names.map((name) => ({ type: isIP(name) === 0 ? ('dns' as const) : ('ip' as const), value: name }));
    extensions.push(new x509.SubjectAlternativeNameExtension(names));
  }
  return extensions;
}

async function importKey(pem: string, algorithm: (typeof algorithms)[keyof typeof algorithms]): Promise<webcrypto.CryptoKey> {
  return await webcrypto.subtle.importKey('pkcs8', x509.PemConverter.decodeFirst(pem), algorithm, false, ['sign']);
}
