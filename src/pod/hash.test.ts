import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerHash } from './hash.ts';

for (const [name, image, expected] of [
  ['foo', 'bar', '11a6d6d6'],
  ['foo', 'img:v1', 'b876882d'],
  ['test_container', 'foo/image:v1', '8e45cbd0'],
] as const) {
  test(`L-083 hash of ${name} ${image} is ${expected}`, () => {
    assert.equal(containerHash({ name, image }), expected);
  });
}

test('L-082 only name and image count', () => {
  const plain = { name: 'a', image: 'b' };
  assert.equal(containerHash({ ...plain, ...{ command: ['x'], env: [{ name: 'A' }] } }), containerHash(plain));
  assert.notEqual(containerHash({ name: 'a', image: 'c' }), containerHash(plain));
});
