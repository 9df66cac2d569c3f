// The private containerd on the real programs: it comes up, is found again, is restarted without harm to containers,
// and leaves nothing.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { readImageArchive, writeImageArchive } from '../../src/image/oci-archive.ts';
import { readProcess } from '../../src/runtime/containerd/process-table.ts';
import { CriRuntime } from '../../src/runtime/cri/cri-runtime.ts';
import { systemClock } from '../../src/std/clock.ts';
import { ConfigError, RuntimeError } from '../../src/std/errors.ts';
import { silentLogger } from '../../src/std/log.ts';
import { runProgram } from '../../src/std/process.ts';
import { containerConfig, sandboxConfig } from '../compliance/builders.ts';
import { type ContainerdRelease, offlineImages, startContainerd, type TestContainerd, whyNoContainerd } from '../support/containerd.ts';

const { signal } = new AbortController();
const o = { signal };

function connect(containerd: TestContainerd): CriRuntime {
  return new CriRuntime({ runtimeEndpoint: containerd.endpoint, requestTimeoutMs: 30_000 }, { clock: systemClock, logger: silentLogger });
}

/** nginx in a Pod of its own on the bridge, with the host port. */
async function runNginx(runtime: CriRuntime, hostPort: number): Promise<{ readonly sandboxId: string; readonly containerId: string }> {
  const uid = `nginx-${hostPort}`;
  const sandbox = {
    ...sandboxConfig({ uid, hostNetwork: false }),
    portMappings: [{ protocol: 'TCP' as const, containerPort: 80, hostPort, hostIp: '' }],
  };
  const sandboxId = await runtime.runPodSandbox({ config: sandbox, runtimeHandler: '' }, o);
  const image = await runtime.imageStatus({ image: offlineImages.nginx }, o);
  const config = { ...containerConfig(sandbox, { image: image?.id ?? '' }), logPath: '' };
  const containerId = await runtime.createContainer({ sandboxId, config, sandboxConfig: sandbox }, o);
  await runtime.startContainer(containerId, o);
  return { sandboxId, containerId };
}

function whenCalled(): { readonly called: Promise<void>; call(): void } {
  let call = (): void => undefined;
  const called = new Promise<void>((resolve) => {
    call = resolve;
  });
  return { called, call: () => call() };
}

/** The body, trying until the server listens. */
async function get(port: number): Promise<string> {
  for (let tries = 0; ; tries++) {
    try {
      return await new Promise<string>((resolve, reject) => {
        const request = http.get({ host: '127.0.0.1', port, agent: false, timeout: 2000 }, (response) => {
          let body = '';
          response.setEncoding('utf8').on('data', (chunk: string) => {
            body += chunk;
          });
          response.on('end', () => resolve(body));
        });
        request.on('error', reject).on('timeout', () => request.destroy(new Error('no answer')));
      });
    } catch (error) {
      if (tries > 100) throw error;
      await systemClock.sleep(50, signal);
    }
  }
}

/** The cgroup folders of a process in the mounted v1 hierarchies and in v2, other than roots. */
function cgroupsOf(pid: number): readonly string[] {
  const lines = readFileSync(`/proc/${pid}/cgroup`, 'utf8').trim().split('\n');
  return lines.flatMap((line) => {
    const [, controllers = '', ...group] = line.split(':');
    const name = group.join(':');
    const bases = controllers === '' ? ['', 'unified'] : [controllers.replace(/^name=/, '')];
    return name === '/' ? [] : bases.map((base) => path.join('/sys/fs/cgroup', base, name)).filter((folder) => existsSync(folder));
  });
}

const saveNat = async (): Promise<string> => (await runProgram('iptables-save', ['-t', 'nat'], o)).stdout;

for (const [index, version] of (['debian', 'trixie', 'sid'] as const satisfies readonly ContainerdRelease[]).entries()) {
  describe(`private containerd of ${version}`, { skip: whyNoContainerd(version) ?? false }, () => {
    const hostPort = 18_460 + index;
    let containerd: TestContainerd;
    let runtime: CriRuntime;

    before(async () => {
      containerd = await startContainerd({ version, name: 'priv' });
      runtime = connect(containerd);
    });
    after(async () => {
      runtime?.close();
      await containerd?.stop();
    });

    it('is ready with its images and its network', async () => {
      const status = await runtime.status({ verbose: false }, o);
      assert.deepEqual(
        status.conditions
          .filter((condition) => ['RuntimeReady', 'NetworkReady'].includes(condition.type))
          .map((condition) => condition.status),
        [true, true],
      );
      for (const image of Object.values(offlineImages)) assert.ok((await runtime.imageStatus({ image }, o)) !== undefined, image);
    });

    it('imports nothing twice', async () => {
      const pid = await containerd.pid();
      const info = await containerd.daemon.start(o);
      assert.deepEqual([info.attached, await containerd.pid()], [true, pid]);
      assert.deepEqual(new Set(info.imports.map((report) => report.outcome)), new Set(['present']));
    });

    it('serves a Pod at its address on the bridge and at its host port', async () => {
      const { sandboxId } = await runNginx(runtime, hostPort);
      assert.match(await get(hostPort), /Welcome to nginx/);
      const status = await runtime.podSandboxStatus(sandboxId, o);
      const prefix = containerd.subnet.replace('0/24', '');
      assert.ok(status?.ips[0]?.startsWith(prefix), `${status?.ips[0]} in ${containerd.subnet}`);
    });

    it('killed, is started again by the supervisor, and containers notice nothing', async () => {
      const [container] = await runtime.listContainers({}, o);
      assert.ok(container);
      const startedAt = (await runtime.containerStatus(container.id, o))?.startedAt;
      const stop = new AbortController();
      const restarted = whenCalled();
      const supervised = containerd.daemon.supervise({ signal: stop.signal, onRestarted: restarted.call });
      const old = await containerd.pid();
      process.kill(old ?? 0, 'SIGKILL');
      await restarted.called;
      assert.notEqual(await containerd.pid(), old);
      assert.match(await get(hostPort), /Welcome to nginx/);
      const fresh = connect(containerd);
      assert.equal((await fresh.containerStatus(container.id, o))?.startedAt, startedAt);
      fresh.close();
      stop.abort(new Error('end of test'));
      await supervised;
      assert.ok((await containerd.pid()) !== undefined, 'it outlives its supervisor');
    });

    it('found again by another agent, is watched although it is no child (D2)', async () => {
      const stop = new AbortController();
      const restarted = whenCalled();
      // What a new agent has: the same folders and nothing else.
      const second = containerd.sameFolders();
      const info = await second.start(o);
      assert.equal(info.attached, true);
      const supervised = second.supervise({ signal: stop.signal, onRestarted: restarted.call });
      await containerd.kill();
      await restarted.called;
      stop.abort(new Error('end of test'));
      await supervised;
    });

    it('is restarted alone when its configuration changes', async () => {
      const [container] = await runtime.listContainers({}, o);
      const old = await containerd.pid();
      const info = await containerd.sameFolders({ logLevel: 'debug' }).start(o);
      assert.equal(info.attached, false);
      assert.notEqual(await containerd.pid(), old);
      const fresh = connect(containerd);
      assert.equal((await fresh.containerStatus(container?.id ?? '', o))?.state, 'running');
      fresh.close();
    });

    it('says why it does not come up', async () => {
      await containerd.halt();
      const broken = containerd.sameFolders({ snapshotter: 'nonsense', launcher: ['/bin/sh', '-c', 'echo trouble ahead; exit 3', 'sh'] });
      await assert.rejects(broken.start(o), (error) => {
        assert.ok(error instanceof RuntimeError);
        assert.match(error.message, /exit code 3[\s\S]*trouble ahead/);
        return true;
      });
      await containerd.restart();
    });

    it('survives a power cut with its disk alone', async () => {
      await containerd.powerLoss();
      await containerd.restart();
      const fresh = connect(containerd);
      const [sandbox] = await fresh.listPodSandboxes({}, o);
      const [container] = await fresh.listContainers({}, o);
      assert.equal(sandbox?.state, 'notReady');
      assert.equal(container?.state, 'exited');
      fresh.close();
    });

    it('leaves nothing when destroyed with a Pod running', async () => {
      const fresh = connect(containerd);
      await fresh.removePodSandbox((await fresh.listPodSandboxes({}, o))[0]?.id ?? '', o);
      await runNginx(fresh, hostPort);
      assert.match(await saveNat(), new RegExp(containerd.bridge));
      const [task = ''] = (await containerd.ctr('tasks', 'list')).split('\n').slice(1);
      const pid = Number(task.split(/\s+/)[1]);
      assert.ok((await readProcess(pid)) !== undefined);
      const groups = cgroupsOf(pid);
      assert.ok(groups.length > 0);
      fresh.close();
      await containerd.stop();
      // Where init is slow to reap it, its shell is left for a moment.
      assert.ok((await readProcess(pid))?.isZombie ?? true);
      for (const group of groups) assert.ok(!existsSync(group), group);
      assert.ok(!(await saveNat()).includes(containerd.bridge));
      assert.ok(!readFileSync('/proc/self/mountinfo', 'utf8').includes(containerd.dir));
    });
  });
}

describe('private containerd beside another', { skip: whyNoContainerd() ?? false }, () => {
  let first: TestContainerd;
  before(async () => {
    first = await startContainerd({ name: 'first' });
  });
  after(() => first?.stop());

  it('refuses a subnet that is taken, and says by whom', async () => {
    const other = first.sameFolders({
      runDir: path.join(first.dir, 'other'),
      rootDir: path.join(first.dir, 'other'),
      bridge: `${first.bridge}b`,
    });
    await assert.rejects(other.start(o), (error) => {
      assert.ok(error instanceof ConfigError);
      assert.equal(error.code, 'subnet-conflict');
      assert.ok(error.message.includes(first.subnet) && error.message.includes(first.bridge), error.message);
      return true;
    });
  });

  it('refuses a bridge that is somebody else’s', async () => {
    const other = first.sameFolders({ runDir: path.join(first.dir, 'other'), rootDir: path.join(first.dir, 'other') });
    await assert.rejects(other.start(o), (error) => error instanceof ConfigError && error.code === 'bridge-conflict');
  });

  it('makes its own pause image where no archive has one', async () => {
    const archives: string[] = [];
    const alone = first.sameFolders(
      { pauseImage: 'example.test/pause:1' },
      {
        makePauseArchive: async (reference) => {
          archives.push(reference);
          return writeImageArchive({ reference, architecture: 'amd64', entries: [], config: { Entrypoint: ['/pause'] } });
        },
        readArchive: readImageArchive,
      },
    );
    await alone.start(o);
    await alone.start(o);
    assert.deepEqual(archives, ['example.test/pause:1'], 'once');
    assert.match(await first.ctr('images', 'list', '-q'), /example\.test\/pause:1/);
  });

  it('reports an archive that is none and imports the others', async () => {
    const imagesDir = path.join(first.dir, 'mixed');
    mkdirSync(imagesDir);
    writeFileSync(path.join(imagesDir, 'a-broken.tar'), 'no archive');
    writeFileSync(path.join(imagesDir, '.hidden.tar'), 'no archive');
    writeFileSync(path.join(imagesDir, 'notes.txt'), 'no archive');
    const good = { reference: 'example.test/good:1', architecture: 'amd64', entries: [], config: { Entrypoint: ['/good'] } };
    writeFileSync(path.join(imagesDir, 'good.tar'), await writeImageArchive(good));
    const { imports } = await first.sameFolders({ imagesDir }).start(o);
    assert.deepEqual(
      imports.map((report) => [path.basename(report.file), report.outcome]),
      [
        ['a-broken.tar', 'failed'],
        ['good.tar', 'imported'],
      ],
    );
    const changed = { ...good, config: { Entrypoint: ['/better'] } };
    writeFileSync(path.join(imagesDir, 'good.tar'), await writeImageArchive(changed));
    const again = await first.sameFolders({ imagesDir }).start(o);
    assert.deepEqual(again.imports[1]?.outcome, 'imported', 'an archive with new content replaces the image');
  });

  it('ends Pods in order when the runtime still answers', async () => {
    const runtime = connect(first);
    await runNginx(runtime, 18_470);
    assert.match(await get(18_470), /Welcome/);
    await first.daemon.destroy({ signal, runtime, cgroupParents: [] });
    runtime.close();
    assert.equal(await first.pid(), undefined);
    assert.ok(!(await saveNat()).includes(first.bridge));
  });
});

describe('private containerd with shared mounts', { skip: whyNoContainerd() ?? false }, () => {
  let containerd: TestContainerd;
  before(async () => {
    containerd = await startContainerd({ name: 'shared', sharedMounts: true });
  });
  after(() => containerd?.stop());

  it('lets a volume be mounted with HostToContainer propagation', async () => {
    const runtime = connect(containerd);
    const sandbox = sandboxConfig({ uid: 'shared' });
    const sandboxId = await runtime.runPodSandbox({ config: sandbox, runtimeHandler: '' }, o);
    const image = (await runtime.imageStatus({ image: offlineImages.busybox }, o))?.id ?? '';
    const hostPath = path.join(containerd.dir, 'volume');
    mkdirSync(hostPath);
    const mount = {
      containerPath: '/v',
      hostPath,
      readonly: false,
      seLinuxRelabel: false,
      propagation: 'hostToContainer' as const,
      recursiveReadOnly: false,
    };
    const config = { ...containerConfig(sandbox, { image, command: ['sleep', '100'] }), logPath: '', mounts: [mount] };
    const id = await runtime.createContainer({ sandboxId, config, sandboxConfig: sandbox }, o);
    await runtime.startContainer(id, o);
    assert.equal((await runtime.containerStatus(id, o))?.state, 'running');
    runtime.close();
  });
});
