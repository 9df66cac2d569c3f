import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildContainer, buildPod } from '../../test/support/pods.ts';
import { cgroupPath, elementOf, kubepodsCgroup, podCgroup, podCgroupPath, qosCgroup } from './cgroup-names.ts';

const amounts = { cpu: '1', memory: '1Gi' };
const pods = {
  Guaranteed: buildPod({ containers: [buildContainer({ resources: { requests: amounts, limits: amounts } })] }, { uid: 'a-b' }),
  Burstable: buildPod({ containers: [buildContainer({ resources: { requests: amounts } })] }, { uid: 'a-b' }),
  BestEffort: buildPod({}, { uid: 'a-b' }),
} as const;

for (const [driver, qos, root, expected] of [
  ['cgroupfs', 'Guaranteed', '/', '/kubepods/poda-b'],
  ['cgroupfs', 'Burstable', '/', '/kubepods/burstable/poda-b'],
  ['cgroupfs', 'BestEffort', '/', '/kubepods/besteffort/poda-b'],
  ['cgroupfs', 'BestEffort', '/own/tree', '/own/tree/kubepods/besteffort/poda-b'],
  ['systemd', 'Guaranteed', '/', '/kubepods.slice/kubepods-poda_b.slice'],
  ['systemd', 'Burstable', '/', '/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-poda_b.slice'],
  ['systemd', 'BestEffort', '/', '/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-poda_b.slice'],
  ['systemd', 'Guaranteed', '/own', '/own.slice/own-kubepods.slice/own-kubepods-poda_b.slice'],
] as const) {
  test(`L-286 … L-288 ${driver}, ${qos}, root ${root}: ${expected}`, () => {
    const cgroup = { root, driver, perQos: true };
    assert.equal(podCgroupPath(pods[qos], cgroup), expected);
    const path = cgroupPath(podCgroup(pods[qos], root), driver);
    assert.equal(elementOf(path.slice(path.lastIndexOf('/') + 1), driver), 'poda-b', 'and back');
  });
}

test('L-289 without QoS cgroups the parent is the root', () => {
  assert.equal(podCgroupPath(pods.Burstable, { root: '/own', driver: 'cgroupfs', perQos: false }), '/own');
});

test('C-371 names of the QoS tree', () => {
  assert.deepEqual(
    [kubepodsCgroup('/'), qosCgroup('/', 'Burstable'), qosCgroup('/', 'BestEffort')].map((name) => cgroupPath(name, 'systemd')),
    ['/kubepods.slice', '/kubepods.slice/kubepods-burstable.slice', '/kubepods.slice/kubepods-besteffort.slice'],
  );
});
