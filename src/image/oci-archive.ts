// Image archives without a registry: writes a tar that is an OCI archive and a `docker save` archive at once, and
// reads which images an archive names. The same input gives the same bytes on every machine and Node version
// (layers stay uncompressed: gzip output differs between zlib versions).
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { extract, pack } from 'tar-stream';
import { unixEpoch } from '../std/clock.ts';
import { AgentError } from '../std/errors.ts';

/** An entry of the image's only layer. Names have no leading slash; parent directories come first. */
export type LayerEntry =
  | { readonly type: 'directory'; readonly name: string; readonly mode?: number }
  | { readonly type: 'file'; readonly name: string; readonly mode?: number; readonly data: Uint8Array | string }
  | { readonly type: 'symlink'; readonly name: string; readonly target: string };

/** The part of Docker's image configuration we write. */
export interface ImageConfig {
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly Env?: readonly string[];
  readonly User?: string;
  readonly WorkingDir?: string;
  readonly ExposedPorts?: Readonly<Record<string, Readonly<Record<string, never>>>>;
  readonly StopSignal?: string;
  readonly Labels?: Readonly<Record<string, string>>;
}

export interface ImageArchive {
  /** Full reference with registry and tag: `docker.io/library/nginx:latest`. */
  readonly reference: string;
  /** `amd64`, `arm64`, … as in the OCI image specification. */
  readonly architecture: string;
  readonly entries: readonly LayerEntry[];
  readonly config: ImageConfig;
}

const ociPrefix = 'application/vnd.oci.image.';

/** Node's name of the machine (`x64`) → the OCI specification's (`amd64`). */
export function ociArchitecture(nodeArch: string): string {
  switch (nodeArch) {
    case 'x64':
      return 'amd64';
    case 'ia32':
      return '386';
    case 'ppc64':
      return 'ppc64le';
    default:
      return nodeArch;
  }
}

/** The whole archive as bytes. `ctr images import`, `docker load`, `podman load` and skopeo take it. */
export async function writeImageArchive(image: ImageArchive): Promise<Buffer> {
  const layer = await tar(image.entries);
  const layerDigest = sha256(layer);
  const config = json({
    architecture: image.architecture,
    os: 'linux',
    config: image.config,
    rootfs: { type: 'layers', diff_ids: [`sha256:${layerDigest}`] },
  });
  const manifest = json({
    schemaVersion: 2,
    mediaType: `${ociPrefix}manifest.v1+json`,
    config: descriptor(`${ociPrefix}config.v1+json`, config),
    layers: [descriptor(`${ociPrefix}layer.v1.tar`, layer)],
  });
  const index = json({
    schemaVersion: 2,
    manifests: [
      {
        ...descriptor(`${ociPrefix}manifest.v1+json`, manifest),
        annotations: { 'io.containerd.image.name': image.reference, 'org.opencontainers.image.ref.name': image.reference },
      },
    ],
  });
  const file = (name: string, data: Buffer): LayerEntry => ({ type: 'file', name, data });
  return tar([
    file('oci-layout', json({ imageLayoutVersion: '1.0.0' })),
    file('index.json', index),
    file('manifest.json', json([{ Config: blobName(config), RepoTags: [image.reference], Layers: [blobName(layer)] }])),
    file(blobName(config), config),
    file(blobName(manifest), manifest),
    file(blobName(layer), layer),
  ]);
}

export interface ArchivedImage {
  readonly reference: string;
  /** Digest of the image's manifest or index; undefined where the archive (a plain `docker save`) does not tell. */
  readonly digest: string | undefined;
}

/**
 * The named images of an OCI or Docker archive, plain or gzipped. An AgentError `bad-archive` when the file is
 * neither; system errors of reading pass through.
 */
export async function readImageArchive(path: string): Promise<readonly ArchivedImage[]> {
  const documents = new Map<string, unknown>();
  const reader = extract();
  reader.on('entry', (header, stream, next) => {
    const wanted = header.name.replace(/^\.\//, '');
    const chunks: Uint8Array[] = [];
    const isWanted = (wanted === 'index.json' || wanted === 'manifest.json') && (header.size ?? 0) < 1 << 20;
    stream.on('data', (chunk: unknown) => {
      if (isWanted && chunk instanceof Uint8Array) chunks.push(chunk);
    });
    stream.on('end', () => {
      try {
        if (isWanted) documents.set(wanted, JSON.parse(Buffer.concat(chunks).toString('utf8')));
        next();
      } catch (error) {
        next(error instanceof Error ? error : undefined);
      }
    });
  });
  const source = createReadStream(path);
  try {
    if (await isGzip(path)) await pipeline(source, createGunzip(), reader);
    else await pipeline(source, reader);
  } catch (error) {
    if (error instanceof Error && 'syscall' in error) throw error;
    throw new AgentError('bad-archive', `${path} is not an image archive`, { cause: error });
  }
  const images = [...fromOciIndex(documents.get('index.json')), ...fromDockerManifest(documents.get('manifest.json'))];
  if (documents.size === 0)
    throw new AgentError('bad-archive', `${path} is not an image archive: it has no index.json and no manifest.json`);
  const byReference = new Map<string, ArchivedImage>();
  for (const image of images) {
    if (byReference.get(image.reference)?.digest === undefined) byReference.set(image.reference, image);
  }
  return [...byReference.values()];
}

async function isGzip(path: string): Promise<boolean> {
  await using file = await open(path);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(2), 0, 2, 0);
  return bytesRead === 2 && buffer[0] === 0x1f && buffer[1] === 0x8b;
}

function fromOciIndex(index: unknown): ArchivedImage[] {
  if (!isRecord(index) || !Array.isArray(index['manifests'])) return [];
  return index['manifests'].flatMap((entry: unknown) => {
    if (!isRecord(entry) || !isRecord(entry['annotations'])) return [];
    const { annotations } = entry;
    const name = annotations['io.containerd.image.name'] ?? annotations['org.opencontainers.image.ref.name'];
    const digest = entry['digest'];
    // A bare tag ("latest", as skopeo writes it) names no image.
    if (typeof name !== 'string' || !name.includes('/')) return [];
    return [{ reference: name, digest: typeof digest === 'string' ? digest : undefined }];
  });
}

function fromDockerManifest(manifest: unknown): ArchivedImage[] {
  if (!Array.isArray(manifest)) return [];
  return manifest.flatMap((entry: unknown) => {
    const tags = isRecord(entry) ? entry['RepoTags'] : undefined;
    if (!Array.isArray(tags)) return [];
    return tags
      .filter((tag): tag is string => typeof tag === 'string')
      .map((tag) => ({ reference: fullReference(tag), digest: undefined }));
  });
}

/** Docker's short names (`nginx:latest`, `user/app:1`) → the full ones containerd stores. */
function fullReference(tag: string): string {
  const [first = '', ...rest] = tag.split('/');
  if (rest.length === 0) return `docker.io/library/${tag}`;
  return first.includes('.') || first.includes(':') || first === 'localhost' ? tag : `docker.io/${tag}`;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const blobName = (data: Uint8Array): string => `blobs/sha256/${sha256(data)}`;
const descriptor = (mediaType: string, data: Uint8Array): { mediaType: string; digest: string; size: number } => ({
  mediaType,
  digest: `sha256:${sha256(data)}`,
  size: data.length,
});

async function tar(entries: readonly LayerEntry[]): Promise<Buffer> {
  const archive = pack();
  const chunks: Uint8Array[] = [];
  archive.on('data', (chunk: unknown) => {
    if (chunk instanceof Uint8Array) chunks.push(chunk);
  });
  const common = { uid: 0, gid: 0, mtime: unixEpoch };
  for (const entry of entries) {
    switch (entry.type) {
      case 'directory':
        archive.entry({ ...common, type: 'directory', name: entry.name.replace(/\/?$/, '/'), mode: entry.mode ?? 0o755 });
        break;
      case 'symlink':
        archive.entry({ ...common, type: 'symlink', name: entry.name, linkname: entry.target, mode: 0o777 });
        break;
      case 'file':
        archive.entry({ ...common, type: 'file', name: entry.name, mode: entry.mode ?? 0o644 }, Buffer.from(entry.data));
        break;
    }
  }
  archive.finalize();
  await once(archive, 'end');
  return Buffer.concat(chunks);
}
