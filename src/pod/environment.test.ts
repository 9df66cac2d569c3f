import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildNode } from '../../test/support/node-facts.ts';
import { buildContainer, buildPod } from '../../test/support/pods.ts';
import type { Container, EnvVar, PodSpec } from '../api/gen/kubernetes.ts';
import { environmentOf, expand, expandStrictly, parseEnvFile } from './environment.ts';

function env(
  entries: readonly EnvVar[],
  change: { spec?: Partial<PodSpec>; container?: Partial<Container>; files?: Record<string, string>; podIps?: readonly string[] } = {},
) {
  const container = buildContainer({ env: entries, ...change.container });
  const pod = buildPod({ containers: [container], ...change.spec }, { labels: { app: 'web' }, annotations: { 'a/b': 'note' } });
  const problems: string[] = [];
  const context = { node: buildNode(), podIps: change.podIps ?? ['10.0.0.9'], envFiles: new Map(Object.entries(change.files ?? {})) };
  return { values: Object.fromEntries(environmentOf(pod, container, context, problems)), problems };
}

test('L-222 … L-224, C-354 chained, forward, escaped and unknown references', () => {
  const { values, problems } = env([
    { name: 'A', value: 'a' },
    { name: 'B', value: '$(A)-b' },
    { name: 'C', value: '$(LATER) $$(A) $(NOBODY) $A $(A' },
    { name: 'LATER', value: 'x' },
    { name: 'EMPTY' },
    { name: 'A', value: '$(A)2' },
  ]);
  assert.deepEqual(values, { A: 'a2', B: 'a-b', C: '$(LATER) $(A) $(NOBODY) $A $(A', LATER: 'x', EMPTY: '' });
  assert.deepEqual(problems, []);
});

test('L-225, S-395 there are no service variables, whatever enableServiceLinks says', () => {
  for (const enableServiceLinks of [true, false])
    assert.deepEqual(env([{ name: 'A', value: 'a' }], { spec: { enableServiceLinks } }).values, { A: 'a' });
});

test('L-223 values from sources are not expanded', () => {
  const { values } = env([
    { name: 'A', value: 'a' },
    { name: 'B', valueFrom: { fieldRef: { fieldPath: "metadata.annotations['a/b']" } } },
  ]);
  assert.equal(values['B'], 'note');
});

for (const [path, expected] of [
  ['metadata.name', 'web-node1'],
  ['metadata.namespace', 'default'],
  ['metadata.uid', 'uid-1'],
  ["metadata.labels['app']", 'web'],
  ["metadata.labels['none']", ''],
  ["metadata.annotations['a/b']", 'note'],
  ['spec.nodeName', 'node1'],
  ['spec.serviceAccountName', ''],
  ['status.hostIP', '192.0.2.7'],
  ['status.hostIPs', '192.0.2.7'],
  ['status.podIP', '10.0.0.9'],
  ['status.podIPs', '10.0.0.9,fd00::9'],
] as const) {
  test(`L-226 fieldRef ${path}`, () => {
    const { values, problems } = env([{ name: 'X', valueFrom: { fieldRef: { fieldPath: path } } }], { podIps: ['10.0.0.9', 'fd00::9'] });
    assert.deepEqual([values['X'], problems], [expected, []]);
  });
}

test('L-226 an unknown path and a whole map are problems', () => {
  for (const fieldPath of ['status.phase', 'metadata.labels']) {
    assert.equal(env([{ name: 'X', valueFrom: { fieldRef: { fieldPath } } }]).problems.length, 1);
  }
});

test('L-486 (difference) a Pod on the node’s network has the node’s addresses', () => {
  const { values } = env([{ name: 'X', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } }], {
    spec: { hostNetwork: true },
    podIps: [],
  });
  assert.equal(values['X'], '192.0.2.7');
});

const resources = { requests: { cpu: '1500m', memory: '100Mi' }, limits: { memory: '200M', 'hugepages-2Mi': '4Mi' } };
for (const [resource, divisor, expected] of [
  ['requests.cpu', undefined, '2'],
  ['requests.cpu', '1m', '1500'],
  ['requests.memory', undefined, String(100 * 2 ** 20)],
  ['requests.memory', '1Mi', '100'],
  ['limits.memory', '1Mi', '191'],
  ['limits.cpu', undefined, '4'],
  ['limits.cpu', '1m', '3500'],
  ['limits.ephemeral-storage', '1Gi', '100'],
  ['requests.ephemeral-storage', '0', '0'],
  ['limits.hugepages-2Mi', '1Mi', '4'],
  ['limits.hugepages-1Gi', undefined, '0'],
] as const) {
  test(`L-228, C-355 resourceFieldRef ${resource} by ${divisor ?? 'nothing'} is ${expected}`, () => {
    const ref = { resource, ...(divisor !== undefined && { divisor }) };
    const { values, problems } = env([{ name: 'X', valueFrom: { resourceFieldRef: ref } }], { container: { resources } });
    assert.deepEqual([values['X'], problems], [expected, []]);
  });
}

test('L-228 limits of the Pod cap what a container without limits may use', () => {
  const { values } = env([{ name: 'X', valueFrom: { resourceFieldRef: { resource: 'limits.cpu', divisor: '1m' } } }], {
    spec: { resources: { limits: { cpu: '2' } } },
  });
  assert.equal(values['X'], '2000');
});

test('L-228 an unknown container or resource is a problem', () => {
  assert.deepEqual(env([{ name: 'X', valueFrom: { resourceFieldRef: { resource: 'limits.cpu', containerName: 'none' } } }]).problems, [
    'container none not found',
  ]);
  assert.equal(env([{ name: 'X', valueFrom: { resourceFieldRef: { resource: 'limits.gpu' } } }]).problems.length, 1);
});

test('L-229 config maps and secrets need an API server, even optional ones', () => {
  const { problems } = env([{ name: 'X', valueFrom: { configMapKeyRef: { key: 'k', name: 'c', optional: true } } }], {
    container: { envFrom: [{ secretRef: { name: 's' } }] },
  });
  assert.deepEqual(problems, [
    "couldn't get secret default/s, no kubeClient defined",
    "couldn't get configMap default/c, no kubeClient defined",
  ]);
});

const mountsData = { volumeMounts: [{ name: 'data', mountPath: '/d' }] };
const fromFile = (key: string, optional?: boolean): EnvVar => ({
  name: 'X',
  valueFrom: { fileKeyRef: { volumeName: 'data', path: 'env', key, ...(optional !== undefined && { optional }) } },
});
for (const [title, entry, file, expected, problem] of [
  ['a key', fromFile('K'), "K='v w'\n", 'v w', undefined],
  ['a missing key', fromFile('K'), "L='v'\n", undefined, 'environment variable key "K" not found in file "env"'],
  ['an optional missing key', fromFile('K', true), "L='v'\n", undefined, undefined],
  ['an empty value', fromFile('K'), 'K=\n', undefined, 'environment variable key "K" not found in file "env"'],
  ['a malformed file', fromFile('K', true), 'K=v\n', undefined, "couldn't parse env file"],
  ['a missing file', fromFile('K', true), undefined, undefined, "couldn't parse env file"],
] as const) {
  test(`L-230, C-395 fileKeyRef: ${title}`, () => {
    const { values, problems } = env([entry], { container: mountsData, files: file === undefined ? {} : { 'data/env': file } });
    assert.deepEqual([values['X'], problems], [expected, problem === undefined ? [] : [problem]]);
  });
}

test('L-230 the volume must be mounted by some container', () => {
  assert.deepEqual(env([fromFile('K')], { files: { 'data/env': "K='v'" } }).problems, [
    'cannot find the volume "data" referenced by FileKeyRef',
  ]);
});

test('L-230 env files: several lines, comments, blank lines', () => {
  const text = "# c\n\nA='1'\nB='two\nlines'\n  # c\nC= nothing\nD='4' # c\nE='last'";
  assert.deepEqual(Object.fromEntries(parseEnvFile(text) ?? []), { A: '1', B: 'two\nlines', C: '', D: '4', E: 'last' });
  for (const bad of ['A=1\n', "A ='1'\n", 'A\n', "A='1\n", '=\n', `A="1"\n`]) assert.equal(parseEnvFile(bad), undefined, bad);
});

test('L-220 expansion of commands', () => {
  const values = new Map([
    ['A', '1'],
    ['EMPTY', ''],
  ]);
  for (const [text, expected] of [
    ['$(A)$(A)', '11'],
    ['$(EMPTY)x', 'x'],
    ['$$$(A)', '$1'],
    ['$$$$(A)', '$$(A)'],
    ['$(A', '$(A'],
    ['$', '$'],
    ['$A', '$A'],
    ['$(B)', '$(B)'],
    ['$()', '$()'],
  ] as const) {
    assert.equal(expand(text, values), expected, text);
  }
});

test('L-236, C-368 strict expansion refuses unknown and empty names', () => {
  const problems: string[] = [];
  assert.equal(
    expandStrictly(
      '$(A)/$(B)-$(C)',
      new Map([
        ['A', 'x'],
        ['C', ''],
      ]),
      problems,
    ),
    'x/-',
  );
  assert.deepEqual(problems, ['missing value for B, C']);
});
