// A node that runs short, for real: of memory for its Pods, of process ids and of disk; and Pods that keep more on disk than
// they may. The whole agent on real containerd. Who has to go does so, who may not stays, and everything comes back (D4).
// Runs alone: how many processes are too many depends on what else the machine runs.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Container, Node, Pod, PodSpec } from '../../src/api/gen/kubernetes.ts';
import { runProgram } from '../../src/std/process.ts';
import { offlineImages, whyNoContainerd } from '../support/containerd.ts';
import { eventually, nodeName, options, TestAgent } from '../support/test-agent.ts';

const mebi = 1024 * 1024;
const memoryOfPods = 640 * mebi;
/** Waits for the file /flags/NAME, does it, and stays. Ends when told to, at once. */
const onceToldTo = (name: string, deed: string): string =>
  `trap "exit 0" TERM; until test -e /flags/${name}; do sleep 0.2; done; ${deed}; while :; do sleep 1000 & wait; done`;

/** As many process ids as the machine has left now. */
function freeProcessIds(): number {
  const read = (file: string): string => readFileSync(file, 'utf8');
  const most = Math.min(Number(read('/proc/sys/kernel/pid_max')), Number(read('/proc/sys/kernel/threads-max')));
  return most - Number(read('/proc/loadavg').split(/[ /]/)[4]);
}

describe('evictions', { skip: whyNoContainerd() ?? false, timeout: 280_000 }, () => {
  const pidThreshold = freeProcessIds() - 700;
  const agent: TestAgent = new TestAgent({
    kubelet: {
      enforceNodeAllocatable: ['pods'],
      systemReserved: { memory: String(os.totalmem() - memoryOfPods) },
      evictionHard: {
        'allocatableMemory.available': '160Mi',
        'pid.available': String(pidThreshold),
        'nodefs.available': '15%',
        'nodefs.inodesFree': '20%',
      },
      evictionSoft: { 'nodefs.available': '35%' },
      evictionSoftGracePeriod: { 'nodefs.available': '1s' },
      evictionMaxPodGracePeriod: 30,
      evictionPressureTransitionPeriod: '1s',
    },
    agent: { criticalPods: 'byPriority' },
  });
  const flags = path.join(agent.dir, 'flags');
  const critical = { priorityClassName: 'system-node-critical' };
  const tell = (flag: string): void => writeFileSync(path.join(flags, flag), '');
  const untell = (flag: string): void => rmSync(path.join(flags, flag), { force: true });
  const spec = (script: string, container: Partial<Container> = {}, change: Partial<PodSpec> = {}): PodSpec => ({
    terminationGracePeriodSeconds: 20,
    containers: [
      {
        name: 'app',
        image: offlineImages.busybox,
        imagePullPolicy: 'IfNotPresent',
        command: ['sh', '-c', script],
        ...container,
        volumeMounts: [{ name: 'flags', mountPath: '/flags' }, ...(container.volumeMounts ?? [])],
      },
    ],
    ...change,
    volumes: [{ name: 'flags', hostPath: { path: flags } }, ...(change.volumes ?? [])],
  });
  const evicted = (name: string): Promise<Pod> =>
    agent.until(name, 'is evicted', ({ status }) => status?.phase === 'Failed' && status.reason === 'Evicted', 40);
  const condition = async (type: string): Promise<string | undefined> => {
    const { items } = (await agent.client.json('/api/v1/nodes', options)) as { readonly items: readonly Node[] };
    return items[0]?.status?.conditions?.find((one) => one.type === type)?.status;
  };
  const pressureIs = (type: string, status: string): Promise<true> =>
    eventually(agent, `${type} ${status}`, async () => ((await condition(type)) === status ? true : undefined), 40);
  const remove = async (...names: readonly string[]): Promise<void> => {
    for (const name of names) agent.remove(`${name}.json`);
    await Promise.all(names.map((name) => agent.gone(name)));
  };

  before(async () => {
    await agent.configure();
    mkdirSync(flags);
    mkdirSync(agent.rootDir);
    await runProgram('mount', ['-t', 'tmpfs', '-o', 'size=200m,nr_inodes=20000', 'pinpod-test', agent.rootDir], options);
    await agent.start();
  });
  after(() => agent.destroy());

  it('C-399, L-503, L-505: short of memory, the Pod that uses more than it asked for goes first, critical ones never', async () => {
    const memory = { name: 'mem', mountPath: '/mem' };
    const volumes = [{ name: 'mem', emptyDir: { medium: 'Memory' } }];
    const fill = (flag: string, size: number): string => onceToldTo(flag, `dd if=/dev/zero of=/mem/f bs=1M count=${size}`);
    const asked = { resources: { requests: { memory: '100Mi' } } };
    agent.putPod('greedy', spec(fill('greedy', 350), { volumeMounts: [memory] }, { volumes }));
    agent.putPod('modest', spec(fill('both', 80), { volumeMounts: [memory], ...asked }, { volumes, priority: -5 }));
    agent.putPod('critical', spec(fill('both', 80), { volumeMounts: [memory] }, { volumes, ...critical }));
    await Promise.all(['greedy', 'modest', 'critical'].map((name) => agent.ready(name)));
    tell('both');
    tell('greedy');
    const pod = await evicted('greedy');
    assert.match(
      pod.status?.message ?? '',
      /^The node was low on resource: memory\. Threshold quantity: 160Mi, available: \d+\w*\. Container app was using \d+\w*, request is 0, has larger consumption of memory\. $/,
    );
    const target = pod.status?.conditions?.find(({ type }) => type === 'DisruptionTarget');
    assert.deepEqual([target?.status, target?.reason], ['True', 'TerminationByKubelet']);
    await pressureIs('MemoryPressure', 'True');
    for (const name of ['modest', 'critical']) assert.equal((await agent.pod(name))?.status?.phase, 'Running', name);
    assert.ok((await agent.events('greedy')).some((event) => event.startsWith('Evicted: The node was low on resource: memory.')));
    untell('greedy');
    await agent.ready('greedy');
    await pressureIs('MemoryPressure', 'False');
    untell('both');
    await remove('greedy', 'modest', 'critical');
  });

  it('C-399, L-503: short of process ids, the Pod with the most processes goes, and comes back', async () => {
    agent.putPod('forks', spec(onceToldTo('forks', 'i=0; while test $i -lt 1400; do sleep 1000 & i=$((i+1)); done')));
    agent.putPod('quiet', spec(onceToldTo('never', 'true')));
    await Promise.all(['forks', 'quiet'].map((name) => agent.ready(name)));
    tell('forks');
    const pod = await evicted('forks');
    assert.match(
      pod.status?.message ?? '',
      new RegExp(`^The node was low on resource: pids\\. Threshold quantity: ${pidThreshold}, available: \\d+\\. $`),
    );
    untell('forks');
    await agent.ready('forks');
    await pressureIs('PIDPressure', 'False');
    assert.equal((await agent.pod('quiet'))?.status?.phase, 'Running');
    await remove('forks', 'quiet');
  });

  it('L-505: short of inodes, the Pod with the most files goes, those in its volumes included', async () => {
    const volumes = [{ name: 'v', emptyDir: {} }];
    const mount = { volumeMounts: [{ name: 'v', mountPath: '/v' }] };
    const fill = 'i=0; while test $i -lt 17000; do : >/v/$i; i=$((i+1)); done';
    agent.putPod('files', spec(onceToldTo('files', fill), mount, { volumes }));
    agent.putPod('layer', spec(onceToldTo('never', 'true')));
    await Promise.all(['files', 'layer'].map((name) => agent.ready(name)));
    tell('files');
    const pod = await evicted('files');
    assert.match(pod.status?.message ?? '', /^The node was low on resource: inodes\. Threshold quantity: 4k, available: \d+\. $/);
    untell('files');
    await agent.ready('files');
    await pressureIs('DiskPressure', 'False');
    assert.equal((await agent.pod('layer'))?.status?.phase, 'Running');
    await remove('files', 'layer');
  });

  it('L-505: a soft threshold leaves the Pod its grace; DiskPressure refuses new ones until it is over', async () => {
    agent.putPod(
      'slow',
      spec(
        `trap "sleep 3; echo done >/flags/slow-done; exit 0" TERM; until test -e /flags/slow; do sleep 0.2; done
        dd if=/dev/zero of=/v/f bs=1M count=40; while :; do sleep 1 & wait; done`,
        { volumeMounts: [{ name: 'v', mountPath: '/v' }] },
        {
          volumes: [{ name: 'v', emptyDir: {} }],
        },
      ),
    );
    await agent.ready('slow');
    const filler = path.join(agent.rootDir, 'filler');
    const { stdout } = await runProgram('df', ['--output=avail', '-m', agent.rootDir], options);
    const left = Number(stdout.trim().split('\n').at(-1));
    // 100 MiB are left then: half of it; 60 with what the Pod writes: below 35 %, above 15 %.
    await runProgram('fallocate', ['-l', `${left - 100}M`, filler], options);
    tell('slow');
    await pressureIs('DiskPressure', 'True');
    agent.putPod('late', spec(onceToldTo('never', 'true')));
    await agent.until('late', 'is refused', ({ status }) => status?.phase === 'Failed' && status.reason === 'Evicted');
    const pod = await evicted('slow');
    assert.match(
      pod.status?.message ?? '',
      /^The node was low on resource: ephemeral-storage\. Threshold quantity: 70Mi, available: \d+Ki\. /,
    );
    await eventually(agent, 'it had its grace', () => (existsSync(path.join(flags, 'slow-done')) ? true : undefined));
    untell('slow');
    rmSync(filler);
    await Promise.all([agent.ready('slow'), agent.ready('late')]);
    await pressureIs('DiskPressure', 'False');
    await remove('slow', 'late');
  });

  it('C-400, L-506: who keeps more on disk than it may goes, with what was too much; critical ones stay', async () => {
    const write = (file: string): string => onceToldTo('write', `dd if=/dev/zero of=${file} bs=1M count=8`);
    const mount = { volumeMounts: [{ name: 'v', mountPath: '/v' }] };
    const small = { volumes: [{ name: 'v', emptyDir: { sizeLimit: '4Mi' } }] };
    const limit = { resources: { limits: { 'ephemeral-storage': '4Mi' } } };
    agent.putPod('volume', spec(write('/v/f'), mount, small));
    agent.putPod('layer', spec(write('/f'), limit));
    agent.putPod('exempt', spec(write('/v/f'), mount, { ...small, ...critical }));
    const names = ['volume', 'layer', 'exempt'];
    await Promise.all(names.map((name) => agent.ready(name)));
    tell('write');
    const [volume, layer] = await Promise.all([evicted('volume'), evicted('layer')]);
    assert.equal(volume.status?.message, 'Usage of EmptyDir volume "v" exceeds the limit "4Mi". ');
    assert.equal(layer.status?.message, 'Pod ephemeral local storage usage exceeds the total limit of containers 4Mi. ');
    assert.equal((await agent.pod('exempt'))?.status?.phase, 'Running');
    untell('write');
    await Promise.all(names.map((name) => agent.ready(name)));
    await remove(...names);
  });

  it('H-390: evictions are counted by what was short', async () => {
    const metrics = await new Promise<string>((resolve, reject) => {
      get({ socketPath: path.join(agent.runDir, 'pinpod.sock'), path: `/api/v1/nodes/${nodeName}/proxy/metrics` }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => (text += part));
        response.on('end', () => resolve(text));
      }).on('error', reject);
    });
    const counted = new Map(
      [...metrics.matchAll(/^kubelet_evictions\{eviction_signal="(\S+)"\} (\d+)$/gm)].map(([, signal, count]) => [signal, Number(count)]),
    );
    for (const signal of ['allocatableMemory.available', 'pid.available', 'nodefs.available', 'nodefs.inodesFree', 'ephemeralpodfs.limit'])
      assert.ok((counted.get(signal) ?? 0) > 0, metrics.match(/.*kubelet_evictions.*/g)?.join('\n') ?? metrics.slice(0, 500));
  });
});
