// Objects of a resource → the bodies of answers: single objects, lists, Tables, and the events of a watch.
import type { Instant } from '../../std/clock.ts';
import type { Change, KubeObject } from '../watch-cache.ts';
import type { Representation } from './negotiate.ts';
import type { ObjectRepresentation } from './query.ts';
import type { Resource } from './resources.ts';
import type { Row, Table } from './tables.ts';

export const apiVersionOf = (resource: Pick<Resource, 'group' | 'version'>): string =>
  resource.group === '' ? resource.version : `${resource.group}/${resource.version}`;

export interface RenderOptions {
  readonly representation: Representation;
  readonly include: ObjectRepresentation;
  readonly now: Instant;
}

const whole = (resource: Resource, object: KubeObject): KubeObject => ({
  ...object,
  kind: resource.kind,
  apiVersion: apiVersionOf(resource),
});

const partial = (object: KubeObject): unknown => ({
  kind: 'PartialObjectMetadata',
  apiVersion: 'meta.k8s.io/v1',
  metadata: object.metadata ?? {},
});

function tableRow(resource: Resource, object: KubeObject, options: RenderOptions): Row {
  const row = resource.printer.row(object, options.now);
  switch (options.include) {
    case 'metadata':
      return { ...row, object: partial(object) };
    case 'object':
      return { ...row, object: whole(resource, object) };
    case 'none':
      return row;
  }
}

function table(resource: Resource, rows: readonly Row[], metadata: Readonly<Record<string, unknown>>, withColumns = true): Table {
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata,
    columnDefinitions: withColumns ? resource.printer.columns : null,
    rows,
  };
}

export function renderObject(resource: Resource, object: KubeObject, options: RenderOptions): unknown {
  switch (options.representation) {
    case 'table':
      return table(resource, [tableRow(resource, object, options)], { resourceVersion: object.metadata?.resourceVersion ?? '' });
    case 'partial':
      return partial(object);
    case 'json':
      return whole(resource, object);
  }
}

export interface ListMeta {
  readonly resourceVersion: string;
  readonly continue?: string;
  readonly remainingItemCount?: number;
}

export function renderList(resource: Resource, objects: readonly KubeObject[], metadata: ListMeta, options: RenderOptions): unknown {
  switch (options.representation) {
    case 'table':
      return table(
        resource,
        objects.map((object) => tableRow(resource, object, options)),
        { ...metadata },
      );
    case 'partial':
      return { kind: 'PartialObjectMetadataList', apiVersion: 'meta.k8s.io/v1', metadata, items: objects.map(partial) };
    case 'json':
      return {
        kind: `${resource.kind}List`,
        apiVersion: apiVersionOf(resource),
        metadata,
        // Items of a typed list leave out what the list says of all of them (H-120).
        items: objects.map(({ kind: _kind, apiVersion: _apiVersion, ...object }) => object),
      };
  }
}

const encoder = new TextEncoder();

const line = (type: string, object: unknown): Uint8Array => encoder.encode(`${JSON.stringify({ type, object })}\n`);

/**
 * Encodes the events of one watch. Events in plain JSON are encoded once for all watchers (`shared`). The first Table
 * carries the columns, later ones do not (H-096).
 */
export class EventEncoder {
  readonly #resource: Resource;
  readonly #representation: Representation;
  readonly #include: ObjectRepresentation;
  readonly #shared: WeakMap<Change<KubeObject>, Uint8Array>;
  #isFirst = true;

  constructor(
    options: { readonly representation: Representation; readonly include: ObjectRepresentation },
    deps: { readonly resource: Resource; readonly shared: WeakMap<Change<KubeObject>, Uint8Array> },
  ) {
    this.#resource = deps.resource;
    this.#representation = options.representation;
    this.#include = options.include;
    this.#shared = deps.shared;
  }

  change(change: Change<KubeObject>, now: Instant): Uint8Array {
    if (this.#representation !== 'json') return this.event(change.type, change.object, now);
    const known = this.#shared.get(change) ?? this.event(change.type, change.object, now);
    this.#shared.set(change, known);
    return known;
  }

  event(type: string, object: KubeObject, now: Instant): Uint8Array {
    const options: RenderOptions = { representation: this.#representation, include: this.#include, now };
    if (this.#representation !== 'table') return line(type, renderObject(this.#resource, object, options));
    const metadata = { resourceVersion: object.metadata?.resourceVersion ?? '' };
    const body = table(this.#resource, [tableRow(this.#resource, object, options)], metadata, this.#isFirst);
    this.#isFirst = false;
    return line(type, body);
  }

  bookmark(version: number, endsInitial: boolean, now: Instant): Uint8Array {
    const metadata = {
      resourceVersion: String(version),
      ...(endsInitial ? { annotations: { 'k8s.io/initial-events-end': 'true' } } : {}),
    };
    // The members the printers and typed clients insist on, empty.
    const blank = { metadata, spec: { containers: [] }, status: {}, involvedObject: {} };
    if (this.#representation === 'table') return this.event('BOOKMARK', blank, now);
    return line('BOOKMARK', { kind: this.#resource.kind, apiVersion: apiVersionOf(this.#resource), metadata });
  }

  error(status: unknown): Uint8Array {
    return line('ERROR', status);
  }
}
