// RunPodSandbox: what is asked of the runtime for a Pod as a whole. Spec 02, sections 1.8 and 4.3.
import type { Sysctl } from '../api/gen/kubernetes.ts';
import type { Pod } from '../api/pod.ts';
import type { BuildResult, Problems } from './build-result.ts';
import { podCgroupPath } from './cgroup-names.ts';
import { type BuildWarning, dnsConfigOf } from './dns.ts';
import { sandboxHostname } from './hostname.ts';
import type { NodeFacts } from './node-facts.ts';
import { criKeys } from './observation.ts';
import { portMappingsOf } from './port-mappings.ts';
import { sandboxOverhead, sandboxResources } from './resources.ts';
import { runtimeHandlerOf } from './runtime-class.ts';
import type { PodSandboxConfig } from './runtime-config.ts';
import { sandboxSecurity, type UserNamespace } from './security-context.ts';

export interface SandboxContext {
  readonly node: NodeFacts;
  readonly attempt: number;
  /** Needed when `spec.hostUsers` is false. */
  readonly users?: UserNamespace | undefined;
}

export interface BuiltSandbox {
  readonly config: PodSandboxConfig;
  /** `runtime_handler` of RunPodSandbox; empty for the default. */
  readonly runtimeHandler: string;
  /** Events to record about the Pod when it is first started. */
  readonly warnings: readonly BuildWarning[];
}

/** The same input gives the same request; it is built again for every container (L-212). */
export function buildSandboxConfig(pod: Pod, context: SandboxContext): BuildResult<BuiltSandbox> {
  const { node, attempt } = context;
  const { metadata, spec } = pod;
  const problems: Problems = [];
  const warnings: BuildWarning[] = [];
  const config: PodSandboxConfig = {
    metadata: { name: metadata.name, uid: metadata.uid, namespace: metadata.namespace, attempt },
    hostname: sandboxHostname(pod, node, problems),
    logDirectory: podLogDirectory(pod, node.podLogsDir),
    dnsConfig: dnsConfigOf(pod, node, warnings, problems),
    portMappings: portMappingsOf(spec, warnings),
    labels: { ...metadata.labels, ...podLabels(pod) },
    annotations: { ...metadata.annotations },
    linux: {
      cgroupParent: podCgroupPath(pod, node.cgroup),
      sysctls: Object.fromEntries((spec.securityContext?.sysctls ?? []).map(({ name, value }) => [sysctlName(name), value])),
      resources: sandboxResources(spec, node),
      overhead: sandboxOverhead(spec, node),
      securityContext: sandboxSecurity(spec, node, context.users, problems),
    },
  };
  const runtimeHandler = runtimeHandlerOf(spec, node, problems);
  const [message] = problems;
  return message === undefined ? { config, runtimeHandler, warnings } : { reason: 'FailedCreatePodSandBox', message };
}

export function podLogDirectory(pod: Pick<Pod, 'metadata'>, podLogsDir: string): string {
  const { namespace, name, uid } = pod.metadata;
  return `${podLogsDir}/${namespace}_${name}_${uid}`;
}

export function podLabels({ metadata }: Pick<Pod, 'metadata'>): Readonly<Record<string, string>> {
  return { [criKeys.podName]: metadata.name, [criKeys.podNamespace]: metadata.namespace, [criKeys.podUid]: metadata.uid };
}

/** With dots between elements: names that use `/` first have the two swapped. */
export function sysctlName(name: Sysctl['name']): string {
  const separator = /[./]/.exec(name)?.[0];
  return separator === '/' ? name.replace(/[./]/g, (char) => (char === '/' ? '.' : '/')) : name;
}
