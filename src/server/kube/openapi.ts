// OpenAPI documents made from the field table of the Kubernetes types: enough for `kubectl explain` and for client-side
// validation, after which a write reaches the server and gets its refusal (section 1.3).
import { createHash } from 'node:crypto';
import { fields } from '../../api/gen/fields.ts';

/** Descriptions by type and field; the type's own under the empty name. */
export type Docs = Readonly<Record<string, Readonly<Record<string, string>>>>;

interface RootKind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  /** The name in the field table. */
  readonly type: string;
  readonly path: string;
}

const groupVersions: readonly { readonly path: string; readonly roots: readonly RootKind[] }[] = [
  {
    path: 'api/v1',
    roots: [
      { group: '', version: 'v1', kind: 'Pod', type: 'Pod', path: '/api/v1/namespaces/{namespace}/pods/{name}' },
      { group: '', version: 'v1', kind: 'Node', type: 'Node', path: '/api/v1/nodes/{name}' },
      { group: '', version: 'v1', kind: 'Namespace', type: 'Namespace', path: '/api/v1/namespaces/{name}' },
      { group: '', version: 'v1', kind: 'Event', type: 'Event', path: '/api/v1/namespaces/{namespace}/events/{name}' },
    ],
  },
  {
    path: 'apis/coordination.k8s.io/v1',
    roots: [
      {
        group: 'coordination.k8s.io',
        version: 'v1',
        kind: 'Lease',
        type: 'Lease',
        path: '/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}',
      },
    ],
  },
  {
    path: 'apis/events.k8s.io/v1',
    roots: [
      {
        group: 'events.k8s.io',
        version: 'v1',
        kind: 'Event',
        type: 'EventsEvent',
        path: '/apis/events.k8s.io/v1/namespaces/{namespace}/events/{name}',
      },
    ],
  },
];

const machinery = 'io.k8s.apimachinery.pkg';

/** Names that are not those of the field table; of kubectl's output the part behind the last dot is seen. */
const schemaNames: Readonly<Record<string, string>> = {
  EventsEvent: 'io.k8s.api.events.v1.Event',
  EventsV1EventSeries: 'io.k8s.api.events.v1.EventSeries',
  CoreV1EventSeries: 'io.k8s.api.core.v1.EventSeries',
  Lease: 'io.k8s.api.coordination.v1.Lease',
  LeaseSpec: 'io.k8s.api.coordination.v1.LeaseSpec',
  ObjectMeta: `${machinery}.apis.meta.v1.ObjectMeta`,
  OwnerReference: `${machinery}.apis.meta.v1.OwnerReference`,
  ManagedFieldsEntry: `${machinery}.apis.meta.v1.ManagedFieldsEntry`,
  LabelSelector: `${machinery}.apis.meta.v1.LabelSelector`,
  LabelSelectorRequirement: `${machinery}.apis.meta.v1.LabelSelectorRequirement`,
  quantity: `${machinery}.api.resource.Quantity`,
  intOrString: `${machinery}.util.intstr.IntOrString`,
  fieldsV1: `${machinery}.apis.meta.v1.FieldsV1`,
};

const schemaName = (type: string): string => schemaNames[type] ?? `io.k8s.api.core.v1.${type}`;

/** Types that are no objects with fields, and have a name all the same. */
const namedSchemas: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  quantity: {
    description: 'A number with a suffix: 100m is a tenth, 2k two thousand, 64Mi 64 times 1024 times 1024.',
    oneOf: [{ type: 'string' }, { type: 'number' }],
  },
  intOrString: {
    description: 'A number, or a text: the name of a port, or a percentage.',
    oneOf: [{ type: 'integer' }, { type: 'string' }],
    format: 'int-or-string',
  },
  fieldsV1: { description: 'Which fields of an object somebody manages, as a tree.', type: 'object' },
};

const scalars: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  string: { type: 'string' },
  boolean: { type: 'boolean' },
  int32: { type: 'integer', format: 'int32' },
  int64: { type: 'integer', format: 'int64' },
  number: { type: 'number' },
  double: { type: 'number', format: 'double' },
  bytes: { type: 'string', format: 'byte' },
  time: { type: 'string', format: 'date-time' },
  microtime: { type: 'string', format: 'date-time' },
};

interface SchemaContext {
  readonly refs: string;
  readonly docs: Docs;
  /** Types to define as well. */
  readonly need: (type: string) => void;
}

function typeSchema(code: string, context: SchemaContext): Readonly<Record<string, unknown>> {
  if (code.startsWith('[]')) return { type: 'array', items: typeSchema(code.slice(2), context) };
  if (code.startsWith('{}')) return { type: 'object', additionalProperties: typeSchema(code.slice(2), context) };
  const scalar = scalars[code];
  if (scalar !== undefined) return scalar;
  if (context.refs === v2Refs) {
    // There is no choice of types in the older form.
    if (code === 'quantity') return { type: 'string' };
    if (code === 'intOrString') return { type: 'string', format: 'int-or-string' };
  }
  // The only member of that type is `fieldsV1`.
  const type = code === 'any' ? 'fieldsV1' : code;
  context.need(type);
  return { $ref: `${context.refs}${schemaName(type)}` };
}

function objectSchema(type: string, context: SchemaContext): Record<string, unknown> {
  const table = fields[type] ?? {};
  const properties: Record<string, unknown> = {};
  const required: string[] = [];
  for (const [name, code] of Object.entries(table)) {
    const isRequired = code.endsWith('!');
    if (isRequired) required.push(name);
    const schema = typeSchema(isRequired ? code.slice(0, -1) : code, context);
    const description = context.docs[type]?.[name];
    const described = description === undefined ? {} : { description };
    // A description beside a reference only counts when the reference is wrapped.
    properties[name] =
      '$ref' in schema && context.refs !== v2Refs ? { ...described, allOf: [schema], default: {} } : { ...described, ...schema };
  }
  const description = context.docs[type]?.[''];
  return {
    ...(description === undefined ? {} : { description }),
    type: 'object',
    properties,
    ...(required.length === 0 ? {} : { required }),
  };
}

const v2Refs = '#/definitions/';
const v3Refs = '#/components/schemas/';

function definitions(roots: readonly RootKind[], refs: string, docs: Docs): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  const todo = roots.map((root) => root.type);
  for (let type = todo.pop(); type !== undefined; type = todo.pop()) {
    if (schemaName(type) in result) continue;
    const schema = namedSchemas[type] ?? objectSchema(type, { refs, docs, need: (needed) => todo.push(needed) });
    const kinds = roots.filter((root) => root.type === type).map(({ group, version, kind }) => ({ group, version, kind }));
    result[schemaName(type)] = kinds.length === 0 ? schema : { ...schema, 'x-kubernetes-group-version-kind': kinds };
  }
  return result;
}

/** H-032: kubectl looks for these parameters of a patch before it sends a write. */
function pathItem({ group, version, kind }: RootKind): unknown {
  const parameter = (name: string): unknown => ({ name, in: 'query', schema: { type: 'string', uniqueItems: true } });
  return {
    patch: {
      parameters: ['dryRun', 'fieldManager', 'fieldValidation', 'force'].map(parameter),
      responses: { 403: { description: 'Forbidden: static Pods are changed through their manifests' } },
      'x-kubernetes-action': 'patch',
      'x-kubernetes-group-version-kind': { group, version, kind },
    },
  };
}

export interface OpenApiDocument {
  readonly body: string;
  readonly etag: string;
}

const document = (value: unknown): OpenApiDocument => {
  const body = `${JSON.stringify(value)}\n`;
  return { body, etag: `"${createHash('sha256').update(body).digest('hex').toUpperCase()}"` };
};

/** Made when first asked for: few ever ask. */
export class OpenApi {
  readonly #version: string;
  readonly #docs: () => Promise<Docs>;
  readonly #made = new Map<string, OpenApiDocument>();

  constructor(options: { readonly version: string }, deps: { readonly docs: () => Promise<Docs> }) {
    this.#version = options.version;
    this.#docs = deps.docs;
  }

  async index(): Promise<OpenApiDocument> {
    const paths: Record<string, unknown> = {};
    for (const { path } of groupVersions) {
      const found = await this.groupVersion(path);
      const hash = found?.etag.replaceAll('"', '') ?? '';
      paths[path] = { serverRelativeURL: `/openapi/v3/${path}?hash=${hash}` };
    }
    return document({ paths });
  }

  /** `path` without a leading slash: `api/v1`, `apis/GROUP/VERSION`. */
  async groupVersion(path: string): Promise<OpenApiDocument | undefined> {
    const found = groupVersions.find((gv) => gv.path === path);
    if (found === undefined) return undefined;
    return await this.#once(path, (docs) => ({
      openapi: '3.0.0',
      info: { title: 'Kubernetes', version: this.#version },
      paths: Object.fromEntries(found.roots.map((root) => [root.path, pathItem(root)])),
      components: { schemas: definitions(found.roots, v3Refs, docs) },
    }));
  }

  /** The older form, in JSON. */
  async v2(): Promise<OpenApiDocument> {
    const roots = groupVersions.flatMap((gv) => gv.roots);
    return await this.#once('v2', (docs) => ({
      swagger: '2.0',
      info: { title: 'Kubernetes', version: this.#version },
      paths: Object.fromEntries(roots.map((root) => [root.path, pathItem(root)])),
      definitions: definitions(roots, v2Refs, docs),
    }));
  }

  async #once(key: string, make: (docs: Docs) => unknown): Promise<OpenApiDocument> {
    const known = this.#made.get(key) ?? document(make(await this.#docs()));
    this.#made.set(key, known);
    return known;
  }
}

/**
 * OpenAPI v2 as protobuf (gnostic's Document), which kubectl asks for when v3 has not the kind: a version, a title, nothing
 * more. So a kind that is not here is told as one, and not as a content type.
 */
export const emptyOpenApiV2 = {
  // What clients ask for is no valid media type.
  accept: 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf',
  contentType: 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf',
  body: Buffer.concat([Buffer.from([0x0a, 3]), Buffer.from('2.0'), Buffer.from([0x12, 12, 0x0a, 10]), Buffer.from('Kubernetes')]),
} as const;
