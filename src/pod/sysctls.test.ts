import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildPod } from '../../test/support/pods.ts';
import type { PodSpec } from '../api/gen/kubernetes.ts';
import { refusedSysctl } from './sysctls.ts';

test('L-269 the settings that are safe, and since which kernel', () => {
  const since: Readonly<Record<string, string>> = {
    'kernel.shm_rmid_forced': '',
    'net.ipv4.ip_local_port_range': '',
    'net.ipv4.tcp_syncookies': '',
    'net.ipv4.ping_group_range': '',
    'net.ipv4.ip_unprivileged_port_start': '',
    'net.ipv4.ip_local_reserved_ports': '3.16',
    'net.ipv4.tcp_keepalive_time': '4.5',
    'net.ipv4.tcp_fin_timeout': '4.6',
    'net.ipv4.tcp_keepalive_intvl': '4.5',
    'net.ipv4.tcp_keepalive_probes': '4.5',
    'net.ipv4.tcp_rmem': '4.15',
    'net.ipv4.tcp_wmem': '4.15',
  };
  const isSafe = (name: string, kernelRelease: string): boolean => {
    const { spec } = buildPod({ securityContext: { sysctls: [{ name, value: '1' }] } });
    return refusedSysctl(spec, { allowedUnsafe: [], kernelRelease }) === undefined;
  };
  for (const [name, kernel] of Object.entries(since)) {
    assert.ok(isSafe(name, `${kernel === '' ? '3.0' : kernel}.0`), name);
    if (kernel !== '') assert.ok(!isSafe(name, '3.15.0'), name);
  }
});

const host: Partial<PodSpec> = { hostNetwork: true };
for (const [name, spec, allowedUnsafe, kernelRelease, expected] of [
  ['net.ipv4.tcp_syncookies', {}, [], '6.1.0', undefined],
  ['net/ipv4/tcp_syncookies', {}, [], '6.1.0', undefined],
  ['net.ipv4.tcp_rmem', {}, [], '4.15.0', undefined],
  ['net.ipv4.tcp_rmem', {}, [], '4.14.9', 'not allowlisted'],
  ['net.core.somaxconn', {}, [], '6.1.0', 'not allowlisted'],
  ['net.core.somaxconn', {}, ['net.core.*'], '6.1.0', undefined],
  ['net/core/somaxconn', {}, ['net.core.somaxconn'], '6.1.0', undefined],
  ['net.core.somaxconn', {}, ['net.core.some'], '6.1.0', 'not allowlisted'],
  ['net.ipv4.tcp_syncookies', host, [], '6.1.0', 'not allowed with host Net enabled'],
  ['kernel.shm_rmid_forced', host, [], '6.1.0', undefined],
  ['kernel.shm_rmid_forced', { hostIPC: true }, [], '6.1.0', 'not allowed with host IPC enabled'],
  ['fs.mqueue.msg_max', { hostIPC: true }, ['fs.mqueue.*'], '6.1.0', 'not allowed with host IPC enabled'],
] as const) {
  test(`L-269, L-270 ${name} ${JSON.stringify(spec)} with ${allowedUnsafe.join() || 'nothing'} on ${kernelRelease}: ${expected ?? 'allowed'}`, () => {
    const pod = buildPod({ ...spec, securityContext: { sysctls: [{ name, value: '1' }] } });
    const found = refusedSysctl(pod.spec, { allowedUnsafe, kernelRelease });
    assert.deepEqual(
      found,
      expected === undefined ? undefined : { reason: 'SysctlForbidden', message: `forbidden sysctl: "${name}" ${expected}` },
    );
  });
}
