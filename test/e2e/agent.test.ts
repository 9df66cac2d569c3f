// The whole agent as a process of its own on real containerd: issue 2's main job, from a file in a folder to a container
// that serves, and back. The parts of a group follow each other on one agent.
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Pod } from '../../src/api/gen/kubernetes.ts';
import { AgentClient } from '../../src/cli/client.ts';
import { readImageArchive } from '../../src/image/oci-archive.ts';
import type { ObservedContainer, ObservedSandbox } from '../../src/pod/observation.ts';
import { mountsBelow } from '../../src/runtime/containerd/mounts.ts';
import { PrivateContainerd } from '../../src/runtime/containerd/private-containerd.ts';
import { listProcesses } from '../../src/runtime/containerd/process-table.ts';
import { CriRuntime } from '../../src/runtime/cri/cri-runtime.ts';
import type { ManifestList } from '../../src/server/agent-api.ts';
import { systemClock } from '../../src/std/clock.ts';
import { silentLogger } from '../../src/std/log.ts';
import { runProgram } from '../../src/std/process.ts';
import { imagesDir, offlineImages, startContainerd, type TestContainerd, whyNoContainerd } from '../support/containerd.ts';
import { Kubectl, whyNoKubectl } from '../support/kubectl.ts';

const checkout = path.join(import.meta.dirname, '..', '..');
const options = { signal: new AbortController().signal };
const nodeName = 'edge1';
const staticWeb = readFileSync(path.join(checkout, 'examples', 'static-web.yaml'), 'utf8');

/** Resolves to the first value of `look` that is not undefined; after 20 s fails with what the agent said last. */
async function eventually<T>(agent: TestAgent, what: string, look: () => Promise<T | undefined> | T | undefined): Promise<T> {
  const end = systemClock.now() + 20_000;
  let lastError: unknown;
  for (;;) {
    try {
      const value = await look();
      if (value !== undefined) return value;
    } catch (error) {
      lastError = error;
    }
    if (systemClock.now() > end || agent.hasFailed)
      throw new Error(
        `${what}: not so${agent.hasFailed ? ', the agent ended' : ' within 20 s'}; the agent said:\n${agent.output.slice(-3000)}`,
        { cause: lastError },
      );
    await systemClock.sleep(25, options.signal);
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  assert.ok(address !== null && typeof address === 'object');
  return address.port;
}

interface CommandResult {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

let agents = 90;

/** An agent with folders, bridge and cgroups of its own. `endpoint`: of a containerd that the test has already. */
class TestAgent {
  // Named as startContainerd names its own, so that what a killed run left is swept with them.
  readonly #number = agents++;
  readonly dir = `/tmp/ppt-${process.pid}-agent${this.#number}`;
  readonly rootDir = path.join(this.dir, 'root');
  readonly runDir = path.join(this.dir, 'run');
  readonly folder = path.join(this.dir, 'manifests');
  readonly kubeconfig = path.join(this.runDir, 'kubeconfig.yaml');
  readonly cgroupRoot = `/${path.basename(this.dir)}`;
  readonly bridge = `ppt${process.pid}x${this.#number}`;
  readonly client = new AgentClient({ socketPath: path.join(this.runDir, 'pinpod.sock') });
  readonly runtime: CriRuntime;
  readonly daemon: PrivateContainerd;
  output = '';
  readonly #endpoint: string | undefined;
  #process: ChildProcess | undefined;

  constructor(endpoint?: string) {
    this.#endpoint = endpoint;
    this.daemon = new PrivateContainerd(
      {
        rootDir: this.rootDir,
        runDir: this.runDir,
        pauseImage: offlineImages.pause,
        imagesDir: undefined,
        cgroupDriver: 'cgroupfs',
        subnets: [],
        bridge: this.bridge,
        binDirs: [],
        cniBinDirs: [],
        env: process.env,
      },
      {
        clock: systemClock,
        log: silentLogger,
        probe: async () => undefined,
        readArchive: readImageArchive,
        makePauseArchive: async () => undefined,
      },
    );
    this.runtime = new CriRuntime(
      { runtimeEndpoint: endpoint ?? this.daemon.endpoint, requestTimeoutMs: 10_000 },
      { clock: systemClock, logger: silentLogger },
    );
  }

  async configure(): Promise<void> {
    mkdirSync(this.folder, { recursive: true });
    const kubelet = {
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      staticPodPath: this.folder,
      podLogsDir: path.join(this.rootDir, 'logs'),
      cgroupRoot: this.cgroupRoot,
      cgroupDriver: 'cgroupfs',
      enforceNodeAllocatable: ['none'],
    };
    const agent = {
      apiVersion: 'pinpod.io/v1alpha1',
      kind: 'AgentConfiguration',
      rootDir: this.rootDir,
      runDir: this.runDir,
      imagesDir,
      kubeAPI: { port: await freePort() },
      privateContainerd: { mode: this.#endpoint === undefined ? 'always' : 'never', bridge: this.bridge, pauseImage: offlineImages.pause },
    };
    writeFileSync(path.join(this.dir, 'config.yaml'), `${JSON.stringify(kubelet)}\n---\n${JSON.stringify(agent)}\n`);
  }

  get #flags(): readonly string[] {
    const endpoint = this.#endpoint === undefined ? [] : ['--container-runtime-endpoint', this.#endpoint];
    return ['--config', path.join(this.dir, 'config.yaml'), '--hostname-override', nodeName, ...endpoint];
  }

  /** Resolves once the agent answers on its socket. */
  async start(): Promise<void> {
    const node = path.join(checkout, 'node_modules', '.bin', 'node');
    // It ends with the test, however that ends.
    const command = ['--pdeathsig', 'KILL', node, path.join(checkout, 'src', 'main.ts'), 'run', ...this.#flags];
    const child = spawn('setpriv', command, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#process = child;
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.output += text;
    });
    await eventually(this, 'the agent answers', () => this.pods());
  }

  /** It ended although nobody asked it to. */
  get hasFailed(): boolean {
    return (this.#process?.exitCode ?? undefined) !== undefined;
  }

  /** The exit code; null after SIGKILL. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined) return null;
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const exited = once(child, 'exit') as Promise<[number | null]>;
    child.kill(signal);
    return (await exited)[0];
  }

  /** As an editor that renames does it: the file is whole at once. */
  put(name: string, text: string | Buffer): void {
    const temporary = path.join(this.dir, `${name}.new`);
    writeFileSync(temporary, text);
    renameSync(temporary, path.join(this.folder, name));
  }

  putPod(name: string, spec: Pod['spec']): void {
    this.put(`${name}.json`, JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec }));
  }

  remove(name: string): void {
    rmSync(path.join(this.folder, name));
  }

  async pods(): Promise<readonly Pod[]> {
    return ((await this.client.json('/api/v1/pods', options)) as { readonly items: readonly Pod[] }).items;
  }

  async pod(name: string): Promise<Pod | undefined> {
    return (await this.pods()).find((pod) => pod.metadata?.name === `${name}-${nodeName}`);
  }

  ready(name: string, isIt: (pod: Pod) => boolean = () => true): Promise<Pod> {
    return eventually(this, `${name} is ready`, async () => {
      const pod = await this.pod(name);
      const isReady = pod?.status?.conditions?.some((condition) => condition.type === 'Ready' && condition.status === 'True') === true;
      return pod !== undefined && isReady && isIt(pod) ? pod : undefined;
    });
  }

  gone(name: string): Promise<true> {
    return eventually(this, `${name} is gone`, async () => {
      if ((await this.pod(name)) !== undefined) return undefined;
      const left = (await this.runtime.listPodSandboxes({}, options)).filter((sandbox) => sandbox.name === `${name}-${nodeName}`);
      return left.length === 0 ? true : undefined;
    });
  }

  async sandboxes(podUid: string): Promise<readonly ObservedSandbox[]> {
    return await this.runtime.listPodSandboxes({ podUid }, options);
  }

  /** Newest first. */
  async containers(podUid: string): Promise<readonly ObservedContainer[]> {
    const all = await this.runtime.listContainers({ podUid }, options);
    return [...all].sort((a, b) => b.attempt - a.attempt);
  }

  async running(podUid: string): Promise<ObservedContainer> {
    const running = (await this.containers(podUid)).filter((container) => container.state === 'running');
    assert.equal(running.length, 1);
    return running[0] as ObservedContainer;
  }

  /** SIGKILL to the container's first process, as the OOM killer does it. */
  async killContainer(id: string): Promise<void> {
    // Its shim is its parent, and its cgroup ends with its id.
    const pids = (await listProcesses()).filter(({ pid }) => cgroupOf(pid).includes(id)).map(({ pid }) => pid);
    assert.ok(pids.length > 0, `no process of container ${id}`);
    process.kill(Math.min(...pids), 'SIGKILL');
  }

  cli(...args: readonly string[]): Promise<CommandResult> {
    return new Promise((resolve) => {
      execFile(
        path.join(checkout, 'node_modules', '.bin', 'node'),
        [path.join(checkout, 'src', 'main.ts'), ...args, '--run-dir', this.runDir],
        { timeout: 20_000 },
        (error, out, err) => resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, out, err }),
      );
    });
  }

  async verdicts(): Promise<ReadonlyMap<string, ManifestList['manifests'][number]>> {
    const { out } = await this.cli('manifests', '-o', 'json');
    const list = JSON.parse(out) as ManifestList;
    return new Map(list.manifests.map((manifest) => [path.basename(manifest.path), manifest]));
  }

  /** Takes everything down, whatever state it is in. */
  async destroy(): Promise<void> {
    await this.end('SIGKILL');
    try {
      if (this.#endpoint === undefined) await this.daemon.destroy({ ...options, runtime: this.runtime, cgroupParents: [this.cgroupRoot] });
    } finally {
      this.runtime.close();
    }
    for (const point of mountsBelow(readFileSync('/proc/self/mountinfo', 'utf8'), this.dir))
      await runProgram('umount', ['--lazy', point], options);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

function cgroupOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cgroup`, 'utf8');
  } catch {
    return '';
  }
}

const cgroupsOf = (uid: string): string =>
  execFileSync('find', ['/sys/fs/cgroup', '-type', 'd', '-name', `pod${uid}`, '-prune'], { encoding: 'utf8' });

const uidOf = (pod: Pod): string => pod.metadata?.annotations?.['kubernetes.io/config.hash'] ?? '';
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

  it('is shown by pinpod get, pinpod logs and kubectl', async () => {
    const pod = await agent.ready('static-web');
    await serves(pod);
    const got = await agent.cli('get', 'pods');
    assert.match(got.out, /^NAME +READY +STATUS +RESTARTS +AGE\nstatic-web-edge1 +1\/1 +Running +1 \(.* ago\) +\S+\n$/);
    const logs = await agent.cli('logs', `static-web-${nodeName}`);
    assert.equal(logs.code, 0, logs.err);
    assert.match(logs.out, /"GET \/ HTTP\/1\.1" 200/);
    if (whyNoKubectl() !== undefined) return;
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

  it('removes a Pod whose file is moved away, and runs it when it is back', async () => {
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

  it('stops in order with exit code 0, containers running on', async () => {
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
    agent = new TestAgent(containerd.endpoint);
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
