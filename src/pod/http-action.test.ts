import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HTTPGetAction } from '../api/gen/kubernetes.ts';
import { httpActionRequest } from './http-action.ts';

const container = { name: 'app', ports: [{ name: 'web', containerPort: 8080 }] };
const options = { defaultHost: '10.0.0.1', userAgent: 'agent/1' };

test('where an httpGet goes (L-411, L-412, L-414)', () => {
  const rows: readonly (readonly [HTTPGetAction, string])[] = [
    [{ port: 80 }, 'http 10.0.0.1 80 '],
    [{ port: 'web', path: '/x' }, 'http 10.0.0.1 8080 /x'],
    [{ port: '81', scheme: 'HTTPS' }, 'https 10.0.0.1 81 '],
    [{ port: 80, host: 'db.test', scheme: 'HTTP' }, 'http db.test 80 '],
    [{ port: 80, host: '' }, 'http 10.0.0.1 80 '],
    [{ port: 80, host: '[fd00::1]' }, 'http fd00::1 80 '],
    [{ port: -1 }, 'invalid port number: -1'],
    [{ port: 'nope' }, 'strconv.Atoi: parsing "nope": invalid syntax'],
  ];
  for (const [action, expected] of rows) {
    const lookup = httpActionRequest(action, container, options);
    const text =
      lookup.kind === 'error'
        ? lookup.message
        : `${lookup.request.target.scheme} ${lookup.request.target.host} ${lookup.request.target.port} ${lookup.request.target.path}`;
    assert.equal(text, expected);
  }
});

test('which headers it sends (L-414)', () => {
  const accept = { name: 'Accept', value: '*/*' };
  const agent = { name: 'User-Agent', value: 'agent/1' };
  const rows: readonly (readonly [NonNullable<HTTPGetAction['httpHeaders']>, readonly { name: string; value: string }[]])[] = [
    [[], [agent, accept]],
    [[{ name: 'x-a', value: '1' }], [{ name: 'x-a', value: '1' }, agent, accept]],
    [[{ name: 'user-agent', value: 'own' }], [{ name: 'user-agent', value: 'own' }, accept]],
    [[{ name: 'accept', value: 'text/plain' }], [{ name: 'accept', value: 'text/plain' }, agent]],
    [[{ name: 'ACCEPT', value: '' }], [agent]],
  ];
  for (const [httpHeaders, expected] of rows) {
    const lookup = httpActionRequest({ port: 80, httpHeaders }, container, options);
    assert.deepEqual(lookup.kind === 'request' ? lookup.request.headers : lookup.message, expected);
  }
});
