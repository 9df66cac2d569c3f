import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakeFeed, nodeOf } from '../../test/support/fake-views.ts';
import type { Node } from '../api/gen/kubernetes.ts';
import { LeaseFeed } from './lease-view.ts';

test('S-385: the Lease belongs to the Node, and is renewed four times in its duration', async () => {
  const clock = new FakeClock();
  const nodes = new FakeFeed<Node>();
  const feed = new LeaseFeed({ nodeName: 'node1', durationSeconds: 40 }, { nodes, clock });
  const life = new AbortController();
  const ended = assert.rejects(feed.run({ signal: life.signal }), { name: 'AbortError' });
  assert.deepEqual(feed.list(), [], 'no Node yet');

  nodes.set([nodeOf()]);
  const [first] = feed.list();
  assert.deepEqual(first?.metadata?.ownerReferences, [{ apiVersion: 'v1', kind: 'Node', name: 'node1', uid: 'node-uid' }]);
  assert.deepEqual([first?.metadata?.namespace, first?.spec?.holderIdentity], ['kube-node-lease', 'node1']);
  assert.equal(feed.list()[0], first, 'what did not change is the same object');

  let told = 0;
  const unsubscribe = feed.subscribe(() => {
    told += 1;
  });
  await clock.advance(9_999);
  assert.deepEqual([told, feed.list()[0]], [0, first]);
  await clock.advance(1);
  assert.equal(told, 1);
  assert.notEqual(feed.list()[0]?.spec?.renewTime, first?.spec?.renewTime);
  unsubscribe();
  await clock.advance(10_000);
  assert.equal(told, 1);
  life.abort(new DOMException('over', 'AbortError'));
  await ended;
});
