// The real kubectl, @kubernetes/client-node and hostile clients against a listening API server with fake views.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest, type RequestOptions } from 'node:https';
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { after, before, describe, type TestContext, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { CoreV1Api, KubeConfig, Log, makeInformer, Watch } from '@kubernetes/client-node';
import type { Pod as ApiPod } from '../../src/api/gen/kubernetes.ts';
import type { DoctorReport } from '../../src/api/trouble.ts';
import { issueCertificate } from '../../src/server/issue-certificate.ts';
import { KubeServer } from '../../src/server/kube-server.ts';
import { type Clock, systemClock } from '../../src/std/clock.ts';
import { silentLogger } from '../../src/std/log.ts';
import { systemRandom } from '../../src/std/random.ts';
import { FakeAgent } from '../support/fake-agent.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { eventOf, type FakeViews, fakeViews, nodeOf, podOf, runningStatus } from '../support/fake-views.ts';
import { testVersion } from '../support/kube-version.ts';
import { cellsOf, Kubectl, type KubectlVersion, kubectlVersions, whyNoKubectl } from '../support/kubectl.ts';

interface Running {
  readonly dir: string;
  readonly views: FakeViews;
  readonly server: KubeServer;
  readonly kubectl: Kubectl;
  readonly url: URL;
  readonly pki: (name: string) => Promise<string>;
}

const waitingStatus = (reason: string, restartCount = 0) => ({
  phase: reason === 'ImagePullBackOff' ? 'Pending' : 'Running',
  containerStatuses: [{ name: 'c', image: 'x', imageID: '', ready: false, restartCount, state: { waiting: { reason } } }],
});

async function start(version: KubectlVersion = '1.36'): Promise<Running> {
  const dir = await mkdtemp('/tmp/kapi-');
  const web = podOf({ labels: { app: 'web' } });
  const crash = podOf({ name: 'crash', status: waitingStatus('CrashLoopBackOff', 3) });
  const bad = podOf({ name: 'bad', status: waitingStatus('ImagePullBackOff') });
  const done = podOf({
    name: 'done',
    status: {
      phase: 'Succeeded',
      containerStatuses: [
        { name: 'c', image: 'x', imageID: '', ready: false, restartCount: 0, state: { terminated: { exitCode: 0, reason: 'Completed' } } },
      ],
    },
  });
  const views = fakeViews([web, crash, bad, done]);
  const now = new Date().toISOString();
  views.events.set([
    eventOf(web, 'Started', { firstTimestamp: now, lastTimestamp: now }),
    eventOf(crash, 'BackOff', { type: 'Warning', count: 6, firstTimestamp: now, lastTimestamp: now }),
  ]);
  const logPath = path.join(dir, '0.log');
  await writeFile(logPath, '2026-01-01T00:00:00Z stdout F hello\n2026-01-01T00:00:01Z stderr F world\n');
  views.runtime.containers.set('c-id', { id: 'c-id', running: true, logPath });
  const kubeconfigPath = path.join(dir, 'kubeconfig');
  const server = new KubeServer(
    {
      version: testVersion,
      manifestLocation: '/etc/pinpod/manifests',
      socketPath: path.join(dir, 's.sock'),
      https: { address: '127.0.0.1', port: 0, names: ['node1'], pkiDir: path.join(dir, 'pki'), kubeconfigPath },
    },
    { ...views, health: [{ name: 'ping', check: () => undefined }], clock: systemClock, random: systemRandom, log: silentLogger },
  );
  await server.start();
  const pki = (name: string) => readFile(path.join(dir, 'pki', name), 'utf8');
  return { dir, views, server, kubectl: new Kubectl(kubeconfigPath, version), url: new URL(server.url ?? ''), pki };
}

async function stop(running: Running | undefined): Promise<void> {
  await running?.server.stop();
  if (running !== undefined) await rm(running.dir, { recursive: true });
}

for (const version of kubectlVersions)
  describe(`kubectl ${version} against the API server`, { skip: whyNoKubectl(version) }, () => {
    let r: Running;
    before(async () => {
      r = await start(version);
    });
    after(() => stop(r));

    const out = async (...args: readonly string[]) => {
      const result = await r.kubectl.run(args);
      assert.equal(result.code, 0, result.err);
      return result.out;
    };

    test('C-301 C-302 C-303: get pods, wide, all namespaces', async () => {
      assert.deepEqual(
        cellsOf(await out('get', 'pods')).map((row) => row.slice(0, 4)),
        [
          ['NAME', 'READY', 'STATUS', 'RESTARTS'],
          ['bad-node1', '0/1', 'ImagePullBackOff', '0'],
          ['crash-node1', '0/1', 'CrashLoopBackOff', '3'],
          ['done-node1', '0/1', 'Completed', '0'],
          ['web-node1', '1/1', 'Running', '0'],
        ],
      );
      const wide = cellsOf(await out('get', 'pods', '-o', 'wide'));
      assert.deepEqual(wide[0]?.slice(5), ['IP', 'NODE', 'NOMINATED NODE', 'READINESS GATES']);
      assert.deepEqual(wide[4]?.slice(5), ['10.1.0.2', 'node1', '<none>', '<none>']);
      assert.deepEqual(
        cellsOf(await out('get', 'pods', '-A')).map((row) => row[0]),
        ['NAMESPACE', 'default', 'default', 'default', 'default'],
      );
    });

    // [arguments, exit code, stdout, stderr]
    const exact: readonly (readonly [rule: string, args: readonly string[], code: number, out: string, err: string])[] = [
      ['C-304', ['get', 'pod', 'nope'], 1, '', 'Error from server (NotFound): pods "nope" not found\n'],
      ['C-304', ['get', 'pod', 'nope', '--ignore-not-found'], 0, '', ''],
      ['C-305', ['get', 'pods', '-n', 'empty'], 0, '', 'No resources found in empty namespace.\n'],
      ['C-305', ['get', 'pods', '-A', '-l', 'x=y'], 0, '', 'No resources found\n'],
      ['C-306', ['get', 'pods', '-l', 'app in (web,x)', '-o', 'name'], 0, 'pod/web-node1\n', ''],
      ['C-306', ['get', 'pods', '-l', '!app', '-o', 'name'], 0, 'pod/bad-node1\npod/crash-node1\npod/done-node1\n', ''],
      ['C-307', ['get', 'pods', '--field-selector', 'status.phase!=Running', '-o', 'name'], 0, 'pod/bad-node1\npod/done-node1\n', ''],
      [
        'C-307',
        ['get', 'pods', '--field-selector', 'spec.foo=1'],
        1,
        '',
        'Error from server (BadRequest): Unable to find "/v1, Resource=pods" that match label selector "", field selector "spec.foo=1": field label not supported: spec.foo\n',
      ],
      ['C-308', ['get', 'pod', 'web-node1', '-o', 'jsonpath={.status.phase}'], 0, 'Running', ''],
      ['C-308', ['get', 'pods', '-o', 'custom-columns=N:.metadata.name', '-l', 'app'], 0, 'N\nweb-node1\n', ''],
      ['C-310', ['get', 'pods', '--sort-by=.metadata.creationTimestamp', '-o', 'name', '-l', 'app'], 0, 'pod/web-node1\n', ''],
      ['C-313', ['get', 'node', 'node1', '-o', 'jsonpath={.status.daemonEndpoints.kubeletEndpoint.Port}'], 0, '10250', ''],
      ['C-316', ['get', 'deploy'], 1, '', 'error: the server doesn\'t have a resource type "deploy"\n'],
      ['C-316', ['get', 'svc'], 0, '', 'No resources found in default namespace.\n'],
      ['C-319', ['get', '--raw', '/healthz'], 0, 'ok', ''],
      ['C-319', ['get', '--raw', '/readyz?verbose'], 0, '[+]ping ok\nreadyz check passed\n', ''],
      ['C-320', ['get', 'pods', '--chunk-size=1', '-o', 'name'], 0, 'pod/bad-node1\npod/crash-node1\npod/done-node1\npod/web-node1\n', ''],
      ['C-336', ['auth', 'can-i', 'get', 'pods'], 0, 'yes\n', ''],
      ['C-336', ['auth', 'can-i', 'create', 'pods', '--subresource=exec'], 0, 'yes\n', ''],
      ['C-336', ['auth', 'can-i', 'create', 'pods'], 1, 'no - this node runs static pods only; edit the manifests instead\n', ''],
      ['C-337', ['auth', 'whoami', '-o', 'jsonpath={.status.userInfo.username}'], 0, 'pinpod-admin', ''],
      ['C-350', ['logs', 'web-node1'], 0, 'hello\nworld\n', ''],
      ['C-352', ['logs', 'web-node1', '--tail=1'], 0, 'world\n', ''],
      [
        'C-355',
        ['logs', '-p', 'web-node1'],
        1,
        '',
        'Error from server (BadRequest): previous terminated container "c" in pod "web-node1" not found\n',
      ],
      [
        'C-356',
        ['logs', 'bad-node1'],
        1,
        '',
        'Error from server (BadRequest): container "c" in pod "bad-node1" is waiting to start: trying and failing to pull image\n',
      ],
      ['C-359', ['logs', '-l', 'app=web', '--prefix', '--tail=1'], 0, '[pod/web-node1/c] world\n', ''],
      ['C-357', ['logs', 'nope'], 1, '', 'error: error from server (NotFound): pods "nope" not found in namespace "default"\n'],
      ['C-376', ['exec', 'crash-node1', '--', 'ls'], 1, '', 'error: unable to upgrade connection: container not found ("c")\n'],
      [
        'C-377',
        ['exec', 'done-node1', '--', 'ls'],
        1,
        '',
        'error: cannot exec into a container in a completed pod; current phase is Succeeded\n',
      ],
      [
        'C-393',
        ['port-forward', 'pod/bad-node1', ':1'],
        1,
        '',
        'error: unable to forward port because pod is not running. Current status=Pending\n',
      ],
      ['C-400', ['wait', '--for=condition=Ready', 'pod/web-node1', '--timeout=5s'], 0, 'pod/web-node1 condition met\n', ''],
      [
        'C-400',
        ['wait', '--for=jsonpath={.status.phase}=Running', 'pod/web-node1', '--timeout=5s'],
        0,
        'pod/web-node1 condition met\n',
        '',
      ],
      [
        'C-401',
        ['wait', '--for=condition=Ready', 'pod/crash-node1', '--timeout=1s'],
        1,
        '',
        'error: timed out waiting for the condition on pods/crash-node1\n',
      ],
      ['C-403', ['wait', '--for=delete', 'pod/nope'], 0, '', ''],
      ['C-412', ['delete', 'pod', 'nope', '--ignore-not-found'], 0, '', ''],
      ['C-421', ['scale', 'deploy/x', '--replicas=1'], 1, '', 'error: the server doesn\'t have a resource type "deploy"\n'],
      ['C-423', ['top', 'pod'], 1, '', 'error: metrics not available yet\n'],
    ];
    for (const [rule, args, code, stdout, stderr] of exact) {
      test(`${rule}: kubectl ${args.join(' ')}`, async () => {
        assert.deepEqual(await r.kubectl.run(args), { code, out: stdout, err: stderr });
      });
    }

    test('H-033: explain tells of every field, and the types that Kubernetes tells', async () => {
      for (const what of ['pod', 'pod.spec', 'pod.spec.containers', 'pod.metadata', 'node', 'event', 'lease.spec']) {
        assert.doesNotMatch(await out('explain', what), /<no description>/, what);
      }
      assert.match(await out('explain', 'pod.spec.containers.resources'), /\n {2}limits\t<map\[string\]Quantity>\n/);
      assert.match(await out('explain', 'pod.spec.containers.ports'), /\n {2}containerPort\t<integer> -required-\n/);
      assert.match(await out('explain', 'pod.spec.containers.livenessProbe.httpGet.port'), /FIELD: port <IntOrString>\n/);
      assert.match(await out('explain', 'event.series'), /FIELD: series <EventSeries>\n/);
    });

    test('C-306 C-307: a selector that cannot be is answered in the words of an API server', async () => {
      const prefix = (labels: string, fields: string): string =>
        `Error from server (BadRequest): Unable to find "/v1, Resource=pods" that match label selector "${labels}", field selector "${fields}": `;
      const refusal = async (...args: readonly string[]) => (await r.kubectl.run(['get', 'pods', ...args])).err;
      assert.equal(
        await refusal('-l', 'a b'),
        `${prefix('a b', '')}unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt\n`,
      );
      assert.equal(await refusal('--field-selector', 'spec.x=1'), `${prefix('', 'spec.x=1')}field label not supported: spec.x\n`);
    });

    test('--as: an administrator sees what somebody else would be answered', async () => {
      const asBob = (...args: readonly string[]) => r.kubectl.run([...args, '--as=bob']);
      const forbidden = (name: string, verb: string, resource: string): string =>
        `Error from server (Forbidden): pods${name} is forbidden: User "bob" cannot ${verb} resource "${resource}" in API group "" in the namespace "default"\n`;
      assert.deepEqual(await asBob('get', 'pods'), { code: 1, out: '', err: forbidden('', 'list', 'pods') });
      assert.equal((await asBob('delete', 'pod', 'web-node1')).err, forbidden(' "web-node1"', 'delete', 'pods'));
      assert.equal((await r.kubectl.run(['exec', 'web-node1', '--as=bob', '--', 'true'])).code, 1);
      assert.deepEqual(r.views.runtime.calls, []);
      assert.deepEqual([(await asBob('auth', 'can-i', 'get', 'pods')).out, await out('auth', 'can-i', 'get', 'pods')], ['no\n', 'yes\n']);
      assert.match((await asBob('auth', 'whoami')).out, /^Username +bob\nGroups +\[system:authenticated\]$/m);
      assert.equal((await r.kubectl.run(['get', 'pods', '--as=bob', '--as-group=system:masters'])).code, 0);
    });

    test('C-311 C-312: two kinds, and all', async () => {
      assert.match(await out('get', 'pod,node'), /^NAME +READY[\s\S]*\npod\/web-node1 [\s\S]*\n\nNAME +STATUS[\s\S]*\nnode\/node1 /);
      assert.match(await out('get', 'all', '-l', 'app'), /^NAME +READY.*\npod\/web-node1 .*\n$/);
    });

    test('C-313 C-314: nodes and namespaces', async () => {
      assert.deepEqual(
        cellsOf(await out('get', 'nodes'))[1]?.filter((_, i) => i !== 3),
        ['node1', 'Ready', '<none>', 'v1.36.2'],
      );
      assert.equal(cellsOf(await out('get', 'nodes', '-o', 'wide'))[0]?.length, 10);
      assert.match(await out('get', 'ns'), /^NAME +STATUS +AGE\ndefault +Active +\w+\n$/);
    });

    test('C-315 C-430 C-431: events', async () => {
      assert.match(
        await out('get', 'events', '--field-selector', 'involvedObject.name=crash-node1,type=Warning'),
        /Warning +BackOff +pod\/crash-node1 +BackOff it\n$/,
      );
      assert.match(
        await out('events', '--for', 'pod/crash-node1', '--types=Warning'),
        /^LAST SEEN +TYPE +REASON +OBJECT +MESSAGE\n.*Warning +BackOff +Pod\/crash-node1 +BackOff it\n$/,
      );
    });

    test('C-332 C-334 C-335 C-338: what the server is', async () => {
      const resources = cellsOf(await out('api-resources'));
      assert.deepEqual(
        resources.find((row) => row[0] === 'pods'),
        ['pods', 'po', 'v1', 'true', 'Pod'],
      );
      assert.match(await out('api-versions'), /\nmetrics\.k8s\.io\/v1beta1\nv1\n$/);
      assert.match(await out('explain', 'pod.spec.hostNetwork'), /^KIND: {7}Pod\nVERSION: {4}v1\n\nFIELD: hostNetwork <boolean>\n/);
      assert.match(await out('explain', 'pod'), /\nFIELDS:\n[\s\S]*spec\t<PodSpec>\n/);
      assert.match(await out('version'), /\nServer Version: v1\.36\.2\n$/);
      assert.match(await out('cluster-info'), /Kubernetes control plane.* is running at .*https:\/\/127\.0\.0\.1:\d+/);
    });

    test('C-345 C-347 C-348: describe', async () => {
      const pod = await out('describe', 'pod', 'web-node1');
      for (const text of [
        'Node:         node1/10.0.0.1',
        'Controlled By:  Node/node1',
        'Status:       Running',
        'kubernetes.io/config.mirror: uid-web-node1',
        'QoS Class:                    BestEffort',
        'Started it',
      ]) {
        assert.ok(pod.includes(text), text);
      }
      const node = await out('describe', 'node', 'node1');
      assert.match(node, /Non-terminated Pods: {10}\(3 in total\)/);
      assert.match(node, /Ready +True/);
    });

    const refused: readonly (readonly string[])[] = [
      ['create', '-f', '-'],
      ['apply', '-f', '-'],
      ['apply', '--server-side', '-f', '-'],
      ['replace', '-f', '-'],
      ['run', 'x', '--image=y'],
      ['label', 'pod', 'web-node1', 'a=b'],
      ['annotate', 'pod', 'web-node1', 'a=b'],
      ['patch', 'pod', 'web-node1', '-p', '{"metadata":{"labels":{"a":"b"}}}'],
      ['debug', 'web-node1', '--image=x'],
    ];
    for (const args of refused) {
      test(`C-420: ${args.join(' ')} is refused with a reason`, async () => {
        const input = 'apiVersion: v1\nkind: Pod\nmetadata: {name: web-node1}\nspec: {containers: [{name: c, image: x}]}\n';
        const result = await r.kubectl.run(args, { input });
        assert.equal(result.code, 1);
        assert.match(result.err, /\(Forbidden\)[\s\S]*this node runs static pods only; (edit the|put a) manifest/);
        assert.doesNotMatch(result.err, /failed to download openapi/);
      });
    }

    for (const verb of ['create', 'apply', 'delete']) {
      test(`C-421: ${verb} of a kind that is not here is told as one`, async () => {
        const input = 'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {}\n';
        const why = 'no matches for kind "Deployment" in version "apps/v1"\nensure CRDs are installed first\n';
        assert.deepEqual(await r.kubectl.run([verb, '-f', '-'], { input }), {
          code: 1,
          out: '',
          err: `error: resource mapping not found for name: "d" namespace: "" from "STDIN": ${why}`,
        });
      });
    }

    test('C-422: cordon says why not', async () => {
      assert.match((await r.kubectl.run(['cordon', 'node1'])).err, /unable to cordon node "node1": nodes "node1" is forbidden/);
    });

    test('C-411 C-412: delete, its ways and its words', async () => {
      assert.match(await out('delete', 'pod', 'web-node1', '--dry-run=server'), /^pod "web-node1" deleted.* \(server dry run\)\n$/);
      assert.equal(await out('delete', 'pod', 'web-node1', '-o', 'name', '--wait=false'), 'pod/web-node1\n');
      assert.match(
        (await r.kubectl.run(['delete', 'pod', 'web-node1', '--force', '--grace-period=0'])).out,
        /^pod "web-node1" force deleted/,
      );
      assert.equal((await out('delete', 'pods', '--all', '--now')).trimEnd().split('\n').length, 4);
      assert.equal(cellsOf(await out('get', 'pods')).length, 5);
      assert.equal((await r.kubectl.run(['delete', 'pod', 'nope'])).err, 'Error from server (NotFound): pods "nope" not found\n');
    });

    test('C-402 H-012: wait returns soon after the change', async () => {
      const pods = r.views.pods.list();
      const waiting = r.kubectl.run(['wait', '--for=condition=Ready', 'pod/crash-node1', '--timeout=20s']);
      // Its first look must be over: the change has to come through the watch.
      while (r.views.pods.subscribers === 0) await new Promise((resolve) => setTimeout(resolve, 20));
      r.views.pods.set(pods.map((pod) => (pod.metadata.name === 'crash-node1' ? { ...pod, status: runningStatus('c') } : pod)));
      assert.equal((await waiting).out, 'pod/crash-node1 condition met\n');
      r.views.pods.set(pods);
    });

    test('C-317 C-318: get -w shows what happens, and ends well with the server', async () => {
      const own = await start(version);
      const child = own.kubectl.start(['get', 'pods', '-w', '--output-watch-events', '--no-headers']);
      let seen = '';
      child.stdout?.on('data', (data: Buffer) => {
        seen += data.toString();
      });
      const exited = new Promise<number | null>((resolve) => {
        child.on('exit', resolve);
      });
      const until = async (pattern: RegExp): Promise<void> => {
        while (!pattern.test(seen)) await new Promise((resolve) => setTimeout(resolve, 20));
      };
      while (own.views.pods.subscribers === 0) await new Promise((resolve) => setTimeout(resolve, 20));
      const pods = own.views.pods.list();
      own.views.pods.set([...pods, podOf({ name: 'new', status: { phase: 'Pending' } })]);
      await until(/ADDED +new-node1 +0\/1 +Pending/);
      own.views.pods.set([...pods, podOf({ name: 'new' })]);
      await until(/MODIFIED +new-node1 +1\/1 +Running/);
      own.views.pods.set(pods);
      await until(/DELETED +new-node1/);
      await stop(own);
      assert.equal(await exited, 0);
    });

    test('C-423: top, when usage is known', async () => {
      const cpu = { time: Date.now(), usageNanoCores: 6_500_000, usageCoreNanoSeconds: 1e12 };
      const memory = { time: Date.now(), workingSetBytes: 5 * 1024 * 1024 };
      r.views.stats.nodeUsage = {
        startedAt: 0,
        systemContainers: [],
        cpu: { ...cpu, usageNanoCores: 250_000_000 },
        memory: { ...memory, workingSetBytes: 512 * 1024 * 1024 },
      };
      r.views.stats.podUsages = [
        {
          namespace: 'default',
          name: 'web-node1',
          uid: 'uid-web-node1',
          startedAt: 0,
          containers: [{ name: 'c', startedAt: 0, cpu, memory }],
        },
      ];
      assert.deepEqual(cellsOf(await out('top', 'pod')), [
        ['NAME', 'CPU(cores)', 'MEMORY(bytes)'],
        ['web-node1', '7m', '5Mi'],
      ]);
      const node = cellsOf(await out('top', 'node'))[1];
      assert.deepEqual([node?.[1], node?.[2], node?.[3]], ['250m', '12%', '512Mi']);
    });

    test('C-339 C-340 H-007: wrong credentials, wrong CA', async () => {
      const none = path.join(r.dir, 'none');
      await writeFile(none, '');
      await chmod(none, 0o600);
      const server = ['-s', r.url.origin];
      const token = await new Kubectl(none, version).run([...server, '--insecure-skip-tls-verify', '--token=bad', 'get', 'pods']);
      assert.equal(token.code, 1);
      assert.match(token.err, /error: You must be logged in to the server/);
      const unknownCa = await new Kubectl(none, version).run([...server, '--token=bad', 'get', 'pods']);
      assert.match(unknownCa.err, /x509: certificate signed by unknown authority/);
    });
  });

describe('@kubernetes/client-node against the API server', () => {
  let r: Running;
  let config: KubeConfig;
  before(async () => {
    r = await start();
    config = new KubeConfig();
    config.loadFromFile(path.join(r.dir, 'kubeconfig'));
  });
  after(() => stop(r));

  test('list, with limit and continue', async () => {
    const api = config.makeApiClient(CoreV1Api);
    const first = await api.listNamespacedPod({ namespace: 'default', limit: 3 });
    const second = await api.listNamespacedPod({
      namespace: 'default',
      limit: 3,
      ...(first.metadata?._continue === undefined ? {} : { _continue: first.metadata._continue }),
    });
    assert.deepEqual(
      [...first.items, ...second.items].map((pod) => pod.metadata?.name),
      ['bad-node1', 'crash-node1', 'done-node1', 'web-node1'],
    );
    await assert.rejects(api.readNamespacedPod({ namespace: 'default', name: 'nope' }), { code: 404 });
  });

  test('watch and informer', async () => {
    const api = config.makeApiClient(CoreV1Api);
    const names: string[] = [];
    const informer = makeInformer(config, '/api/v1/namespaces/default/pods', () => api.listNamespacedPod({ namespace: 'default' }));
    const added = new Promise<void>((resolve) => {
      informer.on('add', (pod) => {
        names.push(pod.metadata?.name ?? '');
        if (pod.metadata?.name === 'late-node1') resolve();
      });
    });
    await informer.start();
    const pods = r.views.pods.list();
    while (r.views.pods.subscribers === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    r.views.pods.set([...pods, podOf({ name: 'late' })]);
    await added;
    await informer.stop();
    assert.deepEqual(names.sort(), ['bad-node1', 'crash-node1', 'done-node1', 'late-node1', 'web-node1']);
    r.views.pods.set(pods);

    const events: string[] = [];
    const watch = await new Watch(config).watch(
      '/api/v1/events',
      {},
      (type) => events.push(type),
      () => undefined,
    );
    while (events.length < 2) await new Promise((resolve) => setTimeout(resolve, 20));
    watch.abort();
    assert.deepEqual(events, ['ADDED', 'ADDED']);
  });

  test('log', async () => {
    const stream = new PassThrough();
    let text = '';
    stream.on('data', (data: Buffer) => {
      text += data.toString();
    });
    const ended = new Promise((resolve) => stream.on('end', resolve));
    await new Log(config).log('default', 'web-node1', 'c', stream);
    await ended;
    assert.equal(text, 'hello\nworld\n');
  });
});

describe('who gets in, and what a client may do to the server', () => {
  let r: Running;
  before(async () => {
    r = await start();
  });
  after(() => stop(r));

  interface Credentials {
    readonly cert?: string;
    readonly key?: string;
    readonly headers?: Readonly<Record<string, string>>;
  }

  const call = (method: string, target: string, credentials: Credentials): Promise<number> =>
    new Promise((resolve, reject) => {
      const { cert, key, headers = {} } = credentials;
      const tls = cert === undefined || key === undefined ? {} : { cert, key };
      const options = {
        host: '127.0.0.1',
        port: r.url.port,
        path: target,
        method,
        rejectUnauthorized: false,
        agent: false as const,
        headers,
        ...tls,
      };
      const request = httpsRequest(options, (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
        response.destroy();
      });
      request.on('upgrade', () => reject(new Error('upgraded')));
      request.on('error', reject);
      request.end();
    });

  const endpoints: readonly (readonly [method: string, path: string])[] = [
    ['GET', '/version'],
    ['GET', '/healthz'],
    ['GET', '/api'],
    ['GET', '/apis'],
    ['GET', '/api/v1'],
    ['GET', '/openapi/v3'],
    ['GET', '/openapi/v2'],
    ['GET', '/api/v1/pods'],
    ['GET', '/api/v1/pods?watch=true'],
    ['GET', '/api/v1/nodes/node1'],
    ['GET', '/api/v1/namespaces/default/pods/web-node1/log'],
    ['DELETE', '/api/v1/namespaces/default/pods/web-node1'],
    ['POST', '/api/v1/namespaces/default/pods'],
    ['PATCH', '/api/v1/namespaces/default/pods/web-node1'],
    ['POST', '/api/v1/namespaces/default/pods/web-node1/exec?command=id&stdout=true'],
    ['POST', '/apis/authentication.k8s.io/v1/selfsubjectreviews'],
    ['GET', '/apis/metrics.k8s.io/v1beta1/nodes'],
    ['GET', '/pinpod/v1/config'],
    ['GET', '/nothing'],
    // All that the root names, and a list, an object and a watch of every resource.
    ...[
      '/',
      '/api/',
      '/livez',
      '/livez/ping',
      '/readyz',
      '/readyz/ping',
      '/healthz/ping',
      '/metrics',
      '/version/',
      '/openapi/v3/api/v1',
    ].map((path) => ['GET', path] as const),
    ...['', '/authentication.k8s.io', '/authorization.k8s.io', '/coordination.k8s.io', '/events.k8s.io', '/metrics.k8s.io/v1beta1'].map(
      (group) => ['GET', `/apis${group}`] as const,
    ),
    ...['namespaces', 'nodes', 'services', 'events'].flatMap((resource) =>
      ['', '?watch=true', '/x'].map((rest) => ['GET', `/api/v1/${resource}${rest}`] as const),
    ),
    ...['coordination.k8s.io/v1/leases', 'events.k8s.io/v1/events', 'metrics.k8s.io/v1beta1/pods'].map(
      (resource) => ['GET', `/apis/${resource}`] as const,
    ),
    ...['status', 'ephemeralcontainers', 'resize'].map((sub) => ['GET', `/api/v1/namespaces/default/pods/web-node1/${sub}`] as const),
    ...['POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'].map((method) => [method, '/api/v1/nodes/node1'] as const),
    ['GET', '/api/v1/nodes/node1/proxy/pods'],
    ['GET', '/api/v1/watch/pods'],
    ['POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews'],
    ['POST', '/apis/authorization.k8s.io/v1/selfsubjectrulesreviews'],
  ];

  const issue = async (change: {
    readonly notAfter?: number;
    readonly kind?: 'client' | 'server';
    readonly organization?: string;
    readonly ownCa?: boolean;
  }) => {
    const { notAfter = Date.now() + 3_600_000, kind = 'client', organization = 'system:masters', ownCa = false } = change;
    const common = { names: [], notBefore: Date.now() - 7_200_000, algorithm: 'ecdsa' } as const;
    const other = await issueCertificate({
      ...common,
      kind: 'ca',
      commonName: 'pinpod-ca',
      organization: undefined,
      notAfter: Date.now() + 7_200_000,
      issuer: undefined,
    });
    const issuer = ownCa ? other : { certificate: await r.pki('ca.crt'), key: await r.pki('ca.key') };
    const { certificate, key } = await issueCertificate({ ...common, kind, commonName: 'eve', organization, notAfter, issuer });
    return { cert: certificate, key };
  };

  const callers: readonly (readonly [who: string, make: () => Promise<Credentials>, code: number])[] = [
    ['nobody', async () => ({}), 401],
    ['a bearer token', async () => ({ headers: { authorization: 'Bearer x' } }), 401],
    ['a certificate of another CA', () => issue({ ownCa: true }), 401],
    ['an expired certificate', () => issue({ notAfter: Date.now() - 1000 }), 401],
    ['a server certificate', () => issue({ kind: 'server' }), 401],
    ['a wrong user', () => issue({ organization: 'users' }), 403],
    [
      'a wrong user who would like to be another one',
      async () => ({
        ...(await issue({ organization: 'users' })),
        headers: { 'Impersonate-User': 'root', 'Impersonate-Group': 'system:masters' },
      }),
      403,
    ],
    ['nobody who would like to be somebody', async () => ({ headers: { 'Impersonate-User': 'pinpod-admin' } }), 401],
  ];
  for (const [who, make, code] of callers) {
    test(`C-383 H-007: ${who} gets ${code} from every endpoint, upgrades included`, async () => {
      const credentials = await make();
      for (const [method, target] of endpoints) assert.equal(await call(method, target, credentials), code, `${method} ${target}`);
      const upgrade = { Connection: 'Upgrade', Upgrade: 'SPDY/3.1', 'X-Stream-Protocol-Version': 'v4.channel.k8s.io' };
      for (const kind of ['exec?command=id&stdout=true', 'attach?stdout=true', 'portforward']) {
        const target = `/api/v1/namespaces/default/pods/web-node1/${kind}`;
        assert.equal(await call('POST', target, { ...credentials, headers: { ...credentials.headers, ...upgrade } }), code, kind);
      }
      assert.deepEqual(r.views.runtime.calls, [], 'no call reached the runtime');
    });
  }

  test("H-006: the files of the PKI, the kubeconfig and the socket are root's alone", async () => {
    for (const file of ['kubeconfig', 's.sock', 'pki/ca.key', 'pki/ca.crt', 'pki/server.key', 'pki/client.key']) {
      assert.equal((await stat(path.join(r.dir, file))).mode & 0o777, 0o600, file);
    }
    assert.equal((await stat(path.join(r.dir, 'pki'))).mode & 0o777, 0o700);
  });

  const raw = (bytes: string): Promise<string> =>
    new Promise((resolve) => {
      const socket = createConnection(path.join(r.dir, 's.sock'));
      let text = '';
      socket.on('data', (data) => {
        text += data.toString();
      });
      socket.on('error', () => undefined);
      socket.on('close', () => resolve(text));
      socket.write(bytes);
    });

  test('oversize headers and nonsense are answered with a Status, and the server goes on', async () => {
    assert.match(
      await raw(`GET /version HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(400_000)}\r\n\r\n`),
      /^HTTP\/1\.1 431 [\s\S]*"kind":"Status"/,
    );
    assert.match(await raw('nonsense\r\n\r\n'), /^HTTP\/1\.1 400 [\s\S]*"kind":"Status"/);
    assert.match(await raw('GET /api/v1/../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'), /^HTTP\/1\.1 404 /);
    assert.match(await raw('GET http://[ HTTP/1.1\r\nHost: [\r\nConnection: close\r\n\r\n'), /^HTTP\/1\.1 400 /);
    assert.match(await raw('GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'), /^HTTP\/1\.1 200 /);
  });

  const stream = '/api/v1/namespaces/default/pods/web-node1/exec?command=id&stdout=true';
  const webSocket =
    'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n';
  const review = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
  const post = (type: string, body: string): string =>
    `POST ${review} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: ${type}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
  const hostile: readonly (readonly [what: string, bytes: string, answer: RegExp])[] = [
    ['two lengths', 'POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab', /^HTTP\/1\.1 400 /],
    [
      'length and chunks',
      'POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      /^HTTP\/1\.1 400 /,
    ],
    ['a chunk of no size', 'POST /version HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n', /^HTTP\/1\.1 (400|404|405) /],
    ['NUL in a header', 'GET /version HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n', /^HTTP\/1\.1 400 /],
    ['HTTP/2 without asking', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', /^HTTP\/1\.1 400 /],
    ['a method nobody knows', 'BREW /version HTTP/1.1\r\nHost: x\r\n\r\n', /^HTTP\/1\.1 400 /],
    [
      'a method of something else',
      'PROPFIND /api/v1/pods HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
      /^HTTP\/1\.1 405 [\s\S]*"kind":"Status"/,
    ],
    ['a path of 300 KiB', `GET /${'a/'.repeat(150_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, /^HTTP\/1\.1 431 /],
    [
      'traversal, encoded twice',
      'GET /openapi/v3/%252e%252e%252f%252e%252e HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
      /^HTTP\/1\.1 404 /,
    ],
    ['a body of 100,000 brackets', post('application/json', '['.repeat(100_000)), /^HTTP\/1\.1 400 [\s\S]*"kind":"Status"/],
    [
      'protobuf that is none',
      post('application/vnd.kubernetes.protobuf', 'k8s\0\x0a\xff\xff\xff\xff\x0f'),
      /^HTTP\/1\.1 400 [\s\S]*"kind":"Status"/,
    ],
    ['a type nobody reads', post('text/html', '<p>'), /^HTTP\/1\.1 (400|415) [\s\S]*"kind":"Status"/],
    [
      'nothing acceptable',
      'GET /api/v1/pods HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: image/png;q=x;;\r\n\r\n',
      /^HTTP\/1\.1 406 [\s\S]*"kind":"Status"/,
    ],
    ['a WebSocket without a key', `GET ${stream} HTTP/1.1\r\nHost: x\r\n${webSocket}\r\n`, /^HTTP\/1\.1 (400|500) /],
    [
      'an upgrade to what nobody speaks',
      `GET ${stream} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n`,
      /^HTTP\/1\.1 (400|403|500) /,
    ],
    [
      'an upgrade of something else',
      `GET /api/v1/pods HTTP/1.1\r\nHost: x\r\n${webSocket}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
      /^HTTP\/1\.1 404 [\s\S]*"kind":"Status"/,
    ],
    [
      'a port that is none',
      `GET ${stream.replace(/exec.*/, 'portforward?ports=99999')} HTTP/1.1\r\nHost: x\r\n${webSocket}\r\n`,
      /^HTTP\/1\.1 400 [\s\S]*invalid port/,
    ],
  ];
  for (const [what, bytes, answer] of hostile) {
    test(`hostile: ${what} is answered, and the server goes on`, async () => {
      assert.match(await raw(bytes), answer);
      assert.match(await raw('GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'), /^HTTP\/1\.1 200 /);
    });
  }

  test('C-440: a watch answers with its headers while nothing happens', async () => {
    const socket = createConnection(path.join(r.dir, 's.sock'));
    socket.write('GET /api/v1/pods?watch=true&labelSelector=nothing HTTP/1.1\r\nHost: x\r\n\r\n');
    const [head] = (await once(socket, 'data')) as [Buffer];
    socket.destroy();
    assert.match(head.toString(), /^HTTP\/1\.1 200 OK\r\n[\s\S]*Content-Type: application\/json[\s\S]*\r\n\r\n$/i);
  });

  test('a watcher that does not read is let go when it lags too far behind; the others are served', async () => {
    const open = (): Socket => {
      const socket = createConnection(path.join(r.dir, 's.sock'));
      socket.write('GET /api/v1/pods?watch=true HTTP/1.1\r\nHost: x\r\n\r\n');
      return socket;
    };
    const [slow, quick] = [open(), open()];
    let seen = '';
    quick.on('data', (data) => {
      seen = (seen + data.toString()).slice(-200_000);
    });
    slow.pause();
    const pods = r.views.pods.list();
    while (r.views.pods.subscribers < 1) await new Promise((resolve) => setTimeout(resolve, 5));
    const note = 'x'.repeat(4000);
    for (let i = 0; i < 3000; i++) {
      r.views.pods.set([...pods, podOf({ name: 'noisy', labels: { n: String(i) }, status: { phase: 'Pending', message: note } })]);
      await new Promise((resolve) => setImmediate(resolve));
    }
    while (!seen.includes('"n":"2999"')) await new Promise((resolve) => setTimeout(resolve, 5));
    r.views.pods.set(pods);
    let last = '';
    slow.on('data', (data) => {
      last = (last + data.toString()).slice(-200_000);
    });
    slow.resume();
    // The end of its body: it may list and watch again.
    while (!last.endsWith('0\r\n\r\n')) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.ok(!last.includes('"n":"2999"'));
    slow.destroy();
    quick.destroy();
  });

  test('500 idle watches: each gets the next change, and all are gone with their clients', async () => {
    const sockets = Array.from({ length: 500 }, () => createConnection(path.join(r.dir, 's.sock')));
    const heard = sockets.map(
      (socket) =>
        new Promise<void>((resolve) => {
          let text = '';
          socket.on('data', (data) => {
            text += data.toString();
            if (text.includes('"ADDED"') && text.includes('many-node1')) resolve();
          });
        }),
    );
    for (const socket of sockets) socket.write('GET /api/v1/pods?watch=true&labelSelector=many HTTP/1.1\r\nHost: x\r\n\r\n');
    const pods = r.views.pods.list();
    r.views.pods.set([...pods, podOf({ name: 'many', labels: { many: 'yes' } })]);
    await Promise.all(heard);
    for (const socket of sockets) socket.destroy();
    r.views.pods.set(pods);
    while (r.views.pods.subscribers > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  });

  test("a second agent on the same socket is refused; a dead one's socket is taken over", async () => {
    const options = { version: testVersion, manifestLocation: '', socketPath: path.join(r.dir, 's.sock') };
    const deps = { ...fakeViews([]), health: [], clock: systemClock, random: systemRandom, log: silentLogger };
    await assert.rejects(new KubeServer(options, deps).start(), { code: 'already-running' });
    const stale = path.join(r.dir, 'stale.sock');
    await writeFile(stale, '');
    const taken = new KubeServer({ ...options, socketPath: stale }, deps);
    await taken.start();
    await taken.stop();
  });

  test('views keep UID and age over a restart, and certificates are used again', async () => {
    const saved: { value: unknown } = { value: undefined };
    const mirrorState = {
      load: async () => saved.value,
      save: async (value: unknown) => {
        saved.value = JSON.parse(JSON.stringify(value));
      },
    };
    const dir = await mkdtemp('/tmp/kapi-');
    const uids: string[] = [];
    const certificates: string[] = [];
    for (let i = 0; i < 2; i++) {
      const kubeconfigPath = path.join(dir, 'kubeconfig');
      const https = { address: '127.0.0.1', port: 0, names: [], pkiDir: path.join(dir, 'pki'), kubeconfigPath };
      const views = fakeViews([podOf()]);
      const server = new KubeServer(
        { version: testVersion, manifestLocation: '', socketPath: path.join(dir, 's.sock'), https },
        { ...views, nodes: views.nodes, mirrorState, health: [], clock: systemClock, random: systemRandom, log: silentLogger },
      );
      await server.start();
      const config = new KubeConfig();
      config.loadFromFile(kubeconfigPath);
      const api = config.makeApiClient(CoreV1Api);
      const before = await api.readNamespacedPod({ namespace: 'default', name: 'web-node1' });
      if (i === 0) await api.deleteNamespacedPod({ namespace: 'default', name: 'web-node1' });
      const after = await api.readNamespacedPod({ namespace: 'default', name: 'web-node1' });
      uids.push(before.metadata?.uid ?? '', after.metadata?.uid ?? '');
      certificates.push(await readFile(path.join(dir, 'pki', 'server.crt'), 'utf8'));
      await server.stop();
    }
    await rm(dir, { recursive: true });
    assert.notEqual(uids[0], uids[1]);
    assert.deepEqual([uids[2], uids[3], certificates[1]], [uids[1], uids[1], certificates[0]]);
    assert.equal(nodeOf().metadata?.uid, 'node-uid');
  });
});

describe('where the API server listens', () => {
  interface Place {
    readonly address?: string;
    readonly port?: number;
    readonly kubeconfig?: string;
  }

  async function serverAt(t: TestContext, place: Place, clock: Clock = systemClock) {
    const dir = await mkdtemp('/tmp/kapi-');
    const told: (string | undefined)[] = [];
    const kubeconfigPath = path.join(dir, place.kubeconfig ?? 'kubeconfig');
    const { address = '127.0.0.1', port = 0 } = place;
    const views = fakeViews([podOf()]);
    const server = new KubeServer(
      {
        version: testVersion,
        manifestLocation: '',
        socketPath: path.join(dir, 's.sock'),
        https: { address, port, names: ['node1'], pkiDir: path.join(dir, 'pki'), kubeconfigPath },
      },
      {
        ...{ ...views, clock, health: [], random: systemRandom, log: silentLogger },
        onFault: (message) => told.push(message?.replace(dir, '<dir>')),
      },
    );
    await server.start();
    t.after(async () => {
      await server.stop();
      await rm(dir, { recursive: true });
    });
    const until = async (isSo: () => boolean): Promise<void> => {
      while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 5));
    };
    return { server, dir, kubeconfigPath, told, until };
  }

  const hasIpv6 = Object.values(networkInterfaces()).some((list) => list?.some(({ address }) => address === '::1'));
  for (const [address, host] of [
    ['127.0.0.1', '127.0.0.1'],
    ['0.0.0.0', '127.0.0.1'],
    ['::1', '[::1]'],
    ['::', '[::1]'],
  ] as const) {
    const skip = whyNoKubectl() ?? (address.includes(':') && !hasIpv6 ? 'no IPv6 here' : false);
    test(`${address}: the kubeconfig leads to ${host}`, { skip }, async (t) => {
      const { server, kubeconfigPath } = await serverAt(t, { address });
      assert.ok(server.url?.startsWith(`https://${host}:`), server.url);
      const kubectl = new Kubectl(kubeconfigPath);
      const answer = await kubectl.run(['get', 'pods', '-o', 'name']);
      assert.deepEqual(answer, { code: 0, out: 'pod/web-node1\n', err: '' });
      const { port } = new URL(server.url ?? '');
      const byName = await kubectl.run(['get', 'ns', '-o', 'name', '-s', `https://127.0.0.1:${port}`, '--tls-server-name', 'node1']);
      assert.equal(byName.code, address === '::1' ? 1 : 0, byName.err);
    });
  }

  test('a port that is taken is told, and taken when it is free; the socket serves meanwhile', async (t) => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    const clock = new FakeClock();
    const { server, dir, told, until } = await serverAt(t, { port }, clock);
    const fault = `cannot listen on 127.0.0.1:${port}: EADDRINUSE, another program has the port (\`ss -ltnp\` shows which)`;
    assert.deepEqual([told, server.url], [[fault], undefined]);
    const local = createConnection(path.join(dir, 's.sock'));
    local.write('GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    assert.match(String((await once(local, 'data'))[0]), /^HTTP\/1\.1 200 /);
    await clock.advance(5000);
    await until(() => told.length === 2);
    other.close();
    await once(other, 'close');
    await until(() => clock.sleeping > 0);
    await clock.advance(5000);
    await until(() => server.url !== undefined);
    assert.deepEqual(told, [fault, fault, undefined]);
  });

  test('of the whole agent no Pod waits for a port that is taken, and doctor says which', async (t) => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    const dir = await mkdtemp('/tmp/kapi-');
    const agent = new FakeAgent({ dir, agent: { kubeAPI: { port } } }, { clock: systemClock });
    agent.put('web.json', JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'web' }, spec: podOf().spec }));
    await agent.start();
    t.after(async () => {
      await agent.stop();
      await rm(dir, { recursive: true });
    });
    const { signal } = new AbortController();
    const phases = async (): Promise<string> => {
      const { items } = (await agent.client.json('/api/v1/pods', { signal })) as { readonly items: readonly ApiPod[] };
      return items.map(({ status }) => status?.phase).join();
    };
    while ((await phases()) !== 'Running') await new Promise((resolve) => setTimeout(resolve, 20));
    const troubles = async (): Promise<string> => {
      const report = (await agent.client.json('/pinpod/v1/doctor', { signal })) as DoctorReport;
      return report.troubles
        .filter(({ area }) => area === 'kubectl port')
        .map(({ message }) => message)
        .join();
    };
    assert.match(await troubles(), new RegExp(`^kubectl cannot be served yet: cannot listen on 127\\.0\\.0\\.1:${port}: EADDRINUSE`));
    other.close();
    while ((await troubles()) !== '') await new Promise((resolve) => setTimeout(resolve, 100));
    assert.match(await readFile(path.join(agent.runDir, 'kubeconfig.yaml'), 'utf8'), new RegExp(`:${port}"`));
  });

  test('a kubeconfig that cannot be written is told, and written when it can be', async (t) => {
    const clock = new FakeClock();
    const { server, dir, kubeconfigPath, told, until } = await serverAt(t, { kubeconfig: 'file/kubeconfig' }, clock);
    assert.equal(told.at(-1), undefined);
    await server.stop();
    await rm(path.dirname(kubeconfigPath), { recursive: true });
    await writeFile(path.dirname(kubeconfigPath), 'in the way');
    const second = new KubeServer(
      {
        version: testVersion,
        manifestLocation: '',
        socketPath: path.join(dir, 's2.sock'),
        https: { address: '127.0.0.1', port: 0, names: [], pkiDir: path.join(dir, 'pki'), kubeconfigPath },
      },
      {
        ...{ ...fakeViews([]), clock, health: [], random: systemRandom, log: silentLogger },
        onFault: (message) => told.push(message?.replaceAll(dir, '<dir>')),
      },
    );
    await second.start();
    t.after(() => second.stop());
    assert.match(told.at(-1) ?? '', /^(ENOTDIR|EEXIST): .*<dir>\/file/);
    await rm(path.dirname(kubeconfigPath));
    await until(() => clock.sleeping > 0);
    await clock.advance(5000);
    await until(() => told.at(-1) === undefined);
    assert.match(await readFile(kubeconfigPath, 'utf8'), /current-context: "pinpod"/);
  });

  test('certificates are renewed while clients are connected: they go on, new ones get the new certificate', async (t) => {
    const day = 86_400_000;
    const clock = new FakeClock(Date.now() - 320 * day);
    const { dir, kubeconfigPath, server, until } = await serverAt(t, {}, clock);
    const read = (name: string): Promise<string> => readFile(path.join(dir, name), 'utf8');
    const credentials = async () => ({
      ca: await read('pki/ca.crt'),
      cert: await read('pki/client.crt'),
      key: await read('pki/client.key'),
    });
    const old = { ...(await credentials()), kubeconfig: await read('kubeconfig'), server: await read('pki/server.crt') };
    const agent = new HttpsAgent({ keepAlive: true, maxSockets: 1 });
    t.after(() => agent.destroy());
    const ask = async (options: RequestOptions): Promise<{ code: number | undefined; isReused: boolean; certificate: string }> => {
      const call = httpsRequest(new URL('/api/v1/pods', server.url), options).end();
      const [response] = (await once(call, 'response')) as [IncomingMessage];
      const certificate = (response.socket as TLSSocket).getPeerX509Certificate()?.toString() ?? '';
      response.resume();
      await once(response, 'end');
      return { code: response.statusCode, isReused: call.reusedSocket, certificate };
    };
    const first = await ask({ ...old, agent });
    assert.deepEqual([first.code, first.isReused], [200, false]);
    let renewed = old.kubeconfig;
    for (let days = 0; renewed === old.kubeconfig; days += 0.5) {
      assert.ok(days < 365);
      await clock.advance(day / 2);
      await until(() => clock.sleeping > 0);
      renewed = await read('kubeconfig');
    }
    assert.notEqual(await read('pki/server.crt'), old.server);
    const second = await ask({ ...old, agent });
    assert.deepEqual([second.code, second.isReused], [200, true]);
    const third = await ask({ ...(await credentials()), agent: false });
    assert.equal(third.code, 200);
    assert.notEqual(third.certificate, first.certificate);
    assert.equal((await ask({ ...old, agent: false })).code, 200, 'the client certificate of before is good until it expires');
    assert.equal((await stat(kubeconfigPath)).mode & 0o777, 0o600);
  });
});
