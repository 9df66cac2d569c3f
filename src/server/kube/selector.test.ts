import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ApiError } from './api-error.ts';
import { parseFieldSelector, parseLabelSelector } from './selector.ts';

const labels = { app: 'web', tier: 'a', n: '5' };

const matching: readonly (readonly [selector: string, matches: boolean])[] = [
  ['', true],
  ['app=web', true],
  ['app==web', true],
  ['app=x', false],
  ['app!=web', false],
  ['app!=x', true],
  ['none!=x', true],
  ['app in (web,x)', true],
  ['app in (x, y)', false],
  ['app notin (x)', true],
  ['app notin (web)', false],
  ['none notin (web)', true],
  ['app', true],
  ['none', false],
  ['!app', false],
  ['!none', true],
  ['n>4', true],
  ['n>5', false],
  ['n<6', true],
  ['app>4', false],
  ['none<6', false],
  ['app=web,tier=a', true],
  ['app=web,tier=b', false],
  [' app = web , !none ', true],
  ['app==', false],
  ['none=', false],
  ['app in ()', false],
  ['example.com/a.b_c-D!=1', true],
];
for (const [selector, expected] of matching) {
  test(`H-130 C-306: ${JSON.stringify(selector)} ${expected ? 'matches' : 'does not match'}`, () => {
    assert.equal(parseLabelSelector(selector)(labels), expected);
  });
}

const wrong: readonly (readonly [selector: string, message: RegExp])[] = [
  ['a b', /unable to parse requirement: found 'b', expected: /],
  ['=a', /unable to parse requirement: found '=', expected: identifier/],
  ['a in (b', /unable to parse requirement: found '', expected: ',' or '\)'/],
  ['a in b', /found 'b', expected: '\('/],
  ['a,', /found '', expected: identifier after ,/],
  ['a=b=c', /found '=', expected: ',' or 'end of string'/],
  ['a>x', /the value must be an integer/],
  ['-a', /unable to parse requirement/],
  ['a=b!', /found '!'/],
  ['__proto__=\u0000', /unable to parse requirement/],
];
for (const [selector, message] of wrong) {
  test(`H-130: ${JSON.stringify(selector)} is a 400`, () => {
    assert.throws(
      () => parseLabelSelector(selector),
      (error: unknown) => error instanceof ApiError && error.status.code === 400 && message.test(error.message),
    );
  });
}

test('H-130: any text is a selector or a 400, never a crash', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'ab=!,()<> in\\0é\n'), maxLength: 30 }), (text) => {
      for (const parse of [() => parseLabelSelector(text)(labels), () => parseFieldSelector(text, ['a'])(() => 'b')]) {
        try {
          parse();
        } catch (error) {
          assert.ok(error instanceof ApiError && error.status.code === 400, String(error));
        }
      }
    }),
  );
});

const fields = ['metadata.name', 'status.phase', 'involvedObject.namespace'];
const values: Readonly<Record<string, string>> = { 'metadata.name': 'web,1', 'status.phase': 'Running' };
const fieldCases: readonly (readonly [selector: string, matches: boolean])[] = [
  ['', true],
  ['status.phase=Running', true],
  ['status.phase!=Running', false],
  ['status.phase==Running,status.phase!=Failed', true],
  ['metadata.name=web\\,1', true],
  ['involvedObject.namespace=', true],
  ['host=Running', true],
];
for (const [selector, expected] of fieldCases) {
  test(`H-131 C-307: ${JSON.stringify(selector)} ${expected ? 'matches' : 'does not match'}`, () => {
    assert.equal(
      parseFieldSelector(selector, fields, { host: 'status.phase' })((f) => values[f] ?? ''),
      expected,
    );
  });
}

test("H-131: unknown fields and terms without operator are a 400 in Kubernetes' words", () => {
  assert.throws(() => parseFieldSelector('spec.foo=1', fields), /^ApiError: field label not supported: spec\.foo$/);
  assert.throws(() => parseFieldSelector('bad', fields), /^ApiError: invalid selector: 'bad'; can't understand 'bad'$/);
});
