// Sandbox and container configurations for tests of a Runtime: the least a runtime accepts, changed by the test.
import { criKeys } from '../../src/pod/observation.ts';
import type { ContainerConfig, NamespaceOptions, PodSandboxConfig } from '../../src/pod/runtime-config.ts';

export interface SandboxOptions {
  readonly uid: string;
  readonly name?: string;
  readonly attempt?: number;
  readonly hostNetwork?: boolean;
  readonly hostname?: string;
  readonly logDirectory?: string;
  readonly cgroupParent?: string;
}

export function sandboxConfig(options: SandboxOptions): PodSandboxConfig {
  const { uid, name = `pod-${uid}`, attempt = 0, hostNetwork = true, logDirectory = '', cgroupParent = '' } = options;
  return {
    metadata: { name, uid, namespace: 'default', attempt },
    hostname: options.hostname ?? (hostNetwork ? '' : name),
    logDirectory,
    dnsConfig: { servers: [], searches: [], options: [] },
    portMappings: [],
    labels: { [criKeys.podName]: name, [criKeys.podNamespace]: 'default', [criKeys.podUid]: uid, role: 'test' },
    annotations: { 'kubernetes.io/config.source': 'file' },
    linux: {
      cgroupParent,
      sysctls: {},
      securityContext: {
        namespaceOptions: namespaceOptions(hostNetwork),
        privileged: false,
        seccomp: { type: 'RuntimeDefault' },
        supplementalGroups: [],
        supplementalGroupsPolicy: 'Merge',
      },
    },
  };
}

export interface ContainerOptions {
  readonly name?: string;
  readonly attempt?: number;
  readonly image: string;
  readonly command?: readonly string[];
  readonly privileged?: boolean;
}

export function containerConfig(sandbox: PodSandboxConfig, options: ContainerOptions): ContainerConfig {
  const { name = 'web', attempt = 0, image, command = [], privileged = false } = options;
  const { metadata } = sandbox;
  return {
    metadata: { name, attempt },
    image: { image, userSpecifiedImage: image },
    command,
    args: [],
    workingDir: '',
    envs: [{ key: 'GREETING', value: 'grüß dich' }],
    mounts: [],
    labels: {
      [criKeys.podName]: metadata.name,
      [criKeys.podNamespace]: metadata.namespace,
      [criKeys.podUid]: metadata.uid,
      [criKeys.containerName]: name,
    },
    annotations: { [criKeys.restartCount]: String(attempt), [criKeys.hash]: '1a2b3c4d' },
    logPath: `${name}/${attempt}.log`,
    stdin: false,
    stdinOnce: false,
    tty: false,
    linux: {
      resources: { cpuShares: 128, memoryLimitBytes: 64 * 1024 * 1024 },
      securityContext: {
        privileged,
        namespaceOptions: sandbox.linux.securityContext.namespaceOptions,
        readonlyRootfs: false,
        supplementalGroups: [],
        supplementalGroupsPolicy: 'Merge',
        noNewPrivs: false,
        maskedPaths: [],
        readonlyPaths: [],
        seccomp: { type: 'RuntimeDefault' },
      },
    },
  };
}

function namespaceOptions(hostNetwork: boolean): NamespaceOptions {
  return { network: hostNetwork ? 'node' : 'pod', pid: 'container', ipc: 'pod' };
}
