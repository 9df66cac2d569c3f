// AccessSource from a kubeconfig file. Parsing and authentication (certificates, tokens, exec plugins) are the Kubernetes
// client library's, which is loaded only here; every file the kubeconfig names is watched for change by its time and size,
// so that renewed certificates and tokens are taken without a restart.
import { readFile, stat } from 'node:fs/promises';
import type { RequestOptions } from 'node:https';
import { dirname, resolve } from 'node:path';
import { raceSignal } from '../std/async.ts';
import type { Clock, Instant } from '../std/clock.ts';
import { messageOf } from '../std/errors.ts';
import { type AccessSource, type ApiAccess, ApiError } from './kube-api.ts';

export interface KubeconfigOptions {
  readonly path: string;
  /** How long what was read is taken for current without a look at the files. */
  readonly checkEveryMs?: number | undefined;
}

interface Loaded {
  readonly access: ApiAccess;
  readonly files: readonly string[];
  readonly stamp: string;
  /** An exec plugin or auth provider hands out what expires: asked again at every check (it keeps its answer itself). */
  readonly again: (() => Promise<ApiAccess>) | undefined;
}

export class KubeconfigAccess implements AccessSource {
  readonly #options: KubeconfigOptions;
  readonly #clock: Clock;
  #loaded: Loaded | undefined;
  #checkedAt: Instant = 0;
  #loading: Promise<ApiAccess> | undefined;

  constructor(options: KubeconfigOptions, deps: { readonly clock: Clock }) {
    this.#options = options;
    this.#clock = deps.clock;
  }

  async current({ signal }: { readonly signal: AbortSignal }): Promise<ApiAccess> {
    const now = this.#clock.now();
    const checkEveryMs = this.#options.checkEveryMs ?? 10_000;
    if (this.#loaded !== undefined && now - this.#checkedAt < checkEveryMs && now >= this.#checkedAt) return this.#loaded.access;
    // One look for all who ask; an exec plugin that hangs holds nobody longer than their own time-out.
    this.#loading ??= this.#refresh().finally(() => {
      this.#loading = undefined;
    });
    return await raceSignal(this.#loading, signal);
  }

  invalidate(): void {
    this.#checkedAt = 0;
  }

  async #refresh(): Promise<ApiAccess> {
    const now = this.#clock.now();
    try {
      const old = this.#loaded;
      const isUnchanged = old !== undefined && (await stampOf(old.files)) === old.stamp;
      if (isUnchanged && old.again === undefined) {
        this.#checkedAt = now;
        return old.access;
      }
      const next = isUnchanged && old.again !== undefined ? { ...old, access: await old.again() } : await this.#load();
      // The same value while nothing has changed: connections are kept by it.
      const isSame = old !== undefined && fingerprint(old.access) === fingerprint(next.access);
      this.#loaded = isSame ? { ...next, access: old.access } : next;
      this.#checkedAt = now;
      return this.#loaded.access;
    } catch (error) {
      if (error instanceof ApiError) throw error;
      throw new ApiError('credentials', `kubeconfig ${this.#options.path}: ${messageOf(error)}`, { cause: error });
    }
  }

  async #load(): Promise<Loaded> {
    const { KubeConfig, loadYaml } = await import('@kubernetes/client-node');
    const { path } = this.#options;
    const text = await readFile(path, 'utf8');
    const config = new KubeConfig();
    config.loadFromString(text);
    config.makePathsAbsolute(dirname(resolve(path)));
    const cluster = config.getCurrentCluster();
    const user = config.getCurrentUser();
    if (cluster === null || user === null) throw new ApiError('credentials', `kubeconfig ${path} has no usable current context`);
    if (cluster.proxyUrl !== undefined) throw new ApiError('credentials', `kubeconfig ${path}: proxy-url is not supported`);
    const tokenFile = tokenFileOf(loadYaml(text), user.name);
    const tokenPath = tokenFile === undefined ? undefined : resolve(dirname(path), tokenFile);
    const files = [path, cluster.caFile, user.certFile, user.keyFile, tokenPath].filter((file) => file !== undefined && file !== '');
    const stamp = await stampOf(files as readonly string[]);
    const derive = async (): Promise<ApiAccess> => {
      const headers: Record<string, string> = {};
      const options: RequestOptions = { headers };
      // The library refuses plain HTTP unless told so; the choice of the scheme is the kubeconfig's.
      if (cluster.server.startsWith('https:')) await config.applyToHTTPSOptions(options);
      const token = tokenPath === undefined ? user.token : (await readFile(tokenPath, 'utf8')).trim();
      const { ca, cert, key, servername, rejectUnauthorized } = options;
      return {
        server: cluster.server,
        headers: { ...headers, ...(token === undefined || token === '' ? {} : { Authorization: `Bearer ${token}` }) },
        tls: {
          ca: ca as string | Buffer | undefined,
          cert: cert as string | Buffer | undefined,
          key: key as string | Buffer | undefined,
          servername,
          rejectUnauthorized,
        },
      };
    };
    const isDynamic = user.exec !== undefined || user.authProvider !== undefined;
    return { access: await derive(), files: files as readonly string[], stamp, again: isDynamic ? derive : undefined };
  }
}

/** The library reads a token file once, at load, and forgets its name. */
function tokenFileOf(document: unknown, user: string): string | undefined {
  const users =
    (document as { readonly users?: readonly { readonly name?: string; readonly user?: Readonly<Record<string, unknown>> }[] }).users ?? [];
  const file = users.find((u) => u.name === user)?.user?.['tokenFile'] ?? users.find((u) => u.name === user)?.user?.['token-file'];
  return typeof file === 'string' && file !== '' ? file : undefined;
}

async function stampOf(files: readonly string[]): Promise<string> {
  const stamps = await Promise.all(
    files.map(async (file) => {
      const { mtimeMs, size, ino } = await stat(file);
      return `${file}:${mtimeMs}:${size}:${ino}`;
    }),
  );
  return stamps.join('\n');
}

function fingerprint({ server, headers, tls }: ApiAccess): string {
  const text = (value: string | Buffer | undefined): string => (value === undefined ? '' : value.toString('latin1'));
  return JSON.stringify([server, headers, text(tls.ca), text(tls.cert), text(tls.key), tls.servername, tls.rejectUnauthorized]);
}
