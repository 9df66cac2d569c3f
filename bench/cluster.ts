// The agent at a real kube-apiserver (KUBEBUILDER_ASSETS), on the fake runtime, which costs no time: from a manifest's
// rename to its mirror as a client that watches sees it, and the requests of an agent at rest with 110 Pods. Prints
// figures and asserts nothing. Run: KUBEBUILDER_ASSETS=… npm run bench:cluster -- [manifests] [minutes at rest]
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Pod } from '../src/api/gen/kubernetes.ts';
import { paths } from '../src/mirror/kube-api.ts';
import { systemClock } from '../src/std/clock.ts';
import { envtestMissing, startEnvtest } from '../test/support/envtest.ts';
import { FakeAgent } from '../test/support/fake-agent.ts';
import { freePort } from '../test/support/test-agent.ts';

const [runs = 50, minutes = 10] = process.argv.slice(2).map(Number);
const podCount = 110;
const nodeName = 'node1';

const missing = envtestMissing();
if (missing !== undefined) throw new Error(missing);

const percentile = (values: readonly number[], share: number): string => {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN).toFixed(0);
};

const manifest = (name: string): string =>
  JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec: { containers: [{ name: 'c', image: 'registry/c:1' }] } });

const dir = mkdtempSync(path.join(tmpdir(), 'pinpod-bench-cluster-'));
const env = await startEnvtest();
const metricsPort = await freePort();
const agent = new FakeAgent(
  {
    dir,
    nodeName,
    kubelet: { enableServer: true, address: '127.0.0.1', readOnlyPort: metricsPort },
    agent: { cluster: { kubeconfig: await env.nodeKubeconfig(nodeName) } },
  },
  { clock: systemClock },
);
const stop = new AbortController();

/** When a client that watches first saw a mirror of this name, and when it saw it running. */
const created = new Map<string, number>();
const running = new Map<string, number>();
async function observe(): Promise<void> {
  const { signal } = stop;
  const request = { path: paths.pods, query: {}, timeoutMs: 10_000, idleTimeoutMs: 3_600_000 };
  for await (const { object } of await env.admin.watch(request, { signal })) {
    const { metadata, status } = object as Pod;
    const name = metadata?.name ?? '';
    if (!created.has(name)) created.set(name, Date.now());
    if (status?.phase === 'Running' && !running.has(name)) running.set(name, Date.now());
  }
}

/** Requests to the API server so far, by verb and code. */
async function requests(): Promise<ReadonlyMap<string, number>> {
  const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`, { headers: { connection: 'close' } })).text();
  const found = text.matchAll(/^rest_client_requests_total\{(.*)\} (\d+)$/gm);
  const label = (labels: string, name: string): string => new RegExp(`${name}="([^"]*)"`).exec(labels)?.[1] ?? '';
  return new Map([...found].map(([, labels = '', value]) => [`${label(labels, 'method')} ${label(labels, 'code')}`, Number(value)]));
}

try {
  const observing = observe().catch(() => undefined);
  await agent.start();
  const untilSeen = async (seen: ReadonlyMap<string, number>, name: string): Promise<number> => {
    for (;;) {
      const at = seen.get(`${name}-${nodeName}`);
      if (at !== undefined) return at;
      await delay(1);
    }
  };
  agent.put('first.json', manifest('first'));
  await untilSeen(running, 'first');
  const toMirror: number[] = [];
  const toRunning: number[] = [];
  for (let i = 0; i < runs; i++) {
    const name = `p${i}`;
    const savedAt = Date.now();
    agent.put(`${name}.json`, manifest(name));
    toMirror.push((await untilSeen(created, name)) - savedAt);
    toRunning.push((await untilSeen(running, name)) - savedAt);
    await delay(200);
  }
  console.log(
    `manifest saved → mirror seen by a watch     p50 ${percentile(toMirror, 0.5)} ms  p90 ${percentile(toMirror, 0.9)} ms  n ${runs}`,
  );
  console.log(
    `manifest saved → mirror seen as Running     p50 ${percentile(toRunning, 0.5)} ms  p90 ${percentile(toRunning, 0.9)} ms  n ${runs}`,
  );

  const more = podCount - runs - 1;
  const savedAt = Date.now();
  for (let i = 0; i < more; i++) agent.put(`q${i}.json`, manifest(`q${i}`));
  for (let i = 0; i < more; i++) await untilSeen(running, `q${i}`);
  console.log(`${more} manifests at once → all mirrors Running   ${Date.now() - savedAt} ms`);

  // Beginnings are over, among them the first report of the Node's status.
  await delay(60_000);
  const before = await requests();
  await delay(minutes * 60_000);
  const after = await requests();
  let total = 0;
  for (const [kind, count] of after) {
    const made = count - (before.get(kind) ?? 0);
    total += made;
    if (made > 0) console.log(`  ${kind.padEnd(10)} ${made}`);
  }
  console.log(`at rest with ${podCount} Pods: ${(total / minutes).toFixed(2)} requests a minute over ${minutes} minutes`);
  stop.abort();
  await observing;
} finally {
  await agent.stop();
  await env.close();
  rmSync(dir, { recursive: true, force: true });
}
