import assert from 'node:assert/strict';
import { test } from 'node:test';
import { apiWorld, quiesce } from '../../test/support/mirror-fixtures.ts';
import { issueCertificate } from '../server/issue-certificate.ts';
import { expiryFault, watchCredentialExpiry } from './credential-expiry.ts';
import { type ApiAccess, ApiError } from './kube-api.ts';

const dayMs = 86_400_000;

async function certificate(now: number, fromDays: number, toDays: number): Promise<string> {
  const pair = await issueCertificate({
    ...{ kind: 'client', commonName: 'system:node:n', organization: 'system:nodes', names: [], issuer: undefined, algorithm: 'ecdsa' },
    ...{ notBefore: now + fromDays * dayMs, notAfter: now + toDays * dayMs },
  });
  return pair.certificate;
}

const rows: readonly [string, readonly [number, number], string | undefined][] = [
  ['a year old one with a month to go', [-335, 30], undefined],
  ['one that ends within two weeks', [-352, 13], 'certificate-expiring'],
  ['a short one in the middle of its life', [-0.5, 0.5], undefined],
  ['a short one in its last tenth', [-0.95, 0.05], 'certificate-expiring'],
  ['one that has ended', [-365, -1], 'certificate-expired'],
  ['one of the future: a clock is wrong', [1, 365], 'certificate-not-yet-valid'],
];

for (const [what, [from, to], expected] of rows) {
  test(`a client certificate's end: ${what}`, async () => {
    const now = Date.UTC(2026, 0, 1);
    assert.equal(expiryFault(await certificate(now, from, to), now)?.code, expected);
  });
}

test('without a certificate, or with one that is none', () => {
  assert.equal(expiryFault(undefined, 0), undefined);
  assert.equal(expiryFault('nonsense', 0)?.code, 'credentials');
});

test('an end is told once, and is over with the next certificate; a kubeconfig that cannot be read is not told here', async () => {
  const { clock, faults, events } = apiWorld();
  const access = (cert: string): ApiAccess => ({ server: 'https://192.0.2.1', headers: {}, tls: { cert } });
  let current: ApiAccess | undefined = access(await certificate(clock.now(), -365, 1));
  const source = {
    current: async () => {
      if (current === undefined) throw new ApiError('credentials', 'ENOENT');
      return current;
    },
    invalidate: () => undefined,
  };
  const stop = new AbortController();
  const running = watchCredentialExpiry({ access: source, clock, faults }, { signal: stop.signal }).catch(() => undefined);
  await quiesce();
  await clock.advance(600_000);
  assert.deepEqual(
    events.map(({ reason, message }) => `${reason} ${message.slice(0, 32)}`),
    ['CertificateFault credential: certificate-expiring'],
  );
  assert.match(faults.list()[0]?.advice ?? '', /renew/);
  current = undefined;
  await clock.advance(60_000);
  assert.equal(faults.list().length, 1);
  current = access(await certificate(clock.now(), -1, 365));
  await clock.advance(60_000);
  assert.deepEqual(faults.list(), []);
  stop.abort(new Error('stop'));
  await running;
});
