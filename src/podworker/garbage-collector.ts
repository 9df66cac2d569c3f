// Removes what dead containers and Pods leave behind: container records with their logs, sandboxes, log folders, links
// (spec 02, sections 7.6 and 7.7). Periodic and idempotent; the runtime is the only memory it needs.
import type { EventObject, EventSink } from '../api/events.ts';
import type { ContainerPort, LifecycleHandler } from '../api/gen/kubernetes.ts';
import type { Pod } from '../api/pod.ts';
import { containerObject } from '../pod/event-object.ts';
import { criKeys, type ObservedContainer, type ObservedSandbox } from '../pod/observation.ts';
import type { CallOptions, Runtime } from '../runtime/runtime.ts';
import type { Clock } from '../std/clock.ts';
import { messageOf } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import type { ContainerLogLinks } from './container-log-links.ts';
import type { HookRunner } from './hooks.ts';
import type { LogDirectories } from './log-directories.ts';

export interface GarbageCollectorOptions {
  /** `minimum-container-ttl-duration`: records younger than this stay. */
  readonly minimumAgeMs: number;
  /** Dead records kept of each container name, at least 1; negative: all. */
  readonly maxPerContainer: number;
  /** Dead records kept altogether; negative: no limit (L-382). */
  readonly maxContainers: number;
  /** What `ContainerGCFailed` is about. */
  readonly node: EventObject;
}

/** What the rest of the agent knows of a Pod. */
export interface PodDirectory {
  /** Every source has spoken: a Pod nobody knows is really gone. */
  sourcesReady(): boolean;
  /** Nothing of this Pod is needed any more: evicted, finished and gone from its source, or unknown to the agent. */
  isDisposable(podUid: string): boolean;
  /** Its worker removes old records itself and knows which of them still matter (L-173), or it is not ours at all. */
  isLeftAlone(podUid: string): boolean;
}

export interface GarbageCollectorDeps {
  readonly runtime: Pick<
    Runtime,
    | 'listContainers'
    | 'containerStatus'
    | 'stopContainer'
    | 'removeContainer'
    | 'listPodSandboxes'
    | 'podSandboxStatus'
    | 'stopPodSandbox'
    | 'removePodSandbox'
  >;
  readonly clock: Clock;
  readonly events: EventSink;
  readonly logger: Logger;
  readonly pods: PodDirectory;
  readonly hooks: Pick<HookRunner, 'preStop'>;
  readonly logs: LogDirectories;
  readonly links: ContainerLogLinks;
}

const periodMs = 60_000;
const minimumGraceSeconds = 2;
const defaultGraceSeconds = 30;

export class GarbageCollector {
  readonly #options: GarbageCollectorOptions;
  readonly #deps: GarbageCollectorDeps;

  constructor(options: GarbageCollectorOptions, deps: GarbageCollectorDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /** Collects every minute until the signal aborts; failures are told (L-379), not thrown. */
  async run({ signal }: CallOptions): Promise<void> {
    for (;;) {
      await this.#deps.clock.sleep(periodMs, signal);
      try {
        await this.collect({ signal });
      } catch (error) {
        signal.throwIfAborted();
        this.#deps.logger.warn('container garbage collection failed', { error });
        this.#deps.events.record(this.#options.node, 'Warning', 'ContainerGCFailed', messageOf(error));
      }
    }
  }

  /** One pass. What cannot be removed does not keep the rest; the first failure is thrown at the end. */
  async collect({ signal }: CallOptions): Promise<void> {
    const errors: unknown[] = [];
    const containers = await this.#deps.runtime.listContainers({}, { signal });
    const surplus = this.#surplus(containers.filter((container) => this.#isCandidate(container)));
    for (const container of surplus)
      await this.#attempt('a dead container', container.id, () => this.#removeDead(container, signal), errors, signal);
    await this.#collectSandboxes(errors, signal);
    await this.#collectLogs(errors, signal);
    if (errors.length > 0) throw errors[0];
  }

  /** Removes one record, its log first unless it is to be kept: a record that stays can be tried again (L-276). */
  async removeContainer(containerId: string, options: CallOptions & { readonly keepLogs: boolean }): Promise<void> {
    const { links, logs, runtime } = this.#deps;
    const { signal } = options;
    const status = await runtime.containerStatus(containerId, { signal });
    if (status !== undefined && !options.keepLogs) {
      if (status.logPath !== '') await logs.removeContainerLogs(status.logPath);
      await links.remove({
        podName: status.labels[criKeys.podName] ?? '',
        namespace: status.labels[criKeys.podNamespace] ?? '',
        name: status.name,
        id: containerId,
      });
    }
    await runtime.removeContainer(containerId, { signal });
  }

  #mayDispose(podUid: string): boolean {
    return this.#deps.pods.sourcesReady() && this.#deps.pods.isDisposable(podUid);
  }

  /** A record without a Pod's UID was made by somebody else. */
  #isCandidate({ createdAt, podUid, state }: ObservedContainer): boolean {
    if (podUid === '' || this.#deps.pods.isLeftAlone(podUid)) return false;
    return state !== 'running' && this.#deps.clock.now() - createdAt >= this.#options.minimumAgeMs;
  }

  /** Which of the dead are too many (L-381, L-382). */
  #surplus(dead: readonly ObservedContainer[]): readonly ObservedContainer[] {
    const { maxContainers, maxPerContainer } = this.#options;
    const groups = new Map<string, ObservedContainer[]>();
    const surplus: ObservedContainer[] = [];
    for (const container of dead) {
      if (this.#mayDispose(container.podUid)) surplus.push(container);
      else groups.set(`${container.podUid}/${container.name}`, [...(groups.get(`${container.podUid}/${container.name}`) ?? []), container]);
    }
    const trim = (limit: number): void => {
      for (const [key, group] of groups) {
        const sorted = newestFirst(group);
        surplus.push(...sorted.slice(limit));
        groups.set(key, sorted.slice(0, limit));
      }
    };
    // The newest record carries the restart count and the back-off (D2), so it stays even where the setting is 0.
    if (maxPerContainer >= 0) trim(Math.max(1, maxPerContainer));
    const left = (): readonly ObservedContainer[] => [...groups.values()].flat();
    if (maxContainers >= 0 && left().length > maxContainers) {
      trim(Math.max(1, Math.floor(maxContainers / groups.size)));
      surplus.push(...newestFirst(left()).slice(maxContainers));
    }
    return surplus;
  }

  async #removeDead(container: ObservedContainer, signal: AbortSignal): Promise<void> {
    if (container.state === 'unknown') await this.#kill(container, signal);
    await this.removeContainer(container.id, { signal, keepLogs: false });
  }

  /** Nobody knows whether it runs: it is ended as its labels and annotations say (L-080, L-383). */
  async #kill(container: ObservedContainer, signal: AbortSignal): Promise<void> {
    const { clock, events, hooks, runtime } = this.#deps;
    const pod = podOfRecord(container);
    const { annotations } = container;
    const graceSeconds =
      readNumber(annotations[criKeys.deletionGracePeriod] ?? annotations[criKeys.terminationGracePeriod]) ?? defaultGraceSeconds;
    events.record(
      containerObject(pod, container.name),
      'Normal',
      'Killing',
      'Container is in unknown state, try killing it before removal',
    );
    const beganAt = clock.now();
    const handler = readJson(annotations[criKeys.preStopHandler]) as LifecycleHandler | undefined;
    const [spec] = pod.spec.containers;
    if (handler !== undefined && spec !== undefined && graceSeconds > 0) {
      const sandbox = await runtime.podSandboxStatus(container.sandboxId, { signal });
      const request = { pod, container: spec, containerId: container.id, handler, podAddress: sandbox?.ips[0] };
      await hooks.preStop({ ...request, timeoutSeconds: graceSeconds }, { signal });
    }
    const left = graceSeconds - Math.floor((clock.now() - beganAt) / 1000);
    await runtime.stopContainer({ containerId: container.id, timeoutSeconds: Math.max(left, minimumGraceSeconds) }, { signal });
  }

  /** Dead sandboxes without containers; of a Pod that is there, its newest stays (L-386). */
  async #collectSandboxes(errors: unknown[], signal: AbortSignal): Promise<void> {
    const { runtime } = this.#deps;
    // Sandboxes first: a container made meanwhile then still counts for its sandbox.
    const sandboxes = await runtime.listPodSandboxes({}, { signal });
    const containers = await runtime.listContainers({}, { signal });
    const occupied = new Set(containers.map(({ sandboxId }) => sandboxId));
    const newest = new Map<string, ObservedSandbox>();
    for (const sandbox of sandboxes) {
      const other = newest.get(sandbox.podUid);
      if (other === undefined || isNewer(sandbox, other)) newest.set(sandbox.podUid, sandbox);
    }
    for (const { id, podUid, state } of sandboxes) {
      const isKept = newest.get(podUid)?.id === id && !this.#mayDispose(podUid);
      if (podUid === '' || this.#deps.pods.isLeftAlone(podUid) || state === 'ready' || occupied.has(id) || isKept) continue;
      const remove = async (): Promise<void> => {
        await runtime.stopPodSandbox(id, { signal });
        await runtime.removePodSandbox(id, { signal });
      };
      await this.#attempt('a dead sandbox', id, remove, errors, signal);
    }
  }

  async #collectLogs(errors: unknown[], signal: AbortSignal): Promise<void> {
    const { links, logs, pods, runtime } = this.#deps;
    if (pods.sourcesReady()) {
      for (const directory of await logs.list()) {
        if (!this.#mayDispose(directory.podUid)) continue;
        await this.#attempt('a log folder', directory.path, () => logs.remove(directory), errors, signal);
      }
    }
    const hasExited = async (id: string): Promise<boolean> => {
      const status = await runtime.containerStatus(id, { signal });
      return status === undefined || status.state === 'exited';
    };
    await this.#attempt('links of container logs', '', () => links.collect(hasExited), errors, signal);
  }

  async #attempt(what: string, id: string, remove: () => Promise<void>, errors: unknown[], signal: AbortSignal): Promise<void> {
    try {
      await remove();
    } catch (error) {
      signal.throwIfAborted();
      this.#deps.logger.warn('garbage cannot be removed', { what, id, error });
      errors.push(error);
    }
  }
}

function newestFirst(containers: readonly ObservedContainer[]): readonly ObservedContainer[] {
  return [...containers].sort((a, b) => b.createdAt - a.createdAt || b.attempt - a.attempt);
}

function isNewer(a: ObservedSandbox, b: ObservedSandbox): boolean {
  return a.attempt === b.attempt ? a.createdAt > b.createdAt : a.attempt > b.attempt;
}

/** As much of the Pod as the record tells (L-080). */
function podOfRecord({ annotations, labels, name, podUid }: ObservedContainer): Pod {
  const ports = readJson(annotations[criKeys.ports]);
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: labels[criKeys.podName] ?? '',
      namespace: labels[criKeys.podNamespace] ?? '',
      uid: podUid,
      annotations: {},
    },
    spec: { containers: [{ name, ports: Array.isArray(ports) ? (ports as readonly ContainerPort[]) : [] }] },
  };
}

/** An annotation we wrote; undefined when it is missing or damaged (L-079). */
function readJson(text: string | undefined): unknown {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function readNumber(text: string | undefined): number | undefined {
  const value = Number(text);
  return text === undefined || text === '' || !Number.isInteger(value) || value < 0 ? undefined : value;
}
