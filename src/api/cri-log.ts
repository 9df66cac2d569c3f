// One line of a container's log as runtimes write it through CRI (L-394, H-261b):
// `<RFC 3339 time> <stdout|stderr> <tags> <content>`; the first tag is F (full line) or P (part of one). Pure, no copies
// of the content.

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

/** `line` is without its newline. Undefined when it is no such line. */
export function parseCriLogLine(line: Buffer): LogLine | undefined {
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
