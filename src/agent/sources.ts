// The sources of manifests that the configuration names, and steps 1–5 of a manifest's travel.
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { AgentConfig } from '../config/agent-config.ts';
import { PodConfig } from '../podconfig/pod-config.ts';
import { FileSource } from '../source/file.ts';
import { realFileSystem } from '../source/file-system.ts';
import { HttpSource } from '../source/http.ts';
import { createHttpGet } from '../source/http-get.ts';
import { LastGoodFolder } from '../source/last-good.ts';
import { parseFileManifest, parseUrlManifest } from '../source/parse-manifest.ts';
import type { PodSource } from '../source/source.ts';
import { Mailbox, Superseded, TaskGroup } from '../std/async.ts';
import type { AgentBase } from './base.ts';

function manifestSources(
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

type SourcesDeps = Pick<AgentBase, 'clock' | 'random' | 'logger'>;

/** The sources at work; a reload replaces those whose settings changed. Their Pods run on until the new ones have spoken (D1). */
export class Sources {
  readonly podConfig: PodConfig;
  readonly #env: Readonly<Record<string, string | undefined>>;
  readonly #deps: SourcesDeps;
  readonly #changes = new Mailbox<AgentConfig>();
  #config: AgentConfig;
  #sources: readonly PodSource[];

  constructor(options: { readonly config: AgentConfig; readonly env: Readonly<Record<string, string | undefined>> }, deps: SourcesDeps) {
    this.#config = options.config;
    this.#env = options.env;
    this.#deps = deps;
    this.#sources = manifestSources(options.config, options.env, deps);
    this.podConfig = new PodConfig({ sources: this.#sources.map(({ name }) => name) }, deps);
  }

  /** The folder, or the one file; undefined where only a URL is configured, or nothing. */
  get folder(): { readonly source: FileSource; readonly path: string } | undefined {
    const source = this.#sources.find((candidate) => candidate instanceof FileSource);
    const { staticPodPath } = this.#config;
    return source === undefined || staticPodPath === undefined ? undefined : { source, path: staticPodPath };
  }

  /** Where a source's manifests are, for people. */
  locationOf(source: string): string {
    return (source === 'http' ? this.#config.staticPodUrl : this.#config.staticPodPath) ?? '';
  }

  /** Takes effect while `run` runs. */
  configure(config: AgentConfig): void {
    this.#changes.put(config);
  }

  /** Lasts until the signal aborts; `reconcile` brings the workers in line with the desired Pods. */
  async run(reconcile: () => void, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    for (;;) {
      const atWork = new TaskGroup({ signal });
      for (const source of this.#sources) atWork.spawn(`source ${source.name}`, (o) => this.#follow(source, reconcile, o));
      const next = await this.#untilChange(atWork, signal);
      this.#config = next;
      this.#sources = manifestSources(next, this.#env, this.#deps);
      this.podConfig.configure({ sources: this.#sources.map(({ name }) => name) });
      reconcile();
    }
  }

  /** Steps 1–5 of a manifest's travel: each snapshot into the desired set, then the workers in line with it. */
  async #follow(source: PodSource, reconcile: () => void, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    for await (const snapshot of source.snapshots({ signal })) {
      this.podConfig.apply(snapshot);
      reconcile();
    }
  }

  /** Ends the sources at work in any case: what they learned is on disk before others begin, or the agent ends. */
  async #untilChange(atWork: TaskGroup, signal: AbortSignal): Promise<AgentConfig> {
    try {
      return await Promise.race([atWork.failed, this.#nextConfig(signal)]);
    } finally {
      await atWork.close(new Superseded());
    }
  }

  async #nextConfig(signal: AbortSignal): Promise<AgentConfig> {
    for (;;) {
      const next = await this.#changes.take(signal);
      if (sourceSettings.some((key) => !isDeepStrictEqual(this.#config[key], next[key]))) return next;
    }
  }
}

const sourceSettings = [
  'staticPodPath',
  'fileCheckFrequencyMs',
  'staticPodUrl',
  'staticPodUrlHeaders',
  'staticPodUrlCaFile',
  'staticPodUrlCertFile',
  'staticPodUrlKeyFile',
  'httpCheckFrequencyMs',
  'sourceFaultPolicy',
] as const satisfies readonly (keyof AgentConfig)[];
