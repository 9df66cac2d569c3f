// Which kernel settings a Pod may change: L-269, L-270. Pure.
import type { PodSpec } from '../api/gen/kubernetes.ts';
import type { BuildFailure } from './build-result.ts';
import { sysctlName } from './sandbox-config.ts';

/** Safe settings with the kernel that made each one a setting of the namespace. */
const safe: ReadonlyMap<string, readonly [major: number, minor: number]> = new Map([
  ['kernel.shm_rmid_forced', [0, 0]],
  ['net.ipv4.ip_local_port_range', [0, 0]],
  ['net.ipv4.tcp_syncookies', [0, 0]],
  ['net.ipv4.ping_group_range', [0, 0]],
  ['net.ipv4.ip_unprivileged_port_start', [0, 0]],
  ['net.ipv4.ip_local_reserved_ports', [3, 16]],
  ['net.ipv4.tcp_keepalive_time', [4, 5]],
  ['net.ipv4.tcp_fin_timeout', [4, 6]],
  ['net.ipv4.tcp_keepalive_intvl', [4, 5]],
  ['net.ipv4.tcp_keepalive_probes', [4, 5]],
  ['net.ipv4.tcp_rmem', [4, 15]],
  ['net.ipv4.tcp_wmem', [4, 15]],
]);

/** Settings of the IPC namespace, by name or prefix; everything else that is namespaced belongs to the network. */
const ipcPrefixes = ['kernel.shm', 'kernel.msg', 'kernel.sem', 'fs.mqueue.'];

export interface SysctlRules {
  /** `allowedUnsafeSysctls`: names, or prefixes that end in `*`. */
  readonly allowedUnsafe: readonly string[];
  /** As `uname -r` prints it. */
  readonly kernelRelease: string;
}

/** Why the Pod is refused; undefined when it may run. */
export function refusedSysctl(spec: PodSpec, { allowedUnsafe, kernelRelease }: SysctlRules): BuildFailure | undefined {
  for (const { name } of spec.securityContext?.sysctls ?? []) {
    const setting = sysctlName(name);
    const refuse = (why: string): BuildFailure => ({
      reason: 'SysctlForbidden',
      message: `forbidden sysctl: ${JSON.stringify(name)} ${why}`,
    });
    const needed = safe.get(setting);
    const isSafe = needed !== undefined && isAtLeast(kernelRelease, needed);
    if (!isSafe && !allowedUnsafe.some((pattern) => matches(sysctlName(pattern), setting))) return refuse('not allowlisted');
    if (setting.startsWith('net.') && spec.hostNetwork === true) return refuse('not allowed with host Net enabled');
    if (ipcPrefixes.some((prefix) => setting.startsWith(prefix)) && spec.hostIPC === true)
      return refuse('not allowed with host IPC enabled');
  }
  return undefined;
}

function matches(pattern: string, setting: string): boolean {
  return pattern.endsWith('*') ? setting.startsWith(pattern.slice(0, -1)) : pattern === setting;
}

/** A release nobody can read counts as new. */
function isAtLeast(release: string, [major, minor]: readonly [number, number]): boolean {
  const match = /^(\d+)\.(\d+)/.exec(release);
  if (match === null) return true;
  const [hasMajor, hasMinor] = [Number(match[1]), Number(match[2])];
  return hasMajor > major || (hasMajor === major && hasMinor >= minor);
}
