// `pinpod run`: the agent in the foreground.
import { Agent } from '../agent/agent.ts';
import { createLogger } from '../agent/logger.ts';
import type { LoadedConfig } from '../config/load.ts';
import type { Mailbox } from '../std/async.ts';
import { systemClock } from '../std/clock.ts';
import { systemRandom } from '../std/random.ts';

export interface RunOptions {
  readonly loaded: LoadedConfig;
  /** Reads the configuration again; throws a ConfigError. */
  readonly readConfig: () => LoadedConfig;
  /** Where requests to do so arrive. */
  readonly reloads: Mailbox<void>;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly writeLog: (line: string) => void;
  /** Aborts with Shutdown when the agent is to stop. */
  readonly signal: AbortSignal;
}

/** Resolves after an orderly stop; a ConfigError says what makes a start impossible. */
export async function run(options: RunOptions): Promise<void> {
  const { config } = options.loaded;
  const logger = createLogger({ format: config.logFormat, verbosity: config.logVerbosity, write: options.writeLog });
  const { loaded, env } = options;
  const reloading = { read: options.readConfig, requests: options.reloads, setVerbosity: logger.setVerbosity };
  const agent = new Agent({ loaded, env }, { clock: systemClock, random: systemRandom, logger, reloading });
  const where = config.staticPodPath ?? config.staticPodUrl ?? 'nowhere: no source of manifests is configured';
  await agent.run({
    signal: options.signal,
    onReady: () => logger.info('running', { node: config.nodeName, manifests: where, socket: config.agentSocketPath }),
  });
}
