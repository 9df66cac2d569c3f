// The two event streams a runtime may have: CRI's, and containerd's own on the same socket. Either way an event is only
// a wake-up.
import type { Client } from 'nice-grpc';
import type { CallOptions, RuntimeEvent, RuntimeVersion } from '../runtime.ts';
import { fromNanos } from './from-cri.ts';
import { ContainerDelete, type Envelope, type EventsDefinition, TaskExit, TaskOOM, TaskStart } from './gen/containerd-events.ts';
import type { RuntimeServiceDefinition } from './gen/runtime.ts';

export type EventStream = 'cri' | 'containerd';

/**
 * Which streams to try, in order. containerd before 2.0 hands each CRI event to one subscriber only, and one that has
 * gone away (an agent killed and restarted) still takes its turn: there its own stream is the one that misses nothing.
 */
export function eventStreamsOf({ runtimeName, runtimeVersion }: RuntimeVersion): readonly EventStream[] {
  if (runtimeName !== 'containerd') return ['cri'];
  const major = Number(/^v?(\d+)/.exec(runtimeVersion)?.[1] ?? 2);
  return major < 2 ? ['containerd', 'cri'] : ['cri', 'containerd'];
}

export async function* criEvents(client: Client<RuntimeServiceDefinition>, { signal }: CallOptions): AsyncGenerator<RuntimeEvent> {
  for await (const event of client.getContainerEvents({}, { signal })) {
    const podUid = event.podSandboxStatus?.metadata?.uid;
    // 0 means unset.
    const createdAt = event.createdAt === 0n ? {} : { createdAt: fromNanos(event.createdAt) };
    yield { podUid: podUid === '' ? undefined : podUid, containerId: event.containerId, ...createdAt };
  }
}

/** Any of these has to match; execs have topics of their own and would wake a Pod at each exec probe. */
const filters = ['/tasks/start', '/tasks/exit', '/tasks/oom', '/containers/delete'].map((topic) => `namespace==k8s.io,topic=="${topic}"`);

export async function* taskEvents(client: Client<EventsDefinition>, { signal }: CallOptions): AsyncGenerator<RuntimeEvent> {
  for await (const envelope of client.subscribe({ filters }, { signal })) {
    const containerId = containerIdOf(envelope);
    if (containerId !== undefined) yield { podUid: undefined, containerId };
  }
}

/** The container an event is about; undefined for one that changes nothing we observe. */
export function containerIdOf({ topic, event }: Envelope): string | undefined {
  if (event === undefined) return undefined;
  switch (topic) {
    case '/tasks/start':
      return TaskStart.decode(event.value).containerId;
    case '/tasks/exit': {
      const { containerId, id } = TaskExit.decode(event.value);
      // The exit of an exec has the exec's id.
      return id === containerId ? containerId : undefined;
    }
    case '/tasks/oom':
      return TaskOOM.decode(event.value).containerId;
    case '/containers/delete':
      return ContainerDelete.decode(event.value).id;
    default:
      return undefined;
  }
}
