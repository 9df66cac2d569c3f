import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { runValidate, type ValidateArgs } from './validate.ts';

const good = (name: string): string => `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}}\nspec: {containers: [{name: a, image: b}]}\n`;

async function run(args: ValidateArgs, stdin = ''): Promise<{ code: number; out: string; err: string }> {
  const texts = { out: '', err: '' };
  const write = (stream: 'out' | 'err') => (text: string | Uint8Array) => {
    texts[stream] += String(text);
    return Promise.resolve();
  };
  const code = await runValidate(args, {
    out: write('out'),
    err: write('err'),
    signal: new AbortController().signal,
    stdin: () => Promise.resolve(new TextEncoder().encode(stdin)),
  });
  return { code, ...texts };
}

describe('pinpod validate', () => {
  let folder = '';
  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'pinpod-validate-'));
    writeFileSync(path.join(folder, 'a.yaml'), good('a'));
    writeFileSync(path.join(folder, 'b.yaml'), `${good('b')}---\n${good('c').replace('image', 'imagee')}`);
    writeFileSync(path.join(folder, 'c.yaml'), good('a'));
    writeFileSync(path.join(folder, 'a.yaml~'), 'broken: [');
    writeFileSync(path.join(folder, '.hidden.yaml'), 'broken: [');
    mkdirSync(path.join(folder, 'sub'));
  });
  after(() => rmSync(folder, { recursive: true }));

  it('says what is wrong in a folder, with file, line and column, and exits with 1', async () => {
    const b = path.join(folder, 'b.yaml');
    assert.deepEqual(await run({ paths: [folder] }), {
      code: 1,
      out: [
        `${b}:9:21: spec.containers[0].image: Required value`,
        `${b}:9:31: spec.containers[0].imagee: Unknown field: did you mean "image"?`,
        `${path.join(folder, 'c.yaml')}:3:18: metadata.name: Duplicate value: "default/a": also in ${path.join(folder, 'a.yaml')}, which wins`,
        '',
      ].join('\n'),
      err: [
        `${path.join(folder, 'a.yaml~')}: ignored: the backup of an editor (name ends in ~)`,
        `${path.join(folder, 'sub')}: ignored: a folder; folders inside a manifest folder are not read`,
        '3 manifests checked, 2 with problems',
        '',
      ].join('\n'),
    });
  });

  it('exits with 0 and prints nothing on standard output for a good file', async () => {
    assert.deepEqual(await run({ paths: [path.join(folder, 'a.yaml')] }), {
      code: 0,
      out: '',
      err: '1 manifest checked, 0 with problems\n',
    });
  });

  it('reads standard input', async () => {
    const { code, out } = await run({ paths: ['-'] }, 'a: *x\n');
    assert.equal(code, 1);
    assert.equal(out, '<stdin>:1:4: invalid YAML: the alias *x refers to no anchor before it\n');
  });

  it('says that a file does not exist', async () => {
    const { code, out } = await run({ paths: [path.join(folder, 'none.yaml')] });
    assert.equal(code, 1);
    assert.equal(out, `${path.join(folder, 'none.yaml')}: no such file or folder\n`);
  });

  it('writes JSON', async () => {
    const { code, out } = await run({ paths: ['-'], output: 'json' }, good('web'));
    assert.equal(code, 0);
    assert.deepEqual(JSON.parse(out), {
      valid: true,
      manifests: [{ path: '<stdin>', verdict: 'accepted', pods: ['default/web'], problems: [] }],
    });
  });
});
