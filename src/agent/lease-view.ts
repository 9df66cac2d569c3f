// The Lease of this node as the local API shows it: the sign of life that `kubectl describe node` asks for. Nobody has to
// write it anywhere: an agent that answers is alive, and the time in it says when it last went round.
import type { Lease, Node } from '../api/gen/kubernetes.ts';
import type { Feed, LeasesView, Unsubscribe } from '../server/views.ts';
import { type Clock, type Instant, toRfc3339Micro } from '../std/clock.ts';

export interface LeaseFeedOptions {
  readonly nodeName: string;
  readonly durationSeconds: number;
}

export interface LeaseFeedDeps {
  readonly nodes: Feed<Node>;
  readonly clock: Clock;
}

export class LeaseFeed implements LeasesView {
  readonly #options: LeaseFeedOptions;
  readonly #deps: LeaseFeedDeps;
  readonly #listeners = new Set<() => void>();
  #renewedAt: Instant;
  #shown: { readonly node: Node; readonly at: Instant; readonly list: readonly Lease[] } | undefined;

  constructor(options: LeaseFeedOptions, deps: LeaseFeedDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#renewedAt = deps.clock.now();
  }

  /** Empty before there is a Node. */
  list(): readonly Lease[] {
    const [node] = this.#deps.nodes.list();
    if (node === undefined) return [];
    if (this.#shown?.node !== node || this.#shown.at !== this.#renewedAt) {
      this.#shown = { node, at: this.#renewedAt, list: [this.#leaseOf(node)] };
    }
    return this.#shown.list;
  }

  subscribe(listener: () => void): Unsubscribe {
    const own = (): void => listener();
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  /** Renews four times in the Lease's duration, as a kubelet does (S-385), until the signal aborts. */
  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { clock } = this.#deps;
    for (;;) {
      await clock.sleep((this.#options.durationSeconds * 1000) / 4, signal);
      this.#renewedAt = clock.now();
      for (const listener of [...this.#listeners]) listener();
    }
  }

  #leaseOf(node: Node): Lease {
    const { nodeName, durationSeconds } = this.#options;
    const { uid, creationTimestamp } = node.metadata ?? {};
    return {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: {
        name: nodeName,
        namespace: 'kube-node-lease',
        ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
        ...(uid === undefined ? {} : { uid, ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: nodeName, uid }] }),
      },
      spec: { holderIdentity: nodeName, leaseDurationSeconds: durationSeconds, renewTime: toRfc3339Micro(this.#renewedAt) },
    };
  }
}
