// The API server's own cost with 110 Pods: the table that `kubectl get pods` asks for, 100 watchers through 1,000
// changes, and the memory of 1,000 idle watches. Prints figures and asserts nothing. Run: npm run bench:server
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { createConnection, type Socket } from 'node:net';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { KubeServer } from '../src/server/kube-server.ts';
import { systemClock } from '../src/std/clock.ts';
import { silentLogger } from '../src/std/log.ts';
import { systemRandom } from '../src/std/random.ts';
import { fakeViews, podOf } from '../test/support/fake-views.ts';
import { testVersion } from '../test/support/kube-version.ts';

const dir = mkdtempSync('/tmp/bench-server-');
const socketPath = path.join(dir, 's.sock');
const podName = (i: number): string => `pod-${String(i).padStart(3, '0')}`;
const views = fakeViews(Array.from({ length: 110 }, (_, i) => podOf({ name: podName(i), labels: { app: 'web' } })));
const server = new KubeServer(
  { version: testVersion, manifestLocation: '/m', socketPath },
  { ...views, health: [], clock: systemClock, random: systemRandom, log: silentLogger },
);
await server.start();

const megabytes = (): number => {
  global.gc?.();
  return process.memoryUsage().rss / 1024 / 1024;
};

function get(target: string): Promise<number> {
  const startedAt = performance.now();
  return new Promise((resolve, reject) => {
    const headers = { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json' };
    request({ socketPath, path: target, headers }, (response) => {
      response.resume();
      response.on('end', () => resolve(performance.now() - startedAt));
    })
      .on('error', reject)
      .end();
  });
}

const times: number[] = [];
for (let i = 0; i < 300; i++) times.push(await get('/api/v1/namespaces/default/pods?limit=500'));
times.sort((a, b) => a - b);
console.log(`table of 110 Pods: p50 ${times[150]?.toFixed(2)} ms, p99 ${times[297]?.toFixed(2)} ms`);

function watch(onData: (data: Buffer) => void): Socket {
  const socket = createConnection(socketPath);
  socket.on('data', onData);
  socket.write('GET /api/v1/pods?watch=true&labelSelector=none HTTP/1.1\r\nHost: x\r\n\r\n');
  return socket;
}

function watchAll(onData: (data: Buffer) => void): Socket {
  const socket = createConnection(socketPath);
  socket.on('data', onData);
  socket.write('GET /api/v1/pods?watch=true HTTP/1.1\r\nHost: x\r\n\r\n');
  return socket;
}

{
  await delay(200);
  const before = megabytes();
  let headers = 0;
  const sockets: Socket[] = [];
  // In portions: the queue of connections not yet accepted has 511 places.
  while (sockets.length < 1000) {
    for (let i = 0; i < 100; i++) {
      sockets.push(
        watch(() => {
          headers += 1;
        }),
      );
    }
    while (headers < sockets.length) await delay(5);
  }
  while (headers < 1000) await delay(5);
  console.log(`1,000 idle watches: ${(((megabytes() - before) * 1024) / 1000).toFixed(1)} KiB each (clients included)`);
  for (const socket of sockets) socket.destroy();
}

{
  const expected = 110 + 1000;
  const counts = Array.from({ length: 100 }, () => 0);
  const before = megabytes();
  const sockets = counts.map((_, i) =>
    watchAll((data) => {
      for (let at = data.indexOf('{"type":'); at >= 0; at = data.indexOf('{"type":', at + 1)) counts[i] = (counts[i] ?? 0) + 1;
    }),
  );
  while (counts.some((count) => count < 110)) await delay(5);
  const startedAt = performance.now();
  const cpuBefore = process.cpuUsage();
  const pods = [...views.pods.list()];
  for (let i = 0; i < 1000; i++) {
    const at = i % pods.length;
    pods[at] = podOf({ name: podName(at), labels: { app: 'web', change: String(i) } });
    views.pods.set([...pods]);
    // One change after the other, as containers report them.
    await new Promise((resolve) => setImmediate(resolve));
  }
  while (counts.some((count) => count < expected)) await delay(5);
  const seconds = (performance.now() - startedAt) / 1000;
  const { user, system } = process.cpuUsage(cpuBefore);
  console.log(
    `100 watchers × 1,000 changes: ${seconds.toFixed(2)} s, ${((user + system) / 1e6).toFixed(2)} s of CPU, memory ${before.toFixed(0)} → ${megabytes().toFixed(0)} MiB (clients included)`,
  );
  for (const socket of sockets) socket.destroy();
}

await server.stop();
rmSync(dir, { recursive: true });
