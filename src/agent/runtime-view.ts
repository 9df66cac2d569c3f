// The servers' view of the runtime: containers by id, streams, and what runs, from the Runtime port.
import { criKeys } from '../pod/observation.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { RunningPod, RuntimeView } from '../server/views.ts';

/** How long `/run` waits for a command. */
const runTimeoutSeconds = 120;

export function runtimeView(runtime: Runtime): RuntimeView {
  return {
    async container(containerId, options) {
      const container = await runtime.containerStatus(containerId, options);
      if (container === undefined) return undefined;
      return { id: container.id, running: container.state === 'running', logPath: container.logPath };
    },
    exec: (request, options) => runtime.exec(request, options),
    attach: (request, options) => runtime.attach(request, options),
    async portForward({ podUid, ports }, options) {
      const sandboxes = await runtime.listPodSandboxes({ podUid }, options);
      const newest = [...sandboxes].sort((a, b) => b.attempt - a.attempt || b.createdAt - a.createdAt).find((s) => s.state === 'ready');
      return newest === undefined ? undefined : await runtime.portForward({ sandboxId: newest.id, ports }, options);
    },
    checkpoint: (request, options) => runtime.checkpointContainer(request, options),
    async run(request, options) {
      const { stdout, stderr, exitCode } = await runtime.execSync({ ...request, timeoutSeconds: runTimeoutSeconds }, options);
      return { output: Buffer.concat([stdout, stderr]), exitCode };
    },
    async runningPods(options) {
      const [sandboxes, containers] = await Promise.all([runtime.listPodSandboxes({}, options), runtime.listContainers({}, options)]);
      const pods = new Map<string, RunningPod & { readonly containers: { readonly name: string; readonly image: string }[] }>();
      for (const { podUid, name, namespace, state } of sandboxes) {
        if (state === 'ready' && !pods.has(podUid)) pods.set(podUid, { name, namespace, uid: podUid, containers: [] });
      }
      for (const container of containers) {
        if (container.state !== 'running') continue;
        const { labels, podUid } = container;
        const pod = pods.get(podUid) ?? {
          name: labels[criKeys.podName] ?? '',
          namespace: labels[criKeys.podNamespace] ?? '',
          uid: podUid,
          containers: [],
        };
        pod.containers.push({ name: container.name, image: container.imageRef });
        pods.set(podUid, pod);
      }
      return [...pods.values()];
    },
  };
}
