// Volumes and huge pages of the whole agent on real containerd, on a machine whose mounts are private: what does not
// come with the machine the agent must make. Scenarios of spec 02, section 13, by number.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Container, Pod, PodSpec, Volume } from '../../src/api/gen/kubernetes.ts';
import { runProgram } from '../../src/std/process.ts';
import { offlineImages, whyNoContainerd } from '../support/containerd.ts';
import { eventually, options, TestAgent, uidOf } from '../support/test-agent.ts';

const forever = 'trap "exit 0" TERM; while :; do sleep 1000 & wait; done';

function box(script: string, change: Partial<Container> = {}): Container {
  const command = ['sh', '-c', `${script}\n${forever}`];
  return { name: 'app', image: offlineImages.busybox, imagePullPolicy: 'IfNotPresent', command, ...change };
}

function spec(containers: readonly Container[], volumes: readonly Volume[] = [], change: Partial<PodSpec> = {}): PodSpec {
  return { terminationGracePeriodSeconds: 2, containers, volumes, ...change };
}

const hugePages = '/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages';

/** Sets some huge pages of 2 MiB aside; answers how many there were, or why it cannot be done. */
function takeHugePages(count: number): number | string {
  if (!existsSync(hugePages)) return 'the kernel has no huge pages of 2 MiB';
  const before = Number(readFileSync(hugePages, 'utf8'));
  writeFileSync(hugePages, String(before + count));
  const found = Number(readFileSync(hugePages, 'utf8'));
  if (found >= before + count) return before;
  writeFileSync(hugePages, String(before));
  return `only ${found - before} of ${count} huge pages could be set aside`;
}

describe('volumes, where mounts are private', { skip: whyNoContainerd() ?? false }, () => {
  const agent = new TestAgent({
    launcher: ['unshare', '--mount', '--propagation', 'private'],
    kubelet: { evictionPressureTransitionPeriod: '1s' },
    agent: { criticalPods: 'byPriority' },
  });
  const host = path.join(agent.dir, 'host');
  const volumeDir = (pod: Pod, name: string, plugin = 'empty-dir'): string =>
    path.join(agent.rootDir, 'pods', uidOf(pod), 'volumes', `kubernetes.io~${plugin}`, name);
  let socket: Server;
  let pages: number | string;

  before(async () => {
    await agent.configure();
    mkdirSync(path.join(host, 'dir'), { recursive: true });
    writeFileSync(path.join(host, 'file'), 'a file');
    await runProgram('mknod', [path.join(host, 'disk'), 'b', '7', '200'], options);
    socket = createServer().listen(path.join(host, 'socket'));
    pages = takeHugePages(8);
    await agent.start();
  });
  after(async () => {
    await agent.destroy();
    if (typeof pages === 'number') writeFileSync(hugePages, String(pages));
    socket.close();
  });

  it('L-008, L-234, C-367 a mount made in a container is seen on the node and in another Pod, over kill -9 of the agent', async () => {
    const pods = { name: 'pods', hostPath: { path: path.join(agent.rootDir, 'pods') } };
    agent.putPod(
      'watcher',
      spec([box('', { volumeMounts: [{ name: 'pods', mountPath: '/pods', mountPropagation: 'HostToContainer' }] })], [pods]),
    );
    await agent.ready('watcher');
    const maker = box('mkdir -p /v/own && mount -t tmpfs own /v/own && touch /v/own/made', {
      securityContext: { privileged: true },
      volumeMounts: [{ name: 'v', mountPath: '/v', mountPropagation: 'Bidirectional' }],
    });
    agent.putPod('maker', spec([maker], [{ name: 'v', emptyDir: {} }]));
    const pod = await agent.ready('maker');
    const own = path.join(volumeDir(pod, 'v'), 'own');
    const seen = `/pods/${path.relative(path.join(agent.rootDir, 'pods'), own)}`;
    await eventually(agent, 'seen on the node', async () => ((await agent.beside('ls', own)).trim() === 'made' ? true : undefined));
    assert.equal(await agent.exec('watcher', 'app', `ls ${seen}`), 'made');
    await agent.end('SIGKILL');
    await agent.start();
    // Once more is not twice.
    const points = (await agent.beside('cat', '/proc/self/mountinfo')).split('\n').map((line) => line.split(' ')[4]);
    assert.deepEqual(
      points.filter((point) => point === agent.rootDir),
      [agent.rootDir],
    );
    agent.remove('maker.json');
    await agent.gone('maker');
    await eventually(agent, 'no trace of it', () => (existsSync(volumeDir(pod, 'v')) ? undefined : true));
    assert.match(await agent.exec('watcher', 'app', `ls ${seen}`), /No such file/);
    agent.remove('watcher.json');
    await agent.gone('watcher');
  });
});
