import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';

import { Shutdown } from '../std/async.ts';
import { systemClock } from '../std/clock.ts';
import { silentLogger } from '../std/log.ts';
import { FileSource } from './file.ts';
import { realFileSystem } from './file-system.ts';
import { noLastGood } from './last-good.ts';
import { parseFileManifest } from './parse-manifest.ts';
import type { SourceSnapshot } from './source.ts';

const parse = parseFileManifest({ nodeName: 'node' });
const parseText = (text: string) => parse(Buffer.from(text), '/m/x.yaml');
const manifest = (name: string, image = 'nginx'): string =>
  `apiVersion: v1\nkind: Pod\nmetadata:\n  name: ${name}\nspec:\n  containers:\n  - name: web\n    image: ${image}\n`;

describe('parseFileManifest', () => {
  it('C-003: identity and defaults of a file', () => {
    const [pod] = parseText(manifest('test').replace('name: test', 'name: test\n  uid: "12345"\n  namespace: mynamespace')).pods;
    assert.equal(pod?.metadata.name, 'test-node');
    assert.equal(pod?.metadata.namespace, 'mynamespace');
    assert.equal(pod?.metadata.uid, '12345');
    assert.equal(pod?.metadata.annotations['kubernetes.io/config.hash'], '12345');
    assert.deepEqual(pod?.spec.tolerations, [{ operator: 'Exists', effect: 'NoExecute' }]);
    assert.equal(pod?.spec.nodeName, 'node');
  });

  it('C-085 (improved): every document, PodList and List is used', () => {
    const names = (text: string): readonly string[] => parseText(text).pods.map((pod) => pod.metadata.name);
    assert.deepEqual(names(`${manifest('a')}---\n${manifest('b')}`), ['a-node', 'b-node']);
    for (const [apiVersion, kind] of [
      ['v1', 'PodList'],
      ['v1', 'List'],
    ])
      assert.deepEqual(names(JSON.stringify({ apiVersion, kind, items: [pod('a'), pod('b')] })), ['a-node', 'b-node']);
  });

  it('decision 0012: one bad document makes the whole file unusable, and all problems are told with their lines', () => {
    const { problems, name } = parseText(`${manifest('a')}---\n${manifest('b').replace('image', 'imge')}`);
    assert.equal(name, 'default/b-node');
    assert.deepEqual(
      problems.map(({ field, line }) => [field, line]).find(([field]) => field === 'spec.containers[0].imge'),
      ['spec.containers[0].imge', 17],
    );
  });

  it('S-035: an empty file is no empty set', () => {
    for (const text of ['', '# only a comment\n', '---\n']) assert.ok(parseText(text).problems.length > 0, JSON.stringify(text));
  });
});

function pod(name: string): object {
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec: { containers: [{ name: 'web', image: 'nginx' }] } };
}

it('any bytes in one file never crash the source nor touch another Pod (D1)', { timeout: 60_000 }, async () => {
  const root = mkdtempSync(join(tmpdir(), 'pinpod-bytes-'));
  const folder = join(root, 'manifests');
  mkdirSync(folder);
  writeFileSync(join(folder, 'b.yaml'), manifest('good'));
  const source = new FileSource(
    { path: folder, fileCheckFrequencyMs: 3_600_000, sourceFaultPolicy: 'keep', quietMs: 5 },
    { parse, fileSystem: realFileSystem, lastGood: noLastGood, clock: systemClock, log: silentLogger },
  );
  const stop = new AbortController();
  const snapshots = source.snapshots({ signal: stop.signal });
  const next = async (): Promise<SourceSnapshot> => {
    const { value, done } = await snapshots.next();
    assert.ok(done !== true && value !== undefined);
    assert.ok(value.pods.some((p) => p.metadata.name === 'good-node'));
    return value;
  };
  await next();
  let turn = 0;
  const text = manifest('other');
  const content = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.string({ unit: 'binary' }).map((s) => Buffer.from(s)),
    fc.nat(text.length).map((length) => Buffer.from(text.slice(0, length))),
    fc.tuple(fc.nat(text.length), fc.string()).map(([at, inserted]) => Buffer.from(text.slice(0, at) + inserted + text.slice(at))),
  );
  await fc.assert(
    fc.asyncProperty(content, async (bytes) => {
      // The mark is read after the bytes: when it has arrived, so have they.
      const mark = `mark-${turn++}`;
      for (const [name, data] of [
        ['a.yaml', bytes],
        ['z.yaml', Buffer.from(manifest(mark))],
      ] as const) {
        writeFileSync(join(root, 'new'), data);
        renameSync(join(root, 'new'), join(folder, name));
      }
      while (!(await next()).pods.some((p) => p.metadata.name === `${mark}-node`));
    }),
    { numRuns: 200 },
  );
  const ended = snapshots.next();
  stop.abort(new Shutdown());
  await ended;
  rmSync(root, { recursive: true });
});
