// Lines of a container's log as runtimes write them through CRI (L-394):
// `<RFC 3339 time> <stdout|stderr> <tags> <content>`; the first tag is F (full line) or P (part of one).

export interface CriLogLine {
  readonly time: string;
  readonly stream: 'stdout' | 'stderr';
  readonly isPartial: boolean;
  readonly content: string;
}

/** Undefined for a text that is no such line. `line` is without its newline. */
export function parseCriLogLine(line: string): CriLogLine | undefined {
  const [, time, stream, tags, content = ''] = /^(\d{4}-\d\d-\d\dT\S+) (stdout|stderr) (\S+)(?: (.*))?$/s.exec(line) ?? [];
  const tag = tags?.split(':')[0];
  if (time === undefined || (tag !== 'F' && tag !== 'P')) return undefined;
  return { time, stream: stream === 'stderr' ? 'stderr' : 'stdout', isPartial: tag === 'P', content };
}

/** What the container wrote, of the last `maxLines` lines of the file, cut to the last `maxBytes` bytes. */
export function tailOfLog(text: string, limits: { readonly maxLines: number; readonly maxBytes: number }): string {
  const lines = text.split('\n').filter((line) => line !== '');
  const written = lines.slice(-limits.maxLines).flatMap((line) => {
    const parsed = parseCriLogLine(line);
    return parsed === undefined ? [] : [parsed.content + (parsed.isPartial ? '' : '\n')];
  });
  return lastBytes(written.join(''), limits.maxBytes);
}

/** The end of a text, whole characters only. */
export function lastBytes(text: string, maxBytes: number): string {
  return dropUntil(text, utf8Length(text) - maxBytes);
}

/** The beginning of a text, whole characters only. */
export function firstBytes(text: string, maxBytes: number): string {
  if (utf8Length(text) <= maxBytes) return text;
  let bytes = 0;
  let length = 0;
  for (const character of text) {
    bytes += utf8Length(character);
    if (bytes > maxBytes) break;
    length += character.length;
  }
  return text.slice(0, length);
}

function dropUntil(text: string, surplus: number): string {
  if (surplus <= 0) return text;
  let bytes = 0;
  let length = 0;
  for (const character of text) {
    if (bytes >= surplus) break;
    bytes += utf8Length(character);
    length += character.length;
  }
  return text.slice(length);
}

function utf8Length(text: string): number {
  let bytes = 0;
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x1_0000 ? 3 : 4;
  }
  return bytes;
}
