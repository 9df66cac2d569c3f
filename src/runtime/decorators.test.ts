import assert from 'node:assert/strict';
import { it } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { FakeRuntime } from '../../test/support/fake-runtime.ts';
import { buildSandboxConfig } from '../../test/support/pods.ts';
import { Superseded } from '../std/async.ts';
import { RuntimeError } from '../std/errors.ts';
import type { Labels, Metrics } from '../std/metrics.ts';
import { withMetrics } from './decorators.ts';

function recording() {
  const lines: string[] = [];
  const note =
    (name: string) =>
    (value: number, labels: Labels = {}): void => {
      lines.push(`${name.replace('kubelet_runtime_operations_', '')} ${labels['operation_type'] ?? JSON.stringify(labels)} ${value}`);
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

it('times the making of a sandbox by its handler, and counts those not made (H-379, H-380)', async () => {
  const w = world();
  w.fake.failNext('runPodSandbox', new RuntimeError('unknown', 'no'));
  await assert.rejects(w.runtime.runPodSandbox({ config: buildSandboxConfig(), runtimeHandler: '' }, o));
  await w.runtime.runPodSandbox({ config: buildSandboxConfig(), runtimeHandler: '' }, o);
  const own = w.lines.filter((line) => line.startsWith('kubelet_run_podsandbox'));
  assert.deepEqual(own, [
    'kubelet_run_podsandbox_errors_total {"runtime_handler":""} 1',
    'kubelet_run_podsandbox_duration_seconds {"runtime_handler":""} 0',
    'kubelet_run_podsandbox_duration_seconds {"runtime_handler":""} 0',
  ]);
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
