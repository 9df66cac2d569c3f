// The Runtime port over CRI v1: one gRPC channel to the runtime, one more when images have an endpoint of their own.
// Deadlines and reply checks are those of spec 02, table 4.2; every failure is a RuntimeError.
import { type Channel, createChannel, createClient } from 'nice-grpc';
import { criKeys, type ObservedContainer, type ObservedSandbox } from '../../pod/observation.ts';
import type { ContainerConfig, ImageAuth, ImageSpec, LinuxResources, PodSandboxConfig } from '../../pod/runtime-config.ts';
import { linkSignals, Superseded } from '../../std/async.ts';
import type { Clock } from '../../std/clock.ts';
import { RuntimeError } from '../../std/errors.ts';
import type { Logger } from '../../std/log.ts';
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
} from '../runtime.ts';
import { type Endpoint, parseEndpoint } from './endpoint.ts';
import { invalidResponse, toRuntimeError } from './errors.ts';
import { criEvents, eventStreamsOf, taskEvents } from './events.ts';
import {
  fromCriContainer,
  fromCriContainerStats,
  fromCriContainerStatus,
  fromCriFilesystem,
  fromCriImage,
  fromCriNetwork,
  fromCriSandbox,
  fromCriSandboxStats,
  fromCriSandboxStatus,
  fromCriStatus,
} from './from-cri.ts';
import { EventsDefinition } from './gen/containerd-events.ts';
import { CgroupDriver, ImageServiceDefinition, RuntimeServiceDefinition } from './gen/runtime.ts';
import { toCriAuth, toCriContainerConfig, toCriImageSpec, toCriResources, toCriSandboxConfig } from './to-cri.ts';

export interface CriRuntimeOptions {
  /** `unix:///path` or a bare absolute path (L-182). */
  readonly runtimeEndpoint: string;
  /** The runtime's own when absent. */
  readonly imageEndpoint?: string;
  /** `runtimeRequestTimeout`; 2 minutes in a kubelet. */
  readonly requestTimeoutMs: number;
}

export interface CriRuntimeDeps {
  readonly clock: Clock;
  readonly logger: Logger;
}

/** L-183. A node's container list can pass gRPC's own limit of 4 MiB. */
const channelOptions = {
  'grpc.default_authority': 'localhost',
  'grpc.max_receive_message_length': 16 * 1024 * 1024,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 3000,
  'grpc.service_config_disable_resolution': 1,
};

const noDeadline = Number.POSITIVE_INFINITY;

export class CriRuntime implements Runtime {
  readonly #timeoutMs: number;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #runtimeEndpoint: Endpoint;
  readonly #imageEndpoint: Endpoint;
  readonly #channels: readonly Channel[];
  readonly #client;
  readonly #images;
  readonly #tasks;
  /** CRI's container status lacks the sandbox; lists and creations tell it. Bounded by what the runtime has. */
  #sandboxOf = new Map<string, string>();

  /** Throws a ConfigError for an endpoint that is none. Connects with the first call. */
  constructor(options: CriRuntimeOptions, deps: CriRuntimeDeps) {
    this.#timeoutMs = options.requestTimeoutMs;
    this.#clock = deps.clock;
    this.#logger = deps.logger;
    this.#runtimeEndpoint = parseEndpoint(options.runtimeEndpoint);
    this.#imageEndpoint = options.imageEndpoint === undefined ? this.#runtimeEndpoint : parseEndpoint(options.imageEndpoint);
    for (const endpoint of new Set([this.#runtimeEndpoint, this.#imageEndpoint])) {
      if (endpoint.isBarePath) this.#logger.warn('CRI endpoint should be a URL', { endpoint: endpoint.path, use: endpoint.target });
    }
    const channel = createChannel(this.#runtimeEndpoint.target, undefined, channelOptions);
    const isShared = this.#imageEndpoint.target === this.#runtimeEndpoint.target;
    const imageChannel = isShared ? channel : createChannel(this.#imageEndpoint.target, undefined, channelOptions);
    this.#channels = isShared ? [channel] : [channel, imageChannel];
    this.#client = createClient(RuntimeServiceDefinition, channel);
    this.#tasks = createClient(EventsDefinition, channel);
    this.#images = createClient(ImageServiceDefinition, imageChannel);
  }

  /** Checks that both endpoints speak CRI v1 (L-184, L-185). A RuntimeError says which does not. */
  async connect(options: CallOptions): Promise<RuntimeVersion> {
    await naming(`validate CRI v1 runtime API for endpoint "${this.#runtimeEndpoint.target}"`, () =>
      this.#call('Version', this.#timeoutMs, options, (o) => this.#client.version({}, o)),
    );
    await naming(`validate CRI v1 image API for endpoint "${this.#imageEndpoint.target}"`, () => this.imageFsInfo(options));
    return this.version(options);
  }

  /** Ends every call and the connections. The runtime and its containers do not notice. */
  close(): void {
    for (const channel of this.#channels) channel.close();
  }

  // ---- Runtime and node -----------------------------------------------------------------------------------------

  async version(options: CallOptions): Promise<RuntimeVersion> {
    const reply = await this.#call('Version', this.#timeoutMs, options, (o) => this.#client.version({ version: '0.1.0' }, o));
    const { version, runtimeName, runtimeVersion, runtimeApiVersion } = reply;
    const missing = Object.entries({ version, runtimeName, runtimeVersion, runtimeApiVersion }).filter(([, value]) => value === '');
    if (missing.length > 0) {
      const names = missing.map(([name]) => name).join(', ');
      throw invalidResponse('Version', `not all fields are set in VersionResponse (missing ${names})`);
    }
    if (version !== '0.1.0') throw invalidResponse('Version', `the runtime speaks version ${version} of the kubelet API, not 0.1.0`);
    return { runtimeName, runtimeVersion, runtimeApiVersion };
  }

  async status(request: { readonly verbose: boolean }, options: CallOptions): Promise<RuntimeStatus> {
    return fromCriStatus(await this.#call('Status', this.#timeoutMs, options, (o) => this.#client.status(request, o)));
  }

  async cgroupDriver(options: CallOptions): Promise<'systemd' | 'cgroupfs' | undefined> {
    try {
      const { linux } = await this.#call('RuntimeConfig', this.#timeoutMs, options, (o) => this.#client.runtimeConfig({}, o));
      if (linux === undefined) return undefined;
      return linux.cgroupDriver === CgroupDriver.CGROUPFS ? 'cgroupfs' : 'systemd';
    } catch (error) {
      return absentIf('unimplemented', error);
    }
  }

  async updatePodCidr(podCidr: string, options: CallOptions): Promise<void> {
    const runtimeConfig = { networkConfig: { podCidr } };
    await this.#call('UpdateRuntimeConfig', this.#timeoutMs, options, (o) => this.#client.updateRuntimeConfig({ runtimeConfig }, o));
  }

  // ---- Sandboxes --------------------------------------------------------------------------------------------------

  async runPodSandbox(
    request: { readonly config: PodSandboxConfig; readonly runtimeHandler: string },
    options: CallOptions,
  ): Promise<string> {
    const { runtimeHandler } = request;
    const config = toCriSandboxConfig(request.config);
    const { podSandboxId } = await this.#call('RunPodSandbox', 2 * this.#timeoutMs, options, (o) =>
      this.#client.runPodSandbox({ config, runtimeHandler }, o),
    );
    return notEmpty('RunPodSandbox', podSandboxId, 'the sandbox id');
  }

  async stopPodSandbox(podSandboxId: string, options: CallOptions): Promise<void> {
    await unlessGone(this.#call('StopPodSandbox', this.#timeoutMs, options, (o) => this.#client.stopPodSandbox({ podSandboxId }, o)));
  }

  async removePodSandbox(podSandboxId: string, options: CallOptions): Promise<void> {
    await unlessGone(this.#call('RemovePodSandbox', this.#timeoutMs, options, (o) => this.#client.removePodSandbox({ podSandboxId }, o)));
  }

  async listPodSandboxes(filter: RuntimeFilter, options: CallOptions): Promise<readonly ObservedSandbox[]> {
    const request = { filter: { labelSelector: labelSelector(filter) } };
    const { items } = await this.#call('ListPodSandbox', this.#timeoutMs, options, (o) => this.#client.listPodSandbox(request, o));
    return items.map(fromCriSandbox);
  }

  async podSandboxStatus(podSandboxId: string, options: CallOptions): Promise<ObservedSandbox | undefined> {
    const reply = await unlessGone(
      this.#call('PodSandboxStatus', this.#timeoutMs, options, (o) => this.#client.podSandboxStatus({ podSandboxId }, o)),
    );
    if (reply === undefined) return undefined;
    if (reply.status === undefined) throw invalidResponse('PodSandboxStatus', 'the reply has no status');
    const { invalid } = fromCriNetwork(reply.status.network);
    if (invalid !== undefined) this.#logger.warn('sandbox reports an invalid address', { sandboxID: podSandboxId, address: invalid });
    return fromCriSandboxStatus(reply.status);
  }

  // ---- Containers -------------------------------------------------------------------------------------------------

  async createContainer(
    request: { readonly sandboxId: string; readonly config: ContainerConfig; readonly sandboxConfig: PodSandboxConfig },
    options: CallOptions,
  ): Promise<string> {
    const message = {
      podSandboxId: request.sandboxId,
      config: toCriContainerConfig(request.config),
      sandboxConfig: toCriSandboxConfig(request.sandboxConfig),
    };
    const { containerId } = await this.#call('CreateContainer', this.#timeoutMs, options, (o) => this.#client.createContainer(message, o));
    this.#sandboxOf.set(notEmpty('CreateContainer', containerId, 'the container id'), request.sandboxId);
    return containerId;
  }

  async startContainer(containerId: string, options: CallOptions): Promise<void> {
    await this.#call('StartContainer', this.#timeoutMs, options, (o) => this.#client.startContainer({ containerId }, o));
  }

  async stopContainer(request: { readonly containerId: string; readonly timeoutSeconds: number }, options: CallOptions): Promise<void> {
    const { containerId, timeoutSeconds } = request;
    await unlessGone(
      this.#call('StopContainer', this.#timeoutMs + timeoutSeconds * 1000, options, (o) =>
        this.#client.stopContainer({ containerId, timeout: timeoutSeconds }, o),
      ),
    );
  }

  async removeContainer(containerId: string, options: CallOptions): Promise<void> {
    await unlessGone(this.#call('RemoveContainer', this.#timeoutMs, options, (o) => this.#client.removeContainer({ containerId }, o)));
    this.#sandboxOf.delete(containerId);
  }

  async listContainers(filter: RuntimeFilter, options: CallOptions): Promise<readonly ObservedContainer[]> {
    const containers = await this.#listContainers({ labelSelector: labelSelector(filter) }, options);
    // The full list is the moment to forget what is gone.
    if (filter.podUid === undefined) this.#sandboxOf = new Map(containers.map(({ id, sandboxId }) => [id, sandboxId]));
    return containers;
  }

  async containerStatus(containerId: string, options: CallOptions): Promise<ObservedContainer | undefined> {
    const known = this.#sandboxOf.get(containerId);
    const [reply, listed] = await Promise.all([
      unlessGone(this.#call('ContainerStatus', this.#timeoutMs, options, (o) => this.#client.containerStatus({ containerId }, o))),
      known === undefined ? this.#listContainers({ id: containerId }, options) : [],
    ]);
    if (reply === undefined) return undefined;
    if (reply.status === undefined) throw invalidResponse('ContainerStatus', 'the reply has no status');
    return fromCriContainerStatus(reply.status, known ?? listed[0]?.sandboxId ?? '');
  }

  async updateContainerResources(
    request: { readonly containerId: string; readonly resources: LinuxResources },
    options: CallOptions,
  ): Promise<void> {
    const message = { containerId: request.containerId, linux: toCriResources(request.resources) };
    await this.#call('UpdateContainerResources', this.#timeoutMs, options, (o) => this.#client.updateContainerResources(message, o));
  }

  async updatePodSandboxResources(
    request: { readonly sandboxId: string; readonly resources: LinuxResources; readonly overhead: LinuxResources },
    options: CallOptions,
  ): Promise<void> {
    const { sandboxId: podSandboxId, resources, overhead } = request;
    const message = { podSandboxId, resources: toCriResources(resources), overhead: toCriResources(overhead) };
    await this.#call('UpdatePodSandboxResources', this.#timeoutMs, options, (o) => this.#client.updatePodSandboxResources(message, o));
  }

  async reopenContainerLog(containerId: string, options: CallOptions): Promise<void> {
    await this.#call('ReopenContainerLog', this.#timeoutMs, options, (o) => this.#client.reopenContainerLog({ containerId }, o));
  }

  async checkpointContainer(
    request: { readonly containerId: string; readonly location: string; readonly timeoutSeconds: number },
    options: CallOptions,
  ): Promise<void> {
    const { containerId, location, timeoutSeconds } = request;
    const message = { containerId, location, timeout: BigInt(timeoutSeconds) };
    const deadlineMs = this.#timeoutMs + timeoutSeconds * 1000;
    await this.#call('CheckpointContainer', deadlineMs, options, (o) => this.#client.checkpointContainer(message, o));
  }

  // ---- Exec and streams -------------------------------------------------------------------------------------------

  async execSync(
    request: { readonly containerId: string; readonly command: readonly string[]; readonly timeoutSeconds: number },
    options: CallOptions,
  ): Promise<ExecResult> {
    const { containerId, command, timeoutSeconds } = request;
    const deadlineMs = timeoutSeconds === 0 ? noDeadline : this.#timeoutMs + timeoutSeconds * 1000;
    try {
      const reply = await this.#call('ExecSync', deadlineMs, options, (o) =>
        this.#client.execSync({ containerId, cmd: command, timeout: timeoutSeconds }, o),
      );
      return { exitCode: reply.exitCode, stdout: reply.stdout, stderr: reply.stderr };
    } catch (error) {
      if (!(error instanceof RuntimeError) || error.code !== 'deadline-exceeded') throw error;
      const message = `command timed out: "${command.join(' ')}" timed out after ${timeoutSeconds}s`;
      throw new RuntimeError(error.code, message, { retry: 'never', cause: error });
    }
  }

  async exec(
    request: StreamOptions & { readonly containerId: string; readonly command: readonly string[] },
    options: CallOptions,
  ): Promise<string> {
    const { command: cmd, ...same } = request;
    const { url } = await this.#call('Exec', this.#timeoutMs, options, (o) => this.#client.exec({ ...same, cmd }, o));
    return notEmpty('Exec', url, 'the URL');
  }

  async attach(request: StreamOptions & { readonly containerId: string }, options: CallOptions): Promise<string> {
    const { url } = await this.#call('Attach', this.#timeoutMs, options, (o) => this.#client.attach(request, o));
    return notEmpty('Attach', url, 'the URL');
  }

  async portForward(request: { readonly sandboxId: string; readonly ports: readonly number[] }, options: CallOptions): Promise<string> {
    const message = { podSandboxId: request.sandboxId, port: request.ports };
    const { url } = await this.#call('PortForward', this.#timeoutMs, options, (o) => this.#client.portForward(message, o));
    return notEmpty('PortForward', url, 'the URL');
  }

  async *events(options: CallOptions): AsyncIterable<RuntimeEvent> {
    let unimplemented: RuntimeError | undefined;
    for (const stream of eventStreamsOf(await this.version(options))) {
      try {
        yield* stream === 'cri' ? criEvents(this.#client, options) : taskEvents(this.#tasks, options);
        // Nobody ends these streams in good order but a runtime that is being stopped.
        throw new RuntimeError('unavailable', 'the runtime ended its event stream');
      } catch (error) {
        options.signal.throwIfAborted();
        unimplemented = toRuntimeError(error);
        if (unimplemented.code !== 'unimplemented') throw unimplemented;
      }
    }
    if (unimplemented !== undefined) throw unimplemented;
  }

  // ---- Stats ------------------------------------------------------------------------------------------------------

  async containerStats(containerId: string, options: CallOptions): Promise<ContainerStats | undefined> {
    const reply = await unlessGone(
      this.#call('ContainerStats', this.#timeoutMs, options, (o) => this.#client.containerStats({ containerId }, o)),
    );
    return reply?.stats && fromCriContainerStats(reply.stats);
  }

  async listContainerStats(filter: RuntimeFilter, options: CallOptions): Promise<readonly ContainerStats[]> {
    const request = { filter: { labelSelector: labelSelector(filter) } };
    const { stats } = await this.#call('ListContainerStats', this.#timeoutMs, options, (o) => this.#client.listContainerStats(request, o));
    return stats.map(fromCriContainerStats);
  }

  async listPodSandboxStats(filter: RuntimeFilter, options: CallOptions): Promise<readonly PodSandboxStats[]> {
    const request = { filter: { labelSelector: labelSelector(filter) } };
    const { stats } = await this.#call('ListPodSandboxStats', this.#timeoutMs, options, (o) =>
      this.#client.listPodSandboxStats(request, o),
    );
    return stats.map(fromCriSandboxStats);
  }

  // ---- Images -----------------------------------------------------------------------------------------------------

  async listImages(options: CallOptions): Promise<readonly RuntimeImage[]> {
    const { images } = await this.#call('ListImages', this.#timeoutMs, options, (o) => this.#images.listImages({}, o));
    return images.map(fromCriImage);
  }

  async imageStatus(image: ImageSpec, options: CallOptions): Promise<RuntimeImage | undefined> {
    const request = { image: toCriImageSpec(image) };
    const reply = await this.#call('ImageStatus', this.#timeoutMs, options, (o) => this.#images.imageStatus(request, o));
    if (reply.image === undefined) return undefined;
    if (reply.image.id === '' || reply.image.size === 0n) {
      throw invalidResponse('ImageStatus', `the status of image "${image.image}" has no id or size`);
    }
    return fromCriImage(reply.image);
  }

  async pullImage(
    request: { readonly image: ImageSpec; readonly auth: ImageAuth | undefined; readonly sandboxConfig: PodSandboxConfig },
    options: CallOptions,
  ): Promise<string> {
    const message = {
      image: toCriImageSpec(request.image),
      sandboxConfig: toCriSandboxConfig(request.sandboxConfig),
      ...(request.auth && { auth: toCriAuth(request.auth) }),
    };
    const { imageRef } = await this.#call('PullImage', noDeadline, options, (o) => this.#images.pullImage(message, o));
    if (imageRef === '') throw invalidResponse('PullImage', `imageRef of image "${request.image.image}" is not set`);
    return imageRef;
  }

  async removeImage(image: ImageSpec, options: CallOptions): Promise<void> {
    const request = { image: toCriImageSpec(image) };
    await unlessGone(this.#call('RemoveImage', this.#timeoutMs, options, (o) => this.#images.removeImage(request, o)));
  }

  async imageFsInfo(options: CallOptions): Promise<readonly FilesystemUsage[]> {
    const { imageFilesystems } = await this.#call('ImageFsInfo', this.#timeoutMs, options, (o) => this.#images.imageFsInfo({}, o));
    return imageFilesystems.map(fromCriFilesystem);
  }

  // ---- Inside -----------------------------------------------------------------------------------------------------

  async #listContainers(
    filter: { readonly id?: string; readonly labelSelector?: Readonly<Record<string, string>> },
    options: CallOptions,
  ): Promise<readonly ObservedContainer[]> {
    const reply = await this.#call('ListContainers', this.#timeoutMs, options, (o) => this.#client.listContainers({ filter }, o));
    return reply.containers.map(fromCriContainer);
  }

  /** One call with its deadline. Rejects with the caller's reason when the caller gives up, else with a RuntimeError. */
  async #call<T>(method: string, deadlineMs: number, options: CallOptions, run: (o: CallOptions) => Promise<T>): Promise<T> {
    options.signal.throwIfAborted();
    const link = linkSignals(options.signal);
    const timer =
      deadlineMs === noDeadline
        ? Promise.resolve()
        : this.#clock.sleep(deadlineMs, link.signal).then(
            () => link.abort(new RuntimeError('deadline-exceeded', `${method} gave no answer within ${deadlineMs / 1000}s`)),
            () => undefined,
          );
    try {
      return await run({ signal: link.signal });
    } catch (error) {
      options.signal.throwIfAborted();
      throw link.signal.aborted ? link.signal.reason : toRuntimeError(error);
    } finally {
      link[Symbol.dispose]();
      link.abort(callEnded);
      await timer;
    }
  }
}

/** Not left out: a reason of its own would be made for each call, with a stack. */
const callEnded = new Superseded('the call has ended');

function labelSelector({ podUid }: RuntimeFilter): Readonly<Record<string, string>> {
  return podUid === undefined ? {} : { [criKeys.podUid]: podUid };
}

function notEmpty(method: string, value: string, what: string): string {
  if (value === '') throw invalidResponse(method, `${what} in the reply is empty`);
  return value;
}

/** The reply, or undefined when what was asked for is gone. */
async function unlessGone<T>(reply: Promise<T>): Promise<T | undefined> {
  try {
    return await reply;
  } catch (error) {
    return absentIf('not-found', error);
  }
}

function absentIf(code: string, error: unknown): undefined {
  if (error instanceof RuntimeError && error.code === code) return undefined;
  throw error;
}

async function naming(what: string, run: () => Promise<unknown>): Promise<void> {
  try {
    await run();
  } catch (error) {
    if (!(error instanceof RuntimeError)) throw error;
    throw new RuntimeError(error.code, `${what}: ${error.message}`, { retry: error.retry, cause: error });
  }
}
