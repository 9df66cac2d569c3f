// What the image stage asks of image names: the default tag (L-343), the repository credentials are looked up by, and
// the one form that two names of the same image share. The grammar is in api/image-reference.ts.
import { withDefaultTag as addDefaultTag, type ImageReference, parseImageReference } from '../api/image-reference.ts';

export type { ImageReference };

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
  const parsed = parseImageReference(image);
  const tagged = addDefaultTag(image);
  if ('error' in tagged) return { kind: 'invalid', error: tagged.error };
  if ('error' in parsed) return { kind: 'invalid', error: parsed.error };
  return { kind: 'reference', image: tagged.image, reference: parsed.reference };
}

/**
 * The full names that mean the same image: `nginx` → `docker.io/library/nginx:latest`. With a digest the tag does not
 * count. A text that is no reference (an image id, for one) is its own canonical form.
 */
export function canonicalName(image: string): string {
  if (image.startsWith('sha256:')) return image;
  const parsed = parseImageReference(image);
  if ('error' in parsed) return image;
  const { tag, digest } = parsed.reference;
  const repository = repositoryOf(parsed.reference);
  return digest === undefined ? `${repository}:${tag ?? 'latest'}` : `${repository}@${digest}`;
}
