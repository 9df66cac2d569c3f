// KubeApi over HTTP/1.1 with kept connections. Which server, which certificate, which token comes from an AccessSource.
import { type ClientRequest, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { Status } from '../api/gen/kubernetes.ts';
import { Deadline, linkSignals } from '../std/async.ts';
import { type Clock, fromRfc3339 } from '../std/clock.ts';
import { messageOf, systemCode } from '../std/errors.ts';
import type { Metrics } from '../std/metrics.ts';
import {
  type AccessSource,
  type ApiAccess,
  ApiError,
  type ApiFaultCode,
  type ApiRequest,
  fromStatus,
  type KubeApi,
  type WatchEvent,
  type WatchRequest,
} from './kube-api.ts';

const defaultTimeoutMs = 10_000;
const maxAnswerBytes = 64 * 1024 * 1024;
const maxWatchLineBytes = 8 * 1024 * 1024;

export interface HttpKubeApiOptions {
  readonly userAgent: string;
}

export interface HttpKubeApiDeps {
  readonly access: AccessSource;
  readonly clock: Clock;
  readonly metrics: Metrics;
  /** Difference of the server's clock to ours, in milliseconds, seen in an answer's Date header (whole seconds). */
  readonly onServerTime?: ((skewMs: number) => void) | undefined;
}

interface Connections {
  readonly access: ApiAccess;
  readonly agent: HttpAgent | HttpsAgent;
}

export class HttpKubeApi implements KubeApi {
  readonly #options: HttpKubeApiOptions;
  readonly #deps: HttpKubeApiDeps;
  readonly #requests;
  readonly #durations;
  #connections: Connections | undefined;

  constructor(options: HttpKubeApiOptions, deps: HttpKubeApiDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#requests = deps.metrics.counter({
      name: 'rest_client_requests_total',
      help: 'Requests to the Kubernetes API server by status code (or error) and method.',
      labels: ['code', 'method', 'host'],
    });
    this.#durations = deps.metrics.histogram({
      name: 'rest_client_request_duration_seconds',
      help: 'Time until an answer of the Kubernetes API server.',
      labels: ['verb', 'host'],
      buckets: [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60],
    });
  }

  async request(request: ApiRequest, { signal }: { readonly signal: AbortSignal }): Promise<unknown> {
    const timeoutMs = request.timeoutMs ?? defaultTimeoutMs;
    using timer = this.#timer(signal);
    timer.restart(timeoutMs, `no answer within ${timeoutMs / 1000} s`);
    return await this.#send(request, timer, async (response) => {
      const text = await readAll(response);
      const status = response.statusCode ?? 0;
      if (status >= 400) throw fromStatus(status, parseStatus(text), retryAfterMs(response, this.#deps.clock));
      return parseJson(text);
    });
  }

  async watch(request: WatchRequest, { signal }: { readonly signal: AbortSignal }): Promise<AsyncIterable<WatchEvent>> {
    const timer = this.#timer(signal);
    timer.restart(request.timeoutMs, `no answer within ${request.timeoutMs / 1000} s`);
    try {
      const get: ApiRequest = { method: 'GET', path: request.path, query: { ...request.query, watch: 'true' } };
      const response = await this.#send(get, timer, async (answer) => {
        const status = answer.statusCode ?? 0;
        if (status >= 400) throw fromStatus(status, parseStatus(await readAll(answer)), retryAfterMs(answer, this.#deps.clock));
        return answer;
      });
      return this.#events(response, timer, request.idleTimeoutMs);
    } catch (error) {
      timer[Symbol.dispose]();
      throw error;
    }
  }

  async *#events(response: IncomingMessage, timer: Timer, idleTimeoutMs: number): AsyncIterable<WatchEvent> {
    try {
      const decoder = new TextDecoder();
      let rest = '';
      const idle = (): void => timer.restart(idleTimeoutMs, `the watch was silent for ${idleTimeoutMs / 1000} s`);
      idle();
      for await (const chunk of response as AsyncIterable<Buffer>) {
        idle();
        rest += decoder.decode(chunk, { stream: true });
        if (rest.length > maxWatchLineBytes) throw new ApiError('bad-answer', 'an event of the watch is too large');
        for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n')) {
          const line = rest.slice(0, end);
          rest = rest.slice(end + 1);
          if (line.trim() !== '') yield parseEvent(line);
        }
      }
    } catch (error) {
      throw this.#toApiError(error, timer);
    } finally {
      response.destroy();
      timer[Symbol.dispose]();
    }
  }

  /** Closes the kept connections; requests under way fail. */
  close(): void {
    this.#connections?.agent.destroy();
    this.#connections = undefined;
  }

  async #send<T>(request: ApiRequest, timer: Timer, read: (response: IncomingMessage) => Promise<T>): Promise<T> {
    const start = this.#deps.clock.now();
    let host = 'unknown';
    let code = '<error>';
    try {
      const { access, agent } = await this.#connect(timer.signal);
      const url = urlOf(access.server, request);
      host = url.host;
      const response = await this.#exchange(url, access, agent, request, timer.signal);
      code = String(response.statusCode);
      this.#noteServerTime(response, start);
      if (response.statusCode === 401) this.#deps.access.invalidate();
      return await read(response);
    } catch (error) {
      throw this.#toApiError(error, timer);
    } finally {
      this.#requests.inc({ code, method: request.method, host });
      this.#durations.observe(Math.max(0, this.#deps.clock.now() - start) / 1000, { verb: request.method, host });
    }
  }

  /** A changed certificate or authority needs new connections; those in use are left to end. */
  async #connect(signal: AbortSignal): Promise<Connections> {
    const access = await this.#deps.access.current({ signal });
    const old = this.#connections;
    if (old !== undefined && old.access === access) return old;
    const isTls = access.server.startsWith('https:');
    const keep = { keepAlive: true, keepAliveMsecs: 30_000, maxSockets: 16, maxFreeSockets: 4, scheduling: 'lifo' } as const;
    const agent = isTls ? new HttpsAgent({ ...keep, ...defined(access.tls), minVersion: 'TLSv1.2' }) : new HttpAgent(keep);
    this.#connections = { access, agent };
    for (const sockets of Object.values(old?.agent.freeSockets ?? {})) for (const socket of sockets ?? []) socket.destroy();
    return this.#connections;
  }

  #exchange(
    url: URL,
    access: ApiAccess,
    agent: HttpAgent | HttpsAgent,
    request: ApiRequest,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    const body = request.body === undefined ? undefined : Buffer.from(JSON.stringify(request.body));
    const options = {
      method: request.method,
      agent,
      signal,
      headers: {
        ...access.headers,
        accept: 'application/json',
        'user-agent': this.#options.userAgent,
        ...(body === undefined ? {} : { 'content-type': request.contentType ?? 'application/json', 'content-length': String(body.length) }),
      },
    };
    return new Promise((resolve, reject) => {
      const sent: ClientRequest = url.protocol === 'https:' ? httpsRequest(url, options, resolve) : httpRequest(url, options, resolve);
      sent.on('error', reject);
      sent.end(body);
    });
  }

  #noteServerTime(response: IncomingMessage, sentAt: number): void {
    const date = fromRfc3339(response.headers.date ?? '');
    if (date === undefined) return;
    // The header was written somewhere between sending and now, and is cut to whole seconds.
    const now = this.#deps.clock.now();
    const skew = date + 1000 < sentAt ? date + 1000 - sentAt : date > now ? date - now : 0;
    this.#deps.onServerTime?.(skew);
  }

  #toApiError(error: unknown, timer: Timer): unknown {
    if (error instanceof ApiError) return error;
    if (timer.outer.aborted) return timer.outer.reason;
    if (timer.signal.aborted) return new ApiError('timeout', messageOf(timer.signal.reason), { cause: error });
    const code = connectionFault(error);
    if (code === 'tls') this.#deps.access.invalidate();
    return new ApiError(code, messageOf(error), { cause: error, details: { systemCode: systemCode(error) } });
  }

  #timer(outer: AbortSignal): Timer {
    return new Timer(outer, this.#deps.clock);
  }
}

/** Aborts `signal` when a time-out runs out; can be started again. */
class Timer implements Disposable {
  readonly outer: AbortSignal;
  readonly #clock: Clock;
  readonly #linked;
  #round: AbortController | undefined;

  constructor(outer: AbortSignal, clock: Clock) {
    this.outer = outer;
    this.#clock = clock;
    this.#linked = linkSignals(outer);
  }

  get signal(): AbortSignal {
    return this.#linked.signal;
  }

  restart(ms: number, message: string): void {
    this.#round?.abort();
    const round = new AbortController();
    this.#round = round;
    this.#clock.sleep(ms, round.signal).then(
      () => this.#linked.abort(new Deadline(message)),
      () => undefined,
    );
  }

  [Symbol.dispose](): void {
    this.#round?.abort();
    this.#linked[Symbol.dispose]();
  }
}

function urlOf(server: string, request: ApiRequest): URL {
  const url = new URL(server.replace(/\/+$/, '') + request.path);
  for (const [key, value] of Object.entries(request.query ?? {})) url.searchParams.set(key, value);
  return url;
}

function defined<T extends object>(value: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as { [K in keyof T]?: Exclude<T[K], undefined> };
}

async function readAll(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxAnswerBytes) throw new ApiError('bad-answer', 'the answer is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parseJson(text: string): unknown {
  try {
    return text === '' ? undefined : (JSON.parse(text) as unknown);
  } catch (error) {
    throw new ApiError('bad-answer', 'the answer is not JSON', { cause: error });
  }
}

/** The Status object of an error answer; proxies and webhooks answer with other things, whose text is then the message. */
function parseStatus(text: string): Status | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'Status') return value as Status;
  } catch {
    // Not JSON: a proxy's page.
  }
  const message = text.trim().slice(0, 200);
  return message === '' ? undefined : { message };
}

function parseEvent(line: string): WatchEvent {
  const event = parseJson(line) as { readonly type?: string; readonly object?: unknown };
  switch (event.type) {
    case 'ADDED':
    case 'MODIFIED':
    case 'DELETED':
    case 'BOOKMARK':
      return { type: event.type, object: event.object };
    case 'ERROR': {
      const status = event.object as Status | undefined;
      throw fromStatus(status?.code ?? 500, status);
    }
    default:
      throw new ApiError('bad-answer', 'the watch sent an event of an unknown type');
  }
}

function retryAfterMs(response: IncomingMessage, clock: Clock): number | undefined {
  const header = response.headers['retry-after'];
  if (header === undefined) return undefined;
  if (/^\d+$/.test(header.trim())) return Number(header) * 1000;
  const at = fromRfc3339(header);
  return at === undefined ? undefined : Math.max(0, at - clock.now());
}

const tlsCodes =
  /^(ERR_TLS_|ERR_SSL_|CERT_|UNABLE_TO_|SELF_SIGNED_CERT|DEPTH_ZERO_|ERR_OSSL_|HOSTNAME_MISMATCH|INVALID_CA|EPROTO$|ERROR_IN_CERT)/;

function connectionFault(error: unknown): ApiFaultCode {
  const code = systemCode(error) ?? '';
  if (tlsCodes.test(code)) return 'tls';
  if (code.startsWith('HPE_')) return 'bad-answer';
  return 'unreachable';
}
