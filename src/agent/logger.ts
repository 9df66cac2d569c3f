// The log port on pino: one line of text for people at a terminal, JSON where `logging.format` asks for it.
import { type Logger as PinoLogger, pino } from 'pino';
import { toRfc3339Milli } from '../std/clock.ts';
import type { LogFields, Logger } from '../std/log.ts';

export interface LoggerOptions {
  readonly format: 'text' | 'json';
  /** The kubelet's `-v`: from 4 on debug lines are printed. */
  readonly verbosity: number;
  readonly write: (line: string) => void;
}

const debugFrom = 4;

/** A log whose verbosity follows the configuration, its children's too. */
export interface AgentLogger extends Logger {
  setVerbosity(verbosity: number): void;
}

export function createLogger(options: LoggerOptions): AgentLogger {
  let verbosity = options.verbosity;
  const stream = { write: options.format === 'json' ? options.write : (line: string) => options.write(toText(line)) };
  const serializers = { error: pino.stdSerializers.err, err: pino.stdSerializers.err };
  const log = wrap(pino({ level: 'debug', base: null, serializers }, stream), () => verbosity >= debugFrom);
  return {
    ...log,
    setVerbosity: (wanted) => {
      verbosity = wanted;
    },
  };
}

function wrap(log: PinoLogger, isDebugging: () => boolean): Logger {
  return {
    error: (message, fields = {}) => log.error(fields, message),
    warn: (message, fields = {}) => log.warn(fields, message),
    info: (message, fields = {}) => log.info(fields, message),
    debug: (message, fields = {}) => {
      if (isDebugging()) log.debug(fields, message);
    },
    child: (fields: LogFields) => wrap(log.child(fields), isDebugging),
  };
}

const names: Readonly<Record<number, string>> = { 20: 'debug', 30: 'info', 40: 'warn', 50: 'error' };

function toText(line: string): string {
  const { level, time, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const rest = Object.entries(fields).map(([key, value]) => `${key}=${show(value)}`);
  return `${[toRfc3339Milli(Number(time)), names[Number(level)] ?? String(level), String(msg), ...rest].join(' ')}\n`;
}

function show(value: unknown): string {
  // Of an error its words are wanted; the stack is in the JSON format.
  if (typeof value === 'object' && value !== null && 'message' in value && 'stack' in value) return JSON.stringify(value.message);
  return typeof value === 'string' && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
}
