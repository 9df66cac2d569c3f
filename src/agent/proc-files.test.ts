import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  parseCounters,
  parseKernelStat,
  parseMemoryInfo,
  parseNetworkDevices,
  parseNumber,
  parsePrettyName,
  parseProcessStat,
  parseTaskCount,
} from './proc-files.ts';

const meminfo = `MemTotal:       1000 kB
MemFree:         300 kB
Inactive(file):  200 kB
AnonPages:        50 kB
SwapTotal:        40 kB
SwapFree:         10 kB
HugePages_Total:   0
`;

test('meminfo: the working set is what is used without inactive file pages', () => {
  assert.deepEqual(parseMemoryInfo(meminfo), {
    totalBytes: 1000 * 1024,
    usageBytes: 700 * 1024,
    workingSetBytes: 500 * 1024,
    rssBytes: 50 * 1024,
    swapTotalBytes: 40 * 1024,
    swapFreeBytes: 10 * 1024,
  });
  assert.equal(parseMemoryInfo('MemFree: 1 kB\n'), undefined);
});

test('stat: idle, waiting, stolen and guest time is no work', () => {
  const text = 'cpu  10 20 30 1000 500 4 5 700 80 90\ncpu0 1 2 3 4 5 6 7 8 9 10\nctxt 1\nbtime 1700000000\n';
  assert.deepEqual(parseKernelStat(text), { busyNanoseconds: 69 * 10_000_000, bootedAtSeconds: 1_700_000_000, cores: 1 });
  assert.equal(parseKernelStat('cpu  1 2 3\n'), undefined);
});

test('counters: only lines of a name and a number', () => {
  assert.deepEqual(
    [...parseCounters('usage_usec 5\nodd line here\ninactive_file 7\n')],
    [
      ['usage_usec', 5],
      ['inactive_file', 7],
    ],
  );
});

test('network devices: neither the loopback nor the ends of Pod links', () => {
  const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0
  eth0:100 2 3 6 0 0 0 0 200 4 5 7 0 0 0 0
veth12: 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9
`;
  const counters = { rxBytes: 100, rxPackets: 2, rxErrors: 3, rxDropped: 6, txBytes: 200, txPackets: 4, txErrors: 5, txDropped: 7 };
  assert.deepEqual(parseNetworkDevices(text), [{ name: 'eth0', ...counters }]);
});

test('process stat: fields count from behind a name that looks like fields', () => {
  const stat = '7 (a) R 1 (b) S 1 7 7 0 -1 4194304 11 0 13 0 150 50 0 0 20 0 8 0 12345 1000 99 0';
  assert.deepEqual(parseProcessStat(stat), {
    cpuNanoseconds: 2_000_000_000,
    startedAfterBootMs: 123_450,
    minorFaults: 11,
    majorFaults: 13,
  });
  assert.equal(parseProcessStat(''), undefined);
});

const tables: readonly (readonly [string, unknown, unknown])[] = [
  ['tasks of loadavg', parseTaskCount('0.03 0.14 0.38 1/91 19897\n'), 91],
  ['no loadavg', parseTaskCount(''), undefined],
  ['os-release in quotes', parsePrettyName('NAME=x\nPRETTY_NAME="Debian GNU/Linux 12"\n'), 'Debian GNU/Linux 12'],
  ['os-release without quotes', parsePrettyName('PRETTY_NAME=Alpine\n'), 'Alpine'],
  ['os-release with an escape', parsePrettyName('PRETTY_NAME="a \\"b\\""\n'), 'a "b"'],
  ['os-release without the name', parsePrettyName('NAME=x\n'), undefined],
  ['a number', parseNumber('32768\n'), 32768],
  ['max is no number', parseNumber('max\n'), undefined],
  ['no file is no number', parseNumber(undefined), undefined],
];

for (const [name, actual, expected] of tables) test(name, () => assert.equal(actual, expected));
