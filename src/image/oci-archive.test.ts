import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { AgentError } from '../std/errors.ts';
import { type ImageArchive, ociArchitecture, readImageArchive, writeImageArchive } from './oci-archive.ts';

const image: ImageArchive = {
  reference: 'registry.example/team/tool:1',
  architecture: 'amd64',
  entries: [
    { type: 'directory', name: 'bin' },
    { type: 'file', name: 'bin/tool', mode: 0o755, data: 'the program' },
    { type: 'symlink', name: 'bin/alias', target: 'tool' },
  ],
  config: { Entrypoint: ['/bin/tool'] },
};

describe('image archive', () => {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'pinpod-archive-'));
  after(() => rmSync(dir, { recursive: true }));
  const stored = (name: string, data: Uint8Array | string): string => {
    const file = path.join(dir, name);
    writeFileSync(file, data);
    return file;
  };

  it('has the same bytes every time', async () => {
    assert.deepEqual(await writeImageArchive(image), await writeImageArchive(image));
  });

  it('is read back with its reference and digest, gzipped or not', async () => {
    const bytes = await writeImageArchive(image);
    const plain = await readImageArchive(stored('plain.tar', bytes));
    assert.equal(plain.length, 1);
    assert.equal(plain[0]?.reference, 'registry.example/team/tool:1');
    assert.match(plain[0]?.digest ?? '', /^sha256:[0-9a-f]{64}$/);
    assert.deepEqual(await readImageArchive(stored('packed.tar.gz', gzipSync(bytes))), plain);
  });

  it('changes its digest with its content', async () => {
    const other = await writeImageArchive({ ...image, config: { Entrypoint: ['/bin/alias'] } });
    const [a] = await readImageArchive(stored('a.tar', await writeImageArchive(image)));
    const [b] = await readImageArchive(stored('b.tar', other));
    assert.notEqual(a?.digest, b?.digest);
  });

  for (const [name, data] of [
    ['text', 'not a tar at all'.repeat(100)],
    ['empty', ''],
    ['cut gzip', gzipSync('x'.repeat(5000)).subarray(0, 20)],
  ] as const) {
    it(`refuses what is no archive: ${name}`, async () => {
      await assert.rejects(
        readImageArchive(stored(`bad-${name}`, data)),
        (error) => error instanceof AgentError && error.code === 'bad-archive',
      );
    });
  }

  it('names architectures as the OCI specification does', () => {
    assert.deepEqual(['x64', 'arm64', 'ia32', 'riscv64'].map(ociArchitecture), ['amd64', 'arm64', '386', 'riscv64']);
  });
});
