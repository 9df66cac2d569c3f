import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { CgroupDriver } from '../runtime.ts';
import { type ContainerdConfig, containerdConfig, defaultCgroupDriver, parseContainerdVersion } from './config.ts';

const base: ContainerdConfig = {
  version: { major: 1, minor: 6, patch: 20 },
  paths: {
    root: '/var/lib/pinpod/containerd/data',
    state: '/run/pinpod/containerd/state',
    socket: '/run/pinpod/containerd/containerd.sock',
    runcRoot: '/run/pinpod/containerd/runc',
    opt: '/var/lib/pinpod/containerd/opt',
    cniConf: '/run/pinpod/containerd/cni',
    certs: '/etc/pinpod/certs.d',
  },
  cniBinDirs: ['/usr/lib/cni', '/opt/cni/bin'],
  runcBinary: '/usr/sbin/runc',
  pauseImage: 'registry.k8s.io/pause:3.10',
  cgroupDriver: 'cgroupfs',
  canLowerOomScore: false,
  logLevel: 'info',
};

/** `[table]` → its `key = value` lines; the top is under ''. Enough for what we write. */
function tables(toml: string): Readonly<Record<string, Readonly<Record<string, string>>>> {
  const found: Record<string, Record<string, string>> = { '': {} };
  let current = '';
  for (const line of toml.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const table = /^\[(.+)\]$/.exec(line)?.[1];
    if (table !== undefined) {
      assert.equal(found[table], undefined, `table ${table} twice`);
      current = table;
      found[table] = {};
      continue;
    }
    const [key = '', value = ''] = line.split(/ = (.*)/s);
    found[current] = { ...found[current], [key]: value };
  }
  return found;
}

const cri = 'plugins."io.containerd.grpc.v1.cri"';
const images = 'plugins."io.containerd.cri.v1.images"';
const runtime = 'plugins."io.containerd.cri.v1.runtime"';
const nri = 'plugins."io.containerd.nri.v1.nri"';

type Expected = Readonly<Record<string, Readonly<Record<string, string | undefined>> | undefined>>;

const rows: readonly (readonly [string, Partial<ContainerdConfig>, Expected])[] = [
  [
    '1.6: format 2, everything under the cri plugin',
    {},
    {
      '': { version: '2', root: '"/var/lib/pinpod/containerd/data"', state: '"/run/pinpod/containerd/state"', oom_score: undefined },
      grpc: { address: '"/run/pinpod/containerd/containerd.sock"' },
      [cri]: {
        sandbox_image: '"registry.k8s.io/pause:3.10"',
        restrict_oom_score_adj: 'true',
        netns_mounts_under_state_dir: 'true',
        disable_hugetlb_controller: 'false',
      },
      [`${cri}.cni`]: { bin_dir: '"/usr/lib/cni"', conf_dir: '"/run/pinpod/containerd/cni"', bin_dirs: undefined },
      [`${cri}.registry`]: { config_path: '"/etc/pinpod/certs.d"' },
      [`${cri}.containerd.runtimes.runc.options`]: {
        Root: '"/run/pinpod/containerd/runc"',
        BinaryName: '"/usr/sbin/runc"',
        SystemdCgroup: 'false',
      },
      [nri]: undefined,
      [runtime]: undefined,
    },
  ],
  [
    '1.7: as 1.6, and no NRI socket shared by the machine',
    { version: { major: 1, minor: 7, patch: 24 } },
    { '': { version: '2' }, [nri]: { disable: 'true' }, [cri]: { restrict_oom_score_adj: 'true' } },
  ],
  [
    '2.0: format 3, one plugin folder',
    { version: { major: 2, minor: 0, patch: 4 } },
    { '': { version: '3' }, [`${runtime}.cni`]: { bin_dir: '"/usr/lib/cni"', bin_dirs: undefined }, [cri]: undefined },
  ],
  [
    '2.1: a list of plugin folders and never both keys',
    { version: { major: 2, minor: 1, patch: 9 } },
    {
      [`${images}.pinned_images`]: { sandbox: '"registry.k8s.io/pause:3.10"' },
      [`${images}.registry`]: { config_path: '"/etc/pinpod/certs.d"' },
      [runtime]: { restrict_oom_score_adj: 'true', netns_mounts_under_state_dir: 'true', disable_hugetlb_controller: 'false' },
      [`${runtime}.cni`]: { bin_dirs: '["/usr/lib/cni", "/opt/cni/bin"]', bin_dir: undefined },
      [`${runtime}.containerd`]: { default_runtime_name: '"runc"' },
      [`${runtime}.containerd.runtimes.runc.options`]: { Root: '"/run/pinpod/containerd/runc"', SystemdCgroup: 'false' },
      [nri]: { disable: 'true' },
    },
  ],
  [
    '3.0, not known yet: as the newest known',
    { version: { major: 3, minor: 0, patch: 0 } },
    { '': { version: '3' }, [`${runtime}.cni`]: { bin_dir: undefined } },
  ],
  [
    'with CAP_SYS_RESOURCE scores may go down (1.6)',
    { canLowerOomScore: true },
    { '': { oom_score: '-999' }, [cri]: { restrict_oom_score_adj: 'false' } },
  ],
  [
    'with CAP_SYS_RESOURCE scores may go down (2.1)',
    { canLowerOomScore: true, version: { major: 2, minor: 1, patch: 0 } },
    { '': { oom_score: '-999' }, [runtime]: { restrict_oom_score_adj: 'false' } },
  ],
  ['systemd driver (1.6)', { cgroupDriver: 'systemd' }, { [`${cri}.containerd.runtimes.runc.options`]: { SystemdCgroup: 'true' } }],
  [
    'systemd driver (2.1)',
    { cgroupDriver: 'systemd', version: { major: 2, minor: 1, patch: 0 } },
    { [`${runtime}.containerd.runtimes.runc.options`]: { SystemdCgroup: 'true' } },
  ],
  ['another snapshotter (1.6)', { snapshotter: 'native' }, { [`${cri}.containerd`]: { snapshotter: '"native"' } }],
  [
    'another snapshotter (2.1)',
    { snapshotter: 'native', version: { major: 2, minor: 1, patch: 0 } },
    { [images]: { snapshotter: '"native"' } },
  ],
  ['a path with quotes and backslashes', { paths: { ...base.paths, root: '/a "b" \\c' } }, { '': { root: '"/a \\"b\\" \\\\c"' } }],
];

describe('containerd configuration', () => {
  for (const [name, change, expected] of rows) {
    it(name, () => {
      const found = tables(containerdConfig({ ...base, ...change }));
      for (const [table, keys] of Object.entries(expected)) {
        if (keys === undefined) assert.equal(found[table], undefined, table);
        else for (const [key, value] of Object.entries(keys)) assert.equal(found[table]?.[key], value, `[${table}] ${key}`);
      }
    });
  }

  it('changes with the version, so that an upgrade restarts containerd', () => {
    const other = containerdConfig({ ...base, version: { ...base.version, patch: 21 } });
    assert.notEqual(other, containerdConfig(base));
  });
});

describe('cgroup driver of the private containerd, when none is configured', () => {
  const textWith = (cgroupDriver: CgroupDriver): string => containerdConfig({ ...base, cgroupDriver });
  for (const [hasSystemd, isUnified, configText, expected] of [
    [true, true, undefined, 'systemd'],
    [true, false, undefined, 'cgroupfs'],
    [false, true, undefined, 'cgroupfs'],
    [false, false, undefined, 'cgroupfs'],
    [true, true, textWith('cgroupfs'), 'cgroupfs'],
    [true, true, textWith('systemd'), 'systemd'],
    [true, false, textWith('systemd'), 'systemd'],
    [true, true, 'half a fi', 'systemd'],
  ] as const) {
    const before = configText === undefined ? 'nothing' : (/SystemdCgroup = \w+/.exec(configText)?.[0] ?? 'a damaged file');
    it(`${hasSystemd ? 'systemd' : 'no systemd'}, cgroup ${isUnified ? 'v2' : 'v1'}, before ${before}: ${expected}`, () => {
      assert.equal(defaultCgroupDriver({ hasSystemd, isUnified, configText }), expected);
    });
  }
});

describe('containerd version', () => {
  for (const [text, expected] of [
    ['containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u1', '1.6.20'],
    ['containerd github.com/containerd/containerd/v2 2.1.9+unknown ', '2.1.9'],
    ['containerd containerd.io v2.2.0 1c4457e00facac03ce1d75f7b6777a7a851e5c41', '2.2.0'],
    ['containerd', undefined],
  ] as const) {
    it(text, () => {
      const version = parseContainerdVersion(text);
      assert.equal(version === undefined ? undefined : `${version.major}.${version.minor}.${version.patch}`, expected);
    });
  }
});
