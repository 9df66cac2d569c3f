import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Json, type JsonObject, problemsOf } from '../../../test/support/manifest.ts';

const mode = 'must be a number between 0 and 0777 (octal), both inclusive';
const label =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const fieldRef = { fieldPath: 'metadata.name' };

/** Problems of one volume `v` with this source, without their common beginning `spec.volumes[0]`. */
const volumeRows: readonly (readonly [rule: string, source: JsonObject, expected: readonly string[]])[] = [
  ['S-116 no source means emptyDir', {}, []],
  [
    'S-157 two sources',
    { emptyDir: {}, hostPath: { path: '/x' }, nfs: {} },
    ['.hostPath: Forbidden: may not specify more than 1 volume type', '.nfs: Forbidden: may not specify more than 1 volume type'],
  ],
  [
    'S-158 negative size limit',
    { emptyDir: { sizeLimit: '-1Mi' } },
    ['.emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity'],
  ],
  ['S-159 host path missing', { hostPath: { type: 'x' } }, ['.hostPath.path: Required value']],
  ['S-159 relative host path', { hostPath: { path: 'a/b' } }, []],
  [
    'S-159 host path with backsteps and an unknown type',
    { hostPath: { path: '/a/../b', type: 'Dir' } },
    [
      `.hostPath.path: Invalid value: "/a/../b": must not contain '..'`,
      '.hostPath.type: Unsupported value: "Dir": supported values: "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"',
    ],
  ],
  [
    'S-142 S-143 S-160 secret and its items',
    { secret: { defaultMode: 512, items: [{ mode: -1 }, { key: 'k', path: '..x' }, { key: 'k', path: '/x' }] } },
    [
      '.secret.secretName: Required value',
      `.secret.defaultMode: Invalid value: 512: ${mode}`,
      '.secret.items[0].key: Required value',
      '.secret.items[0].path: Required value',
      `.secret.items[0].mode: Invalid value: -1: ${mode}`,
      `.secret.items[1].path: Invalid value: "..x": must not start with '..'`,
      '.secret.items[2].path: Invalid value: "/x": must be a relative path',
    ],
  ],
  ['S-160 config map', { configMap: {} }, ['.configMap.name: Required value']],
  [
    'S-161 downward API',
    {
      downwardAPI: {
        defaultMode: 512,
        items: [
          { fieldRef },
          { path: '../a', fieldRef, resourceFieldRef: { containerName: 'web', resource: 'limits.cpu' } },
          { path: 'a' },
        ],
      },
    },
    [
      `.downwardAPI.defaultMode: Invalid value: 512: ${mode}`,
      '.downwardAPI.path: Required value',
      `.downwardAPI.path: Invalid value: "../a": must not contain '..'`,
      '.downwardAPI: Invalid value: "resource": fieldRef and resourceFieldRef can not be specified simultaneously',
      '.downwardAPI: Required value: one of fieldRef and resourceFieldRef is required',
    ],
  ],
  [
    'S-161 downward API field paths',
    {
      downwardAPI: {
        items: [
          { path: 'a', fieldRef: { fieldPath: 'status.podIP' } },
          { path: 'b', fieldRef: { fieldPath: 'metadata.labels' } },
          { path: 'c', fieldRef: { fieldPath: "metadata.labels['app']" } },
          { path: 'd', fieldRef: { fieldPath: 'spec.nonsense' } },
        ],
      },
    },
    [
      '.downwardAPI.fieldRef.fieldPath: Unsupported value: "status.podIP": supported values: "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"',
      '.downwardAPI.fieldRef.fieldPath: Invalid value: "spec.nonsense": error converting fieldPath: field label not supported: spec.nonsense',
    ],
  ],
  [
    'S-177 a resource in a volume needs its container',
    { downwardAPI: { items: [{ path: 'a', resourceFieldRef: { resource: 'limits.cpu' } }] } },
    ['.downwardAPI.resourceFieldRef.containerName: Required value'],
  ],
  [
    'S-162 projected',
    {
      projected: {
        defaultMode: -1,
        sources: [
          { downwardAPI: { items: [{ path: 'a', fieldRef }] } },
          { downwardAPI: { items: [{ path: 'a', fieldRef }] }, secret: { name: 's' } },
          { serviceAccountToken: { path: '', expirationSeconds: 10 } },
          { clusterTrustBundle: { path: 'c' } },
          { podCertificate: { signerName: 'a', keyType: 'RSA', maxExpirationSeconds: 1 } },
        ],
      },
    },
    [
      `.projected.defaultMode: Invalid value: -1: ${mode}`,
      '.projected: Invalid value: "a": conflicting duplicate paths',
      '.projected.sources[1]: Forbidden: may not specify more than 1 volume type per source',
      '.projected.sources[2].serviceAccountToken.expirationSeconds: Invalid value: 10: may not specify a duration less than 10 minutes',
      '.projected.path: Required value',
      '.projected.sources[3].clusterTrustBundle: Required value: either name or signerName must be specified',
      `.projected.sources[4].podCertificate.signerName: Invalid value: "a": must be a fully qualified domain and path of the form 'example.com/signer-name'`,
      '.projected.sources[4].podCertificate.keyType: Unsupported value: "RSA": supported values: "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519", "RSA3072", "RSA4096"',
      '.projected.sources[4].podCertificate.maxExpirationSeconds: Invalid value: 1: if provided, maxExpirationSeconds must be >= 3600',
      '.projected.sources[4].podCertificate: Required value: specify at least one of credentialBundlePath, keyPath, and certificateChainPath',
      '.projected.sources[2].serviceAccountToken: Forbidden: must not be specified when serviceAccountName is not set',
    ],
  ],
  [
    'S-163 nfs',
    { nfs: { server: '', path: 'x' } },
    ['.nfs.server: Required value', '.nfs.path: Invalid value: "x": must be an absolute path'],
  ],
  [
    'S-164 iscsi',
    { iscsi: { targetPortal: 'p'.repeat(70), iqn: 'x', lun: 256, chapAuthSession: true, initiatorName: 'iqn.bad' } },
    [
      '.iscsi.iqn: Invalid value: "x": must be valid format starting with iqn, eui, or naa',
      '.iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive',
      '.iscsi.secretRef: Required value',
      '.iscsi.initiatorname: Invalid value: "iqn.bad": must be valid format',
      '.name: Invalid value: "v": Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.',
    ],
  ],
  ['S-164 good iscsi', { iscsi: { targetPortal: '10.0.0.1', iqn: 'iqn.2001-04.com.example:storage', lun: 0 } }, []],
  [
    'S-165 gce disk',
    { gcePersistentDisk: { partition: 256 } },
    ['.persistentDisk.pdName: Required value', '.persistentDisk.partition: Invalid value: 256: must be between 1 and 255, inclusive'],
  ],
  ['S-165 aws disk', { awsElasticBlockStore: {} }, ['.awsElasticBlockStore.volumeID: Required value']],
  [
    'S-165 git repository',
    { gitRepo: { directory: '/x' } },
    ['.gitRepo.repository: Required value', '.gitRepo.directory: Invalid value: "/x": must be a relative path'],
  ],
  ['S-165 glusterfs', { glusterfs: {} }, ['.glusterfs.endpoints: Required value', '.glusterfs.path: Required value']],
  ['S-165 rbd', { rbd: {} }, ['.rbd.monitors: Required value', '.rbd.image: Required value']],
  ['S-165 cephfs', { cephfs: { monitors: [] } }, ['.cephfs.monitors: Required value']],
  ['S-165 cinder', { cinder: {} }, ['.cinder.volumeID: Required value']],
  ['S-165 fc', { fc: {} }, ['.fc.targetWWNs: Required value: must specify either targetWWNs or wwids, but not both']],
  ['S-165 fc without a unit', { fc: { targetWWNs: ['a'] } }, ['.fc.lun: Required value: lun is required if targetWWNs is specified']],
  [
    'S-165 fc with both kinds of names',
    { fc: { targetWWNs: ['a'], wwids: ['b'], lun: 256 } },
    [
      '.fc.targetWWNs: Invalid value: ["a"]: targetWWNs and wwids can not be specified simultaneously',
      '.fc.lun: Invalid value: 256: must be between 0 and 255, inclusive',
    ],
  ],
  ['S-165 good fc', { fc: { wwids: ['b'] } }, []],
  [
    'S-165 flex volume',
    { flexVolume: { options: { 'a.kubernetes.io/b': '' } } },
    [
      '.flexVolume.driver: Required value',
      '.flexVolume.options[a.kubernetes.io/b]: Invalid value: "a.kubernetes.io/b": kubernetes.io and k8s.io namespaces are reserved',
    ],
  ],
  ['S-165 azure file', { azureFile: {} }, ['.azureFile.secretName: Required value', '.azureFile.shareName: Required value']],
  [
    'S-165 azure disk',
    { azureDisk: { cachingMode: 'x' } },
    [
      '.azureDisk.diskName: Required value',
      '.azureDisk.diskURI: Required value',
      '.azureDisk.cachingMode: Unsupported value: "x": supported values: "None", "ReadOnly", "ReadWrite"',
      '.azureDisk.diskURI: Unsupported value: "": supported values: "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"',
    ],
  ],
  ['S-165 vsphere', { vsphereVolume: {} }, ['.vsphereVolume.volumePath: Required value']],
  ['S-165 portworx', { portworxVolume: {} }, ['.portworxVolume.volumeID: Required value']],
  [
    'S-165 scaleIO',
    { scaleIO: {} },
    ['.scaleIO.gateway: Required value', '.scaleIO.system: Required value', '.scaleIO.volumeName: Required value'],
  ],
  ['S-165 claim', { persistentVolumeClaim: {} }, ['.persistentVolumeClaim.claimName: Required value']],
  ['S-165 csi', { csi: {} }, ['.csi.driver: Required value']],
  ['S-165 flocker', { flocker: {} }, ['.flocker: Required value: one of datasetName and datasetUUID is required']],
  ['S-165 storageos', { storageos: { volumeName: 'A' } }, [`.storageos.volumeName: Invalid value: "A": ${label}`]],
  [
    'S-165 quobyte',
    { quobyte: { registry: 'x' } },
    [
      '.quobyte.registry: Invalid value: "x": must be a host:port pair or multiple pairs separated by commas',
      '.quobyte.volume: Required value',
    ],
  ],
  ['S-132 S-166 an image volume may lack a reference', { image: {} }, []],
  [
    'S-166 image pull policy',
    { image: { reference: 'a', pullPolicy: 'x' } },
    ['.image.pullPolicy: Unsupported value: "x": supported values: "Always", "IfNotPresent", "Never"'],
  ],
  ['S-167 ephemeral without template', { ephemeral: {} }, ['.ephemeral.volumeClaimTemplate: Required value']],
  [
    'S-167 ephemeral with an empty template',
    { ephemeral: { volumeClaimTemplate: { spec: {} } } },
    [
      '.ephemeral.volumeClaimTemplate.spec.accessModes: Required value: at least 1 access mode is required',
      '.ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value',
    ],
  ],
];

for (const [rule, source, expected] of volumeRows) {
  test(rule, () => {
    const actual = problemsOf({ spec: { volumes: [{ name: 'v', ...source }] } });
    assert.deepEqual(
      actual,
      expected.map((line) => `spec.volumes[0]${line}`),
    );
  });
}

const listRows: readonly (readonly [rule: string, volumes: readonly Json[], expected: readonly string[]])[] = [
  ['S-156 no name', [{}], ['spec.volumes[0].name: Required value']],
  ['S-156 bad name', [{ name: 'A' }], [`spec.volumes[0].name: Invalid value: "A": ${label}`]],
  ['S-156 twice', [{ name: 'x' }, { name: 'x' }], ['spec.volumes[1].name: Duplicate value: "x"']],
  [
    'S-167 a claim that another volume generates',
    [
      {
        name: 'e',
        ephemeral: { volumeClaimTemplate: { spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } } } },
      },
      { name: 'c', persistentVolumeClaim: { claimName: 'web-e' } },
    ],
    [
      'spec.volumes[1].persistentVolumeClaim.claimName: Invalid value: "web-e": must not reference a PVC that gets created for an ephemeral volume',
    ],
  ],
];

for (const [rule, volumes, expected] of listRows) test(rule, () => assert.deepEqual(problemsOf({ spec: { volumes } }), expected));
