// Failures of the Kubernetes API as Status objects (H-140 … H-147): thrown by handlers, written once per request.
import type { Status, StatusDetails } from '../../api/gen/kubernetes.ts';
import { AgentError } from '../../std/errors.ts';

/** An answer other than success; `status` is its body, `status.code` the HTTP code. */
export class ApiError extends AgentError {
  readonly status: Status & { readonly code: number };

  constructor(code: number, reason: string, message: string, details?: StatusDetails, cause?: unknown) {
    super(reason === '' ? 'api-error' : reason, message, cause === undefined ? {} : { cause });
    this.status = {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message,
      ...(reason === '' ? {} : { reason }),
      ...(details === undefined ? {} : { details }),
      code,
    };
  }
}

/** What a resource is called in messages and details: plural name and API group. */
export interface ResourceName {
  readonly group: string;
  readonly resource: string;
  readonly kind: string;
}

const detailsOf = (resource: ResourceName, name: string): StatusDetails => ({
  ...(name === '' ? {} : { name }),
  ...(resource.group === '' ? {} : { group: resource.group }),
  kind: resource.resource,
});

const qualified = (resource: ResourceName): string =>
  resource.group === '' ? resource.resource : `${resource.resource}.${resource.group}`;

export const badRequest = (message: string, cause?: unknown): ApiError => new ApiError(400, 'BadRequest', message, undefined, cause);

export const unauthorized = (): ApiError => new ApiError(401, 'Unauthorized', 'Unauthorized');

/** `why` completes "… is forbidden: ". */
export function forbidden(resource: ResourceName, name: string, why: string): ApiError {
  const what = name === '' ? `${qualified(resource)} is forbidden` : `${qualified(resource)} ${JSON.stringify(name)} is forbidden`;
  return new ApiError(403, 'Forbidden', `${what}: ${why}`, detailsOf(resource, name));
}

export const notFound = (resource: ResourceName, name: string): ApiError =>
  new ApiError(404, 'NotFound', `${qualified(resource)} ${JSON.stringify(name)} not found`, detailsOf(resource, name));

export const unknownResource = (): ApiError => new ApiError(404, 'NotFound', 'the server could not find the requested resource', {});

export const methodNotAllowed = (): ApiError =>
  new ApiError(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource', {});

export const notAcceptable = (available: readonly string[]): ApiError =>
  new ApiError(406, 'NotAcceptable', `406: Not Acceptable\n\nAvailable representations: ${available.join(', ')}`);

/** H-145. `what` is `UID` or `ResourceVersion`. */
export function preconditionFailed(
  resource: ResourceName,
  name: string,
  what: 'UID' | 'ResourceVersion',
  wanted: string,
  found: string,
): ApiError {
  const why = what === 'UID' ? 'The object might have been deleted and then recreated' : 'The object might have been modified';
  const message = `Operation cannot be fulfilled on ${resource.kind} ${JSON.stringify(name)}: the ${what} in the precondition (${wanted}) does not match the ${what} in record (${found}). ${why}`;
  return new ApiError(409, 'Conflict', message, { name, kind: resource.kind });
}

export const expired = (message: string): ApiError => new ApiError(410, 'Expired', message);

export const unsupportedMediaType = (): ApiError =>
  new ApiError(
    415,
    'UnsupportedMediaType',
    'the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf',
  );

export interface FieldProblem {
  readonly field: string;
  readonly reason: 'FieldValueRequired' | 'FieldValueInvalid' | 'FieldValueForbidden' | 'FieldValueNotSupported';
  /** Without the field. */
  readonly message: string;
}

/** H-146. */
export function invalid(kind: string, group: string, name: string, problems: readonly FieldProblem[]): ApiError {
  const title = group === '' ? kind : `${kind}.${group}`;
  const texts = problems.map((p) => `${p.field === '' ? '[]' : p.field}: ${p.message}`);
  const list = texts.length === 1 ? (texts[0] ?? '') : `[${texts.join(', ')}]`;
  return new ApiError(422, 'Invalid', `${title} ${JSON.stringify(name)} is invalid: ${list}`, {
    ...(name === '' ? {} : { name }),
    ...(group === '' ? {} : { group }),
    kind,
    causes: problems.map((p) => ({ reason: p.reason, message: p.message, field: p.field === '' ? '[]' : p.field })),
  });
}

export const internalError = (message: string, cause?: unknown): ApiError =>
  new ApiError(500, 'InternalError', `Internal error occurred: ${message}`, { causes: [{ message }] }, cause);

/** H-126. */
export const tooLargeResourceVersion = (asked: number, current: number): ApiError =>
  new ApiError(504, 'Timeout', `Timeout: Too large resource version: ${asked}, current: ${current}`, {
    causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
    retryAfterSeconds: 1,
  });
