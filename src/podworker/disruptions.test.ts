import assert from 'node:assert/strict';
import { test } from 'node:test';
import { settle } from '../../test/support/fake-clock.ts';
import { staticPod } from '../../test/support/pod-machine.ts';
import { Shutdown } from '../std/async.ts';
import { silentLogger } from '../std/log.ts';
import { type Disruption, Disruptions } from './disruptions.ts';

const cause: Disruption = { kind: 'disrupted', reason: 'Evicted', message: 'low', conditionMessage: 'low' };

/** A file whose content is kept as text, as a real one's is. */
function memoryFile(text: string | undefined) {
  const kept = { text, fails: false };
  const load = async (): Promise<unknown> => (kept.text === undefined ? undefined : JSON.parse(kept.text));
  const save = async (value: unknown): Promise<void> => {
    if (kept.fails) throw new RangeError('disk full');
    kept.text = JSON.stringify(value);
  };
  return { kept, load, save };
}

async function running(file: ReturnType<typeof memoryFile>, use: (disruptions: Disruptions) => Promise<void>): Promise<void> {
  const disruptions = new Disruptions({ file, logger: silentLogger });
  await disruptions.load();
  const controller = new AbortController();
  const reason = new Shutdown();
  const run = disruptions.run({ signal: controller.signal });
  await use(disruptions);
  await settle();
  controller.abort(reason);
  await assert.rejects(run, reason);
}

test('what was added is there after a restart, until it is deleted (D4)', async () => {
  const file = memoryFile(undefined);
  await running(file, async (disruptions) => disruptions.add(staticPod('once', { restartPolicy: 'Never' }), cause));
  await running(file, async (disruptions) => {
    assert.deepEqual(disruptions.get('once'), cause);
    disruptions.delete('once');
  });
  assert.equal(file.kept.text, '[]');
});

test('a Pod that restarts by itself needs no entry', async () => {
  const file = memoryFile(undefined);
  await running(file, async (disruptions) => {
    disruptions.add(staticPod('a'), cause);
    disruptions.add(staticPod('b', { restartPolicy: 'Always' }), cause);
  });
  assert.equal(file.kept.text, undefined);
});

test('those that are gone are forgotten', async () => {
  const file = memoryFile(undefined);
  await running(file, async (disruptions) => {
    for (const uid of ['a', 'b']) disruptions.add(staticPod(uid, { restartPolicy: 'OnFailure' }), cause);
    disruptions.prune((uid, source) => source === 'file' && uid === 'a');
    assert.deepEqual([disruptions.get('a'), disruptions.get('b')], [undefined, cause]);
  });
});

test('a disk that is full keeps nobody from anything', async () => {
  const file = memoryFile(undefined);
  file.kept.fails = true;
  await running(file, async (disruptions) => {
    disruptions.add(staticPod('a', { restartPolicy: 'Never' }), cause);
    await settle();
    file.kept.fails = false;
    disruptions.add(staticPod('b', { restartPolicy: 'Never' }), cause);
  });
  assert.match(file.kept.text ?? '', /"a".*"b"/);
});

for (const text of [
  '{}',
  '[1]',
  '["a"]',
  '[["a"]]',
  '[["a",{"source":"file","cause":{"kind":"removed"}}]]',
  '[["a",{"cause":{"kind":"disrupted"}}]]',
]) {
  test(`content of another form is left out: ${text}`, async () => {
    await running(memoryFile(text), async (disruptions) => assert.equal(disruptions.get('a'), undefined));
  });
}
