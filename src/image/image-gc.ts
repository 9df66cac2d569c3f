// Removes images nobody needs when the disk fills up or they grow old (L-373 … L-378). Never removed: what a container
// record, a manifest or the sandbox names, what the runtime pins, and what came from imagesDir; and nothing as long as
// not every source was read (L-018): a machine without a registry must stay startable.
import { statfs } from 'node:fs/promises';
import type { EventObject, EventSink } from '../api/events.ts';
import type { CallOptions, Runtime, RuntimeImage } from '../runtime/runtime.ts';
import type { Clock, Instant } from '../std/clock.ts';
import { AgentError, messageOf } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import type { Counter, Metrics } from '../std/metrics.ts';
import { canonicalName } from './reference.ts';

export interface ImageGcOptions {
  /** Used space of the image filesystem, in percent, from which images are removed, and down to which; 100 and above: never. */
  readonly highThresholdPercent: number;
  readonly lowThresholdPercent: number;
  /** No image is removed sooner than this after it was first seen. */
  readonly minimumAgeMs: number;
  /** Images not used for this long are removed however empty the disk is; 0: never. */
  readonly maximumAgeMs: number;
  /** What events about the disk are about. */
  readonly node: EventObject;
}

export interface DiskUsage {
  readonly capacityBytes: number;
  readonly availableBytes: number;
}

export interface ImageGcDeps {
  readonly runtime: Pick<Runtime, 'listImages' | 'listContainers' | 'removeImage' | 'imageFsInfo'>;
  readonly clock: Clock;
  readonly events: EventSink;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Every image named by a desired Pod (containers and image volumes). */
  readonly neededImages: () => Iterable<string>;
  /** What sandboxes are made of. */
  readonly sandboxImages: (options: CallOptions) => Promise<readonly string[]>;
  /** Whether every source was read, so that `neededImages` is all there is. */
  readonly sourcesReady: () => boolean;
  /** True for an image that was imported from `imagesDir`. */
  readonly isOffline: (image: RuntimeImage, canonicalName: string) => boolean;
  /** The filesystem that holds `path`. */
  readonly diskUsage: (path: string) => Promise<DiskUsage>;
}

interface Seen {
  readonly firstSeen: Instant;
  /** Undefined: never seen in use. */
  readonly lastUsed: Instant | undefined;
}

interface Candidate extends Seen {
  readonly image: RuntimeImage;
}

const periodMs = 5 * 60_000;

export async function diskUsage(path: string): Promise<DiskUsage> {
  const { bavail, blocks, bsize } = await statfs(path);
  return { capacityBytes: blocks * bsize, availableBytes: bavail * bsize };
}

export class ImageGc {
  #options: ImageGcOptions;
  readonly #deps: ImageGcDeps;
  readonly #startedAt: Instant;
  #seen = new Map<string, Seen>();

  readonly #removed: Counter;

  constructor(options: ImageGcOptions, deps: ImageGcDeps) {
    this.#removed = deps.metrics.counter({
      name: 'kubelet_image_garbage_collected_total',
      help: '[ALPHA] Images that were removed, by why',
      labels: ['reason'],
    });
    this.#options = options;
    this.#deps = deps;
    this.#startedAt = deps.clock.now();
  }

  /** Holds from the next collection on. */
  configure(options: ImageGcOptions): void {
    this.#options = options;
  }

  /** Looks at once, then collects every five minutes until the signal aborts; failures are told, not thrown (L-377). */
  async run({ signal }: CallOptions): Promise<void> {
    let failures = 0;
    for (let isFirst = true; ; isFirst = false) {
      try {
        if (isFirst) await this.detect({ signal });
        else await this.collect({ signal });
        failures = 0;
      } catch (error) {
        signal.throwIfAborted();
        failures += 1;
        this.#deps.logger.warn('image garbage collection failed', { error });
        if (failures > 1) this.#deps.events.record(this.#options.node, 'Warning', 'ImageGCFailed', messageOf(error));
      }
      await this.#deps.clock.sleep(periodMs, signal);
    }
  }

  /** Notes which images there are and which are in use; gives those nobody needs, least recently used first (L-373 … L-375). */
  async detect({ signal }: CallOptions): Promise<readonly Candidate[]> {
    const { clock, runtime } = this.#deps;
    const images = await runtime.listImages({ signal });
    const containers = await runtime.listContainers({}, { signal });
    const sandboxImages = await this.#deps.sandboxImages({ signal });
    const now = clock.now();
    const used = new Set(containers.flatMap(({ image, imageId, imageRef }) => [imageId, imageRef, canonicalName(image)]));
    const needed = new Set([...sandboxImages, ...this.#deps.neededImages()].flatMap((name) => [name, canonicalName(name)]));

    const seen = new Map<string, Seen>();
    const candidates: Candidate[] = [];
    for (const image of images) {
      const names = namesOf(image);
      const before = this.#seen.get(image.id);
      const isUsed = names.some((name) => used.has(name));
      const entry = { firstSeen: before?.firstSeen ?? now, lastUsed: isUsed ? now : before?.lastUsed };
      seen.set(image.id, entry);
      const isKept = isUsed || image.pinned || names.some((name) => needed.has(name) || this.#deps.isOffline(image, name));
      if (!isKept) candidates.push({ image, ...entry });
    }
    this.#seen = seen;
    if (!this.#deps.sourcesReady()) return [];
    return candidates.sort((a, b) => (a.lastUsed ?? 0) - (b.lastUsed ?? 0) || a.firstSeen - b.firstSeen);
  }

  /** One pass: by age, then by disk space. Throws when something could not be measured or removed. */
  async collect({ signal }: CallOptions): Promise<void> {
    const errors: unknown[] = [];
    await this.#removeOld(await this.detect({ signal }), errors, signal);
    await this.#relieveDisk(errors, signal);
    if (errors.length > 0) throw errors[0];
  }

  /** Removes whatever may be removed, down to nothing: for disk pressure. Gives the bytes freed. */
  async removeUnused({ signal }: CallOptions): Promise<number> {
    return this.#free(Number.POSITIVE_INFINITY, [], signal);
  }

  /** Not before the agent itself has seen so much time pass: a restart postpones it (L-378, C-381). */
  async #removeOld(candidates: readonly Candidate[], errors: unknown[], signal: AbortSignal): Promise<void> {
    const { maximumAgeMs } = this.#options;
    const now = this.#deps.clock.now();
    if (maximumAgeMs <= 0 || now - this.#startedAt <= maximumAgeMs) return;
    for (const { image, lastUsed } of candidates) {
      if (now - (lastUsed ?? Number.NEGATIVE_INFINITY) > maximumAgeMs) await this.#remove(image, 'unused for too long', errors, signal);
    }
  }

  async #relieveDisk(errors: unknown[], signal: AbortSignal): Promise<void> {
    const { events, runtime } = this.#deps;
    const { highThresholdPercent, lowThresholdPercent, node } = this.#options;
    if (highThresholdPercent >= 100) return;
    const [filesystem] = await runtime.imageFsInfo({ signal });
    if (filesystem === undefined) throw new AgentError('image-filesystem', 'the runtime names no image filesystem');
    const disk = await this.#deps.diskUsage(filesystem.mountpoint);
    const { capacityBytes } = disk;
    if (capacityBytes === 0) {
      const message = 'invalid capacity 0 on image filesystem';
      events.record(node, 'Warning', 'InvalidDiskCapacity', message);
      throw new AgentError('image-filesystem', message);
    }
    const availableBytes = Math.min(disk.availableBytes, capacityBytes);
    const usedPercent = 100 - Math.floor((availableBytes * 100) / capacityBytes);
    if (usedPercent < highThresholdPercent) return;
    const wanted = Math.floor((capacityBytes * (100 - lowThresholdPercent)) / 100) - availableBytes;
    const freed = await this.#free(wanted, errors, signal);
    if (freed >= wanted) return;
    const message =
      `Insufficient free disk space on the node's image filesystem (${usedPercent}% of ${formatSize(capacityBytes)} used). ` +
      `Failed to free sufficient space by deleting unused images (freed ${freed} bytes). ` +
      'Investigate disk usage, as it could be used by active images, logs, volumes, or other data.';
    events.record(node, 'Warning', 'FreeDiskSpaceFailed', message);
    throw new AgentError('free-disk-space', message);
  }

  async #free(wanted: number, errors: unknown[], signal: AbortSignal): Promise<number> {
    let freed = 0;
    for (const { image, firstSeen } of await this.detect({ signal })) {
      if (freed >= wanted) break;
      if (this.#deps.clock.now() - firstSeen < this.#options.minimumAgeMs) continue;
      if (await this.#remove(image, 'disk space', errors, signal)) freed += image.sizeBytes;
    }
    return freed;
  }

  async #remove(image: RuntimeImage, why: string, errors: unknown[], signal: AbortSignal): Promise<boolean> {
    try {
      await this.#deps.runtime.removeImage({ image: image.id }, { signal });
      this.#seen.delete(image.id);
      this.#removed.inc({ reason: why === 'disk space' ? 'space' : 'age' });
      this.#deps.logger.info('image removed', { image: image.repoTags[0] ?? image.id, sizeBytes: image.sizeBytes, why });
      return true;
    } catch (error) {
      signal.throwIfAborted();
      this.#deps.logger.warn('an image cannot be removed', { image: image.repoTags[0] ?? image.id, error });
      errors.push(error);
      return false;
    }
  }
}

/** Everything the image may be called, in the form names are compared in. */
function namesOf({ id, repoTags, repoDigests }: RuntimeImage): readonly string[] {
  return [id, ...repoTags, ...repoDigests, ...repoTags.map(canonicalName), ...repoDigests.map(canonicalName)];
}

function formatSize(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(units.length - 1, bytes < 1 ? 0 : Math.floor(Math.log2(bytes) / 10));
  return `${(bytes / 1024 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`;
}
