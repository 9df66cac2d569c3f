// Finds the programs a private containerd needs, and says which Debian package brings the missing ones.
import path from 'node:path';
import { ConfigError } from '../../std/errors.ts';

export interface ContainerdBinaries {
  readonly containerd: string;
  readonly ctr: string;
  readonly runc: string;
  readonly ip: string;
  /** Folders of CNI plugins that exist, in the order they are searched. */
  readonly cniBinDirs: readonly string[];
  /** PATH for containerd: it looks up its shim, and the CNI plugins look up iptables, in it. */
  readonly path: string;
}

export interface BinarySearch {
  /** Searched before PATH. */
  readonly binDirs: readonly string[];
  readonly cniBinDirs: readonly string[];
  readonly path: string | undefined;
  isExecutable(file: string): Promise<boolean>;
}

/** Folders of system programs that a user's PATH often lacks. */
const systemDirs = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

const programs = [
  { name: 'containerd', package: 'containerd' },
  { name: 'ctr', package: 'containerd' },
  { name: 'containerd-shim-runc-v2', package: 'containerd' },
  { name: 'runc', package: 'runc' },
  { name: 'iptables', package: 'iptables' },
  { name: 'ip', package: 'iproute2' },
] as const;

const cniPlugins = ['bridge', 'host-local', 'portmap', 'loopback'];

/** A ConfigError `runtime-missing` names every program not found, where it was looked for, and the packages to install. */
export async function findBinaries(search: BinarySearch): Promise<ContainerdBinaries> {
  const dirs = [...new Set([...search.binDirs, ...(search.path ?? '').split(':').filter((dir) => path.isAbsolute(dir)), ...systemDirs])];
  const found = new Map<string, string>();
  for (const { name } of programs) {
    const file = await firstExecutable(
      dirs.map((dir) => path.join(dir, name)),
      search,
    );
    if (file !== undefined) found.set(name, file);
  }
  const cniDirs: string[] = [];
  const missingPlugins: string[] = [];
  for (const plugin of cniPlugins) {
    const file = await firstExecutable(
      search.cniBinDirs.map((dir) => path.join(dir, plugin)),
      search,
    );
    if (file === undefined) missingPlugins.push(plugin);
    else cniDirs.push(path.dirname(file));
  }
  const [containerd, ctr, runc, ip] = ['containerd', 'ctr', 'runc', 'ip'].map((name) => found.get(name));
  const missing = programs.filter(({ name }) => !found.has(name));
  const packages = new Set<string>(missing.map((program) => program.package));
  if (missingPlugins.length > 0) packages.add('containernetworking-plugins');
  if (containerd === undefined || ctr === undefined || runc === undefined || ip === undefined || packages.size > 0) {
    const parts = [
      ...(missing.length === 0 ? [] : [`${missing.map(({ name }) => name).join(', ')} not found in ${dirs.join(':')}`]),
      ...(missingPlugins.length === 0 ? [] : [`CNI plugins ${missingPlugins.join(', ')} not found in ${search.cniBinDirs.join(':')}`]),
    ];
    throw new ConfigError(
      'runtime-missing',
      `a private containerd cannot be started: ${parts.join('; ')}. On Debian: apt-get install ${[...packages].join(' ')}`,
      { details: { packages: [...packages] } },
    );
  }
  return { containerd, ctr, runc, ip, cniBinDirs: [...new Set(cniDirs)], path: dirs.join(':') };
}

async function firstExecutable(files: readonly string[], { isExecutable }: BinarySearch): Promise<string | undefined> {
  for (const file of files) if (await isExecutable(file)) return file;
  return undefined;
}
