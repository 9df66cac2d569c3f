// The table of settings: for each member of AgentConfig where it is written, its default, and whether a running agent
// can take a new value. Decoding, flags, `pinpod config`, reload and the published JSON schema all read this table.
import { createHash } from 'node:crypto';

import type { AgentConfig } from './agent-config.ts';
import { cipherSuiteNames } from './cipher-suites.ts';
import * as kinds from './kinds.ts';

export interface FlagSpelling {
  readonly name: string;
  readonly short?: string | undefined;
  /** A kubelet's flag that has a field in its configuration file. */
  readonly deprecated?: true | undefined;
}

/** Looks at other settings, already resolved; for defaults that follow from them. */
export interface Resolved {
  get<K extends keyof AgentConfig>(key: K): AgentConfig[K];
  /** Whether a person gave it a value. */
  isSet(key: keyof AgentConfig): boolean;
  readonly hostName: string;
}

export interface Setting<T> {
  /** Path in a KubeletConfiguration (`kubelet`) or an AgentConfiguration (`agent`) document; undefined: flag only. */
  readonly field: { readonly document: 'kubelet' | 'agent'; readonly path: string } | undefined;
  readonly flags: readonly FlagSpelling[];
  readonly environment: string | undefined;
  readonly kind: kinds.Kind<NonNullable<T>>;
  readonly default: (resolved: Resolved) => T;
  /** Zero and the empty string count as unset, as in the kubelet's defaulting (C-485). */
  readonly zeroIsUnset: boolean;
  /** Whether anything here looks at it; if not, a value other than the default is worth a warning (H-328). */
  readonly hasEffect: boolean;
  /** `live`: SIGHUP applies a new value; `restart`: it waits for the next start. */
  readonly reload: 'live' | 'restart';
  readonly help: string;
}

interface Row<T> {
  readonly kubelet?: string;
  readonly agent?: string;
  /** The kubelet's own name when it has one; a leading `!` marks one that the kubelet calls deprecated. */
  readonly flag?: string;
  readonly short?: string;
  readonly env?: string;
  readonly kind: kinds.Kind<NonNullable<T>>;
  readonly default: T | ((resolved: Resolved) => T);
  readonly zeroIsUnset?: boolean;
  readonly live?: boolean;
  readonly inert?: boolean;
  readonly help: string;
}

function setting<T>(row: Row<T>): Setting<T> {
  const { kubelet, agent, flag, short, default: preset } = row;
  const field =
    kubelet !== undefined
      ? { document: 'kubelet' as const, path: kubelet }
      : agent !== undefined
        ? { document: 'agent' as const, path: agent }
        : undefined;
  const flags = (flag ?? '').split(' ').filter((name) => name !== '');
  return {
    field,
    flags: flags.map((name) => ({
      name: name.replace('!', ''),
      short,
      deprecated: name.startsWith('!') ? true : undefined,
    })),
    environment: row.env,
    kind: row.kind,
    // No setting's value is itself a function.
    default: typeof preset === 'function' ? (preset as (resolved: Resolved) => T) : () => preset,
    zeroIsUnset: row.zeroIsUnset ?? false,
    hasEffect: row.inert !== true,
    reload: row.live === true ? 'live' : 'restart',
    help: row.help,
  };
}

export const defaultRunDir = '/run/pinpod';
export const defaultRootDir = '/var/lib/pinpod';

/** What makes an agent with its own run directory different from the machine's ordinary one, and the same at every start. */
function instanceId(resolved: Resolved): string | undefined {
  const runDir = resolved.get('runDir');
  return runDir === defaultRunDir ? undefined : createHash('sha256').update(runDir).digest('hex').slice(0, 8);
}

/** `ordinary` for the machine's ordinary agent; one with its own run directory must not meet it. */
function ordinaryOr<T>(ordinary: T, other: (id: string) => T): (resolved: Resolved) => T {
  return (resolved) => {
    const id = instanceId(resolved);
    return id === undefined ? ordinary : other(id);
  };
}

const none: Readonly<Record<string, never>> = Object.freeze({});
const empty: readonly never[] = Object.freeze([]);
const minuteMs = 60_000;
const port = (min: 0 | 1) => kinds.integer(min, 65_535);
const atLeastZero = kinds.integer(0);
const qps = { kind: atLeastZero };
const bool = (preset: boolean) => ({ kind: kinds.bool, default: preset });
const every = (ms: number) => ({ kind: kinds.duration(), default: ms, zeroIsUnset: true });
const percent = (preset: number) => ({ kind: kinds.integer(0, 100), default: preset });

const defaultEvictionHard: AgentConfig['evictionHard'] = Object.freeze({
  'memory.available': { kind: 'bytes', value: 100 * 2 ** 20 },
  'nodefs.available': { kind: 'percent', value: 10 },
  'nodefs.inodesFree': { kind: 'percent', value: 5 },
  'imagefs.available': { kind: 'percent', value: 15 },
  'imagefs.inodesFree': { kind: 'percent', value: 5 },
});

export type Settings = { readonly [K in keyof AgentConfig]: Setting<AgentConfig[K]> };
type Rows = { readonly [K in keyof AgentConfig]: Row<AgentConfig[K]> };

// Spec 03 section 4.2 and 4.4, then pinpod's own. Order is that of AgentConfig.
const rows: Rows = {
  rootDir: {
    agent: 'rootDir',
    flag: 'root-dir',
    kind: kinds.path,
    default: defaultRootDir,
    zeroIsUnset: true,
    help: 'state that outlives a reboot',
  },
  runDir: {
    agent: 'runDir',
    flag: 'run-dir',
    env: 'PINPOD_RUN_DIR',
    kind: kinds.path,
    default: defaultRunDir,
    zeroIsUnset: true,
    help: 'sockets and whatever a reboot may take; an agent with its own run directory runs beside others',
  },
  podLogsDir: { kubelet: 'podLogsDir', kind: kinds.path, default: '/var/log/pods', zeroIsUnset: true, help: "the containers' log files" },
  certDir: {
    flag: 'cert-dir',
    kind: kinds.path,
    default: (c) => `${c.get('rootDir')}/pki`,
    zeroIsUnset: true,
    help: 'own certificates and keys',
  },
  localKubeconfigPath: {
    agent: 'kubeAPI.kubeconfigPath',
    kind: kinds.path,
    default: (c) =>
      instanceId(c) === undefined && c.get('rootDir') === defaultRootDir
        ? '/etc/pinpod/kubeconfig.yaml'
        : `${c.get('runDir')}/kubeconfig.yaml`,
    zeroIsUnset: true,
    help: 'the kubeconfig that the agent writes for kubectl',
  },
  agentSocketPath: {
    agent: 'agentSocketPath',
    kind: kinds.path,
    default: (c) => `${c.get('runDir')}/pinpod.sock`,
    zeroIsUnset: true,
    help: 'root-only socket that the pinpod command talks to',
  },
  imagesDir: {
    agent: 'imagesDir',
    flag: 'images-dir',
    kind: kinds.path,
    default: (c) => `${c.get('rootDir')}/images`,
    zeroIsUnset: true,
    help: 'image archives in here are imported at start',
  },

  nodeName: {
    agent: 'nodeName',
    flag: 'hostname-override',
    kind: kinds.text,
    default: (c) => c.hostName,
    zeroIsUnset: true,
    help: "the node's name instead of the host's",
  },
  nodeIps: {
    agent: 'nodeIPs',
    flag: 'node-ip',
    kind: kinds.list(kinds.text),
    default: empty,
    help: "the node's address, or one of each family",
  },
  nodeLabels: { agent: 'nodeLabels', flag: 'node-labels', kind: kinds.mapOf(kinds.text), default: none, help: 'labels of the Node' },
  registerNode: { kubelet: 'registerNode', flag: '!register-node', ...bool(true), help: 'create the Node at the API server' },
  registerWithTaints: {
    kubelet: 'registerWithTaints',
    flag: '!register-with-taints',
    kind: kinds.list(kinds.taint),
    default: empty,
    help: 'taints of the Node when it is created',
  },
  providerId: { kubelet: 'providerID', flag: 'provider-id', kind: kinds.text, default: '', help: 'spec.providerID of the Node' },
  maxPods: {
    kubelet: 'maxPods',
    flag: '!max-pods',
    kind: atLeastZero,
    default: 110,
    zeroIsUnset: true,
    live: true,
    help: 'how many Pods may run',
  },
  podsPerCore: {
    kubelet: 'podsPerCore',
    flag: '!pods-per-core',
    kind: atLeastZero,
    default: 0,
    live: true,
    help: 'how many Pods may run for each core; 0: any number',
  },
  nodeStatusUpdateFrequencyMs: {
    kubelet: 'nodeStatusUpdateFrequency',
    flag: '!node-status-update-frequency',
    ...every(10_000),
    help: "how often the Node's status is computed",
  },
  nodeStatusReportFrequencyMs: {
    kubelet: 'nodeStatusReportFrequency',
    kind: kinds.duration(),
    default: (c) => (c.isSet('nodeStatusUpdateFrequencyMs') ? c.get('nodeStatusUpdateFrequencyMs') : 5 * minuteMs),
    zeroIsUnset: true,
    help: 'how often an unchanged status is reported',
  },
  nodeLeaseDurationSeconds: {
    kubelet: 'nodeLeaseDurationSeconds',
    kind: kinds.integer(1),
    default: 40,
    zeroIsUnset: true,
    help: "duration of the node's Lease, in seconds",
  },
  nodeStatusMaxImages: {
    kubelet: 'nodeStatusMaxImages',
    flag: '!node-status-max-images',
    kind: kinds.integer(-1),
    default: 50,
    help: 'how many images the Node lists; -1: all',
  },

  staticPodPath: {
    kubelet: 'staticPodPath',
    flag: '!pod-manifest-path',
    kind: kinds.path,
    default: (c) => (c.isSet('staticPodUrl') ? undefined : '/etc/pinpod/manifests'),
    live: true,
    help: 'folder of manifests, or a single one; empty: none',
  },
  fileCheckFrequencyMs: {
    kubelet: 'fileCheckFrequency',
    flag: '!file-check-frequency',
    ...every(20_000),
    live: true,
    help: 'how often the manifests are read without being told of a change',
  },
  staticPodUrl: {
    kubelet: 'staticPodURL',
    flag: '!manifest-url',
    kind: kinds.text,
    default: undefined,
    zeroIsUnset: true,
    live: true,
    help: 'URL of manifests',
  },
  staticPodUrlHeaders: {
    kubelet: 'staticPodURLHeader',
    flag: '!manifest-url-header',
    kind: kinds.headers,
    default: none,
    live: true,
    help: 'headers of the request for the manifests, name:value',
  },
  staticPodUrlCaFile: {
    agent: 'staticPodURLTLS.caFile',
    kind: kinds.path,
    default: undefined,
    zeroIsUnset: true,
    live: true,
    help: "certificates that the URL's server is checked against",
  },
  staticPodUrlCertFile: {
    agent: 'staticPodURLTLS.certFile',
    kind: kinds.path,
    default: undefined,
    zeroIsUnset: true,
    live: true,
    help: "client certificate for the URL's server",
  },
  staticPodUrlKeyFile: {
    agent: 'staticPodURLTLS.keyFile',
    kind: kinds.path,
    default: undefined,
    zeroIsUnset: true,
    live: true,
    help: "that certificate's key",
  },
  httpCheckFrequencyMs: {
    kubelet: 'httpCheckFrequency',
    flag: '!http-check-frequency',
    ...every(20_000),
    live: true,
    help: 'how often the URL is asked',
  },
  sourceFaultPolicy: {
    agent: 'sourceFaultPolicy',
    flag: 'source-fault-policy',
    kind: kinds.oneOf('keep', 'follow'),
    default: 'keep',
    live: true,
    help: 'keep: a manifest that became unusable keeps its Pod running; follow: it is removed, as a kubelet does',
  },
  syncFrequencyMs: {
    kubelet: 'syncFrequency',
    flag: '!sync-frequency',
    ...every(minuteMs),
    live: true,
    help: 'how often a Pod is looked at without a reason',
  },

  containerRuntimeEndpoint: {
    kubelet: 'containerRuntimeEndpoint',
    flag: '!container-runtime-endpoint',
    kind: kinds.text,
    default: undefined,
    zeroIsUnset: true,
    help: "the CRI runtime's socket, unix:///…; unset: the usual ones, then a private containerd",
  },
  imageServiceEndpoint: {
    kubelet: 'imageServiceEndpoint',
    flag: '!image-service-endpoint',
    kind: kinds.text,
    default: undefined,
    zeroIsUnset: true,
    help: "the CRI image service's socket when it is not the runtime's",
  },
  runtimeRequestTimeoutMs: {
    kubelet: 'runtimeRequestTimeout',
    flag: '!runtime-request-timeout',
    ...every(2 * minuteMs),
    help: 'time given to a call of the runtime, long ones apart',
  },
  runtimeHandlers: {
    agent: 'runtimeHandlers',
    kind: kinds.mapOf(kinds.text),
    default: none,
    help: "runtimeClassName → the runtime's handler",
  },
  privateContainerd: {
    agent: 'privateContainerd.mode',
    flag: 'private-containerd',
    kind: kinds.oneOf('auto', 'always', 'never'),
    default: 'auto',
    help: 'start an own containerd: always, never, or when no runtime is found',
  },
  privateContainerdSubnet: {
    agent: 'privateContainerd.subnet',
    flag: 'pod-subnet',
    kind: kinds.text,
    // One of the 64 × 256 subnets 10.128.0.0/24 … 10.191.255.0/24.
    default: ordinaryOr(
      '10.87.0.0/16',
      (id) => `10.${128 + (Number.parseInt(id.slice(0, 2), 16) % 64)}.${Number.parseInt(id.slice(2, 4), 16)}.0/24`,
    ),
    zeroIsUnset: true,
    help: "the Pods' network with the private containerd, an IPv4 CIDR",
  },
  privateContainerdBridge: {
    agent: 'privateContainerd.bridge',
    kind: kinds.text,
    default: ordinaryOr('pinpod0', (id) => `pin-${id}`),
    zeroIsUnset: true,
    help: 'the bridge of that network',
  },
  privateContainerdBinDirs: {
    agent: 'privateContainerd.binDirs',
    kind: kinds.list(kinds.path),
    default: Object.freeze(['/usr/local/bin', '/usr/local/sbin', '/usr/bin', '/usr/sbin']),
    help: 'where containerd, its shims and runc are looked for',
  },
  cniBinDirs: {
    agent: 'privateContainerd.cniBinDirs',
    kind: kinds.list(kinds.path),
    default: Object.freeze(['/opt/cni/bin', '/usr/lib/cni', '/usr/libexec/cni']),
    help: 'where the CNI plugins are looked for',
  },
  pauseImage: {
    agent: 'privateContainerd.pauseImage',
    flag: '!pod-infra-container-image',
    kind: kinds.text,
    default: 'registry.k8s.io/pause:3.9',
    zeroIsUnset: true,
    help: 'image of the sandbox container with the private containerd',
  },

  serializeImagePulls: {
    kubelet: 'serializeImagePulls',
    flag: '!serialize-image-pulls',
    kind: kinds.bool,
    default: (c) => (c.get('maxParallelImagePulls') ?? 1) < 2,
    help: 'one pull at a time',
  },
  maxParallelImagePulls: {
    kubelet: 'maxParallelImagePulls',
    kind: kinds.integer(1),
    default: undefined,
    help: 'pulls at a time when they are not serialized',
  },
  registryPullQps: { kubelet: 'registryPullQPS', flag: '!registry-qps', ...qps, default: 5, help: 'pulls a second; 0: any number' },
  registryFaultPolicy: {
    agent: 'registryFaultPolicy',
    flag: 'registry-fault-policy',
    kind: kinds.oneOf('useLocal', 'fail'),
    default: 'useLocal',
    help: 'imagePullPolicy Always when no registry answers; useLocal: the image on the machine is used, with an event; fail: ErrImagePull, as with a kubelet',
  },
  registryBurst: { kubelet: 'registryBurst', flag: '!registry-burst', ...qps, default: 10, zeroIsUnset: true, help: 'pulls in a burst' },
  imageMinimumGcAgeMs: {
    kubelet: 'imageMinimumGCAge',
    ...every(2 * minuteMs),
    live: true,
    help: 'an unused image is kept at least this long',
  },
  imageMaximumGcAgeMs: {
    kubelet: 'imageMaximumGCAge',
    kind: kinds.duration(),
    default: 0,
    live: true,
    help: 'an unused image is removed after this long; 0: never for its age',
  },
  imageGcHighThresholdPercent: {
    kubelet: 'imageGCHighThresholdPercent',
    flag: '!image-gc-high-threshold',
    ...percent(85),
    live: true,
    help: 'disk usage above which images are removed; 100: never',
  },
  imageGcLowThresholdPercent: {
    kubelet: 'imageGCLowThresholdPercent',
    flag: '!image-gc-low-threshold',
    ...percent(80),
    live: true,
    help: 'disk usage down to which images are removed',
  },
  imagePullCredentialsVerificationPolicy: {
    kubelet: 'imagePullCredentialsVerificationPolicy',
    kind: kinds.oneOf('NeverVerifyPreloadedImages', 'NeverVerify', 'NeverVerifyAllowlistedImages', 'AlwaysVerify'),
    default: 'NeverVerifyPreloadedImages',
    zeroIsUnset: true,
    inert: true,
    help: 'for which present images credentials are checked',
  },
  preloadedImagesVerificationAllowlist: {
    kubelet: 'preloadedImagesVerificationAllowlist',
    kind: kinds.list(kinds.text),
    default: empty,
    inert: true,
    help: 'images whose credentials are not checked',
  },
  imageCredentialProviderConfig: {
    flag: 'image-credential-provider-config',
    kind: kinds.path,
    default: undefined,
    zeroIsUnset: true,
    help: 'configuration of the credential providers',
  },
  imageCredentialProviderBinDir: {
    flag: 'image-credential-provider-bin-dir',
    kind: kinds.path,
    default: undefined,
    zeroIsUnset: true,
    help: 'folder of the credential providers',
  },

  clusterDns: {
    kubelet: 'clusterDNS',
    flag: '!cluster-dns',
    kind: kinds.list(kinds.text),
    default: empty,
    help: 'DNS servers for dnsPolicy ClusterFirst',
  },
  clusterDomain: {
    kubelet: 'clusterDomain',
    flag: '!cluster-domain',
    kind: kinds.text,
    default: '',
    help: 'domain of the cluster, searched by Pods',
  },
  resolvConf: {
    kubelet: 'resolvConf',
    flag: '!resolv-conf',
    kind: kinds.path,
    default: '/etc/resolv.conf',
    help: 'resolver configuration that Pods start from; empty: none',
  },
  crashLoopMaxBackOffMs: {
    kubelet: 'crashLoopBackOff.maxContainerRestartPeriod',
    kind: kinds.duration({ minMs: 1000, maxMs: 300_000, orZero: true }),
    default: 300_000,
    zeroIsUnset: true,
    live: true,
    help: 'longest wait between restarts of a container',
  },
  seccompDefault: {
    kubelet: 'seccompDefault',
    flag: 'seccomp-default',
    ...bool(false),
    help: 'RuntimeDefault is the seccomp profile of all',
  },
  allowedUnsafeSysctls: {
    kubelet: 'allowedUnsafeSysctls',
    flag: '!allowed-unsafe-sysctls',
    kind: kinds.list(kinds.text),
    default: empty,
    live: true,
    help: 'unsafe sysctls, or patterns ending in *, that Pods may set',
  },
  podPidsLimit: {
    kubelet: 'podPidsLimit',
    flag: '!pod-max-pids',
    kind: kinds.integer(-1, Number.MAX_SAFE_INTEGER),
    default: -1,
    help: "a Pod's process limit; -1: the node's",
  },
  userNamespacesIdsPerPod: {
    kubelet: 'userNamespaces.idsPerPod',
    kind: kinds.integer(65_536, 2 ** 32 - 65_536),
    default: 65_536,
    help: 'IDs in a user namespace, a multiple of 65536',
  },
  containerLogMaxSizeBytes: {
    kubelet: 'containerLogMaxSize',
    flag: '!container-log-max-size',
    kind: kinds.bytes,
    default: 10 * 2 ** 20,
    zeroIsUnset: true,
    live: true,
    help: 'size at which a log file is rotated',
  },
  containerLogMaxFiles: {
    kubelet: 'containerLogMaxFiles',
    flag: '!container-log-max-files',
    kind: kinds.integer(2),
    default: 5,
    live: true,
    help: 'log files kept of a container',
  },
  containerLogMaxWorkers: {
    kubelet: 'containerLogMaxWorkers',
    kind: kinds.integer(1),
    default: 1,
    live: true,
    help: 'rotations at a time',
  },
  containerLogMonitorIntervalMs: {
    kubelet: 'containerLogMonitorInterval',
    kind: kinds.duration({ minMs: 3000, orZero: true }),
    default: 10_000,
    zeroIsUnset: true,
    live: true,
    help: 'how often the sizes of log files are looked at',
  },
  criticalPods: {
    agent: 'criticalPods',
    flag: 'critical-pods',
    kind: kinds.oneOf('all', 'byPriority'),
    default: 'all',
    live: true,
    help: 'all: no Pod is evicted, as with a kubelet, whose static Pods are all critical; byPriority: only those of priority 2000000000 or more, and of the classes system-cluster-critical and system-node-critical',
  },
  shutdownGracePeriodMs: {
    kubelet: 'shutdownGracePeriod',
    kind: kinds.duration({ minMs: 1000, orZero: true }),
    default: 0,
    help: "time for all Pods to end at the machine's shutdown; 0: off",
  },
  shutdownGracePeriodCriticalPodsMs: {
    kubelet: 'shutdownGracePeriodCriticalPods',
    kind: kinds.duration({ minMs: 1000, orZero: true }),
    default: 0,
    help: 'the part of that time kept for critical Pods',
  },
  shutdownGracePeriodByPodPriority: {
    kubelet: 'shutdownGracePeriodByPodPriority',
    kind: kinds.shutdownPriorities,
    default: empty,
    help: "time to end at the machine's shutdown, by priority",
  },

  cgroupDriver: {
    kubelet: 'cgroupDriver',
    flag: '!cgroup-driver',
    kind: kinds.oneOf('cgroupfs', 'systemd'),
    default: 'cgroupfs',
    zeroIsUnset: true,
    help: 'unless the runtime tells its own; left out, the private containerd gets systemd where that is PID 1 and cgroups are of version 2',
  },
  cgroupRoot: {
    kubelet: 'cgroupRoot',
    flag: '!cgroup-root',
    kind: kinds.text,
    default: ordinaryOr('', (id) => `/pinpod-${id}`),
    zeroIsUnset: true,
    help: 'parent of the cgroup of all Pods',
  },
  cgroupsPerQos: { kubelet: 'cgroupsPerQOS', flag: '!cgroups-per-qos', ...bool(true), help: 'a cgroup for each QoS class and Pod' },
  enforceNodeAllocatable: {
    kubelet: 'enforceNodeAllocatable',
    flag: '!enforce-node-allocatable',
    kind: kinds.list(
      kinds.oneOf('none', 'pods', 'system-reserved', 'system-reserved-compressible', 'kube-reserved', 'kube-reserved-compressible'),
      { uniqueItems: true },
    ),
    default: Object.freeze(['pods']),
    help: 'what the allocatable amounts are enforced on',
  },
  systemReserved: {
    kubelet: 'systemReserved',
    flag: '!system-reserved',
    kind: kinds.mapOf(kinds.quantity),
    default: none,
    help: "resources kept for the system's own processes",
  },
  kubeReserved: {
    kubelet: 'kubeReserved',
    flag: '!kube-reserved',
    kind: kinds.mapOf(kinds.quantity),
    default: none,
    help: 'resources kept for the agent and the runtime',
  },
  cpuCfsQuota: { kubelet: 'cpuCFSQuota', flag: '!cpu-cfs-quota', ...bool(true), help: 'enforce CPU limits' },
  cpuCfsQuotaPeriodMs: {
    kubelet: 'cpuCFSQuotaPeriod',
    flag: '!cpu-cfs-quota-period',
    kind: kinds.duration({ minMs: 1, maxMs: 1000, orZero: true }),
    default: 100,
    zeroIsUnset: true,
    help: 'period of CPU limits',
  },
  singleProcessOomKill: {
    kubelet: 'singleProcessOOMKill',
    kind: kinds.bool,
    default: undefined,
    help: "the OOM killer takes single processes; unset: the cgroup version's custom",
  },
  memoryThrottlingFactor: {
    kubelet: 'memoryThrottlingFactor',
    kind: kinds.decimal(0, 1),
    default: 0.9,
    inert: true,
    help: 'share of the limit at which memory.high throttles',
  },
  memoryReservationPolicy: {
    kubelet: 'memoryReservationPolicy',
    kind: kinds.oneOf('None', 'TieredReservation'),
    default: 'None',
    zeroIsUnset: true,
    inert: true,
    help: 'how memory requests are protected',
  },
  failCgroupV1: { kubelet: 'failCgroupV1', flag: 'fail-cgroupv1', ...bool(false), help: 'do not start on a machine with cgroup v1' },
  failSwapOn: { kubelet: 'failSwapOn', flag: '!fail-swap-on', ...bool(false), help: 'do not start on a machine with swap on' },
  swapBehavior: {
    kubelet: 'memorySwap.swapBehavior',
    kind: kinds.oneOf('NoSwap', 'LimitedSwap'),
    default: 'NoSwap',
    zeroIsUnset: true,
    inert: true,
    help: 'whether containers may swap',
  },
  kernelSettings: {
    agent: 'kernelSettings',
    kind: kinds.oneOf('keep', 'set'),
    default: 'keep',
    help: 'set: give the machine the kernel settings a kubelet gives it',
  },
  protectKernelDefaults: {
    kubelet: 'protectKernelDefaults',
    flag: '!protect-kernel-defaults',
    ...bool(false),
    help: 'do not start where kernel settings differ from the wanted ones',
  },
  localStorageCapacityIsolation: {
    kubelet: 'localStorageCapacityIsolation',
    flag: '!local-storage-capacity-isolation',
    ...bool(true),
    help: 'count and limit ephemeral storage',
  },
  evictionHard: {
    kubelet: 'evictionHard',
    flag: '!eviction-hard',
    kind: kinds.thresholds,
    default: defaultEvictionHard,
    help: 'signal<amount: Pods are evicted at once; setting one drops the defaults of the others',
  },
  evictionSoft: {
    kubelet: 'evictionSoft',
    flag: '!eviction-soft',
    kind: kinds.thresholds,
    default: none,
    help: 'signal<amount: Pods are evicted after a while',
  },
  evictionSoftGracePeriodMs: {
    kubelet: 'evictionSoftGracePeriod',
    flag: '!eviction-soft-grace-period',
    kind: kinds.signalDurations,
    default: none,
    help: 'signal=duration: that while',
  },
  evictionMinimumReclaim: {
    kubelet: 'evictionMinimumReclaim',
    flag: '!eviction-minimum-reclaim',
    kind: kinds.reclaims,
    default: none,
    help: 'signal=amount: how much is reclaimed at least',
  },
  mergeDefaultEvictionSettings: {
    kubelet: 'mergeDefaultEvictionSettings',
    ...bool(false),
    help: 'unset signals of evictionHard keep their defaults',
  },
  evictionPressureTransitionPeriodMs: {
    kubelet: 'evictionPressureTransitionPeriod',
    flag: '!eviction-pressure-transition-period',
    ...every(5 * minuteMs),
    help: 'how long a pressure condition lasts at least',
  },
  evictionMaxPodGracePeriodSeconds: {
    kubelet: 'evictionMaxPodGracePeriod',
    flag: '!eviction-max-pod-grace-period',
    kind: kinds.integer(-1),
    default: 0,
    help: 'grace period of a soft eviction, in seconds',
  },

  enableServer: { kubelet: 'enableServer', flag: '!enable-server', ...bool(true), help: "the kubelet's HTTP endpoints" },
  address: {
    kubelet: 'address',
    flag: '!address',
    kind: kinds.text,
    default: '0.0.0.0',
    zeroIsUnset: true,
    help: 'address they are served at',
  },
  port: {
    kubelet: 'port',
    flag: '!port',
    kind: port(0),
    default: ordinaryOr(10_250, () => 0),
    zeroIsUnset: true,
    help: 'their port, with authentication',
  },
  readOnlyPort: {
    kubelet: 'readOnlyPort',
    flag: '!read-only-port',
    kind: port(0),
    default: 0,
    help: 'their port without authentication; 0: none',
  },
  healthzPort: {
    kubelet: 'healthzPort',
    flag: '!healthz-port',
    kind: port(0),
    default: ordinaryOr(10_248, () => 0),
    help: 'port of /healthz; 0: none',
  },
  healthzBindAddress: {
    kubelet: 'healthzBindAddress',
    flag: '!healthz-bind-address',
    kind: kinds.text,
    default: '127.0.0.1',
    zeroIsUnset: true,
    help: 'address of /healthz',
  },
  tlsCertFile: {
    kubelet: 'tlsCertFile',
    flag: '!tls-cert-file',
    kind: kinds.path,
    default: undefined,
    zeroIsUnset: true,
    help: 'serving certificate; unset: an own one is made',
  },
  tlsPrivateKeyFile: {
    kubelet: 'tlsPrivateKeyFile',
    flag: '!tls-private-key-file',
    kind: kinds.path,
    default: undefined,
    zeroIsUnset: true,
    help: "that certificate's key",
  },
  tlsCipherSuites: {
    kubelet: 'tlsCipherSuites',
    flag: 'tls-cipher-suites',
    kind: kinds.list(kinds.oneOf(...cipherSuiteNames)),
    default: empty,
    help: 'cipher suites for TLS 1.2',
  },
  tlsMinVersion: {
    kubelet: 'tlsMinVersion',
    flag: '!tls-min-version',
    kind: kinds.oneOf('VersionTLS12', 'VersionTLS13', 'VersionTLS11', 'VersionTLS10'),
    default: 'VersionTLS12',
    zeroIsUnset: true,
    help: 'lowest TLS version; what is older than 1.2 counts as 1.2',
  },
  rotateCertificates: {
    kubelet: 'rotateCertificates',
    flag: '!rotate-certificates',
    ...bool(false),
    help: 'renew the client certificate at the API server',
  },
  serverTlsBootstrap: { kubelet: 'serverTLSBootstrap', ...bool(false), help: 'ask the API server for the serving certificate' },
  anonymousAuth: {
    kubelet: 'authentication.anonymous.enabled',
    flag: '!anonymous-auth',
    ...bool(false),
    help: 'requests without credentials are those of system:anonymous',
  },
  clientCaFile: {
    kubelet: 'authentication.x509.clientCAFile',
    flag: '!client-ca-file',
    kind: kinds.path,
    default: undefined,
    zeroIsUnset: true,
    help: 'authority of client certificates',
  },
  authenticationWebhook: {
    kubelet: 'authentication.webhook.enabled',
    flag: '!authentication-token-webhook',
    kind: kinds.bool,
    default: (c) => c.get('kubeconfig') !== undefined,
    help: 'tokens are checked by the API server',
  },
  authenticationWebhookCacheTtlMs: {
    kubelet: 'authentication.webhook.cacheTTL',
    flag: '!authentication-token-webhook-cache-ttl',
    ...every(2 * minuteMs),
    help: 'how long such an answer is used',
  },
  authorizationMode: {
    kubelet: 'authorization.mode',
    flag: '!authorization-mode',
    kind: kinds.oneOf('Webhook', 'AlwaysAllow'),
    default: (c) => (c.get('kubeconfig') === undefined ? 'AlwaysAllow' : 'Webhook'),
    zeroIsUnset: true,
    help: 'who may do what: the API server decides, or whoever is authenticated may',
  },
  authorizationCacheAuthorizedTtlMs: {
    kubelet: 'authorization.webhook.cacheAuthorizedTTL',
    flag: '!authorization-webhook-cache-authorized-ttl',
    ...every(5 * minuteMs),
    help: 'how long a yes is used',
  },
  authorizationCacheUnauthorizedTtlMs: {
    kubelet: 'authorization.webhook.cacheUnauthorizedTTL',
    flag: '!authorization-webhook-cache-unauthorized-ttl',
    ...every(30_000),
    help: 'how long a no is used',
  },
  enableDebuggingHandlers: {
    kubelet: 'enableDebuggingHandlers',
    flag: '!enable-debugging-handlers',
    ...bool(true),
    help: 'logs, exec, attach and port-forward',
  },
  enableDebugFlagsHandler: { kubelet: 'enableDebugFlagsHandler', ...bool(true), help: '/debug/flags/v' },
  enableSystemLogHandler: { kubelet: 'enableSystemLogHandler', ...bool(true), help: '/logs/' },
  enableSystemLogQuery: { kubelet: 'enableSystemLogQuery', ...bool(false), inert: true, help: "queries of services' logs" },
  streamingConnectionIdleTimeoutMs: {
    kubelet: 'streamingConnectionIdleTimeout',
    flag: '!streaming-connection-idle-timeout',
    ...every(4 * 60 * minuteMs),
    inert: true,
    help: 'an idle stream is closed after this long',
  },

  kubeApi: { agent: 'kubeAPI.enabled', ...bool(true), help: "the Kubernetes API over the agent's own Pods, for kubectl" },
  kubeApiAddress: { agent: 'kubeAPI.address', kind: kinds.text, default: '127.0.0.1', zeroIsUnset: true, help: 'address of that API' },
  // Not 6443: a control plane of static Pods has that one.
  kubeApiPort: {
    agent: 'kubeAPI.port',
    flag: 'kube-api-port',
    kind: port(0),
    default: ordinaryOr(6445, () => 0),
    help: 'its port; 0: any free one',
  },

  kubeconfig: {
    flag: 'kubeconfig',
    agent: 'cluster.kubeconfig',
    kind: kinds.path,
    default: undefined,
    zeroIsUnset: true,
    help: 'of a real API server, where mirror Pods are shown; unset: standalone',
  },
  bootstrapKubeconfig: {
    flag: 'bootstrap-kubeconfig',
    agent: 'cluster.bootstrapKubeconfig',
    kind: kinds.path,
    default: undefined,
    zeroIsUnset: true,
    help: 'to get that kubeconfig with',
  },
  kubeApiQps: { kubelet: 'kubeAPIQPS', flag: '!kube-api-qps', ...qps, default: 50, help: 'requests a second to the API server' },
  kubeApiBurst: { kubelet: 'kubeAPIBurst', flag: '!kube-api-burst', ...qps, default: 100, zeroIsUnset: true, help: 'requests in a burst' },
  eventRecordQps: { kubelet: 'eventRecordQPS', flag: '!event-qps', ...qps, default: 50, help: 'events a second; 0: any number' },
  eventBurst: { kubelet: 'eventBurst', flag: '!event-burst', ...qps, default: 100, zeroIsUnset: true, help: 'events in a burst' },

  logFormat: {
    kubelet: 'logging.format',
    flag: '!logging-format',
    kind: kinds.oneOf('text', 'json'),
    default: 'text',
    zeroIsUnset: true,
    help: "form of the agent's log",
  },
  logVerbosity: {
    kubelet: 'logging.verbosity',
    flag: 'v',
    kind: kinds.integer(0, 10),
    default: 0,
    live: true,
    help: 'detail of the log: 0 information, 4 and more debugging',
  },
  oomScoreAdj: {
    kubelet: 'oomScoreAdj',
    flag: '!oom-score-adj',
    kind: kinds.integer(-1000, 1000),
    default: -999,
    help: "of the agent's process",
  },
  maxOpenFiles: {
    kubelet: 'maxOpenFiles',
    flag: '!max-open-files',
    kind: kinds.integer(0, Number.MAX_SAFE_INTEGER),
    default: 1_000_000,
    zeroIsUnset: true,
    inert: true,
    help: "of the agent's process",
  },
  lockFile: {
    flag: 'lock-file',
    kind: kinds.path,
    default: undefined,
    zeroIsUnset: true,
    inert: true,
    help: 'waits for this lock at start',
  },
  exitOnLockContention: {
    flag: 'exit-on-lock-contention',
    ...bool(false),
    inert: true,
    help: 'ends when another process opens the lock file',
  },
  featureGates: { kubelet: 'featureGates', flag: 'feature-gates', kind: kinds.mapOf(kinds.bool), default: none, help: 'Gate=true|false' },
  demo: { agent: 'demo', flag: 'demo', ...bool(false), help: 'leave nothing behind when the agent stops: containers end with it' },
};

function settingsOf(all: Rows): Settings {
  const made: Partial<Record<keyof AgentConfig, unknown>> = {};
  // Each row keeps its own type: the mapped type says so, TypeScript cannot follow it through a loop.
  for (const key of Object.keys(all) as (keyof AgentConfig)[]) made[key] = setting(all[key] as Row<unknown>);
  return Object.freeze(made) as Settings;
}

export const settings: Settings = settingsOf(rows);

export const settingKeys = Object.keys(settings) as readonly (keyof AgentConfig)[];

/** Fields of KubeletConfiguration that change nothing here; any value but the default is accepted with a warning (H-328). */
export const fieldsWithoutEffect: Readonly<Record<string, unknown>> = {
  tlsCurvePreferences: [],
  enableContentionProfiling: false,
  volumeStatsAggPeriod: '1m0s',
  kubeletCgroups: '',
  systemCgroups: '',
  cpuManagerPolicyOptions: {},
  cpuManagerReconcilePeriod: '10s',
  reservedMemory: [],
  topologyManagerScope: 'container',
  topologyManagerPolicyOptions: {},
  qosReserved: {},
  hairpinMode: 'promiscuous-bridge',
  podCIDR: '',
  contentType: 'application/vnd.kubernetes.protobuf',
  enableControllerAttachDetach: true,
  makeIPTablesUtilChains: true,
  iptablesMasqueradeBit: 14,
  iptablesDropBit: 15,
  configMapAndSecretChangeDetectionStrategy: 'Watch',
  reservedSystemCPUs: '',
  systemReservedCgroup: '',
  kubeReservedCgroup: '',
  volumePluginDir: '/usr/libexec/kubernetes/kubelet-plugins/volume/exec/',
  kernelMemcgNotification: false,
  enableProfilingHandler: true,
  tracing: {},
  showHiddenMetricsForVersion: '',
  'logging.flushFrequency': '5s',
  'logging.vmodule': [],
  'logging.options': {},
};

/** Fields whose wish cannot be granted, and whose silent disregard would be unsafe: anything but these values ends the start. */
export const refusedFields: Readonly<Record<string, { readonly allowed: readonly unknown[]; readonly why: string }>> = {
  cpuManagerPolicy: { allowed: ['', 'none'], why: 'exclusive CPUs are not supported' },
  memoryManagerPolicy: { allowed: ['', 'None'], why: 'memory of chosen NUMA nodes is not supported' },
  topologyManagerPolicy: { allowed: ['', 'none'], why: 'alignment to NUMA nodes is not supported' },
  runOnce: { allowed: [false], why: 'running once is not supported' },
};

/** The feature gates that something here looks at; all of them are off unless asked for. */
export const gatesWithEffect: readonly string[] = ['CustomCPUCFSQuotaPeriod'];

/** Flags of the kubelet that change nothing here; they take a value unless `bool`. */
export const flagsWithoutEffect: readonly { readonly name: string; readonly bool?: true }[] = [
  { name: 'cloud-provider' },
  { name: 'cloud-config' },
  { name: 'housekeeping-interval' },
  { name: 'runtime-cgroups' },
  { name: 'kubelet-cgroups' },
  { name: 'system-cgroups' },
  { name: 'log-flush-frequency' },
  { name: 'vmodule' },
  { name: 'pod-cidr' },
  { name: 'hairpin-mode' },
  { name: 'volume-plugin-dir' },
  { name: 'contention-profiling', bool: true },
  { name: 'enable-controller-attach-detach', bool: true },
  { name: 'make-iptables-util-chains', bool: true },
  { name: 'network-plugin' },
  { name: 'cni-bin-dir' },
  { name: 'cni-conf-dir' },
];
