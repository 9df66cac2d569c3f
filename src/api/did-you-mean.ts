// What somebody who wrote an unknown field most likely meant: another spelling, or another place.
import { fields } from './gen/fields.ts';

/** The edit distance, swaps of neighbours included; more than `limit` is reported as `limit + 1`. */
function distance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) > limit) return limit + 1;
  let before: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i += 1) {
    const current = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let best = Math.min((previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1, (previous[j - 1] ?? 0) + cost);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, (before[j - 2] ?? 0) + 1);
      current.push(best);
    }
    before = previous;
    previous = current;
  }
  return Math.min(previous[b.length] ?? 0, limit + 1);
}

const normalised = (name: string): string => name.toLowerCase().replaceAll(/[-_\s]/g, '');

/** The nearest of the candidates, or undefined when none is near. */
export function nearest(name: string, candidates: readonly string[]): string | undefined {
  const wanted = normalised(name);
  if (wanted.length > 64) return undefined;
  const limit = wanted.length <= 3 ? 1 : wanted.length <= 6 ? 2 : 3;
  let best: { candidate: string; score: number } | undefined;
  for (const candidate of candidates) {
    const other = normalised(candidate);
    // Singular and plural are one slip, however long the word.
    const score = other === wanted ? 0 : other === `${wanted}s` || wanted === `${other}s` ? 0.5 : distance(wanted, other, limit);
    if (score <= limit && (best === undefined || score < best.score)) best = { candidate, score };
  }
  return best?.candidate;
}

const places: Readonly<Record<string, string>> = {
  Pod: 'the top level',
  PodSpec: 'spec',
  ObjectMeta: 'metadata',
  Container: 'spec.containers[]',
  SecurityContext: 'a securityContext',
  Probe: 'a probe',
};

/** `Unknown field`, with advice where there is any. `owners`: the types of the objects around it, innermost first. */
export function describeUnknownField(name: string, typeName: string, owners: readonly string[]): string {
  const near = nearest(name, Object.keys(fields[typeName] ?? {}));
  if (near !== undefined) return `Unknown field: did you mean ${JSON.stringify(near)}?`;
  for (const owner of [...owners, ...Object.keys(places)]) {
    const place = places[owner];
    if (owner !== typeName && place !== undefined && Object.hasOwn(fields[owner] ?? {}, name))
      return `Unknown field: it belongs to ${place}`;
  }
  return 'Unknown field';
}
