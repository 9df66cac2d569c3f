// The private containerd's configuration file, as text: which keys it needs differs between 1.6, 1.7 and 2.x. Pure.
import type { CgroupDriver } from '../runtime.ts';

/** `containerd --version` → its numbers; undefined when the text names none. */
export function parseContainerdVersion(text: string): ContainerdVersion | undefined {
  const match = /\bv?(\d+)\.(\d+)\.(\d+)/.exec(text);
  return match === null ? undefined : { major: Number(match[1]), minor: Number(match[2]), patch: Number(match[3]) };
}

/**
 * The driver when none is configured: systemd where it is PID 1 and cgroups are of version 2, as kubeadm and k3s have it.
 * Pods that may still run were made with the driver of the configuration before, and stay with it (D2); it is gone after
 * a reboot.
 */
export function defaultCgroupDriver(machine: {
  readonly hasSystemd: boolean;
  readonly isUnified: boolean;
  /** The configuration written before; undefined when there is none. */
  readonly configText: string | undefined;
}): CgroupDriver {
  const before = /^\s*SystemdCgroup = (true|false)$/m.exec(machine.configText ?? '')?.[1];
  const isSystemd = before === undefined ? machine.hasSystemd && machine.isUnified : before === 'true';
  return isSystemd ? 'systemd' : 'cgroupfs';
}

export interface ContainerdVersion {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
}

/** `ownRoot` holds what must survive a reboot, `state` what must not. All paths are absolute. */
export interface ContainerdPaths {
  readonly root: string;
  readonly state: string;
  /** At most 100 characters: containerd makes a second socket with `.ttrpc` behind it (the kernel's limit is 107). */
  readonly socket: string;
  readonly runcRoot: string;
  readonly opt: string;
  readonly cniConf: string;
  readonly certs: string;
}

export interface ContainerdConfig {
  readonly version: ContainerdVersion;
  readonly paths: ContainerdPaths;
  readonly cniBinDirs: readonly string[];
  readonly runcBinary: string;
  readonly pauseImage: string;
  readonly cgroupDriver: CgroupDriver;
  /** Whether the process may lower `oom_score_adj` and raise limits (CAP_SYS_RESOURCE). */
  readonly canLowerOomScore: boolean;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
  /** containerd's own choice (overlayfs) when undefined. */
  readonly snapshotter?: string;
}

/** Keys in the order given; nested objects become tables. Values are what the configuration needs: no dates, no floats. */
type Toml = { readonly [key: string]: TomlValue };
type TomlValue = string | number | boolean | readonly string[] | Toml;

/** The file's text. The first line names the containerd it was made for, so that an upgrade changes the text. */
export function containerdConfig(config: ContainerdConfig): string {
  const { version } = config;
  const { major, minor, patch } = version;
  const header = `# Made by pinpod for containerd ${major}.${minor}.${patch}; written again at every start.\n`;
  return header + toToml(major >= 2 ? formatThree(config) : formatTwo(config));
}

function common({ paths, canLowerOomScore, logLevel }: ContainerdConfig): Toml {
  return {
    root: paths.root,
    state: paths.state,
    // Without the capability containerd would end at once, unable to set it.
    ...(canLowerOomScore ? { oom_score: -999 } : {}),
    grpc: { address: paths.socket },
    debug: { level: logLevel },
  };
}

function runcRuntime({ paths, runcBinary, cgroupDriver }: ContainerdConfig): Toml {
  return {
    runtime_type: 'io.containerd.runc.v2',
    options: {
      // The default root, /run/containerd/runc, is shared by all daemons of the machine.
      Root: paths.runcRoot,
      BinaryName: runcBinary,
      SystemdCgroup: cgroupDriver === 'systemd',
    },
  };
}

/** 1.6 and 1.7 (which reads format 2 as well). */
function formatTwo(config: ContainerdConfig): Toml {
  const { paths, cniBinDirs, snapshotter } = config;
  return {
    version: 2,
    ...common(config),
    plugins: {
      'io.containerd.internal.v1.opt': { path: paths.opt },
      ...(config.version.minor >= 7 ? { 'io.containerd.nri.v1.nri': { disable: true } } : {}),
      'io.containerd.grpc.v1.cri': {
        sandbox_image: config.pauseImage,
        restrict_oom_score_adj: !config.canLowerOomScore,
        // Off by itself, and then the limits of containers for huge pages are dropped in silence.
        disable_hugetlb_controller: false,
        // Else Pods' network namespaces are bound in /run/netns, shared by all daemons of the machine.
        netns_mounts_under_state_dir: true,
        cni: { bin_dir: cniBinDirs[0] ?? '', conf_dir: paths.cniConf },
        registry: { config_path: paths.certs },
        containerd: {
          ...(snapshotter === undefined ? {} : { snapshotter }),
          default_runtime_name: 'runc',
          runtimes: { runc: runcRuntime(config) },
        },
      },
    },
  };
}

/** 2.x. A wrong key here does not fail: the plugin is left out and every CRI call answers UNIMPLEMENTED. */
function formatThree(config: ContainerdConfig): Toml {
  const { version, paths, cniBinDirs, snapshotter } = config;
  const takesDirList = version.major > 2 || version.minor >= 1;
  return {
    version: 3,
    ...common(config),
    plugins: {
      'io.containerd.internal.v1.opt': { path: paths.opt },
      // On by default in 2.x, with one socket for the whole machine.
      'io.containerd.nri.v1.nri': { disable: true },
      'io.containerd.cri.v1.images': {
        ...(snapshotter === undefined ? {} : { snapshotter }),
        pinned_images: { sandbox: config.pauseImage },
        registry: { config_path: paths.certs },
      },
      'io.containerd.cri.v1.runtime': {
        restrict_oom_score_adj: !config.canLowerOomScore,
        disable_hugetlb_controller: false,
        netns_mounts_under_state_dir: true,
        cni: {
          ...(takesDirList ? { bin_dirs: cniBinDirs } : { bin_dir: cniBinDirs[0] ?? '' }),
          conf_dir: paths.cniConf,
        },
        containerd: { default_runtime_name: 'runc', runtimes: { runc: runcRuntime(config) } },
      },
    },
  };
}

function toToml(table: Toml, path: readonly string[] = []): string {
  const entries = Object.entries(table);
  const scalars = entries.filter(([, value]) => !isTable(value));
  const tables = entries.filter((entry): entry is [string, Toml] => isTable(entry[1]));
  const lines = scalars.map(([key, value]) => `${tomlKey(key)} = ${tomlScalar(value)}\n`).join('');
  const head = path.length > 0 && lines !== '' ? `\n[${path.map(tomlKey).join('.')}]\n` : '';
  return head + lines + tables.map(([key, value]) => toToml(value, [...path, key])).join('');
}

const isTable = (value: TomlValue): value is Toml => typeof value === 'object' && !Array.isArray(value);
const tomlKey = (key: string): string => (/^[A-Za-z0-9_-]+$/.test(key) ? key : tomlString(key));
// A JSON string is a TOML basic string, except that TOML wants DEL escaped as well.
const tomlString = (text: string): string => JSON.stringify(text).replaceAll('\x7f', '\\u007f');
const tomlScalar = (value: TomlValue): string =>
  Array.isArray(value) ? `[${value.map(tomlString).join(', ')}]` : typeof value === 'string' ? tomlString(value) : String(value);
