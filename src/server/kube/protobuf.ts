// The few request bodies that kubectl sends as protobuf and never as JSON (H-042, H-170): envelope and messages → the
// plain objects their JSON would give.
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { badRequest } from './api-error.ts';

/** Field number → name and what it holds: text, or a message described the same way. */
interface Shape {
  readonly [field: number]: readonly [name: string, type: 'string' | Shape];
}

const selfSubjectAccessReview: Shape = {
  2: [
    'spec',
    {
      1: [
        'resourceAttributes',
        {
          1: ['namespace', 'string'],
          2: ['verb', 'string'],
          3: ['group', 'string'],
          4: ['version', 'string'],
          5: ['resource', 'string'],
          6: ['subresource', 'string'],
          7: ['name', 'string'],
        },
      ],
      2: ['nonResourceAttributes', { 1: ['path', 'string'], 2: ['verb', 'string'] }],
    },
  ],
};
const selfSubjectRulesReview: Shape = { 2: ['spec', { 1: ['namespace', 'string'] }] };
const shapes: Readonly<Record<string, Shape>> = {
  SelfSubjectAccessReview: selfSubjectAccessReview,
  SelfSubjectRulesReview: selfSubjectRulesReview,
  SelfSubjectReview: {},
};

type Decoded = { [name: string]: string | Decoded };

function decode(bytes: Uint8Array, shape: Shape): Decoded {
  const reader = new BinaryReader(bytes);
  const result: Decoded = {};
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag();
    const known = shape[field];
    if (known === undefined || wire !== WireType.LengthDelimited) reader.skip(wire, field);
    else if (known[1] === 'string') result[known[0]] = reader.string();
    else result[known[0]] = decode(reader.bytes(), known[1]);
  }
  return result;
}

/** The raw object inside the envelope `k8s\0` + Unknown{1 typeMeta, 2 raw}. */
function unwrap(bytes: Uint8Array): Uint8Array {
  const reader = new BinaryReader(bytes);
  let raw = new Uint8Array(0);
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag();
    if (field === 2 && wire === WireType.LengthDelimited) raw = new Uint8Array(reader.bytes());
    else reader.skip(wire, field);
  }
  return raw;
}

const magic = Buffer.from([0x6b, 0x38, 0x73, 0x00]);

/** `kind` is one of the review kinds. Throws a 400 for bytes that are none. */
export function decodeReview(body: Buffer, kind: string): Decoded {
  if (!body.subarray(0, 4).equals(magic)) throw badRequest('the body is not a Kubernetes protobuf message');
  try {
    return decode(unwrap(body.subarray(4)), shapes[kind] ?? {});
  } catch (error) {
    throw badRequest('the body is not a valid protobuf message', error);
  }
}
