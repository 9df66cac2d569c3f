// One listening socket: HTTP/1.1 over TLS, TCP or a unix socket → authenticated requests for a handler. Bounded in
// everything a client can make large or slow.
import { chmod, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer, type ServerOptions as TlsServerOptions } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { getRequestListener } from '@hono/node-server';
import { ConfigError, messageOf, systemCode } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import type { User } from './user.ts';

export interface ListenerHandlers {
  /** Undefined: nobody we know; the request is answered with `refuse` and goes no further. */
  authenticate(request: IncomingMessage): User | undefined | Promise<User | undefined>;
  /** The answer to somebody unknown. */
  refuse(request: IncomingMessage): { readonly contentType: string; readonly body: string };
  fetch(request: Request, user: User): Response | Promise<Response>;
  /** A request that wants the connection for itself. Owns the socket from here on. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, user: User): Promise<void>;
}

export type ListenAt = { readonly socketPath: string } | { readonly address: string; readonly port: number };

export interface ListenerOptions {
  readonly at: ListenAt;
  readonly tls?: TlsServerOptions | undefined;
  /** Other than the usual ones: tests do not wait for half a minute. */
  readonly limits?: Partial<typeof usualLimits>;
}

const usualLimits = {
  maxHeaderSize: 256 * 1024,
  headersTimeout: 30_000,
  requestTimeout: 120_000,
  keepAliveTimeout: 90_000,
  connectionsCheckingInterval: 10_000,
  // A client whose machine is gone must not hold its watch or its stream for ever.
  keepAlive: true,
  keepAliveInitialDelay: 30_000,
};
const maxConnections = 4096;

export class Listener {
  readonly #options: ListenerOptions;
  readonly #handlers: ListenerHandlers;
  readonly #log: Logger;
  readonly #upgraded = new Set<Duplex>();
  readonly #work = new Set<Promise<void>>();
  #server: Server | TlsServer | undefined;

  constructor(options: ListenerOptions, deps: { readonly handlers: ListenerHandlers; readonly log: Logger }) {
    this.#options = options;
    this.#handlers = deps.handlers;
    this.#log = deps.log;
  }

  /** The port that was given, or the one the system chose for port 0; 0 for a unix socket. */
  get port(): number {
    const address = this.#server?.address();
    return typeof address === 'object' && address !== null ? (address as AddressInfo).port : 0;
  }

  /** New connections get these certificates; old ones go on. */
  setSecureContext(options: TlsServerOptions): void {
    if (this.#server !== undefined && 'setSecureContext' in this.#server) this.#server.setSecureContext(options);
  }

  /** Resolves when connections are accepted. A ConfigError when the place is taken or not allowed. */
  async start(): Promise<void> {
    const { at, tls } = this.#options;
    const limits = { ...usualLimits, ...this.#options.limits };
    if ('socketPath' in at) await removeStaleSocket(at.socketPath);
    const onRequest = this.#requestListener();
    const server = tls === undefined ? createServer(limits, onRequest) : createSecureServer({ ...limits, ...tls }, onRequest);
    server.maxConnections = maxConnections;
    server.on('upgrade', (request, socket, head) => this.#track(this.#onUpgrade(request, socket, head)));
    server.on('clientError', (error, socket) => answerBadClient(error, socket));
    await new Promise<void>((resolve, reject) => {
      const place = 'socketPath' in at ? at.socketPath : `${at.address}:${at.port}`;
      server.once('error', (error) =>
        reject(new ConfigError('cannot-listen', `cannot listen on ${place}: ${whyNot(error)}`, { cause: error })),
      );
      if ('socketPath' in at) server.listen(at.socketPath, resolve);
      else server.listen(at.port, at.address, resolve);
    });
    server.on('error', (error) => this.#log.error('listener failed', { error: messageOf(error) }));
    if ('socketPath' in at) await chmod(at.socketPath, 0o600);
    this.#server = server;
  }

  /** Ends every connection and waits for the handlers. Idempotent. */
  async close(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    const closed = new Promise<void>((resolve) => {
      server.close(() => resolve());
    });
    for (const socket of this.#upgraded) socket.destroy();
    server.closeAllConnections();
    await closed;
    while (this.#work.size > 0) await Promise.all(this.#work);
  }

  #requestListener(): RequestListener {
    const listen = getRequestListener(
      async (request, env) => {
        const { incoming } = env as { readonly incoming: IncomingMessage };
        const user = await this.#handlers.authenticate(incoming);
        if (user === undefined) {
          const { contentType, body } = this.#handlers.refuse(incoming);
          return new Response(body, { status: 401, headers: { 'Content-Type': contentType, 'Cache-Control': 'no-cache, private' } });
        }
        return await this.#handlers.fetch(request, user);
      },
      { overrideGlobalObjects: false },
    );
    return (request: IncomingMessage, response: ServerResponse) => this.#track(Promise.resolve(listen(request, response)));
  }

  async #onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    this.#upgraded.add(socket);
    socket.on('close', () => this.#upgraded.delete(socket));
    socket.on('error', () => socket.destroy());
    const user = await this.#handlers.authenticate(request);
    if (user === undefined) {
      const { contentType, body } = this.#handlers.refuse(request);
      writeResponse(socket, 401, 'Unauthorized', { 'Content-Type': contentType }, body);
      return;
    }
    await this.#handlers.upgrade(request, socket, head, user);
  }

  #track(work: Promise<void>): void {
    const tracked = work
      .catch((error: unknown) => this.#log.error('a request failed', { error: messageOf(error) }))
      .finally(() => this.#work.delete(tracked));
    this.#work.add(tracked);
  }
}

function createSecureServer(options: TlsServerOptions, onRequest: RequestListener): TlsServer {
  try {
    return createTlsServer(options, onRequest);
  } catch (error) {
    throw new ConfigError('bad-certificate', `the certificate, its key or the client CA cannot be used: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** A whole answer on a raw socket, which is then closed. */
export function writeResponse(
  socket: Duplex,
  code: number,
  text: string,
  headers: Readonly<Record<string, string>>,
  body: string | Buffer,
): void {
  const bytes = Buffer.from(body);
  const lines = Object.entries({ ...headers, 'Content-Length': String(bytes.length), Connection: 'close' }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  socket.end(Buffer.concat([Buffer.from(`HTTP/1.1 ${code} ${text}\r\n${lines.join('')}\r\n`), bytes]));
}

function answerBadClient(error: Error, socket: Duplex): void {
  if (!socket.writable || systemCode(error) === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const code = systemCode(error) === 'HPE_HEADER_OVERFLOW' ? 431 : systemCode(error) === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : 400;
  const text = code === 431 ? 'Request Header Fields Too Large' : code === 408 ? 'Request Timeout' : 'Bad Request';
  const status = {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message: text,
    reason: code === 408 ? 'Timeout' : 'BadRequest',
    code,
  };
  writeResponse(socket, code, text, { 'Content-Type': 'application/json' }, `${JSON.stringify(status)}\n`);
}

const advice: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program has the port (`ss -ltnp` shows which)',
  EADDRNOTAVAIL: 'this machine does not have the address',
};

function whyNot(error: unknown): string {
  const code = systemCode(error);
  if (code === undefined) return messageOf(error);
  return advice[code] === undefined ? code : `${code}, ${advice[code]}`;
}

/** A socket file nobody listens on is what a killed agent left; one that answers belongs to another agent. */
async function removeStaleSocket(path: string): Promise<void> {
  const answers = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
  if (answers)
    throw new ConfigError(
      'already-running',
      `another agent is listening on ${path}: stop it, or give this one folders of its own (--root-dir, --run-dir)`,
    );
  await rm(path, { force: true });
}
