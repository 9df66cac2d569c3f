// The end of a container's log, as its last words (L-474), and texts cut to a number of bytes.
import { parseCriLogLine } from '../api/cri-log.ts';

const newline = Buffer.from('\n');

/** What the container wrote, of the last `maxLines` lines of the file, cut to the last `maxBytes` bytes. */
export function tailOfLog(log: Buffer, limits: { readonly maxLines: number; readonly maxBytes: number }): string {
  const written = linesOf(log)
    .slice(-limits.maxLines)
    .flatMap((line) => {
      const parsed = parseCriLogLine(line);
      return parsed === undefined ? [] : parsed.isComplete ? [parsed.content, newline] : [parsed.content];
    });
  return lastBytes(Buffer.concat(written).toString('utf8'), limits.maxBytes);
}

/** Without the empty ones. */
function linesOf(log: Buffer): readonly Buffer[] {
  const lines: Buffer[] = [];
  for (let start = 0; start < log.length; ) {
    const end = log.indexOf(0x0a, start);
    const stop = end < 0 ? log.length : end;
    if (stop > start) lines.push(log.subarray(start, stop));
    start = stop + 1;
  }
  return lines;
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
