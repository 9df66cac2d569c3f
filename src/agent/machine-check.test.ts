import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeHost } from '../../test/support/fake-host.ts';
import { ConfigError } from '../std/errors.ts';
import { checkMachine } from './machine-check.ts';

const heading = 'Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n';
const v1 = 'cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n';
const v2 = 'cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n';
const swapProblem = (devices: string): string =>
  `running with swap on is not supported (${devices}), please disable swap or set --fail-swap-on flag to false (failSwapOn)`;
const v1Problem = 'this machine has cgroup v1, and failCgroupV1 (--fail-cgroupv1) asks not to run there: unset it, or boot with cgroup v2';

const rows: readonly (readonly [
  string,
  string,
  string | undefined,
  { readonly v1: boolean; readonly swap: boolean },
  readonly string[],
])[] = [
  ['nothing is asked for', v1, `${heading}/dev/sda2 partition 1 0 -2\n`, { v1: false, swap: false }, []],
  ['cgroup v2, no swap', v2, heading, { v1: true, swap: true }, []],
  ['a kernel without swap', v2, undefined, { v1: true, swap: true }, []],
  ['cgroup v1 (L-291)', v1, heading, { v1: true, swap: true }, [v1Problem]],
  [
    'swap (L-306)',
    v2,
    `${heading}/dev/sda2 partition 1 0 -2\n/swap.img file 1 0 -3\n`,
    { v1: true, swap: true },
    [swapProblem('/dev/sda2, /swap.img')],
  ],
  ['swap in memory only', v2, `${heading}tmpfs file 1 0 -2\n`, { v1: true, swap: true }, []],
  [
    'both at once (H-325)',
    v1,
    `${heading}/dev/zram0 partition 1 0 100\n`,
    { v1: true, swap: true },
    [v1Problem, swapProblem('/dev/zram0')],
  ],
];

for (const [name, mounts, swaps, asked, problems] of rows) {
  test(`the machine: ${name}`, async () => {
    const host = new FakeHost({
      '/proc/self/mounts': mounts,
      '/proc/self/cgroup': '',
      ...(swaps === undefined ? {} : { '/proc/swaps': swaps }),
    });
    const checked = checkMachine({ failCgroupV1: asked.v1, failSwapOn: asked.swap }, host);
    if (problems.length === 0) await checked;
    else await assert.rejects(checked, (error) => error instanceof ConfigError && error.message === problems.join('\n'));
  });
}
