// The last words of a container: where they are, when its log stands in for them, how much room they get (10.3).
import { firstBytes } from './log-tail.ts';
import { criKeys, type ObservedContainer } from './observation.ts';

export const maxMessageFileBytes = 4096;
export const maxMessageLog = { maxLines: 80, maxBytes: 2048 } as const;
/** For all containers of a Pod together. */
const maxPodBytes = 12 * 1024;

/** The file on the machine behind the container's `terminationMessagePath`; undefined when it has none (L-473). */
export function terminationMessageFile({ annotations, mounts }: ObservedContainer): string | undefined {
  const path = annotations[criKeys.terminationMessagePath] ?? '';
  if (path === '') return undefined;
  const hostPath = mounts.find(({ containerPath }) => containerPath === path)?.hostPath ?? '';
  return hostPath === '' ? undefined : hostPath;
}

/** Whether the end of the log is read, `fileText` being what the file said (L-474). */
export function logStandsIn({ annotations, exitCode, reason }: ObservedContainer, fileText: string): boolean {
  const isWanted = annotations[criKeys.terminationMessagePolicy] === 'FallbackToLogsOnError';
  return isWanted && exitCode !== 0 && reason !== 'ContainerCannotRun' && fileText === '';
}

/** The runtime's message and the container's own (L-475). */
export function joinMessages(runtimeMessage: string, own: string): string {
  return [runtimeMessage, own].filter((text) => text !== '').join(': ');
}

/** `message` cut to its share among `containers` (init + regular) of the Pod (L-476). */
export function cutToShare(message: string, containers: number): string {
  return firstBytes(message, Math.floor(maxPodBytes / Math.max(1, containers)));
}
