import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { ConfigError } from '../std/errors.ts';
import { silentLogger } from '../std/log.ts';
import { applyKernelSettings } from './kernel-settings.ts';

const folders: string[] = [];
after(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

/** A /proc/sys with some of the settings; the others the kernel does not have. */
async function sys(settings: Readonly<Record<string, string>>): Promise<string> {
  const root = await mkdtemp(`${tmpdir()}/pinpod-sys-`);
  folders.push(root);
  for (const [name, value] of Object.entries(settings)) {
    await mkdir(path.dirname(`${root}/${name}`), { recursive: true });
    await writeFile(`${root}/${name}`, `${value}\n`);
  }
  return root;
}

const settings = { 'vm/overcommit_memory': '0', 'vm/panic_on_oom': '0', 'kernel/panic': '5' };
const log = { log: silentLogger };

test('L-305 nothing is touched unless it was asked for (differs)', async () => {
  const root = await sys(settings);
  await applyKernelSettings({ protect: false, set: false, root }, log);
  assert.equal(await readFile(`${root}/kernel/panic`, 'utf8'), '5\n');
});

test('L-305 what differs is set', async () => {
  const root = await sys(settings);
  await applyKernelSettings({ protect: false, set: true, root }, log);
  assert.equal(await readFile(`${root}/kernel/panic`, 'utf8'), '10');
  assert.equal(await readFile(`${root}/vm/overcommit_memory`, 'utf8'), '1');
  assert.equal(await readFile(`${root}/vm/panic_on_oom`, 'utf8'), '0\n');
});

test('L-305 protectKernelDefaults: every difference at once, and nothing is set', async () => {
  const root = await sys(settings);
  await assert.rejects(applyKernelSettings({ protect: true, set: true, root }, log), (error) => {
    assert.ok(error instanceof ConfigError);
    assert.equal(error.message, 'protectKernelDefaults: vm.overcommit_memory is 0, not 1; kernel.panic is 5, not 10');
    return true;
  });
  assert.equal(await readFile(`${root}/kernel/panic`, 'utf8'), '5\n');
});
