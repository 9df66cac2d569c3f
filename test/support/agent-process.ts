// The whole agent as a process of its own on a real runtime, as a user runs it: started from src/main.ts, asked over its
// socket and by kubectl. Everything it writes is below one folder.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Pod } from '../../src/api/pod.ts';
import { AgentClient } from '../../src/cli/client.ts';
import type { ManifestList } from '../../src/server/agent-api.ts';
import { offlineImages } from './containerd.ts';

const checkout = path.join(import.meta.dirname, '..', '..');
const pollMs = 50;
const waitMs = 30_000;

export interface AgentProcessOptions {
  /** Short: sockets are below it. */
  readonly dir: string;
  readonly nodeName: string;
  readonly cgroupRoot: string;
  /** Undefined: a private containerd. */
  readonly endpoint?: string;
  readonly bridge?: string;
}

export class AgentProcess {
  readonly manifests: string;
  readonly rootDir: string;
  readonly runDir: string;
  readonly #options: AgentProcessOptions;
  readonly #client: AgentClient;
  #child: ChildProcess | undefined;

  constructor(options: AgentProcessOptions) {
    this.#options = options;
    this.manifests = path.join(options.dir, 'manifests');
    this.rootDir = path.join(options.dir, 'root');
    this.runDir = path.join(options.dir, 'run');
    mkdirSync(this.manifests, { recursive: true });
    this.#client = new AgentClient({ socketPath: path.join(this.runDir, 'pinpod.sock') });
    const kubelet = {
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      staticPodPath: this.manifests,
      podLogsDir: path.join(this.rootDir, 'logs'),
      cgroupRoot: options.cgroupRoot,
      cgroupDriver: 'cgroupfs',
      ...(options.endpoint === undefined ? {} : { containerRuntimeEndpoint: options.endpoint }),
    };
    const agent = {
      apiVersion: 'pinpod.io/v1alpha1',
      kind: 'AgentConfiguration',
      rootDir: this.rootDir,
      runDir: this.runDir,
      imagesDir: path.join(checkout, '.cache', 'images'),
      ...(options.bridge === undefined
        ? {}
        : { privateContainerd: { mode: 'always', bridge: options.bridge, pauseImage: offlineImages.pause } }),
    };
    writeFileSync(path.join(options.dir, 'config.yaml'), `${JSON.stringify(kubelet)}\n---\n${JSON.stringify(agent)}\n`);
  }

  get kubeconfig(): string {
    return path.join(this.runDir, 'kubeconfig.yaml');
  }

  /** Resolves when the agent answers on its socket. */
  async start(): Promise<void> {
    const child = spawn(
      path.join(checkout, 'node_modules', '.bin', 'node'),
      [
        path.join(checkout, 'src', 'main.ts'),
        'run',
        '--config',
        path.join(this.#options.dir, 'config.yaml'),
        '--hostname-override',
        this.#options.nodeName,
        '-v',
        '4',
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    child.stderr.pipe(createWriteStream(path.join(this.#options.dir, 'agent.log'), { flags: 'a' }));
    this.#child = child;
    await this.until('the agent answers', async () => {
      if (child.exitCode !== null) throw new Error(`the agent ended with ${child.exitCode}:\n${this.log()}`);
      try {
        await this.pods();
        return true;
      } catch {
        return undefined;
      }
    });
  }

  /** Ends the agent and resolves to its exit code, null for a signal it did not handle. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null> {
    const child = this.#child;
    if (child === undefined) return null;
    this.#child = undefined;
    if (child.exitCode !== null) return child.exitCode;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
    return child.exitCode;
  }

  /** As an editor that saves well does it: whole, by a rename. */
  write(name: string, text: string): void {
    const hidden = path.join(this.manifests, `.${name}`);
    writeFileSync(hidden, text);
    renameSync(hidden, path.join(this.manifests, name));
  }

  async pods(): Promise<readonly Pod[]> {
    return ((await this.#json('/api/v1/pods')) as { readonly items: readonly Pod[] }).items;
  }

  async pod(name: string): Promise<Pod | undefined> {
    return (await this.pods()).find((pod) => pod.metadata.name === `${name}-${this.#options.nodeName}`);
  }

  async verdicts(): Promise<ManifestList['manifests']> {
    return ((await this.#json('/pinpod/v1/manifests')) as ManifestList).manifests;
  }

  /** The first answer that is not undefined. The wait is bounded; what it says at its end is what was last seen. */
  async until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
    for (const end = Date.now() + waitMs; ; await delay(pollMs)) {
      const seen = await look();
      if (seen !== undefined) return seen;
      if (Date.now() > end) throw new Error(`waited in vain until ${what}; the agent said:\n${this.log()}`);
    }
  }

  /** The Pod once every container of it runs and is ready, `restarts` times restarted. */
  async running(name: string, restarts = 0): Promise<Pod> {
    return this.until(`${name} runs`, async () => {
      const pod = await this.pod(name);
      const statuses = pod?.status?.containerStatuses ?? [];
      const isUp = statuses.length > 0 && statuses.every((s) => s.ready && s.restartCount === restarts && s.state?.running !== undefined);
      return isUp && pod?.metadata.deletionTimestamp === undefined ? pod : undefined;
    });
  }

  /** The end of what the agent logged. */
  log(): string {
    return readFileSync(path.join(this.#options.dir, 'agent.log'), 'utf8').split('\n').slice(-40).join('\n');
  }

  #json(url: string): Promise<unknown> {
    return this.#client.json(url, { signal: AbortSignal.timeout(10_000) });
  }
}
