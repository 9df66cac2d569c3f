// What a container is told about names and addresses, read inside it on real containerd: the resolver by every dnsPolicy, its
// host name, /etc/hosts, its environment.
import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Container, PodSpec } from '../../src/api/gen/kubernetes.ts';
import { offlineImages, whyNoContainerd } from '../support/containerd.ts';
import { eventually, nodeName, TestAgent } from '../support/test-agent.ts';

const forever = 'trap "exit 0" TERM; while :; do sleep 1000 & wait; done';
const box = (change: Partial<Container> = {}): Container => ({
  name: 'app',
  image: offlineImages.busybox,
  imagePullPolicy: 'IfNotPresent',
  command: ['sh', '-c', forever],
  ...change,
});
const spec = (change: Partial<PodSpec>): PodSpec => ({ terminationGracePeriodSeconds: 1, containers: [box()], ...change });

/** Keyword → the values of its lines. */
function resolver(text: string): Readonly<Record<string, string>> {
  const lines: Record<string, string> = {};
  for (const line of text.split('\n')) {
    const [keyword = '', ...values] = line.split(' ');
    lines[keyword] = [lines[keyword], ...values.filter((value) => value !== '')].filter((value) => value !== undefined).join(' ');
  }
  return lines;
}

describe('names inside containers', { skip: whyNoContainerd() ?? false, timeout: 180_000 }, () => {
  const resolvConf = `/tmp/ppt-${process.pid}-agent-resolv.conf`;
  const agent: TestAgent = new TestAgent({
    kubelet: { clusterDNS: ['10.0.0.10'], clusterDomain: 'cluster.local', resolvConf: resolvConf },
  });
  const long = `${'a'.repeat(62)}-with-more-of-it`;
  const own = path.join(agent.dir, 'own-hosts');
  const custom = {
    nameservers: ['192.0.2.77'],
    searches: ['own.example', 'lan.example'],
    options: [{ name: 'ndots', value: '2' }, { name: 'edns0' }],
  };
  const variables = box({
    env: [
      { name: 'A', value: 'one' },
      { name: 'B', value: '$(A)-$(C)-$$(A)-$(NONE)-$(A' },
      { name: 'C', value: '$(B)!' },
      { name: 'A', value: '$(A)+' },
      { name: 'EMPTY' },
      { name: 'NODE', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } },
      { name: 'POD_IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
      { name: 'HOST_IP', valueFrom: { fieldRef: { fieldPath: 'status.hostIP' } } },
      { name: 'LABEL', valueFrom: { fieldRef: { fieldPath: "metadata.labels['app']" } } },
      { name: 'CPU', valueFrom: { resourceFieldRef: { resource: 'limits.cpu', divisor: '1m' } } },
      { name: 'MEMORY', valueFrom: { resourceFieldRef: { resource: 'requests.memory', divisor: '1Mi' } } },
    ],
    resources: { limits: { cpu: '250m', memory: '33Mi' } },
    command: ['sh', '-c', `echo "$0 $1" >/said; ${forever}`],
    args: ['$(A)/$(UNKNOWN)', '$$(A)'],
  });
  const pods: Readonly<Record<string, PodSpec>> = {
    default: spec({ dnsPolicy: 'Default' }),
    first: spec({ dnsConfig: custom }),
    none: spec({ dnsPolicy: 'None', dnsConfig: custom }),
    host: spec({ hostNetwork: true, hostAliases: [{ ip: '192.0.2.9', hostnames: ['db'] }] }),
    'host-first': spec({ hostNetwork: true, dnsPolicy: 'ClusterFirstWithHostNet' }),
    many: spec({ dnsPolicy: 'Default', dnsConfig: { nameservers: ['192.0.2.61', '192.0.2.62'] } }),
    named: spec({ hostname: 'box', subdomain: 'lab', hostAliases: [{ ip: '192.0.2.9', hostnames: ['db', 'db.example'] }] }),
    full: spec({ hostname: 'box', subdomain: 'lab', setHostnameAsFQDN: true }),
    'too-long': spec({ hostname: 'b'.repeat(50), subdomain: 'lab', setHostnameAsFQDN: true }),
    'own-hosts': spec({
      containers: [box({ volumeMounts: [{ name: 'h', mountPath: '/etc/hosts' }] })],
      volumes: [{ name: 'h', hostPath: { path: own, type: 'File' } }],
    }),
    [long]: spec({}),
    variables: spec({ enableServiceLinks: true, containers: [variables] }),
  };
  const resolverOf = async (name: string): Promise<Readonly<Record<string, string>>> => {
    await agent.ready(name);
    return resolver(await agent.exec(name, 'app', 'cat /etc/resolv.conf'));
  };

  before(async () => {
    writeFileSync(resolvConf, '# of the machine\nnameserver 192.0.2.53\nnameserver 192.0.2.54\nsearch lan.example.\noptions timeout:2\n');
    await agent.configure();
    writeFileSync(own, '192.0.2.1 mine\n');
    await agent.start();
    for (const [name, podSpec] of Object.entries(pods)) agent.putPod(name, podSpec, { labels: { app: 'names' } });
  });
  after(async () => {
    await agent.destroy();
    rmSync(resolvConf);
  });

  const machine = { nameserver: '192.0.2.53 192.0.2.54', search: 'lan.example', options: 'timeout:2' };
  const cluster = {
    nameserver: '10.0.0.10',
    search: 'default.svc.cluster.local svc.cluster.local cluster.local lan.example',
    options: 'ndots:5',
  };

  it('C-353, L-204 … L-206: the resolver by dnsPolicy and network', async () => {
    assert.deepEqual(await resolverOf('default'), machine);
    assert.deepEqual(await resolverOf('host'), machine);
    assert.deepEqual(await resolverOf('host-first'), cluster);
    assert.deepEqual(await resolverOf('none'), { nameserver: '192.0.2.77', search: 'own.example lan.example', options: 'ndots:2 edns0' });
    assert.deepEqual(await agent.events('first').then((all) => all.filter((event) => event.startsWith('MissingClusterDNS'))), []);
  });

  it('C-353, L-209, L-210: dnsConfig is added, and what is too much is left out and told', async () => {
    assert.deepEqual(await resolverOf('first'), {
      nameserver: '10.0.0.10 192.0.2.77',
      search: `${cluster.search} own.example`,
      options: 'ndots:2 edns0',
    });
    assert.equal((await resolverOf('many'))['nameserver'], '192.0.2.53 192.0.2.54 192.0.2.61');
    const expected =
      'DNSConfigForming: Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: 192.0.2.53 192.0.2.54 192.0.2.61';
    assert.ok((await agent.events('many')).includes(expected));
  });

  it('L-202: a resolver file that changed counts from the next Pod on', async () => {
    writeFileSync(resolvConf, 'nameserver 192.0.2.55\n');
    agent.putPod('later', spec({ dnsPolicy: 'Default' }));
    assert.deepEqual(await resolverOf('later'), { nameserver: '192.0.2.55' });
    assert.deepEqual(await resolverOf('default'), machine);
  });

  it('C-351, C-352, L-197, L-198: host names, short and full', async () => {
    await Promise.all(['named', 'full', long].map((name) => agent.ready(name)));
    assert.equal(await agent.exec('named', 'app', 'hostname; hostname -f'), 'box\nbox.lab.default.svc.cluster.local');
    assert.equal(await agent.exec('full', 'app', 'hostname; hostname -s'), 'box.lab.default.svc.cluster.local\nbox');
    // The 63rd character would be a hyphen.
    assert.equal(await agent.exec(long, 'app', 'hostname'), 'a'.repeat(62));
    const pod = await agent.pod('too-long');
    assert.equal(pod?.status?.phase, 'Pending');
    const fqdn = `${'b'.repeat(50)}.lab.default.svc.cluster.local`;
    const expected = `FQDN ${fqdn} is too long (64 characters is the max, ${fqdn.length} characters requested)`;
    await eventually(agent, 'the event', async () =>
      (await agent.events('too-long')).find((event) => event.startsWith('FailedCreatePodSandBox: ') && event.includes(expected)),
    );
  });

  it('C-356, L-240 … L-243: /etc/hosts', async () => {
    const ip = (await agent.ready('named')).status?.podIP;
    const local = [
      '127.0.0.1\tlocalhost',
      '::1\tlocalhost ip6-localhost ip6-loopback',
      'fe00::0\tip6-localnet',
      'fe00::0\tip6-mcastprefix',
      'fe00::1\tip6-allnodes',
      'fe00::2\tip6-allrouters',
    ];
    const lines = (await agent.exec('named', 'app', 'cat /etc/hosts')).split('\n');
    assert.deepEqual(lines, [
      '# Kubernetes-managed hosts file.',
      ...local,
      `${ip}\tbox.lab.default.svc.cluster.local\tbox`,
      '',
      '# Entries added by HostAliases.',
      '192.0.2.9\tdb\tdb.example',
    ]);
    await agent.ready('host');
    const machineHosts = readFileSync('/etc/hosts', 'utf8');
    assert.equal(
      await agent.exec('host', 'app', 'cat /etc/hosts'),
      `# Kubernetes-managed hosts file (host network).\n${machineHosts}\n# Entries added by HostAliases.\n192.0.2.9\tdb`,
    );
    await agent.ready('own-hosts');
    assert.equal(await agent.exec('own-hosts', 'app', 'cat /etc/hosts'), '192.0.2.1 mine');
  });

  it('C-354, C-355, L-220 … L-228: variables, and what command and args make of them', async () => {
    const { status } = await agent.ready('variables');
    const environment = new Map(
      (await agent.exec('variables', 'app', "tr '\\0' '\\n' </proc/1/environ"))
        .split('\n')
        .map((line) => line.split(/=(.*)/s, 2) as [string, string]),
    );
    const expected = {
      A: 'one+',
      B: 'one-$(C)-$(A)-$(NONE)-$(A',
      C: 'one-$(C)-$(A)-$(NONE)-$(A!',
      EMPTY: '',
      NODE: nodeName,
      POD_IP: status?.podIP,
      HOST_IP: status?.hostIP,
      LABEL: 'names',
      CPU: '250',
      MEMORY: '33',
    };
    for (const [name, value] of Object.entries(expected)) assert.equal(environment.get(name), value, name);
    assert.equal(await agent.exec('variables', 'app', 'cat /said'), 'one+/$(UNKNOWN) $(A)');
    // No services without a control plane, whatever enableServiceLinks says.
    assert.deepEqual(
      [...environment.keys()].filter((name) => /^KUBERNETES_|_SERVICE_(HOST|PORT)$/.test(name)),
      [],
    );
  });
});
