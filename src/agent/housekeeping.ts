// What is tidied up beside the Pods' own life: dead records, leftovers of Pods long gone, logs, images.
import { allContainers } from '../api/pod.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import { diskUsage, ImageGc, type ImageGcDeps, type ImageGcOptions } from '../image/image-gc.ts';
import { sandboxImageOf } from '../image/sandbox-image.ts';
import type { PodConfig } from '../podconfig/pod-config.ts';
import { Leftovers } from '../podworker/leftovers.ts';
import { LogRotation, type LogRotationOptions } from '../podworker/log-rotation.ts';
import { type AgentBase, nodeObject } from './base.ts';
import type { RuntimeConnection } from './connect-runtime.ts';
import type { Lifetime } from './lifetime.ts';
import type { PodEngine } from './pod-engine.ts';

export interface HousekeepingDeps extends AgentBase, Pick<RuntimeConnection, 'runtime' | 'isOffline'> {
  readonly podConfig: PodConfig;
  readonly engine: PodEngine;
  /** The runtime has other images than before. */
  readonly onImages: () => void;
}

/** Answers what collects images: disk pressure asks it for more. */
export function startHousekeeping(deps: HousekeepingDeps, life: Lifetime): ImageGc {
  const { engine, podConfig, reload } = deps;
  life.spawn('admission', (o) => engine.admission.run(o));
  life.spawn('garbage collection', (o) => engine.records.run(o));
  const { nodeCgroups } = engine;
  if (nodeCgroups !== undefined) life.spawn('node cgroups', (o) => nodeCgroups.run(o));
  const leftovers = new Leftovers({
    ...deps,
    volumes: engine.volumes,
    cgroups: engine.cgroups,
    whileUnknown: async (uid, work) => podConfig.allSourcesSeen && (await engine.workers.whileUnknown(uid, work)),
  });
  life.spawn('leftovers', (o) => leftovers.run(o));
  const { config } = reload;
  const rotation = new LogRotation(rotationOptions(config), deps);
  reload.follow((next) => rotation.configure(rotationOptions(next)));
  life.spawn('log rotation', (o) => rotation.run(o));
  const imageGc = new ImageGc(imageGcOptions(config), {
    ...deps,
    runtime: imageRuntime(deps),
    diskUsage,
    neededImages: () => neededImages(podConfig),
    sandboxImages: async (o) => [config.pauseImage, (await sandboxImageOf(deps.runtime, o)) ?? config.pauseImage],
    sourcesReady: () => podConfig.allSourcesSeen,
  });
  reload.follow((next) => imageGc.configure(imageGcOptions(next)));
  life.spawn('image garbage collection', (o) => imageGc.run(o));
  return imageGc;
}

function imageRuntime({ runtime, onImages }: HousekeepingDeps): ImageGcDeps['runtime'] {
  return {
    listImages: (o) => runtime.listImages(o),
    listContainers: (filter, o) => runtime.listContainers(filter, o),
    imageFsInfo: (o) => runtime.imageFsInfo(o),
    async removeImage(image, o) {
      await runtime.removeImage(image, o);
      onImages();
    },
  };
}

function rotationOptions(config: AgentConfig): LogRotationOptions {
  return {
    maxSizeBytes: config.containerLogMaxSizeBytes,
    maxFiles: config.containerLogMaxFiles,
    intervalMs: config.containerLogMonitorIntervalMs,
    workers: config.containerLogMaxWorkers,
  };
}

function imageGcOptions(config: AgentConfig): ImageGcOptions {
  return {
    highThresholdPercent: config.imageGcHighThresholdPercent,
    lowThresholdPercent: config.imageGcLowThresholdPercent,
    minimumAgeMs: config.imageMinimumGcAgeMs,
    maximumAgeMs: config.imageMaximumGcAgeMs,
    node: nodeObject(config),
  };
}

function* neededImages(podConfig: PodConfig): Iterable<string> {
  for (const { spec } of podConfig.named()) {
    for (const container of allContainers(spec)) if (container.image !== undefined) yield container.image;
    for (const volume of spec.volumes ?? []) if (volume.image?.reference !== undefined) yield volume.image.reference;
  }
}
