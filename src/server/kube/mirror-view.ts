// The static Pods as an API server would show them: each with a mirror UID and creation time of its own, the mirror
// annotation and the node as owner. Removing such a view never touches a container: the same Pod is shown again at
// once under a new UID (H-155, H-156).
import type { Node } from '../../api/gen/kubernetes.ts';
import { annotationKeys, type Pod } from '../../api/pod.ts';
import { builtInPriorities } from '../../api/priority.ts';
import { type Clock, fromRfc3339, toRfc3339 } from '../../std/clock.ts';
import { messageOf } from '../../std/errors.ts';
import type { Logger } from '../../std/log.ts';
import type { Feed, PodsView, StateView, Unsubscribe } from '../views.ts';
import { uuidOf } from './uuid.ts';

/** What is kept of one view, so that a restart of the agent changes neither its UID nor its age. */
interface Identity {
  readonly createdAt: string;
  /** How often the view was removed. */
  readonly removals: number;
}

export interface MirrorPodsDeps {
  readonly pods: PodsView;
  readonly nodes: Feed<Node>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly state?: StateView | undefined;
}

interface View {
  readonly source: Pod;
  readonly node: Node | undefined;
  readonly identity: Identity;
  readonly pod: Pod;
}

const maxForgotten = 1000;

const uidOf = (staticUid: string, removals: number): string => uuidOf(`mirror\0${staticUid}\0${removals}`);

/** What an API server's admission says of a Pod's priority; nothing where only a class that it has could tell. */
function withPriority(spec: Pod['spec']): Pod['spec'] {
  const { priorityClassName = '' } = spec;
  const priority = spec.priority ?? (priorityClassName === '' ? 0 : builtInPriorities.get(priorityClassName));
  return priority === undefined ? spec : { ...spec, priority, preemptionPolicy: spec.preemptionPolicy ?? 'PreemptLowerPriority' };
}

/** The static Pod → its view. */
export function toMirrorPod(pod: Pod, view: { readonly uid: string; readonly createdAt: string; readonly node: Node | undefined }): Pod {
  const { metadata } = pod;
  const hash = metadata.annotations[annotationKeys.configHash] ?? metadata.uid;
  return {
    ...pod,
    spec: withPriority(pod.spec),
    metadata: {
      ...metadata,
      uid: view.uid,
      creationTimestamp: view.createdAt,
      generation: metadata.generation ?? 1,
      annotations: { ...metadata.annotations, [annotationKeys.configMirror]: hash },
      ...(view.node === undefined
        ? {}
        : {
            ownerReferences: [
              {
                apiVersion: 'v1',
                kind: 'Node',
                name: view.node.metadata?.name ?? '',
                uid: view.node.metadata?.uid ?? '',
                controller: true,
              },
            ],
          }),
    },
  };
}

export class MirrorPods implements Feed<Pod> {
  readonly #pods: PodsView;
  readonly #nodes: Feed<Node>;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #state: StateView | undefined;
  /** By static UID, oldest first. */
  readonly #identities = new Map<string, Identity>();
  readonly #listeners = new Set<() => void>();
  #views = new Map<string, View>();
  #list: { readonly source: readonly Pod[]; readonly node: Node | undefined; readonly pods: readonly Pod[] } | undefined;
  #unsubscribe: Unsubscribe | undefined;
  #saving: Promise<void> = Promise.resolve();
  #dirty = false;

  constructor(deps: MirrorPodsDeps) {
    this.#pods = deps.pods;
    this.#nodes = deps.nodes;
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#state = deps.state;
  }

  /** Reads the kept identities; call before the first list. Never throws. */
  async load(): Promise<void> {
    try {
      const value = await this.#state?.load();
      if (typeof value !== 'object' || value === null) return;
      for (const [uid, identity] of Object.entries(value as Record<string, unknown>)) {
        if (typeof identity !== 'object' || identity === null) continue;
        const { createdAt, removals } = identity as Record<string, unknown>;
        if (typeof createdAt === 'string' && fromRfc3339(createdAt) !== undefined && typeof removals === 'number') {
          this.#identities.set(uid, { createdAt, removals });
        }
      }
    } catch (error) {
      this.#log.warn('cannot read the kept Pod views', { error: messageOf(error) });
    }
  }

  list(): readonly Pod[] {
    const source = this.#pods.list();
    const node = this.#nodes.list()[0];
    if (this.#list !== undefined && this.#list.source === source && this.#list.node?.metadata?.uid === node?.metadata?.uid) {
      return this.#list.pods;
    }
    const views = new Map<string, View>();
    for (const pod of source) {
      const staticUid = pod.metadata.uid;
      const identity = this.#identityOf(staticUid, pod.status?.startTime);
      const known = this.#views.get(staticUid);
      if (known?.source === pod && known.identity === identity && known.node?.metadata?.uid === node?.metadata?.uid) {
        views.set(staticUid, known);
        continue;
      }
      const view = toMirrorPod(pod, { uid: uidOf(staticUid, identity.removals), createdAt: identity.createdAt, node });
      views.set(staticUid, { source: pod, node, identity, pod: view });
    }
    for (const uid of this.#views.keys()) {
      // A Pod whose manifest comes back later is a new object with a new UID.
      if (!views.has(uid)) this.#retire(uid);
    }
    this.#views = views;
    this.#list = { source, node, pods: [...views.values()].map((view) => view.pod) };
    return this.#list.pods;
  }

  subscribe(listener: () => void): Unsubscribe {
    this.#listeners.add(listener);
    this.#unsubscribe ??= this.#pods.subscribe(() => this.#notify());
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0) return;
      this.#unsubscribe?.();
      this.#unsubscribe = undefined;
    };
  }

  /** The static Pod a view was made of. */
  staticPod(namespace: string, name: string): Pod | undefined {
    return this.#pods.list().find((pod) => pod.metadata.namespace === namespace && pod.metadata.name === name);
  }

  /** Replaces the view of one Pod by a new one. */
  remove(namespace: string, name: string): void {
    const uid = this.staticPod(namespace, name)?.metadata.uid;
    if (uid === undefined) return;
    this.#identities.set(uid, { createdAt: toRfc3339(this.#clock.now()), removals: this.#identityOf(uid).removals + 1 });
    this.#list = undefined;
    this.#save();
    this.#notify();
  }

  /** Resolves when what was kept is on the disk. */
  async flush(): Promise<void> {
    await this.#saving;
  }

  #identityOf(uid: string, startTime?: string): Identity {
    const known = this.#identities.get(uid);
    if (known !== undefined && known.createdAt !== '') return known;
    // Nobody may have looked since the Pod began: its view is as old as it is.
    const identity = { createdAt: startTime ?? toRfc3339(this.#clock.now()), removals: known?.removals ?? 0 };
    this.#identities.delete(uid);
    this.#identities.set(uid, identity);
    this.#save();
    return identity;
  }

  #retire(uid: string): void {
    const identity = this.#identities.get(uid);
    if (identity === undefined) return;
    this.#identities.set(uid, { createdAt: '', removals: identity.removals + 1 });
    for (const [old, { createdAt }] of this.#identities) {
      if (this.#identities.size <= maxForgotten) break;
      if (createdAt === '') this.#identities.delete(old);
    }
    this.#save();
  }

  #notify(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  /** One write at a time; changes meanwhile are written by the next. */
  #save(): void {
    const state = this.#state;
    if (state === undefined || this.#dirty) return;
    this.#dirty = true;
    this.#saving = this.#saving.then(async () => {
      this.#dirty = false;
      try {
        await state.save(Object.fromEntries([...this.#identities].filter(([, identity]) => identity.createdAt !== '')));
      } catch (error) {
        this.#log.warn('cannot keep the Pod views', { error: messageOf(error) });
      }
    });
  }
}
