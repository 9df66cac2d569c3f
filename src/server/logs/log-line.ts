// One line of a container's log file (H-261b, H-261c): bytes → stream, time, content. Pure, no copies of the content.
import { type LogLine, parseCriLogLine } from '../../api/cri-log.ts';

export type LogFormat = 'cri' | 'docker';

/** `line` is without its newline. Undefined when it is not a line of this format. */
export function parseLogLine(line: Buffer, format: LogFormat): LogLine | undefined {
  return format === 'cri' ? parseCriLogLine(line) : parseDocker(line);
}

/** The format of a file is that of its first readable line. */
export function detectFormat(line: Buffer): LogFormat | undefined {
  if (parseCriLogLine(line) !== undefined) return 'cri';
  return parseDocker(line) === undefined ? undefined : 'docker';
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
