// Manifests with a fixed UID, edited while their Pods run: what changes in place, what waits, what restarts. Scenarios of
// spec 02, sections 12 and 13, by number, on containerd.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Container, Pod, PodSpec } from '../../src/api/gen/kubernetes.ts';
import { listProcesses } from '../../src/runtime/containerd/process-table.ts';
import { binDirs, offlineImages, whyNoContainerd } from '../support/containerd.ts';
import { cgroupOf, eventually, options, TestAgent } from '../support/test-agent.ts';

const isVersion1 = existsSync('/sys/fs/cgroup/memory');
const forever = 'trap "exit 0" TERM; while :; do sleep 1000 & wait; done';

function box(change: Partial<Container> = {}): Container {
  return { name: 'app', image: offlineImages.busybox, imagePullPolicy: 'IfNotPresent', command: ['sh', '-c', forever], ...change };
}

for (const version of ['debian', 'sid'] as const) {
  const skip = whyNoContainerd(version) ?? false;
  describe(`edited manifests with a fixed UID, containerd of ${version}`, { skip }, () => {
    const agent = new TestAgent(version === 'debian' ? {} : { binDirs: binDirs(version) });
    const uid = 'fixed-uid';
    let generation = 0;
    const put = (change: Partial<PodSpec>, metadata: Pod['metadata'] = {}): void => {
      generation += 1;
      const annotations = { generation: String(generation), ...metadata.annotations };
      agent.putPod('app', { terminationGracePeriodSeconds: 2, containers: [box()], ...change }, { uid, ...metadata, annotations });
    };
    const newest = async () => {
      const [container] = await agent.containers(uid);
      assert.ok(container !== undefined);
      return container;
    };
    /** Thousandths of a CPU and bytes, as the container's own cgroup has them. */
    const limits = async (): Promise<readonly [number, number]> => {
      const paths = isVersion1
        ? ['/sys/fs/cgroup/cpu/cpu.cfs_quota_us', '/sys/fs/cgroup/memory/memory.limit_in_bytes']
        : ['/sys/fs/cgroup/cpu.max', '/sys/fs/cgroup/memory.max'];
      const [quota = '', bytes = ''] = (await agent.exec('app', 'app', `cat ${paths.join(' ')}`)).split('\n');
      return [Number.parseInt(quota, 10) / 100, Number(bytes) / 2 ** 20];
    };
    const become = (cpu: number, mebibytes: number, seconds?: number): Promise<true> =>
      eventually(agent, 'resized', async () => ((await limits()).join() === `${cpu},${mebibytes}` ? true : undefined), seconds);
    const files = { name: 'info', downwardAPI: { items: [{ path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } }] } };
    const withFiles = { volumeMounts: [{ name: 'info', mountPath: '/info' }] };
    const sized = (cpu: string, memory: string, change: Partial<Container> = {}): Container =>
      box({ resources: { requests: { cpu: '50m', memory: '4Mi' }, limits: { cpu, memory } }, ...change });

    before(async () => {
      await agent.configure();
      put({ containers: [box({ ...withFiles, env: [{ name: 'WORD', value: 'one' }] })], volumes: [files] }, { labels: { color: 'red' } });
      await agent.start();
      await agent.ready('app');
    });
    after(() => agent.destroy());

    it('C-394 L-523 labels reach the files of a downward API volume, and nothing restarts', async () => {
      const before = await newest();
      put({ containers: [box({ ...withFiles, env: [{ name: 'WORD', value: 'two' }] })], volumes: [files] }, { labels: { color: 'blue' } });
      await eventually(agent, 'the file changes', async () =>
        (await agent.exec('app', 'app', 'cat /info/labels')) === 'color="blue"' ? true : undefined,
      );
      assert.equal((await newest()).id, before.id);
      assert.equal(await agent.exec('app', 'app', 'echo $WORD'), 'one');
    });

    it('C-216 a changed variable waits for the next start', async () => {
      const before = await newest();
      await agent.killContainer(before.id);
      await agent.ready('app', (pod) => pod.status?.containerStatuses?.[0]?.restartCount === 1);
      assert.equal(await agent.exec('app', 'app', 'echo $WORD'), 'two');
    });

    it('C-214 another image: made anew in its sandbox, with its address', async () => {
      const [sandbox] = await agent.sandboxes(uid);
      const before = await agent.ready('app');
      put({ containers: [box({ image: offlineImages.nginx })] });
      const pod = await agent.ready('app', (one) => one.status?.containerStatuses?.[0]?.restartCount === 2);
      assert.equal(pod.status?.podIP, before.status?.podIP);
      assert.deepEqual(
        (await agent.sandboxes(uid)).map(({ id }) => id),
        [sandbox?.id],
      );
      assert.ok((await agent.events('app')).includes('Killing: Container app definition changed, will be restarted'));
    });

    it('L-518 other cpu and memory: given while the container runs', async () => {
      // From BestEffort to Burstable is another cgroup: not in place, but in another sandbox (L-052).
      const { attempt } = await newest();
      put({ containers: [sized('250m', '64Mi')] });
      await eventually(agent, 'made anew', async () => ((await newest()).attempt === attempt + 1 ? true : undefined));
      const moved = await agent.ready('app', ({ status }) => status?.qosClass === 'Burstable');
      assert.equal(moved.status?.containerStatuses?.[0]?.restartCount, attempt + 1);
      const before = await newest();
      const inside = (await listProcesses()).find((one) => cgroupOf(one.pid).includes(before.id));
      assert.match(cgroupOf(inside?.pid ?? 0), /kubepods\/burstable\//);
      assert.deepEqual(await limits(), [250, 64]);
      put({ containers: [sized('500m', '96Mi')] });
      await eventually(agent, 'resized', async () =>
        (await agent.events('app')).some((event) => event.startsWith('ResizeCompleted: ')) ? true : undefined,
      );
      assert.deepEqual(await limits(), [500, 96]);
      assert.equal((await newest()).id, before.id);
      const pod = await agent.ready('app');
      assert.deepEqual(pod.status?.containerStatuses?.[0]?.resources, {
        requests: { cpu: '50m', memory: '4Mi' },
        limits: { cpu: '500m', memory: '96Mi' },
      });
    });

    it('L-518 and taken back, over kill -9 of the agent', async () => {
      const before = await newest();
      await agent.end('SIGKILL');
      put({ containers: [sized('100m', '32Mi')] });
      await agent.start();
      await become(100, 32);
      assert.equal((await newest()).id, before.id);
    });

    it('L-522 not below what it uses', async () => {
      await agent.exec('app', 'app', 'head -c 12000000 /dev/urandom >/dev/shm/big');
      put({ containers: [sized('100m', '8Mi')] });
      const said = await eventually(agent, 'refused', async () =>
        (await agent.events('app')).find((event) => event.startsWith('ResizeError: ')),
      );
      assert.match(said, /memory limit 8388608 of container app is below what it uses now/);
      const pod = await agent.until(
        'app',
        'tells',
        (one) => one.status?.conditions?.some(({ type, reason }) => type === 'PodResizeInProgress' && reason === 'Error') === true,
      );
      assert.equal(pod.status?.containerStatuses?.[0]?.resources?.limits?.['memory'], '32Mi');
      await agent.exec('app', 'app', 'rm /dev/shm/big');
      await become(100, 8, 40);
    });

    it('L-519 a resource that wants a restart', async () => {
      const resizePolicy = [{ resourceName: 'memory', restartPolicy: 'RestartContainer' }];
      const before = await newest();
      put({ containers: [sized('100m', '48Mi', { resizePolicy })] });
      await eventually(agent, 'made anew', async () => ((await newest()).attempt === before.attempt + 1 ? true : undefined));
      await agent.ready('app');
      assert.deepEqual(await limits(), [100, 48]);
      assert.ok((await agent.events('app')).includes('Killing: Container app resize requires restart'));
      assert.equal((await agent.runtime.listPodSandboxes({ podUid: uid }, options)).length, 1);
      // More than the Pod had: its cgroup has to make room before the container is made.
      put({ containers: [sized('600m', '48Mi', { resizePolicy: [{ resourceName: 'cpu', restartPolicy: 'RestartContainer' }] })] });
      await eventually(agent, 'made anew again', async () => ((await newest()).attempt === before.attempt + 2 ? true : undefined));
      await agent.ready('app');
      assert.deepEqual(await limits(), [600, 48]);
    });

    it('L-518 L-249 the Pod as a whole: its cgroup, and containers without limits of their own', async () => {
      const whole = (cpu: string, memory: string): PodSpec => ({ resources: { limits: { cpu, memory } }, containers: [box()] });
      agent.remove('app.json');
      await agent.gone('app');
      put(whole('500m', '64Mi'));
      await agent.ready('app');
      const before = await newest();
      assert.deepEqual(await limits(), [500, 64]);
      put(whole('250m', '96Mi'));
      await become(250, 96);
      await agent.until('app', 'shows it', ({ status }) => status?.resources?.limits?.['memory'] === '96Mi');
      const { pid } = (await listProcesses()).find((one) => cgroupOf(one.pid).includes(before.id)) ?? { pid: 0 };
      const own = new RegExp(isVersion1 ? ':memory:(.*)' : '^0::(.*)', 'm').exec(cgroupOf(pid))?.[1] ?? '';
      const [hierarchy, file] = isVersion1 ? ['memory', 'memory.limit_in_bytes'] : ['', 'memory.max'];
      const ofPod = readFileSync(path.join('/sys/fs/cgroup', hierarchy, path.dirname(own), file), 'utf8');
      assert.equal(Number(ofPod), 96 * 2 ** 20);
      await agent.end('SIGKILL');
      put(whole('300m', '48Mi'));
      await agent.start();
      await become(300, 48);
      assert.equal((await newest()).id, before.id);
    });
  });
}
