// CreateContainer: what is asked of the runtime for one container. Spec 02, sections 1.8 and 4.5.
import type { Container } from '../api/gen/kubernetes.ts';
import type { Pod } from '../api/pod.ts';
import type { BuildResult, Problems } from './build-result.ts';
import { type EnvFiles, environmentOf, expand } from './environment.ts';
import { containerHash } from './hash.ts';
import type { NodeFacts } from './node-facts.ts';
import { criKeys } from './observation.ts';
import { containerResources } from './resources.ts';
import type { ContainerConfig, Mount } from './runtime-config.ts';
import { podLabels } from './sandbox-config.ts';
import { containerSecurity, type ImageUser, type UserNamespace } from './security-context.ts';

export interface ContainerContext {
  readonly node: NodeFacts;
  /** CRI's attempt, which is also the restart count and the number of the log file. */
  readonly attempt: number;
  /** What the image service answered for the image: an id or a digest. */
  readonly imageRef: string;
  /** undefined when the image says nothing of its user. */
  readonly imageUser: ImageUser | undefined;
  /** What the sandbox reported. */
  readonly podIps: readonly string[];
  /** From `Volumes.mounts`. */
  readonly mounts: readonly Mount[];
  /** From `Volumes.envFiles`. */
  readonly envFiles: EnvFiles;
  /** Needed when `spec.hostUsers` is false. */
  readonly users?: UserNamespace | undefined;
  /** The back-off this start ends, kept in the annotations (D2). */
  readonly backoffMs?: number | undefined;
}

export function buildContainerConfig(
  pod: Pod,
  container: Container,
  context: ContainerContext,
): BuildResult<{ readonly config: ContainerConfig }> {
  const problems: Problems = [];
  const environment = environmentOf(pod, container, context, problems);
  const config: ContainerConfig = {
    metadata: { name: container.name, attempt: context.attempt },
    image: { image: context.imageRef, userSpecifiedImage: container.image ?? '' },
    command: (container.command ?? []).map((word) => expand(word, environment)),
    args: (container.args ?? []).map((word) => expand(word, environment)),
    workingDir: container.workingDir ?? '',
    envs: [...environment].map(([key, value]) => ({ key, value })),
    mounts: context.mounts,
    labels: { ...podLabels(pod), [criKeys.containerName]: container.name },
    annotations: containerAnnotations(pod, container, context.attempt, context.backoffMs),
    logPath: `${container.name}/${context.attempt}.log`,
    stdin: container.stdin ?? false,
    stdinOnce: container.stdinOnce ?? false,
    tty: container.tty ?? false,
    ...(container.lifecycle?.stopSignal !== undefined && { stopSignal: container.lifecycle.stopSignal }),
    linux: {
      resources: containerResources(pod.spec, container, context.node),
      securityContext: containerSecurity(
        pod,
        container,
        { node: context.node, users: context.users, imageUser: context.imageUser },
        problems,
      ),
    },
  };
  const [message] = problems;
  return message === undefined ? { config } : { reason: 'CreateContainerConfigError', message };
}

/** Section 1.8; Pod annotations are not copied. */
function containerAnnotations(
  pod: Pod,
  container: Container,
  attempt: number,
  backoffMs: number | undefined,
): Readonly<Record<string, string>> {
  const { deletionGracePeriodSeconds } = pod.metadata;
  const { terminationGracePeriodSeconds } = pod.spec;
  const preStop = container.lifecycle?.preStop;
  const ports = container.ports ?? [];
  // In the order of Kubernetes' own encoder.
  const portFields = ['name', 'hostPort', 'containerPort', 'protocol', 'hostIP'];
  return {
    [criKeys.hash]: containerHash(container),
    [criKeys.restartCount]: String(attempt),
    [criKeys.resources]: JSON.stringify(container.resources ?? {}),
    [criKeys.terminationMessagePath]: container.terminationMessagePath ?? '',
    [criKeys.terminationMessagePolicy]: container.terminationMessagePolicy ?? '',
    ...(deletionGracePeriodSeconds !== undefined && { [criKeys.deletionGracePeriod]: String(deletionGracePeriodSeconds) }),
    ...(terminationGracePeriodSeconds !== undefined && { [criKeys.terminationGracePeriod]: String(terminationGracePeriodSeconds) }),
    ...(preStop !== undefined && { [criKeys.preStopHandler]: JSON.stringify(preStop) }),
    ...(ports.length > 0 && { [criKeys.ports]: JSON.stringify(ports, portFields) }),
    ...(backoffMs !== undefined && { [criKeys.backoffMs]: String(backoffMs) }),
  };
}
