// Whether a container that is not running may run (again), and when: spec 02, sections 3.3 and 3.7.
import type { Container, PodSpec } from '../api/gen/kubernetes.ts';
import { isSidecar } from '../api/pod.ts';
import type { Instant } from '../std/clock.ts';
import { criKeys, type ObservedContainer } from './observation.ts';
import { changedResources, givenResources } from './resize.ts';

/** The container's own policy, else the Pod's; an empty Pod policy is `Always` (L-132). */
export function effectiveRestartPolicy(spec: PodSpec, container: Container): string {
  return container.restartPolicy ?? spec.restartPolicy ?? 'Always';
}

/** The action of the first rule that matches an exit code (L-134). */
export function matchingRule(container: Container, exitCode: number): 'Restart' | 'RestartAllContainers' | undefined {
  for (const rule of container.restartPolicyRules ?? []) {
    const codes = rule.exitCodes;
    if (codes === undefined) continue;
    const listed = (codes.values ?? []).includes(exitCode);
    if (codes.operator === 'In' ? listed : codes.operator === 'NotIn' && !listed) {
      return rule.action === 'RestartAllContainers' ? 'RestartAllContainers' : 'Restart';
    }
  }
  return undefined;
}

/** Whether policy and rules let a container that ended with `exitCode` run again (L-132, L-133, L-147). */
export function mayRestart(spec: PodSpec, container: Container, exitCode: number): boolean {
  if (container.restartPolicy !== undefined && matchingRule(container, exitCode) !== undefined) return true;
  const policy = effectiveRestartPolicy(spec, container);
  return policy === 'Always' || (policy === 'OnFailure' && exitCode !== 0);
}

/** Whether a regular container whose newest record is this (or absent) is to be started (L-131). */
export function shouldStart(spec: PodSpec, container: Container, record: ObservedContainer | undefined): boolean {
  return record === undefined || record.state !== 'exited' || mayRestart(spec, container, record.exitCode);
}

/** An ordinary init container that did not do its work: exit code, out of memory even with code 0, or lost (L-142). */
export function isFailedInit(record: ObservedContainer): boolean {
  return record.state === 'unknown' || (record.state === 'exited' && (record.exitCode !== 0 || record.reason === 'OOMKilled'));
}

/** Whether a failed ordinary init container is tried again rather than failing the Pod (L-143). */
export function mayRetryInit(spec: PodSpec, container: Container, record: ObservedContainer): boolean {
  if (container.restartPolicy !== undefined) {
    if (record.state === 'exited' && matchingRule(container, record.exitCode) !== undefined) return true;
    return container.restartPolicy !== 'Never';
  }
  return spec.restartPolicy !== 'Never';
}

/** Whether a running container killed for a failed probe comes back (L-136). */
export function restartsAfterProbeFailure(spec: PodSpec, container: Container): boolean {
  return isSidecar(container) || effectiveRestartPolicy(spec, container) !== 'Never';
}

export interface BackoffOptions {
  /** First delay in milliseconds. */
  readonly initialMs: number;
  /** Longest delay in milliseconds (`crashLoopBackOff.maxContainerRestartPeriod`, L-171). */
  readonly maxMs: number;
  /** A run that ends this long after its start begins the sequence anew, in milliseconds (L-167). */
  readonly resetMs: number;
}

export const defaultBackoff: BackoffOptions = { initialMs: 10_000, maxMs: 300_000, resetMs: 600_000 };

/** What the runtime's timestamps may be ahead of the time of a plan. */
const clockSlackMs = 1_000;

export interface Backoff {
  /** Not to be started before this time; undefined when it may be started now. */
  readonly until: Instant | undefined;
  /** The delay being waited for, in milliseconds. */
  readonly delayMs: number;
  /** What the next start records as its own back-off; undefined before the first restart. */
  readonly nextMs: number | undefined;
}

/**
 * The crash-loop back-off of the next start. It is derived from the records alone, each of which carries the back-off
 * it was started under, so it continues across restarts of the agent (D2): 0, 10, 20, 40 … 300 s (L-169).
 * `records` are those of one container name, newest first; `killed` tells which of them the agent ended itself. Such a
 * run is followed by the next one at once where the delay was over, by the end of the run before, when it ended (L-173);
 * otherwise the delay counts from its own end, as after any other.
 */
export function crashBackoff(
  records: readonly ObservedContainer[],
  /** A change of image or resources begins a new sequence (L-165). */
  { hash, resources }: { readonly hash: string; readonly resources: Container['resources'] },
  killed: (id: string) => boolean,
  options: BackoffOptions,
  now: Instant,
): Backoff {
  const newest = records[0];
  const none: Backoff = { until: undefined, delayMs: 0, nextMs: undefined };
  if (newest?.state !== 'exited') return none;
  const entryMs = Number(newest.annotations[criKeys.backoffMs] ?? Number.NaN);
  const initialMs = Math.min(options.initialMs, options.maxMs);
  const isKilled = killed(newest.id);
  const before = isKilled ? records.slice(1).find((record) => record.state === 'exited') : undefined;
  if (isKilled && before === undefined) return Number.isFinite(entryMs) ? { ...none, nextMs: entryMs } : none;
  const finishedAt = endOf(newest);
  const given = givenResources(newest, { resized: new Map() });
  const isOther = newest.annotations[criKeys.hash] !== hash || (given !== undefined && changedResources(given, resources).length > 0);
  const isLong = before === undefined && finishedAt - newest.createdAt > options.resetMs;
  const isStale = !Number.isFinite(entryMs) || isOther || isLong;
  if (isStale) return { ...none, nextMs: initialMs };
  const delayMs = Math.min(entryMs, options.maxMs);
  const nextMs = Math.min(entryMs * 2, options.maxMs);
  const wasOver = before !== undefined && finishedAt - endOf(before) >= delayMs;
  // An end in the future: the clock was set back since, and nothing is known of how long ago it was.
  const isWaiting = !wasOver && now < finishedAt + delayMs && finishedAt <= now + clockSlackMs;
  return isWaiting ? { until: finishedAt + delayMs, delayMs, nextMs } : { until: undefined, delayMs, nextMs };
}

function endOf(record: ObservedContainer): Instant {
  return record.finishedAt ?? record.createdAt;
}
