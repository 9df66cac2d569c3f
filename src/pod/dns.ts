// The resolver configuration of a Pod: spec 02, section 4.4.
import type { PodDNSConfigOption } from '../api/gen/kubernetes.ts';
import { formatPod, type Pod } from '../api/pod.ts';
import type { Problems } from './build-result.ts';
import type { NodeFacts } from './node-facts.ts';
import type { DnsConfig } from './runtime-config.ts';

const maxNameservers = 3;
const maxSearches = 32;
const maxSearchChars = 2048;
const maxSearchPathChars = 253;

/** To be recorded as an event about the Pod. */
export interface BuildWarning {
  readonly reason: string;
  readonly message: string;
}

/** Limits that are exceeded are cut and warned of; the Pod still starts (L-210). */
export function dnsConfigOf(pod: Pod, node: NodeFacts, warnings: BuildWarning[], problems: Problems): DnsConfig {
  const host = node.resolvConf === undefined ? undefined : parseResolvConf(node.resolvConf, problems);
  const base = baseConfig(pod, node, host, warnings);
  const extra = pod.spec.dnsConfig;
  const merged: DnsConfig = {
    servers: withoutDuplicates([...base.servers, ...(extra?.nameservers ?? [])]),
    searches: withoutDuplicates([...base.searches, ...(extra?.searches ?? [])]),
    options: withOptions(base.options, extra?.options ?? []),
  };
  return withinLimits(merged, warnings);
}

type Policy = 'None' | 'Default' | 'ClusterFirst' | 'ClusterFirstWithHostNet';

function baseConfig(pod: Pod, node: NodeFacts, host: DnsConfig | undefined, warnings: BuildWarning[]): DnsConfig {
  const { dnsPolicy, hostNetwork } = pod.spec;
  // Any other word counts as ClusterFirst (L-208).
  const policy: Policy =
    dnsPolicy === 'None' || dnsPolicy === 'Default' || dnsPolicy === 'ClusterFirstWithHostNet' ? dnsPolicy : 'ClusterFirst';
  if (policy === 'None') return { servers: [], searches: [], options: [] };
  if (policy === 'Default' || (policy === 'ClusterFirst' && hostNetwork === true)) return hostConfig(node, host);
  if (node.clusterDns.length === 0) {
    const message = `kubelet does not have ClusterDNS IP configured and cannot create Pod using "ClusterFirst" policy. Falling back to "Default" policy.`;
    warnings.push({ reason: 'MissingClusterDNS', message: `pod: ${JSON.stringify(formatPod(pod))}. ${message}` });
    return hostConfig(node, host);
  }
  const domain = node.clusterDomain;
  const ours = domain === '' ? [] : [`${pod.metadata.namespace}.svc.${domain}`, `svc.${domain}`, domain];
  return { servers: node.clusterDns, searches: withoutDuplicates([...ours, ...(host?.searches ?? [])]), options: ['ndots:5'] };
}

/** L-205. */
function hostConfig(node: NodeFacts, host: DnsConfig | undefined): DnsConfig {
  if (host !== undefined) return host;
  const servers = node.ips.map((ip) => (ip.includes(':') ? '::1' : '127.0.0.1'));
  return { servers: servers.length === 0 ? ['127.0.0.1'] : servers, searches: ['.'], options: [] };
}

/** L-203. A `nameserver` without a value is a problem. */
export function parseResolvConf(text: string, problems: Problems): DnsConfig {
  const servers: string[] = [];
  let searches: readonly string[] = [];
  const options = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [keyword, ...values] = line.trim().split(/\s+/);
    if (line.startsWith('#') || keyword === undefined) continue;
    if (keyword === 'nameserver') {
      if (values[0] === undefined) problems.push('nameserver list is empty in resolv.conf');
      else servers.push(values[0]);
    } else if (keyword === 'search') {
      searches = values.filter((value) => value !== '.').map((value) => value.replace(/\.$/, ''));
    } else if (keyword === 'options') {
      for (const option of values) options.set(optionName(option), option);
    }
  }
  return { servers, searches, options: [...options.values()] };
}

function optionName(option: string): string {
  return option.split(':', 1)[0] ?? option;
}

/** L-209. */
function withOptions(base: readonly string[], extra: readonly PodDNSConfigOption[]): readonly string[] {
  const byName = new Map(base.map((option) => [optionName(option), option]));
  for (const { name, value } of extra) {
    if (name !== undefined) byName.set(name, value === undefined || value === '' ? name : `${name}:${value}`);
  }
  return [...byName.values()];
}

function withoutDuplicates(values: readonly string[]): readonly string[] {
  return [...new Set(values)];
}

/** L-210. */
function withinLimits(config: DnsConfig, warnings: BuildWarning[]): DnsConfig {
  const servers = config.servers.slice(0, maxNameservers);
  if (servers.length < config.servers.length) {
    warnings.push({
      reason: 'DNSConfigForming',
      message: `Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: ${servers.join(' ')}`,
    });
  }
  const searches = config.searches.filter((path) => path.length <= maxSearchPathChars).slice(0, maxSearches);
  while (searches.join(' ').length > maxSearchChars) searches.pop();
  if (searches.length < config.searches.length) {
    warnings.push({
      reason: 'DNSConfigForming',
      message: `Search Line limits were exceeded, some search paths have been omitted, the applied search line is: ${searches.join(' ')}`,
    });
  }
  return { ...config, servers, searches };
}

/** The stub of systemd-resolved, and what it asks itself. */
const resolvedStubs: ReadonlySet<string> = new Set(['127.0.0.53', '127.0.0.54']);
export const resolvedUpstreams = '/run/systemd/resolve/resolv.conf';

/** Whether the file names nobody but the stub of systemd-resolved, which no Pod with a network of its own can reach. */
export function isResolvedStub(resolvConf: string): boolean {
  const { servers } = parseResolvConf(resolvConf, []);
  return servers.length > 0 && servers.every((server) => resolvedStubs.has(server));
}

/** What is wrong with the node's own resolver file, checked once at start (L-211); undefined when it fits. */
export function checkResolvConfLimits(node: Pick<NodeFacts, 'resolvConf' | 'clusterDomain'>): BuildWarning | undefined {
  if (node.resolvConf === undefined) return undefined;
  const problems: Problems = [];
  const { servers, searches } = parseResolvConf(node.resolvConf, problems);
  const reason = 'CheckLimitsForResolvConf';
  const [problem] = problems;
  if (problem !== undefined) return { reason, message: problem };
  if (servers.length > maxNameservers) {
    return { reason, message: `Resolv.conf file has nameserver list longer than ${maxNameservers}: ${servers.length}` };
  }
  const limit = maxSearches - (node.clusterDomain === '' ? 0 : 3);
  if (searches.length > limit)
    return { reason, message: `Resolv.conf file contains search line consisting of more than ${limit} domains!` };
  for (const path of searches) {
    if (path.length > maxSearchPathChars) {
      return { reason, message: `Resolv.conf file contains a search path which length is more than allowed ${maxSearchPathChars} chars!` };
    }
  }
  if (searches.join(' ').length > maxSearchChars) {
    return { reason, message: `Resolv.conf file contains search line which length is more than allowed ${maxSearchChars} chars!` };
  }
  if (servers.length > 0 && servers.every((server) => server.startsWith('127.') || server === '::1')) {
    const message = `Resolv.conf file names only this machine (${servers.join(', ')}), which Pods with a network of their own cannot ask: set resolvConf to a file that names the servers behind it`;
    return { reason: 'LoopbackNameserver', message };
  }
  return undefined;
}
