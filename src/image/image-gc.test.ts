import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { observedContainer, RecordedEvents } from '../../test/support/pods.ts';
import type { ObservedContainer } from '../pod/observation.ts';
import type { RuntimeImage } from '../runtime/runtime.ts';
import { RuntimeError } from '../std/errors.ts';
import { silentLogger } from '../std/log.ts';
import { noMetrics } from '../std/metrics.ts';
import { type DiskUsage, ImageGc, type ImageGcOptions } from './image-gc.ts';

const signal = new AbortController().signal;
const minute = 60_000;

function image(name: string, change: Partial<RuntimeImage> = {}): RuntimeImage {
  return {
    id: `sha256:${name}`,
    repoTags: [`docker.io/library/${name}:latest`],
    repoDigests: [],
    sizeBytes: 100,
    uid: undefined,
    username: undefined,
    pinned: false,
    ...change,
  };
}

/** 1000 bytes of disk; every image takes what it weighs, and `other` the rest. */
function setUp(
  options: Partial<ImageGcOptions> = {},
  world: { needed?: readonly string[]; offline?: readonly string[]; disk?: DiskUsage } = {},
) {
  const clock = new FakeClock();
  const events = new RecordedEvents();
  let images: RuntimeImage[] = [];
  let containers: ObservedContainer[] = [];
  const removed: string[] = [];
  const counted: string[] = [];
  const refuses = new Set<string>();
  const state = { other: 0, sourcesReady: true };
  const gc = new ImageGc(
    {
      highThresholdPercent: 85,
      lowThresholdPercent: 80,
      minimumAgeMs: 2 * minute,
      maximumAgeMs: 0,
      node: { kind: 'Node', namespace: '', name: 'node1', uid: 'node1' },
      ...options,
    },
    {
      runtime: {
        listImages: async () => images,
        listContainers: async () => containers,
        imageFsInfo: async () => [{ timestamp: 0, mountpoint: '/images', usedBytes: 0, inodesUsed: 0 }],
        removeImage: async ({ image: id }) => {
          if (refuses.has(id)) throw new RuntimeError('unknown', `${id} is busy`);
          removed.push(id.slice('sha256:'.length));
          images = images.filter((other) => other.id !== id);
        },
      },
      clock,
      events,
      logger: silentLogger,
      metrics: {
        ...noMetrics,
        counter: () => ({ inc: (labels) => counted.push(labels?.['reason'] ?? ''), remove: () => undefined }),
      },
      neededImages: () => world.needed ?? [],
      sandboxImages: async () => ['registry.k8s.io/pause:3.9'],
      sourcesReady: () => state.sourcesReady,
      isOffline: (_, name) => (world.offline ?? []).includes(name),
      diskUsage: async () =>
        world.disk ?? { capacityBytes: 1000, availableBytes: 1000 - state.other - images.reduce((sum, i) => sum + i.sizeBytes, 0) },
    },
  );
  const put = (...list: RuntimeImage[]): void => {
    images = [...images, ...list];
  };
  const use = (...names: string[]): void => {
    containers = names.map((name) => observedContainer({ id: name, imageId: `sha256:${name}`, imageRef: '', image: '', state: 'exited' }));
  };
  return { clock, events, gc, removed, counted, refuses, state, put, use };
}

test('over the high threshold, unused images go, least recently used first, down to the low one (C-382, L-374 … L-376, H-395)', async () => {
  const { clock, gc, removed, state, put, use, counted } = setUp();
  put(image('never'), image('old'), image('recent'), image('running'), image('pinned', { pinned: true }));
  use('old', 'recent', 'running');
  await gc.detect({ signal });
  await clock.advance(minute);
  use('recent', 'running');
  await gc.detect({ signal });
  await clock.advance(2 * minute);
  use('running');
  put(image('new'));
  state.other = 250; // 850 of 1000 used
  await gc.collect({ signal });
  assert.deepEqual(removed, ['never']); // 750 used: below 80 %

  state.other = 500; // 1000 of 1000 used: 200 must go
  await gc.collect({ signal });
  assert.deepEqual(removed, ['never', 'old', 'recent']);
  assert.deepEqual(counted, ['space', 'space', 'space'], 'H-395');
});

test('below the high threshold nothing goes (L-376)', async () => {
  const { clock, gc, removed, state, put } = setUp();
  put(image('unused'));
  await gc.detect({ signal });
  await clock.advance(10 * minute);
  state.other = 740; // 840 of 1000 used
  await gc.collect({ signal });
  assert.deepEqual(removed, []);
  state.other = 750;
  await gc.collect({ signal });
  assert.deepEqual(removed, ['unused']);
});

test('never removed: in use by any record, pinned, young, named by a manifest or the sandbox, from imagesDir (C-382, L-373, L-374)', async () => {
  const digest = `sha256:${'d'.repeat(64)}`;
  const { clock, events, gc, removed, state, put, use } = setUp(
    {},
    {
      needed: ['nginx', `team/app@${digest}`],
      offline: ['docker.io/library/appliance:latest'],
    },
  );
  put(
    image('exited'),
    image('pinned', { pinned: true }),
    image('nginx'),
    image('pause', { repoTags: ['registry.k8s.io/pause:3.9'] }),
    image('digest', { repoTags: [], repoDigests: [`docker.io/team/app@${digest}`] }),
    image('appliance'),
  );
  use('exited');
  await gc.detect({ signal });
  await clock.advance(2 * minute);
  put(image('young'));
  state.other = 300;
  await assert.rejects(gc.collect({ signal }), { code: 'free-disk-space' });
  assert.deepEqual(removed, []);
  assert.deepEqual(events.take(), [
    "Warning FreeDiskSpaceFailed: Insufficient free disk space on the node's image filesystem (100% of 1000 B used). " +
      'Failed to free sufficient space by deleting unused images (freed 0 bytes). ' +
      'Investigate disk usage, as it could be used by active images, logs, volumes, or other data.',
  ]);
});

test('nothing goes as long as not every source was read: a manifest may name it (L-018)', async () => {
  const { clock, gc, removed, state, put } = setUp({ maximumAgeMs: minute, minimumAgeMs: 0 });
  put(image('unused'));
  state.other = 900;
  state.sourcesReady = false;
  await gc.detect({ signal });
  await clock.advance(10 * minute);
  await assert.rejects(gc.collect({ signal }), { code: 'free-disk-space' });
  assert.equal(await gc.removeUnused({ signal }), 0);
  assert.deepEqual(removed, []);
  state.sourcesReady = true;
  assert.equal(await gc.removeUnused({ signal }), 100);
});

test('unused for longer than the maximum age, without any pressure (C-381, L-378)', async () => {
  const { clock, gc, removed, put, use } = setUp({ maximumAgeMs: 10 * minute, minimumAgeMs: 60 * minute });
  put(image('never'), image('once'), image('running'));
  use('once', 'running');
  await gc.detect({ signal });
  use('running');
  await clock.advance(10 * minute);
  await gc.collect({ signal });
  // Not before the agent itself is older than that: a restart postpones it.
  assert.deepEqual(removed, []);
  await clock.advance(1);
  await gc.collect({ signal });
  assert.deepEqual(removed, ['never', 'once']);
});

test('looks at once, then collects every five minutes; not at all with a threshold of 100 and no maximum age (L-020)', async () => {
  const { clock, gc, removed, state, put } = setUp();
  put(image('old'));
  state.other = 950;
  const idle = setUp({ highThresholdPercent: 100, lowThresholdPercent: 99 });
  idle.put(image('old'));
  idle.state.other = 850;
  const ends = new AbortController();
  const runs = [gc.run({ signal: ends.signal }), idle.gc.run({ signal: ends.signal })];
  for (const run of runs) run.catch(() => undefined);
  await settle();
  await clock.advance(5 * minute - 1);
  assert.deepEqual(removed, []);
  await clock.advance(1);
  await idle.clock.advance(60 * minute);
  assert.deepEqual([removed, idle.removed], [['old'], []]);
  ends.abort(new Error('over'));
  await Promise.allSettled(runs);
});

test('an image that cannot be removed does not keep the others (L-377)', async () => {
  const { clock, gc, removed, refuses, state, put } = setUp();
  put(image('a'), image('b'));
  refuses.add('sha256:a');
  await gc.detect({ signal });
  await clock.advance(2 * minute);
  state.other = 700;
  await assert.rejects(gc.collect({ signal }), /sha256:a is busy/);
  assert.deepEqual(removed, ['b']);
});

test('a disk without capacity, and repeated failures, are told (L-377)', async () => {
  const { clock, events, gc } = setUp({}, { disk: { capacityBytes: 0, availableBytes: 0 } });
  const ending = new AbortController();
  const running = gc.run({ signal: ending.signal });
  await settle();
  await clock.advance(5 * minute);
  assert.deepEqual(events.take(), ['Warning InvalidDiskCapacity: invalid capacity 0 on image filesystem']);
  await clock.advance(5 * minute);
  assert.deepEqual(events.take(), [
    'Warning InvalidDiskCapacity: invalid capacity 0 on image filesystem',
    'Warning ImageGCFailed: invalid capacity 0 on image filesystem',
  ]);
  ending.abort(new RangeError('end'));
  await assert.rejects(running, RangeError);
});

test('under disk pressure everything that may go goes', async () => {
  const { clock, gc, removed, put, use } = setUp();
  put(image('a'), image('b'), image('c'));
  use('b');
  await gc.detect({ signal });
  await clock.advance(2 * minute);
  assert.equal(await gc.removeUnused({ signal }), 200);
  assert.deepEqual(removed, ['a', 'c']);
});

test('a reload moves the thresholds, and what was seen of images stays known', async () => {
  const { clock, gc, removed, state, put } = setUp();
  put(image('unused'));
  await gc.detect({ signal });
  await clock.advance(10 * minute);
  state.other = 500; // 600 of 1000 used
  await gc.collect({ signal });
  assert.deepEqual(removed, []);
  const node = { kind: 'Node' as const, namespace: '', name: 'node1', uid: 'node1' };
  gc.configure({ highThresholdPercent: 55, lowThresholdPercent: 50, minimumAgeMs: 2 * minute, maximumAgeMs: 0, node });
  await gc.collect({ signal });
  assert.deepEqual(removed, ['unused']);
});
