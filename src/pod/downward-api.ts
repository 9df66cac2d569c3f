// What a Pod may ask about itself: fieldRef and resourceFieldRef of variables and volumes (L-226 … L-228, L-323, L-324).
import type { ResourceFieldSelector } from '../api/gen/kubernetes.ts';
import { allContainers, type Pod } from '../api/pod.ts';
import { amountOf } from './amounts.ts';
import type { Problems } from './build-result.ts';
import { podIpsOf } from './hosts-file.ts';
import type { NodeFacts } from './node-facts.ts';
import { amountsOf, hugepageSizeOf, podLimits } from './resources.ts';

/** A field of the Pod as text. A missing label or annotation is the empty string; an unknown path is a problem. */
export function fieldValue(pod: Pod, path: string, sandboxIps: readonly string[], node: NodeFacts, problems: Problems): string {
  const { metadata, spec } = pod;
  const entry = /^metadata\.(labels|annotations)\['(.*)'\]$/.exec(path);
  if (entry !== null) return metadata[entry[1] === 'labels' ? 'labels' : 'annotations']?.[entry[2] ?? ''] ?? '';
  switch (path) {
    case 'metadata.name':
      return metadata.name;
    case 'metadata.namespace':
      return metadata.namespace;
    case 'metadata.uid':
      return metadata.uid;
    case 'metadata.labels':
      return mapText(metadata.labels ?? {});
    case 'metadata.annotations':
      return mapText(metadata.annotations);
    case 'spec.nodeName':
      return spec.nodeName ?? node.name;
    case 'spec.serviceAccountName':
      return spec.serviceAccountName ?? '';
    case 'status.hostIP':
      return node.ips[0] ?? '';
    case 'status.hostIPs':
      return node.ips.join(',');
    case 'status.podIP':
      return podIpsOf(spec, sandboxIps, node)[0] ?? '';
    case 'status.podIPs':
      return podIpsOf(spec, sandboxIps, node).join(',');
    default:
      problems.push(`unsupported fieldPath: ${path}`);
      return '';
  }
}

/** Sorted `key="value"` lines without a trailing newline (L-324). */
function mapText(map: Readonly<Record<string, string>>): string {
  const keys = Object.keys(map).sort();
  return keys.map((key) => `${key}=${quoted(map[key] ?? '')}`).join('\n');
}

const shortEscapes: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\x07': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
};

/** Quotes as Go's `%q` does: printable characters stay, others are escaped. */
export function quoted(text: string): string {
  const escaped = Array.from(text, (char) => {
    const short = shortEscapes[char];
    if (short !== undefined) return short;
    if (char === ' ' || /[\p{L}\p{M}\p{N}\p{P}\p{S}]/u.test(char)) return char;
    const code = char.codePointAt(0) ?? 0;
    if (code < 0x80) return `\\x${code.toString(16).padStart(2, '0')}`;
    return code < 0x10000 ? `\\u${code.toString(16).padStart(4, '0')}` : `\\U${code.toString(16).padStart(8, '0')}`;
  });
  return `"${escaped.join('')}"`;
}

/** `ownContainer` answers when the reference names none. The result is rounded up in units of the divisor (L-228). */
export function resourceValue(
  pod: Pod,
  ref: ResourceFieldSelector,
  ownContainer: string | undefined,
  node: NodeFacts,
  problems: Problems,
): string {
  const name = ref.containerName === undefined || ref.containerName === '' ? ownContainer : ref.containerName;
  const container = allContainers(pod.spec).find((one) => one.name === name);
  if (container === undefined) {
    problems.push(`container ${name ?? ''} not found`);
    return '';
  }
  const match = /^(requests|limits)\.(cpu|memory|ephemeral-storage|hugepages-.+)$/.exec(ref.resource);
  const resource = match?.[2];
  if (resource === undefined) {
    problems.push(`Unsupported container resource : ${ref.resource}`);
    return '';
  }
  const side = match?.[1] === 'limits' ? 'limits' : 'requests';
  const own = amountsOf(container.resources?.[side]).get(resource) ?? 0;
  const amount = side === 'limits' && own === 0 ? defaultLimit(pod, resource, node) : own;
  const divisor = ref.divisor === undefined ? 0 : amountOf(resource, ref.divisor);
  return String(Math.ceil(amount / (divisor === 0 ? amountOf(resource, '1') : divisor)));
}

/** A container without a limit may use what the node can give, or what its Pod may use. */
function defaultLimit(pod: Pod, resource: string, node: NodeFacts): number {
  if (hugepageSizeOf(resource) !== undefined) return 0;
  const allocatable =
    resource === 'cpu'
      ? node.allocatable.cpuMillis
      : resource === 'memory'
        ? node.allocatable.memoryBytes
        : node.allocatable.ephemeralStorageBytes;
  const ofPod = pod.spec.resources?.limits?.[resource] === undefined ? undefined : podLimits(pod.spec).get(resource);
  return ofPod === undefined ? allocatable : Math.min(allocatable, ofPod);
}
