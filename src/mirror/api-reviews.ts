// Asks the API server who a bearer token belongs to and what that user may do on this node (H-300b, H-301). Answers are
// kept for a while; when the server does not answer, the request at our port fails and nothing else does.
import type { Clock, Instant } from '../std/clock.ts';
import { AgentError } from '../std/errors.ts';
import type { FaultBook } from './faults.ts';
import { type KubeApi, paths } from './kube-api.ts';

export interface ReviewedUser {
  readonly name: string;
  readonly uid: string;
  readonly groups: readonly string[];
  readonly extra: Readonly<Record<string, readonly string[]>>;
}

export interface AccessQuestion {
  readonly user: ReviewedUser;
  readonly verb: string;
  /** H-301c: any one of them suffices. */
  readonly subresources: readonly string[];
  readonly path: string;
}

export interface ApiReviewsOptions {
  readonly nodeName: string;
  /** Kubelet defaults: 2 min, 5 min, 30 s. */
  readonly tokenTtlMs: number;
  readonly allowedTtlMs: number;
  readonly deniedTtlMs: number;
}

const maxCached = 1000;

export class ApiReviews {
  readonly #options: ApiReviewsOptions;
  readonly #deps: { readonly api: KubeApi; readonly clock: Clock; readonly faults: FaultBook };
  readonly #tokens = new Map<string, { readonly user: ReviewedUser | undefined; readonly until: Instant }>();
  readonly #access = new Map<string, { readonly allowed: boolean; readonly until: Instant }>();

  constructor(options: ApiReviewsOptions, deps: { readonly api: KubeApi; readonly clock: Clock; readonly faults: FaultBook }) {
    this.#options = options;
    this.#deps = deps;
  }

  /** Undefined: the token is not valid. Throws when the server could not be asked. */
  async authenticate(token: string, options: { readonly signal: AbortSignal }): Promise<ReviewedUser | undefined> {
    const key = await digest(token);
    const cached = this.#tokens.get(key);
    if (cached !== undefined && this.#deps.clock.now() < cached.until) return cached.user;
    const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', metadata: {}, spec: { token } };
    const { status } = (await this.#ask(paths.tokenReviews, body, options.signal)) as {
      readonly status?: {
        readonly authenticated?: boolean;
        readonly user?: {
          readonly username?: string;
          readonly uid?: string;
          readonly groups?: readonly string[];
          readonly extra?: Readonly<Record<string, readonly string[]>>;
        };
      };
    };
    if (status === undefined) throw new AgentError('bad-answer', 'the token review came back without a status');
    const { user } = status;
    const reviewed =
      status.authenticated === true
        ? { name: user?.username ?? '', uid: user?.uid ?? '', groups: user?.groups ?? [], extra: user?.extra ?? {} }
        : undefined;
    keep(this.#tokens, key, { user: reviewed, until: this.#deps.clock.now() + this.#options.tokenTtlMs });
    return reviewed;
  }

  /** Throws when the server could not be asked and no earlier answer allows it. */
  async authorize(question: AccessQuestion, options: { readonly signal: AbortSignal }): Promise<boolean> {
    for (const subresource of question.subresources) if (await this.#allows(question, subresource, options.signal)) return true;
    return false;
  }

  async #allows({ user, verb }: AccessQuestion, subresource: string, signal: AbortSignal): Promise<boolean> {
    const key = JSON.stringify([user.name, user.uid, user.groups, user.extra, verb, subresource]);
    const cached = this.#access.get(key);
    if (cached !== undefined && this.#deps.clock.now() < cached.until) return cached.allowed;
    const resourceAttributes = { group: '', version: 'v1', resource: 'nodes', subresource, name: this.#options.nodeName, verb };
    const body = {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      metadata: {},
      spec: { user: user.name, uid: user.uid, groups: user.groups, extra: user.extra, resourceAttributes },
    };
    const { status } = (await this.#ask(paths.accessReviews, body, signal)) as {
      readonly status?: { readonly allowed?: boolean; readonly denied?: boolean };
    };
    const allowed = status?.allowed === true && status.denied !== true;
    keep(this.#access, key, {
      allowed,
      until: this.#deps.clock.now() + (allowed ? this.#options.allowedTtlMs : this.#options.deniedTtlMs),
    });
    return allowed;
  }

  async #ask(path: string, body: unknown, signal: AbortSignal): Promise<unknown> {
    try {
      const answer = await this.#deps.api.request({ method: 'POST', path, body }, { signal });
      this.#deps.faults.clear('review');
      return answer;
    } catch (error) {
      if (!signal.aborted) this.#deps.faults.report('review', '', error);
      throw error;
    }
  }
}

/** Tokens are not kept in memory longer than a request. */
async function digest(token: string): Promise<string> {
  const { createHash } = await import('node:crypto');
  return createHash('sha256').update(token).digest('base64');
}

function keep<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key);
  map.set(key, value);
  const oldest = map.keys().next();
  if (map.size > maxCached && oldest.done !== true) map.delete(oldest.value);
}
