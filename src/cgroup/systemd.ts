// Slices as units of systemd, so that it knows their limits and does not write its defaults over them (decision 0014).
import { runProgram } from '../std/process.ts';
import { type CgroupValues, cpuWeight } from './values.ts';

/** What systemd is asked for; a slice is named by the last element of its path. */
export interface Slices {
  /** Starts the slice and gives it these properties until the next reboot. Repeating it is fine. */
  start(slice: string, properties: readonly string[]): Promise<void>;
  /** Ends every unit inside; forgets the properties. A slice that is not there is fine. */
  stop(slice: string): Promise<void>;
}

/** For machines where systemd is PID 1. */
export const systemctlSlices: Slices = {
  async start(slice, properties) {
    await systemctl(['start', slice]);
    if (properties.length > 0) await systemctl(['set-property', '--runtime', slice, ...properties]);
  },
  async stop(slice) {
    await systemctl(['stop', slice]);
    await systemctl(['revert', slice]);
  },
};

/** Not to be interrupted: half an answer of systemd is none. */
const toTheEnd = new AbortController().signal;

async function systemctl(words: readonly string[]): Promise<void> {
  await runProgram('systemctl', ['--quiet', '--no-ask-password', ...words], { signal: toTheEnd });
}

/** Properties of systemd.resource-control; huge pages have none. */
export function sliceProperties(values: CgroupValues, version: 1 | 2): readonly string[] {
  const { cpuShares, cpuQuotaUs, cpuPeriodUs, memoryLimitBytes, pidsLimit } = values;
  const properties: string[] = [];
  if (cpuShares !== undefined) properties.push(version === 2 ? `CPUWeight=${cpuWeight(cpuShares)}` : `CPUShares=${cpuShares}`);
  if (cpuQuotaUs !== undefined && cpuPeriodUs !== undefined) {
    // A share of one CPU; systemd rounds to hundredths of a percent.
    const percent = Math.ceil((cpuQuotaUs * 10_000) / cpuPeriodUs) / 100;
    properties.push(`CPUQuotaPeriodSec=${cpuPeriodUs}us`, cpuQuotaUs < 0 ? 'CPUQuota=' : `CPUQuota=${percent}%`);
  }
  if (memoryLimitBytes !== undefined) {
    properties.push(`${version === 2 ? 'MemoryMax' : 'MemoryLimit'}=${memoryLimitBytes < 0 ? 'infinity' : memoryLimitBytes}`);
  }
  if (pidsLimit !== undefined) properties.push(`TasksMax=${pidsLimit}`);
  return properties;
}
