// `pinpod diff` from the command line to the planner and back: a real folder, the real merge of sources, a real server on
// its socket; only what the runtime has is made up.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { diffView } from '../../src/agent/diff-view.ts';
import { allContainers, type Pod } from '../../src/api/pod.ts';
import { AgentClient } from '../../src/cli/client.ts';
import { type DiffArgs, diff } from '../../src/cli/diff.ts';
import type { ObservedPod } from '../../src/pod/observation.ts';
import { defaultBackoff } from '../../src/pod/restart-policy.ts';
import { PodConfig } from '../../src/podconfig/pod-config.ts';
import { KubeServer } from '../../src/server/kube-server.ts';
import { FileSource } from '../../src/source/file.ts';
import { realFileSystem } from '../../src/source/file-system.ts';
import { noLastGood } from '../../src/source/last-good.ts';
import { parseFileManifest } from '../../src/source/parse-manifest.ts';
import { StatusStore } from '../../src/status/status-store.ts';
import { Shutdown } from '../../src/std/async.ts';
import { systemClock } from '../../src/std/clock.ts';
import { RuntimeError } from '../../src/std/errors.ts';
import { silentLogger } from '../../src/std/log.ts';
import { systemRandom } from '../../src/std/random.ts';
import { fakeViews } from '../support/fake-views.ts';
import { testVersion } from '../support/kube-version.ts';
import { recordOf } from '../support/plans.ts';
import { observedSandbox } from '../support/pods.ts';

interface Change {
  readonly image?: string;
  readonly uid?: string;
  readonly env?: string;
}

/** One container named as the Pod. */
function manifest(name: string, { image = 'nginx:1', uid, env = 'a' }: Change = {}): string {
  const metadata = { name, ...(uid === undefined ? {} : { uid }) };
  const containers = [{ name, image, env: [{ name: 'E', value: env }] }];
  return JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata, spec: { containers } });
}

/** Everything of it runs. */
function running(pod: Pod): ObservedPod {
  const { name, namespace, uid } = pod.metadata;
  const containers = allContainers(pod.spec).map((container) => recordOf(container, { podUid: uid }));
  return { uid, sandboxes: [observedSandbox({ name, namespace, podUid: uid })], containers };
}

describe('pinpod diff', () => {
  let dir = '';
  let folder = '';
  let server: KubeServer;
  let bare: KubeServer;
  const stop = new AbortController();
  let isRuntimeSilent = false;
  let refusal: { readonly reason: string; readonly message: string } | undefined;

  before(async () => {
    dir = mkdtempSync('/tmp/pinpod-diff-');
    folder = path.join(dir, 'manifests');
    mkdirSync(folder);
    writeFileSync(path.join(folder, 'web.yaml'), manifest('web'));
    writeFileSync(path.join(folder, 'db.yaml'), manifest('db', { uid: 'db-1' }));
    const clock = systemClock;
    const source = new FileSource(
      { path: folder, fileCheckFrequencyMs: 3_600_000, sourceFaultPolicy: 'keep', quietMs: 0 },
      { parse: parseFileManifest({ nodeName: 'n1' }), fileSystem: realFileSystem, lastGood: noLastGood, clock, log: silentLogger },
    );
    const podConfig = new PodConfig({ sources: ['file'] }, { clock });
    for await (const snapshot of source.snapshots({ signal: stop.signal })) {
      podConfig.apply(snapshot);
      if (podConfig.desired().size === 2) break;
    }
    const view = (isThere: boolean) =>
      diffView({
        folder: () => (isThere ? { source, path: folder } : undefined),
        ...{ podConfig, clock, status: new StatusStore({ clock }) },
        observe: async (uid) => {
          if (isRuntimeSilent) throw new RuntimeError('unavailable', 'the runtime does not answer', { retry: 'backoff' });
          const pod = podConfig.desired().get(uid);
          return pod === undefined ? { uid, sandboxes: [], containers: [] } : running(pod);
        },
        refusalOf: () => refusal,
        planOptions: () => ({ backoff: defaultBackoff, networkError: undefined, runtimeName: 'fake', hostIps: [], agentStartedAt: 0 }),
      });
    const deps = { ...fakeViews([]), health: [], clock, random: systemRandom, log: silentLogger };
    server = new KubeServer(
      { version: testVersion, manifestLocation: folder, socketPath: path.join(dir, 's') },
      { ...deps, diff: view(true) },
    );
    bare = new KubeServer({ version: testVersion, manifestLocation: '', socketPath: path.join(dir, 'b') }, { ...deps, diff: view(false) });
    await server.start();
    await bare.start();
  });
  after(async () => {
    stop.abort(new Shutdown());
    await server.stop();
    await bare.stop();
    rmSync(dir, { recursive: true });
  });

  async function run(args: Partial<DiffArgs>, { stdin = '', socket = 's' } = {}) {
    let out = '';
    let err = '';
    const io = {
      signal: stop.signal,
      out: async (text: string | Uint8Array) => {
        out += String(text);
      },
      err: async (text: string | Uint8Array) => {
        err += String(text);
      },
      stdin: async () => Buffer.from(stdin),
    };
    const code = await diff({ paths: [], prune: false, ...args }, { client: new AgentClient({ socketPath: path.join(dir, socket) }), io });
    return { code, out: out.replaceAll(dir, ''), err: err.replaceAll(dir, '') };
  }
  const proposal = (name: string, text: string): string => {
    const file = path.join(dir, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, text);
    return file;
  };

  test('the folder as it is: nothing, exit code 0', async () => {
    assert.deepEqual(await run({ paths: [folder] }), { code: 0, out: '', err: '' });
  });

  test('another version of a manifest, kept elsewhere under another name: the Pod is replaced', async () => {
    const { code, out, err } = await run({ paths: [proposal('new/web-v2.yaml', manifest('web', { image: 'nginx:2' }))] });
    assert.equal(err, '');
    assert.equal(
      out,
      `default/web-n1: replaced (/manifests/web.yaml)
  the manifest does not fix metadata.uid, so a changed one is another Pod: the running one is stopped within 30 s of grace
  - spec.containers[web].image: "nginx:1"
  + spec.containers[web].image: "nginx:2"
  container web: restarted
`,
    );
    assert.equal(code, 1);
  });

  test('a fixed UID, by standard input: the container restarts in its Pod', async () => {
    const { code, out } = await run({ paths: ['-'] }, { stdin: manifest('db', { uid: 'db-1', image: 'nginx:2' }) });
    assert.match(out, /^default\/db-n1: updated \(\/manifests\/db.yaml\)$/m);
    assert.match(out, /^ {2}container db: restarted \(Container db definition changed, will be restarted\)$/m);
    assert.equal(code, 1);
  });

  test('a fixed UID and another field: it waits for the next start', async () => {
    const { out } = await run({ paths: ['-'] }, { stdin: manifest('db', { uid: 'db-1', env: 'b' }) });
    assert.match(out, /^ {2}- spec.containers\[db\].env\[E\].value: "a"\n {2}\+ spec.containers\[db\].env\[E\].value: "b"$/m);
    assert.match(out, /^ {2}container db: kept \(its new definition counts from its next start\)$/m);
  });

  test('a new Pod, and why it would not be admitted', async () => {
    refusal = { reason: 'OutOfcpu', message: 'Node didn’t have enough resource: cpu' };
    const { code, out } = await run({ paths: [proposal('new/cache.yaml', manifest('cache'))] });
    refusal = undefined;
    assert.equal(code, 1);
    assert.match(
      out,
      /^default\/cache-n1: new \(\/manifests\/cache.yaml\)\n {2}it would not be admitted now: OutOfcpu: .*\n {2}container cache: started\n$/,
    );
  });

  test('a folder adds to what is there; with --prune it takes its place', async () => {
    const other = path.dirname(proposal('other/db.yaml', manifest('db', { uid: 'db-1' })));
    assert.deepEqual(await run({ paths: [other] }), { code: 0, out: '', err: '' });
    const pruned = await run({ paths: [other], prune: true });
    assert.equal(pruned.code, 1);
    assert.match(pruned.out, /^default\/web-n1: removed \(\/manifests\/web.yaml\)\n[^\n]*\n {2}container web: stopped\n$/);
  });

  test('JSON has the verdicts, and the Pods that stay as they are', async () => {
    const { code, out } = await run({ paths: [path.join(folder, 'web.yaml')], output: 'json' });
    assert.equal(code, 0);
    assert.deepEqual(JSON.parse(out), {
      manifests: [
        { path: '/manifests/web.yaml', pod: 'default/web-n1', verdict: { kind: 'accepted' }, source: 'file', given: '/manifests/web.yaml' },
      ],
      pods: [{ pod: 'default/web-n1', manifest: '/manifests/web.yaml', change: 'unchanged', reasons: [], fields: [], containers: [] }],
    });
  });

  test('a manifest that cannot be used: its problems, exit code 2', async () => {
    const { code, out, err } = await run({
      paths: [proposal('new/web.yaml', '{"apiVersion":"v1","kind":"Pod",\n"metadata":{"name":"web"},"spec":{}}')],
    });
    assert.equal(code, 2);
    assert.equal(out, '');
    assert.equal(err, '/new/web.yaml:2:27: spec.containers: Required value\n/new/web.yaml: the last good version would keep running\n');
  });

  test('a Pod that another file has (S-025)', async () => {
    const shadow = path.join(folder, 'zz.yaml');
    writeFileSync(shadow, manifest('web'));
    const shadowed = await run({ paths: [shadow] });
    rmSync(shadow);
    assert.deepEqual(shadowed, {
      code: 0,
      out: '',
      err: '/manifests/zz.yaml: without effect: the same Pod comes from /manifests/web.yaml\n',
    });
  });

  test('what cannot be told has the exit code 2', async () => {
    const rows: readonly (readonly [string, Awaited<ReturnType<typeof run>>, RegExp])[] = [
      ['a missing file', await run({ paths: [path.join(dir, 'nowhere')] }), /^error: \/nowhere: no such file or folder\n$/],
      ['no agent', await run({ paths: ['-'] }, { socket: 'none' }), /^error: no agent is running here/],
      ['no folder of manifests', await run({ paths: ['-'] }, { socket: 'b' }), /^error: the agent has no folder of manifests/],
    ];
    for (const [name, seen, pattern] of rows) {
      assert.equal(seen.code, 2, name);
      assert.match(seen.err, pattern, name);
    }
    isRuntimeSilent = true;
    const silent = await run({ paths: ['-'] }, { stdin: manifest('web') });
    isRuntimeSilent = false;
    assert.deepEqual(silent, { code: 2, out: '', err: 'error: the runtime does not answer\n' });
  });
});
