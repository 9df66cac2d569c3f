// Shows the static Pods on the API server as mirror Pods (spec 01, section 7). What comes in: the views of the status
// store, and the server's Pods of this node. What goes out: create, delete and status patches, one Pod name at a time,
// each tried again until it fits. It touches no container and nobody waits for it (D3).

import type { EventObject } from '../api/events.ts';
import type { Pod as ApiPod, Node } from '../api/gen/kubernetes.ts';
import type { Pod } from '../api/pod.ts';
import type { PodView, StatusStore } from '../status/status-store.ts';
import type { TaskGroup } from '../std/async.ts';
import { type Clock, fromRfc3339, type Instant } from '../std/clock.ts';
import { AgentError, assertNever } from '../std/errors.ts';
import { equalJson } from '../std/json.ts';
import type { Logger } from '../std/log.ts';
import type { Histogram, Metrics } from '../std/metrics.ts';
import type { Random } from '../std/random.ts';
import { Backoff } from './backoff.ts';
import type { FaultBook } from './faults.ts';
import { ApiError, isApiError, type KubeApi, paths } from './kube-api.ts';
import { isMirrorOf, mirrorHash, ownerOf, ownStatus, toMirrorPod, toStatusPatch } from './mirror-object.ts';
import { keyOf, Reflector } from './reflector.ts';
import { WorkQueue } from './work-queue.ts';

/** What is to be done for one Pod name now; the world is looked at again after each step. */
export type MirrorStep =
  | { readonly type: 'nothing' }
  | { readonly type: 'create'; readonly pod: Pod; readonly owner: { readonly name: string; readonly uid: string } }
  | { readonly type: 'delete'; readonly mirror: ApiPod; readonly why: 'orphan' | 'stale' | 'deleted' | 'never-run' }
  | { readonly type: 'status'; readonly view: PodView; readonly mirror: ApiPod }
  | { readonly type: 'refuse'; readonly pod: ApiPod }
  | { readonly type: 'wait'; readonly pod: Pod; readonly cause: 'node-missing' | 'name-taken'; readonly message: string };

export interface MirrorInput {
  /** The views of this name, in the order in which they were first published. */
  readonly views: readonly PodView[];
  readonly mirror: ApiPod | undefined;
  readonly node: Node | undefined;
  readonly isOrphan: boolean;
  readonly now: Instant;
}

/** The decision, pure. */
export function planMirror({ views, mirror, node, isOrphan, now }: MirrorInput): MirrorStep {
  // The first that is not gone owns the name: a successor waits behind it and has no mirror yet (S-268, S-272).
  const owner = views.find((view) => !isGone(view));
  const isMirror = mirror !== undefined && mirrorHash(mirror) !== undefined;
  if (owner === undefined) {
    if (mirror !== undefined && !isMirror) return planOther(mirror, now);
    // Before all sources have spoken, or its Pod was looked at, an unknown mirror may still find its Pod (S-324).
    return isMirror && (isOrphan || views.length > 0) ? { type: 'delete', mirror, why: 'orphan' } : { type: 'nothing' };
  }
  const { pod } = owner;
  if (mirror !== undefined && !isMirror) {
    const message = `a Pod named ${keyOf(pod)} that is not a mirror exists`;
    return owner.leaving ? { type: 'nothing' } : { type: 'wait', pod, cause: 'name-taken', message };
  }
  if (mirror !== undefined && isMirrorOf(mirror, pod) && (owner.leaving || mirror.metadata?.deletionTimestamp === undefined)) {
    return { type: 'status', view: owner, mirror };
  }
  // A Pod on its way out keeps the mirror it has and gets no other one (S-322).
  if (owner.leaving) return { type: 'nothing' };
  if (mirror !== undefined) return { type: 'delete', mirror, why: isMirrorOf(mirror, pod) ? 'deleted' : 'stale' };
  const nodeOwner = ownerOf(node);
  if (nodeOwner === undefined) {
    const message =
      node === undefined ? 'the Node object is not known (not registered yet?)' : 'the Node object is being deleted or has no uid';
    return { type: 'wait', pod, cause: 'node-missing', message };
  }
  return { type: 'create', pod, owner: nodeOwner };
}

/**
 * A Pod that the cluster has given to this node: nobody runs it, and nobody else ends it when it is deleted. That waits
 * until its grace is long over, so that a kubelet that shares the Node by mistake has had its time.
 */
function planOther(pod: ApiPod, now: Instant): MirrorStep {
  const { phase } = pod.status ?? {};
  if (phase === 'Succeeded' || phase === 'Failed') return { type: 'nothing' };
  const deletion = pod.metadata?.deletionTimestamp;
  if (deletion === undefined) return { type: 'refuse', pod };
  const isOver = now > (fromRfc3339(deletion) ?? Number.POSITIVE_INFINITY) + otherGraceMs;
  return isOver ? { type: 'delete', mirror: pod, why: 'never-run' } : { type: 'nothing' };
}

/** Its containers have stopped and it will not be back: the mirror goes now, before volumes are cleaned up (S-323). */
function isGone(view: PodView): boolean {
  return view.leaving && (view.stage === 'terminated' || view.stage === 'finished');
}

export interface MirrorPodsOptions {
  readonly nodeName: string;
}

export interface MirrorPodsDeps {
  readonly api: KubeApi;
  readonly status: Pick<StatusStore, 'get' | 'list' | 'subscribe' | 'adoptStartTime'>;
  /** The Node object as last seen. */
  readonly node: () => Node | undefined;
  /** Every source of manifests has spoken, and none wants a Pod of this name (S-324). */
  readonly isOrphan: (pod: { readonly namespace: string; readonly name: string }) => boolean;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly faults: FaultBook;
}

/** What the server side of the agent asks: UIDs of the API are those of mirrors (S-328). */
export interface UidTranslation {
  /** The static UID of a mirror UID; any other UID as it is. */
  toStatic(uid: string): string;
  /** The UID of the mirror that shows this static Pod at present. */
  mirrorOf(staticUid: string): string | undefined;
}

/** Beyond the deletion's own time. */
const otherGraceMs = 30_000;
const concurrency = 4;
/** The pass over all Pods, without any request where nothing has changed (S-331, S-334). */
const passMs = 10_000;
/** A mirror deleted again within this time is re-created with a growing delay: whoever deletes it may be a machine. */
const quietMs = 60_000;

/** What was last sent to a mirror, and what the server made of it. */
interface Sent {
  readonly wanted: unknown;
  readonly shown: unknown;
  /** By `Clock.elapsed`, as all times below. */
  readonly at: number;
}

/** H-373. */
export function statusSyncs(metrics: Metrics): Histogram {
  return metrics.histogram({
    name: 'kubelet_pod_status_sync_duration_seconds',
    help: '[ALPHA] From a change of the status of a Pod until the API server has it',
    buckets: [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 20, 30, 45, 60],
  });
}

export class MirrorPods implements UidTranslation {
  readonly #options: MirrorPodsOptions;
  readonly #deps: MirrorPodsDeps;
  readonly #queue: WorkQueue;
  readonly #pods: Reflector<ApiPod>;
  /** By mirror UID. */
  readonly #sent = new Map<string, Sent>();
  /** By key: failures that concern this Pod alone. */
  readonly #retries = new Map<string, { readonly backoff: Backoff; notBefore: number }>();
  readonly #created = new Map<
    string,
    { readonly backoff: Backoff; readonly hash: string; readonly at: number; readonly notBefore: number }
  >();
  /** Since when each static Pod has a status that no mirror shows, by `Clock.elapsed`. */
  readonly #unshown = new Map<string, number>();
  readonly #gauge;
  readonly #syncs;
  readonly #writes;

  constructor(options: MirrorPodsOptions, deps: MirrorPodsDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#queue = new WorkQueue(deps);
    this.#pods = new Reflector<ApiPod>(
      { path: paths.pods, fieldSelector: `spec.nodeName=${options.nodeName}`, name: 'pods' },
      {
        ...deps,
        onChange: ({ key }) => {
          this.#count();
          this.#wake(key);
        },
        onSynced: () => this.resync(),
      },
    );
    this.#gauge = deps.metrics.gauge({ name: 'kubelet_mirror_pods', help: '[ALPHA] Mirror Pods of this node' });
    this.#syncs = statusSyncs(deps.metrics);
    this.#writes = deps.metrics.counter({
      name: 'pinpod_mirror_writes_total',
      help: 'Mirror Pods created, deleted and updated at the API server.',
      labels: ['operation'],
    });
  }

  /** Runs in `group` until it ends. */
  start(group: TaskGroup): void {
    group.spawn('mirror-pods-watch', (o) => this.#pods.run(o));
    group.spawn('mirror-pods', (o) => this.#run(o));
  }

  /** The Node appeared or changed, or the sources became ready: look at every Pod (S-304). */
  resync(): void {
    const keys = new Set([...this.#deps.status.list().map((view) => keyOf(view.pod)), ...this.#pods.list().map(keyOf)]);
    for (const key of keys) this.#wake(key);
    for (const known of [this.#retries, this.#created]) for (const key of [...known.keys()]) if (!keys.has(key)) known.delete(key);
  }

  toStatic(uid: string): string {
    const mirror = this.#pods.list().find((pod) => pod.metadata?.uid === uid);
    if (mirror === undefined) return uid;
    const hash = mirrorHash(mirror);
    const view = this.#views(keyOf(mirror)).find((v) => isMirrorOf(mirror, v.pod));
    return view?.pod.metadata.uid ?? hash ?? uid;
  }

  mirrorOf(staticUid: string): string | undefined {
    const view = this.#deps.status.get(staticUid);
    if (view === undefined) return undefined;
    const mirror = this.#pods.get(keyOf(view.pod));
    return mirror !== undefined && isMirrorOf(mirror, view.pod) ? mirror.metadata?.uid : undefined;
  }

  async #run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const unsubscribe = this.#deps.status.subscribe(({ kind, view }) => {
      const { uid } = view.pod.metadata;
      if (kind === 'removed') this.#unshown.delete(uid);
      else if (!this.#unshown.has(uid)) this.#unshown.set(uid, this.#deps.clock.elapsed());
      this.#wake(keyOf(view.pod));
    });
    const pass = async (): Promise<never> => {
      for (;;) {
        this.resync();
        await this.#deps.clock.sleep(passMs, signal);
      }
    };
    try {
      await Promise.all([this.#queue.run(concurrency, (key) => this.#reconcile(key, signal), signal), pass()]);
    } finally {
      unsubscribe();
    }
  }

  #wake(key: string): void {
    const notBefore = this.#retries.get(key)?.notBefore ?? 0;
    this.#queue.addAt(key, Math.max(notBefore, this.#deps.clock.elapsed()));
  }

  #views(key: string): readonly PodView[] {
    return this.#deps.status.list().filter((view) => keyOf(view.pod) === key);
  }

  async #reconcile(key: string, signal: AbortSignal): Promise<void> {
    if (!this.#pods.isSynced) return;
    try {
      // Delete, create, status are the longest way; what is not finished then goes on with the next wake-up.
      for (let steps = 0; steps < 4; steps++) {
        const step = planMirror({
          views: this.#views(key),
          mirror: this.#pods.get(key),
          node: this.#deps.node(),
          now: this.#deps.clock.now(),
          isOrphan: this.#deps.isOrphan({ namespace: key.slice(0, key.indexOf('/')), name: key.slice(key.indexOf('/') + 1) }),
        });
        if (await this.#execute(key, step, signal)) break;
      }
      this.#retries.delete(key);
    } catch (error) {
      signal.throwIfAborted();
      this.#failed(key, error);
    }
  }

  /** True when there is nothing more to do now. */
  async #execute(key: string, step: MirrorStep, signal: AbortSignal): Promise<boolean> {
    switch (step.type) {
      case 'nothing':
        this.#deps.faults.clear('mirror', key);
        this.#deps.faults.clear('pod', key);
        return true;
      case 'refuse': {
        const { namespace = '', name = '', uid = '' } = step.pod.metadata ?? {};
        const error = new AgentError('not-run', 'the cluster has given this Pod to a node that runs static Pods only; it stays Pending');
        this.#deps.faults.report('pod', key, error, { object: { kind: 'Pod', namespace, name, uid } });
        return true;
      }
      case 'wait':
        // A missing Node is told once, by the registration; the Node's arrival wakes every Pod.
        if (step.cause === 'name-taken') {
          this.#deps.faults.report('mirror', key, new AgentError(step.cause, step.message), { object: objectOf(step.pod) });
        }
        return true;
      case 'create':
        return await this.#create(key, step.pod, step.owner, signal);
      case 'delete':
        await this.#delete(key, step.mirror, step.why, signal);
        return false;
      case 'status':
        await this.#sync(key, step.view, step.mirror, signal);
        return true;
      default:
        return assertNever(step);
    }
  }

  async #create(key: string, pod: Pod, owner: { readonly name: string; readonly uid: string }, signal: AbortSignal): Promise<boolean> {
    const body = toMirrorPod(pod, owner);
    const hash = mirrorHash(body) ?? '';
    const last = this.#created.get(key);
    const now = this.#deps.clock.elapsed();
    if (last !== undefined && last.hash === hash && now < last.notBefore) {
      this.#queue.addAt(key, last.notBefore);
      return true;
    }
    try {
      const created = await this.#deps.api.request(
        { method: 'POST', path: paths.namespacedPods(pod.metadata.namespace), body },
        { signal },
      );
      this.#writes.inc({ operation: 'create' });
      this.#deps.logger.info('mirror pod created', { pod: key, podUID: pod.metadata.uid });
      this.#pods.learn(created as ApiPod);
      this.#count();
    } catch (error) {
      // Our own create whose answer was lost, or somebody else's object: the next look tells.
      if (!isApiError(error, 'already-exists')) throw error;
      if (!(await this.#reread(key, pod.metadata, signal))) throw error;
    }
    // The first re-creation is immediate; whoever deletes it again within a minute meets a growing delay.
    const again = last !== undefined && last.hash === hash && now - last.at <= quietMs;
    const backoff = again ? last.backoff : new Backoff({ baseMs: 1000, maxMs: 30_000 }, this.#deps);
    this.#created.set(key, { backoff, hash, at: now, notBefore: again ? this.#deps.clock.elapsed() + backoff.next() : now });
    return false;
  }

  /** Grace period 0, and only this very object (S-311, S-316). */
  async #delete(
    key: string,
    mirror: ApiPod,
    why: Extract<MirrorStep, { readonly type: 'delete' }>['why'],
    signal: AbortSignal,
  ): Promise<void> {
    const { name = '', namespace = '', uid } = mirror.metadata ?? {};
    const body = { apiVersion: 'v1', kind: 'DeleteOptions', gracePeriodSeconds: 0, preconditions: { uid } };
    try {
      await this.#deps.api.request({ method: 'DELETE', path: paths.pod(namespace, name), body }, { signal });
      this.#writes.inc({ operation: 'delete' });
      this.#deps.logger.info('mirror pod deleted', { pod: key, why });
    } catch (error) {
      if (isApiError(error, 'conflict')) {
        // Another object has the name by now (S-312).
        await this.#reread(key, { name, namespace }, signal);
        return;
      }
      if (!isApiError(error, 'not-found', 'namespace-missing')) throw error;
    }
    if (uid !== undefined) this.#sent.delete(uid);
    this.#pods.forget(key, uid);
    this.#count();
  }

  /** Reads the object of this name; true if there is one on this node. */
  async #reread(
    key: string,
    { name, namespace }: { readonly name: string; readonly namespace: string },
    signal: AbortSignal,
  ): Promise<boolean> {
    try {
      const found = (await this.#deps.api.request({ method: 'GET', path: paths.pod(namespace, name) }, { signal })) as ApiPod;
      if (found.spec?.nodeName !== this.#options.nodeName) {
        throw new ApiError('already-exists', `a Pod of this name runs on node ${found.spec?.nodeName ?? '(none yet)'}`);
      }
      this.#pods.learn(found);
      return true;
    } catch (error) {
      if (!isApiError(error, 'not-found')) throw error;
      this.#pods.forget(key, undefined);
      return false;
    }
  }

  async #sync(key: string, { pod, status }: PodView, mirror: ApiPod, signal: AbortSignal): Promise<void> {
    const uid = mirror.metadata?.uid ?? '';
    // A mirror of an agent before us remembers when the Pod began; publishing that comes back here.
    const began = this.#sent.has(uid) ? undefined : mirror.status?.startTime;
    if (began !== undefined && began < (status.startTime ?? '')) {
      this.#deps.status.adoptStartTime(pod.metadata.uid, began);
      return;
    }
    const wanted = ownStatus(status);
    const shown = ownStatus(mirror.status);
    const sent = this.#sent.get(uid);
    const isSent = sent !== undefined && equalJson(sent.wanted, wanted);
    const now = this.#deps.clock.elapsed();
    // What the server made of it (a quantity in another spelling) is not a reason to send it again and again.
    const isShown = isSent && equalJson(sent.shown, shown);
    if (isSent && !isShown && now < sent.at + passMs) {
      // Somebody else wrote: put it right, but do not race with them (S-334).
      this.#queue.addAt(key, sent.at + passMs);
      return;
    }
    const patch = isShown ? undefined : toStatusPatch(status, mirror);
    // What changes from here on is for the next request.
    const unshownSince = this.#unshown.get(pod.metadata.uid);
    this.#unshown.delete(pod.metadata.uid);
    if (patch !== undefined) {
      const { name, namespace } = pod.metadata;
      try {
        const answer = (await this.#deps.api.request(
          {
            method: 'PATCH',
            path: `${paths.pod(namespace, name)}/status`,
            body: patch,
            contentType: 'application/strategic-merge-patch+json',
          },
          { signal },
        )) as ApiPod;
        this.#writes.inc({ operation: 'status' });
        if (unshownSince !== undefined) this.#syncs.observe((this.#deps.clock.elapsed() - unshownSince) / 1000);
        this.#pods.learn(answer);
        this.#sent.set(uid, { wanted, shown: shownAfter(patch.status, shown, ownStatus(answer.status)), at: now });
      } catch (error) {
        if (unshownSince !== undefined) this.#unshown.set(pod.metadata.uid, unshownSince);
        // A container that had ended for good runs again, which no object may show (S-342): another object may. One that has
        // shown nothing yet would fare no better.
        if (isApiError(error, 'invalid') && mirror.status?.startTime !== undefined) {
          await this.#delete(key, mirror, 'stale', signal);
          this.#wake(key);
          return;
        }
        // Gone, or another object of that name: look again at once; a new mirror gets its status in full (S-333).
        if (!isApiError(error, 'not-found', 'conflict')) throw error;
        this.#sent.delete(uid);
        if (await this.#reread(key, { name, namespace }, signal)) throw error;
        this.#wake(key);
      }
    } else if (!isShown) {
      this.#sent.set(uid, { wanted, shown, at: now });
    }
    this.#deps.faults.clear('mirror', key);
  }

  #failed(key: string, error: unknown): void {
    const retry = this.#retries.get(key) ?? { backoff: new Backoff({ baseMs: 1000, maxMs: 60_000 }, this.#deps), notBefore: 0 };
    retry.notBefore = this.#deps.clock.elapsed() + retry.backoff.next(error instanceof ApiError ? error.retryAfterMs : undefined);
    this.#retries.set(key, retry);
    this.#queue.addAt(key, retry.notBefore);
    // A fault of the server as a whole is told once, by the gate. An internal error may be this Pod's alone, though (a
    // webhook that fails): then it meets it again and again while others are served.
    if (error instanceof ApiError && error.isServerWide && !(error.code === 'server-error' && retry.backoff.failures >= 4)) return;
    const pod = this.#views(key)[0]?.pod;
    this.#deps.faults.report('mirror', key, error, pod === undefined ? {} : { object: objectOf(pod) });
  }

  #count(): void {
    this.#gauge.set(this.#pods.list().filter((pod) => mirrorHash(pod) !== undefined).length);
  }
}

/** What the server made of the fields that were sent; in the others only another writer's hand can show. */
function shownAfter(sent: Readonly<Record<string, unknown>>, before: unknown, answer: unknown): unknown {
  const expected = { ...(before as Record<string, unknown> | undefined) };
  for (const field of Object.keys(sent)) {
    const made = (answer as Readonly<Record<string, unknown>> | undefined)?.[field];
    if (made === undefined) delete expected[field];
    else expected[field] = made;
  }
  return Object.keys(expected).length === 0 ? undefined : expected;
}

/** Events of a static Pod carry its static UID (S-330). */
function objectOf(pod: Pod): EventObject {
  const { namespace, name, uid } = pod.metadata;
  return { kind: 'Pod', namespace, name, uid };
}
