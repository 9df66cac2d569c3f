// The node's Lease: the cheap sign of life (S-385, S-386). Never deleted by the agent.
import type { Lease, Node } from '../api/gen/kubernetes.ts';
import type { TaskGroup } from '../std/async.ts';
import { type Clock, toRfc3339Micro } from '../std/clock.ts';
import { jitter, type Random } from '../std/random.ts';
import type { FaultBook } from './faults.ts';
import { ApiError, isApiError, type KubeApi, paths } from './kube-api.ts';
import { ownerOf } from './mirror-object.ts';

export interface NodeLeaseOptions {
  readonly nodeName: string;
  /** Default of the kubelet: 40. Renewed four times in that time. */
  readonly durationSeconds: number;
}

export interface NodeLeaseDeps {
  /** Not gated, not rate-limited. */
  readonly api: KubeApi;
  readonly node: () => Node | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly faults: FaultBook;
}

export class NodeLease {
  readonly #options: NodeLeaseOptions;
  readonly #deps: NodeLeaseDeps;
  #lease: Lease | undefined;

  constructor(options: NodeLeaseOptions, deps: NodeLeaseDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  start(group: TaskGroup): void {
    group.spawn('node-lease', async ({ signal }) => {
      for (;;) {
        const renewed = await this.#renew(signal);
        // Until the Node is there the lease has no owner to be created with: look again soon, without a request.
        const ms = renewed ? (this.#options.durationSeconds * 1000) / 4 : 1000;
        await this.#deps.clock.sleep(jitter(this.#deps.random, ms, 0.04), signal);
      }
    });
  }

  /** False when there was nothing to renew yet. */
  async #renew(signal: AbortSignal): Promise<boolean> {
    if (this.#lease === undefined && ownerOf(this.#deps.node()) === undefined) return false;
    try {
      // The cached lease is written directly; a second try follows only if somebody else wrote it (S-386).
      for (let tries = 0; ; tries++) {
        try {
          this.#lease = await this.#write(signal);
          break;
        } catch (error) {
          if (tries >= 2 || !isApiError(error, 'conflict', 'not-found', 'already-exists')) throw error;
          this.#lease = isApiError(error, 'not-found') ? undefined : await this.#read(signal);
          if (this.#lease === undefined && ownerOf(this.#deps.node()) === undefined) return true;
        }
      }
      this.#deps.faults.clear('lease');
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof ApiError && error.isServerWide)) this.#deps.faults.report('lease', '', error);
    }
    return true;
  }

  async #write(signal: AbortSignal): Promise<Lease> {
    const { nodeName, durationSeconds } = this.#options;
    const owner = ownerOf(this.#deps.node());
    const old = this.#lease;
    const body: Lease = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: {
        ...(old?.metadata ?? { name: nodeName, namespace: 'kube-node-lease' }),
        ...(owner === undefined ? {} : { ownerReferences: [{ apiVersion: 'v1', kind: 'Node', ...owner }] }),
      },
      spec: {
        ...old?.spec,
        holderIdentity: nodeName,
        leaseDurationSeconds: durationSeconds,
        renewTime: toRfc3339Micro(this.#deps.clock.now()),
      },
    };
    const timeoutMs = Math.min(10_000, durationSeconds * 1000);
    const request =
      old === undefined ? { method: 'POST' as const, path: paths.leases } : { method: 'PUT' as const, path: `${paths.leases}/${nodeName}` };
    return (await this.#deps.api.request({ ...request, body, timeoutMs }, { signal })) as Lease;
  }

  async #read(signal: AbortSignal): Promise<Lease | undefined> {
    try {
      return (await this.#deps.api.request({ method: 'GET', path: `${paths.leases}/${this.#options.nodeName}` }, { signal })) as Lease;
    } catch (error) {
      if (isApiError(error, 'not-found')) return undefined;
      throw error;
    }
  }
}
