// Requests, volumes and cgroups together on real containerd: what the container sees is what its manifest says.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import type { Container, PodSpec } from '../../src/api/gen/kubernetes.ts';
import { allContainers, type Pod } from '../../src/api/pod.ts';
import { realCgroupFiles } from '../../src/cgroup/cgroup-files.ts';
import { detectCgroupLayout } from '../../src/cgroup/layout.ts';
import { PodCgroups } from '../../src/cgroup/pod-cgroups.ts';
import { buildContainerConfig } from '../../src/pod/container-config.ts';
import type { NodeFacts } from '../../src/pod/node-facts.ts';
import { buildSandboxConfig } from '../../src/pod/sandbox-config.ts';
import { CriRuntime } from '../../src/runtime/cri/cri-runtime.ts';
import { systemClock } from '../../src/std/clock.ts';
import { silentLogger } from '../../src/std/log.ts';
import { signalProcess } from '../../src/std/process.ts';
import { systemRandom } from '../../src/std/random.ts';
import { programMounter } from '../../src/volume/mounter.ts';
import { Volumes } from '../../src/volume/volumes.ts';
import { offlineImages, startContainerd, type TestContainerd, whyNoContainerd } from '../support/containerd.ts';
import { buildNode } from '../support/node-facts.ts';
import { buildContainer, buildPod } from '../support/pods.ts';

const options = { signal: new AbortController().signal };
const cgroupRoot = `/pinpod-requests-${process.pid}`;

describe('requests on real containerd', { skip: whyNoContainerd() }, () => {
  let containerd: TestContainerd;
  let runtime: CriRuntime;
  let volumes: Volumes;
  let cgroups: PodCgroups;
  let node: NodeFacts;

  before(async () => {
    containerd = await startContainerd({ name: 'requests', cgroupParents: [cgroupRoot.slice(1)] });
    runtime = new CriRuntime(
      { runtimeEndpoint: containerd.endpoint, requestTimeoutMs: 120_000 },
      { clock: systemClock, logger: silentLogger },
    );
    volumes = new Volumes(
      { rootDir: `${containerd.dir}/root` },
      { mounter: programMounter, clock: systemClock, random: systemRandom, log: silentLogger },
    );
    const layout = detectCgroupLayout({
      mounts: await readFile('/proc/self/mounts', 'utf8'),
      selfCgroup: await readFile('/proc/self/cgroup', 'utf8'),
    });
    const cgroup = { version: layout.version, driver: 'cgroupfs', root: cgroupRoot, perQos: true, swapController: false } as const;
    const kill = (pid: number): void => {
      signalProcess(pid, 'SIGKILL');
    };
    cgroups = new PodCgroups({ layout, cgroup }, { files: realCgroupFiles, kill, clock: systemClock, log: silentLogger });
    node = buildNode({ cgroup, podLogsDir: `${containerd.dir}/logs`, hostsFile: await readFile('/etc/hosts', 'utf8') });
    await cgroups.start(node, node.capacity, -1);
  });

  after(async () => {
    runtime?.close();
    await containerd?.stop();
  });

  /** Runs the Pod's containers, gives what `look` finds, and takes everything down again. */
  async function withPod<T>(pod: Pod, look: (exec: (container: string, script: string) => Promise<string>) => Promise<T>): Promise<T> {
    await cgroups.ensure(pod, node);
    await volumes.setUp(pod, node, options);
    const sandbox = buildSandboxConfig(pod, { node, attempt: 0 });
    assert.ok(!('reason' in sandbox), JSON.stringify(sandbox));
    const sandboxId = await runtime.runPodSandbox(sandbox, options);
    try {
      const podIps = (await runtime.podSandboxStatus(sandboxId, options))?.ips ?? [];
      const ids = new Map<string, string>();
      for (const container of allContainers(pod.spec)) {
        const envFiles = await volumes.envFiles(pod, container);
        const mounts = await volumes.mounts(pod, container, { node, attempt: 0, podIps, envFiles, imageVolumes: new Map() }, options);
        const context = { node, attempt: 0, imageRef: container.image ?? '', imageUser: undefined, podIps, mounts, envFiles };
        const built = buildContainerConfig(pod, container, context);
        assert.ok(!('reason' in built), JSON.stringify(built));
        const id = await runtime.createContainer({ sandboxId, config: built.config, sandboxConfig: sandbox.config }, options);
        await runtime.startContainer(id, options);
        ids.set(container.name, id);
      }
      return await look(async (container, script) => {
        const command = ['sh', '-c', script];
        const result = await runtime.execSync({ containerId: ids.get(container) ?? '', command, timeoutSeconds: 10 }, options);
        return Buffer.from(result.stdout).toString().trimEnd() + Buffer.from(result.stderr).toString().trimEnd();
      });
    } finally {
      await runtime.stopPodSandbox(sandboxId, options);
      await runtime.removePodSandbox(sandboxId, options);
      await volumes.remove(pod.metadata.uid, options);
      await cgroups.remove(pod.metadata.uid, options);
    }
  }

  function podOf(uid: string, container: Partial<Container>, spec: Partial<PodSpec> = {}): Pod {
    const app = buildContainer({
      image: offlineImages.busybox,
      command: ['sh', '-c', 'trap "exit 0" TERM; sleep 600 & wait'],
      ...container,
    });
    return buildPod({ containers: [app], ...spec }, { name: uid, uid, labels: { app: 'x' } });
  }

  it('L-197, L-204, L-223, L-226, L-236, L-241, L-243, L-244, L-316, L-325, L-333: variables, hosts file, name, resolver, volumes, subpath, termination log', async () => {
    const pod = podOf(
      'files',
      {
        env: [
          { name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
          { name: 'URL', value: 'http://$(IP)/' },
        ],
        terminationMessagePath: '/dev/termination-log',
        volumeMounts: [
          { name: 'data', mountPath: '/data' },
          { name: 'data', mountPath: '/sub', subPath: 'a/b' },
          { name: 'info', mountPath: '/info' },
          { name: 'mem', mountPath: '/mem' },
          { name: 'host', mountPath: '/conf', readOnly: true },
        ],
      },
      {
        hostname: 'box',
        dnsPolicy: 'None',
        dnsConfig: { nameservers: ['192.0.2.1'], searches: ['lab.example'], options: [{ name: 'ndots', value: '2' }] },
        hostAliases: [{ ip: '192.0.2.9', hostnames: ['db'] }],
        securityContext: { fsGroup: 2000, runAsUser: 1000 },
        volumes: [
          { name: 'data', emptyDir: {} },
          {
            name: 'info',
            projected: { sources: [{ downwardAPI: { items: [{ path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } }] } }] },
          },
          { name: 'mem', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
          { name: 'host', hostPath: { path: `${containerd.dir}/conf`, type: 'DirectoryOrCreate' } },
        ],
      },
    );
    await withPod(pod, async (exec) => {
      const ip = await exec('app', 'echo $IP');
      assert.match(ip, /^\d+\.\d+\.\d+\.\d+$/);
      assert.equal(await exec('app', 'echo $URL'), `http://${ip}/`);
      assert.equal(await exec('app', 'hostname'), 'box');
      assert.match(
        await exec('app', 'cat /etc/hosts'),
        new RegExp(`${ip}\tbox\n\n# Entries added by HostAliases\\.\n192\\.0\\.2\\.9\tdb$`),
      );
      assert.equal(await exec('app', 'cat /etc/resolv.conf'), 'search lab.example\nnameserver 192.0.2.1\noptions ndots:2');
      assert.equal(await exec('app', 'id -u; id -G'), '1000\n0 2000');
      assert.equal(await exec('app', 'cat /info/labels'), 'app="x"');
      assert.equal(await exec('app', 'echo hi > /sub/f && cat /data/a/b/f'), 'hi');
      assert.equal(await exec('app', 'stat -c %g /data/a/b/f'), '2000');
      assert.match(await exec('app', 'dd if=/dev/zero of=/mem/x bs=1000 count=2000'), /No space left/);
      assert.match(await exec('app', 'touch /conf/x'), /Read-only/);
      assert.match(await exec('app', 'touch /info/x'), /Read-only/);
      await exec('app', 'echo last words > /dev/termination-log');
      const folder = await volumes.podDirectory('files');
      assert.equal(await readFile(`${folder}/containers/app/00000000`, 'utf8'), 'last words\n');
    });
    assert.equal(existsSync(`${containerd.dir}/root/pods/files`), false);
  });

  it('L-249, L-294, L-297, C-372: limits reach the container and its Pod', async () => {
    const resources = { requests: { cpu: '250m', memory: '32Mi' }, limits: { cpu: '500m', memory: '64Mi' } };
    const pod = podOf('limits', { resources });
    const { version } = node.cgroup;
    await withPod(pod, async () => {
      const base = version === 2 ? '/sys/fs/cgroup' : '/sys/fs/cgroup/memory';
      const file = version === 2 ? 'memory.max' : 'memory.limit_in_bytes';
      const podPath = `${base}${cgroupRoot}/kubepods/burstable/podlimits`;
      assert.equal((await readFile(`${podPath}/${file}`, 'utf8')).trim(), String(64 * 2 ** 20));
      const children = (await realCgroupFiles.directories(podPath)) ?? [];
      const limits = await Promise.all(children.map(async (child) => (await readFile(`${podPath}/${child}/${file}`, 'utf8')).trim()));
      assert.ok(limits.includes(String(64 * 2 ** 20)), `${children.join()} ${limits.join()}`);
    });
    assert.equal(await cgroups.exists(pod), false);
  });

  it('L-195, L-242, L-259 … L-261, L-263, C-362, C-365: namespaces, capabilities, read-only root, seccomp', async () => {
    const pod = podOf(
      'secure',
      {
        securityContext: {
          readOnlyRootFilesystem: true,
          allowPrivilegeEscalation: false,
          capabilities: { drop: ['ALL'] },
          seccompProfile: { type: 'RuntimeDefault' },
        },
      },
      {
        hostNetwork: true,
        shareProcessNamespace: true,
        securityContext: { runAsUser: 1000, runAsNonRoot: true, supplementalGroups: [4000] },
      },
    );
    await withPod(pod, async (exec) => {
      const status = await exec('app', 'cat /proc/self/status');
      assert.match(status, /NoNewPrivs:\t1/);
      assert.match(status, /CapBnd:\t0000000000000000/);
      assert.match(status, /Seccomp:\t2/);
      assert.match(status, /Groups:\t0 4000/);
      assert.match(await exec('app', 'touch /x'), /Read-only/);
      assert.match(await exec('app', 'cat /proc/1/comm'), /^pause/);
      assert.match(await exec('app', 'cat /etc/hosts'), /^# Kubernetes-managed hosts file \(host network\)\./);
    });
  });

  it('L-230, C-395: variables from a file another container wrote', async () => {
    const pod = podOf(
      'envfile',
      {
        volumeMounts: [{ name: 'v', mountPath: '/v' }],
        env: [{ name: 'CONFIG', valueFrom: { fileKeyRef: { volumeName: 'v', path: 'env', key: 'CONFIG' } } }],
      },
      { volumes: [{ name: 'v', emptyDir: {} }] },
    );
    await volumes.setUp(pod, node, options);
    const folder = await volumes.podDirectory('envfile');
    await writeFile(`${folder}/volumes/kubernetes.io~empty-dir/v/env`, "CONFIG='value 1'\n");
    await withPod(pod, async (exec) => assert.equal(await exec('app', 'echo $CONFIG'), 'value 1'));
  });
});
