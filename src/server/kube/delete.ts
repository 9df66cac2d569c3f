// DELETE of a Pod's view (section 1.10): what the options may be, and what is answered.
import type { Pod } from '../../api/pod.ts';
import { type Instant, toRfc3339 } from '../../std/clock.ts';
import { badRequest, type FieldProblem, invalid, preconditionFailed, type ResourceName, unsupportedMediaType } from './api-error.ts';
import { integerParameter } from './query.ts';

export interface DeleteOptions {
  readonly gracePeriodSeconds: number | undefined;
  readonly dryRun: boolean;
  readonly uid: string | undefined;
  readonly resourceVersion: string | undefined;
}

function parseBody(body: Buffer, contentType: string): Readonly<Record<string, unknown>> {
  if (body.length === 0) return {};
  const type = contentType.split(';')[0]?.trim().toLowerCase() ?? '';
  if (type !== '' && type !== 'application/json') throw unsupportedMediaType();
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw badRequest('the object provided is unrecognized (must be of type DeleteOptions): the body is not JSON', error);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw badRequest('the object provided is unrecognized (must be of type DeleteOptions): the body is not an object');
  }
  return value as Readonly<Record<string, unknown>>;
}

const policies = ['Foreground', 'Background', 'Orphan'];

/** From the body, and where it says nothing from the query (H-150, H-151). */
export function parseDeleteOptions(body: Buffer, contentType: string, query: URLSearchParams): DeleteOptions {
  const value = parseBody(body, contentType);
  const problems: FieldProblem[] = [];
  const policy = value['propagationPolicy'] ?? query.get('propagationPolicy') ?? undefined;
  if (policy !== undefined && policy !== '' && !policies.includes(String(policy))) {
    problems.push({
      field: 'propagationPolicy',
      reason: 'FieldValueNotSupported',
      message: `Unsupported value: ${JSON.stringify(policy)}: supported values: "Foreground", "Background", "Orphan", "nil"`,
    });
  }
  const orphan = value['orphanDependents'] ?? query.get('orphanDependents') ?? undefined;
  if (orphan !== undefined && policy !== undefined) {
    problems.push({
      field: 'propagationPolicy',
      reason: 'FieldValueInvalid',
      message: `Invalid value: ${JSON.stringify(policy)}: orphanDependents and deletionPropagation cannot be both set`,
    });
  }
  const dryRun = value['dryRun'] ?? query.getAll('dryRun');
  const dryRuns = Array.isArray(dryRun) ? (dryRun as readonly unknown[]) : [dryRun];
  for (const item of dryRuns) {
    if (item === 'All') continue;
    problems.push({
      field: 'dryRun',
      reason: 'FieldValueNotSupported',
      message: `Unsupported value: ${JSON.stringify(item)}: supported values: "All"`,
    });
  }
  if (problems.length > 0) throw invalid('DeleteOptions', 'meta.k8s.io', '', problems);
  const grace = value['gracePeriodSeconds'] ?? integerParameter(query, 'gracePeriodSeconds');
  if (grace !== undefined && (typeof grace !== 'number' || !Number.isSafeInteger(grace))) {
    throw badRequest('gracePeriodSeconds must be a whole number');
  }
  const preconditions = value['preconditions'];
  const wanted = typeof preconditions === 'object' && preconditions !== null ? (preconditions as Readonly<Record<string, unknown>>) : {};
  const text = (name: string): string | undefined => (typeof wanted[name] === 'string' ? wanted[name] : undefined);
  return {
    // A negative grace counts as one second.
    gracePeriodSeconds: grace !== undefined && grace < 0 ? 1 : grace,
    dryRun: dryRuns.length > 0,
    uid: text('uid'),
    resourceVersion: text('resourceVersion'),
  };
}

/** Throws a 409 when the view is not the one that was meant. */
export function checkPreconditions(options: DeleteOptions, pod: Pod, resource: ResourceName): void {
  const { name, uid, resourceVersion = '' } = pod.metadata;
  if (options.uid !== undefined && options.uid !== uid) throw preconditionFailed(resource, name, 'UID', options.uid, uid);
  if (options.resourceVersion !== undefined && options.resourceVersion !== resourceVersion) {
    throw preconditionFailed(resource, name, 'ResourceVersion', options.resourceVersion, resourceVersion);
  }
}

/** The view as it is answered: on its way out (H-152). */
export function deletedPod(pod: Pod, options: DeleteOptions, now: Instant): Pod {
  const isOver = pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
  const grace = isOver ? 0 : (options.gracePeriodSeconds ?? pod.spec.terminationGracePeriodSeconds ?? 30);
  return {
    ...pod,
    metadata: {
      ...pod.metadata,
      deletionTimestamp: toRfc3339(now + grace * 1000),
      deletionGracePeriodSeconds: grace,
      generation: (pod.metadata.generation ?? 1) + 1,
    },
  };
}
