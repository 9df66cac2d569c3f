import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { buildConfig } from '../../test/support/agent-config.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakeRuntime } from '../../test/support/fake-runtime.ts';
import { buildPod, buildSandboxConfig, RecordedEvents } from '../../test/support/pods.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import { podObject } from '../pod/event-object.ts';
import { RuntimeError } from '../std/errors.ts';
import { silentLogger } from '../std/log.ts';
import { noMetrics } from '../std/metrics.ts';
import { createImagePuller } from './images.ts';

const options = { signal: new AbortController().signal };
const auth = { username: 'me', password: 'pw' };

/** An agent with a root folder and a home of its own. */
function machine(t: TestContext, change: Partial<AgentConfig> = {}) {
  const folder = mkdtempSync(path.join(tmpdir(), 'pinpod-images-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const [rootDir, home] = ['root', 'home'].map((name) => path.join(folder, name)) as [string, string];
  mkdirSync(rootDir);
  mkdirSync(path.join(home, '.docker'), { recursive: true });
  const clock = new FakeClock();
  const runtime = new FakeRuntime({}, { clock });
  const users: unknown[] = [];
  const pull = async (): Promise<string> => {
    const puller = await createImagePuller(
      { config: buildConfig({ rootDir, ...change }), env: { HOME: home } },
      {
        runtime: {
          imageStatus: (image, o) => runtime.imageStatus(image, o),
          pullImage: (request, o) => {
            users.push(request.auth?.username);
            return runtime.pullImage(request, o);
          },
        },
        ...{
          clock,
          events: new RecordedEvents(),
          logger: silentLogger,
          metrics: noMetrics,
          isOffline: () => false,
          onImages: () => undefined,
        },
      },
    );
    const pod = buildPod();
    const request = { pod, object: podObject(pod), reference: 'quay.io/app:1', pullPolicy: 'Always', sandboxConfig: buildSandboxConfig() };
    const result = await puller.ensure(request, options);
    return result.kind === 'failed' ? result.reason : result.kind;
  };
  return { rootDir, home, runtime, users, pull };
}

for (const [place, inRoot, file, content] of [
  ['the root folder', true, 'config.json', { auths: { 'quay.io': auth } }],
  ['the home folder', false, '.docker/config.json', { auths: { 'quay.io': auth } }],
  ['the root folder, older format', true, '.dockercfg', { 'quay.io': auth }],
  ['the home folder, older format', false, '.dockercfg', { 'quay.io': auth }],
] as const) {
  test(`L-367: credentials in ${place}`, async (t) => {
    const { rootDir, home, runtime, users, pull } = machine(t);
    runtime.addImage('quay.io/app:1', { present: false });
    writeFileSync(path.join(inRoot ? rootDir : home, file), JSON.stringify(content));
    assert.equal(await pull(), 'present');
    assert.deepEqual(users, ['me']);
  });
}

for (const [policy, expected] of [
  ['useLocal', 'present'],
  ['fail', 'ErrImagePull'],
] as const) {
  test(`registryFaultPolicy: ${policy}: without a registry an image that is there and always to be pulled (decision 0010)`, async (t) => {
    const { runtime, pull } = machine(t, { registryFaultPolicy: policy });
    runtime.addImage('quay.io/app:1');
    runtime.failNext('pullImage', new RuntimeError('unknown', 'dial tcp: lookup quay.io: no such host'));
    assert.equal(await pull(), expected);
  });
}
