import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultPullPolicy, parseImageReference, withDefaultTag } from './image-reference.ts';

const digest = `sha256:${'a'.repeat(64)}`;

const parsed: Readonly<Record<string, readonly [domain: string, path: string, tag: string | undefined, digest: string | undefined]>> = {
  nginx: ['docker.io', 'library/nginx', undefined, undefined],
  'nginx:1.2': ['docker.io', 'library/nginx', '1.2', undefined],
  'user/app': ['docker.io', 'user/app', undefined, undefined],
  'docker.io/nginx': ['docker.io', 'library/nginx', undefined, undefined],
  'index.docker.io/user/app': ['docker.io', 'user/app', undefined, undefined],
  'localhost/app': ['localhost', 'app', undefined, undefined],
  'localhost:5000/a/b:t': ['localhost:5000', 'a/b', 't', undefined],
  'registry.k8s.io/pause:3.10': ['registry.k8s.io', 'pause', '3.10', undefined],
  '[::1]:5000/a': ['[::1]:5000', 'a', undefined, undefined],
  [`a@${digest}`]: ['docker.io', 'library/a', undefined, digest],
  [`a:t@${digest}`]: ['docker.io', 'library/a', 't', digest],
};

for (const [text, [domain, path, tag, expectedDigest]] of Object.entries(parsed)) {
  test(`parse ${text.slice(0, 40)}`, () => {
    assert.deepEqual(parseImageReference(text), { reference: { domain, path, tag, digest: expectedDigest } });
  });
}

const refused: Readonly<Record<string, string>> = {
  '': 'invalid reference format',
  ':x': 'invalid reference format',
  'a b': 'invalid reference format',
  'a:': 'invalid reference format',
  'a/': 'invalid reference format',
  'a@sha256:1': 'invalid reference format',
  [`a@sha256:${'a'.repeat(63)}`]: 'invalid checksum digest length',
  'user/App': 'invalid reference format: repository name (user/App) must be lowercase',
  [`a/${'b'.repeat(260)}`]: 'repository name must not be more than 255 characters',
  ['a'.repeat(64)]: `invalid repository name (${'a'.repeat(64)}), cannot specify 64-byte hexadecimal strings`,
};

for (const [text, error] of Object.entries(refused)) {
  test(`refuse ${JSON.stringify(text.slice(0, 30))}`, () => assert.deepEqual(parseImageReference(text), { error }));
}

const policies: Readonly<Record<string, string>> = {
  nginx: 'Always',
  'nginx:latest': 'Always',
  'nginx:1': 'IfNotPresent',
  [`nginx@${digest}`]: 'IfNotPresent',
  [`nginx:latest@${digest}`]: 'Always',
  '': 'IfNotPresent',
  'A:::': 'IfNotPresent',
};

for (const [image, policy] of Object.entries(policies)) {
  test(`S-109 policy of ${image.slice(0, 30)}`, () => assert.equal(defaultPullPolicy(image), policy));
}

test('L-343 latest is appended, or the reason why not is given', () => {
  assert.deepEqual(withDefaultTag('nginx'), { image: 'nginx:latest' });
  assert.deepEqual(withDefaultTag('localhost:5000/a'), { image: 'localhost:5000/a:latest' });
  assert.deepEqual(withDefaultTag('nginx:1'), { image: 'nginx:1' });
  assert.deepEqual(withDefaultTag('a b'), { error: 'couldn\'t parse image name "a b": invalid reference format' });
});
