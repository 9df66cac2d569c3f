// `pinpod get`, `logs` and `manifests` over the unix socket of a running API server.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { AgentClient, type CommandIo } from '../../src/cli/client.ts';
import { type GetOptions, get } from '../../src/cli/get.ts';
import { type LogsOptions, logs } from '../../src/cli/logs.ts';
import { manifests } from '../../src/cli/manifests.ts';
import { KubeServer } from '../../src/server/kube-server.ts';
import { systemClock } from '../../src/std/clock.ts';
import { silentLogger } from '../../src/std/log.ts';
import { systemRandom } from '../../src/std/random.ts';
import { type FakeViews, fakeViews, podOf } from '../support/fake-views.ts';
import { testVersion } from '../support/kube-version.ts';

interface Seen {
  readonly io: CommandIo;
  out: string;
  err: string;
}

function recorder(signal: AbortSignal = new AbortController().signal, onOut: (text: string) => void = () => undefined): Seen {
  const decode = (text: string | Uint8Array): string => (typeof text === 'string' ? text : Buffer.from(text).toString());
  const seen: Seen = {
    out: '',
    err: '',
    io: {
      signal,
      out: async (text) => {
        seen.out += decode(text);
        onOut(seen.out);
      },
      err: async (text) => {
        seen.err += decode(text);
      },
    },
  };
  return seen;
}

const getPods: GetOptions = { resource: 'pods', namespace: 'default', allNamespaces: false, watch: false, noHeaders: false };
const webLogs: LogsOptions = { pod: 'web', namespace: 'default', follow: false, previous: false, timestamps: false, allContainers: false };

describe('the command line over the socket', () => {
  let dir = '';
  let views: FakeViews;
  let server: KubeServer;
  let client: AgentClient;
  before(async () => {
    dir = await mkdtemp('/tmp/cli-');
    views = fakeViews([podOf({ labels: { app: 'web' } }), podOf({ name: 'db', namespace: 'data', status: { phase: 'Pending' } })]);
    const logPath = path.join(dir, '0.log');
    await writeFile(logPath, '2026-01-01T00:00:00Z stdout F hello\n2026-01-01T00:00:01Z stdout F world\n');
    views.runtime.containers.set('c-id', { id: 'c-id', running: true, logPath });
    const socketPath = path.join(dir, 's.sock');
    server = new KubeServer(
      { version: testVersion, manifestLocation: '/m', socketPath },
      { ...views, health: [], clock: systemClock, random: systemRandom, log: silentLogger },
    );
    await server.start();
    client = new AgentClient({ socketPath });
  });
  after(async () => {
    await server.stop();
    await rm(dir, { recursive: true });
  });

  test("get pods prints kubectl's columns", async () => {
    const seen = recorder();
    assert.equal(await get(getPods, { client, io: seen.io }), 0);
    assert.match(seen.out, /^NAME {8}READY {3}STATUS {4}RESTARTS {3}AGE\nweb-node1 {3}1\/1 {5}Running {3}0 {10}\d+s\n$/);
    const all = recorder();
    await get({ ...getPods, resource: 'po', allNamespaces: true, output: 'wide' }, { client, io: all.io });
    assert.match(
      all.out,
      /^NAMESPACE +NAME[^\n]+READINESS GATES\ndata +db-node1[^\n]+\ndefault +web-node1[^\n]+10\.1\.0\.2 +node1 +<none> +<none>\n$/,
    );
    const named = recorder();
    await get({ ...getPods, selector: 'app=web', output: 'name' }, { client, io: named.io });
    assert.equal(named.out, 'pod/web-node1\n');
    const yaml = recorder();
    await get({ ...getPods, name: 'web-node1', output: 'yaml' }, { client, io: yaml.io });
    assert.match(yaml.out, /^kind: Pod$/m);
  });

  test('get says what is not there', async () => {
    const seen = recorder();
    assert.equal(await get({ ...getPods, namespace: 'empty' }, { client, io: seen.io }), 0);
    assert.equal(seen.err, 'No resources found in empty namespace.\n');
    await assert.rejects(get({ ...getPods, name: 'nope' }, { client, io: seen.io }), {
      message: 'pods "nope" not found',
      httpCode: 404,
      reason: 'NotFound',
    });
    await assert.rejects(get({ ...getPods, resource: 'deploy' }, { client, io: seen.io }), { code: 'command-failed' });
  });

  test('get --watch follows changes', async () => {
    const abort = new AbortController();
    let changed = false;
    const seen = recorder(abort.signal, (out) => {
      if (/web-node1 .*Succeeded/.test(out)) abort.abort();
      else if (!changed) {
        changed = true;
        const change = async (): Promise<void> => {
          while (views.pods.subscribers === 0) await new Promise((resolve) => setTimeout(resolve, 5));
          views.pods.set([podOf({ labels: { app: 'web' }, status: { phase: 'Succeeded' } })]);
        };
        changing = change();
      }
    });
    let changing: Promise<void> | undefined;
    const before = views.pods.list();
    await assert.rejects(get({ ...getPods, watch: true }, { client, io: seen.io }), (error: Error) => error.name === 'AbortError');
    await changing;
    views.pods.set(before);
  });

  test("logs, by the manifest's name too", async () => {
    const seen = recorder();
    await logs(webLogs, { client, io: seen.io });
    await logs({ ...webLogs, pod: 'web-node1', tail: 1, timestamps: true }, { client, io: seen.io });
    assert.equal(seen.out, 'hello\nworld\n2026-01-01T00:00:01.000000000Z world\n');
    await assert.rejects(logs({ ...webLogs, pod: 'nope' }, { client, io: seen.io }), {
      message: 'pods "nope" not found in namespace "default"',
    });
    await assert.rejects(logs({ ...webLogs, container: 'x' }, { client, io: seen.io }), /container x is not valid for pod web-node1/);
    await assert.rejects(
      logs({ ...webLogs, previous: true }, { client, io: seen.io }),
      /previous terminated container "c" in pod "web-node1" not found/,
    );
  });

  test('manifests: every verdict, with place and reason', async () => {
    views.manifests.places.push(
      { source: 'file', location: '/m', readAt: 0 },
      { source: 'http', location: 'http://x', readAt: undefined, fault: 'connection refused' },
    );
    const empty = recorder();
    assert.equal(await manifests({}, { client, io: empty.io }), 1);
    assert.equal(empty.err, 'http://x: connection refused; its last good Pods keep running\nNo manifests found in /m, http://x.\n');
    views.manifests.list.push(
      { source: 'file', path: '/m/web.yaml', pod: 'default/web-node1', verdict: { kind: 'accepted' } },
      { source: 'file', path: '/m/late.yaml', pod: 'default/l-node1', verdict: { kind: 'accepted', waiting: 'OutOfpods: none left' } },
      {
        source: 'file',
        path: '/m/bad.yaml',
        pod: 'default/bad-node1',
        verdict: {
          kind: 'rejected',
          keptPods: true,
          problems: [{ line: 3, column: 7, field: 'spec.containers[0].image', message: 'Required value' }],
        },
      },
      { source: 'file', path: '/m/web2.yaml', pod: 'default/web-node1', verdict: { kind: 'shadowed', by: '/m/web.yaml' } },
      { source: 'file', path: '/m/x~', verdict: { kind: 'ignored', why: 'editor backup' } },
    );
    const seen = recorder();
    assert.equal(await manifests({}, { client, io: seen.io }), 1);
    assert.equal(
      seen.out,
      [
        'MANIFEST       POD                 VERDICT    DETAIL',
        '/m/web.yaml    default/web-node1   accepted',
        '/m/late.yaml   default/l-node1     accepted   OutOfpods: none left',
        '/m/bad.yaml    default/bad-node1   rejected   1 problem; the last good version keeps running',
        '/m/web2.yaml   default/web-node1   shadowed   the same Pod comes from /m/web.yaml',
        '/m/x~          <none>              ignored    editor backup',
        '/m/bad.yaml:3:7: spec.containers[0].image: Required value',
        '',
      ].join('\n'),
    );
    const json = recorder();
    await manifests({ output: 'json' }, { client, io: json.io });
    assert.equal(JSON.parse(json.out).manifests.length, 5);
  });

  test('without an agent, the message says what to do', async () => {
    const none = new AgentClient({ socketPath: path.join(dir, 'none.sock') });
    await assert.rejects(get(getPods, { client: none, io: recorder().io }), /no agent is running here .*start one with `pinpod run`/);
  });
});
