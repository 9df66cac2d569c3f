// What is taken away when the disk is full, and what never is: the whole agent on a containerd of its own that does not pin
// its sandbox image (1.6). The thresholds are such that there is pressure all the time, and every Pod is critical.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Container, PodSpec } from '../../src/api/gen/kubernetes.ts';
import { canonicalName } from '../../src/image/reference.ts';
import { offlineImages, startContainerd, type TestContainerd, whyNoContainerd } from '../support/containerd.ts';
import { busyboxArchive, TestRegistry } from '../support/registry.ts';
import { eventually, options, TestAgent, uidOf } from '../support/test-agent.ts';

const forever = 'trap "exit 0" TERM; while :; do sleep 1000 & wait; done';
const box = (image: string, change: Partial<Container> = {}): Container => ({
  name: 'app',
  image,
  imagePullPolicy: 'IfNotPresent',
  command: ['/bin/busybox', 'sh', '-c', forever],
  ...change,
});
const spec = (change: Partial<PodSpec>): PodSpec => ({
  terminationGracePeriodSeconds: 1,
  containers: [box(offlineImages.busybox)],
  ...change,
});

describe('garbage under pressure', { skip: whyNoContainerd() ?? false, timeout: 240_000 }, () => {
  const registry = new TestRegistry();
  let containerd: TestContainerd;
  let agent: TestAgent;
  const images = async (): Promise<ReadonlySet<string>> =>
    new Set((await agent.runtime.listImages(options)).flatMap(({ repoTags }) => repoTags.map(canonicalName)));
  /** Resolves once garbage was collected after this call: an image that nobody needs has gone. */
  let rounds = 0;
  const round = async (): Promise<ReadonlySet<string>> => {
    rounds += 1;
    const reference = await registry.push(`garbage${rounds}`, '1', await busyboxArchive(`garbage ${rounds}`));
    await containerd.ctr('images', 'pull', '--plain-http', reference);
    await eventually(agent, `${reference} is removed`, async () => ((await images()).has(reference) ? undefined : true), 40);
    return images();
  };
  const podFolder = (digit: string): string =>
    path.join(agent.rootDir, 'pods', '11111111-1111-1111-1111-111111111111'.replaceAll('1', digit));
  const pulled = async (name: string): Promise<string> => {
    const reference = await registry.push(name, '1', await busyboxArchive(name));
    await containerd.ctr('images', 'pull', '--plain-http', reference);
    return reference;
  };

  before(async () => {
    await registry.start();
    containerd = await startContainerd({ name: 'garbage' });
    agent = new TestAgent({
      endpoint: containerd.endpoint,
      kubelet: { evictionHard: { 'imagefs.available': '99.9%' }, imageMinimumGCAge: '1ms' },
      // Another one than the runtime has.
      agent: { privateContainerd: { mode: 'never', pauseImage: 'example.test/other:1' } },
    });
    await agent.configure();
  });
  after(async () => {
    for (const name of readdirSync(agent.folder)) agent.remove(name);
    await eventually(agent, 'no pods', async () => ((await agent.pods()).length === 0 ? true : undefined)).catch(() => undefined);
    await agent.destroy();
    await containerd.stop();
    await registry.stop();
  });

  it('C-382, L-374, D1: nothing goes that a manifest names, running or not, or that sandboxes are made of', async () => {
    const needed = {
      refused: await pulled('refused'),
      init: await pulled('init'),
      sidecar: await pulled('sidecar'),
      volume: await pulled('volume'),
      backedOff: await pulled('backed-off'),
      waiting: await pulled('waiting'),
      shadowed: await pulled('shadowed'),
    };
    agent.putPod('running', spec({}));
    agent.putPod('refused', spec({ nodeSelector: { there: 'nowhere' }, containers: [box(needed.refused)] }));
    agent.putPod(
      'many',
      spec({
        initContainers: [
          box(needed.sidecar, { name: 'sidecar', restartPolicy: 'Always' }),
          box(`${registry.host}/absent:1`, { name: 'first' }),
          box(needed.init, { name: 'second' }),
        ],
      }),
    );
    agent.putPod('volume', spec({ volumes: [{ name: 'i', image: { reference: needed.volume, pullPolicy: 'Never' } }] }));
    agent.putPod('broken', spec({ containers: [box(needed.backedOff, { securityContext: { runAsNonRoot: true } })] }));
    agent.putPod(
      'waiting',
      spec({ volumes: [{ name: 'h', hostPath: { path: '/no/such', type: 'Directory' } }], containers: [box(needed.waiting)] }),
    );
    const shadowed = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'running' }, spec: spec({ containers: [box(needed.shadowed)] }) };
    agent.put('zzz.json', JSON.stringify(shadowed));
    // A version that cannot be used does not take away the one before.
    await agent.start();
    await agent.ready('running');
    // Of Pods that nobody knows: one as we would have left it, one with what no volume of ours explains.
    mkdirSync(path.join(podFolder('3'), 'volumes', 'kubernetes.io~empty-dir', 'v', 'data'), { recursive: true });
    mkdirSync(path.join(podFolder('4'), 'volumes'), { recursive: true });
    writeFileSync(path.join(podFolder('4'), 'volumes', 'file'), 'of somebody');
    agent.put('waiting.json', '{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "waiting"}, "spec": {"containers": 7}}');
    const left = await round();
    for (const [name, reference] of Object.entries(needed)) assert.ok(left.has(reference), `${name}: ${[...left].join()}`);
    assert.ok(left.has(offlineImages.pause), [...left].join());
    assert.ok(!left.has(offlineImages.nginx), 'nobody needs it');
    agent.remove('refused.json');
    await eventually(
      agent,
      'the refused one goes with its manifest',
      async () => ((await images()).has(needed.refused) ? undefined : true),
      40,
    );
    await registry.stop();
    agent.putPod('another', spec({}));
    await agent.ready('another');
    await registry.start();
  });

  it('L-312, L-384, C-383, C-385, C-397: of each container one dead record; leftovers of Pods nobody knows go, those of others stay', async () => {
    agent.putPod('crash', spec({ containers: [box(offlineImages.busybox, { command: ['/bin/busybox', 'sh', '-c', 'exit 1'] })] }));
    const pod = await agent.until('crash', 'has run twice', (one) => (one.status?.containerStatuses?.[0]?.restartCount ?? 0) >= 2, 60);
    const logs = path.join(agent.rootDir, 'logs');
    const mine = path.join(logs, 'default_ghost_11111111-1111-1111-1111-111111111111');
    const others = path.join(logs, 'default_other_22222222-2222-2222-2222-222222222222');
    for (const folder of [mine, others]) mkdirSync(path.join(folder, 'app'), { recursive: true });
    writeFileSync(path.join(mine, '.pinpod'), `${agent.rootDir}\n`);
    await round();
    const records = await agent.containers(uidOf(pod));
    assert.ok(
      records.filter(({ state }) => state === 'exited').length <= 2,
      JSON.stringify(records.map(({ attempt, state }) => [attempt, state])),
    );
    await eventually(agent, 'the folder of a Pod nobody knows goes', () => (existsSync(mine) ? undefined : true));
    assert.ok(existsSync(others), 'it is somebody else’s');
    agent.remove('crash.json');
    await agent.gone('crash');
    assert.deepEqual(await agent.containers(uidOf(pod)), []);
    await eventually(agent, 'the folder of a Pod nobody knows goes', () => (existsSync(podFolder('3')) ? undefined : true), 90);
    await eventually(agent, 'the other is told', () => (agent.output.includes(path.basename(podFolder('4'))) ? true : undefined), 90);
    assert.ok(existsSync(path.join(podFolder('4'), 'volumes', 'file')));
    await eventually(agent, 'its logs go', () => (readdirSync(logs).some((name) => name.includes('crash')) ? undefined : true));
  });
});
