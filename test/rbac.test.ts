// deploy/rbac.yaml grants exactly what the mirror asks for: a run of everything against the API double is compared with
// its rules, and no rule may be left that nothing used.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import type { Node } from '../src/api/gen/kubernetes.ts';
import { ApiReviews } from '../src/mirror/api-reviews.ts';
import { CertificateRotation } from '../src/mirror/certificate-rotation.ts';
import { CertificateStore } from '../src/mirror/certificate-store.ts';
import { EventForwarder } from '../src/mirror/event-forwarder.ts';
import { MirrorPods } from '../src/mirror/mirror-pods.ts';
import { NodeLease } from '../src/mirror/node-lease.ts';
import { NodeRegistration } from '../src/mirror/node-registration.ts';
import { Reflector } from '../src/mirror/reflector.ts';
import { TaskGroup } from '../src/std/async.ts';
import type { SeenRequest } from './support/kube-api-double.ts';
import { apiWorld, buildNodeFacts, nodeName, quiesce, runningStatus, staticPod, until } from './support/mirror-fixtures.ts';

interface Role {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly rules?: readonly {
    readonly apiGroups: readonly string[];
    readonly resources: readonly string[];
    readonly verbs: readonly string[];
  }[];
}

function granted(): Set<string> {
  const text = readFileSync(path.join(import.meta.dirname, '..', 'deploy', 'rbac.yaml'), 'utf8');
  const grants = new Set<string>();
  for (const document of parseAllDocuments(text)) {
    assert.deepEqual(document.errors, []);
    const { rules = [], metadata } = document.toJS() as Role;
    for (const { apiGroups, resources, verbs } of rules) {
      for (const group of apiGroups)
        for (const resource of resources) for (const verb of verbs) grants.add(`${metadata.namespace ?? '*'} ${group}/${resource} ${verb}`);
    }
  }
  return grants;
}

function permissionOf({ method, path: url, query }: SeenRequest): string {
  const match = /^(?:\/api\/v1|\/apis\/([^/]+)\/v1)(?:\/namespaces\/([^/]+))?\/([a-z]+)(?:\/([^/]+)(?:\/([a-z]+))?)?$/.exec(url);
  assert.ok(match, url);
  const [, group = '', namespace, resource = '', name, subresource] = match;
  const verbs: Record<string, string> = { POST: 'create', PUT: 'update', PATCH: 'patch', DELETE: 'delete' };
  const verb = method !== 'GET' ? (verbs[method] ?? method) : query['watch'] === 'true' ? 'watch' : name === undefined ? 'list' : 'get';
  const scope = namespace === 'kube-node-lease' ? namespace : '*';
  return `${scope} ${group}/${resource}${subresource === undefined ? '' : `/${subresource}`} ${verb}`;
}

test('S-354: deploy/rbac.yaml grants what the agent asks for, and nothing else', async (t) => {
  const w = apiWorld();
  const dir = await mkdtemp(path.join(tmpdir(), 'pinpod-rbac-'));
  t.after(() => rm(dir, { recursive: true }));
  const group = new TaskGroup();
  t.after(() => group.close());
  // A Node and a Lease of before, so that adopting is asked for as well.
  w.double.put('nodes', { metadata: { name: nodeName } });
  w.double.put('leases', { metadata: { name: nodeName, namespace: 'kube-node-lease' } });
  const nodes = new Reflector<Node>(
    { path: '/api/v1/nodes', fieldSelector: `metadata.name=${nodeName}`, name: 'node' },
    { ...w.deps, onChange: () => undefined },
  );
  const node = (): Node | undefined => nodes.get(nodeName);
  group.spawn('nodes', (o) => nodes.run(o));
  new NodeRegistration(
    {
      nodeName,
      labels: {},
      taints: [],
      architecture: 'amd64',
      maxImages: 50,
      register: true,
      statusUpdateFrequencyMs: 10_000,
      statusReportFrequencyMs: 300_000,
    },
    {
      ...w.deps,
      facts: { read: async () => buildNodeFacts(), subscribe: () => () => undefined },
      events: w.sink,
      node,
      learn: (n) => nodes.learn(n),
    },
  ).start(group);
  new NodeLease({ nodeName, durationSeconds: 40 }, { ...w.deps, node }).start(group);
  new MirrorPods({ nodeName }, { ...w.deps, status: w.status, node, isOrphan: () => true }).start(group);
  const events = new EventForwarder({ nodeName, qps: 50, burst: 100 }, w.deps);
  events.start(group);
  for (let i = 0; i < 2; i++) {
    events.record({ kind: 'Pod', namespace: 'default', name: 'p', uid: 'u' }, 'Normal', 'A', 'm');
    await quiesce();
  }
  await w.clock.advance(3000);
  w.status.publish(staticPod('a'), runningStatus);
  await until(w.clock, () => w.double.objects('pods').length === 1, 10_000);
  // A conflict, so that the mirror is read again; and a deletion, so that it is deleted for good and comes back.
  w.double.rules = [
    (r) =>
      r.path.endsWith('/status') && r.path.includes('/pods/') ? { kind: 'status', status: { code: 409, reason: 'Conflict' } } : undefined,
  ];
  w.double.deleteAs('pods', 'default', `web-${nodeName}`, 30);
  await until(w.clock, () => w.double.count('GET', `/pods/web-${nodeName}`) > 0, 60_000);
  const reviews = new ApiReviews({ nodeName }, w.deps);
  const { signal } = group;
  await assert.rejects(reviews.tokenReview('t', { signal }));
  await reviews.subjectAccessReview({ user: { name: 'u', groups: [] }, verb: 'get', subresource: 'proxy' }, { signal });
  const store = new CertificateStore({ directory: dir, name: 'kubelet-client' }, w);
  group.spawn('certificate', () => new CertificateRotation({ kind: 'client', nodeName }, { ...w.deps, store }).ensure(signal));
  for (let i = 0; w.double.count('GET', '/certificatesigningrequests/') === 0; i++) {
    assert.ok(i < 10_000);
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.deepEqual([...new Set(w.double.requests.map(permissionOf))].sort(), [...granted()].sort());
});
