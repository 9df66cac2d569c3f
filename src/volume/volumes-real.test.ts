// Real mounts, as root on Linux; skipped where mounting is not allowed. Everything mounted is unmounted at the end.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, realpath, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { buildNode } from '../../test/support/node-facts.ts';
import { buildContainer, buildPod } from '../../test/support/pods.ts';
import { systemClock } from '../std/clock.ts';
import { silentLogger } from '../std/log.ts';
import { systemRandom } from '../std/random.ts';
import { programMounter } from './mounter.ts';
import { type ContainerMountContext, Volumes } from './volumes.ts';

const options = { signal: new AbortController().signal };
const context: ContainerMountContext = { node: buildNode(), attempt: 0, podIps: [], envFiles: new Map(), imageVolumes: new Map() };
let root = '';
let canMount = false;

before(async () => {
  root = await realpath(await mkdtemp(`${tmpdir()}/pinpod-mounts-`));
  await mkdir(`${root}/probe`);
  const [probe] = await Promise.allSettled([programMounter.mount({ type: 'tmpfs', target: `${root}/probe`, options: [] }, options)]);
  canMount = probe.status === 'fulfilled';
  if (canMount) await programMounter.unmount(`${root}/probe`, options);
});

after(async () => {
  for (const { mountPoint } of [...(await programMounter.list())].reverse()) {
    if (mountPoint.startsWith(`${root}/`)) await programMounter.unmount(mountPoint, options);
  }
  await rm(root, { recursive: true, force: true });
});

function volumesIn(name: string): { readonly volumes: Volumes; readonly podDir: string } {
  const rootDir = `${root}/${name}`;
  const deps = { mounter: programMounter, clock: systemClock, random: systemRandom, log: silentLogger };
  return { volumes: new Volumes({ rootDir }, deps), podDir: `${rootDir}/pods/uid-1` };
}

async function mountsBelow(directory: string): Promise<readonly string[]> {
  return (await programMounter.list()).map((entry) => entry.mountPoint).filter((path) => path.startsWith(`${directory}/`));
}

test('L-316, C-391, C-392 a memory emptyDir is full at its limit, adopted by the next agent, gone after tear-down', async (t) => {
  if (!canMount) return t.skip('mounting is not allowed here');
  const { volumes, podDir } = volumesIn('memory');
  const pod = buildPod({
    containers: [buildContainer({ volumeMounts: [{ name: 'm', mountPath: '/m' }] })],
    volumes: [{ name: 'm', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } }],
  });
  await volumes.setUp(pod, buildNode(), options);
  const directory = `${podDir}/volumes/kubernetes.io~empty-dir/m`;
  assert.equal((await stat(directory)).mode & 0o7777, 0o777);
  await writeFile(`${directory}/small`, 'kept');
  await assert.rejects(writeFile(`${directory}/big`, Buffer.alloc(2 * 2 ** 20)), { code: 'ENOSPC' });
  await volumesIn('memory').volumes.setUp(pod, buildNode(), options);
  assert.equal(await readFile(`${directory}/small`, 'utf8'), 'kept');
  assert.equal((await mountsBelow(podDir)).length, 1);
  await volumesIn('memory').volumes.remove('uid-1', options);
  assert.deepEqual(await readdir(`${root}/memory/pods`), []);
});

test('L-237, L-238 a subpath is bound, reused by the next start, and shows what was checked', async (t) => {
  if (!canMount) return t.skip('mounting is not allowed here');
  const { volumes, podDir } = volumesIn('subpath');
  const container = buildContainer({
    volumeMounts: [
      { name: 'v', mountPath: '/d', subPath: 'dir' },
      { name: 'v', mountPath: '/f', subPath: 'file' },
    ],
  });
  const pod = buildPod({ containers: [container], volumes: [{ name: 'v', emptyDir: {} }] });
  await volumes.setUp(pod, buildNode(), options);
  const volume = `${podDir}/volumes/kubernetes.io~empty-dir/v`;
  await mkdir(`${volume}/dir`);
  await writeFile(`${volume}/dir/inside`, 'dir');
  await writeFile(`${volume}/file`, 'file');
  const [directory, file] = await volumes.mounts(pod, container, context, options);
  assert.equal(await readFile(`${directory?.hostPath}/inside`, 'utf8'), 'dir');
  assert.equal(await readFile(file?.hostPath ?? '', 'utf8'), 'file');
  await volumes.mounts(pod, container, context, options);
  assert.equal((await mountsBelow(podDir)).length, 2);
  // Another directory in its place: the old mount is stale.
  await rename(`${volume}/dir`, `${volume}/old`);
  await mkdir(`${volume}/dir`);
  await writeFile(`${volume}/dir/new`, '');
  await volumes.mounts(pod, container, context, options);
  assert.deepEqual(await readdir(directory?.hostPath ?? ''), ['new']);
  assert.equal((await mountsBelow(podDir)).length, 2);
  // An escape is refused even when the earlier path was fine.
  await rename(`${volume}/dir`, `${volume}/old2`);
  await symlink('/etc', `${volume}/dir`);
  await assert.rejects(volumes.mounts(pod, container, context, options), /failed to (create|prepare) subPath/);
  await volumes.remove('uid-1', options);
  assert.deepEqual(await readdir(`${root}/subpath/pods`), []);
});

test('L-237 a directory exchanged for a link in a loop never lets a subpath out', async (t) => {
  if (!canMount) return t.skip('mounting is not allowed here');
  const { volumes, podDir } = volumesIn('race');
  const container = buildContainer({ volumeMounts: [{ name: 'v', mountPath: '/d', subPath: 'a/secret' }] });
  const pod = buildPod({ containers: [container], volumes: [{ name: 'v', emptyDir: {} }] });
  await volumes.setUp(pod, buildNode(), options);
  const volume = `${podDir}/volumes/kubernetes.io~empty-dir/v`;
  await mkdir(`${root}/outside/secret`, { recursive: true });
  await writeFile(`${root}/outside/secret/leak`, '');
  await mkdir(`${volume}/real/secret`, { recursive: true });
  await symlink(`${root}/outside`, `${volume}/evil`);
  await rename(`${volume}/real`, `${volume}/a`);
  const racing = new AbortController();
  const attacker = (async () => {
    while (!racing.signal.aborted) {
      // Some fail, when the volume's owner was quicker.
      for (const [from, to] of [
        ['a', 'real'],
        ['evil', 'a'],
        ['a', 'evil'],
        ['real', 'a'],
      ]) {
        await Promise.allSettled([rename(`${volume}/${from}`, `${volume}/${to}`)]);
      }
    }
  })();
  for (let round = 0; round < 40; round++) {
    const [outcome] = await Promise.allSettled([volumes.mounts(pod, container, context, options)]);
    if (outcome.status === 'fulfilled') assert.deepEqual(await readdir(outcome.value[0]?.hostPath ?? ''), []);
  }
  racing.abort();
  await attacker;
  assert.deepEqual(await readdir(`${root}/outside/secret`), ['leak']);
  await volumes.remove('uid-1', options);
});

test('L-314, L-337 tear-down never deletes behind a mount made inside a volume', async (t) => {
  if (!canMount) return t.skip('mounting is not allowed here');
  const { volumes, podDir } = volumesIn('inner');
  const pod = buildPod({
    containers: [buildContainer({ volumeMounts: [{ name: 'v', mountPath: '/v' }] })],
    volumes: [{ name: 'v', emptyDir: {} }],
  });
  await volumes.setUp(pod, buildNode(), options);
  await mkdir(`${root}/precious`);
  await writeFile(`${root}/precious/data`, 'x');
  const inner = `${podDir}/volumes/kubernetes.io~empty-dir/v/with blank`;
  await mkdir(inner);
  await promisify(execFile)('mount', ['--bind', `${root}/precious`, inner]);
  assert.equal(await volumes.removeOrphan('uid-1', options), undefined);
  assert.deepEqual(await volumes.podUids(), []);
  assert.equal(await readFile(`${root}/precious/data`, 'utf8'), 'x');
});
