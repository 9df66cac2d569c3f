// Pods for tests of manifests: a small valid one, changed by what a row says.
import { type DecodedPod, decodeManifest } from '../../src/api/decode.ts';
import { type DefaultedPod, defaultPod } from '../../src/api/defaults.ts';
import type { Pod } from '../../src/api/pod.ts';
import { formatProblem } from '../../src/api/problem.ts';
import { validatePod } from '../../src/api/validate.ts';

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json | undefined };
export type JsonObject = { readonly [key: string]: Json | undefined };

export const basePod: JsonObject = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'web' },
  spec: { containers: [{ name: 'web', image: 'nginx:1' }] },
};

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Objects are merged, everything else (lists too) is replaced; `undefined` removes. */
export function merge(base: Json | undefined, change: Json | undefined): Json | undefined {
  if (!isObject(base) || !isObject(change)) return change;
  const result: Record<string, Json | undefined> = { ...base };
  for (const [key, value] of Object.entries(change)) result[key] = merge(base[key], value);
  return result;
}

export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** Decodes a single document that must have no problems. */
export function decoded(manifest: Json | undefined): DecodedPod {
  const [document] = decodeManifest(bytes(JSON.stringify(manifest)));
  if (document?.pod === undefined || document.problems.length > 0) {
    throw new TypeError(`not decodable: ${document?.problems.map(formatProblem).join('; ')}`);
  }
  return document.pod;
}

/** The base Pod with a change, decoded and defaulted. */
export function defaulted(change: JsonObject): DefaultedPod {
  return defaultPod(decoded(merge(basePod, change)));
}

/** The base container with a change, as the only one. */
export function container(change: JsonObject, spec: JsonObject = {}): JsonObject {
  return { spec: { ...spec, containers: [merge({ name: 'web', image: 'nginx:1' }, change) ?? null] } };
}

/** What validation says of the base Pod with a change, on node `n1` and in namespace `default` unless the change says otherwise. */
export function problemsOf(change: JsonObject): readonly string[] {
  const pod = defaulted(change);
  const identified: Pod = {
    ...pod,
    metadata: {
      ...pod.metadata,
      name: pod.metadata.name ?? '',
      namespace: pod.metadata.namespace ?? 'default',
      uid: pod.metadata.uid ?? 'u1',
      annotations: pod.metadata.annotations ?? {},
    },
    spec: { ...pod.spec, nodeName: pod.spec.nodeName ?? 'n1' },
  };
  return validatePod(identified).map(formatProblem);
}
