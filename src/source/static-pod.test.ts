import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { basePod, bytes, type Json, type JsonObject, merge } from '../../test/support/manifest.ts';
import { canonicalJson } from '../api/canonical-json.ts';
import { decodeManifest } from '../api/decode.ts';
import type { Pod } from '../api/pod.ts';
import { formatProblem } from '../api/problem.ts';
import { type Origin, toStaticPod } from './static-pod.ts';

const file: Origin = { source: 'file', nodeName: 'n1', path: '/m/web.yaml' };
const url: Origin = { source: 'http', nodeName: 'n1', url: 'http://h/pods' };

function podOf(text: string, origin: Origin = file): Pod {
  const [document] = decodeManifest(bytes(text));
  assert.ok(document !== undefined);
  const made = toStaticPod(document, origin);
  assert.ok('pod' in made, 'problems' in made ? made.problems.map(formatProblem).join('\n') : '');
  return made.pod;
}

function problemsOf(text: string): readonly string[] {
  const [document] = decodeManifest(bytes(text));
  assert.ok(document !== undefined);
  const made = toStaticPod(document, file);
  return 'pod' in made ? [] : made.problems.map((p) => `${p.line}:${p.column}: ${formatProblem(p)}`);
}

const json = (change: JsonObject = {}): string => JSON.stringify(merge(basePod, change));

test('S-081 S-087 … S-093 L-001 L-003 identity of a file Pod', () => {
  const pod = podOf(
    json({ metadata: { annotations: { mine: 'x', 'kubernetes.io/config.hash': 'y', 'kubernetes.io/config.source': 'api' } } }),
  );
  assert.deepEqual(pod.metadata, {
    name: 'web-n1',
    namespace: 'default',
    uid: pod.metadata.uid,
    annotations: { mine: 'x', 'kubernetes.io/config.hash': pod.metadata.uid, 'kubernetes.io/config.source': 'file' },
  });
  assert.match(pod.metadata.uid, /^[0-9a-f]{32}$/);
  assert.equal(pod.spec.nodeName, 'n1');
  assert.deepEqual(pod.spec.tolerations, [{ operator: 'Exists', effect: 'NoExecute' }]);
  assert.deepEqual(pod.status, { phase: 'Pending' });
});

test('S-077 S-093 a Pod from a URL gets no toleration', () => {
  const pod = podOf(json(), url);
  assert.equal(pod.spec.tolerations, undefined);
  assert.equal(pod.metadata.annotations['kubernetes.io/config.source'], 'http');
});

test('S-080 S-090 a pinned UID', () => {
  const pod = podOf(json({ metadata: { uid: 'My-UID' } }));
  assert.equal(pod.metadata.uid, 'My-UID');
  assert.equal(pod.metadata.annotations['kubernetes.io/config.hash'], 'My-UID');
});

test('S-088 S-089 an own namespace stays, an own node name does not', () => {
  const pod = podOf(json({ metadata: { namespace: 'apps' }, spec: { nodeName: 'other' } }));
  assert.equal(pod.metadata.namespace, 'apps');
  assert.equal(pod.spec.nodeName, 'n1');
});

test('S-091 the toleration replaces one like it, and only that', () => {
  const tolerations = [
    { operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 5 },
    { key: 'a', operator: 'Exists', effect: 'NoExecute' },
  ];
  assert.deepEqual(podOf(json({ spec: { tolerations } })).spec.tolerations, [
    { operator: 'Exists', effect: 'NoExecute' },
    { key: 'a', operator: 'Exists', effect: 'NoExecute' },
  ]);
});

test('S-092 the phase is overridden, other status stays', () => {
  assert.deepEqual(podOf(json({ status: { phase: 'Running', message: 'm' } })).status, { phase: 'Pending', message: 'm' });
});

test('S-098 other metadata is kept', () => {
  const metadata = { creationTimestamp: '2020-01-01T00:00:00Z', generation: 3, resourceVersion: '7', labels: { a: 'b' } };
  const { name, namespace, uid, annotations, ...rest } = podOf(json({ metadata })).metadata;
  assert.deepEqual(rest, metadata);
  assert.ok(name && namespace && uid && annotations);
});

// Pinned: a change here means that an upgrade restarts every static Pod (D2).
test('D2 the UID of a known manifest never changes', () => {
  assert.equal(podOf(json()).metadata.uid, '985aaf4bf8b9f52cecdead8b4066b56f');
  assert.equal(podOf(json(), url).metadata.uid, '5651ee9c88dacec562b6bc3651d7ed27');
});

const sameIdentity: Readonly<Record<string, string>> = {
  YAML: 'apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\nspec:\n  containers:\n  - name: web\n    image: nginx:1\n',
  'comments and another order':
    '# c\nkind: Pod # c\nspec: {containers: [{image: "nginx:1", name: web}]}\nmetadata: {name: web}\napiVersion: v1\n',
  'null fields':
    'apiVersion: v1\nkind: Pod\nmetadata: {name: web, creationTimestamp: null}\nspec:\n  containers:\n  - {name: web, image: "nginx:1", env: }\n',
  'an item of a list': `{"apiVersion":"v1","kind":"PodList","items":[{"metadata":{"name":"web"},"spec":{"containers":[{"name":"web","image":"nginx:1"}]}}]}`,
};

for (const [what, text] of Object.entries(sameIdentity)) {
  test(`S-084 the same UID: ${what}`, () => assert.equal(podOf(text).metadata.uid, podOf(json()).metadata.uid));
}

test('S-076 S-083 S-084 what changes the UID, and what does not', () => {
  const uid = podOf(json()).metadata.uid;
  assert.notEqual(podOf(json({ metadata: { labels: { a: 'b' } } })).metadata.uid, uid);
  assert.notEqual(podOf(json(), { ...file, path: '/m/other.yaml' }).metadata.uid, uid);
  assert.notEqual(podOf(json(), { ...file, nodeName: 'n2' }).metadata.uid, uid);
  assert.equal(podOf(json(), { ...url, nodeName: 'n2' }).metadata.uid, podOf(json(), url).metadata.uid);
  assert.notEqual(podOf(json(), { ...url, url: 'http://h/other' }).metadata.uid, podOf(json(), url).metadata.uid);
});

test('the order of documents in a file does not change a UID', () => {
  const [a, b] = [json(), json({ metadata: { name: 'db' } })];
  const uids = (text: string): readonly string[] =>
    decodeManifest(bytes(text)).map((document) => {
      const made = toStaticPod(document, file);
      return 'pod' in made ? made.pod.metadata.uid : '';
    });
  assert.deepEqual(uids(`---\n${a}\n---\n${b}\n`), uids(`---\n${b}\n---\n${a}\n`).toReversed());
});

const yaml = 'apiVersion: v1\nkind: Pod\n';

const refused: readonly (readonly [rule: string, text: string, expected: readonly string[]])[] = [
  [
    'S-038 a name cannot be generated',
    `${yaml}metadata: {generateName: web-}\nspec: {containers: [{name: a, image: b}]}\n`,
    ['3:1: metadata.name: Required value: name is needed for the pod'],
  ],
  [
    'S-087 the name is checked with its suffix',
    `${yaml}metadata: {name: ${'a'.repeat(251)}}\nspec: {containers: [{name: a, image: b}]}\n`,
    [`3:18: metadata.name: Invalid value: "${'a'.repeat(251)}-n1": must be no more than 253 characters`],
  ],
  [
    'S-042 a mirror Pod',
    `${yaml}metadata: {name: a, annotations: {kubernetes.io/config.mirror: x}}\nspec: {containers: [{name: a, image: b}]}\n`,
    [
      '3:64: metadata.annotations[kubernetes.io/config.mirror]: Forbidden: a manifest with this annotation would be a mirror Pod, which is never run; remove it',
    ],
  ],
  [
    'S-212 a reference',
    `${yaml}metadata: {name: a}\nspec:\n  serviceAccountName: x\n  containers: [{name: a, image: b}]\n`,
    [
      '5:23: spec.serviceAccountName: static pods may not reference serviceaccounts; remove it: without a control plane there are no service accounts',
    ],
  ],
  [
    'S-125 S-040 problems of decoding, validation and references at once',
    `${yaml}metadata: {name: a}\nspec:\n  hostPID: 1\n  containers:\n  - name: a\n    imagee: b\n  volumes:\n  - name: s\n    secret: {secretName: s}\n`,
    [
      '5:12: spec.hostPID: Invalid value: 1: must be a boolean: true or false',
      '8:5: spec.containers[0].imagee: Unknown field: did you mean "image"?',
      '7:5: spec.containers[0].image: Required value',
      '11:5: spec.volumes[0].secret: static pods may not reference secrets; keep the data in a file on the machine and mount it with a hostPath volume',
    ],
  ],
  [
    'what could not be decoded is not called missing too',
    `${yaml}metadata: {name: a}\nspec:\n  containers:\n  - {name: 5, image: b}\n`,
    ['6:12: spec.containers[0].name: Invalid value: 5: must be a string; put it in quotes: "5"'],
  ],
];

for (const [rule, text, expected] of refused) test(rule, () => assert.deepEqual(problemsOf(text), expected));

/** Anything that could stand in a manifest, and much that could not. */
const anyText = fc.oneof(
  fc.string(),
  fc.json(),
  fc
    .array(
      fc.constantFrom(
        'apiVersion: v1\n',
        'kind: Pod\n',
        'metadata:\n',
        '  name: a\n',
        'spec:\n',
        '  - ',
        '---\n',
        '{',
        '}',
        '[',
        ']',
        '&a ',
        '*a ',
        '<<: ',
        '"',
        ': ',
        '\n',
        '\t',
        '!!int ',
        '|\n',
      ),
    )
    .map((parts) => parts.join('')),
);

test('whatever the bytes, there is a Pod or there are problems', () => {
  const check = (content: Uint8Array): void => {
    for (const document of decodeManifest(content)) {
      const made = toStaticPod(document, file);
      if ('pod' in made) assert.match(made.pod.metadata.uid, /./);
      else assert.ok(made.problems.length > 0);
    }
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), check), { numRuns: 300 });
  fc.assert(fc.property(anyText.map(bytes), check), { numRuns: 500 });
});

const name = fc.stringMatching(/^[a-z][a-z0-9]{0,8}$/);
const manifest: fc.Arbitrary<JsonObject> = fc.record(
  {
    apiVersion: fc.constant('v1'),
    kind: fc.constant('Pod'),
    metadata: fc.record(
      { name, labels: fc.dictionary(name, name, { maxKeys: 4 }), annotations: fc.dictionary(name, fc.string(), { maxKeys: 4 }) },
      { requiredKeys: ['name'] },
    ),
    spec: fc.record(
      {
        containers: fc.uniqueArray(
          fc.record({ name, image: name, args: fc.array(fc.string(), { maxLength: 3 }) }, { requiredKeys: ['name', 'image'] }),
          {
            minLength: 1,
            maxLength: 3,
            selector: (container) => container.name,
          },
        ),
        hostNetwork: fc.boolean(),
        terminationGracePeriodSeconds: fc.nat(),
        nodeSelector: fc.dictionary(name, name, { maxKeys: 2 }),
      },
      { requiredKeys: ['containers'] },
    ),
  },
  { requiredKeys: ['apiVersion', 'kind', 'metadata', 'spec'] },
);

function reversedKeys(value: Json | undefined): Json | undefined {
  if (Array.isArray(value)) return value.map((item: Json) => reversedKeys(item) ?? null);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, member]) => [key, reversedKeys(member)]),
  );
}

/** JSON is YAML, so a manifest in JSON behind a comment is read as YAML. */
const asYaml = (value: Json | undefined): string => `# comment\n${JSON.stringify(value, undefined, 2)}\n`;

test('S-084 JSON and YAML, any order of keys, with or without comments: the same Pod', () => {
  fc.assert(
    fc.property(manifest, (value) => {
      const pod = podOf(JSON.stringify(value));
      assert.equal(canonicalJson(podOf(asYaml(reversedKeys(value)))), canonicalJson(pod));
    }),
    { numRuns: 100 },
  );
});

test('C-019 a decoded manifest, written and decoded again, is the same', () => {
  fc.assert(
    fc.property(manifest, (value) => {
      const [first] = decodeManifest(bytes(JSON.stringify(value)));
      const [second] = decodeManifest(bytes(JSON.stringify(first?.pod)));
      assert.deepEqual(second?.pod, first?.pod);
      assert.equal(canonicalJson(first?.pod), canonicalJson(value));
    }),
    { numRuns: 100 },
  );
});
