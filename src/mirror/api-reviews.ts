// Asks the API server who a bearer token belongs to and what a user may do on this node (H-300b, H-301). Whoever asks keeps
// the answers. When the server does not answer, the request at our port fails and nothing else does.
import { linkSignals } from '../std/async.ts';
import type { Clock } from '../std/clock.ts';
import type { FaultBook } from './faults.ts';
import { ApiError, type KubeApi, paths } from './kube-api.ts';

export interface ReviewedUser {
  readonly name: string;
  readonly groups: readonly string[];
  readonly uid?: string | undefined;
  readonly extra?: Readonly<Record<string, readonly string[]>> | undefined;
}

export interface AccessQuestion {
  readonly user: ReviewedUser;
  readonly verb: string;
  /** Of `nodes` (H-301c). */
  readonly subresource: string;
}

/** Somebody waits at our port: no longer than this, whatever the server does. */
const patienceMs = 10_000;

export class ApiReviews {
  readonly #nodeName: string;
  readonly #deps: { readonly api: KubeApi; readonly clock: Clock; readonly faults: FaultBook };

  constructor(options: { readonly nodeName: string }, deps: { readonly api: KubeApi; readonly clock: Clock; readonly faults: FaultBook }) {
    this.#nodeName = options.nodeName;
    this.#deps = deps;
  }

  /** Undefined: the token is nobody's. Throws when the server could not be asked. */
  async tokenReview(token: string, options: { readonly signal: AbortSignal }): Promise<ReviewedUser | undefined> {
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
    if (status === undefined) throw new ApiError('bad-answer', 'the token review came back without a status');
    if (status.authenticated !== true) return undefined;
    const { username, uid, groups, extra } = status.user ?? {};
    return { name: username ?? '', groups: groups ?? [], uid, extra };
  }

  /** Throws when the server could not be asked. */
  async subjectAccessReview({ user, verb, subresource }: AccessQuestion, options: { readonly signal: AbortSignal }): Promise<boolean> {
    const body = {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      metadata: {},
      spec: {
        user: user.name,
        groups: user.groups,
        ...(user.uid === undefined ? {} : { uid: user.uid }),
        ...(user.extra === undefined ? {} : { extra: user.extra }),
        resourceAttributes: { group: '', version: 'v1', resource: 'nodes', subresource, name: this.#nodeName, verb },
      },
    };
    const { status } = (await this.#ask(paths.accessReviews, body, options.signal)) as {
      readonly status?: { readonly allowed?: boolean; readonly denied?: boolean };
    };
    return status?.allowed === true && status.denied !== true;
  }

  async #ask(path: string, body: unknown, signal: AbortSignal): Promise<unknown> {
    using round = linkSignals(signal);
    const ended = linkSignals(round.signal);
    const late = new ApiError('timeout', `no answer within ${patienceMs / 1000} s`);
    this.#deps.clock.sleep(patienceMs, ended.signal).then(
      () => round.abort(late),
      () => undefined,
    );
    try {
      const answer = await this.#deps.api.request({ method: 'POST', path, body, timeoutMs: patienceMs }, { signal: round.signal });
      this.#deps.faults.clear('review');
      return answer;
    } catch (error) {
      if (!signal.aborted) this.#deps.faults.report('review', '', error);
      throw error;
    } finally {
      ended.abort(undefined);
      ended[Symbol.dispose]();
    }
  }
}
