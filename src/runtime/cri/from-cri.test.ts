import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { criKeys } from '../../pod/observation.ts';
import {
  fromCriContainer,
  fromCriContainerStats,
  fromCriContainerStatus,
  fromCriFilesystem,
  fromCriImage,
  fromCriNetwork,
  fromCriSandboxStats,
  fromCriSandboxStatus,
  fromCriStatus,
  fromNanos,
} from './from-cri.ts';
import * as cri from './gen/runtime.ts';

const createdAt = 1_790_000_000_123_456_789n;

function sandboxStatus(change: cri.DeepPartial<cri.PodSandboxStatus> = {}): cri.PodSandboxStatus {
  return cri.PodSandboxStatus.fromPartial({
    id: 's',
    metadata: { name: 'p', namespace: 'n', uid: 'u', attempt: 4 },
    createdAt,
    network: { ip: '10.0.0.2' },
    linux: { namespaces: { options: { network: cri.NamespaceMode.POD } } },
    ...change,
  });
}

function containerStatus(change: cri.DeepPartial<cri.ContainerStatus> = {}): cri.ContainerStatus {
  return cri.ContainerStatus.fromPartial({
    id: 'c',
    metadata: { name: 'web', attempt: 1 },
    createdAt,
    image: { image: 'docker.io/library/nginx:latest' },
    imageRef: 'sha256:1',
    labels: { [criKeys.podUid]: 'u' },
    ...change,
  });
}

describe('times (L-101, L-278)', () => {
  it('keeps the microseconds of nanoseconds that no double can hold', () => assert.equal(fromNanos(createdAt), 1_790_000_000_123.456));

  it('takes 0 for unset', () => {
    const { startedAt, finishedAt } = fromCriContainerStatus(containerStatus({ startedAt: createdAt }), 's');
    assert.deepEqual([startedAt, finishedAt], [fromNanos(createdAt), undefined]);
  });
});

it("the stop signal in Kubernetes' words, if there is one (L-430)", () => {
  const signals = [cri.Signal.SIGUSR1, cri.Signal.SIGRTMINPLUS3, cri.Signal.SIGRTMAXMINUS2, cri.Signal.RUNTIME_DEFAULT] as const;
  const names = signals.map((stopSignal) => fromCriContainerStatus(containerStatus({ stopSignal }), 's').stopSignal);
  assert.deepEqual(names, ['SIGUSR1', 'SIGRTMIN+3', 'SIGRTMAX-2', undefined]);
});

describe('sandbox addresses (L-099, L-122)', () => {
  const cases: readonly (readonly [string, cri.DeepPartial<cri.PodSandboxNetworkStatus> | undefined, readonly string[], boolean])[] = [
    ['no network block: none, nothing lost', undefined, [], false],
    ['one', { ip: '10.0.0.2' }, ['10.0.0.2'], false],
    ['dual stack, in order', { ip: '10.0.0.2', additionalIps: [{ ip: 'fd00::2' }] }, ['10.0.0.2', 'fd00::2'], false],
    ['an empty address: lost', { ip: '' }, [], true],
    ['an invalid one discards all', { ip: '10.0.0.2', additionalIps: [{ ip: 'x' }] }, [], false],
  ];
  for (const [name, network, ips, lostNetwork] of cases) {
    it(name, () => {
      const status = fromCriSandboxStatus(sandboxStatus({ network }));
      assert.deepEqual([status.ips, status.lostNetwork], [ips, lostNetwork]);
    });
  }

  it('names the invalid one', () => {
    assert.equal(fromCriNetwork(cri.PodSandboxNetworkStatus.fromPartial({ ip: '300.0.0.1' })).invalid, '300.0.0.1');
  });
});

describe('fromCriSandboxStatus', () => {
  it('knows whether the network is the node’s, and when the runtime does not say', () => {
    const of = (linux: cri.DeepPartial<cri.LinuxPodSandboxStatus> | undefined) =>
      fromCriSandboxStatus(sandboxStatus({ linux })).hostNetwork;
    assert.equal(of({ namespaces: { options: { network: cri.NamespaceMode.NODE } } }), true);
    assert.equal(of({ namespaces: { options: {} } }), false);
    assert.equal(of(undefined), undefined);
  });

  const broken: readonly cri.DeepPartial<cri.PodSandboxStatus>[] = [
    { id: '' },
    { metadata: undefined },
    { metadata: { name: 'p', namespace: 'n' } },
    { metadata: { name: 'p', uid: 'u' } },
    { metadata: { namespace: 'n', uid: 'u' } },
    { createdAt: 0n },
  ];
  for (const [index, change] of broken.entries()) {
    it(`refuses an incomplete status (4.2), case ${index + 1}`, () =>
      assert.throws(() => fromCriSandboxStatus(sandboxStatus(change)), { name: 'RuntimeError', code: 'internal' }));
  }
});

describe('containers', () => {
  const states: readonly (readonly [cri.ContainerState, string])[] = [
    [cri.ContainerState.CONTAINER_CREATED, 'created'],
    [cri.ContainerState.CONTAINER_RUNNING, 'running'],
    [cri.ContainerState.CONTAINER_EXITED, 'exited'],
    [cri.ContainerState.CONTAINER_UNKNOWN, 'unknown'],
  ];
  for (const [state, expected] of states) {
    it(`maps ${expected} (L-101)`, () => {
      assert.equal(fromCriContainerStatus(containerStatus({ state }), 's').state, expected);
      assert.equal(fromCriContainer(cri.Container.fromPartial({ id: 'c', state })).state, expected);
    });
  }

  it('takes unknown numbers of newer runtimes for unknown', () => {
    const status = { ...containerStatus(), state: 9 as cri.ContainerState };
    assert.equal(fromCriContainerStatus(status, 's').state, 'unknown');
  });

  it('shows the image as the user wrote it where the runtime kept that (L-280)', () => {
    const image = { image: 'sha256:2', userSpecifiedImage: 'nginx' };
    const status = fromCriContainerStatus(containerStatus({ image, imageId: 'sha256:3' }), 's');
    assert.deepEqual([status.image, status.imageRef, status.imageId], ['nginx', 'sha256:1', 'sha256:3']);
    assert.equal(fromCriContainerStatus(containerStatus(), 's').image, 'docker.io/library/nginx:latest');
  });

  it('has an empty UID without the label (L-079)', () => {
    assert.equal(fromCriContainer(cri.Container.fromPartial({ id: 'c' })).podUid, '');
  });

  it('carries exit, log, mounts, resources and user', () => {
    const status = fromCriContainerStatus(
      containerStatus({
        exitCode: 137,
        reason: 'OOMKilled',
        message: 'm',
        logPath: '/l',
        mounts: [{ containerPath: '/c', hostPath: '/h', readonly: true, recursiveReadOnly: true }],
        resources: { linux: { cpuShares: 2n, cpuQuota: -1n, cpuPeriod: 100_000n, memoryLimitInBytes: 2n ** 40n } },
        user: { linux: { uid: 1n, gid: 2n, supplementalGroups: [3n] } },
      }),
      's',
    );
    assert.deepEqual(
      [status.sandboxId, status.exitCode, status.reason, status.message, status.logPath],
      ['s', 137, 'OOMKilled', 'm', '/l'],
    );
    assert.deepEqual(status.mounts, [{ containerPath: '/c', hostPath: '/h', readonly: true, recursiveReadOnly: true }]);
    assert.deepEqual(status.resources, { cpuShares: 2, cpuQuota: -1, cpuPeriod: 100_000, memoryLimitBytes: 2 ** 40 });
    assert.deepEqual(status.user, { uid: 1, gid: 2, supplementalGroups: [3] });
  });

  const broken: readonly cri.DeepPartial<cri.ContainerStatus>[] = [
    { id: '' },
    { metadata: undefined },
    { metadata: { name: '' } },
    { createdAt: 0n },
    { image: undefined },
    { image: { image: '' } },
    { imageRef: '' },
  ];
  for (const [index, change] of broken.entries()) {
    it(`refuses an incomplete status (4.2), case ${index + 1}`, () =>
      assert.throws(() => fromCriContainerStatus(containerStatus(change), 's'), { name: 'RuntimeError', code: 'internal' }));
  }
});

describe('images, status, statistics', () => {
  it('tells an image of user 0 from one that says nothing (L-219)', () => {
    const of = (image: cri.DeepPartial<cri.Image>) => fromCriImage(cri.Image.fromPartial({ id: 'i', size: 5n, ...image }));
    assert.deepEqual([of({}).uid, of({}).username], [undefined, undefined]);
    assert.deepEqual([of({ uid: { value: 0n } }).uid, of({ username: 'www' }).username], [0, 'www']);
    assert.equal(of({}).sizeBytes, 5);
  });

  it('wants at least two conditions (L-109)', () => {
    const conditions = [{ type: 'RuntimeReady', status: true }];
    assert.throws(() => fromCriStatus(cri.StatusResponse.fromPartial({ status: { conditions } })), {
      name: 'RuntimeError',
      message: 'RuntimeReady or NetworkReady condition are not set',
    });
    assert.throws(() => fromCriStatus(cri.StatusResponse.fromPartial({})), { name: 'RuntimeError' });
  });

  it('reads features of handlers, false when not said (L-115)', () => {
    const conditions = [{ type: 'RuntimeReady', status: true }, { type: 'NetworkReady' }];
    const status = fromCriStatus(
      cri.StatusResponse.fromPartial({
        status: { conditions },
        runtimeHandlers: [{ name: '' }, { name: 'runc', features: { recursiveReadOnlyMounts: true, userNamespaces: true } }],
        features: { supplementalGroupsPolicy: true },
      }),
    );
    assert.deepEqual(status.handlers, [
      { name: '', recursiveReadOnlyMounts: false, userNamespaces: false },
      { name: 'runc', recursiveReadOnlyMounts: true, userNamespaces: true },
    ]);
    assert.equal(status.features.supplementalGroupsPolicy, true);
  });

  it('tells a count of 0 from an unknown one, and lists the default interface once', () => {
    const stats = cri.ContainerStats.fromPartial({
      attributes: { id: 'c' },
      cpu: { timestamp: 1_000_000n, usageNanoCores: { value: 0n } },
    });
    assert.deepEqual(fromCriContainerStats(stats).cpu, { timestamp: 1, usageCoreNanoSeconds: undefined, usageNanoCores: 0 });
    const eth0 = { name: 'eth0', rxBytes: { value: 7n } };
    const pod = fromCriSandboxStats(
      cri.PodSandboxStats.fromPartial({
        attributes: { id: 's', metadata: { uid: 'u' } },
        linux: { network: { defaultInterface: eth0, interfaces: [eth0, { name: 'eth1' }] }, process: { processCount: { value: 2n } } },
      }),
    );
    assert.deepEqual(
      pod.network?.interfaces.map(({ name, rxBytes }) => [name, rxBytes]),
      [
        ['eth0', 7],
        ['eth1', 0],
      ],
    );
    assert.deepEqual([pod.podUid, pod.processCount], ['u', 2]);
    const filesystem = fromCriFilesystem(cri.FilesystemUsage.fromPartial({ fsId: { mountpoint: '/m' }, usedBytes: { value: 9n } }));
    assert.deepEqual(filesystem, { timestamp: 0, mountpoint: '/m', usedBytes: 9, inodesUsed: 0 });
  });
});
