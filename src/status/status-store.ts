// Stage "status": the latest view of every Pod, by static UID. The workers publish; the server, the CLI's views and
// the mirror read and subscribe. Synchronous, in memory only: it is lost with the process and rebuilt (D2).
import type { PodCondition, PodStatus } from '../api/gen/kubernetes.ts';
import type { Pod } from '../api/pod.ts';
import { type Clock, toRfc3339 } from '../std/clock.ts';
import { equalJson } from '../std/json.ts';

/** Where a Pod's worker is: the names of its work states (L-036). */
export type PodStage = 'sync' | 'terminating' | 'terminated' | 'finished';

/** The latest truth about one Pod. Never changed in place: a newer view replaces it. */
export interface PodView {
  /** The Pod as its manifest wants it. */
  readonly pod: Pod;
  readonly status: PodStatus;
  readonly stage: PodStage;
  /** Its manifest is gone or replaced: once its containers have stopped it will not be back (S-283). */
  readonly leaving: boolean;
  /** Grows with every change of any Pod. */
  readonly revision: number;
}

export type StatusChange =
  | { readonly kind: 'published'; readonly view: PodView; readonly previous: PodView | undefined }
  | { readonly kind: 'removed'; readonly view: PodView };

/** What readers see of the store. */
export interface StatusView {
  get(uid: string): PodView | undefined;
  /** In the order in which the Pods were first published. */
  list(): readonly PodView[];
  /**
   * `listener` runs synchronously after each real change; it must not throw. Those that exist already are not
   * announced. Returns the end of the subscription.
   */
  subscribe(listener: (change: StatusChange) => void): () => void;
}

export interface PublishOptions {
  /** Default `sync`. */
  readonly stage?: PodStage | undefined;
  /** Default false. */
  readonly leaving?: boolean | undefined;
}

export class StatusStore implements StatusView {
  readonly #clock: Clock;
  readonly #views = new Map<string, PodView>();
  readonly #listeners = new Set<(change: StatusChange) => void>();
  #revision = 0;

  constructor(deps: { readonly clock: Clock }) {
    this.#clock = deps.clock;
  }

  /**
   * Replaces the view of `pod.metadata.uid` and returns what is stored now. `startTime` is set once and kept (L-487); a
   * condition keeps its `lastTransitionTime` while its status stays the same, and gets the present time where it has
   * none (L-483). Nobody is told when nothing has changed.
   */
  publish(pod: Pod, status: PodStatus, options: PublishOptions = {}): PodView {
    const { uid } = pod.metadata;
    const previous = this.#views.get(uid);
    const now = toRfc3339(this.#clock.now());
    const next = {
      pod,
      status: {
        ...status,
        startTime: previous?.status.startTime ?? status.startTime ?? now,
        ...(status.conditions === undefined
          ? {}
          : { conditions: withTransitionTimes(status.conditions, previous?.status.conditions ?? [], now) }),
      },
      stage: options.stage ?? 'sync',
      leaving: options.leaving ?? false,
    };
    if (
      previous !== undefined &&
      next.stage === previous.stage &&
      next.leaving === previous.leaving &&
      equalJson(next.status, previous.status) &&
      equalJson(next.pod, previous.pod)
    ) {
      return previous;
    }
    const view: PodView = { ...next, revision: ++this.#revision };
    this.#views.set(uid, view);
    this.#tell({ kind: 'published', view, previous });
    return view;
  }

  /** Somebody remembers that the Pod began earlier than is known here (S-340): that stays its `startTime`. */
  adoptStartTime(uid: string, startTime: string): void {
    const view = this.#views.get(uid);
    if (view === undefined || startTime >= (view.status.startTime ?? '')) return;
    const next: PodView = { ...view, status: { ...view.status, startTime }, revision: ++this.#revision };
    this.#views.set(uid, next);
    this.#tell({ kind: 'published', view: next, previous: view });
  }

  /** Forgets a Pod that has finished. Unknown UIDs are fine. */
  remove(uid: string): void {
    const view = this.#views.get(uid);
    if (view === undefined) return;
    this.#views.delete(uid);
    this.#revision++;
    this.#tell({ kind: 'removed', view });
  }

  get(uid: string): PodView | undefined {
    return this.#views.get(uid);
  }

  list(): readonly PodView[] {
    return [...this.#views.values()];
  }

  subscribe(listener: (change: StatusChange) => void): () => void {
    // Wrapped, so that the same function can subscribe twice and end each subscription by itself.
    const own = (change: StatusChange): void => listener(change);
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  #tell(change: StatusChange): void {
    for (const listener of [...this.#listeners]) listener(change);
  }
}

function withTransitionTimes(conditions: readonly PodCondition[], before: readonly PodCondition[], now: string): readonly PodCondition[] {
  return conditions.map((condition) => {
    const old = before.find((b) => b.type === condition.type);
    const kept = old !== undefined && old.status === condition.status ? old.lastTransitionTime : undefined;
    return { ...condition, lastTransitionTime: kept ?? condition.lastTransitionTime ?? now };
  });
}
