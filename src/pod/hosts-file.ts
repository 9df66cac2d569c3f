// The text of a Pod's /etc/hosts: L-240 … L-243.
import type { PodSpec } from '../api/gen/kubernetes.ts';
import type { Pod } from '../api/pod.ts';
import { hostNameOf } from './hostname.ts';
import type { NodeFacts } from './node-facts.ts';

const localNames = [
  '127.0.0.1\tlocalhost',
  '::1\tlocalhost ip6-localhost ip6-loopback',
  'fe00::0\tip6-localnet',
  'fe00::0\tip6-mcastprefix',
  'fe00::1\tip6-allnodes',
  'fe00::2\tip6-allrouters',
];

/** The Pod's addresses: the node's on the node's network (difference to L-486), else the sandbox's. */
export function podIpsOf(spec: PodSpec, sandboxIps: readonly string[], node: Pick<NodeFacts, 'ips'>): readonly string[] {
  return spec.hostNetwork === true && sandboxIps.length === 0 ? node.ips : sandboxIps;
}

/** Undefined when the container keeps its own file: nothing is known that could be written. */
export function hostsFileText(pod: Pod, sandboxIps: readonly string[], node: NodeFacts): string | undefined {
  const ips = podIpsOf(pod.spec, sandboxIps, node);
  if (pod.spec.hostNetwork === true) return `# Kubernetes-managed hosts file (host network).\n${node.hostsFile}${aliasLines(pod.spec)}`;
  if (ips.length === 0) return undefined;
  const { hostname, domain } = hostNameOf(pod, node, []);
  const names = domain === '' ? hostname : `${hostname}.${domain}\t${hostname}`;
  const lines = ['# Kubernetes-managed hosts file.', ...localNames, ...ips.map((ip) => `${ip}\t${names}`)];
  return `${lines.join('\n')}\n${aliasLines(pod.spec)}`;
}

function aliasLines(spec: PodSpec): string {
  const aliases = spec.hostAliases ?? [];
  if (aliases.length === 0) return '';
  const lines = aliases.map(({ ip, hostnames }) => `${[ip, ...(hostnames ?? [])].join('\t')}\n`);
  return `\n# Entries added by HostAliases.\n${lines.join('')}`;
}
