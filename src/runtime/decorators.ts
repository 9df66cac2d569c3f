// Decorators of the Runtime port. Deadlines are not here: they belong to the protocol (spec 02, table 4.2) and live in
// runtime/cri.
import type { Clock } from '../std/clock.ts';
import { RuntimeError } from '../std/errors.ts';
import type { Metrics } from '../std/metrics.ts';
import type { Runtime } from './runtime.ts';

/** `.005 × 2.5ⁿ`, n = 0 … 13 seconds (H-352). */
const operationBuckets = Array.from({ length: 14 }, (_, n) => 0.005 * 2.5 ** n);

/**
 * Counts and times every call under the kubelet's names (H-381, H-382, H-415). A caller that gave up is no failure of
 * the runtime. An event stream counts as one call; it has no duration.
 */
export function withMetrics(runtime: Runtime, deps: { readonly metrics: Metrics; readonly clock: Clock }): Runtime {
  const { metrics, clock } = deps;
  const labels = ['operation_type'];
  const total = metrics.counter({ name: 'kubelet_runtime_operations_total', help: '[ALPHA] Calls to the container runtime', labels });
  const errors = metrics.counter({
    name: 'kubelet_runtime_operations_errors_total',
    help: '[ALPHA] Failed calls to the container runtime',
    labels,
  });
  const duration = metrics.histogram({
    name: 'kubelet_runtime_operations_duration_seconds',
    help: '[ALPHA] Duration of calls to the container runtime',
    labels,
    buckets: operationBuckets,
  });

  const handler = ['runtime_handler'];
  const sandboxes = metrics.histogram({
    name: 'kubelet_run_podsandbox_duration_seconds',
    help: '[ALPHA] How long the runtime takes to make a sandbox',
    labels: handler,
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  });
  const sandboxErrors = metrics.counter({
    name: 'kubelet_run_podsandbox_errors_total',
    help: '[ALPHA] Sandboxes that the runtime did not make',
    labels: handler,
  });

  /** H-379, H-380. */
  async function runPodSandbox(...[request, options]: Parameters<Runtime['runPodSandbox']>): ReturnType<Runtime['runPodSandbox']> {
    const labels = { runtime_handler: request.runtimeHandler };
    const startedAt = clock.now();
    try {
      return await measure('run_podsandbox', () => runtime.runPodSandbox(request, options));
    } catch (error) {
      if (error instanceof RuntimeError) sandboxErrors.inc(labels);
      throw error;
    } finally {
      sandboxes.observe((clock.now() - startedAt) / 1000, labels);
    }
  }

  async function measure<T>(type: string, call: () => Promise<T>): Promise<T> {
    const operation = { operation_type: type };
    const startedAt = clock.now();
    total.inc(operation);
    try {
      return await call();
    } catch (error) {
      if (error instanceof RuntimeError) errors.inc(operation);
      throw error;
    } finally {
      duration.observe((clock.now() - startedAt) / 1000, operation);
    }
  }

  return {
    version: (o) => measure('version', () => runtime.version(o)),
    status: (r, o) => measure('status', () => runtime.status(r, o)),
    cgroupDriver: (o) => measure('runtime_config', () => runtime.cgroupDriver(o)),
    updatePodCidr: (cidr, o) => measure('update_runtime_config', () => runtime.updatePodCidr(cidr, o)),
    runPodSandbox,
    stopPodSandbox: (id, o) => measure('stop_podsandbox', () => runtime.stopPodSandbox(id, o)),
    removePodSandbox: (id, o) => measure('remove_podsandbox', () => runtime.removePodSandbox(id, o)),
    listPodSandboxes: (f, o) => measure('list_podsandbox', () => runtime.listPodSandboxes(f, o)),
    podSandboxStatus: (id, o) => measure('podsandbox_status', () => runtime.podSandboxStatus(id, o)),
    updatePodSandboxResources: (r, o) => measure('update_podsandbox_resources', () => runtime.updatePodSandboxResources(r, o)),
    createContainer: (r, o) => measure('create_container', () => runtime.createContainer(r, o)),
    startContainer: (id, o) => measure('start_container', () => runtime.startContainer(id, o)),
    stopContainer: (r, o) => measure('stop_container', () => runtime.stopContainer(r, o)),
    removeContainer: (id, o) => measure('remove_container', () => runtime.removeContainer(id, o)),
    listContainers: (f, o) => measure('list_containers', () => runtime.listContainers(f, o)),
    containerStatus: (id, o) => measure('container_status', () => runtime.containerStatus(id, o)),
    updateContainerResources: (r, o) => measure('update_container', () => runtime.updateContainerResources(r, o)),
    reopenContainerLog: (id, o) => measure('reopen_container_log', () => runtime.reopenContainerLog(id, o)),
    checkpointContainer: (r, o) => measure('checkpoint_container', () => runtime.checkpointContainer(r, o)),
    execSync: (r, o) => measure('exec_sync', () => runtime.execSync(r, o)),
    exec: (r, o) => measure('exec', () => runtime.exec(r, o)),
    attach: (r, o) => measure('attach', () => runtime.attach(r, o)),
    portForward: (r, o) => measure('port_forward', () => runtime.portForward(r, o)),
    containerStats: (id, o) => measure('container_stats', () => runtime.containerStats(id, o)),
    listContainerStats: (f, o) => measure('list_container_stats', () => runtime.listContainerStats(f, o)),
    listPodSandboxStats: (f, o) => measure('list_podsandbox_stats', () => runtime.listPodSandboxStats(f, o)),
    listImages: (o) => measure('list_images', () => runtime.listImages(o)),
    imageStatus: (i, o) => measure('image_status', () => runtime.imageStatus(i, o)),
    pullImage: (r, o) => measure('pull_image', () => runtime.pullImage(r, o)),
    removeImage: (i, o) => measure('remove_image', () => runtime.removeImage(i, o)),
    imageFsInfo: (o) => measure('image_fs_info', () => runtime.imageFsInfo(o)),
    async *events(o) {
      const operation = { operation_type: 'get_container_events' };
      total.inc(operation);
      try {
        yield* runtime.events(o);
      } catch (error) {
        if (error instanceof RuntimeError) errors.inc(operation);
        throw error;
      }
    },
  };
}
