// Names of Pod and QoS cgroups for both drivers: L-286 … L-289. A logical name is a list of elements; only the driver
// decides how it is written.
import type { Pod } from '../api/pod.ts';
import type { CgroupFacts } from './node-facts.ts';
import { type QosClass, qosClass } from './resources.ts';

/** Elements from the hierarchy's root, for example `['kubepods', 'burstable', 'pod1-2']`. */
export type CgroupName = readonly string[];

type Naming = Pick<CgroupFacts, 'root' | 'driver'>;

export const podElementPrefix = 'pod';

export function rootCgroup(root: string): CgroupName {
  return root.split('/').filter((element) => element !== '');
}

/** The tree of all Pods. */
export function kubepodsCgroup(root: string): CgroupName {
  return [...rootCgroup(root), 'kubepods'];
}

/** Guaranteed Pods sit in the tree's top directly. */
export function qosCgroup(root: string, qos: QosClass): CgroupName {
  return qos === 'Guaranteed' ? kubepodsCgroup(root) : [...kubepodsCgroup(root), qos.toLowerCase()];
}

export function podCgroup(pod: Pick<Pod, 'metadata' | 'spec'>, root: string): CgroupName {
  return [...qosCgroup(root, qosClass(pod.spec)), `${podElementPrefix}${pod.metadata.uid}`];
}

/** The path below a hierarchy's mount point, with a leading slash. */
export function cgroupPath(name: CgroupName, driver: CgroupFacts['driver']): string {
  return driver === 'cgroupfs' ? `/${name.join('/')}` : systemdPath(name);
}

/** L-287: elements joined by `-`, each prefix a directory. */
function systemdPath(name: CgroupName): string {
  const escaped = name.map((element) => element.replaceAll('-', '_'));
  return name.length === 0 ? '/' : escaped.map((_, index) => `/${escaped.slice(0, index + 1).join('-')}.slice`).join('');
}

/** The element a directory's name stands for, undefined when the driver did not make that name. */
export function elementOf(directory: string, driver: CgroupFacts['driver']): string | undefined {
  if (driver === 'cgroupfs') return directory;
  const match = /^(?:.*-)?([^-]+)\.slice$/.exec(directory);
  return match?.[1]?.replaceAll('_', '-');
}

/** `cgroup_parent` of a sandbox (L-288, L-289). */
export function podCgroupPath(pod: Pick<Pod, 'metadata' | 'spec'>, cgroup: Naming & Pick<CgroupFacts, 'perQos'>): string {
  return cgroup.perQos ? cgroupPath(podCgroup(pod, cgroup.root), cgroup.driver) : cgroup.root;
}
