// Model-based: static Pods come, change and go, users and faults do what they like at the API server, and the agent is
// killed at any moment. On the trace: nothing is deleted but mirrors of ours. At the end: what is shown is what runs.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Misbehaviour } from '../../test/support/kube-api-double.ts';
import { apiWorld, nodeName, quiesce, runningStatus, staticPod, until } from '../../test/support/mirror-fixtures.ts';
import type { PodStatus } from '../api/gen/kubernetes.ts';
import type { Pod } from '../api/pod.ts';
import { TaskGroup } from '../std/async.ts';
import { MirrorPods } from './mirror-pods.ts';

/** Reproducible: mulberry32. */
function randomOf(seed: number) {
  let state = seed;
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
  return { next, below: (n: number) => Math.floor(next() * n), pick: <T>(of: readonly T[]): T => of[Math.floor(next() * of.length)] as T };
}

const names = ['a', 'b', 'c'];
const faults: readonly Misbehaviour[] = [
  { kind: 'drop' },
  { kind: 'lose-answer' },
  { kind: 'hang' },
  { kind: 'status', status: { code: 500, reason: 'InternalError', message: 'x' } },
  { kind: 'status', status: { code: 403, reason: 'Forbidden', message: 'x' } },
  { kind: 'status', status: { code: 409, reason: 'Conflict', message: 'x' } },
  { kind: 'status', status: { code: 429, reason: 'TooManyRequests', message: 'x' }, retryAfterSeconds: 1 },
];

async function run(seed: number): Promise<void> {
  const random = randomOf(seed);
  const w = apiWorld();
  const node = { metadata: { name: nodeName, uid: 'node-uid' } };
  /** Name → the Pod that its manifest wants; undefined while it has none. */
  const wanted = new Map<string, { readonly pod: Pod; status: PodStatus } | undefined>();
  let versions = 0;
  let group = new TaskGroup();
  const start = (): void => {
    const isOrphan = ({ name }: { readonly name: string }): boolean => wanted.get(name.slice(0, -nodeName.length - 1)) === undefined;
    new MirrorPods({ nodeName }, { ...w.deps, random, status: w.status, node: () => node, isOrphan }).start(group);
  };
  const end = (name: string): void => {
    const old = wanted.get(name);
    if (old === undefined) return;
    w.status.publish(old.pod, old.status, { stage: 'terminating', leaving: true });
    w.status.publish(old.pod, old.status, { stage: 'terminated', leaving: true });
    w.status.remove(old.pod.metadata.uid);
    wanted.set(name, undefined);
  };
  const statusOf = (): PodStatus => {
    const ip = `10.0.0.${random.below(200)}`;
    return { ...runningStatus, podIP: ip, podIPs: [{ ip }], message: random.pick(['', 'm', 'n']) };
  };
  const mirrorName = (): string => `${random.pick(names)}-${nodeName}`;
  const ops: readonly (() => void | Promise<void>)[] = [
    () => {
      const name = random.pick(names);
      end(name);
      versions += 1;
      const pod = staticPod(`v${versions}`, { name, image: `image-${versions}` });
      wanted.set(name, { pod, status: statusOf() });
      w.status.publish(pod, wanted.get(name)?.status ?? runningStatus);
    },
    () => {
      const known = wanted.get(random.pick(names));
      if (known === undefined) return;
      known.status = statusOf();
      w.status.publish(known.pod, known.status);
    },
    () => end(random.pick(names)),
    () => w.double.deleteAs('pods', 'default', mirrorName(), random.pick([0, 30])),
    () => {
      const mirror = w.double.get('pods', 'default', mirrorName());
      if (mirror !== undefined) w.double.put('pods', { ...mirror, status: { phase: 'Failed', podIP: '203.0.113.1' } });
    },
    () => {
      // While our own patch is under way.
      const name = random.pick(names);
      const known = wanted.get(name);
      const mirror = w.double.get('pods', 'default', `${name}-${nodeName}`);
      if (known === undefined || mirror === undefined) return;
      known.status = statusOf();
      w.status.publish(known.pod, known.status);
      w.double.put('pods', { ...mirror, status: { ...mirror['status'], phase: 'Failed' } });
    },
    () => {
      const fault = random.pick(faults);
      const share = random.next();
      w.double.rules = [() => (random.next() < share ? fault : undefined)];
    },
    () => {
      w.double.rules = [];
    },
    () => w.double.endWatches(random.pick([undefined, { code: 410, reason: 'Expired', message: 'x' }])),
    async () => {
      // kill -9: whatever was under way is lost, what the server has done stays.
      await group.close();
      group = new TaskGroup();
      start();
    },
    () => w.clock.advance(random.pick([10, 1000, 15_000])),
    () => quiesce(),
  ];
  // Somebody's own Pod, which is never touched.
  w.double.put('pods', { metadata: { name: 'theirs', namespace: 'default' }, spec: { nodeName }, status: { phase: 'Running' } });
  start();
  for (let i = 0; i < 40; i++) await random.pick(ops)();
  w.double.rules = [];
  const shown = (): unknown =>
    Object.fromEntries(
      w.double
        .objects('pods')
        .filter((pod) => pod.metadata.name !== 'theirs')
        .map(({ metadata, spec, status }) => [
          metadata.name?.slice(0, -nodeName.length - 1),
          [
            metadata.annotations?.['kubernetes.io/config.mirror'],
            metadata.deletionTimestamp ?? '',
            spec.containers[0].image,
            status.podIP,
            status.message ?? '',
            status.phase,
          ],
        ])
        .sort(),
    );
  const desired = Object.fromEntries(
    [...wanted]
      .flatMap(([name, it]) =>
        it === undefined
          ? []
          : [[name, [it.pod.metadata.uid, '', it.pod.spec.containers[0]?.image, it.status.podIP, it.status.message, 'Running']] as const],
      )
      .sort(),
  );
  const isThere = (): boolean => JSON.stringify(shown()) === JSON.stringify(desired);
  try {
    await until(w.clock, isThere, 200_000, 1000).catch(() => assert.deepEqual(shown(), desired));
    for (const { method, path, body } of w.double.requests) {
      if (method !== 'DELETE') continue;
      assert.ok(!path.endsWith('/theirs'));
      assert.ok((body as { readonly preconditions?: { readonly uid?: string } }).preconditions?.uid !== undefined, 'only this very object');
    }
    // Whoever waits for a server that failed comes back by now.
    await w.clock.advance(120_000);
    await quiesce();
    const before = w.double.requests.length;
    await w.clock.advance(60_000);
    await quiesce();
    assert.ok(isThere());
    assert.ok(w.double.requests.length - before < 5, 'quiet once it is right');
  } finally {
    await group.close();
  }
}

const seeds = Number(process.env['PINPOD_MODEL_SEEDS'] ?? 150);
test(`whatever happens, what is shown is what runs (${seeds} seeds)`, async () => {
  for (let seed = 1; seed <= seeds; seed++) {
    await run(seed).catch((error: unknown) => {
      throw new Error(`seed ${seed}`, { cause: error });
    });
  }
});
