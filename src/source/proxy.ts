// Which proxy a URL is asked through: the variables HTTP_PROXY, HTTPS_PROXY and NO_PROXY as most programs read them.
import { BlockList, isIP } from 'node:net';

export type ProxyEnvironment = Readonly<Record<string, string | undefined>>;

/** undefined: directly. Loopback addresses are always asked directly. Lower-case names come first. */
export function proxyFor(url: URL, env: ProxyEnvironment): URL | undefined {
  const names = url.protocol === 'https:' ? ['https_proxy', 'HTTPS_PROXY'] : ['http_proxy', 'HTTP_PROXY'];
  const written = names.map((name) => env[name]).find((value) => value !== undefined && value !== '');
  if (written === undefined || isExempt(url, env['no_proxy'] ?? env['NO_PROXY'] ?? '')) return undefined;
  const text = written.includes('://') ? written : `http://${written}`;
  return URL.canParse(text) ? new URL(text) : undefined;
}

export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}

export function portOf(url: URL): number {
  return url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number.parseInt(url.port, 10);
}

function isExempt(url: URL, noProxy: string): boolean {
  const host = hostOf(url).toLowerCase();
  if (host === 'localhost' || host.endsWith('.localhost') || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))) return true;
  return noProxy
    .split(/[\s,]+/)
    .filter((rule) => rule !== '')
    .some((rule) => rule === '*' || matches(host, portOf(url), rule.toLowerCase()));
}

function matches(host: string, port: number, rule: string): boolean {
  if (rule.includes('/')) return isIP(host) !== 0 && isInNetwork(host, rule);
  const withPort = /^(.*):(\d+)$/.exec(rule);
  const [name, onlyPort] = withPort !== null && isIP(rule) === 0 ? [withPort[1] ?? '', withPort[2]] : [rule, undefined];
  if (onlyPort !== undefined && Number.parseInt(onlyPort, 10) !== port) return false;
  if (isIP(name) !== 0) return name === host;
  const domain = name.replace(/^\*?\./, '');
  // A leading dot means subdomains only.
  return host.endsWith(`.${domain}`) || (host === domain && name === domain);
}

function isInNetwork(host: string, rule: string): boolean {
  const [network = '', bits = ''] = rule.split('/');
  const family = isIP(network);
  if (family === 0 || family !== isIP(host) || !/^\d{1,3}$/.test(bits)) return false;
  const prefix = Number.parseInt(bits, 10);
  if (prefix > (family === 4 ? 32 : 128)) return false;
  const list = new BlockList();
  const type = family === 4 ? 'ipv4' : 'ipv6';
  list.addSubnet(network, prefix, type);
  return list.check(host, type);
}
