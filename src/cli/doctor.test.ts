import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import type { DoctorReport, Trouble } from '../api/trouble.ts';
import { ConfigError } from '../std/errors.ts';
import { type DoctorTarget, doctor } from './doctor.ts';

const trouble: Trouble = {
  severity: 'error',
  area: 'manifests',
  cause: 'rejected',
  object: '/m/a.yaml:3:9',
  message: 'spec.containers: Required value',
  advice: 'correct the manifest',
  since: '2026-01-01T00:00:00Z',
};

async function run(t: TestContext, report: DoctorReport | undefined, change: Partial<DoctorTarget> = {}, output?: 'json') {
  const dir = await mkdtemp(path.join(tmpdir(), 'pinpod-doctor-'));
  t.after(() => rm(dir, { recursive: true }));
  const socketPath = path.join(dir, 'a.sock');
  if (report !== undefined) {
    const server = createServer((request, response) => {
      response.statusCode = request.url === '/pinpod/v1/doctor' ? 200 : 404;
      response.end(JSON.stringify(report));
    });
    await new Promise<void>((resolve) => server.listen(socketPath, resolve));
    t.after(() => server.close());
  }
  let out = '';
  const code = await doctor(
    { output },
    {
      io: {
        out: async (text) => {
          out += String(text);
        },
        err: async () => undefined,
        signal: new AbortController().signal,
      },
      target: () => ({ socketPath, runtimeEndpoint: undefined, manifestPath: undefined, warnings: [], ...change }),
      validate: async (folder) => [`${folder}/a.yaml:1:1: kind: Required value`],
    },
  );
  return { code, out, dir };
}

test('all is well: exit code 0', async (t) => {
  const { code, out } = await run(t, { areas: ['runtime', 'manifests'], troubles: [] });
  assert.equal(out, 'ok       runtime\nok       manifests\n\nAll is well.\n');
  assert.equal(code, 0);
});

test('an error stands below its area, with its place, since when, and what to do: exit code 1', async (t) => {
  const { code, out } = await run(t, { areas: ['runtime', 'manifests'], troubles: [trouble] });
  assert.equal(
    out,
    `ok       runtime
error    manifests
           /m/a.yaml:3:9  rejected  since 2026-01-01T00:00:00Z
             spec.containers: Required value
             → correct the manifest

1 error, 0 warnings.
`,
  );
  assert.equal(code, 1);
});

test('a warning alone is no failure', async (t) => {
  const { code, out } = await run(t, { areas: ['manifests'], troubles: [{ ...trouble, severity: 'warning' }] });
  assert.equal(code, 0);
  assert.match(out, /^warning {2}manifests\n {11}warning: {2}\/m/);
});

test('-o json is what the agent says', async (t) => {
  const report: DoctorReport = { areas: ['manifests'], troubles: [trouble] };
  const { code, out } = await run(t, report, {}, 'json');
  assert.deepEqual(JSON.parse(out), report);
  assert.equal(code, 1);
});

test('without an agent: that it does not run, and what might keep it from it', async (t) => {
  const { code, out, dir } = await run(t, undefined, {
    runtimeEndpoint: 'unix:///nowhere/containerd.sock',
    manifestPath: tmpdir(),
    warnings: ['x has no effect'],
  });
  assert.equal(code, 1);
  assert.match(out, new RegExp(`^error {4}agent\\n +${dir}/a\\.sock {2}not-running\\n +no agent is running here`));
  assert.match(out, /warning {2}configuration\n.*\n +x has no effect/);
  assert.match(out, /error {4}runtime\n +unix:\/\/\/nowhere\/containerd\.sock {2}unreachable\n.*ENOENT\n +→ the agent waits for it/);
  assert.match(out, /error {4}manifests\n +rejected\n +\/.*\/a\.yaml:1:1: kind: Required value/);
  assert.match(out, /3 errors, 1 warning\./);
});

test('without an agent and without a folder of manifests: that there is none', async (t) => {
  const { out } = await run(t, undefined, { manifestPath: '/nowhere/manifests' });
  assert.match(out, /^warning {2}sources\n +warning: {2}\/nowhere\/manifests {2}missing\n.*\n +→ create it/m);
  assert.match(out, /1 error, 1 warning\./);
});

test('a configuration that cannot be used is told line by line', async () => {
  let out = '';
  const code = await doctor(
    {},
    {
      io: {
        out: async (text) => {
          out += String(text);
        },
        err: async () => undefined,
        signal: new AbortController().signal,
      },
      target: () => {
        throw new ConfigError('configuration', 'a: unknown\nb: unknown');
      },
      validate: async () => [],
    },
  );
  assert.equal(code, 1);
  assert.match(out, /^error {4}configuration\n +invalid\n +a: unknown\n.*\n +invalid\n +b: unknown/);
});
