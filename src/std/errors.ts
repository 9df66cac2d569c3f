// Error families, by what the catcher does with them (STYLE section 6). `src/` throws nothing else.

export interface ErrorOptions {
  readonly cause?: unknown;
  /** Key-values for the log; never secrets or raw input. */
  readonly details?: Readonly<Record<string, unknown>>;
}

export class AgentError extends Error {
  /** Stable, machine-readable: `kebab-case`. */
  readonly code: string;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: string, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.details = options.details ?? {};
  }
}

/** A manifest cannot be used: reject it, keep the rest. */
export class ManifestError extends AgentError {}

/** When it makes sense to try a failed runtime call again. */
export type Retry = 'now' | 'backoff' | 'never';

/** The container runtime refused or could not be reached. `code` is the gRPC status name in kebab-case. */
export class RuntimeError extends AgentError {
  readonly retry: Retry;

  constructor(code: string, message: string, options: ErrorOptions & { readonly retry?: Retry } = {}) {
    super(code, message, options);
    this.retry = options.retry ?? 'backoff';
  }
}

/** The configuration or the machine makes a start impossible: print it and exit. May list several problems. */
export class ConfigError extends AgentError {}

/** Our own bug: log, exit, be restarted; containers live on. */
export class InvariantError extends AgentError {
  constructor(message: string, options: ErrorOptions = {}) {
    super('invariant', message, options);
  }
}

/** Closes a `switch` over a union: unreachable when every member is handled. */
export function assertNever(value: never): never {
  throw new InvariantError(`unexpected value ${JSON.stringify(value)}`);
}

/** What a person should read of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The message with those of its causes, the outermost first; one that repeats the one before is left out. */
export function messagesOf(error: unknown): string {
  const messages: string[] = [];
  for (let at = error; at !== undefined && at !== null && messages.length < 8; at = at instanceof Error ? at.cause : undefined) {
    const message = messageOf(at);
    if (messages.at(-1)?.includes(message) !== true) messages.push(message);
  }
  return messages.join(': ');
}

/** The `code` of a Node system error (`ENOENT`, …), or undefined. */
export function systemCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
