// What the servers see of the runtime.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { observedContainer, observedSandbox } from '../../test/support/pods.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { runtimeView } from './runtime-view.ts';

const { signal } = new AbortController();

test('H-281: what runs, wanted or not; a Pod whose containers wait has none, and one that has ended is left out', async () => {
  const sandboxes = [
    observedSandbox({ podUid: 'runs', name: 'runs' }),
    observedSandbox({ podUid: 'waits', name: 'waits' }),
    observedSandbox({ podUid: 'ended', name: 'ended', state: 'notReady' }),
    observedSandbox({ podUid: 'lost', name: 'lost', state: 'notReady' }),
  ];
  const containers = [
    observedContainer({ podUid: 'runs', name: 'c', imageRef: 'sha256:1' }),
    observedContainer({ podUid: 'waits', name: 'c', state: 'exited' }),
    observedContainer({ podUid: 'ended', name: 'c', state: 'exited' }),
    observedContainer({ podUid: 'lost', name: 'c', imageRef: 'sha256:2' }),
  ];
  const runtime = { listPodSandboxes: async () => sandboxes, listContainers: async () => containers } as unknown as Runtime;
  const running = await runtimeView(runtime).runningPods({ signal });
  assert.deepEqual(
    running.map(({ uid, containers: all }) => [uid, all]),
    [
      ['runs', [{ name: 'c', image: 'sha256:1' }]],
      ['waits', []],
      ['lost', [{ name: 'c', image: 'sha256:2' }]],
    ],
  );
});
