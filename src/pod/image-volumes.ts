// What a runtime can mount of an image. It does not say so itself, and one that does not know the field mounts something
// else without a word: what is known of versions decides (L-239).

/** Nothing, the whole image, or a part of it (`subPath`) as well. */
export type ImageVolumeSupport = 'none' | 'whole' | 'parts';

/** `name` and `version` as the runtime answers them. Of other runtimes than containerd everything is expected. */
export function imageVolumeSupport({ name, version }: { readonly name: string; readonly version: string }): ImageVolumeSupport {
  const match = /(\d+)\.(\d+)/.exec(version);
  if (name !== 'containerd' || match === null) return 'parts';
  const [major = 0, minor = 0] = [Number(match[1]), Number(match[2])];
  const isAtLeast = (wantedMinor: number): boolean => major > 2 || (major === 2 && minor >= wantedMinor);
  if (isAtLeast(2)) return 'parts';
  return isAtLeast(1) ? 'whole' : 'none';
}
