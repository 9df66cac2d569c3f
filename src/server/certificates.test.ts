import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parse } from 'yaml';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { silentLogger } from '../std/log.ts';
import { Certificates, type CurrentCertificates } from './certificates.ts';

const dayMs = 86_400_000;

describe('certificates of the local API', () => {
  let dir = '';
  before(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'pki-'));
  });
  after(() => rm(dir, { recursive: true }));

  const read = (name: string) => readFile(path.join(dir, 'pki', name), 'utf8');
  const make = (clock: FakeClock, names: readonly string[] = ['node1']) =>
    new Certificates({ folder: path.join(dir, 'pki'), names }, { clock, log: silentLogger });

  test('H-003 H-005: what they are good for', async () => {
    const clock = new FakeClock();
    await make(clock).ensure();
    const [ca, server, client] = await Promise.all(
      ['ca.crt', 'server.crt', 'client.crt'].map(async (name) => new X509Certificate(await read(name))),
    );
    assert.ok(ca !== undefined && server !== undefined && client !== undefined);
    assert.deepEqual([ca.ca, server.ca, client.ca], [true, false, false]);
    assert.ok(server.verify(ca.publicKey) && client.verify(ca.publicKey));
    assert.equal(client.subject, 'O=system:masters\nCN=pinpod-admin');
    assert.deepEqual([server.keyUsage, client.keyUsage], [['1.3.6.1.5.5.7.3.1'], ['1.3.6.1.5.5.7.3.2']]);
    for (const ip of ['127.0.0.1', '::1']) assert.equal(server.checkIP(ip), ip);
    for (const host of ['localhost', 'node1']) assert.equal(server.checkHost(host), host);
  });

  test('they are used again, and made anew one by one when they must be', async () => {
    const clock = new FakeClock();
    await make(clock).ensure();
    const all = () => Promise.all(['ca.crt', 'server.crt', 'client.crt'].map(read));
    const first = await all();
    await make(clock).ensure();
    assert.deepEqual(await all(), first);

    await make(clock, ['other']).ensure();
    const second = await all();
    assert.deepEqual(
      second.map((text, i) => text === first[i]),
      [true, false, true],
      'another name: a new server certificate',
    );

    await writeFile(path.join(dir, 'pki', 'client.key'), await read('server.key'));
    await make(clock, ['other']).ensure();
    const third = await all();
    assert.deepEqual(
      third.map((text, i) => text === second[i]),
      [true, true, false],
      'a key that does not fit: a new pair',
    );

    await writeFile(path.join(dir, 'pki', 'ca.crt'), 'damaged');
    await make(clock, ['other']).ensure();
    assert.deepEqual(
      (await all()).map((text, i) => text === third[i]),
      [false, false, false],
      'a new CA: everything is new',
    );
  });

  test('they are renewed before they expire, and the kubeconfig with them', async () => {
    const clock = new FakeClock();
    const certificates = make(clock);
    await certificates.ensure();
    const kubeconfigPath = path.join(dir, 'kubeconfig');
    await writeFile(kubeconfigPath, 'old');
    await chmod(kubeconfigPath, 0o644);
    await certificates.writeKubeconfig(kubeconfigPath, 'https://127.0.0.1:6443');
    assert.equal((await stat(kubeconfigPath)).mode & 0o777, 0o600);
    const config = parse(await readFile(kubeconfigPath, 'utf8'));
    assert.equal(config.clusters[0].cluster.server, 'https://127.0.0.1:6443');
    assert.equal(Buffer.from(config.users[0].user['client-certificate-data'], 'base64').toString(), await read('client.crt'));

    const before = await read('server.crt');
    const abort = new AbortController();
    const renewed: CurrentCertificates[] = [];
    let onRenewed: () => void = () => undefined;
    const once = new Promise<void>((resolve) => {
      onRenewed = resolve;
    });
    const rotating = certificates.rotate(async (current) => {
      renewed.push(current);
      onRenewed();
    }, abort.signal);
    await clock.advance(100 * dayMs);
    assert.equal(renewed.length, 0);
    // Each check reads files: time goes on only when it is over.
    const step = async (): Promise<void> => {
      while (renewed.length === 0) {
        if (clock.sleeping > 0) await clock.advance(dayMs / 2);
        else await new Promise((resolve) => setImmediate(resolve));
      }
    };
    await Promise.all([once, step()]);
    assert.notEqual(await read('server.crt'), before);
    const age = (clock.now() - Date.UTC(2026, 0, 1)) / dayMs;
    assert.ok(age > 280 && age < 365, `renewed after ${age} days`);
    abort.abort();
    await assert.rejects(rotating);
  });
});
