// Makes sure an image is on the machine before a container (or an image volume) needs it: pull policy, credentials,
// back-off, rate (L-343 … L-359). A machine without a registry keeps starting what it has: decision note
// docs/decisions/0010-always-pull-without-a-registry.md.
import type { EventObject, EventSink } from '../api/events.ts';
import type { Pod } from '../api/pod.ts';
import type { ImageAuth, ImageSpec, PodSandboxConfig } from '../pod/runtime-config.ts';
import type { CallOptions, Runtime, RuntimeImage } from '../runtime/runtime.ts';
import { linkSignals } from '../std/async.ts';
import type { Clock, Instant } from '../std/clock.ts';
import { formatDuration } from '../std/duration.ts';
import { messageOf } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import type { Counter, Histogram, Metrics } from '../std/metrics.ts';
import type { CredentialSource } from './credentials.ts';
import { PullBackoff, type PullFailure } from './pull-backoff.ts';
import { PullRateExceeded, pullFailure } from './pull-errors.ts';
import { PullQueue, TokenBucket } from './pull-queue.ts';
import { canonicalName, type ImageReference, repositoryOf, withDefaultTag } from './reference.ts';

export interface ImagePullerOptions {
  /** How many pulls may run at once: 1 when serialized (L-357), Infinity when unbounded. */
  readonly maxParallelPulls: number;
  /** `registryPullQPS`; 0 means no limit (L-358). */
  readonly pullsPerSecond: number;
  readonly pullBurst: number;
  /** Default 10 s and 300 s (L-353). */
  readonly backoff?: { readonly initialMs: number; readonly maxMs: number };
  /**
   * What `imagePullPolicy: Always` does when no registry answers and the image is on the machine: use it and say so
   * (default), or fail as the kubelet does.
   */
  readonly whenUnreachable?: 'useLocal' | 'fail';
}

export interface ImagePullerDeps {
  readonly runtime: Pick<Runtime, 'imageStatus' | 'pullImage'>;
  readonly clock: Clock;
  readonly events: EventSink;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly credentials: CredentialSource;
  /** True for an image that was imported from `imagesDir`: no registry is asked for it, whatever the policy. */
  readonly isOffline: (image: RuntimeImage, canonicalName: string) => boolean;
}

export interface EnsureImage {
  readonly pod: Pod;
  /** What the events are about: the Pod with a container's field path (L-215), or the Pod alone for an image volume. */
  readonly object: EventObject;
  /** The text in the manifest. */
  readonly reference: string;
  /** `Always`, `IfNotPresent` or `Never`; defaulted by the tag when absent (L-347). */
  readonly pullPolicy: string | undefined;
  readonly sandboxConfig: PodSandboxConfig;
}

export type ImageResult =
  | {
      readonly kind: 'present';
      /** What `CreateContainer` takes (L-355). */
      readonly imageRef: string;
      /** Undefined only when the runtime could not describe an image it just pulled. */
      readonly image: RuntimeImage | undefined;
    }
  | {
      readonly kind: 'failed';
      /** The waiting reason, verbatim: `ErrImagePull`, `ImagePullBackOff`, `ErrImageNeverPull`, … */
      readonly reason: string;
      readonly message: string;
      /** When another call may get further; undefined when time alone changes nothing. */
      readonly retryAt: Instant | undefined;
    };

/** First report of a pull that takes long; the next ones after twice, four times … as long. */
const firstProgressMs = 60_000;

const sizeBuckets: readonly (readonly [number, string])[] = [
  [10, '0-10MB'],
  [100, '10MB-100MB'],
  [500, '100MB-500MB'],
  [1000, '500MB-1GB'],
  [5000, '1GB-5GB'],
  [10_000, '5GB-10GB'],
  [20_000, '10GB-20GB'],
  [30_000, '20GB-30GB'],
  [40_000, '30GB-40GB'],
  [60_000, '40GB-60GB'],
  [100_000, '60GB-100GB'],
];

export class ImagePuller {
  readonly #deps: ImagePullerDeps;
  readonly #whenUnreachable: 'useLocal' | 'fail';
  readonly #queue: PullQueue;
  readonly #bucket: TokenBucket;
  readonly #backoff: PullBackoff;
  readonly #durations: Histogram;
  readonly #fallbacks: Counter;
  readonly #requests: Counter;

  constructor(options: ImagePullerOptions, deps: ImagePullerDeps) {
    this.#deps = deps;
    this.#whenUnreachable = options.whenUnreachable ?? 'useLocal';
    this.#queue = new PullQueue(options.maxParallelPulls, deps);
    this.#bucket = new TokenBucket({ perSecond: options.pullsPerSecond, burst: options.pullBurst }, deps);
    this.#backoff = new PullBackoff(options.backoff ?? { initialMs: 10_000, maxMs: 300_000 });
    this.#durations = deps.metrics.histogram({
      name: 'kubelet_image_pull_duration_seconds',
      help: 'Duration in seconds to pull an image.',
      labels: ['image_size_in_bytes'],
      buckets: [1, 5, 10, 20, 30, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600],
    });
    this.#requests = deps.metrics.counter({
      name: 'kubelet_image_manager_ensure_image_requests_total',
      help: '[ALPHA] Images that were needed, by whether they were there and had to be pulled',
      labels: ['present_locally', 'pull_policy', 'pull_required'],
    });
    this.#fallbacks = deps.metrics.counter({
      name: 'pinpod_image_local_fallbacks_total',
      help: 'Starts with a local image under the pull policy Always because no registry could be reached.',
    });
  }

  /**
   * Resolves when the image can be used, or with the reason why not; records every event of section 7.1, the
   * container's `Error: <reason>` included. A failure is a value; only an abort rejects, with `signal.reason`. Aborting
   * ends a pull under way and leaves the queue. Safe to call again at any time.
   */
  async ensure(request: EnsureImage, { signal }: CallOptions): Promise<ImageResult> {
    const result = await this.#ensure(request, signal);
    if (result.kind === 'failed') this.#record(request, 'Warning', 'Failed', `Error: ${result.reason}`);
    return result;
  }

  async #ensure(request: EnsureImage, signal: AbortSignal): Promise<ImageResult> {
    const named = withDefaultTag(request.reference);
    if (named.kind === 'invalid') {
      const message = `Failed to apply default image tag ${JSON.stringify(request.reference)}: ${named.error}`;
      this.#record(request, 'Warning', 'InspectFailed', message);
      return { kind: 'failed', reason: 'InvalidImageName', message, retryAt: undefined };
    }
    const { image, reference } = named;
    const policy = request.pullPolicy ?? (reference.tag === 'latest' || image !== request.reference ? 'Always' : 'IfNotPresent');

    const found = await this.#find(request, image, signal);
    this.#count(policy, found);
    if (policy !== 'Always') {
      if (found.kind === 'failed') {
        this.#record(request, 'Warning', 'InspectFailed', found.message);
        return { kind: 'failed', reason: 'ImageInspectError', message: found.message, retryAt: undefined };
      }
      if (found.image !== undefined) return this.#alreadyPresent(request, image, found.image);
      if (policy === 'Never') {
        const message = `Container image ${JSON.stringify(image)} is not present with pull policy of Never`;
        this.#record(request, 'Warning', 'ErrImageNeverPull', message);
        return { kind: 'failed', reason: 'ErrImageNeverPull', message, retryAt: undefined };
      }
    }
    const local = found.kind === 'found' ? found.image : undefined;
    if (local !== undefined && this.#deps.isOffline(local, canonicalName(image))) return this.#alreadyPresent(request, image, local);
    return this.#pullOrFallBack(request, image, reference, local, signal);
  }

  /** H-394. What could not be looked at is unknown; whether a pull is needed is too, unless the policy says it. */
  #count(policy: string, found: { readonly kind: 'found'; readonly image: RuntimeImage | undefined } | { readonly kind: 'failed' }): void {
    const present = found.kind === 'failed' ? 'unknown' : found.image === undefined ? 'false' : 'true';
    const absent = { true: 'false', false: 'true', unknown: 'unknown' }[present];
    const required = policy === 'Always' ? 'true' : policy === 'Never' ? 'false' : absent;
    this.#requests.inc({ present_locally: present, pull_policy: policy.toLowerCase(), pull_required: required });
  }

  /** The local image, by the name as written and, where the runtime does not expand short names, by the full one. */
  async #find(
    request: EnsureImage,
    image: string,
    signal: AbortSignal,
  ): Promise<{ readonly kind: 'found'; readonly image: RuntimeImage | undefined } | { readonly kind: 'failed'; readonly message: string }> {
    const { runtime } = this.#deps;
    try {
      const asWritten = await runtime.imageStatus(imageSpec(request, image), { signal });
      const full = canonicalName(image);
      if (asWritten !== undefined || full === image) return { kind: 'found', image: asWritten };
      return { kind: 'found', image: await runtime.imageStatus(imageSpec(request, full), { signal }) };
    } catch (error) {
      signal.throwIfAborted();
      return { kind: 'failed', message: `Failed to inspect image "": ${messageOf(error)}` };
    }
  }

  #alreadyPresent(request: EnsureImage, image: string, local: RuntimeImage): ImageResult {
    const message = `Container image ${JSON.stringify(image)} already present on machine and can be accessed by the pod`;
    this.#record(request, 'Normal', 'Pulled', message);
    return { kind: 'present', imageRef: local.id, image: local };
  }

  async #pullOrFallBack(
    request: EnsureImage,
    image: string,
    reference: ImageReference,
    local: RuntimeImage | undefined,
    signal: AbortSignal,
  ): Promise<ImageResult> {
    const key = `${request.pod.metadata.uid}_${image}`;
    const waiting = this.#backoff.waiting(key, this.#deps.clock.now());
    if (waiting !== undefined) {
      if (this.#mayFallBack(waiting.failure, local)) return this.#fallBack(request, image, local, waiting.failure);
      const message = `Back-off pulling image ${JSON.stringify(image)}`;
      this.#record(request, 'Normal', 'BackOff', message);
      const { reason, message: previous } = waiting.failure;
      return { kind: 'failed', reason: 'ImagePullBackOff', message: `${message}: ${reason}: ${previous}`, retryAt: waiting.until };
    }
    const pulled = await this.#pull(request, image, reference, signal);
    if (pulled.kind === 'present') {
      this.#backoff.forgetStale(this.#deps.clock.now());
      return pulled;
    }
    const { failure } = pulled;
    this.#backoff.failed(key, failure, this.#deps.clock.now());
    if (this.#mayFallBack(failure, local)) return this.#fallBack(request, image, local, failure);
    this.#record(request, 'Warning', 'Failed', `Failed to pull image ${JSON.stringify(image)}: ${failure.message}`);
    // To be asked again soon: the answer then is the back-off (C-264).
    return { kind: 'failed', reason: failure.reason, message: failure.message, retryAt: undefined };
  }

  #mayFallBack(failure: PullFailure, local: RuntimeImage | undefined): local is RuntimeImage {
    return this.#whenUnreachable === 'useLocal' && failure.unreachable && local !== undefined;
  }

  #fallBack(request: EnsureImage, image: string, local: RuntimeImage, failure: PullFailure): ImageResult {
    const message =
      `Registry of image ${JSON.stringify(image)} cannot be reached, using the copy on this machine ` +
      `although the pull policy is Always: ${failure.message}`;
    this.#record(request, 'Warning', 'ImagePullSkipped', message);
    this.#fallbacks.inc();
    return { kind: 'present', imageRef: local.id, image: local };
  }

  async #pull(
    request: EnsureImage,
    image: string,
    reference: ImageReference,
    signal: AbortSignal,
  ): Promise<Extract<ImageResult, { kind: 'present' }> | { readonly kind: 'failed'; readonly failure: PullFailure }> {
    const { clock, runtime } = this.#deps;
    this.#record(request, 'Normal', 'Pulling', `Pulling image ${JSON.stringify(image)}`);
    const askedAt = clock.now();
    try {
      const auths = await this.#deps.credentials.lookup(repositoryOf(reference), { signal });
      const { imageRef, beganAt } = await this.#queue.run(async () => {
        const began = clock.now();
        const pulling = this.#pullWithEach(request, image, auths, signal);
        return { imageRef: await this.#reportingProgress(request, image, pulling, signal), beganAt: began };
      }, signal);
      const endedAt = clock.now();
      const pulled = await this.#describe(imageSpec(request, imageRef), imageSpec(request, image), runtime, signal);
      const size = pulled?.sizeBytes;
      this.#durations.observe((endedAt - beganAt) / 1000, { image_size_in_bytes: sizeLabel(size) });
      this.#record(
        request,
        'Normal',
        'Pulled',
        `Successfully pulled image ${JSON.stringify(image)} in ${formatDuration(endedAt - beganAt)} ` +
          `(${formatDuration(endedAt - askedAt)} including waiting). Image size: ${size ?? 0} bytes.`,
      );
      return { kind: 'present', imageRef, image: pulled };
    } catch (error) {
      signal.throwIfAborted();
      return { kind: 'failed', failure: pullFailure(image, error) };
    }
  }

  /** One call per credential until one succeeds; the last error counts (L-349). */
  async #pullWithEach(request: EnsureImage, image: string, auths: readonly ImageAuth[], signal: AbortSignal): Promise<string> {
    const attempts: readonly (ImageAuth | undefined)[] = auths.length === 0 ? [undefined] : auths;
    let lastError: unknown;
    for (const auth of attempts) {
      if (!this.#bucket.tryTake()) throw new PullRateExceeded();
      try {
        return await this.#deps.runtime.pullImage(
          { image: imageSpec(request, image), auth, sandboxConfig: request.sandboxConfig },
          { signal },
        );
      } catch (error) {
        signal.throwIfAborted();
        lastError = error;
      }
    }
    throw lastError;
  }

  /** CRI tells nothing while it pulls; that the agent is still waiting, and since when, can be said (D5). */
  async #reportingProgress(request: EnsureImage, image: string, pulling: Promise<string>, signal: AbortSignal): Promise<string> {
    const { clock } = this.#deps;
    using watch = linkSignals(signal);
    const beganAt = clock.now();
    const reporting = (async () => {
      for (let wait = firstProgressMs; !watch.signal.aborted; wait *= 2) {
        await clock.sleep(wait, watch.signal);
        this.#record(
          request,
          'Normal',
          'Pulling',
          `Still pulling image ${JSON.stringify(image)} after ${formatDuration(clock.now() - beganAt)}`,
        );
      }
    })();
    try {
      return await pulling;
    } finally {
      watch.abort(undefined);
      // Ends by the abort just made; its rejection carries nothing.
      await reporting.catch(() => undefined);
    }
  }

  async #describe(
    byRef: ImageSpec,
    byName: ImageSpec,
    runtime: ImagePullerDeps['runtime'],
    signal: AbortSignal,
  ): Promise<RuntimeImage | undefined> {
    try {
      return (await runtime.imageStatus(byName, { signal })) ?? (await runtime.imageStatus(byRef, { signal }));
    } catch (error) {
      signal.throwIfAborted();
      this.#deps.logger.warn('a pulled image cannot be inspected', { image: byName.image, error });
      return undefined;
    }
  }

  #record({ object }: EnsureImage, type: 'Normal' | 'Warning', reason: string, message: string): void {
    this.#deps.events.record(object, type, reason, message);
  }
}

/** `image` goes to the runtime; the Pod's annotations go along (L-356). */
function imageSpec({ pod, reference }: EnsureImage, image: string): ImageSpec {
  return { image, userSpecifiedImage: reference, annotations: pod.metadata.annotations };
}

function sizeLabel(bytes: number | undefined): string {
  if (bytes === undefined) return 'N/A';
  const megabytes = bytes / 1_000_000;
  return sizeBuckets.find(([limit]) => megabytes < limit)?.[1] ?? 'GT100GB';
}
