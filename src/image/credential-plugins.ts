// Credentials from exec plugins: `<bin dir>/<name>` is run with a request on its standard input (L-370 … L-372).
import { spawn } from 'node:child_process';
import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import * as v from 'valibot';
import { parse as parseYaml } from 'yaml';
import type { ImageAuth } from '../pod/runtime-config.ts';
import { Deadline } from '../std/async.ts';
import type { Clock, Instant } from '../std/clock.ts';
import { withDeadline } from '../std/deadline.ts';
import { AgentError, ConfigError, messageOf } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import { matchingKeys } from './credential-match.ts';
import type { CredentialSource } from './credentials.ts';

const configVersions = ['kubelet.config.k8s.io/v1', 'kubelet.config.k8s.io/v1beta1', 'kubelet.config.k8s.io/v1alpha1'];
const requestVersions = [
  'credentialprovider.kubelet.k8s.io/v1',
  'credentialprovider.kubelet.k8s.io/v1beta1',
  'credentialprovider.kubelet.k8s.io/v1alpha1',
];

/** Go's notation, as far as it makes sense here: `12h`, `1h30m`, `0s`. */
const duration = v.pipe(
  v.string(),
  v.regex(/^(?:0|(?:\d+(?:\.\d+)?(?:ms|h|m|s))+)$/, 'a duration such as 12h'),
  v.transform((text) => {
    const unitMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
    let ms = 0;
    for (const [, count, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|h|m|s)/g)) ms += Number(count) * unitMs[unit as keyof typeof unitMs];
    return ms;
  }),
);

const providerSchema = v.object({
  name: v.pipe(
    v.string(),
    v.nonEmpty(),
    v.check((name) => !/[\s/\\]/.test(name) && name !== '.' && name !== '..', 'a file name'),
  ),
  matchImages: v.pipe(v.array(v.string()), v.minLength(1)),
  defaultCacheDuration: duration,
  apiVersion: v.picklist(requestVersions),
  args: v.optional(v.array(v.string()), []),
  env: v.optional(v.array(v.object({ name: v.string(), value: v.string() })), []),
  tokenAttributes: v.optional(v.looseObject({ requireServiceAccount: v.optional(v.boolean(), false) })),
});

const configSchema = v.object({
  apiVersion: v.picklist(configVersions),
  kind: v.literal('CredentialProviderConfig'),
  providers: v.pipe(v.array(providerSchema), v.minLength(1)),
});

export type CredentialProvider = v.InferOutput<typeof providerSchema>;

const responseSchema = v.object({
  apiVersion: v.string(),
  kind: v.literal('CredentialProviderResponse'),
  cacheKeyType: v.picklist(['Image', 'Registry', 'Global']),
  cacheDuration: v.optional(v.nullable(duration)),
  auth: v.optional(v.nullable(v.record(v.string(), v.object({ username: v.string(), password: v.string() }))), {}),
});

type ProviderResponse = v.InferOutput<typeof responseSchema>;

/**
 * Reads the configuration: one file, or a folder of files that are merged in the order of their names. Throws a
 * ConfigError when it cannot be used.
 */
export async function readCredentialProviders(configPath: string): Promise<readonly CredentialProvider[]> {
  const isFolder = (await stat(configPath)).isDirectory();
  const files = isFolder
    ? (await readdir(configPath))
        .filter((name) => /\.(?:json|ya?ml)$/.test(name))
        .sort()
        .map((name) => path.join(configPath, name))
    : [configPath];
  const providers: CredentialProvider[] = [];
  for (const file of files) {
    const parsed = v.safeParse(configSchema, parseYaml(await readFile(file, 'utf8')));
    if (!parsed.success) {
      const problems = parsed.issues.map((issue) => `${v.getDotPath(issue) ?? ''}: ${issue.message}`);
      throw new ConfigError('credential-providers', `credential provider configuration ${file}: ${problems.join('; ')}`);
    }
    providers.push(...parsed.output.providers);
  }
  const twice = providers.find(({ name }, i) => providers.findIndex((other) => other.name === name) !== i);
  if (twice !== undefined) {
    throw new ConfigError('credential-providers', `credential provider ${JSON.stringify(twice.name)} is configured more than once`);
  }
  return providers;
}

export interface CredentialPluginsOptions {
  readonly providers: readonly CredentialProvider[];
  readonly binDir: string;
  /** The agent's environment; the plugin's own `env` is added. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

interface CacheEntry {
  readonly auth: ProviderResponse['auth'];
  readonly expiresAt: Instant;
}

const timeoutMs = 60_000;
const purgeMs = 15 * 60_000;
const maxAnswerBytes = 1024 * 1024;

export class CredentialPlugins implements CredentialSource {
  readonly #plugins: readonly CredentialPlugin[];

  constructor(options: CredentialPluginsOptions, deps: { readonly clock: Clock; readonly logger: Logger }) {
    this.#plugins = options.providers.map((provider) => new CredentialPlugin(provider, options, deps));
  }

  async lookup(repository: string, options: { readonly signal: AbortSignal }): Promise<readonly ImageAuth[]> {
    const found = await Promise.all(this.#plugins.map((plugin) => plugin.lookup(repository, options)));
    return found.flat();
  }
}

class CredentialPlugin {
  readonly #provider: CredentialProvider;
  readonly #options: CredentialPluginsOptions;
  readonly #deps: { readonly clock: Clock; readonly logger: Logger };
  readonly #cache = new Map<string, CacheEntry>();
  readonly #running = new Map<string, Promise<ProviderResponse['auth']>>();
  #purgedAt: Instant;

  constructor(provider: CredentialProvider, options: CredentialPluginsOptions, deps: { readonly clock: Clock; readonly logger: Logger }) {
    this.#provider = provider;
    this.#options = options;
    this.#deps = deps;
    this.#purgedAt = deps.clock.now();
  }

  async lookup(repository: string, { signal }: { readonly signal: AbortSignal }): Promise<readonly ImageAuth[]> {
    const { matchImages, name, tokenAttributes } = this.#provider;
    // A static Pod has no service account to present.
    if (tokenAttributes?.requireServiceAccount === true) return [];
    if (matchingKeys(matchImages, repository).length === 0) return [];
    try {
      const auth = (await this.#auth(repository, signal)) ?? {};
      return matchingKeys(Object.keys(auth), repository).flatMap((key) => auth[key] ?? []);
    } catch (error) {
      signal.throwIfAborted();
      this.#deps.logger.warn('a credential plugin failed, the image is pulled without it', { plugin: name, error: messageOf(error) });
      return [];
    }
  }

  /** Two Pods that ask for the same image at once share one run of the plugin. */
  async #auth(repository: string, signal: AbortSignal): Promise<ProviderResponse['auth']> {
    this.#purge();
    const now = this.#deps.clock.now();
    for (const key of [`image/${repository}`, `registry/${registryOf(repository)}`, 'global']) {
      const entry = this.#cache.get(key);
      if (entry !== undefined && now < entry.expiresAt) return entry.auth;
    }
    const shared = this.#running.get(repository);
    if (shared !== undefined) {
      try {
        return await shared;
      } catch (error) {
        signal.throwIfAborted();
        // Whoever began it gave up; that is no failure of the plugin.
        if (error instanceof AgentError && error.code === 'plugin-failed') throw error;
      }
    }
    const run = this.#run(repository, signal);
    this.#running.set(repository, run);
    try {
      return await run;
    } finally {
      if (this.#running.get(repository) === run) this.#running.delete(repository);
    }
  }

  async #run(repository: string, signal: AbortSignal): Promise<ProviderResponse['auth']> {
    const { apiVersion, defaultCacheDuration, name } = this.#provider;
    const input = JSON.stringify({ apiVersion, kind: 'CredentialProviderRequest', image: repository });
    let output: string;
    try {
      output = await withDeadline({ ms: timeoutMs, signal, clock: this.#deps.clock }, (limited) => this.#exec(input, limited));
    } catch (error) {
      if (error instanceof Deadline) throw new AgentError('plugin-failed', `${name} took longer than a minute`, { cause: error });
      throw error;
    }
    const response = parseResponse(name, output);
    if (response.apiVersion !== apiVersion) {
      throw new AgentError('plugin-failed', `${name} answered with apiVersion ${response.apiVersion}, expected ${apiVersion}`);
    }
    const lifeMs = response.cacheDuration ?? defaultCacheDuration;
    if (lifeMs > 0) {
      const keys = { Image: `image/${repository}`, Registry: `registry/${registryOf(repository)}`, Global: 'global' };
      this.#cache.set(keys[response.cacheKeyType], { auth: response.auth, expiresAt: this.#deps.clock.now() + lifeMs });
    }
    return response.auth;
  }

  #exec(input: string, signal: AbortSignal): Promise<string> {
    const { args, env, name } = this.#provider;
    const { binDir, environment } = this.#options;
    return new Promise((resolve, reject) => {
      const child = spawn(path.join(binDir, name), args, {
        env: { ...environment, ...Object.fromEntries(env.map((entry) => [entry.name, entry.value])) },
        stdio: ['pipe', 'pipe', 'pipe'],
      });
      const onAbort = (): void => {
        child.kill('SIGKILL');
        // A process the plugin started may hold the pipes open much longer.
        child.stdout.destroy();
        child.stderr.destroy();
        reject(signal.reason);
      };
      if (signal.aborted) onAbort();
      else signal.addEventListener('abort', onAbort, { once: true });
      let output = '';
      let errors = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        output += text;
        if (output.length > maxAnswerBytes) child.kill('SIGKILL');
      });
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        if (errors.length < 1024) errors += text;
      });
      // A plugin may well exit without reading what it was told.
      child.stdin.on('error', () => undefined);
      child.stdin.end(input);
      const finish = (end: () => void): void => {
        signal.removeEventListener('abort', onAbort);
        end();
      };
      child.on('error', (cause) => finish(() => reject(new AgentError('plugin-failed', messageOf(cause), { cause }))));
      child.on('close', (code, killedBy) =>
        finish(() => {
          if (signal.aborted) reject(signal.reason);
          else if (code === 0) resolve(output);
          else reject(new AgentError('plugin-failed', `${name} ended with ${killedBy ?? code}: ${errors.slice(0, 1024).trim()}`));
        }),
      );
    });
  }

  #purge(): void {
    const now = this.#deps.clock.now();
    if (now - this.#purgedAt < purgeMs) return;
    this.#purgedAt = now;
    for (const [key, entry] of this.#cache) if (entry.expiresAt <= now) this.#cache.delete(key);
  }
}

/** Never quotes the answer, which holds passwords. */
function parseResponse(name: string, output: string): ProviderResponse {
  let value: unknown;
  try {
    value = JSON.parse(output);
  } catch {
    throw new AgentError('plugin-failed', `${name} answered with something that is not JSON`);
  }
  const parsed = v.safeParse(responseSchema, value);
  if (parsed.success) return parsed.output;
  const fields = parsed.issues.map((issue) => v.getDotPath(issue) ?? 'answer');
  throw new AgentError('plugin-failed', `${name} answered with an unusable ${fields.join(', ')}`);
}

function registryOf(repository: string): string {
  return repository.split('/')[0] ?? repository;
}
