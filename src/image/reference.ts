// Image names: their parts, the default tag (L-343), and the one form two names of the same image share.

export interface ImageReference {
  /** Registry host with optional port; `docker.io` for names without one. */
  readonly domain: string;
  /** Repository inside the registry; `library/` is added to one-part names of Docker Hub. */
  readonly path: string;
  readonly tag: string | undefined;
  readonly digest: string | undefined;
}

export type ParsedReference =
  | { readonly kind: 'reference'; readonly reference: ImageReference }
  | { readonly kind: 'invalid'; readonly error: string };

const component = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const pathPattern = new RegExp(`^${component}(?:/${component})*$`);
const domainPattern =
  /^(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?$/;
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const digestPattern = /^[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}$/;
/** Hexadecimal digits of the digests that have a known length. */
const digestLengths: ReadonlyMap<string, number> = new Map([
  ['sha256', 64],
  ['sha384', 96],
  ['sha512', 128],
]);
const maxRepositoryLength = 255;

/** Splits an image name as container runtimes do: `nginx` is `docker.io/library/nginx`. Adds no tag. */
export function parseReference(text: string): ParsedReference {
  if (/^[0-9a-f]{64}$/.test(text)) return invalid(`invalid repository name (${text}), cannot specify 64-byte hexadecimal strings`);

  const at = text.indexOf('@');
  const digest = at < 0 ? undefined : text.slice(at + 1);
  const named = at < 0 ? text : text.slice(0, at);
  const colon = named.lastIndexOf(':');
  const hasTag = colon >= 0 && !named.slice(colon + 1).includes('/');
  const tag = hasTag ? named.slice(colon + 1) : undefined;
  const name = hasTag ? named.slice(0, colon) : named;

  const { domain, path } = splitDomain(name);
  if (path.toLowerCase() !== path && pathPattern.test(path.toLowerCase())) {
    return invalid(`invalid reference format: repository name (${path}) must be lowercase`);
  }
  if (!domainPattern.test(domain) || !pathPattern.test(path)) return invalid('invalid reference format');
  if (tag !== undefined && !tagPattern.test(tag)) return invalid('invalid reference format');
  if (digest !== undefined && !digestPattern.test(digest)) return invalid('invalid reference format');
  if (digest !== undefined) {
    const [algorithm = '', hex = ''] = digest.split(':');
    const length = digestLengths.get(algorithm);
    if (length === undefined) return invalid('unsupported digest algorithm');
    if (hex.length !== length) return invalid('invalid checksum digest length');
  }
  if (`${domain}/${path}`.length > maxRepositoryLength) {
    return invalid(`repository name must not be more than ${maxRepositoryLength} characters`);
  }
  return { kind: 'reference', reference: { domain, path, tag, digest } };
}

function invalid(error: string): ParsedReference {
  return { kind: 'invalid', error };
}

/** The first part is a registry only when it could not be a Docker Hub user: it has a dot, a port, upper case, or is `localhost`. */
function splitDomain(name: string): { domain: string; path: string } {
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  const isDomain = first !== '' && (/[.:[]/.test(first) || first === 'localhost' || first.toLowerCase() !== first);
  let domain = isDomain ? first : 'docker.io';
  let path = isDomain ? name.slice(slash + 1) : name;
  if (domain === 'index.docker.io') domain = 'docker.io';
  if (domain === 'docker.io' && !path.includes('/')) path = `library/${path}`;
  return { domain, path };
}

/** `<domain>/<path>`: what credentials are looked up by (L-369). */
export function repositoryOf({ domain, path }: ImageReference): string {
  return `${domain}/${path}`;
}

/**
 * The text to ask the runtime for: `:latest` is added where there is neither tag nor digest, and nothing else is
 * changed (L-343).
 */
export function withDefaultTag(
  image: string,
):
  | { readonly kind: 'reference'; readonly image: string; readonly reference: ImageReference }
  | { readonly kind: 'invalid'; readonly error: string } {
  const parsed = parseReference(image);
  if (parsed.kind === 'invalid') return { kind: 'invalid', error: `couldn't parse image name ${JSON.stringify(image)}: ${parsed.error}` };
  const { tag, digest } = parsed.reference;
  const isBare = tag === undefined && digest === undefined;
  return { kind: 'reference', image: isBare ? `${image}:latest` : image, reference: parsed.reference };
}

/**
 * The full names that mean the same image: `nginx` → `docker.io/library/nginx:latest`. With a digest the tag does not
 * count. A text that is no reference (an image id, for one) is its own canonical form.
 */
export function canonicalName(image: string): string {
  if (image.startsWith('sha256:')) return image;
  const parsed = parseReference(image);
  if (parsed.kind === 'invalid') return image;
  const { tag, digest } = parsed.reference;
  const repository = repositoryOf(parsed.reference);
  return digest === undefined ? `${repository}:${tag ?? 'latest'}` : `${repository}@${digest}`;
}
