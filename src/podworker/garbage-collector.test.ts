import assert from 'node:assert/strict';
import { lstat, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { buildPod, observedContainer, observedSandbox, RecordedEvents } from '../../test/support/pods.ts';
import { criKeys, type ObservedContainer, type ObservedSandbox } from '../pod/observation.ts';
import { RuntimeError } from '../std/errors.ts';
import { silentLogger } from '../std/log.ts';
import { ContainerLogLinks, linkName } from './container-log-links.ts';
import { GarbageCollector, type GarbageCollectorOptions } from './garbage-collector.ts';
import { LogDirectories } from './log-directories.ts';

const base = await mkdtemp(path.join(tmpdir(), 'pinpod-gc-'));
after(() => rm(base, { recursive: true, force: true }));
let made = 0;
const signal = new AbortController().signal;

interface World {
  readonly options?: Partial<GarbageCollectorOptions>;
  readonly containers?: readonly ObservedContainer[];
  readonly sandboxes?: readonly ObservedSandbox[];
  readonly disposable?: readonly string[];
  readonly leftAlone?: readonly string[];
  readonly sourcesReady?: boolean;
}

async function setUp({ options = {}, containers = [], sandboxes = [], disposable = [], leftAlone = [], sourcesReady = true }: World) {
  made += 1;
  const root = path.join(base, String(made), 'pods');
  const linkFolder = path.join(base, String(made), 'links');
  await mkdir(root, { recursive: true });
  const clock = new FakeClock();
  const events = new RecordedEvents();
  const deeds: string[] = [];
  const refuses = new Set<string>();
  let records = containers;
  let boxes = sandboxes;
  const deed = (verb: string, id: string): void => {
    if (refuses.has(id)) throw new RuntimeError('unknown', `${id} is busy`);
    deeds.push(`${verb} ${id}`);
  };
  const logs = new LogDirectories({ root, owner: '/var/lib/mine' });
  const links = new ContainerLogLinks({ folder: linkFolder, podLogsDir: root }, { logger: silentLogger });
  const gc = new GarbageCollector(
    {
      minimumAgeMs: 0,
      maxPerContainer: 1,
      maxContainers: -1,
      node: { kind: 'Node', namespace: '', name: 'node1', uid: 'node1' },
      ...options,
    },
    {
      runtime: {
        listContainers: async ({ podUid }) => records.filter((record) => podUid === undefined || record.podUid === podUid),
        containerStatus: async (id) => records.find((record) => record.id === id),
        stopContainer: async ({ containerId, timeoutSeconds }) => deed(`stop ${timeoutSeconds}`, containerId),
        removeContainer: async (id) => {
          deed('remove', id);
          records = records.filter((record) => record.id !== id);
        },
        listPodSandboxes: async () => boxes,
        podSandboxStatus: async (id) => boxes.find((box) => box.id === id),
        stopPodSandbox: async (id) => deed('stopSandbox', id),
        removePodSandbox: async (id) => {
          deed('removeSandbox', id);
          boxes = boxes.filter((box) => box.id !== id);
        },
      },
      clock,
      events,
      logger: silentLogger,
      pods: {
        sourcesReady: () => sourcesReady,
        isDisposable: (uid) => disposable.includes(uid),
        isLeftAlone: (uid) => leftAlone.includes(uid),
      },
      hooks: {
        preStop: async ({ containerId, handler, podAddress, timeoutSeconds }) => {
          deeds.push(`hook ${containerId} ${JSON.stringify(handler)} ${podAddress} ${timeoutSeconds}`);
          await clock.advance(3500);
          return { kind: 'done' };
        },
      },
      logs,
      links,
    },
  );
  return { clock, deeds, events, gc, linkFolder, links, logs, refuses, root };
}

function dead(name: string, attempt: number, change: Partial<ObservedContainer> = {}): ObservedContainer {
  return observedContainer({ id: `${name}${attempt}`, name, attempt, createdAt: attempt, state: 'exited', ...change });
}

test('of each container name the newest dead record stays; of a disposable Pod none (C-383, L-380 … L-382)', async () => {
  const four = [dead('app', 0), dead('app', 2), dead('app', 1), dead('app', 3, { state: 'running' }), dead('side', 0)];
  const rows: readonly (readonly [string, World, readonly string[]])[] = [
    ['one per name', { containers: four }, ['remove app1', 'remove app0']],
    ['two per name', { containers: four, options: { maxPerContainer: 2 } }, ['remove app0']],
    ['all', { containers: four, options: { maxPerContainer: -1 } }, []],
    [
      'never none: restart count and back-off are in it',
      { containers: four, options: { maxPerContainer: 0 } },
      ['remove app1', 'remove app0'],
    ],
    ['the running one is no candidate', { containers: [dead('app', 0), dead('app', 1, { state: 'running' })] }, []],
    ['too young', { containers: four, options: { minimumAgeMs: Number.POSITIVE_INFINITY } }, []],
    ['disposable', { containers: four, disposable: ['uid-1'] }, ['remove app0', 'remove app2', 'remove app1', 'remove side0']],
    ['sources not ready', { containers: [dead('app', 0)], disposable: ['uid-1'], sourcesReady: false }, []],
    ['somebody else’s', { containers: [dead('app', 0, { podUid: '' })], disposable: [''] }, []],
    [
      'a total limit leaves one per name while it can, then the newest',
      {
        containers: [dead('a', 0), dead('a', 3), dead('b', 1), dead('b', 4), dead('c', 2), dead('c', 5)],
        options: { maxPerContainer: -1, maxContainers: 2 },
      },
      ['remove a0', 'remove b1', 'remove c2', 'remove a3'],
    ],
  ];
  for (const [name, world, expected] of rows) {
    const { deeds, gc } = await setUp(world);
    await gc.collect({ signal });
    assert.deepEqual(deeds, expected, name);
    await gc.collect({ signal });
    assert.deepEqual(deeds, expected, `${name}, again`);
  }
});

test('what has a worker, or is not ours, is left alone (L-173, P11)', async () => {
  const containers = [dead('app', 0), dead('app', 1), dead('app', 2)];
  const { deeds, gc } = await setUp({ containers, leftAlone: ['uid-1'] });
  await gc.collect({ signal });
  assert.deepEqual(deeds, []);
});

test('a container in unknown state is ended first, its hook from the annotation included (C-297, L-080, L-383)', async () => {
  const annotations = {
    [criKeys.terminationGracePeriod]: '10',
    [criKeys.preStopHandler]: '{"exec":{"command":["bye"]}}',
  };
  const labels = { [criKeys.podName]: 'web-node1', [criKeys.podNamespace]: 'default' };
  const containers = [dead('app', 0, { state: 'unknown', annotations, labels }), dead('app', 1)];
  const { deeds, events, gc } = await setUp({ containers, sandboxes: [observedSandbox()] });
  await gc.collect({ signal });
  assert.deepEqual(deeds, ['hook app0 {"exec":{"command":["bye"]}} 10.0.0.1 10', 'stop 7 app0', 'remove app0']);
  assert.deepEqual(events.take(), ['Normal Killing: Container is in unknown state, try killing it before removal']);

  const plain = await setUp({
    containers: [dead('app', 0, { state: 'unknown', annotations: { [criKeys.preStopHandler]: '{' } }), dead('app', 1)],
  });
  await plain.gc.collect({ signal });
  assert.deepEqual(plain.deeds, ['stop 30 app0', 'remove app0']);
});

test('dead sandboxes without containers go, but for the newest of a Pod that is there (C-384, L-386)', async () => {
  const sandboxes = [
    observedSandbox({ id: 's0', attempt: 0, state: 'notReady' }),
    observedSandbox({ id: 's1', attempt: 1, state: 'notReady' }),
    observedSandbox({ id: 's2', attempt: 2, state: 'notReady' }),
  ];
  const rows: readonly (readonly [string, World, readonly string[]])[] = [
    ['newest stays', { sandboxes }, ['stopSandbox s0', 'removeSandbox s0', 'stopSandbox s1', 'removeSandbox s1']],
    ['with a container', { sandboxes, containers: [dead('app', 0, { sandboxId: 's0' })] }, ['stopSandbox s1', 'removeSandbox s1']],
    ['ready', { sandboxes: [observedSandbox({ id: 's0' })], disposable: ['uid-1'] }, []],
    [
      'disposable',
      { sandboxes: [observedSandbox({ id: 's0', state: 'notReady' })], disposable: ['uid-1'] },
      ['stopSandbox s0', 'removeSandbox s0'],
    ],
    [
      'sources not ready',
      { sandboxes: [observedSandbox({ id: 's0', state: 'notReady' })], disposable: ['uid-1'], sourcesReady: false },
      [],
    ],
  ];
  for (const [name, world, expected] of rows) {
    const { deeds, gc } = await setUp(world);
    await gc.collect({ signal });
    assert.deepEqual(deeds, expected, name);
  }
});

test('the log and its rotated siblings go with the record, nothing else; a record whose log resists stays (L-276, L-385)', async () => {
  const world = await setUp({});
  const folder = path.join(world.root, 'default_web-node1_uid-1', 'app');
  await mkdir(folder, { recursive: true });
  const labels = { [criKeys.podName]: 'web-node1', [criKeys.podNamespace]: 'default' };
  const old = dead('app', 0, { logPath: path.join(folder, '0.log'), labels });
  const containers = [old, dead('app', 1, { logPath: path.join(folder, '1.log') })];
  const { gc, deeds, logs, links, linkFolder } = await setUp({ containers });
  // The collector of this world has a root of its own, so the first record's log is outside of it.
  await writeFile(path.join(folder, '0.log'), 'kept');
  await gc.collect({ signal });
  assert.deepEqual(deeds, ['remove app0']);
  assert.deepEqual(await readdir(folder), ['0.log']);

  for (const name of ['0.log', '0.log.20260102-150405', '0.log.20260102-150400.gz', '10.log', '1.log', 'other'])
    await writeFile(path.join(folder, name), '');
  await world.logs.removeContainerLogs(path.join(folder, '0.log'));
  assert.deepEqual((await readdir(folder)).sort(), ['1.log', '10.log', 'other']);
  await logs.removeContainerLogs(path.join(folder, 'gone', '0.log'));

  await links.add({ podName: 'p', namespace: 'n', name: 'c', id: '1' }, path.join(folder, '1.log'));
  assert.deepEqual(await readdir(linkFolder), ['p_n_c-1.log']);
  await links.add({ podName: 'p', namespace: 'n', name: 'c', id: '1' }, path.join(folder, '1.log'));
  await links.remove({ podName: 'p', namespace: 'n', name: 'c', id: '1' });
  assert.deepEqual(await readdir(linkFolder), []);
  await links.add({ podName: 'p', namespace: 'n', name: 'c', id: '2' }, path.join(folder, 'no such file'));
  assert.deepEqual(await readdir(linkFolder), []);
});

test('log folders of Pods that are gone go, when all sources are ready and the folder is ours (C-385, L-387)', async () => {
  const pods = ['uid-1', 'uid-2'].map((uid) => buildPod({}, { uid }));
  const fill = async ({ logs, root }: { readonly logs: LogDirectories; readonly root: string }): Promise<void> => {
    for (const pod of pods) await logs.prepare(pod, 'app');
    // A kubelet's, another agent's, and something else altogether.
    await mkdir(path.join(root, 'default_other_uid-1'));
    const foreign = new LogDirectories({ root, owner: '/var/lib/other' });
    await foreign.prepare(buildPod({}, { name: 'foreign', uid: 'uid-1' }), 'app');
    await mkdir(path.join(root, 'backup-uid-1'));
  };
  const all = ['backup-uid-1', 'default_foreign_uid-1', 'default_other_uid-1', 'default_web-node1_uid-1', 'default_web-node1_uid-2'];
  const ready = await setUp({ disposable: ['uid-1'] });
  await fill(ready);
  await ready.gc.collect({ signal });
  assert.deepEqual(
    (await readdir(ready.root)).sort(),
    all.filter((name) => name !== 'default_web-node1_uid-1'),
  );
  const waiting = await setUp({ disposable: ['uid-1'], sourcesReady: false });
  await fill(waiting);
  await waiting.gc.collect({ signal });
  assert.deepEqual((await readdir(waiting.root)).sort(), all);
});

test('links whose log is gone go, unless the container has not exited or they lead elsewhere (L-388)', async () => {
  const containers = [dead('run', 0, { state: 'running' }), dead('gone', 0)];
  const { gc, linkFolder, root } = await setUp({ containers });
  await mkdir(linkFolder);
  const there = path.join(root, 'there.log');
  await writeFile(there, '');
  const rows: readonly (readonly [string, string, boolean])[] = [
    ['p_n_c-there.log', there, true],
    ['p_n_c-run0.log', path.join(root, 'missing.log'), true],
    ['p_n_c-gone0.log', path.join(root, 'missing.log'), false],
    ['p_n_c-never.log', path.join(root, 'missing.log'), false],
    ['p_n_c-else.log', '/nonexistent/missing.log', true],
    ['notes.txt', path.join(root, 'missing.log'), true],
  ];
  for (const [name, target] of rows) await symlink(target, path.join(linkFolder, name));
  await gc.collect({ signal });
  for (const [name, , stays] of rows) {
    const isThere = await lstat(path.join(linkFolder, name)).then(
      () => true,
      () => false,
    );
    assert.equal(isThere, stays, name);
  }
});

test('the name of a link is at most 255 characters (L-217)', () => {
  const id = 'c'.repeat(64);
  assert.equal(linkName({ podName: 'web', namespace: 'default', name: 'app', id }), `web_default_app-${id}.log`);
  const long = linkName({ podName: 'p'.repeat(253), namespace: 'default', name: 'app', id });
  assert.equal(long.length, 255);
  assert.ok(long.endsWith('p.log'));
});

test('what cannot be removed does not keep the rest, and is told (L-379)', async () => {
  const { clock, deeds, events, gc, refuses } = await setUp({ containers: [dead('a', 0), dead('a', 1), dead('b', 0), dead('b', 1)] });
  refuses.add('a0');
  const ending = new AbortController();
  const running = gc.run({ signal: ending.signal });
  await settle();
  await clock.advance(60_000);
  while (clock.sleeping === 0) await settle();
  assert.deepEqual(deeds, ['remove b0']);
  assert.deepEqual(events.take(), ['Warning ContainerGCFailed: a0 is busy']);
  ending.abort(new RangeError('end'));
  await assert.rejects(running, RangeError);
});
