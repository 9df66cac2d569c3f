// Weeks of an agent in minutes: the whole agent on the fake runtime and a fake clock, with Pods that crash, Pods that are
// edited, and somebody who watches. Prints the live heap for each simulated hour and fails when it grows.
// Run: npm run bench:soak -- [hours] [Pods]
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { getHeapStatistics, setFlagsFromString, writeHeapSnapshot } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { FakeAgent } from '../test/support/fake-agent.ts';
import { FakeClock, settle } from '../test/support/fake-clock.ts';

const [hours = 24, pods = 110] = process.argv.slice(2).map(Number);
/** The first hours fill what is bounded: events, the history of watches, caches of the engine itself. */
const warmUpHours = Math.min(3, Math.floor(hours / 2));
const allowedGrowthMiB = 2;
const stepMs = 10_000;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

function liveMiB(): number {
  collect();
  collect();
  return getHeapStatistics().used_heap_size / 2 ** 20;
}

const manifest = (name: string, revision: number): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { app: name } },
    spec: {
      terminationGracePeriodSeconds: 1,
      containers: ['main', 'side'].map((container) => ({
        name: container,
        image: 'example.org/app:1',
        imagePullPolicy: 'IfNotPresent',
        env: [{ name: 'REVISION', value: String(revision) }],
        readinessProbe: { exec: { command: ['true'] }, periodSeconds: 60 },
      })),
    },
  });

const dir = mkdtempSync(path.join(tmpdir(), 'pinpod-soak-'));
const clock = new FakeClock();
const agent = new FakeAgent({ dir }, { clock });

/** Time for real work (files, sockets) that the fake clock knows nothing of. */
async function breathe(turns: number): Promise<void> {
  for (let i = 0; i < turns; i++) await settle();
}

/** As kubectl get -w does it; what it is told is thrown away. */
function watch(target: string): () => void {
  const watching = request({ socketPath: path.join(agent.runDir, 'pinpod.sock'), path: target, agent: false }, (response) =>
    response.on('error', () => undefined).resume(),
  );
  watching.on('error', () => undefined).end();
  return () => watching.destroy();
}

let seed = 1;
/** The same accidents in every run. */
function chance(): number {
  seed = (seed * 48_271) % 2_147_483_647;
  return seed / 2_147_483_647;
}

try {
  for (let i = 0; i < pods; i++) agent.put(`pod-${i}.json`, manifest(`pod-${i}`, 0));
  const started = agent.start();
  for (let isUp = false; !isUp; ) {
    await clock.advance(100);
    isUp = await Promise.race([started.then(() => true), breathe(1).then(() => false)]);
  }
  const ends = [watch('/api/v1/pods?watch=true'), watch('/api/v1/events?watch=true')];
  let restarts = 0;
  let edits = 0;
  let baseline: number | undefined;
  console.log('hour   restarts   edits   live heap   resident');
  for (let hour = 1; hour <= hours; hour++) {
    for (let at = 0; at < 3_600_000; at += stepMs) {
      for (const container of agent.runtime.snapshot().containers) {
        if (container.state !== 'running' || chance() > 1 / 100) continue;
        agent.runtime.exit(container.id, chance() < 0.5 ? 1 : 0);
        restarts++;
      }
      if (chance() < 1 / 6) {
        const name = `pod-${Math.floor(chance() * pods)}`;
        agent.put(`${name}.json`, manifest(name, ++edits));
      }
      agent.runtime.clearCalls();
      await clock.advance(stepMs);
      await breathe(2);
    }
    const live = liveMiB();
    if (hour === warmUpHours) baseline = live;
    console.log(
      [
        String(hour).padStart(4),
        String(restarts).padStart(10),
        String(edits).padStart(7),
        `${live.toFixed(2)} MiB`.padStart(11),
        `${(process.memoryUsage().rss / 2 ** 20).toFixed(0)} MiB`.padStart(10),
      ].join(' '),
    );
    if (process.env['SOAK_SNAPSHOTS'] !== undefined && (hour === warmUpHours || hour === hours))
      writeHeapSnapshot(path.join(process.env['SOAK_SNAPSHOTS'], `soak-${hour}.heapsnapshot`));
  }
  for (const end of ends) end();
  const growth = liveMiB() - (baseline ?? Number.NaN);
  console.log(`growth since hour ${warmUpHours}: ${growth.toFixed(2)} MiB (allowed ${allowedGrowthMiB})`);
  if (!(growth < allowedGrowthMiB)) process.exitCode = 1;
} finally {
  const stopping = agent.stop();
  for (let i = 0; i < 50; i++) await clock.advance(1000);
  await stopping;
  rmSync(dir, { recursive: true, force: true });
}
