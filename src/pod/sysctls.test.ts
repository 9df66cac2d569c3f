import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildPod } from '../../test/support/pods.ts';
import type { PodSpec } from '../api/gen/kubernetes.ts';
import { refusedSysctl } from './sysctls.ts';

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
