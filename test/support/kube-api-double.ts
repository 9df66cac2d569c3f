// A small, scripted Kubernetes API server: the objects the mirror uses, with the semantics it relies on (UIDs, resource
// versions, graceful deletion, watches, status patches), and a switch for every way a real one can misbehave. Reached
// directly as a KubeApi (no sockets: for tests with a fake clock) or over HTTP.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { ObjectMeta, Status } from '../../src/api/gen/kubernetes.ts';
import { ApiError, type ApiRequest, fromStatus, type KubeApi, type WatchEvent, type WatchRequest } from '../../src/mirror/kube-api.ts';
import type { Clock } from '../../src/std/clock.ts';

// biome-ignore lint/suspicious/noExplicitAny: the double stores whatever it is sent
type Obj = Record<string, any> & { metadata: { -readonly [K in keyof ObjectMeta]: ObjectMeta[K] } };

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly body: unknown;
  readonly contentType: string | undefined;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly at: number;
}

/** How the server treats a request instead of serving it. */
export type Misbehaviour =
  /** Accepts and never answers. */
  | { readonly kind: 'hang' }
  /** Cuts the connection. */
  | { readonly kind: 'drop' }
  | { readonly kind: 'status'; readonly status: Partial<Status> & { readonly code: number }; readonly retryAfterSeconds?: number }
  /** Serves it, and loses the answer. */
  | { readonly kind: 'lose-answer' }
  /** A proxy's page. */
  | { readonly kind: 'text'; readonly code: number; readonly text: string };

export type Rule = (request: SeenRequest) => Misbehaviour | undefined;

interface Watcher {
  readonly resource: string;
  readonly namespace: string | undefined;
  readonly selector: string;
  send(event: WatchEvent | { readonly type: 'ERROR'; readonly object: Status }): void;
  end(): void;
}

type Answer = { readonly code: number; readonly body: unknown; readonly retryAfterSeconds?: number };

export class KubeApiDouble {
  readonly requests: SeenRequest[] = [];
  /** The first rule that answers decides. */
  rules: Rule[] = [];
  /** Nothing listens. */
  isDown = false;
  serverTimeSkewMs = 0;
  /** Namespaces that do not exist refuse Pods and Events; `undefined` = all exist. */
  namespaces: Set<string> | undefined;
  /** Resource versions below are answered 410. */
  oldestVersion = 0;
  readonly #clock: Clock;
  readonly #objects = new Map<string, Obj>();
  readonly #history: {
    readonly resource: string;
    readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
    readonly object: Obj;
    readonly version: number;
  }[] = [];
  readonly #watchers = new Set<Watcher>();
  #version = 100;
  #uid = 0;

  constructor(deps: { readonly clock: Clock }) {
    this.#clock = deps.clock;
  }

  // ── what a test does with it ──

  objects(resource: string): Obj[] {
    return [...this.#objects].filter(([key]) => key.startsWith(`${resource}/`)).map(([, object]) => structuredClone(object));
  }

  get(resource: string, namespace: string, name: string): Obj | undefined {
    const object = this.#objects.get(`${resource}/${namespace}/${name}`);
    return object === undefined ? undefined : structuredClone(object);
  }

  /** As another client would: creates or overwrites. */
  put(resource: string, object: Record<string, unknown> & { readonly metadata: ObjectMeta }): Obj {
    const namespace = object.metadata.namespace ?? '';
    const key = `${resource}/${namespace}/${object.metadata.name ?? ''}`;
    const old = this.#objects.get(key);
    const stored = structuredClone(object) as Obj;
    stored.metadata.uid ??= old?.metadata.uid ?? this.#newUid();
    return this.#store(resource, key, stored, old === undefined ? 'ADDED' : 'MODIFIED');
  }

  /** As `kubectl delete` does: with a grace period a Pod only gets its deletionTimestamp. */
  deleteAs(resource: string, namespace: string, name: string, gracePeriodSeconds = 0): void {
    this.#remove(resource, namespace, name, gracePeriodSeconds);
  }

  count(method: string, pathPart: string): number {
    return this.requests.filter((r) => r.method === method && r.path.includes(pathPart) && r.query['watch'] === undefined).length;
  }

  get watching(): number {
    return this.#watchers.size;
  }

  /** Ends every watch; with a status as an ERROR event (410: the version has expired). */
  endWatches(error?: Partial<Status> & { readonly code: number }): void {
    for (const watcher of [...this.#watchers]) {
      if (error !== undefined) watcher.send({ type: 'ERROR', object: { kind: 'Status', apiVersion: 'v1', ...error } });
      watcher.end();
    }
    this.#watchers.clear();
  }

  // ── directly ──

  api(): KubeApi {
    return {
      request: async (request, { signal }) => {
        const answer = await this.#reach(request, signal, request.timeoutMs ?? 10_000);
        if (answer.code >= 400) throw fromStatus(answer.code, answer.body as Status, retryMs(answer));
        return structuredClone(answer.body);
      },
      watch: async (request, { signal }) => {
        const { path } = request;
        const refused = await this.#reach({ method: 'GET', path, query: { ...request.query, watch: 'true' } }, signal, request.timeoutMs);
        if (refused.code >= 400) throw fromStatus(refused.code, refused.body as Status, retryMs(refused));
        return this.#directEvents(request, signal);
      },
    };
  }

  async #reach(request: ApiRequest, signal: AbortSignal, timeoutMs: number): Promise<Answer> {
    signal.throwIfAborted();
    const hang = async (): Promise<never> => {
      await this.#clock.sleep(timeoutMs, signal);
      throw new ApiError('timeout', `no answer within ${timeoutMs / 1000} s`);
    };
    if (this.isDown) {
      await Promise.resolve();
      throw new ApiError('unreachable', 'connect ECONNREFUSED');
    }
    const seen = this.#see(request.method, request.path, request.query ?? {}, clone(request.body), request.contentType, {});
    const bad = this.#misbehaviour(seen);
    // Every real answer takes a while: others run in between.
    await new Promise((resolve) => setImmediate(resolve));
    switch (bad?.kind) {
      case 'hang':
        return await hang();
      case 'drop':
        throw new ApiError('unreachable', 'socket hang up');
      case 'lose-answer':
        this.#serve(seen);
        throw new ApiError('unreachable', 'socket hang up');
      case 'status':
        return badAnswer(bad);
      case 'text':
        throw fromStatus(bad.code, { message: bad.text });
      case undefined:
        return this.#serve(seen);
    }
  }

  async *#directEvents(request: WatchRequest, signal: AbortSignal): AsyncIterable<WatchEvent> {
    const queue: Parameters<Watcher['send']>[0][] = [];
    let wake: () => void = () => undefined;
    let ended = false;
    const watcher = this.#watch(
      request.path,
      request.query ?? {},
      (event) => {
        queue.push(event);
        wake();
      },
      () => {
        ended = true;
        wake();
      },
    );
    const onAbort = (): void => wake();
    signal.addEventListener('abort', onAbort);
    try {
      for (;;) {
        signal.throwIfAborted();
        const event = queue.shift();
        if (event !== undefined) {
          if (event.type === 'ERROR') throw fromStatus(event.object.code ?? 500, event.object);
          yield structuredClone(event);
        } else if (ended) {
          return;
        } else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#watchers.delete(watcher);
    }
  }

  // ── over HTTP ──

  #server: Server | undefined;
  readonly #sockets = new Set<Socket>();

  /** `http://127.0.0.1:<port>`; the same port when given. */
  async listen(port = 0): Promise<string> {
    const server = createServer((request, response) => {
      this.#handle(request, response).catch(() => response.destroy());
    });
    server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    this.#server = server;
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    for (const socket of this.#sockets) socket.destroy();
    if (server !== undefined) await new Promise((resolve) => server.close(resolve));
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    const url = new URL(request.url ?? '/', 'http://double');
    const query = Object.fromEntries(url.searchParams);
    const body: unknown = text === '' ? undefined : JSON.parse(text);
    const seen = this.#see(
      request.method ?? 'GET',
      decodeURIComponent(url.pathname),
      query,
      body,
      request.headers['content-type'],
      request.headers,
    );
    const bad = this.#misbehaviour(seen);
    const date = new Date(this.#clock.now() + this.serverTimeSkewMs).toUTCString();
    const reply = (answer: Answer): void => {
      const headers: Record<string, string> = { 'content-type': 'application/json', date };
      if (answer.retryAfterSeconds !== undefined) headers['retry-after'] = String(answer.retryAfterSeconds);
      response.writeHead(answer.code, headers).end(JSON.stringify(answer.body));
    };
    if (bad?.kind === 'hang') return;
    if (bad?.kind === 'drop') {
      response.destroy();
    } else if (bad?.kind === 'lose-answer') {
      this.#serve(seen);
      response.destroy();
    } else if (bad?.kind === 'status') {
      reply(badAnswer(bad));
    } else if (bad?.kind === 'text') {
      response.writeHead(bad.code, { 'content-type': 'text/html', date }).end(bad.text);
    } else if (query['watch'] === 'true') {
      const refused = this.#serve(seen);
      if (refused.code >= 400) {
        reply(refused);
        return;
      }
      response.writeHead(200, { 'content-type': 'application/json', date }).flushHeaders();
      const watcher = this.#watch(
        seen.path,
        query,
        (event) => response.write(`${JSON.stringify(event)}\n`),
        () => response.end(),
      );
      response.on('close', () => this.#watchers.delete(watcher));
    } else {
      reply(this.#serve(seen));
    }
  }

  // ── the server itself ──

  #see(
    method: string,
    path: string,
    query: Readonly<Record<string, string>>,
    body: unknown,
    contentType: string | undefined,
    headers: SeenRequest['headers'],
  ): SeenRequest {
    const seen = { method, path: decodeURIComponent(path), query, body, contentType, headers, at: this.#clock.now() };
    this.requests.push(seen);
    return seen;
  }

  #misbehaviour(seen: SeenRequest): Misbehaviour | undefined {
    for (const rule of this.rules) {
      const bad = rule(seen);
      if (bad !== undefined) return bad;
    }
    return undefined;
  }

  #serve(seen: SeenRequest): Answer {
    const target = parsePath(seen.path);
    if (target === undefined) return failure(404, 'NotFound', `the server could not find the requested resource ${seen.path}`);
    const { resource, namespace, name, subresource } = target;
    const key = `${resource}/${namespace}/${name}`;
    const old = this.#objects.get(key);
    switch (seen.method) {
      case 'GET':
        if (name !== '') return old === undefined ? notFound(resource, name) : { code: 200, body: old };
        if (seen.query['watch'] === 'true') {
          const since = Number(seen.query['resourceVersion'] ?? '0');
          return since < this.oldestVersion ? failure(410, 'Expired', 'too old resource version') : { code: 200, body: undefined };
        }
        return {
          code: 200,
          body: {
            kind: 'List',
            metadata: { resourceVersion: String(this.#version) },
            items: this.objects(resource).filter((o) => matches(o, namespace, seen.query['fieldSelector'] ?? '')),
          },
        };
      case 'POST':
        return this.#create(resource, namespace, seen.body as Obj);
      case 'PUT': {
        if (old === undefined) return notFound(resource, name);
        const body = clone(seen.body) as Obj;
        if (body.metadata.resourceVersion !== undefined && body.metadata.resourceVersion !== old.metadata.resourceVersion) {
          return failure(409, 'Conflict', 'the object has been modified; please apply your changes to the latest version and try again');
        }
        body.metadata.uid = old.metadata.uid;
        return { code: 200, body: this.#store(resource, key, body, 'MODIFIED') };
      }
      case 'PATCH': {
        if (old === undefined) return notFound(resource, name);
        const patch = clone(seen.body) as { metadata?: ObjectMeta; status?: Record<string, unknown> };
        if (patch.metadata?.uid !== undefined && patch.metadata.uid !== old.metadata.uid) {
          return failure(
            409,
            'Conflict',
            `Precondition failed: UID in precondition: ${patch.metadata.uid}, UID in object meta: ${old.metadata.uid ?? ''}`,
          );
        }
        const merge = seen.contentType?.startsWith('application/strategic-merge-patch') === true ? strategicMerge : jsonMerge;
        const merged = merge(old, subresource === 'status' ? { status: patch.status ?? {} } : patch) as Obj;
        if (JSON.stringify(merged) === JSON.stringify(old)) return { code: 200, body: old };
        return { code: 200, body: this.#store(resource, key, merged, 'MODIFIED') };
      }
      case 'DELETE': {
        if (old === undefined) return notFound(resource, name);
        const options = seen.body as { preconditions?: { uid?: string }; gracePeriodSeconds?: number } | undefined;
        if (options?.preconditions?.uid !== undefined && options.preconditions.uid !== old.metadata.uid) {
          return failure(409, 'Conflict', 'Precondition failed');
        }
        this.#remove(resource, namespace, name, options?.gracePeriodSeconds ?? 30);
        return { code: 200, body: old };
      }
      default:
        return failure(405, 'MethodNotAllowed', 'no');
    }
  }

  #create(resource: string, namespace: string, sent: Obj): Answer {
    if (resource === 'tokenreviews' || resource === 'subjectaccessreviews') return { code: 201, body: sent };
    const object = structuredClone(sent);
    if (object.metadata.generateName !== undefined && object.metadata.name === undefined) {
      object.metadata.name = `${object.metadata.generateName}${this.#uid}`;
    }
    const name = object.metadata.name ?? '';
    if (namespace !== '' && this.namespaces?.has(namespace) === false) {
      return failure(404, 'NotFound', `namespaces "${namespace}" not found`, { kind: 'namespaces', name: namespace });
    }
    if (object.metadata.resourceVersion !== undefined)
      return failure(400, 'BadRequest', 'resourceVersion should not be set on objects to be created');
    const key = `${resource}/${namespace}/${name}`;
    if (this.#objects.has(key)) return failure(409, 'AlreadyExists', `${resource} "${name}" already exists`, { kind: resource, name });
    if (namespace !== '') object.metadata.namespace = namespace;
    object.metadata.uid = this.#newUid();
    object.metadata.creationTimestamp = new Date(this.#clock.now()).toISOString();
    if (resource === 'pods') {
      object.metadata.generation = 1;
      object['status'] = { phase: 'Pending', qosClass: 'BestEffort' };
    }
    return { code: 201, body: this.#store(resource, key, object, 'ADDED') };
  }

  #remove(resource: string, namespace: string, name: string, gracePeriodSeconds: number): void {
    const key = `${resource}/${namespace}/${name}`;
    const object = this.#objects.get(key);
    if (object === undefined) return;
    if ((resource === 'pods' && gracePeriodSeconds > 0) || (object.metadata.finalizers ?? []).length > 0) {
      if (object.metadata.deletionTimestamp !== undefined) return;
      const metadata = {
        ...object.metadata,
        deletionTimestamp: new Date(this.#clock.now()).toISOString(),
        deletionGracePeriodSeconds: gracePeriodSeconds,
      };
      this.#store(resource, key, { ...object, metadata }, 'MODIFIED');
      return;
    }
    this.#objects.delete(key);
    this.#announce(resource, 'DELETED', { ...object, metadata: { ...object.metadata, resourceVersion: String(++this.#version) } });
  }

  #store(resource: string, key: string, object: Obj, type: 'ADDED' | 'MODIFIED'): Obj {
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(++this.#version) } };
    this.#objects.set(key, stored);
    this.#announce(resource, type, stored);
    return structuredClone(stored);
  }

  #announce(resource: string, type: 'ADDED' | 'MODIFIED' | 'DELETED', object: Obj): void {
    this.#history.push({ resource, type, object: structuredClone(object), version: this.#version });
    for (const watcher of this.#watchers) {
      if (watcher.resource === resource && matches(object, watcher.namespace ?? '', watcher.selector)) watcher.send({ type, object });
    }
  }

  #watch(path: string, query: Readonly<Record<string, string>>, send: Watcher['send'], end: () => void): Watcher {
    const target = parsePath(path);
    const watcher: Watcher = {
      resource: target?.resource ?? '',
      namespace: target?.namespace,
      selector: query['fieldSelector'] ?? '',
      send,
      end,
    };
    this.#watchers.add(watcher);
    const since = Number(query['resourceVersion'] ?? '0');
    for (const { resource, type, object, version } of this.#history) {
      if (version > since && resource === watcher.resource && matches(object, watcher.namespace ?? '', watcher.selector))
        send({ type, object });
    }
    return watcher;
  }

  #newUid(): string {
    return `00000000-0000-4000-8000-${String(++this.#uid).padStart(12, '0')}`;
  }
}

function clone<T>(value: T): T {
  return value === undefined ? value : (JSON.parse(JSON.stringify(value)) as T);
}

function retryMs(answer: Answer): number | undefined {
  return answer.retryAfterSeconds === undefined ? undefined : answer.retryAfterSeconds * 1000;
}

function badAnswer({ status, retryAfterSeconds }: Extract<Misbehaviour, { kind: 'status' }>): Answer {
  const body = { kind: 'Status', apiVersion: 'v1', status: 'Failure', ...status };
  return retryAfterSeconds === undefined ? { code: status.code, body } : { code: status.code, body, retryAfterSeconds };
}

function failure(code: number, reason: string, message: string, details?: Status['details']): Answer {
  return { code, body: { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message, details } };
}

function notFound(resource: string, name: string): Answer {
  return failure(404, 'NotFound', `${resource} "${name}" not found`, { kind: resource, name });
}

interface Target {
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
  readonly subresource: string;
}

function parsePath(path: string): Target | undefined {
  const match = /^(?:\/api\/v1|\/apis\/[^/]+\/v1)(?:\/namespaces\/([^/]+))?\/([a-z]+)(?:\/([^/]+)(?:\/([a-z]+))?)?$/.exec(
    decodeURIComponent(path),
  );
  return match === null
    ? undefined
    : { namespace: match[1] ?? '', resource: match[2] ?? '', name: match[3] ?? '', subresource: match[4] ?? '' };
}

function matches(object: Obj, namespace: string, selector: string): boolean {
  if (namespace !== '' && object.metadata.namespace !== namespace) return false;
  const [field, value] = selector.split('=');
  if (field === 'spec.nodeName') return object['spec']?.nodeName === value;
  if (field === 'metadata.name') return object.metadata.name === value;
  return true;
}

function jsonMerge(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const result: Record<string, unknown> = { ...(typeof target === 'object' && target !== null ? target : {}) };
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = jsonMerge(result[key], value);
  }
  return result;
}

/** The lists that Kubernetes' types declare as merged, with their merge keys. */
const mergeKeys: Readonly<Record<string, string>> = { conditions: 'type', podIPs: 'ip', hostIPs: 'ip', addresses: 'type' };

function strategicMerge(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const result: Record<string, unknown> = { ...(typeof target === 'object' && target !== null ? target : {}) };
  for (const [key, value] of Object.entries(patch)) {
    const mergeKey = mergeKeys[key];
    if (value === null) delete result[key];
    else if (Array.isArray(value) && mergeKey !== undefined)
      result[key] = mergeList((result[key] ?? []) as Obj[], value as Obj[], mergeKey);
    else result[key] = strategicMerge(result[key], value);
  }
  return result;
}

function mergeList(target: readonly Record<string, unknown>[], patch: readonly Record<string, unknown>[], mergeKey: string): unknown[] {
  const items = patch.filter((item) => item['$patch'] === undefined);
  if (patch.some((item) => item['$patch'] === 'replace')) return items;
  const gone = new Set(patch.filter((item) => item['$patch'] === 'delete').map((item) => item[mergeKey]));
  const result = target.filter((item) => !gone.has(item[mergeKey]));
  for (const item of items) {
    const at = result.findIndex((old) => old[mergeKey] === item[mergeKey]);
    if (at < 0) result.push(jsonMerge({}, item) as Record<string, unknown>);
    else result[at] = jsonMerge(result[at], item) as Record<string, unknown>;
  }
  return result;
}
