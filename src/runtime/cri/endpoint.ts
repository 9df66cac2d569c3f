// Which texts name a CRI endpoint (L-182).
import { ConfigError } from '../../std/errors.ts';

export interface Endpoint {
  /** What gRPC connects to: `unix:///absolute/path`. */
  readonly target: string;
  readonly path: string;
  /** A bare path was given: works, but the URL form should be used. */
  readonly isBarePath: boolean;
}

/** Throws a ConfigError for anything that is not a unix socket. */
export function parseEndpoint(text: string): Endpoint {
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(text)?.[1]?.toLowerCase();
  if (scheme === 'tcp') throw new ConfigError('endpoint', `only support unix socket endpoint: ${text}`);
  if (scheme !== undefined && scheme !== 'unix') throw new ConfigError('endpoint', `protocol "${scheme}" not supported: ${text}`);
  const path = scheme === undefined ? text : text.slice('unix:'.length).replace(/^\/\//, '');
  if (!path.startsWith('/')) throw new ConfigError('endpoint', `the endpoint "${text}" has no absolute path`);
  return { target: `unix://${path}`, path, isBarePath: scheme === undefined };
}
