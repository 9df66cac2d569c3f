// How long from a manifest's rename to its process running, and from a kill to the restart, beside the floor: the same
// CRI calls on the same idle containerd without an agent. Then the agent's CPU and memory at rest. Prints figures and
// asserts nothing. Run: npm run bench -- [runs] [seconds at rest]
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { criKeys } from '../src/pod/observation.ts';
import { CriRuntime } from '../src/runtime/cri/cri-runtime.ts';
import { systemClock } from '../src/std/clock.ts';
import { silentLogger } from '../src/std/log.ts';
import { containerConfig, sandboxConfig } from '../test/compliance/builders.ts';
import { offlineImages, startContainerd, type TestContainerd } from '../test/support/containerd.ts';
import { benchSpec, endAgent, percentile, row, startAgent, usageOf } from './agent.ts';

const [runs = 20, restSeconds = 30] = process.argv.slice(2).map(Number);
const { signal } = new AbortController();
let agent: ChildProcess | undefined;
const o = { signal };

/** The container touches this file first of all: its time of change is when the process ran. */
async function changed(file: string, since: number, timeoutMs = 30_000): Promise<number> {
  for (const end = Date.now() + timeoutMs; Date.now() < end; ) {
    const mtime = statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
    if (mtime > since) return mtime;
    if (agent !== undefined && agent.exitCode !== null) throw new Error(`the agent has ended with exit code ${agent.exitCode}`);
    await delay(2);
  }
  throw new Error(`${file} was not written within ${timeoutMs} ms`);
}

const command = ['sh', '-c', 'touch /out/started; trap "exit 0" TERM; sleep 100000 & wait'];

interface Floor {
  readonly up: number[];
  /** From a kill until the runtime shows the exit. */
  readonly exit: number[];
  readonly restart: number[];
}

async function measureFloor(containerd: TestContainerd, runtime: CriRuntime, out: string): Promise<Floor> {
  const up: number[] = [];
  const exit: number[] = [];
  const restart: number[] = [];
  const image = (await runtime.imageStatus({ image: offlineImages.busybox }, o))?.id ?? '';
  const file = path.join(out, 'started');
  for (let i = 0; i < runs; i++) {
    const sandbox = sandboxConfig({ uid: `floor-${i}`, cgroupParent: '/pinpod-bench/floor' });
    const config = (attempt: number) => ({
      ...containerConfig(sandbox, { image, command, attempt }),
      logPath: '',
      mounts: [
        {
          containerPath: '/out',
          hostPath: out,
          readonly: false,
          seLinuxRelabel: false,
          propagation: 'private' as const,
          recursiveReadOnly: false,
        },
      ],
    });
    rmSync(file, { force: true });
    const begin = Date.now();
    const sandboxId = await runtime.runPodSandbox({ config: sandbox, runtimeHandler: '' }, o);
    const first = await runtime.createContainer({ sandboxId, config: config(0), sandboxConfig: sandbox }, o);
    await runtime.startContainer(first, o);
    up.push((await changed(file, 0)) - begin);
    const victim = await taskPid(containerd, first);
    const killed = Date.now();
    process.kill(victim, 'SIGKILL');
    while ((await runtime.containerStatus(first, o))?.state !== 'exited') await delay(1);
    exit.push(Date.now() - killed);
    const again = Date.now();
    const second = await runtime.createContainer({ sandboxId, config: config(1), sandboxConfig: sandbox }, o);
    await runtime.startContainer(second, o);
    restart.push((await changed(file, again)) - again);
    await runtime.stopPodSandbox(sandboxId, o);
    await runtime.removePodSandbox(sandboxId, o);
  }
  return { up, exit, restart };
}

function manifest(name: string, out: string): string {
  return JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec: benchSpec(out, { command }) });
}

/** The process of the Pod's container; the file it writes appears a little before the runtime shows it as running. */
async function pidOf(containerd: TestContainerd, runtime: CriRuntime, podName: string): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const containers = await runtime.listContainers({}, o);
    const found = containers.find((c) => c.state === 'running' && c.labels[criKeys.podName]?.startsWith(podName));
    if (found !== undefined) return await taskPid(containerd, found.id);
    await delay(20);
  }
  throw new Error(`${podName} does not run`);
}

async function taskPid(containerd: TestContainerd, id: string): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const line = (await containerd.ctr('tasks', 'list')).split('\n').find((text) => text.startsWith(id));
    // A task that is only being made is listed without a pid.
    const pid = Number(line?.trim().split(/\s+/)[1]);
    if (Number.isInteger(pid) && pid > 0) return pid;
    await delay(20);
  }
  throw new Error(`container ${id} does not run`);
}

const containerd = await startContainerd({ name: 'bench', cgroupParents: ['/pinpod-bench'] });
const runtime = new CriRuntime(
  { runtimeEndpoint: containerd.endpoint, requestTimeoutMs: 60_000 },
  { clock: systemClock, logger: silentLogger },
);
try {
  const out = path.join(containerd.dir, 'out');
  const manifests = path.join(containerd.dir, 'manifests');
  mkdirSync(out);
  mkdirSync(manifests);
  const floor = await measureFloor(containerd, runtime, out);
  console.log(row('CRI calls alone, file → process', floor.up));
  console.log(row('containerd alone, kill → it shows the exit', floor.exit));
  console.log(row('CRI calls alone, create and start', floor.restart));

  agent = await startAgent(containerd, manifests, '/pinpod-bench');
  const pid = agent.pid ?? 0;
  const up: number[] = [];
  const restart: number[] = [];
  const file = path.join(out, 'started');
  for (let i = 0; i < runs; i++) {
    const name = `bench-${i}`;
    const hidden = path.join(manifests, `.${name}`);
    rmSync(file, { force: true });
    writeFileSync(hidden, manifest(name, out));
    const begin = Date.now();
    renameSync(hidden, path.join(manifests, `${name}.json`));
    const took = (await changed(file, 0, 60_000)) - begin;
    // The first waits for the agent's own start.
    if (i > 0) up.push(took);
    const victim = await pidOf(containerd, runtime, name);
    await delay(300);
    const killed = Date.now();
    process.kill(victim, 'SIGKILL');
    restart.push((await changed(file, killed + 1)) - killed);
    rmSync(path.join(manifests, `${name}.json`));
    for (let tries = 0; tries < 200 && (await runtime.listContainers({}, o)).length > 0; tries++) await delay(50);
  }
  console.log(row('agent, rename → process', up));
  console.log(row('agent, kill → process of the first restart', restart));
  const [floorUp = Number.NaN, floorExit = Number.NaN, floorStart = Number.NaN] = [floor.up, floor.exit, floor.restart].map((values) =>
    percentile(values, 0.5),
  );
  const ratio = (values: readonly number[], beside: number): string => (percentile(values, 0.5) / beside).toFixed(2);
  console.log(`ratio to the floor: start ${ratio(up, floorUp)} (aim 1.3)`);
  console.log(
    `restart ${ratio(restart, floorStart)} of create and start (aim 1.5), ${ratio(restart, floorExit + floorStart)} with the exit`,
  );

  rmSync(file, { force: true });
  writeFileSync(path.join(manifests, 'rest.json'), manifest('rest', out));
  await changed(file, 0);
  await delay(3000);
  const before = usageOf(pid);
  await delay(restSeconds * 1000);
  const after = usageOf(pid);
  const cpu = ((after.cpuSeconds - before.cpuSeconds) / restSeconds) * 100;
  console.log(
    `at rest with one Pod, ${restSeconds} s: ${cpu.toFixed(2)} % of a core (aim 0.5), ${(after.rssBytes / 2 ** 20).toFixed(0)} MiB resident (aim 80)`,
  );
} finally {
  await endAgent(agent);
  runtime.close();
  await containerd.stop();
}
