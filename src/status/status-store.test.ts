import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import type { PodStatus } from '../api/gen/kubernetes.ts';
import type { Pod } from '../api/pod.ts';
import { type StatusChange, StatusStore } from './status-store.ts';

const pod = (uid: string, labels: Readonly<Record<string, string>> = {}): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: `web-${uid}`, namespace: 'default', uid, annotations: {}, labels },
  spec: { containers: [{ name: 'c', image: 'i' }] },
});

function setUp() {
  const clock = new FakeClock();
  const store = new StatusStore({ clock });
  const changes: StatusChange[] = [];
  const unsubscribe = store.subscribe((change) => changes.push(change));
  return { clock, store, changes, unsubscribe };
}

const running: PodStatus = { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] };

test('a published status is told once; an equal one is not told', () => {
  const { store, changes } = setUp();
  const view = store.publish(pod('1'), running);
  assert.deepEqual(changes, [{ kind: 'published', view, previous: undefined }]);
  assert.equal(store.publish(pod('1'), structuredClone(running)), view);
  assert.equal(changes.length, 1);
  assert.equal(store.get('1'), view);
});

for (const [what, change] of [
  ['status', (s: StatusStore) => s.publish(pod('1'), { ...running, message: 'm' })],
  ['labels', (s: StatusStore) => s.publish(pod('1', { a: 'b' }), running)],
  ['stage', (s: StatusStore) => s.publish(pod('1'), running, { stage: 'terminating' })],
  ['leaving', (s: StatusStore) => s.publish(pod('1'), running, { leaving: true })],
] as const) {
  test(`a change of ${what} alone is told, with the view before it`, () => {
    const { store, changes } = setUp();
    const first = store.publish(pod('1'), running);
    const second = change(store);
    assert.deepEqual(changes.at(-1), { kind: 'published', view: second, previous: first });
    assert.ok(second.revision > first.revision);
  });
}

test('L-483: lastTransitionTime changes only with the status of the condition', async () => {
  const { clock, store } = setUp();
  const at = (): string | undefined => store.get('1')?.status.conditions?.[0]?.lastTransitionTime;
  store.publish(pod('1'), running);
  assert.equal(at(), '2026-01-01T00:00:00Z');
  await clock.advance(5000);
  store.publish(pod('1'), {
    ...running,
    conditions: [{ type: 'Ready', status: 'True', reason: 'Other', lastTransitionTime: '2026-01-01T00:00:05Z' }],
  });
  assert.equal(at(), '2026-01-01T00:00:00Z', 'a new reason is no transition');
  store.publish(pod('1'), { phase: 'Running', conditions: [{ type: 'Ready', status: 'False' }] });
  assert.equal(at(), '2026-01-01T00:00:05Z');
  store.publish(pod('1'), {
    phase: 'Running',
    conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: '2026-01-01T00:00:03Z' }],
  });
  assert.equal(at(), '2026-01-01T00:00:03Z', 'a time given with a transition is taken');
});

test('L-487: startTime is set with the first status and never changes', async () => {
  const { clock, store } = setUp();
  store.publish(pod('1'), {});
  await clock.advance(5000);
  store.publish(pod('1'), { startTime: '2030-01-01T00:00:00Z', message: 'm' });
  assert.equal(store.get('1')?.status.startTime, '2026-01-01T00:00:00Z');
  store.publish(pod('2'), { startTime: '2025-01-01T00:00:00Z' });
  assert.equal(store.get('2')?.status.startTime, '2025-01-01T00:00:00Z');
});

test('list keeps the order of first publication; remove tells the last view, once', () => {
  const { store, changes } = setUp();
  store.publish(pod('2'), running);
  store.publish(pod('1'), running);
  const last = store.publish(pod('2'), { ...running, message: 'm' });
  assert.deepEqual(
    store.list().map((view) => view.pod.metadata.uid),
    ['2', '1'],
  );
  store.remove('2');
  store.remove('2');
  assert.deepEqual(changes.slice(3), [{ kind: 'removed', view: last }]);
  assert.equal(store.get('2'), undefined);
});

test('an ended subscription hears nothing; a listener may end it from within', () => {
  const { store, changes, unsubscribe } = setUp();
  const heard: string[] = [];
  const end = store.subscribe(() => {
    heard.push('x');
    end();
  });
  store.publish(pod('1'), running);
  unsubscribe();
  store.publish(pod('1'), { phase: 'Pending' });
  assert.equal(changes.length, 1);
  assert.deepEqual(heard, ['x']);
});
