// Credentials from the node's docker configuration file (L-367 … L-369).
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { ImageAuth } from '../pod/runtime-config.ts';
import type { Clock, Instant } from '../std/clock.ts';
import { messageOf, systemCode } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import { matchingKeys } from './credential-match.ts';
import type { CredentialSource } from './credentials.ts';

export interface DockerConfigOptions {
  /** Folders searched for `config.json`, in order; by the kubelet's habit: root directory, current, `$HOME/.docker`, `/.docker`. */
  readonly configDirs: readonly string[];
  /** Folders searched for the older `.dockercfg` when there is no `config.json`: root directory, current, `$HOME`, `/`. */
  readonly legacyDirs: readonly string[];
}

const maxAgeMs = 5 * 60_000;

type Auths = ReadonlyMap<string, ImageAuth>;

export class DockerConfigCredentials implements CredentialSource {
  readonly #options: DockerConfigOptions;
  readonly #deps: { readonly clock: Clock; readonly logger: Logger };
  #read: { readonly at: Instant; readonly auths: Auths } | undefined;

  constructor(options: DockerConfigOptions, deps: { readonly clock: Clock; readonly logger: Logger }) {
    this.#options = options;
    this.#deps = deps;
  }

  async lookup(repository: string, { signal }: { readonly signal: AbortSignal }): Promise<readonly ImageAuth[]> {
    signal.throwIfAborted();
    const auths = await this.#current();
    return matchingKeys(auths.keys(), repository).flatMap((key) => auths.get(key) ?? []);
  }

  async #current(): Promise<Auths> {
    const now = this.#deps.clock.now();
    if (this.#read !== undefined && now - this.#read.at < maxAgeMs && now >= this.#read.at) return this.#read.auths;
    const auths = await this.#search();
    this.#read = { at: now, auths };
    return auths;
  }

  /** The first file that can be read and parsed wins. */
  async #search(): Promise<Auths> {
    const { configDirs, legacyDirs } = this.#options;
    const candidates = [
      ...configDirs.map((dir) => ({ file: path.join(dir, 'config.json'), parse: parseDockerConfig })),
      ...legacyDirs.map((dir) => ({ file: path.join(dir, '.dockercfg'), parse: parseDockerCfg })),
    ];
    for (const { file, parse } of candidates) {
      try {
        return parse(JSON.parse(await readFile(file, 'utf8')));
      } catch (error) {
        if (systemCode(error) !== 'ENOENT') {
          // The text of a JSON error quotes the file, which holds passwords.
          const why = error instanceof SyntaxError ? 'it is not JSON' : messageOf(error);
          this.#deps.logger.warn('a docker configuration file cannot be used', { path: file, error: why });
        }
      }
    }
    return new Map();
  }
}

/** `{"auths": {"<registry>": {…}}}`; a configuration without `auths` has no credentials. */
export function parseDockerConfig(value: unknown): Auths {
  return parseDockerCfg(isRecord(value) ? (value['auths'] ?? {}) : {});
}

/** `{"<registry>": {…}}`. Entries that make no sense are left out. */
export function parseDockerCfg(value: unknown): Auths {
  const auths = new Map<string, ImageAuth>();
  for (const [registry, entry] of Object.entries(isRecord(value) ? value : {})) {
    const auth = isRecord(entry) ? parseEntry(entry) : undefined;
    if (auth !== undefined) auths.set(registry, auth);
  }
  return auths;
}

function parseEntry(entry: Readonly<Record<string, unknown>>): ImageAuth | undefined {
  const text = (key: string): string | undefined => {
    const value = entry[key];
    return typeof value === 'string' && value !== '' ? value : undefined;
  };
  const auth = text('auth');
  // `auth` wins over the two fields it stands for.
  const decoded = auth === undefined ? undefined : splitAuth(Buffer.from(auth, 'base64').toString('utf8').replace(/\0+$/, ''));
  if (auth !== undefined && decoded === undefined) return undefined;
  const parts = {
    username: decoded?.username ?? text('username'),
    password: decoded?.password ?? text('password'),
    identityToken: text('identitytoken'),
    registryToken: text('registrytoken'),
  };
  const present = Object.entries(parts).filter(([, part]) => part !== undefined);
  return present.length === 0 ? undefined : Object.fromEntries(present);
}

/** `user:password`; the password may hold colons. */
function splitAuth(text: string): { readonly username: string; readonly password: string } | undefined {
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : { username: text.slice(0, colon), password: text.slice(colon + 1) };
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
