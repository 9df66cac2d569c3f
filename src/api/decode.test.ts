import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytes } from '../../test/support/manifest.ts';
import { decodeManifest, maxManifestBytes } from './decode.ts';
import { formatProblem } from './problem.ts';

const head = 'apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n';
const pod = `${head}spec:\n  containers:\n  - name: web\n    image: nginx:1\n`;

/** `line:column: field: message` of all documents; no line where there is none. */
function problems(text: string | Uint8Array): readonly string[] {
  return decodeManifest(typeof text === 'string' ? bytes(text) : text).flatMap((document) =>
    document.problems.map((problem) => {
      const place = problem.line === undefined ? '' : `${problem.line}:${problem.column}: `;
      return `${place}${formatProblem(problem)}`;
    }),
  );
}

function names(text: string): readonly (string | undefined)[] {
  return decodeManifest(bytes(text)).map(({ pod: decoded }) => decoded?.metadata.name);
}

const quantity = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

const rows: readonly (readonly [what: string, text: string | Uint8Array, expected: readonly string[]])[] = [
  ['a valid Pod', pod, []],
  ['S-035 an empty file', '', ['1:1: the manifest is empty: expected a Pod']],
  ['S-035 spaces only', ' \n\t\n', ['1:1: the manifest is empty: expected a Pod']],
  ['S-035 comments only', '# nothing\n---\n# here\n', ['1:1: the manifest contains only comments: expected a Pod']],
  ['S-029 too large', new Uint8Array(maxManifestBytes).fill(0x20), ['the read limit is reached: a manifest must be smaller than 10 MiB']],
  ['binary', Uint8Array.of(0x7f, 0x45, 0x00), ['the manifest contains NUL bytes: it is a binary file, or was not written completely']],
  ['UTF-16', Uint8Array.of(0xff, 0xfe, 0x61, 0x00), ['the manifest is encoded in UTF-16: save it as UTF-8']],
  ['UTF-16, the other way round', Uint8Array.of(0xfe, 0xff, 0x00, 0x61), ['the manifest is encoded in UTF-16: save it as UTF-8']],
  ['not UTF-8, although it begins like UTF-16', Uint8Array.of(0x61, 0xff, 0x61), ['1:1: the manifest is not valid UTF-8']],
  ['not UTF-8 either', Uint8Array.of(0xfe, 0x61), ['1:1: the manifest is not valid UTF-8']],
  ['not UTF-8', Uint8Array.of(0x61, 0x0a, 0xff), ['2:1: the manifest is not valid UTF-8']],
  ['a control character', `${pod}# \u0007\n`, ['9:3: control characters are not allowed (0x07)']],
  ['text', 'hello', ['1:1: not a manifest: expected a Pod with apiVersion, kind, metadata and spec']],
  ['HTML', '<html><body>404</body></html>', ['1:1: not a manifest: expected a Pod with apiVersion, kind, metadata and spec']],
  ['a list', '- a\n', ['1:1: not a manifest: expected a Pod with apiVersion, kind, metadata and spec']],
  [
    'another file altogether',
    'services:\n  web: {}\n',
    ['1:1: apiVersion: Required value: must be "v1"', '1:1: kind: Required value: must be "Pod"'],
  ],
  ['S-034 no kind', `apiVersion: v1\nspec: {}\n`, ['1:1: kind: Required value: must be "Pod"']],
  ['S-034 no version', `kind: Pod\n`, ['1:1: apiVersion: Required value: must be "v1"']],
  ['S-034 another version', `kind: Pod\napiVersion: v2\n`, ['2:13: apiVersion: Unsupported value: "v2": supported values: "v1"']],
  [
    'S-036 another kind',
    'apiVersion: apps/v1\nkind: Deployment\n',
    [
      '1:13: apiVersion: Unsupported value: "apps/v1": supported values: "v1"',
      '2:7: kind: Unsupported value: "Deployment": supported values: "Pod"; nothing but Pods can run without a control plane',
    ],
  ],
  ['field names are case-sensitive', 'apiVersion: v1\nkind: pod\n', ['2:7: kind: Unsupported value: "pod": supported values: "Pod"']],
  [
    'YAML error',
    `${pod}  bad: [\n`,
    ['10:1: invalid YAML: Flow sequence in block collection must be sufficiently indented and end with a ]'],
  ],
  ['YAML with a tab', `${head}spec:\n\tcontainers: []\n`, ['6:1: invalid YAML: Tabs are not allowed as indentation']],
  ['alias without anchor', 'a: *x\n', ['1:4: invalid YAML: the alias *x refers to no anchor before it']],
  ['alias inside its own anchor', 'a: &x [*x]\n', ['1:8: invalid YAML: the alias *x refers to a value that contains it']],
  ['key that is a list', '? [a]\n: b\n', ['1:3: invalid YAML: a key must be a string']],
  ['merge of a scalar', 'a:\n  <<: 5\n', ['2:7: invalid YAML: << can only merge maps']],
  [
    'deep YAML that never ends',
    '['.repeat(500),
    [
      '1:501: invalid YAML: Flow sequence in block collection must be sufficiently indented and end with a ]',
      '1:501: invalid YAML: Flow sequence must end with a ]',
    ],
  ],
  ['deep closed YAML', `${'['.repeat(300)}${']'.repeat(300)}`, ['1:202: nested deeper than 200 levels']],
  ['JSON cut short', '{"kind": "Pod"', [`1:15: invalid JSON: expected ',', found the end of the file`]],
  ['S-032 JSON with garbage behind', '{"kind": "Pod"} x', ['1:17: unexpected text after the end of the JSON value']],
  ['S-030 what begins with a brace is JSON', '{kind: Pod}', ['1:2: invalid JSON: expected a key in double quotes, found "k"']],
  ['JSON with a bad string', '{"a": "\\x"}', ['1:7: invalid JSON: string not closed, or with an invalid character or escape']],
  ['JSON with a bad value', '{"a": nope}', ['1:7: invalid JSON: expected a value, found "n"']],
  ['deep JSON', '{"a":'.repeat(300), ['1:1006: nested deeper than 200 levels']],
  ['unknown field', `${pod}    imagee: x\n`, ['9:5: spec.containers[0].imagee: Unknown field: did you mean "image"?']],
  [
    'unknown field in other letters',
    `${head}spec:\n  hostnetwork: true\n`,
    ['6:3: spec.hostnetwork: Unknown field: did you mean "hostNetwork"?'],
  ],
  [
    'unknown field, plural',
    `${pod}    volumeMount: []\n`,
    ['9:5: spec.containers[0].volumeMount: Unknown field: did you mean "volumeMounts"?'],
  ],
  ['field of another place', `${pod}    hostNetwork: true\n`, ['9:5: spec.containers[0].hostNetwork: Unknown field: it belongs to spec']],
  [
    'field of a container in the specification',
    `${head}spec:\n  image: x\n`,
    ['6:3: spec.image: Unknown field: it belongs to spec.containers[]'],
  ],
  [
    'field of the object around it',
    `${pod}    livenessProbe: {image: x}\n`,
    ['9:21: spec.containers[0].livenessProbe.image: Unknown field: it belongs to spec.containers[]'],
  ],
  ['letters swapped', `${pod}    iamge: x\n`, ['9:5: spec.containers[0].iamge: Unknown field: did you mean "image"?']],
  ['field like no other', `${head}zzzzzzzz: 1\n`, ['5:1: zzzzzzzz: Unknown field']],
  [
    'duplicate field, reported where it is repeated',
    `${pod}    image: other\n`,
    ['9:5: spec.containers[0].image: Duplicate field: already given on line 8'],
  ],
  ['duplicate label', `${head}  labels: {a: "1", a: "2"}\n`, ['5:20: metadata.labels[a]: Duplicate field: already given on line 5']],
  ['duplicate in JSON', '{"apiVersion":"v1","kind":"Pod","kind":"Pod"}', ['1:33: kind: Duplicate field: already given on line 1']],
  [
    'S-033 number for a string',
    `${pod}    env:\n    - {name: A, value: 0755}\n`,
    ['10:24: spec.containers[0].env[0].value: Invalid value: 0755: must be a string; put it in quotes: "0755"'],
  ],
  [
    'S-033 boolean for a string',
    `${head}  annotations: {a: yes}\n`,
    ['5:20: metadata.annotations[a]: Invalid value: true: must be a string; put it in quotes: "yes"'],
  ],
  ['map for a string', `${pod}    workingDir: {}\n`, ['9:17: spec.containers[0].workingDir: Invalid value: "object": must be a string']],
  ['string for a list', `${pod}    command: sleep\n`, ['9:14: spec.containers[0].command: Invalid value: "sleep": must be a list']],
  ['string for an object', `${head}spec: x\n`, ['5:7: spec: Invalid value: "x": must be an object']],
  ['list for a map', `${head}  labels: [a]\n`, ['5:11: metadata.labels: Invalid value: "array": must be a map']],
  [
    'string for a number',
    `${head}spec: {terminationGracePeriodSeconds: "30"}\n`,
    ['5:39: spec.terminationGracePeriodSeconds: Invalid value: "30": must be an integer; remove the quotes'],
  ],
  ['fraction for an integer', `${head}spec: {priority: 1.5}\n`, ['5:18: spec.priority: Invalid value: 1.5: must be an integer']],
  [
    'JSON fraction for an integer',
    '{"apiVersion":"v1","kind":"Pod","spec":{"priority":1.0}}',
    ['1:52: spec.priority: Invalid value: 1.0: must be an integer'],
  ],
  [
    '32-bit overflow',
    `${head}spec: {priority: 2147483648}\n`,
    ['5:18: spec.priority: Invalid value: 2147483648: must be between -2147483648 and 2147483647, inclusive'],
  ],
  [
    'whole numbers beyond what JSON numbers hold',
    `${head}spec: {terminationGracePeriodSeconds: 9007199254740993}\n`,
    [
      '5:39: spec.terminationGracePeriodSeconds: Invalid value: 9007199254740993: must be between -9007199254740991 and 9007199254740991, inclusive',
    ],
  ],
  [
    'string for a boolean',
    `${head}spec: {hostPID: "true"}\n`,
    ['5:17: spec.hostPID: Invalid value: "true": must be a boolean; remove the quotes'],
  ],
  ['number for a boolean', `${head}spec: {hostPID: 1}\n`, ['5:17: spec.hostPID: Invalid value: 1: must be a boolean: true or false']],
  [
    'boolean for a port',
    `${pod}    livenessProbe: {tcpSocket: {port: on}}\n`,
    ['9:39: spec.containers[0].livenessProbe.tcpSocket.port: Invalid value: true: must be an integer or a string'],
  ],
  [
    'bad quantity',
    `${pod}    resources: {limits: {cpu: 1cpu}}\n`,
    [`9:31: spec.containers[0].resources.limits[cpu]: Invalid value: "1cpu": ${quantity}`],
  ],
  [
    'bad time',
    `${head}  creationTimestamp: 2020-02-30T00:00:00Z\n`,
    [
      '5:22: metadata.creationTimestamp: Invalid value: "2020-02-30T00:00:00Z": must be a time in RFC 3339 form, for example 2006-01-02T15:04:05Z',
    ],
  ],
  [
    'all problems at once',
    `${head}  labels: {a: 1}\nspec:\n  hostPID: 1\n  foo: 1\n`,
    [
      '5:15: metadata.labels[a]: Invalid value: 1: must be a string; put it in quotes: "1"',
      '7:12: spec.hostPID: Invalid value: 1: must be a boolean: true or false',
      '8:3: spec.foo: Unknown field',
    ],
  ],
  ['the second document', `${pod}---\n${pod}    imagee: x\n`, ['18:5: spec.containers[0].imagee: Unknown field: did you mean "image"?']],
  ['a list with a foreign field', `apiVersion: v1\nkind: List\nitem: []\n`, ['3:1: item: Unknown field']],
  ['a list whose items are none', `apiVersion: v1\nkind: PodList\nitems: x\n`, ['3:8: items: Invalid value: "string": must be a list']],
  [
    'S-074 items of a List need a kind',
    'apiVersion: v1\nkind: List\nitems:\n- metadata: {name: a}\n  spec: {}\n',
    ['4:3: apiVersion: Required value: must be "v1"', '4:3: kind: Required value: must be "Pod"'],
  ],
];

for (const [what, text, expected] of rows) test(what, () => assert.deepEqual(problems(text), expected));

test('S-031 several documents, empty ones left out; their order is kept', () => {
  assert.deepEqual(names(`---\n${pod}---\n---\n# nothing\n---\n${pod.replace('web', 'db')}...\n`), ['web', 'db']);
});

test('C-023 S-036 S-074 List and PodList', () => {
  const item = `  apiVersion: v1\n  kind: Pod\n  metadata: {name: a}\n`.replace('  ', '- ');
  assert.deepEqual(names(`apiVersion: v1\nkind: List\nitems:\n${item}`), ['a']);
  assert.deepEqual(names('apiVersion: v1\nkind: PodList\nmetadata: {}\nitems:\n- metadata: {name: a}\n- metadata: {name: b}\n'), [
    'a',
    'b',
  ]);
  assert.deepEqual(names('apiVersion: v1\nkind: PodList\nitems: []\n'), []);
});

test('a byte order mark does not matter', () => assert.deepEqual(names(`\ufeff${pod}`), ['web']));

test('Windows line ends do not matter', () => assert.deepEqual(names(pod.replaceAll('\n', '\r\n')), ['web']));

test('anchors, aliases and merge keys', () => {
  const text = `${head}spec:\n  containers:\n  - &a\n    name: web\n    image: &i nginx:1\n  - {<<: *a, name: db}\n  - {name: x, image: *i}\n`;
  const [document] = decodeManifest(bytes(text));
  assert.deepEqual(document?.problems, []);
  assert.deepEqual(document?.pod?.spec.containers, [
    { name: 'web', image: 'nginx:1' },
    { image: 'nginx:1', name: 'db' },
    { name: 'x', image: 'nginx:1' },
  ]);
});

test('aliases that expand each other are stopped', () => {
  const levels = Array.from({ length: 30 }, (_, i) => `  x${i}: &x${i} [${i === 0 ? 'a, a' : `*x${i - 1}, *x${i - 1}`}]`);
  const bomb = `${head}  managedFields:\n  - fieldsV1:\n${levels.map((line) => `    ${line}`).join('\n')}\n`;
  const told = problems(bomb).map((line) => line.replace(/^\d+:\d+: /, ''));
  assert.deepEqual(told, ['metadata.managedFields[0].fieldsV1: too many values: more than 500000 after expanding aliases']);
});

test('null is absent, and the zero value in a list or map', () => {
  const text = `${head}  labels: {a: null}\n  annotations: null\nspec:\n  containers:\n  -\n  - {name: a, command: [null], ports: }\n`;
  const [document] = decodeManifest(bytes(text));
  assert.deepEqual(document?.problems, []);
  assert.deepEqual(document?.pod, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'web', labels: { a: '' } },
    spec: { containers: [{}, { name: 'a', command: [''] }] },
  });
});

test('what can be decoded is decoded in spite of problems', () => {
  const [document] = decodeManifest(bytes(`${head}spec:\n  hostPID: 1\n  hostIPC: true\n`));
  assert.equal(document?.problems.length, 1);
  assert.deepEqual(document?.pod?.spec, { hostIPC: true });
});

test('quantities stay as they are written', () => {
  const [document] = decodeManifest(bytes(`${pod}    resources: {limits: {cpu: 0.10, memory: 9007199254740993, "a/b": 0x10}}\n`));
  assert.deepEqual(document?.pod?.spec.containers[0]?.resources?.limits, { cpu: '0.1', memory: '9007199254740993', 'a/b': '16' });
});

test('a key called __proto__ is a key', () => {
  const [document] = decodeManifest(bytes(`${head}  labels: {__proto__: x}\n`));
  assert.deepEqual(Object.entries(document?.pod?.metadata.labels ?? {}), [['__proto__', 'x']]);
});

test('at most 100 problems are told', () => {
  const many = Array.from({ length: 150 }, (_, i) => `  unknown${i}field: 1`).join('\n');
  const told = problems(`${head}spec:\n${many}\n`);
  assert.equal(told.length, 101);
  assert.equal(told.at(-1), 'and 50 more problems');
});

const places: Readonly<Record<string, readonly [line: number, column: number]>> = {
  'metadata.name': [4, 9],
  spec: [5, 1],
  'spec.containers': [6, 3],
  'spec.containers[0]': [7, 5],
  'spec.containers[0].image': [8, 12],
  // Missing: the nearest existing ancestor.
  'spec.containers[0].ports[3].name': [7, 5],
  'spec.containers[7].image': [6, 3],
  'status.phase': [1, 1],
  'metadata.labels[a.b/c]': [3, 1],
};

for (const [field, [line, column]] of Object.entries(places)) {
  test(`locate ${field}`, () => assert.deepEqual(decodeManifest(bytes(pod))[0]?.locate(field), { line, column }));
}
