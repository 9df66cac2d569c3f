import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { canonicalJson } from './canonical-json.ts';

test('keys are sorted at every level, undefined is left out', () => {
  assert.equal(canonicalJson({ b: [{ d: 1, c: null }], a: 'x', e: undefined }), '{"a":"x","b":[{"c":null,"d":1}]}');
});

test('it is JSON of the same value', () => {
  fc.assert(fc.property(fc.jsonValue(), (value) => assert.deepEqual(JSON.parse(canonicalJson(value)), JSON.parse(JSON.stringify(value)))));
});
