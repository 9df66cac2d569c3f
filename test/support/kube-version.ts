import type { KubeVersion } from '../../src/server/kube/app.ts';

export const testVersion: KubeVersion = {
  major: '1',
  minor: '36',
  gitVersion: 'v1.36.2',
  gitCommit: 'test',
  buildDate: '2026-01-01T00:00:00Z',
  platform: 'linux/amd64',
  engine: 'node',
};
