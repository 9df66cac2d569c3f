import assert from 'node:assert/strict';
import { test } from 'node:test';
import { apiWorld } from '../../test/support/mirror-fixtures.ts';
import { ApiError } from './kube-api.ts';

const forbidden = new ApiError('forbidden', 'no');

test('D5: a fault is told when it begins and when its cause changes, not each time it is met, nor when it flaps', async () => {
  const { faults, events, clock } = apiWorld();
  for (let i = 0; i < 3; i++) faults.report('mirror', 'default/web', forbidden);
  assert.deepEqual(
    faults.list().map(({ area, key, cause, count }) => [area, key, cause, count]),
    [['mirror', 'default/web', 'forbidden', 3]],
  );
  assert.match(faults.list()[0]?.advice ?? '', /RBAC/);
  faults.report('mirror', 'default/web', new ApiError('invalid', 'no'));
  faults.clear('mirror', 'default/web');
  assert.deepEqual(faults.list(), []);
  await clock.advance(60_000);
  faults.report('mirror', 'default/web', new ApiError('invalid', 'no'));
  assert.deepEqual(
    events.map((e) => e.message),
    ['mirror of default/web: forbidden: no', 'mirror of default/web: invalid: no'],
  );
  faults.clear('mirror', 'default/web');
  await clock.advance(400_000);
  faults.report('mirror', 'default/web', new ApiError('invalid', 'no'));
  assert.equal(events.length, 3);
});

test('what is asked for only on occasion is not held for ever: refused Events and reviews are forgotten after two minutes', async () => {
  const { faults, clock } = apiWorld();
  faults.report('events', '', forbidden);
  faults.report('review', '', forbidden);
  faults.report('mirror', 'default/web', forbidden);
  await clock.advance(119_000);
  assert.equal(faults.list().length, 3);
  await clock.advance(2_000);
  assert.deepEqual(
    faults.list().map((fault) => fault.area),
    ['mirror'],
  );
});
