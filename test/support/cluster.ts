// A test agent on real containerd that has joined a real API server, and what a client of that server sees of it.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Node, Pod } from '../../src/api/gen/kubernetes.ts';
import { isApiError, paths } from '../../src/mirror/kube-api.ts';
import { type Envtest, envtestMissing, startEnvtest } from './envtest.ts';
import { Kubectl, whyNoKubectl } from './kubectl.ts';
import { eventually, freePort, nodeName, options, TestAgent } from './test-agent.ts';

/** Besides a containerd. */
export const whyNoCluster = (): string | undefined => envtestMissing() ?? whyNoKubectl();

/** Adds fields to the agent's own document of the configuration of a test agent. */
export function configureAgent(agent: TestAgent, fields: Readonly<Record<string, unknown>>): void {
  const file = path.join(agent.dir, 'config.yaml');
  const [kubelet = '', own = ''] = readFileSync(file, 'utf8').split('\n---\n');
  writeFileSync(file, `${kubelet}\n---\n${JSON.stringify({ ...(JSON.parse(own) as object), ...fields })}\n`);
}

export const sleeper = (command = 'echo hello; sleep 1000', more: object = {}): NonNullable<Pod['spec']> => ({
  terminationGracePeriodSeconds: 1,
  containers: [
    { name: 'c', image: 'docker.io/library/busybox:latest', imagePullPolicy: 'IfNotPresent', command: ['sh', '-c', command], ...more },
  ],
});

export class Cluster {
  readonly env: Envtest;
  readonly agent: TestAgent;
  readonly kubectl: Kubectl;

  constructor(env: Envtest, agent: TestAgent, kubectl: Kubectl) {
    this.env = env;
    this.agent = agent;
    this.kubectl = kubectl;
  }

  async get<T>(url: string): Promise<T | undefined> {
    try {
      return (await this.env.admin.request({ method: 'GET', path: url }, options)) as T;
    } catch (error) {
      if (isApiError(error, 'not-found', 'unreachable')) return undefined;
      throw error;
    }
  }

  mirror(name: string, namespace = 'default'): Promise<Pod | undefined> {
    return this.get<Pod>(paths.pod(namespace, `${name}-${nodeName}`));
  }

  until(name: string, what: string, isIt: (mirror: Pod) => boolean): Promise<Pod> {
    return eventually(this.agent, `the mirror of ${name}: ${what}`, async () => {
      const mirror = await this.mirror(name);
      return mirror !== undefined && isIt(mirror) ? mirror : undefined;
    });
  }

  running(name: string): Promise<Pod> {
    return this.until(name, 'running', (mirror) => isReady(mirror));
  }

  gone(name: string): Promise<true> {
    return eventually(this.agent, `the mirror of ${name} is gone`, async () =>
      (await this.mirror(name)) === undefined ? true : undefined,
    );
  }

  delete(name: string, gracePeriodSeconds: number): Promise<unknown> {
    const body = { kind: 'DeleteOptions', apiVersion: 'v1', gracePeriodSeconds };
    return this.env.admin.request({ method: 'DELETE', path: paths.pod('default', `${name}-${nodeName}`), body }, options);
  }
}

export const serviceAccount = (name: string): object => ({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name } });

export const isReady = (pod: Pod): boolean =>
  pod.status?.phase === 'Running' && pod.status.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') === true;

/** C-053 and its set-up: what makes a mirror valid. */
export function assertValid(mirror: Pod, node: Node | undefined): void {
  const { annotations = {}, ownerReferences } = mirror.metadata ?? {};
  assert.ok((annotations['kubernetes.io/config.hash'] ?? '') !== '');
  assert.equal(annotations['kubernetes.io/config.mirror'], annotations['kubernetes.io/config.hash']);
  assert.equal(annotations['kubernetes.io/config.source'], 'file');
  assert.match(annotations['kubernetes.io/config.seen'] ?? '', /^\d{4}-\d\d-\d\dT/);
  assert.deepEqual(ownerReferences, [{ apiVersion: 'v1', kind: 'Node', name: nodeName, uid: node?.metadata?.uid, controller: true }]);
  assert.ok(mirror.spec?.tolerations?.some((t) => t.operator === 'Exists' && t.effect === 'NoExecute' && t.key === undefined));
  assert.equal(mirror.metadata?.generation, 1);
  assert.equal(mirror.status?.observedGeneration ?? 0, 0);
}

export async function joinCluster(change: { readonly kubelet?: object; readonly agent?: object } = {}): Promise<Cluster> {
  const env = await startEnvtest();
  const agent = new TestAgent({
    kubelet: {
      port: await freePort(),
      authentication: { x509: { clientCAFile: env.caFile } },
      registerWithTaints: [{ key: 'pinpod.io/static-only', effect: 'NoSchedule' }],
      ...change.kubelet,
    },
  });
  await agent.configure();
  configureAgent(agent, {
    cluster: { kubeconfig: await env.nodeKubeconfig(nodeName) },
    nodeLabels: { 'example.com/role': 'edge' },
    ...change.agent,
  });
  const kubectl = new Kubectl(await env.kubeconfig({ commonName: 'admin', organization: 'system:masters' }));
  return new Cluster(env, agent, kubectl);
}
