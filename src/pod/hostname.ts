// Host name and domain of a Pod: L-197, L-198.
import type { Pod } from '../api/pod.ts';
import type { Problems } from './build-result.ts';
import type { NodeFacts } from './node-facts.ts';

const maxHostname = 63;
const maxFqdn = 64;
const dnsLabel = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const dnsSubdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

export interface HostName {
  /** At most 63 characters, or a full name of at most 64 with `setHostnameAsFQDN`. */
  readonly hostname: string;
  /** Empty when the Pod has no subdomain. */
  readonly domain: string;
}

/** `setHostnameAsFQDN` is not applied: `sandboxHostname` does that. */
export function hostNameOf(pod: Pod, node: NodeFacts, problems: Problems): HostName {
  const { spec, metadata } = pod;
  if (spec.hostnameOverride !== undefined) {
    const name = spec.hostnameOverride;
    if (name.length > maxFqdn || !dnsSubdomain.test(name)) {
      problems.push(`pod hostnameOverride ${JSON.stringify(name)} is not a DNS subdomain of at most ${maxFqdn} characters`);
    }
    return { hostname: name, domain: '' };
  }
  if (spec.hostname !== undefined && spec.hostname !== '' && !isLabel(spec.hostname)) {
    problems.push(`pod Hostname ${JSON.stringify(spec.hostname)} is not a valid DNS label`);
  }
  if (spec.subdomain !== undefined && spec.subdomain !== '' && !isLabel(spec.subdomain)) {
    problems.push(`pod Subdomain ${JSON.stringify(spec.subdomain)} is not a valid DNS label`);
  }
  const hostname = truncated(spec.hostname === undefined || spec.hostname === '' ? metadata.name : spec.hostname);
  const hasSubdomain = spec.subdomain !== undefined && spec.subdomain !== '';
  return { hostname, domain: hasSubdomain ? `${spec.subdomain}.${metadata.namespace}.svc.${node.clusterDomain}` : '' };
}

/** `hostname` of the sandbox: empty on the node's network. */
export function sandboxHostname(pod: Pod, node: NodeFacts, problems: Problems): string {
  if (pod.spec.hostNetwork === true) return '';
  const { hostname, domain } = hostNameOf(pod, node, problems);
  if (pod.spec.setHostnameAsFQDN !== true || domain === '') return hostname;
  const fqdn = `${hostname}.${domain}`;
  if (fqdn.length > maxFqdn) {
    problems.push(
      `failed to construct FQDN from pod hostname and cluster domain, FQDN ${fqdn} is too long (${maxFqdn} characters is the max, ${fqdn.length} characters requested)`,
    );
  }
  return fqdn;
}

function isLabel(text: string): boolean {
  return text.length <= maxHostname && dnsLabel.test(text);
}

function truncated(name: string): string {
  return name.length <= maxHostname ? name : name.slice(0, maxHostname).replace(/[-.]+$/, '');
}
