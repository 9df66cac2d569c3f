// The whole agent as a process of its own, with folders, bridge and cgroups of its own, for tests on real containerd.
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import type { Pod } from '../../src/api/gen/kubernetes.ts';
import { AgentClient } from '../../src/cli/client.ts';
import { readImageArchive } from '../../src/image/oci-archive.ts';
import type { ObservedContainer, ObservedSandbox } from '../../src/pod/observation.ts';
import { mountsBelow } from '../../src/runtime/containerd/mounts.ts';
import { PrivateContainerd } from '../../src/runtime/containerd/private-containerd.ts';
import { listProcesses } from '../../src/runtime/containerd/process-table.ts';
import { CriRuntime } from '../../src/runtime/cri/cri-runtime.ts';
import type { ManifestList } from '../../src/server/agent-api.ts';
import { systemClock } from '../../src/std/clock.ts';
import { silentLogger } from '../../src/std/log.ts';
import { runProgram } from '../../src/std/process.ts';
import { imagesDir, offlineImages } from './containerd.ts';

export const checkout = path.join(import.meta.dirname, '..', '..');
/** For calls of a test that end by themselves. */
export const options = { signal: new AbortController().signal };
export const nodeName = 'edge1';

/** Resolves to the first value of `look` that is not undefined; when the time is up fails with what the agent said last. */
export async function eventually<T>(
  agent: TestAgent,
  what: string,
  look: () => Promise<T | undefined> | T | undefined,
  seconds = 20,
): Promise<T> {
  const end = systemClock.now() + seconds * 1000;
  let lastError: unknown;
  for (;;) {
    try {
      const value = await look();
      if (value !== undefined) return value;
    } catch (error) {
      lastError = error;
    }
    if (systemClock.now() > end || agent.hasFailed)
      throw new Error(
        `${what}: not so${agent.hasFailed ? ', the agent ended' : ` within ${seconds} s`}; the agent said:\n${agent.output.slice(-3000)}`,
        { cause: lastError },
      );
    await systemClock.sleep(25, options.signal);
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  assert.ok(address !== null && typeof address === 'object');
  return address.port;
}

export interface CommandResult {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** The sources on the Node of the checkout. */
export const sourceProgram: readonly string[] = [
  path.join(checkout, 'node_modules', '.bin', 'node'),
  path.join(checkout, 'src', 'main.ts'),
];

/** Runs a command of `program` to its end. */
export function runPinpod(program: readonly string[], args: readonly string[]): Promise<CommandResult> {
  const [file = '', ...before] = program;
  return new Promise((resolve) => {
    execFile(file, [...before, ...args], { timeout: 20_000 }, (error, out, err) =>
      resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, out, err }),
    );
  });
}

let agents = 90;

export interface TestAgentOptions {
  /** Of a containerd that the test has already; without it the agent runs its private one. */
  readonly endpoint?: string;
  /** Fields of KubeletConfiguration on top of those the test agent sets itself. */
  readonly kubelet?: Readonly<Record<string, unknown>>;
  /** Fields of AgentConfiguration likewise. */
  readonly agent?: Readonly<Record<string, unknown>>;
  /** Added to its command line. */
  readonly flags?: readonly string[];
  /** Image archives by file name, beside the offline images. */
  readonly archives?: () => Promise<Readonly<Record<string, Buffer>>>;
  /** Folders of programs for its private containerd, before those of the machine. */
  readonly binDirs?: readonly string[];
  /** What the agent's command line is given to, for example to be run in namespaces of its own. */
  readonly launcher?: readonly string[];
}

/** Mounts of their own for every life of an agent and for its containerd, whatever those of the machine are like. */
export class OwnMounts {
  /** For `TestAgentOptions`; in force from `start` on. */
  readonly launcher: string[] = [];
  #holder: ChildProcess | undefined;

  /** `private`: as on a machine without systemd. `shared`: as systemd makes them. */
  async start(propagation: 'private' | 'shared'): Promise<void> {
    const hold = ['unshare', '--mount', '--propagation', propagation, 'sh', '-c', 'echo ready; exec sleep infinity'];
    const holder = spawn('setpriv', ['--pdeathsig', 'KILL', ...hold], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#holder = holder;
    await once(holder.stdout, 'data');
    this.launcher.push('nsenter', '--target', String(holder.pid), '--mount');
  }

  /** After the agents in it were destroyed. */
  stop(): void {
    this.#holder?.kill('SIGKILL');
  }
}

export class TestAgent {
  // Named as startContainerd names its own, so that what a killed run left is swept with them.
  readonly #number = agents++;
  readonly dir = `/tmp/ppt-${process.pid}-agent${this.#number}`;
  readonly rootDir = path.join(this.dir, 'root');
  readonly runDir = path.join(this.dir, 'run');
  readonly folder = path.join(this.dir, 'manifests');
  readonly kubeconfig = path.join(this.runDir, 'kubeconfig.yaml');
  readonly cgroupRoot = `/${path.basename(this.dir)}`;
  readonly bridge = `ppt${process.pid}x${this.#number}`;
  readonly client = new AgentClient({ socketPath: path.join(this.runDir, 'pinpod.sock') });
  readonly runtime: CriRuntime;
  readonly daemon: PrivateContainerd;
  output = '';
  readonly #endpoint: string | undefined;
  readonly #options: TestAgentOptions;
  #program: readonly string[] = sourceProgram;
  #process: ChildProcess | undefined;

  constructor(agentOptions: TestAgentOptions = {}) {
    const { endpoint } = agentOptions;
    this.#options = agentOptions;
    this.#endpoint = endpoint;
    this.daemon = new PrivateContainerd(
      {
        rootDir: this.rootDir,
        runDir: this.runDir,
        pauseImage: offlineImages.pause,
        imagesDir: undefined,
        cgroupDriver: 'cgroupfs',
        subnets: [],
        bridge: this.bridge,
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
    this.runtime = new CriRuntime(
      { runtimeEndpoint: endpoint ?? this.daemon.endpoint, requestTimeoutMs: 10_000 },
      { clock: systemClock, logger: silentLogger },
    );
  }

  async configure(): Promise<void> {
    mkdirSync(this.folder, { recursive: true });
    const archives = Object.entries((await this.#options.archives?.()) ?? {});
    const ownImages = path.join(this.dir, 'images');
    if (archives.length > 0) {
      mkdirSync(ownImages);
      for (const name of readdirSync(imagesDir)) symlinkSync(path.join(imagesDir, name), path.join(ownImages, name));
      for (const [name, bytes] of archives) writeFileSync(path.join(ownImages, name), bytes);
    }
    const kubelet = {
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      staticPodPath: this.folder,
      podLogsDir: path.join(this.rootDir, 'logs'),
      cgroupRoot: this.cgroupRoot,
      cgroupDriver: 'cgroupfs',
      enforceNodeAllocatable: ['none'],
      ...this.#options.kubelet,
    };
    const agent = {
      apiVersion: 'pinpod.io/v1alpha1',
      kind: 'AgentConfiguration',
      rootDir: this.rootDir,
      runDir: this.runDir,
      imagesDir: archives.length > 0 ? ownImages : imagesDir,
      kubeAPI: { port: await freePort() },
      privateContainerd: {
        mode: this.#endpoint === undefined ? 'always' : 'never',
        bridge: this.bridge,
        pauseImage: offlineImages.pause,
        ...(this.#options.binDirs === undefined ? {} : { binDirs: this.#options.binDirs }),
      },
      ...this.#options.agent,
    };
    writeFileSync(path.join(this.dir, 'config.yaml'), `${JSON.stringify(kubelet)}\n---\n${JSON.stringify(agent)}\n`);
  }

  get #flags(): readonly string[] {
    const endpoint = this.#endpoint === undefined ? [] : ['--container-runtime-endpoint', this.#endpoint];
    return ['--config', path.join(this.dir, 'config.yaml'), '--hostname-override', nodeName, ...endpoint, ...(this.#options.flags ?? [])];
  }

  /** Resolves once the agent answers on its socket. `program`: what to run, from here on, instead of the sources. */
  async start(program: readonly string[] = sourceProgram): Promise<void> {
    this.#program = program;
    // It ends with the test, however that ends.
    const command = ['--pdeathsig', 'KILL', ...program, 'run', ...this.#flags];
    const [file = '', ...args] = [...(this.#options.launcher ?? []), 'setpriv', ...command];
    const child = spawn(file, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#process = child;
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.output += text;
    });
    // Its images may be large, and the machine busy.
    await eventually(this, 'the agent answers', () => this.pods(), 60);
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  /** Runs a program where the agent and its containers are: in its mount and network namespaces. */
  async beside(...command: readonly string[]): Promise<string> {
    return (await runProgram('nsenter', ['--target', String(this.pid), '--mount', '--net', ...command], options)).stdout;
  }

  /** What `sh -c script` prints in a running container of the Pod, both streams. */
  async exec(name: string, container: string, script: string): Promise<string> {
    const pod = await this.pod(name);
    assert.ok(pod !== undefined, `no pod ${name}`);
    const all = await this.containers(uidOf(pod));
    const containerId = all.find((one) => one.name === container && one.state === 'running')?.id;
    assert.ok(containerId !== undefined, `no running container ${container} in ${name}`);
    const result = await this.runtime.execSync({ containerId, command: ['sh', '-c', script], timeoutSeconds: 10 }, options);
    return (Buffer.from(result.stdout).toString() + Buffer.from(result.stderr).toString()).trimEnd();
  }

  /** Resolves once `isIt` holds of the Pod. */
  until(name: string, what: string, isIt: (pod: Pod) => boolean, seconds?: number): Promise<Pod> {
    const look = async (): Promise<Pod | undefined> => {
      const pod = await this.pod(name);
      return pod !== undefined && isIt(pod) ? pod : undefined;
    };
    return eventually(this, `${name}: ${what}`, look, seconds);
  }

  /** `reason: message` of the Events about the Pod. */
  async events(name: string): Promise<readonly string[]> {
    const list = (await this.client.json('/api/v1/events', options)) as {
      readonly items: readonly {
        readonly reason?: string;
        readonly message?: string;
        readonly involvedObject?: { readonly name?: string };
      }[];
    };
    return list.items
      .filter(({ involvedObject }) => involvedObject?.name === `${name}-${nodeName}`)
      .map(({ reason, message }) => `${reason}: ${message}`);
  }

  /** It ended although nobody asked it to. */
  get hasFailed(): boolean {
    return (this.#process?.exitCode ?? undefined) !== undefined;
  }

  /** The exit code; null after SIGKILL. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined) return null;
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const exited = once(child, 'exit') as Promise<[number | null]>;
    child.kill(signal);
    return (await exited)[0];
  }

  signal(signal: 'SIGHUP'): void {
    this.#process?.kill(signal);
  }

  /** As an editor that renames does it: the file is whole at once. */
  put(name: string, text: string | Buffer): void {
    const temporary = path.join(this.dir, `${name}.new`);
    writeFileSync(temporary, text);
    renameSync(temporary, path.join(this.folder, name));
  }

  putPod(name: string, spec: Pod['spec'], metadata: Pod['metadata'] = {}): void {
    this.put(`${name}.json`, JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name, ...metadata }, spec }));
  }

  remove(name: string): void {
    rmSync(path.join(this.folder, name));
  }

  async pods(): Promise<readonly Pod[]> {
    return ((await this.client.json('/api/v1/pods', options)) as { readonly items: readonly Pod[] }).items;
  }

  async pod(name: string): Promise<Pod | undefined> {
    return (await this.pods()).find((pod) => pod.metadata?.name === `${name}-${nodeName}`);
  }

  ready(name: string, isIt: (pod: Pod) => boolean = () => true, seconds?: number): Promise<Pod> {
    const isReady = ({ status }: Pod): boolean => status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True') === true;
    return this.until(name, 'is ready', (pod) => isReady(pod) && isIt(pod), seconds);
  }

  gone(name: string): Promise<true> {
    return eventually(this, `${name} is gone`, async () => {
      if ((await this.pod(name)) !== undefined) return undefined;
      const left = (await this.runtime.listPodSandboxes({}, options)).filter((sandbox) => sandbox.name === `${name}-${nodeName}`);
      return left.length === 0 ? true : undefined;
    });
  }

  async sandboxes(podUid: string): Promise<readonly ObservedSandbox[]> {
    return await this.runtime.listPodSandboxes({ podUid }, options);
  }

  /** Newest first. */
  async containers(podUid: string): Promise<readonly ObservedContainer[]> {
    const all = await this.runtime.listContainers({ podUid }, options);
    return [...all].sort((a, b) => b.attempt - a.attempt);
  }

  async running(podUid: string): Promise<ObservedContainer> {
    const running = (await this.containers(podUid)).filter((container) => container.state === 'running');
    assert.equal(running.length, 1);
    return running[0] as ObservedContainer;
  }

  /** SIGKILL to the container's first process, as the OOM killer does it. */
  async killContainer(id: string): Promise<void> {
    // Its cgroup ends with its id, and its parent, the shim, is outside.
    const inside = (await listProcesses()).filter(({ pid }) => id !== '' && cgroupOf(pid).includes(id));
    const first = inside.find(({ parent }) => !inside.some(({ pid }) => pid === parent));
    assert.ok(first !== undefined, `no process of container ${id}`);
    process.kill(first.pid, 'SIGKILL');
  }

  cli(...args: readonly string[]): Promise<CommandResult> {
    return runPinpod(this.#program, [...args, '--run-dir', this.runDir]);
  }

  async verdicts(): Promise<ReadonlyMap<string, ManifestList['manifests'][number]>> {
    const { out } = await this.cli('manifests', '-o', 'json');
    const list = JSON.parse(out) as ManifestList;
    return new Map(list.manifests.map((manifest) => [path.basename(manifest.path), manifest]));
  }

  /** Takes everything down, whatever state it is in. */
  async destroy(): Promise<void> {
    await this.end('SIGKILL');
    try {
      // Of a runtime that is somebody else's only the agent's own cgroups go; its Pods are the test's to end.
      const own = this.#endpoint === undefined ? { runtime: this.runtime } : {};
      await this.daemon.destroy({ ...options, ...own, cgroupParents: [this.cgroupRoot] });
    } finally {
      this.runtime.close();
    }
    for (const point of mountsBelow(readFileSync('/proc/self/mountinfo', 'utf8'), this.dir))
      await runProgram('umount', ['--lazy', point], options);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export function cgroupOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cgroup`, 'utf8');
  } catch {
    return '';
  }
}

/** The UID of the static Pod behind its mirror view. */
export const uidOf = (pod: Pod): string => pod.metadata?.annotations?.['kubernetes.io/config.hash'] ?? '';
