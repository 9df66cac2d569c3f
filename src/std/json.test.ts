import assert from 'node:assert/strict';
import { test } from 'node:test';
import { equalJson } from './json.ts';

const rows: readonly [string, unknown, unknown, boolean][] = [
  ['scalars', 1, 1, true],
  ['number and text', 1, '1', false],
  ['null and absent', { a: null }, {}, false],
  ['undefined and absent', { a: undefined, b: 1 }, { b: 1 }, true],
  ['undefined against a value', { a: undefined }, { b: 1 }, false],
  ['key order', { a: 1, b: 2 }, { b: 2, a: 1 }, true],
  ['nested difference', { a: [{ b: 1 }] }, { a: [{ b: 2 }] }, false],
  ['list order', [1, 2], [2, 1], false],
  ['list length', [1], [1, 2], false],
  ['list and object', [], {}, false],
];

for (const [name, a, b, expected] of rows) {
  test(`equalJson: ${name}`, () => {
    assert.equal(equalJson(a, b), expected);
    assert.equal(equalJson(b, a), expected);
  });
}
