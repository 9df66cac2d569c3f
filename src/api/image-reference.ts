// Image references (`registry:5000/team/app:1.2@sha256:…`), by the grammar that container runtimes share.

export interface ImageReference {
  /** Registry host, `docker.io` where none is written. */
  readonly domain: string;
  /** Without the domain; `library/` is put before a single name of docker.io. */
  readonly path: string;
  readonly tag: string | undefined;
  /** `sha256:…` */
  readonly digest: string | undefined;
}

export type ParsedImageReference = { readonly reference: ImageReference } | { readonly error: string };

const domainComponent = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])';
const domain = new RegExp(`^(?:${domainComponent}(?:\\.${domainComponent})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?$`);
const pathComponent = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const path = new RegExp(`^${pathComponent}(?:/${pathComponent})*$`);
const tag = /^\w[\w.-]{0,127}$/;
const digest = /^[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}$/;
const digestLengths: Readonly<Record<string, number>> = { sha256: 64, sha384: 96, sha512: 128 };

/** The error texts are those a kubelet shows, so that what people search for is found. */
export function parseImageReference(text: string): ParsedImageReference {
  if (/^[a-f0-9]{64}$/.test(text)) return { error: `invalid repository name (${text}), cannot specify 64-byte hexadecimal strings` };
  const malformed = { error: 'invalid reference format' };
  let rest = text;
  let digestPart: string | undefined;
  const at = rest.indexOf('@');
  if (at !== -1) {
    digestPart = rest.slice(at + 1);
    rest = rest.slice(0, at);
    const expected = digestLengths[digestPart.slice(0, digestPart.indexOf(':'))];
    if (!digest.test(digestPart)) return malformed;
    if (expected === undefined) return { error: 'unsupported digest algorithm' };
    if (digestPart.length - digestPart.indexOf(':') - 1 !== expected) return { error: 'invalid checksum digest length' };
  }
  let tagPart: string | undefined;
  const colon = rest.lastIndexOf(':');
  if (colon > rest.lastIndexOf('/')) {
    tagPart = rest.slice(colon + 1);
    rest = rest.slice(0, colon);
    if (!tag.test(tagPart)) return malformed;
  }
  let domainPart = 'docker.io';
  let pathPart = rest;
  const slash = rest.indexOf('/');
  const first = slash === -1 ? '' : rest.slice(0, slash);
  if (slash !== -1 && (/[.:]/.test(first) || first === 'localhost' || first.toLowerCase() !== first)) {
    domainPart = first === 'index.docker.io' ? 'docker.io' : first;
    pathPart = rest.slice(slash + 1);
  }
  if (domainPart === 'docker.io' && pathPart !== '' && !pathPart.includes('/')) pathPart = `library/${pathPart}`;
  if (pathPart.toLowerCase() !== pathPart && path.test(pathPart.toLowerCase())) {
    return { error: `invalid reference format: repository name (${pathPart}) must be lowercase` };
  }
  if (!domain.test(domainPart) || !path.test(pathPart)) return malformed;
  if (domainPart.length + 1 + pathPart.length > 255) return { error: 'repository name must not be more than 255 characters' };
  return { reference: { domain: domainPart, path: pathPart, tag: tagPart, digest: digestPart } };
}

/** The pull policy of an image without one (S-109). */
export function defaultPullPolicy(image: string): 'Always' | 'IfNotPresent' {
  const parsed = parseImageReference(image);
  if ('error' in parsed) return 'IfNotPresent';
  const { tag: imageTag, digest: imageDigest } = parsed.reference;
  return imageTag === 'latest' || (imageTag === undefined && imageDigest === undefined) ? 'Always' : 'IfNotPresent';
}

/** The image with `:latest` appended where it has neither tag nor digest (L-343). */
export function withDefaultTag(image: string): { readonly image: string } | { readonly error: string } {
  const parsed = parseImageReference(image);
  if ('error' in parsed) return { error: `couldn't parse image name ${JSON.stringify(image)}: ${parsed.error}` };
  return { image: parsed.reference.tag === undefined && parsed.reference.digest === undefined ? `${image}:latest` : image };
}
