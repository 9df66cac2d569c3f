// What a manifest may ask of its containers, seen from inside them: one agent on containerd 2.x with a current runc runs
// all these Pods at once. Scenarios of spec 02, section 13, by number.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Container, Pod, PodSpec } from '../../src/api/gen/kubernetes.ts';
import { ociArchitecture, writeImageArchive } from '../../src/image/oci-archive.ts';
import { binDirs, newRunc, offlineImages, whyNoContainerd, whyNoNewRunc } from '../support/containerd.ts';
import { eventually, OwnMounts, TestAgent, uidOf } from '../support/test-agent.ts';

const forever = 'trap "exit 0" TERM; while :; do sleep 1000 & wait; done';
/** The tests' image with users: `web` (1000) is also in group 5000. */
const usersImage = 'docker.io/library/users:1';

function usersArchive(): Promise<Buffer> {
  const file = (name: string, data: string | Buffer, mode = 0o644) => ({ type: 'file', name, data: Buffer.from(data), mode }) as const;
  return writeImageArchive({
    reference: usersImage,
    architecture: ociArchitecture(os.arch()),
    entries: [
      { type: 'directory', name: 'bin/' },
      file('bin/busybox', readFileSync('/bin/busybox'), 0o755),
      { type: 'symlink', name: 'bin/sh', target: 'busybox' },
      { type: 'directory', name: 'etc/' },
      file('etc/passwd', 'root:x:0:0::/:/bin/sh\nweb:x:1000:1000::/:/bin/sh\n'),
      file('etc/group', 'root:x:0:\nweb:x:1000:\nextra:x:5000:web\n'),
    ],
    config: { Cmd: ['sh'] },
  });
}

function box(script: string, change: Partial<Container> = {}): Container {
  const command = ['sh', '-c', `${script}\n${forever}`];
  return { name: 'app', image: offlineImages.busybox, imagePullPolicy: 'IfNotPresent', command, ...change };
}

function once(script: string, change: Partial<Container> = {}): Container {
  return box('', { command: ['sh', '-c', script], ...change });
}

const skip = whyNoContainerd('sid') ?? whyNoNewRunc() ?? false;

describe('what a container gets, on containerd 2.x', { skip }, () => {
  const mounts = new OwnMounts();
  const agent = new TestAgent({
    binDirs: [newRunc, ...binDirs('sid')],
    launcher: mounts.launcher,
    archives: async () => ({ 'users.tar': await usersArchive() }),
    kubelet: {
      clusterDomain: 'cluster.local',
      containerLogMaxSize: '16Ki',
      containerLogMaxFiles: 3,
      containerLogMonitorInterval: '3s',
      allowedUnsafeSysctls: ['kernel.msg*'],
      podPidsLimit: 500,
    },
  });
  const host = path.join(agent.dir, 'host');
  const hostVolume = (name: string, sub: string): NonNullable<PodSpec['volumes']>[number] => ({
    name,
    hostPath: { path: path.join(host, sub), type: 'DirectoryOrCreate' },
  });
  const spec = (change: Partial<PodSpec>): PodSpec => ({
    terminationGracePeriodSeconds: 2,
    ...change,
    containers: change.containers ?? [box('')],
  });
  const pods: Readonly<Record<string, PodSpec>> = {
    'users-a': spec({
      hostUsers: false,
      securityContext: { fsGroup: 2000 },
      containers: [
        box('touch /data/f /memory/f /sub/f /host/f', {
          securityContext: { runAsUser: 0 },
          volumeMounts: [
            { name: 'data', mountPath: '/data' },
            { name: 'data', mountPath: '/sub', subPath: 'in' },
            { name: 'memory', mountPath: '/memory' },
            { name: 'facts', mountPath: '/facts' },
            { name: 'host', mountPath: '/host' },
          ],
        }),
      ],
      volumes: [
        { name: 'data', emptyDir: {} },
        { name: 'memory', emptyDir: { medium: 'Memory' } },
        { name: 'facts', downwardAPI: { items: [{ path: 'name', fieldRef: { fieldPath: 'metadata.name' } }] } },
        hostVolume('host', 'users'),
      ],
    }),
    'users-b': spec({ hostUsers: false, containers: [box('', { securityContext: { procMount: 'Unmasked' } })] }),
    strict: spec({
      securityContext: { runAsUser: 1000, supplementalGroups: [4000], supplementalGroupsPolicy: 'Strict' },
      containers: [box('', { image: usersImage })],
    }),
    merge: spec({
      securityContext: { runAsUser: 1000, supplementalGroups: [4000] },
      containers: [box('', { image: usersImage })],
    }),
    'non-root': spec({ containers: [box('', { image: usersImage, securityContext: { runAsNonRoot: true } })] }),
    'caps-seccomp': spec({
      containers: [
        box('', {
          securityContext: {
            capabilities: { add: ['NET_ADMIN'], drop: ['MKNOD'] },
            seccompProfile: { type: 'Localhost', localhostProfile: 'no-mkdir.json' },
          },
        }),
      ],
    }),
    profiles: spec({
      securityContext: { seccompProfile: { type: 'RuntimeDefault' } },
      containers: [
        box('', { name: 'inherited', securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } } }),
        box('', { name: 'unconfined', securityContext: { seccompProfile: { type: 'Unconfined' } } }),
        box('', {
          name: 'missing',
          securityContext: { seccompProfile: { type: 'Localhost', localhostProfile: 'none.json' } },
        }),
      ],
    }),
    'app-armor': spec({ securityContext: { appArmorProfile: { type: 'RuntimeDefault' } } }),
    'app-armor-none': spec({
      containers: [box('', { securityContext: { appArmorProfile: { type: 'Localhost', localhostProfile: 'none' } } })],
    }),
    levels: spec({
      resources: { requests: { cpu: '100m', memory: '64Mi' }, limits: { cpu: '300m', memory: '96Mi' } },
      containers: [box(''), box('', { name: 'own', resources: { requests: { memory: '16Mi' }, limits: { memory: '48Mi' } } })],
    }),
    privileged: spec({ containers: [box('', { securityContext: { privileged: true } })] }),
    'read-only': spec({ containers: [box('', { securityContext: { readOnlyRootFilesystem: true } })] }),
    shared: spec({
      shareProcessNamespace: true,
      containers: [box('exec -a marker sleep 1000', { command: ['sleep', '4321'] }), box('', { name: 'side' })],
    }),
    'host-pid': spec({ hostPID: true, hostIPC: true }),
    sysctl: spec({ securityContext: { sysctls: [{ name: 'net.ipv4.ip_unprivileged_port_start', value: '81' }] } }),
    'sysctl-allowed': spec({ securityContext: { sysctls: [{ name: 'kernel/msgmax', value: '10240' }] } }),
    'sysctl-unsafe': spec({ securityContext: { sysctls: [{ name: 'net.core.somaxconn', value: '1024' }] } }),
    'sysctl-node': spec({ securityContext: { sysctls: [{ name: 'vm.swappiness', value: '1' }] } }),
    'sysctl-host': spec({ hostNetwork: true, securityContext: { sysctls: [{ name: 'net.ipv4.tcp_syncookies', value: '1' }] } }),
    subpath: spec({
      initContainers: [
        once('mkdir -p /v/in && ln -s in /v/good && ln -s /etc /v/bad && echo hi >/v/in/f', {
          name: 'prepare',
          volumeMounts: [{ name: 'v', mountPath: '/v' }],
        }),
      ],
      containers: [
        box('', { name: 'good', volumeMounts: [{ name: 'v', mountPath: '/sub', subPath: 'good' }] }),
        box('', { name: 'bad', volumeMounts: [{ name: 'v', mountPath: '/sub', subPath: 'bad' }] }),
        box('', {
          name: 'expr',
          env: [{ name: 'WHO', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }],
          volumeMounts: [{ name: 'v', mountPath: '/sub', subPathExpr: '$(WHO)' }],
        }),
      ],
      volumes: [{ name: 'v', emptyDir: {} }],
    }),
    propagation: spec({
      containers: [
        box('', { name: 'none', volumeMounts: [{ name: 'h', mountPath: '/h' }] }),
        box('', { name: 'slave', volumeMounts: [{ name: 'h', mountPath: '/h', mountPropagation: 'HostToContainer' }] }),
        box('mkdir -p /h/own && mount -t tmpfs own /h/own && touch /h/own/f', {
          name: 'both',
          securityContext: { privileged: true },
          volumeMounts: [{ name: 'h', mountPath: '/h', mountPropagation: 'Bidirectional' }],
        }),
      ],
      volumes: [hostVolume('h', 'propagation')],
    }),
    rro: spec({
      containers: [
        box('', { name: 'deep', volumeMounts: [{ name: 'h', mountPath: '/h', readOnly: true, recursiveReadOnly: 'Enabled' }] }),
        box('', { name: 'flat', volumeMounts: [{ name: 'h', mountPath: '/h', readOnly: true }] }),
      ],
      volumes: [hostVolume('h', 'rro')],
    }),
    'image-volume': spec({
      containers: [
        box('', { volumeMounts: [{ name: 'i', mountPath: '/i' }] }),
        box('', { name: 'part', volumeMounts: [{ name: 'i', mountPath: '/i', subPath: 'etc' }] }),
      ],
      volumes: [{ name: 'i', image: { reference: usersImage, pullPolicy: 'IfNotPresent' } }],
    }),
    'image-volume-missing': spec({
      containers: [box('', { volumeMounts: [{ name: 'none', mountPath: '/i' }] }), box('', { name: 'other' })],
      volumes: [
        { name: 'none', image: { reference: 'docker.io/library/none:1', pullPolicy: 'IfNotPresent' } },
        { name: 'unused', image: { reference: 'docker.io/library/none:2', pullPolicy: 'Never' } },
      ],
    }),
    'env-file': spec({
      restartPolicy: 'Never',
      initContainers: [
        once("printf \"CONFIG_1='value1'\\nCONFIG_2='value2'\\n\" >/v/config.env", {
          name: 'prepare',
          volumeMounts: [{ name: 'v', mountPath: '/v' }],
        }),
      ],
      containers: [
        once('test "$ONE/$TWO" = value1/value2', {
          env: [
            { name: 'ONE', valueFrom: { fileKeyRef: { volumeName: 'v', path: 'config.env', key: 'CONFIG_1' } } },
            { name: 'TWO', valueFrom: { fileKeyRef: { volumeName: 'v', path: 'config.env', key: 'CONFIG_2' } } },
          ],
        }),
      ],
      volumes: [{ name: 'v', emptyDir: {} }],
    }),
    names: spec({
      hostname: 'box',
      subdomain: 'lab',
      setHostnameAsFQDN: true,
      hostAliases: [{ ip: '192.0.2.9', hostnames: ['db', 'db.example'] }],
      dnsConfig: { nameservers: ['192.0.2.1'], searches: ['lab.example'], options: [{ name: 'ndots', value: '3' }] },
      dnsPolicy: 'None',
    }),
    'cluster-dns': spec({ dnsPolicy: 'ClusterFirst' }),
    oom: spec({
      restartPolicy: 'Never',
      containers: [once('exec dd if=/dev/zero of=/dev/null bs=64M count=1', { resources: { limits: { memory: '16Mi' } } })],
    }),
    message: spec({
      restartPolicy: 'Never',
      containers: [
        once('head -c 5000 /dev/zero | tr "\\0" x >/dev/termination-log; printf end >>/dev/termination-log; exit 3', { name: 'file' }),
        once('echo the last words; exit 3', { name: 'log', terminationMessagePolicy: 'FallbackToLogsOnError' }),
        once('echo not shown', { name: 'fine', terminationMessagePolicy: 'FallbackToLogsOnError' }),
      ],
    }),
    deadline: spec({ activeDeadlineSeconds: 3 }),
    logs: spec({ containers: [box('i=0; while :; do i=$((i+1)); echo "line $i of a log that grows quickly"; usleep 1000; done')] }),
    'memory-dir': spec({
      containers: [
        once(
          'test -e /m/f && exec sleep 1000; said=$(dd if=/dev/zero of=/m/big bs=1M count=3 2>&1); rm /m/big; echo "$said" >/m/f; exit 1',
          {
            volumeMounts: [{ name: 'm', mountPath: '/m' }],
          },
        ),
      ],
      volumes: [{ name: 'm', emptyDir: { medium: 'Memory', sizeLimit: '2Mi' } }],
    }),
    'unknown-handler': spec({ runtimeClassName: 'kata' }),
  };

  before(async () => {
    await mounts.start('shared');
    await agent.configure();
    mkdirSync(path.join(agent.rootDir, 'seccomp'), { recursive: true });
    const profile = { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO' }] };
    writeFileSync(path.join(agent.rootDir, 'seccomp', 'no-mkdir.json'), JSON.stringify(profile));
    for (const sub of ['propagation/sub', 'rro/sub']) mkdirSync(path.join(host, sub), { recursive: true });
    await agent.start();
    await agent.beside('mount', '-t', 'tmpfs', 'rro', path.join(host, 'rro', 'sub'));
    for (const [name, podSpec] of Object.entries(pods)) agent.putPod(name, podSpec);
    // All at once they take a slow machine longer than a test waits.
    const hasBegun = ({ metadata, status }: Pod): boolean =>
      metadata?.name?.startsWith('unknown-handler') === true ||
      (status?.containerStatuses ?? []).some(
        ({ state }) => !/^(?:ContainerCreating|PodInitializing)$/.test(state?.waiting?.reason ?? ''),
      ) ||
      status?.phase === 'Failed';
    const allHaveBegun = async (): Promise<true | undefined> => {
      const found = await agent.pods();
      // One is refused as a manifest.
      return found.length >= Object.keys(pods).length - 1 && found.every(hasBegun) ? true : undefined;
    };
    await eventually(agent, 'all Pods have begun', allHaveBegun, 120);
  });
  after(async () => {
    await agent.destroy();
    mounts.stop();
  });

  const terminated = (pod: Pod, container: string) =>
    pod.status?.containerStatuses?.find(({ name }) => name === container)?.state?.terminated;
  const waiting = (pod: Pod, container: string) => pod.status?.containerStatuses?.find(({ name }) => name === container)?.state?.waiting;
  const running = (pod: Pod) => (pod.status?.containerStatuses ?? []).filter(({ state }) => state?.running !== undefined);
  const isOver = (pod: Pod): boolean => pod.status?.phase === 'Failed' || pod.status?.phase === 'Succeeded';

  it('C-369 user namespaces: root inside is nobody outside, each Pod with ids of its own', async () => {
    const first = new Map<string, number>();
    for (const name of ['users-a', 'users-b']) {
      await agent.ready(name);
      const [inside, outside, length] = (await agent.exec(name, 'app', 'cat /proc/self/uid_map')).trim().split(/\s+/).map(Number);
      assert.deepEqual([inside, length, (outside ?? 0) % 65_536, (outside ?? 0) > 0], [0, 65_536, 0, true]);
      first.set(name, outside ?? 0);
    }
    assert.equal(new Set(first.values()).size, 2);
    // What is root's inside is root's on the disk as well, and nobody's of the ids the process has there (L-273).
    const script = "cd / && stat -L -c '%n %u:%g' data/f sub/f memory/f host/f facts/name && cat etc/hosts >/dev/null && echo readable";
    assert.equal(
      await agent.exec('users-a', 'app', script),
      ['data/f 0:2000', 'sub/f 0:2000', 'memory/f 0:2000', 'host/f 0:0', 'facts/name 0:2000', 'readable'].join('\n'),
    );
    const { uid, gid } = statSync(path.join(host, 'users', 'f'));
    assert.deepEqual([uid, gid], [0, 0]);
    // Another life of the agent gives the next containers the same ids.
    await agent.end('SIGKILL');
    await agent.start();
    const pod = await agent.ready('users-a');
    await agent.killContainer((await agent.running(uidOf(pod))).id);
    await agent.ready('users-a', (one) => one.status?.containerStatuses?.[0]?.restartCount === 1);
    assert.equal((await agent.exec('users-a', 'app', 'cat /proc/self/uid_map')).trim().split(/\s+/)[1], String(first.get('users-a')));
  });

  it('C-362 procMount Unmasked with a user namespace; read-only root; privileged', async () => {
    assert.doesNotMatch(await agent.exec('users-b', 'app', 'cat /proc/mounts'), / \/proc\/sys proc ro,/);
    await agent.ready('users-a');
    assert.match(await agent.exec('users-a', 'app', 'cat /proc/mounts'), / \/proc\/sys proc ro,/);
    await agent.ready('read-only');
    assert.match(await agent.exec('read-only', 'app', 'touch /x'), /Read-only/);
    await agent.ready('privileged');
    assert.match(await agent.exec('privileged', 'app', 'grep CapEff /proc/self/status'), /CapEff:\t0*[1-9a-f][0-9a-f]{8,}/);
  });

  it('C-362 C-363 capabilities added and dropped, a seccomp profile of the node', async () => {
    await agent.ready('caps-seccomp');
    const effective = BigInt(`0x${(await agent.exec('caps-seccomp', 'app', 'grep CapEff /proc/self/status')).split('\t')[1]}`);
    assert.equal((effective >> 12n) & 1n, 1n, 'NET_ADMIN');
    assert.equal((effective >> 27n) & 1n, 0n, 'MKNOD');
    assert.match(await agent.exec('caps-seccomp', 'app', 'mkdir /tmp/x'), /Operation not permitted/);
  });

  it('L-257, L-260, L-263, C-363 seccomp: RuntimeDefault of the Pod, Unconfined, a profile that is not there; no new privileges', async () => {
    const pod = await agent.until('profiles', 'is half up', (one) => waiting(one, 'missing') !== undefined && running(one).length === 2);
    const inherited = await agent.exec('profiles', 'inherited', 'cat /proc/self/status');
    assert.match(inherited, /^Seccomp:\t2$/m);
    assert.match(inherited, /^NoNewPrivs:\t1$/m);
    assert.match(inherited, /^CapBnd:\t0{16}$/m);
    const unconfined = await agent.exec('profiles', 'unconfined', 'cat /proc/self/status');
    assert.match(unconfined, /^Seccomp:\t0$/m);
    assert.match(unconfined, /^NoNewPrivs:\t0$/m);
    assert.match(waiting(pod, 'missing')?.message ?? '', /none\.json.*no such file/);
  });

  it('L-265, L-266, C-362 AppArmor: enforced where the kernel has it, refused where not; a profile that is not loaded', async (t) => {
    const none = await agent.until('app-armor-none', 'is refused', isOver);
    assert.equal(none.status?.reason, 'AppArmor');
    const enabled = '/sys/module/apparmor/parameters/enabled';
    if (existsSync(enabled) && readFileSync(enabled, 'utf8').startsWith('Y')) {
      if (!existsSync('/usr/sbin/apparmor_parser')) return t.skip('the machine has AppArmor but no apparmor_parser');
      assert.match(none.status?.message ?? '', /profile "none" is not loaded/);
      await agent.ready('app-armor');
      assert.match(await agent.exec('app-armor', 'app', 'cat /proc/self/attr/current'), /^cri-containerd\.apparmor\.d \(enforce\)/);
    } else {
      const pod = await agent.until('app-armor', 'is refused', isOver);
      assert.deepEqual(
        [pod.status?.reason, pod.status?.message],
        ['AppArmor', 'Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host'],
      );
    }
  });

  it('L-249, L-253, L-283, L-285, L-294, L-296, C-361 resources of the Pod: its cgroup, its containers without limits, its QoS class', async () => {
    const pod = await agent.ready('levels');
    assert.equal(pod.status?.qosClass, 'Burstable');
    const group = `${agent.cgroupRoot}/kubepods/burstable/pod${uidOf(pod)}`;
    const isUnified = existsSync('/sys/fs/cgroup/cgroup.controllers');
    const value = (directory: string, v1: string, v2: string): string =>
      readFileSync(isUnified ? `/sys/fs/cgroup${directory}/${v2}` : `/sys/fs/cgroup/${v1.split('.')[0]}${directory}/${v1}`, 'utf8').trim();
    const memory = (directory: string): string => value(directory, 'memory.limit_in_bytes', 'memory.max');
    assert.equal(memory(group), String(96 * 2 ** 20));
    assert.equal(value(group, 'cpu.cfs_quota_us', 'cpu.max').split(' ')[0], '30000');
    assert.equal(value(group, 'pids.max', 'pids.max'), '500');
    const limits = new Map<string, string>();
    for (const { name, id } of await agent.containers(uidOf(pod))) limits.set(name, memory(`${group}/${id}`));
    assert.deepEqual(Object.fromEntries(limits), { app: String(96 * 2 ** 20), own: String(48 * 2 ** 20) });
    // What the Pod asks for beyond its containers is theirs in equal parts.
    const score = 1000 - Math.floor((1000 * 24 * 2 ** 20) / os.totalmem());
    const found = Number(await agent.exec('levels', 'app', 'cat /proc/self/oom_score_adj'));
    assert.equal(found, Math.min(Math.max(score, 3), 999));
    await agent.ready('read-only');
    assert.equal(await agent.exec('read-only', 'app', 'cat /proc/self/oom_score_adj'), '1000');
  });

  it('L-260 groups of the image count with Merge, and not with Strict', async () => {
    for (const [name, groups] of [
      ['merge', '1000 4000 5000'],
      ['strict', '1000 4000'],
    ] as const) {
      const pod = await agent.ready(name);
      const all = (await agent.exec(name, 'app', 'busybox id -G')).split(' ').map(Number);
      const sorted = [...all].sort((a, b) => a - b).join(' ');
      assert.equal(sorted.replace(/^0 /, ''), groups.replace('1000 ', sorted.includes('1000') ? '1000 ' : ''), name);
      assert.deepEqual(pod.status?.containerStatuses?.[0]?.user?.linux?.uid, 1000);
    }
  });

  it('C-364 runAsNonRoot with an image of root', async () => {
    const pod = await agent.until('non-root', 'is refused', (one) => waiting(one, 'app')?.reason === 'CreateContainerConfigError');
    assert.match(waiting(pod, 'app')?.message ?? '', /container has runAsNonRoot and image will run as root/);
    assert.ok((await agent.events('non-root')).some((event) => /^Failed: Error: container has runAsNonRoot/.test(event)));
  });

  it('C-365 process namespaces: shared, the host’s', async () => {
    await agent.ready('shared');
    assert.match(await agent.exec('shared', 'side', 'ps'), /sleep 4321/);
    await agent.ready('host-pid');
    assert.match(await agent.exec('host-pid', 'app', `tr '\\0' ' ' </proc/${agent.pid}/cmdline`), /main\.ts run/);
    await agent.ready('read-only');
    assert.match(await agent.exec('read-only', 'app', 'cat /proc/1/comm'), /^sh/);
    assert.equal(await agent.exec('host-pid', 'app', 'readlink /proc/self/ns/ipc'), readlinkSync('/proc/self/ns/ipc'));
    assert.notEqual(await agent.exec('read-only', 'app', 'readlink /proc/self/ns/ipc'), readlinkSync('/proc/self/ns/ipc'));
  });

  it('L-269 a safe sysctl', async () => {
    await agent.ready('sysctl');
    assert.equal(await agent.exec('sysctl', 'app', 'cat /proc/sys/net/ipv4/ip_unprivileged_port_start'), '81');
  });

  it('L-269, L-270 an unsafe sysctl that is allowed; one that is not; one of the node; one of a network that is the host’s', async () => {
    await agent.ready('sysctl-allowed');
    assert.equal(await agent.exec('sysctl-allowed', 'app', 'cat /proc/sys/kernel/msgmax'), '10240');
    for (const [name, setting] of [
      ['sysctl-unsafe', 'net.core.somaxconn'],
      ['sysctl-node', 'vm.swappiness'],
    ] as const) {
      const pod = await agent.until(name, 'is refused', isOver);
      assert.deepEqual(
        [pod.status?.reason, pod.status?.message],
        ['SysctlForbidden', `Pod was rejected: forbidden sysctl: "${setting}" not allowlisted`],
      );
    }
    const verdict = (await agent.verdicts()).get('sysctl-host.json');
    assert.match(JSON.stringify(verdict), /may not be specified when 'hostNetwork' is true/);
  });

  it('C-368 subPath: a link inside the volume, one that leaves it, a folder that is made', async () => {
    const pod = await agent.until('subpath', 'is half up', (one) => waiting(one, 'bad')?.reason === 'CreateContainerConfigError');
    assert.equal(waiting(pod, 'bad')?.message, 'failed to prepare subPath for volumeMount "v" of container "bad"');
    assert.equal(await eventually(agent, 'good', () => agent.exec('subpath', 'good', 'cat /sub/f')), 'hi');
    assert.equal(await eventually(agent, 'expr', () => agent.exec('subpath', 'expr', 'touch /sub/made && ls /sub')), 'made');
  });

  it('C-367 mount propagation', async () => {
    await agent.ready('propagation');
    const folder = path.join(host, 'propagation');
    await agent.beside('mount', '-t', 'tmpfs', 'late', path.join(folder, 'sub'));
    await agent.beside('touch', path.join(folder, 'sub', 'late'));
    assert.equal(await agent.exec('propagation', 'slave', 'ls /h/sub'), 'late');
    assert.equal(await agent.exec('propagation', 'none', 'ls /h/sub'), '');
    assert.equal((await agent.beside('ls', path.join(folder, 'own'))).trim(), 'f');
    assert.equal(await agent.exec('propagation', 'slave', 'ls /h/own'), 'f');
  });

  it('C-366 recursive read-only', async () => {
    await agent.ready('rro');
    assert.match(await agent.exec('rro', 'deep', 'touch /h/sub/x'), /Read-only/);
    assert.equal(await agent.exec('rro', 'flat', 'touch /h/sub/x && echo written'), 'written');
    assert.match(await agent.exec('rro', 'flat', 'touch /h/x'), /Read-only/);
  });

  it('C-388 an image as a volume', async () => {
    const pod = await agent.until('image-volume', 'is half up', (one) => waiting(one, 'part')?.reason === 'CreateContainerConfigError');
    // containerd 2.1 would mount the whole image without a word.
    assert.equal(waiting(pod, 'part')?.message, 'volume "i": this runtime cannot mount a subPath of an image');
    await eventually(agent, 'the other runs', () => agent.exec('image-volume', 'app', 'true').then(() => true));
    assert.match(await agent.exec('image-volume', 'app', 'cat /i/etc/group'), /extra:x:5000:web/);
    assert.match(await agent.exec('image-volume', 'app', 'touch /i/x'), /Read-only/);
  });

  it('C-388, L-330 the image of a volume that cannot be had keeps those from starting that mount it', async () => {
    const pod = await agent.until(
      'image-volume-missing',
      'is half up',
      (one) => running(one).length === 1 && waiting(one, 'app') !== undefined,
    );
    assert.equal(running(pod)[0]?.name, 'other');
    const waits = (one: Pod): boolean => /^(?:ErrImagePull|ImagePullBackOff)$/.test(waiting(one, 'app')?.reason ?? '');
    await agent.until('image-volume-missing', 'says why', waits);
    assert.ok((await agent.events('image-volume-missing')).some((event) => /^Failed: .*docker\.io\/library\/none:1/.test(event)));
  });

  it('C-395 variables from a file of an init container', async () => {
    const pod = await agent.until('env-file', 'is over', isOver);
    assert.equal(pod.status?.phase, 'Succeeded', JSON.stringify(pod.status));
  });

  it('C-352 C-353 C-356 names and resolver', async () => {
    await agent.ready('names');
    assert.equal(await agent.exec('names', 'app', 'hostname'), 'box.lab.default.svc.cluster.local');
    assert.equal(await agent.exec('names', 'app', 'cat /etc/resolv.conf'), 'search lab.example\nnameserver 192.0.2.1\noptions ndots:3');
    assert.match(await agent.exec('names', 'app', 'cat /etc/hosts'), /192\.0\.2\.9\tdb\tdb\.example/);
    await agent.ready('cluster-dns');
    assert.ok((await agent.events('cluster-dns')).some((event) => event.startsWith('MissingClusterDNS: ')));
    const nameservers = (text: string): readonly string[] => text.split('\n').filter((line) => line.startsWith('nameserver'));
    assert.deepEqual(
      nameservers(await agent.exec('cluster-dns', 'app', 'cat /etc/resolv.conf')),
      nameservers(readFileSync('/etc/resolv.conf', 'utf8')).slice(0, 3),
    );
  });

  it('C-405 a process that exceeds its memory', async () => {
    const pod = await agent.until('oom', 'is over', isOver);
    assert.equal(pod.status?.phase, 'Failed');
    assert.deepEqual([terminated(pod, 'app')?.reason, terminated(pod, 'app')?.exitCode], ['OOMKilled', 137]);
  });

  it('C-343 C-344 last words: from the file, cut at its front; from the log; none of a container that did well', async () => {
    const pod = await agent.until('message', 'is over', isOver);
    // Three containers share 12288 bytes: 4096 each (L-476).
    const message = terminated(pod, 'file')?.message ?? '';
    assert.deepEqual([message.length, message.slice(-6)], [4096, 'xxxend']);
    assert.equal(terminated(pod, 'log')?.message, 'the last words\n');
    assert.equal(terminated(pod, 'fine')?.message, undefined);
    // They and all the rest are still told when the Pod's volumes and cgroup have gone and the agent was killed (D2).
    const before = JSON.stringify(pod.status);
    const volumes = path.join(agent.rootDir, 'pods', uidOf(pod), 'volumes');
    await eventually(agent, 'its volumes have gone', () => (existsSync(volumes) ? undefined : true));
    await agent.end('SIGKILL');
    await agent.start();
    const after = await agent.until('message', 'is over still', isOver);
    assert.equal(JSON.stringify(after.status), before);
  });

  it('C-213 L-491 a deadline', async () => {
    const pod = await agent.until('deadline', 'is over', isOver);
    assert.deepEqual([pod.status?.phase, pod.status?.reason], ['Failed', 'DeadlineExceeded']);
  });

  it('C-391 C-392 a memory volume is limited and outlives its container', async () => {
    await agent.until('memory-dir', 'runs again', (pod) => pod.status?.containerStatuses?.[0]?.restartCount === 1);
    await eventually(agent, 'said', async () =>
      (await agent.exec('memory-dir', 'app', 'cat /m/f')).includes('No space left') ? true : undefined,
    );
  });

  it('L-194 a runtime class nobody configured', async () => {
    const said = await eventually(agent, 'the event', async () =>
      (await agent.events('unknown-handler')).find((event) => event.startsWith('FailedCreatePodSandBox: ')),
    );
    assert.match(said, /RuntimeClass "kata" is not known to this node/);
  });

  it('C-386 logs are rotated, and no file grows without bound', async () => {
    const pod = await agent.ready('logs');
    const folder = path.join(
      agent.rootDir,
      'logs',
      `default_logs-edge1_${pod.metadata?.annotations?.['kubernetes.io/config.hash']}`,
      'app',
    );
    const names = await eventually(agent, 'rotated', async () => {
      const found = (await agent.beside('ls', folder)).trim().split('\n').sort();
      return found.some((name) => name.endsWith('.gz')) ? found : undefined;
    });
    assert.ok(names.includes('0.log'));
    assert.ok(names.length <= 3, names.join());
  });
});
