// A real containerd for one test file: private folders, bridge and subnet, the offline images imported; gone without
// a trace after stop(). What a killed test run left is swept by the next one.
import { accessSync, existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { readImageArchive } from '../../src/image/oci-archive.ts';
import { mountsBelow } from '../../src/runtime/containerd/mounts.ts';
import {
  PrivateContainerd,
  type PrivateContainerdDeps,
  type PrivateContainerdInfo,
  type PrivateContainerdOptions,
} from '../../src/runtime/containerd/private-containerd.ts';
import { descendantsOf, listProcesses, shimsOf } from '../../src/runtime/containerd/process-table.ts';
import { sweep } from '../../src/runtime/containerd/sweep.ts';
import { CriRuntime } from '../../src/runtime/cri/cri-runtime.ts';
import { systemClock } from '../../src/std/clock.ts';
import { ConfigError } from '../../src/std/errors.ts';
import { silentLogger } from '../../src/std/log.ts';
import { runProgram } from '../../src/std/process.ts';

/** `debian`: the machine's own package. The others are unpacked below `.cache/containerd` by `npm run setup -- --test`. */
export type ContainerdRelease = 'debian' | 'trixie' | 'sid';

export const offlineImages = {
  pause: 'registry.k8s.io/pause:3.9',
  busybox: 'docker.io/library/busybox:latest',
  nginx: 'docker.io/library/nginx:latest',
} as const;

const checkout = path.join(import.meta.dirname, '..', '..');
export const imagesDir = path.join(checkout, '.cache', 'images');

export interface StartOptions {
  readonly version?: ContainerdRelease;
  /** Short, for the folder's name: `plan`, `adopt`. */
  readonly name: string;
  /** In a mount namespace of its own whose mounts are shared: for mountPropagation on machines where `/` is not. */
  readonly sharedMounts?: boolean;
  /** Cgroup parents the test makes Pods under, without a leading hierarchy: removed by stop(). */
  readonly cgroupParents?: readonly string[];
  readonly ipv6Subnet?: string;
  /** `sid`: a runc that knows idmapped mounts, instead of the machine's own (see `whyNoNewRunc`). */
  readonly runc?: 'sid';
}

export interface TestContainerd {
  /** The agent's own part that runs it. */
  readonly daemon: PrivateContainerd;
  /** `unix:///tmp/…/containerd.sock` */
  readonly endpoint: string;
  readonly socket: string;
  /** The test's own folder; more may be put in here, stop() removes all. */
  readonly dir: string;
  readonly info: PrivateContainerdInfo;
  readonly bridge: string;
  readonly subnet: string;
  /** What a second agent process has: another PrivateContainerd on the same folders. */
  sameFolders(change?: Partial<PrivateContainerdOptions>, deps?: Partial<PrivateContainerdDeps>): PrivateContainerd;
  /** `ctr` in the namespace CRI uses; resolves to what it printed. */
  ctr(...args: readonly string[]): Promise<string>;
  pid(): Promise<number | undefined>;
  /** SIGKILL to containerd alone: shims and containers run on. */
  kill(): Promise<void>;
  /** SIGTERM to containerd alone. */
  halt(): Promise<void>;
  /** Starts it again after `kill` or `halt`. */
  restart(): Promise<void>;
  /** As after a power cut: everything dies, `/run` is empty, the disk stays. Call `restart` then. */
  powerLoss(): Promise<void>;
  /** Removes everything and fails when anything is left. Idempotent. */
  stop(): Promise<void>;
}

const forever = new AbortController().signal;
const prefix = 'ppt-';
let started = 0;

/** Where the programs of that release are; none for the machine's own. */
export function binDirs(version: ContainerdRelease): readonly string[] {
  return version === 'debian' ? [] : [path.join(checkout, '.cache', 'containerd', version, 'usr', 'bin')];
}

/** The folder of a runc that knows idmapped mounts. */
export const newRunc = path.join(checkout, '.cache', 'containerd', 'sid-runc');

/** Why `runc: 'sid'` cannot be asked for here; undefined when it can. */
export function whyNoNewRunc(): string | undefined {
  return existsSync(path.join(newRunc, 'runc')) ? undefined : `${newRunc} is missing: run npm run setup -- --test`;
}

/** Why no such containerd can be started here; undefined when it can. For `describe(name, { skip: … })`. */
export function whyNoContainerd(version: ContainerdRelease = 'debian'): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root';
  const dir = binDirs(version)[0];
  const binary = dir === undefined ? '/usr/bin/containerd' : path.join(dir, 'containerd');
  if (!existsSync(binary)) return `${binary} is missing: run npm run setup${version === 'debian' ? '' : ' -- --test'}`;
  if (!existsSync(path.join(imagesDir, 'pause.tar'))) return `${imagesDir} is empty: run npm run setup`;
  return undefined;
}

export async function startContainerd(options: StartOptions): Promise<TestContainerd> {
  await sweepDeadRuns();
  started += 1;
  const { name, version = 'debian', cgroupParents = [], sharedMounts = false } = options;
  const dir = `/tmp/${prefix}${process.pid}-${name}${started}`;
  const bridge = `ppt${process.pid}x${started}`;
  const probeAt = async (endpoint: string, signal: AbortSignal): Promise<void> => {
    const client = new CriRuntime({ runtimeEndpoint: endpoint, requestTimeoutMs: 2000 }, { clock: systemClock, logger: silentLogger });
    try {
      await client.version({ signal });
    } finally {
      client.close();
    }
  };
  const make = (change: Partial<PrivateContainerdOptions>, deps: Partial<PrivateContainerdDeps> = {}): PrivateContainerd =>
    new PrivateContainerd(
      {
        rootDir: path.join(dir, 'root'),
        runDir: path.join(dir, 'run'),
        pauseImage: offlineImages.pause,
        imagesDir,
        cgroupDriver: 'cgroupfs',
        subnets: [],
        ...(options.ipv6Subnet === undefined ? {} : { ipv6Subnet: options.ipv6Subnet }),
        bridge,
        binDirs: [...(options.runc === 'sid' ? [newRunc] : []), ...binDirs(version)],
        cniBinDirs: ['/usr/lib/cni', '/opt/cni/bin'],
        ...(sharedMounts ? { launcher: ['unshare', '--mount', '--propagation', 'shared'] } : {}),
        env: process.env,
        ...change,
      },
      {
        clock: systemClock,
        log: silentLogger,
        probe: (endpoint, { signal }) => probeAt(endpoint, signal),
        readArchive: readImageArchive,
        makePauseArchive: async () => undefined,
        ...deps,
      },
    );

  const first = (process.pid * 3 + started * 71) % 250;
  let containerd = make({});
  let info: PrivateContainerdInfo | undefined;
  for (let i = 0; info === undefined; i++) {
    containerd = make({ subnets: [`10.99.${(first + i) % 250}.0/24`] });
    try {
      info = await containerd.start({ signal: forever });
    } catch (error) {
      if (error instanceof ConfigError && error.code === 'subnet-conflict' && i < 250) continue;
      await containerd.destroy({ signal: forever, cgroupParents }).catch(() => undefined);
      rmSync(dir, { recursive: true, force: true });
      throw error;
    }
  }
  const failed = info.imports.filter((report) => report.outcome === 'failed');
  const socket = containerd.endpoint.slice('unix://'.length);
  const ctr = async (...args: readonly string[]): Promise<string> => {
    const result = await runProgram(containerd.imageStore.ctr, ['--address', socket, '--namespace', 'k8s.io', ...args], {
      signal: forever,
    });
    return result.stdout;
  };
  let stopped: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    await containerd.destroy({ signal: forever, cgroupParents });
    // An agent's root folder stays a mount after it (L-008).
    for (const point of mountsBelow(readFileSync('/proc/self/mountinfo', 'utf8'), dir))
      if (path.dirname(point) === dir) await runProgram('umount', [point], { signal: forever });
    rmSync(dir, { recursive: true, force: true });
    const left = await leftovers(socket, dir, bridge);
    if (left.length > 0) throw new Error(`containerd of test ${name} left: ${left.join(', ')}`);
  };
  if (failed.length > 0) {
    await stop();
    throw new Error(`image archives cannot be imported: ${failed.map((f) => `${f.file}: ${String(f.error)}`).join('; ')}`);
  }
  const kill = async (): Promise<void> => {
    const pid = await containerd.pid();
    if (pid !== undefined) process.kill(pid, 'SIGKILL');
    while ((await containerd.pid()) !== undefined) await systemClock.sleep(5, forever);
  };
  return {
    daemon: containerd,
    endpoint: containerd.endpoint,
    socket,
    dir,
    info,
    bridge,
    subnet: info.subnet,
    sameFolders: (change, deps) => make({ subnets: [info.subnet], ...change }, deps),
    ctr,
    pid: () => containerd.pid(),
    kill,
    halt: () => containerd.stop({ signal: forever }),
    restart: async () => {
      await containerd.start({ signal: forever });
    },
    powerLoss: async () => {
      await kill();
      const run = path.join(dir, 'run');
      await sweep(
        { socket, folders: [run], networkName: bridge, bridge, cgroupParents },
        { clock: systemClock, log: silentLogger, env: process.env },
        { signal: forever },
      );
      rmSync(run, { recursive: true, force: true });
    },
    stop: () => {
      stopped ??= stop();
      return stopped;
    },
  };
}

/** What of a containerd is still on the machine. */
async function leftovers(socket: string, dir: string, bridge: string): Promise<readonly string[]> {
  const processes = await listProcesses();
  const shims = descendantsOf(
    processes,
    shimsOf(processes, socket).map((shim) => shim.pid),
  );
  return [
    ...shims.filter((entry) => !entry.isZombie).map((entry) => `process ${entry.pid} ${entry.command.join(' ')}`),
    ...mountsBelow(readFileSync('/proc/self/mountinfo', 'utf8'), dir).map((point) => `mount ${point}`),
    ...(readdirSync('/sys/class/net').includes(bridge) ? [`bridge ${bridge}`] : []),
  ];
}

/** Takes down what test processes that no longer live have left. */
export async function sweepDeadRuns(): Promise<void> {
  const isAlive = (pid: string): boolean => {
    try {
      accessSync(`/proc/${pid}`);
      return true;
    } catch {
      return false;
    }
  };
  for (const name of readdirSync('/tmp')) {
    const pid = /^ppt-(\d+)-/.exec(name)?.[1];
    if (pid === undefined || isAlive(pid)) continue;
    const dir = path.join('/tmp', name);
    const number = /(\d+)$/.exec(name)?.[1] ?? '';
    const bridge = `ppt${pid}x${number}`;
    const socket = path.join(dir, 'run', 'containerd', 'containerd.sock');
    const config = path.join(dir, 'run', 'containerd', 'config.toml');
    for (const entry of await listProcesses()) {
      if (entry.command.includes(config)) process.kill(entry.pid, 'SIGKILL');
    }
    await sweep(
      { socket, folders: [dir], networkName: bridge, bridge, cgroupParents: [name] },
      { clock: systemClock, log: silentLogger, env: process.env },
      { signal: forever },
    );
    rmSync(dir, { recursive: true, force: true });
  }
}
