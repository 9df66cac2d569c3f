// What an edit would do, one row per kind of edit (S-250 … S-256, L-081 … L-084, L-118 … L-123): the planner's own answers.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { now, recordOf } from '../../test/support/plans.ts';
import { buildContainer, buildPod, observedPod, observedSandbox } from '../../test/support/pods.ts';
import type { PodSpec } from '../api/gen/kubernetes.ts';
import { annotationKeys, type Pod } from '../api/pod.ts';
import { type ForecastInput, forecastPod } from './forecast.ts';
import { criKeys } from './observation.ts';
import { defaultBackoff } from './restart-policy.ts';

const app = buildContainer();
const side = buildContainer({ name: 'side' });
const sized = (cpu: number) => buildContainer({ resources: { requests: { cpu: String(cpu) } } });
const given = (cpu: number) => recordOf(sized(cpu), { annotations: { [criKeys.resources]: JSON.stringify(sized(cpu).resources) } });
const running = observedPod({ containers: [recordOf(app), recordOf(side)] });
const base: Partial<PodSpec> = { containers: [app, side], restartPolicy: 'Always', terminationGracePeriodSeconds: 5 };
const pod = (spec: Partial<PodSpec> = {}, metadata: Partial<Pod['metadata']> = {}): Pod => buildPod({ ...base, ...spec }, metadata);
const hash = (uid: string): Partial<Pod['metadata']> => ({ uid, annotations: { [annotationKeys.configHash]: uid } });

interface Row {
  readonly name: string;
  readonly current?: Pod;
  readonly wanted?: Pod;
  readonly observed?: ForecastInput['observed'];
  readonly isFinished?: boolean;
  readonly change: string;
  readonly fields?: readonly string[];
  /** `name change: reason`. */
  readonly containers?: readonly string[];
  readonly reasons?: readonly RegExp[];
}

const rows: readonly Row[] = [
  { name: 'no manifest, no Pod', change: 'unchanged' },
  {
    name: 'a new Pod',
    wanted: pod(),
    observed: observedPod({ sandboxes: [] }),
    change: 'new',
    containers: ['app started', 'side started'],
  },
  {
    name: 'a manifest that is gone',
    current: pod(),
    change: 'removed',
    containers: ['app stopped', 'side stopped'],
    reasons: [/^the running one is stopped within 5 s of grace$/],
  },
  { name: 'the same (S-251)', current: pod(), wanted: pod(), change: 'unchanged' },
  {
    name: 'only what the agent writes itself differs',
    current: pod({}, { annotations: { [annotationKeys.configSeen]: 'a' } }),
    wanted: pod({}, { annotations: { [annotationKeys.configSeen]: 'b' } }),
    change: 'unchanged',
  },
  {
    name: 'without a fixed UID every change is another Pod (S-250)',
    current: pod({}, hash('1')),
    wanted: pod({ priority: 7 }, hash('2')),
    change: 'replaced',
    fields: ['spec.priority'],
    containers: ['app restarted', 'side restarted'],
    reasons: [/does not fix metadata.uid.*within 5 s/],
  },
  {
    name: 'of a replaced Pod, containers come and go',
    current: pod({}, hash('1')),
    wanted: pod({ containers: [app, buildContainer({ name: 'new' })] }, hash('2')),
    change: 'replaced',
    fields: ['spec.containers[side]', 'spec.containers[new]'],
    containers: ['app restarted', 'new started', 'side stopped'],
    reasons: [/another Pod/],
  },
  {
    name: 'a UID that differs though nothing else does: another file',
    current: pod({}, hash('1')),
    wanted: pod({}, hash('2')),
    change: 'replaced',
    containers: ['app restarted', 'side restarted'],
    reasons: [/no field differs, but the UID does/],
  },
  {
    name: 'fixed UID: another image restarts that container only (S-252, S-253, L-084)',
    current: pod(),
    wanted: pod({ containers: [{ ...app, image: 'nginx:2' }, side] }),
    change: 'updated',
    fields: ['spec.containers[app].image'],
    containers: ['app restarted: Container app definition changed, will be restarted', 'side kept'],
  },
  {
    name: 'fixed UID: other fields of a container wait for its next start (S-252)',
    current: pod(),
    wanted: pod({ containers: [app, { ...side, command: ['sh'] }] }),
    change: 'updated',
    fields: ['spec.containers[side].command'],
    containers: ['app kept', 'side kept: its new definition counts from its next start'],
  },
  {
    name: 'fixed UID: a container that leaves is stopped, a new one starts (L-081)',
    current: pod(),
    wanted: pod({ containers: [app, buildContainer({ name: 'new' })] }),
    change: 'updated',
    fields: ['spec.containers[side]', 'spec.containers[new]'],
    containers: ['app kept', 'new started', 'side stopped: Container side is no longer in the manifest'],
  },
  {
    name: 'fixed UID: another network makes the sandbox anew (L-121)',
    current: pod(),
    wanted: pod({ hostNetwork: true }),
    change: 'replaced',
    fields: ['spec.hostNetwork'],
    containers: ['app restarted', 'side restarted'],
    reasons: [/hostNetwork.*sandbox is made anew/],
  },
  {
    name: 'fixed UID: another QoS class is another cgroup (L-052)',
    current: pod(),
    wanted: pod({ resources: { requests: { cpu: '1' } } }),
    change: 'replaced',
    fields: ['spec.resources'],
    containers: ['app restarted', 'side restarted'],
    reasons: [/^the QoS class becomes Burstable instead of BestEffort, /],
  },
  {
    name: 'fixed UID: what only the sandbox takes is named',
    current: pod(),
    wanted: pod({ hostname: 'other', dnsPolicy: 'None' }),
    change: 'updated',
    fields: ['spec.hostname', 'spec.dnsPolicy'],
    containers: ['app kept', 'side kept'],
    reasons: [/only when the sandbox is made anew.*spec.hostname, spec.dnsPolicy$/],
  },
  {
    name: 'fixed UID: other resources are given while it runs (L-518)',
    current: pod({ containers: [sized(1), side] }),
    wanted: pod({ containers: [sized(2), side] }),
    observed: observedPod({ containers: [given(1), recordOf(side)] }),
    change: 'updated',
    fields: ['spec.containers[app].resources.requests.cpu'],
    containers: ['app kept: its resources change while it runs', 'side kept'],
  },
  {
    name: 'fixed UID: so are those of the Pod as a whole (L-518)',
    current: pod({ resources: { requests: { cpu: '1' } } }),
    wanted: pod({ resources: { requests: { cpu: '2' } } }),
    change: 'updated',
    fields: ['spec.resources.requests.cpu'],
    containers: ['app kept: its resources change while it runs', 'side kept: its resources change while it runs'],
  },
  {
    name: 'fixed UID: labels change nothing that runs',
    current: pod(),
    wanted: pod({}, { labels: { a: 'b' } }),
    change: 'updated',
    fields: ['metadata.labels'],
    containers: ['app kept', 'side kept'],
  },
  {
    name: 'fixed UID: a deadline that has passed ends the Pod (L-491)',
    current: pod(),
    wanted: pod({ activeDeadlineSeconds: 1 }),
    observed: observedPod({ containers: running.containers, sandboxes: [observedSandbox({ createdAt: now - 5000 })] }),
    change: 'updated',
    fields: ['spec.activeDeadlineSeconds'],
    containers: ['app stopped', 'side stopped'],
    reasons: [/activeDeadlineSeconds has passed/],
  },
  {
    name: 'a container whose back-off is over anyway is not said to be restarted by the edit',
    current: pod(),
    wanted: pod({}, { labels: { a: 'b' } }),
    observed: observedPod({ containers: [recordOf(app), recordOf(side, { state: 'exited', exitCode: 1, finishedAt: now - 600_000 })] }),
    change: 'updated',
    fields: ['metadata.labels'],
    containers: ['app kept', 'side started'],
  },
  {
    name: 'a finished Pod with another spec runs again (D4)',
    current: pod({ restartPolicy: 'Never' }),
    wanted: pod({ restartPolicy: 'Never', priority: 1 }),
    observed: observedPod({ containers: [recordOf(app, { state: 'exited' }), recordOf(side, { state: 'exited' })] }),
    isFinished: true,
    change: 'replaced',
    fields: ['spec.priority'],
    containers: ['app started', 'side started'],
    reasons: [/runs again from scratch/],
  },
  {
    name: 'a finished Pod with another label stays finished',
    current: pod({ restartPolicy: 'Never' }),
    wanted: pod({ restartPolicy: 'Never' }, { labels: { a: 'b' } }),
    isFinished: true,
    change: 'updated',
    fields: ['metadata.labels'],
    reasons: [/has ended and stays so/],
  },
];

for (const row of rows) {
  test(`forecast: ${row.name}`, () => {
    const forecast = forecastPod({
      current: row.current,
      wanted: row.wanted,
      observed: row.observed ?? running,
      isFinished: row.isFinished ?? false,
      now,
      options: { backoff: defaultBackoff, networkError: undefined, runtimeName: 'fake', hostIps: [], agentStartedAt: 0 },
    });
    assert.equal(forecast.change, row.change);
    assert.deepEqual(
      forecast.fields.map(({ path }) => path),
      row.fields ?? [],
    );
    assert.deepEqual(
      forecast.containers.map(({ name, change, reason }) => (reason === undefined ? `${name} ${change}` : `${name} ${change}: ${reason}`)),
      row.containers ?? [],
    );
    assert.equal(forecast.reasons.length, (row.reasons ?? []).length, forecast.reasons.join('\n'));
    for (const [i, pattern] of (row.reasons ?? []).entries()) assert.match(forecast.reasons[i] ?? '', pattern);
  });
}
