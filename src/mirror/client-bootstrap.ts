// The first credential: with a bootstrap kubeconfig a client certificate is asked for, and a kubeconfig that uses it is
// written. Afterwards the bootstrap file is not needed any more.
import { randomBytes } from 'node:crypto';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { ApiAccess } from './kube-api.ts';

/** JSON is YAML: any reader of kubeconfigs takes it. Replaces `path` as a whole. */
export async function writeKubeconfig(path: string, access: ApiAccess, certificatePath: string): Promise<void> {
  const { ca, servername, rejectUnauthorized } = access.tls;
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: 'default-cluster',
        cluster: {
          server: access.server,
          ...(ca === undefined ? {} : { 'certificate-authority-data': Buffer.from(ca).toString('base64') }),
          ...(servername === undefined ? {} : { 'tls-server-name': servername }),
          ...(rejectUnauthorized === false ? { 'insecure-skip-tls-verify': true } : {}),
        },
      },
    ],
    users: [{ name: 'default-auth', user: { 'client-certificate': certificatePath, 'client-key': certificatePath } }],
    contexts: [{ name: 'default-context', context: { cluster: 'default-cluster', user: 'default-auth' } }],
    'current-context': 'default-context',
  };
  await mkdir(dirname(path), { recursive: true });
  const draft = `${path}.${randomBytes(4).toString('hex')}`;
  await writeFile(draft, `${JSON.stringify(config, undefined, 2)}\n`, { mode: 0o600, flush: true });
  await rename(draft, path);
}
