// A Pod that only the runtime knows, rebuilt from the labels and annotations of its records (L-066, L-080): enough to
// stop it gracefully, with its hooks, and to clean up after it.
import type { Container, LifecycleHandler } from '../api/gen/kubernetes.ts';
import { annotationKeys, type Pod } from '../api/pod.ts';
import { criKeys, type ObservedContainer, type ObservedPod } from './observation.ts';

/** Undefined when the runtime has no sandbox of it any more, so that its name cannot be told. */
export function podOfRecords(observed: ObservedPod): Pod | undefined {
  const sandbox = observed.sandboxes[0];
  if (sandbox === undefined) return undefined;
  const names = [...new Set(observed.containers.map((record) => record.name))];
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: sandbox.name,
      namespace: sandbox.namespace,
      uid: observed.uid,
      labels: sandbox.labels,
      annotations: sandbox.annotations,
    },
    spec: {
      containers: names.flatMap((name) =>
        observed.containers
          .filter((record) => record.name === name)
          .slice(0, 1)
          .map(containerOf),
      ),
      hostNetwork: sandbox.hostNetwork === true,
      terminationGracePeriodSeconds: graceOf(observed.containers),
    },
  };
}

/** Whether anything of it is up, so that it has its place on the node. */
export function isRunning({ sandboxes, containers }: ObservedPod): boolean {
  return sandboxes.some(({ state }) => state === 'ready') || containers.some(({ state }) => state === 'running');
}

/** Whether a Pod of the runtime was made from a manifest for this node: only those are ours to end. */
export function isOurs(pod: Pod, nodeName: string): boolean {
  const source = pod.metadata.annotations[annotationKeys.configSource];
  return source !== undefined && source !== 'api' && pod.metadata.name.endsWith(`-${nodeName}`);
}

function containerOf(record: ObservedContainer): Container {
  const preStop = parseObject(record.annotations[criKeys.preStopHandler]);
  const ports = parseArray(record.annotations[criKeys.ports]);
  return {
    name: record.name,
    image: record.image,
    ...(preStop === undefined ? {} : { lifecycle: { preStop } }),
    ...(ports === undefined ? {} : { ports: ports as NonNullable<Container['ports']> }),
  };
}

function graceOf(records: readonly ObservedContainer[]): number {
  const recorded = records.map((record) => Number(record.annotations[criKeys.terminationGracePeriod] ?? Number.NaN));
  return Math.max(1, ...recorded.filter((seconds) => Number.isFinite(seconds)));
}

function parseObject(json: string | undefined): LifecycleHandler | undefined {
  const value = parse(json);
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
}

function parseArray(json: string | undefined): readonly unknown[] | undefined {
  const value = parse(json);
  return Array.isArray(value) ? value : undefined;
}

/** L-079: a malformed annotation is as good as none. */
function parse(json: string | undefined): unknown {
  if (json === undefined) return undefined;
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}
