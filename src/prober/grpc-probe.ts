// gRPC probes: grpc.health.v1.Health/Check in plain text, connection and call within one time limit (L-418). One call
// on a connection of its own needs none of what a gRPC client is for, so that Node's own HTTP/2 is enough.
import type { ClientHttp2Session, IncomingHttpHeaders } from 'node:http2';
import type { GRPCAction } from '../api/gen/kubernetes.ts';
import { Deadline } from '../std/async.ts';
import type { Clock } from '../std/clock.ts';
import { withDeadline } from '../std/deadline.ts';
import { formatDuration } from '../std/duration.ts';
import { AgentError, messageOf } from '../std/errors.ts';
import { dialText, hostPort } from '../std/http-get.ts';
import { type ProbeOutcome, type ProbeTarget, probeUserAgent } from './outcome.ts';

const servingStatuses = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'] as const;
/** The answer is two bytes; whoever sends more than this is no health service. */
const maxAnswerBytes = 10 * 1024;

/** gRPC's codes, as far as a probe tells them apart. */
const grpcCodes = { ok: 0, unknown: 2, deadlineExceeded: 4, unimplemented: 12, internal: 13, unavailable: 14 } as const;
/** What an answer of plain HTTP means, by gRPC's own table. */
const codeOfHttp: ReadonlyMap<number, number> = new Map([
  [400, grpcCodes.internal],
  [404, grpcCodes.unimplemented],
  [429, grpcCodes.unavailable],
  [502, grpcCodes.unavailable],
  [503, grpcCodes.unavailable],
  [504, grpcCodes.unavailable],
]);

/** The server's answer is no health status. */
class GrpcError extends AgentError {
  readonly status: number;

  constructor(status: number, message: string, options?: { readonly cause: unknown }) {
    super('grpc-health', message, options);
    this.status = status;
  }
}

export async function probeGrpc(
  action: GRPCAction,
  target: ProbeTarget,
  options: { readonly timeoutMs: number; readonly signal: AbortSignal; readonly clock: Clock },
): Promise<ProbeOutcome> {
  // Loaded by the first gRPC probe only.
  const http2 = await import('node:http2');
  const address = hostPort(target.podAddress, action.port);
  const within = formatDuration(options.timeoutMs);
  let session: ClientHttp2Session | undefined;
  let isConnected = false;
  try {
    const answer = await withDeadline({ ms: options.timeoutMs, signal: options.signal, clock: options.clock }, async (signal) => {
      session = http2.connect(`http://${address}`, { settings: { enablePush: false } });
      await greeted(session, signal);
      isConnected = true;
      return await check(session, action.service ?? '', signal);
    });
    const status = servingStatuses[decodeStatus(answer)] ?? 'UNKNOWN';
    if (status === 'SERVING') return { kind: 'success', output: 'service healthy' };
    return { kind: 'failure', output: `service unhealthy (responded with "${status}")` };
  } catch (error) {
    options.signal.throwIfAborted();
    return { kind: 'failure', output: isConnected ? callFailure(error, within) : connectFailure(error, address, within) };
  } finally {
    session?.destroy();
  }
}

function connectFailure(error: unknown, address: string, within: string): string {
  if (error instanceof Deadline) {
    return `timeout: failed to connect service ${JSON.stringify(address)} within ${within}: context deadline exceeded`;
  }
  return `error: failed to connect service at ${JSON.stringify(address)}: ${dialText(address, error) ?? messageOf(error)}`;
}

function callFailure(error: unknown, within: string): string {
  const status = error instanceof GrpcError ? error.status : undefined;
  if (error instanceof Deadline || status === grpcCodes.deadlineExceeded) return `timeout: health rpc did not complete within ${within}`;
  if (status === grpcCodes.unimplemented) {
    return `error: this server does not implement the grpc health protocol (grpc.health.v1.Health): ${messageOf(error)}`;
  }
  return `error: health rpc probe failed: ${messageOf(error)}`;
}

/** Resolves when the other end has shown that it speaks HTTP/2; a connection alone says nothing. */
function greeted(session: ClientHttp2Session, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    session.once('remoteSettings', () => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    });
    // Stays for as long as the session: an error nobody hears would end the process.
    session.on('error', reject);
    session.once('close', () => reject(new GrpcError(grpcCodes.unavailable, 'connection closed before server preface received')));
  });
}

/** The bytes of the answer. Throws GrpcError, or `signal.reason` when that aborts; the caller ends the session. */
function check(session: ClientHttp2Session, service: string, signal: AbortSignal): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const stream = session.request({
      ':method': 'POST',
      ':path': '/grpc.health.v1.Health/Check',
      'content-type': 'application/grpc',
      te: 'trailers',
      'user-agent': probeUserAgent,
    });
    const chunks: Buffer[] = [];
    let size = 0;
    let end: IncomingHttpHeaders = {};
    stream.on('response', (headers) => {
      end = headers;
    });
    stream.on('trailers', (trailers) => {
      end = { ...end, ...trailers };
    });
    stream.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= maxAnswerBytes) chunks.push(chunk);
      else reject(new GrpcError(grpcCodes.internal, `the answer is longer than ${maxAnswerBytes} bytes`));
    });
    stream.on('error', (cause) => reject(new GrpcError(grpcCodes.unavailable, messageOf(cause), { cause })));
    stream.on('close', () => {
      signal.removeEventListener('abort', onAbort);
      const failure = failureOf(end);
      if (failure === undefined) resolve(Buffer.concat(chunks));
      else reject(failure);
    });
    stream.end(frame(service));
  });
}

/** What the headers and trailers of an answer say went wrong. */
function failureOf(end: IncomingHttpHeaders): GrpcError | undefined {
  const { 'grpc-status': status, 'grpc-message': message } = end;
  const http = Number(end[':status'] ?? 0);
  if (http === 0) return new GrpcError(grpcCodes.unavailable, 'the connection ended without an answer');
  if (status === undefined) return new GrpcError(codeOfHttp.get(http) ?? grpcCodes.unknown, `unexpected HTTP status code ${http}`);
  if (Number(status) === grpcCodes.ok) return undefined;
  return new GrpcError(Number(status), unescaped(String(message ?? '')) || `code = ${String(status)}`);
}

/** gRPC escapes what is not plain text as URLs do. */
function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** A HealthCheckRequest (field 1, a string, left out when empty) behind gRPC's prefix: not compressed, its length. */
function frame(service: string): Buffer {
  const text = Buffer.from(service, 'utf8');
  const length: number[] = [];
  for (let rest = text.length; ; rest >>>= 7) {
    length.push(rest > 0x7f ? (rest & 0x7f) | 0x80 : rest);
    if (rest <= 0x7f) break;
  }
  const message = text.length === 0 ? text : Buffer.concat([Buffer.from([0x0a, ...length]), text]);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** HealthCheckResponse: field 1, an enum below 128; absent means 0. Fields of later versions are not looked at. */
function decodeStatus(answer: Buffer): number {
  const isWhole = answer.length >= 5 && answer[0] === 0 && answer.length >= 5 + answer.readUInt32BE(1);
  const [tag, value] = isWhole ? answer.subarray(5, 5 + answer.readUInt32BE(1)) : [-1];
  if (isWhole && tag === undefined) return 0;
  if (tag !== 0x08 || value === undefined || value > 0x7f) throw new GrpcError(grpcCodes.internal, 'the health answer cannot be read');
  return value;
}
