// Who may use the kubelet's port: client certificate, then bearer token, then anonymous; then either everybody known
// or a question to the cluster (section 3.4).
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Clock } from '../../std/clock.ts';
import { messageOf } from '../../std/errors.ts';
import type { Logger } from '../../std/log.ts';
import { certificateUser } from '../certificate-user.ts';
import type { User } from '../user.ts';
import { verbs } from '../verbs.ts';
import type { ReviewView } from '../views.ts';

export interface KubeletAuthOptions {
  readonly anonymous: boolean;
  /** TokenReviews; needs `deps.reviews`. */
  readonly webhook: boolean;
  readonly tokenTtlMs: number;
  readonly mode: 'AlwaysAllow' | 'Webhook';
  readonly authorizedTtlMs: number;
  readonly unauthorizedTtlMs: number;
}

export interface KubeletAuthDeps {
  /** Undefined on a standalone node. */
  readonly reviews?: ReviewView | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

export const anonymousUser: User = { name: 'system:anonymous', groups: ['system:unauthenticated'] };

/** Answers kept for a while, bounded. */
class ExpiringCache<V> {
  readonly #entries = new Map<string, { readonly value: V; readonly until: number }>();
  readonly #clock: Clock;
  readonly #max: number;

  constructor(max: number, clock: Clock) {
    this.#max = max;
    this.#clock = clock;
  }

  get(key: string): V | undefined {
    const entry = this.#entries.get(key);
    return entry === undefined || entry.until <= this.#clock.elapsed() ? undefined : entry.value;
  }

  set(key: string, value: V, ttlMs: number): void {
    this.#entries.delete(key);
    this.#entries.set(key, { value, until: this.#clock.elapsed() + ttlMs });
    const oldest = this.#entries.size > this.#max ? this.#entries.keys().next().value : undefined;
    if (oldest !== undefined) this.#entries.delete(oldest);
  }
}

/** What the path is in terms of the `nodes` resource: any of these subresources suffices (H-301c). */
export function subresourcesOf(path: string): readonly string[] {
  const first = path.split('/')[1] ?? '';
  switch (first) {
    case 'pods':
    case 'runningpods':
      return ['pods', 'proxy'];
    case 'healthz':
      return ['healthz', 'proxy'];
    case 'configz':
      return ['configz', 'proxy'];
    case 'stats':
      return ['stats'];
    case 'metrics':
      return ['metrics'];
    case 'logs':
      return ['log'];
    case 'checkpoint':
      return ['checkpoint'];
    case 'statusz':
      return ['statusz'];
    case 'flagz':
      return ['configz'];
    default:
      return ['proxy'];
  }
}

export type Authorization = { readonly allowed: true } | { readonly allowed: false; readonly code: 403 | 500; readonly message: string };

export class KubeletAuth {
  readonly #options: KubeletAuthOptions;
  readonly #reviews: ReviewView | undefined;
  readonly #log: Logger;
  /** By digest: a token is not kept longer than its request. */
  readonly #tokens: ExpiringCache<{ readonly user: User | undefined }>;
  readonly #decisions: ExpiringCache<boolean>;

  constructor(options: KubeletAuthOptions, deps: KubeletAuthDeps) {
    this.#options = options;
    this.#reviews = deps.reviews;
    this.#log = deps.log;
    this.#tokens = new ExpiringCache(512, deps.clock);
    this.#decisions = new ExpiringCache(2048, deps.clock);
  }

  /** Undefined: a 401. A wrong token is one even where anonymous callers are welcome. */
  async authenticate(request: IncomingMessage, signal: AbortSignal): Promise<User | undefined> {
    const byCertificate = certificateUser(request);
    if (byCertificate !== undefined) return byCertificate;
    const token = /^bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
    if (token !== undefined) return await this.#userOfToken(token, signal);
    return this.#options.anonymous ? anonymousUser : undefined;
  }

  async #userOfToken(token: string, signal: AbortSignal): Promise<User | undefined> {
    if (!this.#options.webhook || this.#reviews === undefined) return undefined;
    const key = createHash('sha256').update(token).digest('base64');
    const known = this.#tokens.get(key);
    if (known !== undefined) return known.user;
    try {
      const user = await this.#reviews.tokenReview(token, { signal });
      this.#tokens.set(key, { user }, this.#options.tokenTtlMs);
      return user;
    } catch (error) {
      this.#log.warn('cannot ask the API server about a token', { error: messageOf(error) });
      return undefined;
    }
  }

  async authorize(user: User, method: string, path: string, signal: AbortSignal): Promise<Authorization> {
    if (this.#options.mode === 'AlwaysAllow') return { allowed: true };
    const verb = verbs[method] ?? '';
    const subresources = subresourcesOf(path);
    const attributes = `(user=${user.name}, verb=${verb}, resource=nodes, subresource(s)=[${subresources.join(' ')}])`;
    const reviews = this.#reviews;
    if (reviews === undefined) return { allowed: false, code: 500, message: `Authorization error ${attributes}` };
    try {
      for (const subresource of subresources) {
        const key = JSON.stringify([user.name, user.uid, [...user.groups].sort(), user.extra, verb, subresource]);
        let allowed = this.#decisions.get(key);
        if (allowed === undefined) {
          allowed = await reviews.subjectAccessReview({ user, verb, subresource, path }, { signal });
          this.#decisions.set(key, allowed, allowed ? this.#options.authorizedTtlMs : this.#options.unauthorizedTtlMs);
        }
        if (allowed) return { allowed: true };
      }
    } catch (error) {
      this.#log.warn('cannot ask the API server for an authorization', { user: user.name, path, error: messageOf(error) });
      return { allowed: false, code: 500, message: `Authorization error ${attributes}` };
    }
    return { allowed: false, code: 403, message: `Forbidden ${attributes}` };
  }
}
