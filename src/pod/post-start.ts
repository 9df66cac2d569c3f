// Whether a running container still has its postStart hook before it (L-431): until that has ended it has not started,
// and nothing asks how it is.
import { allContainers, type Pod } from '../api/pod.ts';
import type { ObservedContainer, ObservedPod } from './observation.ts';
import type { PodMemory } from './work.ts';

/** Also where the hook failed and the container is about to be ended for it. Of containers of an earlier agent nothing is known (L-433). */
export function awaitsPostStart(
  record: ObservedContainer,
  { postStart }: Pick<PodMemory, 'postStart'>,
  underWay: ReadonlySet<string>,
): boolean {
  const hook = postStart.get(record.id);
  return hook === 'pending' || hook === 'failed' || underWay.has(`StartContainer/${record.id}`);
}

/** What may be probed: as if containers that wait for their hook had not begun. */
export function probedPart(
  pod: Pod,
  observed: ObservedPod,
  memory: Pick<PodMemory, 'postStart'>,
  underWay: ReadonlySet<string>,
): ObservedPod {
  const hooked = new Set(allContainers(pod.spec).flatMap(({ name, lifecycle }) => (lifecycle?.postStart === undefined ? [] : [name])));
  if (hooked.size === 0) return observed;
  const containers = observed.containers.map((record) =>
    record.state === 'running' && hooked.has(record.name) && awaitsPostStart(record, memory, underWay)
      ? { ...record, state: 'created' as const }
      : record,
  );
  return { ...observed, containers };
}
