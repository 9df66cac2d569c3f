// What the agent says of itself to clients.
import os from 'node:os';
import type { KubeVersion } from '../server/kube/app.ts';
import { agentVersion, kubernetesVersion } from '../std/version.ts';

/** What the APIs say of themselves: the Kubernetes release whose behaviour they follow, served by this program. */
export const kubeVersion: KubeVersion = {
  major: '1',
  minor: '36',
  gitVersion: `v${kubernetesVersion}+pinpod-${agentVersion}`,
  gitCommit: '',
  buildDate: '1970-01-01T00:00:00Z',
  platform: `linux/${os.arch() === 'x64' ? 'amd64' : os.arch()}`,
  engine: 'node',
};
