// Who a request is from, and whether he may make it: administrators may do everything, nobody else anything. An
// administrator may ask to be taken for somebody else (`kubectl --as`), who may do what every user of a cluster may.
import type { IncomingMessage } from 'node:http';
import { isAdministrator, type User } from '../user.ts';
import { verbs } from '../verbs.ts';
import { ApiError, badRequest, forbidden } from './api-error.ts';
import { booleanParameter } from './query.ts';

const prefix = 'impersonate-';
const extraPrefix = `${prefix}extra-`;

/** What every user of a cluster may do, and nothing else here: look at what is served, and ask about himself. */
const open = [
  /^GET \/(api|apis|openapi|version|healthz|livez|readyz)\/?$/,
  /^GET \/(healthz|livez|readyz|openapi)\/.+$/,
  /^GET \/api\/v1\/?$/,
  /^GET \/apis\/[^/]+(\/[^/]+)?\/?$/,
  /^POST \/apis\/authorization\.k8s\.io\/v1\/selfsubject(access|rules)reviews$/,
  /^POST \/apis\/authentication\.k8s\.io\/v1\/selfsubjectreviews$/,
] as const;

/** The user with what the request asks to be judged as, each header by itself: a group may have a comma in its name. */
export function withAsked(user: User | undefined, { rawHeaders }: Pick<IncomingMessage, 'rawHeaders'>): User | undefined {
  if (user === undefined) return undefined;
  const asked: [string, string][] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] ?? '').toLowerCase();
    if (name.startsWith(prefix)) asked.push([name, rawHeaders[i + 1] ?? '']);
  }
  return asked.length === 0 ? user : { ...user, asked };
}

/** The caller, or whom an administrator asks to be taken for. */
export function effectiveUser({ asked, ...caller }: User): User {
  if (asked === undefined) return caller;
  const valuesOf = (header: string): readonly string[] => asked.filter(([name]) => name === header).map(([, value]) => value);
  const [name = ''] = valuesOf(`${prefix}user`);
  if (!isAdministrator(caller)) {
    const why = `User ${JSON.stringify(caller.name)} cannot impersonate resource "users" in API group "" at the cluster scope`;
    throw forbidden({ group: '', resource: 'users', kind: 'User' }, name, why);
  }
  if (name === '') throw badRequest('a group, a UID and whatever else belongs to a user need his name: Impersonate-User');
  const [uid] = valuesOf(`${prefix}uid`);
  const extra = new Map<string, readonly string[]>();
  for (const [header] of asked) if (header.startsWith(extraPrefix)) extra.set(decode(header.slice(extraPrefix.length)), valuesOf(header));
  return {
    name,
    groups: withUsualGroups(name, valuesOf(`${prefix}group`)),
    ...(uid === undefined ? {} : { uid }),
    ...(extra.size === 0 ? {} : { extra: Object.fromEntries(extra) }),
    impersonatedBy: caller.name,
  };
}

/** Whether a request that an administrator makes as somebody else is one that anybody may make. */
export const isOpen = (user: User, method: string, path: string): boolean =>
  user.impersonatedBy !== undefined && user.groups.includes('system:authenticated') && open.some((rule) => rule.test(`${method} ${path}`));

function withUsualGroups(name: string, asked: readonly string[]): readonly string[] {
  const account = /^system:serviceaccount:([^:]+):[^:]+$/.exec(name);
  const groups = account !== null && asked.length === 0 ? ['system:serviceaccounts', `system:serviceaccounts:${account[1] ?? ''}`] : asked;
  const usual = name === 'system:anonymous' ? 'system:unauthenticated' : 'system:authenticated';
  return groups.includes(usual) ? groups : [...groups, usual];
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    throw badRequest('an Impersonate-Extra header has no valid name', error);
  }
}

/** H-142, for somebody who is known but may do nothing here. */
export function notAllowed(user: User, method: string, path: string, query: URLSearchParams): ApiError {
  const who = `User ${JSON.stringify(user.name)}`;
  const match = /^\/(?:api|apis\/([^/]+))\/[^/]+\/(?:namespaces\/([^/]+)\/)?([^/]+)(?:\/([^/]+))?(?:\/([^/]+))?/.exec(path);
  if (match === null) {
    const verb = (verbs[method] ?? method).toLowerCase();
    return new ApiError(403, 'Forbidden', `forbidden: ${who} cannot ${verb} path ${JSON.stringify(path)}`, {});
  }
  const [, group = '', namespace = '', resource = '', name = '', subresource = ''] = match;
  const verb = verbs[method] ?? method.toLowerCase();
  const ofMany = booleanParameter(query, 'watch') ? 'watch' : verb === 'get' ? 'list' : verb === 'delete' ? 'deletecollection' : verb;
  const what = subresource === '' ? resource : `${resource}/${subresource}`;
  const scope = namespace === '' ? 'at the cluster scope' : `in the namespace ${JSON.stringify(namespace)}`;
  const why = `${who} cannot ${name === '' ? ofMany : verb} resource ${JSON.stringify(what)} in API group ${JSON.stringify(group)} ${scope}`;
  return forbidden({ group, resource, kind: resource }, name, why);
}
