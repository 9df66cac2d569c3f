import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import type { ImageAuth } from '../pod/runtime-config.ts';
import { ConfigError } from '../std/errors.ts';
import { silentLogger } from '../std/log.ts';
import { matchesKey, matchingKeys, normalizeKey } from './credential-match.ts';
import { CredentialPlugins, readCredentialProviders } from './credential-plugins.ts';
import { combineCredentials } from './credentials.ts';
import { DockerConfigCredentials } from './docker-config.ts';

const folder = await mkdtemp(path.join(tmpdir(), 'pinpod-credentials-'));
after(() => rm(folder, { recursive: true, force: true }));
let made = 0;
async function newFolder(files: Readonly<Record<string, string>> = {}): Promise<string> {
  made += 1;
  const dir = path.join(folder, String(made));
  await mkdir(dir);
  for (const [name, text] of Object.entries(files)) await writeFile(path.join(dir, name), text);
  return dir;
}

const signal = new AbortController().signal;

test('keys match by host labels, port and path prefix (L-369)', () => {
  const rows: readonly (readonly [string, string, boolean])[] = [
    ['quay.io', 'quay.io/a/b', true],
    ['quay.io/a', 'quay.io/a/b', true],
    ['quay.io/b', 'quay.io/a/b', false],
    ['https://quay.io/v1/', 'quay.io/a', true],
    ['http://quay.io/v2/a', 'quay.io/a', true],
    ['*.io', 'quay.io/a', true],
    ['*.io', 'my.quay.io/a', false],
    ['*.*.io', 'my.quay.io/a', true],
    ['q*y.io', 'quay.io/a', true],
    ['*', 'localhost/a', true],
    ['quay.io', 'quay.io:443/a', false],
    ['reg:5000', 'reg:5000/a', true],
    ['reg:5000', 'reg:5001/a', false],
    ['qua.(.io', 'quay.io/a', false],
  ];
  for (const [key, repository, expected] of rows) assert.equal(matchesKey(normalizeKey(key), repository), expected, `${key} ${repository}`);
});

test('all matching entries come longest path first; Docker Hub has two names (C-390, L-369)', () => {
  assert.deepEqual(matchingKeys(['quay.io', 'quay.io/a/b', '*.io', 'gcr.io', 'quay.io/a'], 'quay.io/a/b'), [
    'quay.io/a/b',
    'quay.io/a',
    'quay.io',
    '*.io',
  ]);
  assert.deepEqual(matchingKeys(['https://index.docker.io/v1/', 'docker.io/library', 'quay.io'], 'docker.io/library/nginx'), [
    'https://index.docker.io/v1/',
    'docker.io/library',
  ]);
});

const basic = (text: string): string => Buffer.from(text).toString('base64');

test('the first usable docker configuration wins (L-367, L-368)', async () => {
  const config = (auths: unknown): string => JSON.stringify({ auths });
  const entries: readonly (readonly [unknown, ImageAuth | undefined])[] = [
    [{ auth: basic('me:pa:ss') }, { username: 'me', password: 'pa:ss' }],
    [
      { username: 'me', password: 'pw', email: 'x' },
      { username: 'me', password: 'pw' },
    ],
    [
      { auth: basic('me:pw'), identitytoken: 'id' },
      { username: 'me', password: 'pw', identityToken: 'id' },
    ],
    [{ registrytoken: 'reg' }, { registryToken: 'reg' }],
    [{ auth: basic('no colon') }, undefined],
    [{}, undefined],
    ['text', undefined],
  ];
  for (const [entry, expected] of entries) {
    const dir = await newFolder({ 'config.json': config({ 'quay.io': entry }) });
    const source = new DockerConfigCredentials({ configDirs: [dir], legacyDirs: [] }, { clock: new FakeClock(), logger: silentLogger });
    assert.deepEqual(await source.lookup('quay.io/a', { signal }), expected === undefined ? [] : [expected], JSON.stringify(entry));
  }

  const empty = await newFolder();
  const broken = await newFolder({ 'config.json': '{"auths":', '.dockercfg': '{"quay.io":{"username":"old"}}' });
  const good = await newFolder({ 'config.json': config({ 'quay.io': { username: 'good' } }) });
  const later = await newFolder({ 'config.json': config({ 'quay.io': { username: 'later' } }) });
  const find = async (configDirs: readonly string[]): Promise<unknown> => {
    const source = new DockerConfigCredentials({ configDirs, legacyDirs: configDirs }, { clock: new FakeClock(), logger: silentLogger });
    return source.lookup('quay.io/a', { signal });
  };
  assert.deepEqual(await find([empty, broken, good, later]), [{ username: 'good' }]);
  assert.deepEqual(await find([empty, broken]), [{ username: 'old' }]);
  assert.deepEqual(await find([empty]), []);
});

test('the docker configuration is read again after five minutes (L-367)', async () => {
  const dir = await newFolder({ 'config.json': JSON.stringify({ auths: { 'quay.io': { username: 'one' } } }) });
  const clock = new FakeClock();
  const source = new DockerConfigCredentials({ configDirs: [dir], legacyDirs: [] }, { clock, logger: silentLogger });
  const user = async (): Promise<unknown> => (await source.lookup('quay.io/a', { signal }))[0]?.username;
  assert.equal(await user(), 'one');
  await writeFile(path.join(dir, 'config.json'), JSON.stringify({ auths: { 'quay.io': { username: 'two' } } }));
  await clock.advance(299_999);
  assert.equal(await user(), 'one');
  await clock.advance(1);
  assert.equal(await user(), 'two');
});

interface PluginSetUp {
  readonly script: string;
  readonly config?: Readonly<Record<string, unknown>>;
}

/** A plugin that is a shell script; its runs are counted in the file `runs` beside it. */
async function plugin({ script, config = {} }: PluginSetUp) {
  const dir = await newFolder({ get: `#!/bin/sh\necho run >>"$(dirname "$0")/runs"\n${script}\n` });
  await chmod(path.join(dir, 'get'), 0o755);
  const provider = {
    name: 'get',
    matchImages: ['*.io'],
    defaultCacheDuration: '1h',
    apiVersion: 'credentialprovider.kubelet.k8s.io/v1',
    ...config,
  };
  const file = path.join(dir, 'config.yaml');
  const apiVersion = 'kubelet.config.k8s.io/v1';
  await writeFile(file, JSON.stringify({ apiVersion, kind: 'CredentialProviderConfig', providers: [provider] }));
  const clock = new FakeClock();
  const providers = await readCredentialProviders(file);
  const source = new CredentialPlugins({ providers, binDir: dir, environment: { PATH: '/usr/bin:/bin' } }, { clock, logger: silentLogger });
  const runs = async (): Promise<number> => (await readFile(path.join(dir, 'runs'), 'utf8').catch(() => '')).length / 4;
  return { clock, source, runs, dir };
}

function answer(change: Readonly<Record<string, unknown>> = {}): string {
  const response = {
    apiVersion: 'credentialprovider.kubelet.k8s.io/v1',
    kind: 'CredentialProviderResponse',
    cacheKeyType: 'Image',
    auth: { 'quay.io': { username: 'u', password: 'p' } },
    ...change,
  };
  return `cat >/dev/null; echo '${JSON.stringify(response)}'`;
}

test('a plugin is told the image and gives credentials by pattern (L-371)', async () => {
  const { source, dir } = await plugin({
    script: `cat >"$(dirname "$0")/input"; echo "$1 $MORE" >"$(dirname "$0")/context"; ${answer({
      auth: {
        'quay.io': { username: 'wide', password: 'p' },
        'quay.io/a': { username: 'near', password: 'p' },
        'gcr.io': { username: 'no', password: '' },
      },
    })}`,
    config: { args: ['--get'], env: [{ name: 'MORE', value: 'more' }] },
  });
  assert.deepEqual(
    (await source.lookup('quay.io/a', { signal })).map(({ username }) => username),
    ['near', 'wide'],
  );
  assert.deepEqual(JSON.parse(await readFile(path.join(dir, 'input'), 'utf8')), {
    apiVersion: 'credentialprovider.kubelet.k8s.io/v1',
    kind: 'CredentialProviderRequest',
    image: 'quay.io/a',
  });
  assert.equal(await readFile(path.join(dir, 'context'), 'utf8'), '--get more\n');
});

test('answers are kept by image, registry or for all, as long as they say (L-371)', async () => {
  const rows: readonly {
    readonly change: Readonly<Record<string, unknown>>;
    readonly second: string;
    readonly waitMs: number;
    readonly runs: number;
  }[] = [
    { change: { cacheKeyType: 'Image' }, second: 'quay.io/a', waitMs: 3_599_999, runs: 1 },
    { change: { cacheKeyType: 'Image' }, second: 'quay.io/a', waitMs: 3_600_000, runs: 2 },
    { change: { cacheKeyType: 'Image' }, second: 'quay.io/b', waitMs: 0, runs: 2 },
    { change: { cacheKeyType: 'Registry' }, second: 'quay.io/b', waitMs: 0, runs: 1 },
    { change: { cacheKeyType: 'Registry' }, second: 'gcr.io/b', waitMs: 0, runs: 2 },
    { change: { cacheKeyType: 'Global' }, second: 'gcr.io/b', waitMs: 0, runs: 1 },
    { change: { cacheDuration: '0s' }, second: 'quay.io/a', waitMs: 0, runs: 2 },
    { change: { cacheDuration: '1m30s' }, second: 'quay.io/a', waitMs: 89_999, runs: 1 },
    { change: { cacheDuration: '1m30s' }, second: 'quay.io/a', waitMs: 90_000, runs: 2 },
  ];
  for (const { change, second, waitMs, runs } of rows) {
    const set = await plugin({ script: answer(change) });
    await set.source.lookup('quay.io/a', { signal });
    await set.clock.advance(waitMs);
    await set.source.lookup(second, { signal });
    assert.equal(await set.runs(), runs, `${JSON.stringify(change)} ${second} after ${waitMs}`);
  }
});

test('two lookups of one image at once share one run (L-371)', async () => {
  const { source, runs } = await plugin({ script: answer() });
  const both = await Promise.all([source.lookup('quay.io/a', { signal }), source.lookup('quay.io/a', { signal })]);
  assert.deepEqual(both, [[{ username: 'u', password: 'p' }], [{ username: 'u', password: 'p' }]]);
  assert.equal(await runs(), 1);
});

test('a plugin that fails or answers amiss gives no credentials (L-371, L-372)', async () => {
  const rows: readonly (readonly [string, string])[] = [
    ['exit', 'exit 3'],
    ['no JSON', 'echo hello'],
    ['other version', answer({ apiVersion: 'credentialprovider.kubelet.k8s.io/v1beta1' })],
    ['other kind', answer({ kind: 'Secret' })],
    ['no cache key', answer({ cacheKeyType: 'Nothing' })],
  ];
  for (const [name, script] of rows) {
    const { source, runs } = await plugin({ script });
    assert.deepEqual(await source.lookup('quay.io/a', { signal }), [], name);
    assert.equal(await runs(), 1, name);
  }
});

test('a plugin is ended after a minute, whatever it started (L-371)', async () => {
  const { clock, source } = await plugin({ script: 'sleep 5 & wait' });
  const found = source.lookup('quay.io/a', { signal });
  await settle();
  await clock.advance(60_000);
  assert.deepEqual(await found, []);
});

test('a plugin is only run for its images, and not when it needs a service account (L-370)', async () => {
  const other = await plugin({ script: answer() });
  assert.deepEqual(await other.source.lookup('quay.org/a', { signal }), []);
  assert.equal(await other.runs(), 0);
  const bound = await plugin({ script: answer(), config: { tokenAttributes: { requireServiceAccount: true } } });
  assert.deepEqual(await bound.source.lookup('quay.io/a', { signal }), []);
  assert.equal(await bound.runs(), 0);
});

test('configurations that cannot be used are refused; folders are merged (L-370)', async () => {
  const provider = (name: string): unknown => ({
    name,
    matchImages: ['*.io'],
    defaultCacheDuration: '1h',
    apiVersion: 'credentialprovider.kubelet.k8s.io/v1',
  });
  const config = (...providers: unknown[]): string =>
    JSON.stringify({ apiVersion: 'kubelet.config.k8s.io/v1', kind: 'CredentialProviderConfig', providers });
  const merged = await newFolder({ 'b.yaml': config(provider('two')), 'a.json': config(provider('one')), 'notes.txt': '{' });
  assert.deepEqual(
    (await readCredentialProviders(merged)).map(({ name }) => name),
    ['one', 'two'],
  );
  const refused: readonly (readonly [string, string])[] = [
    ['twice', config(provider('one'), provider('one'))],
    ['path as name', config(provider('../one'))],
    ['no provider', config()],
    ['other kind', config(provider('one')).replace('CredentialProviderConfig', 'Other')],
  ];
  for (const [name, text] of refused) {
    const dir = await newFolder({ 'a.yaml': text });
    await assert.rejects(readCredentialProviders(dir), ConfigError, name);
  }
});

test('sources are combined in their order', async () => {
  const one = { lookup: async () => [{ username: 'one' }] };
  const two = { lookup: async () => [{ username: 'two' }] };
  assert.deepEqual(await combineCredentials([one, two]).lookup('quay.io/a', { signal }), [{ username: 'one' }, { username: 'two' }]);
});
