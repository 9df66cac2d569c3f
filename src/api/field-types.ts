// The generated field table, parsed once: what decoding checks values against and defaulting fills gaps from.
import { fields } from './gen/fields.ts';

export type FieldType =
  | { readonly kind: 'object'; readonly name: string }
  | { readonly kind: 'list'; readonly item: FieldType }
  | { readonly kind: 'map'; readonly item: FieldType }
  | { readonly kind: 'scalar'; readonly name: string };

export interface Field {
  readonly type: FieldType;
  readonly isRequired: boolean;
}

const scalarNames = new Set([
  'string',
  'boolean',
  'int32',
  'int64',
  'number',
  'double',
  'quantity',
  'intOrString',
  'time',
  'microtime',
  'bytes',
  'any',
]);

function parseType(code: string): FieldType {
  if (code.startsWith('[]')) return { kind: 'list', item: parseType(code.slice(2)) };
  if (code.startsWith('{}')) return { kind: 'map', item: parseType(code.slice(2)) };
  return scalarNames.has(code) ? { kind: 'scalar', name: code } : { kind: 'object', name: code };
}

/** Object name → field name → type. */
export const fieldTypes: ReadonlyMap<string, ReadonlyMap<string, Field>> = new Map(
  Object.entries(fields).map(([name, members]) => [
    name,
    new Map(
      Object.entries(members).map(([field, code]) => [field, { type: parseType(code.replace(/!$/, '')), isRequired: code.endsWith('!') }]),
    ),
  ]),
);

/** The zero value of a type, as in Go: what a `null` in a list or an absent required field means. */
export function zeroOf(type: FieldType): unknown {
  switch (type.kind) {
    case 'object':
    case 'map':
      return {};
    case 'list':
      return [];
    case 'scalar':
      switch (type.name) {
        case 'boolean':
          return false;
        case 'int32':
        case 'int64':
        case 'number':
        case 'double':
        case 'intOrString':
          return 0;
        case 'quantity':
          return '0';
        case 'any':
          return null;
        default:
          return '';
      }
  }
}
