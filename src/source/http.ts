// The URL source: a URL that answers with a Pod or a list of Pods → complete snapshots. A failing, empty or unusable
// answer keeps the last good one running, also over a restart (D1); `follow` is the kubelet's behaviour (S-059 … S-077).
import { Deadline, linkSignals } from '../std/async.ts';
import { type Clock, fromRfc3339, type Instant } from '../std/clock.ts';
import { AgentError, messageOf } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import { jitter, type Random } from '../std/random.ts';
import { manifestLimitBytes } from './file.ts';
import { type HttpAnswer, type HttpGet, withoutCredentials } from './http-get.ts';
import type { LastGood } from './last-good.ts';
import { combine, type Outcome, type ParsedManifest, type ParseManifest } from './manifest-set.ts';
import type { PodSource, SourceSnapshot } from './source.ts';

export interface HttpSourceOptions {
  readonly url: string;
  readonly headers: Readonly<Record<string, readonly string[]>>;
  readonly httpCheckFrequencyMs: number;
  readonly sourceFaultPolicy: 'keep' | 'follow';
}

export interface HttpSourceDeps {
  readonly get: HttpGet;
  readonly parse: ParseManifest;
  readonly lastGood: LastGood;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** Connecting, redirects and body together (S-062). */
const requestTimeoutMs = 10_000;
/** With Pods from an earlier life at hand, a silent network must not hold them up. */
const firstTimeoutWithKeptMs = 2000;
/** A server may ask for this much patience (`Retry-After`). */
const longestRetryAfterMs = 600_000;
const failuresLogged = 3;

interface State {
  readonly outcome: Outcome;
  readonly pods: ParsedManifest['pods'];
  readonly fault: string | undefined;
}

export class HttpSource implements PodSource {
  readonly name = 'http';
  readonly #options: HttpSourceOptions;
  readonly #deps: HttpSourceDeps;
  /** Without credentials: for people, logs and the disk. */
  readonly #shownUrl: string;
  #state: State = { outcome: { kind: 'accepted' }, pods: [], fault: undefined };
  /** A good answer has been seen, in this life or an earlier one. */
  #isRead = false;
  /** The newest body, and for which version of it to ask not to be told again. */
  #body: Buffer | undefined;
  #etag: string | undefined;
  #lastModified: string | undefined;
  #failures = 0;

  constructor(options: HttpSourceOptions, deps: HttpSourceDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#shownUrl = withoutCredentials(new URL(options.url));
  }

  /** To be iterated once. */
  async *snapshots({ signal }: { readonly signal: AbortSignal }): AsyncGenerator<SourceSnapshot> {
    const { clock } = this.#deps;
    try {
      let timeoutMs = (await this.#restore()) ? firstTimeoutWithKeptMs : requestTimeoutMs;
      let last: State | undefined;
      while (!signal.aborted) {
        const waitMs = await this.#ask(timeoutMs, signal);
        timeoutMs = requestTimeoutMs;
        if (last === undefined || isChange(last, this.#state)) {
          last = this.#state;
          yield this.#snapshot(this.#state);
        }
        await clock.sleep(waitMs, signal);
      }
    } catch (error) {
      if (!signal.aborted || error !== signal.reason) throw error;
    }
  }

  /** One request and what follows from it. Answers how long to wait for the next one. */
  async #ask(timeoutMs: number, signal: AbortSignal): Promise<number> {
    const { httpCheckFrequencyMs } = this.#options;
    try {
      const answer = await this.#get(timeoutMs, signal);
      const fault = await this.#use(answer);
      if (fault === undefined) {
        if (this.#failures > 0) this.#deps.log.info('The URL of manifests can be read again', { source: this.name, url: this.#shownUrl });
        this.#failures = 0;
        return httpCheckFrequencyMs;
      }
      this.#failed(fault);
      return Math.max(this.#backOffMs(), retryAfterMs(answer, this.#deps.clock.now()));
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      this.#failed(`${this.#shownUrl}: ${describe(error)}`);
      return this.#backOffMs();
    }
  }

  async #get(timeoutMs: number, signal: AbortSignal): Promise<HttpAnswer> {
    const { url, headers, sourceFaultPolicy } = this.#options;
    const link = linkSignals(signal);
    const timer = linkSignals(link.signal);
    const expire = async (): Promise<void> => {
      try {
        await this.#deps.clock.sleep(timeoutMs, timer.signal);
        link.abort(new Deadline(`no complete answer within ${timeoutMs / 1000} s`));
      } catch {
        // The answer was first.
      }
    };
    const expired = expire();
    const isConditional = sourceFaultPolicy === 'keep';
    try {
      return await this.#deps.get(
        {
          url,
          headers,
          limitBytes: manifestLimitBytes,
          ...(isConditional ? { ifNoneMatch: this.#etag, ifModifiedSince: this.#lastModified } : {}),
        },
        { signal: link.signal },
      );
    } finally {
      timer.abort(undefined);
      await expired;
      timer[Symbol.dispose]();
      link[Symbol.dispose]();
    }
  }

  /** Answers what is wrong with the answer, or undefined. */
  async #use(answer: HttpAnswer): Promise<string | undefined> {
    const isFollowing = this.#options.sourceFaultPolicy === 'follow';
    if (answer.status === 304 && this.#body !== undefined) return this.#unchanged();
    if (answer.status !== 200) return `${this.#shownUrl}: ${answer.status} ${answer.statusText}`.trimEnd(); // S-064
    if (answer.bytes.length === 0) {
      // S-065: no Pods, and the body before stays the one that is compared with (S-066).
      if (isFollowing) {
        this.#isRead = true;
        this.#state = { ...this.#state, pods: [], outcome: { kind: 'accepted' } };
      }
      return `zero-length data received from ${this.#shownUrl}`;
    }
    const body = Buffer.from(answer.bytes);
    if (this.#body?.equals(body) === true) {
      this.#remember(answer, body);
      return isFollowing ? undefined : this.#unchanged(); // S-067
    }
    const parsed = this.#parse(body);
    this.#remember(answer, body); // S-068: before it is known to be good
    if (parsed.problems.length > 0) return this.#reject(parsed, answer);
    if (parsed.pods.length === 0 && !isFollowing && this.#state.pods.length > 0) {
      return `${this.#shownUrl}: the answer is a list without Pods`;
    }
    this.#state = { outcome: { kind: 'accepted' }, pods: parsed.pods, fault: undefined };
    this.#isRead = true;
    if (!isFollowing) await this.#deps.lastGood.keep(this.#shownUrl, body);
    return undefined;
  }

  /** The server says again what it said before: what was wrong with that still is. */
  #unchanged(): string | undefined {
    const { outcome } = this.#state;
    if (outcome.kind === 'rejected') return `${this.#shownUrl}: the answer cannot be used`;
    this.#state = { ...this.#state, fault: undefined };
    return undefined;
  }

  #remember({ etag, lastModified }: HttpAnswer, body: Buffer): void {
    this.#body = body;
    this.#etag = etag;
    this.#lastModified = lastModified;
  }

  #parse(bytes: Uint8Array): ParsedManifest {
    try {
      return this.#deps.parse(bytes, this.#options.url);
    } catch (error) {
      return { pods: [], problems: [{ field: '', message: messageOf(error) }] };
    }
  }

  #reject({ problems, name }: ParsedManifest, { contentType, bytes }: HttpAnswer): string {
    const isPage = contentType?.startsWith('text/html') === true || /^\s*</.test(Buffer.from(bytes.subarray(0, 100)).toString('latin1'));
    const why = isPage ? [{ field: '', message: 'the answer is a web page, not a manifest' }] : problems;
    this.#state = { ...this.#state, outcome: { kind: 'rejected', problems: why, name } };
    return `${this.#shownUrl}: ${isPage ? 'the answer is a web page, not a manifest' : 'the answer cannot be used'}`;
  }

  #failed(fault: string): void {
    const { log } = this.#deps;
    this.#failures += 1;
    this.#state = { ...this.#state, fault };
    const fields = { source: this.name, err: fault, failures: this.#failures };
    // S-075: a URL that fails for days does not fill the log.
    if (this.#failures <= failuresLogged) log.warn('Failed to read Pods from URL', fields);
    else if (this.#failures === failuresLogged + 1)
      log.warn('Failed to read Pods from URL; further failures are only logged for debugging', fields);
    else log.debug('Failed to read Pods from URL', fields);
  }

  /** Quick at first, since a machine that starts has no network yet; never slower than the ordinary pace. */
  #backOffMs(): number {
    const { httpCheckFrequencyMs, sourceFaultPolicy } = this.#options;
    if (sourceFaultPolicy === 'follow') return httpCheckFrequencyMs; // S-061
    const doubled = 1000 * 2 ** Math.min(this.#failures - 1, 20);
    return doubled < httpCheckFrequencyMs
      ? Math.min(jitter(this.#deps.random, doubled, 0.5), httpCheckFrequencyMs)
      : jitter(this.#deps.random, httpCheckFrequencyMs, 0.1);
  }

  #snapshot({ outcome, pods, fault }: State): SourceSnapshot {
    const set = combine([{ path: this.#shownUrl, outcome, goodPods: pods }]);
    return {
      source: this.name,
      pods: set.pods,
      shadowed: set.shadowed,
      manifests: this.#isRead || outcome.kind === 'rejected' ? set.reports : [],
      fault,
      ...(this.#isRead ? {} : { unread: true as const }),
      readAt: this.#deps.clock.now(),
    };
  }

  /** The last good answer of an earlier life: a reboot without a network starts its Pods. */
  async #restore(): Promise<boolean> {
    if (this.#options.sourceFaultPolicy === 'follow') return false;
    const all = await this.#deps.lastGood.load();
    // Of a URL that is not configured any more.
    for (const path of all.keys()) if (/^https?:/.test(path) && path !== this.#shownUrl) await this.#deps.lastGood.forget(path);
    const kept = all.get(this.#shownUrl);
    if (kept === undefined) return false;
    const { pods, problems } = this.#parse(kept);
    if (problems.length > 0) {
      this.#deps.log.warn('The kept answer of the URL cannot be used any more', { source: this.name });
      return false;
    }
    this.#state = { outcome: { kind: 'accepted' }, pods, fault: undefined };
    this.#isRead = true;
    return true;
  }
}

function isChange(a: State, b: State): boolean {
  return a.pods !== b.pods || a.fault !== b.fault || JSON.stringify(a.outcome) !== JSON.stringify(b.outcome);
}

const causes: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'the connection was cut',
  ENOTFOUND: 'the host name is unknown',
  EAI_AGAIN: 'the host name cannot be resolved now',
  ENETUNREACH: 'the network is unreachable',
  EHOSTUNREACH: 'the host is unreachable',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'the certificate is not signed by a known authority',
  SELF_SIGNED_CERT_IN_CHAIN: 'the certificate is not signed by a known authority',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'the certificate is not signed by a known authority',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'the certificate is not signed by a known authority',
  CERT_HAS_EXPIRED: 'the certificate has expired',
  ERR_TLS_CERT_ALTNAME_INVALID: 'the certificate is for another host',
  Z_BUF_ERROR: 'the compressed answer is cut off',
  Z_DATA_ERROR: 'the compressed answer is damaged',
};

/** For people; the texts of Node's errors may have parts of headers in them, so they are used for known codes only. */
function describe(error: unknown): string {
  if (error instanceof AgentError) return error.message;
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  if (code === undefined) return 'the request failed';
  return causes[code] ?? `the request failed (${code})`;
}

function retryAfterMs({ status, retryAfter }: HttpAnswer, now: Instant): number {
  if (retryAfter === undefined || (status !== 429 && status !== 503)) return 0;
  const ms = /^\d+$/.test(retryAfter) ? Number.parseInt(retryAfter, 10) * 1000 : (fromRfc3339(retryAfter) ?? now) - now;
  return Math.min(Math.max(0, ms), longestRetryAfterMs);
}
