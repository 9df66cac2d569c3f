import assert from 'node:assert/strict';
import { chmod, chown, lstat, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { parse, stringify } from 'yaml';
import { kubeconfig, mergeKubeconfig as merge } from './kubeconfig.ts';

const added = `apiVersion: v1
kind: Config
clusters:
- name: "pinpod"
  cluster: {server: "https://127.0.0.1:6443"}
users:
- name: "pinpod"
  user: {client-key-data: "new"}
contexts:
- name: "pinpod"
  context: {cluster: "pinpod", user: "pinpod"}
current-context: "pinpod"
`;

const own = `# mine
apiVersion: v1
kind: Config
clusters:
- name: work
  cluster: {server: "https://work"}
- name: pinpod
  cluster: {server: "https://old"}
users:
- name: work
  user: {token: t}
current-context: work
`;

const mergeKubeconfig = (text: string, more: string, use: boolean): string => merge({ path: '/home/me/.kube/config', text }, more, use);

test("an empty file becomes the agent's", () => {
  const { clusters, 'current-context': current } = parse(mergeKubeconfig('', added, false));
  assert.deepEqual([clusters.length, clusters[0].name, current], [1, 'pinpod', 'pinpod']);
});

test('other entries, comments and the current context stay; an older entry of ours is replaced', () => {
  const text = mergeKubeconfig(own, added, false);
  assert.match(text, /^# mine\n/);
  const value = parse(text);
  assert.deepEqual(
    value.clusters.map((c: { name: string; cluster: { server: string } }) => [c.name, c.cluster.server]),
    [
      ['work', 'https://work'],
      ['pinpod', 'https://127.0.0.1:6443'],
    ],
  );
  assert.deepEqual([value.users.length, value.contexts.length, value['current-context']], [2, 1, 'work']);
  assert.equal(parse(mergeKubeconfig(own, added, true))['current-context'], 'pinpod');
  assert.equal(mergeKubeconfig(text, added, false), text, 'twice is once');
});

const broken: readonly (readonly [what: string, text: string, why: RegExp])[] = [
  ['a list', '- a list', /it is no kubeconfig$/],
  ['no YAML', 'a: {', /it is no valid YAML: .*at line 1/],
  ['a key twice', 'users: []\nusers: []\n', /it is no valid YAML: Map keys must be unique at line 2/],
  ['two documents', 'a: 1\n---\nb: 2\n', /it is no valid YAML: Source contains multiple documents/],
  ['a Pod', 'kind: Pod\n', /it is no kubeconfig$/],
  ['users that are none', 'users: {a: b}\n', /users is no list$/],
  ['a text', 'hello', /it is no kubeconfig$/],
];
for (const [what, text, why] of broken) {
  test(`${what} is left alone`, () => {
    assert.throws(
      () => mergeKubeconfig(text, added, false),
      (error: Error & { code?: string }) =>
        error.code === 'command-failed' && why.test(error.message) && error.message.startsWith('/home/me/.kube/config is left as it is: '),
    );
  });
}

test('what kubectl writes for an empty configuration, also as JSON, is a kubeconfig', () => {
  const empty = { apiVersion: 'v1', kind: 'Config', clusters: null, contexts: null, 'current-context': '', preferences: {}, users: null };
  for (const text of [JSON.stringify(empty), stringify(empty)]) {
    const value = parse(mergeKubeconfig(text, added, false));
    assert.deepEqual([value.clusters.length, value.users.length, value.contexts.length, value['current-context']], [1, 1, 1, 'pinpod']);
  }
});

test("--merge keeps a file's mode, its owner and the link that leads to it; a new one is the caller's alone", async () => {
  const dir = await mkdtemp('/tmp/merge-');
  try {
    const at = (name: string): string => path.join(dir, name);
    await writeFile(at('agents'), added);
    const said: string[] = [];
    const io = { signal: new AbortController().signal, out: async () => undefined, err: async (text: string) => void said.push(text) };
    const into = (name: string): Promise<number> => kubeconfig({ path: at('agents'), mergeInto: at(name), use: false }, { io });
    assert.equal(await into('.kube/config'), 0);
    assert.deepEqual([(await stat(at('.kube'))).mode & 0o777, (await stat(at('.kube/config'))).mode & 0o777], [0o700, 0o600]);
    assert.match(said[0] ?? '', /^Context "pinpod" is in .*\.kube\/config; use it with: kubectl --context pinpod get pods\n$/);
    await writeFile(at('real'), own);
    await chmod(at('real'), 0o640);
    const isRoot = process.getuid?.() === 0;
    if (isRoot) await chown(at('real'), 65_534, 65_534);
    await symlink('real', at('link'));
    assert.equal(await into('link'), 0);
    const { mode, uid, gid } = await stat(at('real'));
    assert.deepEqual([mode & 0o777, (await lstat(at('link'))).isSymbolicLink()], [0o640, true]);
    if (isRoot) assert.deepEqual([uid, gid], [65_534, 65_534]);
    assert.match(await readFile(at('real'), 'utf8'), /name: "?pinpod/);
    await writeFile(at('broken'), '{');
    await assert.rejects(into('broken'), { code: 'command-failed' });
    assert.equal(await readFile(at('broken'), 'utf8'), '{');
    await assert.rejects(into('agents/config'), /cannot (read|write) .*: ENOTDIR/);
    await assert.rejects(kubeconfig({ path: at('none'), use: false }, { io }), /none does not exist: the agent writes it when it starts/);
    assert.deepEqual((await readdir(dir)).sort(), ['.kube', 'agents', 'broken', 'link', 'real']);
  } finally {
    await rm(dir, { recursive: true });
  }
});
