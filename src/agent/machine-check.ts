// What of the machine the configuration does not allow, found before anything is started.
import { detectCgroupLayout } from '../cgroup/layout.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import { ConfigError } from '../std/errors.ts';
import { type Host, realHost } from './host.ts';

/** Throws one ConfigError with everything that is not allowed (L-291, L-306, H-325). */
export async function checkMachine(
  { failCgroupV1, failSwapOn }: Pick<AgentConfig, 'failCgroupV1' | 'failSwapOn'>,
  host: Host = realHost,
): Promise<void> {
  const problems: string[] = [];
  if (failCgroupV1) {
    const [mounts, selfCgroup] = await Promise.all([host.readText('/proc/self/mounts'), host.readText('/proc/self/cgroup')]);
    if (detectCgroupLayout({ mounts: mounts ?? '', selfCgroup: selfCgroup ?? '' }).version === 1)
      problems.push(
        'this machine has cgroup v1, and failCgroupV1 (--fail-cgroupv1) asks not to run there: unset it, or boot with cgroup v2',
      );
  }
  if (failSwapOn) {
    const devices = swapDevices((await host.readText('/proc/swaps')) ?? '');
    if (devices.length > 0) {
      const what = `running with swap on is not supported (${devices.join(', ')})`;
      problems.push(`${what}, please disable swap or set --fail-swap-on flag to false (failSwapOn)`);
    }
  }
  if (problems.length > 0) throw new ConfigError('machine-not-allowed', problems.join('\n'), { details: { problems } });
}

/** The first column below the heading; swap in memory only does not count (L-306). */
function swapDevices(text: string): readonly string[] {
  const names = text
    .split('\n')
    .slice(1)
    .map((line) => line.split(/\s/)[0] ?? '');
  return names.filter((name) => name !== '' && !/^(?:.*\/)?tmpfs/.test(name));
}
