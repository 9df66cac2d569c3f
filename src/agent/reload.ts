// The configuration in force, and how SIGHUP changes it: read everything again, take over what a running agent can take,
// name what waits for a restart. One that cannot be used changes nothing.
import type { EventObject, EventSink } from '../api/events.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import { diffConfig } from '../config/diff.ts';
import type { LoadedConfig } from '../config/load.ts';
import type { Mailbox } from '../std/async.ts';
import { ConfigError } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';

export interface ConfigReloadOptions {
  /** What the agent was started with. */
  readonly loaded: LoadedConfig;
  /** What Events about the configuration are about. */
  readonly node: EventObject;
}

export interface ConfigReloadDeps {
  /** Reads flags, environment and files again; throws a ConfigError with every problem. */
  readonly read: () => LoadedConfig;
  readonly events: EventSink;
  readonly logger: Logger;
}

/** Takes over what it can of the configuration. Synchronous; does not throw. */
export type Follower = (config: AgentConfig) => void;

export class ConfigReload {
  readonly #node: EventObject;
  readonly #deps: ConfigReloadDeps;
  readonly #followers: Follower[] = [];
  #loaded: LoadedConfig;
  /** What was wrong with the last one that was read, or waits for a restart. */
  #pending: readonly string[] = [];

  constructor(options: ConfigReloadOptions, deps: ConfigReloadDeps) {
    this.#loaded = options.loaded;
    this.#node = options.node;
    this.#deps = deps;
  }

  /** What is in force: of a changed file only what was taken over. */
  get loaded(): LoadedConfig {
    return this.#loaded;
  }

  get config(): AgentConfig {
    return this.#loaded.config;
  }

  /** What is to be said of the configuration as long as it is so. */
  get warnings(): readonly string[] {
    return [...this.#loaded.warnings, ...this.#pending];
  }

  /** `follower` is called after every change of what is in force. */
  follow(follower: Follower): void {
    this.#followers.push(follower);
  }

  /** One reload for each request; requests that come meanwhile are one. */
  async run(requests: Mailbox<void>, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    for (;;) {
      await requests.take(signal);
      this.reload();
    }
  }

  reload(): void {
    const { logger, events } = this.#deps;
    let wanted: LoadedConfig;
    try {
      wanted = this.#deps.read();
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      // Every problem on a line of its own: the message has them all.
      const problems = error.message.split('\n');
      for (const problem of problems) logger.error('the configuration cannot be used', { err: problem });
      this.#pending = problems.map((problem) => `the changed configuration cannot be used: ${problem}`);
      logger.warn('the configuration from before stays in force');
      const message = `The configuration cannot be used, the one from before stays in force: ${problems.join('; ')}`;
      events.record(this.#node, 'Warning', 'ConfigurationRejected', message);
      return;
    }
    for (const warning of wanted.warnings) logger.warn(warning);
    const { live, applied, message, liveNames } = diffConfig(this.config, wanted.config);
    const origins = { ...this.#loaded.origins };
    for (const key of live) origins[key] = wanted.origins[key];
    this.#loaded = { config: applied, origins, warnings: wanted.warnings, files: wanted.files };
    this.#pending = message === undefined ? [] : [message];
    if (live.length > 0) for (const follower of this.#followers) follower(applied);
    const what = live.length === 0 ? 'nothing to apply' : `applied: ${liveNames.join(', ')}`;
    logger.info('the configuration was read again', { applied: liveNames });
    if (message !== undefined) logger.warn(message);
    const told = `The configuration was read again; ${what}${message === undefined ? '' : `; ${message}`}`;
    events.record(this.#node, message === undefined ? 'Normal' : 'Warning', 'ConfigurationReloaded', told);
  }
}
