// TCP probes: a connection within the time limit is success (L-417).
import { createConnection } from 'node:net';
import type { TCPSocketAction } from '../api/gen/kubernetes.ts';
import { lookUpPort } from '../pod/http-action.ts';
import { Deadline } from '../std/async.ts';
import type { Clock } from '../std/clock.ts';
import { withDeadline } from '../std/deadline.ts';
import { messageOf } from '../std/errors.ts';
import { dialText, hostPort } from '../std/http-get.ts';
import type { ProbeOutcome, ProbeTarget } from './outcome.ts';

export async function probeTcp(
  action: TCPSocketAction,
  target: ProbeTarget,
  options: { readonly timeoutMs: number; readonly signal: AbortSignal; readonly clock: Clock },
): Promise<ProbeOutcome> {
  const lookup = lookUpPort(action.port, target.container);
  if (lookup.kind === 'error') return lookup;
  const host = action.host === undefined || action.host === '' ? target.podAddress : action.host;
  const address = hostPort(host, lookup.port);
  try {
    await withDeadline({ ms: options.timeoutMs, signal: options.signal, clock: options.clock }, (signal) =>
      connect(host, lookup.port, signal),
    );
    return { kind: 'success', output: '' };
  } catch (error) {
    options.signal.throwIfAborted();
    if (error instanceof Deadline) return { kind: 'failure', output: `dial tcp ${address}: i/o timeout` };
    return { kind: 'failure', output: dialText(address, error) ?? `dial tcp ${address}: ${messageOf(error)}` };
  }
}

function connect(host: string, port: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host, port });
    const finish = (end: () => void): void => {
      signal.removeEventListener('abort', onAbort);
      socket.destroy();
      end();
    };
    const onAbort = (): void => finish(() => reject(signal.reason));
    signal.addEventListener('abort', onAbort, { once: true });
    socket.on('connect', () => finish(resolve));
    socket.on('error', (error) => finish(() => reject(error)));
  });
}
