// The command line's connection to the agent: HTTP over the root-only unix socket.
import { type IncomingMessage, request } from 'node:http';
import { AgentError, systemCode } from '../std/errors.ts';

/** Where commands write. `out` and `err` resolve when the text was taken (back-pressure). */
export interface CommandIo {
  out(text: string | Uint8Array): Promise<void>;
  err(text: string | Uint8Array): Promise<void>;
  readonly signal: AbortSignal;
}

/** A problem to print as `error: message` and to exit with 1 for. */
export class CommandError extends AgentError {
  constructor(message: string, options: { readonly cause?: unknown } = {}) {
    super('command-failed', message, options);
  }
}

/** The agent answered with a failure: Kubernetes' Status. */
export class StatusError extends CommandError {
  readonly httpCode: number;
  readonly reason: string;

  constructor(httpCode: number, reason: string, message: string) {
    super(message);
    this.httpCode = httpCode;
    this.reason = reason;
  }
}

interface CallOptions {
  readonly signal: AbortSignal;
  readonly accept?: string;
}

export class AgentClient {
  readonly #socketPath: string;

  constructor(options: { readonly socketPath: string }) {
    this.#socketPath = options.socketPath;
  }

  /**
   * The answer's body as JSON; with `body` it is a POST of that as JSON. Throws a CommandError, a StatusError for an
   * answer of 400 and more.
   */
  async json(path: string, options: CallOptions & { readonly body?: unknown }): Promise<unknown> {
    const response = await this.#send(path, options);
    const parts: Buffer[] = [];
    for await (const part of response) parts.push(part as Buffer);
    return parseJson(Buffer.concat(parts).toString('utf8'));
  }

  /** The answer's bytes as they come. Errors as for `json`; rejects with the signal's reason when it aborts. */
  async *bytes(path: string, options: CallOptions): AsyncIterable<Uint8Array> {
    const response = await this.#send(path, options);
    try {
      for await (const part of response) yield part as Buffer;
    } catch (error) {
      throw options.signal.aborted ? options.signal.reason : this.#explain(error);
    }
  }

  async #send(path: string, options: CallOptions & { readonly body?: unknown }): Promise<IncomingMessage> {
    const body = options.body === undefined ? undefined : JSON.stringify(options.body);
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const call = request(
        {
          socketPath: this.#socketPath,
          path,
          method: body === undefined ? 'GET' : 'POST',
          headers: {
            host: 'localhost',
            accept: options.accept ?? 'application/json',
            ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          },
          signal: options.signal,
          agent: false,
        },
        resolve,
      );
      call.on('error', (error) => reject(options.signal.aborted ? options.signal.reason : this.#explain(error)));
      call.end(body);
    });
    if ((response.statusCode ?? 0) < 400) return response;
    const parts: Buffer[] = [];
    for await (const part of response) parts.push(part as Buffer);
    throw toStatusError(response.statusCode ?? 0, Buffer.concat(parts).toString('utf8'));
  }

  #explain(error: unknown): CommandError {
    switch (systemCode(error)) {
      case 'ENOENT':
      case 'ECONNREFUSED':
        return new CommandError(`no agent is running here (nothing listens on ${this.#socketPath}); start one with \`pinpod run\``, {
          cause: error,
        });
      case 'EACCES':
        return new CommandError(`not allowed to use ${this.#socketPath}: run the command as root`, { cause: error });
      default:
        return new CommandError(`cannot reach the agent on ${this.#socketPath}: ${systemCode(error) ?? 'the connection broke'}`, {
          cause: error,
        });
    }
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new CommandError('the agent gave an answer that is not JSON', { cause: error });
  }
}

function toStatusError(code: number, body: string): StatusError {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    value = undefined;
  }
  const status = typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
  const message = typeof status['message'] === 'string' ? status['message'] : body.trim() || `HTTP ${code}`;
  return new StatusError(code, typeof status['reason'] === 'string' ? status['reason'] : '', message);
}
