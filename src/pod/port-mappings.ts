// Port mappings of a sandbox: L-199, L-200.
import type { ContainerPort, PodSpec } from '../api/gen/kubernetes.ts';
import type { BuildWarning } from './dns.ts';
import type { PortMapping, Protocol } from './runtime-config.ts';

/** Ports of the regular containers only; every declared port is sent, also without a host port. */
export function portMappingsOf(spec: PodSpec, warnings: BuildWarning[]): readonly PortMapping[] {
  return spec.containers.flatMap((container) => {
    const seen = new Set<string>();
    return (container.ports ?? []).flatMap((port) => {
      const mapping: PortMapping = {
        protocol: protocolOf(port, warnings),
        containerPort: port.containerPort,
        hostPort: port.hostPort ?? 0,
        hostIp: port.hostIP ?? '',
      };
      const key = keyOf(port, mapping);
      if (seen.has(key)) {
        warnings.push({
          reason: 'DuplicatePort',
          message: `port ${key} of container ${container.name} is declared twice, the second is left out`,
        });
        return [];
      }
      seen.add(key);
      return [mapping];
    });
  });
}

function keyOf(port: ContainerPort, mapping: PortMapping): string {
  if (port.name !== undefined && port.name !== '') return port.name;
  const family = mapping.hostIp === '' ? 'any' : mapping.hostIp.includes(':') ? 'v6' : 'v4';
  return `${family}-${mapping.protocol}-${mapping.hostIp}:${mapping.containerPort}:${mapping.hostPort}`;
}

function protocolOf(port: ContainerPort, warnings: BuildWarning[]): Protocol {
  const protocol = port.protocol ?? 'TCP';
  if (protocol === 'TCP' || protocol === 'UDP' || protocol === 'SCTP') return protocol;
  warnings.push({
    reason: 'UnknownProtocol',
    message: `unknown protocol ${JSON.stringify(protocol)} of port ${port.containerPort}, TCP is used`,
  });
  return 'TCP';
}
