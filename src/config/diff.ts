// What a reload (SIGHUP) may apply at once, and what waits for the next start.
import { isDeepStrictEqual } from 'node:util';

import type { AgentConfig } from './agent-config.ts';
import { type Setting, settingKeys, settings } from './settings.ts';

export interface ConfigDiff {
  /** Changed settings that a running agent takes. */
  readonly live: readonly (keyof AgentConfig)[];
  /** Their fields or flags, as a person wrote them. */
  readonly liveNames: readonly string[];
  /** Changed settings that it cannot take. */
  readonly restart: readonly (keyof AgentConfig)[];
  /** The old configuration with the live changes in it: what holds from now on. */
  readonly applied: AgentConfig;
  /** For the log, when `restart` is not empty; values are not in it. */
  readonly message: string | undefined;
}

export function diffConfig(old: AgentConfig, wanted: AgentConfig): ConfigDiff {
  const changed = settingKeys.filter((key) => !isDeepStrictEqual(old[key], wanted[key]));
  const live = changed.filter((key) => settings[key].reload === 'live');
  const restart = changed.filter((key) => settings[key].reload === 'restart');
  const applied = Object.freeze({ ...old, ...Object.fromEntries(live.map((key) => [key, wanted[key]])) });
  const message =
    restart.length === 0 ? undefined : `changed, but only applied by a restart of the agent: ${restart.map(nameOf).join(', ')}`;
  return { live, liveNames: live.map(nameOf), restart, applied, message };
}

function nameOf(key: keyof AgentConfig): string {
  const { field, flags }: Setting<unknown> = settings[key];
  return field?.path ?? `--${flags[0]?.name ?? key}`;
}
