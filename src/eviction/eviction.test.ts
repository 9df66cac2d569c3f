// Pressure as its Pods see it: real workers on a fake runtime, and a machine that has left what the test says.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildAdmissionNode } from '../../test/support/node-facts.ts';
import { onMachine, type PodMachine, staticPod } from '../../test/support/pod-machine.ts';
import { buildContainer, RecordedEvents } from '../../test/support/pods.ts';
import type { PodSpec } from '../api/gen/kubernetes.ts';
import { type Logger, silentLogger } from '../std/log.ts';
import { noMetrics } from '../std/metrics.ts';
import { Eviction, type EvictionSettings } from './eviction.ts';
import type { Pressure } from './thresholds.ts';
import { noUsage, type Usage } from './victims.ts';

const mi = 2 ** 20;
const settings: EvictionSettings = {
  evictionHard: { 'memory.available': { kind: 'bytes', value: 100 * mi }, 'nodefs.available': { kind: 'bytes', value: 100 * mi } },
  evictionSoft: { 'memory.available': { kind: 'bytes', value: 300 * mi } },
  evictionSoftGracePeriodMs: { 'memory.available': 30_000 },
  evictionMinimumReclaim: {},
  evictionPressureTransitionPeriodMs: 60_000,
  evictionMaxPodGracePeriodSeconds: 7,
  localStorageCapacityIsolation: true,
  criticalPods: 'byPriority',
};

class Scene {
  readonly m: PodMachine;
  readonly eviction: Eviction;
  readonly nodeEvents = new RecordedEvents();
  readonly warnings: string[] = [];
  readonly counted: string[] = [];
  readonly ages = new Set<string>();
  readonly left = { memory: 1000 * mi, nodefs: 1000 * mi };
  readonly usages = new Map<string, Usage>();
  /** What removing images and dead containers gives back. */
  reclaimable = 0;
  readonly reclaimed: string[] = [];
  measured = 0;

  constructor(m: PodMachine, change: Partial<EvictionSettings>) {
    this.m = m;
    const changed = { ...settings, ...change };
    const say = (message: string): void => void this.warnings.push(message);
    const logger: Logger = { ...silentLogger, warn: say };
    this.eviction = new Eviction(
      { settings: () => changed, node: { kind: 'Node', namespace: '', name: 'node1', uid: 'node1' } },
      {
        signals: async () => ({
          'memory.available': { available: this.left.memory, capacity: 2000 * mi },
          'nodefs.available': { available: this.left.nodefs, capacity: 2000 * mi },
        }),
        usages: async () => {
          this.measured++;
          return this.usages;
        },
        reclaim: async (signal) => {
          this.reclaimed.push(signal);
          this.left.nodefs += this.reclaimable;
          return true;
        },
        pods: m.agent.workers,
        onPressure: (pressure) => {
          m.admission = buildAdmissionNode({ criticalPods: changed.criticalPods, pressure: conditions(pressure) });
          m.agent.workers.reconcile();
        },
        events: { record: (object, ...rest) => (object.kind === 'Node' ? this.nodeEvents : m.events).record(object, ...rest) },
        metrics: {
          ...noMetrics,
          counter: ({ name }) => ({
            inc: (labels = {}) => void this.counted.push(`${name} ${JSON.stringify(labels)}`),
            remove: () => undefined,
          }),
          histogram: ({ name }) => ({
            observe: (_, labels = {}) => void this.ages.add(`${name} ${JSON.stringify(labels)}`),
            remove: () => undefined,
          }),
        },
        clock: m.clock,
        logger,
      },
    );
  }

  /** What happens in so many seconds, a look every ten. */
  async pass(seconds: number): Promise<void> {
    for (let i = 0; i < seconds; i += 10) {
      await this.eviction.look({ signal: new AbortController().signal });
      await this.m.advance(10_000);
    }
  }

  phase(uid: string): string {
    const { phase, reason } = this.m.status(uid) ?? {};
    return [phase, reason].filter((part) => part !== undefined).join(' ');
  }
}

const conditions = ({ memory, disk, pid }: Pressure): readonly string[] => [
  ...(memory ? ['MemoryPressure'] : []),
  ...(disk ? ['DiskPressure'] : []),
  ...(pid ? ['PIDPressure'] : []),
];

const pod = (uid: string, spec: Partial<PodSpec> = {}) => staticPod(uid, spec, uid);
const critical = { priorityClassName: 'system-node-critical' };

/** `low` (priority 0), `high` (priority 10) and `critical` run. */
function scene(change: Partial<EvictionSettings>, run: (s: Scene) => Promise<void>, spec: Partial<PodSpec> = {}): Promise<void> {
  return onMachine({ process: () => ({ onTerm: 'ignore' }) }, async (m) => {
    m.admission = buildAdmissionNode({ criticalPods: change.criticalPods ?? 'byPriority' });
    await m.apply(pod('low', spec), pod('high', { ...spec, priority: 10 }), pod('critical', { ...spec, ...critical }));
    m.takeDeeds();
    m.events.take();
    await run(new Scene(m, change));
    assert.deepEqual(m.errors, []);
  });
}

test('short of memory: one Pod at a time in order, critical ones never, and all come back when it is over (L-505, L-506, S-441, H-389, H-390, C-399, D4)', () =>
  scene({}, async (s) => {
    const { m } = s;
    await s.pass(20);
    assert.deepEqual(m.takeDeeds(), []);
    s.left.memory = 50 * mi;
    await s.pass(10);
    assert.deepEqual([s.phase('low'), s.phase('high')], ['Failed Evicted', 'Running']);
    assert.deepEqual(m.takeDeeds().slice(0, 1), ['stopContainer app/0 2'], 'no time is left for a longer grace');
    const message = 'The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. ';
    assert.deepEqual(
      m.events.take().filter((event) => event.includes('Evicted')),
      [`Warning Evicted: ${message}`],
    );
    assert.equal(m.status('low')?.message, message);
    assert.equal(m.status('low')?.conditions?.find(({ type }) => type === 'DisruptionTarget')?.reason, 'TerminationByKubelet');
    await s.pass(10);
    assert.deepEqual([s.phase('low'), s.phase('high')], ['Failed Evicted', 'Failed Evicted']);
    await s.pass(60);
    assert.equal(s.phase('critical'), 'Running');
    assert.deepEqual(s.counted, [
      'kubelet_evictions {"eviction_signal":"memory.available"}',
      'kubelet_evictions {"eviction_signal":"memory.available"}',
    ]);
    assert.deepEqual([...s.ages], ['kubelet_eviction_stats_age_seconds {"eviction_signal":"memory.available"}']);
    assert.deepEqual(s.nodeEvents.lines, ['Warning EvictionThresholdMet: Attempting to reclaim memory'], 'told once');
    await m.apply(...m.desired.values(), pod('late'));
    assert.equal(s.phase('late'), 'Failed Evicted');
    assert.equal(m.status('late')?.message, 'Pod was rejected: The node had condition: [MemoryPressure]. ');
    s.left.memory = 1000 * mi;
    await s.pass(50);
    assert.equal(s.phase('low'), 'Failed Evicted', 'until the transition period is over');
    await s.pass(30);
    assert.deepEqual(
      ['low', 'high', 'critical', 'late'].map((uid) => s.phase(uid)),
      ['Running', 'Running', 'Running', 'Running'],
    );
  }));

test('criticalPods: all: static Pods are never evicted, and nothing is measured (L-506, C-399)', () =>
  scene({ criticalPods: 'all' }, async (s) => {
    s.left.memory = 1 * mi;
    s.left.nodefs = 1 * mi;
    await s.pass(120);
    assert.deepEqual(s.m.takeDeeds(), []);
    assert.equal(s.measured, 0);
    assert.deepEqual(s.m.admission.pressure, ['MemoryPressure', 'DiskPressure']);
    await s.m.apply(...s.m.desired.values(), pod('late'));
    assert.equal(s.phase('late'), 'Running');
  }));

test('a soft threshold: after its grace period, with a grace of the setting (L-505)', () =>
  scene({}, async (s) => {
    s.left.memory = 200 * mi;
    await s.pass(30);
    assert.deepEqual(s.m.takeDeeds(), []);
    await s.pass(10);
    assert.deepEqual(s.m.takeDeeds().slice(0, 1), ['stopContainer app/0 7']);
  }));

test('while a Pod is ending no other is ended', () =>
  scene({ evictionMaxPodGracePeriodSeconds: 25 }, async (s) => {
    s.left.memory = 200 * mi;
    await s.pass(50);
    assert.deepEqual([s.phase('low'), s.phase('high')], ['Failed Evicted', 'Running']);
    assert.deepEqual(s.m.takeDeeds(), ['stopContainer app/0 25']);
    await s.pass(20);
    assert.deepEqual(s.m.takeDeeds(), ['stopPodSandbox low-node1/0', 'stopContainer app/0 25']);
    assert.equal(s.phase('high'), 'Failed Evicted');
  }));

test('short of disk: what nobody needs goes first, and when that is enough no Pod does (L-505)', () =>
  scene({}, async (s) => {
    s.reclaimable = 500 * mi;
    s.left.nodefs = 50 * mi;
    await s.pass(30);
    assert.deepEqual(s.reclaimed, ['nodefs.available']);
    assert.deepEqual(s.m.takeDeeds(), []);
    assert.deepEqual(s.m.admission.pressure, ['DiskPressure'], 'for the transition period');
    s.reclaimable = 0;
    s.left.nodefs = 50 * mi;
    s.usages.set('high', { ...noUsage, storageBytes: 900 * mi });
    await s.pass(10);
    assert.deepEqual([s.phase('low'), s.phase('high')], ['Running', 'Failed Evicted'], 'who uses more than it asked for');
  }));

const limited = {
  containers: [buildContainer({ volumeMounts: [{ name: 'cache', mountPath: '/cache' }] })],
  volumes: [{ name: 'cache', emptyDir: { sizeLimit: '10Mi' } }],
};

test('an emptyDir above its limit: its Pod goes and comes back with an empty one, less and less soon (D4)', () =>
  scene(
    {},
    async (s) => {
      s.usages.set('low', { ...noUsage, emptyDirs: new Map([['cache', 11 * mi]]) });
      s.usages.set('critical', { ...noUsage, emptyDirs: new Map([['cache', 11 * mi]]) });
      await s.eviction.look({ signal: new AbortController().signal });
      await s.m.settle();
      assert.equal(s.m.status('low')?.message, 'Usage of EmptyDir volume "cache" exceeds the limit "10Mi". ');
      await s.m.advance(5_000);
      s.usages.delete('low');
      await s.pass(20);
      assert.deepEqual([s.phase('low'), s.phase('high'), s.phase('critical')], ['Running', 'Running', 'Running']);
    },
    limited,
  ));

test('C-400: criticalPods: all: an emptyDir may grow', () =>
  scene(
    { criticalPods: 'all' },
    async (s) => {
      s.usages.set('low', { ...noUsage, emptyDirs: new Map([['cache', 11 * mi]]) });
      await s.pass(30);
      assert.deepEqual(s.m.takeDeeds(), []);
      assert.equal(s.measured, 0);
    },
    limited,
  ));

test('a machine that cannot be read: said, and nothing is done', () =>
  onMachine({}, async (m) => {
    const s = new Scene(m, {});
    const controller = new AbortController();
    Object.defineProperty(s.left, 'memory', {
      get: () => {
        throw new RangeError('no /proc');
      },
    });
    const running = s.eviction.run({ signal: controller.signal });
    await m.advance(5_000);
    controller.abort(new RangeError('stop'));
    await assert.rejects(running, /stop/);
    assert.deepEqual(s.warnings, ['the node cannot be watched for pressure']);
  }));
