// Which addresses the Node has (S-368, S-369): what is configured, else what the name resolves to, else where the
// default route leaves.
import type { NodeAddress } from '../api/gen/kubernetes.ts';
import { ConfigError } from '../std/errors.ts';

export interface NodeAddressOptions {
  readonly nodeName: string;
  /** The machine's name as `Hostname` shows it. */
  readonly hostname: string;
  /** `--node-ip`: none, one, or two of different families; `0.0.0.0` and `::` only choose the family. */
  readonly nodeIps: readonly string[];
}

export interface NodeAddressDeps {
  /** Addresses of the machine's interfaces, normalised, without loopback ones being left out. */
  readonly interfaces: () => readonly { readonly name: string; readonly address: string; readonly internal: boolean }[];
  /** Every address the name resolves to; [] if none. */
  readonly lookup: (name: string) => Promise<readonly string[]>;
  /** The interface the default route leaves by, if there is one. */
  readonly defaultInterface: () => Promise<string | undefined>;
}

const isV6 = (ip: string): boolean => ip.includes(':');
const isUnspecified = (ip: string): boolean => ip === '0.0.0.0' || ip === '::';
const isIp = (text: string): boolean => /^\d+\.\d+\.\d+\.\d+$/.test(text) || (text.includes(':') && /^[0-9a-f:.]+$/i.test(text));

/** Throws ConfigError where a configured address cannot be the node's, or none can be found. */
export async function nodeAddresses(options: NodeAddressOptions, deps: NodeAddressDeps): Promise<readonly NodeAddress[]> {
  const local = deps.interfaces();
  const configured = options.nodeIps.filter((ip) => !isUnspecified(ip));
  for (const ip of configured) checkNodeIp(ip, local);
  const ips = configured.length > 0 ? configured : [await discover(options, local, deps)];
  return [...ips.map((address) => ({ type: 'InternalIP', address })), { type: 'Hostname', address: options.hostname }];
}

async function discover(
  options: NodeAddressOptions,
  local: readonly { readonly name: string; readonly address: string }[],
  deps: NodeAddressDeps,
): Promise<string> {
  const prefersV6 = options.nodeIps[0] === '::';
  const prefer = (ips: readonly string[]): string | undefined => ips.find((ip) => isV6(ip) === prefersV6) ?? ips[0];
  if (isIp(options.nodeName)) return options.nodeName;
  const resolved = (await deps.lookup(options.nodeName)).filter((ip) => problemOf(ip, local) === undefined);
  const byName = prefer(resolved);
  if (byName !== undefined) return byName;
  const name = await deps.defaultInterface();
  const onRoute = local.filter((i) => i.name === name && unusable(i.address) === undefined).map((i) => i.address);
  const byRoute = prefer(onRoute);
  if (byRoute !== undefined) return byRoute;
  throw new ConfigError('node-ip', `can't get ip address of node ${options.nodeName}. error: no default routes found`);
}

function checkNodeIp(ip: string, local: readonly { readonly address: string }[]): void {
  const problem = problemOf(ip, local);
  if (problem !== undefined) throw new ConfigError('node-ip', problem);
}

function problemOf(ip: string, local: readonly { readonly address: string }[]): string | undefined {
  return unusable(ip) ?? (local.some((i) => i.address === ip) ? undefined : `node IP: "${ip}" not found in the host's network interfaces`);
}

function unusable(ip: string): string | undefined {
  if (!isIp(ip)) return 'nodeIP must be a valid IP address';
  if (ip.startsWith('127.') || ip === '::1') return "nodeIP can't be loopback address";
  if (isUnspecified(ip)) return "nodeIP can't be an all zeros address";
  if (/^(22[4-9]|23\d)\./.test(ip) || /^ff/i.test(ip)) return "nodeIP can't be a multicast address";
  if (ip.startsWith('169.254.') || /^fe[89ab]/i.test(ip)) return "nodeIP can't be a link-local unicast address";
  return undefined;
}
