// The supervised private containerd: own root, state, socket, network and generated configuration, from the
// distribution's programs, the way k3s does it. It and its shims outlive the agent (D2): a new agent finds the
// running one by its pid file and attaches; only a changed configuration or program restarts it.
//
//   start:  find programs → network → configuration ─┬─ running, unchanged ──────────► attach
//                                                    ├─ running, changed ──► stop ──► spawn
//                                                    └─ not running ────────────────► spawn
//   supervise: wait for its socket to close → spawn again, with back-off
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:fs';
import { access, copyFile, mkdir, open, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import path from 'node:path';
import type { Clock } from '../../std/clock.ts';
import { AgentError, ConfigError, messageOf, RuntimeError, systemCode } from '../../std/errors.ts';
import type { Logger } from '../../std/log.ts';
import { runProgram, signalProcess } from '../../std/process.ts';
import type { CallOptions, CgroupDriver, Runtime } from '../runtime.ts';
import { type ContainerdBinaries, findBinaries } from './binaries.ts';
import { type ContainerdPaths, type ContainerdVersion, containerdConfig, defaultCgroupDriver, parseContainerdVersion } from './config.ts';
import { type ImageImportDeps, type ImageStore, type ImportReport, importArchive, importImagesDir, listImages } from './images.ts';
import { mountsBelow } from './mounts.ts';
import { chooseSubnet, cniConfigList, forwardRules, gatewayAddress, isUsableSubnet, parseRoutes } from './network.ts';
import { readProcess } from './process-table.ts';
import { sweep } from './sweep.ts';

export interface PrivateContainerdOptions {
  /** State that outlives a reboot goes to `containerd/` in here. */
  readonly rootDir: string;
  /** Sockets and whatever a reboot may take: `containerd/` in here. */
  readonly runDir: string;
  /** Full reference of the sandbox image. */
  readonly pauseImage: string;
  /** Archives in here are imported at start. */
  readonly imagesDir: string | undefined;
  /** Chosen at the start when undefined. */
  readonly cgroupDriver: CgroupDriver | undefined;
  /** IPv4. The first that no route of the machine overlaps is taken; see `defaultSubnets`. */
  readonly subnets: readonly string[];
  readonly ipv6Subnet?: string;
  /** At most 15 bytes. The CNI network has the same name. */
  readonly bridge: string;
  /** Searched before PATH. */
  readonly binDirs: readonly string[];
  readonly cniBinDirs: readonly string[];
  /** Registry configuration (`hosts.toml` folders); default: `certs.d` beside containerd's data. */
  readonly certsDir?: string;
  readonly snapshotter?: string;
  readonly logLevel?: 'debug' | 'info' | 'warn' | 'error';
  /** Started with these in front: `['unshare', '--mount', '--propagation', 'shared']`, `['nsenter', …]`. */
  readonly launcher?: readonly string[];
  /** The agent's own environment: PATH, proxies. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface PrivateContainerdDeps extends Omit<ImageImportDeps, 'log'> {
  readonly clock: Clock;
  readonly log: Logger;
  /** A CRI Version call; rejects while the service is not there. */
  probe(endpoint: string, options: CallOptions): Promise<unknown>;
  /** Makes the pause image offline, as an archive's bytes; undefined where that cannot be done. */
  makePauseArchive(reference: string): Promise<Uint8Array | undefined>;
}

export interface PrivateContainerdInfo {
  readonly endpoint: string;
  readonly version: ContainerdVersion;
  readonly subnet: string;
  readonly cgroupDriver: CgroupDriver;
  /** Whether it ran already. */
  readonly attached: boolean;
  readonly imports: readonly ImportReport[];
}

/** What is known of the process, kept in the pid file. */
interface Recorded {
  readonly pid: number;
  readonly startTicks: number;
}

const readyTimeoutMs = 60_000;
const stopTimeoutMs = 15_000;
/** What containers get to end by themselves when everything is taken down. */
const gracePeriodSeconds = 3;
const firstRestartDelayMs = 500;
/** While it is down nothing can be put right: more often than this machine can bear is what this spares it, no more. */
const maxRestartDelayMs = 5_000;
/** One that lived so long has its next restart at once. */
const stableAfterMs = 60_000;
/** The log and one older part are kept, each up to this size; checked at every start and every hour. */
const maxLogBytes = 16 << 20;
const logCheckMs = 3_600_000;
const capSysResource = 24;

export class PrivateContainerd {
  readonly #options: PrivateContainerdOptions;
  readonly #deps: PrivateContainerdDeps;
  readonly #paths: ContainerdPaths;
  readonly #configFile: string;
  readonly #pidFile: string;
  readonly #logFile: string;
  #binaries: ContainerdBinaries | undefined;
  #configText = '';

  constructor(options: PrivateContainerdOptions, deps: PrivateContainerdDeps) {
    const root = path.join(options.rootDir, 'containerd');
    const run = path.join(options.runDir, 'containerd');
    this.#options = options;
    this.#deps = deps;
    this.#paths = {
      root: path.join(root, 'data'),
      opt: path.join(root, 'opt'),
      certs: options.certsDir ?? path.join(root, 'certs.d'),
      state: path.join(run, 'state'),
      socket: path.join(run, 'containerd.sock'),
      runcRoot: path.join(run, 'runc'),
      cniConf: path.join(run, 'cni'),
    };
    this.#configFile = path.join(run, 'config.toml');
    this.#pidFile = path.join(run, 'containerd.pid');
    this.#logFile = path.join(root, 'containerd.log');
  }

  get endpoint(): string {
    return `unix://${this.#paths.socket}`;
  }

  /** The image store, for importing more; only after `start`. */
  get imageStore(): ImageStore {
    return { ctr: this.#found.ctr, socket: this.#paths.socket };
  }

  get #found(): ContainerdBinaries {
    if (this.#binaries === undefined) throw new AgentError('not-started', 'the private containerd was not started');
    return this.#binaries;
  }

  /** The running containerd's process id, ours or one found; undefined when none runs. */
  async pid(): Promise<number | undefined> {
    return (await this.#running())?.pid;
  }

  /** Whether one was used with these folders before: its containers may still run. */
  async wasUsed(): Promise<boolean> {
    return exists(path.join(this.#paths.root, 'io.containerd.metadata.v1.bolt'));
  }

  /**
   * Resolves when CRI answers and the images are there. A ConfigError says what is missing or in the way on this
   * machine; a RuntimeError carries the end of containerd's log when it does not come up.
   */
  async start({ signal }: CallOptions): Promise<PrivateContainerdInfo> {
    const { binDirs, cniBinDirs, env } = this.#options;
    if (this.#paths.socket.length > 100) {
      throw new ConfigError(
        'path-too-long',
        `the run folder's path is too long for a socket: ${this.#paths.socket} (at most 100 characters)`,
      );
    }
    this.#binaries = await findBinaries({ binDirs, cniBinDirs, path: env['PATH'], isExecutable });
    const version = await this.#version(signal);
    for (const dir of [this.#paths.root, this.#paths.opt, this.#paths.certs, this.#paths.state, this.#paths.cniConf]) {
      await mkdir(dir, { recursive: true, mode: 0o711 });
    }
    const subnet = await this.#setUpNetwork(signal);
    const cgroupDriver = this.#options.cgroupDriver ?? (await this.#defaultCgroupDriver());
    this.#configText = await this.#makeConfig(version, cgroupDriver);
    const attached = await this.#attach(signal);
    if (!attached) {
      await this.#writeConfig();
      await this.#spawn(signal);
    }
    const imports = await this.#importImages(signal);
    this.#deps.log.info('private containerd is ready', { endpoint: this.endpoint, version: formatVersion(version), subnet, attached });
    return { endpoint: this.endpoint, version, subnet, cgroupDriver, attached, imports };
  }

  /**
   * Keeps it running until `signal` aborts, then resolves; containerd goes on (D2). `onRestarted` is called when a new
   * one answers: containers ran on meanwhile, and whoever caches their state has to read it again.
   */
  async supervise({ signal, onRestarted }: CallOptions & { readonly onRestarted: () => void }): Promise<void> {
    const { clock, log } = this.#deps;
    let delayMs = 0;
    while (!signal.aborted) {
      const since = clock.now();
      try {
        await this.#gone(signal);
        log.warn('private containerd has ended; starting it again', { afterMs: Math.round(clock.now() - since), delayMs });
        delayMs = clock.now() - since >= stableAfterMs ? 0 : delayMs;
        if (delayMs > 0) await clock.sleep(delayMs, signal);
        delayMs = Math.min(Math.max(delayMs * 2, firstRestartDelayMs), maxRestartDelayMs);
        await this.#writeConfig();
        await this.#spawn(signal);
        log.info('private containerd runs again');
        onRestarted();
      } catch (error) {
        if (signal.aborted) return;
        log.error('private containerd cannot be started', { err: error, nextDelayMs: delayMs });
      }
    }
  }

  /** Ends containerd (SIGTERM, after 15 s SIGKILL). Containers and their shims run on. Idempotent. */
  async stop({ signal }: CallOptions): Promise<void> {
    const running = await this.#running();
    if (running === undefined) return;
    for (const name of ['SIGTERM', 'SIGKILL'] as const) {
      signalProcess(running.pid, name);
      for (let waited = 0; waited < stopTimeoutMs; waited += 20) {
        if ((await this.#running()) === undefined) {
          await rm(this.#pidFile, { force: true });
          return;
        }
        await this.#deps.clock.sleep(20, signal);
      }
    }
    throw new RuntimeError('unavailable', `the private containerd (pid ${running.pid}) does not end`);
  }

  /**
   * Takes everything down: Pods through `runtime` where it still answers, then containerd, shims, mounts, bridge,
   * iptables rules, cgroups and the folders `containerd/` of root and run. For a demo or a test: nothing is left.
   */
  async destroy({
    signal,
    runtime,
    cgroupParents,
  }: CallOptions & { readonly runtime?: Runtime; readonly cgroupParents: readonly string[] }): Promise<void> {
    const { clock, log } = this.#deps;
    if (runtime !== undefined && (await this.#running()) !== undefined) {
      try {
        const containers = await runtime.listContainers({}, { signal });
        const running = containers.filter((container) => container.state === 'running');
        await Promise.all(
          running.map(({ id }) => runtime.stopContainer({ containerId: id, timeoutSeconds: gracePeriodSeconds }, { signal })),
        );
        for (const { id } of await runtime.listPodSandboxes({}, { signal })) {
          await runtime.stopPodSandbox(id, { signal });
          await runtime.removePodSandbox(id, { signal });
        }
      } catch (error) {
        signal.throwIfAborted();
        log.warn('pods cannot be removed in order; taken down by force', { err: error });
      }
    }
    await this.stop({ signal });
    const folders = [path.dirname(this.#configFile), path.dirname(this.#logFile)];
    const target = { socket: this.#paths.socket, folders, networkName: this.#options.bridge, bridge: this.#options.bridge, cgroupParents };
    await sweep(target, { clock, log, env: this.#env() }, { signal });
    for (const folder of folders) {
      // Removing through a mount would remove what is mounted: a person's own folder, perhaps.
      const left = mountsBelow(await readFile('/proc/self/mountinfo', 'utf8'), folder);
      if (left.length > 0) throw new AgentError('mounts-left', `still mounted below ${folder}: ${left.join(', ')}`);
      await rm(folder, { recursive: true, force: true });
    }
  }

  async #version(signal: AbortSignal): Promise<ContainerdVersion> {
    const { stdout } = await runProgram(this.#found.containerd, ['--version'], { signal });
    const version = parseContainerdVersion(stdout);
    if (version === undefined)
      throw new ConfigError('runtime-version', `${this.#found.containerd} --version says no version: ${stdout.trim()}`);
    const isTooOld = version.major < 1 || (version.major === 1 && version.minor < 6);
    if (isTooOld)
      throw new ConfigError('runtime-version', `${this.#found.containerd} is ${formatVersion(version)}; 1.6 or later is needed`);
    return version;
  }

  async #defaultCgroupDriver(): Promise<CgroupDriver> {
    const [hasSystemd, isUnified] = await Promise.all(['/run/systemd/system', '/sys/fs/cgroup/cgroup.controllers'].map(exists));
    const configText = (await exists(this.#configFile)) ? await readFile(this.#configFile, 'utf8') : undefined;
    return defaultCgroupDriver({ hasSystemd: hasSystemd === true, isUnified: isUnified === true, configText });
  }

  async #makeConfig(version: ContainerdVersion, cgroupDriver: CgroupDriver): Promise<string> {
    const { pauseImage, snapshotter, logLevel } = this.#options;
    return containerdConfig({
      version,
      paths: this.#paths,
      cniBinDirs: this.#found.cniBinDirs,
      runcBinary: this.#found.runc,
      pauseImage,
      cgroupDriver,
      canLowerOomScore: hasCapability(await readFile('/proc/self/status', 'utf8'), capSysResource),
      logLevel: logLevel ?? 'info',
      ...(snapshotter === undefined ? {} : { snapshotter }),
    });
  }

  /** Claims bridge and subnet by making the bridge, so that other agents see the route. Resolves to the subnet. */
  async #setUpNetwork(signal: AbortSignal): Promise<string> {
    const { bridge, ipv6Subnet } = this.#options;
    if (bridge.length > 15) throw new ConfigError('bad-bridge', `bridge name ${bridge} is longer than 15 characters`);
    const isOwn = await this.#ownsBridge(signal);
    const subnet = await this.#chooseSubnet(signal);
    if (!isOwn) {
      await this.#ip(['link', 'add', 'name', bridge, 'type', 'bridge'], signal);
      await this.#ip(['link', 'set', 'dev', bridge, 'alias', this.#claim], signal);
    }
    await this.#ip(['address', 'replace', gatewayAddress(subnet), 'dev', bridge], signal);
    if (ipv6Subnet !== undefined) await this.#ip(['address', 'replace', gatewayAddress(ipv6Subnet), 'dev', bridge, 'nodad'], signal);
    await this.#ip(['link', 'set', 'dev', bridge, 'up'], signal);
    const ipamDir = path.join(path.dirname(this.#configFile), 'ipam');
    const text = cniConfigList({ name: bridge, bridge, subnet, ipv6Subnet, ipamDir });
    await writeAtomically(path.join(this.#paths.cniConf, '10-pinpod.conflist'), text);
    await this.#allowForwarding(signal);
    return subnet;
  }

  /** Where the machine drops what it would forward, Pods are let through. Failing is no reason not to start. */
  async #allowForwarding(signal: AbortSignal): Promise<void> {
    const { bridge, ipv6Subnet } = this.#options;
    for (const program of ipv6Subnet === undefined ? ['iptables'] : ['iptables', 'ip6tables']) {
      const iptables = (...args: readonly string[]): Promise<{ readonly stdout: string }> =>
        runProgram(program, ['--wait', ...args], { signal, env: this.#env() });
      try {
        if (!(await iptables('-S', 'FORWARD')).stdout.includes('-P FORWARD DROP')) continue;
        for (const rule of forwardRules(bridge)) {
          const isThere = await iptables('-C', 'FORWARD', ...rule).then(
            () => true,
            () => false,
          );
          if (!isThere) await iptables('-A', 'FORWARD', ...rule);
        }
        this.#deps.log.info('forwarding is dropped on this machine; pods are let through', { bridge, program });
      } catch (error) {
        signal.throwIfAborted();
        this.#deps.log.warn('iptables cannot be read; pods may reach nothing', { program, err: error });
      }
    }
  }

  get #claim(): string {
    return `pinpod ${this.#options.runDir}`;
  }

  async #ownsBridge(signal: AbortSignal): Promise<boolean> {
    const { bridge } = this.#options;
    if (!(await exists(path.join('/sys/class/net', bridge)))) return false;
    const { stdout } = await this.#ip(['-json', '-details', 'link', 'show', 'dev', bridge], signal);
    const [link] = JSON.parse(stdout) as readonly { readonly ifalias?: string; readonly linkinfo?: { readonly info_kind?: string } }[];
    if (link?.linkinfo?.info_kind === 'bridge' && link.ifalias === this.#claim) return true;
    throw new ConfigError(
      'bridge-conflict',
      `network device ${bridge} exists and is not ours (${link?.linkinfo?.info_kind ?? 'no bridge'}${link?.ifalias === undefined ? '' : `, "${link.ifalias}"`}): set another privateContainerdBridge, or delete it`,
    );
  }

  async #chooseSubnet(signal: AbortSignal): Promise<string> {
    const { bridge, subnets, ipv6Subnet } = this.#options;
    for (const given of [...subnets, ipv6Subnet]) {
      if (given !== undefined && !isUsableSubnet(given)) throw new ConfigError('bad-subnet', `${given} is no subnet for Pods`);
    }
    const routes = parseRoutes((await this.#ip(['-json', 'route', 'show'], signal)).stdout);
    const routes6 = ipv6Subnet === undefined ? [] : parseRoutes((await this.#ip(['-json', '-6', 'route', 'show'], signal)).stdout);
    const taken6 = chooseSubnet(ipv6Subnet === undefined ? [] : [ipv6Subnet], routes6, bridge).skipped;
    const current = await this.#currentSubnet();
    const candidates = current !== undefined && subnets.includes(current) ? [current, ...subnets] : subnets;
    const choice = chooseSubnet(candidates, routes, bridge);
    const skipped = [...choice.skipped, ...taken6].map((s) => `${s.subnet} overlaps the route ${s.route.destination} of ${s.route.device}`);
    if (choice.subnet === undefined || taken6.length > 0) {
      throw new ConfigError(
        'subnet-conflict',
        `no subnet for Pods is free: ${skipped.join('; ')}. Set privateContainerdSubnet to a free one`,
      );
    }
    if (skipped.length > 0)
      this.#deps.log.warn('pod subnet is taken on this machine; using another', { taken: skipped, subnet: choice.subnet });
    return choice.subnet;
  }

  /** The subnet used since the last reboot: running Pods have addresses of it. */
  async #currentSubnet(): Promise<string | undefined> {
    try {
      const text = await readFile(path.join(this.#paths.cniConf, '10-pinpod.conflist'), 'utf8');
      return /"subnet": "([0-9.]+\/\d+)"/.exec(text)?.[1];
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  async #ip(args: readonly string[], signal: AbortSignal): Promise<{ readonly stdout: string }> {
    try {
      return await runProgram(this.#found.ip, args, { signal });
    } catch (error) {
      signal.throwIfAborted();
      throw new ConfigError('network-setup', `the Pod network cannot be set up: ${messageOf(error)}`, { cause: error });
    }
  }

  /** True when the running one has our configuration and answers; one with another configuration is stopped. */
  async #attach(signal: AbortSignal): Promise<boolean> {
    if ((await this.#running()) === undefined) return false;
    const written = await readFile(this.#configFile, 'utf8').catch(() => '');
    if (written === this.#configText) {
      await this.#waitReady(signal, undefined);
      return true;
    }
    this.#deps.log.info('private containerd has another configuration or version; restarting it, containers run on');
    await this.stop({ signal });
    return false;
  }

  async #writeConfig(): Promise<void> {
    await writeAtomically(this.#configFile, this.#configText);
  }

  async #spawn(signal: AbortSignal): Promise<void> {
    await this.#boundLog();
    const log = await open(this.#logFile, 'a', 0o600);
    const [program = '', ...args] = [...(this.#options.launcher ?? []), this.#found.containerd, '--config', this.#configFile];
    const child = spawn(program, args, { detached: true, stdio: ['ignore', log.fd, log.fd], env: { ...this.#env() } });
    const ended = once(child, 'exit').then(
      ([code, name]) => `it ended with ${name === null ? `exit code ${code}` : `signal ${name}`}`,
      (error: unknown) => messageOf(error),
    );
    child.unref();
    await log.close();
    const entry = child.pid === undefined ? undefined : await readProcess(child.pid);
    if (entry !== undefined) {
      const recorded: Recorded = { pid: entry.pid, startTicks: entry.startTicks };
      await writeAtomically(this.#pidFile, JSON.stringify(recorded));
    }
    await this.#waitReady(signal, ended);
  }

  async #waitReady(signal: AbortSignal, ended: Promise<string> | undefined): Promise<void> {
    const { clock, probe } = this.#deps;
    const deadline = clock.now() + readyTimeoutMs;
    let endedWith: string | undefined;
    ended?.then(
      (how) => {
        endedWith = how;
      },
      () => undefined,
    );
    for (;;) {
      try {
        await probe(this.endpoint, { signal });
        return;
      } catch (error) {
        signal.throwIfAborted();
        if (endedWith !== undefined || clock.now() > deadline) {
          const why = endedWith ?? `no answer within ${readyTimeoutMs / 1000} s: ${messageOf(error)}`;
          throw new RuntimeError(
            'unavailable',
            `the private containerd does not come up: ${why}. Its log (${this.#logFile}) ends with:\n${await this.#logTail()}`,
            {
              cause: error,
            },
          );
        }
        await clock.sleep(20, signal);
      }
    }
  }

  /** The recorded process, if it is still that process. */
  async #running(): Promise<Recorded | undefined> {
    let recorded: Recorded;
    try {
      recorded = JSON.parse(await readFile(this.#pidFile, 'utf8')) as Recorded;
    } catch (error) {
      if (systemCode(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
      throw error;
    }
    const entry = await readProcess(recorded.pid);
    return entry === undefined || entry.isZombie || entry.startTicks !== recorded.startTicks ? undefined : recorded;
  }

  /** Resolves when the process has ended. Its socket closing tells at once, without polling and for no child of ours too. */
  async #gone(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    while ((await this.#running()) !== undefined) {
      await this.#boundLog();
      await socketClosed(`${this.#paths.socket}.ttrpc`, signal, (stop) => clock.sleep(logCheckMs, stop));
      // The socket is closed a moment before the process is gone; a connection may also end for another reason.
      for (let i = 0; i < 50 && (await this.#running()) !== undefined; i++) await clock.sleep(20, signal);
    }
  }

  async #boundLog(): Promise<void> {
    try {
      if ((await stat(this.#logFile)).size < maxLogBytes) return;
      // containerd has the file open for appending: copy and cut, it cannot be told to open another.
      await copyFile(this.#logFile, `${this.#logFile}.1`);
      await truncate(this.#logFile);
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error;
    }
  }

  async #logTail(): Promise<string> {
    const text = await readFile(this.#logFile, 'utf8').catch(() => '');
    return text.trimEnd().split('\n').slice(-8).join('\n');
  }

  async #importImages(signal: AbortSignal): Promise<readonly ImportReport[]> {
    const { imagesDir, pauseImage } = this.#options;
    const { readArchive, log } = this.#deps;
    const store = this.imageStore;
    const imports = imagesDir === undefined ? [] : await importImagesDir(store, imagesDir, { readArchive, log }, { signal });
    if ((await listImages(store, { signal })).has(pauseImage)) return imports;
    const bytes = await this.#deps.makePauseArchive(pauseImage);
    if (bytes === undefined) return imports;
    const file = path.join(path.dirname(this.#configFile), 'pause.tar');
    try {
      await writeFile(file, bytes);
      await importArchive(store, file, { signal });
      log.info("pause image made from the machine's own programs", { image: pauseImage });
      return [...imports, { file, references: [pauseImage], outcome: 'imported' }];
    } finally {
      await rm(file, { force: true });
    }
  }

  #env(): Readonly<Record<string, string | undefined>> {
    // What systemd gave the agent is not meant for its child, which would report itself ready in the agent's name.
    const { NOTIFY_SOCKET: _n, LISTEN_FDS: _f, LISTEN_PID: _p, WATCHDOG_USEC: _w, WATCHDOG_PID: _d, ...env } = this.#options.env;
    return { ...env, PATH: this.#binaries?.path ?? env['PATH'] };
  }
}

const formatVersion = ({ major, minor, patch }: ContainerdVersion): string => `${major}.${minor}.${patch}`;

/** Whether the effective capabilities in a `/proc/PID/status` hold the one with this number. */
export function hasCapability(status: string, number: number): boolean {
  const mask = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  return mask !== undefined && ((BigInt(`0x${mask}`) >> BigInt(number)) & 1n) === 1n;
}

/** Resolves when a connection to `file` cannot be made or has ended, or when `limit` resolves. */
async function socketClosed(file: string, signal: AbortSignal, limit: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const stop = new AbortController();
  const socket = createConnection(file);
  const closed = new Promise<void>((resolve) => {
    socket.on('error', () => undefined);
    socket.on('close', () => resolve());
    socket.resume();
  });
  const onAbort = (): void => stop.abort(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    await Promise.race([closed, limit(stop.signal)]);
  } finally {
    signal.removeEventListener('abort', onAbort);
    stop.abort(new AgentError('done', 'no longer needed'));
    socket.destroy();
  }
}

async function writeAtomically(file: string, text: string): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true, mode: 0o711 });
  const temporary = `${file}.tmp`;
  await writeFile(temporary, text, { mode: 0o600 });
  await rename(temporary, file);
}

async function isExecutable(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return (await stat(file)).isFile();
  } catch {
    return false;
  }
}

async function exists(file: string): Promise<boolean> {
  try {
    await access(file);
    return true;
  } catch {
    return false;
  }
}
