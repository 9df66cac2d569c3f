import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from 'yaml';
import { mergeKubeconfig } from './kubeconfig.ts';

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

test('what is no kubeconfig is not touched', () => {
  assert.throws(() => mergeKubeconfig('- a list', added, false), { code: 'command-failed' });
  assert.throws(() => mergeKubeconfig('{', added, false), { code: 'command-failed' });
});
