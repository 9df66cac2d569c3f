import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConfigError } from '../std/errors.ts';
import { detectCgroupLayout } from './layout.ts';

const v1 = (controllers: string): string => `cgroup /sys/fs/cgroup/${controllers} cgroup rw,nosuid,relatime,${controllers} 0 0\n`;

for (const [title, mounts, version, expected] of [
  ['unified', 'cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n', 2, ['/sys/fs/cgroup']],
  ['version 1', v1('cpu,cpuacct') + v1('memory'), 1, ['/sys/fs/cgroup/cpu,cpuacct', '/sys/fs/cgroup/memory']],
  [
    'hybrid: limits work in version 1 only',
    `${v1('memory')}cgroup /sys/fs/cgroup/systemd cgroup rw,name=systemd 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n`,
    1,
    ['/sys/fs/cgroup/memory', '/sys/fs/cgroup/systemd', '/sys/fs/cgroup/unified'],
  ],
  [
    'a version 1 hierarchy for names only beside the unified one',
    'cgroup /sys/fs/cgroup/systemd cgroup rw,name=systemd 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n',
    2,
    ['/sys/fs/cgroup/systemd', '/sys/fs/cgroup'],
  ],
  ['a hierarchy mounted twice', `${v1('memory')}cgroup /mnt/a\\040b cgroup rw,memory 0 0\n`, 1, ['/sys/fs/cgroup/memory']],
  ['other file systems', `tmpfs /sys/fs/cgroup tmpfs rw 0 0\n${v1('pids')}`, 1, ['/sys/fs/cgroup/pids']],
] as const) {
  test(`cgroup layout: ${title}`, () => {
    const layout = detectCgroupLayout({ mounts, selfCgroup: '' });
    assert.equal(layout.version, version);
    assert.deepEqual(
      layout.hierarchies.map((one) => one.mountPoint),
      expected,
    );
  });
}

test('own cgroups by controller', () => {
  const { own } = detectCgroupLayout({ mounts: v1('memory'), selfCgroup: '5:cpu,cpuacct:/a\n4:memory:/b:c\n1:name=systemd:/\n0::/u\n' });
  assert.deepEqual(Object.fromEntries(own), { cpu: '/a', cpuacct: '/a', memory: '/b:c', 'name=systemd': '/', '': '/u' });
});

test('no cgroups at all is said', () => {
  assert.throws(() => detectCgroupLayout({ mounts: 'proc /proc proc rw 0 0\n', selfCgroup: '' }), ConfigError);
});
