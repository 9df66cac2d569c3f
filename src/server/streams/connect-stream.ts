// One stream of a client (exec, attach, port-forward) → the runtime's streaming server, in the way that its protocol asks
// for: SPDY, and the WebSocket protocols that runtimes speak themselves, pass through; the two of newer clients are
// translated.
import type { Clock } from '../../std/clock.ts';
import { passThrough } from './pass-through.ts';
import { bridgeRemoteCommand, remoteCommandProtocol } from './remote-command.ts';
import type { StreamPurpose, StreamRequest } from './stream-request.ts';
import { tunnelPortForward, tunnelProtocol } from './tunnel.ts';
import { isWebSocket, offeredProtocols } from './web-socket.ts';

/** Owns the socket; resolves when it is closed. Never throws for what a client or the runtime did. */
export async function connectStream(
  stream: StreamRequest,
  purpose: StreamPurpose,
  deps: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<void> {
  const offered = isWebSocket(stream.request) ? offeredProtocols(stream.request) : [];
  if (purpose.kind === 'portforward') {
    if (offered.includes(tunnelProtocol)) return await tunnelPortForward(stream, deps);
  } else if (offered.includes(remoteCommandProtocol)) {
    return await bridgeRemoteCommand(stream, purpose.streams, deps);
  }
  await passThrough(stream, deps.signal);
}
