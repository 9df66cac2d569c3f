// `pinpod run`: the agent in the foreground.
import { Agent } from '../agent/agent.ts';
import { createLogger } from '../agent/logger.ts';
import type { LoadedConfig } from '../config/load.ts';
import { systemClock } from '../std/clock.ts';
import { systemRandom } from '../std/random.ts';

export interface RunOptions {
  readonly loaded: LoadedConfig;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly writeLog: (line: string) => void;
  /** Aborts with Shutdown when the agent is to stop. */
  readonly signal: AbortSignal;
}

/** Resolves after an orderly stop; a ConfigError says what makes a start impossible. */
export async function run(options: RunOptions): Promise<void> {
  const { config } = options.loaded;
  const logger = createLogger({ format: config.logFormat, verbosity: config.logVerbosity, write: options.writeLog });
  const agent = new Agent({ loaded: options.loaded, env: options.env }, { clock: systemClock, random: systemRandom, logger });
  const where = config.staticPodPath ?? config.staticPodUrl ?? 'nowhere: no source of manifests is configured';
  await agent.run({
    signal: options.signal,
    onReady: () => logger.info('running', { node: config.nodeName, manifests: where, socket: config.agentSocketPath }),
  });
}
