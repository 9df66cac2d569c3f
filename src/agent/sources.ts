// The sources of manifests that the configuration names, and steps 1–5 of a manifest's travel.
import path from 'node:path';
import type { AgentConfig } from '../config/agent-config.ts';
import type { PodConfig } from '../podconfig/pod-config.ts';
import type { PodWorkers } from '../podworker/pod-workers.ts';
import { FileSource } from '../source/file.ts';
import { realFileSystem } from '../source/file-system.ts';
import { HttpSource } from '../source/http.ts';
import { createHttpGet } from '../source/http-get.ts';
import { LastGoodFolder } from '../source/last-good.ts';
import { parseFileManifest, parseUrlManifest } from '../source/parse-manifest.ts';
import type { PodSource } from '../source/source.ts';
import type { AgentBase } from './base.ts';

export function manifestSources(
  config: AgentConfig,
  env: Readonly<Record<string, string | undefined>>,
  { clock, random, logger: log }: Pick<AgentBase, 'clock' | 'random' | 'logger'>,
): readonly PodSource[] {
  const lastGood = (name: string): LastGoodFolder => new LastGoodFolder({ folder: path.join(config.rootDir, 'last-good', name) }, { log });
  const { nodeName, sourceFaultPolicy } = config;
  const sources: PodSource[] = [];
  if (config.staticPodPath !== undefined) {
    sources.push(
      new FileSource(
        { path: config.staticPodPath, fileCheckFrequencyMs: config.fileCheckFrequencyMs, sourceFaultPolicy },
        { parse: parseFileManifest({ nodeName }), fileSystem: realFileSystem, lastGood: lastGood('file'), clock, log },
      ),
    );
  }
  if (config.staticPodUrl !== undefined) {
    const get = createHttpGet({
      caFile: config.staticPodUrlCaFile,
      certFile: config.staticPodUrlCertFile,
      keyFile: config.staticPodUrlKeyFile,
      proxyEnvironment: env,
    });
    sources.push(
      new HttpSource(
        {
          url: config.staticPodUrl,
          headers: config.staticPodUrlHeaders,
          httpCheckFrequencyMs: config.httpCheckFrequencyMs,
          sourceFaultPolicy,
        },
        { get, parse: parseUrlManifest({ nodeName }), lastGood: lastGood('http'), clock, random, log },
      ),
    );
  }
  return sources;
}

/** Each snapshot into the desired set, then the workers in line with it; lasts until the signal aborts. */
export async function follow(
  source: PodSource,
  podConfig: PodConfig,
  workers: Pick<PodWorkers, 'reconcile'>,
  { signal }: { readonly signal: AbortSignal },
): Promise<void> {
  for await (const snapshot of source.snapshots({ signal })) {
    podConfig.apply(snapshot);
    workers.reconcile();
  }
}
