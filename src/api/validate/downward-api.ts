// References to a Pod's own fields and resources, in environment variables and downward-API files (S-161, S-176, S-177).
import type { ObjectFieldSelector, ResourceFieldSelector } from '../gen/kubernetes.ts';
import { formatQuantity, parseQuantity } from '../quantity.ts';
import { qualifiedName } from './formats.ts';
import type { Report } from './report.ts';

export const volumeFieldPaths = ['metadata.annotations', 'metadata.labels', 'metadata.name', 'metadata.namespace', 'metadata.uid'];

export const environmentFieldPaths = [
  'metadata.name',
  'metadata.namespace',
  'metadata.uid',
  'spec.nodeName',
  'spec.serviceAccountName',
  'status.hostIP',
  'status.hostIPs',
  'status.podIP',
  'status.podIPs',
];

/** Known to Kubernetes, although not allowed everywhere. */
const knownFieldPaths = new Set([
  ...volumeFieldPaths,
  ...environmentFieldPaths,
  'spec.host',
  'spec.restartPolicy',
  'spec.schedulerName',
  'status.phase',
]);

/** `metadata.labels['app']` → its path and key. */
export function splitSubscript(fieldPath: string): { readonly path: string; readonly key: string } | undefined {
  const start = fieldPath.indexOf("['");
  if (start <= 0 || !fieldPath.endsWith("']")) return undefined;
  return { path: fieldPath.slice(0, start), key: fieldPath.slice(start + 2, -2) };
}

/** `allowed` is printed in its order, which is alphabetical. */
export function validateFieldSelector(field: string, selector: ObjectFieldSelector, allowed: readonly string[], report: Report): void {
  const { apiVersion = '', fieldPath } = selector;
  if (apiVersion === '') {
    report.required(`${field}.apiVersion`);
    return;
  }
  if (fieldPath === '') {
    report.required(`${field}.fieldPath`);
    return;
  }
  const failed = (why: string): void => report.invalid(`${field}.fieldPath`, fieldPath, `error converting fieldPath: ${why}`);
  if (apiVersion !== 'v1') {
    failed(`unsupported pod version: ${apiVersion}`);
    return;
  }
  const subscript = splitSubscript(fieldPath);
  if (subscript !== undefined) {
    const { path, key } = subscript;
    if (path === 'metadata.annotations') report.invalidEach(field, key.toLowerCase(), qualifiedName(key.toLowerCase()));
    else if (path === 'metadata.labels') report.invalidEach(field, key, qualifiedName(key));
    else failed(`field label does not support subscript: ${fieldPath}`);
    return;
  }
  if (!knownFieldPaths.has(fieldPath)) {
    failed(`field label not supported: ${fieldPath}`);
    return;
  }
  const path = fieldPath === 'spec.host' ? 'spec.nodeName' : fieldPath;
  report.oneOf(`${field}.fieldPath`, path, allowed);
}

const resources = [
  'limits.cpu',
  'limits.ephemeral-storage',
  'limits.memory',
  'requests.cpu',
  'requests.ephemeral-storage',
  'requests.memory',
];

const byteDivisors = ['1', '1k', '1M', '1G', '1T', '1P', '1E', '1Ki', '1Mi', '1Gi', '1Ti', '1Pi', '1Ei'];

/** In a volume the container must be named. */
export function validateResourceSelector(field: string, selector: ResourceFieldSelector, isVolume: boolean, report: Report): void {
  const { containerName = '', resource, divisor = '0' } = selector;
  const isHugePages = resource.startsWith('limits.hugepages-') || resource.startsWith('requests.hugepages-');
  if (isVolume && containerName === '') report.required(`${field}.containerName`);
  else if (resource === '') report.required(`${field}.resource`);
  else if (!isHugePages) report.oneOf(`${field}.resource`, resource, resources);
  const amount = parseQuantity(divisor);
  if (amount === undefined || amount.nano === 0n) return;
  const written = formatQuantity(amount);
  const refuse = (what: string): void => report.invalid(`${field}.divisor`, resource, what);
  if (resource.endsWith('.cpu')) {
    if (written !== '1' && written !== '1m') refuse("only divisor's values 1m and 1 are supported with the cpu resource");
    return;
  }
  const nouns: Readonly<Record<string, string>> = { memory: 'memory', 'ephemeral-storage': 'local ephemeral storage' };
  const noun = isHugePages ? 'hugepages' : nouns[resource.slice(resource.indexOf('.') + 1)];
  if (noun !== undefined && !byteDivisors.includes(written)) {
    refuse(`only divisor's values ${byteDivisors.join(', ')} are supported with the ${noun} resource`);
  }
}
