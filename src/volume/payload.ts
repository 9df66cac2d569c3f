// The files of downwardAPI and projected volumes: L-322 … L-325. Pure.
import type { DownwardAPIVolumeFile, Volume } from '../api/gen/kubernetes.ts';
import type { Pod } from '../api/pod.ts';
import type { Problems } from '../pod/build-result.ts';
import { fieldValue, resourceValue } from '../pod/downward-api.ts';
import type { NodeFacts } from '../pod/node-facts.ts';
import type { Payload, PayloadFile } from './atomic-writer.ts';

const defaultFileMode = 0o644;

/** Sources that need an API server are problems: a static Pod cannot have them. */
export function payloadOf(pod: Pod, volume: Volume, node: NodeFacts, problems: Problems): Payload {
  const files = new Map<string, PayloadFile>();
  const defaultMode = volume.downwardAPI?.defaultMode ?? volume.projected?.defaultMode ?? defaultFileMode;
  const add = (item: DownwardAPIVolumeFile): void => {
    const text =
      item.fieldRef === undefined
        ? item.resourceFieldRef === undefined
          ? ''
          : resourceValue(pod, item.resourceFieldRef, undefined, node, problems)
        : metadataValue(pod, item.fieldRef.fieldPath, node, problems);
    files.set(item.path, { text, mode: item.mode ?? defaultMode });
  };
  for (const item of volume.downwardAPI?.items ?? []) add(item);
  for (const source of volume.projected?.sources ?? []) {
    if (source.downwardAPI === undefined) {
      const kind = Object.keys(source)[0] ?? 'an empty source';
      problems.push(`projected volume ${volume.name} has ${kind}, which needs an API server`);
    }
    for (const item of source.downwardAPI?.items ?? []) add(item);
  }
  return files;
}

/** Files may hold what is fixed for the life of a Pod, not addresses. */
function metadataValue(pod: Pod, path: string, node: NodeFacts, problems: Problems): string {
  if (path.startsWith('metadata.')) return fieldValue(pod, path, [], node, problems);
  problems.push(`unsupported fieldPath: ${path}`);
  return '';
}
