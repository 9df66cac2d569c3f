import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ApiError } from './api-error.ts';
import { parseFieldSelector, parseLabelSelector } from './selector.ts';

const selectable = { fields: ['metadata.name', 'status.phase', 'involvedObject.namespace'], fieldAliases: {}, hasOwnFields: true };
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

const nameRule =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const valueRule =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const operators = 'in, notin, =, ==, !=, gt, lt';
const noInteger = "for 'Gt', 'Lt' operators, the value must be an integer";
const long = 'a'.repeat(64);

/** As an API server 1.36.2 answered each of them. */
const wrong: readonly (readonly [selector: string, message: string])[] = [
  ['a b', `unable to parse requirement: found 'b', expected: ${operators}`],
  ['a gt 1', `unable to parse requirement: found 'gt', expected: ${operators}`],
  ['a!b', `unable to parse requirement: found '!', expected: ${operators}`],
  ['a)', `unable to parse requirement: found ')', expected: ${operators}`],
  ['=a', "found '=', expected: !, identifier, or 'end of string'"],
  [',', "found ',', expected: !, identifier, or 'end of string'"],
  ['(a)', "found '(', expected: !, identifier, or 'end of string'"],
  ['!', "unable to parse requirement: found '', expected: identifier"],
  ['!!a', "unable to parse requirement: found '!', expected: identifier"],
  ['a=(b)', "unable to parse requirement: found '(', expected: identifier"],
  ['!a=b', "found '=', expected: ',' or 'end of string'"],
  ['a=b=c', "found '=', expected: ',' or 'end of string'"],
  ['a=b!', "found '!', expected: ',' or 'end of string'"],
  ['a in (b))', "found ')', expected: ',' or 'end of string'"],
  ['a,', "found '', expected: identifier after ','"],
  ['a,,b', "found ',', expected: identifier after ','"],
  ['a in', "unable to parse requirement: found '' expected: '('"],
  ['a in b', "unable to parse requirement: found 'b' expected: '('"],
  ['a in (', "unable to parse requirement: found '', expected: ',', ')' or identifier"],
  ['a in ((b)', "unable to parse requirement: found '(', expected: ',', ')' or identifier"],
  ['a in (b', "unable to parse requirement: found '', expected: ',' or ')'"],
  ['a in (b c)', "unable to parse requirement: found 'c', expected: ',' or ')'"],
  ['a in (b,', "unable to parse requirement: found '', expected: ',', or identifier"],
  ['a>x', `unable to parse requirement: values[0]: Invalid value: "x": ${noInteger}`],
  ['a>', `unable to parse requirement: values[0]: Invalid value: "": ${noInteger}`],
  ['a>99999999999999999999', `unable to parse requirement: values[0]: Invalid value: "99999999999999999999": ${noInteger}`],
  ['a>-1', `unable to parse requirement: values[0][a]: Invalid value: "-1": ${valueRule}`],
  ['a=-b', `unable to parse requirement: values[0][a]: Invalid value: "-b": ${valueRule}`],
  [
    'a in (-b,-c)',
    `unable to parse requirement: [values[0][a]: Invalid value: "-b": ${valueRule}, values[1][a]: Invalid value: "-c": ${valueRule}]`,
  ],
  [`a=${long}`, `unable to parse requirement: values[0][a]: Invalid value: "${long}": must be no more than 63 bytes`],
  ['-a', `unable to parse requirement: <nil>: Invalid value: "-a": ${nameRule}`],
  ['a/', `unable to parse requirement: <nil>: Invalid value: "a/": name part must be non-empty; ${nameRule}`],
  ['/a', 'unable to parse requirement: <nil>: Invalid value: "/a": prefix part must be non-empty'],
  [long, `unable to parse requirement: <nil>: Invalid value: "${long}": name part must be no more than 63 bytes`],
  [
    'A/b',
    "unable to parse requirement: <nil>: Invalid value: \"A/b\": prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
  ],
];
for (const [selector, message] of wrong) {
  test(`H-130: ${JSON.stringify(selector)} is a 400 in Kubernetes' words`, () => {
    assert.throws(
      () => parseLabelSelector(selector),
      (error: unknown) => {
        assert.ok(error instanceof ApiError && error.status.code === 400);
        assert.equal(error.message, message);
        return true;
      },
    );
  });
}

test('H-130: any text is a selector or a 400, never a crash', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'ab=!,()<> in\\0é\n'), maxLength: 30 }), (text) => {
      for (const parse of [
        () => parseLabelSelector(text)(labels),
        () => parseFieldSelector(text, { ...selectable, fields: ['a'] })(() => 'b'),
      ]) {
        try {
          parse();
        } catch (error) {
          assert.ok(error instanceof ApiError && error.status.code === 400, String(error));
        }
      }
    }),
  );
});

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
      parseFieldSelector(selector, { ...selectable, fieldAliases: { host: 'status.phase' } })((f) => values[f] ?? ''),
      expected,
    );
  });
}

test("H-131: unknown fields and terms without operator are a 400 in Kubernetes' words", () => {
  const messageFor = (text: string, own = true): string => {
    try {
      parseFieldSelector(text, { ...selectable, hasOwnFields: own });
    } catch (error) {
      return String(error);
    }
    return '';
  };
  assert.equal(messageFor('spec.foo=1'), 'ApiError: field label not supported: spec.foo');
  assert.equal(
    messageFor('spec.foo=1', false),
    'ApiError: "spec.foo" is not a known field selector: only "metadata.name", "metadata.namespace"',
  );
  assert.equal(messageFor('bad'), "ApiError: invalid selector: 'bad'; can't understand 'bad'");
  assert.equal(messageFor('status.phase=a=b'), 'ApiError: invalid field selector: unescaped character in value: 61');
});
