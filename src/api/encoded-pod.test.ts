import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toEncodedPod } from './encoded-pod.ts';
import type { Pod } from './pod.ts';

const header = { apiVersion: 'v1', kind: 'Pod' } as const;
const metadata = { name: 'web-n1', namespace: 'default', uid: '1', annotations: {} };
const noDivisor = { resourceFieldRef: { resource: 'limits.cpu' } };
const zero = { resourceFieldRef: { resource: 'limits.cpu', divisor: '0' } };
const one = { resourceFieldRef: { resource: 'limits.cpu', divisor: '1m' } };
const name = { fieldRef: { fieldPath: 'metadata.name' } };

test('a Pod is shown with the fields that Kubernetes’ encoder always writes', () => {
  const pod: Pod = {
    ...header,
    metadata,
    spec: {
      containers: [
        {
          name: 'a',
          env: [
            { name: 'A', value: '1' },
            { name: 'B', valueFrom: noDivisor },
            { name: 'C', valueFrom: one },
            { name: 'D', valueFrom: name },
          ],
        },
      ],
      initContainers: [{ name: 'i', resources: { limits: { cpu: '1' } } }],
      volumes: [
        { name: 'e', emptyDir: {} },
        { name: 'd', downwardAPI: { items: [{ path: 'x', ...noDivisor }] } },
        { name: 'p', projected: { sources: [{ downwardAPI: { items: [{ path: 'x', ...noDivisor }] } }, { secret: { name: 's' } }] } },
      ],
    },
    status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: 't' }] },
  };
  assert.deepEqual(toEncodedPod(pod), {
    ...header,
    metadata,
    spec: {
      containers: [
        {
          name: 'a',
          resources: {},
          env: [
            { name: 'A', value: '1' },
            { name: 'B', valueFrom: zero },
            { name: 'C', valueFrom: one },
            { name: 'D', valueFrom: name },
          ],
        },
      ],
      initContainers: [{ name: 'i', resources: { limits: { cpu: '1' } } }],
      volumes: [
        { name: 'e', emptyDir: {} },
        { name: 'd', downwardAPI: { items: [{ path: 'x', ...zero }] } },
        { name: 'p', projected: { sources: [{ downwardAPI: { items: [{ path: 'x', ...zero }] } }, { secret: { name: 's' } }] } },
      ],
    },
    status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True', lastProbeTime: null, lastTransitionTime: 't' }] },
  });
  assert.deepEqual(toEncodedPod({ ...header, metadata, spec: { containers: [] } }), {
    ...header,
    metadata,
    spec: { containers: [] },
    status: {},
  });
});
