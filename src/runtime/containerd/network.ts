// The Pod network of the private containerd: which subnet is free on this machine, its CNI configuration, and which
// iptables rules of it are left over. Pure: whoever calls reads the machine and writes the file.
import { isIP } from 'node:net';

export interface Route {
  /** CIDR, an address, or `default`. */
  readonly destination: string;
  readonly device: string;
}

export interface PodNetwork {
  /** Of the CNI network and its comments in iptables; unique on the machine. */
  readonly name: string;
  /** At most 15 bytes, the kernel's limit. */
  readonly bridge: string;
  readonly subnet: string;
  readonly ipv6Subnet: string | undefined;
  /** Where host-local keeps which address is whose. */
  readonly ipamDir: string;
}

interface Range {
  readonly family: 4 | 6;
  readonly first: bigint;
  readonly last: bigint;
  /** As wide as VPNs write their default route in two halves: it takes nothing away. */
  readonly isCatchAll: boolean;
}

/** The route that `subnet` overlaps, other than those of `ownBridge` and default routes; undefined when it is free. */
export function conflictingRoute(subnet: string, routes: readonly Route[], ownBridge: string): Route | undefined {
  const wanted = parseCidr(subnet);
  if (wanted === undefined) return undefined;
  return routes.find((route) => {
    if (route.device === ownBridge || route.destination === 'default') return false;
    const taken = parseCidr(route.destination);
    if (taken === undefined || taken.family !== wanted.family || taken.isCatchAll) return false;
    return taken.first <= wanted.last && wanted.first <= taken.last;
  });
}

export type SubnetChoice =
  | { readonly subnet: string; readonly skipped: readonly { readonly subnet: string; readonly route: Route }[] }
  | { readonly subnet: undefined; readonly skipped: readonly { readonly subnet: string; readonly route: Route }[] };

/** The first of `candidates` that no route of the machine overlaps, and why those before it were not taken. */
export function chooseSubnet(candidates: readonly string[], routes: readonly Route[], ownBridge: string): SubnetChoice {
  const skipped: { subnet: string; route: Route }[] = [];
  for (const subnet of candidates) {
    const route = conflictingRoute(subnet, routes, ownBridge);
    if (route === undefined) return { subnet, skipped };
    skipped.push({ subnet, route });
  }
  return { subnet: undefined, skipped };
}

/** For where no subnet is configured, behind the preferred one: private ranges that other software seldom takes. */
export const defaultSubnets: readonly string[] = [
  '10.125.0.0/16',
  '10.126.0.0/16',
  '10.213.0.0/16',
  '172.29.0.0/16',
  '192.168.192.0/20',
  '100.126.0.0/16',
];

/** `ip -json route show` → routes; unknown entries are left out. */
export function parseRoutes(json: string): readonly Route[] {
  const list: unknown = json.trim() === '' ? [] : JSON.parse(json);
  if (!Array.isArray(list)) return [];
  return list.flatMap((entry: unknown) => {
    if (typeof entry !== 'object' || entry === null) return [];
    const { dst, dev } = entry as Record<string, unknown>;
    return typeof dst === 'string' ? [{ destination: dst, device: typeof dev === 'string' ? dev : '' }] : [];
  });
}

/** The bridge's own address, first of the subnet, with the subnet's prefix length: `10.125.0.1/16`. */
export function gatewayAddress(subnet: string): string {
  const [address = '', bits = ''] = subnet.split('/');
  const range = parseCidr(subnet);
  if (range === undefined) return subnet;
  return `${formatAddress(range.first + 1n, isIP(address) === 6 ? 6 : 4)}/${bits}`;
}

/** Whether `text` is a CIDR that a Pod network can be made of: room for a gateway and at least one Pod. */
export function isUsableSubnet(text: string): boolean {
  const range = parseCidr(text);
  return range !== undefined && text.includes('/') && range.last - range.first >= 3n;
}

/** The CNI configuration list: bridge, host-local addresses, portmap. */
export function cniConfigList(network: PodNetwork): string {
  const dual = network.ipv6Subnet;
  return `${JSON.stringify(
    {
      cniVersion: '1.0.0',
      name: network.name,
      plugins: [
        {
          type: 'bridge',
          bridge: network.bridge,
          isGateway: true,
          ipMasq: true,
          hairpinMode: true,
          ipam: {
            type: 'host-local',
            dataDir: network.ipamDir,
            ranges: [[{ subnet: network.subnet }], ...(dual === undefined ? [] : [[{ subnet: dual }]])],
            routes: [{ dst: '0.0.0.0/0' }, ...(dual === undefined ? [] : [{ dst: '::/0' }])],
          },
        },
        { type: 'portmap', capabilities: { portMappings: true }, snat: true },
      ],
    },
    undefined,
    2,
  )}\n`;
}

/**
 * The rules a machine needs whose FORWARD policy is DROP (Docker sets it): without them Pods reach nothing. Each is the
 * arguments behind `-A FORWARD`, `-C FORWARD` or `-D FORWARD`.
 */
export function forwardRules(bridge: string): readonly (readonly string[])[] {
  const comment = ['-m', 'comment', '--comment', `pinpod ${bridge}`];
  return [
    ['-i', bridge, ...comment, '-j', 'ACCEPT'],
    ['-o', bridge, ...comment, '-j', 'ACCEPT'],
  ];
}

/**
 * The arguments of iptables calls that take every rule of the CNI network `name` out of `table`, given what
 * `iptables-save -t TABLE` printed: the jumps first, then the emptied chains.
 */
export function staleRules(saved: string, table: string, name: string): readonly (readonly string[])[] {
  const jumps: (readonly string[])[] = [];
  const chains = new Set<string>();
  for (const line of saved.split('\n')) {
    if (!line.startsWith('-A ') || !line.includes(`name: \\"${name}\\"`)) continue;
    const words = splitRule(line);
    const target = words[words.indexOf('-j') + 1];
    // The chain of a Pod holds rules with the network's name too; they go with the chain.
    if (target === undefined || !/^CNI-/.test(target) || target === 'CNI-HOSTPORT-SETMARK') continue;
    jumps.push(['-t', table, '-D', ...words.slice(1)]);
    chains.add(target);
  }
  return [...jumps, ...[...chains].map((chain) => ['-t', table, '-F', chain]), ...[...chains].map((chain) => ['-t', table, '-X', chain])];
}

/** A line of iptables-save → its words: double quotes group, a backslash escapes. */
function splitRule(line: string): string[] {
  return [...line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)].map((match) => match[2] ?? (match[1] ?? '').replaceAll(/\\(.)/g, '$1'));
}

function parseCidr(text: string): Range | undefined {
  const [address = '', length] = text.split('/');
  const family = isIP(address);
  if (family !== 4 && family !== 6) return undefined;
  const width = family === 4 ? 32 : 128;
  const bits = length === undefined ? width : Number(length);
  if (!Number.isInteger(bits) || bits < 0 || bits > width || length === '') return undefined;
  const value = family === 4 ? parseIpv4(address) : parseIpv6(address);
  const size = 1n << BigInt(width - bits);
  const first = value - (value % size);
  return { family, first, last: first + size - 1n, isCatchAll: bits <= (family === 4 ? 1 : 3) };
}

function parseIpv4(text: string): bigint {
  return text.split('.').reduce((sum, part) => sum * 256n + BigInt(part), 0n);
}

function parseIpv6(text: string): bigint {
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text.replace(/%.*$/, ''));
  const tail = dotted === null ? 0n : parseIpv4(dotted[2] ?? '');
  const plain = dotted === null ? text.replace(/%.*$/, '') : `${dotted[1]}${(tail >> 16n).toString(16)}:${(tail & 0xffffn).toString(16)}`;
  const [head = '', rest] = plain.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = rest === undefined || rest === '' ? [] : rest.split(':');
  const groups = [...left, ...Array.from({ length: 8 - left.length - right.length }, () => '0'), ...right];
  return groups.reduce((sum, group) => sum * 65536n + BigInt(`0x${group}`), 0n);
}

function formatAddress(value: bigint, family: 4 | 6): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 255n)).join('.');
  const groups = Array.from({ length: 8 }, (_, i) => ((value >> BigInt(112 - 16 * i)) & 0xffffn).toString(16));
  // The host name of a URL has the shortest form (RFC 5952).
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}
