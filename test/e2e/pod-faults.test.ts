// What Pods with sidecars and hooks meet when something of the machine dies: the shim of a Pod, containerd in the midst
// of a hook, the agent in the midst of an end, all of it in a power cut; and many Pods removed at once.
import assert from 'node:assert/strict';
import { readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Event } from '../../src/api/gen/kubernetes.ts';
import { listProcesses } from '../../src/runtime/containerd/process-table.ts';
import { startContainerd, type TestContainerd, whyNoContainerd } from '../support/containerd.ts';
import { exec, goes, run, statusOf, stays, TellingPods } from '../support/telling-pods.ts';
import { eventually, options, TestAgent, uidOf } from '../support/test-agent.ts';

const isUp = { restartPolicy: 'Always', startupProbe: { ...exec('true'), periodSeconds: 1 } };
/** An end that takes its time, in the order it has to keep: the hook, the container, the sidecar. */
const inOrder = {
  terminationGracePeriodSeconds: 30,
  initContainers: [goes('prepare'), stays('side', isUp)],
  containers: [stays('app', { lifecycle: { preStop: exec('echo hook begins >>/o/log; sleep 2; echo hook ends >>/o/log') } })],
};

describe('faults that Pods meet', { skip: whyNoContainerd() ?? false }, () => {
  let containerd: TestContainerd;
  let agent: TestAgent;
  let pods: TellingPods;

  before(async () => {
    containerd = await startContainerd({ name: 'faults' });
    agent = new TestAgent({ endpoint: containerd.endpoint, kubelet: { crashLoopBackOff: { maxContainerRestartPeriod: '2s' } } });
    pods = new TellingPods(agent);
    await agent.configure();
    await agent.start();
    pods.put('shim', inOrder);
    pods.put('power', inOrder);
    pods.put('crash', { containers: [run('app', 'date +%s >>/o/log; echo words >/dev/termination-log; exit 3')] });
    for (const name of ['runtime', 'agent', 'meanwhile']) pods.put(name, inOrder);
  });
  after(async () => {
    for (const file of readdirSync(agent.folder)) rmSync(path.join(agent.folder, file));
    await eventually(agent, 'all is removed', async () =>
      (await agent.runtime.listPodSandboxes({}, options)).length === 0 ? true : undefined,
    );
    await agent.destroy();
    await containerd.stop();
  });

  const ending = (name: string): Promise<true> =>
    eventually(agent, `${name}: the hook runs`, () => (pods.lines(name).includes('hook begins') ? true : undefined));

  /** Its hook ended before the container was told to end, and that before the sidecar was. */
  async function endedInOrder(name: string): Promise<void> {
    await agent.gone(name);
    const lines = pods.lines(name);
    const at = ['hook ends', 'app ends', 'side ends'].map((line) => lines.lastIndexOf(line));
    assert.ok(at[0] !== -1 && at.join() === [...at].sort((a, b) => a - b).join(), `${name}: ${lines.join(', ')}`);
    assert.deepEqual([pods.count(name, 'app ends'), pods.count(name, 'side ends')], [1, 1]);
  }

  it('L-171 the longest back-off is the one configured', async () => {
    await agent.until('crash', 'ran six times', (pod) => (statusOf(pod, 'app')?.restartCount ?? 0) >= 5, 40);
    const times = pods.lines('crash').map(Number);
    const gaps = times.slice(1).map((at, i) => at - (times[i] ?? 0));
    assert.ok(
      gaps.slice(1).every((gap) => gap >= 1),
      `it waits: ${gaps.join()}`,
    );
    const pod = await agent.until('crash', 'waits', (one) => statusOf(one, 'app')?.state?.waiting?.reason === 'CrashLoopBackOff');
    assert.match(statusOf(pod, 'app')?.state?.waiting?.message ?? '', /^back-off 2s restarting failed container=app pod=crash-/);
    const { exitCode, reason, message } = statusOf(pod, 'app')?.lastState?.terminated ?? {};
    assert.deepEqual([exitCode, reason, message], [3, 'Error', 'words\n']);
  });

  it('C-286 L-442 containerd dies while a hook runs: the hook is run to its end, and the order is kept', async () => {
    await agent.ready('runtime');
    agent.remove('runtime.json');
    await ending('runtime');
    await containerd.kill();
    await containerd.restart();
    await endedInOrder('runtime');
  });

  it('D2 L-442 the agent dies while a hook runs: so it is, too', async () => {
    await agent.ready('agent');
    agent.remove('agent.json');
    await ending('agent');
    await agent.end('SIGKILL');
    await agent.start();
    await endedInOrder('agent');
  });

  it('D2 C-229 a manifest that goes while the agent is down: hooks and order are known (differs from L-447)', async () => {
    await agent.ready('meanwhile');
    await agent.end('SIGKILL');
    agent.remove('meanwhile.json');
    await agent.start();
    await endedInOrder('meanwhile');
  });

  it('L-120 C-240 the shim of a Pod is killed: it is made anew, and nothing of it runs twice', async () => {
    const uid = uidOf(await agent.ready('shim'));
    const [sandbox] = await agent.sandboxes(uid);
    const shim = (await listProcesses()).find(
      ({ command }) => command.some((word) => word.includes('containerd-shim')) && command.includes(sandbox?.id ?? '-'),
    );
    assert.ok(shim !== undefined);
    process.kill(shim.pid, 'SIGKILL');
    await agent.ready('shim', (pod) => statusOf(pod, 'app')?.restartCount === 1 && statusOf(pod, 'side')?.restartCount === 1);
    const alive = (await agent.sandboxes(uid)).filter(({ state }) => state === 'ready');
    assert.deepEqual(
      alive.map(({ attempt }) => attempt),
      [1],
    );
    assert.equal(pods.count('shim', 'prepare begins'), 2);
    const running = (await agent.containers(uid)).filter(({ state }) => state === 'running').map(({ name }) => name);
    assert.deepEqual(running.sort(), ['app', 'side']);
  });

  it('L-078 C-230 D2 a power cut: everything starts in its order, counts and Events go on', async () => {
    const before = await agent.ready('power');
    const crashes = statusOf((await agent.pod('crash')) ?? {}, 'app')?.restartCount ?? 0;
    const countOf = async (reason: string): Promise<number> => {
      const { items } = (await agent.client.json('/api/v1/events', options)) as { readonly items: readonly Event[] };
      const found = items.find((event) => event.reason === reason && event.involvedObject.name?.startsWith('crash-'));
      return found?.count ?? 0;
    };
    const backOffs = await countOf('BackOff');
    assert.ok(backOffs > 0);
    // Events are written a moment after they happen.
    await agent.end('SIGTERM');
    await containerd.powerLoss();
    rmSync(agent.runDir, { recursive: true, force: true });
    await containerd.restart();
    await agent.start();
    const pod = await agent.ready('power', (one) => statusOf(one, 'app')?.restartCount === 1);
    assert.equal(uidOf(pod), uidOf(before));
    assert.equal(pods.count('power', 'prepare begins'), 2);
    const second = pods.lines('power').slice(-4);
    assert.deepEqual(second, ['prepare begins', 'prepare ends', 'side begins', 'app begins']);
    await agent.until('crash', 'goes on', (one) => (statusOf(one, 'app')?.restartCount ?? 0) > crashes);
    await eventually(agent, 'Events go on', async () => ((await countOf('BackOff')) > backOffs ? true : undefined));
  });

  it('P8 L-034 twenty Pods removed at once: all end with their hooks, and nothing is left', async () => {
    const names = Array.from({ length: 20 }, (_, i) => `many-${i}`);
    const spec = {
      hostNetwork: true,
      containers: [stays('app', { lifecycle: { preStop: exec('echo hook >>/o/log') } })],
    };
    for (const name of names) pods.put(name, spec);
    for (const name of names) await agent.ready(name);
    for (const name of names) agent.remove(`${name}.json`);
    for (const name of names) await agent.gone(name);
    for (const name of names) assert.deepEqual(pods.lines(name), ['app begins', 'hook', 'app ends'], name);
    const left = readdirSync(path.join(agent.rootDir, 'pods'));
    assert.equal(left.length, (await agent.pods()).length, 'a folder for each Pod that is there, and no more');
  });
});
