// Whether a Pod may start beside those active now (S-446 … S-465). A refusal is never final: it is asked again (D4).
import { allContainers, type Pod } from '../api/pod.ts';
import { refusedSysctl, type SysctlRules } from './sysctls.ts';

export interface AdmissionRefusal {
  /** Kubernetes' reason, verbatim. */
  readonly reason: string;
  readonly message: string;
}

export function admitPod(pod: Pod, active: readonly Pod[]): AdmissionRefusal | undefined {
  if (hasPortConflict(pod, active)) {
    const message = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
    return { reason: 'NodePorts', message }; // S-460
  }
  return undefined;
}

/** The same, with the kernel settings that this node allows (L-269, L-270). */
export function admitPodUnder(rules: SysctlRules): (pod: Pod, active: readonly Pod[]) => AdmissionRefusal | undefined {
  return (pod, active) => refusedSysctl(pod.spec, rules) ?? admitPod(pod, active);
}

interface HostPort {
  readonly protocol: string;
  readonly hostIp: string;
  readonly port: number;
}

function hostPorts(pod: Pod): readonly HostPort[] {
  return allContainers(pod.spec).flatMap((container) =>
    (container.ports ?? []).flatMap((port) =>
      port.hostPort === undefined || port.hostPort === 0
        ? []
        : [{ protocol: port.protocol ?? 'TCP', hostIp: port.hostIP ?? '', port: port.hostPort }],
    ),
  );
}

function hasPortConflict(pod: Pod, active: readonly Pod[]): boolean {
  const isAny = (ip: string): boolean => ip === '' || ip === '0.0.0.0';
  const taken = active.flatMap(hostPorts);
  return hostPorts(pod).some((port) =>
    taken.some(
      (other) =>
        other.port === port.port &&
        other.protocol === port.protocol &&
        (other.hostIp === port.hostIp || isAny(other.hostIp) || isAny(port.hostIp)),
    ),
  );
}
