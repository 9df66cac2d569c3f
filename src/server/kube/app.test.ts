import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, settle } from '../../../test/support/fake-clock.ts';
import { eventOf, fakeViews, podOf, runningStatus } from '../../../test/support/fake-views.ts';
import { testVersion } from '../../../test/support/kube-version.ts';
import { silentLogger } from '../../std/log.ts';
import { administrators, type User } from '../user.ts';
import { ResourceVersions } from '../watch-cache.ts';
import { KubeApi, staticPodWarning } from './app.ts';
import { MirrorPods } from './mirror-view.ts';
import { servedResources } from './resources.ts';

const admin: User = { name: 'admin', groups: [administrators] };
const tableAccept = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json';

function setUp(pods = [podOf({ labels: { app: 'web' } }), podOf({ name: 'db', namespace: 'data', status: { phase: 'Pending' } })]) {
  const clock = new FakeClock();
  const views = fakeViews(pods);
  views.manifests.list.push({
    source: 'file',
    path: '/etc/pinpod/manifests/web.yaml',
    pod: 'default/web-node1',
    verdict: { kind: 'accepted' },
  });
  const versions = new ResourceVersions({ clock });
  const mirrorPods = new MirrorPods({ ...views, clock, log: silentLogger });
  const resources = servedResources({ ...views, pods: mirrorPods, clock, versions });
  const abort = new AbortController();
  const options = { version: testVersion, serverAddress: '127.0.0.1:6443', manifestLocation: '/etc/pinpod/manifests' };
  const health = [
    { name: 'ping', check: () => undefined },
    { name: 'syncloop', check: () => broken.reason },
  ];
  const broken: { reason: string | undefined } = { reason: undefined };
  const kubelet = (request: Request): Response => {
    const { pathname, search } = new URL(request.url);
    return new Response(`${request.method} ${pathname}${search}`, { headers: { 'content-type': 'text/x' } });
  };
  const deps = {
    ...{ ...views, mirrorPods, resources, health, clock, kubelet },
    ...{ random: { next: () => 0 }, log: silentLogger, signal: abort.signal },
  };
  const { app } = new KubeApi(options, deps);
  const call = async (path: string, init: RequestInit = {}, user = admin) => {
    // A text as body would be sent as text/plain.
    const headers = typeof init.body === 'string' ? { 'content-type': 'application/json', ...init.headers } : init.headers;
    const response = await app.request(path, { ...init, ...(headers === undefined ? {} : { headers }) }, { user });
    const text = await response.text();
    return { code: response.status, text, headers: response.headers, json: parse(text) };
  };
  return { clock, views, app, call, broken, stop: () => abort.abort() };
}

// biome-ignore lint/suspicious/noExplicitAny: answers are looked into member by member
const parse = (text: string): any => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

/** Lines of a watch as they come. */
function watching(setup: ReturnType<typeof setUp>, query: string, headers: Readonly<Record<string, string>> = {}) {
  const lines: string[] = [];
  const state = { done: false };
  const started = (async () => {
    const response = await setup.app.request(`/api/v1/pods?watch=true&${query}`, { headers }, { user: admin });
    const reader = response.body?.getReader();
    const pump = async (): Promise<void> => {
      for (;;) {
        const part = await reader?.read();
        if (part === undefined || part.done) break;
        lines.push(...Buffer.from(part.value).toString().trimEnd().split('\n'));
      }
      state.done = true;
    };
    return { response, pumped: pump(), cancel: () => reader?.cancel() };
  })();
  const shown = () =>
    lines.map((text) => {
      const { type, object } = parse(text);
      return `${type} ${object.metadata?.name ?? object.code ?? ''}`.trim();
    });
  return { lines, shown, state, started };
}

test('H-120: a list has items without kind, and a version', async () => {
  const { call } = setUp();
  const { json } = await call('/api/v1/pods');
  assert.deepEqual([json.kind, json.apiVersion, json.items.length], ['PodList', 'v1', 2]);
  assert.match(json.metadata.resourceVersion, /^\d+$/);
  assert.deepEqual(
    json.items.map((p: { kind?: string; metadata: { namespace: string } }) => [p.kind, p.metadata.namespace]),
    [
      [undefined, 'data'],
      [undefined, 'default'],
    ],
  );
  assert.deepEqual((await call('/api/v1/namespaces/empty/pods')).json.items, []);
});

test('H-114 H-155: a Pod is shown as its mirror', async () => {
  const { call } = setUp();
  const { metadata, status } = (await call('/api/v1/namespaces/default/pods/web-node1')).json;
  assert.equal(metadata.annotations['kubernetes.io/config.mirror'], metadata.annotations['kubernetes.io/config.hash']);
  assert.deepEqual(metadata.ownerReferences, [{ apiVersion: 'v1', kind: 'Node', name: 'node1', uid: 'node-uid', controller: true }]);
  assert.notEqual(metadata.uid, 'uid-web-node1');
  assert.ok(status.startTime);
  assert.equal(metadata.creationTimestamp, status.startTime); // as old as the Pod, whenever somebody first looks
});

test('H-090 … H-094: tables of lists and of single objects', async () => {
  const { call } = setUp();
  const headers = { accept: tableAccept };
  const list = (await call('/api/v1/pods', { headers })).json;
  assert.equal(list.kind, 'Table');
  assert.deepEqual(
    list.rows.map((r: { cells: string[] }) => r.cells[0]),
    ['db-node1', 'web-node1'],
  );
  assert.deepEqual([list.rows[0].object.kind, list.rows[0].object.metadata.namespace], ['PartialObjectMetadata', 'data']);
  const one = (await call('/api/v1/namespaces/default/pods/web-node1?includeObject=Object', { headers })).json;
  assert.deepEqual(
    [one.rows.length, one.rows[0].object.kind, one.metadata.resourceVersion],
    [1, 'Pod', one.rows[0].object.metadata.resourceVersion],
  );
  assert.equal((await call('/api/v1/pods?includeObject=None', { headers })).json.rows[0].object, undefined);
  const bad = await call('/api/v1/pods?includeObject=x', { headers });
  assert.deepEqual(
    [bad.code, bad.json.message],
    [400, `Unable to convert to Table as requested: includeObject: Invalid value: "x": must be 'Metadata', 'Object', 'None', or empty`],
  );
  assert.equal((await call('/api/v1/pods?includeObject=x')).code, 200, 'who asks for no table is not asked what is in it');
});

test('H-041 C-448: what cannot be served is a 406, protobuf with a JSON alternative is JSON', async () => {
  const { call } = setUp();
  const none = await call('/api/v1/pods', { headers: { accept: 'application/vnd.kubernetes.protobuf' } });
  assert.deepEqual([none.code, none.json.reason], [406, 'NotAcceptable']);
  const both = await call('/api/v1/pods', { headers: { accept: 'application/vnd.kubernetes.protobuf,application/json' } });
  assert.deepEqual([both.code, both.headers.get('content-type')], [200, 'application/json']);
});

test('H-132 C-307 H-116: field selectors of Pods, nodes and events', async () => {
  const { call, views } = setUp();
  const names = async (path: string) => (await call(path)).json.items.map((i: { metadata: { name: string } }) => i.metadata.name);
  assert.deepEqual(await names('/api/v1/pods?fieldSelector=status.phase%3DRunning,spec.nodeName%3Dnode1'), ['web-node1']);
  assert.deepEqual(await names('/api/v1/pods?fieldSelector=status.phase!%3DRunning'), ['db-node1']);
  assert.deepEqual(await names('/api/v1/pods?fieldSelector=spec.hostNetwork%3Dfalse&labelSelector=app'), ['web-node1']);
  assert.deepEqual(await names('/api/v1/nodes?fieldSelector=spec.unschedulable%3Dfalse'), ['node1']);
  const event = eventOf(podOf(), 'Started');
  views.events.set([
    event,
    { ...event, metadata: { ...event.metadata, name: 'n' }, involvedObject: { kind: 'Node', name: 'node1', uid: 'node1' } },
  ]);
  assert.deepEqual(await names('/api/v1/events?fieldSelector=involvedObject.kind%3DNode,involvedObject.namespace%3D'), ['n']);
  assert.deepEqual(await names('/apis/events.k8s.io/v1/events?fieldSelector=regarding.kind%3DPod'), ['web-node1.started']);
});

test('H-127 C-445: pages cover all, with the version of the first', async () => {
  const { call, views } = setUp([podOf({ name: 'a' }), podOf({ name: 'b' }), podOf({ name: 'c' })]);
  const first = (await call('/api/v1/pods?limit=2')).json;
  assert.deepEqual([first.items.length, first.metadata.remainingItemCount], [2, 1]);
  views.pods.set([podOf({ name: 'a', labels: { new: 'yes' } }), podOf({ name: 'b' }), podOf({ name: 'c' })]);
  const second = (await call(`/api/v1/pods?limit=2&continue=${first.metadata.continue}`)).json;
  assert.deepEqual(
    second.items.map((i: { metadata: { name: string } }) => i.metadata.name),
    ['c-node1'],
  );
  assert.deepEqual([second.metadata.resourceVersion, second.metadata.continue], [first.metadata.resourceVersion, undefined]);
  for (const token of ['x', '%7B%7D', 'bnVsbA', 'eyJydiI6ImEifQ'])
    assert.equal((await call(`/api/v1/pods?continue=${token}`)).code, 400, token);
  const old = Buffer.from(JSON.stringify({ rv: 1, start: '' })).toString('base64url');
  assert.deepEqual([(await call(`/api/v1/pods?continue=${old}`)).code, (await call('/api/v1/pods?limit=x')).code], [410, 400]);
});

test('H-123 H-126: versions that cannot be', async () => {
  const { call } = setUp();
  const large = await call('/api/v1/pods?resourceVersion=99999999999999');
  assert.deepEqual([large.code, large.json.reason, large.json.details.causes[0].reason], [504, 'Timeout', 'ResourceVersionTooLarge']);
  assert.match(
    (await call('/api/v1/pods?resourceVersion=abc')).json.message,
    /^invalid resource version: resourceVersion: Invalid value: "abc"/,
  );
  assert.equal((await call('/api/v1/pods?resourceVersionMatch=Exact')).code, 422);
  assert.equal((await call('/api/v1/pods?resourceVersion=0')).code, 200);
  assert.match((await call('/api/v1/pods?sendInitialEvents=true')).json.message, /sendInitialEvents is forbidden for list/);
  assert.match(
    (await call('/api/v1/pods?watch=true&sendInitialEvents=true')).json.message,
    /requires setting resourceVersionMatch to NotOlderThan/,
  );
});

test('H-122: a watch without initial events begins with what comes next', async () => {
  const setup = setUp();
  const watch = watching(setup, 'sendInitialEvents=false&resourceVersionMatch=NotOlderThan');
  await watch.started;
  await settle();
  assert.deepEqual(watch.shown(), []);
  setup.views.pods.set([podOf({ name: 'new' })]);
  await settle();
  assert.deepEqual(watch.shown(), ['ADDED new-node1', 'DELETED web-node1', 'DELETED db-node1']);
});

test("C-441 H-122: a watch from a list's version sees exactly what follows", async () => {
  const setup = setUp();
  const { resourceVersion } = (await setup.call('/api/v1/pods')).json.metadata;
  const watch = watching(setup, `resourceVersion=${resourceVersion}`);
  await watch.started;
  await settle();
  assert.deepEqual(watch.lines, []);
  setup.views.pods.set([podOf({ labels: { app: 'web' }, status: { phase: 'Failed' } }), podOf({ name: 'new' })]);
  await settle();
  assert.deepEqual(watch.shown(), ['MODIFIED web-node1', 'ADDED new-node1', 'DELETED db-node1']);
  setup.stop();
  await settle();
  assert.equal(watch.state.done, true, "the server's stop ends it");
});

test('a watch by its old path, of all and of one', async () => {
  const setup = setUp();
  for (const [path, first] of [
    ['/api/v1/watch/pods', 'db-node1'],
    ['/api/v1/watch/namespaces/default/pods', 'web-node1'],
    ['/api/v1/watch/namespaces/default/pods/web-node1', 'web-node1'],
  ] as const) {
    const response = await setup.app.request(path, {}, { user: admin });
    const reader = response.body?.getReader();
    const { type, object } = parse(Buffer.from((await reader?.read())?.value ?? []).toString());
    assert.deepEqual([type, object.metadata.name], ['ADDED', first]);
    await reader?.cancel();
  }
  assert.equal((await setup.call('/api/v1/watch/secrets')).code, 404);
  assert.equal((await setup.call('/api/v1/watch/pods', { method: 'DELETE' })).code, 404);
});

test('C-443: a change out of the selection is a deletion, into it an addition', async () => {
  const setup = setUp();
  const watch = watching(setup, 'resourceVersion=0&fieldSelector=status.phase%3DRunning');
  await watch.started;
  await settle();
  setup.views.pods.set([podOf({ status: { phase: 'Succeeded' } }), podOf({ name: 'db', namespace: 'data' })]);
  await settle();
  assert.deepEqual(watch.shown(), ['ADDED web-node1', 'DELETED web-node1', 'ADDED db-node1']);
  assert.equal(parse(watch.lines[1] ?? '').object.status.phase, 'Running', 'the last state that matched');
});

test('C-442 H-122: initial events end with a bookmark', async () => {
  const setup = setUp();
  const watch = watching(setup, 'sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true');
  await watch.started;
  await settle();
  assert.deepEqual(watch.shown(), ['ADDED db-node1', 'ADDED web-node1', 'BOOKMARK']);
  const { metadata } = parse(watch.lines[2] ?? '').object;
  assert.deepEqual(metadata.annotations, { 'k8s.io/initial-events-end': 'true' });
  await setup.clock.advance(61_000);
  assert.deepEqual(watch.shown().at(-1), 'BOOKMARK');
  assert.equal(parse(watch.lines.at(-1) ?? '').object.metadata.annotations, undefined);
});

test('C-441: too old a version is an ERROR 410, and timeoutSeconds ends a watch', async () => {
  const setup = setUp();
  const old = watching(setup, 'resourceVersion=1');
  await (await old.started).pumped;
  assert.deepEqual(old.shown(), ['ERROR 410']);
  assert.match(old.lines[0] ?? '', /too old resource version: 1 \(\d+\)/);
  const short = watching(setup, 'resourceVersion=0&timeoutSeconds=2');
  const { pumped } = await short.started;
  await settle();
  await setup.clock.advance(1999);
  assert.equal(short.state.done, false);
  await setup.clock.advance(1);
  await pumped;
  assert.deepEqual(short.shown(), ['ADDED db-node1', 'ADDED web-node1']);
});

test('C-444 H-096: a watch as tables has the columns in the first event', async () => {
  const setup = setUp();
  const watch = watching(setup, 'resourceVersion=0', { accept: tableAccept });
  await watch.started;
  await settle();
  const tables = watch.lines.map((text) => parse(text).object);
  assert.deepEqual(
    tables.map((t) => [t.kind, t.columnDefinitions?.length ?? null, t.rows.length]),
    [
      ['Table', 9, 1],
      ['Table', null, 1],
    ],
  );
});

test('a client that goes away is forgotten', async () => {
  const setup = setUp();
  const watch = watching(setup, 'resourceVersion=0');
  const { cancel } = await watch.started;
  await settle();
  assert.equal(setup.views.pods.subscribers, 1);
  await cancel();
  await settle();
  assert.equal(setup.views.pods.subscribers, 0);
  assert.equal(setup.clock.sleeping, 0);
});

test('H-156 C-410: deleting a view answers with the old one and shows a new one', async () => {
  const setup = setUp();
  const path = '/api/v1/namespaces/default/pods/web-node1';
  const before = (await setup.call(path)).json.metadata;
  const watch = watching(setup, 'labelSelector=app&resourceVersion=0');
  await watch.started;
  await setup.clock.advance(5000);
  const deleted = await setup.call(path, { method: 'DELETE', body: '{"propagationPolicy":"Background","gracePeriodSeconds":5}' });
  assert.deepEqual([deleted.code, deleted.json.kind, deleted.json.metadata.uid], [200, 'Pod', before.uid]);
  assert.deepEqual(
    [deleted.json.metadata.deletionTimestamp, deleted.json.metadata.deletionGracePeriodSeconds],
    ['2026-01-01T00:00:10Z', 5],
  );
  assert.equal(deleted.headers.get('warning'), `299 - "${staticPodWarning}"`);
  const now = (await setup.call(path)).json;
  assert.notEqual(now.metadata.uid, before.uid);
  assert.equal(now.metadata.creationTimestamp, '2026-01-01T00:00:05Z');
  assert.deepEqual(now.status, runningStatus('c'), 'full status at once');
  await settle();
  assert.deepEqual(watch.shown(), ['ADDED web-node1', 'DELETED web-node1', 'ADDED web-node1']);
});

const deleteCases: readonly (readonly [what: string, body: string, code: number, message: RegExp])[] = [
  ['a wrong UID', '{"preconditions":{"uid":"x"}}', 409, /the UID in the precondition \(x\) does not match the UID in record \(/],
  ['a wrong version', '{"preconditions":{"resourceVersion":"1"}}', 409, /the ResourceVersion in the precondition \(1\)/],
  [
    'an unknown policy',
    '{"propagationPolicy":"Foo"}',
    422,
    /propagationPolicy: Unsupported value: "Foo": supported values: "Foreground", "Background", "Orphan", "nil"/,
  ],
  ['a dry run of something', '{"dryRun":["Some"]}', 422, /dryRun: Unsupported value: "Some"/],
  ['both ways to orphan', '{"orphanDependents":true,"propagationPolicy":"Orphan"}', 422, /cannot be both set/],
  ['no JSON', '{', 400, /not JSON/],
  ['an array', '[]', 400, /not an object/],
  ['a text for a number', '{"gracePeriodSeconds":"x"}', 400, /whole number/],
];
for (const [what, body, code, message] of deleteCases) {
  test(`H-151 C-413: a deletion with ${what} is a ${code} and changes nothing`, async () => {
    const { call } = setUp();
    const path = '/api/v1/namespaces/default/pods/web-node1';
    const before = (await call(path)).json.metadata.uid;
    const answer = await call(path, { method: 'DELETE', body });
    assert.equal(answer.code, code);
    assert.match(answer.json.message, message);
    assert.equal((await call(path)).json.metadata.uid, before);
  });
}

test('C-411: a dry run answers the same and changes nothing; grace 0 and negative grace', async () => {
  const { call } = setUp();
  const path = '/api/v1/namespaces/default/pods/web-node1';
  const before = (await call(path)).json.metadata.uid;
  const dry = await call(`${path}?dryRun=All&gracePeriodSeconds=0`, { method: 'DELETE' });
  assert.deepEqual([dry.code, dry.json.metadata.deletionGracePeriodSeconds], [200, 0]);
  assert.equal(
    (await call(`${path}?dryRun=All`, { method: 'DELETE', body: '{"gracePeriodSeconds":-3}' })).json.metadata.deletionGracePeriodSeconds,
    1,
  );
  assert.equal((await call(path)).json.metadata.uid, before);
  assert.equal((await call('/api/v1/namespaces/default/pods/nope', { method: 'DELETE' })).code, 404);
  assert.equal((await call('/api/v1/namespaces/default/pods', { method: 'DELETE' })).code, 405);
});

const writes: readonly (readonly [method: string, path: string, code: number, message: string])[] = [
  [
    'POST',
    '/api/v1/namespaces/default/pods',
    403,
    'pods is forbidden: this node runs static pods only; put a manifest into /etc/pinpod/manifests instead',
  ],
  [
    'PUT',
    '/api/v1/namespaces/default/pods/web-node1',
    403,
    'pods "web-node1" is forbidden: this node runs static pods only; edit the manifest /etc/pinpod/manifests/web.yaml instead',
  ],
  [
    'PATCH',
    '/api/v1/namespaces/data/pods/db-node1',
    403,
    'pods "db-node1" is forbidden: this node runs static pods only; edit the manifest under /etc/pinpod/manifests instead',
  ],
  [
    'PATCH',
    '/api/v1/namespaces/default/pods/web-node1/ephemeralcontainers',
    403,
    'pods "web-node1" is forbidden: static pods do not support ephemeral containers, and this node runs static pods only; edit the manifest /etc/pinpod/manifests/web.yaml instead',
  ],
  [
    'POST',
    '/api/v1/namespaces/default/pods/web-node1/eviction',
    403,
    'pods "web-node1" is forbidden: this node runs static pods only; edit the manifest /etc/pinpod/manifests/web.yaml instead',
  ],
  ['PATCH', '/api/v1/nodes/node1', 403, 'nodes "node1" is forbidden: the node agent reports this object; it cannot be changed here'],
  [
    'DELETE',
    '/api/v1/namespaces/default',
    403,
    'namespaces "default" is forbidden: the namespaces of this node are those that its manifests name; they cannot be changed here',
  ],
  ['POST', '/api/v1/namespaces/default/services', 403, 'services is forbidden: this node runs static pods only; it has no services'],
  ['PATCH', '/api/v1/namespaces/default/pods/nope', 404, 'pods "nope" not found'],
  ['PUT', '/api/v1/namespaces/default/pods/nope', 404, 'pods "nope" not found'],
  ['DELETE', '/api/v1/nodes/nope', 404, 'nodes "nope" not found'],
  ['POST', '/apis/apps/v1/namespaces/default/deployments', 404, 'the server could not find the requested resource'],
  ['POST', '/api/v1/namespaces/default/pods/web-node1/exec', 400, 'Upgrade request required'],
  ['GET', '/api/v1/namespaces/default/pods/web-node1/portforward', 400, 'Upgrade request required'],
  ['GET', '/api/v1/namespaces/default/pods/web-node1/exec?container=x', 400, 'container x is not valid for pod web-node1'],
  ['GET', '/api/v1/namespaces/default/pods/nope/attach', 404, 'pods "nope" not found'],
  ['GET', '/api/v1/namespaces/default/pods/web-node1/eviction', 405, 'the server does not allow this method on the requested resource'],
  ['GET', '/api/v1/namespaces/default/pods/web-node1/scale', 404, 'the server could not find the requested resource'],
  ['GET', '/api/v1/pods?timeout=soon', 400, 'invalid timeout specified in the request URL - time: invalid duration "soon"'],
  ['OPTIONS', '/api/v1/namespaces/default/pods', 405, 'the server does not allow this method on the requested resource'],
];
for (const [method, path, code, message] of writes) {
  test(`H-162 C-446: ${method} ${path} is a ${code}`, async () => {
    const { call } = setUp();
    const answer = await call(path, { method });
    assert.deepEqual([answer.code, answer.json.kind, answer.json.message], [code, 'Status', message]);
  });
}

test('H-128 C-449: any value but 0 and false is a yes, an empty one too', async () => {
  const { call } = setUp();
  for (const value of ['', 'true', '1', 'yes']) {
    const answer = await call(`/api/v1/namespaces/default/pods?watch=${value}&timeoutSeconds=abc`);
    assert.equal(answer.code, 400, `watch=${value} asks for a watch, whose time is then wrong`);
  }
  for (const value of ['0', 'false', 'FALSE']) {
    assert.equal((await call(`/api/v1/namespaces/default/pods?watch=${value}`)).json.kind, 'PodList', value);
  }
});

test('H-009 H-010 H-013: parameters nobody knows; headers; JSON in one line, or to be read', async () => {
  const { call } = setUp();
  const answer = await call('/api/v1/namespaces/default/pods/web-node1?timeout=32s&fieldManager=x&nonsense=1');
  assert.deepEqual([answer.code, answer.json.kind], [200, 'Pod']);
  assert.equal(answer.headers.get('content-type'), 'application/json');
  assert.match(answer.headers.get('cache-control') ?? '', /no-cache/);
  assert.equal(answer.text.indexOf('\n'), answer.text.length - 1);
  const pretty = await call('/api/v1/namespaces/default/pods/web-node1?pretty=true');
  assert.ok(pretty.text.split('\n').length > 10);
  assert.deepEqual(pretty.json, answer.json);
  for (const no of ['', '0', 'no', 'false']) {
    assert.equal((await call(`/api/v1/namespaces/default/pods/web-node1?pretty=${no}`)).text, answer.text, `pretty=${no}`);
  }
});

test('H-143: not found, three ways', async () => {
  const { call } = setUp();
  const pod = await call('/api/v1/namespaces/default/pods/nope');
  assert.deepEqual([pod.code, pod.json.message, pod.json.details], [404, 'pods "nope" not found', { name: 'nope', kind: 'pods' }]);
  const resource = await call('/api/v1/namespaces/default/secrets');
  assert.deepEqual([resource.code, resource.json.message], [404, 'the server could not find the requested resource']);
  const path = await call('/nothing/here');
  assert.deepEqual([path.code, path.text], [404, '404 page not found\n']);
});

test('H-007 H-142: who is known but no administrator gets nothing', async () => {
  const { call } = setUp();
  const bob: User = { name: 'bob', groups: ['system:authenticated'] };
  const pod = await call('/api/v1/namespaces/default/pods/web-node1', {}, bob);
  assert.deepEqual(
    [pod.code, pod.json.reason, pod.json.message],
    [403, 'Forbidden', 'pods "web-node1" is forbidden: User "bob" cannot get resource "pods" in API group "" in the namespace "default"'],
  );
  assert.equal((await call('/version', {}, bob)).json.message, 'forbidden: User "bob" cannot get path "/version"');
  for (const path of [
    '/api',
    '/apis',
    '/openapi/v3',
    '/healthz',
    '/api/v1/pods?watch=true',
    '/apis/metrics.k8s.io/v1beta1/nodes',
    '/nothing',
  ]) {
    assert.equal((await call(path, {}, bob)).code, 403, path);
  }
});

const bob = (...headers: (readonly [string, string])[]): User => ({ ...admin, asked: [['impersonate-user', 'bob'], ...headers] });
const forBob: readonly (readonly [method: string, path: string, code: number, message?: string])[] = [
  [
    'GET',
    '/api/v1/namespaces/default/pods',
    403,
    'pods is forbidden: User "bob" cannot list resource "pods" in API group "" in the namespace "default"',
  ],
  [
    'GET',
    '/api/v1/nodes?watch=true',
    403,
    'nodes is forbidden: User "bob" cannot watch resource "nodes" in API group "" at the cluster scope',
  ],
  [
    'GET',
    '/api/v1/namespaces/default/pods/web-node1/log',
    403,
    'pods "web-node1" is forbidden: User "bob" cannot get resource "pods/log" in API group "" in the namespace "default"',
  ],
  [
    'POST',
    '/api/v1/namespaces/default/pods/web-node1/exec',
    403,
    'pods "web-node1" is forbidden: User "bob" cannot create resource "pods/exec" in API group "" in the namespace "default"',
  ],
  [
    'DELETE',
    '/api/v1/namespaces/default/pods',
    403,
    'pods is forbidden: User "bob" cannot deletecollection resource "pods" in API group "" in the namespace "default"',
  ],
  ['GET', '/metrics', 403, 'forbidden: User "bob" cannot get path "/metrics"'],
  ['GET', '/apis/metrics.k8s.io/v1beta1/nodes', 403],
  ['GET', '/api/v1/nodes/node1/proxy/pods', 403],
  ['GET', '/api', 200],
  ['GET', '/apis/', 200],
  ['GET', '/api/v1', 200],
  ['GET', '/apis/events.k8s.io/v1', 200],
  ['GET', '/openapi/v3', 200],
  ['GET', '/version', 200],
  ['GET', '/livez/ping', 200],
];
for (const [method, path, code, message] of forBob) {
  test(`an administrator as somebody else: ${method} ${path} is a ${code}`, async () => {
    const { call, views } = setUp();
    const answer = await call(path, { method }, bob());
    assert.equal(answer.code, code);
    if (message !== undefined) assert.equal(answer.json.message, message);
    assert.deepEqual(views.runtime.calls, []);
  });
}

test('an administrator as somebody else is told who that is and what he may do', async () => {
  const { call } = setUp();
  const who = async (...asked: (readonly [string, string])[]) => {
    const path = '/apis/authentication.k8s.io/v1/selfsubjectreviews';
    return (await call(path, { method: 'POST', body: '{}' }, { ...admin, asked })).json;
  };
  const userOf = async (...asked: (readonly [string, string])[]) => (await who(...asked)).status.userInfo;
  assert.deepEqual(
    await userOf(['impersonate-user', 'bob'], ['impersonate-group', 'a, b'], ['impersonate-group', 'c'], ['impersonate-uid', '7']),
    { username: 'bob', uid: '7', groups: ['a, b', 'c', 'system:authenticated'] },
  );
  assert.deepEqual(
    await userOf(
      ['impersonate-user', 'system:serviceaccount:ns:n'],
      ['impersonate-extra-foo%2fbar', 'x'],
      ['impersonate-extra-foo%2fbar', 'y'],
    ),
    {
      username: 'system:serviceaccount:ns:n',
      groups: ['system:serviceaccounts', 'system:serviceaccounts:ns', 'system:authenticated'],
      extra: { 'foo/bar': ['x', 'y'] },
    },
  );
  assert.match((await who(['impersonate-user', 'system:anonymous'])).message, /^selfsubjectreviews.authentication.k8s.io is forbidden: /);
  assert.deepEqual(
    [(await who(['impersonate-group', 'g'])).code, (await who(['impersonate-extra-%', 'g'], ['impersonate-user', 'u'])).code],
    [400, 400],
  );
  const may = async (user: User, spec: object) => {
    const path = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
    return (await call(path, { method: 'POST', body: JSON.stringify({ spec }) }, user)).json.status.allowed;
  };
  const pods = { resourceAttributes: { verb: 'get', resource: 'pods' } };
  assert.deepEqual([await may(admin, pods), await may(bob(), pods)], [true, false]);
  assert.equal(await may(bob(['impersonate-group', administrators]), pods), true);
  const path = (text: string) => ({ nonResourceAttributes: { verb: 'get', path: text } });
  assert.deepEqual(
    [await may(bob(), path('/apis/x')), await may(bob(), path('/metrics')), await may(admin, path('/metrics'))],
    [true, false, true],
  );
  const rules = await call('/apis/authorization.k8s.io/v1/selfsubjectrulesreviews', { method: 'POST', body: '{}' }, bob());
  assert.deepEqual(
    rules.json.status.resourceRules.flatMap((rule: { resources: string[] }) => rule.resources),
    ['selfsubjectreviews', 'selfsubjectaccessreviews', 'selfsubjectrulesreviews'],
  );
});

test('nobody but an administrator may be somebody else', async () => {
  const { call } = setUp();
  const answer = await call(
    '/api',
    {},
    {
      name: 'eve',
      groups: ['system:authenticated'],
      asked: [
        ['impersonate-user', 'bob'],
        ['impersonate-group', administrators],
      ],
    },
  );
  assert.deepEqual(
    [answer.code, answer.json.message],
    [403, 'users "bob" is forbidden: User "eve" cannot impersonate resource "users" in API group "" at the cluster scope'],
  );
});

test('C-319 H-262: health, verbose, single, excluded, failing', async () => {
  const { call, broken } = setUp();
  assert.equal((await call('/healthz')).text, 'ok');
  assert.equal((await call('/readyz?verbose')).text, '[+]ping ok\n[+]syncloop ok\nreadyz check passed\n');
  assert.equal((await call('/livez/ping')).text, 'ok');
  broken.reason = 'it hangs';
  const failed = await call('/healthz');
  assert.deepEqual([failed.code, failed.text], [500, '[+]ping ok\n[-]syncloop failed: reason withheld\nhealthz check failed\n']);
  assert.equal((await call('/healthz?exclude=syncloop')).code, 200);
  assert.match(
    (await call('/healthz?verbose&exclude=syncloop&exclude=x')).text,
    /warn: some health checks cannot be excluded: no matches for "x"/,
  );
  assert.deepEqual([(await call('/healthz/syncloop')).text, (await call('/healthz/x')).code], ['internal server error: it hangs\n', 404]);
});

test('the discovery of an API server: with a slash at the end, and what there is at its root', async () => {
  const { call } = setUp();
  for (const path of ['/api', '/apis', '/api/v1', '/apis/events.k8s.io', '/apis/events.k8s.io/v1', '/version']) {
    const [plain, slash] = [await call(path), await call(`${path}/`)];
    assert.deepEqual([plain.code, slash.text], [200, plain.text], path);
  }
  const { paths } = (await call('/')).json;
  assert.deepEqual(paths, [...paths].sort());
  for (const path of paths as readonly string[]) assert.notEqual((await call(path)).code, 404, path);
});

test('C-331 H-026: discovery in both forms, with an ETag', async () => {
  const { call } = setUp();
  const accept = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json';
  const aggregated = await call('/api', { headers: { accept } });
  assert.equal(aggregated.headers.get('content-type'), 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList');
  assert.equal(aggregated.json.kind, 'APIGroupDiscoveryList');
  const etag = aggregated.headers.get('etag') ?? '';
  assert.equal((await call('/api', { headers: { accept, 'if-none-match': etag } })).code, 304);
  assert.equal((await call('/api')).json.kind, 'APIVersions');
  assert.equal((await call('/apis')).json.kind, 'APIGroupList');
  const names = (await call('/api/v1')).json.resources.map((r: { name: string }) => r.name);
  for (const name of ['pods', 'pods/log', 'pods/exec', 'nodes', 'events', 'namespaces', 'services']) assert.ok(names.includes(name), name);
  assert.deepEqual([(await call('/apis/none')).code, (await call('/apis/none/v1')).code], [404, 404]);
});

test('C-447 H-170 H-147: a review in protobuf, as kubectl sends it; another form is a 415', async () => {
  const { call } = setUp();
  const field = (number: number, bytes: Buffer) => Buffer.concat([Buffer.of((number << 3) | 2, bytes.length), bytes]);
  const attributes = Buffer.concat([field(1, Buffer.from('default')), field(2, Buffer.from('delete')), field(5, Buffer.from('pods'))]);
  const object = Buffer.concat([field(1, Buffer.alloc(0)), field(2, field(1, attributes))]);
  const meta = Buffer.concat([field(1, Buffer.from('authorization.k8s.io/v1')), field(2, Buffer.from('SelfSubjectAccessReview'))]);
  const body = Buffer.concat([
    Buffer.from('k8s\0'),
    field(1, meta),
    field(2, object),
    field(3, Buffer.alloc(0)),
    field(4, Buffer.alloc(0)),
  ]);
  const headers = { 'content-type': 'application/vnd.kubernetes.protobuf' };
  const path = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
  const answer = await call(path, { method: 'POST', headers, body });
  assert.deepEqual([answer.code, answer.json.status.allowed, answer.json.spec.resourceAttributes.verb], [201, true, 'delete']);
  for (const bad of [Buffer.from('k8s\0\xff\xff\xff\xff', 'latin1'), Buffer.from('nope'), Buffer.alloc(0)]) {
    assert.equal((await call(path, { method: 'POST', headers, body: bad })).code, 400);
  }
  assert.equal((await call(path, { method: 'POST', headers: { 'content-type': 'text/plain' }, body: 'x' })).code, 415);
});

test('H-182 H-180: usage is listed when it is known', async () => {
  const { call, views } = setUp();
  assert.deepEqual((await call('/apis/metrics.k8s.io/v1beta1/nodes')).json.items, []);
  const cpu = { time: Date.UTC(2026, 0, 1), usageNanoCores: 1_234_567, usageCoreNanoSeconds: 1e12 };
  const memory = { time: Date.UTC(2026, 0, 1), workingSetBytes: 2048 * 1024 };
  views.stats.nodeUsage = { startedAt: 0, systemContainers: [], cpu, memory };
  views.stats.podUsages = [
    { namespace: 'default', name: 'web-node1', uid: 'uid-web-node1', startedAt: 0, containers: [{ name: 'c', startedAt: 0, cpu, memory }] },
  ];
  const pods = (await call('/apis/metrics.k8s.io/v1beta1/namespaces/default/pods?labelSelector=app%3Dweb')).json;
  assert.deepEqual(pods.items[0].containers, [{ name: 'c', usage: { cpu: '1234567n', memory: '2048Ki' } }]);
  assert.equal((await call('/apis/metrics.k8s.io/v1beta1/nodes/node1')).json.usage.memory, '2048Ki');
  assert.equal((await call('/apis/metrics.k8s.io/v1beta1/namespaces/default/pods/nope')).code, 404);
});

test('C-355 C-356 C-361 H-255: logs that cannot be had', async () => {
  const { call } = setUp([
    podOf(),
    podOf({
      name: 'bad',
      status: {
        phase: 'Pending',
        containerStatuses: [
          { name: 'c', image: 'x', imageID: '', ready: false, restartCount: 0, state: { waiting: { reason: 'ImagePullBackOff' } } },
        ],
      },
    }),
  ]);
  const log = (pod: string, query = '') => call(`/api/v1/namespaces/default/pods/${pod}/log?${query}`);
  assert.equal((await log('web-node1', 'previous=true')).json.message, 'previous terminated container "c" in pod "web-node1" not found');
  assert.equal(
    (await log('bad-node1')).json.message,
    'container "c" in pod "bad-node1" is waiting to start: trying and failing to pull image',
  );
  assert.equal((await log('nope')).code, 404);
  const numbers = await log('web-node1', 'tailLines=-5');
  assert.deepEqual(
    [numbers.code, numbers.json.details.causes],
    [422, [{ reason: 'FieldValueInvalid', message: 'Invalid value: -5: must be greater than or equal to 0', field: 'tailLines' }]],
  );
  assert.equal((await log('web-node1', 'container=x')).json.message, 'container x is not valid for pod web-node1');
});

const proxied: readonly (readonly [method: string, path: string, code: number, text: string | RegExp])[] = [
  ['GET', '/api/v1/nodes/node1/proxy/stats/summary?only_cpu_and_memory=true', 200, 'GET /stats/summary?only_cpu_and_memory=true'],
  ['GET', '/api/v1/nodes/node1/proxy/logs/a%2fb', 200, 'GET /logs/a%2fb'],
  ['GET', '/api/v1/nodes/node1/proxy/', 200, 'GET /'],
  ['GET', '/api/v1/nodes/node1/proxy', 200, 'GET /'],
  ['GET', '/metrics', 200, 'GET /metrics'],
  ['GET', '/api/v1/nodes/other/proxy/pods', 404, /nodes \\"other\\" not found/],
  ['POST', '/api/v1/nodes/node1/proxy/run/default/web-node1/c', 404, /could not find the requested resource/],
  ['POST', '/api/v1/nodes/node1/proxy', 403, /it cannot be changed here/],
];
for (const [method, path, code, text] of proxied) {
  test(`H-313: ${method} ${path} is a ${code}`, async () => {
    const answer = await setUp().call(path, { method });
    assert.equal(answer.code, code, answer.text);
    if (typeof text === 'string') assert.deepEqual([answer.text, answer.headers.get('content-type')], [text, 'text/x']);
    else assert.match(answer.text, text);
  });
}

test('H-313: only administrators', async () => {
  const { call } = setUp();
  assert.equal((await call('/api/v1/nodes/node1/proxy/pods', {}, { name: 'eve', groups: [] })).code, 403);
});

const hostile = [
  '/api/v1/namespaces/default/pods/%2e%2e%2f%2e%2e%2fetc',
  '/api/v1/namespaces/default/pods/%ff',
  '/api/v1/namespaces//pods',
  '/api/v1/pods?labelSelector=%00%00((((',
  '/api/v1/pods?fieldSelector=%5c',
  `/api/v1/pods?labelSelector=${'a,'.repeat(40_000)}`,
  '/api/v1/pods?resourceVersion=99999999999999999999999999',
  '/api/v1/pods?limit=999999999999999999999',
  '/api/v1/pods?watch=&resourceVersion=-1',
  '/api/v1/namespaces/default/pods/web-node1/log/x/y',
  '/api/v1/namespaces/default/pods/constructor/__proto__',
  '/apis/__proto__/constructor',
  '/openapi/v3/__proto__',
];
for (const path of hostile) {
  test(`hostile input is answered with a Status of its own: ${path.slice(0, 60)}`, async () => {
    const { call } = setUp();
    const { code } = await call(path);
    assert.ok(code === 400 || code === 404 || code === 504, String(code));
  });
}

test('a body without end is cut off with a 413', async () => {
  const { call } = setUp();
  const path = '/api/v1/namespaces/default/pods/web-node1';
  assert.equal((await call(path, { method: 'DELETE', body: ' '.repeat(4 * 1024 * 1024) })).code, 413);
});
