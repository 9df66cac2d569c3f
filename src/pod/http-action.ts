// From an `httpGet` of a manifest to the request that is made: port, address, headers (L-411, L-412, L-414, L-426).
import type { Container, HTTPGetAction } from '../api/gen/kubernetes.ts';

export type PortLookup = { readonly kind: 'port'; readonly port: number } | { readonly kind: 'error'; readonly message: string };

/** A number, the name of one of the container's own ports, or a string of digits; 1 … 65535. */
export function lookUpPort(port: number | string, container: Container): PortLookup {
  if (typeof port === 'string') {
    const named = (container.ports ?? []).find(({ name }) => name === port);
    if (named !== undefined) return checkedPort(named.containerPort);
    if (!/^[+-]?\d+$/.test(port)) return { kind: 'error', message: `strconv.Atoi: parsing ${JSON.stringify(port)}: invalid syntax` };
  }
  return checkedPort(Number(port));
}

function checkedPort(port: number): PortLookup {
  if (port > 0 && port < 65_536) return { kind: 'port', port };
  return { kind: 'error', message: `invalid port number: ${port}` };
}

export interface HttpActionRequest {
  readonly target: { readonly scheme: 'http' | 'https'; readonly host: string; readonly port: number; readonly path: string };
  readonly headers: readonly { readonly name: string; readonly value: string }[];
}

export type HttpActionLookup =
  | { readonly kind: 'request'; readonly request: HttpActionRequest }
  | { readonly kind: 'error'; readonly message: string };

/** `defaultHost` is used where the action names no host; `userAgent` where its headers name none. */
export function httpActionRequest(
  action: HTTPGetAction,
  container: Container,
  options: { readonly defaultHost: string; readonly userAgent: string },
): HttpActionLookup {
  const port = lookUpPort(action.port, container);
  if (port.kind === 'error') return port;
  const scheme = (action.scheme ?? 'http').toLowerCase() === 'https' ? 'https' : 'http';
  const host = action.host === undefined || action.host === '' ? options.defaultHost : action.host;
  return {
    kind: 'request',
    request: {
      target: { scheme, host: host.replace(/^\[(.*)\]$/, '$1'), port: port.port, path: action.path ?? '' },
      headers: withDefaults(action.httpHeaders ?? [], options.userAgent),
    },
  };
}

function withDefaults(given: HttpActionRequest['headers'], userAgent: string): HttpActionRequest['headers'] {
  const first = (wanted: string): string | undefined => given.find(({ name }) => name.toLowerCase() === wanted)?.value;
  // An empty Accept header asks for none to be sent at all.
  const kept = first('accept') === '' ? given.filter(({ name }) => name.toLowerCase() !== 'accept') : given;
  const defaults = [
    { name: 'User-Agent', value: userAgent },
    { name: 'Accept', value: '*/*' },
  ];
  return [...kept, ...defaults.filter(({ name }) => first(name.toLowerCase()) === undefined)];
}
