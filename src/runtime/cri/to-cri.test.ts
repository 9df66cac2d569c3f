import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { containerConfig, sandboxConfig } from '../../../test/compliance/builders.ts';
import type { ContainerConfig, LinuxResources, PodSandboxConfig } from '../../pod/runtime-config.ts';
import * as cri from './gen/runtime.ts';
import { toCriAuth, toCriContainerConfig, toCriImageSpec, toCriResources, toCriSandboxConfig } from './to-cri.ts';

type SandboxContext = PodSandboxConfig['linux']['securityContext'];
type ContainerContext = ContainerConfig['linux']['securityContext'];

/** What the runtime will decode: through the wire and back. */
function sandboxOnWire(config: PodSandboxConfig): cri.PodSandboxConfig {
  return cri.PodSandboxConfig.decode(cri.PodSandboxConfig.encode(cri.PodSandboxConfig.fromPartial(toCriSandboxConfig(config))).finish());
}

function containerOnWire(config: ContainerConfig): cri.ContainerConfig {
  return cri.ContainerConfig.decode(cri.ContainerConfig.encode(cri.ContainerConfig.fromPartial(toCriContainerConfig(config))).finish());
}

function sandboxContext(change: Partial<SandboxContext>): cri.LinuxSandboxSecurityContext | undefined {
  const base = sandboxConfig({ uid: 'u' });
  const securityContext = { ...base.linux.securityContext, ...change };
  return sandboxOnWire({ ...base, linux: { ...base.linux, securityContext } }).linux?.securityContext;
}

function containerContext(change: Partial<ContainerContext>): cri.LinuxContainerSecurityContext | undefined {
  const base = containerConfig(sandboxConfig({ uid: 'u' }), { image: 'i' });
  const securityContext = { ...base.linux.securityContext, ...change };
  return containerOnWire({ ...base, linux: { ...base.linux, securityContext } }).linux?.securityContext;
}

describe('toCriSandboxConfig (4.3)', () => {
  it('carries every field', () => {
    const base = sandboxConfig({
      uid: 'u',
      name: 'p',
      attempt: 3,
      hostNetwork: false,
      logDirectory: '/logs',
      cgroupParent: '/kubepods/podu',
    });
    const config = sandboxOnWire({
      ...base,
      dnsConfig: { servers: ['1.1.1.1'], searches: ['a.b'], options: ['ndots:5'] },
      portMappings: [
        { protocol: 'UDP', containerPort: 53, hostPort: 5353, hostIp: '127.0.0.1' },
        { protocol: 'SCTP', containerPort: 1, hostPort: 0, hostIp: '' },
      ],
      linux: { ...base.linux, sysctls: { 'net.core.somaxconn': '1' }, resources: { cpuShares: 2 } },
    });
    assert.deepEqual(config.metadata, { name: 'p', uid: 'u', namespace: 'default', attempt: 3 });
    assert.equal(config.hostname, 'p');
    assert.equal(config.logDirectory, '/logs');
    assert.deepEqual(config.dnsConfig, { servers: ['1.1.1.1'], searches: ['a.b'], options: ['ndots:5'] });
    assert.deepEqual(config.portMappings, [
      { protocol: cri.Protocol.UDP, containerPort: 53, hostPort: 5353, hostIp: '127.0.0.1' },
      { protocol: cri.Protocol.SCTP, containerPort: 1, hostPort: 0, hostIp: '' },
    ]);
    assert.deepEqual({ ...config.labels }, base.labels);
    assert.deepEqual({ ...config.annotations }, base.annotations);
    assert.equal(config.linux?.cgroupParent, '/kubepods/podu');
    assert.deepEqual({ ...config.linux?.sysctls }, { 'net.core.somaxconn': '1' });
    assert.equal(config.linux?.resources?.cpuShares, 2n);
    assert.notEqual(config.linux?.overhead, undefined, 'an empty message when there is none');
  });

  it('sends namespaces, the shared user namespace out loud (L-195)', () => {
    const { NamespaceMode } = cri;
    assert.deepEqual(sandboxContext({ namespaceOptions: { network: 'node', pid: 'container', ipc: 'pod' } })?.namespaceOptions, {
      network: NamespaceMode.NODE,
      pid: NamespaceMode.CONTAINER,
      ipc: NamespaceMode.POD,
      targetId: '',
      usernsOptions: { mode: NamespaceMode.NODE, uids: [], gids: [] },
    });
    const ids = [{ hostId: 65536, containerId: 0, length: 65536 }];
    const mapped = sandboxContext({
      namespaceOptions: { network: 'pod', pid: 'target', ipc: 'pod', targetId: 'x', user: { mode: 'pod', uids: ids, gids: ids } },
    });
    assert.equal(mapped?.namespaceOptions?.targetId, 'x');
    assert.deepEqual(mapped?.namespaceOptions?.usernsOptions, { mode: NamespaceMode.POD, uids: ids, gids: ids });
  });

  it('tells user 0 from no user, and absent SELinux options from empty ones', () => {
    assert.equal(sandboxContext({})?.runAsUser, undefined);
    assert.equal(sandboxContext({})?.selinuxOptions, undefined);
    const set = sandboxContext({
      runAsUser: 0,
      runAsGroup: 7,
      seLinuxOptions: { user: '', role: '', type: 't', level: '' },
      supplementalGroups: [5, 6],
      supplementalGroupsPolicy: 'Strict',
      privileged: true,
    });
    assert.deepEqual([set?.runAsUser, set?.runAsGroup], [{ value: 0n }, { value: 7n }]);
    assert.equal(set?.selinuxOptions?.type, 't');
    assert.deepEqual(set?.supplementalGroups, [5n, 6n]);
    assert.equal(set?.supplementalGroupsPolicy, cri.SupplementalGroupsPolicy.Strict);
    assert.equal(set?.privileged, true);
    assert.equal(set?.seccomp?.profileType, cri.SecurityProfile_ProfileType.RuntimeDefault);
  });
});

describe('toCriContainerConfig (4.5)', () => {
  it('carries every field; values of the environment are UTF-8 (L-278)', () => {
    const base = containerConfig(sandboxConfig({ uid: 'u' }), { image: 'sha256:1', attempt: 2, command: ['a'] });
    const config = containerOnWire({ ...base, args: ['b'], workingDir: '/w', stdin: true, stdinOnce: true, tty: true });
    assert.deepEqual(config.metadata, { name: 'web', attempt: 2 });
    assert.equal(config.image?.image, 'sha256:1');
    assert.equal(config.image?.userSpecifiedImage, 'sha256:1');
    assert.deepEqual([config.command, config.args, config.workingDir], [['a'], ['b'], '/w']);
    assert.deepEqual(
      config.envs.map(({ key, value }) => [key, Buffer.from(value).toString('utf8')]),
      [['GREETING', 'grüß dich']],
    );
    assert.deepEqual({ ...config.labels }, base.labels);
    assert.deepEqual({ ...config.annotations }, base.annotations);
    assert.deepEqual([config.logPath, config.stdin, config.stdinOnce, config.tty], ['web/2.log', true, true, true]);
    assert.equal(config.stopSignal, cri.Signal.RUNTIME_DEFAULT);
    const stopSignalOf = (stopSignal: string) => toCriContainerConfig({ ...base, stopSignal }).stopSignal;
    assert.deepEqual(['SIGUSR1', 'SIGRTMIN+3', 'SIGRTMAX-2', 'nonsense'].map(stopSignalOf), [
      cri.Signal.SIGUSR1,
      cri.Signal.SIGRTMINPLUS3,
      cri.Signal.SIGRTMAXMINUS2,
      cri.Signal.RUNTIME_DEFAULT,
    ]);
  });

  it('carries mounts: propagation, id mappings, image volumes', () => {
    const base = containerConfig(sandboxConfig({ uid: 'u' }), { image: 'i' });
    const ids = [{ hostId: 1, containerId: 0, length: 2 }];
    const plain = { containerPath: '/c', hostPath: '/h', readonly: true, seLinuxRelabel: true, recursiveReadOnly: true } as const;
    const { mounts } = containerOnWire({
      ...base,
      mounts: [
        { ...plain, propagation: 'private' },
        { ...plain, propagation: 'hostToContainer', uidMappings: ids, gidMappings: ids },
        { ...plain, propagation: 'bidirectional', hostPath: '', image: { image: 'v' }, imageSubPath: 'sub' },
      ],
    });
    const { MountPropagation: propagation } = cri;
    assert.deepEqual(
      mounts.map((mount) => mount.propagation),
      [propagation.PROPAGATION_PRIVATE, propagation.PROPAGATION_HOST_TO_CONTAINER, propagation.PROPAGATION_BIDIRECTIONAL],
    );
    assert.deepEqual(
      mounts.map((m) => [m.containerPath, m.hostPath, m.readonly, m.selinuxRelabel, m.recursiveReadOnly]),
      [
        ['/c', '/h', true, true, true],
        ['/c', '/h', true, true, true],
        ['/c', '', true, true, true],
      ],
    );
    assert.deepEqual([mounts[1]?.uidMappings, mounts[1]?.gidMappings], [ids, ids]);
    assert.deepEqual([mounts[2]?.image?.image, mounts[2]?.imageSubPath], ['v', 'sub']);
    assert.equal(mounts[0]?.image, undefined);
  });

  it('carries the security context (4.10)', () => {
    assert.equal(containerContext({})?.capabilities, undefined);
    assert.equal(containerContext({})?.apparmor, undefined);
    const set = containerContext({
      capabilities: { add: ['NET_ADMIN'], drop: ['ALL'] },
      privileged: true,
      runAsUser: 0,
      runAsUsername: 'nobody',
      readonlyRootfs: true,
      noNewPrivs: true,
      maskedPaths: ['/proc/kcore'],
      readonlyPaths: ['/proc/sys'],
      seccomp: { type: 'Localhost', localhostRef: '/s.json' },
    });
    assert.deepEqual(set?.capabilities, { addCapabilities: ['NET_ADMIN'], dropCapabilities: ['ALL'], addAmbientCapabilities: [] });
    assert.deepEqual([set?.privileged, set?.runAsUser, set?.runAsUsername], [true, { value: 0n }, 'nobody']);
    assert.deepEqual([set?.readonlyRootfs, set?.noNewPrivs], [true, true]);
    assert.deepEqual([set?.maskedPaths, set?.readonlyPaths], [['/proc/kcore'], ['/proc/sys']]);
    assert.deepEqual(set?.seccomp, { profileType: cri.SecurityProfile_ProfileType.Localhost, localhostRef: '/s.json' });
  });

  const profiles: readonly (readonly [ContainerContext['apparmor'], string])[] = [
    [{ type: 'RuntimeDefault' }, 'runtime/default'],
    [{ type: 'Unconfined' }, 'unconfined'],
    [{ type: 'Localhost', localhostRef: 'mine' }, 'localhost/mine'],
  ];
  for (const [apparmor, text] of profiles) {
    it(`sends AppArmor ${text} in both forms (L-265)`, () => {
      const context = containerContext({ ...(apparmor && { apparmor }) });
      assert.equal(context?.apparmorProfile, text);
      assert.deepEqual(context?.apparmor, {
        profileType: cri.SecurityProfile_ProfileType[apparmor?.type ?? 'Unconfined'],
        localhostRef: apparmor?.localhostRef ?? '',
      });
    });
  }
});

describe('toCriResources (4.9)', () => {
  it('carries every field, beyond 2^32 as well', () => {
    const resources: LinuxResources = {
      cpuPeriod: 100_000,
      cpuQuota: -1,
      cpuShares: 1024,
      memoryLimitBytes: 2 ** 45,
      memorySwapLimitBytes: 2 ** 46,
      oomScoreAdj: -997,
      cpusetCpus: '0-1',
      cpusetMems: '0',
      hugepageLimits: [{ pageSize: '2MB', limitBytes: 2 ** 33 }],
      unified: { 'memory.oom.group': '1' },
    };
    const message = cri.LinuxContainerResources.fromPartial(toCriResources(resources));
    const decoded = cri.LinuxContainerResources.decode(cri.LinuxContainerResources.encode(message).finish());
    assert.deepEqual(
      { ...decoded, unified: { ...decoded.unified } },
      {
        cpuPeriod: 100_000n,
        cpuQuota: -1n,
        cpuShares: 1024n,
        memoryLimitInBytes: 2n ** 45n,
        memorySwapLimitInBytes: 2n ** 46n,
        oomScoreAdj: -997n,
        cpusetCpus: '0-1',
        cpusetMems: '0',
        hugepageLimits: [{ pageSize: '2MB', limit: 2n ** 33n }],
        unified: { 'memory.oom.group': '1' },
      },
    );
  });
});

describe('images', () => {
  it('sends the reference, the text of the manifest and the credentials, never `auth` (L-281)', () => {
    assert.deepEqual(toCriImageSpec({ image: 'sha256:1', userSpecifiedImage: 'nginx', runtimeHandler: 'h', annotations: { a: 'b' } }), {
      image: 'sha256:1',
      userSpecifiedImage: 'nginx',
      runtimeHandler: 'h',
      annotations: { a: 'b' },
    });
    assert.deepEqual(toCriAuth({ username: 'u', password: 'p', serverAddress: 's' }), {
      username: 'u',
      password: 'p',
      serverAddress: 's',
      identityToken: '',
      registryToken: '',
    });
  });
});
