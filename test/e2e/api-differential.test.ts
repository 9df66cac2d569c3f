// The node's own API beside a real kube-apiserver that shows the same Pods as mirrors: the same kubectl, the same commands,
// and the same answers, errors and exit codes. What differs on purpose is in docs/differences-from-api-server.md.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Pod } from '../../src/api/gen/kubernetes.ts';
import { type Cluster, joinCluster, whyNoCluster } from '../support/cluster.ts';
import { offlineImages, whyNoContainerd } from '../support/containerd.ts';
import { Kubectl, type KubectlVersion, kubectlVersions, whyNoKubectl } from '../support/kubectl.ts';
import { eventually } from '../support/test-agent.ts';

const missing = whyNoContainerd() ?? whyNoCluster() ?? kubectlVersions.map((v) => whyNoKubectl(v)).find((why) => why !== undefined);
if (missing !== undefined) console.error(`SKIPPED: ${missing}`);

const shell = (script: string) => ({ image: offlineImages.busybox, imagePullPolicy: 'Never', command: ['sh', '-c', script] });
const fixtures: Readonly<Record<string, Pod>> = {
  web: {
    metadata: { labels: { app: 'web', tier: '1' }, annotations: { note: 'hello' } },
    spec: {
      terminationGracePeriodSeconds: 1,
      initContainers: [
        { name: 'init1', ...shell('echo init done') },
        { name: 'sc', restartPolicy: 'Always', ...shell('echo sidecar; sleep 1000 & wait') },
      ],
      containers: [
        {
          name: 'httpd',
          ...shell("echo started; trap 'exit 0' TERM; httpd -f -p 8081 -h /www & wait"),
          ports: [{ name: 'http', containerPort: 8081 }],
          readinessProbe: { tcpSocket: { port: 'http' } },
          resources: { requests: { cpu: '50m', memory: '16Mi' }, limits: { cpu: '1', memory: '64Mi' } },
          env: [{ name: 'N', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }],
          volumeMounts: [{ name: 'e', mountPath: '/e' }],
        },
        { name: 'quiet', ...shell('sleep 1000 & wait') },
      ],
      volumes: [
        { name: 'e', emptyDir: {} },
        { name: 'h', hostPath: { path: '/etc' } },
      ],
    },
  },
  done: {
    metadata: { labels: { 'x.io/a': 'b' } },
    spec: { restartPolicy: 'Never', containers: [{ name: 'c', ...shell('echo finished') }] },
  },
  failed: { metadata: { labels: { tier: '2' } }, spec: { restartPolicy: 'Never', containers: [{ name: 'c', ...shell('exit 7') }] } },
  sys: {
    metadata: { namespace: 'kube-system', labels: { app: 'sys' } },
    spec: {
      hostNetwork: true,
      terminationGracePeriodSeconds: 1,
      priorityClassName: 'system-node-critical',
      containers: [{ name: 'c', ...shell('sleep 1000 & wait') }],
    },
  },
};

const logOf = '/api/v1/namespaces/default/pods/web-edge1/log?container=httpd';
const commands: Readonly<Record<string, readonly string[]>> = {
  'C-301 … C-305, C-308 … C-316, C-320: get': [
    'get pods',
    'get pods -o wide',
    'get pods -A -o wide --show-labels -L app',
    'get pods -o name',
    'get pod web-edge1 done-edge1',
    'get po,no',
    'get nodes -o wide',
    'get leases -n kube-node-lease',
    'get events -o wide',
    'get events.events.k8s.io',
    'get pods -n nope',
    'get pods nope',
    'get pod a b',
    'get nodes nope',
    'get foo',
    'get pods --ignore-not-found nope',
    'get pods --sort-by=.metadata.name',
    'get pods --sort-by={.spec.x}',
    'get pods --chunk-size=2',
    'get pods -o jsonpath={.items[*].metadata.name}',
    'get pods -o custom-columns=N:.metadata.name,P:.status.phase',
    'get pods --show-kind --no-headers',
    'get pods --server-print=false',
    'get pod web-edge1 --subresource=status',
    'get pod web-edge1 --subresource=scale',
  ],
  'C-306 C-307: selectors': [
    ...['status.phase=Running', 'status.phase!=Running,spec.nodeName=edge1', 'spec.host=edge1', 'spec.restartPolicy=Never'],
    ...['spec.schedulerName=default-scheduler', 'spec.serviceAccountName=', 'spec.hostNetwork=true', 'status.podIP=', 'status.podIPs='],
    ...['status.nominatedNodeName=', 'metadata.uid=x', 'spec.foo=1', 'bad', '=x', 'a=b=c', 'status.phase=a\\b', 'status.phase==Running,,'],
  ]
    .map((field) => `get pods -A -o name --field-selector ${field}`)
    .concat(
      ['app=web', 'app!=web', "'app in (web,sys)'", "'app notin (web,sys)'", 'app', "'!app'", "'tier>1'", "'tier<2'", "'tier>x'"].map(
        (label) => `get pods -A -o name -l ${label}`,
      ),
      [
        "'app in ()'",
        "'app in (web'",
        "'app=(web)'",
        '=x',
        "'a b'",
        "'a=b c'",
        ',',
        'app=web,',
        'app=',
        'x_io/a/b=b',
        "'a in (-b,-c)'",
      ].map((label) => `get pods -A -o name -l ${label}`),
      [
        'get nodes --field-selector spec.unschedulable=false -o name',
        'get nodes --field-selector metadata.namespace=x',
        'get leases -A --field-selector spec.x=1',
        'get events --field-selector involvedObject.foo=x',
        'get events --field-selector involvedObject.name=web-edge1,reason=Started',
        'get events.events.k8s.io --field-selector regarding.kind=Pod,reportingController=kubelet,regarding.fieldPath=spec.containers{c}',
      ],
    ),
  'C-345 C-346 C-349: describe': [
    'describe pod web-edge1',
    'describe pod done-edge1',
    'describe pod failed-edge1',
    'describe pod sys-edge1 -n kube-system',
    'describe pod -l app=web',
    'describe pod nope',
  ],
  'C-350, C-352, C-354 … C-358, C-361, C-362: logs': [
    'logs web-edge1',
    'logs web-edge1 -c init1',
    'logs web-edge1 -c sc --timestamps',
    'logs web-edge1 -c nope',
    'logs web-edge1 --previous',
    'logs done-edge1',
    'logs failed-edge1',
    'logs nope',
    'logs done-edge1 -f',
    'logs -l app=web -c httpd --prefix --tail=1',
    ...['--tail=0', '--tail=-2', '--limit-bytes=3', '--limit-bytes=-1', '--since=-1h', '--since-time=2096-01-01T00:00:00Z'].map(
      (flag) => `logs web-edge1 -c httpd ${flag}`,
    ),
    'get --raw /api/v1/namespaces/default/pods/web-edge1/log',
    ...['tailLines=x', 'tailLines=-1', 'limitBytes=0', 'sinceSeconds=0', 'sinceTime=2026-01-01T00:00:00Z&sinceSeconds=3'].map(
      (query) => `get --raw ${logOf}&${query}`,
    ),
  ],
  'C-370 … C-377, C-393: exec, attach, port-forward': [
    'exec web-edge1 -- echo hi',
    "exec web-edge1 -c quiet -- sh -c 'echo out; echo err >&2; exit 7'",
    'exec web-edge1 -c nope -- true',
    'exec done-edge1 -- true',
    'exec nope -- true',
    'attach done-edge1',
    'attach nope',
    'port-forward done-edge1 18080:80',
    'port-forward nope 18080:80',
    'get --raw /api/v1/namespaces/default/pods/web-edge1/exec',
    'get --raw /api/v1/namespaces/default/pods/web-edge1/attach?container=nope',
    'get --raw /api/v1/namespaces/default/pods/nope/exec',
  ],
  'C-400 … C-403: wait': [
    'wait --for=condition=Ready pod/web-edge1 node/edge1 --timeout=5s',
    'wait --for=condition=Ready pod/done-edge1 --timeout=1s',
    'wait --for=condition=Ready=false pod/done-edge1 --timeout=5s',
    'wait --for=condition=Ready pod -l app=web --timeout=5s',
    'wait --for=condition=Ready pod/nope --timeout=1s',
    'wait --for=delete pod/nope --timeout=1s',
    'wait --for=create pod/web-edge1 --timeout=1s',
    'wait --for=jsonpath={.status.phase}=Succeeded pod/done-edge1 --timeout=5s',
  ],
  'C-332 … C-338: who may what, as whom': [
    'auth can-i get pods',
    'auth can-i delete pod web-edge1',
    'auth can-i create pods --subresource=exec',
    'auth can-i get pods --as=bob',
    'auth can-i get /version --as=bob',
    'auth whoami --as=bob --as-group=a',
    'auth whoami --as=system:serviceaccount:ns:n',
    'auth whoami --as=system:anonymous',
    'get pods --as=bob',
    'get nodes --as=bob --as-group=g --as-uid=7',
    'get pods --as=bob --as-group=system:masters -o name',
    'logs web-edge1 --as=bob',
    'delete pod web-edge1 --as=bob',
    'get --raw /metrics --as=bob',
  ],
  'C-412 C-413: delete': [
    'delete pod nope',
    'delete pod nope --ignore-not-found',
    'delete pods -l app=nope',
    'delete pod web-edge1 --dry-run=client',
    'delete pod web-edge1 --cascade=foo',
    'delete node nope',
  ],
  'H-020 … H-026, H-123 … H-128, H-143, H-144: paths and parameters': [
    ...['/version/nope', '/healthz', '/livez', '/readyz', '/healthz/ping', '/livez/ping', '/readyz/nope', '/healthz/', '/nope'],
    ...['/api', '/api/', '/api/v2', '/api/v1/foo', '/api/v1/pods/x', '/api/v1/namespaces/default/foo', '/apis/nope', '/apis/nope/v1'],
    ...['/apis/nope/v1/x', '/apis/coordination.k8s.io', '/apis/coordination.k8s.io/v9', '/apis/coordination.k8s.io/v1/foo'],
    ...['/openapi/v3/nope', '/api/v1/nodes/nope/proxy/healthz', '/api/v1/namespaces/nope'],
    ...['foo', 'eviction', 'binding', 'log/x', 'portforward'].map((name) => `/api/v1/namespaces/default/pods/web-edge1/${name}`),
    ...['limit=abc', 'resourceVersion=abc', 'resourceVersionMatch=Exact', 'resourceVersionMatch=Foo&resourceVersion=1', 'timeout=x'],
    ...['resourceVersionMatch=Exact&resourceVersion=0', 'sendInitialEvents=true', 'sendInitialEvents=true&watch=true'],
    ...['watch=true&resourceVersionMatch=Exact&resourceVersion=1', 'timeoutSeconds=x'],
    'sendInitialEvents=false&watch=true&timeoutSeconds=1&resourceVersionMatch=NotOlderThan',
    'watch=foo&timeoutSeconds=1&fieldSelector=metadata.name=nope',
  ].map((path) => `get --raw ${path.startsWith('/') ? path : `/api/v1/pods?${path}`}`),
};

/** Words; those in single quotes are one. */
const wordsOf = (command: string): readonly string[] =>
  [...command.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '');

/** Times, UIDs, versions and ports are each server's own; so is the order of lines that several requests bring. */
function comparable(text: string): readonly string[] {
  return text
    .replaceAll(/127\.0\.0\.1:\d+/g, '<server>')
    .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, '<uid>')
    .replaceAll(/\b(\d+[ywdhms])+( ago)?\b/g, '<age>')
    .replaceAll(/(resourceVersion"?: ?")\d+/g, '$1<version>')
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, '<time>')
    .replaceAll(/\w{3}, \d\d \w{3} \d{4} [\d:]{8} [+-]\d{4}/g, '<time>')
    .replaceAll(/edge1\.[0-9a-f]{14,16}\b/g, 'edge1.<event>')
    .split('\n')
    .map((line) => line.replaceAll(/ {2,}/g, '  ').trimEnd());
}

describe('kubectl at the node’s own API and at a kube-apiserver', { skip: missing, timeout: 900_000 }, () => {
  let w: Cluster;
  let kubeconfigOfCluster = '';

  before(async () => {
    w = await joinCluster({ kubelet: { authorization: { mode: 'Webhook' } } });
    kubeconfigOfCluster = await w.env.kubeconfig({ commonName: 'admin', organization: 'system:masters' });
    for (const [name, { spec, metadata }] of Object.entries(fixtures)) w.agent.putPod(name, spec, metadata);
    await w.agent.start();
    await w.agent.ready('web');
    await w.agent.until('done', 'is done', (pod) => pod.status?.phase === 'Succeeded');
    await w.agent.until('failed', 'has failed', (pod) => pod.status?.phase === 'Failed');
    await w.until(
      'web',
      'is ready there as well',
      (pod) => pod.status?.conditions?.find(({ type }) => type === 'Ready')?.status === 'True',
    );
    await w.until('failed', 'has failed there as well', (pod) => pod.status?.phase === 'Failed');
  });
  after(async () => {
    await w?.agent.destroy();
    await w?.env.close();
  });

  const answer = async (kubectl: Kubectl, command: string): Promise<readonly string[]> => {
    const { code, out, err } = await kubectl.run(wordsOf(command));
    const lines = comparable(`${err}\n${out}`);
    // Only the API server has these: its own Lease and its own Events.
    const shared = lines.filter((line) => !/apiserver/i.test(line));
    return [`exit ${code}`, ...(/^get ev/.test(command) ? [...shared].sort() : shared)];
  };

  const suite = (version: KubectlVersion): void => {
    for (const [what, list] of Object.entries(commands)) {
      it(`${what}, kubectl ${version}`, async () => {
        const own = new Kubectl(w.agent.kubeconfig, version);
        const cluster = new Kubectl(kubeconfigOfCluster, version);
        for (const command of list) {
          let last: readonly (readonly string[])[] = [];
          // The mirror follows the Pod: what is seen between the two is no difference.
          await eventually(w.agent, `the same answer to: kubectl ${command}`, async () => {
            last = await Promise.all([answer(own, command), answer(cluster, command)]);
            return JSON.stringify(last[0]) === JSON.stringify(last[1]) || undefined;
          }).catch(() => assert.deepEqual(last[0], last[1], `kubectl ${command}`));
        }
      });
    }
  };
  for (const version of kubectlVersions) suite(version);
});
