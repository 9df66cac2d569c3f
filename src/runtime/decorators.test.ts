import assert from 'node:assert/strict';
import { it } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { FakeRuntime } from '../../test/support/fake-runtime.ts';
import { Superseded } from '../std/async.ts';
import { RuntimeError } from '../std/errors.ts';
import type { Labels, Metrics } from '../std/metrics.ts';
import { withMetrics } from './decorators.ts';

function recording() {
  const lines: string[] = [];
  const note =
    (name: string) =>
    (value: number, labels: Labels = {}): void => {
      lines.push(`${name.replace('kubelet_runtime_operations_', '')} ${labels['operation_type']} ${value}`);
    };
  const metrics: Metrics = {
    counter: ({ name }) => ({ inc: (labels, value = 1) => note(name)(value, labels), remove: () => undefined }),
    gauge: ({ name }) => ({ set: note(name), remove: () => undefined }),
    histogram: ({ name }) => ({ observe: note(name), remove: () => undefined }),
  };
  return { metrics, lines };
}

function world() {
  const clock = new FakeClock();
  const fake = new FakeRuntime({}, { clock });
  const { metrics, lines } = recording();
  return { clock, fake, lines, runtime: withMetrics(fake, { metrics, clock }) };
}

const o = { signal: new AbortController().signal };

it('counts and times a call (H-381, H-382)', async () => {
  const w = world();
  const release = w.fake.block('listContainers');
  const listed = w.runtime.listContainers({}, o);
  await w.clock.advance(250);
  release();
  assert.deepEqual(await listed, []);
  assert.deepEqual(w.lines, ['total list_containers 1', 'duration_seconds list_containers 0.25']);
});

it('counts a failure of the runtime and passes it on', async () => {
  const w = world();
  const failure = new RuntimeError('unknown', 'no');
  w.fake.failNext('removeContainer', failure);
  await assert.rejects(w.runtime.removeContainer('c', o), (error) => error === failure);
  assert.deepEqual(w.lines, ['total remove_container 1', 'errors_total remove_container 1', 'duration_seconds remove_container 0']);
});

it('does not blame the runtime for a caller that gave up', async () => {
  const w = world();
  w.fake.block('status');
  const ends = new AbortController();
  const status = w.runtime.status({ verbose: false }, { signal: ends.signal });
  const reason = new Superseded();
  ends.abort(reason);
  await assert.rejects(status, (error) => error === reason);
  assert.deepEqual(w.lines, ['total status 1', 'duration_seconds status 0']);
});

it('counts an event stream once and hands its events on', async () => {
  const w = world();
  const next = (async () => {
    for await (const event of w.runtime.events(o)) return event;
    return undefined;
  })();
  await settle();
  w.fake.emitEvent({ podUid: 'u', containerId: 'c' });
  assert.deepEqual(await next, { podUid: 'u', containerId: 'c' });
  assert.deepEqual(w.lines, ['total get_container_events 1']);
});
