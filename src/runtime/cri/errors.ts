// gRPC status → RuntimeError. Codes only: no message text is looked at (STYLE section 6).
import { ClientError, Status } from 'nice-grpc-common';
import { messageOf, type Retry, RuntimeError } from '../../std/errors.ts';

interface Meaning {
  readonly code: string;
  readonly retry: Retry;
}

const meanings: ReadonlyMap<Status, Meaning> = new Map<Status, Meaning>([
  [Status.CANCELLED, { code: 'cancelled', retry: 'now' }],
  // containerd answers with this for nearly everything, so nothing can be concluded from it.
  [Status.UNKNOWN, { code: 'unknown', retry: 'backoff' }],
  [Status.INVALID_ARGUMENT, { code: 'invalid-argument', retry: 'never' }],
  [Status.DEADLINE_EXCEEDED, { code: 'deadline-exceeded', retry: 'backoff' }],
  [Status.NOT_FOUND, { code: 'not-found', retry: 'backoff' }],
  [Status.ALREADY_EXISTS, { code: 'already-exists', retry: 'backoff' }],
  [Status.PERMISSION_DENIED, { code: 'permission-denied', retry: 'backoff' }],
  [Status.RESOURCE_EXHAUSTED, { code: 'resource-exhausted', retry: 'backoff' }],
  [Status.FAILED_PRECONDITION, { code: 'failed-precondition', retry: 'backoff' }],
  [Status.ABORTED, { code: 'aborted', retry: 'now' }],
  [Status.OUT_OF_RANGE, { code: 'out-of-range', retry: 'never' }],
  [Status.UNIMPLEMENTED, { code: 'unimplemented', retry: 'never' }],
  [Status.INTERNAL, { code: 'internal', retry: 'backoff' }],
  [Status.UNAVAILABLE, { code: 'unavailable', retry: 'backoff' }],
  [Status.DATA_LOSS, { code: 'data-loss', retry: 'backoff' }],
  [Status.UNAUTHENTICATED, { code: 'unauthenticated', retry: 'backoff' }],
]);

/** `message` is the gRPC description alone (L-188); the method's path is in `details`. */
export function toRuntimeError(error: unknown): RuntimeError {
  if (error instanceof RuntimeError) return error;
  if (!(error instanceof ClientError)) return new RuntimeError('unknown', messageOf(error), { cause: error });
  const { code, retry } = meanings.get(error.code) ?? { code: 'unknown', retry: 'backoff' };
  return new RuntimeError(code, error.details, { retry, cause: error, details: { method: error.path } });
}

/** A reply that breaks the contract of table 4.2. */
export function invalidResponse(method: string, message: string): RuntimeError {
  return new RuntimeError('internal', message, { details: { method } });
}
