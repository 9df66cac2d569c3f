// Small Pods and sinks for unit tests.
import type { EventObject, EventSink, EventType } from '../../src/api/events.ts';
import type { Container, PodSpec } from '../../src/api/gen/kubernetes.ts';
import type { Pod } from '../../src/api/pod.ts';
import type { ObservedContainer, ObservedPod, ObservedSandbox } from '../../src/pod/observation.ts';
import type { PodSandboxConfig } from '../../src/pod/runtime-config.ts';

/** `web-node1` in `default` with one container `app`, changed as given. */
export function buildPod(spec: Partial<PodSpec> = {}, metadata: Partial<Pod['metadata']> = {}): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'web-node1', namespace: 'default', uid: 'uid-1', annotations: {}, ...metadata },
    spec: { containers: [buildContainer()], ...spec },
  };
}

export function buildContainer(change: Partial<Container> = {}): Container {
  return { name: 'app', image: 'nginx', ...change };
}

export function buildSandboxConfig(change: Partial<PodSandboxConfig> = {}): PodSandboxConfig {
  return {
    metadata: { name: 'web-node1', uid: 'uid-1', namespace: 'default', attempt: 0 },
    hostname: 'web-node1',
    logDirectory: '/var/log/pods/default_web-node1_uid-1',
    dnsConfig: { servers: [], searches: [], options: [] },
    portMappings: [],
    labels: {},
    annotations: {},
    linux: {
      cgroupParent: '',
      sysctls: {},
      securityContext: {
        namespaceOptions: { network: 'pod', pid: 'container', ipc: 'pod' },
        privileged: false,
        seccomp: { type: 'RuntimeDefault' },
        supplementalGroups: [],
        supplementalGroupsPolicy: 'Merge',
      },
    },
    ...change,
  };
}

export function observedSandbox(change: Partial<ObservedSandbox> = {}): ObservedSandbox {
  return {
    id: 's1',
    name: 'web-node1',
    namespace: 'default',
    podUid: 'uid-1',
    attempt: 0,
    state: 'ready',
    createdAt: 0,
    labels: {},
    annotations: {},
    hostNetwork: false,
    ips: ['10.0.0.1'],
    lostNetwork: false,
    runtimeHandler: '',
    ...change,
  };
}

export function observedContainer(change: Partial<ObservedContainer> = {}): ObservedContainer {
  return {
    id: 'c1',
    sandboxId: 's1',
    podUid: 'uid-1',
    name: 'app',
    attempt: 0,
    state: 'running',
    createdAt: 0,
    startedAt: 0,
    finishedAt: undefined,
    exitCode: 0,
    reason: '',
    message: '',
    image: 'nginx',
    imageRef: 'sha256:1',
    imageId: 'sha256:1',
    labels: {},
    annotations: {},
    logPath: '',
    mounts: [],
    resources: undefined,
    user: undefined,
    stopSignal: undefined,
    ...change,
  };
}

export function observedPod(change: Partial<ObservedPod> = {}): ObservedPod {
  return { uid: 'uid-1', sandboxes: [observedSandbox()], containers: [], ...change };
}

/** Remembers events as `Warning Unhealthy: text`. */
export class RecordedEvents implements EventSink {
  readonly lines: string[] = [];
  readonly objects: EventObject[] = [];

  record(object: EventObject, type: EventType, reason: string, message: string): void {
    this.objects.push(object);
    this.lines.push(`${type} ${reason}: ${message}`);
  }

  /** Gives what was recorded since the last call. */
  take(): readonly string[] {
    this.objects.length = 0;
    return this.lines.splice(0);
  }
}
