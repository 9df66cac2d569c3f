// One line of a container's log file (H-261b, H-261c): bytes → stream, time, content. Pure, no copies of the content.

export type LogFormat = 'cri' | 'docker';

export interface LogLine {
  /** As written in the file. */
  readonly time: string;
  readonly stream: 'stdout' | 'stderr';
  /** Without the newline of the framing; a full line's own newline is not part of it. */
  readonly content: Uint8Array;
  /** False for a piece of a line that goes on in the next one of the same stream. */
  readonly isComplete: boolean;
}

const space = 0x20;
const timePattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/;

/** `line` is without its newline. Undefined when it is not a line of this format. */
export function parseLogLine(line: Buffer, format: LogFormat): LogLine | undefined {
  return format === 'cri' ? parseCri(line) : parseDocker(line);
}

/** The format of a file is that of its first readable line. */
export function detectFormat(line: Buffer): LogFormat | undefined {
  if (parseCri(line) !== undefined) return 'cri';
  return parseDocker(line) === undefined ? undefined : 'docker';
}

function parseCri(line: Buffer): LogLine | undefined {
  const afterTime = line.indexOf(space);
  const afterStream = afterTime < 0 ? -1 : line.indexOf(space, afterTime + 1);
  if (afterStream < 0) return undefined;
  const time = line.toString('latin1', 0, afterTime);
  if (!timePattern.test(time)) return undefined;
  const stream = line.toString('latin1', afterTime + 1, afterStream);
  if (stream !== 'stdout' && stream !== 'stderr') return undefined;
  const next = line.indexOf(space, afterStream + 1);
  // A line without content may lack the blank behind its tags.
  const afterTags = next < 0 ? line.length : next;
  const tag = line.toString('latin1', afterStream + 1, afterTags).split(':')[0];
  if (tag !== 'F' && tag !== 'P') return undefined;
  return { time, stream, content: line.subarray(afterTags + 1), isComplete: tag === 'F' };
}

function parseDocker(line: Buffer): LogLine | undefined {
  if (line[0] !== 0x7b) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(line.toString('utf8'));
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || !('log' in value) || !('time' in value)) return undefined;
  const { log, time } = value;
  const stream = 'stream' in value ? value.stream : 'stdout';
  if (typeof log !== 'string' || typeof time !== 'string' || (stream !== 'stdout' && stream !== 'stderr')) return undefined;
  const isComplete = log.endsWith('\n');
  return { time, stream, content: Buffer.from(isComplete ? log.slice(0, -1) : log), isComplete };
}

/** The time with exactly nine decimals, as `timestamps=true` prints it (H-259). */
export function withNanoseconds(time: string): string {
  const match = /^(.{19})(?:\.(\d+))?(.*)$/.exec(time);
  return match === null ? time : `${match[1]}.${(match[2] ?? '').padEnd(9, '0').slice(0, 9)}${match[3]}`;
}
