import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeName, runningStatus, staticPod } from '../../test/support/mirror-fixtures.ts';
import type { Pod as ApiPod, PodStatus } from '../api/gen/kubernetes.ts';
import { ownerOf, ownStatus, toMirrorPod, toStatusPatch } from './mirror-object.ts';

test('S-290 … S-293, S-295: the mirror is the static Pod with one annotation more and the Node as its owner', () => {
  const pod = staticPod('0f3c');
  const manifest = {
    ...pod,
    metadata: {
      ...pod.metadata,
      finalizers: ['a/b'],
      resourceVersion: '7',
      generation: 3,
      ownerReferences: [{ apiVersion: 'v1', kind: 'X', name: 'x', uid: 'x' }],
    },
    status: { phase: 'Pending' },
  };
  assert.deepEqual(toMirrorPod(manifest, { name: nodeName, uid: 'node-uid' }), {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: 'web-node-1',
      namespace: 'default',
      labels: { app: 'web' },
      finalizers: ['a/b'],
      annotations: {
        note: 'from the manifest',
        'kubernetes.io/config.hash': '0f3c',
        'kubernetes.io/config.mirror': '0f3c',
        'kubernetes.io/config.seen': '2026-01-31T12:34:56.123456789Z',
        'kubernetes.io/config.source': 'file',
      },
      ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: nodeName, uid: 'node-uid', controller: true }],
    },
    spec: pod.spec,
  });
});

test('C-037, S-300: without a Node, its uid, or with a Node being deleted there is no owner', () => {
  assert.equal(ownerOf(undefined), undefined);
  assert.equal(ownerOf({ metadata: { name: 'n' } }), undefined);
  assert.equal(ownerOf({ metadata: { name: 'n', uid: '' } }), undefined);
  assert.equal(ownerOf({ metadata: { name: 'n', uid: 'u', deletionTimestamp: 'now' } }), undefined);
  assert.deepEqual(ownerOf({ metadata: { name: 'n', uid: 'u' } }), { name: 'n', uid: 'u' });
});

const mirror = (status: PodStatus): ApiPod => ({ metadata: { uid: 'm' }, status });

const rows: readonly [string, PodStatus, PodStatus, unknown][] = [
  ['no difference, no patch', runningStatus, { ...runningStatus, qosClass: 'Burstable' }, undefined],
  ['what omitempty drops is no difference', { phase: 'Running', message: '', podIPs: [] }, { phase: 'Running' }, undefined],
  ['a changed field alone is sent', { phase: 'Running', podIP: '1' }, { phase: 'Pending', podIP: '1' }, { phase: 'Running' }],
  [
    'S-336: a field that is gone is nulled',
    { phase: 'Running' },
    { phase: 'Running', reason: 'X', message: 'm' },
    { reason: null, message: null },
  ],
  ['merged lists are replaced', { podIPs: [{ ip: '2' }] }, { podIPs: [{ ip: '1' }] }, { podIPs: [{ ip: '2' }, { $patch: 'replace' }] }],
  [
    'S-336: foreign conditions are left alone; ours that are gone are deleted',
    { conditions: [{ type: 'Ready', status: 'False', reason: 'R', lastTransitionTime: 't' }] },
    {
      conditions: [
        { type: 'Ready', status: 'True', lastTransitionTime: 's' },
        { type: 'Foreign', status: 'True' },
        { type: 'Initialized', status: 'True' },
      ],
    },
    {
      conditions: [
        { type: 'Ready', status: 'False', reason: 'R', message: null, lastTransitionTime: 't' },
        { $patch: 'delete', type: 'Initialized' },
      ],
    },
  ],
  [
    'S-337: DisruptionTarget is not sent before the end',
    { phase: 'Running', conditions: [{ type: 'DisruptionTarget', status: 'True' }] },
    { phase: 'Running' },
    undefined,
  ],
  [
    'S-337: DisruptionTarget is sent with a terminal phase',
    { phase: 'Failed', conditions: [{ type: 'DisruptionTarget', status: 'True' }] },
    { phase: 'Running' },
    { phase: 'Failed', conditions: [{ type: 'DisruptionTarget', status: 'True', reason: null, message: null }] },
  ],
  [
    'S-337: DisruptionTarget is never removed',
    { phase: 'Failed' },
    { phase: 'Failed', conditions: [{ type: 'DisruptionTarget', status: 'True' }] },
    undefined,
  ],
  ['S-294: qosClass is the server’s', { qosClass: 'Guaranteed' }, { qosClass: 'BestEffort' }, undefined],
];

for (const [name, wanted, shown, patch] of rows) {
  test(`toStatusPatch: ${name}`, () => {
    const expected = patch === undefined ? undefined : { metadata: { uid: 'm' }, status: patch };
    assert.deepEqual(toStatusPatch(wanted, mirror(shown)), expected);
  });
}

test('started: false is not the same as an unknown start', () => {
  const status = (started?: boolean): PodStatus => ({
    containerStatuses: [{ name: 'c', image: '', imageID: '', ready: false, restartCount: 0, started }],
  });
  assert.notDeepEqual(ownStatus(status(false)), ownStatus(status()));
});
