import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildNode } from '../../test/support/node-facts.ts';
import { buildContainer, buildPod } from '../../test/support/pods.ts';
import type { Container, PodSpec, SecurityContext } from '../api/gen/kubernetes.ts';
import type { Pod } from '../api/pod.ts';
import { buildContainerConfig, type ContainerContext } from './container-config.ts';
import type { NodeFacts } from './node-facts.ts';
import type { ContainerConfig } from './runtime-config.ts';
import type { ImageUser } from './security-context.ts';

function context(change: Partial<ContainerContext> = {}): ContainerContext {
  return {
    node: buildNode(),
    attempt: 2,
    imageRef: 'sha256:1',
    imageUser: undefined,
    podIps: ['10.0.0.9'],
    mounts: [],
    envFiles: new Map(),
    ...change,
  };
}

function build(
  container: Container,
  spec: Partial<PodSpec> = {},
  change: Partial<ContainerContext> = {},
  metadata: Partial<Pod['metadata']> = {},
): ContainerConfig {
  const result = buildContainerConfig(buildPod({ containers: [container], ...spec }, metadata), container, context(change));
  assert.ok(!('reason' in result), 'reason' in result ? result.message : '');
  return result.config;
}

function failure(container: Container, spec: Partial<PodSpec> = {}, change: Partial<ContainerContext> = {}): string {
  const result = buildContainerConfig(buildPod({ containers: [container], ...spec }), container, context(change));
  assert.ok('reason' in result);
  assert.equal(result.reason, 'CreateContainerConfigError');
  return result.message;
}

test('L-430 the stop signal is passed on, and nothing where there is none (differs)', () => {
  const signalOf = (lifecycle: Partial<Container>): string | undefined => build(buildContainer(lifecycle)).stopSignal;
  assert.deepEqual([{ lifecycle: { stopSignal: 'SIGUSR1' } }, { lifecycle: {} }, {}].map(signalOf), ['SIGUSR1', undefined, undefined]);
});

test('section 1.8, C-350 labels and annotations, ours among them', () => {
  const container = buildContainer({
    name: 'foo',
    image: 'bar',
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
    ports: [{ containerPort: 80, name: 'web', protocol: 'TCP' }],
    lifecycle: { preStop: { exec: { command: ['bye'] } } },
  });
  const config = build(
    container,
    { terminationGracePeriodSeconds: 30 },
    { backoffMs: 20_000 },
    { labels: { app: 'x' }, annotations: { note: 'y' } },
  );
  assert.deepEqual(config.labels, {
    'io.kubernetes.pod.name': 'web-node1',
    'io.kubernetes.pod.namespace': 'default',
    'io.kubernetes.pod.uid': 'uid-1',
    'io.kubernetes.container.name': 'foo',
  });
  assert.deepEqual(config.annotations, {
    'io.kubernetes.container.hash': '11a6d6d6',
    'io.kubernetes.container.restartCount': '2',
    'io.kubernetes.container.terminationMessagePath': '/dev/termination-log',
    'io.kubernetes.container.terminationMessagePolicy': 'File',
    'io.kubernetes.pod.terminationGracePeriod': '30',
    'io.kubernetes.container.preStopHandler': '{"exec":{"command":["bye"]}}',
    'io.kubernetes.container.ports': '[{"name":"web","containerPort":80,"protocol":"TCP"}]',
    'pinpod.io/container.backoffMs': '20000',
    'pinpod.io/container.resources': '{}',
  });
});

test('section 4.5, L-220 plain fields, with variables in command and arguments', () => {
  const config = build(
    buildContainer({
      command: ['run', '$(A)'],
      args: ['$$(A)', '$(B)'],
      workingDir: '/w',
      env: [{ name: 'A', value: '1' }],
      stdin: true,
      stdinOnce: true,
      tty: true,
    }),
  );
  assert.deepEqual([config.command, config.args, config.workingDir], [['run', '1'], ['$(A)', '$(B)'], '/w']);
  assert.deepEqual(config.envs, [{ key: 'A', value: '1' }]);
  assert.deepEqual([config.stdin, config.stdinOnce, config.tty], [true, true, true]);
  assert.deepEqual(
    [config.metadata, config.logPath, config.image],
    [{ name: 'app', attempt: 2 }, 'app/2.log', { image: 'sha256:1', userSpecifiedImage: 'nginx' }],
  );
});

type Security = ContainerConfig['linux']['securityContext'];

function security(
  own: SecurityContext | undefined,
  spec: Partial<PodSpec> = {},
  change: Partial<ContainerContext> = {},
  annotations: Record<string, string> = {},
): Security {
  return build(buildContainer({ securityContext: own }), spec, change, { annotations }).linux.securityContext;
}

test('L-259, L-260, L-262, C-362 what is off unless asked for', () => {
  const plain = security(undefined, {}, { node: buildNode({ thermalThrottlePaths: ['/sys/devices/system/cpu/cpu0/thermal_throttle'] }) });
  assert.deepEqual([plain.privileged, plain.readonlyRootfs, plain.noNewPrivs, plain.capabilities], [false, false, false, undefined]);
  const masked = 'asound acpi interrupts kcore keys latency_stats timer_list timer_stats sched_debug scsi'.split(' ');
  assert.deepEqual(plain.maskedPaths, [
    ...masked.map((name) => `/proc/${name}`),
    '/sys/firmware',
    '/sys/devices/virtual/powercap',
    '/sys/devices/system/cpu/cpu0/thermal_throttle',
  ]);
  assert.deepEqual(plain.readonlyPaths, ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger']);
  const asked = security({
    privileged: true,
    readOnlyRootFilesystem: true,
    allowPrivilegeEscalation: false,
    procMount: 'Unmasked',
    capabilities: { add: ['NET_ADMIN'], drop: ['ALL'] },
  });
  assert.deepEqual([asked.privileged, asked.readonlyRootfs, asked.noNewPrivs], [true, true, true]);
  assert.deepEqual(asked.capabilities, { add: ['NET_ADMIN'], drop: ['ALL'] });
  assert.deepEqual([asked.maskedPaths, asked.readonlyPaths], [[], []]);
});

for (const [title, own, shared, image, expected] of [
  ['the container’s', { runAsUser: 1, runAsGroup: 2 }, { runAsUser: 3, runAsGroup: 4 }, { uid: 5, username: undefined }, [1, undefined, 2]],
  ['the Pod’s', undefined, { runAsUser: 3, runAsGroup: 4 }, undefined, [3, undefined, 4]],
  ['the image’s uid', undefined, undefined, { uid: 5, username: undefined }, [5, undefined, undefined]],
  ['the image’s name', undefined, undefined, { uid: undefined, username: 'nginx' }, [undefined, 'nginx', undefined]],
  ['nobody’s (L-219)', undefined, undefined, undefined, [0, undefined, undefined]],
] as const) {
  test(`L-257, L-258 user is ${title}`, () => {
    const found = security(own, { ...(shared !== undefined && { securityContext: shared }) }, { imageUser: image });
    assert.deepEqual([found.runAsUser, found.runAsUsername, found.runAsGroup], expected);
  });
}

const where = '(pod: "web-node1_default(uid-1)", container: app)';
for (const [title, own, shared, image, expected] of [
  ['runAsUser 0', { runAsNonRoot: true, runAsUser: 0 }, undefined, undefined, `container's runAsUser breaks non-root policy ${where}`],
  [
    'image uid 0',
    { runAsNonRoot: true },
    undefined,
    { uid: 0, username: undefined },
    `container has runAsNonRoot and image will run as root ${where}`,
  ],
  ['no image user', undefined, { runAsNonRoot: true }, undefined, `container has runAsNonRoot and image will run as root ${where}`],
  [
    'a name',
    undefined,
    { runAsNonRoot: true },
    { uid: undefined, username: 'nginx' },
    `container has runAsNonRoot and image has non-numeric user (nginx), cannot verify user is non-root ${where}`,
  ],
  ['image uid 1000', { runAsNonRoot: true }, undefined, { uid: 1000, username: undefined }, undefined],
  ['runAsUser 1000 over a root image', { runAsNonRoot: true }, { runAsUser: 1000 }, { uid: 0, username: undefined }, undefined],
  [
    'the container allows what the Pod forbids',
    { runAsNonRoot: false },
    { runAsNonRoot: true },
    { uid: 0, username: undefined },
    undefined,
  ],
] as const) {
  test(`L-218, C-364 runAsNonRoot: ${title}`, () => {
    const container = buildContainer({ securityContext: own });
    const spec: Partial<PodSpec> = { ...(shared !== undefined && { securityContext: shared }) };
    const imageUser: ImageUser | undefined = image;
    if (expected === undefined) build(container, spec, { imageUser });
    else assert.equal(failure(container, spec, { imageUser }), expected);
  });
}

for (const [title, own, shared, node, expected] of [
  ['nothing', undefined, undefined, {}, { type: 'Unconfined' }],
  ['nothing, seccompDefault', undefined, undefined, { seccompDefault: true }, { type: 'RuntimeDefault' }],
  ['Unconfined, seccompDefault', { type: 'Unconfined' }, undefined, { seccompDefault: true }, { type: 'Unconfined' }],
  ['the Pod’s', undefined, { type: 'RuntimeDefault' }, {}, { type: 'RuntimeDefault' }],
  ['the container’s over the Pod’s', { type: 'Unconfined' }, { type: 'RuntimeDefault' }, {}, { type: 'Unconfined' }],
  [
    'Localhost',
    { type: 'Localhost', localhostProfile: 'a/b.json' },
    undefined,
    {},
    { type: 'Localhost', localhostRef: '/var/lib/pinpod/seccomp/a/b.json' },
  ],
] as const) {
  test(`L-263, C-363 seccomp: ${title}`, () => {
    const facts: Partial<NodeFacts> = node;
    const found = security(
      { ...(own !== undefined && { seccompProfile: own }) },
      { ...(shared !== undefined && { securityContext: { seccompProfile: shared } }) },
      { node: buildNode(facts) },
    );
    assert.deepEqual(found.seccomp, expected);
  });
}

test('L-264 a privileged container is sent its profile all the same', () => {
  const own = security({ privileged: true, seccompProfile: { type: 'RuntimeDefault' } });
  assert.deepEqual([own.privileged, own.seccomp], [true, { type: 'RuntimeDefault' }]);
});

test('L-273 in a user namespace users and groups are those inside', () => {
  const ids = [{ hostId: 65_536, containerId: 0, length: 65_536 }];
  const found = security(
    { runAsUser: 1000 },
    { hostUsers: false, securityContext: { fsGroup: 2000 } },
    {
      users: { uids: ids, gids: ids },
      node: buildNode({ runtimeHandlers: [{ name: '', recursiveReadOnlyMounts: false, userNamespaces: true }] }),
    },
  );
  assert.deepEqual([found.runAsUser, found.supplementalGroups], [1000, [2000]]);
  assert.deepEqual(found.namespaceOptions.user, { mode: 'pod', uids: ids, gids: ids });
});

test('L-263 Localhost without a profile is an error', () => {
  const message = failure(buildContainer({ securityContext: { seccompProfile: { type: 'Localhost' } } }));
  assert.equal(message, 'localhostProfile must be set if seccompProfile type is Localhost.');
});

const annotation = 'container.apparmor.security.beta.kubernetes.io/app';
for (const [title, own, annotations, shared, expected] of [
  ['nothing', undefined, {}, undefined, undefined],
  [
    'the field of the container first',
    { type: 'Localhost', localhostProfile: 'p' },
    { [annotation]: 'unconfined' },
    { type: 'RuntimeDefault' },
    { type: 'Localhost', localhostRef: 'p' },
  ],
  ['then its annotation', undefined, { [annotation]: 'localhost/q' }, { type: 'RuntimeDefault' }, { type: 'Localhost', localhostRef: 'q' }],
  ['runtime/default', undefined, { [annotation]: 'runtime/default' }, undefined, { type: 'RuntimeDefault' }],
  ['then the Pod’s field', undefined, {}, { type: 'Unconfined' }, { type: 'Unconfined' }],
] as const) {
  test(`L-265 AppArmor: ${title}`, () => {
    const found = security(
      { ...(own !== undefined && { appArmorProfile: own }) },
      { ...(shared !== undefined && { securityContext: { appArmorProfile: shared } }) },
      {},
      annotations,
    );
    assert.deepEqual(found.apparmor, expected);
  });
}

test('L-261, L-267, L-268 groups, SELinux and namespaces', () => {
  const found = security(
    { seLinuxOptions: { type: 'spc_t' } },
    { hostPID: true, securityContext: { fsGroup: 1, supplementalGroups: [2, 3], seLinuxOptions: { level: 's0' } } },
  );
  assert.deepEqual([found.supplementalGroups, found.supplementalGroupsPolicy], [[1, 2, 3], 'Merge']);
  assert.deepEqual(found.seLinuxOptions, { user: '', role: '', type: 'spc_t', level: '' });
  assert.equal(found.namespaceOptions.pid, 'node');
});

test('L-214, L-230 trouble with variables is the container’s reason', () => {
  assert.equal(
    failure(buildContainer({ env: [{ name: 'A', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } }] })),
    "couldn't get secret default/s, no kubeClient defined",
  );
});
