// A long life in a short time: the whole agent on the fake runtime and a fake clock, with Pods that crash, Pods that are
// edited, and somebody who watches. For bench/soak.ts and the test that the heap stays flat.
import { mkdtempSync, rmSync } from 'node:fs';
import { type ClientRequest, request } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { FakeAgent } from './fake-agent.ts';
import { FakeClock, settle } from './fake-clock.ts';

export interface SoakOptions {
  readonly pods: number;
  /** How probable it is that a running container ends, in a step of ten seconds. */
  readonly exits: number;
  /** How probable it is that one manifest is edited, in such a step. */
  readonly edits: number;
  /** Fields of KubeletConfiguration. */
  readonly kubelet?: Readonly<Record<string, unknown>>;
}

const stepMs = 10_000;

export class Soak {
  restarts = 0;
  edits = 0;
  readonly #options: SoakOptions;
  readonly #dir = mkdtempSync(path.join(tmpdir(), 'pinpod-soak-'));
  readonly #clock = new FakeClock();
  readonly #agent: FakeAgent;
  readonly #collect: () => void;
  #watches: readonly ClientRequest[] = [];
  #seed = 1;

  constructor(options: SoakOptions) {
    this.#options = options;
    // As bin/pinpod runs the agent: what optimizing compilers make would look like growth.
    for (const flag of ['--expose-gc', '--no-opt', '--no-maglev']) setFlagsFromString(flag);
    this.#collect = runInNewContext('gc') as () => void;
    this.#agent = new FakeAgent({ dir: this.#dir, kubelet: options.kubelet ?? {} }, { clock: this.#clock });
  }

  async start(): Promise<void> {
    for (let i = 0; i < this.#options.pods; i++) this.#put(i);
    const started = this.#agent.start();
    for (let isUp = false; !isUp; ) {
      await this.#clock.advance(100);
      isUp = await Promise.race([started.then(() => true), settle().then(() => false)]);
    }
    this.#watches = ['/api/v1/pods?watch=true', '/api/v1/events?watch=true'].map((target) => this.#watch(target));
  }

  async run(steps: number): Promise<void> {
    const { pods, exits, edits } = this.#options;
    for (let step = 0; step < steps; step++) {
      for (const { id, state } of this.#agent.runtime.snapshot().containers) {
        if (state !== 'running' || this.#chance() > exits) continue;
        this.#agent.runtime.exit(id, this.#chance() < 0.5 ? 1 : 0);
        this.restarts++;
      }
      if (this.#chance() < edits) {
        this.edits++;
        this.#put(Math.floor(this.#chance() * pods));
      }
      // What the fake keeps for tests.
      this.#agent.runtime.clearCalls();
      for (let at = 0; at < stepMs; at += 1000) {
        await this.#clock.advance(1000);
        await this.#quiet();
      }
    }
  }

  /** Files and sockets know nothing of the fake clock: they have time until the runtime is asked nothing more. */
  async #quiet(): Promise<void> {
    const { runtime } = this.#agent;
    for (let asked = -1, turns = 0; turns < 3; turns++) {
      if (runtime.calls.length !== asked) turns = 0;
      asked = runtime.calls.length;
      await settle();
    }
  }

  /** What is left on the heap when everything that can go has gone. */
  liveMiB(): number {
    this.#collect();
    this.#collect();
    return getHeapStatistics().used_heap_size / 2 ** 20;
  }

  async stop(): Promise<void> {
    for (const watch of this.#watches) watch.destroy();
    const stopping = this.#agent.stop().then(() => true);
    // Little time passes while files are written, or the agent would give up waiting for them.
    while (!(await Promise.race([stopping, settle().then(() => false)]))) await this.#clock.advance(1);
    rmSync(this.#dir, { recursive: true, force: true });
  }

  #put(index: number): void {
    const name = `pod-${index}`;
    const containers = ['main', 'side'].map((container) => ({
      name: container,
      image: 'example.org/app:1',
      imagePullPolicy: 'IfNotPresent',
      env: [{ name: 'REVISION', value: String(this.edits) }],
      readinessProbe: { exec: { command: ['true'] }, periodSeconds: 60 },
    }));
    const spec = { terminationGracePeriodSeconds: 1, containers };
    this.#agent.put(`${name}.json`, JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name, labels: { app: name } }, spec }));
  }

  /** As kubectl get -w does it; what it is told is thrown away. */
  #watch(target: string): ClientRequest {
    const watching = request({ socketPath: path.join(this.#agent.runDir, 'pinpod.sock'), path: target, agent: false }, (response) =>
      response.on('error', () => undefined).resume(),
    );
    watching.on('error', () => undefined).end();
    return watching;
  }

  /** The same accidents in every run. */
  #chance(): number {
    this.#seed = (this.#seed * 48_271) % 2_147_483_647;
    return this.#seed / 2_147_483_647;
  }
}
