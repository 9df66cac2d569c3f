// Weeks of an agent in minutes (test/support/soak.ts). Prints the live heap for each simulated hour and fails when it
// grows. Run: npm run bench:soak -- [hours] [Pods]
import path from 'node:path';
import { writeHeapSnapshot } from 'node:v8';
import { Soak } from '../test/support/soak.ts';

const [hours = 24, pods = 110] = process.argv.slice(2).map(Number);
/** The first hours fill what is bounded: events, the history of watches. */
const warmUpHours = Math.min(3, Math.floor(hours / 2));
const allowedGrowthMiB = 2;
/** A folder for heap snapshots of the first hour that counts and the last one. */
const snapshots = process.env['SOAK_SNAPSHOTS'];

// With the back-off of crashing containers that is some hundred restarts an hour.
const soak = new Soak({ pods, exits: 1 / 100, edits: 1 / 6 });
await soak.start();
try {
  let baseline = Number.NaN;
  let live = Number.NaN;
  console.log('hour   restarts   edits   live heap   resident');
  for (let hour = 1; hour <= hours; hour++) {
    await soak.run(360);
    live = soak.liveMiB();
    if (hour === warmUpHours) baseline = live;
    const resident = process.memoryUsage().rss / 2 ** 20;
    const columns: readonly (readonly [string, number])[] = [
      [String(hour), 4],
      [String(soak.restarts), 10],
      [String(soak.edits), 7],
      [`${live.toFixed(2)} MiB`, 11],
      [`${resident.toFixed(0)} MiB`, 10],
    ];
    console.log(columns.map(([text, width]) => text.padStart(width)).join(' '));
    if (snapshots !== undefined && (hour === warmUpHours || hour === hours))
      writeHeapSnapshot(path.join(snapshots, `soak-${hour}.heapsnapshot`));
  }
  console.log(`growth since hour ${warmUpHours}: ${(live - baseline).toFixed(2)} MiB (allowed ${allowedGrowthMiB})`);
  if (!(live - baseline < allowedGrowthMiB)) process.exitCode = 1;
} finally {
  await soak.stop();
}
