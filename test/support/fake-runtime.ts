// An in-memory container runtime that behaves like containerd where it matters: name reservation, states, exit codes
// and reasons, what stays after a kill or a power loss. Passes test/compliance. Everything below "Test controls" is for
// tests: make processes exit, calls fail or hang, and read what was asked.
import type { ObservedContainer, ObservedSandbox } from '../../src/pod/observation.ts';
import type { ContainerConfig, ImageAuth, ImageSpec, LinuxResources, PodSandboxConfig } from '../../src/pod/runtime-config.ts';
import type {
  CallOptions,
  ContainerStats,
  ExecResult,
  FilesystemUsage,
  PodSandboxStats,
  Runtime,
  RuntimeEvent,
  RuntimeFilter,
  RuntimeImage,
  RuntimeStatus,
  RuntimeVersion,
  StreamOptions,
} from '../../src/runtime/runtime.ts';
import { raceSignal } from '../../src/std/async.ts';
import type { Clock, Instant } from '../../src/std/clock.ts';
import { RuntimeError } from '../../src/std/errors.ts';

/** How a container's main process behaves. */
export interface FakeProcess {
  /** The exit code after SIGTERM; `ignore` waits for SIGKILL. Default 0. */
  readonly onTerm?: number | 'ignore';
  /** Exits by itself with this code as soon as it is started. */
  readonly exitsWith?: number;
  /** There is no such program: StartContainer fails with this message and leaves an exited record (128 StartError). */
  readonly startError?: string;
}

export interface FakeImage extends Partial<Omit<RuntimeImage, 'repoTags'>> {
  /** Already on the machine (default), or only in the registry. */
  readonly present?: boolean;
  readonly process?: FakeProcess;
}

export interface FakeCall {
  readonly method: keyof Runtime;
  /** Names rather than ids: `name/attempt` of a sandbox or container, images, seconds. */
  readonly args: readonly (string | number)[];
}

export interface FakeRuntimeOptions {
  readonly name?: string;
  /** False: `events()` throws `unimplemented`, as a runtime without an event stream. `silent`: it tells of nothing. */
  readonly events?: boolean | 'silent';
  /** Behaviour by container; an image's own `process` is used where this gives undefined. */
  readonly process?: (config: ContainerConfig) => FakeProcess | undefined;
  readonly exec?: (request: { readonly container: ContainerConfig; readonly command: readonly string[] }) => ExecResult | 'hang';
}

interface Sandbox {
  readonly id: string;
  readonly config: PodSandboxConfig;
  readonly runtimeHandler: string;
  readonly createdAt: Instant;
  state: ObservedSandbox['state'];
  ip: string;
}

interface Container {
  readonly id: string;
  readonly sandbox: Sandbox;
  readonly config: ContainerConfig;
  readonly image: RuntimeImage;
  readonly process: FakeProcess;
  readonly createdAt: Instant;
  resources: LinuxResources;
  state: ObservedContainer['state'];
  startedAt: Instant | undefined;
  finishedAt: Instant | undefined;
  exitCode: number;
  reason: string;
  message: string;
  readonly onExit: Set<() => void>;
}

interface Subscriber {
  readonly queue: RuntimeEvent[];
  wake: () => void;
  broken: RuntimeError | undefined;
}

interface Gate {
  readonly opened: Promise<void>;
  readonly open: () => void;
}

/** The calls that change nothing; left out of `FakeRuntime.deeds`. */
const reads: ReadonlySet<string> = new Set<keyof Runtime>([
  'version',
  'status',
  'cgroupDriver',
  'listPodSandboxes',
  'podSandboxStatus',
  'listContainers',
  'containerStatus',
  'events',
  'containerStats',
  'listContainerStats',
  'listPodSandboxStats',
  'listImages',
  'imageStatus',
  'imageFsInfo',
]);

export class FakeRuntime implements Runtime {
  readonly #options: FakeRuntimeOptions;
  readonly #clock: Clock;
  readonly #sandboxes = new Map<string, Sandbox>();
  readonly #containers = new Map<string, Container>();
  readonly #images = new Map<string, RuntimeImage & { readonly process: FakeProcess }>();
  readonly #registry = new Map<string, RuntimeImage & { readonly process: FakeProcess }>();
  readonly #subscribers = new Set<Subscriber>();
  readonly #failures = new Map<keyof Runtime, unknown[]>();
  readonly #gates = new Map<keyof Runtime, Gate>();
  readonly #calls: FakeCall[] = [];
  #created = 0;
  #networkReady = true;
  #runtimeReady = true;

  constructor(options: FakeRuntimeOptions, deps: { readonly clock: Clock }) {
    this.#options = options;
    this.#clock = deps.clock;
  }

  // ---- Runtime and node -----------------------------------------------------------------------------------------

  version(options: CallOptions): Promise<RuntimeVersion> {
    return this.#call('version', [], options, () => ({
      runtimeName: this.#options.name ?? 'fake',
      runtimeVersion: '1.0.0',
      runtimeApiVersion: 'v1',
    }));
  }

  status(request: { readonly verbose: boolean }, options: CallOptions): Promise<RuntimeStatus> {
    return this.#call('status', [], options, () => ({
      conditions: [
        condition('RuntimeReady', this.#runtimeReady, 'RuntimeNotReady', 'the fake was told so'),
        condition('NetworkReady', this.#networkReady, 'NetworkPluginNotReady', 'Network plugin returns error: cni plugin not initialized'),
      ],
      handlers: [{ name: '', recursiveReadOnlyMounts: false, userNamespaces: false }],
      features: { supplementalGroupsPolicy: false },
      info: request.verbose ? { config: '{}' } : {},
    }));
  }

  cgroupDriver(options: CallOptions): Promise<'systemd' | 'cgroupfs' | undefined> {
    return this.#call('cgroupDriver', [], options, () => 'cgroupfs' as const);
  }

  updatePodCidr(podCidr: string, options: CallOptions): Promise<void> {
    return this.#call('updatePodCidr', [podCidr], options, () => undefined);
  }

  // ---- Sandboxes --------------------------------------------------------------------------------------------------

  runPodSandbox(request: { readonly config: PodSandboxConfig; readonly runtimeHandler: string }, options: CallOptions): Promise<string> {
    const { config, runtimeHandler } = request;
    return this.#call('runPodSandbox', [sandboxKey(config)], options, () => {
      const { metadata } = config;
      const name = [metadata.name, metadata.namespace, metadata.uid, metadata.attempt].join('_');
      for (const other of this.#sandboxes.values()) {
        const { name: n, namespace, uid, attempt } = other.config.metadata;
        if ([n, namespace, uid, attempt].join('_') === name) throw reserved('sandbox', name, other.id);
      }
      const hostNetwork = isHostNetwork(config);
      if (hostNetwork && config.hostname !== '')
        throw new RuntimeError('unknown', 'unable to set hostname without a private UTS namespace');
      if (!hostNetwork && !this.#networkReady) {
        throw new RuntimeError('unknown', 'failed to setup network for sandbox: cni plugin not initialized');
      }
      const sandbox: Sandbox = {
        id: this.#id('5a'),
        config,
        runtimeHandler,
        createdAt: this.#clock.now(),
        state: 'ready',
        ip: hostNetwork ? '' : `10.88.${(this.#created + 1) >> 8}.${(this.#created + 1) & 255}`,
      };
      this.#sandboxes.set(sandbox.id, sandbox);
      this.#emit(metadata.uid, sandbox.id);
      return sandbox.id;
    });
  }

  stopPodSandbox(sandboxId: string, options: CallOptions): Promise<void> {
    return this.#call('stopPodSandbox', [this.#sandboxName(sandboxId)], options, () => {
      const sandbox = this.#sandboxes.get(sandboxId);
      if (sandbox === undefined) return;
      for (const container of this.#containersOf(sandboxId)) this.#kill(container);
      this.#stopSandbox(sandbox);
      sandbox.ip = '';
    });
  }

  removePodSandbox(sandboxId: string, options: CallOptions): Promise<void> {
    return this.#call('removePodSandbox', [this.#sandboxName(sandboxId)], options, () => {
      const sandbox = this.#sandboxes.get(sandboxId);
      if (sandbox === undefined) return;
      for (const container of this.#containersOf(sandboxId)) {
        this.#kill(container);
        this.#containers.delete(container.id);
        this.#emit(sandbox.config.metadata.uid, container.id);
      }
      this.#stopSandbox(sandbox);
      this.#sandboxes.delete(sandboxId);
      this.#emit(sandbox.config.metadata.uid, sandboxId);
    });
  }

  listPodSandboxes(filter: RuntimeFilter, options: CallOptions): Promise<readonly ObservedSandbox[]> {
    return this.#call('listPodSandboxes', filterArgs(filter), options, () =>
      [...this.#sandboxes.values()]
        .filter((sandbox) => matches(filter, sandbox.config.metadata.uid))
        .map((sandbox) => ({ ...observeSandbox(sandbox), hostNetwork: undefined, ips: [], lostNetwork: false })),
    );
  }

  podSandboxStatus(sandboxId: string, options: CallOptions): Promise<ObservedSandbox | undefined> {
    return this.#call('podSandboxStatus', [this.#sandboxName(sandboxId)], options, () => {
      const sandbox = this.#sandboxes.get(sandboxId);
      return sandbox === undefined ? undefined : observeSandbox(sandbox);
    });
  }

  // ---- Containers -------------------------------------------------------------------------------------------------

  createContainer(
    request: { readonly sandboxId: string; readonly config: ContainerConfig; readonly sandboxConfig: PodSandboxConfig },
    options: CallOptions,
  ): Promise<string> {
    const { sandboxId, config } = request;
    return this.#call('createContainer', [containerKey(config)], options, () => {
      const sandbox = this.#sandboxes.get(sandboxId);
      if (sandbox === undefined) throw notFound(`failed to find sandbox id "${sandboxId}"`);
      if (sandbox.state !== 'ready') throw notFound('failed to get sandbox container task: no running task found');
      const { name, attempt } = config.metadata;
      for (const other of this.#containersOf(sandboxId)) {
        if (other.config.metadata.name === name && other.config.metadata.attempt === attempt) {
          throw reserved('container', `${name}_${sandboxKey(sandbox.config)}_${attempt}`, other.id);
        }
      }
      const image = this.#image(config.image.image);
      if (image === undefined) throw notFound(`failed to resolve image "${config.image.image}": not found`);
      if (config.linux.securityContext.privileged && !sandbox.config.linux.securityContext.privileged) {
        throw new RuntimeError('unknown', 'no privileged container allowed in sandbox');
      }
      const container: Container = {
        id: this.#id('c0'),
        sandbox,
        config,
        image,
        process: this.#options.process?.(config) ?? image.process,
        createdAt: this.#clock.now(),
        resources: config.linux.resources,
        state: 'created',
        startedAt: undefined,
        finishedAt: undefined,
        exitCode: 0,
        reason: '',
        message: '',
        onExit: new Set(),
      };
      this.#containers.set(container.id, container);
      this.#emit(sandbox.config.metadata.uid, container.id);
      return container.id;
    });
  }

  startContainer(containerId: string, options: CallOptions): Promise<void> {
    const start = (failure: unknown): void => {
      const container = this.#containers.get(containerId);
      if (failure !== undefined) {
        // A runtime that could not be reached did nothing; one that refused leaves an exited record.
        if (container?.state === 'created' && failure instanceof RuntimeError && failure.code !== 'unavailable') {
          container.message = failure.message;
          this.#exited(container, 128, 'StartError');
        }
        throw failure;
      }
      if (container === undefined) throw notFound(`an error occurred when try to find container "${containerId}": not found`);
      if (container.state !== 'created') {
        throw new RuntimeError('unknown', `container is in ${criState(container.state)} state`);
      }
      if (container.sandbox.state !== 'ready') {
        throw new RuntimeError('unknown', `sandbox container "${container.sandbox.id}" is not running`);
      }
      if (container.process.startError !== undefined) {
        container.message = container.process.startError;
        this.#exited(container, 128, 'StartError');
        throw new RuntimeError('unknown', container.process.startError);
      }
      container.state = 'running';
      container.startedAt = this.#clock.now();
      this.#emit(container.sandbox.config.metadata.uid, containerId);
      const { exitsWith } = container.process;
      if (exitsWith !== undefined) this.#exited(container, exitsWith);
    };
    return this.#call('startContainer', [this.#containerName(containerId)], options, () => start(undefined), start);
  }

  stopContainer(request: { readonly containerId: string; readonly timeoutSeconds: number }, options: CallOptions): Promise<void> {
    const { containerId, timeoutSeconds } = request;
    return this.#call('stopContainer', [this.#containerName(containerId), timeoutSeconds], options, async () => {
      const container = this.#containers.get(containerId);
      if (container === undefined || container.state !== 'running') return;
      const onTerm = container.process.onTerm ?? 0;
      if (timeoutSeconds > 0 && onTerm !== 'ignore') {
        this.#exited(container, onTerm);
        return;
      }
      if (timeoutSeconds > 0) await this.#exitOrTimeout(container, timeoutSeconds * 1000, options.signal);
      this.#kill(container);
    });
  }

  removeContainer(containerId: string, options: CallOptions): Promise<void> {
    return this.#call('removeContainer', [this.#containerName(containerId)], options, () => {
      const container = this.#containers.get(containerId);
      if (container === undefined) return;
      this.#kill(container);
      this.#containers.delete(containerId);
      this.#emit(container.sandbox.config.metadata.uid, containerId);
    });
  }

  listContainers(filter: RuntimeFilter, options: CallOptions): Promise<readonly ObservedContainer[]> {
    return this.#call('listContainers', filterArgs(filter), options, () =>
      [...this.#containers.values()]
        .filter((container) => matches(filter, container.sandbox.config.metadata.uid))
        .map((container) => ({
          ...observeContainer(container),
          startedAt: undefined,
          finishedAt: undefined,
          exitCode: 0,
          reason: '',
          message: '',
          logPath: '',
          mounts: [],
          resources: undefined,
          user: undefined,
          stopSignal: undefined,
        })),
    );
  }

  containerStatus(containerId: string, options: CallOptions): Promise<ObservedContainer | undefined> {
    return this.#call('containerStatus', [this.#containerName(containerId)], options, () => {
      const container = this.#containers.get(containerId);
      return container === undefined ? undefined : observeContainer(container);
    });
  }

  updateContainerResources(
    request: { readonly containerId: string; readonly resources: LinuxResources },
    options: CallOptions,
  ): Promise<void> {
    return this.#call('updateContainerResources', [this.#containerName(request.containerId)], options, () => {
      const container = this.#need(request.containerId);
      container.resources = { ...container.resources, ...request.resources };
    });
  }

  updatePodSandboxResources(
    request: { readonly sandboxId: string; readonly resources: LinuxResources; readonly overhead: LinuxResources },
    options: CallOptions,
  ): Promise<void> {
    return this.#call('updatePodSandboxResources', [this.#sandboxName(request.sandboxId)], options, () => {
      if (!this.#sandboxes.has(request.sandboxId)) throw notFound(`sandbox "${request.sandboxId}" not found`);
    });
  }

  reopenContainerLog(containerId: string, options: CallOptions): Promise<void> {
    return this.#call('reopenContainerLog', [this.#containerName(containerId)], options, () => {
      const container = this.#need(containerId);
      if (container.state !== 'running') throw new RuntimeError('unknown', 'container is not running');
    });
  }

  checkpointContainer(request: { readonly containerId: string; readonly location: string }, options: CallOptions): Promise<void> {
    return this.#call('checkpointContainer', [this.#containerName(request.containerId)], options, () => {
      this.#running(request.containerId);
      throw new RuntimeError('unimplemented', 'no checkpoints', { retry: 'never' });
    });
  }

  // ---- Exec and streams -------------------------------------------------------------------------------------------

  execSync(
    request: { readonly containerId: string; readonly command: readonly string[]; readonly timeoutSeconds: number },
    options: CallOptions,
  ): Promise<ExecResult> {
    const { containerId, command, timeoutSeconds } = request;
    return this.#call('execSync', [this.#containerName(containerId), ...command], options, async () => {
      const container = this.#running(containerId);
      const none: ExecResult = { exitCode: 0, stdout: new Uint8Array(), stderr: new Uint8Array() };
      const result = this.#options.exec?.({ container: container.config, command }) ?? none;
      if (result !== 'hang') return result;
      await this.#exitOrTimeout(container, timeoutSeconds === 0 ? Number.POSITIVE_INFINITY : timeoutSeconds * 1000, options.signal);
      throw new RuntimeError('deadline-exceeded', `failed to exec in container: timeout ${timeoutSeconds}s exceeded`, { retry: 'never' });
    });
  }

  exec(
    request: StreamOptions & { readonly containerId: string; readonly command: readonly string[] },
    options: CallOptions,
  ): Promise<string> {
    const { containerId, command } = request;
    return this.#call('exec', [this.#containerName(containerId), ...command], options, () => {
      this.#running(containerId);
      return 'http://127.0.0.1:1/exec/fake';
    });
  }

  attach(request: StreamOptions & { readonly containerId: string }, options: CallOptions): Promise<string> {
    return this.#call('attach', [this.#containerName(request.containerId)], options, () => {
      this.#running(request.containerId);
      return 'http://127.0.0.1:1/attach/fake';
    });
  }

  portForward(request: { readonly sandboxId: string; readonly ports: readonly number[] }, options: CallOptions): Promise<string> {
    return this.#call('portForward', [this.#sandboxName(request.sandboxId), ...request.ports], options, () => {
      if (this.#sandboxes.get(request.sandboxId)?.state !== 'ready') throw notFound(`sandbox "${request.sandboxId}" not found`);
      return 'http://127.0.0.1:1/portforward/fake';
    });
  }

  async *events(options: CallOptions): AsyncIterable<RuntimeEvent> {
    await this.#call('events', [], options, () => {
      if (this.#options.events === false) throw new RuntimeError('unimplemented', 'no event stream', { retry: 'never' });
    });
    const subscriber: Subscriber = { queue: [], wake: () => undefined, broken: undefined };
    this.#subscribers.add(subscriber);
    try {
      for (;;) {
        options.signal.throwIfAborted();
        const event = subscriber.queue.shift();
        if (event !== undefined) {
          yield event;
          continue;
        }
        if (subscriber.broken !== undefined) throw subscriber.broken;
        const woken = new Promise<void>((resolve) => {
          subscriber.wake = resolve;
        });
        await raceSignal(woken, options.signal);
      }
    } finally {
      this.#subscribers.delete(subscriber);
    }
  }

  // ---- Stats ------------------------------------------------------------------------------------------------------

  containerStats(containerId: string, options: CallOptions): Promise<ContainerStats | undefined> {
    return this.#call('containerStats', [this.#containerName(containerId)], options, () => {
      const container = this.#containers.get(containerId);
      return container === undefined ? undefined : this.#stats(container);
    });
  }

  listContainerStats(filter: RuntimeFilter, options: CallOptions): Promise<readonly ContainerStats[]> {
    return this.#call('listContainerStats', filterArgs(filter), options, () =>
      [...this.#containers.values()]
        .filter((container) => container.state === 'running' && matches(filter, container.sandbox.config.metadata.uid))
        .map((container) => this.#stats(container)),
    );
  }

  listPodSandboxStats(filter: RuntimeFilter, options: CallOptions): Promise<readonly PodSandboxStats[]> {
    return this.#call('listPodSandboxStats', filterArgs(filter), options, () =>
      [...this.#sandboxes.values()]
        .filter((sandbox) => sandbox.state === 'ready' && matches(filter, sandbox.config.metadata.uid))
        .map((sandbox) => {
          const containers = this.#containersOf(sandbox.id).filter((container) => container.state === 'running');
          return {
            id: sandbox.id,
            podUid: sandbox.config.metadata.uid,
            cpu: { timestamp: this.#clock.now(), usageCoreNanoSeconds: 2_000_000, usageNanoCores: 1_000 },
            memory: undefined,
            network: undefined,
            processCount: 1 + containers.length,
            containers: containers.map((container) => this.#stats(container)),
          };
        }),
    );
  }

  // ---- Images -----------------------------------------------------------------------------------------------------

  listImages(options: CallOptions): Promise<readonly RuntimeImage[]> {
    return this.#call('listImages', [], options, () => [...new Set(this.#images.values())].map(withoutProcess));
  }

  imageStatus(image: ImageSpec, options: CallOptions): Promise<RuntimeImage | undefined> {
    return this.#call('imageStatus', [image.image], options, () => {
      const found = this.#image(image.image);
      return found === undefined ? undefined : withoutProcess(found);
    });
  }

  pullImage(
    request: { readonly image: ImageSpec; readonly auth: ImageAuth | undefined; readonly sandboxConfig: PodSandboxConfig },
    options: CallOptions,
  ): Promise<string> {
    const { image } = request.image;
    return this.#call('pullImage', [image], options, () => {
      const found = this.#registry.get(normalize(image));
      if (found === undefined) {
        throw notFound(
          `failed to pull and unpack image "${normalize(image)}": failed to resolve reference "${normalize(image)}": not found`,
        );
      }
      this.#images.set(normalize(image), found);
      return found.id;
    });
  }

  removeImage(image: ImageSpec, options: CallOptions): Promise<void> {
    return this.#call('removeImage', [image.image], options, () => {
      const found = this.#image(image.image);
      for (const [reference, other] of this.#images) if (other.id === found?.id) this.#images.delete(reference);
    });
  }

  imageFsInfo(options: CallOptions): Promise<readonly FilesystemUsage[]> {
    return this.#call('imageFsInfo', [], options, () => [
      { timestamp: this.#clock.now(), mountpoint: '/var/lib/fake', usedBytes: 1_000_000 * this.#images.size, inodesUsed: 10 },
    ]);
  }

  // ---- Test controls ----------------------------------------------------------------------------------------------

  /** Everything that was asked, in order. */
  get calls(): readonly FakeCall[] {
    return this.#calls;
  }

  /** The calls that change something, as text: `stopContainer web/0 30`. */
  get deeds(): readonly string[] {
    return this.#calls.filter((call) => !reads.has(call.method)).map((call) => [call.method, ...call.args].join(' '));
  }

  clearCalls(): void {
    this.#calls.length = 0;
  }

  /** What is there now, without asking through the port. */
  snapshot(): { readonly sandboxes: readonly ObservedSandbox[]; readonly containers: readonly ObservedContainer[] } {
    return {
      sandboxes: [...this.#sandboxes.values()].map(observeSandbox),
      containers: [...this.#containers.values()].map(observeContainer),
    };
  }

  /** Id of the newest container of that name (any state); of that attempt when given. */
  containerId(name: string, attempt?: number): string {
    const found = [...this.#containers.values()].filter(
      ({ config }) => config.metadata.name === name && (attempt === undefined || config.metadata.attempt === attempt),
    );
    const newest = found.at(-1);
    if (newest === undefined) throw new RangeError(`the fake runtime has no container ${name}`);
    return newest.id;
  }

  /** Id of the newest sandbox of that Pod name. */
  sandboxId(podName: string): string {
    const newest = [...this.#sandboxes.values()].filter(({ config }) => config.metadata.name === podName).at(-1);
    if (newest === undefined) throw new RangeError(`the fake runtime has no sandbox of ${podName}`);
    return newest.id;
  }

  /** The container's main process exits. `reason` as containerd gives it when left out; `OOMKilled` for an OOM kill. */
  exit(containerId: string, code: number, reason?: string): void {
    const container = this.#containers.get(containerId);
    if (container?.state !== 'running') throw new RangeError(`the fake runtime runs no container ${containerId}`);
    this.#exited(container, code, reason);
  }

  /** The sandbox's own process dies: NotReady with its address; containers die only in a shared PID namespace. */
  killSandbox(sandboxId: string): void {
    const sandbox = this.#sandboxes.get(sandboxId);
    if (sandbox === undefined) throw new RangeError(`the fake runtime has no sandbox ${sandboxId}`);
    this.#stopSandbox(sandbox);
    for (const container of this.#containersOf(sandboxId)) {
      if (container.config.linux.securityContext.namespaceOptions.pid === 'pod') this.#kill(container);
    }
  }

  /** The machine went down and came back: sandboxes NotReady without address, running containers Exited 255 Unknown. */
  powerLoss(): void {
    for (const sandbox of this.#sandboxes.values()) {
      sandbox.state = 'notReady';
      sandbox.ip = '';
    }
    for (const container of this.#containers.values()) {
      if (container.state !== 'running') continue;
      container.state = 'exited';
      container.exitCode = 255;
      container.reason = 'Unknown';
      container.finishedAt = this.#clock.now();
      for (const resolve of container.onExit) resolve();
    }
    this.breakEvents();
  }

  /** Puts an image on the machine, or only into the registry with `present: false`. Gives its id. */
  addImage(reference: string, image: FakeImage = {}): string {
    const name = normalize(reference);
    const { present = true, process = {}, ...rest } = image;
    const full = {
      id: `sha256:${this.#id('1a')}`,
      repoTags: [name],
      repoDigests: [],
      sizeBytes: 1_000_000,
      uid: undefined,
      username: undefined,
      pinned: false,
      ...rest,
      process,
    };
    this.#registry.set(name, full);
    if (present) this.#images.set(name, full);
    return full.id;
  }

  /** The next call of that method fails, after it was logged. Several failures are used one after the other. */
  failNext(method: keyof Runtime, error: unknown = new RuntimeError('unknown', 'the fake was told to fail')): void {
    this.#failures.set(method, [...(this.#failures.get(method) ?? []), error]);
  }

  /** Calls of that method wait, after they were logged, until the returned function is called (or their signal aborts). */
  block(method: keyof Runtime): () => void {
    let open = (): void => undefined;
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    const gate = { opened, open };
    this.#gates.set(method, gate);
    return () => {
      if (this.#gates.get(method) === gate) this.#gates.delete(method);
      open();
    };
  }

  /** Ends every open event stream with an error. */
  breakEvents(error = new RuntimeError('unavailable', 'the event stream broke')): void {
    for (const subscriber of this.#subscribers) {
      subscriber.broken = error;
      subscriber.wake();
    }
  }

  /** An event as a runtime sends it that does not know the Pod, or about a container nobody knows. */
  emitEvent(event: RuntimeEvent): void {
    for (const subscriber of this.#subscribers) {
      subscriber.queue.push(event);
      subscriber.wake();
    }
  }

  get eventSubscribers(): number {
    return this.#subscribers.size;
  }

  setNetworkReady(ready: boolean): void {
    this.#networkReady = ready;
  }

  setRuntimeReady(ready: boolean): void {
    this.#runtimeReady = ready;
  }

  /** What the container was created with. */
  containerConfig(containerId: string): ContainerConfig {
    return this.#need(containerId).config;
  }

  // ---- Inside -----------------------------------------------------------------------------------------------------

  async #call<T>(
    method: keyof Runtime,
    args: FakeCall['args'],
    options: CallOptions,
    run: () => T | Promise<T>,
    onFailure?: (failure: unknown) => void,
  ): Promise<T> {
    const { signal } = options;
    signal.throwIfAborted();
    this.#calls.push({ method, args });
    const gate = this.#gates.get(method);
    await raceSignal(gate?.opened ?? Promise.resolve(), signal);
    const failures = this.#failures.get(method);
    if (failures !== undefined && failures.length > 0) {
      const failure = failures.shift();
      onFailure?.(failure);
      throw failure;
    }
    return run();
  }

  #id(prefix: string): string {
    this.#created += 1;
    return `${prefix}${this.#created.toString(16).padStart(10, '0')}`.padEnd(64, '0');
  }

  #emit(podUid: string, containerId: string): void {
    if (this.#options.events !== 'silent') this.emitEvent({ podUid, containerId });
  }

  #image(reference: string): (RuntimeImage & { readonly process: FakeProcess }) | undefined {
    const byName = this.#images.get(normalize(reference));
    return byName ?? [...this.#images.values()].find(({ id }) => id === reference || id === `sha256:${reference}`);
  }

  #containersOf(sandboxId: string): readonly Container[] {
    return [...this.#containers.values()].filter((container) => container.sandbox.id === sandboxId);
  }

  #need(containerId: string): Container {
    const container = this.#containers.get(containerId);
    if (container === undefined) throw notFound(`an error occurred when try to find container "${containerId}": not found`);
    return container;
  }

  #running(containerId: string): Container {
    const container = this.#need(containerId);
    if (container.state !== 'running') {
      throw new RuntimeError('unknown', `container is in ${criState(container.state)} state`);
    }
    return container;
  }

  #kill(container: Container): void {
    if (container.state === 'running') this.#exited(container, 137);
  }

  #exited(container: Container, code: number, reason = code === 0 ? 'Completed' : 'Error'): void {
    container.state = 'exited';
    container.exitCode = code;
    container.reason = reason;
    container.finishedAt = this.#clock.now();
    for (const resolve of container.onExit) resolve();
    this.#emit(container.sandbox.config.metadata.uid, container.id);
  }

  #stopSandbox(sandbox: Sandbox): void {
    if (sandbox.state === 'notReady') return;
    sandbox.state = 'notReady';
    this.#emit(sandbox.config.metadata.uid, sandbox.id);
  }

  /** Resolves when the container exits or after `ms` on the clock. */
  async #exitOrTimeout(container: Container, ms: number, signal: AbortSignal): Promise<void> {
    const timer = new AbortController();
    const onAbort = (): void => timer.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const exited = new Promise<void>((resolve) => {
      container.onExit.add(resolve);
      timer.signal.addEventListener('abort', () => container.onExit.delete(resolve), { once: true });
    });
    const slept = this.#clock.sleep(ms, timer.signal);
    try {
      await Promise.race([exited, slept]);
    } finally {
      signal.removeEventListener('abort', onAbort);
      slept.catch(() => undefined);
      timer.abort();
    }
  }

  #sandboxName(sandboxId: string): string {
    const sandbox = this.#sandboxes.get(sandboxId);
    return sandbox === undefined ? sandboxId : sandboxKey(sandbox.config);
  }

  #containerName(containerId: string): string {
    const container = this.#containers.get(containerId);
    return container === undefined ? containerId : containerKey(container.config);
  }

  #stats(container: Container): ContainerStats {
    const timestamp = this.#clock.now();
    const isRunning = container.state === 'running';
    return {
      id: container.id,
      name: container.config.metadata.name,
      podUid: container.sandbox.config.metadata.uid,
      labels: container.config.labels,
      cpu: isRunning ? { timestamp, usageCoreNanoSeconds: 1_000_000, usageNanoCores: undefined } : undefined,
      memory: isRunning
        ? {
            timestamp,
            workingSetBytes: 1_000_000,
            availableBytes: undefined,
            usageBytes: 1_100_000,
            rssBytes: 900_000,
            pageFaults: 10,
            majorPageFaults: 0,
          }
        : undefined,
      writableLayer: { timestamp, mountpoint: '/var/lib/fake', usedBytes: 4096, inodesUsed: 1 },
    };
  }
}

function observeSandbox(sandbox: Sandbox): ObservedSandbox {
  const { config } = sandbox;
  const { name, namespace, uid, attempt } = config.metadata;
  const hostNetwork = isHostNetwork(config);
  return {
    id: sandbox.id,
    name,
    namespace,
    podUid: uid,
    attempt,
    state: sandbox.state,
    createdAt: sandbox.createdAt,
    labels: config.labels,
    annotations: config.annotations,
    hostNetwork,
    ips: sandbox.ip === '' ? [] : [sandbox.ip],
    lostNetwork: sandbox.ip === '',
    runtimeHandler: sandbox.runtimeHandler,
  };
}

function observeContainer(container: Container): ObservedContainer {
  const { config, image, resources, sandbox } = container;
  const { cpuShares = 0, cpuQuota = 0, cpuPeriod = 0, memoryLimitBytes = 0 } = resources;
  const { runAsUser = 0, runAsGroup = 0, supplementalGroups } = config.linux.securityContext;
  return {
    id: container.id,
    sandboxId: sandbox.id,
    podUid: sandbox.config.metadata.uid,
    name: config.metadata.name,
    attempt: config.metadata.attempt,
    state: container.state,
    createdAt: container.createdAt,
    startedAt: container.startedAt,
    finishedAt: container.finishedAt,
    exitCode: container.exitCode,
    reason: container.reason,
    message: container.message,
    image: config.image.userSpecifiedImage ?? image.repoTags[0] ?? image.id,
    imageRef: image.repoDigests[0] ?? image.id,
    imageId: image.id,
    labels: config.labels,
    annotations: config.annotations,
    logPath: config.logPath === '' ? '' : `${sandbox.config.logDirectory}/${config.logPath}`,
    mounts: config.mounts.map(({ containerPath, hostPath, readonly, recursiveReadOnly }) => ({
      containerPath,
      hostPath,
      readonly,
      recursiveReadOnly,
    })),
    resources: { cpuShares, cpuQuota, cpuPeriod, memoryLimitBytes },
    user: { uid: runAsUser, gid: runAsGroup, supplementalGroups },
    stopSignal: config.stopSignal,
  };
}

function withoutProcess(image: RuntimeImage & { readonly process: FakeProcess }): RuntimeImage {
  const { process: _, ...rest } = image;
  return rest;
}

/** The full name of an image as the registry protocol has it: `nginx` is `docker.io/library/nginx:latest`. */
function normalize(reference: string): string {
  if (reference.startsWith('sha256:')) return reference;
  const parts = reference.split('/');
  const first = parts[0] ?? '';
  const isHost = parts.length > 1 && (first.includes('.') || first.includes(':') || first === 'localhost');
  const name = isHost ? reference : `docker.io/${parts.length === 1 ? 'library/' : ''}${reference}`;
  const last = name.slice(name.lastIndexOf('/'));
  return last.includes(':') || last.includes('@') ? name : `${name}:latest`;
}

function condition(type: string, status: boolean, reason: string, message: string): RuntimeStatus['conditions'][number] {
  return { type, status, reason: status ? '' : reason, message: status ? '' : message };
}

function isHostNetwork(config: PodSandboxConfig): boolean {
  return config.linux.securityContext.namespaceOptions.network === 'node';
}

function sandboxKey({ metadata }: PodSandboxConfig): string {
  return `${metadata.name}/${metadata.attempt}`;
}

function containerKey({ metadata }: ContainerConfig): string {
  return `${metadata.name}/${metadata.attempt}`;
}

function filterArgs(filter: RuntimeFilter): readonly string[] {
  return filter.podUid === undefined ? [] : [filter.podUid];
}

function matches(filter: RuntimeFilter, podUid: string): boolean {
  return filter.podUid === undefined || filter.podUid === podUid;
}

function criState(state: ObservedContainer['state']): string {
  return `CONTAINER_${state.toUpperCase()}`;
}

function notFound(message: string): RuntimeError {
  return new RuntimeError('not-found', message);
}

function reserved(kind: string, name: string, id: string): RuntimeError {
  return new RuntimeError('unknown', `failed to reserve ${kind} name "${name}": name "${name}" is reserved for "${id}"`);
}
