// gRPC probes: grpc.health.v1.Health/Check in plain text, connection and call within one time limit (L-418).
import type { ChannelCredentials, Client, ServiceError } from '@grpc/grpc-js';
import type { GRPCAction } from '../api/gen/kubernetes.ts';
import { Deadline } from '../std/async.ts';
import type { Clock } from '../std/clock.ts';
import { withDeadline } from '../std/deadline.ts';
import { formatDuration } from '../std/duration.ts';
import { AgentError, messageOf } from '../std/errors.ts';
import { hostPort } from '../std/http-get.ts';
import { type ProbeOutcome, type ProbeTarget, probeUserAgent } from './outcome.ts';

const method = '/grpc.health.v1.Health/Check';
const servingStatuses = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'] as const;

export async function probeGrpc(
  action: GRPCAction,
  target: ProbeTarget,
  options: { readonly timeoutMs: number; readonly signal: AbortSignal; readonly clock: Clock },
): Promise<ProbeOutcome> {
  // Loaded by the first gRPC probe only.
  const grpc = await import('@grpc/grpc-js');
  const address = hostPort(target.podAddress, action.port);
  const within = formatDuration(options.timeoutMs);
  const client = openClient(grpc, address);
  let isConnected = false;
  try {
    const answer = await withDeadline({ ms: options.timeoutMs, signal: options.signal, clock: options.clock }, async (signal) => {
      await connected(grpc, client, signal);
      isConnected = true;
      return check(client, action.service ?? '', signal);
    });
    const status = servingStatuses[decodeStatus(answer)] ?? 'UNKNOWN';
    if (status === 'SERVING') return { kind: 'success', output: 'service healthy' };
    return { kind: 'failure', output: `service unhealthy (responded with "${status}")` };
  } catch (error) {
    options.signal.throwIfAborted();
    if (!isConnected && error instanceof Deadline) {
      const service = JSON.stringify(address);
      return { kind: 'failure', output: `timeout: failed to connect service ${service} within ${within}: context deadline exceeded` };
    }
    if (error instanceof Deadline || codeOf(error) === grpc.status.DEADLINE_EXCEEDED) {
      return { kind: 'failure', output: `timeout: health rpc did not complete within ${within}` };
    }
    const text = detailsOf(error);
    if (codeOf(error) === grpc.status.UNIMPLEMENTED) {
      const message = 'error: this server does not implement the grpc health protocol (grpc.health.v1.Health)';
      return { kind: 'failure', output: `${message}: ${text}` };
    }
    const name = goCodeName(grpc.status[codeOf(error) ?? grpc.status.UNKNOWN] ?? 'UNKNOWN');
    return { kind: 'failure', output: `error: health rpc probe failed: rpc error: code = ${name} desc = ${text}` };
  } finally {
    client.close();
  }
}

type Grpc = typeof import('@grpc/grpc-js');

function openClient(grpc: Grpc, address: string): Client {
  const credentials: ChannelCredentials = grpc.credentials.createInsecure();
  return new grpc.Client(address, credentials, {
    'grpc.primary_user_agent': probeUserAgent,
    'grpc.enable_http_proxy': 0,
    'grpc.enable_retries': 0,
    // Each attempt has its own connection, as every other kind of probe has.
    'grpc.use_local_subchannel_pool': 1,
    'grpc.service_config_disable_resolution': 1,
  });
}

/** Resolves when the channel is ready. A connection that is refused is tried again until the time is over. */
async function connected(grpc: Grpc, client: Client, signal: AbortSignal): Promise<void> {
  const channel = client.getChannel();
  for (let state = channel.getConnectivityState(true); state !== grpc.connectivityState.READY; state = channel.getConnectivityState(true)) {
    const seen = state;
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => reject(signal.reason);
      if (signal.aborted) {
        onAbort();
        return;
      }
      signal.addEventListener('abort', onAbort, { once: true });
      channel.watchConnectivityState(seen, Number.POSITIVE_INFINITY, () => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      });
    });
  }
}

function check(client: Client, service: string, signal: AbortSignal): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const call = client.makeUnaryRequest(
      method,
      encodeRequest,
      (bytes) => bytes,
      service,
      (error: ServiceError | null, answer?: Buffer) => {
        signal.removeEventListener('abort', onAbort);
        if (signal.aborted) reject(signal.reason);
        else if (error !== null) reject(error);
        else resolve(answer ?? Buffer.alloc(0));
      },
    );
    const onAbort = (): void => call.cancel();
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

/** HealthCheckRequest: field 1, a string, left out when empty. */
function encodeRequest(service: string): Buffer {
  const text = Buffer.from(service, 'utf8');
  if (text.length === 0) return Buffer.alloc(0);
  const length: number[] = [];
  for (let rest = text.length; ; rest >>>= 7) {
    length.push(rest > 0x7f ? (rest & 0x7f) | 0x80 : rest);
    if (rest <= 0x7f) break;
  }
  return Buffer.concat([Buffer.from([0x0a, ...length]), text]);
}

/** HealthCheckResponse: field 1, an enum below 128; absent means 0. Fields of later versions are not looked at. */
function decodeStatus(bytes: Buffer): number {
  if (bytes.length === 0) return 0;
  const [tag, value] = bytes;
  if (tag !== 0x08 || value === undefined || value > 0x7f) throw new AgentError('grpc-health', 'the health answer cannot be read');
  return value;
}

function codeOf(error: unknown): number | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'number' ? error.code : undefined;
}

/** The server's own words, without the code that grpc-js puts before them. */
function detailsOf(error: unknown): string {
  return error instanceof Error && 'details' in error && typeof error.details === 'string' ? error.details : messageOf(error);
}

/** `NOT_FOUND` is `NotFound` there. */
function goCodeName(name: string): string {
  if (name === 'OK' || name === 'CANCELLED') return name === 'OK' ? name : 'Canceled';
  return name.replace(/(?:^|_)([A-Z])([A-Z]*)/g, (_, first: string, rest: string) => first + rest.toLowerCase());
}
