// Which cgroup hierarchies a machine has, from the text of /proc/self/mounts and /proc/self/cgroup. Pure.
import { ConfigError } from '../std/errors.ts';

/** One mounted hierarchy. Version 1 has several, each with its controllers; version 2 has one. */
export interface Hierarchy {
  readonly mountPoint: string;
  /** Empty for version 2 (its controllers are read from `cgroup.controllers`) and for `name=systemd`. */
  readonly controllers: readonly string[];
  readonly unified: boolean;
}

export interface CgroupLayout {
  /** 1 as soon as any controller sits in a version 1 hierarchy: on a hybrid machine limits work there only. */
  readonly version: 1 | 2;
  /** Every hierarchy in which a container may leave a directory. */
  readonly hierarchies: readonly Hierarchy[];
  /** The agent's own path by controller; key '' is the unified hierarchy. */
  readonly own: ReadonlyMap<string, string>;
}

const v1Controllers = new Set([
  'cpu',
  'cpuacct',
  'cpuset',
  'memory',
  'devices',
  'freezer',
  'net_cls',
  'net_prio',
  'blkio',
  'perf_event',
  'hugetlb',
  'pids',
  'rdma',
  'misc',
]);

/** Throws ConfigError when no hierarchy is mounted. */
export function detectCgroupLayout(texts: { readonly mounts: string; readonly selfCgroup: string }): CgroupLayout {
  const hierarchies: Hierarchy[] = [];
  for (const line of texts.mounts.split('\n')) {
    const [, mountPoint, type, options] = line.split(' ');
    if (mountPoint === undefined || options === undefined || (type !== 'cgroup' && type !== 'cgroup2')) continue;
    const controllers = type === 'cgroup' ? options.split(',').filter((option) => v1Controllers.has(option)) : [];
    const found: Hierarchy = { mountPoint: unescapeMount(mountPoint), controllers, unified: type === 'cgroup2' };
    // A hierarchy mounted a second time is the same tree.
    const isKnown = hierarchies.some(
      (one) => one.unified === found.unified && one.controllers.join() === controllers.join() && controllers.length > 0,
    );
    if (!isKnown && !hierarchies.some((one) => one.mountPoint === found.mountPoint)) hierarchies.push(found);
  }
  if (hierarchies.length === 0) throw new ConfigError('no-cgroups', 'no cgroup hierarchy is mounted on this machine');
  const version = hierarchies.some((one) => one.controllers.length > 0) ? 1 : 2;
  return { version, hierarchies, own: ownCgroups(texts.selfCgroup) };
}

function ownCgroups(text: string): ReadonlyMap<string, string> {
  const own = new Map<string, string>();
  for (const line of text.split('\n')) {
    const match = /^\d+:([^:]*):(.*)$/.exec(line);
    if (match === null) continue;
    for (const controller of (match[1] ?? '').split(',')) own.set(controller, match[2] ?? '/');
  }
  return own;
}

/** The kernel writes blanks and backslashes of paths as octal. */
function unescapeMount(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
