// What a worker is shown of its Pod.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { observedContainer, observedSandbox } from '../../test/support/pods.ts';
import { observePod } from './observe.ts';

test('the newest container is the one of the highest attempt, also when the clock was set back', async () => {
  const old = observedContainer({ id: 'old', attempt: 1, createdAt: 9_000, state: 'exited' });
  const fresh = observedContainer({ id: 'fresh', attempt: 2, createdAt: 1_000 });
  const all = [old, fresh];
  const observed = await observePod(
    {
      listPodSandboxes: async () => [observedSandbox()],
      listContainers: async () => all,
      podSandboxStatus: async () => observedSandbox(),
      containerStatus: async (id) => all.find((one) => one.id === id),
    },
    'uid-1',
    { signal: new AbortController().signal },
  );
  assert.deepEqual(
    observed.containers.map(({ id }) => id),
    ['fresh', 'old'],
  );
});
