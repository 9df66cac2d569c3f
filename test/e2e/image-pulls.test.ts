// How images come to the machine: the whole agent on a real containerd, with a registry on loopback that asks for
// credentials, fails, hangs, goes away and comes back.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { ContainerStateWaiting, Pod } from '../../src/api/gen/kubernetes.ts';
import { binDirs, whyNoContainerd } from '../support/containerd.ts';
import { busyboxArchive, TestRegistry } from '../support/registry.ts';
import { eventually, TestAgent } from '../support/test-agent.ts';

const forever = 'trap "exit 0" TERM; while :; do sleep 1000 & wait; done';
const basic = (text: string): string => Buffer.from(text).toString('base64');

for (const version of ['debian', 'sid'] as const) {
  describe(`pulls on containerd of ${version}`, { skip: whyNoContainerd(version) ?? false, timeout: 240_000 }, () => {
    const registry = new TestRegistry();
    const home = `/tmp/ppt-${process.pid}-home-${version}`;
    const agent: TestAgent = new TestAgent({
      binDirs: binDirs(version),
      launcher: ['env', `HOME=${home}`],
      kubelet: {
        serializeImagePulls: false,
        maxParallelImagePulls: 2,
        registryPullQPS: 0,
        crashLoopBackOff: { maxContainerRestartPeriod: '1s' },
      },
      flags: ['--image-credential-provider-config', `${home}/providers.yaml`, '--image-credential-provider-bin-dir', `${home}/bin`],
    });
    const putPod = (name: string, image: string, imagePullPolicy = 'IfNotPresent', script = forever): void =>
      agent.putPod(name, {
        terminationGracePeriodSeconds: 1,
        containers: [{ name: 'app', image, imagePullPolicy, command: ['/bin/busybox', 'sh', '-c', script] }],
      });
    const waiting = (pod: Pod): ContainerStateWaiting | undefined => pod.status?.containerStatuses?.[0]?.state?.waiting;
    const waitsFor = (name: string, reason: string): Promise<Pod> =>
      agent.until(name, `waits with ${reason}`, (pod) => waiting(pod)?.reason === reason);
    const push = async (name: string): Promise<string> => registry.push(name, '1', await busyboxArchive(`${name} ${version}`));
    const remove = async (...names: readonly string[]): Promise<void> => {
      for (const name of names) agent.remove(`${name}.json`);
      await Promise.all(names.map((name) => agent.gone(name)));
    };

    before(async () => {
      await registry.start();
      mkdirSync(`${home}/bin`, { recursive: true });
      const provider = {
        name: 'helper',
        matchImages: [`${registry.host}/plugin`],
        defaultCacheDuration: '1h',
        apiVersion: 'credentialprovider.kubelet.k8s.io/v1',
        args: ['--give'],
        env: [{ name: 'SECRET', value: 'swordfish' }],
      };
      writeFileSync(
        `${home}/providers.yaml`,
        JSON.stringify({ apiVersion: 'kubelet.config.k8s.io/v1', kind: 'CredentialProviderConfig', providers: [provider] }),
      );
      const response = {
        apiVersion: 'credentialprovider.kubelet.k8s.io/v1',
        kind: 'CredentialProviderResponse',
        cacheKeyType: 'Registry',
        auth: { [registry.host]: { username: 'helper', password: '$SECRET' } },
      };
      writeFileSync(`${home}/bin/helper`, `#!/bin/sh\necho "$1 $(cat)" >>${home}/asked\ncat <<END\n${JSON.stringify(response)}\nEND\n`);
      chmodSync(`${home}/bin/helper`, 0o755);
      await agent.configure();
      mkdirSync(agent.rootDir, { recursive: true });
      const auths = {
        [registry.host]: { auth: basic('everybody:wrong') },
        [`${registry.host}/team`]: { auth: basic('team:pass:word') },
        [`http://${registry.host}/v2/tokens`]: { username: 'tokens', password: 'secret' },
      };
      // Each of the two formats, in one of the places they are looked for.
      if (version === 'debian') writeFileSync(path.join(agent.rootDir, 'config.json'), JSON.stringify({ auths }));
      else writeFileSync(path.join(home, '.dockercfg'), JSON.stringify(auths));
      await agent.start();
    });
    after(async () => {
      await agent.destroy();
      await registry.stop();
      rmSync(home, { recursive: true, force: true });
    });

    it('L-349, L-350, C-348: a pull, and what is said of it', async () => {
      putPod('plain', await push('plain'));
      const pod = await agent.ready('plain');
      assert.equal(await agent.exec('plain', 'app', 'busybox cat /mark'), `plain ${version}`);
      const status = pod.status?.containerStatuses?.[0];
      assert.equal(status?.image, `${registry.host}/plain:1`);
      assert.match(status?.imageID ?? '', new RegExp(`^${registry.host}/plain@sha256:[0-9a-f]{64}$`));
      const said = await agent.events('plain');
      assert.ok(said.includes(`Pulling: Pulling image "${registry.host}/plain:1"`));
      const pulled = said.find((event) => event.startsWith('Pulled: ')) ?? '';
      assert.match(
        pulled,
        /^Pulled: Successfully pulled image "\S+" in [\d.]+m?s \([\d.]+m?s including waiting\)\. Image size: \d{6,} bytes\.$/,
      );
      await remove('plain');
    });

    it('C-377, C-380: what is there needs no registry with IfNotPresent and Never; what is not there is never pulled with Never', async () => {
      registry.misbehave('plain', { kind: 'status', status: 404 });
      const before = registry.requests.length;
      putPod('present', `${registry.host}/plain:1`);
      putPod('never', `${registry.host}/plain:1`, 'Never');
      putPod('absent', `${registry.host}/absent:1`, 'Never');
      await Promise.all([agent.ready('present'), agent.ready('never')]);
      const pod = await waitsFor('absent', 'ErrImageNeverPull');
      const message = `Container image "${registry.host}/absent:1" is not present with pull policy of Never`;
      assert.equal(waiting(pod)?.message, message);
      assert.equal(pod.status?.phase, 'Pending');
      assert.equal(registry.requests.length, before);
      const present = `Pulled: Container image "${registry.host}/plain:1" already present on machine and can be accessed by the pod`;
      for (const name of ['present', 'never']) assert.ok((await agent.events(name)).includes(present));
      const said = await agent.events('absent');
      assert.ok(said.includes(`ErrImageNeverPull: ${message}`) && said.includes('Failed: Error: ErrImageNeverPull'), said.join('\n'));
      await remove('present', 'never', 'absent');
      registry.misbehave('plain', undefined);
    });

    it('C-315, C-379, D4: what the registry does not have is asked for with back-off, and starts once it has it', async () => {
      putPod('later', `${registry.host}/later:1`);
      const first = await waitsFor('later', 'ErrImagePull');
      assert.match(waiting(first)?.message ?? '', /later:1.*not found/);
      const pod = await waitsFor('later', 'ImagePullBackOff');
      const backOff = `Back-off pulling image "${registry.host}/later:1"`;
      assert.match(waiting(pod)?.message ?? '', new RegExp(`^${backOff}: ErrImagePull: .*not found`));
      const attempts = registry.requestsOf('later').length;
      await push('later');
      await agent.ready('later');
      assert.ok(registry.requestsOf('later').length > attempts);
      const said = await agent.events('later');
      for (const event of [`BackOff: ${backOff}`, 'Failed: Error: ErrImagePull', 'Failed: Error: ImagePullBackOff'])
        assert.ok(said.includes(event), `${event}\n${said.join('\n')}`);
      assert.ok(said.some((event) => event.startsWith(`Failed: Failed to pull image "${registry.host}/later:1": `)));
      await remove('later');
    });

    it('decision 0010: Always asks the registry, believes its answer, and does without it when there is none', async () => {
      await push('always');
      putPod('always', `${registry.host}/always:1`, 'Always', 'sleep 1; exit 1');
      await agent.until('always', 'has run', (pod) => (pod.status?.containerStatuses?.[0]?.restartCount ?? 0) > 0);
      const asked = registry.requestsOf('always').filter((line) => line.includes('HEAD')).length;
      assert.ok(asked >= 2, 'once for each start');
      await registry.stop();
      await eventually(
        agent,
        'the copy is used',
        async () => (await agent.events('always')).find((event) => /^ImagePullSkipped: Registry of image .* cannot be reached/.test(event)),
        60,
      );
      await registry.start();
      await remove('always');
      registry.misbehave('always', { kind: 'status', status: 503 });
      putPod('always', `${registry.host}/always:1`, 'Always');
      const pod = await waitsFor('always', 'ErrImagePull');
      assert.match(waiting(pod)?.message ?? '', /503/);
      registry.misbehave('always', undefined);
      await agent.ready('always');
      await remove('always');
    });

    it('C-390, L-367 … L-369: credentials of the docker configuration, the longest path first, until one is taken', async () => {
      await push('team/app');
      registry.protect('team/app', { scheme: 'Basic', username: 'team', password: 'pass:word' });
      await push('tokens');
      registry.protect('tokens', { scheme: 'Bearer', username: 'tokens', password: 'secret' });
      await push('other');
      registry.protect('other', { scheme: 'Basic', username: 'nobody', password: 'knows' });
      putPod('team', `${registry.host}/team/app:1`);
      putPod('tokens', `${registry.host}/tokens:1`);
      putPod('other', `${registry.host}/other:1`);
      await Promise.all([agent.ready('team'), agent.ready('tokens')]);
      assert.deepEqual([...new Set(registry.requestsOf('team/app').map((line) => line.split(' ')[0]))], ['-', 'team']);
      assert.deepEqual([...new Set(registry.requestsOf('tokens').map((line) => line.split(' ')[0]))], ['-', 'tokens']);
      const pod = await agent.until('other', 'is refused', (one) => waiting(one)?.reason !== 'ContainerCreating');
      assert.match(waiting(pod)?.message ?? '', /401|authorization failed|authentication required/i);
      assert.doesNotMatch(JSON.stringify(await agent.events('other')) + agent.output, /wrong|pass:word|swordfish/, 'no secret is said');
      await remove('team', 'tokens', 'other');
    });

    it('L-370, L-371: credentials of a plugin, which is asked once for its registry', async () => {
      for (const name of ['plugin/a', 'plugin/b']) {
        await push(name);
        registry.protect(name, { scheme: 'Basic', username: 'helper', password: 'swordfish' });
      }
      putPod('plugin-a', `${registry.host}/plugin/a:1`);
      await agent.ready('plugin-a');
      putPod('plugin-b', `${registry.host}/plugin/b:1`);
      await agent.ready('plugin-b');
      const asked = readFileSync(`${home}/asked`, 'utf8').trim().split('\n');
      assert.equal(asked.length, 1, asked.join('\n'));
      const [, flag, request = ''] = /^(\S+) (.*)$/.exec(asked[0] ?? '') ?? [];
      assert.equal(flag, '--give');
      assert.deepEqual(JSON.parse(request), {
        apiVersion: 'credentialprovider.kubelet.k8s.io/v1',
        kind: 'CredentialProviderRequest',
        image: `${registry.host}/plugin/a`,
      });
      await remove('plugin-a', 'plugin-b');
    });

    it('C-378, L-357: as many pulls at once as may be, and all end', async () => {
      const names = ['many-a', 'many-b', 'many-c', 'many-d'];
      registry.mostAtOnce = 0;
      registry.holdUntil(2);
      for (const name of names) putPod(name, await push(name));
      await Promise.all(names.map((name) => agent.ready(name)));
      assert.equal(registry.mostAtOnce, 2);
      await remove(...names);
    });

    it('C-316: while the image is on its way the Pod is ready to start containers, and initialised only after', async () => {
      const names = ['slow', 'slow-init'];
      for (const name of names) {
        await push(name);
        registry.misbehave(name, { kind: 'halfLayers' });
      }
      putPod('slow', `${registry.host}/slow:1`);
      const script = ['/bin/busybox', 'sh', '-c'];
      agent.putPod('slow-init', {
        terminationGracePeriodSeconds: 1,
        initContainers: [{ name: 'init', image: `${registry.host}/slow-init:1`, command: [...script, 'exit 0'] }],
        containers: [{ name: 'app', image: `${registry.host}/slow-init:1`, command: [...script, forever] }],
      });
      const conditions = (pod: Pod): Readonly<Record<string, string>> =>
        Object.fromEntries((pod.status?.conditions ?? []).map(({ type, status }) => [type, status]));
      const expected = {
        PodReadyToStartContainers: 'True',
        Initialized: 'True',
        Ready: 'False',
        ContainersReady: 'False',
        PodScheduled: 'True',
      };
      for (const name of names) {
        const pod = await agent.until(name, 'has its sandbox', (one) => conditions(one)['PodReadyToStartContainers'] === 'True');
        assert.deepEqual(conditions(pod), { ...expected, Initialized: name === 'slow' ? 'True' : 'False' });
        assert.equal(pod.status?.phase, 'Pending');
        registry.misbehave(name, undefined);
        assert.deepEqual(conditions(await agent.ready(name)), { ...expected, Initialized: 'True', Ready: 'True', ContainersReady: 'True' });
      }
      await remove(...names);
    });

    it('S-289: a pull that hangs ends with its Pod, and holds up no other', async () => {
      await push('half');
      registry.misbehave('half', { kind: 'halfLayers' });
      putPod('half', `${registry.host}/half:1`);
      await eventually(agent, 'half a layer is there', () =>
        registry.requestsOf('half').some((line) => line.includes('GET') && line.includes('blobs')) ? true : undefined,
      );
      putPod('beside', await push('beside'));
      await agent.ready('beside');
      agent.remove('half.json');
      await agent.gone('half');
      registry.misbehave('half', undefined);
      putPod('half', `${registry.host}/half:1`);
      await agent.ready('half');
      assert.equal(await agent.exec('half', 'app', 'busybox cat /mark'), `half ${version}`);
      await remove('half', 'beside');
    });

    it('D2: a pull that the agent does not live to see is made again', async () => {
      await push('cut');
      registry.misbehave('cut', { kind: 'halfLayers' });
      putPod('cut', `${registry.host}/cut:1`);
      await eventually(agent, 'half a layer is there', () =>
        registry.requestsOf('cut').some((line) => line.includes('blobs')) ? true : undefined,
      );
      await agent.end('SIGKILL');
      registry.misbehave('cut', undefined);
      await agent.start();
      await agent.ready('cut');
      await remove('cut');
    });

    it('L-343: a name that is none', async () => {
      putPod('wrong', 'Not A Name');
      const pod = await waitsFor('wrong', 'InvalidImageName');
      const message = `Failed to apply default image tag "Not A Name": couldn't parse image name "Not A Name": invalid reference format`;
      assert.equal(waiting(pod)?.message, message);
      const said = await agent.events('wrong');
      for (const event of [`InspectFailed: ${message}`, 'Failed: Error: InvalidImageName'])
        assert.ok(said.includes(event), said.join('\n'));
      await remove('wrong');
    });
  });
}
