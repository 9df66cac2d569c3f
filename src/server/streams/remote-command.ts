// exec and attach over WebSocket `v5.channel.k8s.io` (H-220 … H-226) → the runtime's streaming server over SPDY, the one
// protocol of runtimes that can end stdin without ending the connection (H-221, H-252).
import type { Duplex } from 'node:stream';
import { AgentError } from '../../std/errors.ts';
import type { StreamSelection } from '../views.ts';
import { SpdyConnection } from './spdy.ts';
import { type BridgeDeps, bridge } from './spdy-bridge.ts';
import type { StreamRequest } from './stream-request.ts';
import { type MessageStream, writeTo } from './web-socket.ts';
import { closeCodes } from './web-socket-frames.ts';

export const remoteCommandProtocol = 'v5.channel.k8s.io';
const runtimeProtocol = 'v4.channel.k8s.io';
const channels = { stdin: 0, stdout: 1, stderr: 2, status: 3, resize: 4, close: 255 } as const;
const maxStatusBytes = 64 * 1024;

/** Resolves when both sides are closed. Failures become answers, statuses or closed connections, never exceptions. */
export async function bridgeRemoteCommand(request: StreamRequest, streams: StreamSelection, deps: BridgeDeps): Promise<void> {
  await bridge(request, { clientProtocol: remoteCommandProtocol, runtimeProtocol }, deps, async ({ client, runtime: socket, head }) => {
    const runtime = new SpdyConnection(socket, head);
    try {
      const gone = client.closed.then(() => runtime.destroy());
      await serve(client, openStreams(runtime, streams));
      client.close(closeCodes.normal);
      await gone;
    } catch (error) {
      // Whatever it was, there is nobody left to tell.
      if (!(error instanceof AgentError)) throw error;
      client.terminate();
    } finally {
      runtime.destroy();
    }
  });
}

interface CommandStreams {
  readonly status: Duplex;
  readonly stdin: Duplex | undefined;
  readonly stdout: Duplex | undefined;
  readonly stderr: Duplex | undefined;
  readonly resize: Duplex | undefined;
}

/** In the order runtimes expect them (H-236). */
function openStreams(runtime: SpdyConnection, { stdin, stdout, stderr, tty }: StreamSelection): CommandStreams {
  const open = (streamtype: string, isWanted: boolean): Duplex | undefined => (isWanted ? runtime.open({ streamtype }) : undefined);
  return {
    status: runtime.open({ streamtype: 'error' }),
    stdin: open('stdin', stdin),
    stdout: open('stdout', stdout),
    stderr: open('stderr', stderr),
    resize: open('resize', tty),
  };
}

/** Until the command is over and everything it said is sent, the status last. Rejects when the client is gone. */
async function serve(client: MessageStream, streams: CommandStreams): Promise<void> {
  const { stdin, stdout, stderr, status } = streams;
  client.onData(receiver(streams));
  // The first message tells the client that all streams are there (H-222).
  const first = stdout !== undefined ? channels.stdout : stderr !== undefined ? channels.stderr : channels.status;
  await client.send(Buffer.alloc(0), Buffer.of(first));
  // What a runtime sends on stdin's stream is nothing; read, so that its end is seen.
  stdin?.resume();
  const [outcome] = await Promise.all([collect(status), pump(stdout, channels.stdout, client), pump(stderr, channels.stderr, client)]);
  await client.send(outcome.length > 0 ? outcome : brokenOff, Buffer.of(channels.status));
}

/** A message is for the stream that its first byte names. */
function receiver({ stdin, resize }: CommandStreams): (bytes: Buffer, isStart: boolean) => Promise<void> | undefined {
  let channel: number | undefined;
  return (bytes, isStart) => {
    if (isStart) channel = bytes[0];
    const data = isStart ? bytes.subarray(1) : bytes;
    switch (channel) {
      case channels.stdin:
        return stdin && writeTo(stdin, data);
      case channels.resize:
        return resize && writeTo(resize, data);
      case channels.close:
        if (data[0] === channels.stdin) stdin?.end();
        return undefined;
      default:
        // Of a channel that was not asked for.
        return undefined;
    }
  };
}

async function pump(stream: Duplex | undefined, channel: number, client: MessageStream): Promise<void> {
  if (stream === undefined) return;
  const prefix = Buffer.of(channel);
  for await (const data of stream) await client.send(data as Buffer, prefix);
}

async function collect(stream: Duplex): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const data of stream) {
    const bytes = data as Buffer;
    size += bytes.length;
    if (size <= maxStatusBytes) parts.push(bytes);
  }
  return Buffer.concat(parts);
}

/** The runtime went away without a word about the command. */
const brokenOff: Buffer = Buffer.from(
  JSON.stringify({
    metadata: {},
    status: 'Failure',
    message: 'Internal error occurred: error executing command in container: the container runtime broke off the connection',
    reason: 'InternalError',
    details: { causes: [{ message: 'the container runtime broke off the connection' }] },
    code: 500,
  }),
);
