// Bytes of a manifest → its static Pods, or everything that is wrong with it: decoding, identity and validation in one.
import { decodeManifest } from '../api/decode.ts';
import type { Pod } from '../api/pod.ts';
import type { Problem } from '../api/problem.ts';
import type { ParseManifest } from './manifest-set.ts';
import { toStaticPod } from './static-pod.ts';

/** A manifest is one unit: a single document that cannot be used makes it unusable as a whole (decision 0012, S-071). */
function parseWith(toOrigin: (path: string) => Parameters<typeof toStaticPod>[1]): ParseManifest {
  return (bytes, path) => {
    const pods: Pod[] = [];
    const problems: Problem[] = [];
    let name: string | undefined;
    for (const document of decodeManifest(bytes)) {
      const made = toStaticPod(document, toOrigin(path));
      if ('pod' in made) pods.push(made.pod);
      else {
        problems.push(...made.problems);
        name ??= made.name;
      }
    }
    return { pods, problems, name };
  };
}

/** `nodeName` as S-078 gives it. */
export function parseFileManifest(options: { readonly nodeName: string }): ParseManifest {
  return parseWith((path) => ({ source: 'file', nodeName: options.nodeName, path }));
}

/** The path that the parser is called with is the URL. */
export function parseUrlManifest(options: { readonly nodeName: string }): ParseManifest {
  return parseWith((url) => ({ source: 'http', nodeName: options.nodeName, url }));
}
