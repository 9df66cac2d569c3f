import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Pod } from '../api/pod.ts';
import { admitPodUnder } from './admission.ts';

function pod(name: string, spec: Partial<Pod['spec']>): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', uid: name, annotations: {}, labels: {} },
    spec: { containers: [{ name: 'c', image: 'i' }], ...spec },
  } as Pod;
}

const admit = admitPodUnder({ allowedUnsafe: ['net.core.*'], kernelRelease: '6.1.0' });
const onPort = (name: string): Pod => pod(name, { containers: [{ name: 'c', image: 'i', ports: [{ containerPort: 80, hostPort: 80 }] }] });
const withSysctl = (name: string): Pod => pod('a', { securityContext: { sysctls: [{ name, value: '1' }] } });

for (const { title, asked, active, reason } of [
  { title: 'a safe setting is admitted', asked: withSysctl('net.ipv4.tcp_syncookies'), active: [], reason: undefined },
  { title: 'L-269: an unsafe setting is refused', asked: withSysctl('kernel.msgmax'), active: [], reason: 'SysctlForbidden' },
  { title: 'L-270: an allowed unsafe setting is admitted', asked: withSysctl('net.core.somaxconn'), active: [], reason: undefined },
  { title: 'S-460: a host port in use is refused', asked: onPort('a'), active: [onPort('b')], reason: 'NodePorts' },
  { title: 'a free host port is admitted', asked: onPort('a'), active: [], reason: undefined },
]) {
  test(`admission: ${title}`, () => assert.equal(admit(asked, active)?.reason, reason));
}
