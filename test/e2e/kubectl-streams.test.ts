// logs, exec, attach, cp and port-forward with the real kubectl, through our API server, to a real containerd.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { runtimeView } from '../../src/agent/runtime-view.ts';
import { criKeys } from '../../src/pod/observation.ts';
import { CriRuntime } from '../../src/runtime/cri/cri-runtime.ts';
import { KubeServer } from '../../src/server/kube-server.ts';
import { systemClock } from '../../src/std/clock.ts';
import { silentLogger } from '../../src/std/log.ts';
import { systemRandom } from '../../src/std/random.ts';
import { containerConfig, sandboxConfig } from '../compliance/builders.ts';
import { type ContainerdRelease, offlineImages, startContainerd, type TestContainerd, whyNoContainerd } from '../support/containerd.ts';
import { fakeViews, podOf, runningStatus } from '../support/fake-views.ts';
import { testVersion } from '../support/kube-version.ts';
import { Kubectl, type KubectlVersion, whyNoKubectl } from '../support/kubectl.ts';

const { signal } = new AbortController();
const sha256 = (bytes: string | Buffer): string => createHash('sha256').update(bytes).digest('hex');

// containerd 1.6, 1.7 and 2.x: their streaming servers differ.
const pairs: readonly (readonly [kubectl: KubectlVersion, containerd: ContainerdRelease])[] = [
  ['1.32', 'debian'],
  ['1.36', 'trixie'],
  ['1.36', 'sid'],
];
for (const [version, release] of pairs)
  describe(`kubectl ${version} through to containerd of ${release}`, { skip: whyNoContainerd(release) ?? whyNoKubectl(version) }, () => {
    let containerd: TestContainerd;
    let runtime: CriRuntime;
    let server: KubeServer;
    let kubectl: Kubectl;
    let containerId = '';
    let dir = '';

    before(async () => {
      containerd = await startContainerd({ name: 'kctl', version: release });
      dir = await mkdtemp('/tmp/kctl-');
      runtime = new CriRuntime(
        { runtimeEndpoint: containerd.endpoint, requestTimeoutMs: 20_000 },
        { clock: systemClock, logger: silentLogger },
      );
      const uid = 'uid-web-node1';
      const logDirectory = path.join(dir, 'pods', `default_web-node1_${uid}`);
      const sandbox = sandboxConfig({ uid, name: 'web-node1', hostNetwork: false, logDirectory });
      await mkdir(logDirectory, { recursive: true });
      const sandboxId = await runtime.runPodSandbox({ config: sandbox, runtimeHandler: '' }, { signal });
      const command = [
        'sh',
        '-c',
        'echo started; echo oops >&2; cd /www; httpd -p 8081; n=0; while true; do n=$((n+1)); echo line $n; sleep 1; done',
      ];
      const config = containerConfig(sandbox, { name: 'httpd', image: offlineImages.busybox, command });
      containerId = await runtime.createContainer({ sandboxId, config, sandboxConfig: sandbox }, { signal });
      await runtime.startContainer(containerId, { signal });
      const pod = podOf({
        uid,
        spec: { containers: [{ name: 'httpd', image: 'busybox', ports: [{ name: 'http', containerPort: 8081 }] }] },
        status: runningStatus('httpd', `containerd://${containerId}`),
      });
      const kubeconfigPath = path.join(dir, 'kubeconfig');
      server = new KubeServer(
        {
          version: testVersion,
          manifestLocation: '/etc/pinpod/manifests',
          socketPath: path.join(dir, 's.sock'),
          https: { address: '127.0.0.1', port: 0, names: [], pkiDir: path.join(dir, 'pki'), kubeconfigPath },
        },
        { ...fakeViews([pod]), runtime: runtimeView(runtime), health: [], clock: systemClock, random: systemRandom, log: silentLogger },
      );
      await server.start();
      kubectl = new Kubectl(kubeconfigPath, version);
      assert.equal((await runtime.listContainers({ podUid: uid }, { signal }))[0]?.labels[criKeys.containerName], 'httpd');
    });

    after(async () => {
      await server?.stop();
      runtime?.close();
      await containerd?.stop();
      if (dir !== '') await rm(dir, { recursive: true });
    });

    test('C-350 C-352: logs, both streams, cut as asked', async () => {
      let all = await kubectl.run(['logs', 'web-node1']);
      // The container has only just started.
      while (!all.out.includes('line 3\n')) all = await kubectl.run(['logs', 'web-node1']);
      // Each stream is in order; between the two the runtime decides.
      assert.deepEqual(all.out.split('\n').slice(0, 3).sort(), ['line 1', 'oops', 'started']);
      assert.equal((await kubectl.run(['logs', 'web-node1', '--tail=0'])).out, '');
      assert.match((await kubectl.run(['logs', 'web-node1', '--tail=2'])).out, /^line \d+\nline \d+\n$/);
      assert.equal((await kubectl.run(['logs', 'web-node1', '--limit-bytes=7'])).out.length, 7);
      const timed = await kubectl.run(['logs', 'web-node1', '--timestamps', '--tail=1']);
      assert.match(timed.out, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}\S* line \d+$/m);
    });

    test('C-370 C-371 C-374: exec, its streams and its exit code', async () => {
      for (const env of [{}, { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'false' }]) {
        assert.deepEqual(await kubectl.run(['exec', 'web-node1', '--', 'echo', 'hi'], { env }), { code: 0, out: 'hi\n', err: '' });
        const failed = await kubectl.run(['exec', 'web-node1', '--', 'sh', '-c', 'echo out; echo err >&2; exit 3'], { env });
        assert.deepEqual([failed.code, failed.out], [3, 'out\n']);
        assert.match(failed.err, /^err\n(?:.*\n)*command terminated with exit code 3\n$/);
        const missing = await kubectl.run(['exec', 'web-node1', '--', 'nosuch'], { env });
        assert.equal(missing.code, 1);
        assert.match(missing.err, /executable file not found in \$PATH/);
      }
    });

    test('C-372: stdin arrives whole and ends', async () => {
      const data = randomBytes(10 * 1024 * 1024);
      const sum = await kubectl.run(['exec', '-i', 'web-node1', '--', 'sha256sum'], { input: data });
      assert.equal(sum.out.split(' ')[0], sha256(data));
      assert.deepEqual((await kubectl.run(['exec', '-i', 'web-node1', '--', 'cat'], { input: 'abc' })).out, 'abc');
    });

    test('C-375 C-376: who is not there cannot be executed in', async () => {
      const gone = await kubectl.run(['exec', 'nope', '--', 'ls']);
      assert.deepEqual([gone.code, gone.err], [1, 'Error from server (NotFound): pods "nope" not found\n']);
      const other = await kubectl.run(['exec', 'web-node1', '-c', 'nope', '--', 'ls']);
      assert.equal(other.code, 1);
      assert.match(other.err, /container nope is not valid for pod web-node1/);
    });

    test('C-379: attach sees what the container writes', async () => {
      const child = kubectl.start(['attach', 'web-node1']);
      const text = await new Promise<string>((resolve) => {
        let seen = '';
        child.stdout?.on('data', (data: Buffer) => {
          seen += data.toString();
          if (/line \d+\nline \d+\n/.test(seen)) resolve(seen);
        });
        child.on('exit', () => resolve(`exited early: ${seen}`));
      });
      child.kill();
      assert.match(text, /line \d+\nline \d+\n/);
    });

    test('C-390 C-391: port-forward, many connections at once', async () => {
      await kubectl.run(['exec', 'web-node1', '--', 'sh', '-c', 'dd if=/dev/urandom of=/www/big bs=1M count=5 2>/dev/null']);
      const expected = (await kubectl.run(['exec', 'web-node1', '--', 'sha256sum', '/www/big'])).out.split(' ')[0];
      const child = kubectl.start(['port-forward', 'pod/web-node1', ':http']);
      const port = await new Promise<string>((resolve, reject) => {
        child.stdout?.on('data', (data: Buffer) => {
          const match = /Forwarding from 127\.0\.0\.1:(\d+) -> 8081/.exec(data.toString());
          if (match?.[1] !== undefined) resolve(match[1]);
        });
        child.stderr?.on('data', (data: Buffer) => reject(new Error(data.toString())));
      });
      const sums = await Promise.all(
        Array.from({ length: 10 }, async () => sha256(Buffer.from(await (await fetch(`http://127.0.0.1:${port}/big`)).arrayBuffer()))),
      );
      child.kill();
      assert.deepEqual([...new Set(sums)], [expected]);
    });

    test('C-395: cp both ways', async () => {
      const local = path.join(dir, 'up');
      await writeFile(local, randomBytes(3 * 1024 * 1024 + 17));
      assert.equal((await kubectl.run(['cp', local, 'web-node1:/tmp/f'])).code, 0);
      assert.equal((await kubectl.run(['cp', 'web-node1:/tmp/f', path.join(dir, 'down')])).code, 0);
      assert.equal(sha256(await readFile(path.join(dir, 'down'))), sha256(await readFile(local)));
    });

    test('C-380: 20 at once', async () => {
      const results = await Promise.all(Array.from({ length: 20 }, (_, i) => kubectl.run(['exec', 'web-node1', '--', 'echo', String(i)])));
      assert.deepEqual(
        results.map((r) => r.out),
        Array.from({ length: 20 }, (_, i) => `${i}\n`),
      );
    });

    test('C-410: deleting the view leaves the container alone', async () => {
      const uid = async (): Promise<string> => (await kubectl.run(['get', 'pod', 'web-node1', '-o', 'jsonpath={.metadata.uid}'])).out;
      const before = await uid();
      const deleted = await kubectl.run(['delete', 'pod', 'web-node1'], { timeoutMs: 5000 });
      assert.deepEqual([deleted.code, deleted.err], [0, 'Warning: static pod: containers keep running; remove its manifest to stop it\n']);
      assert.match(deleted.out, /^pod "web-node1" deleted( from default namespace)?\n$/);
      assert.notEqual(await uid(), before);
      assert.equal((await runtime.containerStatus(containerId, { signal }))?.state, 'running');
    });

    test('C-353: a followed log survives rotation and ends with the container', async () => {
      const child = kubectl.start(['logs', '-f', 'web-node1', '--tail=1']);
      let seen = '';
      const twoLines = new Promise<void>((resolve) => {
        child.stdout?.on('data', (data: Buffer) => {
          seen += data.toString();
          if (seen.split('\n').length > 2) resolve();
        });
      });
      const ended = new Promise<number | null>((resolve) => {
        child.on('exit', resolve);
      });
      await twoLines;
      const { logPath } = (await runtimeView(runtime).container(containerId, { signal })) ?? { logPath: '' };
      await rename(logPath, `${logPath}.20260101-000000`);
      await runtime.reopenContainerLog(containerId, { signal });
      const before = seen.length;
      await new Promise<void>((resolve) => {
        child.stdout?.on('data', () => {
          if (seen.length > before + 16) resolve();
        });
      });
      await runtime.stopContainer({ containerId, timeoutSeconds: 0 }, { signal });
      assert.equal(await ended, 0);
      const numbers = seen
        .trimEnd()
        .split('\n')
        .map((line) => Number(line.replace('line ', '')));
      assert.deepEqual(
        numbers,
        numbers.map((_, i) => (numbers[0] ?? 0) + i),
        'no line lost, none twice',
      );
    });
  });
