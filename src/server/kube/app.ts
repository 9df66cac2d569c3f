// The node's own Kubernetes API as one function from request to response: routes, identity, negotiation, and the
// reads, watches, deletes and refusals of every resource. exec, attach and port-forward are upgrades: see upgrade.ts.
import { gunzipSync } from 'node:zlib';
import { Hono } from 'hono';
import type { Pod } from '../../api/pod.ts';
import type { Clock } from '../../std/clock.ts';
import { messageOf } from '../../std/errors.ts';
import type { Logger } from '../../std/log.ts';
import type { Random } from '../../std/random.ts';
import { readBody } from '../body.ts';
import { answerHealth } from '../health.ts';
import { chooseContainer } from '../logs/log-request.ts';
import { streamBody } from '../streaming.ts';
import { isAdministrator, type User } from '../user.ts';
import type { HealthCheck, ManifestsView, RuntimeView, StatsView } from '../views.ts';
import type { Change, KubeObject } from '../watch-cache.ts';
import { effectiveUser, isOpen, notAllowed } from './access.ts';
import {
  ApiError,
  badRequest,
  expired,
  forbidden,
  internalError,
  methodNotAllowed,
  notFound,
  tooLargeResourceVersion,
  unknownResource,
} from './api-error.ts';
import { checkPreconditions, deletedPod, parseDeleteOptions } from './delete.ts';
import { Discovery, type DiscoveryDocument, virtualResources } from './discovery.ts';
import { nodeMetrics, podMetrics, type UsageItem } from './metrics-api.ts';
import type { MirrorPods } from './mirror-view.ts';
import { aggregatedDiscovery, negotiate, wantsPretty } from './negotiate.ts';
import { type Docs, emptyOpenApiV2, OpenApi, type OpenApiDocument } from './openapi.ts';
import { openPodLog, parseLogQuery, toLogError } from './pod-log.ts';
import { checkTimeout, encodeContinue, includeObject, type ListOptions, parseListOptions } from './query.ts';
import { EventEncoder, type RenderOptions, renderList, renderObject } from './render.ts';
import type { Resource } from './resources.ts';
import { accessReview, parseReview, rulesReview, subjectReview } from './reviews.ts';
import { watchEvents } from './watch.ts';

export interface KubeVersion {
  readonly major: string;
  readonly minor: string;
  /** With a leading `v`. */
  readonly gitVersion: string;
  readonly gitCommit: string;
  readonly buildDate: string;
  readonly platform: string;
  /** What runs us: shown as `goVersion`, which clients expect to be there. */
  readonly engine: string;
}

export interface KubeApiOptions {
  readonly version: KubeVersion;
  /** `host:port` for clients that ask where the server is. */
  readonly serverAddress: string;
  /** Where users edit manifests; named when a write is refused. */
  readonly manifestLocation: string;
}

export interface KubeApiDeps {
  readonly mirrorPods: MirrorPods;
  readonly resources: readonly Resource[];
  readonly runtime: RuntimeView;
  readonly stats: StatsView;
  readonly manifests: ManifestsView;
  readonly health: readonly HealthCheck[];
  /** The kubelet's own endpoints, for GET requests below `nodes/NAME/proxy`; without it there are none there. */
  readonly kubelet?: ((request: Request) => Response | Promise<Response>) | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Aborts when the server stops: running streams end. */
  readonly signal: AbortSignal;
}

export interface KubeBindings {
  readonly user: User;
}

type Env = { Bindings: KubeBindings; Variables: { user: User } };

export type KubeApp = Hono<Env>;

/** A request for a resource, taken apart. */
interface Target {
  readonly resource: Resource;
  /** Empty for all namespaces and for resources without one. */
  readonly namespace: string;
  /** Empty for a collection. */
  readonly name: string;
  readonly subresource: string;
}

interface Call {
  readonly request: Request;
  readonly query: URLSearchParams;
  readonly user: User;
}

/** Subresources that are only ever written to. */
const writeOnly: ReadonlySet<string> = new Set(['eviction', 'binding']);
const writable: ReadonlySet<string> = new Set([...writeOnly, 'status', 'ephemeralcontainers', 'resize', 'proxy', 'finalize']);

const reported = 'the node agent reports this object; it cannot be changed here';
const unchangeable: Readonly<Record<string, string>> = {
  namespaces: 'the namespaces of this node are those that its manifests name; they cannot be changed here',
  services: 'this node runs static pods only; it has no services',
};

const plainText = { 'Content-Type': 'text/plain; charset=utf-8', 'X-Content-Type-Options': 'nosniff' } as const;

export const staticPodWarning = 'static pod: containers keep running; remove its manifest to stop it';

export class KubeApi {
  readonly app: KubeApp = new Hono<Env>({ strict: true });
  readonly #options: KubeApiOptions;
  readonly #deps: KubeApiDeps;
  readonly #discovery: Discovery;
  readonly #openApi: OpenApi;
  readonly #encoded = new WeakMap<Change<KubeObject>, Uint8Array>();

  constructor(options: KubeApiOptions, deps: KubeApiDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#discovery = new Discovery({ serverAddress: options.serverAddress }, [...deps.resources, ...virtualResources]);
    this.#openApi = new OpenApi({ version: options.version.gitVersion }, { docs: loadDocs });
    this.#routes();
  }

  #routes(): void {
    const { app } = this;
    app.onError((error, c) => this.#failure(error, c.req.raw));
    app.notFound(() => new Response('404 page not found\n', { status: 404, headers: plainText }));
    app.use(async (c, next) => {
      const user = effectiveUser(c.env.user);
      const { pathname, searchParams } = new URL(c.req.url);
      if (!isAdministrator(user) && !isOpen(user, c.req.method, pathname)) throw notAllowed(user, c.req.method, pathname, searchParams);
      c.set('user', user);
      await next();
    });
    for (const path of ['/version', '/version/']) app.get(path, (c) => this.#json(c.req.raw, 200, this.#version()));
    app.get('/', (c) => this.#json(c.req.raw, 200, { paths: this.#paths() }));
    for (const title of ['healthz', 'livez', 'readyz']) {
      app.get(`/${title}`, (c) => this.#health(title, '', c.req.raw));
      app.get(`/${title}/:check`, (c) => this.#health(title, c.req.param('check'), c.req.raw));
    }
    this.#openApiRoutes();
    this.#reviewRoutes();
    this.#usageRoutes();
    app.get('/metrics', (c) => this.#kubelet(c.req.raw, '/metrics'));
    for (const path of ['/api/v1/nodes/:name/proxy', '/api/v1/nodes/:name/proxy/*']) {
      app.get(path, (c) => this.#nodeProxy(c.req.raw, c.req.param('name') ?? ''));
    }
    for (const slash of ['', '/'] as const) {
      app.get(`/api${slash}`, (c) => this.#discover(c.req.raw, '/api'));
      app.get(`/apis${slash}`, (c) => this.#discover(c.req.raw, '/apis'));
      app.get(`/api/v1${slash}`, (c) => this.#document(c.req.raw, this.#discovery.groupVersion('', 'v1')));
      app.get(`/apis/:group${slash}`, (c) => this.#document(c.req.raw, this.#discovery.group(c.req.param('group'))));
      app.get(`/apis/:group/:version${slash}`, (c) =>
        this.#document(c.req.raw, this.#discovery.groupVersion(c.req.param('group'), c.req.param('version'))),
      );
    }
    app.all('/api/:version/*', (c) => this.#resource(callOf(c.req.raw, c.get('user')), '', c.req.param('version'), 3));
    app.all('/apis/:group/:version/*', (c) =>
      this.#resource(callOf(c.req.raw, c.get('user')), c.req.param('group'), c.req.param('version'), 4),
    );
  }

  #nodeProxy(request: Request, name: string): Promise<Response> {
    const nodes = this.#resourceNamed('nodes');
    if (nodes.cache.get('', name) === undefined) throw notFound(nodes, name);
    const [, path = ''] = /^\/api\/v1\/nodes\/[^/]+\/proxy(.*)$/.exec(new URL(request.url).pathname) ?? [];
    return this.#kubelet(request, path === '' ? '/' : path);
  }

  /** Those who may ask here may ask there; the reader of its answer is the client itself (H-313). */
  async #kubelet(request: Request, path: string): Promise<Response> {
    const { kubelet } = this.#deps;
    if (kubelet === undefined) throw unknownResource();
    const { origin, search } = new URL(request.url);
    return await kubelet(new Request(`${origin}${path}${search}`, { headers: request.headers }));
  }

  #openApiRoutes(): void {
    const { app } = this;
    const answer = (request: Request, document: OpenApiDocument | undefined): Response =>
      this.#document(request, document === undefined ? undefined : { ...document, contentType: 'application/json' });
    app.get('/openapi/v3', async (c) => answer(c.req.raw, await this.#openApi.index()));
    app.get('/openapi/v3/*', async (c) =>
      answer(c.req.raw, await this.#openApi.groupVersion(new URL(c.req.url).pathname.slice('/openapi/v3/'.length))),
    );
    app.get('/openapi/v2', async (c) => {
      const accept = c.req.header('accept') ?? '';
      if (accept.startsWith(emptyOpenApiV2.accept)) {
        return new Response(emptyOpenApiV2.body, { headers: { 'Content-Type': emptyOpenApiV2.contentType, Vary: 'Accept' } });
      }
      negotiate(accept);
      return answer(c.req.raw, await this.#openApi.v2());
    });
  }

  /** Section 1.12. */
  #reviewRoutes(): void {
    const { app } = this;
    const served = [...this.#deps.resources, ...virtualResources];
    const spec = async (request: Request, kind: string): Promise<Readonly<Record<string, unknown>>> =>
      parseReview(await readBody(request), request.headers.get('content-type') ?? '', kind);
    app.post('/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', async (c) =>
      this.#json(c.req.raw, 201, accessReview(await spec(c.req.raw, 'SelfSubjectAccessReview'), c.get('user'), served)),
    );
    app.post('/apis/authorization.k8s.io/v1/selfsubjectrulesreviews', async (c) =>
      this.#json(c.req.raw, 201, rulesReview(await spec(c.req.raw, 'SelfSubjectRulesReview'), c.get('user'), served)),
    );
    app.post('/apis/authentication.k8s.io/v1/selfsubjectreviews', async (c) => {
      await spec(c.req.raw, 'SelfSubjectReview');
      return this.#json(c.req.raw, 201, subjectReview(c.get('user'), this.#deps.clock.now()));
    });
  }

  /** Section 1.13. */
  #usageRoutes(): void {
    const { app } = this;
    const base = '/apis/metrics.k8s.io/v1beta1';
    app.get(`${base}/nodes`, async (c) => this.#usageList(c.req.raw, 'nodes', ''));
    app.get(`${base}/nodes/:name`, async (c) => this.#usage(c.req.raw, 'nodes', '', c.req.param('name')));
    app.get(`${base}/pods`, async (c) => this.#usageList(c.req.raw, 'pods', ''));
    app.get(`${base}/namespaces/:namespace/pods`, async (c) => this.#usageList(c.req.raw, 'pods', c.req.param('namespace')));
    app.get(`${base}/namespaces/:namespace/pods/:name`, async (c) =>
      this.#usage(c.req.raw, 'pods', c.req.param('namespace'), c.req.param('name')),
    );
  }

  async #usageItems(kind: 'nodes' | 'pods', namespace: string): Promise<readonly UsageItem[]> {
    const { stats, clock, signal } = this.#deps;
    if (kind === 'nodes') {
      const node = this.#resourceNamed('nodes').cache.list()[0];
      const item = node === undefined ? undefined : nodeMetrics(node, await stats.node({ signal }), clock.now());
      return item === undefined ? [] : [item];
    }
    const items = podMetrics(this.#deps.mirrorPods.list(), await stats.pods({ signal }), clock.now());
    return items.filter((item) => namespace === '' || item.metadata.namespace === namespace);
  }

  async #usageList(request: Request, kind: 'nodes' | 'pods', namespace: string): Promise<Response> {
    const { query } = callOf(request, { name: '', groups: [] });
    const options = parseListOptions(query, this.#resourceNamed(kind));
    const items = (await this.#usageItems(kind, namespace)).filter(options.matches);
    negotiate(request.headers.get('accept') ?? undefined);
    return this.#json(request, 200, {
      kind: kind === 'nodes' ? 'NodeMetricsList' : 'PodMetricsList',
      apiVersion: 'metrics.k8s.io/v1beta1',
      metadata: {},
      items,
    });
  }

  async #usage(request: Request, kind: 'nodes' | 'pods', namespace: string, name: string): Promise<Response> {
    const item = (await this.#usageItems(kind, namespace)).find((i) => i.metadata.name === name);
    negotiate(request.headers.get('accept') ?? undefined);
    if (item === undefined)
      throw notFound({ group: 'metrics.k8s.io', resource: kind, kind: kind === 'nodes' ? 'NodeMetrics' : 'PodMetrics' }, name);
    return this.#json(request, 200, item);
  }

  async #resource(asked: Call, group: string, version: string, skip: number): Promise<Response> {
    const path = segmentsOf(asked.request).slice(skip);
    // The form of before Kubernetes 1.11, which clients that were made from old specifications still use.
    const isOldWatch = path[0] === 'watch' && asked.request.method === 'GET';
    const segments = isOldWatch ? path.slice(1) : path;
    const call = isOldWatch ? { ...asked, query: new URLSearchParams([...asked.query, ['watch', 'true']]) } : asked;
    const isVirtual = virtualResources.some((r) => r.group === group && r.version === version && segments.includes(r.resource));
    if (isVirtual) throw methodNotAllowed();
    const target = this.#target(group, version, segments);
    checkTimeout(call.query);
    switch (call.request.method) {
      case 'GET':
        return await this.#read(target, call);
      case 'DELETE':
        this.#mustExist(target);
        return await this.#delete(target, call);
      case 'POST':
        if (isStream(target)) throw this.#noUpgrade(target, call);
        throw this.#refusal(target);
      case 'PATCH':
        // What is applied and not there would be created.
        if (!(call.request.headers.get('content-type') ?? '').startsWith('application/apply-patch')) this.#mustExist(target);
        throw this.#refusal(target);
      case 'PUT':
        this.#mustExist(target);
        throw this.#refusal(target);
      default:
        throw methodNotAllowed();
    }
  }

  #target(group: string, version: string, segments: readonly string[]): Target {
    const find = (name: string | undefined): Resource | undefined =>
      this.#deps.resources.find((r) => r.group === group && r.version === version && r.resource === name);
    const [first, second, third, fourth, fifth, ...more] = segments;
    if (first === 'namespaces' && third !== undefined && third !== 'status' && third !== 'finalize') {
      const resource = find(third);
      // An empty namespace would mean all of them.
      if (resource === undefined || !resource.namespaced || more.length > 0 || second === '') throw unknownResource();
      return { resource, namespace: second ?? '', name: fourth ?? '', subresource: fifth ?? '' };
    }
    const resource = find(first);
    if (resource === undefined || fourth !== undefined) throw unknownResource();
    if (resource.namespaced && second !== undefined) throw unknownResource();
    return { resource, namespace: '', name: second ?? '', subresource: third ?? '' };
  }

  async #read(target: Target, call: Call): Promise<Response> {
    const { resource, namespace, name, subresource } = target;
    if (subresource !== '') {
      if (writeOnly.has(subresource) && resource.resource === 'pods') throw methodNotAllowed();
      if (!resource.subresources.some((s) => s.name === subresource)) throw unknownResource();
      if (subresource === 'log') return await this.#log(target, call);
      if (isStream(target)) throw this.#noUpgrade(target, call);
    }
    if (name === '') return this.#list(target, call);
    if (call.query.get('watch') === 'true' || call.query.get('watch') === '1') {
      return this.#list({ ...target, name: '' }, { ...call, query: withName(call.query, name) });
    }
    const object = resource.cache.get(namespace, name);
    if (object === undefined) throw notFound(resource, name);
    return this.#json(call.request, 200, renderObject(resource, object, this.#renderOptions(call)));
  }

  #mustExist({ resource, namespace, name }: Target): void {
    if (name !== '' && resource.cache.get(namespace, name) === undefined) throw notFound(resource, name);
  }

  /** What a request for a stream that asks for no upgrade is told: what is wrong with it otherwise comes first. */
  #noUpgrade({ namespace, name, subresource }: Target, call: Call): ApiError {
    const pod = this.#pod(namespace, name);
    if (subresource !== 'portforward') chooseContainer(pod, call.query.get('container') ?? '');
    return badRequest('Upgrade request required');
  }

  #renderOptions(call: Call): RenderOptions {
    const representation = negotiate(call.request.headers.get('accept') ?? undefined);
    return {
      representation,
      include: representation === 'table' ? includeObject(call.query) : 'metadata',
      now: this.#deps.clock.now(),
    };
  }

  #list({ resource, namespace }: Target, call: Call): Response {
    const options = parseListOptions(call.query, resource);
    const render = this.#renderOptions(call);
    const matches = (object: KubeObject): boolean =>
      (namespace === '' || object.metadata?.namespace === namespace) && options.matches(object);
    if (options.watch) {
      const { clock, random, signal, log } = this.#deps;
      if (options.resourceVersion !== undefined && options.resourceVersion > resource.cache.currentVersion) {
        throw tooLargeResourceVersion(options.resourceVersion, resource.cache.currentVersion);
      }
      const encoder = new EventEncoder(
        { representation: render.representation, include: render.include },
        { resource, shared: this.#encoded },
      );
      const body = streamBody((streamSignal) => watchEvents({ resource, options, matches, encoder }, { clock, random }, streamSignal), {
        serverSignal: signal,
        onError: (error) => log.error('a watch broke off', { resource: resource.resource, error: messageOf(error) }),
      });
      return new Response(body, { headers: { 'Content-Type': 'application/json', 'Cache-Control': 'no-cache, private' } });
    }
    return this.#page(resource, resource.cache.list().filter(matches), options, call, render);
  }

  /** One page of a list: `limit` objects behind the continue token's (H-127). */
  #page(resource: Resource, objects: readonly KubeObject[], options: ListOptions, call: Call, render: RenderOptions): Response {
    const { cache } = resource;
    const { continueAfter: token, limit } = options;
    if (options.resourceVersion !== undefined && options.resourceVersion > cache.currentVersion) {
      throw tooLargeResourceVersion(options.resourceVersion, cache.currentVersion);
    }
    if (token !== undefined && (token.version > cache.currentVersion || cache.since(token.version) === undefined)) {
      throw expired(
        'The provided continue parameter is too old to display a consistent list result. You must start a new list without the continue parameter.',
      );
    }
    // A later page keeps the version of the first one: a watch from there misses nothing that changed in between.
    const version = token?.version ?? cache.currentVersion;
    const rest = token === undefined ? objects : objects.filter((object) => sortKey(object) > token.after);
    const page = limit > 0 ? rest.slice(0, limit) : rest;
    const last = page.at(-1);
    const isMore = page.length < rest.length && last !== undefined;
    const metadata = {
      resourceVersion: String(version),
      ...(isMore ? { continue: encodeContinue({ version, after: sortKey(last) }) } : {}),
      // Of a selection nobody knows how much is left (H-127).
      ...(isMore && !options.isSelection ? { remainingItemCount: rest.length - page.length } : {}),
    };
    return this.#json(call.request, 200, renderList(resource, page, metadata, render));
  }

  async #log({ namespace, name }: Target, call: Call): Promise<Response> {
    const { clock, runtime, signal, log } = this.#deps;
    const pod = this.#pod(namespace, name);
    const selection = parseLogQuery(call.query, clock, name);
    const open = await openPodLog({ pod, container: call.query.get('container') ?? '', selection }, { runtime, clock }, signal);
    const body = streamBody(open, {
      serverSignal: signal,
      onError: (error) => log.warn('a log stream broke off', { pod: `${namespace}/${name}`, error: messageOf(error) }),
    });
    return new Response(body, { headers: { 'Content-Type': 'text/plain', 'Cache-Control': 'no-cache, private' } });
  }

  /** The view of a Pod; a 404 when there is none. */
  #pod(namespace: string, name: string): Pod {
    const resource = this.#resourceNamed('pods');
    const object = resource.cache.get(namespace, name);
    if (object === undefined) throw notFound(resource, name);
    // Only MirrorPods feeds this cache, and it holds Pods.
    return object as Pod;
  }

  #resourceNamed(name: string): Resource {
    const resource = this.#deps.resources.find((r) => r.group === '' && r.resource === name);
    if (resource === undefined) throw unknownResource();
    return resource;
  }

  async #delete(target: Target, call: Call): Promise<Response> {
    const { resource, namespace, name, subresource } = target;
    if (resource.resource !== 'pods' || subresource !== '') throw this.#refusal(target);
    if (name === '') throw methodNotAllowed();
    const body = await readBody(call.request);
    const options = parseDeleteOptions(body, call.request.headers.get('content-type') ?? '', call.query);
    const pod = this.#pod(namespace, name);
    checkPreconditions(options, pod, resource);
    const answer = deletedPod(pod, options, this.#deps.clock.now());
    const isLeaving = pod.metadata.deletionTimestamp !== undefined;
    if (!options.dryRun && !isLeaving) {
      this.#deps.log.info("removing the view of a Pod at a user's request", {
        pod: `${namespace}/${name}`,
        user: call.user.impersonatedBy ?? call.user.name,
      });
      this.#deps.mirrorPods.remove(namespace, name);
      resource.cache.sync();
    }
    const response = this.#json(call.request, 200, renderObject(resource, answer, this.#renderOptions(call)));
    if (!isLeaving) response.headers.set('Warning', `299 - "${staticPodWarning}"`);
    return response;
  }

  /** Why a write is not done here, and what to do instead (H-162). */
  #refusal({ resource, namespace, name, subresource }: Target): ApiError {
    if (subresource !== '' && !writable.has(subresource)) return unknownResource();
    if (resource.resource !== 'pods') return forbidden(resource, name, unchangeable[resource.resource] ?? reported);
    const file = this.#deps.manifests.manifests().find((m) => m.pod === `${namespace}/${name}` && m.verdict.kind !== 'shadowed')?.path;
    const isThere = name !== '' && resource.cache.get(namespace, name) !== undefined;
    const what =
      file !== undefined
        ? `edit the manifest ${file} instead`
        : isThere
          ? `edit the manifest under ${this.#options.manifestLocation} instead`
          : `put a manifest into ${this.#options.manifestLocation} instead`;
    const debug = subresource === 'ephemeralcontainers' ? 'static pods do not support ephemeral containers, and ' : '';
    return forbidden(resource, name, `${debug}this node runs static pods only; ${what}`);
  }

  /** What is to be found here, for somebody who looks around. */
  #paths(): readonly string[] {
    const checks = ['healthz', 'livez', 'readyz'].flatMap((title) => [
      `/${title}`,
      ...this.#deps.health.map(({ name }) => `/${title}/${name}`),
    ]);
    const fixed = ['/apis', '/metrics', '/openapi/v2', '/openapi/v3', '/version'];
    return [...this.#discovery.paths(), ...checks, ...fixed].sort();
  }

  #version(): unknown {
    const { engine, ...version } = this.#options.version;
    return { ...version, gitTreeState: 'clean', goVersion: engine, compiler: 'none' };
  }

  #health(title: string, check: string, request: Request): Response {
    const answer = answerHealth(this.#deps.health, title, check, new URL(request.url).searchParams);
    if (answer.failures.length > 0) this.#deps.log.warn('health check failed', { failures: answer.failures });
    return new Response(answer.body, { status: answer.code, headers: plainText });
  }

  #discover(request: Request, path: '/api' | '/apis'): Response {
    const aggregated = aggregatedDiscovery(request.headers.get('accept') ?? undefined);
    if (aggregated !== undefined) return this.#document(request, this.#discovery.aggregated(path, aggregated));
    return this.#document(request, path === '/api' ? this.#discovery.legacyApi() : this.#discovery.legacyGroups());
  }

  #document(request: Request, document: DiscoveryDocument | undefined): Response {
    if (document === undefined) return new Response('404 page not found\n', { status: 404, headers: plainText });
    const headers = { 'Content-Type': document.contentType, ETag: document.etag, Vary: 'Accept', 'Cache-Control': 'public' };
    if (request.headers.get('if-none-match') === document.etag) return new Response(null, { status: 304, headers });
    return new Response(document.body, { headers });
  }

  #json(request: Request, code: number, value: unknown): Response {
    const isPretty = wantsPretty(new URL(request.url).searchParams, request.headers.get('user-agent') ?? undefined);
    return new Response(`${JSON.stringify(value, undefined, isPretty ? 2 : undefined)}\n`, {
      status: code,
      headers: { 'Content-Type': 'application/json', 'Cache-Control': 'no-cache, private' },
    });
  }

  #failure(error: unknown, request: Request): Response {
    const known = error instanceof ApiError ? error : toLogError(error);
    if (known !== undefined) return this.#json(request, known.status.code, known.status);
    this.#deps.log.error('a request failed', { method: request.method, path: new URL(request.url).pathname, error: messageOf(error) });
    const failure = internalError(messageOf(error), error);
    return this.#json(request, failure.status.code, failure.status);
  }
}

/** The descriptions are large and rarely asked for. */
async function loadDocs(): Promise<Docs> {
  const { packedDocs } = await import('../../api/gen/docs.ts');
  return JSON.parse(gunzipSync(Buffer.from(packedDocs, 'base64')).toString('utf8')) as Docs;
}

const callOf = (request: Request, user: User): Call => ({ request, query: new URL(request.url).searchParams, user });

const sortKey = (object: KubeObject): string => `${object.metadata?.namespace ?? ''}/${object.metadata?.name ?? ''}`;

const isStream = ({ resource, subresource }: Target): boolean =>
  resource.resource === 'pods' && ['exec', 'attach', 'portforward'].includes(subresource);

/** The path's segments, decoded; the first one is empty. */
function segmentsOf(request: Request): readonly string[] {
  try {
    return new URL(request.url).pathname.replace(/\/$/, '').split('/').map(decodeURIComponent);
  } catch (error) {
    throw badRequest('the path is not valid', error);
  }
}

function withName(query: URLSearchParams, name: string): URLSearchParams {
  const selected = new URLSearchParams(query);
  const fields = query.get('fieldSelector') ?? '';
  selected.set('fieldSelector', fields === '' ? `metadata.name=${name}` : `${fields},metadata.name=${name}`);
  return selected;
}
