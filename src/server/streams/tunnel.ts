// port-forward over WebSocket `SPDY/3.1+portforward.k8s.io` (H-230): the messages' contents are pieces of one SPDY
// stream, which the runtime's streaming server speaks. Nothing of it is looked at here.
import type { Clock } from '../../std/clock.ts';
import { AgentError, systemCode } from '../../std/errors.ts';
import { requestUpgrade, writeRefusal } from './runtime-upgrade.ts';
import type { StreamRequest } from './stream-request.ts';
import { acceptWebSocket, closeCodes, writeTo } from './web-socket.ts';

export const tunnelProtocol = 'SPDY/3.1+portforward.k8s.io';
const runtimeProtocol = 'portforward.k8s.io';

/** Resolves when both sides are closed. Failures become answers or closed connections, never exceptions. */
export async function tunnelPortForward(
  { request, socket, head, target }: StreamRequest,
  deps: { readonly clock: Clock; readonly signal: AbortSignal },
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
  const upstream = answer.socket;
  const client = await acceptWebSocket({ request, socket, head }, tunnelProtocol, deps.clock);
  if (client === undefined) {
    upstream.destroy();
    return;
  }
  const onAbort = (): void => client.close(closeCodes.goingAway);
  deps.signal.addEventListener('abort', onAbort, { once: true });
  try {
    const gone = client.closed.then(() => upstream.destroySoon());
    client.onMessage((bytes) => writeTo(upstream, bytes));
    if (answer.head.length > 0) await client.send(answer.head);
    for await (const data of upstream) await client.send(data as Buffer);
    client.close(closeCodes.normal);
    await gone;
  } catch (error) {
    // Either side is gone; there is nobody left to tell.
    if (!(error instanceof AgentError) && systemCode(error) === undefined) throw error;
    client.terminate();
  } finally {
    deps.signal.removeEventListener('abort', onAbort);
    upstream.destroy();
  }
}
