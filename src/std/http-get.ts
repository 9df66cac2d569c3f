// One GET as probes and lifecycle hooks make it: no proxy, no connection reuse, no compression, certificates not
// verified, redirects followed only on the same host name (L-414 … L-416, L-426).
import { type ClientRequest, type IncomingMessage, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { isIPv6 } from 'node:net';
import { AgentError, messageOf, systemCode } from './errors.ts';

export interface HttpTarget {
  readonly scheme: 'http' | 'https';
  /** A name or an address; IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  /** As written by the user: with query, not necessarily escaped. */
  readonly path: string;
}

export interface HttpGetRequest {
  readonly target: HttpTarget;
  /** Sent as they are; `host` names another virtual host. */
  readonly headers: readonly { readonly name: string; readonly value: string }[];
  /** What is read of the body at most; the rest is dropped. */
  readonly maxBodyBytes: number;
  readonly signal: AbortSignal;
}

export interface HttpGetResponse {
  readonly status: number;
  readonly body: string;
}

/**
 * No answer: `code` is `transport` (the text says why), `plain-http` (TLS was answered in plain HTTP) or `redirects`; or
 * `body`: it came, but not to its end.
 */
export class HttpGetError extends AgentError {}

const maxRedirects = 10;

/**
 * The last response: a redirect is followed while it stays on the host name of `target`, and returned where it leaves
 * it or names no place. Throws HttpGetError, or `signal.reason` when that aborts before an answer has begun.
 */
export async function httpGet(request: HttpGetRequest): Promise<HttpGetResponse> {
  let at = toUrl(request.target);
  let { headers } = request;
  for (let redirects = 0; ; redirects++) {
    const { status, body, location } = await getOnce(at, headers, request);
    if (location === undefined || ![301, 302, 303, 307, 308].includes(status)) return { status, body };
    const next = URL.canParse(location, at.href) ? new URL(location, at) : undefined;
    if (next === undefined) throw new HttpGetError('transport', `Get "${at.href}": failed to parse Location header "${location}"`);
    if (next.hostname !== at.hostname || (next.protocol !== 'http:' && next.protocol !== 'https:')) return { status, body };
    if (redirects + 1 >= maxRedirects) {
      throw new HttpGetError('redirects', `Get "${next.pathname}${next.search}": stopped after ${maxRedirects} redirects`);
    }
    // A virtual host given by the user holds for places named relative to it, not for absolute ones.
    if (/^[a-z][a-z0-9+.-]*:|^\/\//i.test(location)) headers = headers.filter(({ name }) => name.toLowerCase() !== 'host');
    at = next;
  }
}

/** `http://10.0.0.1:80/healthz?x=1`, whatever characters the path has. */
export function toUrl({ scheme, host, port, path }: HttpTarget): URL {
  const bare = path.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '').replace(/#.*$/s, '');
  const rooted = bare.startsWith('/') ? bare : `/${bare}`;
  const escaped = rooted.replace(/%(?![0-9a-fA-F]{2})/g, '%25');
  return new URL(`${scheme}://${hostPort(host, port)}${escaped}`);
}

/** `host:port`, with brackets around an IPv6 address. */
export function hostPort(host: string, port: number): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}

interface OneResponse extends HttpGetResponse {
  readonly location: string | undefined;
}

function getOnce(at: URL, headers: HttpGetRequest['headers'], { maxBodyBytes, signal }: HttpGetRequest): Promise<OneResponse> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const isTls = at.protocol === 'https:';
    let outgoing: ClientRequest;
    const finish = (end: () => void): void => {
      signal.removeEventListener('abort', onAbort);
      end();
      // Also where the server would go on sending: nobody reads further.
      outgoing.destroy();
    };
    let answer: IncomingMessage | undefined;
    const onAbort = (): void => finish(() => reject(answer === undefined ? signal.reason : bodyError(bodyTimeout, signal.reason)));
    const onError = (error: unknown): void =>
      finish(() => reject(answer === undefined ? transportError(at, error) : bodyError(transportText(at, error), error)));
    try {
      // Small servers end lines with LF alone. What a lenient parser may take for a second answer is never read.
      const options = {
        agent: false as const,
        insecureHTTPParser: true,
        headers: headerTable(headers),
        setDefaultHeaders: true,
        joinDuplicateHeaders: false,
      };
      outgoing = isTls ? requestHttps(at, { ...options, rejectUnauthorized: false }) : requestHttp(at, options);
    } catch (error) {
      // A header the protocol cannot carry.
      reject(transportError(at, error));
      return;
    }
    signal.addEventListener('abort', onAbort, { once: true });
    outgoing.on('error', (error) => {
      // More than the length that was announced is not the answer's fault.
      if (answer?.complete !== true) onError(error);
    });
    outgoing.on('upgrade', ({ statusCode = 0 }: IncomingMessage) =>
      finish(() => resolve({ status: statusCode, body: '', location: undefined })),
    );
    outgoing.on('response', (response: IncomingMessage) => {
      answer = response;
      const chunks: Buffer[] = [];
      let size = 0;
      const done = (): void =>
        finish(() =>
          resolve({
            status: response.statusCode ?? 0,
            body: Buffer.concat(chunks).subarray(0, maxBodyBytes).toString('utf8'),
            location: response.headers.location,
          }),
        );
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        size += chunk.length;
        if (size >= maxBodyBytes) done();
      });
      response.on('end', done);
      response.on('error', onError);
      response.on('aborted', () => onError(new HttpGetError('transport', 'unexpected EOF')));
    });
    outgoing.end();
  });
}

function headerTable(headers: HttpGetRequest['headers']): Record<string, string | string[]> {
  const table = new Map<string, { readonly name: string; readonly values: string[] }>();
  for (const { name, value } of headers) {
    const entry = table.get(name.toLowerCase());
    if (entry === undefined) table.set(name.toLowerCase(), { name, values: [value] });
    else entry.values.push(value);
  }
  return Object.fromEntries([...table.values()].map(({ name, values }) => [name, values.length === 1 ? (values[0] ?? '') : values]));
}

/** Words of the Go network stack, which operators look for, for what Node calls by its code. */
const dialTexts: ReadonlyMap<string, string> = new Map([
  ['ECONNREFUSED', 'connect: connection refused'],
  ['EHOSTUNREACH', 'connect: no route to host'],
  ['ENETUNREACH', 'connect: network is unreachable'],
  ['ETIMEDOUT', 'connect: connection timed out'],
  ['EADDRNOTAVAIL', 'connect: cannot assign requested address'],
]);

/** What a failed connection to `address` (`host:port`) is called; undefined for anything but a failed connection. */
export function dialText(address: string, error: unknown): string | undefined {
  const code = systemCode(error) ?? '';
  const text = dialTexts.get(code);
  if (text !== undefined) return `dial tcp ${address}: ${text}`;
  if (code === 'ENOTFOUND') return `dial tcp: lookup ${address.replace(/:\d+$/, '')}: no such host`;
  if (code === 'EAI_AGAIN') return `dial tcp: lookup ${address.replace(/:\d+$/, '')}: temporary failure in name resolution`;
  return undefined;
}

/**
 * OpenSSL's numbers for "this is no TLS": wrong version number, packet length too long, http request. Node gives them
 * inside the text of an EPROTO.
 */
const notTls = /:error:(?:0A00010B|0A0000C6|0A00009C):/;

function transportError(at: URL, cause: unknown): HttpGetError {
  if (notTls.test(messageOf(cause))) {
    return new HttpGetError('plain-http', `Get "${at.href}": http: server gave HTTP response to HTTPS client`, { cause });
  }
  return new HttpGetError('transport', `Get "${at.href}": ${transportText(at, cause)}`, { cause });
}

function transportText(at: URL, cause: unknown): string {
  if (systemCode(cause) !== 'ECONNRESET') return dialText(at.host, cause) ?? messageOf(cause);
  return messageOf(cause) === 'socket hang up' ? 'EOF' : `read tcp ${at.host}: read: connection reset by peer`;
}

const bodyTimeout = 'context deadline exceeded (Client.Timeout or context cancellation while reading body)';

function bodyError(text: string, cause: unknown): HttpGetError {
  return new HttpGetError('body', text, { cause });
}
