import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { buildConfig } from '../../test/support/agent-config.ts';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { fakeViews, podOf } from '../../test/support/fake-views.ts';
import type { PodStatus } from '../api/gen/kubernetes.ts';
import type { Trouble } from '../api/trouble.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import type { Fault } from '../mirror/faults.ts';
import { issueCertificate } from '../server/issue-certificate.ts';
import { Troubles } from './troubles.ts';

interface World {
  runtimeError: string | undefined;
  networkError: string | undefined;
  portFault: string | undefined;
  apiFault: string | undefined;
  pressure: { memory: boolean; disk: boolean; pid: boolean };
  faults: Fault[] | undefined;
}

function setUp(status?: PodStatus, change: Partial<AgentConfig> = {}, warnings: readonly string[] = []) {
  const clock = new FakeClock();
  const views = fakeViews(status === undefined ? [] : [{ ...podOf(), status }]);
  const world: World = {
    runtimeError: undefined,
    networkError: undefined,
    portFault: undefined,
    apiFault: undefined,
    pressure: { memory: false, disk: false, pid: false },
    faults: undefined,
  };
  const events: string[] = [];
  const make = () =>
    new Troubles(
      { config: buildConfig(change), warnings },
      {
        ...{ manifests: views.manifests, pods: views.pods, clock },
        runtimeError: () => world.runtimeError,
        networkError: () => world.networkError,
        pressure: () => world.pressure,
        portFault: () => world.portFault,
        apiFault: () => world.apiFault,
        faults: world.faults === undefined ? undefined : { list: () => world.faults ?? [] },
        events: { record: (object, type, reason, message) => events.push(`${object.kind} ${type} ${reason}: ${message}`) },
      },
    );
  return { clock, views, world, events, make };
}

const brief = ({ severity, area, cause, object }: Trouble): string => `${severity} ${area} ${cause} ${object}`.trim();

const container = (state: object, more: object = {}) => ({
  ...{ name: 'c', image: 'i', imageID: '', ready: false, restartCount: 0, state },
  ...more,
});

const rows: readonly {
  readonly what: string;
  readonly status?: PodStatus;
  readonly given?: (w: ReturnType<typeof setUp>) => void;
  readonly warnings?: readonly string[];
  readonly troubles: readonly string[];
  readonly says?: RegExp;
  readonly advises?: RegExp;
}[] = [
  { what: 'a Pod that runs', status: { phase: 'Running' }, troubles: [] },
  {
    what: 'a warning about the configuration',
    warnings: ['x has no effect'],
    troubles: ['warning configuration warning'],
    says: /no effect/,
  },
  {
    what: 'a runtime that is down: nothing is said of the network, which nobody can know',
    given: ({ world }) => Object.assign(world, { runtimeError: 'container runtime is down', networkError: 'network state unknown' }),
    troubles: ['error runtime not-ready'],
    says: /is down/,
    advises: /containers that run go on/,
  },
  {
    what: 'no CNI configuration',
    given: ({ world }) => Object.assign(world, { networkError: 'cni plugin not initialized' }),
    troubles: ['error network not-ready'],
    advises: /\/etc\/cni\/net\.d/,
  },
  {
    what: 'a full disk',
    given: ({ world }) => Object.assign(world.pressure, { disk: true }),
    troubles: ['error node DiskPressure'],
  },
  {
    what: 'a folder that cannot be read',
    given: ({ views }) => views.manifests.places.push({ source: 'file', location: '/m', readAt: 0, fault: 'EACCES' }),
    troubles: ['error sources unreadable /m'],
    advises: /go on as they were last read/,
  },
  {
    what: 'a folder that cannot be watched',
    given: ({ views }) => views.manifests.places.push({ source: 'file', location: '/m', readAt: 0, unwatched: 'EMFILE' }),
    troubles: ['warning sources unwatched /m'],
    says: /EMFILE/,
    advises: /fs\.inotify\.max_user_instances/,
  },
  {
    what: 'a rejected manifest, each problem at its place',
    given: ({ views }) =>
      views.manifests.list.push({
        source: 'file',
        path: '/m/a.yaml',
        verdict: {
          kind: 'rejected',
          keptPods: true,
          problems: [
            { line: 3, column: 9, field: 'spec.containers', message: 'Required value' },
            { field: '', message: 'not YAML' },
          ],
        },
      }),
    troubles: ['error manifests rejected /m/a.yaml:3:9', 'error manifests rejected /m/a.yaml'],
    says: /spec\.containers: Required value/,
    advises: /last good version keeps running/,
  },
  {
    what: 'a shadowed manifest',
    given: ({ views }) => views.manifests.list.push({ source: 'file', path: '/m/b.yaml', verdict: { kind: 'shadowed', by: '/m/a.yaml' } }),
    troubles: ['warning manifests shadowed /m/b.yaml'],
  },
  {
    what: 'a crash loop, with how it ended',
    status: {
      phase: 'Running',
      containerStatuses: [
        container(
          { waiting: { reason: 'CrashLoopBackOff', message: 'back-off 10s' } },
          { lastState: { terminated: { exitCode: 137, reason: 'OOMKilled' } } },
        ),
      ],
    },
    troubles: ['error pods CrashLoopBackOff default/web-node1[c]'],
    says: /ended with code 137, OOMKilled/,
    advises: /pinpod logs web-node1 -n default -c c --previous/,
  },
  {
    what: 'an image that is nowhere',
    status: { phase: 'Pending', containerStatuses: [container({ waiting: { reason: 'ImagePullBackOff', message: 'no such host' } })] },
    troubles: ['error pods ImagePullBackOff default/web-node1[c]'],
    advises: /archive/,
  },
  {
    what: 'a container that is only being made',
    status: { phase: 'Pending', containerStatuses: [container({ waiting: { reason: 'ContainerCreating' } })] },
    troubles: [],
  },
  {
    what: 'a Pod that was refused',
    status: { phase: 'Failed', reason: 'NodePorts', message: 'Pod was rejected: port taken' },
    troubles: ['error pods NodePorts default/web-node1'],
    says: /port taken/,
  },
  {
    what: 'a Pod that runs and is not ready',
    status: {
      phase: 'Running',
      conditions: [{ type: 'Ready', status: 'False', reason: 'ContainersNotReady', message: 'containers with unready status: [c]' }],
      containerStatuses: [container({ running: {} })],
    },
    troubles: ['warning pods ContainersNotReady default/web-node1'],
  },
  {
    what: 'a port that is taken',
    given: ({ world }) => Object.assign(world, { portFault: 'cannot listen on 0.0.0.0:10250: EADDRINUSE' }),
    troubles: ['error kubelet port cannot-listen'],
    says: /EADDRINUSE/,
  },
  {
    what: 'the port for kubectl that is taken',
    given: ({ world }) => Object.assign(world, { apiFault: 'kubectl cannot be served yet: cannot listen on 127.0.0.1:6445: EADDRINUSE' }),
    troubles: ['error kubectl port cannot-listen'],
    says: /EADDRINUSE/,
  },
  {
    what: 'an API server that does not answer',
    given: ({ world }) => {
      const fault: Fault = {
        area: 'server',
        key: '',
        cause: 'unreachable',
        message: 'ECONNREFUSED',
        advice: 'check',
        since: 0,
        lastSeen: 0,
        count: 3,
      };
      world.faults = [fault];
    },
    troubles: ['error cluster unreachable server'],
    says: /ECONNREFUSED/,
    advises: /check/,
  },
];

for (const { what, status, given, warnings, troubles, says, advises } of rows) {
  test(`D5: ${what}`, () => {
    const w = setUp(status, {}, warnings);
    given?.(w);
    const report = w.make().report();
    assert.deepEqual(report.troubles.map(brief), troubles);
    assert.equal(report.areas.includes('cluster'), w.world.faults !== undefined);
    if (says !== undefined) assert.match(report.troubles[0]?.message ?? '', says);
    if (advises !== undefined) assert.match(report.troubles[0]?.advice ?? '', advises);
  });
}

test('D5: a trouble is told once as an Event, keeps its beginning, and one that flaps is not told again', async (t) => {
  const w = setUp();
  const troubles = w.make();
  const stop = new AbortController();
  const running = troubles.run({ signal: stop.signal }).catch(() => undefined);
  t.after(() => running);
  await settle();
  w.world.networkError = 'cni plugin not initialized';
  await w.clock.advance(10_000);
  const since = troubles.report().troubles[0]?.since;
  await w.clock.advance(60_000);
  assert.equal(troubles.report().troubles[0]?.since, since);
  w.world.networkError = undefined;
  await w.clock.advance(60_000);
  assert.deepEqual(troubles.report().troubles, []);
  w.world.networkError = 'cni plugin not initialized';
  await w.clock.advance(60_000);
  assert.deepEqual(w.events, ['Node Warning NetworkNotReady: cni plugin not initialized']);
  w.world.networkError = undefined;
  await w.clock.advance(400_000);
  w.world.networkError = 'cni plugin not initialized';
  await w.clock.advance(10_000);
  assert.equal(w.events.length, 2, 'after a long time it is a new one');
  stop.abort();
});

test('the serving certificate: warned of two weeks ahead, told when it has expired or cannot be read', async (t) => {
  const dir = await mkdtemp(path.join(tmpdir(), 'pinpod-troubles-'));
  t.after(() => rm(dir, { recursive: true }));
  const file = path.join(dir, 'tls.crt');
  const w = setUp(undefined, { tlsCertFile: file, tlsPrivateKeyFile: file });
  const day = 86_400_000;
  const look = async (days: number): Promise<readonly string[]> => {
    const now = w.clock.now();
    const pair = await issueCertificate({
      ...{ kind: 'server', commonName: 'n', organization: undefined, names: ['n'], issuer: undefined, algorithm: 'ecdsa' },
      ...{ notBefore: now - 100 * day, notAfter: now + days * day },
    });
    await writeFile(file, pair.certificate);
    return await read();
  };
  const read = async (): Promise<readonly string[]> => {
    const troubles = w.make();
    const stop = new AbortController();
    const running = troubles.run({ signal: stop.signal }).catch(() => undefined);
    while (w.clock.sleeping === 0) await settle();
    stop.abort();
    await running;
    return troubles.report().troubles.map(({ severity, area, cause }) => `${severity} ${area} ${cause}`);
  };
  assert.deepEqual(await look(30), []);
  assert.deepEqual(await look(13), ['warning certificates expiring']);
  assert.deepEqual(await look(-1), ['error certificates expired']);
  await rm(file);
  assert.deepEqual(await read(), ['error certificates unreadable']);
});
