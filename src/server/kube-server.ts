// The node's own Kubernetes API on its listeners: HTTPS for kubectl (client certificates only) and a root-only unix
// socket for our own command line. Both serve the same handlers.
import type { Pod } from '../api/pod.ts';
import { Shutdown, TaskGroup } from '../std/async.ts';
import type { Clock } from '../std/clock.ts';
import { ConfigError, messageOf, systemCode } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import type { Random } from '../std/random.ts';
import { agentApi } from './agent-api.ts';
import { certificateUser } from './certificate-user.ts';
import { Certificates } from './certificates.ts';
import type { DiffView } from './diff-api.ts';
import { withAsked } from './kube/access.ts';
import { unauthorized } from './kube/api-error.ts';
import { KubeApi, type KubeVersion } from './kube/app.ts';
import { MirrorPods } from './kube/mirror-view.ts';
import { podStream } from './kube/pod-streams.ts';
import { servedResources } from './kube/resources.ts';
import { Listener, type ListenerHandlers } from './listener.ts';
import { socketUser, type User } from './user.ts';
import type {
  ConfigView,
  EventsView,
  HealthCheck,
  LeasesView,
  ManifestsView,
  NodeView,
  PodsView,
  RuntimeView,
  StateView,
  StatsView,
  TroublesView,
} from './views.ts';
import { ResourceVersions } from './watch-cache.ts';

export interface KubeServerOptions {
  readonly version: KubeVersion;
  /** Where users edit manifests; named when a write is refused. */
  readonly manifestLocation: string;
  /** The unix socket, mode 0600. Its folder exists. */
  readonly socketPath: string;
  /** HTTPS; none when absent. */
  readonly https?: Https | undefined;
}

interface Https {
  readonly address: string;
  /** 0: the system chooses. */
  readonly port: number;
  /** Further names and addresses clients may use, besides `address`, localhost, 127.0.0.1 and ::1. */
  readonly names: readonly string[];
  /** Folder of the CA, the certificates and their keys (0700, files 0600). */
  readonly pkiDir: string;
  /** The file for kubectl (0600), rewritten at each start and rotation. */
  readonly kubeconfigPath: string;
}

interface Handlers {
  readonly common: Pick<ListenerHandlers, 'refuse' | 'upgrade'>;
  readonly fetch: ListenerHandlers['fetch'];
  readonly fetchLocal: ListenerHandlers['fetch'];
}

/** How soon a port that is taken is tried again, or a folder that cannot be written. */
const retryMs = 5000;

export interface KubeServerDeps {
  readonly pods: PodsView;
  readonly nodes: NodeView;
  readonly events: EventsView;
  readonly leases?: LeasesView | undefined;
  readonly runtime: RuntimeView;
  readonly stats: StatsView;
  readonly manifests: ManifestsView;
  readonly troubles: TroublesView;
  readonly diff: DiffView;
  readonly config: ConfigView;
  readonly health: readonly HealthCheck[];
  /** What is behind `nodes/NAME/proxy`, and `/metrics`. */
  readonly kubelet?: ((request: Request) => Response | Promise<Response>) | undefined;
  /** Why kubectl is not served; undefined when it is. Told after every try. */
  readonly onFault?: ((message: string | undefined) => void) | undefined;
  /** Keeps UIDs and ages of the Pods' views over restarts. */
  readonly mirrorState?: StateView | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export class KubeServer {
  readonly #options: KubeServerOptions;
  readonly #deps: KubeServerDeps;
  readonly #tasks = new TaskGroup();
  readonly #mirrorPods: MirrorPods;
  #listeners: Listener[] = [];
  #https: Listener | undefined;

  constructor(options: KubeServerOptions, deps: KubeServerDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#mirrorPods = new MirrorPods({ ...deps, state: deps.mirrorState });
  }

  /** Where kubectl finds the server; undefined without HTTPS or before the start. */
  get url(): string | undefined {
    const { https } = this.#options;
    if (https === undefined || this.#https === undefined) return undefined;
    return urlOf(https.address, this.#https.port);
  }

  /**
   * Resolves when the socket accepts, and HTTPS has been tried: what is in its way is told to `onFault`, and it is tried
   * again until it works. A ConfigError when the socket is another agent's.
   */
  async start(): Promise<void> {
    await this.#mirrorPods.load();
    const { https } = this.#options;
    const handlers = this.#handlers();
    const socket = new Listener(
      { at: { socketPath: this.#options.socketPath } },
      {
        handlers: { ...handlers.common, authenticate: (request) => withAsked(socketUser, request), fetch: handlers.fetchLocal },
        log: this.#deps.log,
      },
    );
    await socket.start();
    this.#listeners.push(socket);
    if (https === undefined || (await this.#serve(https, handlers))) return;
    this.#tasks.spawn('https', async ({ signal }) => {
      do await this.#deps.clock.sleep(retryMs, signal);
      while (!(await this.#serve(https, handlers)));
    });
  }

  /** Whether kubectl is served from now on. */
  async #serve(https: Https, handlers: Handlers): Promise<boolean> {
    let listener: Listener | undefined;
    try {
      const certificates = new Certificates(
        { folder: https.pkiDir, names: [https.address, ...https.names].filter((n) => n !== '0.0.0.0' && n !== '::' && n !== '') },
        { clock: this.#deps.clock, log: this.#deps.log },
      );
      const current = await certificates.ensure();
      const opened = new Listener(
        { at: { address: https.address, port: https.port }, tls: current.serverTls },
        {
          handlers: { ...handlers.common, authenticate: (request) => withAsked(certificateUser(request), request), fetch: handlers.fetch },
          log: this.#deps.log,
        },
      );
      listener = opened;
      await opened.start();
      await certificates.writeKubeconfig(https.kubeconfigPath, urlOf(https.address, opened.port));
      // Stopped while it opened.
      if (this.#tasks.signal.aborted) {
        await opened.close();
        return true;
      }
      this.#listeners.push(opened);
      this.#https = opened;
      this.#tasks.spawn('certificate rotation', async ({ signal }) => {
        await certificates.rotate(async (renewed) => {
          opened.setSecureContext(renewed.serverTls);
          await certificates.writeKubeconfig(https.kubeconfigPath, urlOf(https.address, opened.port));
        }, signal);
      });
    } catch (error) {
      await listener?.close();
      if (!(error instanceof ConfigError) && systemCode(error) === undefined) throw error;
      this.#deps.onFault?.(messageOf(error));
      return false;
    }
    this.#deps.onFault?.(undefined);
    this.#deps.log.info('kubectl works here', { url: this.url, kubeconfig: https.kubeconfigPath });
    return true;
  }

  /** Ends every connection. Idempotent. */
  async stop(): Promise<void> {
    const tasks = this.#tasks.close(new Shutdown());
    const listeners = this.#listeners;
    this.#listeners = [];
    await Promise.all(listeners.map((listener) => listener.close()));
    await this.#mirrorPods.flush();
    await tasks;
  }

  #handlers(): Handlers {
    const { signal } = this.#tasks;
    const mirrorPods = this.#mirrorPods;
    const versions = new ResourceVersions(this.#deps);
    const resources = servedResources({ ...this.#deps, pods: mirrorPods, versions });
    const { https } = this.#options;
    const serverAddress = https === undefined ? 'localhost' : `${https.address}:${https.port}`;
    const { app } = new KubeApi({ ...this.#options, serverAddress }, { ...this.#deps, mirrorPods, resources, signal });
    const local = agentApi(this.#deps);
    const pods = resources.find((r) => r.group === '' && r.resource === 'pods');
    const streams = {
      runtime: this.#deps.runtime,
      // MirrorPods feeds this cache: every object in it is a Pod.
      pod: (namespace: string, name: string) => pods?.cache.get(namespace, name) as Pod | undefined,
      staticUid: (namespace: string, name: string) => mirrorPods.staticPod(namespace, name)?.metadata.uid,
      clock: this.#deps.clock,
      log: this.#deps.log,
      signal,
    };
    const fetch = (request: Request, user: User): Response | Promise<Response> => app.fetch(request, { user });
    return {
      common: {
        refuse: () => ({ contentType: 'application/json', body: `${JSON.stringify(unauthorized().status)}\n` }),
        upgrade: (request, socket, head, user) => podStream(request, socket, head, user, streams),
      },
      fetch,
      fetchLocal: (request, user) => (new URL(request.url).pathname.startsWith('/pinpod/') ? local.fetch(request) : fetch(request, user)),
    };
  }
}

/** Where a client on this machine finds what listens on `address`. */
function urlOf(address: string, port: number): string {
  const host = address === '0.0.0.0' || address === '' ? '127.0.0.1' : address === '::' ? '::1' : address;
  return `https://${host.includes(':') ? `[${host}]` : host}:${port}`;
}
