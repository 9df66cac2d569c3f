// What the agent asks of systemd-logind, and how: through systemd's own programs (decision 0037). Each child belongs to
// the promise or the lock it was started for; all of them end with the agent, for their input is a pipe of ours.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { raceSignal } from '../std/async.ts';
import { AgentError, systemCode } from '../std/errors.ts';
import { runProgram } from '../std/process.ts';

interface CallOptions {
  readonly signal: AbortSignal;
}

/** While it is held the machine does not go down, for as long as logind lets it wait. */
export interface ShutdownLock {
  /** Resolves when it is not held any more, whoever let go. */
  readonly lost: Promise<void>;
  /** Idempotent. */
  release(): Promise<void>;
}

/** Every call rejects with an AgentError when the bus or logind does not answer, or with the signal's reason. */
export interface Logind {
  /** How long logind waits for whoever holds a lock. */
  maxDelayMs(options: CallOptions): Promise<number>;
  /** Asks logind to wait that long, over restarts too. It may take a moment until it does. */
  extendDelay(seconds: number, options: CallOptions): Promise<void>;
  isPreparing(options: CallOptions): Promise<boolean>;
  inhibit(options: CallOptions): Promise<ShutdownLock>;
  /**
   * Calls `onNews` once it listens, and then whenever a shutdown is begun or called off. Resolves when logind was
   * started anew or the bus went away: then locks are void.
   */
  listen(options: CallOptions & { readonly onNews: () => void }): Promise<void>;
}

export interface LogindOptions {
  /** Where settings for logind go. */
  readonly configFolder?: string;
  /** Environment of the programs; the agent's own when absent. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

const login = ['org.freedesktop.login1', '/org/freedesktop/login1', 'org.freedesktop.login1.Manager'] as const;
const systemd = ['org.freedesktop.systemd1', '/org/freedesktop/systemd1', 'org.freedesktop.systemd1.Manager'] as const;
const matches = [
  `type='signal',sender='${login[0]}',interface='${login[2]}',member='PrepareForShutdown'`,
  `type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='${login[0]}'`,
];

export class SystemdLogind implements Logind {
  readonly #options: LogindOptions;

  constructor(options: LogindOptions = {}) {
    this.#options = options;
  }

  async maxDelayMs(options: CallOptions): Promise<number> {
    const delay = await this.#property('InhibitDelayMaxUSec', options);
    if (!/^\d+$/.test(delay)) throw new AgentError('no-logind', `logind says InhibitDelayMaxUSec is ${JSON.stringify(delay)}`);
    return Number(delay) / 1000;
  }

  async isPreparing(options: CallOptions): Promise<boolean> {
    return (await this.#property('PreparingForShutdown', options)) === 'true';
  }

  async extendDelay(seconds: number, { signal }: CallOptions): Promise<void> {
    const folder = this.#options.configFolder ?? '/etc/systemd/logind.conf.d';
    await mkdir(folder, { recursive: true });
    await writeFile(
      path.join(folder, '99-pinpod.conf'),
      `# Written by pinpod for shutdownGracePeriod\n[Login]\nInhibitDelayMaxSec=${seconds}\n`,
    );
    const hangup = ['KillUnit', 'ssi', 'systemd-logind.service', 'all', '1'];
    await runProgram('busctl', ['--system', 'call', ...systemd, ...hangup], this.#with(signal));
  }

  async inhibit({ signal }: CallOptions): Promise<ShutdownLock> {
    // `cat` runs once the lock is taken, and as long as we keep its input open: a killed agent lets go by itself.
    const args = ['--what=shutdown', '--mode=delay', '--who=pinpod', '--why=Pods need time to end', 'cat'];
    const child = new Child('systemd-inhibit', args, this.#options.env);
    const lines = createInterface({ input: child.process.stdout });
    const taken = new Promise<void>((resolve) => lines.once('line', () => resolve()));
    child.process.stdin.write('\n');
    try {
      await raceSignal(Promise.race([taken, child.failed]), signal);
    } catch (error) {
      await child.end();
      throw error;
    }
    return { lost: child.ended, release: () => child.end() };
  }

  async listen({ signal, onNews }: CallOptions & { readonly onNews: () => void }): Promise<void> {
    const args = ['--system', '--json=short', ...matches.map((match) => `--match=${match}`), 'monitor'];
    const child = new Child('busctl', args, this.#options.env);
    const isOver = new Promise<void>((resolve) => {
      createInterface({ input: child.process.stdout }).on('line', (line) => {
        if (line.includes('NameOwnerChanged')) resolve();
        else onNews();
      });
    });
    // It says so when it listens.
    child.process.stderr.once('data', onNews);
    try {
      await raceSignal(Promise.race([isOver, child.failed]), signal);
    } finally {
      await child.end();
    }
  }

  async #property(name: string, { signal }: CallOptions): Promise<string> {
    const { stdout } = await runProgram('busctl', ['--system', 'get-property', ...login, name], this.#with(signal));
    return stdout.trim().split(' ').at(-1) ?? '';
  }

  #with(signal: AbortSignal) {
    const { env } = this.#options;
    return { signal, ...(env === undefined ? {} : { env }) };
  }
}

/** A program that runs until we close its input, or end it. */
class Child {
  readonly process: ChildProcessWithoutNullStreams;
  /** Resolves when it has ended, whatever the reason. */
  readonly ended: Promise<void>;
  /** Rejects when it has ended without being told to. */
  readonly failed: Promise<never>;

  constructor(program: string, args: readonly string[], env: LogindOptions['env']) {
    this.process = spawn(program, args, { stdio: 'pipe', ...(env === undefined ? {} : { env: { ...env } }) });
    let said = '';
    this.process.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-1000);
    });
    // An input that was closed by the other side is no failure of ours.
    this.process.stdin.on('error', () => undefined);
    const error = new Promise<AgentError>((resolve) => {
      this.process.once('error', (cause) =>
        resolve(
          new AgentError(systemCode(cause) === 'ENOENT' ? 'program-missing' : 'program-failed', `${program} cannot be run`, { cause }),
        ),
      );
      this.process.once('exit', () =>
        resolve(new AgentError('program-failed', `${program} ended: ${said.trim().split('\n').at(-1) ?? ''}`)),
      );
    });
    this.ended = error.then(() => undefined);
    this.failed = error.then((reason) => Promise.reject(reason));
    // Nobody has to wait for it.
    this.failed.catch(() => undefined);
  }

  async end(): Promise<void> {
    this.process.stdin.end();
    this.process.kill('SIGTERM');
    await this.ended;
  }
}
