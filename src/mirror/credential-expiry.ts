// Looks at the client certificate in use once a minute and tells in time that it ends: when it has ended, all that the API
// server says is "Unauthorized".
import { X509Certificate } from 'node:crypto';
import { type Clock, fromRfc3339, type Instant, toRfc3339 } from '../std/clock.ts';
import { AgentError } from '../std/errors.ts';
import type { FaultBook } from './faults.ts';
import { type AccessSource, type ApiAccess, isApiError } from './kube-api.ts';

const lookMs = 60_000;
const dayMs = 86_400_000;

export interface CredentialExpiryDeps {
  readonly access: AccessSource;
  readonly clock: Clock;
  readonly faults: FaultBook;
}

/** Until the signal aborts. A kubeconfig that cannot be read is told by whoever has a request to make. */
export async function watchCredentialExpiry(deps: CredentialExpiryDeps, { signal }: { readonly signal: AbortSignal }): Promise<void> {
  const { access, clock, faults } = deps;
  for (;;) {
    try {
      const { tls } = await access.current({ signal });
      const fault = expiryFault(tls.cert, clock.now());
      if (fault === undefined) faults.clear('credential');
      else faults.report('credential', '', fault);
    } catch (error) {
      signal.throwIfAborted();
      if (!isApiError(error)) throw error;
    }
    await clock.sleep(lookMs, signal);
  }
}

/** From the last tenth of its life on, at most two weeks: by then a rotation has had its time. */
export function expiryFault(certificate: ApiAccess['tls']['cert'], now: Instant): AgentError | undefined {
  if (certificate === undefined) return undefined;
  let parsed: X509Certificate;
  try {
    parsed = new X509Certificate(certificate);
  } catch (error) {
    return new AgentError('credentials', 'the client certificate of the kubeconfig cannot be read', { cause: error });
  }
  const begin = fromRfc3339(parsed.validFrom) ?? 0;
  const end = fromRfc3339(parsed.validTo) ?? 0;
  const who = parsed.subject.replaceAll('\n', ', ');
  if (now >= end) return new AgentError('certificate-expired', `the client certificate of ${who} has expired on ${toRfc3339(end)}`);
  if (now < begin)
    return new AgentError('certificate-not-yet-valid', `the client certificate of ${who} is valid from ${toRfc3339(begin)} on`);
  if (end - now > Math.min((end - begin) / 10, 14 * dayMs)) return undefined;
  return new AgentError('certificate-expiring', `the client certificate of ${who} expires on ${toRfc3339(end)}`);
}
