// The suite on real containerd, one daemon of its own per release, and what only a real one can show: which event
// stream is listened to, and that a listener that was killed does not cost its successor an event.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { Pleg } from '../../src/pleg/pleg.ts';
import { CriRuntime } from '../../src/runtime/cri/cri-runtime.ts';
import { Shutdown } from '../../src/std/async.ts';
import { systemClock } from '../../src/std/clock.ts';
import { silentLogger } from '../../src/std/log.ts';
import { noMetrics } from '../../src/std/metrics.ts';
import { type ContainerdRelease, offlineImages, startContainerd, type TestContainerd, whyNoContainerd } from '../support/containerd.ts';
import { containerConfig, sandboxConfig } from './builders.ts';
import { commands, runtimeSuite } from './runtime-suite.ts';

const cgroupParent = `/pinpod-compliance-${process.pid}`;
const missingImage = 'mini.test/no/such:image';
const o = { signal: new AbortController().signal };

function clientOf(containerd: TestContainerd): CriRuntime {
  return new CriRuntime({ runtimeEndpoint: containerd.endpoint, requestTimeoutMs: 120_000 }, { clock: systemClock, logger: silentLogger });
}

/** Points `mini.test` to a registry that has nothing. Gives what ends it. */
async function emptyRegistry(certsDir: string): Promise<() => void> {
  const server = createServer((request, response) => {
    response.statusCode = request.url === '/v2/' ? 200 : 404;
    response.end('{}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const folder = path.join(certsDir, 'mini.test');
  mkdirSync(folder, { recursive: true });
  const url = `http://127.0.0.1:${port}`;
  writeFileSync(path.join(folder, 'hosts.toml'), `server = "${url}"\n[host."${url}"]\n  capabilities = ["pull", "resolve"]\n`);
  return () => {
    server.closeAllConnections();
    server.close();
  };
}

interface Watcher {
  /** Until the stream must be open and has nothing more to tell: nothing says so, hence a second of real time. */
  quiet(): Promise<void>;
  /** Until the Pod is woken. */
  woken(): Promise<void>;
  end(): Promise<void>;
}

/** An agent's pleg with connections of its own, which relists far too seldom to see anything by itself. */
function watching(t: TestContext, containerd: TestContainerd, uid: string): Watcher {
  const runtime = clientOf(containerd);
  const ends = new AbortController();
  let wakes = 0;
  let wake = (): void => undefined;
  const pleg = new Pleg(
    { relistPeriodMs: 600_000, safetyRelistMs: 600_000 },
    {
      runtime,
      clock: systemClock,
      logger: silentLogger,
      metrics: noMetrics,
      onChange(podUid) {
        if (podUid !== uid) return;
        wakes += 1;
        wake();
      },
    },
  );
  const run = pleg.run({ signal: ends.signal });
  run.catch(() => undefined);
  t.after(() => {
    ends.abort(new Shutdown());
    runtime.close();
  });
  return {
    async quiet() {
      await pleg.ready(o);
      await systemClock.sleep(1000, o.signal);
      wakes = 0;
    },
    async woken() {
      while (wakes === 0) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
    async end() {
      const reason = new Shutdown();
      ends.abort(reason);
      await assert.rejects(run, (error) => error === reason);
    },
  };
}

for (const version of ['debian', 'trixie', 'sid'] as const satisfies readonly ContainerdRelease[]) {
  const skip = whyNoContainerd(version) ?? false;

  runtimeSuite(
    `containerd of ${version}`,
    async () => {
      const containerd = await startContainerd({ name: 'comp', version, cgroupParents: [cgroupParent] });
      const closeRegistry = await emptyRegistry(path.join(containerd.dir, 'root', 'containerd', 'certs.d'));
      const runtime = clientOf(containerd);
      await runtime.connect(o);
      return {
        runtime,
        image: offlineImages.busybox,
        missingImage,
        logRoot: path.join(containerd.dir, 'logs'),
        cgroupParent,
        pass: () => Promise.resolve(),
        async close() {
          runtime.close();
          closeRegistry();
          await containerd.stop();
        },
      };
    },
    { skip },
  );

  describe(`pleg on containerd of ${version}`, { skip }, () => {
    let containerd: TestContainerd;

    before(async () => {
      containerd = await startContainerd({ name: 'pleg', version, cgroupParents: [cgroupParent] });
    });

    after(() => containerd.stop());

    it('tells of an exit by event, again after a listener was lost, and after containerd was killed', { timeout: 60_000 }, async (t) => {
      const config = sandboxConfig({ uid: `pleg-${version}`, cgroupParent, logDirectory: path.join(containerd.dir, 'logs') });
      const { uid } = config.metadata;
      const runtime = clientOf(containerd);
      t.after(() => runtime.close());
      const sandboxId = await runtime.runPodSandbox({ config, runtimeHandler: '' }, o);
      const containers: string[] = [];
      for (const attempt of [0, 1, 2]) {
        const container = containerConfig(config, { image: offlineImages.busybox, command: commands.ignoresTerm, attempt });
        containers.push(await runtime.createContainer({ sandboxId, config: container, sandboxConfig: config }, o));
        await runtime.startContainer(containers.at(-1) ?? '', o);
      }
      const kill = (index: number): Promise<void> => runtime.stopContainer({ containerId: containers[index] ?? '', timeoutSeconds: 0 }, o);
      const state = async (index: number): Promise<string | undefined> =>
        (await runtime.containerStatus(containers[index] ?? '', o))?.state;

      const first = watching(t, containerd, uid);
      await first.quiet();
      await kill(0);
      await first.woken();
      assert.equal(await state(0), 'exited');
      await first.end();

      const second = watching(t, containerd, uid);
      await second.quiet();
      await kill(1);
      await second.woken();
      assert.equal(await state(1), 'exited');

      await containerd.kill();
      await containerd.restart();
      await second.quiet();
      await kill(2);
      await second.woken();
      assert.equal(await state(2), 'exited');
      await second.end();
      await runtime.stopPodSandbox(sandboxId, o);
      await runtime.removePodSandbox(sandboxId, o);
    });
  });
}
