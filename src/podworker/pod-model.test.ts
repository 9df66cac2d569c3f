// Random histories of one machine: edits, exits, removals, faults, power losses, and the agent dying between any two
// deeds. The invariants of docs/pod-lifecycle.md are checked at every deed, not only at the end.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { deeds, onMachine, type PodMachine, staticPod } from '../../test/support/pod-machine.ts';
import { buildContainer } from '../../test/support/pods.ts';
import { allContainers, isSidecar, type Pod } from '../api/pod.ts';
import { containerHash } from '../pod/hash.ts';
import { criKeys, type ObservedContainer } from '../pod/observation.ts';
import type { ContainerConfig } from '../pod/runtime-config.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { RuntimeError } from '../std/errors.ts';

interface Shape {
  readonly policy: 'Always' | 'OnFailure' | 'Never';
  readonly hasInit: boolean;
  readonly hasSidecar: boolean;
  readonly isStubborn: boolean;
  readonly grace: number;
}

type Step =
  | { readonly kind: 'edit'; readonly name: string; readonly shape: Shape }
  | { readonly kind: 'image'; readonly name: string; readonly image: string }
  | { readonly kind: 'remove'; readonly name: string }
  | { readonly kind: 'putBack'; readonly name: string }
  | { readonly kind: 'exit'; readonly choice: number; readonly code: number }
  | { readonly kind: 'sandboxDies'; readonly choice: number }
  | { readonly kind: 'powerLoss' }
  | { readonly kind: 'fault'; readonly method: keyof Runtime; readonly isAway: boolean; readonly times: number }
  | { readonly kind: 'liveness'; readonly isFailing: boolean }
  | { readonly kind: 'evict'; readonly name: string }
  | { readonly kind: 'restart' }
  | { readonly kind: 'dieAfter'; readonly deeds: number }
  | { readonly kind: 'advance'; readonly ms: number };

const evicted = { kind: 'disrupted', reason: 'Evicted', message: 'The node was low', conditionMessage: 'low' } as const;
const names = fc.constantFrom('web', 'db');
const shapes: fc.Arbitrary<Shape> = fc.record({
  policy: fc.constantFrom('Always', 'OnFailure', 'Never'),
  hasInit: fc.boolean(),
  hasSidecar: fc.boolean(),
  isStubborn: fc.boolean(),
  grace: fc.constantFrom(1, 5, 30),
});
const methods = fc.constantFrom<keyof Runtime>(...deeds, 'listContainers', 'containerStatus');
const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('edit' as const), name: names, shape: shapes }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('image' as const), name: names, image: fc.constantFrom('nginx', 'nginx:2') }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('remove' as const), name: names }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('putBack' as const), name: names }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('exit' as const), choice: fc.nat(5), code: fc.constantFrom(0, 1, 137) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('sandboxDies' as const), choice: fc.nat(5) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('powerLoss' as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('fault' as const),
      method: methods,
      isAway: fc.boolean(),
      times: fc.integer({ min: 1, max: 3 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('liveness' as const), isFailing: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('evict' as const), name: names }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('dieAfter' as const), deeds: fc.integer({ min: 1, max: 6 }) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('advance' as const), ms: fc.constantFrom(100, 1_000, 6_000, 40_000) }) },
);

/** What a container does is in its command, so that a restarted agent finds it again. */
function processOf({ command }: ContainerConfig) {
  if (command[0] === '/once') return { exitsWith: 0 };
  return command[0] === '/stubborn' ? ({ onTerm: 'ignore' } as const) : undefined;
}

function podOf(uid: string, name: string, shape: Shape): Pod {
  const command = [shape.isStubborn ? '/stubborn' : '/serve'];
  const initContainers = [
    ...(shape.hasSidecar ? [buildContainer({ name: 'log', command, restartPolicy: 'Always' })] : []),
    ...(shape.hasInit ? [buildContainer({ name: 'prepare', command: ['/once'] })] : []),
  ];
  return staticPod(
    uid,
    {
      restartPolicy: shape.policy,
      terminationGracePeriodSeconds: shape.grace,
      ...(initContainers.length === 0 ? {} : { initContainers }),
      containers: [buildContainer({ command }), buildContainer({ name: 'side', command })],
    },
    name,
  );
}

/** Watches every deed and keeps what must not have happened. */
class Watch {
  readonly faults: string[] = [];
  readonly #m: PodMachine;
  /** Containers of Pods that were removed, or whose end was begun: what happens to them needs no cause any more. */
  readonly #ending = new Set<string>();
  readonly #restarts = new Map<string, number>();
  /** How often a stop of a container was asked for. */
  readonly #stops = new Map<string, number>();

  constructor(m: PodMachine) {
    this.#m = m;
    m.beforeDeed = (method, request) => {
      if (method === 'stopContainer') this.#beforeStop((request as { readonly containerId: string }).containerId);
      if (method === 'startContainer') this.#beforeStart(String(request));
      if (method === 'removeContainer') this.#beforeRemove(String(request));
      if (method === 'stopPodSandbox') this.#beforeSandboxStop(String(request));
    };
    m.onDeed = (deed) => this.#afterDeed(deed);
  }

  /** To be called whenever an agent was started. */
  follow(): void {
    this.#restarts.clear();
    this.#m.agent.status.subscribe((change) => {
      const { uid } = change.view.pod.metadata;
      const { status } = change.view;
      for (const container of [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])]) {
        const key = `${uid}/${container.name}`;
        const before = this.#restarts.get(key) ?? 0;
        if (change.kind === 'removed') this.#restarts.delete(key);
        else if (container.restartCount < before)
          this.faults.push(`P7: the restart count of ${key} falls from ${before} to ${container.restartCount}`);
        else this.#restarts.set(key, container.restartCount);
      }
    });
  }

  removing(uid: string): void {
    for (const record of this.#m.runtime.snapshot().containers) if (record.podUid === uid) this.#ending.add(record.id);
  }

  check(): void {
    assert.deepEqual(this.faults, []);
    assert.deepEqual(this.#m.errors, []);
  }

  #record(id: string): ObservedContainer | undefined {
    return this.#m.runtime.snapshot().containers.find((record) => record.id === id);
  }

  #beforeStart(id: string): void {
    const record = this.#record(id);
    if (record === undefined) return;
    const pod = this.#m.desired.get(record.podUid);
    const container = pod === undefined ? undefined : allContainers(pod.spec).find(({ name }) => name === record.name);
    if (container === undefined) this.faults.push(`P3: ${record.name} of ${record.podUid} is started, but nobody wants it`);
    else if (containerHash(container) !== record.annotations[criKeys.hash])
      this.faults.push(`P3: ${record.name} is started from an old manifest`);
  }

  #beforeStop(id: string): void {
    this.#stops.set(id, (this.#stops.get(id) ?? 0) + 1);
    const record = this.#record(id);
    if (record === undefined || record.state !== 'running') return;
    if (this.#ending.has(id) || this.#mayEnd(record)) this.#ending.add(id);
    else this.faults.push(`P5: ${record.name}/${record.attempt} of ${record.podUid} is stopped without cause`);
  }

  #beforeRemove(id: string): void {
    if (this.#record(id)?.state === 'running') this.faults.push(`P6: ${id} is removed while it runs`);
  }

  #beforeSandboxStop(id: string): void {
    for (const record of this.#m.runtime.snapshot().containers)
      if (record.sandboxId === id && record.state === 'running' && (this.#stops.get(record.id) ?? 0) < 3)
        this.faults.push(`P6: ${record.name} runs while its sandbox is stopped`);
  }

  #mayEnd(record: ObservedContainer): boolean {
    const { containers, sandboxes } = this.#m.runtime.snapshot();
    const pod = this.#m.desired.get(record.podUid);
    const container = pod === undefined ? undefined : allContainers(pod.spec).find(({ name }) => name === record.name);
    if (pod === undefined || container === undefined) return true;
    if (sandboxes.find(({ id }) => id === record.sandboxId)?.state !== 'ready') return true;
    if (containerHash(container) !== record.annotations[criKeys.hash]) return true;
    if (this.#m.probes.get(record.name)?.liveness === 'failure') return true;
    if (this.#m.agent.status.get(record.podUid)?.status.reason === 'Evicted') return true;
    // A finished Pod ends its sidecars.
    const isOver = pod.spec.containers.every(({ name }) =>
      containers.some((other) => other.podUid === record.podUid && other.name === name && other.state === 'exited'),
    );
    if (isSidecar(container) && isOver) return true;
    // A one-shot Pod that lost its sandbox once is ended.
    return pod.spec.restartPolicy === 'Never' && this.#m.agent.status.get(record.podUid)?.status.phase === 'Failed';
  }

  #afterDeed(deed: string): void {
    const { containers, sandboxes } = this.#m.runtime.snapshot();
    const ready = new Map<string, string>();
    for (const sandbox of sandboxes) {
      if (sandbox.state !== 'ready') continue;
      const name = `${sandbox.namespace}/${sandbox.name}`;
      if (ready.has(name)) this.faults.push(`P1: two ready sandboxes of ${name} after ${deed}`);
      ready.set(name, sandbox.id);
    }
    const running = containers.filter((record) => record.state === 'running');
    const nameOf = (record: ObservedContainer): string | undefined => sandboxes.find(({ id }) => id === record.sandboxId)?.name;
    for (const record of running) {
      const twin = running.find((other) => other.id !== record.id && other.name === record.name && nameOf(other) === nameOf(record));
      if (twin !== undefined) this.faults.push(`P2: ${record.name} of ${nameOf(record)} runs twice after ${deed}`);
    }
    for (const record of containers) {
      const twin = containers.find(
        (other) =>
          other.id !== record.id && other.podUid === record.podUid && other.name === record.name && other.attempt === record.attempt,
      );
      if (twin !== undefined) this.faults.push(`P7: two records ${record.name}/${record.attempt} of ${record.podUid}`);
    }
  }
}

class Driver {
  readonly #m: PodMachine;
  readonly #watch: Watch;
  readonly #last = new Map<string, Pod>();
  #generation = 0;

  constructor(m: PodMachine, watch: Watch) {
    this.#m = m;
    this.#watch = watch;
  }

  async run(step: Step): Promise<void> {
    const m = this.#m;
    switch (step.kind) {
      case 'edit':
        return await this.#replace(step.name, podOf(`${step.name}-${++this.#generation}`, step.name, step.shape));
      case 'image': {
        const pod = this.#current(step.name);
        if (pod === undefined) return;
        const containers = pod.spec.containers.map((container) => ({ ...container, image: step.image }));
        return await this.#replace(step.name, { ...pod, spec: { ...pod.spec, containers } });
      }
      case 'remove':
        return await this.#replace(step.name, undefined);
      case 'putBack':
        return await this.#replace(step.name, this.#current(step.name) ?? this.#last.get(step.name));
      case 'exit': {
        const running = m.runtime.snapshot().containers.filter((record) => record.state === 'running');
        const chosen = running[step.choice % Math.max(1, running.length)];
        if (chosen !== undefined) m.runtime.exit(chosen.id, step.code);
        return await m.settle();
      }
      case 'sandboxDies': {
        const ready = m.runtime.snapshot().sandboxes.filter((sandbox) => sandbox.state === 'ready');
        const chosen = ready[step.choice % Math.max(1, ready.length)];
        if (chosen !== undefined) m.runtime.killSandbox(chosen.id);
        return await m.settle();
      }
      case 'powerLoss':
        await m.crash();
        m.runtime.powerLoss();
        return await this.#start();
      case 'fault': {
        const code = step.isAway ? 'unavailable' : 'unknown';
        for (let i = 0; i < step.times; i++) m.runtime.failNext(step.method, new RuntimeError(code, 'told to fail'));
        return;
      }
      case 'liveness':
        if (step.isFailing) m.probes.set('app', { liveness: 'failure' });
        else m.probes.delete('app');
        m.agent.workers.wakeAll();
        return await m.settle();
      case 'evict': {
        const uid = this.#current(step.name)?.metadata.uid;
        if (uid !== undefined) m.agent.workers.terminate(uid, evicted, 1);
        return await m.settle();
      }
      case 'restart':
        await m.crash();
        return await this.#start();
      case 'dieAfter':
        return m.dieAfter(step.deeds);
      case 'advance':
        return await m.advance(step.ms);
    }
  }

  /** Everything is well again; whatever was begun comes to its end. */
  async finish(): Promise<void> {
    const m = this.#m;
    m.probes.clear();
    await m.crash();
    await this.#start();
    await m.advance(1_000_000);
  }

  async #start(): Promise<void> {
    // Followed from the very first status on.
    await this.#m.start();
    this.#watch.follow();
  }

  #current(name: string): Pod | undefined {
    return [...this.#m.desired.values()].find((pod) => pod.metadata.name === `${name}-node1`);
  }

  async #replace(name: string, pod: Pod | undefined): Promise<void> {
    const before = this.#current(name);
    if (before !== undefined) this.#last.set(name, before);
    if (before !== undefined && before.metadata.uid !== pod?.metadata.uid) this.#watch.removing(before.metadata.uid);
    // A finished Pod with an edited spec begins from scratch (D4).
    if (before !== undefined && pod !== undefined && this.#m.agent.status.get(pod.metadata.uid)?.stage !== 'sync')
      this.#watch.removing(pod.metadata.uid);
    const others = [...this.#m.desired.values()].filter((other) => other !== before);
    await this.#m.apply(...others, ...(pod === undefined ? [] : [pod]));
  }
}

test('whatever happens, the invariants hold at every deed, and in the end what is wanted runs (P1 … P9)', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(steps, { minLength: 5, maxLength: 30 }), async (history) => {
      await onMachine({ process: processOf }, async (m) => {
        m.runtime.addImage('nginx:2');
        const watch = new Watch(m);
        watch.follow();
        const driver = new Driver(m, watch);
        for (const step of history) {
          await driver.run(step);
          watch.check();
        }
        await driver.finish();
        watch.check();
        const uids = new Set([...m.runtime.snapshot().sandboxes.map(({ podUid }) => podUid), ...m.volumes, ...m.cgroups]);
        for (const uid of uids) if (!m.desired.has(uid)) assert.deepEqual(await m.remains(uid), [], 'P8: a removed Pod leaves nothing');
        for (const [uid, pod] of m.desired) {
          const view = m.agent.status.get(uid);
          const running = m.runtime.snapshot().containers.filter((record) => record.podUid === uid && record.state === 'running');
          if (view?.stage === 'sync') {
            for (const { name } of pod.spec.containers) {
              const record = m.runtime
                .snapshot()
                .containers.filter((one) => one.podUid === uid && one.name === name)
                .at(-1);
              const isDone =
                record?.state === 'exited' &&
                (pod.spec.restartPolicy === 'Never' || (pod.spec.restartPolicy === 'OnFailure' && record.exitCode === 0));
              assert.ok(isDone || record?.state === 'running', `P9: ${name} of ${uid} runs or is done`);
            }
          } else {
            assert.notEqual(pod.spec.restartPolicy, 'Always', 'P9: such a Pod never finishes');
            assert.deepEqual(running, [], 'P9: a finished Pod runs nothing');
            assert.ok(['Succeeded', 'Failed'].includes(view?.status.phase ?? ''), `P9: ${view?.status.phase} is no end`);
          }
        }
      });
    }),
    { numRuns: Number(process.env['MODEL_RUNS'] ?? 150) },
  );
});
