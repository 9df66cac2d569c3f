// Stage "execute": one planned action → calls on the runtime and the node. Every deed is idempotent, so it may be begun
// again after the agent died in the middle of it. A failure is a value; only an abort rejects.
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import type { EventSink } from '../api/events.ts';
import type { Container } from '../api/gen/kubernetes.ts';
import { allContainers, formatPod, type Pod } from '../api/pod.ts';
import type { Action, ActionType } from '../pod/action.ts';
import { buildContainerConfig } from '../pod/container-config.ts';
import { containerObject, podObject } from '../pod/event-object.ts';
import type { ActionOutcome } from '../pod/memory.ts';
import type { NodeFacts } from '../pod/node-facts.ts';
import { resizeText, withResources } from '../pod/resize.ts';
import { containerResources, podLimit, sandboxOverhead, sandboxResources } from '../pod/resources.ts';
import { handlerFeaturesOf } from '../pod/runtime-class.ts';
import type { LinuxResources, PodSandboxConfig } from '../pod/runtime-config.ts';
import { type BuiltSandbox, buildSandboxConfig, podLogDirectory } from '../pod/sandbox-config.ts';
import { type UserNamespace, usesUserNamespace } from '../pod/security-context.ts';
import { rpcErrorText } from '../runtime/errors.ts';
import type { CallOptions, Runtime, RuntimeImage } from '../runtime/runtime.ts';
import { AgentError, messageOf, RuntimeError, systemCode } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import type { ContainerLogLinks } from './container-log-links.ts';
import type { GarbageCollector } from './garbage-collector.ts';
import { failedHook, type HookRunner } from './hooks.ts';
import type { LogDirectories } from './log-directories.ts';
import type { CgroupPort, ImagePort, UserNamespacePort, VolumePort } from './ports.ts';

export interface ExecutorDeps {
  readonly runtime: Runtime;
  /** Read for every action: the node's resolver file, for example, may have changed (L-202). */
  readonly node: () => Promise<NodeFacts>;
  readonly images: ImagePort;
  readonly volumes: VolumePort;
  readonly users: UserNamespacePort;
  readonly cgroups: CgroupPort;
  readonly hooks: HookRunner;
  readonly logs: LogDirectories;
  readonly links: ContainerLogLinks;
  readonly records: Pick<GarbageCollector, 'removeContainer'>;
  readonly events: EventSink;
  readonly logger: Logger;
}

type Executors = { readonly [K in ActionType]: (action: Extract<Action, { type: K }>, options: CallOptions) => Promise<ActionOutcome> };

const done: ActionOutcome = { kind: 'done' };

/** The executor of one Pod. What it remembers beyond the runtime's records is only a shortcut. */
export class PodExecutor {
  readonly #deps: ExecutorDeps;
  readonly #pod: () => Pod;
  /** Descriptions of the images found for the Pod, by the reference containers are created with. */
  readonly #images = new Map<string, RuntimeImage>();
  /** References of the Pod's image volumes, by volume name. */
  readonly #imageVolumes = new Map<string, string>();
  /** Containers whose end was announced already: hook and stop are one kill. */
  readonly #announced = new Set<string>();

  /** `pod` answers the Pod as last desired. */
  constructor(pod: () => Pod, deps: ExecutorDeps) {
    this.#pod = pod;
    this.#deps = deps;
  }

  /** Does the action. Rejects only with `signal.reason`. */
  async execute(action: Action, { signal }: CallOptions): Promise<ActionOutcome> {
    try {
      const run = this.#executors[action.type] as (action: Action, options: CallOptions) => Promise<ActionOutcome>;
      return await run(action, { signal });
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      // What is not one of ours is a bug or the machine's; either way this Pod alone has a problem.
      if (!(error instanceof AgentError)) {
        this.#deps.logger.error('action failed unexpectedly', { pod: formatPod(this.#pod()), action: action.type, error });
      }
      return this.#explain(action, error);
    }
  }

  readonly #executors: Executors = {
    CreatePodCgroup: async ({ hasRunning }) => {
      const wasThere = await this.#deps.cgroups.ensure(this.#pod(), await this.#deps.node(), { isInUse: hasRunning });
      return { kind: 'done', wasMissing: !wasThere };
    },
    SetUpVolumes: async (_action, { signal }) => {
      await this.#deps.volumes.setUp(this.#pod(), await this.#deps.node(), { signal });
      return done;
    },
    RefreshVolumes: async (_action, { signal }) => {
      await this.#deps.volumes.refresh(this.#pod(), await this.#deps.node(), { signal });
      return done;
    },
    RunPodSandbox: async ({ attempt }, { signal }) => {
      const pod = this.#pod();
      const built = await this.#buildSandbox(attempt);
      for (const { reason, message } of built.warnings) this.#deps.events.record(podObject(pod), 'Warning', reason, message);
      for (const container of allContainers(pod.spec)) await this.#deps.logs.prepare(pod, container.name); // L-193, L-216
      await this.#deps.runtime.runPodSandbox(built, { signal });
      return done;
    },
    StopPodSandbox: async ({ sandboxId }, { signal }) => {
      await this.#deps.runtime.stopPodSandbox(sandboxId, { signal });
      return done;
    },
    RemovePodSandbox: async ({ sandboxId }, { signal }) => {
      await this.#deps.runtime.removePodSandbox(sandboxId, { signal });
      return done;
    },
    PullImage: async ({ container: name, sandboxAttempt }, { signal }) => {
      const pod = this.#pod();
      const container = this.#container(name);
      const sandboxConfig = await this.#sandboxConfig(sandboxAttempt);
      const object = containerObject(pod, name);
      for (const volume of imageVolumesOf(pod, container)) {
        const reference = volume.image.reference ?? '';
        const found = await this.#deps.images.ensure(
          { pod, object, reference, pullPolicy: volume.image.pullPolicy, sandboxConfig },
          { signal },
        );
        if (found.kind === 'failed') return waiting(found.reason, found.message, found.retryAt);
        this.#imageVolumes.set(volume.name, found.imageRef);
      }
      const found = await this.#deps.images.ensure(
        { pod, object, reference: container.image ?? '', pullPolicy: container.imagePullPolicy, sandboxConfig },
        { signal },
      );
      if (found.kind === 'failed') return waiting(found.reason, found.message, found.retryAt);
      if (found.image !== undefined) this.#images.set(found.imageRef, found.image);
      return { kind: 'done', imageRef: found.imageRef };
    },
    CreateContainer: (action, options) => this.#createContainer(action, options),
    StartContainer: async ({ container, containerId }, { signal }) => {
      const pod = this.#pod();
      await this.#deps.runtime.startContainer(containerId, { signal });
      this.#deps.events.record(containerObject(pod, container), 'Normal', 'Started', 'Container started');
      const { name: podName, namespace } = pod.metadata;
      const status = await this.#deps.runtime.containerStatus(containerId, { signal });
      if (status !== undefined && status.logPath !== '') {
        await this.#deps.links.add({ podName, namespace, name: container, id: containerId }, status.logPath); // L-217
      }
      return done;
    },
    ResizeContainers: async (resize, { signal }) => {
      await this.#resize(resize, signal);
      return done;
    },
    RunPostStart: async ({ container, containerId, handler }, { signal }) => {
      const request = { pod: this.#pod(), container: this.#container(container), containerId, handler };
      const result = await this.#deps.hooks.postStart({ ...request, podAddress: await this.#podAddress(signal) }, { signal });
      if (result.kind === 'done') return done;
      return { kind: 'failed', message: result.message, waiting: { reason: failedHook.postStart.reason, message: result.message } };
    },
    RunPreStop: async ({ container, containerId, handler, timeoutSeconds, message }, { signal }) => {
      this.#killing(container, containerId, message);
      const request = { pod: this.#pod(), container: this.#container(container), containerId, handler, timeoutSeconds };
      const result = await this.#deps.hooks.preStop({ ...request, podAddress: await this.#podAddress(signal) }, { signal });
      // A failed hook does not keep the container from being stopped (L-438); one whose runtime went away is run again.
      if (result.kind !== 'failed' || result.isUnanswered !== true) return done;
      return { kind: 'failed', message: result.message, isUnanswered: true };
    },
    StopContainer: async ({ container, containerId, timeoutSeconds, message }, { signal }) => {
      this.#killing(container, containerId, message);
      await this.#deps.runtime.stopContainer({ containerId, timeoutSeconds }, { signal });
      return done;
    },
    RemoveContainer: async ({ containerId, keepLogs }, { signal }) => {
      await this.#deps.records.removeContainer(containerId, { signal, keepLogs });
      return done;
    },
    TearDownVolumes: async (_action, { signal }) => {
      await this.#deps.volumes.tearDown(this.#pod().metadata.uid, { signal });
      return done;
    },
    RemovePodFolder: async (_action, { signal }) => {
      await this.#deps.volumes.remove(this.#pod().metadata.uid, { signal });
      return done;
    },
    RemovePodCgroup: async (_action, { signal }) => {
      await this.#deps.cgroups.remove(this.#pod().metadata.uid, { signal });
      return done;
    },
  };

  /** L-212 … L-214. */
  async #createContainer(action: Extract<Action, { type: 'CreateContainer' }>, { signal }: CallOptions): Promise<ActionOutcome> {
    const pod = this.#pod();
    const { runtime, volumes, logs, events } = this.#deps;
    const container = this.#container(action.container);
    const node = await this.#deps.node();
    const attempt = action.attempt === 0 ? await attemptFromLogs(pod, container.name, node.podLogsDir) : action.attempt;
    const image = this.#images.get(action.imageRef) ?? (await runtime.imageStatus({ image: action.imageRef }, { signal }));
    const envFiles = await volumes.envFiles(pod, container);
    const common = { node, attempt, podIps: action.podIps, envFiles, users: await this.#users(node) };
    const mounts = await volumes.mounts(pod, container, { ...common, imageVolumes: this.#imageVolumes }, { signal });
    const built = buildContainerConfig(pod, container, {
      ...common,
      mounts,
      imageRef: action.imageRef,
      imageUser: image === undefined ? undefined : { uid: image.uid, username: image.username },
      backoffMs: action.backoffMs,
    });
    if ('reason' in built) {
      events.record(containerObject(pod, container.name), 'Warning', 'Failed', `Error: ${built.message}`);
      return waiting(built.reason, built.message, undefined);
    }
    if (action.resizesPod === true) await this.#deps.cgroups.endResize(pod, node);
    await logs.prepare(pod, container.name);
    const sandboxConfig = await this.#sandboxConfig(action.sandboxAttempt);
    await runtime.createContainer({ sandboxId: action.sandboxId, config: built.config, sandboxConfig }, { signal });
    events.record(containerObject(pod, container.name), 'Normal', 'Created', 'Container created');
    return done;
  }

  /** L-518, L-520, L-522. Every step may be done again. */
  async #resize(resize: Extract<Action, { type: 'ResizeContainers' }>, signal: AbortSignal): Promise<void> {
    const { cgroups, events, runtime } = this.#deps;
    const { changes, whole } = resize;
    const pod = withResources(this.#pod(), new Map(changes.map(({ container, to }) => [container, to])));
    const node = await this.#deps.node();
    let usedByAll = 0;
    for (const { container, containerId } of changes) {
      const { memoryLimitBytes } = containerResources(pod.spec, findContainer(pod, container), node);
      const used = whole === undefined && memoryLimitBytes === undefined ? 0 : await this.#memoryUsed(containerId, signal);
      usedByAll += used;
      refuseLimitBelow(used, memoryLimitBytes, `container ${container}`);
    }
    if (whole !== undefined) refuseLimitBelow(usedByAll, podLimit(pod.spec, 'memory'), 'the Pod');
    await cgroups.beginResize(pod, node);
    for (const { container, containerId } of changes) {
      const resources = updateOf(containerResources(pod.spec, findContainer(pod, container), node));
      await runtime.updateContainerResources({ containerId, resources }, { signal });
    }
    await cgroups.endResize(pod, node);
    await this.#tellSandbox(pod, node, signal);
    events.record(podObject(pod), 'Normal', 'ResizeCompleted', `Pod resize completed: ${resizeText(pod, resize)}`);
  }

  async #memoryUsed(containerId: string, signal: AbortSignal): Promise<number> {
    return (await this.#deps.runtime.containerStats(containerId, { signal }))?.memory?.workingSetBytes ?? 0;
  }

  /** The runtime may want to know; most do not (L-520). */
  async #tellSandbox(pod: Pod, node: NodeFacts, signal: AbortSignal): Promise<void> {
    const sandboxes = await this.#deps.runtime.listPodSandboxes({ podUid: pod.metadata.uid }, { signal });
    const sandboxId = sandboxes.find(({ state }) => state === 'ready')?.id;
    if (sandboxId === undefined) return;
    const request = { sandboxId, resources: sandboxResources(pod.spec, node), overhead: sandboxOverhead(pod.spec, node) };
    try {
      await this.#deps.runtime.updatePodSandboxResources(request, { signal });
    } catch (error) {
      signal.throwIfAborted();
      this.#deps.logger.debug('the sandbox was not told of a resize', { pod: formatPod(pod), error: messageOf(error) });
    }
  }

  async #sandboxConfig(attempt: number): Promise<PodSandboxConfig> {
    return (await this.#buildSandbox(attempt)).config;
  }

  async #buildSandbox(attempt: number): Promise<BuiltSandbox> {
    const node = await this.#deps.node();
    const built = buildSandboxConfig(this.#pod(), { node, attempt, users: await this.#users(node) });
    if ('reason' in built) throw new AgentError('sandbox-config', built.message);
    return built;
  }

  /** Ids are reserved only where the runtime can use them; elsewhere the request says that it cannot (L-271). */
  async #users(node: NodeFacts): Promise<UserNamespace | undefined> {
    const { metadata, spec } = this.#pod();
    const canUse = usesUserNamespace(spec) && handlerFeaturesOf(spec, node).userNamespaces;
    return canUse ? await this.#deps.users.reserve(metadata.uid) : undefined;
  }

  #container(name: string): Container {
    return findContainer(this.#pod(), name);
  }

  /** Where hooks without a host go (L-426): the newest sandbox's address, for a host-network Pod the node's. */
  async #podAddress(signal: AbortSignal): Promise<string | undefined> {
    const pod = this.#pod();
    if (pod.spec.hostNetwork === true) return (await this.#deps.node()).ips[0] ?? '127.0.0.1';
    const sandboxes = await this.#deps.runtime.listPodSandboxes({ podUid: pod.metadata.uid }, { signal });
    const ready = sandboxes.find((sandbox) => sandbox.state === 'ready');
    if (ready === undefined) return undefined;
    return (await this.#deps.runtime.podSandboxStatus(ready.id, { signal }))?.ips[0];
  }

  #killing(container: string, containerId: string, message: string): void {
    if (this.#announced.has(containerId)) return;
    this.#announced.add(containerId);
    this.#deps.events.record(containerObject(this.#pod(), container), 'Normal', 'Killing', message);
  }

  /** What a failed action means to the Pod: its event, and the reason its container waits. */
  #explain(action: Action, error: unknown): ActionOutcome {
    const message = messageOf(error);
    const pod = podObject(this.#pod());
    const warn = (reason: string, text: string): ActionOutcome => {
      this.#deps.events.record(pod, 'Warning', reason, text);
      return { kind: 'failed', message };
    };
    const rpcText = error instanceof RuntimeError ? rpcErrorText(error) : message;
    switch (action.type) {
      case 'CreatePodCgroup':
        return warn('FailedCreatePodContainer', `unable to ensure pod container exists: ${message}`); // L-053
      case 'SetUpVolumes':
        for (const failure of failuresOf(error)) warn('FailedMount', failure); // L-311
        return warn('FailedMount', `Unable to attach or mount volumes: ${message}`); // L-055
      case 'TearDownVolumes':
      case 'RemovePodFolder':
        return warn('FailedUnMount', `Unable to unmount volumes: ${message}`);
      case 'RunPodSandbox':
        return warn('FailedCreatePodSandBox', `Failed to create pod sandbox: ${rpcText}`); // L-161
      case 'ResizeContainers':
        return warn('ResizeError', `Pod resize error: ${resizeText(this.#pod(), action, message)}`); // L-518
      case 'StopPodSandbox':
      case 'StopContainer':
        return warn('FailedKillPod', `error killing pod: ${message}`); // L-061
      case 'CreateContainer':
      case 'StartContainer': {
        const reason = reasonOf(error) ?? (action.type === 'CreateContainer' ? 'CreateContainerError' : 'RunContainerError'); // L-214
        // L-215: with the id, which is another at each start, equal failures would not be counted as one event.
        const said = action.type === 'StartContainer' ? message.replaceAll(action.containerId, action.container) : message;
        this.#deps.events.record(containerObject(this.#pod(), action.container), 'Warning', 'Failed', `Error: ${said}`);
        const isUnanswered = error instanceof RuntimeError && error.code === 'unavailable';
        return { kind: 'failed', message, waiting: { reason, message }, ...(isUnanswered ? { isUnanswered } : {}) };
      }
      default:
        this.#deps.logger.warn('action failed', { pod: formatPod(this.#pod()), action: action.type, error: message });
        return { kind: 'failed', message };
    }
  }
}

function findContainer(pod: Pod, name: string): Container {
  return allContainers(pod.spec).find((candidate) => candidate.name === name) ?? { name };
}

/** A limit below what is used now would kill (L-522). */
function refuseLimitBelow(used: number, limitBytes: number | undefined, of: string): void {
  if (limitBytes === undefined || used <= limitBytes) return;
  throw new AgentError('resize', `memory limit ${limitBytes} of ${of} is below what it uses now, ${used}`);
}

/** In an update 0 means unchanged, so a limit that is to go is named. */
function updateOf(resources: LinuxResources): LinuxResources {
  const { cpuQuota, memoryLimitBytes = -1 } = resources;
  return { ...resources, memoryLimitBytes, ...(cpuQuota === 0 ? { cpuQuota: -1 } : {}) };
}

/** The Kubernetes reason an error of volumes or configuration names itself. */
function reasonOf(error: unknown): string | undefined {
  return error instanceof AgentError && 'reason' in error && typeof error.reason === 'string' ? error.reason : undefined;
}

/** What an error of volumes tells of each of them. */
function failuresOf(error: unknown): readonly string[] {
  const failures = error instanceof AgentError && 'failures' in error ? error.failures : undefined;
  return Array.isArray(failures) ? failures.filter((one) => typeof one === 'string') : [];
}

function waiting(reason: string, message: string, retryAt: number | undefined): ActionOutcome {
  return { kind: 'failed', message, waiting: { reason, message }, retryAt };
}

function imageVolumesOf(pod: Pod, container: Container) {
  const mounted = new Set((container.volumeMounts ?? []).map((mount) => mount.name));
  return (pod.spec.volumes ?? []).flatMap((volume) =>
    volume.image !== undefined && mounted.has(volume.name) ? [{ name: volume.name, image: volume.image }] : [],
  );
}

/** L-175: with no record left, log files tell how often the container was started, so that none is overwritten. */
async function attemptFromLogs(pod: Pod, container: string, podLogsDir: string): Promise<number> {
  try {
    const names = await readdir(path.join(podLogDirectory(pod, podLogsDir), container));
    const numbers = names.flatMap((name) => {
      const match = /^(\d+)\.log/.exec(name);
      return match === null ? [] : [Number(match[1])];
    });
    return numbers.length === 0 ? 0 : Math.max(...numbers) + 1;
  } catch (error) {
    if (systemCode(error) !== undefined) return 0;
    throw error;
  }
}
