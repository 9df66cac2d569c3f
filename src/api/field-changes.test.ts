import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FieldChange, fieldChanges } from './field-changes.ts';

const rows: readonly { readonly name: string; readonly from: unknown; readonly to: unknown; readonly changes: readonly FieldChange[] }[] = [
  { name: 'nothing', from: { a: 1, b: [{ name: 'x' }] }, to: { b: [{ name: 'x' }], a: 1 }, changes: [] },
  { name: 'a value', from: { a: { b: 1 } }, to: { a: { b: 2 } }, changes: [{ path: 'a.b', from: 1, to: 2 }] },
  {
    name: 'a new field and one that is gone',
    from: { a: 1 },
    to: { b: 2 },
    changes: [
      { path: 'a', from: 1 },
      { path: 'b', to: 2 },
    ],
  },
  { name: 'a map that appears is one change', from: {}, to: { a: { b: 1 } }, changes: [{ path: 'a', to: { b: 1 } }] },
  { name: 'absent and empty are one', from: { a: {}, b: [] }, to: { c: undefined }, changes: [] },
  { name: 'a value to null', from: { a: 1 }, to: { a: null }, changes: [{ path: 'a', from: 1, to: null }] },
  { name: 'another type', from: { a: 1 }, to: { a: '1' }, changes: [{ path: 'a', from: 1, to: '1' }] },
  {
    name: 'members by name, wherever they are',
    from: { c: [{ name: 'x', image: '1' }] },
    to: {
      c: [
        { name: 'y', image: '2' },
        { name: 'x', image: '3' },
      ],
    },
    changes: [
      { path: 'c[x].image', from: '1', to: '3' },
      { path: 'c[y]', to: { name: 'y', image: '2' } },
    ],
  },
  {
    name: 'the order of named members',
    from: { c: [{ name: 'x' }, { name: 'y' }] },
    to: { c: [{ name: 'y' }, { name: 'x' }] },
    changes: [{ path: 'c (order)', from: ['x', 'y'], to: ['y', 'x'] }],
  },
  {
    name: 'mounts by their path, though several have the name of one volume',
    from: [
      { name: 'v', mountPath: '/a' },
      { name: 'v', mountPath: '/b' },
    ],
    to: [{ name: 'v', mountPath: '/b' }],
    changes: [{ path: '[/a]', from: { name: 'v', mountPath: '/a' } }],
  },
  {
    name: 'plain lists by place',
    from: { a: ['1', '2'] },
    to: { a: ['1', '3', '4'] },
    changes: [
      { path: 'a[1]', from: '2', to: '3' },
      { path: 'a[2]', to: '4' },
    ],
  },
  {
    name: 'keys with dots',
    from: { l: { 'a.b/c': '1' } },
    to: { l: { 'a.b/c': '2' } },
    changes: [{ path: 'l[a.b/c]', from: '1', to: '2' }],
  },
];

for (const { name, from, to, changes } of rows)
  test(`fields that differ: ${name}`, () => assert.deepEqual(fieldChanges(from, to), changes));
