// Fault drills on real containerd: the agent or containerd is killed at random moments of a roll-out, containerd hangs,
// disks are full, state is damaged, the network's configuration is missing. In each of them: no good Pod is stopped or
// restarted, never do two generations of one Pod run at once, the agent comes back by itself, and says what is wrong.
// The suite runs a short version; `npm run drill -- [rounds]` the long one.
// Runs alone: it makes many Pods at once, and what it kills must be nobody else's.
import assert from 'node:assert/strict';
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import type { ContainerStatus, Node, Pod } from '../../src/api/gen/kubernetes.ts';
import { systemClock } from '../../src/std/clock.ts';
import { runProgram } from '../../src/std/process.ts';
import { bundleProgram } from '../support/bundle.ts';
import { offlineImages, startContainerd, type TestContainerd, whyNoContainerd } from '../support/containerd.ts';
import { eventually, nodeName, options, TestAgent, uidOf } from '../support/test-agent.ts';

/** Set by `npm run drill`. */
const rounds = Number(process.env['PINPOD_DRILL_ROUNDS'] ?? 1);
const isLong = rounds > 1;
const skip = whyNoContainerd() ?? false;

/** The same moments in every run of a seed; another seed for other moments. */
const seed = Number(process.env['PINPOD_DRILL_SEED'] ?? 1);
function* moments(upToMs: number): Generator<number, never> {
  for (let state = seed; ; ) {
    state = (state * 48_271) % 2_147_483_647;
    yield Math.round((state / 2_147_483_647) * upToMs);
  }
}

const pause = (ms: number): Promise<void> => systemClock.sleep(ms, options.signal);
const memory = { limits: { memory: '32Mi' } };

/**
 * A Pod that keeps watch over itself: it holds a lock in the shared folder while it runs, and writes down when somebody
 * else of its name holds it already. Some have a sidecar, which has to end last, and a hook, which has to come first.
 */
function watched(name: string, generation: number, folder: string, hostNetwork = true): Pod['spec'] {
  const hasSidecar = /[03]$/.test(name);
  const violates = (what: string): string => `echo "${name} ${generation} ${what}" >>/watch/violations`;
  const script = [
    `mkdir /watch/${name} 2>/dev/null || echo "${name} ${generation} while $(cat /watch/${name}.last) runs" >>/watch/violations`,
    `echo ${generation} >/watch/${name}.last`,
    // What ends it is our stop only: the drills kill no container.
    ...(hasSidecar
      ? [`ended() { test -e /watch/${name}.asked || ${violates('is ended without its hook')}; rm -f /watch/${name}.asked; }`]
      : ['ended() { :; }']),
    `trap 'ended; rmdir /watch/${name}; exit 0' TERM`,
    'while :; do sleep 1000 & wait $!; done',
  ].join('\n');
  const common = {
    image: offlineImages.busybox,
    imagePullPolicy: 'IfNotPresent',
    resources: memory,
    volumeMounts: [{ name: 'watch', mountPath: '/watch' }],
  };
  const beside = `trap 'test -d /watch/${name} && ${violates('outlives its sidecar')}; exit 0' TERM; while :; do sleep 1000 & wait $!; done`;
  return {
    hostNetwork,
    terminationGracePeriodSeconds: 20,
    ...(hasSidecar ? { initContainers: [{ ...common, name: 'side', restartPolicy: 'Always', command: ['sh', '-c', beside] }] } : {}),
    containers: [
      {
        ...common,
        name: 'main',
        command: ['sh', '-c', script],
        env: [{ name: 'GENERATION', value: String(generation) }],
        ...(hasSidecar ? { lifecycle: { preStop: { exec: { command: ['touch', `/watch/${name}.asked`] } } } } : {}),
      },
    ],
    volumes: [{ name: 'watch', hostPath: { path: folder } }],
  };
}

const generationOf = (pod: Pod): string | undefined => pod.spec?.containers?.[0]?.env?.find(({ name }) => name === 'GENERATION')?.value;

/**
 * The runtime gives up a start whose caller dies, or dies itself in the midst of it: a container that never ran, or the
 * log file of one, is left. The next attempt is one more, as it is with a kubelet (L-175).
 */
function neverRan(status: ContainerStatus | undefined): number {
  const before = status?.lastState?.terminated;
  return status?.restartCount === 1 && (before === undefined || before.reason === 'StartError') ? 1 : 0;
}

/** An agent of the bundle with Pods that watch over themselves, and one nobody ever touches. */
class Drill {
  readonly agent: TestAgent;
  readonly watch: string;
  #program: readonly string[] = [];
  #bystander: string | undefined;

  constructor(agent: TestAgent) {
    this.agent = agent;
    this.watch = path.join(agent.dir, 'watch');
  }

  async begin(): Promise<void> {
    this.#program = await bundleProgram();
    mkdirSync(this.watch, { recursive: true });
    await this.agent.configure();
    this.roll(['bystander'], 0);
    await this.start();
    this.#bystander = (await this.agent.running(uidOf(await this.agent.ready('bystander')))).id;
  }

  start(): Promise<void> {
    return this.agent.start(this.#program);
  }

  /** Writes the manifests of this generation. */
  roll(names: readonly string[], generation: number, hostNetwork = true): void {
    for (const name of names) this.agent.putPod(name, watched(name, generation, this.watch, hostNetwork));
  }

  async rolled(names: readonly string[], generation: number): Promise<void> {
    for (const name of names) await this.agent.ready(name, (pod) => generationOf(pod) === String(generation), 60);
    for (const name of names) {
      const pod = await this.agent.pod(name);
      assert.ok(pod !== undefined);
      const status = pod.status?.containerStatuses?.[0];
      const restarts = (status?.restartCount ?? 0) - neverRan(status);
      const log = this.agent.output.split('\n').filter((line) => line.includes(uidOf(pod)));
      assert.equal(restarts, 0, `${name} was restarted: ${JSON.stringify(status)}\n${log.join('\n')}`);
      const sandboxes = await this.agent.runtime.listPodSandboxes({}, options);
      const alive = sandboxes.filter((sandbox) => sandbox.name === pod.metadata?.name && sandbox.state === 'ready');
      assert.equal(alive.length, 1, `one sandbox of ${name}`);
      assert.ok(existsSync(path.join(this.watch, name)), `${name} holds its lock`);
    }
  }

  /** What must hold at every moment. */
  async check(): Promise<void> {
    const violations = path.join(this.watch, 'violations');
    assert.equal(existsSync(violations) ? readFileSync(violations, 'utf8') : '', '', 'two generations at once, or an end out of order');
    const pod = await this.agent.ready('bystander');
    const { id, attempt } = await this.agent.running(uidOf(pod));
    assert.deepEqual([id, attempt], [this.#bystander, 0], 'the container nobody touched is still the first one');
    assert.equal(this.agent.hasFailed, false, 'the agent runs');
  }
}

const rolling = Array.from({ length: isLong ? 10 : 5 }, (_, i) => `roll-${i}`);

describe(`kill -9 of the agent during a roll-out, ${rounds} rounds`, { skip }, () => {
  const agent = new TestAgent({ kubelet: { logging: { verbosity: 4 } } });
  const drill = new Drill(agent);
  before(() => drill.begin());
  after(() => agent.destroy());

  it('D2, P1, P2, P5: the Pods arrive at their generation, whenever it was killed', async () => {
    const moment = moments(2500);
    for (let round = 1; round <= rounds; round++) {
      drill.roll(rolling, round);
      await pause(moment.next().value);
      await agent.end('SIGKILL');
      // Sometimes the manifests change while nobody looks.
      const generation = round % 3 === 0 ? round + 0.5 : round;
      if (generation !== round) drill.roll(rolling, generation);
      await drill.start();
      if (round % 2 === 0 || !isLong) {
        await pause(moment.next().value);
        await agent.end('SIGKILL');
        await drill.start();
      }
      await drill.rolled(rolling, generation);
      await drill.check();
    }
  });
});

describe(`kill -9 of containerd during a roll-out, ${rounds} rounds`, { skip }, () => {
  const agent = new TestAgent({ kubelet: { logging: { verbosity: 4 } } });
  const drill = new Drill(agent);
  before(() => drill.begin());
  after(() => agent.destroy());

  it('P1, P2, P5: the Pods arrive at their generation; the agent starts it again', async () => {
    const moment = moments(2500);
    for (let round = 1; round <= rounds; round++) {
      drill.roll(rolling, round);
      await pause(moment.next().value);
      const pid = await agent.daemon.pid();
      assert.ok(pid !== undefined);
      process.kill(pid, 'SIGKILL');
      await drill.rolled(rolling, round);
      await drill.check();
    }
    assert.match(agent.output, /containerd/, 'the log tells of it');
  });
});

describe('faults of the machine', { skip }, () => {
  let containerd: TestContainerd;
  let agent: TestAgent;
  let drill: Drill;
  const mounted: string[] = [];

  before(async () => {
    containerd = await startContainerd({ name: 'drill', cgroupParents: [] });
  });
  after(() => containerd?.stop());

  async function begin(extra: { readonly rootMiB?: number; readonly logsMiB?: number } = {}): Promise<void> {
    const logs = path.join(containerd.dir, 'drill-logs');
    agent = new TestAgent({ endpoint: containerd.endpoint, ...(extra.logsMiB === undefined ? {} : { kubelet: { podLogsDir: logs } }) });
    if (extra.rootMiB !== undefined) await mountTmpfs(agent.rootDir, extra.rootMiB);
    if (extra.logsMiB !== undefined) await mountTmpfs(logs, extra.logsMiB);
    drill = new Drill(agent);
    await drill.begin();
  }

  async function mountTmpfs(at: string, sizeMiB: number): Promise<void> {
    mkdirSync(at, { recursive: true });
    await runProgram('mount', ['-t', 'tmpfs', '-o', `size=${sizeMiB}m`, 'tmpfs', at], options);
    mounted.push(at);
  }

  /** Until nothing more fits in, down to the last byte. */
  function fill(folder: string): string {
    const file = path.join(folder, 'filling');
    const handle = openSync(file, 'w');
    const chunk = Buffer.alloc(1 << 16);
    for (let size = chunk.length; size > 0; ) {
      try {
        writeSync(handle, chunk, 0, size);
      } catch (error) {
        assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
        size >>= 1;
      }
    }
    closeSync(handle);
    return file;
  }

  afterEach(async () => {
    // The Pods go in an orderly way, for this containerd serves the next drill, too.
    for (const file of readdirSync(agent.folder)) rmSync(path.join(agent.folder, file), { recursive: true });
    await eventually(agent, 'all is removed', async () =>
      (await agent.runtime.listPodSandboxes({}, options)).length === 0 ? true : undefined,
    );
    await agent.end('SIGTERM');
    for (const point of mounted.splice(0)) await runProgram('umount', ['--lazy', point], options);
    await agent.destroy();
  });

  it('the disk of the root folder is full: what runs stays, what cannot start says so and starts when there is room', async () => {
    await begin({ rootMiB: 2 });
    const filling = fill(agent.rootDir);
    drill.roll(['late'], 1);
    await agent.until('late', 'the reason is told', (pod) => pod.status?.phase === 'Pending');
    await eventually(
      agent,
      'an event tells that the disk is full',
      async () => (await agent.events('late')).some((event) => /ENOSPC|no space/i.test(event)) || undefined,
    );
    await drill.check();
    // Killed on a full disk it must come back all the same.
    await agent.end('SIGKILL');
    await drill.start();
    await drill.check();
    rmSync(filling);
    await drill.rolled(['late'], 1);
    await drill.check();
  });

  it('the disk of the logs is full: what runs stays, new Pods start when there is room', async () => {
    await begin({ logsMiB: 1 });
    const filling = fill(path.join(containerd.dir, 'drill-logs'));
    drill.roll(['late'], 1);
    await eventually(
      agent,
      'an event tells that the disk is full',
      async () => (await agent.events('late')).some((event) => /ENOSPC|no space/i.test(event)) || undefined,
    );
    await drill.check();
    rmSync(filling);
    await drill.rolled(['late'], 1);
    await drill.check();
  });

  const damages = [
    ['truncated', (file: string) => truncateSync(file, Math.floor(statSync(file).size / 2))],
    ['empty', (file: string) => truncateSync(file, 0)],
    ['garbage', (file: string) => writeFileSync(file, Buffer.from('\u0000\ufffd{"a":[1,', 'utf8'))],
    ['longer', (file: string) => appendFileSync(file, 'x')],
  ] as const;
  for (const [what, damage] of isLong ? damages : damages.slice(0, 1)) {
    it(`every state file is ${what}: the agent starts, says so, and no Pod notices`, async () => {
      await begin();
      await agent.end('SIGTERM');
      const files = readdirSync(agent.rootDir, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => path.join(entry.parentPath, entry.name))
        .filter((file) => !/\/(?:logs|pods)\//.test(file));
      assert.ok(
        files.some((file) => file.endsWith('events.json')),
        `there is state: ${files.join(', ')}`,
      );
      for (const file of files) damage(file);
      await drill.start();
      await drill.check();
      assert.match(agent.output, /events\.json/, 'the log names the file');
      drill.roll(['late'], 1);
      await drill.rolled(['late'], 1);
    });
  }

  it('containerd hangs: what runs stays, the agent answers and says so, and goes on when it wakes', async () => {
    await begin();
    const pid = await containerd.pid();
    assert.ok(pid !== undefined);
    process.kill(pid, 'SIGSTOP');
    try {
      drill.roll(['late'], 1);
      await pause(isLong ? 45_000 : 4_000);
      assert.ok(
        (await agent.pods()).some((pod) => pod.metadata?.name?.startsWith('bystander')),
        'the API answers',
      );
      assert.equal(agent.hasFailed, false);
      if (isLong) {
        const node = (await agent.client.json(`/api/v1/nodes/${nodeName}`, options)) as Node;
        const condition = node.status?.conditions?.find(({ type }) => type === 'Ready');
        assert.equal(condition?.status, 'False');
        assert.match(condition.message ?? '', /container runtime is down/);
      }
      // Killed and started while the runtime hangs: it waits.
      if (isLong) {
        await agent.end('SIGKILL');
        const starting = drill.start();
        await pause(5000);
        process.kill(pid, 'SIGCONT');
        await starting;
      }
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await drill.rolled(['late'], 1);
    await drill.check();
  });

  it('the CNI configuration is missing: Pods with a network of their own wait, with the reason, until it is there', async () => {
    await begin();
    const conflist = path.join(containerd.dir, 'run', 'containerd', 'cni', '10-pinpod.conflist');
    renameSync(conflist, `${conflist}.away`);
    try {
      await pause(1500);
      drill.roll(['late'], 1, false);
      await eventually(
        agent,
        'an event tells that the network is missing',
        async () => (await agent.events('late')).some((event) => /network|cni/i.test(event)) || undefined,
      );
      await drill.check();
    } finally {
      renameSync(`${conflist}.away`, conflist);
    }
    await drill.rolled(['late'], 1);
    await drill.check();
  });

  it('the folder of manifests is read-only, is away for a while, and is there again', async () => {
    await begin();
    await runProgram('mount', ['--bind', agent.folder, agent.folder], options);
    mounted.push(agent.folder);
    await runProgram('mount', ['-o', 'remount,bind,ro', agent.folder], options);
    await agent.end('SIGKILL');
    await drill.start();
    await drill.check();
    await runProgram('umount', [agent.folder], options);
    mounted.length = 0;
    renameSync(agent.folder, `${agent.folder}.away`);
    await pause(1000);
    await drill.check();
    mkdirSync(agent.folder);
    await pause(1000);
    rmSync(agent.folder, { recursive: true });
    renameSync(`${agent.folder}.away`, agent.folder);
    drill.roll(['late'], 1);
    await drill.rolled(['late'], 1);
    await drill.check();
  });
});
