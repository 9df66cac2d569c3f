// What the server says it serves: aggregated and per-group discovery, and the version (section 1.2).
import { createHash } from 'node:crypto';
import type { Subresource } from './resources.ts';

/** The part of a resource that discovery tells. */
export interface DiscoveredResource {
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly singular: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly verbs: readonly string[];
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly subresources: readonly Subresource[];
}

const review = (group: string, resource: string, kind: string): DiscoveredResource => ({
  group,
  version: 'v1',
  resource,
  singular: resource.slice(0, -1),
  kind,
  namespaced: false,
  verbs: ['create'],
  shortNames: [],
  categories: [],
  subresources: [],
});

const usage = (resource: string, kind: string, namespaced: boolean): DiscoveredResource => ({
  group: 'metrics.k8s.io',
  version: 'v1beta1',
  resource,
  singular: resource.slice(0, -1),
  kind,
  namespaced,
  verbs: ['get', 'list'],
  shortNames: [],
  categories: [],
  subresources: [],
});

/** Resources that are answered by handlers of their own rather than from a cache. */
export const virtualResources: readonly DiscoveredResource[] = [
  review('authentication.k8s.io', 'selfsubjectreviews', 'SelfSubjectReview'),
  review('authorization.k8s.io', 'selfsubjectaccessreviews', 'SelfSubjectAccessReview'),
  review('authorization.k8s.io', 'selfsubjectrulesreviews', 'SelfSubjectRulesReview'),
  usage('nodes', 'NodeMetrics', false),
  usage('pods', 'PodMetrics', true),
];

export interface DiscoveryDocument {
  readonly contentType: string;
  readonly body: string;
  readonly etag: string;
}

const document = (contentType: string, value: unknown): DiscoveryDocument => {
  const body = `${JSON.stringify(value)}\n`;
  return { contentType, body, etag: `"${createHash('sha256').update(body).digest('hex').toUpperCase()}"` };
};

interface GroupVersion {
  readonly group: string;
  readonly version: string;
  readonly resources: readonly DiscoveredResource[];
}

/** The documents are made once: what is served does not change while the server runs. */
export class Discovery {
  readonly #groupVersions: readonly GroupVersion[];
  readonly #serverAddress: string;
  readonly #documents = new Map<string, DiscoveryDocument>();

  constructor(options: { readonly serverAddress: string }, resources: readonly DiscoveredResource[]) {
    this.#serverAddress = options.serverAddress;
    const groupVersions = new Map<string, DiscoveredResource[]>();
    for (const resource of resources) {
      const key = `${resource.group}/${resource.version}`;
      groupVersions.set(key, [...(groupVersions.get(key) ?? []), resource]);
    }
    this.#groupVersions = [...groupVersions.values()].map((list) => ({
      group: list[0]?.group ?? '',
      version: list[0]?.version ?? '',
      resources: [...list].sort((a, b) => (a.resource < b.resource ? -1 : 1)),
    }));
  }

  /** `/api` or `/apis` in the aggregated form. */
  aggregated(path: '/api' | '/apis', version: 'v2' | 'v2beta1'): DiscoveryDocument {
    return this.#once(`${path} ${version}`, () =>
      document(`application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`, {
        kind: 'APIGroupDiscoveryList',
        apiVersion: `apidiscovery.k8s.io/${version}`,
        metadata: {},
        items: this.#groups(path).map((versions) => ({
          metadata: path === '/api' ? {} : { name: versions[0]?.group },
          versions: versions.map((gv) => ({ version: gv.version, resources: gv.resources.map(aggregatedResource), freshness: 'Current' })),
        })),
      }),
    );
  }

  /** Where the groups and their versions are. */
  paths(): readonly string[] {
    const groups = new Set(this.#groupVersions.map(({ group }) => (group === '' ? '/api' : `/apis/${group}`)));
    return [
      ...groups,
      ...this.#groupVersions.map(({ group, version }) => (group === '' ? `/api/${version}` : `/apis/${group}/${version}`)),
    ];
  }

  legacyApi(): DiscoveryDocument {
    return this.#once('/api', () =>
      document('application/json', {
        kind: 'APIVersions',
        versions: ['v1'],
        serverAddressByClientCIDRs: [{ clientCIDR: '0.0.0.0/0', serverAddress: this.#serverAddress }],
      }),
    );
  }

  legacyGroups(): DiscoveryDocument {
    return this.#once('/apis', () =>
      document('application/json', { kind: 'APIGroupList', apiVersion: 'v1', groups: this.#groups('/apis').map(legacyGroup) }),
    );
  }

  /** Undefined for a group that is not served. */
  group(name: string): DiscoveryDocument | undefined {
    const versions = this.#groups('/apis').find((list) => list[0]?.group === name);
    if (versions === undefined) return undefined;
    return this.#once(`/apis/${name}`, () =>
      document('application/json', { kind: 'APIGroup', apiVersion: 'v1', ...legacyGroup(versions) }),
    );
  }

  /** Undefined for a group version that is not served. */
  groupVersion(group: string, version: string): DiscoveryDocument | undefined {
    const found = this.#groupVersions.find((gv) => gv.group === group && gv.version === version);
    if (found === undefined) return undefined;
    return this.#once(`${group}/${version}`, () =>
      document('application/json', {
        kind: 'APIResourceList',
        apiVersion: 'v1',
        groupVersion: group === '' ? version : `${group}/${version}`,
        resources: found.resources.flatMap(legacyResources),
      }),
    );
  }

  #groups(path: '/api' | '/apis'): GroupVersion[][] {
    const groups = new Map<string, GroupVersion[]>();
    for (const gv of this.#groupVersions) {
      if ((gv.group === '') === (path === '/api')) groups.set(gv.group, [...(groups.get(gv.group) ?? []), gv]);
    }
    return [...groups.values()];
  }

  #once(key: string, make: () => DiscoveryDocument): DiscoveryDocument {
    const known = this.#documents.get(key) ?? make();
    this.#documents.set(key, known);
    return known;
  }
}

const legacyGroup = (versions: readonly GroupVersion[]): Readonly<Record<string, unknown>> => {
  const list = versions.map((gv) => ({ groupVersion: `${gv.group}/${gv.version}`, version: gv.version }));
  return { name: versions[0]?.group, versions: list, preferredVersion: list[0] };
};

const aggregatedResource = (r: DiscoveredResource): unknown => ({
  resource: r.resource,
  responseKind: { group: '', version: '', kind: r.kind },
  scope: r.namespaced ? 'Namespaced' : 'Cluster',
  singularResource: r.singular,
  verbs: r.verbs,
  ...(r.shortNames.length === 0 ? {} : { shortNames: r.shortNames }),
  ...(r.categories.length === 0 ? {} : { categories: r.categories }),
  ...(r.subresources.length === 0
    ? {}
    : {
        subresources: r.subresources.map((s) => ({
          subresource: s.name,
          responseKind: { group: '', version: '', kind: s.kind },
          verbs: s.verbs,
        })),
      }),
});

const legacyResources = (r: DiscoveredResource): readonly unknown[] => [
  {
    name: r.resource,
    singularName: r.singular,
    namespaced: r.namespaced,
    kind: r.kind,
    verbs: r.verbs,
    ...(r.shortNames.length === 0 ? {} : { shortNames: r.shortNames }),
    ...(r.categories.length === 0 ? {} : { categories: r.categories }),
  },
  ...r.subresources.map((s) => ({
    name: `${r.resource}/${s.name}`,
    singularName: '',
    namespaced: r.namespaced,
    kind: s.kind,
    verbs: s.verbs,
  })),
];
