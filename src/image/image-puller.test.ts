import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { FakeRuntime } from '../../test/support/fake-runtime.ts';
import { buildContainer, buildPod, buildSandboxConfig, RecordedEvents } from '../../test/support/pods.ts';
import { containerObject } from '../pod/event-object.ts';
import { Superseded } from '../std/async.ts';
import { RuntimeError } from '../std/errors.ts';
import { silentLogger } from '../std/log.ts';
import { noMetrics } from '../std/metrics.ts';
import { type CredentialSource, noCredentials } from './credentials.ts';
import { ImagePuller, type ImagePullerDeps, type ImagePullerOptions, type ImageResult } from './image-puller.ts';

const signal = new AbortController().signal;
const offline = new RuntimeError(
  'unknown',
  'failed to do request: Head "https://registry-1.docker.io/v2/library/nginx/manifests/latest": dial tcp: lookup registry-1.docker.io: no such host',
);

function setUp(options: Partial<ImagePullerOptions> = {}, deps: Partial<ImagePullerDeps> = {}) {
  const clock = new FakeClock();
  const runtime = new FakeRuntime({}, { clock });
  const events = new RecordedEvents();
  const puller = new ImagePuller(
    { maxParallelPulls: 1, pullsPerSecond: 0, pullBurst: 10, ...options },
    { runtime, clock, events, logger: silentLogger, metrics: noMetrics, credentials: noCredentials, isOffline: () => false, ...deps },
  );
  const ensure = (
    reference: string,
    pullPolicy: string | undefined,
    change: { uid?: string; signal?: AbortSignal } = {},
  ): Promise<ImageResult> => {
    const pod = buildPod({ containers: [buildContainer({ image: reference })] }, { uid: change.uid ?? 'uid-1' });
    return puller.ensure(
      { pod, object: containerObject(pod, 'app'), reference, pullPolicy, sandboxConfig: buildSandboxConfig() },
      { signal: change.signal ?? signal },
    );
  };
  const pulls = (): readonly string[] => runtime.deeds.filter((deed) => deed.startsWith('pullImage'));
  return { clock, runtime, events, ensure, pulls };
}

function outcome(result: ImageResult): string {
  return result.kind === 'present' ? `present ${result.imageRef}` : `${result.reason}: ${result.message}`;
}

const present = 'Container image "nginx:1" already present on machine and can be accessed by the pod';

test('each pull policy × image present, absent, uninspectable (C-377, L-344 … L-351, S-407 … S-410, S-412, S-413)', async () => {
  const rows: readonly {
    readonly policy: string;
    readonly image: 'present' | 'absent' | 'uninspectable' | 'unpullable';
    readonly outcome: RegExp;
    readonly events: readonly (string | RegExp)[];
    readonly pulls: number;
  }[] = [
    { policy: 'IfNotPresent', image: 'present', outcome: /^present sha256:/, events: [`Normal Pulled: ${present}`], pulls: 0 },
    { policy: 'Never', image: 'present', outcome: /^present sha256:/, events: [`Normal Pulled: ${present}`], pulls: 0 },
    {
      policy: 'Never',
      image: 'absent',
      outcome: /^ErrImageNeverPull: Container image "nginx:1" is not present with pull policy of Never$/,
      events: [
        'Warning ErrImageNeverPull: Container image "nginx:1" is not present with pull policy of Never',
        'Warning Failed: Error: ErrImageNeverPull',
      ],
      pulls: 0,
    },
    {
      policy: 'IfNotPresent',
      image: 'absent',
      outcome: /^present /,
      events: [
        'Normal Pulling: Pulling image "nginx:1"',
        'Normal Pulled: Successfully pulled image "nginx:1" in 0s (0s including waiting). Image size: 1000000 bytes.',
      ],
      pulls: 1,
    },
    {
      policy: 'Always',
      image: 'present',
      outcome: /^present /,
      events: [
        'Normal Pulling: Pulling image "nginx:1"',
        'Normal Pulled: Successfully pulled image "nginx:1" in 0s (0s including waiting). Image size: 1000000 bytes.',
      ],
      pulls: 1,
    },
    {
      policy: 'IfNotPresent',
      image: 'uninspectable',
      outcome: /^ImageInspectError: Failed to inspect image "": broken store$/,
      events: ['Warning InspectFailed: Failed to inspect image "": broken store', 'Warning Failed: Error: ImageInspectError'],
      pulls: 0,
    },
    {
      policy: 'Never',
      image: 'uninspectable',
      outcome: /^ImageInspectError: /,
      events: ['Warning InspectFailed: Failed to inspect image "": broken store', 'Warning Failed: Error: ImageInspectError'],
      pulls: 0,
    },
    { policy: 'Always', image: 'uninspectable', outcome: /^present /, events: [/Pulling/, /Pulled/], pulls: 1 },
    {
      policy: 'IfNotPresent',
      image: 'unpullable',
      outcome: /^ErrImagePull: manifest unknown$/,
      events: [
        'Normal Pulling: Pulling image "nginx:1"',
        'Warning Failed: Failed to pull image "nginx:1": manifest unknown',
        'Warning Failed: Error: ErrImagePull',
      ],
      pulls: 1,
    },
  ];
  for (const row of rows) {
    const { runtime, events, ensure, pulls } = setUp();
    runtime.addImage('nginx:1', { present: row.image === 'present' });
    if (row.image === 'uninspectable') runtime.failNext('imageStatus', new RuntimeError('unknown', 'broken store'));
    if (row.image === 'unpullable') runtime.failNext('pullImage', new RuntimeError('not-found', 'manifest unknown'));
    const name = `${row.policy}, ${row.image}`;
    assert.match(outcome(await ensure('nginx:1', row.policy)), row.outcome, name);
    const seen = events.take();
    assert.equal(seen.length, row.events.length, `${name}: ${seen.join('\n')}`);
    row.events.forEach((expected, i) => {
      if (typeof expected === 'string') assert.equal(seen[i], expected, name);
      else assert.match(seen[i] ?? '', expected, name);
    });
    assert.equal(pulls().length, row.pulls, name);
  }
});

test('an image name that is none (L-343)', async () => {
  const { ensure, events, pulls } = setUp();
  const result = await ensure('Bad Name', 'Always');
  assert.equal(
    outcome(result),
    'InvalidImageName: Failed to apply default image tag "Bad Name": couldn\'t parse image name "Bad Name": invalid reference format',
  );
  assert.match(events.take()[0] ?? '', /^Warning InspectFailed: Failed to apply default image tag "Bad Name"/);
  assert.equal(pulls().length, 0);
});

test('without a policy the tag decides (L-347)', async () => {
  const rows: readonly (readonly [string, number])[] = [
    ['nginx', 1],
    ['nginx:latest', 1],
    ['nginx:1', 0],
  ];
  for (const [reference, expected] of rows) {
    const { runtime, ensure, pulls } = setUp();
    runtime.addImage(reference);
    await ensure(reference, undefined);
    assert.equal(pulls().length, expected, reference);
  }
});

test('a constantly failing pull is tried after 10, 20, 40 … 300 s and tells its last error meanwhile (C-315, C-379, L-348, L-353, S-411)', async () => {
  const { clock, runtime, events, ensure } = setUp();
  runtime.addImage('nginx:1', { present: false });
  const delays: number[] = [];
  for (let i = 0; i < 7; i++) {
    runtime.failNext('pullImage', new RuntimeError('unknown', 'boom'));
    const failed = await ensure('nginx:1', 'IfNotPresent');
    assert.equal(outcome(failed), 'ErrImagePull: boom');
    assert.ok(failed.kind === 'failed' && failed.retryAt === undefined, 'asked again soon, so that the back-off is told');
    events.take();
    const waiting = await ensure('nginx:1', 'IfNotPresent');
    assert.ok(waiting.kind === 'failed' && waiting.retryAt !== undefined);
    delays.push((waiting.retryAt - clock.now()) / 1000);
    await clock.advance(waiting.retryAt - clock.now() - 1);
    assert.equal(outcome(waiting), 'ImagePullBackOff: Back-off pulling image "nginx:1": ErrImagePull: boom');
    assert.deepEqual(events.take(), ['Normal BackOff: Back-off pulling image "nginx:1"', 'Warning Failed: Error: ImagePullBackOff']);
    assert.match(outcome(await ensure('nginx:1', 'IfNotPresent')), /^ImagePullBackOff/);
    await clock.advance(1);
  }
  assert.deepEqual(delays, [10, 20, 40, 80, 160, 300, 300]);
  assert.match(outcome(await ensure('nginx:1', 'IfNotPresent')), /^present/);
});

test('back-off is per Pod and image, and forgotten 600 s after the last failure (L-353)', async () => {
  const { clock, runtime, ensure } = setUp();
  runtime.addImage('nginx:1', { present: false });
  const boom = new RuntimeError('unknown', 'boom');
  runtime.failNext('pullImage', boom);
  await ensure('nginx:1', 'Always');
  runtime.failNext('pullImage', boom);
  assert.match(outcome(await ensure('nginx:1', 'Always', { uid: 'uid-2' })), /^ErrImagePull/);
  await clock.advance(600_001);
  runtime.failNext('pullImage', boom);
  assert.match(outcome(await ensure('nginx:1', 'Always')), /^ErrImagePull/);
  const again = await ensure('nginx:1', 'Always');
  assert.equal(again.kind === 'failed' ? (again.retryAt ?? 0) - clock.now() : 0, 10_000);
});

test('the runtime may name the reason (L-352)', async () => {
  const rows: readonly (readonly [string, string])[] = [
    ['RegistryUnavailable: try later', 'RegistryUnavailable: image pull failed for nginx:1 because the registry is unavailable: try later'],
    ['SignatureValidationFailed', 'SignatureValidationFailed: image pull failed for nginx:1 because the signature validation failed'],
  ];
  for (const [text, expected] of rows) {
    const { runtime, ensure } = setUp();
    runtime.failNext('pullImage', new RuntimeError('unknown', text));
    assert.equal(outcome(await ensure('nginx:1', 'Always')), expected);
  }
});

test('with no registry in reach, Always is content with the local image and says so; back-off spares the next attempts', async () => {
  const { clock, runtime, events, ensure, pulls } = setUp();
  const id = runtime.addImage('nginx');
  runtime.failNext('pullImage', offline);
  assert.equal(outcome(await ensure('nginx', 'Always')), `present ${id}`);
  assert.deepEqual(events.take(), [
    'Normal Pulling: Pulling image "nginx:latest"',
    'Warning ImagePullSkipped: Registry of image "nginx:latest" cannot be reached, using the copy on this machine ' +
      `although the pull policy is Always: ${offline.message}`,
  ]);
  assert.equal(outcome(await ensure('nginx', 'Always')), `present ${id}`);
  assert.equal(pulls().length, 1);
  await clock.advance(10_000);
  assert.equal(outcome(await ensure('nginx', 'Always')), `present ${id}`);
  assert.equal(pulls().length, 2);
});

test('a pull that the runtime gives up because nothing came is an unreachable registry', async () => {
  const { runtime, events, ensure } = setUp();
  const id = runtime.addImage('nginx');
  runtime.failNext('pullImage', new RuntimeError('cancelled', 'failed to pull and unpack image "nginx:latest": context canceled'));
  assert.equal(outcome(await ensure('nginx', 'Always')), `present ${id}`);
  assert.match(events.take().at(-1) ?? '', /^Warning ImagePullSkipped: /);
});

test('Always fails where a registry answered, where there is no local image, and where it is told to', async () => {
  const rows: readonly {
    readonly name: string;
    readonly error: RuntimeError;
    readonly local?: boolean;
    readonly options?: Partial<ImagePullerOptions>;
  }[] = [
    { name: '404', error: new RuntimeError('not-found', 'nginx:latest: not found') },
    { name: '401', error: new RuntimeError('unknown', 'pull access denied, repository does not exist or may require authorization') },
    { name: '503', error: new RuntimeError('unknown', 'unexpected status from HEAD request: 503 Service Unavailable') },
    { name: 'certificate', error: new RuntimeError('unknown', 'tls: failed to verify certificate: x509: unknown authority') },
    { name: 'the runtime itself is away', error: new RuntimeError('unavailable', 'connect: connection refused') },
    { name: 'no local image', error: offline, local: false },
    { name: 'told to fail', error: offline, options: { whenUnreachable: 'fail' } },
  ];
  for (const { name, error, local = true, options } of rows) {
    const { runtime, ensure } = setUp(options);
    runtime.addImage('nginx', { present: local });
    runtime.failNext('pullImage', error);
    assert.equal(outcome(await ensure('nginx', 'Always')), `ErrImagePull: ${error.message}`, name);
  }
});

test('an image from imagesDir is used at once, without asking a registry', async () => {
  const asked: string[] = [];
  const { runtime, events, ensure, pulls } = setUp({}, { isOffline: (_, name) => asked.push(name) > 0 });
  const id = runtime.addImage('nginx');
  assert.equal(outcome(await ensure('nginx', 'Always')), `present ${id}`);
  assert.equal(pulls().length, 0);
  assert.deepEqual(asked, ['docker.io/library/nginx:latest']);
  assert.match(events.take().join(), /already present on machine/);
});

test('an unpullable image that is present starts under IfNotPresent (C-380)', async () => {
  const { runtime, ensure, pulls } = setUp();
  const id = runtime.addImage('nginx:1');
  runtime.failNext('pullImage', new RuntimeError('not-found', 'gone from the registry'));
  assert.equal(outcome(await ensure('nginx:1', 'IfNotPresent')), `present ${id}`);
  assert.equal(pulls().length, 0);
});

test('pulls overlap only as far as allowed; waiters that give up leave (C-378, L-357)', async () => {
  const rows: readonly (readonly [number, readonly number[]])[] = [
    [1, [1, 2, 3]],
    [2, [2, 3, 3]],
    [Number.POSITIVE_INFINITY, [3, 3, 3]],
  ];
  for (const [maxParallelPulls, expected] of rows) {
    const { runtime, ensure, pulls } = setUp({ maxParallelPulls });
    const names = ['a:1', 'b:1', 'c:1'];
    for (const name of names) runtime.addImage(name, { present: false });
    const seen: number[] = [];
    const open = [runtime.block('pullImage')];
    const ends = names.map((name) => ensure(name, 'IfNotPresent'));
    for (let i = 0; i < 3; i++) {
      await settle();
      seen.push(pulls().length);
      // The next to begin waits at a gate of its own.
      open.push(runtime.block('pullImage'));
      open.shift()?.();
    }
    for (const gate of open) gate();
    for (const end of ends) assert.match(outcome(await end), /^present/);
    assert.deepEqual(seen, expected, `at most ${maxParallelPulls}`);
  }

  const { runtime, ensure, pulls } = setUp();
  for (const name of ['a:1', 'b:1', 'c:1']) runtime.addImage(name, { present: false });
  const open = runtime.block('pullImage');
  const first = ensure('a:1', 'IfNotPresent');
  const leaver = new AbortController();
  const second = ensure('b:1', 'IfNotPresent', { signal: leaver.signal });
  const third = ensure('c:1', 'IfNotPresent');
  await settle();
  const reason = new Superseded();
  leaver.abort(reason);
  await assert.rejects(second, reason);
  open();
  assert.match(outcome(await first), /^present/);
  assert.match(outcome(await third), /^present/);
  assert.deepEqual(pulls(), ['pullImage a:1', 'pullImage c:1']);
});

test('a pull that lasts too long holds up nobody (L-357)', async () => {
  const { clock, runtime, ensure, pulls } = setUp({ maxParallelPulls: 1 });
  for (const name of ['slow:1', 'b:1', 'c:1']) runtime.addImage(name, { present: false });
  const endSlow = runtime.block('pullImage');
  const slow = ensure('slow:1', 'IfNotPresent');
  await settle();
  const endSecond = runtime.block('pullImage');
  const second = ensure('b:1', 'IfNotPresent');
  const third = ensure('c:1', 'IfNotPresent');
  await clock.advance(300_000 - 1);
  assert.equal(pulls().length, 1);
  await clock.advance(1);
  assert.equal(pulls().length, 2);
  // Its place is given away once: its own end lets in nobody more.
  endSlow();
  assert.match(outcome(await slow), /^present/);
  await settle();
  assert.equal(pulls().length, 2);
  endSecond();
  for (const end of [second, third]) assert.match(outcome(await end), /^present/);
  assert.equal(clock.sleeping, 0);
});

test('more pulls than registryPullQPS allows fail at once (L-358)', async () => {
  const { clock, runtime, ensure } = setUp({ pullsPerSecond: 2, pullBurst: 2 });
  for (const name of ['a:1', 'b:1', 'c:1']) runtime.addImage(name, { present: false });
  assert.match(outcome(await ensure('a:1', 'Always')), /^present/);
  assert.match(outcome(await ensure('b:1', 'Always')), /^present/);
  assert.equal(outcome(await ensure('c:1', 'Always')), 'ErrImagePull: pull QPS exceeded');
  await clock.advance(500);
  assert.match(outcome(await ensure('c:1', 'Always', { uid: 'uid-2' })), /^present/);
});

test('each credential is tried until one succeeds, by the full name of the repository (C-390, L-349)', async () => {
  const lookups: string[] = [];
  const credentials: CredentialSource = {
    lookup: async (repository) => {
      lookups.push(repository);
      return [{ username: 'a' }, { username: 'b' }, { username: 'c' }];
    },
  };
  const clock = new FakeClock();
  const runtime = new FakeRuntime({}, { clock });
  const users: unknown[] = [];
  const recorded: ImagePullerDeps['runtime'] = {
    imageStatus: (image, options) => runtime.imageStatus(image, options),
    pullImage: (request, options) => {
      users.push(request.auth?.username);
      return runtime.pullImage(request, options);
    },
  };
  const { ensure } = setUp({}, { credentials, runtime: recorded });
  runtime.addImage('team/app:1', { present: false });
  runtime.failNext('pullImage', new RuntimeError('unknown', '401'));
  assert.match(outcome(await ensure('team/app:1', 'Always')), /^present/);
  assert.deepEqual(users, ['a', 'b']);
  assert.deepEqual(lookups, ['docker.io/team/app']);

  for (const text of ['first', 'second', 'third']) runtime.failNext('pullImage', new RuntimeError('unknown', text));
  assert.equal(outcome(await ensure('team/app:1', 'Always', { uid: 'uid-2' })), 'ErrImagePull: third');
});

test('a pull is timed by the size of its image (H-393)', async () => {
  const observed: unknown[] = [];
  const histogram = ({ name }: { readonly name: string }) => ({
    observe: (value: number, labels: object = {}) => void observed.push([name, value, labels]),
    remove: () => undefined,
  });
  const { clock, runtime, ensure } = setUp({}, { metrics: { ...noMetrics, histogram } });
  runtime.addImage('nginx:1', { present: false, sizeBytes: 20_000_000 });
  const open = runtime.block('pullImage');
  const pulled = ensure('nginx:1', 'IfNotPresent');
  await settle();
  await clock.advance(3_000);
  open();
  await pulled;
  assert.deepEqual(observed, [['kubelet_image_pull_duration_seconds', 3, { image_size_in_bytes: '10MB-100MB' }]]);
});

test('H-394: images are counted by whether they were there and had to be pulled', async () => {
  const counted: string[] = [];
  const counter: typeof noMetrics.counter = ({ name }) => ({
    inc: (labels = {}) => void (name.includes('ensure_image') && counted.push(Object.values(labels).join(' '))),
    remove: () => undefined,
  });
  const { runtime, ensure } = setUp({}, { metrics: { ...noMetrics, counter } });
  runtime.addImage('here:1');
  runtime.addImage('there:1', { present: false });
  await ensure('here:1', 'IfNotPresent');
  await ensure('here:1', 'Always');
  await ensure('there:1', 'Never');
  await ensure('there:1', 'IfNotPresent');
  // Present, policy, pulled.
  assert.deepEqual(counted, ['true ifnotpresent false', 'true always true', 'false never false', 'false ifnotpresent true']);
});

test('a long pull is told about while it lasts', async () => {
  const { clock, runtime, events, ensure } = setUp();
  runtime.addImage('nginx:1', { present: false });
  const open = runtime.block('pullImage');
  const end = ensure('nginx:1', 'IfNotPresent');
  await settle();
  await clock.advance(185_500);
  open();
  assert.match(outcome(await end), /^present/);
  assert.deepEqual(events.take(), [
    'Normal Pulling: Pulling image "nginx:1"',
    'Normal Pulling: Still pulling image "nginx:1" after 1m0s',
    'Normal Pulling: Still pulling image "nginx:1" after 3m0s',
    'Normal Pulled: Successfully pulled image "nginx:1" in 3m5.5s (3m5.5s including waiting). Image size: 1000000 bytes.',
  ]);
  assert.equal(clock.sleeping, 0);
});

test('an abort ends the pull under way and records no failure', async () => {
  const { runtime, events, ensure } = setUp();
  runtime.addImage('nginx:1', { present: false });
  runtime.block('pullImage');
  const caller = new AbortController();
  const end = ensure('nginx:1', 'IfNotPresent', { signal: caller.signal });
  await settle();
  const reason = new Superseded();
  caller.abort(reason);
  await assert.rejects(end, reason);
  assert.deepEqual(events.take(), ['Normal Pulling: Pulling image "nginx:1"']);
});
