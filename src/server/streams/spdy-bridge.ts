// Both ends of a WebSocket that is answered by the runtime over SPDY, the one protocol its streaming server speaks
// everywhere (H-221, H-230): first the runtime, then the client.
import type { Socket } from 'node:net';
import type { Clock } from '../../std/clock.ts';
import { requestUpgrade, writeRefusal } from './runtime-upgrade.ts';
import type { StreamRequest } from './stream-request.ts';
import { acceptWebSocket, type MessageStream } from './web-socket.ts';
import { closeCodes } from './web-socket-frames.ts';

export interface BridgeOptions {
  /** What the client speaks, and what is spoken inside of SPDY. */
  readonly clientProtocol: string;
  readonly runtimeProtocol: string;
}

export interface BridgeDeps {
  readonly clock: Clock;
  /** Tells the client that the server goes away. */
  readonly signal: AbortSignal;
}

export interface BridgeEnds {
  readonly client: MessageStream;
  readonly runtime: Socket;
  /** What the runtime has sent already. */
  readonly head: Buffer;
}

/** Resolves when both sides are closed, without `serve` when one of them refused: the client has its answer then. */
export async function bridge(
  { request, socket, head, target }: StreamRequest,
  { clientProtocol, runtimeProtocol }: BridgeOptions,
  deps: BridgeDeps,
  serve: (ends: BridgeEnds) => Promise<void>,
): Promise<void> {
  const headers = [
    ['Connection', 'Upgrade'],
    ['Upgrade', 'SPDY/3.1'],
    ['X-Stream-Protocol-Version', runtimeProtocol],
  ] as const;
  const answer = await requestUpgrade({ target, method: 'POST', headers }, socket);
  if (answer.kind === 'refused') {
    writeRefusal(socket, answer.refusal);
    return;
  }
  // Only now: a command whose client got no answer must not begin.
  const client = acceptWebSocket({ request, socket, head }, clientProtocol, deps.clock);
  if (client === undefined) {
    answer.socket.destroy();
    return;
  }
  const onAbort = (): void => client.close(closeCodes.goingAway);
  deps.signal.addEventListener('abort', onAbort, { once: true });
  try {
    await serve({ client, runtime: answer.socket, head: answer.head });
  } finally {
    deps.signal.removeEventListener('abort', onAbort);
    answer.socket.destroy();
  }
}
