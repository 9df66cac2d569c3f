// What a container mounts, as far as it can be told without looking at a disk: L-232 … L-239.
import type { Container, Volume, VolumeMount } from '../api/gen/kubernetes.ts';
import { allContainers, type Pod } from '../api/pod.ts';
import type { Problems } from './build-result.ts';
import { type Environment, expandStrictly } from './environment.ts';
import type { NodeFacts } from './node-facts.ts';
import { handlerFeaturesOf } from './runtime-class.ts';
import type { Mount } from './runtime-config.ts';
import type { UserNamespace } from './security-context.ts';

export interface MountPlan {
  readonly volume: Volume;
  /** Relative path inside the volume, empty for the volume itself; unused for images, whose path the runtime resolves. */
  readonly subPath: string;
  /** Everything but `hostPath`, which is empty. */
  readonly mount: Mount;
}

export interface MountContext {
  readonly node: NodeFacts;
  readonly environment: Environment;
  /** Image references by volume name, as pulled. */
  readonly imageVolumes: ReadonlyMap<string, string>;
  readonly users: UserNamespace | undefined;
}

/** Volumes that some container mounts: only those are set up (L-308, L-309). */
export function usedVolumes(pod: Pod): readonly Volume[] {
  const used = new Set(allContainers(pod.spec).flatMap((container) => (container.volumeMounts ?? []).map((mount) => mount.name)));
  return (pod.spec.volumes ?? []).filter((volume) => used.has(volume.name));
}

/** Volumes whose files the agent makes, so that they may be relabelled. */
export function isManagedVolume(volume: Volume): boolean {
  return volume.emptyDir !== undefined || isReadOnlyVolume(volume);
}

/** Volumes no container may write, whatever it asks for. */
export function isReadOnlyVolume(volume: Volume): boolean {
  return volume.downwardAPI !== undefined || volume.projected !== undefined;
}

/** The container's volume mounts in order. */
export function planMounts(pod: Pod, container: Container, context: MountContext, problems: Problems): readonly MountPlan[] {
  return (container.volumeMounts ?? []).flatMap((wanted) => {
    const volume = (pod.spec.volumes ?? []).find((one) => one.name === wanted.name);
    if (volume === undefined) {
      problems.push(`cannot find volume ${JSON.stringify(wanted.name)} to mount into container ${JSON.stringify(container.name)}`);
      return [];
    }
    const subPath = subPathOf(wanted, context.environment, problems);
    const mount: Mount = {
      containerPath: wanted.mountPath.startsWith('/') ? wanted.mountPath : `/${wanted.mountPath}`,
      hostPath: '',
      readonly: wanted.readOnly === true || isReadOnlyVolume(volume) || volume.image !== undefined,
      seLinuxRelabel: context.node.seLinux && isManagedVolume(volume),
      propagation: propagationOf(wanted, problems),
      recursiveReadOnly: isRecursiveReadOnly(pod, wanted, context.node, problems),
      ...userMappings(context.users),
    };
    return [{ volume, subPath, mount: volume.image === undefined ? mount : withImage(pod, volume, subPath, mount, context, problems) }];
  });
}

/** L-245: the mappings every mount of a Pod with a user namespace carries. */
export function userMappings(users: UserNamespace | undefined): Pick<Mount, 'uidMappings' | 'gidMappings'> {
  return users === undefined ? {} : { uidMappings: users.uids, gidMappings: users.gids };
}

/** L-239. */
function withImage(pod: Pod, volume: Volume, subPath: string, mount: Mount, context: MountContext, problems: Problems): Mount {
  const reference = volume.image?.reference ?? '';
  const { imageVolumes } = context.node;
  const what = `volume ${JSON.stringify(volume.name)}`;
  if (imageVolumes === 'none') problems.push(`${what}: this runtime cannot mount images`);
  else if (subPath !== '' && imageVolumes === 'whole') problems.push(`${what}: this runtime cannot mount a subPath of an image`);
  const pulled = context.imageVolumes.get(volume.name);
  if (pulled === undefined) problems.push(`image ${JSON.stringify(reference)} of volume ${JSON.stringify(volume.name)} is not pulled yet`);
  const { name: runtimeHandler } = handlerFeaturesOf(pod.spec, context.node);
  const image = { image: pulled ?? reference, userSpecifiedImage: reference, runtimeHandler, annotations: pod.metadata.annotations };
  return { ...mount, image, imageSubPath: subPath };
}

/** L-236. */
function subPathOf(wanted: VolumeMount, environment: Environment, problems: Problems): string {
  const hasExpression = wanted.subPathExpr !== undefined && wanted.subPathExpr !== '';
  const subPath = hasExpression ? expandStrictly(wanted.subPathExpr ?? '', environment, problems) : (wanted.subPath ?? '');
  if (subPath.startsWith('/')) problems.push(`error SubPath \`${subPath}\` must not be an absolute path`);
  if (subPath.split('/').includes('..')) problems.push(`unable to provision SubPath \`${subPath}\`: must not contain '..'`);
  return subPath;
}

/** L-234. */
function propagationOf(wanted: VolumeMount, problems: Problems): Mount['propagation'] {
  switch (wanted.mountPropagation ?? 'None') {
    case 'None':
      return 'private';
    case 'HostToContainer':
      return 'hostToContainer';
    case 'Bidirectional':
      return 'bidirectional';
    default:
      problems.push(`invalid MountPropagation mode: ${JSON.stringify(wanted.mountPropagation)}`);
      return 'private';
  }
}

/** L-235; without a RuntimeClass the default handler is asked. */
function isRecursiveReadOnly(pod: Pod, wanted: VolumeMount, node: NodeFacts, problems: Problems): boolean {
  const mode = wanted.recursiveReadOnly ?? 'Disabled';
  if (mode === 'Disabled') return false;
  const refuse = (why: string): boolean => {
    problems.push(`failed to resolve recursive read-only mode: ${why}`);
    return false;
  };
  const name = JSON.stringify(wanted.name);
  if (wanted.readOnly !== true) return refuse(`volume ${name} requested recursive read-only mode, but it is not read-only`);
  if ((wanted.mountPropagation ?? 'None') !== 'None') {
    return refuse(
      `volume ${name} requested recursive read-only mode, but it is not compatible with propagation ${wanted.mountPropagation}`,
    );
  }
  const { recursiveReadOnlyMounts } = handlerFeaturesOf(pod.spec, node);
  if (mode === 'IfPossible' || (mode === 'Enabled' && recursiveReadOnlyMounts)) return recursiveReadOnlyMounts;
  if (mode === 'Enabled') return refuse(`volume ${name} requested recursive read-only mode, but it is not supported by the runtime`);
  return refuse(`unknown recursive read-only mode ${JSON.stringify(mode)}`);
}
