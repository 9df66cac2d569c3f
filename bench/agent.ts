// What the benchmarks on real containerd share: the agent as a process, what it uses, and figures in rows.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { EnvVar, PodSpec } from '../src/api/gen/kubernetes.ts';
import { imagesDir, offlineImages, type TestContainerd } from '../test/support/containerd.ts';

const checkout = path.join(import.meta.dirname, '..');

/** Milliseconds; what it is made of is sorted in place. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export const row = (name: string, values: readonly number[]): string =>
  `${name.padEnd(46)} p50 ${percentile(values, 0.5).toFixed(0).padStart(5)} ms   p90 ${percentile(values, 0.9).toFixed(0).padStart(5)} ms   n ${values.length}`;

/** A Pod on the host's network, so that nothing of the network is measured, whose container sees the folder `out`. */
export function benchSpec(out: string, container: { readonly command: readonly string[]; readonly env?: readonly EnvVar[] }): PodSpec {
  const main = { name: 'main', image: offlineImages.busybox, imagePullPolicy: 'IfNotPresent', ...container };
  return {
    hostNetwork: true,
    terminationGracePeriodSeconds: 2,
    containers: [{ ...main, volumeMounts: [{ name: 'out', mountPath: '/out' }] }],
    volumes: [{ name: 'out', hostPath: { path: out } }],
  };
}

/** As an operator starts it. Resolves at once; the agent is ready some moments later. */
export async function startAgent(containerd: TestContainerd, manifests: string, cgroupRoot: string): Promise<ChildProcess> {
  const kubelet = {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    staticPodPath: manifests,
    podLogsDir: path.join(containerd.dir, 'logs'),
    cgroupRoot,
    cgroupDriver: 'cgroupfs',
    enforceNodeAllocatable: ['none'],
    containerRuntimeEndpoint: containerd.endpoint,
  };
  const agent = {
    apiVersion: 'pinpod.io/v1alpha1',
    kind: 'AgentConfiguration',
    rootDir: path.join(containerd.dir, 'agent-root'),
    runDir: path.join(containerd.dir, 'agent-run'),
    imagesDir,
    kubeAPI: { port: 0 },
  };
  const config = path.join(containerd.dir, 'agent.yaml');
  writeFileSync(config, `${JSON.stringify(kubelet)}\n---\n${JSON.stringify(agent)}\n`);
  const child = spawn(path.join(checkout, 'bin', 'pinpod'), ['run', '--config', config], { stdio: ['ignore', 'ignore', 'inherit'] });
  await once(child, 'spawn');
  return child;
}

/** Seconds of CPU, bytes resident, and those of them that are no part of a file, from /proc. */
export function usageOf(pid: number): { readonly cpuSeconds: number; readonly rssBytes: number; readonly ownBytes: number } {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const bytes = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) * 1024;
  return { cpuSeconds: (Number(fields[11]) + Number(fields[12])) / 100, rssBytes: bytes('VmRSS'), ownBytes: bytes('RssAnon') };
}

export async function endAgent(agent: ChildProcess | undefined): Promise<void> {
  if (agent === undefined || agent.exitCode !== null || agent.signalCode !== null) return;
  agent.kill('SIGTERM');
  await once(agent, 'exit');
}
