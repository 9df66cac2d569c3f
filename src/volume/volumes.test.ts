// On a real disk in a temporary folder; mounting is a fake here and real in volumes-real.test.ts.
import assert from 'node:assert/strict';
import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, readlink, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { buildNode } from '../../test/support/node-facts.ts';
import { buildContainer, buildPod } from '../../test/support/pods.ts';
import type { PodSpec, Volume, VolumeMount } from '../api/gen/kubernetes.ts';
import type { Pod } from '../api/pod.ts';
import { silentLogger } from '../std/log.ts';
import type { MountEntry, Mounter } from './mounter.ts';
import { parseMountInfo } from './mounter.ts';
import { shareFolder } from './shared-folder.ts';
import { VolumeError } from './volume-error.ts';
import { type ContainerMountContext, terminationLogName, Volumes } from './volumes.ts';

const never = new AbortController().signal;
const options = { signal: never };
const folders: string[] = [];
after(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

function entry(mountPoint: string, change: Partial<MountEntry> = {}): MountEntry {
  return { mountPoint, type: 'ext4', source: '', superOptions: [], isShared: false, ...change };
}

class FakeMounter implements Mounter {
  entries: MountEntry[] = [];
  readonly calls: string[] = [];
  /** What the next mounts are refused with. */
  refuse: (options: readonly string[]) => boolean = () => false;

  async list(): Promise<readonly MountEntry[]> {
    return this.entries;
  }
  async mount(request: { type: string; target: string; options: readonly string[] }): Promise<void> {
    this.calls.push(`mount ${request.type} ${request.options.join(',')}`);
    if (this.refuse(request.options)) throw new VolumeError('mount-failed', 'wrong fs type');
    this.entries = [...this.entries, entry(request.target, { type: request.type, superOptions: request.options })];
  }
  async bind(descriptor: number, target: string): Promise<void> {
    this.calls.push(`bind ${await readlink(`/proc/self/fd/${descriptor}`)}`);
    this.entries = [...this.entries, entry(target)];
  }
  async share(target: string): Promise<void> {
    this.calls.push(`share ${target}`);
  }
  async unmount(target: string): Promise<void> {
    this.calls.push(`unmount ${target}`);
    const index = this.entries.map((entry) => entry.mountPoint).lastIndexOf(target);
    this.entries = this.entries.filter((_, at) => at !== index);
  }
}

interface Setup {
  readonly root: string;
  readonly podDir: string;
  readonly mounter: FakeMounter;
  readonly clock: FakeClock;
  readonly volumes: Volumes;
}

async function setup(): Promise<Setup> {
  const root = await realpath(await mkdtemp(`${tmpdir()}/pinpod-volumes-`));
  folders.push(root);
  const mounter = new FakeMounter();
  const clock = new FakeClock();
  const volumes = new Volumes({ rootDir: root }, { mounter, clock, random: { next: () => 0.5 }, log: silentLogger });
  return { root, podDir: `${root}/pods/uid-1`, mounter, clock, volumes };
}

/** A Pod whose one container mounts every volume at `/<name>`. */
function podWith(
  volumes: readonly Volume[],
  spec: Partial<PodSpec> = {},
  metadata: Partial<Pod['metadata']> = {},
  mount: Partial<VolumeMount> = {},
): Pod {
  const volumeMounts = volumes.map(({ name }) => ({ name, mountPath: `/${name}`, ...mount }));
  return buildPod({ containers: [buildContainer({ volumeMounts })], volumes, ...spec }, metadata);
}

function context(change: Partial<ContainerMountContext> = {}): ContainerMountContext {
  return { node: buildNode(), attempt: 0, podIps: ['10.0.0.9'], envFiles: new Map(), imageVolumes: new Map(), ...change };
}

async function modeOf(path: string): Promise<number> {
  return (await stat(path)).mode & 0o7777;
}

test('L-315, L-319 emptyDir on disk: 0777 with a marker, kept at the next set-up, whatever the umask', async () => {
  const { podDir, volumes } = await setup();
  const pod = podWith([{ name: 'data', emptyDir: {} }]);
  const directory = `${podDir}/volumes/kubernetes.io~empty-dir/data`;
  await volumes.setUp(pod, buildNode(), options);
  assert.equal(await modeOf(directory), 0o777);
  assert.equal(await modeOf(podDir), 0o750);
  assert.deepEqual(await readdir(`${podDir}/plugins/kubernetes.io~empty-dir/data`), ['ready']);
  await writeFile(`${directory}/kept`, 'x');
  await chmod(directory, 0o700);
  await volumes.setUp(pod, buildNode(), options);
  assert.equal(await readFile(`${directory}/kept`, 'utf8'), 'x');
  assert.equal(await modeOf(directory), 0o700, 'trusted because of the marker');
});

test('L-308, L-309 a volume that nobody mounts is not set up and cannot fail the Pod', async () => {
  const { podDir, volumes } = await setup();
  const pod = buildPod({
    volumes: [
      { name: 'a', emptyDir: {} },
      { name: 'b', hostPath: { path: '/none', type: 'Directory' } },
    ],
  });
  await volumes.setUp(pod, buildNode(), options);
  assert.deepEqual(await readdir(podDir), []);
});

for (const [title, sizeLimit, memory, expected] of [
  ['node allocatable', undefined, undefined, 7 * 2 ** 30],
  ['the Pod’s memory limit', undefined, '1Gi', 2 ** 30],
  ['sizeLimit', '64Mi', '1Gi', 64 * 2 ** 20],
  ['the smaller one', '2Gi', '1Gi', 2 ** 30],
] as const) {
  test(`L-316, C-392 memory emptyDir has the size of ${title}`, async () => {
    const { volumes, mounter } = await setup();
    const pod = podWith([{ name: 'm', emptyDir: { medium: 'Memory', ...(sizeLimit !== undefined && { sizeLimit }) } }], {
      ...(memory !== undefined && { resources: { limits: { memory } } }),
    });
    await volumes.setUp(pod, buildNode(), options);
    await volumes.setUp(pod, buildNode(), options);
    assert.deepEqual(mounter.calls, [`mount tmpfs size=${expected},noswap`]);
  });
}

test('L-316 a kernel without noswap is asked once', async () => {
  const { volumes, mounter } = await setup();
  mounter.refuse = (wanted) => wanted.includes('noswap');
  for (const uid of ['uid-1', 'uid-2']) {
    await volumes.setUp(podWith([{ name: 'm', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } }], {}, { uid }), buildNode(), options);
  }
  assert.deepEqual(mounter.calls, ['mount tmpfs size=1048576,noswap', 'mount tmpfs size=1048576', 'mount tmpfs size=1048576']);
});

test('L-319 a tmpfs that a reboot took is mounted again', async () => {
  const { volumes, mounter } = await setup();
  const pod = podWith([{ name: 'm', emptyDir: { medium: 'Memory' } }]);
  await volumes.setUp(pod, buildNode(), options);
  mounter.entries = [];
  await volumes.setUp(pod, buildNode(), options);
  assert.equal(mounter.calls.length, 2);
});

test('L-317, C-359 huge pages: the size of the medium, of the one request, a mismatch', async () => {
  const requests = {
    containers: [buildContainer({ volumeMounts: [{ name: 'h', mountPath: '/h' }], resources: { requests: { 'hugepages-2Mi': '4Mi' } } })],
  };
  const { volumes, mounter } = await setup();
  await volumes.setUp(podWith([{ name: 'h', emptyDir: { medium: 'HugePages' } }], requests), buildNode(), options);
  assert.deepEqual(mounter.calls, [`mount hugetlbfs pagesize=${2 ** 21}`]);
  mounter.entries = mounter.entries.map((entry) => ({ ...entry, superOptions: ['rw', 'pagesize=2M'] }));
  await volumes.setUp(podWith([{ name: 'h', emptyDir: { medium: 'HugePages-2Mi' } }], requests), buildNode(), options);
  const other = volumes.setUp(podWith([{ name: 'h', emptyDir: { medium: 'HugePages-1Gi' } }], requests), buildNode(), options);
  await assert.rejects(other, /requested medium size '1073741824' differ/);
  const none = volumes.setUp(podWith([{ name: 'h', emptyDir: { medium: 'HugePages' } }], {}, { uid: 'uid-2' }), buildNode(), options);
  await assert.rejects(none, /exactly one huge page size/);
});

test('L-333, C-396 fsGroup owns the volume with setgid and group bits', async () => {
  const { podDir, volumes } = await setup();
  await volumes.setUp(podWith([{ name: 'data', emptyDir: {} }], { securityContext: { fsGroup: 2000 } }), buildNode(), options);
  const info = await stat(`${podDir}/volumes/kubernetes.io~empty-dir/data`);
  assert.deepEqual([info.gid, info.mode & 0o7777], [2000, 0o2777]);
});

test('L-334 fsGroupChangePolicy changes nothing', async () => {
  const { podDir, volumes } = await setup();
  const securityContext = { fsGroup: 2000, fsGroupChangePolicy: 'OnRootMismatch' as const };
  await volumes.setUp(podWith([{ name: 'data', emptyDir: {} }], { securityContext }), buildNode(), options);
  assert.equal((await stat(`${podDir}/volumes/kubernetes.io~empty-dir/data`)).gid, 2000);
});

test('L-054 the folders of a Pod are nobody else’s', async () => {
  const { podDir, volumes } = await setup();
  await volumes.setUp(podWith([{ name: 'data', emptyDir: {} }]), buildNode(), options);
  for (const folder of ['', '/volumes', '/plugins']) assert.equal((await stat(`${podDir}${folder}`)).mode & 0o7777, 0o750, folder);
});

test('L-320, L-321, C-393 hostPath types: matching, missing, mismatching', async () => {
  const { root, volumes } = await setup();
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(`${root}/socket`, resolve));
  await mkdir(`${root}/dir`);
  await writeFile(`${root}/file`, '');
  await symlink('dir', `${root}/link`);
  const rows: readonly (readonly [string, string, RegExp | undefined])[] = [
    ['', 'missing', undefined],
    ['Directory', 'dir', undefined],
    ['Directory', 'link', undefined],
    ['Directory', 'file', /file is not a directory/],
    ['Directory', 'missing', /missing is not a directory/],
    ['DirectoryOrCreate', 'new/deep', undefined],
    ['DirectoryOrCreate', 'file', /file is not a directory/],
    ['File', 'file', undefined],
    ['File', 'dir', /dir is not a file/],
    ['FileOrCreate', 'newfile', undefined],
    ['FileOrCreate', 'none/newfile', /ENOENT/],
    ['Socket', 'socket', undefined],
    ['Socket', 'file', /file is not a socket file/],
    ['CharDevice', '../../dev/null', /must not contain/],
    ['CharDevice', 'file', /file is not a character device/],
    ['BlockDevice', 'file', /file is not a block device/],
    ['Nonsense', 'file', /Nonsense is an invalid volume type/],
  ];
  try {
    for (const [type, path, expected] of rows) {
      const pod = podWith([{ name: 'h', hostPath: { path: `${root}/${path}`, type } }]);
      const done = volumes.setUp(pod, buildNode(), options);
      if (expected === undefined) await done;
      else await assert.rejects(done, expected, `${type} ${path}`);
    }
    await volumes.setUp(podWith([{ name: 'h', hostPath: { path: '/dev/null', type: 'CharDevice' } }]), buildNode(), options);
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
  assert.equal(await modeOf(`${root}/new`), 0o755);
  assert.equal(await modeOf(`${root}/new/deep`), 0o755);
  assert.equal(await modeOf(`${root}/newfile`), 0o644);
  await assert.rejects(stat(`${root}/missing`), { code: 'ENOENT' });
});

test('L-310, L-311 every failed volume is named, the others are set up', async () => {
  const { podDir, volumes } = await setup();
  const pod = podWith([
    { name: 'good', emptyDir: {} },
    { name: 'bad', hostPath: { path: '/none', type: 'File' } },
    { name: 'net', nfs: { server: 's', path: '/' } },
  ]);
  await assert.rejects(volumes.setUp(pod, buildNode(), options), (error: unknown) => {
    assert.ok(error instanceof VolumeError);
    assert.equal(error.reason, 'FailedMount');
    assert.match(error.message, /^unmounted volumes=\[bad net\], unattached volumes=\[\], failed to process volumes=\[\]: /);
    assert.deepEqual(error.failures, [
      'MountVolume.SetUp failed for volume "bad" : hostPath type check failed: /none is not a file',
      'MountVolume.SetUp failed for volume "net" : no volume plugin matched: nfs is not supported',
    ]);
    return true;
  });
  assert.ok((await stat(`${podDir}/volumes/kubernetes.io~empty-dir/good`)).isDirectory());
});

const downward: Volume = {
  name: 'info',
  downwardAPI: {
    defaultMode: 0o440,
    items: [
      { path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } },
      { path: 'deep/cpu', resourceFieldRef: { containerName: 'app', resource: 'limits.cpu' }, mode: 0o400 },
    ],
  },
};

test('L-322 … L-327, C-394 downwardAPI: layout, modes, atomic update, nothing done when equal', async () => {
  const { podDir, volumes, clock, mounter } = await setup();
  const directory = `${podDir}/volumes/kubernetes.io~downward-api/info`;
  const labelled = (labels: Record<string, string>): Pod => podWith([downward], {}, { labels });
  await volumes.setUp(labelled({ b: 'say "hi"\n', a: '1' }), buildNode(), options);
  assert.deepEqual(mounter.calls, [`mount tmpfs size=${7 * 2 ** 30},noswap`]);
  const first = await readlink(`${directory}/..data`);
  assert.match(first, /^\.\.2026_01_01_00_00_00\.\d+$/);
  assert.deepEqual((await readdir(directory)).sort(), ['..data', first, 'deep', 'labels'].sort());
  assert.equal(await readlink(`${directory}/labels`), '..data/labels');
  assert.equal(await readFile(`${directory}/labels`, 'utf8'), 'a="1"\nb="say \\"hi\\"\\n"');
  assert.equal(await readFile(`${directory}/deep/cpu`, 'utf8'), '4');
  assert.deepEqual([await modeOf(`${directory}/labels`), await modeOf(`${directory}/deep/cpu`)], [0o440, 0o400]);
  await volumes.refresh(labelled({ a: '1', b: 'say "hi"\n' }), buildNode(), options);
  assert.equal(await readlink(`${directory}/..data`), first, 'equal payload');
  await clock.advance(1000);
  await volumes.refresh(labelled({ a: '2' }), buildNode(), options);
  const second = await readlink(`${directory}/..data`);
  assert.notEqual(second, first);
  assert.equal(await readFile(`${directory}/labels`, 'utf8'), 'a="2"');
  assert.deepEqual((await readdir(directory)).sort(), ['..data', second, 'deep', 'labels'].sort());
  assert.equal(mounter.calls.length, 1);
});

test('L-325 (difference) projected volumes with downwardAPI sources work without an API server; L-333 their group', async () => {
  const { podDir, volumes } = await setup();
  const sources = [{ downwardAPI: { items: [{ path: 'name', fieldRef: { fieldPath: 'metadata.name' } }] } }];
  await volumes.setUp(podWith([{ name: 'p', projected: { sources } }], { securityContext: { fsGroup: 2000 } }), buildNode(), options);
  const directory = `${podDir}/volumes/kubernetes.io~projected/p`;
  assert.equal(await readFile(`${directory}/name`, 'utf8'), 'web-node1');
  const file = await stat(`${directory}/name`);
  assert.deepEqual([file.gid, file.mode & 0o7777, (await stat(directory)).gid], [2000, 0o644, 2000]);
  const withToken = podWith([{ name: 'p', projected: { sources: [{ serviceAccountToken: { path: 't' } }] } }]);
  await assert.rejects(volumes.setUp(withToken, buildNode(), options), /serviceAccountToken, which needs an API server/);
});

for (const [path, why] of [
  ['', 'not empty'],
  ['/abs', 'relative'],
  ['a/../b', "'..'"],
  ['..hidden', "'..'"],
  ['x'.repeat(256), '255 bytes'],
  ['x/'.repeat(2049), '4096 bytes'],
] as const) {
  test(`L-328 payload path ${JSON.stringify(path.slice(0, 10))} is refused`, async () => {
    const { volumes } = await setup();
    const volume = { name: 'i', downwardAPI: { items: [{ path, fieldRef: { fieldPath: 'metadata.name' } }] } };
    await assert.rejects(
      volumes.setUp(podWith([volume]), buildNode(), options),
      (error: unknown) => error instanceof VolumeError && error.message.includes(why),
    );
  });
}

test('L-232, L-240, L-244, L-245 mounts: volumes in order, hosts file, termination log', async () => {
  const { podDir, volumes } = await setup();
  const container = buildContainer({
    terminationMessagePath: '/dev/termination-log',
    volumeMounts: [
      { name: 'b', mountPath: 'relative' },
      { name: 'a', mountPath: '/a', readOnly: true },
      { name: 'info', mountPath: '/info' },
    ],
  });
  const pod = buildPod({
    containers: [container],
    volumes: [{ name: 'a', emptyDir: {} }, { name: 'b', hostPath: { path: '/srv' } }, downward],
  });
  const mounts = await volumes.mounts(pod, container, context({ attempt: 18, node: buildNode({ seLinux: true }) }), options);
  assert.deepEqual(
    mounts.map((mount) => [mount.containerPath, mount.hostPath, mount.readonly, mount.seLinuxRelabel]),
    [
      ['/relative', '/srv', false, false],
      ['/a', `${podDir}/volumes/kubernetes.io~empty-dir/a`, true, true],
      ['/info', `${podDir}/volumes/kubernetes.io~downward-api/info`, true, true],
      ['/etc/hosts', `${podDir}/etc-hosts`, false, true],
      ['/dev/termination-log', `${podDir}/containers/app/00000012`, false, true],
    ],
  );
  assert.equal(await modeOf(`${podDir}/etc-hosts`), 0o644);
  assert.equal(await modeOf(`${podDir}/containers/app/00000012`), 0o666);
  assert.match(await readFile(`${podDir}/etc-hosts`, 'utf8'), /10\.0\.0\.9\tweb-node1\n$/);
});

test('L-240 no hosts file where the container mounts its own, or where no address is known', async () => {
  const { volumes } = await setup();
  const own = buildContainer({ volumeMounts: [{ name: 'h', mountPath: '/etc/hosts' }] });
  const pod = buildPod({ containers: [own], volumes: [{ name: 'h', hostPath: { path: '/etc/hosts' } }] });
  assert.equal((await volumes.mounts(pod, own, context(), options)).length, 1);
  const plain = buildContainer();
  assert.deepEqual(await volumes.mounts(buildPod(), plain, context({ podIps: [] }), options), []);
});

test('L-244 termination logs of a crash loop do not pile up', async () => {
  const { podDir, volumes } = await setup();
  const container = buildContainer({ terminationMessagePath: '/t' });
  for (let attempt = 0; attempt < 20; attempt++) await volumes.mounts(buildPod(), container, context({ attempt }), options);
  const kept = [14, 15, 16, 17, 18, 19].map(terminationLogName);
  assert.deepEqual((await readdir(`${podDir}/containers/app`)).sort(), kept);
});

for (const [title, mount, handler, expected] of [
  ['none', {}, false, ['private', false]],
  ['HostToContainer (L-234, C-367)', { mountPropagation: 'HostToContainer' }, false, ['hostToContainer', false]],
  ['Bidirectional (L-234, C-367)', { mountPropagation: 'Bidirectional' }, false, ['bidirectional', false]],
  ['other propagation', { mountPropagation: 'Nonsense' }, false, /invalid MountPropagation mode: "Nonsense"/],
  ['Disabled', { readOnly: true, recursiveReadOnly: 'Disabled' }, true, ['private', false]],
  ['IfPossible, possible', { readOnly: true, recursiveReadOnly: 'IfPossible' }, true, ['private', true]],
  ['IfPossible, not possible', { readOnly: true, recursiveReadOnly: 'IfPossible' }, false, ['private', false]],
  ['Enabled', { readOnly: true, recursiveReadOnly: 'Enabled' }, true, ['private', true]],
  [
    'Enabled, not supported',
    { readOnly: true, recursiveReadOnly: 'Enabled' },
    false,
    /volume "v" requested recursive read-only mode, but it is not supported by the runtime/,
  ],
  ['Enabled, writable', { recursiveReadOnly: 'Enabled' }, true, /not read-only/],
  [
    'Enabled, with propagation',
    { readOnly: true, recursiveReadOnly: 'Enabled', mountPropagation: 'HostToContainer' },
    true,
    /not compatible/,
  ],
] as const) {
  test(`L-235, C-366 propagation and recursive read-only: ${title}`, async () => {
    const { volumes } = await setup();
    const pod = podWith([{ name: 'v', hostPath: { path: '/srv' } }], {}, {}, mount);
    const node = buildNode({ runtimeHandlers: [{ name: '', recursiveReadOnlyMounts: handler, userNamespaces: false }] });
    const done = volumes.mounts(pod, pod.spec.containers[0] ?? buildContainer(), context({ node }), options);
    if (expected instanceof RegExp) {
      await assert.rejects(done, expected);
      return;
    }
    const [first] = await done;
    assert.deepEqual([first?.propagation, first?.recursiveReadOnly], expected);
  });
}

test('L-233 an unknown volume is an error with the container’s reason', async () => {
  const { volumes } = await setup();
  const container = buildContainer({ volumeMounts: [{ name: 'none', mountPath: '/x' }] });
  await assert.rejects(volumes.mounts(buildPod({ containers: [container] }), container, context(), options), {
    reason: 'CreateContainerConfigError',
    message: 'cannot find volume "none" to mount into container "app"',
  });
});

test('L-239, L-331 image volumes are the runtime’s to mount', async () => {
  const { volumes } = await setup();
  const pod = podWith([{ name: 'img', image: { reference: 'example/data:1' } }], {}, {}, { subPath: 'sub/dir' });
  const container = pod.spec.containers[0] ?? buildContainer();
  await volumes.setUp(pod, buildNode(), options);
  const [mount] = await volumes.mounts(pod, container, context({ imageVolumes: new Map([['img', 'sha256:abc']]) }), options);
  assert.deepEqual(mount, {
    containerPath: '/img',
    hostPath: '',
    readonly: true,
    seLinuxRelabel: false,
    propagation: 'private',
    recursiveReadOnly: false,
    image: { image: 'sha256:abc', userSpecifiedImage: 'example/data:1', runtimeHandler: '', annotations: {} },
    imageSubPath: 'sub/dir',
  });
  await assert.rejects(volumes.mounts(pod, container, context(), options), /is not pulled yet/);
  for (const [imageVolumes, message] of [
    ['none', 'volume "img": this runtime cannot mount images'],
    ['whole', 'volume "img": this runtime cannot mount a subPath of an image'],
  ] as const) {
    const refused = volumes.mounts(pod, container, context({ node: buildNode({ imageVolumes }) }), options);
    await assert.rejects(refused, { reason: 'CreateContainerConfigError', message });
  }
});

/** A Pod with an emptyDir `v`, mounted with a subpath; `fill` puts content into the volume. */
async function subPathCase(subPath: string, fill: (volume: string) => Promise<void> = async () => undefined) {
  const made = await setup();
  const pod = podWith([{ name: 'v', emptyDir: {} }], {}, {}, { subPath });
  await made.volumes.setUp(pod, buildNode(), options);
  const volume = `${made.podDir}/volumes/kubernetes.io~empty-dir/v`;
  await fill(volume);
  const container = pod.spec.containers[0] ?? buildContainer();
  const mounts = (): Promise<readonly { hostPath: string }[]> => made.volumes.mounts(pod, container, context(), options);
  return { ...made, volume, mounts, target: `${made.podDir}/volume-subpaths/v/app/0` };
}

test('L-236, C-368 a missing subpath is made with the mode of the volume', async () => {
  const { volume, mounts, mounter, target } = await subPathCase('a/b');
  assert.equal((await mounts())[0]?.hostPath, target);
  assert.deepEqual([await modeOf(`${volume}/a`), await modeOf(`${volume}/a/b`)], [0o777, 0o777]);
  assert.deepEqual(mounter.calls, [`bind ${volume}/a/b`]);
});

test('L-237 a file and a link inside the volume can be a subpath', async () => {
  const { volume, mounts, mounter, target } = await subPathCase('link/file', async (directory) => {
    await mkdir(`${directory}/real`);
    await writeFile(`${directory}/real/file`, '');
    await symlink('real', `${directory}/link`);
  });
  await mounts();
  assert.deepEqual(mounter.calls, [`bind ${volume}/real/file`]);
  assert.ok((await lstat(target)).isFile());
});

for (const [title, link] of [
  ['an absolute link', '/etc'],
  ['a link upwards', '../../../../..'],
  ['a dangling link', '/nowhere/at/all'],
] as const) {
  test(`L-237, C-368 ${title} does not lead out of the volume`, async () => {
    const { mounts, mounter } = await subPathCase('link/made', async (directory) => await symlink(link, `${directory}/link`));
    await assert.rejects(mounts(), {
      reason: 'CreateContainerConfigError',
      message: 'failed to create subPath directory for volumeMount "v" of container "app"',
    });
    assert.deepEqual(mounter.calls, []);
  });
}

for (const [subPath, expected] of [
  ['/abs', 'error SubPath `/abs` must not be an absolute path'],
  ['a/../b', "unable to provision SubPath `a/../b`: must not contain '..'"],
] as const) {
  test(`L-236 subPath ${subPath} is refused`, async () => {
    const { mounts } = await subPathCase(subPath);
    await assert.rejects(mounts(), { message: expected });
  });
}

test('L-236, C-368 subPathExpr is expanded, unknown variables are refused', async () => {
  const { volumes, podDir, mounter } = await setup();
  const pod = podWith([{ name: 'v', emptyDir: {} }], {}, {}, { subPathExpr: '$(NAME)/x' });
  await volumes.setUp(pod, buildNode(), options);
  const container = buildContainer({ ...pod.spec.containers[0], env: [{ name: 'NAME', value: 'n' }] });
  await volumes.mounts(pod, container, context(), options);
  assert.deepEqual(mounter.calls, [`bind ${podDir}/volumes/kubernetes.io~empty-dir/v/n/x`]);
  await assert.rejects(volumes.mounts(pod, { ...container, env: [] }, context(), options), { message: 'missing value for NAME' });
});

test('L-238 a stale bind mount is replaced', async () => {
  const { mounts, mounter, target } = await subPathCase('a');
  await mounts();
  // The fake mount shows the placeholder, which is another directory than the subpath.
  await mounts();
  assert.deepEqual(
    mounter.calls.map((call) => call.split(' ')[0]),
    ['bind', 'unmount', 'bind'],
  );
  assert.equal(mounter.entries.filter((entry) => entry.mountPoint === target).length, 1);
});

test('L-230, C-395 env files are read inside the volume only', async () => {
  const { volumes, podDir } = await setup();
  const ref = (path: string, key: string) => ({ name: key, valueFrom: { fileKeyRef: { volumeName: 'v', path, key } } });
  const container = buildContainer({
    volumeMounts: [{ name: 'v', mountPath: '/v' }],
    env: [ref('env', 'A'), ref('out', 'B'), ref('none', 'C'), ref('dir', 'D')],
  });
  const pod = buildPod({ containers: [container], volumes: [{ name: 'v', emptyDir: {} }] });
  await volumes.setUp(pod, buildNode(), options);
  const directory = `${podDir}/volumes/kubernetes.io~empty-dir/v`;
  await writeFile(`${directory}/env`, "A='1'\n");
  await mkdir(`${directory}/dir`);
  await symlink('/etc/passwd', `${directory}/out`);
  assert.deepEqual(
    [...(await volumes.envFiles(pod, container))],
    [
      ['v/env', "A='1'\n"],
      ['v/out', undefined],
      ['v/none', undefined],
      ['v/dir', undefined],
    ],
  );
});

test('L-314, C-391 removal unmounts newest first and deletes everything; repeating it is fine', async () => {
  const { root, volumes, mounter } = await setup();
  const pod = podWith([
    { name: 'm', emptyDir: { medium: 'Memory' } },
    { name: 'd', emptyDir: {} },
  ]);
  await volumes.setUp(pod, buildNode(), options);
  await volumes.mounts(pod, pod.spec.containers[0] ?? buildContainer(), context(), options);
  await volumes.remove('uid-1', options);
  assert.deepEqual(mounter.entries, []);
  assert.deepEqual(await readdir(`${root}/pods`), []);
  await volumes.remove('uid-1', options);
});

test('L-065 tear-down takes the volumes and frees the ids; what tells of the containers stays until the Pod is removed', async () => {
  const { root, podDir, volumes, mounter } = await setup();
  const pod = podWith([
    { name: 'm', emptyDir: { medium: 'Memory' } },
    { name: 'd', emptyDir: {} },
  ]);
  await volumes.setUp(pod, buildNode(), options);
  await volumes.mounts(pod, pod.spec.containers[0] ?? buildContainer(), context(), options);
  await mkdir(`${podDir}/containers/app`, { recursive: true });
  for (const name of ['status.json', 'userns', 'containers/app/00000000']) await writeFile(`${podDir}/${name}`, '{}');
  for (let round = 0; round < 2; round++) {
    await volumes.tearDown('uid-1', options);
    assert.deepEqual(mounter.entries, []);
    assert.deepEqual((await readdir(podDir)).sort(), ['containers', 'status.json']);
    assert.deepEqual(await readdir(`${root}/pods`), ['uid-1']);
  }
  // Died after the volumes were moved away.
  await mkdir(`${root}/pods/.removing-uid-1/kubernetes.io~empty-dir/d`, { recursive: true });
  await volumes.setUp(pod, buildNode(), options);
  await volumes.tearDown('uid-1', options);
  await volumes.remove('uid-1', options);
  assert.deepEqual(await readdir(`${root}/pods`), []);
});

test('tear-down deletes nothing while something cannot be unmounted', async () => {
  const { podDir, volumes, mounter } = await setup();
  const pod = podWith([{ name: 'd', emptyDir: {} }]);
  await volumes.setUp(pod, buildNode(), options);
  const directory = `${podDir}/volumes/kubernetes.io~empty-dir/d`;
  await writeFile(`${directory}/data`, 'x');
  mounter.entries = [entry(`${directory}/inner`)];
  mounter.unmount = async () => {
    throw new VolumeError('mount-failed', 'target is busy');
  };
  await assert.rejects(volumes.tearDown('uid-1', options), /target is busy/);
  await assert.rejects(volumes.remove('uid-1', options), /target is busy/);
  assert.equal(await readFile(`${directory}/data`, 'utf8'), 'x');
});

for (const uid of ['', '.', '..', '../x', 'a/b', '.removing-x']) {
  test(`a UID of ${JSON.stringify(uid)} never names a folder`, async () => {
    const { volumes } = await setup();
    await assert.rejects(volumes.remove(uid, options), /cannot name a folder/);
  });
}

test('L-312, L-337, L-338, C-397 orphans: ours go, interrupted deletions are finished, foreign data stays and is reported', async () => {
  const { root, volumes } = await setup();
  for (const uid of ['known', 'gone']) {
    await volumes.setUp(podWith([{ name: 'd', emptyDir: {} }], {}, { uid }), buildNode(), options);
    await writeFile(`${root}/pods/${uid}/volumes/kubernetes.io~empty-dir/d/x`, '');
  }
  await mkdir(`${root}/pods/.removing-half/volumes`, { recursive: true });
  await mkdir(`${root}/pods/strange/volumes`, { recursive: true });
  await writeFile(`${root}/pods/strange/volumes/file`, 'data');
  await mkdir(`${root}/pods/csi/volumes/kubernetes.io~csi/disk`, { recursive: true });
  await volumes.finishRemovals(options);
  assert.deepEqual([...(await volumes.podUids())].sort(), ['csi', 'gone', 'known', 'strange']);
  assert.deepEqual(await Promise.all(['gone', 'csi', 'strange'].map((uid) => volumes.removeOrphan(uid, options))), [
    undefined,
    'orphaned pod "csi" found, but volumes of kubernetes.io~csi are still there',
    'orphaned pod "strange" found, but file under its volumes is not a folder',
  ]);
  assert.deepEqual((await readdir(`${root}/pods`)).sort(), ['csi', 'known', 'strange']);
  assert.equal(await readFile(`${root}/pods/strange/volumes/file`, 'utf8'), 'data');
});

test('mountinfo: escapes, optional fields, options', () => {
  const text = '36 35 98:0 /m /a\\040b rw,noatime shared:1 master:2 - tmpfs so\\134urce rw,size=64k\n\nnonsense\n';
  const found = entry('/a b', { type: 'tmpfs', source: 'so\\urce', superOptions: ['rw', 'size=64k'], isShared: true });
  assert.deepEqual(parseMountInfo(text), [found]);
  assert.equal(parseMountInfo(text.replace('shared:1 ', ''))[0]?.isShared, false);
});

for (const [title, mounts, calls] of [
  ['on a shared /', [entry('/', { isShared: true })], []],
  ['on a private /', [entry('/')], ['bind', 'share']],
  [
    'on a private disk above it',
    [entry('/', { isShared: true }), entry('PARENT'), entry('PARENT-other', { isShared: true })],
    ['bind', 'share'],
  ],
  ['on a shared disk above it', [entry('/'), entry('PARENT', { isShared: true })], []],
  ['a private disk itself, or left by a death between the two steps', [entry('/'), entry('ROOT')], ['share']],
  ['shared already', [entry('/'), entry('ROOT'), entry('ROOT', { isShared: true }), entry('ROOT/pods/x')], []],
  ['with a mount inside, which would be hidden', [entry('/'), entry('ROOT/pods/x')], []],
] as const) {
  test(`L-008 the root folder is made a shared mount: ${title}`, async () => {
    const { root, mounter } = await setup();
    const place = (path: string): string => path.replace('ROOT', root).replace('PARENT', path.includes('PARENT') ? tmpdir() : '');
    mounter.entries = mounts.map((one) => ({ ...one, mountPoint: place(one.mountPoint) }));
    await shareFolder(root, { mounter, log: silentLogger }, options);
    assert.deepEqual(
      mounter.calls,
      calls.map((call) => `${call} ${root}`),
    );
  });
}

test('L-008 a machine that does not let it be mounted is no reason not to start', async () => {
  const { root, mounter } = await setup();
  mounter.share = async () => {
    throw new VolumeError('mount-failed', 'permission denied');
  };
  await shareFolder(root, { mounter, log: silentLogger }, options);
  assert.deepEqual(mounter.calls, [`bind ${root}`]);
});
