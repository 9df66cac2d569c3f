// The kubelet's own endpoints (sections 3.2 and 3.3) as one function from request to response; exec, attach and
// port-forward are upgrades: see streams.ts. One instance serves a listener: the main one, the read-only one, or the
// health one.
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { type Context, type Handler, Hono } from 'hono';
import { allContainers, type Pod } from '../../api/pod.ts';
import { type Clock, type Instant, toRfc3339 } from '../../std/clock.ts';
import { formatDuration } from '../../std/duration.ts';
import { messageOf, RuntimeError } from '../../std/errors.ts';
import type { Logger } from '../../std/log.ts';
import { readBody } from '../body.ts';
import { answerHealth } from '../health.ts';
import { ApiError } from '../kube/api-error.ts';
import { openPodLog, parseLogQuery, toLogError } from '../kube/pod-log.ts';
import { streamBody } from '../streaming.ts';
import type { User } from '../user.ts';
import type {
  CgroupUsage,
  ConfigView,
  HealthCheck,
  ManifestsView,
  MetricsView,
  NodeUsage,
  PodsView,
  PodUsage,
  RuntimeView,
  StatsView,
  TroublesView,
} from '../views.ts';
import type { KubeletAuth } from './auth.ts';
import { exposition, formatFamilies, mergeExpositions } from './prometheus-text.ts';
import { stateMetrics } from './state-metrics.ts';
import { summaryOf } from './summary.ts';
import { openSystemLog } from './system-logs.ts';
import { cadvisorMetrics, logMetrics, resourceMetrics } from './usage-metrics.ts';

export interface KubeletApiOptions {
  readonly listener: 'main' | 'readOnly' | 'healthz';
  readonly nodeName: string;
  readonly enableDebuggingHandlers: boolean;
  readonly enableSystemLogHandler: boolean;
  readonly enableDebugFlagsHandler: boolean;
  /** Served under /logs/. */
  readonly systemLogDir: string;
  /** Made when the first checkpoint is. */
  readonly checkpointsDir: string;
}

export interface KubeletBuild {
  /** `v1.36.2+…`. */
  readonly version: string;
  /** What runs us. */
  readonly engine: string;
  readonly startedAt: Instant;
}

export interface KubeletApiDeps {
  readonly pods: PodsView;
  readonly runtime: RuntimeView;
  readonly stats: StatsView;
  readonly config: ConfigView;
  readonly manifests: ManifestsView;
  readonly troubles: TroublesView;
  readonly metricsView: MetricsView;
  readonly health: readonly HealthCheck[];
  /** Undefined: everybody may (read-only and health listeners). */
  readonly auth?: KubeletAuth | undefined;
  readonly toStaticUid?: ToStaticUid | undefined;
  readonly build: KubeletBuild;
  readonly setVerbosity: (verbosity: number) => void;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

type Env = { Bindings: { readonly user: User } };

const text = (body: string, code = 200, more: Readonly<Record<string, string>> = {}): Response =>
  new Response(body, {
    status: code,
    headers: { 'Content-Type': 'text/plain; charset=utf-8', 'X-Content-Type-Options': 'nosniff', ...more },
  });

const missing = (): Response => text('404 page not found\n', 404);

/** What the kubelet answers with 405 to other methods, and with other words when nothing is there. */
const resources = new Set(['pods', 'runningpods', 'stats', 'containerLogs', 'run', 'exec', 'attach', 'portForward', 'checkpoint', 'debug']);
const resourceMissing = (): Response => text('404: Page Not Found', 404);
const movedTo = (place: string): Response =>
  new Response(`<a href="${place}">Temporary Redirect</a>.\n\n`, {
    status: 307,
    headers: { 'Content-Type': 'text/html; charset=utf-8', Location: place },
  });

export const debugDisabled = 'Debug endpoints are disabled.';

/** First segments of paths that exist, and which are debug endpoints (H-279g). */
const debugPaths = new Set(['run', 'exec', 'attach', 'portForward', 'containerLogs', 'runningpods', 'logs']);
const mainPaths = new Set([...debugPaths, 'pods', 'healthz', 'metrics', 'stats', 'configz', 'checkpoint', 'statusz', 'flagz', 'debug']);
const readOnlyPaths = new Set([...debugPaths, 'pods', 'healthz', 'metrics', 'stats']);

export class KubeletApi {
  readonly app = new Hono<Env>({ strict: true });
  readonly #options: KubeletApiOptions;
  readonly #deps: KubeletApiDeps;
  readonly #checkCounts = new Map<string, { success: number; error: number; last: boolean }>();

  constructor(options: KubeletApiOptions, deps: KubeletApiDeps) {
    this.#options = options;
    this.#deps = deps;
    if (options.listener === 'healthz') this.#healthRoutes();
    else this.#routes();
  }

  #healthRoutes(): void {
    const { app } = this;
    app.onError((error, c) => this.#failure(error, c.req.raw));
    app.notFound(missing);
    app.all('/healthz', (c) => this.#health('', c.req.raw));
    app.all('/healthz/:check', (c) => this.#health(c.req.param('check'), c.req.raw));
  }

  #routes(): void {
    const { app } = this;
    app.onError((error, c) => this.#failure(error, c.req.raw));
    app.notFound((c) => (resources.has(c.req.path.split('/')[1] ?? '') ? resourceMissing() : missing()));
    app.use(async (c, next) => {
      const path = new URL(c.req.url).pathname;
      const first = path.split('/')[1] ?? '';
      const isMain = this.#options.listener === 'main';
      if (!(isMain ? mainPaths : readOnlyPaths).has(first)) return missing();
      const authorization = await this.#deps.auth?.authorize(c.env.user, c.req.method, path, this.#deps.signal);
      if (authorization?.allowed === false) return text(authorization.message, authorization.code);
      if (debugPaths.has(first) && (!isMain || !this.#options.enableDebuggingHandlers)) return text(`${debugDisabled}\n`, 405);
      await next();
      return undefined;
    });
    this.#podRoutes();
    this.#metricRoutes();
    // Any method will do for these.
    app.all('/healthz', (c) => this.#health('', c.req.raw));
    app.all('/healthz/:check', (c) => this.#health(c.req.param('check'), c.req.raw));
    app.all('/configz', () => Response.json({ kubeletconfig: this.#deps.config.kubelet() }));
    app.all('/statusz', () => text(this.#statusz()));
    app.all('/flagz', () => text(flagz(this.#deps.config.kubelet())));
    app.all('/debug/flags/v', (c) => this.#setVerbosity(c.req.raw));
    app.get('/logs', () => movedTo('/logs/'));
    app.get('/logs/*', (c) => this.#systemLog(new URL(c.req.url).pathname.slice('/logs/'.length)));
  }

  /** For these methods, and 405 for all others. */
  #on(methods: readonly string[], paths: readonly string[], handler: Handler<Env>): void {
    const allow = methods.join(', ');
    const refused = (): Response => text('405: Method Not Allowed', 405, { Allow: allow });
    for (const path of paths) this.app.all(path, (c, next) => (methods.includes(c.req.method) ? handler(c, next) : refused()));
  }

  #podRoutes(): void {
    const pods = (): Response => {
      const items = this.#deps.pods.list().map(({ kind: _kind, apiVersion: _apiVersion, ...pod }) => pod);
      return Response.json({ kind: 'PodList', apiVersion: 'v1', metadata: {}, items });
    };
    const target = (c: Context<Env>): RunTarget => {
      const { namespace = '', pod = '', container = '', uid } = c.req.param() as Readonly<Record<string, string>>;
      return { namespace, pod, container, uid };
    };
    this.#on(['GET'], ['/pods', '/pods/'], pods);
    this.#on(['GET'], ['/runningpods'], () => movedTo('/runningpods/'));
    this.#on(['GET'], ['/runningpods/'], async () => Response.json(await this.#runningPods()));
    this.#on(['GET'], ['/containerLogs/:namespace/:pod/:container'], (c) => this.#containerLog(c.req.raw, target(c)));
    this.#on(['POST'], ['/run/:namespace/:pod/:container', '/run/:namespace/:pod/:uid/:container'], (c) =>
      this.#run(new URL(c.req.url).searchParams, target(c)),
    );
    const streams = ['exec', 'attach'].flatMap((kind) => [
      `/${kind}/:namespace/:pod/:container`,
      `/${kind}/:namespace/:pod/:uid/:container`,
    ]);
    this.#on(['GET', 'POST'], [...streams, '/portForward/:namespace/:pod', '/portForward/:namespace/:pod/:uid'], () =>
      text('Upgrade request required\n', 400),
    );
    this.#on(['POST'], ['/checkpoint/:namespace/:pod/:container'], (c) => this.#checkpoint(new URL(c.req.url).searchParams, target(c)));
    this.#on(['GET'], ['/stats'], () => movedTo('/stats/'));
    this.#on(['GET', 'POST'], ['/stats/summary'], (c) => this.#summary(c.req.query('only_cpu_and_memory') === 'true'));
  }

  #metricRoutes(): void {
    const { app } = this;
    const { metricsView, stats } = this.#deps;
    const routes: Readonly<Record<string, () => Promise<string>>> = {
      '/metrics': async () => {
        const counted = await metricsView.expose('agent');
        return mergeExpositions(counted, stateMetrics(this.#deps), logMetrics(await stats.logs()));
      },
      '/metrics/probes': () => metricsView.expose('probes'),
      '/metrics/slis': async () => {
        // Nobody may ever ask for the health itself.
        this.#countChecks();
        return this.#healthMetrics();
      },
      '/metrics/resource': async () => resourceMetrics(...(await this.#usage())),
      '/metrics/cadvisor': async () => cadvisorMetrics(...(await this.#usage())),
    };
    for (const [path, read] of Object.entries(routes))
      app.all(path, async (c) => exposition(await read(), c.req.header('Accept-Encoding')));
  }

  /** Of the node and of the Pods, each undefined when it cannot be read, and of the control groups. */
  async #usage(): Promise<[NodeUsage | undefined, readonly PodUsage[] | undefined, readonly CgroupUsage[]]> {
    const { stats, signal, log } = this.#deps;
    const orNothing = async <T>(usage: Promise<T>): Promise<T | undefined> => {
      try {
        return await usage;
      } catch (error) {
        log.warn('cannot read the usage', { error: messageOf(error) });
        return undefined;
      }
    };
    return await Promise.all([orNothing(stats.node({ signal })), orNothing(stats.pods({ signal })), stats.cgroups({ signal })]);
  }

  async #summary(onlyCpuAndMemory: boolean): Promise<Response> {
    const { stats, signal } = this.#deps;
    const { nodeName } = this.#options;
    const [node, pods, cgroups, volumes] = await Promise.all([
      stats.node({ signal }),
      stats.pods({ signal }),
      stats.cgroups({ signal }),
      onlyCpuAndMemory ? new Map() : stats.volumes({ signal }),
    ]);
    const body = JSON.stringify(summaryOf({ nodeName, node, pods, cgroups, volumes, onlyCpuAndMemory }), undefined, 1);
    return new Response(`${body}\n`, { headers: { 'Content-Type': 'application/json' } });
  }

  /** H-281. */
  async #runningPods(): Promise<unknown> {
    const pods = await this.#deps.runtime.runningPods({ signal: this.#deps.signal });
    const items = pods.map(({ name, namespace, uid, containers }) => ({
      metadata: { name, namespace, uid },
      spec: { containers: containers.length === 0 ? null : containers.map((c) => ({ name: c.name, image: c.image, resources: {} })) },
      status: {},
    }));
    return { kind: 'PodList', apiVersion: 'v1', metadata: {}, items };
  }

  #pod(namespace: string, name: string): Pod | undefined {
    return findPod(this.#deps.pods, namespace, name);
  }

  async #containerLog(request: Request, { namespace, pod: name, container }: RunTarget): Promise<Response> {
    const { clock, runtime, signal, log } = this.#deps;
    const query = new URL(request.url).searchParams;
    // The older spelling of tailLines.
    const tail = query.get('tail');
    if (tail !== null && tail !== 'all' && !query.has('tailLines')) query.set('tailLines', tail);
    const pod = this.#pod(namespace, name);
    if (pod === undefined) return text(`pod "${name}" does not exist`, 404);
    let selection: ReturnType<typeof parseLogQuery>;
    try {
      selection = parseLogQuery(query, clock, name);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const isUnreadable = error.status.code === 400;
      return text(isUnreadable ? '{"message": "Unable to decode query."}' : '{"message": "Invalid request."}', error.status.code);
    }
    const open = await openPodLog({ pod, container, selection }, { runtime, clock }, signal);
    const body = streamBody(open, {
      serverSignal: signal,
      onError: (error) => log.warn('a log stream broke off', { pod: `${namespace}/${name}`, error: messageOf(error) }),
    });
    return new Response(body, { headers: { 'Content-Type': 'text/plain' } });
  }

  /** H-278. */
  async #run(query: URLSearchParams, target: RunTarget): Promise<Response> {
    const found = findRunning(this.#deps.pods, target, this.#deps.toStaticUid ?? sameUid);
    if (!found.ok) return text(found.message, found.code);
    const command = (query.get('cmd') ?? '').split(' ');
    const result = await this.#deps.runtime.run({ containerId: found.containerId, command }, { signal: this.#deps.signal });
    return new Response(new Uint8Array(result.output), { status: 200, headers: { 'Content-Type': 'application/json' } });
  }

  /** H-279a: the runtime makes it, if it can. */
  async #checkpoint(query: URLSearchParams, target: RunTarget): Promise<Response> {
    const { namespace, pod: name, container } = target;
    const pod = this.#pod(namespace, name);
    if (pod === undefined) return text('pod does not exist', 404);
    const names = allContainers(pod.spec).map((c) => c.name);
    if (!names.includes(container)) return text(`container ${container} does not exist`, 404);
    const failed = (why: string): Response => text(`checkpointing of ${namespace}/${name}/${container} failed (${why})`, 500);
    const timeout = query.get('timeout') ?? '0';
    if (!/^\d{1,9}$/.test(timeout)) return failed(`the timeout ${JSON.stringify(timeout)} is not a number of seconds`);
    const found = findRunning(this.#deps.pods, target, sameUid);
    if (!found.ok) return failed('the container is not running');
    const { clock, runtime, signal, log } = this.#deps;
    const { checkpointsDir } = this.#options;
    const location = path.join(checkpointsDir, `checkpoint-${name}_${namespace}-${container}-${toRfc3339(clock.now())}.tar`);
    try {
      // It holds the container's memory, and with it its secrets.
      await mkdir(checkpointsDir, { recursive: true, mode: 0o700 });
      const request = { containerId: found.containerId, location, timeoutSeconds: Number(timeout) };
      await runtime.checkpoint(request, { signal });
    } catch (error) {
      signal.throwIfAborted();
      log.warn('no checkpoint was made', { pod: `${namespace}/${name}`, container, error: messageOf(error) });
      const isUnknown = error instanceof RuntimeError && error.code === 'unimplemented';
      return failed(isUnknown ? 'the container runtime cannot make checkpoints' : messageOf(error));
    }
    log.info('a checkpoint was made', { pod: `${namespace}/${name}`, container, path: location });
    return Response.json({ items: [location] });
  }

  async #systemLog(encoded: string): Promise<Response> {
    if (!this.#options.enableSystemLogHandler) return text('logs endpoint is disabled.\n', 405);
    let relative: string;
    try {
      relative = decodeURIComponent(encoded);
    } catch {
      return missing();
    }
    const log = await openSystemLog(this.#options.systemLogDir, relative);
    switch (log.kind) {
      case 'missing':
        return missing();
      case 'listing':
        return new Response(log.html, { headers: { 'Content-Type': 'text/html; charset=utf-8' } });
      case 'file': {
        const body = streamBody(log.read, {
          serverSignal: this.#deps.signal,
          onError: (error) => this.#deps.log.warn('a log stream broke off', { path: relative, error: messageOf(error) }),
        });
        return new Response(body, { headers: { 'Content-Type': 'text/plain; charset=utf-8' } });
      }
    }
  }

  /** H-290: for people, not for programs. */
  #statusz(): string {
    const { build, clock } = this.#deps;
    return [
      'kubelet statusz',
      debuggingWarning,
      '',
      `Started=${toRfc3339(build.startedAt)}`,
      `Up=${formatDuration(clock.now() - build.startedAt)}`,
      `Go version=${build.engine}`,
      `Binary version=${build.version}`,
      `Emulation version=${/^v?(\d+\.\d+)/.exec(build.version)?.[1] ?? ''}`,
      `Paths=${[...mainPaths]
        .map((path) => `/${path}`)
        .sort()
        .join(' ')}`,
      '',
    ].join('\n');
  }

  /** H-279e. Until the next start; a reload of the configuration brings its own verbosity back. */
  async #setVerbosity(request: Request): Promise<Response> {
    if (!this.#options.enableDebugFlagsHandler) return text('flags endpoint is disabled.\n', 405);
    if (request.method !== 'PUT') return text('unsupported http method\n', 406);
    const wanted = new TextDecoder().decode(await readBody(request)).trim();
    if (!/^\d{1,3}$/.test(wanted)) return text(`failed to set klog.logging.verbosity ${wanted}: a number is needed\n`, 400);
    this.#deps.setVerbosity(Number(wanted));
    this.#deps.log.info('verbosity of the log', { verbosity: Number(wanted) });
    return text(`successfully set klog.logging.verbosity to ${wanted}\n`);
  }

  #health(check: string, request: Request): Response {
    this.#countChecks();
    const answer = answerHealth(this.#deps.health, 'healthz', check, new URL(request.url).searchParams);
    if (answer.failures.length > 0) this.#deps.log.warn('health check failed', { failures: answer.failures });
    return text(answer.body, answer.code);
  }

  #countChecks(): void {
    for (const { name, check } of this.#deps.health) {
      const isWell = check() === undefined;
      const counts = this.#checkCounts.get(name) ?? { success: 0, error: 0, last: true };
      counts[isWell ? 'success' : 'error'] += 1;
      counts.last = isWell;
      this.#checkCounts.set(name, counts);
    }
  }

  /** H-422. */
  #healthMetrics(): string {
    const all = [...this.#checkCounts];
    return formatFamilies([
      {
        name: 'kubernetes_healthcheck',
        help: '[STABLE] 1 when the check was well at last, 0 otherwise',
        type: 'gauge',
        samples: all.map(([name, counts]) => ({ labels: { name, type: 'healthz' }, value: counts.last ? 1 : 0 })),
      },
      {
        name: 'kubernetes_healthchecks_total',
        help: '[STABLE] How often the check was made, by its result',
        type: 'counter',
        samples: all.flatMap(([name, counts]) =>
          (['success', 'error'] as const)
            .filter((status) => counts[status] > 0)
            .map((status) => ({ labels: { name, status, type: 'healthz' }, value: counts[status] })),
        ),
      },
    ]);
  }

  #failure(error: unknown, request: Request): Response {
    const known = error instanceof ApiError ? error : toLogError(error);
    if (known !== undefined) return text(known.message, known.status.code);
    const fields = { method: request.method, path: new URL(request.url).pathname, error: messageOf(error) };
    // What the runtime could not do is no fault of ours.
    if (error instanceof RuntimeError) this.#deps.log.warn('a request failed', fields);
    else this.#deps.log.error('a request failed', fields);
    return text(`${messageOf(error)}\n`, 500);
  }
}

const debuggingWarning =
  'Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees and is for debugging purposes only.';

/** The effective configuration, a line for each field: most of it can be given by flags. */
function flagz(config: Readonly<Record<string, unknown>>): string {
  const lines = (value: unknown, path: string): readonly string[] =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.entries(value).flatMap(([key, inner]) => lines(inner, path === '' ? key : `${path}.${key}`))
      : [`${path}=${typeof value === 'string' ? value : JSON.stringify(value)}`];
  const { kind: _kind, apiVersion: _apiVersion, ...fields } = config;
  return ['kubelet flagz', debuggingWarning, '', ...[...lines(fields, '')].sort(), ''].join('\n');
}

export const findPod = (pods: PodsView, namespace: string, name: string): Pod | undefined =>
  pods.list().find((pod) => pod.metadata.namespace === namespace && pod.metadata.name === name);

export interface RunTarget {
  readonly namespace: string;
  readonly pod: string;
  readonly uid: string | undefined;
  readonly container: string;
}

/** A cluster knows the Pod by its mirror's UID (S-328). */
export type ToStaticUid = (uid: string) => string;

export const sameUid: ToStaticUid = (uid) => uid;

export type RunningContainer =
  | { readonly ok: true; readonly containerId: string; readonly pod: Pod }
  | { readonly ok: false; readonly code: 404 | 500; readonly message: string };

/** The running container of a path, or the kubelet's words for why there is none (H-249). */
export function findRunning(pods: PodsView, target: RunTarget, toStaticUid: ToStaticUid): RunningContainer {
  const pod = findPod(pods, target.namespace, target.pod);
  if (pod === undefined) return { ok: false, code: 404, message: 'pod does not exist' };
  if (target.uid !== undefined && toStaticUid(target.uid) !== pod.metadata.uid) return { ok: false, code: 404, message: 'pod not found' };
  const { status } = pod;
  const found = [
    ...(status?.initContainerStatuses ?? []),
    ...(status?.containerStatuses ?? []),
    ...(status?.ephemeralContainerStatuses ?? []),
  ].find((s) => s.name === target.container);
  const id = found?.state?.running === undefined ? '' : (found.containerID ?? '');
  if (id === '') return { ok: false, code: 500, message: `container not found (${JSON.stringify(target.container)})` };
  return { ok: true, pod, containerId: id.slice(id.indexOf('://') < 0 ? 0 : id.indexOf('://') + 3) };
}
