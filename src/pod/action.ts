// What the planner may ask for. The types are CRI's RPC names where there is one.
import type { LifecycleHandler, ResourceRequirements } from '../api/gen/kubernetes.ts';
import type { ContainerResize } from './resize.ts';

export type Action =
  /** `hasRunning`: regular containers run already, so a cgroup that is missing means they run outside it (L-052). */
  | { readonly type: 'CreatePodCgroup'; readonly hasRunning: boolean }
  | { readonly type: 'SetUpVolumes' }
  /** Brings the files that show changing data up to date. */
  | { readonly type: 'RefreshVolumes' }
  | { readonly type: 'RunPodSandbox'; readonly attempt: number }
  | { readonly type: 'StopPodSandbox'; readonly sandboxId: string }
  | { readonly type: 'RemovePodSandbox'; readonly sandboxId: string }
  /** Makes sure the container's image is there, by its pull policy. */
  | { readonly type: 'PullImage'; readonly container: string; readonly sandboxAttempt: number }
  | {
      readonly type: 'CreateContainer';
      readonly container: string;
      readonly sandboxId: string;
      readonly sandboxAttempt: number;
      readonly podIps: readonly string[];
      /** CRI's attempt, which is also the restart count and the number of the log file (L-174). */
      readonly attempt: number;
      readonly imageRef: string;
      /** The back-off this start ends, kept in the container's annotations; undefined before the first restart. */
      readonly backoffMs: number | undefined;
      /** It is to have other resources than the one before it: the Pod's cgroup has to make room first (L-519). */
      readonly resizesPod?: true;
    }
  | { readonly type: 'StartContainer'; readonly container: string; readonly containerId: string }
  /**
   * Gives running containers the resources the Pod has now, its cgroup included (L-518). `whole`: what the Pod as a whole
   * is to have, when that changes, too.
   */
  | { readonly type: 'ResizeContainers'; readonly changes: readonly ContainerResize[]; readonly whole?: ResourceRequirements }
  | { readonly type: 'RunPostStart'; readonly container: string; readonly containerId: string; readonly handler: LifecycleHandler }
  | {
      readonly type: 'RunPreStop';
      readonly container: string;
      readonly containerId: string;
      readonly handler: LifecycleHandler;
      readonly timeoutSeconds: number;
      readonly gracePeriodSeconds: number;
      readonly message: string;
    }
  | {
      readonly type: 'StopContainer';
      readonly container: string;
      readonly containerId: string;
      /** Seconds between the stop signal and SIGKILL. */
      readonly timeoutSeconds: number;
      readonly gracePeriodSeconds: number;
      /** The text of the `Killing` event. */
      readonly message: string;
    }
  | { readonly type: 'RemoveContainer'; readonly container: string; readonly containerId: string; readonly keepLogs: boolean }
  | { readonly type: 'TearDownVolumes' }
  | { readonly type: 'RemovePodFolder' }
  | { readonly type: 'RemovePodCgroup' };

export type ActionType = Action['type'];

/** Two actions with the same key are the same deed: one that is under way is not started again. */
export function actionKey(action: Action): string {
  switch (action.type) {
    case 'CreatePodCgroup':
    case 'SetUpVolumes':
    case 'RefreshVolumes':
    case 'TearDownVolumes':
    case 'RemovePodFolder':
    case 'RemovePodCgroup':
      return action.type;
    case 'RunPodSandbox':
      return `${action.type}/${action.attempt}`;
    case 'StopPodSandbox':
    case 'RemovePodSandbox':
      return `${action.type}/${action.sandboxId}`;
    case 'ResizeContainers':
      return [
        action.type,
        action.changes.map(({ containerId }) => containerId).join('+'),
        JSON.stringify(action.changes.map(({ to }) => to)),
        ...(action.whole === undefined ? [] : [JSON.stringify(action.whole)]),
      ].join('/');
    case 'PullImage':
      return `${action.type}/${action.container}`;
    case 'CreateContainer':
      return `${action.type}/${action.container}/${action.attempt}`;
    case 'StartContainer':
    case 'RunPostStart':
    case 'RemoveContainer':
      return `${action.type}/${action.containerId}`;
    // A shorter grace period replaces a stop that is under way (L-038).
    case 'RunPreStop':
    case 'StopContainer':
      return `${action.type}/${action.containerId}/${action.gracePeriodSeconds}`;
  }
}

/**
 * Whether an action under way is ended when no plan wants it any more. The others run to their end: their effect on
 * the runtime would be unknown (L-038).
 */
export function isCancellable(type: ActionType): boolean {
  return (
    type === 'PullImage' ||
    type === 'SetUpVolumes' ||
    type === 'RefreshVolumes' ||
    type === 'RunPostStart' ||
    type === 'RunPreStop' ||
    type === 'StopContainer'
  );
}
