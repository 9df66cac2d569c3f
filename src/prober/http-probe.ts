// HTTP probes (L-411 … L-416).
import type { HTTPGetAction } from '../api/gen/kubernetes.ts';
import { httpActionRequest } from '../pod/http-action.ts';
import { Deadline } from '../std/async.ts';
import type { Clock } from '../std/clock.ts';
import { withDeadline } from '../std/deadline.ts';
import { messageOf } from '../std/errors.ts';
import { HttpGetError, type HttpGetResponse, httpGet, toUrl } from '../std/http-get.ts';
import { maxOutputBytes, type ProbeOutcome, type ProbeTarget, probeUserAgent } from './outcome.ts';

export async function probeHttp(
  action: HTTPGetAction,
  target: ProbeTarget,
  options: { readonly timeoutMs: number; readonly signal: AbortSignal; readonly clock: Clock },
): Promise<ProbeOutcome> {
  const lookup = httpActionRequest(action, target.container, { defaultHost: target.podAddress, userAgent: probeUserAgent });
  if (lookup.kind === 'error') return lookup;
  const { request } = lookup;
  let response: HttpGetResponse;
  try {
    response = await withDeadline({ ms: options.timeoutMs, signal: options.signal, clock: options.clock }, (signal) =>
      httpGet({ ...request, maxBodyBytes: maxOutputBytes, signal }),
    );
  } catch (error) {
    options.signal.throwIfAborted();
    if (error instanceof HttpGetError && error.code === 'body') return { kind: 'error', message: messageOf(error), state: 'failure' };
    if (!(error instanceof Deadline)) return { kind: 'failure', output: messageOf(error) };
    const url = toUrl(request.target).href;
    return { kind: 'failure', output: `Get "${url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)` };
  }
  const { status, body } = response;
  if (status >= 200 && status < 300) return { kind: 'success', output: body };
  if (status >= 300 && status < 400) return { kind: 'warning', output: `Probe terminated redirects, Response body: ${body}` };
  return { kind: 'failure', output: `HTTP probe failed with statuscode: ${status}` };
}
