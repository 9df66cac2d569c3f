import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakeFeed } from '../../test/support/fake-views.ts';
import { seenThrough } from './kube/watch.ts';
import { type Change, type KubeObject, ResourceVersions, WatchCache } from './watch-cache.ts';

interface Thing extends KubeObject {
  readonly value: number;
}

const thing = (name: string, value: number, uid = `uid-${name}`): Thing => ({ metadata: { name, namespace: 'a', uid }, value });

function setUp(items: readonly Thing[] = [], historySize = 100) {
  const feed = new FakeFeed<Thing>(items);
  const versions = new ResourceVersions({ clock: new FakeClock(1000) });
  const cache = new WatchCache<Thing>({ historySize }, { feed, versions });
  return { feed, cache, versions };
}

const shortly = (changes: readonly Change<Thing>[] | undefined) =>
  changes?.map((c) => `${c.type} ${c.object.metadata?.name} ${c.object.value}`);

test('H-121: versions grow over all objects, and a list is as new as its newest object', () => {
  const { feed, cache } = setUp([thing('b', 1), thing('a', 1)]);
  assert.deepEqual(
    cache.list().map((o) => [o.metadata?.name, o.metadata?.resourceVersion]),
    [
      ['a', '1002'],
      ['b', '1001'],
    ],
  );
  feed.set([thing('b', 2), thing('a', 1)]);
  assert.equal(cache.get('a', 'b')?.metadata?.resourceVersion, '1003');
  assert.equal(cache.get('a', 'a')?.metadata?.resourceVersion, '1002', 'equal contents in a new object are no change');
  assert.equal(cache.currentVersion, 1003);
});

test('H-122: the changes since a version, also when nobody watched meanwhile', () => {
  const { feed, cache } = setUp([thing('a', 1), thing('b', 1)]);
  const from = cache.currentVersion;
  feed.set([thing('a', 2), thing('c', 1)]);
  assert.deepEqual(shortly(cache.since(from)), ['MODIFIED a 2', 'ADDED c 1', 'DELETED b 1']);
  assert.deepEqual(shortly(cache.since(cache.currentVersion)), []);
});

test('H-154: another UID under the same name is a deletion and an addition', () => {
  const { feed, cache } = setUp([thing('a', 1)]);
  const from = cache.currentVersion;
  feed.set([thing('a', 1, 'other')]);
  assert.deepEqual(
    cache.since(from)?.map((c) => [c.type, c.object.metadata?.uid]),
    [
      ['DELETED', 'uid-a'],
      ['ADDED', 'other'],
    ],
  );
});

test('H-124: a version whose changes were dropped is too old', () => {
  const { feed, cache } = setUp([], 2);
  const from = cache.currentVersion;
  feed.set([thing('a', 1)]);
  cache.sync();
  feed.set([thing('a', 2)]);
  cache.sync();
  assert.equal(cache.since(from)?.length, 2);
  feed.set([thing('a', 3)]);
  assert.equal(cache.since(from), undefined);
  assert.equal(cache.since(0), undefined);
});

test('the feed is subscribed to only while somebody watches', () => {
  const { feed, cache } = setUp([thing('a', 1)]);
  assert.equal(feed.subscribers, 0);
  const seen: string[] = [];
  const unsubscribe = cache.subscribe((c) => seen.push(c.type));
  const other = cache.subscribe(() => undefined);
  assert.equal(feed.subscribers, 1);
  feed.set([thing('a', 2)]);
  unsubscribe();
  feed.set([]);
  other();
  assert.deepEqual([seen, feed.subscribers, cache.watchers], [['MODIFIED'], 0, 0]);
});

test('C-441, C-443: from every version that is still known the changes lead to what is there now, through any selection', () => {
  const object = fc.record({
    name: fc.constantFrom('a', 'b', 'c', 'd'),
    uid: fc.constantFrom('1', '2'),
    app: fc.constantFrom('web', 'db'),
    note: fc.nat(2),
  });
  const step = fc.uniqueArray(object, { selector: ({ name }) => name, maxLength: 4 });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), fc.integer({ min: 2, max: 40 }), (steps, historySize) => {
      const feed = new FakeFeed<KubeObject>();
      const cache = new WatchCache<KubeObject>({ historySize }, { feed, versions: new ResourceVersions({ clock: new FakeClock() }) });
      const isWeb = ({ metadata }: KubeObject): boolean => metadata?.labels?.['app'] === 'web';
      const seen: { readonly version: number; readonly objects: readonly KubeObject[] }[] = [];
      for (const objects of steps) {
        feed.set(
          objects.map(({ name, uid, app, note }) => ({
            metadata: { name, namespace: 'default', uid, labels: { app }, annotations: { note: String(note) } },
          })),
        );
        seen.push({ objects: cache.list(), version: cache.currentVersion });
      }
      for (const matches of [isWeb, () => true]) {
        const wanted = cache.list().filter(matches);
        for (const { version, objects } of seen) {
          const changes = cache.since(version);
          if (changes === undefined) continue;
          const known = new Map(objects.filter(matches).map((one) => [one.metadata?.name, one]));
          let last = version;
          for (const change of changes) {
            assert.ok(change.version > last, 'versions rise');
            last = change.version;
            const told = seenThrough(change, matches);
            if (told === undefined) continue;
            const { name } = told.object.metadata ?? {};
            assert.equal(known.has(name), told.type !== 'ADDED', `${told.type} of ${name}`);
            if (told.type === 'DELETED') known.delete(name);
            else known.set(name, told.object);
          }
          const byName = [...known.values()].sort((a, b) => ((a.metadata?.name ?? '') < (b.metadata?.name ?? '') ? -1 : 1));
          assert.deepEqual(byName, wanted);
        }
      }
      // Nothing may be forgotten sooner than promised.
      const recent = seen.at(-1);
      if (recent !== undefined) assert.notEqual(cache.since(recent.version), undefined);
    }),
  );
});
