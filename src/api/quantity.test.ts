import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  addQuantities,
  compareQuantities,
  formatQuantity,
  parseQuantity,
  quantityMilliValue,
  quantityValue,
  roundUpToMilli,
} from './quantity.ts';

const parse = (text: string) => {
  const amount = parseQuantity(text);
  assert.ok(amount !== undefined, text);
  return amount;
};

const canonical: Readonly<Record<string, string>> = {
  '0': '0',
  '-0': '0',
  '0Mi': '0',
  '1': '1',
  '+1': '1',
  '1.': '1',
  '.5': '500m',
  '0.1': '100m',
  '100m': '100m',
  '1000m': '1',
  '1500m': '1500m',
  '-1500m': '-1500m',
  '100000n': '100u',
  '0.0000000001': '1n',
  '-0.0000000001': '-1n',
  '1000': '1k',
  '1024': '1024',
  '123456789': '123456789',
  '1E': '1E',
  '1e3': '1e3',
  '1E3': '1e3',
  '12e-3': '12e-3',
  '1000e3': '1e6',
  '1e0': '1',
  '1024Ki': '1Mi',
  '1.5Gi': '1536Mi',
  '0.5Mi': '512Ki',
  '0.5Ki': '512',
  '1023': '1023',
  '1Ki': '1Ki',
  '1.5Ki': '1536',
  '1025': '1025',
  '1Ei': '1Ei',
  '-512Ki': '-512Ki',
  '-0.5Mi': '-512Ki',
  '-0.25Ki': '-256',
  '1024Ei': '9223372036854775807',
  '9999999999999999999999': '9223372036854775807',
  '-1e500': '-9223372036854775807',
  '1e-500': '1e-9',
};

for (const [text, expected] of Object.entries(canonical)) {
  test(`canonical form of ${text}`, () => assert.equal(formatQuantity(parse(text)), expected));
}

for (const text of [
  '',
  ' ',
  '.',
  'x',
  '1x',
  '1 Gi',
  '1gi',
  '1K',
  '1mi',
  '1ki',
  '1e',
  '1e1.5',
  '1m5',
  '--1',
  '1..2',
  '0x10',
  '1_000',
  '1'.repeat(300),
]) {
  test(`not a quantity: ${JSON.stringify(text.slice(0, 20))}`, () => assert.equal(parseQuantity(text), undefined));
}

const roundings: readonly (readonly [text: string, milli: string, value: bigint, milliValue: bigint])[] = [
  ['0.0001', '1m', 1n, 1n],
  ['1.0001', '1001m', 2n, 1001n],
  ['-1.0001', '-1001m', -2n, -1001n],
  ['64Mi', '64Mi', 67_108_864n, 67_108_864_000n],
];

for (const [text, milli, value, milliValue] of roundings) {
  test(`S-115 ${text} rounded up`, () => {
    assert.equal(formatQuantity(roundUpToMilli(parse(text))), milli);
    assert.equal(quantityValue(parse(text)), value);
    assert.equal(quantityMilliValue(parse(text)), milliValue);
  });
}

const written = fc
  .tuple(fc.bigInt(-(10n ** 12n), 10n ** 12n), fc.constantFrom('', 'n', 'u', 'm', 'k', 'M', 'Ki', 'Mi', 'e3', 'e-3'))
  .map(([n, suffix]) => `${n}${suffix}`);

test('the canonical form means the same, and is its own canonical form', () => {
  fc.assert(
    fc.property(written, (text) => {
      const amount = parse(text);
      const once = formatQuantity(amount);
      assert.equal(formatQuantity(parse(once)), once);
      assert.equal(compareQuantities(parse(once), amount), 0);
    }),
  );
});

test('addition commutes in value, and agrees with comparison', () => {
  fc.assert(
    fc.property(written, written, (a, b) => {
      const sum = addQuantities(parse(a), parse(b));
      assert.equal(sum.nano, addQuantities(parse(b), parse(a)).nano);
      assert.equal(compareQuantities(sum, parse(a)), Math.sign(Number(parse(b).nano)));
    }),
  );
});

test('any text is a quantity or is not: nothing is thrown', () => {
  fc.assert(fc.property(fc.string(), (text) => ['object', 'undefined'].includes(typeof parseQuantity(text))));
});
