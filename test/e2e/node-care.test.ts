// One machine that is full, that runs out of disk, and that shuts down: the whole agent on real containerd. Its state is
// on a filesystem of its own, which the test may fill, and its D-Bus is the test's own.
import assert from 'node:assert/strict';
import { mkdirSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Node, PodSpec } from '../../src/api/gen/kubernetes.ts';
import { runProgram } from '../../src/std/process.ts';
import { offlineImages, whyNoContainerd } from '../support/containerd.ts';
import { Kubectl, whyNoKubectl } from '../support/kubectl.ts';
import { PrivateBus, whyNoBus } from '../support/private-bus.ts';
import { eventually, nodeName, options, TestAgent } from '../support/test-agent.ts';

const forever = 'trap "exit 0" TERM; while :; do sleep 1000 & wait; done';
/** Uses up its whole grace. */
const stubborn = 'trap "" TERM; while :; do sleep 1; done';

function spec(script: string, change: Partial<PodSpec> = {}, requests: Readonly<Record<string, string>> = {}): PodSpec {
  const container = { name: 'app', image: offlineImages.busybox, command: ['sh', '-c', script], resources: { requests } };
  return { terminationGracePeriodSeconds: 30, containers: [container], ...change };
}

const skip = whyNoContainerd() ?? whyNoBus() ?? false;

describe('the node as a whole', { skip, timeout: 240_000 }, () => {
  const bus = new PrivateBus(60);
  const agent: TestAgent = new TestAgent({
    launcher: ['env', `DBUS_SYSTEM_BUS_ADDRESS=${bus.env.DBUS_SYSTEM_BUS_ADDRESS}`],
    kubelet: {
      evictionHard: { 'nodefs.available': '40%' },
      evictionPressureTransitionPeriod: '1s',
      shutdownGracePeriod: '6s',
      shutdownGracePeriodCriticalPods: '3s',
    },
    agent: { criticalPods: 'byPriority' },
  });
  const filler = path.join(agent.rootDir, 'filler');
  const critical = { priorityClassName: 'system-node-critical' };
  const phase = async (name: string): Promise<string> => {
    const status = (await agent.pod(name))?.status;
    return [status?.phase, status?.reason].filter((part) => part !== undefined).join(' ');
  };
  const until = (name: string, expected: string, seconds = 30): Promise<true> =>
    eventually(agent, `${name} is ${expected}`, async () => ((await phase(name)) === expected ? true : undefined), seconds);
  const node = async (): Promise<Node> => {
    const { items } = (await agent.client.json('/api/v1/nodes', options)) as { readonly items: readonly Node[] };
    assert.ok(items[0] !== undefined);
    return items[0];
  };
  const condition = async (type: string): Promise<string> => {
    const found = (await node()).status?.conditions?.find((one) => one.type === type);
    return `${found?.status} ${found?.message}`;
  };

  before(async () => {
    await bus.start();
    await agent.configure();
    mkdirSync(agent.rootDir);
    await runProgram('mount', ['-t', 'tmpfs', '-o', 'size=160m', 'pinpod-test', agent.rootDir], options);
    await agent.start();
  });
  after(async () => {
    await agent.destroy();
    await bus.close();
  });

  it('S-456, D4: a Pod that asks for more cpu than is left says so, and starts when another one goes', async () => {
    const most = { cpu: String(os.cpus().length * 0.6) };
    agent.putPod('first', spec(forever, {}, most));
    await agent.ready('first');
    agent.putPod('second', spec(forever, {}, most));
    await until('second', 'Failed OutOfcpu');
    const { out } = await agent.cli('get', 'pods');
    assert.match(out, /second-\S+\s+0\/1\s+OutOfcpu/);
    assert.match(
      (await agent.events('second')).join('\n'),
      /^OutOfcpu: Node didn't have enough resource: cpu, requested: \d+, used: \d+, capacity: \d+$/m,
    );
    if (whyNoKubectl() === undefined) {
      const kubectl = new Kubectl(agent.kubeconfig);
      assert.match((await kubectl.run(['get', 'pods', '--no-headers'])).out, /^second-\S+\s+0\/1\s+OutOfcpu\s/m);
      assert.match((await kubectl.run(['describe', 'pod', `second-${nodeName}`])).out, /^Reason:\s+OutOfcpu$/m);
    }
    agent.remove('first.json');
    await agent.ready('second');
    agent.remove('second.json');
    await agent.gone('second');
  });

  it('S-466, C-401: a Pod of higher priority takes the room of a lower one', async () => {
    const most = { cpu: String(os.cpus().length * 0.6) };
    agent.putPod('low', spec(forever, {}, most));
    await agent.ready('low');
    agent.putPod('high', spec(forever, critical, most));
    await agent.ready('high');
    assert.equal(await phase('low'), 'Failed Preempting');
    agent.remove('high.json');
    await agent.ready('low');
    agent.remove('low.json');
    await agent.gone('low');
  });

  it('L-505, L-506, D4: a full disk ends the Pod of low priority, and it comes back when there is room', async () => {
    agent.putPod('worker', spec(forever));
    agent.putPod('system', spec(forever, critical));
    await Promise.all([agent.ready('worker'), agent.ready('system')]);
    await runProgram('fallocate', ['-l', '90M', filler], options);
    await until('worker', 'Failed Evicted');
    assert.match(
      (await agent.pod('worker'))?.status?.message ?? '',
      /^The node was low on resource: ephemeral-storage\. Threshold quantity: /,
    );
    await eventually(agent, 'DiskPressure', async () => ((await condition('DiskPressure')).startsWith('True') ? true : undefined));
    rmSync(filler);
    await agent.ready('worker');
    assert.equal(await phase('system'), 'Running');
    await eventually(agent, 'no DiskPressure', async () => ((await condition('DiskPressure')).startsWith('False') ? true : undefined));
  });

  it('H-482: the lock ends with the agent, however it ends, and its next life takes it again', async () => {
    bus.said.length = 0;
    await agent.end('SIGKILL');
    await bus.hears('locks 0');
    await agent.start();
    await bus.hears('locks 1');
  });

  it('H-483, L-495 … L-498, C-402, C-521: a shutdown ends the Pods in order, and only then the machine goes', async () => {
    agent.putPod('worker', spec(stubborn));
    agent.putPod('system', spec(stubborn, critical));
    await Promise.all(['worker', 'system'].map((name) => agent.ready(name, (pod) => pod.spec?.containers[0]?.command?.[2] === stubborn)));
    bus.prepare(true);
    await until('worker', 'Failed Terminated');
    assert.equal(await phase('system'), 'Running', 'critical ones later');
    assert.deepEqual(bus.said, [], 'the machine waits');
    agent.putPod('late', spec(forever));
    await until('late', 'Failed NodeShutdown');
    await eventually(agent, 'not ready', async () => (/^False .*node is shutting down/.test(await condition('Ready')) ? true : undefined));
    await until('system', 'Failed Terminated');
    await bus.hears('locks 0');
    await eventually(agent, 'nothing runs', async () => {
      const all = await agent.runtime.listContainers({}, options);
      return all.every(({ state }) => state !== 'running') ? true : undefined;
    });
  });

  it('H-484, C-403, D4: called off, everything comes back and the lock is taken again', async () => {
    bus.prepare(false);
    await Promise.all(['worker', 'system', 'late'].map((name) => agent.ready(name)));
    await bus.hears('locks 1');
    await eventually(agent, 'the node is ready', async () => ((await condition('Ready')).startsWith('True') ? true : undefined));
  });

  it('D2: an agent that dies in the middle of a shutdown goes on with it in its next life', async () => {
    const last = (await agent.pod('system'))?.status?.containerStatuses?.[0]?.containerID;
    bus.prepare(true);
    await until('worker', 'Failed Terminated');
    await agent.end('SIGKILL');
    await agent.start();
    await eventually(agent, 'the critical Pod ends too', async () => {
      const all = await agent.runtime.listContainers({}, options);
      return all.every(({ state }) => state !== 'running') ? true : undefined;
    });
    assert.ok((await condition('Ready')).startsWith('False'));
    for (const name of ['worker', 'system', 'late']) assert.match(await phase(name), /^Failed (Terminated|NodeShutdown)$/, name);
    bus.prepare(false);
    const pods = await Promise.all(['worker', 'system', 'late'].map((name) => agent.ready(name)));
    await bus.hears('locks 1');
    assert.notEqual(pods[1]?.status?.containerStatuses?.[0]?.containerID, last);
  });

  it('D4: after a shutdown to its end, the machine comes up with everything', async () => {
    bus.prepare(true);
    await bus.hears('locks 0');
    assert.equal(await agent.end('SIGTERM'), 0);
    bus.prepare(false);
    await agent.start();
    await Promise.all(['worker', 'system', 'late'].map((name) => agent.ready(name)));
  });
});
