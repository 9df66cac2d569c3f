// Which version this is, and what it says of itself to clients.
import os from 'node:os';
import type { KubeVersion } from '../server/kube/app.ts';

export const agentVersion = '0.1.0';

/** What the APIs say of themselves: the Kubernetes release whose behaviour they follow, served by this program. */
export const kubeVersion: KubeVersion = {
  major: '1',
  minor: '36',
  gitVersion: `v1.36.2+pinpod-${agentVersion}`,
  gitCommit: '',
  buildDate: '1970-01-01T00:00:00Z',
  platform: `linux/${os.arch() === 'x64' ? 'amd64' : os.arch()}`,
  engine: 'node',
};
