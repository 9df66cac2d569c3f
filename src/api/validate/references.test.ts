import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaulted, type JsonObject } from '../../../test/support/manifest.ts';
import { formatProblem } from '../problem.ts';
import { findApiReferences } from './references.ts';

const c = (more: JsonObject): JsonObject => ({ containers: [{ name: 'web', image: 'i', ...more }] });
const v = (source: JsonObject): JsonObject => ({ volumes: [{ name: 'v', ...source }] });

/** Field and resource; what stands after the resource is advice. */
const rows: readonly (readonly [rule: string, spec: JsonObject, expected: readonly string[]])[] = [
  ['S-213 account', { serviceAccountName: 'a' }, ['spec.serviceAccountName: serviceaccounts']],
  ['S-123 S-213 account by its old name', { serviceAccount: 'a' }, ['spec.serviceAccountName: serviceaccounts']],
  ['S-213 pull secrets', { imagePullSecrets: [{ name: '' }, { name: 's' }] }, ['spec.imagePullSecrets[1].name: secrets']],
  [
    'S-213 environment',
    c({
      envFrom: [{ secretRef: { name: 's' } }, { configMapRef: { name: 'c' } }],
      env: [
        { name: 'a', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } },
        { name: 'b', valueFrom: { configMapKeyRef: { name: 'c', key: 'k' } } },
      ],
    }),
    [
      'spec.containers[0].envFrom[0].secretRef: secrets',
      'spec.containers[0].env[0].valueFrom.secretKeyRef: secrets',
      'spec.containers[0].envFrom[1].configMapRef: configmaps',
      'spec.containers[0].env[1].valueFrom.configMapKeyRef: configmaps',
    ],
  ],
  [
    'S-213 init containers count too',
    { initContainers: [{ name: 'i', image: 'i', envFrom: [{ secretRef: { name: 's' } }] }] },
    ['spec.initContainers[0].envFrom[0].secretRef: secrets'],
  ],
  ['S-213 secret volume', v({ secret: { secretName: 's' } }), ['spec.volumes[0].secret: secrets']],
  ['S-214 secret volume without a name', v({ secret: {} }), ['spec.volumes[0].secret: secrets (via secret volumes)']],
  ['S-213 config map volume', v({ configMap: { name: 'c' } }), ['spec.volumes[0].configMap: configmaps']],
  ['S-214 config map volume without a name', v({ configMap: {} }), ['spec.volumes[0].configMap: configmaps (via configmap volumes)']],
  ['S-213 azure file', v({ azureFile: { secretName: 's', shareName: 'x' } }), ['spec.volumes[0].azureFile.secretName: secrets']],
  [
    'S-213 secret of rbd',
    v({ rbd: { monitors: ['m'], image: 'i', secretRef: { name: 's' } } }),
    ['spec.volumes[0].rbd.secretRef: secrets'],
  ],
  ['S-216 rbd without a secret', v({ rbd: { monitors: ['m'], image: 'i' } }), []],
  ['S-213 C-021 resource claims', { resourceClaims: [{ name: 'r', resourceClaimName: 'r' }] }, ['spec.resourceClaims: resourceclaims']],
  ['S-214 csi', v({ csi: { driver: 'd' } }), ['spec.volumes[0].csi: csidrivers (via CSI volumes)']],
  ['S-214 glusterfs', v({ glusterfs: { endpoints: 'e', path: 'p' } }), ['spec.volumes[0].glusterfs: endpoints (via glusterFS volumes)']],
  ['S-214 claim', v({ persistentVolumeClaim: { claimName: 'c' } }), ['spec.volumes[0].persistentVolumeClaim: persistentvolumeclaims']],
  ['S-214 ephemeral', v({ ephemeral: {} }), ['spec.volumes[0].ephemeral: persistentvolumeclaims (via ephemeral volumes)']],
  [
    'S-214 S-215 C-020 projected',
    v({
      projected: {
        sources: [
          { downwardAPI: {} },
          { secret: { name: 's' } },
          { configMap: { name: 'c' } },
          { clusterTrustBundle: { path: 'p' } },
          { podCertificate: { keyType: 'ED25519', signerName: 'a/b' } },
          { serviceAccountToken: { path: 'p' } },
        ],
      },
    }),
    [
      'spec.volumes[0].projected.sources[1].secret: secrets',
      'spec.volumes[0].projected.sources[2].configMap: configmaps',
      'spec.volumes[0].projected.sources[3].clusterTrustBundle: clustertrustbundles',
      'spec.volumes[0].projected.sources[4].podCertificate: podcertificates',
      'spec.volumes[0].projected.sources[5].serviceAccountToken: serviceaccounts (via projected volumes)',
    ],
  ],
  [
    'S-216 what is allowed',
    {
      volumes: [
        { name: 'a', emptyDir: {} },
        { name: 'b', hostPath: { path: '/' } },
        { name: 'c', downwardAPI: {} },
        { name: 'd', projected: { sources: [{ downwardAPI: {} }] } },
        { name: 'e', image: { reference: 'r' } },
        { name: 'f', nfs: { server: 's', path: '/' } },
        { name: 'g', gitRepo: { repository: 'r' } },
      ],
    },
    [],
  ],
  ['S-218 what is no reference', { priorityClassName: 'p', runtimeClassName: 'r', nodeName: 'n', schedulerName: 's' }, []],
];

for (const [rule, spec, expected] of rows) {
  test(rule, () => {
    const actual = findApiReferences(defaulted({ spec }).spec).map(formatProblem);
    assert.deepEqual(
      actual.map((line) => line.replace('static pods may not reference ', '').replace(/;.*/, '')),
      expected,
    );
  });
}

test('S-212 the text of a refusal, and what to use instead', () => {
  assert.deepEqual(findApiReferences(defaulted({ spec: v({ secret: { secretName: 's' } }) }).spec), [
    {
      field: 'spec.volumes[0].secret',
      message: 'static pods may not reference secrets; keep the data in a file on the machine and mount it with a hostPath volume',
    },
  ]);
});

test('S-215 a projected source without a member', () => {
  assert.deepEqual(findApiReferences(defaulted({ spec: v({ projected: { sources: [{}] } }) }).spec), [
    { field: 'spec.volumes[0].projected.sources[0]', message: 'unknown source for projected volume "v"' },
  ]);
});
