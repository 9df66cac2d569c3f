// One GET, as the URL source needs it: redirects, gzip, proxies, own certificates, a limit that holds while reading.
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { createGunzip } from 'node:zlib';

import { ManifestError } from '../std/errors.ts';
import { hostOf, type ProxyEnvironment, portOf, proxyFor } from './proxy.ts';

export interface HttpGetRequest {
  readonly url: string;
  /** Several values of a name become several lines. */
  readonly headers: Readonly<Record<string, readonly string[]>>;
  readonly ifNoneMatch?: string | undefined;
  readonly ifModifiedSince?: string | undefined;
  readonly limitBytes: number;
}

export interface HttpAnswer {
  readonly status: number;
  readonly statusText: string;
  readonly bytes: Uint8Array;
  readonly etag: string | undefined;
  readonly lastModified: string | undefined;
  readonly contentType: string | undefined;
  readonly retryAfter: string | undefined;
}

/** Rejects with `signal.reason`, a system error, or a ManifestError whose message names no header value. */
export type HttpGet = (request: HttpGetRequest, options: { readonly signal: AbortSignal }) => Promise<HttpAnswer>;

export interface HttpGetOptions {
  /** The server is checked against these certificates instead of the system's. Files are read at every request: they may be renewed. */
  readonly caFile?: string | undefined;
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
  readonly proxyEnvironment: ProxyEnvironment;
}

interface Tls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

const maxRedirects = 10;
const redirects: readonly number[] = [301, 302, 303, 307, 308];
/** Made by the request itself (S-060). */
const notForUsers: readonly string[] = ['host', 'connection', 'content-length', 'transfer-encoding', 'upgrade', 'accept-encoding'];

export function createHttpGet(options: HttpGetOptions): HttpGet {
  return async (request, { signal }) => {
    const tls = await readTls(options);
    const first = new URL(request.url);
    let url = first;
    for (let hops = 0; hops <= maxRedirects; hops++) {
      signal.throwIfAborted();
      // Another origin must not learn what was meant for this one.
      const headers = url.origin === first.origin ? userHeaders(first, request.headers) : {};
      const answer = await send(url, { ...conditions(request), ...headers }, request.limitBytes, tls, options.proxyEnvironment, signal);
      if (!redirects.includes(answer.status) || answer.location === undefined) return answer;
      if (!URL.canParse(answer.location, url.href))
        throw new ManifestError('bad-redirect', 'the server redirects to something that is not a URL');
      const next = new URL(answer.location, url);
      if (next.protocol !== 'http:' && next.protocol !== 'https:')
        throw new ManifestError('bad-redirect', `the server redirects to ${next.protocol}`);
      if (url.protocol === 'https:' && next.protocol === 'http:')
        throw new ManifestError('bad-redirect', 'the server redirects from https to http');
      url = next;
    }
    throw new ManifestError('too-many-redirects', `stopped after ${maxRedirects} redirects`);
  };
}

async function readTls({ caFile, certFile, keyFile }: HttpGetOptions): Promise<Tls> {
  const read = async (file: string | undefined): Promise<string | undefined> =>
    file === undefined ? undefined : await readFile(file, 'utf8');
  const [ca, cert, key] = await Promise.all([read(caFile), read(certFile), read(keyFile)]);
  return { ...(ca === undefined ? {} : { ca }), ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key }) };
}

type Headers = Record<string, string | readonly string[]>;

function conditions({ ifNoneMatch, ifModifiedSince }: HttpGetRequest): Headers {
  return {
    Accept: 'application/json, application/yaml;q=0.9, */*;q=0.5',
    'Accept-Encoding': 'gzip',
    'User-Agent': 'pinpod',
    ...(ifNoneMatch === undefined ? {} : { 'If-None-Match': ifNoneMatch }),
    ...(ifModifiedSince === undefined ? {} : { 'If-Modified-Since': ifModifiedSince }),
  };
}

function userHeaders(url: URL, headers: HttpGetRequest['headers']): Headers {
  const result: Headers = {};
  const credentials = basicCredentials(url);
  if (credentials !== undefined) result['Authorization'] = credentials;
  for (const [name, values] of Object.entries(headers)) {
    if (notForUsers.includes(name.toLowerCase())) continue;
    const canonical = name.replace(/(^|-)([a-z])/g, (_, dash: string, letter: string) => dash + letter.toUpperCase());
    const [only, ...more] = values;
    if (only !== undefined) result[canonical] = more.length === 0 ? only : values;
  }
  return result;
}

function basicCredentials({ username, password }: URL): string | undefined {
  if (username === '' && password === '') return undefined;
  return `Basic ${Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64')}`;
}

async function send(
  url: URL,
  headers: Headers,
  limitBytes: number,
  tls: Tls,
  env: ProxyEnvironment,
  signal: AbortSignal,
): Promise<HttpAnswer & { readonly location: string | undefined }> {
  const proxy = proxyFor(url, env);
  const isTls = url.protocol === 'https:';
  const target = { host: hostOf(url), port: portOf(url), path: url.pathname + url.search };
  const tunnel = proxy !== undefined && isTls ? await openTunnel(proxy, target, tls, signal) : undefined;
  const withoutAgent = { ...target, headers: { ...headers, Host: url.host }, method: 'GET', signal };
  const direct = { ...withoutAgent, agent: false } as const;
  const request =
    tunnel !== undefined
      ? https.request({ ...withoutAgent, createConnection: () => tunnel })
      : isTls
        ? https.request({ ...direct, ...tls })
        : proxy === undefined
          ? http.request(direct)
          : http.request({
              ...direct,
              ...viaProxy(proxy),
              path: withoutCredentials(url),
              headers: { ...direct.headers, ...proxyCredentials(proxy) },
            });
  try {
    return await new Promise((resolve, reject) => {
      request.on('error', (error) => reject(signal.aborted ? signal.reason : error));
      request.on('response', (response) => {
        readBody(response, limitBytes, signal).then((bytes) => resolve(toAnswer(response, bytes)), reject);
      });
      request.end();
    });
  } finally {
    request.destroy();
    tunnel?.destroy();
  }
}

function toAnswer(response: http.IncomingMessage, bytes: Uint8Array): HttpAnswer & { readonly location: string | undefined } {
  const { headers } = response;
  return {
    status: response.statusCode ?? 0,
    statusText: response.statusMessage ?? '',
    bytes,
    etag: headers.etag,
    lastModified: headers['last-modified'],
    contentType: headers['content-type'],
    retryAfter: headers['retry-after'],
    location: headers.location,
  };
}

/** Never holds more than the limit, whatever is sent, compressed or not (S-029, S-063). */
async function readBody(response: http.IncomingMessage, limitBytes: number, signal: AbortSignal): Promise<Uint8Array> {
  const encoding = response.headers['content-encoding'] ?? 'identity';
  if (encoding !== 'identity' && encoding !== 'gzip' && encoding !== 'x-gzip') {
    throw new ManifestError('unknown-encoding', 'the server sends an encoding that was not asked for');
  }
  const body = encoding === 'identity' ? response : response.pipe(createGunzip());
  // `pipe` hands no errors on: a cut connection has to end the decompression as well.
  if (body !== response) response.on('error', (error) => body.destroy(error));
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of body) {
      const bytes = chunk as Buffer;
      length += bytes.length;
      if (length >= limitBytes)
        throw new ManifestError('too-large', `the read limit is reached: an answer must be smaller than ${limitBytes} bytes`);
      chunks.push(bytes);
    }
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    response.destroy();
  }
  return Buffer.concat(chunks);
}

function viaProxy(proxy: URL): { readonly host: string; readonly port: number } {
  return { host: hostOf(proxy), port: portOf(proxy) };
}

function proxyCredentials(proxy: URL): Headers {
  const credentials = basicCredentials(proxy);
  return credentials === undefined ? {} : { 'Proxy-Authorization': credentials };
}

export function withoutCredentials(url: URL): string {
  const copy = new URL(url);
  copy.username = '';
  copy.password = '';
  return copy.href;
}

async function openTunnel(
  proxy: URL,
  target: { readonly host: string; readonly port: number },
  tls: Tls,
  signal: AbortSignal,
): Promise<TLSSocket> {
  const authority = `${target.host.includes(':') ? `[${target.host}]` : target.host}:${target.port}`;
  const connect = {
    ...viaProxy(proxy),
    method: 'CONNECT',
    path: authority,
    headers: { Host: authority, ...proxyCredentials(proxy) },
    agent: false,
    signal,
  } as const;
  const request = proxy.protocol === 'https:' ? https.request(connect) : http.request(connect);
  const socket = await new Promise<Socket>((resolve, reject) => {
    request.on('error', (error) => reject(signal.aborted ? signal.reason : error));
    request.on('response', (response) => {
      response.destroy();
      reject(new ManifestError('proxy-refused', `the proxy answers ${response.statusCode ?? 0} ${response.statusMessage ?? ''}`));
    });
    request.on('connect', (response, connected) => {
      if (response.statusCode === 200) resolve(connected as Socket);
      else {
        connected.destroy();
        reject(new ManifestError('proxy-refused', `the proxy answers ${response.statusCode ?? 0} ${response.statusMessage ?? ''}`));
      }
    });
    request.end();
  });
  return connectTls({ ...tls, socket, host: target.host, ...(/^[\d.]+$|:/.test(target.host) ? {} : { servername: target.host }) });
}
