// The whole agent in this process on the fake runtime: folders of its own below one folder, everything else as in
// `pinpod run`. For `npm run dev`, for the soak, and for tests of the whole agent that need no container.
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Agent } from '../../src/agent/agent.ts';
import { AgentClient } from '../../src/cli/client.ts';
import { loadConfig } from '../../src/config/load.ts';
import { Shutdown } from '../../src/std/async.ts';
import type { Clock } from '../../src/std/clock.ts';
import { type Logger, silentLogger } from '../../src/std/log.ts';
import { systemRandom } from '../../src/std/random.ts';
import { FakeRuntime, type FakeRuntimeOptions } from './fake-runtime.ts';

export interface FakeAgentOptions {
  /** Made when missing, never removed. */
  readonly dir: string;
  readonly nodeName?: string;
  /** Fields of KubeletConfiguration. */
  readonly kubelet?: Readonly<Record<string, unknown>>;
  /** Fields of AgentConfiguration. */
  readonly agent?: Readonly<Record<string, unknown>>;
  readonly runtime?: FakeRuntimeOptions;
}

/** Has whatever image is asked for. */
class GenerousRuntime extends FakeRuntime {
  override imageStatus(...args: Parameters<FakeRuntime['imageStatus']>): ReturnType<FakeRuntime['imageStatus']> {
    const { image } = args[0];
    if (!this.#has.has(image)) this.#has.set(image, this.addImage(image));
    return super.imageStatus(...args);
  }

  readonly #has = new Map<string, string>();
}

export class FakeAgent {
  readonly runtime: FakeRuntime;
  readonly folder: string;
  readonly runDir: string;
  readonly client: AgentClient;
  readonly #dir: string;
  readonly #agent: Agent;
  readonly #stop = new AbortController();
  #run: Promise<void> | undefined;

  constructor(options: FakeAgentOptions, deps: { readonly clock: Clock; readonly logger?: Logger }) {
    const { clock, logger = silentLogger } = deps;
    const { dir } = options;
    this.#dir = dir;
    this.folder = path.join(dir, 'manifests');
    this.runDir = path.join(dir, 'run');
    mkdirSync(this.folder, { recursive: true });
    const kubelet = {
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      staticPodPath: this.folder,
      podLogsDir: path.join(dir, 'logs', 'pods'),
      cgroupsPerQOS: false,
      enforceNodeAllocatable: ['none'],
      enableServer: false,
      ...options.kubelet,
    };
    const agent = {
      apiVersion: 'pinpod.io/v1alpha1',
      kind: 'AgentConfiguration',
      rootDir: path.join(dir, 'root'),
      runDir: this.runDir,
      kubeAPI: { enabled: false },
      ...options.agent,
    };
    const config = path.join(dir, 'config.yaml');
    writeFileSync(config, `${JSON.stringify(kubelet)}\n---\n${JSON.stringify(agent)}\n`);
    const loaded = loadConfig({ flags: { config: [config], 'hostname-override': [options.nodeName ?? 'node1'] }, env: {} });
    this.runtime = new GenerousRuntime(options.runtime ?? {}, { clock });
    this.#agent = new Agent({ loaded, env: {} }, { clock, random: systemRandom, logger, runtime: this.runtime });
    this.client = new AgentClient({ socketPath: loaded.config.agentSocketPath });
  }

  /** Resolves once the first manifests are being acted on; rejects when the agent cannot start. */
  async start(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#run = this.#agent.run({ signal: this.#stop.signal, onReady: resolve });
      this.#run.catch(reject);
    });
  }

  /** Rejects when the agent fails; resolves when it was stopped. */
  async ended(): Promise<void> {
    await this.#run;
  }

  async stop(): Promise<void> {
    this.#stop.abort(new Shutdown());
    await this.#run;
  }

  /** As an editor that renames does it. */
  put(name: string, text: string): void {
    const temporary = path.join(this.#dir, `${name}.new`);
    writeFileSync(temporary, text);
    renameSync(temporary, path.join(this.folder, name));
  }
}
