// 500 probes a second against servers on the loopback, for 20 seconds (C-331): false failures, latency, CPU and memory of
// the prober's process. Prints figures and asserts nothing. Run: npm run bench:probes -- [probes per second] [seconds]
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer as createHttp } from 'node:http';
import { type AddressInfo, createServer as createTcp } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Probe } from '../src/api/gen/kubernetes.ts';
import { Prober } from '../src/prober/prober.ts';
import { systemClock } from '../src/std/clock.ts';
import { silentLogger } from '../src/std/log.ts';
import { noMetrics } from '../src/std/metrics.ts';
import { systemRandom } from '../src/std/random.ts';
import { healthAnswer, serveHealth } from '../test/support/grpc-health.ts';
import { buildContainer, buildPod, observedContainer, observedPod, RecordedEvents } from '../test/support/pods.ts';

interface Ports {
  readonly http: number;
  readonly tcp: number;
  readonly grpc: number;
}

async function serve(): Promise<Ports> {
  const http = createHttp((_, response) => response.end('ok')).listen(0, '127.0.0.1');
  const tcp = createTcp((socket) => socket.on('error', () => undefined)).listen(0, '127.0.0.1');
  await Promise.all([once(http, 'listening'), once(tcp, 'listening')]);
  const { port } = await serveHealth((_, done) => done(null, healthAnswer(1)), '127.0.0.1');
  return { http: (http.address() as AddressInfo).port, tcp: (tcp.address() as AddressInfo).port, grpc: port };
}

async function measure(ports: Ports, perSecond: number, seconds: number): Promise<void> {
  const durations: number[] = [];
  const results = new Map<string, number>();
  const events = new RecordedEvents();
  let killed = 0;
  const prober = new Prober(
    { agentStartedAt: systemClock.now() },
    {
      // What containerd needs for the smallest command (runtime notes, section 4).
      runtime: {
        execSync: async (_, { signal }) => {
          await systemClock.sleep(50, signal);
          return { exitCode: 0, stdout: new Uint8Array(), stderr: new Uint8Array() };
        },
      },
      clock: systemClock,
      random: systemRandom,
      events,
      logger: silentLogger,
      metrics: {
        ...noMetrics,
        counter: () => ({
          inc: ({ result = '' } = {}) => results.set(result, (results.get(result) ?? 0) + 1),
          remove: () => undefined,
        }),
        histogram: () => ({ observe: (value) => durations.push(value * 1000), remove: () => undefined }),
      },
      nodeAddress: () => '127.0.0.1',
      onResult: (uid) => {
        for (const { liveness } of prober.results(uid).byContainerId.values()) if (liveness === 'failure') killed += 1;
      },
    },
  );
  const probes: readonly Probe[] = [
    { httpGet: { port: ports.http, path: '/healthz' } },
    { tcpSocket: { port: ports.tcp } },
    { exec: { command: ['true'] } },
    { httpGet: { port: ports.http, path: '/healthz' } },
    { grpc: { port: ports.grpc } },
  ];
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  const cpu = process.cpuUsage();
  const startedAt = systemClock.now() - 60_000;
  for (let i = 0; i < perSecond; i++) {
    const livenessProbe: Probe = { ...probes[i % probes.length], periodSeconds: 1, timeoutSeconds: 1, failureThreshold: 3 };
    const pod = buildPod({ hostNetwork: true, containers: [buildContainer({ livenessProbe })] }, { uid: `uid-${i}` });
    prober.sync(pod, observedPod({ containers: [observedContainer({ id: `c${i}`, startedAt })] }), undefined);
  }
  await systemClock.sleep(seconds * 1000, new AbortController().signal);
  const used = process.cpuUsage(cpu);
  const rssMiB = process.memoryUsage().rss / 1024 / 1024;
  await prober.close();

  durations.sort((a, b) => a - b);
  const at = (share: number): string => `${Math.round(durations[Math.floor((durations.length - 1) * share)] ?? 0)} ms`;
  const report = {
    probes: durations.length,
    'probes a second': (durations.length / seconds).toFixed(0),
    results: Object.fromEntries(results),
    'containers that would be killed': killed,
    failures: [...new Set(events.lines)].slice(0, 5),
    'latency p50 / p90 / p99 / max': `${at(0.5)} / ${at(0.9)} / ${at(0.99)} / ${at(1)}`,
    'CPU of one core': `${((used.user + used.system) / 10_000 / seconds).toFixed(0)} %`,
    'event loop delay p99': `${(delay.percentile(99) / 1e6).toFixed(0)} ms`,
    RSS: `${rssMiB.toFixed(0)} MiB`,
  };
  for (const [name, value] of Object.entries(report))
    console.log(`${name.padEnd(32)}${typeof value === 'string' ? value : JSON.stringify(value)}`);
}

if (process.send !== undefined) {
  process.send(await serve());
} else {
  const [perSecond = 500, seconds = 20] = process.argv.slice(2).map(Number);
  // The servers have a process of their own, so that the figures are the prober's, which runs with the agent's flags.
  const servers = fork(new URL(import.meta.url), { execArgv: [] });
  try {
    const [ports] = (await once(servers, 'message')) as [Ports];
    await measure(ports, perSecond, seconds);
  } finally {
    servers.kill();
  }
}
