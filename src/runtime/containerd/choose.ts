// Which CRI runtime the agent works with: the configured one; else one that answers at the usual sockets; else a private
// containerd (DESIGN, "runtime/containerd").
import type { Clock } from '../../std/clock.ts';
import { withDeadline } from '../../std/deadline.ts';
import { ConfigError, messageOf } from '../../std/errors.ts';
import type { Logger } from '../../std/log.ts';
import type { CallOptions } from '../runtime.ts';
import type { PrivateContainerd, PrivateContainerdInfo } from './private-containerd.ts';

export interface UsualSocket {
  readonly name: string;
  readonly endpoint: string;
}

export const usualSockets: readonly UsualSocket[] = [
  { name: 'containerd', endpoint: 'unix:///run/containerd/containerd.sock' },
  { name: 'CRI-O', endpoint: 'unix:///run/crio/crio.sock' },
  { name: 'cri-dockerd', endpoint: 'unix:///run/cri-dockerd.sock' },
];

export interface ChooseOptions {
  readonly configuredEndpoint: string | undefined;
  /** `auto`: when nothing else is there. `always`: nothing else is tried. */
  readonly privateContainerd: 'auto' | 'always' | 'never';
  /** The usual ones when absent. */
  readonly sockets?: readonly UsualSocket[];
}

export interface ChooseDeps {
  readonly clock: Clock;
  readonly log: Logger;
  /** A CRI Version call; rejects when nobody answers there, or not in CRI v1. */
  probe(endpoint: string, options: CallOptions): Promise<unknown>;
  readonly private: Pick<PrivateContainerd, 'wasUsed' | 'start'>;
}

export type ChosenRuntime =
  | { readonly kind: 'configured' | 'found'; readonly endpoint: string }
  | { readonly kind: 'private'; readonly endpoint: string; readonly info: PrivateContainerdInfo };

const probeTimeoutMs = 2000;

/**
 * A configured endpoint is taken as it is, whether it answers yet or not. A private containerd that was used before is
 * taken again although another runtime has come to the machine since: its containers run on (D2). A ConfigError names
 * everything that was tried, and the packages to install.
 */
export async function chooseRuntime(options: ChooseOptions, deps: ChooseDeps, { signal }: CallOptions): Promise<ChosenRuntime> {
  const { configuredEndpoint, privateContainerd, sockets = usualSockets } = options;
  if (configuredEndpoint !== undefined) return { kind: 'configured', endpoint: configuredEndpoint };

  const tried: string[] = [];
  const startPrivate = async (): Promise<ChosenRuntime> => {
    try {
      const info = await deps.private.start({ signal });
      return { kind: 'private', endpoint: info.endpoint, info };
    } catch (error) {
      if (!(error instanceof ConfigError) || tried.length === 0) throw error;
      throw new ConfigError(error.code, `no container runtime: tried ${tried.join('; ')}; and ${error.message}`, {
        cause: error,
        details: error.details,
      });
    }
  };
  if (privateContainerd === 'always') return startPrivate();
  if (privateContainerd === 'auto' && (await deps.private.wasUsed())) return startPrivate();

  for (const { name, endpoint } of sockets) {
    try {
      await withDeadline({ ms: probeTimeoutMs, signal, clock: deps.clock }, (limited) => deps.probe(endpoint, { signal: limited }));
      deps.log.info('container runtime found', { runtime: name, endpoint });
      return { kind: 'found', endpoint };
    } catch (error) {
      signal.throwIfAborted();
      tried.push(`${name} at ${endpoint} (${messageOf(error)})`);
    }
  }
  if (privateContainerd === 'auto') return startPrivate();
  throw new ConfigError(
    'no-runtime',
    `no container runtime: tried ${tried.join('; ')}; a private containerd is switched off. Set containerRuntimeEndpoint, or privateContainerd.mode to auto`,
  );
}
