// A real kubelet (KUBEBUILDER_ASSETS) and pinpod side by side: the same configuration, a containerd each, one
// kube-apiserver; taking turns, so that both meet the same load. From a manifest, a kill, an edit and a removal to what
// comes of it, many Pods at once, and memory and CPU at rest. Prints figures and asserts nothing. Run:
// KUBEBUILDER_ASSETS=… npm run bench:kubelet -- [rounds] [Pods at once] [seconds at rest]
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Pod } from '../src/api/gen/kubernetes.ts';
import { isApiError, paths } from '../src/mirror/kube-api.ts';
import { mountsBelow } from '../src/runtime/containerd/mounts.ts';
import { runProgram } from '../src/std/process.ts';
import { bundleProgram } from '../test/support/bundle.ts';
import { offlineImages, startContainerd, type TestContainerd } from '../test/support/containerd.ts';
import { envtestMissing, startEnvtest } from '../test/support/envtest.ts';
import { cgroupOf, freePort } from '../test/support/test-agent.ts';
import { row, usageOf } from './agent.ts';

const [rounds = 15, many = 30, restSeconds = 45] = process.argv.slice(2).map(Number);
const o = { signal: new AbortController().signal };
const missing = envtestMissing();
if (missing !== undefined) throw new Error(missing);
const kubelet = path.join(process.env['KUBEBUILDER_ASSETS'] ?? '', 'kubelet');
if (!existsSync(kubelet)) throw new Error(`no kubelet in KUBEBUILDER_ASSETS (${kubelet})`);

const env = await startEnvtest();
await bundleProgram();
const programs = { kubelet: [kubelet], pinpod: [path.join(import.meta.dirname, '..', 'bin', 'pinpod'), 'run'] };
type Which = keyof typeof programs;

async function until(isSo: () => Promise<boolean> | boolean, everyMs = 3): Promise<void> {
  for (const end = Date.now() + 120_000; !(await isSo()); await delay(everyMs))
    if (Date.now() > end) throw new Error('not so within two minutes');
}

/** One of the two, with what it works on. */
class Side {
  readonly which: Which;
  readonly node: string;
  readonly #containerd: TestContainerd;
  readonly #process: ChildProcess;
  readonly #manifests: string;
  /** Each start of a container makes the file of its Pod one byte longer. */
  readonly #starts: string;

  private constructor(which: Which, containerd: TestContainerd, child: ChildProcess) {
    this.which = which;
    this.node = `node-${which}`;
    this.#containerd = containerd;
    this.#process = child;
    this.#manifests = path.join(containerd.dir, 'manifests');
    this.#starts = path.join(containerd.dir, 'starts');
  }

  static async start(which: Which): Promise<Side> {
    const cgroup = `/pinpod-bench-${which}`;
    const containerd = await startContainerd({ name: which, cgroupParents: [cgroup] });
    const at = (name: string): string => path.join(containerd.dir, name);
    for (const name of ['manifests', 'starts', 'agent', 'logs']) mkdirSync(at(name));
    // A kubelet does not make its root.
    const trees = existsSync('/sys/fs/cgroup/cgroup.procs') ? [''] : readdirSync('/sys/fs/cgroup');
    for (const tree of trees) mkdirSync(path.join('/sys/fs/cgroup', tree, cgroup), { recursive: true });
    const configuration = {
      ...{ apiVersion: 'kubelet.config.k8s.io/v1beta1', kind: 'KubeletConfiguration', failCgroupV1: false, failSwapOn: false },
      ...{ staticPodPath: at('manifests'), podLogsDir: at('logs'), containerRuntimeEndpoint: containerd.endpoint },
      ...{ cgroupRoot: cgroup, cgroupDriver: 'cgroupfs', enforceNodeAllocatable: ['none'], maxPods: 200 },
      ...{ port: await freePort(), healthzPort: await freePort(), evictionHard: { 'memory.available': '1Mi' } },
      ...{ authentication: { webhook: { enabled: false } }, authorization: { mode: 'AlwaysAllow' } },
    };
    const own = { apiVersion: 'pinpod.io/v1alpha1', kind: 'AgentConfiguration', rootDir: at('agent'), runDir: at('run-agent') };
    const documents = which === 'kubelet' ? [configuration] : [configuration, own];
    writeFileSync(at('config.yaml'), documents.map((document) => JSON.stringify(document)).join('\n---\n'));
    const node = `node-${which}`;
    const flags = ['--config', at('config.yaml'), '--kubeconfig', await env.nodeKubeconfig(node), '--hostname-override', node];
    const folders = which === 'kubelet' ? ['--root-dir', at('agent'), '--cert-dir', at('pki')] : [];
    const [file = '', ...args] = programs[which];
    const log = openSync(at('log'), 'w');
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', file, ...args, ...flags, ...folders, '--node-ip', '192.0.2.2'], {
      stdio: ['ignore', log, log],
    });
    const side = new Side(which, containerd, child);
    await until(async () => (await find(paths.node(node))) !== undefined, 100);
    return side;
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  put(name: string, generation = 0): void {
    const container = {
      ...{ name: 'c', image: offlineImages.busybox, imagePullPolicy: 'IfNotPresent' },
      command: ['sh', '-c', `trap 'exit 0' TERM; printf s >>/starts/${name}; sleep 100000 & wait`],
      env: [{ name: 'GENERATION', value: String(generation) }],
      volumeMounts: [{ name: 'starts', mountPath: '/starts' }],
    };
    const volumes = [{ name: 'starts', hostPath: { path: this.#starts } }];
    const spec = { terminationGracePeriodSeconds: 5, containers: [container], volumes };
    const hidden = path.join(this.#manifests, `.${name}`);
    writeFileSync(hidden, JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec }));
    renameSync(hidden, path.join(this.#manifests, `${name}.json`));
  }

  remove(name: string): void {
    rmSync(path.join(this.#manifests, `${name}.json`));
  }

  starts(name: string): number {
    return statSync(path.join(this.#starts, name), { throwIfNoEntry: false })?.size ?? 0;
  }

  mirror(name: string): Promise<Pod | undefined> {
    return find(`${paths.namespacedPods('default')}/${name}-${this.node}`) as Promise<Pod | undefined>;
  }

  /** The first process of the Pod's container, by what the mirror says of it. */
  async processOf(name: string): Promise<number> {
    const id = (await this.mirror(name))?.status?.containerStatuses?.[0]?.containerID?.replace('containerd://', '') ?? '';
    const line = (await this.#containerd.ctr('tasks', 'list')).split('\n').find((task) => task.startsWith(id) && id !== '');
    const pid = Number(line?.split(/\s+/)[1]);
    if (!cgroupOf(pid).includes(id)) throw new Error(`no process of ${name}`);
    return pid;
  }

  async stop(): Promise<void> {
    const exited = once(this.#process, 'exit');
    this.#process.kill('SIGTERM');
    await exited;
    for (const point of mountsBelow(readFileSync('/proc/self/mountinfo', 'utf8'), path.join(this.#containerd.dir, 'agent')))
      await runProgram('umount', ['--lazy', point], o);
    await this.#containerd.stop();
  }
}

/** Undefined when the API server has no such object. */
async function find(url: string): Promise<unknown> {
  try {
    return await env.admin.request({ method: 'GET', path: url }, o);
  } catch (error) {
    if (isApiError(error) && error.status === 404) return undefined;
    throw error;
  }
}

const isRunning = (pod: Pod | undefined): boolean => pod?.status?.containerStatuses?.[0]?.state?.running !== undefined;
const times = new Map<string, Map<Which, number[]>>();
async function time(what: string, side: Side, since: number, isSo: () => Promise<boolean> | boolean): Promise<void> {
  await until(isSo);
  const values = times.get(what) ?? new Map<Which, number[]>();
  times.set(what, values.set(side.which, [...(values.get(side.which) ?? []), performance.now() - since]));
}
const load = (): string => readFileSync('/proc/loadavg', 'utf8').split(' ').slice(0, 3).join(' ');

async function round(side: Side, name: string): Promise<void> {
  const appeared = performance.now();
  side.put(name);
  await Promise.all([
    time('manifest → mirror', side, appeared, async () => (await side.mirror(name)) !== undefined),
    time('manifest → process', side, appeared, () => side.starts(name) === 1),
    time('manifest → mirror says Running', side, appeared, async () => isRunning(await side.mirror(name))),
  ]);
  await delay(1500);
  const pid = await side.processOf(name);
  const killed = performance.now();
  process.kill(pid, 'SIGKILL');
  await time('kill → next process', side, killed, () => side.starts(name) === 2);
  await delay(1500);
  const edited = performance.now();
  side.put(name, 1);
  await time('edit → new process', side, edited, () => side.starts(name) === 3);
  await delay(1500);
  const removed = performance.now();
  side.remove(name);
  await time('removal → mirror gone', side, removed, async () => (await side.mirror(name)) === undefined);
}

const sides: Side[] = [];
try {
  for (const which of ['kubelet', 'pinpod'] as const) sides.push(await Side.start(which));
  for (const side of sides) {
    side.put('warm');
    await until(() => side.starts('warm') === 1);
  }
  await delay(5000);
  console.log(`load ${load()}`);
  for (let i = 0; i < rounds; i++) for (const side of i % 2 === 0 ? sides : [...sides].reverse()) await round(side, `pod-${i}`);
  for (const [what, values] of times) for (const [which, ms] of values) console.log(row(`${what}, ${which}`, ms));
  for (const side of sides) {
    const names = Array.from({ length: many }, (_, i) => `many-${i}`);
    const begun = performance.now();
    for (const name of names) side.put(name);
    await until(() => names.every((name) => side.starts(name) === 1));
    console.log(`${side.which}: ${many} Pods at once are all started after ${Math.round(performance.now() - begun)} ms (load ${load()})`);
    await delay(20_000);
    const before = usageOf(side.pid);
    await delay(restSeconds * 1000);
    const after = usageOf(side.pid);
    const cpu = ((after.cpuSeconds - before.cpuSeconds) / restSeconds) * 100;
    const [resident, own] = [after.rssBytes, after.ownBytes].map((bytes) => (bytes / 2 ** 20).toFixed(0));
    const memory = `${resident} MiB resident, ${own} of them its own`;
    console.log(`${side.which}: at rest with ${many} Pods ${cpu.toFixed(1)} % of a core, ${memory} (load ${load()})`);
    for (const name of names) side.remove(name);
    // Nothing of one is to be ended while the other begins.
    for (const name of names) await until(async () => (await side.mirror(name)) === undefined, 100);
    await delay(5000);
  }
} finally {
  for (const side of sides) await side.stop();
  await env.close();
}
