// Manifest → what `pinpod get pod NAME -o yaml` and kubectl show of it, every default spelled out (S-099 … S-124), by way of
// the real source, merge, planner and server. UPDATE_GOLDEN=1 rewrites the files beside the manifests.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { decodeManifest } from '../../src/api/decode.ts';
import { AgentClient } from '../../src/cli/client.ts';
import { get } from '../../src/cli/get.ts';
import { planPod } from '../../src/pod/plan.ts';
import { noProbeResults } from '../../src/pod/probe-results.ts';
import { defaultBackoff } from '../../src/pod/restart-policy.ts';
import { emptyMemory } from '../../src/pod/work.ts';
import { PodConfig } from '../../src/podconfig/pod-config.ts';
import { KubeServer } from '../../src/server/kube-server.ts';
import { combine } from '../../src/source/manifest-set.ts';
import { parseFileManifest } from '../../src/source/parse-manifest.ts';
import { silentLogger } from '../../src/std/log.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { fakeViews } from '../support/fake-views.ts';
import { testVersion } from '../support/kube-version.ts';

const folder = path.join(import.meta.dirname, 'manifests');
const { signal } = new AbortController();

/** What the agent shows of a manifest that was just accepted. */
async function shown(file: string, bytes: Uint8Array): Promise<string> {
  const clock = new FakeClock();
  const parsed = parseFileManifest({ nodeName: 'node1' })(bytes, `/etc/pinpod/manifests/${file}`);
  assert.deepEqual(parsed.problems, []);
  const podConfig = new PodConfig({ sources: ['file'] }, { clock });
  const { pods, reports } = combine([{ path: file, outcome: { kind: 'accepted' }, goodPods: parsed.pods }]);
  podConfig.apply({ source: 'file', pods, manifests: reports, readAt: clock.now() });
  const [pod] = podConfig.desired().values();
  assert.ok(pod !== undefined);
  const { status } = planPod({
    pod,
    work: { state: 'sync' },
    observed: { uid: pod.metadata.uid, sandboxes: [], containers: [] },
    probes: noProbeResults,
    memory: { ...emptyMemory, startTime: clock.now() },
    underWay: new Set(),
    now: clock.now(),
    options: { backoff: defaultBackoff, networkError: undefined, runtimeName: 'containerd', hostIps: ['192.0.2.7'], agentStartedAt: 0 },
  });
  const dir = mkdtempSync('/tmp/pinpod-view-');
  const socketPath = path.join(dir, 's');
  const server = new KubeServer(
    { version: testVersion, manifestLocation: folder, socketPath },
    { ...fakeViews([{ ...pod, status }]), health: [], clock, random: { next: () => 0 }, log: silentLogger },
  );
  try {
    await server.start();
    let out = '';
    const io = {
      signal,
      out: async (text: string | Uint8Array) => {
        out += String(text);
      },
      err: async () => undefined,
    };
    const { name, namespace } = pod.metadata;
    const options = { resource: 'pod', name, namespace, allNamespaces: false, watch: false, noHeaders: false, output: 'yaml' } as const;
    assert.equal(await get(options, { client: new AgentClient({ socketPath }), io }), 0);
    return out;
  } finally {
    await server.stop();
    rmSync(dir, { recursive: true });
  }
}

for (const file of readdirSync(folder).filter((name) => name.endsWith('.yaml'))) {
  test(`golden: ${file} → pinpod get pod -o yaml`, async () => {
    const golden = path.join(folder, file.replace('.yaml', '.view.golden'));
    const actual = await shown(file, readFileSync(path.join(folder, file)));
    if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(golden, actual);
    assert.equal(actual, readFileSync(golden, 'utf8'));
  });
}

test('what is printed can be a manifest again: no text becomes a number, a boolean or a time (S-033)', async () => {
  const words = [
    'yes',
    'on',
    'y',
    '0755',
    '1_000',
    '2026-01-01T00:00:00Z',
    '1:30',
    '~',
    'null',
    '.inf',
    '1e3',
    '',
    ' a',
    'a: b',
    '# a',
    'a\nb',
  ];
  const env = words.map((value, i) => ({ name: `E${i}`, value }));
  const spec = { containers: [{ name: 'c', image: 'i', env, args: ['x'.repeat(300), 'a b '.repeat(60)] }] };
  const manifest = JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'words' }, spec });
  const [document] = decodeManifest(Buffer.from(await shown('words.json', Buffer.from(manifest))));
  assert.deepEqual(document?.problems, []);
  assert.deepEqual(document?.pod?.spec.containers[0]?.env, env);
  assert.deepEqual(document?.pod?.spec.containers[0]?.args, spec.containers[0]?.args);
});
