// The client against a server of our own on a unix socket: what a real runtime does not do on demand.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { createServer } from 'nice-grpc';
import { type CallContext, ServerError, Status } from 'nice-grpc-common';
import { containerConfig, sandboxConfig } from '../../../test/compliance/builders.ts';
import { FakeClock, settle } from '../../../test/support/fake-clock.ts';
import { Superseded } from '../../std/async.ts';
import { RuntimeError } from '../../std/errors.ts';
import { silentLogger } from '../../std/log.ts';
import { rpcErrorText } from '../errors.ts';
import type { RuntimeEvent } from '../runtime.ts';
import { CriRuntime } from './cri-runtime.ts';
import { type Envelope, EventsDefinition, TaskExit, TaskStart } from './gen/containerd-events.ts';
import { ImageServiceDefinition, RuntimeServiceDefinition } from './gen/runtime.ts';

type Handler = (request: never, context: CallContext) => unknown;
interface Handlers {
  readonly runtime?: Readonly<Record<string, Handler>>;
  readonly images?: Readonly<Record<string, Handler>>;
  readonly events?: Readonly<Record<string, Handler>>;
}

const sandbox = sandboxConfig({ uid: 'u' });
const container = containerConfig(sandbox, { image: 'i' });
const o = { signal: new AbortController().signal };
const version = { version: '0.1.0', runtimeName: 'containerd', runtimeVersion: '2.1.9', runtimeApiVersion: 'v1' };

/** Every method not given answers UNIMPLEMENTED. */
async function serve(socket: string, handlers: Handlers): Promise<() => void> {
  const server = createServer({ 'grpc.max_send_message_length': -1 });
  for (const [definition, given] of [
    [RuntimeServiceDefinition, handlers.runtime],
    [ImageServiceDefinition, handlers.images],
    [EventsDefinition, handlers.events],
  ] as const) {
    const methods = Object.entries(definition.methods).map(([name, { responseStream }]) => {
      const refuse = (): never => {
        throw new ServerError(Status.UNIMPLEMENTED, `unknown method ${name}`);
      };
      const stream = async function* (): AsyncGenerator<never> {
        yield refuse();
      };
      return [name, given?.[name] ?? (responseStream ? stream : refuse)] as const;
    });
    server.add(definition, Object.fromEntries(methods) as never);
  }
  await server.listen(`unix://${socket}`);
  return () => server.forceShutdown();
}

async function world(t: TestContext, handlers: Handlers) {
  const dir = mkdtempSync(path.join(tmpdir(), 'pp-cri-'));
  const socket = path.join(dir, 'cri.sock');
  const clock = new FakeClock();
  const runtime = new CriRuntime({ runtimeEndpoint: `unix://${socket}`, requestTimeoutMs: 120_000 }, { clock, logger: silentLogger });
  let stop = await serve(socket, handlers);
  t.after(() => {
    runtime.close();
    stop();
    rmSync(dir, { recursive: true });
  });
  return {
    clock,
    runtime,
    socket,
    stop: () => stop(),
    async restart() {
      stop = await serve(socket, handlers);
    },
  };
}

/** A handler that answers only when the client gives up; `called` resolves when it is asked. */
function hanging() {
  let onCall = (): void => undefined;
  let onCancel = (): void => undefined;
  const called = new Promise<void>((resolve) => {
    onCall = resolve;
  });
  const cancelled = new Promise<void>((resolve) => {
    onCancel = resolve;
  });
  const handler: Handler = (_, { signal }) =>
    new Promise((_resolve, reject) => {
      onCall();
      signal.addEventListener('abort', () => {
        onCancel();
        reject(signal.reason);
      });
    });
  return { handler, called, cancelled };
}

describe('deadlines (4.2)', () => {
  const cases: readonly (readonly [string, number, (r: CriRuntime) => Promise<unknown>])[] = [
    ['version', 120, (r) => r.version(o)],
    ['runPodSandbox', 240, (r) => r.runPodSandbox({ config: sandbox, runtimeHandler: '' }, o)],
    ['stopContainer', 150, (r) => r.stopContainer({ containerId: 'c', timeoutSeconds: 30 }, o)],
    ['execSync', 125, (r) => r.execSync({ containerId: 'c', command: ['x'], timeoutSeconds: 5 }, o)],
    ['listContainers', 120, (r) => r.listContainers({}, o)],
  ];
  for (const [method, seconds, call] of cases) {
    it(`${method} after ${seconds} s; the runtime is told`, async (t) => {
      const { handler, called, cancelled } = hanging();
      const w = await world(t, { runtime: { [method]: handler } });
      let isOver = false;
      const result = assert.rejects(call(w.runtime), { name: 'RuntimeError', code: 'deadline-exceeded' }).then(() => {
        isOver = true;
      });
      await called;
      await w.clock.advance(seconds * 1000 - 1);
      assert.equal(isOver, false);
      await w.clock.advance(1);
      await result;
      await cancelled;
      assert.equal(w.clock.sleeping, 0);
    });
  }

  it('none for PullImage and for an exec without limit', async (t) => {
    const pull = hanging();
    const exec = hanging();
    const w = await world(t, { runtime: { execSync: exec.handler }, images: { pullImage: pull.handler } });
    const ends = new AbortController();
    const calls = [
      w.runtime.pullImage({ image: { image: 'i' }, auth: undefined, sandboxConfig: sandbox }, { signal: ends.signal }),
      w.runtime.execSync({ containerId: 'c', command: ['x'], timeoutSeconds: 0 }, { signal: ends.signal }),
    ];
    await Promise.all([pull.called, exec.called]);
    assert.equal(w.clock.sleeping, 0);
    const reason = new Superseded();
    ends.abort(reason);
    for (const call of calls) await assert.rejects(call, (error) => error === reason);
    await Promise.all([pull.cancelled, exec.cancelled]);
  });

  it('leaves no timer behind a call that is over', async (t) => {
    const w = await world(t, { runtime: { version: () => version } });
    await w.runtime.version(o);
    assert.equal(w.clock.sleeping, 0);
  });
});

describe('errors', () => {
  const codes: readonly (readonly [Status, string, string, string])[] = [
    [Status.UNKNOWN, 'unknown', 'backoff', 'Unknown'],
    [Status.NOT_FOUND, 'not-found', 'backoff', 'NotFound'],
    [Status.FAILED_PRECONDITION, 'failed-precondition', 'backoff', 'FailedPrecondition'],
    [Status.INVALID_ARGUMENT, 'invalid-argument', 'never', 'InvalidArgument'],
    [Status.UNIMPLEMENTED, 'unimplemented', 'never', 'Unimplemented'],
    [Status.ABORTED, 'aborted', 'now', 'Aborted'],
    [Status.CANCELLED, 'cancelled', 'now', 'Canceled'],
    [Status.RESOURCE_EXHAUSTED, 'resource-exhausted', 'backoff', 'ResourceExhausted'],
  ];
  for (const [status, code, retry, text] of codes) {
    it(`${code}: the description is the message (L-188)`, async (t) => {
      const w = await world(t, {
        runtime: {
          startContainer() {
            throw new ServerError(status, 'no such thing');
          },
        },
      });
      await assert.rejects(w.runtime.startContainer('c', o), (error) => {
        assert.ok(error instanceof RuntimeError);
        assert.deepEqual([error.code, error.retry, error.message], [code, retry, 'no such thing']);
        assert.equal(rpcErrorText(error), `rpc error: code = ${text} desc = no such thing`);
        assert.ok(error.cause instanceof Error);
        return true;
      });
    });
  }

  it('says "command timed out" when the runtime ended a command', async (t) => {
    const w = await world(t, {
      runtime: {
        execSync() {
          throw new ServerError(Status.DEADLINE_EXCEEDED, 'context deadline exceeded');
        },
      },
    });
    await assert.rejects(w.runtime.execSync({ containerId: 'c', command: ['sleep', '9'], timeoutSeconds: 1 }, o), {
      code: 'deadline-exceeded',
      message: 'command timed out: "sleep 9" timed out after 1s',
    });
  });

  it('is unavailable at once while the runtime is down, and works again when it is back (L-183)', async (t) => {
    const w = await world(t, { runtime: { version: () => version } });
    assert.equal((await w.runtime.version(o)).runtimeName, 'containerd');
    w.stop();
    await assert.rejects(w.runtime.version(o), { name: 'RuntimeError', code: 'unavailable', retry: 'backoff' });
    await w.restart();
    for (;;) {
      try {
        await w.runtime.version(o);
        break;
      } catch (error) {
        assert.ok(error instanceof RuntimeError && error.code === 'unavailable');
      }
    }
  });
});

describe('replies (4.2)', () => {
  const cases: readonly (readonly [string, string, unknown, (r: CriRuntime) => Promise<unknown>])[] = [
    ['a sandbox without id', 'runPodSandbox', {}, (r) => r.runPodSandbox({ config: sandbox, runtimeHandler: '' }, o)],
    [
      'a container without id',
      'createContainer',
      {},
      (r) => r.createContainer({ sandboxId: 's', config: container, sandboxConfig: sandbox }, o),
    ],
    ['an empty URL', 'exec', {}, (r) => r.exec({ containerId: 'c', command: [], tty: false, stdin: false, stdout: true, stderr: true }, o)],
    ['a sandbox status without status', 'podSandboxStatus', {}, (r) => r.podSandboxStatus('s', o)],
    ['a version without name', 'version', { ...version, runtimeName: '' }, (r) => r.version(o)],
    ['another version', 'version', { ...version, version: '0.2.0' }, (r) => r.version(o)],
    ['one condition', 'status', { status: { conditions: [{ type: 'RuntimeReady' }] } }, (r) => r.status({ verbose: false }, o)],
  ];
  for (const [name, method, reply, call] of cases) {
    it(`refuses ${name}`, async (t) => {
      const w = await world(t, { runtime: { [method]: () => reply } });
      await assert.rejects(call(w.runtime), { name: 'RuntimeError', code: 'internal' });
    });
  }

  it('refuses an image status without size and a pull without reference; a missing image is undefined', async (t) => {
    const replies = [{ image: { id: 'i' } }, {}];
    const w = await world(t, { images: { imageStatus: () => replies.shift(), pullImage: () => ({}) } });
    await assert.rejects(w.runtime.imageStatus({ image: 'i' }, o), { code: 'internal' });
    assert.equal(await w.runtime.imageStatus({ image: 'i' }, o), undefined);
    await assert.rejects(w.runtime.pullImage({ image: { image: 'nginx' }, auth: undefined, sandboxConfig: sandbox }, o), {
      code: 'internal',
      message: 'imageRef of image "nginx" is not set',
    });
  });

  it('has no cgroup driver where the runtime has no RuntimeConfig (L-290)', async (t) => {
    const w = await world(t, {});
    assert.equal(await w.runtime.cgroupDriver(o), undefined);
  });

  it('takes lists beyond gRPC’s own limit of 4 MiB (L-183)', async (t) => {
    const items = Array.from({ length: 6 }, (_, i) => ({ id: `s${i}`, annotations: { big: 'x'.repeat(1024 * 1024) } }));
    const w = await world(t, { runtime: { listPodSandbox: () => ({ items }) } });
    assert.equal((await w.runtime.listPodSandboxes({}, o)).length, 6);
  });
});

describe('connect', () => {
  it('names the endpoint that does not speak CRI v1 (L-184)', async (t) => {
    const withoutRuntime = await world(t, {});
    await assert.rejects(withoutRuntime.runtime.connect(o), {
      code: 'unimplemented',
      message: `validate CRI v1 runtime API for endpoint "unix://${withoutRuntime.socket}": unknown method version`,
    });
    const withoutImages = await world(t, { runtime: { version: () => version } });
    await assert.rejects(withoutImages.runtime.connect(o), {
      code: 'unimplemented',
      message: `validate CRI v1 image API for endpoint "unix://${withoutImages.socket}": unknown method imageFsInfo`,
    });
  });

  it('gives name and version (L-185)', async (t) => {
    const w = await world(t, { runtime: { version: () => version }, images: { imageFsInfo: () => ({}) } });
    assert.deepEqual(await w.runtime.connect(o), { runtimeName: 'containerd', runtimeVersion: '2.1.9', runtimeApiVersion: 'v1' });
  });
});

describe('events', () => {
  const criEvent = { containerId: 'c', podSandboxStatus: { metadata: { uid: 'u' } } };
  const envelope = (topic: string, value: Uint8Array): Envelope => ({ namespace: 'k8s.io', topic, event: { typeUrl: '', value } });
  const task = (change: Partial<TaskExit>): Uint8Array => TaskExit.encode(TaskExit.fromPartial(change)).finish();
  async function* cri(): AsyncGenerator<unknown> {
    yield criEvent;
    yield { ...criEvent, createdAt: 1_790_000_000_123_456_789n };
  }
  async function* containerd(): AsyncGenerator<unknown> {
    yield envelope('/tasks/start', TaskStart.encode({ containerId: 'started' }).finish());
    yield envelope('/tasks/exit', task({ containerId: 'c', id: 'some-exec' }));
    yield envelope('/tasks/exit', task({ containerId: 'exited', id: 'exited' }));
    yield envelope('/tasks/paused', task({ containerId: 'c' }));
  }

  async function drain(runtime: CriRuntime): Promise<{ readonly events: readonly RuntimeEvent[]; readonly code: string }> {
    const events: RuntimeEvent[] = [];
    try {
      for await (const event of runtime.events(o)) events.push(event);
    } catch (error) {
      assert.ok(error instanceof RuntimeError);
      return { events, code: error.code };
    }
    throw new assert.AssertionError({ message: 'the stream ended without an error' });
  }

  const fromCri = [
    { podUid: 'u', containerId: 'c' },
    { podUid: 'u', containerId: 'c', createdAt: 1_790_000_000_123.456 },
  ];
  const fromContainerd = [
    { podUid: undefined, containerId: 'started' },
    { podUid: undefined, containerId: 'exited' },
  ];
  const cases: readonly (readonly [string, Partial<typeof version>, Omit<Handlers, 'images'>, readonly RuntimeEvent[], string])[] = [
    ['CRI’s own', {}, { runtime: { getContainerEvents: cri } }, fromCri, 'unavailable'],
    ['containerd’s where CRI has none', {}, { events: { subscribe: containerd } }, fromContainerd, 'unavailable'],
    [
      'containerd’s before 2.0, whose CRI stream loses events',
      { runtimeVersion: '1.7.24~ds1' },
      { runtime: { getContainerEvents: cri }, events: { subscribe: containerd } },
      fromContainerd,
      'unavailable',
    ],
    [
      'CRI’s of another runtime',
      { runtimeName: 'cri-o', runtimeVersion: '1.30.0' },
      { runtime: { getContainerEvents: cri } },
      fromCri,
      'unavailable',
    ],
    ['none', {}, {}, [], 'unimplemented'],
    [
      'none of another runtime',
      { runtimeName: 'docker', runtimeVersion: '1.0' },
      { events: { subscribe: containerd } },
      [],
      'unimplemented',
    ],
  ];
  for (const [name, change, handlers, events, code] of cases) {
    it(`listens to: ${name}`, async (t) => {
      const w = await world(t, { ...handlers, runtime: { ...handlers.runtime, version: () => ({ ...version, ...change }) } });
      assert.deepEqual(await drain(w.runtime), { events, code });
    });
  }

  it('ends with the reason of the signal', async (t) => {
    async function* endless(_: never, { signal }: CallContext): AsyncGenerator<unknown> {
      yield criEvent;
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
    }
    const w = await world(t, { runtime: { version: () => version, getContainerEvents: endless } });
    const ends = new AbortController();
    const reason = new Superseded();
    await assert.rejects(
      async () => {
        for await (const _ of w.runtime.events({ signal: ends.signal })) ends.abort(reason);
      },
      (error) => error === reason,
    );
    await settle();
  });
});
