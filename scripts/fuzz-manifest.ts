// Feeds mutated manifests to the parser and checks that each gives Pods or problems, and never anything else.
// Usage: npm run fuzz -- --count 10000000 [--seed 1] [--keep FILE]; a failure writes its input to FILE and exits with 1.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { decodeManifest } from '../src/api/decode.ts';
import { toStaticPod } from '../src/source/static-pod.ts';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
    keep: { type: 'string', default: 'fuzz-failure.bin' },
  },
});
const count = Number(values.count);
let state = BigInt(values.seed) | 1n;

/** A small reproducible generator (xorshift64*): the same seed gives the same run on every machine. */
function random(below: number): number {
  state ^= state >> 12n;
  state = BigInt.asUintN(64, state ^ (state << 25n));
  state ^= state >> 27n;
  return Number((BigInt.asUintN(64, state * 0x2545f4914f6cdd1dn) >> 33n) % BigInt(below));
}

const yaml = `apiVersion: v1
kind: Pod
metadata:
  name: web
  labels: {app: web, tier: "1"}
spec:
  hostNetwork: true
  containers:
  - name: web
    image: nginx:1.2
    command: [sh, -c, 'sleep 1']
    env:
    - {name: A, value: b}
    ports: [{containerPort: 80, name: http}]
    resources: {requests: {cpu: 100m, memory: 64Mi}}
    livenessProbe: {httpGet: {path: /, port: http}}
    volumeMounts: [{name: v, mountPath: /v}]
  volumes:
  - name: v
    hostPath: {path: /x, type: Directory}
`;
const json = JSON.stringify({
  apiVersion: 'v1',
  kind: 'PodList',
  items: [{ metadata: { name: 'a' }, spec: { containers: [{ name: 'a', image: 'b', args: ['x'], resources: { limits: { cpu: 0.5 } } }] } }],
});
const encoder = new TextEncoder();
const seeds = [yaml, json, `---\n${yaml}---\n${yaml.replace('web', 'db')}`, 'a: &x [1, 2]\nb: *x\nc: {<<: {d: e}}\n', '', '{}', '[]'].map(
  (text) => encoder.encode(text),
);
const tokens = [
  '---\n',
  '...\n',
  '&a ',
  '*a',
  '<<: ',
  '!!binary ',
  '!!int ',
  '|\n',
  '>-\n',
  '? ',
  ': ',
  '- ',
  '{',
  '}',
  '[',
  ']',
  '"',
  "'",
  '\\u0000',
  '\n  ',
  '\t',
  '#',
  '\r\n',
  '\ufeff',
  '1e999',
  '0x',
  '~',
  'null',
  'yes',
  '__proto__: ',
  'constructor: ',
  '99999999999999999999',
  '\u2028',
  '💥',
].map((text) => encoder.encode(text));

const pick = <T>(list: readonly T[]): T => list[random(list.length)] as T;

function splice(bytes: Uint8Array, at: number, remove: number, insert: Uint8Array): Uint8Array {
  const result = new Uint8Array(bytes.length - remove + insert.length);
  result.set(bytes.subarray(0, at));
  result.set(insert, at);
  result.set(bytes.subarray(at + remove), at + insert.length);
  return result;
}

function mutate(bytes: Uint8Array): Uint8Array {
  const at = random(bytes.length + 1);
  const length = Math.min(random(20), bytes.length - at);
  switch (random(7)) {
    case 0:
      return bytes.slice(0, at);
    case 1:
      return splice(bytes, at, length, new Uint8Array());
    case 2:
      return splice(bytes, at, 0, pick(tokens));
    case 3:
      return splice(bytes, at, 0, Uint8Array.of(random(256)));
    case 4:
      return splice(bytes, at, Math.min(1, bytes.length - at), Uint8Array.of(random(128)));
    case 5: {
      const other = pick(seeds);
      const from = random(other.length + 1);
      return splice(bytes, at, 0, other.subarray(from, from + random(60)));
    }
    default:
      return splice(bytes, at, length, pick(tokens));
  }
}

const totals = { pods: 0, rejected: 0, problems: 0, slowestMs: 0 };
const started = performance.now();
for (let i = 0; i < count; i += 1) {
  let input: Uint8Array = pick(seeds);
  for (let mutations = 1 + random(6); mutations > 0; mutations -= 1) input = mutate(input);
  const before = performance.now();
  try {
    for (const document of decodeManifest(input)) {
      const made = toStaticPod(document, { source: 'file', nodeName: 'n', path: '/f' });
      if ('pod' in made) {
        if (made.pod.metadata.uid === '' || made.pod.spec.containers.length === 0)
          throw new RangeError('an accepted Pod without UID or containers');
        totals.pods += 1;
      } else {
        if (made.problems.length === 0) throw new RangeError('neither a Pod nor a problem');
        totals.rejected += 1;
        totals.problems += made.problems.length;
      }
    }
  } catch (error) {
    writeFileSync(values.keep, Buffer.from(input));
    console.error(`input ${i} of seed ${values.seed} failed, see ${values.keep}:`, error);
    process.exit(1);
  }
  totals.slowestMs = Math.max(totals.slowestMs, performance.now() - before);
}
const seconds = (performance.now() - started) / 1000;
console.log(
  `${count} inputs in ${seconds.toFixed(1)} s (${Math.round(count / seconds)}/s), seed ${values.seed}: ${totals.pods} Pods accepted, ` +
    `${totals.rejected} documents rejected with ${totals.problems} problems, slowest ${totals.slowestMs.toFixed(1)} ms, no failure`,
);
