// Users, groups, capabilities, namespaces and profiles: spec 02, sections 4.3 and 4.10.
import type { AppArmorProfile, Container, PodSpec, SELinuxOptions } from '../api/gen/kubernetes.ts';
import { allContainers, formatPod, type Pod } from '../api/pod.ts';
import type { Problems } from './build-result.ts';
import type { NodeFacts } from './node-facts.ts';
import { handlerFeaturesOf } from './runtime-class.ts';
import type { ContainerConfig, IdMapping, NamespaceOptions, PodSandboxConfig, SecurityProfile, SeLinuxOptions } from './runtime-config.ts';

/** The ids of a Pod with `hostUsers: false` (L-271). */
export interface UserNamespace {
  readonly uids: readonly IdMapping[];
  readonly gids: readonly IdMapping[];
}

/** The image's own user (L-219): both undefined counts as uid 0. */
export interface ImageUser {
  readonly uid: number | undefined;
  readonly username: string | undefined;
}

type ContainerSecurity = ContainerConfig['linux']['securityContext'];
type SandboxSecurity = PodSandboxConfig['linux']['securityContext'];

const appArmorAnnotationPrefix = 'container.apparmor.security.beta.kubernetes.io/';

const maskedPaths = [
  '/proc/asound',
  '/proc/acpi',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
  '/sys/devices/virtual/powercap',
];

const readonlyPaths = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

export function usesUserNamespace(spec: PodSpec): boolean {
  return spec.hostUsers === false;
}

/** L-195. The same options are sent with the sandbox and every container. */
export function namespaceOptionsOf(spec: PodSpec, node: NodeFacts, users: UserNamespace | undefined, problems: Problems): NamespaceOptions {
  if (usesUserNamespace(spec)) {
    if (!handlerFeaturesOf(spec, node).userNamespaces) {
      problems.push("can't set `spec.hostUsers: false`, runtime does not support user namespaces");
    } else if (users === undefined) {
      problems.push('no range of user ids is left for `spec.hostUsers: false`');
    }
  }
  return {
    network: spec.hostNetwork === true ? 'node' : 'pod',
    ipc: spec.hostIPC === true ? 'node' : 'pod',
    pid: spec.hostPID === true ? 'node' : spec.shareProcessNamespace === true ? 'pod' : 'container',
    user: usesUserNamespace(spec)
      ? { mode: 'pod', uids: users?.uids ?? [], gids: users?.gids ?? [] }
      : { mode: 'node', uids: [], gids: [] },
  };
}

export function sandboxSecurity(spec: PodSpec, node: NodeFacts, users: UserNamespace | undefined, problems: Problems): SandboxSecurity {
  const pod = spec.securityContext;
  return {
    namespaceOptions: namespaceOptionsOf(spec, node, users, problems),
    privileged: [...allContainers(spec), ...(spec.ephemeralContainers ?? [])].some((one) => one.securityContext?.privileged === true),
    // Whatever the Pod asks for: the pause process needs nothing more.
    seccomp: { type: 'RuntimeDefault' },
    ...(pod?.runAsUser !== undefined && { runAsUser: pod.runAsUser }),
    ...(pod?.runAsGroup !== undefined && { runAsGroup: pod.runAsGroup }),
    ...(pod?.seLinuxOptions !== undefined && { seLinuxOptions: seLinux(pod.seLinuxOptions) }),
    supplementalGroups: supplementalGroups(spec),
    supplementalGroupsPolicy: supplementalGroupsPolicy(spec, problems),
  };
}

/** L-257 … L-268. `imageUser` is undefined when the image could not be looked at. */
export function containerSecurity(
  pod: Pod,
  container: Container,
  context: { readonly node: NodeFacts; readonly users: UserNamespace | undefined; readonly imageUser: ImageUser | undefined },
  problems: Problems,
): ContainerSecurity {
  const { spec } = pod;
  const { node } = context;
  const own = container.securityContext;
  const shared = spec.securityContext;
  const runAsUser = own?.runAsUser ?? shared?.runAsUser;
  const runAsGroup = own?.runAsGroup ?? shared?.runAsGroup;
  const username = context.imageUser?.uid === undefined ? context.imageUser?.username : undefined;
  const uid = runAsUser ?? (username === undefined || username === '' ? (context.imageUser?.uid ?? 0) : undefined);
  checkNonRoot(pod, container, context.imageUser, problems);
  const seLinuxOptions = own?.seLinuxOptions ?? shared?.seLinuxOptions;
  const apparmor = appArmor(pod, container, problems);
  const isUnmasked = own?.procMount === 'Unmasked';
  return {
    ...(own?.capabilities !== undefined && { capabilities: { add: own.capabilities.add ?? [], drop: own.capabilities.drop ?? [] } }),
    privileged: own?.privileged ?? false,
    namespaceOptions: namespaceOptionsOf(spec, node, context.users, problems),
    ...(seLinuxOptions !== undefined && { seLinuxOptions: seLinux(seLinuxOptions) }),
    ...(uid === undefined ? { runAsUsername: username ?? '' } : { runAsUser: uid }),
    ...(runAsGroup !== undefined && { runAsGroup }),
    readonlyRootfs: own?.readOnlyRootFilesystem ?? false,
    supplementalGroups: supplementalGroups(spec),
    supplementalGroupsPolicy: supplementalGroupsPolicy(spec, problems),
    noNewPrivs: own?.allowPrivilegeEscalation === false,
    maskedPaths: isUnmasked ? [] : [...maskedPaths, ...node.thermalThrottlePaths],
    readonlyPaths: isUnmasked ? [] : readonlyPaths,
    seccomp: seccomp(spec, container, node, problems),
    ...(apparmor !== undefined && { apparmor }),
  };
}

/** L-218. */
function checkNonRoot(pod: Pod, container: Container, imageUser: ImageUser | undefined, problems: Problems): void {
  const own = container.securityContext;
  const shared = pod.spec.securityContext;
  if ((own?.runAsNonRoot ?? shared?.runAsNonRoot) !== true) return;
  const where = `(pod: ${JSON.stringify(formatPod(pod))}, container: ${container.name})`;
  const runAsUser = own?.runAsUser ?? shared?.runAsUser;
  if (runAsUser !== undefined) {
    if (runAsUser === 0) problems.push(`container's runAsUser breaks non-root policy ${where}`);
    return;
  }
  const { uid, username } = imageUser ?? { uid: undefined, username: undefined };
  if (uid === undefined && username !== undefined && username !== '') {
    problems.push(`container has runAsNonRoot and image has non-numeric user (${username}), cannot verify user is non-root ${where}`);
  } else if ((uid ?? 0) === 0) {
    problems.push(`container has runAsNonRoot and image will run as root ${where}`);
  }
}

function supplementalGroups(spec: PodSpec): readonly number[] {
  const { fsGroup, supplementalGroups: groups } = spec.securityContext ?? {};
  return [...(fsGroup === undefined ? [] : [fsGroup]), ...(groups ?? [])];
}

function supplementalGroupsPolicy(spec: PodSpec, problems: Problems): 'Merge' | 'Strict' {
  const policy = spec.securityContext?.supplementalGroupsPolicy ?? 'Merge';
  if (policy === 'Merge' || policy === 'Strict') return policy;
  problems.push(`unsupported supplementalGroupsPolicy: ${policy}`);
  return 'Merge';
}

function seLinux(options: SELinuxOptions): SeLinuxOptions {
  return { user: options.user ?? '', role: options.role ?? '', type: options.type ?? '', level: options.level ?? '' };
}

/** L-263. */
function seccomp(spec: PodSpec, container: Container, node: NodeFacts, problems: Problems): SecurityProfile {
  const profile = container.securityContext?.seccompProfile ?? spec.securityContext?.seccompProfile;
  switch (profile?.type) {
    case 'RuntimeDefault':
    case 'Unconfined':
      return { type: profile.type };
    case 'Localhost':
      if (profile.localhostProfile === undefined || profile.localhostProfile === '') {
        problems.push('localhostProfile must be set if seccompProfile type is Localhost.');
      }
      return { type: 'Localhost', localhostRef: `${node.seccompProfileRoot}/${profile.localhostProfile ?? ''}` };
    default:
      return { type: node.seccompDefault ? 'RuntimeDefault' : 'Unconfined' };
  }
}

/** L-265: the field of the container, its annotation, the field of the Pod. */
export function appArmor(pod: Pod, container: Container, problems: Problems): SecurityProfile | undefined {
  const own = container.securityContext?.appArmorProfile;
  if (own !== undefined) return fromProfile(own, problems);
  const annotation = pod.metadata.annotations[`${appArmorAnnotationPrefix}${container.name}`];
  if (annotation !== undefined && annotation !== '') return fromAnnotation(annotation, problems);
  const shared = pod.spec.securityContext?.appArmorProfile;
  return shared === undefined ? undefined : fromProfile(shared, problems);
}

function fromProfile(profile: AppArmorProfile, problems: Problems): SecurityProfile {
  switch (profile.type) {
    case 'RuntimeDefault':
    case 'Unconfined':
      return { type: profile.type };
    case 'Localhost':
      if (profile.localhostProfile === undefined || profile.localhostProfile === '') {
        problems.push('missing localhost apparmor profile name');
      }
      return { type: 'Localhost', localhostRef: profile.localhostProfile ?? '' };
    default:
      problems.push(`unknown apparmor profile type: ${profile.type}`);
      return { type: 'RuntimeDefault' };
  }
}

function fromAnnotation(text: string, problems: Problems): SecurityProfile {
  if (text === 'runtime/default') return { type: 'RuntimeDefault' };
  if (text === 'unconfined') return { type: 'Unconfined' };
  if (text.startsWith('localhost/')) return { type: 'Localhost', localhostRef: text.slice('localhost/'.length) };
  problems.push(`invalid AppArmor profile name: ${JSON.stringify(text)}`);
  return { type: 'RuntimeDefault' };
}
