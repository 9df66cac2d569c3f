// A node for unit tests: 4 cores, 8 GiB, cgroup v1 with cgroupfs, no cluster.
import type { AdmissionNode } from '../../src/pod/admission.ts';
import type { NodeFacts } from '../../src/pod/node-facts.ts';

const gib = 2 ** 30;
const amounts = { cpuMillis: 4000, memoryBytes: 8 * gib, ephemeralStorageBytes: 100 * gib, hugepagesBytes: new Map() };

export function buildNode(change: Partial<NodeFacts> = {}): NodeFacts {
  return {
    name: 'node1',
    ips: ['192.0.2.7'],
    resolvConf: 'nameserver 192.0.2.53\nsearch lan.example\noptions timeout:2 attempts:3\n',
    clusterDns: [],
    clusterDomain: '',
    hostsFile: '127.0.0.1 localhost\n192.0.2.7 node1\n',
    capacity: amounts,
    allocatable: { ...amounts, cpuMillis: 3500, memoryBytes: 7 * gib },
    hugepageSizesBytes: [2 ** 21, gib],
    cgroup: { version: 1, driver: 'cgroupfs', root: '/', perQos: true, swapController: false },
    cpuCfsQuota: true,
    cpuCfsQuotaPeriodUs: 100_000,
    podPidsLimit: -1,
    singleProcessOomKill: true,
    podLogsDir: '/var/log/pods',
    seccompProfileRoot: '/var/lib/pinpod/seccomp',
    seccompDefault: false,
    seLinux: false,
    thermalThrottlePaths: [],
    runtimeHandlers: [{ name: '', recursiveReadOnlyMounts: false, userNamespaces: false }],
    imageVolumes: 'parts',
    runtimeClasses: {},
    ...change,
  };
}

/** What Pods on `buildNode()` are measured against: no pressure, nothing unusual allowed. */
export function buildAdmissionNode(change: Partial<AdmissionNode> = {}): AdmissionNode {
  return {
    name: 'node1',
    labels: { 'kubernetes.io/os': 'linux', 'kubernetes.io/hostname': 'node1' },
    allocatable: buildNode().allocatable,
    maxPods: 110,
    sysctls: { allowedUnsafe: [], kernelRelease: '6.1.0' },
    appArmor: { isEnabled: true, loadedProfiles: new Set() },
    strictSupplementalGroups: false,
    pressure: [],
    isShuttingDown: false,
    criticalPods: 'all',
    ...change,
  };
}
