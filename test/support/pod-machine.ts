// One machine for tests of the Pod loop: fake runtime and clock; real change detector, workers and executor. Images,
// volumes, cgroups and probes are small fakes. The agent on it can die at any moment and be started again.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { PodSpec, PodStatus } from '../../src/api/gen/kubernetes.ts';
import type { Pod } from '../../src/api/pod.ts';
import { annotationKeys } from '../../src/api/pod.ts';
import { Pleg } from '../../src/pleg/pleg.ts';
import { type AdmissionNode, admitPod, mayReturn } from '../../src/pod/admission.ts';
import type { PlanOptions } from '../../src/pod/draft.ts';
import type { ObservedContainer, ObservedPod } from '../../src/pod/observation.ts';
import type { ContainerProbeResults } from '../../src/pod/probe-results.ts';
import { type BackoffOptions, defaultBackoff } from '../../src/pod/restart-policy.ts';
import { ContainerLogLinks } from '../../src/podworker/container-log-links.ts';
import { Disruptions } from '../../src/podworker/disruptions.ts';
import { PodExecutor } from '../../src/podworker/execute.ts';
import { GarbageCollector } from '../../src/podworker/garbage-collector.ts';
import { HookRunner } from '../../src/podworker/hooks.ts';
import { Leftovers } from '../../src/podworker/leftovers.ts';
import { LogDirectories } from '../../src/podworker/log-directories.ts';
import { PodWorkers } from '../../src/podworker/pod-workers.ts';
import type { LastStatus } from '../../src/podworker/ports.ts';
import type { Runtime } from '../../src/runtime/runtime.ts';
import { StatusStore } from '../../src/status/status-store.ts';
import { TaskGroup } from '../../src/std/async.ts';
import type { Instant } from '../../src/std/clock.ts';
import { RuntimeError } from '../../src/std/errors.ts';
import { type Logger, silentLogger } from '../../src/std/log.ts';
import { noMetrics } from '../../src/std/metrics.ts';
import { FakeClock } from './fake-clock.ts';
import { FakeRuntime, type FakeRuntimeOptions } from './fake-runtime.ts';
import { buildAdmissionNode, buildNode } from './node-facts.ts';
import { buildPod, RecordedEvents } from './pods.ts';

/** A Pod of the source `file`; `web-node1` unless named otherwise. */
export function staticPod(uid: string, spec: Partial<PodSpec> = {}, name = 'web', source = 'file'): Pod {
  return buildPod(
    { restartPolicy: 'Always', terminationGracePeriodSeconds: 30, ...spec },
    { uid, name: `${name}-node1`, annotations: { [annotationKeys.configSource]: source } },
  );
}

interface Agent {
  readonly tasks: TaskGroup;
  readonly workers: PodWorkers;
  readonly status: StatusStore;
}

/** The calls after which a test may let the agent die. */
export const deeds = [
  'runPodSandbox',
  'stopPodSandbox',
  'removePodSandbox',
  'createContainer',
  'startContainer',
  'stopContainer',
  'removeContainer',
] as const satisfies readonly (keyof Runtime)[];
const isDeed: ReadonlySet<string> = new Set(deeds);

/** File access would make the order of events depend on the machine the test runs on. */
class NoLogDirectories extends LogDirectories {
  override async prepare(): Promise<void> {}
  override async removeContainerLogs(): Promise<void> {}
}

class NoLogLinks extends ContainerLogLinks {
  override async add(): Promise<void> {}
  override async remove(): Promise<void> {}
}

export class PodMachine {
  readonly clock = new FakeClock();
  readonly runtime: FakeRuntime;
  readonly events = new RecordedEvents();
  readonly desired = new Map<string, Pod>();
  readonly seen = new Set(['file']);
  /** UIDs with volumes and with a cgroup. */
  readonly volumes = new Set<string>();
  readonly cgroups = new Set<string>();
  /** The status last kept of each Pod, by UID, and the specs kept with it. */
  readonly lastStatus = new Map<string, LastStatus>();
  readonly lastSpecs = new Map<string, PodSpec>();
  /** What the agent keeps of the Pods that the node ended. */
  disrupted: unknown;
  /** How often the volumes of a Pod were set up, by UID. */
  readonly volumeSetUps = new Map<string, number>();
  /** By container name, for whatever its newest container is. */
  readonly probes = new Map<string, ContainerProbeResults>();
  /** Answers of the image port other than "present", by reference. */
  readonly badImages = new Map<string, { readonly reason: string; readonly message: string; readonly retryMs: number }>();
  /** Errors that were logged: none is expected. */
  readonly errors: string[] = [];
  /** Runs before every change of the runtime, with the method and its first argument. */
  beforeDeed: (method: string, request: unknown) => void = () => undefined;
  /** Runs after every change of the runtime. */
  onDeed: (deed: string) => void = () => undefined;
  backoff: BackoffOptions = defaultBackoff;
  /** What Pods are measured against; the next reconciliation sees a change. */
  admission: AdmissionNode = buildAdmissionNode();
  networkError: string | undefined;
  volumeFault: Error | undefined;
  /** Setting up volumes waits for it. */
  volumeGate: Promise<void> = Promise.resolve();
  readonly #folder: string;
  #agent: Agent | undefined;
  #life = 0;
  /** CreateContainer actions under way, and calls of the runtime that have not answered. */
  #creations = 0;
  #pendingCalls = 0;
  #deedsLeft = Number.POSITIVE_INFINITY;

  constructor(options: FakeRuntimeOptions & { readonly folder: string }) {
    this.#folder = options.folder;
    this.runtime = new FakeRuntime(options, { clock: this.clock });
    this.runtime.addImage('nginx');
  }

  get agent(): Agent {
    if (this.#agent === undefined) throw new RangeError('no agent is running');
    return this.#agent;
  }

  get podLogsDir(): string {
    return path.join(this.#folder, 'pods');
  }

  status(uid = 'uid-1'): PodStatus | undefined {
    return this.agent.status.get(uid)?.status;
  }

  /** Starts the agent: change detector, then the workers. */
  async start(): Promise<void> {
    const { clock, events } = this;
    const life = ++this.#life;
    this.#deedsLeft = Number.POSITIVE_INFINITY;
    const runtime = this.#mortalRuntime(life);
    const logger = this.#logger();
    const node = async () => buildNode({ podLogsDir: this.podLogsDir });
    const status = new StatusStore({ clock });
    const tasks = new TaskGroup();
    const hooks = new HookRunner({ runtime, clock, events, logger, metrics: noMetrics });
    const logs = new NoLogDirectories({ root: this.podLogsDir, owner: 'test' });
    const links = new NoLogLinks({ folder: path.join(this.#folder, 'containers'), podLogsDir: this.podLogsDir }, { logger });
    let workers: PodWorkers | undefined;
    const records = new GarbageCollector(
      { minimumAgeMs: 0, maxPerContainer: 1, maxContainers: -1, node: { kind: 'Node', namespace: '', name: 'node1', uid: 'node1' } },
      {
        runtime,
        clock,
        events,
        logger,
        hooks,
        logs,
        links,
        pods: {
          sourcesReady: () => true,
          isDisposable: (uid) => workers?.isDisposable(uid) ?? false,
          isLeftAlone: (uid) => workers?.isLeftAlone(uid) ?? true,
        },
      },
    );
    const pleg = new Pleg(
      {},
      {
        runtime,
        clock,
        logger: silentLogger,
        metrics: noMetrics,
        onChange: (uid) => workers?.wake(uid),
        onRecovered: () => workers?.wakeAll(),
      },
    );
    const newest = new Map<string, readonly ObservedContainer[]>();
    workers = new PodWorkers(
      { nodeName: 'node1' },
      {
        desired: () => this.desired,
        hasSeen: (source) => this.seen.has(source),
        podUids: () => pleg.podUids(),
        observe: (uid, options) => pleg.observe(uid, options),
        executorOf: (pod) =>
          this.#counting(
            new PodExecutor(pod, {
              runtime,
              node,
              hooks,
              logs,
              links,
              records,
              events,
              logger,
              images: {
                ensure: async ({ reference, sandboxConfig }, options) => {
                  const bad = this.badImages.get(reference);
                  if (bad !== undefined) return { kind: 'failed', ...bad, retryAt: clock.now() + bad.retryMs };
                  const image = await runtime.imageStatus({ image: reference }, options);
                  if (image !== undefined) return { kind: 'present', imageRef: image.id, image };
                  try {
                    const imageRef = await runtime.pullImage({ image: { image: reference }, auth: undefined, sandboxConfig }, options);
                    return { kind: 'present', imageRef, image: undefined };
                  } catch (error) {
                    if (!(error instanceof RuntimeError)) throw error;
                    return { kind: 'failed', reason: 'ErrImagePull', message: error.message, retryAt: clock.now() + 10_000 };
                  }
                },
              },
              volumes: {
                setUp: async ({ metadata: { uid } }) => {
                  await this.volumeGate;
                  if (this.volumeFault !== undefined) throw this.volumeFault;
                  this.volumes.add(uid);
                  this.volumeSetUps.set(uid, (this.volumeSetUps.get(uid) ?? 0) + 1);
                },
                refresh: async () => undefined,
                envFiles: async () => new Map(),
                mounts: async () => [],
                tearDown: async (uid) => {
                  if (this.volumeFault !== undefined) throw this.volumeFault;
                  this.volumes.delete(uid);
                },
                remove: async (uid) => {
                  if (this.volumeFault !== undefined) throw this.volumeFault;
                  this.volumes.delete(uid);
                  this.lastStatus.delete(uid);
                  this.lastSpecs.delete(uid);
                },
              },
              users: { reserve: async () => undefined },
              cgroups: {
                ensure: async ({ metadata: { uid } }) => {
                  const wasThere = this.cgroups.has(uid);
                  this.cgroups.add(uid);
                  return wasThere;
                },
                beginResize: async () => undefined,
                endResize: async () => undefined,
                remove: async (uid) => {
                  this.cgroups.delete(uid);
                },
              },
            }),
          ),
        admit: (pod, active) => admitPod(pod, active, this.admission),
        mayReturn: (reason) => mayReturn(reason, this.admission),
        disruptions: new Disruptions({
          file: {
            load: async () => this.disrupted,
            save: async (value) => {
              this.disrupted = value;
            },
          },
          logger,
        }),
        prober: {
          sync: (pod: Pod, observed: ObservedPod) => void newest.set(pod.metadata.uid, observed.containers),
          beginTermination: () => undefined,
          remove: (uid) => void newest.delete(uid),
          results: (uid) => {
            const byContainerId = new Map<string, ContainerProbeResults>();
            for (const [name, results] of this.probes) {
              const record = (newest.get(uid) ?? []).find((candidate) => candidate.name === name);
              if (record !== undefined) byContainerId.set(record.id, results);
            }
            return { byContainerId, workers: new Map() };
          },
        },
        planOptions: (): PlanOptions => ({
          backoff: this.backoff,
          networkError: this.networkError,
          runtimeName: 'fake',
          hostIps: ['192.0.2.7'],
          agentStartedAt: 0,
        }),
        lastStatus: {
          load: async ({ metadata: { uid } }) => this.lastStatus.get(uid),
          save: async ({ metadata: { uid } }, kept) => {
            if (!this.volumes.has(uid)) return;
            this.lastStatus.set(uid, kept);
            this.lastSpecs.set(uid, kept.spec);
          },
          specOf: async (uid) => this.lastSpecs.get(uid),
          forget: async ({ metadata: { uid } }) => void this.lastStatus.delete(uid),
        },
        readTerminationMessage: async () => '',
        status,
        events,
        clock,
        logger,
      },
    );
    const started = workers;
    const leftovers = new Leftovers({
      volumes: {
        podUids: async () => [...this.volumes],
        removeOrphan: async (uid) => {
          await this.volumeGate;
          this.volumes.delete(uid);
          return undefined;
        },
        finishRemovals: async () => undefined,
      },
      cgroups: { remove: async (uid) => void this.cgroups.delete(uid) },
      whileUnknown: async (uid, work) => this.seen.has('file') && (await started.whileUnknown(uid, work)),
      clock,
      metrics: noMetrics,
      logger,
    });
    tasks.spawn('leftovers', (options) => leftovers.run(options));
    this.#agent = { tasks, workers: started, status };
    tasks.spawn('pleg', (options) => pleg.run(options));
    tasks.spawn('start', async (options) => {
      await pleg.ready(options);
      await started.start(options);
    });
    await this.settle();
  }

  /** kill -9: nothing that was under way goes on. The runtime does not notice. */
  async crash(): Promise<void> {
    const { tasks, workers } = this.agent;
    this.#agent = undefined;
    this.#life++;
    await workers.close();
    await tasks.close();
    await this.settle();
  }

  async restart(): Promise<void> {
    await this.crash();
    await this.start();
  }

  /** After that many more changes of the runtime the agent gets no answer any more; `restart` then. */
  dieAfter(deedCount: number): void {
    this.#deedsLeft = deedCount;
  }

  /** The source `file` has spoken: these Pods and no others. */
  async apply(...pods: readonly Pod[]): Promise<void> {
    this.desired.clear();
    for (const pod of pods) this.desired.set(pod.metadata.uid, pod);
    this.agent.workers.reconcile();
    await this.settle();
  }

  async exit(name: string, code: number, reason?: string): Promise<void> {
    this.runtime.exit(this.runtime.containerId(name), code, reason);
    await this.settle();
  }

  /** A result of a probe of the newest container of that name. */
  async probe(name: string, results: ContainerProbeResults | undefined, uid = 'uid-1'): Promise<void> {
    if (results === undefined) this.probes.delete(name);
    else this.probes.set(name, results);
    this.agent.workers.wake(uid);
    await this.settle();
  }

  /** Moves time on; whatever is due at one moment is over before the next. */
  async advance(ms: number): Promise<void> {
    const end = this.clock.now() + ms;
    for (;;) {
      await this.settle();
      const next = this.clock.nextWake;
      if (next === undefined || next > end) break;
      await this.clock.advance(Math.max(0, next - this.clock.now()));
    }
    await this.clock.advance(end - this.clock.now());
    await this.settle();
  }

  /** Lets everything that is ready run, file access included. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 12; quiet++) {
      await new Promise((resolve) => setImmediate(resolve));
      // Only a creation reads files (those of the logs); all else waits for the runtime, the clock or nothing.
      if (this.#creations > this.#pendingCalls) quiet = 0;
    }
  }

  /** What the runtime was made to do since the last call. */
  takeDeeds(): readonly string[] {
    const taken = this.runtime.deeds;
    this.runtime.clearCalls();
    return taken;
  }

  async observe(uid = 'uid-1'): Promise<ObservedPod> {
    const options = { signal: new AbortController().signal };
    const filter = { podUid: uid };
    const containers = await Promise.all(
      (await this.runtime.listContainers(filter, options)).map(({ id }) => this.runtime.containerStatus(id, options)),
    );
    const sandboxes = await Promise.all(
      (await this.runtime.listPodSandboxes(filter, options)).map(({ id }) => this.runtime.podSandboxStatus(id, options)),
    );
    return {
      uid,
      sandboxes: sandboxes.filter((sandbox) => sandbox !== undefined),
      containers: containers.filter((container) => container !== undefined),
    };
  }

  /** `app/0 running`, … of one Pod, oldest first. */
  async containers(uid = 'uid-1'): Promise<readonly string[]> {
    const { containers } = await this.observe(uid);
    return containers.map((record) => `${record.name}/${record.attempt} ${record.state}`);
  }

  /** Whether anything of the Pod is left on the machine. */
  async remains(uid = 'uid-1'): Promise<readonly string[]> {
    const { containers, sandboxes } = await this.observe(uid);
    return [
      ...containers.map((record) => `container ${record.name}/${record.attempt} ${record.state}`),
      ...sandboxes.map((sandbox) => `sandbox ${sandbox.attempt} ${sandbox.state}`),
      ...(this.volumes.has(uid) ? ['volumes'] : []),
      ...(this.cgroups.has(uid) ? ['cgroup'] : []),
      ...(this.#agent?.status.get(uid) === undefined ? [] : ['status']),
    ];
  }

  startedAt(deed: string): readonly Instant[] {
    return this.#times.get(deed) ?? [];
  }

  async #pending<T>(call: () => Promise<T>): Promise<T> {
    this.#pendingCalls++;
    try {
      return await call();
    } finally {
      this.#pendingCalls--;
    }
  }

  #counting(executor: PodExecutor): Pick<PodExecutor, 'execute'> {
    return {
      execute: async (action, options) => {
        const isCreation = action.type === 'CreateContainer';
        if (isCreation) this.#creations++;
        try {
          return await executor.execute(action, options);
        } finally {
          if (isCreation) this.#creations--;
        }
      },
    };
  }

  readonly #times = new Map<string, Instant[]>();

  #logger(): Logger {
    const { errors } = this;
    const logger: Logger = {
      ...silentLogger,
      error: (message, fields) => void errors.push(`${message} ${String(fields?.['error'] ?? JSON.stringify(fields))}`),
      child: () => logger,
    };
    return logger;
  }

  /** The runtime as one life of the agent sees it: after its death no call does anything or answers. */
  #mortalRuntime(life: number): Runtime {
    const hang = (): Promise<never> => new Promise(() => undefined);
    return new Proxy<Runtime>(this.runtime, {
      get: (target, key) => {
        const method: unknown = Reflect.get(target, key, target);
        if (typeof method !== 'function') return method;
        if (key === 'events') return (...args: unknown[]): unknown => Reflect.apply(method, target, args);
        return async (...args: unknown[]): Promise<unknown> => {
          const { signal } = args.at(-1) as { readonly signal: AbortSignal };
          const isDead = (): boolean => life !== this.#life || this.#deedsLeft <= 0;
          const untilAborted = (): Promise<never> =>
            signal.aborted
              ? Promise.reject(signal.reason as Error)
              : Promise.race([
                  hang(),
                  new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })),
                ]);
          if (isDead()) return this.#pending(untilAborted);
          if (isDeed.has(String(key))) this.beforeDeed(String(key), args[0]);
          return this.#pending(async () => {
            const answer: unknown = Reflect.apply(method, target, args);
            const call = this.runtime.calls.at(-1); // logged as soon as it is made
            try {
              return await answer;
            } finally {
              if (isDeed.has(String(key)) && call !== undefined && life === this.#life) {
                this.#deedsLeft--;
                const name = [call.method, ...call.args].join(' ');
                this.#times.set(name, [...(this.#times.get(name) ?? []), this.clock.now()]);
                this.onDeed(name);
                // It was done, but nobody lives to learn of it.
                if (this.#deedsLeft <= 0) await untilAborted();
              }
            }
          });
        };
      },
    });
  }
}

/** Runs a test on a machine of its own and leaves nothing behind. */
export async function onMachine(options: FakeRuntimeOptions, body: (machine: PodMachine) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), 'pinpod-machine-'));
  const machine = new PodMachine({ ...options, folder });
  try {
    await machine.start();
    await body(machine);
    await machine.crash();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
