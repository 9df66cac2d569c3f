// Containers that write what happens to them into a file of the node, line by line: /o/log, where /o is the Pod's own
// folder of the node.
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Container, ContainerStatus, Pod, PodSpec } from '../../src/api/gen/kubernetes.ts';
import { offlineImages } from './containerd.ts';
import { eventually, type TestAgent } from './test-agent.ts';

export const forever = 'while :; do sleep 1000 & wait; done';
export const exec = (script: string) => ({ exec: { command: ['sh', '-c', script] } });

export function run(name: string, script: string, change: Partial<Container> = {}): Container {
  return {
    name,
    image: offlineImages.busybox,
    imagePullPolicy: 'IfNotPresent',
    command: ['sh', '-c', script],
    ...change,
    volumeMounts: [{ name: 'o', mountPath: '/o' }, ...(change.volumeMounts ?? [])],
  };
}

/** Says that it began, runs until it is told to end, says so. */
export const stays = (name: string, change: Partial<Container> = {}): Container =>
  run(name, `trap 'echo ${name} ends >>/o/log; exit 0' TERM; echo ${name} begins >>/o/log; ${forever}`, change);

export const goes = (name: string, exitCode = 0, change: Partial<Container> = {}): Container =>
  run(name, `echo ${name} begins >>/o/log; sleep 0.2; echo ${name} ends >>/o/log; exit ${exitCode}`, change);

export const statusOf = (pod: Pod, name: string): ContainerStatus | undefined =>
  [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])].find((status) => status.name === name);

export const isOver = (pod: Pod): boolean => pod.status?.phase === 'Failed' || pod.status?.phase === 'Succeeded';

/** The Pods of one agent that tell what happens to them. */
export class TellingPods {
  readonly #agent: TestAgent;
  readonly #folder: string;

  constructor(agent: TestAgent) {
    this.#agent = agent;
    this.#folder = path.join(agent.dir, 'host');
  }

  put(name: string, spec: PodSpec, metadata: Pod['metadata'] = {}, file = `${name}.json`): void {
    const own = path.join(this.#folder, name);
    mkdirSync(own, { recursive: true });
    const volume = { name: 'o', hostPath: { path: own, type: 'Directory' } };
    const whole = { terminationGracePeriodSeconds: 5, ...spec, volumes: [volume, ...(spec.volumes ?? [])] };
    this.#agent.put(file, JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name, ...metadata }, spec: whole }));
  }

  lines(name: string): readonly string[] {
    const file = path.join(this.#folder, name, 'log');
    const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
    return text.split('\n').filter((line) => line !== '');
  }

  /** How often the line was written. */
  count(name: string, line: string): number {
    return this.lines(name).filter((one) => one === line).length;
  }

  hasEvent(name: string, pattern: RegExp): Promise<string> {
    return eventually(this.#agent, `${name}: event ${pattern}`, async () =>
      (await this.#agent.events(name)).find((event) => pattern.test(event)),
    );
  }
}
