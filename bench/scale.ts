// The agent with many Pods on real containerd, beside the floor of the same machine: the same CRI calls without an agent.
// How long until they all run, until an edit, a removal and a question are answered, until a new agent has adopted them;
// what it uses meanwhile and at rest. Prints figures and asserts nothing. Run: npm run bench:scale -- [Pods] [seconds at rest]
import { type ChildProcess, execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Pod } from '../src/api/gen/kubernetes.ts';
import { AgentClient } from '../src/cli/client.ts';
import { CriRuntime } from '../src/runtime/cri/cri-runtime.ts';
import { systemClock } from '../src/std/clock.ts';
import { silentLogger } from '../src/std/log.ts';
import { containerConfig, sandboxConfig } from '../test/compliance/builders.ts';
import { offlineImages, startContainerd } from '../test/support/containerd.ts';
import { benchSpec, endAgent, row, startAgent, usageOf } from './agent.ts';

const [pods = 110, restSeconds = 30] = process.argv.slice(2).map(Number);
const samples = 10;
const otherFiles = 1000;
const cgroupRoot = '/pinpod-scale';
const o = { signal: new AbortController().signal };

const containerd = await startContainerd({ name: 'scale', cgroupParents: [cgroupRoot] });
const runtime = new CriRuntime(
  { runtimeEndpoint: containerd.endpoint, requestTimeoutMs: 60_000 },
  { clock: systemClock, logger: silentLogger },
);
const runDir = path.join(containerd.dir, 'agent-run');
const client = new AgentClient({ socketPath: path.join(runDir, 'pinpod.sock') });
const manifests = path.join(containerd.dir, 'manifests');
const out = path.join(containerd.dir, 'out');
let agent: ChildProcess | undefined;

const command = (name: string): readonly string[] => ['sh', '-c', `touch /out/${name}; trap "exit 0" TERM; sleep 100000 & wait`];

function put(name: string, revision: number, more: object = {}): void {
  const env = [{ name: 'REVISION', value: String(revision) }];
  const spec = { ...benchSpec(out, { command: command(name), env }), ...more };
  const hidden = path.join(manifests, `.${name}`);
  writeFileSync(hidden, JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec }));
  renameSync(hidden, path.join(manifests, `${name}.json`));
}

async function until(what: string, isSo: () => boolean | Promise<boolean>, everyMs = 5): Promise<number> {
  for (const begin = Date.now(); Date.now() - begin < 180_000; ) {
    if (agent !== undefined && agent.exitCode !== null) throw new Error(`the agent ended with exit code ${agent.exitCode}`);
    if (await isSo()) return Date.now() - begin;
    await delay(everyMs);
  }
  throw new Error(`not within three minutes: ${what}`);
}

const isReady = (pod: Pod): boolean => pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;

async function ready(): Promise<number> {
  try {
    const list = (await client.json('/api/v1/pods', o)) as { readonly items: readonly Pod[] };
    return list.items.filter(isReady).length;
  } catch {
    return -1;
  }
}

const hasRunSince = (name: string, since: number): boolean =>
  (statSync(path.join(out, name), { throwIfNoEntry: false })?.mtimeMs ?? 0) > since;

function tell(what: string): void {
  const { rssBytes, ownBytes } = usageOf(agent?.pid ?? 0);
  console.log(`${what.padEnd(46)} ${(rssBytes / 2 ** 20).toFixed(0)} MiB resident, ${(ownBytes / 2 ** 20).toFixed(0)} MiB of them its own`);
}

async function atRest(what: string): Promise<void> {
  await delay(15_000);
  const before = usageOf(agent?.pid ?? 0).cpuSeconds;
  await delay(restSeconds * 1000);
  const used = usageOf(agent?.pid ?? 0).cpuSeconds - before;
  console.log(`${`${what}, at rest for ${restSeconds} s`.padEnd(46)} ${((used / restSeconds) * 100).toFixed(2)} % of a core`);
  tell(what);
}

/** What runtime and kernel need for as many Pods, four at a time. */
async function measureFloor(): Promise<{ readonly up: number; readonly gone: readonly number[] }> {
  const image = (await runtime.imageStatus({ image: offlineImages.busybox }, o))?.id ?? '';
  const sandboxes: string[] = [];
  const begin = Date.now();
  let next = 0;
  const bringUp = async (): Promise<void> => {
    while (next < pods) {
      const sandbox = sandboxConfig({ uid: `floor-${next++}`, cgroupParent: `${cgroupRoot}/floor` });
      const sandboxId = await runtime.runPodSandbox({ config: sandbox, runtimeHandler: '' }, o);
      sandboxes.push(sandboxId);
      const config = { ...containerConfig(sandbox, { image, command: ['sleep', '100000'], attempt: 0 }), logPath: '' };
      await runtime.startContainer(await runtime.createContainer({ sandboxId, config, sandboxConfig: sandbox }, o), o);
    }
  };
  await Promise.all([bringUp(), bringUp(), bringUp(), bringUp()]);
  const up = Date.now() - begin;
  const gone: number[] = [];
  for (const [index, sandboxId] of sandboxes.entries()) {
    const removeAt = Date.now();
    await runtime.stopPodSandbox(sandboxId, o);
    await runtime.removePodSandbox(sandboxId, o);
    if (index < samples) gone.push(Date.now() - removeAt);
  }
  return { up, gone };
}

try {
  mkdirSync(out);
  mkdirSync(manifests);
  const floor = await measureFloor();
  console.log(`CRI calls alone, ${pods} Pods up, four at a time`.padEnd(46), `${(floor.up / 1000).toFixed(1)} s`);
  console.log(row('CRI calls alone, stop and remove', floor.gone));

  agent = await startAgent(containerd, manifests, cgroupRoot);
  await until('the agent answers', async () => (await ready()) === 0);
  tell('agent without Pods');
  const name = (index: number): string => `pod-${index}`;
  const begin = Date.now();
  for (let i = 0; i < pods; i++) put(name(i), 0);
  await until('all Pods are ready', async () => (await ready()) === pods, 50);
  console.log(`agent, ${pods} manifests at once → all ready`.padEnd(46), `${((Date.now() - begin) / 1000).toFixed(1)} s`);
  tell(`agent after the start of ${pods} Pods`);
  await atRest(`agent with ${pods} Pods`);

  const edit: number[] = [];
  for (let i = 0; i < samples; i++) {
    const at = Date.now();
    put(name(i), 1);
    edit.push(await until('the edited Pod runs', () => hasRunSince(name(i), at)));
    await until('all are ready', async () => (await ready()) === pods, 20);
  }
  console.log(row('agent, edit → process of the new Pod', edit));

  const asked: number[] = [];
  for (let i = 0; i < samples; i++) {
    const at = process.hrtime.bigint();
    await client.json('/api/v1/pods', o);
    asked.push(Number(process.hrtime.bigint() - at) / 1e6);
  }
  console.log(row(`agent, list of ${pods} Pods over its socket`, asked));
  const cli = path.join(import.meta.dirname, '..', 'bin', 'pinpod');
  const kubeconfig = path.join(runDir, 'kubeconfig.yaml');
  const hasKubectl = spawnSync('kubectl', ['version', '--client']).status === 0;
  for (const [title, program, args] of [
    ['pinpod get pods', cli, ['get', 'pods', '--run-dir', runDir]],
    ...(hasKubectl ? [['kubectl get pods', 'kubectl', ['--kubeconfig', kubeconfig, 'get', 'pods']] as const] : []),
  ] as const) {
    const took: number[] = [];
    for (let i = 0; i < samples; i++) {
      const at = Date.now();
      execFileSync(program, [...args], { stdio: ['ignore', 'ignore', 'inherit'] });
      took.push(Date.now() - at);
    }
    console.log(row(title, took));
  }
  tell('agent after edits and questions');

  const gone: number[] = [];
  for (let i = 0; i < samples; i++) {
    const uids = (await runtime.listPodSandboxes({}, o))
      .filter((sandbox) => sandbox.name.startsWith(`${name(i)}-`))
      .map(({ podUid }) => podUid);
    rmSync(path.join(manifests, `${name(i)}.json`));
    const isGone = async (podUid: string): Promise<boolean> => (await runtime.listPodSandboxes({ podUid }, o)).length === 0;
    gone.push(await until('the removed Pod is gone', async () => (await Promise.all(uids.map(isGone))).every(Boolean)));
  }
  console.log(row('agent, removed manifest → nothing left', gone));

  const left = pods - samples;
  await endAgent(agent);
  const startAt = Date.now();
  agent = await startAgent(containerd, manifests, cgroupRoot);
  await until('all Pods are adopted', async () => (await ready()) === left);
  console.log(`new agent → ${left} Pods adopted and ready`.padEnd(46), `${Date.now() - startAt} ms`);
  tell('new agent');

  // Valid Pods that this node must refuse: they are read, judged and shown, and run nowhere.
  for (let i = 0; i < otherFiles; i++) put(`other-${i}`, 0, { nodeSelector: { 'example.org/no-such': 'node' } });
  await until('all files are judged', async () => {
    const list = (await client.json('/api/v1/pods', o)) as { readonly items: readonly Pod[] };
    return list.items.length === left + otherFiles;
  });
  const among: number[] = [];
  for (let i = 0; i < samples; i++) {
    const at = Date.now();
    put(`among-${i}`, 0);
    among.push(await until('a Pod among many files runs', () => hasRunSince(`among-${i}`, at)));
  }
  console.log(row(`agent, a manifest among ${otherFiles} → process`, among));
  await atRest(`agent with ${left + otherFiles + samples} files`);
} finally {
  await endAgent(agent);
  runtime.close();
  await containerd.stop();
}
