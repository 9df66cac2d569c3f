// Everything between the desired Pods and the runtime: change detector, prober, executors and the workers, wired once.
import { access } from 'node:fs/promises';
import path from 'node:path';
import { realCgroupFiles } from '../cgroup/cgroup-files.ts';
import type { CgroupLayout } from '../cgroup/layout.ts';

import { NodeCgroups } from '../cgroup/node-cgroups.ts';
import { PodCgroups } from '../cgroup/pod-cgroups.ts';
import { systemctlSlices } from '../cgroup/systemd.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import type { ImagePuller } from '../image/image-puller.ts';
import { Pleg } from '../pleg/pleg.ts';
import type { PlanOptions } from '../pod/draft.ts';
import type { CgroupFacts, NodeAmounts, NodeFacts } from '../pod/node-facts.ts';
import { defaultBackoff } from '../pod/restart-policy.ts';
import type { PodConfig } from '../podconfig/pod-config.ts';
import { actionMetrics } from '../podworker/action-metrics.ts';
import { ContainerLogLinks } from '../podworker/container-log-links.ts';
import { Disruptions } from '../podworker/disruptions.ts';
import { PodExecutor } from '../podworker/execute.ts';
import { GarbageCollector } from '../podworker/garbage-collector.ts';
import { HookRunner } from '../podworker/hooks.ts';
import { LogDirectories } from '../podworker/log-directories.ts';
import { PodWorkers } from '../podworker/pod-workers.ts';
import type { CgroupPort } from '../podworker/ports.ts';
import { StatusFiles } from '../podworker/status-files.ts';
import { readTerminationMessage } from '../podworker/termination-message.ts';
import { Prober } from '../prober/prober.ts';
import type { CallOptions, RuntimeVersion } from '../runtime/runtime.ts';
import type { StatusStore } from '../status/status-store.ts';
import { signalProcess } from '../std/process.ts';
import { jsonStateFile } from '../std/state-file.ts';
import { programMounter } from '../volume/mounter.ts';
import { findIdRange, UserNamespaces } from '../volume/user-namespaces.ts';
import { Volumes } from '../volume/volumes.ts';
import { type AgentBase, nodeObject } from './base.ts';
import type { RuntimeConnection } from './connect-runtime.ts';
import { maxPids, realHost } from './host.ts';
import { admissionMetrics, NodeAdmission } from './node-admission.ts';
import { allocatable, type NodeFactsReader, podTasks } from './node-facts.ts';
import { observePods, workerMetrics } from './pod-metrics.ts';
import { RuntimeState } from './runtime-state.ts';

export interface PodEngineOptions {
  readonly config: AgentConfig;
  readonly version: RuntimeVersion;
  readonly layout: CgroupLayout;
  readonly cgroup: CgroupFacts;
  /** As read at the start: capacity and addresses. */
  readonly facts: NodeFacts;
}

export interface PodEngineDeps extends AgentBase, Pick<RuntimeConnection, 'runtime'> {
  readonly node: NodeFactsReader;
  readonly images: ImagePuller;
  readonly podConfig: PodConfig;
  readonly status: StatusStore;
  /** The runtime or its network became ready, or ceased to be. */
  readonly onRuntimeState: () => void;
}

export interface PodEngine {
  readonly workers: PodWorkers;
  readonly pleg: Pleg;
  readonly prober: Prober;
  readonly state: RuntimeState;
  readonly volumes: Volumes;
  readonly cgroups: CgroupPort;
  /** Undefined where `cgroupsPerQOS` is off. */
  readonly nodeCgroups: NodeCgroups | undefined;
  readonly records: GarbageCollector;
  readonly admission: NodeAdmission;
  readonly planOptions: () => PlanOptions;
}

/** A ConfigError when the ids for user namespaces cannot be told (L-271). */
export async function createPodEngine(options: PodEngineOptions, deps: PodEngineDeps, callOptions: CallOptions): Promise<PodEngine> {
  const { config, cgroup, facts } = options;
  const { runtime, clock, random, logger, events, podConfig, node, reload } = deps;
  const agentStartedAt = clock.now();
  const podCgroups = cgroup.perQos ? await makePodCgroups(options, deps) : undefined;
  let workers: PodWorkers | undefined;
  const isEnforced = config.enforceNodeAllocatable.includes('pods');
  const pidsLimit = isEnforced ? podTasks(config, await maxPids(realHost)) : -1;
  const nodeCgroups =
    podCgroups === undefined
      ? undefined
      : new NodeCgroups(
          { limit: nodeLimit(options, isEnforced), isEnforced, pidsLimit, node: nodeObject(config) },
          {
            ...{ cgroups: podCgroups, events, clock, logger },
            facts: () => node.read(),
            active: () => (workers?.active() ?? []).map(({ pod }) => pod.spec),
          },
        );
  await nodeCgroups?.start();
  const cgroups = podCgroups === undefined || nodeCgroups === undefined ? noCgroups : withNews(podCgroups, () => nodeCgroups.podsChanged());
  const volumes = new Volumes({ rootDir: config.rootDir }, { mounter: programMounter, clock, random, log: logger });
  const idsPerPod = config.userNamespacesIdsPerPod;
  const users = new UserNamespaces(
    { rootDir: config.rootDir, idsPerPod, range: await findIdRange(idsPerPod, callOptions) },
    { log: logger, podDirectory: (uid) => volumes.podDirectory(uid) },
  );
  const hooks = new HookRunner(deps);
  const logs = new LogDirectories({ root: config.podLogsDir, owner: config.rootDir });
  const links = new ContainerLogLinks(
    { folder: path.join(path.dirname(config.podLogsDir), 'containers'), podLogsDir: config.podLogsDir },
    { logger },
  );

  // Those below need each other by way of the workers, which exist only after them.
  const wake = (uid: string): void => workers?.wake(uid);
  const wakeAll = (): void => workers?.wakeAll();
  const records = new GarbageCollector(
    { minimumAgeMs: 0, maxPerContainer: 1, maxContainers: -1, node: nodeObject(config) },
    {
      ...{ runtime, clock, events, logger, hooks, logs, links },
      pods: {
        sourcesReady: () => podConfig.allSourcesSeen,
        isDisposable: (uid) => workers?.isDisposable(uid) ?? false,
        isLeftAlone: (uid) => workers?.isLeftAlone(uid) ?? true,
      },
    },
  );
  const pleg = new Pleg({}, { ...deps, onChange: wake, onRecovered: wakeAll });
  const prober = new Prober({ agentStartedAt }, { ...deps, nodeAddress: () => facts.ips[0], onResult: wake });
  const onRuntimeState = (): void => {
    wakeAll();
    deps.onRuntimeState();
  };
  const state = new RuntimeState({ runtime, clock, logger, onChange: onRuntimeState });
  const admission = new NodeAdmission(config, facts, { runtime: node, clock, logger, onChange: () => workers?.reconcile() });
  reload.follow((next) => admission.configure(next));
  await admission.refresh();
  const executorDeps = {
    ...{ runtime, images: deps.images, volumes, users, cgroups, hooks, logs, links, records, events, logger },
    node: () => node.read(),
  };
  const counted = actionMetrics(deps.metrics, clock);
  observePods(deps.metrics, deps.status, clock);
  const planOptions = (): PlanOptions => ({
    backoff: { ...defaultBackoff, maxMs: reload.config.crashLoopMaxBackOffMs },
    networkError: state.networkError,
    runtimeName: options.version.runtimeName,
    hostIps: facts.ips,
    agentStartedAt,
  });
  workers = new PodWorkers(
    { nodeName: config.nodeName },
    {
      ...{ prober, planOptions, readTerminationMessage, events, clock, logger, status: deps.status },
      resyncMs: () => reload.config.syncFrequencyMs,
      desired: () => podConfig.desired(),
      hasSeen: (source) => podConfig.hasSeen(source),
      podUids: () => pleg.podUids(),
      observe: (uid, observeOptions) => pleg.observe(uid, observeOptions),
      lastStatus: new StatusFiles({ rootDir: config.rootDir }, { log: logger }),
      executorOf: (pod) => counted(new PodExecutor(pod, executorDeps), pod),
      admit: (pod, active) => admission.admit(pod, active),
      mayReturn: (reason) => admission.mayReturn(reason),
      ...admissionMetrics(deps.metrics),
      ...workerMetrics(deps.metrics),
      disruptions: new Disruptions({
        file: jsonStateFile({ path: path.join(config.rootDir, 'disrupted.json'), maxBytes: 1 << 20 }, { log: logger }),
        logger,
      }),
    },
  );
  return { workers, pleg, prober, state, volumes, cgroups, nodeCgroups, records, admission, planOptions };
}

const noCgroups: CgroupPort = {
  ensure: async () => true,
  beginResize: async () => undefined,
  endResize: async () => undefined,
  remove: async () => undefined,
};

/** The classes of Pods follow what happens to each of them. */
function withNews(cgroups: CgroupPort, onChange: () => void): CgroupPort {
  return {
    beginResize: (pod, node) => cgroups.beginResize(pod, node),
    ensure: async (pod, node, state) => {
      const wasThere = await cgroups.ensure(pod, node, state);
      onChange();
      return wasThere;
    },
    endResize: async (pod, node) => {
      await cgroups.endResize(pod, node);
      onChange();
    },
    remove: async (podUid, options) => {
      await cgroups.remove(podUid, options);
      onChange();
    },
  };
}

async function makePodCgroups({ layout, cgroup }: PodEngineOptions, { clock, logger }: AgentBase): Promise<PodCgroups> {
  const usesSystemd = cgroup.driver === 'systemd' && (await exists('/run/systemd/system'));
  return new PodCgroups(
    { layout, cgroup },
    {
      files: realCgroupFiles,
      kill: (pid) => void signalProcess(pid, 'SIGKILL'),
      clock,
      log: logger,
      ...(usesSystemd ? { slices: systemctlSlices } : {}),
    },
  );
}

/** L-302: capacity without what is reserved; what evictions keep free is not taken from it. */
function nodeLimit({ config, facts }: PodEngineOptions, isEnforced: boolean): NodeAmounts {
  const { systemReserved, kubeReserved } = config;
  return isEnforced ? allocatable(facts.capacity, { systemReserved, kubeReserved, evictionHard: {} }) : facts.capacity;
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
