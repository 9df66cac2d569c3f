// Pulling images, and whose credentials the registries are shown.
import path from 'node:path';
import type { AgentConfig } from '../config/agent-config.ts';
import { CredentialPlugins, readCredentialProviders } from '../image/credential-plugins.ts';
import { type CredentialSource, combineCredentials } from '../image/credentials.ts';
import { DockerConfigCredentials } from '../image/docker-config.ts';
import { ImagePuller, type ImagePullerDeps } from '../image/image-puller.ts';
import type { AgentBase } from './base.ts';

export interface ImageOptions {
  readonly config: AgentConfig;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface ImageDeps extends Pick<ImagePullerDeps, 'clock' | 'events' | 'logger' | 'metrics'> {
  readonly runtime: ImagePullerDeps['runtime'];
  readonly isOffline: ImagePullerDeps['isOffline'];
  /** The runtime has other images than before. */
  readonly onImages: () => void;
}

/** A ConfigError says what is wrong with the credential provider configuration. */
export async function createImagePuller(options: ImageOptions, deps: ImageDeps): Promise<ImagePuller> {
  const { config } = options;
  const runtime: ImagePullerDeps['runtime'] = {
    imageStatus: (image, o) => deps.runtime.imageStatus(image, o),
    async pullImage(request, o) {
      const id = await deps.runtime.pullImage(request, o);
      deps.onImages();
      return id;
    },
  };
  return new ImagePuller(
    {
      maxParallelPulls: config.serializeImagePulls ? 1 : (config.maxParallelImagePulls ?? Number.POSITIVE_INFINITY),
      pullsPerSecond: config.registryPullQps,
      pullBurst: config.registryBurst,
      whenUnreachable: config.registryFaultPolicy,
    },
    { ...deps, runtime, credentials: await credentialsOf(options, deps) },
  );
}

async function credentialsOf({ config, env }: ImageOptions, deps: Pick<AgentBase, 'clock' | 'logger'>): Promise<CredentialSource> {
  const home = env['HOME'] ?? '/root';
  const docker = new DockerConfigCredentials(
    { configDirs: [config.rootDir, path.join(home, '.docker'), '/.docker'], legacyDirs: [config.rootDir, home, '/'] },
    deps,
  );
  if (config.imageCredentialProviderConfig === undefined || config.imageCredentialProviderBinDir === undefined) return docker;
  const providers = await readCredentialProviders(config.imageCredentialProviderConfig);
  const plugins = new CredentialPlugins({ providers, binDir: config.imageCredentialProviderBinDir, environment: env }, deps);
  return combineCredentials([plugins, docker]);
}
