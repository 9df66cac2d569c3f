import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requestLabels } from './request-meter.ts';

const rows: readonly (readonly [method: string, path: string, shown: string, longRunning: string])[] = [
  ['GET', '/pods', 'pods', 'false'],
  ['GET', '/runningpods/', 'runningpods', 'false'],
  ['GET', '/metrics', 'metrics', 'false'],
  ['GET', '/metrics/cadvisor', 'metrics/cadvisor', 'false'],
  ['GET', '/metrics/made-up', 'other', 'false'],
  ['POST', '/exec/ns/pod/c', 'exec', 'true'],
  ['POST', '/attach/ns/pod/c', 'attach', 'true'],
  ['POST', '/portForward/ns/pod', 'portForward', 'true'],
  ['GET', '/debug/pprof/', 'debug', 'true'],
  ['GET', '/../etc', 'other', 'false'],
  ['GET', '', 'other', 'false'],
];
for (const [method, path, shown, longRunning] of rows) {
  test(`H-387: ${method} ${path} counts as ${shown}`, () =>
    assert.deepEqual(requestLabels(method, path, 'readwrite'), {
      method,
      path: shown,
      server_type: 'readwrite',
      long_running: longRunning,
    }));
}

test('H-387: no client makes as many series as it likes', () =>
  assert.deepEqual(requestLabels('PROPFIND', '/x', 'readonly')['method'], 'other'));
