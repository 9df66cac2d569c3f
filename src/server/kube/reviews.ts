// "May I?" and "Who am I?" (section 1.12): the truth about what this server lets an administrator do, and that it lets
// nobody else do anything but look at what there is.
import { type Instant, toRfc3339 } from '../../std/clock.ts';
import { isAdministrator, type User } from '../user.ts';
import { badRequest, unsupportedMediaType } from './api-error.ts';
import type { DiscoveredResource } from './discovery.ts';
import { decodeReview } from './protobuf.ts';

interface ResourceAttributes {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource: string;
}

const recordOf = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

/** Whether this server does it; the reason when it does not. `*` asks for all of them. */
export function decide(attributes: ResourceAttributes, resources: readonly DiscoveredResource[]): string | undefined {
  const { verb, group, resource, subresource } = attributes;
  if (verb === '*' || group === '*' || resource === '*') return 'this node runs static pods only; most objects cannot be changed here';
  const found = resources.find((r) => r.group === group && r.resource === resource);
  if (found === undefined) return `this node does not serve ${resource}${group === '' ? '' : `.${group}`}`;
  const verbs = subresource === '' ? found.verbs : (found.subresources.find((s) => s.name === subresource)?.verbs ?? []);
  if (verbs.includes(verb)) return undefined;
  return resource === 'pods'
    ? 'this node runs static pods only; edit the manifests instead'
    : 'the node agent reports this object; it cannot be changed here';
}

/** Spec of a review, from JSON or protobuf. */
export function parseReview(body: Buffer, contentType: string, kind: string): Readonly<Record<string, unknown>> {
  const type = contentType.split(';')[0]?.trim().toLowerCase() ?? '';
  if (type === 'application/vnd.kubernetes.protobuf') return recordOf(decodeReview(body, kind)['spec']);
  if (type !== '' && type !== 'application/json') throw unsupportedMediaType();
  try {
    return recordOf(recordOf(JSON.parse(body.toString('utf8')))['spec']);
  } catch (error) {
    throw badRequest('the body is not JSON', error);
  }
}

/** Open to every user of a cluster, and so to those an administrator asks to be taken for. */
const openPaths = [
  '/api',
  '/api/*',
  '/apis',
  '/apis/*',
  '/healthz',
  '/livez',
  '/openapi',
  '/openapi/*',
  '/readyz',
  '/version',
  '/version/',
];

const isOpenPath = (path: string): boolean =>
  openPaths.some((open) => (open.endsWith('*') ? path.startsWith(open.slice(0, -1)) : path === open));

export function accessReview(spec: Readonly<Record<string, unknown>>, user: User, resources: readonly DiscoveredResource[]): unknown {
  const attributes = spec['resourceAttributes'];
  const nonResource = recordOf(spec['nonResourceAttributes']);
  const asked = recordOf(attributes);
  const verb = textOf(asked['verb']);
  const reason =
    attributes === undefined
      ? ['get', 'head'].includes(textOf(nonResource['verb']))
        ? undefined
        : 'only reading is possible here'
      : decide(
          { verb, group: textOf(asked['group']), resource: textOf(asked['resource']), subresource: textOf(asked['subresource']) },
          resources,
        );
  const answer = (status: Readonly<Record<string, unknown>>): unknown => ({
    kind: 'SelfSubjectAccessReview',
    apiVersion: 'authorization.k8s.io/v1',
    metadata: {},
    spec,
    status,
  });
  if (!isAdministrator(user)) {
    const isReview = verb === 'create' && textOf(asked['resource']).startsWith('selfsubject');
    return answer({ allowed: attributes === undefined ? reason === undefined && isOpenPath(textOf(nonResource['path'])) : isReview });
  }
  return answer(reason === undefined ? { allowed: true, reason: 'administrator of this node' } : { allowed: false, reason });
}

export function rulesReview(spec: Readonly<Record<string, unknown>>, user: User, resources: readonly DiscoveredResource[]): unknown {
  const rules = new Map<string, { verbs: readonly string[]; apiGroups: string[]; resources: string[] }>();
  const add = (group: string, resource: string, verbs: readonly string[]): void => {
    const key = `${group} ${verbs.join(',')}`;
    const rule = rules.get(key) ?? { verbs, apiGroups: [group], resources: [] };
    rule.resources.push(resource);
    rules.set(key, rule);
  };
  for (const r of resources) {
    if (!isAdministrator(user) && !r.resource.startsWith('selfsubject')) continue;
    add(r.group, r.resource, r.verbs);
    for (const s of r.subresources) add(r.group, `${r.resource}/${s.name}`, s.verbs);
  }
  return {
    kind: 'SelfSubjectRulesReview',
    apiVersion: 'authorization.k8s.io/v1',
    metadata: {},
    spec,
    status: {
      resourceRules: [...rules.values()],
      nonResourceRules: [
        {
          verbs: ['get'],
          nonResourceURLs: openPaths,
        },
      ],
      incomplete: false,
    },
  };
}

export const subjectReview = ({ name, uid, groups, extra }: User, now: Instant): unknown => ({
  kind: 'SelfSubjectReview',
  apiVersion: 'authentication.k8s.io/v1',
  metadata: { creationTimestamp: toRfc3339(now) },
  status: { userInfo: { username: name, uid, groups, extra } },
});
