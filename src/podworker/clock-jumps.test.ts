// The wall clock of the machine is set while Pods are looked after: by hand, by NTP after a boot without a clock battery.
// Nothing may wait until the old time comes again, and nothing that runs may notice.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { FakeRuntimeOptions } from '../../test/support/fake-runtime.ts';
import { PodMachine, staticPod } from '../../test/support/pod-machine.ts';

const day = 86_400_000;
let folder = '';
before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'pinpod-clock-'));
});
after(() => rm(folder, { recursive: true, force: true }));

const pod = staticPod('uid-1', { containers: [{ name: 'main', image: 'nginx' }] });

async function machineWith(t: { after(f: () => Promise<void>): void }, options: FakeRuntimeOptions = {}): Promise<PodMachine> {
  const machine = new PodMachine({ folder, ...options });
  await machine.start();
  t.after(() => machine.crash());
  await machine.apply(pod);
  assert.equal(machine.status()?.phase, 'Running');
  return machine;
}

const restarts = (machine: PodMachine): number | undefined => machine.status()?.containerStatuses?.[0]?.restartCount;

for (const [way, ms] of [
  ['a day back', -day],
  ['a day forward', day],
  ['a year back', -365 * day],
] as const) {
  describe(`the clock is set ${way}`, () => {
    it('P5: what runs stays as it is', async (t) => {
      const machine = await machineWith(t);
      machine.runtime.clearCalls();
      machine.clock.jump(ms);
      await machine.advance(600_000);
      assert.deepEqual(machine.runtime.deeds, []);
      assert.deepEqual([machine.status()?.phase, restarts(machine)], ['Running', 0]);
    });

    it('a container that is waiting in its back-off starts within the longest back-off', async (t) => {
      const machine = await machineWith(t);
      for (let i = 0; i < 3; i++) {
        await machine.exit('main', 1);
        await machine.advance(i === 2 ? 0 : 300_000);
      }
      const before = restarts(machine) ?? 0;
      assert.equal(machine.status()?.containerStatuses?.[0]?.state?.waiting?.reason, 'CrashLoopBackOff');
      machine.clock.jump(ms);
      await machine.advance(300_000);
      assert.ok((restarts(machine) ?? 0) > before, 'it was started again');
    });

    it('an action that failed before is tried again', async (t) => {
      const machine = await machineWith(t);
      machine.badImages.set('other', { reason: 'ErrImagePull', message: 'no route', retryMs: 10_000 });
      const other = staticPod('uid-2', { containers: [{ name: 'second', image: 'other' }] }, 'other');
      await machine.apply(pod, other);
      assert.equal(machine.status('uid-2')?.containerStatuses?.[0]?.state?.waiting?.reason, 'ErrImagePull');
      machine.clock.jump(ms);
      machine.badImages.clear();
      machine.runtime.addImage('other');
      await machine.advance(120_000);
      assert.equal(machine.status('uid-2')?.phase, 'Running');
    });

    it('D4: Pods evicted again and again come back within the longest back-off', async (t) => {
      const machine = await machineWith(t);
      const evict = async (): Promise<void> => {
        machine.agent.workers.terminate('uid-1', { kind: 'disrupted', reason: 'Evicted', message: 'low', conditionMessage: 'low' });
        await machine.advance(0);
      };
      await evict();
      assert.equal(machine.status()?.phase, 'Running', 'the first time at once');
      await evict();
      assert.equal(machine.status()?.phase, 'Failed');
      machine.clock.jump(ms);
      await machine.advance(40_000);
      assert.equal(machine.status()?.phase, 'Running');
    });

    it('a removed Pod goes', async (t) => {
      const machine = await machineWith(t, { process: () => ({ onTerm: 'ignore' }) });
      await machine.apply();
      machine.clock.jump(ms);
      await machine.advance(120_000);
      assert.deepEqual(machine.runtime.snapshot(), { sandboxes: [], containers: [] });
    });

    for (const events of [false, 'silent'] as const) {
      it(`a death is noticed by a runtime whose events are ${events === false ? 'none' : events}`, async (t) => {
        const machine = await machineWith(t, { events });
        machine.clock.jump(ms);
        machine.runtime.exit(machine.runtime.containerId('main'), 1);
        await machine.advance(events === false ? 3_000 : 120_000);
        assert.equal(restarts(machine), 1);
      });
    }
  });
}
