// A control plane of static Pods as kubeadm 1.33 writes them (test/e2e/control-plane), read by the agent without a change.
// The agent has network, /etc, /var/lib, /usr/libexec and /usr/local/share of its own, so ports and paths are those of a
// real node and nothing of this machine is touched. etcd is real: the one of KUBEBUILDER_ASSETS, else Debian's 3.4; as that
// knows no /livez and /readyz yet, its probes ask /health, as kubeadm had it up to 1.30. kube-apiserver is the one of
// KUBEBUILDER_ASSETS where that is set. What answers for the others is openssl with their ports.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Node, Pod } from '../../src/api/gen/kubernetes.ts';
import { type LayerEntry, ociArchitecture, writeImageArchive } from '../../src/image/oci-archive.ts';
import { listProcesses } from '../../src/runtime/containerd/process-table.ts';
import { type CertificateRequest, issueCertificate } from '../../src/server/issue-certificate.ts';
import { systemClock } from '../../src/std/clock.ts';
import { whyNoContainerd } from '../support/containerd.ts';
import { cgroupOf, checkout, eventually, TestAgent, uidOf } from '../support/test-agent.ts';

const assets = process.env['KUBEBUILDER_ASSETS'] ?? '';
const asset = (name: string): string | undefined => [path.join(assets, name)].find((file) => assets !== '' && existsSync(file));
const etcd = asset('etcd') ?? path.join(checkout, '.cache', 'programs', 'etcd-server', 'usr', 'bin', 'etcd');
const apiserver = asset('kube-apiserver');
const openssl = '/usr/bin/openssl';
const manifests = path.join(import.meta.dirname, 'control-plane');
const address = '192.168.7.10';

function whyNot(): string | false {
  for (const [file, name] of [
    [etcd, 'etcd-server: run npm run setup -- --test'],
    [openssl, 'openssl'],
  ] as const) {
    if (!existsSync(file)) return `${file} is missing (Debian package ${name})`;
  }
  return whyNoContainerd() ?? false;
}

/** A program with the libraries it is linked to, each at its own place. */
function programEntries(name: string, program: string): readonly LayerEntry[] {
  // Go's programs may need no library: then it fails.
  const { stdout: listed } = spawnSync('ldd', [program], { encoding: 'utf8' });
  const libraries = [...listed.matchAll(/(\/\S+) \(0x/g)].map((match) => match[1] ?? '');
  const files = new Map([[name, program], ...libraries.map((library): [string, string] => [library.slice(1), library])]);
  const folders = new Set<string>();
  for (const file of files.keys()) {
    for (let folder = path.dirname(file); folder !== '.'; folder = path.dirname(folder)) folders.add(folder);
  }
  return [
    ...[...folders].sort().map((folder) => ({ type: 'directory', name: `${folder}/` }) as const),
    ...[...files].map(([file, source]) => ({ type: 'file', name: file, mode: 0o755, data: readFileSync(source) }) as const),
  ];
}

function archive(reference: string, entries: readonly LayerEntry[]): Promise<Buffer> {
  return writeImageArchive({ reference, architecture: ociArchitecture(os.arch()), entries, config: { Env: ['PATH=/usr/local/bin:/bin'] } });
}

/** An image whose program of that name answers its probes over TLS on the port, whatever its arguments. */
async function standIn(program: string, port: number): Promise<Buffer> {
  const now = systemClock.now();
  const { certificate, key } = await issueCertificate({
    kind: 'server',
    commonName: program,
    organization: undefined,
    names: ['127.0.0.1'],
    notBefore: now - 3_600_000,
    notAfter: now + 86_400_000,
    algorithm: 'ecdsa',
    issuer: undefined,
  });
  const file = (name: string, data: string | Buffer, mode = 0o644): LayerEntry => ({ type: 'file', name, mode, data });
  const serve = `exec openssl s_server -quiet -accept ${port} -cert ../tls.crt -key ../tls.key -WWW </dev/null`;
  return archive(`registry.k8s.io/${program}:v1.33.3`, [
    ...programEntries('bin/openssl', openssl),
    file('bin/sh', readFileSync('/bin/busybox'), 0o755),
    { type: 'directory', name: 'usr/' },
    { type: 'directory', name: 'usr/local/' },
    { type: 'directory', name: 'usr/local/bin/' },
    file(`usr/local/bin/${program}`, `#!/bin/sh\ncd /www\n${serve}\n`, 0o755),
    { type: 'directory', name: 'www/' },
    ...['livez', 'readyz', 'healthz'].map((name) => file(`www/${name}`, 'ok')),
    file('tls.crt', certificate),
    file('tls.key', key),
  ]);
}

/** What kubeadm has made before it writes the manifests, below `etc`. */
async function writePki(etc: string): Promise<void> {
  const pki = path.join(etc, 'kubernetes', 'pki');
  mkdirSync(path.join(pki, 'etcd'), { recursive: true });
  const now = systemClock.now();
  const common = { organization: undefined, notBefore: now - 3_600_000, notAfter: now + 86_400_000, algorithm: 'ecdsa' } as const;
  const ca = await issueCertificate({ ...common, kind: 'ca', commonName: 'etcd-ca', names: [], issuer: undefined });
  writeFileSync(path.join(pki, 'etcd', 'ca.crt'), ca.certificate);
  for (const name of ['server', 'peer']) {
    const names = ['edge1', 'localhost', address, '127.0.0.1'];
    const made = await issueCertificate({ ...common, kind: 'server', commonName: 'edge1', names, issuer: ca });
    writeFileSync(path.join(pki, 'etcd', `${name}.crt`), made.certificate);
    writeFileSync(path.join(pki, 'etcd', `${name}.key`), made.key, { mode: 0o600 });
  }
  const write = async (name: string, request: Partial<CertificateRequest>): Promise<void> => {
    const made = await issueCertificate({ ...common, kind: 'client', commonName: name, names: [], issuer: undefined, ...request });
    writeFileSync(path.join(pki, `${name}.crt`), made.certificate);
    writeFileSync(path.join(pki, `${name}.key`), made.key, { mode: 0o600 });
  };
  const authority = async (name: string) => {
    await write(name, { kind: 'ca' });
    const read = (end: string): string => readFileSync(path.join(pki, `${name}.${end}`), 'utf8');
    return { certificate: read('crt'), key: read('key') };
  };
  const kubernetes = await authority('ca');
  const frontProxy = await authority('front-proxy-ca');
  const names = ['edge1', 'kubernetes', 'kubernetes.default', 'localhost', address, '10.96.0.1', '127.0.0.1'];
  await write('apiserver', { kind: 'server', names, issuer: kubernetes });
  await write('apiserver-kubelet-client', { organization: 'system:masters', issuer: kubernetes });
  await write('apiserver-etcd-client', { issuer: ca });
  await write('front-proxy-client', { issuer: frontProxy });
  const node = await issueCertificate({
    ...common,
    kind: 'client',
    commonName: 'system:node:edge1',
    organization: 'system:nodes',
    names: [],
    issuer: kubernetes,
  });
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  const kubeconfig = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'c', cluster: { server: `https://${address}:6443`, 'certificate-authority-data': base64(kubernetes.certificate) } }],
    users: [{ name: 'u', user: { 'client-certificate-data': base64(node.certificate), 'client-key-data': base64(node.key) } }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    'current-context': 'x',
  };
  writeFileSync(path.join(etc, 'kubernetes', 'kubelet.conf'), JSON.stringify(kubeconfig), { mode: 0o600 });
  const { privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
  writeFileSync(path.join(pki, 'sa.key'), privateKey, { mode: 0o600 });
  writeFileSync(path.join(pki, 'sa.pub'), createPublicKey(privateKey).export({ type: 'spki', format: 'pem' }));
}

/** A node of its own for the command that follows: `sh -c <script> <folder> <command>…`. */
const nodeOfItsOwn = `
set -e
ip link set lo up
ip link add node0 type bridge
ip address add ${address}/24 dev node0
ip link set node0 up
ip route add default via 192.168.7.1
for dir in /etc /var/lib /usr/local/share /usr/libexec; do
  mkdir -p "$0/upper$dir" "$0/work$dir"
  mount -t overlay -o "lowerdir=$dir,upperdir=$0/upper$dir,workdir=$0/work$dir" overlay "$dir"
done
exec "$@"`;

describe('a control plane of static Pods', { skip: whyNot() }, () => {
  // The folder of the agent is known only when it is made; the launcher wants it before.
  const node = `/tmp/ppt-${process.pid}-node`;
  const agent = new TestAgent({
    // With a true API server the agent is a node of it, as kubeadm sets one up.
    ...(apiserver === undefined
      ? {}
      : {
          flags: ['--kubeconfig', '/etc/kubernetes/kubelet.conf'],
          kubelet: {
            ...{ port: 10_250, healthzPort: 10_248 },
            authentication: {
              x509: { clientCAFile: '/etc/kubernetes/pki/ca.crt' },
              anonymous: { enabled: false },
              webhook: { enabled: true },
            },
            authorization: { mode: 'Webhook' },
          },
        }),
    launcher: ['unshare', '--mount', '--net', '--propagation', 'shared', 'sh', '-c', nodeOfItsOwn, node],
    archives: async () => ({
      'etcd.tar': await archive('registry.k8s.io/etcd:3.5.21-0', programEntries('bin/etcd', etcd)),
      'kube-apiserver.tar':
        apiserver === undefined
          ? await standIn('kube-apiserver', 6443)
          : await archive('registry.k8s.io/kube-apiserver:v1.33.3', programEntries('bin/kube-apiserver', apiserver)),
      'kube-controller-manager.tar': await standIn('kube-controller-manager', 10257),
      'kube-scheduler.tar': await standIn('kube-scheduler', 10259),
    }),
  });
  /** As kubeadm writes it: an etcd that knows them is asked /livez and /readyz. */
  const manifest = (name: string): string => {
    const text = readFileSync(path.join(manifests, `${name}.yaml`), 'utf8');
    return asset('etcd') === undefined
      ? text
      : text.replace(/\/health\?exclude\S+/, '/livez').replace(/\/health\?serializable\S+/, '/readyz');
  };
  const names = readdirSync(manifests).map((file) => path.basename(file, '.yaml'));

  before(async () => {
    await writePki(path.join(node, 'upper', 'etc'));
    await agent.configure();
    for (const name of names) agent.put(`${name}.yaml`, manifest(name));
    await agent.start();
  });
  after(async () => {
    await agent.destroy();
    execFileSync('rm', ['-rf', node]);
  });

  it('H-440, H-444 … H-446: every manifest is accepted as it is', async () => {
    const verdicts = await eventually(agent, 'all are read', async () => {
      const found = await agent.verdicts();
      return found.size === names.length ? found : undefined;
    });
    assert.deepEqual(
      [...verdicts].map(([name, { verdict }]) => [name, verdict.kind]).sort(),
      names.map((name) => [`${name}.yaml`, 'accepted']),
    );
  });

  it('H-440, H-442, H-443, H-460: all four become ready, none was restarted', async () => {
    const isReady = (pod: Pod): boolean =>
      pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true;
    for (const name of names) {
      const pod = await agent.until(name, 'is ready', isReady, 120);
      assert.equal(pod.metadata?.namespace, 'kube-system');
      assert.equal(pod.spec?.priority, 2_000_001_000);
      const [container] = pod.status?.containerStatuses ?? [];
      assert.deepEqual([container?.restartCount, container?.started, container?.ready], [0, true, true], name);
      assert.equal(pod.status?.podIP, address, name);
    }
  });

  /** What the API server of the manifests answers an administrator; undefined when it does not answer. */
  async function ask<T>(url: string): Promise<T | undefined> {
    const script = `
      const { readFileSync } = require('node:fs');
      const pki = (name) => readFileSync('/etc/kubernetes/pki/' + name);
      const tls = { ca: pki('ca.crt'), cert: pki('apiserver-kubelet-client.crt'), key: pki('apiserver-kubelet-client.key') };
      const { get } = require('node:https');
      get('https://${address}:6443${url}', tls, (answer) => (answer.statusCode === 404 ? answer.resume() : answer.pipe(process.stdout))).on('error', () => {});`;
    const text = await agent.beside(process.execPath, '-e', script);
    return text === '' ? undefined : ((url.includes('/log') ? text : JSON.parse(text)) as T);
  }
  const isUp = (pod: Pod | undefined): pod is Pod =>
    pod?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true;
  const mirror = (name: string, seconds = 60): Promise<Pod> =>
    eventually(
      agent,
      `the mirror of ${name} is ready`,
      async () => {
        const pod = await ask<Pod>(`/api/v1/namespaces/kube-system/pods/${name}-edge1`);
        return isUp(pod) ? pod : undefined;
      },
      seconds,
    );

  describe('and its true API server', { skip: apiserver === undefined ? 'KUBEBUILDER_ASSETS is not set' : false }, () => {
    it('H-460, H-464, C-510: the node registers at the API server it runs, with mirrors of all four', async () => {
      const node = await eventually(agent, 'the Node', () => ask<Node>('/api/v1/nodes/edge1'), 60);
      for (const name of names) {
        const { metadata } = await mirror(name);
        assert.equal(metadata?.annotations?.['kubernetes.io/config.source'], 'file', name);
        assert.ok(metadata?.annotations?.['kubernetes.io/config.mirror'] !== undefined, name);
        assert.deepEqual(
          metadata?.ownerReferences?.map(({ kind, name: owner, uid, controller }) => [kind, owner, uid, controller]),
          [['Node', 'edge1', node.metadata?.uid, true]],
        );
      }
      const log = await eventually(agent, 'the log of etcd', () =>
        ask<string>('/api/v1/namespaces/kube-system/pods/etcd-edge1/log?tailLines=5'),
      );
      assert.match(log, /"level":"\w+"/);
    });

    it('H-462, D3: without its API server the node goes on; when it is back, it is told', async () => {
      const before = new Map(
        await Promise.all(names.map(async (name) => [name, (await agent.pod(name))?.status?.containerStatuses] as const)),
      );
      agent.remove('kube-apiserver.yaml');
      // It waits for its watches, as long as its grace lasts.
      const isGone = async () => ((await agent.pod('kube-apiserver')) === undefined ? true : undefined);
      await eventually(agent, 'the API server has ended', isGone, 60);
      assert.equal(await ask('/api/v1/nodes/edge1'), undefined);
      const { image } = (await agent.pod('etcd'))?.spec?.containers[0] ?? {};
      const spec = {
        hostNetwork: true,
        containers: [
          {
            name: 'app',
            image,
            command: [
              'etcd',
              '--listen-client-urls=http://127.0.0.1:3379',
              '--advertise-client-urls=http://127.0.0.1:3379',
              '--listen-peer-urls=http://127.0.0.1:3380',
              '--data-dir=/tmp/d',
            ],
          },
        ],
      };
      agent.put(
        'meanwhile.json',
        JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'meanwhile', namespace: 'kube-system' }, spec }),
      );
      await agent.ready('meanwhile');
      agent.put('kube-apiserver.yaml', manifest('kube-apiserver'));
      await mirror('meanwhile', 120);
      await mirror('kube-apiserver');
      for (const name of names.filter((one) => one !== 'kube-apiserver'))
        assert.deepEqual((await agent.pod(name))?.status?.containerStatuses, before.get(name), name);
      agent.remove('meanwhile.json');
      await agent.gone('meanwhile');
      await eventually(agent, 'its mirror goes', async () =>
        (await ask('/api/v1/namespaces/kube-system/pods/meanwhile-edge1')) === undefined ? true : undefined,
      );
    });
  });

  it('etcd keeps its data on the node', async () => {
    assert.match(await agent.beside('ls', '/var/lib/etcd/member'), /snap\nwal/);
  });

  it('H-445: what was missing on the node was made with the kubelet’s modes', async () => {
    const mode = (file: string): Promise<string> => agent.beside('stat', '-c', '%F %a', file);
    assert.equal((await mode('/etc/kubernetes/scheduler.conf')).trim(), 'regular empty file 644');
    assert.equal((await mode('/usr/libexec/kubernetes/kubelet-plugins/volume/exec')).trim(), 'directory 755');
  });

  it('processes are as the manifests say: in the host’s network, under RuntimeDefault', async () => {
    const network = (pid: number): string => readlinkSync(`/proc/${pid}/ns/net`);
    for (const name of names) {
      const pod = await agent.pod(name);
      assert.ok(pod !== undefined);
      const { id } = await agent.running(uidOf(pod));
      const processes = (await listProcesses()).filter(({ pid }) => cgroupOf(pid).includes(id));
      assert.ok(processes.length > 0, name);
      for (const { pid } of processes) {
        assert.equal(network(pid), network(agent.pid), name);
        assert.match(readFileSync(`/proc/${pid}/status`, 'utf8'), /^Seccomp:\t2$/m, name);
      }
    }
  });

  it('goes on through kill -9 of the agent, ready all the while (C-224, H-463)', async () => {
    const before = new Map(await Promise.all(names.map(async (name) => [name, await agent.pod(name)] as const)));
    await agent.end('SIGKILL');
    await agent.start();
    for (const name of names) {
      const pod = await agent.until(name, 'is there', ({ status }) => status?.containerStatuses?.[0]?.containerID !== undefined);
      const then = before.get(name)?.status;
      assert.deepEqual(pod.status?.containerStatuses, then?.containerStatuses, name);
      assert.deepEqual(pod.status?.conditions, then?.conditions, name);
    }
  });
});
