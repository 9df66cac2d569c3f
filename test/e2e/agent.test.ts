// The whole agent as a process of its own on real containerd: issue 2's main job, from a file in a folder to a container
// that serves, and back. The parts of a group follow each other on one agent.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Pod } from '../../src/api/gen/kubernetes.ts';
import { listProcesses } from '../../src/runtime/containerd/process-table.ts';
import type { ManifestList } from '../../src/server/agent-api.ts';
import { startContainerd, type TestContainerd, whyNoContainerd } from '../support/containerd.ts';
import { Kubectl, whyNoKubectl } from '../support/kubectl.ts';
import { cgroupOf, checkout, eventually, freePort, nodeName, options, TestAgent, uidOf } from '../support/test-agent.ts';

const staticWeb = readFileSync(path.join(checkout, 'examples', 'static-web.yaml'), 'utf8');
const cgroupsOf = (uid: string): string =>
  execFileSync('find', ['/sys/fs/cgroup', '-type', 'd', '-name', `pod${uid}`, '-prune'], { encoding: 'utf8' });

const restarts = (pod: Pod): number | undefined => pod.status?.containerStatuses?.[0]?.restartCount;

async function bodyOf(url: string): Promise<string> {
  const response = await fetch(url, { headers: { connection: 'close' }, signal: AbortSignal.timeout(2000) });
  assert.equal(response.status, 200);
  return await response.text();
}

describe('the agent on its private containerd', { skip: whyNoContainerd() }, () => {
  const agent = new TestAgent();
  const file = path.join(agent.folder, 'static-web.yaml');
  const aside = path.join(agent.dir, 'static-web.yaml');
  const serves = (pod: Pod): Promise<string> => eventually(agent, 'nginx serves', async () => await bodyOf(`http://${pod.status?.podIP}/`));

  before(async () => {
    await agent.configure();
    copyFileSync(path.join(checkout, 'examples', 'static-web.yaml'), file);
    await agent.start();
  });
  after(() => agent.destroy());

  it('serves the example at the Pod’s address', async () => {
    const pod = await agent.ready('static-web');
    assert.match(await serves(pod), /<title>Welcome to nginx/i);
    assert.equal(pod.status?.phase, 'Running');
    assert.equal(restarts(pod), 0);
  });

  it('shows crictl what a kubelet would (spec 02, section 1.8)', async () => {
    const pod = await agent.ready('static-web');
    const uid = uidOf(pod);
    const [sandbox] = await agent.sandboxes(uid);
    const podLabels = {
      'io.kubernetes.pod.name': `static-web-${nodeName}`,
      'io.kubernetes.pod.namespace': 'default',
      'io.kubernetes.pod.uid': uid,
    };
    assert.equal(sandbox?.name, `static-web-${nodeName}`);
    assert.equal(sandbox.namespace, 'default');
    assert.equal(sandbox.attempt, 0);
    assert.deepEqual(sandbox.labels, { role: 'myrole', ...podLabels });
    assert.equal(sandbox.annotations['kubernetes.io/config.source'], 'file');
    assert.equal(sandbox.annotations['kubernetes.io/config.hash'], uid);
    assert.match(sandbox.annotations['kubernetes.io/config.seen'] ?? '', /^\d{4}-/);
    const container = await agent.running(uid);
    assert.equal(container.name, 'web');
    assert.equal(container.attempt, 0);
    assert.deepEqual(container.labels, { 'io.kubernetes.container.name': 'web', ...podLabels });
    const { 'io.kubernetes.container.ports': ports, 'io.kubernetes.container.hash': hash, ...rest } = container.annotations;
    assert.deepEqual(JSON.parse(ports ?? ''), [{ name: 'web', containerPort: 80, protocol: 'TCP' }]);
    assert.match(hash ?? '', /^[0-9a-f]{1,8}$/);
    assert.deepEqual(rest, {
      'io.kubernetes.container.restartCount': '0',
      'io.kubernetes.container.terminationMessagePath': '/dev/termination-log',
      'io.kubernetes.container.terminationMessagePolicy': 'File',
      'io.kubernetes.pod.terminationGracePeriod': '30',
      'pinpod.io/container.resources': '{}',
    });
  });

  it('starts a killed container again', async () => {
    const before = await agent.ready('static-web');
    const old = await agent.running(uidOf(before));
    await agent.killContainer(old.id);
    const pod = await agent.ready('static-web', (one) => restarts(one) === 1);
    await serves(pod);
    const container = await agent.running(uidOf(pod));
    assert.notEqual(container.id, old.id);
    assert.equal(container.attempt, 1);
    assert.equal(container.sandboxId, old.sandboxId);
    const terminated = pod.status?.containerStatuses?.[0]?.lastState?.terminated;
    assert.equal(terminated?.exitCode, 137);
  });

  it('lets containers run and keeps their counts when it is killed (D2)', async () => {
    const before = await agent.ready('static-web');
    const container = await agent.running(uidOf(before));
    await agent.end('SIGKILL');
    await serves(before);
    await agent.start();
    const pod = await agent.ready('static-web');
    assert.equal(restarts(pod), 1);
    assert.equal(uidOf(pod), uidOf(before));
    assert.equal((await agent.running(uidOf(pod))).id, container.id);
  });

  it('starts a killed containerd again, its Pods unharmed', async () => {
    const before = await agent.ready('static-web');
    const container = await agent.running(uidOf(before));
    const pid = await agent.daemon.pid();
    assert.ok(pid !== undefined);
    process.kill(pid, 'SIGKILL');
    const next = await eventually(agent, 'another containerd runs', async () => {
      const now = await agent.daemon.pid();
      return now === pid ? undefined : now;
    });
    assert.notEqual(next, pid);
    const after = await eventually(agent, 'containerd answers', () => agent.running(uidOf(before)));
    assert.equal(after.id, container.id);
    const pod = await agent.ready('static-web');
    assert.equal(pod.status?.phase, 'Running');
    assert.equal(restarts(pod), 1);
    await serves(pod);
  });

  it('says what is wrong with every bad manifest and leaves the good Pod alone (D1, D5)', async () => {
    const container = await agent.running(uidOf(await agent.ready('static-web')));
    const bad = staticWeb.replace('static-web', 'bad');
    agent.put('unparsable.yaml', 'kind: [Pod\n  name: "x');
    agent.put('kind.yaml', bad.replace('kind: Pod', 'kind: Service'));
    agent.put('image.yaml', bad.replace('      image: nginx\n', ''));
    agent.put('unknown.yaml', bad.replace('image: nginx', 'imagee: nginx'));
    agent.put('binary.yaml', Buffer.from([0x7f, 0x45, 0x4c, 0x46, 0, 0, 0xff, 0xfe, 0x80]));
    agent.put('z-duplicate.yaml', staticWeb);
    mkdirSync(path.join(agent.folder, 'directory.yaml'));
    symlinkSync('loop.yaml', path.join(agent.folder, 'loop.yaml'));
    execFileSync('mkfifo', [path.join(agent.folder, 'fifo.yaml')]);
    const expected = {
      'binary.yaml': 'rejected',
      'directory.yaml': 'ignored',
      'fifo.yaml': 'ignored',
      'image.yaml': 'rejected',
      'kind.yaml': 'rejected',
      'loop.yaml': 'rejected',
      'static-web.yaml': 'accepted',
      'unknown.yaml': 'rejected',
      'unparsable.yaml': 'rejected',
      'z-duplicate.yaml': 'shadowed',
    };
    await eventually(agent, 'nine bad files are seen', async () => {
      const { manifests } = (await agent.client.json('/pinpod/v1/manifests', options)) as ManifestList;
      const isSettled = manifests.every(({ verdict }) => verdict.kind !== 'ignored' || !verdict.why.includes('just being written'));
      return manifests.length === 10 && isSettled ? true : undefined;
    });
    const verdicts = await agent.verdicts();
    assert.deepEqual(Object.fromEntries([...verdicts].map(([name, one]) => [name, one.verdict.kind]).sort()), expected);
    for (const [name, { verdict }] of verdicts) {
      if (verdict.kind === 'rejected') assert.ok((verdict.problems[0]?.message ?? '').length > 0, name);
      if (verdict.kind === 'ignored') assert.ok(verdict.why.length > 0, name);
    }
    const unknown = verdicts.get('unknown.yaml')?.verdict;
    assert.ok(unknown?.kind === 'rejected');
    assert.ok(
      unknown.problems.some(({ field, line }) => field === 'spec.containers[0].imagee' && line === 10),
      JSON.stringify(unknown),
    );
    const duplicate = verdicts.get('z-duplicate.yaml')?.verdict;
    assert.deepEqual(duplicate, { kind: 'shadowed', by: file });
    assert.equal((await agent.running(uidOf(await agent.ready('static-web')))).id, container.id);
    for (const name of readdirSync(agent.folder))
      if (name !== 'static-web.yaml') rmSync(path.join(agent.folder, name), { recursive: true });
    await eventually(agent, 'only the example is left', async () => ((await agent.verdicts()).size === 1 ? true : undefined));
  });

  it('keeps a Pod running whose file gets a typo (D1)', async () => {
    const container = await agent.running(uidOf(await agent.ready('static-web')));
    agent.put('static-web.yaml', staticWeb.replace('containers:', 'contaners:'));
    const verdict = await eventually(agent, 'the typo is seen', async () => {
      const one = (await agent.verdicts()).get('static-web.yaml')?.verdict;
      return one?.kind === 'rejected' ? one : undefined;
    });
    assert.equal(verdict.keptPods, true);
    assert.equal((await agent.running(uidOf(await agent.ready('static-web')))).id, container.id);
    agent.put('static-web.yaml', staticWeb);
    await eventually(agent, 'it is accepted again', async () =>
      (await agent.verdicts()).get('static-web.yaml')?.verdict.kind === 'accepted' ? true : undefined,
    );
    assert.equal((await agent.running(uidOf(await agent.ready('static-web')))).id, container.id);
  });

  it('is shown by pinpod get and pinpod logs', async () => {
    const pod = await agent.ready('static-web');
    await serves(pod);
    const got = await agent.cli('get', 'pods');
    assert.match(got.out, /^NAME +READY +STATUS +RESTARTS +AGE\nstatic-web-edge1 +1\/1 +Running +1 \(.* ago\) +\S+\n$/);
    const logs = await agent.cli('logs', `static-web-${nodeName}`);
    assert.equal(logs.code, 0, logs.err);
    assert.match(logs.out, /"GET \/ HTTP\/1\.1" 200/);
  });

  it('is shown by kubectl', { skip: whyNoKubectl() }, async () => {
    const shown = await new Kubectl(agent.kubeconfig).run(['get', 'pods', '--no-headers']);
    assert.match(shown.out, /^static-web-edge1 +1\/1 +Running +1 /, shown.err);
  });

  it('ends the old Pod of an edited file fully before it starts the new one', async () => {
    const before = await agent.ready('static-web');
    agent.put('static-web.yaml', staticWeb.replace('myrole', 'newrole'));
    const pod = await agent.ready('static-web', (one) => one.metadata?.labels?.['role'] === 'newrole');
    assert.notEqual(uidOf(pod), uidOf(before));
    assert.equal(restarts(pod), 0);
    const [sandbox] = await agent.sandboxes(uidOf(pod));
    assert.equal(sandbox?.attempt, 0);
    assert.equal((await agent.containers(uidOf(before))).filter((one) => one.state === 'running').length, 0);
    await serves(pod);
    await eventually(agent, 'nothing of the old Pod is left', async () =>
      (await agent.sandboxes(uidOf(before))).length + (await agent.containers(uidOf(before))).length === 0 ? true : undefined,
    );
  });

  it('makes nothing of the new Pod while the old one is still ending', async () => {
    const spec = (greeting: string): Pod['spec'] => ({
      containers: [
        {
          name: 'main',
          image: 'busybox',
          command: ['sleep', '1000'],
          env: [{ name: 'GREETING', value: greeting }],
          lifecycle: { preStop: { sleep: { seconds: 1 } } },
        },
      ],
      terminationGracePeriodSeconds: 2,
    });
    agent.putPod('edited', spec('old'));
    const old = uidOf(await agent.ready('edited'));
    agent.putPod('edited', spec('new'));
    let looksWhileOldRuns = 0;
    const overlap = await eventually(agent, 'the new Pod has a sandbox', async () => {
      // In this order: an old container seen running after a new sandbox was seen did run beside it.
      const sandboxes = await agent.runtime.listPodSandboxes({}, options);
      const isNewThere = sandboxes.some((one) => one.name === `edited-${nodeName}` && one.podUid !== old);
      const isOldRunning = (await agent.containers(old)).some((one) => one.state === 'running');
      if (isNewThere) return { isOldRunning };
      if (isOldRunning) looksWhileOldRuns += 1;
      return undefined;
    });
    assert.equal(overlap.isOldRunning, false);
    assert.ok(looksWhileOldRuns > 0);
    await agent.ready('edited', (one) => uidOf(one) !== old);
    agent.remove('edited.json');
    await agent.gone('edited');
  });

  it('removes a Pod whose file is moved away, and runs it when it is back (C-071)', async () => {
    const uid = uidOf(await agent.ready('static-web'));
    const podDir = path.join(agent.rootDir, 'pods', uid);
    assert.ok(readdirSync(podDir).length > 0);
    assert.notEqual(cgroupsOf(uid), '');
    renameSync(file, aside);
    await agent.gone('static-web');
    assert.deepEqual(await agent.containers(uid), []);
    await eventually(agent, 'its cgroup is gone', () => (cgroupsOf(uid) === '' ? true : undefined));
    await eventually(agent, 'its folder is gone', () => (readdirSync(path.dirname(podDir)).includes(uid) ? undefined : true));
    renameSync(aside, file);
    const pod = await agent.ready('static-web');
    assert.equal(uidOf(pod), uid);
    assert.equal(restarts(pod), 0);
    await serves(pod);
  });

  it('gives volumes, environment, arguments and host ports to the container', async () => {
    const given = path.join(agent.dir, 'given');
    mkdirSync(given);
    writeFileSync(path.join(given, 'word'), 'from-the-host');
    const port = await freePort();
    agent.putPod('full', {
      volumes: [
        { name: 'given', hostPath: { path: given, type: 'Directory' } },
        { name: 'scratch', emptyDir: {} },
      ],
      containers: [
        {
          name: 'main',
          image: 'busybox',
          command: ['sh', '-c'],
          args: ['pwd; echo $(GREETING); echo x > /scratch/file; ls /scratch; cat /given/word; echo; exec httpd -f -p 8080 -h /given'],
          workingDir: '/tmp',
          env: [{ name: 'GREETING', value: 'hello' }],
          ports: [{ containerPort: 8080, hostPort: port }],
          volumeMounts: [
            { name: 'given', mountPath: '/given', readOnly: true },
            { name: 'scratch', mountPath: '/scratch' },
          ],
        },
      ],
      terminationGracePeriodSeconds: 1,
    });
    const pod = await agent.ready('full');
    assert.equal(await eventually(agent, 'the host port answers', () => bodyOf(`http://127.0.0.1:${port}/word`)), 'from-the-host');
    const logs = await agent.cli('logs', `full-${nodeName}`);
    assert.equal(logs.out, '/tmp\nhello\nfile\nfrom-the-host\n', logs.err);
    agent.remove('full.json');
    await agent.gone('full');
    assert.deepEqual(await agent.containers(uidOf(pod)), []);
    await assert.rejects(bodyOf(`http://127.0.0.1:${port}/word`));
  });

  it('runs a Pod in the host’s network', async () => {
    const port = await freePort();
    agent.putPod('host', {
      hostNetwork: true,
      containers: [{ name: 'main', image: 'busybox', command: ['httpd', '-f', '-p', `127.0.0.1:${port}`, '-h', '/www'] }],
      terminationGracePeriodSeconds: 1,
    });
    await agent.ready('host');
    await eventually(agent, 'it answers on the host', () => bodyOf(`http://127.0.0.1:${port}/`));
    agent.remove('host.json');
    await agent.gone('host');
  });

  it('stops in order with exit code 0, containers running on (L-501, H-346, H-477, C-522)', async () => {
    const pod = await agent.ready('static-web');
    const container = await agent.running(uidOf(pod));
    assert.equal(await agent.end('SIGTERM'), 0, agent.output);
    await serves(pod);
    // Whether containerd itself runs on is not asked: its shims hold the containers.
    assert.ok((await listProcesses()).some(({ pid }) => cgroupOf(pid).includes(container.id)));
  });
});

describe('the agent on a containerd that was there', { skip: whyNoContainerd('trixie') }, () => {
  let containerd: TestContainerd | undefined;
  let agent: TestAgent | undefined;

  after(async () => {
    await agent?.end('SIGKILL');
    await containerd?.stop();
    await agent?.destroy();
  });

  it('starts, restarts and removes a Pod by CRI events', async () => {
    const dirs: string[] = [];
    containerd = await startContainerd({ name: 'agent', version: 'trixie', cgroupParents: dirs });
    agent = new TestAgent({ endpoint: containerd.endpoint });
    dirs.push(agent.cgroupRoot.slice(1));
    await agent.configure();
    agent.put('static-web.yaml', staticWeb);
    await agent.start();
    const pod = await agent.ready('static-web');
    const old = await agent.running(uidOf(pod));
    await agent.killContainer(old.id);
    const again = await agent.ready('static-web', (one) => restarts(one) === 1);
    assert.equal((await agent.running(uidOf(again))).attempt, 1);
    assert.match(await bodyOf(`http://${again.status?.podIP}/`), /nginx/);
    agent.remove('static-web.yaml');
    await agent.gone('static-web');
    assert.deepEqual(await agent.runtime.listContainers({}, options), []);
    assert.equal(await agent.end('SIGTERM'), 0, agent.output);
  });
});
