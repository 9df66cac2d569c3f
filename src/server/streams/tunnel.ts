// port-forward over WebSocket `SPDY/3.1+portforward.k8s.io` (H-230): the messages' contents are pieces of one SPDY
// stream, which the runtime's streaming server speaks. Nothing of it is looked at here.
import { AgentError, systemCode } from '../../std/errors.ts';
import { type BridgeDeps, bridge } from './spdy-bridge.ts';
import type { StreamRequest } from './stream-request.ts';
import { writeTo } from './web-socket.ts';
import { closeCodes } from './web-socket-frames.ts';

export const tunnelProtocol = 'SPDY/3.1+portforward.k8s.io';
const runtimeProtocol = 'portforward.k8s.io';

/** Resolves when both sides are closed. Failures become answers or closed connections, never exceptions. */
export async function tunnelPortForward(request: StreamRequest, deps: BridgeDeps): Promise<void> {
  await bridge(request, { clientProtocol: tunnelProtocol, runtimeProtocol }, deps, async ({ client, runtime, head }) => {
    try {
      const gone = client.closed.then(() => runtime.destroySoon());
      client.onData((bytes) => writeTo(runtime, bytes));
      if (head.length > 0) await client.send(head);
      for await (const data of runtime) await client.send(data as Buffer);
      client.close(closeCodes.normal);
      await gone;
    } catch (error) {
      // Either side is gone; there is nobody left to tell.
      if (!(error instanceof AgentError) && systemCode(error) === undefined) throw error;
      client.terminate();
    }
  });
}
