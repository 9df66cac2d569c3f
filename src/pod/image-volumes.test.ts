import assert from 'node:assert/strict';
import { test } from 'node:test';
import { imageVolumeSupport } from './image-volumes.ts';

test('what runtimes can mount of an image (L-239)', () => {
  const rows: readonly (readonly [string, string, string])[] = [
    ['containerd', '1.6.20~ds1', 'none'],
    ['containerd', 'v1.7.24', 'none'],
    ['containerd', '2.0.3', 'none'],
    ['containerd', '2.1.9+unknown', 'whole'],
    ['containerd', 'v2.2.0', 'parts'],
    ['containerd', '3.0.0', 'parts'],
    ['containerd', 'development', 'parts'],
    ['cri-o', '1.33.0', 'parts'],
  ];
  for (const [name, version, expected] of rows) assert.equal(imageVolumeSupport({ name, version }), expected, `${name} ${version}`);
});
