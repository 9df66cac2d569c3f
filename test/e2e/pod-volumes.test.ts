// Volumes and huge pages of the whole agent on real containerd, on a machine whose mounts are private: what does not
// come with the machine the agent must make. Scenarios of spec 02, section 13, by number.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Container, Node, Pod, PodSpec, Volume } from '../../src/api/gen/kubernetes.ts';
import { runProgram } from '../../src/std/process.ts';
import { offlineImages, whyNoContainerd } from '../support/containerd.ts';
import { eventually, OwnMounts, options, TestAgent, uidOf } from '../support/test-agent.ts';

const forever = 'trap "exit 0" TERM; while :; do sleep 1000 & wait; done';

function box(script: string, change: Partial<Container> = {}): Container {
  const command = ['sh', '-c', `${script}\n${forever}`];
  return { name: 'app', image: offlineImages.busybox, imagePullPolicy: 'IfNotPresent', command, ...change };
}

function spec(containers: readonly Container[], volumes: readonly Volume[] = [], change: Partial<PodSpec> = {}): PodSpec {
  return { terminationGracePeriodSeconds: 2, containers, volumes, ...change };
}

const mib = 2 ** 20;
const isUnified = existsSync('/sys/fs/cgroup/cgroup.controllers');
const hugePages = '/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages';

/** Sets some huge pages of 2 MiB aside; answers how many there were, or why it cannot be done. */
function takeHugePages(count: number): number | string {
  if (!existsSync(hugePages)) return 'the kernel has no huge pages of 2 MiB';
  const before = Number(readFileSync(hugePages, 'utf8'));
  writeFileSync(hugePages, String(before + count));
  const found = Number(readFileSync(hugePages, 'utf8'));
  if (found >= before + count) return before;
  writeFileSync(hugePages, String(before));
  return `only ${found - before} of ${count} huge pages could be set aside`;
}

describe('volumes, where mounts are private', { skip: whyNoContainerd() ?? false }, () => {
  const mounts = new OwnMounts();
  const agent = new TestAgent({
    launcher: mounts.launcher,
    kubelet: {
      evictionPressureTransitionPeriod: '1s',
      enforceNodeAllocatable: ['pods'],
      kubeReserved: { cpu: '100m', memory: '512Mi', pid: '1000' },
    },
    agent: { criticalPods: 'byPriority' },
  });
  const host = path.join(agent.dir, 'host');
  const volumeDir = (pod: Pod, name: string, plugin = 'empty-dir'): string =>
    path.join(agent.rootDir, 'pods', uidOf(pod), 'volumes', `kubernetes.io~${plugin}`, name);
  const isOver = (pod: Pod): boolean => pod.status?.phase === 'Failed' || pod.status?.phase === 'Succeeded';
  let socket: Server;
  let pages: number | string;

  before(async () => {
    await mounts.start('private');
    await agent.configure();
    mkdirSync(path.join(host, 'dir'), { recursive: true });
    writeFileSync(path.join(host, 'file'), 'a file');
    await runProgram('mknod', [path.join(host, 'disk'), 'b', '7', '200'], options);
    socket = createServer().listen(path.join(host, 'socket'));
    pages = takeHugePages(8);
    await agent.start();
  });
  after(async () => {
    await agent.destroy();
    mounts.stop();
    if (typeof pages === 'number') writeFileSync(hugePages, String(pages));
    socket.close();
  });

  it('L-008, L-234, C-367 a mount made in a container is seen on the node and in another Pod, over kill -9 of the agent', async () => {
    const pods = { name: 'pods', hostPath: { path: path.join(agent.rootDir, 'pods') } };
    agent.putPod(
      'watcher',
      spec([box('', { volumeMounts: [{ name: 'pods', mountPath: '/pods', mountPropagation: 'HostToContainer' }] })], [pods]),
    );
    await agent.ready('watcher');
    const maker = box('mkdir -p /v/own && mount -t tmpfs own /v/own && touch /v/own/made', {
      securityContext: { privileged: true },
      volumeMounts: [{ name: 'v', mountPath: '/v', mountPropagation: 'Bidirectional' }],
    });
    agent.putPod('maker', spec([maker], [{ name: 'v', emptyDir: {} }]));
    const pod = await agent.ready('maker');
    const own = path.join(volumeDir(pod, 'v'), 'own');
    const seen = `/pods/${path.relative(path.join(agent.rootDir, 'pods'), own)}`;
    await eventually(agent, 'seen on the node', async () => ((await agent.beside('ls', own)).trim() === 'made' ? true : undefined));
    assert.equal(await agent.exec('watcher', 'app', `ls ${seen}`), 'made');
    await agent.end('SIGKILL');
    await agent.start();
    // Once more is not twice.
    const points = (await agent.beside('cat', '/proc/self/mountinfo')).split('\n').map((line) => line.split(' ')[4]);
    assert.deepEqual(
      points.filter((point) => point === agent.rootDir),
      [agent.rootDir],
    );
    agent.remove('maker.json');
    await agent.gone('maker');
    await eventually(agent, 'no trace of it', () => (existsSync(volumeDir(pod, 'v')) ? undefined : true));
    assert.match(await agent.exec('watcher', 'app', `ls ${seen}`), /No such file/);
    agent.remove('watcher.json');
    await agent.gone('watcher');
  });

  it('L-301, L-302, L-304, C-371, C-376 all Pods together get what the node has less what is reserved', async () => {
    const { items } = (await agent.client.json('/api/v1/nodes', options)) as { readonly items: readonly Node[] };
    const { capacity = {}, allocatable = {} } = items[0]?.status ?? {};
    const hugeBytes = typeof pages === 'number' ? (pages + 8) * 2 * mib : 0;
    const bytes = os.totalmem() - 512 * mib - hugeBytes;
    assert.equal(Number.parseInt(String(allocatable['cpu']), 10), Number(capacity['cpu']) * 1000 - 100);
    const all = `${agent.cgroupRoot}/kubepods`;
    const read = (v1: string, v2: string, group = all): readonly string[] =>
      cgroupFiles(group, new RegExp(`^(?:${v1}|${v2})$`.replaceAll('.', '\\.'))).map((file) => readFileSync(file, 'utf8').trim());
    assert.deepEqual(read('memory.limit_in_bytes', 'memory.max'), [String(bytes)]);
    assert.equal(read('pids.max', 'pids.max').length, 1);
    assert.notEqual(read('pids.max', 'pids.max')[0], 'max');
    assert.deepEqual(read('cpu.shares', 'cpu.weight', `${all}/besteffort`), [isUnified ? '1' : '2']);
    const events = (await agent.client.json('/api/v1/events', options)) as {
      readonly items: readonly { readonly reason?: string; readonly involvedObject?: { readonly kind?: string } }[];
    };
    assert.ok(events.items.some(({ reason, involvedObject }) => reason === 'NodeAllocatableEnforced' && involvedObject?.kind === 'Node'));
    // Its shares follow the Pods that are there.
    agent.putPod('asks', spec([box('', { resources: { requests: { cpu: '250m' } } })]));
    await agent.ready('asks');
    await eventually(agent, 'the class has its share', () =>
      read('cpu.shares', 'cpu.weight', `${all}/burstable`)[0] === (isUnified ? '10' : '256') ? true : undefined,
    );
    agent.remove('asks.json');
    await agent.gone('asks');
  });

  it('L-314, L-337, L-338 what is mounted in a volume is unmounted, never emptied, whenever the agent dies', async () => {
    const volumes: readonly Volume[] = [
      { name: 'disk', emptyDir: {} },
      { name: 'memory', emptyDir: { medium: 'Memory' } },
    ];
    const volumeMounts = [
      { name: 'disk', mountPath: '/disk' },
      { name: 'disk', mountPath: '/sub', subPath: 'a/b' },
      { name: 'memory', mountPath: '/memory' },
    ];
    const precious = path.join(host, 'precious');
    mkdirSync(precious);
    writeFileSync(path.join(precious, 'data'), 'x');
    for (let round = 0; round < 3; round++) {
      // Names that are no UTF-8, and a folder for somebody to mount on.
      const script = "mkdir -p /disk/in /disk/$(printf 'd\\344') && touch /disk/$(printf 'f\\344') /memory/f";
      agent.putPod('mounted', spec([box(script, { volumeMounts })], volumes));
      const pod = await agent.ready('mounted');
      const podDir = path.join(agent.rootDir, 'pods', uidOf(pod));
      await eventually(agent, 'written', async () => (await agent.exec('mounted', 'app', 'ls /memory')) === 'f' || undefined);
      await agent.beside('mount', '--bind', precious, path.join(volumeDir(pod, 'disk'), 'in'));
      agent.remove('mounted.json');
      // Somewhere on its way out; at the last round it is left alone.
      await eventually(agent, 'it goes', async () => ((await agent.pod('mounted'))?.metadata?.deletionTimestamp ? true : undefined));
      if (round === 0) await agent.end('SIGKILL');
      if (round === 1) {
        await eventually(agent, 'its sandbox goes', async () => ((await agent.sandboxes(uidOf(pod))).length === 0 ? true : undefined));
        await agent.end('SIGKILL');
      }
      if (round < 2) await agent.start();
      await agent.gone('mounted');
      const isGone = (): true | undefined =>
        existsSync(podDir) || readdirSync(path.dirname(podDir)).some((name) => name.startsWith('.removing')) ? undefined : true;
      await eventually(agent, 'its folder is gone', isGone);
      assert.doesNotMatch(await agent.beside('cat', '/proc/self/mountinfo'), new RegExp(uidOf(pod)));
      assert.deepEqual(readdirSync(precious), ['data'], `round ${round}`);
    }
  });

  it('D5: a volume that somebody on the node is in: its Pod says so, and goes when they have left', async () => {
    agent.putPod(
      'held',
      spec([box('', { volumeMounts: [{ name: 'm', mountPath: '/m' }] })], [{ name: 'm', emptyDir: { medium: 'Memory' } }]),
    );
    const pod = await agent.ready('held');
    const [program = '', ...inside] = mounts.launcher;
    const script = `cd ${volumeDir(pod, 'm')} && echo in && exec sleep infinity`;
    const guest = spawn(program, [...inside, 'setpriv', '--pdeathsig', 'KILL', 'sh', '-c', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(guest.stdout, 'data');
    agent.remove('held.json');
    await eventually(
      agent,
      'it is told',
      async () =>
        (await agent.events('held')).some((event) => /^FailedUnMount: Unable to unmount volumes: .*busy/.test(event)) || undefined,
    );
    assert.ok((await agent.pod('held'))?.metadata?.deletionTimestamp !== undefined);
    guest.kill('SIGKILL');
    await agent.gone('held');
  });

  it('L-320, L-321, C-393 every type of hostPath: what is there, what is made, what does not match', async () => {
    const kinds = {
      any: ['dir', ''],
      folder: ['dir', 'Directory'],
      'new-folder': ['made/folder', 'DirectoryOrCreate'],
      file: ['file', 'File'],
      'new-file': ['made-file', 'FileOrCreate'],
      socket: ['socket', 'Socket'],
      character: ['/dev/null', 'CharDevice'],
      block: ['disk', 'BlockDevice'],
    } as const;
    const at = (name: string): string => path.resolve(host, name);
    const volumes = Object.entries(kinds).map(([name, [where, type]]) => ({ name, hostPath: { path: at(where), type } }));
    const volumeMounts = volumes.map(({ name }) => ({ name, mountPath: `/host/${name}` }));
    agent.putPod('paths', spec([box('', { volumeMounts })], volumes));
    await agent.ready('paths');
    assert.equal(
      await agent.exec('paths', 'app', "cd /host && stat -c '%n %F' *"),
      [
        'any directory',
        'block block special file',
        'character character special file',
        'file regular file',
        'folder directory',
        'new-file regular empty file',
        'new-folder directory',
        'socket socket',
      ].join('\n'),
    );
    assert.equal(statSync(at('made')).mode & 0o7777, 0o755);
    assert.equal(statSync(at('made-file')).mode & 0o7777, 0o644);

    const wrong = {
      folder: ['file', 'Directory', 'is not a directory'],
      'new-folder': ['file', 'DirectoryOrCreate', 'is not a directory'],
      file: ['dir', 'File', 'is not a file'],
      'new-file': ['socket', 'FileOrCreate', 'is not a file'],
      socket: ['file', 'Socket', 'is not a socket file'],
      character: ['disk', 'CharDevice', 'is not a character device'],
      block: ['/dev/null', 'BlockDevice', 'is not a block device'],
      missing: ['none', 'Directory', 'is not a directory'],
    } as const;
    const bad = Object.entries(wrong).map(([name, [where, type]]) => ({ name, hostPath: { path: at(where), type } }));
    agent.putPod('bad-paths', spec([box('', { volumeMounts: bad.map(({ name }) => ({ name, mountPath: `/host/${name}` })) })], bad));
    const messages = Object.entries(wrong).map(
      ([name, [where, , fault]]) =>
        `FailedMount: MountVolume.SetUp failed for volume "${name}" : hostPath type check failed: ${at(where)} ${fault}`,
    );
    await eventually(agent, 'all are told', async () => {
      const events = await agent.events('bad-paths');
      return messages.every((message) => events.includes(message)) ? true : undefined;
    });
    assert.equal((await agent.pod('bad-paths'))?.status?.phase, 'Pending');
    // D4: put right on the node, without the manifest being touched.
    agent.remove('bad-paths.json');
    agent.putPod(
      'late-path',
      spec(
        [box('', { volumeMounts: [{ name: 'v', mountPath: '/v' }] })],
        [{ name: 'v', hostPath: { path: at('late'), type: 'Directory' } }],
      ),
    );
    await eventually(
      agent,
      'it is told',
      async () => (await agent.events('late-path')).some((event) => event.startsWith('FailedMount: ')) || undefined,
    );
    mkdirSync(at('late'));
    await agent.ready('late-path');
    for (const name of ['paths', 'late-path']) agent.remove(`${name}.json`);
  });

  it('L-333, L-334, C-396 fsGroup, with either change policy', async () => {
    const volumes: readonly Volume[] = [
      { name: 'disk', emptyDir: {} },
      { name: 'memory', emptyDir: { medium: 'Memory' } },
      { name: 'facts', downwardAPI: { items: [{ path: 'name', fieldRef: { fieldPath: 'metadata.name' } }] } },
      { name: 'host', hostPath: { path: path.join(host, 'dir') } },
    ];
    const volumeMounts = volumes.map(({ name }) => ({ name, mountPath: `/${name}` }));
    for (const fsGroupChangePolicy of ['Always', 'OnRootMismatch']) {
      const name = `group-${fsGroupChangePolicy.toLowerCase()}`;
      const securityContext = { runAsUser: 1000, runAsGroup: 3000, fsGroup: 2000, fsGroupChangePolicy };
      agent.putPod(name, spec([box('touch /disk/f /memory/f', { volumeMounts })], volumes, { securityContext }));
      await agent.ready(name);
      await eventually(agent, 'written', async () => (await agent.exec(name, 'app', 'ls /memory')) === 'f' || undefined);
      const groups = await agent.exec(name, 'app', "stat -L -c '%n %a %g' /disk /memory /disk/f /memory/f /facts/name && stat -c %g /host");
      assert.equal(
        groups,
        ['/disk 2777 2000', '/memory 2777 2000', '/disk/f 644 2000', '/memory/f 644 2000', '/facts/name 644 2000', '0'].join('\n'),
      );
      assert.equal(await agent.exec(name, 'app', 'id -G'), '3000 2000');
      agent.remove(`${name}.json`);
    }
  });

  it('L-226, L-228, L-322 … L-325, C-355 a Pod’s own facts as files and variables: fields, amounts with divisors, modes', async () => {
    const resource = (resourceName: string, divisor?: string) => ({
      resourceFieldRef: { containerName: 'app', resource: resourceName, ...(divisor !== undefined && { divisor }) },
    });
    const field = (fieldPath: string) => ({ fieldRef: { fieldPath } });
    const items = [
      { path: 'meta/name', ...field('metadata.name') },
      { path: 'meta/namespace', ...field('metadata.namespace') },
      { path: 'meta/uid', ...field('metadata.uid') },
      { path: 'meta/labels', ...field('metadata.labels') },
      { path: 'meta/label', ...field("metadata.labels['tier']") },
      { path: 'meta/annotation', ...field("metadata.annotations['example.org/note']"), mode: 0o400 },
      { path: 'cpu', ...resource('limits.cpu') },
      { path: 'cpu-milli', ...resource('limits.cpu', '1m') },
      { path: 'memory', ...resource('requests.memory', '1Mi') },
      { path: 'disk', ...resource('limits.ephemeral-storage', '1Gi') },
    ];
    const projected = {
      defaultMode: 0o440,
      sources: [
        { downwardAPI: { items: [{ path: 'one/name', ...field('metadata.name') }] } },
        { downwardAPI: { items: [{ path: 'one/memory', mode: 0o604, ...resource('limits.memory') }] } },
      ],
    };
    const container = box('', {
      resources: { requests: { memory: '16Mi' }, limits: { cpu: '250m', memory: '33Mi', 'ephemeral-storage': '1536Mi' } },
      volumeMounts: [
        { name: 'facts', mountPath: '/facts' },
        { name: 'both', mountPath: '/both' },
      ],
      env: [
        { name: 'NODE', valueFrom: field('spec.nodeName') },
        { name: 'IP', valueFrom: field('status.podIP') },
        { name: 'HOST_IP', valueFrom: field('status.hostIP') },
        { name: 'ACCOUNT', valueFrom: field('spec.serviceAccountName') },
        { name: 'CPU', valueFrom: resource('requests.cpu', '1m') },
      ],
    });
    const volumes: readonly Volume[] = [
      { name: 'facts', downwardAPI: { items } },
      { name: 'both', projected },
    ];
    const metadata = { labels: { tier: 'edge', app: 'web' }, annotations: { 'example.org/note': 'two\nlines' } };
    agent.putPod('facts', spec([container], volumes), metadata);
    const pod = await agent.ready('facts');
    assert.equal(
      await agent.exec('facts', 'app', 'cd /facts && for f in meta/* cpu* memory disk; do echo "$f=$(cat $f)"; done'),
      [
        'meta/annotation=two',
        'lines',
        'meta/label=edge',
        'meta/labels=app="web"',
        'tier="edge"',
        'meta/name=facts-edge1',
        'meta/namespace=default',
        `meta/uid=${uidOf(pod)}`,
        'cpu=1',
        'cpu-milli=250',
        'memory=16',
        'disk=2',
      ].join('\n'),
    );
    assert.equal(await agent.exec('facts', 'app', 'stat -L -c %a /facts/cpu /facts/meta/annotation'), '644\n400');
    assert.equal(
      await agent.exec('facts', 'app', "cd /both/one && stat -L -c '%n %a' * && cat memory"),
      `memory 604\nname 440\n${33 * 2 ** 20}`,
    );
    assert.match(await agent.exec('facts', 'app', 'touch /facts/new; touch /both/new'), /Read-only[\s\S]*Read-only/);
    const { podIP, hostIP } = pod.status ?? {};
    assert.equal(await agent.exec('facts', 'app', 'echo $NODE $IP $HOST_IP [$ACCOUNT] $CPU'), `edge1 ${podIP} ${hostIP} [] 250`);
    const twice = { sources: [0, 1].map(() => ({ downwardAPI: { items: [{ path: 'same', ...field('metadata.name') }] } })) };
    agent.putPod('twice', spec([box('', { volumeMounts: [{ name: 'v', mountPath: '/v' }] })], [{ name: 'v', projected: twice }]));
    await eventually(
      agent,
      'two sources for one path are refused',
      async () => JSON.stringify((await agent.verdicts()).get('twice.json')).includes('conflicting duplicate paths') || undefined,
    );
    for (const name of ['twice', 'facts']) agent.remove(`${name}.json`);
  });

  it('L-236, L-237, C-368 a folder exchanged for a link to /etc in a loop: subPath starts inside the volume or not at all', async () => {
    const attack =
      'mkdir -p /v/real/sub && ln -s /etc /v/evil && touch /v/real/sub/inside && mv /v/real /v/a; while :; do mv -T /v/a /v/real; mv -T /v/evil /v/a; mv -T /v/a /v/evil; mv -T /v/real /v/a; done 2>/dev/null';
    const victims = Array.from({ length: 6 }, (_, index) => ({
      ...box('ls /sub >/dev/termination-log; exit 1', { command: ['sh', '-c', 'ls /sub >/dev/termination-log; exit 1'] }),
      name: `victim${index}`,
      volumeMounts: [{ name: 'v', mountPath: '/sub', subPath: index % 2 === 0 ? 'a' : 'a/sub' }],
    }));
    const attacker = { ...box(''), name: 'attacker', command: ['sh', '-c', attack], volumeMounts: [{ name: 'v', mountPath: '/v' }] };
    agent.putPod('race', spec([attacker, ...victims], [{ name: 'v', emptyDir: {} }]));
    const said = new Set<string>();
    await eventually(
      agent,
      'every one has started or was refused',
      async () => {
        const statuses = (await agent.pod('race'))?.status?.containerStatuses ?? [];
        for (const { lastState, state } of statuses) {
          const text = state?.terminated?.message ?? lastState?.terminated?.message;
          if (text !== undefined) said.add(text);
          else if (state?.waiting?.reason === 'CreateContainerConfigError') said.add(state.waiting.message ?? '');
        }
        return statuses.filter(({ restartCount }) => restartCount > 0).length >= 3 ? true : undefined;
      },
      60,
    );
    for (const text of said) assert.match(text, /^(?:sub\n?|inside\n?|failed to (?:create|prepare) subPath .*)$/);
    assert.ok(said.size > 0);
    agent.remove('race.json');
    await agent.gone('race');
  });

  it('C-392, D4 an emptyDir on disk that outgrows its limit: its Pod is evicted, and comes back with an empty one', async () => {
    const fill = box('test -e /host/once || { touch /host/once; dd if=/dev/zero of=/v/big bs=1M count=8; }; ls /v >/host/said', {
      volumeMounts: [
        { name: 'v', mountPath: '/v' },
        { name: 'host', mountPath: '/host' },
      ],
    });
    const volumes: readonly Volume[] = [
      { name: 'v', emptyDir: { sizeLimit: '4Mi' } },
      { name: 'host', hostPath: { path: path.join(host, 'limit'), type: 'DirectoryOrCreate' } },
    ];
    agent.putPod('limited', spec([fill], volumes));
    const pod = await agent.until('limited', 'is evicted', (one) => one.status?.reason === 'Evicted', 60);
    assert.match(pod.status?.message ?? '', /Usage of EmptyDir volume "v" exceeds the limit "4Mi"/);
    await agent.ready('limited');
    await eventually(agent, 'it is empty', () => readFileSync(path.join(host, 'limit', 'said'), 'utf8') === '' || undefined);
    agent.remove('limited.json');
    await agent.gone('limited');
  });

  it('L-250, L-295, L-317, C-359, S-456 huge pages: on the Node, as a volume, as a limit; never more than there are', async (t) => {
    if (typeof pages !== 'number') return t.skip(pages);
    const { items } = (await agent.client.json('/api/v1/nodes', options)) as { readonly items: readonly Node[] };
    const all = `${(pages + 8) * 2}Mi`;
    assert.equal(items[0]?.status?.capacity?.['hugepages-2Mi'], all);
    assert.equal(items[0]?.status?.allocatable?.['hugepages-2Mi'], all);
    const limits = { 'hugepages-2Mi': '4Mi', memory: '64Mi', cpu: '100m' };
    const container = box('', {
      resources: { limits },
      volumeMounts: [
        { name: 'h', mountPath: '/h' },
        { name: 's', mountPath: '/s' },
      ],
    });
    const volumes: readonly Volume[] = [
      { name: 'h', emptyDir: { medium: 'HugePages' } },
      { name: 's', emptyDir: { medium: 'HugePages-2Mi' } },
    ];
    agent.putPod('huge', spec([container], volumes));
    const pod = await agent.ready('huge');
    assert.match(await agent.exec('huge', 'app', 'cat /proc/mounts'), /^\S+ \/h hugetlbfs .*pagesize=2M/m);
    const free = (): number => Number(readFileSync(path.join(path.dirname(hugePages), 'free_hugepages'), 'utf8'));
    const before = free();
    assert.equal(await agent.exec('huge', 'app', 'fallocate -l 2097152 /h/page && stat -c %s /h/page'), String(2 * mib));
    assert.equal(before - free(), 1);
    const limitFiles = cgroupFiles(`${agent.cgroupRoot}/kubepods/pod${uidOf(pod)}`, /^hugetlb\.2MB\.(?:max|limit_in_bytes)$/);
    // Where the controller is on: then of the Pod and of its container.
    t.diagnostic(`${limitFiles.length} files limit huge pages here`);
    for (const file of limitFiles) assert.equal(readFileSync(file, 'utf8').trim(), String(4 * mib), file);
    agent.putPod('too-huge', spec([box('', { resources: { limits: { ...limits, 'hugepages-2Mi': `${(pages + 9) * 2}Mi` } } })]));
    const refused = await agent.until('too-huge', 'is refused', isOver);
    assert.equal(refused.status?.reason, 'OutOfhugepages-2Mi');
    for (const name of ['huge', 'too-huge']) agent.remove(`${name}.json`);
    await agent.gone('huge');
    assert.equal(free(), before);
  });
});

/** Files of that name in the cgroup, in every hierarchy. */
function cgroupFiles(group: string, name: RegExp): readonly string[] {
  const root = '/sys/fs/cgroup';
  const hierarchies = isUnified ? [root] : readdirSync(root).map((one) => path.join(root, one));
  return hierarchies.flatMap((hierarchy) => {
    const directory = path.join(hierarchy, group);
    if (!existsSync(directory)) return [];
    return readdirSync(directory)
      .filter((one) => name.test(one))
      .map((one) => path.join(directory, one));
  });
}
