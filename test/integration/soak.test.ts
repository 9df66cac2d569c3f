// The whole agent through thousands of restarts and edits on a fake clock: what it keeps must not grow with them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Soak } from '../support/soak.ts';

const steps = 60;
const allowedMiB = 1.5;

test('D7: the live heap does not grow with restarts and edits', async () => {
  const kubelet = { crashLoopBackOff: { maxContainerRestartPeriod: '1s' }, featureGates: { KubeletCrashLoopBackOffMax: true } };
  const soak = new Soak({ pods: 8, exits: 1 / 2, edits: 1 / 2, kubelet });
  try {
    await soak.start();
    // Fills what is bounded: events, the history of watches.
    await soak.run(2 * steps);
    const before = soak.liveMiB();
    const counted = soak.restarts;
    await soak.run(steps);
    const restarts = soak.restarts - counted;
    assert.ok(restarts > 150, `${restarts} restarts were looked at`);
    const grown = soak.liveMiB() - before;
    // Six kilobytes kept of every restart, or forty of every edit, would be more.
    assert.ok(grown < allowedMiB, `it grew by ${grown.toFixed(2)} MiB in ${restarts} restarts`);
  } finally {
    await soak.stop();
  }
});
