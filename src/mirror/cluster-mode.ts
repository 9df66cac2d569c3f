// The agent on a real cluster: everything that talks to a Kubernetes API server, behind one door. Nothing here is waited
// for by anything that starts, stops or watches containers (D3); a failure in here starts it again, and nothing else.
import { access as accessFile } from 'node:fs/promises';
import type { EventSink } from '../api/events.ts';
import type { Node } from '../api/gen/kubernetes.ts';
import type { StatusStore } from '../status/status-store.ts';
import { raceSignal, TaskGroup } from '../std/async.ts';
import type { Clock } from '../std/clock.ts';
import { AgentError, messageOf } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import type { Metrics } from '../std/metrics.ts';
import type { Random } from '../std/random.ts';
import { ApiGate } from './api-gate.ts';
import { ApiReviews } from './api-reviews.ts';
import { Backoff } from './backoff.ts';
import { CertificateRotation } from './certificate-rotation.ts';
import { CertificateStore, type StoredCertificate } from './certificate-store.ts';
import { writeKubeconfig } from './client-bootstrap.ts';
import { watchCredentialExpiry } from './credential-expiry.ts';
import { EventForwarder } from './event-forwarder.ts';
import { FaultBook, type FaultView } from './faults.ts';
import { HttpKubeApi } from './http-kube-api.ts';
import { type AccessSource, type KubeApi, paths } from './kube-api.ts';
import { KubeconfigAccess } from './kubeconfig.ts';
import { ownerOf } from './mirror-object.ts';
import { MirrorPods, type UidTranslation } from './mirror-pods.ts';
import { NodeLease } from './node-lease.ts';
import { type NodeFactsView, NodeRegistration, type NodeRegistrationOptions } from './node-registration.ts';
import type { NodeStartup } from './node-startup.ts';
import { Reflector } from './reflector.ts';

export interface ClusterModeOptions {
  /** Node name, labels, taints, frequencies. */
  readonly node: NodeRegistrationOptions;
  /** `--kubeconfig` */
  readonly kubeconfigPath: string;
  /** `--bootstrap-kubeconfig` */
  readonly bootstrapKubeconfigPath?: string | undefined;
  /** `--cert-dir` */
  readonly certificateDirectory: string;
  /** `rotateCertificates` */
  readonly rotateCertificates: boolean;
  /** `serverTLSBootstrap` */
  readonly serverTlsBootstrap: boolean;
  readonly leaseDurationSeconds: number;
  /** `kubeAPIQPS`, `kubeAPIBurst`, `eventRecordQPS`, `eventBurst` */
  readonly apiQps: number;
  readonly apiBurst: number;
  readonly eventQps: number;
  readonly eventBurst: number;
  /** `pinpod/<version>` */
  readonly userAgent: string;
}

export interface ClusterModeDeps {
  readonly status: Pick<StatusStore, 'get' | 'list' | 'subscribe' | 'adoptStartTime'>;
  /** See MirrorPodsDeps; call `sourcesChanged` when an answer may have turned true. */
  readonly isOrphan: (pod: { readonly namespace: string; readonly name: string }) => boolean;
  readonly facts: NodeFactsView;
  /** Called with the Node as the server has it, whenever something of it changed. Must not throw. */
  readonly onNode?: ((node: Node) => void) | undefined;
  /** The agent's own sink: faults are told there. It is expected to hand Events on to `ClusterMode.events`. */
  readonly events: EventSink;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly startup: NodeStartup;
  /** For tests: an API instead of the one the kubeconfig names. */
  readonly api?: KubeApi | undefined;
}

export interface ServingPair {
  readonly certificate: string;
  readonly key: string;
}

export interface ServingPairView {
  current(): ServingPair | undefined;
  /** `listener` hears of each new one. Returns the end of it. */
  subscribe(listener: (pair: ServingPair) => void): () => void;
}

/** Beyond it certificates, leases and Events of the two sides no longer fit. */
const maxSkewMs = 60_000;

export class ClusterMode {
  /** Takes Events for the server; never waits, never throws. */
  readonly events: EventSink;
  /** For `pinpod doctor`. */
  readonly faults: FaultView;
  readonly uids: UidTranslation;
  /** Token and access reviews for the kubelet's port (`webhook` modes). */
  readonly reviews: ApiReviews;
  /** The serving pair signed by the cluster (`serverTLSBootstrap`), once asked for and approved. */
  readonly serving: ServingPairView;
  readonly #options: ClusterModeOptions;
  readonly #deps: ClusterModeDeps;
  readonly #book: FaultBook;
  readonly #access: AccessSource;
  readonly #https: HttpKubeApi[] = [];
  readonly #gate: ApiGate;
  readonly #mirrors: MirrorPods;
  readonly #nodes: Reflector<Node>;
  readonly #registration: NodeRegistration;
  readonly #lease: NodeLease;
  readonly #forwarder: EventForwarder;
  readonly #clientCertificate: CertificateRotation;
  readonly #clientStore: CertificateStore;
  readonly #servingCertificate: CertificateRotation | undefined;
  readonly #servingListeners = new Set<(certificate: ServingPair) => void>();
  #owner: string | undefined;

  constructor(options: ClusterModeOptions, deps: ClusterModeDeps) {
    this.#options = options;
    this.#deps = deps;
    const { nodeName } = options.node;
    const { clock, random, logger, metrics } = deps;
    this.#book = new FaultBook({
      clock,
      logger,
      metrics,
      events: deps.events,
      node: { kind: 'Node', namespace: '', name: nodeName, uid: '' },
    });
    this.faults = this.#book;
    const access = new KubeconfigAccess({ path: options.kubeconfigPath }, deps);
    this.#access = access;
    this.#gate = new ApiGate(
      { qps: options.apiQps, burst: options.apiBurst },
      { api: deps.api ?? this.#http(access), clock, random, faults: this.#book },
    );
    const common = { clock, random, logger, metrics, faults: this.#book, api: this.#gate };
    // Connections of their own: a heartbeat must not wait behind a slow list (S-384).
    const heartbeats = { ...common, api: this.#told(deps.api ?? this.#http(access)) };
    const node = (): Node | undefined => this.#nodes.get(nodeName);
    this.#nodes = new Reflector<Node>(
      { path: paths.nodes, fieldSelector: `metadata.name=${nodeName}`, name: 'node' },
      { ...common, onChange: () => this.#nodeChanged() },
    );
    this.#mirrors = new MirrorPods({ nodeName }, { ...common, status: deps.status, node, isOrphan: deps.isOrphan });
    this.uids = this.#mirrors;
    const learn = (seen: Node): void => {
      this.#nodes.learn(seen);
      this.#nodeChanged();
    };
    this.#registration = new NodeRegistration(options.node, {
      ...heartbeats,
      startup: deps.startup,
      facts: deps.facts,
      events: deps.events,
      node,
      learn,
    });
    this.#lease = new NodeLease({ nodeName, durationSeconds: options.leaseDurationSeconds }, { ...heartbeats, node });
    this.#forwarder = new EventForwarder({ nodeName, qps: options.eventQps, burst: options.eventBurst }, common);
    this.events = this.#forwarder;
    this.reviews = new ApiReviews({ nodeName }, common);
    this.#clientStore = new CertificateStore({ directory: options.certificateDirectory, name: 'kubelet-client' }, deps);
    this.#clientCertificate = new CertificateRotation(
      { kind: 'client', nodeName },
      { ...common, store: this.#clientStore, onChange: () => access.invalidate() },
    );
    this.serving = {
      current: () => {
        const current = this.#servingCertificate?.current;
        return current === undefined ? undefined : toServingPair(current);
      },
      subscribe: (listener) => {
        this.#servingListeners.add(listener);
        return () => this.#servingListeners.delete(listener);
      },
    };
    this.#servingCertificate = options.serverTlsBootstrap
      ? new CertificateRotation(
          { kind: 'serving', nodeName },
          {
            ...common,
            store: new CertificateStore({ directory: options.certificateDirectory, name: 'kubelet-server' }, deps),
            addresses: () => node()?.status?.addresses ?? [],
            onChange: (certificate) => {
              for (const listener of this.#servingListeners) listener(toServingPair(certificate));
            },
          },
        )
      : undefined;
  }

  /** A source of manifests has spoken: orphaned mirrors may go (S-324). */
  sourcesChanged(): void {
    this.#mirrors.resync();
  }

  /** Runs until the signal aborts and rejects with its reason; nothing else makes it end. */
  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const backoff = new Backoff({ baseMs: 1000, maxMs: 60_000 }, this.#deps);
    try {
      for (;;) {
        const group = new TaskGroup({ signal });
        try {
          await this.#bootstrap(signal);
          this.#start(group);
          await raceSignal(group.failed, signal);
        } catch (error) {
          signal.throwIfAborted();
          this.#deps.logger.error('cluster mode failed and starts again', { error: messageOf(error) });
        } finally {
          // What failed is known already; what else fails while ending is not news.
          await group.close().catch(() => undefined);
        }
        await this.#deps.clock.sleep(backoff.next(), signal);
      }
    } finally {
      for (const http of this.#https) http.close();
    }
  }

  #start(group: TaskGroup): void {
    group.spawn('credential', (o) => watchCredentialExpiry({ ...this.#deps, access: this.#access, faults: this.#book }, o));
    group.spawn('node-watch', (o) => this.#nodes.run(o));
    this.#registration.start(group);
    this.#lease.start(group);
    this.#mirrors.start(group);
    this.#forwarder.start(group);
    if (this.#options.rotateCertificates) {
      group.spawn('client-certificate', async ({ signal }) => {
        // Without one of ours the kubeconfig has credentials that others keep.
        for (;;) {
          if ((await this.#clientStore.load()) !== undefined) await this.#clientCertificate.ensure(signal);
          await this.#deps.clock.sleep(60_000, signal);
        }
      });
    }
    this.#servingCertificate?.start(group);
  }

  /** Needs the bootstrap credential only while there is no valid certificate of our own. */
  async #bootstrap(signal: AbortSignal): Promise<void> {
    const { bootstrapKubeconfigPath, kubeconfigPath } = this.#options;
    if (bootstrapKubeconfigPath === undefined) return;
    const stored = await this.#clientStore.load();
    const isExpired = stored !== undefined && stored.notAfter <= this.#deps.clock.now();
    if ((await exists(kubeconfigPath)) && !isExpired) return;
    this.#deps.logger.info('asking for a client certificate', { node: this.#options.node.nodeName });
    const access = new KubeconfigAccess({ path: bootstrapKubeconfigPath }, this.#deps);
    const http =
      this.#deps.api === undefined ? new HttpKubeApi({ userAgent: this.#options.userAgent }, { ...this.#deps, access }) : undefined;
    try {
      const rotation = new CertificateRotation(
        { kind: 'client', nodeName: this.#options.node.nodeName },
        { ...this.#deps, faults: this.#book, api: this.#told(http ?? this.#gate), store: this.#clientStore },
      );
      await rotation.ensure(signal);
      await writeKubeconfig(kubeconfigPath, await access.current({ signal }), this.#clientStore.currentPath);
    } finally {
      http?.close();
    }
  }

  #nodeChanged(): void {
    const node = this.#nodes.get(this.#options.node.nodeName);
    if (node !== undefined) this.#deps.onNode?.(node);
    const owner = ownerOf(node)?.uid;
    if (owner === this.#owner) return;
    this.#owner = owner;
    this.#mirrors.resync();
  }

  #http(access: AccessSource): HttpKubeApi {
    const http = new HttpKubeApi(
      { userAgent: this.#options.userAgent },
      { ...this.#deps, access, onServerTime: (skewMs) => this.#skew(skewMs) },
    );
    this.#https.push(http);
    return http;
  }

  /** Goes around the gate, but tells it what it meets. */
  #told(api: KubeApi): KubeApi {
    return {
      request: async (request, options) => {
        try {
          const answer = await api.request(request, options);
          this.#gate.succeeded();
          return answer;
        } catch (error) {
          this.#gate.failed(error);
          throw error;
        }
      },
      watch: (request, options) => api.watch(request, options),
    };
  }

  #skew(skewMs: number): void {
    if (Math.abs(skewMs) <= maxSkewMs) {
      this.#book.clear('clock');
      return;
    }
    const seconds = Math.round(Math.abs(skewMs) / 1000);
    const message = `the API server's clock is ${seconds} s ${skewMs > 0 ? 'ahead of' : 'behind'} ours`;
    this.#book.report('clock', '', new AgentError('clock-skew', message));
  }
}

function toServingPair({ certPem, keyPem }: StoredCertificate): ServingPair {
  return { certificate: certPem, key: keyPem };
}

async function exists(path: string): Promise<boolean> {
  try {
    await accessFile(path);
    return true;
  } catch {
    return false;
  }
}
