// Shows this machine as a Node (spec 01, section 8): registers it once or adopts the one that is there, and keeps its
// status up to date. Its requests go around the gate (S-384): the control plane decides by them whether we are alive.

import type { EventSink } from '../api/events.ts';
import type { Node, NodeStatus } from '../api/gen/kubernetes.ts';
import { raceSignal, type TaskGroup } from '../std/async.ts';
import type { Clock, Instant } from '../std/clock.ts';
import { messageOf } from '../std/errors.ts';
import { equalJson } from '../std/json.ts';
import type { Logger } from '../std/log.ts';
import { jitter, type Random } from '../std/random.ts';
import { Backoff } from './backoff.ts';
import type { FaultBook } from './faults.ts';
import { ApiError, isApiError, type KubeApi, paths } from './kube-api.ts';
import {
  adoptionPatch,
  type NodeFacts,
  type NodeOptions,
  newNode,
  nodeStatus,
  nodeStatusPatch,
  platformPatch,
  withoutHeartbeats,
} from './node-object.ts';
import type { NodeStartup } from './node-startup.ts';

export interface NodeFactsView {
  /** The facts now. Throws when even the essential ones cannot be read; that round is then left out. */
  read(options: { readonly signal: AbortSignal }): Promise<NodeFacts>;
  /** `listener` runs when something that shows in the Node has changed; it must not throw. Returns the end of it. */
  subscribe(listener: () => void): () => void;
}

export interface NodeRegistrationOptions extends NodeOptions {
  /** `registerNode`. */
  readonly register: boolean;
  /** Default of the kubelet: 10 s. */
  readonly statusUpdateFrequencyMs: number;
  /** Default of the kubelet: 5 min. */
  readonly statusReportFrequencyMs: number;
}

export interface NodeRegistrationDeps {
  /** Not gated, not rate-limited. */
  readonly api: KubeApi;
  readonly facts: NodeFactsView;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly faults: FaultBook;
  readonly events: EventSink;
  /** Is told how far the registration has come. */
  readonly startup: NodeStartup;
  /** What the server has, newer than what the watch has said so far. */
  readonly learn: (node: Node) => void;
  /** The Node as last seen by the watch or a write. */
  readonly node: () => Node | undefined;
}

/** Between two status writes, however often the facts change. */
const minGapMs = 1000;

export class NodeRegistration {
  readonly #options: NodeRegistrationOptions;
  readonly #deps: NodeRegistrationDeps;
  #sent: { readonly status: NodeStatus; readonly uid: string } | undefined;
  #reportAt: Instant = 0;
  #hasToldReboot = false;
  #isCordoned = false;
  #wake: () => void = () => undefined;

  constructor(options: NodeRegistrationOptions, deps: NodeRegistrationDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  start(group: TaskGroup): void {
    group.spawn('node-registration', async ({ signal }) => {
      if (this.#options.register) await this.#register(signal);
      await this.#keepUpToDate(signal);
    });
  }

  /** Until it succeeds once (S-355). */
  async #register(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff({ baseMs: 100, maxMs: 7000 }, this.#deps);
    for (;;) {
      await this.#deps.clock.sleep(backoff.next(), signal);
      try {
        this.#deps.logger.debug('attempting to register node', { node: this.#options.nodeName });
        await this.#registerOnce(signal);
        this.#deps.faults.clear('node');
        return;
      } catch (error) {
        signal.throwIfAborted();
        this.#failed('unable to register node with API server', error);
        if (error instanceof ApiError && error.retryAfterMs !== undefined)
          await this.#deps.clock.sleep(Math.min(error.retryAfterMs, 60_000), signal);
      }
    }
  }

  async #registerOnce(signal: AbortSignal): Promise<void> {
    const facts = await this.#deps.facts.read({ signal });
    const now = this.#deps.clock.now();
    this.#deps.startup.asked(now);
    const status = nodeStatus(facts, this.#options, [], now);
    try {
      const created = (await this.#deps.api.request(
        { method: 'POST', path: paths.nodes, body: newNode(this.#options, status) },
        { signal },
      )) as Node;
      this.#deps.startup.registered(this.#deps.clock.now());
      this.#deps.logger.info('node registered', { node: this.#options.nodeName });
      this.#deps.learn(created);
    } catch (error) {
      // Forbidden may only mean that creating is not for us (S-357).
      if (!isApiError(error, 'already-exists', 'forbidden')) throw error;
      await this.#adopt(error, signal);
    }
  }

  async #adopt(refusal: ApiError, signal: AbortSignal): Promise<void> {
    const path = paths.node(this.#options.nodeName);
    let node: Node;
    try {
      node = (await this.#deps.api.request({ method: 'GET', path }, { signal })) as Node;
    } catch (error) {
      throw isApiError(error, 'not-found') ? refusal : error;
    }
    this.#deps.logger.info('node was registered before', { node: this.#options.nodeName });
    const patch = adoptionPatch(this.#options, node);
    this.#deps.learn(patch === undefined ? node : await this.#patchNode(patch, signal));
  }

  async #keepUpToDate(signal: AbortSignal): Promise<void> {
    const unsubscribe = this.#deps.facts.subscribe(() => this.#wake());
    try {
      for (;;) {
        const woken = new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        try {
          await this.#update(signal);
        } catch (error) {
          signal.throwIfAborted();
          this.#failed('unable to update node status', error);
        }
        const period = this.#sleep(jitter(this.#deps.random, this.#options.statusUpdateFrequencyMs, 0.04), signal);
        await this.#deps.clock.sleep(Math.min(minGapMs, this.#options.statusUpdateFrequencyMs), signal);
        try {
          await raceSignal(Promise.race([woken, period.done]), signal);
        } finally {
          period.end();
        }
      }
    } finally {
      unsubscribe();
    }
  }

  async #update(signal: AbortSignal): Promise<void> {
    const facts = await this.#deps.facts.read({ signal });
    const node = this.#deps.node() ?? (await this.#fetch(signal));
    this.#tellReboot(node, facts.nodeInfo.bootID);
    this.#tellCordon(node);
    const now = this.#deps.clock.now();
    const before = node.status?.conditions ?? [];
    const status = nodeStatus(facts, this.#options, before, now);
    const uid = node.metadata?.uid ?? '';
    const sent = this.#sent?.uid === uid ? this.#sent.status : undefined;
    const isChanged = sent === undefined || !equalJson(withoutHeartbeats(status), withoutHeartbeats(sent));
    const platform = platformPatch(this.#options, node);
    if (platform === undefined && !isChanged && now < this.#reportAt) return;
    try {
      if (platform !== undefined) await this.#patchNode(platform, signal);
      // Without a change only the heartbeats are news.
      const body = isChanged ? nodeStatusPatch(status, sent) : { status: { conditions: status.conditions } };
      const path = `${paths.node(this.#options.nodeName)}/status`;
      const answer = await this.#deps.api.request(
        { method: 'PATCH', path, body, contentType: 'application/strategic-merge-patch+json' },
        { signal },
      );
      this.#deps.learn(answer as Node);
    } catch (error) {
      // Deleted, or changed under us: the next round reads it anew.
      if (isApiError(error, 'not-found', 'conflict')) await this.#fetch(signal);
      throw error;
    }
    const frequency = this.#options.statusReportFrequencyMs;
    // After a change the next report is spread out, so that a whole cluster does not report together (S-380).
    this.#reportAt = now + (isChanged ? frequency + (this.#deps.random.next() - 0.5) * frequency : frequency);
    this.#sent = { status, uid };
    if (status.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True')) this.#deps.startup.ready(now);
    this.#deps.faults.clear('node');
  }

  /** S-439: once. */
  #tellReboot(node: Node, bootId: string): void {
    const known = node.status?.nodeInfo?.bootID ?? '';
    if (this.#hasToldReboot || known === '' || known === bootId) return;
    this.#hasToldReboot = true;
    this.#tell('Warning', 'Rebooted', `Node ${this.#options.nodeName} has been rebooted, boot id: ${bootId}`);
  }

  /** S-437; static Pods do not mind. */
  #tellCordon(node: Node): void {
    const isCordoned = node.spec?.unschedulable === true;
    if (isCordoned === this.#isCordoned) return;
    this.#isCordoned = isCordoned;
    const reason = isCordoned ? 'NodeNotSchedulable' : 'NodeSchedulable';
    this.#tell('Normal', reason, `Node ${this.#options.nodeName} status is now: ${reason}`);
  }

  #tell(type: 'Normal' | 'Warning', reason: string, message: string): void {
    const { nodeName } = this.#options;
    this.#deps.events.record({ kind: 'Node', namespace: '', name: nodeName, uid: nodeName }, type, reason, message);
  }

  async #fetch(signal: AbortSignal): Promise<Node> {
    const node = (await this.#deps.api.request({ method: 'GET', path: paths.node(this.#options.nodeName) }, { signal })) as Node;
    this.#deps.learn(node);
    return node;
  }

  async #patchNode(patch: { readonly metadata: unknown }, signal: AbortSignal): Promise<Node> {
    const path = paths.node(this.#options.nodeName);
    return (await this.#deps.api.request(
      { method: 'PATCH', path, body: patch, contentType: 'application/strategic-merge-patch+json' },
      { signal },
    )) as Node;
  }

  #failed(message: string, error: unknown): void {
    this.#deps.logger.debug(message, { error: messageOf(error) });
    // A fault of the server as a whole is told once, by the gate.
    if (error instanceof ApiError && error.isServerWide) return;
    this.#deps.faults.report('node', '', error);
  }

  #sleep(ms: number, signal: AbortSignal): { readonly done: Promise<void>; end(): void } {
    const round = new AbortController();
    const onAbort = (): void => round.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const done = this.#deps.clock.sleep(ms, round.signal).catch(() => undefined);
    return {
      done,
      end: () => {
        signal.removeEventListener('abort', onAbort);
        round.abort();
      },
    };
  }
}
