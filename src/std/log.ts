/** Key-values of a log line; keys from the list in docs/logging.md. */
export type LogFields = Readonly<Record<string, unknown>>;

/** error = somebody must act; warn = may become that; info = rare life events; debug = per Pod and per call. */
export interface Logger {
  error(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  child(fields: LogFields): Logger;
}

const nothing = (): void => undefined;

export const silentLogger: Logger = {
  error: nothing,
  warn: nothing,
  info: nothing,
  debug: nothing,
  child: () => silentLogger,
};
