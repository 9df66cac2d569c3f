import assert from 'node:assert/strict';
import { test } from 'node:test';
import { container, decoded, defaulted, type Json, type JsonObject } from '../../test/support/manifest.ts';
import { defaultPod } from './defaults.ts';

const set = { imagePullPolicy: 'IfNotPresent', terminationMessagePath: '/dev/termination-log', terminationMessagePolicy: 'File' };
const probe = { timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3 };

test('S-102 … S-110 the smallest Pod', () => {
  assert.deepEqual(defaulted({}), {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'web' },
    spec: {
      containers: [{ name: 'web', image: 'nginx:1', ...set }],
      dnsPolicy: 'ClusterFirst',
      enableServiceLinks: true,
      restartPolicy: 'Always',
      schedulerName: 'default-scheduler',
      securityContext: {},
      terminationGracePeriodSeconds: 30,
    },
  });
});

/** What becomes of one container. */
const containerRows: readonly (readonly [rule: string, change: JsonObject, expected: JsonObject])[] = [
  [
    'S-099 limits are requests',
    { resources: { limits: { cpu: '1', memory: '1Gi' }, requests: { cpu: '100m' } } },
    { resources: { limits: { cpu: '1', memory: '1Gi' }, requests: { cpu: '100m', memory: '1Gi' } } },
  ],
  ['S-109 latest', { image: 'nginx' }, { imagePullPolicy: 'Always' }],
  ['S-109 an own policy stays', { image: 'nginx', imagePullPolicy: 'Never' }, { imagePullPolicy: 'Never' }],
  ['S-110 an own path stays', { terminationMessagePath: '/x' }, { terminationMessagePath: '/x' }],
  ['S-111 protocol', { ports: [{ containerPort: 1 }] }, { ports: [{ containerPort: 1, protocol: 'TCP' }] }],
  [
    'S-112 S-113 probes',
    { livenessProbe: { httpGet: { port: 1 }, periodSeconds: 5 }, startupProbe: { grpc: { port: 1 }, timeoutSeconds: 0 } },
    {
      livenessProbe: { ...probe, periodSeconds: 5, httpGet: { port: 1, path: '/', scheme: 'HTTP' } },
      startupProbe: { ...probe, grpc: { port: 1, service: '' } },
    },
  ],
  [
    'S-113 hooks',
    { lifecycle: { preStop: { httpGet: { port: 'x' } }, postStart: { httpGet: { port: 1, path: '/a', scheme: 'HTTPS' } } } },
    {
      lifecycle: {
        preStop: { httpGet: { port: 'x', path: '/', scheme: 'HTTP' } },
        postStart: { httpGet: { port: 1, path: '/a', scheme: 'HTTPS' } },
      },
    },
  ],
  [
    'S-114 sources of variables',
    {
      env: [
        { name: 'a', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
        { name: 'b', valueFrom: { fileKeyRef: { key: 'k', path: 'p', volumeName: 'v' } } },
      ],
    },
    {
      env: [
        { name: 'a', valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.name' } } },
        { name: 'b', valueFrom: { fileKeyRef: { key: 'k', path: 'p', volumeName: 'v', optional: false } } },
      ],
    },
  ],
  [
    'S-115 quantities are canonical and whole thousandths',
    { resources: { requests: { cpu: '0.10005', memory: '1024Ki' } } },
    { resources: { requests: { cpu: '101m', memory: '1Mi' } } },
  ],
];

for (const [rule, change, expected] of containerRows) {
  test(rule, () => {
    const [actual] = defaulted(container(change)).spec.containers;
    assert.deepEqual(actual, { name: 'web', image: 'nginx:1', ...set, ...change, ...expected });
  });
}

/** What becomes of one volume. */
const volumeRows: readonly (readonly [rule: string, source: JsonObject, expected: JsonObject])[] = [
  ['S-116 no source', {}, { emptyDir: {} }],
  ['S-117 image', { image: { reference: 'a' } }, { image: { reference: 'a', pullPolicy: 'Always' } }],
  ['S-117 image with a tag', { image: { reference: 'a:1' } }, { image: { reference: 'a:1', pullPolicy: 'IfNotPresent' } }],
  ['S-118 host path', { hostPath: { path: '/' } }, { hostPath: { path: '/', type: '' } }],
  ['S-119 secret', { secret: { secretName: 's' } }, { secret: { secretName: 's', defaultMode: 420 } }],
  ['S-119 config map', { configMap: { name: 'c' } }, { configMap: { name: 'c', defaultMode: 420 } }],
  [
    'S-114 S-119 downward API',
    { downwardAPI: { items: [{ path: 'a', fieldRef: { fieldPath: 'metadata.name' } }] } },
    { downwardAPI: { defaultMode: 420, items: [{ path: 'a', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.name' } }] } },
  ],
  [
    'S-119 projected',
    { projected: { sources: [{ serviceAccountToken: { path: 't' } }] } },
    { projected: { defaultMode: 420, sources: [{ serviceAccountToken: { path: 't', expirationSeconds: 3600 } }] } },
  ],
  [
    'S-120 rbd',
    { rbd: { monitors: ['m'], image: 'i' } },
    { rbd: { monitors: ['m'], image: 'i', pool: 'rbd', user: 'admin', keyring: '/etc/ceph/keyring' } },
  ],
  [
    'S-120 iscsi',
    { iscsi: { targetPortal: 'p', iqn: 'i', lun: 0 } },
    { iscsi: { targetPortal: 'p', iqn: 'i', lun: 0, iscsiInterface: 'default' } },
  ],
  [
    'S-120 azure disk',
    { azureDisk: { diskName: 'd', diskURI: 'u' } },
    { azureDisk: { diskName: 'd', diskURI: 'u', cachingMode: 'ReadWrite', fsType: 'ext4', readOnly: false, kind: 'Shared' } },
  ],
  [
    'S-120 scaleIO',
    { scaleIO: { gateway: 'g', system: 's', secretRef: {} } },
    { scaleIO: { gateway: 'g', system: 's', secretRef: {}, storageMode: 'ThinProvisioned', fsType: 'xfs' } },
  ],
  [
    'S-115 S-120 ephemeral',
    { ephemeral: { volumeClaimTemplate: { spec: { resources: { requests: { storage: '1024Mi' } } } } } },
    { ephemeral: { volumeClaimTemplate: { spec: { resources: { requests: { storage: '1Gi' } }, volumeMode: 'Filesystem' } } } },
  ],
];

for (const [rule, source, expected] of volumeRows) {
  test(rule, () =>
    assert.deepEqual(defaulted({ spec: { volumes: [{ name: 'v', ...source }] } }).spec.volumes, [{ name: 'v', ...expected }]),
  );
}

const c = (resources: JsonObject, more: JsonObject = {}): Json => ({ name: 'c', image: 'i:1', resources, ...more });

/** Fields of the specification after defaulting. */
const specRows: readonly (readonly [rule: string, spec: JsonObject, expected: JsonObject])[] = [
  [
    'S-103 host network',
    { hostNetwork: true, containers: [{ name: 'a', image: 'i:1', ports: [{ containerPort: 80 }, { containerPort: 81, hostPort: 82 }] }] },
    {
      containers: [
        {
          name: 'a',
          image: 'i:1',
          ...set,
          ports: [
            { containerPort: 80, hostPort: 80, protocol: 'TCP' },
            { containerPort: 81, hostPort: 82, protocol: 'TCP' },
          ],
        },
      ],
    },
  ],
  ['S-107 a negative grace period', { terminationGracePeriodSeconds: -5 }, { terminationGracePeriodSeconds: 1 }],
  ['S-107 no grace period', { terminationGracePeriodSeconds: 0 }, { terminationGracePeriodSeconds: 0 }],
  [
    'S-100 S-101 resources of the Pod',
    {
      resources: { limits: { cpu: '2', memory: '1Gi' } },
      containers: [c({ requests: { cpu: '100m' }, limits: { 'hugepages-2Mi': '2Mi' } }), c({ requests: { cpu: '200m' } })],
    },
    {
      resources: {
        limits: { cpu: '2', memory: '1Gi', 'hugepages-2Mi': '2Mi' },
        requests: { cpu: '300m', memory: '1Gi', 'hugepages-2Mi': '2Mi' },
      },
    },
  ],
  [
    'S-101 the largest init container counts, with the sidecars before it',
    {
      resources: { limits: { cpu: '4' } },
      containers: [c({ requests: { cpu: '100m' } })],
      initContainers: [c({ requests: { cpu: '1' } }, { name: 's', restartPolicy: 'Always' }), c({ requests: { cpu: '2' } }, { name: 'i' })],
    },
    { resources: { limits: { cpu: '4' }, requests: { cpu: '3' } } },
  ],
  [
    'S-101 without pod-level limits nothing is filled in',
    { resources: { requests: { cpu: '1' } } },
    { resources: { requests: { cpu: '1' } } },
  ],
  ['S-123 the old name of the account', { serviceAccount: 'a' }, { serviceAccountName: 'a' }],
];

for (const [rule, spec, expected] of specRows) {
  test(rule, () => {
    const actual: Readonly<Record<string, unknown>> = { ...defaulted({ spec }).spec };
    for (const [field, value] of Object.entries(expected)) assert.deepEqual(actual[field], value, field);
  });
}

test('S-121 ephemeral containers', () => {
  const [ephemeral] = defaulted({ spec: { ephemeralContainers: [{ name: 'e', image: 'i' }] } }).spec.ephemeralContainers ?? [];
  assert.equal(ephemeral?.imagePullPolicy, 'Always');
});

test('S-122 what stays unset', () => {
  const { spec } = defaulted({});
  const unset = ['priority', 'preemptionPolicy', 'priorityClassName', 'automountServiceAccountToken', 'serviceAccountName', 'tolerations'];
  const more = ['hostUsers', 'shareProcessNamespace', 'runtimeClassName', 'os', 'nodeSelector'];
  for (const field of [...unset, ...more]) assert.ok(!Object.hasOwn(spec, field), field);
});

test('S-124 legacy annotations go, addresses agree', () => {
  const pod = defaulted({
    metadata: { annotations: { 'pod.beta.kubernetes.io/init-containers': '[]', mine: 'x' } },
    status: { podIP: '10.0.0.1' },
  });
  assert.deepEqual(pod.metadata.annotations, { mine: 'x' });
  assert.deepEqual(pod.status, { podIP: '10.0.0.1', podIPs: [{ ip: '10.0.0.1' }] });
});

test('the input is not touched, and defaulting twice changes nothing', () => {
  const pod = decoded({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'a' },
    spec: { containers: [{ name: 'a', image: 'b' }], volumes: [{ name: 'v' }] },
  });
  const before = JSON.stringify(pod);
  const once = defaultPod(pod);
  assert.equal(JSON.stringify(pod), before);
  assert.deepEqual(defaultPod(once), once);
});
