import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock, settle } from '../../../test/support/fake-clock.ts';
import { ConfigError, RuntimeError } from '../../std/errors.ts';
import { silentLogger } from '../../std/log.ts';
import { type ChooseOptions, chooseRuntime, usualSockets } from './choose.ts';
import type { PrivateContainerdInfo } from './private-containerd.ts';

const { signal } = new AbortController();
const info: PrivateContainerdInfo = {
  endpoint: 'unix:///run/pinpod/containerd/containerd.sock',
  version: { major: 1, minor: 6, patch: 20 },
  subnet: '10.125.0.0/16',
  cgroupDriver: 'cgroupfs',
  attached: false,
  imports: [],
};

interface World {
  /** Endpoints that answer. */
  readonly answering?: readonly string[];
  readonly hanging?: readonly string[];
  readonly wasUsed?: boolean;
  readonly startFails?: unknown;
}

function choose(options: Partial<ChooseOptions>, { answering = [], hanging = [], wasUsed = false, startFails }: World) {
  const clock = new FakeClock();
  const asked: string[] = [];
  const result = chooseRuntime(
    { configuredEndpoint: undefined, privateContainerd: 'auto', ...options },
    {
      clock,
      log: silentLogger,
      probe: async (endpoint, o) => {
        asked.push(endpoint);
        if (hanging.includes(endpoint)) await clock.sleep(3_600_000, o.signal);
        if (!answering.includes(endpoint)) throw new RuntimeError('unavailable', 'connect ENOENT');
      },
      private: {
        wasUsed: async () => wasUsed,
        start: async () => {
          asked.push('private');
          if (startFails !== undefined) throw startFails;
          return info;
        },
      },
    },
    { signal },
  );
  result.catch(() => undefined);
  return { result, asked, clock };
}

const [containerd, crio, dockerd] = usualSockets.map((socket) => socket.endpoint);
const missing = new ConfigError(
  'runtime-missing',
  'a private containerd cannot be started: runc not found. On Debian: apt-get install runc',
);

describe('choice of the container runtime', () => {
  const rows: readonly (readonly [string, Partial<ChooseOptions>, World, string, readonly (string | undefined)[]])[] = [
    [
      'a configured endpoint is taken without asking',
      { configuredEndpoint: 'unix:///x.sock' },
      { answering: usualSockets.map((s) => s.endpoint) },
      'configured',
      [],
    ],
    ['the first usual socket that answers', {}, { answering: [crio ?? '', dockerd ?? ''] }, 'found', [containerd, crio]],
    ['a private one when none answers', {}, {}, 'private', [containerd, crio, dockerd, 'private']],
    ['a private one that was used before comes first (D2)', {}, { wasUsed: true, answering: [containerd ?? ''] }, 'private', ['private']],
    ['always a private one', { privateContainerd: 'always' }, { answering: [containerd ?? ''] }, 'private', ['private']],
    [
      'never a private one, though it was used before',
      { privateContainerd: 'never' },
      { wasUsed: true, answering: [dockerd ?? ''] },
      'found',
      [containerd, crio, dockerd],
    ],
  ];
  for (const [name, options, world, kind, asked] of rows) {
    it(name, async () => {
      const run = choose(options, world);
      assert.equal((await run.result).kind, kind);
      assert.deepEqual(run.asked, asked);
    });
  }

  it('gives up on a socket that does not answer in 2 s', async () => {
    const run = choose({}, { hanging: [containerd ?? ''], answering: [crio ?? ''] });
    await settle();
    await run.clock.advance(2000);
    assert.deepEqual(await run.result, { kind: 'found', endpoint: crio });
  });

  it('says what was tried and which package is missing (L-007)', async () => {
    await assert.rejects(choose({}, { startFails: missing }).result, (error) => {
      assert.ok(error instanceof ConfigError);
      for (const part of [
        'containerd at unix:///run/containerd/containerd.sock (connect ENOENT)',
        'CRI-O',
        'cri-dockerd',
        'apt-get install runc',
      ]) {
        assert.ok(error.message.includes(part), `${part} in ${error.message}`);
      }
      return true;
    });
  });

  it('says so when a private one is switched off', async () => {
    await assert.rejects(
      choose({ privateContainerd: 'never' }, {}).result,
      (error) => error instanceof ConfigError && error.code === 'no-runtime',
    );
  });

  it('passes on what went wrong beyond the configuration', async () => {
    const failure = new RuntimeError('unavailable', 'it ended with exit code 1');
    await assert.rejects(choose({}, { startFails: failure }).result, (error) => error === failure);
  });
});
