// `pinpod logs`: a container's log, from the agent's pods/log.
import { type AgentClient, CommandError, type CommandIo } from './client.ts';

export interface LogsOptions {
  /** The Pod's name, with the node suffix or without. */
  readonly pod: string;
  readonly namespace: string;
  readonly container?: string | undefined;
  readonly follow: boolean;
  readonly previous: boolean;
  readonly timestamps: boolean;
  readonly tail?: number | undefined;
  /** In seconds. */
  readonly since?: number | undefined;
  readonly allContainers: boolean;
}

interface ShownPod {
  readonly metadata: { readonly name: string; readonly annotations?: Readonly<Record<string, string>> };
  readonly spec: {
    readonly nodeName?: string;
    readonly containers: readonly { readonly name: string }[];
    readonly initContainers?: readonly { readonly name: string }[];
  };
}

const defaultContainer = 'kubectl.kubernetes.io/default-container';

/** The exit code. Throws a CommandError, for example when there is no such Pod. */
export async function logs(options: LogsOptions, deps: { readonly client: AgentClient; readonly io: CommandIo }): Promise<number> {
  const { client, io } = deps;
  const pod = await findPod(options, deps);
  const all = [...(pod.spec.initContainers ?? []), ...pod.spec.containers].map((c) => c.name);
  const names = options.allContainers ? all : [options.container ?? (await pickContainer(pod, io))];
  for (const name of names) {
    if (!all.includes(name))
      throw new CommandError(`container ${name} is not valid for pod ${pod.metadata.name}, choose one of: ${all.join(', ')}`);
  }
  const show = async (container: string): Promise<void> => {
    const query = new URLSearchParams({ container });
    if (options.follow) query.set('follow', 'true');
    if (options.previous) query.set('previous', 'true');
    if (options.timestamps) query.set('timestamps', 'true');
    if (options.tail !== undefined && options.tail >= 0) query.set('tailLines', String(options.tail));
    if (options.since !== undefined) query.set('sinceSeconds', String(options.since));
    const path = `/api/v1/namespaces/${encodeURIComponent(options.namespace)}/pods/${encodeURIComponent(pod.metadata.name)}/log?${query}`;
    for await (const bytes of client.bytes(path, { signal: io.signal })) await io.out(bytes);
  };
  if (options.follow) await Promise.all(names.map(show));
  else for (const name of names) await show(name);
  return 0;
}

/** Accepts the manifest's name as well: there is only one node here. */
async function findPod(options: LogsOptions, { client, io }: { readonly client: AgentClient; readonly io: CommandIo }): Promise<ShownPod> {
  const path = `/api/v1/namespaces/${encodeURIComponent(options.namespace)}/pods`;
  const list = (await client.json(path, { signal: io.signal })) as { readonly items: readonly ShownPod[] };
  const found =
    list.items.find((pod) => pod.metadata.name === options.pod) ??
    list.items.find((pod) => pod.metadata.name === `${options.pod}-${(pod.spec.nodeName ?? '').toLowerCase()}`);
  if (found === undefined) throw new CommandError(`pods "${options.pod}" not found in namespace "${options.namespace}"`);
  return found;
}

async function pickContainer(pod: ShownPod, io: CommandIo): Promise<string> {
  const wanted = pod.metadata.annotations?.[defaultContainer];
  if (wanted !== undefined) return wanted;
  const first = pod.spec.containers[0]?.name ?? '';
  const init = (pod.spec.initContainers ?? []).map((c) => `${c.name} (init)`);
  const names = [...pod.spec.containers.map((c) => c.name), ...init];
  if (names.length > 1) await io.err(`Defaulted container "${first}" out of: ${names.join(', ')}\n`);
  return first;
}
