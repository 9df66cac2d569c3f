import assert from 'node:assert/strict';
import { test } from 'node:test';
import { canonicalName, withDefaultTag } from './reference.ts';

const digest = `sha256:${'a'.repeat(64)}`;

test('short names and full names of one image are the same', () => {
  const rows: readonly (readonly [string, string])[] = [
    ['nginx', 'docker.io/library/nginx:latest'],
    ['nginx:1.27', 'docker.io/library/nginx:1.27'],
    ['library/nginx', 'docker.io/library/nginx:latest'],
    ['bitnami/redis', 'docker.io/bitnami/redis:latest'],
    ['docker.io/nginx', 'docker.io/library/nginx:latest'],
    ['index.docker.io/library/nginx:latest', 'docker.io/library/nginx:latest'],
    ['localhost/app', 'localhost/app:latest'],
    ['localhost:5000/app:1', 'localhost:5000/app:1'],
    ['registry.k8s.io/pause:3.9', 'registry.k8s.io/pause:3.9'],
    ['Registry/app', 'Registry/app:latest'],
    ['[::1]:5000/app', '[::1]:5000/app:latest'],
    [`nginx@${digest}`, `docker.io/library/nginx@${digest}`],
    [`nginx:1.27@${digest}`, `docker.io/library/nginx@${digest}`],
    [digest, digest],
    ['b'.repeat(64), 'b'.repeat(64)],
  ];
  for (const [name, full] of rows) assert.equal(canonicalName(name), full, name);
});

test('the default tag is appended as text, and only where there is neither tag nor digest (L-343)', () => {
  const rows: readonly (readonly [string, string])[] = [
    ['nginx', 'nginx:latest'],
    ['localhost:5000/app', 'localhost:5000/app:latest'],
    ['nginx:1', 'nginx:1'],
    [`nginx@${digest}`, `nginx@${digest}`],
  ];
  for (const [name, tagged] of rows) {
    const result = withDefaultTag(name);
    assert.equal(result.kind === 'reference' ? result.image : result.error, tagged);
  }
});

test('names that are none (L-343)', () => {
  const rows: readonly (readonly [string, string])[] = [
    ['', 'invalid reference format'],
    ['nginx:', 'invalid reference format'],
    ['a b', 'invalid reference format'],
    ['/nginx', 'invalid reference format'],
    ['docker.io/Nginx', 'invalid reference format: repository name (library/Nginx) must be lowercase'],
    ['nginx@sha256:12', 'invalid reference format'],
    [`nginx@sha256:${'a'.repeat(40)}`, 'invalid checksum digest length'],
    ['b'.repeat(64), `invalid repository name (${'b'.repeat(64)}), cannot specify 64-byte hexadecimal strings`],
    [`a/${'b'.repeat(250)}`, 'repository name must not be more than 255 characters'],
  ];
  for (const [name, error] of rows) {
    const result = withDefaultTag(name);
    assert.deepEqual(result, { kind: 'invalid', error: `couldn't parse image name ${JSON.stringify(name)}: ${error}` });
  }
});
