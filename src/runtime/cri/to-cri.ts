// Our configuration types → CRI messages. Pure; field meanings in spec 02, sections 4.3 to 4.13.
import type {
  ContainerConfig,
  IdMapping,
  ImageAuth,
  ImageSpec,
  LinuxResources,
  Mount,
  NamespaceMode,
  NamespaceOptions,
  PodSandboxConfig,
  Protocol,
  SecurityProfile,
  SeLinuxOptions,
} from '../../pod/runtime-config.ts';
import * as cri from './gen/runtime.ts';

type Partial<T> = cri.DeepPartial<T>;

const namespaceModes: Readonly<Record<NamespaceMode, cri.NamespaceMode>> = {
  pod: cri.NamespaceMode.POD,
  container: cri.NamespaceMode.CONTAINER,
  node: cri.NamespaceMode.NODE,
  target: cri.NamespaceMode.TARGET,
};

const protocols: Readonly<Record<Protocol, cri.Protocol>> = {
  TCP: cri.Protocol.TCP,
  UDP: cri.Protocol.UDP,
  SCTP: cri.Protocol.SCTP,
};

const propagations: Readonly<Record<Mount['propagation'], cri.MountPropagation>> = {
  private: cri.MountPropagation.PROPAGATION_PRIVATE,
  hostToContainer: cri.MountPropagation.PROPAGATION_HOST_TO_CONTAINER,
  bidirectional: cri.MountPropagation.PROPAGATION_BIDIRECTIONAL,
};

const profileTypes: Readonly<Record<SecurityProfile['type'], cri.SecurityProfile_ProfileType>> = {
  RuntimeDefault: cri.SecurityProfile_ProfileType.RuntimeDefault,
  Unconfined: cri.SecurityProfile_ProfileType.Unconfined,
  Localhost: cri.SecurityProfile_ProfileType.Localhost,
};

export function toCriSandboxConfig(config: PodSandboxConfig): Partial<cri.PodSandboxConfig> {
  const { linux } = config;
  const { securityContext } = linux;
  return {
    metadata: config.metadata,
    hostname: config.hostname,
    logDirectory: config.logDirectory,
    dnsConfig: config.dnsConfig,
    portMappings: config.portMappings.map((port) => ({ ...port, protocol: protocols[port.protocol] })),
    labels: config.labels,
    annotations: config.annotations,
    linux: {
      cgroupParent: linux.cgroupParent,
      sysctls: linux.sysctls,
      overhead: toCriResources(linux.overhead ?? {}),
      ...(linux.resources && { resources: toCriResources(linux.resources) }),
      securityContext: {
        namespaceOptions: toCriNamespaceOptions(securityContext.namespaceOptions),
        privileged: securityContext.privileged,
        seccomp: toCriProfile(securityContext.seccomp),
        ...toCriIds(securityContext),
        supplementalGroups: securityContext.supplementalGroups,
        supplementalGroupsPolicy: toCriGroupsPolicy(securityContext.supplementalGroupsPolicy),
      },
    },
  };
}

export function toCriContainerConfig(config: ContainerConfig): Partial<cri.ContainerConfig> {
  const { securityContext } = config.linux;
  const { apparmor, capabilities } = securityContext;
  const encoder = new TextEncoder();
  return {
    metadata: config.metadata,
    image: toCriImageSpec(config.image),
    command: config.command,
    args: config.args,
    workingDir: config.workingDir,
    envs: config.envs.map(({ key, value }) => ({ key, value: encoder.encode(value) })),
    mounts: config.mounts.map(toCriMount),
    labels: config.labels,
    annotations: config.annotations,
    logPath: config.logPath,
    stdin: config.stdin,
    stdinOnce: config.stdinOnce,
    tty: config.tty,
    stopSignal: toCriSignal(config.stopSignal),
    linux: {
      resources: toCriResources(config.linux.resources),
      securityContext: {
        ...(capabilities && { capabilities: { addCapabilities: capabilities.add, dropCapabilities: capabilities.drop } }),
        privileged: securityContext.privileged,
        namespaceOptions: toCriNamespaceOptions(securityContext.namespaceOptions),
        ...toCriIds(securityContext),
        ...(securityContext.runAsUsername !== undefined && { runAsUsername: securityContext.runAsUsername }),
        readonlyRootfs: securityContext.readonlyRootfs,
        supplementalGroups: securityContext.supplementalGroups,
        supplementalGroupsPolicy: toCriGroupsPolicy(securityContext.supplementalGroupsPolicy),
        noNewPrivs: securityContext.noNewPrivs,
        maskedPaths: securityContext.maskedPaths,
        readonlyPaths: securityContext.readonlyPaths,
        seccomp: toCriProfile(securityContext.seccomp),
        // Both forms are sent: older runtimes read only the deprecated one (L-265).
        ...(apparmor && { apparmor: toCriProfile(apparmor), apparmorProfile: apparmorText(apparmor) }),
      },
    },
  };
}

/** `SIGRTMIN+1` is `SIGRTMINPLUS1` there; a name CRI does not know is left to the runtime. */
function toCriSignal(name = ''): cri.Signal {
  const key = name.replace('+', 'PLUS').replace('-', 'MINUS');
  return Object.hasOwn(cri.Signal, key) ? cri.Signal[key as keyof typeof cri.Signal] : cri.Signal.RUNTIME_DEFAULT;
}

export function toCriResources(resources: LinuxResources): Partial<cri.LinuxContainerResources> {
  const { memoryLimitBytes, memorySwapLimitBytes, hugepageLimits, ...same } = resources;
  return {
    ...same,
    ...(memoryLimitBytes !== undefined && { memoryLimitInBytes: memoryLimitBytes }),
    ...(memorySwapLimitBytes !== undefined && { memorySwapLimitInBytes: memorySwapLimitBytes }),
    ...(hugepageLimits && { hugepageLimits: hugepageLimits.map(({ pageSize, limitBytes }) => ({ pageSize, limit: limitBytes })) }),
  };
}

export function toCriImageSpec(image: ImageSpec): Partial<cri.ImageSpec> {
  const { userSpecifiedImage = '', annotations = {}, runtimeHandler = '' } = image;
  return { image: image.image, userSpecifiedImage, annotations, runtimeHandler };
}

/** `auth`, the base64 form, stays empty (L-281). */
export function toCriAuth(auth: ImageAuth): Partial<cri.AuthConfig> {
  const { username = '', password = '', serverAddress = '', identityToken = '', registryToken = '' } = auth;
  return { username, password, serverAddress, identityToken, registryToken };
}

function toCriMount(mount: Mount): Partial<cri.Mount> {
  return {
    containerPath: mount.containerPath,
    hostPath: mount.hostPath,
    readonly: mount.readonly,
    selinuxRelabel: mount.seLinuxRelabel,
    propagation: propagations[mount.propagation],
    recursiveReadOnly: mount.recursiveReadOnly,
    uidMappings: (mount.uidMappings ?? []).map(toCriIdMapping),
    gidMappings: (mount.gidMappings ?? []).map(toCriIdMapping),
    ...(mount.image && { image: toCriImageSpec(mount.image) }),
    imageSubPath: mount.imageSubPath ?? '',
  };
}

function toCriNamespaceOptions(options: NamespaceOptions): Partial<cri.NamespaceOption> {
  const { user } = options;
  return {
    network: namespaceModes[options.network],
    pid: namespaceModes[options.pid],
    ipc: namespaceModes[options.ipc],
    targetId: options.targetId ?? '',
    // Sharing the node's user namespace is said out loud, as the kubelet does (L-195).
    usernsOptions: {
      mode: namespaceModes[user?.mode ?? 'node'],
      uids: (user?.uids ?? []).map(toCriIdMapping),
      gids: (user?.gids ?? []).map(toCriIdMapping),
    },
  };
}

function toCriIdMapping({ hostId, containerId, length }: IdMapping): cri.IDMapping {
  return { hostId, containerId, length };
}

/** User, group and SELinux label: absent is not the same as zero or empty, so each is sent only when set. */
function toCriIds(context: { readonly runAsUser?: number; readonly runAsGroup?: number; readonly seLinuxOptions?: SeLinuxOptions }) {
  const { runAsUser, runAsGroup, seLinuxOptions } = context;
  return {
    ...(runAsUser !== undefined && { runAsUser: { value: runAsUser } }),
    ...(runAsGroup !== undefined && { runAsGroup: { value: runAsGroup } }),
    ...(seLinuxOptions && { selinuxOptions: seLinuxOptions }),
  };
}

function toCriGroupsPolicy(policy: 'Merge' | 'Strict'): cri.SupplementalGroupsPolicy {
  return policy === 'Strict' ? cri.SupplementalGroupsPolicy.Strict : cri.SupplementalGroupsPolicy.Merge;
}

function toCriProfile(profile: SecurityProfile): cri.SecurityProfile {
  return { profileType: profileTypes[profile.type], localhostRef: profile.localhostRef ?? '' };
}

function apparmorText(profile: SecurityProfile): string {
  if (profile.type === 'Localhost') return `localhost/${profile.localhostRef ?? ''}`;
  return profile.type === 'Unconfined' ? 'unconfined' : 'runtime/default';
}
