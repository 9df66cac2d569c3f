// A D-Bus of the test's own with a logind on it that does what it is told. Nothing touches the machine's own bus.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';

/** That of the distribution, which its packages belong to. */
const python = '/usr/bin/python3';

/** Why there can be no such bus here; undefined when there can. */
export function whyNoBus(): string | undefined {
  const missing = [
    ['dbus-daemon', ['dbus-daemon', '--version']],
    ['systemd', ['busctl', '--version']],
    ['systemd', ['systemd-inhibit', '--version']],
    ['python3-dbus and python3-gi', [python, '-c', 'import dbus, gi']],
  ] as const;
  for (const [name, [program, ...args]] of missing) {
    try {
      execFileSync(program, args, { stdio: 'ignore' });
    } catch {
      return `${name} is not installed: run npm run setup -- --test`;
    }
  }
  return undefined;
}

export class PrivateBus {
  readonly folder = mkdtempSync('/tmp/pinpod-bus-');
  readonly configFolder = path.join(this.folder, 'logind.conf.d');
  readonly env = { ...process.env, DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${this.folder}/bus` };
  /** What logind said. */
  readonly said: string[] = [];
  readonly #delaySeconds: number;
  #daemon: ChildProcess | undefined;
  #logind: ChildProcess | undefined;
  #heard: () => void = () => undefined;

  /** `delaySeconds`: how long logind waits for locks before anybody tells it otherwise. */
  constructor(delaySeconds = 5) {
    this.#delaySeconds = delaySeconds;
  }

  /** Starts the bus and logind, or what of them does not run. */
  async start(): Promise<void> {
    if (this.#daemon === undefined) {
      const all = ['user', 'own', 'send_type', 'receive_type', 'send_destination', 'eavesdrop'];
      const rules = all.map((name) => `<allow ${name}="${name === 'eavesdrop' ? 'true' : '*'}"/>`).join('');
      const config = path.join(this.folder, 'bus.conf');
      writeFileSync(
        config,
        `<busconfig><type>system</type><listen>unix:path=${this.folder}/bus</listen><auth>EXTERNAL</auth><policy context="default">${rules}</policy></busconfig>`,
      );
      rmSync(`${this.folder}/bus`, { force: true });
      const daemon = spawn('dbus-daemon', ['--nofork', '--print-address', `--config-file=${config}`], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      this.#daemon = daemon;
      await once(daemon.stdout, 'data');
    }
    const script = path.join(import.meta.dirname, 'fake_logind.py');
    const logind = spawn(python, [script, this.configFolder, String(this.#delaySeconds)], {
      env: this.env,
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#logind = logind;
    createInterface({ input: logind.stdout }).on('line', (line) => {
      this.said.push(line);
      this.#heard();
    });
    await this.hears('ready');
  }

  /** Resolves once logind has said `line` after everything that was asked for before. */
  async hears(line: string): Promise<void> {
    for (;;) {
      const place = this.said.indexOf(line);
      if (place >= 0) {
        this.said.splice(0, place + 1);
        return;
      }
      await new Promise<void>((resolve) => {
        this.#heard = resolve;
      });
    }
  }

  prepare(isPreparing: boolean): void {
    this.#logind?.stdin?.write(`prepare ${isPreparing}\n`);
  }

  async stopLogind(): Promise<void> {
    await stop(this.#logind);
    this.#logind = undefined;
  }

  async stopBus(): Promise<void> {
    await this.stopLogind();
    await stop(this.#daemon);
    this.#daemon = undefined;
  }

  async close(): Promise<void> {
    await this.stopBus();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

async function stop(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  await ended;
}
