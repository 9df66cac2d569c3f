// The narrow port to a Kubernetes API server: what the mirror needs of one, and how it can fail. Paths are the
// server's own (`/api/v1/nodes/a`); bodies are plain JSON objects of Kubernetes' types.
import type { Status } from '../api/gen/kubernetes.ts';
import { AgentError, type ErrorOptions } from '../std/errors.ts';

/**
 * Why a request failed, by what helps against it. Those above the line concern the server as a whole: asking again
 * for another object will fail in the same way. The others concern one object.
 */
export type ApiFaultCode =
  | 'unreachable'
  | 'tls'
  | 'timeout'
  | 'credentials'
  | 'unauthorized'
  | 'too-many-requests'
  | 'server-error'
  | 'bad-answer'
  // ──
  | 'forbidden'
  | 'not-found'
  | 'namespace-missing'
  | 'namespace-terminating'
  | 'already-exists'
  | 'conflict'
  | 'expired'
  | 'invalid'
  | 'rejected';

const serverWide: ReadonlySet<string> = new Set<ApiFaultCode>([
  'unreachable',
  'tls',
  'timeout',
  'credentials',
  'unauthorized',
  'too-many-requests',
  'server-error',
  'bad-answer',
]);

export class ApiError extends AgentError {
  declare readonly code: ApiFaultCode;
  /** HTTP status, where the server answered. */
  readonly status: number | undefined;
  /** What the server asked to wait (Retry-After or details.retryAfterSeconds), in milliseconds. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: ApiFaultCode,
    message: string,
    options: ErrorOptions & { readonly status?: number | undefined; readonly retryAfterMs?: number | undefined } = {},
  ) {
    super(code, message, options);
    this.status = options.status;
    this.retryAfterMs = options.retryAfterMs;
  }

  /** The fault is the server's or the way to it, not this object's. */
  get isServerWide(): boolean {
    return serverWide.has(this.code);
  }
}

export function isApiError(error: unknown, ...codes: readonly ApiFaultCode[]): error is ApiError {
  return error instanceof ApiError && (codes.length === 0 || codes.includes(error.code));
}

/** An answer of status ≥ 400, or the object of a watch's ERROR event, as an error. */
export function fromStatus(httpStatus: number, status: Status | undefined, retryAfterMs?: number): ApiError {
  const details = status?.details;
  const wait = retryAfterMs ?? (details?.retryAfterSeconds === undefined ? undefined : details.retryAfterSeconds * 1000);
  return new ApiError(codeOf(httpStatus, status), status?.message ?? `the server answered ${httpStatus}`, {
    status: httpStatus,
    retryAfterMs: wait,
    details: { reason: status?.reason },
  });
}

function codeOf(httpStatus: number, status: Status | undefined): ApiFaultCode {
  switch (httpStatus) {
    case 401:
      return 'unauthorized';
    case 403:
      return status?.details?.causes?.some((cause) => cause.reason === 'NamespaceTerminating') === true
        ? 'namespace-terminating'
        : 'forbidden';
    case 404:
      return status?.details?.kind === 'namespaces' ? 'namespace-missing' : 'not-found';
    case 409:
      return status?.reason === 'AlreadyExists' ? 'already-exists' : 'conflict';
    case 410:
      return 'expired';
    case 422:
      return 'invalid';
    case 429:
      return 'too-many-requests';
    default:
      return httpStatus >= 500 ? 'server-error' : 'rejected';
  }
}

export type PatchType = 'application/strategic-merge-patch+json' | 'application/merge-patch+json';

export interface ApiRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly query?: Readonly<Record<string, string>> | undefined;
  readonly body?: unknown;
  readonly contentType?: PatchType | undefined;
  /** Default 10 s: from the call to the last byte of the answer. */
  readonly timeoutMs?: number | undefined;
}

export interface WatchRequest {
  readonly path: string;
  readonly query?: Readonly<Record<string, string>> | undefined;
  /** Until the headers of the answer. */
  readonly timeoutMs: number;
  /** The longest silence taken for life; bookmarks break it. */
  readonly idleTimeoutMs: number;
}

export interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK';
  readonly object: unknown;
}

export interface KubeApi {
  /**
   * One request, one answer. Throws `ApiError`, or `signal.reason` when aborted. Tries once: whoever calls knows
   * whether and when to try again. Never takes longer than its time-out, whatever the server does.
   */
  request(request: ApiRequest, options: { readonly signal: AbortSignal }): Promise<unknown>;
  /**
   * Resolves once the server has accepted the watch; the events must then be iterated (or returned), which ends when the
   * server ends it. Throws as `request` does, `expired` for a version that is too old.
   */
  watch(request: WatchRequest, options: { readonly signal: AbortSignal }): Promise<AsyncIterable<WatchEvent>>;
}

export interface ApiAccess {
  /** `https://host:port[/prefix]` */
  readonly server: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: {
    readonly ca?: string | Buffer | undefined;
    readonly cert?: string | Buffer | undefined;
    readonly key?: string | Buffer | undefined;
    readonly rejectUnauthorized?: boolean | undefined;
    readonly servername?: string | undefined;
  };
}

/** Where the server is and who we are; read again whenever its files change. */
export interface AccessSource {
  /** Throws `ApiError` `credentials` when what is configured cannot be read. The same value until something changes. */
  current(options: { readonly signal: AbortSignal }): Promise<ApiAccess>;
  /** The server did not accept us (401, TLS): look at the files again before the next request. */
  invalidate(): void;
}

export const paths = {
  pods: '/api/v1/pods',
  namespacedPods: (namespace: string) => `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods`,
  pod: (namespace: string, name: string) => `${paths.namespacedPods(namespace)}/${encodeURIComponent(name)}`,
  nodes: '/api/v1/nodes',
  node: (name: string) => `/api/v1/nodes/${encodeURIComponent(name)}`,
  events: (namespace: string) => `/api/v1/namespaces/${encodeURIComponent(namespace)}/events`,
  leases: '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases',
  csrs: '/apis/certificates.k8s.io/v1/certificatesigningrequests',
  tokenReviews: '/apis/authentication.k8s.io/v1/tokenreviews',
  accessReviews: '/apis/authorization.k8s.io/v1/subjectaccessreviews',
} as const;
