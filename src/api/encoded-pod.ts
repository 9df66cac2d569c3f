// A Pod as Kubernetes' JSON encoder writes it: some fields always appear, even where they say nothing. What people
// compare with a cluster's output, or read with a strict client, has them.
import type { Container, PodSpec, PodStatus, Volume } from './gen/kubernetes.ts';
import type { Pod } from './pod.ts';

export function toEncodedPod(pod: Pod): Pod {
  return { ...pod, spec: encodedSpec(pod.spec), status: encodedStatus(pod.status ?? {}) };
}

function encodedSpec(spec: PodSpec): PodSpec {
  return {
    ...spec,
    containers: spec.containers.map(encodedContainer),
    ...(spec.initContainers === undefined ? {} : { initContainers: spec.initContainers.map(encodedContainer) }),
    ...(spec.volumes === undefined ? {} : { volumes: spec.volumes.map(encodedVolume) }),
  };
}

function encodedContainer(container: Container): Container {
  const { env, resources = {} } = container;
  if (env === undefined) return { ...container, resources };
  return {
    ...container,
    resources,
    env: env.map((entry) => (entry.valueFrom === undefined ? entry : { ...entry, valueFrom: withDivisor(entry.valueFrom) })),
  };
}

function encodedVolume(volume: Volume): Volume {
  const { downwardAPI, projected } = volume;
  return {
    ...volume,
    ...(downwardAPI?.items === undefined ? {} : { downwardAPI: { ...downwardAPI, items: downwardAPI.items.map(withDivisor) } }),
    ...(projected?.sources === undefined
      ? {}
      : {
          projected: {
            ...projected,
            sources: projected.sources.map((source) =>
              source.downwardAPI?.items === undefined
                ? source
                : { ...source, downwardAPI: { ...source.downwardAPI, items: source.downwardAPI.items.map(withDivisor) } },
            ),
          },
        }),
  };
}

function withDivisor<T extends { readonly resourceFieldRef?: { readonly divisor?: string | undefined } | undefined }>(selector: T): T {
  const { resourceFieldRef } = selector;
  if (resourceFieldRef === undefined || resourceFieldRef.divisor !== undefined) return selector;
  return { ...selector, resourceFieldRef: { ...resourceFieldRef, divisor: '0' } };
}

function encodedStatus(status: PodStatus): PodStatus {
  if (status.conditions === undefined) return status;
  return {
    ...status,
    conditions: status.conditions.map(({ type, status: state, ...rest }) => ({ type, status: state, lastProbeTime: null, ...rest })),
  };
}
