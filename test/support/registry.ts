// A registry on loopback, by the API that containerd pulls with: it can ask for credentials, refuse, be slow, hang in the
// middle of a layer, and be away.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import { extract } from 'tar-stream';
import { ociArchitecture, writeImageArchive } from '../../src/image/oci-archive.ts';

/** What one repository answers instead of its content. */
export type Misbehaviour =
  | { readonly kind: 'status'; readonly status: number }
  /** Takes the request and says nothing. */
  | { readonly kind: 'silent' }
  /** Sends half of each layer and goes on when this is taken away. */
  | { readonly kind: 'halfLayers' };

export interface RegistryAccess {
  /** `Bearer`: a token is fetched from the registry itself with the credentials. */
  readonly scheme: 'Basic' | 'Bearer';
  readonly username: string;
  readonly password: string;
}

interface Blob {
  readonly bytes: Buffer;
  readonly type: string;
}

interface Repository {
  /** By tag and by digest. */
  readonly manifests: Map<string, string>;
  readonly layers: Set<string>;
  access: RegistryAccess | undefined;
  fault: Misbehaviour | undefined;
}

interface Descriptor {
  readonly digest: string;
  readonly mediaType: string;
}

export class TestRegistry {
  /** `<user or -> <method> <path>` of each request for a repository, in their order. */
  readonly requests: string[] = [];
  /** How many repositories were being read from at once, at most. */
  mostAtOnce = 0;
  readonly #blobs = new Map<string, Blob>();
  readonly #repositories = new Map<string, Repository>();
  readonly #active = new Map<string, number>();
  #gate: { readonly count: number; readonly open: () => void; readonly opened: Promise<void> } | undefined;
  #waiting: (() => void)[] = [];
  #server: Server | undefined;
  #port = 0;

  /** On the port it had before, if it had one. */
  async start(): Promise<void> {
    const server = createServer((request, response) => void this.#answer(request, response));
    this.#server = server;
    server.listen(this.#port, '127.0.0.1');
    await once(server, 'listening');
    this.#port = (server.address() as AddressInfo).port;
  }

  /** Nobody listens there any more, as when the machine of the registry is down. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  }

  get host(): string {
    return `127.0.0.1:${this.#port}`;
  }

  /** Puts the image of an archive there, as `writeImageArchive` makes it, and answers its reference. */
  async push(name: string, tag: string, archive: Buffer): Promise<string> {
    const files = await readTar(archive);
    const read = (digest: string): Buffer => files.get(`blobs/${digest.replace(':', '/')}`) ?? Buffer.alloc(0);
    const index = JSON.parse(files.get('index.json')?.toString() ?? '') as { readonly manifests: readonly Descriptor[] };
    const [top] = index.manifests;
    if (top === undefined) throw new TypeError('an archive without an image');
    const manifest = JSON.parse(read(top.digest).toString()) as { readonly config: Descriptor; readonly layers: readonly Descriptor[] };
    for (const { digest, mediaType } of [top, manifest.config, ...manifest.layers])
      this.#blobs.set(digest, { bytes: read(digest), type: mediaType });
    const repository = this.#repository(name);
    for (const { digest } of manifest.layers) repository.layers.add(digest);
    repository.manifests.set(tag, top.digest).set(top.digest, top.digest);
    return `${this.host}/${name}:${tag}`;
  }

  protect(name: string, access: RegistryAccess): void {
    this.#repository(name).access = access;
  }

  /** Undefined: it behaves again, and what hung goes on. */
  misbehave(name: string, fault: Misbehaviour | undefined): void {
    this.#repository(name).fault = fault;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const goOn of waiting) goOn();
  }

  /** Layers wait until those of `count` repositories are asked for at once; from then on nobody waits. */
  holdUntil(count: number): void {
    let open = (): void => undefined;
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    this.#gate = { count, open, opened };
  }

  requestsOf(name: string): readonly string[] {
    return this.requests.filter((line) => line.includes(` /v2/${name}/`));
  }

  #repository(name: string): Repository {
    const known = this.#repositories.get(name);
    if (known !== undefined) return known;
    const made: Repository = { manifests: new Map(), layers: new Set(), access: undefined, fault: undefined };
    this.#repositories.set(name, made);
    return made;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', `http://${this.host}`);
    if (url.pathname === '/token') return this.#giveToken(request, url, response);
    const [, name = '', kind, reference = ''] = /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(url.pathname) ?? [];
    if (kind === undefined) return void response.writeHead(url.pathname === '/v2/' ? 200 : 404).end();
    const repository = this.#repositories.get(name);
    const user = userOf(request);
    this.requests.push(`${user ?? '-'} ${request.method} ${url.pathname}`);
    const fault = repository?.fault;
    if (fault?.kind === 'silent') return;
    if (fault?.kind === 'status') return void response.writeHead(fault.status).end();
    if (repository?.access !== undefined && !isAllowed(request, repository.access)) {
      const challenge =
        repository.access.scheme === 'Basic'
          ? 'Basic realm="test"'
          : `Bearer realm="http://${this.host}/token",service="test",scope="repository:${name}:pull"`;
      return void response.writeHead(401, { 'www-authenticate': challenge }).end();
    }
    const digest = kind === 'manifests' ? repository?.manifests.get(reference) : reference;
    const blob = digest === undefined ? undefined : this.#blobs.get(digest);
    if (blob === undefined || digest === undefined || repository === undefined) return void response.writeHead(404).end();
    const isLayer = repository.layers.has(digest);
    if (isLayer) await this.#enter(name);
    try {
      const from = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
      const bytes = blob.bytes.subarray(from);
      response.writeHead(from > 0 ? 206 : 200, {
        'content-type': blob.type,
        'content-length': bytes.length,
        'docker-content-digest': digest,
        ...(from > 0 ? { 'content-range': `bytes ${from}-${blob.bytes.length - 1}/${blob.bytes.length}` } : {}),
      });
      if (request.method === 'HEAD') return void response.end();
      if (isLayer && repository.fault?.kind === 'halfLayers') {
        const half = Math.floor(bytes.length / 2);
        response.write(bytes.subarray(0, half));
        await new Promise<void>((resolve) => this.#waiting.push(resolve));
        return void response.end(bytes.subarray(half));
      }
      response.end(bytes);
    } finally {
      if (isLayer) this.#leave(name);
    }
  }

  async #enter(name: string): Promise<void> {
    this.#active.set(name, (this.#active.get(name) ?? 0) + 1);
    this.mostAtOnce = Math.max(this.mostAtOnce, this.#active.size);
    const gate = this.#gate;
    if (gate === undefined) return;
    if (this.#active.size >= gate.count) gate.open();
    await gate.opened;
  }

  #leave(name: string): void {
    const left = (this.#active.get(name) ?? 1) - 1;
    if (left > 0) this.#active.set(name, left);
    else this.#active.delete(name);
  }

  /** Whoever is allowed anywhere gets the token of its name and password. */
  #giveToken(request: IncomingMessage, url: URL, response: ServerResponse): void {
    const [, name = ''] = /repository:([^:]+):/.exec(url.searchParams.getAll('scope').join(' ')) ?? [];
    const access = this.#repositories.get(name)?.access;
    if (access === undefined || request.headers.authorization !== basicOf(access)) return void response.writeHead(401).end();
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ token: tokenOf(access) }));
  }
}

const basicOf = ({ username, password }: RegistryAccess): string => `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
const tokenOf = ({ username, password }: RegistryAccess): string => Buffer.from(`token ${username} ${password}`).toString('base64url');

function isAllowed({ headers }: IncomingMessage, access: RegistryAccess): boolean {
  return headers.authorization === (access.scheme === 'Basic' ? basicOf(access) : `Bearer ${tokenOf(access)}`);
}

function userOf({ headers }: IncomingMessage): string | undefined {
  const [scheme, value = ''] = (headers.authorization ?? '').split(' ');
  const text = Buffer.from(value, 'base64').toString();
  return scheme === 'Basic' ? text.split(':')[0] : scheme === 'Bearer' ? text.split(' ')[1] : undefined;
}

async function readTar(archive: Buffer): Promise<ReadonlyMap<string, Buffer>> {
  const files = new Map<string, Buffer>();
  const reader = extract();
  reader.end(archive);
  for await (const entry of reader) {
    const chunks: Uint8Array[] = [];
    for await (const chunk of entry) if (chunk instanceof Uint8Array) chunks.push(chunk);
    files.set(entry.header.name, Buffer.concat(chunks));
  }
  return files;
}

/** An image that containers can run from. `mark` makes it another one than its likes. */
export function busyboxArchive(mark: string): Promise<Buffer> {
  return writeImageArchive({
    reference: 'test.invalid/busybox:1',
    architecture: ociArchitecture(os.arch()),
    entries: [
      { type: 'directory', name: 'bin/' },
      { type: 'file', name: 'bin/busybox', data: readFileSync('/bin/busybox'), mode: 0o755 },
      { type: 'symlink', name: 'bin/sh', target: 'busybox' },
      { type: 'file', name: 'mark', data: mark },
    ],
    config: { Cmd: ['sh'] },
  });
}
