// Which representation of an answer the client wants (section 1.4). JSON is always an answer to a request for
// protobuf with a JSON alternative, so there is no protobuf encoder.
import { notAcceptable } from './api-error.ts';

export type Representation = 'json' | 'table' | 'partial';

const available = ['application/json'] as const;

interface MediaRange {
  readonly type: string;
  readonly parameters: ReadonlyMap<string, string>;
}

function parseAccept(header: string): MediaRange[] {
  return header.split(',').map((part) => {
    const [type = '', ...rest] = part.split(';').map((text) => text.trim());
    const parameters = new Map<string, string>();
    for (const text of rest) {
      const at = text.indexOf('=');
      if (at > 0) parameters.set(text.slice(0, at).toLowerCase(), text.slice(at + 1));
    }
    return { type: type.toLowerCase(), parameters };
  });
}

function representationOf({ type, parameters }: MediaRange): Representation | undefined {
  if (type !== 'application/json' && type !== 'application/*' && type !== '*/*') return undefined;
  const as = parameters.get('as');
  if (as === undefined) return 'json';
  if (parameters.get('g') !== 'meta.k8s.io') return undefined;
  const version = parameters.get('v');
  if (as === 'Table' && (version === 'v1' || version === 'v1beta1')) return 'table';
  if ((as === 'PartialObjectMetadata' || as === 'PartialObjectMetadataList') && (version === 'v1' || version === 'v1beta1'))
    return 'partial';
  return undefined;
}

/** The first range of the Accept header that can be served; a 406 when there is none (H-041). */
export function negotiate(accept: string | undefined): Representation {
  if (accept === undefined || accept.trim() === '') return 'json';
  for (const range of parseAccept(accept)) {
    const representation = representationOf(range);
    if (representation !== undefined) return representation;
  }
  throw notAcceptable(available);
}

/** Whether the client asked for aggregated discovery (H-021), and in which version. */
export function aggregatedDiscovery(accept: string | undefined): 'v2' | 'v2beta1' | undefined {
  for (const { type, parameters } of parseAccept(accept ?? '')) {
    if (type !== 'application/json' || parameters.get('g') !== 'apidiscovery.k8s.io' || parameters.get('as') !== 'APIGroupDiscoveryList')
      continue;
    const version = parameters.get('v');
    if (version === 'v2' || version === 'v2beta1') return version;
  }
  return undefined;
}

/** H-013. */
export function wantsPretty(query: URLSearchParams, userAgent: string | undefined): boolean {
  const pretty = query.get('pretty') ?? '';
  if (pretty !== '') return ['1', 't', 'true'].includes(pretty.toLowerCase());
  return /^(curl|Wget|Mozilla\/5\.0)/.test(userAgent ?? '');
}
