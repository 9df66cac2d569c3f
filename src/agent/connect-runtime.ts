// The container runtime the agent uses: the configured one, one that answers at a usual socket, or a private containerd.
import type { LoadedConfig } from '../config/load.ts';
import { readImageArchive } from '../image/oci-archive.ts';
import { makePauseArchive } from '../image/pause-archive.ts';
import { canonicalName } from '../image/reference.ts';
import { chooseRuntime } from '../runtime/containerd/choose.ts';
import { defaultSubnets } from '../runtime/containerd/network.ts';
import { PrivateContainerd } from '../runtime/containerd/private-containerd.ts';
import { CriRuntime } from '../runtime/cri/cri-runtime.ts';
import { withMetrics } from '../runtime/decorators.ts';
import type { CgroupDriver, Runtime, RuntimeVersion } from '../runtime/runtime.ts';
import type { Clock } from '../std/clock.ts';
import { messageOf, RuntimeError } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import type { AgentBase } from './base.ts';
import type { Lifetime } from './lifetime.ts';

export interface ConnectOptions {
  readonly loaded: LoadedConfig;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface RuntimeConnection {
  readonly runtime: Runtime;
  readonly version: RuntimeVersion;
  /** Its cgroup driver, where the agent chose it. */
  readonly cgroupDriver: CgroupDriver | undefined;
  /** Present when the agent runs containerd itself; whoever starts the agent supervises it. */
  readonly containerd: PrivateContainerd | undefined;
  /** The image came from an archive on this machine: no registry is asked for it, and garbage collection leaves it. */
  readonly isOffline: (image: unknown, name: string) => boolean;
}

const connectRetryMs = 1_000;

/** Resolves once a runtime answers; a ConfigError says why none can be used. */
export async function connectRuntime(
  { loaded, env }: ConnectOptions,
  { clock, logger, metrics }: Pick<AgentBase, 'clock' | 'logger' | 'metrics'>,
  life: Lifetime,
): Promise<RuntimeConnection> {
  const { config } = loaded;
  const connectTo = (endpoint: string): CriRuntime =>
    new CriRuntime(
      {
        runtimeEndpoint: endpoint,
        requestTimeoutMs: config.runtimeRequestTimeoutMs,
        ...(config.imageServiceEndpoint === undefined ? {} : { imageEndpoint: config.imageServiceEndpoint }),
      },
      { clock, logger },
    );
  const probe = async (endpoint: string, options: { readonly signal: AbortSignal }): Promise<unknown> => {
    const candidate = connectTo(endpoint);
    try {
      return await candidate.version(options);
    } finally {
      candidate.close();
    }
  };
  const isDefaultSubnet = loaded.origins.privateContainerdSubnet.kind === 'default';
  const containerd = new PrivateContainerd(
    {
      rootDir: config.rootDir,
      runDir: config.runDir,
      pauseImage: config.pauseImage,
      imagesDir: config.imagesDir,
      cgroupDriver: loaded.origins.cgroupDriver.kind === 'default' ? undefined : config.cgroupDriver,
      subnets: isDefaultSubnet ? [config.privateContainerdSubnet, ...defaultSubnets] : [config.privateContainerdSubnet],
      bridge: config.privateContainerdBridge,
      binDirs: config.privateContainerdBinDirs,
      cniBinDirs: config.cniBinDirs,
      env,
    },
    { clock, log: logger, probe, readArchive: readImageArchive, makePauseArchive },
  );
  const chosen = await chooseRuntime(
    { configuredEndpoint: config.containerRuntimeEndpoint, privateContainerd: config.privateContainerd },
    { clock, log: logger, probe, private: containerd },
    { signal: life.signal },
  );
  const client = connectTo(chosen.endpoint);
  life.onStop(async () => client.close());
  const version = await untilConnected(client, chosen.endpoint, { clock, logger }, life.signal);
  logger.info('container runtime', { endpoint: chosen.endpoint, name: version.runtimeName, version: version.runtimeVersion });
  const imports = chosen.kind === 'private' ? chosen.info.imports : [];
  const usable = imports.filter((report) => report.outcome !== 'failed').flatMap((report) => report.references);
  const offlineImages = new Set(usable.map((reference) => canonicalName(reference)));
  return {
    runtime: withMetrics(client, { metrics, clock }),
    version,
    cgroupDriver: chosen.kind === 'private' ? chosen.info.cgroupDriver : undefined,
    containerd: chosen.kind === 'private' ? containerd : undefined,
    isOffline: (_image, name) => offlineImages.has(name),
  };
}

/** A runtime that is in this process: for development and tests. Its images are what they are, no registry is asked. */
export async function connectGiven(
  runtime: Runtime,
  { clock, metrics }: Pick<AgentBase, 'clock' | 'metrics'>,
  life: Lifetime,
): Promise<RuntimeConnection> {
  const version = await runtime.version({ signal: life.signal });
  return {
    runtime: withMetrics(runtime, { metrics, clock }),
    version,
    cgroupDriver: undefined,
    containerd: undefined,
    isOffline: () => true,
  };
}

/** A runtime that is not up yet is waited for: after a boot it may come later than the agent. */
async function untilConnected(
  client: CriRuntime,
  endpoint: string,
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
  signal: AbortSignal,
): Promise<RuntimeVersion> {
  for (let tries = 0; ; tries++) {
    try {
      return await client.connect({ signal });
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof RuntimeError) || error.retry === 'never') throw error;
      const advice = 'start it, or set containerRuntimeEndpoint; with neither, pinpod runs a containerd of its own';
      if (tries % 30 === 0)
        logger.warn('container runtime does not answer yet; trying again', { endpoint, error: messageOf(error), advice });
      await clock.sleep(connectRetryMs, signal);
    }
  }
}
