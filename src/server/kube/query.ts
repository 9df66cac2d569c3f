// Query parameters of lists, watches and single reads, with Kubernetes' rules for each (H-122 … H-128).

import type { KubeObject } from '../watch-cache.ts';
import { badRequest, type FieldProblem, invalid } from './api-error.ts';
import type { Resource } from './resources.ts';
import { parseFieldSelector, parseLabelSelector } from './selector.ts';

/** H-128: absent, `0` and `false` are false; everything else, the empty value included, is true. */
export function booleanParameter(query: URLSearchParams, name: string): boolean {
  const value = query.get(name);
  return value !== null && value !== '0' && value.toLowerCase() !== 'false';
}

/** A whole number in decimal; undefined when absent or empty. */
export function integerParameter(query: URLSearchParams, name: string): number | undefined {
  const value = query.get(name);
  if (value === null || value === '') return undefined;
  if (!/^[-+]?\d+$/.test(value)) throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(value)}: invalid syntax`);
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(value)}: value out of range`);
  return number;
}

/** How long a client is willing to wait. All that is asked here is answered at once, but nonsense is told. */
export function checkTimeout(query: URLSearchParams): void {
  const text = query.get('timeout') ?? '';
  if (text === '' || /^[-+]?(0|((\d+(\.\d*)?|\.\d+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h))+)$/.test(text)) return;
  throw badRequest(`invalid timeout specified in the request URL - time: invalid duration ${JSON.stringify(text)}`);
}

export interface ListOptions {
  readonly watch: boolean;
  readonly matches: (object: KubeObject) => boolean;
  /** There is a selector. */
  readonly isSelection: boolean;
  /** Undefined when absent or empty. */
  readonly resourceVersion: number | undefined;
  /** Undefined: as the version says. */
  readonly sendInitialEvents: boolean | undefined;
  readonly allowWatchBookmarks: boolean;
  readonly timeoutSeconds: number | undefined;
  /** 0 means no limit. */
  readonly limit: number;
  readonly continueAfter: ContinueToken | undefined;
}

export interface ContinueToken {
  readonly version: number;
  /** The key of the last object that was answered. */
  readonly after: string;
}

export function parseListOptions(query: URLSearchParams, resource: Resource): ListOptions {
  const labelSelector = query.get('labelSelector') ?? '';
  const fieldSelector = query.get('fieldSelector') ?? '';
  const labels = parseLabelSelector(labelSelector);
  const fields = parseFieldSelector(fieldSelector, resource);
  const watch = booleanParameter(query, 'watch');
  const resourceVersion = parseVersion(query.get('resourceVersion') ?? '');
  const match = query.get('resourceVersionMatch') ?? '';
  const sendInitialEvents = query.get('sendInitialEvents') === null ? undefined : booleanParameter(query, 'sendInitialEvents');
  const problems = checkVersionOptions({ watch, resourceVersion, match, sendInitialEvents, hasContinue: query.get('continue') });
  if (problems.length > 0) throw invalid('ListOptions', 'meta.k8s.io', '', problems);
  const limit = integerParameter(query, 'limit') ?? 0;
  const token = query.get('continue') ?? '';
  return {
    watch,
    matches: (object) => labels(object.metadata?.labels ?? {}) && fields((field) => resource.readField(object, field)),
    isSelection: labelSelector.trim() !== '' || fieldSelector !== '',
    resourceVersion,
    sendInitialEvents,
    allowWatchBookmarks: booleanParameter(query, 'allowWatchBookmarks'),
    timeoutSeconds: integerParameter(query, 'timeoutSeconds'),
    limit: Math.max(limit, 0),
    continueAfter: token === '' ? undefined : parseContinue(token),
  };
}

function parseVersion(text: string): number | undefined {
  if (text === '') return undefined;
  if (!/^\d+$/.test(text)) {
    throw badRequest(
      `invalid resource version: resourceVersion: Invalid value: ${JSON.stringify(text)}: strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`,
    );
  }
  return Number(text);
}

function checkVersionOptions(o: {
  readonly watch: boolean;
  readonly resourceVersion: number | undefined;
  readonly match: string;
  readonly sendInitialEvents: boolean | undefined;
  readonly hasContinue: string | null;
}): FieldProblem[] {
  const problems: FieldProblem[] = [];
  const forbid = (field: string, message: string): void => {
    problems.push({ field, reason: 'FieldValueForbidden', message: `Forbidden: ${message}` });
  };
  if (o.watch) {
    if (o.sendInitialEvents !== undefined && o.match !== 'NotOlderThan') {
      forbid('resourceVersionMatch', 'sendInitialEvents requires setting resourceVersionMatch to NotOlderThan');
    }
    if (o.sendInitialEvents === undefined && o.match !== '') {
      forbid('resourceVersionMatch', 'resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided');
    }
    if (o.match !== '' && o.match !== 'NotOlderThan') {
      problems.push({
        field: 'resourceVersionMatch',
        reason: 'FieldValueNotSupported',
        message: `Unsupported value: ${JSON.stringify(o.match)}: supported values: "NotOlderThan"`,
      });
    }
    return problems;
  }
  if (o.sendInitialEvents !== undefined) forbid('sendInitialEvents', 'sendInitialEvents is forbidden for list');
  if (o.match === '') return problems;
  if (o.hasContinue !== null && o.hasContinue !== '')
    forbid('resourceVersionMatch', 'resourceVersionMatch is forbidden when continue is provided');
  if (o.resourceVersion === undefined)
    forbid('resourceVersionMatch', 'resourceVersionMatch is forbidden unless resourceVersion is provided');
  else if (o.match === 'Exact' && o.resourceVersion === 0)
    forbid('resourceVersionMatch', 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"');
  if (o.match !== 'Exact' && o.match !== 'NotOlderThan') {
    problems.push({
      field: 'resourceVersionMatch',
      reason: 'FieldValueNotSupported',
      message: `Unsupported value: ${JSON.stringify(o.match)}: supported values: "Exact", "NotOlderThan", ""`,
    });
  }
  return problems;
}

export function encodeContinue(token: ContinueToken): string {
  return Buffer.from(JSON.stringify({ v: 'meta.k8s.io/v1', rv: token.version, start: token.after })).toString('base64url');
}

function parseContinue(text: string): ContinueToken {
  try {
    const value: unknown = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
    if (typeof value === 'object' && value !== null && 'rv' in value && 'start' in value) {
      const { rv, start } = value;
      if (typeof rv === 'number' && typeof start === 'string') return { version: rv, after: start };
    }
  } catch (error) {
    throw badRequest('invalid continue token: not a token of this server', error);
  }
  throw badRequest('invalid continue token: not a token of this server');
}

export type ObjectRepresentation = 'object' | 'metadata' | 'none';

/** H-092. */
export function includeObject(query: URLSearchParams): ObjectRepresentation {
  const value = query.get('includeObject') ?? '';
  switch (value) {
    case '':
    case 'Metadata':
      return 'metadata';
    case 'Object':
      return 'object';
    case 'None':
      return 'none';
    default:
      throw badRequest(
        `Unable to convert to Table as requested: includeObject: Invalid value: ${JSON.stringify(value)}: must be 'Metadata', 'Object', 'None', or empty`,
      );
  }
}
