// On the machine's own hierarchies, below a root of its own; skipped where cgroups cannot be made.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { buildNode } from '../../test/support/node-facts.ts';
import { buildContainer, buildPod } from '../../test/support/pods.ts';
import { systemClock } from '../std/clock.ts';
import { silentLogger } from '../std/log.ts';
import { realCgroupFiles } from './cgroup-files.ts';
import { type CgroupLayout, detectCgroupLayout } from './layout.ts';
import { PodCgroups } from './pod-cgroups.ts';

const options = { signal: new AbortController().signal };
const root = `/pinpod-test-${process.pid}`;
let layout: CgroupLayout;
let isPossible = false;
let cgroups: PodCgroups;

before(async () => {
  layout = detectCgroupLayout({
    mounts: await readFile('/proc/self/mounts', 'utf8'),
    selfCgroup: await readFile('/proc/self/cgroup', 'utf8'),
  });
  const kill = (pid: number): void => {
    process.kill(pid, 'SIGKILL');
  };
  cgroups = new PodCgroups(
    { layout, cgroup: { root, driver: 'cgroupfs' } },
    { files: realCgroupFiles, kill, clock: systemClock, log: silentLogger },
  );
  const [probe] = await Promise.allSettled([realCgroupFiles.makeDirectory(`${layout.hierarchies[0]?.mountPoint}${root}`)]);
  isPossible = probe.status === 'fulfilled';
});

after(async () => {
  if (!isPossible) return;
  for (const uid of await cgroups.list()) await cgroups.remove(uid, options);
  for (const { mountPoint } of layout.hierarchies) await removeEmpty(`${mountPoint}${root}`);
});

async function removeEmpty(directory: string): Promise<void> {
  for (const child of (await realCgroupFiles.directories(directory)) ?? []) await removeEmpty(`${directory}/${child}`);
  await realCgroupFiles.removeDirectory(directory);
}

test('L-292 … L-294, L-297, L-300, C-371, C-372 the real tree: limits arrive, leftovers are killed, nothing stays', async (t) => {
  if (!isPossible) return t.skip('cgroups cannot be made here');
  const node = buildNode({ cgroup: { version: layout.version, driver: 'cgroupfs', root, perQos: true, swapController: false } });
  await cgroups.start(node, node.capacity, 1000);
  const resources = { requests: { cpu: '250m', memory: '32Mi' }, limits: { cpu: '500m', memory: '64Mi' } };
  const pod = buildPod({ containers: [buildContainer({ resources })] }, { uid: 'real-1' });
  await cgroups.ensure(pod, node);
  assert.ok(await cgroups.exists(pod));
  const directory = `${root}/kubepods/burstable/podreal-1`;
  const memory =
    layout.version === 2
      ? layout.hierarchies.find((one) => one.unified)
      : layout.hierarchies.find((one) => one.controllers.includes('memory'));
  const limitFile = layout.version === 2 ? 'memory.max' : 'memory.limit_in_bytes';
  assert.equal((await readFile(`${memory?.mountPoint}${directory}/${limitFile}`, 'utf8')).trim(), String(64 * 2 ** 20));
  if (layout.version === 1) {
    const cpu = layout.hierarchies.find((one) => one.controllers.includes('cpu'));
    assert.equal((await readFile(`${cpu?.mountPoint}${directory}/cpu.cfs_quota_us`, 'utf8')).trim(), '50000');
    assert.equal((await readFile(`${cpu?.mountPoint}${directory}/cpu.shares`, 'utf8')).trim(), '256');
  }
  // A process that outlived its runtime.
  const child = spawn('sleep', ['60'], { stdio: 'ignore' });
  const exited = once(child, 'exit');
  await realCgroupFiles.makeDirectory(`${memory?.mountPoint}${directory}/left`);
  await writeFile(`${memory?.mountPoint}${directory}/left/cgroup.procs`, String(child.pid));
  await cgroups.remove('real-1', options);
  assert.deepEqual(await exited, [null, 'SIGKILL']);
  assert.equal(await cgroups.exists(pod), false);
  assert.deepEqual([...(await cgroups.list())], []);
  for (const { mountPoint } of layout.hierarchies)
    assert.equal(await realCgroupFiles.directories(`${mountPoint}${directory}`), undefined, mountPoint);
});
