// AccessSource from a kubeconfig file: certificates, tokens, exec plugins (docs/decisions/0041-own-kubeconfig-reader.md).
// Every file the kubeconfig names is watched for change by its time and size, so that renewed certificates and tokens are
// taken without a restart.
import { readFile, stat } from 'node:fs/promises';
import { raceSignal } from '../std/async.ts';
import type { Clock, Instant } from '../std/clock.ts';
import { messageOf } from '../std/errors.ts';
import { type ClusterInfo, ExecCredentials } from './exec-credential.ts';
import { type AccessSource, type ApiAccess, ApiError } from './kube-api.ts';
import { type KubeconfigFile, type Material, parseKubeconfig } from './kubeconfig-file.ts';

export interface KubeconfigOptions {
  readonly path: string;
  /** How long what was read is taken for current without a look at the files. */
  readonly checkEveryMs?: number | undefined;
}

interface Loaded {
  readonly access: ApiAccess;
  readonly files: readonly string[];
  readonly stamp: string;
  readonly exec: ExecCredentials | undefined;
  /** An exec plugin hands out what expires: asked again at every check (it keeps its answer itself). */
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
    this.#loaded?.exec?.forget();
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
    const { path } = this.#options;
    const config = parseKubeconfig(await readFile(path, 'utf8'), path);
    const files = [path, config.tokenFile, ...[config.ca, config.certificate, config.key].map(fileOf)].filter((file) => file !== undefined);
    const stamp = await stampOf(files);
    const { serverName, skipVerify } = config;
    const ca = await read(config.ca);
    const exec =
      config.exec === undefined
        ? undefined
        : new ExecCredentials({ plugin: config.exec, cluster: clusterInfo(config, ca) }, { clock: this.#clock });
    const derive = async (): Promise<ApiAccess> => {
      // A program may outlive whoever asked first: it has a time-out of its own.
      const dynamic = await exec?.current({ signal: new AbortController().signal });
      const token = config.tokenFile === undefined ? config.token : (await readFile(config.tokenFile, 'utf8')).trim();
      return {
        server: config.server,
        headers: authorization(token ?? dynamic?.token, config.basic),
        tls: {
          ca,
          cert: (await read(config.certificate)) ?? dynamic?.certificate,
          key: (await read(config.key)) ?? dynamic?.key,
          servername: serverName,
          rejectUnauthorized: skipVerify ? false : undefined,
        },
      };
    };
    return { access: await derive(), files, stamp, exec, again: exec === undefined ? undefined : derive };
  }
}

const fileOf = (material: Material): string | undefined => (material !== undefined && 'file' in material ? material.file : undefined);

async function read(material: Material): Promise<Buffer | undefined> {
  if (material === undefined) return undefined;
  return 'data' in material ? material.data : await readFile(material.file);
}

function authorization(token: string | undefined, basic: KubeconfigFile['basic']): Readonly<Record<string, string>> {
  if (token !== undefined && token !== '') return { Authorization: `Bearer ${token}` };
  if (basic === undefined) return {};
  return { Authorization: `Basic ${Buffer.from(`${basic.username}:${basic.password}`).toString('base64')}` };
}

function clusterInfo({ server, serverName, skipVerify }: KubeconfigFile, ca: Buffer | undefined): ClusterInfo {
  return {
    server,
    ...(ca === undefined ? {} : { 'certificate-authority-data': ca.toString('base64') }),
    ...(serverName === undefined ? {} : { 'tls-server-name': serverName }),
    ...(skipVerify ? { 'insecure-skip-tls-verify': true } : {}),
  };
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
