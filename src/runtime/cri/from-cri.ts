// CRI messages → our observation types. Pure. Throws a RuntimeError when a status breaks the checks of table 4.2.
import { isIP } from 'node:net';
import {
  criKeys,
  type ObservedContainer,
  type ObservedContainerState,
  type ObservedResources,
  type ObservedSandbox,
} from '../../pod/observation.ts';
import type { Instant } from '../../std/clock.ts';
import type { ContainerStats, CpuStats, FilesystemUsage, MemoryStats, PodSandboxStats, RuntimeImage, RuntimeStatus } from '../runtime.ts';
import { invalidResponse } from './errors.ts';
import * as cri from './gen/runtime.ts';

/** Nanoseconds since the epoch → milliseconds, exact to the microsecond (a double cannot hold the nanoseconds). */
export function fromNanos(nanos: bigint): Instant {
  return Number(nanos / 1000n) / 1000;
}

export function fromCriSandbox(sandbox: cri.PodSandbox): ObservedSandbox {
  return { ...sandboxFacts(sandbox), hostNetwork: undefined, ips: [], lostNetwork: false };
}

export function fromCriSandboxStatus(status: cri.PodSandboxStatus): ObservedSandbox {
  const { metadata } = status;
  if (status.id === '' || metadata === undefined || metadata.name === '' || metadata.namespace === '' || metadata.uid === '') {
    throw invalidResponse('PodSandboxStatus', 'the sandbox status has no id, name, namespace or uid');
  }
  if (status.createdAt === 0n) throw invalidResponse('PodSandboxStatus', 'the sandbox status has no creation time');
  const network = status.linux?.namespaces?.options?.network;
  return {
    ...sandboxFacts(status),
    hostNetwork: network === undefined ? undefined : network === cri.NamespaceMode.NODE,
    ips: fromCriNetwork(status.network).ips,
    lostNetwork: status.network !== undefined && status.network.ip === '',
  };
}

/** L-099: one invalid address discards all; `invalid` is that address, for the log. */
export function fromCriNetwork(network: cri.PodSandboxNetworkStatus | undefined): {
  readonly ips: readonly string[];
  readonly invalid: string | undefined;
} {
  if (network === undefined) return { ips: [], invalid: undefined };
  const ips = [...(network.ip === '' ? [] : [network.ip]), ...network.additionalIps.map(({ ip }) => ip)];
  const invalid = ips.find((ip) => isIP(ip) === 0);
  return { ips: invalid === undefined ? ips : [], invalid };
}

export function fromCriContainer(container: cri.Container): ObservedContainer {
  return {
    ...containerFacts(container),
    sandboxId: container.podSandboxId,
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
  };
}

/** CRI's container status does not say which sandbox it belongs to: the caller knows. */
export function fromCriContainerStatus(status: cri.ContainerStatus, sandboxId: string): ObservedContainer {
  if (status.id === '' || status.metadata === undefined || status.metadata.name === '' || status.createdAt === 0n) {
    throw invalidResponse('ContainerStatus', 'the container status has no id, name or creation time');
  }
  if (status.image === undefined || status.image.image === '' || status.imageRef === '') {
    throw invalidResponse('ContainerStatus', 'the container status has no image');
  }
  const user = status.user?.linux;
  return {
    ...containerFacts(status),
    sandboxId,
    startedAt: fromTime(status.startedAt),
    finishedAt: fromTime(status.finishedAt),
    exitCode: status.exitCode,
    reason: status.reason,
    message: status.message,
    logPath: status.logPath,
    mounts: status.mounts.map(({ containerPath, hostPath, readonly, recursiveReadOnly }) => ({
      containerPath,
      hostPath,
      readonly,
      recursiveReadOnly,
    })),
    resources: status.resources?.linux && fromCriResources(status.resources.linux),
    user: user && { uid: Number(user.uid), gid: Number(user.gid), supplementalGroups: user.supplementalGroups.map(Number) },
    stopSignal: fromCriSignal(status.stopSignal),
  };
}

/** `SIGRTMINPLUS1` is what Kubernetes calls `SIGRTMIN+1`. */
function fromCriSignal(signal: cri.Signal): string | undefined {
  if (signal === cri.Signal.RUNTIME_DEFAULT) return undefined;
  const name = Object.entries(cri.Signal).find(([, value]) => value === signal)?.[0];
  return name?.replace('PLUS', '+').replace('MINUS', '-');
}

export function fromCriImage(image: cri.Image): RuntimeImage {
  return {
    id: image.id,
    repoTags: image.repoTags,
    repoDigests: image.repoDigests,
    sizeBytes: Number(image.size),
    uid: image.uid && Number(image.uid.value),
    username: image.username === '' ? undefined : image.username,
    pinned: image.pinned,
  };
}

export function fromCriStatus(response: cri.StatusResponse): RuntimeStatus {
  const conditions = response.status?.conditions ?? [];
  if (conditions.length < 2) throw invalidResponse('Status', 'RuntimeReady or NetworkReady condition are not set');
  return {
    conditions,
    handlers: response.runtimeHandlers.map(({ name, features }) => ({
      name,
      recursiveReadOnlyMounts: features?.recursiveReadOnlyMounts ?? false,
      userNamespaces: features?.userNamespaces ?? false,
    })),
    features: { supplementalGroupsPolicy: response.features?.supplementalGroupsPolicy ?? false },
    info: response.info,
  };
}

export function fromCriFilesystem(usage: cri.FilesystemUsage): FilesystemUsage {
  return {
    timestamp: fromNanos(usage.timestamp),
    mountpoint: usage.fsId?.mountpoint ?? '',
    usedBytes: fromCount(usage.usedBytes) ?? 0,
    inodesUsed: fromCount(usage.inodesUsed) ?? 0,
  };
}

export function fromCriContainerStats(stats: cri.ContainerStats): ContainerStats {
  const labels = stats.attributes?.labels ?? {};
  return {
    id: stats.attributes?.id ?? '',
    name: stats.attributes?.metadata?.name ?? '',
    podUid: labels[criKeys.podUid] ?? '',
    labels,
    cpu: stats.cpu && fromCriCpu(stats.cpu),
    memory: stats.memory && fromCriMemory(stats.memory),
    writableLayer: stats.writableLayer && fromCriFilesystem(stats.writableLayer),
  };
}

export function fromCriSandboxStats(stats: cri.PodSandboxStats): PodSandboxStats {
  const { attributes, linux } = stats;
  const network = linux?.network;
  return {
    id: attributes?.id ?? '',
    podUid: attributes?.metadata?.uid ?? '',
    cpu: linux?.cpu && fromCriCpu(linux.cpu),
    memory: linux?.memory && fromCriMemory(linux.memory),
    network: network && {
      timestamp: fromNanos(network.timestamp),
      interfaces: networkInterfaces(network).map((nic) => ({
        name: nic.name,
        rxBytes: fromCount(nic.rxBytes) ?? 0,
        rxErrors: fromCount(nic.rxErrors) ?? 0,
        txBytes: fromCount(nic.txBytes) ?? 0,
        txErrors: fromCount(nic.txErrors) ?? 0,
      })),
    },
    processCount: fromCount(linux?.process?.processCount),
    containers: (linux?.containers ?? []).map(fromCriContainerStats),
  };
}

function sandboxFacts(
  sandbox: Pick<cri.PodSandbox, 'id' | 'metadata' | 'state' | 'createdAt' | 'labels' | 'annotations' | 'runtimeHandler'>,
): Omit<ObservedSandbox, 'hostNetwork' | 'ips' | 'lostNetwork'> {
  return {
    id: sandbox.id,
    name: sandbox.metadata?.name ?? '',
    namespace: sandbox.metadata?.namespace ?? '',
    podUid: sandbox.metadata?.uid ?? '',
    attempt: sandbox.metadata?.attempt ?? 0,
    state: sandbox.state === cri.PodSandboxState.SANDBOX_READY ? 'ready' : 'notReady',
    createdAt: fromNanos(sandbox.createdAt),
    labels: sandbox.labels,
    annotations: sandbox.annotations,
    runtimeHandler: sandbox.runtimeHandler,
  };
}

function containerFacts(
  container: Pick<
    cri.ContainerStatus,
    'id' | 'metadata' | 'state' | 'createdAt' | 'image' | 'imageRef' | 'imageId' | 'labels' | 'annotations'
  >,
) {
  return {
    id: container.id,
    podUid: container.labels[criKeys.podUid] ?? '',
    name: container.metadata?.name ?? '',
    attempt: container.metadata?.attempt ?? 0,
    state: fromCriContainerState(container.state),
    createdAt: fromNanos(container.createdAt),
    image: container.image?.userSpecifiedImage || container.image?.image || '',
    imageRef: container.imageRef,
    imageId: container.imageId,
    labels: container.labels,
    annotations: container.annotations,
  };
}

function fromCriContainerState(state: cri.ContainerState): ObservedContainerState {
  switch (state) {
    case cri.ContainerState.CONTAINER_CREATED:
      return 'created';
    case cri.ContainerState.CONTAINER_RUNNING:
      return 'running';
    case cri.ContainerState.CONTAINER_EXITED:
      return 'exited';
    default:
      return 'unknown';
  }
}

function fromCriResources(resources: cri.LinuxContainerResources): ObservedResources {
  return {
    cpuShares: Number(resources.cpuShares),
    cpuQuota: Number(resources.cpuQuota),
    cpuPeriod: Number(resources.cpuPeriod),
    memoryLimitBytes: Number(resources.memoryLimitInBytes),
  };
}

function fromCriCpu(cpu: cri.CpuUsage): CpuStats {
  return {
    timestamp: fromNanos(cpu.timestamp),
    usageCoreNanoSeconds: fromCount(cpu.usageCoreNanoSeconds),
    usageNanoCores: fromCount(cpu.usageNanoCores),
  };
}

function fromCriMemory(memory: cri.MemoryUsage): MemoryStats {
  return {
    timestamp: fromNanos(memory.timestamp),
    workingSetBytes: fromCount(memory.workingSetBytes),
    availableBytes: fromCount(memory.availableBytes),
    usageBytes: fromCount(memory.usageBytes),
    rssBytes: fromCount(memory.rssBytes),
    pageFaults: fromCount(memory.pageFaults),
    majorPageFaults: fromCount(memory.majorPageFaults),
  };
}

/** The default interface first; some runtimes list it a second time among the others. */
function networkInterfaces({ defaultInterface, interfaces }: cri.NetworkUsage): readonly cri.NetworkInterfaceUsage[] {
  if (defaultInterface === undefined) return interfaces;
  return [defaultInterface, ...interfaces.filter(({ name }) => name !== defaultInterface.name)];
}

/** 0 means unset (L-101). */
function fromTime(nanos: bigint): Instant | undefined {
  return nanos === 0n ? undefined : fromNanos(nanos);
}

function fromCount(value: cri.UInt64Value | undefined): number | undefined {
  return value && Number(value.value);
}
