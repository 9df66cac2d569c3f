// The demonstration: the agent in the foreground on examples/, with folders, containerd, bridge and cgroups of its own.
// When it ends, by Ctrl-C or by itself, nothing of it is left on the machine. One that was killed is swept by the next.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, linkSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { readImageArchive } from '../src/image/oci-archive.ts';
import { mountsBelow } from '../src/runtime/containerd/mounts.ts';
import { PrivateContainerd } from '../src/runtime/containerd/private-containerd.ts';
import { readProcess } from '../src/runtime/containerd/process-table.ts';
import { CriRuntime } from '../src/runtime/cri/cri-runtime.ts';
import { systemClock } from '../src/std/clock.ts';
import { silentLogger } from '../src/std/log.ts';
import { runProgram } from '../src/std/process.ts';

const checkout = path.join(import.meta.dirname, '..');
const prefix = 'pinpod-demo-';
const pauseImage = 'registry.k8s.io/pause:3.9';
const registryTimeoutMs = 3000;
const runningTimeoutMs = 90_000;

/** Everything is derived from the folder, so that a later process can clean up after a killed one. */
interface Demo {
  readonly dir: string;
  readonly rootDir: string;
  readonly runDir: string;
  readonly bridge: string;
  readonly cgroupRoot: string;
  readonly ownerFile: string;
  readonly agentFile: string;
}

function demoIn(dir: string): Demo {
  const id = path.basename(dir).slice(prefix.length);
  return {
    dir,
    rootDir: path.join(dir, 'root'),
    runDir: path.join(dir, 'run'),
    bridge: `pindemo-${id}`,
    cgroupRoot: `/${path.basename(dir)}`,
    ownerFile: path.join(dir, 'owner'),
    agentFile: path.join(dir, 'agent'),
  };
}

interface PodView {
  readonly metadata?: { readonly name?: string; readonly namespace?: string };
  readonly status?: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  };
}

const say = (text: string): void => {
  console.log(text);
};

/** Whether the registry that the example's image comes from answers at all. */
async function registryAnswers(): Promise<boolean> {
  try {
    await fetch('https://registry-1.docker.io/v2/', { signal: AbortSignal.timeout(registryTimeoutMs) });
    return true;
  } catch {
    return false;
  }
}

/** The folder of archives to import: without nginx where it can be pulled. Hard links: nothing is copied. */
function chooseImages(demo: Demo, canPull: boolean): string {
  const all = path.join(checkout, '.cache', 'images');
  if (!canPull) return all;
  const chosen = path.join(demo.dir, 'images');
  mkdirSync(chosen);
  linkOrCopy(path.join(all, 'pause.tar'), path.join(chosen, 'pause.tar'));
  return chosen;
}

function linkOrCopy(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch {
    // Another file system.
    writeFileSync(to, readFileSync(from));
  }
}

function writeConfig(demo: Demo, imagesDir: string): string {
  const file = path.join(demo.dir, 'config.yaml');
  const kubelet = {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    staticPodPath: path.join(checkout, 'examples'),
    podLogsDir: path.join(demo.rootDir, 'logs'),
    cgroupRoot: demo.cgroupRoot,
    cgroupDriver: 'cgroupfs',
    enforceNodeAllocatable: ['none'],
  };
  const agent = {
    apiVersion: 'pinpod.io/v1alpha1',
    kind: 'AgentConfiguration',
    rootDir: demo.rootDir,
    runDir: demo.runDir,
    imagesDir,
    privateContainerd: { mode: 'always', bridge: demo.bridge, pauseImage },
  };
  // JSON is YAML.
  writeFileSync(file, `${JSON.stringify(kubelet, undefined, 2)}\n---\n${JSON.stringify(agent, undefined, 2)}\n`);
  return file;
}

function startAgent(config: string): ChildProcess {
  return spawn(path.join(checkout, 'bin', 'pinpod'), ['run', '--config', config], { stdio: 'inherit' });
}

/** The Pods as the agent shows them; none while it does not answer. */
async function listPods(demo: Demo): Promise<readonly PodView[]> {
  try {
    const request = http.get({ socketPath: path.join(demo.runDir, 'pinpod.sock'), path: '/api/v1/pods', agent: false, timeout: 2000 });
    request.on('timeout', () => request.destroy());
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    let body = '';
    for await (const chunk of response.setEncoding('utf8')) body += String(chunk);
    return (JSON.parse(body) as { readonly items?: readonly PodView[] }).items ?? [];
  } catch {
    return [];
  }
}

const isReady = (pod: PodView): boolean =>
  pod.status?.conditions?.some((condition) => condition.type === 'Ready' && condition.status === 'True') ?? false;

async function waitUntilReady(demo: Demo, signal: AbortSignal): Promise<readonly PodView[]> {
  const end = Date.now() + runningTimeoutMs;
  for (;;) {
    const pods = await listPods(demo);
    if ((pods.length > 0 && pods.every(isReady)) || Date.now() > end || signal.aborted) return pods;
    await delay(300, undefined, { signal }).catch(() => undefined);
  }
}

function explain(demo: Demo, pods: readonly PodView[]): void {
  const [first] = pods;
  const name = first?.metadata?.name ?? 'static-web';
  const address = first?.status?.podIP;
  const kubeconfig = path.join(demo.runDir, 'kubeconfig.yaml');
  const rows = pods.map((pod) => `    ${pod.metadata?.namespace}/${pod.metadata?.name}  ${pod.status?.phase}  ${pod.status?.podIP ?? ''}`);
  say(`
What runs now, from examples/:

${rows.length > 0 ? rows.join('\n') : '    nothing yet: see the messages above, and ./bin/pinpod manifests'}

Try in another terminal, in ${checkout}:
${address === undefined ? '' : `\n    curl http://${address}/`}
    export PINPOD_RUN_DIR=${demo.runDir}
    ./bin/pinpod get pods
    ./bin/pinpod logs ${name}
    ./bin/pinpod manifests
    mv examples/static-web.yaml /tmp/      # the Pod goes; mv it back, and it comes again
    kubectl --kubeconfig ${kubeconfig} get pods -o wide

Ctrl-C ends it and leaves nothing.
`);
}

/** Takes everything of a demonstration down, whether its agent ended in order or was killed. */
async function cleanUp(demo: Demo): Promise<void> {
  const { signal } = new AbortController();
  const runtime = (endpoint: string): CriRuntime =>
    new CriRuntime({ runtimeEndpoint: endpoint, requestTimeoutMs: 10_000 }, { clock: systemClock, logger: silentLogger });
  const containerd = new PrivateContainerd(
    {
      rootDir: demo.rootDir,
      runDir: demo.runDir,
      pauseImage,
      imagesDir: undefined,
      cgroupDriver: 'cgroupfs',
      subnets: [],
      bridge: demo.bridge,
      binDirs: [],
      cniBinDirs: [],
      env: process.env,
    },
    {
      clock: systemClock,
      log: silentLogger,
      probe: async () => undefined,
      readArchive: readImageArchive,
      makePauseArchive: async () => undefined,
    },
  );
  const client = runtime(containerd.endpoint);
  try {
    await containerd.destroy({ signal, runtime: client, cgroupParents: [demo.cgroupRoot] });
  } finally {
    client.close();
  }
  const mounts = (): readonly string[] => mountsBelow(readFileSync('/proc/self/mountinfo', 'utf8'), demo.dir);
  // Volumes the agent mounted.
  for (const point of mounts()) await runProgram('umount', ['--lazy', point], { signal });
  if (mounts().length > 0) throw new Error(`still mounted: ${mounts().join(', ')}`);
  rmSync(demo.dir, { recursive: true, force: true });
}

/** The agent of a killed demonstration would start its containerd again. */
async function endAgentOf(demo: Demo): Promise<void> {
  const pid = existsSync(demo.agentFile) ? Number(readFileSync(demo.agentFile, 'utf8')) : 0;
  const isThatAgent = async (): Promise<boolean> => {
    const entry = await readProcess(pid);
    return entry !== undefined && !entry.isZombie && entry.command.some((word) => word.startsWith(demo.dir));
  };
  if (pid === 0 || !(await isThatAgent())) return;
  process.kill(pid, 'SIGKILL');
  while (await isThatAgent()) await delay(20);
}

async function sweepKilledDemos(): Promise<void> {
  for (const name of readdirSync(os.tmpdir()).filter((entry) => entry.startsWith(prefix))) {
    const demo = demoIn(path.join(os.tmpdir(), name));
    const owner = existsSync(demo.ownerFile) ? readFileSync(demo.ownerFile, 'utf8') : '';
    if (owner === '' || existsSync(`/proc/${owner}`)) continue;
    say(`demo: cleaning up after one that was killed (${demo.dir})`);
    await endAgentOf(demo);
    await cleanUp(demo);
  }
}

if (process.getuid?.() !== 0) {
  console.error('demo: running containers needs root: sudo npm start');
  process.exit(1);
}
await sweepKilledDemos();
const demo = demoIn(mkdtempSync(path.join(os.tmpdir(), prefix)));
writeFileSync(demo.ownerFile, String(process.pid));

const stop = new AbortController();
const canPull = await registryAnswers();
say(
  canPull ? 'demo: images are pulled from their registry' : 'demo: no registry answers; nginx is an image made here from Debian’s package',
);
const agent = startAgent(writeConfig(demo, chooseImages(demo, canPull)));
writeFileSync(demo.agentFile, String(agent.pid ?? 0));
const ended = once(agent, 'exit') as Promise<[number | null]>;
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(name, () => {
    if (!stop.signal.aborted) say('\ndemo: stopping');
    stop.abort();
    // After Ctrl-C it has the signal already; it counts once.
    if (name !== 'SIGINT') agent.kill('SIGTERM');
  });
}
const hasEnded = ended.then(() => stop.abort());
const pods = await waitUntilReady(demo, stop.signal);
if (!stop.signal.aborted) explain(demo, pods);
const [code] = await ended;
await hasEnded;
await cleanUp(demo);
say('demo: everything is gone');
process.exit(code ?? 1);
