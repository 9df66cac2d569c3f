import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { defaultIdRange, freeIdBlock, parseSubIds, parseUserNamespace } from '../pod/user-ids.ts';
import { silentLogger } from '../std/log.ts';
import { UserNamespaces } from './user-namespaces.ts';

const block = 65_536;
const folders: string[] = [];
after(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

async function setup(idsPerPod = block, range = defaultIdRange(idsPerPod)) {
  const rootDir = await mkdtemp(`${tmpdir()}/pinpod-users-`);
  folders.push(rootDir);
  const podDirectory = async (uid: string): Promise<string> => {
    await mkdir(`${rootDir}/pods/${uid}`, { recursive: true });
    return `${rootDir}/pods/${uid}`;
  };
  const open = (): UserNamespaces => new UserNamespaces({ rootDir, idsPerPod, range }, { log: silentLogger, podDirectory });
  return { rootDir, open };
}

test('L-271, L-272, C-369 blocks are disjoint, aligned, kept over a restart and freed with the folder', async () => {
  const { rootDir, open } = await setup(2 * block);
  const users = open();
  const starts = await Promise.all(['a', 'b'].map(async (uid) => (await users.reserve(uid))?.uids[0]?.hostId));
  assert.deepEqual(starts, [2 * block, 4 * block]);
  assert.equal(
    await readFile(`${rootDir}/pods/b/userns`, 'utf8'),
    '{"uidMappings":[{"hostId":262144,"containerId":0,"length":131072}],"gidMappings":[{"hostId":262144,"containerId":0,"length":131072}]}',
  );
  assert.equal((await open().reserve('b'))?.gids[0]?.hostId, 4 * block);
  await rm(`${rootDir}/pods/a`, { recursive: true });
  assert.equal((await open().reserve('c'))?.uids[0]?.hostId, 2 * block);
});

test('L-271 no block is left; a damaged record is reserved anew', async () => {
  const { rootDir, open } = await setup(block, { first: 1, length: 2 * block });
  assert.equal((await open().reserve('a'))?.uids[0]?.hostId, block);
  assert.equal(await open().reserve('b'), undefined);
  await writeFile(`${rootDir}/pods/a/userns`, '{"uidMappings":');
  assert.equal((await open().reserve('a'))?.uids[0]?.hostId, block);
});

test('L-271 host id 0 is never mapped', () => {
  assert.equal(freeIdBlock({ first: 0, length: 3 * block }, block, [])?.uids[0]?.hostId, block);
  assert.equal(
    parseUserNamespace('{"uidMappings":[{"hostId":0,"containerId":0,"length":1}],"gidMappings":[{"hostId":0,"containerId":0,"length":1}]}'),
    undefined,
  );
});

test('L-271 getsubids', () => {
  assert.deepEqual(parseSubIds('0: kubelet 65536 7208960\n'), { first: 65_536, length: 7_208_960 });
  for (const text of ['', '0: kubelet 1 2\n1: kubelet 3 4\n', 'Error']) assert.equal(parseSubIds(text), undefined);
});
