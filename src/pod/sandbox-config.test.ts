import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildNode } from '../../test/support/node-facts.ts';
import { buildContainer, buildPod } from '../../test/support/pods.ts';
import type { ContainerPort, PodSpec } from '../api/gen/kubernetes.ts';
import type { Pod } from '../api/pod.ts';
import { hostsFileText } from './hosts-file.ts';
import type { NodeFacts } from './node-facts.ts';
import { type BuiltSandbox, buildSandboxConfig, sysctlName } from './sandbox-config.ts';
import type { UserNamespace } from './security-context.ts';

const inCluster: Partial<NodeFacts> = { clusterDns: ['10.96.0.10'], clusterDomain: 'cluster.local' };

function build(pod: Pod, node: Partial<NodeFacts> = inCluster, users?: UserNamespace): BuiltSandbox {
  const result = buildSandboxConfig(pod, { node: buildNode(node), attempt: 3, users });
  assert.ok(!('reason' in result), 'reason' in result ? result.message : '');
  return result;
}

function failure(spec: Partial<PodSpec>, node: Partial<NodeFacts> = inCluster): string {
  const result = buildSandboxConfig(buildPod(spec), { node: buildNode(node), attempt: 0 });
  assert.ok('reason' in result);
  assert.equal(result.reason, 'FailedCreatePodSandBox');
  return result.message;
}

test('section 1.8, C-350 labels: the Pod’s, then ours, which win; annotations verbatim', () => {
  const { config } = build(
    buildPod({}, { labels: { app: 'web', 'io.kubernetes.pod.name': 'liar' }, annotations: { 'kubernetes.io/config.source': 'file' } }),
  );
  assert.deepEqual(config.labels, {
    app: 'web',
    'io.kubernetes.pod.name': 'web-node1',
    'io.kubernetes.pod.namespace': 'default',
    'io.kubernetes.pod.uid': 'uid-1',
  });
  assert.deepEqual(config.annotations, { 'kubernetes.io/config.source': 'file' });
  assert.deepEqual(config.metadata, { name: 'web-node1', uid: 'uid-1', namespace: 'default', attempt: 3 });
  assert.equal(config.logDirectory, '/var/log/pods/default_web-node1_uid-1');
  assert.equal(config.linux.cgroupParent, '/kubepods/besteffort/poduid-1');
});

const long = 'a'.repeat(62);
for (const [title, spec, name, expected] of [
  ['the Pod’s name', {}, 'web-node1', 'web-node1'],
  ['spec.hostname', { hostname: 'other' }, 'web-node1', 'other'],
  ['a long name, cut', {}, `${long}bc`, `${long}b`],
  ['a long name that ends in - and . at the cut (C-351)', {}, `${'a'.repeat(60)}-.-x`, 'a'.repeat(60)],
  ['empty on the node’s network', { hostNetwork: true }, 'web-node1', ''],
  ['hostnameOverride', { hostnameOverride: 'a.b.c', subdomain: 'sub' }, 'web-node1', 'a.b.c'],
  ['short with a subdomain (C-352)', { subdomain: 'sub' }, 'web-node1', 'web-node1'],
  [
    'full with setHostnameAsFQDN (C-352)',
    { subdomain: 'sub', setHostnameAsFQDN: true },
    'web-node1',
    'web-node1.sub.default.svc.cluster.local',
  ],
  ['setHostnameAsFQDN without a subdomain', { setHostnameAsFQDN: true }, 'web-node1', 'web-node1'],
] as const) {
  test(`L-197, L-198 hostname: ${title}`, () => {
    assert.equal(build(buildPod(spec, { name })).config.hostname, expected);
  });
}

test('L-198 without a cluster domain the name ends in a dot', () => {
  assert.equal(build(buildPod({ subdomain: 'sub', setHostnameAsFQDN: true }), {}).config.hostname, 'web-node1.sub.default.svc.');
});

test('L-197, L-198, C-352 names that cannot be used', () => {
  const hostname = 'h'.repeat(40);
  const fqdn = `${hostname}.sub.default.svc.cluster.local`;
  assert.equal(
    failure({ hostname, subdomain: 'sub', setHostnameAsFQDN: true }),
    `failed to construct FQDN from pod hostname and cluster domain, FQDN ${fqdn} is too long (64 characters is the max, ${fqdn.length} characters requested)`,
  );
  for (const spec of [{ hostnameOverride: 'A_b' }, { hostnameOverride: 'a'.repeat(65) }, { hostname: 'a.b' }, { subdomain: 'A' }])
    failure(spec);
});

function ports(list: readonly ContainerPort[]): readonly string[] {
  const { config } = build(buildPod({ containers: [buildContainer({ ports: list })] }));
  return config.portMappings.map((port) => `${port.protocol} ${port.hostIp}:${port.hostPort}->${port.containerPort}`);
}

test('L-199 every declared port of the regular containers is sent', () => {
  assert.deepEqual(ports([{ containerPort: 80 }, { containerPort: 53, hostPort: 5353, protocol: 'UDP', hostIP: '127.0.0.1' }]), [
    'TCP :0->80',
    'UDP 127.0.0.1:5353->53',
  ]);
  const inits = buildPod({ initContainers: [buildContainer({ name: 'i', restartPolicy: 'Always', ports: [{ containerPort: 1 }] })] });
  assert.deepEqual(build(inits).config.portMappings, []);
});

test('L-199, L-200 duplicates and unknown protocols are warned of', () => {
  const list = [
    { containerPort: 80 },
    { containerPort: 80 },
    { containerPort: 80, name: 'a' },
    { containerPort: 81, name: 'a' },
    { containerPort: 80, protocol: 'X', hostIP: '::1' },
  ];
  assert.deepEqual(ports(list), ['TCP :0->80', 'TCP :0->80', 'TCP ::1:0->80']);
  const { warnings } = build(buildPod({ containers: [buildContainer({ ports: list })] }));
  assert.deepEqual(
    warnings.map((warning) => warning.reason),
    ['DuplicatePort', 'DuplicatePort', 'UnknownProtocol'],
  );
});

for (const [title, spec, expected] of [
  ['nothing', {}, ['pod', 'pod', 'container', 'node']],
  ['everything of the node', { hostNetwork: true, hostIPC: true, hostPID: true }, ['node', 'node', 'node', 'node']],
  ['a shared process namespace', { shareProcessNamespace: true }, ['pod', 'pod', 'pod', 'node']],
] as const) {
  test(`L-195, C-365 namespaces with ${title}`, () => {
    const found = build(buildPod(spec)).config.linux.securityContext.namespaceOptions;
    assert.deepEqual([found.network, found.ipc, found.pid, found.user?.mode], expected);
  });
}

const canMap = { ...inCluster, runtimeHandlers: [{ name: '', recursiveReadOnlyMounts: false, userNamespaces: true }] };
test('L-271, C-369 user namespaces need a runtime that has them and a range of ids', () => {
  const ids = [{ hostId: 65_536, containerId: 0, length: 65_536 }];
  const { config } = build(buildPod({ hostUsers: false }), canMap, { uids: ids, gids: ids });
  assert.deepEqual(config.linux.securityContext.namespaceOptions.user, { mode: 'pod', uids: ids, gids: ids });
  assert.equal(failure({ hostUsers: false }), "can't set `spec.hostUsers: false`, runtime does not support user namespaces");
  assert.match(failure({ hostUsers: false }, canMap), /no range of user ids/);
});

test('section 4.3, C-363 security of the sandbox', () => {
  const { config } = build(
    buildPod({
      initContainers: [buildContainer({ name: 'i', securityContext: { privileged: true } })],
      securityContext: {
        runAsUser: 1000,
        runAsGroup: 2000,
        fsGroup: 3000,
        supplementalGroups: [4000],
        supplementalGroupsPolicy: 'Strict',
        seccompProfile: { type: 'Unconfined' },
        seLinuxOptions: { level: 's0:c1' },
        sysctls: [{ name: 'net.ipv4.tcp_syncookies', value: '1' }],
      },
    }),
  );
  assert.deepEqual(config.linux.sysctls, { 'net.ipv4.tcp_syncookies': '1' });
  const { namespaceOptions: _, ...rest } = config.linux.securityContext;
  assert.deepEqual(rest, {
    privileged: true,
    seccomp: { type: 'RuntimeDefault' },
    runAsUser: 1000,
    runAsGroup: 2000,
    seLinuxOptions: { user: '', role: '', type: '', level: 's0:c1' },
    supplementalGroups: [3000, 4000],
    supplementalGroupsPolicy: 'Strict',
  });
  assert.match(failure({ securityContext: { supplementalGroupsPolicy: 'X' } }), /unsupported supplementalGroupsPolicy/);
});

test('section 4.3 sysctl names with / first have the two swapped', () => {
  assert.deepEqual(['net/ipv4/conf/eth0.5/x', 'net.ipv4.conf.eth0/5.x', 'kernel'].map(sysctlName), [
    'net.ipv4.conf.eth0/5.x',
    'net.ipv4.conf.eth0/5.x',
    'kernel',
  ]);
});

test('L-194 (difference) a RuntimeClass is a handler of the node’s own table', () => {
  const node = { ...inCluster, runtimeClasses: { gvisor: 'runsc' } };
  assert.equal(build(buildPod({ runtimeClassName: 'gvisor' }), node).runtimeHandler, 'runsc');
  assert.equal(build(buildPod(), node).runtimeHandler, '');
  assert.equal(
    failure({ runtimeClassName: 'kata' }, node),
    'RuntimeClass "kata" is not known to this node: in AgentConfiguration runtimeHandlers has gvisor',
  );
  assert.match(failure({ runtimeClassName: 'toString' }), /runtimeHandlers is empty/);
});

test('L-207 warnings come with the request', () => {
  assert.deepEqual(
    build(buildPod(), {}).warnings.map((warning) => warning.reason),
    ['MissingClusterDNS'],
  );
});

const local = `# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
`;
const aliases = {
  hostAliases: [
    { ip: '1.2.3.4', hostnames: ['a', 'b'] },
    { ip: '5.6.7.8', hostnames: ['c'] },
  ],
};
const aliasText = '\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n5.6.7.8\tc\n';
for (const [title, spec, ips, expected] of [
  ['two addresses', {}, ['10.0.0.9', 'fd00::9'], `${local}10.0.0.9\tweb-node1\nfd00::9\tweb-node1\n`],
  ['a subdomain', { subdomain: 'sub' }, ['10.0.0.9'], `${local}10.0.0.9\tweb-node1.sub.default.svc.cluster.local\tweb-node1\n`],
  ['aliases', aliases, ['10.0.0.9'], `${local}10.0.0.9\tweb-node1\n${aliasText}`],
  [
    'the node’s network',
    { hostNetwork: true },
    [],
    '# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n192.0.2.7 node1\n',
  ],
  [
    'the node’s network with aliases',
    { hostNetwork: true, ...aliases },
    [],
    `# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n192.0.2.7 node1\n${aliasText}`,
  ],
  ['no address', {}, [], undefined],
] as const) {
  test(`L-240 … L-243, C-356 hosts file with ${title}`, () => {
    assert.equal(hostsFileText(buildPod(spec), ips, buildNode(inCluster)), expected);
  });
}
