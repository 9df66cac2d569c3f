import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readYaml, resolvePlainScalar } from './yaml-text.ts';

const scalars: readonly (readonly [text: string, value: string | number | boolean | null])[] = [
  ...['y', 'Y', 'yes', 'Yes', 'YES', 'true', 'True', 'TRUE', 'on', 'On', 'ON'].map((text) => [text, true] as const),
  ...['n', 'N', 'no', 'No', 'NO', 'false', 'False', 'FALSE', 'off', 'Off', 'OFF'].map((text) => [text, false] as const),
  ...['', '~', 'null', 'Null', 'NULL'].map((text) => [text, null] as const),
  ['yEs', 'yEs'],
  ['0', 0],
  ['-0', 0],
  ['+12', 12],
  ['-12', -12],
  ['1_000', 1000],
  ['0755', 493],
  ['0o755', 493],
  ['-0755', -493],
  ['08', 8],
  ['0x1F', 31],
  ['0b101', 5],
  ['1.5', 1.5],
  ['.5', 0.5],
  ['1.', 1],
  ['1e3', 1000],
  ['-1.5E-2', -0.015],
  ['1:30', '1:30'],
  ['190:20:30', '190:20:30'],
  ['2020-01-02', '2020-01-02'],
  ['2020-01-02T03:04:05Z', '2020-01-02T03:04:05Z'],
  ['.inf', '.inf'],
  ['.nan', '.nan'],
  ['1.2.3', '1.2.3'],
  ['0xZZ', '0xZZ'],
  ['1e', '1e'],
  ['-', '-'],
  ['+', '+'],
  ['.', '.'],
  ['nginx', 'nginx'],
];

for (const [text, value] of scalars) test(`S-033 ${JSON.stringify(text)}`, () => assert.equal(resolvePlainScalar(text), value));

const tagged: Readonly<Record<string, string | number | boolean | null>> = {
  '"yes"': 'yes',
  "'12'": '12',
  '!!str 12': '12',
  '!!int "12"': 12,
  '!!bool yes': true,
  '!!null x': 'x',
  '!!binary aGVsbG8=': 'hello',
  '!mine 12': '12',
  '|-\n  yes': 'yes',
};

for (const [text, value] of Object.entries(tagged)) {
  test(`S-033 ${JSON.stringify(text)} with quotes, block or tag`, () => {
    const root = readYaml(`a: ${text}`)[0]?.root;
    const node = root?.kind === 'map' ? root.entries.get('a')?.value : undefined;
    assert.equal(node?.kind === 'scalar' ? node.value : undefined, value);
  });
}

test('keys are text: on is "true", 1 is "1"', () => {
  const root = readYaml('on: a\n1: b\n"on": c\n')[0]?.root;
  assert.deepEqual(root?.kind === 'map' ? [...root.entries.keys()] : [], ['true', '1', 'on']);
});
