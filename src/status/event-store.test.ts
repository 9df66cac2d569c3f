import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { silentLogger } from '../std/log.ts';
import { jsonStateFile, type StateFile } from '../std/state-file.ts';
import { EventStore, type EventStoreOptions } from './event-store.ts';

const pod = { kind: 'Pod', namespace: 'default', name: 'web-node1', uid: 'u1', fieldPath: 'spec.containers{web}' } as const;

function setUp(options: Partial<EventStoreOptions> = {}, file?: StateFile) {
  const clock = new FakeClock();
  const store = new EventStore({ nodeName: 'node1', ...options }, { clock, log: silentLogger, file });
  return { clock, store };
}

test('H-114: an event has all that kubectl shows', () => {
  const { store } = setUp();
  store.record(pod, 'Normal', 'Started', 'Started container web');
  const [event] = store.list();
  assert.ok(event !== undefined);
  const { metadata, ...rest } = event;
  assert.match(metadata.name ?? '', /^web-node1\.[0-9a-f]{16}$/);
  assert.deepEqual([metadata.namespace, metadata.creationTimestamp], ['default', '2026-01-01T00:00:00Z']);
  assert.deepEqual(rest, {
    apiVersion: 'v1',
    kind: 'Event',
    involvedObject: {
      apiVersion: 'v1',
      kind: 'Pod',
      namespace: 'default',
      name: 'web-node1',
      uid: 'u1',
      fieldPath: 'spec.containers{web}',
    },
    type: 'Normal',
    reason: 'Started',
    message: 'Started container web',
    source: { component: 'kubelet', host: 'node1' },
    firstTimestamp: '2026-01-01T00:00:00Z',
    lastTimestamp: '2026-01-01T00:00:00Z',
    count: 1,
    eventTime: null,
    reportingComponent: 'kubelet',
    reportingInstance: 'node1',
  });
});

test('H-116: events of the node live in default and name no namespace', () => {
  const { store } = setUp();
  store.record({ kind: 'Node', namespace: '', name: 'node1', uid: 'node1' }, 'Normal', 'Starting', 'Starting');
  const [event] = store.list();
  assert.deepEqual([event?.metadata.namespace, event?.involvedObject.namespace], ['default', undefined]);
});

test('H-114: names of an object’s events are in the order of its events', async () => {
  const { store, clock } = setUp();
  for (const reason of ['Pulled', 'Created', 'Started']) {
    store.record(pod, 'Normal', reason, reason);
    store.record({ ...pod, fieldPath: 'spec.containers{other}' }, 'Normal', reason, reason);
    await clock.advance(1);
  }
  const names = store.list().map(({ metadata }) => metadata.name ?? '');
  assert.deepEqual([...names].sort(), names);
  assert.equal(new Set(names).size, 6);
});

test('H-117: repeated events are counted and move to the end', async () => {
  const { store, clock } = setUp();
  store.record(pod, 'Warning', 'BackOff', 'Back-off');
  store.record(pod, 'Normal', 'Pulled', 'Pulled');
  const before = store.list();
  await clock.advance(10_000);
  store.record(pod, 'Warning', 'BackOff', 'Back-off');
  const after = store.list();
  assert.deepEqual(
    after.map((e) => [e.reason, e.count, e.firstTimestamp, e.lastTimestamp]),
    [
      ['Pulled', 1, '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z'],
      ['BackOff', 2, '2026-01-01T00:00:00Z', '2026-01-01T00:00:10Z'],
    ],
  );
  assert.equal(after[1]?.metadata.uid, before[0]?.metadata.uid, 'the same object');
});

test('an hour without a repeat ends an event; the next one is new', async () => {
  const { store, clock } = setUp();
  store.record(pod, 'Normal', 'Pulled', 'Pulled');
  await clock.advance(3_600_000);
  assert.deepEqual(store.list(), []);
  store.record(pod, 'Normal', 'Pulled', 'Pulled');
  assert.deepEqual(
    store.list().map((e) => e.count),
    [1],
  );
});

test('S-404: many messages of one reason become one event, and the number of events is bounded', () => {
  const { store } = setUp({ maxEvents: 15 });
  for (let i = 0; i < 30; i++) store.record(pod, 'Warning', 'Unhealthy', `probe failed: ${i}`);
  assert.equal(store.list().length, 11);
  const last = store.list().at(-1);
  assert.deepEqual([last?.message, last?.count], ['(combined from similar events): probe failed: 29', 20]);
  for (let i = 0; i < 30; i++) store.record({ ...pod, uid: `u${i}` }, 'Normal', 'Pulled', 'x');
  assert.equal(store.list().length, 15);
});

test('listeners hear of every event, and a list is the same array until one comes', () => {
  const { store } = setUp();
  let heard = 0;
  const unsubscribe = store.subscribe(() => {
    heard += 1;
  });
  store.record(pod, 'Normal', 'A', 'a');
  assert.equal(store.list(), store.list());
  unsubscribe();
  store.record(pod, 'Normal', 'B', 'b');
  assert.equal(heard, 1);
});

test('events outlive the agent; a damaged file is set aside', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'events-'));
  try {
    const place = path.join(folder, 'state', 'events.json');
    const file = jsonStateFile({ path: place, maxBytes: 1_000_000 }, { log: silentLogger });
    const first = setUp({}, file);
    const stop = new AbortController();
    const running = first.store.run({ signal: stop.signal });
    first.store.record(pod, 'Normal', 'Pulled', 'Pulled');
    await settle();
    first.store.record(pod, 'Normal', 'Pulled', 'Pulled');
    stop.abort();
    await running;
    assert.equal((await stat(place)).mode & 0o777, 0o600);

    const second = setUp({}, file);
    await second.store.load();
    second.store.record(pod, 'Normal', 'Pulled', 'Pulled');
    assert.deepEqual(
      second.store.list().map((e) => e.count),
      [3],
    );
    assert.equal(second.store.list()[0]?.metadata.uid, first.store.list()[0]?.metadata.uid);

    await writeFile(place, (await readFile(place, 'utf8')).replace('Pulled', 'Pushed'));
    const third = setUp({}, file);
    await third.store.load();
    assert.deepEqual(third.store.list(), []);
    assert.deepEqual(await readdir(path.dirname(place)), ['events.json.damaged']);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('whoever follows is told every record as it was made, what was said before it came as well, until it ends', () => {
  const { store } = setUp();
  const told: string[] = [];
  store.record(pod, 'Normal', 'Pulled', 'early');
  const end = store.forwardTo({ record: (object, type, reason, message) => told.push(`${object.name} ${type} ${reason} ${message}`) });
  for (let i = 0; i < 2; i++) store.record(pod, 'Normal', 'Started', 'm');
  end();
  store.record(pod, 'Normal', 'Started', 'm');
  assert.deepEqual(told, ['web-node1 Normal Pulled early', 'web-node1 Normal Started m', 'web-node1 Normal Started m']);
  assert.equal(store.list()[1]?.count, 3);
});
