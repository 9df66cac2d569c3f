import assert from 'node:assert/strict';
import { test } from 'node:test';
import { podOf } from '../../../test/support/fake-views.ts';
import type { ContainerState, ContainerStatus } from '../../api/gen/kubernetes.ts';
import { checkLogQuery, chooseContainer, chooseRun } from './log-request.ts';

const status = (state: ContainerState | undefined, lastId?: string, containerID = 'containerd://now'): ContainerStatus => ({
  name: 'c',
  image: 'x',
  imageID: '',
  ready: false,
  restartCount: 0,
  containerID,
  ...(state === undefined ? {} : { state }),
  ...(lastId === undefined ? {} : { lastState: { terminated: { exitCode: 1, containerID: `containerd://${lastId}` } } }),
});

const podWith = (containerStatuses: readonly ContainerStatus[]) => podOf({ status: { phase: 'Running', containerStatuses } });
const what = 'container "c" in pod "web-node1"';

// H-256, one row per rule.
const runs: readonly (readonly [rule: string, status: ContainerStatus | undefined, previous: boolean, expected: string])[] = [
  ['previous', status({ running: {} }, 'last'), true, 'last'],
  ['no previous', status({ running: {} }), true, `previous terminated ${what} not found`],
  ['running', status({ running: {} }), false, 'now'],
  ['terminated', status({ terminated: { exitCode: 0, containerID: 'containerd://t' } }), false, 't'],
  ['terminated, only the last has an id', status({ terminated: { exitCode: 0 } }, 'last'), false, 'last'],
  ['terminated without any id', status({ terminated: { exitCode: 0 } }), false, `${what} is terminated`],
  ['crash loop', status({ waiting: { reason: 'CrashLoopBackOff' } }, 'last'), false, 'last'],
  ['waiting', status({ waiting: { reason: 'ContainerCreating' } }), false, `${what} is waiting to start: ContainerCreating`],
  ['image', status({ waiting: { reason: 'ErrImagePull' } }), false, `${what} is waiting to start: image can't be pulled`],
  [
    'image again',
    status({ waiting: { reason: 'ImagePullBackOff' } }),
    false,
    `${what} is waiting to start: trying and failing to pull image`,
  ],
  ['no status', undefined, false, `${what} is not available`],
  ['no state', status(undefined), false, `${what} is waiting to start - no logs yet`],
];
for (const [rule, input, previous, expected] of runs) {
  test(`H-256 ${rule}: ${expected}`, () => {
    const pod = podWith(input === undefined ? [] : [input]);
    let found: string;
    try {
      found = chooseRun(pod, 'c', previous);
    } catch (error) {
      found = error instanceof Error ? error.message : '';
    }
    assert.equal(found, expected);
  });
}

test('H-202: the only container, a wrong one, and too many', () => {
  assert.equal(chooseContainer(podOf(), ''), 'c');
  assert.throws(() => chooseContainer(podOf(), 'nope'), { message: 'container nope is not valid for pod web-node1' });
  const several = podOf({
    spec: {
      initContainers: [{ name: 'init1', image: 'x' }],
      containers: [
        { name: 'httpd', image: 'x' },
        { name: 'side', image: 'x' },
      ],
    },
  });
  assert.throws(() => chooseContainer(several, ''), {
    message: 'a container name must be specified for pod web-node1, choose one of: [init1 httpd side]',
  });
});

test('H-255: what is wrong with the numbers', () => {
  const none = {
    follow: false,
    previous: false,
    timestamps: false,
    tailLines: undefined,
    limitBytes: undefined,
    sinceSeconds: undefined,
    sinceTime: undefined,
  };
  const texts = (query: Partial<typeof none> | Readonly<Record<string, unknown>>) =>
    checkLogQuery({ ...none, ...query }).map((p) => `${p.field}: ${p.message}`);
  assert.deepEqual(texts({ tailLines: -1, limitBytes: 0, sinceSeconds: 0 }), [
    'tailLines: Invalid value: -1: must be greater than or equal to 0',
    'limitBytes: Invalid value: 0: must be greater than 0',
    'sinceSeconds: Invalid value: 0: must be greater than 0',
  ]);
  assert.deepEqual(texts({ sinceSeconds: 1, sinceTime: '2026-01-01T00:00:00Z' }), [
    ': Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified',
  ]);
  assert.deepEqual(texts({ sinceTime: 'yesterday' }), ['sinceTime: Invalid value: "yesterday": must be a time in RFC 3339']);
  assert.deepEqual(texts({ tailLines: 0, limitBytes: 1, sinceSeconds: 1 }), []);
});
