// Reads everything the runtime has of one Pod: both lists by label, then the newest sandbox and every container in
// detail, side by side (L-098).
import type { ObservedContainer, ObservedPod, ObservedSandbox } from '../pod/observation.ts';
import type { CallOptions, Runtime } from '../runtime/runtime.ts';

export type ObservingRuntime = Pick<Runtime, 'listPodSandboxes' | 'listContainers' | 'podSandboxStatus' | 'containerStatus'>;

/** What the two lists said, before the details are asked for. */
export interface PodLists {
  readonly sandboxes: readonly ObservedSandbox[];
  readonly containers: readonly ObservedContainer[];
}

/**
 * The full truth about a Pod; empty lists when the runtime has nothing of it. What goes away in between is left out;
 * any other failure fails the whole (L-098). `onLists` is called as soon as the ids are known.
 */
export async function observePod(
  runtime: ObservingRuntime,
  podUid: string,
  options: CallOptions & { readonly onLists?: (lists: PodLists) => void },
): Promise<ObservedPod> {
  const { signal, onLists } = options;
  const [sandboxes, containers] = await Promise.all([
    runtime.listPodSandboxes({ podUid }, { signal }),
    runtime.listContainers({ podUid }, { signal }),
  ]);
  onLists?.({ sandboxes, containers });
  const [detailedSandboxes, statuses] = await Promise.all([
    withNewestDetailed(runtime, [...sandboxes].sort(newerSandboxFirst), { signal }),
    Promise.all(
      containers.map(async ({ id, sandboxId }) => {
        const status = await runtime.containerStatus(id, { signal });
        return status === undefined ? [] : [{ ...status, sandboxId }];
      }),
    ),
  ]);
  return { uid: podUid, sandboxes: detailedSandboxes, containers: statuses.flat().sort(newerContainerFirst) };
}

/** Addresses count only while the sandbox is ready (L-098). */
async function withNewestDetailed(
  runtime: ObservingRuntime,
  sandboxes: readonly ObservedSandbox[],
  options: CallOptions,
): Promise<readonly ObservedSandbox[]> {
  for (const [index, { id }] of sandboxes.entries()) {
    const status = await runtime.podSandboxStatus(id, options);
    if (status === undefined) continue;
    return [status.state === 'ready' ? status : { ...status, ips: [] }, ...sandboxes.slice(index + 1)];
  }
  return [];
}

function newerSandboxFirst(a: ObservedSandbox, b: ObservedSandbox): number {
  return b.attempt - a.attempt || b.createdAt - a.createdAt || compareIds(b.id, a.id);
}

/** The attempt first, as with sandboxes: of one name it only grows, while a clock may be set back (differs from L-098). */
function newerContainerFirst(a: ObservedContainer, b: ObservedContainer): number {
  return b.attempt - a.attempt || b.createdAt - a.createdAt || compareIds(b.id, a.id);
}

function compareIds(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
