// Validation of security contexts, of containers and of the Pod (S-187, S-204 … S-207). Privileged containers are
// allowed (S-131).
import type { AppArmorProfile, PodSpec, SeccompProfile, SecurityContext, Sysctl } from '../gen/kubernetes.ts';
import { byteLength, relativePath, userOrGroupId } from './formats.ts';
import type { Report } from './report.ts';
import { containersWithPath } from './visit.ts';

/** S-187. `usesHostUsers`: the container has the machine's own user IDs. */
export function validateSecurityContext(at: string, context: SecurityContext, usesHostUsers: boolean, report: Report): void {
  for (const name of ['runAsUser', 'runAsGroup'] as const) {
    const value = context[name];
    if (value !== undefined) report.invalidEach(`${at}.${name}`, value, userOrGroupId(value));
  }
  if (context.seccompProfile !== undefined) validateSeccomp(`${at}.seccompProfile`, context.seccompProfile, report);
  if (context.procMount !== undefined && report.oneOf(`${at}.procMount`, context.procMount, ['Default', 'Unmasked'])) {
    if (context.procMount === 'Unmasked' && usesHostUsers) {
      report.invalid(`${at}.procMount`, context.procMount, '`hostUsers` must be false to use `Unmasked`');
    }
  }
  if (context.allowPrivilegeEscalation === false) {
    if (context.privileged === true) report.invalid(at, context, 'cannot set `allowPrivilegeEscalation` to false and `privileged` to true');
    if (context.capabilities?.add?.includes('CAP_SYS_ADMIN')) {
      report.invalid(at, context, 'cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN');
    }
  }
  if (context.appArmorProfile !== undefined) validateAppArmor(`${at}.appArmorProfile`, context.appArmorProfile, report);
}

const profileTypes = ['Localhost', 'RuntimeDefault', 'Unconfined'];

function validateSeccomp(at: string, profile: SeccompProfile, report: Report): void {
  const { type, localhostProfile } = profile;
  if (type === '') report.required(`${at}.type`, 'type is required when seccompProfile is set');
  else report.oneOf(`${at}.type`, type, profileTypes);
  if (type !== 'Localhost') {
    if (localhostProfile !== undefined) {
      report.invalid(`${at}.localhostProfile`, profile, 'can only be set when seccomp type is Localhost');
    }
  } else if (localhostProfile === undefined) {
    report.required(`${at}.localhostProfile`, 'must be set when seccomp type is Localhost');
  } else {
    report.invalidEach(`${at}.localhostProfile`, localhostProfile, relativePath(localhostProfile));
  }
}

const maxAppArmorBytes = 4095;

function validateAppArmor(at: string, profile: AppArmorProfile, report: Report): void {
  const { type, localhostProfile } = profile;
  const field = `${at}.localhostProfile`;
  if (type === '') {
    report.required(`${at}.type`, 'type is required when appArmorProfile is set');
    return;
  }
  if (!report.oneOf(`${at}.type`, type, profileTypes)) return;
  if (type !== 'Localhost') {
    if (localhostProfile !== undefined) report.invalid(field, localhostProfile, 'can only be set when AppArmor type is Localhost');
    return;
  }
  const trimmed = (localhostProfile ?? '').trim();
  if (localhostProfile !== undefined && trimmed !== localhostProfile)
    report.invalid(field, localhostProfile, 'must not be padded with whitespace');
  else if (trimmed === '') report.required(field, 'must be set when AppArmor type is Localhost');
  if (byteLength(localhostProfile ?? '') > maxAppArmorBytes) report.tooLong(field, maxAppArmorBytes);
}

/** S-204, S-205 */
export function validatePodSecurityContext(spec: PodSpec, report: Report): void {
  const at = 'spec.securityContext';
  const context = spec.securityContext ?? {};
  for (const name of ['fsGroup', 'runAsUser', 'runAsGroup'] as const) {
    const value = context[name];
    if (value !== undefined) report.invalidEach(`${at}.${name}`, value, userOrGroupId(value));
  }
  for (const [i, group] of (context.supplementalGroups ?? []).entries()) {
    report.invalidEach(`${at}.supplementalGroups[${i}]`, group, userOrGroupId(group));
  }
  if (spec.hostPID === true && spec.shareProcessNamespace === true) {
    report.invalid(`${at}.shareProcessNamespace`, true, 'ShareProcessNamespace and HostPID cannot both be enabled');
  }
  validateSysctls(`${at}.sysctls`, context.sysctls ?? [], spec, report);
  const choices = {
    fsGroupChangePolicy: ['Always', 'OnRootMismatch'],
    supplementalGroupsPolicy: ['Merge', 'Strict'],
    seLinuxChangePolicy: ['Recursive'],
  } as const;
  if (context.fsGroupChangePolicy !== undefined) {
    report.oneOf(`${at}.fsGroupChangePolicy`, context.fsGroupChangePolicy, choices.fsGroupChangePolicy);
  }
  if (context.seccompProfile !== undefined) validateSeccomp(`${at}.seccompProfile`, context.seccompProfile, report);
  if (context.appArmorProfile !== undefined) validateAppArmor(`${at}.appArmorProfile`, context.appArmorProfile, report);
  for (const name of ['supplementalGroupsPolicy', 'seLinuxChangePolicy'] as const) {
    const value = context[name];
    if (value !== undefined) report.oneOf(`${at}.${name}`, value, choices[name]);
  }
}

const maxSysctlName = 253;
const sysctlPattern = '^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$';

function isSysctlName(name: string): boolean {
  return (
    byteLength(name) <= maxSysctlName &&
    name.split(/[./]/).every((part) => /^[a-z0-9_-]+$/.test(part) && /^[a-z0-9](?:.*[a-z0-9])?$/.test(part))
  );
}

const ipcSysctls = new Set(['kernel.sem']);
const ipcPrefixes = ['kernel.shm', 'kernel.msg', 'fs.mqueue.'];

/** The namespace that a sysctl belongs to, where it has one of its own. */
function namespaceOf(sysctl: string): 'network' | 'ipc' | undefined {
  // `net/ipv4/…` is the other way to write it; dots inside an interface's name then stay.
  const name = /^[^./]*\//.test(sysctl) ? sysctl.replaceAll(/[./]/g, (c) => (c === '/' ? '.' : '/')) : sysctl;
  if (name.startsWith('net.')) return 'network';
  return ipcSysctls.has(name) || ipcPrefixes.some((prefix) => name.startsWith(prefix)) ? 'ipc' : undefined;
}

/** S-205 */
function validateSysctls(at: string, sysctls: readonly Sysctl[], spec: PodSpec, report: Report): void {
  const names = new Set<string>();
  for (const [i, { name }] of sysctls.entries()) {
    const field = `${at}[${i}].name`;
    if (name === '') report.required(field);
    else if (!isSysctlName(name)) {
      report.invalid(field, name, `must have at most ${maxSysctlName} characters and match regex ${sysctlPattern}`);
    } else if (names.has(name)) report.duplicate(field, name);
    names.add(name);
    const namespace = namespaceOf(name);
    if (spec.hostNetwork === true && namespace === 'network')
      report.invalid(field, name, "may not be specified when 'hostNetwork' is true");
    else if (spec.hostIPC === true && namespace === 'ipc') report.invalid(field, name, "may not be specified when 'hostIPC' is true");
  }
}

/** S-206 */
export function validateHostUsers(spec: PodSpec, report: Report): void {
  if (spec.hostUsers !== false) return;
  const why = 'when `hostUsers` is false';
  if (spec.hostNetwork === true) report.forbidden('spec.hostNetwork', why);
  if (spec.hostPID === true) report.forbidden('spec.HostPID', why);
  if (spec.hostIPC === true) report.forbidden('spec.HostIPC', why);
  for (const [path, container] of containersWithPath(spec)) {
    if ((container.volumeDevices ?? []).length > 0) report.forbidden(`${path}.volumeDevices`, why);
  }
}

/** S-207 */
export function validateOs(spec: PodSpec, report: Report): void {
  const { os } = spec;
  if (os === undefined) return;
  if (os.name === '') report.required('spec.os.name');
  else if (!['linux', 'windows'].includes(os.name)) report.notSupported('spec.os', os.name, ['linux', 'windows']);
  else if (os.name === 'linux') validateLinux(spec, report);
  else validateWindows(spec, report);
}

function validateLinux(spec: PodSpec, report: Report): void {
  const why = 'windows options cannot be set for a linux pod';
  if (spec.securityContext?.windowsOptions !== undefined) report.forbidden('spec.securityContext.windowsOptions', why);
  for (const [path, container] of containersWithPath(spec)) {
    if (container.securityContext?.windowsOptions !== undefined) report.forbidden(`${path}.securityContext.windowsOptions`, why);
  }
}

const linuxPodFields = [
  'appArmorProfile',
  'seLinuxOptions',
  'seccompProfile',
  'fsGroup',
  'fsGroupChangePolicy',
  'sysctls',
  'runAsUser',
  'runAsGroup',
  'supplementalGroups',
  'supplementalGroupsPolicy',
  'seLinuxChangePolicy',
] as const;

const linuxContainerFields = [
  'appArmorProfile',
  'seLinuxOptions',
  'seccompProfile',
  'capabilities',
  'readOnlyRootFilesystem',
  'privileged',
  'allowPrivilegeEscalation',
  'procMount',
  'runAsUser',
  'runAsGroup',
] as const;

function validateWindows(spec: PodSpec, report: Report): void {
  const why = 'cannot be set for a windows pod';
  for (const name of linuxPodFields) if (spec.securityContext?.[name] !== undefined) report.forbidden(`spec.securityContext.${name}`, why);
  if (spec.hostUsers !== undefined) report.forbidden('spec.hostUsers', why);
  if (spec.hostPID === true) report.forbidden('spec.hostPID', why);
  if (spec.hostIPC === true) report.forbidden('spec.hostIPC', why);
  if (spec.shareProcessNamespace !== undefined) report.forbidden('spec.shareProcessNamespace', why);
  for (const [path, container] of containersWithPath(spec)) {
    for (const name of linuxContainerFields) {
      if (container.securityContext?.[name] !== undefined) report.forbidden(`${path}.securityContext.${name}`, why);
    }
  }
}
