import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseEndpoint } from './endpoint.ts';

describe('parseEndpoint (L-182)', () => {
  const accepted: readonly (readonly [text: string, path: string, isBarePath: boolean])[] = [
    ['unix:///run/containerd/containerd.sock', '/run/containerd/containerd.sock', false],
    ['UNIX:///run/a.sock', '/run/a.sock', false],
    ['unix:/run/a.sock', '/run/a.sock', false],
    ['/run/a:1.sock', '/run/a:1.sock', true],
  ];
  for (const [text, path, isBarePath] of accepted) {
    it(`accepts ${text}`, () => assert.deepEqual(parseEndpoint(text), { target: `unix://${path}`, path, isBarePath }));
  }

  const refused: readonly (readonly [text: string, message: RegExp])[] = [
    ['tcp://127.0.0.1:1', /^only support unix socket endpoint/],
    ['http://localhost', /^protocol "http" not supported/],
    ['npipe:////./pipe/containerd', /^protocol "npipe" not supported/],
    ['unix://run/a.sock', /has no absolute path/],
    ['run/a.sock', /has no absolute path/],
    ['', /has no absolute path/],
  ];
  for (const [text, message] of refused) {
    it(`refuses ${text || 'nothing'}`, () => assert.throws(() => parseEndpoint(text), { name: 'ConfigError', message }));
  }
});
