// What is read from the machine: programs, mounts, processes, capabilities.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ConfigError } from '../../std/errors.ts';
import { findBinaries } from './binaries.ts';
import { mountsBelow } from './mounts.ts';
import { hasCapability } from './private-containerd.ts';
import { descendantsOf, parseProcess, shimsOf } from './process-table.ts';

describe('programs of a private containerd', () => {
  const complete = [
    ...['/usr/bin/containerd', '/usr/bin/ctr', '/usr/bin/containerd-shim-runc-v2', '/usr/sbin/runc', '/usr/sbin/iptables', '/usr/sbin/ip'],
    ...['bridge', 'host-local', 'portmap', 'loopback'].map((name) => `/usr/lib/cni/${name}`),
  ];
  const search = (files: readonly string[], binDirs: readonly string[] = []) =>
    findBinaries({
      binDirs,
      cniBinDirs: ['/opt/cni/bin', '/usr/lib/cni'],
      path: '/usr/bin:/bin:relative',
      isExecutable: async (file) => files.includes(file),
    });

  it('are found beyond PATH in the system folders', async () => {
    const found = await search(complete);
    assert.equal(found.runc, '/usr/sbin/runc');
    assert.deepEqual(found.cniBinDirs, ['/usr/lib/cni']);
    assert.ok(found.path.split(':').includes('/usr/sbin'));
    assert.ok(!found.path.includes('relative'));
  });

  it('are taken from the configured folders first, and containerd finds its shim there too', async () => {
    const found = await search([...complete, '/own/containerd', '/own/ctr', '/own/containerd-shim-runc-v2'], ['/own']);
    assert.equal(found.containerd, '/own/containerd');
    assert.equal(found.path.split(':')[0], '/own');
  });

  for (const [without, packages] of [
    [['/usr/bin/containerd'], 'containerd'],
    [['/usr/sbin/runc', '/usr/bin/ctr'], 'containerd runc'],
    [['/usr/lib/cni/portmap'], 'containernetworking-plugins'],
    [['/usr/sbin/iptables', '/usr/lib/cni/bridge'], 'iptables containernetworking-plugins'],
  ] as const) {
    it(`name the packages that bring the missing: ${packages}`, async () => {
      await assert.rejects(search(complete.filter((file) => !(without as readonly string[]).includes(file))), (error) => {
        assert.ok(error instanceof ConfigError);
        assert.ok(error.message.endsWith(`apt-get install ${packages}`), error.message);
        for (const file of without) assert.ok(error.message.includes(file.split('/').at(-1) ?? ''));
        return true;
      });
    });
  }
});

describe('mountinfo', () => {
  const text = `21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
36 21 0:32 / /run rw,nosuid shared:5 master:2 - tmpfs tmpfs rw
40 36 0:40 / /run/pinpod/state/a\\040b rw - tmpfs x rw
41 36 0:41 / /run/pinpod/state/a\\040b/rootfs rw - overlay overlay rw
42 36 0:42 / /run/pinpodx rw - tmpfs x rw
`;
  it('gives what is below a folder, innermost first', () => {
    assert.deepEqual(mountsBelow(text, '/run/pinpod'), ['/run/pinpod/state/a b/rootfs', '/run/pinpod/state/a b']);
  });
});

describe('processes', () => {
  it('are read whatever their name holds', () => {
    const stat = `77 (a) b) S 5 77 77 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 1 2`;
    assert.deepEqual(parseProcess(77, stat, 'a\0-x\0'), { pid: 77, parent: 5, startTicks: 123456, isZombie: false, command: ['a', '-x'] });
    assert.equal(parseProcess(77, stat.replace(' S ', ' Z '), '').isZombie, true);
  });

  const entry = (pid: number, parent: number, ...command: string[]) => ({ pid, parent, startTicks: 1, isZombie: false, command });
  const table = [
    entry(1, 0, 'init'),
    entry(10, 1, '/usr/bin/containerd-shim-runc-v2', '-namespace', 'k8s.io', '-address', '/run/a.sock'),
    entry(11, 1, '/usr/bin/containerd-shim-runc-v2', '-namespace', 'k8s.io', '-address', '/run/b.sock'),
    entry(20, 10, 'nginx'),
    entry(21, 20, 'nginx worker'),
    entry(22, 1, 'vi', '-address', '/run/a.sock'),
  ];
  it('belong to a containerd by its address', () => {
    assert.deepEqual(
      shimsOf(table, '/run/a.sock').map((p) => p.pid),
      [10],
    );
    assert.deepEqual(
      descendantsOf(table, [10]).map((p) => p.pid),
      [10, 20, 21],
    );
  });
});

describe('capabilities', () => {
  it('are bits of CapEff', () => {
    assert.equal(hasCapability('CapPrm:\t0\nCapEff:\t000001ffffffffff\n', 24), true);
    assert.equal(hasCapability('CapEff:\t000001fffeffffff\n', 24), false);
    assert.equal(hasCapability('', 24), false);
  });
});
